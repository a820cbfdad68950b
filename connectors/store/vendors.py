"""SQL about vendors and their connections."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import asyncpg

from connectors.store.values import row_id
from hub.kernel.db import Tx


async def add_vendor(tx: Tx, name: str, name_en: str) -> int | None:
    """The new vendor's id, or None when the name is taken."""
    sql = """INSERT INTO vendors (name, name_en, created_at) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO NOTHING RETURNING id"""
    return row_id(await tx.fetchval(sql, name, name_en, tx.now))


async def vendor(tx: Tx, vendor_id: int) -> asyncpg.Record | None:
    return await tx.fetchrow("SELECT id, name, name_en, created_at FROM vendors WHERE id = $1", vendor_id)


async def vendor_rows(tx: Tx, after: int, limit: int) -> list[asyncpg.Record]:
    sql = """SELECT v.id, v.name, v.name_en, v.created_at,
                    (SELECT count(*) FROM connections c WHERE c.vendor_id = v.id) AS connections
             FROM vendors v WHERE v.id > $1 ORDER BY v.id LIMIT $2"""
    return await tx.fetch(sql, after, limit)


_CONNECTION = """SELECT c.*, v.name AS vendor_name FROM connections c JOIN vendors v ON v.id = c.vendor_id"""


async def add_connection(tx: Tx, row: Mapping[str, Any]) -> int | None:
    """The new connection's id, or None when the vendor has one of this name."""
    sql = """INSERT INTO connections (vendor_id, connector, name, role, config, defaults, sync_every_s, next_sync_at,
                                      push_enabled, created_at, status)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $8, $10)
             ON CONFLICT (vendor_id, name) DO NOTHING RETURNING id"""
    values = (row["vendor_id"], row["connector"], row["name"], row["role"], json.dumps(row["config"]),
              json.dumps(row["defaults"]), row["sync_every_s"], tx.now, row["push_enabled"],
              row["status"])  # fmt: skip
    return row_id(await tx.fetchval(sql, *values))


async def keep_secrets(tx: Tx, connection_id: int, sealed: bytes) -> None:
    await tx.run("UPDATE connections SET secrets = $2 WHERE id = $1", connection_id, sealed)


async def connection(tx: Tx, connection_id: int) -> asyncpg.Record | None:
    return await tx.fetchrow(f"{_CONNECTION} WHERE c.id = $1", connection_id)


async def connection_rows(tx: Tx, vendor_id: int | None, after: int, limit: int) -> list[asyncpg.Record]:
    sql = f"""{_CONNECTION} WHERE ($1::bigint IS NULL OR c.vendor_id = $1) AND c.id > $2 ORDER BY c.id LIMIT $3"""
    return await tx.fetch(sql, vendor_id, after, limit)


async def sync_now(tx: Tx, connection_id: int) -> int:
    return await tx.run(
        "UPDATE connections SET next_sync_at = LEAST(next_sync_at, $2), sync_requested = true WHERE id = $1",
        connection_id,
        tx.now,
    )


async def lock_connection(tx: Tx, connection_id: int) -> None:
    await tx.run("SELECT 1 FROM connections WHERE id = $1 FOR NO KEY UPDATE", connection_id)


async def change_connection(tx: Tx, connection_id: int, row: Mapping[str, Any]) -> bool:
    """Write a connection's name, settings, schedule and whether it takes pushes; False when the name is taken."""
    sql = """UPDATE connections c SET name = $2, config = $3, sync_every_s = $4, push_enabled = $5
             WHERE id = $1 AND NOT EXISTS (
               SELECT 1 FROM connections o WHERE o.vendor_id = c.vendor_id AND o.name = $2 AND o.id <> c.id)"""
    values = (row["name"], json.dumps(row["config"]), row["sync_every_s"], row["push_enabled"])
    return await tx.run(sql, connection_id, *values) == 1


async def set_status(tx: Tx, connection_id: int, status: str) -> int:
    return await tx.run("UPDATE connections SET status = $2 WHERE id = $1", connection_id, status)


async def take_to_poll(tx: Tx, connectors: Sequence[str], every_s: float) -> list[int]:
    """Connections of these systems that were last asked for messages `every_s` ago; marks them as asked now."""
    sql = """UPDATE connections SET polled_at = $2 WHERE id IN (
               SELECT id FROM connections WHERE connector = ANY($1::text[]) AND status <> 'draft'
                 AND (polled_at IS NULL OR polled_at <= $3) ORDER BY polled_at NULLS FIRST, id FOR UPDATE SKIP LOCKED)
             RETURNING id"""
    before = tx.now - timedelta(seconds=every_s)
    return sorted(row["id"] for row in await tx.fetch(sql, list(connectors), tx.now, before))


async def go_live(tx: Tx, connection_id: int) -> int:
    """Live and due now."""
    return await tx.run(
        "UPDATE connections SET status = 'live', next_sync_at = LEAST(next_sync_at, $2), failures = 0 WHERE id = $1",
        connection_id,
        tx.now,
    )
