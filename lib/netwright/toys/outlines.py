"""Outlines as signed distances: below zero inside, above zero outside, one unit of length a unit of distance.

Imports nothing of the project. Here and in textures and render only +, -, x, /, square root, floor, minimum and maximum
touch a pixel, one pixel at a time: IEEE 754 fixes these to the last bit, so a picture is the same on every machine.
Sines, powers and sums over pixels are not so fixed, and are left out.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Cosine and sine of a tenth of a turn (36 degrees) and of a fifth, written out because libraries differ in the last bit.
COS_36, SIN_36 = 0.8090169943749475, 0.5877852522924731
COS_72, SIN_72 = 0.30901699437494745, 0.9510565162951535
HALF_ROOT_2, HALF_ROOT_3 = 0.7071067811865476, 0.8660254037844386


@dataclass(frozen=True)
class Outline:
    """A figure around (0, 0), upright where y points down the picture.

    `distance(x, y, wobble)` gives its signed distance in its own units; `unit` is how many of these make the radius
    of the disc with the same area, so that figures of one radius cover equally many pixels and none is told by that.
    """

    distance: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    unit: float


def length(x, y):
    return np.sqrt(x * x + y * y)


def within(distance, x, y, radius):
    """Keep to the disc that a figure's tips touch: else its level lines outside run on into spikes."""
    return np.maximum(distance, length(x, y) - radius)


def disc(x, y, wobble):
    return length(x, y) - 1


def square(x, y, wobble):
    return within(np.maximum(np.abs(x), np.abs(y)) - 1, x, y, 1.41421356)


def triangle(x, y, wobble):
    return within(np.maximum(HALF_ROOT_3 * np.abs(x) - 0.5 * y, y) - 1, x, y, 2)


def cross(x, y, wobble):
    x, y = np.abs(x), np.abs(y)
    return within(np.maximum(np.minimum(x, y) - 0.36, np.maximum(x, y) - 1), x, y, 1.06282642)


def heart(x, y, wobble):
    # A square on its corner, and a disc on the middle of each upper side.
    x, y = np.abs(x), y - 0.15
    diamond = HALF_ROOT_2 * (x + np.abs(y)) - 1
    return np.minimum(diamond, length(x - HALF_ROOT_2, y + HALF_ROOT_2) - 1)


def moon(x, y, wobble):
    # The two circles meet in the horns; what is right of these is outside, and the cut keeps their level lines short.
    return np.maximum(np.maximum(length(x - 0.2, y) - 1, 0.85 - length(x - 0.82, y)), x - 0.7339)


def fold_in_five(x, up):
    """Mirror the plane onto the wedge between straight up and 36 degrees to the right: a figure with five arms."""
    x = np.abs(x)
    over = 2 * np.maximum(COS_72 * x - SIN_72 * up, 0)
    x, up = np.abs(x - COS_72 * over), up + SIN_72 * over
    over = 2 * np.maximum(COS_36 * x - SIN_36 * up, 0)
    return x - COS_36 * over, up + SIN_36 * over


def star(x, y, wobble):
    x, up = fold_in_five(x, -y)
    # The line from the tip (0, 1) to the corner between two arms, which lies 0.48 from the middle.
    normal_x, normal_up = 1 - 0.48 * COS_36, 0.48 * SIN_36
    size = math.sqrt(normal_x * normal_x + normal_up * normal_up)
    return within(normal_x / size * x + normal_up / size * (up - 1), x, up, 1)


def flower(x, y, wobble):
    x, up = fold_in_five(x, -y)
    return np.minimum(length(x, up - 0.58) - 0.44, length(x, up) - 0.7)


def blend(a, b, width):
    """The union of two figures with the crease between them filled; `width` is how far from it that is felt."""
    near = np.maximum(width - np.abs(a - b), 0)
    return np.minimum(a, b) - near * near * (0.25 / width)


def pebble(x, y, wobble):
    """Three discs melted together; wobble (n, 4, 1, 1) from 0 to 1 says how large and how far out they are."""
    big, small = 0.62 + 0.16 * wobble[:, 0], 0.46 + 0.2 * wobble[:, 1]
    out, aside = 0.3 + 0.25 * wobble[:, 2], 0.5 * wobble[:, 3]
    body = blend(length(x, y + 0.2) - big, length(x - out, y - 0.25) - small, 0.5)
    return blend(body, length(x + 0.9 * out, y - aside) - small, 0.5)


OUTLINES = {
    "triangle": Outline(triangle, 1.286),
    "square": Outline(square, 1.128),
    "star": Outline(star, 0.67),
    "heart": Outline(heart, 1.508),
    "moon": Outline(moon, 0.713),
    "flower": Outline(flower, 0.934),
    "pebble": Outline(pebble, 0.921),
    "disc": Outline(disc, 1.0),
    "cross": Outline(cross, 0.867),
}
