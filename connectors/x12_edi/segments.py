"""X12 into segments. The interchange header says which characters separate: the fourth one of the file separates
elements, the element after the sixteenth separator is the one that separates components, and what follows it ends
segments. Reads a file piece by piece; no more than one segment is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from hub.kernel.errors import Malformed

BLOCK = 64 * 1024
LONGEST = 64 * 1024  # of one segment
_HEADER = 400  # an ISA has 106 characters; some writers pad less, none more
_SPACE = b" \t\r\n\x1a\x00"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Separators:
    element: str
    component: str
    segment: str


@dataclass(slots=True)
class Segment:
    """One segment: its name and its elements, as text. `of` are the separators that it was written with."""

    name: str
    elements: list[str]
    of: Separators

    def __getitem__(self, number: int) -> str:
        """Element `number` as guides count them, from 1; nothing for one that was left out."""
        return self.elements[number - 1].strip() if 0 < number <= len(self.elements) else ""

    def component(self, number: int, part: int = 1) -> str:
        """Part `part` of a composite element."""
        pieces = self[number].split(self.of.component)
        return pieces[part - 1].strip() if part <= len(pieces) else ""

    @property
    def pairs(self) -> Iterator[tuple[str, str]]:
        """The qualifier and value pairs from the second element on, as LIN has them."""
        for number in range(2, len(self.elements) + 1, 2):
            if self[number] and self[number + 1]:
                yield self[number], self[number + 1]

    def after(self, first: int) -> Iterator[tuple[str, str]]:
        """The qualifier and value pairs from element `first` on."""
        for number in range(first, len(self.elements) + 1, 2):
            if self[number] and self[number + 1]:
                yield self[number], self[number + 1]


def separators(head: bytes) -> Separators:
    """Those of the interchange that begins with `head`. Raises Malformed when that is no interchange header."""
    if not head.startswith(b"ISA") or len(head) < 20:
        raise Malformed("it does not begin with an X12 interchange header (ISA)", code="not_x12")
    element = head[3:4]
    if element.isalnum() or element in (b" ", b"\n", b"\r"):
        raise Malformed("its interchange header names no element separator", code="bad_isa")
    at = 0
    for _ in range(16):
        at = head.find(element, at + 1)
        if at < 0 or at > _HEADER:
            raise Malformed("its interchange header has fewer than 16 elements", code="bad_isa")
    component, segment = head[at + 1 : at + 2], head[at + 2 : at + 3]
    if not segment or segment.isalnum() or segment == b" " or segment == element or component == element:
        raise Malformed("its interchange header names no segment terminator", code="bad_isa")
    return Separators(element.decode("latin-1"), component.decode("latin-1"), segment.decode("latin-1"))


def segments(file: IO[bytes]) -> Iterator[Segment]:
    """The segments of a file, of one interchange or several behind each other. A last piece without its terminator is
    dropped, unless it is the whole trailer: whoever needs the end looks for that. Raises Malformed for what is no
    X12."""
    rest = file.read(BLOCK).removeprefix(_BOM).lstrip(_SPACE)
    while rest:
        if len(rest) < _HEADER:
            rest += file.read(BLOCK)
        of = separators(rest[: _HEADER + 4])
        end = of.segment.encode("latin-1")
        number = ""
        closed = False
        while not closed:
            *whole, rest = rest.split(end)
            for index, raw in enumerate(whole):
                segment = _segment(raw.strip(_SPACE), of)
                if segment is None:
                    continue
                yield segment
                if segment.name == "ISA":
                    number = segment[13]
                elif segment.name == "IEA":
                    rest = end.join([*whole[index + 1 :], rest])
                    closed = True
                    break
            if closed:
                break
            if len(rest) > LONGEST:
                raise Malformed(f"a segment is longer than {LONGEST} bytes", code="bad_segment")
            more = file.read(BLOCK)
            if not more:
                last = _segment(rest.strip(_SPACE), of)
                if last is not None and last.name == "IEA" and number and last[2] == number:
                    yield last
                return
            rest += more
        rest = rest.lstrip(_SPACE)
        while not rest and (more := file.read(BLOCK)):
            rest = more.lstrip(_SPACE)


def _segment(raw: bytes, of: Separators) -> Segment | None:
    if not raw:
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    name, *elements = text.split(of.element)
    if name != "ISA" and elements:
        elements[-1] = elements[-1].rstrip(of.component)
    return Segment(name.strip(), elements, of)
