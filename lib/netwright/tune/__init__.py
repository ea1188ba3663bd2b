"""Finetuning: recipes as data, and the parts that a training loop is made of. Imports the rooms of this floor.

`find("a1")` is a recipe; `build(recipe, net, …)` makes its optimiser, schedule, loss, mixing, average and DropBlock;
`augmentation_for` and `sampler_for` what its data loader needs. Every part can be used on its own.
"""

from netwright.tune.parts import Parts, augmentation_for, build, sampler_for
from netwright.tune.recipes import Recipe, RecipeError, find, recipes
from netwright.tune.samplers import EvalSampler, Ticket, TrainSampler

__all__ = [
    "EvalSampler",
    "Parts",
    "Recipe",
    "RecipeError",
    "Ticket",
    "TrainSampler",
    "augmentation_for",
    "build",
    "find",
    "recipes",
    "sampler_for",
]
