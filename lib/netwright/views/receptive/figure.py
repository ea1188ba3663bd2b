"""The still picture of a receptive field, and what its contours are. Imports figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from netwright import figures

if TYPE_CHECKING:
    from netwright.views.receptive.field import ReceptiveField

SHARES = (0.5, 0.9)  # of the energy, that the contours hold


def field_figure(view: ReceptiveField) -> figures.Picture:
    """The picture with the box and the contours, and beside it the energy of each path."""
    data = view.data
    fields = {"energy": data["energy"]}
    if data["local_energy"] is not None:
        fields = {"energy, whole net": data["energy"], "energy, local path": data["local_energy"]}
    figure, axes = figures.subplots(1, 1 + len(fields), figsize=(3.0 * (1 + len(fields)), 4.3))
    height, width = view.size
    y0, y1, x0, x1 = data["box"]
    shares = {name: energy / max(energy.sum(), 1e-300) for name, energy in fields.items()}
    top = max(float(it.max()) for it in shares.values())
    axes[0].imshow(np.asarray(data["picture"]), extent=(0, width, height, 0))
    rows, columns = view.places[view.place]
    tall, wide = height / rows, width / columns
    corner = view.at[1] * wide, view.at[0] * tall
    for ink, line in (("white", 3.5), ("black", 1.5)):
        axes[0].add_patch(Rectangle(corner, wide, tall, fill=False, edgecolor=ink, linewidth=line, zorder=3))
    axes[0].set_title(f"{view.place}: row {view.at[0]}, column {view.at[1]}", fontsize=11)
    for axis, (name, share) in zip(axes[1:], shares.items(), strict=True):
        shape = (0, share.shape[1] * view.bin, share.shape[0] * view.bin, 0)
        drawn = axis.imshow(np.sqrt(share), cmap=figures.SEQUENTIAL, vmin=0, vmax=math.sqrt(top), extent=shape)
        axis.set_title(name, fontsize=11)
    on_picture = list(shares.values())[-1]
    for axis, share in zip(axes, [on_picture, *shares.values()], strict=True):
        ink = "#000000" if axis is axes[0] else "#ffffff"
        for part, style in zip(SHARES, ("-", ":"), strict=True):
            for x, y in edges(contour(share, part)):
                axis.plot(np.array(x) * view.bin, np.array(y) * view.bin, style, color=ink, linewidth=1.2)
        box = [x0, x1 + 1, x1 + 1, x0, x0], [y0, y0, y1 + 1, y1 + 1, y0]
        axis.plot(*box, color="white", linewidth=3, clip_on=False)
        axis.plot(*box, "--", color="#d55e00", linewidth=1.8, clip_on=False)
        axis.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
        axis.spines[:].set_visible(False)
    squares = "pixel" if view.bin == 1 else f"{view.bin} × {view.bin} pixels"
    bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.4, pad=0.04, ticks=MaxNLocator(4))
    bar.set_label(f"root of the share of the energy in one {squares}", fontsize=10)
    bar.ax.tick_params(labelsize=9)
    axes[0].set_xlabel(
        f"square: the cell; dashed: its box, {data['status']};\nlines: 50 %, dotted: 90 % of the energy", fontsize=9
    )
    return figures.show(figure, view.alt)


def contour(energy: np.ndarray, share: float) -> np.ndarray:
    """The smallest set of squares that holds `share` of the energy: bool, in the shape of `energy`."""
    order = np.argsort(-energy, axis=None, kind="stable")
    sums = np.cumsum(energy.ravel()[order])
    chosen = np.zeros(energy.size, dtype=bool)
    chosen[order[: int(np.searchsorted(sums, share * sums[-1])) + 1]] = True
    return chosen.reshape(energy.shape)


def edges(inside: np.ndarray) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The border of a set of squares, as lines between their corners: ((x, x), (y, y)) each."""
    padded = np.pad(inside, 1)
    below = [((x, x + 1), (y, y)) for y, x in np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])]
    beside = [((x, x), (y, y + 1)) for y, x in np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])]
    return below + beside
