"""Importing this makes a process ready to run notebooks: torch, the shell that magics need, and the whole library.

On Linux a process that has it imported is forked for every submission, so that this is paid for once.
Imports every room of the library that notebooks may use.
"""

import contextlib
import ctypes
import importlib
import pkgutil
import sys
import warnings

import IPython.display
import matplotlib.pyplot
import torch
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import netwright.lessons

torch.set_num_threads(1)
matplotlib.use("agg")


def _import_all() -> None:
    """So that what a notebook alters can be told from what it merely loads."""
    package = importlib.import_module("netwright")
    for room in pkgutil.iter_modules(package.__path__, "netwright."):
        if room.name.removeprefix("netwright.") in ("cli", "__main__", "grading", "editions"):
            continue
        with contextlib.suppress(Exception):  # what cannot be imported here cannot be altered either
            path = getattr(importlib.import_module(room.name), "__path__", ())
            for found in pkgutil.walk_packages(path, f"{room.name}.", onerror=lambda _: None):
                with contextlib.suppress(Exception):
                    importlib.import_module(found.name)


def _adopt() -> None:
    """Linux: whatever a student's process leaves behind becomes a child of this one, where it is found and ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
        warnings.filterwarnings("ignore", message="forkserver: waitpid")  # which wonders about such children


_import_all()
_adopt()
SHELL = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
SHELL.display_formatter.active_types = ["text/plain"]  # nobody sees it
"""In which cells run: magics and shell lines mean what they mean in a notebook."""

__all__ = ["SHELL", "IPython", "netwright"]
