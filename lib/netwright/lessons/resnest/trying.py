"""How every module of this room is tried: filled with seeded numbers, run in both modes, asked for its gradient.

Imports bench, for its numbers.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from netwright.lessons.bench import fill


def try_module(built: nn.Module, x: Tensor, of: str, *, listed: bool = True) -> Iterator[tuple[str, Any]]:
    """What `built` has and makes of x, as cases of a check; `of` completes "the output in evaluation mode of …".

    With `listed`, the names and shapes of its parameters and buffers come first.
    """
    fill(built)
    if listed:
        yield f"the list of parameters of {of}", {key: tuple(t.shape) for key, t in built.state_dict().items()}
    before = x.clone().requires_grad_()
    yield f"the output in evaluation mode of {of}", built.eval()(x.clone()).detach()
    built(x)
    yield f"the input of {of}, once it has run,", x
    (gradient,) = torch.autograd.grad(built(before).square().sum(), before)
    yield f"the gradient of the input of {of}", gradient
    yield f"the output in training mode of {of}", built.train()(x.clone()).detach()
    yield f"the list of buffers after a training step of {of}", {k: b.clone() for k, b in built.named_buffers()}
