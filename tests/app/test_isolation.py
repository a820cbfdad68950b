"""Nobody reads or moves what is another's. The first tests are generated from the OpenAPI document: every route, every
role, ids that belong to somebody else or to nobody. test_second_wall.py holds row-level security by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest

from hub.kernel import clock
from hub.kernel.db import uow
from tests.app.api_calls import WAYS, Request, caller_of, operations, request
from tests.app.api_world import HOOK, SHARED_SKU, Reply, Tenant, World, footprint, living_world, pushed_product

SCOPES = {
    "public": {"public"}, "signed": {"public"}, "shared": {"mall", "staff"}, "figure": {"mall", "vendor", "staff"},
    "staff": {"staff"},
}  # fmt: skip
ID_PREFIX = {
    "order": "ord_",
    "po": "po_",
    "product": "prd_",
    "clinic": "prd_",
    "case": "case_",
    "move": "move_",
    "review": "ord_",
    "stm": "stm_",
    "str": "str_",
    "stc": "stc_",
    "listing": "lst_",
    "asc": "asc_",
    "asc_paid": "asc_",
    "asc_replaced": "asc_",
}


@pytest.fixture(scope="module")
async def world(schema: str) -> AsyncIterator[World]:
    async with living_world(schema) as made:
        yield made


def roles(world: World) -> dict[str, tuple[str | None, dict[str, str]]]:
    """Everybody who may knock: (scope, headers), with no scope for those that no key lets in."""
    found: dict[str, tuple[str | None, dict[str, str]]] = {t.name: (t.scope, t.headers) for t in world.tenants}
    found["staff"] = ("staff", world.staff)
    found["no key"] = (None, {})
    found["a revoked key"] = (None, world.revoked)
    found["an unknown key"] = (None, {"Authorization": "Bearer shk_staff_" + "x" * 43})
    return found


def forbidden(world: World, reader: Tenant | str) -> set[str]:
    """Words that must not stand in any answer to this reader. Addresses are for the vendor that delivers alone."""
    words = {*HOOK.values(), *(part.split(" ")[1] for t in world.tenants for part in t.headers.values())}
    for deal in world.deals:
        delivers = isinstance(reader, Tenant) and reader.scope == "vendor" and reader.letter in deal.vendors
        buys = isinstance(reader, Tenant) and reader.scope == "mall" and reader.letter == deal.mall
        if not delivers:
            words |= deal.personal
        if not (delivers or buys or reader == "staff"):
            words |= deal.marks
    for tenant in world.tenants:
        if isinstance(reader, Tenant) and reader.scope == tenant.scope and reader is not tenant:
            words |= tenant.marks - reader.marks
    if isinstance(reader, Tenant) and reader.scope == "vendor":
        words |= {m for deal in world.deals if reader.letter not in deal.vendors for m in deal.marks}
    return words


def leaks(world: World, reader: Tenant | str, asked: Request, reply: Reply) -> set[str]:
    """Forbidden words that the answer holds although the request did not say them."""
    said = asked.path + str(asked.body)
    return {word for word in forbidden(world, reader) if word in reply.text and word not in said}


# Generated from the document ----------------------------------------------------------------------------------------


def test_every_route_is_classified_and_its_scopes_are_those_of_its_class() -> None:
    assert set(WAYS) == set(operations()), "classify new routes in tests/app/api_calls.py"
    for name, operation in operations().items():
        scopes, reach = set(operation["x-scopes"]), WAYS[name].reach
        assert scopes in ({"mall"}, {"vendor"}, {"mall", "vendor"}) if reach == "own" else scopes == SCOPES[reach], name
        assert operation["security"] == ([] if "public" in scopes else [{"key": []}]), name
        assert bool(WAYS[name].id) == ("{" in name), name


async def test_only_the_scopes_of_the_document_are_let_in(world: World) -> None:
    before = await footprint()
    wrong = []
    for name, operation in operations().items():
        if "public" in operation["x-scopes"]:
            continue
        asked = request(world, name, caller_of(world, operation))
        for role, (scope, headers) in roles(world).items():
            if scope in operation["x-scopes"]:
                continue
            reply = await world.call(asked.method, asked.path, {**asked.headers, **headers}, asked.body)
            expected = 401 if scope is None else 403
            if reply.status != expected or reply.media != "application/problem+json":
                wrong.append((name, role, reply.status, reply.text))
            wrong += [(name, role, word) for word in leaks(world, role, asked, reply)]
    assert wrong == []
    assert await footprint() == before, "nobody who was turned away changed anything"


async def test_ids_of_others_and_of_nobody_are_not_found_and_stay_as_they_are(world: World) -> None:
    before = await footprint()
    wrong = []
    tried = 0
    for name, operation in operations().items():
        if not WAYS[name].id:
            continue
        for role, (scope, headers) in roles(world).items():
            if scope not in operation["x-scopes"]:
                continue
            caller = next((t for t in world.tenants if t.name == role), None)
            for path_id in strange_ids(world, name, caller):
                asked = request(world, name, caller or caller_of(world, operation), path_id=path_id)
                send = {**asked.headers, **headers}
                reply = await world.call(asked.method, asked.path, send, asked.body, encoded=True)
                tried += 1
                if reply.status != 404 or reply.media != "application/problem+json":
                    wrong.append((name, role, path_id, reply.status, reply.text))
                wrong += [(name, role, path_id, word) for word in leaks(world, caller or role, asked, reply)]
    assert wrong == []
    assert tried > 300
    assert await footprint() == before


def strange_ids(world: World, name: str, caller: Tenant | None) -> Iterator[str]:
    """Ids that this caller must not find under this operation, quoted for a path."""
    kind = WAYS[name].id.partition(":")[0]
    prefix = ID_PREFIX.get(kind, "")
    own = set(caller.ids.values()) if caller else set()
    for tenant in world.tenants:
        if tenant is not caller and WAYS[name].reach == "own":
            yield from sorted({i for what, i in tenant.ids.items() if what.startswith(kind + ":")} - own)
            # the same thing under the other kind's name: an order asked for as a purchase order, and back
            yield from sorted(prefix + i.partition("_")[2] for i in tenant.ids.values() if len(i) > 30 and i not in own)
    yield from (prefix + "0198c0de" + "0" * 24, prefix + "0", prefix + "999999999", prefix, "-1", prefix + "-1")
    yield from (prefix + "9" * 18, prefix + "9" * 400, prefix + "%D9%A3", prefix + "1%00", "%00", prefix + "1%20")
    yield from ("..%2F..%2Fetc%2Fpasswd", "%2e%2e%2f1", prefix + "1'%20OR%20'1'='1", prefix + "1;--", "null", "*")
    yield from (
        prefix + "%ED%A0%80",
        prefix + "%FF",
        prefix + "1e3",
        prefix + "0x1",
        prefix + "1.0",
        prefix + "%EF%BC%91",
    )
    yield "xyz_1"
    if prefix:
        yield from (prefix.upper() + "1", "1", prefix + prefix + "1")


async def test_the_marks_of_others_would_be_seen_where_they_are_not_kept_apart(world: World) -> None:
    """What makes the tests above mean something: each reader's own marks do stand in its own answers."""
    for letter in "AB":
        mall, vendor = world.malls[letter], world.vendors[letter]
        listed = (await world.call("GET", "/v1/orders?limit=200", mall.headers)).text
        assert all(any(mark in listed for mark in deal.marks) for deal in world.deals if deal.mall == letter)
        portal = (await world.call("GET", "/v1/vendor/orders?limit=200", vendor.headers)).text
        assert all(
            personal in portal
            for d in world.deals
            if d.mall == letter and len(d.vendors) == 2
            for personal in d.personal
        )
        assert vendor.name in portal
        shipments = await world.call("GET", f"/v1/orders/{mall.ids['order:shipped']}/shipments", mall.headers)
        assert f"TRACK-{vendor.name}".upper() in shipments.text and f"place of {mall.name}" in shipments.text


# Lists, figures and bodies ------------------------------------------------------------------------------------------


async def test_a_list_read_to_its_end_holds_own_rows_only_wherever_it_is_begun(world: World) -> None:
    for path, readers in (("/v1/orders", world.malls), ("/v1/vendor/orders", world.vendors)):
        own = {letter: [item["id"] for item in await pages(world, path, reader)] for letter, reader in readers.items()}
        assert min(len(own["A"]), len(own["B"])) >= 6
        assert not set(own["A"]) & set(own["B"])
        for letter, reader in readers.items():
            for foreign in own["B" if letter == "A" else "A"]:
                assert {item["id"] for item in await pages(world, path, reader, foreign)} <= set(own[letter])


async def pages(world: World, path: str, reader: Tenant, after: str | None = None) -> list[dict[str, Any]]:
    """All items from a cursor on, two at a time; no page may hold anything of anybody else."""
    items: list[dict[str, Any]] = []
    while True:
        asked = Request("GET", path + "?limit=2" + (f"&after={after}" if after else ""), {})
        reply = await world.call("GET", asked.path, reader.headers)
        assert reply.status == 200 and leaks(world, reader, asked, reply) == set(), reply.text
        items += reply.json["items"]
        after = reply.json["next"]
        if after is None:
            return items


async def test_a_figure_counts_own_lines_whatever_is_asked_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + timedelta(hours=97))
    for figure in ("delivery-72h", "stockouts"):
        path = f"/metrics/{figure}"

        async def count(headers: dict[str, str], query: str = "", path: str = path) -> int:
            return int((await world.good("GET", path + query, headers))["denominator"])

        by_mall = [await count(mall.headers) for mall in world.malls.values()]
        by_vendor = [await count(vendor.headers) for vendor in world.vendors.values()]
        everybody = await count(world.staff)
        assert sum(by_mall) == sum(by_vendor) == everybody and min(by_mall + by_vendor) > 0
        for tenant in world.tenants:
            assert (await count(tenant.headers, f"?{tenant.scope}={tenant.id}")) == await count(tenant.headers)
            for other in world.tenants:
                if other is tenant:
                    continue
                reply = await world.call("GET", f"/v1{path}?{other.scope}={other.id}", tenant.headers)
                if other.scope == tenant.scope:
                    assert reply.status == 404
                    continue
                # a mall that asks for a vendor gets that vendor's part of its own lines, and the other way round
                shared = await count(world.staff, f"?{tenant.scope}={tenant.id}&{other.scope}={other.id}")
                assert (reply.status, reply.json["denominator"]) == (200, shared)
        crossed = f"?mall={world.malls['B'].id}&vendor={world.vendors['A'].id}"
        assert (await world.call("GET", f"/v1{path}{crossed}", world.malls["A"].headers)).status == 404
        assert await count(world.vendors["A"].headers, crossed) == 0


async def test_two_malls_may_use_one_key_and_one_number_and_get_an_order_each(world: World) -> None:
    mine, others = world.malls["A"], world.malls["B"]
    lines = [{"listing_id": world.vendors["A"].ids[f"listing:{SHARED_SKU}"], "qty": 1}]
    ship_to = {"name": "收件人", "phone": "13700000000", "address": "某路 1 号"}
    body = {"mall_order_no": "the same", "mode": "place", "ship_to": ship_to, "lines": lines}
    headers = {"Idempotency-Key": "the same"}
    first = await world.good("POST", "/orders", {**mine.headers, **headers}, body)
    second = await world.call("POST", "/v1/orders", {**others.headers, **headers}, body)
    assert second.status == 201 and "Idempotent-Replay" not in second.headers
    assert second.json["id"] != first["id"] and second.json["mall_order_no"] == first["mall_order_no"]
    assert await world.good("POST", "/orders", {**mine.headers, **headers}, body) == first
    assert (await world.call("GET", f"/v1/orders/{second.json['id']}", mine.headers)).status == 404


async def test_one_malls_parity_hold_is_its_own(world: World) -> None:
    listing = world.ids["listing"]
    seen = {}
    for letter, mall in world.malls.items():
        view = await world.good("GET", f"/availability?listing_id={listing}", mall.headers)
        body, _ = world.letter(mall, [{"listing_id": listing, "qty": 1}], "reserve")
        reply = await world.call("POST", "/v1/orders", {**mall.headers, "Idempotency-Key": "held?"}, body)
        seen[letter] = (view["can_supply"], view["reason"], reply.status)
    assert seen == {"A": (False, "held_by_policy", 409), "B": (True, None, 201)}


async def test_a_vendor_reports_its_own_shelf_only(world: World) -> None:
    mine, other = world.vendors["A"], world.vendors["B"]
    skus = [SHARED_SKU, f"OWN-{mine.name}", f"OWN-{other.name}"]
    answer = await world.good(
        "POST", "/vendor/stock", mine.headers, {"updates": [{"sku": sku, "on_hand": 77} for sku in skus]}
    )
    assert [result["result"] for result in answer["results"]] == ["applied", "applied", "unknown_sku"]
    async with uow() as tx:
        rows = await tx.fetch(
            "SELECT l.connection_id, l.vendor_sku FROM catalog_stock s JOIN catalog_listings l ON l.id = s.listing_id "
            "WHERE s.on_hand = 77 ORDER BY 2"
        )
    assert [tuple(row) for row in rows] == [(int(mine.ids["connection"]), sku) for sku in sorted(skus[:2])]


async def test_a_push_signed_by_one_vendor_opens_no_other_vendors_door(world: World) -> None:
    mine, other = world.vendors["A"], world.vendors["B"]
    body = pushed_product("P1", "推送")
    before = await footprint()
    for target, letter in ((other, "A"), (mine, "B")):
        reply = await world.call("POST", f"/v1/push/{target.ids['pushes']}", world.signed(letter, body, "d1"), raw=body)
        assert reply.status == 401 and reply.media == "application/problem+json"
    feed_only = await world.call("POST", f"/v1/push/{mine.ids['connection']}", world.signed("A", body, "d1"), raw=body)
    assert feed_only.status == 404
    assert await footprint() == before
    good = await world.call("POST", f"/v1/push/{mine.ids['pushes']}", world.signed("A", body, "d1"), raw=body)
    assert good.json == {"result": "landed"}
    same = await world.call("POST", f"/v1/push/{other.ids['pushes']}", world.signed("B", body, "d1"), raw=body)
    assert same.json == {"result": "landed"}, "two vendors may give two deliveries the same id"


async def test_a_vendor_ships_its_own_lines_of_a_shared_order_only(world: World) -> None:
    mine, other = world.vendors["A"], world.vendors["B"]
    for vendor in (mine, other):
        await world.good("POST", f"/vendor/orders/{vendor.ids['po:split']}/accept", vendor.headers)
    [line] = next(po for po in await world.pos(other) if po["id"] == other.ids["po:split"])["lines"]
    before = await footprint()
    path = f"/v1/vendor/orders/{mine.ids['po:split']}/ship"
    theirs = {
        "parcels": [{"carrier": "sf", "tracking_no": "X1", "lines": [{"line_no": line["line_no"], "quantity": 1}]}]
    }
    reply = await world.call("POST", path, mine.headers, theirs)
    assert (reply.status, reply.json["errors"][0]["pointer"]) == (422, "/parcels/0/lines/0/line_no")
    taken = {"parcels": [{"carrier": "sf", "tracking_no": f"TRACK-{other.name}"}]}
    reply = await world.call("POST", path, mine.headers, taken)
    assert (reply.status, reply.json["type"]) == (409, "urn:supplyhub:problem:parcel_taken")
    assert not other.marks & set(reply.text.split('"'))
    assert await footprint() == before
    answer = await world.call("POST", path, mine.headers, {"parcels": [{"carrier": "sf", "tracking_no": "X1"}]})
    assert answer.status == 200 and leaks(world, mine, Request("", "", {}), answer) == set()


# Last, because it uses up what the others look at ---------------------------------------------------------------------


async def test_every_good_call_is_answered_and_holds_nothing_of_anybody_else(world: World) -> None:
    wrong = []
    for name, operation in operations().items():
        for role, (scope, headers) in roles(world).items():
            if scope not in operation["x-scopes"] and "public" not in operation["x-scopes"]:
                continue
            caller = next((t for t in world.tenants if t.name == role), None)
            asked = request(world, name, caller)
            reply = await world.call(asked.method, asked.path, {**asked.headers, **headers}, asked.body, raw=asked.raw)
            if reply.status not in (200, 201, 202):
                wrong.append((name, role, reply.status, reply.text))
            wrong += [(name, role, word) for word in leaks(world, caller or role, asked, reply)]
        await world.work()
    assert wrong == []
