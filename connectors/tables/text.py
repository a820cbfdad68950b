"""What the bytes of a text file mean: its encoding, its delimiter, and whether it is a table at all. Nothing is
guessed silently: bytes that fit no encoding refuse the file, and single damaged characters refuse their row."""

from __future__ import annotations

import codecs
import csv
import io
import re
from typing import IO

from connectors.tables.limits import MIB, unreadable
from hub.kernel.errors import Misconfigured

DAMAGED = "\udcff"  # stands for bytes that do not decode; a lone surrogate, so no text can hold it by itself
_MARK = "supplyhub.damaged"
_SAMPLE = 64 * 1024
_DELIMITERS = (",", "\t", ";", "|")
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return DAMAGED, error.end


codecs.register_error(_MARK, _mark)


def encoding_of(file: IO[bytes], declared: str | None = None) -> str:
    """The codec of a text file: the declared one, its byte order mark's, UTF-8, or GB18030 (which contains GBK and
    GB2312). Reads the whole file once in constant memory. Raises Malformed when none fits, Misconfigured for a
    declared name that is no text encoding."""
    file.seek(0)
    head = file.read(4096)
    for bom, name in BOMS:
        if head.startswith(bom):
            return name
    if declared:
        try:
            b"x".decode(declared, "ignore")
        except LookupError as error:
            raise Misconfigured(f"{declared!r} is not a text encoding", code="bad_encoding") from error
        return declared
    if b"\0" in head:
        raise unreadable("the file is binary, or UTF-16 without its byte order mark", "unknown_encoding")
    if _fits_utf8(file):
        return "utf-8"
    if _fits_gb18030(file):
        return "gb18030"
    raise unreadable("the text is neither UTF-8 nor GB18030; declare the connection's `encoding`", "unknown_encoding")


def _fits_utf8(file: IO[bytes]) -> bool:
    """True when the file is UTF-8, a few damaged characters aside."""
    good = bad = 0
    decoder = codecs.getincrementaldecoder("utf-8")(errors=_MARK)
    file.seek(0)
    while True:
        chunk = file.read(MIB)
        text = decoder.decode(chunk, final=not chunk)
        if not text.isascii():
            damaged = text.count(DAMAGED)
            bad += damaged
            good += len(text) - len(text.encode("ascii", "ignore")) - damaged
        if not chunk:
            return good >= 10 * bad


def _fits_gb18030(file: IO[bytes]) -> bool:
    """True when the file decodes and most of what is not ASCII is common Chinese: Latin text in a Windows code
    page also decodes now and then, but as rare characters."""
    common = rare = bad = 0
    decoder = codecs.getincrementaldecoder("gb18030")(errors=_MARK)
    file.seek(0)
    while True:
        chunk = file.read(MIB)
        text = decoder.decode(chunk, final=not chunk)
        bad += text.count(DAMAGED)
        foreign = re.sub(r"[\x00-\x7f\udcff]+", "", text)
        known = len(foreign.encode("gb2312", "ignore").decode("gb2312"))
        common += known
        rare += len(foreign) - known
        if not chunk:
            break
    return common >= 9 * rare and common >= 10 * bad and common > 0


def open_text(file: IO[bytes], encoding: str) -> io.TextIOWrapper:
    """The file as text from its start; line ends are kept, undecodable bytes become DAMAGED."""
    file.seek(0)
    return io.TextIOWrapper(file, encoding=encoding, errors=_MARK, newline="")


def looks_like(head: str) -> str:
    """What the first characters say the file is: html, xml, json, jsonl, or text."""
    start = head.lstrip("\ufeff \t\r\n")[:2000]
    lower = start.lower()
    if lower.startswith(("<!doctype html", "<html", "<head", "<body")):
        return "html"
    if lower.startswith("<"):
        without_comments = re.sub(r"<!--.*?-->|<\?.*?\?>", "", lower, flags=re.DOTALL).lstrip()
        return "html" if without_comments.startswith(("<!doctype html", "<html")) else "xml"
    if lower.startswith("{"):
        return "jsonl"
    return "json" if lower.startswith("[") else "text"


def delimiter_of(sample: str) -> str:
    """The delimiter that cuts the sample's lines into the most even table of at least two columns; a comma when
    none does. A first line `sep=;` (written by spreadsheets) decides at once."""
    directive = re.match(r"\ufeff?sep=(.)\r?\n", sample, flags=re.IGNORECASE)
    if directive:
        return directive[1]
    lines = sample.splitlines(keepends=True)
    if len(lines) > 1 and len(sample) >= _SAMPLE:
        lines.pop()  # cut off in the middle
    best, best_score = ",", (0.0, 0)
    for delimiter in _DELIMITERS:
        try:
            widths = [len(row) for row in csv.reader(lines[:200], delimiter=delimiter) if row]
        except csv.Error:
            continue
        if not widths:
            continue
        width = max(set(widths), key=widths.count)
        if width < 2:
            continue
        score = (round(widths.count(width) / len(widths), 1), width)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def sample_of(file: IO[bytes], encoding: str) -> str:
    """The first characters of the file, for looking at."""
    file.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)(errors=_MARK)
    return decoder.decode(file.read(_SAMPLE), final=False)
