"""The pictures of notebook 10: what a recipe says, drawn; who moved; who gets which picture; how sure a number is.

Imports figures, transforms, datasets, evaluate, tune and, of this room, experiments.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.patches import Patch
from torch import Tensor, nn

from netwright import figures
from netwright.datasets import PictureSet
from netwright.evaluate import Share
from netwright.lessons.finetune.experiments import Peeked
from netwright.transforms import Transform
from netwright.tune.augment import Augmentation
from netwright.tune.randomness import Purpose, generator
from netwright.tune.samplers import Order, TrainBatches

BLUE, RED, GREEN = figures.CYCLE[:3]


# Pictures of a data set ------------------------------------------------------------------------------------------


def draw_pictures(pictures: PictureSet, columns: int = 9) -> figures.Picture:
    """A row of the first pictures of each class."""
    names = pictures.class_names
    side = 0.66
    figure, axes = figures.subplots(len(names), 1, figsize=(1.5 + side * columns, (side + 0.06) * len(names)))
    for axis, number in zip(axes, range(len(names)), strict=True):
        some = np.flatnonzero(pictures.targets == number)[:columns]
        strip = np.concatenate([np.asarray(pictures.picture(int(i))) for i in some], axis=1)
        axis.imshow(strip, interpolation="lanczos")
        for border in range(1, len(some)):
            axis.axvline(border * strip.shape[0] - 0.5, color="white", linewidth=2)
        axis.set_ylabel(names[number], rotation=0, ha="right", va="center")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    counts = np.bincount(pictures.targets, minlength=len(names))
    told = ", ".join(f"{name} ({count} pictures)" for name, count in zip(names, counts, strict=True))
    return figures.show(
        figure, f"The first {columns} pictures of each class of {pictures.name}, a class a row: {told}."
    )


def draw_shown(pictures: PictureSet, index: int, augmentation: Augmentation, count: int = 10) -> figures.Picture:
    """One picture as it is, and as it is shown in `count` epochs of a training."""
    picture, name = pictures.picture(index), pictures.class_names[pictures.targets[index]]
    figure, axes = figures.subplots(1, count + 2, figsize=(9, 1.25), width_ratios=[1, 0.3, *[1] * count])
    rng = (generator(augmentation.seed, Purpose.AUGMENTATION, index, epoch, 0) for epoch in range(count))
    for axis in axes:
        axis.axis("off")
    axes[0].imshow(picture, interpolation="lanczos")
    for axis, chance in zip(axes[2:], rng, strict=True):
        axis.imshow(augmentation.show(picture, chance), interpolation="lanczos")
    figure.suptitle(f"{name}, as it is and as the training shows it, epoch by epoch", fontsize=12, x=0.005, ha="left")
    alt = (
        f"A picture labelled {name}, and ten crops of it as the training shows them. Mirrored with a probability of "
        f"{augmentation.flip:g}, under the same label."
    )
    return figures.show(figure, alt)


# Who moves -------------------------------------------------------------------------------------------------------


def drift(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, float]:
    """How far the mean of each BatchNorm has moved, by its name: in its standard deviations, mean over the channels.

    before, after: state dicts of one net.
    """
    moved = {}
    for name, mean in before.items():
        norm, _, what = name.rpartition(".")
        if what == "running_mean":
            deviation = before[f"{norm}.running_var"].sqrt()
            moved[norm] = ((after[name] - mean).abs() / deviation).mean().item()
    return moved


def draw_drift(ways: Mapping[str, Mapping[str, float]]) -> figures.Picture:
    """Bars from the stem to the last block, one row for each way: how far each BatchNorm's mean has moved."""
    figure, axes = figures.subplots(len(ways), 1, figsize=(9, 1.75 * len(ways) + 0.4), sharex=True, sharey=True)
    norms = list(next(iter(ways.values())))
    for axis, (way, moved), colour in zip(np.atleast_1d(axes), ways.items(), (RED, BLUE), strict=False):
        axis.bar(range(len(moved)), list(moved.values()), color=colour, width=0.8)
        axis.set_title(way, loc="left", fontsize=12)
        axis.grid(axis="y", color="0.9", linewidth=0.8)
        axis.set_axisbelow(True)
        if not any(moved.values()):
            axis.text(len(moved) / 2, axis.get_ylim()[1] / 2, "exactly 0, everywhere", ha="center", va="center")
    places = [next(i for i, norm in enumerate(norms) if norm.startswith(part)) for part in parts_of(norms)]
    axis.set_xticks(places, parts_of(norms), ha="left")
    axis.tick_params(axis="x", length=0)
    figure.supylabel("moved by (standard deviations)", fontsize=11)
    told = "; ".join(f"{way}: on average {np.mean(list(moved.values())):.2f}" for way, moved in ways.items())
    return figures.show(
        figure, f"How far the mean of each of {len(norms)} BatchNorms has moved, in deviations. {told}."
    )


def parts_of(names: Sequence[str]) -> list[str]:
    """ "stem", "stages.0", … : the parts of a net that these modules lie in, in their order."""
    return list(dict.fromkeys(".".join(name.split(".")[:2]) if name.startswith("stages") else "stem" for name in names))


def draw_groups(net: nn.Module, groups: Sequence[dict]) -> figures.Picture:
    """Every parameter of the net as a bar: as high as its share of the rate, coloured by whether weight decay acts."""
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    order = {name: place for place, (name, _) in enumerate(net.named_parameters())}
    figure, axis = figures.subplots(figsize=(9, 2.9))
    scales = {}
    for group in groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            scales[name] = group["lr_scale"]
            axis.bar(order[name], group["lr_scale"], color=BLUE if group["weight_decay"] else "0.75", width=1.0)
    starts = {}
    for name, place in order.items():
        part = ".".join(name.split(".")[:3]) if name.startswith("stages") else name.split(".")[0]
        starts.setdefault(part.removeprefix("stages."), place)
    axis.set_xticks([place - 0.5 for place in starts.values()], starts, ha="left", fontsize=10)
    axis.set_xlim(-0.5, len(order) - 0.5)
    axis.set_ylabel("share of the rate")
    axis.set_xlabel("the parameters in their order: stem, blocks by stage, classifier")
    handles = [Patch(color=BLUE, label="with weight decay"), Patch(color="0.75", label="without: vectors")]
    axis.legend(handles=handles, loc="upper left")
    alt = (
        f"The {len(scales)} parameters of the net from the stem to the classifier, each as a bar. The share of the rate "
        f"rises from {min(scales.values()):.3f} to {max(scales.values()):.0f}."
    )
    return figures.show(figure, alt)


def draw_rates(rates: Mapping[str, Sequence[float]]) -> figures.Picture:
    """Learning rates over a training, each curve as a share of its own highest; x from 0 to 1."""
    figure, axis = figures.subplots(figsize=(9, 3.0))
    for (name, values), style in zip(rates.items(), ("-", "--", "-.", ":"), strict=False):
        axis.plot(np.linspace(0, 1, len(values)), np.asarray(values) / max(values), style, label=name)
    axis.set(xlabel="share of the training", ylabel="share of the highest rate", xlim=(0, 1), ylim=(0, 1.04))
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    told = "; ".join(
        f"{name}: highest {max(values):.3g}, from {values[0]:.3g} to {values[-1]:.3g}" for name, values in rates.items()
    )
    return figures.show(figure, f"The learning rate over a training, as a share of its highest. {told}.")


# Two pictures in one ---------------------------------------------------------------------------------------------


def draw_mixed(
    images: Tensor,
    targets: Tensor,
    mixed: Mapping[str, tuple[Tensor, Tensor]],
    transform: Transform,
    names: Sequence[str],
) -> figures.Picture:
    """The pictures of a batch above, what became of them below, each with its target in words.

    images: (batch, 3, height, width), normalised; mixed: (images, probabilities) by the name of the way.
    """
    rows = {"as they are": (images, None), **mixed}
    figure, axes = figures.subplots(len(rows), len(images), figsize=(7.6, 1.65 * len(rows)))
    told = []
    for line, (way, (its, soft)) in zip(axes, rows.items(), strict=True):
        for i, axis in enumerate(line):
            axis.imshow(transform.inverse(its[i]), interpolation="lanczos")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            words = [names[targets[i]]] if soft is None else _shares(soft[i], names)
            axis.set_xlabel("\n".join(words), fontsize=9)
            if soft is not None and i == 0:
                told.append(f"{way}: the first picture counts as {' and '.join(words)}")
        line[0].set_ylabel(way, fontsize=11)
    return figures.show(figure, f"A batch of {len(images)} pictures, and mixed. {'; '.join(told)}.")


def _shares(probabilities: Tensor, names: Sequence[str]) -> list[str]:
    """The two largest, where there are two that stand out."""
    values, which = probabilities.topk(2)
    some = [(v, i) for v, i in zip(values.tolist(), which.tolist(), strict=True) if v > 0.05]
    return [f"{value:.0%} {names[i]}" for value, i in some]


# Who gets what ---------------------------------------------------------------------------------------------------


def draw_shares(batch: int, ways: Mapping[str, tuple[int, int]]) -> figures.Picture:
    """The pictures of one batch in a row for each way, coloured by who works on them, and when.

    ways: (processes, parts that each works its share off in) by what the way is called.
    """
    figure, axis = figures.subplots(figsize=(9, 0.62 * len(ways) + 1.4))
    order = Order(batch)
    most = 0
    for row, (world, accumulate) in enumerate(ways.values()):
        for rank in range(world):
            dealt = TrainBatches(order, batch, accumulate=accumulate, rank=rank, world=world)
            places = {ticket.index: place for place, ticket in enumerate(order.tickets(0))}
            for part, tickets in enumerate(dealt):
                for ticket in tickets:
                    place = places[ticket.index]
                    axis.barh(row, 0.92, left=place, height=0.72, color=figures.CYCLE[rank], alpha=1 - 0.55 * part)
                    if accumulate > 1:
                        ink = "white" if part == 0 and rank == 0 else "black"
                        axis.text(place + 0.46, row, part + 1, ha="center", va="center", fontsize=10, color=ink)
            most = max(most, rank + 1)
    axis.set_yticks(range(len(ways)), ways)
    axis.invert_yaxis()
    axis.set_xticks([0.46 + i for i in range(batch)], range(1, batch + 1), fontsize=9)
    axis.set_xlabel("picture of the batch")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    handles = [Patch(color=figures.CYCLE[rank], label=f"process {rank}") for rank in range(most)]
    parts = Patch(color="none", label="1, 2: in which of its parts")
    figure.legend(handles=[*handles, parts], loc="outside lower center", ncols=most + 1, fontsize=10)
    told = "; ".join(f"{way}: processes {world}, parts of each {parts}" for way, (world, parts) in ways.items())
    alt = (
        f"A batch of {batch} pictures, and who works on which. Picture 1 and picture {batch}, 2 and {batch - 1}, and so on "
        f"are always together. {told}."
    )
    return figures.show(figure, alt)


# How sure --------------------------------------------------------------------------------------------------------


def draw_intervals(shares: Mapping[str, Sequence[Share]], chance: float, what: str) -> figures.Picture:
    """For each way its runs, one under the other: a dot where the share is, a bar for its 95 % interval."""
    runs = max(map(len, shares.values()))
    figure, axis = figures.subplots(figsize=(9, 0.9 + 0.26 * runs * len(shares) + 0.2 * len(shares)))
    y, ticks = 0.0, []
    for its, colour in zip(shares.values(), figures.CYCLE, strict=False):
        first = y
        for share in its:
            whole = {"color": colour, "clip_on": False}  # also at 100
            axis.plot([100 * share.low, 100 * share.high], [y, y], linewidth=3, alpha=0.45, **whole)
            axis.plot([100 * share.value], [y], "o", **whole)
            axis.text(100 * share.low - 1, y, f"{100 * share.value:.1f}", ha="right", va="center", fontsize=11)
            y += 1
        ticks.append((first + y - 1) / 2)
        y += 0.8
    axis.set_yticks(ticks, shares)
    axis.axvline(100 * chance, color="0.6", linestyle=":", linewidth=1.5)
    axis.text(100 * chance, -0.9, " by chance", color="0.4", fontsize=10, va="center")
    axis.set_ylim(y - 0.6, -1.4)
    axis.set(xlabel=what, xlim=(0, 100))
    axis.grid(axis="x", color="0.9", linewidth=0.8)
    axis.set_axisbelow(True)
    told = "; ".join(f"{way}: {', '.join(map(str, its))}" for way, its in shares.items())
    return figures.show(figure, f"Shares with their 95 % intervals, a line a run. {told}. By chance: {chance:.0%}.")


def draw_told_and_true(peeked: Peeked) -> figures.Picture:
    """Histograms of how much more (in points) was told than was true, one above the other."""
    told = {
        f"told by the {peeked.judge} pictures that chose the epoch": peeked.told - peeked.true,
        f"told by {peeked.judge} others": peeked.fresh - peeked.true,
    }
    figure, axes = figures.subplots(len(told), 1, figsize=(9, 1.5 * len(told) + 0.5), sharex=True, sharey=True)
    every = np.concatenate(list(told.values()))
    reach = np.ceil(np.abs(every).max())
    bins = np.linspace(-reach, reach, 41)
    for axis, (way, points), colour in zip(axes, told.items(), (RED, BLUE, GREEN), strict=False):
        axis.hist(points, bins=bins, color=colour, alpha=0.85)
        axis.axvline(0, color="black", linewidth=1)
        axis.axvline(points.mean(), color=colour, linewidth=2, linestyle="--")
        axis.set_title(f"{way}: {points.mean():+.1f} points on average", loc="left", fontsize=12)
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
    axis.set_xlabel("told minus true, in points of top-1")
    words = "; ".join(f"{way}: on average {points.mean():+.1f} points" for way, points in told.items())
    return figures.show(
        figure, f"How much better than the truth the told number was, over {len(points)} runs. {words}."
    )


def draw_seeds(seeds: Mapping[str, Sequence[float]], what: str) -> figures.Picture:
    """A row of dots a net, one dot a seed, and a line at their mean."""
    figure, axis = figures.subplots(figsize=(9, 0.55 * len(seeds) + 1.1))
    for row, (values, colour) in enumerate(zip(seeds.values(), figures.CYCLE, strict=False)):
        axis.plot([100 * value for value in values], [row] * len(values), "o", color=colour, alpha=0.75, markersize=9)
        axis.plot([100 * np.mean(values)] * 2, [row - 0.3, row + 0.3], color=colour, linewidth=2)
    axis.set_yticks(range(len(seeds)), seeds)
    axis.set_ylim(len(seeds) - 0.5, -0.5)
    axis.set_xlabel(what)
    axis.grid(axis="x", color="0.9", linewidth=0.8)
    axis.set_axisbelow(True)
    told = "; ".join(f"{name}: {', '.join(f'{value:.1%}' for value in values)}" for name, values in seeds.items())
    return figures.show(figure, f"{what}, a dot a seed. {told}.")
