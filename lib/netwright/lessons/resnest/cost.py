"""Exercise `resnest.cost`: the parameters of a stem and a block, by formula. Imports the engine."""

from collections.abc import Callable, Iterator
from typing import Any

from netwright.lessons.engine import Check


def parameters(
    stem_width: int,
    in_channels: int,
    mid_channels: int,
    out_channels: int,
    stride: int,
    *,
    radix: int,
    cardinality: int,
) -> dict[str, int]:
    """The learnt numbers of two stems, and of the five parts of a block. A normalisation learns two a channel."""
    width, hidden = stem_width, max(32, mid_channels * radix // 4)
    groups = radix * cardinality
    projects = stride != 1 or in_channels != out_channels
    return {
        "7x7 stem": 49 * 3 * 2 * width + 2 * 2 * width,
        "deep stem": 9 * (3 * width + width * width + width * 2 * width) + 2 * (width + width + 2 * width),
        "reduce": in_channels * mid_channels + 2 * mid_channels,
        "splits": 9 * (mid_channels // groups) * radix * mid_channels + 2 * radix * mid_channels,
        "gates": (mid_channels // cardinality + 1 + 2) * hidden + (hidden // cardinality + 1) * radix * mid_channels,
        "expand": mid_channels * out_channels + 2 * out_channels,
        "shortcut": in_channels * out_channels + 2 * out_channels if projects else 0,
    }


def _measure(count: Callable[..., dict]) -> Iterator[tuple[str, Any]]:
    for sizes, radix, cardinality in (
        ((32, 64, 64, 256, 1), 2, 1),
        ((32, 256, 64, 256, 1), 2, 1),
        ((64, 256, 160, 512, 2), 4, 2),
        ((24, 256, 96, 256, 2), 1, 4),
        ((8, 8, 16, 24, 1), 2, 2),
    ):
        stem, came_in, middle, out, stride = sizes
        counted = count(*sizes, radix=radix, cardinality=cardinality)
        of = f"a block from {came_in} over {middle} to {out} channels, stride {stride}, radix {radix}, "
        of += f"cardinality {cardinality}"
        if not isinstance(counted, dict):
            yield f"what the function returns for {of}", counted
            continue
        yield f"what is counted for {of}, and a stem of width {stem},", {k: float(n) for k, n in counted.items()}


# Known mistakes ------------------------------------------------------------------------------------------------


def _count(**changes: Callable[..., int]) -> Callable[..., dict]:
    """`parameters` with the entries `changes` (underscores for spaces) counted in another way, from the same sizes."""

    def wrong(stem_width, in_channels, mid_channels, out_channels, stride, *, radix, cardinality):
        right = parameters(
            stem_width, in_channels, mid_channels, out_channels, stride, radix=radix, cardinality=cardinality
        )
        sizes = {"w": stem_width, "i": in_channels, "m": mid_channels, "o": out_channels, "s": stride}
        sizes |= {"R": radix, "K": cardinality, "h": max(32, mid_channels * radix // 4)}
        for name, change in changes.items():
            name = name.replace("_", " ")
            right[name] = change(right[name], **sizes)
        return right

    return wrong


def _gates(m: int, R: int, K: int, h: int, *, to: int | None = None) -> int:
    """The small net's numbers, with `to` channels at its end."""
    to = R * m if to is None else to
    return (m // K + 3) * h + (h // K + 1) * to


CHECKS = (
    Check(
        id="resnest.cost",
        minutes=8,
        difficulty="medium",
        ours=parameters,
        measure=_measure,
        mistakes={
            "that forgets the groups of the 3x3 convolution": _count(
                splits=lambda n, m, R, **_: 9 * m * R * m + 2 * R * m
            ),
            "that divides the 3x3 convolution by the cardinality only: each split would see all channels": _count(
                splits=lambda n, m, R, K, **_: 9 * (m // K) * R * m + 2 * R * m
            ),
            "that divides by the groups on both sides of the 3x3 convolution": _count(
                splits=lambda n, m, R, K, **_: 9 * (m // (R * K)) * (R * m // (R * K)) + 2 * R * m
            ),
            "whose 3x3 convolution makes one split, not radix": _count(
                splits=lambda n, m, R, K, **_: 9 * (m // (R * K)) * m + 2 * m
            ),
            "that forgets the normalisation of the splits": _count(splits=lambda n, m, R, **_: n - 2 * R * m),
            "that forgets the biases of the two small layers": _count(gates=lambda n, m, R, h, **_: n - h - R * m),
            "that forgets the normalisation between the two small layers": _count(gates=lambda n, h, **_: n - 2 * h),
            "that forgets that the small layers have groups too": _count(
                gates=lambda n, m, R, h, **_: _gates(m, R, 1, h)
            ),
            "whose small net puts out one gate a channel, not radix": _count(
                gates=lambda n, m, R, K, h, **_: _gates(m, R, K, h, to=m)
            ),
            "whose hidden layer may be narrower than 32": _count(
                gates=lambda n, m, R, K, **_: _gates(m, R, K, m * R // 4)
            ),
            "whose hidden layer does not grow with the radix": _count(
                gates=lambda n, m, R, K, **_: _gates(m, R, K, max(32, m // 4))
            ),
            "that counts a shortcut even where it is the identity": _count(shortcut=lambda n, i, o, **_: i * o + 2 * o),
            "that counts a shortcut only where there is a stride": _count(shortcut=lambda n, s, **_: n if s > 1 else 0),
            "that counts the running statistics too, which nobody learns": _count(
                reduce=lambda n, m, **_: n + 2 * m, expand=lambda n, o, **_: n + 2 * o
            ),
            "whose 7x7 stem is half as wide as the deep one": _count(**{"7x7_stem": lambda n, **_: n // 2}),
            "whose deep stem is twice as wide from its second convolution on": _count(
                deep_stem=lambda n, w, **_: 9 * (3 * w + w * 2 * w + 4 * w * w) + 2 * (w + 2 * w + 2 * w)
            ),
        },
        hints=(
            "A convolution has kernel area * (inputs / groups) * outputs weights. How many groups has each of yours?",
            (
                "The 3x3 has radix * cardinality groups and radix * mid_channels outputs: the radix cancels. The two "
                "layers of the small net have cardinality groups, a bias each, and one normalisation between them; "
                "max(32, mid_channels * radix // 4) channels lie between."
            ),
            (
                "gates: (mid // cardinality) * hidden + hidden, then 2 * hidden, then (hidden // cardinality) * radix * "
                "mid + radix * mid."
            ),
        ),
    ),
)
