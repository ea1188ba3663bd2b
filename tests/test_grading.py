"""The grader: every submission gets its rows, right ones, whatever its code does; and nothing is left of it."""

import csv
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import torch

from made_up_submissions import ANSWER, BENCH_00, BLOCK, LATE, NO_RELU, WEIGHTS_02, block, hand_in, make, notebook
from netwright.cli.main import main
from netwright.grading import (
    Limits,
    Mark,
    confine,
    grade,
    item_rows,
    page_of,
    process,
    session,
    untouched,
    write_items,
    write_marks,
)
from netwright.grading.parcels import Thing, letter, opened, pack, unpack
from netwright.grading.submissions import Submission, Unreadable, asked_of, find_submissions, published_asks
from netwright.grading.verdict import Judge
from netwright.lessons import engine, laboratory

LIMITS = Limits(seconds=60, memory=0.6, statement=4, answer=6)
STUDENTS = list(make(0, Path()))
LEFT_BEHIND = "time.sleep(987)"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """All made-up submissions graded once; gives (what was made, marks by student, what it left outside)."""
    place, outside = tmp_path_factory.mktemp("course"), tmp_path_factory.mktemp("outside")
    (outside / "kept.txt").write_text("here")
    (place / "nobody").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.MonkeyPatch.context() as patch:
        server.settimeout(0.1)
        patch.setattr(session, "GRACE", 1.0)
        made = make(server.getsockname()[1], outside)
        hand_in(place, made)
        marks: dict[str, list[Mark]] = {}
        for mark in grade(place, LIMITS, jobs=2):
            marks.setdefault(mark.student, []).append(mark)
        return made, marks, {"reached": _reached(server), "outside": outside}


def _reached(server) -> list[bytes]:
    """What came in through the server, a connection an entry."""
    came = []
    while True:
        try:
            connection, _ = server.accept()
        except TimeoutError:
            return came
        with connection:
            connection.settimeout(1)
            came.append(connection.recv(100))


@pytest.fixture(scope="module")
def walls():
    """Which of Linux's walls this machine has; gives {"network": …, "files": …}."""
    if sys.platform != "linux":
        return {"network": False, "files": False}
    code = (
        "import json, pathlib, runpy, sys; walls = runpy.run_path(sys.argv[1])\n"
        "files = walls['_write_only_to'](pathlib.Path(sys.argv[2]))\n"
        "print(json.dumps({'files': files, 'network': walls['_without_network']()}))"
    )
    command = [sys.executable, "-c", code, confine.__file__, tempfile.gettempdir()]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


# Every kind of submission --------------------------------------------------------------------------------------


@pytest.mark.parametrize("student", STUDENTS)
def test_every_row_of_a_submission_is_right(run, student):
    made, marks, _ = run
    found = {mark.exercise: (mark.outcome, mark.mistake) for mark in marks[student]}
    assert found == made[student].expected, marks[student]
    assert len(marks[student]) == len(found)
    messages = " ".join(mark.message for mark in marks[student])
    assert all(words in messages for words in made[student].said), messages
    assert all(mark.message and mark.message.isprintable() for mark in marks[student])


def test_there_are_at_least_thirty_of_them():
    assert len(STUDENTS) >= 30


def test_a_student_without_a_notebook_has_a_row(run):
    assert [(mark.exercise, mark.outcome) for mark in run[1]["nobody"]] == [("", "missing")]


def test_no_process_and_no_folder_is_left(run):
    running = [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
    assert [line for line in running if LEFT_BEHIND in line] == []
    assert process._alive == set()
    assert list(Path(tempfile.gettempdir()).glob("netwright-grade-*")) == []


def test_nobody_has_reached_the_network(run, walls):
    assert [came for came in run[2]["reached"] if came != b"child"] == []
    assert not (walls["network"] and run[2]["reached"])


def test_nothing_outside_was_changed(run, walls):
    kept = run[2]["outside"] / "kept.txt"
    assert list(kept.parent.iterdir()) == [kept]
    # torch.save opens its file in C++, where only the system can refuse it.
    assert kept.read_bytes() == b"here" or not walls["files"]


# What comes out ------------------------------------------------------------------------------------------------


def test_the_files_hold_all_marks_and_count_them(run, tmp_path):
    marks = [mark for own in run[1].values() for mark in own]
    write_marks(tmp_path / "new" / "marks.csv", marks)
    write_items(tmp_path / "items.csv", marks)
    with open(tmp_path / "new" / "marks.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["student", "notebook", "exercise", "outcome", "mistake", "message", "seconds"]
    assert [(row["student"], row["exercise"], row["outcome"]) for row in rows] == [
        (mark.student, mark.exercise, mark.outcome) for mark in marks
    ]
    with open(tmp_path / "items.csv", encoding="utf-8", newline="") as file:
        items = list(csv.DictReader(file))
    of_block = [row for row in items if row["exercise"] == BLOCK]
    assert sum(int(row["students"]) for row in of_block) == sum(mark.exercise == BLOCK for mark in marks)
    late = [row for row in of_block if row["mistake"] == LATE]
    assert [int(row["students"]) for row in late] == [sum(mark.mistake == LATE for mark in marks)]
    assert [row["exercise"] for row in items] == sorted((row["exercise"] for row in items), key=_place)


def _place(exercise: str) -> int:
    return [asked.exercise for asked in published_asks()].index(exercise)


def test_the_page_says_how_many_made_which_mistake_and_shows_names_as_text(run):
    marks = [*(mark for own in run[1].values() for mark in own), Mark("<b>Eve", "00_bench", BLOCK, "failed", "", "<i>")]
    page = page_of(marks).to_html()
    assert LATE in page and "&lt;b&gt;Eve" in page and "<b>Eve" not in page
    assert f"<td>one {LATE}</td>" in page
    assert page_of([Mark("Ann", "00_bench", BLOCK, "passed")]).to_html().count("No answer failed.") == 1
    assert "unreadable" in page_of([Mark("Ann", "x.ipynb", "", "unreadable", "", "empty")]).to_html()


def test_the_most_frequent_mistake_comes_first():
    def marks(count, outcome, mistake=""):
        return [Mark(f"{outcome}{mistake}{i}", "00_bench", BLOCK, outcome, mistake) for i in range(count)]

    rows = item_rows([*marks(1, "failed", "a"), *marks(3, "failed", "b"), *marks(2, "passed"), *marks(2, "failed")])
    assert [row[2:] for row in rows] == [("passed", "", 2), ("failed", "b", 3), ("failed", "", 2), ("failed", "a", 1)]


def test_a_spreadsheet_finds_no_formula_and_no_second_line(tmp_path):
    write_marks(tmp_path / "marks.csv", [Mark("=1+1", "@x", "+y", "failed", "-z", "a\nb\0\udcff", 1.5)])
    with open(tmp_path / "marks.csv", encoding="utf-8", newline="") as file:
        [row] = csv.DictReader(file)
    assert list(row.values()) == ["'=1+1", "'@x", "'+y", "failed", "'-z", "a b\\udcff", "1.50"]


# The command line ----------------------------------------------------------------------------------------------


def _hand_in(folder: Path, *names: str, **contents: list[str]) -> Path:
    for name, cells in contents.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / f"{names[0] if names else '00_bench'}.ipynb").write_text(notebook(cells))
    return folder


def test_the_command_writes_every_file_and_ends_well_though_students_failed(tmp_path, capsys):
    place = _hand_in(tmp_path / "in", ann=BENCH_00, bob=block(NO_RELU))
    (place / "bob" / "second try.ipynb").write_text(notebook(["1 + 1", *BENCH_00]))
    files = [str(tmp_path / name) for name in ("marks.csv", "items.csv", "page.html")]
    flags = ["--csv", files[0], "--items", files[1], "--html", files[2]]
    assert main(["lessons", "grade", str(place), *flags, "--seconds", "60", "--memory", "1", "--jobs", "2"]) == 0
    said = capsys.readouterr()
    assert f"{BLOCK}  00_bench       2" in said.out and "2/2" not in said.out
    assert "3/3" in said.err  # the bar, of notebooks
    assert said.out.split("student  passed  of")[1].split()[2:5] == ["ann", "1", "1"]
    with open(files[0], encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    # Whoever hands in twice has one row, with the better outcome.
    assert [(row["student"], row["outcome"]) for row in rows] == [("ann", "passed"), ("bob", "passed")]
    assert Path(files[2]).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")

    assert main(["lessons", "grade", str(place / "bob" / "00_bench.ipynb"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(mark["student"], mark["mistake"]) for mark in told["marks"]] == [("bob", LATE)]
    assert told["items"][0]["students"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "no folder nowhere"),
        (["empty"], "no notebook below empty"),
        ([".", "--seconds", "0"], "--seconds 0"),
        ([".", "--jobs", "-1"], "--jobs -1"),
        ([".", "--csv", "empty"], "is a folder"),
    ],
)
def test_a_wrong_call_is_refused_in_a_sentence(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["lessons", "grade", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_the_list_has_every_exercise_that_is_asked(capsys):
    assert main(["lessons", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["exercise"] for row in rows] == [asked.exercise for asked in published_asks()]
    assert all(row["minutes"] > 0 and row["known mistakes"] >= engine.FEWEST_MISTAKES for row in rows)
    assert main(["lessons", "list"]) == 0
    assert f"{len(rows)} exercises" in capsys.readouterr().out


# Finding and reading -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "students"),
    [
        (["ann/00_bench.ipynb", "bob/week 1/00_bench.ipynb"], ["ann", "bob"]),
        (["submitted/ann/00_bench/00.ipynb", "source/00_bench/00.ipynb"], ["ann"]),
        (["ann_00_bench.ipynb", "bob-02_weights_proven-1.ipynb", "carl.ipynb"], ["ann", "bob", "carl"]),
        (["00_bench.ipynb", "02_weights_proven.ipynb"], ["course", "course"]),
        (["ann/.ipynb_checkpoints/00_bench-checkpoint.ipynb", "ann/00_bench.ipynb", "ann/._00_bench.ipynb"], ["ann"]),
        ([".git/x.ipynb", "__MACOSX/ann/y.ipynb", "ann/notes.txt", "bob/00_bench.ipynb"], ["ann", "bob"]),
    ],
    ids=["folders", "nbgrader", "files", "one student", "checkpoints", "hidden"],
)
def test_whose_a_notebook_is(files, students, tmp_path):
    for file in files:
        (tmp_path / "course" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "course" / file).write_text("{}")
    assert [each.student for each in find_submissions(tmp_path / "course")] == students


def test_a_single_file_is_a_submission(tmp_path):
    (tmp_path / "ann_00_bench.ipynb").write_text("{}")
    file = tmp_path / "ann_00_bench.ipynb"
    assert find_submissions(file) == [Submission("ann", file)]


def test_which_notebook_it_is_its_exercises_say_and_its_name_only_where_they_do_not():
    def asked(name, *cells):
        return [each.exercise for each in asked_of(Path(name), list(cells))]

    weights = [each.exercise for each in published_asks() if each.notebook == "02_weights_proven"]
    assert asked("00_bench.ipynb", *WEIGHTS_02) == weights
    assert asked("02_weights_proven.ipynb", "1 + 1") == weights
    assert asked("02_weights_proven/00.ipynb", "1 + 1") == weights
    assert asked("mine.ipynb", ANSWER) == [BLOCK]
    assert asked("02_weights_proven.ipynb", *WEIGHTS_02, ANSWER) == [*weights, BLOCK]  # two in one
    assert asked("00_bench.ipynb", ANSWER, *WEIGHTS_02) == [BLOCK, *weights]
    with pytest.raises(Unreadable, match="no notebook of the book"):
        asked("mine.ipynb", 'check("bench.relu", positive_part)')  # which 00 shows, and does not ask


# Inside --------------------------------------------------------------------------------------------------------


def test_values_come_back_as_they_were_and_things_as_their_looks():
    values = {
        "tensors": [torch.randn(2, 3), torch.ones(3, dtype=torch.int64)[::2], torch.tensor(True), torch.empty(0, 4)],
        "numbers": (1, True, 0.1, float("inf"), None, "ü"),
        3: torch.nn.Parameter(torch.ones(2).double()),
    }
    parts: list[bytes] = []
    content, arrived = opened(letter({"value": pack(values, parts)}, parts))
    back = unpack(content["value"], arrived)
    assert list(back) == ["tensors", "numbers", 3] and back["numbers"] == [1, True, 0.1, float("inf"), None, "ü"]
    for one, other in zip((*values["tensors"], values[3]), (*back["tensors"], back[3]), strict=True):
        assert torch.equal(one, other) and one.dtype == other.dtype
    assert isinstance(back["numbers"][1], bool)
    assert unpack(pack(torch.float16, []), []) == Thing("torch.dtype", "torch.float16")
    assert unpack(pack(torch.ones(2).to_sparse(), []), []).looks == "a tensor of shape (2,)"


def test_nothing_that_a_student_sends_is_unpickled():
    room = Path(process.__file__).parent
    code = "\n".join(path.read_text(encoding="utf-8") for path in room.glob("*.py"))
    assert ".recv(" not in code and "import pickle" not in code and "torch.load" not in code


def test_what_no_worker_sends_is_a_crash_and_no_more():
    for content in ({}, {"cases": 3}, {"called": "x", "cases": [{"tensor": ["load", [2], 9]}], "fault": None}):
        outcome, _, message = Judge().outcome(BLOCK, session.Found(content))
        assert outcome == "crashed" and "cannot be read" in message
    fault = {"kind": "passed", "name": "x", "text": "y"}
    content = {"called": "x", "cases": [], "fault": fault, "leans": False}
    assert Judge().outcome(BLOCK, session.Found(content))[0] == "crashed"


def test_alterations_of_the_library_are_seen_and_additions_are_not(monkeypatch):
    from netwright.lessons import bench, compare
    from netwright.nets import layers

    before = untouched.remember()
    bench.something_new = lambda: 1
    assert untouched.altered(before) == []
    del bench.something_new
    for place, name, value in (
        (compare, "compare", lambda *_: None),
        (compare, "all", lambda _: True),  # stands in for the builtin
        (bench, "torch", None),
        (layers.ConvNormAct, "forward", lambda self, x: x),  # which it inherits
        (bench.relu, "__code__", (lambda x: x).__code__),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, value, raising=False)
            assert untouched.altered(before) != [], name
        assert untouched.altered(before) == []


def test_ending_the_run_ends_every_process(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    place = _hand_in(tmp_path, ann=[*BENCH_00, "while True: pass"])
    (place / "bob").mkdir()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):  # bob has nothing to run, and is done at once
        grade(place, Limits(seconds=200), jobs=2, progress=stop)
    assert time.monotonic() - start < 30 and process._alive == set()


def test_where_nothing_can_be_forked_a_new_python_does_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_context", lambda: process.multiprocessing.get_context("spawn"))
    place = _hand_in(tmp_path, ann=block(NO_RELU))
    [mark] = grade(place, LIMITS, jobs=1)
    assert (mark.outcome, mark.mistake) == ("failed", LATE)


def test_what_a_check_measures_is_the_same_in_another_process(tmp_path):
    """Or a student's answer, which is measured in one, could not be compared with ours, measured in another."""
    code = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from netwright.grading.parcels import letter, pack\n"
        "from netwright.lessons import engine, laboratory\n"
        "for number, name in enumerate(sys.argv[2:]):\n"
        "    parts, check = [], engine.find(name)\n"
        "    cases = laboratory.run(check.measure, check.ours).cases\n"
        "    open(f'{sys.argv[1]}/{number}', 'wb').write(letter({'cases': pack(cases, parts)}, parts))\n"
    )
    names = [asked.exercise for asked in published_asks()]
    environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path), *names], check=True, env=environment)
    for number, name in enumerate(names):
        content, parts = opened((tmp_path / str(number)).read_bytes())
        theirs, check = unpack(content["cases"], parts), engine.find(name)
        ours = laboratory.run(check.measure, check.ours).cases
        assert [what for what, _ in ours] == [what for what, _ in theirs]
        for (what, value), (_, other) in zip(ours, theirs, strict=True):
            expected = unpack(pack(value, kept := []), kept)
            assert engine.compare(other, expected, check.tolerance).fault is None, (name, what)
