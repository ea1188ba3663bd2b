"""Numbers for the checks that do not depend on how many random ones an answer draws itself. Imports nothing of the project."""

from collections.abc import Callable

import torch
from torch import Tensor


def numbers(seed: int = 0) -> Callable[..., Tensor]:
    """A function like torch.randn with a generator of its own, in the default type."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, requires_grad: bool = False) -> Tensor:
        return torch.randn(shape, generator=generator).requires_grad_(requires_grad)

    return draw
