"""Exercises `features.box` and `features.effective`: what a unit can see, and what it does see.

Imports the engine, trying and, of this room, answers.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from netwright.lessons.engine import Check
from netwright.lessons.features.answers import named, tensor
from netwright.lessons.trying import fill, numbers

# What a unit can see --------------------------------------------------------------------------------------------


def box(layers: Sequence[tuple[int, int, int]]) -> tuple[int, int, int]:
    """The theoretical receptive field along one axis of a chain of layers: (start, size, jump), in input pixels.

    layers: (kernel, stride, padding) each, the first layer first. Unit 0 of the last map sees the pixels start to
    start + size - 1, unit i the same moved by i * jump; what is below 0 is padding. Where a stride is larger than its
    kernel there are gaps, and they count. Source: Araujo et al. 2019, "Computing receptive fields of convolutional
    neural networks".
    """
    start, size, jump = 0, 1, 1
    for kernel, stride, padding in layers:
        start -= padding * jump
        size += (kernel - 1) * jump
        jump *= stride
    return start, size, jump


CHAINS = {
    "no layer at all": (),
    "one 3x3 convolution with padding 1": ((3, 1, 1),),
    "two 3x3 convolutions with padding 1": ((3, 1, 1), (3, 1, 1)),
    "a 3x3 convolution with stride 2, and another with stride 1": ((3, 2, 1), (3, 1, 1)),
    "ResNet's stem, 7x7 with stride 2 and a pool of 3x3 with stride 2,": ((7, 2, 3), (3, 2, 1)),
    "a 1x1 with stride 2 before a 3x3": ((1, 2, 0), (3, 1, 1)),
    "a pool of 2x2 with stride 2 and no padding, before a 5x5 with padding 1": ((2, 2, 0), (5, 1, 1)),
    "a 3x3 without padding, before one with stride 3 and padding 2": ((3, 1, 0), (3, 3, 2)),
    "a kernel of 4 with stride 4, as where patches are cut, and two 3x3": ((4, 4, 0), (3, 1, 1), (3, 2, 1)),
    "a whole branch: stem, pool, and two bottlenecks, the second with stride 2": (
        *((3, 2, 1), (3, 1, 1), (3, 1, 1), (3, 2, 1)),
        *((1, 1, 0), (3, 1, 1), (1, 1, 0)),
        *((1, 1, 0), (3, 2, 1), (1, 1, 0)),
    ),
}


def _measure_box(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for what, layers in CHAINS.items():
        given = list(layers)
        yield f"the receptive field of {what}", named(theirs(given), "start", "size", "jump")
        yield f"the list of layers, once your function has seen {what}", "as it was" if given == list(layers) else given


def _box(*, start=None, size=None, jump=None, late=False):
    """`box` with one line of it wrong; late: the jump is multiplied before it is used."""

    def wrong(layers):
        first, width, step = 0, 1, 1
        for kernel, stride, padding in layers:
            if late:
                step *= stride
            first = start(first, kernel, stride, padding, step) if start else first - padding * step
            width = size(width, kernel, stride, padding, step) if size else width + (kernel - 1) * step
            if not late:
                step = jump(step, stride) if jump else step * stride
        return first, width, step

    return wrong


def _reversed(layers):
    return box(list(layers)[::-1])


def _only_large(layers):
    return box([layer for layer in layers if layer[0] > 1])


def _centre(layers):
    first, width, step = box(layers)
    return first + (width - 1) / 2, width, step


def _within(layers):
    first, width, step = box(layers)
    return max(first, 0), width + min(first, 0), step


def _from_behind(layers):
    """The right size by going backwards, with a start that forgets how far the units are apart."""
    _, width, step = box(layers)
    return -sum(padding for _, _, padding in layers), width, step


BOX_MISTAKES = {
    "that adds kernel - 1 without counting how far apart the units are by then": _box(
        size=lambda width, kernel, stride, padding, step: width + kernel - 1
    ),
    "that widens the jump first, and so lets a layer's stride widen its own window": _box(late=True),
    "that begins with the last layer": _reversed,
    "that adds whole kernels, where the first pixel of each is there already": _box(
        size=lambda width, kernel, stride, padding, step: width + kernel * step
    ),
    "that multiplies the kernels": _box(size=lambda width, kernel, stride, padding, step: width * kernel),
    "that adds the strides, where jumps multiply": _box(jump=lambda step, stride: step + stride - 1),
    "that leaves out layers of 1x1, whose stride counts all the same": _only_large,
    "that starts at 0, whether it forgot the padding or cut it off at the edge of the picture": _box(
        start=lambda *_: 0
    ),
    "that counts the padding in units of each layer's own map, not in pixels": _from_behind,
    "that takes half of the kernel for the padding, whatever the padding is": _box(
        start=lambda first, kernel, stride, padding, step: first - kernel // 2 * step
    ),
    "whose padding moves the start to the right": _box(
        start=lambda first, kernel, stride, padding, step: first + padding * step
    ),
    "that returns the centre, where the first pixel is asked for": _centre,
    "that counts only the pixels of unit 0 that lie in the picture": _within,
}


# What it does see -----------------------------------------------------------------------------------------------


def effective(net: Callable[[Tensor], Tensor], x: Tensor, unit: tuple[int, int], v: Tensor) -> Tensor:
    """How much each pixel of `x` moves one unit of a map, in some random directions of its channels: (height, width).

    net: pictures (1, colours, height, width) to a map (1, channels, rows, columns). unit: (row, column) on that map.
    v: (directions, channels). At each pixel p, the mean over v of sum over colours of (d(v · map[:, unit]) / dx[p])².
    Source: Luo et al. 2016, "Understanding the effective receptive field"; the random direction instead of a sum over
    channels keeps channels of opposite sign from cancelling.
    """
    leaf = x.detach().clone().requires_grad_()
    row, column = unit
    column_of_map = net(leaf)[0, :, row, column]  # (channels,)
    energy = torch.zeros(x.shape[2:], dtype=x.dtype)
    for direction in v:
        (gradient,) = torch.autograd.grad(direction @ column_of_map, leaf, retain_graph=True)
        energy += (gradient[0] ** 2).sum(dim=0)
    return energy / len(v)


def _nets() -> Iterator[tuple[str, nn.Module, tuple[int, ...], tuple[int, int], int]]:
    yield (
        "two convolutions with a tanh between them",
        nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(3, 4, 3, padding=1)),
        (1, 2, 7, 9),
        (1, 3),
        3,
    )
    yield (
        "a convolution, a ReLU and a pool",
        nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(5, 5, 1)),
        (1, 3, 8, 6),
        (3, 0),
        1,
    )
    yield (
        "a single convolution",
        nn.Sequential(nn.Conv2d(3, 6, 5, padding=2)),
        (1, 3, 5, 5),
        (2, 4),
        4,
    )


def _measure_effective(theirs: Callable) -> Iterator[tuple[str, Any]]:
    for what, net, shape, unit, directions in _nets():
        fill(net)
        x, channels = numbers(*shape, of=what), net(torch.zeros(shape)).shape[1]
        v, before = numbers(directions, channels, of=f"directions, {what}"), x.clone()
        found = tensor(theirs(net, x, unit, v))
        where = f"{what}, at {unit}, with {directions} direction{'s' if directions > 1 else ''},"
        yield f"the energy map of {where}", found
        yield f"the number of pixels that {where} sees at all", int((found != 0).sum())
        yield f"the change of the picture of {where}", float((x.detach() - before).abs().max())
        yield f"the requires_grad of the picture that {where} looked at", x.requires_grad
        left = [name for name, weight in net.named_parameters() if weight.grad is not None]
        yield f"the list of weights of {where} that have a gradient left in them", left
        asking = {name: weight.requires_grad for name, weight in net.named_parameters()}
        yield f"the requires_grad of the weights of {where}", asking


def _gradients(net, x, score: Callable[[Tensor, Tensor], Tensor], v) -> Tensor:
    """(directions, colours, height, width): the gradient of score(map, direction) for each direction."""
    leaf = x.detach().clone().requires_grad_()
    out = net(leaf)[0]
    return torch.stack([torch.autograd.grad(score(out, one), leaf, retain_graph=True)[0][0] for one in v])


def _at(unit):
    return lambda out, direction: direction @ out[:, unit[0], unit[1]]


def _effective(make: Callable[[Tensor], Tensor]) -> Callable:
    """Something else made of the right gradients."""
    return lambda net, x, unit, v: make(_gradients(net, x, _at(unit), v))


def _scored(score: Callable) -> Callable:
    """The right thing made of the gradient of another score."""
    return lambda net, x, unit, v: _gradients(net, x, lambda out, one: score(out, one, unit), v).square().sum(1).mean(0)


def _swapped(net, x, unit, v):
    return effective(net, x, unit[::-1], v)


def _piling_up(net, x, unit, v):
    return _gradients(net, x, _at(unit), v).cumsum(0).square().sum(1).mean(0)


def _leaves_gradients(net, x, unit, v):
    leaf = x.detach().clone().requires_grad_()
    (v[0] @ net(leaf)[0, :, unit[0], unit[1]]).backward()
    return effective(net, x, unit, v)


def _asks_the_picture(net, x, unit, v):
    found = effective(net, x, unit, v)
    x.requires_grad_()
    return found


EFFECTIVE_MISTAKES = {
    "that takes absolute values, where energy is a square": _effective(lambda g: g.abs().sum(1).mean(0)),
    "that adds the colours before it squares, so that they cancel": _effective(lambda g: g.sum(1).square().mean(0)),
    "that takes the mean over the directions before it squares, so that they cancel": _effective(
        lambda g: g.mean(0).square().sum(0)
    ),
    "that averages over the colours, where they are added": _effective(lambda g: g.square().mean((0, 1))),
    "that adds up the directions, where the mean is asked for": _effective(lambda g: g.square().sum((0, 1))),
    "that looks in the last direction only": _effective(lambda g: g[-1].square().sum(0)),
    "that takes the root: a length, not an energy": _effective(lambda g: g.square().sum(1).mean(0).sqrt()),
    "that divides by its own largest value": _effective(
        lambda g: g.square().sum(1).mean(0) / g.square().sum(1).mean(0).max()
    ),
    "that adds up the channels and takes no direction, so that channels of opposite sign cancel": _scored(
        lambda out, one, unit: out[:, unit[0], unit[1]].sum()
    ),
    "that asks all units at once": _scored(lambda out, one, unit: (one @ out.flatten(1)).sum()),
    "that asks the unit's energy, not its value in a direction": _scored(
        lambda out, one, unit: (one * out[:, unit[0], unit[1]] ** 2).sum()
    ),
    "that exchanges the unit's row and column": _swapped,
    "whose gradients pile up from one direction to the next, since .grad is never emptied": _piling_up,
    "that leaves gradients behind in the weights: .backward() fills them, autograd.grad does not": _leaves_gradients,
    "that leaves the picture it was given asking for gradients": _asks_the_picture,
}

CHECKS = (
    Check(
        id="features.box",
        minutes=7,
        difficulty="medium",
        ours=box,
        measure=_measure_box,
        mistakes=BOX_MISTAKES,
        hints=(
            "Take two 3x3 convolutions, the first with stride 2. On paper: which pixels does the second one's left "
            + "neighbour see, and which does its right neighbour? How far apart are the two?",
            "Go through the layers in order, and keep three numbers in pixels: where unit 0 begins, how wide it sees, and how "
            + "far one unit is from the next. A kernel of k adds k - 1 steps, a padding of p goes p steps to the left, and "
            + "a step is as wide as the jump *before* this layer's stride.",
            "Begin with 0, 1, 1. For each layer: start -= padding * jump; size += (kernel - 1) * jump; and only then "
            + "jump *= stride.",
        ),
    ),
    Check(
        id="features.effective",
        minutes=10,
        difficulty="hard",
        ours=effective,
        measure=_measure_effective,
        mistakes=EFFECTIVE_MISTAKES,
        hints=(
            "Of what number do you want the derivative, with respect to what? One direction first.",
            "A copy of the picture that asks for gradients goes through the net once. direction @ map[0, :, row, column] is a "
            + "number; torch.autograd.grad(number, copy, retain_graph=True) gives its gradient, (1, colours, height, width), "
            + "and leaves the weights alone. Square it, and only then add colours and average directions.",
            "leaf = x.detach().clone().requires_grad_(); out = net(leaf)[0, :, row, column]; then, for each direction, "
            + "(g,) = torch.autograd.grad(direction @ out, leaf, retain_graph=True), and g[0].square().sum(0) is what you "
            + "average.",
        ),
    ),
)
