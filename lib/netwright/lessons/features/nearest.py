"""Exercise `features.neighbours`: the nearest in the space itself.

Imports the engine, trying and, of this room, answers.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from netwright.lessons.engine import Check
from netwright.lessons.features.answers import tensor
from netwright.lessons.trying import numbers


def neighbours(vectors: Tensor, query: int, k: int) -> tuple[list[int], list[float]]:
    """The `k` vectors that point most nearly where vector `query` points: (their numbers, their cosines), nearest first.

    vectors: (n, dimensions). The query is not its own neighbour. Of equally near ones, the smaller number comes first;
    where fewer than k others exist, all of them.
    """
    lengths = (vectors**2).sum(dim=1).sqrt()  # (n,)
    cosines = (vectors @ vectors[query] / (lengths * lengths[query])).tolist()
    others = [i for i in range(len(vectors)) if i != query]
    nearest = sorted(others, key=lambda i: -cosines[i])[:k]  # sorted leaves equal ones in their order
    return nearest, [cosines[i] for i in nearest]


def _measure(theirs: Callable) -> Iterator[tuple[str, Any]]:
    lengths = 0.2 + 5 * numbers(12, 1, of="lengths").abs()
    scattered = lengths * (numbers(12, 6, of="neighbours") + 0.8)  # not around zero, as after a ReLU
    twin = torch.cat((2 * scattered[3:4], scattered))  # vector 4 has its double, twice as long, at 0
    # Cosines with vector 1 that are equal to the last digit, whatever the order of arithmetic: 3/5 three times, then 4/5.
    ties = torch.tensor(
        [
            [3.0, 4.0, 0.0, 0.0],
            [2.0, 0.0, 0.0, 0.0],
            [6.0, 0.0, 8.0, 0.0],
            [8.0, 0.0, 0.0, 6.0],
            [3.0, 0.0, 0.0, -4.0],
            [-3.0, 4.0, 0.0, 0.0],
            [4.0, 0.0, 3.0, 0.0],
        ]
    )
    cases = (
        ("the 3 nearest of 12 vectors to vector 5", scattered, 5, 3),
        ("the nearest of 12 vectors to vector 0", scattered, 0, 1),
        ("the 4 nearest to a vector whose double, twice as long, stands before it", twin, 4, 4),
        ("all 6 in their order, where some are equally near,", ties, 1, 6),
        ("the 9 nearest, where there are 4 others,", scattered[:5], 2, 9),
        ("the 2 nearest in two dimensions", scattered[:, :2], 7, 2),
    )
    for what, vectors, query, k in cases:
        before = vectors.clone()
        found = theirs(vectors, query, k)
        pair = found if isinstance(found, tuple | list) and len(found) == 2 else (found, None)
        yield f"the answer, the numbers of {what}", _listed(pair[0])
        yield f"the answer, the cosines of {what}", tensor(pair[1])
        yield f"the change of the vectors, after {what},", float((vectors - before).abs().max())


def _listed(value: Any) -> Any:
    """Whole numbers as a list, from a list, an array or a tensor; anything else as it is."""
    whole = tensor(value)
    if not isinstance(whole, Tensor) or whole.dim() != 1 or not bool((whole == whole.round()).all()):
        return value
    return [int(one) for one in whole]


def _cosines(vectors: Tensor, query: int) -> Tensor:
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    return unit @ unit[query]


def _first(scores: Tensor, query: int, k: int, shown: Tensor | None = None) -> tuple[list[int], list[float]]:
    """The k best by `scores` without the query, and what is shown of them: their scores, or `shown`."""
    shown = scores if shown is None else shown
    ranked = [i for i in scores.sort(descending=True, stable=True).indices.tolist() if i != query][:k]
    return ranked, [float(shown[i]) for i in ranked]


def _by(scores: Callable[[Tensor, int], Tensor]) -> Callable:
    """Neighbours by another measure of nearness."""
    return lambda vectors, query, k: _first(scores(vectors, query), query, k)


def _two_dimensions(vectors, query):
    centred = vectors - vectors.mean(0)
    return _cosines(centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].T, query)


def _with_itself(vectors, query, k):
    scores = _cosines(vectors, query)
    ranked = scores.sort(descending=True, stable=True).indices.tolist()[:k]
    return ranked, scores[ranked].tolist()


def _drops_the_first(vectors, query, k):
    scores = _cosines(vectors, query)
    ranked = scores.round(decimals=12).sort(descending=True, stable=True).indices.tolist()[1 : k + 1]
    return ranked, scores[ranked].tolist()


def _drops_doubles(vectors, query, k):
    scores = _cosines(vectors, query)
    ranked = [i for i in scores.sort(descending=True, stable=True).indices.tolist() if scores[i] < 1 - 1e-9][:k]
    return ranked, scores[ranked].tolist()


def _renumbered(vectors, query, k):
    others = torch.cat((vectors[:query], vectors[query + 1 :]))
    scores = _cosines(torch.cat((others, vectors[query : query + 1])), len(others))[:-1]
    return _first(scores, -1, k)


def _later_first(vectors, query, k):
    scores = _cosines(vectors, query).round(decimals=12)
    ranked = [i for i in scores.flip(0).sort(descending=True, stable=True).indices.tolist()]
    ranked = [len(vectors) - 1 - i for i in ranked if len(vectors) - 1 - i != query][:k]
    return ranked, _cosines(vectors, query)[ranked].tolist()


def _farthest(vectors, query, k):
    scores = _cosines(vectors, query)
    ranked = [i for i in scores.sort(stable=True).indices.tolist() if i != query][:k]
    return ranked, scores[ranked].tolist()


def _distances(vectors, query, k):
    ranked, cosines = neighbours(vectors, query, k)
    return ranked, [1 - one for one in cosines]


def _by_distance(vectors, query, k):
    return _first(-(vectors - vectors[query]).norm(dim=1), query, k, shown=_cosines(vectors, query))


def _too_few(vectors, query, k):
    return tuple(half[: max(k - 1, 0)] for half in neighbours(vectors, query, k))


def _no_more_than_there_are(vectors, query, k):
    scores = _cosines(vectors, query)
    scores[query] = -torch.inf
    found = scores.topk(k)
    return found.indices.tolist(), found.values.tolist()


def _query_last(vectors, query, k):
    scores = _cosines(vectors, query)
    scores[query] = -torch.inf
    ranked = scores.sort(descending=True, stable=True).indices.tolist()[:k]
    return ranked, scores[ranked].tolist()


CHECKS = (
    Check(
        id="features.neighbours",
        minutes=7,
        difficulty="medium",
        ours=neighbours,
        measure=_measure,
        mistakes={
            "that takes the dot product, so that long vectors are near to everything": _by(lambda v, q: v @ v[q]),
            "that divides by the length of the other vector only": _by(lambda v, q: v @ v[q] / v.norm(dim=1)),
            "that divides by the squared lengths": _by(lambda v, q: v @ v[q] / (v.norm(dim=1) * v[q].norm()).square()),
            "that takes the distance for nearness, where lengths count": _by_distance,
            "that takes the mean of all vectors away first": _by(lambda v, q: _cosines(v - v.mean(0), q)),
            "that takes the mean of each vector's own numbers away: a correlation, not a cosine": _by(
                lambda v, q: _cosines(v - v.mean(1, keepdim=True), q)
            ),
            "that divides by lengths measured down the columns (dim=0), over the pictures": _by(
                lambda v, q: (v / v.norm(dim=0)) @ (v[q] / v.norm(dim=0))
            ),
            "that looks in the two main directions of the cloud, not in the space itself": _by(_two_dimensions),
            "that takes absolute values, so that the opposite is near": _by(lambda v, q: _cosines(v, q).abs()),
            "in which everyone is their own nearest neighbour": _with_itself,
            "that drops the first of the list for the query, though its double may stand there": _drops_the_first,
            "that drops everything with a cosine of 1, and the query's double with it": _drops_doubles,
            "whose numbers are those of a list from which the query has been taken out": _renumbered,
            "that gives the larger number first where two are equally near": _later_first,
            "that returns the farthest": _farthest,
            "that returns distances, 1 - cosine, where cosines are asked for": _distances,
            "that returns one too few": _too_few,
            "that cannot be asked for more neighbours than there are": _no_more_than_there_are,
            "that marks the query with minus infinity, and returns it all the same where there are too few others": (
                _query_last
            ),
        },
        hints=(
            "Two vectors in the same direction, one ten times as long: how near are they, if only the direction counts? And "
            + "which vector is always the nearest, if nobody forbids it?",
            "The cosine of two vectors is their dot product, divided by both lengths. Rank all numbers but the query's by it, "
            + "largest first, with a sort that leaves equal ones in their order: Python's sorted does, and torch.sort does "
            + "with stable=True.",
            "cosines = vectors @ vectors[query] / (lengths * lengths[query]); others = [i for i in range(len(vectors)) if "
            + "i != query]; sorted(others, key=lambda i: -cosines[i])[:k].",
        ),
    ),
)
