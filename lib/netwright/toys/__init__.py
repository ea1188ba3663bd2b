"""The toy world: small pictures whose causes are known (classes, factors, outlines, textures, render, world, sheet).

Imports figures, for the contact sheet, and nothing else of the project outside this folder.
"""

from netwright.toys.classes import CLASSES, GROUPS, Relation, ToyClass, groups, label_of
from netwright.toys.factors import HOLD_OUTS
from netwright.toys.render import render
from netwright.toys.world import SPLITS, ToyWorld

__all__ = [
    "CLASSES",
    "GROUPS",
    "HOLD_OUTS",
    "SPLITS",
    "Relation",
    "ToyClass",
    "ToyWorld",
    "groups",
    "label_of",
    "render",
]
