"""What runs in the process of a submission: its cells, one statement after the other, then what the checks measure.

Nothing here decides anything: marks are made where no student's code has run. What is told goes out as bytes (see
parcels), in this order: ready, then runs and raised for each statement, ran, and after the grader's word for it,
judges and judged for each exercise, done. Imports answers, confine, parcels,
untouched, and within functions warm and lessons.
"""

import ast
import asyncio
import contextlib
import gc
import inspect
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType
from typing import Any

from netwright.grading import confine, untouched
from netwright.grading.answers import Answers, leans_on
from netwright.grading.parcels import letter, pack
from netwright.grading.submissions import Asked

_NO_MEMORY = ("allocate memory", "not enough memory", "bad_alloc", "Cannot allocate", "out of memory")


@dataclass(frozen=True)
class Job:
    """What a process is to do.

    skip: statements, by cell and number, that ended an earlier process. seconds: for all cells, statement:
    for one statement, answer: for one measurement. memory: bytes beyond what the library takes.
    """

    cells: tuple[str, ...]
    asked: tuple[Asked, ...]
    skip: frozenset[tuple[int, int]]
    folder: Path
    seconds: float
    statement: float
    answer: float
    memory: int


def work(job: Job, channel: Connection) -> None:
    """Do a job, and end the process whatever threads are left in it."""
    try:
        _work(job, channel)
    except BaseException as error:  # noqa: BLE001  told, since nothing else gets out of here
        with contextlib.suppress(Exception):
            channel.send_bytes(letter({"tell": "broke", "why": f"{type(error).__name__}: {error}"}))
    finally:
        os._exit(0)


def _work(job: Job, channel: Connection) -> None:
    from netwright.grading.warm import SHELL
    from netwright.lessons import laboratory

    laboratory.SECONDS = job.answer
    confine.enclose(job.folder, job.memory)
    confine.cut_off(channel.fileno())
    answers = Answers()
    checks = {asked.exercise: answers.find(asked.exercise) for asked in job.asked}
    checks = {name: (check.measure, check.ours) for name, check in checks.items()}  # as they are before any cell
    before = untouched.remember()

    def tell(what: str, parts: list[bytes] = (), **content: Any) -> None:
        channel.send_bytes(letter({"tell": what, **content}, parts))

    tell("ready", parent=os.getppid())
    _run_cells(job, SHELL, tell)
    tell("ran")
    token = channel.recv_bytes().decode()  # of which no cell could know
    for asked in job.asked:
        tell("judges", exercise=asked.exercise)
        start, parts = time.perf_counter(), []
        touched = untouched.altered(before)
        found = (
            {"altered": touched} if touched else _measure(asked, checks[asked.exercise], answers, SHELL.user_ns, parts)
        )
        seconds = time.perf_counter() - start
        tell("judged", parts, exercise=asked.exercise, token=token, seconds=seconds, **found)
    tell("done", token=token)


# Cells ---------------------------------------------------------------------------------------------------------


def _run_cells(job: Job, shell, tell) -> None:
    from netwright.lessons.laboratory import time_limit

    loop, deadline = None, time.monotonic() + job.seconds
    for number, cell in enumerate(job.cells):
        try:
            statements = list(_statements(shell, cell, number))
        except Exception as error:  # noqa: BLE001  whatever keeps it from being Python
            tell("raised", cell=number, **_fault(error))
            continue
        for place, code in enumerate(statements):
            left = deadline - time.monotonic()
            if left <= 0:
                tell("cut", cell=number)
                return
            if (number, place) in job.skip:
                continue
            tell("runs", cell=number, statement=place)
            try:
                with time_limit(min(job.statement, left)):
                    result = eval(code, shell.user_ns)
                    if inspect.iscoroutine(result):
                        loop = loop or asyncio.new_event_loop()
                        loop.run_until_complete(result)
            except BaseException as error:  # noqa: BLE001  SystemExit and the end of time too
                fault = _fault(error)
                tell("raised", cell=number, **fault)
                error.__traceback__ = None  # which holds what it was working on
                if fault["kind"] == "out of memory":
                    gc.collect()


def _statements(shell, cell: str, number: int) -> Iterator[CodeType]:
    """A cell's statements, each compiled by itself. The text stays where inspect and tracebacks look for it."""
    text = shell.transform_cell(cell)
    name = shell.compile.cache(text, number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        for node in shell.compile.ast_parse(text, name).body:
            with shell.compile.extra_flags(ast.PyCF_ALLOW_TOP_LEVEL_AWAIT):
                yield shell.compile(ast.Module([node], []), name, "exec")


def _fault(error: BaseException) -> dict[str, str]:
    """An exception as the grader is told of it. kind: crashed, out of time or out of memory; name: of its class."""
    from netwright.lessons.engine import described
    from netwright.lessons.laboratory import OutOfTime

    kind = "crashed"
    if isinstance(error, OutOfTime):
        kind = "out of time"
    elif isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | OSError) and any(words in str(error) for words in _NO_MEMORY)
    ):
        kind = "out of memory"
    if isinstance(error, SyntaxError):
        text = f"{type(error).__name__}: {error}"
    else:
        text = described(error)
    return {"kind": kind, "name": type(error).__qualname__, "text": text[:2000]}


# Measuring ------------------------------------------------------------------------------------------------------


def _measure(asked: Asked, check: tuple, answers: Answers, namespace: dict, parts: list[bytes]) -> dict:
    """What the check measures of the answer, packed; `parts` gets the numbers."""
    from netwright.lessons import laboratory

    measure, ours = check
    try:
        theirs, is_open = answers.answer(asked, namespace)
        if is_open:
            return {"missing": theirs is None, "open": theirs is not None}
        called = str(getattr(theirs, "__name__", None) or "the answer")[:80]

        def packed(version):
            for what, value in measure(version):
                yield what, pack(value, parts)

        _restore_torch()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = laboratory.run(packed, theirs)
        fault = _fault(run.error) if run.error else None
        cases = [value for _, value in run.cases]
        return {"called": called, "cases": cases, "fault": fault, "leans": leans_on(theirs, ours)}
    except BaseException as error:  # noqa: BLE001  not even reading the answer may end this
        return {"called": "the answer", "cases": [], "fault": _fault(error), "leans": False}


def _restore_torch() -> None:
    """What a notebook may have set for all that follows, and the laboratory does not set itself."""
    import torch

    if torch.get_default_device().type != "cpu":
        torch.set_default_device(None)
    if torch.are_deterministic_algorithms_enabled():  # asking is cheap; setting imports half of torch
        torch.use_deterministic_algorithms(False)
    torch.set_num_threads(1)
