"""Attributions against other ways of computing them, removal against plain loops, marks by hand, and the record."""

import hashlib
import math

import numpy as np
import pytest
import torch
from torch import nn

from netwright import paths
from netwright.evaluate.metrics import share
from netwright.explain import attributions as at
from netwright.explain import league, methods, removal, scores
from netwright.models import create_model
from netwright.nets.zoo import TOYS
from netwright.probing.capture import Probe, ProbeError, hooks_in
from netwright.toys import ToyWorld

WORLD = ToyWorld("test")


@pytest.fixture(scope="module", params=TOYS)
def toy(request):
    net = create_model(request.param, pretrained=True)
    return Probe(net, WORLD[2]["image"])


@pytest.fixture(scope="module")
def halonet():
    return Probe(create_model("toy_halonet", pretrained=True), WORLD[5]["image"])


def other_net(seed: int = 0) -> Probe:
    """A net of another make, whose layer takes a view that only channels-first memory has."""

    class Flat(nn.Module):
        def forward(self, x):
            return x.view(len(x), -1)

    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Tanh(), Flat(), nn.Linear(4 * 8 * 8, 5))
    return Probe(net, torch.randn(1, 3, 16, 16))


# --- maps inside ----------------------------------------------------------------------------------------------------


def test_the_class_map_and_the_bias_sum_to_the_logit_of_any_class(toy):
    for target in (None, 0, 13):
        bias = toy.net.classifier.bias[toy.target(target)].item()
        assert at.class_map(toy, target).sum() + bias == pytest.approx(toy.logits[toy.target(target)].item(), abs=1e-4)


def test_grad_cam_at_the_last_map_is_the_class_map_and_its_relu_cuts_what_is_negative(toy):
    last = toy.steps[-2]
    signed = at.grad_cam(toy, 3, place=last, relu=False)
    assert signed == pytest.approx(at.class_map(toy, 3), abs=1e-5)
    assert at.grad_cam(toy, 3, place=last) == pytest.approx(np.maximum(signed, 0))
    assert (signed < 0).any()


def test_cams_before_the_last_stage_are_their_formulas_by_plain_autograd(toy):
    net, target = toy.net.eval(), toy.target()
    assert at.usual_place(toy) == "stages.2.1"
    x = net.stem(toy.input)
    for stage in net.stages[:3]:
        x = stage(x)
    maps = x.detach().requires_grad_()
    logit = net.classifier(net.stages[3](maps * 1).mean((2, 3)))[0, target]
    (slopes,) = torch.autograd.grad(logit, maps)
    maps = maps.detach()
    by_loop = sum(slopes[0, k].mean() * maps[0, k] for k in range(maps.shape[1])).numpy()
    assert at.grad_cam(toy, relu=False) == pytest.approx(by_loop, abs=1e-4)
    assert at.hires_cam(toy) == pytest.approx((maps * slopes)[0].sum(0).numpy(), abs=1e-4)


def test_halo_look_is_the_attention_that_each_key_gets_counted_one_by_one(halonet):
    name, layer = at.halo_layer(halonet.net)
    assert name == "stages.2.0.middle.attention"
    q, kv = halonet[f"{name}.query"][0].double(), halonet[f"{name}.key_value"][0].double()
    heads, block, halo, dim = layer.heads, layer.block_size, layer.halo, layer.key_dim
    window, side = block + 2 * halo, q.shape[1] * block // kv.shape[1]
    tables = layer.height_table.detach().double(), layer.width_table.detach().double()
    got, padding = np.zeros(kv.shape[1:]), 0.0
    for head in range(heads):
        keys = kv[head * (dim + layer.value_dim) :][:dim]
        for y, x in np.ndindex(q.shape[1:]):
            query = q[head * dim : (head + 1) * dim, y, x]
            top, left = y // side * block - halo, x // side * block - halo
            logits = torch.empty(window, window, dtype=torch.double)
            for u, v in np.ndindex(window, window):
                inside = 0 <= top + u < kv.shape[1] and 0 <= left + v < kv.shape[2]
                content = query @ keys[:, top + u, left + v] / math.sqrt(dim) if inside else 0.0
                by_row, by_column = tables[0][u - y % side + window - 1], tables[1][v - x % side + window - 1]
                logits[u, v] = content + query @ by_row + query @ by_column
            shares = logits.flatten().softmax(0).view(window, window).numpy() / (heads * q.shape[1] * q.shape[2])
            for u, v in np.ndindex(window, window):
                if 0 <= top + u < kv.shape[1] and 0 <= left + v < kv.shape[2]:
                    got[top + u, left + v] += shares[u, v]
                else:
                    padding += shares[u, v]
    assert at.halo_look(halonet) == pytest.approx(got, abs=1e-6)
    assert at.halo_look(halonet).sum() == pytest.approx(1 - padding, abs=1e-5)
    assert (at.halo_look(halonet, 0) == at.halo_look(halonet, 7)).all(), "attention does not know the class"


def test_nets_of_another_make_get_gradients_and_occlusion_and_are_told_what_they_lack():
    probe = other_net()
    names = methods.methods_for(probe)
    assert {"gradient_input", "saliency", "smooth_grad", "integrated", "occlusion", "edges"} <= set(names)
    for name in names:
        assert np.isfinite(methods.METHODS[name].run(probe, 1)).all()
    assert at.grad_cam(probe, 1, place="0").shape == (8, 8)
    for lacking, word in (
        (at.class_map, "linear classifier"),
        (at.grad_cam, "place="),
        (at.halo_look, "halo attention"),
    ):
        with pytest.raises(ProbeError, match=word):
            lacking(probe, 1)
    with pytest.raises(ProbeError, match="no map"):
        at.grad_cam(probe, 1, place="3")


# --- gradients at the picture ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [other_net, lambda: Probe(create_model("toy_resnext", pretrained=True), WORLD[4]["image"])]
)
def test_gradient_maps_are_plain_autograd(make):
    probe = make()
    leaf = probe.input.clone().requires_grad_()
    probe.net.eval()(leaf)[0, 2].backward()
    assert at.gradient_input(probe, 2) == pytest.approx((leaf.grad * probe.input)[0].sum(0).numpy(), abs=1e-4)
    assert at.saliency(probe, 2) == pytest.approx(leaf.grad[0].abs().max(0).values.numpy(), abs=1e-4)


def test_smooth_grad_is_seeded_and_without_noise_is_the_gradient(toy):
    assert (at.smooth_grad(toy, copies=3) == at.smooth_grad(toy, copies=3)).all()
    assert not np.allclose(at.smooth_grad(toy, copies=3), at.smooth_grad(toy, copies=3, seed=1))
    assert at.smooth_grad(toy, copies=2, noise=0.0) == pytest.approx(at.saliency(toy), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("baseline", ["blur", "mean"])
def test_integrated_gradients_sum_to_the_rise_of_the_logit(toy, baseline):
    heat = at.integrated_gradients(toy, baseline=baseline)
    assert at.completeness_gap(toy, heat, baseline=baseline) < 0.03
    assert at.completeness_gap(toy, 1.5 * heat, baseline=baseline) > 0.03, "the gap sees a wrong map"


def test_integrated_gradients_of_a_linear_net_are_exact_in_one_step():
    torch.manual_seed(1)
    probe = Probe(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)), torch.randn(1, 3, 8, 8))
    rise = (probe.input - removal.filled(probe.input, "mean"))[0]
    weight = probe.net[1].weight[1].view(3, 8, 8).detach()
    assert at.integrated_gradients(probe, 1, baseline="mean", steps=1) == pytest.approx(
        (weight * rise).sum(0).numpy(), abs=1e-5
    )


# --- asking again ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("patch", "stride", "baseline"), [(None, None, "blur"), (20, 16, "mean"), (5, 24, "blur")])
def test_occlusion_is_a_plain_loop_over_patches(halonet, patch, stride, baseline):
    heat = at.occlusion(halonet, 9, patch=patch, stride=stride, baseline=baseline)
    step, size = stride or 8, patch or stride or 8
    filling = removal.filled(halonet.input, baseline)
    rows = math.ceil(64 / step)
    assert heat.shape == (rows, rows)
    for row, column in ((0, 0), (1, rows - 1), (rows - 1, 1)):
        changed = halonet.input.clone()
        for y in range(64):
            for x in range(64):
                first = row * step + (step - size) // 2, column * step + (step - size) // 2
                if first[0] <= y < first[0] + size and first[1] <= x < first[1] + size:
                    changed[0, :, y, x] = filling[0, :, y, x]
        fall = halonet.logits[9] - halonet.answer(changed)[0, 9]
        assert heat[row, column] == pytest.approx(fall.item(), abs=1e-4)


def test_controls_know_what_they_claim_and_no_more(toy):
    assert np.unravel_index(methods.centre(toy).argmax(), (64, 64)) in {(y, x) for y in (31, 32) for x in (31, 32)}
    assert (methods.centre(toy) >= 0).all()
    grey = toy.input[0].mean(0)
    y, x = 20, 31
    across = sum(w * (grey[y + d, x + 1] - grey[y + d, x - 1]) for d, w in ((-1, 1), (0, 2), (1, 1))) / 8
    down = sum(w * (grey[y + 1, x + d] - grey[y - 1, x + d]) for d, w in ((-1, 1), (0, 2), (1, 1))) / 8
    assert methods.edges(toy)[y, x] == pytest.approx(math.hypot(across, down), abs=1e-5)
    assert methods.edges(Probe(toy.net, torch.ones(1, 3, 64, 64))).max() == pytest.approx(0, abs=1e-6)
    assert (methods.random_map(toy) == methods.random_map(toy)).all()
    assert (methods.random_map(toy, seed=1) != methods.random_map(toy)).any()
    assert "halo_look" in methods.methods_for(toy) or "HaloAttention" not in str(toy.net)


def test_every_method_leaves_the_net_as_it_was(toy):
    toy.net.train()
    before = {name: value.clone() for name, value in toy.net.state_dict().items()}
    for name in methods.methods_for(toy):
        heat = methods.METHODS[name].run(toy, None)
        assert heat.ndim == 2 and np.isfinite(heat).all() and heat.std() > 0
        assert methods.METHODS[name].signed or heat.min() >= 0
    removal.remove(toy, removal.random_orders((4, 4), 2))
    assert hooks_in(toy.net) == 0 and all(module.training for module in toy.net.modules())
    assert all(value.equal(before[name]) for name, value in toy.net.state_dict().items())
    assert all(parameter.grad is None for parameter in toy.net.parameters())


# --- removal --------------------------------------------------------------------------------------------------------


def test_fillings_keep_the_colour_and_lose_what_is_small():
    flat = torch.full((1, 3, 40, 32), 0.7)
    dot = torch.zeros(1, 1, 65, 65)
    dot[0, 0, 32, 32] = 1
    for fill in removal.FILLS:
        assert removal.filled(flat, fill) == pytest.approx(flat, abs=1e-6)
    blurred = removal.filled(dot)[0, 0]
    sigma = 65 / 8
    assert blurred.sum().item() == pytest.approx(1, abs=0.01)
    assert blurred[32, 32].item() == pytest.approx(1 / (2 * math.pi * sigma**2), rel=0.02)
    assert (blurred[32, 40] / blurred[32, 32]).item() == pytest.approx(math.exp(-0.5 * (8 / sigma) ** 2), rel=1e-3)
    with pytest.raises(ProbeError, match="'blur' or 'mean'"):
        removal.filled(flat, "black")


def test_orders_begin_with_the_largest_and_settle_ties_by_lot():
    heat = np.array([[3.0, 1.0], [1.0, 2.0]])
    order = removal.order_of(heat)
    assert order[0, 0] == 0 and order[1, 1] == 1
    assert {tuple(removal.order_of(heat, seed)[[0, 1], [1, 0]]) for seed in range(20)} == {(2, 3), (3, 2)}
    many = removal.random_orders((3, 5))
    assert many.shape == (10, 3, 5) and all(sorted(it.ravel()) == list(range(15)) for it in many)
    assert len({it.tobytes() for it in many}) == 10
    centre = removal.centre_order((5, 5))
    assert centre[2, 2] == 0 and {centre[0, 0], centre[0, 4], centre[4, 0], centre[4, 4]} == {21, 22, 23, 24}


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (2, 2), (64, 64)])
@pytest.mark.parametrize("steps", [3, 8])
def test_counts_are_symmetric_from_none_to_all(shape, steps):
    counts = removal.counts_of(math.prod(shape), steps)
    assert counts[0] == 0 and counts[-1] == math.prod(shape) and (np.diff(counts) > 0).all()
    assert (counts + counts[::-1] == math.prod(shape)).all()


@pytest.mark.parametrize("fill", removal.FILLS)
def test_curves_are_a_plain_loop(halonet, fill):
    orders = removal.random_orders((4, 4), 2, seed=3)
    for insertion in (False, True):
        curves = removal.remove(halonet, orders, 5, fill=fill, steps=4, insertion=insertion)
        filling = removal.filled(halonet.input, fill)
        for order, curve, logit in zip(orders, curves.probability, curves.logit, strict=True):
            for at_, count in enumerate((0, 4, 8, 12, 16)):
                now = (filling if insertion else halonet.input).clone()
                for y, x in np.argwhere(order < count):
                    cell = (..., slice(16 * y, 16 * y + 16), slice(16 * x, 16 * x + 16))
                    now[cell] = (halonet.input if insertion else filling)[cell]
                said = halonet.answer(now)[0].double()
                assert curve[at_] == pytest.approx(said.softmax(0)[5].item(), abs=1e-5)
                assert logit[at_] == pytest.approx(said[5].item(), abs=1e-4)
        assert curves.areas == pytest.approx(np.trapezoid(curves.probability, curves.fractions))


def test_deletion_read_backwards_is_the_insertion_of_the_reversed_order(toy):
    orders = removal.random_orders((4, 4), 3)
    backwards = removal.remove(toy, orders, steps=3).backwards()
    asked = removal.remove(toy, 15 - orders, steps=3, insertion=True)
    assert backwards.probability == pytest.approx(asked.probability, abs=1e-5)
    assert backwards.fractions == pytest.approx(asked.fractions)


def test_areas_over_pictures_come_with_random_orders(halonet):
    found = removal.areas_over_pictures([halonet], at.occlusion, steps=4)
    assert {len(values) for values in found.values()} == {1}
    assert found["deletion"] < found["random_deletion"] and found["insertion"] > found["random_insertion"]


def test_cells_of_pictures_that_they_do_not_divide_are_as_equal_as_can_be():
    pixels = removal.enlarge(np.arange(9).reshape(3, 3), 10, 7)
    assert pixels.shape == (10, 7) and set(np.bincount(pixels[:, 0])[[0, 3, 6]]) == {3, 4}


# --- marks ----------------------------------------------------------------------------------------------------------

MASK = np.zeros((4, 4), bool)
MASK[:2, :2] = MASK[3, 3] = True


def test_marks_by_hand():
    hit, miss, tie = np.zeros((4, 4)), np.zeros((4, 4)), np.array([[0.0, 0.0], [0.0, 2.0]])
    hit[1, 1], miss[0, 3] = 1, 1
    assert scores.pointing(hit, MASK) == 1 and scores.pointing(miss, MASK) == 0
    assert scores.pointing(tie, MASK) == 0.25, "one pixel of the winning cell's four"
    assert scores.pointing(np.zeros((2, 2)), MASK) == MASK.mean(), "a flat map points by lot"
    assert scores.mass(hit + 3 * miss - 5 * tie.repeat(2, 0).repeat(2, 1), MASK) == 0.25, "what is negative has no mass"
    assert scores.mass(-hit, MASK) == MASK.mean(), "nothing positive says nothing"
    assert scores.mass(MASK.astype(float), MASK) == scores.pointing(MASK.astype(float), MASK) == 1


def test_agreement_is_spearmans_with_mean_ranks():
    a, b = np.array([[1.0, 2.0], [2.0, 5.0]]), np.array([[4.0, 3.0], [2.0, 1.0]])
    ranks = np.array([1, 2.5, 2.5, 4]), np.array([4, 3, 2, 1])
    assert scores.agreement(a, b) == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert scores.agreement(a, a**3) == pytest.approx(1) and scores.agreement(a, np.ones((2, 2))) == 0


def test_intervals_are_wilsons_and_a_bootstrap_that_covers():
    found, wilson = scores.hit_rate(np.array([1, 0, 1, 1, 0.0])), share(3, 5)
    assert (found.value, found.low, found.high, found.of) == (0.6, wilson.low, wilson.high, 5)
    rng = np.random.default_rng(0)
    intervals = [scores.mean_of(rng.exponential(2.0, 60)) for _ in range(100)]
    assert 85 <= sum(it.low <= 2 <= it.high for it in intervals) <= 99
    ratio = scores.mean_of([1.0, 3.0], [2.0, 2.0])
    assert ratio.value == 1 and ratio.low == 0.5 and ratio.high == 1.5


# --- the league -----------------------------------------------------------------------------------------------------


def row_of(net: str, group: str, method: str) -> dict:
    found = [it for it in league.results()["rows"] if (it["net"], it["group"], it["method"]) == (net, group, method)]
    assert len(found) == 1
    return found[0]


def test_the_record_is_whole_small_and_of_the_weights_that_ship():
    for name in TOYS:
        file = paths.data(f"toy/{name}.safetensors")
        assert league.results()["weights"][name] == hashlib.sha256(file.read_bytes()).hexdigest()[:32], "make league"
    wanted = {name for name in methods.METHODS if name != "grad_cam_signed"}
    for net in TOYS:
        for group in ("texture", "shape", "relation", "all"):
            here = {row["method"] for row in league.results()["rows"] if (row["net"], row["group"]) == (net, group)}
            assert here == (wanted if net == "toy_halonet" else wanted - {"halo_look"})
            assert 0.02 < league.results()["chance"][net][group] < 0.4
    assert paths.data(league.FILE).stat().st_size < 100_000
    assert {"date", "netwright", "device", "threads", "torch", "seed", "pictures"} <= set(league.results())


def test_a_few_cells_of_the_record_come_out_again():
    net, group, some = create_model("toy_resnet", pretrained=True), "shape", league.results()["pictures"]
    indices = league.pictures_of(net, group, some)
    curves = league.grade_net(net, indices, ["class_map"])
    marks = league.grade_net(net, indices, ["edges", "random", "gradient_input"], deletion=False, twins=False)
    assert curves.areas.mean() == pytest.approx(league.results()["chance"]["toy_resnet"][group], abs=1e-4)
    for graded, twins in ((curves.methods, False), (curves.twins, True), (marks.methods, False)):
        for method, found in graded.items():
            row = row_of("toy_resnet", group, method)
            row = row["twin"] if twins else row
            for score, value in found.scores().items():
                # One picture may fall otherwise where two pixels are equal to the last bit of another processor.
                assert [value.value, value.low, value.high] == pytest.approx(row[score], rel=0.03, abs=0.03), (
                    method,
                    score,
                )


def test_only_pictures_that_the_net_gets_right_are_graded_and_their_own_class_is_explained(monkeypatch):
    net = create_model("toy_resnet", pretrained=True)
    indices = league.pictures_of(net, "relation", 8)
    for index in indices:
        probe = Probe(net, WORLD[index]["image"])
        assert probe.class_names[probe.target()] == WORLD.classes[WORLD[index]["label"]]
    with torch.no_grad():
        net.classifier.bias[0] += 1000  # now everything is taken for the first class
    monkeypatch.setattr(league, "ToyWorld", lambda split: ToyWorld(split, length=40))
    with pytest.raises(ValueError, match="only 0 pictures"):
        league.pictures_of(net, "relation", 8)


def test_a_map_that_is_the_cause_gets_full_marks_and_its_opposite_none(monkeypatch):
    net, index = create_model("toy_resnet", pretrained=True), 3
    mask = WORLD[index]["mask"].numpy()
    for heat, mark in ((mask.astype(float), 1.0), (1.0 - mask, 0.0)):
        known = methods.Method("edges", "the cause", lambda probe, target, heat=heat: heat, False, "cause", "control")
        monkeypatch.setitem(methods.METHODS, "edges", known)
        graded = league.grade_net(net, [index], ["edges"], deletion=False)
        assert graded.methods["edges"].pointing == graded.methods["edges"].mass == [mark]
        assert graded.methods["edges"].lift == [pytest.approx(mark / mask.mean())]
