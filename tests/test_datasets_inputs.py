"""Pictures become batches: the same for any number of workers, none lost, none seen twice, the bad ones named."""

import numpy as np
import pytest
import torch
from PIL import Image

from awkward_images import scene
from netwright.datasets import (
    Batch,
    EveryPicture,
    FolderPictures,
    Inputs,
    PictureSet,
    Ticket,
    ToyPictures,
    loader,
    open_data,
)
from netwright.images import ImageError
from netwright.toys import ToyWorld

SIZE = (12, 8)  # width, height


def tagged(picture: Image.Image, ticket: Ticket) -> torch.Tensor:
    """The pixels, with what the ticket says in their last column: an input that shows which ticket made it."""
    pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float()
    pixels[:, :, -1] = torch.tensor([ticket.index, ticket.epoch, ticket.copy])[:, None]
    return pixels


def halved(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.float() / 2


def half(picture: Image.Image, ticket: Ticket) -> torch.Tensor:
    return halved(torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1))


@pytest.fixture
def pictures(tmp_path) -> FolderPictures:
    """Three classes, "a" with 0 to 3, "b" with 4 to 6 and "c" with 7."""
    for name, count in (("a", 4), ("b", 3), ("c", 1)):
        (tmp_path / name).mkdir()
        for number in range(count):
            Image.fromarray(scene(*SIZE, seed=ord(name) + number)).save(tmp_path / name / f"{number}.png")
    return FolderPictures.read(tmp_path)


def broken(pictures: FolderPictures, *indices: int) -> None:
    for index in indices:
        pictures.path(index).write_bytes(b"no picture")


def expected(pictures: PictureSet, tickets: list[Ticket]) -> torch.Tensor:
    return torch.stack([tagged(pictures.picture(ticket.index), ticket) for ticket in tickets])


def seen(batches) -> list[tuple]:
    """Everything that batches hold, for comparison."""
    return [
        (batch.images.tolist(), batch.targets.tolist(), batch.indices.tolist(), sorted(batch.bad)) for batch in batches
    ]


# --- a batch -----------------------------------------------------------------------------------------------------


def test_a_batch_is_its_tickets_in_their_order_each_made_from_its_picture_and_its_ticket(pictures):
    tickets = [Ticket(5, 3, 1), Ticket(0, 3, 0), Ticket(5, 3, 0)]
    batch = Inputs(pictures, tagged).__getitems__(tickets)
    assert isinstance(batch, Batch) and batch.images.dtype == torch.float32
    assert torch.equal(batch.images, expected(pictures, tickets))
    assert batch.targets.tolist() == [1, 0, 1] and batch.indices.tolist() == [5, 0, 5] and batch.bad == []
    assert batch.targets.dtype == batch.indices.dtype == torch.int64
    assert len(Inputs(pictures, tagged)) == len(pictures) == 8


def test_a_bad_picture_is_left_out_and_named(pictures):
    broken(pictures, 1)
    batch = Inputs(pictures, tagged).__getitems__([Ticket(0), Ticket(1), Ticket(4)])
    assert batch.indices.tolist() == [0, 4] and batch.targets.tolist() == [0, 1] and len(batch.images) == 2
    [(number, sentence)] = batch.bad
    assert number == 1 and pictures.where(1) in sentence


def test_a_picture_that_cannot_be_made_into_an_input_is_a_bad_picture_too(pictures):
    def narrow(picture, ticket):
        if ticket.index == 2:
            raise ImageError("2.png is too narrow.")
        return tagged(picture, ticket)

    batch = Inputs(pictures, narrow).__getitems__([Ticket(2), Ticket(3)])
    assert batch.indices.tolist() == [3] and batch.bad == [(2, "2.png is too narrow.")]


def test_a_file_that_has_gone_is_a_bad_picture_too(pictures):
    pictures.path(2).unlink()
    batch = Inputs(pictures, tagged).__getitems__([Ticket(2), Ticket(3)])
    assert batch.indices.tolist() == [3] and [number for number, _ in batch.bad] == [2]


def test_a_batch_of_bad_pictures_is_empty_and_names_them_all(pictures):
    broken(pictures, 4, 5)
    batch = Inputs(pictures, tagged).__getitems__([Ticket(4), Ticket(5)])
    assert len(batch.images) == len(batch.targets) == len(batch.indices) == 0
    assert [number for number, _ in batch.bad] == [4, 5] and batch.targets.dtype == torch.int64


def test_the_next_good_picture_of_its_class_stands_in_round_the_end(pictures):
    broken(pictures, 1, 2, 6)
    tickets = [Ticket(1, 9), Ticket(6, 9), Ticket(0, 9)]
    batch = Inputs(pictures, tagged, replace=True).__getitems__(tickets)
    assert batch.indices.tolist() == [3, 4, 0] and batch.targets.tolist() == [0, 1, 0]
    assert [number for number, _ in batch.bad] == [1, 2, 6]
    assert torch.equal(batch.images[2], tagged(pictures.picture(0), tickets[2]))
    assert torch.equal(batch.images[1][:, :, :-1], tagged(pictures.picture(4), tickets[1])[:, :, :-1])


def test_a_class_without_a_good_picture_is_left_out_even_so(pictures):
    broken(pictures, 7)
    batch = Inputs(pictures, tagged, replace=True).__getitems__([Ticket(7), Ticket(0)])
    assert batch.indices.tolist() == [0] and [number for number, _ in batch.bad] == [7]


def test_an_error_of_the_program_is_not_taken_for_a_bad_picture(pictures, monkeypatch):
    def wrong(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Inputs(pictures, wrong).__getitems__([Ticket(0)])
    monkeypatch.setattr(pictures, "picture", wrong)
    with pytest.raises(ZeroDivisionError):
        Inputs(pictures, tagged).__getitems__([Ticket(0)])


# --- the toy world, all at once ----------------------------------------------------------------------------------


def test_the_toy_worlds_quick_way_gives_what_picture_by_picture_gives():
    pictures = ToyPictures(ToyWorld("val", size=32, length=50))
    tickets = [Ticket(index) for index in (7, 0, 49, 7)]
    quick = Inputs(pictures, half, halved).__getitems__(tickets)
    slow = Inputs(pictures, half).__getitems__(tickets)
    assert torch.equal(quick.images, slow.images) and quick.images.shape == (4, 3, 32, 32)
    assert torch.equal(quick.targets, slow.targets) and quick.indices.tolist() == [7, 0, 49, 7]
    assert quick.targets.tolist() == ToyWorld("val", length=50).labels([7, 0, 49, 7]).tolist()


def test_the_quick_way_is_not_taken_where_pixels_are_not_at_hand(pictures):
    batch = Inputs(pictures, half, lambda pixels: pytest.fail("there are no pixels")).__getitems__([Ticket(3)])
    assert torch.equal(batch.images[0], half(pictures.picture(3), Ticket(3)))


def test_a_toy_picture_says_how_it_is_made_again():
    pictures = ToyPictures(ToyWorld("novel", size=32, seed=5, hold_out="hue", length=9))
    again = eval(pictures.where(4), {"ToyWorld": ToyWorld})["image"]
    assert torch.equal(again, pictures.pixels([4])[0])
    assert np.array_equal(np.asarray(pictures.picture(4)), again.permute(1, 2, 0).numpy())
    assert pictures.name == "toy/novel, hue held out" and pictures.class_names == ToyWorld.classes


# --- every picture once ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length, batch, world", [(10, 3, 1), (10, 3, 3), (7, 4, 2), (3, 8, 5), (1, 1, 2), (0, 4, 2)])
def test_every_picture_is_shown_exactly_once_over_all_ranks(length, batch, world):
    shares = [EveryPicture(length, batch, rank=rank, world=world) for rank in range(world)]
    shown = [ticket for share in shares for tickets in share for ticket in tickets]
    assert sorted(ticket.index for ticket in shown) == list(range(length))
    assert {(ticket.epoch, ticket.copy) for ticket in shown} <= {(0, 0)}
    assert all(len(list(share)) == len(share) for share in shares)
    sizes = [len(tickets) for share in shares for tickets in share]
    assert all(0 < size <= batch for size in sizes)
    counts = [sum(map(len, share)) for share in shares]
    assert max(counts) - min(counts) <= 1 and counts == sorted(counts, reverse=True)


@pytest.mark.parametrize("wrong", [{"rank": 2, "world": 2}, {"rank": -1}, {"batch": 0}])
def test_a_rank_or_batch_that_cannot_be_is_a_sentence(wrong):
    with pytest.raises(ValueError, match="rank=|batch="):
        EveryPicture(**{"length": 10, "batch": 4} | wrong)


# --- workers -----------------------------------------------------------------------------------------------------


def test_workers_change_nothing_not_even_a_bad_picture(pictures):
    broken(pictures, 2)
    tickets = [[Ticket(3, 1), Ticket(2, 1, 1)], [Ticket(7, 2)], [Ticket(0, 2), Ticket(4, 2), Ticket(6, 2)]]
    inputs = Inputs(pictures, tagged, replace=True)
    alone = seen(loader(inputs, tickets))
    assert [indices for _, _, indices, _ in alone] == [[3, 3], [7], [0, 4, 6]]
    assert seen(loader(inputs, tickets, workers=2)) == alone


@pytest.mark.parametrize("kind", ["folder", "toy"])
def test_workers_that_are_spawned_as_on_windows_and_macos_give_the_same(tmp_path, kind):
    if kind == "folder":
        for name in ("a", "b"):
            for number in range(5):
                (tmp_path / name).mkdir(exist_ok=True)
                Image.fromarray(scene(*SIZE, seed=number)).save(tmp_path / name / f"{number}.png")
        inputs = Inputs(open_data(tmp_path).split("train"), half)
    else:
        inputs = Inputs(open_data("toy", size=32, length=30).split("train"), half, halved)
    batches = EveryPicture(len(inputs), 3)
    spawned = loader(inputs, batches, workers=2)
    spawned.multiprocessing_context = "spawn"
    assert seen(spawned) == seen(loader(inputs, batches))


def test_a_loader_goes_round_again_and_counts_its_batches(pictures):
    batches = EveryPicture(len(pictures), 3)
    here = loader(Inputs(pictures, tagged), batches)
    assert len(here) == 3 and seen(here) == seen(here)
    assert sum(len(batch.targets) for batch in here) == 8


@pytest.mark.gpu
def test_a_batch_for_a_gpu_is_pinned(pictures):
    for batch in loader(Inputs(pictures, tagged), EveryPicture(8, 4), pin=True):
        assert batch.images.is_pinned() and batch.targets.is_pinned()


def test_a_set_that_only_promises_pictures_says_so():
    with pytest.raises(NotImplementedError):
        PictureSet().picture(0)
    assert PictureSet().pixels([0]) is None and issubclass(ImageError, ValueError)
