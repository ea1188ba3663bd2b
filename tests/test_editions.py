"""The editions hold what they should and nothing else, nbgrader can work with them, and the teaching guide is true."""

import html
import importlib.util
import json
import os
import re
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import nbformat
import pytest

from netwright import editions, notebooks, workbook
from netwright.cli.main import main
from netwright.editions import course, instructor, prose, slides
from netwright.editions.places import last_places, places
from netwright.lessons import check, engine
from netwright.lessons.teaching import TeachingError, names, teaching
from netwright.notebooks import ROOT, NotebookError

SOURCES = notebooks.sources()
BUILT = [source.stem for source in SOURCES if notebooks.built(source).exists()]
each_source = pytest.mark.parametrize("source", SOURCES, ids=[source.stem for source in SOURCES])
each_built = pytest.mark.parametrize("name", BUILT)
GUIDE = ROOT / "docs" / "teaching.md"


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """All editions of the notebooks that have a teaching file."""
    folder = tmp_path_factory.mktemp("editions")
    editions.build([name for name in BUILT if name in names()], out=folder)
    return folder


def read(path: Path):
    return nbformat.read(path, as_version=4)


def as_built(name: str):
    return read(ROOT / "notebooks" / f"{name}.ipynb")


def texts(thing) -> list[str]:
    """Every text in a notebook, wherever it is."""
    if isinstance(thing, str):
        return [thing]
    inside = thing.values() if isinstance(thing, dict) else thing if isinstance(thing, list) else ()
    return [text for part in inside for text in texts(part)]


def plain(text: str) -> str:
    """A text without what indents it, and without empty lines."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def solutions(notebook) -> list[str]:
    regions = re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", "\n".join(texts(notebook["cells"])), re.DOTALL)
    return [plain(region) for region in regions]


# The teaching files ----------------------------------------------------------------------------------------------


@each_source
def test_a_teaching_file_tells_of_exactly_the_exercises_and_mistakes_that_there_are(source):
    told = teaching(source.stem)
    asked = last_places(notebooks.read_source(source))
    assert set(told.exercises) == set(asked)
    assert told.faults() == []


@each_source
def test_a_teaching_file_has_something_to_say(source):
    told = teaching(source.stem)
    assert len(told.misconceptions) >= 3 and 4 <= len(told.questions) <= 6
    said = [text for reveals in told.exercises.values() for text in reveals.values()]
    assert all(len(text) >= 20 for text in said)
    assert len(set(said)) == len(said), "every mistake reveals something of its own"
    assert told.minutes >= sum(engine.find(name).minutes for name in told.exercises)


def test_every_teaching_file_belongs_to_a_notebook():
    assert set(names()) <= {source.stem for source in SOURCES}


TOLD = """\
minutes = 20
opening = "Begin."
exercises = {"bench.relu" = {}}
[[misconceptions]]
belief = "It runs."
answer = "And?"
[[questions]]
question = "Why?"
answer = "Because."
"""


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("minutes = 20", "minutes = 20 minutes"), "00_bench.toml is no TOML"),
        (("minutes = 20\n", ""), "lacks minutes"),
        (("minutes = 20", "minutes = 0"), "minutes is 0"),
        (("minutes = 20", "minutes = 20\ntime = 3"), "has time; its parts are minutes, opening"),
        (('opening = "Begin."', 'opening = " "'), "opening: there should be a text"),
        (("belief", "thought"), "misconceptions, number 1: it has thought, answer, and should have belief and answer"),
        (("{}", '{"that rounds" = 3}'), "bench.relu, 'that rounds': there should be a text, and there is 3"),
    ],
)
def test_a_teaching_file_that_is_not_as_it_should_be_is_refused_in_a_sentence(tmp_path, change, complaint):
    (tmp_path / "00_bench.toml").write_text(TOLD.replace(*change))
    with pytest.raises(TeachingError, match=re.escape(complaint)):
        teaching("00_bench", tmp_path)


def test_a_missing_teaching_file_is_answered_with_those_there_are(tmp_path):
    (tmp_path / "00_bench.toml").write_text(TOLD)
    with pytest.raises(TeachingError, match="The notebook 07_halonet has no teaching file.*There are: 00_bench"):
        teaching("07_halonet", tmp_path)


def test_mistakes_that_are_not_told_of_and_exercises_that_are_not_there_are_named(tmp_path):
    (tmp_path / "00_bench.toml").write_text(TOLD.replace("{}", '{"that sings" = "Ask why."}, "bench.song" = {}'))
    faults = "\n".join(teaching("00_bench", tmp_path).faults())
    assert "bench.relu: nothing is said of 'that takes the absolute value'" in faults
    assert "bench.relu: its Check knows no 'that sings'" in faults
    assert "No exercise is called 'bench.song'" in faults


# The student's edition -------------------------------------------------------------------------------------------


@each_built
def test_the_student_edition_is_the_copy_that_make_lab_makes(name, out, tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / f"{name}.ipynb").write_bytes((ROOT / "notebooks" / f"{name}.ipynb").read_bytes())
    (copy,) = (path for path in workbook.make_copies(tmp_path) if path.suffix == ".ipynb")
    assert read(out / "student" / f"{name}.ipynb") == read(copy)


@each_built
def test_no_solution_can_be_reached_from_the_student_edition(name, out):
    student = read(out / "student" / f"{name}.ipynb")
    hidden = solutions(as_built(name))
    assert hidden and all(hidden)
    everything = plain("\n".join(texts(student)))
    assert "SOLUTION" not in everything
    assert [answer for answer in hidden if answer in everything] == []
    whole = plain("\n".join(texts(read(out / "solution" / f"{name}.ipynb"))))
    assert [answer for answer in hidden if answer not in whole] == []  # they would have been found
    code = [cell for cell in student.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count or "attachments" in cell for cell in code)
    assert student.metadata == notebooks.METADATA


# The solution and the instructor's edition -----------------------------------------------------------------------


@each_built
def test_the_solution_edition_is_the_executed_notebook_with_nbgraders_marks(name, out):
    made, executed = read(out / "solution" / f"{name}.ipynb"), as_built(name)
    marked = [cell for cell in made.cells if "nbgrader" in cell.metadata]
    assert {cell.metadata["nbgrader"]["grade_id"] for cell in marked} == {
        place.exercise.replace(".", "-") for place in places(executed)
    }
    for cell in marked:
        assert "### BEGIN SOLUTION" in cell.source and cell.metadata.pop("nbgrader")["schema_version"] == 3
    assert made == executed


@each_built
def test_the_instructor_edition_is_the_solution_edition_and_cells_for_the_teacher(name, out):
    made, told = read(out / "instructor" / f"{name}.ipynb"), teaching(name)
    ours = [cell for cell in made.cells if instructor.TAG in cell.metadata.get("tags", [])]
    made.cells = [cell for cell in made.cells if cell not in ours]
    assert made == read(out / "solution" / f"{name}.ipynb")
    first, *others = ours
    total = sum(engine.find(exercise).minutes for exercise in told.exercises)
    assert f"**{total}**" in first.source and told.opening in first.source
    assert all(pair.said in first.source and pair.answer in first.source for pair in told.questions)
    assert len(others) == len(told.exercises)
    tables = "\n".join(cell.source for cell in others)
    assert all(text.replace("|", "\\|") in tables for reveals in told.exercises.values() for text in reveals.values())


def test_what_a_mistake_reveals_stands_right_behind_its_exercise(out):
    cells = read(out / "instructor" / "00_bench.ipynb").cells
    at = next(
        i
        for i, cell in enumerate(cells)
        if cell.source.startswith("**For the teacher") and "bench.block" in cell.source
    )
    assert "class RepairedBlock" in cells[at - 1].source


def test_a_notebook_whose_exercises_are_not_those_of_its_teaching_file_is_refused():
    notebook = as_built("00_bench")
    with pytest.raises(TeachingError, match="do not name the same exercises: .*weights.openmmlab"):
        instructor.annotated(notebook, teaching("02_weights_proven"))


def test_a_solution_that_answers_no_exercise_is_refused():
    cell = nbformat.v4.new_code_cell("### BEGIN SOLUTION\nx = 1\n### END SOLUTION")
    with pytest.raises(NotebookError, match="Cell 0 marks a solution, and no check"):
        places(nbformat.v4.new_notebook(cells=[cell]))


# nbgrader --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def released(out, tmp_path_factory):
    """What nbgrader itself makes of a course with the instructor edition of one notebook and the source of another."""
    folder = tmp_path_factory.mktemp("course")
    for path in (out / "nbgrader").rglob("*.*"):
        if path.stem in ("00_bench", "nbgrader_config"):
            target = folder / path.relative_to(out / "nbgrader")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (folder / "source" / "by_hand").mkdir()
    (folder / "source" / "by_hand" / "by_hand.ipynb").write_bytes((out / "instructor" / "00_bench.ipynb").read_bytes())
    # nbgrader starts another program of the environment, by its bare name.
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for assignment in ("00_bench", "by_hand"):
        command = [sys.executable, "-m", "nbgrader", "generate_assignment", assignment, "--create"]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder / "release"


@pytest.mark.parametrize("assignment", ["00_bench", "by_hand"])
def test_nbgrader_leaves_no_solution_and_opens_what_the_student_edition_opens(released, out, assignment):
    text = (released / assignment / f"{assignment}.ipynb").read_text()
    assert "SOLUTION" not in text and "NotImplementedError" not in text and "For the teacher" not in text
    code = [cell.source for cell in nbformat.reads(text, 4).cells if cell.cell_type == "code"]
    counts = [source for source in code if source.startswith("# nbgrader counts")]
    assert len(counts) == (1 if assignment == "00_bench" else 0)
    student = [cell.source for cell in read(out / "student" / "00_bench.ipynb").cells if cell.cell_type == "code"]
    assert [source for source in code if source not in counts] == student


def test_nbgrader_gives_points_for_what_passes_and_none_for_what_is_open(released):
    from nbgrader.utils import determine_grade

    cells = read(released / "00_bench" / "00_bench.ipynb").cells
    answer = next(cell for cell in cells if "class RepairedBlock" in cell.source)
    count = next(cell for cell in cells if cell.source.startswith("# nbgrader counts"))
    points = engine.find("bench.block").minutes
    assert (count.metadata["nbgrader"]["locked"], count.metadata["nbgrader"]["points"]) == (True, points)
    broken = next(cell for cell in cells if "class BrokenBlock" in cell.source)
    imports = "import torch\nfrom netwright.lessons import bench, check, exercise, theirs_or_ours\n"
    # As in notebooks where the library's version takes the name of an answer that is still open.
    goes_on = "\nRepairedBlock = theirs_or_ours('bench.block', RepairedBlock)"
    right = answer.source.replace(
        "...  # your code here", "return (self.expand(self.middle(self.reduce(x))) + self.shortcut(x)).relu()"
    )
    theirs = answer.source.replace("...  # your code here", "# YOUR CODE HERE\n        raise NotImplementedError()")
    for code, wanted in ((answer.source, 0), (theirs, 0), (right, points)):
        trial = [nbformat.v4.new_code_cell(source) for source in (imports, broken.source, code + goes_on)]
        copy = nbformat.from_dict(json.loads(json.dumps(count)))
        done = notebooks.execute(
            nbformat.v4.new_notebook(cells=[*trial, copy], metadata=notebooks.METADATA), released, name="trial"
        )
        assert ("not attempted" in str(done.cells[2].outputs)) == (wanted == 0)
        assert determine_grade(done.cells[-1]) == (wanted, points)


@each_built
def test_nbgraders_own_preprocessors_take_every_notebook(name, out):
    from nbgrader.nbgraderformat import MetadataValidator
    from nbgrader.preprocessors import ClearSolutions

    for path in (out / "nbgrader" / "source" / name / f"{name}.ipynb", out / "solution" / f"{name}.ipynb"):
        notebook = read(path)
        MetadataValidator().validate_nb(notebook)
        cleared, _ = ClearSolutions(code_stub={"python": "...  # your code here"}).preprocess(notebook, {})
        everything = plain("\n".join(cell.source for cell in cleared.cells))
        assert [answer for answer in solutions(as_built(name)) if answer in everything] == []
    points = {
        cell.metadata["nbgrader"]["grade_id"]: cell.metadata["nbgrader"]["points"]
        for cell in course.counted(as_built(name)).cells
        if cell.metadata.get("nbgrader", {}).get("grade")
    }
    asked = [place.exercise for place in places(as_built(name))]
    assert points == {f"{exercise.replace('.', '-')}-count": engine.find(exercise).minutes for exercise in asked}


# Slides ----------------------------------------------------------------------------------------------------------


def in_words(page: str) -> str:
    return plain(html.unescape(re.sub(r"<[^>]+>", "", page)))


@each_built
def test_slides_are_one_file_with_every_picture_described_and_no_solution(name, out):
    page = (out / "slides" / f"{name}.html").read_text(encoding="utf-8")
    assert re.findall(r"<(?:link|iframe|object|video|audio)\b|<script [^>]*src|@import|url\(", page) == []
    images = re.findall(r"<img\b[^>]*>", page)
    assert all(re.search(r'alt="[^"]+"', image) and 'src="data:image/' in image for image in images)
    executed = [output for cell in as_built(name).cells for output in cell.get("outputs", [])]
    figures = sum("<img" in output.get("data", {}).get("text/html", "") for output in executed)
    assert page.count("<figure>") >= figures > 0
    hidden, words = solutions(as_built(name)), in_words(page)
    assert "SOLUTION" not in words and [answer for answer in hidden if answer in words] == []
    assert [in_words(slides._highlighted(answer)) for answer in hidden] == hidden  # they would have been found
    for place in places(as_built(name)):
        assert f'<p class="time">{engine.find(place.exercise).minutes} minutes' in page


@each_built
def test_slides_allow_their_own_script_only_and_have_one_title(name, out):
    import base64
    import hashlib

    page = (out / "slides" / f"{name}.html").read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'" in page
    assert page.count("<h1>") == 1 and '<html lang="en-GB">' in page
    assert page.count("<section ") == page.count("<h1>") + page.count("<h2>")
    assert all(
        pair.said[:20] in page for pair in teaching(name).questions if not re.search("[`&<>\"']", pair.said[:20])
    )


def test_a_slider_shows_the_picture_that_it_was_saved_with():
    image = '<img alt="A line." src="data:image/jpeg;base64,xx">'
    state = {"box": {"state": {"children": ["IPY_MODEL_page"]}}, "page": {"state": {"value": image}}}
    output = {"data": {"application/vnd.jupyter.widget-view+json": {"model_id": "box"}}}
    ((shown, lines),) = slides._pictures(output, state)
    assert image in shown and lines == slides.TALLEST


def test_a_slide_takes_no_more_than_fits_and_only_of_one_heading():
    parts = [slides.Part("a", "1", 10), slides.Part("a", "2", 5), slides.Part("a", "3", 1), slides.Part("b", "4", 1)]
    assert [(slide.heading, slide.parts) for slide in slides._packed(iter(parts))] == [
        ("a", ["1", "2"]),
        ("a", ["3"]),
        ("b", ["4"]),
    ]


def test_of_a_section_the_first_paragraph_and_its_list_are_kept():
    cell = "Before.\n\n## One\n\nFirst,\nstill first:\n\n- a\n- b\n\nSecond.\n\n### Two\n\n"
    cell += "```\n# no heading\n\n\n```\n\nMore."
    found = prose.sections(cell)
    assert [(level, heading) for level, heading, _ in found] == [(0, ""), (2, "One"), (3, "Two")]
    assert prose.boiled_down(found[1][2]) == "First,\nstill first:\n\n- a\n- b"
    assert prose.boiled_down(found[2][2]).startswith("```\n# no heading")


def test_formulas_become_pictures_and_dollars_and_code_stay_what_they_are():
    page = prose.to_html(r"Half, $\frac{1}{2}$, or `$x$`. $$\hat p \left| x \right|$$ $\nosuchthing{1}$")
    assert page.count("<img") == 2 and r'alt="\frac{1}{2}"' in page and "or <code>$x$</code>" in page
    assert r"<code>\nosuchthing{1}</code>" in page
    assert prose.to_html("[a](10_finetune.ipynb) [b](https://example.org)").count("<a ") == 1


# Building --------------------------------------------------------------------------------------------------------


def test_building_twice_gives_the_same_bytes(out, tmp_path):
    editions.build(["00"], out=tmp_path)
    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(made) == 6
    assert all(path.read_bytes() == (out / path.relative_to(tmp_path)).read_bytes() for path in made)
    zips = editions.zipped(tmp_path)
    first = [path.read_bytes() for path in zips]
    assert [path.name for path in zips] == [f"{edition}.zip" for edition in editions.EDITIONS]
    assert zipfile.ZipFile(zips[0]).namelist() == ["student/00_bench.ipynb"]
    assert [path.read_bytes() for path in editions.zipped(tmp_path)] == first


def test_unknown_notebooks_and_editions_are_answered_with_the_known_ones(tmp_path, capsys):
    with pytest.raises(NotebookError, match="no executed notebook '77'. There are: 00_bench"):
        editions.build(["77"], out=tmp_path)
    with pytest.raises(ValueError, match="no edition 'teacher'. There are: student, solution"):
        editions.build(["00"], only=["teacher"], out=tmp_path)
    assert main(["editions", "77", "--out", str(tmp_path)]) == 2
    assert "no executed notebook '77'" in capsys.readouterr().err


def test_the_command_line_says_what_it_made(tmp_path, capsys):
    assert main(["editions", "00_bench", "--only", "student", "--out", str(tmp_path), "--zip"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == [
        str(tmp_path / "student" / "00_bench.ipynb"),
        str(tmp_path / "student.zip"),
    ]


# The teaching guide ----------------------------------------------------------------------------------------------


def section(heading: str) -> str:
    """What stands under a heading of the guide."""
    text = GUIDE.read_text(encoding="utf-8")
    return re.search(rf"^#+ {heading}\n(.*?)(?=^#+ |\Z)", text, re.DOTALL | re.MULTILINE)[1]


def rows_of(heading: str) -> list[list[str]]:
    """The rows of the table under a heading of the guide, without its head."""
    rows = [line.strip("|").split("|") for line in section(heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def numbers(text: str) -> list[str]:
    return re.findall(r"\b\d\d\b", text)


@pytest.mark.parametrize("plan", ["Six sessions", "Two days"])
def test_the_minutes_of_a_plan_are_those_of_the_teaching_files(plan):
    rows = rows_of(plan)
    stems = {source.stem[:2]: source.stem for source in SOURCES}
    planned = [number for row in rows for number in numbers(row[1])]
    left_out = [number for line in section(plan).splitlines() if not line.startswith("|") for number in numbers(line)]
    assert sorted(planned + left_out) == sorted(stems)
    wanted = [sum(teaching(stems[number]).minutes for number in numbers(row[1])) for row in rows]
    assert [int(row[2]) for row in rows] == wanted


def test_the_guide_lists_every_notebook_with_its_minutes_and_exercises():
    wanted = []
    for source in SOURCES:
        told = teaching(source.stem)
        asked = sum(engine.find(exercise).minutes for exercise in told.exercises)
        wanted.append([source.stem[:2], str(told.minutes), str(len(told.exercises)), str(asked)])
    assert [[row[0].split()[0], *row[1:]] for row in rows_of("The notebooks")] == wanted


def example() -> dict[str, str]:
    """File name -> code of the guide's worked example."""
    blocks = re.findall(
        r"^`([\w./]+)`:\n\n```(?:python|toml)\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return dict(blocks)


@pytest.fixture
def worked(monkeypatch, tmp_path):
    """The exercise of the guide's worked example, in place of one of the engine's; and its file's names."""
    path = tmp_path / "pooling.py"
    path.write_text(example()["lib/netwright/lessons/pooling.py"])
    spec = importlib.util.spec_from_file_location("pooling", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (exercise,) = module.CHECKS
    monkeypatch.setattr(engine, "find", {exercise.id: exercise}.__getitem__)
    return exercise


def test_the_guides_example_passes_is_open_and_names_every_mistake(worked):
    assert check(worked.id, worked.ours).compared >= 10
    assert check(worked.id, lambda maps: maps.flatten(2).mean(2))
    assert {mistake: check(worked.id, wrong).mistake for mistake, wrong in worked.mistakes.items()} == {
        mistake: mistake for mistake in worked.mistakes
    }
    assert check(worked.id, lambda maps: maps.float().mean((2, 3))).status == "failed"


def test_the_guides_cell_and_teaching_entry_belong_to_its_exercise(worked):
    import tomllib

    source = example()["notebooks/source/13_pooling.py"]
    assert f"*{worked.minutes} minutes · {worked.difficulty}" in source
    cell = re.search(r"^@exercise.*?^check\([^\n]*", source, re.DOTALL | re.MULTILINE)[0]
    opened = textwrap.dedent(workbook.without_solutions(cell))
    assert opened.count("...  # your code here") == 1 and places_in(cell) == [worked.id]
    told = tomllib.loads(example()["lib/netwright/lessons/teaching/13_pooling.toml"])
    assert set(told["exercises"][worked.id]) == set(worked.mistakes)


def places_in(code: str) -> list[str]:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    return [place.exercise for place in places(notebook)]


def test_every_command_of_the_guide_is_one_that_there_is():
    text = GUIDE.read_text(encoding="utf-8")
    asked = {
        tuple(words.split()) for words in re.findall(r"python -m netwright ([a-z]+(?: (?:list|grade|fetch))?)", text)
    }
    assert asked >= {("editions",), ("lessons", "grade"), ("weights", "fetch")}
    for words in asked:
        with pytest.raises(SystemExit) as end:
            main([*words, "--help"])
        assert end.value.code == 0
    targets = re.findall(r"^([a-z.]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z]+)`", text)) <= set(targets)
