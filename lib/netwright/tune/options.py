"""What a finetuning is asked to do, and which of it may change when it is resumed. Imports tune.recipes."""

import dataclasses
import shlex
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from netwright.tune.recipes import Recipe, RecipeError, find, parse, recipes

UNTRAINED = "none"  # as weights: start from random numbers
NOT_ASKED = "free"  # metadata of the fields that change how fast a training goes, not what comes out


def _free(default):
    return dataclasses.field(default=default, metadata={NOT_ASKED: True})


@dataclass(frozen=True, kw_only=True)
class Options:
    """data: a folder or a name (`open_data`). model: any name of a net. recipe: a name, or a .toml file of your own.

    weights: None for the published ones that the model's name means, "none" for random numbers, else a tag, a file or
    the folder of a run. epochs, batch, lr: instead of the recipe's; batch is that of an optimiser step, over all
    devices, and the recipe's rate follows it unless lr is given. settings: any other field of the recipe,
    "augmentation.flip=0". size: side of the inputs in pixels. length: toy pictures of an epoch; each epoch
    shows new ones. val_share: of a folder without a val split. precision: None for bf16 on a GPU that has it, else fp32. local_batchnorm: let
    every device normalise by its own pictures (quicker, and no longer the training of one device).

    The rest changes how fast it goes, not what comes out (beyond rounding), and may change when a run is resumed.
    accumulate: in how many parts a batch is worked off, so that it fits into memory (BatchNorm then sees a part at a
    time). workers: processes that prepare pictures; None for as many as there are cores to spare. device: None for
    the best there is. checkpoint_minutes: a checkpoint also between epochs, whenever so many minutes have gone.
    keep_epochs: keep the weights after every epoch too, to look back through the training (`views.Scrubber`).
    """

    data: str
    model: str
    recipe: str = "full"
    weights: str | None = None
    epochs: int | None = None
    batch: int | None = None
    lr: float | None = None
    settings: tuple[str, ...] = ()
    size: int | None = None
    length: int | None = None
    val_share: float = 0.2
    num_classes: int | None = None
    seed: int = 0
    precision: Literal["fp32", "bf16", "fp16"] | None = None
    local_batchnorm: bool = False
    accumulate: int = _free(1)
    out: str | None = _free(None)
    device: str | None = _free(None)
    workers: int | None = _free(None)
    compile: bool = _free(False)
    channels_last: bool = _free(True)
    checkpoint_gradients: bool = _free(False)
    checkpoint_minutes: float = _free(10.0)
    keep_epochs: bool = _free(False)
    tensorboard: bool = _free(True)

    def __post_init__(self):
        least = {"epochs": 1, "batch": 1, "accumulate": 1, "size": 1, "length": 1, "seed": 0, "workers": 0}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise ValueError(f"{name}={value} is not possible: choose {smallest} or more.")
        if self.lr is not None and not self.lr > 0:
            raise ValueError(f"lr={self.lr} trains nothing: choose a rate above 0.")
        if not self.checkpoint_minutes > 0:
            raise ValueError(f"checkpoint_minutes={self.checkpoint_minutes}: choose a number above 0.")

    def fixed(self) -> dict:
        """What a resumed run has to agree on, as plain data."""
        return {
            field.name: list(value) if isinstance(value := getattr(self, field.name), tuple) else value
            for field in dataclasses.fields(self)
            if NOT_ASKED not in field.metadata
        }

    def command(self) -> str:
        """The command line that asks for the same."""
        words = ["python", "-m", "netwright", "finetune", self.data]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "data" or value == field.default:
                continue
            flag = "--" + field.name.replace("_", "-")
            if field.name == "settings":
                words += [word for setting in value for word in ("--set", setting)]
            elif isinstance(value, bool):
                words.append(flag if value else f"--no-{flag[2:]}")
            else:
                words += [flag, str(value)]
        return shlex.join(words)

    def folder(self) -> Path:
        """Where the run is kept."""
        data = Path(self.data).name if Path(self.data).is_dir() else self.data.replace(":", "-")
        return Path(self.out) if self.out else Path("runs") / f"{data}-{self.model}-{Path(self.recipe).stem}"


def recipe_of(options: Options) -> Recipe:
    """The recipe that is asked for, with the settings and the rate in it. Raises RecipeError."""
    path = Path(options.recipe)
    if path.suffix == ".toml":
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise RecipeError(f"The recipe {path} cannot be read: {error}.") from error
        recipe = parse(path.stem, table, {name: known.table() for name, known in recipes().items()})
    else:
        recipe = find(options.recipe)
    for setting in options.settings:
        recipe = _changed(recipe, setting)
    if options.lr is not None:  # as it is, whatever the batch
        recipe = replace(recipe, optimiser=replace(recipe.optimiser, lr=options.lr, scaling="none"))
    return recipe


def _changed(recipe: Recipe, setting: str) -> Recipe:
    """`recipe` with one field changed: "optimiser.weight_decay=0.01", values as in TOML or bare words; none unsets."""
    where, equals, text = setting.partition("=")
    section, _, field = where.rpartition(".")
    if not equals or not field:
        raise RecipeError(f"--set {setting}: write SECTION.FIELD=VALUE, such as augmentation.flip=0.")
    try:
        value = tomllib.loads(f"value = {text or 0}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    table = recipe.table()
    home = table.setdefault(section, {}) if section else table
    if not isinstance(home, dict):
        raise RecipeError(f"--set {setting}: {section} is no section of a recipe.")
    home.pop(field, None)
    if text:
        home[field] = value
    return parse(recipe.name, table)
