"""Finetuning: recipes as data, and the parts that a training loop is made of. Imports the rooms of this floor.

`find("a1")` is a recipe; `build(recipe, net, …)` makes its optimiser, schedule, loss, mixing, average and DropBlock;
`augmentation_for` and `order_for` what its data loader needs. Every part can be used on its own.
"""

from netwright.tune.parts import Parts, augmentation_for, build, order_for
from netwright.tune.recipes import Recipe, RecipeError, find, recipes
from netwright.tune.samplers import Order, TrainBatches

__all__ = [
    "Order",
    "Parts",
    "Recipe",
    "RecipeError",
    "TrainBatches",
    "augmentation_for",
    "build",
    "find",
    "order_for",
    "recipes",
]
