"""The mission, from a vendor's payload to the 72-hour figure, over real HTTP with real workers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

import catalog.api
import fulfillment.api
import orders.api
from hub.app.assortment import CLINIC, EXPERIENCES, GROCERY, PHARMACY, REFERENCE, SHOP, story
from hub.app.demo.scene import Refused, Scene, scene, until
from hub.app.demo.story import order, product_by_gtin
from hub.kernel import db

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
async def stage() -> AsyncIterator[Scene]:
    async with scene(small=True, start_offset=timedelta(days=-5), SUPPLYHUB_LOG_LEVEL="ERROR") as made:
        yield made


async def test_a_vendors_product_reaches_an_employee_within_72_hours(stage: Scene) -> None:
    mall, other_mall = await stage.mall("甲公司"), await stage.mall("乙公司")

    # Adapter connectors pull SKUs and stock from partner vendors ...
    await stage.connect(SHOP, GROCERY, PHARMACY, CLINIC, EXPERIENCES, REFERENCE)
    runs = await stage.pull(SHOP, GROCERY, PHARMACY, CLINIC, EXPERIENCES)
    assert all(run["seen"] > 20 for run in runs)
    assert sum(run["quarantined"] for run in runs) >= 5, "the feeds' bad rows are kept with their reasons"

    # ... a pricing module checks that they are level with the market ...
    await stage.pull(REFERENCE)

    # ... and one catalogue shows them in Chinese and English.
    zh = await mall.get("/v1/products", q="口罩", kind="goods")
    en = await mall.get("/v1/products", q="mask", kind="goods")
    assert {item["id"] for item in zh["items"]} & {item["id"] for item in en["items"]}
    masks = await product_by_gtin(mall, story.CONTENDED)
    assert len(masks["offers"]) >= 2, "the same GTIN at several vendors is one product"

    # The mall orders; stock is reserved in the same transaction.
    placed = await order(mall, [{"product_id": masks["id"], "qty": 2}])
    assert placed["status"] == "placed"
    kettle = await product_by_gtin(mall, story.LATE)
    second = await order(mall, [{"product_id": kettle["id"], "qty": 1}], key="once")
    body = {"product_id": kettle["id"], "qty": 1}
    with pytest.raises(Refused, match="409"):
        await order(mall, [body], number=second["mall_order_no"], key="twice")
    with pytest.raises(Refused, match="404"):
        await other_mall.get(f"/v1/orders/{placed['id']}")

    # The grocery shows stock and has none: the line fails over to the next vendor, or is honestly unsupplied.
    for gtin in story.REFUSED_BY_GROCERY:
        await stage.play("stock", vendor=GROCERY, gtin=gtin, on_hand=0, announce=False)
    rescued = await order(mall, [{"product_id": (await product_by_gtin(mall, story.FAILOVER))["id"], "qty": 1}])
    lost = await order(mall, [{"product_id": (await product_by_gtin(mall, story.SOLE_SOURCE))["id"], "qty": 1}])

    async def answered(order_id: str) -> str | None:
        await _answer_portal(stage)
        status = (await mall.get(f"/v1/orders/{order_id}"))["status"]
        return None if status == "placed" else str(status)

    for made, ends in ((placed, "accepted"), (second, "accepted"), (rescued, "accepted"), (lost, "unsupplied")):
        assert await until(lambda made=made: answered(made["id"]), f"the answer to {made['id']}") == ends
    pos = (await mall.get(f"/v1/orders/{rescued['id']}"))["purchase_orders"]
    assert [po["status"] for po in sorted(pos, key=lambda po: po["sequence"])] == ["refused", "accepted"]

    # Vendors ship, carriers scan, and the last unit's delivery stops the clock.
    await stage.move_clock(hours=1)
    shipped = await _ship_everything(stage)
    assert shipped
    await stage.move_clock(hours=30)
    at = (stage.now() - timedelta(minutes=1)).isoformat()
    scans = [{"carrier": "sf", "tracking_no": number, "status": "delivered", "event_at": at} for number in shipped]
    answer = await stage.staff.post("/v1/tracking-events", {"events": scans})
    assert {result["result"] for result in answer["results"]} == {"applied"}
    await stage.move_clock(hours=70)

    # The figures say so, with numerator, denominator and time.
    delivery = await stage.staff.get("/v1/metrics/delivery-72h")
    assert (delivery["numerator"], delivery["denominator"]) == (3, 4), "the unsupplied line is a miss, not an exclusion"
    assert delivery["partition"]["supply_cancelled"] == 1 and delivery["as_of"]
    stockouts = await stage.staff.get("/v1/metrics/stockouts")
    assert (stockouts["numerator"], stockouts["visible_numerator"], stockouts["denominator"]) == (2, 1, 4)

    # Nothing was sold twice, and the ledger proves the shelf.
    at_vendors = await stage.play("orders")
    assert (at_vendors["duplicates"], at_vendors["oversold"]) == (0, 0)
    async with db.uow() as tx:
        assert await catalog.api.drift(tx) == []
        promises = {**await orders.api.invariants(tx), **await fulfillment.api.invariants(tx)}
    assert all(promises.values()), promises


async def _answer_portal(stage: Scene) -> None:
    pharmacy = await stage.vendor(PHARMACY)
    for po in await pharmacy.pages("/v1/vendor/orders"):
        if po["status"] == "awaiting_vendor":
            await pharmacy.post(f"/v1/vendor/orders/{po['id']}/accept", {})


async def _ship_everything(stage: Scene) -> list[str]:
    numbers = []
    for key in (SHOP, GROCERY, PHARMACY):
        vendor = await stage.vendor(key)
        for po in await vendor.pages("/v1/vendor/orders"):
            if po["status"] == "accepted":
                lines = [{"line_no": line["line_no"], "quantity": line["qty"]} for line in po["lines"]]
                parcel = {"carrier": "sf", "tracking_no": f"SF{po['number']}", "lines": lines}
                await vendor.post(f"/v1/vendor/orders/{po['id']}/ship", {"parcels": [parcel]})
                numbers.append(f"SF{po['number']}")
    return numbers
