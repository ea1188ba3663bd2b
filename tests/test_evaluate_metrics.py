"""Figures against published values, independent implementations and formulas written out picture by picture."""

import math
from fractions import Fraction
from math import comb

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from netwright.evaluate import EvaluationError, Predictions, compare, measure, share
from netwright.evaluate.metrics import calibration, correct, mcnemar, temperature
from peers import timm


def predictions(logits, targets, **changes) -> Predictions:
    logits, targets = torch.as_tensor(logits, dtype=torch.float32), torch.as_tensor(targets)
    names = tuple(f"class {i}" for i in range(logits.shape[1]))
    fields = {"indices": torch.arange(len(targets)), "name": "made", "class_names": names} | changes
    return Predictions(logits=logits, targets=targets, **fields)


@pytest.fixture(scope="module")
def made() -> Predictions:
    """500 pictures of 12 classes, right about half the time."""
    generator = torch.Generator().manual_seed(1)
    targets = torch.randint(12, (500,), generator=generator)
    logits = 1.5 * torch.randn(500, 12, generator=generator) + 2.5 * F.one_hot(targets, 12)
    return predictions(logits, targets)


# Newcombe 1998, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17, 857, table I,
# method 3: the score interval without continuity correction.
@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_has_the_published_values(count, of, low, high):
    found = share(count, of)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    mirrored = share(of - count, of)
    assert (mirrored.low, mirrored.high) == (pytest.approx(1 - found.high), pytest.approx(1 - found.low))


def test_the_ends_of_wilsons_interval_solve_its_equation():
    for count, of in ((1, 7), (40, 50), (36_405, 50_000)):
        found = share(count, of)
        for end in (found.low, found.high):
            assert abs(found.value - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / of), rel=1e-5)
        assert found.low < found.value == count / of < found.high


def test_an_interval_never_leaves_zero_to_one_and_says_nothing_of_no_picture():
    assert share(0, 5).low == 0 and share(5, 5).high == 1
    assert all(0 <= share(k, n).low <= k / n <= share(k, n).high <= 1 for n in range(1, 40) for k in range(n + 1))
    nothing = share(0, 0)
    assert math.isnan(nothing.value) and (nothing.low, nothing.high, str(nothing)) == (0, 1, "of no picture")
    with pytest.raises(ValueError, match="6 of 5 is no share"):
        share(6, 5)


def test_top_1_and_top_5_are_those_of_timm(made):
    top1, top5 = timm.utils.accuracy(made.logits, made.targets, topk=(1, 5))
    found = measure(made)
    assert (100 * found.top1.value, 100 * found.top5.value) == (pytest.approx(top1.item()), pytest.approx(top5.item()))
    assert (found.top1.of, found.top5.of, found.pictures) == (500, 500, 500)
    assert correct(made).sum() == found.top1.count == (made.answers == made.targets).sum()


def test_top_5_of_five_classes_would_say_nothing_and_is_none():
    assert measure(predictions(torch.randn(9, 5), torch.zeros(9, dtype=torch.int64))).top5 is None
    assert measure(predictions(torch.randn(9, 6), torch.zeros(9, dtype=torch.int64))).top5.of == 9


def test_a_net_that_says_nothing_gets_chance_and_one_that_says_nan_gets_nothing():
    targets = torch.arange(60) % 6
    same = measure(predictions(torch.zeros(60, 6), targets))
    assert (same.top1.count, same.top5.count) == (10, 50)
    logits = F.one_hot(targets, 6).float() * 9
    logits[3], logits[4, 0], logits[5, 5] = math.nan, math.nan, math.inf
    broken = measure(predictions(logits, targets))
    assert (broken.top1.count, broken.top5.count, broken.not_finite) == (57, 57, 3)
    assert math.isfinite(broken.loss) and math.isfinite(broken.calibration.ece) and broken.confusion.sum() == 57
    nothing = measure(predictions(torch.full((3, 6), math.nan), [0, 1, 2]))
    assert nothing.top1.count == 0 and math.isnan(nothing.loss)


def test_the_loss_is_torchs_cross_entropy(made):
    assert measure(made).loss == pytest.approx(F.cross_entropy(made.logits.double(), made.targets).item(), rel=1e-6)


def test_classes_groups_and_the_confusion_are_counted_one_by_one(made):
    answers = made.logits.numpy().argmax(axis=1)
    found = measure(made, groups={"low": range(5), "high": range(5, 12), "none": []})
    table = np.zeros((12, 12), dtype=int)
    for right, given in zip(made.targets.tolist(), answers.tolist(), strict=True):
        table[right, given] += 1
    assert np.array_equal(found.confusion, table)
    for i, name in enumerate(made.class_names):
        assert (found.per_class[name].count, found.per_class[name].of) == (table[i, i], table[i].sum())
    assert found.mean_class == pytest.approx(np.mean(table.diagonal() / table.sum(axis=1)))
    low = found.per_group["low"]
    assert (low.count, low.of) == (table.diagonal()[:5].sum(), table[:5].sum())
    assert found.per_group["high"].of + low.of == 500 and found.per_group["none"].of == 0


def test_classes_without_pictures_do_not_enter_the_mean():
    found = measure(predictions([[9, 0, 0], [9, 0, 0], [0, 0, 9]], [0, 0, 0]))
    assert list(found.per_class) == ["class 0"] and found.mean_class == pytest.approx(2 / 3)


def test_calibration_is_guos_formula_written_out(made):
    confidence, right = made.probabilities.amax(dim=1).double(), correct(made)
    ece = 0.0
    for m in range(1, 16):
        inside = [i for i in range(500) if (m - 1) / 15 < confidence[i] <= m / 15]
        if inside:
            gap = sum(right[i].item() for i in inside) - sum(confidence[i].item() for i in inside)
            ece += abs(gap) / 500
    found = measure(made).calibration
    assert found.ece == pytest.approx(ece, abs=1e-6)
    assert len(found.bins) == 15 and sum(it.count for it in found.bins) == 500
    for it in found.bins:
        assert it.count == 0 or it.low < it.confidence <= it.high


def test_a_calibrated_net_has_no_error_and_the_edge_belongs_below():
    half = calibration(torch.full((10,), 0.5), torch.arange(10) < 5, bins=2)
    assert half.ece == 0 and [it.count for it in half.bins] == [10, 0]
    assert calibration(torch.ones(10), torch.zeros(10, dtype=torch.bool)).ece == 1
    assert calibration(torch.tensor([0.0, 1.0]), torch.tensor([False, True])).bins[0].count == 1


def test_the_temperature_minimises_the_loss(made):
    for factor in (0.25, 1.0, 8.0):
        scaled = predictions(factor * made.logits, made.targets)
        found = temperature(scaled)

        def loss(t, scaled=scaled):
            return F.cross_entropy(scaled.logits.double() / t, scaled.targets).item()

        assert loss(found) <= min(loss(found * 1.01), loss(found / 1.01)) < loss(found * 2)
        assert found == pytest.approx(factor * temperature(made), rel=1e-3)
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    lbfgs = torch.optim.LBFGS([log_t], max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        lbfgs.zero_grad()
        value = F.cross_entropy(made.logits.double() / log_t.exp(), made.targets)
        value.backward()
        return value

    lbfgs.step(closure)
    assert temperature(made) == pytest.approx(log_t.exp().item(), rel=1e-3)


def test_measuring_nothing_is_refused():
    with pytest.raises(EvaluationError, match="No picture of made could be opened"):
        measure(predictions(torch.empty(0, 3), torch.empty(0, dtype=torch.int64)))


# --- two nets --------------------------------------------------------------------------------------------------------


def answering(right, **changes) -> Predictions:
    """Two classes, all pictures of the first; `right` says where the first is the answer."""
    right = torch.as_tensor(right)
    return predictions(
        torch.stack([right.float(), 0.5 + 0 * right], dim=1), torch.zeros(len(right), dtype=torch.int64), **changes
    )


def four_cells(both, only_a, only_b, neither):
    a = [True] * both + [True] * only_a + [False] * only_b + [False] * neither
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return answering(a), answering(b)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (0, 1), (1, 5), (5, 1), (4, 4), (13, 40), (400, 431)])
def test_mcnemar_is_the_binomial_sum_in_exact_fractions(x, y):
    tail = sum(Fraction(comb(x + y, k), 2 ** (x + y)) for k in range(min(x, y) + 1))
    assert mcnemar(x, y) == pytest.approx(float(min(Fraction(1), 2 * tail)), rel=1e-12)


def test_pairs_tell_apart_what_two_intervals_cannot():
    a, b = four_cells(both=850, only_a=20, only_b=2, neither=128)
    first, second, found = measure(a).top1, measure(b).top1, compare(a, b)
    assert first.low < second.high  # the intervals overlap
    assert (found.both, found.only_a, found.only_b, found.neither, found.pictures) == (850, 20, 2, 128, 1000)
    assert found.difference == pytest.approx(0.018) and found.low > 0 and found.p < 0.001
    other = compare(b, a)
    assert (other.difference, other.low, other.high, other.p) == (
        -found.difference,
        pytest.approx(-found.high),
        pytest.approx(-found.low),
        found.p,
    )
    assert str(found) == "+1.80 points (+0.86 to +2.73), p = 0.00012, on 1,000 pictures"


def test_the_interval_of_a_difference_holds_the_truth_in_about_95_of_100_cases():
    rng, held = np.random.default_rng(0), 0
    cells = np.array([0.70, 0.08, 0.05, 0.17])
    for _ in range(600):
        both, only_a, only_b, neither = rng.multinomial(200, cells)
        found = compare(*four_cells(both, only_a, only_b, neither))
        held += found.low <= 0.03 <= found.high
    assert 0.93 <= held / 600 <= 0.98


def test_equal_nets_show_no_difference():
    a, _ = four_cells(5, 3, 0, 2)
    found = compare(a, a)
    assert (found.difference, found.p) == (0, 1) and found.low < 0 < found.high


def test_only_the_same_pictures_are_compared():
    a, b = four_cells(5, 3, 1, 2)
    part = answering([True] * 4, indices=torch.tensor([0, 2, 8, 10]))
    found = compare(a, part)
    assert found.pictures == 4 and (found.both, found.only_b) == (2, 2)
    with pytest.raises(EvaluationError, match="made and another are not the same pictures"):
        compare(a, answering([True] * 11, name="another"))
    b.targets = b.targets + 1
    with pytest.raises(EvaluationError, match="are not the same pictures"):
        compare(a, b)
    with pytest.raises(EvaluationError, match="are not the same pictures"):
        compare(a, answering([True], indices=torch.tensor([99])))
