"""The exercises of notebook 08: what the checks accept and refuse, who else says so, and what the figures show."""

import itertools
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from answers import judging
from netwright import notebooks
from netwright.lessons import features
from netwright.lessons.features import experiments, mapping, nearest, reaching, removing, scaling
from netwright.lessons.trying import fill, numbers

CHECKS = {each.id.removeprefix("features."): each for each in features.CHECKS}


passes, refused = judging("features")


# Correct answers, written otherwise -------------------------------------------------------------------------------


def scale_by_stacking(maps, signed):
    largest = torch.cat([one.reshape(-1) for one in maps]).abs().amax()
    if largest == 0:
        return tuple(torch.full_like(one, 0.5 if signed else 0.0) for one in maps)
    low, high = (-largest, largest) if signed else (0, largest)
    return tuple((one - low) / (high - low) for one in maps)


def scale_in_numpy(maps, signed):
    arrays = [np.asarray(one) for one in maps]
    largest = max(abs(array).max() for array in arrays)
    if not largest:
        return [array + (0.5 if signed else 0) for array in arrays]
    return [(array / largest + 1) / 2 if signed else array / largest for array in arrays]


def scale_in_place(maps, signed):
    out = [one.clone() for one in maps]
    largest = max(one.abs().max().item() for one in out)
    for one in out:
        one.div_(largest if largest > 0 else 1)
        if signed:
            one.mul_(0.5).add_(0.5)
    return out


def map_in_loops(features, weight, bias, target, against=None):
    channels, height, width = features.shape
    out = torch.zeros(height, width)
    for y in range(height):
        for x in range(width):
            for k in range(channels):
                w = weight[target, k] - (weight[against, k] if against is not None else 0)
                out[y, x] += w * features[k, y, x] / (height * width)
    return out


def map_by_einsum(features, weight, bias, target, against=None):
    maps = torch.einsum("ck,khw->chw", weight, features) / features[0].numel()
    return maps[target] if against is None else maps[target] - maps[against]


def map_by_convolution(features, weight, bias, target, against=None):
    logits = F.conv2d(features[None], weight[:, :, None, None])[0] / (features.shape[1] * features.shape[2])
    return logits[target].sub_(logits[against] if against is not None else 0)


def map_by_gradient(features, weight, bias, target, against=None):
    """Grad-CAM without its ReLU, which is the same here."""
    leaf = features.clone().requires_grad_()
    logits = weight @ leaf.mean((1, 2)) + bias
    score = logits[target] if against is None else logits[target] - logits[against]
    (gradient,) = torch.autograd.grad(score, leaf)
    return (gradient.mean((1, 2))[:, None, None] * features).sum(0)


def box_from_behind(layers):
    """Which pixels one unit needs, from the last layer to the first."""

    def first_and_last(unit):
        low = high = unit
        for kernel, stride, padding in reversed(layers):
            low, high = low * stride - padding, high * stride - padding + kernel - 1
        return low, high

    (low, high), (second, _) = first_and_last(0), first_and_last(1)
    return low, high - low + 1, second - low


def box_by_centres(layers):
    size, jump, centre = 1, 1, 0.0
    for kernel, stride, padding in layers:
        centre += ((kernel - 1) / 2 - padding) * jump
        size += (kernel - 1) * jump
        jump *= stride
    return centre - (size - 1) / 2, size, jump  # a whole number, as a float


def box_by_gradient(layers):
    x = torch.zeros(1, 1, 1, 600, requires_grad=True)
    out = x
    for kernel, stride, padding in layers:
        out = F.conv2d(F.pad(out, (padding, padding)), torch.ones(1, 1, 1, kernel), stride=(1, stride))
    jump = 1
    for _, stride, _ in layers:
        jump *= stride
    unit = 200 // jump
    (gradient,) = torch.autograd.grad(out[0, 0, 0, unit], x)
    seen = gradient.flatten().nonzero().flatten()
    return int(seen[0]) - unit * jump, int(seen[-1] - seen[0]) + 1, jump


def effective_by_jacobian(net, x, unit, v):
    jacobian = torch.autograd.functional.jacobian(lambda picture: net(picture)[0, :, unit[0], unit[1]], x)[:, 0]
    return torch.einsum("nk,kchw->nchw", v, jacobian).square().sum(1).mean(0)


def effective_by_backward(net, x, unit, v):
    energy = torch.zeros(x.shape[-2:])
    for direction in v:
        leaf = x.clone().requires_grad_(True)
        (net(leaf)[0, :, unit[0], unit[1]] * direction).sum().backward(inputs=[leaf])
        energy += leaf.grad[0].pow(2).sum(0) / len(v)
    return energy


def effective_in_a_batch(net, x, unit, v):
    leaf = x.repeat(len(v), 1, 1, 1).requires_grad_()
    score = (net(leaf)[:, :, unit[0], unit[1]] * v).sum()
    return torch.autograd.grad(score, leaf)[0].square().sum(1).mean(0)


def deletion_one_by_one(net, x, target, order, fill, steps):
    curve, pixels = [], order.numel()
    width = x.shape[2]
    for step in range(steps + 1):
        picture = x.clone()
        for pixel in order[: int(step * pixels / steps)].tolist():
            picture[:, pixel // width, pixel % width] = fill[:, pixel // width, pixel % width]
        curve.append(net(picture[None]).softmax(1)[0, target].item())
    return curve, sum((a + b) / 2 / steps for a, b in itertools.pairwise(curve))


def deletion_by_ranks(net, x, target, order, fill, steps):
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    counts = torch.arange(steps + 1) * len(order) // steps
    gone = (rank[None] < counts[:, None]).view(-1, 1, *x.shape[1:])
    curve = torch.softmax(net(torch.where(gone, fill, x)), dim=-1)[:, target]
    return curve, torch.trapezoid(curve, dx=1 / steps)


def deletion_in_numpy(net, x, target, order, fill, steps):
    pictures = np.repeat(x.numpy()[None], steps + 1, 0)
    flat, other = pictures.reshape(steps + 1, len(x), -1), fill.numpy().reshape(len(x), -1)
    for step in range(steps + 1):
        gone = order.numpy()[: step * len(order) // steps]
        flat[step][:, gone] = other[:, gone]
    curve = net(torch.from_numpy(pictures)).softmax(1)[:, target].numpy()
    return curve, ((curve[1:] + curve[:-1]) / (2 * steps)).sum()


def neighbours_by_sort(vectors, query, k):
    unit = F.normalize(vectors, dim=1)
    cosines = unit @ unit[query]
    order = cosines.sort(descending=True, stable=True).indices
    order = order[order != query][:k]
    return order, cosines[order]


def neighbours_by_cosine_similarity(vectors, query, k):
    cosines = F.cosine_similarity(vectors, vectors[query : query + 1])
    found = [(-float(c), i) for i, c in enumerate(cosines) if i != query]
    found = sorted(found)[:k]
    return [i for _, i in found], [-c for c, _ in found]


def neighbours_in_numpy(vectors, query, k):
    rows = vectors.numpy()
    cosines = np.array([row @ rows[query] / np.linalg.norm(row) / np.linalg.norm(rows[query]) for row in rows])
    order = np.argsort(-cosines, kind="stable")
    order = order[order != query][:k]
    return order, cosines[order]


RIGHT = [
    ("scale", scale_by_stacking),
    ("scale", scale_in_numpy),
    ("scale", scale_in_place),
    ("class_map", map_in_loops),
    ("class_map", map_by_einsum),
    ("class_map", map_by_convolution),
    ("class_map", map_by_gradient),
    ("box", box_from_behind),
    ("box", box_by_centres),
    ("box", box_by_gradient),
    ("effective", effective_by_jacobian),
    ("effective", effective_by_backward),
    ("effective", effective_in_a_batch),
    ("deletion", deletion_one_by_one),
    ("deletion", deletion_by_ranks),
    ("deletion", deletion_in_numpy),
    ("neighbours", neighbours_by_sort),
    ("neighbours", neighbours_by_cosine_similarity),
    ("neighbours", neighbours_in_numpy),
]


@pytest.mark.parametrize(("name", "theirs"), RIGHT, ids=lambda value: getattr(value, "__name__", value))
def test_a_correct_answer_written_otherwise_passes(name, theirs):
    assert passes(name, theirs)


# Wrong answers that no catalogue lists ----------------------------------------------------------------------------


def scale_in_float32(maps, signed):
    return scaling.scale([one.float() for one in maps], signed)


def scale_with_eps(maps, signed):
    largest = max(float(one.abs().max()) for one in maps) + 1e-6
    return [0.5 + one / (2 * largest) if signed else one / largest for one in maps]


def scale_by_the_mean(maps, signed):
    largest = sum(float(one.abs().max()) for one in maps) / len(maps) or 1.0
    return [0.5 + one / (2 * largest) if signed else one / largest for one in maps]


def scale_that_overwrites(maps, signed):
    found = scaling.scale(maps, signed)
    for one in maps:
        one.zero_()
    return found


def map_of_square_nets(features, weight, bias, target, against=None):
    out = mapping.class_map(features, weight, bias, target, against)
    return out if out.shape[0] != out.shape[1] else out.T


def map_without_the_last_channel(features, weight, bias, target, against=None):
    return mapping.class_map(features[:-1], weight[:, :-1], bias, target, against)


def map_against_all_others(features, weight, bias, target, against=None):
    if against is None:
        return mapping.class_map(features, weight, bias, target)
    others = weight.sum(0) - weight[target]
    return mapping.class_map(features, torch.stack((weight[target], others / (len(weight) - 1))), bias, 0, 1)


def box_of_odd_kernels(layers):
    start, size, jump = reaching.box(layers)
    return start + sum(kernel % 2 == 0 for kernel, _, _ in layers), size, jump


def box_of_small_strides(layers):
    return reaching.box([(kernel, min(stride, 2), padding) for kernel, stride, padding in layers])


def box_that_empties_its_list(layers):
    found = reaching.box(layers)
    layers.clear()
    return found


def effective_of_the_first_colour(net, x, unit, v):
    leaf = x.clone().requires_grad_()
    out = net(leaf)[0, :, unit[0], unit[1]]
    return torch.stack([torch.autograd.grad(one @ out, leaf, retain_graph=True)[0][0, 0] ** 2 for one in v]).mean(0)


def effective_of_random_directions(net, x, unit, v):
    return reaching.effective(net, x, unit, torch.randn(v.shape))


def effective_of_unit_directions(net, x, unit, v):
    return reaching.effective(net, x, unit, v / v.norm(dim=1, keepdim=True))


def effective_that_freezes(net, x, unit, v):
    for weight in net.parameters():
        weight.requires_grad_(False)
    return reaching.effective(net, x, unit, v)


def deletion_with_a_mirrored_fill(net, x, target, order, fill, steps):
    return removing.deletion(net, x, target, order, fill.flip(2), steps)


def deletion_that_shares_its_fill(net, x, target, order, fill, steps):
    found = removing.deletion(net, x, target, order, fill, steps)
    fill.zero_()
    return found


def deletion_of_one_pixel_more(net, x, target, order, fill, steps):
    pixels = len(order)
    pictures = []
    for step in range(steps + 1):
        one = x.clone().flatten(1)
        gone = order[: min(step * pixels // steps + 1, pixels)]
        one[:, gone] = fill.flatten(1)[:, gone]
        pictures.append(one.view_as(x))
    curve = net(torch.stack(pictures)).softmax(1)[:, target]
    return curve, float(torch.trapezoid(curve, dx=1 / steps))


def neighbours_of_rounded_cosines(vectors, query, k):
    found, cosines = nearest.neighbours(vectors, query, k)
    return found, [round(one, 4) for one in cosines]


def neighbours_by_angle(vectors, query, k):
    found, cosines = nearest.neighbours(vectors, query, k)
    return found, [float(np.arccos(min(one, 1))) for one in cosines]


def neighbours_that_normalises_its_input(vectors, query, k):
    vectors.div_(vectors.norm(dim=1, keepdim=True))
    return nearest.neighbours(vectors, query, k)


def neighbours_in_float32(vectors, query, k):
    return nearest.neighbours(vectors.float(), query, k)


WRONG = [
    ("scale", scale_in_float32),
    ("scale", scale_with_eps),
    ("scale", scale_by_the_mean),
    ("scale", scale_that_overwrites),
    ("class_map", map_of_square_nets),
    ("class_map", map_without_the_last_channel),
    ("class_map", map_against_all_others),
    ("box", box_of_odd_kernels),
    ("box", box_of_small_strides),
    ("box", box_that_empties_its_list),
    ("effective", effective_of_the_first_colour),
    ("effective", effective_of_random_directions),
    ("effective", effective_of_unit_directions),
    ("effective", effective_that_freezes),
    ("deletion", deletion_with_a_mirrored_fill),
    ("deletion", deletion_that_shares_its_fill),
    ("deletion", deletion_of_one_pixel_more),
    ("neighbours", neighbours_of_rounded_cosines),
    ("neighbours", neighbours_by_angle),
    ("neighbours", neighbours_that_normalises_its_input),
    ("neighbours", neighbours_in_float32),
]


@pytest.mark.parametrize(("name", "theirs"), WRONG, ids=lambda value: getattr(value, "__name__", value))
def test_a_wrong_answer_that_is_in_no_catalogue_fails(name, theirs):
    assert refused(name, theirs)


def test_the_lists_above_leave_no_exercise_out():
    right, wrong = ({name for name, _ in some} for some in (RIGHT, WRONG))
    assert right == wrong == set(CHECKS)


# Who else says that ours is right ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def net():
    from netwright.models import create_model

    return create_model("toy_resnet", pretrained=True).eval()


@pytest.fixture(scope="module")
def picture():
    from netwright.toys import ToyWorld

    return ToyWorld("test")[3]["image"]


def test_the_class_map_of_a_trained_net_and_its_bias_are_the_logit(net, picture):
    from netwright.models import transform_for

    x = transform_for(net)(picture)[None]
    with torch.no_grad():
        logits, last = net(x)[0], net.forward_features(x)[0]
    weight, bias = net.classifier.weight.detach(), net.classifier.bias.detach()
    for target in (0, 7, 19):
        found = mapping.class_map(last, weight, bias, target).sum() + bias[target]
        assert found.item() == pytest.approx(logits[target].item(), rel=1e-4, abs=1e-4)
    versus = mapping.class_map(last, weight, bias, 7, against=2).sum() + bias[7] - bias[2]
    assert versus.item() == pytest.approx((logits[7] - logits[2]).item(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("chain", reaching.CHAINS)
def test_the_box_is_where_autograd_finds_a_gradient(chain):
    layers = reaching.CHAINS[chain]
    start, size, jump = reaching.box(layers)
    x = torch.zeros(1, 1, 1, 300, requires_grad=True, dtype=torch.float64)
    out = x
    for kernel, stride, padding in layers:
        ones = torch.ones(1, 1, 1, kernel, dtype=torch.float64)
        out = F.conv2d(out, ones, stride=(1, stride), padding=(0, padding))
    for unit in (out.shape[3] // 2, out.shape[3] // 2 + 1):
        (gradient,) = torch.autograd.grad(out[0, 0, 0, unit], x, retain_graph=True)
        seen = gradient.flatten().nonzero().flatten()
        assert (int(seen[0]), int(seen[-1])) == (start + unit * jump, start + unit * jump + size - 1)


def test_the_energy_is_what_finite_differences_say():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 2, 3, stride=2)).double()
    fill(net)
    x, v = torch.randn(1, 2, 5, 6).double(), torch.randn(2, 2).double()
    found = reaching.effective(net, x, (1, 0), v)
    expected, step = torch.zeros(5, 6).double(), 1e-5
    with torch.no_grad():
        for colour in range(2):
            for row in range(5):
                for column in range(6):
                    nudge = torch.zeros_like(x)
                    nudge[0, colour, row, column] = step
                    slope = (net(x + nudge) - net(x - nudge))[0, :, 1, 0] / (2 * step)
                    expected[row, column] += (v @ slope).square().mean()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)


def test_over_many_directions_the_energy_becomes_the_squared_length_of_the_jacobian():
    generator = torch.Generator().manual_seed(0)
    net = nn.Conv2d(3, 4, 3, padding=1).double()
    fill(net)
    v = torch.randn(4000, 4, generator=generator).double()
    found = reaching.effective(net, torch.zeros(1, 3, 5, 5).double(), (2, 2), v)
    exact = net.weight.detach().square().sum((0, 1))  # (3, 3)
    torch.testing.assert_close(found[1:4, 1:4], exact, rtol=0.15, atol=0)
    assert found.sum() == pytest.approx(found[1:4, 1:4].sum())


def test_the_nearest_are_brute_forces_and_the_scale_keeps_ratios():
    vectors = numbers(40, 9, of="brute force").double()
    found, cosines = nearest.neighbours(vectors, 11, 39)
    every = F.cosine_similarity(vectors, vectors[11:12])
    assert sorted(found) == [i for i in range(40) if i != 11]
    assert cosines == sorted(cosines, reverse=True)
    assert cosines == pytest.approx(every[found].tolist(), abs=1e-6)

    bright, faint = scaling.scale([torch.tensor([4.0, 8.0]), torch.tensor([1.0, 2.0])], signed=False)
    assert (bright / faint).tolist() == [4, 4]


# What the notebook shows ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def probe(net, picture):
    from netwright.probing.capture import Probe

    return Probe(net, picture)


@pytest.fixture(scope="module")
def twin(probe):
    return probe.twin()


def test_four_nets_call_it_a_flower_and_one_of_them_hesitates(picture):
    from netwright.probing.capture import Probe

    probes = {name: Probe(net, picture) for name, net in features.four_nets().items()}
    shares = {name: float(probe.probabilities[probe.target("flower")]) for name, probe in probes.items()}
    assert all(probe.class_names[probe.target()] == "flower" for probe in probes.values())
    assert min(shares, key=shares.get) == "toy_resnet" and shares["toy_resnet"] < 0.75
    alt = features.draw_answers(probes).alt
    hesitating = probes["toy_resnet"]
    heart = float(hesitating.probabilities[hesitating.target("heart")])
    assert f"flower {shares['toy_resnet']:.1%}, heart {heart:.1%}" in alt


def test_the_blind_rows_are_the_two_nets_maps_and_the_letter_is_true(probe, twin):
    for place in features.STAGES:
        blind = features.blind(probe, twin, place)
        assert list(blind.rows) == ["row A", "row B"] and {blind.trained, blind.random} == set(blind.rows)
        assert torch.equal(blind.rows[blind.trained], probe[place][0])
        assert torch.equal(blind.rows[blind.random], twin[place][0])
    assert len({features.blind(probe, twin, place).trained for place in features.STAGES}) == 2


def test_stretching_shows_a_faint_channel_as_bright_as_any_and_one_scale_does_not(probe, twin):
    rows = {"trained": probe["stages.2.1"][0], "random": twin["stages.2.1"][0]}
    assert rows["trained"].max() < rows["random"].max() / 2
    told = features.draw_rows(rows, scaling.scale).alt
    largest = [float(rows["trained"][i].max()) for i in range(0, 256, 32)]
    assert "on one scale" in told and f"from {min(largest):.2f} to {max(largest):.2f}" in told
    assert "stretched by itself" in features.draw_rows(rows).alt
    assert not re.search(r"[0-9]\.[0-9]", features.draw_rows(rows, numbers=False).alt)  # it would give the row away


def test_grad_cam_is_the_class_map_at_the_last_map_and_sums_to_something_else_before(probe, net):
    flower = probe.target("flower")
    *earlier, last = features.grad_cams(probe, flower)
    weight, bias = net.classifier.weight.detach(), net.classifier.bias.detach()
    exact = mapping.class_map(probe["stages.3.0"][0], weight, bias, flower)
    torch.testing.assert_close(last.map, exact, rtol=1e-4, atol=1e-5)
    wanted = float(probe.logits[flower] - bias[flower])
    assert all(abs(float(cam.map.sum()) - wanted) > 3 for cam in earlier)
    assert earlier[-1].map.sum() < 0 and earlier[-1].against > 0.5  # "the map says no to a flower, in sum"
    assert last.against == pytest.approx(float(-exact.clamp(max=0).sum() / exact.abs().sum()), rel=1e-4)


def test_half_of_what_the_cell_says_for_a_flower_it_says_for_a_heart_too(probe, net):
    weight, bias = net.classifier.weight.detach(), net.classifier.bias.detach()
    flower, heart = probe.target("flower"), probe.target("heart")
    one = mapping.class_map(probe["stages.3.0"][0], weight, bias, flower)
    rather = mapping.class_map(probe["stages.3.0"][0], weight, bias, flower, against=heart)
    assert one.argmax() == rather.argmax() == 2  # the bottom left quarter, where the flower is
    assert 0.4 < float(rather.max() / one.max()) < 0.6
    assert int((rather < 0).sum()) == 2


@pytest.mark.parametrize("place", features.STAGES)
def test_the_chain_of_a_net_gives_the_box_that_autograd_finds(net, place):
    layers = features.chain(net, place)
    assert all(".shortcut" not in name for name in layers)
    x, out = torch.zeros(1, 1, 1, 320, requires_grad=True), None
    out = x
    for kernel, stride, padding in layers.values():
        out = F.conv2d(out, torch.ones(1, 1, 1, kernel), stride=(1, stride), padding=(0, padding))
    start, size, jump = reaching.box(layers.values())
    unit = out.shape[3] // 2
    (gradient,) = torch.autograd.grad(out[0, 0, 0, unit], x)
    seen = gradient.flatten().nonzero().flatten()
    assert (int(seen[0]), int(seen[-1]) + 1) == (start + unit * jump, start + unit * jump + size)


def test_what_a_real_unit_sees_lies_inside_its_box(net, probe):
    place, unit = "stages.1.1", (4, 4)
    start, size, jump = reaching.box(features.chain(net, place).values())
    toys, _ = features.toys(net, range(2))
    field = features.mean_field(probe, place, unit, toys, reaching.effective)
    assert field.sum().item() == pytest.approx(1)
    rows, columns = field.nonzero().T
    first = start + unit[0] * jump
    assert min(rows.min(), columns.min()) >= first and max(rows.max(), columns.max()) < first + size


def test_training_gathered_the_fields_of_this_net(net, probe, twin):
    toys, _ = features.toys(net, range(4))
    for place, unit in (("stages.0.1", (8, 8)), ("stages.1.1", (4, 4)), ("stages.2.1", (2, 2))):
        few, many = (
            features.pixels_with(features.mean_field(each, place, unit, toys, reaching.effective), 0.5)
            for each in (probe, twin)
        )
        assert few < 0.6 * many


def test_pixels_with_a_share_are_counted_from_the_strongest():
    field = torch.tensor([[4.0, 1.0], [3.0, 2.0]])
    assert [features.pixels_with(field, share) for share in (0.1, 0.4, 0.5, 0.7, 0.95)] == [1, 1, 2, 2, 4]


def test_each_order_removes_every_pixel_once_and_what_it_says_first():
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:4, 5:7] = True
    score = torch.tensor([[0.0, 3.0], [1.0, 2.0]])
    orders = experiments.orders(score, mask)
    assert all(sorted(order.tolist()) == list(range(64)) for order in orders.values())
    assert set(orders["the pixels that cause the label"][:4].tolist()) == set(
        mask.flatten().nonzero().flatten().tolist()
    )
    quarter = {row * 8 + column for row in range(4) for column in range(4, 8)}
    assert set(orders["the class map"][:16].tolist()) == quarter
    assert set(orders["the middle first"][:4].tolist()) == {27, 28, 35, 36}


def test_zeros_make_an_order_by_lot_as_good_as_the_truth_and_other_fillings_do_not(net):
    found = features.deletions(net, range(3, 13), mapping.class_map, removing.deletion, steps=6)
    assert list(found) == ["blurred", "its mean colour", "zeros"]
    truth, words = features.as_good(found)
    assert truth == "zeros" and words.count("±") == 3
    area = {name: experiments.spread(experiments.areas(curves))[0] for name, curves in found["zeros"].items()}
    assert area["the middle first"] < area["by lot"] - 0.03
    blurred = {name: experiments.spread(experiments.areas(curves))[0] for name, curves in found["blurred"].items()}
    assert blurred["by lot"] > blurred["the pixels that cause the label"] + 0.2
    assert f"by lot {blurred['by lot']:.2f}" in features.draw_deletions(found).alt


def test_no_filling_is_named_where_all_gaps_are_clear_or_several_are_not():
    steep, flat = torch.linspace(1, 0, 5).repeat(6, 1) ** 4, torch.linspace(1, 0, 5).repeat(6, 1)
    noise = 0.001 * numbers(6, 5, of="noise").float()
    clear = {"by lot": flat + noise, "the pixels that cause the label": steep}
    equal = {"by lot": flat + noise, "the pixels that cause the label": flat}
    assert features.as_good({"a": clear, "b": clear})[0] == "none of them"
    assert features.as_good({"a": clear, "b": equal})[0] == "b"
    assert features.as_good({"a": equal, "b": equal})[0] == "none of them"


def test_a_blur_keeps_the_mean_of_a_flat_picture_and_mirrors_its_edges():
    flat = torch.full((3, 40, 40), 0.7)
    torch.testing.assert_close(experiments.blurred(flat), flat)
    spot = torch.zeros(1, 41, 41)
    spot[0, 20, 20] = 1
    soft = experiments.blurred(spot, sigma=3.0)[0]
    torch.testing.assert_close(soft, soft.T)
    assert soft.argmax() == 20 * 41 + 20 and soft.sum().item() == pytest.approx(1, rel=1e-4)
    assert (soft[20, 23] / soft[20, 20]).item() == pytest.approx(np.exp(-0.5), rel=1e-4)


def test_neighbours_share_a_class_after_training_and_hardly_before(net, twin):
    toys, labels = features.toys(net, range(120))
    shares = [
        features.share_of_class(nearest.neighbours, features.embed(each, toys), labels, queries=40)
        for each in (net, twin.net)
    ]
    assert shares[0] > 0.9 and shares[1] < 0.25
    assert shares[0] == pytest.approx(
        features.share_of_class(neighbours_by_sort, features.embed(net, toys), labels, queries=40)
    )


def test_a_plane_keeps_few_of_the_nearest(net):
    toys, labels = features.toys(net, range(120))
    vectors = features.embed(net, toys)
    points, left = features.on_a_plane(vectors)
    centred = (vectors - vectors.mean(0)).double()
    values = torch.linalg.eigvalsh(centred.T @ centred).flip(0)
    assert left == pytest.approx(float(values[:2].sum() / values.sum()), rel=1e-3) and left < 0.5
    assert features.agreement(nearest.neighbours, vectors, points, queries=40) < 0.5
    flat = vectors.new_zeros(120, 3)
    flat[:, :2] = points
    assert (
        features.agreement(lambda v, q, k: (experiments.nearest_on_plane(v, q, k), None), flat, points, queries=20) == 1
    )
    found, _ = nearest.neighbours(vectors, 3, 5)
    seen = experiments.nearest_on_plane(points, 3, 5)
    assert (
        f"{len(set(seen) & set(found))} are among its 5" in features.draw_plane(points, labels, 3, found, "a" * 20).alt
    )


def test_the_figures_of_fields_and_of_smoothing_say_their_numbers(probe):
    field = torch.zeros(16, 16)
    field[3, 4], field[8, 8] = 1, 3
    told = features.draw_fields({"one": field}, (-2, 9, 4), (1, 0), scaling.scale).alt
    assert "half of the energy lies in 1 pixels and 90 % in 2, of 63 in the box" in told  # rows 2 to 10, columns 0 to 6
    score = torch.tensor([[1.0, -0.5], [5.0, 1.5]])
    assert "+1.00, −0.50, +5.00, +1.50" in features.draw_smooth(score, probe.picture).alt


# The notebook -----------------------------------------------------------------------------------------------------


def test_the_notebook_says_minutes_and_difficulty_as_the_checks_do_in_their_order():
    source = (notebooks.ROOT / "notebooks" / "source" / "08_features.py").read_text(encoding="utf-8")
    said = re.findall(r"^# \*(\d+) minutes · (\w+) · .*\*$", source, re.MULTILINE)
    asked = re.findall(r"@exercise\(\"features\.(\w+)\"\)", source)
    assert asked == list(CHECKS)
    assert said == [(str(each.minutes), each.difficulty) for each in CHECKS.values()]


def test_every_question_comes_before_its_answer_and_both_have_one_name():
    source = (notebooks.ROOT / "notebooks" / "source" / "08_features.py").read_text(encoding="utf-8")
    asked = re.findall(r"\bpredict\(\s*\"(features\.\w+)\"", source)
    told = re.findall(r"\breveal\(\s*\"(features\.\w+)\"", source)
    assert asked == told and len(set(asked)) == 4
    for name in asked:
        cells = [i for i, cell in enumerate(source.split("# %%")) if f'"{name}"' in cell]
        assert len(cells) == 2 and cells[0] < cells[1]


@pytest.mark.parametrize("find", [neighbours_by_sort, neighbours_in_numpy, neighbours_by_cosine_similarity])
def test_the_figures_take_what_a_correct_answer_returns(find, net, probe):
    toys, labels = features.toys(net, range(30))
    vectors = features.embed(net, toys)
    points, _ = features.on_a_plane(vectors)
    ours = features.draw_plane(points, labels, 3, nearest.neighbours(vectors, 3, 5)[0], probe.class_names).alt
    assert features.draw_plane(points, labels, 3, find(vectors, 3, 5)[0], probe.class_names).alt == ours
    assert features.agreement(find, vectors, points, queries=9) == features.agreement(
        nearest.neighbours, vectors, points, queries=9
    )


def test_the_experiments_take_answers_that_carry_gradients_numpy_or_floats(net, probe):
    toys, _ = features.toys(net, range(1))
    field = features.mean_field(probe, "stem", (8, 8), toys, effective_by_jacobian)
    torch.testing.assert_close(
        field, features.mean_field(probe, "stem", (8, 8), toys, reaching.effective), rtol=1e-3, atol=1e-6
    )
    ours = features.deletions(net, [3], mapping.class_map, removing.deletion, steps=3)
    for theirs in (deletion_by_ranks, deletion_one_by_one):
        found = features.deletions(net, [3], map_by_gradient, theirs, steps=3)
        for filling, by in ours.items():
            for name, curves in by.items():
                torch.testing.assert_close(found[filling][name], curves, rtol=1e-3, atol=1e-4)
    layers = list(features.chain(net, "stem").values())
    told = {
        features.draw_fields({"one": field}, find(layers), (8, 8), scale_in_numpy).alt
        for find in (reaching.box, box_by_centres)
    }
    assert len(told) == 1
