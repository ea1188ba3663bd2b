"""`python -m netwright evaluate`: what it prints and writes, over ranks too, and the traps that it refuses."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import netwright as nw
from netwright import trained
from netwright.cli.main import main
from netwright.evaluate import imagenet_val as layouts
from netwright.imagenet import find_label
from netwright.models import preprocessing_of
from published import empty_machine, place

ROOT = Path(__file__).parents[1]
TOY = ("toy", "--model", "resnet18", "--weights", "none", "--size", 32, "--crop-pct", 1, "--limit", 21)
COLOURS = {"blue": (20, 30, 220), "green": (30, 200, 40), "red": (220, 20, 30)}


@pytest.fixture(autouse=True)
def _empty_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    def run(*arguments) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main(["evaluate", *map(str, arguments)])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def album(tmp_path) -> Path:
    """A val split of three colours, two pictures each."""
    for name, colour in COLOURS.items():
        folder = tmp_path / "album" / "val" / name
        folder.mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (40, 36 + i), colour).save(folder / f"{i}.png")
    return tmp_path / "album"


def save_run(folder: Path, class_names, scale=10.0) -> Path:
    """The folder of a run whose net knows the colours, its classes in the order of `class_names`.

    Its numbers are random but for the classifier, which takes the class whose features are nearest.
    """
    torch.manual_seed(0)
    net = nw.create_model("resnet18", num_classes=len(class_names)).eval()
    net.preprocessing = dataclasses.replace(preprocessing_of(net), input_size=(32, 32), resize=32, crop_pct=1.0)
    with torch.inference_mode():
        pictures = torch.stack([nw.transform_for(net)(Image.new("RGB", (40, 40), COLOURS[it])) for it in class_names])
        features = net.forward_head(net.forward_features(pictures), pre_logits=True)
        net.classifier.weight.copy_(2 * scale * features)
        net.classifier.bias.copy_(-scale * (features**2).sum(dim=1))
    folder.mkdir()
    about = {"model": "resnet18", "class_names": list(class_names), "data": "album", "recipe": "full"}
    trained.write(folder / trained.BEST, net.state_dict(), net.preprocessing, about)
    return folder


# --- what it prints and writes ---------------------------------------------------------------------------------------


def test_the_toy_world_with_an_untrained_net_is_measured_and_repeats(run):
    status, out, err = run(*TOY, "--json", "a.json", "--html", "pages/a.html")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("toy/val, 21 of 4,000: 21 pictures of")
    assert lines[2].split() == ["model", "weights", "top-1", "95%", "interval", "top-5", "class", "mean", "loss", "ECE"]
    read = json.loads(Path("a.json").read_text(encoding="utf-8"))
    (model,) = read["models"]
    assert model["pictures"] == 21 and f"{model['top1']['value']:.1%}" in lines[3].split()
    assert model["weights"] == "random numbers" and set(model["per_group"]) == {"texture", "shape", "relation"}
    assert "top-1 by group" in out and Path("pages/a.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert read["command"] == (
        "python -m netwright evaluate toy --model resnet18 --weights none --limit 21 --size 32 --crop-pct 1.0 "
        "--json a.json --html pages/a.html"
    )
    again = run(*read["command"].split()[4:])
    assert again[1] == out


def test_sweep_corruptions_and_speed_are_tables_of_their_own(run):
    status, out, _ = run(*TOY[:-1], 5, "--sweep", 32, 40, "--corrupt", 3, "--speed", "--batch", 2)
    assert status == 0
    for part in ("top-1 over input size and crop", "crop 0.875", "top-1 over corruptions", "severity 3", "elastic"):
        assert part in out
    assert "relative drop" in out and "times as fast as eager" in out and "optimised" in out


def test_a_run_is_evaluated_with_its_own_classes_and_preprocessing(run, album, tmp_path):
    folder = save_run(tmp_path / "run", ["red", "blue", "green"])  # not the order of the folder's names
    for name in (folder, folder / "best.safetensors"):
        status, out, err = run(album, "--model", name, "--json", "a.json")
        (model,) = json.loads(Path("a.json").read_text(encoding="utf-8"))["models"]
        assert (status, err, model["top1"]["count"], model["pictures"]) == (0, "", 6, 6), out
        assert model["labels"] == "by name, 3 of them at another place" and "centre crop 32×32" in model["transform"]
        assert model["classes"] == ["red", "blue", "green"] and model["per_class"]["green"]["count"] == 2
    assert run(album, "--model", "resnet18", "--weights", folder)[1].splitlines()[3].split()[2] == "100.0%"


def test_a_broken_picture_is_left_out_named_and_told_at_the_end(run, album, tmp_path):
    (album / "val" / "green" / "1.png").write_bytes(b"this is no picture")
    folder = save_run(tmp_path / "run", ["blue", "green", "red"])
    status, out, err = run(album, "--model", folder, "--json", "a.json", "--html", "a.html")
    assert status == 1 and "5 pictures of 3 classes" in out
    broken = str(album / "val" / "green" / "1.png")
    assert broken in err and err.endswith("netwright: 1 of 6 pictures could not be used.\n")
    (model,) = json.loads(Path("a.json").read_text(encoding="utf-8"))["models"]
    assert [where for where, _ in model["bad"]] == [broken] and model["top1"]["of"] == 5
    assert "Pictures left out" in Path("a.html").read_text(encoding="utf-8")


def test_several_models_are_compared_picture_by_picture(run, album, tmp_path):
    good, bad = (
        save_run(tmp_path / "good", ["blue", "green", "red"]),
        save_run(tmp_path / "bad", ["red", "green", "blue"], -10),
    )
    status, out, _ = run(album, "--model", good, bad, "--json", "a.json", "--html", "a.html")
    assert status == 0 and "McNemar's p" in out
    (found,) = json.loads(Path("a.json").read_text(encoding="utf-8"))["comparisons"]
    assert (found["a"], found["b"]) == (str(good), str(bad)) and (found["only_a"], found["only_b"]) == (6, 0)
    assert found["difference"] == 1 and found["p"] == pytest.approx(2 / 2**6)
    assert "Which is better" in Path("a.html").read_text(encoding="utf-8")


def test_no_picture_that_opens_is_a_sentence(run, album, tmp_path):
    for file in album.rglob("*.png"):
        file.write_bytes(b"no picture")
    status, out, err = run(album, "--model", save_run(tmp_path / "run", ["blue", "green", "red"]))
    assert (status, out) == (2, "") and "No picture of album/val could be opened" in err


# --- ImageNet --------------------------------------------------------------------------------------------------------


@pytest.fixture
def imagenet(tmp_path):
    for synset in ("n01440764", "n02102040", "n03028079"):
        (tmp_path / "imagenet/val" / synset).mkdir(parents=True)
        for i in range(3):
            tone = find_label(synset).index % 256
            Image.new("RGB", (50, 40 + i), (tone, 80 * i, 120)).save(tmp_path / "imagenet/val" / synset / f"{i}.jpeg")
    with empty_machine(tmp_path / "machine") as patch:
        patch.setenv("NETWRIGHT_OFFLINE", "1")
        place(patch, "resnet18_ssl")
        yield tmp_path / "imagenet"


def test_a_subset_of_imagenet_is_read_by_synset_and_held_beside_the_publication(run, imagenet):
    ask = (imagenet, "--model", "resnet18_ssl", "--size", 64, "--subset-of", "imagenet", "--json", "a.json")
    found = {}
    for keep, answers in (("subset", 3), ("all", 1000)):
        status, out, _ = run(*ask, "--keep", keep)
        assert status == 0 and "not comparable" in out and "These are 9 pictures of 3 classes" in out
        (found[keep],) = json.loads(Path("a.json").read_text(encoding="utf-8"))["models"]
        assert len(found[keep]["classes"]) == answers and found[keep]["weights"] == "resnet18.fb_ssl_yfcc100m_ft_in1k"
    assert found["subset"]["top5"] is None and found["all"]["top5"]["of"] == 9
    assert found["all"]["top1"]["count"] <= found["subset"]["top1"]["count"]
    assert found["all"]["published"][0]["published"]["value"] == 0.728
    tench = found["all"]["classes"].index("tench")
    assert found["all"]["answers"]["right"][:3] == [0, 0, 0] and tench == 0


def test_a_whole_validation_set_gets_a_verdict(run, imagenet, monkeypatch):
    monkeypatch.setattr(layouts.ImageNetVal, "published_as", "ImageNet", raising=False)
    monkeypatch.setitem(layouts.PICTURES, "ImageNet", 9)
    status, out, _ = run(imagenet, "--model", "resnet18_ssl", "--subset-of", "imagenet", "--keep", "all")
    assert status == 0 and "below: check preprocessing" in out and "look at the labels" in out


# --- over ranks ------------------------------------------------------------------------------------------------------


def test_two_processes_of_torchrun_count_each_picture_once_and_the_first_prints(run):
    status, alone, _ = run(*TOY, "--json", "alone.json")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "-m", "netwright", "evaluate", *map(str, TOY), "--json", "ranks.json", "--batch", "4"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "lib")},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert status == done.returncode == 0, done.stderr
    assert done.stdout.replace("ranks.json", "alone.json") == alone
    one, two = (json.loads(Path(name).read_text(encoding="utf-8")) for name in ("alone.json", "ranks.json"))
    assert one["models"][0]["answers"] == two["models"][0]["answers"]
    assert two["command"].startswith("torchrun --nproc-per-node 2 -m netwright evaluate toy")


# --- mistakes --------------------------------------------------------------------------------------------------------

MISTAKES = {
    "no model": (("toy",), "required: --model"),
    "unknown data": (("toyy", *TOY[1:]), "toyy is neither a folder nor a data set known by name"),
    "unknown model": (("toy", "--model", "resnet5O"), "The nearest names: resnet50"),
    "no such split": ((*TOY, "--split", "novel"), "toy has no split 'novel'; it has train, val, test"),
    "empty folder": (("{empty}", *TOY[1:]), "is empty. It needs one folder a class"),
    "another number of classes": (("toy", "--model", "{mine}"), "for other classes than those of toy/val"),
    "weights of nobody": (
        ("{album}", "--model", "resnet18", "--weights", "{file}"),
        "The net has 7 classes, and album/val has 3",
    ),
    "weights for two": (("toy", "--model", "resnet18", "resnet34", "--weights", "none"), "belongs to one model, and 2"),
    "no run": (("toy", "--model", "{empty}"), "no finetuning has saved a net there yet"),
    "no subset": ((*TOY, "--subset-of", "imagenet"), "ImageNet's 1000 classes, and this one has 20"),
    "severity": ((*TOY, "--corrupt", "6"), "--corrupt 6: severities go from 1 to 5"),
    "limit": ((*TOY[:-1], "0"), "--limit 0 is not possible: choose 1 or more"),
    "batch": ((*TOY, "--batch", "0"), "--batch 0 is not possible"),
    "compile": ((*TOY, "--compile"), "--compile is about --speed"),
    "a folder as a file": ((*TOY, "--json", "{empty}"), "is a folder: give the name of a file"),
    "no place to write": ((*TOY, "--html", "{file}/a.html"), "nothing can be written there"),
    "device": ((*TOY, "--device", "gpu"), "Device gpu"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_a_sentence_before_anything_is_asked(mistake, run, album, tmp_path):
    arguments, sentence = MISTAKES[mistake]
    (tmp_path / "empty").mkdir()
    save_run(tmp_path / "mine", ["blue", "green", "red"])
    save_file(nw.create_model("resnet18", num_classes=7).state_dict(), tmp_path / "file")
    for name in ("empty", "mine", "file", "album"):
        arguments = tuple(str(it).replace("{" + name + "}", str(tmp_path / name)) for it in arguments)
    status, out, err = run(*arguments)
    assert (status, out) == (2, "") and sentence in err and "Traceback" not in err
    assert not list(tmp_path.glob("*.json")) and not list(tmp_path.rglob("*.html"))
