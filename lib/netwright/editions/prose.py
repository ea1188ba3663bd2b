"""Markdown of the notebooks as HTML that needs no network: formulas become pictures, links to notebooks plain words.

Imports pages for what escapes.
"""

import base64
import io
import re
from functools import cache

from netwright.pages import escape

_CODE_OR_MATH = re.compile(
    r"(`+)(?:.+?)\1|\$\$(?P<display>.+?)\$\$|(?<![\\\w$])\$(?P<inline>(?!\s)[^$\n]+?)(?<!\s)\$(?!\w)", re.DOTALL
)
_FENCE = re.compile(r"^(```|~~~)")
_HEADING = re.compile(r"^(#{1,6}) +(.+?) *#*$")


def to_html(markdown: str) -> str:
    """Markdown as HTML."""
    from nbconvert.filters.markdown_mistune import markdown2html_mistune

    formulas: list[str] = []

    def kept(match: re.Match) -> str:
        formula = match["display"] or match["inline"]
        if formula is None:
            return match[0]  # in a code span a dollar is a dollar
        formulas.append(_picture(" ".join(formula.split()), display=match["display"] is not None))
        return f"FORMULA{len(formulas) - 1}ALUMROF"

    page = markdown2html_mistune(_CODE_OR_MATH.sub(kept, markdown))
    page = re.sub(r"FORMULA(\d+)ALUMROF", lambda match: formulas[int(match[1])], page)
    # A notebook beside the page is not there when the page is shown somewhere else.
    return re.sub(r'<a href="(?!https?://)[^"]*"[^>]*>(.*?)</a>', r"\1", page, flags=re.DOTALL)


@cache
def _picture(formula: str, *, display: bool) -> str:
    """A formula as <img>, with its LaTeX as the description; as code where matplotlib cannot set it."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import MathTextParser

    fraction = r"\dfrac" if display else r"\frac"
    size, text = 10.0, "$" + re.sub(r"\\[dt]?frac", lambda _: fraction, formula) + "$"
    # Without a date and with names that do not depend on chance, the same formula is the same bytes.
    with mpl.rc_context({"svg.hashsalt": "netwright", "svg.fonttype": "path", "mathtext.fontset": "cm"}):
        try:
            width, height, depth, *_ = MathTextParser("path").parse(text, dpi=72, prop=FontProperties(size=size))
        except ValueError:
            return f"<code>{escape(formula)}</code>"
        figure = Figure(figsize=(width / 72, height / 72))
        figure.text(0, depth / height, text, fontsize=size)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    style = f"height: {height / size:.2f}em; vertical-align: {-depth / size:.2f}em"
    kind = "formula display" if display else "formula"
    return f'<img class="{kind}" style="{style}" alt="{escape(formula)}" src="data:image/svg+xml;base64,{data}">'


def sections(markdown: str) -> list[tuple[int, str, list[str]]]:
    """(level, heading, blocks) for each heading of a cell; level 0 and "" for what stands before the first.

    Blocks are what blank lines part: paragraphs, lists, tables; a fenced piece of code is one, blank lines and all.
    """
    found: list[tuple[int, str, list[str]]] = [(0, "", [])]
    block: list[str] = []
    fenced = False
    for line in [*markdown.splitlines(), ""]:
        heading = None if fenced else _HEADING.match(line)
        fenced ^= bool(_FENCE.match(line.strip()))
        if heading or (not line.strip() and not fenced):
            if block:
                found[-1][2].append("\n".join(block))
            block = []
            if heading:
                found.append((len(heading[1]), heading[2], []))
        else:
            block.append(line)
    return [section for section in found if section[1] or section[2]]


def boiled_down(blocks: list[str]) -> str:
    """The first paragraph, and the list, table or formula that it leads to."""
    if not blocks:
        return ""
    leads = len(blocks) > 1 and re.match(r"([-*+] |\d+\. |\||\$\$)", blocks[1])
    return "\n\n".join(blocks[: 2 if leads else 1])
