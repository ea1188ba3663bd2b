"""Every picture exactly once, by the net in evaluation mode, whatever the batch, the workers and the ranks."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import netwright as nw
from netwright.datasets import PictureSet, ToyPictures
from netwright.evaluate import EvaluationError, predict
from netwright.evaluate.predictions import asked
from netwright.images import ImageError
from netwright.nets import resnet
from netwright.toys import ToyWorld
from netwright.transforms import Transform

ROOT = Path(__file__).parents[1]


class Squares(PictureSet):
    """Ten pictures of different sizes, the fourth broken; every one is grey, the lighter the later."""

    name, class_names, targets = "squares", ("even", "odd"), np.arange(10) % 2

    def picture(self, index):
        if index == 3:
            raise ImageError("squares/3 is damaged.")
        return Image.new("RGB", (40 + index, 50 - index), (25 * index,) * 3)

    def where(self, index):
        return f"squares/{index}"


class Mean(nn.Module):
    """Two logits, minus and plus the mean of the input; its BatchNorm would drift in training mode."""

    num_classes, config = 2, resnet.CONFIGS["resnet18"]

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.frozen = nn.BatchNorm2d(3).eval()

    def forward(self, x):
        mean = self.frozen(self.norm(x)).mean(dim=(1, 2, 3))
        return torch.stack([-mean, mean], dim=1)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nw.create_model("resnet18", num_classes=20)


@pytest.fixture(scope="module")
def toys():
    return ToyPictures(ToyWorld("val", size=32, length=23))


def test_each_picture_is_answered_as_the_net_answers_it_alone(net, toys):
    transform = nw.transform_for(net, input_size=64)
    found = predict(net, toys, transform=transform, batch=5)
    assert found.indices.tolist() == list(range(23)) and found.targets.tolist() == toys.targets.tolist()
    assert (found.name, found.class_names, found.bad) == (toys.name, toys.class_names, []) and found.seconds > 0
    net.eval()
    with torch.inference_mode():
        for i in (0, 4, 5, 22):
            alone = net(transform(toys.picture(i))[None])[0]
            assert torch.allclose(found.logits[i], alone, rtol=1e-4, atol=1e-5)
    assert torch.equal(found.answers, found.probabilities.argmax(dim=1))


def test_a_net_is_asked_in_evaluation_mode_and_left_as_it_was():
    net = Mean()
    net.norm.running_mean.fill_(0.3)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    first, second = (predict(net, Squares(), batch=batch).logits for batch in (3, 10))
    assert torch.equal(first, second)  # of its batch's own statistics they would depend on the batch
    assert net.training and net.norm.training and not net.frozen.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with pytest.raises(RuntimeError), asked(net):
        raise RuntimeError
    assert net.norm.training and not net.frozen.training and torch.is_grad_enabled()


def test_a_broken_picture_is_left_out_counted_and_named():
    found = predict(Mean(), Squares(), batch=4)
    assert found.indices.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert found.targets.tolist() == [0, 1, 0, 0, 1, 0, 1, 0, 1]
    assert found.bad == [("squares/3", "squares/3 is damaged.")]
    assert found.logits[:, 1].diff().gt(0).all()  # the pictures came in their order
    alone = predict(Mean(), Squares(), batch=1)
    assert torch.allclose(alone.logits, found.logits) and alone.bad == found.bad


def test_workers_change_nothing(net, toys):
    transform = nw.transform_for(net, input_size=32)
    here, there = (predict(net, toys, transform=transform, batch=7, workers=workers) for workers in (0, 2))
    assert torch.equal(here.logits, there.logits) and torch.equal(here.indices, there.indices)


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d_ssl", "resnext50_32x4d.openmmlab_in1k", "resnest50d"])
def test_pixels_that_come_as_a_batch_are_normalised_to_the_same_bits(name, toys):
    found = nw.list_weights(name)
    preprocessing = (found or nw.list_weights("resnet18*"))[0].preprocessing
    transform = Transform(preprocessing, input_size=32, crop_pct=1.0)
    one_by_one = torch.stack([transform(toys.picture(i)) for i in range(23)])
    assert torch.equal(transform.normalise(toys.pixels(range(23))), one_by_one)


@pytest.mark.parametrize(
    "options", [{"crop_pct": 1.0}, {"crop_pct": 0.8}, {"input_size": 48}, {"input_size": (32, 24)}]
)
def test_a_set_with_pixels_is_answered_as_one_without(options, net, toys):
    class OneByOne(ToyPictures):
        def pixels(self, indices):
            return super().pixels(indices) if len(indices) == 1 and self.alone else None

        alone = False

        def picture(self, index):
            return Image.fromarray(ToyPictures.pixels(self, [index])[0].permute(1, 2, 0).numpy())

    transform = nw.transform_for(net, **{"input_size": 32, **options})
    found = predict(net, toys, transform=transform)
    assert torch.equal(found.logits, predict(net, OneByOne(toys.world), transform=transform).logits)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_agrees_to_its_digits(precision, net, toys):
    transform = nw.transform_for(net, input_size=32)
    full, half = (predict(net, toys, transform=transform, precision=it).logits for it in ("fp32", precision))
    assert half.dtype == torch.float32 and not torch.equal(full, half)
    assert (full - half).abs().max() < 0.05 * full.std()
    with torch.autocast("cpu", torch.bfloat16):  # a training loop's own context does not leak in
        assert torch.equal(predict(net, toys, transform=transform).logits, full)


def test_an_optimised_net_is_asked_too(net, toys):
    transform = nw.transform_for(net, input_size=32)
    plain, fused = predict(net, toys, transform=transform), predict(nw.optimize(net), toys, transform=transform)
    assert torch.allclose(plain.logits, fused.logits, rtol=1e-3, atol=1e-4)


RANKS = """
import sys, torch, torch.distributed as dist
from netwright.datasets import ToyPictures
from netwright.evaluate import measure, predict
from netwright.toys import ToyWorld
import netwright as nw
torch.set_num_threads(1)
rank, world, store, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
if world > 1:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
torch.manual_seed(0)
net = nw.create_model("resnet18", num_classes=20)
found = {}
for length in (1, 2, 7, 20, 21):
    toys = ToyPictures(ToyWorld("val", size=32, length=length))
    found[length] = predict(net, toys, transform=nw.transform_for(net, input_size=32), batch=3)
torch.save({n: (p.logits, p.targets, p.indices, measure(p).top1.count) for n, p in found.items()}, f"{out}/{world}-{rank}")
"""


def test_two_ranks_count_every_picture_exactly_once_for_sizes_that_do_not_divide(tmp_path):
    places = [(0, 1), (0, 2), (1, 2)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RANKS, str(rank), str(world), str(tmp_path / "store"), str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(ROOT / "lib")},
        )
        for rank, world in places
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    alone, first, second = (torch.load(tmp_path / f"{world}-{rank}") for rank, world in places)
    for length, (logits, targets, indices, count) in alone.items():
        assert indices.tolist() == list(range(length))
        for other in (first[length], second[length]):
            assert torch.equal(other[2], indices) and torch.equal(other[1], targets) and other[3] == count
            assert torch.allclose(other[0], logits, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_asked_is_refused(net, toys):
    with pytest.raises(EvaluationError, match="precision='int8' is none of fp32, bf16, fp16"):
        predict(net, toys, precision="int8")
    with pytest.raises(EvaluationError, match="The net has 20 classes, and squares has 2"):
        predict(net, Squares())
    empty = Squares()
    empty.targets = np.empty(0, dtype=np.int64)
    with pytest.raises(EvaluationError, match="squares holds no picture"):
        predict(Mean(), empty)
    wrong = Mean()
    wrong.forward = lambda x: torch.zeros(len(x), 3)
    with pytest.raises(EvaluationError, match=r"gives \(10, 3\), not 2 logits|gives \(9, 3\), not 2 logits"):
        predict(wrong, Squares())


def test_a_batch_that_memory_does_not_hold_is_told_with_a_smaller_one():
    net = Mean()

    def full(x):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    net.forward = full
    with pytest.raises(EvaluationError, match="10 pictures at once.*|9 pictures at once.*choose --batch 4"):
        predict(net, Squares())


def test_a_net_in_half_precision_gets_inputs_of_its_own_type():
    assert predict(Mean().to(torch.float64), Squares()).logits.dtype == torch.float32
