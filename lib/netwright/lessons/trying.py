"""How a check tries a module: seeded numbers that no answer can shift, and all that the module does with them.

Imports nothing of the project.
"""

import zlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


class Numbers:
    """A stream of seeded normal numbers: `draw = Numbers(); x = draw(2, 3, 9, 7)`. One a measurement.

    Not torch's own stream: an answer that draws from that, as it is built or as it runs, would shift what comes next.
    """

    def __init__(self, seed: int = 0):
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int, requires_grad: bool = False) -> Tensor:
        """A tensor of this shape and the default type."""
        numbers = torch.randn(shape, generator=self._generator, dtype=torch.get_default_dtype())
        return numbers.requires_grad_(requires_grad)


def numbers(*shape: int, of: str) -> Tensor:
    """A tensor of normal numbers, seeded by its shape and by what it is for: no stream, no order."""
    return Numbers(zlib.crc32(f"{of} {shape}".encode()))(*shape)


def fill(module: nn.Module) -> None:
    """Seeded numbers for every parameter and buffer, by its name and shape: no scale is 1, no statistic is trivial."""
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            generator = torch.Generator().manual_seed(zlib.crc32(f"{key} {tuple(tensor.shape)}".encode()))
            numbers = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)  # 0 to 1
            positive = key.endswith(("norm.weight", "running_var"))
            tensor.copy_(numbers + 0.5 if positive else numbers - 0.5)


def behaviour(
    module: nn.Module, shape: tuple[int, ...], where: str, *, scale: float = 1.0
) -> Iterator[tuple[str, Any]]:
    """What a module has, and what it makes of maps of `shape` once it is filled: in both modes, going backward, to its
    buffers, to its input.

    where: whose behaviour it is, "of a block with stride 2"; the end of what every case is called. scale: of the maps;
    8 is large enough to tell a ReLU from one that is cut off at 6.
    """
    yield f"the list of parameters {where}", {key: tuple(p.shape) for key, p in module.named_parameters()}
    yield f"the list of buffers {where}", {key: tuple(b.shape) for key, b in module.named_buffers()}
    fill(module)
    x = scale * numbers(*shape, of=where)
    seen, leaf = x.clone(), x.clone().requires_grad_()
    yield f"the output in evaluation mode {where}", module.eval()(seen).detach().clone()
    yield f"the input {where}, once it has run,", seen
    # Times one, because who overwrites his input has been found out by now, and would only crash on a leaf.
    (gradient,) = torch.autograd.grad(_mixed(module(leaf * 1)), leaf)
    yield f"the gradient of the input {where}", gradient
    yield f"the output in training mode {where}", module.train()(x.clone()).detach().clone()
    yield f"the list of buffers {where}, after a training step,", buffers(module)
    (gradient,) = torch.autograd.grad(_mixed(module(leaf * 1)), leaf)
    yield f"the gradient of the input in training mode {where}", gradient


def buffers(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the buffers by name."""
    return {name: tensor.detach().clone() for name, tensor in module.named_buffers()}


def _mixed(output: Tensor) -> Tensor:
    """A number that depends on every value of `output` in its own way: a plain sum after a BatchNorm is a constant."""
    return (output * torch.linspace(-1, 2, output.numel()).view(output.shape)).sum()
