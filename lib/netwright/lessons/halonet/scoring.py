"""Exercise `halonet.scale`: content and position become one logit, and what of it is scaled. Imports the engine and blocks.

Also halo attention around any such function, so that a whole net can be run with it. Imports nets.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netwright.lessons.engine import Check
from netwright.lessons.trying import numbers
from netwright.nets.halonet import HaloAttention

Logits = Callable[[Tensor, Tensor, Tensor], Tensor]


def logits(query: Tensor, key: Tensor, position: Tensor) -> Tensor:
    """How strongly each query asks for each key, before the softmax.

    query: (…, queries, key_dim); key: (…, keys, key_dim); position: (queries, keys, key_dim), the vector that belongs to
    where a key lies as seen from a query. Returns (…, queries, keys).
    """
    content = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return content + torch.einsum("...qd,qkd->...qk", query, position)


# Around it -------------------------------------------------------------------------------------------------------


def position_vectors(layer: HaloAttention, side: int) -> Tensor:
    """What a layer has learnt of each query's place and each key's: (side², window², key_dim), row and column summed."""
    window = layer.block_size + 2 * layer.halo
    offset = torch.arange(window)[None, :] - torch.arange(side)[:, None] + (window - 1)  # (y, u)
    row, column = layer.height_table[offset], layer.width_table[offset]  # (y, u, key_dim) and (x, v, key_dim)
    both = row[:, None, :, None] + column[None, :, None, :]  # (y, x, u, v, key_dim)
    return both.flatten(2, 3).flatten(0, 1)


def attention_weights(layer: HaloAttention, x: Tensor, logits: Logits = logits) -> tuple[Tensor, Tensor]:
    """What every query of a layer makes of its window: weights, and the values that they weigh.

    x: (batch, channels, height, width). Returns (batch, heads, rows, columns, queries, keys), which sum to 1 over the
    keys, and (batch, heads, rows, columns, keys, value_dim); rows and columns are of blocks.
    """
    query, key_value = layer.query(x), layer.key_value(x)
    heads, block_size, halo, dim = layer.heads, layer.block_size, layer.halo, layer.key_dim
    rows, columns, window = x.shape[2] // block_size, x.shape[3] // block_size, block_size + 2 * halo
    side = query.shape[2] // rows
    q = query.unflatten(1, (heads, dim)).unflatten(4, (columns, side)).unflatten(3, (rows, side))
    q = q.permute(0, 1, 3, 5, 4, 6, 2).flatten(4, 5)  # (batch, heads, rows, columns, queries, key_dim)
    windows = F.pad(key_value, (halo,) * 4).unfold(2, window, block_size).unfold(3, window, block_size)
    windows = windows.unflatten(1, (heads, -1)).flatten(5, 6).permute(0, 1, 3, 4, 5, 2)
    k, v = windows.split((dim, layer.value_dim), dim=-1)
    return logits(q, k, position_vectors(layer, side)).softmax(-1), v


class _Attends(nn.Module):
    """A halo attention layer that gets its logits from a given function; slow, and easy to change."""

    def __init__(self, layer: HaloAttention, logits: Logits):
        super().__init__()
        self.query, self.key_value, self.pool = layer.query, layer.key_value, layer.pool
        self.height_table, self.width_table = layer.height_table, layer.width_table
        self.heads, self.block_size, self.halo = layer.heads, layer.block_size, layer.halo
        self.key_dim, self.value_dim = layer.key_dim, layer.value_dim
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        weights, values = attention_weights(self, x, self.logits)
        side = round(weights.shape[4] ** 0.5)
        out = (weights @ values).unflatten(4, (side, side))  # (batch, heads, rows, columns, y, x, value_dim)
        out = out.permute(0, 1, 6, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4).flatten(1, 2)
        return self.pool(out)


def with_logits(net: nn.Module, logits: Logits) -> nn.Module:
    """`net`, changed: each of its halo attention layers now gets its logits from the given function. Returns `net`."""
    for name, module in list(net.named_modules()):
        if isinstance(module, HaloAttention):
            parent, _, child = name.rpartition(".")
            setattr(net.get_submodule(parent), child, _Attends(module, logits))
    return net


# The check -------------------------------------------------------------------------------------------------------

SHAPES = (((1,), 2, 3, 4), ((2, 3), 4, 9, 16), ((2, 2, 3), 9, 5, 3), ((1, 2, 1, 2), 4, 4, 1), ((), 5, 4, 6))


def _measure(theirs: Logits) -> Iterator[tuple[str, Any]]:
    for before, queries, keys, dim in SHAPES:
        where = f"of {queries} queries and {keys} keys of {dim} numbers, with {before or 'nothing'} before them"
        query, key = numbers(*before, queries, dim, of="query"), numbers(*before, keys, dim, of="key")
        position = numbers(queries, keys, dim, of="position")
        inputs = {"query": query, "key": key, "position": position}
        copies = {name: tensor.clone() for name, tensor in inputs.items()}
        traced = query.clone().requires_grad_()
        yield f"the logits {where}", theirs(query, key, position)
        yield f"what the function was given {where}, once it has run,", inputs
        yield f"the logits {where}, all positions zero,", theirs(copies["query"], copies["key"], 0 * position)
        out = theirs(traced * 1, copies["key"], position)
        (gradient,) = torch.autograd.grad(out.square().sum(), traced)
        yield f"the gradient of the queries {where}", gradient


def _content(query: Tensor, key: Tensor) -> Tensor:
    return query @ key.transpose(-1, -2)


def _position(query: Tensor, position: Tensor) -> Tensor:
    return torch.einsum("...qd,qkd->...qk", query, position)


def _in_place(query, key, position):
    content = query.mul_(query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    return content + _position(query * query.shape[-1] ** 0.5, position)


def _wrong(function):
    """function(content, position, key_dim, keys), both unscaled."""

    def wrong(query, key, position):
        return function(_content(query, key), _position(query, position), query.shape[-1], key.shape[-2])

    return wrong


MISTAKES = {
    "that scales content and position alike, as Shaw et al. 2018 and many ports do": _wrong(
        lambda content, position, dim, keys: (content + position) * dim**-0.5
    ),
    "that scales neither, as the paper's equation is printed": _wrong(
        lambda content, position, dim, keys: content + position
    ),
    "that scales the position and not the content": _wrong(
        lambda content, position, dim, keys: content + position * dim**-0.5
    ),
    "that divides by key_dim, not by its square root": _wrong(
        lambda content, position, dim, keys: content / dim + position
    ),
    "that multiplies by the square root of key_dim": _wrong(
        lambda content, position, dim, keys: content * dim**0.5 + position
    ),
    "that scales by the number of keys": _wrong(lambda content, position, dim, keys: content * keys**-0.5 + position),
    "that forgets the position": _wrong(lambda content, position, dim, keys: content * dim**-0.5),
    "that has already taken the softmax": _wrong(
        lambda content, position, dim, keys: (content * dim**-0.5 + position).softmax(-1)
    ),
    "that subtracts the position": _wrong(lambda content, position, dim, keys: content * dim**-0.5 - position),
    "that compares the position with the key": lambda query, key, position: (
        _content(query, key) * query.shape[-1] ** -0.5 + torch.einsum("...kd,qkd->...qk", key, position)
    ),
    "whose position is a bias, the same whatever a query holds (as in Swin)": lambda query, key, position: (
        _content(query, key) * query.shape[-1] ** -0.5 + position.sum(-1)
    ),
    "that scales the content twice and the position once": _wrong(
        lambda content, position, dim, keys: (content * dim**-0.5 + position) * dim**-0.5
    ),
    "that overwrites the query": _in_place,
}

CHECKS = (
    Check(
        id="halonet.scale",
        minutes=4,
        difficulty="medium",
        ours=logits,
        measure=_measure,
        mistakes=MISTAKES,
        hints=(
            "Two sums: over a query and a key, and over a query and the position vector of that query and that key. Which one is scaled?",
            (
                "The content is query @ key.transpose(-1, -2). The position has a vector for each *pair*, so no matrix "
                "product will do: multiply query.unsqueeze(-2) by it and sum over the last dimension, or use torch.einsum."
            ),
            (
                "content * query.shape[-1] ** -0.5 + torch.einsum('...qd,qkd->...qk', query, position): the query is scaled "
                "for the content only, and in a new tensor."
            ),
        ),
    ),
)
