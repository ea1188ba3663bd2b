"""`finetune`, from what is asked for to a net in a folder: what it keeps, what it refuses, and in which words."""

import dataclasses
import re
import shlex
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from netwright import trained
from netwright.cli.main import main
from netwright.datasets import Inputs, Ticket, open_data
from netwright.models import classify, create_model, load_run, preprocessing_of, transform_for
from netwright.tune import build, find
from netwright.tune.augment import Augmentation
from netwright.tune.finetune import REPORT, FinetuneError, finetune
from netwright.tune.history import read_log
from netwright.tune.loop import LAST, TrainingStopped
from netwright.tune.options import Options, recipe_of
from netwright.tune.recipes import RecipeError
from netwright.tune.step import TrainingStep
from tiny_training import TINY, same, tiny_net, write_folder

QUICK = {"weights": "none", "size": 32, "epochs": 2, "batch": 6, "workers": 0, "tensorboard": False, "progress": False}


@pytest.fixture(autouse=True)
def tiny():
    with tiny_net():
        yield


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_folder(tmp_path / "pictures")


def quick(data, out: Path, **changes):
    return finetune(data, model="tiny", out=str(out), **QUICK | changes)


def run(*words, capsys) -> tuple[int, str, str]:
    try:
        status = main([str(word) for word in words])
    except SystemExit as stop:
        status = stop.code
    return status, *capsys.readouterr()


# --- what a run is -----------------------------------------------------------------------------------------------


def test_a_folder_of_pictures_becomes_a_net_that_names_its_classes(folder, tmp_path):
    run = quick(folder, tmp_path / "run", epochs=20, recipe="full", lr=0.05)
    assert sorted(p.name for p in run.folder.iterdir() if p.name != ".lock") == sorted(
        (LAST, "log.jsonl", REPORT, trained.BEST)
    )
    start, end = run.history.start, run.history.end
    assert start["classes"] == ["class 0", "class 1", "class 2"] and end["bad"] == []
    net = run.net
    assert net.class_names == ("class 0", "class 1", "class 2") and transform_for(net).input_size == (32, 32)
    picture = next((folder / "class 1").iterdir())
    assert classify(net.eval(), picture, k=1)[0][0] == "class 1"  # a third of a net would
    assert run.curves().alt.startswith("Curves over 20 epochs")
    assert f"Finetuning tiny on {folder.name}" in (run.folder / REPORT).read_text(encoding="utf-8")


def test_the_net_that_is_kept_is_that_of_the_best_epoch(folder, tmp_path):
    from netwright.evaluate.metrics import measure
    from netwright.evaluate.predictions import predict

    run = quick(folder, tmp_path / "run", epochs=4, lr=0.05)
    validation = open_data(folder).split("val")
    found = measure(predict(run.net, validation, progress=False))
    best = run.history.epochs[run.history.end["best_epoch"]]
    assert found.top1.value == best["ema_val_top1"] == max(line["ema_val_top1"] for line in run.history.epochs)
    assert found.loss == pytest.approx(best["ema_val_loss"], rel=1e-5)


def test_the_weights_after_every_epoch_are_kept_where_they_are_asked_for(folder, tmp_path):
    run = quick(folder, tmp_path / "run", keep_epochs=True)
    files = trained.epoch_files(run.folder)
    assert [trained.about(file)["epoch"]["epoch"] for file in files] == [line["epoch"] for line in run.history.epochs]
    best = run.history.end["best_epoch"]
    assert same(load_run(files[best]).state_dict(), run.net.state_dict())
    assert not same(load_run(files[0]).state_dict(), load_run(files[-1]).state_dict())
    with pytest.raises(trained.NotTrainedHere, match="--keep-epochs"):
        trained.epoch_files(quick(folder, tmp_path / "other").folder)


def test_head_only_leaves_the_body_as_it_was_to_the_last_bit_of_its_buffers(folder, tmp_path):
    torch.manual_seed(0)
    start = create_model("tiny", num_classes=7)
    with torch.no_grad():
        start.train()(torch.randn(8, 3, 32, 32))  # statistics that are not those of a fresh net
    save_file(start.state_dict(), tmp_path / "start.safetensors")
    run = quick(folder, tmp_path / "run", recipe="head_only", weights=str(tmp_path / "start.safetensors"), epochs=3)
    before, after = start.state_dict(), run.net.state_dict()
    body = [name for name in before if not name.startswith("classifier")]
    assert len(body) > 60 and all(before[name].equal(after[name]) for name in body)
    history = run.history
    assert history.start["trained_parameters"] == 32 * 3 + 3
    assert history.epochs[-1]["train_loss"] < history.epochs[0]["train_loss"]


def test_a_classifier_of_as_many_other_classes_is_not_taken_over(folder, tmp_path):
    first = quick(folder, tmp_path / "first")
    others = write_folder(tmp_path / "others")
    (others / "class 1").rename(others / "something else")
    for data, kept in ((folder, True), (others, False)):
        run = quick(data, tmp_path / f"kept {kept}", weights=str(first.folder), recipe="full", lr=1e-12, epochs=1)
        assert torch.allclose(run.net.classifier.weight, first.net.classifier.weight, atol=1e-6) == kept
        assert torch.allclose(run.net.stem[0].conv.weight, first.net.stem[0].conv.weight, atol=1e-6)


def test_the_toy_world_is_painted_to_measure_and_nothing_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr("netwright.toys.world.SPLITS", {"train": 60, "val": 40, "test": 40, "novel": 40})
    run = quick("toy", tmp_path / "run", size=64, length=24)
    found = preprocessing_of(run.net)
    assert (found.input_size, found.resize, found.crop_pct) == ((64, 64), 64, 1.0)
    # Two epochs of 24 pictures each, none of them twice.
    assert run.history.start["train_pictures"] == 2 * 24 and run.history.start["val_pictures"] == 40


def test_pixels_that_are_there_already_go_the_same_way_as_pictures():
    pictures = open_data("toy", size=32, length=8).split("train")
    plain = Augmentation((32, 32), (0.4, 0.5, 0.6), (0.2, 0.3, 0.1), crop_area=1.0, flip=0.0)
    assert plain.changes_nothing and not dataclasses.replace(plain, flip=0.1).changes_nothing
    tickets = [Ticket(i) for i in range(8)]
    quickly = Inputs(pictures, plain, plain.normalise_pixels).__getitems__(tickets).images
    assert quickly.equal(Inputs(pictures, plain).__getitems__(tickets).images)


def test_a_run_is_repeated_by_its_own_command(tmp_path):
    asked = Options(
        data="my pictures",
        model="resnest50d",
        recipe="a1",
        epochs=7,
        batch=64,
        accumulate=4,
        settings=("augmentation.flip=0", "loss.smoothing=0.2"),
        out="a folder",
        compile=True,
        channels_last=False,
        precision="bf16",
        lr=3e-4,
    )
    from netwright.cli import finetune as verb

    seen = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verb, "_finetune", lambda options: seen.update(vars(options)))
        words = shlex.split(asked.command())
        assert words[:3] == ["python", "-m", "netwright"]
        main(words[3:])
    fields = {key: value for key, value in seen.items() if key in {f.name for f in dataclasses.fields(Options)}}
    assert Options(**fields | {"settings": tuple(fields["settings"])}) == asked


def test_any_field_of_a_recipe_can_be_changed_and_a_recipe_be_ones_own(tmp_path):
    asked = Options(data="x", model="y", settings=("augmentation.flip=0", "optimiser.clip_norm=", "ema.decay=0.5"))
    recipe = recipe_of(asked)
    assert (recipe.augmentation.flip, recipe.optimiser.clip_norm, recipe.ema.decay) == (0.0, None, 0.5)
    own = tmp_path / "own.toml"
    own.write_text('extends = "full"\nepochs = 3\n[optimiser]\nlr = 0.5\n')
    recipe = recipe_of(Options(data="x", model="y", recipe=str(own)))
    assert (recipe.name, recipe.epochs, recipe.optimiser.lr, recipe.batch) == ("own", 3, 0.5, find("full").batch)
    for setting, words in (
        ("flip=0", "'flip' is no field"),
        ("augmentation.flop=0", "flop"),
        ("epochs", "SECTION.FIELD=VALUE"),
        ("augmentation.flip='x'", "augmentation.flip is 'x'"),
    ):
        with pytest.raises(RecipeError, match=words):
            recipe_of(Options(data="x", model="y", settings=(setting,)))


# --- the step ----------------------------------------------------------------------------------------------------


def step_of(config=TINY, **options) -> TrainingStep:
    torch.manual_seed(0)
    net = create_model(config, num_classes=3)
    recipe = recipe_of(Options(data="x", model="y", settings=("mixing.mixup=0.5", "optimiser.clip_norm=")))
    return TrainingStep(net, build(recipe, net, steps_per_epoch=4, batch=8, epochs=2), batch=8, epochs=2, **options)


def batches_of(parts: int):
    """One batch of 8, dealt out to `parts` shares as `TrainBatches` does."""
    from netwright.datasets import Batch
    from netwright.tune.samplers import Order, TrainBatches

    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    shares = TrainBatches(Order(8), 8, accumulate=parts)
    numbers = [torch.tensor([ticket.index for ticket in share]) for share in shares]
    return [Batch(images[n], n % 3, n) for n in numbers]


def test_accumulating_is_the_step_of_the_whole_batch_where_nothing_is_normalised_over_it():
    config = dataclasses.replace(TINY, norm="group", stages=tuple(_for_groups(stage) for stage in TINY.stages))
    whole, parts = step_of(config), step_of(config)
    for t in range(3):
        one, many = whole(t, batches_of(1)), parts(t, batches_of(4))
        assert one.loss.item() == pytest.approx(many.loss.item(), rel=1e-6)
    for name, tensor in whole.net.state_dict().items():
        torch.testing.assert_close(tensor, parts.net.state_dict()[name], rtol=1e-4, atol=1e-6)


def _for_groups(stage):
    return dataclasses.replace(stage, mid_channels=32, out_channels=32)


@pytest.mark.parametrize("precision", ("bf16", "fp16"))
def test_half_precision_trains_and_keeps_the_weights_whole(precision):
    half, full = step_of(precision=precision), step_of()
    for t in range(3):
        coarse, fine = half(t, batches_of(1)).loss.item(), full(t, batches_of(1)).loss.item()
        assert coarse == pytest.approx(fine, rel=0.05) and coarse != fine
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in half.net.parameters())
    again = step_of(precision=precision)
    again.load_state_dict(half.state_dict())
    assert half(3, batches_of(1)).loss.equal(again(3, batches_of(1)).loss)


def test_checkpointed_gradients_and_channels_last_are_the_same_step():
    plain, saving = step_of(), step_of()
    saving.net.to(memory_format=torch.channels_last).set_grad_checkpointing()
    for t in range(3):
        assert plain(t, batches_of(1)).loss.item() == pytest.approx(saving(t, batches_of(1)).loss.item(), rel=1e-5)


def test_a_compiled_net_is_trained_like_the_net_itself(folder, tmp_path, monkeypatch):
    whole = torch.compile
    # The graph is traced and differentiated as ever; only the minutes of generating code are left out.
    monkeypatch.setattr(torch, "compile", lambda net: whole(net, backend="aot_eager"))
    plain, compiled = (quick(folder, tmp_path / str(on), recipe="layerwise", compile=on) for on in (False, True))
    losses = [[line["loss"] for line in run.history.steps] for run in (plain, compiled)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert plain.net.state_dict().keys() == compiled.net.state_dict().keys()


def test_a_step_depends_on_its_number_and_the_net_alone():
    one, other = step_of(), step_of()
    torch.manual_seed(5), torch.rand(7)
    assert one(0, batches_of(1)).loss.equal(other(0, batches_of(1)).loss)
    with pytest.raises(ValueError, match="fp32, bf16, fp16"):
        step_of(precision="fp8")


# --- what goes wrong ---------------------------------------------------------------------------------------------


def test_bad_pictures_are_stood_in_for_counted_and_named(folder, tmp_path):
    (folder / "class 1" / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    cut = (folder / "class 2" / "0.png").read_bytes()
    (folder / "class 2" / "0.png").write_bytes(cut[:200])
    run = quick(folder, tmp_path / "run")
    named = {Path(where).name: sentence for where, sentence in run.history.end["bad"]}
    assert set(named) == {"broken.jpg", "0.png"} and all(named.values())
    assert "broken.jpg" in (run.folder / REPORT).read_text(encoding="utf-8")
    assert [line["step"] for line in run.history.epochs] == [3, 6]  # the epochs keep their length


def test_pictures_that_can_none_of_them_be_opened_stop_the_run_by_name(folder, tmp_path):
    for picture in folder.rglob("*.png"):
        picture.write_bytes(b"no picture")
    with pytest.raises(TrainingStopped, match=r"No picture of a batch could be opened.*\.png"):
        quick(folder, tmp_path / "run")


@pytest.mark.parametrize(
    "error",
    (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    ),
)
def test_too_little_memory_brings_the_batch_that_fits_and_keeps_the_recipe(folder, tmp_path, monkeypatch, error):
    def full(self, step, batch):
        raise error

    monkeypatch.setattr(TrainingStep, "loss", full)
    with pytest.raises(TrainingStopped, match=r"6 pictures at once.*--accumulate 2 .*batch of 6 in parts of 3"):
        quick(folder, tmp_path / "run")


def test_another_error_is_not_taken_for_too_little_memory(folder, tmp_path, monkeypatch):
    def wrong(self, step, batch):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(TrainingStep, "loss", wrong)
    with pytest.raises(RuntimeError, match="mat1"):
        quick(folder, tmp_path / "run")


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_way_out(folder, tmp_path):
    with pytest.raises(TrainingStopped, match="no longer a number in epoch .*lower rate"):
        quick(folder, tmp_path / "run", lr=1e30, epochs=4)


def folder_of(kind: str, home: Path) -> Path:
    folder = write_folder(home / kind)
    match kind:
        case "empty":
            for picture in folder.rglob("*.png"):
                picture.unlink()
        case "one class":
            for picture in folder.rglob("*.png"):
                if picture.parent.name != "class 0":
                    picture.unlink()
            for name in ("class 1", "class 2"):
                (folder / name).rmdir()
        case "one picture":
            for picture in (folder / "class 2").glob("[1-9].png"):
                picture.unlink()
        case "file":
            return next((folder / "class 0").iterdir())
        case "missing":
            return folder / "nowhere"
    return folder


@pytest.mark.parametrize(
    "kind, words, expected",
    (
        ("empty", (), "picture"),
        ("one class", (), "class 0"),
        ("one picture", (), "class 2"),
        ("file", (), "is a file. Give the folder"),
        ("missing", (), "nowhere"),
        ("good", ("--num-classes", "5"), "--num-classes 5, and good has 3 classes"),
        ("good", ("--batch", "500"), "--batch 500 is more than the"),
        ("good", ("--recipe", "fulll"), "full"),
        ("good", ("--set", "augmentation.flop=1"), "flop"),
        ("good", ("--epochs", "0"), "epochs=0"),
        ("good", ("--device", "warp"), "warp"),
        ("good", ("--size", "33"), "33x33|cannot be cut|9x9|multiples"),
        ("good", ("--model", "resnet5O"), "resnet50"),
        ("good", ("--weights", "nowhere.pth"), "nowhere.pth"),
        ("good", ("--weights", "nowhere"), "nowhere"),
        ("good", ("--set", "optimiser.name=lamb"), "lamb has no momentum"),
    ),
)
def test_what_cannot_be_is_refused_in_a_sentence(kind, words, expected, tmp_path, capsys):
    data = folder_of(kind, tmp_path)
    command = [
        "finetune",
        data,
        "--model",
        "tiny",
        "--weights",
        "none",
        "--size",
        "32",
        "--epochs",
        "1",
        "--batch",
        "6",
    ]
    command += ["--workers", "0", "--no-tensorboard", "--out", tmp_path / "run"]
    status, _, told = run(*command, *words, capsys=capsys)
    last = told.strip().splitlines()[-1] if told.strip() else ""
    assert status == 2, told
    assert re.search(expected, told), told
    assert "Traceback" not in told and last.endswith((".", "?", ")", "optimiser.nesterov="))


def test_a_folder_that_cannot_be_written_is_refused(folder, tmp_path, monkeypatch):
    def read_only(self, *arguments, **options):  # the tests may run as root, whom no such folder stops
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(FinetuneError, match="Permission denied.*Name another folder"):
        quick(folder, tmp_path / "closed" / "run")


def test_a_run_whose_folder_is_a_file_is_refused(folder, tmp_path):
    (tmp_path / "taken").write_text("something of the user's")
    with pytest.raises(FinetuneError, match="--out"):
        quick(folder, tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "something of the user's"


def test_two_trainings_cannot_share_a_folder(folder, tmp_path):
    from filelock import FileLock

    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"), pytest.raises(FinetuneError, match="Another process"):
        quick(folder, tmp_path / "run")
    quick(folder, tmp_path / "run")  # and the lock is given back
    assert read_log(tmp_path / "run").end is not None


def test_a_file_of_elsewhere_does_not_pass_for_a_net_of_ours(tmp_path):
    save_file(create_model("tiny", num_classes=3).state_dict(), tmp_path / "bare.safetensors")
    for path, words in (
        (tmp_path / "bare.safetensors", "not saved by netwright"),
        (tmp_path / "none", "no file"),
        (tmp_path, "best.safetensors"),
    ):
        with pytest.raises(trained.NotTrainedHere, match=words):
            load_run(path)


def test_a_trained_net_keeps_its_preprocessing_whatever_it_is_made_into(folder, tmp_path):
    run = quick(folder, tmp_path / "run", size=64)
    file = run.folder / trained.BEST
    maps = create_model("tiny", weights=file, features_only=True)
    assert transform_for(maps).input_size == (64, 64)
    fresh = create_model("tiny", weights=file, num_classes=9)
    assert not hasattr(fresh, "class_names") and transform_for(fresh).input_size == (64, 64)
    assert same({"w": fresh.stem[0].conv.weight}, {"w": run.net.stem[0].conv.weight})


def test_published_weights_say_so_when_they_cannot_be_had(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NETWRIGHT_OFFLINE", "1")
    status, _, told = run("finetune", folder, "--model", "resnet18", "--out", tmp_path / "run", capsys=capsys)
    assert status == 2 and "resnet18" in told and "network" in told


def test_the_command_says_where_everything_is(folder, tmp_path, capsys):
    command = ["finetune", folder, "--model", "tiny", "--weights", "none", "--size", "32", "--epochs", "1"]
    command += ["--batch", "6", "--workers", "0", "--out", tmp_path / "run"]
    status, said, told = run(*command, capsys=capsys)
    assert status == 0 and "on the validation split" in said and str(tmp_path / "run" / REPORT) in said
    assert "epoch 1 of 1" in told
    assert (tmp_path / "run" / "tensorboard").is_dir()
    status, said, _ = run("recipes", capsys=capsys)
    assert status == 0 and all(name in said for name in ("head_only", "ssl", "resnest", "a1"))
    status, said, _ = run("recipes", "a1", capsys=capsys)
    assert status == 0 and "lamb" in said and "2110.00476" in said
