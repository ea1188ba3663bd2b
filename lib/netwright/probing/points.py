"""Trace points: the places along a net that a golden trace reads, and where they lie in nets with other names.

Imports keymaps.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from netwright.weights.keymaps import LAYOUTS

SAMPLES = 16  # values that are kept of each point
PARTS = ("conv1", "conv2", "reduce", "middle", "gate", "expand", "shortcut")  # of a block, as our nets call them

# For each layout, where a point lies: "conv3" is what comes out of that module, ">conv3" what goes into it. That makes
# points visible that lie between two modules, as the end of conv1-bn1-relu does where one ReLU serves a whole block.
# A point has several places where the kinds of block differ; the first that a net has counts.
TRUNK = {
    "netwright": {"stem": "stem", "final_conv": "final_conv", "pooled": ">classifier", "logits": ""},
    "torchvision": {"stem": "maxpool", "pooled": ">fc", "logits": ""},
    "openmmlab": {"stem": "backbone.maxpool", "pooled": ">head.fc", "logits": "head.fc"},
    "resnest": {"stem": "maxpool", "pooled": ">fc", "logits": ""},
    "byobnet": {"stem": "stem", "final_conv": "final_conv", "pooled": ">head.fc", "logits": ""},
}
_RESNET_BLOCK = {
    "conv1": (">conv2",),
    "conv2": ("bn2",),
    "reduce": (">conv2",),
    "middle": (">conv3",),
    "expand": ("bn3",),
    "shortcut": ("downsample",),
}
BLOCK = {
    "netwright": {part: (part,) for part in PARTS},
    "torchvision": _RESNET_BLOCK,
    "openmmlab": _RESNET_BLOCK,
    # Between reduce and conv2 there may be the average pool, so only timm's nets, which name their ReLUs, show reduce.
    "resnest": _RESNET_BLOCK | {"reduce": ("act1",)},
    "byobnet": {
        "reduce": ("conv1_1x1",),
        "middle": ("post_attn", "conv2_kxk"),
        "gate": ("attn",),
        "expand": ("conv3_1x1",),
        "shortcut": ("shortcut",),
    },
}


@dataclass(frozen=True, eq=False)
class Reading:
    """What is kept of a tensor at a point: its shape, mean, standard deviation and sampled values (SAMPLES,)."""

    shape: tuple[int, ...]
    mean: float
    std: float
    samples: np.ndarray


def read(point: str, tensor: Tensor) -> Reading:
    """The reading of `tensor` in float64. Where it is sampled depends on the point's name and the tensor's size only."""
    flat = tensor.detach().to("cpu", torch.float64).flatten()
    rng = np.random.RandomState(zlib.crc32(point.encode()))
    positions = (rng.random_sample(SAMPLES) * flat.numel()).astype(np.int64)
    return Reading(tuple(tensor.shape), flat.mean().item(), flat.std(correction=0).item(), flat.numpy()[positions])


def trace_points(net: nn.Module) -> list[str]:
    """The points of one of our nets, in order: input, stem, for each block its parts and itself, …, pooled, logits."""
    points = ["input", "stem"]
    for name, block in net.stages.named_modules(prefix="stages"):
        if name.count(".") == 2:  # stages.0.0
            parts = dict(block.named_children())
            points += [f"{name}.{part}" for part in PARTS if not isinstance(parts.get(part), nn.Identity | None)]
            points.append(name)
    if not isinstance(net.final_conv, nn.Identity):
        points.append("final_conv")
    return [*points, "pooled", "logits"]


def places(point: str, layout: str) -> tuple[str, ...]:
    """Where `point` may lie in a net of `layout`, as in the tables above; empty if it is never visible there."""
    if not point.startswith("stages."):
        return (TRUNK[layout][point],) if point in TRUNK[layout] else ()
    _, stage, block, *part = point.split(".")
    prefix = f"stages.{stage}.{block}"
    if layout != "netwright":
        names = LAYOUTS[layout]
        prefix = names.block.format(stage=int(stage) + names.first_stage, block=block)
    if not part:
        return (prefix,)
    inside = BLOCK[layout].get(part[0], ())
    return tuple(f">{prefix}.{name[1:]}" if name.startswith(">") else f"{prefix}.{name}" for name in inside)


def module_at(net: nn.Module, place: str) -> nn.Module | None:
    """The module that `place` names, or None if the net has none there."""
    try:
        return net.get_submodule(place.removeprefix(">"))
    except AttributeError:
        return None


@dataclass(frozen=True)
class Observed:
    """What one forward pass showed: readings by point, the points whose module had begun, the error that ended it."""

    readings: dict[str, Reading]
    begun: set[str]
    error: Exception | None


def observe(net: nn.Module, where: Mapping[str, str], x: Tensor) -> Observed:
    """Run `net` on x (1, 3, height, width) and read every point of `where`, which maps points to places.

    A tensor is read the moment it is made: the layer after it may overwrite it. An exception in the net ends the run
    and is returned, not raised. The hooks are taken out again in any case.
    """
    readings: dict[str, Reading] = {}
    begun: set[str] = set()
    handles = []

    def keep(point: str, value) -> None:
        if point not in readings and isinstance(value, Tensor):  # a module that runs twice counts the first time
            readings[point] = read(point, value)

    def watch(point: str, place: str) -> None:
        def before(module, args):
            begun.add(point)
            if place.startswith(">") and args:
                keep(point, args[0])

        def after(module, args, output):
            keep(point, output)

        module = module_at(net, place)
        handles.append(module.register_forward_pre_hook(before))
        if not place.startswith(">"):
            handles.append(module.register_forward_hook(after))

    error = None
    try:
        for point, place in where.items():
            watch(point, place)
        with torch.no_grad():
            net(x)
    except Exception as raised:  # noqa: BLE001  any error of the net is an answer, not ours to choose
        error = raised
    finally:
        for handle in handles:
            handle.remove()
    return Observed(readings, begun, error)
