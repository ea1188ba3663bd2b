"""Recipes: how to train, as data. Imports nothing of the project; `parts` makes them into a training loop's parts.

Their file is recipes.toml. A recipe is written for one batch; `parts.build` adapts the learning rate to another.
"""

import difflib
import tomllib
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


class RecipeError(ValueError):
    """A recipe that does not exist, or that says something no recipe can say."""


@dataclass(frozen=True, kw_only=True)
class OptimiserPart:
    """`lr` is for the recipe's batch. `scaling`: how it follows another batch. `exempt`: what weight decay spares."""

    name: Literal["sgd", "adamw", "lamb"]
    lr: float
    weight_decay: float
    scaling: Literal["linear", "sqrt", "none"]
    exempt: tuple[str, ...]
    momentum: float | None = None
    nesterov: bool | None = None
    betas: tuple[float, ...] | None = None
    eps: float | None = None
    layer_decay: float | None = None
    clip_norm: float | None = None  # of the whole gradient, before the step; LAMB clips by itself


@dataclass(frozen=True, kw_only=True)
class SchedulePart:
    """See `Schedule`; the rates of its ends are for the recipe's batch, and follow another as `lr` does."""

    kind: Literal["cosine", "stairs", "constant"]
    every: Literal["step", "epoch"]
    warmup_epochs: float = 0
    warmup_lr: float = 0.0
    warmup_prefix: bool = True
    min_lr: float = 0.0
    stairs: tuple[float, ...] = ()
    stair_factor: float = 0.1


@dataclass(frozen=True, kw_only=True)
class LossPart:
    """See `losses`. `smoothing` also softens the targets that are mixed."""

    kind: Literal["cross_entropy", "binary_cross_entropy"]
    smoothing: float = 0.0
    threshold: float | None = None  # of the binary loss only


@dataclass(frozen=True, kw_only=True)
class MixingPart:
    """See `Mixing`."""

    mixup: float = 0.0
    cutmix: float = 0.0
    probability: float = 1.0
    switch: float = 0.5


@dataclass(frozen=True, kw_only=True)
class AugmentationPart:
    """See `Augmentation`; `repeats`: see `Order`."""

    crop_area: float
    interpolation: Literal["bilinear", "bicubic", "random"]
    flip: float = 0.5
    policy: Literal["auto", "rand"] | None = None
    magnitude: float = 7.0
    noise: float = 0.5
    jitter: float = 0.0
    hue: float = 0.0
    erasing: float = 0.0
    repeats: int = 1


@dataclass(frozen=True, kw_only=True)
class RegularisationPart:
    """Dropout before the classifier, stochastic depth of the last block, and the final rate of DropBlock."""

    drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    drop_block: float = 0.0


@dataclass(frozen=True, kw_only=True)
class EmaPart:
    """See `Ema`."""

    decay: float
    warmup: bool = False


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to train. `batch`: pictures an optimiser step, over all devices. `freeze`: through which part, or None.

    sources, unknown: where values come from, and which could not be found, by field ("optimiser.lr"), section, or
    "*"; see `source`.
    """

    name: str
    summary: str
    epochs: int
    batch: int
    optimiser: OptimiserPart
    schedule: SchedulePart
    loss: LossPart
    augmentation: AugmentationPart
    mixing: MixingPart = MixingPart()
    regularisation: RegularisationPart = RegularisationPart()
    ema: EmaPart | None = None
    freeze: str | None = None
    sources: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    def source(self, where: str) -> str | None:
        """Where the value of a field ("optimiser.lr") comes from, or what stands there for want of one."""
        for key in (where, where.split(".")[0], "*"):
            if key in self.unknown:
                return f"unknown: {self.unknown[key]}"
            if key in self.sources:
                return self.sources[key]
        return None

    def table(self) -> dict:
        """The recipe as its table in recipes.toml: `parse(recipe.name, recipe.table())` makes it again."""

        def plain(value):
            if isinstance(value, dict):
                return {key: plain(item) for key, item in value.items() if item is not None}
            return list(value) if isinstance(value, tuple) else value

        table = plain(asdict(self))
        del table["name"]
        return table

    def net_options(self) -> dict[str, float]:
        """What `create_model` has to be told for this recipe."""
        return {"drop_rate": self.regularisation.drop_rate, "drop_path_rate": self.regularisation.drop_path_rate}


@cache
def recipes() -> dict[str, Recipe]:
    """All recipes by name, read from recipes.toml."""
    tables = tomllib.loads(Path(__file__).with_name("recipes.toml").read_text(encoding="utf-8"))
    return {name: parse(name, table, tables) for name, table in tables.items()}


def find(name: str) -> Recipe:
    """The recipe called `name`. Raises RecipeError with the nearest names."""
    if name not in recipes():
        near = difflib.get_close_matches(name, recipes(), n=2) or list(recipes())
        raise RecipeError(f"No recipe is called {name!r}. Perhaps {' or '.join(near)}?")
    return recipes()[name]


def parse(name: str, table: dict, tables: dict | None = None) -> Recipe:
    """A table of recipes.toml, or your own, as a Recipe; `extends` builds on one of `tables`. Raises RecipeError."""
    if "extends" in table:
        base = (tables or {}).get(table["extends"])
        if base is None:
            raise RecipeError(f"Recipe {name} extends {table['extends']!r}, which is no recipe.")
        table = _merge(base, {key: value for key, value in table.items() if key != "extends"})
    return _parse(Recipe, {"name": name, **table}, name)


def _merge(base: dict, over: dict) -> dict:
    merged = dict(base)
    for key, value in over.items():
        merged[key] = _merge(base[key], value) if isinstance(value, dict) and key in base else value
    return merged


def _parse(kind: type, table: dict, where: str):
    """`table` as the dataclass `kind`, every field known, present and of its type."""
    known = {f.name: f for f in fields(kind)}
    if unknown := sorted(set(table) - set(known)):
        raise RecipeError(f"{where}: {unknown[0]!r} is no field of a recipe here. There are {', '.join(known)}.")
    required = {n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING}
    if missing := sorted(required - set(table)):
        raise RecipeError(f"{where}: {', '.join(missing)} must be given.")
    types = get_type_hints(kind)
    return kind(**{key: _value(types[key], value, f"{where}.{key}") for key, value in table.items()})


def _value(kind: Any, value: Any, where: str):
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    for option in options:
        if isinstance(option, type) and isinstance(value, dict) and hasattr(option, "__dataclass_fields__"):
            return _parse(option, value, where)
        if get_origin(option) is Literal and value in get_args(option):
            return value
        if get_origin(option) is tuple and isinstance(value, list):
            return tuple(_value(get_args(option)[0], item, where) for item in value)
        if get_origin(option) is dict and isinstance(value, dict):
            return value
        if option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if isinstance(option, type) and type(value) is option:
            return value
    wanted = " or ".join(option.__name__ if isinstance(option, type) else str(option) for option in options)
    raise RecipeError(f"{where} is {value!r}; it must be {wanted.replace('typing.', '')}.")
