"""The front door of the row readers: tells what a landed file is and yields its records. Blocking and CPU-bound:
call `take` from a thread, a bounded number of records at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from connectors.tables import delimited, lines, markup, sheet, text
from connectors.tables.limits import DEFAULT, Limits, too_large, unreadable
from connectors.tables.records import Header, Record, named
from connectors.tables.spool import Spooled
from hub.kernel.errors import Malformed

SHEET = "=sheet"  # the column that holds the title of a record's worksheet
Format = Literal["auto", "csv", "tsv", "xlsx", "xml", "jsonl"]


@dataclass(frozen=True)
class Reading:
    """How to read a file; `auto` and None mean: look and see."""

    format: Format = "auto"
    encoding: str | None = None
    delimiter: str | None = None
    header: bool = True
    wanted: frozenset[str] = field(default_factory=frozenset)  # column names that identify the header row
    sheet: str | None = None  # one worksheet, or several: see connectors.tables.sheet
    record: str | None = None  # name or path of the XML element that is a record


def records(spooled: Spooled, reading: Reading, limits: Limits = DEFAULT) -> Iterator[Record]:
    """The records of a landed file, in order. A record that cannot be trusted carries its `reason` and the next one
    follows; a file that cannot be read raises Malformed, one that costs too much TooLarge."""
    file = spooled.file
    if spooled.size > limits.total_bytes:
        raise too_large(f"the file is larger than {limits.total_bytes} bytes", "file_too_large")
    file.seek(0)
    head = file.read(8)
    if head.startswith(b"PK\x03\x04") or reading.format == "xlsx":
        if reading.format not in ("auto", "xlsx"):
            raise unreadable(f"the file is a ZIP archive, not {reading.format}", "wrong_format")
        if not head.startswith(b"PK"):
            _refuse_html(spooled)
            raise unreadable("the file is not an XLSX workbook", "bad_xlsx")
        return _workbook_records(spooled, reading, limits)
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise unreadable("the file is an old .xls or a protected workbook; save it as .xlsx or CSV", "old_xls")
    return _text_records(spooled, reading, limits)


def _workbook_records(spooled: Spooled, reading: Reading, limits: Limits) -> Iterator[Record]:
    """The records of the chosen sheets one after the other, each below its own header. Empty sheets are passed over
    unless all are. Where SHEET is wanted, each record says there which sheet it stands in."""
    number, empty = 0, True
    for title, grid in sheet.sheets(spooled.file, limits, reading.sheet):
        try:
            for record in named(grid, Header(reading.wanted - {SHEET}, reading.header), limits):
                number, empty = number + 1, False
                if number > limits.rows:
                    raise too_large(f"the workbook has more than {limits.rows} rows", "too_many_rows")
                record.number = number
                if SHEET in reading.wanted:
                    record.fields[SHEET] = title
                yield record
        except Malformed as error:
            if error.code == "no_rows":
                continue
            raise unreadable(f"sheet {title[:40]!r}: {error.detail}", error.code or "bad_xlsx") from None
        empty = False  # it has a header at least
    if empty:
        raise unreadable("the file has no rows", "no_rows")


def _text_records(spooled: Spooled, reading: Reading, limits: Limits) -> Iterator[Record]:
    file = spooled.file
    shape = _shape(spooled)
    if shape == "html":
        raise unreadable("the file is an HTML page, not a table; the address may ask for a login", "html")
    kind = reading.format
    if kind == "auto":
        kind = "csv" if shape == "text" else "jsonl" if shape == "jsonl" else "xml" if shape == "xml" else "csv"
        if shape == "json":
            raise unreadable("the file is one JSON document; this connector reads JSON lines", "wrong_format")
    if kind == "xml":
        if shape != "xml":
            raise unreadable("the file is not XML", "wrong_format")
        return markup.records(file, limits, record=reading.record, encoding=reading.encoding, wanted=reading.wanted)
    if shape == "xml":
        raise unreadable(f"the file is XML, not {kind}", "wrong_format")
    encoding = text.encoding_of(file, reading.encoding)
    if kind == "jsonl":
        return lines.records(text.open_text(file, encoding), limits)
    sample = text.sample_of(file, encoding)
    if not sample.strip("\ufeff \t\r\n"):
        raise unreadable("the file is empty but for white space", "empty_file")
    delimiter = reading.delimiter or ("\t" if kind == "tsv" else text.delimiter_of(sample))
    grid = delimited.rows(text.open_text(file, encoding), delimiter, limits)
    return named(grid, Header(reading.wanted, reading.header), limits)


def _shape(spooled: Spooled) -> str:
    """What the first characters say, whatever their encoding."""
    spooled.file.seek(0)
    head = spooled.file.read(8192)
    for bom, name in text.BOMS:
        if head.startswith(bom):
            return text.looks_like(head.decode(name, "ignore"))
    return text.looks_like(head.decode("latin-1"))


def _refuse_html(spooled: Spooled) -> None:
    if _shape(spooled) == "html":
        raise unreadable("the file is an HTML page, not a table; the address may ask for a login", "html")


def take(source: Iterator[Record], count: int) -> list[Record]:
    """The next `count` records, fewer only at the end. Blocks: call it through asyncio.to_thread."""
    return list(islice(source, count))
