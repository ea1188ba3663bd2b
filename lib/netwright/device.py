"""The device the workbook computes on, and how much memory it has: cuda, then mps, then cpu.

Imports nothing of the project.
"""

import os
import sys
from typing import NamedTuple

import torch


def pick_device() -> torch.device:
    """The best device of this machine: ``cuda`` when there is one, else ``mps``, else ``cpu``."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def chosen_device(name: str | None = None) -> torch.device:
    """The device called `name`, one of torch's names; the best one for None or "auto".

    Of several GPUs it is the one that `torchrun` gives to this process. Raises ValueError where torch cannot use it.
    """
    if name in (None, "auto"):
        device = pick_device()
    else:
        try:
            device = torch.empty(0, device=name).device
        except (RuntimeError, AssertionError) as error:  # unknown, or not in this machine or this build of torch
            reason = str(error).splitlines()[0].rstrip(".")
            raise ValueError(
                f"Device {name}: torch cannot use it ({reason}). auto would be {pick_device()}."
            ) from error
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    return device


class Memory(NamedTuple):
    """Memory of a device in bytes; a number that the system does not tell is None."""

    free: int | None
    total: int | None


def device_name(device: torch.device) -> str:
    """What a person calls the device: the GPU's product name, ``Apple GPU`` or ``CPU, 8 cores``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return "Apple GPU" if device.type == "mps" else f"CPU, {cores()} cores"


def device_memory(device: torch.device) -> Memory:
    """Free and total memory that tensors on ``device`` can use, in bytes."""
    if device.type == "cuda":
        return Memory(*torch.cuda.mem_get_info(device))
    if device.type == "mps":
        total = torch.mps.recommended_max_memory()
        return Memory(total - torch.mps.driver_allocated_memory(), total)
    return _system_memory()


def peak_memory(device: torch.device) -> int | None:
    """The most bytes that tensors on a GPU, or this process on a CPU, have held so far; None where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def cores() -> int:
    """Number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _system_memory() -> Memory:
    try:
        page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return Memory(None, None)
    try:
        free = page * os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError):  # macOS does not tell
        free = None
    return Memory(free, page * pages)
