"""Exercise `halonet.cost`: what halo attention costs beside the 3x3 convolution whose place it takes. Imports the engine and nets."""

from collections.abc import Callable, Iterator
from typing import Any

from netwright.lessons.engine import Check
from netwright.nets.config import Halo

Cost = dict[str, tuple[int, int]]


def cost(channels: int, height: int, width: int, halo: Halo) -> Cost:
    """Parameters and multiply-adds of two middles that keep a map of channels x height x width as large as it is.

    Returns {"convolution": (parameters, multiply-adds), "attention": (parameters, multiply-adds)}.
    """
    pixels = height * width
    value_dim = channels // halo.heads
    key_dim = halo.key_dim or value_dim
    window = halo.block_size + 2 * halo.halo

    convolution = 9 * channels * channels

    projections = channels * halo.heads * (key_dim + key_dim + value_dim)  # queries, keys, values
    tables = 2 * (2 * window - 1) * key_dim  # shared by all heads
    a_query = window**2 * (key_dim + value_dim)  # compared with every key; then every value weighed
    a_query += 2 * window * key_dim  # compared with a table row for each row and each column of its window
    attention = projections * pixels + a_query * halo.heads * pixels

    return {
        "convolution": (convolution, convolution * pixels),
        "attention": (projections + tables, attention),
    }


def _measure(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for channels, height, width, halo in (
        (128, 32, 32, Halo(heads=4)),
        (512, 8, 8, Halo(halo=2)),
        (24, 20, 10, Halo(heads=3, block_size=5, halo=2)),
        (48, 8, 24, Halo(heads=2, block_size=4, halo=1, key_dim=6)),
        (16, 12, 12, Halo(heads=16, block_size=6, halo=0)),
        (32, 7, 14, Halo(heads=4, block_size=7, halo=3, key_dim=16)),
    ):
        where = f"on {channels} channels of {height}x{width} ({_words(halo)})"
        found = theirs(channels, height, width, halo)
        for middle in ("convolution", "attention"):
            parameters, multiply_adds = found[middle]
            yield f"the number of parameters of the {middle} {where}", whole(parameters)
            yield f"the number of multiply-adds of the {middle} {where}", whole(multiply_adds)


def whole(value: Any) -> Any:
    """Whole numbers that are written as floats, as a division leaves them, count as whole."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _words(halo: Halo) -> str:
    key = f", keys of {halo.key_dim}" if halo.key_dim else ""
    return f"{halo.heads} heads{key}, block {halo.block_size}, halo {halo.halo}"


def _cost(
    *,
    window=lambda halo: halo.block_size + 2 * halo.halo,
    keys=lambda window, halo, pixels: window**2,
    key_dim=lambda halo, value_dim: halo.key_dim or value_dim,
    projections=lambda channels, heads, key_dim, value_dim: channels * heads * (2 * key_dim + value_dim),
    rows=lambda window, halo: 2 * window - 1,
    tables=lambda rows, key_dim, heads: 2 * rows * key_dim,
    position=lambda window, keys, key_dim: 2 * window * key_dim,
    products=lambda key_dim, value_dim: key_dim + value_dim,
    projected=1,
    factor=1,
    nine=9,
):
    """`cost` with one thing wrong in it."""

    def wrong(channels, height, width, halo):
        pixels, value_dim = height * width, channels // halo.heads
        dim, side = key_dim(halo, value_dim), window(halo)
        weights, seen = projections(channels, halo.heads, dim, value_dim), keys(side, halo, pixels)
        a_query = seen * products(dim, value_dim) + position(side, seen, dim)
        attention = projected * weights * pixels + a_query * halo.heads * pixels
        convolution = nine * channels * channels
        return {
            "convolution": (convolution, factor * convolution * pixels),
            "attention": (weights + tables(rows(side, halo), dim, halo.heads), factor * attention),
        }

    return wrong


CHECKS = (
    Check(
        id="halonet.cost",
        minutes=8,
        difficulty="medium",
        ours=cost,
        measure=_measure,
        mistakes={
            "that counts the halo on one side only": _cost(window=lambda halo: halo.block_size + halo.halo),
            "in which a query sees its own block and no halo": _cost(
                keys=lambda window, halo, pixels: halo.block_size**2
            ),
            "in which a query sees the whole map": _cost(keys=lambda window, halo, pixels: pixels),
            "with position tables for each head of its own": _cost(
                tables=lambda rows, key_dim, heads: 2 * rows * key_dim * heads
            ),
            "with one position table, not one for rows and one for columns": _cost(
                tables=lambda rows, key_dim, heads: rows * key_dim
            ),
            "whose tables have a row for each row of the window, not for each distance in it": _cost(
                rows=lambda window, halo: window
            ),
            "without position tables": _cost(tables=lambda rows, key_dim, heads: 0),
            "that compares a query with a position for each of its keys, not for each row and each column": _cost(
                position=lambda window, keys, key_dim: keys * key_dim
            ),
            "in which positions cost no multiplication": _cost(position=lambda window, keys, key_dim: 0),
            "that stops at the logits: the values are never weighed": _cost(
                products=lambda key_dim, value_dim: key_dim
            ),
            "that forgets the multiplications of the projections": _cost(projected=0),
            "without keys of their own: queries and values only": _cost(
                projections=lambda channels, heads, key_dim, value_dim: channels * heads * (key_dim + value_dim)
            ),
            "with a projection after the attention, as a transformer has": _cost(
                projections=lambda channels, heads, key_dim, value_dim: channels * heads * (2 * key_dim + 2 * value_dim)
            ),
            "that takes keys to be as wide as values, whatever key_dim says": _cost(
                key_dim=lambda halo, value_dim: value_dim
            ),
            "that counts a multiplication and an addition as two": _cost(factor=2),
            "whose convolution looks at one pixel only": _cost(nine=1),
        },
        hints=(
            "Three kinds of numbers are learnt: those of the 1x1 convolutions, and two tables. Which of them grow with heads?",
            (
                "window = block_size + 2 * halo. In a window, two rows are at most window - 1 apart, up or down: a table has "
                "2 * window - 1 rows of key_dim numbers. Each query is multiplied with window² keys, and window² values are "
                "summed up for it; and with window rows of each table."
            ),
            (
                "attention = channels * heads * (2 * key_dim + value_dim) parameters in projections, each used once a pixel; "
                "and for each pixel and head window**2 * (key_dim + value_dim) + 2 * window * key_dim multiply-adds more."
            ),
        ),
    ),
)
