"""Two values beside each other: are they equal, how many numbers is that, and if not, what is wrong in words.

Imports nothing of the project.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Comparison:
    """Two values beside each other. fault: what is wrong, as the end of a sentence; None when equal."""

    count: int
    error: float
    fault: str | None


def compare(found: Any, expected: Any, tolerance: float) -> Comparison:
    """`found` beside `expected`. The error of a tensor is the largest difference over the largest expected value."""
    if isinstance(expected, Mapping):
        return _compare_mappings(found, expected, tolerance)
    if isinstance(expected, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(expected):
            return Comparison(0, math.inf, f"is {_brief(found)}, expected {len(expected)} values")
        return _together(
            (f" {i}", compare(f, e, tolerance)) for i, (f, e) in enumerate(zip(found, expected, strict=True))
        )
    if not isinstance(expected, Tensor):
        if isinstance(expected, float) and isinstance(found, int | float):
            return compare(torch.tensor(float(found)), torch.tensor(expected), tolerance)
        equal = type(found) is type(expected) and found == expected
        return (
            Comparison(1, 0.0, None) if equal else Comparison(1, math.inf, f"is {_brief(found)}, expected {expected!r}")
        )
    if not isinstance(found, Tensor):
        return Comparison(0, math.inf, f"is {_brief(found)}, expected a tensor of shape {tuple(expected.shape)}")
    if found.shape != expected.shape:
        return Comparison(0, math.inf, f"has shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
    if not expected.numel():
        return Comparison(0, 0.0, None)
    gap = (found.detach().cpu().double() - expected.detach().cpu().double()).abs()
    error = (gap.max() / expected.detach().abs().max().double().clamp(min=1e-12)).item()
    if math.isnan(error):
        return Comparison(gap.numel(), math.inf, "holds values that are not a number")
    share = (gap > tolerance * expected.detach().abs().max()).double().mean().item()
    fault = f"is off by a relative error of {error:.2g}; {share:.0%} of its {gap.numel()} values differ"
    if gap.numel() == 1:
        fault = f"is {found.item():.6g}, expected {expected.item():.6g}"
    return Comparison(gap.numel(), error, fault if error > tolerance else None)


def _compare_mappings(found: Any, expected: Mapping, tolerance: float) -> Comparison:
    if not isinstance(found, Mapping):
        return Comparison(0, math.inf, f"is {_brief(found)}, expected {len(expected)} names with a value each")
    for what, some in (
        ("lacks", expected.keys() - found.keys()),
        ("has, and should not,", found.keys() - expected.keys()),
    ):
        if some:
            more = f" and {len(some) - 1} more" if len(some) > 1 else ""
            return Comparison(0, math.inf, f"{what} {min(map(str, some))!r}{more}")
    return _together((f" {key!r}", compare(found[key], value, tolerance)) for key, value in expected.items())


def _together(parts: Iterable[tuple[str, Comparison]]) -> Comparison:
    count, error = 0, 0.0
    for name, part in parts:
        if part.fault:
            return Comparison(part.count, part.error, f"is wrong at{name}, which {part.fault}")
        count, error = count + part.count, max(error, part.error)
    return Comparison(count, error, None)


def _brief(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__} ({text[:50]} …)"
