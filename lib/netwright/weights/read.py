"""Any checkpoint file in, a plain dictionary of tensors out; nothing in the file is ever executed.
May import torch and safetensors; knows nothing of nets, of key layouts or of the catalogue."""

import pickle
import pickletools
import re
import tarfile
import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor

# Where training scripts keep the weights inside an envelope; the averaged ones first, as timm does.
ENVELOPES = ("state_dict_ema", "model_ema", "state_dict", "model")
# What wrappers put before every key: DistributedDataParallel and torch.compile.
WRAPPERS = ("module.", "_orig_mod.")


class CheckpointError(ValueError):
    """A file that holds no weights that can be read, or weights that do not fit. The message is a sentence."""


def read_checkpoint(path, *, device="cpu", mmap: bool = True) -> dict[str, Tensor]:
    """Read the weights of a checkpoint under the keys that its publisher gave them.

    Understands the legacy torch stream, the torch zip file and safetensors, told apart by content, not by name; takes
    the weights out of an OpenMMLab or timm training envelope and strips a wrapper's `module.` from the keys.

    With `mmap` the tensors of a zip or safetensors file are pages of that file, read when first used and private when
    written to, so the file must stay as it is while they live. A legacy stream cannot be mapped: its storages are read
    one after another into the memory that the tensors then keep. Either way nothing is held twice.

    Raises CheckpointError, with the path and the way out, for everything that is not such a file; OSError if it cannot
    be opened.
    """
    path = Path(path)
    container = _container(path)
    if container == "safetensors":
        content = _read_safetensors(path, device, mmap)
    else:
        content = _read_torch(path, device, mmap and container == "zip")
    return _without_wrappers(_weights_in(content, path))


def _weights_in(content, path: Path) -> dict[str, Tensor]:
    """The dictionary of tensors in what a file held, be it the whole or one entry of an envelope."""
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a dictionary of tensors.")
    inside = next((content[key] for key in ENVELOPES if isinstance(content.get(key), dict)), content)
    if not any(isinstance(value, Tensor) for value in inside.values()):
        entries = ", ".join(repr(key) for key in list(inside)[:6]) or "none at all"
        hint = " It looks like the state of an optimiser." if {"param_groups", "optimizer"} & set(content) else ""
        raise CheckpointError(
            f"{path} holds no weights; its entries are {entries}.{hint} "
            f"Expected tensors by name, or an envelope with one of {', '.join(ENVELOPES)}."
        )
    foreign = {key: value for key, value in inside.items() if not isinstance(value, Tensor)}
    if foreign:
        listed = ", ".join(f"{key!r} (a {_type_name(value)})" for key, value in list(foreign.items())[:6])
        raise CheckpointError(f"{path} has entries among its weights that are not tensors: {listed}. Save it without.")
    return {str(key): tensor.detach() for key, tensor in inside.items()}


def _without_wrappers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in WRAPPERS * 2:  # twice, because a compiled net may be wrapped again
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return state


# --- containers ------------------------------------------------------------------------------------------------------


def _container(path: Path) -> str:
    """ "legacy", "zip" or "safetensors"; a sentence for everything else, before any reader has seen it."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(512)
    again = "Delete it and fetch it again."
    if not start:
        raise CheckpointError(f"{path} is empty. {again}")
    if start.lstrip()[:1] == b"<":
        raise CheckpointError(f"{path} is a web page ({size:,} bytes), not weights: most likely an error page. {again}")
    if start[:2] == b"PK":
        return _check_zip(path, size, again)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= 100_000_000:  # the library's own limit
        return "safetensors"
    if start[257:262] == b"ustar" or tarfile.is_tarfile(path):
        raise CheckpointError(
            f"{path} is in the tar format of 2016, which cannot be read without executing what it holds. "
            "Open it once in a machine that you can spare and save its state_dict() anew."
        )
    if start[:1] == b"\x80":  # every binary pickle begins so
        return "legacy"
    raise CheckpointError(
        f"{path} is neither a torch file nor safetensors: it begins with {bytes(start[:8])!r}. "
        "If it is an archive, unpack it first."
    )


def _check_zip(path: Path, size: int, again: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.rpartition("/")[2] for name in archive.namelist()}
    except zipfile.BadZipFile:
        raise CheckpointError(
            f"{path} is a torch zip file that is cut short or damaged ({size:,} bytes). {again}"
        ) from None
    if "constants.pkl" in members:
        raise CheckpointError(f"{path} is a TorchScript program, not weights. Save its state_dict() instead.")
    if "data.pkl" not in members:
        raise CheckpointError(f"{path} is a zip archive, but not one that torch.save wrote. Unpack it first.")
    return "zip"


def _read_safetensors(path: Path, device, mmap: bool) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path, device=str(device))
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is a safetensors file that is cut short or damaged ({path.stat().st_size:,} bytes; {error}). "
            "Delete it and fetch it again."
        ) from None
    return state if mmap else {key: tensor.clone() for key, tensor in state.items()}


def _read_torch(path: Path, device, mmap: bool):
    """What torch.save wrote. First as tensors alone; then, if refused, with the harmless types replaced by nothing."""
    try:
        try:
            return _torch_load(path, device, mmap)
        except pickle.UnpicklingError:
            # For the time of this load the whole process knows the placeholders; they can do nothing anywhere.
            with torch.serialization.safe_globals(_PLACEHOLDERS):
                return _torch_load(path, device, mmap)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        names = [wanted[1]] if wanted else _names_in_pickle(path)
        if names:
            raise CheckpointError(
                f"{path} wants more than tensors: {', '.join(names[:3])}. Nothing in it was executed and it is not "
                "loaded. If you trust where it comes from, save its state_dict() alone."
            ) from None
        raise CheckpointError(
            f"{path} is not a file that torch.save wrote with its own settings (pickle protocol 2), or is damaged. "
            "Save it anew or fetch it again."
        ) from None
    except Exception as error:  # a damaged stream can fail anywhere in torch's reader, as anything
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise CheckpointError(
            f"{path} is cut short or damaged ({path.stat().st_size:,} bytes; {reason}). Delete it and fetch it again."
        ) from error


def _torch_load(path: Path, device, mmap: bool):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected pickle protocol")  # it ends in a refusal, which says it better
        if mmap and path.suffix != ".safetensors":  # torch goes by that suffix, we by the content
            return torch.load(str(path), map_location=device, weights_only=True, mmap=True)
        with open(path, "rb") as file:
            return torch.load(file, map_location=device, weights_only=True)


def _names_in_pickle(path: Path) -> list[str]:
    """The globals that a pickle names, read from its opcodes without running any; only used to say what was refused."""
    names, strings = [], []
    with open(path, "rb") as file:
        try:
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name == "GLOBAL":
                    names.append(argument.replace(" ", "."))
                elif opcode.name == "STACK_GLOBAL":
                    names.append(".".join(strings[-2:]))
                elif isinstance(argument, str):
                    strings.append(argument)
        except ValueError:  # not a pickle after all; what was seen so far is still true
            pass
    return names


# --- the allow-list --------------------------------------------------------------------------------------------------


class Placeholder:
    """Stands where an envelope holds a date, a path or a numpy number: takes any arguments, does nothing, keeps nothing.

    The real types are never built. That is safer than allowing them (numpy's unpickling trusts the flags and sizes that
    the file states), needs none of their packages, and loses nothing: only the weights are handed on.
    """

    def __init__(self, *arguments):
        pass

    def __setstate__(self, state):
        pass


def _empty_list(*arguments) -> list:
    return []


def _empty_dict(*arguments) -> dict:
    return {}


_NUMPY = ("scalar", "_reconstruct")
_PATHS = ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
_HARMLESS = {
    "numpy": ("dtype", "ndarray"),
    "numpy.core.multiarray": _NUMPY,
    "numpy._core.multiarray": _NUMPY,  # since numpy 2
    "datetime": ("datetime", "date", "time", "timedelta", "timezone"),
    "pathlib": _PATHS,
    "pathlib._local": _PATHS,  # in Python 3.13
    "argparse": ("Namespace",),
    "types": ("SimpleNamespace",),
    "torch.torch_version": ("TorchVersion",),
    "mmengine.logging.history_buffer": ("HistoryBuffer",),
    # getattr is how a HistoryBuffer names its methods; here it is a placeholder like the others.
    "builtins": ("list", "dict", "tuple", "int", "float", "str", "bool", "frozenset", "slice", "range", "getattr"),
}
_PLACEHOLDERS = [(Placeholder, f"{module}.{name}") for module, names in _HARMLESS.items() for name in names]
# Pickle appends to these two after it has made them, and the reader insists on the plain types for that.
_PLACEHOLDERS += [(_empty_list, "collections.deque"), (_empty_dict, "collections.defaultdict")]


def _type_name(value) -> str:
    return "numpy, date or path object" if isinstance(value, Placeholder) else type(value).__name__
