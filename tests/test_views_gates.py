"""The gates room: what ResNeSt's gates prefer, what forcing them changes, its splits, and its two kinds of paths."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import netwright as nw
from netwright.lessons.resnest import force as other_way  # forces gates by exchanging the layer's own method
from netwright.lessons.resnest.gates import explained
from netwright.lessons.splat.attending import SplitAttention as ReadersSplitAttention
from netwright.nets.resnest import SplitAttention
from netwright.nets.toy import CONFIGS
from netwright.probing.capture import hooks_in
from netwright.probing.golden import golden_picture, golden_state
from netwright.views.frame import assembling
from netwright.views.gates import knowing as gates_know
from netwright.views.gates import parts
from netwright.views.gates import paths as gate_paths
from netwright.views.gates.gates import Gates
from netwright.views.gates.paths import GatePaths, local_box
from netwright.views.gates.splits import SplitBrowser
from netwright.views.view import CheckFailed, NotInThisNet

FULL = {"resnest50d": (2, 1), "resnest50d_1s4x24d": (1, 4), "resnest50d_4s2x40d": (4, 2)}


class Readers(nn.Module):
    """A net of a reader: two split attentions with two cardinal groups, and no part called act."""

    def __init__(self):
        super().__init__()
        self.begin = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.first = ReadersSplitAttention(8, 2, 2)
        self.second = ReadersSplitAttention(8, 2, 2)
        self.end = nn.Linear(8, 5)

    def forward(self, x):
        return self.end(self.second(self.first(self.begin(x))).mean((2, 3)))


@pytest.fixture(scope="module")
def toy():
    return nw.create_model("toy_resnest", pretrained=True).eval()


@pytest.fixture(scope="module")
def toy_probe(toy):
    return nw.probe(toy, nw.ToyWorld("test")[0]["image"])


@pytest.fixture(scope="module")
def gates(toy_probe):
    return Gates(toy_probe)


@pytest.fixture(scope="module")
def full():
    """Name of a full-size net -> a probe of it, with seeded weights and a small input."""
    known = {}

    def probe(name):
        if name not in known:
            net = nw.create_model(name)
            net.load_state_dict(golden_state(name))
            x = nw.probe(net, golden_picture()).input
            known[name] = nw.probe(net, nn.functional.interpolate(x, (64, 64), mode="area"))
        return known[name]

    return probe


@pytest.fixture(scope="module")
def readers():
    torch.manual_seed(5)
    net = Readers()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.2, 1)
            module.running_mean.normal_()
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.weight, std=0.3)  # gates that are far from one half, and not at their ends
    return nw.probe(net, torch.randn(1, 3, 20, 20))


# The parts -------------------------------------------------------------------------------------------------------


def test_the_rsoftmax_is_that_of_two_cardinal_groups_and_two_splits_written_by_hand():
    logits = torch.tensor([[0.3, -1.0, 2.0, 0.5, -0.7, 1.1, 0.2, -2.0]])  # group, split, channel of the group
    e = np.exp
    split_0 = [
        e(0.3) / (e(0.3) + e(2.0)),
        e(-1.0) / (e(-1.0) + e(0.5)),
        e(-0.7) / (e(-0.7) + e(0.2)),
        e(1.1) / (e(1.1) + e(-2.0)),
    ]
    found = parts.rsoftmax(logits, radix=2, cardinality=2)
    np.testing.assert_allclose(found[0, 0], split_0, rtol=1e-6)
    np.testing.assert_allclose(found[0, 1], 1 - np.array(split_0), rtol=1e-6)


@pytest.mark.parametrize("radix, cardinality", [(1, 1), (1, 4), (2, 1), (2, 2), (4, 2)])
def test_the_rsoftmax_is_timms_and_its_inverse_gives_the_gates_back(radix, cardinality):
    from peers import timm

    logits = 3 * torch.randn(5, radix * cardinality * 6, generator=torch.Generator().manual_seed(1))
    found = parts.rsoftmax(logits, radix, cardinality)
    theirs = timm.layers.split_attn.RadixSoftmax(radix, cardinality)(logits[..., None, None]).view(5, radix, -1)
    torch.testing.assert_close(found, theirs)
    torch.testing.assert_close(
        parts.rsoftmax(parts.inverse_rsoftmax(found, radix, cardinality), radix, cardinality), found
    )


def test_negated_gates_turn_the_difference_of_two_splits_round():
    gates = parts.rsoftmax(torch.randn(3, 12), 2, 2)
    torch.testing.assert_close(parts.shown_gates(parts.negated(gates)), -parts.shown_gates(gates))
    one = torch.rand(3, 1, 4)
    torch.testing.assert_close(parts.negated(one), 1 - one)


def test_a_split_reads_the_input_channels_that_it_is_said_to_read(full):
    for name, (radix, _) in FULL.items():
        layer = parts.layer_called(full(name).net, "stages.0.0")
        conv, channel = layer.module.conv, layer.channels - 3
        x = torch.randn(1, conv.in_channels, 3, 3)
        for split, (first, last) in enumerate(layer.reads(channel)):
            inside = torch.zeros_like(x)
            inside[:, first : last + 1] = x[:, first : last + 1]
            at = split * layer.channels + channel
            torch.testing.assert_close(conv(inside)[:, at], conv(x)[:, at])
            assert conv(inside)[:, at].abs().max() > 0
            assert conv(x - inside)[:, at].abs().max() == 0
        assert len(layer.reads(channel)) == radix
    assert parts.layer_called(full("resnest50d").net, "stages.3.1").reads(0) == [(0, 255), (256, 511)]


# What holds on every net -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FULL)
def test_gates_and_splits_of_the_full_size_nets_rebuild_what_they_compute(full, name):
    probe = full(name)
    view = Gates(probe)
    assert view.check().count("·") == (3 if FULL[name][0] > 1 else 2)
    assert tuple(view.data["radix"][[0, -1]]) + tuple(view.data["cardinality"][:1]) == (
        *[FULL[name][0]] * 2,
        FULL[name][1],
    )
    for block in ("stages.0.0", "stages.3.0"):
        assert SplitBrowser(probe, block).check()
    assert GatePaths(probe, "stages.1.0", projections=1).check()
    assert hooks_in(probe.net) == 0


def test_the_toy_net_and_a_readers_own_layers_pass_their_checks(gates, toy_probe, readers):
    for probe in (toy_probe, readers):
        view = gates if probe is toy_probe else Gates(probe)
        assert view.check()
        for layer in view.layers:
            assert SplitBrowser(probe, layer.name).check()
            assert GatePaths(probe, layer.name, projections=1).check()
        assert assembling.dumps(view.message())


def test_a_net_without_gates_says_which_nets_have_them():
    net = nw.create_model("toy_resnet")
    probe = nw.probe(net, torch.zeros(1, 3, 64, 64))
    for make in (Gates, SplitBrowser, GatePaths):
        with pytest.raises(NotInThisNet, match="toy_resnest, resnest50d.*conv, norm"):
            make(probe)


def test_looking_and_forcing_leave_the_net_as_it_was(toy):
    toy.train()
    toy.stages[0].eval()
    before = {name: tensor.clone() for name, tensor in toy.state_dict().items()}
    modes = [module.training for module in toy.modules()]
    probe = nw.probe(toy, nw.ToyWorld("test")[5]["image"])
    view = Gates(probe)
    view.message(), view.answer({"gates": "negated", "layers": [1], "share": 0.5})
    GatePaths(probe, "stages.1.0").look((1, 1))
    SplitBrowser(probe).payload()
    assert hooks_in(toy) == 0
    assert modes == [module.training for module in toy.modules()]
    assert all(torch.equal(tensor, before[name]) for name, tensor in toy.state_dict().items())
    assert all(parameter.grad is None for parameter in toy.parameters())
    toy.eval()


# Checks that must be able to fail ----------------------------------------------------------------------------------


def untransposed(logits, radix, cardinality):
    return logits.unflatten(1, (cardinality, radix, -1)).softmax(2).flatten(1).unflatten(1, (radix, -1))


def test_an_untransposed_rsoftmax_fails_the_check_where_there_are_two_cardinal_groups(
    monkeypatch, readers, toy_probe, full
):
    monkeypatch.setattr(parts, "rsoftmax", untransposed)
    for probe in (readers, full("resnest50d_4s2x40d")):
        with pytest.raises(CheckFailed, match="rebuild every layer's output"):
            Gates(probe).check()
    with pytest.raises(CheckFailed, match="rebuild the layer's output"):
        SplitBrowser(readers, "first").check()
    assert Gates(toy_probe).check()  # with one cardinal group nothing shows: both orders are one


def test_gates_centred_wrongly_fail_the_check(monkeypatch, toy_probe, full):
    probe = full("resnest50d_4s2x40d")
    monkeypatch.setattr(parts, "even", lambda radix: 0.3)
    with pytest.raises(CheckFailed, match="fixed average"):
        Gates(toy_probe).check()
    with pytest.raises(CheckFailed, match="sum to 1"):
        Gates(probe).check()
    with pytest.raises(CheckFailed, match="fixed average"):
        SplitBrowser(toy_probe).check()


def test_a_difference_that_is_not_halved_fails_the_check(monkeypatch, toy_probe):
    right = parts.fixed_and_added
    monkeypatch.setattr(
        parts, "fixed_and_added", lambda splits, gates: (right(splits, gates)[0], 2 * right(splits, gates)[1])
    )
    with pytest.raises(CheckFailed, match="fixed average"):
        Gates(toy_probe).check()


def test_forcing_gates_in_the_wrong_order_fails_the_check(monkeypatch, readers):
    monkeypatch.setattr(parts, "inverse_rsoftmax", lambda gates, radix, cardinality: gates.log().flatten(1))
    with pytest.raises(CheckFailed, match="own gates, forced"):
        Gates(readers).check()


def test_energy_outside_of_the_box_fails_the_check(toy_probe, monkeypatch):
    view = GatePaths(toy_probe, "stages.0.0", (3, 3))
    found = view.look((3, 3))
    kept = found["energies"][1].copy()
    found["energies"][1] = found["energies"][0]  # as if the gates had not been held
    with pytest.raises(CheckFailed, match="no gradient leaves the box"):
        view.check()
    found["energies"][1] = kept
    assert view.check()
    right = local_box
    monkeypatch.setattr(gate_paths, "local_box", lambda *given: (right(*given)[0] + 5, *right(*given)[1:]))
    with pytest.raises(CheckFailed, match="no gradient leaves the box"):
        GatePaths(toy_probe, "stages.0.0", (3, 3)).check()


# Numbers, another way ----------------------------------------------------------------------------------------------


def test_rho_is_what_a_loop_over_channels_finds(gates, toy_probe):
    for i, layer in enumerate(gates.layers):
        maps = toy_probe[f"{layer.place}.norm"].relu()[0].double().numpy()
        a = gates.data["gates"][i].astype(np.float64)
        half = len(maps) // 2
        added = out = 0.0
        for channel in range(half):
            first, second = maps[channel], maps[half + channel]
            d = (a[0, channel] - a[1, channel]) / 2
            added += np.square(d * (first - second)).sum()
            out += np.square(a[0, channel] * first + a[1, channel] * second).sum()
        assert gates.data["rho"][i] == pytest.approx(np.sqrt(added / out), rel=1e-5)
    assert gates.data["set_rho"].shape == (200, 7)


def test_rho_over_a_set_is_that_of_each_picture(toy, gates):
    alone = Gates(nw.probe(toy, gates.set.inputs[17:18]), gates.set.inputs[:3])
    np.testing.assert_allclose(alone.data["rho"], gates.data["set_rho"][17], rtol=1e-4)


@pytest.mark.parametrize("name", ["toy_resnest", *FULL])
def test_forced_gates_give_the_logits_of_a_layer_whose_own_method_is_exchanged(gates, full, name):
    view = gates if name.startswith("toy") else Gates(full(name))
    layers = [m for m in view.probe.net.modules() if isinstance(m, SplitAttention)]
    assert len(layers) == len(view.layers)
    one = view.set.donors[-1]
    want = {"even": [torch.full_like(g, 0.5 if len(g[0]) == 1 else 1 / len(g[0])) for g in view._gates]}
    want["mean"] = [gates.mean(0, keepdim=True) for gates in view._set.gates]
    want["negated"] = [1 - g for g in view._gates] if layers[0].radix < 3 else None
    want[f"from {one}"] = [gates[one : one + 1] for gates in view._set.gates]
    for change, targets in want.items():
        if targets is None:
            continue
        turn = iter(targets)
        expected = other_way.force_gates(view.probe.net, view.probe.input, lambda gates, turn=turn: next(turn))[0]
        found = view.data["forced_logits"][view.data["changes"].index(change)]
        np.testing.assert_allclose(found, expected, atol=2e-4 * float(expected.abs().max()))
        assert np.abs(found - view.data["logits"]).max() > 1e-4
        asked = view.answer({"gates": change, "layers": list(range(len(layers)))})["effect"]
        assert asked["logit"] == pytest.approx(float(expected[view.probe.target()]), rel=1e-3)


def test_own_gates_forced_change_no_logit_whole_or_on_the_way(gates):
    torch.testing.assert_close(gates.force([0, 3], "even", share=0.0), gates.probe.logits, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="choose one of even, mean, negated, from"):
        gates.force([0], "upside down")
    with pytest.raises(ValueError, match="no answer"):
        gates.answer({"colour": "red"})


def test_forcing_one_layer_leaves_the_others_their_gates(gates):
    asked = []

    def change(own):
        asked.append(own)
        return torch.full_like(own, 0.5) if len(asked) == 3 else own

    expected = other_way.force_gates(gates.probe.net, gates.probe.input, change)[0]
    torch.testing.assert_close(gates.force([2], "even"), expected, atol=1e-4, rtol=1e-4)
    effect = gates.effects()["stages.1.0"][0]
    own = gates.probe.target()
    assert effect["change"] == pytest.approx(float(expected[own] - gates.probe.logits[own]), abs=1e-3)
    assert effect["kept"] == len(set(expected.topk(5).indices.tolist()) & set(gates.probe.top(5)))
    assert effect["flips"] == (int(expected.argmax()) != own)


def test_flips_are_counted_over_the_whole_set(gates):
    net, x = gates.probe.net, gates.set.inputs
    with torch.no_grad():
        first = net(x).argmax(1)
    for change, force in (("even", other_way.even), ("mean", other_way.batch_mean)):
        expected = (other_way.force_gates(net, x, force).argmax(1) != first).float().mean().item()
        assert gates.flips[change] == pytest.approx(expected, abs=0.006)
    assert gates.flips["negated"] > gates.flips["mean"] > 0


def test_what_gates_know_of_classes_is_their_share_of_variance_and_shuffled_labels_know_chance(gates):
    data, labels = gates.data, torch.from_numpy(gates.set.labels)
    for i, own in enumerate(gates._set.gates):
        assert data["eta2_layers"][i] == pytest.approx(explained(own.cpu(), labels), rel=1e-3)
    values, label = np.array([[1.0, 5], [3, 5], [10, 5], [12, 5]]), np.array([0, 0, 1, 1])
    found = gates_know.eta_squared(values, label)  # by hand: means 2 and 11 around 6.5, so 4 * 4.5 ** 2 of that + 4 * 1
    assert found[0] == pytest.approx(81 / 85) and np.isnan(found[1])
    chance = 19 / 199
    assert np.abs(data["eta2_shuffled"] - chance).max() < 0.02
    assert data["eta2_layers"].min() > 2 * chance
    assert data["agree"] > 0.5 and data["agree_shuffled"] < 0.1
    star = torch.stack([own[labels == 8].mean(0)[0] - 0.5 for own in gates._set.gates[:1]])
    np.testing.assert_allclose(data["class_strips"]["star"][0], star, atol=1e-6)


def test_neighbours_in_gate_space_are_the_nearest_by_a_loop_and_not_the_picture_itself(toy, gates):
    view = Gates(nw.probe(toy, gates.set.inputs[40:41]), gates.set)
    far = []
    for other in range(200):
        squares = [(gates.data["set_gates"][i][40, 0] - gates.data["set_gates"][i][other, 0]) ** 2 for i in range(7)]
        far.append(np.sqrt(np.concatenate(squares).mean()))
    assert view.data["neighbours"].tolist() == np.argsort(far)[1:6].tolist()
    np.testing.assert_allclose(view.data["distances"], np.sort(far)[1:6], rtol=1e-3)


def test_a_set_of_ones_own_replaces_the_toy_pictures(toy_probe):
    pictures = nw.ToyWorld("test").batch(range(6))
    view = Gates(toy_probe, list(pictures["image"]), pictures["label"].tolist())
    assert view.data["set_gates"][0].shape == (6, 2, 16) and view.changes[3][1].startswith("those of: picture 0")
    assert "eta2" not in Gates(toy_probe, pictures["image"].float() / 255).data
    with pytest.raises(ValueError, match="6 pictures and 2 labels"):
        Gates(toy_probe, list(pictures["image"]), [1, 2])


# The strip, the splits -----------------------------------------------------------------------------------------------


def test_the_strip_shows_d_at_radix_two_and_the_gates_themselves_otherwise(gates, full):
    for strip, own in zip(gates.data["strip"], gates.data["gates"], strict=True):
        np.testing.assert_allclose(strip[0], own[0] - 0.5, atol=1e-6)
        assert strip.shape == (1, own.shape[1]) and np.abs(strip).max() <= 0.5
    one, four = (Gates(full(name)).data["strip"] for name in ("resnest50d_1s4x24d", "resnest50d_4s2x40d"))
    assert one[0].shape == (1, 96) and 0 <= one[0].min() < one[0].max() <= 1
    assert four[0].shape == (4, 80) and np.abs(four[0].sum(0) - 1).max() < 1e-6


def test_the_split_browser_orders_channels_by_what_attention_adds(toy_probe):
    data = SplitBrowser(toy_probe, "stages.2.0").data
    u, a = data["splits"].astype(np.float64), data["gates"].astype(np.float64)
    d = (a[:, 0] - a[:, 1]) / 2
    added = d[:, None, None] * (u[:, 0] - u[:, 1])
    np.testing.assert_allclose(data["added"], added, atol=1e-5)
    np.testing.assert_allclose(data["adds"], np.sqrt(np.square(added).mean((1, 2))), atol=1e-5)
    assert (np.diff(data["adds"]) <= 1e-7).all() and sorted(data["channels"]) == list(range(64))
    np.testing.assert_allclose(data["out"], toy_probe["stages.2.0.middle.attention"][0][data["channels"]], atol=1e-6)
    asked = SplitBrowser(toy_probe, "stages.2.0").answer({"block": "stages.1.0"})["layer"]
    assert asked["block"] == "stages.1.0" and asked["all"] == 32
    with pytest.raises(ValueError, match=r"they are in stages\.0\.0"):
        SplitBrowser(toy_probe, "stem")


# Paths -------------------------------------------------------------------------------------------------------------


def test_the_energies_are_those_of_single_gradients_with_gates_kept_and_held(toy, toy_probe):
    view = GatePaths(toy_probe, "stages.1.0", (2, 5), projections=3)
    own = []
    other_way.force_gates(toy, toy_probe.input, lambda gates: own.append(gates) or gates)
    gradients = {}
    for held in (False, True):
        layers = [m for m in toy.modules() if isinstance(m, SplitAttention)]
        for layer, gates in zip(layers, own, strict=True):
            if held:
                layer.gates = lambda pooled, gates=gates: gates
        try:
            x = toy_probe.input.clone().requires_grad_()
            maps = toy.stages[1][0](toy.stages[0](toy.stem(x)))
            gradients[held] = [
                torch.autograd.grad((maps[0, :, 2, 5] * v).sum(), x, retain_graph=True)[0][0] for v in view._v
            ]
        finally:
            for layer in layers:
                vars(layer).pop("gates", None)
    whole, local = (torch.stack(gradients[held]) for held in (False, True))
    for found, expected in zip(view.data["energies"], (whole, local, whole - local), strict=True):
        expected = expected.square().sum(1).mean(0)
        np.testing.assert_allclose(found, expected, atol=1e-4 * float(expected.max()))
    assert view.data["reached"][0] > 0.99 > view.data["box_share"] >= view.data["reached"][1]
    assert view.data["outside"][1] == 0 < view.data["outside"][0] < view.data["outside"][2]


@pytest.mark.parametrize("name", ["toy_resnest", "resnest50d_4s2x40d"])
def test_the_box_is_exactly_what_positive_weights_reach(name):
    net = nw.create_model(name)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.uniform_(module.weight, 0.5, 1)
            module.weight.data /= module.weight[0].numel()
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        if isinstance(module, nn.MaxPool2d):  # of which a gradient takes one pixel, as it is
            module.__class__ = nn.AvgPool2d
            module.divisor_override, module.ceil_mode, module.count_include_pad = None, False, True
    net.double()
    probe = nw.probe(net, torch.rand(1, 3, 96, 64, dtype=torch.float64) + 0.5)
    for block in ("stages.0.0", "stages.1.0", "stages.1.1", "stages.2.0"):
        view = GatePaths(probe, block, projections=1)
        for at in {(0, 0), view.at, (view.map[0] - 1, view.map[1] - 1)}:
            found = view.look(at)
            rows, columns = (np.flatnonzero(found["energies"][1].any(axis)) for axis in (1, 0))
            assert found["box"] == (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1), (block, at)


def test_places_outside_and_blocks_that_are_not_there_are_named(toy_probe):
    with pytest.raises(ValueError, match="rows 0 to 15, columns 0 to 15"):
        GatePaths(toy_probe, "stages.0.0", (16, 0))
    with pytest.raises(ValueError, match=r"no block 'stages.9'.*stages\.0\.0"):
        GatePaths(toy_probe, "stages.9")
    with pytest.raises(NotInThisNet, match=r"No gate comes before stem: choose a block from stages\.0\.0 on"):
        GatePaths(toy_probe, "stem")
    view = GatePaths(toy_probe, "stages.0.0")
    assert view.answer({"at": [0, 3]})["place"]["box"] == list(view.look((0, 3))["box"])
    with pytest.raises(ValueError, match="no answer"):
        view.answer({"block": 1})


# What a page and a reader get --------------------------------------------------------------------------------------


def test_the_description_says_the_numbers(gates, toy_probe):
    rho, data = gates.data["rho"], gates.data
    assert f"{rho.max():.0%} (in {data['layers'][rho.argmax()]})" in gates.alt
    change = data["forced_logits"][0][gates.probe.target()] - data["logits"].max()
    assert f"one half {change:+.2f}".replace("-", "\u2212") in gates.alt
    assert f"{data['eta2_layers'].max():.0%} lies between classes" in gates.alt
    splits, paths = SplitBrowser(toy_probe), GatePaths(toy_probe, "stages.1.0")
    assert f"channel {splits.data['channels'][0]}, {splits.data['adds'][0]:.3g}" in splits.alt
    assert (
        f"{100 * paths.data['box_share']:.1f}% of it" in paths.alt
        and f"{100 * paths.data['outside'][2]:.1f} %" in paths.alt
    )
    for view in (gates, splits, paths):
        assert view.figure().alt == view.alt


def test_the_random_twin_has_other_gates_splits_and_paths_and_passes_its_checks(gates, toy_probe):
    for view in (gates, SplitBrowser(toy_probe), GatePaths(toy_probe, "stages.1.0")):
        assert view.twin.check()
        assert view.twin.alt != view.alt
    assert np.abs(gates.twin.data["strip"][3] - gates.data["strip"][3]).max() > 0.01
    assert gates.twin.set is gates.set
    shares = [max(effect["relative"] for effect in it.effects()["all layers"]) for it in (gates, gates.twin)]
    assert all(share < 3 for share in shares), "the twin's normalisations were not measured on the set"


def test_an_exported_page_takes_along_what_a_kernel_would_be_asked_for(full, gates):
    message = gates.message(twin=True)["data"]
    assert set(message["effects"]) == set(message["twin_effects"]) == {"all layers", *gates.data["layers"]}
    large = Gates(full("resnest50d"))
    large.__class__ = type("Large", (Gates,), {"small": False})
    assert list(large.message(live=True)["data"]["effects"]) == ["all layers"]
    assert large.message(live=True)["data"]["twin_effects"] is None
    page = large.message(twin=True)["data"]
    assert list(page["effects"]) == ["all layers", "stages.0", "stages.1", "stages.2", "stages.3"]
    assert list(page["twin_effects"]) == list(page["effects"])
    assert len(assembling.dumps(large.message())) < 500_000
    assert large.answer({"gates": "twin"})["effects"]["all layers"]


def test_pictures_of_another_size_are_compared_with_views_of_themselves():
    probe = nw.probe(nw.create_model("toy_resnest", pretrained=True), torch.randn(1, 3, 64, 96))
    view = Gates(probe)
    assert view.set.inputs.shape[2:] == (64, 96) and view.check()
    assert view.twin.check()


def test_behind_a_group_normalisation_the_local_path_reaches_the_whole_picture():
    config = dataclasses.replace(CONFIGS["toy_resnest"], norm="group")
    view = GatePaths(nw.probe(nw.create_model(config), torch.randn(1, 3, 64, 64)))
    assert view.check() and view.data["box"] == (0, 0, 64, 64)
