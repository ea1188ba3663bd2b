"""The figures of gates: by depth and class, and what is left of a net's accuracy when they are forced.

Imports figures, toys and, of this room, gates.
"""

import numpy as np
import torch
from torch import Tensor

from netwright import figures
from netwright.lessons.resnest.gates import SHARES, TARGETS, Forced, Pictures, explained
from netwright.toys import groups


def draw_gates(gates: list[Tensor], pictures: Pictures, depth: int, group: str) -> figures.Picture:
    """The mean gate of the first of two splits for each class of a group, at one depth; and all depths beside it.

    gates: (pictures, 2, channels) of each layer, in their order. depth counts from 1.
    """
    figure, axes = figures.subplots(1, 2, figsize=(10, 3.6), width_ratios=(2.1, 1))
    first = gates[depth - 1][:, 0]  # (pictures, channels)
    rows = groups()[group]
    means = torch.stack([first[pictures.labels == label].mean(0) for label in rows])  # (classes, channels)
    order = means.mean(0).argsort(descending=True)
    image = axes[0].imshow(means[:, order].numpy(), cmap=figures.DIVERGING, vmin=0, vmax=1, aspect="auto")
    axes[0].set_yticks(range(len(rows)), [pictures.names[label] for label in rows], fontsize=9)
    axes[0].set_xlabel("channel, those that prefer the first split at the left")
    axes[0].set_title(f"split attention {depth} of {len(gates)}: the first split's gate", fontsize=11.5)
    bar = figure.colorbar(image, ax=axes[0], ticks=[0, 0.5, 1], pad=0.02)
    bar.ax.set_yticklabels(["second\nonly", "both\nalike", "first\nonly"], fontsize=9)

    shares = [explained(one, pictures.labels) for one in gates]
    colours = [figures.CYCLE[1] if i == depth - 1 else "0.75" for i in range(len(gates))]
    axes[1].bar(range(1, len(gates) + 1), shares, color=colours)
    chance = (len(pictures.labels.unique()) - 1) / (len(pictures.labels) - 1)
    axes[1].axhline(chance, color="0.4", linestyle=":", linewidth=1.5)
    axes[1].set(xlabel="layer (dotted: by chance)", ylim=(0, 1), xticks=range(1, len(gates) + 1))
    axes[1].set_title("of the gates' variance,\nshare between classes", fontsize=11.5)
    spread = (means.max(0).values - means.min(0).values).max().item()
    alt = (
        f"Gates of split attention {depth} of {len(gates)}, {len(order)} channels for {len(rows)} classes of {group}; the "
        f"largest difference between two classes in a channel is {spread:.2f}. Beside it, the share of the gates' "
        f"variance that lies between classes, by depth: {', '.join(f'{share:.0%}' for share in shares)}."
    )
    return figures.show(figure, alt)


def draw_forced(forced: Forced, towards: str, forced_by: int) -> figures.Picture:
    """Accuracy against how far the gates are forced, all targets; and at one place, in per cent, each group's."""
    figure, axes = figures.subplots(1, 2, figsize=(9.5, 3.3), width_ratios=(1.35, 1))
    percent = [100 * share for share in SHARES]
    for target, colour in zip(TARGETS, figures.CYCLE, strict=False):
        line = [forced.accuracy(target, share) for share in SHARES]
        chosen = target == towards
        axes[0].plot(percent, line, color=colour, alpha=1 if chosen else 0.45, marker="o", markersize=4, label=target)
        if chosen:
            axes[0].plot(forced_by, line[percent.index(forced_by)], "o", color=colour, markersize=11)
    axes[0].set(xlabel="per cent of the way from its own gates", ylabel="pictures named rightly", ylim=(0, 1.05))
    axes[0].yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes[0].legend(title="to", title_fontsize=10, fontsize=10, loc="lower left")

    names = list(groups())
    heights = [forced.accuracy(towards, forced_by / 100, group) for group in names]
    bars = axes[1].bar(names, heights, color=figures.CYCLE[list(TARGETS).index(towards)])
    axes[1].bar_label(bars, [f"{height:.0%}" for height in heights], fontsize=11)
    guesses = np.full(len(names), 1 / sum(map(len, groups().values())))
    axes[1].plot(names, guesses, color="0.4", linestyle=":", linewidth=1.5)
    axes[1].set(ylim=(0, 1.12), yticks=[], xlabel="told apart by (dotted: guessing)")
    axes[1].set_title(f"{forced_by}% of the way to {towards}", fontsize=11.5)
    told = ", ".join(f"{name} {height:.0%}" for name, height in zip(names, heights, strict=True))
    ends = ", ".join(f"{target} {forced.accuracy(target, 1.0):.0%}" for target in TARGETS)
    start = forced.accuracy(towards, 0.0)
    alt = (
        f"A trained net names {start:.1%} of {len(forced.labels)} toy pictures rightly. With its gates forced all the way "
        f"to other values: {ends}. At {forced_by}% of the way to {towards}, by what tells the classes apart: {told}."
    )
    return figures.show(figure, alt)
