"""Notebook 02, "Weights, proven": its exercises, its five patients and its pictures.

Imports the engine, nets, weights, transforms, figures and probing.
"""

from netwright.lessons.tables import table
from netwright.lessons.weights import map_checks, maps, patients
from netwright.lessons.weights.maps import audit, rename_key
from netwright.lessons.weights.patients import FAULTS, Patient, make_patients
from netwright.lessons.weights.pictures import (
    anatomy,
    draw_anatomy,
    draw_map,
    draw_preprocessing,
    draw_strips,
)

CHECKS = (*map_checks.CHECKS, *patients.CHECKS)

__all__ = [
    "CHECKS",
    "FAULTS",
    "Patient",
    "anatomy",
    "audit",
    "draw_anatomy",
    "draw_map",
    "draw_preprocessing",
    "draw_strips",
    "make_patients",
    "maps",
    "rename_key",
    "table",
]
