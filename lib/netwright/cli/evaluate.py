"""The verb `evaluate`: figures of nets on a set of pictures. May import every floor below the command line."""

import os
import shlex
import sys
from pathlib import Path


def add(commands) -> None:
    """Add the verb to the command line's `commands`."""
    verb = commands.add_parser(
        "evaluate",
        help="measure nets on pictures with classes: accuracy with intervals, calibration, robustness, speed",
        description="Measure nets, one or several at once. On several GPUs: torchrun --nproc-per-node 8 -m netwright "
        "evaluate … with the same options; every picture is still counted once.",
    )
    verb.add_argument("data", help="a folder of class folders, ImageNet's validation set, or a name such as toy")
    verb.add_argument("--model", nargs="+", required=True, metavar="NAME", help="names of nets, or what finetune made")
    verb.add_argument(
        "--weights", help="of the one model: a tag, a file, or none for random numbers; default: published"
    )
    verb.add_argument("--split", default="val", help="train, val, test or novel, as far as there are (default val)")
    verb.add_argument("--subset-of", choices=("imagenet",), help="the set's classes are some of the net's, by synset")
    verb.add_argument(
        "--keep",
        choices=("subset", "all"),
        default="subset",
        help="with --subset-of: may the net answer only with the set's classes, or with all of its own? (default subset)",
    )
    verb.add_argument("--limit", type=int, metavar="N", help="only so many pictures, drawn at random (always the same)")
    verb.add_argument("--size", type=int, metavar="PIXELS", help="side of the net's inputs; default: the weights' own")
    verb.add_argument("--crop-pct", type=float, metavar="SHARE", help="the crop's share of the resized side")
    verb.add_argument("--val-share", type=float, default=0.2, help="of a folder without a val split (default 0.2)")

    verb.add_argument("--sweep", nargs="*", type=int, metavar="SIZE", help="top-1 at other input sizes and crops too")
    verb.add_argument("--corrupt", nargs="*", type=int, metavar="SEVERITY", help="15 corruptions (default: 1 to 5)")
    verb.add_argument("--speed", action="store_true", help="latency, throughput and peak memory too")
    verb.add_argument("--compile", action="store_true", help="with --speed: torch.compile too, which takes minutes")

    verb.add_argument("--batch", type=int, default=64, metavar="N", help="pictures at once (default 64)")
    verb.add_argument("--workers", type=int, default=0, metavar="N", help="processes that prepare pictures (default 0)")
    verb.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    verb.add_argument("--device", default="auto", help="auto (cuda, then mps, then cpu), or one of torch's names")
    verb.add_argument("--json", metavar="FILE", help="everything, for machines")
    verb.add_argument("--html", metavar="FILE", help="a report with figures, in one file")
    verb.set_defaults(run=_evaluate, default_of=verb.get_default)


def _evaluate(options) -> int:
    from netwright.device import chosen_device
    from netwright.ranks import joined

    _check(options)
    device = chosen_device(options.device)
    with joined(device) as here:
        nets, pictures = _nets_and_pictures(options)
        evaluations = [_examine(name, net.to(device), pictures, options, here.first) for name, net in nets.items()]
        if not here.first:
            return 0
        _print(evaluations, pictures)
        _write(evaluations, pictures, options, device)
        return _report(evaluations, len(pictures))


def _check(options) -> None:
    """What can be refused before anything is loaded."""
    if options.weights and len(options.model) > 1:
        raise ValueError(f"--weights {options.weights} belongs to one model, and {len(options.model)} were named.")
    if options.compile and not options.speed:
        raise ValueError("--compile is about --speed: add that, or leave it out.")
    for severity in options.corrupt or ():
        if severity not in range(1, 6):
            raise ValueError(f"--corrupt {severity}: severities go from 1 to 5.")
    for name, least in (("batch", 1), ("workers", 0), ("limit", 1), ("size", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ValueError(f"--{name} {value} is not possible: choose {least} or more.")
    for flag, file in (("--json", options.json), ("--html", options.html)):
        if file and Path(file).is_dir():
            raise ValueError(f"{flag} {file} is a folder: give the name of a file.")
        if file and not _could_hold(Path(file).resolve().parent):
            raise ValueError(f"{flag} {file}: nothing can be written there.")


def _could_hold(folder: Path) -> bool:
    """Whether files can be made in the folder, or it can be made itself."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)


# --- nets and pictures -------------------------------------------------------------------------------------------


def _nets_and_pictures(options):
    """(nets by name, pictures)."""
    import torch

    from netwright.models import config_of, create_model, transform_for

    if options.weights == "none":  # whose classes are those of the pictures
        name = options.model[0]
        pictures = _pictures(options, options.size or config_of(name).input_size, imagenet=False)
        torch.manual_seed(0)
        return {name: create_model(name, num_classes=len(pictures.class_names))}, pictures
    nets = {name: _net(name, options.weights) for name in options.model}
    imagenet = all(net.num_classes == 1000 and getattr(net, "class_names", None) is None for net in nets.values())
    side = options.size or max(transform_for(net).input_size[0] for net in nets.values())
    return nets, _pictures(options, side, imagenet)


def _net(name: str, weights: str | None):
    """A published net, one with weights of the reader's own, or one that finetune has saved."""
    from netwright.models import create_model, load_run
    from netwright.trained import file_of

    if weights is None and Path(name).exists():
        return load_run(name)
    if weights is None:
        return create_model(name, pretrained=True)
    return create_model(name, weights=file_of(weights) if Path(weights).is_dir() else weights)


def _pictures(options, side: int, imagenet: bool):
    """The set that is asked for; `imagenet`: whether all nets have ImageNet's classes, so that it may be its set."""
    from netwright.datasets import open_data
    from netwright.evaluate.imagenet_val import imagenet_val
    from netwright.evaluate.sample import Sample

    pictures = None
    if imagenet and options.split == "val" and Path(options.data).is_dir():
        pictures = imagenet_val(options.data)
    if pictures is None:
        pictures = open_data(options.data, size=side, val_share=options.val_share).split(options.split)
    return Sample(pictures, options.limit) if options.limit else pictures


# --- asking ------------------------------------------------------------------------------------------------------


def _examine(name: str, net, pictures, options, first: bool):
    from netwright.evaluate.corruptions import SEVERITIES
    from netwright.evaluate.evaluation import evaluation_of
    from netwright.evaluate.labelmaps import label_map
    from netwright.evaluate.robustness import robustness
    from netwright.evaluate.speed import speed
    from netwright.evaluate.sweep import sweep
    from netwright.models import transform_for

    ask = {"batch": options.batch, "workers": options.workers, "precision": options.precision}
    read = {"subset_of": options.subset_of, "keep": options.keep}
    seen = {"input_size": options.size, "crop_pct": options.crop_pct}
    found = evaluation_of(net, pictures, model=name, weights=_source(name, net, options.weights), **read, **seen, **ask)
    labels = label_map(net, pictures, **read)
    if options.sweep is not None:
        found.sweep = sweep(net, pictures, sizes=options.sweep or None, labels=labels, **ask)
    if options.corrupt is not None:
        severities, transform = options.corrupt or SEVERITIES, transform_for(net, **seen)
        found.robustness = robustness(net, pictures, transform=transform, labels=labels, severities=severities, **ask)
    if options.speed and first:  # the other ranks' machine would be measured with it
        batches = tuple(sorted({1, options.batch}))
        found.speeds = speed(
            net, batches=batches, side=options.size, precision=options.precision, compile=options.compile
        )
    return found


def _source(name: str, net, weights: str | None) -> str:
    published = getattr(net, "weights", None)
    if published is not None:
        return published.name
    without = "of that run" if Path(name).exists() else "as they ship"  # a toy net's
    return {None: without, "none": "random numbers"}.get(weights, weights)


# --- telling -----------------------------------------------------------------------------------------------------


def _print(evaluations, pictures) -> None:
    from netwright.cli.published import table
    from netwright.evaluate import report, speed

    counts = evaluations[0].measures
    print(f"{pictures.name}: {counts.pictures:,} pictures of {len(counts.per_class):,} classes\n")
    print(table([report.SUMMARY, *report.summary_rows(evaluations)], right=(2, 3, 4, 5, 6, 7)))
    for it in evaluations:
        print(f"\n{it.model}: {it.transform}; answers read {it.labels}")
    if counts.per_group:
        rows = [(it.model, *(str(share) for share in it.measures.per_group.values())) for it in evaluations]
        print("\n" + table([("top-1 by group", *counts.per_group), *rows]))
    if compared := report.comparisons(evaluations):
        print("\n" + table([report.COMPARED, *report.compared_rows(compared)], right=(2, 3, 4, 5)))
    if found := [verdict for it in evaluations for verdict in it.verdicts]:
        print("\n" + table([report.PUBLISHED, *report.published_rows(found)], right=(2, 3, 4)))
        print("".join(f"\n{why}" for why in dict.fromkeys(it.why for it in found if it.why)))
    for it in evaluations:
        for title, part in (("input size and crop", it.sweep), ("corruptions", it.robustness)):
            if part:
                head, rows = part.table()
                print(f"\n{it.model}: top-1 over {title}\n" + table([head, *rows], right=range(1, len(head))))
        if it.sweep:
            print("".join(f"{sentence}\n" for sentence in it.sweep.impossible()), end="")
        if it.robustness:
            print(f"mean {it.robustness.mean:.1%}, relative drop {it.robustness.relative_drop:.1%}")
        if it.speeds:
            print(f"\n{it.model}\n" + table([speed.HEAD, *speed.rows(it.speeds)], right=range(1, len(speed.HEAD))))


def _write(evaluations, pictures, options, device) -> None:
    from netwright.device import device_name
    from netwright.evaluate import report

    run = {"device": device_name(device), "command": _command(options)}
    if options.json:
        content = report.as_json(evaluations, data=options.data, split=options.split, **run)
        print(f"\n{report.write_json(options.json, content)}")
    if options.html:
        print(f"\n{report.write_page(options.html, evaluations, pictures, **run)}")


def _command(options) -> str:
    """The command line that asks for the same."""
    words = ["python", "-m", "netwright", "evaluate", options.data]
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
    if ranks != "1":
        words[:1] = ["torchrun", "--nproc-per-node", ranks]
    for name, value in vars(options).items():
        if name in ("data", "command", "debug", "run", "default_of") or value == options.default_of(name):
            continue
        words.append("--" + name.replace("_", "-"))
        if value is not True:
            words += map(str, value if isinstance(value, list) else [value])
    return shlex.join(words)


def _report(evaluations, total: int) -> int:
    """On standard error what could not be used; the exit status."""
    bad = dict(entry for it in evaluations for entry in it.predictions.bad)
    for sentence in bad.values():
        print(f"netwright: {sentence}", file=sys.stderr)
    if bad:
        print(f"netwright: {len(bad)} of {total} pictures could not be used.", file=sys.stderr)
    for it in evaluations:
        if it.measures.not_finite:
            print(
                f"netwright: {it.model} gave no numbers (NaN or infinity) on {it.measures.not_finite} pictures, which "
                "count as wrong; --precision bf16 or fp32 may help.",
                file=sys.stderr,
            )
    return 1 if bad else 0
