"""Fulfilment's HTTP surface: who may see what, and what bad input gets."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from hub.kernel import keys
from hub.kernel.db import uow
from hub.kernel.store import add_mall
from hub.kernel.types import public_id
from tests.fulfillment.conftest import Hand
from tests.fulfillment.kit import T0, VENDOR, Book


class Caller:
    """One key at the API."""

    def __init__(self, client: TestClient[Any, Any], key: str) -> None:
        self.client, self.headers = client, {"Authorization": f"Bearer {key}"}

    async def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = json.dumps(body).encode() if body is not None else None
        async with self.client.request(method, "/v1" + path, data=data, headers=self.headers) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def callers(client: TestClient[Any, Any], hand: Hand) -> dict[str, Caller]:
    made: dict[str, Caller] = {}
    async with uow() as tx:
        mall = await add_mall(tx, "mall")
        other = await add_mall(tx, "other mall")
        for name, scope, tenant in (
            ("mall", "mall", mall), ("other_mall", "mall", other), ("vendor", "vendor", VENDOR),
            ("other_vendor", "vendor", VENDOR + 1), ("staff", "staff", None),
        ):  # fmt: skip
            made[name] = Caller(client, await keys.create_key(tx, scope, tenant, name))  # type: ignore[arg-type]
    return made


async def test_an_order_is_shipped_tracked_and_followed(book: Book, hand: Hand, callers: dict[str, Caller]) -> None:
    po = book.order(2, 1, mall=1)
    await book.accepted(po)
    path = f"/vendor/orders/{public_id('po', po.po_id)}/ship"
    parcel = {"carrier": "SF", "tracking_no": "sf100", "lines": [{"line_no": 1, "quantity": 2}]}
    status, shipment = await callers["vendor"]("POST", path, {"parcels": [parcel]})
    assert (status, shipment["parcels"][0]["tracking_no"]) == (200, "SF100")
    assert (await callers["other_vendor"]("POST", path, {"parcels": [parcel]}))[0] == 404
    assert (await callers["mall"]("POST", path, {"parcels": [parcel]}))[0] == 403

    hand.forward(hours=30)
    at = (T0 + timedelta(hours=20)).isoformat()
    status, answer = await callers["staff"](
        "POST",
        "/tracking-events",
        {
            "events": [
                {"carrier": "sf", "tracking_no": "SF100", "status": "delivered", "event_at": at, "place": "上海"},
                {"carrier": "sf", "tracking_no": "SF100", "status": "delivered", "event_at": "yesterday"},
                {"nonsense": True},
            ]
        },
    )
    assert status == 200
    assert [r["result"] for r in answer["results"]] == ["applied", "invalid", "invalid"]
    assert answer["results"][1]["detail"].startswith("/event_at")

    order = f"/orders/{public_id('ord', po.order_id)}/shipments"
    status, seen = await callers["mall"]("GET", order)
    assert status == 200
    assert [line["delivered_units"] for line in seen["lines"]] == [2, 0]
    assert seen["shipments"][0]["parcels"][0]["status"] == "delivered"
    assert seen["shipments"][0]["parcels"][0]["events"][0]["place"] == "上海"
    assert (await callers["other_mall"]("GET", order))[0] == 404
    assert (await callers["mall"]("GET", "/orders/ord_nonsense/shipments"))[0] == 404


async def test_an_over_shipment_is_refused_with_a_pointer(book: Book, hand: Hand, callers: dict[str, Caller]) -> None:
    po = book.order(2, mall=1)
    await book.accepted(po)
    path = f"/vendor/orders/{public_id('po', po.po_id)}/ship"
    for line, pointer in (
        ({"line_no": 1, "quantity": 3}, "/parcels/0/lines/0/quantity"),
        ({"line_no": 1, "quantity": 0}, "/parcels/0/lines/0/quantity"),
        ({"line_no": 1, "quantity": 1.5}, "/parcels/0/lines/0/quantity"),
        ({"line_no": 5, "quantity": 1}, "/parcels/0/lines/0/line_no"),
        ({"line_no": 1, "quantity": 1, "note": "x"}, "/parcels/0/lines/0/note"),
    ):
        parcel = {"carrier": "sf", "tracking_no": "1", "lines": [line]}
        status, problem = await callers["vendor"]("POST", path, {"parcels": [parcel]})
        assert (status, problem["errors"][0]["pointer"]) == (422, pointer)
    async with uow() as tx:
        assert await tx.fetchval("SELECT count(*) FROM fulfillment_parcels") == 0  # nothing half-done


async def test_each_tenant_reads_its_own_figures(book: Book, hand: Hand, callers: dict[str, Caller]) -> None:
    for mall, vendor in ((1, VENDOR), (2, VENDOR), (1, VENDOR + 1)):
        await book.placed(book.order(1, mall=mall, vendor=vendor))
    hand.forward(hours=96)
    for metric in ("delivery-72h", "stockouts"):
        path = f"/metrics/{metric}"
        counts = {name: (await caller("GET", path))[1]["denominator"] for name, caller in callers.items()}
        assert counts == {"mall": 2, "other_mall": 1, "vendor": 2, "other_vendor": 1, "staff": 3}
        assert (await callers["staff"]("GET", f"{path}?mall=1&vendor={VENDOR}"))[1]["denominator"] == 1
        assert (await callers["mall"]("GET", f"{path}?mall=2"))[0] == 404
        assert (await callers["vendor"]("GET", f"{path}?vendor={VENDOR + 1}"))[0] == 404
        later = (T0 + timedelta(seconds=1)).isoformat().replace("+", "%2B")
        status, empty = await callers["staff"]("GET", f"{path}?from={later}")
        assert (status, empty["denominator"], empty["status"]) == (200, 0, "no_data")
        assert (await callers["staff"]("GET", f"{path}?from=nonsense"))[0] == 422
        assert (await callers["staff"]("GET", f"{path}?from=2026-05-02T00:00:00Z&to=2026-05-01T00:00:00Z"))[0] == 422
    _, figure = await callers["staff"]("GET", "/metrics/delivery-72h")
    assert figure["partition"] == {"eligible": 3, "on_time": 0, "late": 0, "open_overdue": 3, "supply_cancelled": 0}
    assert figure["target"] == 0.9 and figure["status"] == "missed" and figure["as_of"] and len(figure["window"]) == 2
