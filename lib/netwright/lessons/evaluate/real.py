"""Notebook 11 at full size: published weights on the reader's own pictures, and throughput on a GPU; or what is missing.

Imports device, paths, models, weights, datasets and evaluate.
"""

from pathlib import Path

import torch

from netwright import paths
from netwright.datasets import PictureSet, open_data
from netwright.datasets.named import sets
from netwright.device import device_name, pick_device
from netwright.evaluate.evaluation import Evaluation, evaluation_of
from netwright.evaluate.imagenet_val import imagenet_val
from netwright.evaluate.sample import Sample
from netwright.evaluate.speed import HEAD, rows, speed
from netwright.lessons.tables import Table, table
from netwright.models import create_model, list_weights
from netwright.weights.fetch import WeightsUnavailable


def published_on(folder: str | Path | None, *, model: str, limit: int | None = None) -> str:
    """The published weights of `model` on ImageNet's pictures in `folder`, or on Imagenette if that is there; in words.

    limit: only so many pictures, drawn at random. Where weights or pictures are missing the words say which.
    """
    missing = []
    try:
        net = create_model(model, pretrained=True)
    except WeightsUnavailable:
        file = list_weights(f"{model}.*")[0].files[0]
        missing.append(f"the weights, {file.filename} ({file.size_text}), which cannot be fetched now")
    pictures = _pictures(folder)
    if pictures is None:
        looked = f"{folder} has none in a layout that is known" if folder else "IMAGENET is not set"
        missing.append(f"pictures: {looked}, and Imagenette is not in {paths.home() / 'datasets'}")
    if missing:
        return "\n  ".join(["Nothing is measured here. Missing are", *missing])
    net.to(pick_device())
    asked = Sample(pictures, limit) if limit and limit < len(pictures) else pictures
    some = len(pictures.class_names) < net.num_classes
    return _in_words(evaluation_of(net, asked, model=model, subset_of="imagenet" if some else None))


def _pictures(folder: str | Path | None) -> PictureSet | None:
    """ImageNet's validation pictures in the folder, else Imagenette's, else None."""
    if folder is not None and Path(folder).expanduser().is_dir():
        found = imagenet_val(folder)
        if found is not None:
            return found
    for name, it in sets().items():
        if name.startswith("imagenette") and (paths.home() / "datasets" / it.folder).is_dir():
            return open_data(name).split("val")
    return None


def _in_words(it: Evaluation) -> str:
    lines = [f"{it.weights} on {it.predictions.name}: top-1 {it.measures.top1}", f"answers read {it.labels}"]
    lines += [
        f"{one.figure} published {one.published.value:.2%}, here {one.measured.value:.2%}: {one.verdict}. {one.why}".strip()
        for one in it.verdicts
    ]
    return "\n".join(lines)


def throughput(models: tuple[str, ...], *, batches: tuple[int, ...] = (1, 64)) -> Table:
    """Latency, throughput and peak memory of untrained nets at full size on a GPU, in bf16; or why there is nothing."""
    if not torch.cuda.is_available():
        reason = f"not measured: no CUDA device is here, only {device_name(pick_device())}"
        return table(("at full size, on a GPU", ""), [(model, reason) for model in models])
    lines = []
    for model in models:
        torch.manual_seed(0)
        measured = speed(create_model(model), batches=batches, device="cuda", precision="bf16")
        lines += [(model, *row) for row in rows(measured)]
    return table(("net", *HEAD), lines)
