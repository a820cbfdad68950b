"""The envelopes of EDIFACT: interchange and message. Walks a file message by message, and looks through a whole file to
say whether it is for us and whole. Counts and references that do not agree are noted and read over, or refused if the
settings say so; a message without its own trailer is never used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import IO

from connectors.edi.models import GroupResult, Scan, SetResult
from connectors.edi.names import fingerprint
from connectors.edifact.segments import Segment, segments
from hub.kernel.errors import Malformed

LABELS = {"ORDRSP": "ans", "DESADV": "asn", "INVOIC": "inv", "CONTRL": "ack"}
# Data element 1225: a catalogue or report that is an original or a replacement is a whole one.
WHOLE = frozenset({"", "5", "7", "9", "35"})


@dataclass(slots=True)
class Place:
    """Where a segment stands: the headers around it."""

    interchange: Segment
    message: Segment | None = None

    @property
    def kind(self) -> str:
        return self.message.get(2) if self.message is not None else ""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a connection expects of the files that come."""

    ours: str
    theirs: str
    encoding: str = ""
    strict: bool = False
    catalogues: str = "by_purpose"
    reports: str = "by_purpose"
    several: bool = False

    def is_whole(self, kind: str, purpose: str) -> bool:
        rule = self.catalogues if kind == "PRICAT" else self.reports
        return rule == "whole" or (rule == "by_purpose" and purpose in WHOLE)

    def catalogue(self, number: str) -> str:
        """What tells one catalogue of a partner from another: the price list's number (RFF+PL), where the settings say
        that there are several."""
        return number if self.several else ""


def walk(file: IO[bytes], encoding: str = "") -> Iterator[tuple[Place, Segment]]:
    """Every segment with its place. A new Place begins with each header."""
    place: Place | None = None
    for segment in segments(file, encoding):
        if segment.tag == "UNB":
            place = Place(segment)
        elif place is None:
            raise Malformed("it does not begin with an interchange header", code="not_edifact")
        elif segment.tag == "UNH":
            place = Place(place.interchange, segment)
        yield place, segment
        if segment.tag == "UNT":
            place = Place(place.interchange)


@dataclass
class _Check:
    """What one look through a file finds."""

    rules: Rules
    scan: Scan = field(default_factory=Scan)
    unb: Segment | None = None
    unh: Segment | None = None
    segments: int = 0
    messages: int = 0
    number: str = ""
    places: list[str] = field(default_factory=list)
    whole: bool = True
    items: int = 0

    def see(self, segment: Segment) -> None:
        tag = segment.tag
        if tag == "UNB":
            self._interchange(segment)
        elif tag == "UNH":
            if self.unh is not None:
                self._lost()
            self.unh, self.segments, self.messages = segment, 0, self.messages + 1
            self.number, self.places, self.whole, self.items = "", [], True, 0
        if self.unh is not None:
            self.segments += 1
            self._content(segment)
        if tag == "UNT":
            self._message_ends(segment)
        elif tag == "UNZ":
            self._interchange_ends(segment)

    def _interchange(self, segment: Segment) -> None:
        if self.unb is not None:
            self._refuse("an interchange begins before the one before it ended")
        self.unb, self.messages = segment, 0
        for what, seen, wanted in (
            ("sender", segment.get(2), self.rules.theirs), ("recipient", segment.get(3), self.rules.ours),
        ):  # fmt: skip
            if seen.upper() != wanted.upper():
                self._refuse(f"its {what} is {seen!r}, not {wanted!r}")
                self.scan.stranger = True
        if not self.scan.control:
            self.scan.control = segment.get(5)
        self.scan.groups.append(GroupResult("", segment.get(5)))
        self.scan.wants_receipt = self.scan.wants_receipt or segment.get(9) == "1"

    def _content(self, segment: Segment) -> None:
        kind = self.unh.get(2) if self.unh is not None else ""
        if segment.tag == "BGM":
            self.whole = self.rules.is_whole(kind, segment.get(3))
        elif segment.tag == "RFF" and segment.get(1) == "PL" and not self.items:
            self.number = segment.get(1, 2)
        elif not self.items and (place := place_of(segment)):
            self.places.append(place)
        elif segment.tag == "LIN":
            self.items += 1

    def _message_ends(self, trailer: Segment) -> None:
        if self.unh is None:
            self.scan.notes.add("UNT without UNH")
            return
        kind, control, error = self.unh.get(2), self.unh.get(1), ""
        if trailer.get(2) != control:
            self.scan.notes.add(f"{kind}: UNT is not that of UNH")
            error = "28"
        elif trailer.get(1) != str(self.segments):
            self.scan.notes.add(f"{kind}: UNT does not count the segments")
            error = "29"
        fatal = bool(error) and self.rules.strict
        if fatal:
            self._refuse(f"message {control} ({kind}) of {self.segments} segments and its trailer disagree")
        self.scan.groups[-1].sets.append(SetResult(_identity(self.unh), control, error, fatal))
        self._label(kind)
        self.unh = None

    def _label(self, kind: str) -> None:
        labels = self.scan.labels
        if kind == "PRICAT":
            number = fingerprint(self.rules.catalogue(self.number))
            labels.add(f"CAT.{number}" if self.whole else "cat")
        elif kind == "INVRPT":
            labels.add(f"STK.{fingerprint('|'.join(sorted(self.places)))}" if self.whole else "stk")
        else:
            labels.add(LABELS.get(kind, "oth"))

    def _lost(self) -> None:
        assert self.unh is not None
        self.scan.groups[-1].sets.append(SetResult(_identity(self.unh), self.unh.get(1), "13", fatal=True))
        self._refuse(f"message {self.unh.get(1)} ({self.unh.get(2)}) has no trailer (UNT)")
        self.unh = None

    def _interchange_ends(self, trailer: Segment) -> None:
        if self.unh is not None:
            self._lost()
        if self.unb is None:
            return
        if trailer.get(2) != self.unb.get(5):
            self.scan.notes.add("UNZ is not that of UNB")
            self.scan.groups[-1].error = "28"
        elif trailer.get(1) != str(self.messages):
            self.scan.notes.add("UNZ does not count the messages")
            self.scan.groups[-1].error = "29"
        if self.scan.groups[-1].error and self.rules.strict:
            self._refuse(f"interchange {self.unb.get(5)} and its trailer disagree")
        self.unb = None

    def _refuse(self, why: str) -> None:
        self.scan.refused = self.scan.refused or why


def _identity(unh: Segment) -> str:
    return ":".join(unh.get(2, part) for part in (1, 2, 3, 4))


def scan(file: IO[bytes], rules: Rules) -> Scan:
    """Look through a whole file. Never raises: what is no EDIFACT is refused with the reason."""
    check = _Check(rules)
    try:
        for segment in segments(file, rules.encoding):
            check.see(segment)
    except (Malformed, UnicodeError) as error:
        said = error.detail if isinstance(error, Malformed) else "its characters cannot be read"
        cut = isinstance(error, Malformed) and error.code in ("not_edifact", "bad_una")
        if cut and check.unb is None and not check.scan.control and _begins(file):
            check.scan.unfinished = True
        else:
            check.scan.refused = check.scan.refused or said
        return check.scan
    if check.unb is not None:
        check.scan.unfinished = True
    elif not check.scan.control and not check.scan.refused:
        if _begins(file):
            check.scan.unfinished = True
        else:
            check.scan.refused = "there is no interchange in it"
    return check.scan


def _begins(file: IO[bytes]) -> bool:
    """Whether a short file may become EDIFACT: the first bytes of a header, and nothing else."""
    file.seek(0)
    head = file.read(200).removeprefix(b"\xef\xbb\xbf").lstrip()
    starts = head[:3] in (b"UNA", b"UNB") or b"UNA".startswith(head) or b"UNB".startswith(head)
    return starts and len(head) < 100 and b"UNH" not in head


def place_of(segment: Segment) -> str:
    """The warehouse that a segment names, if it names one: NAD+WH, LOC+14 (location of goods), LOC+18 (warehouse)."""
    if segment.tag == "NAD" and segment.get(1) == "WH":
        return segment.get(2) or segment.get(4)
    if segment.tag == "LOC" and segment.get(1) in ("14", "18"):
        return segment.get(2)
    return ""


def moment(segment: Segment, zone: tzinfo) -> datetime | None:
    """The instant of a DTM segment; None for a form that is not one."""
    return instant(segment.get(1, 2), segment.get(1, 3), zone)


_FORMS = {
    "102": "%Y%m%d", "101": "%y%m%d", "201": "%y%m%d%H%M", "203": "%Y%m%d%H%M", "204": "%Y%m%d%H%M%S",
    "303": "%Y%m%d%H%M", "304": "%Y%m%d%H%M%S",
}  # fmt: skip


def instant(raw: str, form: str, zone: tzinfo) -> datetime | None:
    """A value of data element 2380 in the form that 2379 names. 303 and 304 end in a zone."""
    pattern = _FORMS.get(form or "102")
    if pattern is None:
        return None
    if form in ("303", "304"):
        size = 12 if form == "303" else 14
        raw, named = raw[:size], raw[size:]
        zone = _named(named) or zone
    try:
        return datetime.strptime(raw, pattern).replace(tzinfo=zone).astimezone(UTC)
    except ValueError:
        return None


def _named(text: str) -> tzinfo | None:
    if text.upper() in ("UTC", "GMT", "ZZZ", "Z"):
        return UTC
    sign, digits = text[:1], text[1:].replace(":", "")
    if sign in "+-" and digits.isdigit() and len(digits) in (2, 4):
        minutes = int(digits[:2]) * 60 + int(digits[2:] or 0)
        return timezone(timedelta(minutes=-minutes if sign == "-" else minutes))
    return None


def written(unb: Segment, zone: tzinfo) -> datetime | None:
    """When an interchange was made (UNB, S004): two or four digits of the year."""
    day, time = unb.get(4), unb.get(4, 2) or "0000"
    form = "%y%m%d%H%M" if len(day) == 6 else "%Y%m%d%H%M"
    try:
        return datetime.strptime(day + time[:4], form).replace(tzinfo=zone).astimezone(UTC)
    except ValueError:
        return None
