"""Exercise `resnest.block`: the bottleneck of ResNeSt, put together. Imports the engine, endings, nets and this room's parts."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from netwright.lessons.endings import wrong_endings
from netwright.lessons.engine import Check
from netwright.lessons.resnest.downsample import AveragedMiddle
from netwright.lessons.resnest.shortcut import pooled_shortcut
from netwright.lessons.trying import behaviour
from netwright.nets.layers import ConvNormAct
from netwright.nets.resnet import projection


class ResNeStBlock(nn.Module):
    """1x1 down, split attention with its average pool, 1x1 up, plus the shortcut (Zhang et al. 2020, figure 1).

    options: radix, cardinality and average_down, as `AveragedMiddle` has them.
    Shapes: (batch, in_channels, height, width) to (batch, out_channels, height / stride, width / stride), rounded up.
    """

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int, stride: int = 1, **options):
        super().__init__()
        self.reduce = ConvNormAct(in_channels, mid_channels, act="relu")
        self.middle = AveragedMiddle(mid_channels, stride, **options)
        self.expand = ConvNormAct(mid_channels, out_channels)
        self.shortcut = pooled_shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(x)
        y = self.middle(y)
        y = self.expand(y)
        return (y + self.shortcut(x)).relu()


def _measure(block: type[nn.Module]) -> Iterator[tuple[str, Any]]:
    for in_channels, out_channels, stride, radix, cardinality, place, height, width in (
        (12, 12, 1, 2, 1, "after", 5, 4),
        (6, 12, 1, 1, 4, "before", 4, 5),
        (6, 12, 2, 2, 1, "after", 7, 6),
        (12, 12, 2, 4, 2, "before", 6, 7),
    ):
        options = {"radix": radix, "cardinality": cardinality, "average_down": place}
        built = block(in_channels, 8, out_channels, stride, **options)
        where = f"of a block from {in_channels} to {out_channels} channels, stride {stride}, radix {radix}, "
        where += f"cardinality {cardinality}, average_down={place!r}"
        yield from behaviour(built, (3, in_channels, height, width), where, scale=8)


# Known mistakes ------------------------------------------------------------------------------------------------


class _ShortcutTakesReduced(ResNeStBlock):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1, **options):
        super().__init__(in_channels, mid_channels, out_channels, stride, **options)
        self.shortcut = pooled_shortcut(mid_channels, out_channels, stride)

    def forward(self, x):
        y = self.reduce(x)
        return (self.expand(self.middle(y)) + self.shortcut(y)).relu()


class _NoInnerRelu(ResNeStBlock):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1, **options):
        super().__init__(in_channels, mid_channels, out_channels, stride, **options)
        self.reduce = ConvNormAct(in_channels, mid_channels)


class _StrideInReduce(ResNeStBlock):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1, **options):
        super().__init__(in_channels, mid_channels, out_channels, stride, **options)
        self.reduce = ConvNormAct(in_channels, mid_channels, stride=stride, act="relu")
        self.middle = AveragedMiddle(mid_channels, 1, **options)


class _StridedShortcut(ResNeStBlock):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1, **options):
        super().__init__(in_channels, mid_channels, out_channels, stride, **options)
        self.shortcut = projection(in_channels, out_channels, stride, "batch")


class _AlwaysProjects(ResNeStBlock):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1, **options):
        super().__init__(in_channels, mid_channels, out_channels, stride, **options)
        if stride == 1:
            self.shortcut = ConvNormAct(in_channels, out_channels)


class _NormAfterMiddle(ResNeStBlock):
    """ResNet's bn2, which has moved into the split attention."""

    def __init__(self, in_channels, mid_channels, out_channels, stride=1, **options):
        super().__init__(in_channels, mid_channels, out_channels, stride, **options)
        self.norm = nn.BatchNorm2d(mid_channels)

    def forward(self, x):
        y = self.expand(self.norm(self.middle(self.reduce(x))).relu())
        return (y + self.shortcut(x)).relu()


def _forgetting(*forgotten: str) -> type[nn.Module]:
    class Wrong(ResNeStBlock):
        def __init__(self, *sizes, **options):
            super().__init__(*sizes, **{name: value for name, value in options.items() if name not in forgotten})

    return Wrong


CHECKS = (
    Check(
        id="resnest.block",
        minutes=6,
        difficulty="easy",
        ours=ResNeStBlock,
        measure=_measure,
        mistakes={
            **wrong_endings(ResNeStBlock),
            "whose shortcut starts behind the first 1x1 convolution": _ShortcutTakesReduced,
            "without a ReLU behind the first 1x1 convolution": _NoInnerRelu,
            "with the stride in the first 1x1 convolution": _StrideInReduce,
            "whose shortcut strides its convolution, as ResNet's does": _StridedShortcut,
            "whose shortcut is a convolution even where the shape stays": _AlwaysProjects,
            "with a normalisation behind its middle, which already has one inside": _NormAfterMiddle,
            "that does not hand average_down on to its middle": _forgetting("average_down"),
            "that does not hand radix and cardinality on to its middle": _forgetting("radix", "cardinality"),
        },
        hints=(
            "Four parts, three of which you have: which of them know about the stride?",
            (
                "reduce is a 1x1 ConvNormAct with a ReLU, expand one without. The middle brings its own normalisations "
                "and ReLU. Hand **options on to it, and stride to the middle and the shortcut."
            ),
            "y = self.expand(self.middle(self.reduce(x))), then (y + self.shortcut(x)).relu().",
        ),
    ),
)
