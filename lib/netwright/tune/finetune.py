"""From what is asked for to a trained net: `finetune("toy", model="resnet50", …)`. Imports tune and all below it."""

import contextlib
import dataclasses
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import nn

from netwright import trained
from netwright.datasets import Data, Inputs, PictureSet, ToyPictures, loader, open_data
from netwright.device import chosen_device, cores, device_name
from netwright.evaluate.predictions import predict
from netwright.figures import Picture
from netwright.imagenet import labels
from netwright.models import config_of, create_model, load_run, preprocessing_of, transform_for
from netwright.nets.net import ResidualNet
from netwright.ranks import ranks
from netwright.toys import SPLITS
from netwright.tune.augment import Augmentation
from netwright.tune.batchnorm import synchronise
from netwright.tune.curves import curves
from netwright.tune.history import History, JournalError, read_log
from netwright.tune.journal import Journal
from netwright.tune.loop import Training, ensure_same, now
from netwright.tune.options import UNTRAINED, Options, recipe_of
from netwright.tune.parts import augmentation_for, build, order_for
from netwright.tune.recipes import Recipe
from netwright.tune.report import write_report
from netwright.tune.samplers import TrainBatches
from netwright.tune.step import TrainingStep
from netwright.weights.catalogue import Preprocessing

USUAL_BATCH = 256  # at most, where nobody names one: the published recipes are written for rooms full of GPUs
REPORT = "report.html"


class FinetuneError(ValueError):
    """Something asked for that does not go together; the message names the values and the way out."""


@dataclass(frozen=True)
class Run:
    """A finetuning that has come to its end, in its folder."""

    folder: Path

    @property
    def history(self) -> History:
        """Its log, line by line."""
        return read_log(self.folder)

    @property
    def net(self) -> ResidualNet:
        """The net of the best epoch (the average's, if the recipe keeps one), with its classes' names."""
        return load_run(self.folder)

    def curves(self) -> Picture:
        """Loss, accuracy and rate over the epochs."""
        return curves(self.history)


def finetune(
    data: str | Path,
    *,
    model: str,
    recipe: str = "full",
    progress: bool = True,
    listeners: tuple[Callable[[History], None], ...] = (),
    **options,
) -> Run:
    """Train `model` on `data` by `recipe`, and keep everything in a folder; see `Options` for the other options.

    Asked again after it was killed, it goes on from the folder's last checkpoint and ends with the same net; asked
    again after its end, it returns at once. listeners: called with the history after each epoch, such as `LiveCurves().update`.
    Among ranks that `torchrun` has started, each calls it with the same arguments.

    The folder holds log.jsonl, tensorboard/, last.checkpoint, best.safetensors (`load_run`), report.html and, where
    they were asked for, epochs/.
    Raises FinetuneError, DataError, RecipeError, JournalError, CheckpointError and TrainingStopped.
    """
    asked = Options(data=str(data), model=model, recipe=recipe, **options)
    run = Run(asked.folder())
    how = recipe_of(asked)
    with _alone(run.folder), torch.random.fork_rng(devices=_cuda_devices()):
        if not _finished(run, _identity(asked, how)):
            with Journal(run.folder, tensorboard=asked.tensorboard, progress=progress) as journal:
                _train(asked, how, run, journal, listeners)
    return run


def _train(asked: Options, recipe: Recipe, run: Run, journal: Journal, listeners: tuple) -> None:
    device = chosen_device(asked.device)
    side = asked.size or config_of(asked.model).input_size
    data = _data(asked, recipe, side)
    training, validation = data.split("train"), data.split("val")
    net = _net(asked, recipe, data, side).to(device)
    if asked.channels_last:
        net = net.to(memory_format=torch.channels_last)
    if ranks().world > 1 and not asked.local_batchnorm:
        net = synchronise(net)
    net.set_grad_checkpointing(asked.checkpoint_gradients)

    augmentation = augmentation_for(recipe, transform_for(net), seed=asked.seed)
    batches = _batches(asked, recipe, data)
    parts = build(recipe, net, steps_per_epoch=batches.steps_per_epoch, batch=batches.batch, epochs=batches.epochs)
    precision = asked.precision or _best_precision(device)
    step = TrainingStep(
        net,
        parts,
        batch=batches.batch,
        epochs=batches.epochs,
        seed=asked.seed,
        precision=precision,
        forward=_wrapped(net, asked),
    )
    workers = _workers() if asked.workers is None else asked.workers
    ask = {"batch": _at_once(batches), "workers": workers, "precision": precision, "progress": False}
    about = {"model": asked.model, "class_names": list(data.class_names), "data": data.name, "recipe": recipe.name}
    about |= {"command": asked.command(), "seed": asked.seed}
    identity = _identity(asked, recipe) | {"classes": list(data.class_names)}

    def keep(name: Callable[[dict], str], judged: nn.Module, line: dict) -> None:
        path = run.folder / name(line)
        path.parent.mkdir(exist_ok=True)
        trained.write(path, judged.state_dict(), preprocessing_of(net), about | {"epoch": line})

    loop = Training(
        run.folder,
        step,
        batches,
        partial(loader, _inputs(training, augmentation), workers=workers, pin=device.type == "cuda"),
        lambda judged: predict(judged, validation, **ask),
        journal=journal,
        start_line=_start_line(asked, recipe, data, net, step, batches, identity),
        save_best=partial(keep, lambda line: trained.BEST),
        save_epoch=partial(keep, lambda line: trained.epoch_file(line["epoch"])) if asked.keep_epochs else None,
        identity=identity,
        checkpoint_minutes=asked.checkpoint_minutes,
        listeners=tuple(partial(_tell, listener, journal) for listener in listeners),
    )
    loop.go()
    _finish(run, loop, data, journal, ask, device)


def _finish(run: Run, loop: Training, data: Data, journal: Journal, ask: dict, device: torch.device) -> None:
    """The report on the net that is kept, and the last line of the log."""
    training, validation = data.split("train"), data.split("val")
    predictions = predict(load_run(run.folder).to(device), validation, **ask)
    bad = [(training.where(index), sentence) for index, sentence in sorted(loop.bad.items())] + predictions.bad
    journal.write("end", time=now(), seconds=round(loop.seconds, 1), best_epoch=loop.best["epoch"], bad=bad)
    if ranks().first:
        write_report(run.folder / REPORT, journal.history, predictions, validation)


# --- the pieces ------------------------------------------------------------------------------------------------------


def _identity(asked: Options, recipe: Recipe) -> dict:
    """What decides the numbers of a training, as plain data: of the recipe not the words about it."""
    words = ("summary", "sources", "unknown")
    return asked.fixed() | {"recipe": {key: value for key, value in recipe.table().items() if key not in words}}


def _start_line(
    asked: Options,
    recipe: Recipe,
    data: Data,
    net: ResidualNet,
    step: TrainingStep,
    batches: TrainBatches,
    identity: dict,
) -> dict:
    """The first line of the log: what is to be done, with what and on what."""
    return {
        "time": now(),
        "command": asked.command(),
        "options": dataclasses.asdict(asked),
        "identity": identity,
        "recipe": recipe.name,
        "data": data.name,
        "classes": list(data.class_names),
        "train_pictures": len(data.split("train")),
        "val_pictures": len(data.split("val")),
        "parameters": _count(net.parameters()),
        "trained_parameters": _count(p for p in net.parameters() if p.requires_grad),
        "device": device_name(step.device),
        "ranks": ranks().world,
        "precision": step.precision,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "netwright": version("netwright"),
        "batch": batches.batch,
        "recipe_batch": recipe.batch,
        "rate": step.parts.schedule.lr,
        "steps_per_epoch": batches.steps_per_epoch,
        "epochs": batches.epochs,
        "seed": asked.seed,
    }


def _net(asked: Options, recipe: Recipe, data: Data, side: int) -> ResidualNet:
    """The net to start from, with a classifier for the data's classes, dropout as in the recipe, and its inputs' size."""
    classes = len(data.class_names)
    if asked.num_classes not in (None, classes):
        raise FinetuneError(
            f"--num-classes {asked.num_classes}, and {data.name} has {classes} classes: leave the number out, or mend "
            "the folder."
        )
    torch.manual_seed(asked.seed)
    options = {"num_classes": classes, **recipe.net_options()}
    if asked.weights == UNTRAINED:
        net = create_model(asked.model, **options)
    elif asked.weights is None:
        net = create_model(asked.model, pretrained=True, **options)
    else:
        net = create_model(asked.model, weights=_weights(asked.weights), **options)
    if _names(net) != tuple(data.class_names):  # as many classes, but others: their classifier says nothing of these
        net.reset_classifier(classes)
    net.preprocessing = _preprocessing(preprocessing_of(net), data, side if asked.size or _is_toy(data) else None)
    net.class_names = tuple(data.class_names)
    net.weights = None  # after the first step they are nobody's but this run's
    return net


def _weights(given: str) -> str:
    return str(trained.file_of(given)) if Path(given).is_dir() else given


def _names(net: ResidualNet) -> tuple[str, ...] | None:
    """The classes that the classifier was trained for, where that is known."""
    if getattr(net, "class_names", None):
        return net.class_names
    return tuple(label.name for label in labels()) if net.weights is not None and net.num_classes == 1000 else None


def _preprocessing(found: Preprocessing, data: Data, side: int | None) -> Preprocessing:
    """`found` for inputs of another side. Of the toy world's pictures, which are made to measure, nothing is cut off."""
    if side is None:
        return found
    share = 1.0 if _is_toy(data) else found.crop_pct
    return dataclasses.replace(
        found,
        input_size=(side, side),
        resize=int(side / share),
        crop_pct=share,
        test_input_size=None,
        test_crop_pct=None,
    )


def _data(asked: Options, recipe: Recipe, side: int) -> Data:
    """The data. Pictures of the toy world do not run out, so there are as many as all epochs together show."""
    length = (asked.length or SPLITS["train"]) * _epochs(asked, recipe)
    return open_data(asked.data, size=side, val_share=asked.val_share, length=length)


def _epochs(asked: Options, recipe: Recipe) -> int:
    return asked.epochs or recipe.epochs


def _is_toy(data: Data) -> bool:
    return isinstance(data.split("train"), ToyPictures)


def _batches(asked: Options, recipe: Recipe, data: Data) -> TrainBatches:
    pictures = len(data.split("train"))
    if endless := _is_toy(data):
        pictures //= _epochs(asked, recipe)
    order = order_for(recipe, pictures, seed=asked.seed, endless=endless)
    batch = asked.batch or min(recipe.batch, USUAL_BATCH, len(order))
    if batch > len(order):
        raise FinetuneError(
            f"--batch {batch} is more than the {len(order)} training pictures of an epoch: choose {len(order)} or fewer."
        )
    here = ranks()
    return TrainBatches(
        order,
        batch,
        epochs=_epochs(asked, recipe),
        accumulate=asked.accumulate,
        rank=here.rank,
        world=here.world,
    )


def _inputs(pictures: PictureSet, augmentation: Augmentation) -> Inputs:
    make_all = augmentation.normalise_pixels if augmentation.changes_nothing else None
    return Inputs(pictures, augmentation, make_all, replace=True)


def _wrapped(net: ResidualNet, asked: Options) -> nn.Module:
    """The net as a step calls it."""
    called = nn.parallel.DistributedDataParallel(net) if ranks().world > 1 else net
    return torch.compile(called) if asked.compile else called


def _at_once(batches: TrainBatches) -> int:
    return -(-batches.batch // (batches.accumulate * batches.world))


def _best_precision(device: torch.device) -> str:
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def _workers() -> int:
    """As many as there are cores to spare beside the one that trains, but no more than a GPU can eat from."""
    return max(0, min(8, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) - 1))


def _count(parameters) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _cuda_devices() -> list[int]:
    return list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []


def _tell(listener: Callable[[History], None], journal: Journal) -> None:
    listener(journal.history)


def _finished(run: Run, identity: dict) -> bool:
    """Whether the folder holds this training, done. Raises CheckpointError where it holds another one, done."""
    try:
        history = run.history
    except JournalError:
        return False
    if history.end is None or not (run.folder / REPORT).exists():
        return False
    ensure_same(run.folder, history.start["identity"], identity)
    return True


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder, so that two trainings cannot write into it at once. The first rank does for all."""
    if not ranks().first:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0).acquire()
    except Timeout:
        raise FinetuneError(
            f"Another process is training in {folder}. Wait for it, or name another folder with --out."
        ) from None
    except OSError as error:
        raise FinetuneError(
            f"Nothing can be written to {folder} ({error.strerror}). Name another folder with --out."
        ) from error
    with lock:
        yield
