"""What notebook 11 tries out: pictures kept at hand, worlds that look new, a choice among equals, a memory test.

Imports datasets, toys, transforms, evaluate and bench.
"""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from netwright.bench import Ratio, interleave, ratio
from netwright.datasets import PictureSet, ToyPictures, duplicates
from netwright.evaluate.corruptions import Corrupted
from netwright.evaluate.metrics import Comparison, Measures, Share, compare, measure
from netwright.evaluate.predictions import Predictions, asked, predict
from netwright.evaluate.robustness import as_it_is
from netwright.evaluate.speed import peak_on_cpu
from netwright.toys import CLASSES, ToyWorld, groups, render
from netwright.toys.factors import PIXEL
from netwright.transforms import Transform


class AtHand(PictureSet):
    """Pictures of another set, opened once and kept in memory as uint8 (n, 3, height, width)."""

    def __init__(self, pictures: PictureSet, kept: Tensor | None = None):
        self.name, self.class_names = pictures.name, pictures.class_names
        self.targets, self.synsets = pictures.targets, pictures.synsets
        self._where = pictures.where
        self.kept = pictures.pixels(range(len(pictures))) if kept is None else kept

    def picture(self, index: int) -> Image.Image:
        return Image.fromarray(self.kept[index].permute(1, 2, 0).numpy())

    def where(self, index: int) -> str:
        return self._where(index)

    def pixels(self, indices: Sequence[int]) -> Tensor:
        return self.kept[torch.as_tensor(list(indices))]


# An interval and its promise -------------------------------------------------------------------------------------


def drawn_intervals(interval: Callable, share: float, of: int, times: int, seed: int = 0) -> np.ndarray:
    """`interval`(count, of) of so many tests of a net that is right in `share`: (times, 2), low and high."""
    counts = np.random.default_rng(seed).binomial(of, share, size=times)
    return np.array([interval(int(count), of) for count in counts])


def kept_promise(interval: Callable, shares: np.ndarray, of: int) -> np.ndarray:
    """How probable it is that `interval` of `of` pictures holds the true share, for each of these: exact, no drawing."""
    ends = np.array([interval(count, of) for count in range(of + 1)])  # (of + 1, 2)
    ways = np.array([math.comb(of, count) for count in range(of + 1)], dtype=float)
    count = np.arange(of + 1)
    chance = ways * shares[:, None] ** count * (1 - shares[:, None]) ** (of - count)  # (shares, of + 1)
    # A limit that rounding has put beside 0 or 1 counts as these.
    holds = (ends[:, 0] <= shares[:, None] + 1e-12) & (shares[:, None] - 1e-12 <= ends[:, 1])
    return (chance * holds).sum(axis=1)


# Where the world looks new ---------------------------------------------------------------------------------------

SEEN_RADII = (11.5, 16.5)  # pixels, of a shape in the toy world (see `toys.factors.single_figure`)


def shapes_of_size(radius: float, count: int, *, size: int = 64, seed: int = 0) -> AtHand:
    """Pictures of the toy world's six shapes, each drawn with a radius of so many pixels instead of its own.

    Everything else is as in the test split; a figure that would not fit where it was is moved towards the middle.
    """
    world = ToyWorld("test", size=size, seed=seed, length=count * len(CLASSES))
    of_shape = [number for number, it in enumerate(CLASSES) if it.group == "shape"]
    some = np.flatnonzero(np.isin(world.labels(), of_shape))[:count]
    factors = world.factors(some)
    before, after = factors["radius"], np.full(len(some), PIXEL * radius, np.float32)
    for axis in "xy":
        moved = factors[axis] / _room(before) * _room(after)
        factors[axis] = moved.astype(np.float32)
    factors["radius"] = after
    pictures = ToyPictures(ToyWorld("test", size=size, seed=seed, length=len(some)))
    pictures.name, pictures.targets = f"shapes with a radius of {radius:g} pixels", factors["label"]
    return AtHand(pictures, torch.from_numpy(render(factors, size)["image"]))


def _room(radius: np.ndarray) -> np.ndarray:
    """How far from the middle a figure of this radius may stand, as in the world itself."""
    return np.maximum(1 - 1.45 * radius, 0.01)


def grainy(pictures: PictureSet, transform: Transform, severity: int, kind: str = "gaussian_noise") -> AtHand:
    """The same pictures in noise, or in another of the kinds of corruption."""
    return AtHand(Corrupted(pictures, transform, kind, severity))


Weather = dict[tuple[str, int], dict[str, Share]]  # top-1 by (kind, severity) and net


def in_weather(
    nets: Mapping[str, nn.Module],
    pictures: PictureSet,
    transform: Transform,
    kinds: Sequence[str],
    severities: Sequence[int],
) -> Weather:
    """Top-1 of several nets on the very same corrupted pictures."""

    def top1(worse: PictureSet) -> dict[str, Share]:
        asked_for = {"transform": as_it_is(transform), "progress": False}
        return {name: measure(predict(net, worse, **asked_for)).top1 for name, net in nets.items()}

    fair = top1(grainy(pictures, transform, 0))  # the same for all kinds
    return {
        (kind, severity): top1(grainy(pictures, transform, severity, kind)) if severity else fair
        for kind in kinds
        for severity in severities
    }


@dataclass(frozen=True)
class Way:
    """One way to show a net the test pictures: what it sees of some, and what it then says of all.

    seen: inputs (3, height, width). change: its accuracy less that of the right way. confidence: the mean.
    """

    seen: list[Tensor]
    answers: Predictions
    measures: Measures
    change: Comparison
    confidence: float


def ask_in_ways(
    net: nn.Module,
    ways: Mapping[str, tuple[PictureSet, Callable[[Image.Image], Tensor]]],
    right: Predictions,
    samples: Sequence[int],
) -> dict[str, Way]:
    """Ask `net` about the toy world's pictures in several ways: (pictures, from a picture to an input) by name.

    right: what it says of the same pictures, shown as they should be. samples: pictures to be kept as they are seen.
    """
    found = {}
    for name, (pictures, make) in ways.items():
        answers = predict(net, pictures, transform=make, progress=False)
        seen = [make(pictures.picture(i)) for i in samples]
        confidence = answers.probabilities.amax(dim=1).mean().item()
        found[name] = Way(seen, answers, measure(answers, groups=groups()), compare(answers, right), confidence)
    return found


def as_jpeg(picture: Image.Image, quality: int = 75) -> Image.Image:
    """The picture, saved as JPEG and opened again."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def held_to(predictions: Predictions, names: Sequence[str]) -> tuple[float, float]:
    """Accuracy on the pictures of these classes, with all answers allowed; and with only these."""
    classes = torch.tensor([predictions.class_names.index(name) for name in names])
    some = torch.isin(predictions.targets, classes)
    logits, targets = predictions.logits[some], predictions.targets[some]
    held = classes[logits[:, classes].argmax(dim=1)]
    return tuple((answers == targets).double().mean().item() for answers in (logits.argmax(dim=1), held))


def quarter_turns(pictures: AtHand, seed: int = 0) -> AtHand:
    """The same pictures, each turned by 0, 1, 2 or 3 quarter turns at random."""
    turns = torch.randint(4, (len(pictures),), generator=torch.Generator().manual_seed(seed)).tolist()
    turned = [image.rot90(turn, (1, 2)) for image, turn in zip(pictures.kept, turns, strict=True)]
    return AtHand(pictures, torch.stack(turned))


# A net that is calibrated by making ------------------------------------------------------------------------------


def calibrated(predictions: Predictions, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Some pictures' probabilities (count, classes), and labels (count,) that are drawn from just these."""
    chance = torch.Generator().manual_seed(seed)
    some = torch.randperm(len(predictions), generator=chance)[:count]
    probabilities = predictions.probabilities[some].double()
    return probabilities, probabilities.multinomial(1, generator=chance)[:, 0]


# Choosing among equals -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """Accuracies of variants that are all equally good, (times, most).

    each: of every variant. told: of the best among the first 1, 2, … on the pictures by which it was chosen. fresh: of
    that one on as many others.
    """

    each: np.ndarray
    told: np.ndarray
    fresh: np.ndarray


def choose(share: float, of: int, *, most: int = 100, times: int = 2000, seed: int = 0) -> Chosen:
    """Try 1, 2, … `most` variants that are all right in `share`, on `of` pictures; keep the best of those so far.

    Each is right or wrong on each picture by a coin of its own. Retrained nets hang together more than that, and so
    flatter somewhat less.
    """
    rng = np.random.default_rng(seed)
    each = rng.binomial(of, share, size=(times, most)) / of
    return Chosen(each, np.maximum.accumulate(each, axis=1), rng.binomial(of, share, size=(times, most)) / of)


# A memory test ---------------------------------------------------------------------------------------------------


def leaky_folder(folder: Path, *, train: int = 300, val: int = 200, copies: int = 40, resaved: int = 20) -> None:
    """Write train and val as folders of class folders, with some training pictures once more in val.

    Of these `copies` are the very files, and `resaved` were saved again, as JPEG: the same picture, other bytes.
    """
    world = ToyWorld("train", length=train + val)
    images, labels = world.batch(range(len(world)))["image"].permute(0, 2, 3, 1).numpy(), world.labels()
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        name = world.classes[label]
        if i < train:
            _save(image, folder / "train" / name / f"{i:04}.png")
            if i < copies:
                _save(image, folder / "val" / name / f"again_{i:04}.png")
            elif i < copies + resaved:
                _save(image, folder / "val" / name / f"again_{i:04}.jpg", quality=90)
        elif i < train + val - copies - resaved:
            _save(image, folder / "val" / name / f"{i:04}.png")


def _save(image: np.ndarray, path: Path, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG" if path.suffix == ".jpg" else "PNG", **options)
    path.write_bytes(buffer.getvalue())


@dataclass(frozen=True)
class Remembered:
    """What a net that only remembers its training pictures says of others: bool, all (pictures,).

    right: whether the class of the nearest training picture is the right one. copy: the same file is in train.
    near: the nearest training picture is all but the same (`CLOSE`), copies included.
    """

    right: np.ndarray
    copy: np.ndarray
    near: np.ndarray


CLOSE = 12.0  # grey levels, root mean square, that two pictures may differ by and be one picture saved twice


def remember(train: PictureSet, val: PictureSet) -> Remembered:
    """Answer every picture of val with the class of the training picture whose pixels differ least."""
    known, asked_for = (_vectors(some) for some in (train, val))
    distance = torch.cdist(asked_for, known)  # (val, train)
    nearest = distance.argmin(dim=1).numpy()
    copy = np.zeros(len(val), dtype=bool)
    copy[[b for _, b in duplicates(train, val)]] = True
    close = distance.amin(dim=1).numpy() < CLOSE * math.sqrt(known.shape[1])
    return Remembered(train.targets[nearest] == val.targets, copy, close)


def _vectors(pictures: PictureSet) -> Tensor:
    arrays = [np.asarray(pictures.picture(i), dtype=np.float32).ravel() for i in range(len(pictures))]
    return torch.from_numpy(np.stack(arrays))


# Speed side by side ----------------------------------------------------------------------------------------------


def faster(
    nets: Mapping[str, nn.Module], *, batches: tuple[int, ...] = (1, 32), side: int = 64, runs: int = 11
) -> dict[str, dict[int, Ratio]]:
    """By net and batch, how many times as fast it is as the first: all in turn, on the same made-up pictures."""
    rival = next(iter(nets))
    found: dict[str, dict[int, Ratio]] = {name: {} for name in nets}
    for batch in batches:
        pictures = torch.randn(batch, 3, side, side)
        seconds = interleave({name: _asks(net, pictures) for name, net in nets.items()}, runs)
        for name in nets:
            found[name][batch] = ratio(seconds[rival], seconds[name])
    return found


def _asks(net: nn.Module, pictures: Tensor) -> Callable[[], Tensor]:
    def call() -> Tensor:
        with asked(net):
            return net(pictures)

    return call


def peaks(nets: Mapping[str, nn.Module], *, batch: int = 32, side: int = 64) -> dict[str, int | None]:
    """By net, how many bytes a fresh process grows by that makes and asks it; None where that is not measured."""
    with ThreadPoolExecutor(2) as pool:  # each measures a process of its own
        return dict(zip(nets, pool.map(lambda net: peak_on_cpu(net, batch, side, "fp32"), nets.values()), strict=True))
