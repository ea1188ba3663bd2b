"""Exercise `resnest.downsample`: an average pool before or after the split attention. Imports the engine, nets, trying."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from netwright.lessons.engine import Check
from netwright.lessons.trying import behaviour
from netwright.nets.resnest import SplitAttention


class AveragedMiddle(nn.Module):
    """Split attention of stride 1, and for a stride of 2 a 3x3 average pool "before" or "after" it (section 4.1).

    The pool has a padding of 1 and counts its zeros, as in the code of ResNeSt's authors.
    Shapes: (batch, channels, height, width) to (batch, channels, height / stride, width / stride), rounded up.
    """

    def __init__(
        self, channels: int, stride: int = 1, *, radix: int = 2, cardinality: int = 1, average_down: str = "after"
    ):
        super().__init__()
        self.attention = SplitAttention(
            channels, radix=radix, cardinality=cardinality, dilation=1, norm="batch", act="relu"
        )
        self.pool = nn.AvgPool2d(3, stride, padding=1) if stride > 1 else nn.Identity()
        self.average_down = average_down

    def forward(self, x: Tensor) -> Tensor:
        if self.average_down == "before":
            return self.attention(self.pool(x))
        return self.pool(self.attention(x))


def _measure(middle: type[nn.Module]) -> Iterator[tuple[str, Any]]:
    for stride, radix, cardinality, place, height, width in (
        (1, 2, 1, "after", 5, 4),
        (2, 2, 1, "after", 6, 7),
        (2, 2, 2, "before", 7, 6),
        (2, 4, 2, "after", 5, 5),
        (1, 1, 4, "before", 4, 5),
    ):
        built = middle(8, stride, radix=radix, cardinality=cardinality, average_down=place)
        where = f"of a middle with radix {radix} and cardinality {cardinality}, stride {stride}, average_down={place!r}"
        yield from behaviour(built, (3, 8, height, width), where)


# Known mistakes ------------------------------------------------------------------------------------------------


def _middle(
    *,
    pool: Callable[[Tensor], Tensor] = lambda x: F.avg_pool2d(x, 3, 2, padding=1),
    place: Callable[[str], str] = lambda asked: asked,
    without_stride: Callable[[Tensor], Tensor] = lambda x: x,
) -> type[nn.Module]:
    """`AveragedMiddle` with one thing wrong in it."""

    class Wrong(AveragedMiddle):
        def __init__(self, channels, stride=1, *, average_down="after", **options):
            super().__init__(channels, stride, average_down=place(average_down), **options)
            self.stride = stride

        def forward(self, x):
            shrink = pool if self.stride > 1 else without_stride
            if self.average_down == "before":
                return self.attention(shrink(x))
            return shrink(self.attention(x))

    return Wrong


class _StridedConvolution(AveragedMiddle):
    def __init__(self, channels, stride=1, **options):
        super().__init__(channels, 1, **options)
        self.attention.conv.stride = (stride, stride)


class _PoolsTheSplits(AveragedMiddle):
    """Where the pool stands "after", it stands between the convolution and the gates."""

    def forward(self, x):
        if self.average_down == "before":
            return super().forward(x)
        layer = self.attention
        splits = self.pool(layer.act(layer.norm(layer.conv(x)))).unflatten(1, (layer.radix, -1))
        gates = layer.gates(splits.sum(1).mean((2, 3), keepdim=True))  # (batch, radix, channels)
        return (splits * gates[..., None, None]).sum(1)


class _Exchanged(AveragedMiddle):
    def __init__(self, channels, stride=1, *, radix=2, cardinality=1, **options):
        super().__init__(channels, stride, radix=cardinality, cardinality=radix, **options)


class _OwnDefaults(AveragedMiddle):
    def __init__(self, channels, stride=1, *, radix=2, cardinality=1, average_down="after"):
        super().__init__(channels, stride, average_down=average_down)


CHECKS = (
    Check(
        id="resnest.downsample",
        minutes=7,
        difficulty="medium",
        ours=AveragedMiddle,
        measure=_measure,
        mistakes={
            "that pools after the attention, wherever it is asked to": _middle(place=lambda asked: "after"),
            "that pools before the attention, wherever it is asked to": _middle(place=lambda asked: "before"),
            "that takes before for after and after for before": _middle(
                place=lambda asked: "before" if asked == "after" else "after"
            ),
            "that strides the 3x3 convolution and pools nowhere": _StridedConvolution,
            "that takes every second pixel where it should average": _middle(pool=lambda x: x[:, :, ::2, ::2]),
            "whose pool does not count the zeros of its padding": _middle(
                pool=lambda x: F.avg_pool2d(x, 3, 2, padding=1, count_include_pad=False)
            ),
            "that pools 2x2, as the shortcut does": _middle(pool=lambda x: F.avg_pool2d(x, 2, 2, ceil_mode=True)),
            "whose pool has no padding": _middle(pool=lambda x: F.avg_pool2d(x, 3, 2)),
            "whose pool rounds up: an even map gets a row and a column too many": _middle(
                pool=lambda x: F.avg_pool2d(x, 3, 2, padding=1, ceil_mode=True)
            ),
            "that takes the largest where it should average": _middle(pool=lambda x: F.max_pool2d(x, 3, 2, padding=1)),
            "that blurs with the 3x3 pool even at stride 1": _middle(
                without_stride=lambda x: F.avg_pool2d(x, 3, 1, padding=1)
            ),
            "that pools the splits, so that the gates are read off the small map": _PoolsTheSplits,
            "that takes the radix for the cardinality": _Exchanged,
            "that has two splits and one cardinal group, whatever is asked": _OwnDefaults,
        },
        hints=(
            "The layer itself keeps the size of its map. What, then, makes the map smaller, and does it always exist?",
            (
                "One pool, made only where stride is 2, and two places for it in forward. 3x3 with stride 2 and padding 1 "
                "rounds up, as the shortcut does. Leave count_include_pad as it is: the authors did."
            ),
            (
                "self.pool = nn.AvgPool2d(3, stride, padding=1) if stride > 1 else nn.Identity(); then "
                "self.attention(self.pool(x)) or self.pool(self.attention(x))."
            ),
        ),
    ),
)
