"""Exercises `halo.limits` and `halo.memory`: attention without blocks, and what blocks save. Imports the engine."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from netwright.lessons.engine import Check
from netwright.lessons.trying import Numbers

FLOAT32 = 4  # bytes


def global_attention(
    query: Tensor,
    key_value: Tensor,
    height_table: Tensor,
    width_table: Tensor,
    *,
    heads: int,
    key_dim: int,
    value_dim: int,
) -> Tensor:
    """Every pixel looks at every pixel of a map, whatever its height and width.

    query: (batch, heads * key_dim, height, width); key_value: (batch, heads * (key_dim + value_dim), height, width);
    height_table: (2 * height - 1, key_dim); width_table: (2 * width - 1, key_dim). Returns (batch, heads * value_dim,
    height, width).
    """
    height, width = query.shape[2:]
    q = query.unflatten(1, (heads, key_dim))  # (batch, heads, key_dim, y, x)
    k, v = key_value.unflatten(1, (heads, -1)).split((key_dim, value_dim), dim=2)
    content = torch.einsum("bndyx,bnduv->bnyxuv", q, k) / key_dim**0.5
    down = torch.arange(height) - torch.arange(height)[:, None] + height - 1  # (y, u)
    right = torch.arange(width) - torch.arange(width)[:, None] + width - 1  # (x, v)
    by_height = torch.einsum("bndyx,yud->bnyxu", q, height_table[down])
    by_width = torch.einsum("bndyx,xvd->bnyxv", q, width_table[right])
    logits = content + by_height[..., :, None] + by_width[..., None, :]
    weights = logits.flatten(-2).softmax(-1).view_as(logits)
    return torch.einsum("bnyxuv,bnduv->bndyx", weights, v).flatten(1, 2)


def memory(
    batch: int, height: int, width: int, *, heads: int, block_size: int, halo: int, key_dim: int, value_dim: int
) -> tuple[int, int]:
    """The bytes, in float32, of all windows of keys and values, and of all logits."""
    blocks = (height // block_size) * (width // block_size)
    keys, queries = (block_size + 2 * halo) ** 2, block_size**2
    windows = batch * heads * blocks * keys * (key_dim + value_dim) * FLOAT32
    logits = batch * heads * blocks * queries * keys * FLOAT32
    return windows, logits


# Limits --------------------------------------------------------------------------------------------------------


def _measure_limits(theirs: Callable) -> Iterator[tuple[str, Any]]:
    numbers = Numbers()
    for batch, heads, key_dim, value_dim, height, width in (
        (2, 2, 3, 2, 3, 4),
        (1, 3, 2, 4, 4, 2),
        (2, 2, 4, 3, 3, 3),
        (1, 2, 2, 2, 1, 5),
    ):
        tensors = [
            numbers(batch, heads * key_dim, height, width),
            numbers(batch, heads * (key_dim + value_dim), height, width),
            numbers(2 * height - 1, key_dim),
            numbers(2 * width - 1, key_dim),
        ]
        before = [t.clone() for t in tensors]
        out = theirs(*tensors, heads=heads, key_dim=key_dim, value_dim=value_dim)
        where = f"of a map of {height}x{width}, with {heads} heads"
        yield f"the shape of the answer {where}", tuple(out.shape)
        yield f"the answer {where}", out.clone()
        changes = [(a - b).abs().max() for a, b in zip(tensors, before, strict=True)]
        yield f"the change of the input, once your function has seen it, {where}", changes


def _global(
    *,
    scale: Callable = lambda key_dim: key_dim**-0.5,
    position: Callable = lambda key_dim: 1.0,
    sign: int = 1,
    axes: tuple[int, int] = (-2, -1),
    together: bool = False,
    heads_fast: bool = False,
    centre: Callable | None = None,
    keys_turned: bool = False,
) -> Callable:
    """`global_attention` with one thing wrong in it."""

    def wrong(query, key_value, height_table, width_table, *, heads, key_dim, value_dim):
        height, width = query.shape[2:]
        if heads_fast:
            q = query.unflatten(1, (key_dim, heads)).transpose(1, 2)
            k, v = key_value.unflatten(1, (-1, heads)).transpose(1, 2).split((key_dim, value_dim), dim=2)
        else:
            q = query.unflatten(1, (heads, key_dim))
            k, v = key_value.unflatten(1, (heads, -1)).split((key_dim, value_dim), dim=2)
        if together:
            parts = key_value.split((heads * key_dim, heads * value_dim), dim=1)
            k, v = (part.unflatten(1, (heads, -1)) for part in parts)

        def rows(size):
            middle = centre(height, width, size) if centre else size - 1
            return sign * (torch.arange(size) - torch.arange(size)[:, None]) + middle

        by_height = torch.einsum("bndyx,yud->bnyxu", q, height_table[rows(height)])
        by_width = torch.einsum("bndyx,xvd->bnyxv", q, width_table[rows(width)])
        positions = by_height[..., :, None] + by_width[..., None, :]
        if keys_turned:
            positions = positions.transpose(-1, -2).reshape(positions.shape)
        logits = scale(key_dim) * torch.einsum("bndyx,bnduv->bnyxuv", q, k) + position(key_dim) * positions
        weights = (logits - logits.amax((-2, -1), keepdim=True)).exp()
        weights = weights / weights.sum(axes, keepdim=True)
        return torch.einsum("bnyxuv,bnduv->bndyx", weights, v).flatten(1, 2)

    return wrong


def _softmax_over_queries(query, key_value, height_table, width_table, *, heads, key_dim, value_dim):
    height, width = query.shape[2:]
    q = query.unflatten(1, (heads, key_dim))
    k, v = key_value.unflatten(1, (heads, -1)).split((key_dim, value_dim), dim=2)
    down = torch.arange(height) - torch.arange(height)[:, None] + height - 1
    right = torch.arange(width) - torch.arange(width)[:, None] + width - 1
    logits = torch.einsum("bndyx,bnduv->bnyxuv", q, k) / key_dim**0.5
    logits = logits + torch.einsum("bndyx,yud->bnyxu", q, height_table[down])[..., :, None]
    logits = logits + torch.einsum("bndyx,xvd->bnyxv", q, width_table[right])[..., None, :]
    weights = logits.flatten(2, 3).softmax(2).view_as(logits)
    return torch.einsum("bnyxuv,bnduv->bndyx", weights, v).flatten(1, 2)


# Memory --------------------------------------------------------------------------------------------------------


def _measure_memory(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for batch, height, width, heads, block_size, halo, key_dim, value_dim in (
        (1, 8, 8, 1, 8, 0, 4, 4),
        (1, 32, 32, 4, 8, 3, 32, 32),
        (2, 12, 20, 3, 4, 1, 16, 8),
        (5, 6, 9, 2, 3, 2, 2, 7),
        (1, 16, 64, 8, 16, 5, 16, 64),
        (8, 28, 14, 5, 7, 2, 24, 72),
    ):
        sizes = {"heads": heads, "block_size": block_size, "halo": halo, "key_dim": key_dim, "value_dim": value_dim}
        answer = theirs(batch, height, width, **sizes)
        windows, logits = (float(number) for number in answer)
        where = f"of {batch} maps of {height}x{width}, {', '.join(f'{k}={v}' for k, v in sizes.items())}"
        yield f"the number of bytes of the windows {where}", windows
        yield f"the number of bytes of the logits {where}", logits


def _memory(windows: Callable | None = None, logits: Callable | None = None) -> Callable:
    """`memory` with another count: of (batch, height, width, heads, block_size, halo, key_dim, value_dim)."""

    def wrong(batch, height, width, *, heads, block_size, halo, key_dim, value_dim):
        both = list(
            memory(
                batch,
                height,
                width,
                heads=heads,
                block_size=block_size,
                halo=halo,
                key_dim=key_dim,
                value_dim=value_dim,
            )
        )
        numbers = batch, height, width, heads, block_size, halo, key_dim, value_dim
        for i, other in enumerate((windows, logits)):
            if other:
                both[i] = other(both[i], *numbers)
        return tuple(both)

    return wrong


def _keys(b: int, halo: int) -> int:
    return (b + 2 * halo) ** 2


CHECKS = (
    Check(
        id="halo.limits",
        minutes=8,
        difficulty="medium",
        ours=global_attention,
        measure=_measure_limits,
        mistakes={
            "that scales the position along with the content": _global(position=lambda key_dim: key_dim**-0.5),
            "that leaves the positions out": _global(position=lambda key_dim: 0.0),
            "that scales nothing": _global(scale=lambda key_dim: 1.0),
            "that counts from the key to the query": _global(sign=-1),
            "whose softmax is over the rows of the map only": _global(axes=(-2,)),
            "whose softmax is over the columns of the map only": _global(axes=(-1,)),
            "whose softmax is over the queries": _softmax_over_queries,
            "that takes all keys first and then all values": _global(together=True),
            "that deals the channels out to the heads in turn, like cards": _global(heads_fast=True),
            "that finds offset 0 of the width in the row where the height has it": _global(
                centre=lambda height, width, size: height - 1
            ),
            "whose positions stand column by column, and its keys row by row": _global(keys_turned=True),
        },
        hints=(
            "In a map without blocks and halos, what is the window of a query? And what is the farthest offset, down and right?",
            "Flatten the pixels: content is (height * width) x (height * width). The positions are those of relative_shift, with "
            + "height - 1 added for the rows and width - 1 for the columns.",
            'torch.einsum("bndyx,bnduv->bnyxuv", q, k) / key_dim ** 0.5, plus the two position terms with an axis of 1 each; '
            + 'flatten the last two axes, softmax, and torch.einsum("bnyxuv,bnduv->bndyx", weights, v).',
        ),
    ),
    Check(
        id="halo.memory",
        minutes=4,
        difficulty="easy",
        ours=memory,
        measure=_measure_memory,
        mistakes={
            "that counts numbers, not bytes": _memory(lambda n, *_: n // 4, lambda n, *_: n // 4),
            "that counts eight bytes a number": _memory(lambda n, *_: 2 * n, lambda n, *_: 2 * n),
            "that counts one picture, whatever the batch": _memory(
                lambda n, batch, *_: n // batch, lambda n, batch, *_: n // batch
            ),
            "that counts the logits of one head": _memory(
                logits=lambda n, batch, height, width, heads, *_: n // heads,
            ),
            "that adds the halo once, not on both sides": _memory(
                *(
                    lambda n, batch, height, width, heads, b, halo, *_: n // _keys(b, halo) * (b + halo) ** 2
                    for _ in range(2)
                )
            ),
            "that counts every key and value once, as if windows did not overlap": _memory(
                windows=lambda n, batch, height, width, heads, b, halo, *_: n // _keys(b, halo) * b * b
            ),
            "that counts the keys and forgets the values": _memory(
                windows=lambda n, batch, height, width, heads, b, halo, key_dim, value_dim: (
                    n // (key_dim + value_dim) * key_dim
                )
            ),
            "in which every key of a window asks, not only the block's pixels": _memory(
                logits=lambda n, batch, height, width, heads, b, halo, *_: n // (b * b) * _keys(b, halo)
            ),
            "in which every pixel asks every pixel of the map": _memory(
                logits=lambda n, batch, height, width, heads, *_: batch * heads * (height * width) ** 2 * 4
            ),
            "in which every logit is as wide as a key": _memory(
                logits=lambda n, batch, height, width, heads, b, halo, key_dim, value_dim: n * key_dim
            ),
        },
        hints=(
            "How many blocks are there, how many queries has a block, how many keys has its window?",
            "A window holds keys and values, so key_dim + value_dim numbers a pixel and head; a logit is one number for a query, "
            + "a key and a head. A float32 has four bytes.",
            "windows = batch * heads * blocks * window² * (key_dim + value_dim) * 4; logits = batch * heads * blocks * block_size² "
            + "* window² * 4.",
        ),
    ),
)
