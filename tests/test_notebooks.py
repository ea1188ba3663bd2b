"""Every notebook is what its source says, runs clean and keeps the house rules; the builder and the copies work."""

import json

import nbformat
import pytest

from netwright import figures, notebooks, workbook
from netwright.notebooks import NotebookError

SOURCES = notebooks.sources()
each_source = pytest.mark.parametrize("source", SOURCES, ids=[source.stem for source in SOURCES])


@each_source
def test_the_notebook_is_what_its_source_says(source):
    assert notebooks.differences(source) == []


@each_source
def test_the_notebook_keeps_the_house_rules(source):
    assert notebooks.defects(nbformat.read(notebooks.built(source), as_version=4)) == []


@each_source
def test_the_notebook_runs_clean_from_a_fresh_kernel(source):
    # Twice the time it is built in: here it has one core, and shares the machine with another test.
    fresh = notebooks.read_source(source)
    done = notebooks.execute(fresh, source.parents[1], name=source.stem, seconds=2 * notebooks.MOST_SECONDS)
    assert notebooks.defects(done) == []


def test_every_notebook_has_a_source():
    unsourced = {path.stem for path in notebooks.ROOT.glob("notebooks/*.ipynb")} - {path.stem for path in SOURCES}
    assert unsourced == set()


# The builder, on a small project of its own -----------------------------------------------------------------------

SOURCE = """\
# %% [markdown]
# # A title

# %%
import ipywidgets
import matplotlib.pyplot as plt

from netwright import doctor, figures

ipywidgets.IntSlider(3)

# %%
figure, axes = figures.subplots()
axes.plot([0, 1], [1, 2])
figures.show(figure, alt="A line that rises from 1 to 2.")

# %%
doctor.report()

# %% [markdown]
# Your turn.

# %%
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

print(object(), double(4))
"""


def project(root, code=SOURCE):
    """A project of one notebook, 00_bench, with this source."""
    source = root / "notebooks" / "source" / "00_bench.py"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(code)
    return source


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    root = tmp_path_factory.mktemp("example")
    project(root)
    notebooks.build(root=root)
    return root


def read(root):
    return nbformat.read(root / "notebooks" / "00_bench.ipynb", as_version=4)


def test_a_built_notebook_is_in_step_and_without_defects(example):
    assert notebooks.differences(*notebooks.sources(example)) == []
    assert notebooks.defects(read(example)) == []


def test_a_built_notebook_holds_its_figure_its_widget_and_its_numbers(example):
    cells = read(example).cells
    assert "text/html" in cells[2].outputs[0].data and "rises from 1 to 2" in cells[2].outputs[0].data["text/html"]
    assert notebooks._WIDGET_VIEW in cells[1].outputs[0].data
    assert cells[5].outputs[0].text == "<object object at 0x...> 8\n"


def test_building_twice_gives_the_same_bytes(example, tmp_path):
    project(tmp_path)
    notebooks.build(root=tmp_path)
    first, second = ((root / "notebooks" / "00_bench.ipynb").read_text() for root in (example, tmp_path))
    ours, theirs = json.loads(first), json.loads(second)
    assert "GB free" in first
    for notebook in (ours, theirs):
        notebook["cells"][3]["outputs"] = []  # the doctor tells how much memory and disk are free just now
    assert ours == theirs


def test_an_unchanged_notebook_is_not_built_again_and_a_changed_one_is_noticed(tmp_path):
    source = project(tmp_path, "# %%\n1 + 1\n")
    assert notebooks.build(["00"], root=tmp_path) == [notebooks.built(source)]
    assert notebooks.build(["00_bench"], root=tmp_path) == []
    project(tmp_path, "# %%\n1 + 2\n")
    assert "cell 0 differs" in notebooks.differences(source)[0]
    project(tmp_path, "# %%\n1 + 1\n\n# %%\n3\n")
    assert "has 1 cells, its source 2" in notebooks.differences(source)[0]
    project(tmp_path, "# %%\n1 + 1\n")
    notebook = read(tmp_path)
    notebook.metadata["netwright"]["source"] = "another"
    nbformat.write(notebook, notebooks.built(source))
    assert "another version" in notebooks.differences(source)[0]
    notebooks.built(source).unlink()
    assert "is missing" in notebooks.differences(source)[0]


def test_an_unknown_notebook_is_answered_with_the_known_ones(tmp_path):
    project(tmp_path)
    with pytest.raises(NotebookError, match="no notebook '07'. Known: 00_bench"):
        notebooks.build(["07"], root=tmp_path)


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import warnings\nwarnings.warn('old api')", "UserWarning.*old api"),
        ("import time\ntime.sleep(60)", "not done after 2 s"),
        ("import socket\nsocket.create_connection(('192.0.2.1', 80), 1)", "built and tested offline"),
    ],
    ids=["an error", "a warning", "too long", "the network"],
)
def test_what_stops_a_notebook(tmp_path, code, complaint):
    source = project(tmp_path, f"# %%\n{code}\n")
    with pytest.raises(NotebookError, match=f"(?s)00_bench, cell 0.*{complaint}"):
        notebooks.execute(notebooks.read_source(source), tmp_path, name="00_bench", seconds=2)


def test_a_failed_build_leaves_the_notebook_that_was_there(tmp_path):
    target = notebooks.built(project(tmp_path, "# %%\nimport sys\nprint('oh', file=sys.stderr)\n"))
    target.write_text("{}")
    with pytest.raises(NotebookError, match="00_bench.py: cell 0 writes to stderr: oh"):
        notebooks.build(everything=True, root=tmp_path)
    assert target.read_text() == "{}"


# The house rules ---------------------------------------------------------------------------------------------------


def executed(*outputs, count=1, **metadata):
    """A notebook of one code cell, executed, with these outputs."""
    cell = nbformat.v4.new_code_cell("1", execution_count=count, outputs=list(outputs))
    return nbformat.v4.new_notebook(cells=[cell], metadata=metadata)


def displayed(**data):
    kinds = {"png": "image/png", "page": "text/html", "plain": "text/plain", "widget": notebooks._WIDGET_VIEW}
    return nbformat.v4.new_output("display_data", data={kinds[name]: value for name, value in data.items()})


@pytest.mark.parametrize(
    ("notebook", "complaint"),
    [
        (executed(count=2), "not each executed once in order"),
        (executed(count=None), "not each executed once in order"),
        (executed(nbformat.v4.new_output("error", ename="KeyError", evalue="'x'", traceback=[])), "raises KeyError"),
        (executed(nbformat.v4.new_output("stream", name="stderr", text="oh")), "writes to stderr"),
        (executed(displayed(png="iVBOR")), "without a description"),
        (executed(displayed(page="<img src='x'>")), "without alt text"),
        (executed(displayed(page='<img alt="" src="x">')), "without alt text"),
        (executed(displayed(widget={"model_id": "m"})), "state was not saved"),
        (executed(displayed(plain="'/home/someone/photo.jpg'")), "/home/someone/photo.jpg"),
        (executed(nbformat.v4.new_output("stream", name="stdout", text="in /tmp/abc")), "/tmp/abc"),
        (
            nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell() for _ in range(41)]),
            "41 cells, more than 40",
        ),
        (executed(displayed(plain="x" * 3_000_000)), "it is 3.0 MB, more than 3"),
    ],
)
def test_a_defect_is_named(notebook, complaint):
    (defect,) = notebooks.defects(notebook)
    assert complaint in defect


@pytest.mark.parametrize(
    "output",
    [
        displayed(page='<img alt="A cat." src="data:image/png;base64,ab/tmp/cd">'),
        displayed(page='<img alt="A cat." src="x">', png="iVBOR"),
        displayed(plain="notebooks/work/photo.jpg and https://example.org/home/"),
    ],
)
def test_what_is_no_defect_is_let_pass(output):
    assert notebooks.defects(executed(output)) == []


# The reader's copies ------------------------------------------------------------------------------------------------


def test_copies_have_the_exercises_open_and_no_outputs(example):
    assert [path.name for path in workbook.make_copies(example)] == ["00_bench.ipynb"]
    text = (example / "workbook" / "00_bench.ipynb").read_text()
    copy = nbformat.reads(text, as_version=4)
    nbformat.validate(copy)
    assert "SOLUTION" not in text and "widget" not in str(copy.metadata)
    assert copy.cells[5].source == "def double(x):\n    ...  # your code here\n\nprint(object(), double(4))"
    assert [cell.outputs for cell in copy.cells if cell.cell_type == "code"] == [[], [], [], []]


def test_a_copy_that_is_there_is_never_overwritten(example, capsys):
    workbook.make_copies(example)
    own = example / "workbook" / "00_bench.ipynb"
    own.write_text("my answers")
    capsys.readouterr()
    assert workbook.make_copies(example) == []
    assert own.read_text() == "my answers"
    assert "kept  workbook/00_bench.ipynb" in capsys.readouterr().out


@pytest.mark.parametrize("code", ["### BEGIN SOLUTION\nx = 1", "x = 1\n### END SOLUTION"])
def test_a_solution_marked_at_one_end_only_is_refused(code):
    with pytest.raises(NotebookError, match="marked at one end only"):
        workbook.without_solutions(code)


def test_several_solutions_in_a_cell_keep_what_is_between_them():
    code = "### BEGIN SOLUTION\na = 1\n### END SOLUTION\nb = 2\nif b:\n    ### BEGIN SOLUTION\n    c = 3\n    ### END SOLUTION"
    assert workbook.without_solutions(code) == "...  # your code here\nb = 2\nif b:\n    ...  # your code here"


# Figures --------------------------------------------------------------------------------------------------------------


def test_a_figure_reaches_the_page_with_its_description_and_is_closed():
    figure, _ = figures.subplots()
    bundle = figures.show(figure, alt='A "quoted" line < 2.')._repr_mimebundle_()
    assert 'alt="A &quot;quoted&quot; line &lt; 2."' in bundle["text/html"]
    assert "image/png" not in bundle
    assert not figures.plt.fignum_exists(figure.number)


def test_a_figure_without_a_description_is_refused():
    figure, _ = figures.subplots()
    with pytest.raises(ValueError, match="needs a description"):
        figures.show(figure, alt=" ")
    figures.plt.close(figure)


def test_the_same_figure_is_the_same_bytes_on_white():
    pictures = []
    for _ in range(2):
        figure, axes = figures.subplots(figsize=figures.HALF)
        axes.plot([0, 1])
        pictures.append(figures.show(figure, alt="A line.").png)
        assert figure.get_facecolor() == (1, 1, 1, 1)
    assert pictures[0] == pictures[1]
