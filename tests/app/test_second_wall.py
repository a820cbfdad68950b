"""Row-level security by itself, under statements that name no tenant: whatever a query forgets, a transaction of one
mall or vendor neither sees nor moves another's rows."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import Table

from hub.kernel import store
from hub.kernel.db import Tx, metadata, read_value, uow
from tests.app.api_world import Tenant, World, footprint, living_world


@pytest.fixture(scope="module")
async def world(schema: str) -> AsyncIterator[World]:
    async with living_world(schema) as made:
        yield made


# Tables with a tenant's number that have no wall of their own, and why that is right.
NO_WALL = {
    "api_keys": "read by digest, before anybody knows who calls",
    "idempotency_keys": "the tenant is part of the key that is looked up",
    "routing_policies": "staff's; no route of a mall or vendor reads them",
    "vendor_standings": "staff's, and what routing weighs; no route of a mall or vendor reads them",
    "order_quotas": "staff's; no route of a mall or vendor reads them",
    "vendor_holds": "the hub's own list of what vendors hold; no route reads it",
    "connections": "staff's; vendors' own calls need the ids of their connections",
    "catalog_feeds": "which vendor a listing is of: every mall reads it",
    "catalog_assortments": "staff's; what a mall reads and buys is judged by its own row alone",
    "catalog_changes": "numbered together; a reader gets what is everybody's and what is its own, and product numbers",
    "pricing_policies": "staff's; no route of a mall or vendor reads them",
    "pricing_holds": "read for one mall at a time, by listing numbers alone",
}  # fmt: skip

# Tables behind a wall that one kind of tenant never sees a row of.
HIDDEN_FROM: dict[str, set[str]] = {
    "vendor": {
        "emergency_demands", "emergency_shares", "emergency_sites", "order_codes", "order_marks",
        "order_review_rules", "order_reviews",
    },
    "mall": {
        "emergency_supplies", "settlement_cases", "settlement_list_rows", "settlement_lists", "settlement_runs",
        "settlement_terms",
    },
}  # fmt: skip


# Tables whose rows belong to a mall or to a vendor, and say so in one column.
BOTH = frozenset({"webhook_endpoints", "webhook_messages", "webhook_sendings"})


def tenant_tables() -> list[Table]:
    columns = {"mall_id", "vendor_id", "tenant", "tenant_id"}
    return [table for table in metadata.sorted_tables if columns & set(table.columns.keys())]


async def walled(tx: Tx) -> dict[str, bool]:
    """Tables under row-level security, and whether it binds their owner too."""
    rows = await tx.fetch("SELECT relname, relforcerowsecurity FROM pg_class WHERE relrowsecurity")
    return {row["relname"]: row["relforcerowsecurity"] for row in rows}


async def test_every_table_of_a_tenant_has_a_wall_or_a_reason_why_not(world: World) -> None:
    async with uow() as tx:
        walls = await walled(tx)
        assert await store.walls_bind(tx), "a superuser or a role with BYPASSRLS walks through every wall"
    assert all(walls.values())
    assert {table.name for table in tenant_tables()} - set(walls) == set(NO_WALL)
    assert not set(walls) & set(NO_WALL) and len(walls) >= 9


async def test_behind_the_wall_a_tenant_sees_its_own_rows_alone(world: World) -> None:
    async with uow() as tx:
        names = sorted(await walled(tx))
        rows = {name: await count_of(tx, name) for name in names}
    assert min(rows.values()) > 0, "the world holds rows of every such table"
    for tenant in world.tenants:
        async with uow() as tx:
            own = {name: await count_of(tx, name, own_rows(name, tenant)) for name in names}
        async with uow(f"{tenant.scope}:{tenant.id}") as tx:
            seen = {name: await count_of(tx, name) for name in names}
            others = {name: await count_of(tx, name, f"NOT ({own_rows(name, tenant)})") for name in names}
        assert seen == own and set(others.values()) == {0}, tenant.name
        hidden = HIDDEN_FROM[tenant.scope]
        assert all((0 < seen[name] < rows[name]) if name not in hidden else seen[name] == 0 for name in names), tenant


async def count_of(tx: Tx, table: str, rule: str = "true") -> int:
    return int(await tx.fetchval(f'SELECT count(*) FROM "{table}" WHERE {rule}'))


def own_rows(table: str, tenant: Tenant) -> str:
    """What a tenant may see of a table, as SQL."""
    if table in HIDDEN_FROM[tenant.scope]:
        return "false"
    if table in BOTH:
        return f"tenant = '{tenant.scope}:{tenant.id}'"
    if tenant.scope == "mall":
        return f"mall_id = {tenant.id}"
    if table == "orders":
        return f"id IN (SELECT order_id FROM purchase_orders WHERE vendor_id = {tenant.id})"
    if table == "fulfillment_line_clock":
        return f"{tenant.id} IN (vendor_id, first_vendor_id)"
    return f"vendor_id = {tenant.id}"


async def test_whoever_is_nobody_sees_nothing(world: World) -> None:
    async with uow() as tx:
        names = sorted(await walled(tx))
    nobodies = (
        "",
        "mall:",
        "mall:0",
        "mall",
        "vendor:999",
        "MALL:1",
        "staff",
        "mall:1 OR 1=1",
        "%",
        "mall:%",
        "mall:01",
    )
    for nobody in nobodies:
        async with uow("") as tx:
            await tx.run("SELECT set_config('supplyhub.tenant', $1, true)", nobody)
            for name in names:
                assert await tx.fetchval(f'SELECT count(*) FROM "{name}"') == 0, (nobody, name)


async def test_a_reader_outside_any_transaction_sees_no_tenants_rows(world: World) -> None:
    async with uow() as tx:
        names = await walled(tx)
    for name in names:
        assert await read_value(f'SELECT count(*) FROM "{name}"') == 0, name


async def test_the_wall_stops_writing_too(world: World) -> None:
    before = await footprint()
    async with uow() as tx:
        names = sorted(await walled(tx))
    for name in names:
        scope, tenants = ("vendor", world.vendors) if name in HIDDEN_FROM["mall"] else ("mall", world.malls)
        mine, other = tenants["A"].id, tenants["B"].id
        column, theirs = ("tenant", f"'{scope}:{other}'") if name in BOTH else (f"{scope}_id", str(other))
        async with uow(f"{scope}:{mine}") as tx:
            assert await tx.run(f'UPDATE "{name}" SET {column} = {column} WHERE {column} = {theirs}') == 0
            assert await tx.run(f'DELETE FROM "{name}" WHERE {column} = {theirs}') == 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with uow(f"{scope}:{mine}") as tx:
                await tx.run(f'UPDATE "{name}" SET {column} = {theirs}')
    for vendor in world.vendors.values():
        async with uow(f"vendor:{vendor.id}") as tx:
            assert await tx.run("UPDATE orders SET mall_order_no = 'x'") == 0, "a vendor reads an order, no more"
            other_supplies = f"UPDATE emergency_supplies SET lot = 'x' WHERE vendor_id <> {vendor.id}"
            assert await tx.run(other_supplies) == 0
    assert await footprint() == before
