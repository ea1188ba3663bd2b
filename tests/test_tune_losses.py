"""Losses and mixing equal timm's on the same targets, shares and boxes; torch's own losses agree."""

from importlib import import_module

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from netwright.tune.losses import binary_cross_entropy, cross_entropy, soft_targets
from netwright.tune.mixing import Draw, Mixing
from netwright.tune.randomness import Purpose, generator
from peers import timm

Mixup, mixup_target = timm.data.mixup.Mixup, timm.data.mixup.mixup_target
losses = import_module("timm.loss")

CLASSES = 7
LOGITS = 4 * torch.randn(6, CLASSES, generator=torch.Generator().manual_seed(0))
TARGET = torch.tensor([0, 6, 3, 3, 1, 5])
SOFT = mixup_target(TARGET, CLASSES, lam=0.7, smoothing=0.1)


@pytest.mark.parametrize("smoothing", (0.0, 0.1, 0.6))
def test_cross_entropy_is_that_of_timm_and_of_torch(smoothing):
    found = cross_entropy(LOGITS, TARGET, smoothing=smoothing)
    assert found.item() == pytest.approx(losses.LabelSmoothingCrossEntropy(smoothing)(LOGITS, TARGET).item(), rel=1e-6)
    assert found.item() == pytest.approx(F.cross_entropy(LOGITS, TARGET, label_smoothing=smoothing).item(), rel=1e-6)


def test_cross_entropy_of_soft_targets_is_that_of_timm_and_does_not_soften_them_again():
    expected = losses.SoftTargetCrossEntropy()(LOGITS, SOFT).item()
    assert cross_entropy(LOGITS, SOFT).item() == pytest.approx(expected, rel=1e-6)
    assert cross_entropy(LOGITS, SOFT, smoothing=0.5).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("target", (TARGET, SOFT), ids=("numbers", "soft"))
@pytest.mark.parametrize("threshold", (None, 0.2, 0.5))
@pytest.mark.parametrize("smoothing", (0.0, 0.1))
def test_binary_cross_entropy_is_that_of_timm(smoothing, threshold, target):
    expected = losses.BinaryCrossEntropy(smoothing=smoothing, target_threshold=threshold)(LOGITS, target).item()
    found = binary_cross_entropy(LOGITS, target, smoothing=smoothing, threshold=threshold).item()
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", (cross_entropy, binary_cross_entropy))
def test_half_precision_logits_lose_nothing_in_the_loss(loss):
    half = LOGITS.bfloat16()
    assert loss(half, TARGET).dtype == torch.float32
    assert loss(half, TARGET).item() == loss(half.float(), TARGET).item()


def test_a_share_of_one_for_smoothing_is_refused():
    with pytest.raises(ValueError, match="0 to below 1"):
        soft_targets(TARGET, CLASSES, 1.0)


# --- mixing ------------------------------------------------------------------------------------------------------


class NumpysGlobal:
    """A Generator's methods, answered from numpy's global state: what timm draws from."""

    random = staticmethod(np.random.random)
    beta = staticmethod(np.random.beta)
    integers = staticmethod(np.random.randint)


def pictures(batch: int = 6, height: int = 9, width: int = 13) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("mixup, cutmix", ((0.2, 0.0), (0.0, 1.0), (0.8, 1.0)))
@pytest.mark.parametrize("probability", (1.0, 0.6))
def test_mixing_is_that_of_timm_on_the_same_random_numbers(mixup, cutmix, probability):
    peer = Mixup(mixup, cutmix, prob=probability, label_smoothing=0.1, num_classes=CLASSES)
    mine = Mixing(CLASSES, mixup, cutmix, probability, smoothing=0.1)
    seen = set()
    for seed in range(20):
        np.random.seed(seed)
        expected, expected_target = peer(pictures(), TARGET)
        np.random.seed(seed)
        draw = mine.draw(NumpysGlobal(), 9, 13)
        found, target = mine.apply(pictures(), TARGET, draw)
        assert torch.allclose(found, expected, atol=1e-6), draw
        assert torch.allclose(target, expected_target, atol=1e-6), draw
        seen.add("none" if draw.share == 1 else "mixup" if draw.box is None else "cutmix")
    assert ("mixup" in seen) == (mixup > 0) and ("cutmix" in seen) == (cutmix > 0)
    assert ("none" in seen) >= (probability < 1)


def test_the_share_of_a_pasted_picture_is_what_stays_of_it():
    mine = Mixing(CLASSES, cutmix=1.0)
    ones = torch.ones(2, 1, 32, 40)
    ones[1] = 0
    for step in range(30):
        draw = mine.draw(generator(0, Purpose.MIXING, step), 32, 40)
        mixed, target = mine.apply(ones, torch.tensor([2, 4]), draw)
        assert mixed[0].mean().item() == pytest.approx(draw.share, abs=1e-6)
        assert target[0, 2].item() == pytest.approx(draw.share, abs=1e-6)
        assert target.sum(1).tolist() == pytest.approx([1, 1])


def test_a_step_draws_the_same_whenever_it_is_asked_and_steps_differ():
    mine = Mixing(CLASSES, 0.2, 1.0)
    first, again = ([mine.draw(generator(5, Purpose.MIXING, s), 64, 64) for s in range(50)] for _ in range(2))
    assert first == again and len({draw.share for draw in first}) > 40
    rng = generator(5, Purpose.MIXING, 0)
    state = rng.bit_generator.state
    ahead = [mine.draw(rng, 64, 64) for _ in range(5)]
    rng.bit_generator.state = state  # one that is kept running can be put back, too
    assert [mine.draw(rng, 64, 64) for _ in range(5)] == ahead


def test_pictures_that_are_handed_in_are_left_alone():
    before, mine = pictures(), Mixing(CLASSES, 0.2, 1.0)
    for draw in (Draw(), Draw(0.3), Draw(0.5, (0, 4, 0, 4))):
        given = before.clone()
        mine.apply(given, TARGET, draw)
        assert given.equal(before)


@pytest.mark.parametrize("wrong", ({"mixup": -1.0}, {"probability": 1.5}, {"switch": -0.1}))
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Mixing(CLASSES, **{"mixup": 0.2, **wrong})
