"""From a picture to a training input: crop, flip, edit, jitter, normalise, erase. Imports datasets, tune.

The same ticket always gives the same input: see `randomness`.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from netwright.datasets.inputs import Ticket
from netwright.tune.policies import AutoAugment, RandAugment
from netwright.tune.randomness import Purpose, generator

_FILTERS = {
    "bilinear": (Image.Resampling.BILINEAR,),
    "bicubic": (Image.Resampling.BICUBIC,),
    "random": (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC),
}
_RATIOS = (3 / 4, 4 / 3)  # width to height of a crop, before it is squeezed into the input's shape


@dataclass(frozen=True)
class Augmentation:
    """`augmentation(picture, ticket)`: a PIL image, RGB, to a normalised float32 tensor (3, height, width).

    input_size: (height, width) in pixels; mean, std: of the three channels, in units of 255.
    crop_area: the smallest share of the picture that a crop shows, up to all of it (Szegedy et al. 2014).
    interpolation: "bilinear", "bicubic", or "random" between the two. flip: probability of a mirror image; 0 where
    left and right mean something. policy: "auto", "rand" (with `magnitude` and `noise`) or None.
    jitter: brightness, contrast and saturation change by up to this share; hue never, by default. erasing: the
    probability that a box is filled with noise (Zhong et al. 2020). seed: of the whole run.
    """

    input_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_area: float = 0.08
    interpolation: Literal["bilinear", "bicubic", "random"] = "bicubic"
    flip: float = 0.5
    policy: Literal["auto", "rand"] | None = None
    magnitude: float = 7.0
    noise: float = 0.5
    jitter: float = 0.0
    hue: float = 0.0
    erasing: float = 0.0
    seed: int = 0

    def __post_init__(self):
        if self.interpolation not in _FILTERS:
            raise ValueError(f"Interpolation {self.interpolation!r} is unknown: choose one of {', '.join(_FILTERS)}.")
        if self.policy not in ("auto", "rand", None):
            raise ValueError(f"Policy {self.policy!r} is unknown: choose 'auto', 'rand' or None.")
        if not 0 < self.crop_area <= 1:
            raise ValueError(f"crop_area={self.crop_area} is no share of a picture: choose above 0 to 1.")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue={self.hue} goes more than half around the circle of hues: choose 0 to 0.5.")

    def __call__(self, picture: Image.Image, ticket: Ticket) -> Tensor:
        rng = generator(self.seed, Purpose.AUGMENTATION, *ticket)
        return erase(self.normalise(self.show(picture, rng)), rng, self.erasing)

    @property
    def changes_nothing(self) -> bool:
        """Whether a square picture of the input's size goes through as it is."""
        edits = (self.flip, self.jitter, self.hue, self.erasing)
        return (
            self.crop_area == 1 and self.policy is None and not any(edits) and self.input_size[0] == self.input_size[1]
        )

    def show(self, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        """What the net will see, before normalisation: for a figure."""
        filters = _FILTERS[self.interpolation]
        picture = random_resized_crop(picture, rng, self.input_size, self.crop_area, filters)
        if rng.random() < self.flip:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        fill = tuple(round(255 * value) for value in self.mean)
        if self.policy == "auto":
            picture = AutoAugment(fill, filters)(picture, rng)
        elif self.policy == "rand":
            picture = RandAugment(fill, filters, self.magnitude, self.noise)(picture, rng)
        return color_jitter(picture, rng, self.jitter, self.jitter, self.jitter, self.hue)

    def normalise(self, picture: Image.Image) -> Tensor:
        """(x / 255 - mean) / std, as (3, height, width): the arithmetic of evaluation (`transforms.Transform`)."""
        return self.normalise_pixels(torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous())

    def normalise_pixels(self, pixels: Tensor) -> Tensor:
        """The same for pixels that are there already: uint8 (…, 3, height, width) to float32."""
        mean, std = (torch.tensor(values, dtype=torch.float32).view(3, 1, 1) for values in (self.mean, self.std))
        return pixels.to(torch.float32).div_(255).sub_(mean).div_(std)


def random_resized_crop(
    picture: Image.Image, rng: np.random.Generator, size: tuple[int, int], smallest: float, filters: tuple
) -> Image.Image:
    """A random part of `picture`, resized to `size` = (height, width) with one of `filters`."""
    left, top, width, height = crop_box(picture.width, picture.height, rng, smallest)
    resample = filters[int(rng.integers(len(filters)))] if len(filters) > 1 else filters[0]
    return picture.crop((left, top, left + width, top + height)).resize(size[::-1], resample)


def crop_box(width: int, height: int, rng: np.random.Generator, smallest: float) -> tuple[int, int, int, int]:
    """(left, top, width, height) of a random crop: area from `smallest` to 1, shape from 3:4 to 4:3.

    A crop that would stick out is drawn again, ten times at most; then it is the largest in the middle whose shape
    is allowed.
    """
    for _ in range(10):
        area = rng.uniform(smallest, 1.0) * (width * height)
        ratio = math.exp(rng.uniform(math.log(_RATIOS[0]), math.log(_RATIOS[1])))
        crop_width, crop_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            top = int(rng.integers(0, height - crop_height, endpoint=True))
            left = int(rng.integers(0, width - crop_width, endpoint=True))
            return left, top, crop_width, crop_height
    crop_width = min(width, max(1, round(height * _RATIOS[1])))
    crop_height = min(height, max(1, round(width / _RATIOS[0])))
    return (width - crop_width) // 2, (height - crop_height) // 2, crop_width, crop_height


def color_jitter(
    picture: Image.Image,
    rng: np.random.Generator,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
) -> Image.Image:
    """Brightness, contrast and saturation times a factor from 1 - x to 1 + x, hue turned by up to x of a full circle.

    In random order; what is 0 is left out.
    """
    kinds = ((brightness, ImageEnhance.Brightness), (contrast, ImageEnhance.Contrast), (saturation, ImageEnhance.Color))
    changes = [(kind, rng.uniform(max(0.0, 1 - spread), 1 + spread)) for spread, kind in kinds if spread]
    if hue:
        changes.append((None, rng.uniform(-hue, hue)))
    for i in rng.permutation(len(changes)):
        kind, amount = changes[i]
        picture = kind(picture).enhance(amount) if kind else turn_hue(picture, amount)
    return picture


def turn_hue(picture: Image.Image, turn: float) -> Image.Image:
    """Every hue moved by `turn` of the full circle (-0.5 to 0.5), in 8-bit HSV."""
    hue, saturation, value = picture.convert("HSV").split()
    turned = np.asarray(hue) + np.array(turn * 255).astype(np.int32).astype(np.uint8)  # around the circle: wraps
    return Image.merge("HSV", (Image.fromarray(turned), saturation, value)).convert(picture.mode)


def erase(image: Tensor, rng: np.random.Generator, probability: float) -> Tensor:
    """With `probability`, a random box of `image` (channels, height, width) filled with normal noise, in place.

    The box covers 2 % to a third of the picture, its height 0.3 to 3.3 times its width (timm's RandomErasing,
    mode "pixel"). `image` is normalised already, so the noise looks like pixels of any picture.
    """
    if not probability or rng.random() > probability:
        return image
    channels, height, width = image.shape
    for _ in range(10):
        area = rng.uniform(0.02, 1 / 3) * (height * width)
        ratio = math.exp(rng.uniform(math.log(0.3), math.log(1 / 0.3)))
        box_height, box_width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if box_height < height and box_width < width:
            top = int(rng.integers(0, height - box_height, endpoint=True))
            left = int(rng.integers(0, width - box_width, endpoint=True))
            noise = rng.standard_normal((channels, box_height, box_width), dtype=np.float32)
            image[:, top : top + box_height, left : left + box_width] = torch.from_numpy(noise)
            break
    return image
