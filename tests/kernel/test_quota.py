"""Promises of the quotas: a key has what it was given and no more, however many processes serve it, and the hub works
on while nobody can be asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from hub.kernel import keys, metrics, quota
from hub.kernel.db import Database, uow
from hub.kernel.embedded import Embedded
from hub.kernel.errors import TooMany
from hub.kernel.quota import Quota
from hub.kernel.web import Call, Routes, application

NOWHERE = "redis://127.0.0.1:1/0"


@dataclass(frozen=True)
class Key:
    key_id: int
    per_minute: int | None
    scope: str = "vendor"


@pytest.fixture
async def processes(servers: Embedded) -> AsyncIterator[list[Quota]]:
    """Three web processes on one Redis server, as far as quotas can tell."""
    made = [Quota(servers.redis_url) for _ in range(3)]
    await made[0]._redis.flushdb()
    yield made
    for each in made:
        await each.close()


async def spent(one: Quota, key: Key, calls: int) -> int:
    """How many of so many calls were let through."""
    let = 0
    for _ in range(calls):
        try:
            await one.spend(key)
            let += 1
        except TooMany:
            pass
    return let


async def test_a_key_has_its_minutes_worth_over_all_processes_together(processes: list[Quota]) -> None:
    key = Key(1, 300)
    counts = await asyncio.gather(*(spent(each, key, 300) for each in processes))
    assert 300 <= sum(counts) <= 300 + 5 * 5, "300 at once, and 5 a second for the seconds that this took"
    assert await spent(processes[0], Key(2, 300), 10) == 10, "another key has its own"


async def test_many_calls_at_once_draw_together(processes: list[Quota]) -> None:
    key = Key(3, 6_000)
    asked = 0
    draw = processes[0]._script

    async def counted(**given: Any) -> Any:
        nonlocal asked
        asked += 1
        return await draw(**given)

    processes[0]._script = counted
    await asyncio.gather(*(spent(processes[0], key, 50) for _ in range(16)))
    assert asked < 800 / 4, "a busy key is not looked up at every call"


async def test_a_refusal_says_when_to_come_back_and_coming_back_then_helps(processes: list[Quota]) -> None:
    key = Key(4, 60)
    assert await spent(processes[0], key, 60) == 60
    with pytest.raises(TooMany) as refused:
        await processes[0].spend(key)
    assert refused.value.after == 1.0 and refused.value.code == "quota"
    assert refused.value.headers["RateLimit-Policy"] == '"key";q=60;w=60'
    assert refused.value.headers["RateLimit"].startswith('"key";r=0;t=')
    await asyncio.sleep(refused.value.after + 0.05)
    assert await processes[0].spend(key)


async def test_what_is_drawn_is_never_more_than_a_tenth_of_a_second_gives(processes: list[Quota]) -> None:
    await spent(processes[0], Key(5, 60_000), 2_000)
    assert processes[0]._buckets[5].draw == 100


async def test_while_nobody_can_be_asked_nothing_is_refused_and_it_is_counted() -> None:
    alone = Quota(NOWHERE)
    before = metrics.QUOTA_UNCHECKED._value.get()
    assert await spent(alone, Key(6, 1), 20) == 20
    assert metrics.QUOTA_UNCHECKED._value.get() == before + 20
    await alone.close()


async def test_it_is_applied_again_when_the_server_is_back(processes: list[Quota]) -> None:
    one, key = processes[0], Key(7, 2)
    good = one._script

    async def away(**_given: Any) -> Any:
        raise ConnectionError("reset by peer")

    one._script = away
    assert await spent(one, key, 5) == 5
    one._script, one._away_until = good, 0.0
    assert await spent(one, key, 5) == 2


async def test_zero_is_no_limit_and_a_keys_own_number_comes_before_its_scopes(processes: list[Quota]) -> None:
    assert await spent(processes[0], Key(8, 0), 500) == 500
    assert quota.per_minute(Key(9, None)) == 300_000 and quota.per_minute(Key(9, 7)) == 7


async def test_over_http_each_scope_is_told_where_it_stands(database: Database, servers: Embedded) -> None:
    routes = Routes("test")

    @routes.get("/ping", scope=("mall", "vendor", "staff"), summary="ping", answer=dict[str, str])
    async def ping(_call: Call[Any, Any]) -> dict[str, str]:
        return {}

    async with uow() as tx:
        mall = await tx.fetchval("INSERT INTO malls (name) VALUES ('m') RETURNING id")
        made = {
            "mall": await keys.create_key(tx, "mall", mall, "few", per_minute=3),
            "vendor": await keys.create_key(tx, "vendor", 1, "few", per_minute=3),
            "staff": await keys.create_key(tx, "staff", None, "few", per_minute=3),
        }
    quota.connect(servers.redis_url)
    assert quota._quota is not None
    await quota._quota._redis.flushdb()
    try:
        async with TestClient(TestServer(application(routes.all, body_limit=1000))) as client:
            for key in made.values():
                headers = {"Authorization": f"Bearer {key}"}
                seen = []
                for _ in range(5):
                    async with client.get("/v1/ping", headers=headers) as answer:
                        seen.append((answer.status, answer.headers["RateLimit"].split(";")[1]))
                assert seen == [(200, "r=2"), (200, "r=1"), (200, "r=0"), (429, "r=0"), (429, "r=0")]
                async with client.get("/v1/ping", headers=headers) as answer:
                    assert answer.content_type == "application/problem+json"
                    assert 1 <= int(answer.headers["Retry-After"]) <= 20
                async with client.get("/v1/ping", headers={"Authorization": "Bearer nobody"}) as answer:
                    assert answer.status == 401 and "RateLimit" not in answer.headers
    finally:
        await quota.disconnect()
