"""Payloads of carriers' systems: kept as they came, then read, then recorded like any other carrier's events. A push is
answered once it is kept; reading it is the outbox's work, tried again until it is done."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol, runtime_checkable

import structlog
from pydantic import ValidationError

from connectors import api as connectors
from connectors.contracts import ShipmentStatus
from fulfillment import store
from fulfillment.carriers.contracts import OURS, CarrierEvent, CarrierParcel, CarrierStatus, Reading
from fulfillment.carriers.documents import BYTES
from fulfillment.carriers.reading import read
from fulfillment.carriers.tables import fold
from fulfillment.contracts import EventResult, TrackingEventIn
from fulfillment.parcels import BAD_ADDRESS
from fulfillment.tracking import NO_CARRIER, Key, find, record_events
from hub.kernel import secrets as sealing
from hub.kernel.db import Tx, uow
from hub.kernel.errors import Conflict, Misconfigured, NotFound, Rejected, Retry, TooLarge
from hub.kernel.events import Event
from hub.kernel.types import Frozen

log = structlog.get_logger()
KEEP = timedelta(days=14)
BETWEEN_LOOKUPS = timedelta(minutes=30)
_OWN_READER = timedelta(minutes=2)  # an answer that nobody read by then is read by the outbox
_NO_ZONE = "its time has no zone, and none is documented for this carrier"


class CarrierPayloadLanded(Event):
    """A payload of a carrier's system was proved and kept; whoever reads carriers should read it."""

    payload_id: int


class Called(Protocol):
    """A verified push: a lasting id of what it says, and the parcel that it is about, where it says one."""

    @property
    def external_id(self) -> str: ...
    @property
    def number(self) -> str: ...
    @property
    def ended(self) -> str: ...
    @property
    def message(self) -> str: ...


@runtime_checkable
class TakesPushes(Protocol):
    """A connector whose system pushes what carriers say. `source` is the table that reads it, `answer` what it wants to
    hear once the push is kept."""

    @property
    def source(self) -> str: ...
    @property
    def answer(self) -> Mapping[str, Any]: ...

    def called(self, headers: Mapping[str, str], body: bytes) -> Called:
        """Check the push; raises Unauthorized, and NotFound when the account has no secret."""
        ...


@runtime_checkable
class AnswersLookups(Protocol):
    """A connector that can be asked about one parcel."""

    source: str

    async def query(self, company: str, number: str, *, phone: str | None = None) -> bytes: ...


class Parcels(Frozen):
    """What a payload said and what became of it: the scans in normal form, and one result per scan that could be
    recorded."""

    reading: Reading
    results: tuple[EventResult, ...] = ()
    unread: tuple[str, ...] = ()  # why scans were not recorded

    @property
    def outcome(self) -> dict[str, Any]:
        """Counts alone: payloads hold what carriers write about people."""
        counts = Counter(result.result for result in self.results)
        reasons = Counter((*self.unread, *(refused.reason for refused in self.reading.refused)))
        said = Counter((problem.code or "without a code")[:60] for problem in self.reading.problems)
        return {
            "scans": dict(counts),
            "not_recorded": dict(reasons.most_common(20)),
            "problems": dict(said.most_common(20)),
        }


async def read_aside(carrier: str, body: bytes, asked: str | None = None) -> Reading:
    """Read a payload beside the event loop: a large one takes seconds."""
    return await asyncio.to_thread(read, carrier, body, asked=asked)


async def take_push(carrier: str, connection_id: int, headers: Mapping[str, str], body: bytes) -> Mapping[str, Any]:
    """Keep a carrier system's push, in a transaction that is committed when this returns the answer that the system
    wants. The same push again changes nothing. Raises NotFound (no such address), Unauthorized (signature) and
    TooLarge."""
    if len(body) > BYTES:
        raise TooLarge(f"a push may be at most {BYTES} bytes", code="body_too_large")
    async with connectors.open_connector(connection_id) as adapter:
        if not isinstance(adapter, TakesPushes) or fold(adapter.source) != fold(carrier):
            raise NotFound("there is no such push address", code="no_push")
        called, source, answer = adapter.called(headers, body), fold(adapter.source)[:60], adapter.answer
    mark = f"{connection_id}:{called.external_id}"[:300]
    async with uow() as tx:
        payload_id = await store.carriers.land_payload(
            tx, (source, "push", mark, connection_id, None, sealing.encrypt(body, _context(source)))
        )
        if payload_id is not None:
            if called.ended and called.number:
                await store.carriers.end_follows(
                    tx, connection_id, called.number.upper(), called.message or called.ended
                )
            tx.emit(CarrierPayloadLanded(payload_id=payload_id))
    return answer


async def on_payload(tx: Tx, event: CarrierPayloadLanded) -> None:
    """Read a payload that was kept and record what it says."""
    row = await store.carriers.payload(tx, event.payload_id)
    if row is None or row["body"] is None or row["read_at"] is not None:
        return
    if row["kind"] == "lookup" and row["received_at"] > tx.now - _OWN_READER:
        raise Retry("whoever asked is reading it", code="being_read", after=_OWN_READER.total_seconds())
    body = sealing.decrypt(row["body"], _context(row["source"]))
    reading = await read_aside(row["source"], body, row["asked"])
    done = await record(tx, reading, row["connection_id"])
    await store.carriers.payload_read(tx, event.payload_id, done.outcome)
    if not reading.parcels:
        log.warning("carrier_payload_without_scans", payload_id=event.payload_id, source=row["source"])


async def upload(tx: Tx, carrier: str, body: bytes, asked: str | None) -> Parcels:
    """Keep and read a payload that staff bring, at once."""
    source = fold(carrier)[:60]
    mark = hashlib.sha256(f"{asked or ''}\0".encode("utf-8", "replace") + body).hexdigest()
    sealed = sealing.encrypt(body, _context(source))
    payload_id = await store.carriers.land_payload(tx, (source, "upload", mark, None, asked, sealed))
    done = await record(tx, await read_aside(carrier, body, asked))
    if payload_id is not None:
        await store.carriers.payload_read(tx, payload_id, done.outcome)
    return done


async def look_up(connection_id: int, company: str, number: str, phone: str | None) -> Parcels:
    """Ask an account about one parcel now, keep what it answers, and record it. Raises NotFound (no such account,
    nothing known), Conflict (asked less than half an hour ago), and what the account's refusal means."""
    async with connectors.open_connector(connection_id) as adapter:
        if not isinstance(adapter, AnswersLookups):
            raise NotFound("this connection answers no questions about parcels", code="no_lookup")
        source = adapter.source
        payload_id = await _ask(source, connection_id, number)
        try:
            body = await adapter.query(company, number, phone=phone)
        except (Misconfigured, Rejected):
            async with uow() as tx:
                await store.carriers.forget_payload(tx, payload_id)  # the carrier was not asked
            raise
    async with uow() as tx:
        await store.carriers.fill_payload(tx, payload_id, sealing.encrypt(body, _context(source)))
        tx.emit(CarrierPayloadLanded(payload_id=payload_id))
    async with uow() as tx:
        done = await record(tx, await read_aside(source, body, number), connection_id)
        await store.carriers.payload_read(tx, payload_id, done.outcome)
    return done


async def _ask(source: str, connection_id: int, number: str) -> int:
    """Note that a parcel is being asked about. Services lock a parcel that is asked about too often."""
    async with uow() as tx:
        last = await store.carriers.last_lookup(tx, source, number)
        if last is not None and last > tx.now - BETWEEN_LOOKUPS:
            again = last + BETWEEN_LOOKUPS
            raise Conflict(
                "this parcel was asked about less than half an hour ago", code="asked_lately",
                facts={"again_at": again.isoformat()},
            )  # fmt: skip
        mark = f"lookup {number} {tx.now.isoformat()}"
        payload_id = await store.carriers.land_payload(tx, (source, "lookup", mark, connection_id, number, None))
    assert payload_id is not None
    return payload_id


async def record(tx: Tx, reading: Reading, connection_id: int | None = None) -> Parcels:
    """Record the scans of a reading under the name by which each parcel is known here."""
    events: list[TrackingEventIn] = []
    unread: list[str] = []
    names = await _known_as(tx, reading.parcels, connection_id)
    for parcel in reading.parcels:
        if parcel.tracking_no is None:
            unread += ["no number says whose scan it is"] * len(parcel.events)
            continue
        usable, missing = tracking_events(parcel, *names[parcel.carrier, parcel.tracking_no])
        events += usable
        unread += missing
    results = await record_events(tx, events)
    return Parcels(reading=reading, results=tuple(results), unread=tuple(unread))


async def _known_as(tx: Tx, parcels: Sequence[CarrierParcel], connection_id: int | None) -> dict[Key, Key]:
    """The carrier and number to record the scans of each parcel under. A service that follows a parcel may find out
    that another carrier has it than the vendor said: then what counts is that this account follows this number."""
    names = {
        (parcel.carrier, parcel.tracking_no): (fold(parcel.carrier)[:60] or NO_CARRIER, _number(parcel.tracking_no))
        for parcel in parcels
        if parcel.tracking_no is not None
    }
    if connection_id is None:
        return names
    known = await find(tx, set(names.values()))
    followed: dict[str, list[str]] = defaultdict(list)
    missing = sorted({key[1] for key in names.values() if key not in known})
    for row in await store.carriers.followed_parcels(tx, connection_id, missing) if missing else ():
        followed[row["tracking_no"]].append(row["carrier"])
    return {
        said: (followed[key[1]][0], key[1]) if key not in known and len(followed[key[1]]) == 1 else key
        for said, key in names.items()
    }


def _number(said: str) -> str:
    return said.strip().upper()


def tracking_events(parcel: CarrierParcel, carrier: str, number: str) -> tuple[list[TrackingEventIn], list[str]]:
    """The parcel's scans as our events, oldest first, and why some are none. What is delivered after the parcel turned
    back was delivered to its sender."""
    events: list[TrackingEventIn] = []
    unread: list[str] = []
    turned_back = False
    for scan in sorted(parcel.events, key=_when):
        turned_back = turned_back or scan.status is CarrierStatus.RETURN_TO_SENDER
        if scan.at is None:
            unread.append(_NO_ZONE)
            continue
        try:
            events.append(
                TrackingEventIn(
                    carrier=carrier, tracking_no=number, status=_ours(scan, turned_back).value, event_at=scan.at,
                    raw_status=(scan.code or scan.description or scan.status.value)[:200],
                    place=scan.place, description=scan.description,
                    cause="bad_address" if scan.cause == BAD_ADDRESS else None,
                )
            )  # fmt: skip
        except ValidationError:
            unread.append("its number or another value of it is out of bounds")
    return events, unread


def _when(scan: CarrierEvent) -> tuple[Any, ...]:
    return (scan.at.timestamp() if scan.at else 0.0, *scan.sort_key)


def _ours(scan: CarrierEvent, turned_back: bool) -> ShipmentStatus:
    if scan.cause == "refused" and scan.status is CarrierStatus.DELIVERY_FAILED:
        return ShipmentStatus.REFUSED
    if turned_back and scan.status is CarrierStatus.DELIVERED:
        return ShipmentStatus.RETURNED
    return OURS[scan.status]


async def forget_old(tx: Tx) -> int:
    """Drop payloads older than two weeks; returns how many."""
    return await store.carriers.forget_payloads(tx, tx.now - KEEP)


def _context(source: str) -> str:
    return f"carrier:{source}"


__all__ = ["CarrierPayloadLanded", "Parcels", "forget_old", "look_up", "on_payload", "record", "take_push", "upload"]
