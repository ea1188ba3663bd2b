"""Where the exercises of a notebook are: read off its cells, since an exercise's name stands in the code.

Imports notebooks.
"""

import re
from dataclasses import dataclass

from netwright.notebooks import NotebookError

MARK = "### BEGIN SOLUTION"
_CHECKED = re.compile(r"\b(?:check|exercise)\(\s*[\"']([a-z0-9_]+\.[a-z0-9_]+)[\"']")
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
            names = asked(cell["source"])
            if not names:
                raise NotebookError(f"Cell {number} marks a solution, and no check(…) in it says of which exercise.")
            found += [Place(name, number, title) for name in names]
    return found


def asked(code: str) -> list[str]:
    """The exercises that a cell's code names, in @exercise(…) or check(…), each once."""
    return list(dict.fromkeys(_CHECKED.findall(code)))


def last_places(notebook) -> dict[str, int]:
    """Exercise -> the cell after which everything about it has been seen: where it is answered, else last checked."""
    found = {}
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            found |= dict.fromkeys(asked(cell["source"]), number)
    return found | {place.exercise: place.cell for place in places(notebook)}
