"""Random numbers for the checks, that stay the same whatever an answer draws for itself. Imports nothing of the project."""

import torch
from torch import Tensor


class Numbers:
    """A source of seeded random tensors: one a measurement, so that ours and theirs are asked the same."""

    def __init__(self, seed: int = 0):
        self._generator = torch.Generator().manual_seed(seed)

    def randn(self, *shape: int) -> Tensor:
        """Normal numbers of the default type."""
        return torch.randn(shape, generator=self._generator, dtype=torch.get_default_dtype())
