"""Transforms equal, bit for bit, those of timm, torchvision and OpenMMLab, on every awkward picture."""

import io
import pickle
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from awkward_images import PEER_AGREES, oriented, rgb, write_all
from netwright.images import ImageError
from netwright.transforms import Transform
from netwright.weights.catalogue import catalogue
from peers import timm, torchvision


@dataclass(frozen=True)
class Published:
    """The fields of the catalogue's ``Preprocessing``, written out here so that the two can disagree."""

    side: int
    resize: int
    crop_pct: float
    interpolation: str = "bilinear"
    mean: tuple = (0.485, 0.456, 0.406)
    std: tuple = (0.229, 0.224, 0.225)
    pipeline: str = "timm"
    crop_mode: str = "center"
    test_input_size: tuple | None = None
    test_crop_pct: float | None = None

    @property
    def input_size(self):
        return self.side, self.side


RSB = Published(224, 235, 0.95, "bicubic", test_input_size=(288, 288), test_crop_pct=1.0)
TORCHVISION_V2 = Published(224, 232, 0.9655, pipeline="torchvision")
OPENMMLAB = Published(224, 256, 0.875, pipeline="openmmlab")

# timm's name of weights that are evaluated this way: its transform is built from its own configuration of them.
TIMM = {
    "resnext50_32x4d.fb_ssl_yfcc100m_ft_in1k": Published(224, 256, 0.875),
    "resnest50d_4s2x40d.in1k": Published(224, 256, 0.875, "bicubic"),
    "resnest101e.in1k": Published(256, 292, 0.875),
    "resnest200e.in1k": Published(320, 352, 0.909, "bicubic"),
    "resnest269e.in1k": Published(416, 448, 0.928, "bicubic"),
    "halonet50ts.a1h_in1k": Published(256, 272, 0.94, "bicubic"),
    "halonet26t.a1h_in1k": Published(256, 269, 0.95, "bicubic"),
    "haloregnetz_b.ra3_in1k": Published(224, 238, 0.94, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "resnext50_32x4d.a1_in1k": RSB,
    "resnext50_32x4d.tv2_in1k": Published(176, 201, 0.875, test_input_size=(224, 224), test_crop_pct=0.965),
}
TORCHVISION = {
    "IMAGENET1K_V1": Published(224, 256, 0.875, pipeline="torchvision"),
    "IMAGENET1K_V2": TORCHVISION_V2,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("awkward"))


@pytest.fixture(scope="module")
def pictures(files):
    """(path, the upright RGB picture that the peers are given)"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about a palette with transparency
        return [(path, ImageOps.exif_transpose(Image.open(path)).convert("RGB")) for path in files]


def timm_transform(name, **changes):
    use_test_size = changes.pop("use_test_size", False)
    config = timm.models.get_pretrained_cfg(name).to_dict()
    return timm.data.create_transform(
        **timm.data.resolve_data_config(changes, pretrained_cfg=config, use_test_size=use_test_size)
    )


def different(ours, theirs, pictures):
    """Names of the pictures on which two transforms differ in at least one bit."""
    return [path.name for path, upright in pictures if not torch.equal(ours(path), theirs(upright))]


def openmmlab_transform(upright):
    """LoadImageFromFile, ResizeEdge(256, short, pillow), CenterCrop(224), PackInputs, ClsDataPreprocessor, in numpy."""
    bgr = np.asarray(upright)[:, :, ::-1]
    height, width = bgr.shape[:2]
    size = (256, int(256 * height / width)) if width < height else (int(256 * width / height), 256)
    bgr = np.asarray(Image.fromarray(np.ascontiguousarray(bgr)).resize(size, Image.Resampling.BILINEAR))
    height, width = bgr.shape[:2]
    top, left = round((height - 224) / 2), round((width - 224) / 2)
    channels = bgr[top : top + 224, left : left + 224].transpose(2, 0, 1)[::-1].astype(np.float32)
    mean = np.array([123.675, 116.28, 103.53], dtype=np.float32)[:, None, None]
    std = np.array([58.395, 57.12, 57.375], dtype=np.float32)[:, None, None]
    return torch.from_numpy((channels - mean) / std)


def test_there_are_at_least_forty_awkward_pictures():
    assert len(PEER_AGREES) >= 40


@pytest.mark.parametrize("name", TIMM)
def test_every_bit_equals_timm(name, pictures):
    assert different(Transform(TIMM[name]), timm_transform(name), pictures) == []


@pytest.mark.parametrize("name, resize", [("resnext50_32x4d.a1_in1k", 288), ("resnext50_32x4d.tv2_in1k", 232)])
def test_every_bit_equals_timm_at_the_test_size(name, resize, pictures):
    ours = Transform(TIMM[name], use_test_size=True)
    assert (ours.input_size, ours.resize) == (TIMM[name].test_input_size, (resize, resize))
    assert different(ours, timm_transform(name, use_test_size=True), pictures) == []


def test_weights_without_a_test_size_keep_theirs():
    assert repr(Transform(OPENMMLAB, use_test_size=True)) == repr(Transform(OPENMMLAB))


@pytest.mark.parametrize(
    "size, crop_pct",
    [
        ((224, 320), 0.875),
        ((256, 192), 0.94),
        (256, 1.0),
        (160, 0.95),
        ((100, 101), 0.99),
        (224, 1.1),
        ((64, 96), 1.3),
        ((99, 100), 1.3),
    ],
)
def test_every_bit_equals_timm_for_other_sizes_even_when_the_crop_is_larger_than_the_picture(size, crop_pct, pictures):
    ours = Transform(TIMM["halonet50ts.a1h_in1k"], input_size=size, crop_pct=crop_pct)
    theirs = timm_transform("halonet50ts.a1h_in1k", input_size=(3, *ours.input_size), crop_pct=crop_pct)
    assert different(ours, theirs, pictures) == []


@pytest.mark.parametrize("version", TORCHVISION)
def test_every_bit_equals_torchvision(version, pictures):
    theirs = torchvision.models.ResNeXt101_32X8D_Weights[version].transforms()
    assert different(Transform(TORCHVISION[version]), theirs, pictures) == []


def test_every_bit_equals_torchvision_when_the_crop_is_padded(pictures):
    ours = Transform(replace(TORCHVISION_V2, resize=101))
    theirs = torchvision.transforms._presets.ImageClassification(crop_size=224, resize_size=101)
    assert different(ours, theirs, pictures) == []


def test_every_bit_equals_openmmlab(pictures):
    assert different(Transform(OPENMMLAB), openmmlab_transform, pictures) == []


def test_openmmlab_takes_inputs_that_are_not_square():
    assert Transform(OPENMMLAB, input_size=(96, 200))(rgb(301, 227)).shape == (3, 96, 200)


def test_openmmlab_arithmetic_is_not_torchvisions(pictures):
    same_geometry = replace(OPENMMLAB, pipeline="torchvision")
    assert different(Transform(OPENMMLAB), Transform(same_geometry), pictures) != []


def test_every_preprocessing_of_the_catalogue_is_proven_above():
    def facts(p):
        size = p.input_size, p.test_input_size, p.test_crop_pct
        return *size, p.resize, p.crop_pct, p.crop_mode, p.interpolation, p.mean, p.std, p.pipeline

    proven = {facts(p) for p in (*TIMM.values(), *TORCHVISION.values(), OPENMMLAB)}
    missing = {weights.name: facts(weights.preprocessing) for weights in catalogue()}
    assert {name: fact for name, fact in missing.items() if fact not in proven} == {}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_pil_image_goes_through_the_published_pipeline_which_ignores_exif(orientation):
    image = Image.open(io.BytesIO(oriented(orientation)))
    theirs = timm_transform("halonet50ts.a1h_in1k")(image.convert("RGB"))
    assert torch.equal(Transform(TIMM["halonet50ts.a1h_in1k"])(image), theirs)


@pytest.mark.parametrize("published", [TIMM["halonet50ts.a1h_in1k"], TORCHVISION_V2, OPENMMLAB])
def test_inverse_gives_back_the_pixels_of_the_crop_exactly(published, files):
    transform = Transform(published)
    for path in files[:12]:
        assert np.array_equal(np.asarray(transform.inverse(transform(path))), np.asarray(transform.crop(path)))


def test_inverse_clips_what_no_picture_holds_and_refuses_a_batch():
    transform = Transform(OPENMMLAB)
    assert np.asarray(transform.inverse(torch.full((3, 2, 2), 1e4))).min() == 255
    assert np.asarray(transform.inverse(torch.full((3, 2, 2), -1e4))).max() == 0
    with pytest.raises(ValueError, match=r"\(1, 3, 8, 8\)"):
        transform.inverse(torch.zeros(1, 3, 8, 8))


def test_the_result_is_contiguous_float32_and_shares_nothing_with_the_transform():
    transform = Transform(TORCHVISION_V2)
    first = transform(rgb(300, 300))
    kept = first.clone()
    assert (first.dtype, first.shape, first.is_contiguous()) == (torch.float32, (3, 224, 224), True)
    transform(rgb(240, 310))
    assert torch.equal(first, kept)


def test_torchs_default_dtype_does_not_change_the_result():
    image = rgb(120, 90)
    expected = Transform(OPENMMLAB)(image)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(Transform(OPENMMLAB)(image), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_transform_survives_pickling_for_the_workers_of_a_data_loader():
    transform = Transform(RSB)
    assert torch.equal(pickle.loads(pickle.dumps(transform))(rgb(50, 40)), transform(rgb(50, 40)))


def test_repr_says_what_happens_in_order():
    assert repr(Transform(TIMM["halonet50ts.a1h_in1k"])) == (
        "Transform(timm: resize short side 272 bicubic → centre crop 256×256 → "
        "normalise (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225])"
    )
    assert "(x - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]" in repr(Transform(OPENMMLAB))


def test_a_strip_that_would_fill_the_memory_when_resized_is_refused_with_its_size():
    with pytest.raises(ImageError, match=r"1 wide and 9000 high.*272 by 2448000"):
        Transform(TIMM["halonet50ts.a1h_in1k"])(Image.new("RGB", (1, 9000)))


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"pipeline": "keras"}, "pipeline is 'keras'; known are 'timm', 'torchvision', 'openmmlab'"),
        ({"interpolation": "nearest"}, "interpolation is 'nearest'"),
        ({"crop_mode": "squash"}, "crop_mode is 'squash'"),
        ({"crop_pct": 0.0}, "crop_pct is 0.0"),
        ({"resize": 200}, "does not pad"),
    ],
)
def test_a_preprocessing_that_no_published_net_uses_is_refused_by_name(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        Transform(replace(OPENMMLAB, **change))


@pytest.mark.parametrize("size", [0, (0, 5), (-1, 224), (3, 224, 224)])
def test_a_size_without_pixels_is_refused(size):
    with pytest.raises(ValueError, match="input_size is"):
        Transform(RSB, input_size=size)
