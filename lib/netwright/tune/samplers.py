"""In which order pictures are trained on, and who gets which: shuffling, repeated augmentation, shares. Imports datasets."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from netwright.datasets.inputs import Ticket


@dataclass(frozen=True)
class Order:
    """A new random order of `length` pictures every epoch.

    With `repeats` above 1 (repeated augmentation: Hoffer et al. 2020, Berman et al. 2019) each picture stands that
    many times in a row, every copy with an augmentation of its own, and the epoch ends when as many pictures have
    been seen as there are: each epoch sees a random third of them, three times. The epoch is then cut down to a
    multiple of 256, as in timm's RepeatAugSampler, with which the A1 nets were trained.

    Where pictures never run out (the toy world), `endless` gives each epoch `length` that no other has shown.
    """

    ROUND = 256

    length: int
    seed: int = 0
    repeats: int = 1
    endless: bool = False

    def __post_init__(self):
        if self.length < 1:
            raise ValueError("There is no picture to train on: the data set is empty.")
        if self.repeats < 1:
            raise ValueError(f"repeats={self.repeats} shows no picture: choose 1 or more.")

    def __len__(self) -> int:
        """Pictures of an epoch."""
        whole = self.repeats == 1 or self.length < self.ROUND
        return self.length if whole else self.length // self.ROUND * self.ROUND

    def tickets(self, epoch: int) -> list[Ticket]:
        """The pictures of `epoch` in their order."""
        # With seed + epoch, seed 1 would see what seed 0 sees an epoch later. Torch reads the low 32 bits only.
        shuffle = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**32)
        first = epoch * self.length if self.endless else 0
        order = (first + torch.randperm(self.length, generator=shuffle)).tolist()
        return [Ticket(order[place // self.repeats], epoch, place % self.repeats) for place in range(len(self))]


class TrainBatches:
    """What one rank is shown: for every optimiser step `accumulate` lists of tickets, one after the other.

    A step is `batch` pictures in a row of the epoch's order, dealt out to world * accumulate shares. Picture i of a
    batch and its mirror image, batch - 1 - i, are always in one share and are mirror images there too. So whoever
    mixes a picture with its mirror image (see `Mixing`) mixes the same two, however many devices there are: the
    training is that of one process with the whole batch. What an epoch has left over after its last whole batch is
    not shown; the next epoch leaves out others.

    Resume: `start_at(step)`, counted over the whole training. What has been *trained* on is known to the training
    loop alone; a sampler is always ahead of it, by what the data loader's workers have already fetched.
    """

    def __init__(
        self, order: Order, batch: int, *, epochs: int = 1, accumulate: int = 1, rank: int = 0, world: int = 1
    ):
        if not 1 <= batch <= len(order):
            raise ValueError(f"A batch of {batch} cannot be taken from an epoch of {len(order)} pictures.")
        if not 0 <= rank < world:
            raise ValueError(f"rank={rank} does not exist among {world}: ranks count from 0.")
        if world * accumulate > (batch + 1) // 2:
            raise ValueError(
                f"A batch of {batch} cannot be dealt out to {world} devices with accumulate={accumulate}: a share is "
                f"at least a pair. Choose a batch of {2 * world * accumulate} or more."
            )
        self.order, self.batch, self.epochs, self.accumulate = order, batch, epochs, accumulate
        self.rank, self.world, self.step = rank, world, 0

    @property
    def steps_per_epoch(self) -> int:
        return len(self.order) // self.batch

    def start_at(self, step: int) -> None:
        """The next iteration begins at this optimiser step, from 0 up."""
        self.step = step

    def __len__(self) -> int:
        """Lists of tickets from here to the end of the training."""
        return (self.epochs * self.steps_per_epoch - self.step) * self.accumulate

    def __iter__(self) -> Iterator[list[Ticket]]:
        first_epoch, first_step = divmod(self.step, self.steps_per_epoch)
        for epoch in range(first_epoch, self.epochs):
            tickets = self.order.tickets(epoch)
            for step in range(first_step if epoch == first_epoch else 0, self.steps_per_epoch):
                batch = tickets[step * self.batch : (step + 1) * self.batch]
                for micro in range(self.accumulate):
                    yield self.share(batch, micro * self.world + self.rank)

    def share(self, batch: list[Ticket], number: int) -> list[Ticket]:
        """The part of `batch` that share `number` of world * accumulate gets, in the batch's order."""
        shares, last = self.world * self.accumulate, len(batch) - 1
        return [ticket for i, ticket in enumerate(batch) if min(i, last - i) % shares == number]
