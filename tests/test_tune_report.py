"""The report of a finetuning: its curves, its figures, its worst mistakes, and what it says was run."""

import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from made_up_run import STEPS, history, predictions
from netwright import figures
from netwright.datasets import PictureSet, ToyPictures
from netwright.evaluate import measure, sections
from netwright.evaluate.figures import MOST_CLASSES, confusion, confusion_in_words, worst_mistakes, worst_pairs
from netwright.evaluate.predictions import Predictions
from netwright.images import ImageError
from netwright.pages import Page, PageError
from netwright.toys import ToyWorld
from netwright.tune import curves as curves_module
from netwright.tune.curves import LiveCurves, best_epoch, curves, curves_in_words
from netwright.tune.history import History
from netwright.tune.report import time_in_words, write_report


@pytest.fixture(scope="module")
def toys() -> ToyPictures:
    return ToyPictures(ToyWorld("val", size=32, length=200))


def words_of(path) -> str:
    """What a reader reads, a space for every tag."""
    body = path.read_text(encoding="utf-8").partition("</style>")[2]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body)))


def answers(rows: list[tuple[int, int, float]], classes: int = 3) -> Predictions:
    """(right class, answer, confidence) of each picture; what is left goes to the classes in equal parts."""
    chances = torch.tensor(
        [[sure if j == said else (1 - sure) / (classes - 1) for j in range(classes)] for _, said, sure in rows]
    )
    targets = torch.tensor([right for right, _, _ in rows])
    names = tuple("abcdefgh"[:classes])
    return Predictions(chances.log(), targets, torch.arange(10, 10 + len(rows)), "set/val", names)


# The report ----------------------------------------------------------------------------------------------------


def test_a_report_says_what_came_out_and_what_was_run(tmp_path, toys):
    said = predictions(toys)
    said.bad = [("toy/other.png", "It is no picture.")]
    text = words_of(write_report(tmp_path / "report.html", history(), said, toys))
    measures = measure(said)
    top1 = measures.top1
    for expected in (
        "Finetuning resnest50d on flowers",
        f"Top-1 {top1.value:.1%} on 200 validation pictures, after 6 epochs in 1 h 2 min.",
        f"Top-1 {top1.value:.1%} 95%: {100 * top1.low:.1f} to {100 * top1.high:.1f}",
        f"Top-5 {measures.top5.value:.1%} 95%: {100 * measures.top5.low:.1f}",
        "These figures flatter: toy/val is the split by which the epoch was chosen.",
        "The weights of epoch 5 were kept.",
        "python -m netwright finetune flowers --model resnest50d --recipe layerwise --out runs/flowers",
        "recipe layerwise",
        "seed 7",
        "device a made-up device",
        "PyTorch 2.13.0",
        "epochs 6 of 6",
        "took 1 h 2 min",
        "2 pictures could not be opened",
        "flowers/rose/<b>torn</b>.jpg The image is cut off.",
        "toy/other.png It is no picture.",
        "settings augmentation.flip=0",
    ):
        assert expected in text


def test_the_toy_worlds_groups_are_reported(tmp_path, toys):
    text = words_of(write_report(tmp_path / "report.html", history(), predictions(toys), toys))
    right, numbers = measure(predictions(toys)).per_class, sections.groups_of(toys)
    for group, members in numbers.items():
        shares = [right[toys.class_names[i]] for i in members]
        assert re.search(rf"{group} [\d.]+% .*? {sum(s.count for s in shares)} of {sum(s.of for s in shares)} ", text)
    assert sorted(i for members in numbers.values() for i in members) == list(range(20))


def test_a_report_can_be_written_of_a_run_whose_log_is_lost(tmp_path, toys):
    text = words_of(write_report(tmp_path / "report.html", History(), predictions(toys), toys))
    assert "Finetuning a net on toy/val" in text and "The log does not say" in text


def test_a_report_of_one_epoch_does_not_say_that_the_epoch_was_chosen(tmp_path, toys):
    text = words_of(write_report(tmp_path / "report.html", history(1), predictions(toys), toys))
    assert "after 1 epoch " in text and "was chosen" not in text


def test_a_report_of_a_net_without_a_mistake_says_so(tmp_path, toys):
    text = words_of(write_report(tmp_path / "report.html", history(), predictions(toys, strength=100), toys))
    assert "There are no mistakes to be shown." in text and "There is none." in text


def test_a_report_that_cannot_be_written_is_told(tmp_path, toys):
    (tmp_path / "file").write_text("")
    with pytest.raises(PageError, match="report.html could not be written"):
        write_report(tmp_path / "file" / "report.html", history(), predictions(toys), toys)


class Many(PictureSet):
    """Blank pictures of many classes, of which every third cannot be opened."""

    def __init__(self, classes: int, each: int):
        self.name, self.targets = "many/val", np.repeat(np.arange(classes), each)
        self.class_names = tuple(f"class {i}" for i in range(classes))

    def picture(self, index):
        if index % 3 == 0:
            raise ImageError("It is gone.")
        return Image.new("RGB", (8, 8), (index % 256, 90, 120))

    def where(self, index):
        return f"/somewhere/many/val/{index}.png"


@pytest.mark.parametrize("classes", [2, 3, 40, 120, MOST_CLASSES, MOST_CLASSES + 1])
def test_a_report_holds_from_two_classes_to_hundreds(tmp_path, classes):
    pictures = Many(classes, 6)
    path = write_report(tmp_path / "report.html", history(), predictions(pictures, strength=1.0), pictures)
    page, text = path.read_text(encoding="utf-8"), words_of(path)
    assert ("Confusion matrix of" in page) == (classes <= MOST_CLASSES)
    assert "The confusions that cost the most pictures" in text
    assert (f"All {classes} classes" in text) == (classes > sections.MOST_ROWS)
    assert text.count("val/") >= 2 and "/somewhere" not in text


# Figures of mistakes -------------------------------------------------------------------------------------------


def test_the_worst_pairs_are_those_that_cost_the_most_pictures():
    said = answers([(0, 1, 0.9)] * 2 + [(1, 2, 0.9)] * 2 + [(1, 1, 0.9)] * 3 + [(2, 0, 0.6)] + [(0, 0, 0.9)] * 9)
    pairs = worst_pairs(measure(said), said.class_names)
    assert [(p.right, p.said, p.count, p.of) for p in pairs] == [("b", "c", 2, 5), ("a", "b", 2, 11), ("c", "a", 1, 1)]
    assert pairs[0].share == 0.4
    assert len(worst_pairs(measure(said), said.class_names, most=2)) == 2


def test_the_worst_mistakes_are_the_surest():
    said = answers([(0, 1, 0.7), (1, 1, 0.99), (2, 0, 0.95), (1, 0, 0.8), (0, 0, 0.5)])
    assert [(m.index, m.right, m.said) for m in worst_mistakes(said)] == [
        (12, "c", "a"),
        (13, "b", "a"),
        (10, "a", "b"),
    ]
    surest = worst_mistakes(said, most=1)[0]
    assert (surest.confidence, surest.of_right) == (pytest.approx(0.95), pytest.approx(0.025))
    said.logits[2] = float("nan")
    assert [m.index for m in worst_mistakes(said)] == [13, 10]


def test_the_confusion_matrix_shows_the_shares_of_each_right_class(monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "show", lambda figure, alt, **options: drawn.append(figure) or alt)
    said = answers([(0, 0, 0.9)] * 3 + [(0, 2, 0.9)] + [(2, 2, 0.9)] * 5, classes=4)  # b and d: neither shown nor said
    alt = confusion(measure(said), said.class_names)
    axis = drawn[0].axes[0]
    assert np.ma.filled(axis.images[0].get_array(), -1).tolist() == [[0.75, 0.25], [-1, 1.0]]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "c"]
    assert [text.get_text() for text in axis.texts] == ["75", "25", "100"]
    assert alt == confusion_in_words(measure(said), said.class_names)
    figures.plt.close(drawn[0])


def test_the_confusion_matrix_is_told_in_words():
    said = answers([(0, 0, 0.9)] * 3 + [(0, 2, 0.9)] + [(2, 2, 0.9)] * 5)
    told = confusion_in_words(measure(said), said.class_names)
    assert told == (
        "Confusion matrix of 2 classes. Right answers, on the diagonal, from 75% (a) to 100% (c). "
        "Most frequent mistakes: a taken for c, 1 of 4."
    )


def test_a_matrix_finer_than_a_page_is_refused():
    pictures = Many(MOST_CLASSES + 1, 1)
    with pytest.raises(ValueError, match="of 201 classes is finer than a page. See worst_pairs"):
        confusion(measure(predictions(pictures)), pictures.class_names)


def test_pictures_without_numbers_are_noted():
    said = answers([(0, 0, 0.9), (1, 1, 0.9)])
    said.logits[0] = float("nan")
    page = Page("t")
    sections.add_numbers(page, measure(said))
    assert "On 1 pictures the net gave no numbers" in page.to_html()


# Curves --------------------------------------------------------------------------------------------------------


def lines_of(monkeypatch, made: History) -> dict[str, dict[str, list]]:
    """What is drawn: by panel and label, the points."""
    drawn = []
    monkeypatch.setattr(figures, "show", lambda figure, alt, **options: drawn.append(figure))
    curves(made)
    panels = {a.get_title(): {line.get_label(): line.get_xydata().tolist() for line in a.lines} for a in drawn[0].axes}
    panels["end"] = drawn[0].axes[0].get_xlim()[1]
    figures.plt.close(drawn[0])
    return panels


def test_the_curves_are_the_logs_lines_over_the_epochs(monkeypatch):
    made = history(6, planned=8)
    panels = lines_of(monkeypatch, made)
    assert panels["loss"]["train"] == [[line["step"] / STEPS, line["loss"]] for line in made.steps]
    assert panels["loss"]["val"] == [[e + 1, line["val_loss"]] for e, line in enumerate(made.epochs)]
    assert panels["loss"]["val, averaged"] == [[e + 1, line["ema_val_loss"]] for e, line in enumerate(made.epochs)]
    top1 = panels["top-1 on val, %"]
    assert top1["val, averaged"] == [[e + 1, 100 * line["ema_val_top1"]] for e, line in enumerate(made.epochs)]
    assert top1["best: 89.9"] == [[5, 100 * made.epochs[4]["ema_val_top1"]]]
    assert panels["end"] == pytest.approx(8, rel=0.05)


def test_without_an_average_there_is_no_curve_of_one(monkeypatch):
    panels = lines_of(monkeypatch, history(averaged=False))
    assert list(panels["loss"]) == ["train", "val"] and "val, averaged" not in panels["top-1 on val, %"]


def test_numbers_that_were_not_finite_leave_a_gap_and_no_error():
    made = history(2)
    made.steps[3]["loss"] = made.epochs[0]["val_loss"] = made.epochs[0]["ema_val_top1"] = None
    assert curves(made).png
    made.steps, made.epochs = [made.steps[3]], []
    assert curves(made).png


def test_the_curves_are_told_in_numbers():
    told = curves_in_words(history(6, planned=8))
    assert told.startswith("Curves over 6 of 8 epochs. Training loss: from 2.760 to 0.406, lowest 0.406.")
    assert "Best epoch: 5, with a top-1 of 89.9%." in told
    assert told.endswith("Learning rate: from 0.02 over at most 0.02 to 0.00083.")


def test_the_epoch_that_is_kept_is_the_last_that_was_best():
    assert best_epoch(history(6))["epoch"] == 4
    assert best_epoch(History()) is None


def test_there_are_no_curves_of_nothing():
    with pytest.raises(ValueError, match="There is nothing to draw yet"):
        curves(History())


def test_outside_of_a_notebook_no_live_curves_are_drawn(monkeypatch):
    monkeypatch.setattr(curves_module, "curves", lambda made: pytest.fail("drawn for nobody"))
    live = LiveCurves()
    assert live.update(history(2)) is None and live._handle is None


LIVE = """
from made_up_run import history
from netwright.tune.curves import LiveCurves
live = LiveCurves()
for epochs in range(0, 4):
    live.update(history(epochs, planned=3))
"""


def test_a_saved_notebook_holds_the_last_of_the_live_curves_only():
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LIVE)])
    beside = {"metadata": {"path": str(Path(__file__).parent)}}
    NotebookClient(notebook, kernel_name="python3", resources=beside).execute()
    (output,) = notebook.cells[0].outputs
    assert output.output_type == "display_data"
    assert output.data["text/plain"] == curves_in_words(history(3))
    assert output.data["text/html"].count('<img alt="Curves over 3 epochs.') == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (99, "99 s"), (130, "2 min"), (3599, "1 h"), (3725, "1 h 2 min"), (187_200, "2 d 4 h")],
)
def test_times_are_told_as_people_say_them(seconds, words):
    assert time_in_words(seconds) == words
