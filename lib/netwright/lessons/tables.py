"""Tables that show themselves in a notebook. Imports outcome, for their HTML."""

from collections.abc import Iterable
from dataclasses import dataclass

from netwright.lessons import outcome


@dataclass(frozen=True)
class Table:
    """Rows under heads, shown by a notebook as an HTML table; `scroll` keeps a long one in a window of its own."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    scroll: bool

    def __str__(self) -> str:
        lines = [self.heads, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(f"{word:<{width}}" for word, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        page = outcome.table(self.heads, self.rows)
        if self.scroll:
            page = f'<div style="max-height: 24em; overflow-y: auto">{page}</div>'
        return {"text/html": page, "text/plain": str(self)}


def table(heads: Iterable[object], rows: Iterable[Iterable[object]], *, scroll: bool = False) -> Table:
    """A table that shows itself in a notebook."""
    return Table(tuple(map(str, heads)), tuple(tuple(map(str, row)) for row in rows), scroll)
