"""Explanations and their grades: maps of what mattered (attributions, methods), what happens when it is removed
(removal), marks against pixels that are known to cause the label (scores), all of them side by side (league), and
pictures that excite a channel (optimising).

Imports probing, toys, models and evaluate.metrics; views stand above it.
"""
