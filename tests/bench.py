"""`make bench`: our nets and timm's, the same weights, taking turns in one process.

Ratios above 1 mean that we are faster. The rival of an eager form is timm's faster memory format, that of a compiled
one is timm compiled with the same settings (and, in the column before, timm's best eager form). What is measured is
written to data/bench_cpu.json, with the machine it was measured on. Only the CPU is measured here so far.
"""

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import torch

from netwright.bench import hardware, interleave, ratio
from netwright.inference import compile_frozen, optimize
from netwright.nets.config import Halo
from netwright.nets.halonet import HaloAttention
from parity import picture, relative_error, twins
from peers import timm

NETS = {"resnext50_32x4d": 224, "resnest50d": 224, "halonet50ts": 256}
TARGETS = {  # plain, optimised, compiled (all against timm's best eager format), compiled against timm compiled
    "resnext50_32x4d": (1.0, 1.2, 1.6, 1.0),
    "resnest50d": (1.2, 1.4, 1.8, 1.1),
    "halonet50ts": (1.1, 1.3, 1.5, 1.4),
}
HALO_TARGET = 1.5
IMPORT_TARGET = round(1 / 1.05, 2)
HALO_LAYERS = ((128, 32, 4, 8), (256, 16, 8, 8), (512, 8, 8, 8), (128, 32, 4, 1))  # channels, side, heads, batch
RESULTS = Path(__file__).parents[1] / "data"
CHANNELS_LAST = {"memory_format": torch.channels_last}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two runs, nothing compiled: does it work?")
    parser.add_argument("--no-compile", action="store_true", help="leave out what takes minutes to compile")
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    runs = 2 if options.quick else options.runs
    torch.set_num_threads(2)
    results = {"date": date.today().isoformat(), "hardware": hardware(), "runs": runs, "rows": []}
    print(results["hardware"])
    results["rows"] += imports(runs)
    results["rows"] += halo_layers(runs)
    for name in NETS:
        for batch in (1, 8):
            results["rows"] += whole_net(name, batch, runs, compile=not (options.quick or options.no_compile))
    if not options.quick:
        path = RESULTS / "bench_cpu.json"
        path.write_text(json.dumps(results, indent=1) + "\n")
        print(f"written: {path.name}")


def imports(runs: int) -> list[dict]:
    """A fresh Python that imports torch, and one that imports netwright; the second also with create_model loaded."""
    statements = {"torch": "import torch", "bare": "import netwright", "ready": "from netwright import create_model"}
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "lib")}
    calls = {
        name: (lambda code=code: subprocess.run([sys.executable, "-c", code], env=environment, check=True))
        for name, code in statements.items()
    }
    seconds = interleave(calls, runs)
    return [
        _row(
            f"{statements[name]}",
            1,
            "in a fresh Python",
            seconds[name],
            ratio(seconds["torch"], seconds[name]),
            asked,
            "import torch",
        )
        for name, asked in (("bare", IMPORT_TARGET), ("ready", IMPORT_TARGET))
    ]


def halo_layers(runs: int) -> list[dict]:
    """The attention layer alone: its two 1x1 convolutions and the attention; forward, and forward with backward."""
    rows = []
    for channels, side, heads, batch in HALO_LAYERS:
        torch.manual_seed(0)
        theirs = timm.layers.halo_attn.HaloAttn(channels, num_heads=heads, block_size=8, halo_size=3)
        mine = HaloAttention(channels, Halo(heads=heads, block_size=8, halo=3))
        mine.load_state_dict(dict(zip(mine.state_dict(), _in_our_order(theirs), strict=True)))
        x = torch.randn(batch, channels, side, side)
        for passes in ("forward", "forward and backward"):
            calls = {}
            for whose, layer in (("timm", theirs), ("ours", mine)):
                for form, memory in (("", {}), (" channels last", CHANNELS_LAST)):
                    calls[whose + form] = _passes(copy.deepcopy(layer).to(**memory), x.to(**memory), passes)
            assert relative_error(mine(x), theirs(x)) < 1e-4
            rows += _compare(f"halo attention {channels}x{side}x{side}, {heads} heads", batch, passes, calls, runs)
    return rows


def _in_our_order(theirs) -> list[torch.Tensor]:
    # ours: height_table, width_table, query, key_value
    return [theirs.pos_embed.height_rel, theirs.pos_embed.width_rel, theirs.q.weight, theirs.kv.weight]


def _passes(layer, x, passes):
    if passes == "forward":
        layer.requires_grad_(False)
        return lambda: layer(x)
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()

    def run():
        layer.zero_grad()
        x.grad = None
        layer(x).sum().backward()

    return run


def _compare(what, batch, form, calls, runs) -> list[dict]:
    seconds = interleave(calls, runs)
    rival = _fastest(seconds, "timm")
    own = _fastest(seconds, "ours")
    faster = ratio(seconds[rival], seconds[own])
    return [_row(what, batch, form, seconds[own], faster, HALO_TARGET, against=rival)]


def _fastest(seconds, whose) -> str:
    return min((n for n in seconds if n.startswith(whose)), key=lambda n: statistics.median(seconds[n]))


def whole_net(name: str, batch: int, runs: int, compile: bool) -> list[dict]:
    """Inference of a whole net in every form."""
    theirs, mine = twins(name, torch.float32)
    theirs.requires_grad_(False), mine.requires_grad_(False)
    x = picture(name, torch.float32, batch, NETS[name])
    x_last = x.to(**CHANNELS_LAST)
    forms = {
        "timm": (theirs, x),
        "timm channels last": (copy.deepcopy(theirs).to(**CHANNELS_LAST), x_last),
        "ours plain": (mine, x),
        "ours plain channels last": (copy.deepcopy(mine).to(**CHANNELS_LAST), x_last),
        "ours optimised": (optimize(mine), x),
    }
    calls = {form: (lambda model=model, x=x: model(x)) for form, (model, x) in forms.items()}
    rows = []
    with torch.no_grad():
        expected = theirs(x)
        for form, call in calls.items():
            assert relative_error(call(), expected) < 1e-4, form
        seconds = interleave(calls, runs)
        rival = _fastest(seconds, "timm")
        plain, optimised, compiled, against_compiled = TARGETS[name]
        own = _fastest(seconds, "ours plain")
        rows.append(_row(name, batch, "plain", seconds[own], ratio(seconds[rival], seconds[own]), plain, rival))
        own = "ours optimised"
        rows.append(_row(name, batch, "optimised", seconds[own], ratio(seconds[rival], seconds[own]), optimised, rival))
        if compile:
            calls = {rival: calls[rival]}
            for form, model in (("timm compiled", theirs), ("ours compiled", mine)):
                start = time.perf_counter()
                if model is theirs:
                    fast = compile_frozen(copy.deepcopy(forms[rival][0]))
                    calls[form] = lambda model=fast, x=forms[rival][1]: model(x)
                else:
                    fast = optimize(mine, compile=True)
                    calls[form] = lambda model=fast: model(x)
                assert relative_error(calls[form](), expected) < 1e-4, form
                print(f"  {form}: first call after {time.perf_counter() - start:.0f} s", flush=True)
            seconds = interleave(calls, runs)
            own = seconds["ours compiled"]
            rows.append(_row(name, batch, "compiled", own, ratio(seconds[rival], own), compiled, rival))
            peer = seconds["timm compiled"]
            rows.append(_row(name, batch, "compiled", own, ratio(peer, own), against_compiled, "timm compiled"))
            torch.compiler.reset()
    return rows


def _row(what, batch, form, seconds, faster, target, against) -> dict:
    verdict = "reached" if faster.median >= target else "SHORT"
    print(f"{what:38} batch {batch}  {form:21} {faster!s:>22} x  {against:20} (asked: {target}: {verdict})", flush=True)
    return {
        "what": what,
        "batch": batch,
        "form": form,
        "against": against,
        "ratio": round(faster.median, 3),
        "quartiles": [round(faster.low, 3), round(faster.high, 3)],
        "asked": target,
        "milliseconds": round(1e3 * statistics.median(seconds), 2),
    }


if __name__ == "__main__":
    main()
