"""Notebook 00: a function to show how checks answer, and a broken residual block to repair.

Imports engine, endings, trying and nets.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from netwright.lessons.endings import wrong_endings
from netwright.lessons.engine import Check
from netwright.lessons.trying import behaviour
from netwright.nets.config import Block, NetConfig, Stage, Stem
from netwright.nets.layers import ConvNormAct
from netwright.nets.net import ResidualNet
from netwright.nets.resnet import CONFIGS

# A function ----------------------------------------------------------------------------------------------------


def relu(x: Tensor) -> Tensor:
    """x where it is positive, else 0; a new tensor of the same shape."""
    return x.clamp(min=0)


def _measure_relu(function) -> Iterator[tuple[str, Any]]:
    for shape in ((3, 5), (2, 3, 4, 4)):
        x = 4 * torch.randn(shape)
        before = x.clone()
        yield f"the answer to {before.numel()} numbers of both signs", function(x)
        yield "the input, once your function has seen it,", x
    yield "the answer to three zeros", function(torch.zeros(3))


RELU_MISTAKES = {
    "that returns its input as it is": lambda x: x.clone(),
    "that takes the absolute value": lambda x: x.abs(),
    "that keeps the negative part and drops the positive": lambda x: x.clamp(max=0),
    "that keeps the negative part with its sign turned": lambda x: (-x).clamp(min=0),
    "that lets a hundredth of the negative part through (a leaky ReLU)": lambda x: torch.where(x > 0, x, 0.01 * x),
    "that also cuts off what is above 6 (ReLU6)": lambda x: x.clamp(0, 6),
    "that answers 1 where it should answer the number itself": lambda x: (x > 0).to(x.dtype),
    "that rounds the corner off (softplus)": lambda x: torch.nn.functional.softplus(x),
    "that overwrites its input": lambda x: x.clamp_(min=0),
}

RESNET50 = CONFIGS["resnet50"]

# A block -------------------------------------------------------------------------------------------------------


class ResidualBlock(nn.Module):
    """The bottleneck of ResNet (He et al. 2015, figure 5, right; the stride in the 3x3, as all our weights want it).

    Shapes: (batch, in_channels, height, width) to (batch, out_channels, height / stride, width / stride).
    """

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.reduce = ConvNormAct(in_channels, mid_channels, 1, act="relu")
        self.middle = ConvNormAct(mid_channels, mid_channels, 3, stride=stride, act="relu")
        self.expand = ConvNormAct(mid_channels, out_channels, 1)
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = ConvNormAct(in_channels, out_channels, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(x)
        y = self.middle(y)
        y = self.expand(y)
        return (y + self.shortcut(x)).relu()


def net_of(block: type[nn.Module], config: NetConfig = RESNET50, **options) -> ResidualNet:
    """The net of `config` with each of its blocks made by block(in, mid, out, stride); `options` as `ResidualNet`'s."""
    net = ResidualNet(config, **options)
    channels = config.stem.channels[-1]
    for stage, blocks in zip(config.stages, net.stages, strict=True):
        for i in range(len(blocks)):
            blocks[i] = block(channels, stage.mid_channels, stage.out_channels, stage.stride if i == 0 else 1)
            channels = stage.out_channels
    return net


def train_briefly(block: type[nn.Module], picture: Tensor, steps: int = 30) -> list[float]:
    """The loss at each step of a small net of `block` that learns where in the picture a piece was cut out.

    picture: (3, height, width), normalised. A piece is 64 x 64, its class the quarter of the picture that it is from.
    """
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        stages = (Stage((Block(),) * 2, 16, 64, stride=1), Stage((Block(),) * 2, 32, 128))
        net = net_of(block, NetConfig(Stem((16,), kernel_size=3), stages), num_classes=4).train()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
        room = torch.tensor(picture.shape[1:]) - 64
        for _ in range(steps):
            corners = (torch.rand(32, 2) * room).long()  # (pieces, 2): top, left
            pieces = torch.stack([picture[:, top : top + 64, left : left + 64] for top, left in corners])
            quarters = (corners > room // 2).long() @ torch.tensor([2, 1])
            loss = nn.functional.cross_entropy(net(pieces), quarters)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def _measure_block(block: type[nn.Module]) -> Iterator[tuple[str, Any]]:
    """A block that keeps its shape, one that changes it, one that strides: odd sizes, BatchNorm with real statistics."""
    for in_channels, mid_channels, out_channels, stride in ((12, 4, 12, 1), (6, 4, 16, 1), (6, 4, 16, 2)):
        where = f"of a block from {in_channels} to {out_channels} channels with stride {stride}"
        yield from behaviour(block(in_channels, mid_channels, out_channels, stride), (2, in_channels, 9, 7), where)


class _NoInnerRelu(ResidualBlock):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1):
        super().__init__(in_channels, mid_channels, out_channels, stride)
        self.middle = ConvNormAct(mid_channels, mid_channels, 3, stride=stride)


class _StrideInReduce(ResidualBlock):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1):
        super().__init__(in_channels, mid_channels, out_channels, stride)
        self.reduce = ConvNormAct(in_channels, mid_channels, 1, stride=stride, act="relu")
        self.middle = ConvNormAct(mid_channels, mid_channels, 3, act="relu")


class _StrideInExpand(ResidualBlock):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1):
        super().__init__(in_channels, mid_channels, out_channels, stride)
        self.middle = ConvNormAct(mid_channels, mid_channels, 3, act="relu")
        self.expand = ConvNormAct(mid_channels, out_channels, 1, stride=stride)


class _AlwaysProjects(ResidualBlock):
    def __init__(self, in_channels, mid_channels, out_channels, stride=1):
        super().__init__(in_channels, mid_channels, out_channels, stride)
        self.shortcut = ConvNormAct(in_channels, out_channels, 1, stride=stride)


BLOCK_MISTAKES = {
    **wrong_endings(ResidualBlock),
    "without a ReLU between the 3x3 convolution and the last 1x1": _NoInnerRelu,
    "with the stride in the first 1x1 convolution": _StrideInReduce,
    "with the stride in the last 1x1 convolution": _StrideInExpand,
    "whose shortcut is a convolution even where the shape stays": _AlwaysProjects,
}

CHECKS = (
    Check(
        id="bench.relu",
        minutes=1,
        difficulty="easy",
        ours=relu,
        measure=_measure_relu,
        mistakes=RELU_MISTAKES,
        hints=(
            "What should come out for -2, for 0 and for 3?",
            "Negative numbers become 0, the others stay. No loop: torch has functions that cut off at a bound.",
            "x.clamp(min=0) makes a new tensor; x.clamp_(min=0), with the underscore, would overwrite x.",
        ),
    ),
    Check(
        id="bench.block",
        minutes=5,
        difficulty="easy",
        ours=ResidualBlock,
        measure=_measure_block,
        mistakes=BLOCK_MISTAKES,
        hints=(
            "reduce, middle, expand and shortcut of the first block all agree; the block as a whole does not. "
            + "Which lines of forward come after those four?",
            "Compare the order of the addition and the last ReLU with figure 2 of He et al. 2015.",
            "First add y and the shortcut, then take the ReLU of the sum: nothing that leaves a block is below zero.",
        ),
    ),
)
