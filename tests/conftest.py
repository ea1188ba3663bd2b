"""What holds for every test: no network but loopback, an empty cache of its own, one thread a process."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

# Before anything imports torch, numpy or Jupyter; kernels and subprocesses inherit it.
_SCRATCH = Path(tempfile.mkdtemp(prefix="netwright-tests-"))
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "agg"
os.environ["NETWRIGHT_HOME"] = str(_SCRATCH / "home")
os.environ["HF_HUB_OFFLINE"] = "1"
for _name in ("NETWRIGHT_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
    os.environ.pop(_name, None)
for _name in ("CONFIG", "DATA", "RUNTIME"):
    os.environ[f"JUPYTER_{_name}_DIR"] = str(_SCRATCH / _name.lower())
os.environ["IPYTHONDIR"] = str(_SCRATCH / "ipython")


import pytest

LOOPBACK = ("127.0.0.1", "::1", "localhost", "")


class NetworkUsed(AssertionError):
    """A test asked for something outside this machine."""


@pytest.fixture(scope="session", autouse=True)
def _only_loopback():
    """Tests never reach the publishers: whatever tries fails here, with a network and without one."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOOPBACK:
            raise NetworkUsed(f"A test tried to connect to {address}.")
        return connect(self, address)

    def guarded_look_up(host, *rest, **options):
        name = host.decode() if isinstance(host, bytes) else host
        if name and name.endswith(".invalid"):  # reserved for names that never resolve
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if name not in (*LOOPBACK, None):
            raise NetworkUsed(f"A test tried to look up {host}.")
        return look_up(host, *rest, **options)

    socket.socket.connect, socket.getaddrinfo = guarded_connect, guarded_look_up
    yield
    socket.socket.connect, socket.getaddrinfo = connect, look_up


def pytest_sessionfinish():
    shutil.rmtree(_SCRATCH, ignore_errors=True)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("heavy") and not os.environ.get("NETWRIGHT_HEAVY"):
            item.add_marker(pytest.mark.skip(reason="takes minutes or gigabytes: set NETWRIGHT_HEAVY=1 to run it"))
        if item.get_closest_marker("gpu") and not _has_gpu():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


# Under CI a test may be skipped for want of a GPU, or of being asked for, but not of a package or a browser.


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    allowed = item.get_closest_marker("gpu") or item.get_closest_marker("heavy") or hasattr(report, "wasxfail")
    if os.environ.get("CI") and report.skipped and not allowed:
        report.outcome, report.longrepr = "failed", f"skipped under CI: {report.longrepr[-1]}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    report = yield
    if os.environ.get("CI") and report.outcome == "skipped":
        report.outcome, report.longrepr = "failed", f"skipped under CI: {report.longrepr[-1]}"
    return report
