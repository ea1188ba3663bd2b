"""The figures of notebook 11 that show pictures: the test, the same pictures seen wrongly, worlds that look new.

Imports figures, datasets, evaluate, toys, transforms and, of this room, trials.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from netwright import figures
from netwright.datasets import PictureSet
from netwright.evaluate.metrics import Calibration, Measures, Share, share
from netwright.evaluate.reliability import reliability_in_words
from netwright.lessons.evaluate.trials import SEEN_RADII, Way, Weather
from netwright.toys import CLASSES, GROUPS
from netwright.transforms import Transform

BLUE, RED, GREEN = figures.CYCLE[:3]
OF_GROUP = dict(zip(GROUPS, figures.CYCLE[:3], strict=True))


def draw_world(pictures: PictureSet) -> figures.Picture:
    """One picture of each class, the classes in their groups."""
    figure, axes = figures.subplots(2, 10, figsize=(9, 2.6))
    for axis, (number, it) in zip(axes.flat, enumerate(CLASSES), strict=True):
        index = int(np.flatnonzero(pictures.targets == number)[0])
        axis.imshow(pictures.picture(index), interpolation="lanczos")
        axis.set_title(it.name.replace(" ", "\n", 1), fontsize=9, linespacing=0.95)
        axis.set(xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set(visible=True, color=OF_GROUP[it.group], linewidth=2.5)
    told = "; ".join(f"{group}: {', '.join(it.name for it in CLASSES if it.group == group)}" for group in GROUPS)
    return figures.show(figure, f"A picture of each of the {len(CLASSES)} classes, framed by group. {told}.")


# Seen wrongly ----------------------------------------------------------------------------------------------------


def draw_ways(ways: Mapping[str, Way], right: Measures, transform: Transform) -> figures.Picture:
    """A row a way: two pictures as the net gets them, and by how many points each group of classes moves."""
    rows, shown = len(ways), len(next(iter(ways.values())).seen)
    figure, axes = figures.subplots(
        rows, shown + 1, figsize=(9, 0.82 * rows + 0.7), width_ratios=(*(1,) * shown, 8.5 - shown), sharex="col"
    )
    told = []
    for row, (name, way) in enumerate(ways.items()):
        line = axes[row]
        for axis, tensor in zip(line[:-1], way.seen, strict=True):
            axis.imshow(transform.inverse(tensor), interpolation="lanczos")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set(visible=True, color="0.8")
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)
        axis = line[-1]
        axis.set_xscale("symlog", linthresh=1)  # a tenth of a point and all of them, in one picture
        axis.set_xlim(-105, 3)
        axis.set_xticks([-100, -10, -1, 0, 1], ["−100", "−10", "−1", "0", "1"])
        axis.axvline(0, color="0.6", linewidth=1)
        for height, (group, colour) in zip((2, 1, 0), OF_GROUP.items(), strict=True):
            moved = 100 * (way.measures.per_group[group].value - right.per_group[group].value)
            axis.barh(height, moved, color=colour, height=0.8, label=group)
        axis.set(yticks=[], ylim=(-0.7, 2.7))
        axis.spines[:].set_visible(False)
        axis.tick_params(axis="x", length=0, labelbottom=row == rows - 1)
        change = f"{100 * way.change.difference:+.1f} ({100 * way.change.low:+.1f} to {100 * way.change.high:+.1f})"
        words = change.replace("-", "−")
        axis.text(1.02, 0.5, f"{words}\n{way.confidence:.0%} sure", transform=axis.transAxes, va="center", fontsize=10)
        told.append(f"{name}: {change} points in all, mean confidence {way.confidence:.0%}")
    axes[-1, -1].set_xlabel("change (points), by group of classes")
    handles, labels = axes[-1, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figures.show(figure, f"The same test pictures, shown in {rows} ways. {'; '.join(told)}.")


# Is it as sure as it is right? -----------------------------------------------------------------------------------


FEW = 10  # a bin of fewer pictures is drawn hollow, and by itself


def draw_calibration(found: Mapping[str, Calibration]) -> figures.Picture:
    """Reliability diagrams side by side: accuracy over confidence, with 95 % intervals, on bars of how many there are."""
    figure, axes = figures.subplots(
        2, len(found), figsize=(9, 3.9), sharex=True, sharey="row", height_ratios=(3, 1), squeeze=False
    )
    for (curve, counts), (name, its) in zip(axes.T, found.items(), strict=True):
        filled = [it for it in its.bins if it.count]
        curve.plot([0, 100], [0, 100], "--", color="0.5", linewidth=1)
        for it in filled:
            ends = share(round(it.accuracy * it.count), it.count)
            curve.plot(
                [100 * it.confidence] * 2, [100 * ends.low, 100 * ends.high], color=BLUE, alpha=0.45, linewidth=3
            )
        for some, style in (
            ([it for it in filled if it.count < FEW], {"marker": "o", "linestyle": "", "markerfacecolor": "white"}),
            ([it for it in filled if it.count >= FEW], {"marker": "o"}),
        ):
            places, heights = [100 * it.confidence for it in some], [100 * it.accuracy for it in some]
            curve.plot(places, heights, color=BLUE, **style)
        curve.set(xlim=(0, 100), ylim=(0, 102), xticks=[0, 50, 100])
        curve.set_title(f"{name}\nECE {its.ece:.1%}", fontsize=12)
        width = 100 * (its.bins[0].high - its.bins[0].low)
        counts.bar([100 * it.low for it in its.bins], [it.count for it in its.bins], width, align="edge", color="0.6")
        counts.set_xlabel("confidence (%)")
    axes[0, 0].set_ylabel("right (%)")
    axes[1, 0].set_ylabel("pictures")
    told = " ".join(f"{name}: {reliability_in_words(its)}" for name, its in found.items())
    return figures.show(figure, told)


# Weather ---------------------------------------------------------------------------------------------------------


def draw_weather(found: Weather) -> figures.Picture:
    """A panel a kind of corruption: top-1 of every net over the severity, with 95 % intervals."""
    kinds = list(dict.fromkeys(kind for kind, _ in found))
    severities = sorted({severity for _, severity in found})
    figure, axes = figures.subplots(1, len(kinds), figsize=(9, 3.3), sharey=True, squeeze=False)
    axes = axes[0]
    told = []
    for axis, kind in zip(axes, kinds, strict=True):
        for name, colour in zip(found[kind, severities[0]], figures.CYCLE, strict=False):
            its = [found[kind, severity][name] for severity in severities]
            low, high = ([100 * getattr(it, end) for it in its] for end in ("low", "high"))
            axis.fill_between(severities, low, high, color=colour, alpha=0.15, linewidth=0)
            axis.plot(severities, [100 * it.value for it in its], "o-", color=colour, label=name, markersize=4)
        axis.set(title=kind.replace("_", " "), xlabel="severity", xticks=severities, ylim=(0, 102))
        last = found[kind, severities[-1]]
        told.append(f"{kind} {severities[-1]}: " + ", ".join(f"{name} {it.value:.0%}" for name, it in last.items()))
    axes[0].set_ylabel("top-1 (%)")
    axes[-1].legend(loc="lower left", fontsize=10)
    return figures.show(figure, f"Top-1 of the nets under {len(kinds)} corruptions. {'; '.join(told)}.")


# Where the world looks new ---------------------------------------------------------------------------------------


def draw_new(
    slices: Mapping[str, Share],
    usual: Share,
    radii: Sequence[float],
    curves: Mapping[str, tuple[list[Share], list[float]]],
) -> figures.Picture:
    """Left: parts of the world that are new in name only. Right: shapes of sizes that training never showed.

    curves: by net, its top-1 and its mean confidence at each radius.
    """
    figure, (left, right) = figures.subplots(1, 2, figsize=(9, 3.7), width_ratios=(1, 1.7))
    left.axvspan(100 * usual.low, 100 * usual.high, color="0.88", linewidth=0)
    for row, it in enumerate(slices.values()):
        left.plot([100 * it.low, 100 * it.high], [row, row], color=BLUE, linewidth=4, alpha=0.45)
        left.plot(100 * it.value, row, "o", color=BLUE)
    left.set_yticks(range(len(slices)), slices)
    left.invert_yaxis()
    left.set(xlabel="top-1 (%); grey: the test split", title="“novel” pictures")
    right.axvspan(*SEEN_RADII, color="0.88", linewidth=0)
    right.text(sum(SEEN_RADII) / 2, 2, "in training", ha="center", fontsize=10, color="0.35")
    for (name, (top1, confidence)), colour in zip(curves.items(), figures.CYCLE, strict=False):
        right.fill_between(
            radii, [100 * it.low for it in top1], [100 * it.high for it in top1], color=colour, alpha=0.15, linewidth=0
        )
        right.plot(radii, [100 * it.value for it in top1], "o-", color=colour, label=f"{name}: right", markersize=4)
        right.plot(radii, [100 * it for it in confidence], "--", color=colour, label="how sure it is", linewidth=1.5)
    right.set(xlabel="radius of the shape (pixels)", ylabel="%", ylim=(0, 103), title="shapes of other sizes")
    right.legend(loc="lower right", fontsize=9)
    words = "; ".join(
        f"{name}: at {radii[0]:g} pixels right in {top1[0].value:.0%} and sure of {confidence[0]:.0%}, at "
        f"{radii[-1]:g} pixels {top1[-1].value:.0%} and {confidence[-1]:.0%}"
        for name, (top1, confidence) in curves.items()
    )
    told = ", ".join(f"{name} {it.value:.1%}" for name, it in slices.items())
    return figures.show(
        figure,
        f"Left: top-1 on parts of the world that these nets have seen in training, beside {usual.value:.1%} on the test "
        f"split: {told}. Right: top-1 and mean confidence on shapes of other sizes than in training. {words}.",
    )
