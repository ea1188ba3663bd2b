"""Exercise `resnest.shortcut`: average first, then a 1x1 convolution. Imports the engine, nets and trying."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from netwright.lessons.engine import Check
from netwright.lessons.trying import behaviour
from netwright.nets.layers import ConvNormAct


def pooled_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The identity where the shape stays; else a 1x1 convolution with its normalisation, of stride 1.

    Where the stride is 2, a 2x2 average pool comes first (He et al. 2018, "ResNet-D"). At an odd edge its window
    hangs over, and averages the pixels that it has, as in the code of ResNeSt's authors.
    Shapes: (batch, in_channels, height, width) to (batch, out_channels, height / stride, width / stride), rounded up.
    """
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    layers = ConvNormAct(in_channels, out_channels)
    if stride == 1:
        return layers
    pool = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)
    return nn.Sequential(OrderedDict(pool=pool, conv=layers.conv, norm=layers.norm))


def _measure(shortcut: Callable[[int, int, int], nn.Module]) -> Iterator[tuple[str, Any]]:
    for in_channels, out_channels, stride in ((4, 4, 1), (4, 6, 1), (4, 6, 2), (6, 6, 2)):
        for height, width in ((8, 6), (7, 5)) if stride == 2 else ((5, 4),):
            where = f"of a shortcut from {in_channels} to {out_channels} channels, stride {stride}, on a {height}x{width} map"
            built = shortcut(in_channels, out_channels, stride)
            yield from behaviour(built, (2, in_channels, height, width), where)


# Known mistakes ------------------------------------------------------------------------------------------------


class _Layer(nn.Module):
    """A function of a map, as a layer without parameters."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def _shortcut(
    *,
    pool: Callable[[], nn.Module] = lambda: nn.AvgPool2d(2, 2, ceil_mode=True),
    stride: int = 1,
    act: str | None = None,
    order: tuple[str, ...] = ("pool", "conv", "norm", "act"),
    everywhere: bool = False,
    bias: bool = False,
) -> Callable[[int, int, int], nn.Module]:
    """`pooled_shortcut` with one thing wrong in it; `stride` is that of the convolution where a 2 is asked for."""

    def wrong(in_channels: int, out_channels: int, asked: int) -> nn.Module:
        if asked == 1 and in_channels == out_channels and not everywhere:
            return nn.Identity()
        layers = ConvNormAct(in_channels, out_channels, stride=stride if asked == 2 else 1, act=act)
        parts = dict(layers.named_children())
        if bias:
            parts["conv"] = nn.Conv2d(in_channels, out_channels, 1)
        if asked == 2:
            parts["pool"] = pool()
        return nn.Sequential(OrderedDict((name, parts[name]) for name in order if name in parts))

    return wrong


def _only_by_stride(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    return pooled_shortcut(in_channels, out_channels, stride) if stride != 1 else nn.Identity()


def _only_by_channels(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if in_channels != out_channels:
        return pooled_shortcut(in_channels, out_channels, stride)
    return nn.AvgPool2d(2, 2, ceil_mode=True) if stride == 2 else nn.Identity()


def _zeros_at_the_edge(x: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2)), 2)


def _hangs_over_at_the_start(x: Tensor) -> Tensor:
    return F.avg_pool2d(x.flip(2, 3), 2, ceil_mode=True).flip(2, 3)


def _adaptive(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, (-(-x.shape[2] // 2), -(-x.shape[3] // 2)))


CHECKS = (
    Check(
        id="resnest.shortcut",
        minutes=6,
        difficulty="medium",
        ours=pooled_shortcut,
        measure=_measure,
        mistakes={
            "that strides its 1x1 convolution, as ResNet's does": _shortcut(pool=nn.Identity, stride=2),
            "that pools and strides its convolution as well": _shortcut(stride=2),
            "that pools after its normalisation: the same in evaluation mode, and not while it learns": _shortcut(
                order=("conv", "norm", "pool", "act")
            ),
            "that pools 3x3 with padding, as the branch does, and counts the zeros": _shortcut(
                pool=lambda: nn.AvgPool2d(3, 2, padding=1)
            ),
            "that pools 3x3 with padding, as the branch does": _shortcut(
                pool=lambda: nn.AvgPool2d(3, 2, padding=1, count_include_pad=False)
            ),
            "that takes the largest of four pixels": _shortcut(pool=lambda: nn.MaxPool2d(2, 2, ceil_mode=True)),
            "that rounds down: an odd map loses its last row and column": _shortcut(pool=lambda: nn.AvgPool2d(2, 2)),
            "that counts zeros beyond an odd edge": _shortcut(pool=lambda: _Layer(_zeros_at_the_edge)),
            "whose windows hang over at the top and the left": _shortcut(pool=lambda: _Layer(_hangs_over_at_the_start)),
            "that uses adaptive pooling, whose windows overlap on an odd map": _shortcut(
                pool=lambda: _Layer(_adaptive)
            ),
            "whose result goes through a ReLU": _shortcut(act="relu"),
            "without a normalisation": _shortcut(order=("pool", "conv")),
            "whose convolution has a bias": _shortcut(bias=True),
            "that projects even where the shape stays": _shortcut(everywhere=True),
            "that forgets that the channels can change without a stride": _only_by_stride,
            "that forgets its convolution where only the stride asks for it": _only_by_channels,
        },
        hints=(
            "Three cases: nothing changes, only the channels change, the map shrinks. What does each need?",
            (
                "A 1x1 convolution of stride 1 changes the channels. Only where stride is 2, an average over 2x2 pixels "
                "comes before it. An odd map of 7 must become 4: look at ceil_mode of nn.AvgPool2d."
            ),
            (
                "nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False), then the conv and the norm of "
                "ConvNormAct(in_channels, out_channels), named so in a Sequential of an OrderedDict."
            ),
        ),
    ),
)
