"""Bare connections for single read-only statements. asyncpg's own pool is made for leases: it shields and resets a
connection at each return, which costs as much as a small statement itself. A read leaves nothing to reset, so here a
connection that worked goes straight back, and one that did not is thrown away."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import asyncpg

from hub.kernel.pool import open_connection


class Readers:
    """Up to `size` connections, opened when needed, the last used taken first."""

    def __init__(self, dsn: str, size: int, server_settings: Mapping[str, str]) -> None:
        self._dsn = dsn
        self._server_settings = {
            **server_settings,
            "default_transaction_read_only": "on",
            "plan_cache_mode": "force_generic_plan",  # planning anew would cost more than most of these statements
        }
        self._room = asyncio.Semaphore(size)
        self._idle: list[asyncpg.Connection[Any]] = []
        self._closed = False

    async def fetch(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        """Rows of one statement. A connection that died while it was idle is replaced and the statement sent again,
        since reading twice does no harm."""
        async with self._room:
            while True:
                fresh = not self._idle
                connection = self._idle.pop() if self._idle else await open_connection(self._dsn, self._server_settings)
                try:
                    rows = await connection.fetch(sql, *args)
                except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                    if not connection.is_closed():
                        self._give_back(connection)
                        raise
                    if fresh:
                        raise
                except BaseException:  # cancelled in the middle: whatever still arrives on it is nobody's
                    connection.terminate()
                    raise
                else:
                    self._give_back(connection)
                    return rows

    def _give_back(self, connection: asyncpg.Connection[Any]) -> None:
        if self._closed:
            connection.terminate()
        else:
            self._idle.append(connection)

    async def close(self) -> None:
        """Close what is idle; a connection that is still reading closes when it is done."""
        self._closed = True
        closing, self._idle = self._idle, []
        for connection in closing:
            await connection.close()
