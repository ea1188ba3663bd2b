"""What pictures are made of, drawn by hashing (seed, split, name of the factor, index): no picture needs another.

Imports classes and palette.
"""

import hashlib

import numpy as np

from netwright.toys.classes import (
    CLASSES,
    FIRST_RELATION,
    NOTHING,
    OUTLINE_NAMES,
    PARTS,
    SHAPES,
    STEP,
    TEXTURE_NAMES,
)
from netwright.toys.palette import FAMILIES

# The nuisances that can be held out, each with the stretch of its range, from 0 to 1, that only "novel" pictures show:
# figures in blues; figures in the upper left; the largest figures; a hill behind them; light from the lower right.
HOLD_OUTS = {"hue": (0.5, 0.75), "place": (0.0, 0.25), "scale": (0.7, 1.0), "ground": (0.75, 1.0), "light": (0.0, 0.25)}
GROUNDS = ("slope", "glow", "horizon", "hill")
TURN = 1024  # steps in a full turn: angles are whole, so that their sines come from a table
PIXEL = 2 / 64  # of the usual size, where a picture is 2 wide


class Draw:
    """Random numbers for the pictures `indices` (n,). Every name is a stream of its own, every index a place in it.

    So a new factor changes no other one, and two splits or two seeds share nothing. held_out is (a name in HOLD_OUTS,
    True to draw nothing else or False to draw all else), or None.
    """

    def __init__(self, indices: np.ndarray, seed: int, split: str, held_out: tuple[str, bool] | None = None):
        self.indices = np.asarray(indices, dtype=np.uint64)
        self.source = f"{seed}/{split}"
        self.held_out = held_out

    def words(self, name: str, places: np.ndarray | None = None) -> np.ndarray:
        """64 random bits a picture: uint64 (n,), from these places of the stream (the indices, if None)."""
        digest = hashlib.blake2b(f"{self.source}/{name}".encode(), digest_size=8).digest()
        key = np.array([int.from_bytes(digest, "little")], dtype=np.uint64)
        places = self.indices if places is None else places
        return mix(key + places * np.uint64(0x9E3779B97F4A7C15))

    def uniform(self, name: str, low: float = 0, high: float = 1, *, like: str | None = None) -> np.ndarray:
        """float32 (n,) from low to high. What is held out of the nuisance `like` (itself, if None) is obeyed."""
        numbers = (self.words(name) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
        if self.held_out and self.held_out[0] == (like or name):
            (start, stop), only = HOLD_OUTS[like or name], self.held_out[1]
            width = np.float32(stop - start)
            # Squeeze the numbers into the stretch, or into what is left without it, the part behind moved up.
            numbers = numbers * (width if only else 1 - width)
            numbers += np.where(only, np.float32(start), np.where(numbers < np.float32(start), np.float32(0), width))
        return numbers * np.float32(high - low) + np.float32(low)

    def whole(self, name: str, count: int, *, like: str | None = None) -> np.ndarray:
        """int64 (n,) from 0 to count - 1."""
        return self.uniform(name, 0, count, like=like).astype(np.int64).clip(0, count - 1)


def mix(words: np.ndarray) -> np.ndarray:
    """Scramble 64-bit words, one to one: the last step of SplitMix64 (Steele, Lea and Flood 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def draw_labels(draw: Draw) -> np.ndarray:
    """int64 (n,): every run of len(CLASSES) pictures shows each class once, starting with a random one."""
    count = np.uint64(len(CLASSES))
    start = draw.words("label", draw.indices // count) % count
    return ((draw.indices + start) % count).astype(np.int64)


def draw_factors(
    indices: np.ndarray, seed: int, split: str, held_out: tuple[str, bool] | None = None
) -> dict[str, np.ndarray]:
    """The factors of the pictures `indices`, each an array (n,), float32 or int64: all that `render` needs to know.

    Places run from -1 (left, top) to 1, lengths are in halves of a side, angles in 1/1024 turns, clockwise.
    kind and texture count in OUTLINES and TEXTURES, hues in FAMILIES; kind2 is -1 where there is no second figure, texture is -1 where
    the figures are plain. See `Draw` for held_out.
    """
    draw = Draw(indices, seed, split, held_out)
    label = draw_labels(draw)
    # place chooses a quadrant and the shifts a spot in it, so that one stretch of one number holds a quadrant out.
    place = draw.whole("place", 4)
    shift_x, shift_y = place % 2 - draw.uniform("shift_x"), place // 2 - draw.uniform("shift_y")
    scale, hue = draw.uniform("scale"), draw.whole("hue", len(FAMILIES))
    single = single_figure(draw, label, scale, shift_x, shift_y)
    pair = pair_of_parts(draw, label, scale, shift_x, shift_y)
    relation = label >= FIRST_RELATION
    factors = {
        "label": label,
        **{name: np.where(relation, pair[name], single[name]) for name in single},
        "angle": draw.whole("angle", TURN),
        "angle2": draw.whole("angle2", TURN),
        **{f"wobble{i}": draw.uniform(f"wobble{i}") for i in range(4)},  # of a pebble's outline
        "texture_angle": draw.whole("texture_angle", TURN),
        "period": draw.uniform("period", 0.85, 1.15),  # of the texture, as a share of the usual one
        "phase_u": draw.uniform("phase_u"),
        "phase_v": draw.uniform("phase_v"),
        "swap": draw.whole("swap", 2),  # 1: ink and paper change places
        "hue": hue,
        "hue2": np.where(relation, draw.whole("hue2", len(FAMILIES), like="hue"), hue),
        "night": draw.whole("night", 2),  # 1: a dark ground behind bright figures
        "ground": draw.whole("ground", len(GROUNDS)),
        "ground_hue": draw.whole("ground_hue", len(FAMILIES)),
        "ground_angle": draw.whole("ground_angle", TURN),
        "light": draw.whole("light", TURN),  # the angle that it comes from
        "light_strength": draw.uniform("light_strength", 0.4, 1.0),
        "clutter": draw.uniform("clutter"),
        "clutter_hue": draw.whole("clutter_hue", len(FAMILIES)),
        "grain": (draw.words("grain") >> np.uint64(32)).astype(np.int64),  # where clutter and paper grain come from
    }
    return {
        name: values.astype(np.float32) if values.dtype == np.float64 else values for name, values in factors.items()
    }


def single_figure(draw, label, scale, shift_x, shift_y) -> dict[str, np.ndarray]:
    """A pebble whose texture is its class, or an outline that is its class, with any texture or none."""
    by_texture = label < len(TEXTURE_NAMES)
    shapes = np.array([OUTLINE_NAMES.index(name) for name in SHAPES])
    kind = np.where(by_texture, OUTLINE_NAMES.index("pebble"), shapes[(label - len(TEXTURE_NAMES)) % len(SHAPES)])
    any_texture = draw.whole("texture", len(TEXTURE_NAMES) + 1) - 1
    # A texture needs room for a few periods, an outline needs room to move. The reach of the longest outline, the
    # moon's, is about 1.5 radii: the range is one for all of them, so that the place tells nothing either.
    radius = PIXEL * np.where(by_texture, 15 + 5 * scale, 11.5 + 5 * scale)
    room = 1 - np.where(by_texture, 1.2, 1.45) * radius
    nothing = np.full_like(label, NOTHING)
    return {
        "kind": kind,
        "kind2": nothing,
        "texture": np.where(by_texture, label, any_texture),
        "x": shift_x * room,
        "y": shift_y * room,
        "x2": np.zeros_like(radius),
        "y2": np.zeros_like(radius),
        "radius": radius,
    }


def pair_of_parts(draw, label, scale, shift_x, shift_y) -> dict[str, np.ndarray]:
    """Two plain parts on a grid of four by four places, the same or different, beside or above each other, near or far.

    Along their line a near pair stands on places 0 1 or 2 3, a far pair on 0 2 or 1 3: so either part stands on each of
    the sixteen places equally often in every class, and so for its outline, colour and turn. One part tells nothing.
    """
    code = label - FIRST_RELATION
    different, above, far = code // 4 % 2, code // 2 % 2, code % 2
    outlines = np.array([OUTLINE_NAMES.index(name) for name in PARTS])
    part = draw.whole("part", len(PARTS))
    part2 = (part + different * (1 + draw.whole("part2", len(PARTS) - 1))) % len(PARTS)
    which, turned, across = draw.whole("which", 2), draw.whole("turned", 2), draw.whole("across", 4)
    ends = np.where(far, which, 2 * which) + np.stack([turned, 1 - turned]) * (1 + far)  # (2, n)
    columns, rows = np.where(above, across, ends), np.where(above, ends, across)
    wiggle = np.stack([draw.uniform(f"wiggle{i}", -0.5, 0.5) for i in range(4)])  # half a pixel off the grid
    x, y = (columns - 1.5) * STEP, (rows - 1.5) * STEP
    x, y = x + PIXEL * (2 * shift_x + wiggle[:2]), y + PIXEL * (2 * shift_y + wiggle[2:])
    return {
        "kind": outlines[part],
        "kind2": outlines[part2],
        "texture": np.full_like(label, NOTHING),
        "x": x[0],
        "y": y[0],
        "x2": x[1],
        "y2": y[1],
        "radius": PIXEL * (4.1 + 0.8 * scale),
    }
