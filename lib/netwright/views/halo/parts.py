"""A halo attention layer taken apart: its windows, its logits, its weights, and what can be read off them.

Written from the paper's formula and from what the layer's projections put out, not from the nets' own code, so that
each checks the other. Imports nothing of the project.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PARTS = ("query", "key_value", "height_table", "width_table", "heads", "block_size", "halo")  # that a layer has
MASSES = ("own block", "halo ring", "padding")
STATISTICS = ("effective keys", "distance", *MASSES, "position share")


def is_halo_layer(module: nn.Module) -> bool:
    """Whether a module is halo attention, ours or a reader's: it has the parts, under the names that ours has."""
    named = all(hasattr(module, part) for part in PARTS)
    return named and all(isinstance(getattr(module, part), nn.Module) for part in PARTS[:2])


def halo_layers(net: nn.Module) -> list[str]:
    """The names of the halo attention layers of a net, in the order in which it holds them."""
    return [name for name, module in net.named_modules() if is_halo_layer(module)]


@dataclass(frozen=True)
class HaloLayer:
    """One halo attention layer, and what its projections made of one picture. All float32.

    query: (heads, y, x, key_dim); key: (heads, height, width, key_dim); value: (heads, height, width, value_dim);
    height_table, width_table: (2 * window - 1, key_dim); output: (heads * value_dim, y, x), or half of y and x if the
    layer ends in a 2x2 mean; input: (channels, height, width). pixels: of the picture, along the side of one key.
    """

    name: str
    query: Tensor
    key: Tensor
    value: Tensor
    height_table: Tensor
    width_table: Tensor
    block_size: int
    halo: int
    output: Tensor
    input: Tensor
    pixels: float

    @classmethod
    def from_captured(cls, name: str, module: nn.Module, seen: Mapping[str, Tensor], picture_height: int):
        """From a layer and what a probe saw at its `places`. Raises ValueError for shapes that are not halo attention's."""
        query, key_value, output, given = (seen[place][0].float() for place in places(name))
        heads, block, halo = int(module.heads), int(module.block_size), int(module.halo)
        tables = [getattr(module, part).detach().float() for part in ("height_table", "width_table")]
        key_dim, (height, width) = len(query) // heads, key_value.shape[1:]
        rows = 2 * (block + 2 * halo) - 1
        if any(tuple(table.shape) != (rows, key_dim) for table in tables) or height % block or width % block:
            raise ValueError(
                f"{name} has queries of {tuple(query.shape)}, keys and values of {tuple(key_value.shape)} and tables of "
                f"{tuple(tables[0].shape)}. Halo attention with {heads} heads, blocks of {block} and a halo of {halo} "
                f"needs tables of {(rows, key_dim)} and a map that its blocks tile."
            )
        split = key_value.unflatten(0, (heads, -1)).permute(0, 2, 3, 1)  # (heads, height, width, key_dim + value_dim)
        query = query.unflatten(0, (heads, key_dim)).permute(0, 2, 3, 1)
        key, value = split[..., :key_dim], split[..., key_dim:]
        return cls(name, query, key, value, *tables, block, halo, output, given, picture_height / height)

    @property
    def heads(self) -> int:
        return len(self.query)

    @property
    def key_dim(self) -> int:
        return self.query.shape[-1]

    @property
    def window(self) -> int:
        """Keys along the side of what a query sees."""
        return self.block_size + 2 * self.halo

    @property
    def map_size(self) -> tuple[int, int]:
        """Height and width of the map of keys."""
        return tuple(self.key.shape[1:3])

    @property
    def query_size(self) -> tuple[int, int]:
        """Height and width of the map of queries."""
        return tuple(self.query.shape[1:3])

    @property
    def stride(self) -> int:
        """From one query to the next, in keys."""
        return self.map_size[0] // self.query_size[0]

    @property
    def side(self) -> int:
        """Queries along the side of a block."""
        return self.block_size // self.stride


def places(name: str) -> tuple[str, str, str, str]:
    """What a probe has to capture of a layer: queries, keys and values, what it put out, what went in."""
    return f"{name}.query", f"{name}.key_value", name, f">{name}"


# The formula -----------------------------------------------------------------------------------------------------


def windows(maps: Tensor, block: int, halo: int) -> Tensor:
    """What each block sees: (n, height, width, dim) to (n, rows, columns, u, v, dim), zeros outside of the map."""
    around = F.pad(maps, (0, 0, halo, halo, halo, halo))
    size = block + 2 * halo
    return around.unfold(1, size, block).unfold(2, size, block).movedim(3, -1)


def into_blocks(maps: Tensor, side: int) -> Tensor:
    """One entry a query: (n, height, width, …) to (n, rows, columns, y, x, …), y and x inside of the block."""
    n, height, width = maps.shape[:3]
    return maps.reshape(n, height // side, side, width // side, side, *maps.shape[3:]).transpose(2, 3)


def from_blocks(blocks: Tensor) -> Tensor:
    """Back: (n, rows, columns, y, x, …) to (n, height, width, …)."""
    return blocks.transpose(2, 3).flatten(1, 2).flatten(2, 3)


def content_logits(layer: HaloLayer) -> Tensor:
    """What is there: query · key / sqrt(key_dim). (heads, rows, columns, y, x, u, v); 0 for padding."""
    q, k = into_blocks(layer.query, layer.side), windows(layer.key, layer.block_size, layer.halo)
    return torch.einsum("nrcyxd,nrcuvd->nrcyxuv", q, k) / layer.key_dim**0.5


def table_rows(layer: HaloLayer) -> Tensor:
    """The row of a table that query y of a block reads for row u of its window: (y, u).

    The first row belongs to the offset -(window - 1), counted from u - y. Row u of the window lies `halo` above row u of
    the block, so a query meets itself at window - 1 + halo, not at the centre.
    """
    u, y = torch.arange(layer.window), torch.arange(layer.side)
    return u[None, :] - y[:, None] + layer.window - 1


def position_logits(layer: HaloLayer) -> Tensor:
    """Where it is: query · (row of the height table + row of the width table), not scaled. Shape as content's."""
    q, read = into_blocks(layer.query, layer.side), table_rows(layer)
    down = torch.einsum("nrcyxd,yud->nrcyxu", q, layer.height_table[read])
    right = torch.einsum("nrcyxd,xvd->nrcyxv", q, layer.width_table[read])
    return down[..., :, None] + right[..., None, :]


def attention_weights(logits: Tensor, seen: Tensor | None = None) -> Tensor:
    """Softmax over the window (u, v). seen: which keys count, broadcast to the logits; None is all, as in the nets."""
    if seen is not None:
        logits = logits.masked_fill(~seen, -torch.inf)
    return logits.flatten(-2).softmax(-1).view_as(logits)


def attended_at_queries(layer: HaloLayer, weights: Tensor) -> Tensor:
    """The sum of the values with these weights, for every query: (heads * value_dim, y, x)."""
    v = windows(layer.value, layer.block_size, layer.halo)
    out = from_blocks(torch.einsum("nrcyxuv,nrcuvd->nrcyxd", weights, v))  # (heads, y, x, value_dim)
    return out.permute(0, 3, 1, 2).flatten(0, 1)


def attended(layer: HaloLayer, weights: Tensor) -> Tensor:
    """What the layer puts out with these weights: as `attended_at_queries`, after its 2x2 mean if it has one."""
    out = attended_at_queries(layer, weights)
    shrinks = out.shape[1] // layer.output.shape[1] if layer.output.ndim == 3 else 1
    return F.avg_pool2d(out, shrinks) if shrinks > 1 else out


# What is seen in them --------------------------------------------------------------------------------------------


def inside(layer: HaloLayer) -> Tensor:
    """Which keys of each block's window lie in the picture: (rows, columns, u, v)."""
    ones = torch.ones(1, *layer.map_size, 1, device=layer.key.device)
    return windows(ones, layer.block_size, layer.halo)[0, ..., 0] > 0


def own_block(layer: HaloLayer, rings: int = 0) -> Tensor:
    """Which keys of a window lie in its block, or in the `rings` around it too: (u, v)."""
    u = torch.arange(layer.window, device=layer.key.device)
    near = (u >= layer.halo - rings) & (u < layer.halo + layer.block_size + rings)
    return near[:, None] & near[None, :]


def padding_share(layer: HaloLayer) -> Tensor:
    """The share of each block's window that lies outside of the picture, from its geometry alone: (rows, columns)."""

    def seen(length: int) -> Tensor:
        start = torch.arange(0, length, layer.block_size, device=layer.key.device)
        end = (start + layer.block_size + layer.halo).clamp(max=length)
        return end - (start - layer.halo).clamp(min=0)

    height, width = layer.map_size
    return 1 - seen(height)[:, None] * seen(width)[None, :] / layer.window**2


def masses(layer: HaloLayer, weights: Tensor) -> Tensor:
    """How much of its attention each query gives to its own block, to the halo ring and to padding: (heads, y, x, 3)."""
    valid, own = inside(layer)[:, :, None, None], own_block(layer)  # (rows, columns, 1, 1, u, v), (u, v)
    three = [(weights * where).sum((-2, -1)) for where in (own & valid, valid & ~own, ~valid)]
    return from_blocks(torch.stack(three, -1))


def distances(layer: HaloLayer) -> Tensor:
    """From each query of a block to each key of its window, in pixels of the picture: (y, x, u, v)."""
    u = torch.arange(layer.window, device=layer.key.device)
    y = torch.arange(layer.side, device=layer.key.device)
    offset = (u[None, :] - layer.halo - layer.stride * y[:, None]) * layer.pixels
    return torch.hypot(offset[:, None, :, None], offset[None, :, None, :])


def statistics(layer: HaloLayer, content: Tensor, position: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Of every query and head, by the names in STATISTICS: (heads, y, x) each.

    effective keys: e to the entropy of the weights over the keys in the picture, which then sum to 1: how many keys
    would be looked at if all were looked at alike. distance: their mean distance from the query, in pixels of the
    picture. The three masses. position share: the variance of the position logits over the window, as a share of its
    sum with that of the content (which the softmax cannot tell from any constant added to all).
    """
    seen = weights * inside(layer)[:, :, None, None]
    seen = seen / seen.sum((-2, -1), keepdim=True).clamp(min=1e-30)
    effective = torch.special.entr(seen).sum((-2, -1)).exp()
    distance = (seen * distances(layer)).sum((-2, -1))
    spread = position.flatten(-2).var(-1, correction=0)
    share = spread / (spread + content.flatten(-2).var(-1, correction=0)).clamp(min=1e-30)
    found = dict(zip(("effective keys", "distance", "position share"), (effective, distance, share), strict=True))
    found = {name: from_blocks(value) for name, value in found.items()}
    found |= dict(zip(MASSES, masses(layer, weights).unbind(-1), strict=True))
    return {name: found[name] for name in STATISTICS}


def border_test(layer: HaloLayer, weights: Tensor) -> dict[str, float | None]:
    """How much the map changes from one query to its right or lower neighbour, across a border of blocks and within.

    Mean distances of the layer's output ("across", "within") and the ratio of the two ("output ratio"); the same ratio
    for what went into the layer ("input ratio"), which knows of no blocks. None where a block is one
    query or the map one block.
    """
    out = attended_at_queries(layer, weights)  # (dim, y, x)
    given = layer.input[:, :: layer.stride, :: layer.stride]
    found = {"across": None, "within": None, "output ratio": None, "input ratio": None}
    if layer.side < 2 or max(layer.query_size) <= layer.side:  # one query a block, or one block
        return found
    for key, maps in (("output ratio", out), ("input ratio", given)):
        steps = {True: [], False: []}
        for axis in (1, 2):
            change = maps.diff(dim=axis).norm(dim=0).movedim(axis - 1, 0)  # (steps, along the border)
            border = torch.arange(1, len(change) + 1, device=change.device) % layer.side == 0
            for crossing in (True, False):
                steps[crossing].append(change[border == crossing].flatten())
        across, within = (float(torch.cat(steps[crossing]).mean()) for crossing in (True, False))
        found[key] = across / within if within > 0 else None
        if key == "output ratio":
            found |= {"across": across, "within": within}
    return found
