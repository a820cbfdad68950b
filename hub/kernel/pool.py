"""Connections to PostgreSQL, lent for one transaction at a time. Leaner than a general pool: a transaction that ended
leaves nothing to reset, so a connection that worked goes straight back and one that did not is thrown away. Beginning
costs one round trip: BEGIN and the tenant that row-level security reads travel together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg

from hub.kernel.errors import Retry

_TENANT = re.compile(r"\*|(mall|vendor):[0-9]{1,18}|")
WAIT_S = 10.0


async def open_connection(dsn: str, server_settings: Mapping[str, str]) -> asyncpg.Connection[Any]:
    """A connection on which JSONB goes in as JSON text and comes out parsed."""
    connection = await asyncpg.connect(dsn, timeout=10, server_settings=dict(server_settings))
    await connection.set_type_codec("jsonb", encoder=str, decoder=json.loads, schema="pg_catalog")
    return connection


class Writers:
    """Up to `size` connections, opened when needed, the last used taken first."""

    def __init__(self, dsn: str, size: int, server_settings: Mapping[str, str]) -> None:
        self._dsn = dsn
        self._server_settings = server_settings
        self._room = asyncio.Semaphore(size)
        self._idle: list[asyncpg.Connection[Any]] = []
        self._size = size
        self._lent = 0
        self._closed = False

    @property
    def spare(self) -> int:
        """How many more transactions could begin at once."""
        return self._size - self._lent

    @contextlib.asynccontextmanager
    async def transaction(self, tenant: str) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A connection inside a transaction that commits when the block ends and rolls back when it raises."""
        if not _TENANT.fullmatch(tenant):
            raise ValueError(f"{tenant!r} is no tenant")
        try:
            await asyncio.wait_for(self._room.acquire(), WAIT_S)
        except TimeoutError:
            raise Retry("the database is busy; try again", code="database_busy", after=1.0) from None
        self._lent += 1
        try:
            connection = await self._begin(tenant)
            try:
                yield connection
                if await connection.execute("COMMIT") != "COMMIT":
                    raise RuntimeError("a statement had failed inside this transaction; nothing was kept")
            except BaseException:
                await self._roll_back(connection)
                raise
            finally:
                self._give_back(connection)
        finally:
            self._lent -= 1
            self._room.release()

    async def _begin(self, tenant: str) -> asyncpg.Connection[Any]:
        """A connection that has begun. One that died while it was idle is replaced: nothing was done on it yet."""
        begin = f"BEGIN; SELECT set_config('supplyhub.tenant', '{tenant}', true)"
        while self._idle:
            connection = self._idle.pop()
            try:
                await connection.execute(begin)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                connection.terminate()
            except BaseException:
                connection.terminate()
                raise
            else:
                return connection
        connection = await open_connection(self._dsn, self._server_settings)
        try:
            await connection.execute(begin)
        except BaseException:
            connection.terminate()
            raise
        return connection

    @staticmethod
    async def _roll_back(connection: asyncpg.Connection[Any]) -> None:
        if connection.is_closed():
            return
        try:
            async with asyncio.timeout(5):
                await connection.execute("ROLLBACK")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            connection.terminate()  # the server rolls back what it no longer hears of
        except BaseException:
            connection.terminate()
            raise

    def _give_back(self, connection: asyncpg.Connection[Any]) -> None:
        if connection.is_closed():
            return
        if self._closed or connection.is_in_transaction():
            connection.terminate()
        else:
            self._idle.append(connection)

    async def close(self) -> None:
        """Close what is idle; a transaction that still runs closes its connection when it ends."""
        self._closed = True
        closing, self._idle = self._idle, []
        for connection in closing:
            await connection.close()
