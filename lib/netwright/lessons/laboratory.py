"""Where an answer is run: in float64, with seeded random numbers, within a time, and with what it prints kept aside.

Imports nothing of the project.
"""

import contextlib
import ctypes
import io
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

SECONDS = 10  # that an answer may take in one check; the library's takes a fraction of one
AGAIN = 0.1  # seconds after which an answer that swallowed the first OutOfTime gets the next
MOST_PRINTED = 2_000  # characters that are kept
_OTHERS = (str(Path(__file__).parents[1]), str(Path(io.__file__).parent))  # netwright's, and Python's own


class OutOfTime(BaseException):
    """An answer is still running when its time is over. Not an Exception, which answers catch."""


@dataclass(frozen=True)
class Run:
    """What a measurement made of one version: the cases up to its end or to an exception, and what was printed."""

    cases: tuple[tuple[str, Any], ...]
    error: BaseException | None
    printed: str


def is_readers(filename: str) -> bool:
    """Whether a file of code is the reader's own: a cell or a script, not this project's nor any package's."""
    return not filename.startswith(_OTHERS) and "site-packages" not in filename


def run(measure: Callable[[Any], Iterator[tuple[str, Any]]], version: Any) -> Run:
    """Every case of `measure(version)`, as far as it comes. Raises KeyboardInterrupt only."""
    cases, error, tape = [], None, Tape()
    with laboratory(tape):
        try:
            with time_limit(SECONDS):
                cases.extend(each_case(measure, version))  # which keeps those before an exception
        except (Exception, OutOfTime, SystemExit) as raised:  # noqa: BLE001  whatever it raises is part of the outcome
            error = raised
    return Run(tuple(cases), error, tape.text)


def each_case(measure: Callable[[Any], Iterator[tuple[str, Any]]], version: Any) -> Iterator[tuple[str, Any]]:
    """The cases of a measurement, random numbers seeded anew for each.

    So an answer may draw as many as it likes, in what order it likes: the inputs of the next case stay what they are.
    """
    for number, case in enumerate(measure(version), start=1):
        yield case
        torch.default_generator.manual_seed(number)  # the CPU's alone, which takes a hundredth of torch.manual_seed


@contextmanager
def laboratory(tape: "Tape"):
    """float64, seeded random numbers, gradients on, prints on the tape; and afterwards everything as it was."""
    default = torch.get_default_dtype()
    with (
        torch.random.fork_rng(devices=[]),
        torch.enable_grad(),
        contextlib.redirect_stdout(tape),
        contextlib.redirect_stderr(tape),
    ):
        torch.manual_seed(0)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(default)


class Tape(io.TextIOBase):
    """Takes what is printed, keeps the beginning and counts the rest: a loop can print a gigabyte."""

    def __init__(self):
        self._kept: list[str] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        room = MOST_PRINTED - self._length
        if room > 0:
            self._kept.append(text[:room])
        self._length += len(text)
        return len(text)

    @property
    def text(self) -> str:
        """The beginning, and how much more there was."""
        beginning = "".join(self._kept)
        more = self._length - len(beginning)
        return f"{beginning}\n… and {more:,} more characters" if more else beginning


@contextmanager
def time_limit(seconds: float):
    """Raise OutOfTime inside the block when it takes longer, and again until it gives way.

    It arrives between two steps of Python; one call that computes for long is waited for. In the main thread, and not
    on Windows, a call that merely sleeps is woken, and a loop that catches everything is left all the same.
    """
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        limit = _by_signal(seconds)
    else:
        limit = _by_watcher(seconds)
    with limit:
        yield


@contextmanager
def _by_signal(seconds: float):
    armed, rings = True, 0
    tracer = sys.gettrace()

    def ring(_number, frame):
        nonlocal rings
        rings += armed
        if rings > 1:
            _raise_at_every_line(frame)
        if armed:
            raise OutOfTime

    def _raise_at_every_line(frame):
        """For a loop that catches everything: what is raised inside its `except` as well gets out."""
        sys.settrace(lambda *_: None)  # tracing is on, for the frames that have a tracer of their own
        while frame is not None and is_readers(frame.f_code.co_filename):
            frame.f_trace = again
            frame = frame.f_back

    def again(_frame, event, _argument):
        if armed and event == "line":  # the event of an exception comes while it can still be caught
            raise OutOfTime
        return again

    before = signal.signal(signal.SIGALRM, ring)
    start = time.monotonic()
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        armed = False
        sys.settrace(tracer)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:  # somebody outside has set a timer too: it goes on where it would be
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - start), 1e-3), interval)


@contextmanager
def _by_watcher(seconds: float):
    thread, done = ctypes.c_ulong(threading.get_ident()), threading.Event()
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc

    def watch():
        wait = seconds
        while not done.wait(wait):
            raise_in(thread, ctypes.py_object(OutOfTime))
            wait = AGAIN

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        raise_in(thread, None)  # takes back one that has not arrived yet
