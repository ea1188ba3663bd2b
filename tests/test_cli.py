"""`python -m netwright`: what each verb prints and saves, and what a mistake gets: one sentence and exit status 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.cbook
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import netwright as nw
from netwright.cli.main import main
from netwright.weights import cache, catalogue
from parity import timm_net
from published import empty_machine, place, unplace, write_published
from publisher_server import Publisher, install, repoint

PHOTO = Path(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
NET = "resnet18_ssl"  # Facebook's name; the one published file that lies on the machine of these tests
CLOSED = "http://127.0.0.1:9"  # the discard port: nothing listens there


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A machine without a network on which one published file lies; gives its path."""
    with empty_machine(tmp_path_factory.mktemp("machine")) as patch:
        patch.setenv("NETWRIGHT_OFFLINE", "1")
        yield place(patch, NET)


@pytest.fixture
def bare_machine(tmp_path):
    """A machine with a network and nothing on it; gives a MonkeyPatch."""
    with empty_machine(tmp_path / "machine") as patch:
        yield patch


@pytest.fixture
def run(capsys):
    """Run a command; gives exit status, standard output and standard error."""

    def run(*arguments) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse ends the process itself
            status = stop.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two pictures, one of them deeper, a third that is cut short, and something that is no picture."""
    (tmp_path / "album" / "deeper").mkdir(parents=True)
    with Image.open(PHOTO) as photo:
        photo.save(tmp_path / "album" / "a.png")
        photo.rotate(180).save(tmp_path / "album" / "deeper" / "c.jpg", quality=95)
    (tmp_path / "album" / "broken.jpg").write_bytes(PHOTO.read_bytes()[:3000])
    (tmp_path / "album" / "notes.txt").write_text("no picture")
    return tmp_path / "album"


# --- a process of its own --------------------------------------------------------------------------------------------


def process(*arguments, **environment) -> subprocess.CompletedProcess:
    library = str(Path(nw.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-m", "netwright", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": library, "NETWRIGHT_OFFLINE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_names_what_is_on_a_photograph(machine):
    done = process("predict", PHOTO, "--model", "resnet18", "--weights", machine, "--topk", "2")
    assert (done.returncode, done.stderr) == (0, "")
    head, *answers = done.stdout.splitlines()
    expected = nw.classify(nw.create_model("resnet18", weights=str(machine)).eval(), PHOTO, k=2)
    assert head == str(PHOTO) and [line.split("  ")[-1] for line in answers] == [label for label, _ in expected]


def test_a_failure_is_told_without_a_traceback(tmp_path):
    done = process("predict", PHOTO, "--model", "resnet5O", NETWRIGHT_HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("netwright: No net is called 'resnet5O'. The nearest names: resnet50")


# --- machine, models, weights ----------------------------------------------------------------------------------------


def test_doctor_prints_its_table_and_says_that_the_machine_is_ready(machine, run):
    status, out, err = run("doctor")
    assert (status, err) == (0, "")
    assert all(word in out for word in ("Python", "torch", str(cache.folder().parent), "network"))


def test_models_is_a_table_with_parameters_macs_accuracy_and_licence(run):
    status, out, _ = run("models", "*halo*")
    lines = out.splitlines()
    assert status == 0 and lines[0].split() == ["model", "weights", "params", "GMACs", "at", "top-1", "licence"]
    entry = catalogue.find("halonet50ts")
    row = ["halonet50ts", "a1h_in1k", "*", "22.73M", "5.27", "256", f"{entry.top1:.2f}", "Apache-2.0"]
    assert row in [line.split() for line in lines]
    assert not any(line.startswith("resnext") for line in lines)
    assert len(run("models")[1].splitlines()) == 1 + len(catalogue.catalogue()) + 2


def test_weights_list_tells_file_size_publisher_licence_and_defects(run):
    status, out, _ = run("weights", "list", "swsl_resnext101_32x16d")
    assert status == 0 and "semi_weakly_supervised_resnext101_32x16-f3559a9c.pth  777.5 MB" in out
    assert "CC-BY-NC-4.0" in out and "fb_swsl_ig1b_ft_in1k: The file was saved wrongly" in out
    entries = json.loads(run("weights", "list", "resnext*", "--json")[1])
    assert len(entries) == len(nw.list_weights("resnext*"))
    assert entries[0]["files"][0]["url"].startswith("https://") and entries[0]["metrics"]


def test_weights_where_and_verify_know_the_file_that_lies_here(machine, run):
    name = catalogue.find(NET).name
    status, out, _ = run("weights", "where", NET)
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == [name, name]  # netwright's folder and torch.hub's
    assert str(machine) in out and "absent" in out
    for arguments in ((), (NET,), ("--all-of", "ssl_yfcc100m")):
        status, out, _ = run("weights", "verify", *arguments)
        assert status == 0 and out.split() == ["verified", name, str(machine)]


def test_weights_fetch_goes_on_past_what_cannot_be_had(bare_machine, run, tmp_path):
    wanted = catalogue.find("resnest14")
    content = write_published(wanted, timm_net("resnest14d"), tmp_path).read_bytes()
    unplace(bare_machine, "resnest26", CLOSED)
    with Publisher() as publisher:
        install(bare_machine, repoint(wanted, content, publisher.serve(wanted.files[0].filename, content)))
        for _ in range(2):
            status, out, err = run("weights", "fetch", "resnest26", "resnest14d")
            path = cache.folder() / wanted.files[0].filename
            assert status == 1 and out == f"{wanted.name}  {path}\n"
            assert "resnest26d.gluon_in1k is not to be had" in err and "1 of 2 could not be fetched" in err
        assert len(publisher.asked(wanted.files[0].filename)) == 1
    assert run("weights", "fetch", "resnest26")[0] == 2
    assert run("weights", "fetch", "--all-of", "gluon_in1k")[0] == 1

    path.write_bytes(content[:-1] + b"x")
    status, out, _ = run("weights", "verify", "resnest14")
    assert status == 2 and out.startswith("wrong hash")


# --- predict ---------------------------------------------------------------------------------------------------------


def test_predict_answers_as_classify_does(machine, run):
    status, out, _ = run("predict", PHOTO, "--model", NET, "--topk", "3")
    expected = nw.classify(nw.create_model(NET, pretrained=True), PHOTO, k=3)
    assert status == 0
    assert out.splitlines() == [str(PHOTO), *(f"  {p:7.2%}  {label}" for label, p in expected)]


def test_predict_takes_a_folder_goes_on_past_a_broken_file_and_reports_it_at_the_end(machine, run, folder):
    status, out, err = run("predict", folder, PHOTO, "--model", NET, "--json")
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert [answer["picture"] for answer in answers] == [
        str(folder / "a.png"),
        str(folder / "deeper/c.jpg"),
        str(PHOTO),
    ]
    assert all(len(answer["classes"]) == 5 for answer in answers)
    expected = nw.classify(nw.create_model(NET, pretrained=True), folder / "a.png", k=1)
    assert answers[0]["classes"][0] == {"label": expected[0][0], "probability": pytest.approx(expected[0][1], abs=1e-5)}
    assert str(folder / "broken.jpg") in err and err.endswith("netwright: 1 of 4 pictures could not be used.\n")


def test_more_pictures_than_a_batch_are_answered_in_their_order(machine, run, tmp_path):
    for i in range(18):
        Image.new("RGB", (40, 40), (14 * i, 255 - 14 * i, 90)).save(tmp_path / f"{i:02}.png")
    answers = [json.loads(line) for line in run("predict", tmp_path, "--model", NET, "--json")[1].splitlines()]
    assert [Path(answer["picture"]).name for answer in answers] == [f"{i:02}.png" for i in range(18)]
    net = nw.create_model(NET, pretrained=True)
    for i in (0, 15, 16, 17):
        assert answers[i]["classes"][0]["label"] == nw.classify(net, tmp_path / f"{i:02}.png", k=1)[0][0]


def test_predict_with_a_file_of_ones_own(machine, run, tmp_path):
    torch.save(timm_net("resnet18", num_classes=3).state_dict(), tmp_path / "mine.pth")
    status, out, _ = run("predict", PHOTO, "--model", "resnet18", "--weights", tmp_path / "mine.pth")
    assert status == 0 and sorted(line.split()[-1] for line in out.splitlines()[1:]) == ["0", "1", "2"]


def test_offline_without_weights_the_way_out_is_told(machine, run):
    status, out, err = run("predict", PHOTO, "--model", "resnext50_32x4d_ssl")
    assert (status, out) == (2, "")
    for part in (
        "semi_supervised_resnext50_32x4-ddb3e555.pth (100.4 MB",
        "https://dl.fbaipublicfiles.com/semiweaksupervision/model_files/semi_supervised_resnext50_32x4-ddb3e555.pth",
        f"The file belongs in {cache.folder()}",
        "NETWRIGHT_OFFLINE",
        "What still works: create_model('resnext50_32x4d') with random weights",
        "the weights on this machine: resnet18.fb_ssl_yfcc100m_ft_in1k",
    ):
        assert part in err


# --- features --------------------------------------------------------------------------------------------------------


def inputs(net, *paths) -> torch.Tensor:
    return torch.stack([nw.transform_for(net)(path) for path in paths])


def test_embeddings_are_the_nets_pooled_features(machine, run, folder):
    net = nw.create_model(NET, pretrained=True, num_classes=0).eval()
    with torch.inference_mode():
        expected = net(inputs(net, folder / "a.png", folder / "deeper/c.jpg"))
    status, out, err = run("features", folder, "--model", NET, "--out", folder / "embeddings.npy")
    assert status == 1 and "embedding (2, 512)" in out and "broken.jpg" in err
    assert np.allclose(np.load(folder / "embeddings.npy"), expected, rtol=1e-5, atol=1e-6)
    run("features", folder, "--model", NET, "--out", folder / "embeddings.safetensors")
    assert torch.allclose(load_file(folder / "embeddings.safetensors")["embedding"], expected, rtol=1e-5, atol=1e-6)
    with safe_open(folder / "embeddings.safetensors", "pt") as file:
        assert json.loads(file.metadata()["pictures"]) == [str(folder / "a.png"), str(folder / "deeper/c.jpg")]


def test_maps_are_those_of_the_feature_net(machine, run, tmp_path):
    net = nw.create_model(NET, pretrained=True, features_only=True).eval()
    with torch.inference_mode():
        maps = net(inputs(net, PHOTO))
    assert run("features", PHOTO, "--model", NET, "--maps", "all", "--out", tmp_path / "maps.safetensors")[0] == 0
    found = load_file(tmp_path / "maps.safetensors")
    assert set(found) == {f"stride_{stride}" for stride in (2, 4, 8, 16, 32)}
    for stride, expected in zip((2, 4, 8, 16, 32), maps, strict=True):
        assert torch.allclose(found[f"stride_{stride}"], expected, rtol=1e-5, atol=1e-6)
    run("features", PHOTO, "--model", NET, "--maps", "8,32", "--out", tmp_path / "maps.safetensors")
    assert set(load_file(tmp_path / "maps.safetensors")) == {"stride_8", "stride_32"}
    run("features", PHOTO, "--model", NET, "--maps", "16", "--out", tmp_path / "map.npy")
    assert np.load(tmp_path / "map.npy").shape == (1, 256, 14, 14)


# --- mistakes --------------------------------------------------------------------------------------------------------

MISTAKES = {
    "no command": ((), "required: command"),
    "unknown command": (("predicts",), "invalid choice: 'predicts'"),
    "no picture": (("predict",), "required: pictures"),
    "missing picture": (("predict", "no_such.jpg", "--model", NET), "There is no file no_such.jpg"),
    "empty folder": (("predict", "{empty}", "--model", NET), "No pictures found in"),
    "no class": (("predict", PHOTO, "--topk", "0"), "--topk 0: at least one class"),
    "unknown tag": (
        ("predict", PHOTO, "--model", "resnet18", "--weights", "fb_sll"),
        "it has fb_ssl_yfcc100m_ft_in1k, fb_swsl_ig1b_ft_in1k",
    ),
    "missing weights": (("predict", PHOTO, "--weights", "mine.pth"), "There is no weight file mine.pth"),
    "weights of another net": (("predict", PHOTO, "--model", "resnet50", "--weights", NET), "not of resnet50"),
    "broken weights": (("predict", PHOTO, "--model", "resnet18", "--weights", PHOTO), "neither a torch file nor"),
    "unknown device": (("predict", PHOTO, "--model", NET, "--device", "gpu"), "Device gpu"),
    "device not here": (("predict", PHOTO, "--model", NET, "--device", "xpu"), "Device xpu"),
    "unknown suffix": (("features", PHOTO, "--model", NET, "--out", "maps.csv"), "end in .npy or .safetensors"),
    "no folder": (("features", PHOTO, "--model", NET, "--out", "no/such/maps.npy"), "folder no/such does not exist"),
    "no such stride": (
        ("features", PHOTO, "--model", NET, "--maps", "8,12", "--out", "a.safetensors"),
        "maps at strides 2, 4, 8, 16, 32, not 12",
    ),
    "two maps in one array": (
        ("features", PHOTO, "--model", NET, "--maps", "8,16", "--out", "a.npy"),
        "holds one array",
    ),
    "no such model": (("models", "*vit*"), "No model matches '*vit*'"),
    "no such weights": (("weights", "list", "*vit*"), "No published weights match '*vit*'"),
    "fetch what": (("weights", "fetch"), "Which weights?"),
    "where what": (("weights", "where"), "Which weights?"),
    "fetch the unknown": (("weights", "fetch", "resnet18_sll"), "The nearest names: resnet18_ssl"),
    "all of nothing": (("weights", "fetch", "--all-of", "vit"), "No weights have 'vit' in their name"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_a_sentence_and_exit_status_2(mistake, machine, run, tmp_path, monkeypatch):
    arguments, sentence = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    status, out, err = run(*(str(argument).replace("{empty}", str(tmp_path / "empty")) for argument in arguments))
    assert (status, out) == (2, "") and sentence in err and "Traceback" not in err
    assert not list(tmp_path.glob("*.npy")) and not list(tmp_path.glob("*.safetensors"))


def test_debug_shows_where_a_failure_comes_from(run):
    with pytest.raises(ValueError, match="--topk 0"):
        main(["--debug", "predict", str(PHOTO), "--topk", "0"])
