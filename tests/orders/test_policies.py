"""A mall's routing policy: what it weighs, that it is explained, and that the cheapest comes first without one."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from fulfillment import api as fulfilment
from hub.kernel import keys
from hub.kernel.db import uow
from hub.kernel.web import endpoint
from orders import api, staff_web, weighing
from orders.policy import Policy, Standing
from orders.routing import Wish, plan
from tests.orders.test_placing import line, two_vendors
from tests.orders.test_routing import offer
from tests.orders.world import World

D = Decimal


def best(policy: Policy | None, *offers: Any, standings: Any = None, wishes: Any = None) -> list[int]:
    made = plan(wishes or [Wish(1, 1, None, 2)], list(offers), policy=policy, standings=standings)
    assert not made.misses
    return [choice.offer.listing_id for choice in made.choices]


def test_each_weight_moves_the_choice_towards_what_it_names() -> None:
    cheap, dear = offer(1, "10", available=3), offer(2, "11", available=50)
    assert best(None, cheap, dear) == [1]
    assert best(Policy(price=D(1)), cheap, dear) == [1]
    assert best(Policy(price=D(1), confidence=D(1)), cheap, dear) == [2], "three units for two are not sure"
    assert best(Policy(price=D(1), confidence=D("0.1")), cheap, dear) == [1], "a tenth dearer is worse than that"
    level = offer(3, "10", available=None)
    assert best(Policy(price=D(1), confidence=D(1)), level, dear) == [2]
    good, bad = Standing(decided=98, refused=0), Standing(decided=98, refused=49)
    same = offer(1, "10"), offer(2, "11")
    assert best(Policy(price=D(1), standing=D(1)), *same, standings={1: bad, 2: good}) == [2]
    assert best(Policy(price=D(1), standing=D(1)), *same, standings={1: good, 2: bad}) == [1]
    late, prompt = Standing(due=10, on_time=2), Standing(due=10, on_time=10)
    assert best(Policy(price=D(1), promise=D(1)), *same, standings={1: late, 2: prompt}) == [2]
    assert best(Policy(price=D(1), promise=D(1)), *same, standings={2: prompt}) == [2], "a new vendor counts as a half"


def test_fewest_parcels_gathers_an_order_at_the_vendor_that_has_most_of_it() -> None:
    offers = [
        offer(1, "10", connection_id=1, vendor_id=1), offer(2, "11", connection_id=2, vendor_id=2),
        offer(3, "10", product_id=2, connection_id=3, vendor_id=3),
        offer(4, "11", product_id=2, connection_id=2, vendor_id=2),
    ]  # fmt: skip
    wishes = [Wish(1, 1, None, 2), Wish(2, 2, None, 2)]
    assert best(None, *offers, wishes=wishes) == [1, 3]
    assert best(Policy(price=D(1), parcels=D(1)), *offers, wishes=wishes) == [2, 4]
    assert best(Policy(price=D(1), parcels=D("0.1")), *offers, wishes=wishes) == [1, 3]


def test_a_policy_never_serves_a_line_that_no_policy_would_and_never_oversells() -> None:
    rng = random.Random(7)
    policy = Policy(price=D(1), confidence=D(2), standing=D(1), promise=D(1), parcels=D(1))
    for _ in range(300):
        offers = [
            offer(
                n, str(rng.randint(5, 15)), rng.choice([None, rng.randint(0, 8)]), connection_id=n % 3, vendor_id=n % 3
            )
            for n in range(1, 7)
        ]
        wishes = [Wish(n, 1, None, rng.randint(1, 5), max_price=D(12)) for n in range(1, 4)]
        shuffled = rng.sample(offers, len(offers))
        made, again = plan(wishes, offers, policy=policy), plan(wishes, shuffled, policy=policy)
        assert [c.offer.listing_id for c in made.choices] == [c.offer.listing_id for c in again.choices]
        used: dict[int, int] = {}
        for choice in made.choices:
            assert choice.offer.price <= 12
            used[choice.offer.listing_id] = used.get(choice.offer.listing_id, 0) + choice.wish.quantity
            assert choice.scores[choice.offer.listing_id].total == min(s.total for s in choice.scores.values())
        for one in offers:
            assert one.available is None or used.get(one.listing_id, 0) <= one.available


@pytest.fixture
async def staff(world: World) -> AsyncIterator[TestClient[Any, Any]]:
    weighing.forget()
    app = web.Application()
    for route in staff_web.routes.all:
        app.router.add_route(route.method, route.prefix + route.path, endpoint(route))
    async with TestClient(TestServer(app)) as client:
        async with uow() as tx:
            client.session.headers["Authorization"] = "Bearer " + await keys.create_key(tx, "staff", None, "t")
        yield client
    weighing.forget()


async def test_a_policy_counts_at_once_and_each_choice_can_be_read_afterwards(
    world: World, staff: TestClient[Any, Any]
) -> None:
    mall, product, _cheap, _dear = await two_vendors(world)
    await world.report(1, f"S{product}", 4)
    plain = await world.placed(mall, [line(product, 3)])
    policy = {"mall_id": mall, "price": 1, "confidence": "2"}
    assert (await staff.put("/v1/routing/policies", json=policy)).status == 200
    careful = await world.placed(mall, [line(product, 1)])
    assert [order["lines"][0]["vendor"] for order in (plain, careful)] == ["vendor 1", "vendor 2"]
    other = await world.mall("other")
    assert (await world.placed(other, [line(product, 1)]))["lines"][0]["vendor"] == "vendor 1"
    found = await (await staff.get(f"/v1/orders/{careful['id']}/routing")).json()
    [choice] = found["lines"][0]["choices"]
    assert (found["mall_id"], choice["occasion"]) == (mall, "ordered")
    assert choice["chosen"] == careful["lines"][0]["listing_id"] == choice["offers"][0]["listing_id"]
    scores = [Decimal(one["score"]["total"]) for one in choice["offers"]]
    assert scores == sorted(scores) and choice["offers"][1]["score"]["confidence"] == "1.0000"
    found = await (await staff.get(f"/v1/orders/{plain['id']}/routing")).json()
    assert "score" not in found["lines"][0]["choices"][0]["offers"][0]
    assert (await staff.get("/v1/orders/ord_0198c0de000000000000000000000000/routing")).status == 404
    assert (await staff.delete(f"/v1/routing/policies/{mall}")).status == 200
    assert (await staff.delete(f"/v1/routing/policies/{mall}")).status == 404
    for bad in ({"mall_id": mall, "price": 0}, {"mall_id": mall, "price": -1}, {"price": 1}):
        assert (await staff.put("/v1/routing/policies", json=bad)).status == 422


async def test_a_fail_over_is_explained_too(world: World, staff: TestClient[Any, Any]) -> None:
    mall, product, cheap, _dear = await two_vendors(world)
    world.vendors[1].out_of_stock = ()
    order = await world.placed(mall, [line(product, 2)])
    await world.settle(2)
    found = await (await staff.get(f"/v1/orders/{order['id']}/routing")).json()
    first, second = found["lines"][0]["choices"]
    assert first["chosen"] == f"lst_{cheap}" and second["occasion"] == "the vendor before refused"
    assert second["passed_over"] == [{"listing_id": f"lst_{cheap}", "vendor": "vendor 1", "why": "tried"}]


async def test_vendors_records_are_counted_from_what_they_did(world: World, staff: TestClient[Any, Any]) -> None:
    mall, product, _cheap, _dear = await two_vendors(world)
    world.vendors[1].accepts = False
    for _ in range(3):
        await world.placed(mall, [line(product)])
    await world.settle(2)
    await api.refresh_standings()
    assert await fulfilment.tell_on_time() == 0
    async with uow() as tx:
        await api.note_on_time(tx, {102: (4, 3)})
    shown = await (await staff.get("/v1/routing/policies")).json()
    found = {
        one["vendor_id"]: (one["decided"], one["refused"], one["due"], one["on_time"]) for one in shown["standings"]
    }
    assert found == {101: (3, 3, 0, 0), 102: (3, 0, 4, 3)}
