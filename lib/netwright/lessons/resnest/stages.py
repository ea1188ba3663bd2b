"""Exercise `resnest.stages`: blocks in a row, and where the stride goes. Imports the engine, block and trying."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from netwright.lessons.engine import Check
from netwright.lessons.resnest.block import ResNeStBlock
from netwright.lessons.trying import behaviour


def make_stage(
    depth: int, in_channels: int, mid_channels: int, out_channels: int, stride: int, **options
) -> nn.Sequential:
    """`depth` blocks that share one resolution: the first takes in_channels and the stride, the others keep the shape.

    options: radix, cardinality and average_down, for every block.
    Shapes: (batch, in_channels, height, width) to (batch, out_channels, height / stride, width / stride), rounded up.
    """
    stage = nn.Sequential()
    for i in range(depth):
        stage.append(ResNeStBlock(in_channels, mid_channels, out_channels, stride if i == 0 else 1, **options))
        in_channels = out_channels
    return stage


def _measure(stage: Callable[..., nn.Module]) -> Iterator[tuple[str, Any]]:
    for depth, in_channels, stride, radix, cardinality, place in (
        (3, 4, 2, 2, 1, "after"),
        (2, 4, 1, 1, 2, "after"),
        (2, 8, 2, 2, 2, "before"),
        (1, 8, 1, 4, 1, "after"),
    ):
        options = {"radix": radix, "cardinality": cardinality, "average_down": place}
        built = stage(depth, in_channels, 4, 8, stride, **options)
        where = f"of a stage of {depth} from {in_channels} to 8 channels, stride {stride}, radix {radix}, "
        where += f"cardinality {cardinality}, average_down={place!r}"
        yield from behaviour(built, (3, in_channels, 7, 6), where)


# Known mistakes ------------------------------------------------------------------------------------------------

Rule = Callable[[int, int, int], int]  # number of the block, depth, the stage's stride -> the block's stride


def _stage(*, stride: Rule = lambda i, depth, asked: asked if i == 0 else 1, more: int = 0, first_only: bool = False):
    """`make_stage` with one thing wrong in it."""

    def wrong(depth, in_channels, mid_channels, out_channels, asked, **options):
        stage = nn.Sequential()
        for i in range(depth + more):
            own = {} if first_only and i > 0 else options
            stage.append(ResNeStBlock(in_channels, mid_channels, out_channels, stride(i, depth, asked), **own))
            in_channels = out_channels
        return stage

    return wrong


def _one_for_all(depth, in_channels, mid_channels, out_channels, stride, **options):
    first = ResNeStBlock(in_channels, mid_channels, out_channels, stride, **options)
    other = ResNeStBlock(out_channels, mid_channels, out_channels, **options)
    return nn.Sequential(first, *[other] * (depth - 1))


def _all_take_the_first_channels(depth, in_channels, mid_channels, out_channels, stride, **options):
    blocks = [
        ResNeStBlock(in_channels, mid_channels, out_channels, stride if i == 0 else 1, **options) for i in range(depth)
    ]
    return nn.Sequential(*blocks)


def _widens_last(depth, in_channels, mid_channels, out_channels, stride, **options):
    outs = [in_channels] * (depth - 1) + [out_channels]
    blocks = [
        ResNeStBlock(in_channels, mid_channels, out, stride if i == 0 else 1, **options) for i, out in enumerate(outs)
    ]
    return nn.Sequential(*blocks)


def _forgets_options(depth, in_channels, mid_channels, out_channels, stride, **options):
    return make_stage(depth, in_channels, mid_channels, out_channels, stride)


CHECKS = (
    Check(
        id="resnest.stages",
        minutes=4,
        difficulty="easy",
        ours=make_stage,
        measure=_measure,
        mistakes={
            "with the stride in every block": _stage(stride=lambda i, depth, asked: asked),
            "with the stride in its last block": _stage(stride=lambda i, depth, asked: asked if i == depth - 1 else 1),
            "with the stride in every block but the first": _stage(
                stride=lambda i, depth, asked: 1 if i == 0 else asked
            ),
            "that never strides": _stage(stride=lambda i, depth, asked: 1),
            "whose first block always has stride 2": _stage(stride=lambda i, depth, asked: 2 if i == 0 else 1),
            "that has one block too many": _stage(more=1),
            "that has one block too few": _stage(more=-1),
            "whose blocks after the first are one and the same": _one_for_all,
            "whose blocks all take the channels that the first one takes": _all_take_the_first_channels,
            "that widens in its last block, not in its first": _widens_last,
            "that hands its options on to the first block only": _stage(first_only=True),
            "that hands its options on to no block": _forgets_options,
        },
        hints=(
            "Only one block of a stage meets a map of another shape than its own. Which, and what does it need to know?",
            (
                "A loop over depth. In its first round the block gets in_channels and stride; in every other round it "
                "gets out_channels and a stride of 1. A new block in each round, not one block many times."
            ),
            (
                "stage.append(Block(in_channels, mid_channels, out_channels, stride if i == 0 else 1, **options)), and "
                "then in_channels = out_channels."
            ),
        ),
    ),
)
