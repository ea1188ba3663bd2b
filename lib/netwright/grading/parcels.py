"""Values as bytes and back, without pickle: what comes out of a student's process is data, and never runs.

Imports nothing of the project.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MOST_NUMBERS = 4_000_000  # of one tensor; no check yields nearly as many


@dataclass(frozen=True)
class Thing:
    """A value of another kind, of which only its kind and its looks travelled."""

    kind: str
    looks: str

    def __repr__(self) -> str:
        return self.looks


def pack(value: Any, parts: list[bytes]) -> Any:
    """`value` as JSON has it; the numbers of its tensors are appended to `parts`."""
    if isinstance(value, Tensor):
        return _pack_tensor(value, parts)
    if isinstance(value, Mapping):
        return {"pairs": [[pack(key, parts), pack(item, parts)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [pack(item, parts) for item in value]}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value)
    return {"kind": f"{type(value).__module__}.{type(value).__qualname__}", "looks": repr(value)[:200]}


def unpack(packed: Any, parts: list[bytes]) -> Any:
    """The value again, tuples as lists. Raises ValueError, KeyError, TypeError or RuntimeError for what pack never made."""
    if not isinstance(packed, dict):
        return packed
    if "pairs" in packed:
        return {unpack(key, parts): unpack(item, parts) for key, item in packed["pairs"]}
    if "list" in packed:
        return [unpack(item, parts) for item in packed["list"]]
    if "tensor" in packed:
        dtype, shape, number = packed["tensor"]
        data = bytearray(parts[number])
        kind = getattr(torch, dtype)
        return (torch.frombuffer(data, dtype=kind) if data else torch.empty(0, dtype=kind)).reshape(shape)
    return Thing(str(packed["kind"]), str(packed["looks"]))


def _pack_tensor(tensor: Tensor, parts: list[bytes]) -> dict:
    shape = list(tensor.shape)
    try:
        if tensor.numel() > MOST_NUMBERS:
            raise ValueError
        plain = tensor.detach().cpu().contiguous().resolve_conj().resolve_neg()
        parts.append(bytes(plain.reshape(-1).view(torch.uint8).numpy()) if plain.numel() else b"")
    except (RuntimeError, ValueError, TypeError, NotImplementedError):  # too large, sparse, without numbers …
        return {"kind": "torch.Tensor", "looks": f"a tensor of shape {tuple(shape)}"}
    return {"tensor": [str(tensor.dtype).removeprefix("torch."), shape, len(parts) - 1]}


def letter(content: dict, parts: list[bytes] = ()) -> bytes:
    """A message: JSON and the parts behind it."""
    head = json.dumps(content | {"parts": [len(part) for part in parts]}).encode()
    return b"".join([len(head).to_bytes(8, "big"), head, *parts])


def opened(message: bytes) -> tuple[dict, list[bytes]]:
    """What `letter` made a message of. Raises ValueError or KeyError for anything else."""
    end = 8 + int.from_bytes(message[:8], "big")
    content, parts = json.loads(message[8:end]), []
    for size in content.pop("parts"):
        parts.append(message[end : end + size])
        end += size
    return content, parts
