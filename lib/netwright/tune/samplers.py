"""In which order pictures are seen, and by whom: shuffling, repeated augmentation, shares for ranks. Imports torch."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch.utils.data import Sampler


class Ticket(NamedTuple):
    """One picture to be seen once: which, in which epoch, and its how-manieth copy in that epoch.

    A sampler hands these to the dataset in place of a bare index, because they are all that a random augmentation
    may depend on. (An epoch told to the dataset object would not reach workers that are already running.)
    """

    index: int
    epoch: int = 0
    copy: int = 0


class TrainSampler(Sampler[Ticket]):
    """A new random order every epoch, dealt out to `world` ranks in turn: rank, rank + world, …

    Every rank gets equally many, or they would wait for each other for ever; the order starts again where it takes
    that (as torch's DistributedSampler does).

    With `repeats` above 1 (repeated augmentation: Hoffer et al. 2020, Berman et al. 2019) each picture stands that
    many times in a row, every copy with an augmentation of its own, and the epoch ends when as many pictures have
    been seen as there are: each epoch sees a random third of them, three times. The epoch is then cut down to a
    multiple of 256, as in timm's RepeatAugSampler, with which the A1 nets were trained.

    Resume: `start_at(epoch, seen)`. What has been *trained* on is known to the training loop alone; a sampler is
    always ahead of it, by what the data loader's workers have already fetched.
    """

    ROUND = 256

    def __init__(self, length: int, *, seed: int = 0, repeats: int = 1, rank: int = 0, world: int = 1):
        if length < 1:
            raise ValueError("There is no picture to train on: the data set is empty.")
        if not 0 <= rank < world or repeats < 1:
            raise ValueError(f"rank={rank}, world={world}, repeats={repeats}: ranks count from 0, repeats from 1.")
        self.length, self.seed, self.repeats, self.rank, self.world = length, seed, repeats, rank, world
        self.start_at(epoch=0)

    def start_at(self, epoch: int, seen: int = 0) -> None:
        """The next iteration is the rest of `epoch`, after `seen` of this rank's pictures."""
        if not 0 <= seen <= len(self):
            raise ValueError(f"An epoch has {len(self)} pictures for each rank, so {seen} cannot have been seen.")
        self.epoch, self.seen = epoch, seen

    def __len__(self) -> int:
        """Pictures of a whole epoch for one rank."""
        if self.repeats == 1 or self.length < self.ROUND:
            return math.ceil(self.length / self.world)
        return self.length // self.ROUND * self.ROUND // self.world

    def __iter__(self) -> Iterator[Ticket]:
        # With seed + epoch, seed 1 would see what seed 0 sees an epoch later. Torch reads the low 32 bits only.
        shuffle = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % 2**32)
        order = torch.randperm(self.length, generator=shuffle).tolist()
        places = self.length * self.repeats
        for i in range(self.seen, len(self)):
            round_trip, place = divmod(self.rank + i * self.world, places)
            copy = place % self.repeats + round_trip * self.repeats  # wrapped around, it is yet another copy
            yield Ticket(order[place // self.repeats], self.epoch, copy)


class EvalSampler(Sampler[Ticket]):
    """Every picture exactly once over all ranks: rank, rank + world, … as far as the pictures go.

    Nothing is repeated to make the ranks equal, so the last ranks may get one less; the counts are to be summed over
    the ranks at the end, with no exchange in between.
    """

    def __init__(self, length: int, *, rank: int = 0, world: int = 1):
        if not 0 <= rank < world:
            raise ValueError(f"rank={rank} does not exist among {world}: ranks count from 0.")
        self.indices = range(rank, length, world)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Ticket]:
        return (Ticket(index) for index in self.indices)
