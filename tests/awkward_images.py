"""Pictures that break image code: made from a seed, written as real files. Used by the tests of images and transforms.

`PEER_AGREES` are those on which `Image.open(f).convert("RGB")`, once upright, is the right answer.
"""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

ORIENTATION = 0x0112


def scene(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A picture (height, width, 3) uint8 with slopes, edges and noise, without any symmetry."""
    rng = np.random.default_rng([seed, width, height])
    y, x = np.mgrid[0:height, 0:width]
    red = 255 * (x + 0.5) / width
    green = 255 * (y + 0.5) / height
    blue = 128 + 100 * np.sin(0.4 * x + 0.1 * y)
    picture = np.stack([red, green, blue], axis=-1) + rng.normal(0, 20, (height, width, 3))
    picture[: (height + 1) // 3, : (width + 1) // 2] *= 0.4  # a dark corner tells every orientation apart
    return picture.clip(0, 255).astype(np.uint8)


def rgb(width: int, height: int) -> Image.Image:
    return Image.fromarray(scene(width, height))


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def oriented(orientation: int, kind: str = "JPEG", size: tuple[int, int] = (90, 61)) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encode(rgb(*size), kind, exif=exif)


def with_alpha(mode: str, width: int = 70, height: int = 50) -> Image.Image:
    image = rgb(width, height).convert(mode[:-1])
    image.putalpha(Image.fromarray(scene(width, height, seed=1)[:, :, 2]))
    return image


def palette(transparency=None) -> bytes:
    options = {} if transparency is None else {"transparency": transparency}
    return encode(rgb(80, 60).quantize(17, dither=Image.Dither.NONE), "PNG", **options)


def grey16(width: int = 75, height: int = 52) -> np.ndarray:
    """A 16-bit grey picture (height, width) that uses the whole range."""
    return np.random.default_rng(16).integers(0, 65536, (height, width), dtype=np.uint16)


def animation(kind: str) -> bytes:
    frames = [Image.fromarray(scene(64, 48, seed)) for seed in range(3)]
    return encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=40, loop=0)


def inverted_cmyk() -> bytes:
    """A CMYK JPEG as Photoshop writes it, and Pillow too: the inks inverted, with an Adobe marker."""
    return encode(rgb(130, 99).convert("CMYK"), "JPEG")


def without_adobe_marker(jpeg: bytes) -> bytes:
    start = jpeg.index(b"\xff\xee")
    return jpeg[:start] + jpeg[start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big") :]


def png16(colours: np.ndarray) -> bytes:
    """A PNG of (height, width, 3) uint16, which Pillow reads but does not write."""
    height, width, _ = colours.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


_SIZES = {  # width, height
    "square": (224, 224),
    "odd": (301, 227),
    "odd_tall": (227, 301),
    "prime": (97, 89),
    "one_more": (257, 256),
    "one_less": (255, 256),
    "half_a_pixel": (333, 272),
    "wide": (600, 20),
    "tall": (20, 600),
    "smaller_than_the_crop": (37, 23),
    "one_wide": (1, 30),
    "one_high": (30, 1),
    "one_pixel": (1, 1),
    "two_by_three": (2, 3),
    "larger": (901, 640),
}

PEER_AGREES: dict[str, Callable[[], bytes]] = {
    **{f"{name}.png": lambda size=size: encode(rgb(*size), "PNG") for name, size in _SIZES.items()},
    **{f"orientation_{k}.jpg": lambda k=k: oriented(k) for k in range(1, 9)},
    "orientation_6.png": lambda: oriented(6, "PNG"),
    "orientation_7.webp": lambda: oriented(7, "WEBP"),
    "orientation_unheard_of.jpg": lambda: oriented(11),
    "photo.jpg": lambda: encode(rgb(400, 300), "JPEG", quality=80),
    "progressive.jpg": lambda: encode(rgb(320, 241), "JPEG", progressive=True, subsampling=2),
    "grey.jpg": lambda: encode(rgb(120, 97).convert("L"), "JPEG"),
    "cmyk_adobe_inverted.jpg": lambda: inverted_cmyk(),
    "cmyk_without_adobe_marker.jpg": lambda: without_adobe_marker(inverted_cmyk()),
    "cmyk.tif": lambda: encode(rgb(66, 55).convert("CMYK"), "TIFF"),
    "grey.png": lambda: encode(rgb(101, 64).convert("L"), "PNG"),
    "one_bit.png": lambda: encode(rgb(101, 64).convert("1"), "PNG"),
    "palette.png": lambda: palette(),
    "palette_one_transparent.png": lambda: palette(3),
    "palette_alpha.png": lambda: palette(bytes(range(0, 255, 15))),
    "grey_one_transparent.png": lambda: encode(rgb(60, 50).convert("L"), "PNG", transparency=40),
    "grey_alpha.png": lambda: encode(with_alpha("LA"), "PNG"),
    "rgba.png": lambda: encode(with_alpha("RGBA"), "PNG"),
    "rgba.webp": lambda: encode(with_alpha("RGBA"), "WEBP", lossless=True),
    "lossy.webp": lambda: encode(rgb(200, 150), "WEBP", quality=70),
    "animated.gif": lambda: animation("GIF"),
    "animated.webp": lambda: animation("WEBP"),
    "animated.png": lambda: animation("PNG"),
    "still.gif": lambda: encode(rgb(90, 70).quantize(64), "GIF"),
    "bitmap.bmp": lambda: encode(rgb(77, 45), "BMP"),
    "lzw.tif": lambda: encode(rgb(50, 40), "TIFF", compression="tiff_lzw"),
    "portable.ppm": lambda: encode(rgb(51, 44), "PPM"),
    "two_pictures.mpo": lambda: encode(rgb(88, 66), "MPO", save_all=True, append_images=[rgb(44, 33)]),
    "jpeg_2000.jp2": lambda: encode(rgb(96, 72), "JPEG2000"),
    "colour_16_bit.png": lambda: png16(np.random.default_rng(5).integers(0, 65536, (40, 56, 3), dtype=np.uint16)),
    "comment.jpg": lambda: encode(rgb(64, 64), "JPEG", comment=b"x" * 5000, dpi=(300, 300)),
}


def write_all(folder: Path) -> list[Path]:
    """Every picture of `PEER_AGREES` as a file in ``folder``."""
    for name, make in PEER_AGREES.items():
        (folder / name).write_bytes(make())
    return [folder / name for name in PEER_AGREES]
