"""Exercise `features.deletion`: what is left of a probability as pixels go.

Imports the engine, trying and, of this room, answers.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from netwright.lessons.engine import Check
from netwright.lessons.features.answers import number, tensor
from netwright.lessons.trying import numbers


def deletion(
    net: Callable[[Tensor], Tensor], x: Tensor, target: int, order: Tensor, fill: Tensor, steps: int
) -> tuple[Tensor, float]:
    """The probability of a class while the pixels of a picture are replaced, and the area under that curve.

    net: pictures (n, colours, height, width) to logits (n, classes). x and fill: (colours, height, width), and a removed
    pixel gets the colours of `fill` at its place. order: (height * width,), the numbers of the pixels, row by row, the
    first removed first. At point s of the curve, 0 to `steps`, the first s * pixels // steps of them are removed.
    Returns ((steps + 1,) probabilities, area by trapezia over a width of 1). Source: Petsiuk et al. 2018 (RISE).
    """
    colours, pixels = len(x), len(order)
    pictures = []
    for step in range(steps + 1):
        picture = x.clone().view(colours, pixels)
        gone = order[: step * pixels // steps]
        picture[:, gone] = fill.view(colours, pixels)[:, gone]
        pictures.append(picture.view_as(x))
    with torch.no_grad():
        curve = net(torch.stack(pictures)).softmax(dim=1)[:, target]
    area = float((curve[1:] + curve[:-1]).mean() / 2)
    return curve, area


def _net(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """A net that looks at every pixel, and not at two of them alike."""
    return lambda pictures: pictures.tanh().flatten(1) @ weight


def _measure(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for colours, height, width, steps, target in ((3, 3, 5, 5, 1), (2, 4, 3, 5, 0), (1, 4, 4, 16, 2), (3, 2, 3, 1, 1)):
        of = f"deletion on {colours}x{height}x{width}"
        x, fill = numbers(colours, height, width, of=of), 0.3 * numbers(colours, height, width, of=f"fill, {of}")
        order = numbers(height * width, of=f"order, {of}").argsort()
        net = _net(numbers(x.numel(), 3, of=f"weight, {of}") / 2)
        given = [one.clone() for one in (x, fill, order)]
        found = theirs(net, x, target, order, fill, steps)
        curve, area = found if isinstance(found, tuple | list) and len(found) == 2 else (found, None)
        where = f"a picture of {height}x{width} pixels in {colours} colours, in {steps} steps,"
        curve = tensor(curve)
        yield f"the number of points of the curve of {where}", len(curve) if isinstance(curve, Tensor) else curve
        yield f"the curve of {where}", curve
        yield f"the area of {where}", number(area)
        changed = max(float((old - new).abs().max()) for old, new in zip(given, (x, fill, order), strict=True))
        yield f"the change of what your function was given, for {where}", changed


def _area(curve: Tensor) -> float:
    return float((curve[1:] + curve[:-1]).mean() / 2)


def _answer(net, pictures, target):
    return net(pictures).softmax(1)[:, target]


def _pictures(x: Tensor, order: Tensor, fill: Tensor, counts) -> Tensor:
    """A picture for each number of removed pixels."""
    out = []
    for count in counts:
        one = x.clone().flatten(1)
        one[:, order[:count]] = fill.flatten(1)[:, order[:count]]
        out.append(one.view_as(x))
    return torch.stack(out)


def _counts(order, steps):
    return [step * len(order) // steps for step in range(steps + 1)]


def _wrong(*, counts=_counts, order=lambda order, x: order, fill=lambda fill, x: fill, area=_area, answer=_answer):
    """`deletion` with one part of it replaced."""

    def version(net, x, target, given, filling, steps):
        pictures = _pictures(x, order(given, x), fill(filling, x), counts(given, steps))
        curve = answer(net, pictures, target)
        return curve, area(curve)

    return version


def _insertion(net, x, target, order, fill, steps):
    return deletion(net, fill, target, order, x, steps)


def _inverse(order, x):
    """Where each pixel stands in the order: what one has who takes the order for ranks, and sorts it."""
    return order.argsort()


def _column_by_column(order, x):
    height, width = x.shape[1:]
    return order % height * width + order // height


def _each_step_alone(net, x, target, order, fill, steps):
    counts = _counts(order, steps)
    pictures = [x] + [
        _pictures(x, order[start:stop], fill, [stop - start])[0] for start, stop in itertools.pairwise(counts)
    ]
    curve = _answer(net, torch.stack(pictures), target)
    return curve, _area(curve)


def _first_colour_only(net, x, target, order, fill, steps):
    pictures = _pictures(x, order, fill, _counts(order, steps))
    pictures[:, 1:] = x[1:]
    curve = _answer(net, pictures, target)
    return curve, _area(curve)


def _in_place(net, x, target, order, fill, steps):
    found = deletion(net, x, target, order, fill, steps)
    x.copy_(fill)
    return found


def _from_the_first_step(net, x, target, order, fill, steps):
    curve, area = deletion(net, x, target, order, fill, steps)
    return curve[1:], area


CHECKS = (
    Check(
        id="features.deletion",
        minutes=9,
        difficulty="medium",
        ours=deletion,
        measure=_measure,
        mistakes={
            "that removes the last of the order first": _wrong(order=lambda order, x: order.flip(0)),
            "that puts pixels in where it should take them out: that is insertion": _insertion,
            "that takes the order for ranks, and sorts it once more": _wrong(order=_inverse),
            "that numbers the pixels column by column": _wrong(order=_column_by_column),
            "that removes only what is new in each step, and puts back what was gone": _each_step_alone,
            "that removes the first colour of a pixel and leaves the others": _first_colour_only,
            "that fills with zeros, whatever it is given": _wrong(fill=lambda fill, x: torch.zeros_like(x)),
            "that fills every place with the fill's mean colour": _wrong(
                fill=lambda fill, x: fill.mean((1, 2), keepdim=True).expand_as(fill)
            ),
            "that follows the logit, where the probability is asked for": _wrong(
                answer=lambda net, pictures, target: net(pictures)[:, target]
            ),
            "whose softmax goes over the pictures (dim=0), not over the classes": _wrong(
                answer=lambda net, pictures, target: net(pictures).softmax(0)[:, target]
            ),
            "that follows whichever class is likeliest, not the one it is asked about": _wrong(
                answer=lambda net, pictures, target: net(pictures).softmax(1).max(1).values
            ),
            "whose curve begins after the first step, without the whole picture": _from_the_first_step,
            "that removes pixels // steps in each step, and never comes to the end": _wrong(
                counts=lambda order, steps: [step * (len(order) // steps) for step in range(steps + 1)]
            ),
            "that rounds the number of removed pixels up": _wrong(
                counts=lambda order, steps: [-(-step * len(order) // steps) for step in range(steps + 1)]
            ),
            "that takes the mean of the points for the area, and so counts both ends in full": _wrong(
                area=lambda curve: float(curve.mean())
            ),
            "whose area is measured over the number of steps, not over a width of 1": _wrong(
                area=lambda curve: float(torch.trapezoid(curve))
            ),
            "that adds up rectangles from the left": _wrong(area=lambda curve: float(curve[:-1].mean())),
            "whose area is divided by where the curve begins": _wrong(
                area=lambda curve: _area(curve) / float(curve[0])
            ),
            "that removes the pixels from the picture it was given": _in_place,
        },
        hints=(
            "How many pictures does the net see, with `steps` steps? What is the first of them, and what the last?",
            "For each s from 0 to steps: a copy of the picture, flattened to (colours, pixels); the first s * pixels // steps "
            + "numbers of the order, and at those the fill's colours. Stack the pictures, ask the net once, softmax over the "
            + "classes. A trapezium between two neighbouring points is their mean times 1 / steps.",
            "picture = x.clone().flatten(1); picture[:, gone] = fill.flatten(1)[:, gone] with gone = order[: s * pixels // "
            + "steps]. The area is ((curve[1:] + curve[:-1]) / 2).mean().",
        ),
    ),
)
