"""Killed at any instant and started again, a training ends with the numbers of one that nobody disturbed."""

import dataclasses
import os
import random
import signal
import threading
import time

import pytest
import torch

from netwright.tune import checkpoint
from netwright.tune.finetune import finetune
from netwright.tune.history import read_log
from netwright.tune.loop import LAST, TrainingStopped
from tiny_training import in_a_fork, same, tiny_net

KILLS = 30
# Everything that draws random numbers or keeps a state of its own: A1 has mixing, edits, repeated pictures and LAMB;
# to these erasing, dropout, stochastic depth, DropBlock, an average, clipping and accumulation.
EVERYTHING = (
    "augmentation.erasing=0.5",
    "augmentation.jitter=0.3",
    "regularisation.drop_rate=0.2",
    "regularisation.drop_path_rate=0.2",
    "regularisation.drop_block=0.1",
    "ema.decay=0.9",
    "optimiser.clip_norm=1.0",
)
RUN = {
    "model": "tiny",
    "recipe": "a1",
    "weights": "none",
    "size": 32,
    "length": 126,
    "epochs": 3,
    "batch": 6,  # 21 steps an epoch, and a line of the log every second
    "accumulate": 2,
    "workers": 0,
    "tensorboard": False,
    "progress": False,
    "settings": EVERYTHING,
}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr("netwright.toys.world.SPLITS", {"train": 96, "val": 40, "test": 40, "novel": 40})
    with tiny_net():
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of a run that nobody disturbed, and the seconds that it took."""
    with pytest.MonkeyPatch.context() as patch, tiny_net():
        patch.setattr("netwright.toys.world.SPLITS", {"train": 96, "val": 40, "test": 40, "novel": 40})
        finetune("toy", out=str(tmp_path_factory.mktemp("warm")), **RUN)
        folder, start = tmp_path_factory.mktemp("undisturbed"), time.monotonic()
        finetune("toy", out=str(folder), **RUN)
        return folder, time.monotonic() - start


def assert_same_run(folder, other) -> None:
    """Net, average, optimiser and the log, of what does not depend on the clock."""
    one, two = (checkpoint.load(f / LAST) for f in (folder, other))
    assert same(one["step"]["net"], two["step"]["net"])
    assert same(one["step"]["ema"]["net"], two["step"]["ema"]["net"])
    assert str(one["step"]["optimiser"]) == str(two["step"]["optimiser"])
    logs = []
    for f in (folder, other):
        history = read_log(f)
        clock = {"pictures_per_second", "waiting", "memory", "seconds"}
        logs.append([{k: v for k, v in line.items() if k not in clock} for line in history.steps + history.epochs])
        assert history.end is not None
    assert logs[0] == logs[1] and len(logs[0]) == 3 * 11 + 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks of this process")
def test_thirty_kills_at_random_instants_change_nothing(undisturbed, tmp_path):
    """A third of them in the middle of writing a checkpoint; and there is never a checkpoint that cannot be read."""
    reference, seconds = undisturbed
    chance = random.Random(4)
    kills = inside = runs = 0
    while kills < KILLS:
        folder = tmp_path / f"run {runs}"
        for _ in range(200):
            in_writing = chance.random() < 0.35
            if in_writing:
                nth = chance.randint(1, 6)
                status = in_a_fork(lambda folder=folder, nth=nth: train(folder, die_in_write=nth))
            else:
                after = chance.uniform(0, 0.6 * seconds)
                status = in_a_fork(lambda folder=folder, after=after: train(folder, die_after=after))
            if (folder / LAST).exists():
                checkpoint.load(folder / LAST)
            if status == 0:
                break
            assert status == -signal.SIGKILL
            kills += 1
            inside += in_writing
        else:
            pytest.fail("The run never came to its end.")
        assert_same_run(folder, reference)
        runs += 1
    assert inside >= 5 and runs >= 2


def train(folder, *, die_after: float | None = None, die_in_write: int | None = None) -> None:
    """The run, in a process that kills itself after some seconds, or in the middle of its nth checkpoint."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    torch.set_num_threads(1)
    if die_after is not None:
        threading.Thread(target=lambda: (time.sleep(die_after), os.kill(os.getpid(), signal.SIGKILL))).start()
    if die_in_write is not None:
        whole, written = torch.save, []

        def half(state, stream):
            written.append(1)
            if len(written) == die_in_write:
                stream.write(b"PK\x03\x04 the first half of a checkpoint")
                stream.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            whole(state, stream)

        torch.save = half
    finetune("toy", out=str(folder), checkpoint_minutes=1e-6, **RUN)


def stopped_after(steps: int, folder, **changes) -> None:
    """Train until some steps are done, and stop as Ctrl-C would."""
    from netwright.tune.step import TrainingStep

    taken, original = [], TrainingStep.__call__

    def counted(self, *arguments):
        taken.append(1)
        if len(taken) == steps:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", counted)
        with pytest.raises(TrainingStopped, match="Stopped as asked.*goes on from"):
            finetune("toy", out=str(folder), **RUN | changes)


@pytest.mark.parametrize("steps", (1, 4, 21, 50))
def test_ctrl_c_saves_and_the_same_command_goes_on(undisturbed, tmp_path, steps):
    stopped_after(steps, tmp_path)
    assert checkpoint.load(tmp_path / LAST)["done"] == steps
    finetune("toy", out=str(tmp_path), **RUN)
    assert_same_run(tmp_path, undisturbed[0])
    assert len(read_log(tmp_path).resumes) == 1


def test_workers_and_their_number_change_nothing(undisturbed, tmp_path):
    stopped_after(5, tmp_path, workers=2)
    finetune("toy", out=str(tmp_path), **RUN | {"workers": 1})
    assert_same_run(tmp_path, undisturbed[0])


def test_a_finished_run_is_not_trained_again(undisturbed):
    folder, _ = undisturbed
    before = (folder / LAST).stat().st_mtime_ns
    assert finetune("toy", out=str(folder), **RUN).history.end is not None
    assert (folder / LAST).stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "changes, words", (({"seed": 1}, "seed: 0 there, 1 asked"), ({"settings": ("loss.smoothing=0.3",)}, "recipe"))
)
def test_a_finished_run_is_not_passed_off_as_another_one(undisturbed, changes, words):
    with pytest.raises(checkpoint.CheckpointError, match=words):
        finetune("toy", out=str(undisturbed[0]), **RUN | changes)


def test_words_about_a_recipe_do_not_keep_a_run_from_going_on(undisturbed, monkeypatch):
    from netwright.tune import options
    from netwright.tune.recipes import find

    reworded = dataclasses.replace(find("a1"), summary="Other words.", sources={"*": "another source"})
    monkeypatch.setattr(options, "find", lambda name: reworded)
    assert finetune("toy", out=str(undisturbed[0]), **RUN).history.end is not None


def test_another_training_is_told_apart_and_nothing_is_overwritten(tmp_path):
    stopped_after(5, tmp_path)
    before = (tmp_path / LAST).read_bytes()
    for changes, words in (({"batch": 12}, "batch: 6 there, 12 asked"), ({"seed": 1}, "seed"), ({"lr": 0.5}, "lr")):
        with pytest.raises(checkpoint.CheckpointError, match=words):
            finetune("toy", out=str(tmp_path), **RUN | changes)
    assert (tmp_path / LAST).read_bytes() == before


def test_a_damaged_checkpoint_is_named_and_kept(tmp_path):
    stopped_after(5, tmp_path)
    path = tmp_path / LAST
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(checkpoint.CheckpointError, match="damaged"):
        finetune("toy", out=str(tmp_path), **RUN)
    assert path.stat().st_size == 5000


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path, monkeypatch):
    stopped_after(5, tmp_path)
    before = (tmp_path / LAST).read_bytes()

    def full(state, stream):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(checkpoint.CheckpointError, match="disk is full.*is whole.*goes on"):
            finetune("toy", out=str(tmp_path), **RUN)
    assert (tmp_path / LAST).read_bytes() == before and not list(tmp_path.glob("*.new"))
    finetune("toy", out=str(tmp_path), **RUN)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="groups of processes are POSIX's")
def test_what_ends_a_whole_group_of_processes_lets_its_workers_finish(undisturbed, tmp_path):
    """A terminal's Ctrl-C and a cluster's end of a job reach the workers too."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setpgid(0, 0)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            torch.set_num_threads(1)
            finetune("toy", out=str(tmp_path), **RUN | {"workers": 2})
        except TrainingStopped:
            status = 7
        finally:
            os._exit(status)
    deadline = time.monotonic() + 120
    while not any('"step": 10' in line for line in _lines(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert checkpoint.load(tmp_path / LAST)["done"] >= 10
    finetune("toy", out=str(tmp_path), **RUN)
    assert_same_run(tmp_path, undisturbed[0])


def _lines(folder) -> list[str]:
    path = folder / "log.jsonl"
    return path.read_text().splitlines() if path.exists() else []
