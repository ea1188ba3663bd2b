"""What the exercises answer, and how it looks: outcomes, hints, solutions, the record of a session.

Imports nothing of the project.
"""

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Status = Literal["not attempted", "passed", "failed", "crashed"]

# Okabe and Ito's colours, for the edge of a card; the word beside it says the same.
COLOURS = {"not attempted": "#999999", "passed": "#009e73", "failed": "#d55e00", "crashed": "#cc79a7"}


@dataclass(frozen=True)
class Outcome:
    """The answer to one check. True when passed, so that `assert check(...)` means what it says.

    message: a sentence. mistake: the known mistake that the answer equals, as a clause ("where the ReLU comes …"), or
    None. compared: how many numbers were compared with the library's; error: the largest relative difference.
    """

    exercise: str
    status: Status
    message: str
    mistake: str | None = None
    compared: int = 0
    error: float = 0.0

    def __bool__(self) -> bool:
        return self.status == "passed"

    def __str__(self) -> str:
        return f"{self.exercise}: {self.status}. {self.message}"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        head = f"<b>{self.exercise}: {self.status}</b>"
        body = "<br>".join(html.escape(line) for line in self.message.splitlines())
        return {"text/html": _card(f"{head}<br>{body}", COLOURS[self.status]), "text/plain": str(self)}


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
class Progress:
    """The last outcome of each exercise that was checked in this session, in the order of the first check."""

    outcomes: tuple[Outcome, ...]

    @property
    def compared(self) -> int:
        """How many numbers of answers that passed were compared with the library's."""
        return sum(outcome.compared for outcome in self.outcomes if outcome)

    @property
    def sentence(self) -> str:
        """The sum in words."""
        if not self.outcomes:
            return "Nothing has been checked in this session yet."
        passed = [outcome for outcome in self.outcomes if outcome]
        text = f"{len(passed)} of {len(self.outcomes)} exercises passed in this session"
        if passed:
            text += f", on {self.compared:,} compared numbers"
        return f"{text}."

    def __str__(self) -> str:
        return "\n".join([self.sentence, *(f"  {o.exercise:24}{o.status}" for o in self.outcomes)])

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        heads = ("exercise", "outcome", "numbers compared", "largest relative error")
        lines = [
            (
                o.exercise,
                o.status,
                f"{o.compared:,}" if o else "",
                (f"{o.error:.1g}" if o.error else "exact") if o else "",
            )
            for o in self.outcomes
        ]
        page = f"<p>{self.sentence}</p>" + (table(heads, lines) if lines else "")
        return {"text/html": page, "text/plain": str(self)}


def table(heads: Iterable[str], lines: Iterable[Iterable[object]]) -> str:
    """An HTML table, its words on the left."""
    style = "style='text-align: left'"
    head = "".join(f"<th {style}>{html.escape(str(word))}</th>" for word in heads)
    rows = ("".join(f"<td {style}>{html.escape(str(word))}</td>" for word in line) for line in lines)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _card(inside: str, colour: str) -> str:
    return f"<div style='border-left: 6px solid {colour}; padding: 2px 12px; margin: 4px 0'>{inside}</div>"
