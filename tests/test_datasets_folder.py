"""Folders of class folders: what is read from them, how they are split, and the sentence for each that is no use."""

import os
import pickle
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from awkward_images import oriented, scene
from netwright.datasets import Data, DataError, FolderPictures, ToyPictures, data_names, duplicates, open_data
from netwright.datasets.folder import held_out
from netwright.images import ImageError
from netwright.toys import ToyWorld


def filled(folder: Path, *files: str) -> Path:
    """Small files that stand for pictures, each with its own name as content."""
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.encode())
    return folder


def many(folder: Path, count: int, *classes: str) -> Path:
    return filled(folder, *(f"{name}/{number:04d}.jpg" for name in classes for number in range(count)))


def names(pictures: FolderPictures) -> list[str]:
    return [
        f"{pictures.class_names[target]}: {file}" for file, target in zip(pictures.files, pictures.targets, strict=True)
    ]


def by_name(data: Data) -> dict[str, str]:
    """Which split each file is in."""
    return {file: split for split, pictures in data.splits.items() for file in pictures.files}


# --- what is read ------------------------------------------------------------------------------------------------


def test_classes_and_pictures_come_in_the_order_of_their_names_whatever_the_capitals_of_a_suffix(tmp_path):
    filled(tmp_path, "cat/b.JPEG", "cat/a.png", "ant/x.Jpg", "ant/deeper/still/y.webp", "ant/notes.txt")
    pictures = FolderPictures.read(tmp_path)
    assert names(pictures) == ["ant: ant/deeper/still/y.webp", "ant: ant/x.Jpg", "cat: cat/a.png", "cat: cat/b.JPEG"]
    assert pictures.targets.dtype == np.int64 and pictures.synsets is None and pictures.name == tmp_path.name
    assert pictures.where(3) == str(tmp_path / "cat" / "b.JPEG") and pictures.files[-1] == "cat/b.JPEG"


def test_hidden_files_and_folders_are_skipped(tmp_path):
    filled(tmp_path, "a/1.jpg", "a/._1.jpg", "a/.thumbs/2.jpg", ".git/3.jpg", "b/1.jpg", "loose.jpg")
    assert names(FolderPictures.read(tmp_path)) == ["a: a/1.jpg", "b: b/1.jpg"]


def test_names_of_every_script_are_kept_and_composed(tmp_path):
    decomposed = unicodedata.normalize("NFD", "Äpfel")
    filled(tmp_path, f"{decomposed}/größe 1.jpg", "花/牡丹.png")
    pictures = FolderPictures.read(tmp_path)
    assert pictures.class_names == ("Äpfel", "花") and len(decomposed) == 6
    assert [pictures.path(index).exists() for index in range(2)] == [True, True]


def test_a_name_that_is_no_text_is_still_a_file(tmp_path):
    name = "\udcff.jpg"  # how Python spells a byte of a name that is no UTF-8
    pictures = FolderPictures("odd", tmp_path, [f"a/{name}", "a/1.jpg"], [0, 0], ["a"])
    assert list(pictures.files) == [f"a/{name}", "a/1.jpg"]
    assert held_out(pictures.files, pictures.targets, 0.5, seed=0).sum() == 1


def test_links_to_folders_are_followed_once(tmp_path):
    filled(tmp_path, "elsewhere/1.jpg", "set/a/0.jpg", "set/b/0.jpg")
    (tmp_path / "set" / "a" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "b" / "round").symlink_to(tmp_path / "set" / "b")
    assert list(FolderPictures.read(tmp_path / "set").files) == ["a/0.jpg", "a/more/1.jpg", "b/0.jpg"]


def test_wordnet_ids_become_readable_and_stay_known(tmp_path):
    pictures = FolderPictures.read(filled(tmp_path, "n01440764/a.jpg", "n02102040/b.jpg", "n99999999/c.jpg"))
    assert pictures.class_names == ("tench", "English springer", "n99999999")
    assert pictures.synsets == ("n01440764", "n02102040", "n99999999")
    mixed = FolderPictures.read(filled(tmp_path, "dog/d.jpg"))
    assert mixed.class_names[1:] == ("n01440764", "n02102040", "n99999999") and mixed.synsets is None


def test_a_picture_is_upright_rgb_and_a_broken_one_is_named(tmp_path):
    filled(tmp_path, "a/no picture.jpg", "b/turned.jpg")
    (tmp_path / "b" / "turned.jpg").write_bytes(oriented(6, size=(90, 61)))
    pictures = FolderPictures.read(tmp_path)
    assert pictures.picture(1).size == (61, 90) and pictures.picture(1).mode == "RGB"
    with pytest.raises(ImageError, match="no picture.jpg"):
        pictures.picture(0)


def test_a_million_names_travel_to_a_worker_as_one_piece_of_text(tmp_path):
    files = [f"class/{number:08d}.jpg" for number in range(20_000)]
    pictures = FolderPictures("many", tmp_path, files, np.zeros(20_000, dtype=np.int64), ["class"])
    sent = pickle.dumps(pictures)
    assert len(sent) < 20_000 * (len(files[0]) + 8 + 8) + 2_000
    assert list(pickle.loads(sent).files) == files


def test_it_lists_what_torchvisions_image_folder_lists(tmp_path):
    from peers import torchvision

    many(tmp_path, 5, "10", "2", "B", "a", "é")
    filled(tmp_path, "2/deeper/x.png", "a/Z.JPG", "a/b.PNG")
    ours, theirs = FolderPictures.read(tmp_path), torchvision.datasets.ImageFolder(str(tmp_path))
    assert list(ours.class_names) == theirs.classes
    assert {(ours.where(i), int(ours.targets[i])) for i in range(len(ours))} == set(theirs.samples)


# --- layouts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("train, val", [("train", "val"), ("Train", "validation"), ("training", "VALID")])
def test_split_folders_are_taken_as_they_are(tmp_path, train, val):
    filled(tmp_path, f"{train}/a/1.jpg", f"{train}/b/1.jpg", f"{val}/b/2.jpg", f"{val}/a/3.jpg", "test/b/4.jpg")
    data = open_data(tmp_path)
    assert data.name == tmp_path.name and data.class_names == ("a", "b")
    assert {split: names(pictures) for split, pictures in data.splits.items()} == {
        "train": ["a: a/1.jpg", "b: b/1.jpg"],
        "val": ["a: a/3.jpg", "b: b/2.jpg"],
        "test": ["b: b/4.jpg"],
    }
    assert all(pictures.class_names == ("a", "b") for pictures in data.splits.values())
    assert data.split("val").name == f"{tmp_path.name}/val"
    with pytest.raises(DataError, match="no split 'novel'; it has train, val, test"):
        data.split("novel")


def test_without_val_it_is_held_out_of_train_and_a_test_folder_without_classes_is_left_out(tmp_path):
    many(tmp_path / "train", 10, "a", "b")
    filled(tmp_path, "test/1.jpg", "test/2.jpg")
    data = open_data(tmp_path)
    assert {split: len(pictures) for split, pictures in data.splits.items()} == {"train": 16, "val": 4}


def test_val_alone_is_a_set_to_evaluate_on(tmp_path):
    many(tmp_path / "val", 2, "a", "b")
    assert list(open_data(tmp_path).splits) == ["val"]


def test_a_class_may_be_called_train(tmp_path):
    many(tmp_path, 5, "bus", "car", "train")
    assert open_data(tmp_path).class_names == ("bus", "car", "train")
    filled(tmp_path, "train/steam/1.jpg")
    assert open_data(tmp_path).class_names == ("bus", "car", "train")


def test_splits_beside_other_folders_are_still_splits(tmp_path):
    filled(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "val/a/2.jpg", "val/b/2.jpg", "annotations/x.txt")
    assert open_data(tmp_path).class_names == ("a", "b")


# --- how a flat folder is split ----------------------------------------------------------------------------------


def test_every_class_keeps_its_share_and_has_a_picture_on_both_sides(tmp_path):
    for count, name in ((2, "two"), (3, "three"), (10, "ten"), (101, "many")):
        many(tmp_path, count, name)
    data = open_data(tmp_path, val_share=0.2)
    counts = {split: np.bincount(pictures.targets).tolist() for split, pictures in data.splits.items()}
    assert data.class_names == ("many", "ten", "three", "two")
    assert counts == {"train": [81, 8, 2, 1], "val": [20, 2, 1, 1]}
    assert len(by_name(data)) == 116 == sum(map(len, data.splits.values()))
    assert np.bincount(open_data(tmp_path, val_share=0.999).split("train").targets).tolist() == [1, 1, 1, 1]


def test_the_split_hangs_on_seed_and_names_alone(tmp_path):
    here, there = many(tmp_path / "here", 50, "a", "b"), many(tmp_path / "there" / "deep", 50, "b", "a")
    assert by_name(open_data(here)) == by_name(open_data(there)) != by_name(open_data(here, seed=1))
    first = open_data(many(tmp_path / "known", 10, "a", "b"))
    assert list(first.split("val").files) == ["a/0004.jpg", "a/0009.jpg", "b/0000.jpg", "b/0006.jpg"]


def test_a_picture_that_is_added_moves_at_most_one_other(tmp_path):
    many(tmp_path, 40, "a", "b")
    before, moved = by_name(open_data(tmp_path)), []
    for number in range(20):
        filled(tmp_path, f"a/new {number}.jpg")
        after = by_name(open_data(tmp_path))
        moved.append(sum(after[file] != split for file, split in before.items()))
        before = after
    assert max(moved) <= 1


def test_the_split_follows_the_name_in_whatever_form_a_disk_keeps_it(tmp_path):
    composed = many(tmp_path / "1", 30, "é", "o")
    decomposed = many(tmp_path / "2", 30, unicodedata.normalize("NFD", "é"), "o")
    sides = [
        {unicodedata.normalize("NFC", file): side for file, side in by_name(open_data(folder)).items()}
        for folder in (composed, decomposed)
    ]
    assert sides[0] == sides[1] and len(sides[0]) == 60


# --- pictures that are on both sides -----------------------------------------------------------------------------


def test_duplicates_are_found_by_their_bytes_whatever_their_names(tmp_path):
    filled(tmp_path, "train/a/1.jpg", "train/a/2.jpg", "train/b/3.jpg", "val/a/4.jpg", "val/b/5.jpg", "val/b/6.jpg")
    (tmp_path / "val/b/5.jpg").write_bytes((tmp_path / "train/a/2.jpg").read_bytes())
    (tmp_path / "val/b/6.jpg").unlink()
    (tmp_path / "val/b/6.jpg").symlink_to(tmp_path / "nowhere.jpg")
    data = open_data(tmp_path)
    train, val = data.split("train"), data.split("val")
    pairs = duplicates(train, val)
    assert [(train.files[i], val.files[j]) for i, j in pairs] == [("a/2.jpg", "b/5.jpg")]
    assert duplicates(train, train) == [(0, 0), (1, 1), (2, 2)]
    assert duplicates(ToyPictures(ToyWorld("val")), val) == []


# --- folders that are no use -------------------------------------------------------------------------------------


def refused(folder: Path, **options) -> str:
    with pytest.raises(DataError) as caught:
        open_data(folder, **options)
    return str(caught.value)


def test_an_empty_folder_is_a_sentence(tmp_path):
    assert f"{tmp_path} is empty. It needs one folder a class" in refused(tmp_path)


def test_files_that_are_no_pictures_are_named(tmp_path):
    assert "no pictures and no class folders, but labels.csv" in refused(filled(tmp_path, "labels.csv"))
    filled(tmp_path, "a/x.txt", "b/y.txt")
    assert "has a, b, but no picture in them" in refused(tmp_path)


def test_loose_pictures_are_asked_to_be_sorted(tmp_path):
    filled(tmp_path, *(f"{number}.jpg" for number in range(5)))
    assert "0.jpg, 1.jpg, 2.jpg and 2 more itself: sort the pictures" in refused(tmp_path)


def test_splits_without_class_folders_are_not_taken_for_two_classes(tmp_path):
    filled(tmp_path, "train/1.jpg", "train/2.jpg", "val/3.jpg", "val/4.jpg")
    assert "no class folders in train, val" in refused(tmp_path)
    filled(tmp_path, "val/a/1.jpg", "val/b/1.jpg")
    assert "no class folders in train. Sort" in refused(tmp_path)


def test_an_empty_class_folder_is_named(tmp_path):
    many(tmp_path, 2, "a", "b")
    (tmp_path / "c").mkdir()
    assert "no picture in c. Every folder there is a class" in refused(tmp_path)


def test_one_class_is_not_enough_and_a_folder_too_high_is_noticed(tmp_path):
    many(tmp_path / "data", 3, "a")
    assert "has one class, a, and telling classes apart takes two or more." in refused(tmp_path / "data")
    many(tmp_path / "data", 3, "b")
    assert f"It holds a, b: did you mean {tmp_path / 'data'}?" in refused(tmp_path)
    assert "has one class, a" in refused(filled(tmp_path / "split", "train/a/1.jpg", "val/a/1.jpg"))


def test_a_class_of_one_picture_cannot_be_split_but_may_be_in_a_split_of_ones_own(tmp_path):
    many(tmp_path, 3, "a", "b")
    filled(tmp_path, "lonely/1.jpg")
    assert "only one picture in lonely, so it cannot be both in train and in val" in refused(tmp_path)
    own = filled(tmp_path / "own", "train/a/1.jpg", "train/b/1.jpg", "val/a/2.jpg", "val/b/2.jpg")
    assert len(open_data(own).split("train")) == 2


def test_val_has_the_classes_of_train(tmp_path):
    filled(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "val/a/2.jpg")
    message = refused(tmp_path)
    assert f"{tmp_path / 'val'} lacks b, which {tmp_path / 'train'} has" in message
    filled(tmp_path, "val/b/2.jpg", "val/c/2.jpg")
    assert f"{tmp_path / 'val'} has c, which {tmp_path / 'train'} lacks" in refused(tmp_path)
    (tmp_path / "val" / "c").rename(tmp_path / "c")
    filled(tmp_path, "test/d/3.jpg")
    assert f"{tmp_path / 'test'} has d, which" in refused(tmp_path)


def test_two_folders_for_one_split_are_not_chosen_between(tmp_path):
    filled(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "valid/a/1.jpg")
    assert "has both val and valid" in refused(tmp_path)


@pytest.mark.parametrize("share", [0, 1, -0.5, 20])
def test_a_share_that_leaves_a_side_empty_is_refused(tmp_path, share):
    assert f"val_share={share:g} cannot be held out" in refused(many(tmp_path, 3, "a", "b"), val_share=share)


def test_a_missing_folder_names_its_neighbours_and_the_data_sets(tmp_path):
    many(tmp_path / "flowers", 2, "a", "b")
    message = refused(tmp_path / "flower")
    assert "is neither a folder nor a data set" in message and "Nearest: flowers, flowers-102." in message
    assert f"There is no folder {tmp_path / 'no'} either" in refused(tmp_path / "no" / "where")
    assert "Nearest: imagenette" in refused("imagenete")


def test_a_file_is_not_a_folder(tmp_path):
    assert "photos.zip is a file" in refused(filled(tmp_path, "photos.zip") / "photos.zip")


def test_a_folder_that_may_not_be_read_is_a_sentence(tmp_path, monkeypatch):
    scandir = os.scandir

    def locked(folder):
        if Path(folder).name == "b":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", locked)
    assert f"{tmp_path / 'b'} cannot be read (Permission denied)" in refused(many(tmp_path, 2, "a", "b"))


# --- the toy world by name ---------------------------------------------------------------------------------------


def test_the_toy_world_comes_by_name_with_size_and_length():
    data = open_data("toy", size=32, length=70)
    assert {split: len(pictures) for split, pictures in data.splits.items()} == {"train": 70, "val": 4000, "test": 8000}
    assert data.split("test").picture(5).size == (32, 32) and data.class_names == ToyWorld.classes
    assert np.array_equal(open_data("toy", seed=3).split("val").targets, ToyWorld("val", seed=3).labels())


def test_a_nuisance_held_out_adds_novel_pictures():
    data = open_data("toy:hue", length=5)
    assert list(data.splits) == ["train", "val", "test", "novel"]
    assert {pictures.world.hold_out for pictures in data.splits.values()} == {"hue"}


@pytest.mark.parametrize("name", ["toy:", "toy:colour"])
def test_a_nuisance_that_does_not_exist_is_a_sentence_with_those_that_do(name):
    assert "these can: hue, place" in refused(name)


def test_every_name_is_listed_and_a_path_is_never_taken_for_one(tmp_path, monkeypatch):
    assert {"toy", "toy:hue", "imagenette", "imagenette-160", "oxford-iiit-pet", "flowers-102"} <= set(data_names())
    many(tmp_path / "toy", 3, "a", "b")
    monkeypatch.chdir(tmp_path)
    assert open_data("toy").class_names == ToyWorld.classes
    assert open_data("./toy").class_names == open_data(Path("toy")).class_names == ("a", "b")


def test_a_real_folder_gives_real_pixels(tmp_path):
    for name in ("a", "b"):
        for number in range(3):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(scene(20, 10, seed=number)).save(tmp_path / name / f"{number}.png")
    train = open_data(tmp_path).split("train")
    number = int(Path(train.files[0]).stem)
    assert np.array_equal(np.asarray(train.picture(0)), scene(20, 10, seed=number))
