"""What vendors hold for orders that are not placed yet: a slot at a clinic, goods of a vendor that gives no counts.

The vendor is asked before the order is written and outside any transaction (hub.kernel.web.Outside): what is about to
be asked for is written down and committed, the vendor is asked under a key that later is the purchase order's number,
and the order takes over what is held. Whatever happens in between, the rows say what may be held at which vendor, and
`let_go_due` gives back all that no living line waits for: of requests that failed or died, of orders that were
cancelled or ran out, of slots that were left for others."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from catalog import api as catalog
from connectors import api as connectors
from connectors.contracts import Capability, Held, PoLine, PurchaseOrder, ShipTo
from connectors.protocol import HoldsSlots, HoldsStock
from hub.kernel import clock
from hub.kernel.db import Tx, uow
from hub.kernel.errors import Conflict, Fault, HubError, Misconfigured, Retry
from hub.kernel.failpoints import failpoint
from hub.kernel.settings import settings
from hub.kernel.types import public_id, uuid7
from hub.kernel.web import Outside
from orders import store
from orders.book import Line
from orders.numbers import po_number

log = structlog.get_logger()

ASK_LIMIT_S = 15.0  # longest wait for a vendor while a mall waits for us
UNBOUND_S = 60.0  # after which a hold that no order took over is let go; well above ASK_LIMIT_S
MARGIN_S = 120.0  # a hold outlives the reservation, so that a confirmation in the last second still finds it
PLACE_S = 300.0  # how long a slot is held for an order that is placed at once
_RELEASE_LEASE_S = 90.0
_GIVE_UP_AFTER = 30  # tries; FHIR holds and JD's held orders end at the vendor by themselves in the end

Place = tuple[int, str | None]  # connection, slot; None: the goods of the order there


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thing to be held at one vendor."""

    place: Place
    listing_id: int
    product_id: int
    line_no: int
    slot_id: int | None
    start: datetime | None
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """What the vendors hold: the key by place."""

    keys: Mapping[Place, str]


async def require(
    tx: Tx,
    mall_id: int,
    order_no: str,
    lines: Sequence[Line],
    uncounted: Iterable[uuid.UUID],
    ship_to: Mapping[str, str],
    *,
    placing: bool,
    held_until: datetime | None = None,
    kept: Kept | None,
) -> None:
    """Let each line say under which key its vendor holds it. Raises Outside until the vendors hold all that they can:
    the slots of lines that have one, and for a reservation the goods (`uncounted`: lines whose vendor counts none).
    What is held outlives the reservation, and a review that is to be decided by `held_until`."""
    loose = frozenset() if placing else frozenset(uncounted)
    wanted = await _wanted(tx, [line for line in lines if line.slot_ref is not None or line.id in loose])
    if not wanted:
        return
    keys = kept.keys if kept is not None else {}
    if any(one.place not in keys for one in wanted):
        ttl = PLACE_S if placing else settings().reserve_ttl_s + MARGIN_S
        if held_until is not None:
            ttl = max(ttl, (held_until - tx.now).total_seconds() + MARGIN_S)
        raise outside(mall_id, order_no, wanted, ship_to, ttl)
    for one in wanted:
        for line in one.lines:
            line.vendor_key = keys[one.place]


def outside(mall_id: int, order_no: str, wanted: Sequence[Wanted], ship_to: Mapping[str, str], ttl_s: float) -> Outside:
    """The request to ask vendors before a handler goes on."""
    return Outside(lambda: _ask(mall_id, order_no, wanted, ship_to, ttl_s), _undo)


async def _wanted(tx: Tx, lines: Sequence[Line]) -> list[Wanted]:
    made: list[Wanted] = []
    loose: dict[int, list[Line]] = {}
    able = {line.connection_id: frozenset[Capability]() for line in lines}
    for connection_id in able:
        able[connection_id] = (await connectors.get_connection(tx, connection_id)).capabilities
    for line in lines:
        if line.slot_ref is None:
            if Capability.HOLDS_STOCK in able[line.connection_id]:
                loose.setdefault(line.connection_id, []).append(line)
        elif Capability.HOLDS_SLOTS in able[line.connection_id]:
            made.append(slot_of(line))
    made += [
        Wanted((connection_id, None), some[0].listing_id, some[0].product_id, some[0].line_no, None, None, tuple(some))
        for connection_id, some in loose.items()
    ]
    return made


def slot_of(line: Line) -> Wanted:
    """The slot of a line as something to be held."""
    place = (line.connection_id, line.slot_ref)
    return Wanted(place, line.listing_id, line.product_id, line.line_no, line.slot_id, line.slot_start, (line,))


async def bind(tx: Tx, order_id: uuid.UUID, lines: Iterable[Line]) -> None:
    """The order takes over what its lines' vendors hold. Raises Retry when something was let go meanwhile."""
    await bind_keys(tx, order_id, {line.vendor_key for line in lines if line.vendor_key is not None})


async def bind_keys(tx: Tx, order_id: uuid.UUID, keys: set[str]) -> None:
    """As `bind`, by key."""
    if keys and await store.bind_holds(tx, sorted(keys), order_id) != keys:
        raise Retry("what the vendor held was let go meanwhile; try again", code="hold_lost")


async def _ask(mall_id: int, order_no: str, wanted: Sequence[Wanted], ship_to: Mapping[str, str], ttl_s: float) -> Kept:
    """Have all of it held. Raises Conflict when a vendor will not (what was held for the request is let go), Retry
    when a vendor does not answer: repeating the request asks under the same key."""
    async with uow() as tx:
        until = tx.now + timedelta(seconds=ttl_s)
        due_at = tx.now + timedelta(seconds=UNBOUND_S)
        before = {(r["connection_id"], r["slot_ref"]): r for r in await store.holds_asked_before(tx, mall_id, order_no)}
        ids = {one.place: before[one.place]["id"] if one.place in before else uuid7() for one in wanted}
        keys = {one.place: before[one.place]["key"] if one.place in before else po_number() for one in wanted}
        await store.ask_again(tx, [ids[one.place] for one in wanted if one.place in before], until, due_at)
        fresh = [one for one in wanted if one.place not in before]
        rows = [(ids[o.place], keys[o.place], o.place[0], o.listing_id, o.place[1]) for o in fresh]
        await store.ask_holds(tx, mall_id, order_no, until, due_at, rows)
    failpoint("orders.hold_recorded")
    kept = Kept(keys)
    try:
        answers = await asyncio.gather(*(_hold(one, keys[one.place], until, ship_to) for one in wanted))
        failpoint("orders.hold_asked")
        for one, answer in zip(wanted, answers, strict=True):
            if not answer.held:
                raise await refusal(mall_id, one, answer, keys[one.place])
        async with uow() as tx:
            if await store.holds_kept(tx, list(ids.values())) != len(ids):
                raise Retry("the vendors took too long; try again", code="hold_lost")
    except Conflict:
        await _undo(kept)
        raise
    return kept


async def _hold(one: Wanted, key: str, until: datetime, ship_to: Mapping[str, str]) -> Held:
    connection_id, slot_ref = one.place
    try:
        async with asyncio.timeout(ASK_LIMIT_S), connectors.open_connector(connection_id) as connector:
            if slot_ref is not None and isinstance(connector, HoldsSlots):
                return await connector.hold(slot_ref, key, until)
            if slot_ref is None and isinstance(connector, HoldsStock):
                return await connector.hold_stock(_letter(one, key, ship_to), key=key)
    except TimeoutError:
        raise Retry(f"the vendor did not answer within {ASK_LIMIT_S:.0f} s; try again", code="vendor_slow") from None
    raise Misconfigured("this connection's connector can no longer hold anything", code="no_capability")


def _letter(one: Wanted, key: str, ship_to: Mapping[str, str]) -> PurchaseOrder:
    return PurchaseOrder(
        number=key,
        lines=tuple(
            PoLine(
                line_no=line.line_no,
                vendor_sku=line.vendor_sku,
                quantity=line.quantity,
                unit_price=line.unit_price,
                currency=line.currency,
                vendor_ref=line.vendor_ref,
            )
            for line in one.lines
        ),
        ship_to=ShipTo(**ship_to),
        placed_at=clock.now(),
    )


async def refusal(mall_id: int, one: Wanted, answer: Held, key: str) -> Conflict:
    """Why the order cannot be made. What is gone at the vendor is not sold again before its next report, unless it is
    another order of ours that has it."""
    reason = (answer.reason or "the vendor will not hold it")[:300]
    async with uow() as tx:
        if one.place[1] is not None:
            if answer.gone and not await store.held_by_others(tx, one.place[0], one.place[1], key):
                await catalog.refuse(tx, one.listing_id, one.place[1])
            assert one.slot_id is not None and one.start is not None
            return await slot_taken(tx, mall_id, one.line_no, one.slot_id, one.product_id, one.start, reason)
        gone = [line for line in one.lines if line.vendor_sku in answer.gone_skus] or list(one.lines)
        if answer.gone:
            for listing_id, shelves in sorted(
                (await catalog.available(tx, [line.listing_id for line in gone])).items()
            ):
                for shelf in shelves:
                    await catalog.refuse(tx, listing_id, shelf.location)
    return Conflict(
        f"line {gone[0].line_no}: {reason}",
        code="out_of_stock" if answer.gone else "vendor_refused",
        faults=tuple(Fault(f"/lines/{line.line_no - 1}/qty", "the vendor does not keep it for us") for line in gone),
        facts={"shortages": [{"line_no": line.line_no, "wanted": line.quantity, "available": 0} for line in gone]},
    )


async def slot_taken(
    tx: Tx, mall_id: int, line_no: int, slot_id: int, product_id: int, start: datetime, reason: str
) -> Conflict:
    """The 409 of a slot that somebody else has, with the nearest free times of the same service."""
    near = [slot for slot in await catalog.slots_near(tx, mall_id, product_id, start) if slot.slot_id != slot_id]
    return Conflict(
        f"line {line_no}: this time is no longer free ({reason}); choose another",
        code="slot_taken",
        faults=(Fault(f"/lines/{line_no - 1}/slot_id", "no longer free"),),
        facts={
            "line_no": line_no,
            "slot_id": public_id("slt", slot_id),
            "alternatives": [
                {
                    "slot_id": public_id("slt", slot.slot_id),
                    "listing_id": public_id("lst", slot.offer.listing_id),
                    "vendor": slot.offer.vendor_name,
                    "start": slot.start.isoformat(),
                    "end": slot.end.isoformat(),
                    "price": str(slot.offer.price),
                    "currency": slot.offer.currency,
                }
                for slot in near[:5]
            ],
        },
    )


async def _undo(kept: Kept | None) -> None:
    """No order came of it: let go soon."""
    if kept is not None:
        async with uow() as tx:
            await store.holds_not_wanted(tx, sorted(kept.keys.values()))


async def let_go_due(limit: int = 100) -> int:
    """A task: give back what vendors hold and no living line waits for; returns how many releases were tried. Any
    number of processes may run it at once."""
    tried = 0
    while True:
        async with uow() as tx:
            await store.settle_used_holds(tx)
            again_at = tx.now + timedelta(seconds=_RELEASE_LEASE_S)
            rows = await store.claim_releases(tx, again_at, min(limit - tried, 20))
        if not rows:
            return tried
        failpoint("orders.release_claimed")
        await asyncio.gather(*(_release(row) for row in rows))
        tried += len(rows)
        if tried >= limit:
            return tried


async def _release(row: Any) -> None:
    state, error, wait = "released", None, 0.0
    try:
        async with asyncio.timeout(ASK_LIMIT_S), connectors.open_connector(row["connection_id"]) as connector:
            if row["slot_ref"] is not None and isinstance(connector, HoldsSlots):
                await connector.release(row["key"], row["slot_ref"])
            elif row["slot_ref"] is None and isinstance(connector, HoldsStock):
                await connector.release_stock(row["key"])
    except (HubError, TimeoutError) as failed:
        state, error, wait = "releasing", str(failed)[:500] or "no answer", min(600.0, 5.0 * 2 ** min(row["tries"], 7))
        if row["tries"] >= _GIVE_UP_AFTER:
            state = "given_up"
            log.error("vendor_hold_not_released", key=row["key"], connection_id=row["connection_id"], error=error)
    async with uow() as tx:
        await store.let_go(tx, row["id"], state, error, tx.now + timedelta(seconds=wait))
