"""Two values beside each other: are they equal, how many numbers is that, and if not, what is wrong in words.

Imports differing, for the place where two tensors part.
"""

import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from netwright.lessons.differing import first_place


@dataclass(frozen=True)
class Parting:
    """Two tensors of one shape, and the first place where they differ."""

    found: Tensor
    expected: Tensor
    place: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """Two values beside each other. fault: what is wrong, as the end of a sentence; None when equal."""

    count: int
    error: float
    fault: str | None
    parting: Parting | None = None


def compare(found: Any, expected: Any, tolerance: float) -> Comparison:
    """`found` beside `expected`. The error of a tensor is the largest difference over the largest expected value.

    `found` may be anything at all: what cannot be compared is a fault, and never raises.
    """
    try:
        return _compare(found, expected, tolerance)
    except Exception as error:  # noqa: BLE001  an answer may be an object of any kind
        return Comparison(0, math.inf, f"is {_brief(found)}, which cannot be compared ({type(error).__name__})")


def _compare(found: Any, expected: Any, tolerance: float) -> Comparison:
    if isinstance(expected, Mapping):
        return _compare_mappings(found, expected, tolerance)
    if isinstance(expected, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(expected):
            return Comparison(0, math.inf, f"is {_brief(found)}, expected {len(expected)} values")
        return _together(
            (f" {i}", compare(f, e, tolerance)) for i, (f, e) in enumerate(zip(found, expected, strict=True))
        )
    if isinstance(expected, Tensor):
        return _compare_tensors(found, expected, tolerance)
    if isinstance(expected, float) and _is_number(found):
        pair = (torch.tensor(float(number), dtype=torch.float64) for number in (found, expected))
        return _compare_tensors(*pair, tolerance)
    if isinstance(expected, int) and not isinstance(expected, bool) and _is_whole(found):
        found = int(found)
    equal = type(found) is type(expected) and found == expected
    return Comparison(1, 0.0, None) if equal else Comparison(1, math.inf, f"is {_brief(found)}, expected {expected!r}")


def _compare_tensors(found: Any, expected: Tensor, tolerance: float) -> Comparison:
    if not isinstance(found, Tensor):
        return Comparison(0, math.inf, f"is {_brief(found)}, expected a tensor of shape {tuple(expected.shape)}")
    if found.shape != expected.shape:
        return Comparison(0, math.inf, f"has shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
    if found.is_complex():
        return Comparison(0, math.inf, "holds complex numbers")
    if not expected.numel():
        return Comparison(0, 0.0, None)
    found, expected = (tensor.detach().as_subclass(Tensor).cpu().double() for tensor in (found, expected))
    gap = torch.where(found == expected, 0.0, (found - expected).abs())  # infinity less infinity would be no number
    scale = expected.abs().max()
    error = (gap.max() / scale.clamp(min=1e-12)).item()
    if not error > tolerance and not math.isnan(error):
        return Comparison(gap.numel(), error, None)
    place = first_place(found, expected, tolerance)
    parting = Parting(found, expected, place)
    if found.isnan().any():
        return Comparison(gap.numel(), math.inf, "holds values that are not a number", parting)
    if gap.numel() == 1:
        return Comparison(1, error, f"is {found.item():.6g}, expected {expected.item():.6g}")
    share = (gap > tolerance * scale).double().mean().item()
    fault = (
        f"is off by a relative error of {error:.2g}; {share:.0%} of its {gap.numel()} values differ, the first at "
        f"{list(place)}: {found[place].item():.6g}, expected {expected[place].item():.6g}"
    )
    return Comparison(gap.numel(), error, fault, parting)


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
            return Comparison(part.count, part.error, f"is wrong at{name}, which {part.fault}", part.parting)
        count, error = count + part.count, max(error, part.error)
    return Comparison(count, error, None)


def _is_number(found: Any) -> bool:
    if isinstance(found, Tensor):
        return found.dim() == 0 and not found.is_complex()
    return isinstance(found, numbers.Real) and not isinstance(found, bool)


def _is_whole(found: Any) -> bool:
    """Python's whole numbers, numpy's, and a tensor that is one; not True, and not 3.0."""
    if isinstance(found, Tensor):
        return found.dim() == 0 and not found.is_floating_point() and found.dtype != torch.bool
    return isinstance(found, numbers.Integral) and not isinstance(found, bool)


def _brief(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  a class of the reader's own may have a repr that raises
        return f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"a {type(value).__name__} ({text[:50]} …)"
