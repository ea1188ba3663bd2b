"""The toy nets that ship are those of the ledger, do what it says, and their cards say the same."""

import os
import shlex
import subprocess
import sys

import pytest
import torch

import netwright as nw
from make_toy_nets import DATA, command, judged, plain
from netwright.datasets import ToyPictures
from netwright.evaluate.metrics import share
from netwright.models import load_run, preprocessing_of, toy_weights
from netwright.nets.zoo import TOYS
from netwright.toys import CLASSES, ToyWorld, groups
from netwright.toys.ledger import card, chance, findings, over_seeds, results, spread, table, told_apart
from netwright.tune.history import read_log

FEW = 1_000  # pictures: enough to see that a net is another one


@pytest.mark.parametrize("name", TOYS)
def test_a_toy_net_knows_its_classes_and_its_pictures(name):
    net = nw.create_model(name, pretrained=True)
    assert net.class_names == ToyWorld.classes and net.weights is None
    found = preprocessing_of(net)
    assert (found.input_size, found.crop_pct, found.resize) == ((64, 64), 1.0, 64)
    assert toy_weights(name).stat().st_size <= 3_000_000
    world = ToyWorld("test")
    texture = next(i for i, label in enumerate(world.labels()) if CLASSES[label].group == "texture")
    said = nw.classify(net, ToyPictures(world).picture(texture), k=2)
    assert said[0][0] == world.classes[world.labels()[texture]]
    maps = nw.create_model(name, pretrained=True, features_only=True)
    assert [m.shape[-1] for m in maps.eval()(torch.zeros(1, 3, 64, 64))] == [32, 16, 8, 4, 2]


@pytest.mark.parametrize("name", TOYS)
def test_textures_and_shapes_are_told_apart_and_every_seed_is_reported(name):
    ledger = results()
    assert [run["seed"] for run in ledger["nets"][name]["runs"]] == [0, 1, 2, 3, 4]
    for group in ("texture", "shape"):
        assert all(run["groups"][group]["low"] >= 0.95 for run in ledger["nets"][name]["runs"])
    of = {group: round(ledger["test_pictures"] * len(classes) / len(CLASSES)) for group, classes in groups().items()}
    for run in ledger["nets"][name]["runs"]:
        assert {group: it["of"] for group, it in run["groups"].items()} == of
        for it in (*run["groups"].values(), run["top1"]):
            assert it == plain(share(round(it["value"] * it["of"]), it["of"]))


@pytest.mark.parametrize("name", TOYS)
def test_the_weights_that_ship_do_what_the_ledger_says(name):
    """On an eighth of the test split; the net's answers there have to lie where the whole split's do."""
    figures = judged(load_run(toy_weights(name)), ToyPictures(ToyWorld("test", length=FEW)))
    shipped = results()["nets"][name]["runs"][0]
    for group, it in figures["groups"].items():
        assert it["low"] - 0.01 <= shipped["groups"][group]["value"] <= it["high"] + 0.01
    assert figures["loss"] == pytest.approx(shipped["loss"], abs=0.08)


def test_cards_and_the_table_are_those_of_the_ledger():
    ledger = results()
    for name in TOYS:
        assert (DATA / f"{name}.md").read_text(encoding="utf-8") == card(name, ledger)
        assert shlex.join(["python", "-m", "netwright", *command(name, 0)]) in card(name, ledger)
        assert f"{sum(p.numel() for p in nw.create_model(name, num_classes=20).parameters()):,}" in card(name, ledger)
    page = (DATA.parents[1] / "README.md").read_text(encoding="utf-8")
    assert table(ledger) in page and findings(ledger) in page


def test_nets_are_told_apart_by_more_than_their_seeds_only():
    assert chance([1.0, 2.0], [3.0, 4.0]) == pytest.approx(2 / 6) and chance([1.0, 2.0], [1.0, 2.0]) == 1
    apart, alike = [0.1, 0.11, 0.12, 0.13, 0.14], [0.2, 0.21, 0.22, 0.23, 0.24]
    assert chance(apart, alike) == pytest.approx(2 / 252)

    def ledger_of(**values):
        runs = {n: [{"groups": {"shape": {"value": v}}, "top1": {"value": v}} for v in vs] for n, vs in values.items()}
        return {"nets": {name: {"runs": some} for name, some in runs.items()}}

    assert told_apart("shape", ledger_of(a=apart, b=alike, c=[0.15, 0.1, 0.19, 0.12, 0.11])) == [("b", "c"), ("b", "a")]
    assert told_apart("shape", ledger_of(a=[0.1, 0.5, 0.9, 0.4, 0.3], b=[0.2, 0.6, 0.8, 0.5, 0.4])) == []


def test_the_interval_of_a_mean_is_students():
    values = over_seeds("toy_resnet", "all", results())
    mean, low, high = spread(values)
    assert low < mean < high and mean == pytest.approx(sum(values) / 5)
    assert spread([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5))


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", TOYS)
def test_the_cards_command_makes_such_a_net_again(name, tmp_path):
    words = [sys.executable, "-m", "netwright", *command(name, 7), "--out", str(tmp_path), "--workers", "0"]
    subprocess.run(words, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert read_log(tmp_path).end is not None
    figures = judged(load_run(tmp_path), ToyPictures(ToyWorld("test")))
    for group in groups():
        _, low, high = spread(over_seeds(name, group, results()))
        mine = figures["groups"][group]
        assert mine["high"] >= low and mine["low"] <= high
