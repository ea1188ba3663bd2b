"""A submission from its file to what its answers did: a process for it, and where that ends early the next.

A process that ends or hangs costs the statement or the answer that it was at; the next one does the rest.
Imports process, submissions, worker and, of lessons, the book and the laboratory.
"""

import contextlib
import math
import secrets
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from netwright.grading.process import Process
from netwright.grading.submissions import Asked
from netwright.grading.worker import Job
from netwright.lessons.book import exercises_in
from netwright.lessons.laboratory import SECONDS

MOST_STARTS = 12  # processes for one submission
GRACE = 3.0  # seconds after its time in which a statement may still give way by itself
STARTING = 120.0  # seconds until a process is ready
TICK = 0.2  # seconds between two looks at the memory
FAULTS = ("crashed", "out of time", "out of memory")  # what a statement or an answer can come to by itself


@dataclass(frozen=True)
class Limits:
    """What one submission may take.

    seconds: for all its cells; statement: for one statement of them, by default a quarter; answer: seconds that one
    answer is measured for; memory: gigabytes beyond what the library itself takes.
    """

    seconds: float = 300
    memory: float = 4
    statement: float | None = None
    answer: float = SECONDS

    @property
    def of_statement(self) -> float:
        """Seconds that a statement may take."""
        return self.statement or self.seconds / 4

    @property
    def bytes(self) -> int:
        """The memory in bytes."""
        return int(self.memory * 1e9)


@dataclass
class Found:
    """What is known of one answer. content and parts: as the worker told them; or else an outcome and why."""

    content: dict = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    outcome: str | None = None
    message: str = ""


@dataclass
class _End:
    """How a process ended. kind: an outcome; at: the statement or exercise that it was at, None before the first."""

    kind: str
    why: str
    at: tuple[int, int] | str | None = None


@dataclass
class _State:
    """Where a process is. at: as of _End; last: when it must have told something; end: when its cells must be over.

    token: what it must say with its measurements; it gets it when its cells are over.
    """

    seconds: float
    last: float
    end: float = math.inf
    begun: float = 0.0
    running: bool = False
    done: bool = False
    at: tuple[int, int] | str | None = None
    token: str | None = None


class Session:
    """One submission. `run` gives what was found of every exercise that it was asked."""

    def __init__(self, cells: list[str], asked: list[Asked], limits: Limits, stop: threading.Event):
        self.cells, self.asked, self.limits, self.stop = cells, asked, limits, stop
        self.found: dict[str, Found] = {}
        self.faults: dict[int, tuple[str, str]] = {}  # cell -> the outcome and text of the first thing that it raised
        self.skip: set[tuple[int, int]] = set()
        self.left, self.took, self.cut = limits.seconds, 0.0, False

    def run(self) -> dict[str, Found]:
        """Exercise -> what is known of its answer."""
        end = None
        for _ in range(MOST_STARTS):
            end = self._start()
            if end is None or end.at is None or self.stop.is_set():
                break
            if isinstance(end.at, str):
                self.found.setdefault(end.at, Found(outcome=end.kind, message=f"While it was judged, {end.why}."))
            else:
                self.skip.add(end.at)
                self.faults.setdefault(end.at[0], (end.kind, end.why))
        for asked in self.asked:
            if asked.exercise not in self.found:
                kind, why = (end.kind, end.why) if end else ("crashed", "its process ended early")
                self.found[asked.exercise] = Found(outcome=kind, message=f"Not judged: {why}.")
            elif self.found[asked.exercise].content.get("missing"):
                self.found[asked.exercise] = self._missing(asked)
        return self.found

    def waiting(self) -> dict[str, Asked]:
        """The exercises of which nothing is known yet."""
        return {asked.exercise: asked for asked in self.asked if asked.exercise not in self.found}

    def _missing(self, asked: Asked) -> Found:
        """Why nothing is marked: the cell that should have done it failed, or was not reached, or is not there."""
        for number, cell in enumerate(self.cells):
            if asked.exercise in exercises_in(cell) and number in self.faults:
                kind, why = self.faults[number]
                return Found(outcome=kind, message=f"Its cell marks nothing: {why}")
        if self.cut:
            return Found(outcome="out of time", message="The notebook's time was over before an answer was marked.")
        return Found(outcome="missing", message=f'Nothing is marked with @exercise("{asked.exercise}").')

    # One process -----------------------------------------------------------------------------------------------

    def _start(self) -> _End | None:
        """Run what is left in a process of its own; None when it came to its end."""
        folder = Path(tempfile.mkdtemp(prefix="netwright-grade-"))
        seconds, limits = max(self.left, 2 * self.took, 1.0), self.limits
        job = Job(
            cells=tuple(self.cells),
            asked=tuple(self.waiting().values()),
            skip=frozenset(self.skip),
            folder=folder,
            seconds=seconds,
            statement=limits.of_statement,
            answer=limits.answer,
            memory=limits.bytes,
        )
        try:
            process = Process(job)
            try:
                return self._follow(process, seconds)
            finally:
                process.end()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _follow(self, process: Process, seconds: float) -> _End | None:
        """Listen to a process until it has done its job, ends or must be ended.

        What it tells is not to be trusted: at worst it loses its own time and its own marks.
        """
        state = _State(seconds, last=time.monotonic() + STARTING)
        looked = 0.0
        while not self.stop.is_set():
            message, now, end = process.next_message(TICK), time.monotonic(), None
            if message:
                with contextlib.suppress(KeyError, TypeError, ValueError):  # which no worker causes
                    end = self._hear(process, state, *message)
            elif now > state.last:
                why = "it did not stop when its time was over" if state.at else "the process did not start"
                end = _End("out of time" if state.at else "crashed", why)
            if end is None and now > looked + TICK:
                looked = now
                if process.too_large(self.limits.bytes):
                    end = self._short_of_memory()
                elif now > state.end:
                    end = _End("out of time", "it did not stop when its time was over")
            if state.done:
                return None
            if end:
                if state.running:
                    self.left -= now - state.begun
                end.at = state.at
                return end
        return _End("crashed", "grading was stopped")

    def _hear(self, process: Process, state: "_State", content: dict, parts: list[bytes]) -> _End | None:
        now, limits = time.monotonic(), self.limits
        match content.get("tell"):
            case "ready" if not state.begun:
                state.begun, state.running, state.last = now, True, now + GRACE
                state.end = now + state.seconds + 2 * GRACE
                process.is_ready(content["parent"])
            case "runs" if state.running:
                state.at = (int(content["cell"]), int(content["statement"]))
                state.last = now + min(limits.of_statement, max(state.begun + state.seconds - now, 0)) + GRACE
            case "raised" if state.running and content["kind"] in FAULTS:
                self.faults.setdefault(int(content["cell"]), (content["kind"], _sentence(content, limits)))
                if content["kind"] == "out of memory":  # it may hold what it took: on without it
                    return self._short_of_memory()
            case "cut" if state.running:
                self.cut = True
            case "ran" if state.running:
                self.left, self.took = self.left - (now - state.begun), now - state.begun
                state.running, state.at, state.last, state.end = False, None, now + GRACE, math.inf
                state.token = secrets.token_hex(16)
                process.send(state.token.encode())
            case "judges" if state.token and content["exercise"] in self.waiting():
                state.at, state.last = content["exercise"], now + limits.answer + GRACE
            case "judged" if content["token"] == state.token and content["exercise"] == state.at:
                self.found[state.at] = Found(content, parts)
            case "done" if content["token"] == state.token:
                state.done = True
            case "broke":
                return _End("crashed", f"it ended with {content['why']}")
            case "ended":
                if process.memory_was_short(limits.bytes):
                    return self._short_of_memory()
                return _End("crashed", content["why"])
        return None

    def _short_of_memory(self) -> _End:
        return _End("out of memory", f"it took more than {self.limits.memory:g} GB of memory")


def _sentence(content: dict, limits: Limits) -> str:
    if content["kind"] == "out of time":
        return f"it was still running after {limits.of_statement:g} seconds."
    return str(content["text"])
