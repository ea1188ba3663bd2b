"""Exercises that cannot be fooled: the engine (exercise, check, hint, solution), and a file of checks for each notebook.

Imports nets, weights, probing and figures; only the notebooks and the command line stand above it.
"""

from netwright.lessons.engine import check, exercise, hint, progress, solution, theirs_or_ours

__all__ = ["check", "exercise", "hint", "progress", "solution", "theirs_or_ours"]
