"""Who is trained on which picture when: the orders of torch and timm, exact resume, shares that mix alike."""

from collections import Counter

import pytest
import torch
from torch.utils.data.distributed import DistributedSampler

from netwright.datasets import EveryPicture, Inputs, Ticket, ToyPictures, loader
from netwright.toys import ToyWorld
from netwright.tune.mixing import Draw, Mixing
from netwright.tune.samplers import Order, TrainBatches
from peers import timm


def indices(tickets) -> list[int]:
    return [ticket.index for ticket in tickets]


@pytest.mark.parametrize("length", (1, 10, 11, 300))
def test_an_epoch_is_shuffled_as_torch_does(length):
    peer = DistributedSampler(range(length), 1, 0, shuffle=True, seed=0)
    for epoch in (0, 5):
        peer.set_epoch(epoch)
        assert indices(Order(length).tickets(epoch)) == list(peer)


@pytest.mark.parametrize("length", (100, 257, 1000))
def test_repeated_augmentation_is_that_of_timm(length):
    peer = timm.data.distributed_sampler.RepeatAugSampler(range(length), 1, 0)
    for epoch in (0, 2):
        peer.set_epoch(epoch)
        tickets = Order(length, repeats=3).tickets(epoch)
        assert indices(tickets) == list(peer)
        assert len(set(tickets)) == len(tickets)  # each copy has an augmentation of its own


def test_repeats_stand_in_a_row():
    assert Counter(Counter(indices(Order(512, repeats=3).tickets(0))).values()) == {3: 170, 2: 1}


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {tuple(indices(Order(50, seed).tickets(epoch))) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


@pytest.mark.parametrize("world, accumulate", ((1, 1), (2, 1), (1, 2), (2, 3), (3, 1)))
@pytest.mark.parametrize("batch", (12, 13, 32))
def test_a_batch_is_the_same_however_it_is_dealt_out(world, accumulate, batch):
    order = Order(100)
    whole = [set(tickets) for tickets in TrainBatches(order, batch, epochs=2)]
    dealt = [
        list(TrainBatches(order, batch, epochs=2, accumulate=accumulate, rank=rank, world=world))
        for rank in range(world)
    ]
    for step, wanted in enumerate(whole):
        parts = [part for mine in dealt for part in mine[step * accumulate : (step + 1) * accumulate]]
        assert sum(map(len, parts)) == batch and set().union(*parts) == wanted
        assert all(parts)


@pytest.mark.parametrize("world, batch", ((2, 12), (3, 12), (2, 13), (2, 10)))
def test_shares_mix_the_pictures_that_the_whole_batch_would(world, batch):
    mixing, draw = Mixing(num_classes=100, mixup=1.0), Draw(0.3)
    (whole,) = TrainBatches(Order(batch), batch)

    def mixed(tickets):
        numbers = torch.tensor(indices(tickets))
        images, targets = mixing.apply(numbers.float().view(-1, 1, 1, 1), numbers, draw)
        return dict(zip(numbers.tolist(), zip(images.flatten().tolist(), targets, strict=True), strict=True))

    wanted = mixed(whole)
    for rank in range(world):
        (share,) = TrainBatches(Order(batch), batch, rank=rank, world=world)
        for number, (image, target) in mixed(share).items():
            assert image == wanted[number][0] and target.equal(wanted[number][1])


@pytest.mark.parametrize("repeats", (1, 3))
def test_a_resumed_training_is_the_rest_of_it_with_any_number_of_workers(repeats):
    order = Order(300, seed=4, repeats=repeats)
    mine = TrainBatches(order, 16, epochs=3, accumulate=2)
    whole = list(mine)
    assert len(whole) == len(mine) == 3 * mine.steps_per_epoch * 2
    for step in (0, 1, mine.steps_per_epoch, mine.steps_per_epoch + 3, 3 * mine.steps_per_epoch):
        mine.start_at(step)
        assert list(mine) == whole[2 * step :] and len(mine) == len(whole) - 2 * step
    mine.start_at(40)
    pictures = ToyPictures(ToyWorld("train", length=300, size=32))
    for workers in (0, 2):
        fetched = [b.indices.tolist() for b in loader(Inputs(pictures, None, lambda p: p), mine, workers=workers)]
        assert fetched == [indices(tickets) for tickets in whole[80:]]


@pytest.mark.parametrize("length", (0, 1, 7, 8, 101))
@pytest.mark.parametrize("world", (1, 2, 3, 8))
def test_evaluation_counts_every_picture_exactly_once(length, world):
    shares = [EveryPicture(length, 3, rank=rank, world=world) for rank in range(world)]
    assert sorted(t.index for share in shares for batch in share for t in batch) == list(range(length))
    assert [len(share) for share in shares] == [len(list(share)) for share in shares]
    assert all(isinstance(t, Ticket) for share in shares for batch in share for t in batch)


@pytest.mark.parametrize(
    "make, words",
    (
        (lambda: Order(0), "empty"),
        (lambda: Order(5, repeats=0), "repeats=0"),
        (lambda: TrainBatches(Order(5), 6), "batch of 6 cannot be taken from an epoch of 5"),
        (lambda: TrainBatches(Order(8), 4, rank=2, world=2), "rank=2"),
        (lambda: TrainBatches(Order(8), 4, world=2, accumulate=2), "batch of 8 or more"),
        (lambda: EveryPicture(5, 2, rank=-1), "rank=-1"),
        (lambda: EveryPicture(5, 0), "batch=0"),
    ),
)
def test_errors_name_the_way_out(make, words):
    with pytest.raises(ValueError, match=words):
        make()
