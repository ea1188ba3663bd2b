"""Makes data/toy/optimised*: pictures that excite single channels of the toy nets and of their random twins.

About three minutes: ``python tests/make_optimised.py``. The same seeds give the same pictures on the same machine.
"""

import json
from datetime import date
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from netwright import paths
from netwright.device import device_name
from netwright.explain.optimising import excitement, optimise
from netwright.models import create_model, transform_for
from netwright.nets.toy import CONFIGS
from netwright.probing.capture import probe
from netwright.toys import ToyWorld
from netwright.views.pictures.optimised import RECORD, SIDE, SPLIT, as_inputs, pictures_file

PLACES = ("stages.0.1", "stages.1.1", "stages.2.1", "stages.3.0")
CHANNELS, PICTURES, STEPS, SEED = 8, 400, 160, 0
QUALITY = 75


def main() -> None:
    torch.set_num_threads(1)
    data = paths.data("toy")
    images = ToyWorld(SPLIT).batch(range(PICTURES))["image"]
    nets = {}
    for name in CONFIGS:
        net = create_model(name, pretrained=True).eval()
        twin = probe(net, images[0]).twin().net
        transform = transform_for(net)
        inputs = as_inputs(images, transform)
        kinds = {"trained": net, "random": twin}
        real = {kind: excitement(it, list(PLACES), inputs) for kind, it in kinds.items()}
        chosen = {  # those that tell pictures apart most
            (kind, place): real[kind][place].std(0).topk(CHANNELS).indices.tolist()
            for kind in kinds
            for place in PLACES
        }
        rows = [
            optimise(
                it,
                place,
                chosen[kind, place],
                size=SIDE,
                mean=transform.mean.flatten(),
                std=transform.std.flatten(),
                steps=STEPS,
                seed=SEED,
            )
            for kind, it in kinds.items()
            for place in PLACES
        ]
        sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
        path = data / Path(pictures_file(name)).name
        pixels = (255 * sheet).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(path, quality=QUALITY)
        with Image.open(path) as stored:  # what is measured is what is shown
            kept = np.array(stored).reshape(2, len(PLACES), SIDE, CHANNELS, SIDE, 3).swapaxes(2, 3)
        nets[name] = {}
        for half, (kind, it) in enumerate(kinds.items()):
            nets[name][kind] = []
            for at, place in enumerate(PLACES):
                channels = chosen[kind, place]
                made = as_inputs(torch.from_numpy(kept[half, at]).permute(0, 3, 1, 2), transform)
                excited = excitement(it, [place], made)[place][range(CHANNELS), channels]
                values = real[kind][place][:, channels]
                best = values.topk(3, dim=0)
                row = {"place": place, "channels": channels, "excited": rounded(excited)}
                row |= {"best": best.indices.T.tolist(), "best_excited": rounded(best.values.T)}
                nets[name][kind].append(row | {"usual": rounded(values.mean(0))})
        print(name, path.stat().st_size)
    about = {"date": date.today().isoformat(), "device": device_name(torch.device("cpu")), "torch": torch.__version__}
    about |= {"steps": STEPS, "seed": SEED, "pictures": PICTURES, "split": SPLIT, "nets": nets}
    (data / Path(RECORD).name).write_text(json.dumps(about, separators=(",", ":")) + "\n", encoding="utf-8")


def rounded(values: torch.Tensor) -> list:
    return np.round(values.numpy().astype(float), 4).tolist()


if __name__ == "__main__":
    main()
