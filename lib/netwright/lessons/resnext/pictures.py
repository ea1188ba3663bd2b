"""Figures of notebook 03: weights with their groups, which channels meet, and designs at one budget.

Imports figures and, of this room, experiments.
"""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullLocator
from torch import Tensor

from netwright import figures
from netwright.lessons.resnext.experiments import Design, share_that_meet

NOTHING = "0.85"  # grey, for what is exactly zero


def draw_blocks(weights: Mapping[str, Tensor]) -> figures.Picture:
    """Dense weights (out, in, height, width) as maps: how strongly an output channel reads an input channel."""
    figure, axes = figures.subplots(1, len(weights), figsize=(9, 3.5), squeeze=False)
    colours = mpl.colormaps[figures.SEQUENTIAL].with_extremes(bad=NOTHING)
    words = []
    for axis, (name, weight) in zip(axes[0], weights.items(), strict=True):
        strength = weight.detach().square().sum((2, 3)).sqrt().numpy()  # (out, in)
        used = float((strength > 0).mean())
        drawn = np.ma.masked_equal(strength / np.quantile(strength[strength > 0], 0.99), 0)
        image = axis.imshow(drawn, cmap=colours, vmin=0, vmax=1)
        axis.set_title(f"{name}\n{used:.1%} of the weights", fontsize=11)
        axis.set_xlabel("input channel", fontsize=10)
        axis.tick_params(labelsize=9)
        words.append(f"{name}: {used:.1%}, of {strength.shape[1]} x {strength.shape[0]} channels")
    axes[0, 0].set_ylabel("output channel", fontsize=10)
    bar = figure.colorbar(image, ax=axes, ticks=[0, 1], shrink=0.7, pad=0.02)
    bar.ax.set_yticklabels(["weak", "strong"], fontsize=9)
    alt = (
        "Maps of 3x3 convolutions, output channels by input channels, grey where the weight is exactly zero. With groups "
        f"only square blocks down the diagonal are left. The share that is not zero: {'; '.join(words)}."
    )
    return figures.show(figure, alt)


def draw_reach(reached: Mapping[str, Tensor]) -> figures.Picture:
    """Which channels depend on which, (out, in) each, as `experiments.reach` finds them."""
    figure, axes = figures.subplots(1, len(reached), figsize=(9, 2.9), squeeze=False)
    colours = mpl.colormaps[figures.SEQUENTIAL].with_extremes(bad=NOTHING)
    words = []
    for axis, (name, matrix) in zip(axes[0], reached.items(), strict=True):
        drawn = np.ma.masked_equal((matrix / matrix.max()).sqrt().numpy(), 0)
        axis.imshow(drawn, cmap=colours, vmin=0, vmax=1, aspect="auto")
        axis.set_title(f"{name}\n{share_that_meet(matrix):.0%} meet", fontsize=10)
        axis.set_xlabel("channel that goes in", fontsize=9)
        axis.tick_params(labelsize=8)
        words.append(f"{name.replace(chr(10), ' ')}: {share_that_meet(matrix):.0%}")
    axes[0, 0].set_ylabel("channel that comes out", fontsize=9)
    alt = (
        "Which input channels change which output channels, grey where none does, for some stacks of layers. The share of "
        f"pairs that meet: {'; '.join(words)}."
    )
    return figures.show(figure, alt)


def draw_designs(designs: Sequence[Design], cardinality: int) -> figures.Picture:
    """The middle of one of the designs drawn to scale, beside the weights and the measured time of all of them."""
    chosen = next(design for design in designs if design.cardinality == cardinality)
    figure, (left, right) = figures.subplots(1, 2, figsize=(9, 3.6), width_ratios=(1, 1.7))
    widest = max(design.cardinality * design.group_width for design in designs)
    side, step = chosen.cardinality * chosen.group_width, chosen.group_width
    left.add_patch(Rectangle((0, 0), side, side, facecolor=NOTHING, edgecolor="none"))
    for i in range(chosen.cardinality):
        left.add_patch(Rectangle((i * step, i * step), step, step, color=figures.CYCLE[0], linewidth=0))
    left.set(xlim=(-2, widest + 2), ylim=(widest + 2, -2), aspect="equal")
    left.set_title(f"{chosen.name}: {side} channels,\neach reads {step}", fontsize=11, loc="left")
    left.axis("off")

    first, places = designs[0], [design.cardinality for design in designs]
    right.plot(places, [d.weights / first.weights for d in designs], label="weights")
    right.plot(
        places,
        [d.multiply_adds / first.multiply_adds for d in designs],
        label="multiply-adds",
        linestyle=":",
        linewidth=4,
        color=figures.CYCLE[4],
    )
    right.plot(places, [d.slower.median for d in designs], "o-", color=figures.CYCLE[1], label="time, measured here")
    right.fill_between(
        places,
        [d.slower.low for d in designs],
        [d.slower.high for d in designs],
        color=figures.CYCLE[1],
        alpha=0.2,
        linewidth=0,
    )
    right.axvline(cardinality, color="0.6", linewidth=1, zorder=0)
    right.set_xscale("log", base=2)
    right.xaxis.set_major_locator(FixedLocator(places))
    right.xaxis.set_minor_locator(NullLocator())
    right.set_xticklabels([design.name for design in designs], fontsize=9, rotation=30, ha="right")
    right.set_ylim(0, 1.15 * max(d.slower.high for d in designs))
    right.set_ylabel(f"as a multiple of {first.name}", fontsize=10)
    right.legend(loc="lower left", fontsize=10)
    alt = (
        f"Left: the middle of {chosen.name} drawn to scale, {side} channels in {cardinality} blocks down the diagonal. "
        f"Right, as multiples of {first.name}: weights {chosen.weights / first.weights:.2f}, multiply-adds "
        f"{chosen.multiply_adds / first.multiply_adds:.2f}, measured time {chosen.slower}."
    )
    return figures.show(figure, alt)
