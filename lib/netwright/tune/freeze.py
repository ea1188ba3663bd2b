"""Frozen means frozen: parameters and buffers of a frozen part stay what they are, bit for bit. Imports torch.

requires_grad=False alone is not enough: a BatchNorm in training mode moves its running statistics on every forward
pass, gradient or none, and the "frozen" net drifts away from its weights.
"""

import types

from torch import nn


def parts_to_freeze(net: nn.Module, through: str) -> list[nn.Module]:
    """The modules from the input up to and including `through`: "stem", "stages.0", …, or "body" (all but classifier)."""
    names = ["stem", *(f"stages.{i}" for i in range(len(net.stages)))]
    if through == "body":
        return [net.stem, *net.stages, net.final_conv]
    if through not in names:
        raise ValueError(f"A net is frozen through one of {', '.join(names)} or body; {through!r} is none of them.")
    return [net.get_submodule(name) for name in names[: names.index(through) + 1]]


def freeze(net: nn.Module, through: str = "body") -> None:
    """Freeze `net` from the input through a part: no gradient, and evaluation mode whatever `net.train()` says.

    In evaluation mode BatchNorm uses and keeps its statistics, and stochastic depth drops nothing: a frozen part is
    a fixed function of its input. "body" leaves the classifier. Make the optimiser afterwards. Undo: `thaw`.
    """
    for part in parts_to_freeze(net, through):
        part.requires_grad_(False)
        part.eval()
        for module in part.modules():
            # net.train() asks every module in turn; a frozen one does not listen. Bound to the module, so that a copy
            # of the net has its own.
            module.train = types.MethodType(_stay, module)


def thaw(net: nn.Module) -> None:
    """Undo `freeze`: every part is trained again, and follows the mode in which `net` is."""
    net.requires_grad_(True)
    for module in net.modules():
        module.__dict__.pop("train", None)
    net.train(net.training)


def is_frozen(module: nn.Module) -> bool:
    """Whether `freeze` holds this module."""
    return "train" in module.__dict__


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    return module
