"""Who sees which picture when: the orders of torch and timm, exact resume, every test picture exactly once."""

from collections import Counter

import pytest
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from netwright.tune.samplers import EvalSampler, Ticket, TrainSampler
from peers import timm


class Echo(Dataset):
    """Gives back what it is asked for."""

    def __init__(self, length: int):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, ticket):
        return tuple(ticket)


@pytest.mark.parametrize("length", (1, 10, 11, 300))
@pytest.mark.parametrize("world", (1, 3, 4))
def test_an_epoch_is_dealt_out_as_torch_does(length, world):
    for rank in range(world):
        peer = DistributedSampler(range(length), world, rank, shuffle=True, seed=0)
        mine = TrainSampler(length, rank=rank, world=world)
        for epoch in (0, 5):
            peer.set_epoch(epoch)
            mine.start_at(epoch)
            assert [ticket.index for ticket in mine] == list(peer)
            assert len(mine) == len(peer)


@pytest.mark.parametrize("length", (100, 257, 1000))
@pytest.mark.parametrize("world", (1, 2, 3))
def test_repeated_augmentation_is_that_of_timm(length, world):
    for rank in range(world):
        peer = timm.data.distributed_sampler.RepeatAugSampler(range(length), world, rank)
        mine = TrainSampler(length, repeats=3, rank=rank, world=world)
        for epoch in (0, 2):
            peer.set_epoch(epoch)
            mine.start_at(epoch)
            assert [ticket.index for ticket in mine] == list(peer)
            assert len(mine) == len(peer)


@pytest.mark.parametrize("length, world, repeats", ((100, 2, 1), (101, 4, 1), (600, 3, 3), (5, 4, 3), (1, 3, 1)))
def test_no_two_sightings_of_an_epoch_share_a_ticket(length, world, repeats):
    tickets = [t for r in range(world) for t in TrainSampler(length, repeats=repeats, rank=r, world=world)]
    assert len(set(tickets)) == len(tickets)  # so each copy has an augmentation of its own


def test_repeats_stand_in_a_row_and_ranks_share_them():
    alone = [t.index for t in TrainSampler(512, repeats=3)]
    assert Counter(Counter(alone).values()) == {3: 170, 2: 1}
    shares = [[t.index for t in TrainSampler(512, repeats=3, rank=r, world=3)] for r in range(3)]
    assert shares[0] == shares[1] == shares[2]


@pytest.mark.parametrize("repeats", (1, 3))
def test_a_resumed_epoch_is_the_rest_of_it_with_any_number_of_workers(repeats):
    mine = TrainSampler(300, seed=4, repeats=repeats, rank=1, world=2)
    mine.start_at(epoch=7)
    whole = list(mine)
    for seen in (0, 1, 40, len(mine)):
        mine.start_at(7, seen)
        assert list(mine) == whole[seen:]
    mine.start_at(7, 40)
    for workers in (0, 2):
        fetched = [
            Ticket(*row)
            for batch in DataLoader(Echo(300), batch_size=16, sampler=mine, num_workers=workers)
            for row in zip(*(column.tolist() for column in batch), strict=True)
        ]
        assert fetched == whole[40:]


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = set()
    for seed in range(4):
        mine = TrainSampler(50, seed=seed)
        for epoch in range(4):
            mine.start_at(epoch)
            orders.add(tuple(t.index for t in mine))
    assert len(orders) == 16


@pytest.mark.parametrize("length", (0, 1, 7, 8, 101))
@pytest.mark.parametrize("world", (1, 2, 3, 8))
def test_evaluation_counts_every_picture_exactly_once(length, world):
    samplers = [EvalSampler(length, rank=rank, world=world) for rank in range(world)]
    assert sorted(ticket.index for sampler in samplers for ticket in sampler) == list(range(length))
    assert [len(sampler) for sampler in samplers] == [len(list(sampler)) for sampler in samplers]


@pytest.mark.parametrize(
    "make, words",
    (
        (lambda: TrainSampler(0), "empty"),
        (lambda: TrainSampler(5, rank=2, world=2), "rank=2"),
        (lambda: TrainSampler(5).start_at(0, 6), "6 cannot have been seen"),
        (lambda: EvalSampler(5, rank=-1), "rank=-1"),
    ),
)
def test_errors_name_the_way_out(make, words):
    with pytest.raises(ValueError, match=words):
        make()
