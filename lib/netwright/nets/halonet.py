"""HaloNet (Vaswani et al. 2021, arXiv:2103.12731): the middle becomes local self-attention. Imports config, layers.

`halo_attention` is the formula, written to be read. It moves a lot of memory; halo_fast.py computes the same in
pieces that stay in cache, and is what the layer calls.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netwright.nets.config import Block, EfficientChannelAttention, Halo, NetConfig, SqueezeExcite, Stage, Stem
from netwright.nets.halo_fast import fast_halo_attention
from netwright.nets.layers import activation, normalisation

TIERED_STEM = Stem((24, 32, 64), kernel_size=3)  # the "t" of the names


def halo_attention(
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
    """Each query looks at the keys of its own block and of the halo around it (section 2.2 of the paper).

    query: (batch, heads * key_dim, height / stride, width / stride); key_value: (batch, heads * (key_dim +
    value_dim), height, width), for each head its keys, then its values; tables: (2 * window - 1, key_dim), where
    window = block_size + 2 * halo. Returns (batch, heads * value_dim, height / stride, width / stride).

    Two things that the published weights want and that papers and ports often differ in. The zeros around the
    picture are keys like any other: their content is 0, their position is not, and nothing masks them. And the
    position is compared with the query as it is; only the content is scaled.
    """
    batch, _, height, width = key_value.shape
    rows, columns = height // block_size, width // block_size  # of blocks
    side = query.shape[2] // rows  # of a block, in queries: block_size, or half of it at stride 2
    window = block_size + 2 * halo

    q = query.reshape(batch, heads, key_dim, rows, side, columns, side)
    q = q.permute(0, 1, 3, 5, 4, 6, 2)  # (batch, heads, rows, columns, y, x, key_dim)

    padded = F.pad(key_value, (halo, halo, halo, halo))
    windows = padded.unfold(2, window, block_size).unfold(3, window, block_size)
    windows = windows.reshape(batch, heads, key_dim + value_dim, rows, columns, window * window)
    k, v = windows.permute(0, 1, 3, 4, 5, 2).split((key_dim, value_dim), dim=-1)  # (…, keys, key_dim or value_dim)

    content = (q.flatten(4, 5) * key_dim**-0.5) @ k.transpose(-1, -2)  # (batch, heads, rows, columns, queries, keys)

    # Row u of the window is u - y rows below query row y; the tables start at the farthest offset upwards.
    offset = torch.arange(window)[None, :] - torch.arange(side)[:, None] + (window - 1)  # (y, u)
    by_row = torch.einsum("bnrcyxd,yud->bnrcyxu", q, height_table[offset])
    by_column = torch.einsum("bnrcyxd,xvd->bnrcyxv", q, width_table[offset])
    position = by_row[..., :, None] + by_column[..., None, :]  # (batch, heads, rows, columns, y, x, u, v)

    weights = (content + position.flatten(6, 7).flatten(4, 5)).softmax(dim=-1)
    out = weights @ v  # (batch, heads, rows, columns, queries, value_dim)

    out = out.unflatten(4, (side, side)).permute(0, 1, 6, 2, 4, 3, 5)  # (batch, heads, value_dim, rows, y, columns, x)
    return out.reshape(batch, heads * value_dim, rows * side, columns * side)


class HaloAttention(nn.Module):
    """The halo attention layer: queries, keys and values by 1x1 convolutions, then `halo_attention`.

    Shapes: (batch, channels, height, width) to (batch, channels, height / stride, width / stride). At stride 2 every
    second pixel asks; if a block cannot be halved, all ask and a 2x2 mean follows. The paper leaves this open; the
    published nets do it so. Raises ValueError when the map cannot be cut into blocks.
    """

    def __init__(self, channels: int, config: Halo, stride: int = 1):
        super().__init__()
        self.heads, self.block_size, self.halo = config.heads, config.block_size, config.halo
        self.value_dim = channels // config.heads
        self.key_dim = config.key_dim or self.value_dim
        self.attend = fast_halo_attention  # or halo_attention: the same numbers

        skips_queries = stride == 2 and config.block_size % 2 == 0
        self.query = nn.Conv2d(channels, self.heads * self.key_dim, 1, stride=2 if skips_queries else 1, bias=False)
        self.key_value = nn.Conv2d(channels, self.heads * (self.key_dim + self.value_dim), 1, bias=False)
        self.pool = nn.AvgPool2d(2) if stride == 2 and not skips_queries else nn.Identity()

        window = self.block_size + 2 * self.halo
        self.height_table = nn.Parameter(torch.empty(2 * window - 1, self.key_dim))
        self.width_table = nn.Parameter(torch.empty(2 * window - 1, self.key_dim))

    def reset_parameters(self) -> None:
        """Random projections of unit variance; tables small enough not to drown the content."""
        for projection in (self.query, self.key_value):
            nn.init.trunc_normal_(projection.weight, std=projection.in_channels**-0.5)
        for table in (self.height_table, self.width_table):
            nn.init.trunc_normal_(table, std=self.key_dim**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if height % self.block_size or width % self.block_size:
            raise ValueError(
                f"Halo attention cuts its input into blocks of {self.block_size}x{self.block_size}, and a map of "
                f"{height}x{width} cannot be cut so. Give it a picture of which both sides of this map are multiples of {self.block_size}."
            )
        out = self.attend(
            self.query(x),
            self.key_value(x),
            self.height_table,
            self.width_table,
            heads=self.heads,
            block_size=self.block_size,
            halo=self.halo,
            key_dim=self.key_dim,
            value_dim=self.value_dim,
        )
        return self.pool(out)


class AttentionMiddle(nn.Module):
    """Attention with the normalisation and activation that a convolution in its place would have."""

    def __init__(self, attention: nn.Module, channels: int, norm: str, act: str):
        super().__init__()
        self.attention = attention
        self.norm = normalisation(norm, channels)
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.attention(x)))


def interleave(depth: int, every: int, conv: Block, attention: Block) -> tuple[Block, ...]:
    """`depth` blocks, of which `every`-th is attention: with 1, conv, attention, conv, attention, …

    Attention stands at every, 2 * every + 1, 3 * every + 2, …; a stage too short for that gets one, at its end.
    """
    places = range(every, depth, every + 1) or (depth - 1,)
    return tuple(attention if i in places else conv for i in range(depth))


def _halonet50ts() -> NetConfig:
    conv = Block()
    four_heads, eight_heads = Block(spatial_attention=Halo(heads=4)), Block(spatial_attention=Halo(heads=8))
    return NetConfig(
        stem=TIERED_STEM,
        stages=(
            Stage((conv,) * 3, mid_channels=64, out_channels=256, stride=1),
            Stage(interleave(4, 4, conv, four_heads), mid_channels=128, out_channels=512),
            Stage(interleave(6, 1, conv, eight_heads), mid_channels=256, out_channels=1024),
            Stage(interleave(3, 1, conv, eight_heads), mid_channels=512, out_channels=2048),
        ),
        activation="silu",
        input_size=256,
    )


def _halonet26t() -> NetConfig:
    conv, attention = Block(), Block(spatial_attention=Halo(halo=2))
    return NetConfig(
        stem=TIERED_STEM,
        stages=(
            Stage((conv, conv), mid_channels=64, out_channels=256, stride=1),
            Stage((conv, conv), mid_channels=128, out_channels=512),
            Stage((conv, attention), mid_channels=256, out_channels=1024),
            Stage((attention, attention), mid_channels=512, out_channels=2048),
        ),
        input_size=256,
    )


def _sehalonet33ts() -> NetConfig:
    conv, attention = Block(channel_attention=SqueezeExcite(reduction=16)), Block(spatial_attention=Halo())
    return NetConfig(
        stem=Stem((24, 32, 64), kernel_size=3, pool=False),
        stages=(
            Stage((conv, conv), mid_channels=64, out_channels=256, stride=1),
            Stage((conv, conv, attention), mid_channels=128, out_channels=512),
            Stage((conv, conv, attention), mid_channels=256, out_channels=1024),
            Stage((attention, attention), mid_channels=512, out_channels=1536),
        ),
        activation="silu",
        final_channels=1280,
        input_size=256,
    )


def _eca_halonext26ts() -> NetConfig:
    attention = Block(spatial_attention=Halo(halo=2, key_dim=16))

    def conv(mid_channels: int) -> Block:
        return Block(cardinality=mid_channels // 16, channel_attention=EfficientChannelAttention())

    return NetConfig(
        stem=TIERED_STEM,
        stages=(
            Stage((conv(64), conv(64)), mid_channels=64, out_channels=256, stride=1),
            Stage((conv(128), conv(128)), mid_channels=128, out_channels=512),
            Stage((conv(256), attention), mid_channels=256, out_channels=1024),
            Stage((attention, attention), mid_channels=512, out_channels=2048),
        ),
        activation="silu",
        input_size=256,
    )


CONFIGS = {
    "halonet50ts": _halonet50ts(),
    "halonet26t": _halonet26t(),
    "sehalonet33ts": _sehalonet33ts(),
    "eca_halonext26ts": _eca_halonext26ts(),
}
