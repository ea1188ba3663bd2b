"""Exercise `resnext.block`: the bottleneck with groups in its middle.

Imports the engine, endings, trying and nets.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from netwright.lessons.endings import wrong_endings
from netwright.lessons.engine import Check
from netwright.lessons.trying import behaviour
from netwright.nets.layers import ConvNormAct


class ResNeXtBlock(nn.Module):
    """The bottleneck of ResNeXt (Xie et al. 2016, figure 3c), with the stride in the 3x3 convolution.

    mid_channels: of all groups together. Shapes: (batch, in_channels, height, width) to (batch, out_channels, height /
    stride, width / stride).
    """

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int, stride: int = 1, cardinality: int = 1):
        super().__init__()
        self.reduce = ConvNormAct(in_channels, mid_channels, 1, act="relu")
        self.middle = ConvNormAct(mid_channels, mid_channels, 3, stride=stride, groups=cardinality, act="relu")
        self.expand = ConvNormAct(mid_channels, out_channels, 1)
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = ConvNormAct(in_channels, out_channels, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(x)
        y = self.middle(y)
        y = self.expand(y)
        return (y + self.shortcut(x)).relu()


# in, mid, out, stride, cardinality. No middle is its cardinality squared: there, dividing twice would not show.
BLOCK_CASES = ((8, 6, 8, 1, 3), (5, 8, 10, 1, 2), (6, 12, 8, 2, 6), (8, 4, 8, 2, 1))


def _measure_block(block: type[nn.Module]) -> Iterator[tuple[str, Any]]:
    for inside, mid, outside, stride, cardinality in BLOCK_CASES:
        where = (
            f"of a block {inside} → {mid} → {outside} in {cardinality} group{'s' * (cardinality > 1)}, stride {stride}"
        )
        yield from behaviour(block(inside, mid, outside, stride, cardinality), (2, inside, 7, 5), where, scale=8)
    built = block(8, 6, 8)
    yield "the list of parameters where neither stride nor cardinality is given", shapes_of(built)


def shapes_of(built: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in built.state_dict().items()}


def _block(**wrong):
    """The block with some of its parts made in another way: name -> (in, mid, out, stride, cardinality) -> module."""

    class Wrong(ResNeXtBlock):
        def __init__(self, in_channels, mid_channels, out_channels, stride=1, cardinality=1):
            super().__init__(in_channels, mid_channels, out_channels, stride)
            self.middle = ConvNormAct(mid_channels, mid_channels, 3, stride=stride, groups=cardinality, act="relu")
            for name, make in wrong.items():
                setattr(self, name, make(in_channels, mid_channels, out_channels, stride, cardinality))

    return Wrong


class _Interleaved(ResNeXtBlock):
    """Group i has the channels i, i + cardinality, i + 2 cardinality, …, as after a shuffle."""

    def forward(self, x):
        conv, norm, act = self.middle
        y = self.reduce(x)
        order = torch.arange(y.shape[1]).view(-1, conv.groups).T.flatten()
        y = conv(y[:, order])[:, order.argsort()]
        return (self.expand(act(norm(y))) + self.shortcut(x)).relu()


class _Shuffled(ResNeXtBlock):
    """Before the middle, one channel of each group in turn, as ShuffleNet (Zhang et al. 2017) has it on purpose."""

    def forward(self, x):
        y = self.reduce(x)
        y = y.unflatten(1, (self.middle.conv.groups, -1)).transpose(1, 2).flatten(1, 2)
        return (self.expand(self.middle(y)) + self.shortcut(x)).relu()


class _WidthOfOneGroup(ResNeXtBlock):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1, cardinality=1):
        super().__init__(in_channels, mid_channels * cardinality, out_channels, stride, cardinality)


def _conv(kernel, *, stride=False, grouped=True, act="relu", groups=None):
    """A way to make the middle, or a 1x1 convolution in its place."""

    def make(inside, mid, outside, its_stride, cardinality):
        count = groups(mid, cardinality) if groups else cardinality if grouped else 1
        return ConvNormAct(mid, mid, kernel, stride=its_stride if stride else 1, groups=count, act=act)

    return make


BLOCK_MISTAKES = {
    "that divides by the number of groups where the layer does so already: mid / cardinality groups": _block(
        middle=_conv(3, stride=True, groups=lambda mid, cardinality: mid // cardinality)
    ),
    "without groups: the cardinality is never used": _block(middle=_conv(3, stride=True, grouped=False)),
    "whose middle is depthwise, each channel a group of its own": _block(
        middle=_conv(3, stride=True, groups=lambda mid, cardinality: mid)
    ),
    "whose groups are not neighbours: each takes every so many-th channel": _Interleaved,
    "that shuffles the channels before its middle, one of each group in turn": _Shuffled,
    "that takes mid_channels for the width of one group": _WidthOfOneGroup,
    "whose last 1x1 convolution is in groups too, so that channels of two groups never meet": _block(
        expand=lambda inside, mid, outside, stride, n: ConvNormAct(mid, outside, 1, groups=n if outside % n == 0 else 1)
    ),
    "with the stride in the first 1x1 convolution": _block(
        reduce=lambda inside, mid, outside, stride, n: ConvNormAct(inside, mid, 1, stride=stride, act="relu"),
        middle=_conv(3),
    ),
    "with the stride in the last 1x1 convolution": _block(
        middle=_conv(3),
        expand=lambda inside, mid, outside, stride, n: ConvNormAct(mid, outside, 1, stride=stride),
    ),
    "without a ReLU between the 3x3 convolution and the last 1x1": _block(middle=_conv(3, stride=True, act=None)),
    **wrong_endings(ResNeXtBlock),
    "whose shortcut is a convolution even where the shape stays": _block(
        shortcut=lambda inside, mid, outside, stride, n: ConvNormAct(inside, outside, 1, stride=stride)
    ),
    "whose shortcut ends in a ReLU of its own": _block(
        shortcut=lambda inside, mid, outside, stride, n: (
            ConvNormAct(inside, outside, 1, stride=stride, act="relu")
            if stride != 1 or inside != outside
            else nn.Identity()
        )
    ),
}

CHECKS = (
    Check(
        id="resnext.block",
        minutes=8,
        difficulty="medium",
        ours=ResNeXtBlock,
        measure=_measure_block,
        mistakes=BLOCK_MISTAKES,
        hints=(
            "In which one layer does this differ from a ResNet's bottleneck, and in which argument of that layer?",
            (
                "ConvNormAct hands groups on to nn.Conv2d, which wants the number of groups. mid_channels is the width of "
                "all groups together, so nothing is divided here."
            ),
            (
                "self.middle = ConvNormAct(mid_channels, mid_channels, 3, stride=stride, groups=cardinality, act='relu'); "
                "reduce and expand as ever, and a shortcut of ConvNormAct(in_channels, out_channels, 1, stride=stride) "
                "where stride or channels change, else nn.Identity()."
            ),
        ),
    ),
)
