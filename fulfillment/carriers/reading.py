"""A payload in, parcels and their scans out. Pure: no clock, no database, no network. Whatever comes, the answer is a
Reading with parcels, or with the reason why there are none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
from pydantic import ValidationError

from fulfillment.carriers import discovery, documents, statuses, times
from fulfillment.carriers.contracts import CarrierEvent, CarrierParcel, CarrierStatus, Problem, Reading, Refused
from fulfillment.carriers.discovery import Found
from fulfillment.carriers.fields import Scan, leaves, named, scan_of
from fulfillment.carriers.problems import outermost, problems_in
from fulfillment.carriers.statuses import Meaning
from fulfillment.carriers.tables import CarrierTable, code_key, fold, table_of, zone_of_country
from hub.kernel.errors import HubError

SCANS = 2_000  # most scans of one payload
_RAW = 2_000  # characters of a refused record that are kept


def read(carrier: str, *payloads: Any, asked: str | None = None) -> Reading:
    """What these payloads (bytes, text or trees; several pages of one answer, say) tell about parcels of `carrier`.
    `asked` is the number that was asked for, for answers that do not repeat it."""
    table = table_of(carrier)
    asked = asked.strip() or None if asked else None
    parcels: list[CarrierParcel] = []
    refused: list[Refused] = []
    problems: list[Problem] = []
    quiet: list[Any] = []
    for payload in payloads:
        try:
            tree = documents.parse(payload)
            before = len(parcels) + len(refused)
            _read_tree(table, tree, asked, parcels, refused)
        except HubError as error:
            refused.append(Refused(reason=error.detail, pointer="", raw=_raw(payload)))
            continue
        said = problems_in(tree)
        problems += said
        if not said and len(parcels) + len(refused) == before:
            quiet.append(tree)
    if not (parcels or refused or problems):
        problems = next((said for tree in quiet if (said := outermost(tree))), [])
    if not (parcels or refused or problems):
        refused = [Refused(reason="there is no scan in it", pointer="", raw=_raw(payloads[0] if payloads else ""))]
    return Reading(parcels=_merged(parcels), refused=tuple(refused), problems=tuple(dict.fromkeys(problems)))


def _read_tree(
    table: CarrierTable, tree: Any, asked: str | None, parcels: list[CarrierParcel], refused: list[Refused]
) -> None:
    left = SCANS
    read_here: list[CarrierParcel] = []
    for found in discovery.find(tree, table.overrides, asked):
        if len(found.records) > left:
            reason = f"a payload may hold at most {SCANS} scans"
            refused.append(Refused(reason=reason, pointer=found.records[0][0], raw=""))
            continue
        left -= len(found.records)
        parcel = _parcel(_speaker(table, found), found, refused)
        if parcel is not None:
            read_here.append(parcel)
    parcels += _newest_of_each(read_here)


def _speaker(table: CarrierTable, found: Found) -> CarrierTable:
    """The carrier that moves this parcel: an aggregator names it."""
    if not table.aggregator:
        return table
    names = table.fields.carrier or ("carrier", "carrier_code", "com", "courier")
    for record in (*found.around, *(record for _, record in found.records[:1])):
        for leaf in named(leaves(record, 0), names):
            return table.model_copy(update={"carrier": fold(leaf.text), **_zone_of(table, leaf.text)})
    return table


def _zone_of(table: CarrierTable, carrier: str) -> dict[str, Any]:
    """The zone and country of the carrier behind an aggregator that says none itself."""
    other = table_of(carrier)
    return {} if table.zone or table.country else {"zone": other.zone, "country": other.country, "times": other.times}


def _parcel(table: CarrierTable, found: Found, refused: list[Refused]) -> CarrierParcel | None:
    order = table.dates or times.order_of(leaf.value for _, record in found.records for leaf in leaves(record))
    events: list[CarrierEvent] = []
    for pointer, record in found.records:
        scan = scan_of(record, table.overrides, order)
        try:
            events.append(_event(table, scan))
        except (ValueError, ValidationError) as error:
            reason = str(error) if not isinstance(error, ValidationError) else "a value of it is out of bounds"
            refused.append(Refused(reason=reason, pointer=pointer, raw=_raw(record)))
    if not events:
        return None
    events.sort(key=lambda event: event.sort_key, reverse=True)
    number = found.number[:80] if found.number else None
    status = _overall(events)
    return CarrierParcel(
        carrier=table.carrier, tracking_no=number, status=status,
        delivered=status is CarrierStatus.DELIVERED, events=tuple(events),
    )  # fmt: skip


def _event(table: CarrierTable, scan: Scan) -> CarrierEvent:
    """One scan in normal form; raises ValueError with the reason when it says no certain time."""
    when = scan.moment
    if when is None:
        raise ValueError("it says no time")
    if not when.certain:
        raise ValueError("its date can be read with the day or the month first")
    local, at, source = _instant(table, scan)
    meaning, code = meaning_of(table, scan)
    text = scan.text if scan.text is not None else (scan.words[0] if scan.words else None)
    return CarrierEvent(
        status=meaning.status, cause=meaning.cause, code=code, local=local, at=at, zone_from=source,
        description=_short(text, 500), place=_short(scan.place, 200),
    )  # fmt: skip


def _instant(
    table: CarrierTable, scan: Scan
) -> tuple[datetime, datetime | None, Literal["payload", "carrier", "place"] | None]:
    """The wall clock of a scan, its instant, and who said the zone."""
    when, utc = scan.moment, scan.utc
    assert when is not None
    source: Literal["payload", "carrier", "place"] = "payload"
    zone = when.zone
    if when.epoch:
        known = scan.zone or table.zone_info
        local = when.local.replace(tzinfo=UTC)
        return (local.astimezone(known).replace(tzinfo=None) if known else when.local), local, source
    if utc is not None and utc is not when:
        zone = zone or scan.zone or times.apart(when.local, utc.local)
    elif utc is when:
        zone = zone or UTC
    zone = zone or scan.zone
    if zone is None:
        place = zone_of_country(scan.country) if table.times == "local" else None
        zone, source = (place, "place") if place is not None else (table.zone_info, "carrier")
    if zone is None:
        return when.local, None, None
    return when.local, when.local.replace(tzinfo=zone), source


def meaning_of(table: CarrierTable, scan: Scan) -> tuple[Meaning, str | None]:
    """What a scan's code and words mean, and the code as it came."""
    raw = scan.codes[0] if scan.codes else None
    if table.coarse:
        worded = next((said for word in scan.words if (said := statuses.of_words(word)) != statuses.UNKNOWN), None)
        if worded is not None:
            return worded, raw
    for code in scan.codes:
        known = table.meanings.get(code_key(code))
        if known is not None:
            return known, code
    vague = statuses.UNKNOWN
    for word in (*scan.codes, *scan.words, scan.text or ""):
        worded = statuses.of_words(word) if _is_wordy(word) else statuses.UNKNOWN
        if worded.status is not CarrierStatus.UNKNOWN and not statuses.is_vague(word):
            return worded, raw
        vague = vague if vague.status is not CarrierStatus.UNKNOWN else worded
    return vague, raw


def _is_wordy(text: str) -> bool:
    """Whether a text is more than a code: only those are read for their words."""
    return len(text) > 3 or any(ord(c) > 0x2E80 for c in text)


def _overall(events: Sequence[CarrierEvent]) -> CarrierStatus:
    """Where the parcel is: the newest scan that says something; a parcel once delivered stays so, unless it then went
    back."""
    known = [event.status for event in events if event.status is not CarrierStatus.UNKNOWN]
    if not known:
        return CarrierStatus.UNKNOWN
    if (
        CarrierStatus.DELIVERED in known
        and CarrierStatus.RETURN_TO_SENDER not in known[: known.index(CarrierStatus.DELIVERED)]
    ):
        return CarrierStatus.DELIVERED
    return known[0]


def _newest_of_each(parcels: Sequence[CarrierParcel]) -> list[CarrierParcel]:
    """Carriers give numbers again: of several records of one number in one answer, the one with the newest scan."""
    best: dict[tuple[str, str | None], CarrierParcel] = {}
    for parcel in parcels:
        key = (parcel.carrier, parcel.tracking_no)
        if key not in best or _age(parcel) > _age(best[key]):
            best[key] = parcel
    return list(best.values())


def _age(parcel: CarrierParcel) -> tuple[Any, ...]:
    return (parcel.events[0].sort_key, len(parcel.events), [event.sort_key for event in parcel.events])


def _merged(parcels: Sequence[CarrierParcel]) -> tuple[CarrierParcel, ...]:
    """Parcels by number: scans of one parcel in several payloads are put together, each once."""
    groups: dict[tuple[str, str | None], list[CarrierParcel]] = {}
    for parcel in parcels:
        groups.setdefault((parcel.carrier, parcel.tracking_no), []).append(parcel)
    merged: list[CarrierParcel] = []
    for held in groups.values():
        if len(held) > 1:
            events = sorted({e for parcel in held for e in parcel.events}, key=lambda e: e.sort_key, reverse=True)
            status = _overall(events)
            delivered = status is CarrierStatus.DELIVERED
            held = [held[0].model_copy(update={"events": tuple(events), "status": status, "delivered": delivered})]
        merged += held
    return tuple(sorted(merged, key=lambda parcel: (parcel.tracking_no or "", parcel.carrier)))


def _short(text: str | None, limit: int) -> str | None:
    stripped = text.strip() if text else ""
    return stripped[:limit] or None


def _raw(value: Any) -> str:
    if isinstance(value, bytes | bytearray):
        text = bytes(value[:_RAW]).decode("utf-8", "replace")
    elif isinstance(value, str):
        text = value[:_RAW]
    else:
        try:
            text = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        except (TypeError, ValueError):
            text = repr(value)[:_RAW]
    return text[:_RAW].encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


__all__ = ["SCANS", "meaning_of", "read"]
