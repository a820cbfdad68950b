"""XLSX as a stream of rows, with cached values only: formulas are never evaluated. Written on the guarded XML
parser because the usual library trusts the file's own claims (a row number of 10^9 makes it emit 10^9 empty rows,
a made-up dimension pads every row) and builds its tables before any cap can speak."""

from __future__ import annotations

import contextlib
import fnmatch
import posixpath
import re
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Context, Decimal
from typing import IO

from connectors.tables.limits import MIB, Limits, too_large, unreadable
from connectors.tables.markup import Attributes, parse
from connectors.tables.records import Row

_CHUNK = 64 * 1024
_FIFTEEN = Context(prec=15)  # the digits a spreadsheet keeps; 19.899999999999999 is how it stores 19.9
_BUILT_IN_DATES = frozenset([*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)])


def sheets(file: IO[bytes], limits: Limits, wanted: str | None = None) -> Iterator[tuple[str, Iterator[Row]]]:
    """The titles and rows of the worksheets that `wanted` names: one title, or several titles or patterns (`*` is every
    visible sheet) with commas between; the first visible sheet without. Take the rows of one before the next. Raises
    Malformed for what is no workbook and for a title or pattern that fits no sheet, TooLarge past a cap."""
    _check_directory(file, limits)
    with _damage_told(), zipfile.ZipFile(file) as archive:
        _check_entries(archive, limits)
        book = _Workbook(archive, limits)
        for title, path in book.chosen(wanted):
            yield title, _rows(book, path, limits)


@contextlib.contextmanager
def _damage_told() -> Iterator[None]:
    """What the unpacker says of a damaged archive, as a refusal."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
        raise unreadable(f"the XLSX archive is damaged: {error}", "bad_xlsx") from error


def _check_directory(file: IO[bytes], limits: Limits) -> None:
    """Look at the archive's own end record before anything reads its directory into memory."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 65_557 - 20))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise unreadable("the XLSX archive has no end record; the file is truncated", "truncated_xlsx")
    parts = int.from_bytes(tail[at + 10 : at + 12], "little")
    directory = int.from_bytes(tail[at + 12 : at + 16], "little")
    zip64 = tail[max(0, at - 20) : at].startswith(b"PK\x06\x07")
    if zip64 or parts > limits.parts or directory > MIB:
        raise too_large(f"the XLSX archive has more than {limits.parts} parts", "zip_bomb")


def _check_entries(archive: zipfile.ZipFile, limits: Limits) -> None:
    """The declared sizes are honoured by the unpacker, so checking them bounds the work."""
    total = 0
    for entry in archive.infolist():
        total += entry.file_size
        if total > limits.total_bytes:
            raise too_large(f"the XLSX unpacks to more than {limits.total_bytes} bytes", "file_too_large")
        if entry.file_size > limits.ratio_after and entry.file_size > limits.ratio * entry.compress_size:
            raise too_large(f"a part of the XLSX unpacks to more than {limits.ratio} times its size", "zip_bomb")
        if entry.flag_bits & 1:
            raise unreadable("the XLSX is protected by a password", "encrypted_xlsx")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise unreadable("the XLSX uses an unusual compression", "bad_xlsx")


class _Workbook:
    """Where the sheets are, which strings they share and which styles mean dates."""

    def __init__(self, archive: zipfile.ZipFile, limits: Limits) -> None:
        self.archive = archive
        self._limits = limits
        self._sheets: list[tuple[str, str, bool]] = []  # name, relation id, visible
        self._targets: dict[str, str] = {}
        self._parts: dict[str, str] = {}
        self.epoch = datetime(1899, 12, 30)  # noqa: DTZ001 - a spreadsheet's dates have no zone
        self.strings: list[str] = []
        self.dates: list[bool] = []
        if "xl/workbook.xml" not in archive.NameToInfo:
            raise unreadable("the archive holds no spreadsheet (xl/workbook.xml is missing)", "bad_xlsx")
        self._walk("xl/workbook.xml", self._on_workbook)
        self._walk("xl/_rels/workbook.xml.rels", self._on_relation)
        self._read_strings(self._parts.get("sharedStrings"))
        self._read_styles(self._parts.get("styles"))

    def chosen(self, wanted: str | None) -> list[tuple[str, str]]:
        """Titles and parts of the sheets wanted, in the workbook's order; raises Malformed for one it does not have."""
        there = [
            (title, self._targets.get(relation, ""), visible)
            for title, relation, visible in self._sheets
            if self._targets.get(relation, "") in self.archive.NameToInfo
        ]
        exact = [(title, path) for title, path, visible in there if title == wanted or (wanted is None and visible)]
        if exact:
            return exact[:1]
        found: dict[str, str] = {}
        for name in (part.strip() for part in (wanted or "").split(",")):
            fits = [
                (title, path)
                for title, path, visible in there
                if title == name or (visible and fnmatch.fnmatchcase(title, name))
            ]
            if not fits:
                have = ", ".join(title for title, _, _ in self._sheets[:20])
                raise unreadable(f"the workbook has no sheet {name or 'to read'}; it has: {have}", "no_sheet")
            found.update(fits)
        return [(title, path) for title, path, _ in there if found.get(title) == path]

    def chunks(self, path: str) -> Iterator[bytes | str]:
        with self.archive.open(path) as part:
            while data := part.read(_CHUNK):
                yield data

    def _walk(
        self,
        path: str,
        start: Callable[[str, Attributes], None],
        end: Callable[[str], None] = lambda name: None,
        text: Callable[[str], None] = lambda data: None,
    ) -> None:
        if path in self.archive.NameToInfo:
            for _ in parse(self.chunks(path), start=start, end=end, text=text, limits=self._limits):
                pass

    def _on_workbook(self, name: str, attributes: Attributes) -> None:
        local = name.rpartition("}")[2]
        if local == "sheet":
            relation = next((value for key, value in attributes.items() if key.endswith("}id")), "")
            self._sheets.append((attributes.get("name", ""), relation, attributes.get("state", "visible") == "visible"))
        elif local == "workbookPr" and attributes.get("date1904") in ("1", "true"):
            self.epoch = datetime(1904, 1, 1)  # noqa: DTZ001

    def _on_relation(self, name: str, attributes: Attributes) -> None:
        target = attributes.get("Target", "")
        if name.endswith("}Relationship") and attributes.get("TargetMode") != "External":
            path = posixpath.normpath(target.lstrip("/") if target.startswith("/") else f"xl/{target}")
            self._targets[attributes.get("Id", "")] = path
            self._parts[attributes.get("Type", "").rpartition("/")[2]] = path

    def _read_strings(self, path: str | None) -> None:
        if path is None or path not in self.archive.NameToInfo:
            return
        cap = self._limits.string_table_bytes
        if self.archive.getinfo(path).file_size > cap:
            raise too_large(f"the XLSX's shared texts are larger than {cap} bytes; send CSV instead", "file_too_large")
        runs: list[str] = []
        inside = phonetic = False

        def start(name: str, attributes: Attributes) -> None:
            nonlocal inside, phonetic
            local = name.rpartition("}")[2]
            if local == "si":
                runs.clear()
            elif local == "rPh":  # how to pronounce it, not part of the text
                phonetic = True
            elif local == "t":
                inside = not phonetic

        def end(name: str) -> None:
            nonlocal inside, phonetic
            local = name.rpartition("}")[2]
            if local == "si":
                self.strings.append("".join(runs))
            elif local == "rPh":
                phonetic = False
            elif local == "t":
                inside = False

        def text(data: str) -> None:
            if inside:
                runs.append(data)

        self._walk(path, start, end, text)

    def _read_styles(self, path: str | None) -> None:
        formats: dict[str, str] = {}
        in_cells = False

        def start(name: str, attributes: Attributes) -> None:
            nonlocal in_cells
            local = name.rpartition("}")[2]
            if local == "numFmt":
                formats[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
            elif local == "cellXfs":
                in_cells = True
            elif local == "xf" and in_cells:
                number = attributes.get("numFmtId", "0")
                self.dates.append(_means_date(number, formats.get(number)))

        def end(name: str) -> None:
            nonlocal in_cells
            if name.endswith("}cellXfs"):
                in_cells = False

        if path is not None:
            self._walk(path, start, end)


def _means_date(number: str, code: str | None) -> bool:
    if code is None:
        return number.isdigit() and int(number) in _BUILT_IN_DATES
    bare = re.sub(r'"[^"]*"|\\.|\[[^\]]*\]', "", code)
    return re.search(r"[ymdhs]", bare, flags=re.IGNORECASE) is not None and "General" not in bare


class _Sheet:
    """Builds rows from a worksheet's elements; a gap in the numbering costs nothing."""

    def __init__(self, book: _Workbook, limits: Limits) -> None:
        self.done: deque[Row] = deque()
        self._book = book
        self._limits = limits
        self._cells: dict[int, str] = {}
        self._reason = ""
        self._column = 0
        self._type = ""
        self._style = -1
        self._texts: list[str] = []
        self._size = 0
        self._reading = False
        self._phonetic = False

    def start(self, name: str, attributes: Attributes) -> None:
        local = name.rpartition("}")[2]
        if local == "c":
            self._column = _column(attributes.get("r", ""), self._column + 1)
            self._type = attributes.get("t", "n")
            style = attributes.get("s", "")
            self._style = int(style) if style.isdigit() and len(style) < 7 else -1
            self._texts.clear()
        elif local == "v" or (local == "t" and not self._phonetic):
            self._reading = True
        elif local == "row":
            self._cells, self._column, self._reason, self._size = {}, 0, "", 0
        elif local == "rPh":
            self._phonetic = True

    def text(self, data: str) -> None:
        if self._reading:
            self._size += len(data)
            if self._size > self._limits.record_bytes:
                raise too_large(f"a row is larger than {self._limits.record_bytes} bytes", "record_too_large")
            self._texts.append(data)

    def end(self, name: str) -> None:
        local = name.rpartition("}")[2]
        if local in ("v", "t"):
            self._reading = False
        elif local == "rPh":
            self._phonetic = False
        elif local == "c":
            value = self._value("".join(self._texts))
            if value:
                if self._column > self._limits.columns:
                    raise too_large(f"the table has more than {self._limits.columns} columns", "too_many_columns")
                self._cells[self._column] = value
        elif local == "row" and (self._cells or self._reason):
            cells = self._cells
            width = max(cells, default=0)
            self.done.append(Row([cells.get(n, "") for n in range(1, width + 1)], self._reason, sparse=True))

    def _value(self, raw: str) -> str:
        kind = self._type
        if kind == "s":
            try:
                return self._book.strings[int(raw)] if raw else ""
            except (ValueError, IndexError):
                self._reason = "a cell names a shared text that the workbook does not hold"
                return ""
        if kind == "b":
            return {"1": "true", "0": "false"}.get(raw, raw)
        if kind == "e":
            self._reason = f"column {self._column} shows the spreadsheet error {raw[:20]}"
            return raw
        if kind == "n" and raw:
            is_date = 0 <= self._style < len(self._book.dates) and self._book.dates[self._style]
            return _date(raw, self._book.epoch) if is_date else _number(raw)
        return raw


def _column(reference: str, following: int) -> int:
    """The number of the column `AB12` stands in; `following` when the cell does not say."""
    number = 0
    for letter in reference[:4]:
        if not "A" <= letter <= "Z":
            break
        number = number * 26 + ord(letter) - 64
    return number or following


def _number(raw: str) -> str:
    """A stored number as a person sees it: 15 significant digits, no exponent."""
    if len(raw) <= 15 and raw.isdigit():
        return raw
    try:
        value = _FIFTEEN.create_decimal(raw)
    except ArithmeticError:
        return raw
    if not value.is_finite() or not -20 < value.adjusted() < 30:
        return raw
    return format(value.normalize(_FIFTEEN) + Decimal(0), "f")


def _date(raw: str, epoch: datetime) -> str:
    try:
        moment = epoch + timedelta(seconds=round(float(raw) * 86_400))
    except (ValueError, OverflowError):
        return raw
    return moment.date().isoformat() if "." not in raw else moment.isoformat(sep=" ")


def _rows(book: _Workbook, path: str, limits: Limits) -> Iterator[Row]:
    sheet = _Sheet(book, limits)
    with _damage_told():  # the rows are read by whoever takes them, outside of `sheets`
        for _ in parse(book.chunks(path), start=sheet.start, end=sheet.end, text=sheet.text, limits=limits):
            while sheet.done:
                yield sheet.done.popleft()
