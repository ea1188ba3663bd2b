"""Where a training stands, on disk: written whole or not at all, read without running anything. Imports files."""

import errno
import shutil
from pathlib import Path

import torch

from netwright.files import replacing

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
FORMAT = 1


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written or read, or that is of another training."""


def save(path: Path, state: dict) -> None:
    """Write `state` (tensors, numbers, text, lists, dicts) to `path`.

    A kill at any moment leaves the old checkpoint or the new one, never half of one (`files.replacing`). Raises
    CheckpointError when the disk is full or may not be written; the old one then stays.
    """
    try:
        with replacing(path) as stream:
            torch.save({"format": FORMAT, "training": state}, stream)
    except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
        kept = f" The one before it, {path}, is whole." if path.exists() else ""
        what = "the disk is full" if _is_full(error, path.parent) else str(error).splitlines()[0]
        raise CheckpointError(
            f"The checkpoint {path} could not be written: {what}.{kept} Make room or mend that, and start the same "
            "command again: it goes on from the last whole checkpoint."
        ) from error


def load(path: Path) -> dict:
    """The state in `path`, on the CPU. Nothing in the file is executed. Raises CheckpointError if it is no checkpoint."""
    with open(path, "rb") as stream:
        try:
            found = torch.load(stream, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file fails in a dozen ways
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise CheckpointError(
                f"{path} is not a checkpoint of a finetuning, or it is damaged ({reason}). Move it away to start over; "
                "best.safetensors beside it has the weights of the best epoch so far."
            ) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise CheckpointError(f"{path} holds weights or something else, but not where a training stands.")
    return found["training"]


def _is_full(error: Exception, folder: Path) -> bool:
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return True
    return shutil.disk_usage(folder).free < 1 << 20
