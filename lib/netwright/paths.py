"""Where netwright keeps things: the files that ship with it and the reader's cache. Imports nothing of the project."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def home() -> Path:
    """Folder for everything netwright downloads or remembers.

    ``NETWRIGHT_HOME`` when that is set, else ``netwright`` below ``XDG_CACHE_HOME`` (default ``~/.cache``).
    The folder is not created here: whoever writes, creates.
    """
    chosen = os.environ.get("NETWRIGHT_HOME")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "netwright"


def data(name: str = "") -> Path:
    """A file or folder of ``data/``: inside the package when installed from a wheel, else in the checkout.

    Raises FileNotFoundError when neither place has it.
    """
    for folder in (_PACKAGE / "data", _PACKAGE.parents[1] / "data"):
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(
        f"{name!r} is missing from netwright's data folder ({_PACKAGE.parents[1] / 'data'}). "
        "Restore it with git, or install netwright again."
    )
