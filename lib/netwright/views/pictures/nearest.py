"""The arithmetic of neighbours: who is nearest, how often classes agree, what two dimensions keep. Imports nothing."""

import numpy as np


def nearest(vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` others at the smallest angle to each: their numbers and 1 - cosine, (n, k) each, nearest first."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)
    distances = 1 - unit @ unit.T
    np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, 1)


def brute_force(vectors: np.ndarray, k: int) -> np.ndarray:
    """The same distances another way, from the definition: each picture with each other, sorted, (n, k)."""
    found = []
    for i, a in enumerate(vectors):
        others = np.delete(vectors, i, axis=0)
        cosines = (others * a).sum(1) / (np.sqrt((others**2).sum(1)) * np.sqrt((a**2).sum()))
        found.append(sorted(1 - cosines)[:k])
    return np.array(found)


def principal(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """The vectors at unit length along their two directions of most variance, (n, 2), and the share of it there."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)
    centred = unit - unit.mean(0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    return u[:, :2] * s[:2], float((s[:2] ** 2).sum() / max((s**2).sum(), 1e-300))


def nearest_in(points: np.ndarray, k: int) -> np.ndarray:
    """The `k` others nearest to each by plain distance: their numbers (n, k)."""
    distances = ((points[:, None] - points[None]) ** 2).sum(-1)
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1, kind="stable")[:, :k]


def agreement(order: np.ndarray, labels: np.ndarray) -> tuple[float, float, float] | None:
    """The share of neighbours with the picture's own class, and its 95 % interval by bootstrap over the pictures."""
    asked = np.flatnonzero(labels >= 0)
    if not len(asked):
        return None
    shares = (labels[order[asked]] == labels[asked, None]).mean(1)
    drawn = np.random.RandomState(0).randint(0, len(shares), (1000, len(shares)))
    low, high = np.percentile(shares[drawn].mean(1), (2.5, 97.5))
    return float(shares.mean()), float(low), float(high)


def chance(labels: np.ndarray) -> float | None:
    """The share of the other pictures that have a picture's own class, on average."""
    counts = np.unique(labels[labels >= 0], return_counts=True)[1]
    return float(counts @ (counts - 1) / (counts.sum() * (len(labels) - 1))) if len(counts) else None
