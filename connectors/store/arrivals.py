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
                 replayed_at = CASE WHEN quarantine.outcome = 'discarded' THEN quarantine.replayed_at END,
                 outcome = CASE WHEN quarantine.outcome = 'discarded' THEN quarantine.outcome END"""
    columns = [list(column) for column in zip(*rows, strict=True)]
    await tx.run(sql, connection_id, run_id, tx.now, *columns)


async def quarantine_rows(tx: Tx, connection_id: int | None, before: int, limit: int) -> list[asyncpg.Record]:
    sql = """SELECT id, connection_id, run_id, reason, pointer, vendor_sku, raw, times, created_at, last_seen_at,
                    replayed_at, outcome, note
             FROM quarantine WHERE ($1::bigint IS NULL OR connection_id = $1) AND id < $2 ORDER BY id DESC LIMIT $3"""
    return await tx.fetch(sql, connection_id, before, limit)


async def open_quarantine(
    tx: Tx, connection_id: int, ids: Sequence[int] | None, reason: str | None, after: int, limit: int
) -> list[asyncpg.Record]:
    """(id, vendor_sku, raw, last_seen_at) of a connection's rows that are not settled: all, or these, or those refused
    for this reason. Locked, in order of id, from after `after`."""
    sql = """SELECT id, vendor_sku, raw, last_seen_at FROM quarantine
             WHERE connection_id = $1 AND replayed_at IS NULL AND ($2::bigint[] IS NULL OR id = ANY($2))
               AND ($3::text IS NULL OR reason = $3) AND id > $4
             ORDER BY id LIMIT $5 FOR UPDATE"""
    return await tx.fetch(sql, connection_id, ids, reason, after, limit)


async def settle_quarantine(tx: Tx, ids: Sequence[int], outcome: str, note: str | None = None) -> None:
    sql = "UPDATE quarantine SET replayed_at = $2, outcome = $3, note = $4 WHERE id = ANY($1::bigint[])"
    await tx.run(sql, ids, tx.now, outcome, note)


async def refuse_again(tx: Tx, rows: Sequence[tuple[int, str, str]]) -> None:
    """Rows (id, reason, pointer) that a replay refused once more, with what is wrong with them now."""
    sql = """UPDATE quarantine q SET reason = r.reason, pointer = r.pointer
             FROM unnest($1::bigint[], $2::text[], $3::text[]) AS r(id, reason, pointer) WHERE q.id = r.id"""
    await tx.run(sql, *(list(column) for column in zip(*rows, strict=True)))


async def quarantine_counts(tx: Tx) -> list[asyncpg.Record]:
    sql = """SELECT connection_id, reason, count(*) AS rows FROM quarantine WHERE replayed_at IS NULL
             GROUP BY connection_id, reason ORDER BY connection_id, rows DESC"""
    return await tx.fetch(sql)


async def quarantine_causes(tx: Tx, connection_id: int | None, limit: int) -> list[asyncpg.Record]:
    """Open rows by cause, the largest first: connection, reason, field, how many, an example, since when."""
    sql = """SELECT q.connection_id, c.name AS connection, v.name AS vendor, q.reason, q.pointer, count(*) AS rows,
                    min(q.id) AS example_id, min(q.created_at) AS since, max(q.last_seen_at) AS last_seen_at
             FROM quarantine q JOIN connections c ON c.id = q.connection_id JOIN vendors v ON v.id = c.vendor_id
             WHERE q.replayed_at IS NULL AND ($1::bigint IS NULL OR q.connection_id = $1)
             GROUP BY 1, 2, 3, 4, 5 ORDER BY rows DESC, 1, 4 LIMIT $2"""
    return await tx.fetch(sql, connection_id, limit)


async def note_drift(tx: Tx, connection_id: int, fields: Sequence[str]) -> list[str]:
    """Those of `fields` that were not known before, now noted."""
    sql = """INSERT INTO schema_drift (connection_id, field, first_seen_at)
             SELECT $1, f, $3 FROM unnest($2::text[]) AS f ORDER BY f
             ON CONFLICT DO NOTHING RETURNING field"""
    return sorted(row["field"] for row in await tx.fetch(sql, connection_id, list(fields), tx.now))


async def drift_rows(tx: Tx, connection_id: int) -> list[asyncpg.Record]:
    sql = "SELECT field, first_seen_at FROM schema_drift WHERE connection_id = $1 ORDER BY field"
    return await tx.fetch(sql, connection_id)
