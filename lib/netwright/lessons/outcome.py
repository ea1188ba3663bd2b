"""What the exercises answer, and how it looks: outcomes, hints, solutions, where the reader stands.

Imports compare and differing, for the picture of a difference.
"""

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from netwright.figures import Picture
from netwright.lessons.compare import Parting
from netwright.lessons.differing import draw_difference, worth_drawing

Status = Literal["not attempted", "passed", "failed", "crashed"]

# Okabe and Ito's colours, for the edge of a card; the word beside it says the same.
COLOURS = {"not attempted": "#999999", "passed": "#009e73", "failed": "#d55e00", "crashed": "#cc79a7"}


@dataclass(frozen=True)
class Outcome:
    """The answer to one check. True when passed, so that `assert check(...)` means what it says.

    message: a sentence. mistake: the known mistake that the answer equals, as a clause ("where the ReLU comes …"), or
    None. compared: how many numbers were compared with the library's; error: the largest relative difference.
    parting: where a tensor first differs. printed: what the answer printed meanwhile. out_of_time: whether it was
    stopped because it took too long, which is a way to crash.
    """

    exercise: str
    status: Status
    message: str
    mistake: str | None = None
    compared: int = 0
    error: float = 0.0
    parting: Parting | None = None
    printed: str = ""
    out_of_time: bool = False

    def __bool__(self) -> bool:
        return self.status == "passed"

    def __str__(self) -> str:
        text = f"{self.exercise}: {self.status}. {self.message}"
        return f"{text}\nMeanwhile it printed:\n{self.printed}" if self.printed else text

    def picture(self) -> Picture | None:
        """What was found beside what was expected, where a tensor differs and a picture says more than the sentence."""
        if self.parting is None or not worth_drawing(self.parting.found, self.parting.expected):
            return None
        return draw_difference(self.parting.found, self.parting.expected, self.parting.place)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        head = f"<b>{self.exercise}: {self.status}</b>"
        page = f"{head}<br>" + "<br>".join(html.escape(line) for line in self.message.splitlines())
        picture = self.picture()
        if picture:
            page += f"<br>{picture._repr_mimebundle_()['text/html']}"
        if self.printed:
            page += (
                f"<details><summary>What it printed meanwhile</summary><pre>{html.escape(self.printed)}</pre></details>"
            )
        return {"text/html": card(page, COLOURS[self.status]), "text/plain": str(self)}


@dataclass(frozen=True)
class Hints:
    """Three hints, each a step nearer. A notebook folds them; elsewhere, `hints[0]` is the first."""

    exercise: str
    texts: tuple[str, ...]

    def __getitem__(self, stage: int) -> str:
        return self.texts[stage]

    def __str__(self) -> str:
        return "\n".join(f"Hint {i}: {text}" for i, text in enumerate(self.texts, start=1))

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        folded = ""  # from the last to the first: each is found inside the one before
        for i, text in reversed(list(enumerate(self.texts, start=1))):
            label = f"Hint {i} of {len(self.texts)}"
            folded = f"<details><summary>{label}</summary><p>{html.escape(text)}</p>{folded}</details>"
        plain = f"{len(self.texts)} hints for {self.exercise}: print(hint({self.exercise!r})[0]) shows the first."
        return {"text/html": folded, "text/plain": plain}


@dataclass(frozen=True)
class Solution:
    """The library's own source of an exercise, folded in a notebook."""

    exercise: str
    source: str

    def __str__(self) -> str:
        return self.source

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        head = f"The library's version of {self.exercise}"
        page = f"<details><summary>{head}</summary><pre>{html.escape(self.source)}</pre></details>"
        return {"text/html": page, "text/plain": f"print(solution({self.exercise!r})) shows it."}


@dataclass(frozen=True)
class Row:
    """Where the reader stands with one exercise. status: "open" until it is checked. passed: whether it ever did."""

    notebook: str
    exercise: str
    minutes: int
    difficulty: str
    status: str
    passed: bool
    checks: int
    compared: str


@dataclass(frozen=True)
class Progress:
    """Where the reader stands, an exercise a row. kept: whether a record beside the notebook remembers it."""

    rows: tuple[Row, ...]
    kept: bool

    @property
    def sentence(self) -> str:
        """The sum in words."""
        passed = [row for row in self.rows if row.passed]
        where = "so far" if self.kept else "in this session"
        if not any(row.checks for row in self.rows):
            return f"Nothing has been checked {where} yet."
        text = f"{len(passed)} of {len(self.rows)} exercises passed {where}"
        left = sum(row.minutes for row in self.rows if not row.passed)
        return (
            f"{text}; the rest asks for about {left} minutes (estimated)." if left else f"{text}. That is all of them."
        )

    def __str__(self) -> str:
        return "\n".join([self.sentence, *(f"  {row.exercise:26}{row.status}" for row in self.rows)])

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        heads = ("exercise", "minutes (estimated)", "difficulty", "last outcome", "checks", "numbers compared")
        page = f"<p>{self.sentence}</p>"
        for notebook in dict.fromkeys(row.notebook for row in self.rows):
            rows = [row for row in self.rows if row.notebook == notebook]
            lines = [(r.exercise, r.minutes, r.difficulty, r.status, r.checks or "", r.compared) for r in rows]
            done = sum(row.passed for row in rows)
            begun = " open" if any(row.checks for row in rows) else ""
            page += (
                f"<details{begun}><summary>{notebook}: {done} of {len(rows)}</summary>{table(heads, lines)}</details>"
            )
        return {"text/html": page, "text/plain": str(self)}


def table(heads: Iterable[str], lines: Iterable[Iterable[object]]) -> str:
    """An HTML table, its words on the left."""
    style = "style='text-align: left'"
    head = "".join(f"<th {style}>{html.escape(str(word))}</th>" for word in heads)
    rows = ("".join(f"<td {style}>{html.escape(str(word))}</td>" for word in line) for line in lines)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def card(inside: str, colour: str) -> str:
    return f"<div style='border-left: 6px solid {colour}; padding: 2px 12px; margin: 4px 0'>{inside}</div>"
