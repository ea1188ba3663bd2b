"""What every view stands in: badges that say what was measured, arrays that travel as text, pages that are whole."""

import base64
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from demo_view import Demo, with_demo
from netwright.views.frame import assembling
from netwright.views.frame.live import widget
from netwright.views.view import CheckFailed, Identity, relative


@pytest.fixture(autouse=True)
def demo(monkeypatch):
    with_demo(monkeypatch)
    assembling.module.cache_clear()


def array_in(sent: dict) -> np.ndarray:
    raw = base64.b64decode(sent["base64"])
    return np.frombuffer(raw, np.dtype(sent["dtype"]).newbyteorder("<")).reshape(sent["shape"])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "int16", "uint8", "int8", "bool"])
def test_an_array_travels_as_text_and_comes_out_the_same(dtype):
    array = (np.arange(12).reshape(3, 4) % 2).astype(dtype)
    for given in (array, torch.from_numpy(array)[:, :], np.asfortranarray(array)):
        assert np.array_equal(array_in(assembling.encode(given)), array)


def test_two_bytes_are_enough_to_be_looked_at():
    array = np.linspace(-3, 3, 50)
    sent = assembling.encode({"map": [assembling.Half(array)]})["map"][0]
    assert sent["dtype"] == "f2" and np.allclose(array_in(sent), array, rtol=1e-3)


def test_pictures_become_addresses_and_plain_values_stay_what_they_are():
    sent = assembling.encode({"picture": Image.new("RGB", (2, 2)), "n": np.float64(1.5), "name": "é", "none": None})
    assert sent["picture"].startswith("data:image/png;base64,") and sent["n"] == 1.5
    assert (sent["name"], sent["none"]) == ("é", None)
    with pytest.raises(TypeError, match="cannot be sent to a browser"):
        assembling.encode(np.array(["words"]))


def test_numbers_that_are_none_are_refused_and_nothing_can_end_a_script():
    with pytest.raises(ValueError):
        assembling.dumps({"x": float("nan")})
    text = assembling.dumps({"name": "</script><script>alert(1)</script><!-- 'x' \" \u2028"})
    assert "</" not in text and "<!--" not in text
    assert json.loads(text)["name"].startswith("</script><script>")


def test_a_badge_says_what_holds_what_is_approximate_and_what_fails():
    assert Demo().badge == {"text": "the numbers are numbers, 1e-07", "state": "holds"}
    assert Demo(error=0.0).badge["text"] == "the numbers are numbers, exactly"
    assert Demo(error=None).badge == {"text": "the numbers are numbers", "state": "approximate"}
    for error in (0.1, float("nan"), float("inf")):
        view = Demo(error=error)
        assert view.badge["state"] == "fails"
        with pytest.raises(CheckFailed, match="“the numbers are numbers” does not hold"):
            view.check()
    assert Demo().check() == Demo().badge["text"]


def test_the_error_is_relative_to_the_largest_value_and_never_overlooks_a_shape_or_a_nan():
    assert relative([1.0, 2.2], [1.0, 2.0]) == pytest.approx(0.1)
    assert relative(torch.zeros(2), np.zeros(3)) == float("inf")
    assert relative([float("nan")], [1.0]) == float("inf")
    assert Identity("x", relative([0.0], [0.0])).holds


def test_a_page_is_whole_and_escapes_what_it_is_given():
    page = assembling.page('A < B & "C"', [("demo", Demo(words="</script>").message())], lead="<b>")
    assert "<title>A &lt; B &amp; &quot;C&quot;</title>" in page and "<p>&lt;b&gt;</p>" in page
    assert not re.search(r"(?:src|href)=[\"'](?!data:)", page)
    assert set(re.findall(r"https?://[\w./]+", page)) <= {"http://www.w3.org/2000/svg"}
    assert page.count("function mount(") == 1


def test_a_notebook_gets_the_widget_the_page_and_the_still_picture():
    bundle = Demo()._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == Demo.alt
    assert {"text/html", "application/vnd.jupyter.widget-view+json"} <= set(data)
    assert '<iframe title="A demo" srcdoc=' in data["text/html"] and f'<img alt="{Demo.alt}"' in data["text/html"]


def test_the_widget_answers_and_says_what_went_wrong():
    live = widget(Demo())
    live.question = json.dumps({"x": 4, "id": 1})
    assert json.loads(live.answer) == {"twice": 8, "id": 1}
    live.question = json.dumps({"x": 40, "id": 2})
    assert json.loads(live.answer) == {"error": "ValueError: x=40 is too much: choose 9 or less.", "id": 2}
    live.question = '{"x": NaN, "id": 2.5}'  # what cannot be sent is answered too, else the browser would wait for ever
    assert "not all finite" in json.loads(live.answer)["error"] and json.loads(live.answer)["id"] == 2.5
    live.question = json.dumps({"ask": "twin", "id": 3})
    assert json.loads(live.answer)["payload"]["data"]["words"] == "That is all."
    live.choose(row=1)
    assert live.chosen == {"row": 1}
    assert "import" not in re.findall(r"^\s*(import)\s", live._esm, re.MULTILINE)  # nothing is fetched


def test_a_view_is_written_to_one_file_whose_size_a_twin_doubles(tmp_path):
    with_twin = Demo().save(tmp_path / "a.html").read_text(encoding="utf-8")
    alone = Demo().save(tmp_path / "b.html", twin=False).read_text(encoding="utf-8")
    assert '"twin":null' in alone and with_twin.count('"words":"That is all."') == 2


def test_what_two_bytes_cannot_hold_travels_in_four():
    for largest in (1e6, 1e-6):
        array = np.linspace(-1, 1, 50) * largest
        sent = assembling.encode(assembling.Half(array))
        assert sent["dtype"] == "f4" and np.allclose(array_in(sent), array, rtol=1e-3, atol=0)


def test_numbers_that_are_not_finite_are_refused_in_a_sentence_that_names_the_view():
    with pytest.raises(ValueError, match="A demo: its numbers are not all finite.*probe.place."):
        assembling.dumps({"title": "A demo", "numbers": [float("inf")]})
