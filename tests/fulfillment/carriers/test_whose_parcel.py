"""Whose parcel a scan is about: carriers are written in many ways, scans come before names, and nobody speaks about
parcels of others."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from connectors.contracts import OrderUpdate, ShipmentStatus
from fulfillment import api, shipping, tracking
from fulfillment.carriers import intake
from fulfillment.carriers.api import read
from fulfillment.shipping import ParcelIn
from hub.kernel.db import Database, uow
from hub.kernel.errors import Conflict
from tests.fulfillment.carriers.conftest import Account
from tests.fulfillment.carriers.test_hostile import TREES
from tests.fulfillment.carriers.test_intake import NUMBER, china, rows, ship
from tests.fulfillment.conftest import Hand
from tests.fulfillment.kit import T0, VENDOR, Book, clock_of


def scans(*what: tuple[float, str], number: str = NUMBER) -> dict[str, Any]:
    """What Yuantong says of a parcel, in its own words."""
    return {"运单号": number, "data": [{"time": china(hours), "context": text} for hours, text in what]}


async def tell(carrier: str, payload: Any, connection: int | None = None) -> list[str]:
    async with uow() as tx:
        done = await intake.record(tx, read(carrier, payload), connection)
    return [result.result for result in done.results]


@pytest.mark.parametrize("written", ["yuantong", "圆通快递", "YTO", "圆通速递有限公司", "unspecified"])
async def test_scans_before_the_name_are_found_however_the_vendor_writes_the_carrier(
    written: str, book: Book, hand: Hand
) -> None:
    hand.forward(hours=40)
    history = scans((10, "已揽收"), (30, "已签收"))
    assert await tell("圆通", history) == ["parked", "parked"]
    line = await ship(book, written, NUMBER)
    assert (await clock_of(line))["delivered_at"] == T0 + timedelta(hours=30)
    assert await tell("yuantong", history) == ["duplicate", "duplicate"]  # services send the whole history each time
    async with uow() as tx:
        assert all((await api.invariants(tx)).values())


@pytest.mark.parametrize("written", ["圆通快递", "圆通速递有限公司", "unspecified"])
async def test_scans_after_the_name_are_found_too(written: str, book: Book, hand: Hand) -> None:
    line = await ship(book, written, NUMBER)
    hand.forward(hours=40)
    assert await tell("yuantong", scans((10, "已揽收"), (30, "已签收"))) == ["applied", "applied"]
    assert (await clock_of(line))["delivered_at"] == T0 + timedelta(hours=30)


async def test_scans_of_another_carrier_with_the_same_number_stay_parked(book: Book, hand: Hand) -> None:
    hand.forward(hours=40)
    await tell("zhongtong", scans((30, "已签收")))
    line = await ship(book, "圆通", NUMBER)
    assert (await clock_of(line))["delivered_at"] is None
    assert await tell("zhongtong", scans((31, "已签收"))) == ["parked"]
    assert (await clock_of(line))["delivered_at"] is None


async def test_a_scan_and_a_name_at_the_same_moment_find_each_other_later(book: Book, hand: Hand) -> None:
    """Neither transaction sees what the other has not committed."""
    hand.forward(hours=40)
    named = asyncio.Event()

    async def scan() -> None:
        async with uow() as tx:
            await intake.record(tx, read("圆通", scans((30, "已签收"))))
            await named.wait()

    waiting = asyncio.create_task(scan())
    await asyncio.sleep(0.05)
    line = await ship(book, "yuantong", NUMBER)
    named.set()
    await waiting
    assert (await clock_of(line))["delivered_at"] is None
    assert await api.adopt_late() == 1
    assert (await clock_of(line))["delivered_at"] == T0 + timedelta(hours=30)
    assert await api.adopt_late() == 0


async def test_a_parcel_is_named_once_in_whatever_spelling(book: Book, hand: Hand) -> None:
    line = await ship(book, "圆通", NUMBER)
    async with uow() as tx:  # the same vendor, the same parcel
        po = next(po for po in book.pos.values() if po.order_id == line.order_id)
        await shipping.ship(tx, VENDOR, po.po_id, [ParcelIn(carrier="yuantong", tracking_no=NUMBER)])
    assert len(await rows("fulfillment_parcels")) == 1
    for other in ("YUANTONG", "圆通速递", "圆通速递有限公司", "圆通"):
        with pytest.raises(Conflict) as taken:
            await ship(book, other, NUMBER)
        assert taken.value.code == "parcel_taken"
    await ship(book, "中通", NUMBER)  # another carrier may well use the same number


async def test_a_vendor_that_names_the_parcel_of_another_changes_nothing(book: Book, hand: Hand) -> None:
    await ship(book, "圆通", NUMBER)
    other = book.order(1)
    await book.accepted(other)
    hand.forward(hours=5)
    before = await rows("fulfillment_parcels")
    update = OrderUpdate(
        status=ShipmentStatus.DELIVERED, raw_status="done", at=hand.at, carrier="yuantong", tracking_no=NUMBER
    )
    async with uow() as tx:
        await tracking.apply_update(tx, other, update)
    assert await rows("fulfillment_parcels") == before and await rows("fulfillment_tracking_events") == []


async def test_a_carriers_account_speaks_for_its_own_parcels_alone(book: Book, hand: Hand, account: Account) -> None:
    line = await ship(book, "圆通", NUMBER)
    hand.forward(hours=40)
    said = {
        "trackingNumber": NUMBER,
        "events": [{"date": (T0 + timedelta(hours=9)).isoformat(), "status": "Delivered"}],
    }
    assert await tell("fedex", said, account.id) == ["parked"]
    assert (await clock_of(line))["delivered_at"] is None


async def test_of_a_named_and_an_unnamed_carrier_the_named_one_has_the_scan(book: Book, hand: Hand) -> None:
    nobodys = await ship(book, "unspecified", NUMBER)
    named = await ship(book, "yto", NUMBER)
    hand.forward(hours=40)
    assert await tell("圆通", scans((30, "已签收"))) == ["applied"]
    assert (await clock_of(named))["delivered_at"] is not None
    assert (await clock_of(nobodys))["delivered_at"] is None


async def test_a_return_that_is_told_scan_by_scan_is_no_delivery(book: Book, hand: Hand) -> None:
    line = await ship(book, "圆通", NUMBER)
    hand.forward(hours=60)
    for one in ((50, "已签收"), (10, "已揽收"), (40, "快件退回中")):  # the last scan comes first
        await tell("圆通", scans(one))
    assert (await clock_of(line))["delivered_at"] is None
    [parcel] = await rows("fulfillment_parcels")
    assert parcel["status"] == "returned"


async def test_numbers_that_grow_and_carriers_of_nothing_are_refused_by_themselves(
    hand: Hand, database: Database
) -> None:
    said = [{"date": T0.isoformat(), "status": "In transit"}]
    for payload in ({"carrier": "   ", "tracking_code": "A1B2C3D4", "events": said},
                    {"carrier": "express" * 100_000, "tracking_code": "A1B2C3D5", "events": said},
                    {"carrier": "dhl", "tracking_code": "1" + "\ufb03" * 60, "events": said}):  # fmt: skip
        async with uow() as tx:
            done = await intake.record(tx, read("easypost", payload))
        assert [r.result for r in done.results] in ([], ["parked"])
    assert len(await rows("fulfillment_tracking_events")) >= 2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TREES)
def test_whatever_was_read_can_be_recorded(tree: Any) -> None:
    """A payload that fails again and again would end among the dead events."""
    for parcel in read("easypost", {"events": tree}, tree, asked="AB1234567890").parcels:
        if parcel.tracking_no is not None:
            made, unread = intake.tracking_events(parcel, "usps", parcel.tracking_no)
            assert len(made) + len(unread) == len(parcel.events)
