"""From a notebook's source to the executed page: building notebooks, and judging them by the house rules.

Imports files. What only building needs (jupytext, nbclient) is imported where it is used.
"""

import argparse
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

from netwright.files import replace_file

ROOT = Path(__file__).resolve().parents[2]
MOST_CELLS = 40
MOST_SECONDS = 90
MOST_BYTES = 3_000_000  # of a built notebook: more is slow to open, and everyone who clones carries it

_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
_PAGE = 'class="nw-frame"'  # the page of a view, see views.frame.assembling
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

# Runs in the kernel before the first cell, and leaves no name behind. A filter set from outside (PYTHONWARNINGS)
# would catch what the kernel itself does while it starts and stops.
_STRICT = """
def _strict():
    import socket, warnings
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", module="ipykernel")  # the kernel about itself, while it stops
    connect = socket.socket.connect
    def refuse(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"Notebooks are built and tested offline, and this one asked for {address}.")
        return connect(self, address)
    socket.socket.connect = refuse
_strict()
del _strict
"""


class NotebookError(Exception):
    """A notebook that cannot be built or handed out; its message says which, where and why."""


# Building ------------------------------------------------------------------------------------------------------


def sources(root: Path = ROOT) -> list[Path]:
    """The notebooks' sources, ``notebooks/source/NN_name.py``, in the order of the book."""
    return sorted((root / "notebooks" / "source").glob("[0-9][0-9]_*.py"))


def built(source: Path) -> Path:
    """Where the notebook of a source is: ``notebooks/NN_name.ipynb``."""
    return source.parents[1] / f"{source.stem}.ipynb"


def build(names=(), *, everything: bool = False, root: Path = ROOT) -> list[Path]:
    """Build and execute the notebooks whose source has changed; returns those written.

    ``names`` (``"02"`` or ``"02_weights"``) limits it to some, ``everything`` builds the unchanged ones too.
    Raises NotebookError when a name fits no source, a cell fails or the result has a defect; the file that was there
    stays as it was.
    """
    written = []
    for source in _named(names, root):
        target = built(source)
        if not everything and target.exists() and not differences(source):
            print(f"unchanged  {target.relative_to(root)}")
            continue
        start = time.perf_counter()
        notebook = execute(read_source(source), target.parent, name=source.stem)
        found = defects(notebook)
        if found:
            raise NotebookError("\n".join(f"{source.name}: {defect}" for defect in found))
        _write(target, notebook)
        written.append(target)
        print(f"built      {target.relative_to(root)}  in {time.perf_counter() - start:.0f} s")
    return written


def read_source(source: Path):
    """The notebook that a py:percent source describes: not executed, with ids that depend only on the source."""
    import jupytext
    import nbformat

    read = jupytext.read(source, fmt="py:percent")
    notebook = nbformat.v4.new_notebook(metadata={**METADATA, "netwright": {"source": _fingerprint(read.cells)}})
    for position, cell in enumerate(read.cells):
        cell.id = _digest(f"{position}\n{cell.source}")[:12]
        notebook.cells.append(cell)
    return notebook


def execute(notebook, folder: Path, *, name: str, seconds: float = MOST_SECONDS):
    """``notebook`` with outputs, from a fresh kernel whose working folder is ``folder``, as Run All makes them.

    The kernel is offline, has an empty cache and no GPU, so the outputs are those of the toy tier wherever they
    are made, and every warning is an error. Raises NotebookError when a cell raises or all take more than ``seconds``.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    from traitlets.config import Config

    # ipykernel warns about plain TCP otherwise.
    config = Config({"KernelManager": {"transport_encryption": "auto"}})
    deadline = time.monotonic() + seconds
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        config=config,
        record_timing=False,
        coalesce_streams=True,
        timeout_func=lambda cell: max(1, round(deadline - time.monotonic())),
        resources={"metadata": {"path": str(folder)}},
    )
    with tempfile.TemporaryDirectory() as cache:
        env = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
        env |= {"NETWRIGHT_OFFLINE": "1", "NETWRIGHT_HOME": cache, "CUDA_VISIBLE_DEVICES": "", "PYTHONHASHSEED": "0"}
        with client.setup_kernel(env=env):
            strict = nbformat.v4.new_code_cell(_STRICT)
            client.nb = nbformat.v4.new_notebook(cells=[strict])
            client.execute_cell(strict, 0, store_history=False)
            client.nb = notebook
            client.reset_execution_trackers()
            for position, cell in enumerate(notebook.cells):
                try:
                    client.execute_cell(cell, position)
                except CellTimeoutError as error:
                    raise NotebookError(f"{name}, cell {position}: not done after {seconds:.0f} s in all.") from error
                except (CellExecutionError, DeadKernelError) as error:
                    raise NotebookError(f"{name}, cell {position}: {error}") from error
            client.set_widgets_metadata()
    _keep_pages(notebook)
    return _normalise(notebook, name, cache)


def _keep_pages(notebook) -> None:
    """A view that brought a page of its own is saved as that page: it can be clicked wherever the notebook is read.

    Its widget would be preferred by every reader, and without its kernel stand there empty. What only such widgets
    needed goes from the saved state.
    """
    for output in _outputs(notebook):
        if _PAGE in output.get("data", {}).get("text/html", ""):
            output["data"].pop(_WIDGET_VIEW, None)
    saved = notebook.metadata.get("widgets", {}).get(_WIDGET_STATE, {})
    state = saved.get("state", {})
    needed = [
        output["data"][_WIDGET_VIEW]["model_id"]
        for output in _outputs(notebook)
        if _WIDGET_VIEW in output.get("data", {})
    ]
    kept = set()
    while needed:
        model = needed.pop()
        if model in state and model not in kept:
            kept.add(model)
            needed += re.findall(r"IPY_MODEL_(\w+)", json.dumps(state[model]))
    if state:
        saved["state"] = {model: values for model, values in state.items() if model in kept}
    if state and not kept:
        del notebook.metadata["widgets"]


def _normalise(notebook, name: str, cache: str):
    """Replace what differs from run to run: addresses of objects, the cache's place, random names of widgets."""
    import nbformat

    for output in _outputs(notebook):
        data = output.get("data", {})
        for place, key in ((output, "text"), (data, "text/plain"), (data, "text/html")):
            if key in place:
                place[key] = re.sub(r"\b0x[0-9a-f]{6,}\b", "0x...", place[key]).replace(cache, "~/.cache/netwright")
    widgets = notebook.metadata.get("widgets", {}).get(_WIDGET_STATE, {}).get("state", {})
    names = {old: _digest(f"{name} {number}")[:32] for number, old in enumerate(widgets)}
    if not names:
        return notebook
    text = re.sub("|".join(names), lambda match: names[match[0]], nbformat.writes(notebook))
    return nbformat.reads(text, as_version=4)


# Judging -------------------------------------------------------------------------------------------------------


def differences(source: Path) -> list[str]:
    """What keeps a notebook from being the one that its source describes, as sentences; empty when in step."""
    import nbformat

    target = built(source)
    if not target.exists():
        return [f"{target.name} is missing: run `make notebooks`."]
    there, wanted = nbformat.read(target, as_version=4), read_source(source)
    if len(there.cells) != len(wanted.cells):
        return [f"{target.name} has {len(there.cells)} cells, its source {len(wanted.cells)}: run `make notebooks`."]
    found = [
        f"{target.name}, cell {position} differs from its source: run `make notebooks`."
        for position, (old, new) in enumerate(zip(there.cells, wanted.cells, strict=True))
        if (old.cell_type, old.source, old.metadata, old.id) != (new.cell_type, new.source, new.metadata, new.id)
    ]
    if not found and there.metadata.get("netwright") != wanted.metadata["netwright"]:
        found = [f"{target.name} was executed from another version of its source: run `make notebooks`."]
    return found


def defects(notebook) -> list[str]:
    """What breaks the house rules in an executed notebook, as sentences; empty when it keeps them all."""
    import nbformat

    found = []
    if len(notebook.cells) > MOST_CELLS:
        found.append(f"it has {len(notebook.cells)} cells, more than {MOST_CELLS}.")
    size = len(nbformat.writes(notebook).encode())
    if size > MOST_BYTES:
        found.append(f"it is {size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f}.")
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    if counts != list(range(1, len(counts) + 1)):
        found.append(f"its code cells were not each executed once in order: {counts}.")
    state = notebook.metadata.get("widgets", {}).get(_WIDGET_STATE, {}).get("state", {})
    for position, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            found += [f"cell {position} {fault}" for fault in _faults(output, state)]
    return found


def _faults(output, state) -> list[str]:
    if output.output_type == "error":
        return [f"raises {output.ename}: {output.evalue}"]
    if output.get("name") == "stderr":
        return [f"writes to stderr: {output.text[:200]}"]
    found, data = [], output.get("data", {})
    page = data.get("text/html", "")
    if any(kind.startswith("image/") for kind in data) and "<img" not in page:
        found.append("shows a picture without a description: use netwright.figures.show(figure, alt=...).")
    if re.search(r"<img\b(?![^>]*\balt=\"[^\"]+\")", page):
        found.append("shows an <img> without alt text.")
    if _WIDGET_VIEW in data and data[_WIDGET_VIEW]["model_id"] not in state:
        found.append("shows a widget whose state was not saved.")
    text = [output.get("text", ""), *(value for kind, value in data.items() if kind.startswith("text/"))]
    for words in text:
        words = re.sub(r"base64,[A-Za-z0-9+/=]+", "", words)  # whose alphabet has the slash
        path = re.search(r"(?<![\w./])/(work|root|tmp|home|Users)\b[^\s'\"<]*", words)
        if path:
            found.append(f"prints a path of the machine it ran on: {path[0]}")
    return found


# Small helpers -------------------------------------------------------------------------------------------------


def _named(names, root: Path) -> list[Path]:
    every = sources(root)
    if not names:
        return every
    for name in names:
        if not any(source.stem == name or source.stem.split("_")[0] == name for source in every):
            known = ", ".join(source.stem for source in every) or "none"
            raise NotebookError(f"There is no notebook {name!r}. Known: {known}.")
    return [source for source in every if source.stem in names or source.stem.split("_")[0] in names]


def _outputs(notebook):
    return (output for cell in notebook.cells for output in cell.get("outputs", []))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _fingerprint(cells) -> str:
    return _digest(json.dumps([[cell.cell_type, cell.source, cell.metadata] for cell in cells], sort_keys=True))


def _write(path: Path, notebook) -> None:
    import nbformat

    nbformat.validate(notebook)
    replace_file(path, nbformat.writes(notebook) + "\n")


def main(argv=None) -> int:
    """``[NAME ...] [--all]``: build these notebooks, or every changed one; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m netwright notebooks", description="Build and execute notebooks.")
    parser.add_argument("names", nargs="*", help="02 or 02_weights; default: every notebook")
    parser.add_argument("--all", action="store_true", help="the unchanged ones too")
    chosen = parser.parse_args(argv)
    try:
        build(chosen.names, everything=chosen.all)
    except NotebookError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
