"""Notebook 07's own forms of the net: stem, middle, block and the whole. Imports nets.

The library's forms, in nets/, make four architectures from one skeleton; these make one, and are what a reader writes.
The names of their parameters are the same.
"""

from torch import Tensor, nn

from netwright.nets.config import Halo, NetConfig
from netwright.nets.halonet import HaloAttention
from netwright.nets.layers import ConvNormAct, activation


def tiered_stem(channels: tuple[int, int, int] = (24, 32, 64), act: str = "relu", pool: bool = True) -> nn.Sequential:
    """Three 3x3 convolutions, and a max pool or a second stride in its place.

    Shapes: (batch, 3, height, width) to (batch, channels[2], height / 4, width / 4).
    """
    first, second, third = channels
    layers = [
        ConvNormAct(3, first, 3, stride=2, act=act),
        ConvNormAct(first, second, 3, act=act),
        ConvNormAct(second, third, 3, stride=1 if pool else 2, act=act),
    ]
    if pool:
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    return nn.Sequential(*layers)


class AttentionMiddle(nn.Module):
    """Attention, with the normalisation and the activation that a convolution in its place would have."""

    def __init__(self, attention: nn.Module, channels: int, act: str = "silu"):
        super().__init__()
        self.attention = attention
        self.norm = nn.BatchNorm2d(channels)
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.attention(x)))


class Bottleneck(nn.Module):
    """1x1 down, a middle that looks around, 1x1 up, plus the input; `halo` makes the middle attention.

    Shapes: (batch, in_channels, height, width) to (batch, out_channels, height / stride, width / stride).
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        halo: Halo | None = None,
        act: str = "silu",
    ):
        super().__init__()
        self.reduce = ConvNormAct(in_channels, mid_channels, act=act)
        if halo is None:
            self.middle = ConvNormAct(mid_channels, mid_channels, 3, stride=stride, act=act)
        else:
            self.middle = AttentionMiddle(HaloAttention(mid_channels, halo, stride), mid_channels, act)
        self.expand = ConvNormAct(mid_channels, out_channels)
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = ConvNormAct(in_channels, out_channels, stride=stride)
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(self.middle(self.reduce(x)))
        return self.act(y + self.shortcut(x))


class HaloNet(nn.Module):
    """The net that `config` describes: pictures (batch, 3, height, width) to logits (batch, num_classes)."""

    def __init__(self, config: NetConfig, num_classes: int = 1000):
        super().__init__()
        act = config.activation
        self.stem = tiered_stem(config.stem.channels, act, config.stem.pool)
        channels = config.stem.channels[-1]
        self.stages = nn.ModuleList()
        for stage in config.stages:
            blocks = nn.Sequential()
            for i, block in enumerate(stage.blocks):
                stride = stage.stride if i == 0 else 1
                widths = channels, stage.mid_channels, stage.out_channels
                blocks.append(Bottleneck(*widths, stride=stride, halo=block.spatial_attention, act=act))
                channels = stage.out_channels
            self.stages.append(blocks)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.classifier(x.mean((2, 3)))
