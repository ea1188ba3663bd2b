"""The device the workbook computes on, and how much memory it has: cuda, then mps, then cpu.

Imports nothing of the project.
"""

import os
from typing import NamedTuple

import torch


def pick_device() -> torch.device:
    """The best device of this machine: ``cuda`` when there is one, else ``mps``, else ``cpu``."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


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
