"""A net that was just built learns the toy world for some seconds, so that the reader sees it learn. Imports figures, toys.

It is a look, not a measurement: notebook 10 trains properly, and notebook 11 says what a result is worth.
"""

import math
import time
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netwright import figures
from netwright.toys import CLASSES, ToyWorld, groups

MEAN, STD = 0.5, 0.25  # near enough to those of the toy world's pictures
TEST_PICTURES = 200


@dataclass(frozen=True)
class Learning:
    """What came of a training: the loss of each step, and the test pictures with what the net says of them.

    images: uint8 (pictures, 3, side, side); labels and answers: (pictures,), numbers in `classes`.
    """

    losses: tuple[float, ...]
    images: Tensor
    labels: Tensor
    answers: Tensor
    classes: tuple[str, ...]
    seconds: float

    @property
    def accuracy(self) -> float:
        """The share of test pictures, none of them shown in training, that the net names rightly."""
        return (self.answers == self.labels).double().mean().item()

    @property
    def chance(self) -> float:
        """What guessing would get."""
        return 1 / len(self.classes)


def learn_toys(
    net: nn.Module, *, group: str = "texture", steps: int = 400, batch: int = 16, size: int = 64, rate: float = 3e-3
) -> Learning:
    """Train `net` on one group of the toy world ("texture", "shape" or "relation"); the same numbers every time.

    net: pictures (batch, 3, size, size) to logits (batch, classes of the group); it is left in evaluation mode. AdamW,
    the rate rising over a tenth of the steps and falling along a cosine. A net of the size of the toy nets takes some
    ten seconds on two cores, and then names most textures rightly; shapes take longer. Raises ValueError
    for a group that does not exist or a net with another number of logits.
    """
    if group not in groups():
        raise ValueError(f"group={group!r} is none of {', '.join(groups())}.")
    classes = groups()[group]
    start = time.perf_counter()
    train, test = (
        _some(split, count, classes, size) for split, count in (("train", steps * batch), ("test", TEST_PICTURES))
    )
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.02)
    losses = []
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(0)
        net.train()
        for step, (images, labels) in enumerate(zip(train[0].split(batch), train[1].split(batch), strict=True)):
            optimiser.param_groups[0]["lr"] = rate * min(
                (step + 1) / (0.1 * steps), (1 + math.cos(math.pi * step / steps)) / 2
            )
            logits = net(normalised(images))
            if logits.shape != (batch, len(classes)):
                raise ValueError(f"The net's answer is {tuple(logits.shape)}; {group} wants {(batch, len(classes))}.")
            loss = F.cross_entropy(logits, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    net.eval()
    with torch.inference_mode():
        answers = torch.cat([net(normalised(images)).argmax(1) for images in test[0].split(50)])
    names = tuple(CLASSES[i].name for i in classes)
    return Learning(tuple(losses), *test, answers, names, time.perf_counter() - start)


@contextmanager
def one_thread():
    """torch computes in one thread: in nets this small, two mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def normalised(images: Tensor) -> Tensor:
    """uint8 pictures as the nets here are fed them."""
    return (images / 255 - MEAN) / STD


def draw_learning(learnings: Mapping[str, Learning], *, columns: int = 8) -> figures.Picture:
    """The loss of each net, and some test pictures with what the first of the nets says of them."""
    first = next(iter(learnings.values()))
    figure, axes = figures.subplots(1, 2, figsize=(9, 3.4), width_ratios=(1, 1.5))
    for name, learning in learnings.items():
        smooth = torch.tensor(learning.losses).unfold(0, 5, 1).mean(1)
        axes[0].plot(range(2, 2 + len(smooth)), smooth, label=f"{name}: {learning.accuracy:.0%} right")
    axes[0].axhline(math.log(len(first.classes)), color="#999999", linewidth=1, linestyle=":", label="guessing")
    room = 1 + 0.16 * (len(learnings) + 1)  # above the curves, which begin near guessing, for the legend
    axes[0].set(xlabel="step", ylabel="loss, mean of 5 steps", ylim=(0, math.log(len(first.classes)) * room))
    axes[0].legend(loc="upper right", fontsize=9)
    rows, side = 3, first.images.shape[-1]
    axes[1].axis("off")
    gap = side // 3
    for place in range(rows * columns):
        row, column = divmod(place, columns)
        left, top = column * (side + 4), row * (side + gap)
        axes[1].imshow(first.images[place].permute(1, 2, 0).numpy(), extent=(left, left + side, top + side, top))
        right = bool(first.answers[place] == first.labels[place])
        name = first.classes[first.answers[place]]
        axes[1].text(
            left + side / 2,
            top + side + 2,
            name if right else f"not {name}",
            ha="center",
            va="top",
            fontsize=7,
            color="black" if right else figures.CYCLE[1],
        )
    axes[1].set(xlim=(0, columns * (side + 4)), ylim=(rows * (side + gap), 0))
    spoken = "; ".join(
        f"{name} from {learning.losses[0]:.2f} to {sum(learning.losses[-5:]) / 5:.2f}, {learning.accuracy:.0%} of "
        f"{len(learning.labels)} test pictures right"
        for name, learning in learnings.items()
    )
    words = (
        f"Loss curves ({spoken}; guessing gets {first.chance:.0%}), and {rows * columns} test pictures with the answer."
    )
    return figures.show(figure, alt=words)


def _some(split: str, count: int, classes: list[int], size: int) -> tuple[Tensor, Tensor]:
    """`count` pictures of these classes, uint8, and their labels, counted from the first of the classes."""
    world = ToyWorld(split, size=size)
    labels = torch.from_numpy(world.labels())
    places = (torch.isin(labels, torch.tensor(classes))).nonzero()[:count, 0].tolist()
    batch = world.batch(places)
    return batch["image"], batch["label"] - classes[0]
