"""The exercises of notebook 02: the checks accept what is right, name what is wrong, and the patients are as ill as told."""

from itertools import pairwise

import pytest
import torch
from PIL import Image
from torch import nn

from netwright.lessons import check, weights
from netwright.lessons.weights import map_checks, maps, patients, pictures
from netwright.nets.zoo import build
from netwright.probing.difference import first_difference
from netwright.probing.golden import golden_checkpoint, golden_picture, golden_state
from netwright.weights.catalogue import default_for
from netwright.weights.keymaps import rename
from netwright.weights.read import read_checkpoint

LAYOUTS = tuple(maps.PROVEN_ON)
BY_ID = {each.id: each for each in weights.CHECKS}
MISTAKES = [(each.id, mistake) for each in weights.CHECKS for mistake in each.mistakes]
each_layout = pytest.mark.parametrize("layout", LAYOUTS)


# The maps --------------------------------------------------------------------------------------------------------


@each_layout
def test_our_solution_is_the_librarys_own_map(layout):
    for architecture in maps.PROVEN_ON[layout]:
        keys = golden_checkpoint(architecture, layout)
        assert {key: getattr(maps, layout)(key) for key in keys} == rename(keys, layout)


@pytest.mark.parametrize("name", BY_ID)
def test_the_solution_passes(name):
    assert check(name, BY_ID[name].ours).status == "passed"


@pytest.mark.parametrize("name", [f"weights.{layout}" for layout in LAYOUTS])
def test_an_open_place_is_not_attempted(name):
    def open_map(key):
        """A key to our name."""
        ...  # noqa: PIE790  the place that `make lab` leaves open

    assert check(name, open_map).status == "not attempted"


@pytest.mark.parametrize(("name", "mistake"), MISTAKES)
def test_every_known_mistake_fails_and_is_named(name, mistake):
    outcome = check(name, BY_ID[name].mistakes[mistake])
    assert outcome.status in ("failed", "crashed")
    assert outcome.mistake == mistake


@each_layout
def test_a_map_that_raises_is_told_at_which_key(layout):
    def theirs(key):
        return {"nothing": "here"}[key]

    outcome = check(f"weights.{layout}", theirs)
    assert outcome.status == "crashed" and "KeyError" in outcome.message
    first = next(iter(golden_checkpoint(maps.PROVEN_ON[layout][0], layout)))
    assert f"whether {first} gets a name" in outcome.message


def test_a_map_that_forgets_to_return_is_told_so():
    outcome = check("weights.resnest", lambda key: None)
    assert outcome.status == "failed" and "conv1.0.weight gets a name is False" in outcome.message


@pytest.mark.parametrize(
    ("layout", "mistake"),
    [(layout, m) for layout in LAYOUTS for m in BY_ID[f"weights.{layout}"].mistakes if m.endswith(map_checks.SILENT)],
)
def test_a_mistake_that_is_called_silent_is_one(layout, mistake):
    # A strict loader takes it, and the golden trace does not.
    wrong, architecture = BY_ID[f"weights.{layout}"].mistakes[mistake], maps.PROVEN_ON[layout][0]
    found = maps.audit(wrong, architecture, layout)
    assert found.pop("of another tensor") and not any(found.values())


def test_every_layout_has_a_mistake_that_loads():
    for layout in LAYOUTS:
        assert any(mistake.endswith(map_checks.SILENT) for mistake in BY_ID[f"weights.{layout}"].mistakes)


def test_the_trace_finds_what_the_loader_lets_pass():
    wrong = next(m for text, m in BY_ID["weights.byobnet"].mistakes.items() if "height_rel" in text)
    file = golden_checkpoint("halonet26t", "byobnet")
    net = build("halonet26t")
    net.load_state_dict({wrong(key): tensor for key, tensor in file.items()}, strict=True)
    difference = first_difference(net, state=None)
    assert difference.first.point == "stages.2.1.middle"
    net.load_state_dict({maps.byobnet(key): tensor for key, tensor in file.items()}, strict=True)
    assert first_difference(net, state=None).ok


def test_the_audit_names_the_keys_of_each_kind():
    found = maps.audit(lambda key: "stem.0.conv.weight", "halonet26t", "byobnet")
    keys = list(golden_checkpoint("halonet26t", "byobnet"))
    assert found["given twice"] == keys and found["not in the net"] == []
    assert "classifier.bias" in found["left empty"] and "stem.0.conv.weight" not in found["left empty"]
    assert "head.fc.weight" in found["of another shape"] and "stem.conv1.conv.weight" not in found["of another shape"]


# The patients ----------------------------------------------------------------------------------------------------

DEPARTS = {
    "stride": ("stages.1.0.reduce", "stride of 2"),
    "swap": ("stages.3.0.middle", "does not hold its own numbers"),
    "softmax": ("stages.0.0.middle", "the golden ones"),
    "padding": ("stages.2.1.middle", "the golden ones"),
    "preprocessing": ("input", "blue, green, red"),
}


@pytest.fixture(scope="module")
def five():
    return weights.make_patients()


def by_fault(five, fault):
    (letter,) = (letter for letter, its in patients.diagnosis().items() if its == fault)
    return five[letter]


@pytest.mark.parametrize("fault", DEPARTS)
def test_each_patient_departs_where_its_fault_is(five, fault):
    patient = by_fault(five, fault)
    difference = first_difference(patient.net, state=None, input=patient.transform)
    point, words = DEPARTS[fault]
    assert difference.first.point == point and words in str(difference)


def test_the_patients_look_healthy(five):
    for patient in five.values():
        count = sum(parameter.numel() for parameter in patient.net.parameters())
        assert count == default_for(patient.architecture).parameters
        state, golden = patient.net.state_dict(), golden_state(patient.architecture)
        assert {name: tensor.shape for name, tensor in state.items()} == {n: t.shape for n, t in golden.items()}
        with torch.inference_mode():
            probabilities = patient.net(patient.transform(golden_picture()).unsqueeze(0)).softmax(1)
        assert probabilities.shape == (1, 1000) and 0.2 < probabilities.max() < 0.95


def test_neither_name_nor_printout_tells_the_fault(five):
    healthy = {architecture: repr(build(architecture)) for architecture in {p.architecture for p in five.values()}}
    for patient in five.values():
        assert patient.net.training is False
        stride = patient is by_fault(five, "stride")  # a printout shows strides, and only they give it away
        assert stride or repr(patient.net) == healthy[patient.architecture]
        assert not any(fault in repr(patient) for fault in patients.FAULTS)


def test_the_architecture_alone_does_not_decide():
    pairs = [p.architecture for p in weights.make_patients().values()]
    assert sorted(map(pairs.count, set(pairs))) == [1, 2, 2]


def test_another_seed_deals_the_faults_out_in_another_order():
    assert sorted(patients._dealt(7).values()) == sorted(weights.FAULTS)
    assert patients._dealt(7) != patients.diagnosis()
    assert patients._dealt(7) == patients._dealt(7)


def test_a_diagnosis_with_open_places_is_not_attempted_and_an_unknown_word_is_told():
    assert check("weights.patients", dict.fromkeys("ABCDE", ...)).status == "not attempted"
    assert check("weights.patients", {**patients.diagnosis(), "C": ...}).status == "not attempted"
    outcome = check("weights.patients", {**patients.diagnosis(), "A": "flu"})
    assert outcome.status == "failed" and "patient A is one of stride, swap" in outcome.message
    outcome = check("weights.patients", dict.fromkeys("ABCDE", "swap"))
    assert outcome.status == "failed" and "number of different faults" in outcome.message


def test_a_wrong_diagnosis_is_told_how_many_are_right_and_not_which():
    right = patients.diagnosis()
    rotated = dict(zip(right, [*list(right.values())[1:], right["A"]], strict=True))
    outcome = check("weights.patients", rotated)
    assert outcome.status == "failed" and "number of right answers is 0, expected 5" in outcome.message


# The pictures ----------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    from safetensors.torch import save_file

    state = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)).state_dict()
    paths = {name: tmp_path / name for name in ("stream", "zip", "safetensors")}
    torch.save(state, paths["stream"], _use_new_zipfile_serialization=False)
    torch.save(state, paths["zip"])
    save_file(state, paths["safetensors"])
    return paths


def test_the_anatomy_covers_every_byte_once_and_finds_all_numbers(files):
    for name, path in files.items():
        state = read_checkpoint(path)
        parts = pictures.anatomy(path)
        assert parts[0][1] == 0 and parts[-1][2] == path.stat().st_size
        assert all(one[2] == other[1] for one, other in pairwise(parts))
        numbers = sum(end - start for kind, start, end in parts if kind == pictures.NUMBERS)
        assert numbers == sum(tensor.numel() * tensor.element_size() for tensor in state.values()), name
        names = pictures.DATA if name == "safetensors" else pictures.PROGRAM
        first, end = next((first, end) for kind, first, end in parts if kind == names)
        assert b"running_mean" in path.read_bytes()[first:end]


def test_the_pictures_say_in_words_what_they_show(files):
    assert "of which 1,000 are numbers" in weights.draw_anatomy(files).alt

    file = golden_checkpoint("halonet26t", "byobnet")
    names = {key: maps.byobnet(key) for key in file}
    assert "post_attn to middle.norm" in weights.draw_map(names, file, block="stages.3.0.").alt

    patient = weights.make_patients()["A"]
    difference = first_difference(patient.net, state=None, input=patient.transform)
    alt = weights.draw_strips({"A": difference}, {"A": "softmax"}).alt
    assert "departs at stages.0.0.middle: softmax" in alt
    assert "softmax" not in weights.draw_strips({"A": difference}).alt


def test_the_preprocessing_picture_measures_how_far_the_logits_moved():
    from netwright.transforms import Transform

    transform = Transform(default_for("resnet18").preprocessing)
    right = transform(Image.new("RGB", (300, 260), (10, 200, 30)))
    logits = torch.linspace(-1, 1, 1000)
    seen = {"right": right, "wrong": right.flip(0)}
    picture = weights.draw_preprocessing(transform, seen, {"right": logits, "wrong": 3 * logits})
    assert "right: 0.00, same winner; wrong: 2.00, same winner" in picture.alt


def test_a_table_lines_its_columns_up_and_escapes_its_words():
    table = weights.table(("a", "b"), [("longer", "<x>"), (1, 2)])
    assert str(table) == "a       b\nlonger  <x>\n1       2"
    assert "&lt;x&gt;" in table._repr_mimebundle_()["text/html"]
