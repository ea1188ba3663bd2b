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

CACHE_BYTES = 1 << 20  # of logits in a piece; measured flat from half to four times of this


@torch.library.custom_op("netwright::halo_attention", mutates_args=())
def attend_in_pieces(
    query: Tensor, key_value: Tensor, height_table: Tensor, width_table: Tensor,
    heads: int, block_size: int, halo: int, key_dim: int, value_dim: int,
) -> Tensor:  # fmt: skip
    with torch.autocast("cpu", enabled=False):
        work = _Work(query, key_value, height_table, width_table, heads, block_size, halo, key_dim, value_dim)
        out = query.new_empty(*work.features.shape[:-1], value_dim)  # (rows, columns, batch * heads, queries, …)
        for piece in work.pieces():
            _, _, values, weights = work.attend(piece)
            torch.bmm(weights[:, :, : values.shape[1]], values, out=work.part(out, piece))
        result = _empty_map(query, heads * value_dim)
        blocks = cut_into_blocks(result, work.rows, work.columns, heads)
        blocks.copy_(out.view(blocks.shape))
        return result


@torch.library.custom_op("netwright::halo_attention_backward", mutates_args=())
def _backward_in_pieces(
    grad: Tensor, query: Tensor, key_value: Tensor, height_table: Tensor, width_table: Tensor,
    heads: int, block_size: int, halo: int, key_dim: int, value_dim: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    with torch.autocast("cpu", enabled=False):
        work = _Work(query, key_value, height_table, width_table, heads, block_size, halo, key_dim, value_dim)
        grad_out = cut_into_blocks(grad, work.rows, work.columns, heads).reshape(*work.features.shape[:-1], value_dim)
        grad_features, grad_logits = torch.empty_like(work.features), torch.empty_like(work.logits)
        grad_map = torch.zeros_like(work.map)  # (batch, height, width, heads, key_dim + value_dim)
        spare = query.new_empty(2, work.most * work.window**2 * max(key_dim, value_dim))
        for piece in work.pieces():
            q, keys, values, weights = work.attend(piece)
            g = work.part(grad_out, piece)
            problems, real = values.shape[:2]
            grad_keys, grad_values = (
                buffer[: problems * real * dim].view(problems, real, dim)
                for buffer, dim in zip(spare, (key_dim, value_dim), strict=True)
            )
            grad_weights = grad_logits[: weights.numel()].view_as(weights)

            torch.bmm(weights[:, :, :real].transpose(1, 2), g, out=grad_values)
            torch.bmm(g, keys[:, :, -value_dim:].transpose(1, 2), out=grad_weights)
            torch.ops.aten._softmax_backward_data.out(grad_weights, weights, -1, weights.dtype, grad_input=grad_weights)
            torch.bmm(grad_weights, keys[:, :, :-value_dim], out=work.part(grad_features, piece))
            torch.bmm(grad_weights[:, :, :real].transpose(1, 2), q[:, :, -key_dim:], out=grad_keys)
            # One window after the other: neighbours overlap.
            windows = work.windows(grad_map, piece)
            for i, window in enumerate(windows):
                for part, of in zip(window.split((key_dim, value_dim), -1), (grad_keys, grad_values), strict=True):
                    part += of.unflatten(0, (len(windows), -1))[i].view(part.shape)

        grad_query = _empty_map(query, heads * key_dim)
        grad_tables = work.features_backward(grad_features, grad_query)
        grad_key_value = _empty_map(key_value, key_value.shape[1])
        grad_key_value.copy_(grad_map.flatten(3).permute(0, 3, 1, 2))
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
    """Neighbouring blocks of one row whose windows the map's edge cuts alike, in some of the pictures."""

    row: int
    columns: slice
    images: slice
    rows_inside: tuple[int, int]  # of the window: where the map begins and ends
    columns_inside: tuple[int, int]


class _Work:
    """One pass over the map: queries with their position channels, and the buffers that the pieces share.

    features, by query: [each window row | each window column | all rows in the map | all columns | scaled content]
    keys, by key: [its row, one-hot | its column | stands for a column | stands for a row | key | value]
    """

    def __init__(self, query, key_value, height_table, width_table, heads, block_size, halo, key_dim, value_dim):
        self.batch, _, height, width = key_value.shape
        self.heads, self.block_size, self.halo, self.value_dim = heads, block_size, halo, value_dim
        self.rows, self.columns = height // block_size, width // block_size
        self.window = window = block_size + 2 * halo
        self.positions = 2 * window + 2
        self.scale = key_dim**-0.5
        self.map = key_value.permute(0, 2, 3, 1).contiguous().unflatten(3, (heads, -1))

        q = cut_into_blocks(query, self.rows, self.columns, heads)
        self.side = side = q.shape[4]
        self.stood_for = q.new_zeros(self.rows, 2 * window, 2)  # which terms a stand-in for rows, for columns sums up
        for i, (start, stop) in enumerate(_inside(self.rows, block_size, halo)):
            self.stood_for[i, start:stop, 0] = 1
        self.stood_for[:, window:, 1] = 1
        # Row w - 1 of a table is offset 0. Offsets below -side occur in no block, so those rows stay out.
        self.tables = torch.cat((height_table[window - side :], width_table[window - side :])) / self.scale
        self.features = self._features(q)  # (rows, columns, batch * heads, queries, positions + key_dim)

        bound = window**2 + 2 * window  # of keys
        self.fits = max(1, CACHE_BYTES // (heads * side**2 * window**2 * q.element_size()))  # blocks of one picture
        self.most = heads * min(self.fits, self.batch * self.columns)
        self.logits = q.new_empty(self.most * side**2 * bound)
        self.keys = q.new_empty(self.most, bound, self.positions + key_dim + value_dim)
        self.written = None, 0

    def _terms(self, products: Tensor) -> tuple[Tensor, Tensor]:
        """The row and the column terms (blocks, y, x, window) as views into queries x tables: each y, x its own shift."""
        side, width = self.side, products.shape[1]
        size = products.shape[0] // side**2, side, side, self.window
        block, line = side**2 * width, side * width
        row = products.as_strided(size, (block, line - 1, width, 1), side - 1)
        column = products.as_strided(size, (block, line, width - 1, 1), width // 2 + side - 1)
        return row, column

    def _features(self, q: Tensor) -> Tensor:
        w, p = self.window, self.positions
        features = q.new_empty(*q.shape[:-1], p + q.shape[-1])
        torch.mul(q, self.scale, out=features[..., p:])
        by_block = features.flatten(0, 3)
        by_block[..., :w], by_block[..., w : 2 * w] = self._terms(by_block[..., p:].flatten(0, 2) @ self.tables.T)
        terms = features[..., : 2 * w].unflatten(-1, (2, w)).contiguous()
        highest = terms.amax(-1)  # (…, 2): of the row terms, of the column terms
        sums = terms.sub_(highest[..., None]).exp_().flatten(1, -3).flatten(-2) @ self.stood_for  # (rows, queries, 2)
        # A sum that underflows is of rows which those outside the map outweigh by more than the precision.
        logs = sums.clamp_min_(torch.finfo(sums.dtype).tiny).log_().view_as(highest)
        torch.add(logs, highest, out=features[..., 2 * w : p])
        return features.flatten(4, 5).flatten(2, 3)

    def features_backward(self, grad: Tensor, grad_query: Tensor) -> tuple[Tensor, Tensor]:
        """Fills grad_query and returns the gradients of the two tables; overwrites `grad`, that of the features."""
        w, p, features = self.window, self.positions, self.features
        logs = slice(2 * w, p)
        share = features[..., : 2 * w].unflatten(-1, (2, w)) - features[..., logs, None]
        share = share.exp_().mul_(grad[..., logs, None]).flatten(-2)
        grad[..., : 2 * w].addcmul_(share, self.stood_for.sum(-1)[:, None, None, None])

        rows = grad.flatten(0, 3)  # one a query
        grad_products = rows.new_zeros(rows.shape[0], self.tables.shape[0])
        by_block = rows.unflatten(0, (-1, self.side, self.side))
        for view, of in zip(self._terms(grad_products), by_block[..., : 2 * w].split(w, -1), strict=True):
            view.copy_(of)
        rows[:, p:].addmm_(grad_products, self.tables)
        blocks = cut_into_blocks(grad_query, self.rows, self.columns, self.heads)
        torch.mul(rows[:, p:].view(blocks.shape), self.scale, out=blocks)
        grad_tables = grad_products.T @ features.flatten(0, 3)[:, p:] / self.scale
        height, width = (F.pad(t, (0, 0, w - self.side, 0)) for t in grad_tables.chunk(2))
        return height, width

    def pieces(self) -> Iterator[_Piece]:
        images = max(1, min(self.fits, self.batch))
        together = self.fits // images if images >= self.batch else 1  # blocks side by side, if all pictures fit
        for row, rows_inside in enumerate(_inside(self.rows, self.block_size, self.halo)):
            columns = enumerate(_inside(self.columns, self.block_size, self.halo))
            for columns_inside, group in groupby(columns, key=lambda pair: pair[1]):
                alike = [column for column, _ in group]
                for column in alike[::together]:
                    neighbours = slice(column, min(column + together, alike[-1] + 1))
                    for image in range(0, self.batch, images):
                        some = slice(image, min(image + images, self.batch))
                        yield _Piece(row, neighbours, some, rows_inside, columns_inside)

    def part(self, x: Tensor, piece: _Piece) -> Tensor:
        """The piece's share of a tensor (rows, columns, batch * heads, …), as a view (blocks, …)."""
        images = slice(piece.images.start * self.heads, piece.images.stop * self.heads)
        return x[piece.row, piece.columns, images].flatten(0, 1)

    def windows(self, x: Tensor, piece: _Piece) -> list[Tensor]:
        """What each of the piece's windows shows of the map x: views (images, heads, window rows, window columns, …)."""
        (top, bottom), (left, right) = piece.rows_inside, piece.columns_inside
        y = piece.row * self.block_size - self.halo
        starts = (c * self.block_size - self.halo for c in range(piece.columns.start, piece.columns.stop))
        return [x[piece.images, y + top : y + bottom, c + left : c + right].permute(0, 3, 1, 2, 4) for c in starts]

    def attend(self, piece: _Piece) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(queries, keys, values, softmax) of a piece; values: only of the keys in the map, which come first."""
        one_hot = position_channels(self.window, piece.rows_inside, piece.columns_inside, self.keys.dtype)
        queries = self.part(self.features, piece)
        windows = self.windows(self.map, piece)
        real = windows[0].shape[2] * windows[0].shape[3]
        keys = self.keys[: len(queries), : len(one_hot)]
        edges, problems = self.written
        if edges != piece[3:] or problems < len(queries):  # else this part of the keys still stands from the last piece
            keys[:, :, : self.positions] = one_hot
            keys[:, real:, self.positions :] = 0
            self.written = piece[3:], len(queries)
        content = keys[:, :real, self.positions :].view(len(windows), *windows[0].shape)
        for into, window in zip(content, windows, strict=True):
            into.copy_(window)
        size = len(queries), queries.shape[1], len(one_hot)
        logits = self.logits[: math.prod(size)].view(size)
        torch.bmm(queries, keys[:, :, : -self.value_dim].transpose(1, 2), out=logits)
        return queries, keys, keys[:, :real, -self.value_dim :], torch.softmax(logits, -1, out=logits)


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
def position_channels(
    window: int, rows: tuple[int, int], columns: tuple[int, int], dtype: torch.dtype
) -> Tensor:  # (keys, 2 * window + 2)
    """The position part of the keys: those in the map, then one for each window row and column outside it."""
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
