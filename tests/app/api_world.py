"""The whole application with the life of two malls and two vendors in it. Everything was made through the application's
own routes, pulls and events, so that rows exist wherever real use puts them. Whatever belongs to one tenant alone
carries a mark: a word that no other tenant may ever read."""

from __future__ import annotations

import base64
import contextlib
import csv
import hmac
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

import catalog.api
import catalog.web
import connectors.api
import orders.api
import pricing.api
import pricing.cases
from catalog import landing
from catalog.batching import Batch
from connectors.contracts import ListingIn, SlotIn
from fulfillment.emergency import api as emergency
from hub.app import wiring
from hub.app.web import _problems
from hub.kernel import clock, db, events, keys, store, tasks
from hub.kernel.db import metadata, uow
from hub.kernel.settings import reset_settings, settings
from hub.kernel.web import application
from orders.settlement.rules import day_of
from pricing.contracts import Policy
from pricing.parity import STANDING

SHARED_GTIN = "6901234567892"
HOOK = {"A": "hook-of-vendor-a", "B": "hook-of-vendor-b"}
ITEM = "毛巾 towel"  # what is scarce in the incident
SHARED_SKU = "S1"  # both vendors call a listing so
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Reply:
    """What came back, read to the end."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def text(self) -> str:
        return self.raw.decode("utf-8", "replace")

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def media(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0]


@dataclass
class Tenant:
    """A mall or a vendor: its key, what belongs to it alone, and names for ids that a test uses."""

    scope: str
    letter: str
    id: int
    name: str
    headers: dict[str, str]
    marks: set[str] = field(default_factory=set)
    ids: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Deal:
    """One order: whose it is, which vendors serve it, what names it, and the recipient's own words in it."""

    mall: str
    vendors: frozenset[str]
    marks: frozenset[str]
    personal: frozenset[str]


class World:
    """See the module's text. `malls` and `vendors` are called A and B."""

    def __init__(self, client: TestClient[Any, Any]) -> None:
        self.client = client
        self.malls: dict[str, Tenant] = {}
        self.vendors: dict[str, Tenant] = {}
        self.staff: dict[str, str] = {}
        self.revoked: dict[str, str] = {}
        self.ids: dict[str, str] = {}  # of what belongs to nobody: products, listings, cases, clinics
        self.deals: list[Deal] = []

    @property
    def tenants(self) -> list[Tenant]:
        return [*self.malls.values(), *self.vendors.values()]

    # -- calling

    async def call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        raw: bytes | None = None,
        encoded: bool = False,
    ) -> Reply:
        """One request; `raw` goes out as it is, `body` as JSON. `encoded`: the path is not quoted again."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if data is not None else {}
        url = URL(path, encoded=encoded)
        async with self.client.request(method, url, data=data, headers={**sent, **(headers or {})}) as answer:
            return Reply(answer.status, answer.headers.copy(), await answer.read())

    async def good(self, method: str, path: str, headers: Mapping[str, str], body: Any = None) -> Any:
        """The answer of a request that must succeed."""
        reply = await self.call(method, "/v1" + path, headers, body)
        assert reply.status < 300, f"{method} {path}: {reply.status} {reply.text}"
        return reply.json

    def letter(self, mall: Tenant, lines: list[dict[str, Any]], mode: str = "place") -> tuple[dict[str, Any], Deal]:
        """The body of an order whose every word carries the mall's mark, and what to look for afterwards."""
        number = next(_numbers)
        mark = f"{mall.name}-{number:05}"
        personal = {"name": f"收件人{mark}", "phone": f"137{number:08}", "address": f"路{mark}"}
        place = {"province": f"省{mark}", "city": f"市{mark}", "district": f"区{mark}"}
        body = {"mall_order_no": f"NO-{mark}", "mode": mode, "ship_to": {**place, **personal}, "lines": lines}
        deal = Deal(mall.letter, frozenset(), frozenset({mark}), frozenset(personal.values()))
        return body, deal

    async def order(self, mall: Tenant, *vendors: Tenant, what: str, mode: str = "place") -> dict[str, Any]:
        """An order of the mall for one unit of `what` of each vendor."""
        lines = [{"listing_id": v.ids[f"listing:{what}-{v.name}"], "qty": 1} for v in vendors]
        body, deal = self.letter(mall, lines, mode)
        headers = {**mall.headers, "Idempotency-Key": f"key of {body['mall_order_no']}"}
        made: dict[str, Any] = await self.good("POST", "/orders", headers, body)
        mall.marks |= {po["id"] for po in made["purchase_orders"]}
        self.deals.append(replace(deal, vendors=frozenset(v.letter for v in vendors), marks=deal.marks | {made["id"]}))
        return made

    async def work(self) -> None:
        """What the workers do: events, then calls of vendors, then the events these made."""
        await events.drain(wiring.FLOW, width=1)
        await orders.api.place_due(concurrency=1)
        await events.drain(wiring.FLOW, width=1)

    def demand(self, tenant: Tenant | None, quantity: int) -> dict[str, Any]:
        """What a site that is nobody else's asks for in the incident."""
        number = next(_numbers)
        mark = f"{tenant.name}-{number:05}" if tenant is not None else f"site {number:05}"
        return {
            "site": f"楼{mark}", "item": ITEM, "quantity": quantity, "area": tenant.letter if tenant else "A",
            "headcount": 10, "contact": f"联系人{mark}", "phone": f"136{number:08}", "address": f"弄{mark}",
        }  # fmt: skip

    async def pos(self, vendor: Tenant) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await self.good("GET", "/vendor/orders?limit=200", vendor.headers))["items"]
        return items

    async def po_of(self, vendor: Tenant, order: Mapping[str, Any]) -> dict[str, Any]:
        """The vendor's purchase order of this order."""
        ids = {po["id"] for po in order["purchase_orders"]}
        return next(po for po in await self.pos(vendor) if po["id"] in ids)

    def signed(self, letter: str, body: bytes, delivery: str) -> dict[str, str]:
        """Headers of a push that vendor `letter`'s system signed."""
        mac = base64.b64encode(hmac.digest(HOOK[letter].encode(), body, "sha256")).decode()
        return {
            "X-WC-Webhook-Signature": mac, "X-WC-Webhook-Topic": "product.updated",
            "X-WC-Webhook-Delivery-ID": delivery, "X-WC-Webhook-ID": "1",
        }  # fmt: skip


@contextlib.asynccontextmanager
async def living_world(schema: str) -> AsyncIterator[World]:
    """The world on an empty database, for all tests of a module: building it for each would take longer than they do.
    They leave each other's things alone; what uses things up comes last."""
    reset_settings()
    keys._cache.clear()
    tasks.install(None)
    db.connect(schema, settings())
    names = ", ".join(f'"{table.name}"' for table in metadata.sorted_tables)
    try:
        async with uow() as tx:
            await tx.run(f"TRUNCATE {names} RESTART IDENTITY CASCADE")
        async with serving() as client:
            yield await build(client)
    finally:
        await db.disconnect()


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[TestClient[Any, Any]]:
    """The application as `create_app` makes it, on the test's database; its streams end after one look."""
    pricing.api.count_live_listings_with(catalog.api.live_listings)
    pricing.api.forget_held()
    app = application(wiring.ROUTES, body_limit=settings().body_limit_bytes, middlewares=[_problems])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog.web, "STREAM_S", 0.0)
        async with TestClient(TestServer(app, access_log=None), cookie_jar=None) as client:
            yield client


def pushed_product(sku: str, title: str) -> bytes:
    """A product as WooCommerce pushes it."""
    product = {
        "id": 501, "name": title, "sku": sku, "type": "simple", "status": "publish", "price": "12.00",
        "manage_stock": True, "stock_quantity": 4, "stock_status": "instock",
        "date_modified_gmt": "2026-03-01T08:00:00",
    }  # fmt: skip
    return json.dumps(product).encode()


async def build(client: TestClient[Any, Any]) -> World:
    """Two malls, two vendors, staff, and something of everything."""
    world = World(client)
    async with uow() as tx:
        world.staff = _bearer(await keys.create_key(tx, "staff", None, "staff"))
        world.revoked = _bearer(await keys.create_key(tx, "staff", None, "gone"))
        await tx.run("UPDATE api_keys SET revoked_at = now() WHERE name = 'gone'")
        for letter in "AB":
            name = f"mark-mall-{letter.lower()}"
            mall_id = await store.add_mall(tx, name)
            headers = _bearer(await keys.create_key(tx, "mall", mall_id, name))
            world.ids["mall"] = str(mall_id)
            world.malls[letter] = Tenant("mall", letter, mall_id, name, headers, {name})
    for letter in "AB":
        await _vendor(world, letter)
    await _clinic(world)
    await _pool(world)
    world.ids["carrier"] = "fedex"
    await _prices(world)
    await _hooks(world)
    await _twins(world)
    await _orders(world)
    await _held(world)
    await _settled(world)
    await _incidents(world)
    await _codes(world)
    await _after_sales(world)
    await _rules(world)
    return world


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def _hooks(world: World) -> None:
    """Everybody wants to be told."""
    for tenant in world.tenants:
        for name in ("hook", "hook:to_remove"):
            asked = {"url": f"https://hooks.example/{tenant.name}", "description": f"{name} of {tenant.name}"}
            made = await world.good("POST", "/webhook-endpoints", tenant.headers, asked)
            tenant.ids[name] = made["id"]
            tenant.marks |= {made["id"], made["secret"]}


async def _vendor(world: World, letter: str) -> None:
    """A vendor with a feed of its own and one of pushes. The names of vendors and goods are public to malls, but no
    business of another vendor."""
    name = f"mark-vendor-{letter.lower()}"
    made = await world.good("POST", "/vendors", world.staff, {"name": f"{name} 商行", "name_en": f"{name} Ltd"})
    feeds = settings().data_dir / "feeds"
    feeds.mkdir(parents=True, exist_ok=True)
    _write_feed(feeds / f"{name}.csv", letter, name)
    columns = ("vendor_sku", "title", "gtin", "price", "on_hand", "category")
    feed = {
        "vendor_id": made["id"], "connector": "table_feed", "name": f"feed of {name}",
        "config": {"file": f"{name}.csv", "map": {column: column for column in columns}},
    }  # fmt: skip
    connection = await world.good("POST", "/connections", world.staff, feed)
    hooks = {
        "vendor_id": made["id"], "connector": "woocommerce", "name": f"pushes of {name}",
        "config": {"base_url": "https://shop.example"},
        "secrets": {"consumer_key": "ck", "consumer_secret": "cs", "webhook_secret": HOOK[letter]},
    }  # fmt: skip
    pushes = await world.good("POST", "/connections", world.staff, hooks)
    carrier = {
        "vendor_id": made["id"], "connector": "carrier_push", "name": f"carrier of {name}",
        "config": {"carrier": "fedex", "header": "X-WC-Webhook-Signature", "encoding": "base64"},
        "secrets": {"secret": HOOK[letter]},
    }  # fmt: skip
    scans = await world.good("POST", "/connections", world.staff, carrier)
    outcome = await catalog.api.sync(connection["id"], kind="full")
    assert (outcome.created, outcome.quarantined, outcome.error) == (4, 1, None), outcome
    async with uow() as tx:
        headers = _bearer(await keys.create_key(tx, "vendor", made["id"], name))
    vendor = world.vendors[letter] = Tenant("vendor", letter, made["id"], name, headers, {name})
    spare = {**feed, "name": f"spare of {name}", "config": {**feed["config"], "file": "nothing-yet.csv"}}
    vendor.ids |= {"connection": str(connection["id"]), "pushes": str(pushes["id"])}
    vendor.ids["carrier_account"] = str(scans["id"])
    vendor.ids["spare"] = str((await world.good("POST", "/connections", world.staff, spare))["id"])
    async with uow() as tx:
        for row in await tx.fetch(
            "SELECT id, product_id, vendor_sku FROM catalog_listings WHERE connection_id = $1", connection["id"]
        ):
            vendor.ids[f"listing:{row['vendor_sku']}"] = f"lst_{row['id']}"
            vendor.ids[f"product:{row['vendor_sku']}"] = f"prd_{row['product_id']}"


def _write_feed(path: Path, letter: str, name: str) -> None:
    rows = [
        (SHARED_SKU, "口罩 mask", SHARED_GTIN, "9.90" if letter == "A" else "19.90", 500, "masks"),
        (f"OWN-{name}", f"{name} 热水壶 kettle", "", "50", 500, "kettles"),
        (f"REST-{name}", f"{name} 毛巾 towel", "", "20", 500, "towels"),
        (f"FEW-{name}", f"{name} 茶 tea", "", "30", 1, "tea"),
        (f"BAD-{name}", f"{name} 坏", "", "-1", 1, "masks"),
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("vendor_sku", "title", "gtin", "price", "on_hand", "category"), *rows])


async def _clinic(world: World) -> None:
    """A service of vendor A with a free slot."""
    async with uow() as tx:
        view = await connectors.api.get_connection(tx, int(world.vendors["A"].ids["connection"]))
        service = ListingIn.model_validate(
            {"vendor_sku": "CLINIC", "title": "体检 check-up", "kind": "service", "mode": "appointment", "price": "300",
             "city": "上海", "department": "体检科"}
        )  # fmt: skip
        batch = Batch.pushed([service], [], tx.now)
        start = tx.now + timedelta(days=2)
        batch.slots = [
            SlotIn(vendor_sku="CLINIC", slot_ref=f"Slot/{n}", start=start + timedelta(hours=n),
                   end=start + timedelta(hours=n, minutes=20), free=True, version="1", city="上海",
                   department="体检科", reported_at=tx.now)
            for n in range(8)
        ]  # fmt: skip
        await landing.land(tx, view, batch, None)
        product_id = await tx.fetchval("SELECT product_id FROM catalog_listings WHERE vendor_sku = 'CLINIC'")
    world.ids["clinic"] = f"prd_{product_id}"
    slots = await world.good("GET", f"/clinics/prd_{product_id}/slots", world.malls["A"].headers)
    world.ids |= {"slot": slots["items"][0]["id"], "other_slot": slots["items"][1]["id"]}
    world.ids["slots"] = " ".join(item["id"] for item in slots["items"])


async def _pool(world: World) -> None:
    """A pool of each vendor with codes in it."""
    for letter, vendor in world.vendors.items():
        pool = {
            "vendor_id": vendor.id, "connector": "voucher_pool", "name": f"codes of {vendor.name}",
            "config": {"skus": {f"SPA-{vendor.name}": {"title": f"{vendor.name} 水疗 spa", "price": "268"}}},
        }  # fmt: skip
        vendor.ids["pool"] = str((await world.good("POST", "/connections", world.staff, pool))["id"])
        codes = [{"code": f"CODE-{letter}-{n:06}"} for n in range(3)]
        taken = await world.good("POST", f"/connections/{vendor.ids['pool']}/codes", world.staff, {"codes": codes})
        assert taken["taken"] == 3, taken
        outcome = await catalog.api.sync(int(vendor.ids["pool"]), kind="full")
        assert outcome.created == 1, outcome
        async with uow() as tx:
            listing = await tx.fetchval("SELECT id FROM catalog_listings WHERE vendor_sku = $1", f"SPA-{vendor.name}")
        vendor.ids[f"listing:SPA-{vendor.name}"] = f"lst_{listing}"
    world.ids["pool"] = world.vendors["A"].ids["pool"]


async def _prices(world: World) -> None:
    """Mall A holds what is too dear, mall B only observes; vendor B's shared product is too dear."""
    product = world.vendors["A"].ids[f"product:{SHARED_SKU}"]
    assert product == world.vendors["B"].ids[f"product:{SHARED_SKU}"]
    policy = {"mall_id": world.malls["A"].id, "action": "hold", "threshold_pct": "5", "gross_pct": "20"}
    await world.good("PUT", "/parity/policies", world.staff, policy)
    async with uow() as tx:
        seen = (tx.now - timedelta(minutes=1)).isoformat()
    evidence = {"source": "market", "url": "https://market.example/1", "captured_at": seen}
    observed = {"product_id": product, "price": "9.90", "evidence": evidence}
    await world.good("POST", "/references", world.staff, {"references": [observed]})
    await world.work()
    [case] = (await world.good("GET", "/parity/cases?status=open", world.staff))["items"]
    assert case["listing_id"] == world.vendors["B"].ids[f"listing:{SHARED_SKU}"]
    world.ids |= {"case": case["id"], "product": product, "listing": case["listing_id"]}
    await _more_to_decide(world)


async def _twins(world: World) -> None:
    """Both vendors describe a few things in their own words: pairs for people, one decided, and products that were put
    together and will be."""
    lamp, stick, code = "Lumex Forte X{}37 desk lamp", "SanDisk Ultra SDCZ{} USB flash drive 64GB", "6901234567908"
    for letter, other in (("A", False), ("B", True)):
        dear = "100" if other else "10"
        rows = [
            *({"sku": f"LAMP-{letter}{n}", "title": lamp.format(n), "price": dear} for n in range(2)),
            *({"sku": f"STICK-{letter}{n}", "title": stick.format(50 + n), "price": dear} for n in range(2)),
            {"sku": f"TWIN-{letter}", "title": "同码商品", "price": "9", "gtin": code},
        ]
        given = {"listings": [{**row, "on_hand": 5} for row in rows]}
        answer = await world.good("POST", "/vendor/listings", world.vendors[letter].headers, given)
        assert {r["result"] for r in answer["results"]} == {"applied"}, answer
    await world.work()
    await catalog.api.match_due()
    queue = (await world.good("GET", "/matches", world.staff))["items"]
    by_sku = {pair["left"]["vendor_sku"]: pair for pair in queue}
    assert len(queue) == 4, queue
    world.ids |= {"match": by_sku["LAMP-A0"]["id"], "match_seen": by_sku["LAMP-A0"]["seen"]}
    said = {"verdict": "different", "seen": by_sku["LAMP-A1"]["seen"], "why": "looked at both"}
    decided = await world.good("POST", f"/matches/{by_sku['LAMP-A1']['id']}/decide", world.staff, said)
    world.ids |= {"decided_match": decided["id"], "decided_match_seen": decided["seen"]}
    sticks = [by_sku[f"STICK-A{n}"] for n in range(2)]
    world.ids |= {"merging": sticks[0]["right"]["product_id"], "merging_into": sticks[0]["left"]["product_id"]}
    into = {"into": sticks[1]["left"]["product_id"], "why": "one thing"}
    entry = await world.good("POST", f"/products/{sticks[1]['right']['product_id']}/merge", world.staff, into)
    world.ids["regrouping"] = entry["id"]
    found = await world.good("POST", "/products/lookup", world.staff, {"gtins": [code]})
    (twin,) = found["items"]
    world.ids |= {"splitting": twin["id"], "splitting_listing": twin["offers"][0]["listing_id"]}


async def _orders(world: World) -> None:
    """Each mall buys from its namesake vendor, several times; mall A once from both vendors at once."""
    for letter in "AB":
        mall, vendor = world.malls[letter], world.vendors[letter]
        names = ("to_accept", "to_reject", "to_cancel", "to_withdraw", "to_ship", "shipped")
        made = {what: await world.order(mall, vendor, what="OWN") for what in names}
        mall.ids |= {f"order:{what}": order["id"] for what, order in made.items()}
        mall.ids["order:reserved"] = (await world.order(mall, vendor, what="OWN", mode="reserve"))["id"]
        await world.work()
        for what, order in made.items():
            await _served(world, vendor, order, what)
        for what in ("to_withdraw", "to_ship", "shipped"):
            body = {"vendor_order_no": f"VO-{vendor.name}-{what}"}
            await world.good("POST", f"/vendor/orders/{vendor.ids[f'po:{what}']}/accept", vendor.headers, body)
        parcel = {"carrier": "sf", "tracking_no": f"TRACK-{vendor.name}"}
        ship = f"/vendor/orders/{vendor.ids['po:shipped']}/ship"
        await world.good("POST", ship, vendor.headers, {"parcels": [parcel]})
        await world.work()
        async with uow() as tx:
            scan = {**parcel, "status": "delivered", "event_at": tx.now.isoformat(), "place": f"place of {mall.name}"}
        [result] = (await world.good("POST", "/tracking-events", world.staff, {"events": [scan]}))["results"]
        assert result["result"] == "applied", result
        pair = [world.ids["slots"].split()[n] for n in ((3, 4) if letter == "A" else (5, 6))]
        body, deal = world.letter(mall, [{"slot_id": pair[0]}], "reserve")
        headers = {**mall.headers, "Idempotency-Key": f"slot of {mall.name}"}
        held = await world.good("POST", "/orders", headers, body)
        world.deals.append(replace(deal, marks=deal.marks | {held["id"]}))
        mall.ids |= {"order:slot": held["id"], "target": pair[1]}
    mall = world.malls["A"]
    split = await world.order(mall, *world.vendors.values(), what="REST")
    mall.ids["order:split"] = split["id"]
    await world.work()
    for vendor in world.vendors.values():
        await _served(world, vendor, split, "split")


async def _held(world: World) -> None:
    """Each mall has two orders that its rule holds."""
    for letter in "AB":
        mall = world.malls[letter]
        rule = {"name": "large", "kind": "large_value", "amount": "10", "action": "hold"}
        for amount, names in (("10", ("to_release", "to_refuse")), ("1000000", ())):
            rules = {"mall_id": mall.id, "rules": [{**rule, "amount": amount}]}
            await world.good("PUT", "/review-rules", world.staff, rules)
            for what in names:
                held = await world.order(mall, world.vendors[letter], what="REST")
                assert held["held_until"] and not held["purchase_orders"], held
                world.ids[f"review:{what}"] = held["id"]


async def _settled(world: World) -> None:
    """Each vendor has sent a list with an order that nobody knows; each party has terms, an adjustment and a
    statement of this month, issued as if the month were over."""
    real = clock.now
    this_month = day_of(real())
    world.ids["month"] = f"{this_month:%Y-%m}"
    for vendor in world.vendors.values():
        rows = [f"{vendor.name}-row-{n},10,{vendor.name}" for n in range(3)]
        text = "\n".join(["采购单号,金额,备注", f"{next(iter(await world.pos(vendor)))['number']},50,", *rows])
        sent = {**vendor.headers, "Content-Type": "text/csv"}
        reply = await world.call("POST", "/v1/vendor/settlements/lists", sent, raw=text.encode())
        assert [row["result"] for row in reply.json["results"]] == ["matched", *["quarantined"] * 3], reply.text
        day = str(this_month - timedelta(days=1))
        await world.good("POST", "/settlements/runs", world.staff, {"vendor_id": vendor.id, "day": day})
        terms = {"vendor_id": vendor.id, "valid_from": day, "late_per": "line", "late_share": "0.01", "agreed": "§ 7"}
        await world.good("POST", "/settlements/terms", world.staff, terms)
        kept = await world.good("GET", f"/settlements/rows?vendor={vendor.id}", world.staff)
        vendor.ids |= {f"str:{name}": row["id"] for name, row in zip(("one", "two"), kept["items"], strict=False)}
        found = await world.good("GET", f"/settlements/cases?vendor={vendor.id}", world.staff)
        vendor.ids["stc:one"] = found["items"][2]["id"]
    for tenant in world.tenants:
        party = {f"{tenant.scope}_id": tenant.id}
        reason = {"reason": f"{tenant.name} was in the right", "kind": "refund", "amount": "-0.50"}
        key = {**world.staff, "Idempotency-Key": f"adjust {tenant.name}"}
        await world.good("POST", "/settlements/adjustments", key, {**party, **reason})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clock, "now", lambda: real() + timedelta(days=40))
            drafted = await world.good(
                "POST", "/settlements/statements", world.staff, {**party, "month": world.ids["month"]}
            )
            [statement] = drafted["items"]
            await world.good("POST", f"/settlements/statements/{statement['id']}/issue", world.staff)
        assert statement["net"].rstrip("0") in ("49.5", "-0.5"), statement
        tenant.ids["stm:issued"] = statement["id"]


async def _codes(world: World) -> None:
    """Each mall buys a code of its namesake vendor and sees it."""
    for letter, mall in world.malls.items():
        vendor = world.vendors[letter]
        order = await world.order(mall, vendor, what="SPA")
        await world.work()
        po = await world.po_of(vendor, order)
        vendor.marks |= {po["id"], po["number"]}
        mall.ids["order:codes"] = order["id"]
        shown = await world.good("POST", f"/orders/{order['id']}/codes/reveal", mall.headers)
        mall.marks |= {code["code"] for code in shown["codes"]}


async def _after_sales(world: World) -> None:
    """Each mall got a parcel with twenty units and is not pleased with all of them."""
    for letter, mall in world.malls.items():
        vendor = world.vendors[letter]
        body, deal = world.letter(mall, [{"listing_id": vendor.ids[f"listing:OWN-{vendor.name}"], "qty": 20}])
        made = await world.good("POST", "/orders", {**mall.headers, "Idempotency-Key": f"cases {letter}"}, body)
        mall.marks |= {po["id"] for po in made["purchase_orders"]}
        world.deals.append(replace(deal, vendors=frozenset(letter), marks=deal.marks | {made["id"]}))
        mall.ids["order:cases"] = made["id"]
        await world.work()
        await _served(world, vendor, made, "cases")
        await world.good("POST", f"/vendor/orders/{vendor.ids['po:cases']}/accept", vendor.headers)
        parcel = {"carrier": "sf", "tracking_no": f"CASES-{vendor.name}"}
        await world.good("POST", f"/vendor/orders/{vendor.ids['po:cases']}/ship", vendor.headers, {"parcels": [parcel]})
        async with uow() as tx:
            await orders.api.delivered(tx, uuid.UUID(vendor.ids["po:cases"].removeprefix("po_")))
        for what, kind in (("open", "refund"), ("sent", "return"), ("withdrawn", "refund"), ("staff", "refund"),
                           ("replaced", "refund"), ("paid", "refund")):  # fmt: skip
            wish = {"line_no": 1, "qty": 1, "kind": kind, "reason": f"broken for {mall.name}"}
            headers = {**mall.headers, "Idempotency-Key": f"case {what} {letter}"}
            case = (await world.good("POST", f"/orders/{made['id']}/after-sales", headers, wish))["id"]
            mall.ids[f"asc:{what}"] = vendor.ids[f"asc:{what}"] = case
            if what in ("sent", "replaced", "paid"):
                await world.good("POST", f"/after-sales/{case}/decide", world.staff, {"event": "approve"})
    mine = world.malls["A"].ids
    world.ids |= {"asc": mine["asc:staff"], "asc_paid": mine["asc:paid"], "asc_replaced": mine["asc:replaced"]}


async def _rules(world: World) -> None:
    """What staff set for ordering."""
    quota = {"listing_id": world.ids["listing"], "units": 100_000, "window_s": 3600}
    policy = {"mall_id": world.malls["A"].id, "price": 1, "parcels": "0.1"}
    world.ids["policy"] = str((await world.good("PUT", "/routing/policies", world.staff, policy))["mall_id"])
    world.ids["order"] = world.malls["A"].ids["order:shipped"]
    world.ids["quota"] = str((await world.good("PUT", "/quotas", world.staff, quota))["id"])


async def _served(world: World, vendor: Tenant, order: Mapping[str, Any], what: str) -> None:
    """The vendor finds its part of the order in its portal."""
    po = await world.po_of(vendor, order)
    assert po["status"] == "awaiting_vendor", po
    vendor.ids[f"po:{what}"] = po["id"]
    vendor.marks |= {po["id"], po["number"]}


async def written() -> str:
    """How far the write-ahead log has come: where it has not moved, no table has changed."""
    async with uow() as tx:
        return str(await tx.fetchval("SELECT pg_current_wal_insert_lsn()::text"))


async def _incidents(world: World) -> None:
    """An incident in which both malls have asked and were served, each by its namesake vendor; one to close; and one
    with nothing but a plan to approve."""
    async with uow() as tx:
        second = _bearer(await keys.create_key(tx, "staff", None, "second of staff"))
    item = {"name": ITEM, "per_head": 2}
    made = {}
    for what, access in (("incident", "public"), ("incident_to_close", "companies"), ("incident_spare", "companies")):
        body = {"title": what, "area": "徐汇", "items": [item], "access": access}
        made[what] = await world.good("POST", "/incidents", world.staff, body)
        world.ids[what] = str(made[what]["id"])
    world.ids["zone_code"] = made["incident"]["code"]
    path = f"/incidents/{world.ids['incident']}"
    for letter in "AB":
        mall, vendor = world.malls[letter], world.vendors[letter]
        listing = vendor.ids[f"listing:REST-{vendor.name}"]
        supply = {"listing_id": listing, "item": ITEM, "warehouse": f"warehouse of {vendor.name}", "quantity": 10}
        await world.good("POST", f"{path}/supplies", world.staff, {"supplies": [supply]})
        lead = {"warehouse": supply["warehouse"], "area": letter, "hours": "4"}
        await world.good("POST", f"{path}/lead-times", world.staff, {"leads": [lead]})
        asked = world.demand(mall, 7)
        report = await world.good("POST", f"/zones/{world.ids['incident']}/demands", mall.headers, {"demands": [asked]})
        assert report["accepted"] == 1, report
        mark = asked["site"].removeprefix("楼")
        world.deals.append(
            Deal(letter, frozenset({letter}), frozenset({mark}),
                 frozenset({asked["contact"], asked["phone"], asked["address"]}))
        )  # fmt: skip
    sites = (await world.good("GET", f"{path}/demands", world.staff))["items"]
    world.ids["site"] = str(sites[0]["site_id"])
    checked = [{"site_id": site["site_id"], "headcount": 10, "tier": 1} for site in sites]
    await world.good("POST", f"{path}/verifications", world.staff, {"sites": checked})
    for what, incident in (("plan", "incident"), ("plan_spare", "incident_spare")):
        plan = await world.good("POST", f"/incidents/{world.ids[incident]}/plans", world.staff)
        world.ids[what] = str(plan["id"])
    assert await emergency.solve_due() == 2
    for headers in (world.staff, second):
        await world.good("POST", f"/plans/{world.ids['plan']}/approve", headers)
    await world.good("POST", f"/plans/{world.ids['plan']}/commit", world.staff)
    assert await emergency.dispatch_due() == 2
    await world.work()
    for letter, mall in world.malls.items():
        page = await world.good("GET", "/orders?limit=200", mall.headers)
        order = next(one for one in page["items"] if one["mall_order_no"].startswith("INC"))
        await _served(world, world.vendors[letter], order, "emergency")
        at = next(n for n, deal in enumerate(world.deals) if deal.mall == letter and len(deal.marks) == 1)
        world.deals[at] = replace(world.deals[at], marks=world.deals[at].marks | {order["id"]})
        mall.marks |= {po["id"] for po in order["purchase_orders"]}


async def footprint() -> dict[str, str]:
    """A digest of every table: two that are equal mean that nothing was written in between. But for the counter of the
    public door, which counts refused calls too: that is what it is for."""
    digests = (
        f"SELECT '{table.name}' AS name, md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) AS digest "
        f'FROM "{table.name}" t'
        for table in metadata.sorted_tables
        if table.name != "emergency_knocks"
    )
    async with uow() as tx:
        return {row["name"]: row["digest"] for row in await tx.fetch(" UNION ALL ".join(digests))}


async def _more_to_decide(world: World) -> None:
    """Cases and moves of prices that are there to be decided once, and a policy to be taken back."""
    listing = int(world.ids["listing"].removeprefix("lst_"))
    async with uow() as tx:
        for n, what in enumerate(("closing", "waiving")):
            number = await tx.fetchval(
                "INSERT INTO pricing_cases (listing_id, product_id, threshold_pct, gross_pct, evidence, opened_at) "
                "SELECT listing_id + $2, product_id, 5, 20, evidence, opened_at FROM pricing_cases "
                "WHERE listing_id = $1 LIMIT 1 RETURNING id",
                listing,
                n + 1_000_000,
            )
            world.ids[f"case:{what}"] = f"case_{number}"
        for n, what in enumerate(("meant", "slip")):
            number = await tx.fetchval(
                "INSERT INTO pricing_moves (listing_id, vendor_sku, connection_id, price_before, price_after, "
                "currency, seen_at) VALUES ($1, 'x', 1, 1, 10, 'CNY', $2) RETURNING id",
                n + 1_000_000,
                tx.now,
            )
            world.ids[f"move:{what}"] = f"move_{number}"
        mall = world.malls["B"].id
        await pricing.cases.set_policy(tx, mall, Policy.OBSERVE, STANDING, "test", "spare")
        world.ids["mall"] = str(mall)
