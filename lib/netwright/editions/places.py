"""Where the exercises of a notebook are: read off its cells, since an exercise's name stands in the code.

Imports notebooks and the book of lessons.
"""

import re
from dataclasses import dataclass

from netwright.lessons.book import exercises_in
from netwright.notebooks import NotebookError

MARK = "### BEGIN SOLUTION"
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


@dataclass(frozen=True)
class Place:
    """An exercise in a notebook. cell: the number of its cell; title: the last heading above it."""

    exercise: str
    cell: int
    title: str


def places(notebook) -> list[Place]:
    """The cells in which a learner writes an answer, in their order: those that hold a marked solution.

    Raises NotebookError where such a cell does not say which exercise it answers.
    """
    found, title = [], ""
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "markdown":
            title = ([title] + _HEADING.findall(cell["source"]))[-1]
        elif cell["cell_type"] == "code" and MARK in cell["source"]:
            names = exercises_in(cell["source"])
            if not names:
                raise NotebookError(f"Cell {number} marks a solution, and no check(…) in it says of which exercise.")
            found += [Place(name, number, title) for name in names]
    return found


def last_places(notebook) -> dict[str, int]:
    """Exercise -> the cell after which everything about it has been seen: where it is answered, else last checked."""
    found = {}
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            found |= dict.fromkeys(exercises_in(cell["source"]), number)
    return found | {place.exercise: place.cell for place in places(notebook)}
