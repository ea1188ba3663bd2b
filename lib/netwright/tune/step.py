"""One optimiser step, whatever it is made of: mixing, autocast, accumulation, several devices. Imports tune, evaluate, ranks."""

import contextlib
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from netwright.datasets.inputs import Batch
from netwright.evaluate.predictions import PRECISIONS, autocast
from netwright.ranks import ranks
from netwright.tune.parts import Parts
from netwright.tune.randomness import Purpose, generator


class Taken(NamedTuple):
    """What a step was: this rank's part of the loss (parts add up), learning rate, norm of the gradient if clipped."""

    loss: Tensor
    rate: float
    grad_norm: Tensor | None


class TrainingStep:
    """`step(t, batches)`: optimiser step t, counted from 0 over the whole training, on this rank's share of a batch.

    net: the bare net. forward: the same net as it is to be called, compiled or wrapped for several devices; None for
    the net itself. batch: pictures of a step over all devices; the loss is their mean however they are dealt out.
    precision: a key of PRECISIONS; weights stay float32, and with "fp16" the loss is scaled so that small gradients
    survive. Dropout and its kin draw from torch's generator, which is seeded anew for each step and rank: so a step
    depends on nothing but its number and the net, and resuming needs no random state.
    """

    def __init__(
        self,
        net: nn.Module,
        parts: Parts,
        *,
        batch: int,
        epochs: int,
        seed: int = 0,
        precision: str = "fp32",
        forward: nn.Module | None = None,
    ):
        if precision not in PRECISIONS:
            raise ValueError(f"precision={precision!r} is unknown: choose one of {', '.join(PRECISIONS)}.")
        self.net, self.parts, self.batch, self.epochs, self.seed = net, parts, batch, epochs, seed
        self.forward = net if forward is None else forward
        self.device = next(net.parameters()).device
        self.precision = precision
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        self.clipped = [p for group in parts.optimiser.param_groups for p in group["params"]]

    def __call__(self, step: int, batches: Iterable[Batch]) -> Taken:
        """`batches`: as many as gradients are accumulated over, each on the CPU; the last one updates the net."""
        parts, here = self.parts, ranks()
        torch.manual_seed(int(generator(self.seed, Purpose.DROPPING, step, here.rank).integers(2**63)))
        if parts.drop_block:
            parts.drop_block.set_epoch(step // parts.schedule.steps_per_epoch, self.epochs)
        rate = parts.schedule.apply(parts.optimiser, step)
        self.net.train()

        batches = list(batches)
        total = torch.zeros((), device=self.device)
        for i, batch in enumerate(batches):
            with self._gradients_stay_here() if i < len(batches) - 1 else contextlib.nullcontext():
                loss = self.loss(step, batch) * (len(batch.targets) / self.batch)
                # DistributedDataParallel takes the mean over ranks, and these parts are to be added up.
                self.scaler.scale(loss * here.world).backward()
            total += loss.detach()
        return Taken(total, rate, self.update())

    def loss(self, step: int, batch: Batch) -> Tensor:
        """The mean loss over one batch, mixed if the recipe says so."""
        images = batch.images.to(self.device, non_blocking=True)
        if images.is_floating_point() and self._channels_last():
            images = images.contiguous(memory_format=torch.channels_last)
        target = batch.targets.to(self.device, non_blocking=True)
        if self.parts.mixing:
            draw = self.parts.mixing.draw(generator(self.seed, Purpose.MIXING, step), *images.shape[2:])
            images, target = self.parts.mixing.apply(images, target, draw)
        with autocast(self.device, self.precision):
            logits = self.forward(images)
        return self.parts.loss(logits, target)

    def update(self) -> Tensor | None:
        """Let the optimiser move the net by the gradients that have come together; the norm that they had."""
        parts, norm = self.parts, None
        if parts.clip_norm:
            self.scaler.unscale_(parts.optimiser)
            norm = torch.nn.utils.clip_grad_norm_(self.clipped, parts.clip_norm)
        self.scaler.step(parts.optimiser)
        self.scaler.update()
        parts.optimiser.zero_grad(set_to_none=True)
        if parts.ema:
            parts.ema.update(self.net)
        return norm

    def _gradients_stay_here(self):
        wrapped = isinstance(self.forward, nn.parallel.DistributedDataParallel)
        return self.forward.no_sync() if wrapped else contextlib.nullcontext()

    def _channels_last(self) -> bool:
        return next(p for p in self.net.parameters() if p.ndim == 4).is_contiguous(memory_format=torch.channels_last)

    def state_dict(self) -> dict:
        """For a checkpoint: everything that a step changes."""
        ema = self.parts.ema
        return {
            "net": self.net.state_dict(),
            "optimiser": self.parts.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema": ema.state_dict() if ema else None,
        }

    def load_state_dict(self, state: dict) -> None:
        self.net.load_state_dict(state["net"])
        self.parts.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        if self.parts.ema:
            self.parts.ema.load_state_dict(state["ema"])
