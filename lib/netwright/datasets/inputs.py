"""From pictures to batches of inputs, by the workers of a data loader. Imports datasets.pictures, images, torch."""

import math
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from netwright.datasets.pictures import PictureSet
from netwright.images import ImageError


class Ticket(NamedTuple):
    """One picture to be seen once: which, in which epoch, and its how-manieth copy in that epoch.

    A sampler hands these to the data set in place of a bare index, because they are all that a random augmentation
    may depend on. (An epoch told to the data set would not reach workers that are already running.)
    """

    index: int
    epoch: int = 0
    copy: int = 0


@dataclass
class Batch:
    """images: float32 (n, 3, height, width); targets and indices: int64 (n,), class and number of each picture.

    bad: (number, sentence) of every picture that was asked for and could not be opened; it is not among the n.
    """

    images: Tensor
    targets: Tensor
    indices: Tensor
    bad: list[tuple[int, str]] = field(default_factory=list)

    def pin_memory(self):
        """Asked for by a data loader that feeds a GPU."""
        self.images, self.targets = self.images.pin_memory(), self.targets.pin_memory()
        return self


class Inputs(Dataset):
    """`pictures` as inputs of a net. make(picture, ticket) gives one input, float32 (3, height, width).

    make_all(pixels), where it is given, makes all inputs of a batch from the pixels of a set that has them at once.
    A picture that cannot be opened is left out; with `replace` the next one of its class stands in for it, so that
    training keeps its batches, on every rank, at their size.
    """

    def __init__(
        self,
        pictures: PictureSet,
        make: Callable[[Image.Image, Ticket], Tensor],
        make_all: Callable[[Tensor], Tensor] | None = None,
        *,
        replace: bool = False,
    ):
        self.pictures, self.make, self.make_all, self.replace = pictures, make, make_all, replace

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitems__(self, tickets: Sequence[Ticket]) -> Batch:
        """A whole batch at once: a data loader asks so, and needs no collation then."""
        numbers = [ticket.index for ticket in tickets]
        if self.make_all is not None and (pixels := self.pictures.pixels(numbers)) is not None:
            return self._batch(self.make_all(pixels), numbers, [])
        inputs, used, bad = [], [], []
        for ticket in tickets:
            found = self._input(ticket, bad)
            if found is not None:
                used.append(found[0])
                inputs.append(found[1])
        if not inputs:
            return Batch(torch.empty(0), torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), bad)
        return self._batch(torch.stack(inputs), used, bad)

    def _batch(self, images: Tensor, numbers: list[int], bad: list) -> Batch:
        indices = torch.tensor(numbers)
        return Batch(images, torch.from_numpy(self.pictures.targets)[indices], indices, bad)

    def _input(self, ticket: Ticket, bad: list) -> tuple[int, Tensor] | None:
        """(number, input) of the picture, or with `replace` of the next of its class that can be used, or None."""
        for candidate in self._candidates(ticket.index):
            try:
                return candidate, self.make(self.pictures.picture(candidate), ticket)
            except (ImageError, OSError) as error:  # it cannot be opened, or it cannot be made into an input
                bad.append((candidate, str(error)))
        return None

    def _candidates(self, index: int):
        yield index
        if self.replace:
            alike = (self.pictures.targets == self.pictures.targets[index]).nonzero()[0].tolist()
            place = alike.index(index)
            yield from alike[place + 1 :] + alike[:place]


class EveryPicture:
    """Batches of tickets that show every picture exactly once over all ranks: rank, rank + world, … of each.

    Nothing is repeated to make the ranks equal, so some get one less; counts are to be added up over the ranks at the
    end, with no exchange in between.
    """

    def __init__(self, length: int, batch: int, *, rank: int = 0, world: int = 1):
        if not 0 <= rank < world:
            raise ValueError(f"rank={rank} does not exist among {world}: ranks count from 0.")
        if batch < 1:
            raise ValueError(f"batch={batch} shows nothing: choose 1 or more.")
        self.indices, self.batch = range(rank, length, world), batch

    def __len__(self) -> int:
        """Batches of this rank."""
        return math.ceil(len(self.indices) / self.batch)

    def __iter__(self) -> Iterator[list[Ticket]]:
        for start in range(0, len(self.indices), self.batch):
            yield [Ticket(index) for index in self.indices[start : start + self.batch]]


def loader(inputs: Inputs, batches, *, workers: int = 0, pin: bool = False) -> DataLoader:
    """A data loader over `batches`, an iterable of lists of tickets; each becomes a `Batch`.

    workers: processes that prepare batches ahead; 0 does it in this one. The result is the same for any number.
    """
    return DataLoader(
        inputs,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_leave_signals_to_the_parent,
    )


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C and the end of a cluster's job reach the whole group of processes; who is trained decides when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _as_it_is(batch: Batch) -> Batch:
    return batch
