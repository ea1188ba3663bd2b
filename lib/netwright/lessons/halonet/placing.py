"""Exercises `halonet.interleave` and `halonet.sides`: where attention stands, and which pictures it can then take.

Imports the engine, costing and nets.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from netwright.lessons.engine import Check
from netwright.lessons.halonet.costing import whole
from netwright.nets import halonet
from netwright.nets.config import Block, Halo, NetConfig, Stage
from netwright.nets.halonet import TIERED_STEM, interleave

# Which blocks ----------------------------------------------------------------------------------------------------

STAGES = ((3, 1), (6, 1), (4, 4), (2, 1), (1, 1), (2, 3), (7, 2), (9, 3), (5, 5), (8, 7), (12, 4), (23, 1))


def _measure_interleave(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for depth, every in STAGES:
        blocks = theirs(depth, every, "conv", "attention")
        yield f"a stage of {depth} with every={every}", list(blocks)
    conv, attention = Block(), Block(spatial_attention=Halo(heads=4))
    yield "a stage of 4 with every=2, of blocks and not of words,", list(theirs(4, 2, conv, attention))


def _at(places: Callable[[int, int], Any]) -> Callable:
    """`interleave` with attention at other places."""

    def wrong(depth, every, conv, attention):
        chosen = list(places(depth, every))
        return tuple(attention if i in chosen else conv for i in range(depth))

    return wrong


def _exchanged(depth, every, conv, attention):
    return interleave(depth, every, attention, conv)


def _too_long(depth, every, conv, attention):
    return ([conv] * every + [attention]) * -(-depth // (every + 1))


def _cycle(depth, every, conv, attention):
    return tuple(([conv] * every + [attention]) * (depth // (every + 1)) or [conv] * (depth - 1) + [attention])


INTERLEAVE_MISTAKES = {
    "that begins with attention": _at(lambda depth, every: range(0, depth, every + 1)),
    "with attention at every, 2 * every, 3 * every, …: one convolution too few between two": _at(
        lambda depth, every: range(every, depth, every) or (depth - 1,)
    ),
    "that counts the attention itself as one of the every": _at(
        lambda depth, every: range(every - 1, depth, every) or (depth - 1,)
    ),
    "that leaves a short stage without attention": _at(lambda depth, every: range(every, depth, every + 1)),
    "that gives a short stage its attention at the beginning": _at(
        lambda depth, every: range(every, depth, every + 1) or (0,)
    ),
    "that ends every stage with attention": _at(
        lambda depth, every: [*range(every, depth, every + 1), depth - 1],
    ),
    "with attention in the last block only": _at(lambda depth, every: (depth - 1,)),
    "with one attention block a stage": _at(lambda depth, every: (min(every, depth - 1),)),
    "that counts from the end of the stage": _at(
        lambda depth, every: [depth - 1 - i for i in range(0, depth, every + 1)]
    ),
    "that exchanges convolution and attention": _exchanged,
    "that repeats the pattern once too often: the stage gets longer": _too_long,
    "that drops what is left over after the last attention": _cycle,
}

# Which pictures --------------------------------------------------------------------------------------------------


def sides(config: NetConfig, wanted: int) -> tuple[int, int]:
    """(multiple, nearest): of what a picture's sides must be multiples, and the nearest such side to `wanted`.

    Every stem here divides a side by 4. Of two sides equally near it is the larger. In pixels.
    """
    stride, multiple = 4, 1
    for stage in config.stages:
        for i, block in enumerate(stage.blocks):
            if block.spatial_attention:
                multiple = math.lcm(multiple, stride * block.spatial_attention.block_size)
            if i == 0:
                stride *= stage.stride  # of what comes after the first block
    nearest = max(1, (wanted + multiple // 2) // multiple) * multiple
    return multiple, nearest


def _attends(heads: int = 1, block_size: int = 8, halo: int = 3) -> Block:
    return Block(spatial_attention=Halo(heads, block_size, halo))


def _net(*stages: tuple[tuple[Block, ...], int]) -> NetConfig:
    return NetConfig(TIERED_STEM, tuple(Stage(blocks, 8, 16, stride) for blocks, stride in stages))


CONV = Block()
NETS = {
    "halonet50ts": (halonet.CONFIGS["halonet50ts"], (224, 300, 640, 100, 512)),
    "halonet26t": (halonet.CONFIGS["halonet26t"], (224, 383, 384)),
    "a net with attention in the first block of its second stage, block 8,": (
        _net(((CONV,), 1), ((_attends(), CONV), 2)),
        (224, 79, 80, 47, 144),
    ),
    "a net with blocks of 6 at stride 4 and of 8 at stride 8": (
        _net(((CONV, _attends(block_size=6)), 1), ((CONV, _attends(block_size=8, halo=2)), 2)),
        (224, 288, 90),
    ),
    "a net with blocks of 7 and of 5": (
        _net(((_attends(block_size=7, halo=0),), 1), ((_attends(block_size=5), CONV), 1), ((CONV, CONV), 2)),
        (224, 300, 71, 70),
    ),
    "a net whose stages have stride 2, 1, 2": (
        _net(((CONV,), 2), ((_attends(block_size=3), CONV), 1), ((_attends(block_size=4), CONV), 2)),
        (97, 113),
    ),
    "a net of convolutions": (_net(((CONV,), 1), ((CONV, CONV), 2)), (224, 101)),
}


def _measure_sides(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for what, (config, wishes) in NETS.items():
        for i, wanted in enumerate(wishes):
            multiple, nearest = theirs(config, wanted)
            if i == 0:
                yield f"the multiple for {what}", whole(multiple)
            yield f"the nearest side to {wanted} for {what}", whole(nearest)


def _sides(
    *,
    stem=4,
    together=math.lcm,
    part=lambda halo: halo.block_size,
    before=True,
    every_block=False,
    only_last=False,
    strides=True,
    nearest=lambda wanted, multiple: max(1, (wanted + multiple // 2) // multiple) * multiple,
):
    """`sides` with one thing wrong in it."""

    def wrong(config, wanted):
        stride, multiple = stem, 1
        for stage in config.stages[-1:] if only_last else config.stages:
            if only_last:
                stride = stem * math.prod(each.stride for each in config.stages[:-1])
            for i, block in enumerate(stage.blocks):
                if not before and i == 0:
                    stride *= stage.stride
                if block.spatial_attention:
                    multiple = together(multiple, (stride if strides else 1) * part(block.spatial_attention))
                if (before and i == 0) or (every_block and i > 0):
                    stride *= stage.stride
        return multiple, nearest(wanted, multiple)

    return wrong


def _thirty_two(config, wanted):
    stride = 4 * math.prod(stage.stride for stage in config.stages)
    multiple = stride * max(
        (b.spatial_attention.block_size for s in config.stages for b in s.blocks if b.spatial_attention), default=1
    )
    return multiple, max(1, (wanted + multiple // 2) // multiple) * multiple


SIDES_MISTAKES = {
    "in which the first block of a stage sees the map after the stride, not before it": _sides(before=False),
    "that forgets the stem": _sides(stem=1),
    "whose stem only halves": _sides(stem=2),
    "that takes the largest demand, which need not be a multiple of the others": _sides(together=max),
    "that multiplies all demands": _sides(together=lambda one, other: one * other),
    "that asks the last stage only": _sides(only_last=True),
    "that multiplies the largest block by the stride of the whole net": _thirty_two,
    "that looks at block sizes and at no stride": _sides(strides=False),
    "in which every block of a stage strides": _sides(every_block=True),
    "in which the window, halo included, has to fit": _sides(part=lambda halo: halo.block_size + 2 * halo.halo),
    "that rounds down": _sides(nearest=lambda wanted, multiple: max(1, wanted // multiple) * multiple),
    "that rounds up": _sides(nearest=lambda wanted, multiple: -(-wanted // multiple) * multiple),
    "that takes the next multiple even where the side is one already": _sides(
        nearest=lambda wanted, multiple: (wanted // multiple + 1) * multiple
    ),
    "that leaves no picture at all where less than half a multiple is wanted": _sides(
        nearest=lambda wanted, multiple: (wanted + multiple // 2) // multiple * multiple
    ),
    "whose ties go to the even multiple, as Python's round does it": _sides(
        nearest=lambda wanted, multiple: max(1, round(wanted / multiple)) * multiple
    ),
}

CHECKS = (
    Check(
        id="halonet.interleave",
        minutes=4,
        difficulty="easy",
        ours=interleave,
        measure=_measure_interleave,
        mistakes=INTERLEAVE_MISTAKES,
        hints=(
            "Write down the numbers of the attention blocks for every=1 and for every=2. By how much do they grow?",
            "Between two attention blocks there are `every` convolutions, so their numbers are every + 1 apart, and the first is every.",
            (
                "range(every, depth, every + 1) has the places. If it is empty, the stage is too short, and the place is "
                "depth - 1."
            ),
        ),
    ),
    Check(
        id="halonet.sides",
        minutes=7,
        difficulty="medium",
        ours=sides,
        measure=_measure_sides,
        mistakes=SIDES_MISTAKES,
        hints=(
            "For one attention block: how many pixels of the picture is a pixel of the map that it *sees* wide? And a block of these?",
            (
                "Walk through the stages with the stride so far, which is 4 after the stem. A block demands stride * "
                "block_size. The first block of a stage still sees the map before the stage's stride."
            ),
            (
                "math.lcm(a, b) is the smallest number that is a multiple of both. The nearest multiple, ties up: "
                "(wanted + multiple // 2) // multiple * multiple, and at least one multiple."
            ),
        ),
    ),
)
