"""ImageNet's validation pictures in the layouts in which people keep them, labelled by synset. Imports datasets.

- folders called by synset (n01440764), as PyTorch's valprep.sh makes them; also those of Imagenette or ImageNet-R;
- flat, with LOC_val_solution.csv, as Kaggle gives it (ILSVRC/Data/CLS-LOC/val);
- flat, with a list of "file label", as Caffe and OpenMMLab have it (meta/val.txt);
- flat, with one synset a line (TensorFlow's imagenet_2012_validation_synset_labels.txt);
- flat, with the devkit's ILSVRC2012_validation_ground_truth.txt and a list of which id is which synset;
- flat, with the synset in the name of the file, as in the Hugging Face archive (…_n01751748.JPEG);
- folders called 0 to 999, as in ImageNetV2.

Two numberings of the classes are in use: by sorted synset, which is that of all nets here, and the devkit's own.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from netwright.datasets.folder import FolderPictures
from netwright.evaluate.labelmaps import SYNSET, EvaluationError
from netwright.imagenet import labels
from netwright.images import SUFFIXES, ImageError, to_rgb

PLACES = ("", "val", "validation", "ILSVRC2012_img_val", "Data/CLS-LOC/val", "ILSVRC/Data/CLS-LOC/val", "imagenet/val")
LABEL_PLACES = ("", "meta", "data", "devkit/data", "ILSVRC2012_devkit_t12/data")
LABEL_FILES = (
    "LOC_val_solution.csv",
    "imagenet_2012_validation_synset_labels.txt",
    "val.txt",
    "val.csv",
    "ILSVRC2012_validation_ground_truth.txt",
)
ID_FILES = ("map_clsloc.txt", "meta.csv", "meta.txt")

FLAT = re.compile(r"ILSVRC2012_val_(\d{8})(?:_(n\d{8}))?\.jpe?g", re.IGNORECASE)
# What the first picture shows, a sea snake, under each numbering: so a list of numbers says which one it uses.
FIRST_SORTED, FIRST_DEVKIT = 65, 490
PICTURES = {"ImageNet": 50_000, "ImageNetV2": 10_000}  # of the sets of which figures are published


class ImageNetVal(FolderPictures):
    """See the module. `published_as`: which set of the catalogue's figures this is in full, or None."""

    published_as: str | None = None

    def picture(self, index: int) -> Image.Image:
        """Not turned by EXIF: the published pipelines do not look at it, and a few of the pictures have it."""
        path = self.path(index)
        try:
            with Image.open(path) as image:
                return to_rgb(image, str(path))
        except ImageError:
            raise
        except Exception as error:  # Pillow's decoders raise a dozen types
            raise ImageError(f"{path} cannot be decoded ({error}).") from error


def imagenet_val(folder: str | Path) -> ImageNetVal | None:
    """The validation pictures in `folder`, in any of the layouts; None where it has none of them.

    Class numbers are those of the nets, or, where only some of the classes are there, in the same order. Raises
    EvaluationError for a flat folder whose labels are missing or cannot be trusted.
    """
    folder = Path(folder).expanduser()
    for place in PLACES:
        inner = folder / place
        if not inner.is_dir():
            continue
        names = [entry.name for entry in inner.iterdir() if not entry.name.startswith(".")]
        if any(FLAT.fullmatch(name) for name in names):
            flat = sorted(name for name in names if FLAT.fullmatch(name))
            return _set(inner, flat, _labels_of(flat, inner))
        folders = sorted(name for name in names if (inner / name).is_dir())
        synsets = _synsets_of_folders(folders)
        if synsets:
            files = [(f"{name}/{file}", synsets[name]) for name in folders for file in _pictures(inner / name)]
            if files:
                numbered = not SYNSET.fullmatch(folders[0])
                return _set(inner, *zip(*files, strict=True), kind="ImageNetV2" if numbered else "ImageNet")
    return None


def _set(folder: Path, files, synsets, kind: str = "ImageNet") -> ImageNetVal:
    there = set(synsets)
    present = [label for label in labels() if label.synset in there]
    number = {label.synset: i for i, label in enumerate(present)}
    targets = np.array([number[synset] for synset in synsets], dtype=np.int64)
    names = [label.name for label in present]
    found = ImageNetVal("imagenet/val", folder, files, targets, names, [label.synset for label in present])
    each = PICTURES[kind] // len(labels())
    if np.array_equal(np.bincount(targets), np.full(len(labels()), each)):
        found.published_as = kind
    return found


def _pictures(folder: Path) -> list[str]:
    suffixes = {suffix.lower() for suffix in SUFFIXES}
    return sorted(entry.name for entry in folder.iterdir() if entry.suffix.lower() in suffixes)


def _synsets_of_folders(names: list[str]) -> dict[str, str] | None:
    """Folder → synset, where all folders are ImageNet classes, by synset or by all the numbers from 0 to 999."""
    known = {label.synset for label in labels()}
    if names and set(names) <= known:
        return {name: name for name in names}
    numbers = {str(label.index): label.synset for label in labels()}
    return numbers if set(names) == set(numbers) else None


# --- labels of a flat folder -------------------------------------------------------------------------------------


def _labels_of(files: list[str], folder: Path) -> list[str]:
    """The synset of each file."""
    matches = [FLAT.fullmatch(name) for name in files]
    if all(match[2] for match in matches):
        answers, source = {int(match[1]): match[2] for match in matches}, folder
    else:
        source = _beside(folder, LABEL_FILES)
        if source is None:
            raise EvaluationError(
                f"{folder} holds ImageNet's validation pictures, and nothing near says what they show. Put one of "
                f"{', '.join(LABEL_FILES)} into it or above it, or sort the pictures into folders called by synset."
            )
        answers = _read_labels(source, folder)
    missing = [match[0] for match in matches if int(match[1]) not in answers]
    if missing:
        raise EvaluationError(f"{source} does not say what {len(missing)} of the pictures show, such as {missing[0]}.")
    synsets = [answers[int(match[1])] for match in matches]
    unknown = set(synsets) - {label.synset for label in labels()}
    if unknown:
        raise EvaluationError(f"{source} names {min(unknown)}, which is none of ImageNet's 1000 classes.")
    return synsets


def _read_labels(source: Path, folder: Path) -> dict[int, str]:
    """Picture number → synset."""
    answers = dict(_rows(source))
    if all(SYNSET.fullmatch(answer) for answer in answers.values()):
        return answers
    if not all(answer.isdecimal() for answer in answers.values()):
        raise EvaluationError(f"{source} is not read: a line should end in a synset (n01751748) or a number.")
    numbers = {picture: int(answer) for picture, answer in answers.items()}
    first = numbers.get(1)
    if first == FIRST_SORTED:
        names = {label.index: label.synset for label in labels()}
    elif first in (FIRST_DEVKIT, FIRST_DEVKIT - 1):
        names = {id + first - FIRST_DEVKIT: synset for id, synset in _devkit_ids(source, folder).items()}
    else:
        raise EvaluationError(
            f"{source} gives classes as numbers, and does not tell which numbering it uses: it should give the first "
            f"picture, a sea snake, {FIRST_SORTED} (sorted synsets) or {FIRST_DEVKIT} (the devkit's), not {first}. "
            "Replace the numbers by synsets."
        )
    return {picture: names.get(number, str(number)) for picture, number in numbers.items()}


def _rows(source: Path) -> Iterator[tuple[int, str]]:
    """(picture number, label) of each line: "file label …", "file,label …", or a label alone, in the pictures' order."""
    with open(source, encoding="utf-8-sig") as file:
        lines = [line.replace(",", " ").split() for line in file if line.strip()]
    if lines and lines[0][0].lower() in ("imageid", "file", "filename", "image"):
        lines = lines[1:]
    for number, (first, *rest) in enumerate(lines, start=1):
        digits = re.search(r"val_(\d{8})", first)
        if digits and rest:
            yield int(digits[1]), rest[0]
        elif not rest:
            yield number, first
        else:
            raise EvaluationError(f"{source} is not read: line {number} begins with {first!r}, no validation picture.")


def _devkit_ids(source: Path, folder: Path) -> dict[int, str]:
    """The devkit's class id, from 1 → synset, from a list in which each line has both."""
    path = _beside(folder, ID_FILES)
    if path is None:
        raise EvaluationError(
            f"{source} numbers the classes as the devkit does, and which id is which synset stands in its meta.mat, "
            f"which is not read here. Put map_clsloc.txt beside it (lines such as “n02119789 1 kit_fox”), or write "
            "meta.csv once, where SciPy is installed: python -c \"import scipy.io; print(*(f'{s[0][0][0]},{s[0][1][0]}' "
            "for s in scipy.io.loadmat('meta.mat')['synsets'][:1000]), sep='\\n')\" > meta.csv"
        )
    found = {}
    with open(path, encoding="utf-8-sig", newline="") as file:
        for row in csv.reader(line.replace(" ", ",") for line in file):
            synset = next((cell for cell in row if SYNSET.fullmatch(cell)), None)
            id = next((cell for cell in row if cell.isdecimal()), None)
            if synset and id:
                found[int(id)] = synset
    if set(found) != set(range(1, 1001)) or len(set(found.values())) != 1000:
        raise EvaluationError(f"{path} should name a synset for each id from 1 to 1000, and names {len(found)}.")
    return found


def _beside(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The first file of these names in the pictures' folder or above it, as far up as Kaggle's layout is deep."""
    folder = folder.resolve()
    above = [folder, *list(folder.parents)[:4]]
    places = (base / place / name for name in names for base in above for place in LABEL_PLACES)
    return next((path for path in places if path.is_file()), None)
