"""The pictures that a net's gates are compared over. Imports models, transforms, toys and probing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from netwright.models import preprocessing_of
from netwright.probing.capture import Probe
from netwright.toys.world import ToyWorld
from netwright.transforms import Transform

EACH = 10  # toy pictures of every class
DONORS = 4  # pictures whose gates can be put in
THUMB = 96  # pixels


@dataclass(frozen=True)
class PictureSet:
    """Some pictures beside the one that is looked at.

    inputs: (n, 3, h, w), ready. labels: (n,) class numbers, or None where nobody says. names: a few words for each.
    said: what they are, in words. donors: the numbers of those whose gates can be put in.
    """

    inputs: Tensor
    labels: np.ndarray | None
    names: tuple[str, ...]
    said: str
    donors: tuple[int, ...]

    def thumbs(self, net, which: Sequence[int]) -> list[Image.Image]:
        """Some of the pictures, small, as the net receives them."""
        transform = Transform(preprocessing_of(net))
        pictures = [transform.inverse(self.inputs[i]) for i in which]
        return [picture.resize((THUMB, THUMB)) if max(picture.size) > THUMB else picture for picture in pictures]


def picture_set(probe: Probe, pictures=None, labels=None) -> PictureSet:
    """The set for `Gates`: the given pictures; else toy pictures for a toy net, other views of its picture for others.

    pictures: a list of pictures, which go through the net's own transform, or ready inputs (n, 3, h, w).
    labels: their class numbers. Raises ValueError for a number of labels that does not fit.
    """
    if isinstance(pictures, PictureSet):
        return pictures
    if pictures is not None:
        return _given(probe, pictures, labels)
    knows_toys = probe.logits is not None and probe.class_names == ToyWorld.classes
    if knows_toys and probe.input.shape[1:] == (3, *probe.transform.input_size):
        return _toys(probe)
    return _views(probe)


def _given(probe: Probe, pictures, labels) -> PictureSet:
    if not isinstance(pictures, Tensor):
        transform = probe.transform
        pictures = torch.stack([transform(picture) for picture in pictures])
    count = len(pictures)
    if labels is not None and len(labels) != count:
        raise ValueError(f"There are {count} pictures and {len(labels)} labels: give every picture one.")
    if labels is None:
        names = tuple(f"picture {i}" for i in range(count))
    else:
        labels = np.asarray(labels)
        names = tuple(f"picture {i}, {probe.class_names[label]}" for i, label in enumerate(labels))
    said = "the picture given" if count == 1 else f"the {count} pictures given"
    return PictureSet(pictures, labels, names, said, tuple(range(min(count, DONORS))))


def _toys(probe: Probe) -> PictureSet:
    """The first test pictures of every class."""
    world, transform = ToyWorld("test"), probe.transform
    every = world.labels()
    chosen = np.concatenate([np.flatnonzero(every == number)[:EACH] for number in range(len(world.classes))])
    batch = world.batch(chosen)
    labels = batch["label"].numpy()
    own = probe.target()
    classes = [number for number in range(0, len(world.classes), 5) if number != own] + [(own + 1) % len(world.classes)]
    return PictureSet(
        torch.stack([transform(image) for image in batch["image"]]),
        labels,
        tuple(f"{world.classes[label]} (test picture {i})" for i, label in zip(chosen, labels, strict=True)),
        f"{len(chosen)} test pictures of the toy world, {EACH} of each class",
        tuple(int(np.flatnonzero(labels == number)[0]) for number in classes[:DONORS]),
    )


def _views(probe: Probe) -> PictureSet:
    """The picture mirrored, and its four corners, seven eighths of its sides, enlarged to its size."""
    x = probe.input
    height, width = x.shape[2:]
    h, w = height - height // 8, width - width // 8
    corners = [x[..., :h, :w], x[..., :h, -w:], x[..., -h:, :w], x[..., -h:, -w:]]
    large = [torch.nn.functional.interpolate(it, (height, width), mode="bilinear") for it in corners]
    names = ("the mirror image", "its upper left", "its upper right", "its lower left", "its lower right")
    said = "five other views of this picture (mirrored, and its four corners)"
    return PictureSet(torch.cat([x.flip(3), *large]), None, names, said, (0, 1))
