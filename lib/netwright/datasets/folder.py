"""Pictures of a folder of class folders, its splits, and what may be wrong with it. Imports images, imagenet.

Nothing is cached: the listing is quick, and a picture that was added is there the next time.
"""

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from netwright.datasets.pictures import PictureSet
from netwright.imagenet import find_label
from netwright.images import SUFFIXES, open_image

# What people call the folders of splits, whatever the capitals.
SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_NAMES = {name: split for split, names in SPLIT_FOLDERS.items() for name in names}
_PICTURE = frozenset(SUFFIXES)
_SYNSET = re.compile(r"n\d{8}")


class DataError(ValueError):
    """A data set that cannot be used. The message names it, says what is wrong and what to do."""


class FolderPictures(PictureSet):
    """Picture files below one folder. `FolderPictures.read` lists a folder of class folders.

    files: the path of every picture below `folder`, with "/" between its parts. targets: their class numbers, int64.
    """

    def __init__(
        self,
        name: str,
        folder: str | Path,
        files: Iterable[str],
        targets: Sequence[int] | np.ndarray,
        class_names: Sequence[str],
        synsets: Sequence[str] | None = None,
    ):
        self.name, self.folder = name, Path(folder)
        self.files = _Names(files)
        self.targets = np.asarray(targets, dtype=np.int64)
        self.class_names = tuple(class_names)
        self.synsets = None if synsets is None else tuple(synsets)

    @classmethod
    def read(cls, folder: str | Path, name: str | None = None) -> "FolderPictures":
        """All pictures of a folder of class folders, as one set.

        Every sub-folder is a class, whatever lies deeper belongs to it. Classes and pictures are in the order of
        their names, as in torchvision's ImageFolder, so that class numbers are the same. Hidden files and folders are
        skipped. Folders that are all named by WordNet ids (n01440764) get the names that ImageNet gives those classes.
        Raises DataError, also for a class folder without a picture.
        """
        folder = _existing(folder)
        folders = _subfolders(folder)
        if not folders:
            raise DataError(_no_class_folders(folder))
        files, targets, empty = [], [], []
        for number, (class_name, class_folder) in enumerate(folders.items()):
            found = _pictures_of(class_folder)
            files += found
            targets.append(np.full(len(found), number, dtype=np.int64))
            if not found:
                empty.append(class_name)
        if not files:
            raise DataError(f"{folder} has {_some(folders)}, but no picture in them. Looked for {' '.join(SUFFIXES)}.")
        if empty:
            raise DataError(
                f"{folder}: no picture in {_some(empty)}. Every folder there is a class: put pictures into it, remove "
                "it, or let its name begin with a dot to have it skipped."
            )
        class_names, synsets = _readable(list(folders))
        return cls(name or folder.resolve().name, folder, files, np.concatenate(targets), class_names, synsets)

    def picture(self, index: int) -> Image.Image:
        return open_image(self.path(index))

    def where(self, index: int) -> str:
        return str(self.path(index))

    def path(self, index: int) -> Path:
        return self.folder / self.files[index]

    def part(self, chosen: np.ndarray, name: str) -> "FolderPictures":
        """The pictures for which `chosen`, bool (n,), is true, in their order, as a set called `name`."""
        files = (self.files[int(index)] for index in chosen.nonzero()[0])
        return FolderPictures(name, self.folder, files, self.targets[chosen], self.class_names, self.synsets)


def folder_splits(folder: str | Path, *, val_share: float, seed: int) -> dict[str, FolderPictures]:
    """The splits of a folder, in one of two layouts.

    (a) Folders of class folders called train and val (or valid, or validation), and perhaps test. Without val it is
    held out of train as below; val alone is a data set to evaluate on. A test folder whose pictures are in no class
    folders has no answers to compare with, and is left out.
    (b) Class folders. `val_share` of each class, at least one picture and never all, is held out (`held_out`).

    Classes are numbered as in train, and val has the same; test may lack some. Raises DataError.
    """
    folder = _existing(folder)
    name = folder.resolve().name
    folders = _split_folders(folder)
    if not folders:
        return _with_val(FolderPictures.read(folder, f"{name}/train"), name, val_share, seed)
    splits = {split: FolderPictures.read(path, f"{name}/{split}") for split, path in folders.items()}
    if "train" not in splits:
        return splits
    train = splits.pop("train")
    others = {split: _numbered_as(train, pictures, lacking=split == "test") for split, pictures in splits.items()}
    if "val" not in others:
        return _with_val(train, name, val_share, seed) | others
    _ensure_two_classes(train)
    return {"train": train} | others


def held_out(files: Sequence[str], targets: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which pictures are held out, bool (n,): those of each class that come first when sorted by a hash of their name.

    The share is kept within each class. A picture that is added moves at most one other, and the same files give the
    same split on every system. A class of one picture is not split.
    """
    if not 0 < share < 1:
        raise DataError(f"val_share={share:g} cannot be held out: choose a share between 0 and 1, such as 0.2.")
    ranks = np.array([_hash(file, seed) for file in files], dtype=np.uint64)
    out = np.zeros(len(targets), dtype=bool)
    by_class = np.argsort(targets, kind="stable")
    for members in np.split(by_class, np.flatnonzero(np.diff(targets[by_class])) + 1):
        count = min(max(int(len(members) * share + 0.5), 1), len(members) - 1)
        out[members[np.argsort(ranks[members], kind="stable")[:count]]] = True
    return out


def duplicates(a: PictureSet, b: PictureSet) -> list[tuple[int, int]]:
    """Pictures that are in both sets, byte for byte: (number in a, number in b).

    A picture in train and val at once makes the measured accuracy a memory test. Only files are compared, those of
    equal size by their sha256; a made set shares nothing with another. Files that cannot be read are passed over.
    """
    if not isinstance(a, FolderPictures) or not isinstance(b, FolderPictures):
        return []
    sizes_a, sizes_b = _by_size(a), _by_size(b)
    pairs = []
    for size in sizes_a.keys() & sizes_b.keys():
        contents: dict[str, list[int]] = {}
        for index in sizes_a[size]:
            contents.setdefault(_sha256(a.path(index)), []).append(index)
        for other in sizes_b[size]:
            pairs += [(index, other) for index in contents.get(_sha256(b.path(other)), ())]
    return sorted(pairs)


class _Names(Sequence):
    """Many strings as one: a list of a million would be copied, page by page, into every worker that reads it."""

    def __init__(self, names: Iterable[str]):
        encoded = [os.fsencode(name) for name in names]
        self.ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
        self.text = b"".join(encoded)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> str:
        index = range(len(self))[index]
        return os.fsdecode(self.text[self.ends[index - 1] if index else 0 : self.ends[index]])


# ---------------------------------------------------------------------------------------------- listing


def _existing(folder: str | Path) -> Path:
    folder = Path(folder).expanduser()
    if folder.is_file():
        raise DataError(
            f"{folder} is a file. Give the folder that holds the class folders; an archive has to be unpacked first."
        )
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.")
    return folder


def _subfolders(folder: Path) -> dict[str, Path]:
    """The visible folders in a folder, by name and in the order of names.

    Names are in Unicode's composed form: macOS may hand out the other one, and a class is not to change its name with
    the disk it lies on.
    """
    found = {}
    for entry in _entries(folder):
        if entry.is_dir():
            name = unicodedata.normalize("NFC", entry.name)
            if name in found:
                raise DataError(f"{folder} has two folders whose names read {name}: rename one, or join them.")
            found[name] = Path(entry.path)
    return dict(sorted(found.items()))


def _pictures_of(class_folder: Path) -> list[str]:
    """Paths below the class folder's parent, sorted. Links to folders are followed, each once."""
    return sorted(_below(class_folder, f"{class_folder.name}/", {os.path.realpath(class_folder)}))


def _below(folder: str | Path, prefix: str, followed: set[str]) -> Iterator[str]:
    for entry in _entries(folder):
        if entry.is_dir():
            if entry.is_symlink():
                target = os.path.realpath(entry.path)
                if target in followed:  # else a link to a folder above would lead round for ever
                    continue
                followed.add(target)
            yield from _below(entry.path, f"{prefix}{entry.name}/", followed)
        elif os.path.splitext(entry.name)[1].lower() in _PICTURE:
            yield prefix + entry.name


def _entries(folder: str | Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}).") from error


def _readable(names: list[str]) -> tuple[list[str], list[str] | None]:
    """(class names, synsets or None) of folders called so."""
    if not all(_SYNSET.fullmatch(name) for name in names):
        return names, None
    return [_label_of(synset) for synset in names], names


def _label_of(synset: str) -> str:
    try:
        return find_label(synset).name
    except KeyError:  # of WordNet, but none of ImageNet's thousand
        return synset


# ---------------------------------------------------------------------------------------------- splits


def _split_folders(folder: Path) -> dict[str, Path]:
    """Which folders are splits; none when they are classes (a class of vehicles may be called train)."""
    folders = _subfolders(folder)
    named = {name: _NAMES[name.lower()] for name in folders if name.lower() in _NAMES}
    found: dict[str, Path] = {}
    for name, split in named.items():
        if not _subfolders(folders[name]):
            continue
        if split in found:
            raise DataError(f"{folder} has both {found[split].name} and {name}: rename the one that is not to be used.")
        found[split] = folders[name]
    nothing_else = len(named) == len(folders)
    bare = [name for name, split in named.items() if split != "test" and split not in found]
    if bare and nothing_else and len(named) > 1:
        raise DataError(
            f"{folder}: no class folders in {_some(bare)}. Sort the pictures of each split into one folder a class."
        )
    if {"train", "val"} <= found.keys() or (nothing_else and found.keys() & {"train", "val"}):
        return {split: found[split] for split in SPLIT_FOLDERS if split in found}
    return {}


def _with_val(pictures: FolderPictures, name: str, share: float, seed: int) -> dict[str, FolderPictures]:
    """Train and val out of one set."""
    _ensure_two_classes(pictures)
    single = np.flatnonzero(np.bincount(pictures.targets, minlength=len(pictures.class_names)) < 2)
    if len(single):
        alone = _some(pictures.class_names[number] for number in single)
        raise DataError(
            f"{pictures.folder}: only one picture in {alone}, so it cannot be both in train and in val. Add pictures, "
            "remove the class, or make folders train and val yourself."
        )
    out = held_out(pictures.files, pictures.targets, share, seed)
    return {"train": pictures.part(~out, f"{name}/train"), "val": pictures.part(out, f"{name}/val")}


def _ensure_two_classes(pictures: FolderPictures) -> None:
    if len(pictures.class_names) > 1:
        return
    inner = pictures.folder / Path(pictures.files[0]).parts[0]
    deeper = list(_subfolders(inner))
    hint = f" It holds {_some(deeper)}: did you mean {inner}?" if len(deeper) > 1 else ""
    raise DataError(
        f"{pictures.folder} has one class, {pictures.class_names[0]}, and telling classes apart takes two or more.{hint}"
    )


def _numbered_as(train: FolderPictures, pictures: FolderPictures, lacking: bool) -> FolderPictures:
    """The same pictures with the class numbers of train; `lacking`: whether it may lack some of the classes."""
    known, here = train.synsets or train.class_names, pictures.synsets or pictures.class_names
    more, less = [name for name in here if name not in known], [name for name in known if name not in here]
    if more:
        raise DataError(
            f"{pictures.folder} has {_some(more)}, which {train.folder} lacks: a net cannot learn a class it never "
            "sees. Move some of its pictures there, or rename the folder if it is one of the other classes."
        )
    if less and not lacking:
        raise DataError(
            f"{pictures.folder} lacks {_some(less)}, which {train.folder} has: nothing could be said about that class. "
            "Move some of its pictures there."
        )
    numbers = np.array([known.index(name) for name in here])
    renumbered = numbers[pictures.targets]
    return FolderPictures(pictures.name, pictures.folder, pictures.files, renumbered, train.class_names, train.synsets)


def _no_class_folders(folder: Path) -> str:
    files = [entry.name for entry in _entries(folder)]
    pictures = [name for name in files if os.path.splitext(name)[1].lower() in _PICTURE]
    if pictures:
        return f"{folder} holds {_some(pictures)} itself: sort the pictures into one folder a class."
    if files:
        return f"{folder} holds no pictures and no class folders, but {_some(files)}. It needs one folder a class."
    return f"{folder} is empty. It needs one folder a class, with the pictures of that class in it."


def _hash(file: str, seed: int) -> int:
    name = unicodedata.normalize("NFC", file).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(name, digest_size=8, salt=seed.to_bytes(8, "little", signed=True)).digest())


def _by_size(pictures: FolderPictures) -> dict[int, list[int]]:
    sizes: dict[int, list[int]] = {}
    for index in range(len(pictures)):
        try:
            sizes.setdefault(pictures.path(index).stat().st_size, []).append(index)
        except OSError:
            continue
    return sizes


def _sha256(path: Path) -> str:
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return f"unreadable: {path}"


def _some(names: Iterable[str]) -> str:
    """Names for a sentence: the first three, and how many more."""
    names = list(names)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
