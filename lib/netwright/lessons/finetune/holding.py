"""Exercise `finetune.freeze`: what it takes to hold a part of a net still while the rest is trained.

Imports the engine, nets and, of this room, trials. (The library's own is tune.freeze.)
"""

import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from netwright.lessons.engine import Check
from netwright.lessons.finetune.trials import numbers, pictures, small_net
from netwright.nets.net import ResidualNet

BODY = ("stem", "stages")


def freeze(net: ResidualNet) -> None:
    """Hold everything but the classifier still, bit for bit, whatever net.train() says afterwards."""
    for part in (net.stem, net.stages):
        part.requires_grad_(False)
        part.eval()
        for module in part.modules():
            module.train = types.MethodType(_stay, module)  # net.train() asks every module; these do not listen


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    return module


def _measure(theirs: Callable) -> Iterator[tuple[str, Any]]:
    """What moves when the net is used at once, when it is trained, and when a validation comes between."""
    net = small_net(drop_rate=0.4, drop_path_rate=0.5)
    images, targets = pictures(8)
    theirs(net)
    answer = _answer(net, images)
    yield "the body's buffers, after one pass with the net just frozen,", _buffers(net)
    yield "the answer in training mode", answer
    yield "the list of parameters that want a gradient", {n: p.requires_grad for n, p in net.named_parameters()}
    for visit in ("the first", "the second"):
        net.train()  # as every training loop does
        answer = _answer(net, images)
        yield f"the answer in training mode, after {visit} net.train(),", answer
        _train(net, images, targets)
        yield f"the body's buffers, after {visit} net.train() and two steps of training,", _buffers(net)
        yield f"the body's weights, after {visit} net.train() and two steps of training,", _weights(net)
        yield f"the classifier, after {visit} net.train() and two steps of training,", numbers(net, "classifier")
        net.eval()
        yield f"the answer in evaluation mode, after {visit} training,", _answer(net, images)


def _answer(net: nn.Module, images) -> torch.Tensor:
    torch.manual_seed(3)  # of dropout, and of stochastic depth where it was not stopped
    return net(images).detach()


def _train(net: nn.Module, images, targets) -> None:
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        torch.manual_seed(4)
        F.cross_entropy(net(images), targets).backward()
        optimiser.step()
        optimiser.zero_grad()


def _buffers(net: nn.Module) -> dict[str, torch.Tensor]:
    names = dict(net.named_buffers())
    return {name: tensor for name, tensor in numbers(net, *BODY).items() if name in names}


def _weights(net: nn.Module) -> dict[str, torch.Tensor]:
    names = dict(net.named_parameters())
    return {name: tensor for name, tensor in numbers(net, *BODY).items() if name in names}


# What goes wrong ---------------------------------------------------------------------------------------------------


def _hold(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        module.eval()
        module.train = types.MethodType(_stay, module)


def _no_gradients(*parts: nn.Module) -> None:
    for part in parts:
        part.requires_grad_(False)


def _norms(net: nn.Module) -> list[nn.Module]:
    return [
        module for part in (net.stem, net.stages) for module in part.modules() if isinstance(module, nn.BatchNorm2d)
    ]


def _gradients_only(net):
    _no_gradients(net.stem, net.stages)


def _wakes_again(net):
    _no_gradients(net.stem, net.stages)
    net.stem.eval()
    net.stages.eval()


def _weights_move(net):
    _hold([*net.stem.modules(), *net.stages.modules()])


def _classifier_too(net):
    freeze(net)
    net.requires_grad_(False)
    net.classifier.weight.requires_grad_(True)
    net.classifier.bias.requires_grad_(False)


def _norms_only(net):
    _no_gradients(net.stem, net.stages)
    _hold(_norms(net))


def _no_momentum(net):
    _no_gradients(net.stem, net.stages)
    for norm in _norms(net):
        norm.momentum = 0.0


def _no_statistics(net):
    _no_gradients(net.stem, net.stages)
    for norm in _norms(net):
        norm.track_running_stats = False


def _without_stem(net):
    _no_gradients(net.stages)
    _hold(net.stages.modules())


def _without_last_stage(net):
    _no_gradients(net.stem, *net.stages[:-1])
    _hold([*net.stem.modules(), *net.stages[:-1].modules()])


def _convolutions_only(net):
    for part in (net.stem, net.stages):
        for name, parameter in part.named_parameters():
            parameter.requires_grad_("norm" in name)
    _hold([*net.stem.modules(), *net.stages.modules()])


def _whole_net(net):
    freeze(net)
    _hold([net])


CHECKS = (
    Check(
        id="finetune.freeze",
        minutes=10,
        difficulty="medium",
        ours=freeze,
        measure=_measure,
        mistakes={
            "that only switches the gradients off: BatchNorm's running statistics move all the same": _gradients_only,
            "that is still until somebody calls net.train(), which wakes it": _wakes_again,
            "that holds the mode and not the weights, which are trained as before": _weights_move,
            "that holds BatchNorm and lets stochastic depth go on leaving out blocks": _norms_only,
            "with a momentum of 0 in BatchNorm: its statistics stay, and it normalises by those of the batch": _no_momentum,
            "in which BatchNorm keeps no statistics any more and normalises by those of the batch": _no_statistics,
            "that leaves the stem out": _without_stem,
            "that leaves the last stage out": _without_last_stage,
            "that holds the convolutions and lets scales and shifts of the normalisations be trained": _convolutions_only,
            "that freezes a part of the classifier as well": _classifier_too,
            "that keeps the whole net in evaluation mode, so that the dropout before the classifier is off": _whole_net,
        },
        hints=(
            (
                "Two things move a frozen net: the optimiser moves parameters, and a forward pass in training mode moves "
                "BatchNorm's buffers. requires_grad_(False) stops the one, eval() the other."
            ),
            (
                "net.train() is called once an epoch, and asks every module in it to wake: Module.train calls itself for each "
                "child. Give the modules of net.stem and net.stages a train of their own that does nothing."
            ),
            (
                "For every module of the two parts: module.train = types.MethodType(stay, module), with def stay(module, "
                "mode=True): return module. (Another way: a forward pre-hook on the net that calls eval() on the two.)"
            ),
        ),
    ),
)
