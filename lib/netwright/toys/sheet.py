"""The contact sheet: what every class looks like, and where its causes lie.

Imports classes and figures.
"""

import numpy as np

from netwright import figures
from netwright.toys.classes import CLASSES, GROUPS


def contact_sheet(world, columns: int, outlined: int) -> figures.Picture:
    """See ToyWorld.sheet, which this is for."""
    labels = world.labels()
    rows = [np.flatnonzero(labels == label)[:columns] for label in range(len(CLASSES))]
    size = world.size
    figure, axes = figures.subplots(len(rows), 1, figsize=(1.6 + 0.8 * columns, 0.85 * len(rows) + 1))
    heading = ""
    for axis, indices, it in zip(axes, rows, CLASSES, strict=True):
        batch = world.batch(indices)
        strip = batch["image"].permute(2, 0, 3, 1).reshape(size, -1, 3).numpy()  # (H, n x W, 3)
        axis.imshow(strip, interpolation="lanczos")
        mask = batch["mask"].float()
        mask[: max(0, len(indices) - outlined)] = 0
        if mask.any():
            lines = mask.permute(1, 0, 2).reshape(size, -1).numpy()
            for colour, width in (("white", 1.8), ("black", 0.8)):  # seen on any ground
                axis.contour(lines, levels=[0.5], colors=colour, linewidths=width)
        for border in range(1, len(indices)):
            axis.axvline(border * size - 0.5, color="white", linewidth=2)
        axis.set_ylabel(it.name.replace(" ", "\n", 1), rotation=0, ha="right", va="center", fontsize=10)
        if it.group != heading:
            heading = it.group
            axis.set_title(f"told apart by {heading}", loc="left", fontsize=12, fontweight="bold")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    names = "; ".join(f"{group}: {', '.join(it.name for it in CLASSES if it.group == group)}" for group in GROUPS)
    return figures.show(figure, alt=f"{columns} toy pictures of each class, a class a row. {names}.")
