"""Explanations held to account: by removing what they point at, and by causes that are known."""
