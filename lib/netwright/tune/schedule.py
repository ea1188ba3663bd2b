"""The learning rate as a function of the step: constant, stairs or cosine, with a warm-up. Imports torch for a type.

A function has no state: a resumed run asks for its step, and gets the rate that it would have had.
"""

import math
from dataclasses import dataclass
from typing import Literal

from torch.optim import Optimizer


@dataclass(frozen=True)
class Schedule:
    """`rate(step)` for `steps` optimiser steps, of which an epoch has `steps_per_epoch`; step counts from 0.

    kind "cosine" falls from `lr` to `min_lr` along half a cosine (Loshchilov and Hutter 2017); "stairs" multiplies
    by `stair_factor` at each of `stairs`, in epochs; "constant" stays.

    The warm-up rises in a straight line from `warmup_lr` to `lr` over `warmup_epochs` (Goyal et al. 2017). A cosine
    after it may be read in two ways. With `warmup_prefix`, it starts where the warm-up ends, at its top (torch,
    mmpretrain, the authors of ResNeSt). Without, it has been running unseen since step 0 and takes over in mid-fall
    (timm's default, and so the A1 nets).

    every "step": the rate moves after each step. every "epoch": it is held for an epoch, at its value at the
    epoch's first step, so that a warm-up over five epochs is a stair of five (timm's default).
    """

    kind: Literal["cosine", "stairs", "constant"]
    lr: float
    steps: int
    steps_per_epoch: int
    every: Literal["step", "epoch"] = "step"
    min_lr: float = 0.0
    warmup_epochs: float = 0
    warmup_lr: float = 0.0
    warmup_prefix: bool = True
    stairs: tuple[float, ...] = ()
    stair_factor: float = 0.1

    def __post_init__(self):
        if self.kind not in ("cosine", "stairs", "constant"):
            raise ValueError(f"Schedule {self.kind!r} is unknown: choose 'cosine', 'stairs' or 'constant'.")
        if self.every not in ("step", "epoch"):
            raise ValueError(f"every={self.every!r} is unknown: the rate moves every 'step' or every 'epoch'.")
        if min(self.steps, self.steps_per_epoch) < 1:
            raise ValueError(f"steps={self.steps}, steps_per_epoch={self.steps_per_epoch}: a run has at least one.")

    def rate(self, step: int) -> float:
        """The learning rate of optimiser step `step`; after the last step, that of the end."""
        if self.every == "epoch":
            step -= step % self.steps_per_epoch
        warmup = self.warmup_epochs * self.steps_per_epoch
        if step < warmup:
            return self.warmup_lr + step / warmup * (self.lr - self.warmup_lr)
        match self.kind:
            case "constant":
                return self.lr
            case "stairs":
                climbed = sum(step >= stair * self.steps_per_epoch for stair in self.stairs)
                return self.lr * self.stair_factor**climbed
            case "cosine":
                start = warmup if self.warmup_prefix else 0
                share = min(1.0, (step - start) / max(1, self.steps - start))
                return self.min_lr + (self.lr - self.min_lr) * (1 + math.cos(math.pi * share)) / 2

    def apply(self, optimiser: Optimizer, step: int) -> float:
        """Give every group its rate for `step`, times the group's own `lr_scale`; returns the rate."""
        rate = self.rate(step)
        for group in optimiser.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        return rate
