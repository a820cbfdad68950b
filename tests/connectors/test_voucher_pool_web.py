"""Staff fill a pool and look at it: line by line, by list or table, and no answer ever holds a code."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import openpyxl
import pytest
from aiohttp.test_utils import TestClient, TestServer

from connectors import voucher_web as surface
from connectors.voucher_pool.kit import ISSUE
from hub.kernel import audit, db, keys
from hub.kernel.web import application
from tests.connectors.test_voucher_pool import SKUS, connection, opened, po, rows

Client = TestClient[Any, Any]
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@pytest.fixture
async def client(database: db.Database) -> AsyncIterator[Client]:
    async with TestClient(TestServer(application(surface.routes.all, body_limit=16 * 2**20))) as made:
        async with db.uow() as tx:
            made.session.headers["Authorization"] = "Bearer " + await keys.create_key(tx, "staff", None, "t")
        yield made


async def send(
    client: Client, c: int, data: Any = None, *, query: str = "", media: str = "text/csv", **more: Any
) -> Any:
    if data is not None:
        more |= {"data": data, "headers": {"Content-Type": media}}
    answer = await client.post(f"/v1/connections/{c}/codes{query}", **more)
    return answer.status, await answer.json()


def workbook(*lines: tuple[Any, ...]) -> bytes:
    book = openpyxl.Workbook()
    for line in lines:
        book.active.append(line)
    made = io.BytesIO()
    book.save(made)
    return made.getvalue()


async def test_a_list_is_taken_in_line_by_line(client: Client) -> None:
    c = await connection()
    codes = [
        {"sku": "SPA", "code": " A-1 ", "pin": "9", "valid_until": "2099-01-31"},
        {"sku": "SPA", "code": "A-1"},
        {"sku": "SPA", "code": "A-2", "valid_until": "2020-01-31"},
        {"sku": "SPA", "code": 7},
        {"sku": "BOAT", "code": "A-3"},
        {"code": "A-4"},
        {"sku": "SPA", "code": "A-5", "colour": "red"},
        "A-6",
        {"sku": "SPA", "code": "A-7", "valid_until": "soon"},
        {"sku": "CARD", "code": "A-8", "pin": None, "valid_until": ""},
    ]
    status, body = await send(client, c, json={"codes": codes})
    assert (status, body["taken"], body["duplicates"], body["refused"]) == (200, 2, 1, 7)
    assert [(r["line"], r["result"]) for r in body["results"]] == [
        (1, "taken"), (2, "duplicate"), (3, "refused"), (4, "refused"), (5, "refused"), (6, "refused"), (7, "refused"),
        (8, "refused"), (9, "refused"), (10, "taken"),
    ]  # fmt: skip
    again = await send(client, c, json={"codes": codes})
    assert (again[1]["taken"], again[1]["duplicates"]) == (0, 3)
    async with opened(c) as pool:
        order = po(("SPA", 1))
        await pool.place(order, key=order.number)
        [code] = await pool.issue(order, key=order.number)
    assert (code.code.get_secret_value(), code.pin.get_secret_value() if code.pin else "") == ("A-1", "9")
    assert str(code.valid_until) == "2099-01-31 15:59:59+00:00"


TABLE = """券码,卡密,有效期至,商品编码,备注
X-1,1,2099/1/31,SPA,好
X-2,,,SPA,
X-1,2,,SPA,
,,,SPA,
1.23457E+15,,,CARD,
X-3,,,,
"""
WANTED = ["taken", "taken", "duplicate", "refused", "refused", "refused"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
async def test_a_table_of_any_encoding_is_taken_in(client: Client, encoding: str) -> None:
    c = await connection()
    status, body = await send(client, c, TABLE.encode(encoding))
    assert status == 200 and [r["result"] for r in body["results"]] == WANTED
    assert "format the column as text" in body["results"][4]["detail"]


async def test_a_workbook_is_taken_in_and_numbers_that_lost_digits_are_not(client: Client) -> None:
    c = await connection()
    good = workbook(("code", "sku", "valid_until"), ("B-1", "SPA", "2099-01-31"), (123456789012, "SPA", None))
    status, body = await send(client, c, good, media=XLSX)
    assert (status, body["taken"]) == (200, 2)
    spoilt = workbook(("code", "sku"), (6200123456789012345, "SPA"), (6200123456789012346, "SPA"), ("B-3", "SPA"))
    _, body = await send(client, c, spoilt, media=XLSX)
    assert [r["result"] for r in body["results"]] == ["refused", "refused", "taken"]


async def test_codes_that_name_no_sku_are_of_the_one_that_is_asked_for_or_sold(client: Client) -> None:
    one, two = await connection(skus={"SPA": SKUS["SPA"]}), await connection()
    assert (await send(client, one, b"code\nA-1\n"))[1]["taken"] == 1
    assert (await send(client, two, b"code\nA-1\n"))[1]["refused"] == 1
    assert (await send(client, two, b"code\nA-1\n", query="?sku=CARD"))[1]["taken"] == 1
    assert await rows("SELECT connection_id, sku FROM voucher_codes ORDER BY 1") == [(one, "SPA"), (two, "CARD")]


@pytest.mark.parametrize(
    ("data", "media", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 422),
        (b'{"codes": {}}', "application/json", 422),
        (b'{"codes": [], "more": 1}', "application/json", 422),
        (b"", "text/csv", 400),
        (b"price,title\n1,x\n", "text/csv", 400),
        (b"sku,pin\nSPA,1\n", "text/csv", 400),
        (b"<html><body>login</body></html>", "text/csv", 400),
        (b"PK\x03\x04broken", XLSX, 400),
        (b"code\n" + b"".join(b"C-%d\n" % n for n in range(20_001)), "text/csv", 413),
    ],
)
async def test_what_is_no_list_and_no_table_is_refused_whole(
    client: Client, data: bytes, media: str, status: int
) -> None:
    c = await connection()
    got, body = await send(client, c, data, media=media)
    assert (got, body["status"]) == (status, status), body
    assert await rows("SELECT count(*) FROM voucher_codes") == [(0,)]


async def test_a_pool_is_shown_masked_and_counted(client: Client) -> None:
    c = await connection()
    codes = [{"sku": "SPA", "code": f"SECRET-CODE-{n:03}", "pin": "4711"} for n in range(6)]
    codes += [{"sku": "CARD", "code": "CARD-TODAY-1", "valid_until": "2099-01-31"}]
    _, taken = await send(client, c, json={"codes": codes})
    order = po(("SPA", 2))
    async with opened(c) as pool:
        await pool.place(order, key=order.number)
        await pool.issue(order, key=order.number)
    first = await (await client.get(f"/v1/connections/{c}/codes?limit=4")).json()
    second = await (await client.get(f"/v1/connections/{c}/codes?limit=4&cursor={first['next']}")).json()
    assert [(x["sku"], x["free"], x["expired"], x["handed"], x["void"]) for x in first["counts"]] == [
        ("CARD", 1, 0, 0, 0), ("SPA", 4, 0, 2, 0),
    ]  # fmt: skip
    items = [*first["items"], *second["items"]]
    assert len(items) == 7 and second["next"] is None and items[0]["masked"] == "CA••••-1"
    handed = await (await client.get(f"/v1/connections/{c}/codes?state=handed&sku=SPA")).json()
    assert [(x["po_number"], x["line_no"]) for x in handed["items"]] == [(order.number, 1)] * 2
    assert all(x["shown_at"] for x in handed["items"])
    text = str(taken) + str(first) + str(second) + str(handed)
    assert "SECRET" not in text and "4711" not in text


async def test_taking_in_is_audited_and_the_shelf_is_told_at_once(client: Client) -> None:
    c = await connection()
    await rows("UPDATE connections SET next_sync_at = next_sync_at + interval '1 day' RETURNING 1")
    await send(client, c, json={"codes": [{"sku": "SPA", "code": "SECRET-1"}, {"sku": "SPA", "code": "SECRET-1"}]})
    [(action, subject, facts)] = await rows("SELECT action, subject, facts FROM audit")
    assert (action, subject) == ("codes.take_in", f"connection:{c}")
    assert facts == {"lines": 2, "taken": 1, "skus": {"SPA": 1}}
    async with db.uow() as tx:
        assert await audit.first_broken(tx) is None
    assert await rows("SELECT next_sync_at <= now() FROM connections WHERE id = $1", c) == [(True,)]


async def test_a_connection_without_a_pool_takes_no_codes(client: Client) -> None:
    issued = await connection(source="api", base_url="https://issue.example", issue=ISSUE)
    for c, status in ((issued, 422), (issued + 1, 404), ("x", 404)):
        answer = await client.post(f"/v1/connections/{c}/codes", json={"codes": []})
        assert answer.status == status
    assert (await client.get(f"/v1/connections/{issued}/codes")).status == 200  # what was issued can be looked at
    assert (await client.get(f"/v1/connections/{issued + 1}/codes")).status == 404
    assert await rows("SELECT count(*) FROM audit") == [(0,)]
