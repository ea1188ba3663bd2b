"""The doctor finds what is wrong, says what to do about it, and fails only when not even the toy tier can run."""

import socket
import sys
import threading
import time

import pytest
import torch

from netwright import device, doctor, paths


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("NETWRIGHT_OFFLINE", "1")


def row(name: str) -> doctor.Row:
    return next(row for row in doctor.report().rows if row.name == name)


def test_this_machine_can_run_the_toy_tier(capsys):
    assert doctor.main() == 0
    table = capsys.readouterr().out
    assert all(name in table for name in ("Python", "torch", "device", "cores", "cache", "network", "tier"))


def test_every_line_that_is_not_ok_says_what_to_do():
    silent = [row.name for row in doctor.report().rows if row.status != "ok" and not row.advice and row.name != "tier"]
    assert silent == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda patch: patch.setattr(doctor.sys, "version_info", (3, 10, 4)), "Python"),
        (lambda patch: patch.setattr(doctor.torch, "__version__", "2.9.1"), "torch"),
        (lambda patch: patch.setattr(doctor.importlib.metadata, "version", lambda name: "3.6.1"), "jupyterlab"),
        (lambda patch: patch.setattr(doctor.importlib.metadata, "version", _not_installed), "ipywidgets"),
    ],
    ids=["old Python", "old torch", "old JupyterLab", "no ipywidgets"],
)
def test_what_the_notebooks_cannot_do_without_is_a_failure(monkeypatch, capsys, change, name):
    change(monkeypatch)
    found = row(name)
    assert (found.status, bool(found.advice)) == ("fail", True)
    assert doctor.main() == 1


def _not_installed(name):
    raise doctor.importlib.metadata.PackageNotFoundError(name)


def test_a_cache_that_cannot_be_written_is_named_and_not_fatal(monkeypatch, tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    monkeypatch.setenv("NETWRIGHT_HOME", str(in_the_way / "cache"))
    found = row("cache")
    assert found.status == "note"
    assert str(in_the_way) in found.value and "NETWRIGHT_HOME" in found.advice
    assert doctor.report().healthy


def test_a_nearly_full_disk_is_noted(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1e9}))
    assert row("cache").status == "note"


def test_offline_asks_nobody():
    assert doctor.reachable(("publisher.invalid",)) == {}
    assert "NETWRIGHT_OFFLINE" in row("network").value


def test_reachable_tells_an_open_port_from_a_closed_one(monkeypatch):
    monkeypatch.delenv("NETWRIGHT_OFFLINE")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert doctor.reachable(("127.0.0.1", "unknown.invalid"), port) == {"127.0.0.1": True, "unknown.invalid": False}
    assert doctor.reachable(("127.0.0.1",), port) == {"127.0.0.1": False}


def test_behind_a_proxy_the_proxy_is_asked(monkeypatch):
    monkeypatch.delenv("NETWRIGHT_OFFLINE")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert doctor.reachable(("publisher.invalid",)) == {"publisher.invalid": True}


def test_a_name_server_that_never_answers_does_not_hold_up_the_table(monkeypatch):
    monkeypatch.delenv("NETWRIGHT_OFFLINE")
    released = threading.Event()

    def never_answers(place, timeout):
        released.wait(60)
        raise OSError("no answer")

    monkeypatch.setattr(doctor.socket, "create_connection", never_answers)
    start = time.monotonic()
    try:
        assert doctor.reachable(("a.invalid", "b.invalid"), seconds=0.2) == {"a.invalid": False, "b.invalid": False}
    finally:
        released.set()
    assert time.monotonic() - start < 30  # waiting for one of them would take 60


@pytest.mark.parametrize(
    ("gpu", "network", "cached", "tier"),
    [
        (False, False, False, "toy"),
        (False, True, False, "CPU"),
        (False, False, True, "CPU"),
        (True, True, False, "GPU"),
        (True, False, False, "toy"),
    ],
)
def test_the_tier_follows_from_device_network_and_cache(monkeypatch, tmp_path, gpu, network, cached, tier):
    monkeypatch.setenv("NETWRIGHT_HOME", str(tmp_path))
    if cached:
        (tmp_path / "net.safetensors").write_bytes(b"")
    monkeypatch.setattr(doctor, "reachable", lambda hosts: {"publisher.invalid": network})
    monkeypatch.setattr(device, "pick_device", lambda: torch.device("cuda" if gpu else "cpu"))
    monkeypatch.setattr(device, "device_memory", lambda picked: device.Memory(8_000_000_000, 10_000_000_000))
    monkeypatch.setattr(device, "device_name", lambda picked: "a GPU")
    assert row("tier").value.split(":")[0] == tier


def test_a_notebook_shows_the_report_as_a_table():
    page = doctor.Report((doctor.Row("cache", "note", "<folder>", "make room"),))._repr_mimebundle_()
    assert "&lt;folder&gt;" in page["text/html"] and "<folder>" in page["text/plain"]


@pytest.mark.parametrize(("cuda", "mps", "picked"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_the_device_is_cuda_then_mps_then_cpu(monkeypatch, cuda, mps, picked):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert device.pick_device().type == picked


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems may not tell how much is free")
def test_the_memory_of_the_cpu_is_that_of_the_machine():
    memory = device.device_memory(torch.device("cpu"))
    assert 0 < memory.free < memory.total


def test_the_cache_is_where_paths_says():
    assert row("cache").value.startswith(str(paths.home()))
