"""The exercises of notebook 04: right answers in any form pass, wrong ones fail, and the figures say what is so."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netwright.lessons import check, splat
from netwright.lessons.splat import attending, experiments, exposing, gating, splitting
from netwright.lessons.toy_training import learn_toys
from netwright.models import create_model
from netwright.nets.config import SqueezeExcite
from netwright.nets.layers import SqueezeExciteGate
from netwright.nets.zoo import build
from netwright.probing.difference import first_difference
from netwright.probing.golden import golden_checkpoint
from netwright.weights.keymaps import rename
from peers import timm

COMBINATIONS = [(1, 1), (1, 2), (2, 1), (2, 2), (4, 2), (2, 4)]  # radix, cardinality
each_combination = pytest.mark.parametrize(("radix", "cardinality"), COMBINATIONS)


def answers(*written):
    """A parameter for each (exercise, answer), named by the exercise and its number."""
    return [pytest.param(*one, id=f"{one[0]}-{i}") for i, one in enumerate(written)]


# Right, in another form ----------------------------------------------------------------------------------------


def splits_by_slices(x, radix, cardinality):
    channels = x.shape[1] // radix
    return torch.stack([x[:, r * channels : (r + 1) * channels] for r in range(radix)], dim=1)


def splits_by_groups(x, radix, cardinality):
    nested = x.unflatten(1, (radix, cardinality, -1))
    return torch.cat([nested[:, :, k] for k in range(cardinality)], dim=2)


def pooled_by_loops(parts):
    batch, radix, channels, height, width = parts.shape
    summed = torch.zeros(batch, channels, height, width, dtype=parts.dtype)
    for r in range(radix):
        summed += parts[:, r]  # in place, on a tensor of its own
    sum_first = F.adaptive_avg_pool2d(summed, 1).flatten(1)
    pool_first = sum(parts[:, r].flatten(2).mean(2) for r in range(radix))
    return [sum_first, pool_first]


def pooled_by_einsum(parts):
    pixels = parts.shape[3] * parts.shape[4]
    return torch.einsum("nrchw->nchw", parts).flatten(2).mean(2), torch.einsum("nrchw->nc", parts) / pixels


def rsoftmax_as_published(logits, radix, cardinality):
    batch = logits.shape[0]
    if radix > 1:
        x = logits.view(batch, cardinality, radix, -1).transpose(1, 2)
        return F.softmax(x, dim=1).reshape(batch, radix, -1)
    return torch.sigmoid(logits).view(batch, 1, -1)


def rsoftmax_in_place(logits, radix, cardinality):
    """Written group by group into a tensor of its own."""
    if radix == 1:
        return 1 / (1 + torch.exp(-logits[:, None]))
    gates = torch.empty(len(logits), radix, cardinality, logits.shape[1] // radix // cardinality, dtype=logits.dtype)
    for k, group in enumerate(logits.chunk(cardinality, 1)):
        group = group.reshape(len(logits), radix, -1)
        weights = (group - group.max(1, keepdim=True)[0]).exp()
        gates[:, :, k] = weights.div(weights.sum(1, keepdim=True))
    return gates.view(len(logits), radix, -1)


def rsoftmax_that_cannot_learn(logits, radix, cardinality):
    if radix == 1:
        return logits.sigmoid().unsqueeze(1)
    weights = (logits - logits.amax(1, keepdim=True)).exp()
    weights = weights.unflatten(1, (cardinality, radix, -1))
    weights /= weights.sum(2, keepdim=True)  # over what exp wants for its gradient
    return weights.transpose(1, 2).flatten(2)


def combine_by_einsum(parts, gates):
    return torch.einsum("nrchw,nrc->nchw", parts, gates)


def combine_by_loop(parts, gates):
    out = torch.zeros_like(parts[:, 0])
    for part, gate in zip(parts.unbind(1), gates.unbind(1), strict=True):
        out.addcmul_(part, gate.unsqueeze(-1).unsqueeze(-1))
    return out


class AttentionAsPublished(nn.Module):
    """In the manner of the authors' splat.py, with torch's own functions."""

    def __init__(self, channels, radix, cardinality):
        super().__init__()
        self.fc2 = nn.Conv2d(max(32, int(channels * radix / 4)), radix * channels, (1, 1), groups=cardinality)
        self.fc1 = nn.Conv2d(channels, self.fc2.in_channels, (1, 1), groups=cardinality)
        self.fc_norm = nn.BatchNorm2d(self.fc1.out_channels)
        self.norm = nn.BatchNorm2d(radix * channels)
        self.conv = nn.Conv2d(channels, radix * channels, 3, 1, 1, bias=False, groups=radix * cardinality)
        self.relu = nn.ReLU(inplace=True)
        self.radix, self.cardinality = radix, cardinality

    def forward(self, x):
        x = self.relu(self.norm(self.conv(x)))
        channels = x.shape[1] // self.radix
        parts = torch.split(x, channels, dim=1)
        gap = F.adaptive_avg_pool2d(sum(parts), 1)
        logits = self.fc2(self.relu(self.fc_norm(self.fc1(gap))))
        gates = rsoftmax_as_published(logits.flatten(1), self.radix, self.cardinality)
        return sum(part * gate[..., None, None] for part, gate in zip(parts, gates.unbind(1), strict=True)).contiguous()


class AttentionGroupByGroup(AttentionAsPublished):
    """Each cardinal group by itself, as the paper writes it (section 3.1), from the radix-major weights."""

    def forward(self, x):
        maps = self.norm(self.conv(x)).clamp(min=0).unflatten(1, (self.radix, self.cardinality, -1))
        descriptor = torch.einsum("nrkchw->nkc", maps) / (x.shape[2] * x.shape[3])
        hidden = self.fc_norm(self.fc1(descriptor.flatten(1)[:, :, None, None])).clamp(min=0)
        logits = self.fc2(hidden).unflatten(1, (self.cardinality, self.radix, -1))[..., 0, 0]
        groups = []
        for k in range(self.cardinality):
            gates = logits[:, k].softmax(1) if self.radix > 1 else logits[:, k].sigmoid()  # (batch, radix, per group)
            groups.append(torch.einsum("nrchw,nrc->nchw", maps[:, :, k], gates))
        return torch.cat(groups, 1)


def radix_one_by_functions(layer, x):
    y = F.relu(layer.norm(layer.conv(x)))
    gate = layer.fc1(F.adaptive_avg_pool2d(y, 1))
    gate = layer.fc2(F.relu_(layer.fc_norm(gate)))
    return torch.sigmoid(gate).mul(y)


def radix_one_by_einsum(layer, x):
    y = layer.norm(layer.conv(x)).clamp_(min=0)
    mean = y.flatten(2).mean(-1)
    hidden = layer.fc_norm(layer.fc1(mean[:, :, None, None])).relu()
    return torch.einsum("nchw,nc->nchw", y, 1 / (1 + (-layer.fc2(hidden)[:, :, 0, 0]).exp()))


def is_right_by_loops(candidate):
    torch.manual_seed(5)
    for radix, cardinality, width in ((1, 2, 2), (2, 2, 2), (4, 2, 3)):
        logits = torch.randn(2, radix * cardinality * width)
        if (candidate(logits, radix, cardinality) - exposing._looping(logits, radix, cardinality)).abs().max() > 1e-6:
            return False
    return True


def is_right_by_known_numbers(candidate):
    """Logits that say at once whose gate they are: one of a group's splits wins by far, another in each channel."""
    logits = torch.tensor([[50.0, 0, 50, 0, 50, 0, 0, 0, 50, 50, 0, 0]])  # (groups 2, radix 2, channels 3)
    gates = candidate(logits, 2, 2)
    expected = logits.unflatten(1, (2, 2, 3)).transpose(1, 2).flatten(2) / 50
    alike = expected[:, :1] == expected[:, 1:]
    expected = torch.where(alike, 0.5, expected)
    one = candidate(torch.tensor([[0.0, 50, -50, 50]]), 1, 2)
    return torch.allclose(gates, expected, atol=1e-6) and torch.allclose(one, torch.tensor([[[0.5, 1, 0, 1]]]))


RIGHT = answers(
    ("splat.splits", splits_by_slices),
    ("splat.splits", splits_by_groups),
    ("splat.splits", lambda x, radix, cardinality: x.reshape(len(x), radix, -1, *x.shape[2:])),
    ("splat.splits", lambda x, radix, cardinality: torch.stack(x.chunk(radix, 1), 1)),
    ("splat.pooled", pooled_by_loops),
    ("splat.pooled", pooled_by_einsum),
    ("splat.pooled", lambda p: (p.sum(1).flatten(2).mean(2), p.mean(4).mean(3).sum(1))),
    ("splat.inner_width", lambda channels, radix: max(32, int(channels * radix / 4))),
    (
        "splat.inner_width",
        lambda channels, radix: 32 if channels * radix < 128 else math.floor(channels * radix * 0.25),
    ),
    ("splat.inner_width", lambda channels, radix: sorted((32, (channels * radix) >> 2))[1]),
    ("splat.rsoftmax", rsoftmax_as_published),
    ("splat.rsoftmax", rsoftmax_in_place),
    ("splat.rsoftmax", exposing._looping),
    ("splat.combine", combine_by_einsum),
    ("splat.combine", combine_by_loop),
    ("splat.combine", lambda p, g: (p.permute(3, 4, 0, 1, 2) * g).sum(3).permute(2, 3, 0, 1)),
    ("splat.attention", AttentionAsPublished),
    ("splat.attention", AttentionGroupByGroup),
    ("splat.attention", splat.layer_with(rsoftmax_in_place)),
    ("splat.radix_one", radix_one_by_functions),
    ("splat.radix_one", radix_one_by_einsum),
    ("splat.radix_one", lambda layer, x: radix_one_by_functions(layer, x.clone()) + 0),
    ("splat.expose", is_right_by_loops),
    ("splat.expose", is_right_by_known_numbers),
    ("splat.expose", lambda f: bool(all(exposing._agrees(size)(f) for size in ((3, 2, 2), (2, 3, 2), (1, 2, 4))))),
)


@pytest.mark.parametrize(("name", "theirs"), RIGHT)
def test_a_right_answer_passes_in_whatever_form(name, theirs):
    outcome = check(name, theirs)
    assert outcome.status == "passed", outcome


def test_a_layer_that_draws_other_random_numbers_when_it_is_made_passes():
    class Mine(attending.SplitAttention):
        def __init__(self, channels, radix, cardinality):
            torch.randn(7)
            super().__init__(channels, radix, cardinality)
            nn.init.xavier_normal_(self.conv.weight)

    assert check("splat.attention", Mine)


# Wrong in ways that the catalogue does not know ----------------------------------------------------------------


def attention(change=lambda layer: None, forward=None):
    class Wrong(attending.SplitAttention):
        def __init__(self, channels, radix, cardinality):
            super().__init__(channels, radix, cardinality)
            change(self)

        def forward(self, x):
            return forward(self, x) if forward else super().forward(x)

    return Wrong


def settings(**values):
    def change(layer):
        for norm in (layer.norm, layer.fc_norm):
            for name, value in values.items():
                setattr(norm, name, value)

    return change


def averaged_over_the_batch(layer, x):
    y = layer.norm(layer.conv(x)).relu()
    parts = y.unflatten(1, (layer.radix, -1))
    descriptor = parts.sum(1).mean((2, 3)).mean(0, keepdim=True).expand(len(x), -1)
    hidden = layer.fc_norm(layer.fc1(descriptor[..., None, None])).relu()
    return splitting.combine(parts, gating.rsoftmax(layer.fc2(hidden).flatten(1), layer.radix, layer.cardinality))


def cut_from_the_graph(layer, x):
    y = layer.norm(layer.conv(x)).relu()
    parts = y.unflatten(1, (layer.radix, -1))
    hidden = layer.fc_norm(layer.fc1(parts.detach().sum(1).mean((2, 3))[..., None, None])).relu()
    return splitting.combine(parts, gating.rsoftmax(layer.fc2(hidden).flatten(1), layer.radix, layer.cardinality))


def overwrites_its_input(layer, x):
    out = attending.SplitAttention.forward(layer, x)
    if not x.requires_grad:
        x.zero_()
    return out


def renamed(layer):
    layer.bn0 = layer.norm
    del layer.norm


def always_true(candidate):
    return True


WRONG = answers(
    ("splat.splits", lambda x, radix, cardinality: x.unflatten(1, (radix, -1)).roll(1, 2)),
    ("splat.splits", lambda x, radix, cardinality: x.unflatten(1, (radix, -1)).flip(4)),
    ("splat.splits", lambda x, radix, cardinality: x.unflatten(1, (radix, -1))[:, : max(1, radix - 1)]),
    ("splat.splits", lambda x, radix, cardinality: x.view(-1, radix, x.shape[1] // radix, *x.shape[:1:-1])),
    ("splat.pooled", lambda p: (p.sum(1).mean(2).mean(1), p.mean((3, 4)).sum(1))),
    ("splat.pooled", lambda p: (p.sum(1).median(-1)[0].mean(-1), p.mean((3, 4)).sum(1))),
    ("splat.pooled", lambda p: (p.sum((1, 3, 4)) / p.shape[3] ** 2, p.mean((3, 4)).sum(1))),
    ("splat.pooled", lambda p: tuple(t.float() for t in splitting.pooled(p))),
    ("splat.inner_width", lambda channels, radix: max(channels * radix // 4, 32) // radix),
    ("splat.inner_width", lambda channels, radix: max(round(channels * radix / 4), 32)),
    ("splat.inner_width", lambda channels, radix: max(channels * 2 // 4, 32)),
    ("splat.rsoftmax", lambda x, radix, cardinality: gating.rsoftmax(x, radix, cardinality).flip(1)),
    ("splat.rsoftmax", lambda x, radix, cardinality: gating.rsoftmax(x[:1], radix, cardinality).expand(len(x), -1, -1)),
    ("splat.rsoftmax", lambda x, radix, cardinality: gating.rsoftmax(x, radix, 1)),
    ("splat.rsoftmax", lambda x, radix, cardinality: gating.rsoftmax(x.float(), radix, cardinality).double()),
    ("splat.rsoftmax", lambda x, radix, cardinality: gating.rsoftmax(x.double(), radix, cardinality)),
    ("splat.rsoftmax", lambda x, radix, cardinality: gating.rsoftmax(x.clamp_(-1, 1), radix, cardinality)),
    ("splat.rsoftmax", rsoftmax_that_cannot_learn),
    ("splat.rsoftmax", lambda x, radix, cardinality: gating.rsoftmax(x.detach(), radix, cardinality)),
    ("splat.combine", lambda p, g: splitting.combine(p, g.flip(1))),
    ("splat.combine", lambda p, g: splitting.combine(p[:, :2], g[:, :2])),
    ("splat.combine", lambda p, g: splitting.combine(p, g[:1])),
    ("splat.combine", lambda p, g: splitting.combine(p, g.softmax(1))),
    ("splat.attention", attention(settings(eps=1e-3))),
    ("splat.attention", attention(settings(momentum=0.01))),
    ("splat.attention", attention(forward=averaged_over_the_batch)),
    ("splat.attention", attention(forward=cut_from_the_graph)),
    ("splat.attention", attention(forward=overwrites_its_input)),
    ("splat.attention", attention(renamed, forward=lambda layer, x: x)),
    ("splat.attention", attention(lambda layer: setattr(layer.conv, "padding_mode", "circular"), None)),
    ("splat.attention", attention(lambda layer: layer.fc_norm.eval().__setattr__("train", lambda mode: None))),
    ("splat.attention", attention(lambda layer: layer.double(), lambda layer, x: F.gelu(x))),
    ("splat.attention", attention(forward=lambda layer, x: attending.SplitAttention.forward(layer, x) + x)),
    ("splat.radix_one", lambda layer, x: 2 * attending.radix_one(layer, x)),
    ("splat.radix_one", lambda layer, x: attending.radix_one(layer.eval(), x)),
    ("splat.radix_one", lambda layer, x: attending.radix_one(layer, x[:1]).expand_as(x)),
    ("splat.radix_one", lambda layer, x: attending.radix_one(layer, x.relu_())),
    ("splat.expose", always_true),
    ("splat.expose", lambda candidate: False),
    ("splat.expose", lambda candidate: exposing._agrees((4, 1, 2), (1, 2, 2), (2, 1, 2))(candidate)),
    ("splat.expose", lambda candidate: "r" in candidate.__name__),
)


@pytest.mark.parametrize(("name", "theirs"), WRONG)
def test_a_wrong_answer_that_nobody_foresaw_fails(name, theirs):
    assert check(name, theirs).status in ("failed", "crashed")


def test_a_wrong_layer_of_cardinality_one_would_have_passed_without_the_second_group():
    # Why LAYERS has cardinality 2: with 1 the untransposed layer is right.
    x = torch.randn(3, 8, 5, 4)
    for radix, cardinality, same in ((2, 1, True), (4, 1, True), (1, 2, True), (2, 2, False)):
        torch.manual_seed(0)
        right = attending.SplitAttention(8, radix, cardinality).eval()
        wrong = splat.layer_with(splat.untransposed)(8, radix, cardinality).eval()
        wrong.load_state_dict(right.state_dict())
        assert torch.equal(wrong(x), right(x)) == same


# Against others ------------------------------------------------------------------------------------------------


@each_combination
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_layer_is_timms(radix, cardinality, mode):
    torch.manual_seed(0)
    ours = attending.SplitAttention(64, radix, cardinality).double()
    theirs = timm.layers.SplitAttn(64, radix=radix, groups=cardinality, norm_layer=nn.BatchNorm2d).double()
    attending.fill(ours)
    names = {"bn0": "norm", "bn1": "fc_norm"}
    theirs.load_state_dict({key: ours.state_dict()[_ours(key, names)] for key in theirs.state_dict()})
    x = torch.randn(3, 64, 5, 7, dtype=torch.float64)
    getattr(ours, mode)(), getattr(theirs, mode)()
    torch.testing.assert_close(ours(x), theirs(x))
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[_ours(key, names)], value)


def _ours(key, names):
    module, _, kind = key.partition(".")
    return f"{names.get(module, module)}.{kind}"


@each_combination
def test_the_rsoftmax_is_a_loop_over_single_numbers(radix, cardinality):
    logits = torch.randn(2, radix * cardinality * 3, dtype=torch.float64)
    expected = exposing._looping(logits, radix, cardinality)
    torch.testing.assert_close(gating.rsoftmax(logits, radix, cardinality), expected)
    torch.testing.assert_close(exposing._by_groups(logits, radix, cardinality), expected)


def test_inner_width_is_that_of_all_published_nets():
    widths = {}
    for name in ("resnest50d", "resnest50d_4s2x40d", "resnest50d_1s4x24d"):
        with torch.device("meta"):
            net = build(name)
        for middle in experiments._middles(net):
            layer = middle.attention
            widths[layer.conv.in_channels, layer.radix] = layer.fc1.out_channels
    assert len(widths) == 12
    assert {key: gating.inner_width(*key) for key in widths} == widths


def test_one_split_without_its_normalisation_is_squeeze_and_excitation():
    layer = attending.SplitAttention(512, 1, 1).double().eval()
    layer.fc_norm = nn.Identity()
    gate = SqueezeExciteGate(512, SqueezeExcite(reduction=4)).double()
    gate.load_state_dict({key: value for key, value in layer.state_dict().items() if key.startswith("fc")})
    x = torch.randn(2, 512, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x), gate(layer.norm(layer.conv(x)).relu()))


def test_equal_logits_make_the_mean_of_the_splits():
    layer = attending.SplitAttention(8, 4, 2).eval()
    nn.init.zeros_(layer.fc2.weight)
    nn.init.constant_(layer.fc2.bias, 3.0)
    x = torch.randn(2, 8, 5, 3)
    parts = splitting.splits(layer.norm(layer.conv(x)).relu(), 4, 2)
    torch.testing.assert_close(layer(x), parts.mean(1))


# The whole net ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["resnest50d", "resnest50d_4s2x40d"])
def test_a_net_of_the_layer_is_the_published_one(architecture):
    net = splat.net_of(attending.SplitAttention, architecture)
    with torch.device("meta"):
        library = build(architecture)
    assert set(net.state_dict()) == set(library.state_dict())
    file = golden_checkpoint(architecture, "resnest")
    net.load_state_dict({name: file[key] for key, name in rename(file, "resnest").items()}, strict=True)
    assert first_difference(net, architecture, state=None).ok


def test_without_the_transpose_one_published_net_stays_right_and_the_other_departs_in_its_first_block():
    layer = splat.layer_with(splat.untransposed)
    assert first_difference(splat.net_of(layer, "resnest50d"), "resnest50d").ok
    found = first_difference(splat.net_of(layer, "resnest50d_4s2x40d"), "resnest50d_4s2x40d")
    assert found.first.point == "stages.0.0.middle"


def test_two_layers_of_the_same_shapes_start_from_the_same_numbers():
    one, other = (splat.net_of(layer) for layer in (attending.SplitAttention, splat.layer_with(splat.untransposed)))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert all(middle.attention.cardinality == middle.attention.radix == 2 for middle in experiments._middles(one))
    x = torch.randn(4, 16, 6, 5)
    right, wrong = (next(experiments._middles(net)).eval()(x) for net in (one, other))
    assert right.shape == wrong.shape and not torch.allclose(right, wrong)


def test_both_layers_learn():
    for layer in (attending.SplitAttention, splat.layer_with(splat.untransposed)):
        learning = learn_toys(splat.net_of(layer, num_classes=6), steps=150, rate=1e-2)
        assert sum(learning.losses[-10:]) < 0.8 * sum(learning.losses[:10])


# What the figures say --------------------------------------------------------------------------------------------


@each_combination
def test_every_gate_lies_under_its_own_logit_and_without_the_transpose_only_some_do(radix, cardinality):
    right = experiments.meant(radix, cardinality)
    assert experiments.owners(gating.rsoftmax, radix, cardinality) == right
    # Independently: the number of a logit, cut as fc2's groups lie and put together as the splits lie.
    count = radix * cardinality * 2
    assert right == torch.arange(count).view(cardinality, radix, 2).transpose(0, 1).flatten().tolist()
    own = experiments.owners(splat.untransposed, radix, cardinality)
    assert (own == right) == (radix == 1 or cardinality == 1)
    missed = sum(one != other for one, other in zip(own, right, strict=True))
    alt = splat.draw_layout(radix, cardinality, splat.untransposed).alt
    assert f"{count - missed} of {count} gates lie under the logit" in alt
    assert ("crossed out" in alt) == bool(missed)


def test_the_figure_of_the_layer_tells_the_shapes_that_came_out():
    alt = splat.draw_layer(64, 2, 1, 56).alt
    for shape in ("128×56×56", "2×64×56×56", "fc2 128", "r-softmax 2×64", "sum of splits 64×56×56"):
        assert shape in alt
    assert "sigmoid 1×16" in splat.draw_layer(16, 1, 1, 8).alt


def test_the_three_by_three_costs_the_same_at_every_radix_and_the_gates_hardly_any_arithmetic():
    plain = experiments.cost(nn.Sequential(nn.Conv2d(64, 64, 3, padding=1, bias=False)), 64, 56)["0"]
    assert plain == experiments.Cost(9 * 64 * 64, 9 * 64 * 64 * 56 * 56)
    for radix in (1, 2, 4):
        parts = experiments.cost(attending.SplitAttention(64, radix, 1), 64, 56)
        assert parts["conv"] == plain
        hidden = gating.inner_width(64, radix)
        assert parts["fc1"] == experiments.Cost(64 * hidden + hidden, 64 * hidden)
        assert parts["fc2"] == experiments.Cost(hidden * 64 * radix + 64 * radix, hidden * 64 * radix)
        assert parts["fc1"].macs + parts["fc2"].macs < plain.macs / 1000
    table = str(splat.cost_table(attending.SplitAttention, stages=((64, 56),), radices=(2,)))
    assert "36,864" in table and "+ 6,304 (17%)" in table


@pytest.fixture(scope="module")
def gates():
    torch.manual_seed(0)
    nets = {"trained": create_model("toy_resnest", pretrained=True), "untrained": create_model("toy_resnest")}
    return {name: splat.toy_gates(net) for name, net in nets.items()}


def test_the_gates_are_those_of_the_net_and_sum_to_one(gates):
    assert list(gates["trained"]) == ["0.0", "0.1", "1.0", "1.1", "2.0", "2.1", "3.0"]
    for found in gates["trained"].values():
        torch.testing.assert_close(found.values.sum(1), torch.ones_like(found.values[:, 0]))
        assert found.by_class.shape[0] == 20


def test_training_made_the_gates_follow_the_classes(gates):
    trained, untrained = ([one.told_by_class.mean() for one in gates[name].values()] for name in gates)
    assert all(after > 2 * before for after, before in zip(trained, untrained, strict=True))
    labels = gates["trained"]["2.1"].labels
    by_lot = experiments.Gates("2.1", gates["trained"]["2.1"].values, labels[torch.randperm(len(labels))])
    assert by_lot.told_by_class.mean() < 0.1  # 19 / 399 is what chance explains


def test_the_figure_of_the_gates_shows_the_mean_of_each_class(gates):
    found = gates["trained"]["2.1"]
    told = found.told_by_class[0].argmax()
    rows = [found.values[found.labels == label, 0, told].mean().item() for label in range(20)]
    alt = splat.draw_gates(gates, "trained", "2.1").alt
    assert f"it goes from {min(rows):.2f} (" in alt and f" to {max(rows):.2f} (" in alt
    assert "labels drawn by lot 5%" in alt
