"""Orders at a Shopify shop followed parcel by parcel, by asking and by push."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.contracts import OrderUpdate, ShipmentStatus
from connectors.shopify.shapes import gid
from hub.kernel.errors import Broken
from tests.connectors.test_shopify import no_waiting, shop
from tests.connectors.test_shopify_orders import placed

__all__ = ["no_waiting"]  # a fixture that every test here uses


async def test_every_parcel_is_told_with_its_own_number() -> None:
    async with shop() as (sandbox, connector):
        adapter = connector()
        order, own = await placed(sandbox, adapter)
        [update] = await adapter.track(own)
        assert (update.status, update.raw_status, update.po_number) == (
            ShipmentStatus.PENDING,
            "UNFULFILLED",
            order.number,
        )
        sandbox.fulfill(own, ["SF1", "SF2"], part=True)
        sandbox.fulfill(own, ["YT1"], company="YTO")
        sandbox.scan(own, "OUT_FOR_DELIVERY")
        updates = await adapter.track(own)
        pushed = adapter.parse_push("orders/updated", sandbox.order_delivery(own).body).orders

    def seen(found: Any) -> list[tuple[str | None, str | None, ShipmentStatus]]:
        return [(u.tracking_no, u.carrier, u.status) for u in found]

    assert (
        seen(updates)
        == seen(pushed)
        == [
            ("SF1", "SF Express", ShipmentStatus.SHIPPED),
            ("SF2", "SF Express", ShipmentStatus.SHIPPED),
            ("YT1", "YTO", ShipmentStatus.OUT_FOR_DELIVERY),
        ]
    )
    assert [(u.at, u.po_number, u.vendor_order_no) for u in updates] == [
        (u.at, u.po_number, u.vendor_order_no) for u in pushed
    ]


@pytest.mark.parametrize(
    ("sent", "status", "raw"),
    [
        ([(["A"], "DELIVERED", False)], ShipmentStatus.DELIVERED, "DELIVERED"),
        ([(["A"], "TELEPORTED", False)], ShipmentStatus.UNKNOWN, "TELEPORTED"),
        ([(["A"], "NOT_DELIVERED", False)], ShipmentStatus.EXCEPTION, "NOT_DELIVERED"),
        ([([], "DELIVERED", False)], ShipmentStatus.DELIVERED, "DELIVERED"),  # all of it, without a number
        ([([], "DELIVERED", True)], ShipmentStatus.SHIPPED, "PARTIALLY_FULFILLED"),  # a part says nothing of the rest
        ([([], "DELIVERED", False), ([], "FULFILLED", False)], ShipmentStatus.SHIPPED, "FULFILLED"),
    ],
)
async def test_a_status_is_what_the_shop_says_or_unknown(sent: Any, status: ShipmentStatus, raw: str) -> None:
    async with shop() as (sandbox, connector):
        adapter = connector()
        _, own = await placed(sandbox, adapter)
        for numbers, display, part in sent:
            sandbox.fulfill(own, numbers, display=display, part=part)
        [update] = await adapter.track(own)
    assert (update.status, update.raw_status) == (status, raw)


async def test_a_called_off_fulfilment_does_not_call_off_the_order() -> None:
    async with shop() as (sandbox, connector):
        adapter = connector()
        order, own = await placed(sandbox, adapter)
        sandbox.fulfill(own, [])
        held = sandbox.orders[gid("Order", own)]
        held["fulfillments"][0].update(status="CANCELLED", displayStatus="CANCELED")
        held["displayFulfillmentStatus"] = "UNFULFILLED"
        [update] = await adapter.track(own)
        assert (update.status, update.raw_status) == (ShipmentStatus.PENDING, "UNFULFILLED")
        held["fulfillments"].clear()
        await adapter.cancel(own, order)
        [update] = await adapter.track(own)
        [pushed] = adapter.parse_push("orders/updated", sandbox.order_delivery(own).body).orders
        assert update.status is pushed.status is ShipmentStatus.CANCELLED and update.at == pushed.at
        for nobody in ("4711", "../orders/1", ""):
            assert await adapter.track(nobody) == ()


async def test_an_order_with_a_broken_time_is_broken_when_asked_and_one_bad_row_when_pushed() -> None:
    async with shop() as (sandbox, connector):
        adapter = connector()
        _, own = await placed(sandbox, adapter)
        sandbox.orders[gid("Order", own)]["updatedAt"] = "yesterday"
        with pytest.raises(Broken):
            await adapter.track(own)
        content = adapter.parse_push("orders/updated", sandbox.order_delivery(own).body)
        assert len(content.bad) == 1 and not content.orders


async def test_orders_of_the_shops_own_shoppers_are_none_of_ours() -> None:
    async with shop() as (sandbox, connector):
        adapter = connector()
        _, own = await placed(sandbox, adapter)
        sandbox.fulfill(own, ["SF1"])
        for ours in (True, False):
            if not ours:
                held = sandbox.orders[gid("Order", own)]
                held.update(customAttributes=[], sourceIdentifier=None, tags=["vip"])
            content = adapter.parse_push("orders/updated", sandbox.order_delivery(own).body)
            told: list[OrderUpdate] = list(content.orders)
            assert [update.vendor_order_no for update in told] == ([own] if ours else [])
            assert "李伟" not in content.model_dump_json() and "中山路" not in content.model_dump_json()
