"""A protocol given as a setting is as strict as a manifest: each mistake is refused with its pointer when the
connection is made, nothing in it is evaluated, and what a connection cannot do is neither shown nor asked of it."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from connectors import api, base, guards, manifest, onboarding_web
from connectors import web as surface
from connectors.contracts import Capability
from connectors.described import of_connection
from connectors.directory import check_settings
from connectors.kit_stage import reachable
from connectors.rest_json.kit import examples
from connectors.rest_json.sandbox import PUSH_SECRET, TOKEN, RestSandbox
from hub.kernel import db, keys
from hub.kernel.errors import Misconfigured, Rejected
from hub.kernel.web import application
from orders.issuing import can_place

FOLDER = manifest.HOME / "rest_json"
WHOLE = examples(FOLDER)[0]["protocol"]
SECRETS = {"token": TOKEN, "push_secret": PUSH_SECRET}
GONE = object()
Client = TestClient[Any, Any]


def with_(place: str, value: Any) -> dict[str, Any]:
    """The whole example with another value at a place, or without what stands there."""
    protocol = copy.deepcopy(WHOLE)
    *steps, last = place.split("/")
    at = protocol
    for step in steps:
        at = at[step]
    if value is GONE:
        del at[last]
    else:
        at[last] = value
    return protocol


def check(protocol: Any, secrets: dict[str, str] | None = None, **config: Any) -> manifest.Manifest:
    settings = {"base_url": "https://vendor.example", "protocol": protocol, **config}
    return check_settings(manifest.manifest_of("rest_json"), settings, SECRETS if secrets is None else secrets)


def test_the_whole_example_is_accepted() -> None:
    made = check(WHOLE)
    assert made.secret_names == {"token", "push_secret"} and made.id == "rest_json"
    assert set(made.capabilities) == set(manifest.manifest_of("rest_json").capabilities)


@pytest.mark.parametrize(
    ("place", "value", "pointer", "says"),
    [
        ("shoes", 1, "/shoes", "no section 'shoes'"),
        ("id", "acme", "/id", "no section 'id'"),
        ("options", {}, "/options", "no section"),
        ("capabilities", ["issues_codes"], "/capabilities", "no section"),
        ("pull_listings/recrods", "data", "/pull_listings/recrods", "not permitted"),
        ("pull_listings/records", "data[", "/pull_listings/records", "JMESPath"),
        ("pull_listings", GONE, "/pull_listings", "how listings are pulled"),
        ("pull_listings/map/price", GONE, "/pull_listings/map", "needs price"),
        ("pull_listings/map/colour", "c", "/pull_listings/map", "no colour"),
        ("pull_listings/map/price", {"path": "p", "skale": 2}, "/pull_listings/map/price/skale", "not permitted"),
        ("pull_listings/params", {"lang": {"config": "lang"}}, "", "declare under config: lang"),
        ("pull_listings/get", "/v1/{shop}/products", "", "declare under config: shop"),
        ("pull_listings/get", "https://other.example/v1", "/pull_listings/get", "own address"),
        ("pull_listings/paginate/size", 0, "/pull_listings/paginate/size", "greater than or equal to 1"),
        ("auth", {"bearer": {"secret": "token"}, "query": {"name": "k", "secret": "token"}}, "/auth", "exactly one"),
        ("auth/bearer", {"secret": "a b"}, "/auth/bearer/secret", "pattern"),
        ("http/base_url", "https://other.example", "/http/base_url", "setting base_url"),
        ("http/rate", "five a second", "/http/rate", "write a rate"),
        ("http/headers", {"authorization": "Bearer x"}, "/http/headers/authorization", "as a secret"),
        ("http/timeout_s", "1e9", "/http/timeout_s", "less than or equal to 600"),
        ("config", {"protocol": {}}, "/config/protocol", "already"),
        ("config", {"token": {"title": "t"}}, "", "as secret: token"),
        ("config", {"token": {"secret": True, "default": "x"}}, "/config/token", "no default"),
        ("config", [], "/config", "is a map"),
        ("errors", [{"status": 409, "raise": "Explode"}], "/errors/0/raise", "Retry"),
        ("statuses", {"sent": "away"}, "/statuses/sent", "pending"),
        ("place_orders/find/get", "/v1/orders", "/place_orders/find/get", "{key}"),
        ("place_orders/find/get", "https://other.example/{key}", "/place_orders/find/get", "own address"),
        ("place_orders/find/match", GONE, "/place_orders/find", "match"),
        ("place_orders/find", GONE, "/place_orders/find", "Field required"),
        ("place_orders/body/reference", "note", "/place_orders/body", "send our number"),
        ("place_orders/receipt", {"status": "state"}, "/place_orders/receipt", "vendor_order_no"),
        ("push/topics/stock.changed/map/reported_at", GONE, "/push/topics/stock.changed/map", "reported_at"),
        ("push/id", GONE, "/push", "delivery's id"),
    ],
)
def test_a_mistake_is_refused_with_the_place_where_it_stands(place: str, value: Any, pointer: str, says: str) -> None:
    with pytest.raises(Rejected) as refused:
        check(with_(place, value))
    found = {fault.pointer: fault.detail for fault in refused.value.faults}
    assert f"/config/protocol{pointer}" in found, found
    assert any(says in detail for detail in found.values()), found


@pytest.mark.parametrize("protocol", [None, {}, [], "auth", 7])
def test_without_a_protocol_nothing_is_accepted(protocol: Any) -> None:
    with pytest.raises(Rejected) as refused:
        check(protocol)
    assert [fault.pointer for fault in refused.value.faults] == ["/config/protocol"]


@pytest.mark.parametrize(
    ("secrets", "says"),
    [
        ({}, "needs the secret token"),
        ({"token": ""}, "needs the secret token"),
        ({"token": TOKEN, "tokne": "x"}, "no secret tokne"),
    ],
)
def test_a_connection_brings_the_secrets_that_its_protocol_names_and_no_others(
    secrets: dict[str, str], says: str
) -> None:
    with pytest.raises(Rejected, match=says):
        check(WHOLE, secrets)


def test_the_secret_of_pushes_may_come_later() -> None:
    assert check(WHOLE, {"token": TOKEN}).push is not None


def test_every_secret_of_a_signature_is_asked_for() -> None:
    signed = {
        "algorithm": "hmac_sha256",
        "key": "app_secret",
        "params": {"app": {"secret": "app_key"}},
        "over": ["x", {"secret": "salt"}, {"params": {"secret_as": {"s": "pepper"}}}],
        "to": {"header": "X-Sign"},
    }
    made = check(with_("auth", {"signed": signed}), dict.fromkeys(("app_secret", "app_key", "salt", "pepper"), "x" * 8))
    assert made.secret_names == {"app_secret", "app_key", "salt", "pepper", "push_secret"}


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1/t", "http://169.254.169.254/t", "https://[::ffff:10.0.0.1]/t", "ftp://vendor.example/t"],
)
def test_addresses_inside_our_network_are_refused_wherever_they_stand(address: str) -> None:
    token = {"post": address, "form": {"client_secret": {"secret": "token"}}, "read": "access_token"}
    with pytest.raises(Rejected) as refused:
        check(with_("auth", {"token": token}))
    assert [fault.pointer for fault in refused.value.faults] == ["/config/protocol"]
    with pytest.raises(Rejected):
        check(WHOLE, base_url=address)


def test_a_token_may_come_from_another_host() -> None:
    token = {"post": "https://login.example/t", "form": {"s": {"secret": "token"}}, "read": "access_token"}
    assert check(with_("auth", {"token": token})).auth is not None


def test_nothing_is_evaluated() -> None:
    odd = {"a": "{{7*7}}", "b": "${jndi:ldap://x}", "c": "{config.__class__}"}
    made = check(with_("pull_listings/params", odd))
    assert made.pull_listings is not None and made.pull_listings.params == odd


def test_a_protocol_made_to_hurt_is_refused() -> None:
    deep: dict[str, Any] = {"sku": "vendor_sku"}
    for _ in range(5_000):
        deep = {"each": "lines", "map": deep}
    with pytest.raises(Rejected, match="nested more than"):
        check(with_("place_orders/body/items", deep))
    for odd in (float("nan"), {1, 2}, b"x"):
        with pytest.raises(Rejected, match="JSON"):
            check(with_("pull_listings/map/title", odd))


def test_a_setting_of_the_connection_itself_fills_paths_and_parameters() -> None:
    protocol = with_("config", {"shop": {"title": "Shop", "required": True}})
    protocol["pull_listings"]["get"] = "/v1/{shop}/products"
    check(protocol, shop="a/b")
    with pytest.raises(Rejected) as refused:
        check(protocol)
    assert [fault.pointer for fault in refused.value.faults] == ["/config/shop"]


def test_a_protocol_is_read_once() -> None:
    settings = {"base_url": "https://vendor.example", "protocol": WHOLE}
    assert of_connection("rest_json", settings) is of_connection("rest_json", copy.deepcopy(settings))
    other = {**settings, "protocol": with_("pull_listings/map/title", "sku")}
    assert of_connection("rest_json", other).digest != of_connection("rest_json", settings).digest


def test_a_connector_with_a_protocol_of_its_own_takes_none_from_settings() -> None:
    with pytest.raises(Misconfigured, match="no setting protocol"):
        base.build(manifest.HOME / "woocommerce", {"base_url": "https://x.example", "protocol": WHOLE}, {})


# In the hub ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def client(database: db.Database) -> AsyncIterator[Client]:
    guards.forget()
    routes = [*surface.routes.all, *onboarding_web.routes.all]
    async with TestClient(TestServer(application(routes, body_limit=16 * 2**20))) as made:
        yield made


@pytest.fixture
async def staff(database: db.Database) -> dict[str, str]:
    async with db.uow() as tx:
        return {"Authorization": "Bearer " + await keys.create_key(tx, "staff", None, "t")}


async def connect(protocol: Any, name: str = "rest", base_url: str = "https://vendor.example") -> int:
    secrets = {"token": TOKEN, **({"push_secret": PUSH_SECRET} if "push" in protocol else {})}
    async with db.uow() as tx:
        vendor = await api.add_vendor(tx, f"v-{name}")
        return await api.add_connection(
            tx, vendor_id=vendor, connector="rest_json", name=name, secrets=secrets,
            config={"base_url": base_url, "protocol": protocol},
        )  # fmt: skip


LISTS = {"auth": WHOLE["auth"], "pull_listings": WHOLE["pull_listings"]}


async def test_staff_describe_a_vendor_and_see_what_it_can_do(client: Client, staff: dict[str, str]) -> None:
    sandbox = RestSandbox()
    await sandbox.start()
    try:
        with reachable(sandbox):
            vendor = await (await client.post("/v1/vendors", json={"name": "一家店"}, headers=staff)).json()
            shown = []
            for protocol in (WHOLE, LISTS):
                wanted = {
                    "vendor_id": vendor["id"],
                    "connector": "rest_json",
                    "name": f"n{len(shown)}",
                    "config": {"base_url": sandbox.base_url, "protocol": protocol},
                    "secrets": {"token": TOKEN, **({"push_secret": PUSH_SECRET} if "push" in protocol else {})},
                }
                answer = await client.post("/v1/connections", json=wanted, headers=staff)
                text = await answer.text()
                assert answer.status == 201 and TOKEN not in text, text
                shown.append(json.loads(text))
            whole, lists = shown
            assert whole["push_url"] == f"/v1/push/{whole['id']}" and lists["push_url"] is None
            assert lists["capabilities"] == ["pulls_listings"] and len(whole["capabilities"]) == 5
            preview = await (await client.post(f"/v1/connections/{lists['id']}/preview", headers=staff)).json()
            assert len(preview["listings"]) == 20 and preview["drift"] == []
            push = sandbox.push("evt-1", 4, 1)
            for connection, status in ((whole, 200), (lists, 404)):
                path = f"/v1/push/{connection['id']}"
                assert (await client.post(path, data=push.body, headers=push.headers)).status == status
    finally:
        await sandbox.stop()


async def test_a_mistake_comes_back_as_a_problem_with_its_pointer(client: Client, staff: dict[str, str]) -> None:
    vendor = await (await client.post("/v1/vendors", json={"name": "v"}, headers=staff)).json()
    wanted = {
        "vendor_id": vendor["id"],
        "connector": "rest_json",
        "name": "n",
        "config": {"base_url": "https://vendor.example", "protocol": with_("pull_listings/map/price", GONE)},
        "secrets": SECRETS,
    }
    answer = await client.post("/v1/connections", json=wanted, headers=staff)
    problem = await answer.json()
    assert answer.status == 422 and answer.content_type == "application/problem+json"
    assert [fault["pointer"] for fault in problem["errors"]] == ["/config/protocol/pull_listings/map"]
    assert (await (await client.get("/v1/connections", headers=staff)).json())["items"] == []


async def test_orders_go_only_to_connections_that_can_place_them(database: db.Database) -> None:
    places, lists = await connect(WHOLE, "places"), await connect(LISTS, "lists")
    async with db.uow() as tx:
        assert await can_place(tx, places) and not await can_place(tx, lists)


async def test_what_the_next_pull_is_depends_on_the_connections_own_protocol(
    database: db.Database,
) -> None:
    plain = {**LISTS, "pull_listings": {n: p for n, p in WHOLE["pull_listings"].items() if n != "incremental"}}
    apart = {
        **plain,
        "pull_listings": {**plain["pull_listings"], "full_every_s": 3600},
        "pull_stock": WHOLE["pull_stock"],
    }
    connections = [await connect(p, f"c{n}") for n, p in enumerate((WHOLE, plain, apart))]
    for connection in connections:
        async with db.uow() as tx:
            run = await api.start_run(tx, connection, "full")
            await api.finish_run(tx, run.id, complete=True, unlisted=0, error=None)
    async with db.uow() as tx:
        assert [await api.next_sync_kind(tx, connection) for connection in connections] == [
            "incremental", "full", "stock"
        ]  # fmt: skip


async def test_a_description_that_is_no_longer_understood_can_do_nothing_and_hides_nobody(
    database: db.Database,
) -> None:
    broken, whole = await connect(WHOLE, "broken"), await connect(WHOLE, "whole")
    async with db.uow() as tx:
        settings = {"base_url": "https://vendor.example", "protocol": {**WHOLE, "retired": 1}}
        await tx.run("UPDATE connections SET config = $2 WHERE id = $1", broken, json.dumps(settings))
    async with db.uow() as tx:
        seen = {view.id: view.capabilities for view in await api.list_connections(tx)}
        assert seen[broken] == frozenset() and Capability.PLACES_ORDERS in seen[whole]
    tried = await api.try_connection(broken)
    assert (tried.ok, tried.kind) == (False, "Misconfigured") and "retired" in tried.detail


async def test_secrets_are_rotated_against_the_protocol(database: db.Database) -> None:
    connection = await connect(WHOLE)
    async with db.uow() as tx:
        await api.rotate_secrets(tx, connection, {"token": "another-token-99"})
        with pytest.raises(Rejected, match="needs the secret token"):
            await api.rotate_secrets(tx, connection, {"token": ""})
        with pytest.raises(Rejected, match="no secret key"):
            await api.rotate_secrets(tx, connection, {"key": "x"})
    async with api.open_connector(connection) as made:
        assert made.secret("token") == "another-token-99"
