"""Two processes train like one with the whole batch, and count every picture once."""

import copy
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing, nn

from netwright.ranks import ranks, summed
from netwright.tune import checkpoint
from netwright.tune.batchnorm import SynchronisedBatchNorm, synchronise
from netwright.tune.finetune import finetune
from netwright.tune.history import read_log
from netwright.tune.loop import LAST, TrainingStopped
from tiny_training import same, tiny_net, write_folder

RUN = {
    "model": "tiny",
    "recipe": "full",
    "weights": "none",
    "size": 32,
    "length": 60,
    "epochs": 4,
    "batch": 15,  # odd, so that the shares differ in size
    "lr": 0.02,
    "workers": 0,
    "tensorboard": False,
    "progress": False,
    "settings": ("mixing.mixup=0.3", "mixing.cutmix=1.0", "optimiser.clip_norm=1.0"),
}
LIBRARY = Path(checkpoint.__file__).parents[2]
SPLITS = {"train": 60, "val": 41, "test": 40, "novel": 40}


def together(world: int, work, *arguments) -> None:
    """Run `work(*arguments)` in `world` processes that have joined."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.start_processes(_join, (world, port, work, arguments), nprocs=world, start_method="fork")


def _join(rank: int, world: int, port: int, work, arguments) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world)
    work(*arguments)
    dist.destroy_process_group()


def train(folder: Path, **changes) -> None:
    with pytest.MonkeyPatch.context() as patch, tiny_net():
        patch.setattr("netwright.toys.world.SPLITS", SPLITS)
        finetune("toy", out=str(folder), **RUN | changes)


def numbers(folder: Path, *names: str) -> torch.Tensor:
    """These fields of all steps and epochs that have them."""
    history = read_log(folder)
    lines = [line[name] for line in history.steps + history.epochs for name in names if name in line]
    return torch.tensor(lines, dtype=torch.float64)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of a run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    train(folder)
    return folder


@pytest.mark.parametrize("world", (2, 3))
def test_ranks_train_like_one_process_with_the_whole_batch(alone, tmp_path, world):
    together(world, train, tmp_path)
    found, wanted = (numbers(folder, "loss", "train_loss", "rate") for folder in (tmp_path, alone))
    assert len(wanted) == 2 * 16 + 4
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)
    # Float32 loses a little more in what lies behind the loss.
    norms = (numbers(folder, "grad_norm", "val_loss", "ema_val_loss") for folder in (tmp_path, alone))
    torch.testing.assert_close(*norms, rtol=1e-5, atol=0)
    one, other = (checkpoint.load(folder / LAST)["step"]["net"] for folder in (tmp_path, alone))
    for name, tensor in one.items():  # the buffers of BatchNorm too
        torch.testing.assert_close(tensor, other[name], rtol=1e-4, atol=1e-5)


def test_without_synchronised_statistics_it_is_another_training(alone, tmp_path):
    together(2, lambda folder: train(folder, local_batchnorm=True), tmp_path)
    found, wanted = (numbers(folder, "loss") for folder in (tmp_path, alone))
    assert (found - wanted).abs().max() > 1e-3


def test_what_two_ranks_began_one_goes_on_with(alone, tmp_path):
    together(2, train_five_steps, tmp_path)
    assert checkpoint.load(tmp_path / LAST)["done"] in (5, 6)  # the ranks agree on a step
    train(tmp_path)
    found, wanted = (numbers(folder, "loss", "train_loss") for folder in (tmp_path, alone))
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)


def train_five_steps(folder: Path) -> None:
    from netwright.tune.loop import Training

    def asked_at_five(self):
        self.stop_asked = ranks().rank == 1 and self.done >= 5  # a signal reaches one of them only
        return perhaps(self)

    perhaps = Training._perhaps_save_or_stop
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "_perhaps_save_or_stop", asked_at_five)
        with pytest.raises(TrainingStopped):
            train(folder)


def test_torchrun_takes_the_options_of_one_process(tmp_path):
    data = write_folder(tmp_path / "data", pictures=5)
    command = ["finetune", data, "--model", "resnet18", "--weights", "none", "--recipe", "head_only", "--epochs", "1"]
    command += ["--size", "32", "--workers", "0", "--batch", "6", "--out", tmp_path / "run", "--device", "cpu"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*map(str, [*launcher, "-m", "netwright", *command])],
        env={**os.environ, "PYTHONPATH": str(LIBRARY), "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("on the validation split") == 1  # the first rank alone speaks
    history = read_log(tmp_path / "run")
    assert history.start["ranks"] == 2 and history.end["bad"] == [] and len(history.epochs) == 1


# --- statistics over all devices ---------------------------------------------------------------------------------


def normalised(folder: Path, layer: nn.BatchNorm2d, x: torch.Tensor) -> None:
    """Three steps of a synchronised copy of `layer` on this rank's part of `x`; what comes out is saved."""
    layer = synchronise(nn.Sequential(layer))[0]
    assert type(layer) is SynchronisedBatchNorm
    here = ranks()
    part = torch.tensor_split(x, (3,))[here.rank].clone().requires_grad_()
    for _ in range(3):
        out = layer(part)
        ((out**3).sum()).backward()
    gradients = [summed(p.grad) for p in layer.parameters()]
    torch.save({"out": out, "x": part.grad, "p": gradients, "state": layer.state_dict()}, folder / f"{here.rank}.pt")


def test_synchronised_statistics_are_those_of_the_whole_batch(tmp_path):
    torch.manual_seed(0)
    layer = nn.BatchNorm2d(5, momentum=0.3).double()
    nn.init.uniform_(layer.weight), nn.init.uniform_(layer.bias)
    x = torch.randn(8, 5, 4, 3, dtype=torch.float64) * 3 + 1
    together(2, normalised, tmp_path, copy.deepcopy(layer), x)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    whole = x.clone().requires_grad_()
    for _ in range(3):
        out = layer(whole)
        ((out**3).sum()).backward()
    torch.testing.assert_close(torch.cat([part["out"] for part in parts]), out)
    torch.testing.assert_close(torch.cat([part["x"] for part in parts]), whole.grad)
    for part in parts:
        torch.testing.assert_close(part["p"], [p.grad for p in layer.parameters()])
        torch.testing.assert_close(part["state"], layer.state_dict())
    assert same(parts[0]["state"], parts[1]["state"])
