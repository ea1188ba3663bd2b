"""Exercises `halo.attend` and `halo.padding_mass`: softmax over one window, and how much of it falls outside the map.

Imports the engine and, of this room, cutting.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from netwright.lessons.engine import Check
from netwright.lessons.halo.cutting import windows
from netwright.lessons.trying import Numbers


def attend(q: Tensor, k: Tensor, v: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    """Every query looks at the keys of its window; what it sees is a mean of their values.

    q: (…, queries, dim); k: (…, keys, dim); v: (…, keys, value_dim); position: (…, queries, keys), added as it is.
    Returns the means (…, queries, value_dim) and the weights (…, queries, keys), which sum to 1 over the keys.
    """
    content = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    weights = (content + position).softmax(dim=-1)
    return weights @ v, weights


def padding_mass(weights: Tensor, rows: int, columns: int, halo: int) -> Tensor:
    """The share of each query's attention that falls outside the map.

    weights: (batch, heads, blocks, queries, keys) of a map of rows x columns blocks. Returns (batch, heads, blocks,
    queries), between 0 and 1.
    """
    block_size = math.isqrt(weights.shape[-1]) - 2 * halo
    ones = torch.ones(1, 1, rows * block_size, columns * block_size, dtype=weights.dtype)
    inside = windows(ones, 1, block_size, halo)  # (1, 1, blocks, keys, 1): 1 in the map, 0 outside
    return (weights @ (1 - inside)).squeeze(-1)


# Attend --------------------------------------------------------------------------------------------------------


def _measure_attend(theirs: Callable) -> Iterator[tuple[str, Any]]:
    numbers = Numbers()
    for leading, queries, keys, dim, value_dim, size in (
        ((), 3, 5, 2, 4, 1.0),
        ((2, 3, 2), 4, 9, 5, 2, 1.0),
        ((2,), 6, 4, 3, 3, 1.0),
        ((1, 2), 2, 7, 4, 3, 50.0),
    ):
        shapes = (queries, dim), (keys, dim), (keys, value_dim), (queries, keys)
        tensors = [numbers(*leading, *shape) for shape in shapes]
        tensors[0] *= size
        tensors[1] *= size
        before = [t.clone() for t in tensors]
        out, weights = theirs(*tensors)
        where = f"of {queries} queries and {keys} keys of {dim} numbers, leading axes {leading}"
        where += ", with large logits" if size > 1 else ""
        yield f"the answer to whether all weights {where} are numbers", bool(weights.isfinite().all())
        yield f"the weights {where}", weights.nan_to_num()
        yield f"the means {where}", out.nan_to_num()
        for name, after, original in zip(("q", "k", "v", "position"), tensors, before, strict=True):
            yield f"the change of {name}, once your function has seen it, {where}", (after - original).abs().max()


def _attend(*, logits=None, softmax=None, values=None):
    """`attend` with one thing wrong in it."""

    def wrong(q, k, v, position):
        d = q.shape[-1]
        x = logits(q, k, v, position) if logits else q @ k.transpose(-1, -2) / math.sqrt(d) + position
        weights = softmax(x) if softmax else x.softmax(-1)
        return (values(weights, v) if values else weights @ v), weights

    return wrong


def _position_outside(q: Tensor, k: Tensor, v: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) + position
    return weights @ v, weights


def _overwrites(q: Tensor, k: Tensor, v: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    q /= math.sqrt(q.shape[-1])
    weights = (q @ k.transpose(-1, -2) + position).softmax(-1)
    return weights @ v, weights


def _scores(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.transpose(-1, -2)


# Padding -------------------------------------------------------------------------------------------------------


def _measure_padding(theirs: Callable) -> Iterator[tuple[str, Any]]:
    numbers = Numbers()
    for batch, heads, rows, columns, block_size, halo, side in (
        (2, 2, 2, 3, 2, 1, 2),
        (1, 3, 3, 1, 3, 2, 3),
        (2, 1, 1, 4, 2, 3, 2),
        (1, 2, 3, 4, 4, 1, 2),
        (1, 1, 2, 2, 2, 0, 2),
    ):
        weights = (2 * numbers(batch, heads, rows * columns, side**2, (block_size + 2 * halo) ** 2)).softmax(-1)
        before = weights.clone()
        out = theirs(weights, rows, columns, halo)
        where = f"of {rows}x{columns} blocks of {block_size}x{block_size} with a halo of {halo}"
        yield f"the shape of the shares {where}", tuple(out.shape)
        if halo:
            yield f"the shares {where}", out.clone()
        else:  # 1 less what falls inside may be a rounding error away from 0
            yield f"the answer to whether nothing falls outside {where}", bool(out.abs().max() < 1e-9)
        yield f"the change of the weights, once your function has seen them, {where}", (weights - before).abs().max()


def _inside(weights: Tensor, rows: int, columns: int, halo: int) -> Tensor:
    """(blocks, keys): 1 in the map, 0 outside."""
    block_size = math.isqrt(weights.shape[-1]) - 2 * halo
    ones = torch.ones(1, 1, rows * block_size, columns * block_size, dtype=weights.dtype)
    return windows(ones, 1, block_size, halo)[0, 0, :, :, 0]


def _ring(weights: Tensor, halo: int) -> Tensor:
    """(keys,): 1 in the halo, 0 in the block."""
    window = math.isqrt(weights.shape[-1])
    near = torch.arange(window)
    near = (near >= halo) & (near < window - halo)
    return 1 - (near[:, None] & near[None, :]).flatten().to(weights.dtype)


def _exchanged(weights: Tensor, rows: int, columns: int, halo: int) -> Tensor:
    return padding_mass(weights, columns, rows, halo)


def _keys_turned(weights: Tensor, rows: int, columns: int, halo: int) -> Tensor:
    outside = 1 - _inside(weights, rows, columns, halo)
    window = math.isqrt(outside.shape[-1])
    outside = outside.unflatten(1, (window, window)).transpose(1, 2).flatten(1)
    return torch.einsum("bncqk,ck->bncq", weights, outside)


def _edges_only(weights: Tensor, rows: int, columns: int, halo: int) -> Tensor:
    """Above and below, but not at the sides."""
    window = math.isqrt(weights.shape[-1])
    u = torch.arange(window)
    block_size = window - 2 * halo
    y = torch.arange(rows)[:, None] * block_size - halo + u  # (rows, window)
    outside = ((y < 0) | (y >= rows * block_size)).to(weights.dtype)
    outside = outside[:, None, :, None].expand(rows, columns, window, window).reshape(rows * columns, -1)
    return torch.einsum("bncqk,ck->bncq", weights, outside)


def _nearest_ring(weights: Tensor, rows: int, columns: int, halo: int) -> Tensor:
    """Off by one: the first row and column outside the map counts as inside."""
    window = math.isqrt(weights.shape[-1])
    block_size = window - 2 * halo

    def outside(count):
        place = torch.arange(count)[:, None] * block_size - halo + torch.arange(window)
        return (place < -1) | (place > count * block_size)

    both = outside(rows)[:, None, :, None] | outside(columns)[None, :, None, :]
    return torch.einsum("bncqk,ck->bncq", weights, both.flatten(2).flatten(0, 1).to(weights.dtype))


def _weighted(of: Callable):
    """A wrong answer made of (weights, outside), outside (blocks, 1, keys)."""

    def wrong(weights, rows, columns, halo):
        return of(weights, (1 - _inside(weights, rows, columns, halo))[:, None])

    return wrong


CHECKS = (
    Check(
        id="halo.attend",
        minutes=5,
        difficulty="easy",
        ours=attend,
        measure=_measure_attend,
        mistakes={
            "that scales the position along with the content": _attend(
                logits=lambda q, k, v, position: (_scores(q, k) + position) / math.sqrt(q.shape[-1])
            ),
            "that scales nothing": _attend(logits=lambda q, k, v, position: _scores(q, k) + position),
            "that divides by the dimension, not by its root": _attend(
                logits=lambda q, k, v, position: _scores(q, k) / q.shape[-1] + position
            ),
            "that multiplies by the root where it should divide": _attend(
                logits=lambda q, k, v, position: _scores(q, k) * math.sqrt(q.shape[-1]) + position
            ),
            "that divides by the root of the values' dimension": _attend(
                logits=lambda q, k, v, position: _scores(q, k) / math.sqrt(v.shape[-1]) + position
            ),
            "that divides by the root of the number of keys": _attend(
                logits=lambda q, k, v, position: _scores(q, k) / math.sqrt(k.shape[-2]) + position
            ),
            "that leaves the position out": _attend(
                logits=lambda q, k, v, position: _scores(q, k) / math.sqrt(q.shape[-1])
            ),
            "whose weights sum to one over the queries, not over the keys": _attend(softmax=lambda x: x.softmax(-2)),
            "that adds the position to the weights, after the softmax": _position_outside,
            "whose softmax overflows when a logit is large": _attend(
                softmax=lambda x: x.exp() / x.exp().sum(-1, keepdim=True)
            ),
            "that returns logits where the weights were asked for": lambda q, k, v, position: (
                attend(q, k, v, position)[0],
                _scores(q, k) / math.sqrt(q.shape[-1]) + position,
            ),
            "that scales q in place, and so changes its input": _overwrites,
        },
        hints=(
            "Which of the two summands grows with the number of channels that a query has, and by how much?",
            "Content is every query times every key, q @ k transposed, over the root of dim. The position is added after "
            + "that; then the softmax over the keys; then the weights times v.",
            "content = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5; weights = (content + position).softmax(-1).",
        ),
    ),
    Check(
        id="halo.padding_mass",
        minutes=6,
        difficulty="medium",
        ours=padding_mass,
        measure=_measure_padding,
        mistakes={
            "that measures what falls inside the map": _weighted(
                lambda weights, outside: (weights * (1 - outside)).sum(-1)
            ),
            "that counts the whole halo, as if nothing lay there": lambda weights, rows, columns, halo: (
                weights @ _ring(weights, halo)
            ),
            "that exchanges the rows and columns of blocks": _exchanged,
            "in which the keys of a window stand column by column": _keys_turned,
            "that forgets what lies to the left and to the right of the map": _edges_only,
            "that takes the first pixel beyond the edge for a part of the map": _nearest_ring,
            "that counts keys and does not weigh them": _weighted(
                lambda weights, outside: outside.mean(-1).expand(weights.shape[:-1])
            ),
            "that takes the mean over the keys outside, not their sum": _weighted(
                lambda weights, outside: (weights * outside).sum(-1) / outside.sum(-1).clamp(min=1)
            ),
            "that asks whether the strongest key lies outside": _weighted(
                lambda weights, outside: (
                    outside.expand(weights.shape).gather(-1, weights.argmax(-1, keepdim=True)).squeeze(-1)
                )
            ),
            "that takes the mean over all queries of a block": _weighted(
                lambda weights, outside: (weights * outside).sum(-1).mean(-1, keepdim=True).expand(weights.shape[:-1])
            ),
            "that divides the share outside by the share inside": _weighted(
                lambda weights, outside: (weights * outside).sum(-1) / (weights * (1 - outside)).sum(-1)
            ),
        },
        hints=(
            "You have a function that puts zeros wherever a window reaches beyond the map. What would it make of a map of ones?",
            "windows of a map of ones is 1 inside and 0 outside, for every key of every block. The side of a block is the "
            + "root of the number of keys, less the halo twice.",
            "outside = 1 - windows(ones, 1, block_size, halo) has the shape (1, 1, blocks, keys, 1), so weights @ outside sums "
            + "over the keys; squeeze(-1) drops its last axis.",
        ),
    ),
)
