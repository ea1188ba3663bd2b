"""Recipes to be read: in words, with their sources, and the rates they mean. Imports tune."""

from netwright.tune.recipes import Recipe
from netwright.tune.schedule import Schedule

HEADS = ("recipe", "pictures a step", "epochs", "optimiser and highest rate", "and", "the rate comes from")
OPTIMISERS = {"sgd": "SGD", "adamw": "AdamW", "lamb": "LAMB"}
STEPS = 100  # an epoch has, where a curve is drawn


def rows(recipes: dict[str, Recipe]) -> list[tuple[str, ...]]:
    """A row under HEADS for each recipe."""
    return [
        (
            name,
            f"{recipe.batch:,}",
            str(recipe.epochs),
            f"{OPTIMISERS[recipe.optimiser.name]}, {recipe.optimiser.lr:g}",
            ", ".join(extras(recipe)),
            (recipe.source("optimiser.lr") or "").replace("the same card", "its model card"),
        )
        for name, recipe in recipes.items()
    ]


def extras(recipe: Recipe) -> list[str]:
    """What a recipe does beyond plain steps, each in a word or two."""
    optimiser, mixing, augmentation = recipe.optimiser, recipe.mixing, recipe.augmentation
    regularisation, loss = recipe.regularisation, recipe.loss
    said = {
        "body frozen": recipe.freeze == "body",
        f"layer decay {optimiser.layer_decay}": optimiser.layer_decay,
        f"weight decay {optimiser.weight_decay:g}": optimiser.weight_decay,
        f"{recipe.schedule.kind}": True,
        f"warm-up of {recipe.schedule.warmup_epochs:g} epochs".replace(" 1 epochs", " 1 epoch"): (
            recipe.schedule.warmup_epochs
        ),
        "binary cross-entropy": loss.kind == "binary_cross_entropy",
        f"smoothing {loss.smoothing:g}": loss.smoothing,
        f"mixup {mixing.mixup:g}": mixing.mixup,
        f"CutMix {mixing.cutmix:g}": mixing.cutmix,
        f"{(augmentation.policy or '').capitalize()}Augment": augmentation.policy,
        f"{augmentation.repeats} copies of a picture": augmentation.repeats > 1,
        "no flips": not augmentation.flip,
        f"dropout {regularisation.drop_rate:g}": regularisation.drop_rate,
        f"stochastic depth {regularisation.drop_path_rate:g}": regularisation.drop_path_rate,
        f"DropBlock {regularisation.drop_block:g}": regularisation.drop_block,
        "average": recipe.ema,
    }
    return [word for word, there in said.items() if there]


def rates_of(recipe: Recipe) -> list[float]:
    """The rate of every step of the recipe's own length, in epochs of STEPS steps."""
    plan = recipe.schedule
    schedule = Schedule(
        plan.kind,
        recipe.optimiser.lr,
        steps=recipe.epochs * STEPS,
        steps_per_epoch=STEPS,
        every=plan.every,
        min_lr=plan.min_lr,
        warmup_epochs=plan.warmup_epochs,
        warmup_lr=plan.warmup_lr,
        warmup_prefix=plan.warmup_prefix,
        stairs=plan.stairs,
        stair_factor=plan.stair_factor,
    )
    return [schedule.rate(step) for step in range(recipe.epochs * STEPS)]
