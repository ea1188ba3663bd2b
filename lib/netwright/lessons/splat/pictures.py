"""The figures of notebook 04: the layer with its shapes, who meets whom in the reshapes, and the gates of a trained net.

Imports figures and, of this room, attending, experiments and gating.
"""

from collections.abc import Callable, Mapping

import matplotlib as mpl
import torch
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from netwright import figures
from netwright.lessons.splat.attending import SplitAttention
from netwright.lessons.splat.experiments import Gates, class_names, meant, owners
from netwright.lessons.splat.gating import rsoftmax
from netwright.toys import groups

GROUP_COLOURS = (figures.CYCLE[0], figures.CYCLE[1], figures.CYCLE[2], figures.CYCLE[3])
WARNING = "black"


# The layer -----------------------------------------------------------------------------------------------------


def draw_layer(channels: int = 64, radix: int = 2, cardinality: int = 1, side: int = 56) -> figures.Picture:
    """Split attention as two ways that meet: the maps above, the gates below. Each shape is what came out of a part."""
    layer, shapes = SplitAttention(channels, radix, cardinality).eval(), {}
    handles = [
        module.register_forward_hook(lambda m, i, out, name=name: shapes.__setitem__(name, tuple(out.shape[1:])))
        for name, module in layer.named_children()
    ]
    with torch.no_grad():
        shapes["out"] = tuple(layer(torch.zeros(1, channels, side, side)).shape[1:])
    for handle in handles:
        handle.remove()
    height, width = shapes["out"][1:]
    above, below = 3.0, 0.6
    boxes = (  # x, y, words, shape under them, colour
        (0.9, above, f"3×3, {layer.conv.groups} groups\nnorm, ReLU", shapes["norm"], "0.93"),
        (3.0, above, "cut into\nsplits", (radix, channels, height, width), figures.CYCLE[5]),
        (3.0, below, "sum of splits,\nmean of pixels", (channels,), "0.93"),
        (4.83, below, "fc1, norm,\nReLU", shapes["fc_norm"][:1], "0.93"),
        (6.67, below, "fc2", shapes["fc2"][:1], "0.93"),
        (8.5, below, "r-softmax" if radix > 1 else "sigmoid", (radix, channels), figures.CYCLE[4]),
        (8.5, above, "× gates,\nsum of splits", shapes["out"], "0.93"),
    )
    figure, axis = figures.subplots(figsize=(9.0, 3.9))
    for x, y, words, shape, colour in boxes:
        axis.add_patch(FancyBboxPatch((x - 0.72, y - 0.42), 1.44, 0.84, "round,pad=0.02", fc=colour, ec="0.3"))
        axis.text(x, y, words, ha="center", va="center", fontsize=10)
        axis.text(x, y - 0.72, " × ".join(map(str, shape)), ha="center", va="center", fontsize=10, color="0.25")
    way = {"arrowstyle": "-|>", "mutation_scale": 13, "color": "0.3", "linewidth": 1.5}
    for start, end in (
        ((-0.35, above), (0.12, above)),
        ((1.66, above), (2.24, above)),
        ((3.76, above), (7.74, above)),
        ((3.0, above - 0.92), (3.0, below + 0.46)),
        ((3.74, below), (4.09, below)),
        ((5.57, below), (5.93, below)),
        ((7.41, below), (7.76, below)),
        ((8.5, below + 0.46), (8.5, above - 0.92)),
        ((9.26, above), (9.75, above)),
    ):
        axis.add_patch(FancyArrowPatch(start, end, **way))
    axis.text(5.75, above + 0.16, "the maps themselves", ha="center", fontsize=10, color="0.3")
    axis.text(5.75, below + 0.62, "no pixels any more", ha="center", fontsize=10, color="0.3")
    axis.set(xlim=(-0.4, 9.8), ylim=(-0.4, 3.6))
    axis.axis("off")
    said = "; ".join(f"{words} {'×'.join(map(str, shape))}".replace("\n", " ") for _, _, words, shape, _ in boxes)
    return figures.show(figure, f"Split attention as a flow with the shape after each part: {said}.")


# Which channel goes where --------------------------------------------------------------------------------------


def draw_layout(
    radix: int = 2, cardinality: int = 2, r_softmax: Callable = rsoftmax, *, per_group: int = 2
) -> figures.Picture:
    """Which logit becomes the gate of which channel: three rows of cells, coloured by cardinal group, shaded by split.

    r_softmax: logits, radix, cardinality -> gates; asked for its gradients, not for its word.
    """
    own, right = owners(r_softmax, radix, cardinality, per_group), meant(radix, cardinality, per_group)
    count = len(own)
    missed = [i for i in range(count) if own[i] != right[i]]
    figure, axis = figures.subplots(figsize=(9.0, 3.7))
    rows = {"logits": 2.4, "gates": 1.0, "splits": 0.0}
    gap, span = 0.7, count + 0.7 * (max(radix, cardinality) - 1)

    def along(place: int, each: int) -> float:  # where the middle of a cell is, with a gap after each `each` cells
        width = count + gap * (count // each - 1)
        return (place + gap * (place // each)) + (span - width) / 2 + 0.5

    def cell(x: float, y: float, logit: int, number: int) -> None:
        k, r = logit // (radix * per_group), logit // per_group % radix
        colour = _shade(GROUP_COLOURS[k], r, radix)
        axis.add_patch(Rectangle((x - 0.5, y - 0.3), 1, 0.6, facecolor=colour, edgecolor="white", linewidth=1))
        axis.text(x, y, str(number), ha="center", va="center", fontsize=9, color=_ink(colour))

    in_group, in_split = radix * per_group, cardinality * per_group
    for logit in range(count):
        cell(along(logit, in_group), rows["logits"], logit, logit)
    for i, logit in enumerate(own):
        x = along(i, in_split)
        axis.plot(
            (along(logit, in_group), x),
            (rows["logits"] - 0.32, rows["gates"] + 0.32),
            color=GROUP_COLOURS[logit // in_group],
            linewidth=1.2,
            alpha=0.8,
            zorder=0,
        )
        cell(x, rows["gates"], logit, logit)
        cell(x, rows["splits"], right[i], i)
        if i in missed:
            axis.text(x, -0.5, "×", ha="center", va="center", fontsize=12, fontweight="bold", color=WARNING)
    for r in range(radix):
        middle = (along(r * in_split, in_split) + along((r + 1) * in_split - 1, in_split)) / 2
        axis.text(middle, -0.82, f"split {r}", ha="center", va="center", fontsize=10)
    for k in range(cardinality):
        middle = (along(k * in_group, in_group) + along((k + 1) * in_group - 1, in_group)) / 2
        axis.text(middle, rows["logits"] + 0.5, f"group {k}", ha="center", va="center", fontsize=10)
    for words, y in (("fc2's output", "logits"), ("gates", "gates"), ("maps", "splits")):
        axis.text(-0.3, rows[y], words, ha="right", va="center", fontsize=11)
    verdict = f"{count - len(missed)} of {count} gates lie under the logit meant for their channel"
    axis.set_title(f"radix {radix}, cardinality {cardinality}: {verdict}", fontsize=11)
    axis.set(xlim=(-0.18 * span, span + 0.3), ylim=(-1.0, 3.1))
    axis.axis("off")
    alt = (
        f"Three rows of {count} numbered cells for radix {radix} and cardinality {cardinality}: fc2's output in order, the "
        f"logits that the gates are made of ({', '.join(map(str, own))}), and the channels of the maps. {verdict}"
        + (f"; crossed out: {', '.join(map(str, missed))}." if missed else ".")
    )
    return figures.show(figure, alt)


def _shade(colour: str, index: int, count: int) -> tuple[float, float, float]:
    """The colour mixed with white, the more the later of `count` splits it stands for."""
    share = 0.62 * index / max(count - 1, 1)
    return tuple((1 - share) * part + share for part in mpl.colors.to_rgb(colour))


def _ink(colour: tuple[float, float, float]) -> str:
    red, green, blue = colour
    return "white" if 0.3 * red + 0.6 * green + 0.1 * blue < 0.48 else "black"


# Gates ---------------------------------------------------------------------------------------------------------


def draw_gates(nets: Mapping[str, Mapping[str, Gates]], net: str, block: str) -> figures.Picture:
    """The first split's gate: a row for each class of the toy world, a column for each channel; never for a pixel.

    nets: name -> what `toy_gates` found in it. The channels stand in the order of how much they tell the classes apart.
    """
    gates, names = nets[net][block], class_names()
    mean, told = gates.by_class[:, 0], gates.told_by_class[0]  # (classes, channels), (channels,)
    by_telling = told.argsort(descending=True)
    figure, axes = figures.subplots(1, 2, figsize=(9.4, 5.2), width_ratios=(3, 1.3))
    image = axes[0].imshow(
        mean[:, by_telling].numpy(), cmap=figures.DIVERGING, vmin=0, vmax=1, aspect="auto", interpolation="nearest"
    )
    edges = [members[0] - 0.5 for members in groups().values()][1:]
    for edge in edges:
        axes[0].axhline(edge, color="black", linewidth=1)
    axes[0].set_yticks(range(len(names)), names, fontsize=9)
    axes[0].set_xlabel("channels, those that tell classes apart best first", fontsize=10)
    axes[0].set_title(f"{net}: mean gate of split 0 in block {block}", fontsize=11)
    axes[0].set_xticks([])
    bar = figure.colorbar(image, ax=axes[0], location="bottom", shrink=0.6, aspect=30, pad=0.02)
    bar.set_label("gate of split 0 (½: the plain mean of the two)", fontsize=9)
    bar.ax.tick_params(labelsize=9)

    chance = (len(gates.labels.unique()) - 1) / (len(gates.labels) - 1)  # what labels drawn by lot would explain
    for colour, (name, found) in zip(figures.CYCLE, nets.items(), strict=False):
        shares = {b: one.told_by_class.mean().item() for b, one in found.items()}
        axes[1].plot(list(shares.values()), range(len(shares)), "o-", color=colour, label=name)
    axes[1].axvline(chance, color="#999999", linestyle=":", linewidth=1.5, label="labels by lot")
    axes[1].set_yticks(range(len(nets[net])), list(nets[net]), fontsize=9)
    axes[1].set(xlim=(0, 1), ylim=(len(nets[net]) + 1.4, -0.5))
    axes[1].set_ylabel("block", fontsize=10)
    axes[1].set_title("share of a gate's variance\nthat the class accounts for", fontsize=11)
    axes[1].tick_params(labelsize=9)
    axes[1].legend(fontsize=9, loc="lower right")
    best = int(by_telling[0])
    high, low = names[int(mean[:, best].argmax())], names[int(mean[:, best].argmin())]
    alt = (
        f"Mean gate of split 0 of {len(names)} classes by {mean.shape[1]} channels in block {block} of the {net} net. In the "
        f"most telling channel it goes from {mean[:, best].min():.2f} ({low}) to {mean[:, best].max():.2f} ({high}). "
        f"Beside it, by block, how much of the variance the class accounts for: "
        + "; ".join(
            f"{name} {min(s):.0%} to {max(s):.0%}"
            for name, found in nets.items()
            for s in [[one.told_by_class.mean().item() for one in found.values()]]
        )
        + f"; labels drawn by lot {chance:.0%}."
    )
    return figures.show(figure, alt)
