"""The groups of a block as a still picture: likeness, control, rank, wiring, kernels, paths. Imports figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netwright.figures import CYCLE, SEQUENTIAL, Picture, show, subplots

if TYPE_CHECKING:
    from netwright.views.ledger.groups import GroupStructure


def draw(view: GroupStructure) -> Picture:
    """Above: CKA, the score against random cuts, directions used. Below: wiring, kernel profile, paths to the next."""
    data = view.data
    rows = 1 if data["cells"] is None else 2
    figure, axes = subplots(rows, 3, figsize=(10.0, 3.4 * rows - 0.4 * (rows - 1)), squeeze=False)
    order = data["order"]
    _map(figure, axes[0, 0], data["cka"][np.ix_(order, order)], "likeness of groups (CKA)", "0 to 1", top=1.0)
    axes[0, 0].set_xlabel("groups, like beside like", fontsize=9)

    axes[0, 1].hist(data["random"], bins=20, color="#9aa0a8", label="random cuts")
    axes[0, 1].axvline(data["score"], color=CYCLE[1], label=f"the groups: percentile {data['percentile']:.0f}")
    axes[0, 1].set_title("correlation within − between", fontsize=10)
    axes[0, 1].set_ylim(top=axes[0, 1].get_ylim()[1] * 1.35)
    axes[0, 1].legend(fontsize=8, loc="upper left")
    axes[0, 1].locator_params(axis="x", nbins=4)
    axes[0, 1].tick_params(labelsize=9)

    axes[0, 2].bar(range(len(view.labels)), data["participation"], color=CYCLE[0])
    axes[0, 2].set_title(f"directions used, of {data['channels']}", fontsize=10)
    axes[0, 2].set_xlabel("group", fontsize=9)
    axes[0, 2].tick_params(labelsize=9)

    if data["cells"] is not None:
        _wiring(figure, axes[1], data)
    figure.suptitle(f"{view.title}   ({view.badge['text'].split(' · ')[-1]})", fontsize=11)
    return show(figure, alt=view.alt)


def _wiring(figure, axes, data: dict) -> None:
    wires = data["wires"]
    _map(figure, axes[0], data["cells"], f"{wires['grouped']:,} of {wires['dense']:,} weights", "squared weights")
    axes[0].set_xlabel(f"{wires['inputs']} inputs", fontsize=9)
    axes[0].set_ylabel(f"{wires['outputs']} outputs", fontsize=9)

    profiles = data["profile"][:16]
    side = int(np.ceil(np.sqrt(len(profiles))))
    height, width = profiles.shape[1:]
    sheet = np.full((side * (height + 1) - 1, side * (width + 1) - 1), np.nan)
    for i, profile in enumerate(profiles):
        top, left = i // side * (height + 1), i % side * (width + 1)
        sheet[top : top + height, left : left + width] = profile
    which = "" if len(data["profile"]) <= 16 else ", first 16"
    _map(figure, axes[1], sheet, f"kernels of the groups{which}", "share of squared weights")

    if data["between"] is None:
        axes[2].axis("off")
        text = "no groups on both\nsides to connect"
        axes[2].text(0.5, 0.5, text, fontsize=10, ha="center", va="center", transform=axes[2].transAxes)
        return
    _map(figure, axes[2], data["between"], f"paths to {data['next']}", "‖W₁ diag(s) W₃‖")
    axes[2].set_xlabel("groups here", fontsize=9)
    axes[2].set_ylabel("groups there", fontsize=9)


def _map(figure, axis, values: np.ndarray, title: str, unit: str, top: float | None = None) -> None:
    image = axis.imshow(values, cmap=SEQUENTIAL, vmin=0, vmax=top, aspect="auto")
    axis.set_title(title, fontsize=10)
    axis.set(xticks=[], yticks=[])
    bar = figure.colorbar(image, ax=axis, shrink=0.9)
    bar.set_label(unit, fontsize=8)
    bar.ax.tick_params(labelsize=8)
