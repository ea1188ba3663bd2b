"""Exercises `resnext.cost` and `resnext.budget`: what a block costs, and how wide its groups may be for that.

Imports the engine.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from netwright.lessons.engine import Check

# What it costs -----------------------------------------------------------------------------------------------------


def cost(
    in_channels: int,
    mid_channels: int,
    out_channels: int,
    cardinality: int,
    stride: int = 1,
    size: tuple[int, int] = (56, 56),
) -> tuple[int, int]:
    """The weights of a grouped bottleneck's convolutions, and its multiplications with addition for one picture.

    size: height and width of the map that comes in. A shortcut that is a 1x1 convolution counts; normalisation does
    not. The stride is that of the 3x3 convolution and of the shortcut.
    """
    height, width = size
    pixels_in, pixels_out = height * width, math.ceil(height / stride) * math.ceil(width / stride)
    reduce = in_channels * mid_channels
    middle = mid_channels * (mid_channels // cardinality) * 3 * 3  # each output reads the channels of its own group
    expand = mid_channels * out_channels
    shortcut = in_channels * out_channels if stride != 1 or in_channels != out_channels else 0

    parameters = reduce + middle + expand + shortcut
    multiply_adds = reduce * pixels_in + (middle + expand + shortcut) * pixels_out
    return parameters, multiply_adds


# in, mid, out, cardinality, stride, size
COST_CASES = (
    (256, 128, 256, 32, 1, (56, 56)),
    (256, 64, 256, 1, 1, (56, 56)),
    (64, 128, 256, 32, 1, (28, 20)),
    (256, 256, 512, 32, 2, (15, 10)),
    (12, 6, 12, 3, 2, (7, 9)),
    (10, 8, 24, 2, 1, (1, 3)),
)


def _measure_cost(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for inside, mid, outside, cardinality, stride, size in COST_CASES:
        where = (
            f"of a block {inside} → {mid} → {outside} in {cardinality} group{'s' * (cardinality > 1)}, stride {stride}, "
            f"on a map of {size[0]}x{size[1]}"
        )
        parameters, multiply_adds = theirs(inside, mid, outside, cardinality, stride, size)
        yield f"the number of weights {where}", float(parameters)
        yield f"the number of multiply-adds {where}", float(multiply_adds)
    parameters, multiply_adds = theirs(16, 8, 16, 2)
    yield "the number of multiply-adds where neither stride nor size is given", float(multiply_adds)


def _cost(
    *,
    middle=lambda mid, n: mid * (mid // n) * 9,
    ones=lambda weights, n: weights,
    pixels_out=lambda height, width, stride: math.ceil(height / stride) * math.ceil(width / stride),
    reduce_at=lambda inside, outside: inside,
    shortcut_at=lambda inside, outside: outside,
    projects=lambda inside, outside, stride: stride != 1 or inside != outside,
    extra=lambda mid, outside: 0,
    per_multiply_add=1,
):
    """`cost` with one thing wrong in it."""

    def wrong(in_channels, mid_channels, out_channels, cardinality, stride=1, size=(56, 56)):
        before, after = size[0] * size[1], pixels_out(*size, stride)
        reduce, expand = (ones(some * mid_channels, cardinality) for some in (in_channels, out_channels))
        looks = middle(mid_channels, cardinality)
        shortcut = in_channels * out_channels if projects(in_channels, out_channels, stride) else 0
        multiply_adds = (looks + expand) * after
        multiply_adds += reduce * reduce_at(before, after) + shortcut * shortcut_at(before, after)
        parameters = reduce + looks + expand + shortcut + extra(mid_channels, out_channels)
        return parameters, per_multiply_add * multiply_adds

    return wrong


COST_MISTAKES = {
    "whose 3x3 convolution is dense: the groups are forgotten": _cost(middle=lambda mid, n: mid * mid * 9),
    "that divides by the number of groups twice, for what goes in and for what comes out": _cost(
        middle=lambda mid, n: (mid // n) * (mid // n) * 9
    ),
    "whose 3x3 convolution has 3 weights for each pair of channels": _cost(middle=lambda mid, n: mid * (mid // n) * 3),
    "whose 3x3 convolution is a depthwise one, one input channel each": _cost(middle=lambda mid, n: mid * 9),
    "that divides the 1x1 convolutions by the number of groups as well": _cost(ones=lambda weights, n: weights // n),
    "with the stride in the first 1x1 convolution": _cost(reduce_at=lambda inside, outside: outside),
    "that does not make the map smaller where there is a stride": _cost(
        pixels_out=lambda height, width, stride: height * width
    ),
    "that rounds the size of an odd map down, and so loses its last row": _cost(
        pixels_out=lambda height, width, stride: (height // stride) * (width // stride)
    ),
    "that makes the map smaller in one direction only": _cost(
        pixels_out=lambda height, width, stride: math.ceil(height / stride) * width
    ),
    "that leaves the shortcut out": _cost(projects=lambda inside, outside, stride: False),
    "that counts a convolution for the shortcut even where it is the identity": _cost(
        projects=lambda inside, outside, stride: True
    ),
    "whose shortcut is a convolution only where the number of channels changes": _cost(
        projects=lambda inside, outside, stride: inside != outside
    ),
    "whose shortcut works on the map before the stride": _cost(shortcut_at=lambda inside, outside: inside),
    "that counts a bias for every filter": _cost(extra=lambda mid, outside: 2 * mid + outside),
    "that counts the scale and shift of the normalisations as well": _cost(
        extra=lambda mid, outside: 2 * (2 * mid + outside)
    ),
    "that counts a multiplication and its addition as two": _cost(per_multiply_add=2),
}

# What fits ---------------------------------------------------------------------------------------------------------


def budget_width(cardinality: int, budget: int, channels: int = 256) -> int:
    """The width of a group with which a bottleneck of `cardinality` groups comes nearest to `budget` weights.

    channels: of the map that comes in and of the one that goes out. At least 1. Xie et al. 2016, section 3.4.
    """

    def misses(width: int) -> int:
        return abs(cost(channels, cardinality * width, channels, cardinality)[0] - budget)

    return min(range(1, budget // (2 * channels * cardinality) + 2), key=misses)


# cardinality, budget, channels. The first are table 2 of the paper: the same weights as ResNet-50's 1x64d.
RESNET_BUDGET = 256 * 64 + 9 * 64 * 64 + 64 * 256
BUDGET_CASES = (
    *((cardinality, RESNET_BUDGET, 256) for cardinality in (1, 2, 4, 8, 16, 32, 64)),
    *((cardinality, 4 * RESNET_BUDGET, 512) for cardinality in (1, 8, 32)),
    (2, 30_000, 64),
    (3, 5_000, 100),
    (5, 41_000, 96),
    (2, 10_900, 64),  # 18 is nearer in weights, 19 is nearer to the root of the equation
    (16, 400, 32),
)


def _measure_budget(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for cardinality, budget, channels in BUDGET_CASES:
        where = (
            f"in {cardinality} group{'s' * (cardinality > 1)} at a budget of {budget:,} weights, {channels} channels"
        )
        yield f"the width of a group {where}", _whole(theirs(cardinality, budget, channels))
    yield "the width of a group where the channels are not given", _whole(theirs(4, RESNET_BUDGET))


def _whole(number: Any) -> Any:
    """4, 4.0 and tensor(4) are the same answer; 3.9 is none, and must not become 3."""
    return int(number) if number is not None and int(number) == float(number) else number


def _weights(cardinality: int, width: int, channels: int, *, ones: int = 2, kernel: int = 9) -> int:
    return cardinality * (ones * channels * width + kernel * width * width)


def _budget(weights, nearest=lambda excess: abs(excess)):
    """`budget_width` with another count of weights, or another idea of what is best."""

    def wrong(cardinality, budget, channels=256):
        return min(range(1, 400), key=lambda width: nearest(weights(cardinality, width, channels) - budget))

    return wrong


def _root(cardinality: int, budget: int, channels: int) -> float:
    """Where the count equals the budget exactly: the positive root of 9 d² + 2 channels d = budget / cardinality."""
    return (math.sqrt(channels**2 + 9 * budget / cardinality) - channels) / 9


BUDGET_MISTAKES = {
    "that takes the widest that stays within the budget": _budget(
        _weights, nearest=lambda excess: math.inf if excess > 0 else -excess
    ),
    "that takes the narrowest that uses the budget up": _budget(
        _weights, nearest=lambda excess: math.inf if excess < 0 else excess
    ),
    "that rounds the solution of the quadratic equation: nearest in width, which is not nearest in weights": (
        lambda cardinality, budget, channels=256: max(1, round(_root(cardinality, budget, channels)))
    ),
    "that shares ResNet's 64 channels out among the groups": (
        lambda cardinality, budget, channels=256: max(1, round(64 / cardinality))
    ),
    "that keeps the weights of the 3x3 convolution and forgets the two others": _budget(
        lambda cardinality, width, channels: _weights(cardinality, width, channels, ones=0)
    ),
    "that forgets the last 1x1 convolution": _budget(
        lambda cardinality, width, channels: _weights(cardinality, width, channels, ones=1)
    ),
    "whose 3x3 convolution is dense, between all groups": _budget(
        lambda cardinality, width, channels: _weights(1, cardinality * width, channels)
    ),
    "whose 3x3 convolution has 3 weights for each pair of channels": _budget(
        lambda cardinality, width, channels: _weights(cardinality, width, channels, kernel=3)
    ),
    "that answers with the width of all groups together": (
        lambda cardinality, budget, channels=256: cardinality * budget_width(cardinality, budget, channels)
    ),
    "that takes the budget for that of one group": (
        lambda cardinality, budget, channels=256: _budget(_weights)(1, budget, channels)
    ),
    "that counts 256 channels whatever comes in": (
        lambda cardinality, budget, channels=256: _budget(_weights)(cardinality, budget, 256)
    ),
    "that answers 0 where even a single channel is too much": (
        lambda cardinality, budget, channels=256: min(
            range(400), key=lambda width: abs(_weights(cardinality, width, channels) - budget)
        )
    ),
}

CHECKS = (
    Check(
        id="resnext.cost",
        minutes=10,
        difficulty="medium",
        ours=cost,
        measure=_measure_cost,
        mistakes=COST_MISTAKES,
        hints=(
            "A convolution has (its outputs) x (the inputs that each of them reads) x (the pixels of its kernel) weights.",
            (
                "Every weight is used once for each pixel that the convolution puts out. reduce works before the stride, "
                "the three others put out the smaller map, of ceil(height / stride) x ceil(width / stride) pixels."
            ),
            (
                "middle = mid_channels * (mid_channels // cardinality) * 9; the shortcut has in_channels * out_channels "
                "weights if stride != 1 or in_channels != out_channels, else none. Multiply-adds: reduce * pixels_in + "
                "(middle + expand + shortcut) * pixels_out."
            ),
        ),
    ),
    Check(
        id="resnext.budget",
        minutes=6,
        difficulty="medium",
        ours=budget_width,
        measure=_measure_budget,
        mistakes=BUDGET_MISTAKES,
        hints=(
            "You can count the weights of any width already. So which widths would you try, and which of them do you keep?",
            (
                "A group of width d makes a block of cardinality * d channels in its middle. The wider, the more weights: "
                "try 1, 2, 3, … until the first 1x1 convolution alone is too much, and keep the nearest."
            ),
            (
                "min(range(1, most), key=lambda d: abs(cost(channels, cardinality * d, channels, cardinality)[0] - "
                "budget)). Whole numbers need no formula for the root."
            ),
        ),
    ),
)
