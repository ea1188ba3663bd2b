"""What a teacher gets for a notebook: time, opening, misconceptions, questions, and what each mistake reveals.

The files beside this one, `NN_name.toml`, hold it. Imports the engine of the lessons.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netwright.lessons.engine import UnknownExercise, find

FOLDER = Path(__file__).parent
FIELDS = ("minutes", "opening", "misconceptions", "questions", "exercises")


class TeachingError(ValueError):
    """A teaching file that is missing or not as it should be; the message says which, what, and what is wanted."""


@dataclass(frozen=True)
class Pair:
    """Something that is said in the classroom, and what to say to it: a belief or a question, and its answer."""

    said: str
    answer: str


@dataclass(frozen=True)
class Teaching:
    """The teacher's side of one notebook.

    minutes: the whole notebook in class, estimated. opening: how the session begins. exercises: exercise -> mistake, as
    the clause that its Check has -> what someone who makes it believes, and what to ask them.
    """

    name: str
    minutes: int
    opening: str
    misconceptions: tuple[Pair, ...]
    questions: tuple[Pair, ...]
    exercises: Mapping[str, Mapping[str, str]]

    def faults(self) -> list[str]:
        """Where the mistakes told of are not exactly those that the Checks know, as sentences; empty when they are."""
        found = []
        for exercise, reveals in self.exercises.items():
            try:
                known = find(exercise).mistakes
            except UnknownExercise as error:
                found.append(f"{self.name}: {error}")
                continue
            found += [
                f"{self.name}, {exercise}: nothing is said of {clause!r}." for clause in known if clause not in reveals
            ]
            found += [
                f"{self.name}, {exercise}: its Check knows no {clause!r}." for clause in reveals if clause not in known
            ]
        return found


def names(folder: Path = FOLDER) -> list[str]:
    """The notebooks that have a teaching file, by name: "00_bench"."""
    return sorted(path.stem for path in folder.glob("[0-9][0-9]_*.toml"))


def teaching(name: str, folder: Path = FOLDER) -> Teaching:
    """The teaching file of a notebook, "00_bench". Raises TeachingError where it is missing or not as it should be."""
    path = folder / f"{name}.toml"
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(names(folder)) or "none"
        raise TeachingError(f"The notebook {name} has no teaching file {path.name}. There are: {known}.") from None
    except tomllib.TOMLDecodeError as error:
        raise TeachingError(f"{path.name} is no TOML: {error}.") from error
    if unknown := sorted(set(told) - set(FIELDS)):
        raise TeachingError(f"{path.name} has {', '.join(unknown)}; its parts are {', '.join(FIELDS)}.")
    if missing := [field for field in FIELDS if field not in told]:
        raise TeachingError(f"{path.name} lacks {', '.join(missing)}.")
    minutes = told["minutes"]
    if not isinstance(minutes, int) or minutes <= 0:
        raise TeachingError(f"{path.name}: minutes is {minutes!r}, and should be a whole number above 0.")
    for exercise, reveals in told["exercises"].items():
        for clause, text in reveals.items():
            _text(text, f"{path.name}, {exercise}, {clause!r}")
    return Teaching(
        name=name,
        minutes=minutes,
        opening=_text(told["opening"], f"{path.name}, opening"),
        misconceptions=_pairs(told["misconceptions"], "belief", f"{path.name}, misconceptions"),
        questions=_pairs(told["questions"], "question", f"{path.name}, questions"),
        exercises=told["exercises"],
    )


def _pairs(entries: list[dict[str, Any]], first: str, where: str) -> tuple[Pair, ...]:
    for number, entry in enumerate(entries, start=1):
        if set(entry) != {first, "answer"}:
            raise TeachingError(
                f"{where}, number {number}: it has {', '.join(entry)}, and should have {first} and answer."
            )
    return tuple(Pair(_text(entry[first], where), _text(entry["answer"], where)) for entry in entries)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TeachingError(f"{where}: there should be a text, and there is {value!r}.")
    return " ".join(value.split())
