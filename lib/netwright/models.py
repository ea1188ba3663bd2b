"""From a name to a net that answers: create_model, its lists, its transform, classify. Imports nets, weights, images."""

import contextlib
import difflib
import fnmatch
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from netwright import paths, trained
from netwright.imagenet import labels
from netwright.nets.config import NetConfig
from netwright.nets.net import FeatureNet, ResidualNet
from netwright.nets.zoo import ALL, CONFIGS, TOYS
from netwright.transforms import Transform
from netwright.weights import cache, catalogue
from netwright.weights.catalogue import Preprocessing, UnknownWeights, Weights
from netwright.weights.fetch import fetch
from netwright.weights.keymaps import to_netwright
from netwright.weights.load import CLASSIFIER, load_into
from netwright.weights.read import read_checkpoint

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CHECKPOINT_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".ckpt", ".tar")

_told: set[str] = set()  # what has been said once, and is not said again


class UnknownModel(KeyError):
    """No net has this name; the message gives the nearest ones."""

    def __str__(self) -> str:  # KeyError would show its message in quotes
        return self.args[0]


def list_models(pattern: str = "*") -> list[str]:
    """Names of all architectures that match `pattern`, a shell pattern such as "*halo*"; toy nets come last."""
    return fnmatch.filter(ALL, pattern)


def list_weights(pattern: str = "*") -> list[Weights]:
    """The published weights of which the name or one of the publisher's names matches `pattern`."""
    return [
        weights
        for weights in catalogue.catalogue()
        if any(fnmatch.fnmatchcase(name, pattern) for name in (weights.name, *weights.aliases))
    ]


def create_model(
    name: str | NetConfig,
    pretrained: bool = False,
    *,
    weights: str | os.PathLike | Weights | Mapping[str, Tensor] | None = None,
    num_classes: int | None = None,
    in_chans: int = 3,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    output_stride: int = 32,
    features_only: bool = False,
    out_indices: tuple[int, ...] = (0, 1, 2, 3, 4),
    progress: bool = True,
) -> ResidualNet | FeatureNet:
    """A net by its name: untrained, with published weights, or with your own.

    name: an architecture ("resnext50_32x4d"), a toy net ("toy_halonet"), any publisher's name of some weights
    ("ssl_resnext101_32x16d", "halonet50ts.a1h_in1k"), or a `NetConfig` of your own.
    pretrained: load the weights that the name means, or the architecture's default ones.
    weights: which instead: a tag ("fb_ssl_yfcc100m_ft_in1k"), a publisher's name, a file, or a state dict.
    num_classes: None for as many as the weights have (1000 without weights); another number makes a new classifier;
    0 leaves it out, for embeddings. in_chans: where it is not 3, the first convolution of loaded weights is adapted.
    features_only: return a `FeatureNet`, a list of maps at `out_indices`. progress: show a download as it goes.
    The rest: see `ResidualNet`.

    The net is in training mode, as a fresh torch module is. `net.weights` is the catalogue entry, None for your own;
    a file of your own that is, by its name and its hash, a published one counts as published.
    Raises UnknownModel and UnknownWeights with the nearest names, WeightsUnavailable when a file cannot be had,
    CheckpointError and CheckpointMismatch when it cannot be loaded, ValueError for weights of another architecture.
    """
    architecture, config, meant = _resolve(name)
    entry, given = _source(architecture, meant, pretrained, weights)

    options = {
        "in_chans": in_chans,
        "drop_rate": drop_rate,
        "drop_path_rate": drop_path_rate,
        "output_stride": output_stride,
    }
    if entry is None and given is None:
        net = ResidualNet(config, num_classes=1000 if num_classes is None else num_classes, **options)
    else:
        net = _load(config, fetch(entry, progress=progress) if given is None else given, num_classes, options)
        net.weights = entry
        _tell(entry)
    return FeatureNet(net, out_indices) if features_only else net


def toy_weights(name: str) -> Path:
    """The file of a toy net that was trained for the workbook and ships with it."""
    return paths.data(f"toy/{name}.safetensors")


def config_of(name: str) -> NetConfig:
    """The configuration of the architecture that any name of a net or of weights means. Raises UnknownModel."""
    return _resolve(name)[1]


def load_run(path: str | os.PathLike) -> ResidualNet:
    """The net that a finetuning made: the best one of a run's folder, or that in a file; with its classes' names.

    Raises NotTrainedHere where there is none, and what `create_model` raises.
    """
    return create_model(trained.about(path)["model"], weights=trained.file_of(path))


def transform_for(net: nn.Module, **options) -> Transform:
    """Resize, centre crop and normalise exactly as the net's weights were evaluated by their publisher.

    For a net without published weights: `preprocessing_of`. `options` are those of `Transform`: input_size,
    crop_pct, use_test_size.
    """
    return Transform(preprocessing_of(net), **options)


def preprocessing_of(net: nn.Module) -> Preprocessing:
    """How a picture becomes an input: as the net says (`net.preprocessing`), or its published weights (`net.weights`).

    Else ImageNet's mean and standard deviation, the net's own input size and an 87.5 % crop.
    """
    own, weights, config = (getattr(net, name, None) for name in ("preprocessing", "weights", "config"))
    if own is not None or weights is not None:
        return own or weights.preprocessing
    if config is None:
        raise ValueError(
            f"A {type(net).__name__} does not say what its pictures look like. Give it the catalogue entry of its "
            "weights (net.weights = nw.list_weights(…)[0]) or a NetConfig (net.config)."
        )
    side = config.input_size
    return Preprocessing(
        input_size=(side, side),
        resize=int(side / 0.875),
        crop_pct=0.875,
        crop_mode="center",
        interpolation="bicubic",
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        pipeline="timm",
        test_input_size=None,
        test_crop_pct=None,
    )


@torch.inference_mode()
def classify(net: nn.Module, image, k: int = 5) -> list[tuple[str, float]]:
    """The `k` likeliest classes of one image, as (label, probability), likeliest first.

    image: a path, URL, PIL image, array, or tensor (3, height, width) that has not been normalised yet. The net is
    asked in evaluation mode and left as it was. Classes are called by `net.class_names` where the net has them, else
    by ImageNet's names where there are 1000, else by their number.
    """
    _check_classifier(net)
    weight = next(net.parameters())
    if weight.shape[1] != 3:
        raise ValueError(
            f"This net takes inputs of {weight.shape[1]} channels, and no publisher says how a picture becomes one: "
            "make the input yourself, call net(input) and take its softmax."
        )
    batch = transform_for(net)(image).unsqueeze(0).to(weight.device, weight.dtype)
    training = [module for module in net.modules() if module.training]  # a net may be frozen in part
    net.eval()
    try:
        return top_classes(net, net(batch), k)[0]
    finally:
        for module in training:
            module.training = True


def top_classes(net: nn.Module, logits: Tensor, k: int = 5) -> list[list[tuple[str, float]]]:
    """For each row of `logits` (batch, num_classes) the `k` likeliest classes, as `classify` gives them."""
    _check_classifier(net)
    names = class_names(net, net.num_classes)
    top = logits.float().softmax(dim=1).topk(min(k, net.num_classes))
    return [
        [(names[i], p) for i, p in zip(indices, probabilities, strict=True)]
        for indices, probabilities in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]


def class_names(net: nn.Module, count: int) -> tuple[str, ...]:
    """A name for each of the `count` logits of a net: `net.class_names`, else ImageNet's for 1000, else numbers.

    Raises ValueError where `net.class_names` are more or fewer.
    """
    names = getattr(net, "class_names", None)
    if names is None:
        names = [label.name for label in labels()] if count == 1000 else range(count)
    if len(names) != count:
        raise ValueError(f"class_names has {len(names)} names, and the net has {count} classes.")
    return tuple(map(str, names))


def _check_classifier(net: nn.Module) -> None:
    if not getattr(net, "num_classes", 0):
        raise ValueError("This net has no classifier. Make it with num_classes other than 0, without features_only.")


# --- what the names mean -----------------------------------------------------------------------------------------


def _resolve(name: str | NetConfig) -> tuple[str | None, NetConfig, Weights | None]:
    """The architecture's name, its configuration, and the published weights that `name` means, if it means any."""
    if isinstance(name, NetConfig):
        return None, name, None
    if name in ALL:
        return name, ALL[name], catalogue.default_for(name)
    try:
        entry = catalogue.find(name)
    except UnknownWeights:
        known = [*ALL, *(n for w in catalogue.catalogue() for n in (w.name, *w.aliases))]
        near = difflib.get_close_matches(name, known, n=4, cutoff=0.5)
        hint = f"The nearest names: {', '.join(near)}." if near else "list_models() shows all names."
        raise UnknownModel(f"No net is called {name!r}. {hint}") from None
    return entry.architecture, CONFIGS[entry.architecture], entry


def _source(architecture, meant, pretrained, weights) -> tuple[Weights | None, Path | Mapping[str, Tensor] | None]:
    """Where the numbers come from: (catalogue entry or None, file or state dict or None, if it is to be fetched)."""
    if weights is None:
        if pretrained and architecture in TOYS:
            return None, toy_weights(architecture)
        if pretrained and meant is None:
            raise UnknownWeights(
                f"Nobody has published weights of {architecture or 'a net of your own'} that netwright knows. Leave "
                "pretrained out for an untrained net, or give weights=, a file."
            )
        return (meant if pretrained else None), None
    if isinstance(weights, Mapping):
        return None, weights
    path = None if isinstance(weights, Weights) else Path(weights).expanduser()
    if path and path.is_file():
        entry, given = _published(path), path
    else:
        entry, given = weights if path is None else _entry(architecture, str(weights), path), None
    if entry and architecture not in (None, entry.architecture):
        raise ValueError(f"{entry.name} are weights of {entry.architecture}, not of {architecture}.")
    return entry, given


def _entry(architecture: str | None, name: str, path: Path) -> Weights:
    """The published weights that are called `name`, by a tag of the architecture or by any publisher's name."""
    for written in (name, f"{architecture}.{name}"):
        with contextlib.suppress(UnknownWeights):
            return catalogue.find(written)
    if path.suffix in CHECKPOINT_SUFFIXES or len(path.parts) > 1:
        raise FileNotFoundError(f"There is no weight file {path}, and no published weights have that name.")
    if architecture:
        tags = ", ".join(weights.tag for weights in catalogue.catalogue() if weights.architecture == architecture)
        raise UnknownWeights(f"{architecture} has no published weights called {name!r}; it has {tags}.")
    return catalogue.find(name)  # raises, with the nearest names


def _published(path: Path) -> Weights | None:
    """The catalogue entry of a file that the reader has fetched: its name says which, its hash proves it."""
    for entry in catalogue.catalogue():
        for file in entry.files:
            if file.filename == path.name and file.role != "huggingface":  # there, every file is model.safetensors
                place = cache.prove(cache.Place(entry.name, file, "given", path, cache.UNPROVEN))
                return entry if place.state == cache.VERIFIED else None
    return None


def _load(config, given: Path | Mapping[str, Tensor], num_classes, options) -> ResidualNet:
    """The net with the numbers of `given` in it.

    For a file, the net is built without memory of its own and takes the file's; a state dict in the caller's hands
    is copied.
    """
    held_by_caller = isinstance(given, Mapping)
    state = to_netwright(given if held_by_caller else read_checkpoint(given))

    classifier = state.get(f"{CLASSIFIER}weight")
    classes = 0 if classifier is None else len(classifier)
    with torch.device("cpu" if held_by_caller else "meta"):
        net = ResidualNet(config, num_classes=classes if num_classes is None else num_classes, **options)
    new_classifier = num_classes not in (None, classes)
    load_into(net, state, new_classifier=new_classifier, new_input=True, source="" if held_by_caller else str(given))
    if not held_by_caller:
        _recall(net, given, new_classifier)
    return net


def _recall(net: ResidualNet, file: Path, new_classifier: bool) -> None:
    """Tell `net` what a file that was saved here says of it."""
    with contextlib.suppress(trained.NotTrainedHere):
        said = trained.about(file)
        net.preprocessing = trained.preprocessing(said)
        if not new_classifier and net.num_classes:
            net.class_names = tuple(said["class_names"])


def _tell(entry: Weights | None) -> None:
    """On standard error, once a session: a licence that forbids commercial use, and that a file is known to be bad."""
    if entry is None:
        return
    sentences = [f"{entry.name}: {defect}" for defect in entry.defects] if entry.known_bad else []
    if entry.noncommercial:
        sentences.append(f"Licence of these weights: {entry.licence}, non-commercial use only. {entry.publisher}.")
    for sentence in sentences:
        if sentence not in _told:
            _told.add(sentence)
            print(sentence, file=sys.stderr)
