"""How an answer is checked: it is run beside the library's version on the same numbers, and beside known mistakes.

Imports book, compare, laboratory, outcome and record; the checks themselves are in the rooms beside it, one for each
notebook, found by an exercise's name.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from netwright.lessons import laboratory, record
from netwright.lessons.book import BOOK, notebook_of
from netwright.lessons.compare import Parting, compare
from netwright.lessons.laboratory import OutOfTime, Run, run
from netwright.lessons.outcome import Hints, Outcome, Progress, Row, Solution, Status

HINTS, FEWEST_MISTAKES = 3, 6
Difficulty = Literal["easy", "medium", "hard"]

_session: dict[str, Outcome] = {}  # exercise -> its last outcome, for `progress`; a notebook has one session
_ENDED = object()


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
        list, tuple or mapping of such; yielded tensors must not be changed later. It runs in float64, and must compute
        the same way for ours and theirs. Random numbers are seeded before each case: draw an input right after a yield,
        or before the version is called, and an answer that draws numbers itself changes nothing.
    mistakes: known wrong versions by what they do, as a clause that completes "it equals one …".
    hints: three, each nearer to the solution.
    minutes, difficulty: what it asks of someone who has read the notebook up to it; estimated, not measured.
    tolerance: the largest relative error that counts as equal.
    """

    id: str
    minutes: int
    difficulty: Difficulty
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

    Never raises for what the answer does: an exception in it, or more than SECONDS of the laboratory, is the outcome
    "crashed", an open place (`...`) "not attempted". Raises UnknownExercise.
    """
    outcome = judge(find(name), theirs)
    _session[name] = outcome
    record.remember(name, outcome.status, outcome.mistake)
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
    outcome = judge(find(name), theirs)
    if outcome:
        print(f"Below, {name} is yours: it passed.")
        return theirs
    why = "is not attempted yet" if outcome.status == "not attempted" else outcome.status
    print(f"Below, {name} is the library's: yours {why}.")
    return find(name).ours


def progress() -> Progress:
    """Where the reader stands: every exercise of the book beside a record (see `record`), else those of this session."""
    kept = record.folder() is not None
    rows = []
    rooms = BOOK.values() if kept else {name.partition(".")[0] for name in _session}
    exercises = [each for room in BOOK.values() if room in rooms for each in _checks(room)]
    for exercise in exercises:
        name = exercise.id
        outcome, entry = _session.get(name), record.entry(name)
        if not kept and outcome is None:
            continue
        last = outcome if outcome is not None else entry
        status = last.status if last is not None else "open"
        passed = bool(outcome) or (entry is not None and entry.passed is not None)
        checks = entry.checks if entry else int(outcome is not None)
        compared = f"{outcome.compared:,}" if outcome is not None and outcome.compared else ""
        rows.append(
            Row(notebook_of(name), name, exercise.minutes, exercise.difficulty, status, passed, checks, compared)
        )
    return Progress(tuple(rows), kept)


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


def judge(exercise: Check, theirs: Any) -> Outcome:
    """The outcome of one check of one answer; nothing is remembered."""
    called = getattr(theirs, "__name__", None) or "Your answer"
    marked = getattr(theirs, "exercise", exercise.id)
    if marked != exercise.id:
        message = f"{called} is marked as the answer to {marked!r}: hand it to check({marked!r}, {called})."
        return Outcome(exercise.id, "failed", message)
    if is_open(theirs):
        message = f"There is still an open place (...) where the code goes. Three hints: hint({exercise.id!r})."
        return Outcome(exercise.id, "not attempted", message)

    wanted, found = run(exercise.measure, exercise.ours), run(exercise.measure, theirs)
    if wanted.error:
        raise wanted.error  # ours to repair
    if isinstance(found.error, OutOfTime):
        message = f"{called} was still running after {laboratory.SECONDS} seconds, and was stopped."
        message += f"\nThe check had asked for {_asked(wanted, found)}."
        return Outcome(exercise.id, "crashed", message, printed=found.printed, out_of_time=True)
    compared, largest = 0, 0.0
    for (what, expected), (_, value) in zip(wanted.cases, found.cases, strict=False):
        result = compare(value, expected, exercise.tolerance)
        if result.fault:
            message = f"{what[0].upper()}{what[1:]} {result.fault}."
            return _diagnosed(exercise, "failed", message, called, found, result.parting)
        compared, largest = compared + result.count, max(largest, result.error)
    if found.error:
        message = f"{called} raised {described(found.error)}\nThe check had asked for {_asked(wanted, found)}."
        return _diagnosed(exercise, "crashed", message, called, found)
    if len(found.cases) != len(wanted.cases):
        message = f"{called} ended after {len(found.cases)} of {len(wanted.cases)} cases."
        return Outcome(exercise.id, "failed", message, printed=found.printed)
    rest = f"equal, the largest relative error {largest:.1g}" if largest else "exactly equal"
    message = f"All {compared:,} values that were compared are {rest}."
    return Outcome(exercise.id, "passed", message, compared=compared, error=largest, printed=found.printed)


def _asked(wanted: Run, found: Run) -> str:
    return wanted.cases[min(len(found.cases), len(wanted.cases) - 1)][0]


def _diagnosed(
    exercise: Check, status: Status, message: str, called: str, found: Run, parting: Parting | None = None
) -> Outcome:
    mistake = next((m for m, version in exercise.mistakes.items() if _behaves_as(exercise, version, found)), None)
    if mistake:
        message = f"{called} equals one {mistake}.\n{message}"
    return Outcome(exercise.id, status, message, mistake, parting=parting, printed=found.printed)


def _behaves_as(exercise: Check, version: Any, found: Run) -> bool:
    """Whether a version does exactly what was found, crashing at the same place included; stops where they part."""
    cases = iter(found.cases)
    with laboratory.laboratory(laboratory.Tape()):
        try:
            for _, other in laboratory.each_case(exercise.measure, version):
                _, value = next(cases, (None, _ENDED))
                if value is _ENDED or compare(value, other, exercise.tolerance).fault:
                    return False
        except Exception as error:  # noqa: BLE001  a known mistake may crash, as answers do
            return next(cases, None) is None and type(error) is type(found.error)
    return next(cases, None) is None and found.error is None


# Reading the answer --------------------------------------------------------------------------------------------


def is_open(theirs: Any) -> bool:
    """Whether an answer still has an open place: a statement `...`, `name = ...` or `return ...`.

    So has a function that does nothing but raise NotImplementedError, which is what nbgrader leaves. A class is open
    if one of its own methods is. Where the source is not to be had, nothing counts as open.
    """
    if theirs is None or theirs is ...:
        return True
    if isinstance(theirs, Mapping):
        return any(value is ... for value in theirs.values())
    if inspect.isclass(theirs):
        return any(is_open(part) for part in map(_bare, vars(theirs).values()) if inspect.isfunction(part))
    if not inspect.isfunction(theirs):
        return False
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(theirs)))
    except (OSError, SyntaxError):
        return False
    return _is_unwritten(tree) or any(
        isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign | ast.Return)
        and isinstance(node.value, ast.Constant)
        and node.value.value is ...
        for node in ast.walk(tree)
    )


def _bare(part: Any) -> Any:
    """The function inside a staticmethod, a classmethod or a property; anything else as it is."""
    if isinstance(part, property):
        return part.fget
    return getattr(part, "__func__", part)


def _is_unwritten(tree: ast.Module) -> bool:
    """Whether the function in `tree` says `raise NotImplementedError` outright, in no branch."""
    raised = [
        statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
        for function in tree.body
        if isinstance(function, ast.FunctionDef)
        for statement in function.body
        if isinstance(statement, ast.Raise)
    ]
    return any(isinstance(name, ast.Name) and name.id == "NotImplementedError" for name in raised)


def described(error: BaseException) -> str:
    """The exception, and the line of the reader's own code that it came from: the last that is in no package."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if laboratory.is_readers(frame.filename)]
    text = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    if own:
        return f"{text}\nat your line {own[-1].lineno}: {linecache.getline(own[-1].filename, own[-1].lineno).strip()}"
    return f"{text}\nnot at a line of yours, but when it was called or when what it returned was used."
