"""Exercise `resnext.width`: from the name of a net, 32x4d, to the channels of a block.

Imports the engine and nets.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from netwright.lessons.engine import Check
from netwright.nets.resnext import aggregated_width

# planes, cardinality, base width: the published nets' stages, and numbers that do not come out even.
WIDTH_CASES = (
    *((planes, 32, 4) for planes in (64, 128, 256, 512)),
    (256, 64, 4),
    (128, 32, 16),
    (64, 1, 64),
    (48, 2, 14),  # 10.5 a group: halves tell the kinds of rounding apart
    (48, 3, 18),  # 13.5
    (80, 8, 14),  # 17.5
    (40, 4, 10),  # 6.25
    (200, 5, 7),  # 21.875
    (100, 3, 40),  # 62.5
)


def _measure_width(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for planes, cardinality, base_width in WIDTH_CASES:
        where = f"of {planes} planes in {cardinality} group{'s' * (cardinality > 1)} of base width {base_width}"
        yield f"the width {where}", theirs(planes, cardinality, base_width)


WIDTH_MISTAKES = {
    "that multiplies by the cardinality before it rounds down, so that the groups may not divide it": (
        lambda planes, cardinality, base_width: planes * base_width * cardinality // 64
    ),
    "that rounds to the nearest whole number (and Python's round takes halves to the even one)": (
        lambda planes, cardinality, base_width: round(planes * base_width / 64) * cardinality
    ),
    "that rounds halves up": (
        lambda planes, cardinality, base_width: math.floor(planes * base_width / 64 + 0.5) * cardinality
    ),
    "that rounds up": lambda planes, cardinality, base_width: math.ceil(planes * base_width / 64) * cardinality,
    "that rounds planes / 64 down before it multiplies": (
        lambda planes, cardinality, base_width: planes // 64 * base_width * cardinality
    ),
    "that forgets the cardinality, and gives the width of one group": (
        lambda planes, cardinality, base_width: planes * base_width // 64
    ),
    "that gives every stage the width of the first": lambda planes, cardinality, base_width: base_width * cardinality,
    "that shares planes out among the groups, as if the cardinality made them narrower": (
        lambda planes, cardinality, base_width: planes * base_width // 64 // cardinality * cardinality
    ),
    "that forgets the base width, and has as many channels as a ResNet": (
        lambda planes, cardinality, base_width: planes // cardinality * cardinality
    ),
    "that does not round at all: its answer is no whole number, or one written as 128.0": (
        lambda planes, cardinality, base_width: planes * base_width / 64 * cardinality
    ),
    "that makes the width of a group a multiple of 8, as some later nets do": (
        lambda planes, cardinality, base_width: max(8, int(planes * base_width / 64 + 4) // 8 * 8) * cardinality
    ),
}

CHECKS = (
    Check(
        id="resnext.width",
        minutes=4,
        difficulty="easy",
        ours=aggregated_width,
        measure=_measure_width,
        mistakes=WIDTH_MISTAKES,
        hints=(
            "What does one group have in the first stage, where planes is 64? And in the second, where it is 128?",
            "A group has planes * base_width / 64 channels, rounded down. How many groups are there?",
            "int(planes * base_width / 64) * cardinality: first the group, rounded down, then times the number of groups.",
        ),
    ),
)
