"""Guess first, then look: a question before an experiment, and what was measured beside the guess. Imports book, record,
outcome and files.

A guess is kept at once: in `progress/predictions` of the reader's own folder, where there is one (see record), else for
this session. A guess counts only if it was made before its answer was shown.
"""

import contextlib
import html
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from netwright.files import replace_file
from netwright.lessons import outcome, record
from netwright.lessons.book import BOOK

FOLDER = "predictions"
RIGHT, NEUTRAL = outcome.COLOURS["passed"], "#0072b2"  # the edge of a card; the words beside it say the same

_asked: dict[str, "Prediction"] = {}  # name -> its question; a notebook has one session


@dataclass(frozen=True)
class Guess:
    """A question and what was guessed. truth: what was measured, None until it was shown to somebody who had guessed."""

    prediction: str
    choices: tuple[str, ...]
    choice: str
    chosen: str
    truth: str | None = None

    @property
    def right(self) -> bool | None:
        """Whether the guess was right, or None as long as it is open."""
        return None if self.truth is None else self.choice == self.truth


def predict(name: str, question: str, choices: Sequence[object]) -> "Prediction":
    """Ask before an experiment: ``predict("attention.knock_out", "Which way does the logit move?", ("up", "down"))``.

    Shows the question with its choices as the last expression of a cell. A guess is kept as soon as it is made, can be
    changed until `reveal` has shown the answer, and is there again the next time. name: of a room of exercises and of
    the question. Raises ValueError for another name, and for fewer than two different choices.
    """
    if not re.fullmatch(r"\w+\.\w+", name):
        raise ValueError(f"A prediction is called like an exercise, 'attention.knock_out', and not {name!r}.")
    texts = tuple(map(str, choices))
    if len(set(texts)) < 2 or len(set(texts)) < len(texts):
        raise ValueError(f"{name} needs at least two choices, each of them once, and has {', '.join(texts) or 'none'}.")
    before = _asked.get(name)
    if before is not None and before.choices == texts:
        before.question = question
        return before
    _asked[name] = Prediction(name, question, texts)
    return _asked[name]


def reveal(name: str, truth: object, words: str = "") -> "Revealed":
    """What was measured, beside what was guessed. Records whether a guess was right, and nothing where none was made.

    truth: one of the choices. words: a sentence with the numbers. Where the truth is none of the choices, no guess is
    right or wrong, and the answer says so. Shows itself as the last expression of a cell; True when the guess was right.
    """
    asked = _asked.get(name) or _remembered(name)
    if asked is None:
        return Revealed(name, "not asked", None, None, "")
    truth = str(truth)
    guess, late = asked.guess, asked.late
    if truth not in asked.choices:
        asked.shown = True
        return Revealed(name, "no choice", None if late else guess and guess.choice, truth, words)
    if guess is None or late:
        asked.shown = True
        return Revealed(name, "late" if late else "not guessed", guess and guess.choice, truth, words)
    asked.guess = replace(guess, truth=truth)
    asked.shown = True
    asked.keep()
    asked.settle()
    return Revealed(name, "right" if asked.guess.right else "other", guess.choice, truth, words)


class Prediction:
    """A question that is open or has been guessed; a notebook shows its choices. `choose` does what a click does.

    guess: what was guessed, or None. shown: whether its answer has been shown in this session. late: whether the guess
    was made after that, so that it is none.
    """

    def __init__(self, name: str, question: str, choices: tuple[str, ...]):
        self.name, self.question, self.choices = name, question, choices
        kept = _read(name)
        self.guess = kept if kept is not None and kept.choices == choices else None
        self.shown = self.guess is not None and self.guess.truth is not None
        self.late = False
        self._buttons = self._note = None

    @property
    def choice(self) -> str | None:
        """What was guessed, or None."""
        return None if self.guess is None else self.guess.choice

    def choose(self, choice: object) -> None:
        """Guess, or change a guess whose answer has not been shown. Raises ValueError for what was not offered."""
        choice = str(choice)
        if choice not in self.choices:
            raise ValueError(f"{choice!r} is none of the choices of {self.name}: {', '.join(self.choices)}.")
        if self.guess is not None and self.guess.truth is not None:
            return  # it has been answered
        self.late = self.late or self.shown
        self.guess = Guess(self.name, self.choices, choice, datetime.now().astimezone().isoformat(timespec="seconds"))
        if not self.late:
            self.keep()
        self.settle()

    def keep(self) -> None:
        """Write the guess to the reader's record, if the session runs beside one."""
        place = _folder()
        if place is None:
            return
        with contextlib.suppress(OSError):  # a folder that cannot be written to is no reason to stop
            place.mkdir(exist_ok=True)
            replace_file(place / f"{self.name}.json", json.dumps(asdict(self.guess), indent=1) + "\n")

    @property
    def note(self) -> str:
        """Where this question stands, in a sentence."""
        if self.guess is None:
            if self.shown:
                return "Not guessed, and the answer has been shown: a choice now would not count."
            return "Not guessed yet. What is measured comes below, whether or not you guess."
        if self.guess.truth is not None:
            return f"You guessed “{self.choice}”, and the answer has been shown."
        if self.late:
            return f"You chose “{self.choice}” after the answer was shown, so it does not count."
        return f"You guessed “{self.choice}”. You can change it until the answer is shown."

    # Showing ---------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Have the buttons, where there are some, show what is known."""
        if self._buttons is None:
            return
        self._note.value = html.escape(self.note)
        self._buttons.value = self.choice
        self._buttons.disabled = self.guess is not None and self.guess.truth is not None

    def widget(self):
        """The question as an ipywidgets box with a radio button for each choice."""
        import ipywidgets

        self._buttons = ipywidgets.RadioButtons(
            options=self.choices,
            value=self.choice,
            description="Your guess:",
            tooltip=self.question,
            layout={"width": "max-content"},  # or long choices are cut off
        )
        self._note = ipywidgets.HTML(html.escape(self.note))
        self._buttons.disabled = self.guess is not None and self.guess.truth is not None
        self._buttons.observe(self._clicked, "value")
        question = ipywidgets.HTML(f"<b>{html.escape(self.question)}</b>")
        return ipywidgets.VBox([question, self._buttons, self._note])

    def _clicked(self, change) -> None:
        if change["new"] not in (None, self.choice):  # and not what `settle` has put there
            self.choose(change["new"])

    def __str__(self) -> str:
        return "\n".join([self.question, *(f"  - {choice}" for choice in self.choices), self.note])

    def _repr_mimebundle_(self, include=None, exclude=None):
        choices = "".join(f"<li>{html.escape(choice)}</li>" for choice in self.choices)
        page = f"<p><b>{html.escape(self.question)}</b></p><ul>{choices}</ul><p>{html.escape(self.note)}</p>"
        bundle = self.widget()._repr_mimebundle_() or {}
        data = dict(bundle[0] if isinstance(bundle, tuple) else bundle)
        return data | {"text/html": outcome.card(page, NEUTRAL), "text/plain": str(self)}


@dataclass(frozen=True)
class Revealed:
    """What was measured beside what was guessed. kind: right, other, not guessed, late, no choice or not asked."""

    prediction: str
    kind: str
    choice: str | None
    truth: str | None
    words: str

    def __bool__(self) -> bool:
        return self.kind == "right"

    @property
    def sentence(self) -> str:
        """The guess and the truth."""
        match self.kind:
            case "right":
                return f"You guessed “{self.choice}”, and so it is."
            case "other":
                return f"You guessed “{self.choice}”; measured was “{self.truth}”."
            case "late":
                return f"Measured: “{self.truth}”. Your choice, “{self.choice}”, came after it was shown and does not count."
            case "not guessed":
                return f"Not guessed. Measured: “{self.truth}”."
            case "no choice":
                guess = f" Your guess was “{self.choice}”." if self.choice else ""
                return (
                    f"Measured was “{self.truth}”, which was not among the choices: no guess was right or wrong.{guess}"
                )
        return (
            f"{self.prediction} has not been asked yet: run the cell with predict({self.prediction!r}, …) first, make your "
            "guess, then run this cell again. Nothing is shown or recorded until then."
        )

    def __str__(self) -> str:
        return f"{self.sentence} {self.words}".strip()

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        words = f"<br>{html.escape(self.words)}" if self.words else ""
        page = f"<b>{html.escape(self.sentence)}</b>{words}"
        return {"text/html": outcome.card(page, RIGHT if self else NEUTRAL), "text/plain": str(self)}


# All of them -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Calibration:
    """Guesses so far. rows: (notebook, guessed, answered, right, right by blind guessing), one a notebook."""

    rows: tuple[tuple[str, int, int, int, float], ...]
    kept: bool

    @property
    def sentence(self) -> str:
        """The sum in words."""
        where = "so far" if self.kept else "in this session"
        answered, right = (sum(row[i] for row in self.rows) for i in (2, 3))
        blind = sum(row[4] for row in self.rows)
        guessed = sum(row[1] for row in self.rows)
        if not guessed:
            return f"Nothing has been guessed {where}. A guess is worth the most before the cell below it has run."
        text = f"{guessed} guessed {where}, {answered} of them answered."
        if not answered:
            return text
        return f"{text} {right} right, where blind guessing would give {blind:.1f} on average."

    def __str__(self) -> str:
        lines = [f"  {notebook:24}{right} of {answered} right" for notebook, _, answered, right, _ in self.rows]
        return "\n".join([self.sentence, *lines])

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        page = f"<p>{self.sentence}</p>"
        if self.rows:
            heads = ("notebook", "guessed", "answered", "right", "right by blind guessing")
            page += outcome.table(heads, [(*row[:4], f"{row[4]:.1f}") for row in self.rows])
        return {"text/html": page, "text/plain": str(self)}


def calibration() -> Calibration:
    """How good your guesses are: made and right, by notebook, beside what blind guessing would give."""
    place = _folder()
    guesses = {name: one.guess for name, one in _asked.items() if one.guess is not None and not one.late}
    for path in sorted(place.glob("*.json")) if place is not None and place.is_dir() else ():
        kept = _read(path.stem)
        if kept is not None:
            guesses.setdefault(kept.prediction, kept)
    by_notebook: dict[str, list[Guess]] = {}
    for guess in guesses.values():
        by_notebook.setdefault(_notebook_of(guess.prediction), []).append(guess)
    rows = []
    for notebook in sorted(by_notebook):
        answered = [guess for guess in by_notebook[notebook] if guess.right is not None]
        blind = sum(1 / len(guess.choices) for guess in answered)
        rows.append((notebook, len(by_notebook[notebook]), len(answered), sum(g.right for g in answered), blind))
    return Calibration(tuple(rows), place is not None)


def _notebook_of(name: str) -> str:
    room = name.partition(".")[0]
    return next((notebook for notebook, asked in BOOK.items() if asked == room), room)


def _folder() -> Path | None:
    place = record.folder()
    return None if place is None else place / FOLDER


def _read(name: str) -> Guess | None:
    """The kept guess, if there is one that can be read."""
    place = _folder()
    if place is None:
        return None
    try:
        kept = json.loads((place / f"{name}.json").read_text(encoding="utf-8"))
        guess = Guess(**(kept | {"choices": tuple(kept["choices"])}))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return guess if guess.choice in guess.choices else None


def _remembered(name: str) -> Prediction | None:
    """A prediction that another session asked, from what was guessed then."""
    kept = _read(name)
    return None if kept is None else Prediction(name, "", kept.choices)
