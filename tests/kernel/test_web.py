"""The HTTP shell: who may call, what a bad request gets, and idempotent answers."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from hub.kernel import db, keys, store
from hub.kernel.errors import Conflict, TooMany
from hub.kernel.types import Input, Price, Quantity, View
from hub.kernel.web import Call, Routes, application

routes = Routes("test")


class Wish(Input):
    name: str
    quantity: Quantity
    price: Price | None = None


class Done(View):
    name: str
    count: int


class Page(Input):
    limit: int = 20


@routes.post("/wishes", scope="mall", body=Wish, answer=Done, status=201, idempotent=True, summary="x")
async def make_wish(call: Call[Wish, Any]) -> Done:
    await store.add_mall(call.tx, call.body.name)
    if call.body.name == "slow":
        await asyncio.sleep(0.3)
    if call.body.name == "crash":
        raise RuntimeError("half-way")
    if call.body.name == "refuse":
        raise Conflict("no", code="no")
    return Done(name=call.body.name, count=await call.tx.fetchval("SELECT count(*) FROM malls"))


@routes.get("/pages", scope=("mall", "staff"), query=Page, summary="x")
async def pages(call: Call[Any, Page]) -> dict[str, Any]:
    return {"limit": call.query.limit, "tenant": call.principal.tenant}


@routes.get("/busy", scope="public", summary="x")
async def busy(call: Call[Any, Any]) -> None:
    raise TooMany("slow down", after=2.4)


@pytest.fixture
async def client(database: db.Database) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(application(routes.all, body_limit=100_000))) as made:
        yield made


async def _key(scope: Any = "mall") -> dict[str, str]:
    async with db.uow() as tx:
        tenant = await store.add_mall(tx, "m") if scope != "staff" else None
        return {"Authorization": "Bearer " + await keys.create_key(tx, scope, tenant, "t")}


async def test_no_key_wrong_scope_and_unknown_field(client: TestClient[Any, Any]) -> None:
    answer = await client.get("/v1/pages")
    assert answer.status == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.content_type == "application/problem+json"
    vendor = await _key("vendor")
    assert (await client.get("/v1/pages", headers=vendor)).status == 403
    mall = await _key()
    assert (await client.get("/v1/pages", headers=mall)).status == 200
    refused = await client.get("/v1/pages?limit=x&other=1", headers=mall)
    assert refused.status == 422
    pointers = {found["pointer"] for found in (await refused.json())["errors"]}
    assert pointers == {"/limit", "/other"}


BAD_BODIES: list[tuple[bytes, int]] = [
    (b"", 400), (b"{", 400), (b"\xff\xfe", 400), (b"[]", 422), (b"null", 422), (b"{}", 422),
    (b'{"name":"a","quantity":0}', 422), (b'{"name":"a","quantity":-1}', 422), (b'{"name":"a","quantity":1.5}', 422),
    (b'{"name":"a","quantity":"1"}', 422), (b'{"name":"a","quantity":true}', 422),
    (b'{"name":"a","quantity":99999999999999999999999}', 422), (b'{"name":"a","quantity":1,"price":NaN}', 422),
    (b'{"name":"a","quantity":1,"price":Infinity}', 422), (b'{"name":"a","quantity":1,"price":"NaN"}', 422),
    (b'{"name":"a","quantity":1,"price":0}', 422), (b'{"name":"a","quantity":1,"price":1e30}', 422),
    (b'{"name":"a","quantity":1,"extra":1}', 422), (b'{"name":1,"quantity":1}', 422),
    (b'{"name":"a","quantity":' + b"[" * 5000 + b"]" * 5000 + b"}", 400), (b'"' + b"x" * 200_000 + b'"', 413),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status"), BAD_BODIES)
async def test_a_bad_body_gets_a_problem_and_changes_nothing(
    client: TestClient[Any, Any], body: bytes, status: int
) -> None:
    headers = {**await _key(), "Idempotency-Key": "k"}
    answer = await client.post("/v1/wishes", data=body, headers=headers)
    problem = await answer.json(content_type="application/problem+json")
    assert answer.status == status, problem
    assert problem["status"] == answer.status and problem["detail"]
    assert await db.read_value("SELECT count(*) FROM idempotency_keys") == 0


async def test_gzip_is_read_and_cut_gzip_is_refused(client: TestClient[Any, Any]) -> None:
    body = gzip.compress(b'{"name":"zipped","quantity":1}')
    headers = {**await _key(), "Content-Encoding": "gzip"}
    good = await client.post("/v1/wishes", data=body, headers={**headers, "Idempotency-Key": "a"})
    assert good.status == 201
    for keep in (len(body) - 12, len(body) - 1, 11, 0):
        cut = await client.post("/v1/wishes", data=body[:keep], headers={**headers, "Idempotency-Key": "b"})
        assert cut.status == 400, keep
    alien = await client.post("/v1/wishes", data=body, headers={**headers, "Content-Encoding": "zstd"})
    assert alien.status == 400
    bomb = gzip.compress(b" " * 50_000_000)
    assert (await client.post("/v1/wishes", data=bomb, headers={**headers, "Idempotency-Key": "c"})).status == 413


async def test_sixty_four_posts_of_one_key_have_one_effect(client: TestClient[Any, Any]) -> None:
    headers = {**await _key(), "Idempotency-Key": "one"}

    async def post() -> tuple[int, bytes]:
        answer = await client.post("/v1/wishes", json={"name": "slow", "quantity": 1}, headers=headers)
        return answer.status, await answer.read()

    answers = await asyncio.gather(*(post() for _ in range(64)))
    assert {status for status, _ in answers} <= {201, 409, 503}
    assert len({body for status, body in answers if status == 201}) == 1
    assert (await post()) == next(answer for answer in answers if answer[0] == 201)
    assert await db.read_value("SELECT count(*) FROM malls WHERE name = 'slow'") == 1


async def test_the_same_key_with_another_body_is_refused(client: TestClient[Any, Any]) -> None:
    headers = {**await _key(), "Idempotency-Key": "two"}
    assert (await client.post("/v1/wishes", json={"name": "a", "quantity": 1}, headers=headers)).status == 201
    assert (await client.post("/v1/wishes", json={"name": "b", "quantity": 1}, headers=headers)).status == 422
    other = {**await _key("vendor"), "Idempotency-Key": "two"}
    assert (await client.post("/v1/wishes", json={"name": "b", "quantity": 1}, headers=other)).status == 403


async def test_a_crash_midway_leaves_nothing_and_frees_the_key(client: TestClient[Any, Any]) -> None:
    headers = {**await _key(), "Idempotency-Key": "three"}
    crashed = await client.post("/v1/wishes", json={"name": "crash", "quantity": 1}, headers=headers)
    assert crashed.status == 500 and "half-way" not in await crashed.text()
    assert (await client.post("/v1/wishes", json={"name": "refuse", "quantity": 1}, headers=headers)).status == 409
    assert await db.read_value("SELECT count(*) FROM malls WHERE name IN ('crash', 'refuse')") == 0
    assert (await client.post("/v1/wishes", json={"name": "ok", "quantity": 1}, headers=headers)).status == 201


async def test_too_much_says_when_to_come_back(client: TestClient[Any, Any]) -> None:
    answer = await client.get("/v1/busy")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "2")
