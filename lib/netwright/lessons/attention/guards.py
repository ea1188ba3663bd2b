"""The assertions that would have caught the museum's bugs, each on a single function. Imports nothing of the project."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def _sizes(key_dim: int = 4) -> dict[str, int]:
    return {"heads": 1, "block_size": 4, "halo": 2, "key_dim": key_dim, "value_dim": 1}


def padding_follows_geometry(attend: Callable[..., Tensor]) -> None:
    """A layer that prefers nothing gives the padding as much as the window holds of it, or, where it masks, nothing.

    attend: as `halo_attention`. Raises AssertionError.
    """
    nothing, tables = torch.zeros(1, 4, 8, 8), torch.zeros(15, 4)
    ones = torch.cat((nothing, torch.ones(1, 1, 8, 8)), 1)  # keys of 0, and values of 1
    inside = attend(nothing, ones, tables, tables, **_sizes())
    share = 6 * 6 / 8**2  # of the window of a corner block lies on the map
    right = [torch.allclose(inside, torch.full_like(inside, wanted)) for wanted in (share, 1.0)]
    assert any(right), f"Of a corner's attention {inside[0, 0, 0, 0]:.0%} is on the map, of its window {share:.0%}."


def a_query_finds_itself(attend: Callable[..., Tensor]) -> None:
    """With tables that know one offset, "no distance", a query looks at its own pixel and nowhere else.

    attend: as `halo_attention`. Raises AssertionError.
    """
    table = torch.zeros(15, 4)
    table[8 - 1 + 2] = 50.0  # window - 1 + halo: here u - y + window - 1 is the query's own row
    own = torch.arange(64.0).view(1, 1, 8, 8)  # every pixel's value is its number
    answer = attend(torch.ones(1, 4, 8, 8), torch.cat((torch.zeros(1, 4, 8, 8), own), 1), table, table, **_sizes())
    found = answer[0, 0, 3, 3]
    assert torch.allclose(answer, own, atol=1e-3), f"The query of pixel {own[0, 0, 3, 3]:.0f} finds pixel {found:.0f}."


def content_is_divided_by_the_root(attend: Callable[..., Tensor]) -> None:
    """One key differs from the others by √dim: its weight is e times theirs, at any dimension.

    attend: as `halo_attention`. Raises AssertionError.
    """
    for dim in (4, 16):
        query, key, one = torch.zeros(1, dim, 8, 8), torch.zeros(1, dim, 8, 8), torch.zeros(1, 1, 8, 8)
        query[:, 0], key[:, 0, 2, 2], one[..., 2, 2] = 1.0, dim**0.5, 1.0
        tables = torch.zeros(15, dim)
        weight = attend(query, torch.cat((key, one), 1), tables, tables, **_sizes(dim))[0, 0, 1, 1]
        other = torch.roll(one, 1, -1)
        plain = attend(query, torch.cat((key, other), 1), tables, tables, **_sizes(dim))[0, 0, 1, 1]
        if float(plain) == float(weight) == 0:
            continue  # it looks at nothing on the map, which is another bug
        ratio = float(weight / plain)
        assert abs(ratio - np.e) < 1e-3, f"At dimension {dim} the ratio of two weights is {ratio:.3g}, and should be e."


def gates_of_the_splits_sum_to_one(rsoftmax: Callable[[Tensor, int, int], Tensor]) -> None:
    """The gates of one channel, over its splits, sum to 1; with two cardinal groups, where it can go wrong.

    rsoftmax: logits (batch, channels * radix), radix, cardinality to gates (batch, radix, channels). Raises
    AssertionError.
    """
    logits = torch.linspace(-2, 3, 16)[None]
    sums = rsoftmax(logits, 2, 2).reshape(1, 2, -1).sum(1)
    assert torch.allclose(sums, torch.ones_like(sums)), f"The sums are {sums.min():.2f} to {sums.max():.2f}."


def equal_numbers_look_equal(colours: Callable[[np.ndarray], np.ndarray]) -> None:
    """A number has one colour, in whichever map it stands. colours: maps (n, height, width) to colours of that shape.

    Raises AssertionError.
    """
    strong = np.array([[0.0, 1.0], [-1.0, 0.5]])
    shown = colours(np.stack([strong, strong / 100]))
    assert abs(shown[0, 0, 0] - shown[1, 0, 0]) < 1e-9, "0 has two colours."
    assert np.ptp(shown[1]) < np.ptp(shown[0]) / 2, "A map of a hundredth of the strength looks as strong."
