"""Notebook 09, "Attention or decoration?": its exercises, experiments and pictures. Imports the engine, views and nets."""

from netwright.lessons.attention import crediting, gating, grading, keys, knocking, looking
from netwright.lessons.attention.experiments import (
    do_they_matter,
    effects_table,
    heads_that_matter,
    random_twin,
    toy_inputs,
    toy_net,
    toy_probe,
)
from netwright.lessons.attention.explaining import CONTESTANTS, grade, grades_table
from netwright.lessons.attention.museum import HALLS, PLAQUES, SOUND, WINGS, halo_nets, split_nets
from netwright.lessons.attention.pictures import (
    draw_effects,
    draw_heads,
    draw_looks,
    draw_masses,
    draw_museum_maps,
    square,
)
from netwright.lessons.attention.touring import gate_tour, museum_maps, superficial, tour

# In the order of the notebook.
CHECKS = (
    *looking.CHECKS,
    *keys.CHECKS,
    *crediting.CHECKS,
    *knocking.CHECKS,
    *gating.CHECKS,
    *grading.CHECKS,
)

__all__ = [
    "CHECKS",
    "CONTESTANTS",
    "HALLS",
    "PLAQUES",
    "SOUND",
    "WINGS",
    "do_they_matter",
    "draw_effects",
    "draw_heads",
    "draw_looks",
    "draw_masses",
    "draw_museum_maps",
    "effects_table",
    "gate_tour",
    "grade",
    "grades_table",
    "halo_nets",
    "heads_that_matter",
    "museum_maps",
    "random_twin",
    "split_nets",
    "square",
    "superficial",
    "tour",
    "toy_inputs",
    "toy_net",
    "toy_probe",
]
