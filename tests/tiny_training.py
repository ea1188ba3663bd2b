"""A net and a data set so small that a whole training takes a second, and the parts of a `Training` made from them."""

import contextlib
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from netwright.nets.config import Block, Halo, NetConfig, Split, Stage, Stem
from netwright.nets.zoo import ALL

# One block of every kind that the workbook teaches.
TINY = NetConfig(
    Stem((8,), 3),
    (
        Stage((Block("basic"),), 8, 8, stride=1),
        Stage((Block(cardinality=2),), 4, 16),
        Stage((Block(channel_attention=Split(2)),), 8, 32),
        Stage((Block(spatial_attention=Halo(2, 2, 1)),), 8, 32, stride=1),
    ),
    shortcut="pool",
    input_size=32,
)


@contextlib.contextmanager
def tiny_net():
    """While it lasts, `create_model("tiny")` makes a net of TINY."""
    ALL["tiny"] = TINY
    try:
        yield "tiny"
    finally:
        del ALL["tiny"]


def write_folder(folder: Path, classes: int = 3, pictures: int = 8, side: int = 40, seed: int = 0) -> Path:
    """A folder of class folders: noise around a colour of its own for each class."""
    rng = np.random.default_rng(seed)
    for label in range(classes):
        home = folder / f"class {label}"
        home.mkdir(parents=True)
        for number in range(pictures):
            pixels = rng.integers(0, 120, (side, side + 4, 3))
            pixels[..., label % 3] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(home / f"{number}.png")
    return folder


def same(one: dict, other: dict) -> bool:
    """Whether two state dicts hold the same numbers, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def in_a_fork(work) -> int:
    """Run `work()` in a copy of this process; its exit status, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
