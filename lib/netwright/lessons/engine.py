"""How an answer is checked: it is run beside the library's version on the same numbers, and beside known mistakes.

Imports compare and outcome; the checks themselves are in the files beside it, one for each notebook, found by an exercise's name.
"""

import ast
import difflib
import importlib
import inspect
import linecache
import pkgutil
import textwrap
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from netwright.lessons.compare import compare
from netwright.lessons.outcome import Hints, Outcome, Progress, Solution, Status

HINTS, FEWEST_MISTAKES = 3, 6

_record: dict[str, Outcome] = {}  # exercise -> its last outcome, for `progress`; a notebook has one session


class UnknownExercise(KeyError):
    """No exercise has this name; the message gives the nearest ones."""

    def __str__(self) -> str:  # KeyError would show its message in quotes
        return self.args[0]


@dataclass(frozen=True)
class Check:
    """One exercise. A file of this room lists its own in a tuple CHECKS; "bench.block" is in bench.py.

    ours: the library's version, a function or class.
    measure: runs a version and yields (what it is, value) in a fixed order, the telling cases first. What it is reads
        as the subject of a sentence: "the output in training mode". A value is a tensor, a number, a string, None, or a
        list, tuple or mapping of such; yielded tensors must not be changed later. It runs in float64 with seeded
        random numbers, and must compute the same way for ours and theirs.
    mistakes: known wrong versions by what they do, as a clause that completes "it equals one …".
    hints: three, each nearer to the solution.
    tolerance: the largest relative error that counts as equal.
    """

    id: str
    ours: Any
    measure: Callable[[Any], Iterator[tuple[str, Any]]]
    mistakes: Mapping[str, Any]
    hints: tuple[str, str, str]
    tolerance: float = 1e-9

    def __post_init__(self):
        if len(self.hints) != HINTS or len(self.mistakes) < FEWEST_MISTAKES:
            raise ValueError(
                f"{self.id} has {len(self.hints)} hints and {len(self.mistakes)} mistakes; an exercise needs {HINTS} "
                f"hints and at least {FEWEST_MISTAKES} mistakes."
            )


# The five verbs ------------------------------------------------------------------------------------------------


def exercise(name: str) -> Callable:
    """Mark the reader's function or class as the answer to an exercise: `@exercise("bench.block")`.

    Returns it unchanged but for an attribute. Raises UnknownExercise.
    """
    find(name)

    def mark(theirs):
        theirs.exercise = name
        return theirs

    return mark


def check(name: str, theirs: Any) -> Outcome:
    """Compare the reader's answer with the library's version, value by value.

    Never raises for what the answer does: an exception in it is the outcome "crashed", an open place (`...`) "not
    attempted". Raises UnknownExercise.
    """
    outcome = _check(find(name), theirs)
    _record[name] = outcome
    return outcome


def hint(name: str) -> Hints:
    """Three hints for an exercise, folded into each other. Raises UnknownExercise."""
    return Hints(name, find(name).hints)


def solution(name: str) -> Solution:
    """The library's own source of an exercise, folded. Raises UnknownExercise."""
    return Solution(name, textwrap.dedent(inspect.getsource(find(name).ours)))


def theirs_or_ours(name: str, theirs: Any) -> Any:
    """The reader's version if it passes, else the library's, so that what follows runs; a sentence says which.

    Raises UnknownExercise.
    """
    outcome = _check(find(name), theirs)
    if outcome:
        print(f"Below, {name} is yours: it passed.")
        return theirs
    why = "is not attempted yet" if outcome.status == "not attempted" else outcome.status
    print(f"Below, {name} is the library's: yours {why}.")
    return find(name).ours


def progress() -> Progress:
    """What has been checked in this session: the last outcome of each exercise."""
    return Progress(tuple(_record.values()))


def names() -> list[str]:
    """The names of all exercises."""
    return [each.id for room in _rooms() for each in _checks(room)]


def find(name: str) -> Check:
    """The check called `name`. Raises UnknownExercise."""
    room = name.partition(".")[0]
    for each in _checks(room) if room in _rooms() else ():
        if each.id == name:
            return each
    near = difflib.get_close_matches(name, names(), n=3, cutoff=0.4) or names()
    raise UnknownExercise(f"No exercise is called {name!r}. The nearest names: {', '.join(near)}.")


def _rooms() -> list[str]:
    return [info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)])]


def _checks(room: str) -> tuple[Check, ...]:
    return getattr(importlib.import_module(f"{__package__}.{room}"), "CHECKS", ())


# Judging -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What `measure` made of one version: the cases up to its end or to an exception."""

    cases: tuple[tuple[str, Any], ...]
    error: Exception | None


def _check(exercise: Check, theirs: Any) -> Outcome:
    called = getattr(theirs, "__name__", None) or "Your answer"
    marked = getattr(theirs, "exercise", exercise.id)
    if marked != exercise.id:
        message = f"{called} is marked as the answer to {marked!r}: hand it to check({marked!r}, {called})."
        return Outcome(exercise.id, "failed", message)
    if is_open(theirs):
        message = f"There is still an open place (...) where the code goes. Three hints: hint({exercise.id!r})."
        return Outcome(exercise.id, "not attempted", message)

    wanted, found = _run(exercise, exercise.ours), _run(exercise, theirs)
    if wanted.error:
        raise wanted.error  # ours to repair
    compared, largest = 0, 0.0
    for (what, expected), (_, value) in zip(wanted.cases, found.cases, strict=False):
        result = compare(value, expected, exercise.tolerance)
        if result.fault:
            message = f"{what[0].upper()}{what[1:]} {result.fault}."
            return _diagnosed(exercise, "failed", message, called, found)
        compared, largest = compared + result.count, max(largest, result.error)
    if found.error:
        asked = wanted.cases[min(len(found.cases), len(wanted.cases) - 1)][0]
        message = f"{called} raised {_described(found.error)}\nThe check had asked for {asked}."
        return _diagnosed(exercise, "crashed", message, called, found)
    if len(found.cases) != len(wanted.cases):
        message = f"{called} ended after {len(found.cases)} of {len(wanted.cases)} cases."
        return Outcome(exercise.id, "failed", message)
    rest = f"equal, the largest relative error {largest:.1g}" if largest else "exactly equal"
    message = f"All {compared:,} values that were compared are {rest}."
    return Outcome(exercise.id, "passed", message, compared=compared, error=largest)


def _diagnosed(exercise: Check, status: Status, message: str, called: str, found: Run) -> Outcome:
    mistake = _mistake(exercise, found)
    if mistake:
        message = f"{called} equals one {mistake}.\n{message}"
    return Outcome(exercise.id, status, message, mistake)


def _mistake(exercise: Check, found: Run) -> str | None:
    """The known mistake that behaves exactly as the answer does, crashing at the same place included."""
    for mistake, version in exercise.mistakes.items():
        run = _run(exercise, version)
        same_end = len(run.cases) == len(found.cases) and type(run.error) is type(found.error)
        if same_end and all(
            compare(value, other, exercise.tolerance).fault is None
            for (_, value), (_, other) in zip(found.cases, run.cases, strict=True)
        ):
            return mistake
    return None


def _run(exercise: Check, version: Any) -> Run:
    cases = []
    with _laboratory():
        try:
            cases.extend(exercise.measure(version))  # which keeps those before an exception
        except Exception as error:  # noqa: BLE001  whatever the answer raises is part of the outcome
            return Run(tuple(cases), error)
    return Run(tuple(cases), None)


@contextmanager
def _laboratory():
    """float64 and seeded random numbers, and afterwards everything as it was."""
    default = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(default)


# Reading the answer --------------------------------------------------------------------------------------------


def is_open(theirs: Any) -> bool:
    """Whether an answer still has an open place: a statement `...`, `name = ...` or `return ...`.

    A class is open if one of its own methods is. Where the source is not to be had, nothing counts as open.
    """
    if theirs is None or theirs is ...:
        return True
    if isinstance(theirs, Mapping):
        return any(value is ... for value in theirs.values())
    if inspect.isclass(theirs):
        return any(is_open(part) for part in vars(theirs).values() if inspect.isfunction(part))
    if not inspect.isfunction(theirs):
        return False
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(theirs)))
    except (OSError, SyntaxError):
        return False
    return any(
        isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign | ast.Return)
        and isinstance(node.value, ast.Constant)
        and node.value.value is ...
        for node in ast.walk(tree)
    )


def _described(error: Exception) -> str:
    """The exception, and the line of the reader's own code that it came from: the last that is in no package."""
    ours = str(Path(__file__).parents[1])
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith(ours) and "site-packages" not in f.filename]
    text = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    if not own:
        return text
    return f"{text}\nat your line {own[-1].lineno}: {linecache.getline(own[-1].filename, own[-1].lineno).strip()}"
