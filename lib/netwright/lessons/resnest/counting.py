"""What each change around the attention costs, in parameters and multiplications; nothing is computed for it.

Imports nets.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import nn

from netwright.nets.config import Block, NetConfig, Split, Stem
from netwright.nets.net import ResidualNet
from netwright.nets.resnest import CONFIGS, resnest
from netwright.nets.resnet import CONFIGS as RESNETS


class Cost(NamedTuple):
    """One net. parameters: learnt numbers; macs: multiply-adds for one picture of the size asked for."""

    name: str
    parameters: int
    macs: int


def ladder() -> dict[str, NetConfig]:
    """From ResNet-50 to ResNeSt-50 and its fast relative, one change a step."""
    plain = RESNETS["resnet50"]
    stem = replace(plain, stem=Stem((32, 32, 64), kernel_size=3))
    pooled = replace(stem, shortcut="pool")
    return {
        "ResNet-50": plain,
        "+ deep stem": stem,
        "+ average-pool shortcut: ResNet-50-D": pooled,
        "+ split attention of radix 1, average-down after": with_middle(pooled, Split(radix=1)),
        "+ radix 2: ResNeSt-50": CONFIGS["resnest50d"],
        "the same, average-down before: fast 2s1x64d": resnest((3, 4, 6, 3), average_down="before"),
        "radix 4, cardinality 2, before: fast 4s2x40d": CONFIGS["resnest50d_4s2x40d"],
    }


def with_middle(config: NetConfig, split: Split) -> NetConfig:
    """`config` with split attention in the middle of every block."""
    block = Block(channel_attention=split)
    return replace(config, stages=tuple(replace(s, blocks=(block,) * len(s.blocks)) for s in config.stages))


def costs(side: int = 224) -> Iterator[Cost]:
    """What each net of the ladder costs for a picture of side x side pixels."""
    for name, config in ladder().items():
        with torch.device("meta"):
            net = ResidualNet(config).eval()
            yield Cost(name, sum(p.numel() for p in net.parameters()), macs(net, torch.empty(1, 3, side, side)))


def macs(net: nn.Module, x: torch.Tensor) -> int:
    """The multiply-adds of all convolutions and linear layers of `net` for the input x; the rest is not counted."""
    counted = []

    def count(module: nn.Module, args, out: torch.Tensor) -> None:
        counted.append(out.numel() * module.weight[0].numel())

    layers = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.no_grad():
            net(x)
    finally:
        for handle in handles:
            handle.remove()
    return sum(counted)
