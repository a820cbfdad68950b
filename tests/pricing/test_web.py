"""The staff's side of parity over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from hub.kernel import audit, clock, keys
from hub.kernel.db import Database, uow
from hub.kernel.store import add_mall
from hub.kernel.web import endpoint
from pricing import api
from pricing.cases_web import routes as case_routes
from pricing.contracts import OfferPrice
from pricing.rates_web import routes as rate_routes
from pricing.web import routes


class Caller:
    """A client with one key."""

    def __init__(self, client: TestClient[Any, Any], key: str) -> None:
        self.client, self.headers = client, {"Authorization": f"Bearer {key}"}

    async def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = json.dumps(body).encode() if body is not None else None
        async with self.client.request(method, "/v1" + path, data=data, headers=self.headers) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def callers(database: Database) -> AsyncIterator[dict[str, Caller]]:
    api.forget_held()
    app = web.Application()
    for route in (*routes.all, *case_routes.all, *rate_routes.all):
        app.router.add_route(route.method, route.prefix + route.path, endpoint(route))
    async with uow() as tx:
        mall = await add_mall(tx, "mall")
        held = {
            "staff": await keys.create_key(tx, "staff", None, "staff"),
            "mall": await keys.create_key(tx, "mall", mall, "mall"),
            "vendor": await keys.create_key(tx, "vendor", 1, "vendor"),
        }
    async with TestClient(TestServer(app)) as client:
        yield {name: Caller(client, key) for name, key in held.items()}


def observed(price: str = "100", **more: Any) -> dict[str, Any]:
    at = (clock.now() - timedelta(minutes=1)).isoformat()
    evidence = {"source": "jd", "url": "https://item.example/1", "sha256": "cd" * 32, "captured_at": at, "parser": "p1"}
    return {"product_id": "prd_1", "price": price, "evidence": evidence, **more}


async def breach(price: str = "150") -> None:
    async with uow() as tx:
        await api.check(tx, [OfferPrice(listing_id=10, product_id=1, price=Decimal(price), currency="CNY")])


async def test_a_breach_is_held_reviewed_and_the_decision_is_in_the_audit_trail(callers: dict[str, Caller]) -> None:
    staff = callers["staff"]
    policy = {"mall_id": 1, "action": "hold"}
    status, view = await staff("PUT", "/parity/policies", policy)
    assert (status, view["action"], view["threshold_pct"]) == (200, "hold", "5.00")
    assert await staff("POST", "/references", {"references": [observed()]}) == (201, {"received": 1, "recorded": 1})
    assert (await staff("POST", "/references", {"references": [observed()]}))[1]["received"] == 1
    await breach()
    assert await api.held_for_mall(1) == {10}

    _, page = await staff("GET", "/parity/cases?status=open")
    case = page["items"][0]
    assert (case["listing_id"], case["product_id"], case["holds"][0]["mall_id"]) == ("lst_10", "prd_1", 1)
    assert (case["evidence"]["sha256"], case["evidence"]["gap"]) == ("cd" * 32, "0.5")

    assert (await staff("POST", f"/parity/cases/{case['id']}/review", {"reason": ""}))[0] == 422
    status, reviewed = await staff("POST", f"/parity/cases/{case['id']}/review", {"reason": "seasonal, agreed"})
    assert (status, reviewed["holds"][0]["review_reason"], reviewed["log"][1]["what"]) == (
        200, "seasonal, agreed", "reviewed",
    )  # fmt: skip
    assert await api.held_for_mall(1) == frozenset()
    async with uow() as tx:
        rows = await tx.fetch("SELECT action, facts FROM audit ORDER BY id")
        assert [row["action"] for row in rows] == ["parity.policy.set", "parity.case.review"]
        assert rows[1]["facts"]["released_malls"] == [1]
        assert await audit.first_broken(tx) is None


async def test_the_figure_has_numerator_denominator_and_coverage(callers: dict[str, Caller]) -> None:
    _, nothing = await callers["staff"]("GET", "/metrics/parity")
    assert (nothing["denominator"], nothing["rate"], nothing["status"]) == (0, None, "no_data")
    await callers["staff"]("POST", "/references", {"references": [observed()]})
    await breach()
    _, figure = await callers["staff"]("GET", "/metrics/parity")
    assert (figure["numerator"], figure["denominator"], figure["status"]) == (0, 1, "missed")
    assert figure["as_of"] and len(figure["window"]) == 2 and figure["target"] == 1.0


async def test_references_are_paged_with_their_evidence(callers: dict[str, Caller]) -> None:
    prices = [observed(str(n), pack="500ml*12瓶") for n in range(1, 6)]
    await callers["staff"]("POST", "/references", {"references": prices})
    seen, cursor = [], ""
    for _ in range(4):
        _, page = await callers["staff"]("GET", f"/references?product_id=prd_1&limit=2{cursor}")
        seen += [item["price"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert [Decimal(price) for price in seen] == [5, 4, 3, 2, 1]
    assert (page["items"][0]["units"], page["items"][0]["unit"]) == ("6000", "ml")
    assert page["items"][0]["evidence"]["source"] == "jd"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"price": "0"}, "/references/0/price"),
        ({"price": "NaN"}, "/references/0/price"),
        ({"price": "99999999999"}, "/references/0/price"),
        ({"product_id": "1"}, "/references/0/product_id"),
        ({"condition": "vip"}, "/references/0/condition"),
        ({"colour": "red"}, "/references/0/colour"),
        ({"evidence": {"source": "jd", "captured_at": "2026-05-01T00:00:00"}}, "/references/0/evidence/captured_at"),
        ({"evidence": {"source": "jd", "captured_at": "2099-05-01T00:00:00Z"}}, "/references/0/evidence/captured_at"),
    ],
)
async def test_a_bad_observation_is_refused_with_a_pointer(
    callers: dict[str, Caller], change: dict[str, Any], pointer: str
) -> None:
    status, problem = await callers["staff"]("POST", "/references", {"references": [observed() | change]})
    assert (status, problem["errors"][0]["pointer"]) == (422, pointer)


async def test_bad_policies_and_unknown_things_are_refused(callers: dict[str, Caller]) -> None:
    staff = callers["staff"]
    assert (await staff("PUT", "/parity/policies", {"mall_id": 99, "action": "hold"}))[0] == 404
    wide = {"mall_id": 1, "action": "hold", "threshold_pct": "5", "gross_pct": "4"}
    assert (await staff("PUT", "/parity/policies", wide))[0] == 422
    for case_id in ("case_99", "case_x", "99"):
        assert (await staff("POST", f"/parity/cases/{case_id}/review", {"reason": "x"}))[0] == 404


@pytest.mark.parametrize("role", ["mall", "vendor"])
async def test_parity_is_the_staffs_alone(callers: dict[str, Caller], role: str) -> None:
    for route in (*routes.all, *case_routes.all, *rate_routes.all):
        path = route.path.replace("{id}", "case_1")
        assert (await callers[role](route.method, path, {}))[0] == 403
