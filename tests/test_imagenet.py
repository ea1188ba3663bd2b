"""The class names are the right ones, in the order of the logits."""

import csv
import re
from importlib.resources import files

import numpy as np
import pytest

from netwright.imagenet import Label, find_label, labels
from netwright.paths import data
from peers import timm, torchvision


def test_there_are_a_thousand_classes_in_the_order_of_the_logits():
    assert [label.index for label in labels()] == list(range(1000))


def test_synsets_are_nouns_of_wordnet_without_repeats_in_ascending_order():
    synsets = [label.synset for label in labels()]
    assert all(re.fullmatch(r"n\d{8}", synset) for synset in synsets)
    assert synsets == sorted(set(synsets))


def test_names_are_tidy_and_never_repeat():
    names = [label.name for label in labels()]
    assert all(name and name == name.strip() and name.isascii() for name in names)
    assert len(set(names)) == 1000


def test_the_dog_and_the_garment_that_differ_by_a_capital_are_not_mixed_up():
    assert (find_label("Cardigan").index, find_label("cardigan").index) == (264, 474)


@pytest.mark.parametrize(
    "index, name, synset",
    [
        (0, "tench", "n01440764"),
        (134, "crane bird", "n02012849"),
        (258, "Samoyed", "n02111889"),
        (281, "tabby", "n02123045"),
        (517, "crane", "n03126707"),
        (638, "maillot", "n03710637"),
        (639, "maillot tank suit", "n03710721"),
        (701, "parachute", "n03888257"),
        (999, "toilet tissue", "n15075141"),
    ],
)
def test_well_known_classes_are_found_by_index_synset_and_name(index, name, synset):
    expected = Label(index, name, synset)
    for key in (index, np.int64(index), synset, synset.upper(), name, f" {name.upper()} "):
        assert find_label(key) == expected
    assert str(expected) == name


def test_names_equal_torchvisions():
    assert [label.name for label in labels()] == torchvision.models._meta._IMAGENET_CATEGORIES


def test_synsets_equal_timms():
    assert [label.synset for label in labels()] == timm.data.ImageNetInfo("imagenet1k").label_names()


def test_each_name_is_among_wordnets_words_for_its_synset():
    lines = (files("timm") / "data/_info/imagenet_synset_to_lemma.txt").read_text().splitlines()
    words = dict(line.split("\t") for line in lines)
    apart = {label.name for label in labels() if label.name.lower() not in words[label.synset].lower()}
    assert apart == {"crane bird", "maillot tank suit"}  # told apart on purpose from a namesake


def test_labels_are_read_once():
    assert labels() is labels()


@pytest.mark.parametrize("key", [-1, 1000])
def test_an_index_out_of_range_is_refused_with_the_range(key):
    with pytest.raises(KeyError, match=f"no class {key}.*0 to 999"):
        find_label(key)


def test_a_misspelt_name_names_the_nearest():
    with pytest.raises(KeyError, match="Samoyed \\(n02111889\\)"):
        find_label("samoyd")
    with pytest.raises(KeyError, match="See labels"):
        find_label("zzzzzzzz")


def test_the_file_is_data_alone_index_synset_name():
    with open(data("imagenet_classes.csv"), newline="") as file:
        assert next(csv.reader(file)) == ["index", "synset", "name"]
