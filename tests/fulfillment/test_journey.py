"""From a placed order to its 72-hour figure with the real orders: fail-over, shipping, scans, refusals."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from aiohttp.test_utils import TestClient

import fulfillment.api
import orders.api
from fulfillment.contracts import ShipmentUpdated, TrackingEventIn
from hub.kernel import clock, events
from hub.kernel.db import uow
from hub.kernel.events import Flow
from orders.contracts import LineUnsupplied, OrderCancelled, OrderPlaced, VendorAccepted, VendorRefused
from tests.orders.conftest import world
from tests.orders.world import World

__all__ = ["world"]

FLOW: Flow = {
    OrderPlaced: [fulfillment.api.on_placed, orders.api.submit_to_vendors],
    VendorAccepted: [fulfillment.api.on_accepted],
    VendorRefused: [fulfillment.api.on_refused, orders.api.on_refused],
    LineUnsupplied: [fulfillment.api.on_unsupplied],
    OrderCancelled: [fulfillment.api.on_cancelled],
    ShipmentUpdated: [fulfillment.api.on_shipment_updated],
}


async def work(rounds: int = 4) -> None:
    for _ in range(rounds):
        await events.drain(FLOW, width=2)
        await orders.api.place_due(concurrency=2)
    await events.drain(FLOW, width=2)


async def figures() -> tuple[Any, Any]:
    async with uow() as tx:
        window = (tx.now - timedelta(days=30), tx.now)
        assert all((await fulfillment.api.invariants(tx)).values())
        return (
            await fulfillment.api.delivery_72h(tx, window, tx.now),
            await fulfillment.api.stockout_figure(tx, window, tx.now),
        )


async def test_an_order_that_failed_over_is_shipped_delivered_and_counted(
    world: World, client: TestClient[Any, Any]
) -> None:
    first, _second = await world.vendor(1), await world.vendor(2)
    first.out_of_stock = ()
    mall_id, product_id = await world.mall(), await world.product()
    await world.listing(1, product_id, "10", 50)
    await world.listing(2, product_id, "11", 50)
    order = await world.placed(mall_id, [{"product_id": f"prd_{product_id}", "qty": 2}])
    await work()

    keys = await world.vendor_key(102)
    _, purchase_orders = await world.get(world.malls[mall_id], f"/orders/{order['id']}")
    po = next(p["id"] for p in purchase_orders["purchase_orders"] if p["status"] == "accepted")
    parcel = {"carrier": "SF", "tracking_no": "SF1", "lines": [{"line_no": 1, "quantity": 2}]}
    async with client.post(f"/v1/vendor/orders/{po}/ship", json={"parcels": [parcel]}, headers=keys) as answer:
        assert answer.status == 200, await answer.text()
    assert (await world.see(mall_id, order["id"]))["status"] == "shipped"

    world.later(20 * 3600)
    async with uow() as tx:
        scan = TrackingEventIn(carrier="sf", tracking_no="SF1", status="delivered", event_at=clock.now())
        assert [r.result for r in await fulfillment.api.record_events(tx, [scan])] == ["applied"]
    await work()
    assert (await world.see(mall_id, order["id"]))["status"] == "completed"

    world.later(80 * 3600)
    delivery, stock = await figures()
    assert (delivery.numerator, delivery.denominator, delivery.status) == (1, 1, "met")
    assert (stock.numerator, stock.denominator, stock.visible_numerator, stock.rescue_rate) == (1, 1, 0, 1.0)


async def test_an_order_that_nobody_can_supply_is_a_miss(world: World) -> None:
    (await world.vendor(1)).out_of_stock = ()
    mall_id, product_id = await world.mall(), await world.product()
    await world.listing(1, product_id, "10", 50)
    await world.placed(mall_id, [{"product_id": f"prd_{product_id}", "qty": 2}])
    await work()
    world.later(97 * 3600)
    delivery, stock = await figures()
    assert (delivery.numerator, delivery.denominator, delivery.partition.supply_cancelled) == (0, 1, 1)
    assert (stock.numerator, stock.visible_numerator, stock.rescue_rate) == (1, 1, 0.0)


async def test_a_cancelled_order_leaves_the_figure_and_shows_in_the_exclusion_rate(world: World) -> None:
    await world.vendor(1)
    mall_id, product_id = await world.mall(), await world.product()
    await world.listing(1, product_id, "10", 50)
    order = await world.placed(mall_id, [{"product_id": f"prd_{product_id}", "qty": 1}])
    await work()
    status, _ = await world.post(mall_id, f"/orders/{order['id']}/cancel")
    assert status == 200
    await work()
    world.later(97 * 3600)
    delivery, _stock = await figures()
    assert (delivery.denominator, delivery.excluded, delivery.exclusion_rate) == (0, 1, 1.0)


async def test_a_booked_appointment_is_on_time(world: World) -> None:
    await world.vendor(1)
    mall_id = await world.mall()
    slot_id = await world.slot(1)
    await world.placed(mall_id, [{"slot_id": f"slt_{slot_id}", "qty": 1}])
    await work()
    world.later(97 * 3600)
    delivery, _stock = await figures()
    assert (delivery.numerator, delivery.denominator) == (1, 1)
