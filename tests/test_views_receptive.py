"""Receptive fields: boxes against pixels of NaN and textbook numbers, energies against autograd by hand."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

import netwright as nw
from netwright.models import preprocessing_of
from netwright.probing.capture import ProbeError, hooked, hooks_in
from netwright.probing.golden import golden_picture, golden_state
from netwright.views.receptive import field as receptive
from netwright.views.receptive.box import EXACT, GLOBAL, UPPER_BOUND, boxes, window
from netwright.views.receptive.field import LOCAL, WHOLE, ReceptiveField
from netwright.views.receptive.figure import contour, edges
from netwright.views.view import CheckFailed, NotInThisNet
from peers import timm, torchvision

TOYS = ("toy_resnet", "toy_resnext", "toy_resnest", "toy_halonet")
FULL = ("resnet50", "resnext50_32x4d", "resnest50d", "halonet50ts")
STAGES = ("stages.0", "stages.1", "stages.2", "stages.3")


@pytest.fixture(scope="module")
def toys():
    return {name: nw.create_model(name, pretrained=True).eval() for name in TOYS}


@pytest.fixture(scope="module")
def probes(toys):
    picture = nw.ToyWorld("test")[3]["image"]
    return {name: nw.probe(net, picture) for name, net in toys.items()}


def foreign(net):
    """A net of another make, told what its pictures look like."""
    net.preprocessing = preprocessing_of(nw.create_model("toy_resnet"))
    return net.eval()


def reads(net, picture, place, axis):
    """(pixels along `axis`, cells along it): which rows (2) or columns (3) of the map a row or column of NaN spoils.

    Gates are held at what they are: whatever reads a mean over the map gets the clean one.
    """
    gates = [
        module for name, module in net.named_modules() if name.endswith(("attention.fc1", "gate.fc1", "gate.conv"))
    ]
    clean, found = {}, []
    with hooked([lambda m=m: m.register_forward_pre_hook(lambda m, given: clean.update({m: given[0]})) for m in gates]):
        net(picture)
    spoilt = picture.repeat(picture.shape[axis], 1, 1, 1)
    for pixel, one in enumerate(spoilt):
        one.select(axis - 1, pixel).fill_(math.nan)
    held = [lambda m=m: m.register_forward_pre_hook(lambda m, given: (clean[m].expand_as(given[0]),)) for m in gates]
    keep = [lambda: net.get_submodule(place).register_forward_hook(lambda m, given, out: found.append(out))]
    with torch.no_grad(), hooked(held + keep):
        net(spoilt)
    return found[0].isnan().any(1).any(5 - axis - 1 if axis == 2 else 1).numpy()


@pytest.mark.parametrize("name", TOYS)
@pytest.mark.parametrize("axis", [2, 3], ids=["rows", "columns"])
def test_boxes_are_what_pixels_of_nan_reach_for_every_cell(toys, probes, name, axis):
    found = boxes(toys[name], probes[name].input, STAGES)
    for place in STAGES:
        spoilt = reads(toys[name], probes[name].input, place, axis)
        first, last = spoilt.argmax(0), len(spoilt) - 1 - spoilt[::-1].argmax(0)
        stretch = found[place].rows if axis == 2 else found[place].columns
        assert np.array_equal(stretch, np.stack((first, last), 1)), place


def test_attention_of_stride_two_reads_its_block_and_the_halo_around_it(toys, probes):
    at = "stages.1.0.middle.attention"
    attention = toys["toy_halonet"].get_submodule(at)
    assert (attention.block_size, attention.halo, attention.query.stride) == (8, 3, (2, 2))
    before = boxes(toys["toy_halonet"], probes["toy_halonet"].input, ["stages.1.0.reduce", at])
    reduced, queries = before["stages.1.0.reduce"].rows, before[at].rows
    for query in range(8):
        block = query * 2 // 8
        window_ = range(max(0, 8 * block - 3), min(16, 8 * block + 8 + 3))
        assert tuple(queries[query]) == (min(reduced[i][0] for i in window_), max(reduced[i][1] for i in window_))


@pytest.mark.parametrize(
    "make", [timm.create_model, lambda name: getattr(torchvision.models, name)()], ids=["timm", "torchvision"]
)
def test_the_boxes_of_resnet18_have_the_textbook_sizes(make):
    net = make("resnet18").eval()
    found = boxes(net, torch.randn(1, 3, 512, 512), ["layer1", "layer2", "layer3", "layer4"])
    sizes = [it.rows[len(it.rows) // 2] @ (-1, 1) + 1 for it in found.values()]
    assert sizes == [43, 99, 211, 435]
    assert {it.status for it in found.values()} == {EXACT}


@pytest.mark.parametrize("name", TOYS)
def test_the_gradient_keeps_inside_boxes_that_are_tight_in_the_toy_nets(probes, name):
    for place, at in (("stages.0", (0, 15)), ("stages.1", (3, 5))):
        view = ReceptiveField(probes[name], place, at)
        assert "inside the box" in view.check()
        assert view.data["energy"].shape == (64, 64)
        assert view.data["status"] == (GLOBAL if name == "toy_resnest" else EXACT)


@pytest.mark.parametrize("name", FULL)
def test_the_gradient_keeps_inside_boxes_that_are_tight_in_the_full_size_nets(name):
    net = nw.create_model(name)
    net.load_state_dict(golden_state(name))
    view = ReceptiveField(nw.probe(net, golden_picture()), draws=1)
    assert view.place == "stages.1" and "tight" in view.check()
    assert view.bin == 4
    assert view.data["energy"].sum() == pytest.approx(view._fields[WHOLE].sum())
    y0, y1 = view.data["box"][:2]
    assert 0 < y0 < y1 < net.config.input_size - 1


def test_nets_of_other_makes_are_served():
    torch.manual_seed(0)
    for net in (timm.create_model("resnet18"), torchvision.models.resnet18()):
        view = ReceptiveField(nw.probe(foreign(net), torch.randn(1, 3, 64, 64)), "layer1", (3, 3))
        assert view.check() == "gradient inside the box, exactly · tight, by pixels of NaN, exactly"
        assert list(view.places) == ["layer1", "layer2", "layer3", "layer4"]


@pytest.mark.parametrize("side", range(4))
@pytest.mark.parametrize("by", [-1, 1])
def test_the_check_sees_a_box_that_is_off_by_one_pixel(probes, side, by):
    view = ReceptiveField(probes["toy_resnext"], "stages.0", (8, 8))
    broken = {"rows": view._box.rows.copy(), "columns": view._box.columns.copy()}
    broken["rows" if side < 2 else "columns"][8, side % 2] += by
    view.boxes["stages.0"] = dataclasses.replace(view._box, **broken)
    with pytest.raises(CheckFailed, match="inside the box|tight"):
        view.check()


def test_the_gradient_alone_sees_a_box_that_is_too_small(probes):
    view = ReceptiveField(probes["toy_resnet"], "stages.0", (8, 8))
    rows = view._box.rows.copy()
    rows[8, 1] -= 1
    view.boxes["stages.0"] = dataclasses.replace(view._box, rows=rows)
    inside, tight = view.identities()
    assert not inside.holds and not tight.holds


def test_the_check_sees_gates_that_are_not_held(probes):
    view = ReceptiveField(probes["toy_resnest"], "stages.0", (8, 8))
    view.boxes["stages.0"] = dataclasses.replace(view._box, gates=())
    with pytest.raises(CheckFailed, match="gates held"):
        view.check()


def test_through_its_gates_a_cell_of_resnest_sees_the_whole_picture(probes):
    view = ReceptiveField(probes["toy_resnest"], "stages.0", (8, 8))
    assert view.data["extent"] == (0, 63, 0, 63)
    assert view._box.whole(8, 8) == (0, 63, 0, 63) != view._box.local(8, 8)
    assert [name.rsplit(".", 1)[1] for name in view._box.gates] == ["fc1", "fc2"] * 2
    y0, y1, x0, x1 = view.data["box"]
    outside = np.ones((64, 64), dtype=bool)
    outside[y0 : y1 + 1, x0 : x1 + 1] = False
    assert view._fields[LOCAL][outside].max() == 0 < view._fields[WHOLE][outside].min()
    assert 0 < view.outside < 1


@pytest.mark.parametrize(
    ("name", "gate"), [("sehalonet33ts", "stages.0.0.gate.fc1"), ("eca_halonext26ts", "stages.0.0.gate.conv")]
)
def test_other_channel_gates_are_global_too(name, gate):
    found = boxes(nw.create_model(name).eval(), torch.randn(1, 3, 256, 256), ["stages.0"])["stages.0"]
    assert found.status == GLOBAL and found.extent == (0, 255, 0, 255)
    assert found.gates[0] == gate


class Odd(nn.Module):
    """Operations of all kinds that keep their places, and one at the end that does not, if asked."""

    def __init__(self, rolls: bool):
        super().__init__()
        self.first, self.second, self.rolls = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(8, 4, 5, dilation=2), rolls
        self.last = nn.Identity()

    def forward(self, x):
        x = nn.functional.relu6(self.first(x))
        x = torch.cat((x, nn.functional.pad(x, (1, 0, 0, 1))[:, :, 1:, :-1].sigmoid()), 1)
        x = nn.functional.avg_pool2d(self.second(x), 2, ceil_mode=True)
        return self.last(x.roll(1, 2) if self.rolls else x)


def test_an_operation_that_is_not_known_makes_an_upper_bound_and_says_so():
    torch.manual_seed(0)
    probe = nw.probe(foreign(Odd(rolls=True)), torch.randn(1, 3, 20, 20))
    view = ReceptiveField(probe, "last", (2, 2), draws=1)
    assert view.data["status"] == UPPER_BOUND
    assert view.data["box"] == (0, 19, 0, 19)
    assert "upper bound" in " ".join(identity.text for identity in view.identities())
    assert all(identity.holds for identity in view.identities())


def test_slices_pads_and_ceilings_keep_their_places():
    torch.manual_seed(0)
    net, picture = Odd(rolls=False).eval(), torch.randn(1, 3, 21, 21)
    found = boxes(net, picture, ["last"])["last"]
    assert found.status == EXACT
    for axis, stretch in ((2, found.rows), (3, found.columns)):
        spoilt = reads(net, picture, "last", axis)
        first, last = spoilt.argmax(0), len(spoilt) - 1 - spoilt[::-1].argmax(0)
        assert np.array_equal(stretch, np.stack((first, last), 1))


def test_windows_are_counted_as_by_a_loop():
    reach = np.arange(11)[:, None].repeat(2, 1)
    for count, kernel, stride, padding, dilation in (
        (11, 3, 1, 1, 1),
        (6, 3, 2, 1, 1),
        (6, 2, 2, 0, 1),
        (7, 3, 1, 0, 2),
    ):
        found = window(reach, count, kernel, stride, padding, dilation)
        for cell in range(count):
            taps = [cell * stride - padding + k * dilation for k in range(kernel)]
            taps = [tap for tap in taps if 0 <= tap < 11]
            assert tuple(found[cell]) == (min(taps), max(taps))


def test_energy_is_the_squared_gradient_of_a_random_mixture_of_channels(toys, probes):
    view = ReceptiveField(probes["toy_halonet"], "stages.1", (3, 5), draws=8)
    v = torch.randn(8, 128, generator=torch.Generator().manual_seed(0))
    by_hand = torch.zeros(64, 64)
    for draw in range(8):
        leaf = probes["toy_halonet"].input.clone().requires_grad_()
        x = toys["toy_halonet"].stem(leaf)
        x = toys["toy_halonet"].stages[1](toys["toy_halonet"].stages[0](x))
        (x[0, :, 3, 5] @ v[draw]).backward(inputs=[leaf])
        by_hand += leaf.grad[0].square().sum(0) / 8
    assert np.allclose(view.data["energy"], by_hand.numpy(), rtol=1e-3, atol=1e-8 * float(by_hand.max()))


def test_with_many_draws_energy_is_the_squared_jacobian_summed_over_channels():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 5, 3, stride=2))
    probe = nw.probe(foreign(net), torch.randn(1, 3, 12, 12))
    leaf = probe.input.clone().requires_grad_()
    jacobian = [torch.autograd.grad(net(leaf)[0, k, 2, 2], leaf)[0] for k in range(5)]
    exact = sum(slope.square().sum((0, 1)) for slope in jacobian).numpy()
    view = ReceptiveField(probe, "2", (2, 2), draws=4000)
    assert np.abs(view.data["energy"] - exact).max() < 0.1 * exact.max()
    assert view.data["energy"].sum() == pytest.approx(exact.sum(), rel=0.05)
    assert view.data["box"] == (3, 7, 3, 7)


def test_pictures_are_averaged_over(probes):
    x = probes["toy_resnet"].input
    one = ReceptiveField(probes["toy_resnet"], "stages.1", (3, 3), draws=8)
    twice = ReceptiveField(probes["toy_resnet"], "stages.1", (3, 3), draws=4, pictures=torch.cat((x, x)))
    assert np.allclose(one.data["energy"], twice.data["energy"], rtol=1e-4)
    other = ReceptiveField(probes["toy_resnet"], "stages.1", (3, 3), draws=4, pictures=torch.cat((x, x.flip(3))))
    assert not np.allclose(one.data["energy"], other.data["energy"], rtol=0.1)


def test_contours_hold_the_share_that_they_promise_in_the_fewest_squares():
    energy = np.array([[1.0, 5.0], [3.0, 1.0]])
    assert contour(energy, 0.5).tolist() == [[False, True], [False, False]]
    assert contour(energy, 0.75).tolist() == [[False, True], [True, False]]
    assert len(edges(np.array([[True, True]]))) == 6


def test_the_kernel_answers_with_draws_that_continue_each_other(probes):
    view = ReceptiveField(probes["toy_resnest"], "stages.1", (3, 5), draws=16)
    answers = [view.answer({"place": 1, "row": 3, "column": 5, "start": start}) for start in (0, 8)]
    assert [answer["draws"] for answer in answers] == [8, 8]
    assert np.allclose((answers[0]["whole"] + answers[1]["whole"]) / 2, view.data["energy"])
    assert np.allclose((answers[0]["local"] + answers[1]["local"]) / 2, view.data["local_energy"])
    with pytest.raises(ValueError, match="has no answer"):
        view.answer({"row": 1})


def test_an_exported_page_holds_cells_of_every_map_of_a_toy_net(probes):
    view = ReceptiveField(probes["toy_resnet"], "stages.1")
    assert "stored" not in view.message(live=True)["data"]
    stored = view.message()["data"]["stored"]
    assert [(it["place"], len(it["rows"])) for it in stored] == [(0, 3), (1, 4), (2, 3), (3, 2)]
    it = stored[1]
    field = view.energy("stages.1", (it["rows"][2], it["columns"][1]))
    assert np.allclose(it["roots"].array[2 * 4 + 1] ** 2 * it["sums"][9], field, atol=1e-6 * field.max())
    assert len(view.to_html(twin=False)) < 700_000


def test_nothing_is_left_in_the_net(toys, probes):
    net = toys["toy_resnest"]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.train()
    ReceptiveField(probes["toy_resnest"], "stages.1").check()
    with pytest.raises(ProbeError, match="never run|makes no map"):
        ReceptiveField(probes["toy_resnest"], "classifier")
    assert hooks_in(net) == 0 and net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    net.eval()


def test_what_cannot_be_shown_is_named(probes):
    with pytest.raises(ProbeError, match="has no cell \\(9, 0\\)"):
        ReceptiveField(probes["toy_resnet"], "stages.1", (9, 0))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(48, 4))
    with pytest.raises(NotInThisNet, match="makes no maps"):
        ReceptiveField(nw.probe(flat, torch.randn(1, 3, 4, 4)))


def test_the_description_has_the_numbers_of_the_field(probes):
    view = ReceptiveField(probes["toy_resnest"], "stages.0", (8, 8))
    y0, y1, x0, x1 = view.data["box"]
    assert f"{y1 - y0 + 1} × {x1 - x0 + 1} pixels" in view.alt
    assert f"in {view.pixels_for(view.data['local_energy'], 0.5)} pixels" in view.alt
    assert f"{view.outside:.1%} of the whole net's energy" in view.alt
    assert view.figure().alt == view.alt


def test_random_weights_have_the_same_box_and_another_field(probes):
    view = ReceptiveField(probes["toy_halonet"], "stages.1", (3, 5))
    twin = view.random_twin()
    assert twin.check() and twin.data["box"] == view.data["box"]
    shares = [it.data["energy"] / it.data["energy"].sum() for it in (view, twin)]
    assert np.abs(shares[0] - shares[1]).sum() > 0.1


def test_large_pictures_are_summed_over_squares(monkeypatch, probes):
    monkeypatch.setattr(receptive, "SIDE", 20)
    view = ReceptiveField(probes["toy_resnet"], "stages.1")
    assert view.bin == 4
    assert view.data["energy"][3, 5] == pytest.approx(view._fields[WHOLE][12:16, 20:24].sum())
