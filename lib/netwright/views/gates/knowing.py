"""What a net's gates know of classes: shares of variance, neighbours, and what shuffled labels would know.

Imports nothing of the project.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

NEAREST = 5


def knowledge(own: Sequence[np.ndarray], others: Sequence[np.ndarray], labels: np.ndarray | None) -> dict[str, Any]:
    """Neighbours of a picture in gate space; with labels of at least two classes also what gates tell of them.

    own and others: of each layer (1, rows, channels) and (n, rows, channels). Returns neighbours and distances (k,);
    eta2, of each layer (rows, channels); eta2_layers and eta2_shuffled (layers,), the means over its channels; agree
    and agree_shuffled, the share of the n whose nearest other has their class. Gates of all layers count alike.
    """
    mine, theirs = (np.concatenate([_flat(it) for it in gates], 1) for gates in (own, others))
    apart = distances(mine, theirs)[0]
    near = [i for i in np.argsort(apart, kind="stable") if apart[i] > 1e-4][:NEAREST]  # not the picture itself
    found: dict[str, Any] = {"neighbours": np.array(near, dtype=np.int64), "distances": apart[near]}
    if labels is None or len(set(labels.tolist())) < 2:
        return found
    dealt = shuffles(labels)
    eta = [eta_squared(_flat(gates), labels).reshape(gates.shape[1:]) for gates in others]
    by_chance = [np.mean([_mean(eta_squared(_flat(gates), it)) for it in dealt]) for gates in others]
    between = distances(theirs, theirs)
    return found | {
        "eta2": eta,
        "eta2_layers": np.array([_mean(it) for it in eta]),
        "eta2_shuffled": np.array(by_chance),
        "agree": nearest_agrees(between, labels),
        "agree_shuffled": float(np.mean([nearest_agrees(between, it) for it in dealt])),
    }


def eta_squared(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The share of each column's variance that lies between classes, SS_b / SS_t. values: (n, columns), labels: (n,).

    A column that never moves has nothing to explain, and gets NaN.
    """
    values = np.asarray(values, dtype=np.float64)
    centred = values - values.mean(0)
    total = np.square(centred).sum(0)
    between = np.zeros(values.shape[1])
    for label in np.unique(labels):
        members = centred[labels == label]
        between += len(members) * np.square(members.mean(0))
    return np.divide(between, total, out=np.full_like(total, np.nan), where=total > 1e-12)


def shuffles(labels: np.ndarray, times: int = 20) -> list[np.ndarray]:
    """The labels dealt anew to the pictures, `times` times, always the same way: what chance would know."""
    deal = np.random.RandomState(0)
    return [deal.permutation(labels) for _ in range(times)]


def distances(queries: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(queries, others): the root mean square difference of two pictures' gates, over all columns."""
    squares = np.square(queries).sum(1)[:, None] + np.square(others).sum(1) - 2 * queries @ others.T
    return np.sqrt(np.maximum(squares, 0) / queries.shape[1])


def nearest_agrees(apart: np.ndarray, labels: np.ndarray) -> float:
    """The share of pictures whose nearest other picture has their class. apart: (n, n)."""
    apart = apart + np.diag(np.full(len(apart), np.inf))
    return float((labels[apart.argmin(1)] == labels).mean())


def _flat(gates: np.ndarray) -> np.ndarray:
    return gates.reshape(len(gates), -1).astype(np.float64)


def _mean(values: np.ndarray) -> float:
    """The mean of what is a number; 0 where no gate ever moves."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
