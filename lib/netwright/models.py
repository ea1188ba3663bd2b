"""From a name to a net that answers: create_model, its lists, its transform, classify. Imports nets, weights, images."""

import difflib
import fnmatch
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from netwright.labels import labels
from netwright.nets.config import NetConfig
from netwright.nets.net import FeatureNet, ResidualNet
from netwright.nets.zoo import CONFIGS
from netwright.transforms import Transform
from netwright.weights import catalogue
from netwright.weights.catalogue import Preprocessing, UnknownWeights, Weights
from netwright.weights.fetch import fetch
from netwright.weights.keymaps import to_netwright
from netwright.weights.load import CLASSIFIER, load_into
from netwright.weights.read import read_checkpoint

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CHECKPOINT_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".ckpt", ".tar")

_licences_shown: set[str] = set()


class UnknownModel(KeyError):
    """No net has this name; the message gives the nearest ones."""

    def __str__(self) -> str:  # KeyError would show its message in quotes
        return self.args[0]


def list_models(pattern: str = "*") -> list[str]:
    """Names of all architectures that match `pattern`, a shell pattern such as "*halo*"."""
    return fnmatch.filter(CONFIGS, pattern)


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
) -> ResidualNet | FeatureNet:
    """A net by its name: untrained, with published weights, or with your own.

    name: an architecture ("resnext50_32x4d"), any publisher's name of some weights ("ssl_resnext101_32x16d",
    "halonet50ts.a1h_in1k"), or a `NetConfig` of your own.
    pretrained: load the weights that the name means, or the architecture's default ones.
    weights: which instead: a tag ("fb_ssl_yfcc100m_ft_in1k"), a publisher's name, a file, or a state dict.
    num_classes: None for as many as the weights have (1000 without weights); another number makes a new classifier;
    0 leaves it out, for embeddings. in_chans: where it is not 3, the first convolution of loaded weights is adapted.
    features_only: return a `FeatureNet`, a list of maps at `out_indices`. The rest: see `ResidualNet`.

    The net is in training mode, as a fresh torch module is. `net.weights` is the catalogue entry, None for your own.
    Raises UnknownModel and UnknownWeights with the nearest names, WeightsUnavailable when a file cannot be had,
    CheckpointError and CheckpointMismatch when it cannot be loaded.
    """
    architecture, config, entry = _resolve(name)
    source = _source(architecture, entry, pretrained, weights)

    options = {
        "in_chans": in_chans,
        "drop_rate": drop_rate,
        "drop_path_rate": drop_path_rate,
        "output_stride": output_stride,
    }
    if source is None:
        net = ResidualNet(config, num_classes=1000 if num_classes is None else num_classes, **options)
    else:
        net = _load(config, source, num_classes, options)
    return FeatureNet(net, out_indices) if features_only else net


def transform_for(net: nn.Module, **options) -> Transform:
    """Resize, centre crop and normalise exactly as the net's weights were evaluated by their publisher.

    For a net without published weights: ImageNet's mean and standard deviation, the net's own input size, 87.5 % crop.
    `options` are those of `Transform`: input_size, crop_pct, use_test_size.
    """
    if isinstance(net, FeatureNet):
        net = net.net
    if net.weights is not None:
        return Transform(net.weights.preprocessing, **options)
    side = net.config.input_size
    preprocessing = Preprocessing(
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
    return Transform(preprocessing, **options)


@torch.inference_mode()
def classify(net: nn.Module, image, k: int = 5) -> list[tuple[str, float]]:
    """The `k` likeliest classes of one image, as (label, probability), likeliest first.

    image: a path, URL, PIL image, array, or tensor (3, height, width) that has not been normalised yet. The net is
    asked in evaluation mode and left as it was. A net of 1000 classes answers with ImageNet's names; any other with
    `net.class_names` where it has them, else with the number of the class.
    """
    weight = next(net.parameters())
    batch = transform_for(net)(image).unsqueeze(0).to(weight.device, weight.dtype)
    training = net.training
    net.eval()
    try:
        return top_classes(net, net(batch), k)[0]
    finally:
        net.train(training)


def top_classes(net: nn.Module, logits: Tensor, k: int = 5) -> list[list[tuple[str, float]]]:
    """For each row of `logits` (batch, num_classes) the `k` likeliest classes, as `classify` gives them."""
    if not getattr(net, "num_classes", 0):
        raise ValueError("This net has no classifier. Make it with num_classes other than 0, without features_only.")
    names = getattr(net, "class_names", None)
    if names is None:
        names = [label.name for label in labels()] if net.num_classes == 1000 else range(net.num_classes)
    top = logits.float().softmax(dim=1).topk(min(k, net.num_classes))
    return [
        [(str(names[i]), p) for i, p in zip(indices, probabilities, strict=True)]
        for indices, probabilities in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]


# --- what the names mean -----------------------------------------------------------------------------------------


def _resolve(name: str | NetConfig) -> tuple[str | None, NetConfig, Weights | None]:
    """The architecture's name, its configuration, and the published weights that `name` means, if it means any."""
    if isinstance(name, NetConfig):
        return None, name, None
    if name in CONFIGS:
        return name, CONFIGS[name], catalogue.default_for(name)
    try:
        entry = catalogue.find(name)
    except UnknownWeights:
        known = [*CONFIGS, *(n for w in catalogue.catalogue() for n in (w.name, *w.aliases))]
        near = difflib.get_close_matches(name, known, n=4, cutoff=0.5)
        hint = f"The nearest names: {', '.join(near)}." if near else "list_models() shows all names."
        raise UnknownModel(f"No net is called {name!r}. {hint}") from None
    return entry.architecture, CONFIGS[entry.architecture], entry


def _source(architecture, entry, pretrained, weights) -> Weights | Path | Mapping[str, Tensor] | None:
    """Where the numbers come from: a catalogue entry, a file, a state dict, or nowhere."""
    if weights is None:
        if pretrained and entry is None:
            raise UnknownWeights(
                f"Nobody has published weights of {architecture or 'a net of your own'} that netwright knows. Leave "
                "pretrained out for an untrained net, or give weights=, a file."
            )
        return entry if pretrained else None
    if isinstance(weights, Mapping | Weights):
        return weights
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    try:
        found = catalogue.find(str(weights))
    except UnknownWeights:
        try:
            found = catalogue.find(f"{architecture}.{weights}")
        except UnknownWeights as unknown:
            if path.suffix in CHECKPOINT_SUFFIXES or len(path.parts) > 1:
                message = f"There is no weight file {path}, and no published weights have that name."
                raise FileNotFoundError(message) from None
            raise unknown from None
    if found.architecture != architecture:
        raise ValueError(f"{found.name} are weights of {found.architecture}, not of {architecture or 'this net'}.")
    return found


def _load(config, source, num_classes, options) -> ResidualNet:
    """The net with the numbers of `source` in it.

    For a file, the net is built without memory of its own and takes the file's; a state dict in the caller's hands
    is copied.
    """
    _show_licence(source)
    entry = source if isinstance(source, Weights) else None
    held_by_caller = isinstance(source, Mapping)
    state = to_netwright(source if held_by_caller else read_checkpoint(fetch(entry) if entry else source))

    classifier = state.get(f"{CLASSIFIER}weight")
    classes = 0 if classifier is None else len(classifier)
    with torch.device("cpu" if held_by_caller else "meta"):
        net = ResidualNet(config, num_classes=classes if num_classes is None else num_classes, **options)
    load_into(net, state, new_classifier=num_classes not in (None, classes), new_input=True)
    net.weights = entry
    return net


def _show_licence(source) -> None:
    """Once a session for each licence that forbids commercial use, on standard error."""
    if isinstance(source, Weights) and source.noncommercial and source.licence not in _licences_shown:
        _licences_shown.add(source.licence)
        print(
            f"Licence of these weights: {source.licence}, non-commercial use only. {source.publisher}.", file=sys.stderr
        )
