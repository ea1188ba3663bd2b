"""Small copies of the published data sets, in their publishers' exact layout, for the tests of datasets.named.

Imports netwright.datasets.named, to point its entries at a server of the tests.
"""

import hashlib
import io
import struct
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from PIL import Image

from awkward_images import encode, scene
from netwright.datasets import named
from netwright.datasets.named import NamedSet


def jpeg(seed: int) -> bytes:
    return encode(Image.fromarray(scene(24, 16, seed)), "JPEG")


def tar(files: dict[str, bytes], mode: str = "w:gz", extra: Iterable[tarfile.TarInfo] = ()) -> bytes:
    """An archive of these files, with entries for their folders as the publishers' have; `extra` entries come last."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:
        folders = {name.rsplit("/", depth)[0] for name in files for depth in range(1, name.count("/") + 1)}
        for folder in sorted(folders):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, body in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
        for entry in extra:
            archive.addfile(entry)
    return content.getvalue()


def mat(arrays: dict[str, np.ndarray], compressed: bool = False, order: str = "<") -> bytes:
    """A .mat file of version 5 with one row for each array, as MATLAB writes rows of small whole numbers."""
    content = b"MATLAB 5.0 MAT-file, Platform: GLNX86".ljust(124) + struct.pack(f"{order}HH", 0x0100, 0x4D49)
    kinds = {"uint8": (2, 9), "uint16": (4, 11), "float64": (9, 6)}  # how it is stored, and the class of the matrix
    for name, array in arrays.items():
        stored, kind = kinds[array.dtype.name]
        parts = _element(6, struct.pack(f"{order}2I", kind, 0), order)
        parts += _element(5, struct.pack(f"{order}2i", 1, len(array)), order)
        parts += _element(1, name.encode(), order)
        parts += _element(stored, array.astype(array.dtype.newbyteorder(order)).tobytes(), order)
        matrix = _element(14, parts, order)
        packed = zlib.compress(matrix)
        content += struct.pack(f"{order}2I", 15, len(packed)) + packed if compressed else matrix
    return content


def _element(kind: int, body: bytes, order: str) -> bytes:
    if len(body) <= 4:
        return struct.pack(f"{order}I", len(body) << 16 | kind) + body.ljust(4, b"\0")
    return struct.pack(f"{order}2I", kind, len(body)) + body + b"\0" * (-len(body) % 8)


IMAGENETTE = ("n01440764", "n02102040", "n03888257")


def imagenette(inside: str = "imagenette2-160") -> dict[str, bytes]:
    """imagenette2-160.tgz: three classes, four pictures each to train and two to validate."""
    files = {f"{inside}/noisy_imagenette.csv": b"path,noisy_labels_0\n"}
    for number, synset in enumerate(IMAGENETTE):
        for picture in range(4):
            files[f"{inside}/train/{synset}/{synset}_{picture}.JPEG"] = jpeg(10 * number + picture)
        for picture in (40, 52):
            files[f"{inside}/val/{synset}/ILSVRC2012_val_{picture:08d}.JPEG"] = jpeg(10 * number + picture)
    return {"imagenette2-160.tgz": tar(files)}


BREEDS = ("Abyssinian", "american_bulldog", "Maine_Coon")


def pets() -> dict[str, bytes]:
    """images.tar.gz, which is not compressed for all its name, and annotations.tar.gz: ten and three of each breed."""
    images, lists = {"images/Abyssinian_100.mat": b"stray"}, {"trainval": [], "test": []}
    for number, breed in enumerate(BREEDS):
        for picture in range(13):
            images[f"images/{breed}_{picture + 1}.jpg"] = jpeg(100 * number + picture)
            species = 2 if breed[0].islower() else 1
            lists["trainval" if picture < 10 else "test"].append(f"{breed}_{picture + 1} {number + 1} {species} 1\n")
    annotations = {f"annotations/{name}.txt": "".join(lines).encode() for name, lines in lists.items()}
    annotations["annotations/list.txt"] = b"#Image CLASS-ID SPECIES BREED ID\n" + b"".join(annotations.values())
    annotations["annotations/trimaps/._Abyssinian_1.png"] = b"macOS"
    return {"images.tar.gz": tar(images, "w"), "annotations.tar.gz": tar(annotations)}


FLOWERS = {"trnid": [7, 2, 9], "valid": [1, 8], "tstid": [3, 4, 5, 6, 10]}
FLOWER_CLASSES = [77, 1, 102, 77, 1, 102, 77, 1, 102, 1]  # of pictures 1 to 10


def flowers(compressed: bool = False) -> dict[str, bytes]:
    """102flowers.tgz with ten pictures, setid.mat and imagelabels.mat."""
    pictures = {f"jpg/image_{number:05d}.jpg": jpeg(number) for number in range(1, 11)}
    splits = {name: np.array(numbers, dtype=np.uint16) for name, numbers in FLOWERS.items()}
    labels = {"labels": np.array(FLOWER_CLASSES, dtype=np.uint8)}
    return {
        "102flowers.tgz": tar(pictures),
        "imagelabels.mat": mat(labels, compressed),
        "setid.mat": mat(splits, compressed),
    }


PICTURES = {
    "imagenette-160": {"train": 12, "val": 6},
    "oxford-iiit-pet": {"trainval": 30, "test": 9},
    "flowers-102": {"train": 3, "val": 2, "test": 5},
}


def repoint(name: str, files: dict[str, bytes], *addresses: str, pictures: dict[str, int] | None = None) -> NamedSet:
    """The set called `name`, published with these files at /filename of these addresses."""
    it = named.sets()[name]
    archives = [
        replace(
            archive,
            urls=tuple(f"{address}/{archive.filename}" for address in addresses),
            bytes=len(files[archive.filename]),
            sha256=hashlib.sha256(files[archive.filename]).hexdigest(),
        )
        for archive in it.archives
    ]
    return replace(it, archives=tuple(archives), pictures=pictures or PICTURES[name])
