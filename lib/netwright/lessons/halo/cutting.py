"""Exercises `halo.blocks` and `halo.windows`: a map in blocks and back, and each block with its halo. Imports the engine."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from netwright.lessons.engine import Check
from netwright.lessons.trying import Numbers


class Blocks:
    """Cuts a map into square blocks that do not overlap, and joins them again.

    Blocks are numbered row by row, and so are the pixels in a block. The first channels are the first head's.
    """

    def __init__(self, heads: int, block_size: int):
        self.heads, self.block_size = heads, block_size

    def cut(self, x: Tensor) -> Tensor:
        """(batch, heads * dim, height, width) to (batch, heads, blocks, block_size², dim)."""
        _, _, height, width = x.shape
        b = self.block_size
        x = x.unflatten(1, (self.heads, -1)).unflatten(4, (width // b, b)).unflatten(3, (height // b, b))
        x = x.permute(0, 1, 3, 5, 4, 6, 2)  # (batch, heads, rows, columns, y, x, dim)
        return x.flatten(4, 5).flatten(2, 3)

    def join(self, blocks: Tensor, height: int, width: int) -> Tensor:
        """(batch, heads, blocks, block_size², dim) to (batch, heads * dim, height, width)."""
        b = self.block_size
        x = blocks.unflatten(3, (b, b)).unflatten(2, (height // b, width // b))
        x = x.permute(0, 1, 6, 2, 4, 3, 5)  # (batch, heads, dim, rows, y, columns, x)
        return x.flatten(5, 6).flatten(3, 4).flatten(1, 2)


def windows(x: Tensor, heads: int, block_size: int, halo: int) -> Tensor:
    """Every block with `halo` pixels around it, in the order of `Blocks`; outside the map there are zeros.

    (batch, heads * dim, height, width) to (batch, heads, blocks, window², dim), window = block_size + 2 * halo.
    """
    window = block_size + 2 * halo
    padded = F.pad(x, (halo, halo, halo, halo))
    x = padded.unfold(2, window, block_size).unfold(3, window, block_size)  # (batch, channels, rows, columns, u, v)
    x = x.unflatten(1, (heads, -1)).permute(0, 1, 3, 4, 5, 6, 2)  # (batch, heads, rows, columns, u, v, dim)
    return x.flatten(4, 5).flatten(2, 3)


# Blocks --------------------------------------------------------------------------------------------------------


def _measure_blocks(theirs: Callable) -> Iterator[tuple[str, Any]]:
    numbers = Numbers()
    for heads, dim, block_size, rows, columns in ((2, 3, 2, 2, 3), (3, 2, 3, 3, 1), (1, 4, 4, 1, 2)):
        height, width = rows * block_size, columns * block_size
        blocks = theirs(heads, block_size)
        where = f"a map of {height}x{width} in blocks of {block_size}x{block_size}, with {heads} heads,"
        x = numbers(2, heads * dim, height, width)
        before = x.clone()
        out = blocks.cut(x)
        yield f"the shape of the cut of {where}", tuple(out.shape)
        yield f"the cut of {where}", out.clone()
        yield f"the map, once cut has seen it, of {where}", (x - before).abs().max()
        pieces = numbers(2, heads, rows * columns, block_size**2, dim)
        yield f"what join makes of {where}", blocks.join(pieces.clone(), height, width).clone()
        yield f"the joined cut of {where}", blocks.join(blocks.cut(x), height, width)


class _HeadsFast(Blocks):
    def cut(self, x):
        return super().cut(x.unflatten(1, (-1, self.heads)).transpose(1, 2).flatten(1, 2))

    def join(self, blocks, height, width):
        return super().join(blocks, height, width).unflatten(1, (self.heads, -1)).transpose(1, 2).flatten(1, 2)


class _Columns(Blocks):
    def cut(self, x):
        return super().cut(x.transpose(2, 3)).unflatten(3, (self.block_size, -1)).transpose(3, 4).flatten(3, 4)

    def join(self, blocks, height, width):
        turned = blocks.unflatten(3, (self.block_size, -1)).transpose(3, 4).flatten(3, 4)
        return super().join(turned, width, height).transpose(2, 3)


class _PixelColumns(Blocks):
    def cut(self, x):
        return super().cut(x).unflatten(3, (self.block_size, -1)).transpose(3, 4).flatten(3, 4)

    def join(self, blocks, height, width):
        return super().join(blocks.unflatten(3, (self.block_size, -1)).transpose(3, 4).flatten(3, 4), height, width)


class _Comb(Blocks):
    def cut(self, x):
        b, (height, width) = self.block_size, x.shape[2:]
        x = x.unflatten(1, (self.heads, -1)).unflatten(4, (b, width // b)).unflatten(3, (b, height // b))
        return x.permute(0, 1, 4, 6, 3, 5, 2).flatten(4, 5).flatten(2, 3)

    def join(self, blocks, height, width):
        b = self.block_size
        x = blocks.unflatten(3, (b, b)).unflatten(2, (height // b, width // b)).permute(0, 1, 6, 4, 2, 5, 3)
        return x.flatten(5, 6).flatten(3, 4).flatten(1, 2)


class _OnlyReshapes(Blocks):
    def cut(self, x):
        return x.reshape(len(x), self.heads, -1, self.block_size**2, x.shape[1] // self.heads)

    def join(self, blocks, height, width):
        return blocks.reshape(len(blocks), -1, height, width)


class _ChannelsFirst(Blocks):
    def cut(self, x):
        b = self.block_size
        x = F.unfold(x, b, stride=b).unflatten(1, (self.heads, -1))  # (batch, heads, dim * block², blocks)
        return x.transpose(2, 3).unflatten(3, (b * b, -1))


class _Exchanged(Blocks):
    def cut(self, x):
        return super().cut(x.reshape(*x.shape[:2], x.shape[3], x.shape[2]))

    def join(self, blocks, height, width):
        return super().join(blocks, width, height).reshape(len(blocks), -1, height, width)


class _JoinReshapes(Blocks):
    def join(self, blocks, height, width):
        return blocks.transpose(3, 4).transpose(2, 3).reshape(len(blocks), -1, height, width)


class _JoinDimFirst(Blocks):
    def join(self, blocks, height, width):
        return super().join(blocks, height, width).unflatten(1, (self.heads, -1)).transpose(1, 2).flatten(1, 2)


# Windows -------------------------------------------------------------------------------------------------------


def _measure_windows(theirs: Callable) -> Iterator[tuple[str, Any]]:
    numbers = Numbers()
    for heads, dim, block_size, halo, height, width in (
        (2, 3, 2, 1, 4, 6),
        (1, 2, 3, 2, 6, 9),
        (2, 2, 4, 3, 8, 4),
        (3, 1, 2, 3, 2, 6),
        (2, 2, 2, 0, 4, 2),
    ):
        x = numbers(2, heads * dim, height, width)
        before = x.clone()
        out = theirs(x, heads, block_size, halo)
        where = (
            f"of a map of {height}x{width} in blocks of {block_size}x{block_size} with a halo of {halo}, {heads} heads"
        )
        yield f"the shape of the windows {where}", tuple(out.shape)
        yield f"the windows {where}", out.clone()
        yield f"the change of the map, once your function has seen it, {where}", (x - before).abs().max()


def _windows(*, pad=None, size=None, step=None, mode="constant", value=0.0, arrange=None):
    """`windows` with one thing wrong in it."""

    def wrong(x, heads, block_size, halo):
        window = size(block_size, halo) if size else block_size + 2 * halo
        stride = step(block_size, halo) if step else block_size
        sides = pad(halo) if pad else (halo,) * 4
        options = {"value": value} if mode == "constant" else {}
        x = F.pad(x, sides, mode, **options).unfold(2, window, stride).unfold(3, window, stride)
        if arrange:
            return arrange(x, heads)
        return x.unflatten(1, (heads, -1)).permute(0, 1, 3, 4, 5, 6, 2).flatten(4, 5).flatten(2, 3)

    return wrong


def _as_unfold_has_it(x: Tensor, heads: int, block_size: int, halo: int) -> Tensor:
    """F.unfold puts the channels before the pixels of a window; this takes them for the last."""
    window = block_size + 2 * halo
    x = F.unfold(x, window, padding=halo, stride=block_size).unflatten(1, (heads, -1))
    return x.transpose(2, 3).unflatten(3, (window**2, -1))


def _inside_of_next_blocks(x: Tensor, heads: int, block_size: int, halo: int) -> Tensor:
    out = windows(x, heads, block_size, halo)
    window = block_size + 2 * halo
    near = torch.arange(window)
    near = (near >= halo) & (near < window - halo)
    cross = (near[:, None] | near[None, :]).flatten()[:, None]
    return torch.where(cross, out, torch.zeros_like(out))


CHECKS = (
    Check(
        id="halo.blocks",
        minutes=8,
        difficulty="medium",
        ours=Blocks,
        measure=_measure_blocks,
        mistakes={
            "that deals the channels out to the heads in turn, like cards": _HeadsFast,
            "that numbers its blocks column by column": _Columns,
            "that reads the pixels of a block column by column": _PixelColumns,
            "that combs the map: a block is every so-many-th pixel, not neighbours": _Comb,
            "that only reshapes, and permutes nothing: it comes back whole, but its blocks are no blocks": _OnlyReshapes,
            "that takes what F.unfold returns for pixels first, channels last": _ChannelsFirst,
            "that exchanges height and width, and so is right on square maps only": _Exchanged,
            "whose join lays the blocks one after the other instead of side by side": _JoinReshapes,
            "whose join puts the heads behind the channels of a head": _JoinDimFirst,
        },
        hints=(
            "A map 6 pixels wide in blocks of 2: which block, and which place in it, has the pixel in column 3?",
            "Split three axes in two: the channels into (heads, dim), the height into (rows, y), the width into (columns, "
            + "x). Then bring the seven axes into the order asked for, and merge.",
            "x.unflatten(1, (heads, -1)).unflatten(4, (width // b, b)).unflatten(3, (height // b, b)) has the axes (batch, "
            + "heads, dim, rows, y, columns, x). permute them, then flatten. join goes the same way backwards.",
        ),
    ),
    Check(
        id="halo.windows",
        minutes=8,
        difficulty="medium",
        ours=windows,
        measure=_measure_windows,
        mistakes={
            "whose halo is on the right and below only: the map is padded there alone": _windows(
                pad=lambda halo: (0, 2 * halo, 0, 2 * halo)
            ),
            "whose halo is on the left and above only": _windows(pad=lambda halo: (2 * halo, 0, 2 * halo, 0)),
            "that adds the halo once, not on both sides: a window of block_size + halo": _windows(
                size=lambda block_size, halo: block_size + halo
            ),
            "whose windows step by a window, not by a block": _windows(
                step=lambda block_size, halo: block_size + 2 * halo
            ),
            "that repeats the edge of the map where there should be zeros": _windows(mode="replicate"),
            "that goes round to the other side of the map where there should be zeros": _windows(mode="circular"),
            "that pads with ones": _windows(value=1.0),
            "in which the pixels of a window stand column by column": _windows(
                arrange=lambda x, heads: (
                    x.unflatten(1, (heads, -1)).permute(0, 1, 3, 4, 6, 5, 2).flatten(4, 5).flatten(2, 3)
                )
            ),
            "whose windows are numbered column by column": _windows(
                arrange=lambda x, heads: (
                    x.unflatten(1, (heads, -1)).permute(0, 1, 4, 3, 5, 6, 2).flatten(4, 5).flatten(2, 3)
                )
            ),
            "that deals the channels out to the heads in turn, like cards": _windows(
                arrange=lambda x, heads: (
                    x.unflatten(1, (-1, heads)).permute(0, 2, 3, 4, 5, 6, 1).flatten(4, 5).flatten(2, 3)
                )
            ),
            "that takes what F.unfold returns for pixels first, channels last": _as_unfold_has_it,
            "without the corners of the halo": _inside_of_next_blocks,
        },
        hints=(
            "How far apart are the left edges of two neighbouring windows? Not as far as a window is wide.",
            "Pad the map by the halo on all four sides. Then windows of block_size + 2 * halo, one every block_size pixels: "
            + "x.unfold(dimension, size, step) makes them along one axis.",
            "F.pad(x, (halo,) * 4).unfold(2, window, block_size).unfold(3, window, block_size) has the axes (batch, channels, "
            + "rows, columns, u, v). Split the channels into heads and dim, permute dim to the end, flatten.",
        ),
    ),
)
