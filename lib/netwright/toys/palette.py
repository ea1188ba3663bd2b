"""Colours: eight families in three tones, and the grounds they stand on; light against dark carries every outline.

Imports nothing of the project.
"""

import numpy as np

# Deep, middle and pale, red green blue. Middle and deep stand out from the pale grounds of day, middle and pale from the
# dark ones of night, by lightness alone: no class, and no outline, needs an eye for colours.
FAMILIES = {
    "coral": ("8f2f2c", "e3654f", "f9cdbf"),
    "amber": ("85500f", "e8a534", "fae3b4"),
    "leaf": ("3f5f22", "86ad45", "dcebbf"),
    "teal": ("115a57", "35a396", "c0e8df"),
    "sky": ("1f4f80", "52a0d8", "cae4f6"),
    "indigo": ("33337f", "7272cd", "d6d5f4"),
    "plum": ("5f2867", "ad63b6", "ecd2ee"),
    "rose": ("82234d", "df6693", "f9d2df"),
}
PAPER, INK = "fcf7ee", "171a26"


def rgb(hexadecimal: str) -> list[int]:
    return [int(hexadecimal[i : i + 2], 16) for i in (0, 2, 4)]


TONES = np.array([[rgb(tone) for tone in tones] for tones in FAMILIES.values()], dtype=np.float32)  # (families, 3, 3)
DEEP, MIDDLE, PALE = 0, 1, 2


def blend(one: np.ndarray | str, other: np.ndarray | str, share: float) -> np.ndarray:
    """`one`, moved towards `other` by `share` of the way."""
    one, other = (np.array(rgb(c), dtype=np.float32) if isinstance(c, str) else c for c in (one, other))
    return one + (other - one) * np.float32(share)


GROUND_DAY = np.stack([blend(TONES[:, PALE], PAPER, 0.75), blend(TONES[:, PALE], PAPER, 0.1)], axis=1)
GROUND_NIGHT = np.stack([blend(TONES[:, DEEP], INK, 0.4), blend(TONES[:, DEEP], INK, 0.75)], axis=1)


def ground_colours(hue: np.ndarray, night: np.ndarray) -> np.ndarray:
    """The two ends of the ground's shading, (n, 2, 3) float32, 0 to 255."""
    return np.where(night[:, None, None] == 1, GROUND_NIGHT[hue], GROUND_DAY[hue])


def figure_colours(factors: dict[str, np.ndarray]) -> np.ndarray:
    """Paper and ink of a figure's texture, or the colours of the two parts: (n, 2, 3) float32."""
    hue, night = factors["hue"], factors["night"]
    middle, accent = TONES[hue, MIDDLE], TONES[hue, np.where(night == 1, PALE, DEEP)]
    paired, swap = (factors["kind2"] >= 0)[:, None], (factors["swap"] == 1)[:, None]
    other = np.where(paired, TONES[factors["hue2"], MIDDLE], accent)
    first, second = np.where(swap & ~paired, other, middle), np.where(swap & ~paired, middle, other)
    return np.stack([first, second], axis=1)


def clutter_colours(factors: dict[str, np.ndarray]) -> np.ndarray:
    """Of the confetti: (n, 3) float32, near enough to the ground's lightness that no confetti passes for a figure."""
    night = (factors["night"] == 1)[:, None]
    hue = factors["clutter_hue"]
    return np.where(night, blend(TONES, INK, 0.3)[hue, DEEP], blend(TONES[:, PALE], TONES[:, MIDDLE], 0.35)[hue])
