"""open_image takes whatever a reader has in hand, shows it upright in 8-bit RGB, or says in a sentence why not."""

import io
import os
import threading
import time
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from awkward_images import ORIENTATION, PEER_AGREES, encode, grey16, inverted_cmyk, oriented, rgb, scene, with_alpha
from netwright import images
from netwright.images import SUFFIXES, ImageError, find_images, open_image, to_rgb


def pixels(image):
    assert isinstance(image, Image.Image) and image.mode == "RGB"
    return np.asarray(image)


@pytest.fixture
def photo(tmp_path):
    """A file, and its pixels."""
    path = tmp_path / "photo.png"
    path.write_bytes(encode(rgb(40, 30), "PNG"))
    return path, scene(40, 30)


# ------------------------------------------------------------------------------------------------- what is accepted


@pytest.mark.parametrize("name", PEER_AGREES)
def test_every_file_equals_pillows_own_upright_rgb(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = ImageOps.exif_transpose(Image.open(io.BytesIO(PEER_AGREES[name]()))).convert("RGB")
        assert np.array_equal(pixels(open_image(PEER_AGREES[name]())), np.asarray(expected))


@pytest.mark.filterwarnings("error")
def test_every_file_opens_without_a_warning():
    assert all(open_image(make()).mode == "RGB" for make in PEER_AGREES.values())
    assert open_image(Image.open(io.BytesIO(PEER_AGREES["palette_alpha.png"]()))).mode == "RGB"


def test_path_string_bytes_file_pil_array_and_tensor_give_the_same_picture(photo):
    path, expected = photo
    with open(path, "rb") as file:
        in_a_file = open_image(file)
    data = path.read_bytes()
    channels_first = torch.from_numpy(expected).permute(2, 0, 1)
    sources = [path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), Image.open(path), expected]
    sources += [expected / 255, (expected / 255).astype(np.float16), expected.astype(np.uint16) * 257]
    sources += [channels_first, channels_first / 255, (channels_first / 255).requires_grad_(), (expected / 255).copy()]
    for picture in [in_a_file, *map(open_image, sources)]:
        assert np.array_equal(pixels(picture), expected)


def test_one_channel_becomes_three_and_a_fourth_is_dropped():
    picture = np.dstack([scene(9, 7), np.full((7, 9), 5, np.uint8)])
    assert np.array_equal(pixels(open_image(picture)), picture[:, :, :3])
    assert np.array_equal(pixels(open_image(torch.from_numpy(picture).permute(2, 0, 1))), picture[:, :, :3])
    grey = picture[:, :, 0]
    for one in (grey, grey[:, :, None], torch.from_numpy(grey), torch.from_numpy(grey)[None]):
        assert np.array_equal(pixels(open_image(one)), np.dstack([grey] * 3))
    assert np.array_equal(pixels(open_image(grey > 99))[:, :, 1], np.where(grey > 99, 255, 0))


def test_a_tensor_in_half_precision_is_a_picture():
    for dtype in (torch.bfloat16, torch.float16):
        assert np.array_equal(pixels(open_image(torch.ones(3, 4, 5, dtype=dtype))), np.full((4, 5, 3), 255))


def test_a_tensor_of_three_rows_is_channels_first_and_an_array_of_three_columns_is_channels_last():
    cube = scene(3, 3)
    assert np.array_equal(pixels(open_image(cube)), cube)
    assert np.array_equal(pixels(open_image(torch.from_numpy(cube))), cube.transpose(1, 2, 0))


def test_the_picture_returned_is_a_copy(photo):
    original = rgb(8, 8)
    open_image(original).putpixel((0, 0), (1, 2, 3))
    assert np.array_equal(np.asarray(original), scene(8, 8))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stored_turned_stands_upright_again(orientation):
    turned_back = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = turned_back
    stored = rgb(30, 20)
    stored.info["exif"] = exif.tobytes()
    stored = ImageOps.exif_transpose(stored)  # Pillow turns it one way, and we must turn it the other
    exif[ORIENTATION] = orientation
    assert np.array_equal(pixels(open_image(encode(stored, "PNG", exif=exif))), scene(30, 20))


def test_opening_twice_does_not_turn_twice():
    once = open_image(oriented(6))
    assert once.size == (61, 90)
    assert np.array_equal(pixels(open_image(once)), pixels(once))


def test_a_pil_image_is_turned_by_open_image_and_left_by_to_rgb():
    assert open_image(Image.open(io.BytesIO(oriented(8)))).size == (61, 90)
    assert to_rgb(Image.open(io.BytesIO(oriented(8)))).size == (90, 61)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("block", [b"garbage", b"MM\0*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\x09\x01\x12"])
def test_garbled_exif_neither_hides_the_picture_nor_warns(kind, block):
    assert open_image(encode(rgb(20, 10), kind, exif=b"Exif\0\0" + block)).size == (20, 10)


def test_inverted_cmyk_is_not_shown_as_a_negative():
    difference = pixels(open_image(inverted_cmyk())).astype(int) - scene(130, 99)
    assert np.abs(difference).mean() < 15


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_keeps_its_high_byte_instead_of_clipping_to_white(kind):
    deep = grey16()
    picture = pixels(open_image(encode(Image.fromarray(deep), kind)))
    assert np.array_equal(picture, np.dstack([deep >> 8] * 3))


def test_sixteen_bit_grey_is_turned_by_exif_too():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    picture = open_image(encode(Image.fromarray(grey16(30, 20)), "PNG", exif=exif))
    assert np.array_equal(pixels(picture)[:, :, 0], np.rot90(grey16(30, 20) >> 8, -1))


def test_integers_of_32_bits_are_8_bit_or_16_bit_pictures_by_their_range():
    small, large = scene(9, 7)[:, :, 0].astype(np.int32), grey16(9, 7).astype(np.int32)
    assert np.array_equal(pixels(open_image(Image.fromarray(small)))[:, :, 0], small)
    assert np.array_equal(pixels(open_image(encode(Image.fromarray(large), "TIFF")))[:, :, 0], large >> 8)


def test_floats_of_a_pil_image_are_0_to_1_or_0_to_255():
    grey = scene(9, 7)[:, :, 0]
    for values in (grey.astype(np.float32), grey.astype(np.float32) / 255):
        assert np.array_equal(pixels(open_image(Image.fromarray(values)))[:, :, 0], grey)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(kind):
    frames = [Image.new("RGB", (12, 8), colour) for colour in ("red", "blue")]
    data = encode(
        frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert np.array_equal(pixels(open_image(data)), np.asarray(frames[0]))


def test_transparency_is_dropped_and_not_blended():
    image = with_alpha("RGBA")
    assert np.array_equal(pixels(open_image(encode(image, "PNG"))), np.asarray(image)[:, :, :3])


# -------------------------------------------------------------------------------------------------- what is refused


def refusal(source, **options):
    with pytest.raises(ImageError) as caught:
        open_image(source, **options)
    assert str(caught.value).endswith((".", "'"))
    return str(caught.value)


@pytest.mark.parametrize("name", ["photo.jpg", "progressive.jpg", "odd.png", "lossy.webp", "bitmap.bmp", "lzw.tif"])
@pytest.mark.parametrize("share", [0.02, 0.4, 0.99])
def test_a_truncated_file_is_named(name, share, tmp_path):
    data = PEER_AGREES[name]()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share)])
    assert name in refusal(path)


def test_a_picture_cut_short_says_so():
    data = PEER_AGREES["photo.jpg"]()
    assert "truncated" in refusal(data[:-500]) and "get it again" in refusal(data[:-500])


def test_a_bomb_is_refused_before_it_is_unpacked_with_its_pixels_and_the_limit():
    bomb = encode(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(bomb) < 100_000
    assert "400,000,000 pixels" in refusal(bomb) and "178,956,970" in refusal(bomb)


def test_max_pixels_is_a_limit_to_the_pixel():
    data = encode(rgb(40, 30), "PNG")
    assert "40 wide and 30 high: 1,200 pixels, and the limit is 1,199" in refusal(data, max_pixels=1199)
    assert open_image(data, max_pixels=1200).size == (40, 30)


def test_a_missing_file_names_its_neighbours(photo):
    path, _ = photo
    assert "There is no file" in refusal(path.with_name("phoot.png")) and "photo.png" in refusal(
        path.with_name("phoot.png")
    )
    assert "There is no folder" in refusal(path.parent / "elsewhere" / "photo.png")


def test_a_folder_an_empty_file_and_a_text_file_are_told_apart(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "page.jpg").write_text("<!DOCTYPE html><title>Not found</title>")
    assert "is a folder" in refusal(tmp_path)
    assert "empty.jpg is empty (0 bytes)" in refusal(tmp_path / "empty.jpg")
    assert "text that begins with '<!DOCTYPE html>" in refusal(tmp_path / "page.jpg")


def test_heic_is_told_what_to_install():
    assert "pillow-heif" in refusal(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100)


def test_postscript_is_never_handed_to_an_interpreter():
    eps = encode(rgb(20, 10), "EPS")
    assert Image.open(io.BytesIO(eps)).format == "EPS"
    assert "is not a picture in a format that is read here" in refusal(eps)


def test_a_device_and_a_name_that_no_system_takes_are_refused():
    assert "is a device or a pipe, not a file" in refusal(os.devnull)
    assert "cannot be read" in refusal("a\0b.png")
    assert "x.png" in refusal("x" * 5000 + "x.png")


@pytest.mark.parametrize(
    "source, sentence",
    [
        (np.zeros((3, 8, 9), np.uint8), "looks like channels first"),
        (np.zeros((8, 9, 2), np.uint8), r"shape (8, 9, 2)"),
        (np.zeros((2, 8, 9, 3), np.uint8), "is a batch"),
        (np.zeros(7, np.uint8), "shape (7,)"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (np.zeros((4, 4, 3), np.int64), "holds int64"),
        (np.full((4, 4), np.nan), "not finite"),
        (np.full((4, 4), np.inf), "not finite"),
        (np.full((4, 4), 200.0), "from 200 to 200"),
        (np.full((4, 4), -0.5), "from -0.5 to -0.5"),
        (torch.zeros(8, 9, 3), "channels last"),
        (torch.zeros(5, 8, 9), "shape (5, 8, 9)"),
        (torch.zeros(1, 3, 8, 9), "is a batch"),
        (torch.randn(3, 8, 9, generator=torch.Generator().manual_seed(0)), "inverse()"),
        (Image.new("RGB", (0, 4)), "0 wide and 4 high"),
        (Image.fromarray(np.full((2, 2), 70_000, np.int32)), "70000"),
        (Image.fromarray(np.full((2, 2), -1.0, np.float32)), "-1"),
        (Image.fromarray(np.full((2, 2), np.nan, np.float32)), "not finite"),
        (io.StringIO("text"), "mode 'rb'"),
        (b"", "is empty"),
        (42, "'int'"),
        (None, "'NoneType'"),
        ("s3://bucket/photo.png", "http:// or https://"),
        ("http://[half/an.address", "cannot be reached"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_picture_is_refused_by_name(source, sentence):
    assert sentence in refusal(source)


def test_rounding_noise_around_0_and_1_is_not_refused():
    assert pixels(open_image(np.array([[-1e-7, 1.0000001]])))[0, :, 0].tolist() == [0, 255]


# -------------------------------------------------------------------------------------------------------- addresses


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/missing.png":
                return self.send_error(404)
            self.send_response(200)
            self.end_headers()
            if self.path == "/photo.png":
                self.server.agent = self.headers["User-Agent"]
                self.wfile.write(encode(rgb(40, 30), "PNG"))
            elif self.path == "/large.png":
                self.wfile.write(b"x" * 5000)
            elif self.path == "/drip.png":  # one byte after another: no single read ever times out
                for _ in range(160):
                    if self.server.over.wait(0.05):
                        break
                    self.wfile.write(b"x")
                    self.wfile.flush()
            elif self.path == "/stall.png":
                self.server.over.wait(20)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.over = threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_an_address_is_opened_by_a_client_that_says_its_name(server):
    assert np.array_equal(pixels(open_image(server.url + "/photo.png")), scene(40, 30))
    assert server.agent == "netwright"


def test_an_address_that_is_not_there_answers_with_its_code(server):
    assert "missing.png answers 404" in refusal(server.url + "/missing.png")


def test_more_than_the_limit_is_given_up(server, monkeypatch):
    monkeypatch.setattr(images, "MAX_DOWNLOAD", 1000)
    assert "too much for one picture" in refusal(server.url + "/large.png")


@pytest.mark.parametrize("path", ["/stall.png", "/drip.png"])
def test_an_address_that_never_ends_is_given_up_in_time(server, path):
    start = time.monotonic()
    assert "cannot be reached" in refusal(server.url + path, timeout=0.3)
    assert time.monotonic() - start < 5


def test_without_a_network_the_sentence_offers_the_way_out(server):
    server.server_close()
    assert "save the picture on this machine" in refusal(server.url + "/photo.png")


# ------------------------------------------------------------------------------------------------------ many pictures


def test_find_images_walks_folders_in_a_stable_order_and_skips_what_is_hidden(tmp_path):
    names = ["b.JPG", "a.png", "sub/c.webp", "sub/.hidden.png", ".cache/d.png", "notes.txt", "._a.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_images(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a.png", "b.JPG", "sub/c.webp"]


def test_find_images_passes_on_files_and_addresses_in_the_order_given_once(tmp_path):
    (tmp_path / "a.png").touch()
    given = ["https://example.org/z.jpg", tmp_path / "gone.png", str(tmp_path), tmp_path / "a.png", "odd.suffix"]
    expected = ["https://example.org/z.jpg", tmp_path / "gone.png", tmp_path / "a.png", Path("odd.suffix")]
    assert find_images(given) == expected
    assert find_images("https://example.org/z.jpg") == ["https://example.org/z.jpg"]


def test_find_images_says_where_it_found_nothing_and_what_it_looked_for(tmp_path):
    with pytest.raises(ImageError, match=r"No pictures found in .*\.jpg"):
        find_images(tmp_path)


def test_every_awkward_picture_has_a_suffix_that_a_folder_run_finds():
    assert {Path(name).suffix for name in PEER_AGREES} <= set(SUFFIXES)
