"""Exercise `features.class_map`: the map that sums to the logit.

Imports the engine, trying and, of this room, answers.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from netwright.lessons.engine import Check
from netwright.lessons.features.answers import tensor
from netwright.lessons.trying import numbers


def class_map(features: Tensor, weight: Tensor, bias: Tensor, target: int, against: int | None = None) -> Tensor:
    """How much each place of the last map adds to a logit: (height, width), signed, in units of the logit.

    features: (channels, height, width), the last map. weight: (classes, channels) and bias: (classes,), of the
    classifier behind the mean over all places. The sum of the map and bias[target] is the logit of `target`. against:
    another class; then what each place adds to the difference of the two logits (target less against).
    Source: Zhou et al. 2016, section 2, with the mean's division left in.
    """
    channels, height, width = features.shape
    row = weight[target] if against is None else weight[target] - weight[against]
    return (row.view(channels, 1, 1) * features).sum(dim=0) / (height * width)


def _measure(theirs: Callable) -> Iterator[tuple[str, Any]]:
    # classes, channels, height, width, target, against; the first has as many classes as channels
    cases = (
        (5, 5, 3, 4, 2, None),
        (4, 6, 2, 5, 1, None),
        (6, 3, 4, 4, 5, 0),
        (3, 8, 1, 1, 0, None),
        (7, 4, 5, 2, 0, 3),
        (4, 4, 3, 3, 3, 0),
    )
    for classes, channels, height, width, target, against in cases:
        of = f"class map of {target} against {against}"
        features = numbers(channels, height, width, of=of)
        if against is None and height > 1:
            features = features.relu()  # as after most last blocks; HaloNet's may be negative
        weight, bias = numbers(classes, channels, of=f"weight, {of}"), 3 * numbers(classes, of=f"bias, {of}")
        before = [one.clone() for one in (features, weight, bias)]
        options = {} if against is None else {"against": against}
        found = tensor(theirs(features, weight, bias, target, **options))
        versus = "" if against is None else f" against class {against}"
        where = f"class {target}{versus}, on {channels} channels of {height}x{width}, {classes} classes,"
        yield f"the map of {where}", found
        yield f"the sum of the map of {where}", float(found.sum()) if isinstance(found, Tensor) else found
        changed = max(float((old - new).abs().max()) for old, new in zip(before, (features, weight, bias), strict=True))
        yield f"the change of what your function was given, for {where}", changed


def _plain(features, row):
    return torch.einsum("c,chw->hw", row, features)


def _row(weight, target, against):
    return weight[target] if against is None else weight[target] - weight[against]


def _wrong(change: Callable[[Tensor], Tensor]) -> Callable:
    """The right map, and one thing done to it."""
    return lambda features, weight, bias, target, against=None: change(
        class_map(features, weight, bias, target, against)
    )


def _no_mean(features, weight, bias, target, against=None):
    return _plain(features, _row(weight, target, against))


def _mean_over_channels(features, weight, bias, target, against=None):
    return _no_mean(features, weight, bias, target, against) / len(features)


def _mean_over_square(features, weight, bias, target, against=None):
    return _no_mean(features, weight, bias, target, against) / features.shape[1] ** 2


def _bias_spread(features, weight, bias, target, against=None):
    given = bias[target] if against is None else bias[target] - bias[against]
    return class_map(features, weight, bias, target, against) + given / features[0].numel()


def _bias_everywhere(features, weight, bias, target, against=None):
    given = bias[target] if against is None else bias[target] - bias[against]
    return class_map(features, weight, bias, target, against) + given


def _column(features, weight, bias, target, against=None):
    return class_map(features, weight.T, bias, target, against)


def _absolute_weights(features, weight, bias, target, against=None):
    return _plain(features, _row(weight, target, against).abs()) / features[0].numel()


def _positive_features(features, weight, bias, target, against=None):
    return class_map(features.relu(), weight, bias, target, against)


def _turned(features, weight, bias, target, against=None):
    return class_map(features, weight, bias, target, against).T


def _probability(features, weight, bias, target, against=None):
    p = (weight @ features.mean((1, 2)) + bias).softmax(0)[target]
    return p * class_map(features, weight, bias, target, against)


def _alone(features, weight, bias, target, against=None):
    return class_map(features, weight, bias, target)


def _against_reversed(features, weight, bias, target, against=None):
    if against is None:
        return class_map(features, weight, bias, target)
    return class_map(features, weight, bias, against, target)


def _against_zero(features, weight, bias, target, against=None):
    return class_map(features, weight, bias, target, against or None)  # class 0 is a class too


def _against_positive(features, weight, bias, target, against=None):
    one = class_map(features, weight, bias, target)
    return one if against is None else one.relu() - class_map(features, weight, bias, against).relu()


def _against_added(features, weight, bias, target, against=None):
    one = class_map(features, weight, bias, target)
    return one if against is None else one + class_map(features, weight, bias, against)


CHECKS = (
    Check(
        id="features.class_map",
        minutes=7,
        difficulty="medium",
        ours=class_map,
        measure=_measure,
        mistakes={
            "that forgets to divide: the logit is a mean over the places, and the map sums to many times the logit": _no_mean,
            "that divides by the channels, where the mean goes over the places": _mean_over_channels,
            "that divides by the height squared, and so is right on square maps only": _mean_over_square,
            "that spreads the bias over the places, though it comes from none of them": _bias_spread,
            "that adds the whole bias at every place": _bias_everywhere,
            "that takes a column of the weights, where a class is a row": _column,
            "with a ReLU at its end, which hides what speaks against the class": _wrong(torch.relu),
            "that divides by its own largest value, as most heat maps do": _wrong(lambda m: m / m.abs().max()),
            "that stretches the map from 0 to 1": _wrong(
                lambda m: (m - m.min()) / (m.max() - m.min()).clamp(min=1e-12)
            ),
            "that takes its own mean away": _wrong(lambda m: m - m.mean()),
            "that makes all weights positive": _absolute_weights,
            "that sets negative features to zero, which a map after a smooth activation has": _positive_features,
            "that exchanges height and width": _turned,
            "that multiplies the map with the class's probability": _probability,
            "that ignores the class it is to be compared with": _alone,
            "that takes the difference the wrong way round": _against_reversed,
            "that asks `if against`, and so has no contrast with class 0": _against_zero,
            "that cuts both maps at zero before it takes their difference": _against_positive,
            "that adds the other class, where it should be taken away": _against_added,
        },
        hints=(
            "Write the logit down: a bias, plus a sum over channels of weight times a mean over places. In which order may "
            + "the two sums be done?",
            "The mean and the weights can change places. First weigh the channels, at every place by itself, and there is "
            + "the map; its mean over the places is the logit without the bias. So what has each place to be divided by?",
            "(row[:, None, None] * features).sum(dim=0) / (height * width), with row = weight[target], or with "
            + "weight[target] - weight[against] where `against is not None`.",
        ),
    ),
)
