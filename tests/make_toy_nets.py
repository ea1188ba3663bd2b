"""`make toys`: train the toy nets that ship with the workbook, five seeds each, judge them, and write data/toy/.

Every net is made by the workbook's own command, which stands in its card. Killed and started again, this goes on where
it stood. The weights that ship are those of seed 0, whichever seed turned out best; all five are reported.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from netwright import trained
from netwright.datasets import ToyPictures
from netwright.device import cores, device_name
from netwright.evaluate.metrics import Share, measure, share
from netwright.evaluate.predictions import Predictions, predict
from netwright.models import load_run
from netwright.nets.zoo import TOYS
from netwright.toys import CLASSES, ToyWorld, groups
from netwright.toys.ledger import FILE, card, findings, table
from netwright.tune.history import JournalError, read_log

ROOT = Path(__file__).parents[1]
DATA = (ROOT / "data" / FILE).parent
SEEDS = range(5)
ASPECTS = ("same", "beside", "near")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "toys", help="where the runs are kept")
    parser.add_argument("--jobs", type=int, default=cores(), help="trainings side by side, of one thread each")
    parser.add_argument("--nets", nargs="+", default=list(TOYS))
    options = parser.parse_args()
    wanted = [(name, seed) for seed in SEEDS for name in options.nets]
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda it: train(*it, options.runs), wanted))
    write(options.runs, options.nets)


def command(name: str, seed: int) -> list[str]:
    words = ["finetune", "toy", "--model", name, "--recipe", "toy", "--weights", "none", "--seed", str(seed)]
    return [*words, "--precision", "bf16"]  # a third quicker on a processor that has it, the same on one that has not


def train(name: str, seed: int, runs: Path) -> None:
    folder = runs / f"{name}-{seed}"
    try:
        if read_log(folder).end:
            return
    except JournalError:
        pass
    # One thread a run: two runs side by side are quicker than one after the other with two threads each.
    extra = ["--out", str(folder), "--device", "cpu", "--workers", "0"]
    words = [sys.executable, "-m", "netwright", *command(name, seed), *extra]
    subprocess.run(words, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


# --- judging -----------------------------------------------------------------------------------------------------


def write(runs: Path, names: list[str]) -> None:
    """The ledger, the weights and the cards, from finished runs."""
    test = ToyPictures(ToyWorld("test"))
    nets = {}
    for name in names:
        results = [judge(runs / f"{name}-{seed}", test) for seed in SEEDS]
        nets[name] = {
            "parameters": results[0]["start"]["parameters"],
            "command": shlex.join(["python", "-m", "netwright", *command(name, 0)]),
            "runs": [{"seed": seed, **result["figures"]} for seed, result in zip(SEEDS, results, strict=True)],
            "log": results[0]["log"],
        }
    start = results[0]["start"]
    DATA.mkdir(parents=True, exist_ok=True)
    ledger = {
        "date": date.today().isoformat(),
        "device": device_name(torch.device("cpu")),
        "threads": 1,
        "torch": start["torch"],
        "python": start["python"],
        "recipe": start["recipe"],
        "precision": start["precision"],
        "batch": start["batch"],
        "epochs": start["epochs"],
        "pictures": start["train_pictures"],
        "test_pictures": len(test),
        "nets": nets,
    }
    (ROOT / "data" / FILE).write_text(json.dumps(ledger, indent=1) + "\n", encoding="utf-8")
    for name in names:
        ship(runs / f"{name}-0", name)
        (DATA / f"{name}.md").write_text(card(name, ledger), encoding="utf-8")
    print(f"For README.md:\n\n{table(ledger)}\n\n{findings(ledger)}")


def ship(folder: Path, name: str) -> None:
    """Put the net of a run into data/, and into its metadata the command of its card in place of this machine's."""
    said = trained.about(folder)
    preprocessing = trained.preprocessing(said)
    said = {key: value for key, value in said.items() if key not in ("preprocessing", "epoch")}
    said["command"] = shlex.join(["python", "-m", "netwright", *command(name, 0)])
    state = load_file(trained.file_of(folder))
    trained.write(DATA / f"{name}.safetensors", state, preprocessing, said)


def judge(folder: Path, test: ToyPictures) -> dict:
    """A run's figures on the test split: top-1 of all, of each group, and of each aspect of a relation."""
    history = read_log(folder)
    figures = {"seconds": history.end["seconds"], **judged(load_run(folder), test)}
    keep = ("epoch", "step", "train_loss", "val_loss", "val_top1", "seconds", "pictures_per_second")
    log = [{key: line[key] for key in keep} for line in history.epochs]
    return {"start": history.start, "figures": figures, "log": log}


def judged(net: nn.Module, test: ToyPictures) -> dict:
    """A net's figures on a split of the toy world."""
    predictions = predict(net, test, batch=250, progress=False)
    measures = measure(predictions, groups=groups())
    return {
        "top1": plain(measures.top1),
        "loss": round(measures.loss, 4),
        "groups": {group: plain(it) for group, it in measures.per_group.items()},
        "aspects": aspects(predictions),
    }


def aspects(predictions: Predictions) -> dict[str, dict]:
    """How often each of the three things that make a relation is seen right, where a relation is seen at all."""
    relations = {index: it.cause for index, it in enumerate(CLASSES) if it.group == "relation"}
    pairs = [
        (relations[target], relations[answer])
        for target, answer in zip(predictions.targets.tolist(), predictions.answers.tolist(), strict=True)
        if target in relations and answer in relations
    ]
    return {
        aspect: plain(share(sum(getattr(a, aspect) == getattr(b, aspect) for a, b in pairs), len(pairs)))
        for aspect in ASPECTS
    }


def plain(it: Share) -> dict:
    return {"value": round(it.value, 5), "low": round(it.low, 5), "high": round(it.high, 5), "of": it.of}


if __name__ == "__main__":
    main()
