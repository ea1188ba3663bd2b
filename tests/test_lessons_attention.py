"""The exercises of notebook 09, its museum and its experiments: what is accepted and refused, and what catches what."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from answers import judging
from netwright import notebooks
from netwright.explain import scores
from netwright.lessons import attention
from netwright.lessons.attention import (
    crediting,
    experiments,
    explaining,
    gating,
    grading,
    guards,
    keys,
    knocking,
    looking,
    museum,
    pictures,
    touring,
)
from netwright.lessons.splat.gating import rsoftmax, untransposed
from netwright.nets.halonet import halo_attention
from netwright.probing.capture import hooks_in, probe
from netwright.toys import ToyWorld
from netwright.views.gates import parts as gates_parts
from netwright.views.gates.gates import Gates
from netwright.views.halo.explorer import HaloExplorer
from netwright.views.halo.tables import RelativeTables
from netwright.views.ledger.ledger import Ledger
from netwright.views.view import CheckFailed

CHECKS = {each.id.removeprefix("attention."): each for each in attention.CHECKS}


passes, refused = judging("attention")


# Correct answers, written otherwise -------------------------------------------------------------------------------


def masses_in_loops(weights, block_size, halo):
    heads, rows, columns, queries, window, _ = weights.shape
    out = {name: torch.zeros(heads, rows, columns, queries) for name in ("padding", "own", "halo")}
    for r in range(rows):
        for c in range(columns):
            for u in range(window):
                for v in range(window):
                    y, x = r * block_size + u - halo, c * block_size + v - halo
                    if not (0 <= y < rows * block_size and 0 <= x < columns * block_size):
                        place = "padding"
                    elif y // block_size == r and x // block_size == c:
                        place = "own"
                    else:
                        place = "halo"
                    out[place][:, r, c] += weights[:, r, c, :, u, v]
    return out


def masses_by_unfold(weights, block_size, halo):
    _heads, rows, columns, _queries, window, _ = weights.shape
    ones = torch.ones(1, 1, rows * block_size, columns * block_size)
    inside = F.unfold(ones, window, padding=halo, stride=block_size)[0].T.reshape(rows, columns, 1, window, window)
    own = F.pad(torch.ones(block_size, block_size), (halo,) * 4)
    return {
        "own": torch.einsum("nrcquv,uv->nrcq", weights, own),
        "halo": (weights * inside * (1 - own)).sum((4, 5)),
        "padding": (weights * (1 - inside)).sum((4, 5)),
    }


def masses_in_place(weights, block_size, halo):
    weights = weights.clone()
    mine = weights[..., halo : halo + block_size, halo : halo + block_size].sum((-1, -2))
    weights[:, 0, :, :, :halo] = 0
    weights[:, :, 0, :, :, :halo] = 0
    rows, columns, window = weights.shape[1], weights.shape[2], weights.shape[-1]
    for r in range(rows):
        weights[:, r, :, :, max(0, rows * block_size - r * block_size + halo) : window] = 0
        weights[:, r, :, :, : max(0, halo - r * block_size)] = 0
    for c in range(columns):
        weights[:, :, c, :, :, max(0, columns * block_size - c * block_size + halo) : window] = 0
        weights[:, :, c, :, :, : max(0, halo - c * block_size)] = 0
    seen = weights.sum((-1, -2))
    return {"own": mine, "halo": seen - mine, "padding": 1 - seen}


def keys_by_logarithms(weights, inside):
    kept = weights.where(inside, 0.0)
    total = kept.sum(-1)
    inner = torch.special.entr(kept).sum(-1)
    # H of p / total is H(p) / total + log total
    safe = total.clamp(min=1e-300)
    return torch.where(total > 0, (inner / safe + safe.log()).exp(), 0.0)


def keys_one_at_a_time(weights, inside):
    inside = inside.expand_as(weights)
    flat, where = weights.reshape(-1, weights.shape[-1]), inside.reshape(-1, weights.shape[-1])
    out = []
    for row, seen in zip(flat, where, strict=True):
        p = [float(w) for w, s in zip(row, seen, strict=True) if s and w > 0]
        out.append(math.exp(-sum(w / sum(p) * math.log(w / sum(p)) for w in p)) if p else 0.0)
    return torch.tensor(out).reshape(weights.shape[:-1])


def keys_as_a_product(weights, inside):
    p = weights * inside.to(weights.dtype)
    p = p / p.sum(-1, keepdim=True).clamp(min=1e-300)
    return torch.where(p > 0, p ** (-p), 1.0).prod(-1) * (p.sum(-1) > 0.5)


def ledger_through_the_layers(middle, shortcut, expand, classifier, target, cardinality):
    def branch(x):
        return expand(x)

    nothing = branch(torch.zeros_like(middle))
    mask = ((branch(middle) + shortcut) > 0).to(middle.dtype)

    def share(x):
        return (mask * x).mean((2, 3)) @ classifier.weight[target]

    width = middle.shape[1] // cardinality
    groups = []
    for g in range(cardinality):
        only = torch.zeros_like(middle)
        only[:, g * width : (g + 1) * width] = middle[:, g * width : (g + 1) * width]
        groups.append(share(branch(only) - nothing))
    return {
        "bias": classifier.bias[target],
        "shortcut": share(shortcut),
        "shift": share(nothing),
        "groups": torch.stack(groups, 1),
    }


def ledger_by_gradient(middle, shortcut, expand, classifier, target, cardinality):
    u = middle.detach().clone().requires_grad_()
    x = shortcut.detach().clone().requires_grad_()
    logits = classifier((expand(u) + x).relu().mean((2, 3)))[:, target]
    by_u, by_x = torch.autograd.grad(logits.sum(), (u, x))
    groups = (by_u * u).sum((2, 3)).unflatten(1, (cardinality, -1)).sum(2)
    skip = (by_x * x).sum((1, 2, 3))
    bias = classifier.bias[target].detach()
    return {"groups": groups, "shortcut": skip, "bias": float(bias), "shift": logits - groups.sum(1) - skip - bias}


def ledger_in_loops(middle, shortcut, expand, classifier, target, cardinality):
    scale = expand.norm.weight * torch.rsqrt(expand.norm.running_var + expand.norm.eps)
    shift = expand.norm.bias - scale * expand.norm.running_mean
    batch, _channels, height, width = shortcut.shape
    out = {"shortcut": torch.zeros(batch), "shift": torch.zeros(batch), "groups": torch.zeros(batch, cardinality)}
    size = middle.shape[1] // cardinality
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                each = expand.conv.weight[:, :, 0, 0] * middle[b, :, y, x] * scale[:, None]
                open_ = each.sum(1) + shift + shortcut[b, :, y, x] > 0
                w = classifier.weight[target] * open_ / (height * width)
                out["shortcut"][b] += w @ shortcut[b, :, y, x]
                out["shift"][b] += w @ shift
                for g in range(cardinality):
                    out["groups"][b, g] += w @ each[:, g * size : (g + 1) * size].sum(1)
    return out | {"bias": classifier.bias[target].expand(batch)}


def knock_out_by_masks(tail, middle, others, cardinality):
    width = middle.shape[0] // cardinality
    group = torch.arange(middle.shape[0]) // width
    gone = (group[None] == torch.arange(cardinality)[:, None])[..., None, None]
    mean = others.transpose(0, 1).reshape(middle.shape[0], -1).mean(1)[None, :, None, None]
    return tail(torch.where(gone, mean, middle[None])) - tail(middle[None])


def knock_out_by_views(tail, middle, others, cardinality):
    mean = others.double().mean(dim=(0, 2, 3)).to(middle).view(cardinality, -1, 1, 1)
    variants = middle.view(1, cardinality, -1, *middle.shape[1:]).repeat(cardinality, 1, 1, 1, 1)
    for g in range(cardinality):
        variants[g, g] = mean[g]
    batch = torch.cat([middle[None], variants.flatten(1, 2)])
    first, *rest = tail(batch)
    return torch.stack(rest) - first


def knock_out_by_adding(tail, middle, others, cardinality):
    change = others.mean((0, 2, 3))[:, None, None] - middle
    eye = torch.eye(cardinality).repeat_interleave(len(middle) // cardinality, 1)[..., None, None]
    logits = tail(torch.cat([middle + eye * change, middle[None]]))
    return logits[:cardinality] - logits[cardinality:]


def split_by_subtraction(splits, gates):
    out = (splits * gates[..., None, None]).sum(1)
    fixed = splits.mean(1)
    rest = out - fixed
    share = torch.linalg.vector_norm(rest, dim=(1, 2, 3)) / torch.linalg.vector_norm(out, dim=(1, 2, 3))
    return {"share": share, "adaptive": rest, "fixed": fixed}


def split_by_deviation(splits, gates):
    d = gates[:, 0] - 0.5
    adaptive = torch.einsum("bc,bchw->bchw", d, splits[:, 0] - splits[:, 1])
    fixed = 0.5 * splits.sum(1)
    share = (adaptive.square().sum((1, 2, 3)) / (adaptive + fixed).square().sum((1, 2, 3))).sqrt()
    return {"fixed": fixed, "adaptive": adaptive, "share": share}


def split_in_loops(splits, gates):
    fixed, adaptive, share = torch.zeros_like(splits[:, 0]), torch.zeros_like(splits[:, 0]), []
    for b in range(len(splits)):
        for c in range(splits.shape[2]):
            fixed[b, c] = (splits[b, 0, c] + splits[b, 1, c]) / 2
            adaptive[b, c] = (gates[b, 0, c] - gates[b, 1, c]) / 2 * (splits[b, 0, c] - splits[b, 1, c])
        share.append(adaptive[b].norm().item() / (fixed[b] + adaptive[b]).norm().item())
    return {"fixed": fixed, "adaptive": adaptive, "share": torch.tensor(share)}


def pointing_pixel_by_pixel(maps, masks):
    found = [scores.pointing(heat.numpy(), mask.numpy()) for heat, mask in zip(maps, masks, strict=True)]
    n, p, z = len(found), float(np.mean(found)), 1.96
    spread = z * z / n
    middle, half = p + spread / 2, math.sqrt(spread * (p * (1 - p) + spread / 4))
    return p, (middle - half) / (1 + spread), (middle + half) / (1 + spread)


def pointing_enlarged(maps, masks):
    large = maps.repeat_interleave(masks.shape[1] // maps.shape[1], 1)
    large = large.repeat_interleave(masks.shape[2] // maps.shape[2], 2).flatten(1)
    top = large.eq(large.max(1, keepdim=True).values)
    p = (top & masks.flatten(1)).sum(1).div(top.sum(1)).mean()
    n, z = torch.tensor(float(len(maps))), 1.96
    half = z / (1 + z * z / n) * torch.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    return [p, centre - half, centre + half]


def pointing_by_roots(maps, masks):
    p = pointing_enlarged(maps, masks)[0].item()
    n, z = len(maps), 1.96
    low, high = sorted(np.roots([n + z * z, -(2 * n * p + z * z), n * p * p]).real)  # (p - x)² n = z² x (1 - x)
    return p, low, high


RIGHT = [
    ("masses", masses_in_loops),
    ("masses", masses_by_unfold),
    ("masses", masses_in_place),
    ("effective_keys", keys_by_logarithms),
    ("effective_keys", keys_one_at_a_time),
    ("effective_keys", keys_as_a_product),
    ("ledger", ledger_through_the_layers),
    ("ledger", ledger_by_gradient),
    ("ledger", ledger_in_loops),
    ("knock_out", knock_out_by_masks),
    ("knock_out", knock_out_by_views),
    ("knock_out", knock_out_by_adding),
    ("split", split_by_subtraction),
    ("split", split_by_deviation),
    ("split", split_in_loops),
    ("pointing", pointing_pixel_by_pixel),
    ("pointing", pointing_enlarged),
    ("pointing", pointing_by_roots),
]


@pytest.mark.parametrize(("name", "theirs"), RIGHT, ids=lambda value: getattr(value, "__name__", value))
def test_a_right_answer_passes_however_it_is_written(name, theirs):
    assert passes(name, theirs)


# Wrong answers that are in no catalogue ---------------------------------------------------------------------------


def masses_of_square_maps(weights, block_size, halo):
    found = looking.masses(weights, block_size, halo)
    return found if weights.shape[1] == weights.shape[2] else looking.masses(weights.flip(4), block_size, halo)


def masses_of_one_head(weights, block_size, halo):
    return {name: each[:1].expand(each.shape) for name, each in looking.masses(weights, block_size, halo).items()}


def masses_with_a_threshold(weights, block_size, halo):
    return looking.masses(weights * (weights > 1e-3), block_size, halo)


def masses_meant_over_queries(weights, block_size, halo):
    found = looking.masses(weights, block_size, halo)
    return {name: each.mean(-1, keepdim=True).expand(each.shape) for name, each in found.items()}


def masses_overwritten(weights, block_size, halo):
    found = looking.masses(weights, block_size, halo)
    weights *= 0.5
    return found


def keys_of_the_first_mask(weights, inside):
    return keys.effective_keys(weights, inside.reshape(-1, inside.shape[-1])[0])


def keys_rounded(weights, inside):
    return keys.effective_keys(weights, inside).round()


def keys_in_float32(weights, inside):
    return keys.effective_keys(weights.float(), inside).double()


def keys_meant_over_heads(weights, inside):
    found = keys.effective_keys(weights, inside)
    return found.mean(0, keepdim=True).expand(found.shape) if found.ndim else found


def ledger_in_training_mode(middle, shortcut, expand, classifier, target, cardinality):
    expand.train()
    found = ledger_through_the_layers(middle, shortcut, expand, classifier, target, cardinality)
    expand.eval()
    return found


def ledger_of_the_whole_batch(*arguments):
    found = crediting.ledger(*arguments)
    return found | {"groups": found["groups"].mean(0, keepdim=True).expand(found["groups"].shape)}


def ledger_with_shift_and_shortcut_exchanged(*arguments):
    found = crediting.ledger(*arguments)
    return found | {"shift": found["shortcut"], "shortcut": found["shift"]}


def ledger_by_absolute_weights(middle, shortcut, expand, classifier, target, cardinality):
    other = nn.Linear(*classifier.weight.shape[::-1])
    other.load_state_dict({"weight": classifier.weight.abs(), "bias": classifier.bias})
    return crediting.ledger(middle, shortcut, expand, other, target, cardinality)


def knock_out_of_a_batch_that_counts_itself(tail, middle, others, cardinality):
    return knocking.knock_out(tail, middle, torch.cat([others, middle[None]]), cardinality)


def knock_out_of_two_groups(tail, middle, others, cardinality):
    return knocking.knock_out(tail, middle, others, cardinality).roll(1, 0)


def knock_out_relative(tail, middle, others, cardinality):
    return knocking.knock_out(tail, middle, others, cardinality) / tail(middle[None])


def split_detached_in_float32(splits, gates):
    return {name: each.double() for name, each in gating.split(splits.float(), gates.float()).items()}


def split_with_means_over_space(splits, gates):
    found = gating.split(splits, gates)
    return found | {"adaptive": found["adaptive"].mean((2, 3), keepdim=True).expand(found["adaptive"].shape)}


def split_by_sigmoids(splits, gates):
    return gating.split(splits, gates.sigmoid())


def pointing_at_sharp_maps(maps, masks):
    return grading.pointing(maps + 1e-6 * torch.rand(maps.shape), masks)


def pointing_at_turned_masks(maps, masks):
    return grading.pointing(maps, masks.flip(1))


def pointing_clipped(maps, masks):
    return grading.pointing(maps.clamp(max=0.5), masks)


def pointing_with_low_and_high_exchanged(maps, masks):
    p, low, high = grading.pointing(maps, masks)
    return p, high, low


def pointing_with_n_minus_one(maps, masks):
    p, low, high = grading.pointing(maps, masks)
    n = len(maps)
    _, low, high = grading._with_interval(p, n - 1)
    return p, low, high


WRONG = [
    ("masses", masses_of_square_maps),
    ("masses", masses_of_one_head),
    ("masses", masses_with_a_threshold),
    ("masses", masses_meant_over_queries),
    ("masses", masses_overwritten),
    ("effective_keys", keys_of_the_first_mask),
    ("effective_keys", keys_rounded),
    ("effective_keys", keys_in_float32),
    ("effective_keys", keys_meant_over_heads),
    ("ledger", ledger_in_training_mode),
    ("ledger", ledger_of_the_whole_batch),
    ("ledger", ledger_with_shift_and_shortcut_exchanged),
    ("ledger", ledger_by_absolute_weights),
    ("knock_out", knock_out_of_a_batch_that_counts_itself),
    ("knock_out", knock_out_of_two_groups),
    ("knock_out", knock_out_relative),
    ("split", split_detached_in_float32),
    ("split", split_with_means_over_space),
    ("split", split_by_sigmoids),
    ("pointing", pointing_at_sharp_maps),
    ("pointing", pointing_at_turned_masks),
    ("pointing", pointing_clipped),
    ("pointing", pointing_with_low_and_high_exchanged),
    ("pointing", pointing_with_n_minus_one),
]


@pytest.mark.parametrize(("name", "theirs"), WRONG, ids=lambda value: getattr(value, "__name__", value))
def test_a_wrong_answer_that_is_in_no_catalogue_fails(name, theirs):
    assert refused(name, theirs)


def test_the_lists_above_leave_no_exercise_out():
    right, wrong = ({name for name, _ in some} for some in (RIGHT, WRONG))
    assert right == wrong == set(CHECKS)


def test_every_exercise_knows_eight_mistakes_and_more():
    assert all(len(each.mistakes) >= 8 for each in attention.CHECKS)


# Who else says that ours is right ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def halonet():
    return experiments.toy_net("toy_halonet")


def test_masses_and_effective_keys_are_those_of_the_query_explorer(halonet):
    explorer = HaloExplorer(experiments.toy_probe(halonet, 3))
    for name, layer in explorer.layers.items():
        weights = explorer.attended(name).weights.flatten(3, 4)
        found = looking.masses(weights, layer.block_size, layer.halo)
        theirs = torch.from_numpy(explorer.data[name]["masses"])
        for place, wanted in zip(("own", "halo", "padding"), theirs.unbind(-1), strict=True):
            side = layer.side
            as_map = found[place].unflatten(3, (side, side)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
            torch.testing.assert_close(as_map, wanted, rtol=1e-4, atol=1e-5)
        seen = museum.keyhole(museum.halo_layers(halonet)[name], experiments.toy_probe(halonet, 3)[f">{name}"])
        count = keys.effective_keys(seen.flatten(-2), torch.tensor(True))
        wanted = torch.from_numpy(explorer.data[name]["statistics"]["effective keys"])
        torch.testing.assert_close(count, wanted, rtol=1e-3, atol=1e-3)


def test_the_ledger_is_that_of_the_view_and_sums_to_the_logit():
    net = experiments.toy_net("toy_resnext")
    looked = experiments.toy_probe(net, 5)
    block, name = net.stages[-1][-1], "stages.3.0"
    target = looked.target()
    places = looked.look([f"{name}.middle", f"{name}.shortcut"])
    found = crediting.ledger(*places.values(), block.expand, net.classifier, target, 8)
    total = found["bias"] + found["shortcut"] + found["shift"] + found["groups"].sum(1)
    torch.testing.assert_close(total[0], looked.logits[target], rtol=1e-4, atol=1e-4)
    view = Ledger(looked)
    torch.testing.assert_close(
        found["groups"][0].detach(), torch.from_numpy(view.data["ways"][0]["terms"][0]), rtol=1e-3, atol=1e-4
    )


def test_the_parts_of_split_attention_are_those_of_the_view():
    splits, gates = torch.rand(3, 2, 4, 5, 2), torch.randn(3, 2, 4).softmax(1)
    fixed, added = gates_parts.fixed_and_added(splits, gates)
    found = gating.split(splits, gates)
    torch.testing.assert_close(found["fixed"], fixed)
    torch.testing.assert_close(found["adaptive"], added)
    torch.testing.assert_close(found["share"], gates_parts.share_added(splits, gates))


def test_the_pointing_game_is_that_of_the_league():
    maps, masks = torch.randn(30, 4, 4).mul(2).round(), torch.randn(30, 16, 16) > 0.5
    hits = [scores.pointing(heat.numpy(), mask.numpy()) for heat, mask in zip(maps, masks, strict=True)]
    league = scores.hit_rate(np.array(hits))
    assert grading.pointing(maps, masks) == pytest.approx((league.value, league.low, league.high), abs=1e-4)


# The museum -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def halls():
    return museum.halo_nets()


@pytest.fixture(scope="module")
def wings():
    return museum.split_nets()


def by_bug(nets, names):
    return {names[letter]: net for letter, net in nets.items()}


@pytest.mark.parametrize("which", ["halls", "wings"])
def test_no_superficial_test_tells_an_exhibit_from_the_right_net(which, request):
    nets = request.getfixturevalue(which)
    inputs, _ = experiments.toy_inputs(experiments.toy_net("toy_halonet"), 8)
    facts = set()
    for net in nets.values():
        with torch.inference_mode():
            logits = net(inputs)
        named = tuple((name, tuple(p.shape)) for name, p in net.state_dict().items())
        weights = tuple(p.detach().double().sum().item() for p in net.parameters())
        assert logits.isfinite().all()
        facts.add((named, weights, tuple(logits.shape), sum(p.numel() for p in net.parameters())))
    assert len(facts) == 1


def test_the_query_explorer_catches_every_bug_in_halo_attention_and_accuses_nobody_else(halls):
    for bug, net in by_bug(halls, museum.HALLS).items():
        view = HaloExplorer(experiments.toy_probe(net, 1))
        if bug == museum.SOUND:
            assert "rebuilds 2 halo layers" in view.check()
        else:
            with pytest.raises(CheckFailed, match="rebuilds 2 halo layers"):
                view.check()


def test_what_is_seen_tells_the_bugs_apart(halls):
    layer = "stages.1.0.middle.attention"
    nets = by_bug(halls, museum.HALLS)
    seen = {bug: touring.through_the_keyhole(net, layer) for bug, net in nets.items()}
    tables = {bug: touring.verdict(RelativeTables(experiments.toy_probe(net, 0), layer)) for bug, net in nets.items()}
    sound = seen[museum.SOUND]
    assert seen["inverted mask"].padding > 0.999 and seen["inverted mask"].keys < 0.01
    assert all(0.2 < each.padding < 0.45 for bug, each in seen.items() if bug != "inverted mask")
    assert seen["unscaled softmax"].keys < 0.95 * sound.keys
    assert abs(seen["wrong origin"].keys - sound.keys) < 0.03 * sound.keys  # its statistics look right …
    assert tables["wrong origin"].startswith("FAILS") and tables["unscaled softmax"] == tables[museum.SOUND] == "holds"


def test_the_gates_view_catches_the_missing_transpose_and_accuses_nobody_else(wings):
    picture, _ = experiments.toy_inputs(experiments.toy_net("toy_resnest"), 1)
    for bug, net in by_bug(wings, museum.WINGS).items():
        view = Gates(probe(net, picture))
        if bug == museum.SOUND:
            view.check()
        else:
            with pytest.raises(CheckFailed, match="rebuild every layer's output"):
                view.check()


def test_the_gates_in_use_are_the_layers_own_and_the_exhibits_do_not_sum_to_one(wings):
    picture, _ = experiments.toy_inputs(experiments.toy_net("toy_resnest"), 2)
    for bug, net in by_bug(wings, museum.WINGS).items():
        used = []
        touring.gates_in_use(net, picture, used.append)
        assert len(used) == 3 and hooks_in(net) == 0
        sums = torch.cat([gates.sum(1).flatten() for gates in used])
        assert (sums - 1).abs().max() < 1e-5 if bug == museum.SOUND else (sums - 1).abs().max() > 0.2


def test_one_cardinal_group_hides_the_missing_transpose():
    logits = torch.randn(2, 12)
    torch.testing.assert_close(untransposed(logits, 2, 1), rsoftmax(logits, 2, 1))


GUARDED = {
    guards.padding_follows_geometry: museum.BUGS,
    guards.a_query_finds_itself: museum.BUGS,
    guards.content_is_divided_by_the_root: museum.BUGS,
}


@pytest.mark.parametrize("guard", GUARDED, ids=lambda guard: guard.__name__)
def test_a_guard_of_halo_attention_passes_the_right_layer_and_catches_its_bug(guard):
    guard(halo_attention)
    guard(museum.attention_with())
    own = next(name for name, plaque in museum.PLAQUES.items() if plaque.guard is guard)
    with pytest.raises(AssertionError):
        guard(museum.BUGS[own])


def test_every_bug_of_halo_attention_has_a_guard_that_only_it_and_what_blinds_everything_fails():
    def fails(guard, attend):
        try:
            guard(attend)
        except AssertionError:
            return True
        return False

    found = {bug: [guard.__name__ for guard in GUARDED if fails(guard, attend)] for bug, attend in museum.BUGS.items()}
    assert found == {
        "inverted mask": ["padding_follows_geometry", "a_query_finds_itself"],
        "wrong origin": ["a_query_finds_itself"],
        "unscaled softmax": ["content_is_divided_by_the_root"],
    }


def test_a_layer_that_hides_its_padding_rightly_is_not_accused():
    masked = museum.attention_with(masked="padding")
    assert [guard(masked) for guard in GUARDED] == [None] * len(GUARDED)  # or they would have raised


@pytest.mark.parametrize("name", museum.PLAQUES)
def test_a_plaque_shows_what_catches_its_bug(name):
    plaque = museum.PLAQUES[name]
    assert "Nothing" not in plaque.caught and plaque.caught in str(plaque)
    shown = plaque._repr_mimebundle_()["text/html"]
    assert f"def {plaque.guard.__name__}" in shown and f'<a href="{plaque.url}">' in shown
    assert re.fullmatch(r"https://github\.com/[\w-]+/[\w-]+/(pull|issues)/\d+", plaque.url)


def test_every_exhibit_has_a_plaque():
    exhibits = {*museum.HALLS.values(), *museum.WINGS.values()} - {museum.SOUND}
    assert exhibits | {"rescaled maps"} == set(museum.PLAQUES)


def test_attention_without_a_change_is_the_published_one():
    torch.manual_seed(0)
    sizes = {"heads": 2, "block_size": 4, "halo": 3, "key_dim": 3, "value_dim": 5}
    key_value, tables = torch.randn(2, 16, 8, 12), [torch.randn(19, 3) for _ in range(2)]
    for query in (torch.randn(2, 6, 8, 12), torch.randn(2, 6, 4, 6)):
        found = museum.attention_with()(query, key_value, *tables, **sizes)
        torch.testing.assert_close(found, halo_attention(query, key_value, *tables, **sizes), rtol=1e-4, atol=1e-5)


def test_the_keyhole_sees_the_weights_that_the_layer_has(halonet):
    looked = experiments.toy_probe(halonet, 2)
    explorer = HaloExplorer(looked)
    name = explorer.layer
    layer, made = museum.halo_layers(halonet)[name], looked[name]
    weights = museum.keyhole(layer, looked[f">{name}"])  # (heads, y, x, height, width)
    value = explorer.layers[name].value  # (heads, height, width, value_dim)
    out = torch.einsum("nyxhw,nhwd->ndyx", weights, value).flatten(0, 1)
    torch.testing.assert_close(out, made[0], rtol=1e-3, atol=1e-4)
    padding = torch.from_numpy(explorer.data[name]["masses"][..., 2])
    torch.testing.assert_close(1 - weights.sum((-1, -2)), padding, rtol=1e-3, atol=1e-4)


def test_stretched_maps_make_noise_look_like_evidence():
    maps = touring.museum_maps()
    shared, own = museum.on_one_scale(maps), museum.stretched(maps)
    assert np.ptp(shared[1]) < 0.02 * np.ptp(shared[0]) + 0.02 and np.ptp(own[1]) == pytest.approx(1)
    assert np.ptp(own[2]) == pytest.approx(1) and np.ptp(shared[2]) < 1e-3
    with pytest.raises(AssertionError, match="as strong"):
        guards.equal_numbers_look_equal(museum.stretched)
    with pytest.raises(AssertionError, match="0 has two colours"):
        guards.equal_numbers_look_equal(lambda maps: maps - maps.mean((-2, -1), keepdims=True))


# Do they matter? --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def effects():
    return {(one.net, one.change): one for one in experiments.do_they_matter(12)}


def test_every_change_moves_logits_and_a_change_to_nothing_moves_none(effects, halonet):
    assert all(one.moved.low > 0.001 and one.twin.moved.low > 0.001 for one in effects.values())
    inputs, _ = experiments.toy_inputs(halonet, 4)
    nothing = experiments._effect(halonet, inputs, experiments._attention())
    assert nothing[0].value < 1e-4 and nothing[1].value == 0


def test_logits_of_random_weights_move_more_without_a_halo_than_trained_ones_do(effects):
    one = effects["toy_halonet", "no halo"]
    assert one.twin.moved.low > one.moved.high


def test_a_net_is_left_as_it_was(halonet):
    layers = museum.halo_layers(halonet).values()
    before = [layer.attend for layer in layers]
    inputs, _ = experiments.toy_inputs(halonet, 2)
    with pytest.raises(RuntimeError), experiments.attending(halonet, None):
        raise RuntimeError
    experiments._mute(halonet, inputs)
    assert before == [layer.attend for layer in layers] and not halonet.training and hooks_in(halonet) == 0


def test_one_group_out_is_what_the_ledger_view_finds_by_running_again():
    net = experiments.toy_net("toy_resnext")
    inputs, _ = experiments.toy_inputs(net, 6)
    found = experiments._one_group(net, inputs)  # (groups, n, classes)
    from netwright.views.ledger.ledger import mean_sources

    probes = [probe(net, one[None]) for one in inputs]
    view = Ledger(probes[2], dataset_mean=mean_sources(probes))
    knocked = view.knocked(0, "dataset")
    torch.testing.assert_close(found[:, 2], knocked, rtol=1e-3, atol=1e-3)
    assert hooks_in(net) == 0


def test_the_twin_has_random_weights_and_measured_normalisations(halonet):
    inputs, _ = experiments.toy_inputs(halonet, 8)
    twin = experiments.random_twin(halonet, inputs)
    assert not twin.training
    assert not torch.equal(twin.stages[1][0].reduce.conv.weight, halonet.stages[1][0].reduce.conv.weight)
    norms = [m for m in twin.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(norm.momentum == 0.1 for norm in norms)
    with torch.no_grad():
        first = twin.stem(inputs)
    assert first.isfinite().all() and first.std() > 0.1


def test_the_tables_have_a_row_for_every_net(halls, effects):
    assert [row[0] for row in touring.superficial(halls, 10).rows] == list(halls)
    assert [row[0] for row in touring.tour(halls).rows] == list(halls)
    assert len(experiments.effects_table(list(effects.values())).rows) == len(experiments.CHANGES)


# What the notebook says in words ---------------------------------------------------------------------------------


def test_two_heads_look_sharply_and_are_not_the_ones_that_count_most(halonet):
    heads = experiments.heads_that_matter(halonet)
    early, late = ([head for head in heads if head.layer.startswith(f"stages.{i}")] for i in (1, 2))
    sharp = [head for head in heads if head.keys < 0.3]
    assert [head.number for head in sharp] == [3, 4] and set(sharp) <= set(late)
    assert min(head.moved.value for head in sharp) > 2 * max(h.moved.value for h in late if h not in sharp)
    most = max(heads, key=lambda head: head.moved.value)
    assert most in early and most.keys > 0.7
    assert sum(head.twin_keys < head.keys for head in heads) >= 8  # random heads are the sharper ones
    explorer = HaloExplorer(experiments.toy_probe(halonet, 5))
    padding = explorer.data["stages.2.0.middle.attention"]["masses"][..., 2].mean((1, 2))
    assert [int(head) for head in np.flatnonzero(padding < 0.15)] == [3, 4]


def test_the_last_block_adds_little_to_the_logit_and_the_largest_group_is_missed_by_less_than_it_adds():
    from netwright.views.ledger.ledger import mean_sources

    net = experiments.toy_net("toy_resnext")
    looked = experiments.toy_probe(net, 5)
    view = Ledger(looked, dataset_mean=mean_sources([experiments.toy_probe(net, i) for i in range(12) if i != 5]))
    terms = view.data["ways"][0]["terms"][0]
    assert terms.sum() < 0.2 * float(looked.logits.max())
    change = view.rerun(0, "dataset")[0].numpy()
    assert 0 < -change[terms.argmax()] < terms.max()


def test_a_trained_halonet_needs_content_more_than_position(effects):
    content, position = (effects["toy_halonet", f"no {what}"] for what in ("content", "position"))
    assert content.moved.low > 3 * position.moved.high


def test_the_pictures_edges_win_the_pointing_game_and_the_class_map_of_four_cells_loses_it():
    grades = explaining.grade(count=24)
    assert (grades[0].method, grades[-1].method) == ("edges", "class_map")
    assert grades[0].trained == grades[0].twin and grades[-1].cells == 4
    assert all(grade.twin[0] < grade.trained[0] for grade in grades[1:])
    assert len(explaining.grades_table(grades).rows) == len(explaining.CONTESTANTS)


def test_a_museum_piece_that_looks_at_nothing_is_still_right_more_often_than_not(halls):
    right = {row[0]: int(row[4].rstrip("%")) for row in touring.superficial(halls, 60).rows}
    where = {bug: letter for letter, bug in museum.HALLS.items()}
    assert right[where["inverted mask"]] > 50
    assert max(right[where["unscaled softmax"]], right[where["wrong origin"]]) >= right[where[museum.SOUND]]


def test_the_figures_say_what_they_show(halonet, effects):
    explorer = HaloExplorer(experiments.toy_probe(halonet, 5))
    alt = pictures.draw_masses(looking.masses, explorer).alt
    assert "where 38% of the window is padding" in alt and "padding gets 0% to 47%" in alt
    assert "no position: " in pictures.draw_effects(list(effects.values())).alt
    assert "logits, coloured in two ways" in pictures.draw_museum_maps(touring.museum_maps()).alt
    alt = pictures.draw_looks([("a", explorer), ("b", explorer)], 1, 1, 0).alt
    assert f"largest weight {explorer.maps(1, 1)[0].max():.3f}" in alt


# The notebook -----------------------------------------------------------------------------------------------------


def test_the_notebook_says_minutes_and_difficulty_as_the_checks_do_in_their_order():
    source = (notebooks.ROOT / "notebooks" / "source" / "09_attention.py").read_text(encoding="utf-8")
    said = re.findall(r"^# \*(\d+) minutes · (\w+) · .*\*$", source, re.MULTILINE)
    asked = re.findall(r"@exercise\(\"attention\.(\w+)\"\)", source)
    assert asked == list(CHECKS)
    assert said == [(str(each.minutes), each.difficulty) for each in CHECKS.values()]


def test_every_prediction_of_the_notebook_is_asked_before_it_is_answered():
    source = (notebooks.ROOT / "notebooks" / "source" / "09_attention.py").read_text(encoding="utf-8")
    asked = {name: source.index(f'"{name}"') for name in re.findall(r"predict\(\s*\"(attention\.\w+)\"", source)}
    answered = {name: source.index(f'reveal("{name}"') for name in re.findall(r"reveal\(\"(attention\.\w+)\"", source)}
    assert asked.keys() == answered.keys() and len(asked) >= 5
    assert all(asked[name] < answered[name] for name in asked)


def test_a_toy_picture_is_the_worlds(halonet):
    sample = ToyWorld("test")[7]
    looked = experiments.toy_probe(halonet, 7)
    assert looked.picture.size == (64, 64)
    np.testing.assert_allclose(np.asarray(looked.picture), sample["image"].permute(1, 2, 0).numpy(), atol=1)
