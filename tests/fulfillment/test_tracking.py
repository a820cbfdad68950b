"""Events of carriers and vendors against a real database."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest

from connectors import api as connectors
from connectors.contracts import OrderUpdate, PayloadLanded, PushContent, ShipmentStatus
from fulfillment import api, shipping
from fulfillment.contracts import EventResult, ShipmentUpdated, TrackingEventIn
from fulfillment.shipping import ParcelIn
from hub.kernel.db import uow
from hub.kernel.errors import Conflict, NotFound, Rejected
from hub.kernel.types import DeliveryMode
from orders.contracts import PoRef
from tests.fulfillment.conftest import Hand
from tests.fulfillment.kit import T0, VENDOR, Book, clock_of


def event(status: str, hours: float, number: str = "SF1", **more: Any) -> TrackingEventIn:
    at = T0 + timedelta(hours=hours)
    return TrackingEventIn(carrier="sf", tracking_no=number, status=status, event_at=at, **more)


async def tell(*events: TrackingEventIn) -> list[EventResult]:
    async with uow() as tx:
        return await api.record_events(tx, events)


async def ship(po: PoRef, *parcels: tuple[str, dict[int, int] | None], vendor: int = VENDOR) -> None:
    asked = [
        ParcelIn.model_validate(
            {
                "carrier": "SF",
                "tracking_no": number,
                "lines": [{"line_no": n, "quantity": q} for n, q in lines.items()] if lines is not None else None,
            }
        )
        for number, lines in parcels
    ]
    async with uow() as tx:
        await shipping.ship(tx, vendor, po.po_id, asked)


async def test_the_last_unit_of_the_last_parcel_ends_the_clock(book: Book, hand: Hand) -> None:
    po = book.order(3)
    await book.accepted(po)
    await ship(po, ("SF1", {1: 2}), ("SF2", {1: 1}))
    hand.forward(hours=50)
    await tell(event("delivered", 30, "SF1"))
    line = await clock_of(book.of(po)[0])
    assert (line["delivered_units"], line["delivered_at"]) == (2, None)
    await tell(event("delivered", 40, "SF2"))
    line = await clock_of(book.of(po)[0])
    assert (line["delivered_units"], line["delivered_at"]) == (3, T0 + timedelta(hours=40))


async def test_each_event_of_a_batch_is_judged_by_itself(book: Book, hand: Hand) -> None:
    po = book.order(1)
    await book.accepted(po)
    await ship(po, ("SF1", None))
    hand.forward(hours=5)
    ahead = 5 + 10 / 60
    results = await tell(
        event("shipped", 1),
        event("shipped", 1, description="the same scan in other words"),
        event("in_transit", -0.001),
        event("in_transit", ahead),
        event("in_transit", ahead + 0.001),
        event("签收中", 2, raw_status="42"),
        event("shipped", 1, "ELSEWHERE"),
    )
    assert [r.result for r in results] == [
        "applied", "duplicate", "rejected", "applied", "rejected", "applied", "parked",
    ]  # fmt: skip
    assert await tell(event("shipped", 1)) == [EventResult(index=0, result="duplicate")]
    async with uow() as tx:
        unknown = await tx.fetchrow(
            "SELECT status, raw_status FROM fulfillment_tracking_events WHERE raw_status = '42'"
        )
    assert unknown is not None and unknown["status"] == "unknown"  # kept with its raw value, never guessed


async def test_shuffled_batches_end_in_the_same_state(book: Book, hand: Hand) -> None:
    history = [
        event("shipped", 1), event("in_transit", 2), event("exception", 3), event("in_transit", 4),
        event("delivered", 5), event("delivered", 5, void=True), event("delivered", 6),
    ]  # fmt: skip
    ends = []
    hand.forward(hours=20)
    for seed in range(4):
        shuffled = [e.model_copy(update={"tracking_no": f"SF{seed}"}) for e in history * 2]
        random.Random(seed).shuffle(shuffled)
        po = book.order(1)
        await book.accepted(po)
        await ship(po, (f"SF{seed}", None))
        for start in range(0, len(shuffled), 3):
            await tell(*shuffled[start : start + 3])
        line = await clock_of(book.of(po)[0])
        ends.append((line["delivered_at"], line["first_scan_at"], line["delivered_units"]))
    assert set(ends) == {(T0 + timedelta(hours=6), T0 + timedelta(hours=1), 1)}


async def test_scans_that_come_before_the_vendor_names_the_parcel_are_not_lost(book: Book, hand: Hand) -> None:
    po = book.order(1)
    await book.accepted(po)
    hand.forward(hours=30)
    results = await tell(event("delivered", 20), event("delivered", -5))
    assert [r.result for r in results] == ["parked", "parked"]
    await ship(po, ("sf1 ", None))
    assert (await clock_of(book.of(po)[0]))["delivered_at"] == T0 + timedelta(hours=20)
    async with uow() as tx:
        assert all((await api.invariants(tx)).values())


async def test_quantities_always_add_up(book: Book, hand: Hand) -> None:
    po = book.order(3, 2)
    await book.accepted(po)
    await ship(po, ("A", {1: 2}))
    for parcels in ([("B", {1: 2})], [("B", {1: 1}), ("C", {1: 1})], [("B", {9: 1})], [("B", {2: 1}), ("B", {2: 1})]):
        with pytest.raises(Rejected) as refusal:
            await ship(po, *parcels)
        assert refusal.value.faults[0].pointer.startswith("/parcels/")
    await ship(po, ("A", {1: 2}))  # the same again changes nothing
    with pytest.raises(Conflict):
        await ship(po, ("A", {1: 1}))
    await ship(po, ("B", None))  # all that is left
    with pytest.raises(Rejected):
        await ship(po, ("C", None))
    async with uow() as tx:
        shipped = await tx.fetchval("SELECT sum(quantity) FROM fulfillment_parcel_lines")
        assert all((await api.invariants(tx)).values())
    assert shipped == 5


async def test_concurrent_shipments_never_exceed_the_order(book: Book, hand: Hand) -> None:
    po = book.order(5)
    await book.accepted(po)
    outcomes = await asyncio.gather(*(ship(po, (f"N{i}", {1: 2})) for i in range(6)), return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 2
    assert all(outcome is None or isinstance(outcome, Rejected) for outcome in outcomes)


async def test_the_units_of_a_returned_parcel_may_be_shipped_again(book: Book, hand: Hand) -> None:
    po = book.order(2)
    await book.accepted(po)
    await ship(po, ("A", {1: 2}))
    hand.forward(hours=60)
    await tell(event("returned", 20, "A"))
    await ship(po, ("B", {1: 2}))
    await tell(event("delivered", 50, "B"))
    assert (await clock_of(book.of(po)[0]))["delivered_at"] == T0 + timedelta(hours=50)


async def test_a_vendor_ships_only_its_own_and_only_parcels(book: Book, hand: Hand) -> None:
    po, booking = book.order(1), book.order(1, mode=DeliveryMode.APPOINTMENT)
    await ship(po, ("A", None))
    with pytest.raises(NotFound):
        await ship(po, ("B", None), vendor=VENDOR + 1)
    with pytest.raises(Conflict, match="travels in a parcel"):
        await ship(booking, ("B", None))
    with pytest.raises(Conflict, match="another shipment"):
        await ship(book.order(1), ("A", None))


async def test_a_vendors_delivered_without_a_carrier_scan_does_not_count(
    book: Book, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    po = book.order(1)
    await book.accepted(po)
    hand.forward(hours=20)
    pushed = PushContent(
        orders=(
            OrderUpdate(
                po_number=po.number, status=ShipmentStatus.DELIVERED, raw_status="completed", tracking_no="SF1",
                carrier="SF", at=T0 + timedelta(hours=10),
            ),
            OrderUpdate(po_number="nobody's", status=ShipmentStatus.SHIPPED, raw_status="x", at=T0),
        )
    )  # fmt: skip

    class Connection:
        id = VENDOR

    async def landed(_tx: Any, _inbox_id: int) -> Any:
        return Connection(), pushed

    monkeypatch.setattr(connectors, "landed", landed)
    for _ in range(2):
        async with uow() as tx:
            await api.on_payload(tx, PayloadLanded(inbox_id=1, connection_id=VENDOR))
    assert (await clock_of(book.of(po)[0]))["delivered_at"] is None
    assert book.told == [("delivered", po.po_id)] * 2  # orders/ hears the vendor's word
    await tell(event("delivered", 12))
    assert (await clock_of(book.of(po)[0]))["delivered_at"] == T0 + timedelta(hours=12)


async def test_orders_hear_when_goods_leave_and_when_all_have_arrived(book: Book, hand: Hand) -> None:
    po = book.order(1, 1)
    await book.accepted(po)
    await ship(po, ("A", {1: 1}), ("B", {2: 1}))
    hand.forward(hours=9)
    update = ShipmentUpdated(po_id=po.po_id, order_id=po.order_id, mall_id=po.mall_id)
    for number, expected in (("A", "shipped"), ("B", "delivered")):
        await tell(event("delivered", 5, number))
        async with uow() as tx:
            await api.on_shipment_updated(tx, update)
        assert book.told[-1] == (expected, po.po_id)


async def test_a_refused_parcel_is_excluded_on_the_carriers_evidence(book: Book, hand: Hand) -> None:
    po = book.order(1)
    await book.accepted(po)
    await ship(po, ("SF1", None))
    hand.forward(hours=100)
    await tell(event("in_transit", 10), event("refused", 20))
    async with uow() as tx:
        figure = await api.delivery_72h(tx, (T0, T0 + timedelta(hours=1)), tx.now)
    assert (figure.denominator, figure.excluded) == (0, 1)
