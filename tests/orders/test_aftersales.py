"""After the sale: what is refused, sent back, paid back or made good adds up to what was sold, whoever says what in
which order and how often."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from hub.kernel import keys
from hub.kernel.db import uow
from hub.kernel.web import endpoint
from orders import aftersales_web, api
from orders.contracts import AfterSaleChanged
from tests.orders.test_ordering import code
from tests.orders.test_placing import line, one_vendor
from tests.orders.world import World

_keys = itertools.count(1)


class Desk:
    """Whoever has a say in a case."""

    def __init__(
        self, world: World, client: TestClient[Any, Any], mall: int, vendor: dict[str, str], staff: Any
    ) -> None:
        self.world, self.client, self.mall = world, client, mall
        self.headers = {"mall": world.malls[mall], "vendor": vendor, "staff": staff}

    async def say(self, who: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {**self.headers[who], "Idempotency-Key": f"k{next(_keys)}"}
        async with self.client.post(f"/v1{path}", json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def open(self, order: dict[str, Any], kind: str, qty: int) -> tuple[int, Any]:
        wish = {"line_no": 1, "qty": qty, "kind": kind, "reason": "broken"}
        return await self.say("mall", f"/orders/{order['id']}/after-sales", wish)

    async def decide(self, case: str, event: str, who: str = "vendor") -> tuple[int, Any]:
        path = f"/vendor/after-sales/{case}/decide" if who == "vendor" else f"/after-sales/{case}/decide"
        return await self.say(who, path, {"event": event})


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    mall, _product, _listing = await one_vendor(world, 10_000)
    app = web.Application()
    for route in aftersales_web.routes.all:
        app.router.add_route(route.method, route.prefix + route.path, endpoint(route))
    async with uow() as tx:
        staff = {"Authorization": "Bearer " + await keys.create_key(tx, "staff", None, "s")}
    async with TestClient(TestServer(app)) as client:
        yield Desk(world, client, mall, await world.vendor_key(101), staff)


async def sold(desk: Desk, qty: int, *, delivered: bool = True) -> dict[str, Any]:
    """An order that arrived, or is on its way."""
    product = await desk.world.value("SELECT id FROM catalog_products")
    order = await desk.world.placed(desk.mall, [line(product, qty)])
    await desk.world.work()
    order = await desk.world.see(desk.mall, order["id"])
    async with uow() as tx:
        po = await tx.fetchval("SELECT po_id FROM order_lines ORDER BY id DESC LIMIT 1")
        await (api.delivered if delivered else api.shipped)(tx, po)
    return await desk.world.see(desk.mall, order["id"])


async def test_a_return_goes_from_wish_to_money_and_each_word_may_come_twice(desk: Desk) -> None:
    order = await sold(desk, 5)
    _, case = await desk.open(order, "return", 2)
    assert (case["status"], case["qty"]) == ("requested", 2)
    assert (await desk.say("staff", f"/after-sales/{case['id']}/refund"))[0] == 409
    sent = {"carrier": "sf", "tracking_no": "B1"}
    assert (await desk.say("mall", f"/after-sales/{case['id']}/sent", sent))[0] == 409, "not approved yet"
    for _ in range(2):
        assert (await desk.decide(case["id"], "approve"))[1]["status"] == "approved"
    status, problem = await desk.say("staff", f"/after-sales/{case['id']}/refund")
    assert (status, code(problem)) == (409, "wrong_state"), "the goods are not back"
    for number in ("B1", "B2"):
        _, moved = await desk.say("mall", f"/after-sales/{case['id']}/sent", {**sent, "tracking_no": number})
        assert (moved["status"], moved["tracking_no"]) == ("returning", number)
    for _ in range(2):
        assert (await desk.decide(case["id"], "receive"))[1]["status"] == "received"
    assert (await desk.say("staff", f"/after-sales/{case['id']}/refund", {"amount": "20.01"}))[0] == 422
    for _ in range(2):
        _, done = await desk.say("staff", f"/after-sales/{case['id']}/refund")
        assert (done["status"], done["refund"]) == ("refunded", {"amount": "20.0000", "currency": "CNY"})
    assert (await desk.say("staff", f"/after-sales/{case['id']}/refund", {"amount": "1"}))[0] == 409
    assert (await desk.decide(case["id"], "decline"))[0] == 409
    async with uow() as tx:
        actions = [row["action"] for row in await tx.fetch("SELECT action FROM audit ORDER BY id")]
    assert actions == ["after_sale.approve", "after_sale.receive", "after_sale.refund"]
    await desk.world.sound()


async def test_what_is_refused_at_the_door_and_all_back_ends_the_line(desk: Desk) -> None:
    order = await sold(desk, 3, delivered=False)
    for qty, status in ((1, "shipped"), (2, "returned")):
        _, case = await desk.open(order, "refusal", qty)
        assert case["status"] == "returning"
        assert (await desk.decide(case["id"], "receive", "staff"))[0] == 200
        seen = await desk.world.see(desk.mall, order["id"])
        assert seen["lines"][0]["status"] == status
    assert (seen["status"], seen["total"]["amount"]) == ("cancelled", "0.0000")
    assert (await desk.open(order, "refusal", 1))[0] == 409
    await desk.world.sound()


async def test_a_compensation_is_a_new_order_for_the_same_buyer_once(desk: Desk) -> None:
    order = await sold(desk, 4)
    _, case = await desk.open(order, "refund", 3)
    await desk.decide(case["id"], "approve")
    answers = await asyncio.gather(*(desk.say("staff", f"/after-sales/{case['id']}/replace") for _ in range(4)))
    assert {status for status, _ in answers} == {200}
    [new] = {answer["replacement_order_id"] for _, answer in answers}
    made = await desk.world.see(desk.mall, new)
    assert (made["lines"][0]["qty"], made["ship_to"], made["status"]) == (3, order["ship_to"], "placed")
    await desk.world.work()
    assert (await desk.world.see(desk.mall, new))["status"] == "accepted"
    assert await desk.world.value("SELECT count(*) FROM orders") == 2
    await desk.world.sound()


async def test_nobody_elses_case_is_found_and_bad_wishes_are_refused(desk: Desk) -> None:
    order = await sold(desk, 2)
    await desk.world.vendor(2)
    stranger, other = await desk.world.vendor_key(102), await desk.world.mall("other")
    _, case = await desk.open(order, "return", 1)
    for who, headers in (("vendor", stranger), ("mall", desk.world.malls[other])):
        before, desk.headers[who] = desk.headers[who], headers
        if who == "vendor":
            assert (await desk.decide(case["id"], "approve"))[0] == 404
        else:
            assert (await desk.say(who, f"/after-sales/{case['id']}/withdraw"))[0] == 404
            assert (await desk.open(order, "return", 1))[0] == 404
        desk.headers[who] = before
    status, problem = await desk.open(order, "return", 2)
    assert (status, code(problem), problem["facts"]["left"]) == (409, "too_many_units", 1)
    assert (await desk.open(order, "refusal", 1))[0] == 409, "it was delivered"
    for bad in ({"kind": "exchange"}, {"qty": 0}, {"line_no": 0}, {"reason": ""}):
        wish = {"line_no": 1, "qty": 1, "kind": "return", "reason": "x", **bad}
        assert (await desk.say("mall", f"/orders/{order['id']}/after-sales", wish))[0] == 422, bad
    assert (await desk.say("mall", f"/after-sales/{case['id']}/withdraw"))[1]["status"] == "withdrawn"
    assert (await desk.say("mall", f"/after-sales/{case['id']}/withdraw"))[0] == 200
    assert (await desk.open(order, "return", 2))[0] == 201, "what was withdrawn may be asked for again"


async def test_many_wishes_at_once_never_exceed_the_line(desk: Desk) -> None:
    order = await sold(desk, 5)
    answers = await asyncio.gather(*(desk.open(order, "refund", 2) for _ in range(8)))
    assert sorted(status for status, _ in answers) == [201, 201] + [409] * 6
    await desk.world.sound()


async def test_units_and_money_add_up_whatever_is_said(desk: Desk) -> None:
    """Hypothesis lets mall, vendor and staff say anything in any order, beside a model of one line."""
    loop = asyncio.get_running_loop()
    words = ["approve", "decline", "receive", "withdraw", "sent", "refund", "replace"]

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.order = self.do(sold(desk, 6))
            self.cases: list[str] = []

        def do(self, work: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(work, loop).result(60)

        @rule(kind=st.sampled_from(["return", "refund", "refusal"]), qty=st.integers(1, 7))
        def open(self, kind: str, qty: int) -> None:
            status, answer = self.do(desk.open(self.order, kind, qty))
            assert status in (201, 409)
            if status == 201:
                self.cases.append(answer["id"])

        @rule(n=st.integers(0, 9), word=st.sampled_from(words), amount=st.sampled_from([None, "0.01", "9.99", "10"]))
        def speak(self, n: int, word: str, amount: str | None) -> None:
            if not self.cases:
                return
            case = self.cases[n % len(self.cases)]
            if word in ("approve", "decline", "receive"):
                status, _ = self.do(desk.decide(case, word))
            elif word == "sent":
                body: Any = {"carrier": "sf", "tracking_no": "B"}
                status, _ = self.do(desk.say("mall", f"/after-sales/{case}/sent", body))
            elif word == "withdraw":
                status, _ = self.do(desk.say("mall", f"/after-sales/{case}/withdraw"))
            else:
                body = {"amount": amount} if word == "refund" and amount else None
                status, _ = self.do(desk.say("staff", f"/after-sales/{case}/{word}", body))
            assert status in (200, 409)

        def teardown(self) -> None:
            self.do(self.look())

        async def look(self) -> None:
            async with uow() as tx:
                rows = await tx.fetch("SELECT * FROM after_sales WHERE order_id = $1::text::uuid", self.order["id"][4:])
            standing = [row for row in rows if row["status"] not in ("declined", "withdrawn")]
            assert sum(row["quantity"] for row in standing) <= 6
            assert sum((row["refund"] or Decimal(0) for row in rows), Decimal(0)) <= Decimal(60)
            for row in rows:
                assert (row["status"] == "refunded") == (row["refund"] is not None)
                assert (row["status"] == "replaced") == (row["replacement_order_id"] is not None)
            replaced = sum(row["quantity"] for row in rows if row["status"] == "replaced")
            again = await desk.world.value(
                "SELECT coalesce(sum(l.quantity), 0) FROM order_lines l JOIN after_sales a "
                "ON a.replacement_order_id = l.order_id WHERE a.order_id = $1::text::uuid",
                self.order["id"][4:],
            )
            assert again == replaced
            await desk.world.sound()

    setting = settings(
        max_examples=6, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    await asyncio.to_thread(run_state_machine_as_test, Machine, settings=setting)


async def test_every_step_is_told(desk: Desk) -> None:
    order = await sold(desk, 2)
    _, case = await desk.open(order, "refund", 1)
    await desk.decide(case["id"], "approve")
    await desk.say("staff", f"/after-sales/{case['id']}/refund")
    await desk.world.deliver_events()
    told = {event.status: event.refund for event in desk.world.saw(AfterSaleChanged)}
    assert told == {"requested": None, "approved": None, "refunded": Decimal(10)}
