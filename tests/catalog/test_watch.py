"""Promises of the assortment figure: it counts what can be ordered of each kind, and tells a drop below the target."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from catalog import reading
from catalog.watch import watch_assortment
from hub.kernel.db import Database, uow
from tests.catalog.kit import fetch
from tests.catalog.shop import feed, item, reader


async def filled(kind: str, count: int) -> None:
    """So many products of a kind that can be ordered, written at once."""
    first, _ = await item("first", kind=kind, mode="parcel")
    async with uow() as tx:
        await tx.run(
            """
            WITH p AS (
              INSERT INTO catalog_products (kind, mode, title, search, listed, sellable, created_at, updated_at)
              SELECT kind, mode, title, search, true, true, now(), now() FROM catalog_products, generate_series(2, $2)
              WHERE id = $1 RETURNING id),
            l AS (
              INSERT INTO catalog_listings (connection_id, vendor_sku, product_id, title, kind, mode, price, currency,
                digest, created_at, updated_at)
              SELECT 1, 'X' || p.id, p.id, 't', $3, 'parcel', 1, 'CNY', '', now(), now() FROM p RETURNING id)
            INSERT INTO catalog_stock (listing_id, on_hand, level, reported_at)
            SELECT id, 5, 'in_stock', now() FROM l
            """,
            first,
            count,
            kind,
        )


async def figure() -> dict[str, Any]:
    async with reader("staff") as staff:
        said = await staff.get("/v1/metrics/assortment")
        return {each["kind"]: each for each in said["kinds"]}


async def told() -> list[str]:
    return [row["type"] for row in await fetch("SELECT type FROM outbox ORDER BY id")]


async def test_five_hundred_that_can_be_ordered_are_enough_and_one_less_is_not(database: Database) -> None:
    await feed(1)
    await filled("goods", 500)
    await filled("service", 499)
    said = await figure()
    assert [(k, said[k]["numerator"], said[k]["status"]) for k in said] == [
        ("goods", 500, "met"), ("service", 499, "missed"), ("experience", 0, "missed"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE catalog_stock SET on_hand = 0, level = 'out' WHERE listing_id = 1",
        "UPDATE catalog_stock SET reserved = 10 WHERE listing_id = 1",
        "UPDATE catalog_stock SET frozen = true WHERE listing_id = 1",
        "UPDATE catalog_stock SET reported_at = now() - interval '3 hours' WHERE listing_id = 1",
        "UPDATE catalog_listings SET active = false WHERE id = 1",
        "UPDATE catalog_products SET listed = false WHERE id = 1",
        "UPDATE catalog_feeds SET live = false",
    ],
)
async def test_dropping_below_is_told_once_and_so_is_coming_back(database: Database, change: str) -> None:
    await feed(1)
    await filled("goods", 500)
    await watch_assortment()
    assert await told() == [], "what never was enough has not dropped"
    async with uow() as tx:
        await tx.run(change)
    await asyncio.gather(*(watch_assortment() for _ in range(4)))
    assert await told() == ["AssortmentDropped"]
    since = (await figure())["goods"]["below_since"]
    assert since is not None
    await watch_assortment()
    assert (await figure())["goods"]["below_since"] == since and len(await told()) == 1
    async with uow() as tx:
        good = "on_hand = 5, level = 'in_stock', reserved = 0, frozen = false, reported_at = now()"
        await tx.run(f"UPDATE catalog_stock SET {good}")
        await tx.run("UPDATE catalog_listings SET active = true")
        await tx.run("UPDATE catalog_products SET listed = true")
        await tx.run("UPDATE catalog_feeds SET live = true")
    await watch_assortment()
    assert await told() == ["AssortmentDropped", "AssortmentRestored"]
    assert (await figure())["goods"]["below_since"] is None
    assert reading.ASSORTMENT_TARGET == 500
