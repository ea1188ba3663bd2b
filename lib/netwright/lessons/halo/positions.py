"""Exercises `halo.relative_loop` and `halo.relative_shift`: how far a key is from a query, as logits. Imports the engine."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from netwright.lessons.engine import Check
from netwright.lessons.trying import Numbers

MOST_OPERATORS = 400  # for 12x12 queries: a loop over rows stays below, a loop over pixels does not


def relative_loop(q: Tensor, height_table: Tensor, width_table: Tensor) -> Tensor:
    """What each query of one block makes of each key's place in the window, one pair of pixels at a time.

    q: (side, side, dim); tables: (2 * window - 1, dim). Returns (side, side, window, window).
    """
    side, window = len(q), (len(height_table) + 1) // 2
    logits = q.new_empty(side, side, window, window)
    for y in range(side):
        for x in range(side):
            for u in range(window):
                for v in range(window):
                    down, right = u - y + window - 1, v - x + window - 1  # rows of the tables
                    logits[y, x, u, v] = q[y, x] @ height_table[down] + q[y, x] @ width_table[right]
    return logits


def relative_shift(q: Tensor, height_table: Tensor, width_table: Tensor) -> Tensor:
    """The same for all blocks at once, and without a loop.

    q: (batch, heads, blocks, side², dim); tables: (2 * window - 1, dim). Returns (batch, heads, blocks, side², window²).
    """
    side, window = math.isqrt(q.shape[-2]), (len(height_table) + 1) // 2
    row = torch.arange(window) - torch.arange(side)[:, None] + window - 1  # (y, u)
    q = q.unflatten(-2, (side, side))
    by_height = torch.einsum("...yxd,yud->...yxu", q, height_table[row])
    by_width = torch.einsum("...yxd,xvd->...yxv", q, width_table[row])
    logits = by_height[..., :, None] + by_width[..., None, :]  # (…, y, x, u, v)
    return logits.flatten(-2).flatten(-3, -2)


def _measure_loop(theirs: Callable) -> Iterator[tuple[str, Any]]:
    numbers = Numbers()
    for side, window, dim in ((2, 4, 3), (3, 5, 2), (2, 6, 4), (3, 3, 3), (1, 4, 2)):
        q, *tables = (numbers(*shape) for shape in ((side, side, dim), (2 * window - 1, dim), (2 * window - 1, dim)))
        before = [t.clone() for t in (q, *tables)]
        out = theirs(q, *tables)
        where = f"for {side}x{side} queries in a window of {window}x{window}"
        yield f"the shape of the logits {where}", tuple(out.shape)
        yield f"the logits of the last query {where}", out[-1, -1].clone()
        yield f"the logits {where}", out.clone()
        changes = [(a - b).abs().max() for a, b in zip((q, *tables), before, strict=True)]
        yield f"the change of the input, once your function has seen it, {where}", changes


class _TooManyOperators(Exception):
    pass


class _Counts(TorchFunctionMode):
    """Stops what runs under it after `MOST_OPERATORS` calls of torch."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.calls += 1
        if self.calls > MOST_OPERATORS:
            raise _TooManyOperators
        return function(*args, **(kwargs or {}))


def _loops(theirs: Callable) -> bool:
    """Whether it takes operators by the hundred for 144 queries."""
    numbers = Numbers(1)
    questions = numbers(1, 1, 1, 144, 2), numbers(25, 2), numbers(25, 2)
    try:
        with torch.no_grad(), _Counts():
            theirs(*questions)
    except _TooManyOperators:
        return True
    return False


def _measure_shift(theirs: Callable) -> Iterator[tuple[str, Any]]:
    numbers = Numbers()
    for leading, side, window, dim in (
        ((1, 1, 1), 2, 4, 3),
        ((2, 2, 3), 3, 5, 2),
        ((1, 2, 2), 2, 7, 4),
        ((2, 1, 2), 4, 4, 2),
        ((1, 3, 1), 1, 4, 2),
    ):
        shapes = (*leading, side**2, dim), (2 * window - 1, dim), (2 * window - 1, dim)
        tensors = [numbers(*shape) for shape in shapes]
        before = [t.clone() for t in tensors]
        out = theirs(*tensors)
        where = f"for {side}x{side} queries in a window of {window}x{window}, leading axes {leading}"
        yield f"the shape of the logits {where}", tuple(out.shape)
        yield f"the logits {where}", out.clone()
        changes = [(a - b).abs().max() for a, b in zip(tensors, before, strict=True)]
        yield f"the change of the input, once your function has seen it, {where}", changes
    yield "the answer to whether your function loops over 144 queries", _loops(theirs)


def _index(side: int, window: int) -> Tensor:
    return torch.arange(window) - torch.arange(side)[:, None] + window - 1


def _logits(q: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """q (…, y, x, dim); height (y, u, dim) and width (x, v, dim), or with both query axes (y, x, …, dim)."""
    by_height = torch.einsum("...yxd,yud->...yxu" if height.dim() == 3 else "...yxd,yxud->...yxu", q, height)
    by_width = torch.einsum("...yxd,xvd->...yxv" if width.dim() == 3 else "...yxd,yxvd->...yxv", q, width)
    return by_height[..., :, None] + by_width[..., None, :]


def _wrong_rows(rows: Callable):
    """Logits (…, y, x, u, v) by other rows of the tables: rows(side, window) is (y, u)."""

    def wrong(q, height_table, width_table):
        row = rows(q.shape[-2], (len(height_table) + 1) // 2)
        return _logits(q, height_table[row], width_table[row])

    return wrong


def _true_distance(side: int, window: int) -> Tensor:
    return _index(side, window) - (window - side) // 2


def _swapped(q: Tensor, height_table: Tensor, width_table: Tensor) -> Tensor:
    return _right(q, width_table, height_table)


def _right(q: Tensor, height_table: Tensor, width_table: Tensor) -> Tensor:
    row = _index(q.shape[-2], (len(height_table) + 1) // 2)
    return _logits(q, height_table[row], width_table[row])


def _other_axis(q: Tensor, height_table: Tensor, width_table: Tensor) -> Tensor:
    """The key's row is compared with the query's column, and the other way round."""
    side = q.shape[-2]
    row = _index(side, (len(height_table) + 1) // 2)  # (y, u)
    height, width = height_table[row], width_table[row]
    return _logits(
        q,
        height[None].expand(side, *height.shape),  # (y, x, u, d), chosen by x
        width[:, None].expand(len(width), side, *width.shape[1:]),  # (y, x, v, d), chosen by y
    )


def _height_only(q: Tensor, height_table: Tensor, width_table: Tensor) -> Tensor:
    return _right(q, height_table, 0 * width_table)


def _scaled(q: Tensor, height_table: Tensor, width_table: Tensor) -> Tensor:
    return _right(q / math.sqrt(q.shape[-1]), height_table, width_table)


def _one_table(q: Tensor, height_table: Tensor, width_table: Tensor) -> Tensor:
    return _right(q, height_table, height_table)


def _turned(q: Tensor, height_table: Tensor, width_table: Tensor) -> Tensor:
    return _right(q, height_table, width_table).transpose(-1, -2)


def _queries_turned(q: Tensor, height_table: Tensor, width_table: Tensor) -> Tensor:
    return _right(q.transpose(-2, -3), height_table, width_table)


def _height_unturned(q: Tensor, height_table: Tensor, width_table: Tensor) -> Tensor:
    """The height's logits of the transposed block, never transposed back."""
    row = _index(q.shape[-2], (len(height_table) + 1) // 2)
    by_height = torch.einsum("...yxd,yud->...xyu", q, height_table[row])
    by_width = torch.einsum("...yxd,xvd->...yxv", q, width_table[row])
    return by_height[..., :, None] + by_width[..., None, :]


def _slips(q: Tensor, height_table: Tensor, width_table: Tensor) -> Tensor:
    """The shift by reshaping, with the column of padding forgotten: nothing shifts from row to row."""
    side, window = q.shape[-2], (len(height_table) + 1) // 2
    row = torch.arange(window)[None].expand(side, window) + window - 1
    return _logits(q, height_table[row], width_table[row])


def _flat(version: Callable):
    """A version for (y, x) axes, as one for side² queries and window² keys."""

    def wrong(q, height_table, width_table):
        side = math.isqrt(q.shape[-2])
        return version(q.unflatten(-2, (side, side)), height_table, width_table).flatten(-2).flatten(-3, -2)

    return wrong


def _with_loops(q: Tensor, height_table: Tensor, width_table: Tensor) -> Tensor:
    side, window = math.isqrt(q.shape[-2]), (len(height_table) + 1) // 2
    logits = q.new_empty(*q.shape[:-1], window, window)
    for i in range(side**2):
        y, x = divmod(i, side)
        for u in range(window):
            for v in range(window):
                position = height_table[u - y + window - 1] + width_table[v - x + window - 1]
                logits[..., i, u, v] = q[..., i, :] @ position
    return logits.flatten(-2)


_COMMON = {
    "that swaps the two tables": _swapped,
    "that counts from the key to the query: its signs are turned": _wrong_rows(
        lambda side, window: 2 * (window - 1) - _index(side, window)
    ),
    "that counts from the block's corner, not from the window's: the halo is taken off": _wrong_rows(_true_distance),
    "that adds side - 1 where the tables want window - 1": _wrong_rows(
        lambda side, window: _index(side, window) + side - window
    ),
    "that is off by one row of the tables": _wrong_rows(lambda side, window: _index(side, window) - 1),
    "that uses a negative offset as an index, which counts from the end of the table": _wrong_rows(
        lambda side, window: (_index(side, window) - window + 1) % (2 * window - 1)
    ),
    "that compares the key's row with the query's column, and its column with the query's row": _other_axis,
    "that knows the height only": _height_only,
    "that uses the table of heights for both": _one_table,
    "that scales the query first": _scaled,
    "that exchanges the row and the column of the key in its answer": _turned,
}

CHECKS = (
    Check(
        id="halo.relative_loop",
        minutes=8,
        difficulty="medium",
        ours=relative_loop,
        measure=_measure_loop,
        mistakes=_COMMON,
        hints=(
            "A query in row 1 of its block, a key in row 4 of a window of 6. How many rows down is the key? Which row of an "
            + "11-row table is that, if row 0 stands for the farthest key above?",
            "Four nested loops: y, x over the queries, u, v over the keys. The offsets u - y and v - x can be negative; adding "
            + "window - 1 makes the least that could ever occur 0.",
            "logits[y, x, u, v] = q[y, x] @ height_table[u - y + window - 1] + q[y, x] @ width_table[v - x + window - 1].",
        ),
    ),
    Check(
        id="halo.relative_shift",
        minutes=10,
        difficulty="hard",
        ours=relative_shift,
        measure=_measure_shift,
        mistakes={name: _flat(version) for name, version in _COMMON.items()}
        | {
            "that reads the queries of a block column by column": _flat(_queries_turned),
            "whose logits of the height were turned and never turned back": _flat(_height_unturned),
            "that forgets to shift: every query counts as the block's first": _flat(_slips),
            "that is right and loops over the pixels": _with_loops,
        },
        hints=(
            "The loop looks up height_table[u - y + window - 1] again for every x and v. How many different lookups are there?",
            "Make the matrix of all rows (side, window) with two torch.arange, and index the table with it: (y, u, dim). Then an "
            + "einsum with q, unflattened to (…, y, x, dim), gives (…, y, x, u). The width goes alike.",
            'torch.einsum("...yxd,yud->...yxu", q, height_table[row]), torch.einsum("...yxd,xvd->...yxv", q, width_table[row]); '
            + "the first gets a last axis of 1, the second one before its last, and they are added and flattened.",
        ),
    ),
)
