"""AutoAugment and RandAugment: random edits of a picture, and the tables that say which. Imports Pillow and numpy.

Pictures are RGB PIL images. Every random choice comes from the numpy Generator that is handed in.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

HIGHEST = 10.0  # magnitudes are levels from 0 to this
AFFINE = Image.Transform.AFFINE


def edit(picture: Image.Image, operation: str, value, *, fill: tuple[int, int, int], resample) -> Image.Image:
    """`picture` after one operation; `value` is what it takes (see `value_at`); `fill` colours what comes into view."""
    width, height = picture.size
    match operation:
        case "Rotate":  # degrees, counter-clockwise
            return picture.rotate(value, resample=resample, fillcolor=fill)
        case "ShearX":
            return picture.transform(picture.size, AFFINE, (1, value, 0, 0, 1, 0), resample, fillcolor=fill)
        case "ShearY":
            return picture.transform(picture.size, AFFINE, (1, 0, 0, value, 1, 0), resample, fillcolor=fill)
        case "TranslateX":  # share of the width, to the left
            return picture.transform(picture.size, AFFINE, (1, 0, value * width, 0, 1, 0), resample, fillcolor=fill)
        case "TranslateY":
            return picture.transform(picture.size, AFFINE, (1, 0, 0, 0, 1, value * height), resample, fillcolor=fill)
        case "AutoContrast":
            return ImageOps.autocontrast(picture)
        case "Equalize":
            return ImageOps.equalize(picture)
        case "Invert":
            return ImageOps.invert(picture)
        case "Posterize" | "PosterizeMore":  # bits that are kept
            return ImageOps.posterize(picture, value)
        case "Solarize" | "SolarizeMore":  # values from this one up are inverted
            return ImageOps.solarize(picture, value)
        case "SolarizeAdd":  # to the values in the dark half
            table = [min(255, v + value) if v < 128 else v for v in range(256)]
            return picture.point(table * 3)
        case "Color" | "ColorMore":  # 0: grey, 1: as it is
            return ImageEnhance.Color(picture).enhance(value)
        case "Contrast" | "ContrastMore":
            return ImageEnhance.Contrast(picture).enhance(value)
        case "Brightness" | "BrightnessMore":
            return ImageEnhance.Brightness(picture).enhance(value)
        case "Sharpness" | "SharpnessMore":
            return ImageEnhance.Sharpness(picture).enhance(value)
    raise ValueError(f"No operation is called {operation!r}.")


def value_at(operation: str, level: float, rng: np.random.Generator):
    """What `operation` takes at `level` (0 to 10), with a random sign where there are two sides; None for nothing.

    The names with "More" grow stronger with the level. Those without are AutoAugment's, which run from one extreme
    through the picture as it is to the other (Color), or grow weaker (Posterize, Solarize).
    """
    share = level / HIGHEST
    match operation:
        case "Rotate":
            return _signed(share * 30.0, rng)
        case "ShearX" | "ShearY":
            return _signed(share * 0.3, rng)
        case "TranslateX" | "TranslateY":
            return _signed(share * 0.45, rng)
        case "Posterize":
            return int(share * 4) + 4
        case "PosterizeMore":
            return max(1, 4 - int(share * 4))  # timm's would end at no bits: a black picture, or an error of Pillow's
        case "Solarize":
            return min(256, int(share * 256))
        case "SolarizeMore":
            return 256 - min(256, int(share * 256))
        case "SolarizeAdd":
            return min(128, int(share * 110))
        case "Color" | "Contrast" | "Brightness" | "Sharpness":
            return share * 1.8 + 0.1
        case "ColorMore" | "ContrastMore" | "BrightnessMore" | "SharpnessMore":
            return max(0.1, 1.0 + _signed(share * 0.9, rng))
    return None


def _signed(value: float, rng: np.random.Generator) -> float:
    return -value if rng.random() > 0.5 else value


@dataclass(frozen=True)
class AutoAugment:
    """The policy for ImageNet that Cubuk et al. searched for (2019, arXiv:1805.09501, table 9): two edits in a row.

    For each picture one of 25 pairs; each of the two with its own probability and level. The levels mean what they
    mean in timm's policy "original"; implementations differ there (torchvision solarizes more, not less, with the
    level). `resample` is a filter of Pillow, or several, of which each edit picks one.
    """

    fill: tuple[int, int, int]
    resample: tuple[Image.Resampling, ...]

    def __call__(self, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        for operation, probability, level in IMAGENET_POLICY[int(rng.integers(len(IMAGENET_POLICY)))]:
            if rng.random() > probability:
                continue
            value = value_at(operation, level, rng)
            picture = edit(picture, operation, value, fill=self.fill, resample=pick(operation, self.resample, rng))
        return picture


@dataclass(frozen=True)
class RandAugment:
    """Cubuk et al. 2020 (arXiv:1909.13719), as timm has it and the A1 nets were trained with it: nothing searched.

    `layers` operations are drawn, with replacement, from all; each happens with `probability`, at a level drawn
    around `magnitude` with standard deviation `noise`. (The paper always applies each, at the same level.) timm
    writes magnitude 7 with noise 0.5 as "rand-m7-mstd0.5-inc1".
    """

    fill: tuple[int, int, int]
    resample: tuple[Image.Resampling, ...]
    magnitude: float = 7.0
    noise: float = 0.5
    layers: int = 2
    probability: float = 0.5

    def __call__(self, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        for i in rng.choice(len(RAND_OPERATIONS), self.layers):
            if rng.random() > self.probability:
                continue
            operation = RAND_OPERATIONS[i]
            level = rng.normal(self.magnitude, self.noise) if self.noise > 0 else self.magnitude
            value = value_at(operation, max(0.0, min(level, HIGHEST)), rng)
            picture = edit(picture, operation, value, fill=self.fill, resample=pick(operation, self.resample, rng))
        return picture


def pick(operation: str, resample: tuple[Image.Resampling, ...], rng: np.random.Generator) -> Image.Resampling | None:
    """One of the filters, for an operation that moves pixels; None for the others, which have no use for it."""
    if operation not in MOVING:
        return None
    return resample[int(rng.integers(len(resample)))] if len(resample) > 1 else resample[0]


MOVING = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")

RAND_OPERATIONS = (
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "PosterizeMore",
    "SolarizeMore",
    "SolarizeAdd",
    "ColorMore",
    "ContrastMore",
    "BrightnessMore",
    "SharpnessMore",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
)

# Operation, probability, level. Equalize, AutoContrast and Invert have no level; the paper prints one all the same.
IMAGENET_POLICY = (
    (("Posterize", 0.4, 8), ("Rotate", 0.6, 9)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 5)),
    (("Equalize", 0.8, 8), ("Equalize", 0.6, 3)),
    (("Posterize", 0.6, 7), ("Posterize", 0.6, 6)),
    (("Equalize", 0.4, 7), ("Solarize", 0.2, 4)),
    (("Equalize", 0.4, 4), ("Rotate", 0.8, 8)),
    (("Solarize", 0.6, 3), ("Equalize", 0.6, 7)),
    (("Posterize", 0.8, 5), ("Equalize", 1.0, 2)),
    (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
    (("Equalize", 0.6, 8), ("Posterize", 0.4, 6)),
    (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
    (("Rotate", 0.4, 9), ("Equalize", 0.6, 2)),
    (("Equalize", 0.0, 7), ("Equalize", 0.8, 8)),
    (("Invert", 0.6, 4), ("Equalize", 1.0, 8)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Rotate", 0.8, 8), ("Color", 1.0, 2)),
    (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
    (("Sharpness", 0.4, 7), ("Invert", 0.6, 8)),
    (("ShearX", 0.6, 5), ("Equalize", 1.0, 9)),
    (("Color", 0.4, 0), ("Equalize", 0.6, 3)),
    (("Equalize", 0.4, 7), ("Solarize", 0.2, 4)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 5)),
    (("Invert", 0.6, 4), ("Equalize", 1.0, 8)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Equalize", 0.8, 8), ("Equalize", 0.6, 3)),
)
