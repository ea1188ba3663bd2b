"""Exercise `halonet.padded`: the features of a picture that no blocks fit. Imports the engine, blocks, parts and nets."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from netwright.lessons.engine import Check
from netwright.lessons.halonet.parts import Bottleneck
from netwright.lessons.trying import fill, numbers
from netwright.nets.config import Halo


def padded(features: Callable[[Tensor], Tensor], pictures: Tensor, multiple: int, stride: int) -> Tensor:
    """The features of pictures of any size: zeros are added at the right and the bottom, and what comes of them is cut off.

    features: pictures whose sides are multiples of `multiple`, to a map of 1 / stride of their size. pictures: (batch, 3,
    height, width), normalised, so that 0 is the mean colour. Returns (batch, channels, height / stride, width / stride),
    both rounded up.
    """
    height, width = pictures.shape[2:]
    larger = F.pad(pictures, (0, -width % multiple, 0, -height % multiple))  # F.pad begins with the last dimension
    return features(larger)[:, :, : -(-height // stride), : -(-width // stride)]


class _Watched:
    """Some features, and what they were asked: the mean of each patch of the picture, plain and weighed by its place."""

    def __init__(self, stride: int, net: Callable | None = None):
        self.stride, self.net = stride, net
        self.seen: list[Tensor] = []

    def __call__(self, pictures: Tensor) -> Tensor:
        self.seen.append(pictures.clone())
        if self.net:
            return self.net(pictures)
        means = F.avg_pool2d(pictures, self.stride)  # (batch, 3, rows, columns)
        place = torch.arange(1.0, 1 + means.shape[2])[:, None] * torch.arange(3.0, 3 + means.shape[3]) ** 0.5
        return torch.cat((means, means * place), dim=1)


def _measure(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for batch, height, width, multiple, stride in (
        (2, 21, 40, 16, 4),
        (1, 32, 19, 8, 8),
        (3, 24, 16, 8, 2),
        (1, 5, 9, 12, 4),
        (2, 30, 13, 10, 5),
        (1, 33, 17, 16, 16),
    ):
        yield from _ask(theirs, batch, height, width, multiple, stride, None)
    net = Bottleneck(3, 4, 5, stride=2, halo=Halo(heads=2, block_size=6, halo=1))
    fill(net.eval())
    yield from _ask(theirs, 2, 15, 8, 6, 2, net)


def _ask(theirs, batch, height, width, multiple, stride, net) -> Iterator[tuple[str, Any]]:
    what = "of a block of attention" if net else "of a test"
    where = f"{what} for {batch} pictures of {height}x{width}, with multiple {multiple} and stride {stride}"
    features, pictures = _Watched(stride, net), numbers(batch, 3, height, width, of="pictures")
    given = pictures.clone()
    found = theirs(features, given, multiple, stride)
    seen = torch.cat(features.seen)  # in one call or picture by picture
    yield f"the size in which the picture reached the features {where}", list(seen.shape[2:])
    yield f"the picture that reached the features {where}", seen
    yield f"the map {where}", found.detach()
    yield f"your picture {where}, once the function has run,", given


def _up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple


def _padded(
    *,
    pad=lambda h, w, m: (0, -w % m, 0, -h % m),
    mode="constant",
    value=0.0,
    crop=lambda out, h, w, stride: out[:, :, : -(-h // stride), : -(-w // stride)],
    unit=lambda multiple, stride: multiple,
):
    """`padded` with one thing wrong in it."""

    def wrong(features, pictures, multiple, stride):
        height, width = pictures.shape[2:]
        options = {"value": value} if mode == "constant" else {}
        larger = F.pad(pictures, pad(height, width, unit(multiple, stride)), mode=mode, **options)
        return crop(features(larger), height, width, stride)

    return wrong


def _halves(side: int, multiple: int) -> tuple[int, int]:
    missing = -side % multiple
    return missing // 2, missing - missing // 2


def _resized(features, pictures, multiple, stride):
    height, width = pictures.shape[2:]
    larger = F.interpolate(pictures, (_up(height, multiple), _up(width, multiple)), mode="bilinear")
    return features(larger)[:, :, : -(-height // stride), : -(-width // stride)]


def _cut(features, pictures, multiple, stride):
    height, width = (max(multiple, side // multiple * multiple) for side in pictures.shape[2:])
    return features(pictures[:, :, :height, :width])


def _square(h: int, w: int, m: int) -> tuple[int, int, int, int]:
    side = _up(max(h, w), m)
    return 0, side - w, 0, side - h


MISTAKES = {
    "in which F.pad gets the height first: it begins with the last dimension": _padded(
        pad=lambda h, w, m: (0, -h % m, 0, -w % m)
    ),
    "that adds a whole multiple where the side fits already": _padded(pad=lambda h, w, m: (0, m - w % m, 0, m - h % m)),
    "that adds at the left and the top": _padded(pad=lambda h, w, m: (-w % m, 0, -h % m, 0)),
    "that adds on all four sides, and cuts as if it had not": _padded(
        pad=lambda h, w, m: (*_halves(w, m), *_halves(h, m))
    ),
    "that does not cut the map back": _padded(crop=lambda out, h, w, stride: out),
    "that rounds the size of the map down: the last row or column of the picture is lost": _padded(
        crop=lambda out, h, w, stride: out[:, :, : h // stride, : w // stride]
    ),
    "that exchanges height and width when it cuts": _padded(
        crop=lambda out, h, w, stride: out[:, :, : -(-w // stride), : -(-h // stride)]
    ),
    "that repeats the edge of the picture where zeros are asked for": _padded(mode="replicate"),
    "that makes the picture square": _padded(pad=_square),
    "that adds to a multiple of the stride, and not of what the blocks demand": _padded(
        unit=lambda multiple, stride: stride
    ),
    "that stretches the picture": _resized,
    "that cuts the picture down to the multiple below": _cut,
    "that adds white, not zeros": _padded(value=1.0),
}

CHECKS = (
    Check(
        id="halonet.padded",
        minutes=5,
        difficulty="medium",
        ours=padded,
        measure=_measure,
        mistakes=MISTAKES,
        hints=(
            "How many columns are missing if the picture is 21 wide and the multiple 16? And if it is 32 wide?",
            (
                "-width % multiple is what is missing, 0 included. F.pad(x, (left, right, top, bottom)) takes the last "
                "dimension first. A map has a column for each `stride` columns of the picture, the last perhaps only partly filled."
            ),
            (
                "F.pad(pictures, (0, -width % multiple, 0, -height % multiple)), then features(…), then "
                "[:, :, : -(-height // stride), : -(-width // stride)], which rounds up."
            ),
        ),
    ),
)
