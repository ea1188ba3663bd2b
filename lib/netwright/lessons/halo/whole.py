"""Exercises `halo.attention` and `halo.strided`: the parts together, and queries of every second pixel.

Imports the engine and nets.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from netwright.lessons.engine import Check
from netwright.lessons.trying import Numbers
from netwright.nets.halonet import halo_attention


def strided(
    query: Tensor,
    key_value: Tensor,
    height_table: Tensor,
    width_table: Tensor,
    *,
    heads: int,
    block_size: int,
    halo: int,
    key_dim: int,
    value_dim: int,
) -> Tensor:
    """Halo attention of stride 2: every second pixel asks; in blocks of odd size all do, and a 2x2 mean follows.

    query: (batch, heads * key_dim, height, width), of all pixels; key_value and tables as in `halo_attention`.
    Returns (batch, heads * value_dim, height / 2, width / 2).
    """
    sizes = {"heads": heads, "block_size": block_size, "halo": halo, "key_dim": key_dim, "value_dim": value_dim}
    if block_size % 2:
        return F.avg_pool2d(halo_attention(query, key_value, height_table, width_table, **sizes), 2)
    return halo_attention(query[:, :, ::2, ::2], key_value, height_table, width_table, **sizes)


def example(
    numbers: Numbers,
    batch: int,
    heads: int,
    key_dim: int,
    value_dim: int,
    block_size: int,
    halo: int,
    rows: int,
    columns: int,
) -> tuple[list[Tensor], dict[str, int]]:
    """(query, key_value, height_table, width_table) for a map of rows x columns blocks, and the sizes by name."""
    height, width, table = rows * block_size, columns * block_size, 2 * (block_size + 2 * halo) - 1
    shapes = (
        (batch, heads * key_dim, height, width),
        (batch, heads * (key_dim + value_dim), height, width),
        (table, key_dim),
        (table, key_dim),
    )
    sizes = {"heads": heads, "block_size": block_size, "halo": halo, "key_dim": key_dim, "value_dim": value_dim}
    return [numbers(*shape) for shape in shapes], sizes


#   batch, heads, key_dim, value_dim, block_size, halo, rows, columns
STRIDE_1 = ((2, 2, 3, 2, 2, 1, 2, 3), (1, 2, 2, 3, 3, 2, 2, 1), (2, 3, 2, 4, 2, 3, 1, 2), (1, 2, 4, 2, 4, 1, 3, 3))
STRIDE_2 = ((2, 2, 3, 2, 4, 1, 1, 2), (1, 2, 2, 4, 2, 3, 3, 2), (2, 2, 4, 3, 3, 1, 2, 4), (1, 3, 2, 2, 5, 2, 2, 2))


def _measure(cases: tuple, of: str) -> Callable:
    def measure(theirs: Callable) -> Iterator[tuple[str, Any]]:
        numbers = Numbers()
        for case in cases:
            tensors, sizes = example(numbers, *case)
            before = [t.clone() for t in tensors]
            height, width = tensors[0].shape[2:]
            where = (
                f"{of}, of a map of {height}x{width} in blocks of {sizes['block_size']} with a halo of {sizes['halo']},"
            )
            where += f" with {sizes['heads']} heads"
            out = theirs(*tensors, **sizes)
            yield f"the shape of the answer {where}", tuple(out.shape)
            yield f"the answer {where}", out.clone()
            changes = [(a - b).abs().max() for a, b in zip(tensors, before, strict=True)]
            yield f"the change of the input, once your function has seen it, {where}", changes
        variable = [t.clone().requires_grad_() for t in tensors]
        gradients = torch.autograd.grad(theirs(*variable, **sizes).square().sum(), variable)
        for name, gradient in zip(
            ("queries", "keys and values", "height table", "width table"), gradients, strict=True
        ):
            yield f"the gradient of the {name} {of}", gradient

    return measure


def wrong_attention(
    *,
    content: float | None = None,
    content_by: str = "key_dim",
    position: Callable = lambda key_dim: 1.0,
    pad: Callable = lambda halo: (halo,) * 4,
    mode: str = "constant",
    masked: bool = False,
    axis: int = -1,
    together: bool = False,
    values_first: bool = False,
    heads_fast: bool = False,
    window_columns: bool = False,
    dim_first: bool = False,
) -> Callable:
    """`halo_attention` with one thing wrong in it; nothing is, as long as no argument is given.

    content: the power of content_by that scales the content; position: of key_dim, what scales the position.
    """

    def wrong(query, key_value, height_table, width_table, *, heads, block_size, halo, key_dim, value_dim):
        batch, _, height, width = key_value.shape
        rows, columns = height // block_size, width // block_size
        side, window = query.shape[2] // rows, block_size + 2 * halo

        by_head = (-1, heads) if heads_fast else (heads, -1)
        q = query.unflatten(1, by_head)
        q = q.transpose(1, 2) if heads_fast else q
        q = q.unflatten(4, (columns, side)).unflatten(3, (rows, side)).permute(0, 1, 3, 5, 4, 6, 2)

        if together:  # all keys, then all values
            parts = [t.unflatten(1, by_head) for t in key_value.split((heads * key_dim, heads * value_dim), 1)]
            key_value = torch.cat(parts, 1 if heads_fast else 2)
        else:
            key_value = key_value.unflatten(1, by_head)
        key_value = (key_value.transpose(1, 2) if heads_fast else key_value).flatten(1, 2)

        def unfolded(x, mode=mode):
            x = F.pad(x, pad(halo), mode).unfold(2, window, block_size).unfold(3, window, block_size)
            return x.transpose(2, 3).reshape(*x.shape) if window_columns else x

        windows = unfolded(key_value).unflatten(1, (heads, -1)).flatten(5, 6).permute(0, 1, 3, 4, 5, 2)
        if values_first:
            v, k = windows.split((value_dim, key_dim), dim=-1)
        else:
            k, v = windows.split((key_dim, value_dim), dim=-1)

        power = -0.5 if content is None else content
        scale = {"key_dim": key_dim, "value_dim": value_dim, "channels": heads * key_dim}[content_by] ** power
        logits = (q.flatten(4, 5) * scale) @ k.transpose(-1, -2)
        offset = torch.arange(window)[None, :] - torch.arange(side)[:, None] + (window - 1)
        by_row = torch.einsum("bnrcyxd,yud->bnrcyxu", q, height_table[offset])
        by_column = torch.einsum("bnrcyxd,xvd->bnrcyxv", q, width_table[offset])
        positions = by_row[..., :, None] + by_column[..., None, :]
        logits = logits + position(key_dim) * positions.flatten(6, 7).flatten(4, 5)
        if masked:
            inside = unfolded(torch.ones(1, 1, height, width), "constant").flatten(4, 5)[:, :, :, :, None]
            logits = logits.masked_fill(inside == 0, -torch.inf)

        out = logits.softmax(axis) @ v
        out = out.unflatten(4, (side, side)).permute(0, 1, 6, 2, 4, 3, 5)  # (batch, heads, dim, rows, y, columns, x)
        out = out.transpose(1, 2) if dim_first else out
        return out.reshape(batch, heads * value_dim, rows * side, columns * side)

    return wrong


def swapped_tables(query: Tensor, key_value: Tensor, height_table: Tensor, width_table: Tensor, **sizes) -> Tensor:
    """Halo attention with the tables of height and width exchanged."""
    return halo_attention(query, key_value, width_table, height_table, **sizes)


scaled_positions = wrong_attention(position=lambda key_dim: key_dim**-0.5)
masked_padding = wrong_attention(masked=True)

# Stride 2 ------------------------------------------------------------------------------------------------------


def _strided(*, even: Callable | None = None, odd: Callable | None = None) -> Callable:
    """`strided` with one thing wrong, in blocks of even or of odd size: even(query), or of the answer for all pixels."""

    def wrong(query, key_value, height_table, width_table, **sizes):
        others = key_value, height_table, width_table
        if sizes["block_size"] % 2 and odd:
            return odd(halo_attention(query, *others, **sizes))
        if sizes["block_size"] % 2 == 0 and even:
            return even(query, *others, **sizes)
        return strided(query, *others, **sizes)

    return wrong


def _keeps_every_second(query: Tensor, *others: Tensor, **sizes) -> Tensor:
    return halo_attention(query, *others, **sizes)[:, :, ::2, ::2]


def _keys_of_every_second(query: Tensor, key_value: Tensor, *tables: Tensor, **sizes) -> Tensor:
    """Keys and values at every second pixel too, each standing for the four around it."""
    coarse = key_value[:, :, ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3)
    return halo_attention(query[:, :, ::2, ::2], coarse, *tables, **sizes)


CHECKS = (
    Check(
        id="halo.attention",
        minutes=8,
        difficulty="medium",
        ours=halo_attention,
        measure=_measure(STRIDE_1, "of halo attention"),
        mistakes={
            "that scales the position along with the content": scaled_positions,
            "that masks the padding": masked_padding,
            "that swaps the tables of height and width": swapped_tables,
            "that takes all keys first and then all values, where every head has its own beside each other": wrong_attention(
                together=True
            ),
            "that takes the values of a head for its keys": wrong_attention(values_first=True),
            "that deals the channels out to the heads in turn, like cards": wrong_attention(heads_fast=True),
            "whose softmax is over the queries": wrong_attention(axis=-2),
            "that scales nothing": wrong_attention(content=0.0),
            "that scales by the values' dimension": wrong_attention(content_by="value_dim"),
            "that scales by the width of all heads together": wrong_attention(content_by="channels"),
            "whose halo is on the right and below only": wrong_attention(pad=lambda halo: (0, 2 * halo, 0, 2 * halo)),
            "that repeats the edge of the map in the padding": wrong_attention(mode="replicate"),
            "that numbers the windows column by column, and the blocks row by row": wrong_attention(
                window_columns=True
            ),
            "that leaves the positions out": wrong_attention(position=lambda key_dim: 0.0),
            "whose answer has the heads behind the channels of a head": wrong_attention(dim_first=True),
        },
        hints=(
            "You have written every part of it: cut, windows, relative_shift, attend, join. What goes into which?",
            "key_value has for each head its keys, then its values: cut the windows first, then split their last axis into "
            + "key_dim and value_dim.",
            "q = blocks.cut(query); k, v = windows(key_value, heads, block_size, halo).split((key_dim, value_dim), dim=-1); "
            + "attend them with relative_shift(q, height_table, width_table), and join what comes first.",
        ),
    ),
    Check(
        id="halo.strided",
        minutes=7,
        difficulty="medium",
        ours=strided,
        measure=_measure(STRIDE_2, "of stride 2"),
        mistakes={
            "that starts at the second pixel: rows 1, 3, 5 ask": _strided(
                even=lambda query, *others, **sizes: halo_attention(query[:, :, 1::2, 1::2], *others, **sizes)
            ),
            "that lets the mean of four queries ask": _strided(
                even=lambda query, *others, **sizes: halo_attention(F.avg_pool2d(query, 2), *others, **sizes)
            ),
            "that lets all ask and keeps every second answer: its offsets count pixels, not queries": _strided(
                even=_keeps_every_second
            ),
            "that lets all ask and takes means, where a block could have been halved": _strided(
                even=lambda query, *others, **sizes: F.avg_pool2d(halo_attention(query, *others, **sizes), 2)
            ),
            "that takes keys and values from every second pixel too": _strided(even=_keys_of_every_second),
            "that keeps every second answer of a block that cannot be halved": _strided(
                odd=lambda out: out[:, :, ::2, ::2]
            ),
            "that takes the largest of four answers, not their mean": _strided(odd=lambda out: F.max_pool2d(out, 2)),
            "that takes means over 3x3, not 2x2": _strided(odd=lambda out: F.avg_pool2d(out, 3, 2, 1)),
            "that scales the position along with the content": lambda query, *others, **sizes: (
                F.avg_pool2d(scaled_positions(query, *others, **sizes), 2)
                if sizes["block_size"] % 2
                else scaled_positions(query[:, :, ::2, ::2], *others, **sizes)
            ),
        },
        hints=(
            "Stride 2 of a convolution leaves out outputs, never inputs. Which of queries, keys and values belong to outputs?",
            "query[:, :, ::2, ::2] asks, in blocks of half the size; keys, values and windows stay as they are. A block of odd "
            + "size cannot be halved: there use your attention of stride 1, and F.avg_pool2d.",
            "For even blocks: Blocks(heads, block_size // 2) cuts the chosen queries and joins the answer; windows still get "
            + "block_size; relative_shift finds the side from the number of queries.",
        ),
    ),
)
