"""Hostile requests against every operation: what a caller gets wrong, or means ill, gets a 4xx problem that says where,
and changes nothing. Most are made from the OpenAPI document, so that a new route is tried without being named."""

from __future__ import annotations

import asyncio
import copy
import gzip
import json
import random
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

from connectors.manifest import manifest_of
from hub.kernel import store
from hub.kernel.db import uow
from hub.kernel.settings import reset_settings
from tests.app.api_calls import Request, caller_of, operations, request
from tests.app.api_world import SHARED_SKU, Reply, World, footprint, living_world, pushed_product, serving
from tests.app.hostile import VALUES, filled, hostile, schema_of, tampered

SETTING_TRIES = 220  # the table feed has many settings, and most values fit none of them


@pytest.fixture(scope="module")
async def world(schema: str) -> AsyncIterator[World]:
    async with living_world(schema) as made:
        yield made


async def send(world: World, asked: Request) -> Reply:
    headers = {"Idempotency-Key": f"hostile-{random.getrandbits(64)}"} if "Idempotency-Key" in asked.headers else {}
    return await world.call(
        asked.method, asked.path, {**asked.headers, **headers}, asked.body, raw=asked.raw, encoded=True
    )


def complaint(reply: Reply) -> str | None:
    """What is wrong with an answer to a hostile request."""
    if reply.status >= 500:
        return "a 5xx"
    if reply.status < 400:
        return None
    if reply.media != "application/problem+json":
        return "not problem+json"
    problem = reply.json
    if problem["status"] != reply.status or not problem["detail"] or not problem["type"].startswith("urn:supplyhub:"):
        return "not a problem of ours"
    if not all(set(e) == {"pointer", "detail"} and e["pointer"][:1] in ("", "/") for e in problem.get("errors", ())):
        return "errors without pointers"
    return None


# What must be refused, and where the finger points ------------------------------------------------------------------


async def test_limits_times_and_cursors_out_of_this_world_are_refused_by_every_list(world: World) -> None:
    bad = {
        "limit": ("0", "-1", "1000000", "1e1", "x", "", "\u0663", "1.5", "9" * 30),
        "cursor": ("-1", "\uff11", "x" * 600, "bm90IGEgY3Vyc29y", "e30=", "\x00", "' OR 1=1"),
        "from": ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01", "x", "1e18"),
        "to": ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "10000-01-01", "x", "1e18"),
        "after": ("-1", "\uff11", "x" * 600, "bm90IGEgY3Vyc29y", "e30=", "\x00", "' OR 1=1"),
    }
    seen = 0
    for name, operation in operations().items():
        caller = caller_of(world, operation)
        asked = request(world, name, caller)
        headers = caller.headers if caller else world.staff
        for parameter in (p["name"] for p in operation["parameters"] if p["name"] in bad):
            for value in bad[parameter]:
                path = asked.path.partition("?")[0] + f"?{parameter}={quote(value, safe='')}"
                reply = await world.call("GET", path, headers, encoded=True)
                assert complaint(reply) is None and reply.status in (400, 422), (name, parameter, value, reply.text)
                assert [e["pointer"] for e in reply.json["errors"]] == [f"/{parameter}"], (name, value, reply.text)
                seen += 1
    assert seen > 100


async def test_a_tampered_cursor_is_refused_or_is_another_page(world: World) -> None:
    """Cursors that the lists really gave, with one piece replaced by something else."""
    ways = {"GET /v1/products": ("", "&sort=price", "&sort=newest", "&q=mark", "&q=mark&sort=-price", "&in_stock=true")}
    lists = 0
    for name, operation in operations().items():
        parameter = next((p["name"] for p in operation["parameters"] if p["name"] in ("cursor", "after")), None)
        if parameter is None or name == "GET /v1/changes/stream":
            continue
        caller = caller_of(world, operation)
        headers = caller.headers if caller else world.staff
        for way in ways.get(name, ("",)):
            path = request(world, name, caller).path.partition("?")[0] + "?limit=1" + way
            cursor = (await world.call("GET", path, headers)).json["next"]
            if cursor is None:
                continue
            lists += 1
            for attempt in tampered(cursor):
                reply = await world.call("GET", f"{path}&{parameter}={quote(attempt, safe='')}", headers, encoded=True)
                assert complaint(reply) is None and reply.status in (200, 400, 422), (path, attempt, reply.text)
    assert lists >= 12


async def test_an_unknown_field_is_named_by_every_operation_with_a_body(world: World) -> None:
    for name, operation in operations().items():
        if schema_of(operation) in (None, {}):
            continue
        caller = caller_of(world, operation)
        asked = request(world, name, caller)
        before = await footprint()
        headers = {**(caller.headers if caller else world.staff), **asked.headers}
        reply = await world.call(asked.method, asked.path, headers, {**(asked.body or {}), "surprise": 1})
        assert reply.status == 422 and "/surprise" in [e["pointer"] for e in reply.json["errors"]], name
        assert await footprint() == before


QUANTITIES = ("0", "-1", "1.5", '"1"', "true", "null", "1e400", "NaN", "Infinity", "99999999999999999999", "1e3", "[]")
PRICES = (
    '"0"',
    "0",
    "-1",
    '"-0.01"',
    '"NaN"',
    "NaN",
    '"Infinity"',
    "1e400",
    '"1e30"',
    "1e30",
    '"0.00001"',
    "true",
    "[]",
)
INSTANTS = (
    '"0001-01-01T00:00:00+14:00"',
    '"9999-12-31T23:59:59-14:00"',
    '"2026-01-01T00:00:00"',
    '"2026-02-30"',
    "1e18",
)
FIELDS = (
    ("POST /v1/orders", ("lines", 0, "qty"), QUANTITIES),
    ("POST /v1/orders", ("lines", 0, "max_price"), PRICES),
    ("POST /v1/orders", ("lines", 0, "listing_id"), ('"lst_\u0663"', '"lst_-1"', '"prd_1"', "1", '"lst_1\\u0000"')),
    ("POST /v1/orders", ("mall_order_no",), ('""', '" "', "1", "null", f'"{"x" * 65}"', '"a\\u0000b"', '"\\ud800"')),
    ("POST /v1/orders", ("ship_to", "phone"), ('""', '"\uff11\uff12\uff13\uff14\uff15\uff16"', '"abc"', "13812341234")),
    ("POST /v1/references", ("references", 0, "price"), PRICES),
    ("POST /v1/references", ("references", 0, "product_id"), ('"prd_\uff11"', '"1"', "1", '"prd_"')),
    ("POST /v1/references", ("references", 0, "evidence", "captured_at"), INSTANTS),
    ("POST /v1/connections", ("config", "file"), ('"a\\u0000b"', '"\\ud800"', "1", "[]")),
    ("POST /v1/connections", ("config", "map"), ('{"title":NaN}', '{"title":1e400}', '{"a\\u0000":"b"}', '"x"')),
    ("PUT /v1/parity/policies", ("mall_id",), ("0", "-1", "1.5", '"x"', "1e400", "9" * 30)),
    ("POST /v1/products/lookup", ("ids", 0), ('"prd_\u0663"', '"x"', "1", "null", '"prd_' + "9" * 19 + '"')),
)  # fmt: skip


async def test_a_bad_value_is_refused_where_it_stands(world: World) -> None:
    before = await footprint()
    for name, place, values in FIELDS:
        caller = caller_of(world, operations()[name])
        asked = request(world, name, caller)
        headers = {**(caller.headers if caller else world.staff), **asked.headers}
        pointer = "/" + "/".join(map(str, place))
        for value in values:
            reply = await world.call(asked.method, asked.path, headers, raw=filled(asked.body, place, value))
            assert complaint(reply) is None and reply.status in (400, 422), (name, value, reply.status, reply.text)
            if reply.status == 422:  # 400: not JSON at all
                pointers = [e["pointer"] for e in reply.json["errors"]]
                assert pointers and all(p.startswith(pointer) for p in pointers), (name, value, pointers)
        assert await footprint() == before, name


async def test_a_bad_stock_figure_is_refused_in_its_place_and_the_rest_goes_on(world: World) -> None:
    vendor = world.vendors["A"]
    bad = (
        "-1",
        "1.5",
        '"1"',
        "true",
        "100000001",
        "null",
        "1e400",
        "9" * 25,
        "[]",
        '1,"reported_at":"0001-01-01T00:00:00+14:00"',
    )
    items = ",".join(f'{{"sku":"{SHARED_SKU}","on_hand":{value}}}' for value in bad if value != "1e400")
    good = f'{{"sku":"{SHARED_SKU}","on_hand":123}}'
    reply = await world.call("POST", "/v1/vendor/stock", vendor.headers, raw=f'{{"updates":[{items},{good}]}}'.encode())
    results = [result["result"] for result in reply.json["results"]]
    assert (reply.status, results) == (200, ["invalid"] * (len(bad) - 1) + ["applied"])
    lines = "\n".join(f'{{"sku":"{SHARED_SKU}","on_hand":{value}}}' for value in (*bad, "124"))
    headers = {**vendor.headers, "Content-Type": "application/x-ndjson"}
    reply = await world.call("POST", "/v1/vendor/stock", headers, raw=lines.encode())
    assert [result["result"] for result in reply.json["results"]] == ["invalid"] * len(bad) + ["applied"]


# By hand: what a document does not describe -------------------------------------------------------------------------


async def raw_http(world: World, head: bytes, body: bytes = b"") -> tuple[int, bytes, bytes]:
    """Send bytes that no client would; returns status, headers and body of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.client.port)
    try:
        head += b"\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        writer.write(head + body)
        answer = await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()
    top, _, content = answer.partition(b"\r\n\r\n")
    return int(top.split(b" ", 2)[1]), top, content


HEADERS = (
    b"Authorization: Bearer \xff\xfe", b"Authorization: Bearer", b"Authorization: Bearer ", b"Authorization:", b"X: y",
    b"Authorization: Basic YTpi", b"Authorization: \xf0\x9f\x92\xa9", b"Authorization: Bearer " + b"x" * 5_000,
    b"Authorization: bearer x", b"Authorization: Bearer " + "\u0663".encode() * 50, b"Authorization: Bearer shk_staff_",
)  # fmt: skip


async def test_a_hostile_key_is_no_key(world: World) -> None:
    for line in HEADERS:
        status, top, content = await raw_http(world, b"GET /v1/vendors HTTP/1.1\r\n" + line)
        assert (status, json.loads(content)["status"]) == (401, 401), line
        assert b"application/problem+json" in top and b"WWW-Authenticate: Bearer" in top
    key = world.staff["Authorization"].partition(" ")[2].encode()
    assert (await raw_http(world, b"GET /v1/vendors HTTP/1.1\r\nauthorization: bearer " + key))[0] == 200


async def test_a_hostile_idempotency_key_buys_nothing(world: World) -> None:
    asked = request(world, "POST /v1/orders", world.malls["A"])
    head = b"POST /v1/orders HTTP/1.1\r\nAuthorization: " + world.malls["A"].headers["Authorization"].encode()
    body = json.dumps(asked.body).encode()
    before = await footprint()
    for key, expected in (
        (None, 400),
        (b"", 422),
        (b"\xff\xfe", 422),
        (b"x" * 201, 422),
        (b"x" * 7_000, 422),
        (b"a\tb", 422),
    ):
        line = b"\r\nIdempotency-Key: " + key if key is not None else b""
        status, top, _ = await raw_http(world, head + line, body)
        assert status == expected and b"application/problem+json" in top, key
    assert await footprint() == before


async def test_hostile_headers_of_a_push_are_refused_or_do_no_harm(world: World) -> None:
    path = f"/v1/push/{world.vendors['A'].ids['pushes']}"
    for n, (name, value) in enumerate(
        (
            ("X-WC-Webhook-Signature", b"\xff"), ("X-WC-Webhook-Signature", b""),
            ("X-WC-Webhook-Signature", b"x" * 7_000),
            ("X-WC-Webhook-Delivery-ID", b"\xff"), ("X-WC-Webhook-Delivery-ID", b"x" * 7_000),
            ("X-WC-Webhook-Topic", b"\xff\xfe"), ("X-WC-Webhook-Topic", b"x" * 7_000), ("Content-Type", b"\xff"),
        )
    ):  # fmt: skip
        body = pushed_product(f"H{n}", "推送")
        headers = {k: v.encode() for k, v in world.signed("A", body, f"d{n}").items()} | {name: value}
        lines = b"\r\n".join(k.encode() + b": " + v for k, v in headers.items())
        status, _, content = await raw_http(world, f"POST {path} HTTP/1.1\r\n".encode() + lines, body)
        assert status == (401 if name.endswith("Signature") else 200), (name, value, content)
    await world.work()
    async with uow() as tx:
        assert (await store.outbox_state(tx))["dead"] == 0 and (await store.outbox_state(tx))["pending"] == 0


async def test_too_long_a_body_is_refused_however_it_is_packed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPPLYHUB_BODY_LIMIT_BYTES", "100000")
    reset_settings()
    long = b'{"ids":["' + b"x" * 100_000 + b'"]}'
    bodies = ((long, {}), (gzip.compress(b" " * 40_000_000, 1), {"Content-Encoding": "gzip"}))
    before = await footprint()
    async with serving() as client:
        narrow = copy.copy(world)
        narrow.client = client
        for name in (
            "POST /v1/products/lookup",
            "POST /v1/vendor/stock",
            "POST /v1/orders",
            "POST /v1/push/{connection}",
        ):
            caller = caller_of(world, operations()[name])
            asked = request(world, name, caller)
            for raw, packed in bodies:
                headers = {**asked.headers, **(caller.headers if caller else world.signed("A", raw, "d")), **packed}
                reply = await narrow.call(asked.method, asked.path, headers, raw=raw)
                assert (reply.status, reply.media) == (413, "application/problem+json"), (name, reply.text)
                assert reply.json["status"] == 413
    assert await footprint() == before
    monkeypatch.undo()
    reset_settings()


async def test_what_is_optional_may_be_left_out(world: World) -> None:
    optional = [name for name, o in operations().items() if o.get("requestBody", {}).get("required") is False]
    assert "POST /v1/orders/{id}/cancel" in optional and len(optional) >= 3
    for name in optional:
        caller = caller_of(world, operations()[name])
        mine = caller.headers if caller is not None else world.staff
        asked = request(world, name, caller)
        for headers in ({}, {"Content-Type": "application/json", "Content-Length": "0"}):
            reply = await world.call(asked.method, asked.path, {**mine, **asked.headers, **headers})
            assert reply.status == 200, (name, reply.text)
        blank = await world.call(asked.method, asked.path, {**mine, **asked.headers}, raw=b" \n")
        assert blank.status == 200, (name, blank.text)


async def test_text_that_means_something_elsewhere_is_kept_as_text(world: World) -> None:
    """Words of SQL, HTML and spreadsheets go in and come out as they were, and mean nothing on the way."""
    mall, vendor = world.malls["A"], world.vendors["A"]
    for n, text in enumerate(
        ("'; DROP TABLE orders; --", "<img src=x onerror=alert(1)>", "=1+1", "{{7*7}}", "%n%s", "\u202e\u0000"[:1])
    ):
        body, _ = world.letter(mall, [{"listing_id": vendor.ids[f"listing:{SHARED_SKU}"], "qty": 1}])
        body["mall_order_no"] = f"{n}{text}"
        body["ship_to"]["district"] = text
        made = await world.good("POST", "/orders", {**mall.headers, "Idempotency-Key": f"text {n}"}, body)
        shown = await world.good("GET", f"/orders/{made['id']}", mall.headers)
        assert (shown["mall_order_no"], shown["ship_to"]["district"]) == (f"{n}{text}", text)
        found = await world.good("GET", "/products?q=" + quote(text), mall.headers)
        assert found["items"] == []
        name = f"{text} {n}"
        added = await world.good("POST", "/vendors", world.staff, {"name": name})
        assert added["name"] == name
        page = await world.call("GET", "/docs")
        assert text not in page.text


async def test_settings_of_a_connection_are_refused_or_reported_never_a_crash(world: World) -> None:
    """A setting that passes is then tried: what only the connector can judge is told in the trial's words."""
    rng = random.Random("settings")
    described = manifest_of("table_feed")
    owner, file = world.vendors["A"].id, f"{world.vendors['A'].name}.csv"
    tries = [(name, value) for name, s in described.config.items() if not s.secret for value in VALUES]
    rest = '"title":"title","price":"price"'
    tries += [("map", f'{{{rest},"vendor_sku":{value}}}') for value in VALUES]
    tries += [("map", f'{{{rest},"vendor_sku":"sku",{value}:"price"}}') for value in VALUES if value.startswith('"')]
    tries += [
        ("page_rows", '"\u00b2"'),
        ("page_rows", '"' + "9" * 5_000 + '"'),
        ("file", '"."'),
        ("file", '"/etc/passwd"'),
    ]
    wrong = []
    passed = 0
    for n, (name, value) in enumerate(rng.sample(tries, min(SETTING_TRIES, len(tries)))):
        base = {
            "vendor_id": owner,
            "connector": "table_feed",
            "name": f"n{n}",
            "config": {"file": file, "map": {name: name for name in ("vendor_sku", "title", "price", "on_hand")}},
        }
        reply = await world.call("POST", "/v1/connections", world.staff, raw=filled(base, ("config", name), value))
        if found := complaint(reply):
            wrong.append((name, value[:60], found, reply.text))
        if reply.status != 201 or name == "url":
            continue
        passed += 1
        for act in ("test", "preview"):
            tried = await world.call("POST", f"/v1/connections/{reply.json['id']}/{act}", world.staff)
            if tried.status not in (200, 422, 502):
                wrong.append((name, value[:60], act, tried.status, tried.text))
    assert wrong == []
    assert passed > 3


# Last, because it uses up what the others look at ---------------------------------------------------------------------


async def test_no_hostile_request_breaks_an_operation_or_leaves_half_of_an_effect(world: World) -> None:
    wrong: list[tuple[str, str, int, str, str]] = []
    tried = 0
    for name in operations():
        before = await footprint()
        for attempt in hostile(world, name, random.Random(name)):
            reply = await send(world, attempt.request)
            tried += 1
            if found := complaint(reply):
                wrong.append((name, attempt.label, reply.status, found, reply.text[:300]))
            if attempt.request.method != "GET":
                after = await footprint()
                if reply.status >= 400 and after != before:
                    moved = [table for table in after if after[table] != before[table]]
                    wrong.append((name, attempt.label, reply.status, f"refused, yet wrote {moved}", reply.text[:300]))
                before = after
    assert wrong == []
    assert tried > 15 * len(operations())
