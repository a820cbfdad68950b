"""A Shopify shop in the catalogue: what a pull, a change, a failed operation and a webhook leave there."""

from __future__ import annotations

from typing import Any

import pytest

from catalog import api as catalog
from catalog import ingest
from connectors import api as connectors
from connectors import guards
from connectors.contracts import PayloadLanded
from connectors.kit_stage import reachable
from connectors.sandbox_kit import Delivery
from connectors.shopify import bulk
from connectors.shopify.sandbox import HOME, OUTLET, ShopifySandbox
from hub.kernel import db
from hub.kernel.db import uow
from tests.connectors.test_shopify import MUG, SHIRT, no_waiting

__all__ = ["no_waiting"]  # a fixture that every test here uses

SOLD_OUT = {"title": "旧", "sku": "OLD", "price": "1", "stock": {HOME: 0, OUTLET: 3}}


async def joined(sandbox: ShopifySandbox) -> int:
    """A connection to a running shop."""
    async with uow() as tx:
        vendor = await connectors.add_vendor(tx, "张三商城")
        return await connectors.add_connection(
            tx, vendor_id=vendor, connector="shopify", name="main", config={"base_url": sandbox.base_url},
            secrets=sandbox.credentials(),
        )  # fmt: skip


async def listed() -> dict[str, tuple[Any, ...]]:
    """SKU -> price, whether it is on sale, and what each location has."""
    async with uow() as tx:
        rows = await tx.fetch(
            "SELECT l.vendor_sku, l.price, l.active, coalesce(jsonb_object_agg(s.location, s.on_hand) "
            "FILTER (WHERE s.location IS NOT NULL), '{}') AS stock FROM catalog_listings l "
            "LEFT JOIN catalog_stock s ON s.listing_id = l.id GROUP BY l.id"
        )
        return {r["vendor_sku"]: (str(r["price"].normalize()), r["active"], r["stock"]) for r in rows}


async def test_a_shop_is_listed_with_its_stock_follows_changes_and_loses_what_was_deleted(
    database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "HEARTBEAT_S", 0.0)
    sandbox = ShopifySandbox([MUG, SHIRT, SOLD_OUT])
    sandbox.bulk_polls = 2  # empty pages go out meanwhile
    await sandbox.start()
    try:
        with reachable(sandbox):
            connection = await joined(sandbox)
            first = await catalog.sync(connection, kind="full")
            assert (first.seen, first.created, first.complete, first.error) == (4, 4, True, None)
            large = f"#{list(sandbox.variants)[2].rsplit('/', 1)[1]}"
            assert await listed() == {
                "MUG": ("12.9", True, {str(HOME): 5}),
                "TEE-S": ("49", True, {str(HOME): 3}),
                large: ("52", True, {str(HOME): 2}),
                "OLD": ("1", True, {str(HOME): 0, str(OUTLET): 0}),
            }
            sandbox.set_stock("MUG", 1)
            sandbox.change("TEE-S", price="45.00")
            changed = await catalog.sync(connection, kind="incremental")
            assert (changed.updated, changed.error) == (1, None)
            now = await listed()
            assert (now["MUG"][2], now["TEE-S"][0]) == ({str(HOME): 1}, "45")
            sandbox.variants.pop(sandbox.variant_of("OLD")["id"])
            gone = await catalog.sync(connection, kind="full")
            assert (gone.unlisted, gone.error) == (1, None) and not (await listed())["OLD"][1]
    finally:
        await sandbox.stop()
        guards.forget()


async def test_a_failed_operation_takes_nothing_off_sale_and_the_next_pull_starts_anew(database: db.Database) -> None:
    sandbox = ShopifySandbox([MUG, SHIRT])
    await sandbox.start()
    try:
        with reachable(sandbox):
            connection = await joined(sandbox)
            await catalog.sync(connection, kind="full")
            sandbox.bulk_ends, sandbox.bulk_error, sandbox.lost_lines = "FAILED", "TIMEOUT", 2
            failed = await catalog.sync(connection, kind="full")
            assert not failed.complete and "FAILED" in (failed.error or "") and failed.unlisted == 0
            assert all(active for _, active, _ in (await listed()).values())
            sandbox.bulk_ends, sandbox.bulk_error, sandbox.lost_lines = "COMPLETED", None, 0
            again = await catalog.sync(connection, kind="full")
            assert (again.complete, again.unlisted, again.error) == (True, 0, None)
    finally:
        await sandbox.stop()
        guards.forget()


async def test_webhooks_change_prices_at_once_and_levels_without_a_sku_leave_no_rubbish(database: db.Database) -> None:
    sandbox = ShopifySandbox([MUG])
    await sandbox.start()
    try:
        with reachable(sandbox):
            connection = await joined(sandbox)
            await catalog.sync(connection, kind="full")
            sandbox.change("MUG", price="9.90")
            product = sandbox.product_delivery("MUG")
            level = sandbox.delivery("inventory_levels/update", {"inventory_item_id": 1, "location_id": HOME})
            assert [await landed(connection, push) for push in (product, product, level)] == [True, False, True]
            assert await listed() == {"MUG": ("9.9", True, {str(HOME): 5})}
            async with uow() as tx:
                assert await connectors.quarantine_counts(tx) == {}
    finally:
        await sandbox.stop()
        guards.forget()


async def landed(connection: int, push: Delivery) -> bool:
    """Whether a push was new; its meaning is in the catalogue then."""
    landing = await connectors.land_push(connection, push.headers, push.body)
    if landing.inbox_id is None:
        return False
    async with uow() as tx:
        await ingest.on_payload(tx, PayloadLanded(inbox_id=landing.inbox_id, connection_id=connection))
    return True
