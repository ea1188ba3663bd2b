"""From factors to pixels and masks, many pictures at once, the same to the last bit on every machine.

Imports outlines, textures, light, classes and factors. Which arithmetic may touch a pixel is said in outlines.
"""

import itertools

import numpy as np

from netwright.toys.classes import NOTHING, OUTLINE_NAMES
from netwright.toys.factors import PIXEL
from netwright.toys.light import WAVES, illuminate
from netwright.toys.outlines import OUTLINES
from netwright.toys.textures import TEXTURES

Factors = dict[str, np.ndarray]
SMALLEST = 32  # pixels: below, textures drown
AT_ONCE = 16 * 64 * 64  # pixels worked on together: few enough for a processor's cache

SHADOW = 3 * PIXEL  # how far a shadow falls
BAND = 2.5 * PIXEL  # how far the mask of an outline reaches to either side of it
PEBBLE = OUTLINE_NAMES.index("pebble")
OTHER = -2  # no outline, no texture, not even NOTHING
OUTLINE_LIST, TEXTURE_LIST = tuple(OUTLINES.values()), tuple(TEXTURES.values())
UNITS = np.array([outline.unit for outline in OUTLINE_LIST], dtype=np.float32)
PERIODS = np.array([texture.period for texture in TEXTURE_LIST], dtype=np.float32)


def render(factors: Factors, size: int = 64) -> dict[str, np.ndarray]:
    """Paint pictures from their factors, each an array (n,) as `draw_factors` and ToyWorld.factors give them.

    Returns image (n, 3, size, size) uint8; figures (n, size, size) uint8, 0 for the ground, 1 and 2 for the first and
    the second figure; and mask (n, size, size) bool, the pixels that cause the label: a textured pebble, a band along
    an outline, both parts of a pair. A picture depends on its own factors only, not on its neighbours in the batch.
    Raises ValueError for a size below 32.
    """
    if size < SMALLEST:
        raise ValueError(f"size={size} is too small to show a texture: choose {SMALLEST} pixels or more.")
    count = len(factors["kind"])
    painted = {
        "image": np.empty((count, 3, size, size), np.uint8),
        "mask": np.empty((count, size, size), bool),
        "figures": np.empty((count, size, size), np.uint8),
    }
    # Pictures with the same outlines and textures side by side need fewer, larger steps.
    order = np.lexsort((factors["kind2"], factors["texture"], factors["kind"]))
    step = max(1, AT_ONCE // (size * size))
    for start in range(0, count, step):
        some = order[start : start + step]
        image, mask, figures = paint({name: values[some] for name, values in factors.items()}, size)
        painted["image"][some], painted["mask"][some], painted["figures"][some] = image, mask, figures
    return painted


def paint(factors: Factors, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """image, mask and figures, as `render` describes them, of pictures few enough to be worked on together."""
    pixel = np.float32(2 / size)
    ticks = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * pixel - np.float32(1)
    x, y = ticks[None, None, :], ticks[None, :, None]  # (1, 1, W), (1, H, 1)
    paired = factors["kind2"] != NOTHING
    distance, nearer = distances(factors, paired, x, y)
    tone = texture(factors, x, y, pixel)  # (n, H, W), as are distance and shadow
    tone[paired] = nearer
    figures = (distance < 0).view(np.uint8)
    figures[paired] += figures[paired] & nearer
    # The shadow is cast by the same figures, moved away from the light.
    away = WAVES[:, factors["light"]] * np.float32(-SHADOW)
    moved = {
        f"{axis}{which}": factors[f"{axis}{which}"] + away[i] for i, axis in enumerate("xy") for which in ("", "2")
    }
    shadow, _ = distances(factors | moved, paired, x, y)
    # What an outline tells is told on both sides of its border, and nowhere else; the others tell by what they hold.
    by_outline = ~paired & (factors["kind"] != PEBBLE)
    mask = np.where(column(by_outline), np.abs(distance) < BAND, distance < 0)
    return illuminate(factors, distance, shadow, tone, x, y), mask, figures


def distances(factors: Factors, paired: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance (n, H, W) from the nearest figure, and for the paired whether that is the second (paired, H, W)."""
    first = outline(factors, "", x, y)
    second = outline({name: values[paired] for name, values in factors.items()}, "2", x, y)
    nearer = second < first[paired]
    first[paired] = np.minimum(first[paired], second)
    return first, nearer


def outline(factors: Factors, which: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The signed distance (n, H, W) from the border of the first figure (which="") or of the second (which="2")."""
    kinds, radius = factors[f"kind{which}"], factors["radius"]
    scale = UNITS[kinds] / radius
    u, v = turned(x - column(factors[f"x{which}"]), y - column(factors[f"y{which}"]), factors[f"angle{which}"], scale)
    wobble = np.stack([factors[f"wobble{i}"] for i in range(4)], axis=1)[:, :, None, None]
    distance = np.empty(np.broadcast_shapes(u.shape, v.shape), np.float32)
    for kind, some in runs(kinds):
        distance[some] = OUTLINE_LIST[kind].distance(u[some], v[some], wobble[some])
    distance *= column(1 / scale)
    return distance


def texture(factors: Factors, x: np.ndarray, y: np.ndarray, pixel: np.float32) -> np.ndarray:
    """How much of each pixel is ink, 0 to 1: (n, H, W). Plain figures have none."""
    kinds = factors["texture"]
    period = PERIODS[kinds] * factors["period"]
    u, v = turned(x, y, factors["texture_angle"], 1 / period)
    # Twice the phase, because every other row or zigzag differs from the next.
    u += column(2 * factors["phase_u"])
    v += column(2 * factors["phase_v"])
    tone = np.zeros(u.shape, np.float32)
    for kind, some in runs(kinds):
        if kind != NOTHING:
            ink = TEXTURE_LIST[kind].ink(u[some], v[some])
            ink *= column(period[some] / pixel)
            ink += np.float32(0.5)
            np.clip(ink, 0, 1, out=tone[some])
    return tone


def turned(x: np.ndarray, y: np.ndarray, angle: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (n, H, W) along axes turned by angle (n,), times scale (n,); x (n or 1, 1, W) and y (n or 1, H, 1)."""
    cos, sin = (column(wave) for wave in WAVES[:, angle] * scale)
    return cos * x + sin * y, cos * y - sin * x


def column(values: np.ndarray) -> np.ndarray:
    """(n,) as (n, 1, 1): one number a picture."""
    return values[:, None, None]


def runs(values: np.ndarray):
    """Each run of equal values, as (value, slice)."""
    borders = np.flatnonzero(np.diff(values, prepend=OTHER, append=OTHER))
    for start, stop in itertools.pairwise(borders):
        yield values[start], slice(start, stop)
