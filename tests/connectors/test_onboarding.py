"""A vendor is brought to life in small steps: drafted, tested, looked at, mended, live; paused and changed later."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

import catalog.api
from connectors import api, onboarding_web
from connectors import web as surface
from connectors.kit_stage import reachable
from connectors.sandbox_kit import Faults
from connectors.woocommerce.sandbox import WooSandbox
from hub.app.wiring import FLOW
from hub.kernel import db, events, keys, store
from hub.kernel.web import application

Client = TestClient[Any, Any]


@pytest.fixture
async def client(database: db.Database) -> AsyncIterator[Client]:
    async with db.uow() as tx:
        key = await keys.create_key(tx, "staff", None, "t")
    routes = [*surface.routes.all, *onboarding_web.routes.all]
    headers = {"Authorization": "Bearer " + key}
    async with TestClient(TestServer(application(routes, body_limit=2**20)), headers=headers) as made:
        yield made


@pytest.fixture
async def shop() -> AsyncIterator[WooSandbox]:
    products = [{"sku": f"P{n}", "name": f"商品 {n}", "price": "9.90", "stock": 9} for n in range(30)]
    sandbox = WooSandbox([{"sku": "BAD", "name": "x", "price": "-1"}, *products])
    await sandbox.start()
    with reachable(sandbox):
        yield sandbox
    await sandbox.stop()


async def draft(client: Client, shop: WooSandbox, **changes: Any) -> int:
    vendor = await (await client.post("/v1/vendors", json={"name": "一家店"})).json()
    wanted = {
        "vendor_id": vendor["id"], "connector": "woocommerce", "name": "shop", "draft": True,
        "config": {"base_url": shop.base_url}, "secrets": shop.credentials(), **changes,
    }  # fmt: skip
    answer = await client.post("/v1/connections", json=wanted)
    made = await answer.json()
    assert answer.status == 201 and made["status"] == "draft", made
    return int(made["id"])


async def test_a_draft_is_tested_and_looked_at_and_pulled_once_it_is_live(client: Client, shop: WooSandbox) -> None:
    c = await draft(client, shop)
    async with db.uow() as tx:
        assert await api.due_connections(tx) == []
    tested = await (await client.post(f"/v1/connections/{c}/test")).json()
    assert tested["ok"] and [(s["name"], s["ok"]) for s in tested["steps"]][:3] == [
        ("settings", True), ("answer", True), ("rows", True)
    ]  # fmt: skip
    shown = await (await client.post(f"/v1/connections/{c}/preview")).json()
    assert len(shown["rows"]) == 20
    assert shown["rows"][0]["problem"] and shown["rows"][0]["vendor_sku"] == "BAD", "problems first"
    good = shown["rows"][5]
    assert good["mapped"]["title"] in good["raw"] and good["problem"] is None
    assert (await client.post(f"/v1/connections/{c}/pause")).status == 409
    assert (await (await client.post(f"/v1/connections/{c}/live")).json())["status"] == "live"
    async with db.uow() as tx:
        assert [due.connection_id for due in await api.due_connections(tx)] == [c]


async def test_what_does_not_work_is_said_with_who_can_mend_it(client: Client, shop: WooSandbox) -> None:
    c = await draft(client, shop)
    shop.faults = Faults(deny=True)
    tested = await (await client.post(f"/v1/connections/{c}/test")).json()
    wrong = [step for step in tested["steps"] if not step["ok"]]
    assert (tested["ok"], tested["kind"], wrong[0]["name"], wrong[0]["who"]) == (
        False,
        "Misconfigured",
        "answer",
        "you",
    )
    shop.faults = Faults(garbage=9)
    tested = await (await client.post(f"/v1/connections/{c}/test")).json()
    wrong = [step for step in tested["steps"] if not step["ok"]]
    assert (tested["kind"], wrong[0]["who"]) == ("Broken", "the vendor")


async def test_settings_and_secrets_are_mended_one_by_one_and_never_shown(client: Client, shop: WooSandbox) -> None:
    c = await draft(client, shop, secrets={**shop.credentials(), "consumer_secret": "cs_wrong_wrong"})
    assert not (await (await client.post(f"/v1/connections/{c}/test")).json())["ok"]
    right = shop.credentials()["consumer_secret"]
    answer = await client.patch(f"/v1/connections/{c}", json={"secrets": {"consumer_secret": right}})
    text = await answer.text()
    assert answer.status == 200 and right not in text and "cs_wrong" not in text
    assert (await (await client.post(f"/v1/connections/{c}/test")).json())["ok"]
    config = {"base_url": shop.base_url, "per_page": 50}
    changed = await (
        await client.patch(f"/v1/connections/{c}", json={"config": config, "name": "main", "sync_every_s": 60})
    ).json()
    assert (changed["config"], changed["name"], changed["sync_every_s"]) == (config, "main", 60)
    assert "consumer_secret" in changed["secrets"]
    refused = await client.patch(f"/v1/connections/{c}", json={"config": {"base_url": "http://127.0.0.1:1/"}})
    assert refused.status == 422 and (await refused.json())["errors"][0]["pointer"] == "/config/base_url"
    assert (await (await client.get(f"/v1/connections/{c}")).json())["config"] == config
    async with db.uow() as tx:
        told = [row["facts"] for row in await store.audit_rows(tx) if row["action"] == "connection.change"]
    assert told[1] == {"changed": ["name", "sync_every_s", "config.per_page"]}


async def test_a_paused_connection_leaves_the_catalogue_and_comes_back(client: Client, shop: WooSandbox) -> None:
    c = await draft(client, shop)
    await client.post(f"/v1/connections/{c}/live")
    await catalog.api.sync(c)
    for action, listed in (("pause", False), ("live", True)):
        assert (await client.post(f"/v1/connections/{c}/{action}")).status == 200
        await events.drain(FLOW)
        async with db.uow() as tx:
            found = {row[0] for row in await tx.fetch("SELECT DISTINCT listed FROM catalog_products")}
        assert found == {listed}


async def test_every_connector_is_described_with_its_settings(client: Client) -> None:
    items = (await (await client.get("/v1/connectors")).json())["items"]
    found = {item["id"]: item for item in items}
    assert "woocommerce" in found and all(item["problem"] is None for item in items)
    assert {s["name"] for s in found["woocommerce"]["settings"] if s["secret"]} >= {"consumer_key", "consumer_secret"}
    assert (await client.get("/v1/connections/4711")).status == 404
    assert (await client.patch("/v1/connections/x", json={})).status == 404
