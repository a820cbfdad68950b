"""The bytes of a CSV file as columns of text, with the place of every row for messages. UTF-8 with or without a byte
order mark, UTF-16 with one, and GB18030 are read; whatever is none of them is refused rather than guessed."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator

from hub.kernel.errors import Malformed

_CHUNK = 50_000
_COLUMNS = 256


class Sheet:
    """A CSV file with a header. Rows count from 0 without blank lines."""

    def __init__(self, name: str, raw: bytes, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
        self.name = name
        self.encoding, self._text = _decoded(name, raw)
        header = next(self.rows(), (1, []))[1]
        self.header = [cell.strip().lower() for cell in header]
        if len(self.header) > _COLUMNS:
            raise Malformed(f"{name} line 1: {len(self.header):,} columns; at most {_COLUMNS} are read")
        missing = [column for column in needed if column not in self.header]
        if missing:
            raise Malformed(
                f"{name} line 1: no column {missing[0]!r}; found {', '.join(self.header)[:200] or 'nothing'}"
            )
        for column in (*needed, *optional):
            if self.header.count(column) > 1:
                raise Malformed(f"{name} line 1: column {column!r} stands there twice")
        self.ignored = [column for column in self.header if column and column not in (*needed, *optional)]

    def columns(self, *names: str) -> Iterator[dict[str, tuple[str, ...]]]:
        """The named columns in pieces; those that the file does not have are left out."""
        width = len(self.header)
        at = [(name, self.header.index(name)) for name in names if name in self.header]
        piece: list[list[str]] = []
        try:
            reader = csv.reader(io.StringIO(self._text, newline=""), strict=True)
            next(reader, None)
            for row in reader:
                if not row or not (row[0] or any(cell.strip() for cell in row)):
                    continue
                if len(row) != width:
                    self._ragged(row)
                piece.append(row)
                if len(piece) == _CHUNK:
                    yield _turned(piece, at)
                    piece = []
        except csv.Error as error:
            raise Malformed(f"{self.name} line {reader.line_num}: {error}") from error
        if piece:
            yield _turned(piece, at)

    def place(self, row: int) -> str:
        """Where a row stands, as people find it."""
        for number, (line, _cells) in enumerate(self.rows(), -1):
            if number == row:
                return f"{self.name} line {line}"
        return f"{self.name} row {row + 1}"

    def _ragged(self, bad: list[str]) -> None:
        for line, cells in self.rows():
            if cells == bad and len(cells) != len(self.header):
                raise Malformed(f"{self.name} line {line}: {len(cells)} fields, the header has {len(self.header)}")

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Every row that is not blank, with the line that it begins on."""
        reader = csv.reader(io.StringIO(self._text, newline=""), strict=True)
        line = 1
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error as error:
            raise Malformed(f"{self.name} line {reader.line_num}: {error}") from error


def _turned(rows: list[list[str]], at: list[tuple[str, int]]) -> dict[str, tuple[str, ...]]:
    columns = list(zip(*rows, strict=True))
    return {name: columns[place] for name, place in at}


def _decoded(name: str, raw: bytes) -> tuple[str, str]:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16", _strict(name, raw, "utf-16", "UTF-16")
    try:
        return "UTF-8", _strict(name, raw, "utf-8-sig", "UTF-8")
    except Malformed:
        if raw.startswith(codecs.BOM_UTF8):
            raise
    text = _strict(name, raw, "gb18030", "neither UTF-8 nor GB18030")
    strange = [char for char in text if not char.isascii()]
    common = sum(_is_common(char) for char in strange)
    if common * 2 < len(strange):  # letters of some other alphabet that happen to pair up
        line = text[: text.index(strange[0])].count("\n") + 1
        raise Malformed(f"{name} line {line}: the encoding is neither UTF-8 nor GB18030")
    return "GB18030", text


def _strict(name: str, raw: bytes, codec: str, said: str) -> str:
    try:
        text = raw.decode(codec)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        what = said if said.startswith("neither") else f"not {said}"
        raise Malformed(f"{name} line {line}: the encoding is {what}") from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise Malformed(f"{name} line {line}: a NUL character; this is not a CSV file")
    return text


def _is_common(char: str) -> bool:
    """Whether it is one of GB 2312's signs or everyday characters. Accented letters that happen to pair up fall
    outside."""
    try:
        return char.encode("gb2312") < b"\xd8"
    except UnicodeEncodeError:
        return False
