"""The learning rate of every step is that of timm's and of torch's schedulers, warm-up included."""

from importlib import import_module

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as schedulers

from netwright.tune.schedule import Schedule
from peers import timm

CosineLRScheduler = import_module(f"{timm.__name__}.scheduler").CosineLRScheduler

EPOCHS, STEPS = 12, 7  # and steps in an epoch


def optimiser(lr: float = 0.4) -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)


@pytest.mark.parametrize("prefix", (False, True))
@pytest.mark.parametrize("warmup", (0, 3))
def test_a_cosine_by_epochs_is_that_of_timm(warmup, prefix):
    theirs = optimiser()
    length = EPOCHS - warmup if prefix else EPOCHS
    peer = CosineLRScheduler(
        theirs, t_initial=length, lr_min=1e-3, warmup_t=warmup, warmup_lr_init=0.01, warmup_prefix=prefix
    )
    mine = Schedule(
        "cosine", 0.4, EPOCHS * STEPS, STEPS, "epoch", 1e-3, warmup_epochs=warmup, warmup_lr=0.01, warmup_prefix=prefix
    )
    for epoch in range(EPOCHS + 1):
        peer.step(epoch)
        for step in range(epoch * STEPS, (epoch + 1) * STEPS):
            assert mine.rate(step) == pytest.approx(theirs.param_groups[0]["lr"], abs=1e-15), (epoch, step)


@pytest.mark.parametrize("prefix", (False, True))
def test_a_cosine_by_steps_is_that_of_timm(prefix):
    theirs, warmup = optimiser(), 2 * STEPS
    peer = CosineLRScheduler(
        theirs,
        t_initial=EPOCHS * STEPS - prefix * warmup,
        warmup_t=warmup,
        warmup_lr_init=0.05,
        warmup_prefix=prefix,
        t_in_epochs=False,
    )
    mine = Schedule("cosine", 0.4, EPOCHS * STEPS, STEPS, warmup_epochs=2, warmup_lr=0.05, warmup_prefix=prefix)
    for step in range(EPOCHS * STEPS + 3):
        peer.step_update(step)
        assert mine.rate(step) == pytest.approx(theirs.param_groups[0]["lr"], abs=1e-15), step


def test_a_cosine_after_a_warmup_is_that_of_torch():
    theirs, warmup = optimiser(), 3 * STEPS
    peer = schedulers.SequentialLR(
        theirs,
        [
            schedulers.LinearLR(theirs, start_factor=0.25, total_iters=warmup),
            schedulers.CosineAnnealingLR(theirs, EPOCHS * STEPS - warmup, eta_min=1e-4),
        ],
        milestones=[warmup],
    )
    mine = Schedule("cosine", 0.4, EPOCHS * STEPS, STEPS, min_lr=1e-4, warmup_epochs=3, warmup_lr=0.1)
    for step in range(EPOCHS * STEPS):
        assert mine.rate(step) == pytest.approx(theirs.param_groups[0]["lr"], abs=1e-12), step
        theirs.step()
        peer.step()


def test_stairs_are_those_of_torch_and_a_constant_stays():
    theirs = optimiser()
    peer = schedulers.MultiStepLR(theirs, milestones=[4, 9], gamma=0.1)
    stairs = Schedule("stairs", 0.4, EPOCHS * STEPS, STEPS, stairs=(4, 9))
    constant = Schedule("constant", 0.4, EPOCHS * STEPS, STEPS)
    for epoch in range(EPOCHS):
        for step in range(epoch * STEPS, (epoch + 1) * STEPS):
            assert stairs.rate(step) == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)
            assert constant.rate(step) == 0.4
        theirs.step()
        peer.step()


def test_each_group_gets_its_own_share():
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr_scale": share} for share in (1.0, 0.25)]
    mine = torch.optim.SGD(groups, lr=123.0)
    schedule = Schedule("cosine", 0.4, 10, 5)
    assert schedule.apply(mine, 5) == pytest.approx(0.2)
    assert [group["lr"] for group in mine.param_groups] == pytest.approx([0.2, 0.05])


@pytest.mark.parametrize(
    "wrong, words", (({"kind": "poly"}, "poly"), ({"every": "minute"}, "minute"), ({"steps": 0}, "at least one"))
)
def test_errors_name_the_way_out(wrong, words):
    with pytest.raises(ValueError, match=words):
        Schedule(**{"kind": "cosine", "lr": 0.1, "steps": 10, "steps_per_epoch": 5, **wrong})
