"""What the catalogue's write-side tests share: connections with a vendor behind them that the test plays itself."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.contracts import ListingIn, Page
from hub.kernel.db import uow

T0 = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def row(sku: str, **given: Any) -> ListingIn:
    values: dict[str, Any] = {"vendor_sku": sku, "title": f"口罩 {sku}", "price": "9.90", "on_hand": 5, **given}
    return ListingIn.model_validate(values)


def pages(rows: Sequence[ListingIn], size: int = 100, captured_at: datetime = T0, complete: bool = True) -> list[Page]:
    """The rows as pages with resumable cursors; at least one page."""
    starts = range(0, max(len(rows), 1), size)
    return [
        Page(
            listings=tuple(rows[start : start + size]),
            cursor={"from": start + size},
            captured_at=captured_at,
            complete=complete and start + size >= len(rows),
        )
        for start in starts
    ]


async def connection(
    vendor: str = "张三药房",
    role: str = "supply",
    name: str = "main",
    connector: str = "table_feed",
    config: str = "{}",
) -> int:
    """A connection row of a vendor, made when new."""
    async with uow() as tx:
        vendor_id = await tx.fetchval(
            "INSERT INTO vendors (name, created_at) VALUES ($1, $2) "
            "ON CONFLICT (name) DO UPDATE SET name = $1 RETURNING id",
            vendor, tx.now,
        )  # fmt: skip
        return int(
            await tx.fetchval(
                "INSERT INTO connections (vendor_id, connector, name, role, config, sync_every_s, next_sync_at, "
                "created_at) VALUES ($1, $2, $3, $4, $6, 900, $5, $5) RETURNING id",
                vendor_id, connector, name, role, tx.now, config,
            )
        )  # fmt: skip


class Vendor:
    """Plays the connector of every connection: gives the pages it was told to, from after a cursor."""

    def __init__(self) -> None:
        self.pages: dict[int, list[Page]] = {}
        self.stock: dict[int, list[Page]] = {}  # connections named here tell their stock apart
        self.fail_after: dict[int, tuple[int, BaseException]] = {}
        self.asked: list[dict[str, Any] | None] = []
        self.known: Any = None

    @contextlib.asynccontextmanager
    async def open(self, connection_id: int, known: Any = None) -> AsyncIterator[_Connector]:
        self.known = known
        yield (_StockedConnector if connection_id in self.stock else _Connector)(self, connection_id)


class _Connector:
    def __init__(self, vendor: Vendor, connection_id: int) -> None:
        self._vendor = vendor
        self._id = connection_id

    async def pull(self, since: dict[str, Any] | None) -> AsyncIterator[Page]:
        async for page in self._given(self._vendor.pages[self._id], since):
            yield page

    async def _given(self, pages: list[Page], since: dict[str, Any] | None) -> AsyncIterator[Page]:
        self._vendor.asked.append(since)
        given = 0
        started = since is None or "since" in since
        for page in pages:
            if started:
                limit, error = self._vendor.fail_after.get(self._id, (-1, None))
                if given == limit and error is not None:
                    raise error
                yield page
                given += 1
            elif page.cursor == since:
                started = True


class _StockedConnector(_Connector):
    async def pull_stock(self, since: dict[str, Any] | None) -> AsyncIterator[Page]:
        async for page in self._given(self._vendor.stock[self._id], since):
            yield page


async def listing(sku: str) -> int:
    async with uow() as tx:
        return int(await tx.fetchval("SELECT id FROM catalog_listings WHERE vendor_sku = $1 ORDER BY id LIMIT 1", sku))


async def shelf(listing_id: int, location: str = "") -> dict[str, Any]:
    async with uow() as tx:
        found = await tx.fetchrow(
            "SELECT * FROM catalog_stock WHERE listing_id = $1 AND location = $2", listing_id, location
        )
        assert found is not None
        return dict(found)


async def fetch(sql: str, *args: Any) -> list[dict[str, Any]]:
    async with uow() as tx:
        return [dict(r) for r in await tx.fetch(sql, *args)]


async def stocked(figures: Iterable[int | None], vendor: str = "张三药房") -> tuple[int, list[int]]:
    """A connection whose listings `S0`, `S1`… have these figures on hand as of T0; returns its id and theirs.
    None means that the vendor only says `in_stock`."""
    from catalog import api, landing
    from catalog.batching import Batch
    from connectors import api as connectors

    connection_id = await connection(vendor)
    async with uow() as tx:
        view = await connectors.get_connection(tx, connection_id)
        await api.put_connection(tx, view)
        rows = [
            row(f"S{i}", on_hand=n) if n is not None else row(f"S{i}", on_hand=None, level="in_stock")
            for i, n in enumerate(figures)
        ]
        await landing.land(tx, view, Batch.pushed(rows, [], T0), None)
        found = await tx.fetch(
            "SELECT id FROM catalog_listings WHERE connection_id = $1 ORDER BY length(vendor_sku), vendor_sku",
            connection_id,
        )
    return connection_id, [r["id"] for r in found]
