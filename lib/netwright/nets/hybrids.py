"""Off the main road: three published nets that cross HaloNet with BoTNet, LambdaNetworks and RegNetZ.

Two more middles and one more block, each in terms of what the other files teach. Imports config, layers, halonet.
"""

import torch
from torch import Tensor, nn

from netwright.nets.config import Block, Bot, Halo, Lambda, NetConfig, SqueezeExcite, Stage, Stem
from netwright.nets.halo_fast import fast_halo_attention
from netwright.nets.halonet import interleave
from netwright.nets.layers import ConvNormAct, DropPath, normalisation


class BotAttention(nn.Module):
    """Global self-attention with relative positions (Srinivas et al. 2021, arXiv:2101.11605, section 3).

    It is halo attention whose one block is the whole map and whose halo is empty, so the same function computes it.
    Only the projections are laid out differently: one convolution makes all queries, then all keys, then all values.
    Shapes: (batch, channels, map_size, map_size) to (batch, channels, map_size / stride, map_size / stride); at
    stride 2 a 2x2 mean follows. Raises ValueError for a map of another size, for which there are no positions.
    """

    def __init__(self, channels: int, config: Bot, stride: int = 1):
        super().__init__()
        self.heads, self.map_size = config.heads, config.map_size
        self.head_dim = channels // config.heads
        self.attend = fast_halo_attention  # or halo_attention: the same numbers
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.height_table = nn.Parameter(torch.empty(2 * self.map_size - 1, self.head_dim))
        self.width_table = nn.Parameter(torch.empty(2 * self.map_size - 1, self.head_dim))
        self.pool = nn.AvgPool2d(2) if stride == 2 else nn.Identity()

    def reset_parameters(self) -> None:
        """As in halo attention: projections of unit variance, tables that do not drown the content."""
        nn.init.trunc_normal_(self.qkv.weight, std=self.qkv.in_channels**-0.5)
        for table in (self.height_table, self.width_table):
            nn.init.trunc_normal_(table, std=self.head_dim**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if (height, width) != (self.map_size, self.map_size):
            raise ValueError(
                f"BoT attention has learnt the positions of a map of {self.map_size}x{self.map_size}, and this one "
                f"is {height}x{width}. Resize the picture to the input_size of the net's config, at output_stride 32; "
                f"or compose a net with another Bot(map_size=…) and train it."
            )
        query, key, value = self.qkv(x).chunk(3, dim=1)  # (batch, channels, height, width) each
        of_head = [part.unflatten(1, (self.heads, -1)) for part in (key, value)]
        key_value = torch.cat(of_head, dim=2).flatten(1, 2)  # for each head its keys, then its values
        out = self.attend(
            query,
            key_value,
            self.height_table,
            self.width_table,
            heads=self.heads,
            block_size=self.map_size,
            halo=0,
            key_dim=self.head_dim,
            value_dim=self.head_dim,
        )
        return self.pool(out)


class LambdaLayer(nn.Module):
    """A lambda layer with local positions (Bello 2021, arXiv:2102.08602, section 3; "lambda convolution").

    Attention asks each query to weigh every value. Here the values are first summed up in a small matrix, a "lambda",
    of key_dim x value_dim, and each query is multiplied by that: the map of pixels times pixels never exists.

    A pixel's lambda is the sum of two. The content lambda is one for the whole picture: keys, as a softmax over the
    pixels, times values. The position lambda is the pixel's own: what surrounds it, weighed by place alone, which is
    a convolution of scope x scope that makes key_dim maps out of each value channel.
    Shapes: (batch, channels, height, width) to (batch, channels, height / stride, width / stride); at stride 2 a 2x2
    mean follows.
    """

    def __init__(self, channels: int, config: Lambda, stride: int = 1, norm: str = "batch"):
        super().__init__()
        self.heads, self.key_dim = config.heads, config.key_dim
        self.value_dim = channels // config.heads
        # The heads differ in their queries only: keys and values are shared.
        self.qkv = nn.Conv2d(channels, (self.heads + 1) * self.key_dim + self.value_dim, 1, bias=False)
        self.query_norm = normalisation(norm, self.heads * self.key_dim)
        self.value_norm = normalisation(norm, self.value_dim)
        # Three dimensions, of which the last, the value channels, is only carried along.
        self.position = nn.Conv3d(1, self.key_dim, (config.scope, config.scope, 1), padding="same")
        self.pool = nn.AvgPool2d(2) if stride == 2 else nn.Identity()

    def reset_parameters(self) -> None:
        """Projections of unit variance; position weights as small as the tables of the other attentions."""
        nn.init.trunc_normal_(self.qkv.weight, std=self.qkv.in_channels**-0.5)
        nn.init.trunc_normal_(self.position.weight, std=self.key_dim**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).split((self.heads * self.key_dim, self.key_dim, self.value_dim), dim=1)
        query = self.query_norm(query).unflatten(1, (self.heads, -1))  # (batch, heads, key_dim, height, width)
        key = key.flatten(2).softmax(dim=-1)  # (batch, key_dim, pixels)
        value = self.value_norm(value)  # (batch, value_dim, height, width)

        content = key @ value.flatten(2).transpose(1, 2)  # (batch, key_dim, value_dim)
        position = self.position(value.permute(0, 2, 3, 1).unsqueeze(1))  # (batch, key_dim, height, width, value_dim)
        lambdas = position + content[:, :, None, None]

        out = torch.einsum("bnkhw,bkhwv->bnvhw", query, lambdas)  # (batch, heads, value_dim, height, width)
        return self.pool(out.flatten(1, 2))


class InvertedBottleneck(nn.Module):
    """A bottleneck turned inside out: narrow outside, wide in the middle (RegNetZ: Dollár et al. 2021, arXiv:2103.06877).

    The parts are those of `Bottleneck` and keep their names, although `reduce` widens here and `expand` narrows. Two
    things are left out, so that nothing but a sum ever touches what the shortcuts carry: the activation after the
    addition, and the projection. Where the shape changes there is no shortcut, and then nothing to fall back on
    either: such a block is never dropped by stochastic depth (timm drops it, and the picture with it).
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        *,
        middle: nn.Module,
        gate: nn.Module | None,
        shortcut: nn.Module | None,
        norm: str,
        act: str,
        drop_path: float,
    ):
        super().__init__()
        self.reduce = ConvNormAct(in_channels, mid_channels, norm=norm, act=act)
        self.middle = middle
        self.gate = gate or nn.Identity()
        self.expand = ConvNormAct(mid_channels, out_channels, norm=norm)
        self.drop_path = DropPath(drop_path if shortcut else 0.0)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(x)
        y = self.middle(y)
        y = self.gate(y)
        y = self.expand(y)
        if self.shortcut is None:
            return y
        return self.drop_path(y) + self.shortcut(x)


def identity_or_none(in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """The shortcut of an inverted block: its input as it is, or none where the shape changes."""
    return nn.Identity() if stride == 1 and in_channels == out_channels else None


def _botnet50ts(stage1: Halo | Lambda) -> NetConfig:
    """ResNet-50 with `stage1`, halo and BoT attention in its last three stages, after every convolutional block."""
    conv = Block()
    local, halo, bot = (Block(spatial_attention=attention) for attention in (stage1, Halo(), Bot()))
    return NetConfig(
        stem=Stem((24, 32, 64), kernel_size=3, pool=False),
        stages=(
            Stage((conv,) * 3, mid_channels=64, out_channels=256, stride=1),
            Stage(interleave(4, 1, conv, local), mid_channels=128, out_channels=512),
            Stage(interleave(6, 1, conv, halo), mid_channels=256, out_channels=1024),
            Stage(interleave(3, 1, conv, bot), mid_channels=512, out_channels=2048),
        ),
        activation="silu",
        input_size=256,
    )


def _haloregnetz_b() -> NetConfig:
    """Inverted blocks: in the middle 3 times the input's width, in groups of 16, or halo attention with thin keys."""

    def block(in_channels: int, attends: bool) -> Block:
        width = 3 * in_channels
        if attends:
            halo = Halo(heads=8, block_size=7, halo=2, key_dim=width // 8 // 3)
            return Block("inverted", spatial_attention=halo, mid_channels=width)
        gate = SqueezeExcite(reduction=4)
        return Block("inverted", cardinality=width // 16, channel_attention=gate, mid_channels=width)

    def stage(in_channels: int, out_channels: int, depth: int, attending: tuple[int, ...] = ()) -> Stage:
        widths = (in_channels,) + (out_channels,) * (depth - 1)
        blocks = tuple(block(width, i in attending) for i, width in enumerate(widths))
        return Stage(blocks, mid_channels=3 * out_channels, out_channels=out_channels)

    return NetConfig(
        stem=Stem((32,), kernel_size=3, pool=False),
        stages=(
            stage(32, 48, depth=2),
            stage(48, 96, depth=6),
            stage(96, 192, depth=12, attending=(3, 7, 11)),
            stage(192, 288, depth=2, attending=(0, 1)),
        ),
        activation="silu",
        final_channels=1536,
        input_size=224,
    )


CONFIGS = {
    "halo2botnet50ts_256": _botnet50ts(stage1=Halo()),
    "lamhalobotnet50ts_256": _botnet50ts(stage1=Lambda()),
    "haloregnetz_b": _haloregnetz_b(),
}
