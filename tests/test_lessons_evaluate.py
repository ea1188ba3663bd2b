"""Notebook 11: its checks accept every right answer and are the library's own figures; its trials show what they claim.

What holds for all exercises (the stub, the solution, every known mistake by its name) is in test_lessons.py.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from netwright.datasets import ToyPictures, open_data
from netwright.evaluate import compare, measure, share
from netwright.evaluate.metrics import Z95, calibration, mcnemar, ranks_of_targets
from netwright.evaluate.predictions import Predictions, predict
from netwright.lessons import check, engine
from netwright.lessons import evaluate as lesson
from netwright.lessons.evaluate import asking, counting, knowing, pictures, reading, real, sure, trials
from netwright.models import create_model, list_weights, transform_for
from netwright.toys import CLASSES, ToyWorld, groups, label_of, render
from netwright.toys.factors import PIXEL
from netwright.weights.fetch import WeightsUnavailable

IDS = [each.id for each in lesson.CHECKS]


def predictions(n=60, classes=7, seed=0, name="made/up") -> Predictions:
    chance = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, classes, generator=chance)
    targets = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(99))
    logits[torch.arange(n), targets] += 1
    return Predictions(logits, targets, torch.arange(n), name, tuple(f"class {i}" for i in range(classes)))


# Right answers, written differently ------------------------------------------------------------------------------


def topk_by_rank(logits, targets, k):
    own = logits[range(len(targets)), targets][:, None]
    ahead = (logits > own) | ((logits == own) & (torch.arange(logits.shape[1]) < targets[:, None]))
    return (ahead.sum(1) < k).to(torch.float64).mean()  # a tensor of one number is a number too


def topk_in_numpy(logits, targets, k):
    order = np.argsort(-logits.numpy(), axis=1, kind="stable")[:, :k]
    return np.mean([target in row for target, row in zip(targets.tolist(), order.tolist(), strict=True)])


def loop_under_inference_mode(net, batches):
    modes = {module: module.training for module in net.modules()}
    logits, targets = [], []
    with torch.inference_mode():
        for images, some in batches:
            logits.append(net.eval()(images))
            targets.append(some)
    for module, mode in modes.items():
        module.training = mode
    logits, targets = torch.cat(logits), torch.cat(targets)
    return (logits.argmax(1) == targets).double().mean(), F.cross_entropy(logits, targets)


def loop_of_weighted_means(net, batches):
    before = [(module, module.training) for module in net.modules()]
    net.eval()
    sums = np.zeros(3)
    with torch.no_grad():
        for x, y in batches:
            z = net(x)
            sums += len(y) * np.array([(z.argmax(1) == y).double().mean(), F.cross_entropy(z, y), 1.0])
    for module, training in before:
        module.training = training
    return list(sums[:2] / sums[2])


def wilson_by_its_equation(count, of, z=1.96):
    """The two roots of (p - count / of)² = z² p (1 - p) / of."""
    if not of:
        return 0, 1
    a, b, c = of + z * z, -(2 * count + z * z), count * count / of
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def confusion_by_hand(targets, answers, classes):
    matrix = [[0] * classes for _ in range(classes)]
    for right, said in zip(targets.tolist(), answers.tolist(), strict=True):
        matrix[right][said] += 1
    return matrix


def confusion_by_matrices(targets, answers, classes):
    return F.one_hot(targets, classes).T @ F.one_hot(answers, classes)


def confusion_in_numpy(targets, answers, classes):
    matrix = np.zeros((classes, classes))
    np.add.at(matrix, (targets.numpy(), answers.numpy()), 1)
    return matrix


def paired_in_fractions(right_a, right_b):
    a, b = np.asarray(right_a), np.asarray(right_b)
    x, y = int((a & ~b).sum()), int((~a & b).sum())
    p = sum(Fraction(math.comb(x + y, k), 2 ** (x + y)) for k in range(x + y + 1) if abs(2 * k - x - y) >= abs(x - y))
    return a.mean() - b.mean(), p


def outputs_by_search(folders, net_synsets):
    return torch.tensor([list(net_synsets).index(folder) for folder in folders])  # its ValueError names the folder


def outputs_by_key_error(folders, net_synsets):
    place = dict(zip(net_synsets, range(len(net_synsets)), strict=True))
    return tuple(place[folder] for folder in folders)


def ece_with_bins_closed_below(probabilities, targets, bins=15):
    confidence, answers = probabilities.max(1)
    where = np.minimum((confidence.numpy() * bins).astype(int), bins - 1)
    gap = (answers == targets).double().numpy() - confidence.numpy()
    return np.abs(np.bincount(where, weights=gap, minlength=bins)).sum() / len(targets)


ALTERNATIVES = [
    ("evaluate.topk", topk_by_rank),
    ("evaluate.topk", topk_in_numpy),
    ("evaluate.loop", loop_under_inference_mode),
    ("evaluate.loop", loop_of_weighted_means),
    ("evaluate.wilson", wilson_by_its_equation),
    ("evaluate.confusion", confusion_by_hand),
    ("evaluate.confusion", confusion_by_matrices),
    ("evaluate.confusion", confusion_in_numpy),
    ("evaluate.paired", paired_in_fractions),
    ("evaluate.labels", outputs_by_search),
    ("evaluate.labels", outputs_by_key_error),
    ("evaluate.ece", ece_with_bins_closed_below),
]


def test_every_exercise_has_an_answer_in_another_form():
    assert {name for name, _ in ALTERNATIVES} == set(IDS)


@pytest.mark.parametrize(("name", "answer"), ALTERNATIVES, ids=[answer.__name__ for _, answer in ALTERNATIVES])
def test_a_right_answer_in_another_form_passes(name, answer):
    outcome = check(name, answer)
    assert outcome.status == "passed", outcome


@pytest.mark.parametrize("name", IDS)
def test_an_answer_that_forgets_to_return_is_told_so(name):
    outcome = check(name, lambda *arguments: None)
    assert outcome.status == "failed" and "is None" in outcome.message


def test_a_tie_is_where_the_two_ways_to_count_part():
    outcome = check("evaluate.topk", counting.TOPK_MISTAKES["that lets the right class lose every tie"])
    assert "says the same of all is 0, expected 0.25" in outcome.message


# The library's own figures ---------------------------------------------------------------------------------------


def test_the_solutions_are_the_librarys_own_figures():
    its, other = predictions(), predictions(seed=1)
    found, places = measure(its), ranks_of_targets(its)
    for k in (1, 3, 9):
        assert counting.topk_accuracy(its.logits, its.targets, k) == (places < k).double().mean().item()
    for count, of in ((0, 5), (45, 50), (20, 20)):
        one = share(count, of)
        assert sure.wilson(count, of, Z95) == pytest.approx((one.low, one.high), abs=1e-12)
    assert torch.equal(counting.confusion(its.targets, its.answers, 7), torch.from_numpy(found.confusion))
    right_a, right_b = its.answers == its.targets, other.answers == other.targets
    pair = compare(its, other)
    assert sure.paired(right_a, right_b) == (pair.difference, pair.p) and pair.p == mcnemar(pair.only_a, pair.only_b)
    probabilities = its.probabilities.double()
    confidence, answers = probabilities.max(1)
    assert knowing.calibration_error(probabilities, its.targets) == pytest.approx(
        calibration(confidence, answers == its.targets).ece, abs=1e-12
    )


def test_the_loop_gives_what_predict_gives_and_a_published_net_back_as_it_was():
    pictures_ = ToyPictures(ToyWorld("test", length=30))
    torch.manual_seed(0)
    net = create_model("toy_resnet", num_classes=len(CLASSES)).train()
    net.stages[0].eval()
    modes = [module.training for module in net.modules()]
    transform = transform_for(net)
    images = torch.stack([transform(pictures_.picture(i)) for i in range(30)])
    targets = torch.from_numpy(pictures_.targets)
    top1, loss = asking.evaluate(net, zip(images.split(8), targets.split(8), strict=True))
    assert [module.training for module in net.modules()] == modes
    found = measure(predict(net, pictures_, progress=False))
    assert top1 == found.top1.value and loss == pytest.approx(found.loss, rel=1e-5)


def test_imagenettes_classes_are_matched_to_imagenets_and_its_order_is_not():
    from netwright.imagenet import labels

    names = {label.synset: label for label in labels()}
    found = reading.outputs_of(lesson.IMAGENETTE, list(names))
    assert [names[synset].index for synset in lesson.IMAGENETTE] == found
    assert found != list(range(10)) and names[lesson.IMAGENETTE[-1]].name == "parachute"


# Intervals and their promise -------------------------------------------------------------------------------------


def test_the_promise_is_worked_out_as_it_would_be_counted():
    shares = np.array([0.5, 0.9, 0.97])
    for interval in (sure.wald, sure.wilson):
        exact = lesson.kept_promise(interval, shares, 40)
        for truth, kept in zip(shares, exact, strict=True):
            drawn = lesson.drawn_intervals(interval, truth, 40, times=4000)
            held = ((drawn[:, 0] <= truth) & (truth <= drawn[:, 1])).mean()
            assert kept == pytest.approx(held, abs=0.02)
    assert lesson.kept_promise(sure.wald, np.array([0.97]), 40)[0] < 0.75
    assert lesson.kept_promise(sure.wilson, np.linspace(0.05, 0.95, 50), 100).min() > 0.9


def test_walds_interval_of_a_class_without_a_miss_has_no_width():
    assert sure.wald(30, 30) == (1.0, 1.0)
    low, _ = sure.wilson(30, 30)
    assert low == pytest.approx(30 / (30 + 1.96**2))


# Pictures at hand, turned, grainy, of other sizes ----------------------------------------------------------------


@pytest.fixture(scope="module")
def few():
    return lesson.AtHand(ToyPictures(ToyWorld("test", length=40)))


def test_pictures_at_hand_are_the_pictures(few):
    world = ToyPictures(ToyWorld("test", length=40))
    assert torch.equal(few.pixels([3, 1]), world.pixels([3, 1])) and few.where(5) == world.where(5)
    assert np.array_equal(np.asarray(few.picture(7)), np.asarray(world.picture(7)))
    assert len(few) == 40 and np.array_equal(few.targets, world.targets)


def test_a_turned_picture_is_the_picture_turned_and_keeps_its_label(few):
    turned = lesson.quarter_turns(few)
    for before, after in zip(few.kept, turned.kept, strict=True):
        assert any(torch.equal(before.rot90(turn, (1, 2)), after) for turn in range(4))
    assert 5 < sum(torch.equal(a, b) for a, b in zip(few.kept, turned.kept, strict=True)) < 20
    assert np.array_equal(turned.targets, few.targets)


def test_a_quarter_turn_renames_half_of_the_relations_and_nothing_else():
    world = ToyWorld("test", length=200)
    factors = world.factors(range(200))
    upright = label_of(factors)
    turned = label_of(factors | {"x": -factors["y"], "y": factors["x"], "x2": -factors["y2"], "y2": factors["x2"]})
    relation = np.isin(upright, groups()["relation"])
    assert np.array_equal(turned[~relation], upright[~relation])
    assert (turned[relation] != upright[relation]).all()  # by one or three quarters; by none or two, none


def test_noise_is_the_same_for_every_net_that_sees_it(few):
    transform = transform_for(create_model("toy_resnet", num_classes=20))
    assert torch.equal(lesson.grainy(few, transform, 2).kept, lesson.grainy(few, transform, 2).kept)
    assert not torch.equal(lesson.grainy(few, transform, 2).kept, few.kept)
    net = create_model("toy_resnet", num_classes=len(CLASSES))
    found = lesson.in_weather({"net": net}, few, transform, ("brightness",), (0, 3))
    assert found["brightness", 0]["net"] == measure(predict(net, few, progress=False)).top1
    assert "brightness 3: net" in lesson.draw_weather(found).alt


@pytest.mark.parametrize("radius", [6, 14, 22])
def test_shapes_of_another_size_are_shapes_of_that_size_and_lie_in_the_picture(radius):
    found = lesson.shapes_of_size(radius, 24)
    assert len(found) == 24 and found.kept.shape == (24, 3, 64, 64)
    assert {CLASSES[target].group for target in found.targets} == {"shape"}
    usual = lesson.shapes_of_size(radius, 24)
    assert torch.equal(found.kept, usual.kept)


@pytest.mark.parametrize("radius", [5, 13, 21])
def test_a_shape_has_the_radius_that_was_asked_for_and_its_own_label(radius, monkeypatch):
    asked = {}
    monkeypatch.setattr(trials, "render", lambda factors, size: asked.update(factors) or render(factors, size))
    found = lesson.shapes_of_size(radius, 24)
    assert asked["radius"] == pytest.approx(PIXEL * radius) and np.array_equal(label_of(asked), found.targets)
    assert max(np.abs(asked["x"]).max(), np.abs(asked["y"]).max()) <= max(0.01, 1 - 1.45 * PIXEL * radius) + 1e-6


def test_a_shape_keeps_everything_but_its_size():
    inside = [it for it in trials.SEEN_RADII]
    world = ToyWorld("test", length=200)
    factors = world.factors(range(200))
    shapes = np.isin(factors["label"], groups()["shape"])
    radii = factors["radius"][shapes] / PIXEL
    assert inside[0] <= radii.min() < inside[0] + 1 and inside[1] - 1 < radii.max() <= inside[1]
    small, large = (lesson.shapes_of_size(radius, 12).kept.float() for radius in (6, 20))
    corner = (small - large).abs()[:, :, :4, :4]  # of the ground, which both share
    assert corner.mean() < 3 < (small - large).abs().mean()


# Choosing, remembering, calibrated by making ---------------------------------------------------------------------


def test_the_best_of_many_equals_flatters_and_fresh_pictures_do_not():
    chosen = lesson.choose(0.9, 500, most=20, times=1500)
    assert (np.diff(chosen.told, axis=1) >= 0).all()
    assert chosen.told[:, 0].mean() == pytest.approx(0.9, abs=0.002)
    # The expected largest of twenty normal numbers is 1.867 standard deviations.
    assert chosen.told[:, -1].mean() - 0.9 == pytest.approx(1.867 * math.sqrt(0.09 / 500), rel=0.06)
    assert chosen.fresh.mean() == pytest.approx(0.9, abs=0.001)
    assert f"best of 20 flatters by {100 * (chosen.told[:, -1] - 0.9).mean():.1f} points" in (
        lesson.draw_choice(chosen, 0.9, 500, 20).alt
    )


def test_a_memory_knows_copies_and_the_hash_finds_only_the_unchanged_ones(tmp_path):
    lesson.leaky_folder(tmp_path, train=80, val=60, copies=10, resaved=6)
    data = open_data(tmp_path)
    memory = lesson.remember(data.split("train"), data.split("val"))
    assert (len(memory.right), memory.copy.sum(), memory.near.sum()) == (60, 10, 16)
    assert memory.right[memory.near].all() and memory.near[memory.copy].all()
    assert memory.right[~memory.near].mean() < 0.5


def test_labels_drawn_from_the_probabilities_make_a_net_calibrated():
    its = predictions(n=20_000)
    small, large = (knowing.calibration_error(*lesson.calibrated(its, n)) for n in (200, 20_000))
    assert large < 0.01 < small


def test_a_net_that_is_held_to_the_classes_that_occur_can_only_gain():
    its = predictions(n=300)
    free, held = lesson.held_to(its, ("class 1", "class 4"))
    assert 0 < free < held < 1
    assert lesson.held_to(its, its.class_names) == (measure(its).top1.value,) * 2


# Seeds -----------------------------------------------------------------------------------------------------------


def ledger_of(**values) -> dict:
    runs = {
        name: [{"groups": {group: {"value": v, "of": 3200} for group in groups()}, "top1": {"value": v}} for v in its]
        for name, its in values.items()
    }
    return {"nets": {f"toy_{name}": {"runs": its} for name, its in runs.items()}}


def test_duels_count_upsets_and_calls():
    told = ledger_of(one=(0.90, 0.91, 0.92, 0.93, 0.94), other=(0.95, 0.95, 0.96, 0.97, 0.905))
    (duel,) = lesson.duels(told, "relation")
    assert duel.short == ("one", "other") and duel.difference == pytest.approx(-2.7)
    assert duel.of == 25 and duel.upsets == 4  # those of the last against the first, and four seeds above 0.905
    assert 0.01 < duel.p < 0.2 and duel.sure < 25
    (same,) = lesson.duels(ledger_of(a=(0.9,) * 5, b=(0.9,) * 5), "shape")
    assert same.upsets == same.sure == 0 and same.p == 1
    assert "toy_one on shape: 92.0% (90.0% to 94.0%)" in lesson.draw_seeds(told).alt


# Figures ---------------------------------------------------------------------------------------------------------


def test_a_fault_is_seen_when_it_exceeds_chance():
    assert lesson.verdict((-0.2, -0.5, 0.1), 0.4) == "nothing"
    assert lesson.verdict((-2.0, -3.0, -1.0), 0.4) == "a worse net"
    assert lesson.verdict((1.0, 0.4, 1.6), 0.4) == "a better net"
    alt = lesson.draw_costs({"one": (-0.2, -0.5, 0.1), "two": (-90.0, -91.0, -89.0), "three": (1.0, 0.4, 1.6)}, 0.4).alt
    assert "two: -90.0 points, so one sees a worse net" in alt and "three: +1.0 points, so one sees a better net" in alt


def test_the_published_figures_disagree_where_they_are_known_to():
    entries = {it.name: it for it in lesson.published()}
    assert len(entries) == len(list_weights())
    assert not entries["resnext101_32x16d.fb_swsl_ig1b_ft_in1k"].agree
    assert entries["resnext50_32x4d.fb_ssl_yfcc100m_ft_in1k"].agree
    near, far = share(800, 1000), share(500, 1000)
    assert not pictures.Published("made up", 224, {"a": near, "b": near, "c": far}, None).agree
    one = entries["resnext50_32x4d.a1h_in1k"]
    assert one.size == 224 and one.imagenet["timm"].of == 50_000 and one.v2.of == 10_000
    assert 0.8 < lesson.rank_correlation(lesson.published()) < 1
    alt = lesson.draw_published(lesson.published()).alt
    assert "resnext101_32x16d.fb_swsl_ig1b_ft_in1k" in alt


def test_the_pictures_say_in_words_what_they_show(few):
    nets = {"toy_a": predictions(), "toy_b": predictions(seed=1)}
    singles = {name: measure(its).top1 for name, its in nets.items()}
    pair = compare(*nets.values())
    assert str(pair) in lesson.draw_pairs(singles, {("toy_a", "toy_b"): pair}).alt
    drawn = lesson.drawn_intervals(sure.wilson, 0.9, 50, times=20)
    kept = {"Wilson's": lesson.kept_promise(sure.wilson, np.linspace(0.6, 0.99, 9), 50)}
    assert "Wilson's from" in lesson.draw_promise(drawn, 0.9, 50, kept, np.linspace(0.6, 0.99, 9)).alt
    assert "stripes" in lesson.draw_world(few).alt
    bins = {"test": measure(nets["toy_a"]).calibration, "noise": measure(nets["toy_b"]).calibration}
    assert lesson.draw_calibration(bins).alt.count("Reliability diagram") == 2


def test_the_pictures_of_the_toy_world_say_by_how_much_each_way_moves_them(few):
    torch.manual_seed(0)
    net = create_model("toy_resnet", num_classes=len(CLASSES))
    transform, right = transform_for(net), predict(net, few, progress=False)
    measures = measure(right, groups=groups())
    shown_as = {"as it is": (few, transform), "as JPEG": (few, lambda picture: transform(lesson.as_jpeg(picture)))}
    ways = lesson.ask_in_ways(net, shown_as, right, [0, 5])
    assert torch.equal(ways["as it is"].answers.logits, right.logits)
    assert torch.equal(ways["as it is"].seen[1], transform(few.picture(5)))
    assert not torch.equal(ways["as JPEG"].seen[1], transform(few.picture(5)))
    alt = lesson.draw_ways(ways, measures, transform).alt
    assert "as it is: +0.0 (" in alt and f"mean confidence {right.probabilities.amax(1).mean():.0%}" in alt
    assert "texture" in lesson.draw_classes({"toy_resnet": measures}).alt
    curves = {"toy_resnet": ([share(3, 4), share(1, 4)], [0.9, 0.8])}
    alt = lesson.draw_new({"hue": share(9, 10)}, share(95, 100), (8, 20), curves).alt
    assert "at 20 pixels 25% and 80%" in alt and "hue 90.0%" in alt


def test_nets_are_timed_beside_each_other():
    torch.manual_seed(0)
    nets = {name: create_model(name, num_classes=20).eval() for name in ("toy_resnet", "toy_halonet")}
    found = lesson.faster(nets, batches=(1, 2), runs=3)
    assert found["toy_resnet"][1].median == found["toy_resnet"][2].median == 1 and found["toy_halonet"][2].median > 0
    peak = lesson.peaks({"toy_resnet": nets["toy_resnet"]}, batch=2)["toy_resnet"]
    assert peak is None or peak > 1e6


# At full size, or what is missing --------------------------------------------------------------------------------


def unavailable(*arguments, **options):
    raise WeightsUnavailable("not now")


def test_without_weights_and_pictures_both_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(real, "create_model", unavailable)
    monkeypatch.setenv("NETWRIGHT_HOME", str(tmp_path))
    told = lesson.published_on(None, model="halonet26t")
    assert told.startswith("Nothing is measured here") and "halonet26t" in told and "MB" in told
    assert "IMAGENET is not set" in told and str(tmp_path / "datasets") in told
    assert "has none in a layout that is known" in lesson.published_on(tmp_path, model="halonet26t")


def test_with_both_a_verdict_is_printed(monkeypatch, tmp_path):
    entry = list_weights("halonet26t.*")[0]

    def published(name, pretrained):
        torch.manual_seed(0)
        net = create_model(name)
        net.weights = entry
        return net

    monkeypatch.setattr(real, "create_model", published)
    monkeypatch.setattr(real, "pick_device", lambda: torch.device("cpu"))
    for synset in lesson.IMAGENETTE[:2]:
        (tmp_path / "val" / synset).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (90, 70), (40 * i, 90, 10)).save(tmp_path / "val" / synset / f"{i}.png")
    told = lesson.published_on(tmp_path, model="halonet26t", limit=3)
    assert "halonet26t.a1h_in1k on imagenet/val, 3 of 4" in told and "by synset, among the 2 answers that occur" in told
    assert "top-1 published 79.13%" in told and "not comparable" in told


def test_without_a_gpu_throughput_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "resnest50d" in str(lesson.throughput(("resnest50d",)))
    assert "no CUDA device is here" in str(lesson.throughput(("resnest50d",)))


def test_every_exercise_of_the_room_is_in_the_notebook_in_its_order():
    from netwright.notebooks import sources

    source = next(path for path in sources() if path.stem == "11_evaluate").read_text(encoding="utf-8")
    places = [source.index(f'@exercise("{name}")') for name in IDS]
    assert places == sorted(places) and len(IDS) >= 6
    assert all(engine.find(name) in lesson.CHECKS for name in IDS)
