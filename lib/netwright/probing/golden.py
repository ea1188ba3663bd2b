"""Golden numbers: seeded weights and a seeded picture for every architecture, and what an independent net made of them.

Imports nets, weights and transforms. The traces are data/golden_traces.safetensors; tests/make_golden_traces.py makes
them with timm.
"""

import json
import math
import zlib

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from netwright import paths
from netwright.nets.zoo import CONFIGS, build
from netwright.probing.points import Reading
from netwright.transforms import Transform
from netwright.weights.catalogue import default_for
from netwright.weights.keymaps import to_published

TRACES = "golden_traces.safetensors"
# Weights that no ReLU follows, which would halve the signal: inside attention.
LINEAR = ("_table", "query.weight", "key_value.weight", "qkv.weight", "position.weight")
SMALL_SIDE = 72  # makes maps of 18, 9, 5 and 3 pixels: odd sizes tell apart what even ones do not

# NumPy promises that RandomState's stream never changes (NEP 19), on any platform; torch promises no such thing.


def golden_state(architecture: str) -> dict[str, Tensor]:
    """Seeded weights under our names: float32, and every tensor has numbers of its own, BatchNorm's buffers too.

    A tensor depends on the architecture, its name and its shape only, so that any net whose parameters can be named
    can receive them. Convolutions keep the size of the signal (He et al. 2015) and the last normalisation of a residual
    branch is small, so that activations stay between about 0.1 and 10 through 100 layers.
    Raises ValueError for an unknown architecture.
    """
    return {name: _seeded(f"{architecture}/{name}", shape) for name, shape in golden_shapes(architecture).items()}


def golden_checkpoint(architecture: str, layout: str | None = None) -> dict[str, Tensor]:
    """The golden weights as a publisher would name them: what a file of `architecture` holds, without the download.

    layout is a name in netwright.weights.keymaps.LAYOUTS; None means that of the architecture's default weights.
    Raises ValueError for an unknown architecture, CheckpointError for a layout in which it cannot be written.
    """
    state = golden_state(architecture)
    return to_published(state, layout or default_for(architecture).files[0].layout)


def golden_shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter and buffer of `architecture`, under our names."""
    with torch.device("meta"):
        net = build(_known(architecture))
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}


def golden_picture() -> Image.Image:
    """A picture, 301 wide and 277 high: ramps, edges, fine texture and noise in colours that are no greys.

    Made with whole numbers only, so that it is the same to the last bit everywhere.
    """
    y, x = np.mgrid[:277, :301]
    checks = (x // 7 + y // 7) % 2
    rings = ((x - 205) ** 2 + (y - 95) ** 2) // 900 % 2
    noise = (np.random.RandomState(301).random_sample((277, 301, 3)) * 48).astype(np.int64)
    pixels = np.stack([x * 200 // 300 + 40 * rings, y * 200 // 276, (300 - x) * 120 // 300 + 40 * checks], axis=-1)
    pixels += noise * (y > 180)[..., None]
    pixels[40:129, 30:119] = 222, 60, 30
    pixels[(y < 250) & (5 * abs(x - 206) < 3 * (y - 160))] = 250, 214, 70  # a triangle
    pixels[90:201, 60:97] = 28, 150, 120
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def golden_size(architecture: str) -> int:
    """The side of the golden input in pixels: small, but where attention needs whole blocks the published size."""
    config = CONFIGS[_known(architecture)]
    attends = any(block.spatial_attention for stage in config.stages for block in stage.blocks)
    return config.input_size if attends else SMALL_SIDE


def golden_input(architecture: str) -> Tensor:
    """The golden picture as the architecture's default weights want it, at `golden_size`: (1, 3, side, side), float32."""
    preprocessing = default_for(_known(architecture)).preprocessing
    return Transform(preprocessing, input_size=golden_size(architecture))(golden_picture()).unsqueeze(0)


def golden_trace(architecture: str) -> dict[str, Reading]:
    """Point -> what timm's net, in float64 and with the golden weights, has there for the golden input, in order.

    Raises ValueError for an architecture that has no trace.
    """
    with safe_open(paths.data(TRACES), framework="numpy") as file:
        points = json.loads(file.metadata()["points"])
        if architecture not in points:
            raise ValueError(f"There is no golden trace of {architecture!r}; there is one of {', '.join(points)}.")
        shapes = file.get_tensor(f"{architecture}.shapes")  # (points, 4), shorter shapes end in zeros
        values = file.get_tensor(f"{architecture}.values")  # (points, 2 + SAMPLES): mean, std, samples
    return {
        point: Reading(tuple(int(n) for n in shape if n), float(row[0]), float(row[1]), row[2:])
        for point, shape, row in zip(points[architecture], shapes, values, strict=True)
    }


def provenance() -> dict[str, str]:
    """Who made the traces, when, with which versions and by which rule."""
    with safe_open(paths.data(TRACES), framework="numpy") as file:
        return {key: value for key, value in file.metadata().items() if key != "points"}


def _known(architecture: str) -> str:
    if architecture not in CONFIGS:
        raise ValueError(f"There is no architecture {architecture!r}; known are {', '.join(CONFIGS)}.")
    return architecture


def _seeded(seed: str, shape: tuple[int, ...]) -> Tensor:
    """Uniform numbers in a range that suits what the name ends in."""
    ending = seed.rpartition(".")[2]
    if ending == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.long)
    if ending in ("bias", "running_mean"):
        low, high = -0.2, 0.2
    elif ending == "running_var":
        low, high = 0.5, 1.5
    elif len(shape) == 1:  # the scale of a normalisation
        low, high = (0.05, 0.15) if seed.endswith(("expand.norm.weight", "conv2.norm.weight")) else (0.5, 1.5)
    else:  # a table is compared with queries of unit size; anything else is a weight, (out, in, …)
        fan_in = shape[1] if ending.endswith("_table") else math.prod(shape[1:])
        variance = (1 if seed.endswith(LINEAR) else 2) / fan_in
        high = math.sqrt(3 * variance)
        low = -high

    rng = np.random.RandomState(zlib.crc32(seed.encode()))
    numbers = np.empty(math.prod(shape), np.float32)
    piece = 1 << 15  # numbers: small enough to stay in cache, which halves the time
    for start in range(0, numbers.size, piece):
        end = min(start + piece, numbers.size)
        numbers[start:end] = low + (high - low) * rng.random_sample(end - start)
    return torch.from_numpy(numbers.reshape(shape))
