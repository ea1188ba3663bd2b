"""Whole files or none: what is written takes the old file's place in one step. Imports nothing of the project."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to be written that becomes `path` when the block ends: a kill or an error before leaves what was there.

    When this returns, the new file is on the disk and not only in the system's memory, so that a power cut cannot
    leave an empty one. It is written beside `path`, as `path`.new, of which an error leaves nothing. Raises OSError.
    """
    new = path.with_name(path.name + ".new")
    try:
        with open(new, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to be told
            new.unlink(missing_ok=True)
        raise
    _settle(path.parent)


def replace_bytes(path: Path, content: bytes) -> None:
    """`content` as the whole of the file `path`; see `replacing`."""
    with replacing(path) as stream:
        stream.write(content)


def replace_file(path: Path, text: str) -> None:
    """`text` as the whole of the file `path`, in UTF-8 and with the line ends of Unix; see `replacing`."""
    replace_bytes(path, text.encode())


def _settle(folder: Path) -> None:
    """Have the folder's list of names on the disk too. Windows has no such thing, and some network disks refuse it."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
