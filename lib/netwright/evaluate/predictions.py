"""What a net says of every picture of a set, each picture exactly once, over any number of processes.

Imports datasets, models, ranks, transforms and, of this room, labelmaps.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor, nn

from netwright.datasets import EveryPicture, Inputs, PictureSet, loader
from netwright.evaluate.labelmaps import EvaluationError, LabelMap, label_map
from netwright.models import transform_for
from netwright.ranks import gathered, ranks
from netwright.transforms import Transform

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Predictions:
    """logits: float32 (n, answers); targets: the right answer, int64 (n,); indices: which pictures, int64 (n,), rising.

    name: of the set. class_names: of the answers. bad: (where, sentence) of each picture that could not be opened and
    is not among the n. seconds: wall clock of the slowest process, with opening and preparing the pictures.
    """

    logits: Tensor
    targets: Tensor
    indices: Tensor
    name: str
    class_names: tuple[str, ...]
    bad: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def answers(self) -> Tensor:
        """The likeliest class of each picture, int64 (n,); of equally likely ones, the first."""
        return self.logits.argmax(dim=1)

    @property
    def probabilities(self) -> Tensor:
        """float32 (n, answers); each row sums to one."""
        return self.logits.softmax(dim=1)


def predict(
    net: nn.Module,
    pictures: PictureSet,
    *,
    transform: Callable[[Image.Image], Tensor] | None = None,
    labels: LabelMap | None = None,
    batch: int = 64,
    workers: int = 0,
    device: str | torch.device | None = None,
    precision: str = "fp32",
    progress: bool = True,
) -> Predictions:
    """Ask `net`, in evaluation mode, about every picture, and leave it as it was.

    transform: from a PIL image to an input; None for the net's own, `transform_for(net)`. labels: how its outputs are
    read, see `label_map`. batch: pictures at once, in each process. workers: processes that prepare pictures ahead.
    device: None for where the net is. precision: "fp32" (the net's own type), "bf16" or "fp16" (autocast).
    Among several ranks each sees its share of the pictures, and every one returns the whole.
    Raises EvaluationError for an empty set, classes that do not fit and a batch that memory does not hold.
    """
    if not len(pictures):
        raise EvaluationError(f"{pictures.name} holds no picture.")
    if precision not in PRECISIONS:
        raise EvaluationError(f"precision={precision!r} is none of {', '.join(PRECISIONS)}.")
    labels = label_map(net, pictures) if labels is None else labels
    make = _Make(transform_for(net) if transform is None else transform)
    inputs = Inputs(pictures, make, make.all)
    here = ranks()
    batches = EveryPicture(len(pictures), batch, rank=here.rank, world=here.world)

    start = time.perf_counter()
    logits, targets, indices, bad = [], [], [], []
    with asked(net, device) as place, _bar(len(batches.indices), progress and here.first) as bar:
        for part in loader(inputs, batches, workers=workers, pin=place.type == "cuda"):
            bar.update(len(part.indices) + len(part.bad))
            bad += [(pictures.where(index), sentence) for index, sentence in part.bad]
            if len(part.indices):
                answers = labels.answers(_logits(net, part.images, place, precision, labels.outputs))
                logits.append(answers.cpu())
                targets.append(labels.targets[part.targets])
                indices.append(part.indices)
    none, no_answer = torch.empty(0, dtype=torch.int64), torch.empty(0, len(labels.columns))
    mine = (torch.cat([no_answer, *logits]), torch.cat([none, *targets]), torch.cat([none, *indices]), bad)
    return _together(gathered((*mine, time.perf_counter() - start)), pictures.name, labels.class_names)


def _together(parts: list[tuple], name: str, class_names: tuple[str, ...]) -> Predictions:
    """What all ranks have seen, in the order of the set."""
    logits, targets, indices, bad, seconds = zip(*parts, strict=True)
    order = torch.cat(indices).argsort()
    return Predictions(
        logits=torch.cat(logits)[order],
        targets=torch.cat(targets)[order],
        indices=torch.cat(indices)[order],
        name=name,
        class_names=class_names,
        bad=sorted(entry for part in bad for entry in part),
        seconds=max(seconds),
    )


# --- asking a net ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def asked(net: nn.Module, device: str | torch.device | None = None) -> Iterator[torch.device]:
    """`net` in evaluation mode on `device`, without gradients; afterwards it is, in every part, as it was."""
    home = next(net.parameters(), torch.empty(0)).device
    device = home if device is None else torch.device(device)
    training = [module for module in net.modules() if module.training]  # a net may be frozen in part
    net.eval().to(device)
    try:
        with torch.inference_mode():
            yield device
    finally:
        net.to(home)
        for module in training:
            module.training = True


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which a net computes in `precision`; "fp32" switches a surrounding one off."""
    return torch.autocast(device.type, dtype=PRECISIONS[precision], enabled=PRECISIONS[precision] is not None)


def _logits(net: nn.Module, images: Tensor, device: torch.device, precision: str, outputs: int) -> Tensor:
    """Logits, float32 (n, outputs) on `device`."""
    dtype = next(net.parameters(), images).dtype
    try:
        images = images.to(device, dtype, non_blocking=True)
        if device.type in ("cpu", "cuda"):
            images = images.to(memory_format=torch.channels_last)
        with autocast(device, precision):
            logits = net(images).float()
    except torch.OutOfMemoryError as error:
        smaller = max(1, len(images) // 2)
        raise EvaluationError(
            f"{len(images)} pictures at once do not fit into the memory of {device}. Answers do not depend on the "
            f"batch: choose --batch {smaller} (batch={smaller})."
        ) from error
    if logits.shape != (len(images), outputs):
        raise EvaluationError(f"For {len(images)} pictures the net gives {tuple(logits.shape)}, not {outputs} logits.")
    return logits


class _Make:
    """From pictures to inputs by `transform`, one by one or, which gives the same bits, many at once."""

    def __init__(self, transform: Callable[[Image.Image], Tensor]):
        self.transform = transform

    def __call__(self, picture: Image.Image, ticket) -> Tensor:
        return self.transform(picture)

    def all(self, pixels: Tensor) -> Tensor:
        """Inputs of pictures that are there as pixels, uint8 (n, 3, height, width)."""
        if isinstance(self.transform, Transform) and _shows_all(self.transform, *pixels.shape[2:]):
            return self.transform.normalise(pixels)
        pictures = (Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()) for image in pixels)
        return torch.stack([self.transform(picture) for picture in pictures])


def _shows_all(transform: Transform, height: int, width: int) -> bool:
    """Whether the transform neither resizes nor crops pictures of this size."""
    return transform.input_size == (height, width) == transform.resize


def _bar(total: int, wanted: bool):
    from tqdm import tqdm

    return tqdm(total=total, unit=" pictures", disable=not wanted or not sys.stderr.isatty(), leave=False)
