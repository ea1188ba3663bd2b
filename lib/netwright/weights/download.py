"""One address to one file on disk: resume, retry, stall, disk space, progress. Knows nothing of weights.

Imports nothing of the project.
"""

import errno
import hashlib
import json
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

CONNECT_TIMEOUT = 10.0  # seconds
STALL_TIMEOUT = 30.0  # seconds without a single byte
ATTEMPTS = 4  # in a row without progress, at one address
BACKOFF = 0.5  # seconds before the second attempt, doubled for each further one
LONGEST_PAUSE = 30.0  # seconds, whatever Retry-After asks for

TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


class SourceFailed(Exception):
    """This address cannot give the file; another one may."""


class OutOfSpace(Exception):
    """The disk cannot hold the file. ``missing``: bytes that have to be freed."""

    def __init__(self, missing: int):
        super().__init__(f"{missing} bytes too few")
        self.missing = missing


@dataclass(frozen=True)
class Downloaded:
    sha256: str
    resumed: bool  # part of the bytes came from an earlier attempt


class _Again(Exception):
    """Worth another attempt at the same address, after ``pause`` seconds if the server named a time."""

    def __init__(self, reason: str, pause: float | None = None):
        super().__init__(reason)
        self.pause = pause


def download(url: str, partial: Path, *, size: int | None = None, progress: bool = True) -> Downloaded:
    """Bring the file at ``url`` to ``partial``, going on from the bytes that are already there.

    ``size`` (bytes) is used for the disk-space check when the server names none. What has come stays in ``partial``
    whatever happens, so a later call resumes, at this address or at another that serves the same file.
    Raises SourceFailed, OutOfSpace, and OSError when the folder cannot be written.
    """
    import httpx  # here: it costs 0.1 s, and most calls of this package never download

    limits = httpx.Timeout(STALL_TIMEOUT, connect=CONNECT_TIMEOUT)
    fruitless = 0
    with httpx.Client(follow_redirects=True, timeout=limits, headers={"Accept-Encoding": "identity"}) as client:
        while True:
            had = size_of(partial)
            try:
                return _attempt(client, url, partial, size, progress)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
                raise SourceFailed(f"not reachable ({_first_line(error)})") from error
            except httpx.ReadTimeout:
                reason, pause = f"nothing came for {STALL_TIMEOUT:g} s", None
            except httpx.TransportError as error:
                reason, pause = f"the connection broke ({_first_line(error)})", None
            except (httpx.TooManyRedirects, httpx.InvalidURL) as error:
                raise SourceFailed(_first_line(error)) from error
            except _Again as again:
                reason, pause = str(again), again.pause
            fruitless = 0 if size_of(partial) > had else fruitless + 1
            if fruitless >= ATTEMPTS:
                raise SourceFailed(f"{reason}, {ATTEMPTS} times in a row")
            wait = pause if pause is not None else BACKOFF * 2 ** max(fruitless - 1, 0)
            say(f"{_name(url)}: {reason}; trying again.", progress)
            time.sleep(min(wait, LONGEST_PAUSE))


def download_whole(
    url: str, partial: Path, wanted: str, *, size: int | None = None, progress: bool = True
) -> Downloaded:
    """`download`, and once more from the first byte if the parts of several attempts do not make sha256 ``wanted``.

    ``wanted`` may be the start of a sha256. Whether the whole has it is still to be looked at.
    """
    got = download(url, partial, size=size, progress=progress)
    if got.resumed and not got.sha256.startswith(wanted):
        say(f"{_name(url)}: the parts do not fit together; fetching it whole.", progress)
        discard(partial)
        got = download(url, partial, size=size, progress=progress)
    return got


def hold(lock: Path, what: str, progress: bool) -> FileLock:
    """The lock, held: one process at a time fetches ``what``, and the others wait here. To be released. Raises OSError."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        say(f"Another process is fetching {what}; waiting for it.", progress)
        held.acquire(poll_interval=0.2)
    return held


def ensure_reachable(url: str) -> None:
    """Raises SourceFailed when no server answers at ``url``; any answer will do."""
    import httpx

    try:
        httpx.head(url, timeout=CONNECT_TIMEOUT)
    except httpx.TransportError as error:
        raise SourceFailed(f"not reachable ({_first_line(error)})") from error


def ensure_space(folder: Path, needed: int) -> None:
    """Raises OutOfSpace when the disk of ``folder`` has fewer than ``needed`` bytes left."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutOfSpace(needed - free)


def sha256_of(path: Path, length: int | None = None) -> "hashlib._Hash":
    """Running sha256 over the first ``length`` bytes of a file, or over all of it."""
    digest = hashlib.sha256()
    left = size_of(path) if length is None else length
    with open(path, "rb") as stream:
        while left > 0 and (block := stream.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
    return digest


def size_of(path: Path) -> int:
    """Bytes of a file, 0 when there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def say(sentence: str, progress: bool) -> None:
    """A line for the person who waits, kept clear of the progress bar."""
    if progress:
        from tqdm.auto import tqdm

        tqdm.write(sentence, file=sys.stderr)


def discard(partial: Path) -> None:
    """Forget what has come so far."""
    partial.unlink(missing_ok=True)
    _memo_path(partial).unlink(missing_ok=True)


def _attempt(client, url: str, partial: Path, size: int | None, progress: bool) -> Downloaded:
    start, memo = size_of(partial), _read_memo(partial)
    headers = {}
    if start:
        headers["Range"] = f"bytes={start}-"
        if memo.get("url") == url and memo.get("etag"):
            headers["If-Range"] = memo["etag"]  # the server sends the whole file when it has changed
    with client.stream("GET", url, headers=headers) as response:
        total = _total(response)
        if response.status_code == 416:
            if start and start == total:  # everything had come; only the end was not reached
                return Downloaded(sha256_of(partial).hexdigest(), resumed=True)
            discard(partial)
            raise _Again("the part kept here does not belong to that file; starting over", pause=0)
        if response.status_code in TRY_AGAIN:
            raise _Again(f"the server answered {_status(response)}", _retry_after(response))
        if response.status_code not in (200, 206):
            raise SourceFailed(f"the server answered {_status(response)}")
        if response.status_code == 200:
            if start:
                say(f"{_name(url)}: the server sends the whole file; starting over.", progress)
            start = 0
        elif not _continues(response, start) or (memo.get("total") or total) != total:
            discard(partial)
            raise _Again("the server offers another file than the part kept here; starting over", pause=0)
        else:
            say(f"{_name(url)}: resuming at {start / 1e6:.1f} of {(total or 0) / 1e6:.1f} MB.", progress)
        ensure_space(partial.parent, max((total or size or 0) - start, 0))
        _write_memo(partial, url, response.headers.get("etag"), total)
        digest = _receive(response, partial, start, total, _name(url), progress)
    if total is not None and size_of(partial) < total:
        raise _Again(f"the file ended after {size_of(partial)} of {total} bytes")
    return Downloaded(digest.hexdigest(), resumed=start > 0)


def _receive(response, partial: Path, start: int, total: int | None, name: str, progress: bool) -> "hashlib._Hash":
    from tqdm.auto import tqdm

    digest = sha256_of(partial, start) if start else hashlib.sha256()
    bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=name, disable=not progress)
    try:
        with bar, open(partial, "ab" if start else "wb") as stream:
            for block in response.iter_raw():
                stream.write(block)
                digest.update(block)
                bar.update(len(block))
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        free = shutil.disk_usage(partial.parent).free
        raise OutOfSpace(max((total or 0) - size_of(partial) - free, 1)) from error
    return digest


def _continues(response, start: int) -> bool:
    match = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
    return match is not None and int(match[1]) == start


def _total(response) -> int | None:
    """Size of the whole file in bytes, whichever part of it this response carries."""
    if response.status_code == 200:
        text = response.headers.get("content-length", "")
    else:
        text = response.headers.get("content-range", "").rpartition("/")[2]
    return int(text) if text.isdigit() else None


def _retry_after(response) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdigit() else None


def _status(response) -> str:
    return f"{response.status_code} {response.reason_phrase}".strip()


def _name(url: str) -> str:
    return url.rsplit("/", 1)[1]


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _memo_path(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _read_memo(partial: Path) -> dict:
    try:
        return json.loads(_memo_path(partial).read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _write_memo(partial: Path, url: str, etag: str | None, total: int | None) -> None:
    strong = etag if etag and not etag.startswith("W/") else None  # If-Range takes strong tags only
    _memo_path(partial).write_text(json.dumps({"url": url, "etag": strong, "total": total}), "utf-8")
