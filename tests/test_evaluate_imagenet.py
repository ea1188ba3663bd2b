"""Label maps and ImageNet's layouts: a class is found by its synset or its name, wherever it stands."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from netwright.datasets import PictureSet
from netwright.evaluate import EvaluationError, label_map, measure, predict
from netwright.evaluate import imagenet_val as layouts
from netwright.evaluate.imagenet_val import ImageNetVal, imagenet_val
from netwright.imagenet import find_label, labels
from netwright.nets import resnet

# Imagenette's classes, in the order of its folders.
IMAGENETTE = [
    "n01440764",
    "n02102040",
    "n02979186",
    "n03000684",
    "n03028079",
    "n03394916",
    "n03417042",
    "n03425413",
    "n03445777",
    "n03888257",
]


class Tones(PictureSet):
    """Pictures of one grey value, 8 times the class's ImageNet index (of 32): what they show is plain to see."""

    def __init__(self, synsets=None, class_names=None, each=1):
        self.name = "tones"
        self.synsets = None if synsets is None else tuple(synsets)
        self.class_names = tuple(class_names or (find_label(s).name for s in synsets))
        self.targets = np.arange(each * len(self.class_names)) % len(self.class_names)

    def picture(self, index):
        tone = find_label(self.synsets[self.targets[index]]).index if self.synsets else int(self.targets[index])
        return Image.new("RGB", (8, 8), (tone % 256, tone // 256, 0))

    def where(self, index):
        return f"tones/{index}"


class Reader(nn.Module):
    """Reads the index off the picture's colour and answers with it: never wrong, if it is read rightly."""

    config = resnet.CONFIGS["resnet18"]

    def __init__(self, outputs=1000, order=None, class_names=None):
        super().__init__()
        self.num_classes = outputs
        self.order = torch.arange(outputs) if order is None else order
        if class_names:
            self.class_names = class_names

    def forward(self, x):
        index = (x[:, 0, 0, 0].round() + 256 * x[:, 1, 0, 0].round()).long()
        return 10 * (self.order[None] == index[:, None]).float()


def plain(picture):
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float()


def top1(net, pictures, **options):
    found = predict(net, pictures, transform=plain, labels=label_map(net, pictures, **options))
    return measure(found).top1.value, found


def test_a_subset_is_mapped_by_synset_whatever_its_order():
    for synsets in (IMAGENETTE, IMAGENETTE[::-1], [IMAGENETTE[i] for i in (3, 1, 4, 9, 2, 6, 5, 8, 7, 0)]):
        for keep, answers in (("subset", 10), ("all", 1000)):
            share, found = top1(Reader(), Tones(synsets), subset_of="imagenet", keep=keep)
            assert share == 1 and found.logits.shape == (10, answers) and len(found.class_names) == answers
            names = [found.class_names[i] for i in found.targets]
            assert names == [find_label(s).name for s in synsets]


def test_positions_taken_for_classes_would_have_been_wrong():
    """The trap: the first ten outputs are not Imagenette's ten classes, nor are sorted names sorted synsets."""
    pictures = Tones(IMAGENETTE)
    mapped = label_map(Reader(), pictures, subset_of="imagenet")
    assert (
        mapped.columns.tolist()
        == [find_label(s).index for s in IMAGENETTE]
        == [0, 217, 482, 491, 497, 566, 569, 571, 574, 701]
    )
    by_name = sorted(pictures.class_names)
    assert by_name != list(pictures.class_names)
    share, _ = top1(Reader(), Tones([find_label(name).synset for name in by_name]), subset_of="imagenet")
    assert share == 1


def test_an_answer_outside_of_the_subset_is_wrong_only_where_all_are_kept():
    class Always(Reader):
        def forward(self, x):
            return super().forward(x) + 20 * (torch.arange(1000) == 5)

    assert top1(Always(), Tones(IMAGENETTE), subset_of="imagenet", keep="subset")[0] == 1
    assert top1(Always(), Tones(IMAGENETTE), subset_of="imagenet", keep="all")[0] == 0


def test_a_whole_imagenet_is_mapped_by_synset_without_being_asked():
    shuffled = [labels()[i].synset for i in np.random.default_rng(0).permutation(1000)]
    share, found = top1(Reader(), Tones(shuffled))
    assert share == 1 and found.class_names == tuple(label.name for label in labels())


def test_a_net_that_knows_its_classes_is_matched_by_name_not_by_place():
    names = ("ant", "bee", "cat", "dog")
    order = [2, 0, 3, 1]
    net = Reader(4, torch.tensor(order).argsort(), [sorted(names)[i] for i in order])
    net.order = torch.tensor([names.index(name) for name in net.class_names])
    pictures = Tones(class_names=names)
    share, found = top1(net, pictures)
    assert share == 1 and found.class_names == tuple(net.class_names)
    assert label_map(net, pictures).how == "by name, 4 of them at another place"
    part = Tones(class_names=("ant", "bee", "cat"))  # a folder without dogs
    assert top1(net, part)[0] == 1


def test_a_net_that_was_trained_on_synset_folders_finds_them_by_synset():
    pictures = Tones(IMAGENETTE)
    net = Reader(10, torch.tensor([find_label(s).index for s in IMAGENETTE[::-1]]), IMAGENETTE[::-1])
    share, _ = top1(net, pictures)
    assert share == 1 and "by synset" in label_map(net, pictures).how


REFUSALS = {
    "no synsets": (Reader(), Tones(class_names=("tench", "church")), {"subset_of": "imagenet"}, "names are not proof"),
    "not imagenet's": (
        Reader(),
        Tones(["n01440764"] * 2, ("a", "b")),
        {"subset_of": "imagenet"},
        "two classes with one",
    ),
    "strange synset": (
        Reader(),
        Tones(None, ("n00000001", "n01440764")),
        {"subset_of": "imagenet"},
        "'n00000001' of tones are not among",
    ),
    "another net": (Reader(10), Tones(IMAGENETTE), {"subset_of": "imagenet"}, "this one has 10"),
    "unknown whole": (Reader(), Tones(IMAGENETTE), {"subset_of": "imagenet21k"}, "'imagenet' is the one"),
    "unknown keep": (Reader(), Tones(IMAGENETTE), {"keep": "some"}, "neither 'subset' nor 'all'"),
    "counts": (Reader(7), Tones(class_names=("a", "b")), {}, "The net has 7 classes, and tones has 2"),
    "a hint": (Reader(), Tones(IMAGENETTE), {}, "say --subset-of imagenet"),
    "other classes": (Reader(2, None, ["a", "b"]), Tones(class_names=("a", "c")), {}, "'c' are unknown to it"),
    "bad names": (Reader(3, None, ["a", "b"]), Tones(class_names=("a", "b")), {}, "set net.class_names anew"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_does_not_fit_is_refused_in_a_sentence(case):
    net, pictures, options, sentence = REFUSALS[case]
    with pytest.raises(EvaluationError, match=sentence):
        label_map(net, pictures, **options)


def test_a_net_without_classifier_is_refused():
    with pytest.raises(EvaluationError, match="no classifier"):
        label_map(nn.Identity(), Tones(IMAGENETTE))


# --- layouts ---------------------------------------------------------------------------------------------------------

# The first pictures of the validation set, and what they show: sea snake, alp, Shetland sheepdog.
FIRST = {1: "n01751748", 2: "n09193705", 3: "n02105855"}
DEVKIT = {1: 490, 2: 361, 3: 171}


def tone(path, synset):
    path.parent.mkdir(parents=True, exist_ok=True)
    index = find_label(synset).index
    Image.new("RGB", (8, 8), (index % 256, index // 256, 0)).save(path, format="PNG")  # one of them is a PNG indeed


def flat(folder, suffix=""):
    for number, synset in FIRST.items():
        tone(folder / f"ILSVRC2012_val_{number:08d}{f'_{synset}' if suffix else ''}.JPEG", synset)


def class_folders(top):
    for number, synset in FIRST.items():
        tone(top / "val" / synset / f"ILSVRC2012_val_{number:08d}.JPEG", synset)


def kaggle(top):
    flat(top / "ILSVRC/Data/CLS-LOC/val")
    rows = "".join(f"ILSVRC2012_val_{n:08d},{s} 85 1 499 272 {s} 1 1 9 9 \n" for n, s in reversed(FIRST.items()))
    (top / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + rows)


def openmmlab(top):
    flat(top / "val")
    (top / "meta").mkdir()
    rows = (f"ILSVRC2012_val_{n:08d}.JPEG {find_label(s).index}\n" for n, s in FIRST.items())
    (top / "meta/val.txt").write_text("".join(rows))


def tensorflow(top):
    flat(top)
    (top / "imagenet_2012_validation_synset_labels.txt").write_text("\n".join(FIRST.values()) + "\n")


def devkit_ids():
    """An id for every synset: those of the first three pictures as published, the others as they come."""
    taken = dict(zip(DEVKIT.values(), FIRST.values(), strict=True))
    rest = iter(label.synset for label in labels() if label.synset not in FIRST.values())
    return {id: taken.get(id) or next(rest) for id in range(1, 1001)}


def devkit(top):
    flat(top / "val")
    data = top / "ILSVRC2012_devkit_t12/data"
    data.mkdir(parents=True)
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{id}\n" for id in DEVKIT.values()))
    (data / "map_clsloc.txt").write_text("".join(f"{synset} {id} some_name\n" for id, synset in devkit_ids().items()))


def huggingface(top):
    flat(top, "synset in the name")


LAYOUTS = (class_folders, kaggle, openmmlab, tensorflow, devkit, huggingface)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda it: it.__name__)
def test_every_layout_gives_the_same_pictures_with_the_same_classes(layout, tmp_path):
    layout(tmp_path)
    pictures = imagenet_val(tmp_path)
    assert isinstance(pictures, ImageNetVal) and pictures.published_as is None
    assert pictures.synsets == tuple(sorted(FIRST.values()))
    assert pictures.class_names == tuple(find_label(s).name for s in sorted(FIRST.values()))
    for i in range(3):
        number = int(re.search(r"val_(\d{8})", pictures.where(i))[1])
        assert pictures.synsets[pictures.targets[i]] == FIRST[number]
    share, _ = top1(Reader(), pictures, subset_of="imagenet", keep="all")
    assert share == 1


def test_one_may_point_at_the_pictures_themselves(tmp_path):
    kaggle(tmp_path / "kaggle")
    class_folders(tmp_path / "folders")
    for folder in (tmp_path / "kaggle/ILSVRC", tmp_path / "kaggle/ILSVRC/Data/CLS-LOC", tmp_path / "folders/val"):
        assert len(imagenet_val(folder)) == 3
    with pytest.raises(EvaluationError, match="nothing near says what they show"):
        imagenet_val(tmp_path / "folders" / "val" / "n01751748")


def test_folders_called_by_number_are_imagenets_numbers_not_sorted_names(tmp_path):
    for label in labels():
        tone(tmp_path / str(label.index) / "a.jpeg", label.synset)
    pictures = imagenet_val(tmp_path)
    assert pictures.class_names == tuple(label.name for label in labels()) and pictures.published_as is None
    share, _ = top1(Reader(), pictures)
    assert share == 1


def test_the_whole_set_is_known_as_such(tmp_path, monkeypatch):
    monkeypatch.setitem(layouts.PICTURES, "ImageNet", 1000)
    for label in labels():
        tone(tmp_path / label.synset / "a.jpeg", label.synset)
    assert imagenet_val(tmp_path).published_as == "ImageNet"
    (tmp_path / "n01440764" / "a.jpeg").unlink()
    assert imagenet_val(tmp_path).published_as is None


def test_other_folders_are_none_of_the_layouts(tmp_path):
    assert imagenet_val(tmp_path) is None
    tone(tmp_path / "cats" / "a.jpeg", "n01440764")
    tone(tmp_path / "n01440764" / "a.jpeg", "n01440764")
    assert imagenet_val(tmp_path) is None and imagenet_val(tmp_path / "missing") is None


def test_a_picture_is_not_turned_by_exif_as_the_publishers_did_not(tmp_path):
    class_folders(tmp_path)
    pictures = imagenet_val(tmp_path)
    wide = Image.new("RGB", (20, 10))
    wide.save(
        pictures.path(0), format="JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    )
    assert pictures.picture(0).size == (20, 10)
    pictures.path(1).write_bytes(b"no picture")
    found = predict(
        Reader(), pictures, transform=plain, labels=label_map(Reader(), pictures, subset_of="imagenet"), batch=1
    )
    assert [where for where, _ in found.bad] == [pictures.where(1)] and "cannot be decoded" in found.bad[0][1]


def test_labels_that_cannot_be_trusted_are_refused(tmp_path):
    flat(tmp_path)
    with pytest.raises(EvaluationError, match="nothing near says what they show. Put one of LOC_val_solution.csv"):
        imagenet_val(tmp_path)
    file = tmp_path / "val.txt"
    cases = {
        "ILSVRC2012_val_00000001.JPEG 65\n": "does not say what 2 of the pictures show, such as ILSVRC2012_val_00000002",
        "66\n970\n230\n": "should give the first picture, a sea snake, 65 .* or 490 .*, not 66",
        "490\n361\n171\n": "Put map_clsloc.txt beside it",
        "490 361 171\n": "line 1 begins with '490'",
        "n01751748\nn09193705\nn00000001\n": "names n00000001, which is none of ImageNet's",
        "snake\nalp\ndog\n": "a line should end in a synset",
    }
    for text, sentence in cases.items():
        file.write_text(text)
        with pytest.raises(EvaluationError, match=sentence):
            imagenet_val(tmp_path)
    file.write_text("489\n360\n170\n")  # the devkit's ids counted from 0, as some make them
    (tmp_path / "meta.csv").write_text("".join(f"{id},{synset}\n" for id, synset in devkit_ids().items()))
    assert top1(Reader(), imagenet_val(tmp_path), subset_of="imagenet")[0] == 1
    (tmp_path / "meta.csv").write_text("1,n01440764\n")
    with pytest.raises(EvaluationError, match="a synset for each id from 1 to 1000, and names 1"):
        imagenet_val(tmp_path)
