"""Writes weights as their publishers do: the same container, key layout and envelope. Imports torch, nothing of ours.

`write_like("facebook", state, path)` wants a state dict under the publisher's own keys, such as timm's or torchvision's
models have. The legacy stream is written here by hand, because torch.save makes up its storage keys from addresses and
so never writes the same number of bytes twice; with the keys' length given, the published sizes come out to the byte.
"""

import datetime
import pickle
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

PUBLISHERS = (
    "facebook",
    "resnest",
    "torchvision_v1",
    "torchvision_v2",
    "openmmlab",
    "openmmlab_numpy",
    "timm",
    "safetensors",
)


def write_like(publisher: str, state: dict[str, Tensor], path) -> Path:
    """Write `state` (published keys) to `path` as `publisher` does; returns the path."""
    path = Path(path)
    match publisher:
        case "facebook":  # written before BatchNorm counted its batches, and without _metadata
            write_legacy(without_counters(state), path, key_digits=15)
        case "resnest" | "torchvision_v1":
            write_legacy(with_metadata(state), path, key_digits=14)
        case "timm":  # cleaned: a plain OrderedDict
            write_legacy(OrderedDict(state), path, key_digits=14)
        case "torchvision_v2":
            torch.save(with_metadata(state), path)
        case "openmmlab" | "openmmlab_numpy":
            meta = openmmlab_meta(numpy=publisher == "openmmlab_numpy")
            torch.save({"meta": meta, "state_dict": openmmlab_keys(state)}, path)
        case "safetensors":
            from safetensors.torch import save_file

            save_file({key: tensor.contiguous() for key, tensor in state.items()}, path, metadata={"format": "pt"})
        case _:
            raise ValueError(f"No publisher is called {publisher!r}: choose one of {', '.join(PUBLISHERS)}.")
    return path


def without_counters(state: dict[str, Tensor]) -> OrderedDict:
    return OrderedDict((key, tensor) for key, tensor in state.items() if not key.endswith("num_batches_tracked"))


def with_metadata(state: dict[str, Tensor]) -> OrderedDict:
    """An OrderedDict with the `_metadata` that torch attaches: a version for each module, 2 for BatchNorm."""
    result = OrderedDict(state)
    if hasattr(state, "_metadata"):
        result._metadata = state._metadata
        return result
    modules = {"": 1}
    for key in state:
        names = key.split(".")[:-1]
        for depth in range(1, len(names) + 1):
            modules.setdefault(".".join(names[:depth]), 1)
        if key.endswith("running_mean"):
            modules[".".join(names)] = 2
    result._metadata = OrderedDict((name, {"version": version}) for name, version in modules.items())
    return result


def openmmlab_keys(state: dict[str, Tensor]) -> OrderedDict:
    """torchvision's keys as mmcls and mmpretrain have them."""
    return OrderedDict((f"head.{key}" if key.startswith("fc.") else f"backbone.{key}", t) for key, t in state.items())


def openmmlab_meta(numpy: bool = False) -> dict:
    """What mmcls 0.11 notes about a training run; with `numpy` also what makes a plain weights_only load refuse it."""
    meta = {
        "mmcls_version": "0.11.0+a1b2c3d",
        "time": "Thu Apr 29 03:12:45 2021",
        "env_info": "sys.platform: linux\nPython: 3.7.7\nCUDA available: True",
        "config": "model = dict(\n    type='ImageClassifier',\n    backbone=dict(type='ResNeXt', depth=50))\n",
        "seed": None,
        "epoch": 100,
        "iter": 500400,
        "hook_msgs": {},
        "CLASSES": ("tench, Tinca tinca", "goldfish, Carassius auratus"),
    }
    if numpy:
        meta |= {
            "best": np.float64(77.9),
            "curve": np.array([1.5, 0.5]),
            "finished": datetime.datetime(2021, 4, 29, 3, 12, 45),
            "work_dir": Path("work_dirs/resnext50"),
        }
    return meta


def write_legacy(obj, path, *, key_digits: int = 14) -> None:
    """The stream that torch.save wrote before 1.6, with storage keys of `key_digits` digits.

    Five pickles (magic number, version, sizes of C types, the object, the storage keys), then each storage in the order
    of the keys: its number of elements as 8 bytes, then its bytes.
    """
    storages: dict[str, torch.storage.TypedStorage] = {}
    keys: dict[int, str] = {}  # address of a storage -> its key

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if not isinstance(item, torch.storage.TypedStorage):
                return None
            address = item._untyped_storage._cdata
            key = keys.setdefault(address, str(10 ** (key_digits - 1) + len(keys)))
            storages[key] = item
            return ("storage", getattr(torch, item._pickle_storage_type()), key, "cpu", item._size(), None)

    sizes = {"short": 2, "int": 4, "long": 4}
    system = {"protocol_version": 1001, "little_endian": sys.byteorder == "little", "type_sizes": sizes}
    with open(path, "wb") as file:
        for head in (0x1950A86A20F9469CFC6C, 1001, system):
            pickle.dump(head, file, protocol=2)
        Pickler(file, protocol=2).dump(obj)
        pickle.dump(sorted(storages), file, protocol=2)
        for key in sorted(storages):
            storage = storages[key]
            file.write(storage._size().to_bytes(8, "little"))
            file.write(torch.tensor([], dtype=torch.uint8).set_(storage._untyped_storage).numpy().data)
