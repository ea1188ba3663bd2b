"""Halo attention again, for speed: the same numbers as `halo_attention` in halonet.py, without its large tensors.

Imports halo_pieces, the form for the CPU. Read the formula in halonet.py first; here is what it is traded for.

The readable form writes every window (3 times the keys and values), every logit and every position term to memory
and reads them back, and that costs more than the arithmetic. Three ideas avoid it:

1. *Positions are channels.* With a query's position terms row[u] and column[v] appended to it, and the one-hot vectors
   of u and v appended to the key (u, v), one plain product gives content + row[u] + column[v]. No bias exists, and any
   kernel for plain attention will do: `scaled_dot_product_attention` on a GPU.
2. *Padding is never computed.* Keys outside the map hold zeros, so a row of them differs only by position, and
   sum over v of exp(row[u] + column[v]) = exp(row[u] + logsumexp(column)). One stand-in key for each row and column
   outside the map takes the padding's share of the softmax; in an 8x8 map with halo 3, 12 keys replace 132.
3. *Pieces that fit the cache* (CPU). As many pictures at a time as fit with all their logits; if not even one does,
   as many of its blocks. Blocks whose windows show equally much of the map go through one batched product, so a small
   batch takes few operators. Backward keeps nothing but the inputs and computes the softmax once more.

The price is this file, a second computation of the softmax in training, and no second derivative.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from netwright.nets.halo_pieces import attend_in_pieces, cut_into_blocks, memory_format_of, position_channels


def fast_halo_attention(
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
    """`halo_attention`, faster: same arguments, same result, in the memory format of `query`.

    On a CPU in pieces, one opaque operator to torch.compile; elsewhere one call of `scaled_dot_product_attention`.
    Raises ValueError where shapes do not fit. For second derivatives or torch.func on a CPU use `halo_attention`.
    """
    height, width = key_value.shape[2:]
    table = (4 * halo + 2 * block_size - 1, key_dim)
    if height % block_size or width % block_size or 0 in (height, width):
        raise ValueError(
            f"Halo attention needs a map that {block_size}x{block_size} blocks tile, not {height}x{width}."
        )
    side = query.shape[2] * block_size // height  # of a block, in queries
    for name, found, wanted in (
        ("query", query.shape[1:], (heads * key_dim, height // block_size * side, width // block_size * side)),
        ("key_value", key_value.shape[1:2], (heads * (key_dim + value_dim),)),
        ("height_table", height_table.shape, table),
        ("width_table", width_table.shape, table),
    ):
        if tuple(found) != wanted or side == 0:
            raise ValueError(f"Halo attention got {name} of {tuple(found)} where {wanted} fits its other arguments.")

    tensors = query, *(t.to(query.dtype) for t in (key_value, height_table, width_table))
    attend = attend_in_pieces if query.device.type == "cpu" else folded_attention
    return attend(*tensors, heads, block_size, halo, key_dim, value_dim)


def folded_attention(
    query: Tensor, key_value: Tensor, height_table: Tensor, width_table: Tensor,
    heads: int, block_size: int, halo: int, key_dim: int, value_dim: int,
) -> Tensor:  # fmt: skip
    """Idea 1 alone, for devices with fused attention kernels: no logit and no bias is written to memory."""
    window = block_size + 2 * halo
    rows, columns = (size // block_size for size in key_value.shape[2:])
    q = cut_into_blocks(query, rows, columns, heads)  # (rows, columns, batch, heads, y, x, key_dim)
    side = q.shape[4]
    offset = torch.arange(window, device=q.device) - torch.arange(side, device=q.device)[:, None] + window - 1
    by_row = torch.einsum("rcbnyxd,yud->rcbnyxu", q, height_table[offset])
    by_column = torch.einsum("rcbnyxd,xvd->rcbnyxv", q, width_table[offset])
    features = torch.cat((by_row, by_column, q * key_dim**-0.5), -1).flatten(4, 5).flatten(0, 2)

    windows = F.unfold(key_value, window, padding=halo, stride=block_size)  # (batch, channels * window², blocks)
    windows = windows.unflatten(1, (heads, -1, window**2)).permute(4, 0, 1, 3, 2).flatten(0, 1)
    k, v = windows.split((key_dim, value_dim), -1)  # (blocks * batch, heads, keys, key_dim or value_dim)
    # Past the cache: while a compiler traces, it would keep a tensor that holds nothing.
    one_hot = position_channels.__wrapped__(window, (0, window), (0, window), q.dtype)[:, : 2 * window].to(q.device)
    k = torch.cat((one_hot.expand(*k.shape[:2], -1, -1), k), -1)

    out = F.scaled_dot_product_attention(features, k, v, scale=1.0)
    out = out.view(rows, columns, -1, heads, side, side, value_dim).permute(2, 3, 6, 0, 4, 1, 5)
    return out.reshape(-1, heads * value_dim, *query.shape[2:]).contiguous(memory_format=memory_format_of(query))
