"""A data set by its name or its folder. Imports the rest of datasets, and toys."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from netwright.datasets import named
from netwright.datasets.folder import DataError, folder_splits
from netwright.datasets.pictures import PictureSet, ToyPictures
from netwright.toys import HOLD_OUTS, SPLITS, ToyWorld


@dataclass(frozen=True)
class Data:
    """A data set. splits: by "train", "val", "test" and "novel", those there are; all with the same class names."""

    name: str
    splits: dict[str, PictureSet]

    def split(self, name: str) -> PictureSet:
        """Raises DataError, naming the splits there are."""
        if name not in self.splits:
            raise DataError(f"{self.name} has no split {name!r}; it has {', '.join(self.splits)}.")
        return self.splits[name]

    @property
    def class_names(self) -> tuple[str, ...]:
        return next(iter(self.splits.values())).class_names

    @property
    def synsets(self) -> tuple[str, ...] | None:
        """The WordNet id of each class, where they are known."""
        return next(iter(self.splits.values())).synsets


def open_data(
    where: str | Path,
    *,
    size: int = 64,
    val_share: float = 0.2,
    seed: int = 0,
    length: int | None = None,
    root: str | Path | None = None,
    progress: bool = True,
) -> Data:
    """A data set by name (see `data_names`), downloaded if need be, or a folder of class folders.

    A name comes before a folder: write "./toy" for a folder of that name. See `folder_splits` for what a folder may
    look like and how `val_share` and `seed` split it; Oxford-IIIT Pet, which is published without a validation split,
    is split in the same way. `root`: where named sets lie, ``NETWRIGHT_HOME``/datasets if not given. Of the toy world,
    `size` is the side of its pictures in pixels, `length` the number of its training pictures, `seed` which world.
    Raises DataError, and for a named set that cannot be had DataUnavailable, which is one.
    """
    if isinstance(where, str):
        if where == "toy" or where.startswith("toy:"):
            return _toy(where, size, seed, length)
        if where in named.sets():
            return Data(where, named.splits(where, root=root, val_share=val_share, seed=seed, progress=progress))
    folder = Path(where).expanduser()
    if not folder.exists():
        raise DataError(_unknown(where, folder))
    return Data(folder.resolve().name, folder_splits(folder, val_share=val_share, seed=seed))


def data_names() -> tuple[str, ...]:
    """Every name that `open_data` knows. "toy:hue" is the toy world with hues held out for the split "novel"."""
    return ("toy", *(f"toy:{nuisance}" for nuisance in HOLD_OUTS), *named.sets())


def _toy(name: str, size: int, seed: int, length: int | None) -> Data:
    hold_out = name.removeprefix("toy").removeprefix(":") if name != "toy" else None
    try:
        worlds = {
            split: ToyWorld(split, size=size, seed=seed, hold_out=hold_out, length=length if split == "train" else None)
            for split in SPLITS
            if split != "novel" or hold_out is not None
        }
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error
    return Data(name, {split: ToyPictures(world) for split, world in worlds.items()})


def _unknown(where: str | Path, folder: Path) -> str:
    parent = folder.parent
    beside = [entry for entry in sorted(os.listdir(parent)) if (parent / entry).is_dir()] if parent.is_dir() else []
    near = difflib.get_close_matches(folder.name, [*data_names(), *beside], n=4, cutoff=0.5)
    nearest = f" Nearest: {', '.join(near)}." if near else ""
    no_parent = "" if parent.is_dir() else f" There is no folder {parent} either."
    return f"{where} is neither a folder nor a data set known by name ({', '.join(data_names())}).{no_parent}{nearest}"
