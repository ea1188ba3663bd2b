"""Every corruption: as its formula says, the same for the same picture, worse with severity, nothing at severity 0."""

import colorsys
import io

import matplotlib.cbook
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import netwright as nw
from netwright.datasets import PictureSet, ToyPictures
from netwright.evaluate import EvaluationError, measure, predict
from netwright.evaluate import corruptions as c
from netwright.evaluate.corruptions import LEVELS, Corrupted, corrupt
from netwright.evaluate.robustness import as_it_is, robustness
from netwright.toys import ToyWorld
from peers import torchvision

WITHOUT_CHANCE = {
    "gaussian_blur",
    "defocus_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "saturate",
    "pixelate",
    "jpeg",
}
UNSTEADY = {
    "saturate",
    "elastic",
}  # whose published severities are not an order: paler, then gaudier; waves, then ripples


@pytest.fixture(scope="module")
def photo():
    with Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as image:
        return image.convert("RGB").crop((130, 20, 354, 244)).resize((112, 96))


def rng():
    return np.random.default_rng(0)


def array(picture):
    return np.asarray(picture, dtype=float) / 255


@pytest.mark.parametrize("kind", LEVELS)
def test_a_corruption_is_repeatable_and_gives_a_picture_of_the_same_size(kind, photo):
    for severity in (1, 5):
        first, again = (corrupt(photo, kind, severity, seed=1, index=7) for _ in range(2))
        assert (first.mode, first.size) == ("RGB", photo.size) and first.tobytes() == again.tobytes()
        other_picture, other_seed = (
            corrupt(photo, kind, severity, seed=1, index=8),
            corrupt(photo, kind, severity, index=7),
        )
        assert (other_picture.tobytes() == first.tobytes()) == (kind in WITHOUT_CHANCE)
        assert (other_seed.tobytes() == first.tobytes()) == (kind in WITHOUT_CHANCE)


@pytest.mark.parametrize("kind", LEVELS)
def test_severity_0_leaves_the_picture_and_more_severity_takes_more_of_it(kind, photo):
    assert corrupt(photo, kind, 0).tobytes() == photo.tobytes()
    lost = [np.abs(array(corrupt(photo, kind, severity, index=3)) - array(photo)).mean() for severity in range(1, 6)]
    assert lost[0] > 0.005
    assert kind in UNSTEADY or (np.diff(lost) > 0).all(), lost


def test_there_are_fifteen_with_five_severities():
    assert len(LEVELS) == 15 and all(len(levels) == 5 for levels in LEVELS.values())
    assert set(c._FUNCTIONS) == set(LEVELS)


def test_the_noises_have_the_moments_of_their_formulas():
    grey = Image.new("RGB", (200, 200), (102, 102, 102))  # 0.4
    noisy = c.gaussian_noise(grey, 0.08, rng())
    assert noisy.mean() == pytest.approx(0.4, abs=2e-3) and noisy.std() == pytest.approx(0.08, rel=0.02)
    shots = c.shot_noise(grey, 12, rng())
    assert shots.mean() == pytest.approx(0.4, abs=3e-3) and shots.var() == pytest.approx(0.4 / 12, rel=0.03)
    speckles = c.speckle_noise(grey, 0.35, rng())
    assert speckles.std() == pytest.approx(0.4 * 0.35, rel=0.02)
    impulses = c.impulse_noise(grey, 0.27, rng())
    assert (impulses == 0).mean() == pytest.approx(0.135, abs=5e-3) and (impulses == 1).mean() == pytest.approx(
        0.135, abs=5e-3
    )


def test_gaussian_blur_is_torchvisions(photo):
    found = c.gaussian_blur(photo, 4, rng())
    sigma = 4 * 96 / 224
    tensor = torch.from_numpy(array(photo)).permute(2, 0, 1)
    side = 2 * int(4 * sigma + 0.5) + 1
    expected = torchvision.transforms.functional.gaussian_blur(tensor, [side, side], [sigma, sigma])
    inner = slice(8, -8)  # torchvision mirrors at the border, the published code repeats
    assert np.allclose(found[inner, inner], expected.permute(1, 2, 0).numpy()[inner, inner], atol=1e-5)


def test_defocus_is_a_convolution_with_a_disc(photo):
    disc = c._disc(2.6)
    assert disc.shape == (7, 7) and disc.sum() == pytest.approx(1) and np.allclose(disc, disc.T) and disc[0, 0] == 0
    assert disc[3, 3] == pytest.approx(1 / (np.pi * 2.6**2), rel=0.01)
    values = torch.from_numpy(array(photo)).permute(2, 0, 1)[:, None]
    padded = F.pad(values, (3, 3, 3, 3), mode="reflect")
    expected = F.conv2d(padded, torch.from_numpy(disc)[None, None])[:, 0].permute(1, 2, 0).numpy()
    assert np.allclose(c._convolve(array(photo), disc), expected)


def test_motion_blur_draws_a_trail_to_one_side():
    dot = Image.new("RGB", (224, 224))
    dot.putpixel((112, 112), (255, 255, 255))
    trail = c.motion_blur(dot, (10, 3), rng())[..., 0]
    rows, columns = trail.nonzero()
    assert trail.sum() == pytest.approx(1) and columns.max() == 112 and 92 <= columns.min() < 100
    assert trail[112, 112] == trail.max() and np.ptp(rows) <= np.ptp(columns) + 1


def test_zoom_blur_keeps_the_middle_and_averages_the_edge(photo):
    blurred = np.abs(c.zoom_blur(photo, (1.31, 0.03), rng()) - array(photo)).mean(axis=2)
    assert blurred[40:56, 48:64].mean() < 0.5 * blurred[:16].mean()


def plasma_written_out(size, decay, draw):
    """Diamond and square point by point: the middle of four corners, then the middle of each side, then half the step."""
    heights, step, spread = np.zeros((size, size)), size, 100.0

    def set_each(rows, columns, around):
        noise = spread * draw.uniform(-spread, spread, size=(len(rows), len(columns)))
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                four = [heights[(row + down) % size, (column + right) % size] for down, right in around]
                heights[row, column] = sum(four) / 4 + noise[i, j]

    while step >= 2:
        half = step // 2
        corners, middles = range(0, size, step), range(half, size, step)
        sides = [(-half, 0), (half, 0), (0, -half), (0, half)]
        set_each(middles, middles, [(-half, -half), (-half, half), (half, -half), (half, half)])
        set_each(corners, middles, sides)
        set_each(middles, corners, sides)
        step, spread = half, spread / decay
    heights -= heights.min()
    return heights / heights.max()


def test_fog_is_plasma_that_gets_finer_with_less_decay():
    clouds = c.plasma(64, 2, rng())
    assert clouds.shape == (64, 64) and (clouds.min(), clouds.max()) == (0, 1)
    roughness = [np.abs(np.diff(c.plasma(64, decay, rng()))).mean() for decay in (3, 2, 1.4)]
    assert roughness == sorted(roughness)
    assert np.allclose(c.plasma(8, 2, rng()), plasma_written_out(8, 2, rng()))
    black = c.fog(Image.new("RGB", (64, 64)), (3, 1.4), rng())
    assert black.min() == 0  # where nothing shines, thin fog is black too
    white = c.fog(Image.new("RGB", (64, 64), "white"), (3, 2), rng())
    assert np.allclose(white[..., 0], (1 + 3 * c.plasma(64, 2, rng())) / 4)


@pytest.mark.parametrize(("kind", "level"), [("brightness", 0.3), ("saturate", (0.3, 0)), ("saturate", (5, 0.1))])
def test_colours_change_as_in_hue_saturation_value(kind, level, photo):
    small = photo.resize((9, 7))
    small.putpixel((0, 0), (0, 0, 0))
    small.putpixel((1, 0), (90, 90, 90))
    found = c._FUNCTIONS[kind](small, level, rng())
    for y in range(7):
        for x in range(9):
            h, s, v = colorsys.rgb_to_hsv(*array(small)[y, x])
            if kind == "brightness":
                v = min(v + level, 1)
            else:
                s = min(max(s * level[0] + level[1], 0), 1)
            assert np.allclose(found[y, x], colorsys.hsv_to_rgb(h, s, v), atol=1e-9), (x, y)


def test_contrast_pixelate_and_jpeg_are_their_one_liners(photo):
    values = array(photo)
    assert np.allclose(c.contrast(photo, 0.2, rng()), 0.2 * values + 0.8 * values.mean(axis=(0, 1)))
    small = photo.resize((int(112 * 0.3), int(96 * 0.3)), Image.Resampling.BOX)
    assert c.pixelate(photo, 0.3, rng()).tobytes() == small.resize((112, 96), Image.Resampling.BOX).tobytes()
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=15)
    assert c.jpeg(photo, 15, rng()).tobytes() == Image.open(buffer).convert("RGB").tobytes()


def test_elastic_moves_pixels_and_invents_none(photo):
    assert np.allclose(c.elastic(photo, (0, 5, 0), rng()), array(photo))
    moved = c.elastic(photo, LEVELS["elastic"][4], rng())
    assert array(photo).min() <= moved.min() and moved.max() <= array(photo).max()
    places = torch.rand(30, 40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 200 - 50
    height, width = 96, 112
    grid = torch.stack([2 * places[..., 1] / (width - 1) - 1, 2 * places[..., 0] / (height - 1) - 1], dim=-1)[None]
    image = torch.from_numpy(array(photo)).permute(2, 0, 1)[None]
    expected = F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=True)[0]
    assert np.allclose(c._sample(array(photo), places.numpy()), expected.permute(1, 2, 0).numpy())


def test_a_shear_takes_its_three_points_where_they_were_sent():
    level, picture = (0, 5, 30), Image.new("RGB", (60, 60))
    picture.putpixel((50, 50), (255, 0, 0))  # one of the three points: the middle, 30, and a third of the side, 20
    drawn = rng()
    drawn.uniform(-1, 1, size=(60, 60, 2))
    after = np.array([50, 50]) + drawn.uniform(-30 * 60 / 224, 30 * 60 / 224, size=(3, 2))[0]
    down, right = np.argwhere(c.elastic(picture, level, rng())[..., 0] > 0.2).mean(axis=0)
    assert abs(down - after[0]) < 1 and abs(right - after[1]) < 1


def test_lengths_grow_with_the_picture(monkeypatch):
    places = []
    monkeypatch.setattr(c, "_sample", lambda values, found: places.append(found) or values)
    for side in (56, 224):
        spread = []
        for seed in range(8):
            c.elastic(Image.new("RGB", (side, side)), (29.28, 2.44, 0), np.random.default_rng(seed))
            spread.append((places[-1] - np.moveaxis(np.mgrid[0:side, 0:side], 0, -1)).std() / side)
        assert np.mean(spread) == pytest.approx(0.0086, rel=0.15), side
    assert c._scale(Image.new("RGB", (112, 300))) == 0.5


def test_what_does_not_exist_is_refused(photo):
    with pytest.raises(EvaluationError, match="No corruption is called 'snow'; there are gaussian_noise"):
        corrupt(photo, "snow", 1)
    with pytest.raises(EvaluationError, match="severity=6 does not exist"):
        corrupt(photo, "fog", 6)


# --- as a set, and the figures ---------------------------------------------------------------------------------------


class OneByOne(PictureSet):
    """The toy world without its pixels."""

    def __init__(self, toys):
        self.toys, self.name, self.class_names, self.targets = toys, toys.name, toys.class_names, toys.targets
        self.picture, self.where = toys.picture, toys.where


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nw.create_model("resnet18", num_classes=20)


@pytest.fixture(scope="module")
def toys():
    return ToyPictures(ToyWorld("val", size=40, length=12))


def test_a_net_sees_the_corrupted_crop(net, toys):
    transform = nw.transform_for(net, input_size=32)
    assert as_it_is(transform).crop(crop := transform.crop(toys.picture(0))).tobytes() == crop.tobytes()
    worse = Corrupted(toys, transform, "speckle_noise", 3, seed=5)
    by_hand = [corrupt(transform.crop(toys.picture(i)), "speckle_noise", 3, seed=5, index=i) for i in range(12)]
    assert worse.picture(4).tobytes() == by_hand[4].tobytes() and worse.where(4) == toys.where(4)
    pixels = worse.pixels([2, 9])
    assert np.array_equal(pixels[1].permute(1, 2, 0).numpy(), np.asarray(by_hand[9])) and len(pixels) == 2
    found = predict(net, worse, transform=as_it_is(transform))
    slow = predict(net, Corrupted(OneByOne(toys), transform, "speckle_noise", 3, seed=5), transform=as_it_is(transform))
    assert torch.equal(found.logits, slow.logits)
    net.eval()
    with torch.inference_mode():
        expected = net(torch.stack([as_it_is(transform)(picture) for picture in by_hand]))
    assert torch.allclose(found.logits, expected, rtol=1e-4, atol=1e-5)


def test_robustness_is_the_mean_over_kinds_and_severities(net, toys):
    transform = nw.transform_for(net, input_size=32)
    found = robustness(net, toys, transform=transform, kinds=("fog", "jpeg", "contrast"), severities=(2, 4))
    assert found.clean == measure(predict(net, toys, transform=transform)).top1
    values = []
    for kind in ("fog", "jpeg", "contrast"):
        for severity in (2, 4):
            worse = Corrupted(toys, transform, kind, severity)
            values.append(measure(predict(net, worse, transform=as_it_is(transform))).top1.value)
            assert found.shares[kind, severity].value == values[-1]
    assert found.mean == pytest.approx(np.mean(values)) and found.low <= found.mean <= found.high
    assert found.clean.value == 0 or found.relative_drop == pytest.approx(1 - found.mean / found.clean.value)
    head, rows = found.table()
    assert head == ["corruption", "severity 2", "severity 4", "mean"] and [row[0] for row in rows] == [
        "fog",
        "jpeg",
        "contrast",
    ]
    picture = found.figure()
    assert picture.png.startswith(b"\x89PNG") and "Top-1 for 3 corruptions" in picture.alt
