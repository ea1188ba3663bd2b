"""A net as a map that unfolds, measured while it runs."""
