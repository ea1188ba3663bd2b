"""The ledger and the structure of groups: what is drawn is what the nets compute, proven by other ways."""

import copy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import netwright as nw
from netwright.nets import resnest
from netwright.nets.config import Block, EfficientChannelAttention, NetConfig, Split, SqueezeExcite, Stage, Stem
from netwright.probing.capture import ProbeError, hooks_in, probe
from netwright.probing.golden import golden_state
from netwright.views.ledger import groups as groups_room
from netwright.views.ledger import parts as ledger_parts
from netwright.views.ledger import summing as ledger_sum
from netwright.views.ledger import terms as ledger_terms
from netwright.views.ledger.groups import (
    GroupStructure,
    against_random_cuts,
    along_leading_direction,
    likeness,
    participation,
)
from netwright.views.ledger.ledger import Ledger, mean_sources
from netwright.views.view import CheckFailed, NotInThisNet

TOYS = ("toy_resnet", "toy_resnext", "toy_resnest", "toy_halonet")
EXACT = {  # name -> side of the picture; blocks of halo attention need whole maps
    "resnet50": 64, "resnext50_32x4d": 64, "resnest50d": 64, "resnest50d_1s4x24d": 64, "resnest50d_4s2x40d": 64,
    "halonet50ts": 256, "eca_halonext26ts": 256,
}  # fmt: skip


@cache
def net_of(name: str) -> nn.Module:
    if name in TOYS:
        return nw.create_model(name, pretrained=True).eval()
    net = nw.create_model(name)
    net.load_state_dict(golden_state(name))
    return net.eval()


@cache
def probe_of(name: str):
    if name in TOYS:
        return probe(net_of(name), nw.ToyWorld("test")[16]["image"])
    torch.manual_seed(0)
    return probe(net_of(name), torch.randn(1, 3, EXACT.get(name, 256), EXACT.get(name, 256)))


@cache
def ledger_of(name: str, block: str | None = None) -> Ledger:
    return Ledger(probe_of(name), block)


def own_net(act: str = "silu", norm: str = "group", middle: Block | None = None) -> nn.Module:
    """A net as a reader composes one: seven classes, two stages, lively statistics."""
    torch.manual_seed(3)
    middle = middle or Block(cardinality=4, channel_attention=EfficientChannelAttention())
    config = NetConfig(
        Stem((8,), kernel_size=3),
        (Stage((Block(),), 16, 32, 1), Stage((middle, middle), 32, 48)),
        activation=act, norm=norm, shortcut="pool", input_size=64,
    )  # fmt: skip
    net = nw.create_model(config, num_classes=7).eval()
    for name, parameter in net.named_parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5) if name.endswith("weight") else nn.init.uniform_(parameter, -0.3, 0.3)
    return net


# The sum --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*TOYS, *EXACT])
def test_in_the_last_block_every_way_of_cutting_sums_to_the_logits(name):
    ledger = ledger_of(name)
    assert "terms sum to the logit" in ledger.check() and ledger.badge["state"] == "holds"
    data = ledger.data
    for way in data["ways"]:
        total = way["terms"].sum(1) + data["extras"].sum(1)
        np.testing.assert_allclose(total, data["logits"], atol=1e-4 * np.abs(data["logits"]).max(), err_msg=way["name"])
        np.testing.assert_allclose(way["maps"].sum((2, 3)), way["terms"][: len(way["maps"])], atol=1e-4)
    np.testing.assert_allclose(data["logits"], probe_of(name).logits[data["classes"]].numpy())
    assert data["classes"][0] == probe_of(name).top(1)[0] and len(data["classes"]) == 10


@pytest.mark.parametrize(
    "net",
    [
        own_net(),
        own_net("relu", "batch", Block(cardinality=2, channel_attention=Split(radix=2))),
        own_net("silu", "batch", Block(cardinality=2, channel_attention=SqueezeExcite())),
        nw.create_model(
            NetConfig(Stem((8,)), (Stage((Block("basic"), Block("basic")), 16, 16),)), num_classes=5
        ).eval(),
    ],
    ids=["groups, GroupNorm, SiLU, ECA", "two cardinal groups of two splits", "squeeze-excite", "basic blocks"],
)
def test_a_net_that_a_reader_composed_has_a_ledger(net):
    torch.manual_seed(0)
    ledger = Ledger(probe(net, torch.randn(1, 3, 64, 64)))
    assert "terms sum to the logit" in ledger.check()


@torch.no_grad()
def test_terms_equal_a_naive_loop_over_positions_and_output_channels():
    ledger, p, net = ledger_of("toy_resnext"), probe_of("toy_resnext"), net_of("toy_resnext")
    block, target = net.stages[-1][0], ledger.target
    norm = block.expand.norm
    h, z = p["stages.3.0.gate"][0].double(), p["stages.3.0.expand"][0] + p["stages.3.0.shortcut"][0]
    found = np.zeros(8)
    for k in range(z.shape[0]):
        scale = float(norm.weight[k] / (norm.running_var[k] + norm.eps).sqrt())
        for y in range(z.shape[1]):
            for x in range(z.shape[2]):
                if z[k, y, x] > 0:
                    share = float(net.classifier.weight[target, k]) * scale / (z.shape[1] * z.shape[2])
                    products = block.expand.conv.weight[k, :, 0, 0].double() * h[:, y, x]
                    found += share * products.reshape(8, -1).sum(1).numpy()
    np.testing.assert_allclose(ledger.data["ways"][0]["terms"][0], found, atol=1e-5)


@pytest.mark.parametrize("name", ["toy_resnext", "resnext50_32x4d"])
def test_a_term_is_the_logit_recomputed_by_the_nets_own_modules_with_one_groups_channels_only(name):
    ledger, p, net = ledger_of(name), probe_of(name), net_of(name)
    block = net.get_submodule(ledger.block)
    h = p[f"{ledger.block}.gate"]
    mask = (p[f"{ledger.block}.expand"] + p[f"{ledger.block}.shortcut"]) > 0
    count = len(ledger.ways[0].labels)
    with torch.no_grad():
        alone = torch.zeros(count + 1, *h.shape[1:])  # the last one stays empty: the shift
        for g, channels in enumerate(torch.arange(h.shape[1]).chunk(count)):
            alone[g, channels] = h[0, channels]
        branch = block.expand(alone) * mask
        logits = net.classifier(branch.mean((2, 3)))
    terms = (logits[:-1] - logits[-1])[:, ledger.classes].T
    np.testing.assert_allclose(ledger.data["ways"][0]["terms"], terms, atol=2e-5)


@pytest.mark.parametrize(
    "name, block",
    [
        ("toy_resnext", None),
        ("toy_resnet", None),
        ("toy_resnest", None),
        ("toy_resnext", "stages.1.0"),
        ("toy_halonet", "stages.2.1"),
    ],
)
def test_with_relu_a_term_is_gradient_times_activation_by_autograd(name, block):
    ledger, p = ledger_of(name, block), probe_of(name)
    place = f"{ledger.block}.gate"
    for i, number in enumerate(ledger.classes[:3]):
        product = p.gradient(place, number)[0] * p[place][0]  # (channels, height, width)
        channels = product.sum((1, 2))
        if name == "toy_resnest":
            found = ledger.data["ways"][1]["terms"][i].sum()
            assert found == pytest.approx(float(channels.sum()), abs=1e-4)
        else:
            terms = channels.unflatten(0, (8, -1)).sum(1)
            np.testing.assert_allclose(ledger.data["ways"][0]["terms"][i], terms, atol=1e-4)
            maps = product.unflatten(0, (8, -1)).sum(1)
            np.testing.assert_allclose(ledger.data["ways"][0]["maps"][i], maps, atol=1e-4)


def test_of_silu_the_secant_is_frozen_exact_at_this_input():
    z = torch.tensor([-3.0, -1e-8, 0.0, 1e-8, 0.5, 20.0])
    torch.testing.assert_close(ledger_terms.secant(nn.SiLU(), z), z.sigmoid(), atol=1e-4, rtol=0)
    assert ledger_terms.secant(nn.ReLU(inplace=True), z).tolist()[0::4] == [0.0, 1.0]
    kept = z.clone()
    ledger_terms.secant(nn.SiLU(inplace=True), z)
    assert torch.equal(z, kept)


@pytest.mark.parametrize("name", ["toy_resnest", "resnest50d", "resnest50d_4s2x40d"])
def test_a_split_is_its_fixed_average_and_what_its_gates_change(name):
    ledger, p, net = ledger_of(name), probe_of(name), net_of(name)
    attention = net.get_submodule(f"{ledger.block}.middle.attention")
    gates = resnest.radix_softmax(
        p[f"{ledger.block}.middle.attention.fc2"].flatten(1), attention.radix, attention.cardinality
    )
    maps = p[f"{ledger.block}.middle.attention.norm"].relu().unflatten(1, (attention.radix, -1))
    pool = net.get_submodule(f"{ledger.block}.middle").pool_after
    product = pool(maps[0] * gates[0][..., None, None])  # (radix, channels, height, width)
    slope = p.gradient(f"{ledger.block}.gate", ledger.target)[0]
    by_split = (product * slope).sum((2, 3)).unflatten(1, (attention.cardinality, -1)).sum(2)  # (radix, groups)
    ways = {way["name"]: way["terms"][0] for way in ledger.data["ways"]}
    np.testing.assert_allclose(ways["gated splits"], by_split.flatten(), atol=1e-4)
    if attention.cardinality > 1:
        np.testing.assert_allclose(ways["splits only"], by_split.sum(1), atol=1e-4)
        np.testing.assert_allclose(ways["cardinal groups"], by_split.sum(0), atol=1e-4)
    groups = attention.cardinality
    finest = ways["fixed and attention"].reshape(attention.radix, 2, groups)
    average = (pool(maps[0]) / attention.radix * slope).sum((2, 3)).unflatten(1, (groups, -1)).sum(2)
    np.testing.assert_allclose(finest[:, 0], average, atol=1e-4)
    np.testing.assert_allclose(finest.sum(1), by_split, atol=1e-4)


def test_radix_1_has_a_term_for_each_of_its_strongest_gates():
    ledger = ledger_of("resnest50d_1s4x24d")
    single, groups = ledger.data["ways"]
    assert single["labels"][16:] == [f"rest of group {k}" for k in range(4)] and len(single["labels"]) == 20
    numbers = [int(label.removeprefix("gate ")) for label in single["labels"][:16]]
    channels = ledger.data["channels"][0]
    assert set(numbers) == set(np.argsort(-np.abs(channels))[:16].tolist())
    np.testing.assert_allclose(single["terms"][0][:16], channels[numbers], atol=1e-5)
    np.testing.assert_allclose(channels.reshape(4, -1).sum(1), groups["terms"][0], atol=1e-4)
    of_group = channels.shape[0] // 4
    assert single["terms"][0][16] == pytest.approx(
        channels[:of_group].sum() - sum(channels[n] for n in numbers if n < of_group), abs=1e-4
    )


@pytest.mark.parametrize(
    "name, place", [("toy_halonet", "stages.1.0"), ("toy_halonet", "stages.2.0"), ("eca_halonext26ts", "stages.3.1")]
)
def test_block_and_halo_are_what_a_loop_over_queries_and_keys_finds(name, place):
    p = probe_of(name)
    layer = net_of(name).get_submodule(f"{place}.middle.attention")
    q, kv = (p[f"{place}.middle.attention.{it}"][0].double().numpy() for it in ("query", "key_value"))
    rows, columns = (table.detach().double().numpy() for table in (layer.height_table, layer.width_table))
    size, halo, key_dim, value_dim = layer.block_size, layer.halo, layer.key_dim, layer.value_dim
    window, height, width = size + 2 * halo, *kv.shape[1:]
    step = height // q.shape[1]
    found = ledger_parts.halo_parts(*(p[f"{place}.middle.attention.{it}"] for it in ("query", "key_value")), layer)
    for head, y, x in [(0, 0, 0), (layer.heads - 1, 1, 2), (1, q.shape[1] - 1, 1)]:
        query = q[head * key_dim : (head + 1) * key_dim, y, x]
        own = kv[head * (key_dim + value_dim) : (head + 1) * (key_dim + value_dim)]
        side = size // step
        top, left = y // side * size - halo, x // side * size - halo
        logits, values, inside = [], [], []
        for u in range(window):
            for v in range(window):
                at = (
                    own[:, top + u, left + v] if 0 <= top + u < height and 0 <= left + v < width else np.zeros(len(own))
                )
                position = query @ (rows[u - y % side + window - 1] + columns[v - x % side + window - 1])
                logits.append(query @ at[:key_dim] / key_dim**0.5 + position)
                values.append(at[key_dim:])
                inside.append(halo <= u < halo + size and halo <= v < halo + size)
        weights = np.exp(np.array(logits) - max(logits))
        shares = (weights / weights.sum())[:, None] * np.array(values)
        channels = slice(head * value_dim, (head + 1) * value_dim)
        np.testing.assert_allclose(found[0, channels, y, x], shares[np.array(inside)].sum(0), atol=1e-4)
        np.testing.assert_allclose(found[1, channels, y, x], shares[~np.array(inside)].sum(0), atol=1e-4)


def test_where_attention_is_last_heads_and_halos_sum_to_the_logit_with_norm_and_activation_frozen():
    ledger = ledger_of("eca_halonext26ts")
    first, heads = ledger.data["ways"]
    assert first["labels"][:2] == ["head 0, block", "head 0, halo"] and len(first["labels"]) == 16
    np.testing.assert_allclose(first["terms"].reshape(-1, 8, 2).sum(2), heads["terms"], atol=1e-4)
    assert "frozen" in first["note"] and "shift in the middle" in ledger.data["extra_labels"]


# First order ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, block", [("toy_resnest", "stages.0.1"), ("toy_halonet", "stages.1.0"), ("sehalonet33ts", None)]
)
def test_elsewhere_the_ledger_says_that_it_is_first_order_and_by_how_much_it_misses(name, block):
    ledger = ledger_of(name, block)
    assert ledger.check().startswith("first-order only") and ledger.badge["state"] == "approximate"
    data = ledger.data
    gap = data["extras"][0][data["extra_labels"].index("later layers")]
    assert f"gap {gap:+.2f}".replace("-", "\u2212") in ledger.badge["text"]
    slope, p = probe_of(name).gradient(f"{ledger.block}.expand", ledger.target)[0], probe_of(name)
    linear = (slope * (p[f"{ledger.block}.expand"] + p[f"{ledger.block}.shortcut"])[0]).sum() + net_of(
        name
    ).classifier.bias[ledger.target]
    assert float(data["logits"][0]) - linear.item() == pytest.approx(gap, abs=1e-3)
    assert "to first order" in ledger.title and "to first order" in ledger.alt


# Knock-outs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("baseline", ["mean", "zero"])
@pytest.mark.parametrize("block", [None, "stages.1.1"])
def test_a_knock_out_is_the_net_run_anew_with_the_groups_channels_replaced(baseline, block):
    ledger, p, net = ledger_of("toy_resnext", block), probe_of("toy_resnext"), net_of("toy_resnext")
    gate = net.get_submodule(f"{ledger.block}.gate")
    for g in (0, 5):

        def replaced(_, given, out, g=g):
            out = out.clone()
            channels = torch.arange(out.shape[1]).chunk(8)[g]
            out[:, channels] = out[:, channels].mean((2, 3), keepdim=True) if baseline == "mean" else 0
            return out

        handle = gate.register_forward_hook(replaced)
        with torch.no_grad():
            logits = net(p.input)[0]
        handle.remove()
        change = (logits - p.logits)[ledger.classes]
        np.testing.assert_allclose(ledger.data["ways"][0]["rerun"][baseline][:, g], change, atol=1e-4)
        assert ledger.data["ways"][0]["top"][baseline][g] == p.class_names[int(logits.argmax())]


def test_knocking_a_head_out_of_the_halo_goes_through_the_true_norm_and_activation():
    ledger, p, net = ledger_of("toy_halonet", "stages.1.0"), probe_of("toy_halonet"), net_of("toy_halonet")
    ways = {way.name: i for i, way in enumerate(ledger.ways)}
    found = ledger.knocked("heads", "zero")[2]

    def without(_, given, out):
        out = out.clone()
        out[:, torch.arange(out.shape[1]).chunk(4)[2]] = 0
        return out

    handle = net.get_submodule("stages.1.0.middle.attention").register_forward_hook(without)
    with torch.no_grad():
        expected = net(p.input)[0]
    handle.remove()
    assert ways["heads"] == 1
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_in_the_last_block_the_prediction_for_zero_is_the_term_itself_and_for_the_mean_what_stays_of_it():
    ledger, p = ledger_of("resnext50_32x4d"), probe_of("resnext50_32x4d")
    way = ledger.data["ways"][0]
    np.testing.assert_allclose(way["predicted"]["zero"], -way["terms"], atol=1e-5)
    slope, h = p.gradient(f"{ledger.block}.gate", ledger.target)[0], p[f"{ledger.block}.gate"][0]
    change = (slope * (h.mean((1, 2), keepdim=True) - h)).sum((1, 2)).unflatten(0, (32, -1)).sum(1)
    np.testing.assert_allclose(way["predicted"]["mean"][0], change, atol=1e-4)
    gap, alike = ledger.agreement
    assert gap == pytest.approx(np.abs(way["predicted"]["mean"][0] - way["rerun"]["mean"][0]).mean(), rel=1e-3)
    assert 0.5 < alike <= 1


def test_without_anything_taken_out_the_net_run_again_answers_the_same():
    ledger = ledger_of("toy_resnest")
    nothing = replace(ledger.ways[0], takes=torch.zeros_like(ledger.ways[0].takes))
    ledger = Ledger(probe_of("toy_resnest"))
    ledger.ways = (nothing,)
    torch.testing.assert_close(
        ledger.knocked(0, "zero"), probe_of("toy_resnest").logits.expand(4, -1), atol=1e-4, rtol=0
    )


def test_an_interaction_is_what_two_terms_do_only_together():
    ledger = ledger_of("toy_resnext", "stages.1.1")
    pair = ledger.pair(1, 4)
    logits = ledger.run_without([[1, 4], [1], [4], []])[:, ledger.target]
    assert float(logits[3]) == pytest.approx(float(probe_of("toy_resnext").logits[ledger.target]), abs=1e-4)
    both, one, other = (logits[:3] - logits[3]).tolist()
    assert pair["interaction"] == pytest.approx(both - one - other, abs=1e-4) and abs(pair["interaction"]) > 1e-3
    table = ledger.data["ways"][0]["pairs"]["mean"][0]
    np.testing.assert_allclose(table, table.T)
    alone = ledger.run_without([[1, 4]], 0, "zero")[0] - probe_of("toy_resnext").logits
    assert ledger.data["ways"][0]["pairs"]["zero"][0][4, 1] == pytest.approx(float(alone[ledger.target]), abs=1e-4)
    assert table[1, 4] == pytest.approx(both, abs=1e-4) and table[4, 4] == pytest.approx(other, abs=1e-4)


def test_a_term_can_give_way_to_its_mean_over_other_pictures():
    world, net = nw.ToyWorld("test"), net_of("toy_resnext")
    probes = [probe(net, world[i]["image"]) for i in (1, 2, 3)]
    means = mean_sources(probes)
    naive = torch.stack([p["stages.3.0.gate"][0].mean((1, 2)) for p in probes]).mean(0)
    np.testing.assert_allclose(means[0], naive, atol=1e-6)
    ledger = Ledger(probe_of("toy_resnext"), dataset_mean=means)
    change = ledger.rerun(0, "dataset")[0]

    def replaced(out, _):
        out = out.clone()
        out[:, :21] = naive[:21, None, None]
        return out

    logits = probe_of("toy_resnext").rerun({"stages.3.0.gate": replaced})[0]
    assert float(change[0]) == pytest.approx(float((logits - probe_of("toy_resnext").logits)[ledger.target]), abs=1e-4)
    assert "dataset" in ledger.data["ways"][0]["predicted"] and ledger.payload()["baselines"][-1] == "dataset"
    with pytest.raises(ValueError, match=r"needs \(1, 168\)"):
        Ledger(probe_of("toy_resnext"), dataset_mean=np.zeros(7))
    with pytest.raises(ValueError, match="give way to mean, zero, not to 'dataset'"):
        ledger_of("toy_resnext").rerun(0, "dataset")


# Broken on purpose ----------------------------------------------------------------------------------------------------


def broken(name: str, monkeypatch, wrong) -> Ledger:
    true = ledger_sum.branch_of
    monkeypatch.setattr(ledger_sum, "branch_of", lambda *given: wrong(true(*given)))
    return Ledger(probe_of(name))


def test_a_ledger_that_forgets_the_shift_of_the_batch_norm_fails_its_check(monkeypatch):
    ledger = broken("toy_resnext", monkeypatch, lambda it: replace(it, shift=torch.zeros_like(it.shift)))
    with pytest.raises(CheckFailed, match="terms sum to the logit” does not hold"):
        ledger.check()
    assert ledger.badge["state"] == "fails"


def test_a_ledger_with_a_wrong_mask_fails_its_check(monkeypatch):
    monkeypatch.setattr(ledger_sum, "secant", lambda act, z: torch.ones_like(z))
    with pytest.raises(CheckFailed, match="terms sum to the logit"):
        Ledger(probe_of("toy_resnext")).check()


def test_a_ledger_that_cuts_a_term_short_fails_its_check(monkeypatch):
    def short(branch):
        takes = branch.ways[0].takes.clone()
        takes[3] = 0
        return replace(branch, ways=(replace(branch.ways[0], takes=takes), *branch.ways[1:]))

    with pytest.raises(CheckFailed, match="terms sum to the logit"):
        broken("toy_resnest", monkeypatch, short).check()


def test_gates_in_the_wrong_order_fail_the_check_where_two_cardinal_groups_expose_them(monkeypatch):
    net = own_net("relu", "batch", Block(cardinality=2, channel_attention=Split(radix=2)))
    torch.manual_seed(0)
    picture = torch.randn(1, 3, 64, 64)

    def untransposed(logits, radix, cardinality):
        return logits.unflatten(1, (cardinality, radix, -1)).softmax(2).flatten(1).unflatten(1, (radix, -1))

    Ledger(probe(net, picture)).check()
    monkeypatch.setattr(ledger_parts, "radix_softmax", untransposed)
    for block, what in ((None, "terms sum to the logit"), ("stages.1.0", "rebuilds the block")):
        with pytest.raises(CheckFailed, match=what):
            Ledger(probe(net, picture), block).check()


def test_a_halo_read_one_row_off_fails_the_check(monkeypatch):
    true = ledger_parts.halo_parts
    monkeypatch.setattr(ledger_parts, "halo_parts", lambda *given: true(*given).roll(1, 2))
    with pytest.raises(CheckFailed, match="rebuild"):
        Ledger(probe_of("toy_halonet"), "stages.1.0").check()


# The view -------------------------------------------------------------------------------------------------------------


def test_a_ledger_leaves_the_net_as_it_was():
    net = copy.deepcopy(net_of("toy_resnest")).train()
    net.stages[0].eval()
    before, modes = copy.deepcopy(net.state_dict()), [m.training for m in net.modules()]
    p = probe(net, nw.ToyWorld("test")[0]["image"])
    for view in (Ledger(p), Ledger(p, "stages.1.0"), GroupStructure(p)):
        view.check()
        view.payload()
    assert hooks_in(net) == 0 and [m.training for m in net.modules()] == modes
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_description_has_the_numbers():
    ledger = ledger_of("toy_resnext")
    terms = ledger.data["ways"][0]["terms"][0]
    most = int(np.abs(terms).argmax())
    assert f"group {most} {terms[most]:+.2f}".replace("-", "\u2212") in ledger.alt
    assert f"{ledger.data['logits'][0]:+.2f}" in ledger.alt and "0 of 8 change the likeliest class" in ledger.alt
    assert ledger.figure().alt == ledger.alt


def test_the_random_twin_has_another_sum_that_holds_too():
    ledger = ledger_of("toy_resnext")
    assert "terms sum to the logit" in ledger.twin.check()
    assert ledger.twin.target == ledger.target and ledger.twin.block == ledger.block
    difference = ledger.twin.data["ways"][0]["terms"][0] - ledger.data["ways"][0]["terms"][0]
    assert np.abs(difference).max() > 0.01


def test_the_kernel_answers_for_any_class_and_any_terms():
    ledger, p = ledger_of("resnext50_32x4d"), probe_of("resnext50_32x4d")
    number = p.logits.argsort()[500].item()
    answer = ledger.answer({"ask": "class", "name": p.class_names[number]})
    assert answer["classes"].tolist() == [number] and answer["names"] == [p.class_names[number]]
    total = answer["ways"][0]["terms"].sum() + answer["extras"].sum()
    assert total == pytest.approx(float(p.logits[number]), abs=1e-4)
    np.testing.assert_allclose(answer["ways"][0]["rerun"]["zero"], ledger.rerun(0, "zero", [number]), atol=1e-5)
    out = ledger.answer({"ask": "out", "way": 0, "terms": [3, 9], "baseline": "zero", "classes": [number]})
    alone = ledger.run_without([[3, 9]], 0, "zero")[0]
    assert float(out["change"][0]) == pytest.approx(float(alone[number] - p.logits[number]), abs=1e-6)
    assert out["top"] == p.class_names[int(alone.argmax())]
    assert len(ledger.answer({"ask": "names"})["names"]) == 1000
    with pytest.raises(ProbeError, match="No class is called 'unicorn'"):
        ledger.answer({"ask": "class", "name": "unicorn"})
    with pytest.raises(ValueError, match="has no answer"):
        ledger.answer({"ask": "weather"})


def test_knock_outs_of_early_blocks_of_large_pictures_wait_until_they_are_asked_for():
    ledger = Ledger(probe_of("halonet50ts"), "stages.2.4")
    assert not ledger.beforehand and ledger.data["ways"][0]["rerun"] is None
    assert "replaced by" not in ledger.alt and ledger.rerun(0, "zero").shape == (4, 8)


def test_a_net_without_such_blocks_is_refused_in_a_sentence():
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for view in (Ledger, lambda p: GroupStructure(p, pictures=p.input)):
        with pytest.raises(NotInThisNet, match="a Sequential is none"):
            view(probe(plain, torch.randn(1, 3, 16, 16)))
    strange = own_net()
    strange.stages[1][1] = nn.Conv2d(48, 48, 1)
    with pytest.raises(NotInThisNet, match=r"stages\.1\.1 is a Conv2d without a middle and an `expand`"):
        Ledger(probe(strange, torch.randn(1, 3, 64, 64)))
    with pytest.raises(NotInThisNet, match="'stem' is no block of this net"):
        Ledger(probe_of("toy_resnext"), "stem")
    with pytest.raises(ValueError, match="cut by fixed and attention or by gated splits, not by 'heads'"):
        ledger_of("toy_resnest").predicted("heads")


# Groups ---------------------------------------------------------------------------------------------------------------


@cache
def groups_of(name: str, block: str | None = None) -> GroupStructure:
    return GroupStructure(probe_of(name), block)


@pytest.mark.parametrize(
    "name, block, kind",
    [
        ("toy_resnext", None, "8 cardinal groups"), ("toy_resnest", None, "2 splits"), ("toy_resnet", None, "8 arbitrary chunks"),
        ("toy_halonet", "stages.2.0", "8 heads"), ("resnext50_32x4d", None, "32 cardinal groups"),
        ("resnest50d_4s2x40d", None, "8 splits"), ("resnest50d_1s4x24d", None, "4 cardinal groups"),
        ("eca_halonext26ts", "stages.1.1", "8 cardinal groups"),
    ],
)  # fmt: skip
def test_the_groups_of_every_family_are_seen_and_their_wiring_holds(name, block, kind):
    view = groups_of(name, block)
    assert view.title.endswith(kind) and "wholly like itself" in view.check()
    data = view.data
    assert data["cka"].shape == (len(data["labels"]),) * 2 and 0 <= data["cka"].min() <= data["cka"].max() <= 1 + 1e-9
    assert sorted(data["order"]) == list(range(len(data["labels"])))
    assert (data["participation"] >= 0).all() and (data["participation"] <= data["channels"] + 1e-6).all()
    assert data["wires"] is None or data["wires"]["grouped"] * data["wires"]["groups"] == data["wires"]["dense"]
    assert kind in view.alt and f"{data['score']:.3f}" in view.alt


def test_likeness_is_linear_cka_of_the_groups_over_pictures_and_positions():
    view = groups_of("toy_resnext")
    with torch.no_grad():
        maps = []
        handle = (
            net_of("toy_resnext").stages[2][1].middle.register_forward_hook(lambda m, i, out: maps.append(out.clone()))
        )
        net_of("toy_resnext")(view.pictures)
        handle.remove()
    rows = maps[0].permute(0, 2, 3, 1).reshape(-1, 128).double()
    rows = rows - rows.mean(0)
    for g, h in ((0, 5), (3, 4)):
        a, b = rows[:, 16 * g : 16 * g + 16], rows[:, 16 * h : 16 * h + 16]
        expected = (a.T @ b).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm())
        assert view.data["cka"][g, h] == pytest.approx(float(expected), rel=1e-3)
    spectrum = torch.linalg.eigvalsh(rows[:, :16].T @ rows[:, :16])
    assert view.data["participation"][0] == pytest.approx(
        float(spectrum.sum() ** 2 / spectrum.square().sum()), rel=1e-3
    )
    assert view.data["samples"] == len(rows) == 512


def test_the_score_of_the_groups_is_a_mean_over_pairs_and_stands_out_only_where_groups_mean_something():
    rng = np.random.default_rng(1)
    shared = np.repeat(rng.normal(size=(400, 4)), 6, axis=1)
    meant, noise = shared + rng.normal(size=(400, 24)), rng.normal(size=(400, 24))
    for rows, low, high in ((meant, 99.9, 100), (noise, 1, 99)):
        rows = rows - rows.mean(0)
        score, random = against_random_cuts(rows.T @ rows, 4)
        alike = np.abs(np.corrcoef(rows.T))
        within = [alike[i, j] for i in range(24) for j in range(24) if i != j and i // 6 == j // 6]
        between = [alike[i, j] for i in range(24) for j in range(24) if i // 6 != j // 6]
        assert score == pytest.approx(np.mean(within) - np.mean(between))
        assert len(random) == 200 and low <= 100 * (random < score).mean() <= high
        assert abs(random.mean()) < 0.01
    assert (participation(noise.T @ noise, 4) > 4.5).all() and likeness(meant.T @ meant, 4)[0, 1] < 0.1


def test_the_order_puts_like_beside_like():
    alike = np.full((6, 6), 0.1)
    for pair in ((0, 3), (1, 4), (2, 5)):
        alike[np.ix_(pair, pair)] = 0.9
    alike[np.ix_((0, 3), (1, 4))] = alike[np.ix_((1, 4), (0, 3))] = 0.5
    np.fill_diagonal(alike, 1)
    order = along_leading_direction(alike).tolist()
    assert all(abs(order.index(a) - order.index(b)) == 1 for a, b in ((0, 3), (2, 5)))


def test_weights_outside_the_groups_are_zero_and_inside_add_up():
    view = groups_of("toy_resnext")
    weight, cells = net_of("toy_resnext").stages[2][1].middle.conv.weight.detach(), view.data["cells"]
    dense = torch.zeros(128, 128)
    for output in range(128):
        g = output // 16
        dense[output, 16 * g : 16 * g + 16] = weight[output].square().sum((1, 2))
    np.testing.assert_allclose(cells, dense, atol=1e-6)
    profile = weight[32:48].square().sum((0, 1))
    np.testing.assert_allclose(view.data["profile"][2], profile / profile.sum(), atol=1e-6)
    big = groups_of("resnext50_32x4d")
    assert max(big.data["cells"].shape) <= 128
    assert big.data["cells"].sum() == pytest.approx(big.conv.weight.square().sum().item(), rel=1e-4)


def test_paths_to_the_next_block_are_its_first_weights_times_these_last_ones():
    view, net = groups_of("toy_resnext", "stages.1.0"), net_of("toy_resnext")
    here, there = net.stages[1][0], net.stages[1][1]
    scale = here.expand.norm.weight / (here.expand.norm.running_var + here.expand.norm.eps).sqrt()
    for a, b in ((0, 0), (3, 6)):
        first = there.reduce.conv.weight[8 * a : 8 * a + 8, :, 0, 0]
        last = here.expand.conv.weight[:, 8 * b : 8 * b + 8, 0, 0]
        expected = (first @ torch.diag(scale) @ last).norm().item()
        assert view.data["between"][a, b] == pytest.approx(expected, rel=1e-4)
    assert view.data["next"] == "stages.1.1" and groups_of("toy_resnet").data["between"] is None


def test_groups_on_the_wrong_inputs_fail_the_check():
    view = GroupStructure(probe_of("toy_resnext"))
    true = groups_room.F.conv2d
    conv = view.conv
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            groups_room.F,
            "conv2d",
            lambda x, w, *rest: true(x.flip(1), w, *rest) if w.shape[0] == 16 else true(x, w, *rest),
        )
        with pytest.raises(CheckFailed, match="groups alone rebuild the convolution"):
            view.check()
    assert conv.groups == 8 and "groups alone rebuild" in GroupStructure(probe_of("toy_resnext")).check()


def test_pictures_are_the_toy_world_or_views_of_the_picture_or_given():
    assert len(GroupStructure(net_of("toy_resnext")).pictures) == 32
    assert groups_of("resnext50_32x4d").pictures.shape == (8, 3, 64, 64)
    assert torch.equal(groups_of("resnext50_32x4d").pictures[0], probe_of("resnext50_32x4d").input[0])
    given = GroupStructure(net_of("resnext50_32x4d"), "stages.3.2", torch.randn(2, 3, 64, 64))
    assert given.data["samples"] == 8 and given.probe.net is net_of("resnext50_32x4d")
    with pytest.raises(ValueError, match="Over which pictures"):
        GroupStructure(net_of("resnext50_32x4d"))


def test_the_random_twin_of_the_groups_looks_at_the_same_pictures():
    view = groups_of("toy_resnext")
    assert torch.equal(view.twin.pictures, view.pictures) and "rebuild" in view.twin.check()
    assert np.abs(view.twin.data["cka"] - view.data["cka"]).max() > 0.05
    assert F.mse_loss(view.twin.conv.weight, view.conv.weight) > 0
