"""Less than all: units of a line that are no longer wanted, units kept from sale, and caps on what may be ordered.
Whatever is done, wanted and cancelled units add up to what was ordered, and the shelf holds just what is wanted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from catalog import api as catalog
from catalog import staff_web as shelf_web
from catalog import stock
from hub.kernel import audit, keys
from hub.kernel.db import uow
from hub.kernel.web import endpoint
from orders import quotas, staff_web
from orders.contracts import LineReduced
from tests.orders.test_ordering import code
from tests.orders.test_placing import line, one_vendor, two_vendors
from tests.orders.world import World


async def keep(world: World, mall: int, order: dict[str, Any], *lines: Any) -> tuple[int, Any]:
    named = [{"line_no": no, "keep": units} if units is not None else no for no, units in lines]
    return await world.post(mall, f"/orders/{order['id']}/cancel", {"lines": named})


@pytest.mark.parametrize("mode", ["reserve", "place"])
async def test_units_that_no_vendor_was_asked_for_are_given_back_at_once_and_once(world: World, mode: str) -> None:
    mall, product, listing = await one_vendor(world)
    order = await world.placed(mall, [line(product, 5), line(product, 2)], mode=mode)
    for _ in range(2):
        status, seen = await keep(world, mall, order, (1, 3))
        assert status == 200, seen
        assert [(one["qty"], one["cancelled_qty"]) for one in seen["lines"]] == [(3, 2), (2, 0)]
    assert (seen["total"]["amount"], await world.reserved(listing)) == ("50.0000", 5)
    await world.deliver_events()
    assert [(event.quantity, event.cancelled) for event in world.saw(LineReduced)] == [(3, 2)]
    status, seen = await keep(world, mall, order, (1, 0), (2, None))
    assert (status, seen["status"], await world.reserved(listing)) == (200, "cancelled", 0)
    await world.sound()


async def test_the_vendor_is_asked_for_what_is_left(world: World) -> None:
    mall, product, listing = await one_vendor(world)
    order = await world.placed(mall, [line(product, 5)])
    await world.deliver_events()  # the attempt is due, nobody has called yet
    assert (await keep(world, mall, order, (1, 2)))[0] == 200
    await world.work()
    assert [one.quantity for one in world.vendors[1].letters[0].lines] == [2]
    status, problem = await keep(world, mall, order, (1, 1))
    assert (status, code(problem), problem["facts"]["qty"]) == (409, "whole_line_only", 2)
    assert await world.reserved(listing) == 2
    await world.sound()


async def test_a_call_under_way_and_bad_numbers_are_refused(world: World) -> None:
    mall, product, listing = await one_vendor(world)
    order = await world.placed(mall, [line(product, 5)])
    seen: list[tuple[int, Any]] = []

    async def meanwhile() -> None:
        seen.append(await keep(world, mall, order, (1, 2)))

    world.vendors[1].during_place = meanwhile
    await world.work()
    assert [(status, code(problem)) for status, problem in seen] == [(409, "whole_line_only")]
    reserved = await world.placed(mall, [line(product, 5)], mode="reserve")
    for bad in ({"line_no": 1, "keep": 6}, {"line_no": 1, "keep": -1}, {"line_no": 1}, {"line_no": "1", "keep": 1}):
        assert (await world.post(mall, f"/orders/{reserved['id']}/cancel", {"lines": [bad]}))[0] == 422, bad
    assert (await keep(world, mall, reserved, (1, 2), (1, None)))[0] == 422
    assert (await keep(world, mall, reserved, (9, 2)))[0] == 404
    assert await world.reserved(listing) == 10


async def test_fewer_units_fail_over_too(world: World) -> None:
    mall, product, cheap, dear = await two_vendors(world)
    world.vendors[1].out_of_stock = ()
    order = await world.placed(mall, [line(product, 5)])
    assert (await keep(world, mall, order, (1, 4)))[0] == 200
    await world.settle(2)
    seen = await world.see(mall, order["id"])
    assert (seen["status"], seen["lines"][0]["qty"], seen["lines"][0]["cancelled_qty"]) == ("accepted", 4, 1)
    assert (await world.reserved(cheap), await world.reserved(dear)) == (0, 4)
    await world.sound()


async def test_reducing_beside_expiry_and_cancellation_never_gives_back_twice(world: World) -> None:
    mall, product, listing = await one_vendor(world)
    orders = [await world.placed(mall, [line(product, 6)], mode="reserve") for _ in range(5)]
    await asyncio.gather(
        *(keep(world, mall, order, (1, units)) for order in orders for units in (5, 3, 2)),
        *(world.post(mall, f"/orders/{order['id']}/cancel") for order in orders[:2]),
    )
    wanted = 0
    for order in orders:
        seen = (await world.see(mall, order["id"]))["lines"][0]
        assert seen["qty"] + seen["cancelled_qty"] == 6
        wanted += seen["qty"] if seen["status"] == "reserved" else 0
    assert await world.reserved(listing) == wanted
    await world.sound()


async def test_wanted_and_cancelled_units_add_up_whatever_is_done(world: World) -> None:
    """Hypothesis drives orders, reductions, cancellations, confirmations and reports beside a small model."""
    mall, product, listing = await one_vendor(world, 10_000)
    loop = asyncio.get_running_loop()

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.orders: list[tuple[dict[str, Any], int]] = []

        def do(self, work: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(work, loop).result(60)

        @rule(units=st.integers(1, 9), mode=st.sampled_from(["reserve", "place"]))
        def order(self, units: int, mode: str) -> None:
            made = self.do(world.placed(mall, [line(product, units)], mode=mode))
            self.orders.append((made, units))

        @rule(n=st.integers(0, 5), units=st.integers(0, 9))
        def reduce(self, n: int, units: int) -> None:
            if self.orders:
                made, _ = self.orders[n % len(self.orders)]
                self.do(keep(world, mall, made, (1, units)))

        @rule(n=st.integers(0, 5), word=st.sampled_from(["cancel", "confirm"]))
        def decide(self, n: int, word: str) -> None:
            if self.orders:
                made, _ = self.orders[n % len(self.orders)]
                self.do(world.post(mall, f"/orders/{made['id']}/{word}"))

        def teardown(self) -> None:
            self.do(self.look())

        async def look(self) -> None:
            for made, ordered in self.orders:
                seen = (await world.see(mall, made["id"]))["lines"][0]
                assert seen["qty"] + seen["cancelled_qty"] == ordered
            wanted = await world.value(
                "SELECT coalesce(sum(quantity), 0) FROM order_lines WHERE status IN ('reserved', 'placed')"
            )
            assert await world.reserved(listing) == wanted
            await world.sound()

    setting = settings(
        max_examples=6, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    await asyncio.to_thread(run_state_machine_as_test, Machine, settings=setting)


# What staff set ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def staff(world: World) -> AsyncIterator[TestClient[Any, Any]]:
    quotas.forget()
    app = web.Application()
    for route in [*shelf_web.routes.all, *staff_web.routes.all]:
        app.router.add_route(route.method, route.prefix + route.path, endpoint(route))
    async with TestClient(TestServer(app)) as client:
        async with uow() as tx:
            client.session.headers["Authorization"] = "Bearer " + await keys.create_key(tx, "staff", None, "t")
        yield client
    quotas.forget()


async def put(staff: TestClient[Any, Any], path: str, body: Any) -> tuple[int, Any]:
    async with staff.put(f"/v1{path}", json=body) as answer:
        return answer.status, await answer.json()


async def test_a_buffer_is_not_sold_at_any_location_old_or_new(world: World, staff: TestClient[Any, Any]) -> None:
    mall, product, listing = await one_vendor(world, 10)
    assert (await put(staff, f"/listings/lst_{listing}/buffer", {"buffer": 8}))[0] == 200
    status, problem = await world.order(mall, [line(product, 3)])
    assert (status, problem["facts"]["shortages"][0]["available"]) == (409, 2)
    await world.report(1, f"S{product}", 9, "north")
    async with uow() as tx:
        assert {row.location: row.available for row in (await catalog.available(tx, [listing]))[listing]} == {
            "": 2,
            "north": 1,
        }
    assert (await put(staff, f"/listings/lst_{listing}/buffer", {"buffer": 10}))[0] == 200
    assert await world.value("SELECT sellable FROM catalog_products") is False
    assert (await put(staff, f"/listings/lst_{listing}/buffer", {"buffer": 0}))[0] == 200
    assert await world.value("SELECT sellable FROM catalog_products") is True
    await world.placed(mall, [line(product, 10)])
    assert (await put(staff, "/listings/lst_999/buffer", {"buffer": 1}))[0] == 404
    async with uow() as tx:
        assert await tx.fetchval("SELECT count(*) FROM audit WHERE action = 'listing.buffer'") == 3
        assert await audit.first_broken(tx) is None
        assert await stock.drift(tx) == []


async def test_a_malls_quota_is_exact_under_load_and_counts_what_lives(
    world: World, staff: TestClient[Any, Any]
) -> None:
    mall, product, listing = await one_vendor(world, 1000)
    other = await world.mall("other")
    rule = {"mall_id": mall, "product_id": f"prd_{product}", "units": 10, "window_s": 86_400, "per_order": 4}
    assert (await put(staff, "/quotas", rule))[0] == 200
    answers = await asyncio.gather(*(world.order(mall, [line(product, 2)]) for _ in range(12)))
    assert Counter(status for status, _ in answers) == {201: 5, 409: 7}
    problem = next(problem for status, problem in answers if status == 409)
    assert (code(problem), problem["facts"]["left"], problem["errors"][0]["pointer"]) == ("quota", 0, "/lines/0/qty")
    status, problem = await world.order(other, [line(product, 5)])
    assert status == 201, "another mall's orders do not count"
    made = next(order for status, order in answers if status == 201)
    await world.post(mall, f"/orders/{made['id']}/cancel")
    assert (await world.order(mall, [line(product, 2)]))[0] == 201, "what was cancelled does not count"
    world.later(86_401)
    await world.report(1, f"S{product}", 1000)
    status, problem = await world.order(mall, [line(product, 3), line(product, 2)])
    assert (status, problem["facts"]["wanted"]) == (409, 5), "lines of one order add up"
    assert (await world.order(mall, [line(product, 4)]))[0] == 201, "the window is over"
    assert await world.reserved(listing) == 19


async def test_a_cap_on_a_listing_holds_for_all_malls_until_orders_are_finished(
    world: World, staff: TestClient[Any, Any]
) -> None:
    mall, _product, listing = await one_vendor(world, 1000)
    other = await world.mall("other")
    wish = [{"listing_id": f"lst_{listing}", "qty": 3}]
    status, quota = await put(staff, "/quotas", {"listing_id": f"lst_{listing}", "units": 6})
    assert status == 200
    first = await world.placed(mall, wish)
    await world.placed(other, wish)
    assert (await world.order(mall, wish))[0] == 409
    await world.value("UPDATE order_lines SET status = 'delivered' WHERE order_id IN "
                      "(SELECT id FROM orders ORDER BY id LIMIT 1) RETURNING 1")  # fmt: skip
    assert (await world.order(mall, wish))[0] == 201
    async with staff.delete(f"/v1/quotas/{quota['id']}") as answer:
        assert answer.status == 200
    assert (await world.order(mall, wish))[0] == 201 and first
    for bad in ({"units": 1}, {"product_id": "prd_1"}, {"product_id": "prd_1", "listing_id": "lst_1", "units": 1},
                {"product_id": "prd_1", "units": -1}):  # fmt: skip
        assert (await put(staff, "/quotas", bad))[0] == 422, bad
