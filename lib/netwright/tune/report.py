"""The report of a finetuning, as a page: what came out, how it went, where the net is wrong, and what exactly was run.

Imports datasets, evaluate, pages and, of this room, curves, history and progress.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from netwright.datasets import PictureSet
from netwright.evaluate import sections
from netwright.evaluate.metrics import Measures, measure
from netwright.evaluate.predictions import Predictions
from netwright.pages import Page
from netwright.tune.curves import best_epoch, curves, kept
from netwright.tune.history import History
from netwright.tune.progress import size_in_words


def write_report(
    path: str | Path,
    history: History,
    predictions: Predictions,
    pictures: PictureSet,
    *,
    groups: Mapping[str, Sequence[int]] | None = None,
) -> Path:
    """Write the report of a run to `path`, one HTML file that needs nothing else; returns the path.

    predictions: of the weights that are kept, on `pictures`, the split by which the epoch was chosen. groups: as for
    `measure`; None for those that the toy world has. Raises PageError where it cannot be written, EvaluationError where there is nothing to measure.
    """
    measures = measure(predictions, groups=sections.groups_of(pictures) if groups is None else groups)
    start = history.start or {}
    data, model = start.get("data", predictions.name), (start.get("options") or {}).get("model", "a net")
    page = Page(f"Finetuning {model} on {data}", lead=_lead(history, measures))
    page.heading("Result")
    sections.add_numbers(page, measures)
    page.note(_what_would_fool(history, predictions, measures))
    if history.steps or history.epochs:
        page.heading("Curves")
        _add_curves(page, history)
    page.heading("Classes")
    sections.add_classes(page, measures)
    page.heading("Confusions")
    sections.add_confusion(page, measures, predictions.class_names)
    page.heading("Worst mistakes")
    sections.add_mistakes(page, predictions, pictures)
    bad = [*map(tuple, (history.end or {}).get("bad") or []), *predictions.bad]
    if bad:
        page.heading("Pictures left out")
        sections.add_bad(page, bad)
    page.heading("What was run")
    _add_run(page, history)
    return page.write(path)


def _lead(history: History, measures: Measures) -> str:
    words = f"Top-1 {measures.top1.value:.1%} on {measures.pictures:,} validation pictures"
    if history.epochs:
        words += f", after {len(history.epochs)} epoch{'s' * (len(history.epochs) != 1)}"
    seconds = (history.end or {}).get("seconds")
    return f"{words} in {time_in_words(seconds)}." if seconds is not None else f"{words}."


def _what_would_fool(history: History, predictions: Predictions, measures: Measures) -> str:
    """What a reader could take these figures for, and they are not."""
    width = 100 * (measures.top1.high - measures.top1.low)
    if len(history.epochs) > 1:
        told = (
            f"These figures flatter: {predictions.name} is the split by which the epoch was chosen. For one that can be "
            "defended, evaluate once on a test split that had no say in anything."
        )
    else:
        told = f"{predictions.name} flatters as soon as it has had a say in what was tried. A test split has not."
    return (
        f"{told} The interval of the top-1 is {width:.1f} points wide by the number of pictures alone. Another seed "
        "would move it too: recipes that differ by less are not told apart by one training each."
    )


def _add_curves(page: Page, history: History) -> None:
    page.picture(curves(history, dpi=sections.DPI))
    text = (
        "The training loss is measured on augmented pictures, with the recipe's smoothing and mixing, while the net "
        "changes; it may lie above the validation loss and still be healthy. Watch whether the validation loss turns up."
    )
    best = best_epoch(history)
    if best is not None:
        text = f"The weights of epoch {best['epoch'] + 1} were kept. {text}"
    page.text(text)
    with page.folded("Every epoch in numbers"):
        _add_epochs(page, history)


def _add_epochs(page: Page, history: History) -> None:
    columns: dict[str, tuple[str, str]] = {
        "train_loss": ("train loss", ".3f"),
        "val_loss": ("val loss", ".3f"),
        "val_top1": ("val top-1", ".1%"),
        "val_top5": ("val top-5", ".1%"),
        "ema_val_loss": ("averaged: val loss", ".3f"),
        "ema_val_top1": ("averaged: val top-1", ".1%"),
        "seconds": ("seconds", ".0f"),
        "pictures_per_second": ("pictures/s", ",.0f"),
        "waiting": ("waiting for data", ".0%"),
    }
    there = {name: column for name, column in columns.items() if any(_has(line, name) for line in history.epochs)}
    best = best_epoch(history)
    rows = [
        (
            f"{line['epoch'] + 1}" + ("\u00a0(kept)" if line is best else ""),
            *(format(line[name], form) if _has(line, name) else None for name, (_, form) in there.items()),
        )
        for line in history.epochs
    ]
    head = ("epoch", *(label for label, _ in there.values()))
    page.table(head, rows, right=range(1, len(head)))


def _has(line: dict[str, Any], name: str) -> bool:
    return line.get(name) is not None


# What was run ----------------------------------------------------------------------------------------------------


def _add_run(page: Page, history: History) -> None:
    start = history.start
    if start is None:
        page.text("The log does not say: its beginning is missing.")
        return
    if start.get("command"):
        page.text("The exact command. Given again, it goes on with this run; with another folder it repeats it.")
        page.code(start["command"])
    facts = _facts(history, start)
    page.table(("what", "in this run"), [(name, value) for name, value in facts.items() if value not in (None, "")])
    options = start.get("options") or {}
    if options:
        with page.folded("All options"):
            page.table(("option", "value"), [(name, _option(value)) for name, value in options.items()])


def _facts(history: History, start: dict[str, Any]) -> dict[str, str | None]:
    """What a reader asks first, by name, where the log tells it."""
    best = best_epoch(history)
    speeds = [line["pictures_per_second"] for line in history.epochs if _has(line, "pictures_per_second")]
    waited = [line["waiting"] for line in history.epochs if _has(line, "waiting")]
    memory = max((line["memory"] for line in history.epochs if _has(line, "memory")), default=None)
    resumed = ", ".join(f"in epoch {line['epoch'] + 1}" for line in history.resumes)
    counts = [(start.get("train_pictures"), "for training"), (start.get("val_pictures"), "for validation")]
    trained, whole = start.get("trained_parameters"), start.get("parameters")
    seconds = (history.end or {}).get("seconds")
    return {
        "recipe": start.get("recipe"),
        "data": start.get("data"),
        "pictures": ", ".join(f"{count:,} {what}" for count, what in counts if count is not None),
        "classes": f"{len(start['classes']):,}" if start.get("classes") else None,
        "parameters": f"{trained:,} trained of {whole:,}" if trained is not None and whole is not None else None,
        "pictures a step": _batch(start),
        "highest rate": f"{start['rate']:.3g}" if start.get("rate") else None,
        "seed": start.get("seed"),
        "epochs": f"{len(history.epochs)} of {start.get('epochs', '?')}",
        "epoch kept": f"{best['epoch'] + 1}, with a top-1 of {kept(best, 'top1'):.1%}" if best else None,
        "device": _device(start),
        "precision": start.get("precision"),
        "PyTorch": start.get("torch"),
        "netwright": start.get("netwright"),
        "Python": start.get("python"),
        "begun": _moment(start.get("time")),
        "took": time_in_words(seconds) if seconds is not None else None,
        "resumed": resumed,
        "speed": f"{sorted(speeds)[len(speeds) // 2]:,.0f} pictures/s, median of the epochs" if speeds else None,
        "waiting for data": f"{sum(waited) / len(waited):.0%} of the time" if waited else None,
        "peak memory": size_in_words(memory) if memory else None,
    }


def _batch(start: dict[str, Any]) -> str | None:
    batch, recipes = start.get("batch"), start.get("recipe_batch")
    if batch is None or recipes in (None, batch):
        return None if batch is None else f"{batch:,}"
    return f"{batch:,}, and {recipes:,} in the recipe"


def _device(start: dict[str, Any]) -> str | None:
    many = start.get("ranks") or 1
    return f"{many} × {start.get('device')}" if many > 1 else start.get("device")


def _option(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value)) or "none"
    return "not given" if value is None else str(value)


def _moment(text: str | None) -> str | None:
    """2026-03-04T09:12:44+00:00 as 2026-03-04 09:12 UTC+00:00; what is no moment, as it is."""
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M %Z").strip()
    except (TypeError, ValueError):
        return text


def time_in_words(seconds: float) -> str:
    """As people say it: 41 s, 9 min, 3 h 20 min, 2 d 4 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h"
