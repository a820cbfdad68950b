"""What the tests of matching after ingest share: vendors that bring listings, the step that follows, and a client of
procurement staff."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

import catalog.matches_web
import catalog.web
from catalog import api, landing
from catalog.batching import Batch
from catalog.contracts import ListingsChanged
from connectors import api as connectors
from hub.kernel import events, keys
from hub.kernel.db import uow
from hub.kernel.web import application
from tests.catalog.kit import T0, connection, fetch, row
from tests.catalog.shop import Reader


async def bring(vendor: str, *rows: tuple[str, str] | dict[str, Any]) -> None:
    """A vendor brings listings, (SKU, title) or whole, and what follows is done."""
    await land(vendor, *rows)
    await follow()


async def land(vendor: str, *rows: tuple[str, str] | dict[str, Any]) -> None:
    """A vendor brings listings."""
    known = await fetch("SELECT c.id FROM connections c JOIN vendors v ON v.id = c.vendor_id WHERE v.name = $1", vendor)
    connection_id = known[0]["id"] if known else await connection(vendor)
    given = [row(each[0], title=each[1]) if isinstance(each, tuple) else row(**each) for each in rows]
    async with uow() as tx:
        view = await connectors.get_connection(tx, connection_id)
        await api.put_connection(tx, view)
        await landing.land(tx, view, Batch.pushed(given, [], T0), None)


async def follow() -> int:
    """Events and the step that holds new listings against the catalogue; returns how many it looked at."""
    await events.drain({ListingsChanged: [api.on_listings_to_match]}, width=1)
    return await api.match_due()


async def product_of(sku: str) -> int:
    (found,) = await fetch("SELECT product_id FROM catalog_listings WHERE vendor_sku = $1", sku)
    return int(found["product_id"])


async def together(one: str, other: str) -> bool:
    return await product_of(one) == await product_of(other)


async def pairs(status: str | None = None) -> list[dict[str, Any]]:
    """Pairs with the SKUs of their sides, oldest first."""
    return await fetch(
        """
        SELECT m.id, m.status, m.score, m.reasons, m.by_hand, l.vendor_sku AS one, r.vendor_sku AS other
        FROM catalog_matches m JOIN catalog_listings l ON l.id = m.left_id JOIN catalog_listings r ON r.id = m.right_id
        WHERE $1::text IS NULL OR m.status = $1 ORDER BY m.id
        """,
        status,
    )


@asynccontextmanager
async def staff(name: str = "李莉") -> AsyncIterator[Reader]:
    """Somebody of procurement, before the routes of matching and of the catalogue."""
    async with uow() as tx:
        key = await keys.create_key(tx, "staff", None, name)
    app = application([*catalog.matches_web.routes.all, *catalog.web.routes.all], body_limit=2**20)
    async with TestClient(TestServer(app)) as client:
        yield Reader(client, key)
