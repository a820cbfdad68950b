"""Abnormal orders: what the rules find, what a hold keeps, and what a decision does."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import structlog

import fulfillment.api
from fulfillment import clocks
from hub.kernel import secrets
from hub.kernel.db import uow
from hub.kernel.settings import reset_settings
from hub.kernel.types import parse_uuid_id
from orders import api, review, store
from orders.contracts import OrderCancelled, OrderPlaced
from orders.suspicion import RuleSet
from tests.orders.test_appointments import clinic
from tests.orders.world import SHIP_TO, World


@pytest.fixture(autouse=True)
def forget_rules() -> Iterator[None]:
    review.forget()
    yield
    review.forget()


async def set_rules(mall: int, *rules: dict[str, Any], **more: Any) -> None:
    async with uow() as tx:
        await review.set_rules(tx, mall, RuleSet.model_validate({"rules": list(rules), **more}), "key:1")


def velocity(limit: int, per: str = "employee", action: str = "hold") -> dict[str, Any]:
    return {
        "name": f"many per {per}", "kind": "velocity", "per": per, "window_s": 3600, "orders": limit, "action": action,
    }  # fmt: skip


async def shop(world: World, on_hand: int = 100, price: str = "10") -> tuple[int, int, int]:
    mall = await world.mall()
    await world.vendor(1)
    product = await world.product()
    return mall, product, await world.listing(1, product, price, on_hand)


def of(product: int, qty: int = 1) -> list[dict[str, Any]]:
    return [{"product_id": f"prd_{product}", "qty": qty}]


async def waiting() -> list[Any]:
    async with uow() as tx:
        return await store.reviews_after(tx, ["held", "flagged"], None, None, 100)


async def decided(order_id: str, what: str = "release") -> str:
    async with uow() as tx:
        number = parse_uuid_id("ord", order_id)
        if what == "release":
            return await review.release(tx, number, "key:1")
        return await review.refuse(tx, number, "key:1", "redeemed for a stranger")


async def test_without_rules_nothing_is_looked_at_and_no_mark_is_kept(world: World) -> None:
    mall, product, _ = await shop(world)
    order = await world.placed(mall, of(product))
    assert (order["status"], order["held_until"]) == ("placed", None)
    assert await world.value("SELECT count(*) FROM order_marks") == 0
    assert await waiting() == []


async def test_a_held_order_keeps_its_stock_and_no_vendor_hears_of_it(world: World) -> None:
    mall, product, listing = await shop(world)
    await set_rules(mall, velocity(1))
    first = await world.placed(mall, of(product), employee_ref="E1")
    held = await world.placed(mall, of(product, 3), employee_ref="E1")
    other = await world.placed(mall, of(product), employee_ref="E2")
    assert first["held_until"] is None and other["held_until"] is None
    assert held["status"] == "placed" and held["held_until"] and held["purchase_orders"] == []
    assert [line["status"] for line in held["lines"]] == ["reserved"]
    await world.settle(3)
    assert len(world.vendors[1].orders) == 2
    assert await world.reserved(listing) == 5
    [row] = await waiting()
    [finding] = row["findings"]
    assert (finding["rule"], finding["figure"], finding["limit"]) == ("many per employee", "2", "1")
    await world.sound()


async def test_a_release_goes_on_as_if_never_held_and_the_72_hours_began_at_the_order(world: World) -> None:
    mall, product, _ = await shop(world)
    await set_rules(mall, velocity(1))
    plain = await world.placed(mall, of(product), employee_ref="E1")
    held = await world.placed(mall, of(product), employee_ref="E1")
    world.later(3600)
    assert await decided(held["id"]) == "released"
    await world.settle(3)
    released, never = await world.see(mall, held["id"]), await world.see(mall, plain["id"])
    assert released["placed_at"] == held["placed_at"] and released["due_at"] == held["due_at"]
    same = ("status", "mode", "held_until", "reason", "total")
    assert [released[name] for name in same] == [never[name] for name in same]
    assert [line["status"] for line in released["lines"]] == ["accepted"]
    assert [(po["sequence"], po["status"]) for po in released["purchase_orders"]] == [(1, "accepted")]
    assert [event.order_id.hex for event in world.saw(OrderPlaced)] == [plain["id"][4:], held["id"][4:]]
    assert await decided(held["id"]) == "released", "said twice, done once"
    await world.settle(2)
    assert len(world.vendors[1].orders) == 2
    with pytest.raises(Exception, match="released"):
        await decided(held["id"], "refuse")
    await world.sound()


async def test_a_refusal_cancels_with_the_reason_and_gives_the_stock_back(world: World) -> None:
    mall, product, listing = await shop(world)
    await set_rules(mall, {"name": "large", "kind": "large_value", "amount": "50", "action": "hold"})
    small = await world.placed(mall, of(product, 5))
    held = await world.placed(mall, of(product, 6))
    assert small["held_until"] is None and held["held_until"]
    assert await decided(held["id"], "refuse") == "refused"
    assert await decided(held["id"], "refuse") == "refused"
    seen = await world.see(mall, held["id"])
    assert (seen["status"], seen["reason"], seen["held_until"]) == ("cancelled", "redeemed for a stranger", None)
    await world.settle(2)
    assert await world.reserved(listing) == 5 and len(world.vendors[1].orders) == 1
    with pytest.raises(Exception, match="refused"):
        await decided(held["id"])
    async with uow() as tx:
        facts = await api.line_facts(tx, order_id=uuid.UUID(held["id"][4:]))
    assert [fact.status for fact in facts] == ["cancelled"], "the 72-hour figure publishes it as an exclusion"
    await world.sound()


async def test_the_72_hour_clock_starts_at_t0_and_a_refusal_is_a_published_exclusion(world: World) -> None:
    mall, product, _ = await shop(world)
    await set_rules(mall, {"name": "large", "kind": "large_value", "amount": "1", "action": "hold"})
    going, refused = [await world.placed(mall, of(product)) for _ in range(2)]
    world.later(7200)
    await decided(going["id"])
    await decided(refused["id"], "refuse")
    await world.work()
    async with uow() as tx:
        for event in world.saw(OrderPlaced):
            await clocks.on_placed(tx, event)
        for event in world.saw(OrderCancelled):
            await clocks.on_cancelled(tx, event)
        rows = {row["order_id"].hex: row for row in await tx.fetch("SELECT * FROM fulfillment_line_clock")}
        later = tx.now + timedelta(hours=100)
        figure = await fulfillment.api.delivery_72h(tx, (tx.now - timedelta(days=1), tx.now), later)
    for order in (going, refused):
        row = rows[order["id"][4:]]
        assert (row["t0"].isoformat(), row["due_at"].isoformat()) == (
            order["placed_at"].replace("Z", "+00:00"), order["due_at"].replace("Z", "+00:00"),
        )  # fmt: skip
    assert (figure.denominator, figure.excluded) == (1, 1)


async def test_a_flag_lets_the_order_go_and_waits_for_a_look(world: World) -> None:
    mall, product, _ = await shop(world)
    await set_rules(mall, velocity(1, action="flag"))
    for _ in range(2):
        order = await world.placed(mall, of(product), employee_ref="E1")
    assert order["held_until"] is None and len(order["purchase_orders"]) == 1
    [row] = await waiting()
    assert row["state"] == "flagged"
    with pytest.raises(Exception, match="cancel the order"):
        await decided(order["id"], "refuse")
    assert await decided(order["id"]) == "released"
    assert await waiting() == []
    await world.settle(2)
    assert len(world.vendors[1].orders) == 2


async def test_a_reservation_found_is_held_when_it_is_confirmed(world: World) -> None:
    mall, product, _ = await shop(world)
    await set_rules(mall, velocity(1))
    await world.placed(mall, of(product), employee_ref="E1")
    held = await world.placed(mall, of(product), mode="reserve", employee_ref="E1")
    assert held["status"] == "reserved" and held["held_until"]
    world.later(60)
    status, confirmed = await world.post(mall, f"/orders/{held['id']}/confirm")
    assert (status, confirmed["status"], confirmed["purchase_orders"]) == (200, "placed", [])
    assert confirmed["placed_at"] > held["created_at"]
    assert (await world.post(mall, f"/orders/{held['id']}/confirm"))[1]["placed_at"] == confirmed["placed_at"]
    assert await decided(held["id"]) == "released"
    await world.settle(2)
    assert (await world.see(mall, held["id"]))["status"] == "accepted"
    early = await world.placed(mall, of(product), mode="reserve", employee_ref="E1")
    assert await decided(early["id"]) == "released"
    assert (await world.see(mall, early["id"]))["status"] == "reserved", "released before it was confirmed"
    assert len((await world.post(mall, f"/orders/{early['id']}/confirm"))[1]["purchase_orders"]) == 1
    await world.sound()


async def test_the_mall_may_cancel_what_is_held_and_the_review_is_overtaken(world: World) -> None:
    mall, product, listing = await shop(world)
    await set_rules(mall, velocity(1))
    await world.placed(mall, of(product), employee_ref="E1")
    held = await world.placed(mall, of(product), employee_ref="E1")
    status, cancelled = await world.post(mall, f"/orders/{held['id']}/cancel")
    assert (status, cancelled["status"]) == (200, "cancelled")
    assert await decided(held["id"]) == "overtaken"
    await world.settle(2)
    assert await world.reserved(listing) == 1
    await world.sound()


@pytest.mark.parametrize(("what", "status"), [("refuse", "cancelled"), ("release", "accepted")])
async def test_at_its_deadline_a_hold_is_decided_without_anybody(world: World, what: str, status: str) -> None:
    mall, product, _ = await shop(world)
    await set_rules(mall, velocity(1), deadline_s=900, at_deadline=what)
    await world.placed(mall, of(product), employee_ref="E1")
    held = await world.placed(mall, of(product), employee_ref="E1")
    world.later(890)
    assert await api.decide_overdue_reviews() == 0
    world.later(20)
    assert await asyncio.gather(api.decide_overdue_reviews(), api.decide_overdue_reviews()) != [0, 0]
    await world.settle(2)
    assert (await world.see(mall, held["id"]))["status"] == status
    assert await api.decide_overdue_reviews() == 0
    await world.sound()


async def test_a_window_slides(world: World) -> None:
    mall, product, _ = await shop(world)
    await set_rules(mall, velocity(1))
    await world.placed(mall, of(product), employee_ref="E1")
    world.later(3601)
    assert (await world.placed(mall, of(product), employee_ref="E1"))["held_until"] is None
    assert (await world.placed(mall, of(product), employee_ref="E1"))["held_until"] is not None


async def test_draining_counts_units_of_a_scarce_product_that_are_still_wanted(world: World) -> None:
    mall, product, _ = await shop(world, on_hand=30)
    plenty = await world.product("纸巾")
    await world.listing(1, plenty, "5", 1000)
    drain = {"name": "drain", "kind": "drain", "window_s": 3600, "units": 5, "scarce_below": 30, "action": "hold"}
    await set_rules(mall, drain)
    assert (await world.placed(mall, of(plenty, 90), employee_ref="E1"))["held_until"] is None, "not scarce"
    first = await world.placed(mall, of(product, 4), employee_ref="E1")
    await world.post(mall, f"/orders/{first['id']}/cancel")
    assert (await world.placed(mall, of(product, 5), employee_ref="E1"))["held_until"] is None, "given back"
    assert (await world.placed(mall, of(product, 5)))["held_until"] is None, "nobody knows whose"
    assert (await world.placed(mall, of(product, 1), employee_ref="E1"))["held_until"] is not None
    assert (await world.placed(mall, of(product, 5), employee_ref="E2"))["held_until"] is None
    [row] = await waiting()
    assert (row["findings"][0]["figure"], row["findings"][0]["limit"]) == ("6", "5")


async def test_one_address_in_several_spellings_is_one_address(world: World) -> None:
    mall, product, _ = await shop(world)
    shared = {"name": "shared", "kind": "shared_address", "window_s": 3600, "employees": 2, "action": "flag"}
    await set_rules(mall, shared, velocity(3, "address", "flag"))
    spellings = ["漕溪北路 88 号 1203 室", "上海市徐汇区漕溪北路88号1203", "漕溪北路８８号，1203室", "漕溪北路88-1203"]
    for n, address in enumerate(spellings):
        await world.placed(mall, of(product), employee_ref=f"E{n}", ship_to={**SHIP_TO, "address": address})
    elsewhere = {**SHIP_TO, "address": "漕溪北路 881 号 203 室"}
    await world.placed(mall, of(product), employee_ref="E9", ship_to=elsewhere)
    found = [[(f["rule"], f["figure"]) for f in row["findings"]] for row in await waiting()]
    assert found == [[("shared", "3")], [("shared", "4"), ("many per address", "4")]]


async def test_a_mall_is_counted_by_itself_and_amounts_add_up(world: World) -> None:
    mall, product, _ = await shop(world)
    other = await world.mall("other")
    rule = {"name": "spend", "kind": "velocity", "per": "mall", "window_s": 3600, "amount": "40", "action": "hold"}
    await set_rules(mall, rule)
    await set_rules(other, rule)
    for buyer in (mall, other):
        assert (await world.placed(buyer, of(product, 4)))["held_until"] is None
    assert (await world.placed(mall, of(product)))["held_until"] is not None
    async with uow() as tx:
        [row] = await store.reviews_after(tx, ["held"], mall, None, 10)
        assert await store.reviews_after(tx, ["held"], other, None, 10) == []
    assert row["findings"][0]["figure"] == "50.0000"


@pytest.mark.parametrize("per", ["employee", "address", "mall"])
async def test_two_orders_at_once_cannot_slip_under_a_limit_together(world: World, per: str) -> None:
    mall, product, _ = await shop(world)
    await set_rules(mall, velocity(3, per))
    orders = await asyncio.gather(*(world.placed(mall, of(product), employee_ref="E1") for _ in range(12)))
    assert sum(order["held_until"] is None for order in orders) == 3
    figures = sorted(int(row["findings"][0]["figure"]) for row in await waiting())
    assert figures == list(range(4, 13)), "each sees all that came before it"
    await world.sound()


async def test_without_turns_two_orders_at_once_do_slip_through(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the test above."""

    async def nobody_waits(*_: Any) -> None:
        return None

    meet = asyncio.Barrier(2)
    measure = store.measure

    async def together(*args: Any, **more: Any) -> Any:
        rows = await measure(*args, **more)
        await meet.wait()
        return rows

    mall, product, _ = await shop(world)
    await set_rules(mall, velocity(1))
    monkeypatch.setattr(store, "take_turns", nobody_waits)
    monkeypatch.setattr(store, "measure", together)
    second = await world.product("毛巾")
    await world.listing(1, second, "5", 100)  # another shelf, so that they do not wait for each other there
    orders = await asyncio.gather(*(world.placed(mall, of(p), employee_ref="E1") for p in (product, second)))
    assert [order["held_until"] for order in orders] == [None, None]


async def test_an_employee_is_never_written_down_in_clear_and_survives_a_rotation_of_keys(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = "k1:" + "A" * 43 + "=", "k2:" + "B" * 42 + "A="
    monkeypatch.setenv("SUPPLYHUB_SECRET_KEYS", old)
    reset_settings()
    mall, product, _ = await shop(world)
    await set_rules(mall, velocity(1))
    with structlog.testing.capture_logs() as logs:
        await world.placed(mall, of(product), employee_ref="王小明-007")
        monkeypatch.setenv("SUPPLYHUB_SECRET_KEYS", f"{new},{old}")
        reset_settings()
        assert (await world.placed(mall, of(product), employee_ref=" 王小明-007 "))["held_until"] is not None
    assert "王小明-007" not in str(logs)
    async with uow() as tx:
        names = [r["tablename"] for r in await tx.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        for name in names:
            assert not await tx.fetchval(
                f"SELECT count(*) FROM \"{name}\" t WHERE t::text LIKE '%王小明-007%' "
                f"OR t::text LIKE '%' || encode(convert_to('王小明-007', 'UTF8'), 'hex') || '%'"
            ), name
        marks = await tx.fetch("SELECT employee FROM order_marks ORDER BY at")
    assert len({row["employee"] for row in marks}) == 2, "the newest key marks"
    assert secrets.marks("x", "employee:1") != secrets.marks("x", "employee:2")


async def test_marks_are_forgotten_when_no_rule_can_ask_any_more(world: World) -> None:
    mall, product, _ = await shop(world)
    await world.placed(mall, of(product), employee_ref="E1")
    world.later(review.KEEP_MARKS.total_seconds() + 1)
    async with uow() as tx:
        await api.forget_old(tx)
    assert await world.value("SELECT count(*) FROM order_marks") == 0


async def test_a_number_used_twice_leaves_no_mark_of_the_second(world: World) -> None:
    mall, product, listing = await shop(world)
    await set_rules(mall, velocity(1))
    await world.placed(mall, of(product), mall_order_no="N1", employee_ref="E1")
    status, _ = await world.order(mall, of(product), mall_order_no="N1", key="another", employee_ref="E1")
    assert status == 409
    assert await world.value("SELECT count(*) FROM order_marks") == 1
    assert await waiting() == [] and await world.reserved(listing) == 1


async def test_rules_are_versions_and_an_order_names_the_one_that_found_it(world: World) -> None:
    mall, product, _ = await shop(world)
    await set_rules(mall, velocity(1))
    await world.placed(mall, of(product), employee_ref="E1")
    await world.placed(mall, of(product), employee_ref="E1")
    await set_rules(mall)
    assert (await world.placed(mall, of(product), employee_ref="E1"))["held_until"] is None
    [row] = await waiting()
    assert row["rules_version"] == 1
    async with uow() as tx:
        newest = await store.newest_rules(tx, mall)
        assert newest is not None and (newest["version"], newest["rules"]["rules"]) == (2, [])
        assert await tx.fetchval("SELECT count(*) FROM audit WHERE action = 'review.rules'") == 2
    with pytest.raises(Exception, match="no such mall"):
        await set_rules(999)


async def test_an_appointment_stays_held_at_its_clinic_until_the_review_is_decided(world: World) -> None:
    mall, system, slots = await clinic(world)
    await set_rules(mall, {"name": "large", "kind": "large_value", "amount": "10", "action": "hold"}, deadline_s=7200)
    kept, refused = [await world.placed(mall, [{"slot_id": slot}]) for slot in slots[:2]]
    assert kept["held_until"] and kept["purchase_orders"] == []
    key, until = system.holds["Slot/1"]
    assert until.isoformat() > kept["held_until"].replace("Z", "+00:00")
    world.later(3600)
    await api.let_go_due()
    assert set(system.holds) == {"Slot/1", "Slot/2"}
    assert await decided(refused["id"], "refuse") == "refused" and await decided(kept["id"]) == "released"
    await world.work()
    await api.let_go_due()
    assert (system.booked, system.holds) == ({"Slot/1": key}, {}), "booked under the hold's key"
    assert (await world.see(mall, kept["id"]))["status"] == "accepted"
    await world.sound()


async def test_units_of_a_held_order_are_cancelled_without_letting_it_go(world: World) -> None:
    mall, product, listing = await shop(world)
    await set_rules(mall, {"name": "large", "kind": "large_value", "amount": "10", "action": "hold"})
    held = await world.placed(mall, of(product, 5))
    status, less = await world.post(mall, f"/orders/{held['id']}/cancel", {"lines": [{"line_no": 1, "keep": 2}]})
    assert status == 200 and less["held_until"] and less["purchase_orders"] == [], less
    await world.work()
    assert world.vendors[1].orders == {} and await world.reserved(listing) == 2
    assert await decided(held["id"]) == "released"
    await world.work()
    assert [line.quantity for line in world.vendors[1].letters[0].lines] == [2]
    await world.sound()
