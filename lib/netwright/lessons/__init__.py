"""Exercises that cannot be fooled: the engine (exercise, check, hint, solution), predictions, and a room of checks for each
notebook.

Imports nets, weights, probing and figures; only the notebooks and the command line stand above it.
"""

from netwright.lessons.engine import check, exercise, hint, progress, solution, theirs_or_ours
from netwright.lessons.predicting import calibration, predict, reveal

__all__ = [
    "calibration",
    "check",
    "exercise",
    "hint",
    "predict",
    "progress",
    "reveal",
    "solution",
    "theirs_or_ours",
]
