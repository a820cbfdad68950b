"""SQL about what arrives and cannot all be used: landed pushes, quarantined rows, unknown fields."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from connectors.store.values import row_id
from hub.kernel.db import Tx


async def land(tx: Tx, connection_id: int, external_id: str, topic: str, body: bytes) -> int | None:
    """The new row's id, or None when this delivery landed before."""
    sql = """INSERT INTO inbox (connection_id, external_id, topic, body, received_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (connection_id, external_id) DO NOTHING RETURNING id"""
    return row_id(await tx.fetchval(sql, connection_id, external_id, topic, body, tx.now))


async def landed(tx: Tx, inbox_id: int) -> asyncpg.Record | None:
    return await tx.fetchrow("SELECT connection_id, topic, body, received_at FROM inbox WHERE id = $1", inbox_id)


async def forget_landed(tx: Tx, before: datetime) -> int:
    return await tx.run("DELETE FROM inbox WHERE received_at < $1", before)


async def add_quarantine(tx: Tx, connection_id: int, run_id: int | None, rows: Sequence[tuple[Any, ...]]) -> None:
    """`rows` are (reason, pointer, vendor_sku, raw, digest), with distinct digests."""
    sql = """INSERT INTO quarantine (connection_id, run_id, reason, pointer, vendor_sku, raw, digest, created_at,
                                     last_seen_at)
             SELECT $1, $2, r.reason, r.pointer, r.vendor_sku, r.raw, r.digest, $3, $3
             FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[])
                  AS r(reason, pointer, vendor_sku, raw, digest)
             ON CONFLICT (connection_id, digest) DO UPDATE
             SET times = quarantine.times + 1, last_seen_at = excluded.last_seen_at, run_id = excluded.run_id,
                 replayed_at = NULL"""
    columns = [list(column) for column in zip(*rows, strict=True)]
    await tx.run(sql, connection_id, run_id, tx.now, *columns)


async def quarantine_rows(tx: Tx, connection_id: int | None, before: int, limit: int) -> list[asyncpg.Record]:
    sql = """SELECT id, connection_id, run_id, reason, pointer, vendor_sku, raw, times, created_at, last_seen_at,
                    replayed_at
             FROM quarantine WHERE ($1::bigint IS NULL OR connection_id = $1) AND id < $2 ORDER BY id DESC LIMIT $3"""
    return await tx.fetch(sql, connection_id, before, limit)


async def quarantine_counts(tx: Tx) -> list[asyncpg.Record]:
    sql = """SELECT connection_id, reason, count(*) AS rows FROM quarantine WHERE replayed_at IS NULL
             GROUP BY connection_id, reason ORDER BY connection_id, rows DESC"""
    return await tx.fetch(sql)


async def note_drift(tx: Tx, connection_id: int, fields: Sequence[str]) -> list[str]:
    """Those of `fields` that were not known before, now noted."""
    sql = """INSERT INTO schema_drift (connection_id, field, first_seen_at)
             SELECT $1, f, $3 FROM unnest($2::text[]) AS f ORDER BY f
             ON CONFLICT DO NOTHING RETURNING field"""
    return sorted(row["field"] for row in await tx.fetch(sql, connection_id, list(fields), tx.now))


async def drift_rows(tx: Tx, connection_id: int) -> list[asyncpg.Record]:
    sql = "SELECT field, first_seen_at FROM schema_drift WHERE connection_id = $1 ORDER BY field"
    return await tx.fetch(sql, connection_id)
