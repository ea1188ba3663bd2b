"""Nets that were trained here, as files that say what they are. Imports files and the catalogue's records.

A file is safetensors, so anything reads its numbers; what these cannot say (which net, which classes, how a picture
becomes an input, how it was trained) stands in its metadata.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from netwright.files import replace_bytes
from netwright.weights.catalogue import Preprocessing

KEY = "netwright"  # of the metadata
BEST = "best.safetensors"  # in the folder of a run
EPOCHS = "epochs"  # a folder in it: the weights after every epoch, where they were asked for


class NotTrainedHere(ValueError):
    """A file or a folder in which there is no net that was trained here."""


def write(path: Path, state: Mapping[str, Tensor], preprocessing: Preprocessing, about: dict) -> None:
    """Write a net's state dict to `path`, whole or not at all.

    about: plain data, with at least "model" (the name of the architecture) and "class_names". Raises OSError.
    """
    from safetensors.torch import save

    said = {**about, "preprocessing": dataclasses.asdict(preprocessing)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    replace_bytes(path, save(tensors, {KEY: json.dumps(said, ensure_ascii=False)}))


def epoch_file(epoch: int) -> str:
    """Where a run keeps the weights after an epoch, counted from 0; in the order of the epochs when sorted."""
    return f"{EPOCHS}/{epoch + 1:05d}.safetensors"


def epoch_files(folder: str | Path) -> list[Path]:
    """The weights after every epoch of a run, first to last. Raises NotTrainedHere where none were kept."""
    found = sorted((Path(folder).expanduser() / EPOCHS).glob("*.safetensors"))
    if not found:
        raise NotTrainedHere(f"{folder} holds no weights of single epochs: train with --keep-epochs.")
    return found


def file_of(path: str | Path) -> Path:
    """The weight file itself, or that of the best epoch where `path` is the folder of a run."""
    path = Path(path).expanduser()
    return path / BEST if path.is_dir() else path


def about(path: str | Path) -> dict:
    """What `write` was told of the net in a file or in a run's folder. Raises NotTrainedHere."""
    from safetensors import SafetensorError, safe_open

    file = file_of(path)
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
    except FileNotFoundError:
        raise NotTrainedHere(f"There is no file {file}: no finetuning has saved a net there yet.") from None
    except (SafetensorError, OSError) as error:
        raise NotTrainedHere(f"{file} is no safetensors file, or it is damaged ({error}).") from error
    if KEY not in metadata:
        raise NotTrainedHere(
            f"{file} was not saved by netwright, so it does not say what net it is: name the net, and give the file "
            "as its weights."
        )
    return json.loads(metadata[KEY])


def preprocessing(said: dict) -> Preprocessing:
    """The preprocessing in what `about` returns."""
    fields = said["preprocessing"].items()
    return Preprocessing(**{key: tuple(value) if isinstance(value, list) else value for key, value in fields})
