"""Exercise `resnext.net`: the whole net.

Imports the engine, nets and, of this room, blocks.
"""

from collections.abc import Iterator
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from netwright.lessons.engine import Check
from netwright.lessons.resnext.blocks import ResNeXtBlock, shapes_of
from netwright.lessons.trying import behaviour
from netwright.nets.layers import ConvNormAct
from netwright.nets.resnext import aggregated_width


class ResNeXt(nn.Module):
    """A whole ResNeXt: pictures (batch, 3, height, width) to logits (batch, num_classes).

    depths: the number of blocks of each stage; planes: the width that a ResNet's stages would have, the first of which
    is the stem's. Table 1 of the paper has depths (3, 4, 6, 3), cardinality 32 and base width 4.
    """

    def __init__(
        self,
        depths: tuple[int, ...],
        cardinality: int,
        base_width: int,
        planes: tuple[int, ...] = (64, 128, 256, 512),
        num_classes: int = 1000,
    ):
        super().__init__()
        channels = planes[0]
        self.stem = nn.Sequential(
            ConvNormAct(3, channels, 7, stride=2, act="relu"), nn.MaxPool2d(3, stride=2, padding=1)
        )
        self.stages = nn.Sequential()
        for stage, (depth, width) in enumerate(zip(depths, planes, strict=True)):
            mid_channels = aggregated_width(width, cardinality, base_width)
            blocks = nn.Sequential()
            for i in range(depth):
                stride = 2 if stage > 0 and i == 0 else 1  # the stem's pool has halved the first stage's map already
                blocks.append(ResNeXtBlock(channels, mid_channels, 4 * width, stride, cardinality))
                channels = 4 * width
            self.stages.append(blocks)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (batch, planes, height / 4, width / 4)
        x = self.stages(x)  # (batch, 4 * last planes, height / 32, width / 32)
        return self.classifier(x.mean((2, 3)))


# depths, cardinality, base width, planes, classes, side
NET_CASES = (((1, 3), 2, 24, (8, 12), 5, (37, 45)), ((2, 1, 1), 4, 32, (4, 6, 8), 3, (32, 32)))


def _measure_net(net: type[nn.Module]) -> Iterator[tuple[str, Any]]:
    for depths, cardinality, base_width, planes, classes, size in NET_CASES:
        where = f"of the net with {', '.join(map(str, depths))} blocks, {cardinality}x{base_width}d, planes {planes}"
        built = net(depths, cardinality, base_width, planes=planes, num_classes=classes)
        yield from behaviour(built, (2, 3, *size), where, scale=8)
    with torch.device("meta"):
        built = net((1, 1, 1, 1), 32, 4)
    yield "the list of parameters of ResNeXt-14 32x4d, planes and classes not given", shapes_of(built)


def _net(
    *,
    stem=lambda width: [ConvNormAct(3, width, 7, stride=2, act="relu"), nn.MaxPool2d(3, stride=2, padding=1)],
    stride=lambda stage, i, depth: 2 if stage > 0 and i == 0 else 1,
    mid=lambda stage, planes, cardinality, base_width: aggregated_width(planes[stage], cardinality, base_width),
    groups=lambda stage, cardinality: cardinality,
    repeated=False,
    pooled=lambda x: x.mean((2, 3)),
    answer=lambda logits: logits,
):
    """`ResNeXt` with one thing wrong in it."""

    class Wrong(nn.Module):
        def __init__(self, depths, cardinality, base_width, planes=(64, 128, 256, 512), num_classes=1000):
            super().__init__()
            channels = planes[0]
            self.stem, self.stages = nn.Sequential(*stem(channels)), nn.Sequential()
            for stage, depth, width in zip(count(), depths, planes, strict=False):
                its_groups = groups(stage, cardinality)
                sizes = mid(stage, planes, its_groups, base_width), 4 * width
                blocks = []
                for i in range(depth):
                    blocks.append(ResNeXtBlock(channels, *sizes, stride(stage, i, depth), its_groups))
                    channels = 4 * width
                if repeated:
                    blocks[1:] = blocks[1:2] * (depth - 1)
                self.stages.append(nn.Sequential(*blocks))
            self.classifier = nn.Linear(channels, num_classes)

        def forward(self, x):
            return answer(self.classifier(pooled(self.stages(self.stem(x)))))

    return Wrong


NET_MISTAKES = {
    "whose first stage has a stride of 2 as well": _net(stride=lambda stage, i, depth: 2 if i == 0 else 1),
    "whose maps never shrink after the stem: every stage has stride 1": _net(stride=lambda stage, i, depth: 1),
    "whose stride is the wrong way round, 2 in the first stage and 1 in the others": _net(
        stride=lambda stage, i, depth: 2 if stage == 0 and i == 0 else 1
    ),
    "that strides in every block of the later stages": _net(stride=lambda stage, i, depth: 2 if stage > 0 else 1),
    "that strides in the last block of a stage, not in its first": _net(
        stride=lambda stage, i, depth: 2 if stage > 0 and i == depth - 1 else 1
    ),
    "whose middles are as wide in every stage as in the first": _net(
        mid=lambda stage, planes, cardinality, base_width: aggregated_width(planes[0], cardinality, base_width)
    ),
    "whose middles are base_width times cardinality wide, whatever the planes": _net(
        mid=lambda stage, planes, cardinality, base_width: base_width * cardinality
    ),
    "whose cardinality doubles from stage to stage": _net(groups=lambda stage, cardinality: cardinality * 2**stage),
    "whose stages repeat one block, so that their weights are shared": _net(repeated=True),
    "without a ReLU in its stem": _net(
        stem=lambda width: [ConvNormAct(3, width, 7, stride=2), nn.MaxPool2d(3, stride=2, padding=1)]
    ),
    "whose stem pools without padding": _net(
        stem=lambda width: [ConvNormAct(3, width, 7, stride=2, act="relu"), nn.MaxPool2d(3, stride=2)]
    ),
    "whose stem pools windows of 2x2": _net(
        stem=lambda width: [ConvNormAct(3, width, 7, stride=2, act="relu"), nn.MaxPool2d(2)]
    ),
    "whose stem averages where it should take the largest": _net(
        stem=lambda width: [ConvNormAct(3, width, 7, stride=2, act="relu"), nn.AvgPool2d(3, stride=2, padding=1)]
    ),
    "that takes the largest value of each channel before the classifier, not the mean": _net(
        pooled=lambda x: x.amax((2, 3))
    ),
    "that answers with probabilities, where a loss wants logits": _net(answer=lambda logits: logits.softmax(1)),
}

CHECKS = (
    Check(
        id="resnext.net",
        minutes=12,
        difficulty="medium",
        ours=ResNeXt,
        measure=_measure_net,
        mistakes=NET_MISTAKES,
        hints=(
            "What comes into the first block of a stage, what into the others? And which blocks have a stride of 2?",
            (
                "One variable, channels, for what comes in: the stem's to begin with, 4 * planes after each block. The "
                "stride is 2 in the first block of every stage but the first, whose map the max pool has halved already."
            ),
            (
                "In the inner loop: blocks.append(Block(channels, aggregated_width(width, cardinality, base_width), "
                "4 * width, stride, cardinality)), then channels = 4 * width. In forward: stem, stages, x.mean((2, 3)), "
                "classifier."
            ),
        ),
    ),
)
