"""EDIFACT into segments. A service string advice (UNA) may name the separators; a release character takes the meaning
from the one behind it. Segments are cut out of the file piece by piece, so that no more than one is in memory; those
with release characters are taken apart by pydifact, the plain ones here, which is the same and much faster."""

from __future__ import annotations

import codecs
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, cast

from pydifact.control.characters import Characters
from pydifact.exceptions import EDISyntaxError
from pydifact.parser import Parser, TokenIterator
from pydifact.tokenizer import Tokenizer

from hub.kernel.errors import Malformed

BLOCK = 64 * 1024
LONGEST = 64 * 1024
HEADER = 1024
_SPACE = b" \t\r\n\x1a\x00"
_BOM = b"\xef\xbb\xbf"
_TERMINAL_SPACE = b"\r\n\t\x00\x1a"  # a blank that is released is text
_TAG = re.compile(r"[A-Z]{3}")
_KNOWN = frozenset(
    [
        "LIN",
        "PIA",
        "IMD",
        "MEA",
        "QTY",
        "ALI",
        "DTM",
        "MOA",
        "PRI",
        "PAC",
        "RFF",
        "LOC",
        "INV",
        "UNH",
        "UNT",
        "NAD",
        "FTX",
        "GIN",
        "CUX",
        "TAX",
        "STS",
        "BGM",
    ]
)
# What a syntax identifier says about the bytes. A and B allow letters of ASCII alone; what else comes is read as UTF-8.
CHARSETS = {
    "UNOA": "utf-8", "UNOB": "utf-8", "UNOC": "latin-1", "UNOD": "iso8859-2", "UNOE": "iso8859-5", "UNOF": "iso8859-7",
    "UNOG": "iso8859-3", "UNOH": "iso8859-4", "UNOI": "iso8859-6", "UNOJ": "iso8859-8", "UNOK": "iso8859-9",
    "UNOW": "utf-8", "UNOY": "utf-8",
}  # fmt: skip


@dataclass(frozen=True)
class Separators:
    component: str = ":"
    element: str = "+"
    decimal: str = "."
    release: str = "?"
    segment: str = "'"

    @functools.cached_property
    def release_byte(self) -> bytes:
        return self.release.encode("latin-1")


@dataclass(slots=True)
class Segment:
    """One segment: its tag, and its elements as lists of components."""

    tag: str
    elements: list[list[str]]

    def get(self, element: int, component: int = 1) -> str:
        """A component as guides count them, from 1; nothing for one that was left out."""
        if 0 < element <= len(self.elements):
            parts = self.elements[element - 1]
            if 0 < component <= len(parts):
                return parts[component - 1].strip()
        return ""


def segments(file: IO[bytes], encoding: str = "") -> Iterator[Segment]:
    """The segments of a file, of one interchange or several behind each other; UNA itself is left out. `encoding`, when
    given, replaces what the interchange header says. A last piece without its terminator is dropped, unless it is the
    whole trailer. Raises Malformed for what is no EDIFACT."""
    file, wide = _eight_bits(file)
    encoding = "utf-8" if wide else encoding
    rest = _begun(file, b"").removeprefix(_BOM).lstrip(_SPACE)
    while rest:
        of, rest = _advice(_begun(file, rest))
        if not rest.startswith(b"UNB"):
            raise Malformed("it does not begin with an EDIFACT interchange header (UNB)", code="not_edifact")
        end, release = of.segment.encode("latin-1"), of.release.encode("latin-1")
        charset, reference, closed = encoding, "", False
        while not closed:
            whole, rest = _split(rest, end, release)
            for index, raw in enumerate(whole):
                segment = _segment(raw, of, charset)
                if segment is None:
                    continue
                if segment.tag == "UNB":
                    charset = encoding or _charset(segment.get(1))
                    segment = cast(Segment, _segment(raw, of, charset))
                    reference = segment.get(5)
                yield segment
                if segment.tag == "UNZ":
                    rest = end.join([*whole[index + 1 :], rest])
                    closed = True
                    break
            if closed:
                break
            if len(rest) > LONGEST:
                raise Malformed(f"a segment is longer than {LONGEST} bytes", code="bad_segment")
            more = file.read(BLOCK)
            if not more:
                last = _segment(rest, of, charset) if rest.lstrip(_SPACE).startswith(b"UNZ") else None
                if last is not None and reference and last.get(2) == reference:
                    yield last
                return
            rest += more
        rest = rest.lstrip(_SPACE)
        while not rest and (more := file.read(BLOCK)):
            rest = more.lstrip(_SPACE)


def _begun(file: IO[bytes], rest: bytes) -> bytes:
    """`rest` and as much more as an advice and an interchange header may take."""
    while len(rest) < HEADER and (more := file.read(BLOCK)):
        rest += more
    return rest


def _eight_bits(file: IO[bytes]) -> tuple[IO[bytes], bool]:
    """(the file in eight bits a character, whether it was written in sixteen and is UTF-8 now, whatever it says)."""
    head = file.read(4)
    file.seek(0)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return cast("IO[bytes]", codecs.EncodedFile(file, "utf-8", "utf-16")), True
    if head in (b"\0U\0N", b"U\0N\0"):
        wide = "utf-16-be" if head[:1] == b"\0" else "utf-16-le"
        return cast("IO[bytes]", codecs.EncodedFile(file, "utf-8", wide)), True
    return file, False


def _charset(identifier: str) -> str:
    found = CHARSETS.get(identifier)
    if found is None:
        raise Malformed(
            f"its character set is {identifier[:8]!r}, which is not read; set the connection's `encoding`",
            code="bad_charset",
        )
    return found


def _advice(head: bytes) -> tuple[Separators, bytes]:
    """The separators of the interchange that begins here, and what follows their advice. Without one they are the usual
    ones; a few writers end segments by a line's end instead."""
    if not head.startswith(b"UNA"):
        line = head.find(b"\nUNH")
        plain = line >= 0 and b"'" not in head[:line]
        return (Separators(segment="\n") if plain else Separators()), head
    said = head[3:9].decode("latin-1")
    of = Separators(said[0], said[1], said[2], said[3], said[5]) if len(said) == 6 else Separators()
    marks = (of.component, of.element, of.segment)
    if len(said) < 6 or len(set(marks)) < 3 or any(mark.isalnum() or mark == " " for mark in marks):
        raise Malformed("its service string advice (UNA) names no separators", code="bad_una")
    return of, head[9:].lstrip(_SPACE)


def _split(data: bytes, end: bytes, release: bytes) -> tuple[list[bytes], bytes]:
    """The segments in `data` without their terminators, and what follows the last terminator. A terminator behind a
    release character is text."""
    pieces = data.split(end)
    if release == b" " or release not in data:
        return pieces[:-1], pieces[-1]
    whole: list[bytes] = []
    held = b""
    for piece in pieces[:-1]:
        held += piece
        if (len(held) - len(held.rstrip(release))) % 2:
            held += end
            continue
        whole.append(held)
        held = b""
    return whole, held + pieces[-1]


def _segment(raw: bytes, of: Separators, charset: str) -> Segment | None:
    raw = raw.strip(_TERMINAL_SPACE) if raw[-1:] == of.release_byte else raw.strip(_SPACE)
    if not raw:
        return None
    try:
        text = raw.decode(charset or "utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    except LookupError:
        raise Malformed(f"{charset[:20]!r} is no known encoding", code="bad_charset") from None
    if (b"\n" in raw or b"\r" in raw) and of.segment != "\n":
        text = text.replace("\r", "").replace("\n", "")
    if of.release in text and of.release != " ":
        head, *elements = _released(text, of)
        tag = head[0] if head else ""
    else:
        tag, *others = text.split(of.element)
        component = of.component
        elements = [other.split(component) if component in other else [other] for other in others]
        if component in tag:
            tag = tag.partition(component)[0]
    if tag not in _KNOWN:
        tag = tag.strip()
        if not _TAG.fullmatch(tag):
            raise Malformed(f"{text[:20]!r} is no segment", code="bad_segment")
    return Segment(tag, elements)


def _released(text: str, of: Separators) -> list[list[str]]:
    """The elements of a segment with release characters."""
    marks = f"{of.component}{of.element}{of.decimal}{of.release} {of.segment}"
    characters = Characters.from_str(marks)
    try:
        tokens = TokenIterator(Tokenizer().get_tokens(text + of.segment, characters))
        raw = next(Parser().convert_tokens_to_raw_segments(tokens))
    except (EDISyntaxError, StopIteration) as error:
        raise Malformed(
            f"the segment {text[:30]!r} breaks off behind a release character", code="bad_segment"
        ) from error
    return [[element] if isinstance(element, str) else [str(part) for part in element] for element in raw]
