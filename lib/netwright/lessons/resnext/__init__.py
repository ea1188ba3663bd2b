"""Notebook 03, "ResNeXt": its exercises, its experiments and its figures.

Imports the engine, the tables, nets, figures and bench.
"""

from netwright.lessons.resnext import blocks, costs, forms, grouping, net, width
from netwright.lessons.resnext.experiments import (
    Design,
    measure_designs,
    multiply_adds_of,
    reach,
    share_that_meet,
    weights_of,
    with_blocks,
)
from netwright.lessons.resnext.pictures import draw_blocks, draw_designs, draw_reach
from netwright.lessons.tables import table

# In the order of the notebook.
CHECKS = (
    *grouping.CHECKS,
    *forms.CHECKS,
    *width.CHECKS,
    *blocks.CHECKS,
    *costs.CHECKS,
    *net.CHECKS,
)

__all__ = [
    "CHECKS",
    "Design",
    "draw_blocks",
    "draw_designs",
    "draw_reach",
    "measure_designs",
    "multiply_adds_of",
    "reach",
    "share_that_meet",
    "table",
    "weights_of",
    "with_blocks",
]
