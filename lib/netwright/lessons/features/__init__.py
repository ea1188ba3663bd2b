"""Notebook 08, "Features": its exercises, experiments and pictures.

Imports the engine, trying, models, probing, toys, figures and the tables.
"""

from netwright.lessons.features import mapping, nearest, reaching, removing, scaling
from netwright.lessons.features.experiments import (
    NAMES,
    STAGES,
    agreement,
    as_good,
    blind,
    chain,
    deletions,
    embed,
    four_nets,
    grad_cams,
    mean_field,
    on_a_plane,
    pixels_with,
    share_of_class,
    toys,
)
from netwright.lessons.features.pictures import (
    draw_answers,
    draw_deletions,
    draw_fields,
    draw_plane,
    draw_rows,
    draw_smooth,
    signed,
)
from netwright.lessons.tables import table

# In the order of the notebook.
CHECKS = (*scaling.CHECKS, *mapping.CHECKS, *reaching.CHECKS, *removing.CHECKS, *nearest.CHECKS)

__all__ = [
    "CHECKS",
    "NAMES",
    "STAGES",
    "agreement",
    "as_good",
    "blind",
    "chain",
    "deletions",
    "draw_answers",
    "draw_deletions",
    "draw_fields",
    "draw_plane",
    "draw_rows",
    "draw_smooth",
    "embed",
    "four_nets",
    "grad_cams",
    "mean_field",
    "on_a_plane",
    "pixels_with",
    "share_of_class",
    "signed",
    "table",
    "toys",
]
