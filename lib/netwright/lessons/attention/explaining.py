"""Maps of what mattered, graded by the reader's own pointing game. Imports explain, toys, tables and, of this room, experiments.

The recorded league table (explain.league) has all methods on all nets; this is a few of them, run now.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from netwright.explain.methods import METHODS
from netwright.lessons.attention.experiments import PICTURES, random_twin, toy_inputs, toy_net
from netwright.lessons.attention.grading import pointing
from netwright.lessons.tables import Table, table
from netwright.probing.capture import probe
from netwright.toys import ToyWorld

# What is graded, in the words of the notebook's question; the last knows the picture and no net.
CONTESTANTS = {
    "class_map": "the class map",
    "grad_cam": "Grad-CAM",
    "halo_look": "where the attention looks",
    "edges": "the picture's edges, without any net",
}


@dataclass(frozen=True)
class Grade:
    """How often the maps of a method point at the cause: (share, low, high), for the trained net and its random twin."""

    method: str
    cells: int
    trained: tuple[float, float, float]
    twin: tuple[float, float, float]


def grade(pointing: Callable = pointing, name: str = "toy_halonet", count: int = PICTURES) -> list[Grade]:
    """The CONTESTANTS on the first `count` test pictures, best first. pointing: the reader's, as in the exercise."""
    net = toy_net(name)
    inputs, labels = toy_inputs(net, count)
    masks = ToyWorld("test").batch(range(count))["mask"]
    found = {method: [] for method in CONTESTANTS}
    for one in (net, random_twin(net, inputs)):
        looking = [(probe(one, x[None]), int(label)) for x, label in zip(inputs, labels, strict=True)]
        for method in CONTESTANTS:
            maps = [np.ascontiguousarray(METHODS[method].run(*it)) for it in looking]
            stack = torch.from_numpy(np.stack(maps))
            found[method].append((stack[0].numel(), pointing(stack, masks)))
    grades = [Grade(method, trained[0], trained[1], random[1]) for method, (trained, random) in found.items()]
    return sorted(grades, key=lambda grade: -grade.trained[0])


def grades_table(grades: list[Grade]) -> Table:
    """The grades as rows, intervals of 95 %."""
    rows = [
        (
            CONTESTANTS[it.method],
            it.cells,
            *(f"{p:.0%} ({low:.0%} to {high:.0%})" for p, low, high in (it.trained, it.twin)),
        )
        for it in grades
    ]
    return table(("map", "cells", "points at the cause, trained", "random weights"), rows)
