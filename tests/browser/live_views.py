"""A notebook with every view in it, and what one does with each: for the tests in JupyterLab, and to be timed."""

from collections.abc import Callable
from dataclasses import dataclass

import nbformat

from netwright import notebooks

PICTURE = 5  # of the toy world's test split
IMPORTS = f"""
import netwright as nw
from netwright import views

def toy(name):
    return nw.probe(nw.create_model(name, pretrained=True), nw.ToyWorld("test")[{PICTURE}]["image"])
"""

# Name -> the cell that shows it.
TOYS = {
    "halo": 'views.HaloExplorer(toy("toy_halonet"))',
    "ledger": 'views.Ledger(toy("toy_resnext"))',
    "groups": 'views.GroupStructure(toy("toy_resnext"))',
    "gates": 'views.Gates(toy("toy_resnest"))',
    "splits": 'views.SplitBrowser(toy("toy_resnest"))',
    "gate_paths": 'views.GatePaths(toy("toy_resnest"))',
    "class_map": 'views.ClassMap(toy("toy_resnet"))',
    "receptive": 'views.ReceptiveField(toy("toy_resnet"))',
    "stages": 'views.StageBrowser(toy("toy_resnext"))',
    "side_by_side": 'views.SideBySide([toy("toy_resnet"), toy("toy_halonet")])',
    "removal": 'views.Removal(toy("toy_resnet"))',
    "neighbours": 'views.Neighbours(nw.create_model("toy_resnet", pretrained=True))',
    "architecture": 'views.Architecture(nw.create_model("toy_halonet", pretrained=True))',
    "optimised": 'views.OptimisedFeatures("toy_resnet")',
    "scrubber": 'views.Scrubber.recorded("toy_halonet")',
    "league": "views.League()",
}


# Full-size nets with seeded weights: how long things take does not depend on what the weights have learnt.
FULL_IMPORTS = f"""{IMPORTS}
from netwright.probing.golden import golden_picture, golden_state

def full(name):
    net = nw.create_model(name)
    net.load_state_dict(golden_state(name))
    return nw.probe(net.eval(), golden_picture())
"""
FULL = {
    "receptive": 'views.ReceptiveField(full("resnext50_32x4d"))',
    "gates": 'views.Gates(full("resnest50d"))',
    "halo": 'views.HaloExplorer(full("halonet50ts"))',
}


def notebook_of(cells: list[str]):
    """An unexecuted notebook with these cells."""
    code = [nbformat.v4.new_code_cell(cell) for cell in cells]
    return nbformat.v4.new_notebook(cells=code, metadata=notebooks.METADATA)


@dataclass(frozen=True)
class Action:
    """Something done to a view again and again. what: "words" if the browser answers by itself, "answers" if the kernel.

    do(page, view, i): the i-th time.
    """

    what: str
    do: Callable


def _keys(selector: str, *keys: str):
    """Press one key after the other on the first element that `selector` finds."""

    def do(page, view, i):
        element = view.locator(selector).first
        if i == 0:
            element.focus()
        page.keyboard.press(keys[i % len(keys)])

    return do


def _press_next(selector: str):
    """Press the first, then the second, … of the buttons that `selector` finds."""

    def do(page, view, i):
        buttons = view.locator(selector)
        buttons.nth(i % buttons.count()).click()

    return do


def _gates_farther(page, view, i):
    """Move the gates a quarter of the way nearer to what they are forced to, or back."""
    if i == 0:
        view.get_by_role("button", name="other gates").click()
    view.get_by_label("How far", exact=True).press("ArrowLeft" if i % 6 < 3 else "ArrowRight")


def _through(*keys_and_times: tuple[str, int]):
    """Keys of a way on which no place comes twice."""
    return [key for key, times in keys_and_times for _ in range(times)]


# To the right, down, to the left, down: every cell of an 8 x 8 map once, so that the kernel has each to compute anew.
SERPENT = _through(*([("ArrowRight", 7), ("ArrowDown", 1), ("ArrowLeft", 7), ("ArrowDown", 1)] * 2))
HITHER = ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp")

CLIENT = {
    "halo": Action("words", _keys("canvas.nw-pick", *HITHER)),
    "ledger": Action("words", _keys(".nw-bars button", "ArrowDown", "ArrowUp")),
    "groups": Action("words", _keys("canvas.nw-pick", *HITHER)),
    "gates": Action("words", _keys("canvas.nw-pick", *HITHER)),
    "splits": Action("words", _keys("canvas.nw-pick", *HITHER)),
    "class_map": Action("words", _keys("canvas.nw-pick", *HITHER)),
    "stages": Action("words", _keys("canvas.nw-pick", *HITHER)),
    "side_by_side": Action("words", _keys("canvas.nw-pick", *HITHER)),
    "removal": Action("words", _keys("input[type=range]", "ArrowRight", "ArrowLeft")),
    "neighbours": Action("words", _keys("canvas.nw-pick", *HITHER)),
    "architecture": Action("words", _keys("[role=treeitem]", "ArrowDown", "ArrowUp")),
    "optimised": Action("words", _keys("canvas.nw-pick", *HITHER)),
    "scrubber": Action("words", _keys("input[type=range]", "ArrowLeft", "ArrowRight")),
}
KERNEL = {
    "receptive": Action("answers", _keys("canvas.nw-pick", *SERPENT)),
    "gate_paths": Action("answers", _keys("canvas.nw-pick", *SERPENT)),
    "halo": Action("answers", _press_next("table button")),
    "gates": Action("answers", _gates_farther),
}
