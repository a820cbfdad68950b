"""Tables of connectors/ and all SQL over them: vendors, connections, sync runs, the inbox of pushes, quarantine and
schema drift. Secrets are ciphertext here; whoever calls decides what to decrypt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from hub.kernel.db import Tx, metadata

vendors = Table(
    "vendors",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("name_en", Text, nullable=False, server_default=text("''")),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

connections = Table(
    "connections",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("vendor_id", BigInteger, ForeignKey("vendors.id"), nullable=False),
    Column("connector", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'live'")),
    Column("config", JSONB, nullable=False, server_default=text("'{}'")),
    Column("secrets", LargeBinary),  # encrypted JSON, bound to this connection
    Column("defaults", JSONB, nullable=False, server_default=text("'{}'")),
    Column("sync_every_s", Integer, nullable=False),
    Column("next_sync_at", DateTime(timezone=True), nullable=False),
    Column("sync_requested", Boolean, nullable=False, server_default=text("false")),  # while a pull was running
    Column("watermark", DateTime(timezone=True)),  # when the newest complete pull began: incremental pulls start here
    Column("last_full_at", DateTime(timezone=True)),  # when the newest complete full pull began
    Column("last_complete_at", DateTime(timezone=True)),  # when the newest complete pull ended
    Column("failures", Integer, nullable=False, server_default=text("0")),  # runs failed since the last good one
    Column("push_enabled", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("vendor_id", "name"),
    CheckConstraint("role IN ('supply', 'reference')", name="role"),
    CheckConstraint("status IN ('live', 'paused')", name="status"),
    CheckConstraint("sync_every_s >= 1", name="sync_every_s"),
    Index("ix_connections_due", "next_sync_at", postgresql_where=text("status = 'live'")),
)

sync_runs = Table(
    "sync_runs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("connection_id", BigInteger, ForeignKey("connections.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'running'")),
    Column("cursor", JSONB),
    Column("pages", Integer, nullable=False, server_default=text("0")),
    Column("seen", Integer, nullable=False, server_default=text("0")),
    Column("created", Integer, nullable=False, server_default=text("0")),
    Column("updated", Integer, nullable=False, server_default=text("0")),
    Column("unchanged", Integer, nullable=False, server_default=text("0")),
    Column("quarantined", Integer, nullable=False, server_default=text("0")),
    Column("unlisted", Integer, nullable=False, server_default=text("0")),
    Column("attempts", Integer, nullable=False, server_default=text("1")),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    Column("lease_until", DateTime(timezone=True)),  # a running run past this was abandoned by its worker
    Column("error", Text),
    CheckConstraint("kind IN ('full', 'incremental')", name="kind"),
    CheckConstraint("status IN ('running', 'done', 'failed')", name="status"),
    Index("uq_sync_runs_running", "connection_id", unique=True, postgresql_where=text("status = 'running'")),
    Index("ix_sync_runs_connection", "connection_id", text("id DESC")),
)

inbox = Table(
    "inbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("connection_id", BigInteger, ForeignKey("connections.id"), nullable=False),
    Column("external_id", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),  # encrypted: pushes of orders hold personal data
    Column("received_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("connection_id", "external_id"),
    Index("ix_inbox_received", "received_at"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("connection_id", BigInteger, ForeignKey("connections.id"), nullable=False),
    Column("run_id", BigInteger),
    Column("reason", Text, nullable=False),
    Column("pointer", Text, nullable=False, server_default=text("''")),
    Column("vendor_sku", Text),
    Column("raw", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # the same row refused again is the same row
    Column("times", Integer, nullable=False, server_default=text("1")),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("last_seen_at", DateTime(timezone=True), nullable=False),
    Column("replayed_at", DateTime(timezone=True)),
    UniqueConstraint("connection_id", "digest"),
    Index("ix_quarantine_connection", "connection_id", text("id DESC")),
)

schema_drift = Table(
    "schema_drift",
    metadata,
    Column("connection_id", BigInteger, ForeignKey("connections.id"), primary_key=True),
    Column("field", Text, primary_key=True),
    Column("first_seen_at", DateTime(timezone=True), nullable=False),
)

# Vendors and connections --------------------------------------------------------------------------------------


async def add_vendor(tx: Tx, name: str, name_en: str) -> int | None:
    """The new vendor's id, or None when the name is taken."""
    sql = """INSERT INTO vendors (name, name_en, created_at) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO NOTHING RETURNING id"""
    return _id(await tx.fetchval(sql, name, name_en, tx.now))


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
                                      push_enabled, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $8) ON CONFLICT (vendor_id, name) DO NOTHING RETURNING id"""
    values = (row["vendor_id"], row["connector"], row["name"], row["role"], json.dumps(row["config"]),
              json.dumps(row["defaults"]), row["sync_every_s"], tx.now, row["push_enabled"])  # fmt: skip
    return _id(await tx.fetchval(sql, *values))


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


async def set_status(tx: Tx, connection_id: int, status: str) -> int:
    return await tx.run("UPDATE connections SET status = $2 WHERE id = $1", connection_id, status)


# Runs ---------------------------------------------------------------------------------------------------------


async def due(tx: Tx, limit: int) -> list[int]:
    """Live connections whose time has come and that nobody pulls now, longest overdue first."""
    sql = """SELECT c.id FROM connections c
             WHERE c.status = 'live' AND c.next_sync_at <= $1
               AND NOT EXISTS (SELECT 1 FROM sync_runs r
                               WHERE r.connection_id = c.id AND r.status = 'running' AND r.lease_until > $1)
             ORDER BY c.next_sync_at LIMIT $2"""
    return [row["id"] for row in await tx.fetch(sql, tx.now, limit)]


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
    return int(await tx.fetchval(sql, connection_id, kind, _json(cursor), tx.now, lease))


async def resume_run(tx: Tx, run_id: int, lease_s: float) -> None:
    sql = """UPDATE sync_runs SET status = 'running', attempts = attempts + 1, lease_until = $2, finished_at = NULL,
                    error = NULL WHERE id = $1"""
    await tx.run(sql, run_id, tx.now + timedelta(seconds=lease_s))


async def abandon_run(tx: Tx, run_id: int, error: str) -> None:
    sql = "UPDATE sync_runs SET status = 'failed', finished_at = $2, error = $3 WHERE id = $1"
    await tx.run(sql, run_id, tx.now, error)


async def save_progress(tx: Tx, run_id: int, figures: Sequence[int], cursor: Any, lease_s: float) -> int:
    """1 when the run is still running, 0 when somebody else ended it."""
    sql = """UPDATE sync_runs SET pages = $2, seen = $3, created = $4, updated = $5, unchanged = $6, quarantined = $7,
                    cursor = $8, lease_until = $9 WHERE id = $1 AND status = 'running'"""
    return await tx.run(sql, run_id, *figures, _json(cursor), tx.now + timedelta(seconds=lease_s))


async def end_run(tx: Tx, run_id: int, status: str, unlisted: int, error: str | None) -> asyncpg.Record | None:
    sql = """UPDATE sync_runs SET status = $2, unlisted = $3, error = $4, finished_at = $5, lease_until = NULL
             WHERE id = $1 AND status = 'running' RETURNING connection_id, kind, started_at"""
    return await tx.fetchrow(sql, run_id, status, unlisted, error, tx.now)


async def run_succeeded(tx: Tx, connection_id: int, kind: str, started_at: datetime) -> None:
    sql = """UPDATE connections SET last_complete_at = $2, watermark = $3, failures = 0,
                    last_full_at = CASE WHEN $4 THEN $3 ELSE last_full_at END,
                    next_sync_at = $2::timestamptz
                                   + make_interval(secs => CASE WHEN sync_requested THEN 0 ELSE sync_every_s END)
             WHERE id = $1"""
    await tx.run(sql, connection_id, tx.now, started_at, kind == "full")


async def run_failed(tx: Tx, connection_id: int, retry_after: float | None) -> None:
    """The next try comes sooner than the ordinary pull, later with each failure, never before `retry_after`."""
    sql = """UPDATE connections SET failures = failures + 1,
                    next_sync_at = $2::timestamptz + make_interval(secs => greatest($3::float8,
                        least(greatest(sync_every_s, 1)::float8, 15 * power(2, least(failures, 10)))))
             WHERE id = $1"""
    await tx.run(sql, connection_id, tx.now, retry_after or 0.0)


async def run_rows(tx: Tx, connection_id: int | None, before: int, limit: int) -> list[asyncpg.Record]:
    sql = """SELECT * FROM sync_runs WHERE ($1::bigint IS NULL OR connection_id = $1) AND id < $2
             ORDER BY id DESC LIMIT $3"""
    return await tx.fetch(sql, connection_id, before, limit)


# Inbox --------------------------------------------------------------------------------------------------------


async def land(tx: Tx, connection_id: int, external_id: str, topic: str, body: bytes) -> int | None:
    """The new row's id, or None when this delivery landed before."""
    sql = """INSERT INTO inbox (connection_id, external_id, topic, body, received_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (connection_id, external_id) DO NOTHING RETURNING id"""
    return _id(await tx.fetchval(sql, connection_id, external_id, topic, body, tx.now))


async def landed(tx: Tx, inbox_id: int) -> asyncpg.Record | None:
    return await tx.fetchrow("SELECT connection_id, topic, body, received_at FROM inbox WHERE id = $1", inbox_id)


async def forget_landed(tx: Tx, before: datetime) -> int:
    return await tx.run("DELETE FROM inbox WHERE received_at < $1", before)


# Quarantine and drift -----------------------------------------------------------------------------------------


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


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def _id(value: Any) -> int | None:
    return None if value is None else int(value)
