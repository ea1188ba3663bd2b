"""Marks for a map where the pixels that cause the label are known, and intervals for them. Imports evaluate.metrics."""

from dataclasses import dataclass

import numpy as np

from netwright.evaluate.metrics import share
from netwright.explain.removal import enlarge

RESAMPLES = 2000


@dataclass(frozen=True)
class Score:
    """A mean over pictures, from `low` to `high` in 95 %, `of` pictures. Of no picture: nan."""

    value: float
    low: float
    high: float
    of: int


def pointing(heat: np.ndarray, mask: np.ndarray) -> float:
    """The pointing game (Zhang et al. 2016): does the largest number of a map lie in the mask?

    heat: (rows, columns), enlarged to the mask's (height, width) by nearest. 1 or 0; where several pixels share the
    maximum, as all of a cell do, the share of them that is in the mask: what pointing at one of them by lot would score.
    """
    pixels = enlarge(heat, *mask.shape)
    return float(mask[pixels == pixels.max()].mean())


def mass(heat: np.ndarray, mask: np.ndarray) -> float:
    """The share of a map's positive mass that lies in the mask; of a map with nothing positive, the mask's own share."""
    positive = np.clip(enlarge(heat, *mask.shape).astype(np.float64), 0, None)
    total = positive.sum()
    return float(positive[mask].sum() / total) if total > 0 else float(mask.mean())


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation of two maps of one shape, equal numbers sharing their mean rank; 0 for a flat map."""
    a, b = _ranks(one.ravel()), _ranks(other.ravel())
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / size) if size > 0 else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]


def hit_rate(hits: np.ndarray) -> Score:
    """The mean of `pointing` over pictures with Wilson's interval (evaluate.metrics.share).

    A hit by lot counts in part; it varies less than a whole hit or miss would, so the interval is rather too wide.
    """
    found = share(min(float(np.sum(hits)), len(hits)), len(hits))
    return Score(found.value, found.low, found.high, found.of)


def mean_of(values: np.ndarray, per: np.ndarray | None = None, *, seed: int = 0) -> Score:
    """A mean over pictures, or with `per` the ratio of two sums over them, with a bootstrap interval.

    2000 times as many pictures are drawn from them with replacement; the middle 95 % of what comes out is the interval
    (Efron 1979). It speaks of other pictures of this kind, and of this one net.
    """
    values = np.asarray(values, dtype=np.float64)
    per = np.ones_like(values) if per is None else np.asarray(per, dtype=np.float64)
    if not len(values):
        return Score(np.nan, np.nan, np.nan, 0)
    drawn = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].sum(1) / per[drawn].sum(1), (0.025, 0.975))
    return Score(float(values.sum() / per.sum()), float(low), float(high), len(values))
