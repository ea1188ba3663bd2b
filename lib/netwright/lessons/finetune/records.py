"""Trainings that were recorded, for whoever cannot make them anew. Imports figures, toys, tune, this room."""

from dataclasses import dataclass

from netwright.figures import Picture
from netwright.lessons.finetune.pictures import draw_seeds
from netwright.lessons.finetune.recipes import STEPS, rates_of
from netwright.toys import ledger
from netwright.tune.curves import curves
from netwright.tune.history import History
from netwright.tune.recipes import find

NOTHING = (
    "No training is recorded in data/ of this version of the workbook, and there is no CUDA GPU here to make one on. So "
    "there is nothing to show; everything else in this notebook has run on this machine."
)

NO_SEEDS = "No training of a toy net is recorded in data/ of this version of the workbook: there is nothing to compare."


@dataclass(frozen=True)
class Replay:
    """A recorded training: what it was and on which device, and its curves. A notebook shows both."""

    sentence: str
    picture: Picture | None = None

    def __str__(self) -> str:
        return self.sentence

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        shown = self.picture._repr_mimebundle_()["text/html"] if self.picture else ""
        return {"text/html": f"<p>{self.sentence}</p>{shown}", "text/plain": self.sentence}


def recorded() -> dict | None:
    """The ledger of the trainings that made the toy nets (`toys.ledger.results`); None where there is none."""
    try:
        return ledger.results()
    except FileNotFoundError:
        return None


def replay(net: str = "toy_resnet") -> Replay:
    """The recorded training of a toy net, with its curves; where none is recorded, a sentence that says so."""
    found = recorded()
    if found is None or net not in found["nets"]:
        return Replay(NOTHING)
    log, seconds = found["nets"][net]["log"], found["nets"][net]["runs"][0]["seconds"]
    sentence = (
        f"A recording, of {found['date']}: {net} trained from random weights on {found['pictures']:,} toy pictures, "
        f"{found['epochs']} epochs in {seconds / 60:.0f} minutes, on {found['device']}"
        f" ({found['threads']} thread, {found['precision']}, PyTorch {found['torch']}). "
        + ("That is no GPU: none was at hand when it was made." if "CPU" in found["device"] else "")
    )
    return Replay(sentence.strip(), curves(_history(found, log)))


def _history(found: dict, log: list[dict]) -> History:
    """The epochs of the record; between them it kept nothing, and the rate is that of the recipe."""
    rates = rates_of(find(found["recipe"]))
    steps_per_epoch = log[0]["step"] // (log[0]["epoch"] + 1)
    epochs = [{**line, "best": line["val_top1"] >= max(it["val_top1"] for it in log)} for line in log]
    steps = [
        {"epoch": i // STEPS, "step": i * steps_per_epoch / STEPS, "rate": rate} for i, rate in enumerate(rates)
    ] + [{"epoch": line["epoch"], "step": line["step"], "loss": line["train_loss"]} for line in log]
    start = {"epochs": found["epochs"], "steps_per_epoch": steps_per_epoch}
    return History(start=start, steps=sorted(steps, key=lambda line: line["step"]), epochs=epochs)


def seeds(group: str = "relation") -> Replay:
    """How well the toy nets tell a group of classes apart, a dot a seed; a sentence where nothing is recorded."""
    found = recorded()
    if found is None or not found["nets"]:
        return Replay(NO_SEEDS)
    values = {net: ledger.over_seeds(net, group, found) for net in found["nets"]}
    return Replay(
        f"Trainings of the toy nets that differ in their seed only, recorded on {found['device']}:",
        draw_seeds(values, f"top-1 on the classes told apart by {group}, %"),
    )
