"""Pictures made worse in fifteen ways and five severities, in the manner of ImageNet-C. Imports datasets, transforms.

Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to common corruptions and perturbations". The
formulas and the tables of severities are those of the published code (hendrycks/robustness, imagenet_c/corruptions.py),
written anew on numpy and Pillow. These pictures follow the published ones but do not equal them:

- they are made when they are asked for, from the crop that the net sees, and never pass through a JPEG file of their own;
- lengths in pixels, which are published for crops of 224, grow and shrink with the crop;
- each picture has random numbers of its own, the same for all severities, so that only the severity differs;
- the disc of defocus is antialiased by finer sampling, motion blur moves by whole pixels, elastic samples once;
- glass blur, snow, frost and spatter are left out; so mCE, which is relative to AlexNet on all published ones, is not told.

A figure from here compares nets with each other, not with the literature.
"""

import io
import math
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from netwright.datasets import PictureSet
from netwright.evaluate.labelmaps import EvaluationError
from netwright.transforms import Transform

SEVERITIES = (1, 2, 3, 4, 5)
SIDE = 224  # of the crops for which the published lengths hold

# What each corruption is told at each severity; see the function of the same name for the units.
LEVELS: dict[str, tuple] = {
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "shot_noise": (60, 25, 12, 5, 3),
    "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
    "speckle_noise": (0.15, 0.2, 0.35, 0.45, 0.6),
    "gaussian_blur": (1, 2, 3, 4, 6),
    "defocus_blur": (3, 4, 6, 8, 10),
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    "zoom_blur": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
    "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),  # first paler, then gaudier
    # The published code says 244 where it means 224. First wide waves and large shifts, then fine ripples.
    "elastic": ((488, 170.8, 24.4), (488, 19.52, 48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88), (29.28, 2.44, 4.88)),
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
    "jpeg": (25, 18, 15, 10, 7),
}


def corrupt(picture: Image.Image, kind: str, severity: int, *, seed: int = 0, index: int = 0) -> Image.Image:
    """`picture`, 8-bit RGB, made worse by one of LEVELS; severity 0 leaves it as it is.

    seed and index (the picture's number) decide what is random. Raises EvaluationError for a kind or a severity that
    does not exist.
    """
    if kind not in LEVELS:
        raise EvaluationError(f"No corruption is called {kind!r}; there are {', '.join(LEVELS)}.")
    if severity not in (0, *SEVERITIES):
        raise EvaluationError(f"severity={severity} does not exist: choose 0 (none) to 5.")
    if severity == 0:
        return picture
    rng = np.random.default_rng([seed, index, zlib.crc32(kind.encode())])
    worse = _FUNCTIONS[kind](picture, LEVELS[kind][severity - 1], rng)
    return worse if isinstance(worse, Image.Image) else _to_image(worse)


class Corrupted(PictureSet):
    """What a net sees of `pictures` through `transform`, made worse: pictures of the input size, not yet normalised."""

    def __init__(self, pictures: PictureSet, transform: Transform, kind: str, severity: int, seed: int = 0):
        self.pictures, self.transform, self.kind, self.severity, self.seed = pictures, transform, kind, severity, seed
        self.name = f"{pictures.name}, {kind} {severity}"
        self.class_names, self.synsets, self.targets = pictures.class_names, pictures.synsets, pictures.targets

    def picture(self, index: int) -> Image.Image:
        return self._worse(self.pictures.picture(index), index)

    def where(self, index: int) -> str:
        return self.pictures.where(index)

    def pixels(self, indices: Sequence[int]) -> Tensor | None:
        pixels = self.pictures.pixels(indices)
        if pixels is None:
            return None
        images = (Image.fromarray(it.permute(1, 2, 0).contiguous().numpy()) for it in pixels)
        worse = (np.array(self._worse(image, i)) for image, i in zip(images, indices, strict=True))
        return torch.stack([torch.from_numpy(it).permute(2, 0, 1) for it in worse])

    def _worse(self, picture: Image.Image, index: int) -> Image.Image:
        return corrupt(self.transform.crop(picture), self.kind, self.severity, seed=self.seed, index=int(index))


# --- the corruptions: (picture, level, random numbers) to a picture or to values in 0 to 1 -----------------------


def gaussian_noise(picture, level, rng):
    """level: the noise's standard deviation, white being 1."""
    return _values(picture) + rng.normal(scale=level, size=_shape(picture))


def shot_noise(picture, level, rng):
    """level: photons that white is made of."""
    return rng.poisson(_values(picture) * level) / level


def impulse_noise(picture, level, rng):
    """level: the share of values (each channel for itself) that become black or white, half of them each."""
    values, chance = _values(picture), rng.random(_shape(picture))
    return np.where(chance < level / 2, 0.0, np.where(chance < level, 1.0, values))


def speckle_noise(picture, level, rng):
    """level: the standard deviation of a noise that grows with the value."""
    values = _values(picture)
    return values + values * rng.normal(scale=level, size=values.shape)


def gaussian_blur(picture, level, rng):
    """level: standard deviation in pixels of a crop of 224."""
    return _smooth(_values(picture), level * _scale(picture), "edge", 4)


def defocus_blur(picture, level, rng):
    """level: the disc's radius in pixels of a crop of 224."""
    return _convolve(_values(picture), _disc(level * _scale(picture)))


def motion_blur(picture, level, rng):
    """level: (radius, standard deviation), in pixels of a crop of 224, of a trail that fades to one side."""
    values, scale = _values(picture), _scale(picture)
    angle = math.radians(rng.uniform(-45, 45))
    steps = np.arange(round(2 * level[0] * scale) + 1)
    weights = np.exp(-0.5 * (steps / (level[1] * scale)) ** 2)
    reach = len(steps)
    padded = np.pad(values, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    blurred = np.zeros_like(values)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        down, right = reach + round(step * math.sin(angle)), reach + round(step * math.cos(angle))
        blurred += weight * padded[down : down + values.shape[0], right : right + values.shape[1]]
    return blurred


def zoom_blur(picture, level, rng):
    """level: (end, step) of the magnifications, from 1, over which the picture is averaged."""
    values, (end, step) = _values(picture), level
    zooms = np.arange(1, end, step)
    total = values.copy()
    for zoom in zooms:
        left, top = picture.width * (1 - 1 / zoom) / 2, picture.height * (1 - 1 / zoom) / 2
        box = (left, top, picture.width - left, picture.height - top)
        total += _values(picture.resize(picture.size, Image.Resampling.BILINEAR, box=box))
    return total / (len(zooms) + 1)


def fog(picture, level, rng):
    """level: (thickness, decay of the fog's detail with each halving of its size)."""
    values, (thickness, decay) = _values(picture), level
    size = 2 ** math.ceil(math.log2(max(picture.size)))
    lit = values + thickness * plasma(size, decay, rng)[: picture.height, : picture.width, None]
    return lit * values.max() / (values.max() + thickness)


def brightness(picture, level, rng):
    """level: what is added to the value (of hue, saturation, value), black being 0 and white 1."""
    values = _values(picture)
    value = values.max(axis=2, keepdims=True)
    brighter = np.minimum(value + level, 1)
    return np.where(value > 0, values * (brighter / np.maximum(value, 1e-12)), brighter)


def contrast(picture, level, rng):
    """level: what is left of the distance to the channel's mean."""
    values = _values(picture)
    mean = values.mean(axis=(0, 1), keepdims=True)
    return (values - mean) * level + mean


def saturate(picture, level, rng):
    """level: (factor, summand) of the saturation. Grey has no hue: like the published code, it is taken for red."""
    values, (factor, summand) = _values(picture), level
    value = values.max(axis=2, keepdims=True)
    depth = value - values.min(axis=2, keepdims=True)
    saturation = depth / np.maximum(value, 1e-12)
    wanted = np.clip(saturation * factor + summand, 0, 1)
    red = np.array([0.0, 1.0, 1.0])
    share = np.where(depth > 0, (value - values) / np.maximum(depth, 1e-12), red)  # 0 for the strongest channel
    return value * (1 - wanted * share)


def elastic(picture, level, rng):
    """level: (strength, smoothness, shift) in pixels of a crop of 224.

    The picture is sheared by moving three points by up to `shift`; then each pixel moves by noise that is smoothed
    by `smoothness` and multiplied by `strength`.
    """
    values, scale = _values(picture), _scale(picture)
    height, width = values.shape[:2]
    strength, smoothness, shift = level
    # Smoothing over fewer pixels leaves more of the noise, so the strength shrinks with the square.
    noise = rng.uniform(-1, 1, size=(height, width, 2))
    moved = strength * scale**2 * _smooth(noise, smoothness * scale, "symmetric", 3)
    down, right = np.mgrid[0:height, 0:width].astype(float)
    points = np.stack([down + moved[..., 0], right + moved[..., 1], np.ones((height, width))], axis=-1)

    middle, reach = np.array([height // 2, width // 2], dtype=float), min(height, width) // 3
    before = middle + reach * np.array([[1, 1], [1, -1], [-1, -1]])
    after = before + rng.uniform(-shift * scale, shift * scale, size=(3, 2))
    back = np.linalg.solve(np.column_stack([after, np.ones(3)]), before)  # where a point of the result comes from
    return _sample(values, points @ back)


def pixelate(picture, level, rng):
    """level: the share of the side that is left."""
    small = (max(1, int(picture.width * level)), max(1, int(picture.height * level)))
    return picture.resize(small, Image.Resampling.BOX).resize(picture.size, Image.Resampling.BOX)


def jpeg(picture, level, rng):
    """level: JPEG's quality, of 100."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=level)
    with Image.open(buffer) as worse:
        return worse.convert("RGB")


_FUNCTIONS: dict[str, Callable] = {
    it.__name__: it
    for it in (
        gaussian_noise,
        shot_noise,
        impulse_noise,
        speckle_noise,
        gaussian_blur,
        defocus_blur,
        motion_blur,
        zoom_blur,
        fog,
        brightness,
        contrast,
        saturate,
        elastic,
        pixelate,
        jpeg,
    )
}


# --- their tools -------------------------------------------------------------------------------------------------


def plasma(size: int, decay: float, rng: np.random.Generator) -> np.ndarray:
    """Clouds in 0 to 1, (size, size), size a power of two: the diamond-square algorithm on a torus.

    Fournier, Fussell and Carpenter 1982, "Computer rendering of stochastic models".
    """
    heights, step, spread = np.zeros((size, size)), size, 100.0

    def between(a, b, c, d):
        return (a + b + c + d) / 4 + spread * rng.uniform(-spread, spread, size=a.shape)

    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        below, right = np.roll(corners, -1, axis=0), np.roll(corners, -1, axis=1)
        heights[half::step, half::step] = between(corners, below, right, np.roll(below, -1, axis=1))
        centres = heights[half::step, half::step]
        heights[::step, half::step] = between(centres, np.roll(centres, 1, axis=0), corners, right)
        heights[half::step, ::step] = between(centres, np.roll(centres, 1, axis=1), corners, below)
        step, spread = half, spread / decay
    heights -= heights.min()
    return heights / heights.max()


def _smooth(values: np.ndarray, sigma: float, border: str, reach: float) -> np.ndarray:
    """(height, width, channels) smoothed by a Gaussian that ends at `reach` standard deviations."""
    down, across = (_smoothing(length, sigma, border, reach) for length in values.shape[:2])
    return np.einsum("ij,jkc,lk->ilc", down, values, across, optimize=True)


@lru_cache(maxsize=16)
def _smoothing(length: int, sigma: float, border: str, reach: float) -> np.ndarray:
    """The smoothing of `length` values as a matrix, (length, length)."""
    radius = max(1, int(reach * sigma + 0.5))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    source = np.pad(np.arange(length), radius, mode=border)
    matrix = np.zeros((length, length))
    for i in range(length):
        np.add.at(matrix[i], source[i : i + len(weights)], weights / weights.sum())
    return matrix


@lru_cache(maxsize=16)
def _disc(radius: float, finer: int = 16) -> np.ndarray:
    """A disc as weights of whole pixels that sum to one: how much of each pixel it covers."""
    reach = math.ceil(radius)
    places = (np.arange((2 * reach + 1) * finer) + 0.5) / finer - reach - 0.5
    inside = (places[:, None] ** 2 + places**2 <= radius**2).astype(float)
    side = 2 * reach + 1
    covered = inside.reshape(side, finer, side, finer).sum(axis=(1, 3))
    return covered / covered.sum()


def _convolve(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(height, width, channels) with a symmetric kernel, mirrored at the border."""
    reach = len(kernel) // 2
    padded = np.pad(values, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    shape = padded.shape[:2]
    product = np.fft.rfft2(padded, axes=(0, 1)) * np.fft.rfft2(kernel, shape)[..., None]
    return np.fft.irfft2(product, shape, axes=(0, 1))[2 * reach :, 2 * reach :]


def _sample(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """`values` (height, width, channels) at `places` (…, 2), down and right, between pixels and mirrored outside."""
    height, width = values.shape[:2]
    down, right = _mirrored(places[..., 0], height), _mirrored(places[..., 1], width)
    top, left = np.floor(down).astype(int), np.floor(right).astype(int)
    below, beside = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    v, h = (down - top)[..., None], (right - left)[..., None]
    upper = values[top, left] * (1 - h) + values[top, beside] * h
    return upper * (1 - v) + (values[below, left] * (1 - h) + values[below, beside] * h) * v


def _mirrored(places: np.ndarray, length: int) -> np.ndarray:
    period = 2 * (length - 1)
    folded = np.mod(places, period)
    return np.minimum(folded, period - folded)


def _values(picture: Image.Image) -> np.ndarray:
    """float64 (height, width, 3) in 0 to 1."""
    return np.asarray(picture, dtype=np.float64) / 255


def _shape(picture: Image.Image) -> tuple[int, int, int]:
    return picture.height, picture.width, 3


def _scale(picture: Image.Image) -> float:
    return min(picture.size) / SIDE


def _to_image(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.uint8(np.clip(values, 0, 1) * 255))  # cut off, as published, not rounded
