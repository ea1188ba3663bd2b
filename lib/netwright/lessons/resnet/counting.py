"""Exercises `resnet.parameters` and `resnet.macs`: what a net costs, from its numbers alone.

Imports the engine.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor

from netwright.lessons.engine import Check

EXPANSION = 4  # a bottleneck puts out four times the channels of its middle

# Parameters --------------------------------------------------------------------------------------------------------


def parameters(depths: Sequence[int], widths: Sequence[int], num_classes: int = 1000) -> list[int]:
    """How many numbers a ResNet learns: of its stem, of each of its stages, of its classifier.

    A stage has depths[i] bottlenecks, widths[i] channels in their middles and 4 * widths[i] behind them; the stem has
    widths[0] channels. Running averages are kept, not learned, and do not count.
    """

    def conv(in_channels: int, out_channels: int, kernel_size: int = 1) -> int:
        return kernel_size**2 * in_channels * out_channels + 2 * out_channels  # no bias; the norm's scale and shift

    counts = [conv(3, widths[0], 7)]
    channels = widths[0]
    for depth, width in zip(depths, widths, strict=True):
        out_channels = EXPANSION * width
        count = conv(channels, out_channels)  # the first block's shortcut
        for _ in range(depth):
            count += conv(channels, width) + conv(width, width, 3) + conv(width, out_channels)
            channels = out_channels
        counts.append(count)
    counts.append((channels + 1) * num_classes)
    return counts


NETS = (((1,), (8,), 10), ((3,), (4,), 7), ((2, 3), (8, 16), 5), ((1, 2, 1), (5, 9, 12), 0))


def _measure_parameters(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for depths, widths, num_classes in NETS:
        where = f"of a net with depths {depths}, widths {widths} and {num_classes} classes"
        counts = list(theirs(depths, widths, num_classes))
        yield f"the number of counts {where}", len(counts)
        names = ("the stem", *(f"stage {i}" for i in range(len(depths))), "the classifier")
        for name, count in zip(names, counts, strict=True):
            yield f"the count for {name} {where}", _whole(count)
    yield "the sum for a net to which no number of classes was given", _whole(sum(theirs((1, 1), (4, 4))))


def _parameters(
    *,
    bias=0,
    norm=lambda o: 2 * o,
    area=lambda size: size**2,
    shortcut="first",
    shortcut_norm=True,
    stem=7,
    classifier=lambda channels, classes: (channels + 1) * classes,
    later="out",
    middle_out=lambda width: width,
    expansion=EXPANSION,
):
    """`parameters` with one thing wrong in it."""

    def wrong(depths, widths, num_classes=1000):
        def conv(i, o, size=1, normed=True):
            return area(size) * i * o + bias * o + (norm(o) if normed else 0)

        counts, channels = [conv(3, widths[0], stem)], widths[0]
        for depth, width in zip(depths, widths, strict=True):
            count, out = 0, expansion * width
            for place in range(depth):
                if shortcut == "all" or (shortcut == "first" and place == 0):
                    count += conv(channels, out, normed=shortcut_norm)
                count += conv(channels, width) + conv(width, middle_out(width), 3) + conv(middle_out(width), out)
                channels = out if later == "out" else channels
            counts.append(count)
            channels = out
        return [*counts, classifier(channels, num_classes)]

    return wrong


PARAMETERS_MISTAKES = {
    "that gives every convolution a bias": _parameters(bias=1),
    "that forgets the normalisations": _parameters(norm=lambda o: 0),
    "that counts one number a channel for a normalisation, and forgets the shift": _parameters(norm=lambda o: o),
    "that counts the running averages as learned": _parameters(norm=lambda o: 4 * o),
    "that forgets the projections": _parameters(shortcut="none"),
    "that gives every block a projection": _parameters(shortcut="all"),
    "whose projections have no normalisation": _parameters(shortcut_norm=False),
    "that takes the area of a kernel for its side": _parameters(area=lambda size: size),
    "whose stem has a 3x3 convolution": _parameters(stem=3),
    "whose classifier has no bias": _parameters(classifier=lambda channels, classes: channels * classes),
    "in which the later blocks get as many channels as the first": _parameters(later="in"),
    "whose 3x3 convolution widens already": _parameters(middle_out=lambda width: 4 * width),
    "that forgets that a block puts out four times its width": _parameters(expansion=1),
}

# Multiply-adds -----------------------------------------------------------------------------------------------------


def macs(
    in_channels: int, mid_channels: int, out_channels: int, height: int, width: int, stride: int = 1
) -> dict[str, int]:
    """The multiply-adds of each convolution of a bottleneck, for one map of height x width that goes in.

    The shortcut counts 0 where it is the identity. Normalisations, ReLUs and the addition are left out, as is usual.
    """
    inside = height * width
    outside = -(-height // stride) * -(-width // stride)  # rounded up
    projects = stride != 1 or in_channels != out_channels
    return {
        "reduce": in_channels * mid_channels * inside,
        "middle": 9 * mid_channels * mid_channels * outside,
        "expand": mid_channels * out_channels * outside,
        "shortcut": in_channels * out_channels * outside if projects else 0,
    }


BLOCKS = (  # in, mid, out, height, width, stride
    (64, 16, 64, 8, 8, 1),
    (12, 5, 20, 6, 4, 1),
    (12, 5, 20, 8, 6, 2),
    (20, 5, 20, 9, 7, 2),
    (7, 3, 12, 5, 14, 2),
    (7, 3, 12, 10, 4, 3),
    (6, 2, 6, 1, 1, 2),
)


def first_placement(count: Callable[..., dict[str, int]]) -> Callable[..., dict[str, int]]:
    """`count` (as `macs`) for blocks with the stride in the first 1x1 convolution, where the 2015 paper has it."""

    def counted(in_channels, mid_channels, out_channels, height, width, stride=1):
        outside = -(-height // stride) * -(-width // stride)
        found = count(in_channels, mid_channels, out_channels, height, width, stride)
        return found | {"reduce": in_channels * mid_channels * outside}

    return counted


def _measure_macs(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for i, m, o, height, width, stride in BLOCKS:
        where = f"of a block from {i} over {m} to {o} channels with stride {stride}, for a map of {height}x{width},"
        found = theirs(i, m, o, height, width, stride)
        yield f"the list of convolutions {where}", dict.fromkeys(found, "counted")
        for part in ("reduce", "middle", "expand", "shortcut"):
            yield f"the count for {part} {where}", _whole(found[part])
    yield "the sum for a block to which no stride was given", _whole(sum(theirs(6, 2, 8, 3, 5).values()))


def _up(size: int, stride: int) -> int:
    return -(-size // stride)


def _macs(
    *,
    factor=1,
    side=_up,
    area=lambda height, width: height * width,
    kernel=9,
    strided=("middle", "expand", "shortcut"),
    projects=lambda i, o, stride: stride != 1 or i != o,
    once=False,
):
    """`macs` with one thing wrong in it."""

    def wrong(in_channels, mid_channels, out_channels, height, width, stride=1):
        i, m, o = in_channels, mid_channels, out_channels
        outside = area(side(height, stride), width if once else side(width, stride))
        channels = {"reduce": i * m, "middle": kernel * m * m, "expand": m * o, "shortcut": i * o}
        found = {
            name: factor * count * (outside if name in strided else area(height, width))
            for name, count in channels.items()
        }
        if not projects(i, o, stride):
            found["shortcut"] = 0
        return found

    return wrong


MACS_MISTAKES = {
    "that counts a multiplication and an addition as two": _macs(factor=2),
    "whose first 1x1 convolution runs on the small map already: the stride of the 2015 paper": _macs(
        strided=("reduce", "middle", "expand", "shortcut")
    ),
    "whose 3x3 convolution runs on the large map": _macs(strided=("expand", "shortcut")),
    "whose shortcut runs on the large map": _macs(strided=("middle", "expand")),
    "that forgets the stride": _macs(strided=()),
    "that rounds odd sizes down": _macs(side=lambda size, stride: size // stride),
    "that rounds with round(), which takes a half to the even side": _macs(
        side=lambda size, stride: round(size / stride)
    ),
    "that adds one where the size is odd, whatever the stride": _macs(
        side=lambda size, stride: size // stride + size % 2 if stride > 1 else size
    ),
    "that takes every map for a square": _macs(area=lambda height, width: height * height),
    "that divides the number of pixels by the stride once, not in both directions": _macs(once=True),
    "that takes a 3x3 convolution for 3 products, not 9": _macs(kernel=3),
    "that counts a shortcut that is the identity": _macs(projects=lambda i, o, stride: True),
    "that forgets the projection": _macs(projects=lambda i, o, stride: False),
    "that sees a projection only where the channels change": _macs(projects=lambda i, o, stride: i != o),
}

CHECKS = (
    Check(
        id="resnet.parameters",
        minutes=8,
        difficulty="medium",
        ours=parameters,
        measure=_measure_parameters,
        mistakes=PARAMETERS_MISTAKES,
        hints=(
            (
                "Begin with one ConvNormAct: how many numbers has a k x k convolution without bias, and how many has the "
                "normalisation behind it? Then a whole net is four kinds of call to that."
            ),
            (
                "conv(i, o, k) is k * k * i * o + 2 * o. A bottleneck is conv(in, w) + conv(w, w, 3) + conv(w, 4 * w), and "
                "the first of a stage has a projection conv(in, 4 * w) besides. in is widths[0] after the stem, and 4 * w "
                "after every block."
            ),
            (
                "Go through zip(depths, widths), and inside through range(depth), with a variable channels that is widths[0] "
                "at first and 4 * width after each block. The classifier has (channels + 1) * num_classes."
            ),
        ),
    ),
    Check(
        id="resnet.macs",
        minutes=8,
        difficulty="medium",
        ours=macs,
        measure=_measure_macs,
        mistakes=MACS_MISTAKES,
        hints=(
            (
                "Every number that a convolution puts out is a sum of products: as many as its kernel has places, times the "
                "channels that it reads. How many numbers does it put out?"
            ),
            (
                "kernel area * in * out * (height * width of what comes out). reduce still runs on the large map, the other "
                "three put out the small one; with padding k // 2 its sides are the input's divided by the stride, rounded up."
            ),
            "Rounded up in whole numbers: (height + stride - 1) // stride, and the same for the width.",
        ),
    ),
)


def _whole(number: Any) -> Any:
    """A count as an int, whichever number it came as; what is none stays as it is and is then found wanting."""
    if isinstance(number, Tensor) and number.numel() == 1:
        number = number.item()
    try:
        return int(number) if number == int(number) else number
    except (TypeError, ValueError, OverflowError):
        return number
