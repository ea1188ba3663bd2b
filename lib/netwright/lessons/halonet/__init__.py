"""Notebook 07, "HaloNet": its exercises, its net, its experiments and its figures.

Imports the engine, trying, the tables, nets, toys, figures and bench.
"""

from netwright.lessons.halonet import blocks, costing, fitting, placing, scoring, whole
from netwright.lessons.halonet.pictures import draw_costs, draw_look, draw_strips, look
from netwright.lessons.halonet.scoring import with_logits
from netwright.lessons.halonet.trials import (
    answers,
    attended_sides,
    fresh,
    goes_through,
    keys_then_values,
    race,
    resized,
    toy_pictures,
)
from netwright.lessons.tables import table

# In the order of the notebook.
CHECKS = (
    *costing.CHECKS,
    *placing.CHECKS[:1],
    *blocks.CHECKS,
    *whole.CHECKS,
    *scoring.CHECKS,
    *placing.CHECKS[1:],
    *fitting.CHECKS,
)

__all__ = [
    "CHECKS",
    "answers",
    "attended_sides",
    "draw_costs",
    "draw_look",
    "draw_strips",
    "fresh",
    "goes_through",
    "keys_then_values",
    "look",
    "race",
    "resized",
    "table",
    "toy_pictures",
    "with_logits",
]
