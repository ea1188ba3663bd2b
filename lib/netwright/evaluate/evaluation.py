"""Everything that was found out about one net on one set, in one place. Imports datasets, models and this room."""

from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from netwright.datasets import PictureSet, ToyPictures
from netwright.evaluate.labelmaps import LabelMap, label_map
from netwright.evaluate.metrics import Measures, measure, temperature
from netwright.evaluate.predictions import Predictions, predict
from netwright.evaluate.robustness import Robustness
from netwright.evaluate.sample import Sample
from netwright.evaluate.speed import Speed
from netwright.evaluate.sweep import Sweep
from netwright.evaluate.verdict import Verdict, verdicts
from netwright.models import transform_for
from netwright.toys import groups


@dataclass
class Evaluation:
    """model: what it was called. weights: where its numbers are from. transform and labels: in words.

    temperature: what the logits are to be divided by, fitted on these very pictures (see `metrics.temperature`). The
    last three are there where they were asked for.
    """

    model: str
    weights: str
    transform: str
    labels: str
    precision: str
    predictions: Predictions
    measures: Measures
    temperature: float
    verdicts: list[Verdict]
    sweep: Sweep | None = None
    robustness: Robustness | None = None
    speeds: list[Speed] = field(default_factory=list)


def evaluation_of(
    net: nn.Module,
    pictures: PictureSet,
    *,
    model: str = "net",
    weights: str | None = None,
    subset_of: str | None = None,
    keep: Literal["subset", "all"] = "subset",
    input_size: int | None = None,
    crop_pct: float | None = None,
    precision: str = "fp32",
    **ask,
) -> Evaluation:
    """Ask `net` about `pictures` and measure; `ask`: what else `predict` takes.

    input_size, crop_pct: other than the weights' own. subset_of, keep: see `label_map`. Raises EvaluationError.
    """
    transform = transform_for(net, input_size=input_size, crop_pct=crop_pct)
    labels = label_map(net, pictures, subset_of=subset_of, keep=keep)
    predictions = predict(net, pictures, transform=transform, labels=labels, precision=precision, **ask)
    measures = measure(predictions, groups=groups_of(pictures, labels))
    published = getattr(net, "weights", None)
    return Evaluation(
        model=model,
        weights=weights or (published.name if published else "its own"),
        transform=repr(transform),
        labels=labels.how,
        precision=precision,
        predictions=predictions,
        measures=measures,
        temperature=temperature(predictions) if len(predictions) > measures.not_finite else float("nan"),
        verdicts=verdicts(net, pictures, measures, transform),
    )


def groups_of(pictures: PictureSet, labels: LabelMap) -> dict[str, list[int]]:
    """The answers that belong to each group of the toy world's classes; nothing for other sets."""
    base = pictures.pictures if isinstance(pictures, Sample) else pictures
    if not isinstance(base, ToyPictures):
        return {}
    return {group: labels.targets[classes].tolist() for group, classes in groups().items()}
