"""Exercise `finetune.average`: a second net that is the running mean of the one in training.

Imports the engine and, of this room, trials.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from netwright.lessons.engine import Check
from netwright.lessons.finetune.trials import numbers, small_net


@torch.no_grad()
def update(average: nn.Module, net: nn.Module, *, decay: float, updates: int) -> None:
    """Let `average`, in place, take in `net`; `updates`: how many times it has done so before."""
    keep = min(decay, 1 - (1 + updates) ** (-2 / 3))
    new = net.state_dict()
    for name, mean in average.state_dict().items():
        if mean.is_floating_point():
            mean.mul_(keep).add_(new[name], alpha=1 - keep)
        else:
            mean.copy_(new[name])  # a count


def _measure(theirs: Callable) -> Iterator[tuple[str, Any]]:
    """Late in a training, where the decay rules, and in its first steps."""
    for updates in ((100_000,), (0,), (5, 6)):
        net, average = small_net(seed=1), small_net(seed=2).requires_grad_(False)
        for count, done in enumerate(updates):
            with torch.no_grad():
                for name, tensor in net.state_dict().items():
                    tensor.add_(1 if name.endswith("tracked") else 0.1 * (count + 1))
            before = numbers(net)
            theirs(average, net, decay=0.9, updates=done)
            where = f"after {done:,} updates"
            parameters, buffers = dict(net.named_parameters()), dict(net.named_buffers())
            its = numbers(average)
            yield f"the average's weights {where}", {name: its[name] for name in parameters}
            yield f"the average's statistics {where}", {name: its[name] for name in buffers if "running" in name}
            yield f"the average's counts {where}", {name: its[name] for name in buffers if "tracked" in name}
            moved = max((net.state_dict()[name] - tensor).abs().max().item() for name, tensor in before.items())
            yield f"how far the net itself has moved {where}", moved
        with torch.no_grad():
            next(net.parameters()).add_(1.0)
        first = next(iter(its))
        yield f"the average's {first}, once the net has gone on without it,", numbers(average)[first]
        kept = [name for name, tensor in average.state_dict(keep_vars=True).items() if tensor.requires_grad]
        yield "the list of the average's tensors that remember how they were computed", {name: True for name in kept}


def _update(
    *,
    keep=lambda decay, updates: min(decay, 1 - (1 + updates) ** (-2 / 3)),
    statistics="mean",
    counts=True,
    share=lambda keep: keep,
):
    """`update` with one thing wrong in it."""

    @torch.no_grad()
    def wrong(average, net, *, decay, updates):
        kept, new = share(keep(decay, updates)), net.state_dict()
        buffers = dict(net.named_buffers())
        for name, mean in average.state_dict().items():
            if not mean.is_floating_point():
                if counts:
                    mean.copy_(new[name])
            elif name not in buffers or statistics == "mean":
                mean.mul_(kept).add_(new[name], alpha=1 - kept)
            elif statistics == "newest":
                mean.copy_(new[name])

    return wrong


@torch.no_grad()
def _moves_the_net(average, net, *, decay, updates):
    update(average, net, decay=decay, updates=updates)
    net.load_state_dict(average.state_dict())


@torch.no_grad()
def _takes_the_net(average, net, *, decay, updates):
    """Averages into new tensors that the net then shares."""
    update(average, net, decay=decay, updates=updates)
    for mean, new in zip(average.parameters(), net.parameters(), strict=True):
        new.copy_(mean)
        mean.data = new.data


def _remembers(average, net, *, decay, updates):
    update(average, net, decay=decay, updates=updates)
    for mean, new in zip(average.parameters(), net.parameters(), strict=True):
        mean.add_(new, alpha=0.0)  # outside of no_grad


@torch.no_grad()
def _a_copy(average, net, *, decay, updates):
    mean = copy.deepcopy(average)  # and the average itself is never touched
    update(mean, net, decay=decay, updates=updates)


CHECKS = (
    Check(
        id="finetune.average",
        minutes=5,
        difficulty="medium",
        ours=update,
        measure=_measure,
        mistakes={
            "that averages the weights and leaves BatchNorm's statistics where the training began": _update(
                statistics="old"
            ),
            "that copies BatchNorm's statistics from the newest net, whose weights they fit": _update(
                statistics="newest"
            ),
            "that keeps as much as it should take in, and takes in as much as it should keep": _update(
                share=lambda keep: 1 - keep
            ),
            "without the gentle start: it keeps the full decay from the first update on": _update(
                keep=lambda decay, updates: decay
            ),
            "that takes the larger of the two decays, and so never gets beyond the start": _update(
                keep=lambda decay, updates: max(decay, 1 - (1 + updates) ** (-2 / 3))
            ),
            "that forgets the decay and keeps ever more": _update(
                keep=lambda decay, updates: 1 - (1 + updates) ** (-2 / 3)
            ),
            "whose start counts one update too many": _update(
                keep=lambda decay, updates: min(decay, 1 - (2 + updates) ** (-2 / 3))
            ),
            "that leaves the counts where they were": _update(counts=False),
            "that is the newest net, and no average": _update(share=lambda keep: 0.0),
            "that moves the net along with the average": _moves_the_net,
            "that makes the two nets share their tensors": _takes_the_net,
            "that remembers how it was computed, step by step, until memory is full: torch.no_grad() is missing": _remembers,
            "that averages into a copy, and never changes the average it was given": _a_copy,
        },
        hints=(
            (
                "Everything that the net is made of has a name in net.state_dict(): weights, BatchNorm's statistics, and its "
                "counts of batches. The tensors in average.state_dict() are the average's own: change them in place."
            ),
            (
                "With keep = min(decay, 1 - (1 + updates) ** (-2 / 3)), every mean becomes keep * mean + (1 - keep) * new. "
                "The first update, with updates = 0, keeps nothing of a net that has learned nothing."
            ),
            (
                "mean.mul_(keep).add_(new, alpha=1 - keep) for what mean.is_floating_point(); a count has no mean, and is "
                "copied with mean.copy_(new). All under torch.no_grad()."
            ),
        ),
    ),
)
