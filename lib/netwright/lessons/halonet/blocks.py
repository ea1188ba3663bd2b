"""Exercises `halonet.stem`, `halonet.middle` and `halonet.block`: the parts of the net. Imports the engine, trying and nets."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from netwright.lessons.engine import Check
from netwright.lessons.halonet.block_mistakes import BLOCK_MISTAKES, MIDDLE_MISTAKES, STEM_MISTAKES
from netwright.lessons.halonet.parts import AttentionMiddle, Bottleneck, tiered_stem
from netwright.lessons.trying import behaviour
from netwright.nets.config import Halo
from netwright.nets.halonet import HaloAttention


def _measure_stem(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for channels, act, pool, size in (((4, 5, 6), "silu", True, (13, 22)), ((3, 2, 4), "relu", False, (12, 9))):
        where = f"of a stem {channels} with {act} {'and' if pool else 'without'} pool on {size[0]}x{size[1]} pixels"
        yield from behaviour(theirs(channels, act, pool), (2, 3, *size), where)


class _Stand(nn.Module):
    """In place of an attention: any layer that keeps the channels may stand there."""

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x)


def _measure_middle(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for name, make, act, size in (
        ("halo attention", lambda: HaloAttention(6, Halo(2, 4, 1)), "silu", (4, 8)),
        ("halo attention of stride 2", lambda: HaloAttention(6, Halo(3, 4, 1), 2), "relu", (8, 4)),
        ("another layer", lambda: _Stand(6, 1), "silu", (5, 3)),
    ):
        attention = make()
        middle = theirs(attention, 6, act)
        where = f"of a middle of {name} and {act}"
        yield from behaviour(middle, (2, 6, *size), where)
        yield (
            f"whether the middle of {name} holds the layer that it was given, and no copy,",
            (middle.attention is attention),
        )


def _measure_block(theirs: Callable) -> Iterator[tuple[str, Any]]:
    halo = Halo(heads=2, block_size=2, halo=1)
    for channels, stride, attention, act, size in (
        ((8, 4, 8), 1, halo, "silu", (4, 6)),
        ((6, 4, 9), 2, Halo(2, 4, 2, key_dim=3), "relu", (8, 4)),
        ((6, 4, 9), 2, None, "silu", (7, 5)),
        ((6, 4, 6), 2, halo, "silu", (4, 4)),
        ((4, 4, 9), 1, None, "relu", (3, 5)),
        ((5, 2, 5), 2, Halo(1, 3, 1), "relu", (6, 6)),
    ):
        middle = f"halo attention, block {attention.block_size}" if attention else "a convolution"
        where = f"of a block {'-'.join(map(str, channels))} with stride {stride}, {act} and {middle}"
        block = theirs(*channels, stride=stride, halo=attention, act=act)
        yield from behaviour(block, (2, channels[0], *size), where)


CHECKS = (
    Check(
        id="halonet.stem",
        minutes=4,
        difficulty="easy",
        ours=tiered_stem,
        measure=_measure_stem,
        mistakes=STEM_MISTAKES,
        hints=(
            "How often is the map halved on the whole, and by which layers, with the pool and without it?",
            (
                "The first convolution always has stride 2. The second halving is the max pool's, 3x3 with stride 2 and "
                "padding 1; or, where there is no pool, the last convolution's."
            ),
            (
                "nn.Sequential(ConvNormAct(3, a, 3, stride=2, act=act), ConvNormAct(a, b, 3, act=act), ConvNormAct(b, c, 3, "
                "stride=1 if pool else 2, act=act)), and nn.MaxPool2d(3, stride=2, padding=1) appended if pool."
            ),
        ),
    ),
    Check(
        id="halonet.middle",
        minutes=2,
        difficulty="easy",
        ours=AttentionMiddle,
        measure=_measure_middle,
        mistakes=MIDDLE_MISTAKES,
        hints=(
            "What stands behind the 3x3 convolution of a ResNet's bottleneck before the last 1x1 begins?",
            "Attention, then nn.BatchNorm2d(channels), then the activation that `activation(act)` makes. No shortcut in here.",
            "__init__ keeps attention, norm and act; forward returns self.act(self.norm(self.attention(x))).",
        ),
    ),
    Check(
        id="halonet.block",
        minutes=7,
        difficulty="medium",
        ours=Bottleneck,
        measure=_measure_block,
        mistakes=BLOCK_MISTAKES,
        hints=(
            "Three of the four parts are ConvNormAct in any case. Which of them are followed by an activation?",
            (
                "The stride goes to the middle, convolution or HaloAttention, and to the shortcut; the shortcut is a "
                "convolution where stride or channels change, else nn.Identity(). The last activation comes after the sum."
            ),
            (
                "middle = ConvNormAct(mid, mid, 3, stride=stride, act=act), or AttentionMiddle(HaloAttention(mid, halo, "
                "stride), mid, act); forward: act(expand(middle(reduce(x))) + shortcut(x))."
            ),
        ),
    ),
)
