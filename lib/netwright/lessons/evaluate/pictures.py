"""The figures of notebook 11 about numbers: intervals, pairs, seeds, choices, published figures, what faults cost.

Imports figures, evaluate, toys, the weights' catalogue and, of this room, trials.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from netwright import figures
from netwright.evaluate.metrics import Comparison, Measures, Share, share
from netwright.evaluate.verdict import PICTURES, difference, published_share
from netwright.lessons.evaluate.trials import Chosen
from netwright.toys import CLASSES, GROUPS
from netwright.toys.ledger import chance, over_seeds, spread
from netwright.weights.catalogue import catalogue

BLUE, RED, GREEN = figures.CYCLE[:3]


def _whisker(
    axis, place: float, low: float, high: float, colour: str, *, upright: bool = False, width: float = 2.5
) -> None:
    """An interval as a line."""
    ends, places = [100 * low, 100 * high], [place, place]
    axis.plot(*((places, ends) if upright else (ends, places)), color=colour, linewidth=width, alpha=0.5, zorder=2)


# Does an interval keep its promise? ------------------------------------------------------------------------------


def draw_promise(drawn: np.ndarray, share: float, of: int, kept: Mapping[str, np.ndarray], shares: np.ndarray):
    """Left: intervals of many tests of one net, those that miss the truth in colour. Right: how often each kind holds.

    drawn: (times, 2). kept: by the kind of interval, the probability that it holds each of the true `shares`.
    """
    figure, (left, right) = figures.subplots(1, 2, figsize=(9, 3.6), width_ratios=(1, 1.25))
    miss = (drawn[:, 0] > share) | (drawn[:, 1] < share)
    for row, ((low, high), missed) in enumerate(zip(drawn, miss, strict=True)):
        left.plot([100 * low, 100 * high], [row, row], color=RED if missed else BLUE, linewidth=2.2 if missed else 1.1)
    left.axvline(100 * share, color="black", linewidth=1)
    left.set(yticks=[], xlabel="accuracy (%)", title=f"{len(drawn)} tests of {of} pictures: {miss.sum()} miss")
    left.spines["left"].set_visible(False)
    for (name, values), colour in zip(kept.items(), (RED, BLUE, GREEN), strict=False):
        right.plot(100 * shares, 100 * values, color=colour, label=name, linewidth=1.5)
    right.axhline(95, color="0.5", linestyle="--", linewidth=1)
    right.set(xlabel="true accuracy (%)", ylabel="intervals that hold it (%)", ylim=(60, 100.5))
    right.legend(loc="lower left")
    told = "; ".join(f"{name} from {values.min():.0%} to {values.max():.0%}" for name, values in kept.items())
    return figures.show(
        figure,
        f"Left: {len(drawn)} intervals from tests of {of} pictures each, of a net that is right in {share:.0%}; "
        f"{miss.sum()} do not hold that number. Right: the share of intervals that hold the truth, which should be 95 %, "
        f"over the true accuracy. {told}.",
    )


# Classes and groups ----------------------------------------------------------------------------------------------


def draw_classes(measured: Mapping[str, Measures]) -> figures.Picture:
    """Top-1 of each class for several nets, with intervals, the classes in their groups."""
    figure, axis = figures.subplots(figsize=(9, 4.2))
    step = 0.17
    for (name, found), colour, place in zip(
        measured.items(), figures.CYCLE, step * (np.arange(len(measured)) - (len(measured) - 1) / 2), strict=False
    ):
        for x, it in enumerate(found.per_class.values()):
            _whisker(axis, x + place, it.low, it.high, colour, upright=True, width=2)
            axis.plot(x + place, 100 * it.value, "o", color=colour, markersize=4, label=name if x == 0 else None)
    ends = np.cumsum([sum(it.group == group for it in CLASSES) for group in GROUPS])
    for start, end, group in zip((0, *ends), ends, GROUPS, strict=False):
        axis.axvspan(start - 0.5, end - 0.5, color="0.5", alpha=0.07 if group == GROUPS[1] else 0, linewidth=0)
        axis.text((start + end - 1) / 2, 101.5, group, ha="center", va="bottom", fontsize=12, fontweight="bold")
    axis.set_xticks(range(len(CLASSES)), [it.name for it in CLASSES], rotation=90, fontsize=10)
    axis.set(ylabel="top-1 (%)", xlim=(-0.5, len(CLASSES) - 0.5))
    axis.set_ylim(top=101)
    axis.grid(axis="y", color="0.9", linewidth=0.8)
    axis.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=len(measured))
    told = "; ".join(
        f"{name}: " + ", ".join(f"{group} {it.value:.1%}" for group, it in found.per_group.items())
        for name, found in measured.items()
    )
    return figures.show(figure, f"Top-1 of {len(measured)} nets on each of the {len(CLASSES)} classes. {told}.")


# Two nets --------------------------------------------------------------------------------------------------------


def draw_pairs(singles: Mapping[str, Share], pairs: Mapping[tuple[str, str], Comparison]) -> figures.Picture:
    """Left: each net with its own interval. Right: the difference of every two, picture by picture."""
    figure, (left, right) = figures.subplots(1, 2, figsize=(9, 0.42 * len(pairs) + 1.3), width_ratios=(1, 1.3))
    for row, (it, colour) in enumerate(zip(singles.values(), figures.CYCLE, strict=False)):
        _whisker(left, row, it.low, it.high, colour, width=4)
        left.plot(100 * it.value, row, "o", color=colour)
    left.set_yticks(range(len(singles)), [name.removeprefix("toy_") for name in singles])
    left.set(xlabel="top-1 (%)", title="each by itself")
    words = []
    for row, ((a, b), it) in enumerate(pairs.items()):
        apart = it.p < 0.05
        _whisker(right, row, it.low, it.high, RED if apart else "0.4", width=4)
        right.plot(100 * it.difference, row, "o", color=RED if apart else "0.4")
        words.append(f"{a} less {b}: {it}")
    right.set_yticks(
        range(len(pairs)), [f"{a.removeprefix('toy_')} − {b.removeprefix('toy_')}" for a, b in pairs], fontsize=10
    )
    right.axvline(0, color="black", linewidth=1)
    right.set(xlabel="difference (points)", title="every two, in pairs")
    for axis in (left, right):
        axis.invert_yaxis()
        axis.grid(axis="x", color="0.9", linewidth=0.8)
        axis.set_axisbelow(True)
    return figures.show(
        figure, "Nets by themselves and compared in pairs, with 95 % intervals. " + "; ".join(words) + "."
    )


def overlaps(a: Share, b: Share) -> bool:
    """Whether two intervals have a number in common."""
    return a.low <= b.high and b.low <= a.high


# Seeds -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Duel:
    """Two nets over all pairs of their seeds: of `of` duels, `upsets` are won by the net with the lower mean.

    difference: of the means, in points. p: how often chance makes one as large, over seeds (`ledger.chance`). sure: in
    how many duels the two intervals over pictures alone would call the one or the other better.
    """

    a: str
    b: str
    difference: float
    p: float
    upsets: int
    sure: int
    of: int

    @property
    def short(self) -> tuple[str, str]:
        """Both names, without what is common to them."""
        return self.a.removeprefix("toy_"), self.b.removeprefix("toy_")


def duels(ledger: dict, group: str) -> list[Duel]:
    """Every two nets of the ledger on a group of classes, as if each had been trained once."""
    return [_duel(a, b, ledger, group) for a, b in combinations(ledger["nets"], 2)]


def _duel(a: str, b: str, ledger: dict, group: str) -> Duel:
    shares = [
        [share(round(it["value"] * it["of"]), it["of"]) for it in (run["groups"][group] for run in net["runs"])]
        for net in (ledger["nets"][a], ledger["nets"][b])
    ]
    values = [[it.value for it in its] for its in shares]
    d = statistics.mean(values[0]) - statistics.mean(values[1])
    fights = list(product(*shares))
    upsets = sum((one.value - other.value) * d < 0 for one, other in fights)
    sure = sum(low > 0 or high < 0 for _, low, high in (difference(one, other) for one, other in fights))
    return Duel(a, b, 100 * d, chance(*values), upsets, sure, len(fights))


def draw_seeds(ledger: dict) -> figures.Picture:
    """Every seed of every net on each group of classes, with the mean and its interval over seeds."""
    figure, axes = figures.subplots(1, len(GROUPS), figsize=(9, 3.0))
    told = []
    for axis, group in zip(axes, GROUPS, strict=True):
        for column, (name, colour) in enumerate(zip(ledger["nets"], figures.CYCLE, strict=False)):
            values = over_seeds(name, group, ledger)
            mean, low, high = spread(values)
            _whisker(axis, column, max(0, low), min(1, high), colour, upright=True, width=9)
            axis.plot([column - 0.28, column + 0.28], [100 * mean] * 2, color=colour, linewidth=2)
            places = column + 0.13 * (np.arange(len(values)) - (len(values) - 1) / 2)
            axis.plot(
                places, [100 * value for value in values], "o", color=colour, markersize=4, markeredgecolor="white"
            )
            told.append(f"{name} on {group}: {mean:.1%} ({min(values):.1%} to {max(values):.1%})")
        names = [name.removeprefix("toy_") for name in ledger["nets"]]
        axis.set_xticks(range(len(names)), names, fontsize=10, rotation=25)
        axis.set_title(group)
        axis.grid(axis="y", color="0.9", linewidth=0.8)
        axis.set_axisbelow(True)
    axes[0].set_ylabel("top-1 (%)")
    return figures.show(figure, f"Top-1 of every seed of every net. Mean, worst and best: {'; '.join(told)}.")


# Choosing --------------------------------------------------------------------------------------------------------


def draw_choice(chosen: Chosen, truth: float, of: int, tried: int) -> figures.Picture:
    """Left: a typical round of `tried` equally good variants. Right: how much the best flatters, by how many were tried."""
    figure, (left, right) = figures.subplots(1, 2, figsize=(9, 3.5), width_ratios=(1, 1.2))
    best, again = chosen.told[:, tried - 1], chosen.fresh[:, tried - 1]
    typical = (np.abs(best - best.mean()) + np.abs(again - again.mean())).argmin()
    one = chosen.each[typical, :tried]
    for row, value in enumerate(one):
        its = share(round(value * of), of)
        colour = RED if row == one.argmax() else "0.55"
        _whisker(left, row, its.low, its.high, colour)
        left.plot(100 * its.value, row, "o", color=colour, markersize=4)
    left.plot(100 * again[typical], one.argmax(), "D", color=BLUE, label="the chosen, asked again")
    left.axvline(100 * truth, color="black", linewidth=1, linestyle="--")
    left.set(yticks=[], xlabel="accuracy (%)", title=f"{tried} variants, all equally good")
    left.spines["left"].set_visible(False)
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))

    counts = np.arange(1, chosen.each.shape[1] + 1)
    gap = 100 * (chosen.told - truth)
    low, high = np.quantile(gap, (0.05, 0.95), axis=0)
    right.fill_between(counts, low, high, color=RED, alpha=0.15, linewidth=0)
    right.plot(counts, gap.mean(axis=0), color=RED, label="on the pictures that chose it")
    right.plot(counts, 100 * (chosen.fresh - truth).mean(axis=0), color=BLUE, label="on as many fresh pictures")
    right.axvline(tried, color="0.6", linestyle=":", linewidth=1.5)
    right.set(xscale="log", xlabel="variants tried", ylabel="told less true (points)", title="the best of them")
    right.set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
    right.legend(loc="lower right", fontsize=10)
    return figures.show(
        figure,
        f"Left: {tried} variants that are all right in {truth:.1%}, tested on {of} pictures; the best of them is told with "
        f"{one.max():.1%}, and on fresh pictures has {again[typical]:.1%}. Right: over many rounds the "
        f"best of {tried} flatters by {gap[:, tried - 1].mean():.1f} points on average, and by none on fresh pictures.",
    )


# Published figures -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Published:
    """What is published of some weights at one size of input: top-1 by source on ImageNet, and one on ImageNetV2."""

    name: str
    size: int
    imagenet: dict[str, Share]
    v2: Share | None

    @property
    def agree(self) -> bool:
        """Whether the intervals of all sources overlap, taken as if they were of different pictures."""
        return all(overlaps(a, b) for a, b in combinations(self.imagenet.values(), 2))


def published() -> list[Published]:
    """Every entry of the catalogue, at the size for which there are the most figures; the most accurate last."""
    found = []
    for weights in catalogue():
        sizes = [metric.size for metric in weights.metrics if metric.dataset == "ImageNet"]
        size = max(set(sizes), key=lambda it: (sizes.count(it), -it))
        here = [metric for metric in weights.metrics if metric.size == size]
        imagenet = {
            it.source: published_share(it.top1, PICTURES["ImageNet"]) for it in here if it.dataset == "ImageNet"
        }
        v2 = [published_share(it.top1, PICTURES["ImageNetV2"]) for it in here if it.dataset == "ImageNetV2"]
        found.append(Published(weights.name, size, imagenet, v2[0] if v2 else None))
    return sorted(found, key=lambda it: max(share.value for share in it.imagenet.values()))


def rank_correlation(entries: Sequence[Published]) -> float:
    """Spearman's, of the two sets over the nets that were measured on both: 1 where they rank alike."""
    both = [(max(share.value for share in it.imagenet.values()), it.v2.value) for it in entries if it.v2]
    places = np.argsort(np.argsort(np.array(both), axis=0), axis=0)  # (nets, 2)
    return float(np.corrcoef(places.T)[0, 1])


def draw_published(entries: Sequence[Published]) -> figures.Picture:
    """Top-1 on ImageNet by every source, and on the ten thousand pictures that were collected in the same way later."""
    entries = [it for it in entries if it.v2]
    figure, axis = figures.subplots(figsize=(9, 0.19 * len(entries) + 1.2))
    for row, it in enumerate(entries):
        colour = BLUE if it.agree else RED
        for its in it.imagenet.values():
            _whisker(axis, row, its.low, its.high, colour, width=4)
            axis.plot(100 * its.value, row, "o", color=colour, markersize=3.5)
        _whisker(axis, row, it.v2.low, it.v2.high, GREEN, width=4)
        axis.plot(100 * it.v2.value, row, "o", color=GREEN, markersize=3.5)
    axis.set_yticks(range(len(entries)), [it.name for it in entries], fontsize=8.5)
    axis.set(xlabel="published top-1 (%), with 95 % intervals over pictures", ylim=(-0.8, len(entries) - 0.2))
    axis.grid(color="0.92", linewidth=0.8)
    axis.set_axisbelow(True)
    kinds = ((BLUE, "ImageNet, every source"), (RED, "ImageNet, sources that disagree"), (GREEN, "ImageNetV2"))
    for colour, label in kinds:
        axis.plot([], [], "o", color=colour, label=label)
    figure.legend(loc="outside upper center", ncols=3, fontsize=10)
    drops = [100 * (max(s.value for s in it.imagenet.values()) - it.v2.value) for it in entries]
    apart = [it.name for it in entries if not it.agree]
    return figures.show(
        figure,
        f"Published top-1 of {len(entries)} sets of weights on ImageNet and on ImageNetV2, where each has {min(drops):.1f} "
        f"to {max(drops):.1f} points less. Sources that disagree: {', '.join(apart) or 'none'}.",
    )


# What a fault costs ----------------------------------------------------------------------------------------------

Points = tuple[float, float, float]  # a change of the figure, in points of accuracy, and its 95 % interval


def points(comparison: Comparison) -> Points:
    """The difference of a comparison, in points."""
    return tuple(100 * it for it in (comparison.difference, comparison.low, comparison.high))


def verdict(change: Points, noise: float) -> str:
    """What somebody sees who has only the wrong figure, where chance alone moves one by `noise` points."""
    if abs(change[0]) <= noise:
        return "nothing"
    return "a better net" if change[0] > 0 else "a worse net"


def draw_costs(changes: Mapping[str, Points], noise: float) -> figures.Picture:
    """What each fault does to the figure; grey: how far chance alone moves one. Far falls are cut, and have their number."""
    figure, axis = figures.subplots(figsize=(9, 0.42 * len(changes) + 1.1))
    floor = -6.0 * max(noise, 1.0)
    axis.axvspan(-noise, noise, color="0.85", linewidth=0)
    for row, (change, low, high) in enumerate(changes.values()):
        colour = "0.35" if abs(change) <= noise else RED
        far = change < floor
        axis.barh(row, max(change, floor), color=colour, height=0.5, alpha=0.45)
        if not far:
            axis.plot([low, high], [row, row], color=colour, linewidth=2.5)
            axis.plot(change, row, "o", color=colour)
        words = f"{change:+.1f}".replace("-", "−")
        place = 0.985 * floor if far else max(high, noise) + 0.03 * abs(floor)
        axis.text(place, row, f"◀ {words}" if far else words, ha="left", va="center", fontsize=11)
    axis.set_yticks(range(len(changes)), changes)
    axis.invert_yaxis()
    axis.axvline(0, color="black", linewidth=1)
    axis.set(xlabel="change of the figure (points); grey: what chance alone does", xlim=(floor, 0.35 * abs(floor)))
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
    told = "; ".join(
        f"{name}: {change:+.1f} points, so one sees {verdict((change, low, high), noise)}"
        for name, (change, low, high) in changes.items()
    )
    return figures.show(figure, f"What each fault does to the figure. {told}.")
