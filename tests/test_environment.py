"""pyproject.toml, requirements.lock, environment.yml and what is installed say the same."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = [Requirement(text) for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]]
LOCK_LINES = [
    line for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines() if not line.startswith("#")
]
LOCK = {canonicalize_name(Requirement(line).name): Requirement(line) for line in LOCK_LINES}
# Where conda's name for a package is another one.
CONDA_NAMES = {"torch": "pytorch", "playwright": "playwright-python"}
BY_PIP = {"axe-playwright-python"}  # what the conda road takes from PyPI


def locked_version(name: str) -> str:
    return next(iter(LOCK[canonicalize_name(name)].specifier)).version


def test_the_lock_gives_each_package_once_and_exactly():
    assert len(LOCK) == len(LOCK_LINES)
    inexact = [line for line in LOCK_LINES if not re.fullmatch(r"[a-z0-9._-]+==[^\s;*]+( ; [^#]+)?", line)]
    assert inexact == []


def test_the_lock_holds_no_address_no_hash_and_no_cuda_package():
    unwanted = [line for line in LOCK_LINES if re.search(r"://|@|--|\+|^(nvidia|cuda|triton)", line)]
    assert unwanted == []


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.name)
def test_the_lock_satisfies(requirement):
    assert requirement.specifier.contains(locked_version(requirement.name))


def test_the_lock_pairs_torchvision_with_its_torch():
    # torchvision 0.N+15 belongs to torch 2.N: its wheels ask for exactly that torch.
    torch_minor = int(locked_version("torch").split(".")[1])
    assert locked_version("torchvision").startswith(f"0.{torch_minor + 15}.")


def test_the_build_backend_is_locked():
    (backend,) = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    assert Requirement(backend).specifier.contains(locked_version(Requirement(backend).name))


@pytest.mark.skipif(Path(sys.prefix) != ROOT / ".venv", reason="only the environment that make builds follows the lock")
def test_what_is_installed_is_what_the_lock_says():
    wrong = {}
    for name, line in LOCK.items():
        if line.marker is None or line.marker.evaluate():
            installed = importlib.metadata.version(name)
            if not line.specifier.contains(installed):  # "2.13.0+cpu" counts as 2.13.0
                wrong[name] = installed
    assert wrong == {}


def test_the_conda_environment_equals_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = {entry for entry in environment["dependencies"] if isinstance(entry, str)}
    wanted = {f"{CONDA_NAMES.get(req.name, req.name)}{req.specifier}" for req in REQUIREMENTS if req.name not in BY_PIP}
    by_pip = sorted(str(req) for req in REQUIREMENTS if req.name in BY_PIP)
    assert conda == wanted | {f"python{PROJECT['requires-python']}", "pip"}
    assert [entry for entry in environment["dependencies"] if isinstance(entry, dict)] == [{"pip": [*by_pip, "-e ."]}]


def test_a_wheel_carries_the_data_folder(tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, copy / name)
    shutil.copytree(ROOT / "lib", copy / "lib")
    (copy / "data").mkdir()
    (copy / "data" / "probe.json").write_text("{}")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"netwright/data/probe.json", "netwright/paths.py"} <= set(names)
    assert not any(name.startswith(("lib/", "data/", "tests/")) for name in names)
