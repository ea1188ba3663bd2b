"""Notebook 10: its solutions are the library's own parts, other right answers pass, and what it shows is as it says.

That every exercise's stub, solution and known mistakes are told apart is in test_lessons.py, for all notebooks at once.
"""

import copy
import re
import time
import types

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netwright.datasets import open_data
from netwright.lessons import check, engine, finetune
from netwright.lessons.finetune import (
    averaging,
    experiments,
    holding,
    mixing,
    rates,
    records,
    resuming,
    signs,
    stepping,
)
from netwright.lessons.finetune.trials import numbers, pictures, plain_net, small_net
from netwright.toys import CLASSES, label_of, ledger
from netwright.toys.classes import OUTLINE_NAMES
from netwright.tune import find, recipes
from netwright.tune.ema import Ema
from netwright.tune.finetune import finetune as train
from netwright.tune.freeze import freeze
from netwright.tune.mixing import Draw, Mixing
from netwright.tune.optimisers import param_groups
from netwright.tune.schedule import Schedule
from tiny_training import same

NAMES = [each.id for each in finetune.CHECKS]


# The exercises -----------------------------------------------------------------------------------------------------


def test_there_are_eight_exercises_and_the_notebook_asks_for_them_in_their_order():
    source = (finetune_source()).read_text(encoding="utf-8")
    places = [source.index(f'@exercise("{name}")') for name in NAMES]
    assert len(NAMES) == 8 and places == sorted(places)


def finetune_source():
    from netwright import notebooks

    return next(path for path in notebooks.sources() if path.stem == "10_finetune")


@pytest.mark.parametrize("name", NAMES)
def test_a_check_and_its_diagnosis_take_less_than_two_seconds(name):
    each = engine.find(name)
    for version in (each.ours, list(each.mistakes.values())[-1]):  # the last mistake is compared with all before it
        start = time.process_time()
        outcome = check(name, version)
        assert time.process_time() - start < 2.0, outcome


# Other right answers -------------------------------------------------------------------------------------------------


def step_that_clears_first(net, optimiser, loss, images, targets, *, rate, clip_norm, ema):
    optimiser.zero_grad(set_to_none=False)
    net.train(True)
    value = loss(net.forward_head(net.forward_features(images)), targets)
    value.backward()
    norm = torch.stack([p.grad.norm() for p in net.parameters()]).norm()
    for group in optimiser.param_groups:
        group.update(lr=group["lr_scale"] * rate)
        for parameter in group["params"]:
            parameter.grad *= (clip_norm / (norm + 1e-6)).clamp(max=1)
    optimiser.step()
    ema.update(net)
    return value.detach()


def freeze_by_a_hook(net):
    for part in (net.stem, net.stages):
        for parameter in part.parameters():
            parameter.requires_grad = False

    def hold(module, inputs):
        module.stem.eval()
        module.stages.eval()

    net.register_forward_pre_hook(hold)


def freeze_by_a_train_of_the_net(net):
    def train_mode(self, mode=True):
        nn.Module.train(self, mode)
        self.stem.eval()
        self.stages.eval()
        return self

    net.stem.requires_grad_(False)
    net.stages.requires_grad_(False)
    net.train = types.MethodType(train_mode, net)
    net.train(net.training)


def groups_of_the_library(net, weight_decay, layer_decay):
    return param_groups(net, weight_decay, exempt=("vectors",), layer_decay=layer_decay)


def rate_of_the_library(step, *, steps, warmup, peak, last):
    return Schedule("cosine", peak, steps, 1, warmup_epochs=warmup, min_lr=last).rate(step)


def rate_by_halves(step, *, steps, warmup, peak, last):
    if warmup and step <= warmup:
        return step / warmup * peak
    way = min(step - warmup, steps - warmup) / (steps - warmup)
    return peak - (peak - last) * np.sin(np.pi * way / 2) ** 2  # 1 - cos is twice the square of the half angle's sine


def mix_of_the_library(images, targets, *, share, classes, smoothing):
    return Mixing(classes, mixup=1.0, smoothing=smoothing).apply(images, targets, Draw(share))


def mix_then_smooth(images, targets, *, share, classes, smoothing):
    partners = torch.arange(len(images) - 1, -1, -1)
    soft = share * F.one_hot(targets, classes).float() + (1 - share) * F.one_hot(targets[partners], classes).float()
    return torch.lerp(images[partners], images, share), soft * (1 - smoothing) + smoothing / classes


def average_by_kinds(average, net, *, decay, updates):
    keep = min(1 - 1 / (1 + updates) ** (2 / 3), decay)
    with torch.no_grad():
        for mean, new in zip(average.parameters(), net.parameters(), strict=True):
            mean.copy_(mean * keep + new * (1 - keep))
        for (name, mean), new in zip(average.named_buffers(), net.buffers(), strict=True):
            mean.copy_(new if name.endswith("num_batches_tracked") else mean * keep + new * (1 - keep))


def average_by_loading(average, net, *, decay, updates):
    keep = min(decay, 1 - (1 + updates) ** (-2 / 3))
    old, new = average.state_dict(), net.state_dict()
    average.load_state_dict(
        {n: keep * old[n] + (1 - keep) * new[n] if new[n].is_floating_point() else new[n] for n in new}
    )


def accumulate_sums(net, loss, images, targets, parts):
    total = torch.zeros(())
    size = -(-len(images) // parts)
    for start in range(0, len(images), size):
        some = slice(start, start + size)
        value = loss(net(images[some]), targets[some]) * len(targets[some])
        (value / len(images)).backward()
        total += value.detach()
    return total / len(images)


def accumulate_evenly(net, loss, images, targets, parts):
    whole = 0.0
    for some, its in zip(images.tensor_split(parts), targets.tensor_split(parts), strict=True):
        value = F.cross_entropy(net(some), its, reduction="sum") / len(images)
        value.backward()
        whole += float(value.detach())
    return whole


class ResumableByParts(finetune.Training):
    STATEFUL = ("net", "optimiser", "ema")

    def state(self):
        return (
            [getattr(self, name).state_dict() for name in self.STATEFUL],
            self.chance.get_state(),
            self.done,
            self.best,
        )

    def go_on(self, state):
        inner, chance, self.done, self.best = state
        for name, its in zip(self.STATEFUL, inner, strict=True):
            getattr(self, name).load_state_dict(its)
        self.chance = torch.Generator()
        self.chance.set_state(chance)


OTHERS = {
    "finetune.step": (step_that_clears_first,),
    "finetune.freeze": (freeze, freeze_by_a_hook, freeze_by_a_train_of_the_net),
    "finetune.groups": (groups_of_the_library,),
    "finetune.rate": (rate_of_the_library, rate_by_halves),
    "finetune.mix": (mix_of_the_library, mix_then_smooth),
    "finetune.average": (average_by_kinds, average_by_loading),
    "finetune.accumulate": (accumulate_sums, accumulate_evenly),
    "finetune.resume": (ResumableByParts,),
}


@pytest.mark.parametrize(("name", "other"), [(name, other) for name, its in OTHERS.items() for other in its])
def test_a_right_answer_written_otherwise_passes(name, other):
    assert check(name, other), check(name, other)


def test_every_exercise_has_another_right_answer():
    assert OTHERS.keys() == set(NAMES)


# The solutions are the library's parts ---------------------------------------------------------------------------------


def test_our_freeze_holds_what_the_librarys_holds_and_no_more():
    held = {}
    for way in (freeze, holding.freeze):
        net = small_net(drop_rate=0.3, drop_path_rate=0.3)
        way(net)
        net.train()
        modes = {name: module.training for name, module in net.named_modules() if name not in ("stages", "final_conv")}
        held[way] = modes, [p.requires_grad for p in net.parameters()]
    assert held[freeze] == held[holding.freeze] and any(held[freeze][0].values())


def test_our_groups_are_the_librarys_one_by_one():
    net = small_net()
    ours = {id(p): group for group in rates.groups(net, 0.1, 0.8) for p in group["params"]}
    for group in groups_of_the_library(net, 0.1, 0.8):
        for parameter in group["params"]:
            mine = ours.pop(id(parameter))
            assert (mine["weight_decay"], mine["lr_scale"]) == (group["weight_decay"], group["lr_scale"])
    assert not ours


def test_our_average_is_the_librarys_over_thirty_updates():
    net = small_net(1)
    library, mine = Ema(net, 0.9, warmup=True), finetune.Average(net, averaging.update, 0.9)
    for _ in range(30):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn_like(parameter))
        library.update(net)
        mine.update(net)
    for one, other in zip(mine.net.state_dict().values(), library.net.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_batch_in_parts_has_the_gradient_that_the_library_accumulates():
    from netwright.datasets.inputs import Batch
    from netwright.tune.parts import build
    from netwright.tune.step import TrainingStep

    recipe = find("full")
    net = small_net().float()
    mine = copy.deepcopy(net)
    freeze(mine)  # so that BatchNorm does not see the parts
    freeze(net)
    step = TrainingStep(net, build(recipe, net, steps_per_epoch=1, batch=8, epochs=1), batch=8, epochs=1)
    step.update = lambda: None
    images, targets = pictures(8)
    images = images.float()
    cut = [Batch(images[:4], targets[:4], targets[:4]), Batch(images[4:], targets[4:], targets[4:])]
    step(0, cut)
    stepping.accumulate(mine.train(), lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1), images, targets, 2)
    torch.testing.assert_close(mine.classifier.weight.grad, net.classifier.weight.grad)


def test_a_training_that_is_resumed_differs_without_any_of_its_six_parts():
    # Each of the six matters: what the exercise asks for is not more than is needed.
    for part in ("net", "optimiser", "ema", "chance", "done", "best"):
        assert not check("finetune.resume", resuming._without(part)), part


def test_nothing_that_a_trial_does_needs_luck():
    assert same(numbers(small_net()), numbers(small_net()))
    assert same(plain_net().state_dict(), plain_net().state_dict())


# The folder ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("signs")
    return home, signs.write_signs(home, {"train": 4, "val": 2, "test": 3})


def test_the_signs_are_a_folder_like_any_other(folder):
    home, data = folder
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 24, "val": 12, "test": 18}
    assert data.class_names == tuple(sorted(signs.SIGNS)) == open_data(home).class_names
    assert all((np.bincount(split.targets) == len(split) // 6).all() for split in data.splits.values())


def test_no_picture_is_in_two_splits(folder):
    _, data = folder
    seen = [picture.tobytes() for split in data.splits.values() for picture in map(split.picture, range(len(split)))]
    assert len(set(seen)) == len(seen)


def test_a_sign_is_what_its_name_says():
    factors, targets = signs.sign_factors(40)
    turns = factors["angle"] / 1024
    for number, (name, sign) in enumerate(signs.SIGNS.items()):
        some = targets == number
        assert {OUTLINE_NAMES[kind] for kind in factors["kind"][some]} == {sign.outline}
        if sign.turn is None:
            assert turns[some].std() > 0.2, name
        else:
            away = np.abs((turns[some] - sign.turn + 0.5) % 1 - 0.5)
            assert away.max() <= signs.SWAY + 1e-3 and away.std() > 0.001, name


def test_the_toy_nets_words_for_the_signs_are_shapes():
    # A toy net is right to call them so: it is the folder that asks for something else.
    factors, _ = signs.sign_factors(3)
    names = [CLASSES[label].name for label in label_of(factors)]
    assert names == [sign.outline for sign in signs.SIGNS.values()] * 3


def test_a_mirrored_moon_is_the_other_moon():
    """Told by where the figure's middle lies from its disc's: left of it in a moon that opens to the right."""
    from netwright.toys import render

    factors, targets = signs.sign_factors(30)
    figures = render(factors)["figures"] > 0
    names = list(signs.SIGNS)

    def side(figure):
        columns = figure.any(0).nonzero()[0]
        return np.sign(np.average(np.arange(64), weights=figure.sum(0)) - columns.mean())

    for name, expected in (("moon left", 1), ("moon right", -1)):
        sides = [side(figure) for figure in figures[targets == names.index(name)]]
        mirrored = [side(figure[:, ::-1]) for figure in figures[targets == names.index(name)]]
        assert set(sides) == {expected} and set(mirrored) == {-expected}


# What is shown ---------------------------------------------------------------------------------------------------------


def test_drift_is_zero_where_nothing_moved_and_counts_in_deviations():
    net = small_net()
    before = numbers(net)
    assert set(finetune.drift(before, net.state_dict()).values()) == {0.0}
    norm = net.stem[0].norm
    norm.running_mean += 2 * norm.running_var.sqrt()
    moved = finetune.drift(before, net.state_dict())
    assert moved.pop("stem.0.norm") == pytest.approx(2) and set(moved.values()) == {0.0}


def test_twenty_steps_move_the_buffers_of_a_net_without_gradients_and_none_of_a_frozen_one():
    images, targets = pictures(48)
    for hold, moves in (
        (lambda net: (net.stem.requires_grad_(False), net.stages.requires_grad_(False)), True),
        (freeze, False),
    ):
        net = small_net()
        net.to(images.dtype)
        hold(net)
        before = numbers(net, "stem", "stages")
        classifier = net.classifier.weight.clone()
        experiments.train_classifier(net, images, targets, steps=3)
        after = numbers(net, "stem", "stages")
        assert all(torch.equal(before[n], after[n]) for n, _ in net.named_parameters() if n in before)
        assert any(not torch.equal(before[n], after[n]) for n, _ in net.named_buffers()) == moves
        assert not torch.equal(classifier, net.classifier.weight)


def test_every_recipe_is_told_with_the_source_of_its_rate():
    rows = finetune.recipes.rows(recipes())
    assert [row[0] for row in rows] == list(recipes())
    assert all(len(row) == len(finetune.recipes.HEADS) and all(row) for row in rows)
    assert "body frozen" in rows[0][4] and "layer decay 0.75" in next(row[4] for row in rows if row[0] == "layerwise")


def test_the_rates_of_a_recipe_are_those_of_its_schedule():
    told = finetune.recipes.rates_of(find("layerwise"))
    assert len(told) == 20 * finetune.recipes.STEPS and told[0] == 0
    assert max(told) == told[2 * finetune.recipes.STEPS] == find("layerwise").optimiser.lr
    ssl = finetune.recipes.rates_of(find("ssl"))
    assert sorted(set(ssl), reverse=True) == pytest.approx([1.5e-3, 1.5e-4, 1.5e-5])


@pytest.mark.parametrize(
    "draw", ["draw_pictures", "draw_groups", "draw_rates", "draw_mixed", "draw_shares", "draw_shown"]
)
def test_a_picture_is_drawn_with_a_description(draw, folder):
    from netwright.models import transform_for
    from netwright.tune import augmentation_for

    _, data = folder
    net = small_net().float()
    net.preprocessing = None
    training = data.split("train")
    images, targets = finetune.inputs_of(training, net)
    made = {
        "draw_pictures": lambda: finetune.draw_pictures(training, 4),
        "draw_groups": lambda: finetune.draw_groups(net, rates.groups(net, 0.1, 0.75)),
        "draw_rates": lambda: finetune.draw_rates({"yours": [0.0, 1.0, 0.5], "other": [2.0, 1.0]}),
        "draw_mixed": lambda: finetune.draw_mixed(
            images[:3],
            targets[:3],
            {"mixup": mixing.mix(images[:3], targets[:3], share=0.6, classes=6, smoothing=0.0)},
            transform_for(net),
            data.class_names,
        ),
        "draw_shares": lambda: finetune.draw_shares(8, {"one": (1, 1), "two": (2, 2)}),
        "draw_shown": lambda: finetune.draw_shown(training, 0, augmentation_for(find("full"), transform_for(net)), 3),
    }[draw]()
    assert len(made.alt) > 60 and made.png[:4] == b"\x89PNG"


def test_the_bars_of_groups_are_the_scales():
    net = small_net()  # stem, three blocks, classifier
    alt = finetune.draw_groups(net, rates.groups(net, 0.1, 0.5)).alt
    assert f"The {len(list(net.parameters()))} parameters" in alt and "from 0.062 to 1" in alt


# What is tried out -----------------------------------------------------------------------------------------------------


def test_a_number_that_was_peeked_at_is_too_high_and_another_is_not():
    # Features that tell nothing of the classes: whatever is above chance was luck.
    chance = torch.Generator().manual_seed(1)
    features, targets = torch.randn(500, 20, generator=chance), torch.randint(4, (500,), generator=chance)
    peeked = finetune.peek(features, targets, runs=60, epochs=15, train=40, judge=40)
    assert (peeked.told - peeked.true).mean() > 3 > abs((peeked.fresh - peeked.true).mean()) + 1
    assert peeked.true.mean() == pytest.approx(25, abs=2)


def test_a_classifier_on_telling_features_learns():
    chance = torch.Generator().manual_seed(1)
    targets = torch.randint(4, (300,), generator=chance)
    features = F.one_hot(targets, 4).float() + 0.1 * torch.randn(300, 4, generator=chance)
    peeked = finetune.peek(features, targets, runs=5, epochs=5, train=60, judge=40)
    assert peeked.true.min() > 95


OPTIONS = {
    "model": "toy_resnet",
    "weights": "none",
    "recipe": "layerwise",
    "epochs": 2,
    "batch": 6,
    "workers": 0,
    "tensorboard": False,
}


def test_a_real_process_is_killed_and_the_resumed_training_differs_in_nothing(folder, tmp_path):
    home, _ = folder
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = train(home, out=str(tmp_path / "whole"), progress=False, **OPTIONS)
        killed = {"out": str(tmp_path / "killed"), **OPTIONS}
        step = finetune.train_and_kill(home, after=2, checkpoint_minutes=1e-4, **killed)
        assert 2 <= step < 8 and not (tmp_path / "killed" / "report.html").exists()
        resumed = train(home, progress=False, **killed)
    finally:
        torch.set_num_threads(threads)
    assert resumed.history.resumes[0]["step"] >= 1
    assert {"Curves", "Confusions", "What was run"} < set(finetune.contents(tmp_path / "killed" / "report.html"))
    found = finetune.differences(resumed, whole)
    assert [unequal for unequal, _ in found.values()] == [0, 0] and min(of for _, of in found.values()) > 50

    other = train(home, out=str(tmp_path / "other"), progress=False, **OPTIONS | {"seed": 1})
    assert min(unequal for unequal, _ in finetune.differences(other, whole).values()) > 0


def test_a_process_that_ends_by_itself_is_told_with_its_last_word(tmp_path):
    with pytest.raises(RuntimeError, match="ended by itself, with status 2.*neither a folder"):
        finetune.train_and_kill(tmp_path / "nothing here", after=1, out=str(tmp_path / "out"), **OPTIONS)


def test_batches_by_hand_are_those_of_a_training(folder):
    _, data = folder
    net = small_net().float()
    batches = finetune.batches_of(find("full"), data.split("train"), net, batch=6, epochs=2)
    assert [len(batch.targets) for batch in batches] == [6] * 8
    for epoch in (batches[:4], batches[4:]):
        assert sorted(torch.cat([batch.indices for batch in epoch]).tolist()) == list(range(24))


# What was recorded -----------------------------------------------------------------------------------------------------


def made_up_ledger():
    share = {"value": 0.9, "low": 0.88, "high": 0.92, "of": 8000}
    log = [
        {"epoch": e, "step": 625 * (e + 1), "train_loss": 1 / (e + 1), "val_loss": 0.5, "val_top1": 0.5 + 0.1 * e}
        for e in range(find("toy").epochs)
    ]
    runs = [
        {"seed": seed, "seconds": 600, "top1": share, "groups": {"relation": share | {"value": 0.5 + 0.1 * seed}}}
        for seed in range(3)
    ]
    about = {"date": "2026-01-02", "device": "CPU, 2 cores", "threads": 1, "torch": "2.13.0", "precision": "fp32"}
    return about | {
        "recipe": "toy",
        "epochs": find("toy").epochs,
        "pictures": 40_000,
        "nets": {"toy_resnet": {"runs": runs, "log": log}},
    }


def test_a_record_is_replayed_and_says_on_what_it_was_made(monkeypatch):
    monkeypatch.setattr(ledger, "results", made_up_ledger)
    shown = finetune.replay()
    assert "on CPU, 2 cores" in shown.sentence and "no GPU" in shown.sentence and "2026-01-02" in str(shown)
    assert shown.picture.alt in shown._repr_mimebundle_()["text/html"] and "Learning rate" in shown.picture.alt
    assert "toy_resnet: 50.0%, 60.0%, 70.0%" in finetune.seeds("relation").picture.alt
    monkeypatch.setattr(ledger, "results", lambda: made_up_ledger() | {"device": "NVIDIA H100"})
    assert "no GPU" not in finetune.replay().sentence


def test_where_nothing_is_recorded_it_is_said(monkeypatch):
    def missing():
        raise FileNotFoundError

    monkeypatch.setattr(ledger, "results", missing)
    shown = finetune.replay()
    assert shown.sentence == records.NOTHING and shown.picture is None
    assert shown._repr_mimebundle_()["text/html"] == f"<p>{records.NOTHING}</p>"
    assert finetune.seeds().sentence == records.NO_SEEDS and finetune.seeds().picture is None
    monkeypatch.setattr(ledger, "results", lambda: made_up_ledger() | {"nets": {}})
    assert finetune.replay().sentence == records.NOTHING


# What the notebook's prose says of its own run --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def said():
    """All that the built notebook shows, as text: prints, tables and descriptions of pictures."""
    import nbformat

    from netwright import notebooks

    cells = nbformat.read(notebooks.built(finetune_source()), as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text") or output.data.get("text/plain", "") for output in outputs)


def test_looking_in_training_mode_has_changed_the_net(said):
    shares = [float(share) for share in re.findall(r"net\.(?:eval|train)\(\)\s+[a-z ]+?\s+([\d.]+)% right", said)]
    before, sorted_before, _, sorted_in_training, after, _ = shares
    assert before == sorted_before > after and sorted_in_training < 30
    moved, of = re.search(r"(\d+) of the (\d+) buffers are not what they were", said).groups()
    assert moved == of


def test_the_frozen_net_of_the_tutorial_has_moved_and_ours_has_not(said):
    changed = re.findall(r"(\d+) of\s+(\d+) (parameters|buffers) of the frozen body", said)
    assert changed[0][0] == "0" and changed[1][0] == changed[1][1]
    before, after = map(float, re.search(r"old classifier: ([\d.]+)% right before, ([\d.]+)% after", said).groups())
    assert after < before - 1
    assert re.search(r"requires_grad = False: on average 0\.(?!00)", said) and "freeze: on average 0.00" in said


def test_all_that_is_wrong_with_flips_is_wrong_between_the_moons(said):
    mistakes = re.search(r"Most frequent mistakes: (.*)\.", said)[1].split("; ")
    wrong = {re.sub(r",.*", "", mistake) for mistake in mistakes}
    assert "moon left taken for moon right" in wrong or "moon right taken for moon left" in wrong
    assert all(re.fullmatch("moon (left|right) taken for moon (left|right)", mistake) for mistake in wrong)


def test_the_three_ways_come_out_as_the_prose_has_it(said):
    told = re.search(r"a line a run\. (.*) By chance", said)[1]
    top1 = {name: float(value) for name, value in re.findall(r"(\w[\w, ]*): ([\d.]+)% \(", told)}
    wrong = re.search(r"head_only has wrong on val:\n(.*?)\n\n", said, re.DOTALL)[1]
    pairs = re.findall(r"  ([a-z ]+) taken for ([a-z ]+), ", wrong)
    assert pairs and {name for pair in pairs for name in pair} <= {"moon left", "moon right", "square", "diamond"}
    assert top1["full, from random numbers"] < 50 < top1["head_only"] < min(top1["full"], top1["layerwise"])


def test_the_loop_of_ones_own_and_the_resumed_training_end_where_they_should(said):
    gaps = re.findall(r"the (?:nets|averages)\s+([\d.e-]+)", said)
    assert len(gaps) == 2 and max(map(float, gaps)) < 1e-4
    unequal = re.findall(r"the (?:net|log): (\d+) of [\d,]+ numbers differ", said)
    assert unequal == ["0", "0"]
    killed, steps = map(int, re.search(r"come to step (\d+) of (\d+)", said).groups())
    assert 0 < killed < steps


def test_peeking_pays_and_a_wrong_order_of_classes_is_worse_than_nothing(said):
    peeked, fresh = map(float, re.findall(r"on average ([+-][\d.]+) points", said))
    assert peeked > 1 > abs(fresh)
    wrong, right, nothing = map(float, re.findall(r"(?:right, loss|has a loss of) ([\d.]+\d)", said))
    assert wrong > nothing > right
