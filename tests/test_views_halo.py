"""HaloNet's query explorer: its arithmetic against loops, against timm and against what each net itself puts out."""

import copy
import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import netwright as nw
from netwright.nets.config import Halo
from netwright.nets.halonet import HaloAttention
from netwright.probing.capture import hooks_in
from netwright.probing.golden import golden_picture, golden_state
from netwright.views.frame import assembling
from netwright.views.halo import ablations as halo_ablations
from netwright.views.halo import page as halo_page
from netwright.views.halo import parts
from netwright.views.halo.explorer import MODES, HaloExplorer
from netwright.views.halo.tables import RelativeTables
from netwright.views.view import CheckFailed, NotInThisNet
from peers import timm

FULL_SIZE = ("halonet50ts", "halonet26t", "sehalonet33ts", "eca_halonext26ts")


@functools.cache
def net_of(name: str) -> nn.Module:
    if name.startswith("toy"):
        return nw.create_model(name, pretrained=True)
    net = nw.create_model(name)
    net.load_state_dict(golden_state(name))
    return net


@functools.cache
def explorer(name: str) -> HaloExplorer:
    image = nw.ToyWorld("test")[3]["image"] if name.startswith("toy") else golden_picture()
    return HaloExplorer(nw.probe(net_of(name), image))


class Reader(nn.Module):
    """A reader's own halo attention, in loops over blocks, with the bugs of the museum to choose from."""

    def __init__(self, channels=12, heads=2, key_dim=4, value_dim=6, block_size=4, halo=1, stride=1, bug="none"):
        super().__init__()
        self.heads, self.block_size, self.halo, self.bug = heads, block_size, halo, bug
        self.key_dim, self.value_dim, self.stride = key_dim, value_dim, stride
        self.query = nn.Conv2d(channels, heads * key_dim, 1, stride=stride)
        self.key_value = nn.Conv2d(channels, heads * (key_dim + value_dim), 1)
        window = block_size + 2 * halo
        self.height_table = nn.Parameter(torch.randn(2 * window - 1, key_dim))
        self.width_table = nn.Parameter(torch.randn(2 * window - 1, key_dim))

    def forward(self, x):
        block, halo, window, side = (
            self.block_size,
            self.halo,
            self.block_size + 2 * self.halo,
            self.block_size // self.stride,
        )
        q = self.query(x).unflatten(1, (self.heads, -1))
        kv = F.pad(self.key_value(x), (halo,) * 4).unflatten(1, (self.heads, -1))
        real = F.pad(torch.ones(x.shape[2:]), (halo,) * 4)
        out = x.new_zeros(len(x), self.heads, self.value_dim, *q.shape[3:])
        shift = halo if self.bug == "centre" else 0
        offset = torch.arange(window)[None] - torch.arange(side)[:, None] + window - 1 - shift
        down, right = self.height_table[offset], self.width_table[offset]  # (y, u, key_dim)
        for r in range(x.shape[2] // block):
            for c in range(x.shape[3] // block):
                mine = q[..., r * side : (r + 1) * side, c * side : (c + 1) * side]
                seen = (slice(r * block, r * block + window), slice(c * block, c * block + window))
                keys, values = kv[(..., *seen)].split((self.key_dim, self.value_dim), 2)
                content = torch.einsum("bndyx,bnduv->bnyxuv", mine, keys)
                if self.bug != "unscaled":
                    content = content / self.key_dim**0.5
                position = torch.einsum("bndyx,yud->bnyxu", mine, down)[..., None]
                position = position + torch.einsum("bndyx,xvd->bnyxv", mine, right)[..., None, :]
                logits = content + position
                if self.bug == "inverted mask":
                    logits = logits.masked_fill(real[seen] > 0, -1e9)
                if self.bug == "masked padding":
                    logits = logits.masked_fill(real[seen] == 0, -torch.inf)
                weights = logits.flatten(-2).softmax(-1).view_as(logits)
                got = torch.einsum("bnyxuv,bnduv->bndyx", weights, values)
                out[..., r * side : (r + 1) * side, c * side : (c + 1) * side] = got
        return out.flatten(1, 2)


class Timm(nn.Module):
    """timm's layer, with the names that a view looks for."""

    def __init__(self, **options):
        super().__init__()
        self.inner = timm.layers.halo_attn.HaloAttn(16, num_heads=4, block_size=4, halo_size=2, **options)
        nn.init.normal_(self.inner.pos_embed.height_rel)
        nn.init.normal_(self.inner.pos_embed.width_rel)
        self.query, self.key_value = self.inner.q, self.inner.kv
        self.height_table, self.width_table = self.inner.pos_embed.height_rel, self.inner.pos_embed.width_rel
        self.heads, self.block_size, self.halo = 4, 4, 2

    def forward(self, x):
        return self.inner(x)


class Small(nn.Module):
    """A reader's net around one attention layer."""

    def __init__(self, attention: nn.Module, channels=12, classes=7):
        super().__init__()
        self.first = nn.Conv2d(3, channels, 2, stride=2)
        self.look_around = attention
        self.last = nn.LazyLinear(classes)

    def forward(self, x):
        return self.last(self.look_around(torch.relu(self.first(x))).mean((2, 3)).relu())


def small(make, seed=0, **options) -> HaloExplorer:
    torch.manual_seed(seed)
    net = Small(make(), **options).eval()
    image = torch.rand(1, 3, 24, 16)
    with torch.no_grad():
        net(image)
    return HaloExplorer(nw.probe(net, image))


def one_query(layer: parts.HaloLayer, head: int, row: int, column: int):
    """Logits and weights of one query by the definition, a key at a time: (window, window) each, and the output."""
    size, block, stride = layer.window, layer.block_size, layer.stride
    q = layer.query[head, row, column].double().numpy()
    here = np.array([row * stride, column * stride])
    start = here // block * block - layer.halo
    content, position = np.zeros((size, size)), np.zeros((size, size))
    values = np.zeros((size, size, layer.value.shape[-1]))
    for u in range(size):
        for v in range(size):
            key = start + (u, v)
            if (key >= 0).all() and (key < layer.map_size).all():
                content[u, v] = q @ layer.key[head, key[0], key[1]].double().numpy() / len(q) ** 0.5
                values[u, v] = layer.value[head, key[0], key[1]].double().numpy()
            y, x = here % block // stride
            position[u, v] = q @ layer.height_table[u - y + size - 1].double().numpy()
            position[u, v] += q @ layer.width_table[v - x + size - 1].double().numpy()
    weights = np.exp(content + position)
    weights /= weights.sum()
    return content, position, weights, np.einsum("uv,uvd->d", weights, values), start


# The formula -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["toy_halonet", *FULL_SIZE])
def test_every_halo_layer_is_rebuilt_and_every_identity_holds(name):
    view = explorer(name)
    badge = view.check()
    assert f"rebuilds {len(view.layers)} halo layer" in badge
    assert (
        len(view.layers)
        == {"toy_halonet": 2, "halonet50ts": 5, "halonet26t": 3, "sehalonet33ts": 4, "eca_halonext26ts": 3}[name]
    )
    rebuilt, summed, padded, copied = view.identities()
    assert rebuilt.error <= 1e-5 and summed.error <= 1e-5 and padded.error <= 1e-6
    assert copied.error <= 5e-3


def test_the_nets_cover_stride_one_and_two_and_keys_of_another_size_than_values():
    strides = {layer.stride for name in FULL_SIZE for layer in explorer(name).layers.values()}
    assert strides == {1, 2}
    dims = {(layer.key_dim, layer.value.shape[-1]) for layer in explorer("eca_halonext26ts").layers.values()}
    assert all(key_dim == 16 != value_dim for key_dim, value_dim in dims)


@pytest.mark.parametrize(
    ("name", "layer"), [("toy_halonet", 0), ("toy_halonet", 1), ("halonet26t", 1), ("halonet50ts", 1)]
)
def test_one_query_equals_a_loop_over_its_keys(name, layer):
    view = explorer(name)
    it = list(view.layers.values())[layer]
    height, width = it.query_size
    for head, row, column in ((0, 0, 0), (it.heads - 1, height - 1, 1), (1, height // 2, width // 2 - 1)):
        content, position, weights, out, _ = one_query(it, head, row, column)
        found = {mode: view.maps(row, column, mode, layer)[head] for mode in MODES}
        assert np.allclose(found["content"], content, atol=1e-4)
        assert np.allclose(found["position"], position, atol=1e-4)
        assert np.allclose(found["attention"], weights, atol=1e-5)
        there = it.output.unflatten(0, (it.heads, -1))[head, :, row, column]
        assert np.allclose(there, out, atol=1e-3 * float(it.output.abs().max()))
        mapped = parts.windows(it.value, it.block_size, it.halo)[head, row // it.side, column // it.side]
        assert np.allclose(found["value-weighted"], weights * mapped.norm(dim=-1).numpy(), atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"stride": 2, "avg_down": True}, {"dim_head": 6}])
def test_timms_layer_is_rebuilt(options):
    view = small(lambda: Timm(**options), channels=16)
    assert view.identities()[0].error < 1e-5
    view.check()
    assert view.layers["look_around"].key_dim == options.get("dim_head", 4)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_readers_own_layer_is_found_by_its_parts(stride):
    view = small(lambda: Reader(stride=stride))
    assert list(view.layers) == ["look_around"] and view.layers["look_around"].stride == stride
    view.check()


def test_a_layer_that_ends_in_a_mean_is_rebuilt():
    def attention():
        layer = HaloAttention(12, Halo(heads=3, block_size=3, halo=1), stride=2)
        layer.reset_parameters()
        return layer

    torch.manual_seed(0)
    net = Small(attention()).eval()
    image = torch.rand(1, 3, 24, 24)
    net(image)
    view = HaloExplorer(nw.probe(net, image))
    layer = view.layers["look_around"]
    assert layer.query_size == (12, 12) and layer.output.shape == (12, 6, 6)
    view.check()


# Each check fails where it should ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bug", ["inverted mask", "centre", "unscaled", "masked padding"])
def test_a_bug_of_the_museum_gives_a_failing_badge(bug):
    view = small(lambda: Reader(bug=bug))
    with pytest.raises(CheckFailed, match="rebuilds 1 halo layer"):
        view.check()
    assert view.badge["state"] == "fails"


def test_a_map_that_leaves_padding_out_does_not_sum_to_one(monkeypatch):
    whole = parts.masses
    monkeypatch.setattr(parts, "masses", lambda *given: whole(*given) * torch.tensor([1.0, 1.0, 0.0]))
    with pytest.raises(CheckFailed, match="masses sum to 1"):
        small(Reader).check()


def test_a_wrong_window_does_not_fit_the_geometry(monkeypatch):
    right = parts.inside
    monkeypatch.setattr(parts, "inside", lambda layer: right(layer).roll(1, -1))
    assert small(Reader).badge["state"] == "holds"  # rolled, it is as wide as before …
    monkeypatch.setattr(parts, "inside", lambda layer: right(layer) | parts.own_block(layer, 1))
    with pytest.raises(CheckFailed, match="padding as its geometry"):  # … but this is wider
        small(Reader).check()


def test_a_copy_of_too_few_bits_is_noticed():
    view = small(lambda: Reader(key_dim=16))
    view.bits = 3
    with pytest.raises(CheckFailed, match="3-bit copy"):
        view.check()


# What is read off --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "shares"), [(8, {0.67}), (16, {0.38}), (32, {0.38, 0.21, 0.0})])
def test_the_padding_of_a_window_is_what_its_geometry_says(side, shares):
    name = "halonet50ts"
    layer = next(it for it in explorer(name).layers.values() if it.map_size == (side, side))
    found = explorer(name).data[layer.name]
    assert {round(float(it), 2) for it in found["padding_share"].flatten()} == shares
    assert np.array_equal(found["valid"][0, 0], round((1 - float(found["padding_share"][0, 0])) * 14**2))


@pytest.mark.parametrize(("name", "number"), [("toy_halonet", 0), ("halonet26t", 0)])
def test_statistics_equal_a_loop_over_the_keys(name, number):
    view = explorer(name)
    layer = list(view.layers.values())[number]
    data = view.data[layer.name]
    row, column, head = 1, layer.query_size[1] - 2, 2
    content, position, weights, _, start = one_query(layer, head, row, column)
    masses, seen, distances = np.zeros(3), [], []
    for u in range(layer.window):
        for v in range(layer.window):
            key = start + (u, v)
            real = (key >= 0).all() and (key < layer.map_size).all()
            same = (key // layer.block_size == np.array([row, column]) // layer.side).all()
            masses[0 if real and same else 1 if real else 2] += weights[u, v]
            if real:
                seen.append(weights[u, v])
                distances.append(layer.pixels * np.hypot(*(key - layer.stride * np.array([row, column]))))
    share = np.array(seen) / sum(seen)
    found = {key: value[head, row, column] for key, value in data["statistics"].items()}
    assert data["masses"][head, row, column] == pytest.approx(masses, abs=1e-5)
    assert [found[key] for key in parts.MASSES] == pytest.approx(masses, abs=1e-5)
    assert found["effective keys"] == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-4)
    assert found["effective keys"] <= data["valid"][row, column] == len(seen)
    assert found["distance"] == pytest.approx((share * distances).sum(), rel=1e-4)
    assert found["position share"] == pytest.approx(position.var() / (position.var() + content.var()), rel=1e-4)


def test_the_border_test_equals_a_loop_over_neighbours():
    view = explorer("toy_halonet")
    layer = next(iter(view.layers.values()))
    for maps, ratio in ((layer.output, "output ratio"), (layer.input[:, ::2, ::2], "input ratio")):
        steps = {True: [], False: []}
        for y in range(8):
            for x in range(8):
                for y2, x2 in ((y + 1, x), (y, x + 1)):
                    if y2 < 8 and x2 < 8:
                        crosses = y // 4 != y2 // 4 or x // 4 != x2 // 4
                        steps[crosses].append(float((maps[:, y, x] - maps[:, y2, x2]).norm()))
        expected = np.mean(steps[True]) / np.mean(steps[False])
        assert view.data[layer.name]["border"][ratio] == pytest.approx(expected, rel=1e-4)
    assert explorer("halonet50ts").data["stages.3.1.middle.attention"]["border"]["output ratio"] is None


# Tables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "layer", "centre", "zero", "never"),
    [
        ("halonet50ts", 4, 13, [16] * 8, 6),
        ("halonet26t", 1, 11, [13, 14, 15, 16], 8),
        ("toy_halonet", 0, 13, [16, 17, 18, 19], 10),
    ],
)
def test_tables_are_read_where_they_are_drawn(name, layer, centre, zero, never):
    view = RelativeTables(explorer(name).probe, layer)
    view.check()
    data = view.data
    assert data["window"] - 1 == centre
    assert data["zero_rows"].tolist() == zero
    assert [np.flatnonzero(line == 0).tolist() for line in data["offsets"]] == [[row] for row in zero]
    assert np.flatnonzero(data["never_read"]).tolist() == list(range(never))
    assert np.isnan(data["measured"]).all(1)[:, :never].all()  # and the layer itself does not read them
    assert f"rows 0 to {never - 1} are never read" in view.alt and f"not the centre, {centre}" in view.alt


def test_mean_logits_of_the_tables_equal_a_loop_over_queries():
    view = RelativeTables(explorer("halonet26t").probe, 1)
    layer = explorer("halonet26t").layers[view.layer]
    read = view.data["read"]
    for row in (8, 13, 22):
        rows = [y for y in range(layer.query_size[0]) if read[y % layer.side, row]]
        expected = np.mean([float(layer.query[3, y, x] @ layer.height_table[row]) for y in rows for x in range(8)])
        assert view.data["mean_logits"][0, 3, row] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("axis", ["height_table", "width_table"])
def test_a_table_with_its_origin_in_the_centre_fails(axis):
    torch.manual_seed(0)
    net = Small(Reader(bug="centre")).eval()
    image = torch.rand(1, 3, 16, 16)
    net(image)
    before = getattr(net.look_around, axis).clone()
    with pytest.raises(CheckFailed, match="at the offset drawn"):
        RelativeTables(nw.probe(net, image)).check()
    assert torch.equal(getattr(net.look_around, axis), before)  # a copy was asked


def test_a_row_that_is_read_after_all_is_noticed(monkeypatch):
    real = parts.table_rows
    monkeypatch.setattr(parts, "table_rows", lambda layer: real(layer)[:, 1:])
    view = small(Reader)
    with pytest.raises(CheckFailed, match="grey rows change nothing"):
        RelativeTables(view.probe).check()


# Ablations ---------------------------------------------------------------------------------------------------------


def changed_logits(view: HaloExplorer, number: int, key: str) -> torch.Tensor:
    """The same ablation by another way: a copy of the net with other weights, or another module in the layer's place."""
    net = copy.deepcopy(view.probe.net).eval()
    layer = list(view.layers.values())[number]
    module = net.get_submodule(layer.name)
    with torch.no_grad():
        if key == "position":
            module.height_table.zero_()
            module.width_table.zero_()
        elif key == "content":
            module.key_value.weight.unflatten(0, (layer.heads, -1))[:, : layer.key_dim] = 0
        elif key.startswith("head"):
            n, dim = int(key[5:]), layer.value.shape[-1]

            def mean(_, given, out):
                out[:, n * dim : (n + 1) * dim] = out[:, n * dim : (n + 1) * dim].mean((2, 3), keepdim=True)

            module.register_forward_hook(mean)
        elif key.startswith("halo"):  # a layer with this halo, whose tables begin later: the zero offset moves with it
            less = layer.halo - int(key[5:])
            module.halo = layer.halo - less
            for table in ("height_table", "width_table"):
                kept = getattr(module, table)[3 * less : len(getattr(module, table)) - less]
                setattr(module, table, nn.Parameter(kept.clone()))
        elif key == "padding":
            masked = Reader(
                module.query.in_channels, layer.heads, layer.key_dim, layer.value.shape[-1], layer.block_size,
                layer.halo, layer.stride, bug="masked padding",
            )  # fmt: skip
            masked.query, masked.key_value = module.query, module.key_value
            masked.height_table, masked.width_table = module.height_table, module.width_table
            net.get_submodule(layer.name.rpartition(".")[0]).attention = masked
        return net(view.probe.input)[0]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("key", ["halo 0", "halo 1", "padding", "position", "content", "head 2"])
def test_an_ablation_equals_a_net_that_was_built_without_it(number, key):
    view = explorer("toy_halonet")
    expected = changed_logits(view, number, key)
    row = next(it for it in view.ablations(number) if it["key"] == key)
    top = view.probe.top(1)[0]
    assert row["logit"] == pytest.approx(float(expected[top]), abs=1e-4)
    assert row["change"] == pytest.approx(float(expected[top] - view.probe.logits[top]), abs=1e-4)
    assert row["top"] == expected.topk(5).indices.tolist()
    assert row["names"] == [view.probe.class_names[i] for i in row["top"]]
    assert row["kept"] == len(set(row["top"]) & set(view.probe.top(5)))
    assert row["flipped"] == (row["top"][0] != top)
    assert abs(row["change"]) > 5e-4


@pytest.mark.parametrize("name", ["toy_halonet", "halonet26t"])
def test_taking_nothing_away_changes_nothing(name):
    view = explorer(name)
    rows = view._ablated(view.layer, ["nothing"], twin=False)
    assert abs(rows[0]["change"]) < 1e-4 * float(view.probe.logits.abs().max()) and rows[0]["kept"] == 5


def test_every_ablation_stands_beside_the_twins():
    view = explorer("toy_halonet")
    rows = view.ablations(0)
    assert [row["key"] for row in rows] == [
        "nothing", "halo 0", "halo 1", "halo 2", "padding", "position", "content", "head 0", "head 1", "head 2", "head 3",
    ]  # fmt: skip
    own = {row["key"]: row["change"] for row in view.twin.ablations(0)}
    assert all(row["twin"]["change"] == own[row["key"]] for row in rows)
    assert any(abs(row["change"] - row["twin"]["change"]) > 0.1 for row in rows)
    assert view.twin.ablations(0)[1]["twin"] is None


def test_the_kernel_answers_as_the_page_has_it():
    view = explorer("toy_halonet")
    question = {"ask": "ablate", "layer": 1, "keys": ["padding", "head 7"]}
    alone, answer = view.answer(question), view.answer(question | {"beside": True})
    there = {row["key"]: row for row in view.ablations(1)}
    assert answer["rows"] == [there["padding"], there["head 7"]]
    assert alone["rows"] == [row | {"twin": None} for row in answer["rows"]]
    assembling.dumps(answer)
    with pytest.raises(ValueError, match="no ablation 'head 8'.*head 7"):
        view.answer({"ask": "ablate", "layer": 1, "keys": ["head 8"]})
    with pytest.raises(ValueError, match="no answer"):
        view.answer({"ask": "something else"})


# The view ----------------------------------------------------------------------------------------------------------


def test_the_net_is_left_as_it_was():
    net = copy.deepcopy(net_of("toy_halonet")).train()
    net.stages[1].eval()
    modes = [module.training for module in net.modules()]
    before = {key: value.clone() for key, value in net.state_dict().items()}
    view = HaloExplorer(nw.probe(net, nw.ToyWorld("test")[0]["image"]))
    view.check()
    view.ablations()
    view.message(twin=True)
    RelativeTables(view.probe, 1).check()
    assert hooks_in(net) == 0
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_the_random_twin_looks_elsewhere_and_holds_too():
    view = explorer("toy_halonet")
    view.twin.check()
    name = view.layer
    assert np.abs(view.twin.data[name]["masses"] - view.data[name]["masses"]).max() > 0.05
    assert np.array_equal(view.twin.data["picture"], view.data["picture"])


def test_the_words_have_the_numbers():
    view = explorer("toy_halonet")
    row, column = view.first_query
    own, ring, padding = view.data[view.layer]["masses"][2, row, column]
    assert f"head 2: {own:.0%} own block, {ring:.0%} halo ring, {padding:.0%} padding" in view.alt
    assert f"query row {row}, column {column} of stages.1.0.middle.attention" in view.alt


@pytest.mark.parametrize(
    "make", [lambda: explorer("toy_halonet"), lambda: RelativeTables(explorer("toy_halonet").probe, 0)]
)
def test_the_still_picture_is_described_by_the_same_words(make):
    picture = make().figure()
    assert picture.alt == make().alt and picture.png.startswith(b"\x89PNG")


def test_a_net_without_halo_attention_is_told_what_it_would_need():
    probe = nw.probe(net_of("toy_resnet"), nw.ToyWorld("test")[0]["image"])
    with pytest.raises(NotInThisNet, match="no halo attention.*query, key_value.*halonet50ts"):
        HaloExplorer(probe)
    with pytest.raises(NotInThisNet, match="no halo attention at 'stages.0'.*stages.1.0.middle.attention"):
        HaloExplorer(explorer("toy_halonet").probe, "stages.0")
    with pytest.raises(NotInThisNet, match="at 2"):
        HaloExplorer(explorer("toy_halonet").probe, 2)


def test_a_layer_can_be_named_by_its_block_or_number():
    probe = explorer("toy_halonet").probe
    assert HaloExplorer(probe, "stages.2.0").layer == HaloExplorer(probe, 1).layer == "stages.2.0.middle.attention"


def test_parts_that_do_not_fit_are_refused_by_name():
    def wrong():
        layer = Reader()
        layer.width_table = nn.Parameter(torch.zeros(9, 4))
        layer.forward = lambda x: (layer.query(x), layer.key_value(x))[0]
        return layer

    with pytest.raises(NotInThisNet, match=r"look_around has queries of.*needs tables of \(11, 4\)"):
        small(wrong)


def test_a_net_without_logits_is_looked_at_only():
    class Maps(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = Reader(channels=3)

        def forward(self, x):
            return self.attention(x)

    view = HaloExplorer(nw.probe(Maps(), torch.rand(1, 3, 8, 8), transform=nw.transform_for(net_of("toy_halonet"))))
    view.check()
    assert view.data["top"] == [] and view.message()["data"]["layers"][0]["changes"] == []


# The page ----------------------------------------------------------------------------------------------------------


def test_only_the_twin_of_a_net_with_many_numbers_gets_fewer_bits():
    bits = {name: halo_page.twin_bits(explorer(name).layers.values()) for name in ("toy_halonet", *FULL_SIZE)}
    assert bits == dict.fromkeys(("toy_halonet", "halonet26t", "eca_halonext26ts"), 12) | dict.fromkeys(
        ("halonet50ts", "sehalonet33ts"), 8
    )


@pytest.mark.parametrize("bits", [12, 8])
def test_the_page_can_put_its_numbers_together_again(bits):
    maps = torch.randn(2, 3, 3, 5, generator=torch.Generator().manual_seed(0))
    sent = halo_page.packed(maps, bits)
    high, low = sent["high"].numpy().astype(int), sent["low"]
    if bits == 12:
        nibbles = np.stack([low.numpy() & 15, low.numpy() >> 4], 1).flatten()[: high.size]
        high = 16 * high + nibbles
    found = high.reshape(sent["shape"]) * sent["step"].numpy()[:, None, None]
    step = sent["step"].numpy()[:, None, None]
    assert (np.abs(found - maps.numpy()) <= 0.501 * step).all()
    whole, step = halo_page.levels(maps, bits)
    assert np.allclose(found, (whole * step[:, None, None]).numpy())


def test_the_page_of_halonet50ts_with_its_twin_is_at_most_three_megabytes():
    view = explorer("halonet50ts")
    page = view.to_html()
    assert len(page.encode()) < 3e6
    sent = view.message(twin=True)["data"]["layers"]
    assert len(sent) == 5
    wanted = [[it.key for it in halo_ablations.ablations(layer)] for layer in view.layers.values()]
    assert [[row["key"] for row in layer["changes"]] for layer in sent] == wanted
    assert all(row["twin"] for layer in sent for row in layer["changes"])


def test_quantiles_and_limits_are_those_of_all_queries():
    view = explorer("toy_halonet")
    sent = view.payload()["layers"][0]
    values = view.data[view.layer]["statistics"]["distance"][1]
    assert sent["quantiles"][1, 1].tolist() == pytest.approx(
        np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95, 1]), rel=1e-4
    )
    every = np.stack([view.maps(row, column, "content") for row in range(8) for column in range(8)])
    assert sent["ranges"]["content"] == pytest.approx([every.min(), every.max()], abs=1e-4)
