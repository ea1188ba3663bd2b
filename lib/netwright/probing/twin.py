"""A net's random twin: the same make with weights that have learnt nothing. Imports nothing of the project."""

import copy

import torch
from torch import Tensor, nn


@torch.no_grad()
def random_twin(net: nn.Module, inputs: Tensor, seed: int = 0) -> nn.Module:
    """A copy of `net` in evaluation mode, initialised anew from `seed`, its normalisations measured on `inputs`.

    inputs: (n, channels, height, width). Convolutions: He et al. 2015; other layers as they initialise themselves; the
    parameters of a layer that does not say how, drawn with the spread that they have. The caller's random numbers stay
    as they are.
    """
    twin = copy.deepcopy(net)
    with torch.random.fork_rng([inputs.device] if inputs.is_cuda else []):
        torch.manual_seed(seed)
        for module in reversed(list(twin.modules())):  # the parts first: attention initialises its own projections
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif hasattr(module, "reset_parameters"):
                module.reset_parameters()
            else:
                for parameter in module.parameters(recurse=False):
                    parameter.normal_(0, float(parameter.std(correction=0)) or 0.02)
    measure_norms(twin.eval(), inputs)
    return twin


@torch.no_grad()
def measure_norms(net: nn.Module, inputs: Tensor) -> None:
    """Give every BatchNorm the mean and variance of what reaches it with `inputs`, as training would have.

    Those of a net that has seen nothing are 0 and 1, and its signal would grow from block to block.
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum, norm.training = 1.0, True  # all of the old is forgotten
    if norms:
        net(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum, norm.training = momentum, False


def turned(picture: Tensor) -> Tensor:
    """Eight views of a square picture (1, channels, side, side), turned and mirrored; of another, two."""
    square = picture.shape[2] == picture.shape[3]
    views = [torch.rot90(picture, k, (2, 3)) for k in range(4)] if square else [picture]
    return torch.cat([*views, *(view.flip(3) for view in views)])
