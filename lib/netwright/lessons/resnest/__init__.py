"""Notebook 05, "ResNeSt-50": its exercises, its impostors, what its gates say, and its figures.

Imports the engine and the tables; below it in this room nets, toys, models and figures.
"""

from netwright.lessons.resnest import block, cost, downsample, force_checks, shortcut, stages, stem, whole
from netwright.lessons.resnest.counting import Cost, costs, macs
from netwright.lessons.resnest.gate_pictures import draw_forced, draw_gates
from netwright.lessons.resnest.gates import SHARES, TARGETS, explained, record_gates, toy_pictures, watch_forced
from netwright.lessons.resnest.impostors import FAULTS, impostor, shapes_at_blocks
from netwright.lessons.resnest.pictures import draw_reach, draw_rings, draw_shapes, draw_stems
from netwright.lessons.tables import table

# In the order of the notebook.
CHECKS = (
    *stem.CHECKS,
    *shortcut.CHECKS,
    *downsample.CHECKS,
    *block.CHECKS,
    *stages.CHECKS,
    *cost.CHECKS,
    *whole.CHECKS,
    *force_checks.CHECKS,
)

__all__ = [
    "CHECKS",
    "FAULTS",
    "SHARES",
    "TARGETS",
    "Cost",
    "costs",
    "draw_forced",
    "draw_gates",
    "draw_reach",
    "draw_rings",
    "draw_shapes",
    "draw_stems",
    "explained",
    "impostor",
    "macs",
    "record_gates",
    "shapes_at_blocks",
    "table",
    "toy_pictures",
    "watch_forced",
]
