"""What malls and vendors are told of an order's life: enough to act on, nothing personal, nothing of anybody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from hub.kernel.db import uow
from tests.app.api_world import SHARED_SKU, Tenant, World, living_world


@pytest.fixture(scope="module")
async def world(schema: str) -> AsyncIterator[World]:
    async with living_world(schema) as made:
        yield made


async def told(tenant: Tenant) -> list[dict[str, Any]]:
    async with uow() as tx:
        rows = await tx.fetch(
            "SELECT body FROM webhook_messages WHERE tenant = $1 ORDER BY id", f"{tenant.scope}:{tenant.id}"
        )
    return [orjson.loads(row["body"]) for row in rows]


async def test_an_orders_life_is_told_to_its_mall_and_its_vendor(world: World) -> None:
    mall, vendor = world.malls["A"], world.vendors["A"]
    before = len(await told(mall)), len(await told(vendor))
    order = await world.order(mall, vendor, what="REST")
    await world.work()
    po = await world.po_of(vendor, order)
    await world.good("POST", f"/vendor/orders/{po['id']}/accept", vendor.headers)
    await world.work()
    parcel = {"parcels": [{"carrier": "sf", "tracking_no": "SF-TOLD-1"}]}
    await world.good("POST", f"/vendor/orders/{po['id']}/ship", vendor.headers, parcel)
    await world.work()
    to_mall, to_vendor = (await told(mall))[before[0] :], (await told(vendor))[before[1] :]
    assert {message["data"]["order_id"] for message in to_mall} == {order["id"]}
    assert {message["data"]["mall_order_no"] for message in to_mall} == {order["mall_order_no"]}
    kinds = [(message["type"], message["data"]["status"]) for message in to_mall]
    assert kinds[0] == ("order.updated", "placed") and ("order.updated", "accepted") in kinds
    assert kinds[-1] == ("shipment.updated", "shipped")
    assert to_mall[-1]["data"]["purchase_order"] == po["id"]
    assert to_mall[-1]["data"]["lines"] == [{"line_no": 1, "status": "shipped"}]
    assert [(message["type"], message["data"]["purchase_order"]) for message in to_vendor] == [
        ("purchase_order.created", po["id"]), ("purchase_order.updated", po["id"]),
    ]  # fmt: skip


async def test_units_given_back_and_after_sales_are_told(world: World) -> None:
    mall = world.malls["A"]
    before = len(await told(mall))
    order = mall.ids["order:cases"]
    wish = {"line_no": 1, "qty": 1, "kind": "refund", "reason": "broken"}
    await world.good("POST", f"/orders/{order}/after-sales", {**mall.headers, "Idempotency-Key": "told"}, wish)
    await world.work()
    assert [(m["type"], m["data"]["order_id"]) for m in (await told(mall))[before:]] == [("order.updated", order)]
    body, _ = world.letter(mall, [{"listing_id": world.vendors["A"].ids[f"listing:{SHARED_SKU}"], "qty": 2}])
    headers = {**mall.headers, "Idempotency-Key": "told less"}
    made = await world.good("POST", "/orders", headers, {**body, "mode": "reserve"})
    await world.work()
    before = len(await told(mall))
    await world.good("POST", f"/orders/{made['id']}/cancel", mall.headers, {"lines": [{"line_no": 1, "keep": 1}]})
    await world.work()
    assert [(m["type"], m["data"]["order_id"]) for m in (await told(mall))[before:]] == [("order.updated", made["id"])]


async def test_a_refusal_is_told_to_both_vendors_when_another_takes_over(world: World) -> None:
    mall, first = world.malls["A"], world.vendors["A"]
    before = len(await told(mall))
    order = await world.order(mall, first, what="REST")
    await world.work()
    po = await world.po_of(first, order)
    await world.good("POST", f"/vendor/orders/{po['id']}/reject", first.headers, {"reason": "no"})
    await world.work()
    assert (await told(first))[-1]["data"] == {
        "purchase_order": po["id"], "number": po["number"], "status": "refused",
    }  # fmt: skip
    statuses = [message["data"]["lines"][0]["status"] for message in (await told(mall))[before:]]
    assert statuses[0] == "placed" and statuses[-1] in ("unsupplied", "placed")


async def test_nobody_is_told_of_others_and_nothing_personal_leaves(world: World) -> None:
    personal = {word for deal in world.deals for word in deal.personal}
    for tenant in world.tenants:
        messages = orjson.dumps(await told(tenant)).decode()
        others = {deal for deal in world.deals if tenant.letter not in (deal.mall, *deal.vendors)}
        assert messages != "[]", tenant.name
        assert not [word for word in personal if word in messages], tenant.name
        assert not [mark for deal in others for mark in deal.marks if mark in messages], tenant.name


async def test_the_deliveries_of_an_endpoint_can_be_paged_through(world: World) -> None:
    mall = world.malls["A"]
    path = f"/webhook-endpoints/{mall.ids['hook']}/deliveries"
    seen: list[str] = []
    after = ""
    while True:
        page = await world.good("GET", f"{path}?limit=2{after}", mall.headers)
        seen += [item["message_id"] for item in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert len(seen) == len(set(seen)) == len(await told(mall)) and seen == sorted(seen, reverse=True)


async def test_a_vendor_cannot_ask_for_what_only_malls_are_told(world: World) -> None:
    vendor = world.vendors["A"]
    asked = {"url": "https://hooks.example/x", "types": ["purchase_order.created", "order.updated"]}
    reply = await world.call("POST", "/v1/webhook-endpoints", vendor.headers, asked)
    assert reply.status == 422 and reply.json["errors"][0]["pointer"] == "/types/1"
