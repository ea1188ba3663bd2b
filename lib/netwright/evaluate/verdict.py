"""Measured against published: is the difference what chance would make of it? Imports transforms, weights.catalogue."""

import math
from dataclasses import dataclass

from torch import nn

from netwright.datasets import PictureSet
from netwright.evaluate.imagenet_val import PICTURES
from netwright.evaluate.metrics import Measures, Share, share
from netwright.models import transform_for
from netwright.transforms import Transform
from netwright.weights import catalogue
from netwright.weights.catalogue import Metric

WITHIN, BELOW, ABOVE = "within the interval", "below: check preprocessing", "above: check that the set is the one"
NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Verdict:
    """One figure against its publication.

    figure: "top-1" or "top-5". published: a share of the whole set, with the interval of so many pictures. source:
    where it stands. difference: measured less published, from `low` to `high` in 95 %. verdict: one of the four
    constants of this module. why: what to look at, where something is to be looked at.
    """

    weights: str
    figure: str
    measured: Share
    published: Share
    source: str
    difference: float
    low: float
    high: float
    verdict: str
    why: str = ""


def verdicts(net: nn.Module, pictures: PictureSet, measures: Measures, transform: Transform) -> list[Verdict]:
    """What the catalogue says of the weights of `net`, against `measures`; none for weights that are not in it.

    Every published figure for this size of input is compared, each publisher's own. Only the whole validation set is
    comparable: of a part, the figures stand side by side and the verdict is withheld.
    """
    weights = getattr(net, "weights", None)
    synsets = getattr(pictures, "synsets", None) or ()
    if weights is None or not synsets:
        return []
    whole = getattr(pictures, "published_as", None)
    side = transform.input_size[0]
    figures = [metric for metric in weights.metrics if metric.dataset == (whole or "ImageNet")]
    here = [metric for metric in figures if metric.size == side]
    reason = _not_comparable(whole, pictures, measures, figures, side)
    found = []
    for metric in here or figures:
        for name, measured, percent in (("top-1", measures.top1, metric.top1), ("top-5", measures.top5, metric.top5)):
            if measured and percent is not None:
                published = published_share(percent, PICTURES[whole or "ImageNet"])
                found.append(_judge(weights.name, name, measured, published, metric, reason, net, transform))
    return found


def published_share(percent: float, pictures: int) -> Share:
    """A published percentage, which is rounded, as a share of the whole set with the interval of so many pictures."""
    return share(round(percent / 100 * pictures), pictures)


def difference(measured: Share, published: Share) -> tuple[float, float, float]:
    """(measured less published, low, high): Newcombe's interval from those of the two shares.

    Newcombe 1998, "Interval estimation for the difference between independent proportions", Statistics in Medicine
    17, 873, method 10. Two runs on the same pictures differ by less than independent ones, so what lies outside of
    this interval is no chance; what lies inside may still be a small fault.
    """
    d = measured.value - published.value
    low = d - math.hypot(measured.value - measured.low, published.high - published.value)
    high = d + math.hypot(measured.high - measured.value, published.value - published.low)
    return d, low, high


def _judge(
    name: str, figure: str, measured: Share, published: Share, metric: Metric, reason: str, net, transform
) -> Verdict:
    d, low, high = difference(measured, published)
    source = catalogue.sources().get(metric.source, metric.source)
    if reason:
        verdict, why = NOT_COMPARABLE, reason
    elif low > 0:
        verdict = ABOVE
        why = (
            f"These should be the {published.of:,} pictures of {metric.dataset}, none of which the net was trained on."
        )
    elif high < 0:
        verdict, why = BELOW, _preprocessing(net, transform)
    else:
        verdict, why = WITHIN, ""
    return Verdict(name, figure, measured, published, source, d, low, high, verdict, why)


def _preprocessing(net: nn.Module, transform: Transform) -> str:
    own = transform_for(net, input_size=transform.input_size)
    if repr(own) == repr(transform):
        return f"The preprocessing is the catalogue's, {own!r}: look at the labels and at how the files were decoded."
    return f"This run used {transform!r}; the catalogue has {own!r}."


def _not_comparable(
    whole: str | None, pictures: PictureSet, measures: Measures, figures: list[Metric], side: int
) -> str:
    if whole is None:
        return (
            f"These are {measures.pictures:,} pictures of {len(measures.per_class):,} classes; the published figure is of "
            f"all {PICTURES['ImageNet']:,} pictures of 1,000 classes."
        )
    if measures.pictures != PICTURES[whole]:
        return f"{measures.pictures:,} of the {PICTURES[whole]:,} pictures were used."
    if all(metric.size != side for metric in figures):
        return f"Published at {', '.join(str(metric.size) for metric in figures)} pixels, measured at {side}."
    return ""
