"""Still pictures of halo attention: one query with all its heads, and the tables of relative position.

Imports figures and parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from netwright import figures
from netwright.views.halo import parts

if TYPE_CHECKING:
    from netwright.views.halo.explorer import HaloExplorer
    from netwright.views.halo.tables import RelativeTables

QUERY, BLOCK, RING, PADDING = figures.CYCLE[1], figures.CYCLE[0], figures.CYCLE[4], "#c9ccd1"


def _box(axis, x: float, y: float, width: float, height: float, **style) -> None:
    """A rectangle of cells, with a light edge under its line; x and y are of its first cell."""
    for more in ({"edgecolor": "white", "linewidth": style["linewidth"] + 2, "linestyle": "-"}, style):
        axis.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, clip_on=False, **more))


def draw_explorer(view: HaloExplorer) -> figures.Picture:
    """The query that is shown first: where it looks in the picture, each head's window, and the masses of each head."""
    layer, (row, column) = view.layers[view.layer], view.first_query
    here, maps = view.data[view.layer], view.maps(row, column)
    size, halo, block, side = layer.window, layer.halo, layer.block_size, layer.side
    top, left = row // side * block - halo, column // side * block - halo
    padding = ~parts.inside(layer)[row // side, column // side].cpu().numpy()

    columns = 2 if layer.heads <= 4 else 4
    rows = -(-layer.heads // columns)
    figure, axes = figures.subplots(figsize=(9, 5.6 if rows < 3 else 5.6 + 1.3 * (rows - 2)))
    axes.remove()
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.45), height_ratios=(2.4, 1))

    picture = figure.add_subplot(grid[0, 0])
    height, width = layer.map_size
    picture.imshow(view.data["picture"], extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    _box(picture, left, top, size, size, edgecolor=BLOCK, linestyle="--", linewidth=1.8)
    _box(picture, left + halo, top + halo, block, block, edgecolor=BLOCK, linewidth=2)
    _box(picture, column * layer.stride, row * layer.stride, layer.stride, layer.stride, edgecolor=QUERY, linewidth=2)
    picture.set(xlim=(-halo - 0.5, width + halo - 0.5), ylim=(height + halo - 0.5, -halo - 0.5))
    picture.set_facecolor("#eeeeee")
    picture.spines[:].set_visible(False)
    picture.set_title(f"Query row {row}, column {column}", fontsize=11)
    picture.set_xticks([])
    picture.set_yticks([])

    heads = grid[0, 1].subgridspec(rows, columns)
    drawn = []
    for n in range(layer.heads):
        axis = figure.add_subplot(heads[n // columns, n % columns])
        image = axis.imshow(maps[n], vmin=0, vmax=float(maps.max()), cmap=figures.SEQUENTIAL, interpolation="nearest")
        for u, v in np.argwhere(padding):
            axis.add_patch(
                Rectangle((v - 0.5, u - 0.5), 1, 1, fill=False, hatch="///", edgecolor="#bbbbbb", linewidth=0)
            )
        _box(axis, halo, halo, block, block, edgecolor=BLOCK, linewidth=1)
        y, x = halo + layer.stride * (row % side), halo + layer.stride * (column % side)
        _box(axis, x, y, 1, 1, edgecolor=QUERY, linewidth=1.2)
        axis.set_title(f"head {n}", fontsize=10, pad=3)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
        drawn.append(axis)
    bar = figure.colorbar(image, ax=drawn, shrink=0.9, aspect=30)
    bar.set_label("share of the attention", fontsize=10)
    bar.ax.tick_params(labelsize=9)

    bars = figure.add_subplot(grid[1, :])
    start = np.zeros(layer.heads)
    for i, (ink, hatch) in enumerate(((BLOCK, ""), (RING, ""), (PADDING, "////"))):
        share = here["masses"][:, row, column, i]
        bars.barh(np.arange(layer.heads), share, left=start, color=ink, hatch=hatch, edgecolor="white", linewidth=0.5)
        start = start + share
    bars.set(xlim=(0, 1), xlabel="share of the attention", ylim=(layer.heads - 0.5, -0.5))
    bars.set_yticks(
        range(layer.heads), [f"head {n}" for n in range(layer.heads)], fontsize=9 if layer.heads > 4 else 10
    )
    handles = [
        Patch(color=BLOCK, label="own block (solid line)"),
        Patch(color=RING, label="halo ring (to the dashed line)"),
        Patch(facecolor=PADDING, hatch="////", edgecolor="white", label="padding"),
    ]
    bars.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    figure.suptitle(view.layer, fontsize=12)
    return figures.show(figure, view.alt)


def draw_tables(view: RelativeTables) -> figures.Picture:
    """Both tables, and the mean logit that each row gives each head; rows that nobody reads are greyed."""
    data = view.data
    rows, zero, dead = len(data["never_read"]), data["zero_rows"], np.flatnonzero(data["never_read"])
    figure, axes = figures.subplots(2, 2, figsize=(9, 6.4), width_ratios=(1.15, 1))
    reach = max(float(np.abs(data[f"{name}_table"]).max()) for name in ("height", "width"))
    most = float(np.abs(data["mean_logits"]).max())
    for axis, name in enumerate(("height", "width")):
        pairs = ((data[f"{name}_table"].T, reach, "channel of the key"), (data["mean_logits"][axis], most, "head"))
        for column, (values, limit, label) in enumerate(pairs):
            panel = axes[axis, column]
            limits = {"vmin": -limit, "vmax": limit, "cmap": figures.DIVERGING, "interpolation": "nearest"}
            image = panel.imshow(values, aspect="auto", **limits)
            if len(dead):
                box = Rectangle((dead[0] - 0.5, -0.5), len(dead), len(values), facecolor="#c9c9c9", edgecolor="#8a8a8a")
                box.set(hatch="//", linewidth=0)
                panel.add_patch(box)
            for row in zero:
                panel.axvline(row, color="black", linewidth=1.3, linestyle=":")
            panel.axvline(data["window"] - 1, color=figures.CYCLE[1], linewidth=1.3, linestyle="--")
            ticks = np.arange(zero[0] % 4, rows, 4)
            panel.set_xticks(ticks, [f"{it:+d}".replace("-", "−") if it else "0" for it in data["offsets"][0, ticks]])
            panel.set_ylabel(label)
            if axis == 1:
                panel.set_xlabel(
                    f"offset from the first query, in keys of {data['pixels']:.3g} pixels"
                    if column == 0
                    else "offset from the first query"
                )
            if column:
                panel.set_yticks(range(len(values)))
                panel.tick_params(axis="y", labelsize=9)
            way = "below (+) or above (−) the query" if name == "height" else "right (+) or left (−) of the query"
            panel.set_title(f"{name} table: {way}" if column == 0 else "its mean logit, by head", fontsize=11)
            if axis == 1:
                bar = figure.colorbar(image, ax=axes[:, column], location="bottom", shrink=0.8, aspect=40, pad=0.02)
                bar.set_label("number in the table" if column == 0 else "logit, mean over the queries", fontsize=10)
                bar.ax.tick_params(labelsize=9)
                bar.ax.locator_params(nbins=5)
    drift = "" if data["stride"] == 1 else f", {len(zero)} of a block's side"
    handles = [
        Line2D([], [], color="black", linestyle=":", label=f"own place of a query{drift}"),
        Line2D([], [], color=figures.CYCLE[1], linestyle="--", label="centre of the table"),
        Patch(facecolor="#c9c9c9", edgecolor="#8a8a8a", hatch="//", label="never read"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=10)
    return figures.show(figure, view.alt)
