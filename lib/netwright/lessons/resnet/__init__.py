"""Notebook 01, "ResNet-50": its exercises, its experiments and its figures.

Imports the engine, the tables, nets and toys.
"""

from netwright.lessons.resnet import assembling, blocks, counting, normalising, stages, starting
from netwright.lessons.resnet.counting import first_placement
from netwright.lessons.resnet.experiments import cut_everything, gradients_by_depth, learned, watch
from netwright.lessons.resnet.pictures import draw_flow, draw_gradients, draw_lesion
from netwright.lessons.tables import table

# In the order of the notebook.
CHECKS = (
    *normalising.CHECKS,
    *blocks.CHECKS,
    *stages.CHECKS,
    *counting.CHECKS,
    *starting.CHECKS,
    *assembling.CHECKS,
)

__all__ = [
    "CHECKS",
    "cut_everything",
    "draw_flow",
    "draw_gradients",
    "draw_lesion",
    "first_placement",
    "gradients_by_depth",
    "learned",
    "table",
    "watch",
]
