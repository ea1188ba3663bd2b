"""Accuracy on corrupted pictures, and what of the clean accuracy is lost. Imports datasets, figures, models."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from netwright.datasets import PictureSet
from netwright.evaluate.corruptions import LEVELS, SEVERITIES, Corrupted
from netwright.evaluate.labelmaps import LabelMap
from netwright.evaluate.metrics import Z95, Share, correct, measure
from netwright.evaluate.predictions import predict
from netwright.figures import SEQUENTIAL, Picture, show, subplots
from netwright.models import transform_for
from netwright.transforms import Transform


@dataclass(frozen=True)
class Robustness:
    """clean: top-1 on the pictures as they are. shares: top-1 by (kind, severity).

    mean: of all kinds and severities alike, from `low` to `high` in 95 %; the interval counts pictures, not
    corruptions, since one picture's answers under many corruptions hang together. relative_drop: the part of the
    clean accuracy that is lost, nan where there was none.
    """

    clean: Share
    shares: dict[tuple[str, int], Share]
    mean: float
    low: float
    high: float

    @property
    def relative_drop(self) -> float:
        return 1 - self.mean / self.clean.value if self.clean.value else math.nan

    @property
    def kinds(self) -> list[str]:
        return list(dict.fromkeys(kind for kind, _ in self.shares))

    @property
    def severities(self) -> list[int]:
        return sorted({severity for _, severity in self.shares})

    def table(self) -> tuple[list[str], list[list[str]]]:
        """(head, rows): a row a kind, a column a severity, the row's mean last."""
        rows = []
        for kind in self.kinds:
            values = [self.shares[kind, severity].value for severity in self.severities]
            rows.append([kind, *(f"{value:.1%}" for value in values), f"{np.mean(values):.1%}"])
        return ["corruption", *(f"severity {severity}" for severity in self.severities), "mean"], rows

    def figure(self, title: str = "") -> Picture:
        """Top-1 as a map, a row a kind and a column a severity, with severity 0 for the clean pictures."""
        columns = [0, *self.severities]
        grid = [[self.clean.value, *(self.shares[kind, s].value for s in self.severities)] for kind in self.kinds]
        figure, axes = subplots(figsize=(7.0, 1.2 + 0.32 * len(grid)))
        top = max(0.01, max(map(max, grid)))
        axes.imshow(grid, cmap=SEQUENTIAL, vmin=0, vmax=top, aspect="auto")
        for row, values in enumerate(grid):
            for column, value in enumerate(values):
                colour = "black" if value > 0.6 * top else "white"
                axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=colour, fontsize=10)
        axes.set_xticks(range(len(columns)), [str(it) for it in columns])
        axes.set_yticks(range(len(grid)), [kind.replace("_", " ") for kind in self.kinds])
        axes.set(xlabel="severity (0: the pictures as they are)", title=title or "top-1 (%)")
        axes.spines[:].set_visible(False)
        means = {kind: np.mean(row[1:]) for kind, row in zip(self.kinds, grid, strict=True)}
        worst, mildest = min(means, key=means.get), max(means, key=means.get)
        return show(
            figure,
            f"Top-1 for {len(grid)} corruptions by severity. Clean: {self.clean.value:.1%}; all corruptions together: "
            f"{self.mean:.1%}. The worst is {worst}, {means[worst]:.1%}, the mildest {mildest}, {means[mildest]:.1%}.",
        )


def robustness(
    net: nn.Module,
    pictures: PictureSet,
    *,
    transform: Transform | None = None,
    labels: LabelMap | None = None,
    kinds: Sequence[str] = tuple(LEVELS),
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    **ask,
) -> Robustness:
    """Ask `net` about `pictures` under every corruption. `ask`: what else `predict` takes."""
    transform = transform_for(net) if transform is None else transform
    clean = predict(net, pictures, transform=transform, labels=labels, **ask)
    shares, right = {}, []
    for kind in kinds:
        for severity in severities:
            worse = Corrupted(pictures, transform, kind, severity, seed)
            found = predict(net, worse, transform=as_it_is(transform), labels=labels, **ask)
            shares[kind, severity] = measure(found).top1
            right.append(correct(found).double())
    of_picture = torch.stack(right).mean(dim=0)
    mean = of_picture.mean().item()
    half = Z95 * of_picture.std().item() / math.sqrt(len(of_picture)) if len(of_picture) > 1 else 1.0
    return Robustness(measure(clean).top1, shares, mean, max(0.0, mean - half), min(1.0, mean + half))


def as_it_is(transform: Transform) -> Transform:
    """The normalisation of `transform` alone, for pictures that are crops of the input size already."""
    alone = copy.copy(transform)
    alone.resize, alone.crop_pct = alone.input_size, 1.0
    return alone
