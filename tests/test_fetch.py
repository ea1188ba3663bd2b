"""Fetching weight files: every fault of a publisher on loopback, every place on this machine. No other network."""

import errno
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netwright.weights import cache, download
from netwright.weights import fetch as room
from netwright.weights.catalogue import find
from netwright.weights.fetch import CacheNotWritable, DiskFull, WeightsUnavailable, WrongHash, fetch, verify, where
from publisher_server import Publisher, Reset, Slow, Stall, Status, Truncate, install, repoint

CONTENT = random.Random(7).randbytes(600_000)
OTHER = random.Random(8).randbytes(600_000)
CLOSED = "http://127.0.0.1:9"  # the discard port: nothing listens there


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine with empty caches, no settings, and a person who does not like to wait."""
    from huggingface_hub import constants

    for name in ("NETWRIGHT_MIRROR", "NETWRIGHT_OFFLINE", "HF_HUB_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("NETWRIGHT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(download, "BACKOFF", 0.01)
    monkeypatch.setattr(download, "STALL_TIMEOUT", 0.5)
    return tmp_path


@pytest.fixture
def publisher():
    with Publisher() as server:
        yield server


ENTRY = find("resnext50_32x4d.tv_in1k")
NAME = ENTRY.files[0].filename


def placed(folder: Path, content: bytes, name: str = NAME) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def partial() -> Path:
    return cache.folder() / f"{NAME}.partial"


# --- the ordinary way --------------------------------------------------------------------------------------------


def test_a_file_is_downloaded_once_proven_and_given_the_publishers_name(publisher):
    weights = repoint(ENTRY, CONTENT, publisher.serve(NAME, CONTENT))
    path = fetch(weights, progress=False)
    assert path == cache.folder() / NAME and path.read_bytes() == CONTENT
    assert fetch(weights, progress=False) == path
    assert len(publisher.asked(NAME)) == 1
    left = {p.name for p in cache.folder().iterdir()} - {NAME, "verified.json", f"{weights.name}.lock"}
    assert not left


def test_a_name_of_any_publisher_is_enough(publisher, monkeypatch):
    install(monkeypatch, repoint(ENTRY, CONTENT, publisher.serve(NAME, CONTENT)))
    assert fetch("tv_resnext50_32x4d", progress=False).read_bytes() == CONTENT


def test_progress_is_shown_when_wanted_and_nothing_is_printed_otherwise(publisher, capfd):
    weights = repoint(ENTRY, CONTENT, publisher.serve(NAME, CONTENT))
    fetch(weights, progress=False)
    assert capfd.readouterr() == ("", "")
    (cache.folder() / NAME).unlink()
    fetch(weights, progress=True)
    assert "600k/600k" in capfd.readouterr().err


def test_a_classroom_mirror_is_asked_first_and_the_publisher_when_it_lacks_the_file(publisher, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_MIRROR", f"{publisher.address}/classroom/")
    publisher.serve(f"classroom/{NAME}", CONTENT)
    fetch(repoint(ENTRY, CONTENT, f"{CLOSED}/{NAME}"), progress=False)
    assert len(publisher.asked(f"classroom/{NAME}")) == 1
    other = repoint(find("resnest50"), OTHER, publisher.serve("resnest50.pth", OTHER))
    assert fetch(other, progress=False).read_bytes() == OTHER
    assert publisher.asked(f"classroom/{other.files[0].filename}")[0].status == 404


def test_a_proxy_of_the_environment_is_used(publisher, monkeypatch):
    publisher.serve(f"models/{NAME}", CONTENT)
    monkeypatch.setenv("HTTP_PROXY", publisher.address)
    fetch(repoint(ENTRY, CONTENT, f"http://publisher.invalid/models/{NAME}"), progress=False)
    assert len(publisher.asked(f"models/{NAME}")) == 1


# --- faults of a server ------------------------------------------------------------------------------------------


def test_a_wrong_hash_is_kept_aside_named_and_never_loaded(publisher):
    weights = repoint(ENTRY, CONTENT, publisher.serve(NAME, OTHER))
    with pytest.raises(WrongHash) as caught:
        fetch(weights, progress=False)
    aside = cache.folder() / f"{NAME}.wrong-hash"
    assert aside.read_bytes() == OTHER and str(aside) in str(caught.value)
    assert hashlib.sha256(OTHER).hexdigest()[:12] in str(caught.value)
    assert not (cache.folder() / NAME).exists() and not partial().exists()
    assert [p.state for p in where(weights) if p.path == aside] == [cache.ASIDE]


def test_after_a_wrong_hash_the_mirror_is_asked(publisher):
    urls = publisher.serve(f"a/{NAME}", OTHER), publisher.serve(f"b/{NAME}", CONTENT)
    assert fetch(repoint(ENTRY, CONTENT, *urls), progress=False).read_bytes() == CONTENT


def test_facebooks_suffix_is_refused_too_and_the_message_says_that_it_is_only_a_convention(publisher):
    facebook = find("ssl_resnext50_32x4d")
    weights = repoint(facebook, CONTENT, publisher.serve("x.pth", OTHER))
    with pytest.raises(WrongHash, match="convention"):
        fetch(weights, progress=False)
    with pytest.raises(WrongHash) as caught:
        fetch(repoint(ENTRY, CONTENT, publisher.serve("x.pth", OTHER)), progress=False)
    assert "convention" not in str(caught.value)


def test_404_leads_to_the_mirror(publisher):
    weights = repoint(ENTRY, CONTENT, f"{publisher.address}/gone.pth", publisher.serve(NAME, CONTENT))
    assert fetch(weights, progress=False).read_bytes() == CONTENT
    assert len(publisher.asked("gone.pth")) == 1, "a 404 is not worth a second attempt"


def test_503_is_tried_again_and_retry_after_is_heeded(publisher):
    weights = repoint(ENTRY, CONTENT, publisher.serve(NAME, CONTENT, Status(503, retry_after=1), Status(503)))
    began = time.monotonic()
    assert fetch(weights, progress=False).read_bytes() == CONTENT
    assert [r.status for r in publisher.asked(NAME)] == [503, 503, 200]
    assert time.monotonic() - began >= 1


def test_a_server_that_keeps_failing_is_given_up_after_four_attempts(publisher):
    weights = repoint(ENTRY, CONTENT, publisher.serve(NAME, CONTENT, *[Status(500)] * 9))
    with pytest.raises(WeightsUnavailable, match="500 Internal Server Error, 4 times in a row"):
        fetch(weights, progress=False)
    assert len(publisher.asked(NAME)) == download.ATTEMPTS


def test_a_reset_half_way_resumes_where_it_broke_and_says_so(publisher, capfd):
    weights = repoint(ENTRY, CONTENT, publisher.serve(NAME, CONTENT, Reset(after=300_000)))
    assert fetch(weights, progress=True).read_bytes() == CONTENT
    first, second = publisher.asked(NAME)
    assert first.start == 0 and 0 < second.start <= 300_000 and second.status == 206
    assert second.if_range, "a resumed file has to be the same file"
    said = capfd.readouterr().err
    assert "the connection broke" in said and "resuming at" in said


def test_resets_that_still_bring_bytes_do_not_count_as_failures(publisher):
    faults = [Reset(after=80_000)] * (download.ATTEMPTS + 2)
    weights = repoint(ENTRY, CONTENT, publisher.serve(NAME, CONTENT, *faults))
    assert fetch(weights, progress=False).read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(publisher, capfd):
    weights = repoint(ENTRY, CONTENT, publisher.serve(NAME, CONTENT, Reset(after=300_000), ranges=False))
    assert fetch(weights, progress=True).read_bytes() == CONTENT
    assert [r.status for r in publisher.asked(NAME)] == [200, 200]
    assert "starting over" in capfd.readouterr().err


def test_a_truncated_file_is_completed(publisher):
    weights = repoint(ENTRY, CONTENT, publisher.serve(NAME, CONTENT, Truncate(after=400_000)))
    assert fetch(weights, progress=False).read_bytes() == CONTENT
    assert publisher.asked(NAME)[1].start == 400_000


def test_a_stall_is_noticed_and_resumed(publisher):
    weights = repoint(ENTRY, CONTENT, publisher.serve(NAME, CONTENT, Stall(after=200_000, seconds=3)))
    began = time.monotonic()
    assert fetch(weights, progress=False).read_bytes() == CONTENT
    assert publisher.asked(NAME)[1].start == 200_000 and time.monotonic() - began < 2.5


def test_a_file_that_changed_under_a_part_is_fetched_whole(publisher):
    url = publisher.serve(NAME, CONTENT)
    weights = repoint(ENTRY, CONTENT, url)
    placed(cache.folder(), OTHER[:250_000], partial().name)
    memo = {"url": url, "etag": '"the tag of another day"', "total": len(CONTENT)}
    Path(f"{partial()}.json").write_text(json.dumps(memo))
    assert fetch(weights, progress=False).read_bytes() == CONTENT
    assert [(r.if_range, r.status) for r in publisher.asked(NAME)] == [(memo["etag"], 200)]


def test_a_part_of_another_file_without_a_tag_is_noticed_by_the_hash_and_fetched_whole(publisher):
    weights = repoint(ENTRY, CONTENT, publisher.serve(NAME, CONTENT, etag=""))
    placed(cache.folder(), OTHER[:250_000], partial().name)
    assert fetch(weights, progress=False).read_bytes() == CONTENT
    assert [r.start for r in publisher.asked(NAME)] == [250_000, 0]


@pytest.mark.parametrize("had", [CONTENT, CONTENT + b"more"], ids=["complete", "too long"])
def test_a_part_that_is_complete_or_too_long_is_settled(publisher, had):
    weights = repoint(ENTRY, CONTENT, publisher.serve(NAME, CONTENT))
    placed(cache.folder(), had, partial().name)
    assert fetch(weights, progress=False).read_bytes() == CONTENT
    assert [r.status for r in publisher.asked(NAME)] == ([416] if had == CONTENT else [416, 200])


# --- no network, no disk, no right to write ----------------------------------------------------------------------


def test_without_a_network_one_message_says_which_how_large_from_where_where_to_and_what_still_works(machine):
    present = find("resnest50d.in1k")
    placed(cache.torch_hub_folder(), b"x", present.files[0].filename)
    with pytest.raises(WeightsUnavailable) as caught:
        fetch(repoint(ENTRY, CONTENT, f"{CLOSED}/{NAME}"), progress=False)
    message = str(caught.value)
    for part in (
        NAME,
        "0.6 MB",
        f"{CLOSED}/{NAME}",
        "not reachable",
        str(cache.folder()),
        "create_model",
        present.name,
    ):
        assert part in message


@pytest.mark.parametrize("switch", ["NETWRIGHT_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_never_touches_the_network(publisher, monkeypatch, switch):
    monkeypatch.setenv(switch, "1")
    with pytest.raises(WeightsUnavailable, match="switched off"):
        fetch(repoint(ENTRY, CONTENT, publisher.serve(NAME, CONTENT)), progress=False)
    assert not publisher.requests


def test_a_disk_that_is_too_small_is_noticed_before_the_first_byte(publisher, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 100_000, 100_000))
    with pytest.raises(DiskFull, match="needs 0.5 MB more"):
        fetch(repoint(ENTRY, CONTENT, publisher.serve(NAME, CONTENT)), progress=False)
    assert download.size_of(partial()) == 0


def test_a_disk_that_fills_up_keeps_the_part_says_how_much_is_missing_and_resumes_later(publisher, monkeypatch):
    weights = repoint(ENTRY, CONTENT, publisher.serve(NAME, CONTENT))
    free = iter([10**9, 50_000])  # at the start; when the write has failed
    with monkeypatch.context() as small:
        small.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 0, next(free)))
        small.setattr(download, "open", quota(250_000), raising=False)
        with pytest.raises(DiskFull, match=r"needs 0\.[34] MB more\. The 0\.2 MB that had come are kept"):
            fetch(weights, progress=False)
    had = partial().stat().st_size
    assert 150_000 < had <= 250_000
    assert fetch(weights, progress=False).read_bytes() == CONTENT
    assert publisher.asked(NAME)[-1].start == had


def quota(limit):
    """An ``open`` for a disk on which a written file may not grow beyond ``limit`` bytes."""

    class Limited(io.FileIO):
        def write(self, block):
            if self.tell() + len(block) > limit:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(block)

    return lambda path, mode="r": Limited(path, mode) if mode in ("ab", "wb") else open(path, mode)


def test_a_cache_folder_that_cannot_be_written_is_a_sentence(publisher, machine, monkeypatch):
    (machine / "a file").write_text("")
    monkeypatch.setenv("NETWRIGHT_HOME", str(machine / "a file" / "home"))
    with pytest.raises(CacheNotWritable, match="cannot be written.*NETWRIGHT_HOME"):
        fetch(repoint(ENTRY, CONTENT, publisher.serve(NAME, CONTENT)), progress=False)
    torch_hub = placed(cache.torch_hub_folder(), CONTENT)
    assert fetch(repoint(ENTRY, CONTENT, CLOSED), progress=False) == torch_hub


# --- what is on this machine already -----------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [cache.folder, cache.torch_hub_folder])
def test_a_file_that_the_reader_placed_is_used_offline(folder, monkeypatch):
    monkeypatch.setenv("NETWRIGHT_OFFLINE", "1")
    path = placed(folder(), CONTENT)
    assert fetch(repoint(ENTRY, CONTENT, f"{CLOSED}/{NAME}"), progress=False) == path


def test_torch_hubs_folder_is_found_as_torch_finds_it(monkeypatch):
    import torch

    assert cache.torch_hub_folder() == Path(torch.hub.get_dir()) / "checkpoints"
    with_torch = cache.torch_hub_folder()
    monkeypatch.delitem(sys.modules, "torch")
    assert cache.torch_hub_folder() == with_torch


def test_a_placed_file_with_the_wrong_hash_is_put_aside_and_replaced(publisher):
    path = placed(cache.folder(), OTHER)
    assert fetch(repoint(ENTRY, CONTENT, publisher.serve(NAME, CONTENT)), progress=False) == path
    assert path.read_bytes() == CONTENT and Path(f"{path}.wrong-hash").read_bytes() == OTHER


def test_a_wrong_file_in_a_foreign_cache_is_refused_but_left_alone(monkeypatch):
    monkeypatch.setenv("NETWRIGHT_OFFLINE", "1")
    path = placed(cache.torch_hub_folder(), OTHER)
    with pytest.raises(WrongHash) as caught:
        fetch(repoint(ENTRY, CONTENT, f"{CLOSED}/{NAME}"), progress=False)
    assert str(path) in str(caught.value) and path.read_bytes() == OTHER


def test_a_proven_file_is_hashed_once_and_again_when_it_has_changed(monkeypatch):
    weights, path = repoint(ENTRY, CONTENT, f"{CLOSED}/{NAME}"), placed(cache.folder(), CONTENT)
    hashed = []
    monkeypatch.setattr(cache, "sha256_of", lambda p: hashed.append(p) or download.sha256_of(p))
    fetch(weights, progress=False)
    fetch(weights, progress=False)
    assert hashed == [path]
    path.write_bytes(OTHER)
    with pytest.raises(WrongHash):
        fetch(weights, progress=False)
    assert hashed == [path, path]


def in_hub_cache(root: Path, repository: str, content: bytes, blob: str) -> Path:
    home = root / f"models--{repository.replace('/', '--')}"
    placed(home / "blobs", content, blob)
    placed(home / "refs", b"d" * 40, "main")
    snapshot = home / "snapshots" / ("d" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(home / "blobs" / blob)
    return snapshot / "model.safetensors"


def test_a_file_in_hugging_faces_cache_is_used_when_it_has_the_hash_that_names_it(machine, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    weights = find("resnest50d.in1k")  # no hash of its safetensors file has been published
    path = in_hub_cache(machine / "hub", f"timm/{weights.name}", CONTENT, hashlib.sha256(CONTENT).hexdigest())
    assert fetch(weights, progress=False) == path


def test_a_damaged_file_in_hugging_faces_cache_is_refused(machine, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    weights = find("resnest50d.in1k")
    in_hub_cache(machine / "hub", f"timm/{weights.name}", OTHER, hashlib.sha256(CONTENT).hexdigest())
    with pytest.raises(WrongHash, match="is refused"):
        fetch(weights, progress=False)


def test_a_hub_file_for_which_nobody_states_a_hash_is_not_loaded(machine, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    weights = find("resnest50d.in1k")
    in_hub_cache(machine / "hub", f"timm/{weights.name}", CONTENT, "blob-without-a-hash")
    with pytest.raises(WeightsUnavailable):
        fetch(weights, progress=False)
    assert cache.UNPROVEN in [p.state for p in verify(weights)]


def test_where_lists_every_place_and_verify_hashes_afresh():
    weights = repoint(ENTRY, CONTENT, f"{CLOSED}/{NAME}")
    path = placed(cache.folder(), CONTENT)
    assert [(p.label, p.state) for p in where(weights)] == [("netwright", cache.UNPROVEN), ("torch hub", cache.ABSENT)]
    assert [p.state for p in verify(weights)] == [cache.VERIFIED]
    assert where(weights)[0].state == cache.VERIFIED
    stat = path.stat()
    path.write_bytes(OTHER)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # damage that neither size nor time shows
    assert [p.state for p in verify(weights)] == [cache.WRONG] and path.exists()


def test_verify_all_reports_each_file_on_this_machine(monkeypatch):
    weights = repoint(ENTRY, CONTENT, f"{CLOSED}/{NAME}")
    install(monkeypatch, weights)
    placed(cache.folder(), CONTENT)
    placed(cache.torch_hub_folder(), OTHER, find("resnest50").files[0].filename)
    found = {place.weights: place.state for place in room.verify_all()}
    assert found == {weights.name: cache.VERIFIED, "resnest50d.in1k": cache.WRONG}


# --- other processes ---------------------------------------------------------------------------------------------

CHILD = """
import sys
from dataclasses import replace
from netwright.weights.catalogue import find
from netwright.weights.fetch import fetch
name, url, sha256, *twin = sys.argv[1:]
weights = find(name)
first = replace(weights.files[0], url=url, sha256=sha256, sha256_prefix=sha256[:8])
twins = tuple(file for file in weights.files if twin and file.filename == "model.safetensors")
print(fetch(replace(weights, files=(first, *twins))))
"""


def child(url: str, name: str = ENTRY.name, twin: bool = False, **environment) -> subprocess.Popen:
    """Another process that fetches these weights from ``url`` and prints the path; with ``twin`` from the hub too."""
    env = os.environ | {"PYTHONPATH": str(Path(room.__file__).parents[2])} | environment
    command = [sys.executable, "-c", CHILD, name, url, hashlib.sha256(CONTENT).hexdigest(), *["twin"] * twin]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_at_once_make_one_download(publisher):
    url = publisher.serve(NAME, CONTENT, Slow(pause=0.02))
    answers = [process.communicate(timeout=30) for process in [child(url), child(url)]]
    assert [Path(out.strip()).read_bytes() == CONTENT for out, _ in answers] == [True, True]
    assert len(publisher.asked(NAME)) == 1
    assert sum("waiting for it" in err for _, err in answers) == 1


def test_a_killed_download_goes_on_where_it_was_killed(publisher):
    url = publisher.serve(NAME, CONTENT, Slow(pause=0.05))
    process = child(url)
    while download.size_of(partial()) < 100_000:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    had = partial().stat().st_size
    assert not (cache.folder() / NAME).exists()
    assert fetch(repoint(ENTRY, CONTENT, url), progress=False).read_bytes() == CONTENT
    assert publisher.asked(NAME)[1].start == had >= 100_000


def hub_at(address: str, machine: Path) -> dict[str, str]:
    return {"HF_ENDPOINT": address, "HF_HOME": str(machine / "hf"), "HF_HUB_DISABLE_XET": "1"}


def test_the_twin_on_hugging_face_is_the_last_resort_and_stays_usable_offline(publisher, machine):
    name = "resnest50d.in1k"  # neither a full commit id nor a hash is known: main, and the hash that the hub states
    publisher.serve_hub(f"timm/{name}", "model.safetensors", CONTENT)
    there = hub_at(publisher.address, machine)
    out, err = child(f"{CLOSED}/x.pth", name, twin=True, **there).communicate(timeout=60)
    assert Path(out.strip()).read_bytes() == CONTENT, err
    again, err = child(f"{CLOSED}/x.pth", name, twin=True, **there, NETWRIGHT_OFFLINE="1").communicate(timeout=60)
    assert again == out, err


def test_a_twin_is_taken_at_its_pinned_commit_and_refused_when_it_is_not_the_published_file(publisher, machine):
    twin = ENTRY.files[1]
    publisher.serve_hub(twin.repository, twin.filename, OTHER, commit=twin.pin)
    out, err = child(f"{CLOSED}/{NAME}", twin=True, **hub_at(publisher.address, machine)).communicate(timeout=60)
    assert out == "" and "WrongHash" in err and f"has {twin.sha256[:12]}" in err
    assert publisher.asked(f"{twin.repository}/resolve/{twin.pin}/{twin.filename}")


def test_without_any_network_the_twin_does_not_delay_the_message(machine):
    began = time.monotonic()
    out, err = child(f"{CLOSED}/{NAME}", twin=True, **hub_at(CLOSED, machine)).communicate(timeout=60)
    assert out == "" and "is not to be had" in err and "huggingface.co" in err
    assert time.monotonic() - began < 10
