"""Marks as rows: one a student and exercise, how many did what, and both as CSV. Imports files."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from netwright.files import replace_bytes

OUTCOMES = (  # where two files answer the same, the one further up counts
    "passed",
    "failed",
    "crashed",
    "out of time",
    "out of memory",
    "tampered",
    "not attempted",
    "missing",
    "unreadable",
)


@dataclass(frozen=True)
class Mark:
    """What one student's answer to one exercise came to.

    outcome: one of OUTCOMES. mistake: the known mistake that it equals, else empty. seconds: that measuring it took.
    exercise is empty where a file could not be read or a student handed nothing in.
    """

    student: str
    notebook: str
    exercise: str
    outcome: str
    mistake: str = ""
    message: str = ""
    seconds: float = 0.0


ITEMS = ("notebook", "exercise", "outcome", "mistake", "students")


def item_rows(marks: Iterable[Mark]) -> list[tuple[str, str, str, str, int]]:
    """(notebook, exercise, outcome, mistake, how many students), exercises in their order, the most frequent first."""
    counted = Counter((m.notebook, m.exercise, m.outcome, m.mistake) for m in marks if m.exercise)
    order = {key: i for i, key in enumerate(dict.fromkeys((notebook, exercise) for notebook, exercise, *_ in counted))}
    rows = [(*key, count) for key, count in counted.items()]
    return sorted(rows, key=lambda row: (row[0], order[row[:2]], OUTCOMES.index(row[2]), -row[4], row[3]))


def write_marks(path: str | Path, marks: Iterable[Mark]) -> None:
    """The marks as CSV. Raises OSError."""
    head = tuple(field.name for field in fields(Mark))
    _write(path, head, ((*astuple(mark)[:-1], f"{mark.seconds:.2f}") for mark in marks))


def write_items(path: str | Path, marks: Iterable[Mark]) -> None:
    """How many made which mistake, as CSV. Raises OSError."""
    _write(path, ITEMS, item_rows(marks))


def _write(path: str | Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(head)
    table.writerows([_cell(cell) for cell in row] for row in rows)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, text.getvalue().encode("utf-8", "backslashreplace"))


def _cell(value: object) -> str:
    """One line of text that no spreadsheet takes for a formula."""
    text = " ".join(str(value).split()).replace("\0", "")
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
