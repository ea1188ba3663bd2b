"""Every edit equals timm's or torchvision's bit for bit, whole policies too, given the same random numbers."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from netwright.datasets import Ticket
from netwright.tune.augment import Augmentation, color_jitter, crop_box, erase, random_resized_crop, turn_hue
from netwright.tune.policies import HIGHEST, IMAGENET_POLICY, RAND_OPERATIONS, AutoAugment, RandAugment, edit, value_at
from netwright.tune.samplers import Order
from peers import timm, torchvision

peer = timm.data.auto_augment
functional = torchvision.transforms.functional
FILL, BICUBIC = (124, 116, 104), Image.Resampling.BICUBIC
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

# Our names of timm's operations, where they differ.
TIMM = {"Posterize": "PosterizeOriginal", "TranslateX": "TranslateXRel", "TranslateY": "TranslateYRel"}
TIMM |= {name: name.replace("More", "Increasing") for name in RAND_OPERATIONS if name.endswith("More")}
OPERATIONS = sorted({*RAND_OPERATIONS, *(edit[0] for pair in IMAGENET_POLICY for edit in pair)})


class PythonsGlobal:
    """A Generator's methods, answered from the global states that timm draws from."""

    uniform = staticmethod(random.uniform)
    normal = staticmethod(random.gauss)
    choice = staticmethod(np.random.choice)
    random = staticmethod(random.random)  # last: inside the class it hides the module

    @staticmethod
    def integers(low, high=None, endpoint=False):
        return random.randint(low, high) if endpoint else random.randrange(low)


def seed(value: int) -> PythonsGlobal:
    random.seed(value)
    np.random.seed(value)
    return PythonsGlobal()


def picture(width: int = 61, height: int = 47) -> Image.Image:
    """Smooth colours with noise and a hard edge: nothing that an edit leaves as it is."""
    rng = np.random.default_rng(3)
    ramp = np.add.outer(np.linspace(0, 150, height), np.linspace(0, 60, width))[..., None] * [1.0, 0.8, 0.5]
    ramp[height // 3 : height // 2, width // 4 : width // 2] = (210, 30, 90)
    return Image.fromarray((ramp + rng.uniform(0, 40, ramp.shape)).astype(np.uint8))


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and one.mode == other.mode and one.tobytes() == other.tobytes()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_at_every_level_is_that_of_timm(operation):
    changed = 0
    # At its highest level timm posterizes to no bits at all, which Pillow refuses; here, to one.
    for level in (0, 2.5, 5, 7.3, 9.9 if operation == "PosterizeMore" else HIGHEST):
        for value in range(2):  # both signs come up
            theirs = peer.AugmentOp(
                TIMM.get(operation, operation), 1.0, level, {"img_mean": FILL, "interpolation": BICUBIC}
            )
            seed(value)
            expected = theirs(picture())
            found = edit(picture(), operation, value_at(operation, level, seed(value)), fill=FILL, resample=BICUBIC)
            assert same(found, expected), level
            changed += not same(found, picture())
    assert changed


@pytest.mark.parametrize(
    "operation, value, theirs",
    (
        ("Invert", None, functional.invert),
        ("Equalize", None, functional.equalize),
        ("AutoContrast", None, functional.autocontrast),
        ("Solarize", 77, lambda image: functional.solarize(image, 77)),
        ("Posterize", 3, lambda image: functional.posterize(image, 3)),
        ("Color", 0.3, lambda image: functional.adjust_saturation(image, 0.3)),
        ("Contrast", 1.7, lambda image: functional.adjust_contrast(image, 1.7)),
        ("Brightness", 0.6, lambda image: functional.adjust_brightness(image, 0.6)),
        ("Sharpness", 1.9, lambda image: functional.adjust_sharpness(image, 1.9)),
        ("Rotate", 17.0, lambda i: functional.rotate(i, 17.0, functional.InterpolationMode.BICUBIC, fill=FILL)),
    ),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_operations_are_those_of_torchvision_where_it_means_the_same(operation, value, theirs):
    assert same(edit(picture(), operation, value, fill=FILL, resample=BICUBIC), theirs(picture()))


# The second draws levels below 0, which count as 0.
@pytest.mark.parametrize("interpolation, magnitude, noise", (("bicubic", 7, 0.5), ("random", 1, 2)))
def test_rand_augment_is_that_of_timm_on_the_same_random_numbers(interpolation, magnitude, noise):
    settings = {"img_mean": FILL} | ({"interpolation": BICUBIC} if interpolation == "bicubic" else {})
    theirs = peer.rand_augment_transform(f"rand-m{magnitude}-mstd{noise}-inc1", settings)
    mine = RandAugment(
        FILL, (BICUBIC,) if interpolation == "bicubic" else (Image.Resampling.BILINEAR, BICUBIC), magnitude, noise
    )
    results = set()
    for value in range(60):
        seed(value)
        expected = theirs(picture())
        found = mine(picture(), seed(value))
        assert same(found, expected), value
        results.add(found.tobytes())
    assert len(results) > 30


def test_auto_augment_is_that_of_timm_on_the_same_random_numbers():
    theirs = peer.auto_augment_transform("original", {"img_mean": FILL, "interpolation": BICUBIC})
    mine, results = AutoAugment(FILL, (BICUBIC,)), set()
    for value in range(80):
        seed(value)
        expected = theirs(picture())
        found = mine(picture(), seed(value))
        assert same(found, expected), value
        results.add(found.tobytes())
    assert len(results) > 25


def test_posterizing_leaves_something_at_the_highest_level():
    black_and_white = edit(
        picture(), "PosterizeMore", value_at("PosterizeMore", HIGHEST, None), fill=FILL, resample=None
    )
    assert set(black_and_white.tobytes()) == {0, 128}


def test_the_searched_policy_is_the_one_torchvision_has():
    theirs = torchvision.transforms.AutoAugment().policies
    for mine, pair in zip(IMAGENET_POLICY, theirs, strict=True):
        for (name, probability, level), (their_name, their_probability, their_level) in zip(mine, pair, strict=True):
            assert (name, probability) == (their_name, their_probability)
            assert their_level in (level, None)


@pytest.mark.parametrize("size", ((61, 47), (20, 200), (300, 9), (5, 5)))
def test_a_random_crop_is_that_of_timm_on_the_same_random_numbers(size):
    theirs = timm.data.transforms.RandomResizedCropAndInterpolation((24, 40), scale=(0.2, 1.0), interpolation="random")
    for value in range(25):
        seed(value)
        expected = theirs(picture(*size))
        found = random_resized_crop(picture(*size), seed(value), (24, 40), 0.2, (Image.Resampling.BILINEAR, BICUBIC))
        assert same(found, expected), value


def test_a_crop_of_a_tiny_picture_is_never_empty():
    boxes = [crop_box(*size, np.random.default_rng(i), 0.01) for size in ((1, 1), (2, 1), (1, 90)) for i in range(40)]
    assert min(min(width, height) for _, _, width, height in boxes) == 1


def test_colour_jitter_is_that_of_torchvision_for_the_same_factors(monkeypatch):
    theirs = torchvision.transforms.ColorJitter(0.4, 0.3, 0.2, 0.1)
    for value in range(12):
        rng = np.random.default_rng(value)
        factors = [rng.uniform(1 - spread, 1 + spread) for spread in (0.4, 0.3, 0.2)] + [rng.uniform(-0.1, 0.1)]
        order = rng.permutation(4)
        monkeypatch.setattr(theirs, "get_params", lambda *_, o=order, f=factors: (torch.tensor(o), *f))
        found = color_jitter(picture(), np.random.default_rng(value), 0.4, 0.3, 0.2, 0.1)
        assert same(found, theirs(picture()))


@pytest.mark.parametrize("turn", (-0.5, -0.31, 0.0, 0.004, 0.2, 0.5))
def test_a_turn_of_hue_is_that_of_torchvision(turn):
    assert same(turn_hue(picture(), turn), functional.adjust_hue(picture(), turn))


def test_erasing_covers_the_box_of_timm_on_the_same_random_numbers():
    theirs = timm.data.random_erasing.RandomErasing(0.7, mode="const", device="cpu")
    erased = 0
    for value in range(40):
        seed(value)
        expected = theirs(torch.ones(3, 31, 44)) == 0
        rng = seed(value)
        rng.standard_normal = lambda shape, dtype: np.zeros(shape, dtype)
        found = erase(torch.ones(3, 31, 44), rng, 0.7) == 0
        assert found.equal(expected), value
        erased += found.any().item()
    assert 20 < erased < 40


def test_erased_pixels_are_normal_noise():
    image = erase(torch.full((3, 200, 200), 9.0), np.random.default_rng(0), 1.0)
    noise = image[image != 9.0]
    assert 0.02 * 0.9 < noise.numel() / image.numel() < 0.34
    assert noise.mean().abs() < 0.05 and 0.95 < noise.std() < 1.05


def test_what_a_net_is_trained_on_is_normalised_as_what_it_is_evaluated_on():
    augmentation = Augmentation((32, 32), **IMAGENET)
    theirs = torchvision.transforms.Compose(
        (torchvision.transforms.ToTensor(), torchvision.transforms.Normalize(**IMAGENET))
    )
    assert augmentation.normalise(picture()).equal(theirs(picture()))


# --- resuming ----------------------------------------------------------------------------------------------------


class Pictures(Dataset):
    def __init__(self, policy: str | None):
        self.augmentation = Augmentation((16, 16), **IMAGENET, policy=policy, jitter=0.4, hue=0.1, erasing=0.5, seed=9)

    def __len__(self):
        return 12

    def __getitem__(self, ticket: Ticket):
        return self.augmentation(picture(40 + ticket.index, 30), ticket)


@pytest.mark.parametrize("policy", (None, "auto", "rand"))
def test_an_input_depends_on_its_ticket_alone_not_on_workers_or_on_what_came_before(policy):
    data, tickets = Pictures(policy), Order(12, repeats=3).tickets(0)
    whole = [data[ticket] for ticket in tickets]
    assert len({tensor.numpy().tobytes() for tensor in whole}) == 12  # four pictures, three times, never the same
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # nothing global is drawn from
    for workers in (0, 2):
        loaded = torch.cat(list(DataLoader(data, batch_size=3, sampler=tickets[4:], num_workers=workers)))
        assert loaded.equal(torch.stack(whole[4:]))


def test_pictures_are_flipped_half_of_the_time_or_never():
    left_black = Image.fromarray(np.repeat([[[0] * 3] * 8 + [[255] * 3] * 8], 16, axis=0).astype(np.uint8))
    for flip, low, high in ((0.5, 60, 140), (0.0, 0, 0), (1.0, 200, 200)):
        augmentation = Augmentation((8, 8), (0, 0, 0), (1, 1, 1), crop_area=1.0, flip=flip)
        flips = sum(augmentation(left_black, Ticket(i))[0, 4, 0].item() > 0.5 for i in range(200))
        assert low <= flips <= high


@pytest.mark.parametrize(
    "wrong", ({"policy": "trivial"}, {"interpolation": "lanczos"}, {"crop_area": 0.0}, {"hue": 0.7})
)
def test_errors_name_the_way_out(wrong):
    with pytest.raises(ValueError, match="(?i)choose"):
        Augmentation((8, 8), **IMAGENET, **wrong)
