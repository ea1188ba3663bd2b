"""Processes that work together, as `torchrun` starts them; a process alone is rank 0 of 1. Imports torch."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is. The first one speaks: it alone prints and writes files."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0


def ranks() -> Ranks:
    """This process's place among those that have joined; alone if none have."""
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return Ranks()


def gathered(thing: Any) -> list:
    """`thing` of every rank, in the order of ranks, on every rank; anything that pickles."""
    here = ranks()
    if here.world == 1:
        return [thing]
    things = [None] * here.world
    dist.all_gather_object(things, thing)
    return things


def summed(values: Tensor) -> Tensor:
    """The sum of `values` over all ranks, on every rank; `values` itself is left alone."""
    total = values.clone()
    if ranks().world > 1:
        dist.all_reduce(total)
    return total


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the other processes that `torchrun` has started, until the block ends; alone if it has started none.

    Between GPUs they talk by NCCL, between CPUs by gloo.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield ranks()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield ranks()
    finally:
        dist.destroy_process_group()
