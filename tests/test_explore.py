"""`explore`: one page of what a net can show of a picture, its badges on the terminal, and what it refuses."""

import re

import pytest

import netwright as nw
from netwright.cli.main import main
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
        (["toy:3", "--model", "toy_resnet", "--target", "dog"], "No class is called 'dog'"),
        (["toy:3", "--model", "toy_resnet", "--out", str(tmp_path / "no" / "page.html")], "does not exist"),
        (["toy:3", "--model", "toy_resnet", "--views", "heat"], "no view called"),
    ):
        assert main(["explore", *words]) == 2
        assert expected in capsys.readouterr().err


def test_the_views_are_listed(capsys):
    assert main(["explore", "x", "--views", "list"]) == 0
    assert capsys.readouterr().out.split() == list(OFFERS)
