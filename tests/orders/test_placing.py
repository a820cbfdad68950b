"""Purchase orders at vendors: each exactly once, whatever is lost on the way."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from hub.kernel.db import uow
from hub.kernel.errors import Broken, Misconfigured
from orders import api, placing, store
from orders.contracts import LineUnsupplied, OrderCancelled, VendorAccepted, VendorRefused
from orders.lifecycle import WrongState
from tests.orders.world import World


def line(product_id: int, qty: int = 1, **more: Any) -> dict[str, Any]:
    return {"product_id": f"prd_{product_id}", "qty": qty, **more}


async def one_vendor(world: World, on_hand: int | None = 100) -> tuple[int, int, int]:
    """(mall, product, listing) with one vendor, connection 1."""
    mall = await world.mall()
    await world.vendor(1)
    product = await world.product()
    return mall, product, await world.listing(1, product, "10.00", on_hand)


async def two_vendors(world: World) -> tuple[int, int, int, int]:
    """(mall, product, cheap listing at vendor 1, dear listing at vendor 2)."""
    mall, product, cheap = await one_vendor(world)
    await world.vendor(2)
    return mall, product, cheap, await world.listing(2, product, "12.00", 100)


async def test_a_placed_order_becomes_one_order_at_the_vendor(world: World) -> None:
    mall, product, listing = await one_vendor(world)
    order = await world.placed(mall, [line(product, 3)])
    assert order["status"] == "placed"
    assert await world.reserved(listing) == 3
    await world.work()
    seen = await world.see(mall, order["id"])
    assert seen["status"] == "accepted"
    assert [po["status"] for po in seen["purchase_orders"]] == ["accepted"]
    assert world.vendors[1].calls == ["place"]
    letter = world.vendors[1].letters[0]
    assert letter.number == seen["purchase_orders"][0]["number"]
    assert (letter.ship_to.phone, letter.lines[0].vendor_sku, letter.lines[0].quantity) == (
        "13812341234", f"S{product}", 3,
    )  # fmt: skip
    assert len(world.saw(VendorAccepted)) == 1
    assert await world.value("SELECT state FROM catalog_holds") == "accepted"
    await world.sound()


async def test_an_order_is_split_per_vendor(world: World) -> None:
    mall, first, _listing = await one_vendor(world)
    await world.vendor(2)
    second = await world.product("酒精")
    await world.listing(2, second, "5", 9)
    order = await world.placed(mall, [line(first, 1), line(second, 2), line(first, 4)])
    assert [(po["vendor"], po["lines"]) for po in order["purchase_orders"]] == [("vendor 1", [1, 3]), ("vendor 2", [2])]
    assert order["total"] == {"amount": "60.0000", "currency": "CNY"} or float(order["total"]["amount"]) == 60
    await world.work()
    assert (len(world.vendors[1].live), len(world.vendors[2].live)) == (1, 1)
    assert [p.quantity for p in world.vendors[1].letters[0].lines] == [1, 4]
    async with uow() as tx:
        assert await api.counts(tx) == {"placed": 1, "split": 1, "failed_over": 0, "refused": 0}
    await world.sound()


async def test_a_lost_response_never_buys_twice(world: World) -> None:
    mall, product, _cheap, dear = await two_vendors(world)
    world.vendors[1].lose = 1
    world.vendors[1].idempotent = False  # a vendor that would happily make a second order
    order = await world.placed(mall, [line(product, 2)])
    await world.work()
    seen = await world.see(mall, order["id"])
    assert seen["purchase_orders"][0]["status"] == "unknown"
    assert seen["status"] == "placed"
    await world.settle()
    assert world.vendors[1].calls == ["place", "find"]
    assert [o["times"] for o in world.vendors[1].live] == [1]
    assert world.vendors[2].calls == []
    assert (await world.see(mall, order["id"]))["status"] == "accepted"
    assert await world.reserved(dear) == 0
    async with uow() as tx:
        (fact,) = await api.line_facts(tx, po_id=await tx.fetchval("SELECT id FROM purchase_orders"))
    assert fact.first_vendor_unknown and fact.first_vendor_outcome == "accepted"
    await world.sound()


async def test_an_order_the_vendor_never_got_is_placed_again_under_the_same_key(world: World) -> None:
    mall, product, _listing = await one_vendor(world)
    world.vendors[1].down = 1
    await world.placed(mall, [line(product)])
    await world.settle()
    assert world.vendors[1].calls == ["place", "find", "place"]
    assert len({letter.number for letter in world.vendors[1].letters}) == 1
    assert [o["times"] for o in world.vendors[1].live] == [1]


async def test_unknown_never_fails_over(world: World) -> None:
    mall, product, _cheap, dear = await two_vendors(world)
    world.vendors[1].down = 10_000
    order = await world.placed(mall, [line(product)])
    for _ in range(25):
        await world.work()
        world.later(400)
    seen = await world.see(mall, order["id"])
    assert [po["status"] for po in seen["purchase_orders"]] == ["unknown"]
    assert seen["purchase_orders"][0]["needs_attention"]
    assert world.vendors[1].calls[0] == "place" and set(world.vendors[1].calls[1:]) == {"find"}
    assert world.vendors[2].calls == [] and await world.reserved(dear) == 0
    async with uow() as tx:
        (waiting,) = await api.attention(tx)
    assert "no answer in" in waiting["attention"]
    world.vendors[1].down = 0
    await world.settle(3)
    seen = await world.see(mall, order["id"])
    assert seen["status"] == "accepted" and not seen["purchase_orders"][0]["needs_attention"]


async def test_a_vendor_is_not_asked_again_before_its_pause_is_over(world: World) -> None:
    mall, product, _listing = await one_vendor(world)
    world.vendors[1].down = 10
    await world.placed(mall, [line(product)])
    await world.work(5)
    assert world.vendors[1].calls == ["place"]
    world.later(6.1)
    await world.work(5)
    assert world.vendors[1].calls == ["place", "find"]


async def test_wrong_credentials_are_retried_slowly_and_shown(world: World) -> None:
    mall, product, _listing = await one_vendor(world)
    for error in (Misconfigured("401 from the vendor"), Broken("html with 200"), ValueError("a bug")):
        world.vendors[1] = type(world.vendors[1])(error=error)
        order = await world.placed(mall, [line(product)])
        await world.work(3)
        world.later(30)
        await world.work()
        assert world.vendors[1].calls == ["place"]
        po = (await world.see(mall, order["id"]))["purchase_orders"][0]
        assert po["status"] == "unknown" and po["needs_attention"]
        world.vendors[1].error = None
        world.later(100)
        await world.work(2)
        assert (await world.see(mall, order["id"]))["status"] == "accepted"


async def test_a_refusal_releases_and_fails_over(world: World) -> None:
    mall, product, cheap, dear = await two_vendors(world)
    world.vendors[1].out_of_stock = ()
    order = await world.placed(mall, [line(product, 2)])
    await world.settle(3)
    seen = await world.see(mall, order["id"])
    assert [(po["vendor"], po["status"], po["sequence"]) for po in seen["purchase_orders"]] == [
        ("vendor 1", "refused", 1), ("vendor 2", "accepted", 2),
    ]  # fmt: skip
    assert seen["status"] == "accepted"
    assert float(seen["lines"][0]["unit_price"]["amount"]) == 12 and float(seen["total"]["amount"]) == 24
    assert float(seen["lines"][0]["agreed_price"]["amount"]) == 10
    assert seen["due_at"] == order["due_at"]
    assert (await world.reserved(cheap), await world.reserved(dear)) == (0, 2)
    status, again = await world.order(mall, [line(product, listing_id=None)])
    assert status == 201 and again["lines"][0]["vendor"] == "vendor 2", (
        "the refused listing is not sold before a report"
    )
    refused_po = world.saw(VendorRefused)[0].po_id
    async with uow() as tx:
        (fact,) = await api.line_facts(tx, po_id=refused_po)
        assert (fact.first_vendor_outcome, fact.pos, fact.status) == ("out_of_stock", 2, "accepted")
        assert fact.po_id != refused_po and fact.vendor_id == 102
        assert (await api.counts(tx))["failed_over"] == 1
    await world.sound()


async def test_a_line_whose_vendors_all_refuse_is_unsupplied_and_holds_nothing(world: World) -> None:
    mall, product, cheap, dear = await two_vendors(world)
    world.vendors[1].accepts = world.vendors[2].accepts = False
    order = await world.placed(mall, [line(product, 2)])
    await world.settle(4)
    seen = await world.see(mall, order["id"])
    assert seen["status"] == "unsupplied" and seen["lines"][0]["status"] == "unsupplied"
    assert world.vendors[1].calls == world.vendors[2].calls == ["place"]
    assert (await world.reserved(cheap), await world.reserved(dear)) == (0, 0)
    assert len(world.saw(LineUnsupplied)) == 1
    async with uow() as tx:
        assert (await api.counts(tx))["refused"] == 1
    await world.sound()


async def test_fail_over_respects_max_price_and_pinned_listings(world: World) -> None:
    mall, product, cheap, _dear = await two_vendors(world)
    world.vendors[1].accepts = False
    capped = await world.placed(mall, [line(product, max_price="11.00")])
    pinned = await world.placed(mall, [{"listing_id": f"lst_{cheap}", "qty": 1}])
    await world.settle(3)
    assert (await world.see(mall, capped["id"]))["status"] == "unsupplied"
    assert (await world.see(mall, pinned["id"]))["status"] == "unsupplied"
    assert world.vendors[2].calls == []


async def test_lines_the_vendor_did_not_name_are_asked_for_again_there(world: World) -> None:
    mall, short, _cheap, _dear = await two_vendors(world)
    fine = await world.product("酒精")
    kept = await world.listing(1, fine, "3", 10)
    world.vendors[1].out_of_stock = (f"S{short}",)
    order = await world.placed(mall, [line(short, 1), line(fine, 2)])
    await world.settle(3)
    seen = await world.see(mall, order["id"])
    assert [(item["vendor"], item["status"]) for item in seen["lines"]] == [
        ("vendor 2", "accepted"), ("vendor 1", "accepted"),
    ]  # fmt: skip
    assert await world.reserved(kept) == 2
    async with uow() as tx:
        outcomes = [f.first_vendor_outcome for f in await api.line_facts(tx, order_id=_uuid(order))]
    assert outcomes == ["out_of_stock", "accepted"]
    assert world.saw(VendorRefused)[0].stock_line_ids != ()
    await world.sound()


def _uuid(order: dict[str, Any]) -> Any:
    from hub.kernel.types import parse_uuid_id

    return parse_uuid_id("ord", order["id"])


async def test_a_worker_killed_in_the_call_is_followed_by_a_question_not_by_a_second_order(world: World) -> None:
    mall, product, _listing = await one_vendor(world)
    world.vendors[1].idempotent = False
    order = await world.placed(mall, [line(product)])
    await world.deliver_events()
    job = await placing.claim()
    assert job is not None
    await placing.call(world.vendors[1], job)  # the vendor acted; the worker dies before it writes that down
    await world.work(3)
    assert world.vendors[1].calls == ["place"], "the lease still runs"
    world.later(placing.LEASE_S + 1)
    await world.work()
    world.later(10)
    await world.work()
    assert world.vendors[1].calls == ["place", "find"]
    assert len(world.vendors[1].live) == 1
    assert (await world.see(mall, order["id"]))["status"] == "accepted"


async def test_an_answer_that_comes_after_the_lease_changes_nothing(world: World) -> None:
    mall, product, _listing = await one_vendor(world)
    order = await world.placed(mall, [line(product)])
    await world.deliver_events()
    job = await placing.claim()
    assert job is not None
    outcome = await placing.call(world.vendors[1], job)
    world.later(placing.LEASE_S + 1)
    assert await placing.take_over_abandoned() == 1
    await placing.record(job, outcome)
    assert (await world.see(mall, order["id"]))["purchase_orders"][0]["status"] == "unknown"
    await world.settle(2)
    assert (await world.see(mall, order["id"]))["status"] == "accepted"


async def test_many_workers_make_each_call_once(world: World) -> None:
    mall, product, _listing = await one_vendor(world, 1000)
    await asyncio.gather(*(world.placed(mall, [line(product)]) for _ in range(20)))
    await world.deliver_events()
    await asyncio.gather(*(api.place_due(concurrency=2) for _ in range(5)))
    assert world.vendors[1].calls == ["place"] * 20
    assert all(o["times"] == 1 for o in world.vendors[1].live) and len(world.vendors[1].live) == 20
    await world.sound()


async def test_a_hanging_vendor_leaves_lanes_for_the_others(world: World) -> None:
    mall, product, _listing = await one_vendor(world, 1000)
    await world.vendor(2)
    other = await world.product("酒精")
    await world.listing(2, other, "5", 100)
    release = asyncio.Event()
    world.vendors[1].during_place = release.wait
    for _ in range(8):
        await world.placed(mall, [line(product)])
    await world.placed(mall, [line(other)])
    await world.deliver_events()
    run = asyncio.create_task(api.place_due(concurrency=placing.PER_CONNECTION + 1))
    for _ in range(100):
        await asyncio.sleep(0.02)
        if world.vendors[2].live:
            break
    assert len(world.vendors[2].live) == 1
    assert len(world.vendors[1].calls) == placing.PER_CONNECTION
    release.set()
    await run
    await world.work()
    assert len(world.vendors[1].live) == 8


async def test_a_pending_vendor_is_asked_until_it_decides(world: World) -> None:
    mall, product, _listing = await one_vendor(world)
    world.vendors[1].pending = True
    order = await world.placed(mall, [line(product)])
    await world.settle(3)
    seen = await world.see(mall, order["id"])
    assert seen["purchase_orders"][0]["status"] == "pending" and seen["status"] == "placed"
    assert world.vendors[1].calls.count("place") == 1
    world.vendors[1].pending = False
    await world.settle(2)
    assert (await world.see(mall, order["id"]))["status"] == "accepted"


async def test_a_vendor_that_cancels_later_is_replaced(world: World) -> None:
    mall, product, cheap, dear = await two_vendors(world)
    order = await world.placed(mall, [line(product, 2)])
    await world.work()
    await push(world, order, "cancelled")
    await push(world, order, "cancelled")  # twice
    await world.settle(3)
    seen = await world.see(mall, order["id"])
    assert [po["status"] for po in seen["purchase_orders"]] == ["withdrawn", "accepted"]
    assert (await world.reserved(cheap), await world.reserved(dear)) == (0, 2)
    async with uow() as tx:
        (fact,) = await api.line_facts(tx, order_id=_uuid(order))
    assert fact.first_vendor_outcome == "cancelled"
    await world.sound()


async def push(world: World, order: dict[str, Any], status: Any, which: int = 0) -> None:
    """The vendor's own news about a purchase order of `order`."""
    from connectors.contracts import OrderUpdate

    async with uow() as tx:
        number = order["purchase_orders"][which]["number"]
        ref = await api.find_po(tx, connection_id=1, po_number=number)
        assert ref is not None
        await api.on_order_update(tx, ref, OrderUpdate(po_number=number, status=status, raw_status=status, at=tx.now))


async def test_what_has_shipped_cannot_be_cancelled_and_completes_when_delivered(world: World) -> None:
    mall, product, _listing = await one_vendor(world)
    order = await world.placed(mall, [line(product)])
    await world.work()
    await push(world, order, "shipped")
    await push(world, order, "in_transit")
    assert (await world.see(mall, order["id"]))["status"] == "shipped"
    status, problem = await world.post(mall, f"/orders/{order['id']}/cancel")
    assert (status, problem["type"].rsplit(":", 1)[1]) == (409, "too_late_to_cancel")
    async with uow() as tx:
        po_id = await tx.fetchval("SELECT id FROM purchase_orders")
        await api.delivered(tx, po_id)
        await api.delivered(tx, po_id)
    assert (await world.see(mall, order["id"]))["status"] == "completed"
    await world.sound()


async def test_t0_never_moves(world: World) -> None:
    mall, product, _cheap, _dear = await two_vendors(world)
    world.vendors[1].accepts = False
    order = await world.placed(mall, [line(product)])
    t0 = datetime.fromisoformat(order["placed_at"])
    assert datetime.fromisoformat(order["due_at"]) - t0 == timedelta(hours=72)
    await world.settle(3)
    seen = await world.see(mall, order["id"])
    assert (seen["placed_at"], seen["due_at"]) == (order["placed_at"], order["due_at"])
    try:
        async with uow() as tx:
            await store.start_clock(tx, _uuid(order), "accepted", tx.now, tx.now + timedelta(hours=72))
    except Exception as error:
        assert "never changes" in str(error)
    else:
        raise AssertionError("the database let t0 move")


async def test_a_cancellation_in_flight_ends_in_one_outcome(world: World) -> None:
    mall, product, listing = await one_vendor(world)
    order = await world.placed(mall, [line(product)])
    await world.deliver_events()

    async def cancel_meanwhile() -> None:
        status, seen = await world.post(mall, f"/orders/{order['id']}/cancel")
        assert (status, seen["status"], seen["lines"][0]["status"]) == (200, "cancelling", "cancelling")

    world.vendors[1].during_place = cancel_meanwhile
    await world.settle(3)
    assert world.vendors[1].calls == ["place", "cancel"]
    assert world.vendors[1].live == []
    assert (await world.see(mall, order["id"]))["status"] == "cancelled"
    assert await world.reserved(listing) == 0
    assert len(world.saw(OrderCancelled)) == 1 and world.saw(VendorAccepted) == []
    await world.sound()


async def test_a_cancellation_of_an_unknown_order_waits_for_the_truth(world: World) -> None:
    mall, product, listing = await one_vendor(world)
    for lost, calls in ((1, ["place", "find", "cancel"]), (0, ["place", "find"])):
        world.vendors[1] = type(world.vendors[1])(lose=lost, down=1 - lost)
        order = await world.placed(mall, [line(product)])
        await world.work()
        status, seen = await world.post(mall, f"/orders/{order['id']}/cancel")
        assert (status, seen["status"]) == (200, "cancelling")
        assert await world.reserved(listing) == 1
        await world.settle(3)
        assert world.vendors[1].calls == calls
        assert world.vendors[1].live == []
        assert (await world.see(mall, order["id"]))["status"] == "cancelled"
        assert await world.reserved(listing) == 0
    await world.sound()


async def test_a_lost_answer_to_a_cancellation_is_asked_about(world: World) -> None:
    mall, product, listing = await one_vendor(world)
    order = await world.placed(mall, [line(product)])
    await world.work()
    world.vendors[1].lose = 1
    await world.post(mall, f"/orders/{order['id']}/cancel")
    await world.settle(3)
    assert world.vendors[1].calls == ["place", "cancel", "find"]
    assert (await world.see(mall, order["id"]))["status"] == "cancelled"
    assert await world.reserved(listing) == 0
    assert len(world.saw(OrderCancelled)) == 1
    await world.sound()


async def test_a_vendor_that_will_not_cancel_keeps_the_order(world: World) -> None:
    mall, product, listing = await one_vendor(world)
    world.vendors[1].refuses_cancel = True
    order = await world.placed(mall, [line(product)])
    await world.work()
    await world.post(mall, f"/orders/{order['id']}/cancel")
    await world.settle(2)
    seen = await world.see(mall, order["id"])
    assert (seen["status"], seen["purchase_orders"][0]["reason"]) == ("accepted", "already packed")
    assert await world.reserved(listing) == 1
    assert world.saw(OrderCancelled) == [] and len(world.saw(VendorAccepted)) == 1
    await world.sound()


async def test_a_purchase_order_is_found_by_what_its_vendor_says(world: World) -> None:
    mall, product, _cheap, _dear = await two_vendors(world)
    order = await world.placed(mall, [line(product)])
    number = order["purchase_orders"][0]["number"]
    await world.work()
    vendor_no = world.vendors[1].live[0]["no"]
    async with uow() as tx:
        found = await api.find_po(tx, connection_id=1, po_number=number, vendor_order_no="not recorded yet")
        assert found is not None and (found.number, found.vendor_id) == (number, 101)
        assert await api.find_po(tx, connection_id=1, vendor_order_no=vendor_no) == found
        assert await api.find_po(tx, po_id=found.po_id) == found
        assert await api.find_po(tx, connection_id=2, po_number=number) is None, "another vendor's push"
        assert await api.find_po(tx, connection_id=2, vendor_order_no=vendor_no) is None
        assert await api.find_po(tx, vendor_order_no=vendor_no) is None and await api.find_po(tx) is None


async def test_goods_of_a_cancelled_purchase_order_are_a_matter_for_people(world: World) -> None:
    mall, product, listing = await one_vendor(world)
    order = await world.placed(mall, [line(product)])
    await world.post(mall, f"/orders/{order['id']}/cancel")
    async with uow("vendor:101") as tx:
        po_id = await tx.fetchval("SELECT id FROM purchase_orders")
        for word in (api.shipped, api.delivered):
            try:
                await word(tx, po_id)
            except WrongState as refused:
                assert refused.facts["status"] == "cancelled"
            else:
                raise AssertionError("a cancelled purchase order shipped")
        assert await tx.fetchval("SELECT current_setting('supplyhub.tenant')") == "vendor:101"
    await push(world, order, "shipped")
    assert (await world.see(mall, order["id"]))["status"] == "cancelled" and await world.reserved(listing) == 0
