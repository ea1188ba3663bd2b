"""A notebook for the projector: one HTML file that needs no network, moved by the arrow keys, a slide a page on paper.

Imports pages for what escapes, workbook for open exercises, the teaching files, the book and the engine of lessons and, of this
room, places and prose.
"""

import base64
import hashlib
import html
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from netwright.editions.places import MARK
from netwright.editions.prose import boiled_down, sections, to_html
from netwright.lessons.book import exercises_in
from netwright.lessons.engine import find
from netwright.lessons.teaching import Teaching
from netwright.pages import escape
from netwright.workbook import without_solutions

FOLDER = Path(__file__).parent
FULL = 15  # lines of text: then a new slide begins
WIDTH = 80  # characters of a line of text
SHORT = 12  # lines: code up to this is shown; that of an exercise, in which the answer is open, up to twice as many
TALLEST = 13  # lines of text that take as much room as the tallest figure
CALL = 3  # lines: code up to this only asks for the figures below it, which speak for themselves

_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_WIDGET_STATE = "application/vnd.jupyter.widget-state+json"


class Part(NamedTuple):
    """A piece of a slide: the heading it belongs to, what is shown, and how many lines it takes."""

    heading: str
    shown: str
    lines: int


@dataclass
class Slide:
    """One slide; notes are for who speaks."""

    heading: str
    parts: list[str] = field(default_factory=list)
    lines: int = 0
    notes: str = ""


def page(notebook, teaching: Teaching) -> str:
    """The whole page. It shows headings, the first words of each section, short code, figures and open exercises.

    The teaching file's opening, and the answers to its questions, are in the notes, which the key N shows.
    """
    deck = _packed(_parts(notebook))
    deck[0].notes = to_html(f"{teaching.minutes} minutes in class, estimated.\n\n{teaching.opening}")
    questions, answers = (
        to_html("\n".join(f"{i}. {text}" for i, text in enumerate(texts, start=1)))
        for texts in zip(*((pair.said, pair.answer) for pair in teaching.questions), strict=True)
    )
    return _page([*deck, Slide("Questions for the board", [questions], notes=answers)])


# From cells to slides ------------------------------------------------------------------------------------------


def _packed(parts: Iterator[Part]) -> list[Slide]:
    """As many parts on a slide as fit, of one heading."""
    deck: list[Slide] = []
    for part in parts:
        if not deck or deck[-1].heading != part.heading or deck[-1].lines + part.lines > FULL:
            deck.append(Slide(part.heading))
        deck[-1].parts.append(part.shown)
        deck[-1].lines += part.lines
    return deck


def _parts(notebook) -> Iterator[Part]:
    state = notebook["metadata"].get("widgets", {}).get(_WIDGET_STATE, {}).get("state", {})
    heading = ""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            for _, found, blocks in sections(cell["source"]):
                heading = found or heading
                if text := boiled_down(blocks):
                    yield Part(heading, to_html(text), _lines(text))
        elif cell["cell_type"] == "code":
            figures = [picture for output in cell["outputs"] for picture in _pictures(output, state)]
            if "solution(" not in cell["source"] and (not figures or len(cell["source"].splitlines()) > CALL):
                yield from (Part(heading, *shown) for shown in _code(cell["source"]))
            yield from (Part(heading, *figure) for figure in figures)


def _code(source: str) -> Iterator[tuple[str, int]]:
    """A cell's code if it is short, and lines; of an exercise its time and the code with the answer open."""
    most = SHORT
    if MARK in source:
        most, source = 2 * SHORT, without_solutions(source)
        for exercise in map(find, exercises_in(source)):
            yield f'<p class="time">{exercise.minutes} minutes · {exercise.difficulty}</p>', 1
    source = re.sub(r"\n{3,}", "\n\n", source)
    lines = source.splitlines()
    if 0 < len(lines) <= most:
        yield f"<pre><code>{_highlighted(source)}</code></pre>", 1 + round(0.8 * len(lines))


def _highlighted(code: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return highlight(code, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip()


def _pictures(output, state) -> Iterator[tuple[str, int]]:
    """The pictures of an output with their descriptions, and lines; of a widget those that it showed when saved."""
    data = output.get("data", {})
    pages = [data.get("text/html", "")]
    if _WIDGET_VIEW in data:
        pages = list(_values(data[_WIDGET_VIEW]["model_id"], state))
    for shown in pages:
        for tag in re.findall(r"<img\b[^>]*>", shown):
            given = {name: html.unescape(value) for name, value in re.findall(r'(\w+)="([^"]*)"', tag)}
            image = f'<img alt="{escape(given["alt"])}" src="{escape(given["src"])}">'
            yield f"<figure>{image}</figure>", min(TALLEST, 1 + round(30 * _flatness(given["src"])))


def _flatness(source: str) -> float:
    """Height through width of a PNG in a data: address; 1 for any other."""
    kind, _, data = source.partition(",")
    if kind != "data:image/png;base64":
        return 1
    width, height = struct.unpack(">II", base64.b64decode(data[:64])[16:24])
    return height / width


def _values(model: str, state) -> Iterator[str]:
    """The pages of HTML in a widget and in those it holds."""
    saved = state.get(model, {}).get("state", {})
    yield str(saved.get("value", ""))
    for child in saved.get("children", ()):
        yield from _values(child.removeprefix("IPY_MODEL_"), state)


def _lines(markdown: str) -> int:
    """How many lines a text takes: one paragraph, and each entry of a list and row of a table by itself."""
    joined = re.sub(r"\n(?!\s*([-*+|]|\d+\.) ?)", " ", markdown)
    return sum(-(-len(line) // WIDTH) for line in joined.split("\n"))


# The page --------------------------------------------------------------------------------------------------------


def _page(deck: list[Slide]) -> str:
    title = _plain(deck[0].heading)
    style, script = _file("slides.css"), _file("slides.js")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Nothing may be loaded from anywhere, not even by mistake; and no other script may run.
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"
    slides = "\n".join(_section(slide, number, len(deck)) for number, slide in enumerate(deck, start=1))
    return (
        '<!DOCTYPE html>\n<html lang="en-GB">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{slides}\n</main>\n"
        f'<nav aria-label="Slides"><span>{title} · arrow keys; N: notes</span>'
        '<button id="back" type="button" aria-label="The slide before">←</button>'
        '<output aria-live="polite" aria-label="Slide"></output>'
        '<button id="on" type="button" aria-label="The next slide">→</button></nav>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _section(slide: Slide, number: int, of: int) -> str:
    level = 1 if number == 1 else 2
    notes = f'<aside class="notes" aria-label="Notes" hidden>{slide.notes}</aside>' if slide.notes else ""
    return (
        f'<section tabindex="-1" aria-roledescription="slide" aria-label="{number} of {of}: {_plain(slide.heading)}">\n'
        f"<h{level}>{_in_line(slide.heading)}</h{level}>\n{chr(10).join(slide.parts)}\n{notes}</section>"
    )


def _in_line(markdown: str) -> str:
    return to_html(markdown).strip().removeprefix("<p>").removesuffix("</p>")


def _plain(markdown: str) -> str:
    return escape(html.unescape(re.sub(r"<[^>]+>", "", _in_line(markdown))))


@cache
def _file(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
