"""What nbgrader wants to find in a notebook, and a folder of a course that it can work with.

Imports notebooks, lessons for an exercise's minutes and, of this room, places.
"""

import copy

import nbformat

from netwright.editions.places import places
from netwright.lessons.engine import find
from netwright.notebooks import METADATA

# nbgrader_config.py, for the course's folder.
CONFIG = """\
# How nbgrader makes a student's notebook of these sources. It reads this file in the folder where it is started.
from nbconvert.preprocessors import TagRemovePreprocessor
from nbgrader.converters import GenerateAssignment

c = get_config()

# The open place that check() knows as not attempted. nbgrader's own raises an exception, which would end the cell
# before its check.
c.ClearSolutions.code_stub = {"python": "...  # your code here"}

# The instructor edition has cells for the teacher alone.
c.GenerateAssignment.preprocessors = [TagRemovePreprocessor, *GenerateAssignment.preprocessors.default()]
c.TagRemovePreprocessor.enabled = True
c.TagRemovePreprocessor.remove_cell_tags = {"instructor"}
"""

_COUNT = """\
# nbgrader counts this cell: {points} points if the last check of this exercise passed, else 0.
from netwright.lessons import progress

{points} * any(row.exercise == "{exercise}" and row.status == "passed" for row in progress().rows)
"""


def marked(notebook):
    """A copy in which nbgrader knows each answer: it is graded by hand there, with an exercise's minutes as its points.

    An answer that was left as it was handed out gets 0 from nbgrader by itself.
    """
    marked = copy.deepcopy(notebook)
    for cell, exercises in _by_cell(marked).items():
        points = sum(find(name).minutes for name in exercises)
        marked.cells[cell].metadata["nbgrader"] = _metadata(_grade_id(exercises[0]), solution=True, points=points)
    return marked


def counted(notebook):
    """A copy in which nbgrader gives the points itself: behind each answer is a locked cell that asks its check.

    That cell reads the record of the session and not the answer by its name, which after `theirs_or_ours` may be the
    library's. It shows a number in every case, so that a notebook with open exercises runs to its end.
    """
    counted = nbformat.from_dict(copy.deepcopy(notebook) | {"metadata": METADATA})  # no widgets' state
    for cell in counted.cells:
        if cell.cell_type == "code":  # nbgrader would only clear them
            cell.outputs, cell.execution_count = [], None
    for cell, exercises in reversed(_by_cell(counted).items()):
        counted.cells[cell].metadata["nbgrader"] = _metadata(_grade_id(exercises[0]), solution=True)
        behind = []
        for name in exercises:
            points = find(name).minutes
            code = _COUNT.format(points=points, exercise=name).rstrip()
            test = nbformat.v4.new_code_cell(code, id=f"count-{_grade_id(name)}"[:64])
            test.metadata["nbgrader"] = _metadata(f"{_grade_id(name)}-count", points=points)
            behind.append(test)
        counted.cells[cell + 1 : cell + 1] = behind
    return counted


def _by_cell(notebook) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for place in places(notebook):
        found.setdefault(place.cell, []).append(place.exercise)
    return found


def _grade_id(exercise: str) -> str:
    return exercise.replace(".", "-")


def _metadata(grade_id: str, *, solution: bool = False, points: int | None = None) -> dict:
    """nbgrader's metadata, schema 3: points make a cell a graded one; a graded cell that is no answer is locked."""
    graded = points is not None
    made = {"schema_version": 3, "grade_id": grade_id, "solution": solution, "grade": graded, "locked": not solution}
    return made | {"task": False} | ({"points": points} if graded else {})
