"""A process that does a job: its start, what it tells, how much memory it takes, its end. Imports parcels and worker."""

import contextlib
import multiprocessing.connection
import os
import queue
import signal
import sys
import threading
import time
from types import ModuleType

from netwright.grading.parcels import opened
from netwright.grading.worker import Job, work

FAMILY = 1.0  # seconds between two looks at what a process has started
MOST_MESSAGE = 1 << 28  # bytes
_SETTINGS = {  # of every process that runs a notebook
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "MPLBACKEND": "agg",
    "PYTHONHASHSEED": "0",
    "NETWRIGHT_OFFLINE": "1",
}
_STATE = threading.RLock()  # starting and ending processes, one at a time
_alive: set[int] = set()  # their ids


class Process:
    """A process that does a job, what it tells, and its end."""

    def __init__(self, job: Job):
        self._messages: queue.SimpleQueue = queue.SimpleQueue()
        self._parent: int | None = None
        self._base = self._most = 0
        self._looked = 0.0
        with _STATE:
            context = _context()
            self._channel, theirs = context.Pipe()
            self._process = context.Process(target=work, args=(job, theirs), daemon=False)
            with _environment(_SETTINGS), _without_main():
                self._process.start()
            theirs.close()
            self.id = self._process.pid
            _alive.add(self.id)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        threading.Thread(target=self._watch, daemon=True).start()

    def _listen(self) -> None:
        """In a thread of its own: a message that is cut short holds up nobody else."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                message = self._channel.recv_bytes(MOST_MESSAGE)
                with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    self._messages.put(opened(message))  # if it is one of the worker's

    def _watch(self) -> None:
        multiprocessing.connection.wait([self._process.sentinel])
        self._listener.join(1)  # for what it told last; a child of its own may keep the line open
        self._messages.put(({"tell": "ended", "why": self._how()}, []))

    def _how(self) -> str:
        code = self._code()
        if code is None or code == 0 or code == 255:  # 0: `os._exit(0)`, of the worker or of the student
            return "it ended its process"
        if code > 0:
            return f"it ended its process with exit status {code}"
        with contextlib.suppress(ValueError):
            return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process was ended by signal {-code}"

    def _code(self) -> int | None:
        with _STATE:
            self._process.join(1)
            return self._process.exitcode

    def is_ready(self, parent: int | None) -> None:
        """The worker has begun: `parent` is the process that adopts what it leaves behind."""
        self._parent = parent
        self._base = self._memory()

    def next_message(self, seconds: float) -> tuple[dict, list[bytes]] | None:
        """What it told next, or None when it told nothing for so long."""
        try:
            return self._messages.get(timeout=seconds)
        except queue.Empty:
            return None

    def send(self, message: bytes) -> None:
        """Tell it something; nothing happens when it is gone."""
        with contextlib.suppress(OSError, ValueError):
            self._channel.send_bytes(message)

    def too_large(self, most: int) -> bool:
        """Whether it and what it started take more memory than `most` bytes beyond what it began with.

        On Linux the system already keeps each process from that; this finds several that share it out.
        """
        self._most = max(self._most, self._memory())
        return self._most - self._base > 1.25 * most

    def memory_was_short(self, most: int) -> bool:
        """Whether it was seen with so much memory that this is why it ended."""
        return self._most - self._base > 0.9 * most

    def _memory(self) -> int:
        psutil = _psutil()
        if psutil is None:
            return 0
        try:
            process = psutil.Process(self.id)
            family = [process]
            if time.monotonic() - self._looked > FAMILY:  # a look through all processes of the machine
                self._looked = time.monotonic()
                family += process.children(recursive=True)
            return sum(_resident(each) for each in family)
        except psutil.Error:
            return 0

    def end(self) -> None:
        """End it and everything that it has started."""
        with _STATE:
            started = _offspring(self.id)
            if hasattr(os, "killpg"):
                with contextlib.suppress(OSError):
                    os.killpg(self.id, signal.SIGKILL)
            with contextlib.suppress(OSError, ValueError):
                self._process.kill()
            self._process.join(5)
            _alive.discard(self.id)
            for process in (*started, *self._adopted()):
                with contextlib.suppress(Exception):  # gone, or not ours to end
                    process.kill()
            self._channel.close()

    def _adopted(self) -> list:
        """What it left behind that has a parent again: the process from which all are forked."""
        if sys.platform != "linux" or self._parent in (None, os.getpid(), 1):
            return []
        return [child for child in _offspring(self._parent, direct=True) if child.pid not in _alive]


def _offspring(process: int, direct: bool = False) -> list:
    psutil = _psutil()
    if psutil is None:
        return []
    try:
        return psutil.Process(process).children(recursive=not direct)
    except psutil.Error:
        return []


def _resident(process) -> int:
    with contextlib.suppress(Exception):
        return process.memory_info().rss
    return 0


def _psutil():
    try:
        import psutil
    except ImportError:  # ipykernel brings it; without it memory is limited by the system only
        return None
    return psutil


def _context():
    """Linux forks from a process that has everything imported; elsewhere that is not safe with torch."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["netwright.grading.warm"])
    return context


@contextlib.contextmanager
def _without_main():
    """A new process imports the script that started it, which a teacher's may not be meant for; here it need not."""
    before = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = before


@contextlib.contextmanager
def _environment(settings: dict[str, str]):
    before = {name: os.environ.get(name) for name in settings}
    os.environ |= settings
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
