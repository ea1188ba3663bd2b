"""MATLAB's .mat files of version 5, as far as tables of numbers need them. Imports nothing of the project.

Source: MathWorks, "MAT-File Format", the chapter on level 5. SciPy reads these files too, but would be a large
dependency for the two small ones that Flowers-102 is published with.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

HEADER = 128  # bytes: a text, and at the end the version and the order of bytes
ORDERS = {b"IM": "<", b"MI": ">"}
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
MATRIX, COMPRESSED = 14, 15
NUMERIC = range(6, 16)  # classes of matrices: double to uint64
COMPLEX = 0x0800


class MatError(ValueError):
    """A file that is no .mat file of version 5, or a damaged one."""


def read_mat(path: Path) -> dict[str, np.ndarray]:
    """The real numeric matrices of a file, by name; whatever else it holds is passed over.

    The type is that of the stored numbers, which MATLAB chooses as small as they allow. Raises MatError and OSError.
    """
    content = path.read_bytes()
    order = ORDERS.get(content[HEADER - 2 : HEADER])
    if order is None:
        raise MatError(f"{path} is no MATLAB file of version 5.")
    try:
        matrices = (_matrix(body, order) for kind, body in _unpacked(content[HEADER:], order) if kind == MATRIX)
        return {name: values for name, values in matrices if values is not None}
    except (struct.error, zlib.error, ValueError, KeyError) as error:
        raise MatError(f"{path} is damaged ({error}).") from error


def _unpacked(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    for kind, body in _elements(content, order):
        if kind == COMPRESSED:
            yield from _elements(zlib.decompress(body), order)
        else:
            yield kind, body


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """(type, content) of the elements that follow each other."""
    at = 0
    while at < len(content):
        kind, size = struct.unpack_from(f"{order}2I", content, at)
        start = at + 8
        if kind >> 16:  # a small element shares eight bytes with its tag: size, type and up to four bytes
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
        at = start + size
        if kind != COMPRESSED:
            at += -at % 8
        if start + size > len(content):
            raise ValueError(f"it ends {start + size - len(content)} bytes early")
        yield kind, content[start : start + size]


def _matrix(body: bytes, order: str) -> tuple[str, np.ndarray | None]:
    (_, flags), (_, sizes), (_, name), *rest = _elements(body, order)
    bits = struct.unpack_from(f"{order}I", flags)[0]
    if bits & 0xFF not in NUMERIC or bits & COMPLEX:
        return name.decode("latin-1"), None
    kind, numbers = rest[0]
    values = np.frombuffer(numbers, f"{order}{STORED[kind]}")
    return name.decode("latin-1"), values.reshape(np.frombuffer(sizes, f"{order}i4"), order="F")
