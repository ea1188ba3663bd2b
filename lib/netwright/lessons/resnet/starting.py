"""Exercise `resnet.init`: the random numbers that a net is trained from. Imports the engine, nets, bench, this room."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from netwright.lessons.engine import Check
from netwright.lessons.resnet.blocks import Bottleneck
from netwright.lessons.resnet.normalising import BatchNorm2d
from netwright.lessons.trying import fill
from netwright.nets.layers import ConvNormAct


def initialise(net: nn.Module) -> None:
    """Random numbers to train from: He et al. 2015 ("Delving deep") for convolutions, norms that keep what they get.

    The last normalisation of every branch, `expand.norm`, starts at zero, so that each block starts as the identity
    (Goyal et al. 2017, section 5.1). Parts are known by their names, so that any class of block or norm will do.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    for name, parameter in net.named_parameters():
        if name.endswith("norm.weight"):
            nn.init.constant_(parameter, 0 if name.endswith("expand.norm.weight") else 1)
        elif name.endswith("norm.bias"):
            nn.init.zeros_(parameter)


# How it is judged: what is exact, exactly; what is random, by statistics that chance does not reach -----------


class _AnotherBlock(nn.Module):
    """A block of a class that the answer cannot know, with the names that all blocks here have."""

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int):
        super().__init__()
        self.reduce = ConvNormAct(in_channels, mid_channels)
        self.middle = ConvNormAct(mid_channels, mid_channels, 3)
        self.expand = ConvNormAct(mid_channels, out_channels)


def _trial_net() -> nn.Module:
    """Parts enough to draw statistics from, of several classes, and not one number where it should start."""
    net = nn.Module()
    net.stem = nn.Sequential(ConvNormAct(3, 64, 7))
    net.stages = nn.ModuleList([nn.Sequential(Bottleneck(64, 48, 192), _AnotherBlock(192, 48, 192))])
    net.stages[0][0].middle.norm = BatchNorm2d(48)
    net.stages[0][0].expand.norm = BatchNorm2d(192)
    net.classifier = nn.Linear(192, 5)
    fill(net)
    return net


KINDS = {  # of convolution, and what its name holds
    "the stem's convolution": "stem",
    "the 1x1 convolutions that narrow": "reduce",
    "the 3x3 convolutions": "middle",
    "the 1x1 convolutions that widen": "expand",
    "the projection": "shortcut",
}


def _measure(theirs: Callable[[nn.Module], None]) -> Iterator[tuple[str, Any]]:
    net = _trial_net()
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
    classifier = {name: p.detach().clone() for name, p in net.classifier.named_parameters()}
    averages = {name: b.clone() for name, b in net.named_buffers()}
    theirs(net)

    found = {name: p.detach().clone() for name, p in net.named_parameters()}
    yield "the list of parameters, once initialised,", {name: tuple(p.shape) for name, p in found.items()}
    yield "the list of parameters that learn", [name for name, p in net.named_parameters() if p.requires_grad]
    for name in shapes:
        if ".norm." in name:
            what = "scale" if name.endswith("weight") else "shift"
            yield f"the {what} of {name.rpartition('.')[0]}", _one(found[name])
    yield "the classifier, which was to be left as it was,", {name: found[f"classifier.{name}"] for name in classifier}
    kept = all(torch.equal(b, averages[name]) or torch.equal(b, _fresh(name, b)) for name, b in net.named_buffers())
    yield "whether the running averages are as they were, or as in a fresh layer", kept

    weights = {name: p for name, p in found.items() if name.endswith("conv.weight")}
    standard = []
    for kind, part in KINDS.items():
        drawn = torch.cat([(w * _target(w)).flatten() for name, w in weights.items() if part in name])
        standard.append(drawn / drawn.square().mean().sqrt().clamp(min=1e-12))
        yield f"the variance of {kind}, as a multiple of 2 / fan_out and rounded,", _on_grid(drawn.square().mean())
    drawn = torch.cat(standard)
    far = drawn.mean().abs().item() * math.sqrt(drawn.numel()) > 6
    yield "whether the weights of the convolutions have a mean of 0", not far
    # The fourth moment is 3 for a normal distribution and 1.8 for a uniform one; over so many weights it is off by 0.02.
    yield "whether the weights are drawn from a normal distribution", abs(drawn.pow(4).mean().item() - 3) < 0.2
    twins = [weights[f"stages.0.{i}.middle.conv.weight"] for i in (0, 1)]
    yield "whether two convolutions of one shape start alike", torch.equal(*twins)
    yield "whether two filters of one convolution start alike", torch.equal(*twins[0][:2])


def _fresh(name: str, buffer: Tensor) -> Tensor:
    return torch.full_like(buffer, float(name.endswith("running_var")))


def _one(numbers: Tensor) -> float | Tensor:
    """The number that all of `numbers` are, or `numbers` where they differ."""
    return numbers[0].item() if (numbers == numbers[0]).all() else numbers


def _target(weight: Tensor) -> float:
    """One over the deviation that He et al. give a weight (out, in, height, width)."""
    return math.sqrt(weight.shape[0] * weight[0, 0].numel() / 2)


def _on_grid(ratio: Tensor) -> float:
    """The nearest of …, 0.71, 0.84, 1, 1.19, 1.41, …: what is right comes out as 1, and the same mistake as the same.

    Half a step, 9 %, is six deviations of what chance does to the smallest of the samples, and more for the others.
    """
    ratio = ratio.item()
    return 2 ** (round(4 * math.log2(ratio)) / 4) if ratio > 0 and math.isfinite(ratio) else ratio


# Known mistakes ----------------------------------------------------------------------------------------------------


def _fan_out(weight: Tensor) -> Tensor:
    return nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")


def _initialise(
    *,
    conv=_fan_out,
    last=lambda name: 0 if name.endswith("expand.norm.weight") else 1,
    shift=0,
    norms=lambda net, name: True,
    after=lambda net: None,
):
    """`initialise` with one thing wrong in it."""

    def wrong(net):
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                conv(module.weight)
        for name, parameter in net.named_parameters():
            if name.endswith("norm.weight") and norms(net, name):
                nn.init.constant_(parameter, last(name))
            elif name.endswith("norm.bias") and norms(net, name):
                nn.init.constant_(parameter, shift)
        after(net)

    return wrong


def _of_torch(net: nn.Module, name: str) -> bool:
    return isinstance(net.get_submodule(name.rpartition(".")[0]), nn.BatchNorm2d)


def _known_block(net: nn.Module, name: str) -> int:
    """0 for the last norm of a block of the class Bottleneck, else 1."""
    block = net.get_submodule(name.removesuffix(".expand.norm.weight")) if name.endswith("expand.norm.weight") else None
    return 0 if isinstance(block, Bottleneck) else 1


def _by_class(net):
    _initialise(last=lambda name: _known_block(net, name))(net)


def _same_numbers(weight: Tensor) -> Tensor:
    torch.manual_seed(0)
    return _fan_out(weight)


def _deviation_for_variance(weight: Tensor) -> Tensor:
    return nn.init.normal_(weight, std=2 / (weight.shape[0] * weight[0, 0].numel()))


def _without_kernel(weight: Tensor) -> Tensor:
    return nn.init.normal_(weight, std=math.sqrt(2 / weight.shape[0]))


def _small_classifier(net: nn.Module) -> None:
    nn.init.zeros_(net.classifier.bias)
    nn.init.normal_(net.classifier.weight, std=0.01)


MISTAKES = {
    "that divides by fan_in": _initialise(
        conv=lambda w: nn.init.kaiming_normal_(w, mode="fan_in", nonlinearity="relu")
    ),
    "that forgets the 2 with which He et al. make up for the ReLU": _initialise(
        conv=lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="linear")
    ),
    "that follows Glorot, who divides by the mean of both fans": _initialise(conv=nn.init.xavier_normal_),
    "that takes the variance for the deviation": _initialise(conv=_deviation_for_variance),
    "whose fan_out leaves the kernel's area out": _initialise(conv=_without_kernel),
    "that gives all convolutions a deviation of 0.01": _initialise(conv=lambda w: nn.init.normal_(w, std=0.01)),
    "that draws from a uniform distribution": _initialise(
        conv=lambda w: nn.init.kaiming_uniform_(w, mode="fan_out", nonlinearity="relu")
    ),
    "that leaves the convolutions as torch made them": _initialise(
        conv=lambda w: nn.init.kaiming_uniform_(w, a=math.sqrt(5))
    ),
    "that seeds anew for every convolution, so that equal shapes start with equal numbers": _initialise(
        conv=_same_numbers
    ),
    "that starts the last normalisation of a branch at one": _initialise(last=lambda name: 1),
    "that starts all normalisations at zero": _initialise(last=lambda name: 0),
    "that starts the shortcut's normalisation at zero as well": _initialise(
        last=lambda name: 0 if "expand" in name or "shortcut" in name else 1
    ),
    "that starts the middle's normalisation at zero, not the last": _initialise(
        last=lambda name: 0 if "middle" in name else 1
    ),
    "that leaves the normalisations' shifts as they were": _initialise(norms=lambda net, name: name.endswith("weight")),
    "that knows a normalisation by torch's class, and passes over those that you wrote": _initialise(norms=_of_torch),
    "that knows a block by its class, and passes over blocks of another class": _by_class,
    "that starts the classifier anew as well": _initialise(after=_small_classifier),
}

CHECKS = (
    Check(
        id="resnet.init",
        minutes=8,
        difficulty="medium",
        ours=initialise,
        measure=_measure,
        mistakes=MISTAKES,
        hints=(
            (
                "Convolutions you know by their class, nn.Conv2d; normalisations by the end of their parameters' names. What "
                "does net.named_parameters() yield for the last normalisation of the first block?"
            ),
            (
                "fan_out of a weight (out, in, k, k) is out * k * k, and the deviation is (2 / fan_out) ** 0.5. "
                "nn.init.kaiming_normal_ does that, if it is told the mode and the nonlinearity. For the norms: names that "
                "end in 'expand.norm.weight' get 0, other 'norm.weight' 1, 'norm.bias' 0."
            ),
            (
                "nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu') for the convolutions; "
                "nn.init.zeros_(parameter) and nn.init.ones_(parameter) for the rest. Ask for 'expand.norm.weight' first."
            ),
        ),
    ),
)
