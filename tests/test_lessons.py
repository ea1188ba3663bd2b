"""Exercises that cannot be fooled: what each check says of stubs, solutions, every known mistake and crashes."""

import re
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import nbformat
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netwright import notebooks, workbook
from netwright.lessons import (
    bench,
    check,
    engine,
    exercise,
    hint,
    laboratory,
    pictures,
    progress,
    solution,
    theirs_or_ours,
)
from netwright.lessons.book import BOOK, notebook_of
from netwright.lessons.compare import compare
from netwright.lessons.differing import first_place
from netwright.lessons.engine import UnknownExercise, is_open

NAMES = engine.names()
MISTAKES = [(name, mistake) for name in NAMES for mistake in engine.find(name).mistakes]
each_exercise = pytest.mark.parametrize("name", NAMES)


def stub(*arguments): ...


def crash(*arguments, **options):
    raise RuntimeError("this one always does")


# Every exercise ------------------------------------------------------------------------------------------------


@each_exercise
def test_the_librarys_version_passes_and_says_how_much_was_compared(name):
    outcome = check(name, engine.find(name).ours)
    assert outcome.status == "passed" and outcome.compared >= 10, outcome
    assert f"{outcome.compared:,} values" in outcome.message


@each_exercise
def test_a_stub_is_not_attempted(name):
    assert check(name, stub).status == "not attempted"


@each_exercise
def test_a_crash_is_a_crash_and_names_the_readers_line(name):
    outcome = check(name, crash)
    assert outcome.status == "crashed", outcome
    assert "RuntimeError: this one always does" in outcome.message
    assert 'raise RuntimeError("this one always does")' in outcome.message


@pytest.mark.parametrize(("name", "mistake"), MISTAKES)
def test_a_known_mistake_fails_and_is_called_by_its_name(name, mistake):
    outcome = check(name, engine.find(name).mistakes[mistake])
    assert outcome.status in ("failed", "crashed"), outcome
    assert outcome.mistake == mistake and mistake in outcome.message, outcome


@each_exercise
def test_hints_come_in_three_steps_and_the_solution_is_source(name):
    assert len({hint(name)[stage] for stage in range(3)}) == 3
    page = hint(name)._repr_mimebundle_()["text/html"]
    assert page.count("<details>") == 3 and page.endswith("</details></details></details>")  # each inside the other
    compile(str(solution(name)), "solution", "exec")


# What the checks of notebook 00 accept and refuse --------------------------------------------------------------


def test_a_block_written_in_another_form_passes():
    class Mine(bench.ResidualBlock):
        def forward(self, x):
            branch = x
            for part in (self.reduce, self.middle, self.expand):
                branch = part(branch)
            return F.relu(torch.add(self.shortcut(x), branch))

    assert check("bench.block", Mine)


def test_a_block_wrong_only_in_training_mode_fails():
    class Mine(bench.ResidualBlock):
        def forward(self, x):
            self.expand.norm.momentum = 0.2
            return super().forward(x)

    outcome = check("bench.block", Mine)
    assert outcome.status == "failed" and "buffers" in outcome.message
    assert outcome.mistake is None


def test_a_block_wrong_only_at_stride_two_fails():
    class Mine(bench.ResidualBlock):
        def forward(self, x):
            y = super().forward(x)
            return y if y.shape[2] == x.shape[2] else y.flip(3)

    outcome = check("bench.block", Mine)
    assert outcome.status == "failed" and "stride 2" in outcome.message


def test_a_block_that_overwrites_its_input_fails_before_autograd_finds_out():
    mistakes = engine.find("bench.block").mistakes
    outcome = check("bench.block", mistakes["that adds into its input, and so overwrites it"])
    assert outcome.status == "failed" and "The input" in outcome.message


def test_a_block_that_ignores_the_scale_and_shift_of_a_normalisation_fails():
    class Mine(bench.ResidualBlock):
        def forward(self, x):
            norm, y = self.expand.norm, self.expand.conv(self.middle(self.reduce(x)))
            if norm.training:
                norm.num_batches_tracked += 1
            y = F.batch_norm(y, norm.running_mean, norm.running_var, training=norm.training, momentum=0.1)
            return (y + self.shortcut(x)).relu()

    assert check("bench.block", Mine).status == "failed"


def test_both_blocks_learn_though_one_is_broken():
    broken = bench.BLOCK_MISTAKES["where the ReLU comes before the addition, and none after it"]
    picture = torch.randn(3, 96, 96, generator=torch.Generator().manual_seed(0)) / 4
    picture += torch.linspace(-1, 1, 96) + 2 * torch.linspace(-1, 1, 96)[:, None]  # by which a piece can be placed
    for block in (bench.ResidualBlock, broken):
        losses = bench.train_briefly(block, picture)
        assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


# The engine ----------------------------------------------------------------------------------------------------


def test_an_unknown_exercise_gets_the_nearest_names():
    for verb in (exercise, hint, solution, lambda name: check(name, stub)):
        with pytest.raises(UnknownExercise, match=r"bench\.block"):
            verb("bench.blok")


def test_a_marked_answer_comes_back_as_it_was_and_fits_its_own_exercise_only():
    marked = exercise("bench.relu")(_relu)
    assert marked is _relu
    assert check("bench.relu", marked)
    assert "marked as the answer to 'bench.relu'" in check("bench.block", marked).message


def _relu(x):
    return x.clamp(min=0)


def test_open_places_are_statements_and_never_slices():
    def assigned(x):
        y = ...
        return y

    def returned(x):
        return ...

    def sliced(x):
        return x[..., None]

    def nbgraders(x):
        """Doubles."""
        # YOUR CODE HERE
        raise NotImplementedError

    def refuses(x):
        if x < 0:
            raise NotImplementedError("negative")
        return x

    class HalfDone(nn.Module):
        def __init__(self):
            super().__init__()

        def forward(self, x): ...

    class Static:
        @staticmethod
        def answer(x): ...

    class Told:
        @property
        def answer(self):
            raise NotImplementedError()

    assert all(map(is_open, (stub, assigned, returned, nbgraders, HalfDone, Static, Told, None, {"a": ...})))
    assert not any(map(is_open, (sliced, refuses, bench.ResidualBlock, bench.relu, {"a": "b"}, lambda x: x)))


def test_a_check_leaves_the_random_numbers_and_the_default_type_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    for theirs in (bench.ResidualBlock, crash):
        check("bench.block", theirs)
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.get_default_dtype() == torch.float32


def test_a_crash_after_a_difference_is_reported_as_the_difference():
    def late(x):
        if x.numel() == 3:
            raise ValueError
        return 2 * x

    assert check("bench.relu", late).status == "failed"


def test_theirs_or_ours_says_whose_it_is(capsys):
    assert theirs_or_ours("bench.relu", _relu) is _relu
    assert theirs_or_ours("bench.relu", stub) is bench.relu
    assert theirs_or_ours("bench.relu", crash) is bench.relu
    said = capsys.readouterr().out.splitlines()
    assert [word in line for word, line in zip(("is yours", "not attempted", "crashed"), said, strict=True)] == [
        True
    ] * 3


def test_progress_counts_the_last_outcome_of_each_exercise_of_the_session(monkeypatch):
    monkeypatch.setattr(engine, "_session", {})
    assert "Nothing" in progress().sentence
    check("bench.relu", stub)
    check("bench.relu", _relu)
    check("bench.block", stub)
    assert progress().sentence.startswith("1 of 2 exercises passed in this session; the rest asks for about 5 minutes")
    assert [(row.exercise, row.status) for row in progress().rows] == [
        ("bench.relu", "passed"),
        ("bench.block", "not attempted"),
    ]
    assert "<table>" in progress()._repr_mimebundle_()["text/html"]


def test_beside_a_record_progress_outlives_the_session(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "progress").mkdir()
    monkeypatch.setattr(engine, "_session", {})
    check("bench.relu", lambda x: x)
    check("bench.relu", _relu)
    check("bench.block", stub)  # nothing was tried
    check("bench.relu", lambda x: x.abs())  # what passed stays passed
    monkeypatch.setattr(engine, "_session", {})
    relu, block = (
        next(row for row in progress().rows if row.exercise == name) for name in ("bench.relu", "bench.block")
    )
    assert (relu.status, relu.passed, relu.checks) == ("failed", True, 3)
    assert (block.status, block.passed, block.checks) == ("open", False, 0)
    assert len(progress().rows) == len(NAMES)
    (tmp_path / "progress" / "bench.relu.json").write_text("{broken")
    assert next(row for row in progress().rows if row.exercise == "bench.relu").status == "open"


def test_without_a_record_nothing_is_written(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    check("bench.relu", _relu)
    assert list(tmp_path.iterdir()) == []


def test_every_exercise_stands_in_a_notebook_of_the_book():
    assert {notebook_of(name) for name in NAMES} <= set(BOOK)
    assert list(BOOK) == sorted(BOOK)


# What an answer may do --------------------------------------------------------------------------------------------


def endless(x):
    while True:
        pass


def asleep(x):
    time.sleep(60)


def stubborn(x):
    while True:
        try:
            time.sleep(0.01)
        except:  # noqa: E722, S110  the answer of somebody who catches everything
            pass


@pytest.mark.parametrize(  # outside the main thread nothing wakes the second, or gets past the third
    ("answer", "thread"), [(endless, "main"), (asleep, "main"), (stubborn, "main"), (endless, "another")]
)
def test_an_answer_that_does_not_end_is_stopped(monkeypatch, answer, thread):
    monkeypatch.setattr(laboratory, "SECONDS", 0.3)
    start = time.monotonic()
    if thread == "main":
        outcome = check("bench.relu", answer)
    else:
        with ThreadPoolExecutor(1) as pool:
            outcome = pool.submit(check, "bench.relu", answer).result()
    assert time.monotonic() - start < 20
    assert outcome.status == "crashed" and outcome.out_of_time
    assert (
        "still running after 0.3 seconds" in outcome.message and "asked for the answer to 15 numbers" in outcome.message
    )
    assert check("bench.relu", _relu)  # and nothing is left behind that could stop the next


def test_a_timer_set_outside_of_a_check_goes_on_after_it():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        check("bench.relu", _relu)
        deadline = time.monotonic() + 20
        while not rung and time.monotonic() < deadline:
            time.sleep(0.01)
        assert rung
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_what_an_answer_prints_is_kept_aside_and_cut(capsys):
    def talks(x):
        print("line\n" * 300_000)
        return x.clamp(min=0)

    outcome = check("bench.relu", talks)
    assert outcome and capsys.readouterr().out == ""
    assert outcome.printed.startswith("line\nline") and "more characters" in outcome.printed
    assert len(str(outcome)) < 4_000
    assert "printed meanwhile" in outcome._repr_mimebundle_()["text/html"]


@pytest.mark.parametrize("returned", [None, 3, "x", [1, 2], {}, np.zeros(3), object(), torch.zeros(3, 5).to_sparse()])
def test_an_answer_of_the_wrong_type_is_a_sentence(returned):
    outcome = check("bench.relu", lambda x: returned)
    assert outcome.status == "failed" and outcome.message.startswith("The answer to 15 numbers")


def test_an_answer_with_other_arguments_is_told_so():
    outcome = check("bench.relu", lambda: 0)
    assert outcome.status == "crashed" and "not at a line of yours, but when it was called" in outcome.message


def test_an_answer_that_ends_the_process_ends_only_itself():
    def leaves(x):
        raise SystemExit(3)

    assert check("bench.relu", leaves).status == "crashed"


def test_an_answer_cannot_change_types_gradients_or_chance():
    def careless(x):
        torch.set_default_dtype(torch.float16)
        torch.set_grad_enabled(False)
        torch.manual_seed(99)
        return x.clamp(min=0)

    torch.manual_seed(3)
    before = torch.get_rng_state()
    check("bench.relu", careless)
    assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before)


def test_an_answer_that_draws_other_random_numbers_meets_the_same_inputs():
    class Mine(bench.ResidualBlock):
        def __init__(self, *arguments):
            torch.randn(7)
            super().__init__(*arguments)

        def forward(self, x):
            torch.randn(3)
            return super().forward(x)

    assert check("bench.block", Mine)


def test_a_failed_check_names_the_first_place_and_draws_it():
    def wrong(x):
        y = x.clamp(min=0)
        if y.dim() == 4:
            y[1, 2, 3, 1] += 1
        return y

    outcome = check("bench.relu", wrong)
    assert "the first at [1, 2, 3, 1]" in outcome.message
    picture = outcome.picture()
    assert "expected, [1, 2, :, :]," in picture.alt and "row 3, column 1" in picture.alt
    assert '<img alt="What your answer gave' in outcome._repr_mimebundle_()["text/html"]
    assert check("bench.relu", lambda x: x[..., 0]).picture() is None  # of another shape
    assert check("bench.relu", _relu).picture() is None


def test_the_first_place_is_one_that_differs_by_more_than_rounding():
    expected = torch.tensor([[1.0, 2.0, 0.0], [4.0, float("inf"), 0.0]])
    found = expected.clone()
    found[0, 0] += 1e-12
    assert compare(found, expected, 1e-9).fault is None
    found[1, 2] = float("nan")
    assert first_place(found, expected, 1e-9) == (1, 2)


@pytest.mark.parametrize(
    ("found", "expected", "fault"),
    [
        (torch.ones(2), torch.ones(2), None),
        (torch.ones(2) + 1e-12, torch.ones(2).double(), None),
        (torch.tensor([1.0, 1.5]), torch.ones(2), "50% of its 2 values differ"),
        (torch.tensor(1.5), torch.tensor(2.0), "is 1.5, expected 2"),
        (torch.ones(2, 1), torch.ones(2), "has shape (2, 1), expected (2,)"),
        (torch.tensor([float("nan"), 1]), torch.ones(2), "not a number"),
        (None, torch.ones(2), "is None, expected a tensor"),
        ({"a": 1}, {"a": 1, "b": 2}, "lacks 'b'"),
        ({"a": 1, "c": 2}, {"a": 1}, "has, and should not, 'c'"),
        ({"a": "x"}, {"a": "y"}, "is wrong at 'a', which is 'x', expected 'y'"),
        ([1, 2], [1, 2, 3], "expected 3 values"),
        (True, 1, "is True, expected 1"),
        (0.1 + 0.2, 0.3, None),
        (torch.tensor(0.3), 0.3, "is 0.3, expected 0.3"),  # in float32, which is not the same number
        (torch.tensor(0.3, dtype=torch.float64), 0.3, None),
        (torch.tensor(7), 7, None),
        (np.int64(7), 7, None),
        (7.0, 7, "is 7.0, expected 7"),
        (torch.tensor([float("inf"), 1]), torch.tensor([float("inf"), 1]), None),
        (torch.tensor([1j, 1]), torch.ones(2), "complex"),
        (nn.Parameter(torch.ones(2)), torch.ones(2), None),
    ],
)
def test_values_are_compared_whatever_they_are(found, expected, fault):
    result = compare(found, expected, 1e-9).fault
    assert result is None if fault is None else fault in result


def test_what_a_middle_reaches_is_its_structure():
    resnet, resnext, resnest, halonet = pictures.watch_bottlenecks()
    pixels = [int((pictures.reach_in_space(one, (12, 10)) > 0).sum()) for one in (resnet, resnext, resnest, halonet)]
    assert pixels == [3 * 3, 3 * 3, 32 * 32, (8 + 2 * 3) ** 2]
    assert pictures.share_reached(pictures.reach_in_channels(resnext)) == 1 / 32
    assert pictures.share_reached(pictures.reach_in_channels(resnet)) == 1


@pytest.mark.parametrize("source", notebooks.sources(), ids=lambda source: source.stem)
def test_a_notebook_says_the_minutes_and_the_difficulty_that_its_exercises_have(source):
    said = {}
    cells = notebooks.read_source(source).cells
    for place, text in enumerate(cells):
        if text.cell_type == "markdown" and "### Exercise" in text.source:
            code = next(cell.source for cell in cells[place:] if "check(" in cell.source)
            name = re.search(r"check\(\"([\w.]+)\"", code)[1]
            line = re.search(r"^\*(\d+) minutes · (\w+)", text.source, re.MULTILINE)
            said[name] = (int(line[1]), line[2])
    room = BOOK[source.stem]
    asked = {name: engine.find(name) for name in NAMES if name.startswith(f"{room}.") and name != "bench.relu"}
    assert said == {name: (exercise.minutes, exercise.difficulty) for name, exercise in asked.items()}


# The notebooks, with their exercises open ----------------------------------------------------------------------


@pytest.mark.parametrize("source", notebooks.sources(), ids=lambda source: source.stem)
def test_a_notebook_runs_to_its_end_with_every_exercise_open(source, tmp_path):
    (tmp_path / "notebooks").mkdir()
    shutil.copy(notebooks.built(source), tmp_path / "notebooks")
    [copy] = workbook.make_copies(tmp_path)
    solved = nbformat.read(notebooks.built(source), as_version=4).cells
    asked = {name for cell in solved if "### BEGIN SOLUTION" in cell.source for name in _exercises(cell.source)}
    assert asked <= set(NAMES) and asked

    opened = nbformat.read(copy, as_version=4)
    done = notebooks.execute(opened, copy.parent, name=source.stem, seconds=2 * notebooks.MOST_SECONDS)
    assert notebooks.defects(done) == []
    said = str([output.get("data", {}) for cell in done.cells for output in cell.get("outputs", [])])
    assert {name for name in asked if f"{name}: not attempted" not in said} == set()


def _exercises(code):
    return re.findall(r"@exercise\(\"([\w.]+)\"\)", code)
