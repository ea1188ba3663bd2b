"""The walls around a student's process: no network, no files but its own, so much memory, no one else's processes.

What the system can enforce it enforces, on whatever the student starts as well; what it cannot, Python refuses where
it is asked. Neither is a prison: code that is out to do harm belongs on a machine of its own. Imports nothing of the
project.
"""

import contextlib
import ctypes
import multiprocessing
import os
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

MOST_WRITTEN = 1 << 30  # bytes of one file
_LINUX = sys.platform == "linux"


def enclose(folder: Path, memory: int) -> None:
    """Shut this process in: `folder` is all it may write to, `memory` the bytes that it may take beyond what it has."""
    work, home, scratch = (folder / name for name in ("work", "home", "scratch"))
    for each in (work, home, scratch):
        each.mkdir(exist_ok=True)
    if hasattr(os, "setsid"):
        os.setsid()  # what it starts can be ended with it
    _silence()
    os.chdir(work)
    sys.path.insert(0, str(work))
    sys.dont_write_bytecode = True
    tempfile.tempdir = None
    os.environ |= dict.fromkeys(("HOME", "USERPROFILE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), str(home))
    os.environ |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    os.environ |= {"NETWRIGHT_HOME": str(home / "netwright"), "IPYTHONDIR": str(home / "ipython")}
    if _LINUX:
        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL: when the grader is gone
        _without_network()
        _write_only_to(folder)
    _limit(memory)
    sys.addaudithook(_refuser(folder))


def cut_off(line: int) -> None:
    """Close every line to the grader and its helpers but this one, and let multiprocessing begin anew in here.

    It then works as in a notebook: a DataLoader's workers start as the system is used to start them.
    """
    multiprocessing.set_start_method(None, force=True)
    if not _LINUX:
        return
    from multiprocessing import forkserver, resource_tracker

    for helper in (resource_tracker._resource_tracker, forkserver._forkserver):
        helper.__init__()
    for number in map(int, os.listdir("/proc/self/fd")):
        if number > 2 and number != line:
            with contextlib.suppress(OSError):  # that of the list itself
                os.close(number)


def _silence() -> None:
    """Nothing to read, and what is printed goes nowhere, be it from Python, from C or from a child."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115  for as long as the process lives
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _limit(memory: int) -> None:
    """The system's own limits. They hold on Linux; macOS ignores that of memory, and Windows has none."""
    try:
        import resource
    except ImportError:
        return
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: MOST_WRITTEN}
    if _LINUX:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + memory
    for which, most in limits.items():
        with contextlib.suppress(ValueError, OSError):  # a lower one is in force already
            resource.setrlimit(which, (most, most))


# What Linux enforces, where it lets an ordinary user ask for it -----------------------------------------------------


def _without_network() -> bool:
    """Move to a network of its own that has nothing in it. Returns whether that worked."""
    new_user, new_network = 0x1000_0000, 0x4000_0000
    libc, user, group = ctypes.CDLL(None, use_errno=True), os.geteuid(), os.getegid()
    if user == 0 and libc.unshare(new_network) == 0:
        return True
    if libc.unshare(new_user | new_network) != 0:
        return False
    with contextlib.suppress(OSError):  # keep the name; without this one is nobody, and as able
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return True


def _write_only_to(folder: Path) -> bool:
    """Landlock: files are changed below `folder` only, and signals reach only what started in here.

    Returns whether that worked. The numbers are those of linux/landlock.h.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    create, add, restrict = 444, 445, 446
    version = libc.syscall(create, None, 0, 1)
    if version < 1:
        return False
    truncate = 1 << 14 if version >= 3 else 0
    changes = 1 << 1 | sum(1 << bit for bit in range(4, 13)) | truncate | (1 << 13 if version >= 2 else 0)
    scoped = 0b11 if version >= 6 else 0  # abstract sockets and signals
    rules = struct.pack("=QQQ", changes, 0, scoped) if version >= 6 else struct.pack("=Q", changes)
    ruleset = libc.syscall(create, rules, len(rules), 0)
    if ruleset < 0:
        return False
    allowed = {folder: changes, Path("/dev/shm"): changes, Path(os.devnull): 1 << 1 | truncate}
    for path, what in allowed.items():
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
            libc.syscall(add, ruleset, 1, struct.pack("=Qi", what, handle), 0)
            os.close(handle)
    no_new_privileges = 38
    done = libc.prctl(no_new_privileges, 1, 0, 0, 0) == 0 and libc.syscall(restrict, ruleset, 0) == 0
    os.close(ruleset)
    return done


# What Python refuses, on every system ------------------------------------------------------------------------------

_LOOKUPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}
_CONNECTIONS = {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"}
_CHANGES = {  # event -> how many of its arguments are paths
    "os.remove": 1,
    "os.rmdir": 1,
    "os.mkdir": 1,
    "os.truncate": 1,
    "os.chmod": 1,
    "os.chown": 1,
    "os.rename": 2,
    "os.link": 2,
    "os.symlink": 2,
    "shutil.rmtree": 1,
    "shutil.move": 2,
    "sqlite3.connect": 1,
}
_SIGNALS = {"os.kill", "os.killpg"}
_LIMITS = {"resource.setrlimit", "resource.prlimit"}


def _refuser(folder: Path) -> Callable[[str, tuple], None]:
    """An audit hook: once added, nothing takes it away."""
    known = _LOOKUPS | _CONNECTIONS | _CHANGES.keys() | _SIGNALS | _LIMITS | {"open"}
    inside = os.path.realpath(folder) + os.sep
    shared = ("/dev/shm/",) if os.path.isdir("/dev/shm") else ()
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    real, text, myself = os.path.realpath, os.fsdecode, os.getpid()

    def may_change(path) -> bool:
        if isinstance(path, int) or path is None or path in (os.devnull, ":memory:"):
            return True
        return (real(text(path)) + os.sep).startswith((inside, *shared))

    def may_reach(address) -> bool:
        if isinstance(address, str | bytes):  # a socket that is a file
            return may_change(address)
        # On Windows a pair of sockets is a connection to oneself, and every event loop begins with one.
        return address is None or (sys.platform == "win32" and address[0] in ("127.0.0.1", "::1"))

    def refuse(event: str, arguments: tuple) -> None:
        if event not in known:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & writing and not may_change(path):
                raise PermissionError(f"The grader lets a notebook write to its own folder only, not to {path}.")
        elif event in _CHANGES:
            for path in arguments[: _CHANGES[event]]:
                if not may_change(path):
                    raise PermissionError(f"The grader lets a notebook change its own folder only, not {path}.")
        elif event in _LOOKUPS or (event in _CONNECTIONS and not may_reach(arguments[1])):
            raise PermissionError("The grader gives a notebook no network.")
        elif event in _SIGNALS and arguments[0] not in (0, myself, os.getpid()) and not _started_here(arguments[0]):
            raise PermissionError("The grader lets a notebook end its own processes only.")
        elif event in _LIMITS:
            raise PermissionError("The grader sets the limits.")

    return refuse


def _started_here(process: int) -> bool:
    """Whether a process stems from this one."""
    with contextlib.suppress(Exception):
        import psutil

        return os.getpid() in {parent.pid for parent in psutil.Process(process).parents()}
    return False
