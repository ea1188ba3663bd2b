"""How the toy world is lit: a shaded ground with confetti, figures like soft clay that throw a shadow, a grain of paper.

Imports palette and factors. Which arithmetic may touch a pixel is said in outlines.
"""

import numpy as np

from netwright.toys import palette
from netwright.toys.factors import PIXEL, TURN, mix

# Cosines and sines rounded to 1/2^20, for libraries differ in the last bit and rounding takes that away.
_ANGLES = 2 * np.pi / TURN * np.arange(TURN)
WAVES = (np.round(np.stack([np.cos(_ANGLES), np.sin(_ANGLES)]) * 2**20) / 2**20).astype(np.float32)  # (2, TURN)
GRAIN = np.random.RandomState(64).randint(-3, 4, (256, 256)).astype(np.int8)  # a stream that never changes (NEP 19)
CELLS = 5  # across and down: each holds at most one confetti
# The shading of each ground is a slope along an angle, plus a bowl around the middle, plus a level.
SLOPE, BOWL, LEVEL = np.array([[0.5, 0, 0.5], [0, 0.55, 0], [5, 0, 0.5], [-8.8, 4, 1.3]], dtype=np.float32).T


def illuminate(
    factors, distance: np.ndarray, shadow: np.ndarray, tone: np.ndarray, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """The picture (n, 3, H, W) uint8 with figures and shadows at these signed distances; all (n, H, W)."""
    size = distance.shape[-1]
    cos, sin = WAVES[:, factors["light"]][:, :, None, None]
    strength = factors["light_strength"][:, None, None]
    lit = facing(distance, cos * np.float32(size / 4), sin * np.float32(size / 4))
    cover = np.clip(np.float32(0.5) - distance * np.float32(size / 2), 0, 1)
    ambient = 1 + (np.float32(0.12) * strength * cos) * x + (np.float32(0.12) * strength * sin) * y
    # The rim, five pixels of the usual size wide, is bright where it faces the light and dark where it turns away.
    rim = np.clip(distance * np.float32(0.2 / PIXEL) + 1, 0, 1)
    figure = ambient * cover
    figure += figure * lit * rim * rim * (np.float32(0.25) * strength)
    shadow = np.clip(np.float32(0.5) - shadow * np.float32(0.12 / PIXEL), 0, 1)
    ground = ambient * (1 - cover) * (1 - shadow * (np.float32(0.4) * strength))
    specks = confetti(factors, size) * ground
    ground -= specks
    shading = ground * shade(factors, x, y)
    inked = figure * tone
    ends, colours = palette.ground_colours(factors["ground_hue"], factors["night"]), palette.figure_colours(factors)
    layers = (
        (ground - shading, ends[:, 0]),
        (shading, ends[:, 1]),
        (specks, palette.clutter_colours(factors)),
        (figure - inked, colours[:, 0]),
        (inked, colours[:, 1]),
    )
    light = paper(factors["grain"], size)
    image = np.empty((len(distance), 3, size, size), np.uint8)
    for channel in range(3):
        total = light.copy()
        for amount, colour in layers:  # one after the other: a sum in another order may end in another bit
            total += amount * colour[:, channel, None, None]
        image[:, channel] = np.clip(total, 0, 255, out=total)
    return image


def facing(distance: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """How far the surface leans to the light, -1 to 1: the slope of the signed distance along (cos, sin)."""
    lit = np.empty_like(distance)
    np.subtract(distance[:, :, 2:], distance[:, :, :-2], out=lit[:, :, 1:-1])
    lit[:, :, 0], lit[:, :, -1] = lit[:, :, 1], lit[:, :, -2]
    lit *= cos
    down = (distance[:, 2:] - distance[:, :-2]) * sin
    lit[:, 1:-1] += down
    lit[:, 0] += down[:, 0]
    lit[:, -1] += down[:, -1]
    return lit


def shade(factors, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where the ground stands between its two colours, 0 to 1: (n, H, W)."""
    kind = factors["ground"]
    cos, sin = (WAVES[:, factors["ground_angle"]] * SLOPE[kind])[:, :, None, None]
    bowl, level = BOWL[kind][:, None, None], LEVEL[kind][:, None, None]
    return np.clip((cos * x + bowl * (x * x) + level) + (sin * y + bowl * (y * y)), 0, 1)


def confetti(factors, size: int) -> np.ndarray:
    """How much of each pixel lies under confetti, 0 to 1: (n, H, W). A speck stays inside its cell."""
    ticks = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(CELLS / size)
    cell = ticks.astype(np.int64)
    place = ticks - cell.astype(np.float32)
    words = mix(
        factors["grain"].astype(np.uint64)[:, None] * np.uint64(CELLS**2) + np.arange(CELLS**2, dtype=np.uint64)
    )
    # Four numbers of 16 bits for each cell, 0 to 1.
    bits = words[:, None] >> (np.uint64(16) * np.arange(4, dtype=np.uint64))[:, None] & np.uint64(0xFFFF)
    there, x, y, radius = np.moveaxis(bits.astype(np.float32) * np.float32(2.0**-16), 1, 0).reshape(4, -1, CELLS, CELLS)
    there = there < factors["clutter"][:, None, None]
    radius = np.where(there, np.float32(0.1) + np.float32(0.13) * radius, np.float32(-1))
    across = place - (np.float32(0.3) + np.float32(0.4) * x)[:, :, cell]  # (n, CELLS, W)
    down = place[:, None] - (np.float32(0.3) + np.float32(0.4) * y)[:, cell]  # (n, H, CELLS)
    # Squares along the two sides first; only their sum needs every pixel.
    far = (across * across)[:, cell] + (down * down)[:, :, cell]
    edge = np.float32(size / CELLS)
    return np.clip(radius[:, cell][:, :, cell] * edge - np.sqrt(far) * edge + np.float32(0.5), 0, 1)


def paper(words: np.ndarray, size: int) -> np.ndarray:
    """The grain of the paper, and a half to round with: (n, size, size), cut from an endless sheet."""
    ticks = np.arange(size)
    right, down = words % 256, words // 256 % 256
    sheet = GRAIN[(down[:, None] + ticks)[:, :, None] % 256, (right[:, None] + ticks)[:, None, :] % 256]
    return sheet.astype(np.float32) + np.float32(0.5)
