"""A logit as a sum over a block's terms, and the structure of its groups."""
