"""Is this machine ready, and which of the three tiers will the notebooks run in? A table with advice on each line.

Imports `paths`, `device` and the catalogue of weights.
"""

import html
import importlib.metadata
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import torch

from netwright import device, paths
from netwright.weights.catalogue import catalogue

MOST_SECONDS = 3.0
OLDEST_PYTHON = (3, 11)
OLDEST_TORCH = (2, 11)
SMALLEST_FREE = 4e9  # bytes: the largest published file with room to convert it


@dataclass(frozen=True)
class Row:
    """One line of the table. ``fail`` means that even the toy tier cannot run; ``note``, that something less can."""

    name: str
    status: Literal["ok", "note", "fail"]
    value: str
    advice: str = ""


@dataclass(frozen=True)
class Report:
    """All rows; text when printed, a table when shown by a notebook."""

    rows: tuple[Row, ...]

    @property
    def healthy(self) -> bool:
        """Whether the notebooks can run at least in the toy tier."""
        return all(row.status != "fail" for row in self.rows)

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        lines = []
        for row in self.rows:
            lines.append(f"{row.status:4}  {row.name:{width}}  {row.value}")
            if row.advice:
                lines.append(f"{'':4}  {'':{width}}  -> {row.advice}")
        return "\n".join(lines)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        lines = [("status", "what", "found", "what to do")]
        lines += [(row.status, row.name, row.value, row.advice) for row in self.rows]
        cells = (("<td style='text-align: left'>" + html.escape(word) for word in line) for line in lines)
        table = "".join(f"<tr>{''.join(line)}</tr>" for line in cells)
        return {"text/html": f"<table>{table}</table>", "text/plain": str(self)}


def report() -> Report:
    """Look at everything the workbook needs; takes at most about three seconds, most of it for the network."""
    picked = device.pick_device()
    reached = reachable(publishers())
    return Report(
        (
            _python(),
            _torch(),
            _device(picked),
            Row("cores", "ok", str(device.cores())),
            _cache(),
            _network(reached),
            _package("jupyterlab", (4, 0)),
            _package("ipywidgets", (8, 0)),
            _tier(picked, reached),
        )
    )


def main() -> int:
    """Print the table; returns 0 unless something keeps even the toy tier from running."""
    found = report()
    print(found)
    return 0 if found.healthy else 1


# The lines -----------------------------------------------------------------------------------------------------


def _python() -> Row:
    value = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return Row(
            "Python", "fail", value, "Install Python 3.11 or newer, then: make clean; make lab PYTHON=python3.12"
        )
    return Row("Python", "ok", value)


def _torch() -> Row:
    if _version(torch.__version__) < OLDEST_TORCH:
        return Row("torch", "fail", torch.__version__, "Install 2.11 or newer: make clean; make lab")
    return Row("torch", "ok", torch.__version__)


def _device(picked: torch.device) -> Row:
    memory = device.device_memory(picked)
    known = [f"{bytes_ / 1e9:.1f} GB {word}" for bytes_, word in zip(memory, ("free", "in all"), strict=True) if bytes_]
    value = ", ".join([f"{picked.type}: {device.device_name(picked)}", *known])
    if memory.free is not None and memory.free < 1e9:
        return Row("device", "note", value, "Close other programs and notebooks: less than 1 GB is free.")
    return Row("device", "ok", value)


def _cache() -> Row:
    """Try what fetching will do: make the folder and write into it."""
    folder = paths.home()
    advice = "Set NETWRIGHT_HOME to a folder that you may write to, with 4 GB to spare."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Row("cache", "note", f"{folder}: {error.strerror}", f"Published weights cannot be kept. {advice}")
    value = f"{folder}, {free / 1e9:.0f} GB free"
    if free < SMALLEST_FREE:
        return Row("cache", "note", value, f"The largest published weights will not fit. {advice}")
    return Row("cache", "ok", value)


def _network(reached: dict[str, bool]) -> Row:
    if not reached:
        return Row("network", "note", "not asked: NETWRIGHT_OFFLINE is set", "Unset it to fetch published weights.")
    missing = [host for host, answered in reached.items() if not answered]
    if not missing:
        return Row("network", "ok", f"all {len(reached)} publishers answer")
    advice = "What is already in the cache works, and so does every notebook in the toy tier."
    if len(missing) == len(reached):
        return Row("network", "note", "no publisher answers", advice)
    return Row("network", "note", f"no answer from {', '.join(missing)}", advice)


def _package(name: str, oldest: tuple[int, int]) -> Row:
    wanted = ".".join(map(str, oldest))
    try:
        value = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Row(name, "fail", "not installed", f"Install {wanted} or newer: make lab, or pip install {name}")
    if _version(value) < oldest:
        return Row(name, "fail", value, f"Install {wanted} or newer: make clean; make lab")
    return Row(name, "ok", value)


def _tier(picked: torch.device, reached: dict[str, bool]) -> Row:
    if not any(reached.values()) and not _cached():
        why = "no network and nothing in the cache"
        return Row("tier", "note", f"toy: four small trained nets, and large ones with seeded numbers ({why})")
    source = "published weights, from the cache" if _cached() else "published weights, fetched once when asked for"
    if picked.type == "cpu":
        return Row("tier", "ok", f"CPU: {source}; there is no GPU, so long trainings are replayed from a record")
    return Row("tier", "ok", f"GPU: {source}; finetuning and evaluation run at full size")


# What the lines ask --------------------------------------------------------------------------------------------


def publishers() -> tuple[str, ...]:
    """The hosts that the catalogue's addresses name."""
    return tuple(sorted({urlsplit(file.url).hostname for weights in catalogue() for file in weights.files}))


def reachable(hosts: tuple[str, ...], port: int = 443, seconds: float = MOST_SECONDS) -> dict[str, bool]:
    """Which hosts accept a connection, all asked at once and given ``seconds`` together.

    Behind a proxy (HTTPS_PROXY) the proxy is asked instead. Empty when NETWRIGHT_OFFLINE is set: then nobody is asked.
    """
    if os.environ.get("NETWRIGHT_OFFLINE", "0") not in ("", "0"):
        return {}
    answers = dict.fromkeys(hosts, False)

    def ask(host: str) -> None:
        try:
            socket.create_connection(_way_to(host, port), timeout=seconds).close()
        except OSError:
            return
        answers[host] = True

    # Daemons, because looking up a name has no timeout of its own and must hold up neither the table nor the exit.
    threads = [threading.Thread(target=ask, args=(host,), daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(answers)


def _way_to(host: str, port: int) -> tuple[str, int]:
    proxy = getproxies().get("https")
    if not proxy or proxy_bypass(host):
        return host, port
    parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return parts.hostname or host, parts.port or 80


def _cached() -> bool:
    return any(paths.home().rglob("*.safetensors")) or any(paths.home().rglob("*.pth"))


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)
