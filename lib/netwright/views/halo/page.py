"""What the page of a halo layer gets: queries and keys in few bits, so that a browser can attend itself.

Imports parts and assembling.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from netwright.views.frame.assembling import Half
from netwright.views.halo import parts
from netwright.views.halo.parts import HaloLayer

BITS = 12  # of a query's or a key's number: to a quarter of a thousandth of the largest in its channel
FEWER_BITS = 8  # in the random twin of a net with so many numbers that two copies of 12 bits make a page of over 3 MB
MANY = 500_000
WITHIN = {BITS: 3e-2, FEWER_BITS: 1e-1}  # how far a weight of the copy may be off, anywhere: as many shares of all


def levels(maps: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Whole numbers of `bits` bits and their step, one a head and channel: maps is about levels * step.

    maps: (heads, y, x, dim). Returns (heads, y, x, dim) int32 and (heads, dim) float32.
    """
    most = 2 ** (bits - 1) - 1
    step = maps.abs().amax((1, 2)).clamp(min=1e-20) / most
    return (maps / step[:, None, None]).round().clamp(-most, most).int(), step


def twin_bits(layers: Iterable[HaloLayer]) -> int:
    """The bits that a random twin gets, so that the page with both stays within 3 MB."""
    return BITS if sum(layer.query.numel() + layer.key.numel() for layer in layers) <= MANY else FEWER_BITS


def packed(maps: Tensor, bits: int) -> dict[str, Any]:
    """Levels as bytes: "high" (…,) int8, the upper 8 bits; "low" uint8, two lower halves a byte, or None; "step"."""
    whole, step = levels(maps, bits)
    if bits == 8:
        return {"shape": list(maps.shape), "high": whole.to(torch.int8).flatten(), "low": None, "step": step}
    low = (whole & 15).flatten()
    low = torch.cat([low, low.new_zeros(len(low) % 2)]).unflatten(0, (-1, 2))
    low = (low[:, 0] + 16 * low[:, 1]).to(torch.uint8)
    return {"shape": list(maps.shape), "high": (whole >> 4).to(torch.int8).flatten(), "low": low, "step": step}


def as_in_page(layer: HaloLayer, bits: int) -> HaloLayer:
    """The layer with the queries and keys that its page has."""
    rounded = {}
    for name in ("query", "key"):
        whole, step = levels(getattr(layer, name), bits)
        rounded[name] = whole * step[:, None, None]
    return replace(layer, **rounded)


def layer_payload(layer: HaloLayer, quantiles: Tensor, ranges: dict[str, list[float]], bits: int) -> dict[str, Any]:
    """All that halo.js needs of one layer. quantiles: (statistics, heads, 6); ranges: lowest and highest, by mode."""
    if not all(math.isfinite(limit) for pair in ranges.values() for limit in pair):
        raise ValueError(f"{layer.name} holds numbers that are not finite, which cannot be shown.")
    return {
        "name": layer.name,
        "heads": layer.heads, "keyDim": layer.key_dim, "block": layer.block_size, "halo": layer.halo,
        "stride": layer.stride, "side": layer.side, "window": layer.window,
        "map": list(layer.map_size), "queries": list(layer.query_size), "pixels": layer.pixels,
        "query": packed(layer.query, bits), "key": packed(layer.key, bits),
        "valueNorm": Half(layer.value.norm(dim=-1)),
        "heightTable": layer.height_table, "widthTable": layer.width_table,
        "quantiles": quantiles, "ranges": ranges,
    }  # fmt: skip


def value_weighted(layer: HaloLayer, weights: Tensor) -> Tensor:
    """How much each key brings to the output: its weight times the length of its value. Shape as the weights."""
    length = parts.windows(layer.value.norm(dim=-1, keepdim=True), layer.block_size, layer.halo)[..., 0]
    return weights * length[:, :, :, None, None]
