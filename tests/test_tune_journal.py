"""The log of a training: whole lines whatever happens, equal after a resume, mirrored to TensorBoard."""

import io
import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from netwright.ranks import Ranks
from netwright.tune import journal as journal_module
from netwright.tune import progress as progress_module
from netwright.tune.history import JournalError, read_log
from netwright.tune.journal import BOARD, TAGS, Journal
from netwright.tune.progress import epoch_in_words, size_in_words

START = {"command": "python -m netwright finetune toy", "epochs": 3, "steps_per_epoch": 4, "classes": ["a", "b"]}


def step(t: int) -> dict:
    return {"epoch": (t - 1) // 4, "step": t, "loss": 1 / t, "rate": 0.1, "grad_norm": None, "waiting": 0.25}


def epoch(e: int) -> dict:
    return {"epoch": e, "step": 4 * e + 4, "train_loss": 1.0, "val_loss": 2.0, "val_top1": 0.1 * e, "best": True}


def train(folder, first: int, last: int, **options) -> Journal:
    """Steps first … last, with a resume unless the first is 1."""
    with Journal(folder, **{"tensorboard": False, "progress": False} | options) as journal:
        if first == 1:
            journal.write("start", **START)
        else:
            journal.resume_at(first - 1)
            journal.write("resume", epoch=(first - 1) // 4, step=first - 1)
        for t in range(first, last + 1):
            journal.advance(8)
            journal.write("step", **step(t))
            if t % 4 == 0:
                journal.write("epoch", **epoch(t // 4 - 1))
    return journal


def lines(folder) -> list[dict]:
    return [json.loads(text) for text in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


# What is written is what is read -------------------------------------------------------------------------------


def test_the_log_is_read_as_it_was_written(tmp_path):
    train(tmp_path, 1, 12)
    history = read_log(tmp_path)
    assert history.start == {"kind": "start", **START}
    assert history.steps == [{"kind": "step", **step(t)} for t in range(1, 13)]
    assert history.epochs == [{"kind": "epoch", **epoch(e)} for e in range(3)]
    assert history.end is None and history.damaged == 0


def test_a_line_is_in_the_file_when_write_returns(tmp_path):
    journal = Journal(tmp_path, tensorboard=False, progress=False)
    journal.write("start", **START)
    assert read_log(tmp_path).start is not None
    journal.write("step", **step(1))
    assert read_log(tmp_path).steps == journal.history.steps != []
    journal.close()


def test_numbers_of_torch_and_numpy_paths_and_odd_names_are_told_in_strict_json(tmp_path):
    with Journal(tmp_path, tensorboard=False, progress=False) as journal:
        journal.write("end", seconds=np.float32(1.5), best_epoch=torch.tensor(3), bad=[[tmp_path / "ä\udc80", "no"]])
        journal.write("step", step=1, loss=float("nan"), grad_norm=torch.tensor(float("inf")))

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    end, wrong = (json.loads(t, parse_constant=refuse) for t in (tmp_path / "log.jsonl").read_text().splitlines())
    assert (end["seconds"], end["best_epoch"], end["bad"]) == (1.5, 3, [[str(tmp_path / "ä\udc80"), "no"]])
    assert wrong["loss"] is None and wrong["grad_norm"] is None


def test_only_the_first_rank_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "ranks", lambda: Ranks(1, 2))
    train(tmp_path / "run", 1, 4, tensorboard=True, progress=True)
    assert not (tmp_path / "run").exists()


# Whole lines, whatever happens ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", [b'{"kind": "step", "st', b"\0" * 300, b'{"kind": "step"}', b'{"kind": "st\n'])
def test_what_a_kill_left_of_a_line_is_dropped(tmp_path, tail):
    train(tmp_path, 1, 6)
    whole = (tmp_path / "log.jsonl").read_bytes()
    (tmp_path / "log.jsonl").write_bytes(whole + tail)
    assert read_log(tmp_path).steps == [{"kind": "step", **step(t)} for t in range(1, 7)]
    with Journal(tmp_path, tensorboard=False, progress=False) as journal:
        journal.write("step", **step(7))
    assert (tmp_path / "log.jsonl").read_bytes() == whole + journal_module._as_bytes({"kind": "step", **step(7)})


def test_a_log_cut_anywhere_reads_as_the_lines_that_are_whole(tmp_path):
    train(tmp_path / "whole", 1, 4)
    content = (tmp_path / "whole" / "log.jsonl").read_bytes()
    (tmp_path / "cut").mkdir()
    for length in range(len(content)):
        (tmp_path / "cut" / "log.jsonl").write_bytes(content[:length])
        history = read_log(tmp_path / "cut")
        assert (history.start is not None) + len(history.steps) + len(history.epochs) == content[:length].count(b"\n")


WRITER = """
import sys
from netwright.tune.journal import Journal
journal = Journal(sys.argv[1], tensorboard=False, progress=False)
journal.resume_at(10**9)
print("ready", flush=True)
for t in range(10**9):
    journal.write("step", step=len(journal.history.steps) + 1, text="x" * 3000)
"""


def test_a_log_whose_writer_is_killed_again_and_again_has_no_gap_and_no_half_line(tmp_path):
    rng, written = random.Random(0), 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(rng.uniform(0.005, 0.05))
        process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        process.communicate()
        history = read_log(tmp_path)
        assert [line["step"] for line in history.steps] == list(range(1, len(history.steps) + 1))
        assert len(history.steps) > written and history.damaged == 0
        written = len(history.steps)


class FullDisk(io.RawIOBase):
    """Takes the first bytes of a line and no more, until `room` is made."""

    def __init__(self, stream):
        self.stream, self.room = stream, False

    def write(self, content):
        return self.stream.write(content if self.room else content[:10])

    def truncate(self, size):
        return self.stream.truncate(size)

    def close(self):
        self.stream.close()


def test_on_a_full_disk_the_training_is_told_once_and_loses_no_line_once_there_is_room(tmp_path):
    with Journal(tmp_path, tensorboard=False, progress=False) as journal:
        journal.write("start", **START)
        journal._stream = disk = FullDisk(journal._stream)
        with pytest.warns(UserWarning, match="log.jsonl cannot be written now .*The training goes on") as told:
            [journal.write("step", **step(t)) for t in (1, 2)]
        assert len(told) == 1
        assert len(lines(tmp_path)) == 1  # no half line
        assert len(journal.history.steps) == 2
        disk.room = True
        journal.write("step", **step(3))
    assert [line.get("step") for line in lines(tmp_path)] == [None, 1, 2, 3]


def test_a_place_where_no_log_can_be_is_refused_before_the_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="A log cannot be begun at .*Choose another folder"):
        Journal(tmp_path / "file" / "run", tensorboard=False, progress=False)


def test_a_new_training_takes_the_place_of_one_that_got_nowhere_but_not_of_a_real_one(tmp_path):
    train(tmp_path, 1, 3)
    train(tmp_path, 1, 5)
    assert [line["kind"] for line in lines(tmp_path)] == ["start", *["step"] * 4, "epoch", "step"]
    before = lines(tmp_path)
    with pytest.raises(JournalError, match="got through 1 epochs. Choose another folder"):
        train(tmp_path, 1, 5)
    assert lines(tmp_path) == before


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(JournalError, match="is not the folder of a run: there is no log.jsonl"):
        read_log(tmp_path)
    (tmp_path / "log.jsonl").write_text("hello\n[1]\n{}\n")
    with pytest.raises(JournalError, match="is not the log of a run"):
        read_log(tmp_path)


def test_a_damaged_line_in_the_middle_is_counted_and_hides_no_other(tmp_path):
    train(tmp_path, 1, 4)
    first, *rest = (tmp_path / "log.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "log.jsonl").write_text(first + "}{\n" + "".join(rest))
    history = read_log(tmp_path)
    assert (history.damaged, len(history.steps), len(history.epochs)) == (1, 4, 1)


# Resuming ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("killed_after", "checkpoint"), [(7, 5), (8, 8), (12, 4), (5, 5), (3, 0)])
def test_the_log_of_a_resumed_training_is_that_of_an_undisturbed_one_and_a_resume(tmp_path, killed_after, checkpoint):
    train(tmp_path / "undisturbed", 1, 12)
    train(tmp_path / "killed", 1, killed_after)
    train(tmp_path / "killed", checkpoint + 1, 12) if checkpoint else train(tmp_path / "killed", 1, 12)
    kept = [line for line in lines(tmp_path / "killed") if line["kind"] != "resume"]
    assert kept == lines(tmp_path / "undisturbed")
    assert len(lines(tmp_path / "killed")) - len(kept) == (1 if checkpoint else 0)


def test_a_training_that_goes_on_has_not_ended(tmp_path):
    with Journal(tmp_path, tensorboard=False, progress=False) as journal:
        journal.write("start", **START)
        journal.write("end", seconds=1)
        journal.resume_at(0)
    assert read_log(tmp_path).end is None and read_log(tmp_path).start is not None


# TensorBoard ---------------------------------------------------------------------------------------------------


def scalars(folder) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(folder / BOARD))
    board.Reload()
    return {tag: [(s.step, s.value) for s in board.Scalars(tag)] for tag in board.Tags()["scalars"]}


def expected_scalars(folder) -> dict[str, list[tuple[int, float]]]:
    expected = {}
    for line in lines(folder):
        for name, tag in TAGS.get(line["kind"], {}).items():
            if line.get(name) is not None:
                expected.setdefault(tag, []).append((line["step"], pytest.approx(line[name], rel=1e-6)))
    return expected


def test_tensorboard_shows_what_the_log_says(tmp_path):
    train(tmp_path, 1, 12, tensorboard=True)
    shown = scalars(tmp_path)
    assert shown == expected_scalars(tmp_path)
    assert len(shown["loss/train_steps"]) == 12 and len(shown["accuracy/val_top1"]) == 3


def test_tensorboard_knows_each_line_at_once(tmp_path):
    with Journal(tmp_path, progress=False) as journal:
        journal.write("start", **START)
        journal.write("step", **step(1))
        assert scalars(tmp_path)["loss/train_steps"] == [(1, 1.0)]


def test_tensorboard_forgets_what_a_kill_undid(tmp_path, monkeypatch):
    clock = iter(range(2_000_000_000, 2_000_001_000))  # event files are read in the order of the seconds in their names
    monkeypatch.setattr("tensorboard.summary.writer.event_file_writer.time.time", lambda: next(clock))
    train(tmp_path, 1, 7, tensorboard=True)
    (events,) = (tmp_path / BOARD).iterdir()
    events.write_bytes(events.read_bytes()[:-5])  # and the newest event is a half one
    train(tmp_path, 6, 12, tensorboard=True)
    shown = scalars(tmp_path)
    assert shown == expected_scalars(tmp_path)
    assert [t for t, _ in shown["loss/train_steps"]] == list(range(1, 13))


def test_a_training_does_not_end_because_tensorboard_fails(tmp_path):
    (tmp_path / BOARD).write_text("a file where its folder should be")
    with pytest.warns(UserWarning, match="TensorBoard is told nothing more.*log.jsonl goes on") as told:
        train(tmp_path, 1, 12, tensorboard=True)
    assert len(told) == 1
    assert len(read_log(tmp_path).steps) == 12


# What is shown -------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_shows_epoch_rate_loss_memory_and_time_left(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Journal(tmp_path, tensorboard=False) as journal:
        journal.write("start", **START)
        for t in range(1, 7):
            journal.advance(8)
            journal.write("step", **step(t), pictures_per_second=1234.5, memory=2_100_000_000)
        shown = sys.stderr.getvalue().split("\r")[-1]
    assert "epoch 2 of 3:  50%" in shown
    assert " left, 1,234 pictures/s, loss 0.167, 2.1 GB, 25% waiting for data" in shown


def test_a_resumed_bar_starts_where_the_training_does(tmp_path, monkeypatch):
    train(tmp_path, 1, 9)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Journal(tmp_path, tensorboard=False) as journal:
        journal.resume_at(8)
        journal.advance(8)
        assert (journal._shown._bar.n, journal._shown._bar.total) == (9 * 8, 12 * 8)
        assert "epoch 3 of 3" in sys.stderr.getvalue()


def test_in_a_file_there_is_a_line_for_each_epoch_and_no_bar(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    train(tmp_path, 1, 8, progress=True)
    first, second = sys.stderr.getvalue().splitlines()
    assert first == "epoch 1 of 3: loss 1.000, val loss 2.000, val top-1 0.0% (best so far)"
    assert second.startswith("epoch 2 of 3: ")


def test_in_a_notebook_the_curves_take_the_place_of_the_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(progress_module, "in_notebook", lambda: True)
    monkeypatch.setattr("tqdm.auto.tqdm", lambda **options: bars.append(options) or _Bar())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    bars = []
    train(tmp_path, 1, 8, progress=True)
    assert sys.stderr.getvalue() == "" and [bar["total"] for bar in bars] == [96]


class _Bar:
    def __getattr__(self, name):
        return lambda *arguments, **options: None


def test_what_was_not_measured_is_not_told():
    words = epoch_in_words({"epoch": 0, "val_top1": None, "train_loss": 0.5}, journal_module.History())
    assert words == "epoch 1: loss 0.500"
    assert [size_in_words(n) for n in (999, 512e6, 2.14e9)] == ["0 MB", "512 MB", "2.1 GB"]
