"""Grading: what students handed in is run in processes of its own, and every answer is judged by a check of the grader's.

Imports lessons, notebooks, pages and files; the command line stands above it.
"""

from netwright.grading.grade import grade
from netwright.grading.marks import ITEMS, OUTCOMES, Mark, item_rows, write_items, write_marks
from netwright.grading.report import page_of
from netwright.grading.session import Limits

__all__ = ["ITEMS", "OUTCOMES", "Limits", "Mark", "grade", "item_rows", "page_of", "write_items", "write_marks"]
