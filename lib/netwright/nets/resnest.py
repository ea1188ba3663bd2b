"""ResNeSt (Zhang et al. 2020, arXiv:2004.08955): branches that are weighed against each other. Imports config, layers.

The middle of the bottleneck becomes split attention. Around it, three small changes: a deep stem of 3x3
convolutions, average pools where ResNet strides, in the block and in the shortcut.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from netwright.nets.config import Block, NetConfig, Split, Stage, Stem
from netwright.nets.layers import ConvNormAct, activation, normalisation
from netwright.nets.resnet import PLANES
from netwright.nets.resnext import aggregated_width


def radix_softmax(logits: Tensor, radix: int, cardinality: int) -> Tensor:
    """Gates of the branches of each cardinal group: they sum to 1 over the radix (section 3.1, "r-softmax").

    logits: (batch, cardinality * radix * channels per group), in that order of nesting, because the grouped layer
    that makes them keeps each cardinal group together. The branches themselves are ordered radix first, since each
    split is one contiguous slice of the convolution's output. So the gates are transposed on the way out, to
    (batch, radix, cardinality * channels per group). With cardinality 1 both orders are the same, and forgetting
    the transpose shows nowhere.

    With radix 1 there is nothing to weigh, and the gate is a sigmoid: the block becomes a squeeze-excite.
    """
    if radix == 1:
        return logits.sigmoid().unsqueeze(1)  # (batch, 1, channels)
    nested = logits.unflatten(1, (cardinality, radix, -1))  # (batch, cardinality, radix, channels per group)
    gates = nested.softmax(dim=2).transpose(1, 2)  # (batch, radix, cardinality, channels per group)
    return gates.flatten(2)  # (batch, radix, channels)


class SplitAttention(nn.Module):
    """Split attention (section 3.1 of the paper, figure 2).

    A grouped 3x3 convolution makes `radix` splits of `channels` channels. Their sum, pooled over space, decides
    channel by channel how much of each split goes into the output.

    The convolution has radix * cardinality groups, so each split sees its own slice of the input channels, not all
    of them. The hidden layer has max(32, channels * radix / 4) channels, as in the authors' code.
    Shapes: (batch, channels, height, width) to the same.
    """

    def __init__(self, channels: int, *, radix: int, cardinality: int, dilation: int, norm: str, act: str):
        super().__init__()
        self.radix, self.cardinality = radix, cardinality
        self.conv = nn.Conv2d(
            channels,
            channels * radix,
            3,
            padding=dilation,
            dilation=dilation,
            groups=radix * cardinality,
            bias=False,
        )
        self.norm = normalisation(norm, channels * radix)
        self.act = activation(act)
        hidden = max(32, channels * radix // 4)
        self.fc1 = nn.Conv2d(channels, hidden, 1, groups=cardinality)
        self.fc_norm = normalisation(norm, hidden)
        self.fc2 = nn.Conv2d(hidden, channels * radix, 1, groups=cardinality)

    def gates(self, pooled: Tensor) -> Tensor:
        """(batch, channels, 1, 1), the pooled sum of the splits, to gates (batch, radix, channels)."""
        hidden = self.act(self.fc_norm(self.fc1(pooled)))  # (batch, hidden, 1, 1)
        return radix_softmax(self.fc2(hidden).flatten(1), self.radix, self.cardinality)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.conv(x)))  # (batch, radix * channels, height, width)
        splits = x.chunk(self.radix, dim=1)  # radix times (batch, channels, height, width)

        # The mean of a sum is the sum of the means: pooling first never writes the sum of the maps.
        pooled = x.mean((2, 3), keepdim=True).unflatten(1, (self.radix, -1)).sum(1)  # (batch, channels, 1, 1)
        gates = self.gates(pooled)[..., None, None].unbind(1)  # radix times (batch, channels, 1, 1)

        out = splits[0] * gates[0]
        for split, gate in zip(splits[1:], gates[1:], strict=True):
            out = torch.addcmul(out, split, gate)  # out + split * gate, in one pass over the map
        return out


class ResNeStMiddle(nn.Module):
    """Split attention, and where the block has stride 2 a 3x3 average pool before or after it (section 4.1).

    The pool counts its zero padding, as in the authors' code. Shapes: (batch, channels, height, width) to
    (batch, channels, height / stride, width / stride).
    """

    def __init__(self, channels: int, config: Split, cardinality: int, stride: int, dilation: int, norm: str, act: str):
        super().__init__()
        pool = nn.AvgPool2d(3, stride, padding=1) if stride > 1 else nn.Identity()
        self.pool_before = pool if config.average_down == "before" else nn.Identity()
        self.attention = SplitAttention(
            channels, radix=config.radix, cardinality=cardinality, dilation=dilation, norm=norm, act=act
        )
        self.pool_after = pool if config.average_down == "after" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.pool_after(self.attention(self.pool_before(x)))


def pooled_projection(in_channels: int, out_channels: int, stride: int, dilated: bool, norm: str) -> nn.Module:
    """The shortcut of the "d" nets where the shape changes: average first, then a 1x1 convolution of stride 1.

    A strided 1x1 convolution reads one pixel of four and throws the others away; the pool reads them all (He et al.
    2018, arXiv:1812.01187, "ResNet-D"). Where a stage is dilated instead of strided, the pool keeps its 2x2 window
    at stride 1. The zeros that it then needs at the right and bottom edge are counted, as in timm, whose dilated
    nets these are compared with.
    """
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    conv = ConvNormAct(in_channels, out_channels, norm=norm)
    if stride > 1:
        pool = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)
    elif dilated:
        pool = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.AvgPool2d(2, 1))
    else:
        return conv
    return nn.Sequential(OrderedDict(pool=pool, conv=conv.conv, norm=conv.norm))


def resnest(
    depths: tuple[int, ...],
    stem_width: int = 32,
    *,
    radix: int = 2,
    cardinality: int = 1,
    base_width: int = 64,
    average_down: str = "after",
    input_size: int = 224,
) -> NetConfig:
    """ResNeSt with `depths` blocks a stage (table 5 of the paper; the "fast" variants are in its table 6)."""
    block = Block(cardinality=cardinality, channel_attention=Split(radix, average_down))
    return NetConfig(
        stem=Stem((stem_width, stem_width, 2 * stem_width), kernel_size=3),
        stages=tuple(
            Stage(
                blocks=(block,) * depth,
                mid_channels=aggregated_width(planes, cardinality, base_width),
                out_channels=4 * planes,
                stride=stride,
            )
            for depth, planes, stride in zip(depths, PLANES, (1, 2, 2, 2), strict=True)
        ),
        shortcut="pool",
        input_size=input_size,
    )


# "4s2x40d" reads: 4 splits, 2 cardinal groups of base width 40.
CONFIGS = {
    "resnest14d": resnest((1, 1, 1, 1)),
    "resnest26d": resnest((2, 2, 2, 2)),
    "resnest50d": resnest((3, 4, 6, 3)),
    "resnest101e": resnest((3, 4, 23, 3), stem_width=64, input_size=256),
    "resnest200e": resnest((3, 24, 36, 3), stem_width=64, input_size=320),
    "resnest269e": resnest((3, 30, 48, 8), stem_width=64, input_size=416),
    "resnest50d_1s4x24d": resnest((3, 4, 6, 3), radix=1, cardinality=4, base_width=24, average_down="before"),
    "resnest50d_4s2x40d": resnest((3, 4, 6, 3), radix=4, cardinality=2, base_width=40, average_down="before"),
}
