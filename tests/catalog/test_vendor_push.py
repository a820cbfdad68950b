"""Promises of a vendor's own stock reports over HTTP."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from catalog import vendor_web
from hub.kernel import bodies, keys
from hub.kernel.db import Database, uow
from hub.kernel.settings import reset_settings
from hub.kernel.web import application
from tests.catalog.kit import fetch, shelf, stocked

STOCK = "/v1/vendor/stock"
NDJSON = "application/x-ndjson"


@pytest.fixture
async def client(database: Database) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(application(vendor_web.routes.all, body_limit=4 * 2**20))) as made:
        yield made


async def key(vendor: str = "张三药房", scope: Any = "vendor") -> dict[str, str]:
    [row] = await fetch("SELECT id FROM vendors WHERE name = $1", vendor) if scope == "vendor" else [{"id": 1}]
    async with uow() as tx:
        return {"Authorization": f"Bearer {await keys.create_key(tx, scope, row['id'], 'test')}"}


async def send(client: Any, updates: Any, headers: dict[str, str], status: int = 200) -> Any:
    async with client.post(STOCK, json={"updates": updates}, headers=headers) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def test_each_update_gets_its_result_in_its_place_and_bad_ones_spoil_nothing(client: Any) -> None:
    _, [s0, s1] = await stocked([9, 9])
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    answer = await send(
        client,
        [
            {"sku": "S0", "on_hand": 3, "version": 5}, {"sku": "S0", "on_hand": 2, "version": 4},
            {"sku": "none", "on_hand": 1}, {"sku": "S1", "on_hand": -1}, {"sku": "S1"},
            {"sku": "S1", "on_hand": 1, "level": "out"}, 17, None, {"sku": "S1", "on_hand": True},
            {"sku": "S1", "on_hand": "4"}, {"sku": "S1", "on_hand": 1, "reported_at": later},
            {"sku": "S1", "on_hand": 1, "reported_at": "2026-01-01T00:00:00"}, {"sku": "S1", "on_hand": 1, "size": 2},
            {"sku": "S1", "on_hand": 10**12}, {"sku": "S1", "level": "limited"},
        ],
        await key(),
    )  # fmt: skip
    results = [r["result"] for r in answer["results"]]
    assert results == ["applied", "applied", "unknown_sku", *["invalid"] * 11, "applied"]
    assert all(r["detail"] for r in answer["results"] if r["result"] == "invalid")
    assert ((await shelf(s0))["on_hand"], (await shelf(s1))["level"]) == (3, "limited")


async def test_the_same_body_again_changes_nothing(client: Any) -> None:
    await stocked([9])
    headers = await key()
    updates = [{"sku": "S0", "on_hand": 4, "version": 2}]
    assert [r["result"] for r in (await send(client, updates, headers))["results"]] == ["applied"]
    before = await fetch("SELECT * FROM catalog_stock"), await fetch("SELECT * FROM catalog_movements")
    assert [r["result"] for r in (await send(client, updates, headers))["results"]] == ["unchanged"]
    assert before == (await fetch("SELECT * FROM catalog_stock"), await fetch("SELECT * FROM catalog_movements"))
    assert (await send(client, [{"sku": "S0", "on_hand": 9, "version": 1}], headers))["results"][0]["result"] == "stale"


async def test_a_vendor_cannot_touch_another_vendors_shelf(client: Any) -> None:
    _, [theirs] = await stocked([9], vendor="甲")
    await stocked([], vendor="乙")
    answer = await send(client, [{"sku": "S0", "on_hand": 0}], await key("乙"))
    assert answer["results"] == [{"sku": "S0", "result": "unknown_sku"}]
    assert (await shelf(theirs))["on_hand"] == 9


async def test_only_a_vendors_key_opens_the_door(client: Any) -> None:
    await stocked([9])
    await send(client, [], {}, status=401)
    await send(client, [], await key(scope="mall"), status=403)
    assert await send(client, [], await key()) == {"results": []}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400), (b"", 400), (b"\xff\xfe", 400), (b"[]", 422), (b"{}", 422), (b'{"updates":{}}', 422),
        (b"null", 422), (b'{"updates":[],"mode":1}', 422), (b'{"updates":[NaN]}', 400), (b"<html></html>", 400),
    ],
)  # fmt: skip
async def test_a_body_that_is_no_batch_is_refused_as_a_whole(client: Any, body: bytes, status: int) -> None:
    await stocked([9])
    headers = {**await key(), "Content-Type": "application/json"}
    async with client.post(STOCK, data=body, headers=headers) as response:
        assert response.status == status
        assert response.content_type == "application/problem+json"


async def test_too_many_updates_in_one_call_are_refused_and_nothing_is_applied(client: Any) -> None:
    _, [s0] = await stocked([9])
    await send(client, [{"sku": "S0", "on_hand": 1}] * 5001, await key(), status=413)
    assert (await shelf(s0))["on_hand"] == 9


@pytest.mark.parametrize("zipped", [False, True])
async def test_ndjson_of_any_length_is_answered_line_by_line(client: Any, zipped: bool) -> None:
    await stocked([9] * 700)
    lines = [json.dumps({"sku": f"S{i % 700}", "on_hand": i, "version": i + 1}) for i in range(1500)]
    lines[3], lines[4], lines[5] = "{broken", "", json.dumps({"sku": "x" * 70_000, "on_hand": 1})
    body = "\r\n".join(lines).encode()
    headers = {**await key(), "Content-Type": NDJSON}
    if zipped:
        body, headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
    async with client.post(STOCK, data=body, headers=headers) as response:
        results = (await response.json())["results"]
    assert response.status == 200 and len(results) == 1499
    assert [r["result"] for r in results[:6]] == ["applied"] * 3 + ["invalid", "invalid", "applied"]
    rows = await fetch(
        "SELECT s.on_hand, l.vendor_sku FROM catalog_stock s JOIN catalog_listings l ON l.id = s.listing_id"
    )
    newest = {f"S{i % 700}": i for i in range(1500) if i not in (3, 4, 5)}
    assert {r["vendor_sku"]: r["on_hand"] for r in rows} == newest


async def test_a_cut_gzip_is_refused_and_sending_it_whole_again_is_harmless(client: Any) -> None:
    await stocked([9] * 5)
    body = gzip.compress("\n".join(json.dumps({"sku": f"S{i}", "on_hand": i, "version": 1}) for i in range(5)).encode())
    headers = {**await key(), "Content-Type": NDJSON, "Content-Encoding": "gzip"}
    for cut in (len(body) - 12, len(body) - 8, len(body) - 1):  # the last two hold every line and lack the trailer
        async with client.post(STOCK, data=body[:cut], headers=headers) as response:
            assert response.status == 400
    async with client.post(STOCK, data=body, headers=headers) as response:
        assert {r["result"] for r in (await response.json())["results"]} <= {"applied", "unchanged"}


async def test_the_answer_comes_after_the_commit(client: Any) -> None:
    _, [s0] = await stocked([9])
    headers = await key()

    async def one(n: int) -> None:
        await send(client, [{"sku": "S0", "on_hand": n, "version": n}], headers)
        assert (await shelf(s0))["version"] >= n

    await asyncio.gather(*(one(n) for n in range(1, 25)))
    assert (await shelf(s0))["on_hand"] == 24


@pytest.mark.parametrize("content_type", [NDJSON, "application/json"])
async def test_a_bomb_is_refused_before_much_of_it_is_unpacked(
    client: Any, content_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, [s0] = await stocked([9])
    bomb = gzip.compress(b"\n" * (128 * 2**20), compresslevel=6)
    assert len(bomb) < 200_000
    unpacked = 0
    chunks = bodies.chunks

    async def counted(request: Any) -> AsyncIterator[bytes]:
        nonlocal unpacked
        async for piece in chunks(request):
            unpacked += len(piece)
            yield piece

    monkeypatch.setattr(bodies, "chunks", counted)
    headers = {**await key(), "Content-Type": content_type, "Content-Encoding": "gzip"}
    async with client.post(STOCK, data=bomb, headers=headers) as response:
        assert response.status == 413, await response.text()
        assert (await response.json())["type"].endswith((":bomb", ":body_too_large"))
    assert 0 < unpacked < 9 * 2**20 and (await shelf(s0))["on_hand"] == 9


async def test_an_upload_beyond_the_limit_is_refused_and_says_what_became_of_its_beginning(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, [s0] = await stocked([9])
    monkeypatch.setenv("SUPPLYHUB_UPLOAD_LIMIT_BYTES", str(2**20))
    reset_settings()
    line = json.dumps({"sku": "S0", "on_hand": 4, "version": 1}).encode() + b"\n"
    rest = b"".join(b'{"sku":"not here %06d","on_hand":1,"location":"%060d"}\n' % (n, n) for n in range(14_000))
    for zipped in (False, True):
        body = line + rest
        assert len(body) > 2**20
        headers = {**await key(), "Content-Type": NDJSON}
        if zipped:
            body, headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
        async with client.post(STOCK, data=io.BytesIO(body), headers=headers) as response:
            assert response.status == 413 and "came before is applied" in (await response.json())["detail"]
    assert (await shelf(s0))["on_hand"] == 4


async def test_a_long_body_is_taken_in_constant_memory(client: Any) -> None:
    await stocked([9])
    headers = {**await key(), "Content-Type": NDJSON}
    line = json.dumps({"sku": "S0", "on_hand": "x" * 300}).encode() + b"\n"  # each is answered, and none is kept

    async def sent(lines: int) -> AsyncIterator[bytes]:
        for _ in range(lines // 100):
            yield line * 100

    async def most_for(lines: int) -> int:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        async with client.post(STOCK, data=sent(lines), headers=headers) as response:
            answered = 0
            async for piece in response.content.iter_chunked(1 << 16):
                answered += piece.count(b"{")
        assert response.status == 200 and answered == lines + 1
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    try:
        few, many = await most_for(3_000), await most_for(30_000)
    finally:
        tracemalloc.stop()
    assert many < few + 4 * 2**20, f"{few} bytes for 3,000 lines, {many} for 30,000 (10 MB)"
