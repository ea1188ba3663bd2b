"""Sweeps, speed, verdicts, and the report of them for machines and for people."""

import dataclasses
import json
import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import netwright as nw
from netwright.datasets import PictureSet, ToyPictures
from netwright.evaluate import EvaluationError, Predictions, measure, predict, report, share, speed, verdict
from netwright.evaluate.evaluation import evaluation_of
from netwright.evaluate.reliability import reliability
from netwright.evaluate.robustness import robustness
from netwright.evaluate.sample import Sample
from netwright.evaluate.sweep import default_sizes, sweep
from netwright.images import ImageError
from netwright.nets.config import Block, Halo, NetConfig, Stage, Stem
from netwright.toys import CLASSES, ToyWorld
from netwright.weights import catalogue

SMALL = NetConfig(Stem((8,), 3), (Stage((Block("basic"),), 8, 16), Stage((Block("basic"),), 16, 32)), input_size=32)
HALO = NetConfig(
    Stem((8,), 3, pool=False),
    (Stage((Block(spatial_attention=Halo(heads=2, block_size=4, halo=1)),), 8, 16, stride=1),),
    input_size=32,
)


@pytest.fixture(scope="module")
def nets():
    torch.manual_seed(0)
    return [nw.create_model(SMALL, num_classes=20) for _ in range(2)]


@pytest.fixture(scope="module")
def toys():
    return ToyPictures(ToyWorld("val", size=32, length=30))


# --- samples ---------------------------------------------------------------------------------------------------------


def test_a_sample_is_drawn_at_random_always_the_same_and_in_order(toys):
    sample = Sample(toys, 12)
    assert len(sample) == 12 and sample.name == "toy/val, 12 of 30" and sample.class_names == toys.class_names
    numbers = sample.numbers.tolist()
    assert numbers == sorted(set(numbers)) != list(range(12)) and numbers == Sample(toys, 12).numbers.tolist()
    assert numbers != Sample(toys, 12, seed=1).numbers.tolist()
    assert np.array_equal(sample.targets, toys.targets[numbers])
    assert (
        sample.where(3) == toys.where(numbers[3]) and sample.picture(3).tobytes() == toys.picture(numbers[3]).tobytes()
    )
    assert torch.equal(sample.pixels([1, 5]), toys.pixels([numbers[1], numbers[5]]))
    assert Sample(toys, 99).numbers.tolist() == list(range(30))
    with pytest.raises(EvaluationError, match="A sample of 0 pictures"):
        Sample(toys, 0)


# --- sweep -----------------------------------------------------------------------------------------------------------


def test_a_sweep_asks_at_every_size_and_crop(nets, toys, monkeypatch):
    seen = []

    def noted(net, pictures, *, transform, **ask):
        seen.append((transform.input_size[0], transform.crop_pct))
        return predict(net, pictures, transform=transform, **ask)

    monkeypatch.setattr(sys.modules["netwright.evaluate.sweep"], "predict", noted)
    found = sweep(nets[0], toys, sizes=(32, 40), crops=(0.875, 1.0), batch=7)
    assert [(it.input_size, it.crop_pct) for it in found.points] == [(32, 0.875), (32, 1.0), (40, 0.875), (40, 1.0)]
    assert seen == [(it.input_size, it.crop_pct) for it in found.points]
    for it in found.points:
        transform = nw.transform_for(nets[0], input_size=it.input_size, crop_pct=it.crop_pct)
        assert it.top1 == measure(predict(nets[0], toys, transform=transform)).top1
    head, rows = found.table()
    assert head == ["input size", "crop 0.875", "crop 1"] and [row[0] for row in rows] == ["32", "40"]
    assert rows[0][1].endswith("% *") and not rows[1][1].endswith("*") and found.own == (32, 0.875)
    assert "the weights' own size is 32 pixels" in found.figure().alt


def test_sizes_that_do_not_divide_into_blocks_are_named_not_crashed():
    torch.manual_seed(0)
    net, toys = nw.create_model(HALO, num_classes=20), ToyPictures(ToyWorld("val", size=32, length=5))
    found = sweep(net, toys, sizes=(32, 36), crops=(1.0,))
    possible, impossible = found.points
    assert possible.top1.of == 5 and impossible.top1 is None
    assert found.impossible() == [f"36: {impossible.impossible}"] and "18x18 cannot be cut so" in impossible.impossible
    assert found.table()[1][1] == ["36", "impossible"] and net.training
    nothing = sweep(net, toys, sizes=(36,), crops=(1.0,))
    assert "none of the sizes" in nothing.figure().alt


def test_default_sizes_surround_the_nets_own_and_divide():
    assert default_sizes(224) == [160, 224, 288, 320] and default_sizes(256) == [192, 256, 320, 384]
    assert default_sizes(64) == [48, 64, 80, 96]


# --- speed -----------------------------------------------------------------------------------------------------------


def test_speed_times_the_forms_in_turn(nets):
    found = speed.speed(nets[0], batches=(1, 4), runs=3)
    assert [(it.form, it.batch, it.side) for it in found] == [
        ("eager", 1, 32),
        ("optimised", 1, 32),
        ("eager", 4, 32),
        ("optimised", 4, 32),
    ]
    for it in found:
        assert 0 < it.low <= it.median <= it.high and it.per_second == it.batch / it.median
        assert (it.ratio is None) == (it.form == "eager")
    assert nets[0].training and len(speed.rows(found)) == 4 and len(speed.rows(found)[0]) == len(speed.HEAD)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how a process grew")
def test_peak_memory_of_a_fresh_process_holds_weights_and_maps():
    net = nw.create_model("resnet18", num_classes=20)
    weights = sum(4 * parameter.numel() for parameter in net.parameters())
    # 256 pictures, so that the maps outweigh what any batch, even one picture, takes in passing for the convolutions.
    small, large = (speed.peak_on_cpu(net, batch, 64, "fp32") for batch in (1, 256))
    assert weights < small < 4 * weights and large > small + 256 * 64 * 32 * 32 * 4  # at least the stem's map
    assert speed.peak_on_cpu(torch.nn.Identity(), 1, 64, "fp32") is None


# --- verdicts --------------------------------------------------------------------------------------------------------


class Published(PictureSet):
    name, synsets, published_as = "imagenet/val", ("n01440764",), "ImageNet"


@pytest.fixture
def published():
    """A net that has the published weights of resnet18_ssl, as far as the catalogue is concerned."""
    net = nw.create_model("resnet18")
    net.weights = catalogue.find("resnet18_ssl")
    return net


def measured(top1, top5, pictures=50_000):
    found = measure(Predictions(torch.eye(6), torch.arange(6), torch.arange(6), "made", tuple("abcdef")))
    return dataclasses.replace(found, pictures=pictures, top1=share(top1, pictures), top5=share(top5, pictures))


# Published: 72.8 and 91.5 by Facebook, 72.636 and 91.416 by timm.
def test_a_measurement_near_the_publication_is_within_the_interval(published):
    found = verdict.verdicts(published, Published(), measured(36_318, 45_708), nw.transform_for(published))
    assert [(it.figure, it.verdict) for it in found] == [("top-1", verdict.WITHIN), ("top-5", verdict.WITHIN)] * 2
    assert [it.published.value for it in found] == [0.728, 0.915, 0.72636, 0.91416]
    assert found[0].source == "facebookresearch/semi-supervised-ImageNet1K-models@a189fd0 README.md"
    assert found[2].difference == pytest.approx(0) and found[0].low < 0 < found[0].high and not found[0].why


def test_one_that_is_below_names_both_preprocessings(published):
    squeezed = nw.transform_for(published, crop_pct=1.0)
    found = verdict.verdicts(published, Published(), measured(35_500, 45_708), squeezed)
    assert [it.verdict for it in found] == [verdict.BELOW, verdict.WITHIN] * 2
    assert found[0].why == f"This run used {squeezed!r}; the catalogue has {nw.transform_for(published)!r}."
    own = verdict.verdicts(published, Published(), measured(35_500, 45_708), nw.transform_for(published))
    assert "The preprocessing is the catalogue's" in own[0].why


def test_one_that_is_above_doubts_the_set(published):
    found = verdict.verdicts(published, Published(), measured(38_000, 45_708), nw.transform_for(published))
    assert found[0].verdict == verdict.ABOVE and "none of which the net was trained on" in found[0].why


def test_the_interval_of_the_difference_is_newcombes():
    # Newcombe 1998, Statistics in Medicine 17, 873, table II, method 10, contrasts (a) and (b).
    for (a, m), (b, n), low, high in (((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090)):
        d, lower, upper = verdict.difference(share(a, m), share(b, n))
        assert (round(lower, 4), round(upper, 4)) == (low, high) and d == pytest.approx(a / m - b / n)


def test_what_is_not_the_whole_set_is_not_comparable(published):
    transform = nw.transform_for(published)
    part = Published()
    part.published_as = None
    few = verdict.verdicts(published, part, measured(400, 450, 500), transform)
    assert few[0].verdict == verdict.NOT_COMPARABLE and few[0].why.startswith("These are 500 pictures of 6 classes")
    some = verdict.verdicts(published, Published(), measured(400, 450, 49_999), transform)
    assert some[0].why == "49,999 of the 50,000 pictures were used."
    other = verdict.verdicts(
        published, Published(), measured(36_318, 45_708), nw.transform_for(published, input_size=256)
    )
    assert {it.verdict for it in other} == {verdict.NOT_COMPARABLE} and "Published at 224" in other[0].why
    assert "measured at 256" in other[0].why


def test_a_larger_size_is_held_against_the_figure_for_that_size():
    net = nw.create_model("resnext50_32x4d")
    net.weights = catalogue.find("resnext50_32x4d.a1h_in1k")
    for size, top1 in ((224, 0.8114), (288, 0.82016)):
        transform = nw.transform_for(net, use_test_size=size == 288)
        found = verdict.verdicts(net, Published(), measured(40_000, 47_000), transform)
        assert found[0].published.value == pytest.approx(top1)


def test_nets_and_sets_without_publication_get_no_verdict(published, toys):
    assert verdict.verdicts(published, toys, measured(1, 2), nw.transform_for(published)) == []
    assert verdict.verdicts(nw.create_model("resnet18"), Published(), measured(1, 2), nw.transform_for(published)) == []


# --- the report ------------------------------------------------------------------------------------------------------


class WithOneBroken(ToyPictures):
    def pixels(self, indices):
        return super().pixels(indices) if len(indices) == 1 and getattr(self, "alone", False) else None

    def picture(self, index):
        if index == 4:
            raise ImageError("toy 4 is <broken>.")
        return Image.fromarray(ToyPictures.pixels(self, [index])[0].permute(1, 2, 0).numpy())


@pytest.fixture(scope="module")
def evaluations(nets):
    toys = WithOneBroken(ToyWorld("val", size=32, length=30))
    found = [evaluation_of(net, toys, model=f"net {i}", weights="random numbers") for i, net in enumerate(nets)]
    found[0].sweep = sweep(nets[0], toys, sizes=(32,), crops=(1.0,))
    found[0].robustness = robustness(nets[0], toys, kinds=("jpeg",), severities=(1,))
    found[0].speeds = speed.speed(nets[0], batches=(1,), runs=2)
    return found, toys


def test_the_toy_worlds_groups_are_measured_by_themselves(evaluations):
    found, toys = evaluations
    of = {"texture": 0, "shape": 0, "relation": 0}
    for i in range(30):
        of[CLASSES[toys.targets[i]].group] += i != 4
    assert {name: it.of for name, it in found[0].measures.per_group.items()} == of


def test_the_json_holds_everything_and_no_number_that_is_none(evaluations, tmp_path):
    found, toys = evaluations
    content = report.as_json(
        found, data="toy", split="val", device="CPU, 1 core", command="python -m netwright evaluate"
    )
    path = report.write_json(tmp_path / "new" / "a.json", content)

    def refuse(text):
        raise AssertionError(text)

    read = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert set(read) == {"format", "command", "time", "versions", "device", "data", "split", "models", "comparisons"}
    assert read["format"] == 1 and {"netwright", "torch", "numpy", "pillow", "python"} <= set(read["versions"])
    first, second = read["models"]
    assert set(first) == set(second) and first["model"] == "net 0"
    top1 = found[0].measures.top1
    assert first["top1"] == {"value": top1.value, "low": top1.low, "high": top1.high, "count": top1.count, "of": 29}
    assert first["bad"] == [[toys.where(4), "toy 4 is <broken>."]] and first["pictures"] == 29
    answers = first["answers"]
    right = sum(a == b for a, b in zip(answers["right"], answers["given"], strict=True))
    assert right == top1.count and answers["indices"] == [i for i in range(30) if i != 4]
    confusion = np.zeros((20, 20), dtype=int)
    for i, j, count in first["confusions"]:
        confusion[i, j] = count
    assert np.array_equal(confusion, found[0].measures.confusion)
    assert len(first["bins"]) == 15 and first["sweep"]["points"][0]["input_size"] == 32
    assert first["corruptions"]["shares"][0]["kind"] == "jpeg" and first["speed"][0]["per_second"] > 0
    assert second["sweep"] is None and second["corruptions"] is None and second["speed"] == []
    assert read["comparisons"][0]["a"] == "net 0" and read["comparisons"][0]["pictures"] == 29
    assert report._plain({"a": [math.nan, (math.inf, 1.5)]}) == {"a": [None, [None, 1.5]]}


def test_the_page_has_every_section_and_shows_markup_as_text(evaluations, tmp_path):
    found, toys = evaluations
    path = report.write_page(tmp_path / "a.html", found, toys, device="CPU", command="python -m netwright evaluate toy")
    text = path.read_text(encoding="utf-8")
    for heading in (
        "Summary",
        "Which is better",
        "net 0",
        "Calibration",
        "Worst mistakes",
        "Corruptions",
        "What was run",
    ):
        assert f">{heading}</h" in text
    assert "toy 4 is &lt;broken&gt;." in text and "<broken>" not in text and "python -m netwright evaluate toy" in text
    assert text.count("<img") == text.count('alt="') and 'alt=""' not in text and "published figures</h2>" not in text


def test_the_page_has_the_verdicts_where_there_are_any(evaluations, published, tmp_path):
    (first, _), toys = evaluations
    found = verdict.verdicts(published, Published(), measured(35_500, 45_708), nw.transform_for(published))
    alone = dataclasses.replace(first, verdicts=found)
    text = report.write_page(tmp_path / "a.html", [alone], toys, device="CPU", command="…").read_text(encoding="utf-8")
    assert "Against the published figures</h2>" in text and "below: check preprocessing" in text
    assert "facebookresearch/semi-supervised" in text and "Which is better" not in text


def test_the_reliability_diagram_tells_in_words_what_it_shows(evaluations):
    (first, _), _ = evaluations
    alt = reliability(first.measures.calibration).alt
    right, ece = first.measures.top1.value, first.measures.calibration.ece
    assert f"is right in {right:.1%}" in alt and f"calibration error is {ece:.1%}" in alt
    sure = measure(
        Predictions(9 * torch.eye(6)[[0] * 8], torch.arange(8) % 2, torch.arange(8), "made", tuple("abcdef"))
    )
    assert "too sure of itself" in reliability(sure.calibration).alt
