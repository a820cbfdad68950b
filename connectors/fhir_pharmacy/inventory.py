"""InventoryReports as a ledger: what is on hand, and when that cannot be told. Pure.

A snapshot says how many there are; a difference says how many came or went since. So a figure is the newest snapshot of
a SKU at a location plus everything that came after it, and of nothing else: no difference is applied to a count that
nobody made, none is applied twice, and what cannot be put in order, or read, makes the figure unknown instead of wrong.
A snapshot speaks for the items it lists; an item that it leaves out keeps what was known of it before.

Times: a listing's `countingDateTime`, where it says one, else the report's `reportedDateTime` (a count of eight o'clock
that is sent at ten knows nothing of nine o'clock's sale); a difference's `reportingPeriod`, where it says one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from connectors.contracts import BadRow, StockFigure
from connectors.fhir_clinic.resources import Resource
from connectors.fhir_pharmacy.times import Span, span_of
from connectors.jsonio import text_of

SNAPSHOT, ADDITION, SUBTRACTION, UNREADABLE = "snapshot", "addition", "subtraction", "unreadable"
VOID = frozenset({"draft", "requested", "entered-in-error"})
MOST = 100_000_000
_MIN, _MAX = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(hours=1)  # a report from later than this is a slip of the clock or the pen


class Item(NamedTuple):
    """What a report calls a thing: by reference, by codes, or both; with its lot where the report says it."""

    ref: str
    codes: frozenset[tuple[str, str]]
    words: str = ""
    lot: str = ""
    expires: str = ""


@dataclass(frozen=True)
class Entry:
    """One item of one report."""

    report: str
    kind: str
    span: Span  # when it was, for putting it in order
    as_of: datetime  # until when it surely holds
    stored: datetime | None  # when the server stored the report
    location: str
    item: Item
    units: Fraction | None  # None: the quantity cannot be read
    unit: str
    problem: str = ""


@dataclass(frozen=True)
class Reading:
    """How a connection's reports are to be read."""

    zone: ZoneInfo
    default_location: str = ""
    locations: frozenset[str] = frozenset()  # empty: all
    sellable: frozenset[str] = frozenset()  # item statuses; a listing without a status is sellable
    unsellable: frozenset[str] = frozenset()  # item categories
    units: Mapping[str, Any] = field(default_factory=dict)
    shelf_days: int = 0


@dataclass
class Report:
    """What one InventoryReport says. `void`: it says nothing any more, but it once may have."""

    entries: list[Entry]
    bad: list[BadRow]
    void: bool = False


def read_report(
    resource: Resource, how: Reading, now: datetime, item_of: Callable[[Resource, Resource], Item]
) -> Report:
    """The entries of a report. `item_of` reads what a report's item is called, given the report."""
    name, bad = f"InventoryReport/{resource.get('id')}", []
    status, problem, kind = str(resource.get("status", "")), "", UNREADABLE
    count, stored = str(resource.get("countType", "")), _stored(resource)
    if status not in VOID and status != "active":
        problem = f"the report's status {status[:40]!r} is not known"
    elif count == SNAPSHOT:
        kind = SNAPSHOT
    elif count == "difference":
        kind = _operation(resource.get("operationType")) or UNREADABLE
        problem = "" if kind != UNREADABLE else "a difference that says neither addition nor subtraction"
    else:
        problem = f"the report's countType {count[:40]!r} is not known"
    span = as_of = None
    try:
        span, as_of = _span(resource, kind, how.zone)
        if span.first > now + _AHEAD:
            raise ValueError(f"the report is from the future: {resource.get('reportedDateTime')}")
    except ValueError as error:
        span, problem = None, problem or str(error)
    entries: list[Entry] = []
    for listing in _dicts(resource.get("inventoryListing")):
        location = _location(listing.get("location")) or how.default_location
        if how.locations and location not in how.locations:
            continue
        at, when, broken = span, as_of, problem
        if listing.get("countingDateTime") and not broken:
            try:
                at = span_of(listing["countingDateTime"], how.zone)
                when = at.first
            except ValueError as error:
                broken = f"countingDateTime: {error}"
        if at is None or when is None or broken:  # no time to go by; but a report is no younger than its storing
            at, when = at or Span(_MIN, stored or _MAX), _MIN
        for item in _dicts(listing.get("item") or listing.get("items")):
            counts = _counts(listing.get("itemStatus"), item.get("category"), how)
            if not counts and kind != SNAPSHOT:
                continue
            units, unit, why = _units(item.get("quantity"), kind, how)
            why = broken or why
            if not counts and units is not None:  # a snapshot of damaged ones says that none of those can be sold
                units = Fraction()
            made = item_of(item, resource)
            entries.append(Entry(name, UNREADABLE if why else kind, at, when, stored, location, made, units, unit, why))
    if problem and status not in VOID:
        bad.append(BadRow(reason=problem[:300], pointer=f"/{name}", raw=text_of(resource)))
    return Report(entries, bad, status in VOID)


def _operation(concept: Any) -> str | None:
    """addition or subtraction, by code or in words."""
    held = concept if isinstance(concept, dict) else {}
    codes = [coding.get("code") for coding in _dicts(held.get("coding"))] or [held.get("text")]
    found = {str(code).strip().lower() for code in codes} & {ADDITION, SUBTRACTION}
    return found.pop() if len(found) == 1 else None


def _span(resource: Resource, kind: str, zone: ZoneInfo) -> tuple[Span, datetime]:
    """When the report is of, and until when it surely holds. Raises ValueError."""
    try:
        reported = span_of(resource.get("reportedDateTime"), zone)
    except ValueError as error:
        raise ValueError(f"reportedDateTime: {error}") from None
    period = resource.get("reportingPeriod")
    if kind not in (ADDITION, SUBTRACTION) or not isinstance(period, dict):
        return reported, reported.first
    start = span_of(period["start"], zone).first if period.get("start") else reported.first
    end = span_of(period["end"], zone).last if period.get("end") else reported.last
    return (Span(start, end), min(end, reported.first)) if start <= end else (reported, reported.first)


def _units(quantity: Any, kind: str, how: Reading) -> tuple[Fraction | None, str, str]:
    """(how many sellable units, what they are counted in, why it cannot be read)."""
    held = quantity if isinstance(quantity, dict) else {}
    value, unit = held.get("value"), str(held.get("unit") or held.get("code") or "").strip()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None, unit, "the quantity has no number"
    if held.get("comparator"):
        return None, unit, f"the quantity is not exact: {held['comparator']}{value:g}"
    if value < 0:
        return (
            None,
            unit,
            f"the quantity is negative: {value:g}" + ("" if kind == SNAPSHOT else " (say it by operationType)"),
        )
    units = Fraction(str(value))
    if how.units:
        factor = next((how.units[name] for name in (unit, str(held.get("code") or "")) if name in how.units), None)
        try:
            units *= Fraction(str(factor))
        except (ValueError, ZeroDivisionError):
            return None, unit, f"the unit {unit[:40]!r} is not in the connection's `units`"
        return units, "", ""
    if units.denominator != 1:
        return None, unit, f"the quantity {value:g} is not whole"
    return units, unit, ""


def _counts(status: Any, category: Any, how: Reading) -> bool:
    """Whether items with this status and category can be sold. FHIR binds no codes to either; its own words for the
    category are examples of what cannot: `damaged`, `pending recount`."""
    states, kinds = _named(status), _named(category)
    return (not states or bool(states & how.sellable)) and not kinds & how.unsellable


def _named(concept: Any) -> set[str]:
    """Codes and words of a CodeableConcept, in lower case, with spaces between words."""
    held = concept if isinstance(concept, dict) else {}
    found = [held.get("text"), *(x for c in _dicts(held.get("coding")) for x in (c.get("code"), c.get("display")))]
    return {str(word).strip().lower().replace("-", " ").replace("_", " ") for word in found if word}


def _location(pointer: Any) -> str:
    """A location as a row of the shelf: the id it points at, else its identifier, else its name."""
    held = pointer if isinstance(pointer, dict) else {}
    reference = str(held.get("reference") or "").split("/_history/")[0]
    words = reference.rpartition("/")[2] or (held.get("identifier") or {}).get("value") or held.get("display") or ""
    return str(words).strip()[:120]


# The ledger --------------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """An entry whose item is known."""

    entry: Entry
    lot: str
    expires: Span | None


def figures(
    lines: Mapping[str, Sequence[Line]], how: Reading, now: datetime, touched: Mapping[tuple[str, str], datetime]
) -> tuple[list[StockFigure], list[BadRow]]:
    """One figure a SKU and location, in order, and why the others have none. `lines` are by SKU; `touched` says when
    the server last stored anything about a SKU at a location, withdrawn reports included."""
    good: list[StockFigure] = []
    bad: list[BadRow] = []
    for sku in sorted(lines):
        places: dict[str, list[Line]] = defaultdict(list)
        for line in lines[sku]:
            places[line.entry.location].append(line)
        if "" in places and len(places) > 1:
            reason = "some reports of it name a location and some do not: set `default_location`"
            bad.append(_unknown(sku, "", reason, lines[sku]))
            continue
        for location in sorted(places):
            try:
                on_hand, at, short = _count(places[location], how, now)
            except _Unknown as why:
                bad.append(_unknown(sku, location, str(why), places[location]))
                continue
            if short:
                reason = f"more was taken than was there: {short}; reported as none"
                bad.append(_unknown(sku, location, reason, places[location], "it is none"))
            version = max(touched.get((sku, location), at), at, *_ended(places[location], how, now))
            good.append(StockFigure(sku, on_hand, None, location, int(version.timestamp() * 1000), at))
    return good, bad


class _Unknown(Exception):
    """Why there is no figure."""


def _count(lines: Sequence[Line], how: Reading, now: datetime) -> tuple[int, datetime, str]:
    """(how many can be sold, as of when, what was taken beyond nothing). Raises _Unknown."""
    base = _base(lines)
    start = base[0].entry.span
    lots: dict[str, Fraction] = defaultdict(Fraction)
    ends: dict[str, Span] = {}
    units: set[str] = set()
    at = start.first
    for line in [*base, *(line for line in lines if line.entry.kind != SNAPSHOT)]:
        entry = line.entry
        if entry.kind != SNAPSHOT and entry.span.before(start):
            continue  # the snapshot knows it already
        if entry.kind == UNREADABLE or entry.units is None:
            raise _Unknown(f"{entry.report} may be newer than the newest snapshot and cannot be used: {entry.problem}")
        if entry.kind != SNAPSHOT and not start.before(entry.span):
            other = base[0].entry.report
            raise _Unknown(f"{entry.report} and {other} cannot be put in order: they are of the same time, or overlap")
        lots[line.lot] += -entry.units if entry.kind == SUBTRACTION else entry.units
        if line.expires is not None:
            ends[line.lot] = min(ends.get(line.lot, line.expires), line.expires)
        units.add(entry.unit)
        at = max(at, entry.as_of)
    if len(units - {""}) > 1:
        raise _Unknown(f"it is counted in {' and '.join(sorted(units - {''}))}: set `units`")
    edge = now + timedelta(days=how.shelf_days)
    total = sum((n for lot, n in lots.items() if lot not in ends or ends[lot].last > edge), Fraction())
    whole = math.floor(total)
    if whole > MOST:
        raise _Unknown(f"{whole} is no count")
    return max(0, whole), min(at, now), str(whole) if whole < 0 else ""


def _base(lines: Sequence[Line]) -> list[Line]:
    """The newest snapshot's lines. Raises _Unknown when there is none, or when two claim to be the newest."""
    counts: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line.entry.kind == SNAPSHOT:
            counts[line.entry.report].append(line)
    if not counts:
        unread = next((line.entry.problem for line in lines if line.entry.kind == UNREADABLE), "")
        raise _Unknown(
            "there are differences but no snapshot to count from" + (f" that can be read: {unread}" if unread else "")
        )
    newest = max(counts.values(), key=lambda own: (own[0].entry.span.first, own[0].entry.span.last))
    span, amount = newest[0].entry.span, _amounts(newest)
    for own in counts.values():
        if own is not newest and not own[0].entry.span.before(span) and _amounts(own) != amount:
            raise _Unknown(f"{own[0].entry.report} and {newest[0].entry.report} count differently at the same time")
    for line in newest:
        if line.entry.span != span:
            raise _Unknown(f"{line.entry.report} counted it at several times")
    return newest


def _amounts(lines: Iterable[Line]) -> dict[str, Fraction]:
    found: dict[str, Fraction] = defaultdict(Fraction)
    for line in lines:
        found[line.lot] += line.entry.units or 0
    return found


def _ended(lines: Iterable[Line], how: Reading, now: datetime) -> Iterator[datetime]:
    """When lots ended that are over: such an end changes the figure although nobody reports anything."""
    for line in lines:
        if line.expires is not None:
            end = line.expires.last - timedelta(days=how.shelf_days)
            if end <= now:
                yield end


def _unknown(sku: str, location: str, reason: str, lines: Sequence[Line], what: str = "its stock is unknown") -> BadRow:
    shown = [
        {"report": e.report, "kind": e.kind, "at": e.span.first.isoformat(), "units": str(e.units), "lot": line.lot}
        for line in lines[-50:]
        for e in (line.entry,)
    ]  # fmt: skip
    where = f" at {location}" if location else ""
    return BadRow(
        reason=f"{what}{where}: {reason}"[:500], pointer="/inventoryListing", vendor_sku=sku[:128], raw=text_of(shown)
    )


def _stored(resource: Resource) -> datetime | None:
    try:
        when = datetime.fromisoformat(str((resource.get("meta") or {}).get("lastUpdated")))
    except ValueError:
        return None
    return when if when.tzinfo is not None else None


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)]
