"""`make bench`, the training half: our training step and timm's, the same net and numbers, taking turns in one process.

timm's step is the body of its train.py written out with its own parts: mixup and CutMix, loss, optimiser, scaler,
average of the weights. Ratios above 1 mean that we are faster. On a GPU both run in bf16, also compiled, with their
peak memory. Then the input pipeline: which share of a training's time is spent waiting for data.
What is measured is written to data/bench_training_cpu.json, or …_gpu.json, with the machine it was measured on.
"""

import argparse
import contextlib
import json
import statistics
import tempfile
from datetime import date
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from netwright.bench import hardware, interleave, ratio
from netwright.datasets import Batch
from netwright.device import pick_device
from netwright.tune import build, find
from netwright.tune.finetune import finetune
from netwright.tune.step import TrainingStep
from parity import twins
from peers import timm

NETS = {"resnext50_32x4d": (128, 16), "resnest50d": (128, 16), "halonet50ts": (256, 4)}  # side and batch on a CPU
GPU_SIDE, GPU_BATCH = 256, 128
ASKED = 1.0
timm_optim, timm_loss = (import_module(f"{timm.__name__}.{name}") for name in ("optim", "loss"))
RESULTS = Path(__file__).parents[1] / "data"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two runs: does it work?")
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    device = pick_device()
    torch.set_num_threads(2)
    results = {"date": date.today().isoformat(), "hardware": hardware(), "rows": []}
    print(results["hardware"])
    for name in NETS:
        results["rows"] += steps(name, device, 2 if options.quick else options.runs)
    results["pipeline"] = [pipeline("a folder of JPEG files", options.quick), pipeline("toy", options.quick)]
    if not options.quick:
        path = RESULTS / f"bench_training_{'gpu' if device.type == 'cuda' else 'cpu'}.json"
        path.write_text(json.dumps(results, indent=1) + "\n")
        print(f"written: {path.name}")


# --- the step ----------------------------------------------------------------------------------------------------


def steps(name: str, device: torch.device, runs: int) -> list[dict]:
    """The A1 step (mixing, binary loss, LAMB, an average) of ours and of timm's, on data that are in memory already."""
    side, batch = (GPU_SIDE, GPU_BATCH) if device.type == "cuda" else NETS[name]
    torch.manual_seed(0)
    images, targets = torch.randn(batch, 3, side, side), torch.randint(1000, (batch,))
    rows = []
    for compiled in (False, True) if device.type == "cuda" else (False,):
        theirs, mine = twins(name, torch.float32, **find("a1").net_options())
        calls, memory = {}, {}
        for whose, make, net in (("timm", timm_step, theirs), ("ours", our_step, mine)):
            call = make(net.to(device, memory_format=torch.channels_last), images, targets, device, compiled)
            call()  # compiles
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
                call()
                memory[whose] = torch.cuda.max_memory_allocated()
            calls[whose] = call
        seconds = interleave(calls, runs)
        faster = ratio(seconds["timm"], seconds["ours"])
        speed = {whose: batch / statistics.median(times) for whose, times in seconds.items()}
        form = "compiled" if compiled else "eager"
        verdict = "reached" if faster.median >= ASKED else "SHORT"
        print(
            f"{name:18} {form:9} step of {batch} at {side}: {faster!s:>22} x timm ({verdict})",
            flush=True,
        )
        rows.append(
            {
                "what": name,
                "form": form,
                "side": side,
                "batch": batch,
                "ratio": round(faster.median, 3),
                "quartiles": [round(faster.low, 3), round(faster.high, 3)],
                "asked": ASKED,
                "pictures_per_second": {whose: round(it, 1) for whose, it in speed.items()},
                "peak_memory": memory or None,
            }
        )
        torch.compiler.reset()
    return rows


def our_step(net, images, targets, device, compiled):
    recipe = find("a1")
    net = net.train()
    parts = build(recipe, net, steps_per_epoch=100, batch=len(images), epochs=10)
    forward = torch.compile(net) if compiled else net
    precision = "bf16" if device.type == "cuda" else "fp32"
    step = TrainingStep(net, parts, batch=len(images), epochs=10, precision=precision, forward=forward)
    batch, taken = Batch(images.to(device), targets.to(device), targets), iter(range(10**6))
    return lambda: step(next(taken), [batch])


def timm_step(net, images, targets, device, compiled):
    optimiser = timm_optim.create_optimizer_v2(net, opt="lamb", lr=1e-3, weight_decay=0.01)
    mixup = timm.data.Mixup(mixup_alpha=0.2, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=1000)
    loss_of = timm_loss.BinaryCrossEntropy(smoothing=0.0, target_threshold=0.2)
    forward = torch.compile(net) if compiled else net
    images, targets, net = images.to(device), targets.to(device), net.train()
    autocast = torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()

    def step():
        mixed, soft = mixup(images.clone(), targets)  # its mixing writes into the batch
        with autocast:
            loss = loss_of(forward(mixed), soft)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


# --- the pipeline ------------------------------------------------------------------------------------------------


def pipeline(data: str, quick: bool) -> dict:
    """A real training with one process that prepares pictures beside it: how long it waits for them."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        options = {"model": "resnet50", "weights": "none", "size": 128, "epochs": 1, "batch": 32, "workers": 1}
        options |= {"progress": False, "tensorboard": False, "out": str(folder / "run")}
        if data == "toy":
            run = finetune("toy", length=64 if quick else 320, **options)
        else:
            write_photographs(folder / "photographs", 40 if quick else 200)
            run = finetune(folder / "photographs", recipe="layerwise", **options)
        (epoch,) = run.history.epochs
    print(f"{data}: {epoch['pictures_per_second']:.0f} pictures/s, {epoch['waiting']:.1%} of the time waiting for data")
    return {"data": data, "pictures_per_second": epoch["pictures_per_second"], "waiting": epoch["waiting"]}


def write_photographs(folder: Path, count: int) -> None:
    """JPEG files as large as ImageNet's usually are, of smooth noise."""
    rng = np.random.default_rng(0)
    for number in range(2 * count):
        home = folder / f"class {number % 2}"
        home.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(home / f"{number}.jpg", quality=90)


if __name__ == "__main__":
    main()
