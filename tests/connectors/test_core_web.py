"""The HTTP surface of connectors/: staff bring a vendor live, vendors' systems push, and nobody sees a secret."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from connectors import api, onboarding_web, store
from connectors import web as surface
from connectors.contracts import BadRow
from connectors.inbox import BODY_LIMIT
from connectors.kit_stage import reachable
from connectors.sandbox_kit import Faults
from connectors.woocommerce.sandbox import WooSandbox
from hub.kernel import db, keys
from hub.kernel.web import application

Client = TestClient[Any, Any]


@pytest.fixture
async def client(database: db.Database) -> AsyncIterator[Client]:
    routes = [*surface.routes.all, *onboarding_web.routes.all]
    async with TestClient(TestServer(application(routes, body_limit=16 * 2**20))) as made:
        yield made


@pytest.fixture
async def staff(database: db.Database) -> dict[str, str]:
    async with db.uow() as tx:
        return {"Authorization": "Bearer " + await keys.create_key(tx, "staff", None, "t")}


@pytest.fixture
async def shop() -> AsyncIterator[WooSandbox]:
    products = [{"sku": f"P{n}", "name": f"商品 {n}", "price": "9.90", "stock": 9} for n in range(30)]
    sandbox = WooSandbox([*products, {"sku": "BAD", "name": "x", "price": "0"}])
    await sandbox.start()
    with reachable(sandbox):
        yield sandbox
    await sandbox.stop()


async def connect(client: Client, staff: dict[str, str], shop: WooSandbox) -> int:
    vendor = await (await client.post("/v1/vendors", json={"name": "一家店"}, headers=staff)).json()
    wanted = {
        "vendor_id": vendor["id"],
        "connector": "woocommerce",
        "name": "shop",
        "config": {"base_url": shop.base_url},
        "secrets": shop.credentials(),
    }
    answer = await client.post("/v1/connections", json=wanted, headers=staff)
    text = await answer.text()
    assert answer.status == 201, text
    assert not any(secret in text for secret in shop.credentials().values())
    made = await answer.json()
    assert made["push_url"] == f"/v1/push/{made['id']}"
    return int(made["id"])


async def test_staff_bring_a_vendor_live(client: Client, staff: dict[str, str], shop: WooSandbox) -> None:
    connection = await connect(client, staff, shop)
    tried = await (await client.post(f"/v1/connections/{connection}/test", headers=staff)).json()
    said = {name: tried[name] for name in ("ok", "kind", "detail")}
    assert said == {"ok": True, "kind": "ok", "detail": "the vendor answers and its rows can be read"}
    shown = await (await client.post(f"/v1/connections/{connection}/preview", headers=staff)).json()
    assert len(shown["listings"]) == 20 and shown["listings"][0]["price"] == "9.90"
    assert shown["bad"][0]["vendor_sku"] == "BAD" and shown["bad"][0]["pointer"] == "/price"
    due = await client.post(f"/v1/connections/{connection}/sync", headers=staff)
    assert due.status == 202
    listed = await (await client.get("/v1/connections", headers=staff)).json()
    assert [item["id"] for item in listed["items"]] == [connection] and listed["next"] is None
    async with db.uow() as tx:
        audited = [row["action"] for row in await tx.fetch("SELECT action FROM audit ORDER BY id")]
    assert audited == ["vendor.add", "connection.add"]


async def test_a_test_says_what_to_mend(client: Client, staff: dict[str, str], shop: WooSandbox) -> None:
    connection = await connect(client, staff, shop)
    for faults, kind in ((Faults(deny=True), "Misconfigured"), (Faults(garbage=9), "Broken")):
        shop.faults = faults
        tried = await (await client.post(f"/v1/connections/{connection}/test", headers=staff)).json()
        assert (tried["ok"], tried["kind"]) == (False, kind) and tried["detail"]
        assert (await client.post(f"/v1/connections/{connection}/preview", headers=staff)).status == 502


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/vendors"),
        ("POST", "/v1/vendors"),
        ("GET", "/v1/connections"),
        ("POST", "/v1/connections"),
        ("POST", "/v1/connections/1/test"),
        ("POST", "/v1/connections/1/preview"),
        ("POST", "/v1/connections/1/sync"),
        ("GET", "/v1/sync-runs"),
        ("GET", "/v1/quarantine"),
    ],
)
async def test_only_staff_may(client: Client, database: db.Database, method: str, path: str) -> None:
    assert (await client.request(method, path)).status == 401
    async with db.uow() as tx:
        vendor = {"Authorization": "Bearer " + await keys.create_key(tx, "vendor", 1, "v")}
    assert (await client.request(method, path, headers=vendor)).status == 403


@pytest.mark.parametrize("path", ["99", "0", "-1", "x", "1e3", "9" * 30, "١"])
async def test_an_unknown_connection_is_not_found(client: Client, staff: dict[str, str], path: str) -> None:
    for action in ("test", "preview", "sync"):
        assert (await client.post(f"/v1/connections/{path}/{action}", headers=staff)).status == 404
    assert (await client.post(f"/v1/push/{path}", data=b"{}")).status == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"vendor_id": 99},
        {"connector": "nobody"},
        {"config": {"base_url": "http://10.0.0.1"}},
        {"secrets": {"consumer_key": 1}},
        {"role": "boss"},
        {"sync_every_s": 0},
        {"surprise": 1},
        {"name": ""},
    ],
)
async def test_a_wrong_connection_gets_a_problem_and_leaves_nothing(
    client: Client, staff: dict[str, str], shop: WooSandbox, wrong: dict[str, Any]
) -> None:
    vendor = await (await client.post("/v1/vendors", json={"name": "v"}, headers=staff)).json()
    good = {"vendor_id": vendor["id"], "connector": "woocommerce", "name": "n"}
    good |= {"config": {"base_url": shop.base_url}, "secrets": shop.credentials()}
    answer = await client.post("/v1/connections", json={**good, **wrong}, headers=staff)
    assert 400 <= answer.status < 500 and answer.content_type == "application/problem+json"
    assert shop.consumer_secret not in await answer.text()
    assert (await (await client.get("/v1/connections", headers=staff)).json())["items"] == []


async def test_lists_are_walked_with_next(client: Client, staff: dict[str, str], shop: WooSandbox) -> None:
    connection = await connect(client, staff, shop)
    async with db.uow() as tx:
        for n in range(5):
            await api.quarantine(tx, connection, None, [BadRow(reason=f"r{n}", raw="{}")])
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "2", "connection_id": str(connection), **({"cursor": cursor} if cursor else {})}
        page = await (await client.get("/v1/quarantine", params=query, headers=staff)).json()
        seen += [row["reason"] for row in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == ["r4", "r3", "r2", "r1", "r0"]
    for wrong in ({"limit": "0"}, {"limit": "201"}, {"cursor": "x"}, {"page": "2"}):
        assert (await client.get("/v1/quarantine", params=wrong, headers=staff)).status == 422


async def test_runs_are_shown(client: Client, staff: dict[str, str], shop: WooSandbox) -> None:
    connection = await connect(client, staff, shop)
    async with db.uow() as tx:
        run = await api.start_run(tx, connection, "full")
        await api.finish_run(tx, run.id, complete=False, unlisted=0, error="the vendor hung up")
    page = await (await client.get("/v1/sync-runs", params={"connection_id": connection}, headers=staff)).json()
    assert [(r["status"], r["error"]) for r in page["items"]] == [("failed", "the vendor hung up")]


async def test_a_shops_webhooks_land_once_doubled_and_shuffled(
    client: Client, staff: dict[str, str], shop: WooSandbox
) -> None:
    """Real HTTP, the shop's own signatures, each delivery twice and newest first."""
    connection = await connect(client, staff, shop)
    shop.faults = Faults(duplicate_webhooks=True, shuffle_webhooks=True)
    shop.webhooks_to = str(client.make_url(f"/v1/push/{connection}"))
    for quantity in (8, 5, 2):
        shop.set_stock("P1", quantity)
    await shop.flush_webhooks()
    assert shop.delivered == 6 and not shop.undelivered
    async with db.uow() as tx:
        rows = await tx.fetch("SELECT id FROM inbox")
        events = await tx.fetchval("SELECT count(*) FROM outbox WHERE type = 'PayloadLanded'")
        told = [(await api.landed(tx, row["id"]))[1].stock[0].on_hand for row in rows]
    assert sorted(told) == [2, 5, 8] and events == 3


async def test_what_a_push_gets_for_an_answer(client: Client, staff: dict[str, str], shop: WooSandbox) -> None:
    connection = await connect(client, staff, shop)
    push = shop.product_delivery("P1")
    path = f"/v1/push/{connection}"

    async def send(body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        answer = await client.post(path, data=io.BytesIO(body), headers=headers)
        return answer.status, (await answer.json()).get("result")

    assert await send(push.body, push.headers) == (200, "landed")
    assert await send(push.body, push.headers) == (200, "duplicate")
    assert await send(push.body + b"\n", push.headers) == (401, None)
    assert await send(push.body, {**push.headers, "X-WC-Webhook-Signature": ""}) == (401, None)
    ping = WooSandbox.ping()
    assert await send(ping.body, ping.headers) == (200, "ping")
    assert await send(b"x" * (BODY_LIMIT + 1), push.headers) == (413, None)
    async with db.uow() as tx:
        await api.rotate_secrets(tx, connection, {"webhook_secret": ""})
    assert await send(push.body, push.headers) == (404, None)


async def test_an_answer_comes_after_the_commit(
    client: Client, staff: dict[str, str], shop: WooSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that fails must make the vendor send again, not believe that we have it."""
    connection = await connect(client, staff, shop)

    async def fails(*_: Any) -> int:
        raise RuntimeError("disk full")

    monkeypatch.setattr(store, "land", fails)
    push = shop.product_delivery("P1")
    answer = await client.post(f"/v1/push/{connection}", data=push.body, headers=push.headers)
    assert answer.status == 500
