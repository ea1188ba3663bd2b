"""How quick the views are: click to painted in JupyterLab, and the first view of a new picture. Part of `make bench`.

Each action is done thirty times in Chromium, in a JupyterLab whose kernel has the views; what is timed is from the event
in the browser to the frame that shows the change. Written to data/bench_views.json. `--quick` does five of each.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import nbformat
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))

from playwright.sync_api import sync_playwright

from clocked import clocked
from driver import CHROMIUM_FLAGS, find_chromium, jupyterlab, open_and_run
from live_views import CLIENT, FULL, FULL_IMPORTS, IMPORTS, KERNEL, TOYS, notebook_of
from netwright import views
from netwright.device import device_name
from netwright.models import create_model
from netwright.probing.capture import probe
from netwright.probing.golden import golden_picture, golden_state

ASKED = {"words": 60, "answers": 150, "first": 3000}  # milliseconds: nine times of ten, and at most
FIRST = {
    "resnet50": views.ClassMap,
    "resnext50_32x4d": views.Ledger,
    "resnest50d": views.Gates,
    "halonet50ts": views.HaloExplorer,
}
GENERAL = (views.StageBrowser, views.ReceptiveField, views.Removal)  # of the ResNeXt too


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="five times of each, and nothing is written")
    times = 5 if parser.parse_args().quick else 30
    rows = first_views() + in_jupyterlab(IMPORTS, TOYS, {**CLIENT}, times, "toy")
    rows += in_jupyterlab(IMPORTS, TOYS, KERNEL, times, "toy") + in_jupyterlab(
        FULL_IMPORTS, FULL, KERNEL, times, "full size"
    )
    print(f"{'view':16} {'net':16} {'what':30} {'n':>3} {'median':>8} {'p90':>8} {'asked':>8}")
    for row in rows:
        print("{view:16} {net:16} {what:30} {n:3} {median:6.0f}ms {p90:6.0f}ms {asked:6.0f}ms".format(**row))
    if times == 30:
        about = {
            "date": date.today().isoformat(),
            "device": device_name(torch.device("cpu")),
            "torch": torch.__version__,
        }
        text = json.dumps(about | {"threads": torch.get_num_threads(), "rows": rows}, indent=1)
        (ROOT / "data" / "bench_views.json").write_text(text + "\n", encoding="utf-8")


def first_views() -> list[dict]:
    """A new picture in a net that is there already: probing, the view, its check, and the message for the browser."""
    rows = []
    for name, view in [*FIRST.items(), *(("resnext50_32x4d", view) for view in GENERAL)]:
        net = create_model(name)
        net.load_state_dict(golden_state(name))
        net.eval()
        taken = []
        for turn in range(4):
            picture = golden_picture().rotate(90 * turn)
            start = time.perf_counter()
            view(probe(net, picture)).message(live=True)
            taken.append(1000 * (time.perf_counter() - start))
        rows.append(row(view.__name__, name, "first view of a new picture", taken[1:], ASKED["first"]))  # once warm
    return rows


def in_jupyterlab(imports: str, cells: dict[str, str], actions: dict, times: int, net: str) -> list[dict]:
    """Do the actions on the views in a real JupyterLab."""
    names = [name for name in actions if name in cells]
    rows = []
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder = Path(place)
        (folder / "notebooks").mkdir()
        shutil.copy(next((ROOT / "notebooks").glob("00_*.ipynb")), folder / "notebooks")
        nbformat.write(notebook_of([imports, *(cells[name] for name in names)]), folder / "views.ipynb")
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        with jupyterlab(folder) as lab:
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            open_and_run(page, lab, "views.ipynb", seconds=600)
            for position, name in enumerate(names):
                action, view = actions[name], page.locator(".nw-view").nth(position)
                view.scroll_into_view_if_needed()
                taken = []
                for i in range(times):
                    taken.append(clocked(page, view, action.what, lambda: action.do(page, view, i)))  # noqa: B023
                    page.wait_for_timeout(400 if action.what == "answers" else 30)  # what follows is not to be timed
                what = {"words": "answered in the browser", "answers": "answered by the kernel"}[action.what]
                rows.append(row(name, net, what, [it for it in taken if it is not None], ASKED[action.what]))
        browser.close()
    return rows


def row(view: str, net: str, what: str, taken: list[float], asked: float) -> dict:
    ordered = sorted(taken)
    p90 = ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]
    numbers = {"n": len(taken), "median": round(statistics.median(taken), 1), "p90": round(p90, 1), "asked": asked}
    return {"view": view, "net": net, "what": what, **numbers}


if __name__ == "__main__":
    os.environ.setdefault("NETWRIGHT_OFFLINE", "1")
    main()
