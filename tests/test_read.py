"""Every container that a publisher uses is read to the same bits; everything else is refused in a sentence."""

import argparse
import collections
import datetime
import io
import os
import pickle
import subprocess
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from netwright.weights.read import CheckpointError, read_checkpoint
from publisher_files import PUBLISHERS, openmmlab_keys, with_metadata, without_counters, write_legacy, write_like


def small_state(seed: int = 0) -> dict:
    """A few tensors under torchvision's names: some of each kind that a net has."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "conv1.weight": torch.randn(8, 3, 7, 7, generator=generator),
        "bn1.weight": torch.randn(8, generator=generator),
        "bn1.running_mean": torch.randn(8, generator=generator),
        "bn1.num_batches_tracked": torch.tensor(1234),
        "fc.weight": torch.randn(10, 8, generator=generator),
        "fc.bias": torch.randn(10, generator=generator),
    }


def assert_same(state: dict, expected: dict):
    assert set(state) == set(expected)
    for key, tensor in expected.items():
        assert state[key].dtype == tensor.dtype and torch.equal(state[key], tensor), key


# --- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("publisher", PUBLISHERS)
def test_every_publishers_container_gives_the_bits_that_went_in(publisher, mmap, tmp_path):
    expected = small_state()
    path = write_like(publisher, expected, tmp_path / "weights.file")  # the suffix tells nothing: content decides
    if publisher == "facebook":
        expected = without_counters(expected)
    elif publisher.startswith("openmmlab"):
        expected = openmmlab_keys(expected)
    assert_same(read_checkpoint(path, mmap=mmap), expected)


def test_the_legacy_stream_written_by_hand_is_the_one_torch_writes(tmp_path):
    state = with_metadata(small_state())
    torch.save(state, tmp_path / "torch.pth", _use_new_zipfile_serialization=False)
    theirs = (tmp_path / "torch.pth").read_bytes()
    write_legacy(state, tmp_path / "ours.pth", key_digits=14)
    ours = (tmp_path / "ours.pth").read_bytes()
    keys = [str(tensor.untyped_storage()._cdata) for tensor in state.values()]  # each is written twice
    assert len(ours) - len(theirs) == 2 * sum(14 - len(key) for key in keys)
    assert ours[:200] == theirs[:200]  # up to the first storage key


@pytest.mark.parametrize("metadata", [True, False])
def test_a_legacy_stream_is_read_with_and_without_metadata(metadata, tmp_path):
    state = with_metadata(small_state()) if metadata else small_state()
    write_legacy(state, tmp_path / "weights.pth")
    assert_same(read_checkpoint(tmp_path / "weights.pth"), small_state())


@pytest.mark.parametrize("envelope", ["state_dict", "model", "state_dict_ema", "model_ema"])
def test_the_weights_are_taken_out_of_a_training_envelope(envelope, tmp_path):
    torch.save({"epoch": 3, "arch": "resnext50_32x4d", "optimizer": {}, envelope: small_state()}, tmp_path / "a.pth")
    assert_same(read_checkpoint(tmp_path / "a.pth"), small_state())


def test_of_two_sets_of_weights_in_an_envelope_the_averaged_one_is_taken(tmp_path):
    torch.save({"state_dict": small_state(1), "state_dict_ema": small_state(2)}, tmp_path / "a.pth")
    assert_same(read_checkpoint(tmp_path / "a.pth"), small_state(2))


def test_an_entry_that_is_only_called_like_an_envelope_is_passed_over(tmp_path):
    torch.save({"state_dict_ema": None, "model": "resnext50_32x4d", "state_dict": small_state()}, tmp_path / "a.pth")
    assert_same(read_checkpoint(tmp_path / "a.pth"), small_state())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_the_prefix_of_a_wrapper_is_stripped(prefix, tmp_path):
    torch.save({"state_dict": {prefix + key: t for key, t in small_state().items()}}, tmp_path / "a.pth")
    assert_same(read_checkpoint(tmp_path / "a.pth"), small_state())


def test_a_prefix_that_only_some_keys_have_is_part_of_their_name(tmp_path):
    state = {"module.fc.bias": torch.ones(2), "fc.weight": torch.ones(2)}
    torch.save(state, tmp_path / "a.pth")
    assert_same(read_checkpoint(tmp_path / "a.pth"), state)


def test_keys_that_are_numbers_become_text(tmp_path):
    torch.save({0: torch.ones(2)}, tmp_path / "a.pth")
    assert list(read_checkpoint(tmp_path / "a.pth")) == ["0"]


def test_a_zip_is_mapped_and_writing_to_its_tensors_leaves_the_file_alone(tmp_path):
    path = write_like("torchvision_v2", small_state(), tmp_path / "a.pth")
    before = path.read_bytes()
    read_checkpoint(path)["conv1.weight"].zero_()
    assert path.read_bytes() == before


@pytest.mark.parametrize("publisher", ["facebook", "torchvision_v2", "safetensors"])
def test_without_mapping_the_file_may_change_once_it_is_read(publisher, tmp_path):
    path = write_like(publisher, without_counters(small_state()), tmp_path / "a.pth")
    state = read_checkpoint(path, mmap=False)
    with open(path, "r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert_same(state, without_counters(small_state()))


# --- harmless things in an envelope ----------------------------------------------------------------------------------


def history_buffer():
    """An object that pickles as mmengine's HistoryBuffer does, with a method by name, without having mmengine."""
    module = types.ModuleType("mmengine.logging.history_buffer")

    class HistoryBuffer:
        def mean(self):
            raise AssertionError("never called")

    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, "HistoryBuffer"
    HistoryBuffer.mean.__qualname__ = "HistoryBuffer.mean"
    HistoryBuffer.mean.__module__ = module.__name__
    module.HistoryBuffer = HistoryBuffer
    buffer = HistoryBuffer()
    buffer._log_history = np.zeros(3)
    buffer._statistics_methods = {"mean": HistoryBuffer.mean}
    return module, buffer


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "thing",
    [
        np.float64(77.9),
        np.int64(3),
        np.arange(6.0).reshape(2, 3),
        np.array(["a", "bc"]),
        np.dtype("float32"),
        datetime.datetime(2021, 4, 29, 3, 12),
        datetime.datetime(2021, 4, 29, tzinfo=datetime.UTC),
        datetime.date(2021, 4, 29),
        datetime.timedelta(hours=3),
        Path("work_dirs/resnext50"),
        argparse.Namespace(lr=0.1, model="resnet50", opt_betas=None),
        types.SimpleNamespace(lr=0.1),
        torch.__version__,
        collections.defaultdict(list, losses=[1.0]),
        collections.deque([1, 2], maxlen=5),
        collections.Counter("aab"),
        collections.OrderedDict(a=1),
        frozenset({1, 2}),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_what_an_envelope_may_hold_beside_the_weights_does_not_stand_in_the_way(thing, legacy, tmp_path):
    content = {"meta": {"thing": thing, "again": [thing, "text"]}, "state_dict": small_state()}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    assert_same(read_checkpoint(tmp_path / "a.pth"), small_state())


def test_mmengines_history_is_skipped_without_having_mmengine(tmp_path, monkeypatch):
    module, buffer = history_buffer()
    with monkeypatch.context() as patch:
        for name in ("mmengine", "mmengine.logging"):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        patch.setitem(sys.modules, module.__name__, module)
        torch.save({"message_hub": {"loss": buffer}, "state_dict": small_state()}, tmp_path / "a.pth")
    assert_same(read_checkpoint(tmp_path / "a.pth"), small_state())


def test_reading_an_envelope_leaves_torchs_own_allow_list_as_it_was(tmp_path):
    before = set(torch.serialization.get_safe_globals())  # torch lists a set: its order means nothing
    read_checkpoint(write_like("openmmlab_numpy", small_state(), tmp_path / "a.pth"))
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "a.pth", weights_only=True)


# --- what is refused -------------------------------------------------------------------------------------------------


class Attack:
    """Unpickled carelessly, it makes the file `path`."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def evil_files(folder: Path) -> dict[str, tuple[str, Path]]:
    """name -> (what the refusal must name, file); each would make the file `executed` beside it."""
    mark = str(folder / "executed")
    touch = Attack(os.system, f"touch {mark}")
    opener = Attack(open, mark, "w")
    files = {}

    def note(name, wanted):
        files[name] = (wanted, folder / name)
        return folder / name

    system = f"{os.system.__module__}.system"
    torch.save({"meta": touch, "state_dict": small_state()}, note("zip.pth", system))
    torch.save(
        {"meta": touch, "state_dict": small_state()},
        note("legacy.pth", system),
        _use_new_zipfile_serialization=False,
    )
    torch.save({"state_dict": {**small_state(), "fc.extra": opener}}, note("inside.pth", "open"))
    torch.save(
        {"meta": [np.float64(1), Attack(eval, f"open({mark!r}, 'w')")], "state_dict": small_state()},
        note("after_numpy.pth", "eval"),
    )
    for protocol in (2, 4):
        note(f"plain{protocol}.pkl", system).write_bytes(pickle.dumps(touch, protocol=protocol))
    return files


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth", "inside.pth", "after_numpy.pth", "plain2.pkl", "plain4.pkl"])
def test_a_pickle_that_would_execute_code_is_refused_by_name_and_nothing_happens(name, tmp_path):
    wanted, path = evil_files(tmp_path)[name]
    with pytest.raises(CheckpointError) as refusal:
        read_checkpoint(path)
    assert wanted in str(refusal.value) and str(path) in str(refusal.value)
    assert "Nothing in it was executed" in str(refusal.value)
    assert not (tmp_path / "executed").exists()


def test_the_attacks_of_these_tests_do_work_when_unpickled_carelessly(tmp_path):
    evil_files(tmp_path)
    torch.load(tmp_path / "zip.pth", weights_only=False)
    assert (tmp_path / "executed").exists()


def test_a_class_of_ones_own_is_refused_by_name(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_checkpoint(tmp_path / "net.pth")


def torchscript(path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)


def optimiser(path):
    net = torch.nn.Linear(2, 2)
    torch.save(torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9).state_dict(), path)


def tar(path):
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())


def other_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


def cut(publisher, share):
    def write(path):
        write_like(publisher, small_state(), path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return write


def tensors_and_more(path):
    torch.save({**small_state(), "epoch": 3, "notes": "best so far"}, path)


REFUSED = {
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "page": (lambda path: path.write_bytes(b"\n<!DOCTYPE html><html>404</html>"), "is a web page"),
    "xml": (lambda path: path.write_bytes(b"<?xml version='1.0'?><Error>AccessDenied</Error>"), "is a web page"),
    "text": (lambda path: path.write_bytes(b"version https://git-lfs"), "neither a torch file nor safetensors"),
    "gzip": (lambda path: path.write_bytes(b"\x1f\x8b\x08\x00" + bytes(40)), "neither a torch file nor safetensors"),
    "tar": (tar, "tar format of 2016"),
    "script": (torchscript, "TorchScript program"),
    "zip": (other_zip, "not one that torch.save wrote"),
    "optimiser": (optimiser, "holds no weights.*'state', 'param_groups'.*optimiser"),
    "nothing": (lambda path: torch.save({}, path), "holds no weights"),
    "list": (lambda path: torch.save([torch.ones(2)], path), "holds a list, not a dictionary"),
    "more": (tensors_and_more, r"not tensors: 'epoch' \(a int\), 'notes' \(a str\)"),
    "number": (lambda path: torch.save({**small_state(), "x": np.ones(2)}, path), r"'x' \(a numpy, date or path"),
    "protocol": (lambda path: torch.save(small_state(), path, pickle_protocol=4), "pickle protocol 2"),
    "zip half": (cut("torchvision_v2", 0.5), "cut short or damaged"),
    "zip end": (cut("torchvision_v2", 0.99), "cut short or damaged"),
    "legacy head": (cut("facebook", 0.01), "cut short or damaged"),
    "legacy half": (cut("facebook", 0.5), "cut short or damaged"),
    "legacy end": (cut("facebook", 0.999), "cut short or damaged"),
    "safetensors head": (cut("safetensors", 0.02), "cut short or damaged"),
    "safetensors end": (cut("safetensors", 0.99), "cut short or damaged"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_weights_is_refused_in_a_sentence_with_the_path(what, tmp_path):
    write, sentence = REFUSED[what]
    path = tmp_path / "weights.pth"
    write(path)
    with pytest.raises(CheckpointError, match=sentence) as refusal:
        read_checkpoint(path)
    assert str(path) in str(refusal.value) and str(refusal.value).endswith(".")
    assert "weights_only=False" not in str(refusal.value)


@pytest.mark.parametrize("publisher", ["facebook", "torchvision_v2", "openmmlab_numpy", "safetensors"])
def test_a_damaged_byte_anywhere_gives_weights_or_a_sentence_but_no_other_error(publisher, tmp_path):
    path = write_like(publisher, small_state(), tmp_path / "a.pth")
    whole = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[int(torch.randint(min(len(whole), 1200), (), generator=generator))] ^= 0xFF
        path.write_bytes(damaged)
        try:
            read_checkpoint(path, mmap=False)
        except CheckpointError:  # any other error fails the test
            refused += 1
    assert refused > 0


def test_a_file_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "nowhere.pth")


def test_importing_the_reader_does_not_import_safetensors():
    code = "import sys, netwright.weights.read; sys.exit('safetensors.torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
