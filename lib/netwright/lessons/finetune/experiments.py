"""What notebook 10 tries out for real: trainings by hand, one that is killed, and a number that was peeked at.

Imports datasets, models and tune.
"""

import contextlib
import copy
import html
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netwright.datasets import Inputs, PictureSet, loader
from netwright.datasets.inputs import Batch
from netwright.models import transform_for
from netwright.tune.finetune import Run
from netwright.tune.history import JournalError, read_log
from netwright.tune.options import Options
from netwright.tune.parts import augmentation_for, order_for
from netwright.tune.recipes import Recipe
from netwright.tune.samplers import TrainBatches

PATIENCE = 120  # seconds that a process may go without a new line in its log
CLOCK = {"time", "seconds", "pictures_per_second", "waiting", "memory"}  # what no two runs have alike

# By hand -----------------------------------------------------------------------------------------------------------


def train_classifier(net: nn.Module, images: Tensor, targets: Tensor, *, steps: int = 20, batch: int = 24) -> None:
    """The loop of many a tutorial: net.train(), an optimiser over what wants a gradient, and steps."""
    chance = torch.Generator().manual_seed(0)
    net.train()
    optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.05, momentum=0.9)
    for _ in range(steps):
        some = torch.randperm(len(images), generator=chance)[:batch]
        loss = F.cross_entropy(net(images[some]), targets[some])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def batches_of(recipe: Recipe, pictures: PictureSet, net: nn.Module, *, batch: int, epochs: int) -> list[Batch]:
    """The batches that a training by `recipe` is shown, augmented, in their order."""
    inputs = Inputs(pictures, augmentation_for(recipe, transform_for(net)))
    return list(loader(inputs, TrainBatches(order_for(recipe, len(pictures)), batch, epochs=epochs)))


class Average:
    """A running mean of a net by an `update` of the reader's own, as exercise `finetune.average` asks for it."""

    def __init__(self, net: nn.Module, take_in: Callable, decay: float):
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.take_in, self.decay, self.updates = take_in, decay, 0

    def update(self, net: nn.Module) -> None:
        """Take in `net` as it is after a step."""
        self.take_in(self.net, net, decay=self.decay, updates=self.updates)
        self.updates += 1


def largest_gap(one: nn.Module, other: nn.Module, start: nn.Module) -> float:
    """The largest difference between two trained nets, as a share of the farthest that a number has come from `start`."""
    trained = [(a, b, c) for a, b, c in zip(*(net.state_dict().values() for net in (one, other, start)), strict=True)]
    gap = max((a - b).abs().max().item() for a, b, _ in trained)
    return gap / max((b - c).abs().max().item() for _, b, c in trained if b.is_floating_point())


def contents(report: Path) -> list[str]:
    """The headings of a report, an HTML file."""
    return [html.unescape(heading) for heading in re.findall(r"<h2[^>]*>([^<]*)</h2>", report.read_text("utf-8"))]


# A kill ------------------------------------------------------------------------------------------------------------


def train_and_kill(data: str | Path, *, after: int, **options) -> int:
    """`python -m netwright finetune …` in a process of its own, killed after so many steps; the last one it logged.

    options: as of `finetune`, with `out`. The process is killed as an operating system kills: it is not asked, and
    cannot clean up. Raises RuntimeError where it ended by itself, or logs nothing.
    """
    asked = Options(data=str(data), **options)
    command = [sys.executable, *shlex.split(asked.command())[1:]]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    # With another number of threads, sums are added up in another order and differ in the last digits.
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen(command, env=os.environ | threads, **quiet) as process:
        try:
            done = _wait_for_step(process, asked.folder(), after)
        finally:
            process.kill()
    return done


def _wait_for_step(process: subprocess.Popen, folder: Path, after: int) -> int:
    seen, patient_until = 0, time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(JournalError, IndexError):  # no log yet, or no step in it
            step = read_log(folder).steps[-1]["step"]
            if step >= after:
                return step
            if step > seen:
                seen, patient_until = step, time.monotonic() + PATIENCE
        if process.poll() is not None:
            said = process.stderr.read().decode(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"The training ended by itself, with status {process.returncode}. {' '.join(said)}")
        if time.monotonic() > patient_until:
            raise RuntimeError(f"The training in {folder} has not got beyond step {seen} for {PATIENCE} seconds.")
        time.sleep(0.01)


def differences(one: Run, other: Run) -> dict[str, tuple[int, int]]:
    """How many numbers differ between two runs, and of how many: in the nets that were kept, and in the logs.

    Equal means to the last bit. What only a clock can tell is left out of the logs.
    """
    states = [run.net.state_dict() for run in (one, other)]
    unequal = sum((a != b).sum().item() for a, b in zip(*(state.values() for state in states), strict=True))
    logs = [[_numbers(line) for line in (*run.history.steps, *run.history.epochs)] for run in (one, other)]
    pairs = [pair for lines in zip(*logs, strict=True) for pair in zip(*lines, strict=True)]
    return {
        "the net": (unequal, sum(tensor.numel() for tensor in states[0].values())),
        "the log": (sum(a != b for a, b in pairs), len(pairs)),
    }


def _numbers(line: dict) -> list:
    return [value for name, value in line.items() if name not in CLOCK]


# Peeking -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Peeked:
    """Of many trainings, each chosen among its epochs: top-1 in points, float64 (runs,).

    told: on the `judge` pictures by which the epoch was chosen. fresh: of the same epoch on as many others. true: of
    the same epoch on all the rest.
    """

    judge: int

    told: np.ndarray
    fresh: np.ndarray
    true: np.ndarray


def peek(
    features: Tensor,
    targets: Tensor,
    *,
    runs: int = 200,
    train: int = 60,
    judge: int = 60,
    epochs: int = 40,
    rate: float = 0.5,
    seed: int = 0,
) -> Peeked:
    """Train many classifiers on features (pictures, channels) of a frozen net, and keep of each its best epoch.

    Each run draws its own pictures: `train` to learn from, `judge` to choose the epoch by, `judge` that had no say;
    the rest, which nobody has in real life, says what is true. All runs are trained side by side, by plain SGD.
    """
    chance = torch.Generator().manual_seed(seed)
    mean, deviation = features.mean(0), features.std(0)
    features = (features - mean) / (deviation + 1e-6)
    classes = int(targets.max()) + 1
    order = torch.stack([torch.randperm(len(features), generator=chance) for _ in range(runs)])  # (runs, pictures)
    learn, choose, fresh, rest = order.split([train, judge, judge, len(features) - train - 2 * judge], dim=1)
    weight = torch.zeros(runs, features.shape[1], classes)
    velocity = torch.zeros_like(weight)
    accuracy = []
    for _ in range(epochs):
        shuffled = learn.gather(1, torch.rand(learn.shape, generator=chance).argsort(1))
        for some in shuffled.split(15, dim=1):
            x = features[some]  # (runs, batch, channels)
            gap = (x @ weight).softmax(2) - torch.nn.functional.one_hot(targets[some], classes)
            velocity = 0.9 * velocity + x.transpose(1, 2) @ gap / some.shape[1]
            weight = weight - rate / features.shape[1] ** 0.5 * velocity
        right = _right(features, targets, weight)
        accuracy.append(torch.stack([right.gather(1, some).double().mean(1) for some in (choose, fresh, rest)]))
    table = 100 * torch.stack(accuracy)  # (epochs, 3, runs)
    best = table[:, 0].argmax(0)
    told, fresh, true = (table[best, which, torch.arange(runs)].numpy() for which in range(3))
    return Peeked(judge, told, fresh, true)


def _right(features: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """Which pictures each run's classifier answers right, bool (runs, pictures)."""
    channels, classes = weight.shape[1:]
    logits = features @ weight.permute(1, 0, 2).reshape(channels, -1)  # all runs in one product
    return (logits.view(len(features), -1, classes).argmax(2) == targets[:, None]).T
