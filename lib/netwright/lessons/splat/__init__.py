"""Notebook 04, "Split attention": its exercises, its experiments and its figures.

Imports the engine, trying, nets, the toy world and its short training, tables and figures.
"""

from netwright.lessons.splat import attending, exposing, gating, splitting
from netwright.lessons.splat.attending import layer_with
from netwright.lessons.splat.experiments import cost_table, net_of, toy_gates
from netwright.lessons.splat.gating import untransposed
from netwright.lessons.splat.pictures import draw_gates, draw_layer, draw_layout

# In the order of the notebook.
CHECKS = (
    *splitting.CHECKS[:2],  # splits, pooled
    *gating.CHECKS,  # inner_width, rsoftmax
    *splitting.CHECKS[2:],  # combine
    *attending.CHECKS,  # attention, radix_one
    *exposing.CHECKS,  # expose
)

__all__ = [
    "CHECKS",
    "cost_table",
    "draw_gates",
    "draw_layer",
    "draw_layout",
    "layer_with",
    "net_of",
    "toy_gates",
    "untransposed",
]
