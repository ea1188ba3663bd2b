"""The still picture of the gates. Imports figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netwright import figures

if TYPE_CHECKING:
    from netwright.views.gates.gates import Gates

ALL = "all layers"


def draw_gates(view: Gates) -> figures.Picture:
    """The strip of the view's picture above; below what attention adds, other gates' effect, and what gates know."""
    data = view.data
    figure, axes = figures.subplots(2, 3, figsize=(9.4, 6.8), height_ratios=(1.1, 1), width_ratios=(1.1, 1, 1.1))
    grid = axes[0, 0].get_gridspec()
    for unused in axes[0]:
        unused.remove()
    _draw_strip(figure, figure.add_subplot(grid[0, :]), view)

    places = np.arange(len(data["layers"]))
    numbers = [name.removeprefix("stages.") for name in data["layers"]]
    left, middle, right = axes[1]
    low, high = data["set_rho"].min(0), data["set_rho"].max(0)
    left.bar(places, data["rho"], color=figures.CYCLE[0], label="this picture")
    middles = (low + high) / 2
    left.errorbar(
        places, middles, yerr=(high - low) / 2, fmt="none", ecolor="0.25", capsize=2, lw=1.2, label="range over the set"
    )
    left.set_title("What attention adds,\nas a share of the output", fontsize=11)
    left.set_ylim(0, 1.35 * max(high.max(), data["rho"].max()))
    left.legend(fontsize=8.5, loc="upper left")

    effects = view.effects()[ALL]
    names = [_short(name) for _, name in view.changes]
    answer = _short(view.probe.class_names[view.probe.top(1)[0]])
    heights = np.arange(len(names))[::-1]
    middle.barh(heights + 0.2, [e["change"] for e in effects], 0.38, color=figures.CYCLE[0], label="this net")
    if view.small and not view._of_twin:
        twins = [e["change"] for e in view.twin.effects()[ALL]]
        middle.barh(heights - 0.2, twins, 0.38, color=figures.CYCLE[4], hatch="//", label="random twin")
        middle.set_ylim(-0.6, len(names) + 1.0)
        middle.legend(fontsize=8.5, loc="upper right", ncols=1)
    middle.axvline(0, color="0.3", lw=1)
    middle.set_yticks(heights, names, fontsize=8.5)
    middle.set_title(f"Change of the logit of\n{answer}, with gates:", fontsize=11)

    if "eta2_layers" in data:
        right.bar(places, data["eta2_layers"], color=figures.CYCLE[2])
        right.plot(places, data["eta2_shuffled"], color="0.25", ls=":", marker=".", label="labels shuffled")
        right.set_ylim(0, 1)
        right.legend(fontsize=8.5)
        right.set_title("Of the gates' variance, the\nshare between classes", fontsize=11)
    else:
        right.bar(places, [gates.std(0).mean() for gates in data["set_gates"]], color=figures.CYCLE[2])
        right.set_title("How far the gates move over\nthe set (standard dev.)", fontsize=11)
    for axis in (left, right):
        step = 1 if len(places) <= 8 else 4
        axis.set_xticks(places[::step], numbers[::step], fontsize=8.5)
        axis.set_xlabel("layer: stage.block", fontsize=10)
    for axis in axes[1]:
        axis.tick_params(axis="y" if axis is not middle else "x", labelsize=9)
    return figures.show(figure, view.alt)


def _draw_strip(figure, axis, view: Gates) -> None:
    """A row for every layer (and split, above two), its channels sorted by their mean over the set."""
    data = view.data
    widest = int(data["channels"].max())
    rows, names = [], []
    for i, strip in enumerate(data["strip"]):
        order = np.argsort(-data["mean_strip"][i][0], kind="stable")
        for split, row in enumerate(strip):
            rows.append(np.concatenate([row[order], np.full(widest - len(row), np.nan)]))
            names.append(data["layers"][i].removeprefix("stages.") if split == 0 else "")
    two = bool((data["radix"] == 2).all())
    low, high = (-0.5, 0.5) if two else (0, 1)
    image = axis.imshow(
        np.array(rows), cmap=figures.DIVERGING if two else figures.SEQUENTIAL, vmin=low, vmax=high, aspect="auto"
    )
    axis.set_yticks(range(len(rows)), names, fontsize=9 if len(rows) < 20 else 8)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel(
        f"channels, sorted in each layer by {'d' if two else 'the first gate'}, its mean over the set", fontsize=10
    )
    axis.set_ylabel("layer", fontsize=10)
    if two:
        what, unit = "d = (a₀ − a₁)/2 of every channel: red prefers split 0, blue split 1", "d"
    elif (data["radix"] == 1).all():
        what, unit = "Radix 1: a sigmoid for every channel, which sums to nothing", "gate"
    else:
        what, unit = f"Gates of the {data['radix'].max()} splits, a row for each, top to bottom (they sum to 1)", "gate"
    axis.set_title(what, fontsize=11.5)
    bar = figure.colorbar(image, ax=axis, pad=0.01, ticks=[low, (low + high) / 2, high])
    bar.set_label(unit)
    bar.ax.tick_params(labelsize=9)


def _short(text: str, most: int = 17) -> str:
    text = text.removeprefix("those of: ").split(" (")[0]
    return text if len(text) <= most else f"{text[: most - 1]}…"
