"""Notebook 11, "Evaluate": its exercises, what it tries out, and its pictures.

Imports the engine, evaluate, datasets, toys, models, bench, figures, the catalogue and the tables.
"""

from netwright.lessons.evaluate import asking, counting, knowing, reading, sure
from netwright.lessons.evaluate.pictures import (
    draw_choice,
    draw_classes,
    draw_costs,
    draw_pairs,
    draw_promise,
    draw_published,
    draw_seeds,
    duels,
    overlaps,
    points,
    published,
    rank_correlation,
    verdict,
)
from netwright.lessons.evaluate.reading import IMAGENETTE
from netwright.lessons.evaluate.real import published_on, throughput
from netwright.lessons.evaluate.seen import (
    draw_calibration,
    draw_new,
    draw_ways,
    draw_weather,
    draw_world,
)
from netwright.lessons.evaluate.sure import wald
from netwright.lessons.evaluate.trials import (
    AtHand,
    Way,
    as_jpeg,
    ask_in_ways,
    calibrated,
    choose,
    drawn_intervals,
    faster,
    grainy,
    held_to,
    in_weather,
    kept_promise,
    leaky_folder,
    peaks,
    quarter_turns,
    remember,
    shapes_of_size,
)
from netwright.lessons.tables import table

CHECKS = (
    counting.CHECKS[0],
    *asking.CHECKS,
    *sure.CHECKS,
    *reading.CHECKS,
    counting.CHECKS[1],
    *knowing.CHECKS,
)

__all__ = [
    "CHECKS",
    "IMAGENETTE",
    "AtHand",
    "Way",
    "as_jpeg",
    "ask_in_ways",
    "calibrated",
    "choose",
    "draw_calibration",
    "draw_choice",
    "draw_classes",
    "draw_costs",
    "draw_new",
    "draw_pairs",
    "draw_promise",
    "draw_published",
    "draw_seeds",
    "draw_ways",
    "draw_weather",
    "draw_world",
    "drawn_intervals",
    "duels",
    "faster",
    "grainy",
    "held_to",
    "in_weather",
    "kept_promise",
    "leaky_folder",
    "overlaps",
    "peaks",
    "points",
    "published",
    "published_on",
    "quarter_turns",
    "rank_correlation",
    "remember",
    "shapes_of_size",
    "table",
    "throughput",
    "verdict",
    "wald",
]
