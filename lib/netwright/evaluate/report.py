"""An evaluation for machines, as JSON, and for people, as a page. Imports files, pages and this room."""

import dataclasses
import json
import math
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from itertools import combinations
from pathlib import Path

import numpy
import PIL
import torch

from netwright.datasets import PictureSet
from netwright.evaluate import sections, speed
from netwright.evaluate.evaluation import Evaluation
from netwright.evaluate.metrics import COLDEST, HOTTEST, Comparison, Share, compare
from netwright.evaluate.reliability import reliability
from netwright.evaluate.verdict import WITHIN, Verdict
from netwright.files import replace_file
from netwright.pages import Bar, Page

FORMAT = 1  # of the JSON; another number where a field changes its meaning


def comparisons(evaluations: Sequence[Evaluation]) -> list[tuple[str, str, Comparison]]:
    """Every two models, picture by picture: (a, b, comparison)."""
    return [(a.model, b.model, compare(a.predictions, b.predictions)) for a, b in combinations(evaluations, 2)]


# --- for machines ------------------------------------------------------------------------------------------------


def as_json(evaluations: Sequence[Evaluation], *, data: str, split: str, device: str, command: str) -> dict:
    """All of it as plain data; a number that does not exist is None.

    Answers are given by picture (indices of the set) as class numbers of `classes`, the confusions as [right answer,
    given answer, pictures].
    """
    return _plain(
        {
            "format": FORMAT,
            "command": command,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "device": device,
            "data": data,
            "split": split,
            "models": [_model(it) for it in evaluations],
            "comparisons": [
                {"a": a, "b": b, "pictures": found.pictures, **dataclasses.asdict(found)}
                for a, b, found in comparisons(evaluations)
            ],
        }
    )


def write_json(path: str | Path, content: dict) -> Path:
    """Write it, whole or not at all, into a folder that is made if need be. Raises OSError."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n")
    return path


def versions() -> dict[str, str]:
    """Of what could move a figure."""
    try:
        own = metadata.version("netwright")
    except metadata.PackageNotFoundError:  # a copy of the source that nobody installed
        own = "not installed"
    return {
        "netwright": own,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _model(it: Evaluation) -> dict:
    found, answers = it.measures, it.predictions
    confusions = [[int(i), int(j), int(found.confusion[i, j])] for i, j in zip(*found.confusion.nonzero(), strict=True)]
    return {
        "model": it.model,
        "weights": it.weights,
        "transform": it.transform,
        "labels": it.labels,
        "precision": it.precision,
        "set": answers.name,
        "pictures": found.pictures,
        "seconds": answers.seconds,
        "bad": answers.bad,
        "not_finite": found.not_finite,
        "top1": found.top1,
        "top5": found.top5,
        "mean_class": found.mean_class,
        "loss": found.loss,
        "ece": found.calibration.ece,
        "bins": found.calibration.bins,
        "temperature": it.temperature,
        "classes": answers.class_names,
        "per_class": found.per_class,
        "per_group": found.per_group,
        "confusions": confusions,
        "answers": {
            "indices": answers.indices.tolist(),
            "right": answers.targets.tolist(),
            "given": answers.answers.tolist(),
        },
        "published": it.verdicts,
        "sweep": it.sweep and {"own": it.sweep.own, "points": it.sweep.points},
        "corruptions": it.robustness and _robustness(it.robustness),
        "speed": [dataclasses.asdict(row) | {"per_second": row.per_second} for row in it.speeds],
    }


def _robustness(it) -> dict:
    shares = [{"kind": kind, "severity": severity, "top1": top1} for (kind, severity), top1 in it.shares.items()]
    means = {"mean": it.mean, "low": it.low, "high": it.high, "relative_drop": it.relative_drop}
    return {"clean": it.clean, **means, "shares": shares}


def _plain(thing):
    """What JSON can hold: records as objects, numbers that are none as null."""
    if dataclasses.is_dataclass(thing):
        return _plain({field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)})
    if isinstance(thing, dict):
        return {key: _plain(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [_plain(value) for value in thing]
    if isinstance(thing, float) and not math.isfinite(thing):
        return None
    return thing


# --- for people, as rows of text ---------------------------------------------------------------------------------

SUMMARY = ("model", "weights", "top-1", "95% interval", "top-5", "class mean", "loss", "ECE")
PUBLISHED = ("weights", "figure", "measured", "published", "difference (95%)", "verdict", "source")
COMPARED = ("a", "b", "a less b, points (95%)", "only a right", "only b right", "McNemar's p")


def summary_rows(evaluations: Sequence[Evaluation]) -> list[tuple[str, ...]]:
    """Rows under SUMMARY."""
    return [
        (
            it.model,
            it.weights,
            *sections.percent(it.measures.top1),
            sections.percent(it.measures.top5)[0] if it.measures.top5 else "",
            f"{it.measures.mean_class:.1%}",
            f"{it.measures.loss:.3f}",
            f"{it.measures.calibration.ece:.1%}",
        )
        for it in evaluations
    ]


def published_rows(found: Sequence[Verdict]) -> list[tuple[str, ...]]:
    """Rows under PUBLISHED."""
    return [
        (
            it.weights,
            it.figure,
            f"{it.measured.value:.2%}",
            f"{it.published.value:.2%}",
            f"{100 * it.difference:+.2f} ({100 * it.low:+.2f} to {100 * it.high:+.2f})",
            it.verdict,
            it.source,
        )
        for it in found
    ]


def compared_rows(found: Sequence[tuple[str, str, Comparison]]) -> list[tuple[str, ...]]:
    """Rows under COMPARED."""
    return [
        (
            a,
            b,
            f"{100 * it.difference:+.2f} ({100 * it.low:+.2f} to {100 * it.high:+.2f})",
            f"{it.only_a:,}",
            f"{it.only_b:,}",
            f"{it.p:.2g}" if it.p >= 1e-4 else "< 0.0001",
        )
        for a, b, it in found
    ]


# --- for people, as a page ---------------------------------------------------------------------------------------


def write_page(
    path: str | Path, evaluations: Sequence[Evaluation], pictures: PictureSet, *, device: str, command: str
) -> Path:
    """Write the report to `path`, one HTML file that needs nothing else; returns the path. Raises PageError."""
    models = ", ".join(it.model for it in evaluations)
    first = evaluations[0]
    page = Page(
        f"Evaluation of {models} on {pictures.name}",
        f"{first.measures.pictures:,} pictures of {len(first.measures.per_class):,} classes. {_best(evaluations)}",
    )
    page.heading("Summary")
    _add_summary(page, evaluations)
    if len(evaluations) > 1:
        page.heading("Which is better")
        _add_comparisons(page, evaluations)
    if any(it.verdicts for it in evaluations):
        page.heading("Against the published figures")
        _add_verdicts(page, [verdict for it in evaluations for verdict in it.verdicts])
    for it in evaluations:
        page.heading(it.model)
        _add_model(page, it, pictures)
    page.heading("What was run")
    _add_run(page, evaluations, device, command)
    return page.write(path)


def _best(evaluations: Sequence[Evaluation]) -> str:
    best = max(evaluations, key=lambda it: it.measures.top1.value)
    value, interval = sections.percent(best.measures.top1)
    who = f"The highest top-1 is that of {best.model}: {value}" if len(evaluations) > 1 else f"Top-1 {value}"
    return f"{who}, with 95% between {interval}."


def _add_summary(page: Page, evaluations: Sequence[Evaluation]) -> None:
    rows = [
        (*row[:4], _bar(it.measures.top1), *row[4:])
        for row, it in zip(summary_rows(evaluations), evaluations, strict=True)
    ]
    head = (*SUMMARY[:4], "0 to 100%", *SUMMARY[4:])
    page.table(head, rows, right=(2, 3, 5, 6, 7, 8), caption="Models on the same pictures")
    page.note(
        "An interval tells how far these pictures speak for others of their kind. It does not count another training "
        "of the same net, or another kind of picture; and a set by which anything was chosen flatters."
    )


def _bar(share: Share) -> Bar:
    return Bar(share.value, share.low, share.high)


def _add_comparisons(page: Page, evaluations: Sequence[Evaluation]) -> None:
    found = comparisons(evaluations)
    page.text(
        "Two nets on the same pictures are compared picture by picture: only where one is right and the other wrong do "
        "they differ. So nets can be told apart whose own intervals overlap. p is McNemar's exact test; of twenty equal "
        "pairs, one falls below 0.05 by chance."
    )
    page.table(COMPARED, compared_rows(found), right=(2, 3, 4, 5))


def _add_verdicts(page: Page, found: Sequence[Verdict]) -> None:
    page.table(PUBLISHED, published_rows(found), right=(2, 3, 4))
    page.items(dict.fromkeys(it.why for it in found if it.why))
    if any(it.verdict == WITHIN for it in found):
        page.text(
            "Within the interval means that chance alone could make the difference. On the very same pictures a right "
            "pipeline comes closer than that, usually to a few hundredths of a point."
        )


def _add_model(page: Page, it: Evaluation, pictures: PictureSet) -> None:
    sections.add_numbers(page, it.measures)
    page.text(f"{it.transform}. Answers are read {it.labels}.")
    page.heading("Classes", 3)
    sections.add_classes(page, it.measures)
    page.heading("Confusions", 3)
    sections.add_confusion(page, it.measures, it.predictions.class_names)
    page.heading("Calibration", 3)
    page.picture(reliability(it.measures.calibration, dpi=sections.DPI))
    if COLDEST < it.temperature < HOTTEST:
        page.text(
            f"Dividing the logits by {it.temperature:.2f} would calibrate the net best on these pictures; to do so, fit "
            "that number on others."
        )
    page.heading("Worst mistakes", 3)
    sections.add_mistakes(page, it.predictions, pictures)
    if it.sweep:
        page.heading("Input size and crop", 3)
        _add_sweep(page, it)
    if it.robustness:
        page.heading("Corruptions", 3)
        _add_robustness(page, it)
    if it.speeds:
        page.heading("Speed and memory", 3)
        page.table(speed.HEAD, speed.rows(it.speeds), right=(1, 2, 3, 4, 5))
    if it.predictions.bad:
        page.heading("Pictures left out", 3)
        sections.add_bad(page, it.predictions.bad)


def _add_sweep(page: Page, it: Evaluation) -> None:
    head, rows = it.sweep.table()
    page.picture(it.sweep.figure())
    page.table(head, rows, right=range(1, len(head)), caption="Top-1; * is the weights' own preprocessing")
    page.items(it.sweep.impossible())
    page.note("The best of many points is best partly by luck: choose on one split, report on another.")


def _add_robustness(page: Page, it: Evaluation) -> None:
    found = it.robustness
    page.picture(found.figure())
    page.text(
        f"Mean of all corruptions {found.mean:.1%} ({found.low:.1%} to {found.high:.1%}), clean {found.clean.value:.1%}: "
        f"{found.relative_drop:.1%} of the clean accuracy is lost. The corruptions follow ImageNet-C's published "
        "formulas but are not its files, so the figures compare nets here and nothing else."
    )
    head, rows = found.table()
    with page.folded("In numbers"):
        page.table(head, rows, right=range(1, len(head)))


def _add_run(page: Page, evaluations: Sequence[Evaluation], device: str, command: str) -> None:
    page.code(command)
    facts = [("device", device), ("precision", evaluations[0].precision), *versions().items()]
    took = "; ".join(f"{it.model} {it.predictions.seconds:.1f} s" for it in evaluations)
    page.table(("what", "in this run"), [*facts, ("asking took", took)])
