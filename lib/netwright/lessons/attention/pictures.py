"""The figures of notebook 09. Imports figures, the views' halo.parts and, of this room, museum and experiments."""

from collections.abc import Callable

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
import torch
from matplotlib.patches import Rectangle
from PIL import Image

from netwright import figures
from netwright.lessons.attention import museum
from netwright.lessons.attention.experiments import Effect, Head
from netwright.views.halo import parts
from netwright.views.halo.explorer import HaloExplorer

PLACES = {"own": "own block", "halo": "halo", "padding": "padding"}
COLOURS = {"own": figures.CYCLE[0], "halo": figures.CYCLE[5], "padding": "#c9ccd1"}


def square(picture: Image.Image) -> Image.Image:
    """The middle of a picture, as large a square as it has."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side))


def draw_masses(masses: Callable, explorer: HaloExplorer) -> figures.Picture:
    """For each head of each layer where its attention falls, by the reader's `masses`, beside where its keys are."""
    layers = list(explorer.layers.items())
    heights = [layer.heads + 1.4 for _, layer in layers]
    figure, axes = figures.subplots(
        len(layers), 1, figsize=(9, 0.34 * sum(heights) + 0.9), height_ratios=heights, squeeze=False
    )
    said = []
    for axis, (name, layer) in zip(axes[:, 0], layers, strict=True):
        weights = explorer.attended(name).weights.flatten(3, 4)  # (heads, rows, columns, queries, u, v)
        even = torch.full_like(weights[:1, :, :, :1], 1 / layer.window**2)
        rows = [masses(weights, layer.block_size, layer.halo), masses(even, layer.block_size, layer.halo)]
        by_head = {place: torch.cat([row[place].mean((1, 2, 3)) for row in rows]).numpy() for place in PLACES}
        labels = [f"head {head}" for head in range(layer.heads)] + ["all keys alike"]
        left = np.zeros(len(labels))
        for place, words in PLACES.items():
            bars = axis.barh(labels, by_head[place], left=left, color=COLOURS[place], label=words, height=0.78,
                             hatch="///" if place == "padding" else None, edgecolor="white")  # fmt: skip
            texts = [f"{value:.0%}" if value > 0.045 else "" for value in by_head[place]]
            dark = "white" if place == "own" else "black"
            axis.bar_label(bars, texts, label_type="center", fontsize=9, color=dark,
                           bbox={"facecolor": COLOURS[place], "edgecolor": "none", "pad": 0.8})  # fmt: skip
            left += by_head[place]
        axis.axhline(layer.heads - 0.5, color="0.4", linewidth=1)
        axis.set(xlim=(0, 1), xticks=[])
        axis.invert_yaxis()
        axis.tick_params(axis="y", labelsize=9, length=0)
        axis.spines[:].set_visible(False)
        axis.set_title(f"{name}, mean over its queries", fontsize=11, loc="left")
        low, high = by_head["padding"][:-1].min(), by_head["padding"][:-1].max()
        said.append(
            f"{name}: padding gets {low:.0%} to {high:.0%}, by head, where {by_head['padding'][-1]:.0%} of the window is padding"
        )
    handles, words = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside lower center", ncols=3, fontsize=10)
    return figures.show(figure, f"Where the attention of each head falls. {'; '.join(said)}.")


def draw_heads(heads: list[Head]) -> figures.Picture:
    """How sharply each head looks, against how far the logits move without it; trained, and beside it the random twin."""
    figure, axes = figures.subplots(1, 2, figsize=(9, 3.6), sharex=True)
    layers = list(dict.fromkeys(head.layer for head in heads))
    for axis, twin in zip(axes, (False, True), strict=True):
        for layer, colour, marker in zip(layers, figures.CYCLE, "os", strict=False):
            some = [head for head in heads if head.layer == layer]
            moved = [head.twin if twin else head.moved for head in some]
            x = [head.twin_keys if twin else head.keys for head in some]
            y = [100 * one.value for one in moved]
            spread = [[100 * (one.value - one.low) for one in moved], [100 * (one.high - one.value) for one in moved]]
            axis.errorbar(
                x,
                y,
                spread,
                fmt=marker,
                color=colour,
                markersize=6,
                linewidth=1.2,
                label=layer.rpartition(".middle")[0],
            )
            if not twin:
                for i in sorted(range(len(some)), key=lambda i, y=y: -y[i])[:2]:
                    beside = {"xytext": (7, 5 if y[i] == max(y) else -3), "textcoords": "offset points"}
                    axis.annotate(f"head {some[i].number}", (x[i], y[i]), fontsize=9, **beside)
        axis.set_ylim(0)
        axis.set_xlabel("effective keys, share of those on the map", fontsize=10)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
    axes[0].set_title("trained: how far the logits move\nif a head says its mean", fontsize=11)
    axes[1].set_title("the same with random weights\n(mind the scale)", fontsize=11)
    axes[0].legend(fontsize=9, loc="upper left")
    axes[0].set_xlim(0, 1.08)
    most = max(heads, key=lambda head: head.moved.value)
    sharpest = min(heads, key=lambda head: head.keys)
    alt = (
        f"{len(heads)} heads of a trained toy HaloNet: effective keys against how far the logits move. Head {sharpest.number} "
        f"of {sharpest.layer} looks at the fewest, {sharpest.keys:.0%} of those on the map, and moves the logits by "
        f"{sharpest.moved.value:.1%}; head {most.number} of {most.layer} moves them most, by {most.moved.value:.1%}, and looks at "
        f"{most.keys:.0%}. In the random twin they move by {min(h.twin.value for h in heads):.0%} to "
        f"{max(h.twin.value for h in heads):.0%}."
    )
    return figures.show(figure, alt)


def draw_effects(effects: list[Effect]) -> figures.Picture:
    """How far the logits move and how many answers change, trained and with random weights, with intervals of 95 %."""
    figure, axes = figures.subplots(1, 2, figsize=(9, 0.42 * len(effects) + 1.5), sharey=True, width_ratios=(1.25, 1))
    places = np.arange(len(effects))
    for measure, axis in zip(("moved", "flips"), axes, strict=True):
        for twin, colour, marker, shift in ((False, figures.CYCLE[0], "o", -0.14), (True, figures.CYCLE[1], "D", 0.14)):
            found = [getattr(one.twin if twin else one, measure) for one in effects]
            x = [100 * it.value for it in found]
            spread = [[100 * (it.value - it.low) for it in found], [100 * (it.high - it.value) for it in found]]
            label = "random weights" if twin else "trained"
            axis.errorbar(
                x, places + shift, xerr=spread, fmt=marker, color=colour, markersize=5.5, linewidth=1.4, label=label
            )
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g} %")
        for border in (i + 0.5 for i, one in enumerate(effects[:-1]) if one.net != effects[i + 1].net):
            axis.axhline(border, color="0.8", linewidth=1)
        axis.grid(axis="x", color="0.92")
    axes[0].set_xscale("log")
    axes[0].xaxis.set_major_locator(mpl.ticker.FixedLocator([1, 3, 10, 30, 100, 300, 1000]))
    axes[0].xaxis.set_minor_locator(mpl.ticker.NullLocator())
    axes[0].xaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes[0].set_yticks(places, [f"{one.net.removeprefix('toy_')}: {one.change}" for one in effects], fontsize=10)
    axes[0].invert_yaxis()
    axes[0].set_title("how far the logits move", fontsize=11)
    axes[1].set_title("pictures with another answer", fontsize=11)
    handles, words = axes[0].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside lower center", ncols=2, fontsize=10)
    told = "; ".join(
        f"{one.net}, {one.change}: {one.moved.value:.0%} trained, {one.twin.moved.value:.0%} random" for one in effects
    )
    return figures.show(figure, f"How far logits move when attention is changed. {told}.")


def draw_looks(explorers: list[tuple[str, HaloExplorer]], row: int, column: int, head: int) -> figures.Picture:
    """One head's weights at one query in several nets, on one scale: (name, explorer) each."""
    figure, axes = figures.subplots(1, len(explorers), figsize=(3.4 * len(explorers) + 1, 3.1))
    maps = [explorer.maps(row, column)[head] for _, explorer in explorers]
    top = max(float(each.max()) for each in maps)
    for axis, (name, explorer), each in zip(axes, explorers, maps, strict=True):
        image = axis.imshow(each, cmap=figures.SEQUENTIAL, vmin=0, vmax=top)
        layer = explorer.layers[explorer.layer]
        ys, xs = parts.inside(layer)[row // layer.side, column // layer.side].nonzero(as_tuple=True)
        edge = (int(xs.min()) - 0.5, int(ys.min()) - 0.5), len(xs.unique()), len(ys.unique())
        axis.add_patch(Rectangle(*edge, fill=False, edgecolor="white", linewidth=1.5, linestyle="--"))
        block = (layer.halo - 0.5, layer.halo - 0.5), layer.block_size, layer.block_size
        axis.add_patch(Rectangle(*block, fill=False, edgecolor="white", linewidth=1.5))
        axis.set(xticks=[], yticks=[])
        axis.set_title(name, fontsize=11)
    figure.colorbar(image, ax=axes, label="weight")
    told = "; ".join(
        f"{name}: largest weight {each.max():.3f}" for (name, _), each in zip(explorers, maps, strict=True)
    )
    return figures.show(figure, f"Head {head}'s weights over its window at query row {row}, column {column}. {told}.")


def draw_museum_maps(maps: np.ndarray) -> figures.Picture:
    """The three maps of `touring.museum_maps`, drawn twice: on one scale, and each stretched to its own."""
    names = ("map 1", "map 2", "map 3")
    ways = {"way 1": museum.stretched(maps), "way 2": museum.on_one_scale(maps)}
    figure, axes = figures.subplots(2, 3, figsize=(6.4, 4.4))
    for row, (way, colours) in zip(axes, ways.items(), strict=True):
        for axis, name, each, values in zip(row, names, colours, maps, strict=True):
            axis.imshow(each, cmap=figures.DIVERGING, vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            for (y, x), value in np.ndenumerate(values):
                red, green, blue, _ = mpl.colormaps[figures.DIVERGING](float(each[y, x]))
                ink = "white" if 0.3 * red + 0.6 * green + 0.1 * blue < 0.5 else "black"
                text = f"{value:+.3f}" if abs(value) < 1 else f"{value:+.2f}"
                axis.text(x, y, text.replace("-", "−"), ha="center", va="center", fontsize=9, color=ink)
            axis.set_title(name, fontsize=10)
            axis.axhline(0.5, color="0.75", linewidth=0.8)
            axis.axvline(0.5, color="0.75", linewidth=0.8)
        row[0].set_ylabel(way, fontsize=12)
    spans = ", ".join(f"{values.min():+.3f} to {values.max():+.3f}" for values in maps).replace("-", "−")
    return figures.show(
        figure, f"Three maps of four cells, {spans} logits, coloured in two ways, the numbers written in."
    )
