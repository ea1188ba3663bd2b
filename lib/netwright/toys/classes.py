"""What there is to tell apart: twenty classes in three groups, and the label that a picture's factors deserve.

Imports outlines and textures, for their names.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from netwright.toys.outlines import OUTLINES
from netwright.toys.textures import TEXTURES

GROUPS = ("texture", "shape", "relation")
SHAPES = ("triangle", "square", "star", "heart", "moon", "flower")
PARTS = ("disc", "square", "triangle", "cross")
OUTLINE_NAMES = tuple(OUTLINES)
TEXTURE_NAMES = tuple(TEXTURES)
STEP = 15 / 32  # of the grid that pairs stand on, where a picture is 2 wide
NOTHING = -1  # in place of an outline or a texture, where there is none


@dataclass(frozen=True)
class Relation:
    """How two parts stand: outlines of one kind or of two, side by side or one above the other, near or far apart."""

    same: bool
    beside: bool
    near: bool

    def __str__(self) -> str:
        return " ".join(
            ("same" if self.same else "different", "beside" if self.beside else "above", "near" if self.near else "far")
        )


@dataclass(frozen=True)
class ToyClass:
    """One class: its name, its group, and the one thing about a picture that makes it a member."""

    name: str
    group: str
    cause: str | Relation  # the texture, the outline or the relation


CLASSES = (
    *(ToyClass(name, "texture", name) for name in TEXTURE_NAMES),
    *(ToyClass(name, "shape", name) for name in SHAPES),
    *(ToyClass(str(it), "relation", it) for it in (Relation(*how) for how in product((True, False), repeat=3))),
)
FIRST_RELATION = len(TEXTURE_NAMES) + len(SHAPES)


def groups() -> dict[str, list[int]]:
    """The numbers of the classes in each group."""
    return {group: [i for i, it in enumerate(CLASSES) if it.group == group] for group in GROUPS}


def label_of(factors: dict[str, np.ndarray]) -> np.ndarray:
    """The labels (n,) that pictures with these factors deserve, read off their causes; -1 where no class fits.

    Change a factor, ask again: that is how one sees which factors cause a label and which are nuisance.
    """
    kind, other = factors["kind"], factors["kind2"]
    label = np.where(kind == OUTLINE_NAMES.index("pebble"), factors["texture"], -1)
    for index, shape in enumerate(SHAPES, start=len(TEXTURE_NAMES)):
        label = np.where(kind == OUTLINE_NAMES.index(shape), index, label)
    across, down = np.abs(factors["x2"] - factors["x"]), np.abs(factors["y2"] - factors["y"])
    # A pair is a step or two steps of the grid apart: half way between lies the border of near and far.
    far = np.maximum(across, down) > 1.5 * STEP
    relation = FIRST_RELATION + 4 * (kind != other) + 2 * (across < down) + far
    return np.where(other == NOTHING, label, relation)
