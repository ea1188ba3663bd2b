"""Exercise `attention.pointing`: how often a map points at the cause, with ties shared out, and how sure that is.

Imports the engine and trying.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from netwright.lessons.engine import Check
from netwright.lessons.trying import Numbers


def pointing(maps: Tensor, masks: Tensor) -> tuple[float, float, float]:
    """The pointing game (Zhang et al. 2016, arXiv:1608.00507) and its interval of 95 % (Wilson 1927).

    maps: (pictures, rows, columns), signed, what an explanation says of each cell; masks: (pictures, height, width) bool,
    the pixels that are the cause, where a cell is height / rows x width / columns of them. A map points at its largest
    value; if several cells share it, at all of their pixels alike. A picture's score is the share of the pixels pointed
    at that lie in the mask. Returns (mean score, low, high); with p the mean score of n pictures and z = 1.96.
    """
    highest = maps.amax((1, 2), keepdim=True)
    tied = (maps == highest).to(torch.float64)  # (pictures, rows, columns)
    down, across = masks.shape[1] // maps.shape[1], masks.shape[2] // maps.shape[2]
    inside = F.avg_pool2d(masks.to(torch.float64)[:, None], (down, across))[:, 0]  # of each cell, the share in the mask
    scores = (tied * inside).sum((1, 2)) / tied.sum((1, 2))
    p, n, z = scores.mean().item(), len(maps), 1.96
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return p, centre - half, centre + half


def _with_interval(p: float, n: int, z: float = 1.96) -> tuple[float, float, float]:
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return p, centre - half, centre + half


def _measure(theirs: Callable) -> Iterator[tuple[str, Any]]:
    numbers = Numbers()
    for pictures, rows, columns, down, across, levels in (
        (12, 5, 4, 1, 1, None),  # no ties
        (15, 4, 6, 1, 1, 2),  # many
        (9, 3, 2, 4, 3, None),  # coarse maps
        (7, 2, 2, 3, 5, 1),
    ):
        maps = numbers(pictures, rows, columns)
        if levels is not None:
            maps = (maps * levels).round().clamp(max=levels)  # coarse numbers, so that several cells are the highest
        masks = numbers(pictures, rows * down, columns * across) > 0.4
        before = maps.clone(), masks.clone()
        where = f"of {pictures} maps of {rows}×{columns} cells for {rows * down}×{columns * across} pixels"
        where += ", with ties" if levels is not None else ""
        yield f"the answer (mean score, low, high) {where}", _ends(theirs(maps, masks))
        gaps = [(a.double() - b.double()).abs().max() for a, b in zip((maps, masks), before, strict=True)]
        yield f"the change of maps and masks, once your function has seen them, {where}", gaps
    flat, half = torch.zeros(6, 2, 3), torch.zeros(6, 4, 3, dtype=torch.bool)
    half[:, :1] = True
    yield "the answer for maps without any difference, where the cause fills a quarter,", _ends(theirs(flat, half))
    sure = torch.zeros(5, 3, 3)
    sure[:, 1, 2] = -1.0
    sure[:, 0, 1] = 0.5
    mask = torch.zeros(5, 3, 3, dtype=torch.bool)
    mask[:, 0, 1] = True
    yield "the answer for maps that always point at the cause,", _ends(theirs(sure, mask))


def _ends(found: Any) -> Any:
    """Three numbers as one tensor, so that an error is measured by the largest of them."""
    try:
        return torch.tensor([float(number) for number in found])
    except (TypeError, ValueError):
        return found


def _game(
    *,
    seen: Callable = lambda maps: maps,
    score: Callable | None = None,
    total: Callable = lambda scores, maps, masks: _with_interval(scores.mean().item(), len(scores)),
) -> Callable:
    """`pointing` with one step exchanged. score: (tied, inside) (pictures, rows, columns) to scores (pictures,)."""

    def shared_out(tied, inside):
        return (tied * inside).sum((1, 2)) / tied.sum((1, 2))

    def wrong(maps, masks):
        looked = seen(maps)
        tied = (looked == looked.amax((1, 2), keepdim=True)).to(torch.float64)
        cell = masks.shape[1] // maps.shape[1], masks.shape[2] // maps.shape[2]
        inside = F.avg_pool2d(masks.to(torch.float64)[:, None], cell)[:, 0]
        return total((score or shared_out)(tied, inside), maps, masks)

    return wrong


def _first(tied: Tensor, inside: Tensor) -> Tensor:
    return inside.flatten(1).gather(1, tied.flatten(1).argmax(1, keepdim=True))[:, 0]


def _last(tied: Tensor, inside: Tensor) -> Tensor:
    return _first(tied.flatten(1).flip(1), inside.flatten(1).flip(1))


def _smooth(maps: Tensor, masks: Tensor) -> tuple[float, float, float]:
    large = F.interpolate(maps[:, None], masks.shape[1:], mode="bilinear")[:, 0]
    return pointing(large, masks)


def _mass(maps: Tensor, masks: Tensor) -> tuple[float, float, float]:
    down, across = masks.shape[1] // maps.shape[1], masks.shape[2] // maps.shape[2]
    large = maps.clamp(min=0).repeat_interleave(down, 1).repeat_interleave(across, 2)
    scores = (large * masks).sum((1, 2)) / large.sum((1, 2)).clamp(min=1e-12)
    return _with_interval(scores.mean().item(), len(maps))


def _wald(scores: Tensor, maps: Tensor, masks: Tensor) -> tuple[float, float, float]:
    p, n = scores.mean().item(), len(scores)
    half = 1.96 * math.sqrt(p * (1 - p) / n)
    return p, p - half, p + half


def _spread(scores: Tensor, maps: Tensor, masks: Tensor) -> tuple[float, float, float]:
    p, half = scores.mean().item(), 1.96 * scores.std().item() / math.sqrt(len(scores))
    return p, p - half, p + half


def _counting(n: Callable, z: float = 1.96) -> Callable:
    return lambda scores, maps, masks: _with_interval(scores.mean().item(), n(scores, masks), z)


CHECKS = (
    Check(
        id="attention.pointing",
        minutes=8,
        difficulty="medium",
        ours=pointing,
        measure=_measure,
        mistakes={
            "that takes the first of several highest cells": _game(score=_first),
            "that takes the last of several highest cells": _game(score=_last),
            "to whom one hit among the highest cells is enough": _game(
                score=lambda tied, inside: ((tied * inside).amax((1, 2)) > 0).double()
            ),
            "that wants all the highest cells inside the cause": _game(
                score=lambda tied, inside: ((tied * inside).sum((1, 2)) == tied.sum((1, 2))).double()
            ),
            "that counts a cell as a hit if any of its pixels is": _game(
                score=lambda tied, inside: (tied * (inside > 0)).sum((1, 2)) / tied.sum((1, 2))
            ),
            "that smooths a coarse map before it looks for its highest point": _smooth,
            "that looks for the strongest value of either sign": _game(seen=lambda maps: maps.abs()),
            "that looks for the lowest value": _game(seen=lambda maps: -maps),
            "that looks for one highest value in all the maps": _game(
                score=lambda tied, inside: (tied * inside).sum((1, 2)) / tied.sum((1, 2)).mean()
            ),
            "that measures how much of the map lies in the cause": _mass,
            "with the interval of the first chapter of most books, p ± z √(p(1−p)/n)": _game(total=_wald),
            "with an interval from the scores' own spread": _game(total=_spread),
            "with an interval for 90 %": _game(total=_counting(lambda scores, masks: len(scores), 1.645)),
            "whose interval counts pixels, not pictures": _game(total=_counting(lambda scores, masks: masks.numel())),
        },
        hints=(
            (
                "A map that is the same everywhere points nowhere in particular. What should it score, if the cause fills a quarter "
                "of the picture?"
            ),
            (
                "All cells that share the highest value are pointed at alike: the score is the mean, over those cells, of the share "
                "of a cell's pixels that lie in the mask. Then Wilson's interval of the mean score, with the number of pictures."
            ),
            (
                "tied = (maps == maps.amax((1, 2), keepdim=True)).double(); inside = avg_pool2d(masks.double()[:, None], "
                "cell)[:, 0]; p = ((tied * inside).sum((1, 2)) / tied.sum((1, 2))).mean(). Centre (p + z²/2n) / (1 + z²/n), half "
                "width z √(p(1−p)/n + z²/4n²) / (1 + z²/n)."
            ),
        ),
    ),
)
