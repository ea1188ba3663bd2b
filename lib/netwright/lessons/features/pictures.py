"""The figures of notebook 08. Imports figures, probing and, of this room, experiments."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from matplotlib.patches import Rectangle
from torch import Tensor

from netwright import figures
from netwright.lessons.features.experiments import areas, nearest_on_plane, pixels_with, spread
from netwright.probing.capture import Probe

BLUE, ORANGE, GREEN = figures.CYCLE[:3]
SHOWN = 8  # channels in a row


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, the minus as wide as the plus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def bare(axis) -> None:
    """Without ticks."""
    axis.set_xticks([])
    axis.set_yticks([])


# Answers ---------------------------------------------------------------------------------------------------------


def draw_answers(probes: Mapping[str, Probe], k: int = 3) -> figures.Picture:
    """One picture, and the `k` likeliest classes of several nets."""
    figure, axes = figures.subplots(1, len(probes) + 1, figsize=(9, 2.5))
    axes[0].imshow(next(iter(probes.values())).picture)
    axes[0].set_title("the picture", fontsize=11)
    bare(axes[0])
    spoken = []
    for axis, (name, probe) in zip(axes[1:], probes.items(), strict=True):
        top = probe.top(k)
        shares = [float(probe.probabilities[i]) for i in top]
        axis.barh(range(k), shares, color=[BLUE] + ["#bbbbbb"] * (k - 1))
        for i, (number, share) in enumerate(zip(top, shares, strict=True)):
            inside = share > 0.5
            axis.text(
                0.03 if inside else share + 0.03,
                i,
                f"{probe.class_names[number]}, {share:.1%}",
                va="center",
                fontsize=9,
                color="white" if inside else "black",
            )
        axis.set(xlim=(0, 1), ylim=(k - 0.4, -0.6))
        bare(axis)
        axis.set_title(name, fontsize=11)
        told = ", ".join(f"{probe.class_names[n]} {s:.1%}" for n, s in zip(top, shares, strict=True))
        spoken.append(f"{name}: {told}")
    return figures.show(figure, f"One toy picture, and the {k} likeliest classes of four nets. {'. '.join(spoken)}.")


# Rows of maps ----------------------------------------------------------------------------------------------------


def some_channels(maps: Tensor, count: int = SHOWN) -> list[int]:
    """Channels at equal distances, so that nobody chose them."""
    return [i * (len(maps) // count) for i in range(count)]


def draw_rows(rows: Mapping[str, Tensor], scale: Callable | None = None, *, numbers: bool = True) -> figures.Picture:
    """Some channels of several maps (channels, height, width), a row each.

    scale: None stretches each channel from its own smallest to its own largest value; else as in the exercise, one
    scale for all that is drawn.
    """
    chosen = {name: [maps[i].cpu() for i in some_channels(maps)] for name, maps in rows.items()}
    every = [one for some in chosen.values() for one in some]
    if scale is None:
        shades = [(one - one.min()) / (one.max() - one.min()).clamp(min=1e-12) for one in every]
    else:
        shades = scale(every, signed=False)
    figure, axes = figures.subplots(len(rows), SHOWN, figsize=(9, 1.42 * len(rows) + 0.4), squeeze=False)
    drawn, spoken = iter(shades), []
    for line, (name, some) in zip(axes, chosen.items(), strict=True):
        for axis, one in zip(line, some, strict=True):
            image = axis.imshow(np.asarray(next(drawn)), vmin=0, vmax=1)
            bare(axis)
            if numbers:
                axis.set_xlabel(f"max {float(one.max()):.2f}", fontsize=9, labelpad=2)
        line[0].set_ylabel(name, fontsize=10)
        largest = [float(one.max()) for one in some]
        spoken.append(f"{name}: the largest values of the channels go from {min(largest):.2f} to {max(largest):.2f}")
    brightest = max(float(one.max()) for one in every)
    bar = figure.colorbar(image, ax=axes, fraction=0.02, pad=0.01, ticks=[0, 1])
    bar.ax.set_yticklabels(
        ["0", f"{brightest:.2f}"] if scale else ["each own\nsmallest", "each own\nlargest"], fontsize=9
    )
    how = "on one scale" if scale else "each stretched by itself"
    told = f" {'; '.join(spoken)}." if numbers else ""
    return figures.show(figure, f"Rows of {SHOWN} channels, {how}: {', '.join(rows)}.{told}")


# Fields ----------------------------------------------------------------------------------------------------------


def draw_fields(
    fields: Mapping[str, Tensor], box: tuple[int, int, int], unit: tuple[int, int], scale: Callable
) -> figures.Picture:
    """Effective fields (height, width) of one unit in several nets, on one scale, with the theoretical box (dashed).

    box: (start, size, jump), as in the exercise. Colours show the root of the energy, or only a few pixels were seen.
    """
    start, size, jump = map(round, box)
    figure, axes = figures.subplots(1, len(fields), figsize=(4.2 * len(fields), 3.6), squeeze=False)
    shades = scale([field.sqrt() for field in fields.values()], signed=False)
    largest = max(float(field.max()) for field in fields.values())
    spoken = []
    for axis, (name, field), shade in zip(axes[0], fields.items(), shades, strict=True):
        image = axis.imshow(np.asarray(shade), vmin=0, vmax=1, extent=(0, field.shape[1], field.shape[0], 0))
        top, left = (start + place * jump for place in unit)
        inside = [max(left, 0), max(top, 0), min(left + size, field.shape[1]), min(top + size, field.shape[0])]
        axis.add_patch(
            Rectangle(
                inside[:2],
                inside[2] - inside[0],
                inside[3] - inside[1],
                fill=False,
                edgecolor="white",
                linestyle="--",
                linewidth=2,
            )
        )
        half, most = pixels_with(field, 0.5), pixels_with(field, 0.9)
        box_pixels = (inside[2] - inside[0]) * (inside[3] - inside[1])
        axis.set_title(f"{name}: half in {half} pixels,\n90 % in {most}, box {box_pixels}", fontsize=11)
        bare(axis)
        spoken.append(
            f"{name}: half of the energy lies in {half} pixels and 90 % in {most}, of {box_pixels} in the box"
        )
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02, ticks=[0, 1])
    bar.ax.set_yticklabels(["0", f"{largest:.4f}"], fontsize=9)
    bar.set_label("share of the energy (root scale)", fontsize=10)
    return figures.show(figure, f"Effective receptive fields of the unit {unit}, on one scale. {'; '.join(spoken)}.")


# Deletion --------------------------------------------------------------------------------------------------------


def draw_deletions(found: Mapping[str, Mapping[str, Tensor]]) -> figures.Picture:
    """Mean curves by filling (panels) and order (lines), with the mean area and its standard error in the legend."""
    figure, axes = figures.subplots(1, len(found), figsize=(9.6, 4.2), sharey=True)
    colours = dict(zip(next(iter(found.values())), (BLUE, GREEN, ORANGE, "black"), strict=False))
    styles = dict(zip(colours, ("-", "--", "-.", ":"), strict=False))
    spoken = []
    for axis, (filling, by) in zip(axes, found.items(), strict=True):
        for name, curves in by.items():
            mean, error = spread(areas(curves))
            gone = np.linspace(0, 1, curves.shape[1])
            label = f"{name}: {mean:.2f} ± {error:.2f}"
            axis.plot(gone, np.asarray(curves.mean(0)), color=colours[name], linestyle=styles[name], label=label)
        axis.set_title(f"filled with {filling}" if filling == "zeros" else f"filled: {filling}", fontsize=11)
        axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="pixels removed")
        axis.set_xticks([0, 0.5, 1], ["none", "half", "all"])
        axis.legend(fontsize=8.5, loc="upper center", bbox_to_anchor=(0.5, -0.24), title="area", title_fontsize=9)
        told = ", ".join(f"{name} {spread(areas(curves))[0]:.2f}" for name, curves in by.items())
        spoken.append(f"{filling}: {told}")
    axes[0].set_ylabel("probability of the answer")
    count = len(next(iter(next(iter(found.values())).values())))
    return figures.show(
        figure,
        f"How the probability of the net's own answer falls as pixels are removed, mean over {count} pictures, in four "
        f"orders and with three fillings. Areas under the curves: {'; '.join(spoken)}.",
    )


# What would fool you ----------------------------------------------------------------------------------------------


def draw_smooth(score: Tensor, picture) -> figures.Picture:
    """One class map (rows, columns) as it is, and as heat maps are usually shown: cut at zero, smoothed, stretched."""
    rows, columns = score.shape
    side = picture.size[0]
    smooth = torch.nn.functional.interpolate(score.relu()[None, None], (side, side), mode="bicubic")[0, 0]
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min()).clamp(min=1e-12)
    figure, axes = figures.subplots(1, 3, figsize=(9, 3.2))
    reach = float(score.abs().max())
    extent = (0, side, side, 0)
    axes[0].imshow(picture, extent=extent)
    axes[0].set_title("the picture", fontsize=11)
    image = axes[1].imshow(np.asarray(score), cmap=figures.DIVERGING, vmin=-reach, vmax=reach, extent=extent)
    for row, column in np.ndindex(rows, columns):
        value = float(score[row, column])
        ink = "white" if abs(value) > 0.6 * reach else "black"
        at = (column + 0.5) * side / columns, (row + 0.5) * side / rows
        axes[1].text(*at, signed(value), ha="center", va="center", fontsize=11, color=ink)
    figure.colorbar(image, ax=axes[1], fraction=0.045, pad=0.03).set_label("logit", fontsize=10)
    axes[1].set_title(f"what there is: {rows * columns} numbers", fontsize=11)
    axes[2].imshow(picture, extent=extent)
    axes[2].imshow(np.asarray(smooth), alpha=0.55, extent=extent, interpolation="bilinear")
    axes[2].set_title(f"what is usually shown: {side * side:,} pixels", fontsize=11)
    for axis in axes:
        bare(axis)
    top, left = divmod(int(smooth.argmax()), side)
    cells = ", ".join(signed(float(value)) for value in score.flatten())
    return figures.show(
        figure,
        f"A class map of {rows}×{columns} cells with the values {cells}, and the same cut at zero, smoothed to {side}×{side} "
        f"pixels and laid over the picture, with a peak at row {top}, column {left} that no number knows of.",
    )


def draw_plane(
    points: Tensor, labels: Tensor, query: int, nearest: Sequence[int], names: Sequence[str]
) -> figures.Picture:
    """All pictures on a plane, one of them, its nearest in the space itself and its nearest on the plane."""
    nearest, k = [int(number) for number in nearest], len(nearest)
    seen = nearest_on_plane(points, query, k)
    at = np.asarray(points)
    figure, axis = figures.subplots(1, 1, figsize=(7.2, 4.2))
    own = np.asarray(labels == labels[query])
    axis.scatter(*at[~own].T, s=12, color="#cccccc", label="other classes")
    axis.scatter(*at[own].T, s=26, color=BLUE, label=f"its class, {names[int(labels[query])]}")
    axis.scatter(*at[nearest].T, s=130, facecolors="none", edgecolors=GREEN, linewidths=2, label="nearest in the space")
    axis.scatter(
        *at[seen].T, s=130, marker="s", facecolors="none", edgecolors=ORANGE, linewidths=2, label="nearest here"
    )
    axis.scatter(*at[query], s=170, marker="*", color="black", label="the picture that asks")
    bare(axis)
    axis.set(xlabel="first main direction", ylabel="second main direction")
    axis.legend(fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    same = int((labels[torch.tensor(seen)] == labels[query]).sum())
    return figures.show(
        figure,
        f"{len(points)} pictures on the two main directions of their features. Of the {k} nearest to one "
        f"{names[int(labels[query])]} on this plane, {len(set(seen) & set(nearest))} are among its {k} nearest in the space "
        f"itself, and {same} have its class.",
    )
