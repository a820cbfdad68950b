"""Listings that a vendor sends by its own key: each row judged on its own, replacements that never lose an assortment
by mistake, tables as they lie on somebody's desk."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import AsyncIterator
from typing import Any

import openpyxl
import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer

from catalog import api, listings_web, taking
from connectors import api as connectors
from hub.kernel import keys
from hub.kernel.db import Database, uow
from hub.kernel.web import application
from tests.catalog.kit import fetch, listing, shelf

Client = TestClient[Any, Any]


@pytest.fixture
async def client(database: Database) -> AsyncIterator[Client]:
    async with uow() as tx:
        vendor = await connectors.add_vendor(tx, "自报商家")
        key = await keys.create_key(tx, "vendor", vendor, "t")
    app = application(listings_web.routes.all, body_limit=2**22)
    async with TestClient(TestServer(app), headers={"Authorization": "Bearer " + key}) as made:
        yield made


def item(sku: str, **changes: Any) -> dict[str, Any]:
    return {"sku": sku, "title": f"商品{sku}", "price": "9.90", "on_hand": 5, **changes}


async def send(client: Client, *items: Any, query: str = "") -> dict[str, Any]:
    answer = await client.post(f"/v1/vendor/listings{query}", json={"listings": list(items)})
    assert answer.status == 200, await answer.text()
    return dict(await answer.json())


async def test_each_item_is_judged_on_its_own_and_answered_in_its_place(client: Client) -> None:
    said = await send(
        client, item("A"), item("B", price="-1"), {"sku": "C"}, item("D", gtin="123"), "no", item("E", x=1)
    )
    assert [(r["sku"], r["result"]) for r in said["results"]] == [
        ("A", "applied"), ("B", "invalid"), ("C", "invalid"), ("D", "invalid"), (None, "invalid"), ("E", "invalid")
    ]  # fmt: skip
    assert said["results"][1]["detail"].startswith("price:") and "gtin" in said["results"][3]["detail"]
    assert (await shelf(await listing("A")))["on_hand"] == 5
    again = await send(client, item("A"))
    assert [r["result"] for r in again["results"]] == ["unchanged"], "sending it again changes nothing"
    changed = await send(client, item("A", price="8"), item("A", price="7"))
    assert [r["result"] for r in changed["results"]] == ["invalid", "applied"], "of two the last counts"
    async with uow() as tx:
        assert await api.drift(tx) == []


async def test_a_replacement_takes_off_sale_what_it_does_not_name(client: Client) -> None:
    await send(client, *(item(f"A{n}") for n in range(30)))
    said = await send(client, *(item(f"A{n}") for n in range(25)), query="?mode=replace")
    assert (said["unlisted"], said["held_back"]) == (5, None)
    assert len(await fetch("SELECT 1 FROM catalog_listings WHERE active")) == 25
    assert (await send(client, item("A29")))["results"][0]["result"] == "applied", (
        "it comes back when it is named again"
    )


async def test_a_replacement_that_would_empty_the_shelf_is_held_back_until_it_is_meant(client: Client) -> None:
    await send(client, *(item(f"A{n}") for n in range(30)))
    said = await send(client, item("A1"), query="?mode=replace")
    assert said["unlisted"] == 0 and "29 of 30" in said["held_back"]
    assert len(await fetch("SELECT 1 FROM catalog_listings WHERE active")) == 30
    assert (await send(client, item("A1"), query="?mode=replace&any_share=true"))["unlisted"] == 29


async def test_a_replacement_that_breaks_off_takes_nothing_off_sale(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listings_web, "PIECE", 10)
    await send(client, *(item(f"A{n}") for n in range(30)))
    lines = b"\n".join(orjson.dumps(item(f"A{n}")) for n in range(15))
    cut = gzip.compress(lines)[:-12]
    headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
    answer = await client.post("/v1/vendor/listings?mode=replace", data=cut, headers=headers)
    assert answer.status == 400 and (await answer.json())["type"].endswith("bad_body")
    assert len(await fetch("SELECT 1 FROM catalog_listings WHERE active")) == 30
    assert (await send(client, item("A1"), query="?mode=replace&any_share=true"))["unlisted"] == 29, "not locked out"


async def test_lines_are_streamed_and_a_bad_one_costs_itself(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings_web, "PIECE", 7)
    lines = [orjson.dumps(item(f"A{n}")) for n in range(20)]
    lines[3], lines[11] = b"{broken", b'{"sku": "' + b"x" * 70_000 + b'"}'
    body = gzip.compress(b"\n".join(lines))
    headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
    answer = await client.post("/v1/vendor/listings", data=body, headers=headers)
    results = (await answer.json())["results"]
    assert [n for n, r in enumerate(results) if r["result"] == "invalid"] == [3, 11] and len(results) == 20


TABLE = "商品编码,名称,价格,库存,条码\r\nA1,口罩,9.90,5,6901234567892\r\nA2,=CMD(),8,3,\r\nA3,洗手液,free,1,\r\n"
TABLE += ",无编码,1,1,\r\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
async def test_a_table_is_taken_as_it_lies_on_a_desk_and_reported_line_by_line(client: Client, encoding: str) -> None:
    headers = {"Content-Type": "text/csv", "Accept": "text/csv"}
    answer = await client.post("/v1/vendor/listings", data=TABLE.encode(encoding), headers=headers)
    report = (await answer.read()).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(report)))
    assert [(r["row"], r["sku"], r["result"]) for r in rows] == [
        ("1", "A1", "applied"), ("2", "A2", "applied"), ("3", "A3", "invalid"), ("4", "", "invalid")
    ]  # fmt: skip
    assert "price" in rows[2]["detail"]
    assert (await shelf(await listing("A1")))["on_hand"] == 5


async def test_a_workbook_is_taken_too_and_formulas_stay_text_in_the_report(client: Client) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for cells in (("sku", "title", "price"), ("=1+1", "x", "1"), ("@b", "", "1"), ("C", "杯子", 12.5)):
        sheet.append(list(cells))
    kept = io.BytesIO()
    book.save(kept)
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    answer = await client.post(
        "/v1/vendor/listings", data=kept.getvalue(), headers={"Content-Type": kind, "Accept": "text/csv"}
    )
    rows = list(csv.DictReader(io.StringIO((await answer.read()).decode("utf-8-sig"))))
    assert rows[-1]["result"] == "applied" and rows[-1]["sku"] == "C"
    assert all(not row["sku"].startswith(("=", "@")) for row in rows)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "text/csv", 400),
        (b"a,b\n1,2\n", "text/csv", 400),
        (b"sku,price\n1,2\n", "text/csv", 422),
        (b"PK\x03\x04broken", "application/octet-stream", 400),
        (b"<html>", "text/csv", 400),
        (b'{"listings": {}}', "application/json", 422),
        (b'{"listings": [], "more": 1}', "application/json", 422),
        (b"[", "application/json", 400),
    ],
)
async def test_what_cannot_be_read_is_refused_before_anything_begins(
    client: Client, body: bytes, kind: str, status: int
) -> None:
    answer = await client.post("/v1/vendor/listings?mode=replace", data=body, headers={"Content-Type": kind})
    assert answer.status == status, await answer.text()
    assert await fetch("SELECT 1 FROM connections") == []


async def test_the_vendors_own_connection_is_made_once_and_never_pulled(client: Client) -> None:
    await send(client, item("A"))
    await send(client, item("B"))
    [row] = await fetch("SELECT id, connector FROM connections")
    assert row["connector"] == "vendor_api"
    async with uow() as tx:
        assert await connectors.due_connections(tx) == []
        await tx.run("UPDATE connections SET next_sync_at = now() - interval '1 day'")
        assert await connectors.due_connections(tx) == []


async def test_two_replacements_at_once_do_not_mix(client: Client) -> None:
    async with uow() as tx:
        vendor = await tx.fetchval("SELECT id FROM vendors")
    first = taking.Upload(vendor, "replace")
    await first.begin()
    answer = await client.post("/v1/vendor/listings?mode=replace", json={"listings": [item("A")]})
    assert answer.status == 409
    await first.give_up("enough")
    assert (await send(client, item("A"), query="?mode=replace"))["results"][0]["result"] == "applied"
