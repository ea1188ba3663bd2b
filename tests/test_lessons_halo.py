"""The exercises of notebook 06: what the checks accept and refuse, who else says so, and what the figures show."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from answers import judging
from netwright import notebooks
from netwright.lessons import halo
from netwright.lessons.halo import attending, cutting, experiments, limits, pictures, positions, whole
from netwright.lessons.trying import Numbers
from netwright.nets.config import Halo
from netwright.nets.halonet import HaloAttention, halo_attention
from netwright.nets.zoo import build
from netwright.probing.difference import first_difference
from peers import timm

CHECKS = {each.id.removeprefix("halo."): each for each in halo.CHECKS}


passes, refused = judging("halo")


# Correct answers, written otherwise -------------------------------------------------------------------------------


class BlocksInLoops(cutting.Blocks):
    def cut(self, x):
        b, (batch, channels, height, width) = self.block_size, x.shape
        out = x.new_empty(batch, self.heads, height // b * (width // b), b * b, channels // self.heads)
        for row in range(height):
            for column in range(width):
                block = row // b * (width // b) + column // b
                out[:, :, block, row % b * b + column % b] = x[:, :, row, column].reshape(batch, self.heads, -1)
        return out

    def join(self, blocks, height, width):
        b = self.block_size
        out = blocks.new_empty(len(blocks), self.heads * blocks.shape[-1], height, width)
        for row in range(height):
            for column in range(width):
                block = row // b * (width // b) + column // b
                out[:, :, row, column] = blocks[:, :, block, row % b * b + column % b].flatten(1)
        return out


class BlocksByUnfold(cutting.Blocks):
    def cut(self, x):
        b = self.block_size
        x = F.unfold(x, b, stride=b)  # (batch, heads * dim * block², blocks)
        return x.reshape(len(x), self.heads, -1, b * b, x.shape[-1]).permute(0, 1, 4, 3, 2)

    def join(self, blocks, height, width):
        x = blocks.permute(0, 1, 4, 3, 2).flatten(1, 3)
        return F.fold(x, (height, width), self.block_size, stride=self.block_size)


class BlocksBySlices(cutting.Blocks):
    def cut(self, x):
        b = self.block_size
        rows = [torch.stack(row.split(b, dim=3), 1) for row in x.split(b, dim=2)]
        x = torch.cat(rows, 1)  # (batch, blocks, channels, b, b)
        return x.reshape(*x.shape[:2], self.heads, -1, b * b).transpose(1, 2).transpose(3, 4)

    def join(self, blocks, height, width):
        b, count = self.block_size, width // self.block_size
        tiles = blocks.permute(2, 0, 1, 4, 3).reshape(blocks.shape[2], len(blocks), -1, b, b)
        lines = [torch.cat(list(tiles[i : i + count]), dim=3) for i in range(0, len(tiles), count)]
        return torch.cat(lines, dim=2)


def windows_by_unfold(x, heads, block_size, halo):
    window = block_size + 2 * halo
    x = F.unfold(x, window, padding=halo, stride=block_size)
    return x.reshape(len(x), heads, -1, window**2, x.shape[-1]).permute(0, 1, 4, 3, 2)


def windows_in_loops(x, heads, block_size, halo):
    height, width = x.shape[2:]
    window, found = block_size + 2 * halo, []
    for top in range(-halo, height - halo, block_size):
        for left in range(-halo, width - halo, block_size):
            one = x.new_zeros(*x.shape[:2], window, window)
            for u in range(window):
                for v in range(window):
                    if 0 <= top + u < height and 0 <= left + v < width:
                        one[:, :, u, v] = x[:, :, top + u, left + v]
            found.append(one)
    return torch.stack(found, 1).unflatten(2, (heads, -1)).flatten(4).permute(0, 2, 1, 4, 3)


def windows_by_convolution(x, heads, block_size, halo):
    window = block_size + 2 * halo
    pick = torch.eye(window**2).view(window**2, 1, window, window)
    batch, channels = x.shape[:2]
    out = F.conv2d(x.reshape(batch * channels, 1, *x.shape[2:]), pick, stride=block_size, padding=halo)
    return out.view(batch, heads, channels // heads, window**2, -1).permute(0, 1, 4, 3, 2)


def attend_by_hand(q, k, v, position):
    logits = torch.einsum("...qd,...kd->...qk", q / math.sqrt(q.size(-1)), k).add_(position)
    logits = (logits - logits.max(-1, keepdim=True).values).exp()
    weights = logits / logits.sum(-1, keepdim=True)
    return torch.einsum("...qk,...kd->...qd", weights, v), weights


def attend_by_torch(q, k, v, position):
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=position)
    weights = F.scaled_dot_product_attention(
        q, k, torch.eye(k.shape[-2], dtype=k.dtype).expand(*k.shape[:-1], -1), attn_mask=position
    )
    return out, weights


def attend_one_query_at_a_time(q, k, v, position):
    lines = []
    for i in range(q.shape[-2]):
        content = (k * q[..., i : i + 1, :]).sum(-1) * q.shape[-1] ** -0.5
        lines.append(torch.softmax(content + position[..., i, :], -1))
    weights = torch.stack(lines, -2)
    return torch.matmul(weights, v), weights


def loop_by_products(q, height_table, width_table):
    side, window = q.shape[0], len(height_table) // 2 + 1
    logits = torch.zeros(side, side, window, window)
    for y in range(side):
        for u in range(window):
            logits[y, :, u, :] += (q[y] @ height_table[u - y + window - 1])[:, None]
    for x in range(side):
        for v in range(window):
            logits[:, x, :, v] += (q[:, x] @ width_table[v - x + window - 1])[:, None]
    return logits


def loop_by_lists(q, height_table, width_table):
    side, window = range(len(q)), range((len(height_table) + 1) // 2)
    top = len(window) - 1
    return torch.stack([
        torch.stack([
            torch.stack([
                torch.stack([sum(q[y, x] * (height_table[top + u - y] + width_table[top + v - x])) for v in window])
                for u in window
            ])
            for x in side
        ])
        for y in side
    ])  # fmt: skip


def loop_without_loops(q, height_table, width_table):
    side, window = len(q), (len(height_table) + 1) // 2
    flat = positions.relative_shift(q.reshape(1, 1, 1, side * side, -1), height_table, width_table)
    return flat.view(side, side, window, window)


def _skewed(q, table):
    """The older way: q (…, side, dim) times the whole table, every line shifted by one place: (…, side, window)."""
    side, rows = q.shape[-2], len(table)
    window = (rows + 1) // 2
    x = F.pad(q @ table.T, (0, 1)).flatten(-2)  # (…, side * (rows + 1))
    x = F.pad(x, (0, rows - side)).unflatten(-1, (side + 1, rows))
    return x[..., :side, window - 1 :]


def shift_by_reshaping(q, height_table, width_table):
    side = math.isqrt(q.shape[3])
    q = q.unflatten(3, (side, side))
    by_width = _skewed(q, width_table)  # (…, y, x, v)
    by_height = _skewed(q.transpose(3, 4), height_table).transpose(3, 4)  # (…, y, x, u)
    return (by_height.unsqueeze(-1) + by_width.unsqueeze(-2)).flatten(5).flatten(3, 4)


def shift_by_gathering(q, height_table, width_table):
    side, window = math.isqrt(q.shape[-2]), (len(height_table) + 1) // 2
    pixel, key = torch.arange(side**2), torch.arange(window**2)
    down = key[None] // window - pixel[:, None] // side + window - 1  # (queries, keys)
    right = key[None] % window - pixel[:, None] % side + window - 1
    every_down, every_right = q @ height_table.T, q @ width_table.T  # (…, queries, rows)
    down, right = (index.expand(*q.shape[:-1], -1) for index in (down, right))
    return every_down.gather(-1, down) + every_right.gather(-1, right)


def shift_by_vectors(q, height_table, width_table):
    side, window = math.isqrt(q.shape[-2]), (len(height_table) + 1) // 2
    y, x = torch.arange(side).view(-1, 1, 1, 1), torch.arange(side).view(1, -1, 1, 1)
    u, v = torch.arange(window).view(1, 1, -1, 1), torch.arange(window).view(1, 1, 1, -1)
    vectors = height_table[u - y + window - 1] + width_table[v - x + window - 1]  # (y, x, u, v, dim)
    return torch.einsum("bncqd,qkd->bncqk", q, vectors.view(side**2, window**2, -1))


def shift_by_rows(q, height_table, width_table):
    side, window = math.isqrt(q.shape[-2]), (len(height_table) + 1) // 2
    q = q.unflatten(-2, (side, side))
    logits = q.new_zeros(*q.shape[:-1], window, window)
    for i in range(side):  # rows of queries, not pixels
        logits[..., i, :, :, :] += (q[..., i, :, :] @ height_table[window - 1 - i : 2 * window - 1 - i].T).unsqueeze(-1)
        logits[..., i, :, :] += (q[..., i, :] @ width_table[window - 1 - i : 2 * window - 1 - i].T).unsqueeze(-2)
    return logits.flatten(-2).flatten(-3, -2)


def attention_of_parts(query, key_value, height_table, width_table, *, heads, block_size, halo, key_dim, value_dim):
    blocks = cutting.Blocks(heads, block_size)
    q = blocks.cut(query)
    k, v = windows_by_unfold(key_value, heads, block_size, halo).split((key_dim, value_dim), dim=-1)
    out, _ = attend_by_torch(q, k, v, shift_by_gathering(q, height_table, width_table))
    return blocks.join(out, *query.shape[2:])


def attention_by_timm(query, key_value, height_table, width_table, *, heads, block_size, halo, key_dim, value_dim):
    """timm's layer, with projections that only pick channels."""
    channels = query.shape[1] + key_value.shape[1]
    layer = timm.layers.halo_attn.HaloAttn(
        channels, heads * value_dim, num_heads=heads, dim_head=key_dim, block_size=block_size, halo_size=halo
    )
    with torch.no_grad():
        layer.q.weight.copy_(torch.eye(channels)[: query.shape[1], :, None, None])
        layer.kv.weight.copy_(torch.eye(channels)[query.shape[1] :, :, None, None])
    del layer.pos_embed.height_rel, layer.pos_embed.width_rel
    layer.pos_embed.height_rel, layer.pos_embed.width_rel = height_table, width_table
    return layer(torch.cat((query, key_value), 1))


def attention_in_pixels(query, key_value, height_table, width_table, *, heads, block_size, halo, key_dim, value_dim):
    height, width = key_value.shape[2:]
    window = block_size + 2 * halo
    q, content = query.unflatten(1, (heads, -1)), key_value.unflatten(1, (heads, -1))
    lines = []
    for row in range(height):
        for column in range(width):
            logits, values = [], []
            top, left = row // block_size * block_size - halo, column // block_size * block_size - halo
            one = q[:, :, :, row, column]
            for u in range(window):
                for v in range(window):
                    inside = 0 <= top + u < height and 0 <= left + v < width
                    pixel = content[:, :, :, top + u, left + v] if inside else torch.zeros_like(content[:, :, :, 0, 0])
                    position = height_table[u - row % block_size + window - 1]
                    position = position + width_table[v - column % block_size + window - 1]
                    key, value = pixel.split((key_dim, value_dim), 2)
                    logits.append((one * (key / key_dim**0.5 + position)).sum(2))
                    values.append(value)
            weights = torch.stack(logits, -1).softmax(-1)
            lines.append(torch.einsum("bnk,bndk->bnd", weights, torch.stack(values, -1)).flatten(1))
    return torch.stack(lines, -1).unflatten(2, (height, width))


def strided_of_all(query, key_value, height_table, width_table, **sizes):
    """Even blocks: the readable form with an explicit strided query. Odd: means by reshaping."""
    if sizes["block_size"] % 2:
        out = halo_attention(query, key_value, height_table, width_table, **sizes)
        return out.unflatten(3, (-1, 2)).mean(4).unflatten(2, (-1, 2)).mean(3)
    asking = F.interpolate(query, scale_factor=0.5, mode="nearest")
    return experiments.halo_attention(asking, key_value, height_table, width_table, **sizes)


def limits_by_blocks(query, key_value, height_table, width_table, *, heads, key_dim, value_dim):
    """Over flattened pixels, with the pairs' offsets in a matrix."""
    height, width = query.shape[2:]
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    row, column = row.flatten(), column.flatten()
    position = height_table[row[None] - row[:, None] + height - 1] + width_table[column - column[:, None] + width - 1]
    q = query.unflatten(1, (heads, -1)).flatten(3).transpose(2, 3)
    k, v = key_value.unflatten(1, (heads, -1)).flatten(3).transpose(2, 3).split((key_dim, value_dim), dim=-1)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=torch.einsum("bnqd,qkd->bnqk", q, position))
    return out.transpose(2, 3).flatten(1, 2).view(len(query), -1, height, width)


class LayerOfModules(nn.Module):
    def __init__(self, channels, config, stride=1):
        super().__init__()
        value_dim = channels // config.heads
        key_dim = value_dim if config.key_dim is None else config.key_dim
        self.sizes = {**vars(config), "key_dim": key_dim, "value_dim": value_dim}
        self.stride = stride
        self.key_value = nn.Conv2d(channels, config.heads * (key_dim + value_dim), 1, bias=False)
        self.query = nn.Conv2d(channels, config.heads * key_dim, 1, bias=False)
        rows = 4 * config.halo + 2 * config.block_size - 1
        self.width_table = nn.Parameter(torch.zeros(rows, key_dim))
        self.height_table = nn.Parameter(torch.zeros(rows, key_dim))

    def forward(self, x):
        assert x.shape[2] % self.sizes["block_size"] == 0 == x.shape[3] % self.sizes["block_size"]
        attend = whole.strided if self.stride == 2 else attention_of_parts
        return attend(self.query(x), self.key_value(x), self.height_table, self.width_table, **self.sizes)


class LayerThatPadsFirst(HaloAttention):
    """Without a bias it is the same to pad the map and then project it."""

    def forward(self, x):
        halo = self.halo
        if x.shape[2] % self.block_size or x.shape[3] % self.block_size:
            raise RuntimeError("no")
        around = self.key_value(F.pad(x, (halo,) * 4))[:, :, halo : halo + x.shape[2], halo : halo + x.shape[3]]
        sizes = {name: getattr(self, name) for name in ("heads", "block_size", "halo", "key_dim", "value_dim")}
        return self.pool(halo_attention(self.query(x), around, self.height_table, self.width_table, **sizes))


class LayerThatDraws(LayerOfModules):
    """Its first numbers are random, and others than ours: that must not change what it is asked."""

    def __init__(self, channels, config, stride=1):
        super().__init__(channels, config, stride)
        for table in (self.height_table, self.width_table):
            nn.init.trunc_normal_(table)

    def forward(self, x):
        torch.rand(3)
        return super().forward(x)


class LayerOfFunctions(HaloAttention):
    def forward(self, x):
        sizes = {name: getattr(self, name) for name in ("heads", "block_size", "halo", "key_dim", "value_dim")}
        if any(size % self.block_size for size in x.shape[2:]):
            raise ValueError("no")
        q = torch.einsum("oc,bchw->bohw", self.query.weight.flatten(1), x)
        kv = F.conv2d(x, self.key_value.weight)
        if self.query.stride[0] == 2 or not isinstance(self.pool, nn.Identity):
            return whole.strided(q, kv, self.height_table, self.width_table, **sizes)
        return attention_in_pixels(q, kv, self.height_table, self.width_table, **sizes)


def mass_by_counting(weights, rows, columns, halo):
    block_size = math.isqrt(weights.shape[-1]) - 2 * halo
    window, share = block_size + 2 * halo, torch.zeros(weights.shape[:-1])
    for block in range(rows * columns):
        for key in range(window**2):
            y = block // columns * block_size - halo + key // window
            x = block % columns * block_size - halo + key % window
            if not (0 <= y < rows * block_size and 0 <= x < columns * block_size):
                share[:, :, block] += weights[:, :, block, :, key]
    return share


def mass_by_what_is_left(weights, rows, columns, halo):
    block_size = math.isqrt(weights.shape[-1]) - 2 * halo
    inside = windows_by_unfold(torch.ones(1, 1, rows * block_size, columns * block_size), 1, block_size, halo)
    return 1 - (weights * inside.squeeze(-1).unsqueeze(3)).sum(-1)


def mass_by_masks(weights, rows, columns, halo):
    window = math.isqrt(weights.shape[-1])
    block_size = window - 2 * halo

    def outside(count):
        place = block_size * torch.arange(count)[:, None] - halo + torch.arange(window)
        return (place < 0) | (place >= count * block_size)

    either = outside(rows)[:, None, :, None] | outside(columns)[None, :, None, :]
    return weights.masked_fill(~either.reshape(1, 1, rows * columns, 1, -1), 0).sum(-1)


def memory_of_real_tensors(batch, height, width, *, heads, block_size, halo, key_dim, value_dim):
    windows = cutting.windows(
        torch.zeros(1, heads * (key_dim + value_dim), height, width).float(), heads, block_size, halo
    )
    queries = cutting.Blocks(heads, block_size).cut(torch.zeros(1, heads * key_dim, height, width).float())
    logits = queries.shape[:4].numel() * windows.shape[3]
    return batch * windows.numel() * windows.element_size(), 4 * batch * logits


def memory_in_floats(batch, height, width, *, heads, block_size, halo, key_dim, value_dim):
    pixels, share = batch * height * width * heads, (1 + 2 * halo / block_size) ** 2
    return [pixels * share * (key_dim + value_dim) * 4, torch.tensor(pixels * share * block_size**2 * 4)]


def memory_by_a_loop(batch, height, width, *, heads, block_size, halo, key_dim, value_dim):
    windows = logits = 0
    for _top in range(0, height, block_size):
        for _left in range(0, width, block_size):
            keys = (block_size + halo + halo) ** 2
            windows += keys * (key_dim + value_dim)
            logits += keys * block_size * block_size
    return windows * heads * batch * 4, logits * heads * batch * 4


RIGHT = [
    ("blocks", BlocksInLoops),
    ("blocks", BlocksByUnfold),
    ("blocks", BlocksBySlices),
    ("windows", windows_by_unfold),
    ("windows", windows_in_loops),
    ("windows", windows_by_convolution),
    ("attend", attend_by_hand),
    ("attend", attend_by_torch),
    ("attend", attend_one_query_at_a_time),
    ("relative_loop", loop_by_products),
    ("relative_loop", loop_by_lists),
    ("relative_loop", loop_without_loops),
    ("relative_shift", shift_by_reshaping),
    ("relative_shift", shift_by_gathering),
    ("relative_shift", shift_by_vectors),
    ("relative_shift", shift_by_rows),
    ("attention", attention_of_parts),
    ("attention", attention_by_timm),
    ("attention", attention_in_pixels),
    ("strided", strided_of_all),
    ("limits", limits_by_blocks),
    ("layer", LayerOfModules),
    ("layer", LayerThatPadsFirst),
    ("layer", LayerOfFunctions),
    ("layer", LayerThatDraws),
    ("padding_mass", mass_by_counting),
    ("padding_mass", mass_by_what_is_left),
    ("padding_mass", mass_by_masks),
    ("memory", memory_of_real_tensors),
    ("memory", memory_in_floats),
    ("memory", memory_by_a_loop),
]


@pytest.mark.parametrize(("name", "theirs"), RIGHT, ids=lambda value: getattr(value, "__name__", value))
def test_a_right_answer_in_another_form_passes(name, theirs):
    assert passes(name, theirs)


# Wrong answers that no catalogue has ------------------------------------------------------------------------------


class OnlyOnePicture(cutting.Blocks):
    def cut(self, x):
        return super().cut(x[:1]).expand(len(x), -1, -1, -1, -1)


class OverwritesTheMap(cutting.Blocks):
    def cut(self, x):
        return super().cut(x.mul_(1.5))


class JoinsMirrored(cutting.Blocks):
    def join(self, blocks, height, width):
        return super().join(blocks.flip(2), height, width)


class CutsBackwards(cutting.Blocks):
    def cut(self, x):
        return super().cut(x).flip(3)


def windows_moved_by_one(x, heads, block_size, halo):
    return cutting.windows(x.roll(1, 3), heads, block_size, halo)


def windows_reflected(x, heads, block_size, halo):
    padded = F.pad(x, (halo,) * 4, mode="reflect") if halo < min(x.shape[2:]) else F.pad(x, (halo,) * 4)
    return cutting.windows(padded, heads, block_size, 0) if halo == 0 else _inner(padded, heads, block_size, halo)


def _inner(padded, heads, block_size, halo):
    window = block_size + 2 * halo
    x = padded.unfold(2, window, block_size).unfold(3, window, block_size)
    return x.unflatten(1, (heads, -1)).permute(0, 1, 3, 4, 5, 6, 2).flatten(4, 5).flatten(2, 3)


def windows_that_round(x, heads, block_size, halo):
    return cutting.windows(x.float(), heads, block_size, halo).double()


def attend_in_float32(q, k, v, position):
    out, weights = attending.attend(q.float(), k.float(), v.float(), position.float())
    return out.double(), weights.double()


def attend_normalised(q, k, v, position):
    return attending.attend(F.normalize(q, dim=-1), k, v, position)


def attend_with_a_fixed_root(q, k, v, position):
    weights = (q @ k.transpose(-1, -2) / 2 + position).softmax(-1)
    return weights @ v, weights


def attend_with_eps(q, k, v, position):
    weights = attending.attend(q, k, v, position)[1]
    weights = weights / (weights.sum(-1, keepdim=True) + 1e-6)
    return weights @ v, weights


def loop_multiplied(q, height_table, width_table):
    a = positions.relative_loop(q, height_table, 0 * width_table)
    return a * positions.relative_loop(q, 0 * height_table, width_table)


def loop_clamped(q, height_table, width_table):
    """Offsets to the left of the query all count as the nearest."""
    side, window = len(q), (len(height_table) + 1) // 2
    row = (torch.arange(window) - torch.arange(side)[:, None]).clamp(min=0) + window - 1
    return positions._logits(q, height_table[row], width_table[row])


def loop_absolute(q, height_table, width_table):
    side, window = len(q), (len(height_table) + 1) // 2
    row = (torch.arange(window) - torch.arange(side)[:, None]).abs() + window - 1
    return positions._logits(q, height_table[row], width_table[row])


def shift_of_one_block(q, height_table, width_table):
    return positions.relative_shift(q[:, :, :1], height_table, width_table).expand(-1, -1, q.shape[2], -1, -1)


def shift_in_blocks_of_two(q, height_table, width_table):
    if math.isqrt(q.shape[-2]) % 2:
        return positions.relative_shift(q.flip(-2), height_table, width_table)
    return positions.relative_shift(q, height_table, width_table)


def shift_without_gradient(q, height_table, width_table):
    return positions.relative_shift(q, height_table.roll(1, 0), width_table)


def attention_of_square_maps(query, key_value, *tables, **sizes):
    if query.shape[2] == query.shape[3]:
        return halo_attention(query, key_value, *tables, **sizes)
    return halo_attention(query.flip(2), key_value, *tables, **sizes)


def attention_with_detached_tables(query, key_value, *tables, **sizes):
    detached = [t.detach() + 0 * t for t in tables]
    return halo_attention(query, key_value, *detached, **sizes)


def attention_of_position_by_keys(query, key_value, height_table, width_table, **sizes):
    return halo_attention(query, key_value, height_table.flip(0), width_table.flip(0), **sizes)


def attention_that_leaks_padding(query, key_value, *tables, **sizes):
    return halo_attention(query, key_value + 1e-6, *tables, **sizes)


def strided_by_a_larger_mean(query, *others, **sizes):
    out = whole.strided(query, *others, **sizes)
    return out if sizes["block_size"] % 2 == 0 else out * 4  # a sum


def strided_from_the_right(query, *others, **sizes):
    if sizes["block_size"] % 2:
        return whole.strided(query, *others, **sizes)
    return halo_attention(query[:, :, ::2, 1::2], *others, **sizes)


def strided_that_scales_twice(query, *others, **sizes):
    return whole.strided(query / 2, *others, **sizes)


def limits_of_the_first_row(query, key_value, height_table, width_table, **dims):
    return limits.global_attention(query, key_value, height_table.roll(1, 0), width_table, **dims)


def limits_of_turned_maps(query, key_value, height_table, width_table, **dims):
    out = limits.global_attention(query.transpose(2, 3), key_value.transpose(2, 3), width_table, height_table, **dims)
    return out.transpose(2, 3).flip(1)


def limits_masked_to_itself(query, key_value, *tables, heads, key_dim, value_dim):
    out = limits.global_attention(query, key_value, *tables, heads=heads, key_dim=key_dim, value_dim=value_dim)
    own = key_value.unflatten(1, (heads, -1))[:, :, key_dim:].flatten(1, 2)
    return out + 1e-3 * own


class LayerWithAnExtraBuffer(HaloAttention):
    def __init__(self, channels, config, stride=1):
        super().__init__(channels, config, stride)
        self.register_buffer("index", torch.zeros(3))


class LayerOfTwoScales(HaloAttention):
    def forward(self, x):
        return super().forward(x) * (1.0 if not self.training else 1.01)


class LayerOfOneHead(HaloAttention):
    def __init__(self, channels, config, stride=1):
        super().__init__(channels, config, stride)
        if config.heads == 3:
            self.halo = config.halo
            self.register_forward_hook(lambda module, args, out: out.roll(1, 1))


class LayerThatDetachesKeys(HaloAttention):
    def forward(self, x):
        if x.shape[2] % self.block_size or x.shape[3] % self.block_size:
            raise ValueError("no")
        sizes = {name: getattr(self, name) for name in ("heads", "block_size", "halo", "key_dim", "value_dim")}
        key_value = self.key_value(x.detach())
        return self.pool(halo_attention(self.query(x), key_value, self.height_table, self.width_table, **sizes))


def mass_per_block(weights, rows, columns, halo):
    share = attending.padding_mass(weights, rows, columns, halo)
    return share[:, :1].expand(share.shape)  # the first head's, for all


def mass_of_squares(weights, rows, columns, halo):
    share = attending.padding_mass(weights, rows, columns, halo)
    return share**2


def mass_with_a_threshold(weights, rows, columns, halo):
    return attending.padding_mass(weights * (weights > 0.01), rows, columns, halo)


def memory_rounded_up(batch, height, width, **sizes):
    return limits.memory(batch, height + sizes["block_size"], width, **sizes)


def memory_with_tables(batch, height, width, **sizes):
    windows, logits = limits.memory(batch, height, width, **sizes)
    return windows + 4 * 2 * (2 * (sizes["block_size"] + 2 * sizes["halo"]) - 1) * sizes["key_dim"], logits


def memory_of_square_maps(batch, height, width, **sizes):
    return limits.memory(batch, height, height, **sizes)


def memory_swapped(batch, height, width, **sizes):
    return limits.memory(batch, height, width, **sizes)[::-1]


WRONG = [
    ("blocks", OnlyOnePicture),
    ("blocks", OverwritesTheMap),
    ("blocks", JoinsMirrored),
    ("blocks", CutsBackwards),
    ("windows", windows_moved_by_one),
    ("windows", windows_reflected),
    ("windows", windows_that_round),
    ("attend", attend_in_float32),
    ("attend", attend_normalised),
    ("attend", attend_with_a_fixed_root),
    ("attend", attend_with_eps),
    ("relative_loop", loop_multiplied),
    ("relative_loop", loop_clamped),
    ("relative_loop", loop_absolute),
    ("relative_shift", shift_of_one_block),
    ("relative_shift", shift_in_blocks_of_two),
    ("relative_shift", shift_without_gradient),
    ("attention", attention_of_square_maps),
    ("attention", attention_with_detached_tables),
    ("attention", attention_of_position_by_keys),
    ("attention", attention_that_leaks_padding),
    ("strided", strided_by_a_larger_mean),
    ("strided", strided_from_the_right),
    ("strided", strided_that_scales_twice),
    ("limits", limits_of_the_first_row),
    ("limits", limits_of_turned_maps),
    ("limits", limits_masked_to_itself),
    ("layer", LayerWithAnExtraBuffer),
    ("layer", LayerOfTwoScales),
    ("layer", LayerOfOneHead),
    ("layer", LayerThatDetachesKeys),
    ("padding_mass", mass_per_block),
    ("padding_mass", mass_of_squares),
    ("padding_mass", mass_with_a_threshold),
    ("memory", memory_rounded_up),
    ("memory", memory_with_tables),
    ("memory", memory_of_square_maps),
    ("memory", memory_swapped),
]


@pytest.mark.parametrize(("name", "theirs"), WRONG, ids=lambda value: getattr(value, "__name__", value))
def test_a_wrong_answer_that_is_in_no_catalogue_fails(name, theirs):
    assert refused(name, theirs)


def test_the_lists_above_leave_no_exercise_out():
    right, wrong = ({name for name, _ in some} for some in (RIGHT, WRONG))
    assert right == wrong == set(CHECKS)


# Who else says that ours is right ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("stride", "block_size"), [(1, 4), (1, 3), (2, 4), (2, 3)])
def test_the_layer_and_our_stride_are_timms(stride, block_size):
    torch.manual_seed(0)
    theirs = timm.layers.halo_attn.HaloAttn(
        12, stride=stride, num_heads=2, block_size=block_size, halo_size=2, dim_head=4
    ).double()
    sizes = {"heads": 2, "block_size": block_size, "halo": 2, "key_dim": 4, "value_dim": 6}
    x = torch.randn(2, 12, 12, 24).double()
    tables = theirs.pos_embed.height_rel, theirs.pos_embed.width_rel
    query = F.conv2d(x, theirs.q.weight)  # of all pixels
    form = whole.strided if stride == 2 else attention_of_parts
    found = form(query, theirs.kv(x), *tables, **sizes)
    torch.testing.assert_close(found, theirs(x), rtol=1e-10, atol=1e-12)


def test_global_attention_is_halo_attention_with_one_block_and_no_halo():
    tensors, sizes = whole.example(Numbers(), 2, 2, 3, 4, 6, 0, 1, 1)
    dims = {name: sizes[name] for name in ("heads", "key_dim", "value_dim")}
    found = limits.global_attention(*tensors, **dims)
    torch.testing.assert_close(found, halo_attention(*tensors, **sizes), rtol=1e-4, atol=1e-5)


def test_the_wrong_attention_without_a_fault_is_the_right_one():
    for case in (*whole.STRIDE_1, *whole.STRIDE_2):
        tensors, sizes = whole.example(Numbers(), *case)
        found = whole.wrong_attention()(*tensors, **sizes)
        torch.testing.assert_close(found, halo_attention(*tensors, **sizes), rtol=1e-4, atol=1e-5)


def test_the_weights_that_are_shown_are_the_layers():
    torch.manual_seed(0)
    layer = HaloAttention(8, Halo(heads=2, block_size=4, halo=1), stride=2)
    layer.reset_parameters()
    x = torch.randn(2, 8, 8, 12)
    weights = experiments.attention_weights(layer, x)
    _, v = cutting.windows(layer.key_value(x), 2, 4, 1).split((4, 4), dim=-1)
    torch.testing.assert_close(cutting.Blocks(2, 2).join(weights @ v, 4, 6), layer(x), rtol=1e-4, atol=1e-5)


def test_a_net_with_other_layers_computes_the_same():
    net = experiments.with_layer(build("halonet26t"), LayerOfModules)
    assert sum(isinstance(module, LayerOfModules) for module in net.modules()) == 3
    assert first_difference(net, "halonet26t").ok

    class Scaled(HaloAttention):
        def __init__(self, channels, config, stride=1):
            super().__init__(channels, config, stride)
            self.attend = whole.scaled_positions

    wrong = first_difference(experiments.with_layer(build("halonet26t"), Scaled), "halonet26t")
    assert not wrong.ok and wrong.first.point == "stages.2.1.middle"


# What the notebook shows ------------------------------------------------------------------------------------------


def test_the_peak_counts_what_is_alive_at_one_time():
    x = torch.zeros(1000)
    assert experiments.peak_bytes(lambda: (x + 1) + (x + 2)) == 3 * 4000
    assert experiments.peak_bytes(lambda: ((x + 1) * 2).relu()) == 2 * 4000
    assert experiments.peak_bytes(lambda: (x + 1).view(10, 100)[3:].T) == 4000
    assert experiments.peak_bytes(lambda: x.view(10, 100)) == 0


@pytest.mark.parametrize(("block_size", "halo"), [(4, 0), (8, 3), (16, 4)])
def test_the_peak_is_some_copies_of_windows_and_logits(block_size, halo):
    arguments, sizes = experiments.layer_arguments(32, 32, block_size=block_size, halo=halo)
    estimate = sum(limits.memory(1, 32, 32, **sizes))
    measured = experiments.peak_bytes(halo_attention, *arguments, **sizes)
    assert estimate < measured < 6 * estimate


def test_twice_the_side_costs_four_times_with_blocks_and_sixteen_without():
    sizes = {"heads": 4, "key_dim": 8, "value_dim": 8}
    local = [limits.memory(1, side, side, block_size=8, halo=3, **sizes)[1] for side in (16, 32)]
    everywhere = [limits.memory(1, side, side, block_size=side, halo=0, **sizes)[1] for side in (16, 32)]
    assert local[1] == 4 * local[0] and everywhere[1] == 16 * everywhere[0]


def test_a_query_at_a_border_sees_only_the_halo_beyond_it():
    seen = pictures.reach_in_a_row(halo_attention, width=32, block_size=8, halo=3)
    for column, row in enumerate(seen):
        start = column // 8 * 8
        assert np.flatnonzero(row).tolist() == list(range(max(start - 3, 0), min(start + 11, 32)))


def test_only_a_shift_by_whole_blocks_moves_the_answer_along():
    errors = pictures.shift_error(halo_attention, range(17))
    assert [shift for shift, error in enumerate(errors) if error < 1e-6] == [0, 8, 16]
    assert min(error for error in errors if error >= 1e-6) > 0.05


def test_each_deception_is_blind_for_one_mistake_and_all_of_it_for_none():
    *blind, everything = experiments.deceptions().values()
    assert [[name for name, gap in test.items() if gap < 1e-12] for test in blind] == [
        ["as published", "position scaled", "tables swapped"],
        ["as published", "padding masked"],
        ["as published", "tables swapped"],
    ]
    assert [name for name, gap in everything.items() if gap < 1e-2] == ["as published"]


@pytest.fixture(scope="module")
def trained():
    from netwright.models import create_model

    return create_model("toy_halonet", pretrained=True).eval()


def test_accuracy_hardly_notices_a_wrong_layer(trained):
    kept = [module.attend for module in trained.modules() if isinstance(module, HaloAttention)]
    accuracy = {name: experiments.accuracy_with(trained, version, 60) for name, version in experiments.WRONG.items()}
    assert accuracy["as published"] > 0.95
    assert min(accuracy.values()) > accuracy["as published"] - 0.1
    assert experiments.accuracy_with(trained, experiments.silent, 60) < accuracy["as published"] - 0.1
    assert kept == [module.attend for module in trained.modules() if isinstance(module, HaloAttention)]


def test_the_padding_gets_attention_and_some_heads_look_away_from_it(trained):
    from netwright.models import transform_for
    from netwright.toys import ToyWorld

    transform = transform_for(trained)
    images = torch.stack([transform(image) for image in ToyWorld("test").batch(range(12))["image"]])
    early, late = experiments.watch_attention(trained, images)
    assert early.mass.shape == (12, 4, 8, 8) and late.mass.shape == (12, 8, 4, 4)
    assert early.even.mean().item() == pytest.approx(1 - 11**2 / 14**2)  # a corner block of 8 with a halo of 3
    shares = late.mass.mean((0, 2, 3))
    assert shares.min() < 0.15 and shares.max() > 0.35
    seen = experiments.watch_attention(trained, images, lambda weights, *_: torch.ones(weights.shape[:-1]))
    assert all(bool((one.mass == 1).all()) for one in seen)


def test_the_small_net_has_the_readers_layer_and_the_same_start():
    small, same = experiments.small_net(LayerOfModules, 6), experiments.small_net(HaloAttention, 6)
    assert sum(isinstance(module, LayerOfModules) for module in small.modules()) == 1
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(small.eval()(images), same.eval()(images), rtol=1e-3, atol=1e-4)


def test_the_figures_say_what_they_show():
    photo = np.zeros((64, 64, 3))
    assert "75 of 196 keys" in pictures.draw_blocks(photo, block_size=8, halo=3).alt
    assert "2 of 11 never" in pictures.draw_index(4, 1).alt and "4 of 11 never" in pictures.draw_index(4, 1).alt
    memory = pictures.draw_memory(photo, limits.memory, block_size=8, halo=0, block=9)
    assert "0 keys of the marked block" in memory.alt and "logits, estimated 1.05 MB" in memory.alt


# The notebook -----------------------------------------------------------------------------------------------------


def test_the_notebook_says_minutes_and_difficulty_as_the_checks_do_in_their_order():
    source = (notebooks.ROOT / "notebooks" / "source" / "06_local_attention.py").read_text(encoding="utf-8")
    said = re.findall(r"^# \*(\d+) minutes · (\w+) · .*\*$", source, re.MULTILINE)
    asked = re.findall(r"@exercise\(\"halo\.(\w+)\"\)", source)
    assert asked == list(CHECKS)
    assert said == [(str(each.minutes), each.difficulty) for each in CHECKS.values()]
