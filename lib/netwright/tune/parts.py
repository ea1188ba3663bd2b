"""From a recipe to the parts of a training loop, adapted to a net, a batch and a length. Imports nets and tune."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

from torch import Tensor, nn
from torch.optim import Optimizer

from netwright.nets.layers import DropPath
from netwright.nets.net import ResidualNet
from netwright.transforms import Transform
from netwright.tune import losses
from netwright.tune.augment import Augmentation
from netwright.tune.ema import Ema
from netwright.tune.freeze import freeze
from netwright.tune.mixing import Mixing
from netwright.tune.optimisers import make_optimiser, param_groups
from netwright.tune.recipes import Recipe, RecipeError
from netwright.tune.regularise import DropBlock
from netwright.tune.samplers import Order
from netwright.tune.schedule import Schedule


@dataclass
class Parts:
    """What a training loop is made of. For optimiser step t, counted from 0 over the whole training, in epoch e:

    if parts.drop_block: parts.drop_block.set_epoch(e, epochs)                # once an epoch
    parts.schedule.apply(parts.optimiser, t)
    draw = parts.mixing.draw(generator(seed, Purpose.MIXING, t), height, width)
    images, target = parts.mixing.apply(images, target, draw)                 # where parts.mixing is not None
    parts.loss(net(images), target).backward()
    …clip to parts.clip_norm, parts.optimiser.step()…
    if parts.ema: parts.ema.update(net)
    """

    optimiser: Optimizer
    schedule: Schedule
    loss: Callable[[Tensor, Tensor], Tensor]  # of logits (batch, classes) and target
    mixing: Mixing | None
    ema: Ema | None
    drop_block: DropBlock | None
    clip_norm: float | None


def build(recipe: Recipe, net: ResidualNet, *, steps_per_epoch: int, batch: int, epochs: int | None = None) -> Parts:
    """The parts of a training loop for `net`, which is frozen as the recipe says.

    `net` is the bare net, not wrapped for several devices or compiled, on the device on which it will be trained,
    and was made with `recipe.net_options()`. steps_per_epoch: optimiser steps; batch: pictures a step, over all
    devices and accumulations; epochs: other than the recipe's, to which stairs and a long warm-up are shortened.
    Raises RecipeError where the net's dropout and stochastic depth are not the recipe's.
    """
    _check_net(recipe, net)
    epochs = recipe.epochs if epochs is None else epochs
    if recipe.freeze:
        freeze(net, recipe.freeze)
    # Copied before DropBlock hangs on the net: the average is evaluated, never dropped from.
    ema = Ema(net, recipe.ema.decay, warmup=recipe.ema.warmup) if recipe.ema else None

    part = recipe.optimiser
    factor = {"linear": batch / recipe.batch, "sqrt": math.sqrt(batch / recipe.batch), "none": 1.0}[part.scaling]
    groups = param_groups(net, part.weight_decay, exempt=part.exempt, layer_decay=part.layer_decay)
    optimiser = make_optimiser(
        part.name,
        groups,
        part.lr * factor,
        momentum=part.momentum,
        nesterov=part.nesterov,
        betas=part.betas,
        eps=part.eps,
    )
    plan = recipe.schedule
    schedule = Schedule(
        plan.kind,
        part.lr * factor,
        steps=epochs * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        every=plan.every,
        min_lr=plan.min_lr * factor,
        # A short training is not all warm-up.
        warmup_epochs=min(plan.warmup_epochs, epochs / 5),
        warmup_lr=plan.warmup_lr * factor,
        warmup_prefix=plan.warmup_prefix,
        # Stairs are places in the recipe's own length.
        stairs=tuple(stair * epochs / recipe.epochs for stair in plan.stairs),
        stair_factor=plan.stair_factor,
    )
    schedule.apply(optimiser, 0)

    smoothing = recipe.loss.smoothing
    if recipe.loss.kind == "cross_entropy":
        loss = partial(losses.cross_entropy, smoothing=smoothing)
    else:
        loss = partial(losses.binary_cross_entropy, smoothing=smoothing, threshold=recipe.loss.threshold)
    mix = recipe.mixing
    mixing = None
    if mix.mixup or mix.cutmix:
        mixing = Mixing(net.num_classes, mix.mixup, mix.cutmix, mix.probability, mix.switch, smoothing)
    rate = recipe.regularisation.drop_block
    return Parts(optimiser, schedule, loss, mixing, ema, DropBlock(net, rate) if rate else None, part.clip_norm)


def augmentation_for(recipe: Recipe, transform: Transform, *, seed: int = 0) -> Augmentation:
    """How the recipe changes training pictures, for a net that is evaluated with `transform` (`transform_for(net)`)."""
    part = recipe.augmentation
    return Augmentation(
        input_size=tuple(transform.input_size),
        mean=tuple(transform.preprocessing.mean),  # transform.mean is in units of its pipeline
        std=tuple(transform.preprocessing.std),
        seed=seed,
        **{f.name: getattr(part, f.name) for f in fields(part) if f.name != "repeats"},
    )


def order_for(recipe: Recipe, length: int, *, seed: int = 0, endless: bool = False) -> Order:
    """In which order the recipe shows `length` training pictures; for endless, see `Order`."""
    return Order(length, seed, recipe.augmentation.repeats, endless)


def _check_net(recipe: Recipe, net: nn.Module) -> None:
    wanted = recipe.net_options()
    drop_path = max((module.rate for module in net.modules() if isinstance(module, DropPath)), default=0.0)
    found = {"drop_rate": net.drop_rate, "drop_path_rate": drop_path}
    if any(not math.isclose(found[name], wanted[name], abs_tol=1e-9) for name in wanted):
        options = ", ".join(f"{name}={value}" for name, value in wanted.items())
        raise RecipeError(
            f"Recipe {recipe.name} wants {options}, and this net has drop_rate={found['drop_rate']}, "
            f"drop_path_rate={found['drop_path_rate']:.3g}. Make it with create_model(…, **recipe.net_options())."
        )
    if not net.num_classes:
        raise RecipeError("This net has no classifier to be trained. Make it with the number of your classes.")
