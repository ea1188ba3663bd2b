"""The still picture of the view of removal. Imports figures and explain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from netwright import figures
from netwright.explain import removal

if TYPE_CHECKING:
    from netwright.views.explained.removal import Removal

OWN, LOT, CENTRE = figures.CYCLE[0], "0.45", figures.CYCLE[1]
DASH = (0, (4, 2))


def draw(view: Removal) -> figures.Picture:
    """Picture, map and what is left after the first step; both curves; the areas of all maps."""
    data, alt = view.data, view.alt
    name = view.first
    method = data["methods"][name]
    control = data["controls"][method["size"]]
    several = len(data["methods"]) > 1
    heights = [2.7, 3.0, 1.1 + 0.24 * len(data["methods"])][: 2 + several]
    figure, axis = figures.subplots(figsize=(9, sum(heights)))
    axis.remove()
    parts = figure.subfigures(len(heights), height_ratios=heights)  # each laid out by itself

    count = int(control["counts"][len(control["counts"]) // 4 or 1])
    tops = parts[0].subplots(1, 3)
    tops[0].imshow(np.asarray(data["picture"]))
    tops[0].set_title(f"{data['class']}: p = {data['probability']:.0%}", fontsize=11)
    heat = method["heat"]
    reach = float(np.abs(heat).max()) or 1.0
    colours = (
        {"cmap": figures.DIVERGING, "vmin": -reach, "vmax": reach} if method["signed"] else {"vmin": 0, "vmax": reach}
    )
    image = tops[1].imshow(heat, extent=(0, data["pixels"][1], data["pixels"][0], 0), **colours)
    tops[1].set_title(f"{method['title']}, {method['size']}", fontsize=11)
    parts[0].colorbar(image, ax=tops[1], label=method["unit"], fraction=0.046).ax.tick_params(labelsize=9)
    tops[2].imshow(_left(data, method["order"], count))
    at = list(control["counts"]).index(count)
    tops[2].set_title(f"first {control['fractions'][at]:.0%} gone: p = {method['deletion'][at]:.0%}", fontsize=11)
    for axis in tops:
        axis.axis("off")

    sides = parts[1].subplots(1, 2)
    for axis, (kind, words) in zip(sides, (("deletion", "removed"), ("insertion", "put back")), strict=True):
        by_lot = control["random"][kind]
        for curve in by_lot:
            axis.plot(control["fractions"], curve, color=LOT, linewidth=0.7, alpha=0.6)
        axis.plot(control["fractions"], by_lot.mean(0), color=LOT, linestyle=":", label="ten random orders, mean")
        axis.plot(control["fractions"], control["centre"][kind], color=CENTRE, linestyle=DASH, label="centre first")
        axis.plot(control["fractions"], method[kind], color=OWN, marker="o", markersize=4, label="the map's order")
        axis.set(
            xlabel=f"share of the picture {words}",
            ylim=(-0.02, 1.02),
            ylabel=f"p({data['class']})",
            title=kind.capitalize(),
        )
    sides[1].legend(fontsize=9, loc="lower right")
    if several:
        _all_areas(parts[2].subplots(), view)
    return figures.show(figure, alt)


def _left(data: dict, order: np.ndarray, count: int) -> np.ndarray:
    picture, filling = (
        torch.from_numpy(np.array(data[it].convert("RGB"))).permute(2, 0, 1) for it in ("picture", "filling")
    )
    return removal.swapped(picture[None], filling[None], order, count)[0].permute(1, 2, 0).numpy()


def _all_areas(axis, view: Removal) -> None:
    """A row a map: the area under its deletion curve on the range of the ten random orders in its cells."""
    names = sorted(view.data["methods"], key=lambda name: view.areas(name)[0], reverse=True)
    for row, name in enumerate(names):
        own, by_lot, centre = view.areas(name)
        axis.plot([by_lot.min(), by_lot.max()], [row, row], color=LOT, linewidth=6, alpha=0.35, solid_capstyle="butt")
        axis.plot(by_lot.mean(), row, "|", color=LOT, markersize=9)
        axis.plot(centre, row, "x", color=CENTRE, markersize=6)
        axis.plot(own, row, "o", color=OWN, markersize=6)
    axis.plot([], [], "o", color=OWN, label="its order")
    axis.plot([], [], color=LOT, linewidth=6, alpha=0.35, label="random, range and mean")
    axis.plot([], [], "x", color=CENTRE, label="centre first")
    axis.set_yticks(range(len(names)), [view.data["methods"][name]["title"] for name in names], fontsize=10)
    axis.set(xlabel="area under the deletion curve: smaller is better", xlim=(0, None))
    axis.legend(fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
