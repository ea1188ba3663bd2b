"""The views of removal and of the league table: their checks on every net, each broken once, and what they say."""

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

from netwright.explain import league, removal
from netwright.explain.attributions import completeness_gap, occlusion
from netwright.models import create_model
from netwright.nets.zoo import TOYS
from netwright.probing.capture import Probe, hooks_in
from netwright.probing.golden import golden_picture, golden_state
from netwright.toys import ToyWorld
from netwright.views.explained import removal as view_module
from netwright.views.explained.league import League
from netwright.views.explained.removal import Removal
from netwright.views.frame.assembling import dumps
from netwright.views.view import CheckFailed, NotInThisNet

WORLD = ToyWorld("test")


@pytest.fixture(scope="module", params=TOYS)
def view(request):
    return Removal(Probe(create_model(request.param, pretrained=True), WORLD[2]["image"]))


@pytest.fixture
def probe():
    return Probe(create_model("toy_halonet", pretrained=True), WORLD[2]["image"])


def test_checks_hold_on_every_toy_net_and_leave_it_alone(view):
    before = {name: value.clone() for name, value in view.probe.net.state_dict().items()}
    assert "class map sums to the logit" in view.check() and view.badge["state"] == "holds"
    assert hooks_in(view.probe.net) == 0
    assert all(value.equal(before[name]) for name, value in view.probe.net.state_dict().items())
    assert dumps(view.message()), "what a page gets has no NaN"


def test_the_random_twin_checks_too_and_differs(view):
    view = Removal(view.probe, maps=["class_map", "integrated", "occlusion"])
    twin = view.twin
    assert twin.check() and twin.target == view.target
    assert list(twin.data["methods"]) == list(view.data["methods"])
    assert not np.allclose(twin.data["methods"]["occlusion"]["heat"], view.data["methods"]["occlusion"]["heat"])
    assert twin.data["probability"] != view.data["probability"]


def test_curves_of_a_map_are_those_of_its_order(view):
    method = view.data["methods"]["occlusion"]
    assert method["heat"] == pytest.approx(occlusion(view.probe, view.target), abs=1e-5)
    curves = removal.remove(view.probe, removal.order_of(method["heat"])[None], view.target, insertion=True)
    assert method["insertion"] == pytest.approx(curves.probability[0], abs=1e-5)
    control = view.data["controls"][method["size"]]
    assert control["random"]["deletion"].shape == (10, len(control["counts"]))
    own, by_lot, centre = view.areas("occlusion")
    assert own == pytest.approx(np.trapezoid(method["deletion"], control["fractions"]))
    assert by_lot.mean() == pytest.approx(np.trapezoid(control["random"]["deletion"].mean(0), control["fractions"]))
    assert centre == pytest.approx(np.trapezoid(control["centre"]["deletion"], control["fractions"]))


def test_alt_has_the_numbers_of_the_data(view):
    own, by_lot, _ = view.areas("occlusion")
    assert f"go {own:.2f}, random orders {by_lot.mean():.2f}" in view.alt
    assert view.data["class"] in view.alt and f"{view.data['probability']:.0%}" in view.alt
    picture = view.figure()
    assert picture.png.startswith(b"\x89PNG") and picture.alt == view.alt


@pytest.fixture(scope="module")
def four_maps():
    probe = Probe(create_model("toy_halonet", pretrained=True), WORLD[2]["image"])
    view = Removal(probe, maps=["class_map", "saliency", "integrated", "occlusion"])
    assert view.check()
    return view


def _curve_off(view):
    view.data["methods"]["occlusion"]["deletion"][0] -= 0.01


def _filling_off(view):
    view.data["controls"]["8 × 8"]["centre"]["insertion"][0] += 0.01


def _cell_twice(view):
    view.data["methods"]["saliency"]["order"][0, 0] = 7


def _order_upside_down(view):
    method = view.data["methods"]["occlusion"]
    method["order"] = 63 - method["order"]


def _map_off(view):
    view.data["methods"]["class_map"]["heat"][0, 0] += 0.5


def _gradients_off(view):
    view.data["methods"]["integrated"]["heat"] *= 1.3


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_curve_off, "curves begin and end"),
        (_filling_off, "curves begin and end"),
        (_cell_twice, "each cell once"),
        (_order_upside_down, "first step as occluded"),
        (_map_off, "class map sums"),
        (_gradients_off, "integrated gradients sum"),
    ],
)
def test_each_identity_fails_when_its_numbers_are_wrong(four_maps, spoil, words):
    broken = copy.copy(four_maps)
    broken._methods, broken._controls = copy.deepcopy((four_maps._methods, four_maps._controls))
    spoil(broken)
    with pytest.raises(CheckFailed, match=words):
        broken.check()


def test_a_wrong_order_is_seen(probe, monkeypatch):
    monkeypatch.setattr(removal, "order_of", lambda heat, *_: np.arange(heat.size, dtype=np.int32).reshape(heat.shape))
    with pytest.raises(CheckFailed, match="first step as occluded"):
        Removal(probe, maps=["occlusion"]).check()


def test_fill_target_and_maps_of_ones_own_are_taken(probe):
    mine = np.zeros((4, 4))
    mine[1, 2] = 1
    own = Removal(probe, "heart", {"mine": mine}, fill="mean")
    assert own.data["class"] == "heart" and "mean colour" in own.data["fill"]
    assert own.data["methods"]["mine"]["order"][1, 2] == 0
    assert own.check() and "mine" in own.alt and own.random_twin().check()
    blurred = Removal(probe, "heart", {"mine": mine})
    assert blurred.data["methods"]["mine"]["deletion"][-1] != own.data["methods"]["mine"]["deletion"][-1]


def test_what_a_net_lacks_is_said_in_a_sentence():
    probe = Probe(create_model("toy_resnet", pretrained=True), WORLD[0]["image"])
    with pytest.raises(NotInThisNet, match="halo_look: not in ResidualNet, which allows class_map"):
        Removal(probe, maps=["halo_look"])
    features = Probe(nn.Sequential(nn.Conv2d(3, 3, 1)), torch.randn(1, 3, 8, 8))
    with pytest.raises(NotInThisNet, match="no logits"):
        Removal(features)


def test_a_net_of_another_make_is_served_in_grey():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9 * 9, 5))
    net.num_classes = 5
    other = Removal(Probe(net, torch.randn(1, 1, 20, 20)))
    assert "integrated" in other.data["methods"] and "class_map" not in other.data["methods"]
    assert other.check() and other.data["picture"].size == (20, 20) and other.random_twin().check()


def test_a_large_picture_begins_coarsely_and_the_rest_is_asked_for_in_pieces(probe, monkeypatch):
    monkeypatch.setattr(view_module, "SMALL", 32)
    asked = []
    answer = Probe.answer
    monkeypatch.setattr(Probe, "answer", lambda self, x: asked.append(len(x)) or answer(self, x))
    view = Removal(probe)
    assert list(view.data["methods"]) == ["occlusion"] and view.data["methods"]["occlusion"]["size"] == "4 × 4"
    assert sum(asked) <= 48, "pictures that the net sees before anything is shown"
    view.check()
    more = [name for name, _ in view.payload()["more"]]
    assert "occlusion_fine" in more and "saliency" in more and "occlusion" not in more
    for name in ("occlusion_fine", "saliency"):
        asked.clear()
        shares, longest = [], 0
        while "method" not in (reply := view.answer({"method": name})):
            shares.append(reply["share"])
            longest, asked[:] = max(longest, sum(asked)), []
        assert shares == sorted(shares) and len(shares) > 2 and longest <= 8
        assert dumps(reply)
    fine = view.answer({"method": "occlusion_fine"})["method"]
    assert fine["heat"] == pytest.approx(occlusion(probe), abs=1e-5) and fine["size"] == "8 × 8"
    with pytest.raises(ValueError, match="no answer"):
        view.answer({"method": "halo_look"} if "halo_look" not in view.allowed else {"method": "guided"})


def test_the_widget_answers_what_the_browser_asks(probe):
    live = Removal(probe, maps=["occlusion"]).live
    live.question = json.dumps({"id": 1, "method": "class_map"})
    while "method" not in (reply := json.loads(live.answer)):
        live.question = json.dumps({"id": reply["id"] + 1, "method": "class_map"})
    assert reply["share"] == 1 and reply["method"]["title"].startswith("Class map") and "random" in reply["control"]


def test_a_full_size_net_is_checked_within_few_passes():
    net = create_model("resnext50_32x4d")
    net.load_state_dict(golden_state("resnext50_32x4d"))
    view = Removal(Probe(net, golden_picture()))
    assert view.data["methods"]["occlusion"]["heat"].shape == (4, 4) and view.data["pixels"] == (224, 224)
    assert view.check() and len(dumps(view.message())) < 500_000


def test_the_gap_is_that_of_the_drawn_map(view):
    heat = view.data["methods"]["integrated"]["heat"]
    found = next(it for it in view.identities() if "integrated" in it.text)
    assert found.error == pytest.approx(completeness_gap(view.probe, heat, view.target)) and found.error < 0.03


# --- the league -----------------------------------------------------------------------------------------------------


def test_the_recorded_league_checks_and_says_best_and_worst():
    table = League()
    assert table.recorded and table.check()
    explaining = [row for row in table.rows() if table.data["methods"][row["method"]]["kind"] == "explains"]
    best = max(explaining, key=lambda row: row["pointing"][0])
    worst = min(explaining, key=lambda row: row["pointing"][0])
    assert f"on {best['net']}, {best['pointing'][0]:.0%}" in table.alt
    assert f"on {worst['net']}, {worst['pointing'][0]:.0%}" in table.alt
    assert len(table.rows("toy_halonet")) == 12 and len(table.rows("toy_resnet", "shape")) == 11
    assert table.figure().png.startswith(b"\x89PNG")
    assert len(table.to_html()) < 200_000


def _share_above_one(rows):
    rows[0]["mass"] = [1.2, 1.0, 1.3]


def _mean_outside(rows):
    rows[0]["lift"] = [9.0, 1.0, 2.0]


def _twin_gone(rows):
    next(row for row in rows if row["twin"])["twin"] = None


def _random_is_too_good(rows):
    next(row for row in rows if row["method"] == "random" and row["group"] == "all")["pointing"] = [0.5, 0.4, 0.6]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_share_above_one, "within 0 and 1"),
        (_mean_outside, "hold their means"),
        (_twin_gone, "every map has its twin"),
        (_random_is_too_good, "random maps at chance"),
    ],
)
def test_each_identity_of_the_league_fails_when_its_numbers_are_wrong(spoil, words):
    record = copy.deepcopy(league.results())
    spoil(record["rows"])
    with pytest.raises(CheckFailed, match=words):
        League(record).check()


def test_a_fresh_league_is_drawn_like_the_recorded_one():
    record = league.grade(("toy_resnet",), pictures=2, methods=["class_map", "centre", "random"])
    fresh = League(record)
    assert not fresh.recorded and {row["of"] for row in fresh.rows()} == {6}
    assert fresh.figure().alt == fresh.alt and dumps(fresh.message())


def test_checks_hold_where_there_is_nothing_to_remove(probe):
    """In a picture of one colour all falls are the logits' rounding."""
    view = Removal(Probe(probe.net, torch.full((3, 64, 64), 0.5)))
    assert view.check() and abs(view.data["methods"]["occlusion"]["heat"]).max() < 1e-4
