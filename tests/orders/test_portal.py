"""Vendors that answer by hand: they see their own purchase orders only, and their word counts once."""

from __future__ import annotations

from typing import Any

from hub.kernel import audit
from hub.kernel.db import uow
from orders import api
from orders.contracts import OrderCancelled, VendorAccepted
from tests.orders.test_placing import line, two_vendors
from tests.orders.world import World


async def portal_order(world: World, qty: int = 2) -> tuple[int, dict[str, Any], dict[str, str], str, int, int]:
    """(mall, order, vendor's key, purchase order, cheap listing at the portal vendor, dear listing elsewhere)."""
    mall, product, cheap, dear = await two_vendors(world)
    world.portal.add(1)
    order = await world.placed(mall, [line(product, qty)])
    await world.work()
    return mall, order, await world.vendor_key(101), order["purchase_orders"][0]["id"], cheap, dear


async def say(world: World, key: dict[str, str], po: str, word: str, body: Any = None) -> tuple[int, Any]:
    async with world.client.post(f"/v1/vendor/orders/{po}/{word}", json=body, headers=key) as answer:
        return answer.status, await answer.json()


async def test_a_vendor_without_an_order_system_accepts_in_the_portal(world: World) -> None:
    mall, order, key, po, cheap, _dear = await portal_order(world)
    assert world.vendors[1].calls == []
    assert (await world.see(mall, order["id"]))["purchase_orders"][0]["status"] == "awaiting_vendor"
    status, found = await world.get(key, "/vendor/orders")
    assert status == 200
    (item,) = found["items"]
    assert (item["id"], item["status"], item["lines"][0]["qty"]) == (po, "awaiting_vendor", 2)
    assert (item["ship_to"]["phone"], item["ship_to"]["name"]) == ("13812341234", "王小明")
    for _ in range(2):
        status, answer = await say(world, key, po, "accept", {"vendor_order_no": "V1"})
        assert (status, answer["status"]) == (200, "accepted")
    await world.deliver_events()
    seen = await world.see(mall, order["id"])
    assert (seen["status"], seen["purchase_orders"][0]["vendor_order_no"]) == ("accepted", "V1")
    assert len(world.saw(VendorAccepted)) == 1 and await world.reserved(cheap) == 2
    assert (await say(world, key, po, "reject", {"reason": "too late"}))[0] == 409
    await world.sound()


async def test_reading_an_address_is_noted_in_the_audit_trail(world: World) -> None:
    _mall, _order, key, po, *_ = await portal_order(world)
    await world.get(key, "/vendor/orders")
    async with uow() as tx:
        row = await tx.fetchrow("SELECT action, subject, facts FROM audit")
        assert row is not None and (row["action"], row["subject"]) == ("ship_to.read", "vendor:101")
        assert row["facts"]["purchase_orders"] == [po]
        assert await audit.first_broken(tx) is None


async def test_a_rejection_in_the_portal_fails_over(world: World) -> None:
    mall, order, key, po, cheap, dear = await portal_order(world)
    for _ in range(2):
        status, answer = await say(world, key, po, "reject", {"reason": "售罄", "out_of_stock": True})
        assert (status, answer["status"]) == (200, "refused")
    await world.settle(2)
    assert (await world.see(mall, order["id"]))["status"] == "accepted"
    assert (await world.reserved(cheap), await world.reserved(dear)) == (0, 2)
    status, found = await world.get(key, "/vendor/orders")
    assert found["items"][0]["ship_to"] is None, "a vendor that refused needs no address"
    await world.sound()


async def test_a_vendor_that_withdraws_is_replaced(world: World) -> None:
    mall, order, key, po, cheap, dear = await portal_order(world)
    assert (await say(world, key, po, "cancel"))[0] == 409, "nothing was accepted yet"
    await say(world, key, po, "accept")
    status, answer = await say(world, key, po, "cancel", {"reason": "broken", "out_of_stock": True})
    assert (status, answer["status"]) == (200, "withdrawn")
    await world.settle(2)
    seen = await world.see(mall, order["id"])
    assert [item["status"] for item in seen["purchase_orders"]] == ["withdrawn", "accepted"]
    assert (await world.reserved(cheap), await world.reserved(dear)) == (0, 2)
    await world.sound()


async def test_the_buyers_cancellation_is_confirmed_in_the_portal(world: World) -> None:
    mall, order, key, po, cheap, _dear = await portal_order(world)
    await say(world, key, po, "accept")
    status, seen = await world.post(mall, f"/orders/{order['id']}/cancel")
    assert (status, seen["status"]) == (200, "cancelling") and await world.reserved(cheap) == 2
    status, answer = await say(world, key, po, "cancel")
    assert (status, answer["status"]) == (200, "cancelled")
    await world.deliver_events()
    assert (await world.see(mall, order["id"]))["status"] == "cancelled"
    assert await world.reserved(cheap) == 0 and len(world.saw(OrderCancelled)) == 1
    await world.sound()


async def test_shipping_means_accepting_even_as_the_vendor(world: World) -> None:
    mall, order, _key, _po, cheap, _dear = await portal_order(world)
    async with uow("vendor:101") as tx:
        (fact,) = await api.line_facts(tx, po_id=await tx.fetchval("SELECT id FROM purchase_orders"))
        assert fact.po_id is not None
        await api.shipped(tx, fact.po_id)
        assert await tx.fetchval("SELECT current_setting('supplyhub.tenant')") == "vendor:101"
    seen = await world.see(mall, order["id"])
    assert (seen["status"], seen["lines"][0]["status"]) == ("shipped", "shipped")
    await world.deliver_events()
    assert len(world.saw(VendorAccepted)) == 1 and await world.reserved(cheap) == 2


async def test_another_vendors_purchase_order_is_not_found(world: World) -> None:
    mall, order, _key, po, *_ = await portal_order(world)
    stranger = await world.vendor_key(102)
    assert (await world.get(stranger, "/vendor/orders"))[1] == {"items": [], "next": None}
    for word, body in (("accept", None), ("reject", {"reason": "x"}), ("cancel", {"reason": "x"})):
        assert (await say(world, stranger, po, word, body))[0] == 404
        assert (await say(world, stranger, "po_nonsense", word, body))[0] == 404
    async with uow("vendor:102") as tx:
        assert await api.po_of_vendor(tx, 102, await _po_id(world)) is None
    assert (await world.see(mall, order["id"]))["purchase_orders"][0]["status"] == "awaiting_vendor"
    assert (await say(world, world.malls[mall], po, "accept"))[0] == 403


async def _po_id(world: World) -> Any:
    return await world.value("SELECT id FROM purchase_orders")


async def test_a_bad_word_is_refused(world: World) -> None:
    *_, key, po, _cheap, _dear = await portal_order(world)
    for word, body in (
        ("reject", {}), ("reject", {"reason": ""}), ("reject", {"reason": "x", "more": 1}), ("reject", None),
        ("reject", {"reason": "x", "out_of_stock": "maybe"}), ("accept", {"vendor_order_no": ""}), ("accept", []),
    ):  # fmt: skip
        assert (await say(world, key, po, word, body))[0] in (400, 422), (word, body)
