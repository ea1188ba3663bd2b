"""Other gates for one forward pass, and nothing of it left behind; and three kinds of gates to try. Imports nets."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from netwright.nets.resnest import SplitAttention

Change = Callable[[Tensor], Tensor]  # gates (batch, radix, channels) -> other gates of that shape


def force_gates(net: nn.Module, x: Tensor, change: Change) -> Tensor:
    """The logits of `net` in evaluation mode, if every split attention in it used change(gates) for its gates.

    change: is handed the gates (batch, radix, channels) of one layer after another, and returns others of that shape.
    Whatever happens in between, the net is afterwards as it was: its gates, hooks and buffers, and each module's mode.
    """
    modes = {module: module.training for module in net.modules()}
    layers = [module for module in net.modules() if isinstance(module, SplitAttention)]

    def changed(layer: SplitAttention) -> Callable[[Tensor], Tensor]:
        own = layer.gates  # bound here, or all layers would end up with the last one's
        return lambda pooled: change(own(pooled))

    try:
        net.eval()
        for layer in layers:
            layer.gates = changed(layer)  # on the object, where it hides the class's method
        with torch.no_grad():
            return net(x)
    finally:
        for layer in layers:
            vars(layer).pop("gates", None)
        for module, training in modes.items():
            module.training = training


def towards(target: Change, share: float) -> Change:
    """A change that goes `share` of the way from the layer's own gates to those of `target`."""
    return lambda gates: (1 - share) * gates + share * target(gates)


def even(gates: Tensor) -> Tensor:
    """Every split as much as any other: 1 / radix."""
    return torch.full_like(gates, 1 / gates.shape[1])


def batch_mean(gates: Tensor) -> Tensor:
    """For every picture the mean gates of the batch: channel by channel its own, and blind to the picture."""
    return gates.mean(0, keepdim=True).expand_as(gates)


def another_picture(gates: Tensor) -> Tensor:
    """For every picture the gates of the next in the batch."""
    return gates.roll(1, 0)
