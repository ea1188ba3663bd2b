"""How fast a training goes, and where the time goes. Imports device."""

import contextlib
import time
from collections.abc import Iterator

import torch

from netwright.device import peak_memory


class Meter:
    """Counts the pictures since it was made or reset, the seconds that they took and those spent waiting for data."""

    def __init__(self, device: torch.device):
        self.device = device
        self.reset()

    def reset(self) -> None:
        self.started, self.waited, self.pictures = time.perf_counter(), 0.0, 0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around whatever waits for the next batch."""
        start = time.perf_counter()
        yield
        self.waited += time.perf_counter() - start

    def read(self) -> dict[str, float | int | None]:
        """Fields of a line of the log: pictures_per_second, waiting (a share of the time) and memory (bytes)."""
        seconds = max(time.perf_counter() - self.started, 1e-9)
        return {
            "pictures_per_second": round(self.pictures / seconds, 1),
            "waiting": round(self.waited / seconds, 4),
            "memory": peak_memory(self.device),
        }
