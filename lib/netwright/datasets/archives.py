"""Published archives become a folder: downloaded, proven, unpacked whole or not at all. Imports weights, for the net.

What has come stays until the folder is complete, so that a kill at any instant costs at most the unpacking.
"""

import contextlib
import gzip
import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from netwright.datasets.folder import DataError
from netwright.weights.download import (
    DISK_FULL,
    OutOfSpace,
    SourceFailed,
    discard,
    download_whole,
    ensure_space,
    hold,
    say,
    sha256_of,
    size_of,
)
from netwright.weights.fetch import offline

TAR = (".tgz", ".tar.gz", ".tar")
_CORRUPT = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


class DataUnavailable(DataError):
    """A published data set could not be had; the message says why, and where its files belong."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One published file: a tar, or any other file that is taken as it is. The same bytes at every address."""

    filename: str
    urls: tuple[str, ...]
    bytes: int
    sha256: str
    md5: str

    @property
    def text(self) -> str:
        return f"{self.filename} ({_size(self.bytes)}, sha256 {self.sha256[:8]}…)"


@dataclass(frozen=True, kw_only=True)
class Published:
    """What has to be known of a data set to bring it; see named.toml."""

    name: str
    summary: str
    folder: str
    inside: str
    archives: tuple[Archive, ...]
    home: str
    license: str
    citation: str


def bring(it: Published, root: Path, check: Callable[[Path], None], *, progress: bool = True) -> Path:
    """The folder of `it` below `root`, made if it is not there; what is there is taken as complete.

    `check` looks at the unpacked folder before it gets its name, and raises DataError if something is missing. Asks
    ``NETWRIGHT_MIRROR`` first, as for weights; ``NETWRIGHT_OFFLINE=1`` never touches the network, but unpacks archives
    that were put into root/downloads/name by hand. Raises DataUnavailable.
    """
    folder = root / it.folder
    if folder.is_dir():
        return folder
    try:
        lock = hold(root / f"{it.name}.lock", it.name, progress)
    except OSError as error:
        raise _not_writable(it, root, error) from error
    try:
        if not folder.is_dir():  # another process may have made it meanwhile
            _make(it, root, check, progress)
    except OutOfSpace as full:
        raise _disk_full(it, root, full.missing) from full
    except OSError as error:
        if error.errno in DISK_FULL:
            raise _disk_full(it, root, 1) from error
        raise _not_writable(it, root, error) from error
    finally:
        lock.release()
    return folder


def _make(it: Published, root: Path, check: Callable[[Path], None], progress: bool) -> None:
    downloads, scratch = _downloads(it, root), root / f"{it.folder}.unpacking"
    downloads.mkdir(parents=True, exist_ok=True)
    if scratch.exists():  # of a process that was killed
        shutil.rmtree(scratch)
    here = sum(size_of(_placed(downloads, archive)) or size_of(_partial(downloads, archive)) for archive in it.archives)
    whole = sum(archive.bytes for archive in it.archives)
    ensure_space(root, max(whole - here, 0) + whole)  # pictures are compressed already: unpacked they are as large
    files = [_proven(it, archive, root, progress) for archive in it.archives]
    say(f"{it.name}: {it.summary}. Terms: {it.license}. To cite: {it.citation}. See {it.home}", progress=True)
    try:
        for archive, file in zip(it.archives, files, strict=True):
            _unpack(archive, file, scratch, progress)
        check(scratch / it.inside)
        os.replace(scratch / it.inside, root / it.folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for archive in it.archives:  # but what the reader placed stays
        discard(_partial(downloads, archive))
    with contextlib.suppress(OSError):
        downloads.rmdir()
        downloads.parent.rmdir()


# ---------------------------------------------------------------------------------------------- files


def _downloads(it: Published, root: Path) -> Path:
    return root / "downloads" / it.name


def _placed(downloads: Path, archive: Archive) -> Path:
    return downloads / archive.filename


def _partial(downloads: Path, archive: Archive) -> Path:
    return downloads / f"{archive.filename}.partial"


def _proven(it: Published, archive: Archive, root: Path, progress: bool) -> Path:
    """The file with the published hash: placed by the reader, brought before, or brought now."""
    downloads = _downloads(it, root)
    placed, partial = _placed(downloads, archive), _partial(downloads, archive)
    refused = []
    if placed.is_file():
        if sha256_of(placed).hexdigest() == archive.sha256:
            return placed
        refused.append(_refuse(placed, archive))
    if size_of(partial) == archive.bytes and sha256_of(partial).hexdigest() == archive.sha256:
        return partial
    if offline():
        reason = "the network is switched off (NETWRIGHT_OFFLINE or HF_HUB_OFFLINE is set)"
        raise _unavailable(it, archive, downloads, [*refused, reason])
    failures = []
    for url in _addresses(archive):
        try:
            got = download_whole(url, partial, archive.sha256, size=archive.bytes, progress=progress)
        except SourceFailed as failure:
            failures.append(f"{url}: {failure}")
        else:
            if got.sha256 == archive.sha256:
                return partial
            failures.append(f"{url} sent another file: {_refuse(partial, archive)}")
        say(f"{it.name}: {failures[-1]}", progress)
    raise _unavailable(it, archive, downloads, [*refused, *failures])


def _addresses(archive: Archive) -> Iterator[str]:
    mirror = os.environ.get("NETWRIGHT_MIRROR")
    if mirror:
        yield f"{mirror.rstrip('/')}/{archive.filename}"
    yield from archive.urls


def _refuse(path: Path, archive: Archive) -> str:
    """Says that a file has the wrong hash, and puts it out of the way."""
    found = sha256_of(path).hexdigest()
    aside = path.with_name(f"{archive.filename}.wrong-hash")
    os.replace(path, aside)
    discard(path)  # the note that a download leaves beside it
    return f"{aside} is refused: its sha256 starts with {found[:12]}, the published one with {archive.sha256[:12]}"


# ---------------------------------------------------------------------------------------------- unpacking


def _unpack(archive: Archive, file: Path, folder: Path, progress: bool) -> None:
    """All of a tar, or a copy of any other file, into `folder`.

    The filter of tarfile keeps every path below `folder`; links and devices, which no picture set needs, are refused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not archive.filename.endswith(TAR):
        shutil.copyfile(file, folder / archive.filename)
        return
    from tqdm.auto import tqdm

    bar = tqdm(
        total=size_of(file), unit="B", unit_scale=True, desc=f"unpacking {archive.filename}", disable=not progress
    )
    try:
        with bar, open(file, "rb") as stream, tarfile.open(fileobj=stream, mode="r:*") as tar:
            for member in tar:
                if not (member.isfile() or member.isdir()):
                    raise tarfile.ExtractError(f"{member.name} is a link or a device")
                tar.extract(member, folder, set_attrs=False, filter="data")
                bar.update(stream.tell() - bar.n)
            while tar.fileobj.read(1 << 20):  # to the end: tarfile takes a damaged entry for it, gzip's sum does not
                pass
    except _CORRUPT as error:
        raise DataUnavailable(
            f"{archive.filename} cannot be unpacked ({str(error) or type(error).__name__}), though {file} has the "
            "published hash. Nothing of it was kept. If its disk is sound, tell the publisher; else remove the file "
            "and try again."
        ) from error


# ---------------------------------------------------------------------------------------------- sentences


def _unavailable(it: Published, archive: Archive, downloads: Path, reasons: list[str]) -> DataUnavailable:
    lines = [
        f"{it.name} is not to be had: {archive.text} is not on this machine, and no source gave it:",
        *(f"  - {reason}" for reason in reasons),
        f"It is published at {archive.urls[0]}. Fetch it there on a machine with a network, and put it under that name",
        f"into {downloads}, or set NETWRIGHT_MIRROR to a server that has it.",
        "What still works without a network: the data set toy, and any folder of class folders.",
    ]
    return DataUnavailable("\n".join(lines))


def _disk_full(it: Published, root: Path, missing: int) -> DataUnavailable:
    kept = sum(size_of(_partial(_downloads(it, root), archive)) for archive in it.archives)
    had = f" The {_size(kept)} that had come are kept, and the next attempt goes on from there." if kept else ""
    return DataUnavailable(
        f"The disk of {root} is full: {it.name} needs {_size(missing)} more, for its archives and for what they unpack "
        f"to.{had} Free that much, or set NETWRIGHT_HOME to a folder on a larger disk."
    )


def _not_writable(it: Published, root: Path, error: OSError) -> DataUnavailable:
    return DataUnavailable(
        f"{it.name} cannot be stored: {root} cannot be written ({error.strerror or error}). Set NETWRIGHT_HOME to a "
        f"folder that can, or have {it.folder} put there by whoever owns it."
    )


def _size(count: int) -> str:
    return f"{max(count / 1e6, 0.1):.1f} MB"
