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

Format = Literal["auto", "csv", "tsv", "xlsx", "xml", "jsonl"]


@dataclass(frozen=True)
class Reading:
    """How to read a file; `auto` and None mean: look and see."""

    format: Format = "auto"
    encoding: str | None = None
    delimiter: str | None = None
    header: bool = True
    wanted: frozenset[str] = field(default_factory=frozenset)  # column names that identify the header row
    sheet: str | None = None
    record: str | None = None  # local name of the XML element that is a record


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
        return named(sheet.rows(file, limits, reading.sheet), Header(reading.wanted, reading.header), limits)
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise unreadable("the file is an old .xls or a protected workbook; save it as .xlsx or CSV", "old_xls")
    return _text_records(spooled, reading, limits)


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
        return markup.records(file, limits, record=reading.record, encoding=reading.encoding)
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
