"""What was handed in: whose it is, which notebook of the book it is, what its cells are, what it was to answer.

Imports notebooks, for where the published ones are, and the book of lessons.
"""

import ast
import json
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from netwright.lessons.book import BOOK, exercises_in, notebook_of
from netwright.notebooks import ROOT

MOST_BYTES = 100_000_000  # of a notebook; with all its outputs, one of the book has less than two million
SUBMITTED = "submitted"  # where nbgrader collects


class Unreadable(Exception):
    """A file that is no notebook of the book; its message says why."""


@dataclass(frozen=True)
class Submission:
    """A notebook that somebody handed in. file: None stands for a student whose folder has no notebook in it."""

    student: str
    file: Path | None


@dataclass(frozen=True)
class Asked:
    """An exercise that a notebook asks. name: the variable of its answer, where that is a value that takes no mark."""

    notebook: str
    exercise: str
    name: str | None = None


# Finding -------------------------------------------------------------------------------------------------------


def find_submissions(place: Path) -> list[Submission]:
    """Every notebook below `place`, by student.

    Directly inside may lie a folder for each student, with notebooks at any depth (as in nbgrader's
    submitted/STUDENT/ASSIGNMENT), or files STUDENT_NN_name.ipynb, or those of one student, who then is called as the
    folder is. Hidden folders and files, and those of checkpoints, are passed over. Raises ValueError where there is
    nothing.
    """
    if place.is_file():
        return [Submission(_student_of(place), place)]
    if not place.is_dir():
        raise ValueError(f"There is no folder {place}.")
    if (place / SUBMITTED).is_dir():
        place = place / SUBMITTED
    found = []
    for entry in sorted(place.iterdir()):
        if entry.name.startswith((".", "__")):
            continue
        if entry.is_dir():
            files = [file for file in sorted(entry.rglob("*.ipynb")) if _counts(file.relative_to(entry))]
            found += [Submission(entry.name, file) for file in files or [None]]
        elif entry.suffix == ".ipynb":
            found.append(Submission(_student_of(entry), entry))
    if not any(each.file for each in found):
        raise ValueError(f"There is no notebook below {place}: it should hold a folder for each student.")
    return found


def _counts(inside: Path) -> bool:
    return not any(part.startswith(".") for part in inside.parts)


def _student_of(file: Path) -> str:
    """Of a file that lies in no folder of its own: what stands before the notebook's name, else the file's name."""
    stem = file.stem
    known = _named(stem)
    if known is None:
        return stem
    before = stem[: stem.index(known)].strip("_- .")
    return before or file.resolve().parent.name


# Reading -------------------------------------------------------------------------------------------------------


def code_cells(file: Path) -> list[str]:
    """The code of a notebook, a cell an entry; formats 4 and older. Raises Unreadable."""
    try:
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise Unreadable(f"The file has {size / 1e6:,.0f} MB, more than {MOST_BYTES / 1e6:,.0f}.")
        content = file.read_bytes()
    except OSError as error:
        raise Unreadable(f"The file cannot be read: {error.strerror or error}.") from error
    if not content.strip():
        raise Unreadable("The file is empty.")
    try:
        notebook = json.loads(content)
    except UnicodeDecodeError as error:
        raise Unreadable("The file is not in UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"The file is not JSON: {str(error) or type(error).__name__}.") from error
    cells = _cells(notebook)
    if cells is None:
        raise Unreadable("The file is JSON, but no notebook: it has no list of cells.")
    return [_source(cell) for cell in cells if isinstance(cell, dict) and cell.get("cell_type") == "code"]


def _cells(notebook) -> list | None:
    if not isinstance(notebook, dict):
        return None
    sheets = notebook.get("worksheets")  # what format 3 and older have their cells in
    if isinstance(sheets, list):
        return [cell for sheet in sheets if isinstance(sheet, dict) for cell in sheet.get("cells") or ()]
    cells = notebook.get("cells")
    return cells if isinstance(cells, list) else None


def _source(cell: dict) -> str:
    source = cell.get("source", cell.get("input", ""))
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


# What a notebook was to answer ---------------------------------------------------------------------------------


def asked_of(file: Path, cells: list[str]) -> list[Asked]:
    """The exercises that a notebook was to answer: those of the published one that it is, in their order, and behind
    them those of others that it answers too.

    Which one it is, its exercises say; where they say nothing, its name or its folder's. Raises Unreadable.
    """
    published = _published()
    named = next((known for part in (file.stem, file.parent.name) if (known := _named(part))), None)
    home = {asked.exercise: asked.notebook for asks in published.values() for asked in asks}
    answered = {name for cell in cells for name in exercises_in(cell)} & home.keys()
    votes = Counter(home[name] for name in answered)
    if not votes and named not in published:
        raise Unreadable("It is no notebook of the book: it names no exercise, and neither does its name.")
    own = named if named in published and (votes[named] or not votes) else votes.most_common(1)[0][0]
    others = [asked for stem, asks in published.items() if stem != own for asked in asks if asked.exercise in answered]
    return [*published[own], *others]


def _named(text: str) -> str | None:
    """The notebook of the book that a name holds: "anna_02_weights_proven-1" holds "02_weights_proven"."""
    return next((stem for stem in BOOK if stem in text), None)


@cache
def _published() -> dict[str, tuple[Asked, ...]]:
    """Notebook -> what it asks: the exercises whose cell marks a solution. Raises FileNotFoundError."""
    files = {stem: ROOT / "notebooks" / f"{stem}.ipynb" for stem in BOOK}
    found = {stem: _asks(stem, code_cells(file)) for stem, file in files.items() if file.exists()}
    if not found:
        raise FileNotFoundError(f"The published notebooks, which say what is asked, are not in {ROOT / 'notebooks'}.")
    return found


def _asks(stem: str, cells: list[str]) -> tuple[Asked, ...]:
    found: dict[str, Asked] = {}
    for cell in cells:
        if "### BEGIN SOLUTION" not in cell:
            continue
        marks, checks = {}, {}
        for call in (node for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Call)):
            match call:
                case ast.Call(func=ast.Name("exercise"), args=[ast.Constant(str(name))]):
                    marks[name] = None
                case ast.Call(func=ast.Name("check"), args=[ast.Constant(str(name)), ast.Name(variable)]):
                    checks[name] = variable
        found |= {name: Asked(stem, name, (checks | marks)[name]) for name in (*marks, *checks)}
    return tuple(asked for asked in found.values() if notebook_of(asked.exercise) == stem)


def published_asks() -> list[Asked]:
    """Every exercise that the book asks, in its order. Raises FileNotFoundError."""
    return [asked for asks in _published().values() for asked in asks]
