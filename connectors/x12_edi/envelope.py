"""The envelopes of X12: interchange, functional group, transaction set. Walks a file set by set, and looks through a
whole file to say whether it is for us and whole. Wrong counts and trailers that name another number than their header
are noted and read over (many writers get them wrong), or refused if the settings say so; a set without its own trailer
is never used, since what it lacks nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import IO

from connectors.edi.models import GroupResult, Scan, SetResult
from connectors.edi.names import fingerprint
from connectors.x12_edi.segments import Segment, segments
from hub.kernel.errors import Malformed

LABELS = {
    "855": "ans", "865": "ans", "856": "asn", "810": "inv", "997": "ack", "999": "ack",
}  # fmt: skip
# Element 353: the purposes that make a catalogue or a stock report a whole one. Without one it counts as whole.
WHOLE = frozenset({"", "00", "05", "07", "08"})


@dataclass(slots=True)
class Place:
    """Where a segment stands: the headers around it."""

    interchange: Segment
    group: Segment | None = None
    set: Segment | None = None

    @property
    def kind(self) -> str:
        return self.set[1] if self.set is not None else ""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a connection expects of the files that come."""

    ours: str  # our id in interchange headers
    theirs: str
    listings: str = "832"  # the kind of set that lists articles: 832 or 846
    strict: bool = False  # refuse wrong counts
    catalogues: str = "by_purpose"  # or whole, or changes: what a catalogue is
    reports: str = "by_purpose"  # the same of stock reports
    several: bool = False  # catalogues with different numbers stand beside each other

    def is_whole(self, kind: str, purpose: str) -> bool:
        rule = self.catalogues if kind == "832" else self.reports
        return rule == "whole" or (rule == "by_purpose" and purpose in WHOLE)

    def catalogue(self, number: str, places: list[str]) -> str:
        """What tells one catalogue of a partner from another. Many partners number each issue anew, so by default the
        number tells nothing."""
        if self.listings == "832":
            return number if self.several else ""
        return "846|" + "|".join(sorted(places))


def walk(file: IO[bytes]) -> Iterator[tuple[Place, Segment]]:
    """Every segment with its place. A new Place begins with each header."""
    place: Place | None = None
    for segment in segments(file):
        name = segment.name
        if name == "ISA":
            place = Place(segment)
        elif place is None:
            raise Malformed("it does not begin with an interchange header", code="not_x12")
        elif name == "GS":
            place = Place(place.interchange, segment)
        elif name == "ST":
            place = Place(place.interchange, place.group, segment)
        yield place, segment
        if name == "SE":
            place = Place(place.interchange, place.group)
        elif name == "GE":
            place = Place(place.interchange)


def sets(file: IO[bytes], kinds: frozenset[str], most: int = 100_000) -> Iterator[tuple[Place, list[Segment]]]:
    """The transaction sets of these kinds, whole ones only, each with its segments between ST and SE."""
    held: list[Segment] = []
    for place, segment in walk(file):
        if segment.name == "ST":
            held = []
        elif segment.name == "SE":
            if place.kind in kinds:
                yield place, held
            held = []
        elif place.kind in kinds:
            held.append(segment)
            if len(held) > most:
                raise Malformed(f"a transaction set has more than {most} segments", code="set_too_long")


@dataclass
class _Check:
    """What one look through a file finds."""

    rules: Rules
    scan: Scan = field(default_factory=Scan)
    isa: Segment | None = None
    group: GroupResult | None = None
    set: Segment | None = None
    segments: int = 0
    groups: int = 0
    name: str = ""  # of the catalogue or the stock report in the set at hand
    places: list[str] = field(default_factory=list)
    whole: bool = True
    items: int = 0

    def see(self, segment: Segment) -> None:
        name = segment.name
        if name == "ISA":
            self._interchange(segment)
        elif name == "TA1":
            self.scan.labels.add("ack")
        elif name == "GS":
            self.group = GroupResult(segment[1], segment[6], segment[8])
            self.scan.groups.append(self.group)
        elif name == "ST":
            if self.set is not None:
                self._lost()
            self.set, self.segments = segment, 0
            self.name, self.places, self.whole, self.items = "", [], True, 0
        if self.set is not None:
            self.segments += 1
            self._content(segment)
        if name == "SE":
            self._set_ends(segment)
        elif name == "GE":
            self._group_ends(segment)
        elif name == "IEA":
            self._interchange_ends(segment)

    def _interchange(self, segment: Segment) -> None:
        if self.isa is not None:
            self._refuse("an interchange begins before the one before it ended")
        self.isa, self.groups = segment, 0
        for what, seen, wanted in (
            ("sender", segment[6], self.rules.theirs),
            ("receiver", segment[8], self.rules.ours),
        ):
            if seen.upper() != wanted.upper():
                self._refuse(f"its {what} is {seen!r}, not {wanted!r}")
                self.scan.stranger = True
        if not self.scan.control:
            self.scan.control = segment[13]
            self.scan.stamp = (segment[9], segment[10])
        self.scan.wants_receipt = self.scan.wants_receipt or segment[14] == "1"

    def _content(self, segment: Segment) -> None:
        """What kind of catalogue or report it is."""
        if segment.name == "BCT":
            self.name, self.whole = segment[2], self.rules.is_whole("832", segment[10])
        elif segment.name == "BIA":
            self.whole = self.rules.is_whole("846", segment[1])
        elif segment.name == "N1" and segment[1] in ("WH", "SF") and not self.items:
            self.places.append(segment[4] or segment[2])
        elif segment.name == "LIN":
            self.items += 1

    def _set_ends(self, trailer: Segment) -> None:
        if self.set is None:
            self.scan.notes.add("SE without ST")
            return
        kind, control, error = self.set[1], self.set[2], ""
        if trailer[2].lstrip("0") != control.lstrip("0"):
            self.scan.notes.add(f"{kind}: SE02 is not ST02")
            error = "3"
        elif trailer[1] != str(self.segments):
            self.scan.notes.add(f"{kind}: SE01 is not the number of segments")
            error = "4"
        fatal = bool(error) and self.rules.strict
        if fatal:
            self._refuse(
                f"set {control} ({kind}) has {self.segments} segments and says {trailer[1]}, or another number"
            )
        if self.group is not None:
            self.group.sets.append(SetResult(kind, control, error, fatal))
        self._label(kind)
        self.set = None

    def _label(self, kind: str) -> None:
        labels = self.scan.labels
        if kind == self.rules.listings:
            number = fingerprint(self.rules.catalogue(self.name, self.places))
            labels.add(f"CAT.{number}" if self.whole else "cat")
        if kind == "846":
            labels.add(f"STK.{fingerprint('|'.join(sorted(self.places)))}" if self.whole else "stk")
        elif kind != "832":
            labels.add(LABELS.get(kind, "oth"))

    def _lost(self) -> None:
        """A set begins, or a group or the interchange ends, while a set is still open."""
        assert self.set is not None
        if self.group is not None:
            self.group.sets.append(SetResult(self.set[1], self.set[2], "2", fatal=True))
        self._refuse(f"set {self.set[2]} ({self.set[1]}) has no trailer (SE)")
        self.set = None

    def _group_ends(self, trailer: Segment) -> None:
        if self.set is not None:
            self._lost()
        if self.group is None:
            self.scan.notes.add("GE without GS")
            return
        if trailer[2].lstrip("0") != self.group.control.lstrip("0"):
            self.scan.notes.add("GE02 is not GS06")
            self.group.error = "4"
        elif trailer[1] != str(len(self.group.sets)):
            self.scan.notes.add("GE01 is not the number of sets")
            self.group.error = "5"
        if self.group.error and self.rules.strict:
            self._refuse(f"group {self.group.control} and its trailer disagree")
        self.groups += 1
        self.group = None

    def _interchange_ends(self, trailer: Segment) -> None:
        if self.set is not None:
            self._lost()
        if self.isa is None:
            return
        if trailer[2].lstrip("0") != self.isa[13].lstrip("0"):
            self.scan.notes.add("IEA02 is not ISA13")
            if self.rules.strict:
                self._refuse(f"the interchange is {self.isa[13]} and its trailer says {trailer[2]}")
        elif trailer[1] != str(self.groups):
            self.scan.notes.add("IEA01 is not the number of groups")
        self.isa = None

    def _refuse(self, why: str) -> None:
        self.scan.refused = self.scan.refused or why


def scan(file: IO[bytes], rules: Rules) -> Scan:
    """Look through a whole file. Never raises: what is no X12 is refused with the reason."""
    check = _Check(rules)
    try:
        for segment in segments(file):
            check.see(segment)
    except Malformed as error:
        if check.isa is None and not check.scan.control and _begins(file):
            check.scan.unfinished = True
        else:
            check.scan.refused = check.scan.refused or error.detail
        return check.scan
    if check.isa is not None:
        check.scan.unfinished = True
    elif not check.scan.control and not check.scan.refused:
        check.scan.refused = "there is no interchange in it"
    return check.scan


def _begins(file: IO[bytes]) -> bool:
    """Whether a file that is no X12 yet may become some: the first bytes of a header, and nothing else."""
    file.seek(0)
    head = file.read(200).removeprefix(b"\xef\xbb\xbf").lstrip()
    return len(head) < 106 and (b"ISA".startswith(head[:3]))


def moment(date: str, time: str, zone: tzinfo) -> datetime | None:
    """The instant of an X12 date (CCYYMMDD, or YYMMDD) and time (HHMM, HHMMSS, and decimals); None when it is none."""
    if len(date) == 6 and date.isdigit():
        date = ("20" if date < "70" else "19") + date
    time = (time or "0000")[:6]
    if len(time) not in (4, 6) or not time.isdigit():
        time = "0000"
    try:
        return datetime.strptime(date + time.ljust(6, "0"), "%Y%m%d%H%M%S").replace(tzinfo=zone).astimezone(UTC)
    except ValueError:
        return None
