"""Submissions that a course would hand in, and some that it should not: made of the published notebooks 00 and 02.

Of those only the cells are kept that an answer needs, so that a run of all takes seconds. `MADE` has each with the
outcomes that it must get; `hand_in` writes them into a folder, one for each student.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent

from netwright.notebooks import ROOT
from netwright.workbook import without_solutions

BLOCK = "bench.block"
MAPS = ("weights.torchvision", "weights.openmmlab", "weights.resnest", "weights.byobnet")
WEIGHTS = (*MAPS, "weights.patients")


def published(stem: str) -> list[str]:
    """The code cells of a published notebook."""
    notebook = json.loads((ROOT / "notebooks" / f"{stem}.ipynb").read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _solutions(stem: str) -> list[str]:
    """The cells of a notebook that hold a solution, from the mark on: what it shows before takes seconds."""
    cells = [cell for cell in published(stem) if "### BEGIN SOLUTION" in cell]
    return [cell[max(cell.find("@exercise"), 0) :] for cell in cells]


_IMPORTS = "import torch\nimport netwright as nw\nfrom netwright.lessons import check, exercise, theirs_or_ours"
_BROKEN = next(cell for cell in published("00_bench") if "class BrokenBlock" in cell)
BENCH_00 = [_IMPORTS, _BROKEN, *_solutions("00_bench")]
WEIGHTS_02 = [f"{_IMPORTS}, weights", *_solutions("02_weights_proven")]


def with_answer(cells: list[str], number: int, code: str) -> list[str]:
    """`cells` with another solution in the cell of this number."""
    marked = re.sub(
        r"^( *)### BEGIN SOLUTION.*### END SOLUTION",
        lambda place: indent(dedent(code).strip(), place[1]),
        cells[number],
        flags=re.DOTALL | re.MULTILINE,
    )
    return [*cells[:number], marked, *cells[number + 1 :]]


def block(code: str) -> list[str]:
    """Notebook 00 with this as the body of the repaired block's forward."""
    return with_answer(BENCH_00, 2, code)


def opened(cells: list[str]) -> list[str]:
    """As it was handed out."""
    return [without_solutions(cell) for cell in cells]


def notebook(cells: list[str], version: int = 4) -> str:
    """The text of a notebook of these code cells, in the format of this version."""
    if version == 3:
        inside = [{"cell_type": "code", "input": cell, "language": "python", "outputs": []} for cell in cells]
        return json.dumps({"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": inside}]})
    inside = [
        {"cell_type": "code", "source": cell.splitlines(keepends=True), "metadata": {}, "outputs": []} for cell in cells
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": inside})


RIGHT = "return (self.expand(self.middle(self.reduce(x))) + self.shortcut(x)).relu()"
NO_RELU = "return self.expand(self.middle(self.reduce(x))) + self.shortcut(x)"
EARLY = "where the ReLU comes before the addition, and none after it"
LATE = "without a ReLU after the addition"
DEAF = """
    import time
    while True:
        try:
            time.sleep(1)
        except BaseException:
            pass
"""
HOG = "held = []\nwhile True:\n    held.append(bytearray(50_000_000))"
ANSWER = BENCH_00[2]


def before(*cells: str) -> list[str]:
    """The right answer, and these cells before it."""
    return [*BENCH_00[:2], *cells, ANSWER]


def forge(*content, **message) -> str:
    """A cell that tells the grader this, on every line that it finds open."""
    return dedent(f"""
        import json, os
        fake = json.dumps({(content or [{**message, "parts": []}])[0]!r}).encode()
        fake = len(fake).to_bytes(8, "big") + fake
        for number in range(3, 64):
            try:
                os.write(number, len(fake).to_bytes(4, "big") + fake)
            except OSError:
                pass
    """)


@dataclass(frozen=True)
class Made:
    """A submission. content: the file's; expected: exercise -> outcome and mistake; said: words of the messages."""

    content: str | bytes
    expected: dict[str, tuple[str, str]]
    said: tuple[str, ...] = ()
    name: str = "00_bench.ipynb"


def _bench(cells: list[str], outcome: str, mistake: str = "", said: tuple[str, ...] = (), **options) -> Made:
    return Made(notebook(cells), {BLOCK: (outcome, mistake)}, said, **options)


def _weights(cells: list[str], said: tuple[str, ...] = (), **others: str | tuple[str, str]) -> Made:
    """Notebook 02, in which all passes but `others`: the part of a name after the dot, and what becomes of it."""
    expected = dict.fromkeys(WEIGHTS, ("passed", ""))
    for name, outcome in others.items():
        expected[f"weights.{name}"] = (outcome, "") if isinstance(outcome, str) else outcome
    return Made(notebook(cells), expected, said, name="02_weights_proven.ipynb")


def _unreadable(content: str | bytes, *said: str, **options) -> Made:
    return Made(content, {"": ("unreadable", "")}, said, **options)


SWAPPED = "where bn1 and bn2 of a block are exchanged, which loads without a word, because every shape fits"
DIAGNOSES = "where softmax and preprocessing are taken for each other: one of them departs at the input, before any layer has run"


def make(port: int, outside: Path) -> dict[str, Made]:
    """Student -> submission. port: of a server on this machine; outside: a folder that is none of theirs."""
    maps = {name: number for number, name in enumerate(WEIGHTS, start=1)}

    def answers(**wrong: str) -> list[str]:
        cells = WEIGHTS_02
        for name, code in wrong.items():
            cells = with_answer(cells, maps[f"weights.{name}"], code)
        return cells

    return {
        # Right and wrong
        "right": _bench(BENCH_00, "passed"),
        "right-02": _weights(WEIGHTS_02),
        "blank": _bench(opened(BENCH_00), "not attempted"),
        "blank-02": _weights(opened(WEIGHTS_02), **{name.partition(".")[2]: "not attempted" for name in WEIGHTS}),
        "early-relu": _bench(
            block("return self.expand(self.middle(self.reduce(x))).relu() + self.shortcut(x)"), "failed", EARLY
        ),
        "no-relu": _bench(block(NO_RELU), "failed", LATE),
        "no-shortcut": _bench(
            block("return self.expand(self.middle(self.reduce(x))).relu()"), "failed", "without its shortcut"
        ),
        "own-mistake": _bench(
            block("y = self.expand(self.middle(self.reduce(x)))\nreturn (y + 0.5 * self.shortcut(x)).relu()"),
            "failed",
            said=("of a block from 12 to 12 channels",),
        ),
        "mixed-02": _weights(
            [
                WEIGHTS_02[0],
                *answers(
                    torchvision="return weights.maps.torchvision(key).replace('.reduce.norm', '.x').replace("
                    "'.middle.norm', '.reduce.norm').replace('.x', '.middle.norm')",
                    resnest='raise KeyError("no table yet")',
                    byobnet="...",
                )[1:5],
                (
                    'diagnosis = dict(A="preprocessing", B="swap", C="padding", D="softmax", E="stride")\n'
                    'check("weights.patients", diagnosis)'
                ),
            ],
            torchvision=("failed", SWAPPED),
            openmmlab=("failed", SWAPPED),  # it calls the one above
            resnest="crashed",
            byobnet="not attempted",
            patients=("failed", DIAGNOSES),
        ),
        # Crashing
        "raises": _bench(block('raise ValueError("not yet")'), "crashed", said=("ValueError: not yet", "at your line")),
        "raises-early": _bench(
            [*BENCH_00[:2], ANSWER.replace("BrokenBlock", "BlockThatIsNowhere")], "crashed", said=("NameError",)
        ),
        "no-python": _bench([*BENCH_00[:2], ANSWER + "\n)("], "crashed", said=("SyntaxError",)),
        "exits": _bench(before("import sys; sys.exit(3)", "exit()", "quit"), "passed"),
        "ends-its-process": _bench(before("import os; os._exit(0)", "raise SystemExit"), "passed"),
        "ends-it-in-the-answer": _bench(
            block("import os\nif self.training:\n    os._exit(5)\n" + RIGHT), "crashed", said=("exit status 5",)
        ),
        "kills-itself": _bench(before("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), "passed"),
        "segfault": _bench(block("import ctypes\nctypes.string_at(0)"), "crashed", said=("SIGSEGV",)),
        # Endless
        "endless-cell": _bench(before("while True: pass"), "passed"),
        "endless-and-deaf-cell": _bench(before(f"if True:\n{DEAF}"), "passed"),
        "endless-before-the-mark": _bench(
            [
                BENCH_00[0],
                "import time\ndef slowly(it):\n    while True:\n        time.sleep(0.01)",
                BENCH_00[1],
                ANSWER.replace("class ", "@slowly\nclass "),
            ],
            "out of time",
            said=("Its cell marks nothing",),
        ),
        "endless-answer": _bench(block("import time\nwhile True:\n    time.sleep(0.01)"), "out of time"),
        "endless-and-deaf-answer-02": _weights(answers(openmmlab=dedent(DEAF)), openmmlab="out of time"),
        "thread": _bench(
            before(
                "import threading, time\nthreading.Thread(target=lambda: [time.sleep(1) for _ in range(9999)]).start()"
            ),
            "passed",
        ),
        # Greedy
        "hog": _bench(before(HOG), "passed"),
        "hog-in-the-answer": _bench(block(HOG), "out of memory"),
        "huge-tensor": _bench(block("return x.new_zeros(10**12)"), "out of memory"),
        "huge-answer": _bench(block("return x.new_zeros(5_000_000)"), "failed", said=("(5000000,)",)),
        "chatty": _bench(
            before("print('x' * 10**6)", "import sys; print('y' * 10**6, file=sys.stderr)")[:-1]
            + block("print('z' * 10**5)\n" + RIGHT)[2:],
            "passed",
        ),
        # Tampering
        "check-cell": _bench(
            [*block(NO_RELU)[:2], block(NO_RELU)[2].replace("check(", "print('bench.block: passed', "), "1"],
            "failed",
            LATE,
        ),
        "own-check": _bench(
            [*block(NO_RELU), "def check(name, theirs): return True", 'check("bench.block", 1)'], "failed", LATE
        ),
        "other-check": _bench(
            ["import netwright.lessons\nnetwright.lessons.check = lambda *_: True", *block(NO_RELU)],
            "tampered",
            said=("netwright.lessons.check",),
        ),
        "other-compare": _bench(
            [
                (
                    "from netwright.lessons import engine\nfrom netwright.lessons.compare import Comparison\n"
                    "engine.compare = lambda *_: Comparison(1, 0.0, None)"
                ),
                *block(NO_RELU),
            ],
            "tampered",
            said=("netwright.lessons.engine.compare",),
        ),
        "other-layer": _bench(
            [*BENCH_00, "ConvNormAct.forward = lambda self, x: x"],
            "tampered",
            said=("netwright.nets.layers.ConvNormAct",),
        ),
        "other-measure": _bench(
            [
                *block(NO_RELU),
                (
                    "from netwright.lessons import engine\n"
                    'object.__setattr__(engine.find("bench.block"), "measure", lambda version: iter(()))'
                ),
            ],
            "tampered",
        ),
        "forger": _bench(
            [*block(NO_RELU), forge(tell="judged", exercise=BLOCK, cases=[], fault=None, token=None, seconds=0.0)],
            "failed",
            LATE,
        ),
        "forger-of-faults": _bench(
            [*BENCH_00[:2], f"# {ANSWER.splitlines()[0]}\n" + forge(tell="raised", cell=2, kind="passed", text="")],
            "missing",
        ),
        "forger-of-nonsense": _bench(
            before(
                *(
                    forge(tell=tell, cell="no", exercise=[], parent={})
                    for tell in ("ready", "runs", "judges", "ended!")
                ),
                forge(1),
                "import os\nfor number in range(3, 64):\n    try:\n        os.write(number, b'\\0\\0\\0\\x09' + b'\\xff' * 9)\n"
                "    except OSError:\n        pass",
            ),
            "passed",
        ),
        "the-librarys": _bench(
            [
                *opened(BENCH_00)[:2],
                (
                    "from netwright.lessons import bench\n"
                    'check("bench.block", exercise("bench.block")(bench.ResidualBlock))'
                ),
            ],
            "missing",
        ),
        "of-the-librarys": _bench(
            [
                *BENCH_00[:2],
                (
                    "from netwright.lessons import bench\n"
                    '@exercise("bench.block")\nclass Mine(bench.ResidualBlock):\n    pass'
                ),
            ],
            "passed",
            said=("uses the library's own version",),
        ),
        # Cells that moved
        "no-answer": _bench([*BENCH_00[:2], "1 + 1"], "missing", said=('@exercise("bench.block")',)),
        "copied": _bench([*block(NO_RELU), ANSWER], "passed"),
        "copied-and-spoilt": _bench([*BENCH_00, block(NO_RELU)[2]], "failed", LATE),
        "split": _bench([*BENCH_00[:2], *ANSWER.split("\n\n\n")], "passed"),
        "reordered": _bench([BENCH_00[0], 'check("bench.block", RepairedBlock)', BENCH_00[1], ANSWER], "passed"),
        "renamed": _bench([*BENCH_00[:2], ANSWER.replace("RepairedBlock", "Mine")], "passed", name="homework.ipynb"),
        "wrong-name": _bench([*BENCH_00[:2], ANSWER.replace("bench.block", "bench.blok")], "missing"),
        "unmarked": _bench([*BENCH_00[:2], ANSWER.replace('@exercise("bench.block")', "")], "passed"),
        "rebound": _bench(
            [*block(NO_RELU), 'RepairedBlock = theirs_or_ours("bench.block", RepairedBlock)'], "failed", LATE
        ),
        # Out of bounds
        "child": _bench(
            before(
                "import subprocess, sys\n"
                "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(987)'], start_new_session=True)"
            ),
            "passed",
        ),
        "network": _bench(
            before(
                "import socket, subprocess, sys",
                f"open_line = 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 2)'",
                "exec(open_line)",
                "subprocess.run([sys.executable, '-c', open_line + '.send(b\"child\")'])",
            ),
            "passed",
        ),
        "vandal": _bench(
            before(
                f"import os, pathlib, shutil\noutside = pathlib.Path({str(outside)!r})",
                "(outside / 'kept.txt').write_text('spoilt')",
                "os.remove(outside / 'kept.txt')",
                "shutil.rmtree(outside)",
                "os.rename(outside / 'kept.txt', outside / 'moved.txt')",
                "torch.save(1, str(outside / 'kept.txt'))",
                "for each in pathlib.Path('.').iterdir(): each.unlink()\npathlib.Path('mine.txt').write_text('fine')",
                "os.rmdir(os.getcwd())",
                "os.kill(os.getppid(), 9)",
                "import signal\nos.kill(os.getppid(), signal.SIGTERM)",
            ),
            "passed",
        ),
        "settings": _bench(
            [
                (
                    "import random, warnings\nimport torch\ntorch.set_default_dtype(torch.float16)\ntorch.manual_seed(7)\n"
                    "torch.set_grad_enabled(False)\ntorch.set_default_device('meta')\nwarnings.simplefilter('error')\n"
                    "import os\nos.chdir('/')"
                ),
                *BENCH_00,
            ],
            "passed",
        ),
        "magics": _bench(
            [
                "%matplotlib inline\n%load_ext autoreload\n%autoreload 2\n!echo hello\nfiles = !ls",
                "%%capture\nprint('quiet')",
                "import asyncio\nawait asyncio.sleep(0)",
                "%no_such_magic\n",
                *BENCH_00[:2],
                ANSWER,
            ],
            "passed",
        ),
        # Files that are none
        "cut-short": _unreadable(notebook(BENCH_00)[:-40], "not JSON"),
        "empty": _unreadable("", "empty"),
        "a-list": _unreadable("[1, 2]", "no list of cells"),
        "latin": _unreadable('{"cells": ["Übung"]}'.encode("latin-1"), "not in UTF-8"),
        "a-picture": _unreadable(b"\x89PNG\r\n\x1a\n\0\0", "not"),
        "deep": _unreadable("[" * 200_000, "not JSON"),
        "another": _unreadable(notebook(["1 + 1"]), "no notebook of the book", name="shopping.ipynb"),
        "format-3": Made(notebook(BENCH_00, version=3), {BLOCK: ("passed", "")}),
        "odd-cells": Made(
            json.dumps(
                {"cells": [1, None, {"cell_type": "code"}, {"cell_type": "code", "source": [3]}, {"source": "x"}]}
            ),
            {BLOCK: ("missing", "")},
        ),
    }


def hand_in(folder: Path, made: dict[str, Made], keep: Callable[[str], bool] = lambda student: True) -> None:
    """Write the submissions: a folder for each student, with one notebook and checkpoints that do not count."""
    for student, submission in made.items():
        if keep(student):
            own = folder / student
            (own / ".ipynb_checkpoints").mkdir(parents=True)
            (own / ".ipynb_checkpoints" / "00_bench-checkpoint.ipynb").write_text("{")
            content = submission.content
            (own / submission.name).write_bytes(content.encode() if isinstance(content, str) else content)
