"""Data sets by name, from small archives in the publishers' layout, served on loopback with every fault."""

import base64
import errno
import hashlib
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from netwright.datasets import DataError, DataUnavailable, archives, named, open_data
from netwright.datasets.matlab import MatError, read_mat
from netwright.weights import download
from published_sets import BREEDS, FLOWER_CLASSES, FLOWERS, IMAGENETTE, flowers, imagenette, mat, pets, repoint, tar
from publisher_server import Publisher, Reset, Slow

CLOSED = "http://127.0.0.1:9"  # the discard port: nothing listens there
FILES = {"imagenette-160": imagenette, "oxford-iiit-pet": pets, "flowers-102": flowers}
NETTE = "imagenette2-160.tgz"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty machine with a network that is only loopback."""
    for name in ("NETWRIGHT_MIRROR", "NETWRIGHT_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("NETWRIGHT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(download, "BACKOFF", 0.01)
    return tmp_path / "home" / "datasets"


@pytest.fixture
def publisher():
    with Publisher() as server:
        yield server


@pytest.fixture
def publish(publisher, monkeypatch):
    """publish(name, files, *faults): serves them, the first with faults, and has netwright look for them there."""

    def serve(name: str, files: dict[str, bytes] | None = None, *faults, **changed):
        files = files or FILES[name]()
        for number, (filename, content) in enumerate(files.items()):
            publisher.serve(filename, content, *(faults if number == 0 else ()))
        it = repoint(name, files, publisher.address, **changed)
        install(monkeypatch, it)
        return it

    return serve


def install(monkeypatch, it: named.NamedSet) -> None:
    known = named.sets() | {it.name: it}
    monkeypatch.setattr(named, "sets", lambda: known)


def opened(name: str, **options) -> dict[str, list[tuple[str, str]]]:
    """(class, file) of every picture in each split."""
    data = open_data(name, progress=False, **options)
    return {
        split: [(data.class_names[t], file) for t, file in zip(pictures.targets, pictures.files, strict=True)]
        for split, pictures in data.splits.items()
    }


def refused(name: str, error=DataUnavailable) -> str:
    with pytest.raises(error) as caught:
        open_data(name, progress=False)
    return str(caught.value)


def left(folder: Path) -> set[str]:
    """What lies there, but for locks, which may stay."""
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


# --- the sets as they are published ------------------------------------------------------------------------------


def test_imagenette_has_its_splits_its_names_and_its_wordnet_ids(publish, home):
    publish("imagenette-160")
    found = opened("imagenette-160")
    assert [len(found[split]) for split in ("train", "val")] == [12, 6]
    assert found["train"][4] == ("English springer", "n02102040/n02102040_0.JPEG")
    assert found["val"][5] == ("parachute", "n03888257/ILSVRC2012_val_00000052.JPEG")
    data = open_data("imagenette-160")
    assert data.synsets == IMAGENETTE and data.split("val").name == "imagenette-160/val"
    assert data.split("val").picture(3).size == (24, 16)
    assert left(home) == {"imagenette2-160"}, "archives are gone once they are unpacked"


def test_pets_have_val_held_out_of_trainval_and_the_published_test(publish):
    publish("oxford-iiit-pet")
    found = opened("oxford-iiit-pet")
    assert {split: len(pictures) for split, pictures in found.items()} == {"train": 24, "val": 6, "test": 9}
    assert found["test"][3] == ("American Bulldog", "images/american_bulldog_11.jpg")
    per_class = {split: {name for name, _ in pictures} for split, pictures in found.items()}
    assert all(names == {"Abyssinian", "American Bulldog", "Maine Coon"} for names in per_class.values())
    both = {file for _, file in found["train"]} | {file for _, file in found["val"]}
    assert both == {f"images/{breed}_{number}.jpg" for breed in BREEDS for number in range(1, 11)}
    assert opened("oxford-iiit-pet") == found != opened("oxford-iiit-pet", seed=1)
    assert len(opened("oxford-iiit-pet", val_share=0.5)["val"]) == 15
    open_data("oxford-iiit-pet").split("val").picture(0)


@pytest.mark.parametrize("compressed", [False, True])
def test_flowers_have_the_published_splits_and_names(publish, compressed):
    publish("flowers-102", flowers(compressed))
    found = opened("flowers-102")
    names = {1: "pink primrose", 77: "passion flower", 102: "blackberry lily"}
    for split, key in {"train": "trnid", "val": "valid", "test": "tstid"}.items():
        wanted = [(names[FLOWER_CLASSES[n - 1]], f"jpg/image_{n:05d}.jpg") for n in FLOWERS[key]]
        assert found[split] == wanted
    assert len(open_data("flowers-102").class_names) == 102


def test_every_set_survives_the_way_to_a_worker(publish):
    publish("flowers-102")
    train = open_data("flowers-102").split("train")
    assert pickle.loads(pickle.dumps(train)).picture(1).tobytes() == train.picture(1).tobytes()


def test_torchvision_reads_the_same_from_the_same_folder(publish, home):
    from peers import torchvision

    publish("oxford-iiit-pet")
    found = opened("oxford-iiit-pet")
    for split, ours in {"trainval": found["train"] + found["val"], "test": found["test"]}.items():
        pets = torchvision.datasets.OxfordIIITPet(str(home), split=split)
        theirs = zip(pets._labels, pets._images, strict=True)
        assert sorted(ours) == sorted((pets.classes[label], f"images/{path.name}") for label, path in theirs)
    publish("imagenette-160")
    data = open_data("imagenette-160")
    theirs = torchvision.datasets.Imagenette(str(home), split="val", size="160px")
    val = data.split("val")
    assert [(val.where(i), int(val.targets[i])) for i in range(len(val))] == theirs._samples
    assert list(data.synsets) == theirs.wnids and [names[0] for names in theirs.classes] == list(data.class_names)


def test_what_is_known_of_the_files_is_what_torchvision_knows():
    from peers import torchvision

    known = {archive.urls[0]: archive.md5 for it in named.sets().values() for archive in it.archives}
    sets = torchvision.datasets
    theirs = dict(sets.Imagenette._ARCHIVES.values()) | dict(sets.OxfordIIITPet._RESOURCES)
    prefix, files = sets.Flowers102._download_url_prefix, sets.Flowers102._file_dict
    assert known == theirs | {prefix + name: md5 for name, md5 in files.values()}
    classes = [name.rstrip("?") for name in sets.Flowers102.classes]  # the publisher doubts a dahlia
    assert list(named.sets()["flowers-102"].class_names) == classes


def test_every_entry_can_be_proven_and_says_where_its_facts_come_from():
    for it in named.sets().values():
        assert it.sources and it.license and it.citation and it.home.startswith("https://")
        assert it.layout in named.LAYOUTS and sum(it.pictures.values()) > 7000
        for archive in it.archives:
            assert len(bytes.fromhex(archive.sha256)) == 32 and len(bytes.fromhex(archive.md5)) == 16
            assert archive.bytes > 500 and all(url.endswith(f"/{archive.filename}") for url in archive.urls)


# --- bringing them -----------------------------------------------------------------------------------------------


def test_what_is_there_is_neither_fetched_nor_hashed_again(publish, publisher, home, monkeypatch):
    publish("imagenette-160")
    open_data("imagenette-160", progress=False)
    monkeypatch.setenv("NETWRIGHT_OFFLINE", "1")
    monkeypatch.setattr(archives, "sha256_of", None)
    monkeypatch.setattr(archives, "hold", None)  # a root that cannot be written will do
    assert len(opened("imagenette-160")["train"]) == 12 and len(publisher.requests) == 1


def test_the_terms_are_shown_once_and_progress_only_if_wanted(publish, capfd):
    publish("oxford-iiit-pet")
    open_data("oxford-iiit-pet", progress=False)
    said = capfd.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert "Attribution-ShareAlike 4.0" in said.err and "Parkhi" in said.err and "vgg/data/pets" in said.err
    open_data("oxford-iiit-pet")
    assert capfd.readouterr() == ("", "")
    publish("imagenette-160")
    open_data("imagenette-160", progress=True)
    assert f"unpacking {NETTE}: 100%" in capfd.readouterr().err


def test_another_root_may_be_given(publish, tmp_path):
    publish("imagenette-160")
    assert len(opened("imagenette-160", root=tmp_path / "elsewhere")["val"]) == 6
    assert (tmp_path / "elsewhere" / "imagenette2-160" / "val").is_dir()


def padded(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same archives, the first large enough to be cut: gzip takes zeros after its end for nothing."""
    return {name: content + bytes(600_000) if name == NETTE else content for name, content in files.items()}


def test_a_download_that_breaks_goes_on_where_it_broke(publish, publisher):
    publish("imagenette-160", padded(imagenette()), Reset(after=200_000))
    assert len(opened("imagenette-160")["train"]) == 12
    first, second = publisher.asked(NETTE)
    assert first.start == 0 < second.start <= 200_000


def test_parts_of_two_different_files_are_noticed_and_fetched_whole(publish, publisher, home):
    publish("imagenette-160", padded(imagenette()))
    stale = home / "downloads" / "imagenette-160" / f"{NETTE}.partial"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(random.Random(1).randbytes(100_000))
    assert len(opened("imagenette-160")["train"]) == 12
    assert [request.start for request in publisher.asked(NETTE)] == [100_000, 0]


def test_the_mirror_of_a_classroom_is_asked_first_and_another_address_last(publisher, monkeypatch):
    files = imagenette()
    publisher.serve(f"room/{NETTE}", files[NETTE])
    publisher.serve(f"second/{NETTE}", files[NETTE])
    install(monkeypatch, repoint("imagenette-160", files, CLOSED, f"{publisher.address}/second"))
    monkeypatch.setenv("NETWRIGHT_MIRROR", f"{publisher.address}/room/")
    assert len(opened("imagenette-160")["train"]) == 12
    assert [request.path for request in publisher.requests] == [f"/room/{NETTE}"]
    monkeypatch.setenv("NETWRIGHT_MIRROR", f"{publisher.address}/empty room")
    monkeypatch.setenv("NETWRIGHT_HOME", os.environ["NETWRIGHT_HOME"] + " of another")
    assert len(opened("imagenette-160")["train"]) == 12
    assert publisher.requests[-1].path == f"/second/{NETTE}"


def test_a_wrong_hash_is_kept_aside_named_and_never_unpacked(publish, publisher, home, monkeypatch):
    publish("imagenette-160")
    other = tar({"imagenette2-160/train/n01440764/evil.JPEG": b"other"})
    publisher.serve(NETTE, other)
    monkeypatch.setattr(archives, "_unpack", lambda *_: pytest.fail("unpacked without proof"))
    message, aside = refused("imagenette-160"), home / "downloads" / "imagenette-160" / f"{NETTE}.wrong-hash"
    assert aside.read_bytes() == other and str(aside) in message
    assert hashlib.sha256(other).hexdigest()[:12] in message
    assert left(home) == {"downloads"} and left(aside.parent) == {aside.name}


def test_offline_is_a_sentence_and_an_archive_that_was_placed_by_hand_is_unpacked_and_stays(
    publish, publisher, home, monkeypatch
):
    publish("oxford-iiit-pet")
    monkeypatch.setenv("NETWRIGHT_OFFLINE", "1")
    message, folder = refused("oxford-iiit-pet"), home / "downloads" / "oxford-iiit-pet"
    for part in ("images.tar.gz (0.1 MB", "switched off", str(folder), "NETWRIGHT_MIRROR", "toy"):
        assert part in message
    for name, content in pets().items():
        (folder / name).write_bytes(content)
    assert len(opened("oxford-iiit-pet")["test"]) == 9 and not publisher.requests
    assert left(folder) == {"images.tar.gz", "annotations.tar.gz"}


def test_a_placed_archive_with_the_wrong_hash_is_put_aside_and_fetched(publish, publisher, home):
    publish("imagenette-160")
    placed = home / "downloads" / "imagenette-160" / NETTE
    placed.parent.mkdir(parents=True)
    placed.write_bytes(b"half of it")
    placed.with_name(f"{NETTE}.partial").write_bytes(imagenette()[NETTE][:1000])
    assert len(opened("imagenette-160")["train"]) == 12
    assert left(placed.parent) == {f"{NETTE}.wrong-hash"}
    assert [request.start for request in publisher.requests] == [1000], "a part that had come is of use all the same"


def test_no_server_is_a_sentence_with_every_address(monkeypatch):
    it = repoint("imagenette-160", imagenette(), CLOSED)
    install(monkeypatch, it)
    message = refused("imagenette-160")
    assert f"{CLOSED}/{NETTE}: not reachable" in message and "no source gave it" in message


# --- archives that are not what they should be -------------------------------------------------------------------

GONE_ASTRAY = {
    "no archive": b"<html>not found</html>" * 100,
    "cut gzip": imagenette()[NETTE][:-3000],
    "cut tar": tar({"imagenette2-160/train/n01440764/a.JPEG": bytes(40_000)}, "w")[:20_000],
    "flipped bits": imagenette()[NETTE][:2000] + bytes(50) + imagenette()[NETTE][2050:],
}


@pytest.mark.parametrize("content", GONE_ASTRAY.values(), ids=GONE_ASTRAY.keys())
def test_a_corrupt_archive_with_the_published_hash_is_a_sentence_and_leaves_nothing(publish, home, content):
    publish("imagenette-160", {NETTE: content})
    message = refused("imagenette-160")
    assert f"{NETTE} cannot be unpacked" in message and "Nothing of it was kept" in message
    assert left(home) == {"downloads"}


def test_a_tar_that_ends_early_between_two_files_is_noticed_by_its_pictures(publish, home):
    files = {f"imagenette2-160/{split}/{s}/1.JPEG": b"x" for split in ("train", "val") for s in IMAGENETTE}
    publish("imagenette-160", {NETTE: tar(files)})
    message = refused("imagenette-160")
    assert "3 pictures in train, 3 pictures in val, instead of 12 pictures in train, 6" in message
    publish("imagenette-160", {NETTE: tar({"imagenette2-160/train/n01440764/1.JPEG": b"x"})})
    assert "There is no folder" in refused("imagenette-160")
    assert left(home) == {"downloads"}


def entry(name: str, **fields) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


ESCAPES = {
    "above": entry("imagenette2-160/../../../escaped.txt"),
    "link": entry("imagenette2-160/link", type=tarfile.SYMTYPE, linkname="../../.."),
    "hard link": entry("imagenette2-160/hard", type=tarfile.LNKTYPE, linkname="../../../outside.txt"),
    "harmless link": entry("imagenette2-160/link", type=tarfile.SYMTYPE, linkname="a.txt"),
    "device": entry("imagenette2-160/device", type=tarfile.CHRTYPE),
}


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES.keys())
def test_nothing_is_written_outside_and_no_link_or_device_is_made(publish, home, tmp_path, escape):
    (tmp_path / "outside.txt").write_text("mine")
    before = {path for path in tmp_path.rglob("*") if home not in path.parents and path != home}
    publish("imagenette-160", {NETTE: tar({"imagenette2-160/a.txt": b"a"}, extra=[escape])})
    assert "cannot be unpacked" in refused("imagenette-160")
    assert left(home) == {"downloads"} and (tmp_path / "outside.txt").read_text() == "mine"
    assert {path for path in tmp_path.rglob("*") if home not in path.parents and path != home} - {home.parent} == before


def test_an_absolute_path_lands_inside(publish, home):
    files = {name: body for name, body in unpacked(imagenette()[NETTE]).items()}
    evil = f"{home.parent}/absolute.txt"
    publish("imagenette-160", {NETTE: tar(files | {evil: b"evil"})})
    open_data("imagenette-160", progress=False)
    assert not Path(evil).exists() and left(home) == {"imagenette2-160"}


def unpacked(content: bytes) -> dict[str, bytes]:
    import io

    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}


def test_a_folder_that_lost_its_lists_says_how_it_is_mended(publish, home):
    publish("flowers-102")
    open_data("flowers-102", progress=False)
    (home / "flowers-102" / "setid.mat").write_bytes(b"nothing")
    message = refused("flowers-102", DataError)
    assert (
        f"{home / 'flowers-102'} is not flowers-102 as it is published" in message and "Remove that folder" in message
    )
    shutil.rmtree(home / "flowers-102")
    assert len(opened("flowers-102")["test"]) == 5


# --- disks, kills and neighbours ---------------------------------------------------------------------------------


def usage(free: int):
    return lambda _: shutil._ntuple_diskusage(10**9, 10**9 - free, free)


def test_a_disk_too_small_for_archive_and_pictures_is_noticed_before_the_first_byte(
    publish, publisher, home, monkeypatch
):
    it = publish("imagenette-160", padded(imagenette()))
    size = it.archives[0].bytes
    monkeypatch.setattr(shutil, "disk_usage", usage(2 * size - 400_000))
    message = refused("imagenette-160")
    assert "needs 0.4 MB more" in message and "NETWRIGHT_HOME" in message and not publisher.requests
    monkeypatch.setattr(shutil, "disk_usage", usage(2 * size - 300_000))
    partial = home / "downloads" / "imagenette-160" / f"{NETTE}.partial"
    partial.write_bytes(padded(imagenette())[NETTE][:300_000])
    assert len(opened("imagenette-160")["train"]) == 12, "what has come is not counted twice"


def test_a_disk_that_fills_up_while_unpacking_keeps_the_archive_and_nothing_half(publish, publisher, home, monkeypatch):
    publish("imagenette-160", padded(imagenette()))
    with monkeypatch.context() as full:
        extract, count = tarfile.TarFile.extract, iter(range(10))

        def until_full(self, *args, **options):
            if next(count) == 9:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return extract(self, *args, **options)

        full.setattr(tarfile.TarFile, "extract", until_full)
        message = refused("imagenette-160")
    assert "is full" in message and "0.6 MB that had come are kept" in message
    assert left(home) == {"downloads"}
    assert len(opened("imagenette-160")["train"]) == 12 and len(publisher.requests) == 1


def test_a_root_that_cannot_be_written_is_a_sentence(publish, tmp_path, monkeypatch):
    publish("imagenette-160")
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("NETWRIGHT_HOME", str(tmp_path / "a file" / "home"))
    assert "cannot be written" in refused("imagenette-160")


CHILD = """
import sys, tarfile, time
sys.path[:0] = [{lib!r}, {tests!r}]
from netwright.datasets import named, open_data
from published_sets import imagenette, repoint

it = repoint("imagenette-160", {{"imagenette2-160.tgz": open({archive!r}, "rb").read()}}, {address!r})
named.sets = lambda known=named.sets(): known | {{it.name: it}}
extract = tarfile.TarFile.extract
def slowly(self, *args, **options):
    time.sleep({pause})
    return extract(self, *args, **options)
tarfile.TarFile.extract = slowly
print({{split: len(pictures) for split, pictures in open_data("imagenette-160").splits.items()}})
"""


def child(address: str, archive: Path, pause: float = 0.0) -> subprocess.Popen:
    tests = Path(__file__).parent
    code = CHILD.format(
        lib=str(tests.parent / "lib"), tests=str(tests), archive=str(archive), address=address, pause=pause
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_kill_in_the_middle_of_unpacking_leaves_nothing_half_and_costs_no_second_download(
    publish, publisher, home, tmp_path
):
    files = imagenette()
    publish("imagenette-160", files)
    (tmp_path / NETTE).write_bytes(files[NETTE])
    process = child(publisher.address, tmp_path / NETTE, pause=0.2)
    scratch = home / "imagenette2-160.unpacking"
    while len(list(scratch.rglob("*.JPEG"))) < 2:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert scratch.is_dir() and not (home / "imagenette2-160").exists()
    (scratch / "imagenette2-160" / "train" / IMAGENETTE[0] / "half.JPEG").write_bytes(b"of another time")
    assert len(opened("imagenette-160")["train"]) == 12 and len(publisher.requests) == 1
    assert left(home) == {"imagenette2-160"}


def test_two_processes_at_once_make_one_download(publisher, tmp_path):
    files = padded(imagenette())
    publisher.serve(NETTE, files[NETTE], Slow(pause=0.02))
    (tmp_path / NETTE).write_bytes(files[NETTE])
    both = [child(publisher.address, tmp_path / NETTE) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in both]
    assert [out.strip() for out, _ in answers] == ["{'train': 12, 'val': 6}"] * 2, answers
    assert len(publisher.asked(NETTE)) == 1
    assert sum("waiting for it" in err for _, err in answers) == 1


# --- MATLAB's files ----------------------------------------------------------------------------------------------

# Written by scipy.io.savemat (SciPy 1.17, do_compression=True): uint16 rows, float64, an int32 column, text, a complex
# number and a matrix of two rows.
SCIPYS = (
    "TUFUTEFCIDUuMCBNQVQtZmlsZSBQbGF0Zm9ybTogcG9zaXgsIENyZWF0ZWQgb246IFR1ZSBOb3YgMjQgMTg6MTk6NDYgMjAyNgAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABSU0PAAAAMQAAAHic42NgYHAAYjYg5gBi"
    "bgYIYIXyGYGYGUqDxEqK8jJTgDQLVA8zUGYPEwMDAFErA2wPAAAAMAAAAHic42NgYPAAYjYg5oDSIMAK5TMCMROUBomVJeZkpgBp"
    "TiAWYIADBwgl4gAAZjgDPg8AAAAuAAAAeJzjY2BgcABiNiDmAGIeBghghfKZgJgRikFiJcUlmSlI8ixAXCDIyAAAUQcDOg8AAAAq"
    "AAAAeJzjY2BgMABiNiDmAGIWBghghfIZoWKMQDIvvyRVAEiXpFaUAAApVQP3DwAAACsAAAB4nONjYGDwAGI2IOYA0SACCFihfEY4"
    "ZmSoAtKcUHEI+GCPymdwAABOIQKPDwAAADAAAAB4nONjYGCwAGI2IOYAYk4GCGCF8pmAmBmIGRlYGNKLMlOYoGoZmBlZmICKADei"
    "AjI="
)


def test_a_file_that_scipy_wrote_is_read_as_scipy_reads_it(tmp_path):
    (tmp_path / "scipy.mat").write_bytes(base64.b64decode(SCIPYS))
    found = read_mat(tmp_path / "scipy.mat")
    assert {name: array.tolist() for name, array in found.items()} == {
        "trnid": [[3, 1, 700]],
        "valid": [[2.0, 5.0]],
        "tstid": [[4], [70000]],
        "grid": [[0, 1, 2], [3, 4, 5]],
    }


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_small_elements_both_orders_of_bytes_and_compression_are_read(tmp_path, compressed, order):
    arrays = {
        "ab": np.array([1, 2, 255], dtype=np.uint8),
        "a_long_name": np.array([1, 60000, 7], dtype=np.uint16),
        "one": np.array([0.5]),
    }
    (tmp_path / "x.mat").write_bytes(mat(arrays, compressed, order))
    found = read_mat(tmp_path / "x.mat")
    assert {name: array.tolist() for name, array in found.items()} == {k: [v.tolist()] for k, v in arrays.items()}


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_mat_file_is_a_sentence_wherever_it_ends(tmp_path, compressed):
    whole = mat({"labels": np.arange(40, dtype=np.uint8)}, compressed)
    path = tmp_path / "labels.mat"
    for end in range(129, len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(MatError, match="labels.mat is damaged"):
            read_mat(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(200))
    with pytest.raises(MatError, match="no MATLAB file of version 5"):
        read_mat(path)
