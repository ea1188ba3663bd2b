"""Driving a real JupyterLab through Chromium: start it as `make lab` does, open a notebook, run all its cells."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
# JupyterLab shows the traceback of a cell and what it writes to stderr under the one or the other of these.
ERRORS = '[data-mime-type="application/vnd.jupyter.stderr"], [data-mime-type="application/vnd.jupyter.error"]'
NOTEBOOK = "window.jupyterapp?.shell?.currentWidget?.context?.sessionContext"
# JupyterLab calls the kernel idle before it is connected to it, and a Run All clicked then is dropped without a word.
CONNECTED = f"""() => {{
    const kernel = {NOTEBOOK}?.isReady && {NOTEBOOK}.session?.kernel;
    return kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle';
}}"""
# An error stops the cells behind it, which then never get their number.
DONE = f"""() => {{
    const cells = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')];
    const numbered = cells.every(cell => /\\[\\d+\\]/.test(cell.querySelector('.jp-InputPrompt')?.textContent ?? ''));
    const failed = document.querySelector('{ERRORS}');
    return {NOTEBOOK}?.session?.kernel?.status === 'idle' && (numbered || failed);
}}"""
# Widgets are drawn a moment after the kernel is idle.
DRAWN = """() => [...document.querySelectorAll('[data-mime-type="application/vnd.jupyter.widget-view+json"]')]
    .every(output => output.querySelector('.jupyter-widgets, .lm-Widget .lm-Widget'))"""


def find_chromium() -> str | None:
    """Path of a Chromium or Chrome on this machine: the variable CHROMIUM, else the usual names."""
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if name and (path := shutil.which(name))), None)


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: its address, its token and the folder it serves."""

    url: str
    token: str
    folder: Path

    def address(self, path: str) -> str:
        """Where a browser opens a notebook by itself, in a fresh workspace."""
        return f"{self.url}/doc/tree/{path}?reset&token={self.token}"

    def ask(self, path: str, method: str = "GET") -> bytes:
        """Send a request to JupyterLab's own interface."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.read()

    def end_kernels(self) -> None:
        for session in json.loads(self.ask("/api/sessions")):
            self.ask(f"/api/sessions/{session['id']}", "DELETE")


@contextlib.contextmanager
def jupyterlab(folder: Path):
    """What `make lab` starts, for the project in ``folder``, without its own browser; yields a Lab."""
    settings = {
        "notebook-extension/tracker": {"windowingMode": "none"},  # cells out of sight stay in the page
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    }
    for name, values in settings.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    lab = Lab(f"http://127.0.0.1:{port}", secrets.token_hex(16), folder)
    flags = [
        "--no-browser",
        "--expose-app-in-browser",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={lab.token}",
    ]
    code = f"from pathlib import Path; from netwright import workbook; workbook.lab({flags!r}, Path({str(folder)!r}))"
    places = {"JUPYTERLAB_SETTINGS_DIR": folder / "settings", "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces"}
    env = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"} | {"NETWRIGHT_OFFLINE": "1"}
    env |= {key: str(value) for key, value in places.items()}
    with open(folder / "lab.log", "w") as log:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log, env=env, cwd=folder)
        try:
            _wait(lab, process)
            yield lab
        finally:
            process.terminate()  # JupyterLab ends its kernels, one after another
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(lab: Lab, process, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            lab.ask("/api/status")
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"JupyterLab did not start:\n{(lab.folder / 'lab.log').read_text()}") from error
            time.sleep(0.2)


def open_and_run(page, lab: Lab, path: str, seconds: float = 180) -> None:
    """Open a notebook and choose Run > Run All Cells. Raises AssertionError when a cell or a widget fails."""
    page.goto(lab.address(path))
    run_all(page, seconds)


def open_page(page, lab: Lab, path: str) -> None:
    """Open a notebook and wait for its kernel."""
    page.goto(lab.address(path))
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    page.wait_for_function(CONNECTED, timeout=60_000)


def choose(page, *words: str) -> None:
    """Choose an entry of a menu: the menu's name, then the entry's."""
    for word in words:
        page.get_by_role("menuitem", name=word, exact=True).click()


def run_above(page, number: int, seconds: float = 180) -> None:
    """Run every cell above the code cell of this number, counted from 0."""
    page.locator(".jp-CodeCell").nth(number).locator(".cm-content").click()
    choose(page, "Run", "Run All Above Selected Cell")
    above = "cell => /\\[\\d+\\]/.test(cell.querySelector('.jp-InputPrompt').textContent)"
    page.wait_for_function(
        f"() => [...document.querySelectorAll('.jp-CodeCell')].slice(0, {number}).every({above})",
        timeout=1000 * seconds,
    )


def run_cell(page, number: int, seconds: float = 120) -> None:
    """Run one code cell and wait until the kernel is idle again."""
    prompt = page.locator(".jp-CodeCell").nth(number).locator(".jp-InputPrompt")
    before = prompt.inner_text()
    page.locator(".jp-CodeCell").nth(number).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    page.wait_for_function(
        """([number, before]) => {
            const text = document.querySelectorAll('.jp-CodeCell')[number].querySelector('.jp-InputPrompt').innerText;
            return text !== before && /\\[\\d+\\]/.test(text);
        }""",
        arg=[number, before],
        timeout=1000 * seconds,
    )


def rewrite(page, number: int, source: str) -> None:
    """Replace what is written in a code cell."""
    page.locator(".jp-CodeCell").nth(number).locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(source)


def move_slider(page, place: int = 0) -> tuple[str, str]:
    """Move a slider one step with the keyboard; returns the address of the picture under it, before and after."""
    box = page.locator(".jp-OutputArea-output .widget-vbox:has(.noUi-handle)").nth(place)
    picture = box.locator("img").first
    before = picture.get_attribute("src")
    handle = box.locator(".noUi-handle").first
    at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
    handle.focus()
    page.keyboard.press("ArrowLeft" if at_end else "ArrowRight")
    other = "([box, before]) => (box.querySelector('img')?.getAttribute('src') ?? before) !== before"
    page.wait_for_function(other, arg=[box.element_handle(), before], timeout=30_000)
    return before, picture.get_attribute("src")


def run_all(page, seconds: float = 180) -> None:
    """Run all cells of the notebook that is open, as `open_and_run` does."""
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    page.wait_for_function(CONNECTED, timeout=60_000)
    choose(page, "Run", "Run All Cells")
    page.wait_for_function(DONE, timeout=1000 * seconds)
    errors = page.locator(ERRORS)
    assert errors.count() == 0, errors.all_inner_texts()
    page.wait_for_function(DRAWN, timeout=20_000)
    assert page.locator(".jupyter-widgets-error-widget").count() == 0, "A widget could not be drawn."
