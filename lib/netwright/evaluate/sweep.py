"""Accuracy over input size and crop: which part of a figure is the net's, and which the preprocessing's.

Imports figures, models, transforms and, of this room, labelmaps, metrics, predictions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from netwright.datasets import PictureSet
from netwright.evaluate.labelmaps import LabelMap
from netwright.evaluate.metrics import Share, measure
from netwright.evaluate.predictions import asked, predict
from netwright.figures import CYCLE, WIDE, Picture, show, subplots
from netwright.models import transform_for
from netwright.transforms import Transform

FACTORS = (0.75, 1.0, 1.25, 1.5)  # of the net's own input size
CROPS = (0.875, 0.95, 1.0)


@dataclass(frozen=True)
class Point:
    """Top-1 at one input size and crop, or None and why the net cannot be asked there."""

    input_size: int
    crop_pct: float
    top1: Share | None
    impossible: str = ""


@dataclass(frozen=True)
class Sweep:
    """points: of every size with every crop. own: the (input_size, crop_pct) that belong to the weights.

    The best of many points is best partly by luck: choose on one split, and report on another.
    """

    points: tuple[Point, ...]
    own: tuple[int, float]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """(head, rows): a row a size, a column a crop; the weights' own point has a star."""
        crops = sorted({point.crop_pct for point in self.points})
        found = {(point.input_size, point.crop_pct): point for point in self.points}
        rows = []
        for size in sorted({point.input_size for point in self.points}):
            cells = (self._cell(found[size, crop]) for crop in crops)
            rows.append([str(size), *cells])
        return ["input size", *(f"crop {crop:g}" for crop in crops)], rows

    def _cell(self, point: Point) -> str:
        if point.top1 is None:
            return "impossible"
        star = " *" if (point.input_size, point.crop_pct) == self.own else ""
        return f"{point.top1.value:.2%}{star}"

    def impossible(self) -> list[str]:
        """Why some sizes are missing, a sentence each."""
        return list(dict.fromkeys(f"{it.input_size}: {it.impossible}" for it in self.points if it.impossible))

    def figure(self, title: str = "") -> Picture:
        """Top-1 over the input size, a line a crop, with 95 % intervals."""
        figure, axes = subplots(figsize=WIDE)
        for crop, colour in zip(sorted({point.crop_pct for point in self.points}), CYCLE * 3, strict=False):
            line = [point for point in self.points if point.crop_pct == crop]
            sizes = [point.input_size for point in line]
            # A size at which the net cannot be asked is a gap in the line, not a guess.
            value, low, high = (
                [100 * getattr(it.top1, part) if it.top1 else math.nan for it in line]
                for part in ("value", "low", "high")
            )
            axes.plot(sizes, value, "o-", color=colour, label=f"crop {crop:g}")
            axes.fill_between(sizes, low, high, color=colour, alpha=0.12, linewidth=0)
        if self.own[0] in {point.input_size for point in self.points}:
            axes.axvline(self.own[0], color="0.6", linewidth=1, zorder=0)
        axes.set(xlabel="input size (pixels)", ylabel="top-1 (%)", title=title)
        axes.legend()
        there = [point for point in self.points if point.top1]
        best = max(there, key=lambda point: point.top1.value, default=None)
        if best is None:
            return show(figure, "Top-1 over input size: the net can be asked at none of the sizes.")
        return show(
            figure,
            f"Top-1 over input size for {len({p.crop_pct for p in there})} crops. It is highest, "
            f"{best.top1.value:.1%}, at {best.input_size} pixels with crop {best.crop_pct:g}; the weights' own size is "
            f"{self.own[0]} pixels.",
        )


def sweep(
    net: nn.Module,
    pictures: PictureSet,
    *,
    sizes: Sequence[int] | None = None,
    crops: Sequence[float] | None = None,
    labels: LabelMap | None = None,
    **ask,
) -> Sweep:
    """Top-1 of `net` at every size with every crop. `ask`: what `predict` takes, but for transform.

    Sizes at which the net cannot be asked (halo attention needs maps that divide into blocks) are named, not tried.
    """
    own = transform_for(net)
    side = own.input_size[0]
    sizes = default_sizes(side) if sizes is None else sizes
    crops = sorted({own.crop_pct, *CROPS}) if crops is None else crops
    points = []
    for size in sizes:
        for crop in crops:
            try:
                transform = transform_for(net, input_size=size, crop_pct=crop)
                _try(net, transform, ask.get("device"))
            except (ValueError, RuntimeError) as error:
                points.append(Point(size, crop, None, str(error)))
                continue
            found = measure(predict(net, pictures, transform=transform, labels=labels, **ask))
            points.append(Point(size, crop, found.top1))
    return Sweep(tuple(points), (side, own.crop_pct))


def default_sizes(side: int) -> list[int]:
    """Sizes from three quarters to one and a half of `side`, in steps that a stride of 32 (or, below 128, 8) divides."""
    step = 32 if side >= 128 else 8
    return sorted({side, *(max(step, round(side * factor / step) * step) for factor in FACTORS)})


def _try(net: nn.Module, transform: Transform, device) -> None:
    """Ask the net about one black picture of that size; raises what it raises."""
    with asked(net, device) as place:
        dtype = next(net.parameters(), torch.empty(0)).dtype
        net(torch.zeros(1, 3, *transform.input_size, device=place, dtype=dtype))
