"""CSV, TSV and their relatives: quoted newlines, quotes that never close, lines without end. A formula in a cell
is text like any other; nothing here evaluates it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from connectors.tables.limits import Limits, too_large
from connectors.tables.records import Row


class _Lines:
    """The physical lines of a text, none longer than the cap; remembers whether the end was reached
    and whether the last line had an end of its own."""

    def __init__(self, text: io.TextIOWrapper, limits: Limits) -> None:
        self._text = text
        self._cap = limits.record_bytes
        self.ended = False
        self.unended = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(self._cap)
        if not line:
            self.ended = True
            raise StopIteration
        if len(line) >= self._cap:
            raise too_large(f"a line is longer than {self._cap} characters", "line_too_long")
        self.unended = not line.endswith(("\n", "\r"))
        return line


def rows(text: io.TextIOWrapper, delimiter: str, limits: Limits) -> Iterator[Row]:
    """The rows of a delimited text. A quote left open costs its own row, and says so; it cannot swallow the file,
    since the parser gives up on a cell after 131,072 characters and goes on at the next line."""
    lines = _Lines(text, limits)
    reader = csv.reader(lines, delimiter=delimiter)
    first = True
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = "a quoted cell does not close" if "field limit" in str(error) else str(error)
            yield Row([], f"the row cannot be read: {reason}", lost=True)
            continue
        if first:
            first = False
            if len(cells) in (1, 2) and cells[0].lstrip("\ufeff").lower() in ("sep=", f"sep={delimiter}"):
                continue
        if lines.ended:  # an ordinary row never needs to see the end of the file
            yield Row(cells, "a quoted cell is still open at the end of the file; it may be truncated", lost=True)
            return
        yield Row(cells, unended=lines.unended)
