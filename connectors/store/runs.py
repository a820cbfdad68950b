"""SQL about sync runs: whose turn it is, where a run stands, how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from connectors.store.values import as_json
from hub.kernel.db import Tx


async def due(tx: Tx, limit: int, never: Sequence[str]) -> list[asyncpg.Record]:
    """(id, failures) of live connections whose time has come and that nobody pulls now, longest overdue first; those of
    the systems in `never` are not pulled at all."""
    sql = """SELECT c.id, c.failures FROM connections c
             WHERE c.status = 'live' AND c.next_sync_at <= $1 AND c.connector <> ALL($3::text[])
               AND NOT EXISTS (SELECT 1 FROM sync_runs r
                               WHERE r.connection_id = c.id AND r.status = 'running' AND r.lease_until > $1)
             ORDER BY c.next_sync_at LIMIT $2"""
    return await tx.fetch(sql, tx.now, limit, list(never))


async def take_connection(tx: Tx, connection_id: int) -> asyncpg.Record | None:
    """Lock the connection's row until the transaction ends; what was asked for before now is being done."""
    sql = "UPDATE connections SET sync_requested = false WHERE id = $1 RETURNING status, watermark"
    return await tx.fetchrow(sql, connection_id)


async def last_run(tx: Tx, connection_id: int) -> asyncpg.Record | None:
    return await tx.fetchrow("SELECT * FROM sync_runs WHERE connection_id = $1 ORDER BY id DESC LIMIT 1", connection_id)


async def new_run(tx: Tx, connection_id: int, kind: str, cursor: Any, lease_s: float) -> int:
    sql = """INSERT INTO sync_runs (connection_id, kind, cursor, started_at, lease_until)
             VALUES ($1, $2, $3, $4, $5) RETURNING id"""
    lease = tx.now + timedelta(seconds=lease_s)
    return int(await tx.fetchval(sql, connection_id, kind, as_json(cursor), tx.now, lease))


async def resume_run(tx: Tx, run_id: int, lease_s: float) -> None:
    sql = """UPDATE sync_runs SET status = 'running', attempts = attempts + 1, lease_until = $2, finished_at = NULL,
                    error = NULL WHERE id = $1"""
    await tx.run(sql, run_id, tx.now + timedelta(seconds=lease_s))


async def release_run(tx: Tx, run_id: int) -> None:
    await tx.run("UPDATE sync_runs SET lease_until = $2 WHERE id = $1 AND status = 'running'", run_id, tx.now)


async def abandon_run(tx: Tx, run_id: int, error: str) -> None:
    sql = "UPDATE sync_runs SET status = 'failed', finished_at = $2, error = $3 WHERE id = $1"
    await tx.run(sql, run_id, tx.now, error)


async def save_progress(tx: Tx, run_id: int, figures: Sequence[int], cursor: Any, lease_s: float) -> int:
    """1 when the run is still running, 0 when somebody else ended it."""
    sql = """UPDATE sync_runs SET pages = $2, seen = $3, created = $4, updated = $5, unchanged = $6, quarantined = $7,
                    stock_seen = $8, stock_changed = $9, cursor = $10, lease_until = $11
             WHERE id = $1 AND status = 'running'"""
    return await tx.run(sql, run_id, *figures, as_json(cursor), tx.now + timedelta(seconds=lease_s))


async def end_run(tx: Tx, run_id: int, status: str, unlisted: int, error: str | None) -> asyncpg.Record | None:
    sql = """UPDATE sync_runs SET status = $2, unlisted = $3, error = $4, finished_at = $5, lease_until = NULL
             WHERE id = $1 AND status = 'running' RETURNING connection_id, kind, started_at"""
    return await tx.fetchrow(sql, run_id, status, unlisted, error, tx.now)


async def run_succeeded(tx: Tx, connection_id: int, kind: str, started_at: datetime) -> None:
    sql = """UPDATE connections SET last_complete_at = $2, failures = 0,
                    watermark = CASE WHEN $4 = 'stock' THEN watermark ELSE $3 END,
                    last_full_at = CASE WHEN $4 = 'full' THEN $3 ELSE last_full_at END,
                    next_sync_at = $2::timestamptz
                                   + make_interval(secs => CASE WHEN sync_requested THEN 0 ELSE sync_every_s END)
             WHERE id = $1"""
    await tx.run(sql, connection_id, tx.now, started_at, kind)


async def run_failed(tx: Tx, connection_id: int, retry_after: float | None) -> None:
    """The next try comes sooner than the ordinary pull, later with each failure, never before `retry_after`."""
    sql = """UPDATE connections SET failures = failures + 1,
                    next_sync_at = $2::timestamptz + make_interval(secs => greatest($3::float8,
                        least(greatest(sync_every_s, 1)::float8, 15 * power(2, least(failures, 10)))))
             WHERE id = $1"""
    await tx.run(sql, connection_id, tx.now, retry_after or 0.0)


async def sweep_drift(tx: Tx) -> list[asyncpg.Record]:
    """(connection_id, rows): what each connection's last full sweep found that the pulls of changes before it had
    missed. Connections without such pulls are left out: a full pull alone misses nothing."""
    sql = """SELECT c.id AS connection_id, r.created + r.updated + r.unlisted + r.stock_changed AS rows
             FROM connections c CROSS JOIN LATERAL (
               SELECT id, created, updated, unlisted, stock_changed FROM sync_runs r
               WHERE r.connection_id = c.id AND r.kind = 'full' AND r.status = 'done' ORDER BY r.id DESC LIMIT 1) r
             WHERE EXISTS (SELECT 1 FROM sync_runs b WHERE b.connection_id = c.id AND b.id < r.id
                           AND b.kind <> 'full' AND b.status = 'done')
             ORDER BY 1"""
    return await tx.fetch(sql)


async def run_rows(tx: Tx, connection_id: int | None, before: int, limit: int) -> list[asyncpg.Record]:
    sql = """SELECT * FROM sync_runs WHERE ($1::bigint IS NULL OR connection_id = $1) AND id < $2
             ORDER BY id DESC LIMIT $3"""
    return await tx.fetch(sql, connection_id, before, limit)
