"""What `make lab` does: the reader's own copies of the notebooks, exercises open, and JupyterLab on the first of them.

Imports files, notebooks and the lessons' record.
"""

import importlib.util
import json
import os
import re
import shlex
import sys
from pathlib import Path

from netwright.files import replace_file
from netwright.lessons import record
from netwright.notebooks import METADATA, ROOT, NotebookError

_SOLUTION = re.compile(r"^([ \t]*)### BEGIN SOLUTION\b.*?^[ \t]*### END SOLUTION\b[^\n]*", re.DOTALL | re.MULTILINE)

_GRADING = ("formgrader", "validate_assignment", "assignment_list", "course_list")  # what nbgrader adds to a server


def make_copies(root: Path = ROOT) -> list[Path]:
    """Make the reader's own copies in ``workbook/``, exercises open and outputs cleared; returns those made.

    A copy that is there already belongs to the reader and is left alone. Raises NotebookError when a notebook marks
    a solution at one end only.
    """
    folder, made = root / "workbook", []
    (folder / record.FOLDER).mkdir(parents=True, exist_ok=True)  # where the session writes what has passed
    for complete in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        own = folder / complete.name
        if own.exists():
            print(f"kept  {own.relative_to(root)}  (yours; as published: {complete.relative_to(root)})")
            continue
        copy = opened(json.loads(complete.read_text(encoding="utf-8")))
        replace_file(own, json.dumps(copy, indent=1, ensure_ascii=False) + "\n")
        made.append(own)
        print(f"made  {own.relative_to(root)}")
    return made


def opened(notebook: dict) -> dict:
    """A learner's copy of a notebook: exercises open, no outputs, and nothing of the run that made them.

    Raises NotebookError when it marks a solution at one end only.
    """
    cells = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            code = without_solutions("".join(cell["source"]))
            cell = cell | {"source": code.splitlines(keepends=True), "outputs": [], "execution_count": None}
        cells.append(cell)
    return notebook | {"metadata": METADATA, "cells": cells}


def without_solutions(code: str) -> str:
    """``code`` with each ``### BEGIN SOLUTION`` ... ``### END SOLUTION`` replaced by an open place.

    Raises NotebookError when a mark has no partner.
    """
    opened = _SOLUTION.sub(r"\1...  # your code here", code)
    if re.search(r"### (BEGIN|END) SOLUTION", opened):
        raise NotebookError(f"A solution is marked at one end only in:\n{code}")
    return opened


def lab(flags=(), root: Path = ROOT) -> None:
    """Open JupyterLab on the reader's first notebook, and serve until it is stopped. ``flags`` go to JupyterLab."""
    from jupyterlab.labapp import LabApp

    make_copies(root)
    copies = sorted((root / "workbook").glob("[0-9][0-9]_*.ipynb"))
    start = f"/lab/tree/workbook/{copies[0].name}" if copies else "/lab"
    arguments = [f"--ServerApp.root_dir={root}", f"--LabApp.default_url={start}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # as in most containers, where JupyterLab would refuse
        arguments.append("--allow-root")
    if not _has_screen():
        arguments.append("--no-browser")
        print("No screen here: open the address that JupyterLab prints below in a browser.", flush=True)
    if importlib.util.find_spec("nbgrader"):  # installed for those who teach; to name it where it is not is an error
        arguments += [f"--ServerApp.jpserver_extensions=nbgrader.server_extensions.{part}=False" for part in _GRADING]
    LabApp.serverapp_config = LabApp.serverapp_config | {"tornado_settings": {"page_config_hook": _page_for_readers}}
    LabApp.launch_instance([*arguments, *flags])


def _page_for_readers(_handler, page: dict) -> dict:
    """JupyterLab's page without what is installed beside it for those who teach: a menu, and two buttons."""
    page["federated_extensions"] = [
        extension
        for extension in page["federated_extensions"]
        if not extension["name"].startswith(("@jupyter/nbgrader", "@jupyter-notebook/"))
    ]
    return page


def _has_screen() -> bool:
    if sys.platform in ("win32", "darwin"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def main() -> int:
    """Open JupyterLab with the flags in the variable ``LAB_FLAGS``; returns the exit status."""
    try:
        lab(shlex.split(os.environ.get("LAB_FLAGS", "")))
    except NotebookError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
