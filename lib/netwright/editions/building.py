"""Which edition is made of what, and where it goes.

Imports notebooks, workbook, files, the teaching files of lessons and, of this room, all the others.
"""

import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import nbformat

from netwright.editions import course, instructor, slides
from netwright.files import replace_file
from netwright.lessons.teaching import teaching
from netwright.notebooks import ROOT, NotebookError
from netwright.workbook import opened

OUT = Path("build") / "editions"


def build(
    names: Iterable[str] = (), *, only: Iterable[str] = (), out: Path | None = None, root: Path = ROOT
) -> list[Path]:
    """Make the editions of the notebooks called `names` ("02" or "02_weights_proven"; of every one by default).

    only: some of EDITIONS; all by default. out: the folder, by default build/editions; each edition is a folder in it.
    Returns the files written. Raises NotebookError, for a name that fits no notebook and for a notebook whose solutions
    are marked wrongly; TeachingError; ValueError for an unknown edition.
    """
    chosen = list(only) or list(EDITIONS)
    for edition in chosen:
        if edition not in EDITIONS:
            raise ValueError(f"There is no edition {edition!r}. There are: {', '.join(EDITIONS)}.")
    out, written = out or root / OUT, []
    for path in _named(list(names), root):
        notebook = nbformat.read(path, as_version=4)
        for edition in chosen:
            written += EDITIONS[edition](path.stem, notebook, out / edition)
    return written


def zipped(out: Path, editions: Iterable[str] = ()) -> list[Path]:
    """One zip file for each edition in the folder `out`, beside its folder; the same files give the same bytes."""
    made = []
    for edition in editions or EDITIONS:
        files = sorted(path for path in (out / edition).rglob("*") if path.is_file())
        if not files:
            continue
        target = out / f"{edition}.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                # ZipFile would note when each file was made.
                entry = zipfile.ZipInfo(str(path.relative_to(out).as_posix()))
                archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
        made.append(target)
    return made


# The editions --------------------------------------------------------------------------------------------------


def _student(name: str, notebook, folder: Path) -> list[Path]:
    return [_write(folder / f"{name}.ipynb", nbformat.from_dict(opened(notebook)))]


def _solution(name: str, notebook, folder: Path) -> list[Path]:
    return [_write(folder / f"{name}.ipynb", course.marked(notebook))]


def _instructor(name: str, notebook, folder: Path) -> list[Path]:
    return [_write(folder / f"{name}.ipynb", instructor.annotated(course.marked(notebook), teaching(name)))]


def _slides(name: str, notebook, folder: Path) -> list[Path]:
    page = slides.page(notebook, teaching(name))
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / f"{name}.html", page)
    return [folder / f"{name}.html"]


def _nbgrader(name: str, notebook, folder: Path) -> list[Path]:
    target = folder / "source" / name / f"{name}.ipynb"
    written = [_write(target, course.counted(notebook))]
    replace_file(folder / "nbgrader_config.py", course.CONFIG)
    return [*written, folder / "nbgrader_config.py"]


EDITIONS: dict[str, Callable[[str, nbformat.NotebookNode, Path], list[Path]]] = {
    "student": _student,
    "solution": _solution,
    "instructor": _instructor,
    "slides": _slides,
    "nbgrader": _nbgrader,
}


def _named(names: list[str], root: Path) -> list[Path]:
    every = sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    for name in names:
        if not any(name in (path.stem, path.stem[:2]) for path in every):
            known = ", ".join(path.stem for path in every) or "none: run `make notebooks`"
            raise NotebookError(f"There is no executed notebook {name!r}. There are: {known}.")
    return [path for path in every if not names or {path.stem, path.stem[:2]} & set(names)]


def _write(path: Path, notebook) -> Path:
    nbformat.validate(notebook)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, nbformat.writes(notebook) + "\n")
    return path
