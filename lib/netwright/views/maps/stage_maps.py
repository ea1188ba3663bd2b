"""Which maps a net has, how their channels belong together, which of them a page holds. Imports probing, assembling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.probing.capture import Probe, evaluating, hooked
from netwright.views.frame.assembling import Half

SPLITS = "middle.attention.norm"  # ResNeSt: the splits before their activation; the activation module runs twice
FEWEST, MOST = 5, 64  # channels of a place in the page
INSIDE = 3  # fewest channels of a place inside a block
TOP = 5  # channels that are named as the most active ones, and always shown
SMALL = 200  # numbers of a map that is small enough for every group to show a channel


def map_shapes(probe: Probe) -> dict[str, tuple[int, int, int]]:
    """The modules that put out one map, once in a pass, in the order in which they end: name -> its shape."""
    shapes: dict[str, tuple[int, int, int]] = {}
    again: set[str] = set()

    def keep(name: str, out) -> None:
        if name in shapes:
            again.add(name)
        elif isinstance(out, Tensor) and out.ndim == 4 and out.shape[2] * out.shape[3] > 1:
            shapes[name] = tuple(out.shape[1:])

    hooks = [
        (lambda module=module, name=name: module.register_forward_hook(lambda _, given, out: keep(name, out)))
        for name, module in probe.net.named_modules()
        if name and not isinstance(module, nn.Identity)
    ]
    with evaluating(probe.net), hooked(hooks), torch.no_grad():
        probe.net(probe.input)
    return {name: shape for name, shape in shapes.items() if name not in again}


def one_whole_pass(probe: Probe, places) -> dict[str, np.ndarray]:
    """What plain hooks see while the whole net runs: nothing of the probe's own capturing is used."""
    seen: dict[str, np.ndarray] = {}

    def keep(place):
        return lambda _, given, out: seen.__setitem__(place, out.detach()[0].float().cpu().numpy().copy())

    hooks = [
        (lambda place=place: probe.net.get_submodule(place).register_forward_hook(keep(place))) for place in places
    ]
    with evaluating(probe.net), hooked(hooks), torch.no_grad():
        probe.net(probe.input)
    return seen


@dataclass(frozen=True)
class Grouping:
    """The channels of a place in equal runs: `count` of them, each a "group", "split" or "head"."""

    kind: str
    count: int


def grouping(net: nn.Module, place: str, channels: int) -> Grouping | None:
    """How the channels of a place belong together, as its module or the block around it says."""
    module = net.get_submodule(place)
    parent = net.get_submodule(place.rpartition(".")[0])
    inside = (module, getattr(module, "attention", None), getattr(module, "conv", None))
    if place.endswith(SPLITS) and getattr(parent, "radix", 1) > 1:
        return Grouping("split", parent.radix)
    if isinstance(heads := getattr(inside[1], "heads", getattr(module, "heads", None)), int):
        return Grouping("head", heads) if channels % heads == 0 else None
    if isinstance(cardinality := getattr(inside[1], "cardinality", None), int) and cardinality > 1:
        return Grouping("group", cardinality)
    if place.endswith(".reduce"):  # what it puts out is read group by group
        inside = (getattr(getattr(parent, "middle", None), "conv", None),)
    for it in inside:
        if isinstance(it, nn.Conv2d) and 1 < it.groups < channels and channels % it.groups == 0:
            return Grouping("group", it.groups)
    return None


def order_of(mean: np.ndarray, energy: np.ndarray, groups: Grouping | None) -> list[int]:
    """All channels as they are worth showing: the TOP by mean, then of every group its strongest, its second, …"""
    by_group = np.asarray(energy).reshape(groups.count if groups else 1, -1)
    order = np.argsort(-by_group, axis=1, kind="stable")  # (groups, channels of a group), strongest first
    numbers = order + np.arange(len(by_group))[:, None] * by_group.shape[1]
    top = np.argsort(-np.asarray(mean), kind="stable")[:TOP].tolist()
    return list(dict.fromkeys([*top, *numbers.T.ravel().tolist()]))


def channels_that_fit(shapes: dict[str, tuple[int, int, int]], groups, inside, budget: int) -> dict[str, int]:
    """How many channels of each place fit: as many numbers everywhere, but never fewer than FEWEST channels.

    groups: place -> its Grouping or None; of a small map, every group gets one beside the TOP. inside: the places
    inside of blocks.
    """

    def fewest(place: str) -> int:
        small = math.prod(shapes[place][1:]) <= SMALL
        return groups[place].count + TOP if small and groups[place] else INSIDE if place in inside else FEWEST

    def given(share: float) -> dict[str, int]:
        return {
            place: min(channels, MOST, max(fewest(place), int(share / (height * width))))
            for place, (channels, height, width) in shapes.items()
        }

    def size(share: float) -> int:
        return sum(count * math.prod(shapes[place][1:]) for place, count in given(share).items())

    low, high = 0.0, float(budget)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if size(middle) <= budget else (low, middle)
    return given(low)


def in_two_bytes(array: np.ndarray) -> dict[str, Any]:
    """Half precision of array / unit, where the unit, a power of two, keeps the largest number below 1024."""
    largest = float(np.abs(array).max(initial=0))
    unit = 2.0 ** (math.floor(math.log2(largest)) - 9) if largest > 0 else 1.0
    return {"values": Half(array / unit), "unit": unit}
