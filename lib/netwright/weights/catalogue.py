"""What is known of every published weight file, as plain records read from catalogue.json beside this file.

Imports nothing of the project: no network, no torch.
"""

import difflib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as package_files


@dataclass(frozen=True)
class File:
    """One address of a weight file. Two files with one ``filename`` hold the same bytes."""

    role: str  # "publisher", "mirror" or "huggingface"
    url: str
    filename: str
    sha256_prefix: str | None  # what the publisher's file name says
    sha256: str | None  # in full, where somebody has published it
    suffix_hash: str  # "stated": the publisher's tools make the suffix a sha256; "convention": only custom says so
    bytes: int | None  # as stated by a publisher
    bytes_predicted: tuple[int, int | None] | None  # (low, high), computed from the tensors; high None: no bound
    container: str  # "legacy", "zip", "safetensors", "envelope" (dict of meta and state_dict) or "unknown"
    container_basis: str  # why that is believed: no publisher states it
    layout: str  # key names: "torchvision", "resnest", "openmmlab" or "byobnet"
    num_batches_tracked: bool | None  # whether BatchNorm's counters are in the file; None: not established
    repository: str | None  # Hugging Face only: owner/name
    revision: str | None  # Hugging Face only: commit id, of use as a pin when it has all 40 digits
    note: str

    @property
    def pin(self) -> str | None:
        """The commit that a Hugging Face download can be pinned to: the hub takes only full ids."""
        return self.revision if self.revision and len(self.revision) == 40 else None

    @property
    def size(self) -> int | None:
        """Bytes, as stated or else as the lower end of the prediction; None when neither is known."""
        return self.bytes or (self.bytes_predicted[0] if self.bytes_predicted else None)

    @property
    def size_text(self) -> str:
        """The size for people, "100.4 MB", with "about" before a prediction."""
        if self.size is None:
            return "of unknown size"
        return f"{'' if self.bytes else 'about '}{self.size / 1e6:.1f} MB"


@dataclass(frozen=True)
class Preprocessing:
    """How the published figures were measured. ``pipeline`` names whose code did it."""

    input_size: tuple[int, int]  # (height, width)
    resize: int  # short side before the centre crop
    crop_pct: float
    crop_mode: str
    interpolation: str  # "bilinear" or "bicubic"
    mean: tuple[float, float, float]  # RGB, on pixels in 0..1
    std: tuple[float, float, float]
    pipeline: str  # "timm", "torchvision" or "openmmlab"
    test_input_size: tuple[int, int] | None  # where the publisher evaluates at a second, larger size
    test_crop_pct: float | None


@dataclass(frozen=True)
class Metric:
    """One published figure, in percent. ``source`` is a key of ``sources()``."""

    dataset: str
    size: int  # input side
    top1: float
    top5: float | None
    source: str


@dataclass(frozen=True)
class Weights:
    """One published set of weights. ``files`` come in the order in which they are tried."""

    row: int
    name: str  # architecture + "." + tag
    architecture: str
    tag: str
    aliases: tuple[str, ...]
    default: bool  # what the architecture's bare name means when pretrained weights are asked for
    known_bad: bool  # the publisher itself says that the file is not the announced model; see defects
    optional: bool
    publisher: str
    repository: str  # of the publisher, on GitHub
    licence: str  # SPDX
    licence_note: str
    noncommercial: bool
    parameters: int
    gmacs: float  # counted at preprocessing.input_size: convolutions, linear layers, attention products
    gmacs_published: tuple[tuple[str, float], ...]  # (source, value), counted by other rules
    preprocessing: Preprocessing
    files: tuple[File, ...]
    metrics: tuple[Metric, ...]
    defects: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def top1(self) -> float:
        """ImageNet top-1 in percent: the publisher's own figure, or timm's where there is none or the file is known bad."""
        return self.metrics[0].top1


class UnknownWeights(KeyError):
    """No published weights have this name; the message gives the nearest ones."""

    def __str__(self) -> str:  # KeyError would show its message in quotes
        return self.args[0]


def catalogue() -> tuple[Weights, ...]:
    """Every published set of weights, in the order of its row."""
    return _all()


def find(name: str) -> Weights:
    """The weights with this name, alias, file name or hub id (``hf-hub:timm/…`` too). Raises UnknownWeights."""
    wanted = name.strip()
    for prefix in ("hf-hub:", "hf_hub:", "https://huggingface.co/"):
        wanted = wanted.removeprefix(prefix)
    index = {}
    for weights in catalogue():
        publishers_files = [file.filename for file in weights.files if file.role != "huggingface"]
        for key in (weights.name, *weights.aliases, *publishers_files):
            index[key.casefold()] = weights
    try:
        return index[wanted.casefold()]
    except KeyError:
        pass
    near = difflib.get_close_matches(wanted.casefold(), index, n=4, cutoff=0.5)
    of_architecture = names(wanted)
    if of_architecture:
        hint = f"{wanted} is an architecture; its weights are {', '.join(of_architecture)}."
    elif near:
        hint = f"The nearest names: {', '.join(near)}."
    else:
        hint = "list_weights() shows all names."
    raise UnknownWeights(f"No published weights are called {name!r}. {hint}")


def default_for(architecture: str) -> Weights | None:
    """The weights that the architecture's bare name means, or None when nobody has published any.

    timm's choice where the catalogue has it; else the highest top-1 among files that are not known to be bad.
    """
    return next((w for w in catalogue() if w.architecture == architecture and w.default), None)


def names(architecture: str | None = None) -> list[str]:
    """Names of all weights, or of one architecture's."""
    return [w.name for w in catalogue() if architecture in (None, w.architecture)]


def sources() -> dict[str, str]:
    """Where each figure was published: key of ``Metric.source`` → repository, commit and file."""
    return dict(_raw()["sources"])


@cache
def _all() -> tuple[Weights, ...]:
    raw = _raw()
    return tuple(_weights(entry, raw["publishers"][entry["publisher"]]) for entry in raw["weights"])


@cache
def _raw() -> dict:
    return json.loads(package_files(__package__).joinpath("catalogue.json").read_text("utf-8"))


def _weights(entry: dict, publisher: dict) -> Weights:
    architecture, tag = entry["name"].split(".")
    preprocessing = Preprocessing(
        **{k: tuple(v) if isinstance(v, list) else v for k, v in entry["preprocessing"].items()}
    )
    fields = {"defects": [], "notes": []} | entry | {"publisher": publisher["name"], "preprocessing": preprocessing}
    fields |= {key: publisher[key] for key in ("repository", "licence", "licence_note", "noncommercial")}
    fields["files"] = tuple(_file(file, publisher["suffix_hash"]) for file in entry["files"])
    fields["metrics"] = tuple(Metric(*figure) for figure in entry["metrics"])
    fields["gmacs_published"] = tuple(entry["gmacs_published"].items())
    for key in ("aliases", "defects", "notes"):
        fields[key] = tuple(fields[key])
    return Weights(architecture=architecture, tag=tag, **fields)


def _file(entry: dict, suffix_hash: str) -> File:
    fields = {"repository": None, "revision": None, "note": "", "suffix_hash": suffix_hash} | entry
    if entry["bytes_predicted"]:
        fields["bytes_predicted"] = tuple(entry["bytes_predicted"])
    return File(filename=entry["url"].rsplit("/", 1)[1], **fields)
