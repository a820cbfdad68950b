"""What the fault tests stand on: an empty database of the newest schema for those about the database alone, and a
whole hub with sandbox vendors for the others. Servers live in a temporary folder and end with the process."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url

from hub.app.demo.scene import Scene, scene
from hub.app.migrate import upgrade
from hub.kernel import db
from hub.kernel.embedded import Embedded
from hub.kernel.settings import settings

_TEMPLATE = "chaos_template"
_numbers = itertools.count(1)
_server_url = ""  # of a server that holds the template
_shared: Scene | None = None


@contextlib.asynccontextmanager
async def empty_database() -> AsyncIterator[str]:
    """An empty database at the newest schema, which is this process's database for the length of the block."""
    name = f"chaos_{next(_numbers)}"
    server = _server_url or await _serve()
    await _command(server, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    before, db._database = db._database, None
    url = _of(server, name)
    db.connect(url, settings())
    try:
        yield url
    finally:
        await db.disconnect()
        db._database = before
        await _command(server, f"DROP DATABASE {name} WITH (FORCE)")


async def _serve() -> str:
    """Start a server for this process and migrate the template; returns the server's URL."""
    folder = Path(tempfile.mkdtemp(prefix="supplyhub-chaos-"))
    embedded = Embedded(folder)

    def stop() -> None:
        embedded.stop()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    embedded.start()
    return await serve_from(embedded.database_url)


async def serve_from(url: str) -> str:
    """Make the databases on the running server at `url` from now on; returns it."""
    global _server_url
    await _command(url, f"CREATE DATABASE {_TEMPLATE}")
    await upgrade(_of(url, _TEMPLATE))
    _server_url = url
    return url


def _of(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


async def _command(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def rows(sql: str, *args: Any) -> list[asyncpg.Record]:
    """What the tables hold, of every tenant."""
    async with db.uow() as tx:
        return await tx.fetch(sql, *args)


async def count(sql: str, *args: Any) -> int:
    """One number out of the tables, over every tenant."""
    return int((await rows(sql, *args))[0][0])


async def drift() -> int:
    """Rows of the shelf whose counters are not the sums of their ledger and of their open holds."""
    return await count(_DRIFT)


_DRIFT = """
SELECT count(*) FROM catalog_stock s WHERE
  coalesce(s.on_hand, 0) <> (SELECT coalesce(sum(on_hand_change), 0) FROM catalog_movements m
                              WHERE m.listing_id = s.listing_id AND m.location = s.location)
  OR s.reserved <> (SELECT coalesce(sum(reserved_change), 0) FROM catalog_movements m
                    WHERE m.listing_id = s.listing_id AND m.location = s.location)
  OR s.reserved <> (SELECT coalesce(sum(quantity), 0) FROM catalog_holds h
                    WHERE h.listing_id = s.listing_id AND h.location = s.location AND h.state IN ('held', 'accepted'))
"""


@contextlib.asynccontextmanager
async def stage() -> AsyncIterator[Scene]:
    """A whole hub with small sandbox vendors: the shared one where there is one, else one of its own."""
    if _shared is not None:
        yield _shared
        return
    async with scene(small=True, **HUB) as made:
        yield made


# Two web processes under a master and two workers, so that one is at work while the other is being killed; a lost
# answer is asked about after a second instead of five.
HUB: dict[str, Any] = {
    "SUPPLYHUB_LOG_LEVEL": "CRITICAL",
    "SUPPLYHUB_WEB_PROCESSES": "2",
    "SUPPLYHUB_FLOW_PROCESSES": "2",
    "SUPPLYHUB_ACCEPT_UNKNOWN_AFTER_S": "1",
}


@contextlib.asynccontextmanager
async def shared_stage() -> AsyncIterator[Scene]:
    """One stage for all tests that run inside the block."""
    global _shared
    async with scene(small=True, **HUB) as made:
        _shared = made
        try:
            yield made
        finally:
            _shared = None
