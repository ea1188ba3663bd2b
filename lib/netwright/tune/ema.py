"""A second net that is the running mean of the one in training, and mostly better than it. Imports torch."""

import copy

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of a net (Polyak and Juditsky 1992): `ema.net`, to be evaluated in place of it.

    Weights and the statistics of BatchNorm are averaged alike: statistics of the newest weights do not fit averaged
    ones. What counts (num_batches_tracked) is copied. `ema.net` is in evaluation mode and needs no gradient.

    decay: the share of the old average that a step keeps; 0.999 remembers about the last 1,000 steps. With
    `warmup` the share grows with the step t, 1 - (1 + t) ** (-2 / 3) up to `decay`, so that a short run, or one from
    random weights, forgets where it began.
    """

    def __init__(self, net: nn.Module, decay: float, *, warmup: bool = False):
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay} is no share to be kept: choose a number from 0 to below 1.")
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.decay, self.warmup, self.updates = decay, warmup, 0

    def decay_now(self) -> float:
        """The share that the next update keeps."""
        return min(self.decay, 1 - (1 + self.updates) ** (-2 / 3)) if self.warmup else self.decay

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Take in `net` as it is after an optimiser step."""
        new = net.state_dict()
        if self.net.state_dict().keys() != new.keys():
            raise ValueError("This is not the net that the average is of: their parameters have other names.")
        averaged: list[tuple[Tensor, Tensor]] = []
        for name, mean in self.net.state_dict().items():
            if mean.is_floating_point():
                averaged.append((mean, new[name].to(mean.dtype)))
            else:
                mean.copy_(new[name])
        means, values = zip(*averaged, strict=True)
        torch._foreach_lerp_(means, values, 1 - self.decay_now())
        self.updates += 1

    def state_dict(self) -> dict:
        """For a checkpoint: the averaged net and the number of updates."""
        return {"net": self.net.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict) -> None:
        self.net.load_state_dict(state["net"])
        self.updates = state["updates"]
