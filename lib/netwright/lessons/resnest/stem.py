"""Exercise `resnest.stem`: three 3x3 convolutions where ResNet has one of 7x7. Imports the engine, nets and trying."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from netwright.lessons.engine import Check
from netwright.lessons.trying import behaviour
from netwright.nets.layers import ConvNormAct


def deep_stem(in_chans: int, width: int) -> nn.Sequential:
    """Three 3x3 convolutions, the first of stride 2, then a 3x3 max pool of stride 2 (He et al. 2018, "ResNet-C").

    Shapes: (batch, in_chans, height, width) to (batch, 2 * width, height / 4, width / 4), halves rounded up.
    """
    return nn.Sequential(
        ConvNormAct(in_chans, width, 3, stride=2, act="relu"),
        ConvNormAct(width, width, 3, act="relu"),
        ConvNormAct(width, 2 * width, 3, act="relu"),
        nn.MaxPool2d(3, stride=2, padding=1),
    )


def _measure(stem: Callable[[int, int], nn.Module]) -> Iterator[tuple[str, Any]]:
    for in_chans, width, height, across in ((3, 4, 21, 14), (1, 6, 12, 19)):
        where = f"of a stem of width {width} on a map of {height}x{across}"
        yield from behaviour(stem(in_chans, width), (2, in_chans, height, across), where)


# Known mistakes ------------------------------------------------------------------------------------------------

_POOL = nn.MaxPool2d(3, stride=2, padding=1)


def _stem(
    *,
    widths: tuple[int, int, int] = (1, 1, 2),
    strides: tuple[int, int, int] = (2, 1, 1),
    acts: tuple[str | None, ...] = ("relu", "relu", "relu"),
    pool: nn.Module = _POOL,
    change: Callable[[nn.Sequential], object] = lambda layers: None,
) -> Callable[[int, int], nn.Sequential]:
    """`deep_stem` with one thing wrong in it; widths in multiples of the width asked for."""

    def wrong(in_chans: int, width: int) -> nn.Sequential:
        channels = (in_chans, *(width * times for times in widths))
        layers = [
            ConvNormAct(channels[i], channels[i + 1], 3, stride=strides[i], act=acts[i]) for i in range(len(strides))
        ]
        stem = nn.Sequential(*layers, pool)
        change(stem)
        return stem

    return wrong


def _unpad(stem: nn.Sequential) -> None:
    for layer in stem[:3]:
        layer.conv.padding = (0, 0)


def _pool_first(in_chans: int, width: int) -> nn.Sequential:
    stem = deep_stem(in_chans, width)
    stem.forward = lambda x: stem[2](stem[3](stem[1](stem[0](x))))
    return stem


def _with_bias(in_chans: int, width: int) -> nn.Sequential:
    stem = deep_stem(in_chans, width)
    for layer in stem[:3]:
        layer.conv.bias = nn.Parameter(torch.zeros(layer.conv.out_channels))
    return stem


CHECKS = (
    Check(
        id="resnest.stem",
        minutes=5,
        difficulty="easy",
        ours=deep_stem,
        measure=_measure,
        mistakes={
            "whose stride stands in its second convolution": _stem(strides=(1, 2, 1)),
            "whose stride stands in its third convolution": _stem(strides=(1, 1, 2)),
            "that strides in the third convolution instead of pooling": _stem(strides=(2, 1, 2), pool=nn.Identity()),
            "that doubles its width in the second convolution already": _stem(widths=(1, 2, 2)),
            "that never doubles its width": _stem(widths=(1, 1, 1)),
            "that is twice as wide as asked all the way": _stem(widths=(2, 2, 2)),
            "without the max pool": _stem(pool=nn.Identity()),
            "that averages where it should take the largest": _stem(pool=nn.AvgPool2d(3, stride=2, padding=1)),
            "whose max pool is 2x2": _stem(pool=nn.MaxPool2d(2, ceil_mode=True)),
            "whose max pool has no padding and rounds up, which moves every window by a pixel": _stem(
                pool=nn.MaxPool2d(3, stride=2, ceil_mode=True)
            ),
            "without a ReLU before the pool": _stem(acts=("relu", "relu", None)),
            "without ReLUs between its convolutions, which makes them one": _stem(acts=(None, None, "relu")),
            "whose convolutions have no padding": _stem(change=_unpad),
            "whose convolutions have a bias besides that of the normalisation": _with_bias,
            "that pools before its last convolution": _pool_first,
        },
        hints=(
            "Two strides of 2 make a quarter: one is in a convolution, the other in the pool. Which convolution?",
            (
                "Nobody outside the stem sees the widths in between. Channels go in_chans, width, width, 2 * width, and "
                "only the first convolution has stride 2, so that the others work on the smaller map."
            ),
            (
                "nn.Sequential of ConvNormAct(in_chans, width, 3, stride=2, act='relu'), two more without the stride, "
                "and nn.MaxPool2d(3, stride=2, padding=1)."
            ),
        ),
    ),
)
