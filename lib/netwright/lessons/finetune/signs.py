"""A folder of pictures as people have them: six signs, few of each, painted by the toy world.

The nets of the toy world have learned that a figure may stand at any angle and still be the same. Here it may not.
Imports toys, nets, models and datasets.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from netwright.datasets import Data, PictureSet, open_data
from netwright.models import transform_for
from netwright.nets.net import ResidualNet
from netwright.toys import CLASSES, ToyWorld, render
from netwright.toys.classes import OUTLINE_NAMES
from netwright.toys.factors import TURN

SEED = 10  # of the world that the signs stand in: none of its pictures was seen when the toy nets were trained
SWAY = 1 / 24  # of a turn, to either side: nobody hangs up a sign quite straight
COUNTS = {"train": 16, "val": 12, "test": 100}  # of each sign


@dataclass(frozen=True)
class Sign:
    """outline: a name in OUTLINES. turn: how it hangs, in turns clockwise; None for anyhow."""

    outline: str
    turn: float | None


SIGNS = {
    "moon left": Sign("moon", 0.5),
    "moon right": Sign("moon", 0.0),
    "square": Sign("square", 0.0),
    "diamond": Sign("square", 0.125),
    "star": Sign("star", None),
    "flower": Sign("flower", None),
}


def sign_factors(count: int, *, seed: int = SEED) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What `count` pictures of each sign are made of, and their classes (n,), numbered as in SIGNS.

    The first pictures of a larger count are those of a smaller one.
    """
    # Pictures of single outlines are borrowed from the world, with all else that is in them, and made into signs.
    shapes = [number for number, it in enumerate(CLASSES) if it.group == "shape"]
    wanted = count * len(SIGNS)
    world = ToyWorld("train", seed=seed, length=4 * wanted + len(CLASSES))
    factors = world.factors(np.flatnonzero(np.isin(world.labels(), shapes))[:wanted])
    targets = np.arange(wanted) % len(SIGNS)
    for number, sign in enumerate(SIGNS.values()):
        some = targets == number
        factors["kind"][some] = OUTLINE_NAMES.index(sign.outline)
        if sign.turn is not None:
            sway = (factors["angle"][some] / TURN * 2 - 1) * SWAY  # its own angle, much less of it
            factors["angle"][some] = np.round((sign.turn + sway) * TURN).astype(np.int64) % TURN
    return factors, targets


def write_signs(folder: str | Path, counts: dict[str, int] = COUNTS, *, seed: int = SEED) -> Data:
    """The folder train/, val/ and test/, each with a folder a sign, as a data set."""
    folder = Path(folder)
    factors, targets = sign_factors(sum(counts.values()), seed=seed)
    pixels = render(factors)["image"]
    start = 0
    for split, count in counts.items():
        for name in SIGNS:
            (folder / split / name).mkdir(parents=True, exist_ok=True)
        names, stop = tuple(SIGNS), start + count * len(SIGNS)
        for number in range(start, stop):
            home = folder / split / names[targets[number]]
            Image.fromarray(pixels[number].transpose(1, 2, 0)).save(home / f"{number:05}.jpg", quality=95)
        start = stop
    return open_data(folder)


def inputs_of(pictures: PictureSet, net: nn.Module) -> tuple[Tensor, Tensor]:
    """All pictures as `net` is evaluated on them, (n, 3, height, width), and their classes, (n,)."""
    transform = transform_for(net)
    return torch.stack([transform(pictures.picture(i)) for i in range(len(pictures))]), torch.from_numpy(
        pictures.targets
    )


@torch.no_grad()
def features_of(net: ResidualNet, pictures: PictureSet) -> tuple[Tensor, Tensor]:
    """What `net` hands to its classifier of every picture, (n, num_features), and their classes, (n,)."""
    inputs, targets = inputs_of(pictures, net)
    return torch.cat([net.forward_head(net.forward_features(x), pre_logits=True) for x in inputs.split(100)]), targets
