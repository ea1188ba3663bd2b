"""Makes data/toy/trainings.json: what each toy net made of one picture after every epoch of a short training.

    python tests/make_trainings.py RUNS    # trains into RUNS/toy_resnet, …: some minutes each; again, it only reads

The trainings can be repeated by the commands in the record.
"""

import json
import sys
from datetime import date
from pathlib import Path

import torch

from netwright import paths, trained
from netwright.device import device_name
from netwright.models import load_run
from netwright.nets.toy import CONFIGS
from netwright.probing.capture import Probe
from netwright.toys import ToyWorld
from netwright.tune.finetune import finetune
from netwright.views.training.scrubber import RECORD, of_epoch
from netwright.views.training.summary import summarise

HOW = {"recipe": "toy", "weights": "none", "seed": 0, "precision": "bf16", "length": 4000, "epochs": 20}
SPLIT, PICTURE = "test", 3


def main(runs: Path) -> None:
    torch.set_num_threads(1)
    sample = ToyWorld(SPLIT)[PICTURE]
    image, target = sample["image"], ToyWorld.classes[sample["label"]]
    nets = {}
    for name in CONFIGS:
        out = runs / name
        run = finetune(
            "toy", model=name, out=str(out), keep_epochs=True, workers=0, tensorboard=False, device="cpu", **HOW
        )
        files = trained.epoch_files(run.folder)
        twin = summarise(Probe(load_run(files[-1]), image).twin(), target)
        epochs = [of_epoch(file, image, target) for file in files]
        words = [f"--{key} {value}" for key, value in HOW.items()]
        command = f"python -m netwright finetune toy --model {name} {' '.join(words)} --keep-epochs"
        nets[name] = {"command": command, "picture": PICTURE, "target": target, "epochs": epochs, "twin": twin}
        print(name, epochs[-1]["top1"])
    about = {"date": date.today().isoformat(), "device": device_name(torch.device("cpu")), "torch": torch.__version__}
    text = json.dumps(about | {"split": SPLIT, "nets": nets}, separators=(",", ":"))
    (paths.data("toy") / Path(RECORD).name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
