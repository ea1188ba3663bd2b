"""How a check of this room reads an answer: lists and arrays as tensors, numbers as numbers.

Imports nothing of the project.
"""

from typing import Any

import torch
from torch import Tensor


def tensor(value: Any) -> Any:
    """A list, an array or a number as a tensor of float64, a tensor as it is but for its type; anything else as it is."""
    try:
        return torch.as_tensor(value).detach().to(torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return value


def number(value: Any) -> Any:
    """An answer as a plain number, whether it came as a float, an int or a tensor of one value; anything else as it is."""
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value)
    if isinstance(value, bool | Tensor) or not hasattr(value, "__float__"):
        return value
    return float(value)


def named(value: Any, *names: str) -> Any:
    """A tuple of numbers as a mapping by these names; whatever it is instead, as it is."""
    if isinstance(value, Tensor) and value.dim() == 1:
        value = value.tolist()
    if not isinstance(value, tuple | list) or len(value) != len(names):
        return value
    return {name: number(one) for name, one in zip(names, value, strict=True)}
