"""Speed, measured so that it can be believed: candidates in turn in one process, compared run by run. Imports models.

Times on a shared machine drift by more than what is being compared. What drifts slowly cancels in the ratio of two
runs that follow each other, so ratios are what is reported, with their spread.
"""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from netwright.device import device_name, pick_device
from netwright.inference import optimize
from netwright.models import create_model, transform_for


@dataclass(frozen=True)
class Ratio:
    """How many times faster a candidate is than its rival: median and quartiles over pairs of neighbouring runs."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def interleave(candidates: Mapping[str, Callable[[], object]], runs: int, warmup: int = 2) -> dict[str, list[float]]:
    """Seconds of each run of each candidate; the candidates take turns, each round in another order."""
    names = list(candidates)
    for name in names:
        for _ in range(warmup):
            candidates[name]()
    synchronise()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for run in range(runs):
        for name in names[run % len(names) :] + names[: run % len(names)]:
            start = time.perf_counter()
            candidates[name]()
            synchronise()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(rival: list[float], candidate: list[float]) -> Ratio:
    """How many times faster `candidate` is than `rival`, both as `interleave` returns them."""
    pairs = sorted(r / c for r, c in zip(rival, candidate, strict=True))
    low, median, high = statistics.quantiles(pairs, n=4) if len(pairs) > 1 else pairs * 3
    return Ratio(median, low, high)


def synchronise() -> None:
    """Wait until the GPU, if there is one, has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def hardware() -> dict[str, str | int]:
    """What the figures were measured on."""
    return {
        "device": device_name(pick_device()),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def own_speed(name: str, batches: tuple[int, ...], *, compile: bool, runs: int) -> list[tuple]:
    """One row a batch size: (net, side, batch, then milliseconds: eager, optimised, compiled or None)."""
    device = pick_device()
    net = create_model(name).eval().requires_grad_(False).to(device)
    side = transform_for(net).input_size[0]
    forms = {"eager": net, "optimised": optimize(net)}
    if compile:
        forms["compiled"] = optimize(net, compile=True)
    rows = []
    for batch in batches:
        pictures = torch.randn(batch, 3, side, side, device=device)
        calls = {form: (lambda model=model, x=pictures: model(x)) for form, model in forms.items()}
        with torch.inference_mode(mode=not compile):
            seconds = interleave(calls, runs)
        rows.append((name, side, batch, *(f"{1e3 * statistics.median(seconds[f]):.1f}" for f in forms)))
    return rows
