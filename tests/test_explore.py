"""`explore`: one page of what a net can show of a picture, its badges on the terminal, and what it refuses."""

import re
from pathlib import Path

import pytest
import torch

import netwright as nw
from netwright import trained
from netwright.cli.main import main
from netwright.models import preprocessing_of
from netwright.views.ledger.groups import GroupStructure
from netwright.views.offers import OFFERS, offered
from netwright.views.view import NotInThisNet


def toy_probe(name: str):
    return nw.probe(nw.create_model(name, pretrained=True), nw.ToyWorld("test")[3]["image"])


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("toy_resnet", {"halo", "gates"}),
        ("toy_resnext", {"halo", "gates"}),
        ("toy_resnest", {"halo"}),
        ("toy_halonet", {"gates"}),
    ],
)
def test_every_net_is_offered_the_views_that_it_can_fill_and_their_checks_hold(name, missing):
    views = offered(toy_probe(name))
    assert set(OFFERS) - set(views) == missing
    for view in views.values():
        assert view.check()


def test_a_view_that_is_asked_for_and_cannot_be_filled_is_refused_in_a_sentence():
    with pytest.raises(NotInThisNet, match="alo"):
        offered(toy_probe("toy_resnet"), ["halo"])
    with pytest.raises(ValueError, match="no view called 'heat'; there are class-map"):
        offered(toy_probe("toy_resnet"), ["heat"])


def test_the_page_is_one_file_and_the_terminal_says_what_holds(tmp_path, capsys):
    out = tmp_path / "page.html"
    status = main(
        ["explore", "toy:3", "--model", "toy_resnext", "--views", "class-map,architecture", "--out", str(out)]
    )
    assert status == 0
    told = capsys.readouterr().out
    assert re.search(r"class-map +cells and bias sum to the logit", told) and f"{out}: " in told
    text = out.read_text(encoding="utf-8")
    assert text.count('class="nw-data"') == 2
    assert not re.search(r"(?:src|href)=[\"'](?!data:)|https?://(?!www\.w3\.org)", text)


def test_the_page_of_a_photograph_names_its_file_and_its_classes(tmp_path, monkeypatch, capsys):
    picture = tmp_path / "my photo.png"
    from netwright.figures import subplots

    figure, _ = subplots()
    figure.savefig(picture)
    monkeypatch.chdir(tmp_path)
    assert main(["explore", str(picture), "--model", "toy_halonet", "--views", "halo", "--target", "star"]) == 0
    assert (tmp_path / "my photo-toy_halonet.html").is_file()
    assert "rebuild" in capsys.readouterr().out


def test_what_cannot_be_explored_is_refused_in_a_sentence(tmp_path, capsys):
    for words, expected in (
        (["toy:x", "--model", "toy_resnet"], "such as toy:3"),
        (["toy:8000", "--model", "toy_resnet"], "holds toy:0 to toy:7999"),
        (["toy:3", "--model", "toy_resnet", "--out", str(tmp_path)], "is a folder: give the page a name"),
        (["toy:3", "--model", "toy_resnet", "--target", "dog"], "No class is called 'dog'"),
        (["toy:3", "--model", "toy_resnet", "--out", str(tmp_path / "no" / "page.html")], "does not exist"),
        (["toy:3", "--model", "toy_resnet", "--views", "heat"], "no view called"),
    ):
        assert main(["explore", *words]) == 2
        assert expected in capsys.readouterr().err


def test_the_views_are_listed(capsys):
    assert main(["explore", "x", "--views", "list"]) == 0
    assert capsys.readouterr().out.split() == list(OFFERS)


def test_names_of_views_may_have_spaces_between_them(tmp_path, capsys):
    out = tmp_path / "page.html"
    words = ["explore", "toy:3", "--model", "toy_resnet", "--views", "class-map, architecture,", "--out", str(out)]
    assert main(words) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[:2]] == ["class-map", "architecture"]


def test_a_page_without_a_name_gets_one_that_is_no_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["explore", "toy:3", "--model", "timm/no_such_net", "--views", "architecture"]) == 2
    assert "No net is called 'timm/no_such_net'" in capsys.readouterr().err  # and not: the folder does not exist


def test_a_folder_that_may_not_be_written_into_is_named_before_anything_is_computed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.access", lambda *_: False)
    assert main(["explore", "toy:3", "--model", "toy_resnet", "--out", str(tmp_path / "page.html")]) == 2
    told = capsys.readouterr()
    assert f"the folder {tmp_path} may not be written into" in told.err and not told.out


def test_the_page_of_a_run_is_called_by_the_net_that_was_trained_and_its_classes_by_their_names(tmp_path, monkeypatch):
    net = nw.create_model("toy_resnest", pretrained=True)
    about = {"model": "toy_resnest", "class_names": [str(number) for number in range(1, 21)]}
    (tmp_path / "run").mkdir()
    trained.write(tmp_path / "run" / trained.BEST, net.state_dict(), preprocessing_of(net), about)
    monkeypatch.chdir(tmp_path)
    assert main(["explore", "toy:3", "--weights", "run", "--views", "ledger", "--target", "1"]) == 0
    text = (tmp_path / "toy-3-toy_resnest.html").read_text(encoding="utf-8")
    assert "<title>toy_resnest looks at toy-3</title>" in text
    assert "the logit of “1” as a sum" in text  # the class that is called 1, and not that with the number 1


def test_a_net_without_a_classifier_is_offered_the_views_that_need_no_logits():
    probe = nw.probe(nw.create_model("toy_resnest", num_classes=0), nw.ToyWorld("test")[3]["image"])
    views = offered(probe)
    assert set(views) == {"receptive-field", "stages", "architecture"}
    for view in views.values():
        assert view.check()


@pytest.mark.parametrize("name", ["toy_resnext", "toy_resnest", "toy_halonet"])
def test_every_view_of_a_net_of_one_channel_makes_a_page(name):
    probe = nw.probe(nw.create_model(name, in_chans=1), torch.randn(1, 1, 64, 64))
    for view in [*offered(probe).values(), GroupStructure(probe)]:
        assert view.check() and view.to_html(twin=False)


def test_double_precision_is_taken_on_the_cpu_alone_because_not_every_device_has_it():
    folder = Path(nw.__file__).parent
    for room in ("views", "explain"):
        for file in (folder / room).rglob("*.py"):
            lines = [line for line in file.read_text(encoding="utf-8").splitlines() if ".double()" in line]
            assert all(".cpu().double()" in line for line in lines), (file.name, lines)
