"""The verb `finetune`: from a folder of pictures to a net of one's own. May import every floor below the command line."""

import argparse
import sys


def add(commands) -> None:
    """Add the verb to the command line's `commands`."""
    verb = commands.add_parser(
        "finetune",
        help="train a net on your own pictures, or on a known data set",
        description="Train a net. Killed at any moment, the same command goes on where it stood. On several GPUs or "
        "machines: torchrun --nproc-per-node 8 -m netwright finetune … with the same options.",
        argument_default=argparse.SUPPRESS,  # what is not given keeps the default of `Options`
    )
    verb.add_argument("data", help="a folder of class folders (or with train/ and val/), or a name; see --list-data")
    verb.add_argument("--model", required=True, help="any name of a net")
    verb.add_argument("--recipe", help="how to train: a name, or a .toml file of your own (default: full)")
    verb.add_argument("--weights", help="a tag, a file, a run's folder, or none for random numbers; default: published")
    verb.add_argument("--out", metavar="FOLDER", help="where everything is kept (default: runs/DATA-MODEL-RECIPE)")
    verb.add_argument("--epochs", type=int)
    verb.add_argument("--batch", type=int, help="pictures of an optimiser step, over all devices")
    verb.add_argument("--accumulate", type=int, metavar="N", help="work a batch off in N parts: needs less memory")
    verb.add_argument(
        "--lr", type=float, help="the highest learning rate, as it is; default: the recipe's, for the batch"
    )
    verb.add_argument(
        "--set",
        dest="settings",
        action="append",
        metavar="FIELD=VALUE",
        help="change any other field of the recipe, such as augmentation.flip=0; may be repeated",
    )
    verb.add_argument("--size", type=int, metavar="PIXELS", help="side of the net's inputs")
    verb.add_argument("--length", type=int, metavar="N", help="toy pictures of an epoch; each shows new ones")
    verb.add_argument("--val-share", type=float, help="of a folder without a val split (default 0.2)")
    verb.add_argument("--num-classes", type=int, metavar="N", help="only checked: the data says how many there are")
    verb.add_argument("--seed", type=int)
    verb.add_argument("--precision", choices=("fp32", "bf16", "fp16"), help="default: bf16 on a GPU that has it")
    verb.add_argument("--device", help="auto (cuda, then mps, then cpu), or one of torch's names")
    verb.add_argument("--workers", type=int, metavar="N", help="processes that prepare pictures")
    verb.add_argument("--checkpoint-minutes", type=float, metavar="M", help="between epochs too (default 10)")
    for flag, text in (
        ("--compile", "torch.compile the net: minutes first, then quicker"),
        ("--channels-last", "the memory format that is mostly quicker"),
        ("--checkpoint-gradients", "compute activations twice instead of keeping them: needs less memory"),
        ("--local-batchnorm", "let every device normalise by its own pictures only"),
        ("--keep-epochs", "keep the weights after every epoch too, to look back through the training"),
        ("--tensorboard", "keep a log for TensorBoard beside log.jsonl"),
    ):
        verb.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
    verb.set_defaults(run=_finetune)

    listing = commands.add_parser("recipes", help="the recipes that finetune knows, and where their values come from")
    listing.add_argument("name", nargs="?", help="all fields of this one, each with its source")
    listing.set_defaults(run=_recipes)


def _finetune(options) -> int:
    from netwright.device import chosen_device
    from netwright.ranks import joined
    from netwright.tune.finetune import REPORT, finetune

    asked = {key: value for key, value in vars(options).items() if key not in ("run", "command", "debug")}
    if "settings" in asked:
        asked["settings"] = tuple(asked["settings"])
    with joined(chosen_device(asked.get("device"))) as here:
        run = finetune(progress=sys.stderr.isatty() or here.first, **asked)
        if here.first:
            end = run.history.end
            best = run.history.epochs[end["best_epoch"]]
            top1 = best.get("ema_val_top1", best["val_top1"])
            print(
                f"{run.folder}: top-1 {top1:.2%} on the validation split, epoch {end['best_epoch'] + 1} of {len(run.history.epochs)}."
            )
            print(f"The report: {run.folder / REPORT}")
            print(f"Next: python -m netwright evaluate {asked['data']} --model {run.folder}")
            if end["bad"]:
                print(f"{len(end['bad'])} pictures could not be opened; the report and log.jsonl name them.")
    return 0


def _recipes(options) -> int:
    import dataclasses

    from netwright.cli.published import table
    from netwright.tune.recipes import find, recipes

    if options.name is None:
        rows = [("recipe", "epochs", "batch", "optimiser", "rate", "what it is")]
        for recipe in recipes().values():
            how = recipe.optimiser
            rows.append((recipe.name, recipe.epochs, recipe.batch, how.name, f"{how.lr:g}", recipe.summary))
        print(table(rows, right=(1, 2, 4)))
        return 0
    recipe = find(options.name)
    rows = [("field", "value", "where it comes from")]
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if field.name in ("sources", "unknown"):
            continue
        if dataclasses.is_dataclass(value):
            for part in dataclasses.fields(value):
                where = f"{field.name}.{part.name}"
                if (inner := getattr(value, part.name)) is not None:
                    rows.append((where, inner, recipe.source(where) or ""))
        elif value is not None:
            rows.append((field.name, value, recipe.source(field.name) or ""))
    print(table(rows))
    return 0
