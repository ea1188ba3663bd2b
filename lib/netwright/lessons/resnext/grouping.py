"""Exercises `resnext.grouped` and `resnext.dense`: a convolution in groups, and the one weight that does the same.

Imports the engine and trying.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from netwright.lessons.engine import Check
from netwright.lessons.trying import Numbers

# In groups -----------------------------------------------------------------------------------------------------


def grouped_conv(x: Tensor, weight: Tensor, groups: int, stride: int = 1, padding: int = 0) -> Tensor:
    """A convolution in groups, made of convolutions without: each group of channels has its own filters.

    x: (batch, in, height, width); weight: (out, in / groups, kernel height, kernel width).
    Returns (batch, out, new height, new width).
    """
    parts = zip(x.chunk(groups, dim=1), weight.chunk(groups), strict=True)
    return torch.cat([F.conv2d(part, filters, stride=stride, padding=padding) for part, filters in parts], dim=1)


# (in, out, groups, kernel, stride, padding, map): uneven numbers of channels, maps that are not square. The first is
# one group, in which whoever cuts into pieces of `groups` channels already goes wrong.
GROUPED_CASES = (
    (4, 6, 1, (3, 3), 1, 1, (5, 6)),
    (6, 9, 3, (3, 3), 2, 1, (7, 6)),
    (8, 4, 4, (1, 1), 1, 0, (3, 4)),
    (6, 4, 2, (3, 1), 1, 2, (4, 5)),
)


def _measure_grouped(theirs: Callable) -> Iterator[tuple[str, Any]]:
    draw = Numbers()
    for inside, outside, groups, kernel, stride, padding, size in GROUPED_CASES:
        where = (
            f"of a {kernel[0]}x{kernel[1]} convolution from {inside} to {outside} channels in {groups} "
            f"group{'s' * (groups > 1)}, stride {stride}, padding {padding}"
        )
        x = draw(2, inside, *size, requires_grad=True)
        weight = draw(outside, inside // groups, *kernel, requires_grad=True)
        before = x.detach().clone(), weight.detach().clone()
        y = theirs(x, weight, groups, stride=stride, padding=padding)
        yield f"the output {where}", y.detach()
        yield f"the input {where}, once your function has seen it,", x.detach()
        gradients = torch.autograd.grad(y.square().sum(), (x, weight))
        yield f"the gradient of input and weight {where}", gradients
        changed = max((now - was).abs().max().item() for now, was in zip((x, weight), before, strict=True))
        yield f"the change of input and weight {where}", changed
    x, weight = draw(1, 4, 5, 4), draw(4, 2, 3, 3)
    yield "the output where neither stride nor padding is given", theirs(x, weight, 2)
    yield "the type of the output for float32 numbers", str(theirs(x.float(), weight.float(), 2).dtype)


def _grouped(
    *,
    cut=lambda x, groups: x.chunk(groups, dim=1),
    filters=lambda weight, groups: weight.chunk(groups),
    join=lambda parts: torch.cat(parts, dim=1),
    options=lambda stride, padding: {"stride": stride, "padding": padding},
):
    """`grouped_conv` with one thing wrong in it."""

    def wrong(x, weight, groups, stride=1, padding=0):
        pairs = zip(cut(x, groups), filters(weight, groups), strict=True)
        return join([F.conv2d(part, some, **options(stride, padding)) for part, some in pairs])

    return wrong


GROUPED_MISTAKES = {
    "whose groups are not neighbours: each takes every so many-th channel": _grouped(
        cut=lambda x, groups: [x[:, i::groups] for i in range(groups)]
    ),
    "that shuffles the answers, one channel of each group in turn": _grouped(
        join=lambda parts: torch.stack(parts, dim=2).flatten(1, 2)
    ),
    "that deals the filters out in turn, the first to the first group, the second to the second": _grouped(
        filters=lambda weight, groups: [weight[i::groups] for i in range(groups)]
    ),
    "that uses the first group's filters for every group": _grouped(
        filters=lambda weight, groups: weight.chunk(groups)[:1] * groups
    ),
    "that adds the groups' answers up instead of putting them side by side": _grouped(join=lambda parts: sum(parts)),
    "that puts the groups' answers side by side in the reverse order": _grouped(
        join=lambda parts: torch.cat(parts[::-1], dim=1)
    ),
    "that forgets the stride": _grouped(options=lambda stride, padding: {"padding": padding}),
    "that forgets the padding": _grouped(options=lambda stride, padding: {"stride": stride}),
    "that hands stride and padding over in the wrong order": _grouped(
        options=lambda stride, padding: {"stride": max(padding, 1), "padding": stride}
    ),
    "that cuts the channels into pieces of so many channels, where it should be so many pieces (split for chunk)": (
        _grouped(cut=lambda x, groups: x.split(groups, dim=1))
    ),
    "that cuts the filters along their input channels, which are those of one group already": _grouped(
        filters=lambda weight, groups: weight.chunk(groups, dim=1)
    ),
}

# The same as one dense convolution -------------------------------------------------------------------------------


def dense_weight(weight: Tensor, groups: int) -> Tensor:
    """The weight of the convolution without groups that computes what `weight` computes in `groups` groups.

    weight: (out, in / groups, kernel height, kernel width). Returns (out, in, kernel height, kernel width): a block for
    each group down the diagonal, zeros elsewhere.
    """
    rows, columns = len(weight) // groups, weight.shape[1]  # of a block: the outputs and the inputs of one group
    dense = weight.new_zeros(len(weight), groups * columns, *weight.shape[2:])
    for i in range(groups):
        block = slice(i * rows, (i + 1) * rows)
        dense[block, i * columns : (i + 1) * columns] = weight[block]
    return dense


DENSE_CASES = ((6, 3, 3, (1, 1)), (4, 3, 2, (3, 2)), (5, 4, 1, (1, 3)), (6, 1, 6, (3, 3)))  # out, in a group, groups


def _measure_dense(theirs: Callable) -> Iterator[tuple[str, Any]]:
    draw = Numbers()
    for outside, inside, groups, kernel in DENSE_CASES:
        where = f"for {groups} group{'s' * (groups > 1)}, from {inside * groups} to {outside} channels"
        weight = draw(outside, inside, *kernel, requires_grad=True)
        before = weight.detach().clone()
        dense = theirs(weight, groups)
        yield f"the dense weight {where}", dense.detach()
        yield f"the gradient that reaches the grouped weight {where}", torch.autograd.grad(dense.square().sum(), weight)
        yield f"the change of the grouped weight {where}", (weight - before).abs().max().item()
    yield "the type of the dense weight of a float32 one", str(theirs(draw(4, 2, 1, 1).float(), 2).dtype)


def _dense(place, *, zeros=lambda weight, shape: weight.new_zeros(shape), taken=lambda weight, rows: weight[rows]):
    """`dense_weight` that puts block i where `place` says: (i, groups, rows, columns of a block) -> rows, columns."""

    def wrong(weight, groups):
        height, width = len(weight) // groups, weight.shape[1]
        dense = zeros(weight, (len(weight), groups * width, *weight.shape[2:]))
        for i in range(groups):
            rows, columns = place(i, groups, height, width)
            dense[rows, columns] = taken(weight, slice(i * height, (i + 1) * height))
        return dense

    return wrong


def _block(i: int, size: int) -> slice:
    return slice(i * size, (i + 1) * size)


def _on_the_diagonal(i: int, groups: int, height: int, width: int) -> tuple[slice, slice]:
    return _block(i, height), _block(i, width)


def _square_blocks(weight, groups):
    side = weight.shape[1]
    dense = weight.new_zeros(len(weight), groups * side, *weight.shape[2:])
    for i in range(groups):
        rows = _block(i, side)
        dense[rows, _block(i, side)] = weight[rows]
    return dense


DENSE_MISTAKES = {
    "that repeats every filter for all groups, so that nothing is zero": lambda weight, groups: weight.repeat(
        1, groups, 1, 1
    ),
    "that spreads every filter over all groups and divides by their number": lambda weight, groups: (
        weight.repeat(1, groups, 1, 1) / groups
    ),
    "whose blocks all stand in the first columns": _dense(
        lambda i, groups, height, width: (_block(i, height), _block(0, width))
    ),
    "whose blocks lie on the other diagonal": _dense(
        lambda i, groups, height, width: (_block(i, height), _block(groups - 1 - i, width))
    ),
    "whose groups take every so many-th input channel": _dense(
        lambda i, groups, height, width: (_block(i, height), slice(i, None, groups))
    ),
    "whose groups make every so many-th output channel": _dense(
        lambda i, groups, height, width: (slice(i, None, groups), _block(i, width))
    ),
    "that takes every block to be square: right only where as many channels come in as go out": _square_blocks,
    "that repeats the first group's block for all groups": _dense(
        _on_the_diagonal, taken=lambda weight, rows: weight[: rows.stop - rows.start]
    ),
    "whose numbers have torch's default type and not the weight's": _dense(
        _on_the_diagonal, zeros=lambda weight, shape: torch.zeros(shape)
    ),
    "through which no gradient reaches the grouped weight": lambda weight, groups: dense_weight(
        weight.detach(), groups
    ),
}

CHECKS = (
    Check(
        id="resnext.grouped",
        minutes=6,
        difficulty="easy",
        ours=grouped_conv,
        measure=_measure_grouped,
        mistakes=GROUPED_MISTAKES,
        hints=(
            "Which channels belong to the first group, and which filters? Both are the first so many, side by side.",
            (
                "x.chunk(groups, dim=1) cuts the channels into `groups` pieces, weight.chunk(groups) the filters. (split "
                "would want the size of a piece.) Each pair is an ordinary convolution."
            ),
            (
                "torch.cat([F.conv2d(part, filters, stride=stride, padding=padding) for part, filters in "
                "zip(x.chunk(groups, dim=1), weight.chunk(groups))], dim=1)"
            ),
        ),
    ),
    Check(
        id="resnext.dense",
        minutes=7,
        difficulty="medium",
        ours=dense_weight,
        measure=_measure_dense,
        mistakes=DENSE_MISTAKES,
        hints=(
            "Row 0 of the answer is output channel 0. From which input channels may it be made, and where are they?",
            (
                "Start with zeros of shape (out, in, kernel height, kernel width): weight.new_zeros(...) keeps the type. "
                "Group i has the rows from i * out / groups and the columns from i * in / groups, and the two steps need "
                "not be equal."
            ),
            (
                "dense[i * rows : (i + 1) * rows, i * columns : (i + 1) * columns] = weight[i * rows : (i + 1) * rows], "
                "with rows = len(weight) // groups and columns = weight.shape[1]."
            ),
        ),
    ),
)
