"""Opening pictures: whatever the reader has in hand becomes one upright 8-bit RGB image, or a sentence saying why not.

Imports Pillow, numpy and torch, and nothing of the project.
"""

import difflib
import http.client
import io
import os
import re
import struct
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

# Pillow's name of each format, and the file suffixes that a folder is searched for. The list is closed on purpose:
# Pillow would hand an EPS to Ghostscript. HEIF opens once the reader has registered pillow-heif.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jfif"),
    "MPO": (".mpo",),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2",),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif"),
}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)

MAX_PIXELS = 178_956_970  # where Pillow itself refuses: half a gigabyte as RGB, above any camera's single frame
MAX_DOWNLOAD = 64 * 2**20  # bytes

_KINDS = "a path, an http(s) address, bytes, a file object, a PIL image, a numpy array or a torch tensor"
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")

_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """A picture that cannot be opened. The message names it, says what is wrong and what to do."""


def open_image(source, *, max_pixels: int = MAX_PIXELS, timeout: float = 20.0) -> Image.Image:
    """Open anything as an upright RGB image, 8 bits a channel.

    ``source`` is a path, an http(s) address, ``bytes``, a binary file object, a PIL image, a numpy array
    (H, W) or (H, W, 1|3|4), or a torch tensor (H, W) or (1|3|4, H, W). Arrays and tensors hold uint8, uint16, bool, or
    floats in 0..1. Files larger than ``max_pixels`` are refused before they are decoded; an address that does not
    answer within ``timeout`` seconds, or sends more than 64 MiB, is given up.

    Apart from the EXIF rotation and from 16-bit and float pictures, the result equals
    ``Image.open(file).convert("RGB")``, which is what the published evaluations read:

    * The EXIF orientation (1 to 8) is applied, as every photo viewer does.
    * Transparency is dropped, not blended with a background: the colours stored under it appear.
    * 16 bits keep their high byte, as Pillow does for 16-bit colour; for 16-bit grey it would clip to white.
    * 32-bit integers and floats: see `to_rgb`.
    * An animation gives its first frame.
    * No metadata is kept.

    Raises ImageError, a sentence, for everything else.
    """
    match source:
        case Image.Image():
            return _upright(source, "the PIL image")
        case np.ndarray():
            return _from_array(source, "the array")
        case torch.Tensor():
            return _from_tensor(source)
        case bytes() | bytearray() | memoryview():
            return _decode(bytes(source), "the picture given as bytes", max_pixels)
        case str() if _is_address(source):
            return _decode(_download(source, timeout), source, max_pixels)
        case str() | os.PathLike():
            return _decode(_read(source), str(source), max_pixels)
    if hasattr(source, "read"):
        data = source.read()
        if not isinstance(data, bytes):
            raise ImageError(f"The file object gives {type(data).__name__}, not bytes: open the file with mode 'rb'.")
        return _decode(data, str(getattr(source, "name", "the file object")), max_pixels)
    raise ImageError(f"open_image was given {type(source).__name__!r}, which is not a picture: give {_KINDS}.")


def to_rgb(image: Image.Image, name: str = "the PIL image") -> Image.Image:
    """A copy of ``image`` as 8-bit RGB, not rotated. ``name`` is what an error calls it.

    Equals ``image.convert("RGB")``, except where that clips: 16-bit grey keeps its high byte; mode ``I`` (32-bit
    integers) is read as 8 bits if it stays within 0..255, else as 16; mode ``F`` is read as 0..1 if it stays within,
    else as 0..255. Other ranges have no meaning that could be guessed and are refused.

    Raises ImageError.
    """
    if 0 in image.size:
        raise ImageError(f"{_named(name)} has no pixels: it is {image.width} wide and {image.height} high.")
    try:
        image.load()
        if image.mode in _SIXTEEN_BIT or image.mode in ("I", "F"):
            return Image.fromarray(_deep_to_uint8(np.asarray(image), name)).convert("RGB")
        if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
            image = image.convert("RGBA")  # the same colours, without Pillow's warning about this palette
        return image.convert("RGB")
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise a dozen types: OSError, SyntaxError, struct.error, ...
        raise ImageError(_damaged(name, error)) from error


def find_images(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> list[Path | str]:
    """The pictures under some files, folders and addresses, in a stable order, without repeats.

    A folder stands for every file below it that has one of `SUFFIXES`, sorted by path; hidden files and folders are
    skipped. Everything else is passed on as it is (addresses as ``str``), even a file that is missing, so that a run
    over many pictures can go on and report what `open_image` says of each.

    Raises ImageError when nothing is found.
    """
    paths = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found: list[Path | str] = []
    for path in paths:
        if isinstance(path, str) and _is_address(path):
            found.append(path)
        elif Path(path).is_dir():
            found += sorted(_below(Path(path)))
        else:
            found.append(Path(path))
    if not found:
        where = ", ".join(str(path) for path in paths) or "an empty list"
        raise ImageError(f"No pictures found in {where}. Looked for {' '.join(SUFFIXES)}.")
    return list(dict.fromkeys(found))


def _below(folder: Path) -> Iterable[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield Path(root, name)


# ---------------------------------------------------------------------------------------------- files and addresses


def _is_address(text: str) -> bool:
    return "://" in text


def _read(path: str | os.PathLike) -> bytes:
    path = Path(path).expanduser()
    try:
        if path.is_dir():
            raise ImageError(
                f"{path} is a folder: give one of its pictures, or all of them as find_images({str(path)!r})."
            )
        if path.exists() and not path.is_file():
            raise ImageError(f"{path} is a device or a pipe, not a file.")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"There is no file {path}. {_nearest(path)}") from error
    except ImageError:
        raise
    except (OSError, ValueError) as error:  # no permission, a name too long, a null byte in the name
        raise ImageError(f"{path} cannot be read ({error}).") from error


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return f"There is no folder {path.parent} either."
    close = difflib.get_close_matches(path.name, sorted(os.listdir(path.parent)), n=3, cutoff=0.5)
    return (
        f"Nearest names there: {', '.join(close)}." if close else f"Nothing in {path.resolve().parent} has that name."
    )


def _download(url: str, timeout: float) -> bytes:
    if not url.lower().startswith(("http://", "https://")):
        raise ImageError(f"{url} is not opened: addresses begin with http:// or https://. Otherwise give {_KINDS}.")
    instead = "Or save the picture on this machine and give its path."
    limit = f"{MAX_DOWNLOAD // 2**20} MiB"
    deadline = time.monotonic() + timeout
    chunks, size = [], 0
    try:
        # Several picture hosts turn away requests that do not say who is asking.
        request = urllib.request.Request(url, headers={"User-Agent": "netwright"})
        with urllib.request.urlopen(request, timeout=timeout) as response:
            while chunk := response.read1(1 << 16):
                chunks.append(chunk)
                size += len(chunk)
                if size > MAX_DOWNLOAD:
                    raise ImageError(f"{url} sends more than {limit}, too much for one picture. {instead}")
                if time.monotonic() > deadline:  # the socket's own timeout starts again with every byte
                    raise TimeoutError(f"only {size} bytes in {timeout:g} s")
    except urllib.error.HTTPError as error:
        raise ImageError(f"{url} answers {error.code} {error.reason}: check it in a browser. {instead}") from error
    except ImageError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error or type(error).__name__
        raise ImageError(f"{url} cannot be reached ({reason}). Is there a network? {instead}") from error
    return b"".join(chunks)


def _decode(data: bytes, name: str, max_pixels: int) -> Image.Image:
    if not data:
        raise ImageError(f"{_named(name)} is empty (0 bytes): the copy or download of it failed, get it again.")
    Image.init()
    formats = [kind for kind in FORMATS if kind in Image.OPEN]
    with warnings.catch_warnings():
        # Pillow warns of half a decompression bomb, of palettes, of garbled EXIF: refused below, or harmless.
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data), formats=formats)
        except UnidentifiedImageError as error:
            raise ImageError(_not_a_picture(data, name)) from error
        except Image.DecompressionBombError as error:
            pixels, limit = (int(number) for number in re.findall(r"\d+", str(error))[:2])
            raise ImageError(
                f"{_named(name)} would unpack to {pixels:,} pixels, and Pillow's limit is {limit:,}. If you trust the "
                "file, raise PIL.Image.MAX_IMAGE_PIXELS and max_pixels."
            ) from error
        except Exception as error:
            raise ImageError(_damaged(name, error)) from error
        pixels = image.width * image.height
        if pixels > max_pixels:
            raise ImageError(
                f"{_named(name)} is {image.width} wide and {image.height} high: {pixels:,} pixels, and the limit is "
                f"{max_pixels:,}. If you trust the file, open it with max_pixels={pixels}."
            )
        return _upright(image, name)


def _damaged(name: str, error: Exception) -> str:
    return (
        f"{_named(name)} cannot be decoded ({error}). It is damaged or cut short: get it again, or save it anew from a "
        "program that still shows it."
    )


def _upright(image: Image.Image, name: str) -> Image.Image:
    rgb = to_rgb(image, name)
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except (OSError, SyntaxError, ValueError, struct.error):  # a garbled block says nothing about the pixels
        orientation = None
    if orientation in _TURNS:
        rgb = rgb.transpose(_TURNS[orientation])
    rgb.info.clear()  # the orientation is spent: opened a second time, the picture must not turn again
    return rgb


def _not_a_picture(data: bytes, name: str) -> str:
    head = data[:64]
    if head[4:8] == b"ftyp" and head[8:11] in (b"hei", b"hev", b"mif", b"msf"):
        return (
            f"{_named(name)} is an HEIC picture, which Pillow does not read alone: pip install pillow-heif and call "
            "pillow_heif.register_heif_opener(), or export it as JPEG."
        )
    kinds = ", ".join(kind for kind in FORMATS if kind in Image.OPEN)
    sentence = f"{_named(name)} is not a picture in a format that is read here ({kinds})."
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        sentence += f" It is text that begins with {head[:32].decode('ascii')!r}."
    return sentence


def _named(name: str) -> str:
    return name[0].upper() + name[1:] if name.startswith("the ") else name


# ---------------------------------------------------------------------------------------------- arrays and tensors


def _from_array(array: np.ndarray, name: str) -> Image.Image:
    shape = tuple(array.shape)
    if array.size == 0:
        raise ImageError(f"{_named(name)} has no pixels: its shape is {shape}.")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 4:
        raise ImageError(f"{_named(name)} of shape {shape} is a batch: give one picture at a time, such as batch[0].")
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        sentence = f"{_named(name)} has shape {shape}; a picture is (H, W) or (H, W, 1, 3 or 4)."
        if array.ndim == 3 and shape[0] in (1, 3, 4):
            sentence += " This looks like channels first: use array.transpose(1, 2, 0), or a torch tensor."
        raise ImageError(sentence)
    pixels = _shallow_to_uint8(array, name)[:, :, :3]  # (H, W, 1|3), without alpha
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))))


def _from_tensor(tensor: torch.Tensor) -> Image.Image:
    shape = tuple(tensor.shape)
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.float()  # numpy has no bfloat16
    if tensor.ndim == 3:
        if shape[0] not in (1, 3, 4) and shape[2] in (1, 3, 4):
            raise ImageError(f"The tensor of shape {shape} has its channels last: use tensor.permute(2, 0, 1).")
        if shape[0] not in (1, 3, 4):
            raise ImageError(f"The tensor has shape {shape}; a picture is (H, W) or (1, 3 or 4, H, W).")
        tensor = tensor.permute(1, 2, 0)
    return _from_array(tensor.numpy(), "the tensor")


def _shallow_to_uint8(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * 255
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return (values >> 8).astype(np.uint8)
    if values.dtype.kind != "f":
        raise ImageError(
            f"{_named(name)} holds {values.dtype}; a picture holds uint8, uint16, bool, or floats in 0..1."
        )
    low, high = _finite_range(values, name)
    # Rounding may leave a float picture a hair outside: a thousandth of a grey level is forgiven.
    if low < -4e-6 or high > 1 + 4e-6:
        raise ImageError(
            f"{_named(name)} holds floats from {low:.4g} to {high:.4g}; a picture's lie in 0..1. Divide 0..255 by 255; "
            "undo a normalisation with the transform's inverse()."
        )
    return _round_to_uint8(values.astype(np.float32) * 255)


def _deep_to_uint8(values: np.ndarray, name: str) -> np.ndarray:
    low, high = _finite_range(values, name)
    if low >= 0 and values.dtype.kind == "f" and high <= 255:
        return _round_to_uint8(values * 255 if high <= 1 else values)
    if low >= 0 and values.dtype.kind != "f" and high <= 65535:
        is_sixteen_bit = values.dtype.itemsize == 2 or high > 255
        return (values >> 8 if is_sixteen_bit else values).astype(np.uint8)
    expected = "0..1 or 0..255" if values.dtype.kind == "f" else "0..255 or 0..65535"
    raise ImageError(
        f"{_named(name)} holds values from {low:g} to {high:g}; expected {expected}. Scale it to 8 bits first."
    )


def _finite_range(values: np.ndarray, name: str) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low + high):
        raise ImageError(f"{_named(name)} holds values that are not finite (NaN or infinity); a picture has none.")
    return low, high


def _round_to_uint8(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)
