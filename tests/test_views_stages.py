"""The stage browser and the row of nets show what the nets hold: against hooks and formulas of the tests' own."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import netwright as nw
from netwright.nets.zoo import TOYS
from netwright.probing.capture import hooks_in
from netwright.probing.golden import golden_picture, golden_state
from netwright.views.frame import assembling
from netwright.views.maps import stage_maps, stages
from netwright.views.maps.side_by_side import SideBySide
from netwright.views.maps.stage_maps import Grouping
from netwright.views.maps.stages import StageBrowser
from netwright.views.view import CheckFailed, NotInThisNet
from peers import timm

FULL_SIZE = ("resnet50", "resnext50_32x4d", "resnest50d", "halonet50ts", "sehalonet33ts")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def toy(name: str, picture: int = 3):
    net = nw.create_model(name, pretrained=True)
    return nw.probe(net, nw.ToyWorld("test")[picture]["image"])


@pytest.fixture(scope="module")
def full():
    """name -> the browser of a full-size net with golden weights, made once."""
    made = {}

    def of(name: str) -> StageBrowser:
        if name not in made:
            net = nw.create_model(name)
            net.load_state_dict(golden_state(name))
            made[name] = StageBrowser(nw.probe(net, golden_picture()))
        return made[name]

    return of


@pytest.fixture(scope="module")
def resnext():
    return StageBrowser(toy("toy_resnext"))


def hooked_by_hand(probe, place: str) -> np.ndarray:
    seen = []
    module = probe.net.get_submodule(place)
    handle = module.register_forward_hook(lambda _, given, out: seen.append(out[0].clone()))
    probe.net.eval()
    with torch.no_grad():
        probe.net(probe.input)
    handle.remove()
    (only,) = seen
    return only.numpy()


def in_the_browser(channels: dict) -> np.ndarray:
    """What the script makes of the two bytes a number."""
    return channels["maps"]["values"].array.astype(np.float16).astype(np.float32) * channels["maps"]["unit"]


# The maps --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TOYS)
def test_the_check_holds_for_the_toy_nets_and_leaves_them_as_they_were(name):
    probe = toy(name)
    probe.net.train()
    probe.net.stages[0].eval()
    state = copy.deepcopy(probe.net.state_dict())
    view = StageBrowser(probe)
    assert "half precision" in view.check() and "logits" in view.badge["text"]
    assert {place.rpartition(".")[2] for place in view.places} >= {"stem", "reduce", "middle", "expand", "0"}
    assert hooks_in(probe.net) == 0 and probe.net.training and not probe.net.stages[0].training
    assert all(torch.equal(value, state[key]) for key, value in probe.net.state_dict().items())


@pytest.mark.parametrize("name", FULL_SIZE)
def test_the_check_holds_for_full_size_nets_and_their_pages_are_small(full, name):
    view = full(name)
    assert view.badge["state"] == "holds"  # what `check` raises for
    if name == "sehalonet33ts":
        assert "final_conv" in view.places
    # The page with the random twin: the picture and the maps twice, and the script.
    message = len(assembling.dumps(view.message()).encode())
    assert 2 * message + len(assembling.page("", [("stages", {})]).encode()) <= 3_000_000


@pytest.mark.parametrize("place", ("stem", "stages.1.0", "stages.2.1.reduce", "stages.0.0.expand", "stages.3.0.middle"))
def test_the_maps_are_those_of_a_hook_and_the_numbers_are_theirs(resnext, place):
    data, expected = resnext.data, hooked_by_hand(resnext.probe, place)
    assert np.abs(data["maps"][place] - expected).max() <= 1e-6
    dead = sum(bool((channel <= 0).all()) for channel in expected) / len(expected)
    assert data["dead"][place] == pytest.approx(dead)
    assert data["mean"][place][5] == pytest.approx(float(expected[5].mean()), abs=1e-5)
    assert data["energy"][place][5] == pytest.approx(float(np.sqrt((expected[5] ** 2).mean())), abs=1e-5)
    assert (data["low"][place], data["high"][place]) == (expected.min(), expected.max())
    (entry,) = [it for it in resnext.payload()["places"] if it["name"] == place]
    shown = in_the_browser(entry["channels"])
    assert np.abs(shown - expected[entry["channels"]["numbers"]]).max() <= 1e-3 * np.abs(expected).max()
    assert [channel for channel, _ in entry["top"]] == np.argsort(-expected.mean((1, 2)), kind="stable")[:5].tolist()


def test_numbers_beyond_half_precision_are_sent_all_the_same():
    for size in (1e-9, 3.0, 1e7):
        maps = size * np.array([[1.0, 0.123456], [-0.5, 0.0]])
        sent = stage_maps.in_two_bytes(maps)
        found = sent["values"].array.astype(np.float16).astype(np.float64) * sent["unit"]
        assert np.abs(found - maps).max() <= 1e-3 * size
    flat = stage_maps.in_two_bytes(np.zeros((2, 2)))
    assert flat["unit"] == 1 and not flat["values"].array.any()


def test_each_check_fails_where_it_should(monkeypatch):
    def broken(change) -> StageBrowser:
        view = StageBrowser(toy("toy_resnet"))
        change(view.data["maps"])
        return view

    def mirrored(maps):  # what is drawn is not what was there
        maps["stages.1.0.middle"] = maps["stages.1.0.middle"][:, :, ::-1]

    with pytest.raises(CheckFailed, match="what a hook sees"):
        broken(mirrored).check()

    # A map that a later layer wrote into: the probe's copies would hide it, so the independent pass is fooled as well.
    view = broken(lambda maps: maps.update({"stages.1.1": maps["stages.1.1"] + 1}))
    monkeypatch.setattr(stages, "one_whole_pass", lambda probe, places: view.data["maps"])
    with pytest.raises(CheckFailed, match="the rest of the net"):
        view.check()
    monkeypatch.undo()

    view = StageBrowser(toy("toy_resnet"))
    monkeypatch.setattr(
        stages, "in_two_bytes", lambda array: {"values": assembling.Half(np.round(array * 50)), "unit": 1 / 50}
    )
    with pytest.raises(CheckFailed, match="half precision"):
        view.check()


# Groups and choices ----------------------------------------------------------------------------------------------------


def test_channels_are_grouped_by_cardinality_split_and_head(full):
    groups = full("resnext50_32x4d").data["groups"]
    assert groups["stages.0.0.middle"] == groups["stages.3.2.reduce"] == Grouping("group", 32)
    assert groups["stages.0.0"] is groups["stages.0.0.expand"] is groups["stem"] is None
    splits = full("resnest50d").data
    assert splits["groups"]["stages.1.0.middle.attention.norm"] == Grouping("split", 2)
    assert len(splits["maps"]["stages.1.0.middle.attention.norm"]) == 2 * len(splits["maps"]["stages.1.0.middle"])
    heads = full("halonet50ts").data["groups"]
    assert heads["stages.1.3.middle"] == Grouping("head", 4) and heads["stages.2.1.middle"] == Grouping("head", 8)
    assert heads["stages.2.0.middle"] is None


def test_a_groups_channels_are_what_its_group_of_the_convolution_makes():
    """The group of a channel is the one whose weights made it: with another group's weights gone it stays."""
    probe = toy("toy_resnext")
    view = StageBrowser(probe)
    place, groups = "stages.1.0.middle", view.data["groups"]["stages.1.0.middle"]
    width = len(view.data["maps"][place]) // groups.count

    def only_group_2(out, given):
        kept = torch.zeros_like(given)
        kept[:, 2 * width : 3 * width] = given[:, 2 * width : 3 * width]  # of what reduce puts out
        middle = probe.net.get_submodule(place)
        seen.append(middle.act(middle.norm(middle.conv(kept))))
        return out

    seen = []
    probe.rerun({place: only_group_2})
    found, expected = seen[0][0].numpy(), view.data["maps"][place]
    same = [np.abs(found[k] - expected[k]).max() < 1e-5 for k in range(len(expected))]
    assert all(same[2 * width : 3 * width]) and not all(same[: 2 * width])


def test_the_most_active_come_first_and_then_the_strongest_of_each_group():
    energy = np.array([1, 4, 2, 3, 9, 8, 7, 6.0])
    assert stage_maps.order_of(-energy, energy, None)[:5] == [0, 2, 3, 1, 7]
    order = stage_maps.order_of(np.array([0, 0, 0, 0, 5, 4, 3, 2.0]), energy, Grouping("group", 2))
    assert order[:5] == [4, 5, 6, 7, 0]  # four by mean, the rest of them equal
    assert order[5:] == [1, 3, 2] and sorted(order) == list(range(8))


def test_the_page_says_how_many_of_how_many_channels_it_has(full):
    payload = full("resnext50_32x4d").payload()
    entries = {entry["name"]: entry for entry in payload["places"]}
    numbers = sum(np.asarray(entry["channels"]["maps"]["values"].array).size for entry in entries.values())
    assert numbers <= stages.BUDGET
    late = entries["stages.2.1.middle"]["channels"]["numbers"]
    assert {int(channel) // 16 for channel in late} == set(range(32))  # a channel of every group
    assert len(entries["stem"]["channels"]["numbers"]) >= 5


def test_the_kernel_gives_the_rest_and_any_other_module(resnext):
    seen, have, place = [], 0, "stages.3.0"
    count = len(resnext.data["maps"][place])
    while have < count:
        channels = resnext.answer({"ask": "more", "place": place, "have": have})["channels"]
        seen += channels["numbers"].tolist()
        have += len(channels["numbers"])
        expected = resnext.data["maps"][place][channels["numbers"]]
        assert np.abs(in_the_browser(channels) - expected).max() <= 1e-3 * np.abs(expected).max()
    assert sorted(seen) == list(range(count))
    entry = resnext.answer({"ask": "place", "place": "stages.1.0.middle.conv"})["entry"]
    assert entry["group"] == {"kind": "group", "count": 8} and entry["part"] == "middle.conv"
    expected = hooked_by_hand(resnext.probe, "stages.1.0.middle.conv")[entry["channels"]["numbers"]]
    assert np.abs(in_the_browser(entry["channels"]) - expected).max() <= 1e-3 * np.abs(expected).max()
    with pytest.raises(ValueError, match="no answer"):
        resnext.answer({"ask": "place", "place": "stages.9"})


# Other nets ------------------------------------------------------------------------------------------------------------


def test_a_plain_sequential_shows_its_maps_and_those_chosen_by_name():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3, groups=2), nn.Flatten(), nn.Linear(800, 4)
    )
    probe = nw.probe(net, torch.randn(1, 3, 14, 14))
    view = StageBrowser(probe)
    assert view.places == ("0", "1", "2") and view.check()
    # The ReLU writes into the convolution's map, which is shown as it was.
    assert np.abs(view.data["maps"]["0"] - net[0](probe.input)[0].detach().numpy()).max() <= 1e-6
    assert view.data["low"]["0"] < 0 == view.data["low"]["1"]
    assert view.data["groups"]["2"] == Grouping("group", 2) and view.data["picture"].size == (14, 14)
    assert StageBrowser(probe, ["2"]).places == ("2",)
    assert "logits" not in view.badge["text"]  # it has no steps to go on from
    assert assembling.dumps(view.message(twin=True))
    with pytest.raises(NotInThisNet, match="'4' puts out no map"):
        StageBrowser(probe, ["4"])


def test_a_net_of_timm_shows_its_maps():
    net = timm.create_model("resnet18", num_classes=7)
    probe = nw.probe(net, torch.randn(1, 3, 64, 64))
    view = StageBrowser(probe)
    assert view.check() and {"layer1.0", "layer4.1"} <= set(view.places)
    assert view.data["maps"]["layer4.1"].shape == (512, 2, 2)
    assert hooks_in(net) == 0 and net.training


def test_a_net_without_maps_says_what_it_would_need():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    with pytest.raises(NotInThisNet, match="puts out maps"):
        StageBrowser(nw.probe(net, torch.randn(1, 3, 2, 2)))


def test_a_uniform_map_stays_uniform():
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
    nn.init.zeros_(net[0].weight)
    with torch.no_grad():
        net[0].bias.copy_(torch.tensor([0.7, -1.0]))
    view = StageBrowser(nw.probe(net, torch.randn(1, 3, 4, 4)))
    assert view.check() and view.data["dead"] == {"0": 0.5, "1": 0.5}
    (entry,) = [it for it in view.payload()["places"] if it["name"] == "1"]
    shown = in_the_browser(entry["channels"])
    assert np.ptp(shown[0]) == np.ptp(shown[1]) == 0 and shown[0, 0, 0] == pytest.approx(0.7, rel=1e-3)


# Around it -------------------------------------------------------------------------------------------------------------


def test_the_description_and_the_picture_have_the_numbers(resnext):
    place = "stages.2.1"
    maps = resnext.data["maps"][place]
    assert f"{place}: 256 maps of 4 × 4 = 16 numbers, 0 to {maps.max():.3g}" in resnext.alt
    assert resnext.alt in resnext.figure().alt


def test_random_weights_show_other_maps_of_the_same_places(resnext):
    twin = resnext.twin
    assert twin.places == resnext.places and twin.check()
    assert np.abs(twin.data["maps"]["stages.1.1"] - resnext.data["maps"]["stages.1.1"]).max() > 0.1


# Four nets side by side -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def four():
    return SideBySide([toy(name, 5) for name in TOYS])


def test_four_nets_side_by_side_show_their_maps_at_each_stride(four):
    assert four.check()
    assert four.data["strides"] == [2, 4, 8, 16, 32] and four.data["nets"] == list(TOYS)
    for probe, maps in zip(four.probes, four.data["maps"], strict=True):
        probe.net.eval()
        with torch.no_grad():
            expected = [m[0].square().mean(0).sqrt() for m in probe.net.forward_maps(probe.input)]
        assert all(np.abs(m - e.numpy()).max() <= 1e-5 for m, e in zip(maps, expected, strict=True))
        assert [m.shape[-1] for m in maps] == [32, 16, 8, 4, 2]
        assert hooks_in(probe.net) == 0


def test_the_top_5_are_those_of_classify(four):
    picture = nw.ToyWorld("test")[5]["image"]
    for probe, top in zip(four.probes, four.data["top"], strict=True):
        expected = nw.classify(probe.net, picture)
        assert [name for name, _ in top] == [name for name, _ in expected]
        assert [p for _, p in top] == pytest.approx([p for _, p in expected], abs=1e-5)


def test_side_by_side_fails_where_a_map_or_a_probability_is_not_the_nets():
    view = SideBySide([toy("toy_resnet"), toy("toy_halonet")])
    view.data["maps"][1][2] = view.data["maps"][1][2][::-1]
    with pytest.raises(CheckFailed, match="those that the nets give out"):
        view.check()
    view = SideBySide([toy("toy_resnet"), toy("toy_halonet")])
    name, p = view.data["top"][0][0]
    view.data["top"][0][0] = (name, p * 0.9)
    with pytest.raises(CheckFailed, match="softmax"):
        view.check()


def test_side_by_side_takes_nets_of_other_makes_and_says_what_it_cannot_take():
    other = nw.probe(timm.create_model("resnet18", num_classes=20), torch.randn(1, 3, 64, 64))
    view = SideBySide([toy("toy_resnet"), other])
    assert view.check() and view.data["strides"] == [2, 4, 8, 16, 32]
    assert [m.shape[-1] for m in view.data["maps"][1]] == [32, 16, 8, 4, 2]
    with pytest.raises(NotInThisNet, match="at least two"):
        SideBySide([other])
    with pytest.raises(NotInThisNet, match="no maps"):
        SideBySide([other, nw.probe(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), torch.randn(1, 3, 2, 2))])


def test_side_by_side_has_its_numbers_in_words_and_a_twin(four):
    name, p = four.data["top"][3][0]
    assert f"toy_halonet: {name} {p:.0%}" in four.alt and four.figure().png[:4] == b"\x89PNG"
    assert np.abs(four.twin.data["maps"][0][1] - four.data["maps"][0][1]).max() > 0.05
    assert len(four.to_html().encode()) < 500_000


def test_maps_whose_squares_overflow_are_shown():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    view = StageBrowser(nw.probe(net, 1e30 * torch.randn(1, 3, 14, 14)))
    assert view.check() and assembling.dumps(view.message())
