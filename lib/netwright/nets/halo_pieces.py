"""Halo attention on a CPU, one piece of the map at a time, forward and backward. Imports torch alone.

halo_fast.py tells the ideas and checks the arguments; this file registers the two operators and does the work.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

CACHE_BYTES = 3 << 19  # of logits in a piece; measured flat from half to twice of this


@torch.library.custom_op("netwright::halo_attention", mutates_args=())
def attend_in_pieces(
    query: Tensor, key_value: Tensor, height_table: Tensor, width_table: Tensor,
    heads: int, block_size: int, halo: int, key_dim: int, value_dim: int,
) -> Tensor:  # fmt: skip
    tables, sizes = (height_table, width_table), (heads, block_size, halo, key_dim, value_dim)
    result = _empty_map(query, heads * value_dim)
    with torch.autocast("cpu", enabled=False):
        for some in _pictures(query, key_value, heads, block_size, halo):
            work = _Work(query[some], key_value[some], *tables, *sizes)
            out = query.new_empty(*work.q.shape[:-1], value_dim)
            for piece in work.pieces():
                _, values, weights = work.attend(piece)
                torch.bmm(weights, values, out=out[piece.blocks].flatten(0, 1))  # the stand-ins' values are 0
            work.put(out, result[some])
    return result


@torch.library.custom_op("netwright::halo_attention_backward", mutates_args=())
def _backward_in_pieces(
    grad: Tensor, query: Tensor, key_value: Tensor, height_table: Tensor, width_table: Tensor,
    heads: int, block_size: int, halo: int, key_dim: int, value_dim: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    tables, sizes = (height_table, width_table), (heads, block_size, halo, key_dim, value_dim)
    grad_query, grad_key_value = (_empty_map(x, x.shape[1]) for x in (query, key_value))
    grad_tables = torch.zeros_like(height_table), torch.zeros_like(width_table)
    with torch.autocast("cpu", enabled=False):
        for some in _pictures(query, key_value, heads, block_size, halo):
            work = _Work(query[some], key_value[some], *tables, *sizes)
            grad_out, grad_features = work.cut(grad[some]), torch.empty_like(work.features)
            grad_q, grad_weights = query.new_empty(work.q.shape), torch.empty_like(work.logits)
            # One row for each key, without the stand-ins; a pixel is a key of several windows.
            grad_keys, grad_values = (query.new_empty(work.real, dim) for dim in (key_dim, value_dim))
            done = 0
            for piece in work.pieces():
                keys, values, weights = work.attend(piece)
                q, g, into_q = (x[piece.blocks].flatten(0, 1) for x in (work.q, grad_out, grad_q))
                size = len(q), piece.real
                rows = slice(done, done := done + math.prod(size))
                into_keys, into_values = (x[rows].view(*size, -1) for x in (grad_keys, grad_values))

                torch.bmm(weights[:, :, : piece.real].transpose(1, 2), g, out=into_values)
                d = grad_weights[: weights.numel()].view_as(weights)  # first of the weights, then of the logits
                torch.bmm(g, values.transpose(1, 2), out=d)
                torch.ops.aten._softmax_backward_data.out(d, weights, -1, weights.dtype, grad_input=d)
                by_key = d[:, :, : piece.real].transpose(1, 2)
                torch.baddbmm(into_keys, by_key, q, beta=0, alpha=work.scale, out=into_keys)
                torch.baddbmm(into_q, d, keys, beta=0, alpha=work.scale, out=into_q)
                by_block = d.view(len(piece.one_hot), -1, d.shape[-1])
                torch.bmm(by_block, piece.one_hot, out=grad_features[piece.blocks].flatten(1, 2))
            for total, part in zip(grad_tables, work.features_backward(grad_features, grad_q), strict=True):
                total += part
            work.put(grad_q, grad_query[some])
            into = grad_key_value[some].unflatten(1, (heads, -1)).permute(0, 1, 3, 4, 2)
            for part, of in zip(into.split((key_dim, value_dim), -1), (grad_keys, grad_values), strict=True):
                part.copy_(work.sum_by_pixel(of).view(part.shape))
    return grad_query, grad_key_value, *grad_tables


@attend_in_pieces.register_fake
def _(query, key_value, height_table, width_table, heads, block_size, halo, key_dim, value_dim):
    return _empty_map(query, heads * value_dim)


@_backward_in_pieces.register_fake
def _(grad, query, key_value, height_table, width_table, *sizes):
    maps = (_empty_map(x, x.shape[1]) for x in (query, key_value))
    return *maps, torch.empty_like(height_table), torch.empty_like(width_table)


def _remember(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:4])
    ctx.sizes = inputs[4:]


def _backward(ctx, grad):
    return *_backward_in_pieces(grad, *ctx.saved_tensors, *ctx.sizes), *(None,) * len(ctx.sizes)


def _refuse(ctx, *grads):
    raise RuntimeError("Fast halo attention has no second derivative: call `halo_attention` of halonet.py instead.")


attend_in_pieces.register_autograd(_backward, setup_context=_remember)
_backward_in_pieces.register_autograd(_refuse)


class _Piece(NamedTuple):
    """Blocks whose windows show equally many pixels of the map, wherever they lie in it."""

    blocks: slice  # in the layout's order
    windows: list[tuple[slice, slice]]  # what each block sees of the map: rows, columns
    real: int  # keys in the map, which come first; the others stand for those outside
    one_hot: Tensor  # (blocks, keys, positions): the position part of the keys


class _Layout(NamedTuple):
    """How a map is cut, whatever it holds."""

    order: Tensor  # of the blocks: those of a piece follow each other
    back: Tensor  # its inverse
    pieces: list[_Piece]  # as large as they can be
    keys: int  # of all blocks, with the stand-ins
    stood_for: Tensor  # (blocks, 2 * window, 2): which terms a stand-in for rows, for columns sums up


@lru_cache(maxsize=16)
def _layout(rows: int, columns: int, block_size: int, halo: int, dtype: torch.dtype) -> _Layout:
    window, blocks = block_size + 2 * halo, []
    for i, (top, bottom) in enumerate(_inside(rows, block_size, halo)):
        for j, (left, right) in enumerate(_inside(columns, block_size, halo)):
            y, x = i * block_size - halo, j * block_size - halo
            shown = slice(y + top, y + bottom), slice(x + left, x + right)
            one_hot = position_channels(window, (top, bottom), (left, right), dtype)
            stood_for = torch.zeros(2 * window, 2, dtype=dtype)
            stood_for[top:bottom, 0] = 1
            stood_for[window:, 1] = 1
            blocks.append(((bottom - top) * (right - left), len(one_hot), i * columns + j, shown, one_hot, stood_for))
    blocks.sort(key=lambda block: block[:3])
    _, keys, order, windows, one_hot, stood_for = zip(*blocks, strict=True)
    pieces, stop = [], 0
    for (real, _), alike in groupby(block[:2] for block in blocks):
        some = slice(stop, stop := stop + len(list(alike)))
        pieces.append(_Piece(some, windows[some], real, torch.stack(one_hot[some])))
    order = torch.tensor(order)
    return _Layout(order, order.argsort(), pieces, sum(keys), torch.stack(stood_for))


@lru_cache(maxsize=16)
def _keys_by_pixel(problems: int, height: int, width: int, *cuts) -> tuple[Tensor, Tensor]:
    """The keys in the map, pixel by pixel, and where in this list each pixel starts: what `embedding_bag` asks for."""
    pixel = torch.arange(problems * height * width).view(problems, height, width)
    of_keys = torch.cat([pixel[:, y, x].flatten() for piece in _layout(*cuts).pieces for y, x in piece.windows])
    counts = torch.bincount(of_keys, minlength=pixel.numel())
    return of_keys.argsort(stable=True), counts.cumsum(0) - counts


def _pictures(query: Tensor, key_value: Tensor, heads: int, block_size: int, halo: int) -> Iterator[slice]:
    """The batch in equal parts: as many pictures as fit the cache with all their logits, or one."""
    batch, _, height, width = key_value.shape
    layout = _layout(height // block_size, width // block_size, block_size, halo, query.dtype)
    queries = math.prod(query.shape[2:]) // len(layout.order)  # of a block
    fits = max(1, CACHE_BYTES // (heads * queries * layout.keys * query.element_size()))
    together = math.ceil(batch / max(1, math.ceil(batch / fits)))
    return (slice(start, start + together) for start in range(0, batch, together or 1))


class _Work:
    """Some pictures at work: queries with their position features, and the buffers that the pieces share.

    features, by query: [each window row | each window column | all rows in the map | all columns]
    one_hot, by key: [its row | its column | stands for a column | stands for a row]; their product is the position.
    """

    def __init__(self, query, key_value, height_table, width_table, heads, block_size, halo, key_dim, value_dim):
        batch, _, height, width = key_value.shape
        self.heads, self.problems, self.key_dim, self.scale = heads, batch * heads, key_dim, key_dim**-0.5
        self.cuts = height // block_size, width // block_size, block_size, halo, query.dtype
        self.layout = _layout(*self.cuts)
        self.window = window = block_size + 2 * halo
        self.side = side = query.shape[2] // self.cuts[0]  # of a block, in queries
        self.map = key_value.permute(0, 2, 3, 1).contiguous().unflatten(3, (heads, -1)).permute(0, 3, 1, 2, 4)
        # Row w - 1 of a table is offset 0. Offsets below -side occur in no block, so those rows stay out.
        self.tables = torch.cat((height_table[window - side :], width_table[window - side :]))
        self.q = self.cut(query)
        self.features = self._features()

        keys = max(len(piece.windows) * piece.one_hot.shape[1] for piece in self.pieces()) * self.problems
        self.keys = query.new_empty(keys, key_dim + value_dim)
        self.logits = query.new_empty(keys * side**2)
        self.real = sum(len(piece.windows) * piece.real for piece in self.layout.pieces) * self.problems

    def cut(self, x: Tensor) -> Tensor:
        """A map as (blocks in the layout's order, batch * heads, queries, dim)."""
        blocks = cut_into_blocks(x, *self.cuts[:2], self.heads).flatten(4, 5).flatten(2, 3).flatten(0, 1)
        return blocks if len(blocks) == 1 else blocks.index_select(0, self.layout.order)

    def put(self, x: Tensor, into: Tensor) -> None:
        """The inverse of `cut`, into a map that exists."""
        blocks = cut_into_blocks(into, *self.cuts[:2], self.heads)
        blocks.copy_((x if len(x) == 1 else x.index_select(0, self.layout.back)).view(blocks.shape))

    def _terms(self, products: Tensor) -> tuple[Tensor, Tensor]:
        """The row and the column terms (blocks, y, x, window) as views into queries x tables: each y, x its own shift."""
        side, width = self.side, products.shape[1]
        size = products.shape[0] // side**2, side, side, self.window
        block, line = side**2 * width, side * width
        row = products.as_strided(size, (block, line - 1, width, 1), side - 1)
        column = products.as_strided(size, (block, line, width - 1, 1), width // 2 + side - 1)
        return row, column

    def _features(self) -> Tensor:
        w, q = self.window, self.q
        features = q.new_empty(*q.shape[:-1], 2 * w + 2)
        by_block = features.view(-1, self.side, self.side, 2 * w + 2)
        by_block[..., :w], by_block[..., w : 2 * w] = self._terms(q.flatten(0, 2) @ self.tables.T)
        terms = features[..., : 2 * w].unflatten(-1, (2, w))
        highest = terms.amax(-1)  # (…, 2): of the row terms, of the column terms
        sums = (terms - highest[..., None]).exp_().flatten(1, 2).flatten(2) @ self.layout.stood_for
        # A sum that underflows is of rows which those outside the map outweigh by more than the precision.
        logs = sums.clamp_min_(torch.finfo(sums.dtype).tiny).log_().view_as(highest)
        torch.add(logs, highest, out=features[..., 2 * w :])
        return features

    def features_backward(self, grad: Tensor, grad_q: Tensor) -> tuple[Tensor, Tensor]:
        """Adds to grad_q and returns the gradients of the two tables; overwrites `grad`, that of the features."""
        w, features = self.window, self.features
        share = features[..., : 2 * w].unflatten(-1, (2, w)) - features[..., 2 * w :, None]
        share = share.exp_().mul_(grad[..., 2 * w :, None]).flatten(-2)
        grad[..., : 2 * w].addcmul_(share, self.layout.stood_for.sum(-1)[:, None, None])

        grad_products = grad.new_zeros(grad.shape[:-1].numel(), self.tables.shape[0])
        by_block = grad.view(-1, self.side, self.side, 2 * w + 2)
        for view, of in zip(self._terms(grad_products), by_block[..., : 2 * w].split(w, -1), strict=True):
            view.copy_(of)
        grad_q.flatten(0, 2).addmm_(grad_products, self.tables)
        grad_tables = grad_products.T @ self.q.flatten(0, 2)
        return tuple(F.pad(table, (0, 0, w - self.side, 0)) for table in grad_tables.chunk(2))

    def pieces(self) -> Iterator[_Piece]:
        for piece in self.layout.pieces:
            bytes_a_block = self.problems * self.side**2 * piece.one_hot.shape[1] * self.q.element_size()
            fits = max(1, CACHE_BYTES // bytes_a_block)
            for start in range(0, len(piece.windows), fits):
                some = slice(start, start + fits)
                blocks = range(piece.blocks.start, piece.blocks.stop)[some]
                yield _Piece(slice(blocks[0], blocks[-1] + 1), piece.windows[some], piece.real, piece.one_hot[some])

    def attend(self, piece: _Piece) -> tuple[Tensor, Tensor, Tensor]:
        """(keys, values, softmax) of a piece: (blocks * batch * heads, keys, …) and (…, queries, keys)."""
        blocks, count = piece.one_hot.shape[:2]
        keys = self.keys[: blocks * self.problems * count].view(blocks, self.problems, count, -1)
        keys[:, :, piece.real :] = 0
        for block, (y, x) in zip(keys[:, :, : piece.real], piece.windows, strict=True):
            window = self.map[:, :, y, x]
            block.view(window.shape).copy_(window)
        keys, values = keys.flatten(0, 1).tensor_split((self.key_dim,), -1)

        features, q = self.features[piece.blocks].flatten(1, 2), self.q[piece.blocks].flatten(0, 1)
        logits = self.logits[: len(q) * q.shape[1] * count].view(len(q), -1, count)
        torch.bmm(features, piece.one_hot.transpose(1, 2), out=logits.view(blocks, -1, count))
        torch.baddbmm(logits, q, keys.transpose(1, 2), alpha=self.scale, out=logits)
        return keys, values, torch.softmax(logits, -1, out=logits)

    def sum_by_pixel(self, x: Tensor) -> Tensor:
        """What belongs to a key (batch * heads * keys, dim), summed over the windows: (batch * heads * pixels, dim)."""
        return torch.embedding_bag(x, *_keys_by_pixel(self.problems, *self.map.shape[2:4], *self.cuts))[0]


def cut_into_blocks(x: Tensor, rows: int, columns: int, heads: int) -> Tensor:
    """A map (batch, heads * dim, height, width) as a view (rows, columns, batch, heads, y, x, dim)."""
    batch, channels, height, width = x.shape
    x = x.view(batch, heads, channels // heads, rows, height // rows, columns, width // columns)
    return x.permute(3, 5, 0, 1, 4, 6, 2)


def _inside(blocks: int, block_size: int, halo: int) -> list[tuple[int, int]]:
    """For each block along one side of the map, where in its window the map begins and ends."""
    size, window = blocks * block_size, block_size + 2 * halo
    return [(max(-start, 0), min(window, size - start)) for start in range(-halo, size - halo, block_size)]


@lru_cache(maxsize=64)
def position_channels(window: int, rows: tuple[int, int], columns: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Keys' positions, (keys, 2 * window + 2): of those in the map, then of one for each window row and column outside."""
    row, column = torch.eye(2 * window + 2, dtype=dtype).split((window, window + 2))
    all_rows_in_map, all_columns = column[-2:]
    inside = torch.arange(window)
    row_in, column_in = ((inside >= start) & (inside < stop) for start, stop in (rows, columns))
    column = column[:window]
    real = (row[row_in][:, None] + column[column_in]).flatten(0, 1)
    return torch.cat((real, row[~row_in] + all_columns, column[~column_in] + all_rows_in_map))


def memory_format_of(x: Tensor) -> torch.memory_format:
    is_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if is_last else torch.contiguous_format


def _empty_map(like: Tensor, channels: int) -> Tensor:
    size = like.shape[0], channels, *like.shape[2:]
    return torch.empty(size, dtype=like.dtype, device=like.device, memory_format=memory_format_of(like))
