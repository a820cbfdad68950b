"""SQL of incidents, of the sites that ask and of the stock that is fenced off for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import orjson

from fulfillment.store.emergency_tables import (
    DDL,
    allotments,
    approvals,
    demands,
    incidents,
    knocks,
    leads,
    plans,
    shares,
    sites,
    supplies,
)
from fulfillment.store.tables import columns_of
from hub.kernel.db import Tx

# -- incidents


async def add_incident(tx: Tx, row: Mapping[str, Any]) -> int:
    return int(
        await tx.fetchval(
            "INSERT INTO emergency_incidents (title, area, exercise, access, mall_ids, code_digest, items, "
            "unverified_headcount, unverified_tier, window_s, seed, status, declared_at, declared_by, deadline_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9, $10, $11, 'open', $12, $13, $14) RETURNING id",
            row["title"], row["area"], row["exercise"], row["access"], row["mall_ids"], row["code_digest"],
            orjson.dumps(row["items"]).decode(), row["unverified_headcount"], row["unverified_tier"], row["window_s"],
            row["seed"], tx.now, row["declared_by"], row["deadline_at"],
        )
    )  # fmt: skip


async def incident(tx: Tx, incident_id: int, *, lock: bool = False) -> asyncpg.Record | None:
    """An incident. With `lock` nobody else changes anything of it until this transaction ends."""
    return await tx.fetchrow(
        f"SELECT * FROM emergency_incidents WHERE id = $1{' FOR UPDATE' if lock else ''}",  # noqa: S608
        incident_id,
    )


async def incident_by_code(tx: Tx, digest: bytes) -> asyncpg.Record | None:
    return await tx.fetchrow("SELECT * FROM emergency_incidents WHERE code_digest = $1", digest)


async def incident_rows(tx: Tx, before: int, limit: int) -> list[asyncpg.Record]:
    """Incidents, the newest first."""
    return await tx.fetch("SELECT * FROM emergency_incidents WHERE id < $1 ORDER BY id DESC LIMIT $2", before, limit)


async def zones_of(tx: Tx, mall_id: int) -> list[asyncpg.Record]:
    """Open incidents in which this company may ask."""
    return await tx.fetch(
        "SELECT * FROM emergency_incidents WHERE status = 'open' AND (mall_ids IS NULL OR $1 = ANY(mall_ids)) "
        "ORDER BY id DESC LIMIT 200",
        mall_id,
    )


async def close_incident(tx: Tx, incident_id: int, by: str) -> None:
    await tx.run(
        "UPDATE emergency_incidents SET status = 'closed', closed_at = $2, closed_by = $3 WHERE id = $1",
        incident_id,
        tx.now,
        by,
    )


async def next_epoch(tx: Tx, incident_id: int) -> None:
    await tx.run("UPDATE emergency_incidents SET epoch = epoch + 1 WHERE id = $1", incident_id)


# -- sites and demands


async def sites_by_key(tx: Tx, incident_id: int, owner: int, keys: Sequence[str]) -> dict[str, asyncpg.Record]:
    rows = await tx.fetch(
        "SELECT * FROM emergency_sites WHERE incident_id = $1 AND owner = $2 AND site_key = ANY($3::text[])",
        incident_id,
        owner,
        list(keys),
    )
    return {row["site_key"]: row for row in rows}


async def sites_named(tx: Tx, incident_id: int, keys: Sequence[str]) -> dict[str, list[int]]:
    """Sites of any owner by what their name comes to."""
    found: dict[str, list[int]] = {}
    rows = await tx.fetch(
        "SELECT id, site_key FROM emergency_sites WHERE incident_id = $1 AND site_key = ANY($2::text[])",
        incident_id,
        list(keys),
    )
    for row in rows:
        found.setdefault(row["site_key"], []).append(row["id"])
    return found


async def addresses_asked(
    tx: Tx, incident_id: int, address_keys: Sequence[bytes], since: datetime
) -> list[asyncpg.Record]:
    """(site id, address key, item) of what was asked for at these addresses since, by whomever."""
    return await tx.fetch(
        "SELECT s.id, s.address_key, d.item FROM emergency_sites s JOIN emergency_demands d ON d.site_id = s.id "
        "WHERE s.incident_id = $1 AND s.address_key = ANY($2::bytea[]) AND d.asked_at > $3 AND d.quantity > 0",
        incident_id,
        list(address_keys),
        since,
    )


async def add_sites(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> dict[str, int]:
    """Insert (incident, mall, owner, key, name, area, address key, ship_to, substitutes, claimed headcount, verified
    headcount, tier, pool, floor, verified by); returns their ids by key."""
    added = await tx.fetch(
        "INSERT INTO emergency_sites (incident_id, mall_id, owner, site_key, name, area, address_key, ship_to, "
        "substitutes, claimed_headcount, verified_headcount, tier, pool, floor, verified_by, created_at) "
        "SELECT u.*, $16::timestamptz FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], "
        "$6::text[], $7::bytea[], $8::bytea[], $9::bool[], $10::int[], $11::int[], $12::int[], $13::text[], "
        "$14::int[], $15::text[]) AS u RETURNING id, site_key",
        *columns_of(rows),
        tx.now,
    )
    return {row["site_key"]: row["id"] for row in added}


async def verify_sites(
    tx: Tx, incident_id: int, rows: Sequence[tuple[int, int, int, str | None, int | None]], by: str
) -> set[int]:
    """Write (site, verified headcount, tier, pool, floor); None leaves pool and floor. Returns the sites found."""
    found = await tx.fetch(
        "UPDATE emergency_sites s SET verified_headcount = u.heads, tier = u.tier, pool = coalesce(u.pool, s.pool), "
        "floor = coalesce(u.floor, s.floor), verified_by = $7 FROM unnest($2::bigint[], $3::int[], $4::int[], "
        "$5::text[], $6::int[]) AS u(id, heads, tier, pool, floor) WHERE s.id = u.id AND s.incident_id = $1 "
        "RETURNING s.id",
        incident_id,
        *columns_of(rows),
        by,
    )
    return {row["id"] for row in found}


async def demands_of_sites(tx: Tx, site_ids: Sequence[int]) -> dict[tuple[int, str], asyncpg.Record]:
    """When each of these sites last asked for each item, how much, and what it was allotted."""
    rows = await tx.fetch(
        f"SELECT d.site_id, d.item, d.quantity, d.asked_at, {_ALLOTTED} AS allotted FROM emergency_demands d "  # noqa: S608
        "WHERE d.site_id = ANY($1::bigint[])",
        list(site_ids),
    )
    return {(row["site_id"], row["item"]): row for row in rows}


async def put_demands(tx: Tx, rows: Sequence[tuple[int, int, int | None, str, int, str]]) -> None:
    """Write (incident, site, mall, item, quantity, channel): what a site asks now takes the place of what it asked."""
    await tx.run(
        "INSERT INTO emergency_demands (incident_id, site_id, mall_id, item, quantity, channel, asked_at) "
        "SELECT u.*, $7::timestamptz FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::int[], "
        "$6::text[]) AS u ON CONFLICT (site_id, item) DO UPDATE SET quantity = EXCLUDED.quantity, "
        "channel = EXCLUDED.channel, asked_at = EXCLUDED.asked_at",
        *columns_of(rows),
        tx.now,
    )


async def count_again(tx: Tx, rows: Sequence[tuple[int, str]]) -> None:
    """Note that these (site, item) were asked for once more."""
    await tx.run(
        "UPDATE emergency_demands d SET asked_again = asked_again + u.times FROM (SELECT a AS site_id, b AS item, "
        "count(*)::int AS times FROM unnest($1::bigint[], $2::text[]) AS x(a, b) GROUP BY 1, 2) AS u "
        "WHERE d.site_id = u.site_id AND d.item = u.item",
        *columns_of(rows),
    )


_ALLOTTED = (
    "coalesce((SELECT sum(a.units) FROM emergency_allotments a WHERE a.demand_id = d.id "
    "AND a.state IN ('held', 'ordered', 'rehearsed')), 0)::int"
)


async def demand_rows(
    tx: Tx, incident_id: int, after: int, limit: int, mall_id: int | None = None
) -> list[asyncpg.Record]:
    """Demands with their sites, in the order in which they first came. `allotted`: what committed plans gave them and
    vendors did not refuse."""
    return await tx.fetch(
        "SELECT d.id, d.site_id, d.mall_id, d.item, d.quantity, d.channel, d.asked_at, d.asked_again, s.name, s.area, "  # noqa: S608
        "s.substitutes, s.claimed_headcount, s.verified_headcount, s.tier, s.pool, s.floor, "
        f"{_ALLOTTED} AS allotted FROM emergency_demands d JOIN emergency_sites s ON s.id = d.site_id "
        "WHERE d.incident_id = $1 AND d.id > $2 AND ($4::bigint IS NULL OR d.mall_id = $4) ORDER BY d.id LIMIT $3",
        incident_id,
        after,
        limit,
        mall_id,
    )


async def ship_to_of(tx: Tx, site_ids: Sequence[int]) -> dict[int, asyncpg.Record]:
    rows = await tx.fetch(
        "SELECT id, incident_id, owner, site_key, mall_id, ship_to FROM emergency_sites WHERE id = ANY($1::bigint[])",
        list(site_ids),
    )
    return {row["id"]: row for row in rows}


# -- supplies and lead times


async def add_supplies(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> list[int]:
    """Insert (incident, vendor, listing, product, location, warehouse, item, lot, expires at, units each, pool,
    substitute, quantity, hold), each wholly fenced; returns the ids, fewer than rows when one is there already."""
    added = await tx.fetch(
        "INSERT INTO emergency_supplies (incident_id, vendor_id, listing_id, product_id, location, warehouse, item, "
        "lot, expires_at, units_each, pool, substitute, quantity, hold_id, fenced, created_at) "
        "SELECT u.*, u.m, $15::timestamptz FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], "
        "$5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[], $10::int[], $11::text[], $12::bool[], "
        "$13::int[], $14::uuid[]) AS u(a, b, c, d, e, f, g, h, i, j, k, l, m, n) ON CONFLICT DO NOTHING RETURNING id",
        *columns_of(rows),
        tx.now,
    )
    return [row["id"] for row in added]


async def supply_rows(
    tx: Tx, incident_id: int, after: int = 0, limit: int = 1_000_000, ids: Sequence[int] | None = None
) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT *, quantity - fenced - lost - given_back AS taken FROM emergency_supplies WHERE incident_id = $1 "
        "AND id > $2 AND ($4::bigint[] IS NULL OR id = ANY($4)) ORDER BY id LIMIT $3",
        incident_id,
        after,
        limit,
        list(ids) if ids is not None else None,
    )


async def save_fences(tx: Tx, rows: Sequence[tuple[int, int, int, int, Any]]) -> None:
    """Write (supply, fenced, lost, given back, hold)."""
    await tx.run(
        "UPDATE emergency_supplies s SET fenced = u.fenced, lost = u.lost, given_back = u.back, hold_id = u.hold "
        "FROM unnest($1::bigint[], $2::int[], $3::int[], $4::int[], $5::uuid[]) AS u(id, fenced, lost, back, hold) "
        "WHERE s.id = u.id",
        *columns_of(rows),
    )


async def put_leads(tx: Tx, rows: Sequence[tuple[int, str, str, int, Decimal, Decimal]]) -> None:
    """Write (incident, warehouse, area, site or 0, hours, cost); the newest word counts."""
    await tx.run(
        "INSERT INTO emergency_leads (incident_id, warehouse, area, site_id, hours, cost) SELECT * FROM "
        "unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::numeric[], $6::numeric[]) "
        "ON CONFLICT (incident_id, warehouse, area, site_id) DO UPDATE SET hours = EXCLUDED.hours, "
        "cost = EXCLUDED.cost",
        *columns_of(rows),
    )


async def lead_rows(tx: Tx, incident_id: int) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT warehouse, area, site_id, hours, cost FROM emergency_leads WHERE incident_id = $1 ORDER BY id",
        incident_id,
    )


async def sites_there(tx: Tx, incident_id: int, ids: Sequence[int]) -> set[int]:
    rows = await tx.fetch(
        "SELECT id FROM emergency_sites WHERE incident_id = $1 AND id = ANY($2::bigint[])", incident_id, list(ids)
    )
    return {row["id"] for row in rows}


# -- the public door


async def knock(tx: Tx, source: bytes, minute: datetime) -> int:
    """Count one use of the public door; returns how many there were from this source in this minute."""
    await tx.run("DELETE FROM emergency_knocks WHERE minute < $1", minute - timedelta(hours=1))
    return int(
        await tx.fetchval(
            "INSERT INTO emergency_knocks AS k (source, minute, times) VALUES ($1, $2, 1) "
            "ON CONFLICT (source, minute) DO UPDATE SET times = k.times + 1 RETURNING times",
            source,
            minute,
        )
    )


__all__ = [
    "DDL", "add_incident", "add_sites", "add_supplies", "addresses_asked", "allotments", "approvals", "close_incident",
    "count_again", "demand_rows", "demands", "demands_of_sites", "incident", "incident_by_code", "incident_rows",
    "incidents", "knock", "knocks", "lead_rows", "leads", "next_epoch", "plans", "put_demands", "put_leads",
    "save_fences", "shares", "ship_to_of", "sites", "sites_by_key", "sites_named", "sites_there", "supplies",
    "supply_rows", "verify_sites", "zones_of",
]  # fmt: skip
