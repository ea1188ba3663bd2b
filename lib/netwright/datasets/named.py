"""Data sets that are published under a name: what is known of them (named.toml), and how each is laid out on disk.

Imports paths, and the folder, archives and matlab of this room.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from netwright import paths
from netwright.datasets.archives import Archive, DataUnavailable, Published, bring
from netwright.datasets.folder import DataError, FolderPictures, held_out
from netwright.datasets.matlab import read_mat

_NOT_SO = (OSError, ValueError, LookupError)  # what reading a layout may meet in a folder that lacks something


@dataclass(frozen=True, kw_only=True)
class NamedSet(Published):
    """One entry of named.toml, which says what the fields mean."""

    layout: str
    pictures: dict[str, int]
    sources: tuple[str, ...]
    unknown: str = ""
    class_names: tuple[str, ...] = ()


@cache
def sets() -> dict[str, NamedSet]:
    """Every set that is known, by name."""
    table = tomllib.loads(Path(__file__).with_name("named.toml").read_text("utf-8"))
    return {name: _entry(name, fields) for name, fields in table.items()}


def splits(
    name: str, *, root: str | Path | None, val_share: float, seed: int, progress: bool
) -> dict[str, FolderPictures]:
    """The splits of a set as published, brought to `root` (``NETWRIGHT_HOME``/datasets) if they are not there.

    Oxford-IIIT Pet comes as trainval and test: `val_share` of trainval is held out, as of a folder (`held_out`).
    Raises DataUnavailable, and DataError if the set's folder lacks something.
    """
    it = sets()[name]
    root = Path(root).expanduser() if root is not None else paths.home() / "datasets"
    folder = bring(it, root, lambda folder: _ensure_whole(it, folder), progress=progress)
    try:
        found = LAYOUTS[it.layout](it, folder)
    except _NOT_SO as error:
        raise DataError(
            f"{folder} is not {name} as it is published ({error}). Remove that folder, and it is fetched again."
        ) from error
    if "trainval" in found:
        both = found.pop("trainval")
        out = held_out(both.files, both.targets, val_share, seed)
        found = {"train": both.part(~out, f"{name}/train"), "val": both.part(out, f"{name}/val")} | found
    return found


def _entry(name: str, fields: dict) -> NamedSet:
    archives = tuple(Archive(**archive | {"urls": tuple(archive["urls"])}) for archive in fields["archives"])
    lists = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
    return NamedSet(name=name, **fields | lists | {"archives": archives})


def _ensure_whole(it: NamedSet, folder: Path) -> None:
    """Of a fresh copy only: later the reader may have taken a broken picture out."""
    told = f"{it.name} is not what was published, though its archives have the published hashes: "
    try:
        counts = {split: len(pictures) for split, pictures in LAYOUTS[it.layout](it, folder).items()}
    except _NOT_SO as error:
        raise DataUnavailable(f"{told}{error}") from error
    if counts != it.pictures:
        raise DataUnavailable(f"{told}{_counts(counts)}, instead of {_counts(it.pictures)}.")


def _counts(pictures: dict[str, int]) -> str:
    return ", ".join(f"{count} pictures in {split}" for split, count in pictures.items())


# ---------------------------------------------------------------------------------------------- layouts


def _folders(it: NamedSet, folder: Path) -> dict[str, FolderPictures]:
    return {split: FolderPictures.read(folder / split, f"{it.name}/{split}") for split in ("train", "val")}


def _pets(it: NamedSet, folder: Path) -> dict[str, FolderPictures]:
    """annotations/trainval.txt and test.txt: lines of picture, class from 1, species, breed within the species.

    The name of a picture is that of its breed and a number: images/great_pyrenees_12.jpg.
    """
    rows = {split: _rows(folder / "annotations" / f"{split}.txt") for split in ("trainval", "test")}
    breeds = {int(row[1]): row[0].rpartition("_")[0] for split in rows for row in rows[split]}
    class_names = [breeds[number].replace("_", " ").title() for number in range(1, len(breeds) + 1)]
    return {
        split: FolderPictures(
            f"{it.name}/{split}",
            folder,
            [f"images/{row[0]}.jpg" for row in rows[split]],
            [int(row[1]) - 1 for row in rows[split]],
            class_names,
        )
        for split in rows
    }


def _rows(path: Path) -> list[list[str]]:
    lines = path.read_text("utf-8").splitlines()
    return [line.split() for line in lines if line.strip() and not line.startswith("#")]


def _flowers(it: NamedSet, folder: Path) -> dict[str, FolderPictures]:
    """setid.mat: numbers of the pictures in each split, from 1. imagelabels.mat: the class of each picture, from 1."""
    numbers = read_mat(folder / "setid.mat")
    labels = read_mat(folder / "imagelabels.mat")["labels"].reshape(-1).astype(np.int64)
    found = {}
    for split, key in {"train": "trnid", "val": "valid", "test": "tstid"}.items():
        chosen = numbers[key].reshape(-1).astype(np.int64)
        files = [f"jpg/image_{number:05d}.jpg" for number in chosen]
        found[split] = FolderPictures(f"{it.name}/{split}", folder, files, labels[chosen - 1] - 1, it.class_names)
    return found


LAYOUTS = {"folders": _folders, "pets": _pets, "flowers": _flowers}
