"""Exercises `resnet.projection` and `resnet.bottleneck`: a shortcut, and the block around it.

Imports the engine, trying and nets.
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from netwright.lessons.engine import Check
from netwright.lessons.trying import behaviour
from netwright.nets.layers import ConvNormAct
from netwright.nets.resnest import pooled_projection

# The shortcut ------------------------------------------------------------------------------------------------------


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The shortcut of a block: the identity where the shape stays, else a strided 1x1 convolution with its norm.

    He et al. 2015, section 3.3, option B.
    """
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ConvNormAct(in_channels, out_channels, stride=stride)


# The block ---------------------------------------------------------------------------------------------------------


class Bottleneck(nn.Module):
    """1x1 down to mid_channels, 3x3 with the stride, 1x1 up to out_channels, plus the shortcut (He et al. 2015, fig. 5).

    Shapes: (batch, in_channels, height, width) to (batch, out_channels, height / stride, width / stride).
    """

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.reduce = ConvNormAct(in_channels, mid_channels, act="relu")
        self.middle = ConvNormAct(mid_channels, mid_channels, 3, stride=stride, act="relu")
        self.expand = ConvNormAct(mid_channels, out_channels)
        self.shortcut = projection(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(x)
        y = self.middle(y)
        y = self.expand(y)
        return F.relu(y + self.shortcut(x))


# How they are tried ------------------------------------------------------------------------------------------------


def _measure_projection(theirs) -> Iterator[tuple[str, Any]]:
    for in_channels, out_channels, stride in ((6, 6, 1), (6, 16, 1), (6, 6, 2), (6, 16, 2), (16, 6, 1)):
        where = f"of the shortcut from {in_channels} to {out_channels} channels with stride {stride}"
        yield from behaviour(theirs(in_channels, out_channels, stride), (2, in_channels, 9, 7), where)


def _measure_bottleneck(theirs) -> Iterator[tuple[str, Any]]:
    for in_channels, out_channels, stride, sides in ((12, 12, 1, (9, 7)), (6, 16, 1, (5, 8)), (6, 16, 2, (9, 7))):
        where = f"of a block from {in_channels} to {out_channels} channels with stride {stride}"
        yield from behaviour(theirs(in_channels, 4, out_channels, stride), (2, in_channels, *sides), where)
    yield from behaviour(theirs(12, 5, 12), (2, 12, 3, 4), "of a block to which no stride was given")
    yield from behaviour(theirs(8, 4, 8, 2), (3, 8, 6, 5), "of a block that strides and keeps its 8 channels")


# Known mistakes: projection ----------------------------------------------------------------------------------------


def _named(**parts: nn.Module) -> nn.Sequential:
    """A sequence whose parts have these names."""
    sequence = nn.Sequential()
    for name, part in parts.items():
        sequence.add_module(name, part)
    return sequence


def _shortcut(make, *, needed=lambda i, o, stride: stride != 1 or i != o):
    """A projection that is made otherwise, or at other times."""
    return lambda i, o, stride: make(i, o, stride) if needed(i, o, stride) else nn.Identity()


class _ZeroPadded(nn.Module):
    """Option A of the paper: every second pixel, and zeros for the new channels."""

    def __init__(self, i, o, stride):
        super().__init__()
        self.channels, self.stride = max(0, o - i), stride

    def forward(self, x):
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.channels))


def _conv(i, o, size=1, stride=1, padding=0, bias=False):
    return nn.Conv2d(i, o, size, stride=stride, padding=padding, bias=bias)


PROJECTION_MISTAKES = {
    "that projects even where the shape stays": _shortcut(
        lambda i, o, s: ConvNormAct(i, o, stride=s), needed=lambda i, o, s: True
    ),
    "that looks at the channels only, and not at the stride": _shortcut(
        lambda i, o, s: ConvNormAct(i, o, stride=s), needed=lambda i, o, s: i != o
    ),
    "that looks at the stride only, and not at the channels": _shortcut(
        lambda i, o, s: ConvNormAct(i, o, stride=s), needed=lambda i, o, s: s != 1
    ),
    "that projects only where the block widens": _shortcut(
        lambda i, o, s: ConvNormAct(i, o, stride=s), needed=lambda i, o, s: s != 1 or o > i
    ),
    "whose convolution has a bias": _shortcut(
        lambda i, o, s: _named(conv=_conv(i, o, stride=s, bias=True), norm=nn.BatchNorm2d(o))
    ),
    "without a normalisation": _shortcut(lambda i, o, s: _named(conv=_conv(i, o, stride=s))),
    "with a ReLU behind its normalisation": _shortcut(lambda i, o, s: ConvNormAct(i, o, stride=s, act="relu")),
    "with a 3x3 convolution": _shortcut(lambda i, o, s: ConvNormAct(i, o, 3, stride=s)),
    "with a convolution as large as its stride, which reads all pixels": _shortcut(
        lambda i, o, s: _named(conv=_conv(i, o, s, stride=s), norm=nn.BatchNorm2d(o))
    ),
    "that pads its 1x1 convolution": _shortcut(
        lambda i, o, s: _named(conv=_conv(i, o, stride=s, padding=1), norm=nn.BatchNorm2d(o))
    ),
    "that averages before it projects, as the later ResNet-D does": _shortcut(
        lambda i, o, s: pooled_projection(i, o, s, False, "batch")
    ),
    "that pads with zeros and has no parameters, which is the paper's option A": _shortcut(_ZeroPadded),
    "that normalises before it projects": _shortcut(
        lambda i, o, s: _named(norm=nn.BatchNorm2d(i), conv=_conv(i, o, stride=s))
    ),
    "that forgets the stride": _shortcut(lambda i, o, s: ConvNormAct(i, o)),
}

# Known mistakes: bottleneck ----------------------------------------------------------------------------------------


def block_with(*, reduce=None, middle=None, expand=None, shortcut=None, forward=None) -> type[Bottleneck]:
    """`Bottleneck` with one part made otherwise; each takes (in, mid, out, stride)."""

    class Wrong(Bottleneck):
        def __init__(self, in_channels, mid_channels, out_channels, stride=1):
            super().__init__(in_channels, mid_channels, out_channels, stride)
            made = {"reduce": reduce, "middle": middle, "expand": expand, "shortcut": shortcut}
            for name, make in made.items():
                if make:
                    setattr(self, name, make(in_channels, mid_channels, out_channels, stride))

    if forward:
        Wrong.forward = forward
    return Wrong


def branch(block: Bottleneck, x: Tensor) -> Tensor:
    return block.expand(block.middle(block.reduce(x)))


def _added_in_place(block: Bottleneck, x: Tensor) -> Tensor:
    y = branch(block, x)
    return block.shortcut(x).add_(y).relu()


class StrideInFirst(Bottleneck):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1):
        super().__init__(in_channels, mid_channels, out_channels, stride)
        self.reduce = ConvNormAct(in_channels, mid_channels, stride=stride, act="relu")
        self.middle = ConvNormAct(mid_channels, mid_channels, 3, act="relu")


class _StrideInLast(Bottleneck):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1):
        super().__init__(in_channels, mid_channels, out_channels, stride)
        self.middle = ConvNormAct(mid_channels, mid_channels, 3, act="relu")
        self.expand = ConvNormAct(mid_channels, out_channels, stride=stride)


class _OneNormForTwo(Bottleneck):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1):
        super().__init__(in_channels, mid_channels, out_channels, stride)
        self.middle.norm = self.reduce.norm


class _OtherNorm(Bottleneck):
    """`Bottleneck` with other numbers in its normalisations."""

    def __init__(self, in_channels, mid_channels, out_channels, stride=1, **numbers):
        super().__init__(in_channels, mid_channels, out_channels, stride)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                vars(module).update(numbers)


def _biased(i, m, o, stride):
    return _named(conv=_conv(m, m, 3, stride, padding=1, bias=True), norm=nn.BatchNorm2d(m), act=nn.ReLU())


BOTTLENECK_MISTAKES = {
    "with the stride in the first 1x1 convolution, as in the 2015 paper": StrideInFirst,
    "with the stride in the last 1x1 convolution": _StrideInLast,
    "where the ReLU comes before the addition, and none after it": block_with(
        forward=lambda self, x: branch(self, x).relu() + self.shortcut(x)
    ),
    "where a ReLU comes before the addition and another after it": block_with(
        forward=lambda self, x: (branch(self, x).relu() + self.shortcut(x)).relu()
    ),
    "without a ReLU after the addition": block_with(forward=lambda self, x: branch(self, x) + self.shortcut(x)),
    "that computes its shortcut and never adds it": block_with(
        forward=lambda self, x: (branch(self, x) + 0 * self.shortcut(x)).relu()
    ),
    "whose shortcut hands on only what is above zero of its input": block_with(
        forward=lambda self, x: (branch(self, x) + self.shortcut(x.relu())).relu()
    ),
    "that adds into its input, and so overwrites it": block_with(forward=_added_in_place),
    "without a ReLU between the first 1x1 convolution and the 3x3": block_with(
        reduce=lambda i, m, o, s: ConvNormAct(i, m)
    ),
    "without a ReLU between the 3x3 convolution and the last 1x1": block_with(
        middle=lambda i, m, o, s: ConvNormAct(m, m, 3, stride=s)
    ),
    "whose shortcut is a convolution even where the shape stays": block_with(
        shortcut=lambda i, m, o, s: ConvNormAct(i, o, stride=s)
    ),
    "whose projection ends in a ReLU": block_with(
        shortcut=lambda i, m, o, s: nn.Identity() if s == 1 and i == o else ConvNormAct(i, o, stride=s, act="relu")
    ),
    "whose last 1x1 convolution has no normalisation": block_with(expand=lambda i, m, o, s: _named(conv=_conv(m, o))),
    "whose 3x3 convolution has a bias": block_with(middle=_biased),
    "whose middle is a 1x1 convolution": block_with(middle=lambda i, m, o, s: ConvNormAct(m, m, stride=s, act="relu")),
    "whose 3x3 convolution has no padding": block_with(
        middle=lambda i, m, o, s: _named(conv=_conv(m, m, 3, s), norm=nn.BatchNorm2d(m), act=nn.ReLU())
    ),
    "that uses one normalisation twice": _OneNormForTwo,
}

CHECKS = (
    Check(
        id="resnet.projection",
        minutes=4,
        difficulty="easy",
        ours=projection,
        measure=_measure_projection,
        mistakes=PROJECTION_MISTAKES,
        hints=(
            "When can x be added to what the branch made of it as it is? Two numbers must not have changed.",
            (
                "If the stride is 1 and the channels stay, nn.Identity(). Else something that turns one shape into the other "
                "and does as little as possible besides: 1x1, strided, no bias, normalised, no ReLU."
            ),
            "ConvNormAct(in_channels, out_channels, stride=stride) has a 1x1 kernel and no activation by default.",
        ),
    ),
    Check(
        id="resnet.bottleneck",
        minutes=8,
        difficulty="medium",
        ours=Bottleneck,
        measure=_measure_bottleneck,
        mistakes=BOTTLENECK_MISTAKES,
        hints=(
            "Three ConvNormActs, of which two end in a ReLU. Which does not, and why must it not?",
            (
                "The sum wants numbers of both signs, or a block could only ever add. So expand has no activation, and the "
                "ReLU comes after the addition. The stride belongs to the 3x3 and to the shortcut."
            ),
            (
                "self.middle = ConvNormAct(mid_channels, mid_channels, 3, stride=stride, act='relu'); and at the end "
                "return (y + self.shortcut(x)).relu(), which makes a new tensor and leaves x alone."
            ),
        ),
    ),
)
