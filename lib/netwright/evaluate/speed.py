"""How fast and how large: latency, throughput and peak memory of a net in its forms. Imports bench, inference.

Forms are timed in turn in one process, so that their ratios hold on a busy machine too; see `bench`.
"""

import os
import pickle
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from netwright.bench import Ratio, interleave, ratio
from netwright.evaluate.predictions import asked, autocast
from netwright.inference import optimize
from netwright.models import transform_for
from netwright.nets.net import ResidualNet

STATUS = Path("/proc/self/status")  # of Linux


@dataclass(frozen=True)
class Speed:
    """One form of a net at one batch size, pictures already in memory.

    form: "eager" (as it is), "optimised" (`optimize`) or "compiled". median, low, high: seconds a batch, and the
    quartiles of its runs. ratio: how many times faster than eager; None for eager. peak: bytes; on a GPU all that its
    tensors took at most, weights included; on a CPU by how much a fresh process grew from before the net was made
    until after it has answered; None where that is not measured.
    """

    form: str
    batch: int
    side: int
    median: float
    low: float
    high: float
    ratio: Ratio | None
    peak: int | None

    @property
    def per_second(self) -> float:
        """Pictures a second."""
        return self.batch / self.median


HEAD = ("form", "batch", "pictures/s", "ms a batch (quartiles)", "times as fast as eager", "peak memory")


def rows(speeds: list[Speed]) -> list[tuple[str, ...]]:
    """Rows of a table under HEAD."""
    return [
        (
            it.form,
            str(it.batch),
            f"{it.per_second:,.1f}",
            f"{1e3 * it.median:.1f} ({1e3 * it.low:.1f} to {1e3 * it.high:.1f})",
            str(it.ratio) if it.ratio else "",
            "not measured" if it.peak is None else f"{it.peak / 1e6:,.0f} MB",
        )
        for it in speeds
    ]


def speed(
    net: nn.Module,
    *,
    batches: tuple[int, ...] = (1, 32),
    side: int | None = None,
    device: str | torch.device | None = None,
    precision: str = "fp32",
    compile: bool = False,
    runs: int = 15,
) -> list[Speed]:
    """Time `net` at each batch size; side: of its inputs in pixels, None for its own.

    The optimised form computes in float32 on a CPU and in `precision` on a GPU. compile: takes minutes. Peak memory
    on a CPU is measured of the eager form, on Linux, for nets with a `NetConfig`.
    """
    side = transform_for(net).input_size[0] if side is None else side
    found = []
    # What is compiled under inference mode cannot have its weights as constants.
    with asked(net, device) as place, torch.inference_mode(mode=not compile), torch.no_grad():
        forms = _forms(net, compile)
        dtype = next(net.parameters(), torch.empty(0)).dtype
        for batch in batches:
            pictures = torch.randn(batch, 3, side, side, device=place, dtype=dtype)
            pictures = pictures.to(memory_format=torch.channels_last)
            calls = {form: _call(model, pictures, precision) for form, model in forms.items()}
            seconds = interleave(calls, runs)
            peaks = {form: _peak_of(call, place) for form, call in calls.items()}
            if place.type == "cpu":
                peaks["eager"] = peak_on_cpu(net, batch, side, precision)
            for form in forms:
                low, median, high = statistics.quantiles(seconds[form], n=4)
                faster = ratio(seconds["eager"], seconds[form]) if form != "eager" else None
                found.append(Speed(form, batch, side, median, low, high, faster, peaks[form]))
    return found


def _forms(net: nn.Module, compile: bool) -> dict[str, nn.Module]:
    forms = {"eager": net}
    if isinstance(net, ResidualNet):
        forms["optimised"] = optimize(net)
        if compile:
            forms["compiled"] = optimize(net, compile=True)
    return forms


def _call(model: nn.Module, pictures: Tensor, precision: str) -> Callable[[], Tensor]:
    def call() -> Tensor:
        with autocast(pictures.device, precision):
            return model(pictures)

    return call


def _peak_of(call: Callable[[], Tensor], device: torch.device) -> int | None:
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    call()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


# --- peak memory of a CPU: what a process of its own grows by ----------------------------------------------------


def peak_on_cpu(net: nn.Module, batch: int, side: int, precision: str) -> int | None:
    """Bytes by which a fresh process grows that makes such a net and asks it once; None where that is not measured."""
    if not STATUS.exists() or not isinstance(net, ResidualNet):
        return None
    order = pickle.dumps((net.config, net.num_classes, batch, side, precision, torch.get_num_threads()))
    library = str(Path(__file__).parents[2])
    paths = os.pathsep.join([library, *filter(None, [os.environ.get("PYTHONPATH")])])
    code = "from netwright.evaluate.speed import answer_once; answer_once()"
    child = {"input": order, "capture_output": True, "env": {**os.environ, "PYTHONPATH": paths}}
    done = subprocess.run([sys.executable, "-c", code], check=False, **child)
    return int(done.stdout) if done.returncode == 0 else None


def answer_once() -> None:
    """What the fresh process does: reads an order from standard input, prints bytes."""
    config, classes, batch, side, precision, threads = pickle.load(sys.stdin.buffer)
    torch.set_num_threads(threads)
    pictures = torch.randn(batch, 3, side, side).to(memory_format=torch.channels_last)
    before = _status("VmRSS")
    net = ResidualNet(config, num_classes=classes).eval()
    with torch.inference_mode():
        _call(net, pictures, precision)()
    print(_status("VmHWM") - before)


def _status(name: str) -> int:
    """Resident memory of this process in bytes: now (VmRSS), or at its highest (VmHWM)."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])
