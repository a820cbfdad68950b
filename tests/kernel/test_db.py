"""The unit of work: all or nothing, whatever happens to the connection or the task."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from sqlalchemy import select

from hub.kernel import db, store
from hub.kernel.errors import Retry
from hub.kernel.settings import settings


async def _malls() -> list[str]:
    return [row["name"] for row in await db.read("SELECT name FROM malls ORDER BY id")]


async def test_an_exception_undoes_everything(database: db.Database) -> None:
    with pytest.raises(RuntimeError):
        async with db.uow() as tx:
            await store.add_mall(tx, "a")
            raise RuntimeError("no")
    assert await _malls() == []


async def test_a_savepoint_undoes_only_what_is_inside_it(database: db.Database) -> None:
    async with db.uow() as tx:
        await store.add_mall(tx, "kept")
        with pytest.raises(asyncpg.PostgresError):
            async with tx.savepoint():
                await store.add_mall(tx, "inner")
                await tx.run("SELECT 1 / 0")
        async with tx.savepoint():
            await store.add_mall(tx, "also kept")
            with pytest.raises(ValueError, match="x"):
                async with tx.savepoint():
                    await store.add_mall(tx, "nested")
                    raise ValueError("x")
    assert await _malls() == ["kept", "also kept"]


async def test_a_swallowed_failure_is_no_silent_rollback(database: db.Database) -> None:
    with pytest.raises(RuntimeError, match="nothing was kept"):
        async with db.uow() as tx:
            await store.add_mall(tx, "a")
            with pytest.raises(asyncpg.PostgresError):
                await tx.run("SELECT 1 / 0")
    assert await _malls() == []


async def test_a_cancelled_transaction_keeps_nothing_and_its_connection_is_sound(database: db.Database) -> None:
    async def work() -> None:
        async with db.uow() as tx:
            await store.add_mall(tx, "half")
            await tx.run("SELECT pg_sleep(30)")

    for _ in range(settings().pool_size + 3):  # more than there are connections: none may be lost
        task = asyncio.create_task(work())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with db.uow() as tx:
        assert await tx.fetchval("SELECT current_setting('supplyhub.tenant')") == "*"
    assert await _malls() == []


async def test_a_connection_that_died_idle_is_replaced_and_one_that_dies_at_work_asks_to_retry(
    database: db.Database,
) -> None:
    async with db.uow() as tx:
        pid = await tx.fetchval("SELECT pg_backend_pid()")
    await db.read("SELECT pg_terminate_backend($1)", pid)
    await asyncio.sleep(0.05)
    async with db.uow() as tx:
        assert await tx.fetchval("SELECT pg_backend_pid()") != pid
    with pytest.raises(Retry):
        async with db.uow() as tx:
            mine = await tx.fetchval("SELECT pg_backend_pid()")
            await db.read("SELECT pg_terminate_backend($1)", mine)
            await asyncio.sleep(0.05)
            await tx.run("SELECT 1")


async def test_the_tenant_ends_with_its_transaction_and_is_never_sql(database: db.Database) -> None:
    async with db.uow("mall:7") as tx:
        assert await tx.fetchval("SELECT current_setting('supplyhub.tenant')") == "mall:7"
    async with db.uow("") as tx:
        assert await tx.fetchval("SELECT current_setting('supplyhub.tenant')") == ""
    for hostile in ("mall:7'; DROP TABLE malls; --", "mall:", "vendor:1 ", "**", "staff"):
        with pytest.raises(ValueError, match="tenant"):
            async with db.uow(hostile):
                pass


async def test_more_transactions_than_connections_take_turns(database: db.Database) -> None:
    async def one(n: int) -> None:
        async with db.uow() as tx:
            await store.add_mall(tx, f"m{n}")
            await asyncio.sleep(0.005)

    await asyncio.gather(*(one(n) for n in range(settings().pool_size * 5)))
    assert len(await _malls()) == settings().pool_size * 5


async def test_core_statements_run_in_the_same_transaction(database: db.Database) -> None:
    async with db.uow() as tx:
        await tx.execute(store.malls.insert(), {"name": "核心"})
        rows = await tx.execute(select(store.malls.c.name).where(store.malls.c.name == "核心"))
        assert [row["name"] for row in rows] == ["核心"]
