"""Notebook 06, "Local attention": its exercises, experiments and pictures. Imports the engine, trying, nets and figures."""

from netwright.lessons.halo import attending, cutting, layer, limits, positions, whole
from netwright.lessons.halo.experiments import (
    WRONG,
    accuracy_with,
    deceptions,
    layer_arguments,
    peak_bytes,
    silent,
    small_net,
    watch_attention,
    with_layer,
)
from netwright.lessons.halo.pictures import (
    draw_blocks,
    draw_cost,
    draw_index,
    draw_memory,
    draw_padding,
    draw_reach,
    square,
)
from netwright.lessons.tables import table

# In the order of the notebook.
CHECKS = (
    *cutting.CHECKS,
    *limits.CHECKS[1:],
    *attending.CHECKS[:1],
    *positions.CHECKS,
    *whole.CHECKS[:1],
    *limits.CHECKS[:1],
    *whole.CHECKS[1:],
    *layer.CHECKS,
    *attending.CHECKS[1:],
)

__all__ = [
    "CHECKS",
    "WRONG",
    "accuracy_with",
    "deceptions",
    "draw_blocks",
    "draw_cost",
    "draw_index",
    "draw_memory",
    "draw_padding",
    "draw_reach",
    "layer_arguments",
    "peak_bytes",
    "silent",
    "small_net",
    "square",
    "table",
    "watch_attention",
    "with_layer",
]
