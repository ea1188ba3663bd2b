"""Exercise `resnest.net`: stem, four stages, classifier. Imports the engine and this room's parts."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from netwright.lessons.engine import Check
from netwright.lessons.resnest.stages import make_stage
from netwright.lessons.resnest.stem import deep_stem
from netwright.lessons.trying import behaviour
from netwright.nets.resnext import aggregated_width


class ResNeSt(nn.Module):
    """A whole ResNeSt: pictures (batch, 3, height, width) to logits (batch, num_classes).

    depths, planes: the blocks of each stage, and its width before the bottleneck's expansion by 4.
    options: radix and average_down, for every block; cardinality and base_width as in ResNeXt.
    """

    def __init__(
        self,
        depths: tuple[int, ...],
        planes: tuple[int, ...] = (64, 128, 256, 512),
        *,
        stem_width: int = 32,
        cardinality: int = 1,
        base_width: int = 64,
        num_classes: int = 1000,
        **options,
    ):
        super().__init__()
        self.stem = deep_stem(3, stem_width)
        self.stages = nn.Sequential()
        channels = 2 * stem_width
        for i, (depth, width) in enumerate(zip(depths, planes, strict=True)):
            mid_channels = width * base_width // 64 * cardinality
            stride = 1 if i == 0 else 2
            self.stages.append(
                make_stage(depth, channels, mid_channels, 4 * width, stride, cardinality=cardinality, **options)
            )
            channels = 4 * width
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.stages(x)
        return self.classifier(x.mean((2, 3)))


def _measure(net: type[nn.Module]) -> Iterator[tuple[str, Any]]:
    for depths, planes, shape, rest in (
        ((1, 2), (4, 8), (26, 17), {}),
        ((2,), (14,), (9, 13), {"radix": 1, "cardinality": 2, "base_width": 20}),
        ((1, 1, 1), (8, 16, 8), (20, 33), {"radix": 4, "cardinality": 2, "base_width": 34, "average_down": "before"}),
    ):
        built = net(depths, planes, stem_width=4, num_classes=5, **rest)
        said = ", ".join(f"{name}={value!r}" for name, value in rest.items())
        where = f"of a net of depths {depths} and planes {planes}{', ' if said else ''}{said}"
        yield from behaviour(built, (2, 3, *shape), where)


# Known mistakes ------------------------------------------------------------------------------------------------


def _net(
    *,
    stride: Callable[[int], int] = lambda i: 1 if i == 0 else 2,
    mid: Callable[[int, int, int], int] = aggregated_width,
    out: Callable[[int, int], int] = lambda planes, mid: 4 * planes,
    stem: Callable[[int], int] = lambda width: width,
    keep: Callable[[dict], dict] = lambda options: options,
    head: Callable[[ResNeSt, Tensor], Tensor] = lambda net, x: net.classifier(x.mean((2, 3))),
    bias: bool = True,
) -> type[nn.Module]:
    """`ResNeSt` with one thing wrong in it; `mid` is asked for (planes, cardinality, base_width)."""

    class Wrong(nn.Module):
        def __init__(
            self, depths, planes=(64, 128, 256, 512), *, stem_width=32, cardinality=1, base_width=64, num_classes=1000,
            **options,
        ):  # fmt: skip
            super().__init__()
            self.stem = deep_stem(3, stem(stem_width))
            self.stages = nn.Sequential()
            channels, options = 2 * stem(stem_width), keep({"cardinality": cardinality, **options})
            for i, (depth, width) in enumerate(zip(depths, planes, strict=True)):
                middle = mid(width, cardinality, base_width)
                self.stages.append(make_stage(depth, channels, middle, out(width, middle), stride(i), **options))
                channels = out(width, middle)
            self.classifier = nn.Linear(channels, num_classes, bias=bias)

        def forward(self, x):
            return head(self, self.stages(self.stem(x)))

    return Wrong


def _without(*names: str) -> Callable[[dict], dict]:
    return lambda options: {name: value for name, value in options.items() if name not in names}


CHECKS = (
    Check(
        id="resnest.net",
        minutes=8,
        difficulty="medium",
        ours=ResNeSt,
        measure=_measure,
        mistakes={
            "whose first stage strides too, behind a stem that has shrunk the map twice": _net(stride=lambda i: 2),
            "whose stages never stride": _net(stride=lambda i: 1),
            "whose stages stride but the last": _net(stride=lambda i: 1 if i != 1 else 2),
            "whose middles are as wide as the planes, whatever base_width and cardinality are": _net(
                mid=lambda planes, cardinality, base_width: planes
            ),
            "that multiplies by the cardinality before it rounds": _net(
                mid=lambda planes, cardinality, base_width: planes * base_width * cardinality // 64
            ),
            "that forgets the cardinality in the width of its middles": _net(
                mid=lambda planes, cardinality, base_width: planes * base_width // 64
            ),
            "whose stages put out four times their middle, not four times their planes": _net(
                out=lambda planes, mid: 4 * mid
            ),
            "whose stem is twice as wide as asked": _net(stem=lambda width: 2 * width),
            "that does not hand the cardinality on to its blocks": _net(keep=_without("cardinality")),
            "that does not hand radix and average_down on to its blocks": _net(keep=_without("radix", "average_down")),
            "that sums over the pixels where it should take the mean": _net(
                head=lambda net, x: net.classifier(x.sum((2, 3)))
            ),
            "that takes the largest pixel where it should take the mean": _net(
                head=lambda net, x: net.classifier(x.amax((2, 3)))
            ),
            "that puts out probabilities, not logits": _net(
                head=lambda net, x: net.classifier(x.mean((2, 3))).softmax(1)
            ),
            "whose classifier has no bias": _net(bias=False),
        },
        hints=(
            "How small is the map behind the stem, and which stages still have to halve it?",
            (
                "A loop over depths and planes that carries the number of channels along: it begins with 2 * stem_width "
                "and is 4 * planes after each stage. The first stage has stride 1, every other 2."
            ),
            (
                "mid_channels = width * base_width // 64 * cardinality; self.stages.append(make_stage(depth, channels, "
                "mid_channels, 4 * width, 1 if i == 0 else 2, cardinality=cardinality, **options))."
            ),
        ),
    ),
)
