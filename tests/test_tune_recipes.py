"""Recipes are data that fit their schema and say where they come from, and every one makes the parts it promises."""

import copy
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from netwright.datasets import Batch, Ticket
from netwright.models import create_model, transform_for
from netwright.nets.config import Block, NetConfig, Split, Stage, Stem
from netwright.tune import RecipeError, TrainBatches, augmentation_for, build, find, order_for, recipes
from netwright.tune.augment import Augmentation
from netwright.tune.freeze import is_frozen
from netwright.tune.optimisers import Lamb
from netwright.tune.recipes import parse
from netwright.tune.step import TrainingStep

FILE = Path(__file__).parents[1] / "lib" / "netwright" / "tune" / "recipes.toml"
TABLES = tomllib.loads(FILE.read_text(encoding="utf-8"))
SPLIT = Block(channel_attention=Split(2))
TINY = NetConfig(
    Stem((8,), 3),
    (Stage((Block(), Block()), 4, 16, stride=1), Stage((Block(),), 4, 16), Stage((SPLIT, SPLIT), 8, 32)),
    input_size=32,
)
STEPS = 4  # in an epoch


def tiny(recipe) -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model(TINY, num_classes=3, **recipe.net_options())


def written(table: dict, prefix: str = ""):
    """Every value that a recipe's table holds, as "optimiser.lr"."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from written(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


@pytest.mark.parametrize("name", TABLES)
def test_every_value_says_where_it_comes_from_or_that_nobody_knows(name):
    recipe = find(name)
    values = {k: v for k, v in TABLES[name].items() if k not in ("summary", "freeze", "extends", "sources", "unknown")}
    assert [where for where in written(values) if not recipe.source(where)] == []
    known = set(written(copy.deepcopy({k: vars(v) for k, v in vars(recipe).items() if hasattr(v, "__dict__")})))
    known |= {key.split(".")[0] for key in known} | {"epochs", "batch", "*"}
    assert set(recipe.sources) | set(recipe.unknown) <= known  # no source of something that does not exist
    assert recipe.summary.endswith(".") and len(recipe.summary) < 120


def test_the_published_recipes_are_what_the_seeds_say():
    ssl, resnest, a1, a1h = (find(name) for name in ("ssl", "resnest", "a1", "a1h"))
    assert (ssl.epochs, ssl.batch, ssl.optimiser.name, ssl.optimiser.lr) == (30, 1536, "sgd", 0.0015)
    assert ssl.optimiser.weight_decay == resnest.optimiser.weight_decay == 1e-4
    assert (resnest.epochs, resnest.batch, resnest.augmentation.policy) == (270, 8192, "auto")
    assert resnest.optimiser.lr == pytest.approx(0.1 * resnest.batch / 256)
    assert (resnest.regularisation.drop_rate, resnest.regularisation.drop_block) == (0.2, 0.1)
    assert (resnest.loss.smoothing, resnest.mixing.mixup, resnest.schedule.kind) == (0.1, 0.2, "cosine")
    assert (a1.epochs, a1.batch, a1.optimiser.name, a1.optimiser.lr) == (600, 2048, "lamb", 5e-3)
    assert (a1.loss.kind, a1.mixing.mixup, a1.mixing.cutmix) == ("binary_cross_entropy", 0.2, 1.0)
    assert (a1.augmentation.policy, a1.augmentation.magnitude, a1.augmentation.repeats) == ("rand", 7, 3)
    assert (a1.regularisation.drop_path_rate, a1.schedule.warmup_epochs) == (0.05, 5)
    assert a1h.optimiser == a1.optimiser and set(a1h.unknown) > set(a1.unknown)
    assert a1h.source("regularisation.drop_rate").startswith("unknown: ")


@pytest.mark.parametrize("name", TABLES)
def test_every_recipe_trains_and_goes_on_bit_for_bit_after_an_interruption(name):
    recipe = find(name)
    losses, state = train(recipe)
    assert len(losses) == 2 * STEPS == len(set(losses)) and torch.tensor(losses).isfinite().all()
    for stop in (1, STEPS, STEPS + 2):
        resumed_losses, resumed = train(recipe, stop)
        assert resumed_losses == losses
        assert all(tensor.equal(resumed[key]) for key, tensor in state.items())


def train(recipe, stop: int | None = None) -> tuple[list[float], dict]:
    """Two short epochs: the loss of each step, and every tensor in the end.

    After `stop` steps everything is thrown away but what a checkpoint would hold, and made anew.
    """
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (36, 40, 3), dtype=np.uint8))
    step, batches, augmentation = begin(recipe)
    losses = []
    while len(losses) < 2 * STEPS:
        if len(losses) == stop:
            saved = copy.deepcopy(step.state_dict())
            step, batches, augmentation = begin(recipe)
            step.load_state_dict(saved)
        batches.start_at(len(losses))
        tickets = next(iter(batches))
        images = torch.stack([augmentation(picture, ticket) for ticket in tickets])
        numbers = torch.tensor([ticket.index for ticket in tickets])
        losses.append(step(len(losses), [Batch(images, numbers % 3, numbers)]).loss.item())
    average = step.parts.ema.net.state_dict() if step.parts.ema else {}
    return losses, step.net.state_dict() | {f"average.{key}": tensor for key, tensor in average.items()}


def begin(recipe) -> tuple[TrainingStep, TrainBatches, Augmentation]:
    net = tiny(recipe)
    parts = build(recipe, net, steps_per_epoch=STEPS, batch=8, epochs=2)
    batches = TrainBatches(order_for(recipe, 8 * STEPS), 8, epochs=2)
    return TrainingStep(net, parts, batch=8, epochs=2), batches, augmentation_for(recipe, transform_for(net))


def test_the_rate_follows_the_batch():
    for name, batch, factor in (("resnest", 256, 1 / 32), ("a1", 512, 0.5), ("full", 256, 2.0)):
        recipe = find(name)
        schedule = build(recipe, tiny(recipe), steps_per_epoch=STEPS, batch=batch).schedule
        assert schedule.lr == pytest.approx(recipe.optimiser.lr * factor)
        assert schedule.warmup_lr == pytest.approx(recipe.schedule.warmup_lr * factor)
        assert schedule.steps == recipe.epochs * STEPS


def test_a_shorter_training_keeps_its_stairs_and_is_not_all_warmup():
    ssl, a1 = find("ssl"), find("a1")
    assert build(ssl, tiny(ssl), steps_per_epoch=STEPS, batch=8, epochs=3).schedule.stairs == pytest.approx((1, 2))
    assert build(a1, tiny(a1), steps_per_epoch=STEPS, batch=8, epochs=10).schedule.warmup_epochs == 2


def test_parts_are_what_the_recipe_says():
    head, a1, resnest = find("head_only"), find("a1"), find("resnest")
    net = tiny(head)
    parts = build(head, net, steps_per_epoch=STEPS, batch=8)
    trained = [p for group in parts.optimiser.param_groups for p in group["params"]]
    assert {id(p) for p in trained} == {id(p) for p in net.classifier.parameters()} and is_frozen(net.stem)
    parts = build(a1, tiny(a1), steps_per_epoch=STEPS, batch=8)
    assert isinstance(parts.optimiser, Lamb) and (parts.mixing.smoothing, parts.mixing.cutmix) == (0.1, 1.0)
    assert parts.optimiser.param_groups[0]["lr"] == parts.schedule.rate(0)
    assert order_for(a1, 600).repeats == 3
    net = tiny(resnest)
    assert len(build(resnest, net, steps_per_epoch=STEPS, batch=8).drop_block.hooks) == 9 and net.drop_rate == 0.2
    augmentation = augmentation_for(resnest, transform_for(net), seed=3)
    assert (augmentation.input_size, augmentation.policy, augmentation.jitter) == ((32, 32), "auto", 0.4)
    assert augmentation(Image.new("RGB", (50, 40)), Ticket(0)).shape == (3, 32, 32)


def test_an_average_has_no_drop_block_in_it():
    table = copy.deepcopy(TABLES["resnest"]) | {"ema": {"decay": 0.9}}
    recipe = parse("mine", table)
    parts = build(recipe, tiny(recipe), steps_per_epoch=STEPS, batch=8)
    assert parts.drop_block.hooks and not any(module._forward_hooks for module in parts.ema.net.modules())


def test_a_net_that_does_not_fit_the_recipe_is_refused():
    resnest, a1 = find("resnest"), find("a1")
    for recipe, net, words in (
        (resnest, create_model(TINY, num_classes=3), "drop_rate=0.2"),
        (a1, create_model(TINY, num_classes=3), "drop_path_rate=0.05"),
        (a1, create_model(TINY, num_classes=0, drop_path_rate=0.05), "no classifier"),
    ):
        with pytest.raises(RecipeError, match=words):
            build(recipe, net, steps_per_epoch=STEPS, batch=8)


@pytest.mark.parametrize(
    "change, words",
    (
        ({"epoch": 3}, "'epoch' is no field"),
        ({"epochs": 2.5}, "mine.epochs is 2.5; it must be int"),
        ({"epochs": True}, "it must be int"),
        ({"optimiser": {"lr": "fast"}}, "mine.optimiser"),
        ({"loss": {"kind": "hinge"}}, "'cross_entropy', 'binary_cross_entropy'"),
        ({"augmentation": {"crop_area": 0.1, "interpolation": "nearest"}}, "bilinear"),
        ({"ema": {"warmup": True}}, "decay must be given"),
        ({"extends": "a2"}, "'a2', which is no recipe"),
    ),
)
def test_a_table_that_is_no_recipe_is_refused_by_name(change, words):
    with pytest.raises(RecipeError, match=words):
        parse("mine", copy.deepcopy(TABLES["full"]) | change, TABLES)


def test_a_wrong_name_brings_the_nearest_ones():
    with pytest.raises(RecipeError, match="resnest"):
        find("resnets")
    assert list(recipes()) == list(TABLES)
