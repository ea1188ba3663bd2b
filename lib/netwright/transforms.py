"""From a picture to a net's input, equal in every bit to the pipeline under which its weights were evaluated.

Imports Pillow, numpy, torch and, of the project, `images`.
"""

import math

import numpy as np
import torch
from PIL import Image

from netwright.images import MAX_PIXELS, ImageError, open_image, to_rgb

_INTERPOLATION = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

# The three publishers share their geometry and differ in arithmetic: timm and torchvision compute (x / 255 - mean) / std,
# OpenMMLab (x - 255 mean) / (255 std), which is another float32 for about two thirds of the pixel values.
_PIXEL_SCALE = {"timm": 255, "torchvision": 255, "openmmlab": 1}


class Transform:
    """Resize → centre crop → normalise: ``transform(picture)`` is a float32 tensor (3, H, W).

    Built from a ``Preprocessing`` of the weights catalogue. ``input_size`` (a side, or height and width, in pixels) and
    ``crop_pct`` (the crop's share of the resized short side) replace the catalogue's; ``use_test_size`` picks the
    larger size at which some weights are evaluated, where the catalogue has one.

    A PIL image goes through exactly the published pipeline, which does not look at EXIF. Everything else is opened by
    `open_image`, and so stands upright.

    Sources: timm ``data/transforms_factory.py`` (``transforms_imagenet_eval``, 1.0.31), torchvision
    ``transforms/_presets.py`` (``ImageClassification``, 0.28), OpenMMLab ``ResizeEdge``, ``CenterCrop`` and
    ``ClsDataPreprocessor`` (mmpretrain 1.2, mmcv 2.2) with the Pillow backend, as in the ResNeXt configurations.

    Raises ValueError for a preprocessing that no published net uses, ImageError for a picture.
    """

    def __init__(self, preprocessing, *, input_size=None, crop_pct: float | None = None, use_test_size: bool = False):
        self.preprocessing = preprocessing
        self.pipeline = _one_of("pipeline", preprocessing.pipeline, _PIXEL_SCALE)
        self.interpolation = _one_of("interpolation", preprocessing.interpolation, _INTERPOLATION)
        _one_of("crop_mode", preprocessing.crop_mode, ("center",))

        published = _height_and_width(preprocessing.input_size), preprocessing.crop_pct
        size, share = published
        if use_test_size:
            size, share = preprocessing.test_input_size or size, preprocessing.test_crop_pct or share
        self.input_size = _height_and_width(size if input_size is None else input_size)
        self.crop_pct = share if crop_pct is None else crop_pct
        if not self.crop_pct > 0:
            raise ValueError(f"crop_pct is {self.crop_pct}; it is the crop's share of the resized side, above 0.")

        # The (height, width) that the resized picture covers. The catalogue's short side goes with its own crop only.
        height, width = self.input_size
        if (self.input_size, self.crop_pct) == published and height == width:
            self.resize = (preprocessing.resize, preprocessing.resize)
        else:
            self.resize = (math.floor(height / self.crop_pct), math.floor(width / self.crop_pct))
        if self.pipeline == "openmmlab" and (self.resize[0] < height or self.resize[1] < width):
            raise ValueError(
                f"A picture resized to cover {self.resize} does not fill the crop of {self.input_size}, and OpenMMLab's "
                "pipeline does not pad. Choose a crop_pct of at most 1."
            )

        scale = 255 // _PIXEL_SCALE[self.pipeline]
        self.mean = torch.tensor([scale * value for value in preprocessing.mean], dtype=torch.float32).view(3, 1, 1)
        self.std = torch.tensor([scale * value for value in preprocessing.std], dtype=torch.float32).view(3, 1, 1)

    def __call__(self, picture) -> torch.Tensor:
        pixels = np.array(self.crop(picture))  # (H, W, 3) uint8
        return self.normalise(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """The arithmetic alone, for pixels that are cut to size already: uint8 (…, 3, H, W) to float32."""
        values = pixels.to(torch.float32)
        if _PIXEL_SCALE[self.pipeline] != 1:
            values = values.div_(_PIXEL_SCALE[self.pipeline])
        return values.sub_(self.mean).div_(self.std)

    def crop(self, picture) -> Image.Image:
        """What the net sees of ``picture``, before normalisation: an RGB image of the input size."""
        image = to_rgb(picture) if isinstance(picture, Image.Image) else open_image(picture)
        width, height = self._resized(image)
        if width * height > MAX_PIXELS:
            raise ImageError(
                f"A picture {image.width} wide and {image.height} high is too narrow: resized by its short side it "
                f"would be {width} by {height}, {width * height:,} pixels. Cut the part you mean."
            )
        resized = image.resize((width, height), _INTERPOLATION[self.interpolation])
        left, top = _margin(width, self.input_size[1]), _margin(height, self.input_size[0])
        return resized.crop((left, top, left + self.input_size[1], top + self.input_size[0]))  # black outside

    def _resized(self, image: Image.Image) -> tuple[int, int]:
        """Width and height after resizing, by the rounding of the publishers."""
        height, width = self.resize
        if height == width:  # by the short side; the long one is cut down to a whole pixel
            short, long = sorted(image.size)
            lengthened = int(height * long / short)
            return (height, lengthened) if image.width <= image.height else (lengthened, height)
        ratio = min(image.height / height, image.width / width)  # timm's rule for inputs that are not square
        return round(image.width / ratio), round(image.height / ratio)

    def inverse(self, tensor: torch.Tensor) -> Image.Image:
        """The picture that a normalised tensor (3, H, W) shows: undoes the arithmetic, to the exact 8-bit values.

        Values that no picture has are clipped. Raises ValueError for another shape.
        """
        if tensor.ndim != 3 or tensor.shape[0] != 3:
            raise ValueError(f"inverse() takes one tensor (3, H, W), not {tuple(tensor.shape)}; for a batch, batch[0].")
        pixels = (tensor.detach().float().cpu() * self.std + self.mean) * _PIXEL_SCALE[self.pipeline]
        return Image.fromarray(pixels.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy())

    def __repr__(self) -> str:
        height, width = self.resize
        to = f"short side {height}" if height == width else f"cover {height}×{width}"
        mean, std = ([float(f"{value:.6g}") for value in stat.flatten().tolist()] for stat in (self.mean, self.std))
        pixel = "x / 255" if _PIXEL_SCALE[self.pipeline] != 1 else "x"
        return (
            f"Transform({self.pipeline}: resize {to} {self.interpolation} → centre crop "
            f"{self.input_size[0]}×{self.input_size[1]} → normalise ({pixel} - {mean}) / {std})"
        )


def _margin(length: int, wanted: int) -> int:
    """Where a centred stretch of ``wanted`` pixels starts in ``length``; negative where it must be padded."""
    return round((length - wanted) / 2) if length >= wanted else -((wanted - length) // 2)


def _height_and_width(size) -> tuple[int, int]:
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or min(sides) < 1:
        raise ValueError(f"input_size is {size}; give a side or (height, width) in pixels.")
    return sides


def _one_of(field: str, value: str, known) -> str:
    if value not in known:
        raise ValueError(f"{field} is {value!r}; known are {', '.join(map(repr, known))}.")
    return value
