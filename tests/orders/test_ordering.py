"""What a mall may rely on when it orders: once, all or nothing, never more than there is, and private."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from catalog.store import put_rules
from hub.kernel.db import uow
from orders import api, service
from orders.contracts import OrderCancelled
from tests.orders.test_placing import line, one_vendor, two_vendors
from tests.orders.world import SHIP_TO, World


def code(problem: dict[str, Any]) -> str:
    return str(problem["type"]).rsplit(":", 1)[1]


async def test_sixty_four_posts_of_one_key_have_one_effect(world: World) -> None:
    mall, product, listing = await one_vendor(world)
    body = {"mall_order_no": "A1", "mode": "place", "ship_to": SHIP_TO, "lines": [line(product, 2)]}
    answers = await asyncio.gather(*(world.post(mall, "/orders", body, key="k") for _ in range(64)))
    made = [order for status, order in answers if status == 201]
    assert set(Counter(status for status, _ in answers)) <= {201, 409}
    assert made and all(order == made[0] for order in made)
    assert all(code(problem) == "key_in_flight" for status, problem in answers if status == 409)
    assert await world.value("SELECT count(*) FROM orders") == 1
    assert await world.reserved(listing) == 2
    assert (await world.post(mall, "/orders", body, key="k"))[1] == made[0]
    status, problem = await world.post(mall, "/orders", {**body, "mall_order_no": "A2"}, key="k")
    assert (status, code(problem)) == (422, "key_reused")
    await world.sound()


async def test_a_used_order_number_is_a_conflict_and_changes_nothing(world: World) -> None:
    mall, product, listing = await one_vendor(world)
    await world.placed(mall, [line(product)], mall_order_no="A1")
    status, problem = await world.order(mall, [line(product)], mall_order_no="A1", key="other")
    assert (status, code(problem), problem["errors"][0]["pointer"]) == (409, "duplicate_order_no", "/mall_order_no")
    assert await world.reserved(listing) == 1
    neighbour = await world.mall("neighbour")
    await world.placed(neighbour, [line(product)], mall_order_no="A1")
    racing = await asyncio.gather(
        *(world.order(mall, [line(product)], mall_order_no="A9", key=f"r{i}") for i in range(8))
    )
    assert sorted(status for status, _ in racing) == [201] + [409] * 7
    assert await world.reserved(listing) == 3


async def test_a_crash_midway_leaves_nothing_and_the_key_may_be_used_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mall, product, listing = await one_vendor(world)
    for point in ("orders.stock_held", "orders.order_written"):

        def crash(name: str, point: str = point) -> None:
            if name == point:
                raise RuntimeError("the process dies here")

        with monkeypatch.context() as patch:
            patch.setattr(service, "failpoint", crash)
            status, problem = await world.order(mall, [line(product)], mall_order_no=point, key=point)
        assert (status, code(problem)) == (500, "internal")
        assert await world.value("SELECT count(*) FROM orders") + await world.reserved(listing) == 0
        assert await world.value("SELECT count(*) FROM outbox") == 0
    await world.placed(mall, [line(product)], mall_order_no="orders.stock_held", key="orders.stock_held")
    await world.sound()


async def test_three_hundred_orders_for_a_hundred_units_sell_exactly_a_hundred(world: World) -> None:
    mall, product, listing = await one_vendor(world, 100)
    gate = asyncio.Semaphore(16)

    async def one() -> tuple[int, Any]:
        async with gate:
            return await world.order(mall, [line(product)])

    answers = await asyncio.gather(*(one() for _ in range(300)))
    assert Counter(status for status, _ in answers) == {201: 100, 409: 200}
    assert {code(problem) for status, problem in answers if status == 409} == {"out_of_stock"}
    assert await world.reserved(listing) == 100
    await world.sound()


async def test_scarce_orders_spill_over_to_the_next_vendor(world: World) -> None:
    mall, product, cheap, dear = await two_vendors(world)
    await world.report(1, f"S{product}", 10)
    answers = await asyncio.gather(*(world.order(mall, [line(product)]) for _ in range(40)))
    assert {status for status, _ in answers} == {201}
    assert (await world.reserved(cheap), await world.reserved(dear)) == (10, 30)
    await world.sound()


async def test_out_of_stock_names_the_lines_and_holds_nothing(world: World) -> None:
    mall, product, listing = await one_vendor(world, 5)
    status, problem = await world.order(mall, [line(product, 3), line(product, 3)])
    assert (status, code(problem)) == (409, "out_of_stock")
    assert problem["facts"]["shortages"] == [
        {"line_no": 2, "product_id": f"prd_{product}", "wanted": 3, "available": 2}
    ]
    assert problem["errors"][0]["pointer"] == "/lines/1/qty"
    assert await world.reserved(listing) == 0


async def test_a_price_above_max_price_is_a_conflict_that_names_the_new_price(world: World) -> None:
    mall, product, listing = await one_vendor(world)
    for ceiling in ("9.99", 9.99, {"amount": "9.99", "currency": "CNY"}):
        status, problem = await world.order(mall, [line(product, max_price=ceiling)])
        assert (status, code(problem)) == (409, "price_changed"), ceiling
        assert (problem["facts"]["price"], problem["facts"]["currency"]) == ("10.0000", "CNY")
        assert problem["errors"][0]["pointer"] == "/lines/0/max_price"
    assert (await world.order(mall, [line(product, max_price={"amount": 99, "currency": "USD"})]))[0] == 409
    assert await world.reserved(listing) == 0
    for ceiling in ("10.00", 10, {"amount": "10", "currency": "CNY"}):
        await world.placed(mall, [line(product, max_price=ceiling)])


async def test_stale_stock_is_not_sold(world: World) -> None:
    mall, product, _listing = await one_vendor(world)
    world.later(7201)
    status, problem = await world.order(mall, [line(product)])
    assert (status, code(problem)) == (409, "out_of_stock")


async def test_a_reservation_is_confirmed_once_and_its_clock_starts_then(world: World) -> None:
    mall, product, listing = await one_vendor(world)
    held = await world.placed(mall, [line(product, 2)], mode="reserve")
    assert (held["status"], held["due_at"], held["purchase_orders"]) == ("reserved", None, [])
    until = datetime.fromisoformat(held["reserved_until"])
    assert until - datetime.fromisoformat(held["created_at"]) == timedelta(seconds=900)
    await world.work()
    assert world.vendors[1].calls == []
    world.later(100)
    answers = await asyncio.gather(*(world.post(mall, f"/orders/{held['id']}/confirm") for _ in range(5)))
    assert all(answer == answers[0] for answer in answers)
    status, order = answers[0]
    assert (status, order["status"], len(order["purchase_orders"])) == (200, "placed", 1)
    t0 = datetime.fromisoformat(order["placed_at"])
    assert t0 - datetime.fromisoformat(held["created_at"]) >= timedelta(seconds=100)
    assert datetime.fromisoformat(order["due_at"]) - t0 == timedelta(hours=72)
    await world.work()
    assert world.vendors[1].calls == ["place"] and await world.reserved(listing) == 2
    await world.sound()


async def test_an_unconfirmed_reservation_expires_and_releases_once(world: World) -> None:
    mall, product, listing = await one_vendor(world)
    held = [await world.placed(mall, [line(product, 2), line(product)], mode="reserve") for _ in range(3)]
    assert await api.expire_reservations() == 0
    world.later(901)
    status, problem = await world.post(mall, f"/orders/{held[0]['id']}/confirm")
    assert (status, code(problem)) == (409, "reservation_expired")
    assert sum(await asyncio.gather(*(service.expire_reservations(1) for _ in range(3)))) == 3
    assert await world.reserved(listing) == 0
    assert (await world.see(mall, held[0]["id"]))["status"] == "expired"
    assert (await world.post(mall, f"/orders/{held[0]['id']}/confirm"))[0] == 409
    assert (await world.post(mall, f"/orders/{held[0]['id']}/cancel"))[0] == 409
    assert await world.value("SELECT count(*) FROM catalog_movements WHERE reserved_change < 0") == 6
    await world.sound()


async def test_confirming_and_expiring_at_once_end_in_one_of_the_two(world: World) -> None:
    mall, product, listing = await one_vendor(world)
    held = [await world.placed(mall, [line(product)], mode="reserve") for _ in range(6)]
    world.later(899.8)
    confirms = asyncio.gather(*(world.post(mall, f"/orders/{order['id']}/confirm") for order in held))
    world.later(0.3)
    await asyncio.gather(confirms, service.expire_reservations())
    await service.expire_reservations()
    final = Counter([(await world.see(mall, order["id"]))["status"] for order in held])
    assert set(final) <= {"placed", "expired"}
    assert await world.reserved(listing) == final["placed"]
    await world.sound()


async def test_the_cap_on_open_reservations_is_exact_under_load(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from hub.kernel.settings import reset_settings

    monkeypatch.setenv("SUPPLYHUB_MALL_OPEN_RESERVATIONS", "5")
    reset_settings()
    mall, product, _listing = await one_vendor(world)
    answers = await asyncio.gather(*(world.order(mall, [line(product)], mode="reserve") for _ in range(12)))
    assert Counter(status for status, _ in answers) == {201: 5, 429: 7}
    async with world.client.post(
        "/v1/orders",
        headers={**world.malls[mall], "Idempotency-Key": "z"},
        json={"mall_order_no": "z", "mode": "reserve", "ship_to": SHIP_TO, "lines": [line(product)]},
    ) as answer:
        assert answer.status == 429 and int(answer.headers["Retry-After"]) > 0
    await world.placed(mall, [line(product)])
    neighbour = await world.mall("neighbour")
    await world.placed(neighbour, [line(product)], mode="reserve")


async def test_cancelling_before_the_vendor_is_asked_releases_exactly_once(world: World) -> None:
    mall, product, listing = await one_vendor(world)
    for mode in ("reserve", "place"):
        order = await world.placed(mall, [line(product, 4)], mode=mode)
        answers = await asyncio.gather(*(world.post(mall, f"/orders/{order['id']}/cancel") for _ in range(6)))
        assert {(status, seen["status"]) for status, seen in answers} == {(200, "cancelled")}
        await world.settle(2)
        assert world.vendors[1].calls == [] and await world.reserved(listing) == 0
    assert len(world.saw(OrderCancelled)) == 2
    assert await world.value("SELECT count(*) FROM catalog_movements WHERE reserved_change = -4") == 2
    assert (await world.post(mall, f"/orders/{order['id']}/confirm"))[0] == 409
    await world.sound()


async def test_single_lines_can_be_cancelled_until_their_vendor_has_them(world: World) -> None:
    mall, product, listing = await one_vendor(world)
    order = await world.placed(mall, [line(product, 1), line(product, 2), line(product, 3)])
    status, seen = await world.post(mall, f"/orders/{order['id']}/cancel", {"lines": [2]})
    assert (status, [item["status"] for item in seen["lines"]]) == (200, ["placed", "cancelled", "placed"])
    assert float(seen["total"]["amount"]) == 40
    await world.work()
    assert [p.quantity for p in world.vendors[1].letters[0].lines] == [1, 3]
    status, problem = await world.post(mall, f"/orders/{order['id']}/cancel", {"lines": [1]})
    assert (status, code(problem), problem["facts"]["lines"]) == (409, "cancel_together", [1, 3])
    assert (await world.post(mall, f"/orders/{order['id']}/cancel", {"lines": [9]}))[0] == 404
    status, seen = await world.post(mall, f"/orders/{order['id']}/cancel", {"lines": [3, 1, 3]})
    assert (status, seen["status"]) == (200, "cancelling")
    await world.settle(2)
    assert (await world.see(mall, order["id"]))["status"] == "cancelled"
    assert await world.reserved(listing) == 0 and world.vendors[1].live == []
    await world.sound()


async def test_a_slot_has_one_place(world: World) -> None:
    mall = await world.mall()
    await world.vendor(1)
    slot = await world.slot(1)
    answers = await asyncio.gather(*(world.order(mall, [{"slot_id": f"slt_{slot}"}]) for _ in range(6)))
    assert Counter(status for status, _ in answers) == {201: 1, 409: 5}
    assert {code(problem) for status, problem in answers if status == 409} == {"slot_taken"}
    await world.work()
    letter = world.vendors[1].letters[0].lines[0]
    assert (letter.slot_ref, letter.slot_version, letter.slot_start is not None) == ("Slot/1", 'W/"1"', True)
    (order,) = [order for status, order in answers if status == 201]
    assert order["lines"][0]["slot"]["id"] == f"slt_{slot}"
    await world.post(mall, f"/orders/{order['id']}/cancel")
    await world.settle(2)
    assert (await world.order(mall, [{"slot_id": f"slt_{slot}"}], ship_to={"name": "王", "phone": "13812341234"}))[
        0
    ] == 201
    await world.sound()


async def test_personal_data_is_masked_in_answers_and_encrypted_in_rows(world: World) -> None:
    mall, product, _listing = await one_vendor(world)
    order = await world.placed(mall, [line(product)])
    await world.work()
    for seen in (order, await world.see(mall, order["id"])):
        assert (seen["ship_to"]["name"], seen["ship_to"]["phone"]) == ("王**", "138****1234")
        assert "漕溪" not in json.dumps(seen, ensure_ascii=False)
    dump = await world.value(
        "SELECT (SELECT string_agg(o::text, '') FROM orders o) || (SELECT string_agg(l::text, '') FROM order_lines l) "
        "|| (SELECT string_agg(p::text, '') FROM purchase_orders p) || (SELECT string_agg(x::text, '') FROM outbox x) "
        "|| (SELECT string_agg(a::text, '') FROM po_attempts a) "
        "|| (SELECT string_agg(convert_from(body, 'UTF8'), '') FROM idempotency_keys)"
    )
    assert "placed" in dump
    for secret in ("13812341234", "王小明", "漕溪"):
        assert secret not in dump and secret.encode().hex() not in dump


async def test_another_malls_order_is_not_found(world: World) -> None:
    mall, product, _listing = await one_vendor(world)
    order = await world.placed(mall, [line(product)], mode="reserve")
    stranger = await world.mall("stranger")
    assert (await world.get(world.malls[stranger], f"/orders/{order['id']}"))[0] == 404
    for action in ("confirm", "cancel"):
        assert (await world.post(stranger, f"/orders/{order['id']}/{action}"))[0] == 404
    assert (await world.get(world.malls[stranger], "/orders"))[1] == {"items": [], "next": None}
    assert (await world.get(world.malls[mall], "/orders/ord_zzz"))[0] == 404
    assert (await world.see(mall, order["id"]))["status"] == "reserved"


async def test_the_second_wall_hides_rows_whatever_the_statement_says(world: World) -> None:
    mall, product, _listing = await one_vendor(world)
    await world.vendor(2)
    stranger = await world.mall("stranger")
    order = await world.placed(mall, [line(product)])
    tables = ("orders", "order_lines", "purchase_orders", "po_lines")

    async def sees(tenant: str) -> list[int]:
        async with uow("") as tx:  # the wall itself, also for tenants that a unit of work would not open for
            await tx.run("SELECT set_config('supplyhub.tenant', $1, true)", tenant)
            return [await tx.fetchval(f"SELECT count(*) FROM {table}") for table in tables]

    assert await world.value("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user") is False
    assert await sees("*") == await sees(f"mall:{mall}") == await sees("vendor:101") == [1, 1, 1, 1]
    for tenant in (f"mall:{stranger}", "vendor:102", "vendor:1", "mall:101", f"mall:{mall} ", "", "staff"):
        assert await sees(tenant) == [0, 0, 0, 0], tenant
    async with uow(f"mall:{stranger}") as tx:
        assert await tx.run("UPDATE orders SET mall_id = $1", stranger) == 0
        assert await tx.run("DELETE FROM po_lines") == 0
    with pytest.raises(Exception, match="row-level security"):
        async with uow(f"mall:{stranger}") as tx:
            await tx.run(
                "INSERT INTO po_lines SELECT gen_random_uuid(), gen_random_uuid(), $1, 1, 1, 1, 's', NULL, 't', 1, 1, "
                "'CNY', NULL, NULL, NULL, NULL, false",
                mall,
            )
    async with uow("vendor:101") as tx:
        assert await tx.run("UPDATE orders SET status = 'cancelled'") == 0
    assert (await world.see(mall, order["id"]))["status"] == "placed"


async def test_orders_are_listed_in_pages_without_gap_or_repeat(world: World) -> None:
    mall, product, _listing = await one_vendor(world)
    made = [(await world.placed(mall, [line(product)]))["id"] for _ in range(7)]
    seen: list[str] = []
    after = ""
    while True:
        status, found = await world.get(world.malls[mall], f"/orders?limit=3{after}")
        assert status == 200
        seen += [order["id"] for order in found["items"]]
        if found["next"] is None:
            break
        after = f"&after={found['next']}"
    assert seen == made
    for bad in ("after=zzz", "limit=0", "limit=201", "limit=x", "other=1"):
        assert (await world.get(world.malls[mall], f"/orders?{bad}"))[0] == 422


GOOD: dict[str, Any] = {
    "mall_order_no": "B1", "mode": "place", "ship_to": SHIP_TO, "lines": [{"product_id": "prd_1", "qty": 1}],
}  # fmt: skip


def changed(path: str, value: Any) -> bytes:
    body = json.loads(json.dumps(GOOD))
    *parents, last = path.split("/")
    place = body
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place[name]
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return json.dumps(body).encode()


BAD_PRICES: list[Any] = [
    0, -1, "NaN", "x", float("nan"), float("inf"), 1e30, [], {"amount": 1, "currency": "yuan"}, {"amount": None},
]  # fmt: skip
BAD_BODIES: list[tuple[bytes, int, str]] = [
    (b"", 400, ""), (b"{", 400, ""), (b"\xff\xfe", 400, ""), (b"null", 422, ""), (b"[]", 422, ""),
    (b"{}", 422, "/lines"),
    *((changed("lines/0/qty", bad), 422, "/lines/0/qty") for bad in (0, -1, 100_001, 10**30, 1.5, "1", True, None)),
    *((changed("lines/0/max_price", bad), 422, "/lines/0/max_price") for bad in BAD_PRICES),
    *((changed("lines/0/product_id", bad), 422, "/lines/0/product_id") for bad in
      ("1", 1, "prd_", "prd_x", "lst_1", "prd_" + "9" * 19, "prd_-1", "prd_١")),
    (changed("lines/0/surprise", 1), 422, "/lines/0/surprise"), (changed("surprise", 1), 422, "/surprise"),
    (changed("ship_to/surprise", 1), 422, "/ship_to/surprise"), (changed("ship_to/phone", "no"), 422, "/ship_to/phone"),
    (changed("ship_to/phone", None), 422, "/ship_to/phone"), (changed("ship_to/name", ""), 422, "/ship_to/name"),
    (changed("ship_to/name", "a\u0000b"), 422, "/ship_to/name"), (changed("ship_to", None), 422, "/ship_to"),
    (changed("lines", []), 422, "/lines"), (changed("lines", [GOOD["lines"][0]] * 201), 422, "/lines"),
    (changed("lines/0", {"qty": 1}), 422, "/lines/0"), (changed("lines/0", {"product_id": "prd_1"}), 422, "/lines/0"),
    (changed("lines/0", {"product_id": "prd_1", "listing_id": "lst_1", "qty": 1}), 422, "/lines/0"),
    (changed("lines/0", {"slot_id": "slt_1", "qty": 2}), 422, "/lines/0"),
    (changed("mode", "buy"), 422, "/mode"), (changed("mall_order_no", ""), 422, "/mall_order_no"),
    (changed("mall_order_no", "x" * 65), 422, "/mall_order_no"), (changed("mall_order_no", 7), 422, "/mall_order_no"),
    (changed("lines/0/product_id", "prd_999999999"), 422, "/lines/0"),
    (changed("lines/0", {"slot_id": "slt_9"}), 422, "/lines/0"),
]  # fmt: skip


NOT_A_CANCELLATION: list[Any] = [
    {"lines": []}, {"lines": [0]}, {"lines": ["1"]}, {"line": 1}, {"lines": [1.5]}, [],
]  # fmt: skip


async def test_bad_input_is_refused_with_a_pointer_and_does_nothing(world: World) -> None:
    mall, product, listing = await one_vendor(world)
    assert product == 1
    for number, (body, expected, pointer) in enumerate(BAD_BODIES):
        status, problem = await world.post(mall, "/orders", raw=body, key=f"bad{number}")
        assert status == expected, (body, problem)
        pointers = [found["pointer"] for found in problem.get("errors", [{"pointer": ""}])]
        assert any(found.startswith(pointer) for found in pointers), (body, problem)
    good = json.dumps(GOOD).encode()
    assert (await world.post(mall, "/orders", raw=good))[0] == 400, "no Idempotency-Key"
    no_address = changed("ship_to", {"name": "王", "phone": "13812341234"})
    status, problem = await world.post(mall, "/orders", raw=no_address, key="na")
    assert (status, problem["errors"][0]["pointer"]) == (422, "/ship_to/address")
    assert await world.value("SELECT count(*) FROM orders") == 0 and await world.reserved(listing) == 0
    assert (await world.post(mall, "/orders", raw=good, key="ok"))[0] == 201
    for bad in NOT_A_CANCELLATION:
        assert (await world.post(mall, "/orders/ord_" + "0" * 32 + "/cancel", bad))[0] == 422


async def test_what_the_malls_assortment_leaves_out_is_refused_and_says_so(world: World) -> None:
    mall, product, cheap, dear = await two_vendors(world)
    other = await world.product("体温计")
    await world.listing(1, other, "5", 9)
    slot = await world.slot(1)
    neighbour = await world.mall("neighbour")

    async def allow(*rules: dict[str, Any]) -> None:
        empty = dict.fromkeys(("kind", "category", "brand", "vendor_id", "product_id"))
        async with uow() as tx:
            await put_rules(tx, mall, [{**empty, **rule} for rule in rules], "test")

    await allow({"include": False, "product_id": product})
    status, problem = await world.order(mall, [line(other), line(product)])
    assert (status, code(problem), problem["errors"][0]["pointer"]) == (409, "not_in_assortment", "/lines/1")
    assert await world.reserved(cheap) == 0 and await world.value("SELECT count(*) FROM orders") == 0
    status, problem = await world.order(mall, [{"listing_id": f"lst_{dear}", "qty": 1}])
    assert (status, code(problem)) == (409, "not_in_assortment")
    await world.placed(neighbour, [line(product)])
    await allow({"include": True, "kind": "goods"}, {"include": False, "vendor_id": 101})
    placed = await world.placed(mall, [line(product)])
    assert [po["vendor"] for po in placed["purchase_orders"]] == ["vendor 2"], "the dearer offer is the one it sells"
    status, problem = await world.order(mall, [{"slot_id": f"slt_{slot}", "qty": 1}])
    assert (status, code(problem)) == (409, "not_in_assortment")
    await allow()
    await world.placed(mall, [{"slot_id": f"slt_{slot}", "qty": 1}])
    await world.sound()


async def test_failing_over_keeps_to_the_assortment_of_that_moment(world: World) -> None:
    mall, product, _cheap, _dear = await two_vendors(world)
    world.vendors[1].out_of_stock = ()
    order = await world.placed(mall, [line(product)])
    rule = {"include": False, "kind": None, "category": None, "brand": None, "vendor_id": 102, "product_id": None}
    async with uow() as tx:
        await put_rules(tx, mall, [rule], "test")
    await world.settle()
    assert world.vendors[2].calls == []
    assert (await world.see(mall, order["id"]))["lines"][0]["status"] == "unsupplied"
    await world.sound()
