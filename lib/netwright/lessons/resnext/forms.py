"""Exercises `resnext.aggregated` and `resnext.early_concat`: figure 3 of the paper, its forms (a) and (b).

Imports the engine and trying.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from netwright.lessons.engine import Check
from netwright.lessons.trying import Numbers

# The paths, summed -----------------------------------------------------------------------------------------------


def aggregated(
    x: Tensor, reduce: Tensor, middle: Tensor, expand: Tensor, cardinality: int, stride: int = 1
) -> tuple[list[Tensor], Tensor]:
    """Form (a): `cardinality` small bottlenecks, each with its share of the grouped block's weights, and their sum.

    x: (batch, in, height, width); reduce: (mid, in, 1, 1); middle: (mid, mid / cardinality, 3, 3); expand: (out, mid,
    1, 1). Returns what each path gives, (batch, out, height / stride, width / stride) each, and the sum of all.
    """
    shares = zip(reduce.chunk(cardinality), middle.chunk(cardinality), expand.chunk(cardinality, dim=1), strict=True)
    paths = []
    for first, second, third in shares:
        y = F.conv2d(x, first).relu()  # (batch, mid / cardinality, height, width): a path sees the whole input
        y = F.conv2d(y, second, stride=stride, padding=1).relu()
        paths.append(F.conv2d(y, third))
    return paths, sum(paths)


# in, mid, out, cardinality, stride, map
CASES = ((5, 6, 7, 3, 1, (4, 5)), (6, 4, 6, 2, 2, (5, 7)), (4, 4, 4, 4, 2, (6, 3)), (3, 2, 4, 1, 1, (3, 3)))


def _cases() -> Iterator[tuple[str, tuple]]:
    """The arguments of a form, all but the stride by position, and how the case is called."""
    draw = Numbers()
    for inside, mid, outside, cardinality, stride, size in CASES:
        shapes = (2, inside, *size), (mid, inside, 1, 1), (mid, mid // cardinality, 3, 3), (outside, mid, 1, 1)
        tensors = [draw(*shape, requires_grad=True) for shape in shapes]
        paths = f"{cardinality} paths" if cardinality > 1 else "one path"
        yield (
            f"of a block of {paths}, from {inside} to {outside} channels, stride {stride}",
            (tensors, cardinality, stride),
        )


def _small() -> list[Tensor]:
    """Input and weights of a block of two paths."""
    draw = Numbers()
    return [draw(*shape) for shape in ((1, 4, 4, 3), (4, 4, 1, 1), (4, 2, 3, 3), (4, 4, 1, 1))]


def _rest(where: str, y: Tensor, tensors: list[Tensor], before: list[Tensor]) -> Iterator[tuple[str, Any]]:
    yield f"the gradient of input and weights {where}", torch.autograd.grad(y.square().sum(), tensors)
    changed = max((now - was).abs().max().item() for now, was in zip(tensors, before, strict=True))
    yield f"the change of input and weights {where}", changed


def _measure_aggregated(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for where, (tensors, cardinality, stride) in _cases():
        before = [tensor.detach().clone() for tensor in tensors]
        paths, y = theirs(*tensors, cardinality, stride=stride)
        paths = list(paths)
        yield f"the number of paths {where}", len(paths)
        for i, path in enumerate(paths):
            yield f"what path {i} gives, {where},", path.detach()
        yield f"the sum {where}", y.detach()
        yield from _rest(where, y, tensors, before)
    yield "the sum where the stride is not given", theirs(*_small(), 2)[1]


def _path(
    x,
    first,
    second,
    third,
    stride,
    *,
    inner=torch.relu,
    outer=torch.relu,
    strides=lambda stride: (1, stride, 1),
    padding=1,
    last=lambda y: y,
):
    """One path with one thing wrong in it; without `third`, it ends before the last 1x1 convolution."""
    one, two, three = strides(stride)
    y = inner(F.conv2d(x, first, stride=one))
    y = outer(F.conv2d(y, second, stride=two, padding=padding))
    return y if third is None else last(F.conv2d(y, third, stride=three))


def _aggregated(
    *,
    total=sum,
    whole=False,
    first=lambda reduce, n: reduce.chunk(n),
    second=lambda middle, n: middle.chunk(n),
    third=lambda expand, n: expand.chunk(n, dim=1),
    **wrong_path,
):
    """`aggregated` with one thing wrong in it."""

    def wrong(x, reduce, middle, expand, cardinality, stride=1):
        inputs = _shares_of_the_input(x, cardinality) if whole else [x] * cardinality
        weights = first(reduce, cardinality), second(middle, cardinality), third(expand, cardinality)
        paths = [_path(*path, stride, **wrong_path) for path in zip(inputs, *weights, strict=True)]
        return paths, total(paths)

    return wrong


def _shares_of_the_input(x: Tensor, count: int) -> list[Tensor]:
    """For each path the input with the channels of all others at zero, so that its weight still fits."""
    of = torch.arange(x.shape[1]) * count // x.shape[1]
    return [x * (of == i)[:, None, None] for i in range(count)]


AGGREGATED_MISTAKES = {
    "that takes the mean of the paths": _aggregated(total=lambda paths: sum(paths) / len(paths)),
    "with a ReLU at the end of every path, before the sum": _aggregated(last=torch.relu),
    "with a ReLU after the sum, which belongs behind the shortcut": _aggregated(total=lambda paths: sum(paths).relu()),
    "without a ReLU between the first 1x1 and the 3x3 convolution": _aggregated(inner=lambda y: y),
    "without a ReLU between the 3x3 and the last 1x1 convolution": _aggregated(outer=lambda y: y),
    "whose paths see only their own share of the block's input": _aggregated(whole=True),
    "whose paths all have the first path's 3x3 filters": _aggregated(second=lambda middle, n: middle.chunk(n)[:1] * n),
    "whose paths take every so many-th row of the first weight": _aggregated(
        first=lambda reduce, n: [reduce[i::n] for i in range(n)]
    ),
    "whose paths take every so many-th column of the last weight": _aggregated(
        third=lambda expand, n: [expand[:, i::n] for i in range(n)]
    ),
    "that cuts the last weight into rows, where a path needs its columns": _aggregated(
        third=lambda expand, n: expand.chunk(n)
    ),
    "with the stride in the first 1x1 convolution": _aggregated(strides=lambda stride: (stride, 1, 1)),
    "without padding around the 3x3 convolution": _aggregated(padding=0),
    "whose sum leaves the last path out": _aggregated(total=lambda paths: sum(paths[: max(1, len(paths) - 1)])),
}

# Joined early ----------------------------------------------------------------------------------------------------


def early_concat(
    x: Tensor, reduce: Tensor, middle: Tensor, expand: Tensor, cardinality: int, stride: int = 1
) -> tuple[Tensor, Tensor]:
    """Form (b): the paths are put side by side before the last 1x1 convolution, which is one for all of them.

    Arguments as in `aggregated`. Returns the maps side by side, (batch, mid, height / stride, width / stride), and the
    output, (batch, out, height / stride, width / stride).
    """
    maps = []
    for first, second in zip(reduce.chunk(cardinality), middle.chunk(cardinality), strict=True):
        y = F.conv2d(x, first).relu()
        maps.append(F.conv2d(y, second, stride=stride, padding=1).relu())
    joined = torch.cat(maps, dim=1)
    return joined, F.conv2d(joined, expand)


def _measure_early_concat(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for where, (tensors, cardinality, stride) in _cases():
        before = [tensor.detach().clone() for tensor in tensors]
        joined, y = theirs(*tensors, cardinality, stride=stride)
        yield f"the paths side by side {where}", joined.detach()
        yield f"the output {where}", y.detach()
        yield from _rest(where, y, tensors, before)
    yield "the output where the stride is not given", theirs(*_small(), 2)[1]


def _early_concat(
    *,
    join=lambda maps: torch.cat(maps, dim=1),
    whole=False,
    first=lambda reduce, n: reduce.chunk(n),
    second=lambda middle, n: middle.chunk(n),
    end=lambda joined, expand, stride: F.conv2d(joined, expand),
    **wrong_path,
):
    """`early_concat` with one thing wrong in it."""

    def wrong(x, reduce, middle, expand, cardinality, stride=1):
        inputs = _shares_of_the_input(x, cardinality) if whole else [x] * cardinality
        weights = first(reduce, cardinality), second(middle, cardinality), [None] * cardinality
        joined = join([_path(*path, stride, **wrong_path) for path in zip(inputs, *weights, strict=True)])
        return joined, end(joined, expand, stride)

    return wrong


EARLY_CONCAT_MISTAKES = {
    "that puts one channel of each path in turn": _early_concat(
        join=lambda maps: torch.stack(maps, dim=2).flatten(1, 2)
    ),
    "that puts the paths side by side in the reverse order": _early_concat(
        join=lambda maps: torch.cat(maps[::-1], dim=1)
    ),
    "that adds the paths up where it should put them side by side": _early_concat(join=lambda maps: sum(maps)),
    "without a ReLU between the first 1x1 and the 3x3 convolution": _early_concat(inner=lambda y: y),
    "without a ReLU between the 3x3 and the last 1x1 convolution": _early_concat(outer=lambda y: y),
    "with a ReLU after the last 1x1 convolution, which belongs behind the shortcut": _early_concat(
        end=lambda joined, expand, stride: F.conv2d(joined, expand).relu()
    ),
    "whose paths see only their own share of the block's input": _early_concat(whole=True),
    "whose paths all have the first path's 3x3 filters": _early_concat(
        second=lambda middle, n: middle.chunk(n)[:1] * n
    ),
    "whose paths all have the first path's 1x1 filters": _early_concat(first=lambda reduce, n: reduce.chunk(n)[:1] * n),
    "with the stride in the first 1x1 convolution": _early_concat(strides=lambda stride: (stride, 1, 1)),
    "with the stride in the last 1x1 convolution": _early_concat(
        strides=lambda stride: (1, 1, 1), end=lambda joined, expand, stride: F.conv2d(joined, expand, stride=stride)
    ),
    "without padding around the 3x3 convolution": _early_concat(padding=0),
}

CHECKS = (
    Check(
        id="resnext.aggregated",
        minutes=8,
        difficulty="medium",
        ours=aggregated,
        measure=_measure_aggregated,
        mistakes=AGGREGATED_MISTAKES,
        hints=(
            "Follow path 0: which rows of reduce make its channels, which filters of middle read them, and which columns "
            + "of expand?",
            (
                "Filters are cut along dimension 0 (reduce and middle), inputs along dimension 1 (expand). Every path "
                "starts from the whole x: nothing is cut there."
            ),
            (
                "For each first, second, third: y = F.conv2d(x, first).relu(); y = F.conv2d(y, second, stride=stride, "
                "padding=1).relu(); then F.conv2d(y, third), with no ReLU behind it. Return the list and its sum."
            ),
        ),
    ),
    Check(
        id="resnext.early_concat",
        minutes=4,
        difficulty="easy",
        ours=early_concat,
        measure=_measure_early_concat,
        mistakes=EARLY_CONCAT_MISTAKES,
        hints=(
            "The first two steps of a path stay as they were. What does a path no longer do by itself?",
            "A sum of 1x1 convolutions of several maps is one 1x1 convolution of these maps side by side.",
            "joined = torch.cat(maps, dim=1), in the order of the paths, and the output is F.conv2d(joined, expand).",
        ),
    ),
)
