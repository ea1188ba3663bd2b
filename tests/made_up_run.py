"""A training that never was: a history, and answers of a net, to draw and to report on."""

import math

import torch

from netwright.datasets import PictureSet
from netwright.evaluate.predictions import Predictions
from netwright.tune.history import History

STEPS = 20  # an epoch


def history(epochs: int = 6, *, planned: int | None = None, averaged: bool = True, **start) -> History:
    """A training that learns, with a line every fifth step; over if it has all its `planned` epochs."""
    planned = planned or epochs
    made = History()
    made.add(
        {
            "kind": "start",
            "time": "2026-03-04T09:12:44+00:00",
            "command": "python -m netwright finetune flowers --model resnest50d --recipe layerwise --out runs/flowers",
            "options": {"data": "flowers", "model": "resnest50d", "batch": None, "settings": ["augmentation.flip=0"]},
            "recipe": "layerwise",
            "data": "flowers",
            "train_pictures": 2560,
            "parameters": 25_434_240,
            "trained_parameters": 25_434_240,
            "device": "a made-up device",
            "torch": "2.13.0",
            "seed": 7,
            "steps_per_epoch": STEPS,
            "epochs": planned,
            **start,
        }
    )
    for e in range(epochs):
        for t in range(e * STEPS + 5, (e + 1) * STEPS + 1, 5):
            made.add({"kind": "step", "epoch": e, "step": t, "loss": 3 * math.exp(-t / 60), "rate": 0.1 / t})
        top1 = 0.9 - 0.6 * math.exp(-e) - (0.02 if e == 5 else 0)  # the sixth is worse than the fifth
        line = {"kind": "epoch", "epoch": e, "step": (e + 1) * STEPS, "train_loss": 1.0, "val_loss": 2 * math.exp(-e)}
        line |= {"val_top1": top1, "seconds": 12.0, "pictures_per_second": 210.0, "waiting": 0.02, "best": e != 5}
        line |= {"ema_val_top1": top1 + 0.01, "ema_val_loss": 2.5 * math.exp(-e)} if averaged else {}
        made.add(line)
    if epochs == planned:
        bad = [["flowers/rose/<b>torn</b>.jpg", "The image is cut off."]]
        made.add({"kind": "end", "time": "", "seconds": 3725.0, "best_epoch": 4, "bad": bad})
    return made


def predictions(pictures: PictureSet, classes: int | None = None, *, strength: float = 3.0) -> Predictions:
    """Answers that are mostly right; every fourth class is often taken for the next one."""
    random, targets = torch.Generator().manual_seed(0), torch.from_numpy(pictures.targets)
    n, classes = len(pictures), classes or len(pictures.class_names)
    logits = torch.randn(n, classes, generator=random)
    logits[torch.arange(n), targets] += strength
    logits[torch.arange(n), (targets + 1) % classes] += 2.5 * (targets % 4 == 0)
    return Predictions(logits, targets, torch.arange(n), pictures.name, pictures.class_names)
