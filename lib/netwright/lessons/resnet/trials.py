"""How the exercises of notebook 01 try a module out: in both modes, on odd maps, with no number left at 0 or 1.

Imports, of the lessons, bench for its seeded numbers.
"""

import zlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from netwright.lessons.bench import fill


def behaviour(module: nn.Module, shape: tuple[int, ...], where: str) -> Iterator[tuple[str, Any]]:
    """Names, then values, in both modes, of a module that takes maps of `shape`; its numbers are seeded by their names.

    where: whose behaviour it is, "of a block …"; the end of what every case is called.
    """
    yield f"the list of parameters {where}", {key: tuple(p.shape) for key, p in module.named_parameters()}
    yield f"the list of buffers {where}", {key: tuple(b.shape) for key, b in module.named_buffers()}
    fill(module)
    x = numbers(*shape, of=where)
    seen, leaf = x.clone(), x.clone().requires_grad_()
    yield f"the output in evaluation mode {where}", module.eval()(seen).detach().clone()
    yield f"the input {where}, once it has run,", seen
    (gradient,) = torch.autograd.grad(_mixed(module(leaf)), leaf)
    yield f"the gradient of the input {where}", gradient
    yield f"the output in training mode {where}", module.train()(x.clone()).detach().clone()
    yield f"the list of buffers {where}, after a training step,", buffers(module)
    (gradient,) = torch.autograd.grad(_mixed(module(leaf)), leaf)
    yield f"the gradient of the input in training mode {where}", gradient


def numbers(*shape: int, of: str) -> Tensor:
    """Normal numbers, seeded by what they are for.

    Not drawn from the common stream: who initialises his layers in another way would get another input from it.
    """
    return torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(f"{of} {shape}".encode())))


def buffers(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the buffers by name."""
    return {name: tensor.detach().clone() for name, tensor in module.named_buffers()}


def _mixed(output: Tensor) -> Tensor:
    """A number that depends on every value of `output` in its own way: a plain sum after a BatchNorm is a constant."""
    return (output * torch.linspace(-1, 2, output.numel()).view(output.shape)).sum()


def whole(number: Any) -> Any:
    """A count as an int, whichever number it came as; what is none stays as it is and is then found wanting."""
    if isinstance(number, Tensor) and number.numel() == 1:
        number = number.item()
    try:
        return int(number) if number == int(number) else number
    except (TypeError, ValueError, OverflowError):
        return number
