"""Pages in HTML, for reports: one file that needs no network and no script, in light and dark, to be read or printed.

Imports figures and files.
"""

import base64
import contextlib
import html
import io
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from netwright.figures import Picture
from netwright.files import replace_file

THUMBNAIL = 336  # pixels: the longer side of a picture in a gallery, twice what it measures there
ENLARGED = 128  # pixels: pictures up to this side show their pixels instead of being blurred larger
DPI = 100  # of the house style: a figure with twice as many is shown at the same size, and twice as sharp


class PageError(OSError):
    """A page that could not be written; the message names the file and the reason."""


class Number(NamedTuple):
    """A number that is to be seen first: `value` in large type, `label` above it, `small` below."""

    label: str
    value: str
    small: str = ""


@dataclass(frozen=True)
class Bar:
    """A cell of a table that shows a share from 0 to 1 as a bar, from `low` to `high` as a line on it.

    Readers that cannot see it find nothing there: the table must also have the number in a cell of its own.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def to_html(self) -> str:
        line = ""
        if self.low is not None and self.high is not None:
            line = f'<path class="spread" d="M{100 * self.low:.1f} 5H{100 * self.high:.1f}"/>'
        return (
            '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
            '<rect class="track" width="100" height="10"/>'
            f'<rect class="value" width="{100 * self.value:.1f}" height="10"/>{line}</svg>'
        )


class Page:
    """A page that is filled from top to bottom, and written at the end.

    Whatever is handed to it is text and is shown as it is: nothing in a file's name or a class's can become markup.
    Raises ValueError where a reader would be lost: a picture without a description, a heading that skips a level.
    """

    def __init__(self, title: str, lead: str = "", *, language: str = "en"):
        """`lead`: one sentence under the title. `language`: of the text, for those who have it read aloud."""
        self.title, self.lead, self.language = title, lead, language
        self._parts: list[str] = []
        self._headings: list[tuple[int, str, str]] = []  # level, text, id

    # What a page is made of ----------------------------------------------------------------------------------------

    def heading(self, text: str, level: int = 2) -> None:
        """A heading; the title is level 1, and those of level 2 make the contents."""
        above = self._headings[-1][0] if self._headings else 1
        if not 2 <= level <= above + 1:
            raise ValueError(
                f"Heading {text!r} of level {level} cannot follow one of level {above}: no level is skipped."
            )
        name = _anchor(text, {name for _, _, name in self._headings})
        self._headings.append((level, text, name))
        self._parts.append(f'<h{level} id="{name}">{escape(text)}</h{level}>')

    def text(self, text: str) -> None:
        """A paragraph."""
        self._parts.append(f"<p>{escape(text)}</p>")

    def items(self, texts: Iterable[str]) -> None:
        """A list with a bullet before each text; nothing where there are no texts."""
        lines = "".join(f"<li>{escape(text)}</li>\n" for text in texts)
        self._parts.append(f"<ul>\n{lines}</ul>" if lines else "")

    def note(self, text: str) -> None:
        """A paragraph that is set apart: what would fool the reader."""
        self._parts.append(f'<div class="note" role="note"><p>{escape(text)}</p></div>')

    def code(self, text: str) -> None:
        """A command or a piece of code, which wraps where it is long and is copied as it was."""
        self._parts.append(f"<pre><code>{escape(text)}</code></pre>")

    def numbers(self, numbers: Iterable[Number]) -> None:
        """Numbers in large type, side by side."""
        inside = "".join(
            f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd>"
            + (f'<dd class="small">{escape(small)}</dd>' if small else "")
            + "</div>\n"
            for label, value, small in numbers
        )
        self._parts.append(f'<dl class="numbers">\n{inside}</dl>')

    def table(
        self,
        head: Sequence[str],
        rows: Iterable[Sequence[object]],
        right: Collection[int] = (),
        *,
        caption: str = "",
    ) -> None:
        """A table, which scrolls by itself where the window is too narrow. The first column names the rows.

        right: columns, from 0, that are set to the right, as numbers are; a negative one counts from the end. A cell
        is anything with a `str`, a `Bar`, or None for an empty one.
        """
        at_right = {column % len(head) for column in right}
        lines = []
        for row in rows:
            if len(row) != len(head):
                raise ValueError(f"This row has {len(row)} cells and the table {len(head)} columns: {row!r}.")
            cells = (_cell(cell, first=i == 0, right=i in at_right) for i, cell in enumerate(row))
            lines.append(f"<tr>{''.join(cells)}</tr>\n")
        heads = "".join(f'<th scope="col"{_right(i in at_right)}>{escape(text)}</th>' for i, text in enumerate(head))
        named = f"<caption>{escape(caption)}</caption>" if caption else ""
        label = escape(caption or (self._headings[-1][1] if self._headings else self.title))
        self._parts.append(
            f'<div class="wide" role="group" tabindex="0" aria-label="Table: {label}"><table>{named}\n'
            f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{''.join(lines)}</tbody></table></div>"
        )

    def picture(self, picture: Picture, caption: str = "") -> None:
        """A figure, on the white ground it was drawn for. Its description is what `figures.show` was given."""
        width, height = _size_shown(picture.png)
        data = base64.b64encode(picture.png).decode()
        image = f'<img src="data:image/png;base64,{data}" width="{width}" height="{height}"{_alt(picture.alt)}>'
        below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        self._parts.append(f'<figure class="drawn">{image}{below}</figure>')

    def gallery(self, entries: Iterable[tuple[Image.Image, str, str]]) -> None:
        """Small pictures side by side, each (image, caption, description); a line end in a caption is kept."""
        items = "".join(
            f"<li><figure>{_thumbnail(image, alt)}<figcaption>{escape(caption)}</figcaption></figure></li>\n"
            for image, caption, alt in entries
        )
        self._parts.append(f'<ul class="gallery">\n{items}</ul>')

    @contextlib.contextmanager
    def folded(self, summary: str) -> Iterator[None]:
        """What is added inside the block is hidden behind `summary` until it is clicked; on paper it is open."""
        self._parts.append(f"<details><summary>{escape(summary)}</summary>")
        yield
        self._parts.append("</details>")

    # The whole -----------------------------------------------------------------------------------------------------

    def to_html(self) -> str:
        """The page as it would be written: the same calls give the same text."""
        # Nothing may be loaded from anywhere, not even by mistake.
        policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
        lead = f'<p class="lead">{escape(self.lead)}</p>\n' if self.lead else ""
        return (
            f'<!DOCTYPE html>\n<html lang="{escape(self.language)}">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f"<title>{escape(self.title)}</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n"
            f"<header>\n<h1>{escape(self.title)}</h1>\n{lead}</header>\n{self._contents()}"
            f"<main>\n{chr(10).join(self._parts)}\n</main>\n"
            "<footer><p>Made by netwright. This page is one file: it loads nothing.</p></footer>\n</body>\n</html>\n"
        )

    def write(self, path: str | Path) -> Path:
        """Write the page, whole or not at all, into a folder that is made if need be. Raises PageError."""
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, self.to_html())
        except OSError as error:
            raise PageError(f"The page {path} could not be written: {error.strerror or error}.") from error
        return path

    def _contents(self) -> str:
        links = [f'<li><a href="#{name}">{escape(text)}</a></li>' for level, text, name in self._headings if level == 2]
        if len(links) < 3:
            return ""
        return f'<nav aria-label="Contents">\n<ul>\n{chr(10).join(links)}\n</ul>\n</nav>\n'


# Small helpers -------------------------------------------------------------------------------------------------


def escape(thing: object) -> str:
    """What `str` makes of it, as text of an HTML page or of an attribute in double quotes.

    Bytes of a file's name that are no text, and control characters, which no page may hold, are written out (\\udc80).
    """
    text = str(thing).encode("utf-8", "backslashreplace").decode()
    return html.escape(re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", lambda m: f"\\x{ord(m[0]):02x}", text))


def _alt(alt: str) -> str:
    if not alt.strip():
        raise ValueError("A picture needs a description: alt='what one sees, in a sentence'.")
    return f' alt="{escape(alt)}"'


def _right(right: bool) -> str:
    return ' class="right"' if right else ""


def _cell(cell: object, *, first: bool, right: bool) -> str:
    inside = cell.to_html() if isinstance(cell, Bar) else "" if cell is None else escape(cell)
    return f'<th scope="row"{_right(right)}>{inside}</th>' if first else f"<td{_right(right)}>{inside}</td>"


def _anchor(text: str, taken: Collection[str]) -> str:
    """A name to link to that no other heading has."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"
    names = (plain if i == 1 else f"{plain}-{i}" for i in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


def _size_shown(png: bytes) -> tuple[int, int]:
    """Width and height on the page of a figure."""
    with Image.open(io.BytesIO(png)) as image:
        scale = DPI / image.info.get("dpi", (DPI, DPI))[0]
        return round(image.width * scale), round(image.height * scale)


def _thumbnail(image: Image.Image, alt: str) -> str:
    """A picture as <img>: as it is where it is small, else made smaller and stored with small losses."""
    small = max(image.size) <= ENLARGED
    image = image.convert("RGB")
    image.info.clear()  # a comment or a profile of the file would travel along
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    if small:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode()
    kind = "png" if small else "jpeg"
    look = f'{" class=small" if small else ""} width="{image.width}" height="{image.height}"'
    return f'<img{look} src="data:image/{kind};base64,{data}"{_alt(alt)}>'


@cache
def _style() -> str:
    return (Path(__file__).parent / "pages.css").read_text(encoding="utf-8")
