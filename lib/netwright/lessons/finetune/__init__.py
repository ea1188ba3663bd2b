"""Notebook 10, "Finetune": its exercises, its folder of pictures, its experiments and its figures.

Imports the engine, the tables, and tune.
"""

from netwright.lessons.finetune import averaging, holding, mixing, rates, recipes, resuming, stepping
from netwright.lessons.finetune.experiments import (
    Average,
    batches_of,
    contents,
    differences,
    largest_gap,
    peek,
    train_and_kill,
    train_classifier,
)
from netwright.lessons.finetune.pictures import (
    draw_drift,
    draw_groups,
    draw_intervals,
    draw_mixed,
    draw_pictures,
    draw_rates,
    draw_shares,
    draw_shown,
    draw_told_and_true,
    drift,
)
from netwright.lessons.finetune.records import replay, seeds
from netwright.lessons.finetune.resuming import Training
from netwright.lessons.finetune.signs import features_of, inputs_of, write_signs
from netwright.lessons.tables import table

# In the order of the notebook.
CHECKS = (
    *stepping.CHECKS[:1],
    *holding.CHECKS,
    *rates.CHECKS,
    *mixing.CHECKS,
    *averaging.CHECKS,
    *stepping.CHECKS[1:],
    *resuming.CHECKS,
)

__all__ = [
    "CHECKS",
    "Average",
    "Training",
    "batches_of",
    "contents",
    "differences",
    "draw_drift",
    "draw_groups",
    "draw_intervals",
    "draw_mixed",
    "draw_pictures",
    "draw_rates",
    "draw_shares",
    "draw_shown",
    "draw_told_and_true",
    "drift",
    "features_of",
    "inputs_of",
    "largest_gap",
    "peek",
    "recipes",
    "replay",
    "seeds",
    "table",
    "train_and_kill",
    "train_classifier",
    "write_signs",
]
