"""Textures as signed distances to the border between ink and paper, above zero in the ink, in periods of the pattern.

Imports nothing of the project. The arithmetic keeps to the operations named in outlines.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Texture:
    """`ink(u, v)` is the signed distance at a place (u, v) given in periods; `period` is in the units of a picture,
    which is 2 wide: 2 / 64 is a pixel of the usual size. Ink and paper cover about as much, so neither colour tells."""

    ink: Callable[[np.ndarray, np.ndarray], np.ndarray]
    period: float


def off_middle(u):
    """Distance from the middle of the period that u lies in: 0 to 0.5."""
    return np.abs(u - np.floor(u) - 0.5)


def odd_row(v):
    """0.5 in every other row, else 0."""
    half = v * 0.5
    return np.floor(half + 0.5) * 0.5 - np.floor(half) * 0.5


def stripes(u, v):
    return 0.25 - off_middle(u)


def zigzags(u, v):
    # The slope of 45 degrees brings the borders closer together by the square root of a half.
    return 0.7071 * (0.25 - off_middle(u + 2 * off_middle(0.5 * v)))


def checks(u, v):
    across, down = 0.25 - off_middle(u), 0.25 - off_middle(v)
    return np.maximum(np.minimum(across, down), -np.maximum(across, down))


def middle(u, v):
    """Distance from the nearest point of a grid whose every other row is shifted by half a step."""
    across, down = off_middle(u + odd_row(v)), off_middle(v)
    return np.sqrt(across * across + down * down)


def dots(u, v):
    return 0.37 - middle(u, v)


def rings(u, v):
    return 0.11 - np.abs(middle(u, v) - 0.31)


def bricks(u, v):
    # Twice as long as high; the mortar is the paper.
    across, down = 0.5 - off_middle(0.5 * u + odd_row(v)), 0.5 - off_middle(v)
    return np.minimum(2 * across, down) - 0.17


PIXEL = 2 / 64
TEXTURES = {
    "stripes": Texture(stripes, 8 * PIXEL),
    "zigzags": Texture(zigzags, 9 * PIXEL),
    "checks": Texture(checks, 10 * PIXEL),
    "dots": Texture(dots, 9 * PIXEL),
    "rings": Texture(rings, 12 * PIXEL),
    "bricks": Texture(bricks, 8 * PIXEL),
}
