"""Exercise `resnet.stage`: a row of blocks. Imports the engine, trying, nets and, of this room, blocks."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from netwright.lessons.engine import Check
from netwright.lessons.resnet.blocks import Bottleneck, StrideInFirst, block_with, branch
from netwright.lessons.trying import behaviour
from netwright.nets.layers import ConvNormAct


def stage(in_channels: int, mid_channels: int, out_channels: int, depth: int, stride: int) -> nn.Sequential:
    """`depth` blocks in a row: the first changes the width and carries the stride, the others keep the shape."""
    blocks = [Bottleneck(in_channels, mid_channels, out_channels, stride)]
    blocks += [Bottleneck(out_channels, mid_channels, out_channels) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


def _measure_stage(theirs) -> Iterator[tuple[str, Any]]:
    for in_channels, depth, stride in ((6, 3, 2), (6, 2, 1), (12, 3, 1), (6, 1, 2)):
        blocks = "1 block" if depth == 1 else f"{depth} blocks"
        where = f"of a stage of {blocks} from {in_channels} to 12 channels with stride {stride}"
        yield from behaviour(theirs(in_channels, 4, 12, depth, stride), (2, in_channels, 9, 11), where)


# Known mistakes: stage ---------------------------------------------------------------------------------------------


def _stage(
    *, stride=lambda place, depth, stride: stride if place == 0 else 1, count=lambda depth: depth, block=Bottleneck
):
    """`stage` with other strides, another number of blocks, or another block."""

    def wrong(in_channels, mid_channels, out_channels, depth, its_stride):
        blocks = nn.Sequential()
        for place in range(count(depth)):
            here = in_channels if place == 0 else out_channels
            blocks.append(block(here, mid_channels, out_channels, stride(place, depth, its_stride)))
        return blocks

    return wrong


def _one_block_again(in_channels, mid_channels, out_channels, depth, stride):
    first = [Bottleneck(in_channels, mid_channels, out_channels, stride)]
    return nn.Sequential(*first, *[Bottleneck(out_channels, mid_channels, out_channels)] * (depth - 1))


def _widens_last(in_channels, mid_channels, out_channels, depth, stride):
    blocks = [Bottleneck(in_channels, mid_channels, in_channels, stride if i == 0 else 1) for i in range(depth - 1)]
    blocks.append(Bottleneck(in_channels, mid_channels, out_channels, stride if depth == 1 else 1))
    return nn.Sequential(*blocks)


def _wide_middles(in_channels, mid_channels, out_channels, depth, stride):
    first = Bottleneck(in_channels, mid_channels, out_channels, stride)
    return nn.Sequential(first, *[Bottleneck(out_channels, out_channels, out_channels) for _ in range(depth - 1)])


def _relu_between(in_channels, mid_channels, out_channels, depth, stride):
    """Every block but the last leaves its ReLU to the block after it, which takes it on its branch only."""
    blocks = _stage()(in_channels, mid_channels, out_channels, depth, stride)
    for place, block in enumerate(blocks):
        if place < depth - 1:
            block.forward = lambda x, block=block: branch(block, x) + block.shortcut(x)
    return blocks


STAGE_MISTAKES = {
    "in which every block strides": _stage(stride=lambda place, depth, stride: stride),
    "in which the last block strides, not the first": _stage(
        stride=lambda place, depth, stride: stride if place == depth - 1 else 1
    ),
    "in which all but the first block stride": _stage(stride=lambda place, depth, stride: stride if place else 1),
    "that forgets the stride": _stage(stride=lambda place, depth, stride: 1),
    "that always strides by 2, whatever it is told": _stage(stride=lambda place, depth, stride: 2 if place == 0 else 1),
    "with one block too many": _stage(count=lambda depth: depth + 1),
    "with one block too few": _stage(count=lambda depth: max(1, depth - 1)),
    "whose later blocks are one and the same, run again and again": _one_block_again,
    "that widens in its last block": _widens_last,
    "whose later blocks are as wide in the middle as outside": _wide_middles,
    "whose blocks all have a projection": _stage(
        block=block_with(shortcut=lambda i, m, o, s: ConvNormAct(i, o, stride=s))
    ),
    "whose blocks carry the stride in their first convolution": _stage(block=StrideInFirst),
    "in which only the last block has the ReLU after the addition": _relu_between,
}

CHECKS = (
    Check(
        id="resnet.stage",
        minutes=4,
        difficulty="easy",
        ours=stage,
        measure=_measure_stage,
        mistakes=STAGE_MISTAKES,
        hints=(
            "What does the second block get, and what does it give? Write down its four numbers.",
            "Only the first block sees in_channels and the stride. All others go from out_channels to out_channels.",
            (
                "Make depth - 1 further blocks in a loop or a comprehension: [block] * (depth - 1) would be one block, listed "
                "several times. nn.Sequential(*blocks) names them '0', '1', …"
            ),
        ),
    ),
)
