"""Exercise `finetune.resume`: what has to be written down so that a killed training goes on as if nothing had been.

Imports the engine, tune.ema and, of this room, trials.
"""

import io
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional as F

from netwright.lessons.engine import Check
from netwright.lessons.finetune.rates import rate
from netwright.lessons.finetune.trials import numbers, pictures, small_net
from netwright.tune.ema import Ema

STEPS = 6


class Training:
    """A training of six steps, small enough to be killed at any of them. What it consists of:

    net, optimiser (SGD with momentum), ema (the average: `ema.net` and its count of updates), chance (a torch.Generator
    that chooses the pictures of every step), done (how many steps), best (the lowest loss so far, or None).
    """

    def __init__(self):
        self.net = small_net()
        self.optimiser = torch.optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9)
        self.ema = Ema(self.net, 0.9, warmup=True)
        self.chance = torch.Generator().manual_seed(5)
        self.done = 0
        self.best = None
        self.images, self.targets = pictures(24)

    def train(self, steps: int) -> None:
        """So many steps more."""
        for _ in range(steps):
            some = torch.randperm(len(self.images), generator=self.chance)[:6]
            for group in self.optimiser.param_groups:
                group["lr"] = rate(self.done, steps=STEPS, warmup=2, peak=0.3, last=0.0)
            self.net.train()
            loss = F.cross_entropy(self.net(self.images[some]), self.targets[some])
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.ema.update(self.net)
            self.best = loss.item() if self.best is None else min(self.best, loss.item())
            self.done += 1


class Resumable(Training):
    """A training that can be written down, as plain data and tensors, and gone on with."""

    def state(self) -> dict:
        """All that makes this training what it is now."""
        return {
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "ema": self.ema.state_dict(),
            "chance": self.chance.get_state(),
            "done": self.done,
            "best": self.best,
        }

    def go_on(self, state: dict) -> None:
        """Become the training that `state` was taken from."""
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.ema.load_state_dict(state["ema"])
        self.chance.set_state(state["chance"])
        self.done, self.best = state["done"], state["best"]


def _measure(theirs: type[Training]) -> Iterator[tuple[str, Any]]:
    """Killed after some steps and gone on with in a fresh object, from a file that holds nothing but data."""
    for kill in (4, 1):
        training = theirs()
        training.train(kill)
        file = io.BytesIO()
        torch.save(training.state(), file)
        del training
        file.seek(0)
        resumed = theirs()
        resumed.go_on(torch.load(file, weights_only=True))
        where = f"of a training killed after {kill} of {STEPS} steps"
        yield f"the net {where}, when it goes on,", numbers(resumed.net)
        yield f"the average {where}, when it goes on,", numbers(resumed.ema.net)
        yield f"the lowest loss {where}, when it goes on,", resumed.best
        resumed.train(1)
        yield f"the net {where}, one step later,", numbers(resumed.net)
        resumed.train(STEPS - kill - 1)
        yield f"the net {where}, at its end,", numbers(resumed.net)
        yield f"the average {where}, at its end,", numbers(resumed.ema.net)


# What goes wrong ---------------------------------------------------------------------------------------------------


def _without(*lost: str) -> type[Training]:
    """A training that forgets some of itself."""

    class Forgetful(Training):
        def state(self) -> dict:
            return {name: value for name, value in Resumable.state(self).items() if name not in lost}

        def go_on(self, state: dict) -> None:
            Resumable.go_on(self, Resumable.state(self) | state)

    return Forgetful


class _ParametersOnly(Resumable):
    def state(self):
        return super().state() | {"net": {name: p.detach() for name, p in self.net.named_parameters()}}

    def go_on(self, state):
        super().go_on(state | {"net": self.net.state_dict() | state["net"]})


class _WholeObjects(Resumable):
    def state(self):
        return {"net": self.net, "optimiser": self.optimiser, "ema": self.ema, "done": self.done, "best": self.best}

    def go_on(self, state):
        self.net, self.optimiser, self.ema = state["net"], state["optimiser"], state["ema"]
        self.done, self.best = state["done"], state["best"]


class _AverageAnew(Resumable):
    def go_on(self, state):
        super().go_on(state)
        self.ema = Ema(self.net, 0.9, warmup=True)


class _UpdatesFromZero(Resumable):
    def go_on(self, state):
        super().go_on(state)
        self.ema.updates = 0


class _AverageAsNet(Resumable):
    def go_on(self, state):
        super().go_on(state)
        self.net.load_state_dict(state["ema"]["net"])


class _OneTooFar(Resumable):
    def go_on(self, state):
        super().go_on(state)
        self.done += 1


CHECKS = (
    Check(
        id="finetune.resume",
        minutes=8,
        difficulty="hard",
        ours=Resumable,
        measure=_measure,
        mistakes={
            "that forgets the optimiser, and with it its momentum": _without("optimiser"),
            "that forgets the average, so that it is that of an untrained net": _without("ema"),
            "that begins the average anew, from the net it finds": _AverageAnew,
            "that forgets how many updates the average has had, and makes its gentle start again": _UpdatesFromZero,
            "that forgets how many steps are done, and warms up again": _without("done"),
            "that counts the step it was killed in twice": _OneTooFar,
            "that forgets where chance stood, so that the pictures of the first steps come again": _without("chance"),
            "that forgets the best so far, so that a worse epoch would take its place": _without("best"),
            "that forgets the net": _without("net"),
            "that saves parameters and no buffers: BatchNorm starts with statistics of an untrained net": _ParametersOnly,
            "that goes on with the average in place of the net": _AverageAsNet,
            "that saves whole objects: a file of these is a program, and is not opened here": _WholeObjects,
        },
        hints=(
            (
                "Six things: see what Training.__init__ makes. (The pictures are on your disk anyway.) Two of them are plain "
                "numbers."
            ),
            (
                "net, optimiser and ema each have state_dict() and load_state_dict(…); of a net that includes the buffers. A "
                "torch.Generator has get_state() and set_state(…)."
            ),
            (
                "Data, not objects: {'net': self.net.state_dict(), …, 'chance': self.chance.get_state(), 'done': self.done, "
                "'best': self.best}; and go_on puts each back in its place."
            ),
        ),
    ),
)
