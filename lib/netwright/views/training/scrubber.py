"""A slider through a training: what the net made of one picture after every epoch. Imports summary, trained, models.

A finetuning that was started with --keep-epochs can be looked back through; four trainings of the toy nets are
recorded in data/toy/trainings.json, which tests/make_trainings.py makes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from netwright import figures, paths, trained
from netwright.figures import Picture
from netwright.models import load_run
from netwright.probing.capture import Probe, probe
from netwright.toys import ToyWorld
from netwright.views.training.summary import summarise
from netwright.views.view import Identity, NotInThisNet, View

RECORD = "toy/trainings.json"


class Scrubber(View):
    """One picture after every epoch of a training. Made by `of_run` or `recorded`.

    data: epochs: summaries (`summary.summarise`) with "epoch" and "top1", the accuracy on the validation split then;
    twin: that of the last net with random weights; target: a name; picture; title.
    """

    script = "scrubber"
    height = 680

    def __init__(self, title: str, picture: Image.Image, target: str, epochs: Sequence[dict], twin: dict):
        self.title, self._picture, self._target = title, picture, target
        self._epochs, self._twin = list(epochs), twin

    @classmethod
    def of_run(cls, folder: str | Path, image, target: int | str | None = None) -> Scrubber:
        """Look back through a run's folder at `image`; target: a class, by default the last net's likeliest.

        Raises NotTrainedHere where the run kept no epochs, and what opening a picture raises.
        """
        files = trained.epoch_files(folder)
        last = probe(load_run(files[-1]), image)
        target = last.target(target)
        return cls(
            f"{trained.about(files[-1])['model']} in {Path(folder).name}, epoch by epoch",
            last.picture,
            last.class_names[target],
            [of_epoch(file, image, target) for file in files],
            summarise(last.twin(), target),
        )

    @classmethod
    def recorded(cls, name: str) -> Scrubber:
        """A recorded training of a toy net. Raises NotInThisNet for another."""
        record = json.loads(paths.data(RECORD).read_text(encoding="utf-8"))
        if name not in record["nets"]:
            raise NotInThisNet(
                f"No training of {name!r} was recorded; there are those of {', '.join(record['nets'])}. Train with "
                "--keep-epochs, and look back with Scrubber.of_run(folder, image)."
            )
        found = record["nets"][name]
        image = ToyWorld(record["split"])[found["picture"]]["image"]
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        return cls(f"{name} being trained, epoch by epoch", picture, found["target"], found["epochs"], found["twin"])

    @cached_property
    def data(self) -> dict[str, Any]:
        return {"epochs": self._epochs, "twin": self._twin, "target": self._target, "picture": self._picture}

    def identities(self) -> list[Identity]:
        """Of every epoch: the class map and the bias sum to the logit, the three masses of an attention to 1."""
        gaps, off = [], []
        for it in [*self._epochs, self._twin]:
            gaps.append(abs(np.sum(it["class_map"]) + it["bias"] - it["logit"]) / max(abs(it["logit"]), 1))
            layers: dict[str, float] = {}
            for name, value in it["measures"].items():
                layer, _, what = name.partition(": ")
                if what in ("own block", "halo ring", "padding"):
                    layers[layer] = layers.get(layer, 0) + value
            off += [abs(total - 1) for total in layers.values()]
        found = [Identity("class map and bias sum to the logit, each epoch", float(max(gaps)))]
        return found + ([Identity("attention masses sum to 1", float(max(off)))] if off else [])

    def _curve(self, name: str) -> list[float]:
        return [it["measures"][name] for it in self._epochs]

    @property
    def alt(self) -> str:
        first, last = self._epochs[0], self._epochs[-1]
        moved = "; ".join(
            f"{name} from {self._curve(name)[0]:.2g} to {self._curve(name)[-1]:.2g} (random twin {self._twin['measures'][name]:.2g})"
            for name in last["measures"]
        )
        return (
            f"{self.title}: {len(self._epochs)} epochs. The probability of “{self._target}” goes from "
            f"{first['probability']:.1%} to {last['probability']:.1%}, the accuracy from {first['top1']:.1%} to "
            f"{last['top1']:.1%}. {moved}."
        )

    def figure(self) -> Picture:
        measures = list(self._epochs[0]["measures"])
        figure, (answers, inside) = figures.subplots(1, 2, figsize=(9.0, 3.8))
        epochs = [it["epoch"] for it in self._epochs]
        answers.plot(epochs, [it["probability"] for it in self._epochs], label=f"probability of “{self._target}”")
        answers.plot(epochs, [it["top1"] for it in self._epochs], "--", label="accuracy on the validation split")
        answers.set_ylim(0, 1.02)
        shares = [name for name in measures if "terms" not in name] or measures
        styles = ("-", "--", "-.", ":")
        for i, name in enumerate(shares):
            inside.plot(epochs, self._curve(name), styles[i // len(figures.CYCLE) % 4], label=name)
        inside.set_ylim(bottom=0)
        for axis in (answers, inside):
            axis.set_xlabel("epoch")
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), fontsize=9)
        return figures.show(figure, self.alt)


def of_epoch(file: Path, image, target: int | str) -> dict[str, Any]:
    """The summary of a kept epoch, with its number, counted from 1, and its accuracy."""
    line = trained.about(file)["epoch"]
    top1 = line["ema_val_top1"] if line.get("ema_val_top1") is not None else line["val_top1"]
    found = Probe(load_run(file), image)
    return {"epoch": line["epoch"] + 1, "top1": top1, **summarise(found, target)}
