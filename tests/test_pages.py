"""Pages: one file that loads nothing, in which text stays text and every picture has a description."""

import base64
import io
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from netwright import figures, pages
from netwright.files import replace_bytes, replacing
from netwright.pages import Bar, Number, Page, PageError

VOID = {"meta", "img", "br", "path", "rect"}
HOSTILE = "<script>alert(1)</script> \"'&\x00\udc80"


class Outline(HTMLParser):
    """What a page consists of: (tag, attributes) in order, and its text; raises where tags are not nested."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.words, self.open = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def named(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


def noise(side: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8))


def figure(dpi: int | None = None) -> figures.Picture:
    drawn, axis = figures.subplots(figsize=figures.HALF)
    axis.plot([0, 1])
    return figures.show(drawn, "A line that rises.", dpi=dpi)


def full_page(text: str = "text") -> Page:
    """A page with one of everything, each holding `text`."""
    page = Page(text, text)
    page.heading(text)
    page.heading(text, 3)
    page.text(text)
    page.note(text)
    page.items([text, text])
    page.code(text)
    page.numbers([Number(text, text, text), Number(text, text)])
    page.table([text, text, text], [[text, 0.5, Bar(0.5, 0.2, 0.8)], [text, text, None]], right=[1], caption=text)
    page.picture(figure(), text)
    page.gallery([(noise(32), text, text), (noise(600), text, text)])
    with page.folded(text):
        page.heading(text)
        page.heading(text)
    return page


# One file that loads nothing -----------------------------------------------------------------------------------


def test_a_page_has_no_script_and_loads_nothing():
    outline = Outline(full_page().to_html())
    assert {"script", "link", "iframe", "object"}.isdisjoint(name for name, _ in outline.elements)
    sources = [attributes[key] for _, attributes in outline.elements for key in ("src", "href") if key in attributes]
    assert sources and all(source.startswith(("data:image/", "#")) for source in sources)
    assert not re.search(r"url\(|@import", pages._style())
    (policy,) = (meta["content"] for meta in outline.named("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'")


def test_whatever_is_handed_in_stays_text():
    outline = Outline(full_page(HOSTILE).to_html())
    assert outline.named("script") == []
    shown = "<script>alert(1)</script> \"'&\\x00\\udc80"
    harmless = "".join(Outline(full_page("xyzzy").to_html()).words)
    assert "".join(outline.words).count(shown) == harmless.count("xyzzy") > 20
    assert [image["alt"] for image in outline.named("img")] == ["A line that rises.", shown, shown]
    assert all(set(image) <= {"class", "width", "height", "src", "alt"} for image in outline.named("img"))


def test_the_same_calls_give_the_same_page():
    assert full_page().to_html() == full_page().to_html()


def test_a_picture_takes_nothing_of_its_file_along():
    photo = noise(400)
    photo.info |= {"comment": b"taken at home", "icc_profile": b"home"}
    page = Page("t")
    page.gallery([(photo, "c", "a"), (photo.resize((40, 40)), "c", "a")])
    for image in Outline(page.to_html()).named("img"):
        assert b"home" not in base64.b64decode(image["src"].split(",")[1])


# Who reads it --------------------------------------------------------------------------------------------------


def test_a_page_names_its_language_its_title_and_its_parts():
    outline = Outline(full_page("Roses").to_html())
    assert outline.named("html") == [{"lang": "en"}]
    assert [len(outline.named(part)) for part in ("title", "h1", "header", "main", "footer", "nav")] == [1] * 6


def test_contents_lead_to_every_heading_of_level_two_by_names_of_their_own():
    outline = Outline(full_page("Roses & more").to_html())
    links = [link["href"].removeprefix("#") for link in outline.named("a")]
    assert links == ["roses-more", "roses-more-3", "roses-more-4"]
    names = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert sorted(names) == sorted({*names, *links})


@pytest.mark.parametrize("levels", [[3], [1], [2, 4], [2, 3, 5]])
def test_a_heading_that_skips_a_level_is_refused(levels):
    page = Page("t")
    with pytest.raises(ValueError, match=rf"of level {levels[-1]} cannot follow one of level"):
        [page.heading("h", level) for level in levels]


@pytest.mark.parametrize("alt", ["", "  "])
def test_a_picture_without_a_description_is_refused(alt):
    page = Page("t")
    with pytest.raises(ValueError, match="needs a description"):
        page.gallery([(noise(8), "caption", alt)])
    with pytest.raises(ValueError, match="needs a description"):
        page.picture(figures.Picture(figure().png, alt))


def test_a_table_names_its_columns_and_rows_and_can_be_scrolled_with_the_keyboard():
    page = Page("t")
    page.table(["class", "top-1", "right"], [["rose", "50%", 3], ["lily", None, 4]], right=(1, -1), caption="By class")
    outline = Outline(page.to_html())
    assert [head["scope"] for head in outline.named("th")] == ["col"] * 3 + ["row"] * 2
    assert [head.get("class") for head in outline.named("th")] == [None, "right", "right", None, None]
    (box,) = (a for name, a in outline.elements if a.get("class") == "wide")
    assert (box["tabindex"], box["aria-label"]) == ("0", "Table: By class")
    assert "None" not in "".join(outline.words)


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="This row has 1 cells and the table 2 columns"):
        Page("t").table(["a", "b"], [["only"]])


def test_a_bar_is_as_long_as_its_share_and_silent():
    drawn = Bar(0.25, 0.1, 0.4).to_html()
    assert '<rect class="value" width="25.0"' in drawn and "M10.0 5H40.0" in drawn and 'aria-hidden="true"' in drawn
    assert "path" not in Bar(0.25).to_html()


# Pictures ------------------------------------------------------------------------------------------------------


def decoded(page: Page) -> list[tuple[dict, Image.Image]]:
    images = Outline(page.to_html()).named("img")
    return [(image, Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1])))) for image in images]


def test_a_figure_of_twice_the_pixels_is_shown_at_the_same_size():
    page = Page("t")
    page.picture(figure())
    page.picture(figure(200))
    (plain, plain_image), (sharp, sharp_image) = decoded(page)
    assert (plain["width"], plain["height"]) == (sharp["width"], sharp["height"]) == ("500", "320")
    assert sharp_image.size == (1000, 640) and plain_image.size == (500, 320)


def test_small_pictures_are_kept_to_the_pixel_and_large_ones_made_small():
    page, small = Page("t"), noise(64)
    page.gallery([(small, "c", "a"), (noise(900), "c", "a"), (small.convert("L"), "c", "a")])
    (as_it_is, first), (shrunk, second), _ = decoded(page)
    assert np.array_equal(np.asarray(first), np.asarray(small)) and as_it_is["class"] == "small"
    assert second.size == (pages.THUMBNAIL, pages.THUMBNAIL) and "class" not in shrunk


# Whole files or none -------------------------------------------------------------------------------------------


def test_a_page_is_written_into_a_folder_that_is_made(tmp_path):
    path = full_page("Ünï").write(tmp_path / "new" / "page.html")
    assert path.read_text(encoding="utf-8") == full_page("Ünï").to_html()
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


def test_a_page_that_cannot_be_written_is_told_by_name(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PageError, match=r"The page .*page.html could not be written: "):
        Page("t").write(tmp_path / "file" / "page.html")


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    replace_bytes(path, b"old")
    with pytest.raises(OSError, match="no space"), replacing(path) as stream:
        stream.write(b"half of the n")
        raise OSError("no space")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_new_file_is_on_the_disk_before_it_takes_the_old_ones_place(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: done.append("fsync") or fsync(handle))
    monkeypatch.setattr(os, "replace", lambda a, b: done.append("replace") or replace(a, b))
    replace_bytes(tmp_path / "file", b"new")
    assert done[:2] == ["fsync", "replace"]
    assert done[2:] == ([] if os.name == "nt" else ["fsync"])  # of the folder
