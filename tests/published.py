"""Published weights made by the tests: timm's nets with seeded numbers, written as each row's publisher writes them.

Imports parity, publisher_files and publisher_server of the tests, and netwright.weights.
"""

import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from netwright.weights import cache, catalogue, download
from netwright.weights.catalogue import File, Weights
from parity import timm_net
from publisher_files import write_like
from publisher_server import install, repoint


@contextmanager
def empty_machine(folder: Path):
    """Caches of its own below `folder`, no settings, no patience; the folder is gone afterwards. Gives a MonkeyPatch."""
    from huggingface_hub import constants

    with pytest.MonkeyPatch.context() as patch:
        for name in ("NETWRIGHT_MIRROR", "NETWRIGHT_OFFLINE", "HF_HUB_OFFLINE"):
            patch.delenv(name, raising=False)
        patch.setenv("NETWRIGHT_HOME", str(folder / "home"))
        patch.setenv("TORCH_HOME", str(folder / "torch"))
        patch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
        patch.setattr(download, "BACKOFF", 0.01)
        yield patch
    shutil.rmtree(folder, ignore_errors=True)


def write_published(weights: Weights, net, folder: Path) -> Path:
    """The file of `weights` with the numbers of timm's `net`: the publisher's container, key layout and file name."""
    folder.mkdir(parents=True, exist_ok=True)
    file = weights.files[0]
    return write_like(writer_of(file), net.state_dict(), folder / file.filename)


def place(patch: pytest.MonkeyPatch, name: str, net=None) -> Path:
    """Put a file of the weights `name` where netwright looks for it, and its hash into the catalogue."""
    weights = catalogue.find(name)
    path = write_published(weights, net or timm_net(weights.architecture), cache.folder())
    install(patch, repoint(weights, path.read_bytes(), weights.files[0].url))
    return path


def unplace(patch: pytest.MonkeyPatch, name: str, address: str) -> Weights:
    """Publish the weights `name` at an address where nothing answers."""
    weights = catalogue.find(name)
    changed = replace(weights, files=(replace(weights.files[0], url=f"{address}/{weights.files[0].filename}"),))
    install(patch, changed)
    return changed


def writer_of(file: File) -> str:
    """Which of `publisher_files.PUBLISHERS` writes files as this one."""
    match file.container:
        case "envelope":
            return "openmmlab_numpy"  # the harder of the two: not established which the publisher has
        case "zip":
            return "torchvision_v2"
        case "legacy" if file.num_batches_tracked is False:
            return "facebook"
        case "legacy" if file.layout == "resnest":
            return "resnest"
        case "legacy":
            return "torchvision_v1" if "pytorch.org" in file.url else "timm"
    raise ValueError(f"No writer for {file.filename}: container {file.container!r}.")
