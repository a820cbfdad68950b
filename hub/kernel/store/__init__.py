"""SQL of the kernel: outbox, deliveries, API keys, malls, idempotency keys, scheduler ticks, audit."""

from __future__ import annotations

import hashlib
from typing import Any

import asyncpg
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from hub.kernel.db import Tx, metadata
from hub.kernel.store import webhooks

PENDING, DONE, DEAD = 0, 1, 2

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("type", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("status", SmallInteger, nullable=False, server_default=text("0")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Index("ix_outbox_due", "due_at", "id", postgresql_where=text("status = 0")),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("event_id", BigInteger, primary_key=True),
    Column("handler", Text, primary_key=True),
    Column("delivered_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)

malls = Table(
    "malls",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("scope", Text, nullable=False),
    Column("tenant_id", BigInteger),
    Column("name", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("revoked_at", DateTime(timezone=True)),
    Column("per_minute", Integer),  # calls that it may make; NULL: as its scope, 0: no limit
    CheckConstraint("per_minute >= 0", name="per_minute"),
    CheckConstraint("scope IN ('mall', 'vendor', 'staff')", name="scope"),
    CheckConstraint("(scope = 'staff') = (tenant_id IS NULL)", name="tenant"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Index("ix_idempotency_keys_created", "created_at"),
)

ticks = Table(
    "ticks",
    metadata,
    Column("job", Text, primary_key=True),
    Column("slot", BigInteger, primary_key=True),
    Column("taken_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)

canaries = Table(
    "canaries",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("seen_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("facts", JSONB, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    UniqueConstraint("digest"),
)


async def claim_event(tx: Tx) -> asyncpg.Record | None:
    return await tx.fetchrow(
        "SELECT id, type, payload::text AS payload, attempts FROM outbox "
        "WHERE status = 0 AND due_at <= now() ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED"
    )


async def first_delivery(tx: Tx, event_id: int, handler: str) -> bool:
    """Note that `handler` handles this event; False when it already did."""
    return (
        await tx.run(
            "INSERT INTO deliveries (event_id, handler) VALUES ($1, $2) ON CONFLICT DO NOTHING", event_id, handler
        )
        == 1
    )


async def deliveries_to(tx: Tx, handler: str) -> int:
    """How many events a handler has taken effect for."""
    return int(await tx.fetchval("SELECT count(*) FROM deliveries WHERE handler = $1", handler))


async def finish_event(tx: Tx, event_id: int) -> None:
    await tx.run("UPDATE outbox SET status = 1 WHERE id = $1", event_id)


async def postpone_event(tx: Tx, event_id: int, error: str, delay_s: float, dead: bool) -> None:
    await tx.run(
        "UPDATE outbox SET attempts = attempts + 1, last_error = $2, status = $4, "
        "due_at = now() + make_interval(secs => $3) WHERE id = $1",
        event_id,
        error,
        delay_s,
        DEAD if dead else PENDING,
    )


async def outbox_state(tx: Tx) -> asyncpg.Record:
    row = await tx.fetchrow(
        "SELECT count(*) FILTER (WHERE status = 0) AS pending, count(*) FILTER (WHERE status = 2) AS dead, "
        "coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE status = 0)), 0)::float8 AS age "
        "FROM outbox WHERE status <> 1"
    )
    assert row is not None
    return row


async def forget_delivered(tx: Tx, older_than_days: int) -> int:
    """Delete delivered events and their delivery notes once nobody can redeliver them."""
    return await tx.run(
        "WITH gone AS (DELETE FROM outbox WHERE status = 1 AND created_at < now() - make_interval(days => $1) "
        "RETURNING id) DELETE FROM deliveries d USING gone WHERE d.event_id = gone.id",
        older_than_days,
    )


async def add_mall(tx: Tx, name: str) -> int:
    """The id of the mall called `name`, created when new."""
    mall_id = await tx.fetchval(
        "INSERT INTO malls (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET name = EXCLUDED.name RETURNING id",
        name,
    )
    return int(mall_id)


async def find_mall(tx: Tx, name_or_id: str) -> int | None:
    """The id of a mall by name or number."""
    found: int | None = await tx.fetchval(
        "SELECT id FROM malls WHERE name = $1 OR id::text = $1 ORDER BY name = $1 DESC LIMIT 1", name_or_id
    )
    return found


async def add_key(
    tx: Tx, digest: bytes, scope: str, tenant_id: int | None, name: str, per_minute: int | None = None
) -> int:
    return int(
        await tx.fetchval(
            "INSERT INTO api_keys (digest, scope, tenant_id, name, per_minute) VALUES ($1, $2, $3, $4, $5) "
            "RETURNING id",
            digest, scope, tenant_id, name, per_minute,
        )
    )  # fmt: skip


async def set_key_quota(tx: Tx, scope: str, tenant_id: int | None, label: str, per_minute: int | None) -> int:
    """Give the living keys of this holder and label another quota (None: as its scope); returns how many."""
    return await tx.run(
        "UPDATE api_keys SET per_minute = $4 WHERE scope = $1 AND tenant_id IS NOT DISTINCT FROM $2 AND name = $3 "
        "AND revoked_at IS NULL",
        scope, tenant_id, label, per_minute,
    )  # fmt: skip


KEY_LOOKUP = "SELECT id, scope, tenant_id, per_minute FROM api_keys WHERE digest = $1 AND revoked_at IS NULL"


async def take_idempotency_lock(tx: Tx, tenant: str, key: str) -> bool:
    """Hold (tenant, key) until the transaction ends; False when another request holds it."""
    number = int.from_bytes(hashlib.sha256(f"{tenant}\x00{key}".encode()).digest()[:8], "big", signed=True)
    return bool(await tx.fetchval("SELECT pg_try_advisory_xact_lock($1)", number))


async def find_idempotent(tx: Tx, tenant: str, key: str) -> asyncpg.Record | None:
    return await tx.fetchrow(
        "SELECT fingerprint, status, body FROM idempotency_keys WHERE tenant = $1 AND key = $2", tenant, key
    )


async def keep_idempotent(tx: Tx, tenant: str, key: str, fingerprint: bytes, status: int, body: bytes) -> None:
    await tx.run(
        "INSERT INTO idempotency_keys (tenant, key, fingerprint, status, body) VALUES ($1, $2, $3, $4, $5)",
        tenant,
        key,
        fingerprint,
        status,
        body,
    )


async def forget_idempotency_keys(tx: Tx, older_than_days: int) -> int:
    return await tx.run(
        "DELETE FROM idempotency_keys WHERE created_at < now() - make_interval(days => $1)", older_than_days
    )


async def take_tick(tx: Tx, job: str, slot: int) -> bool:
    """True for exactly one of all schedulers that see this slot of this job."""
    return await tx.run("INSERT INTO ticks (job, slot) VALUES ($1, $2) ON CONFLICT DO NOTHING", job, slot) == 1


async def forget_ticks(tx: Tx) -> None:
    await tx.run("DELETE FROM ticks WHERE taken_at < now() - interval '2 days'")


async def touch_canary(tx: Tx, worker: str) -> None:
    await tx.run("INSERT INTO canaries (worker) VALUES ($1) ON CONFLICT (worker) DO UPDATE SET seen_at = now()", worker)


async def canary_age(tx: Tx) -> float | None:
    """Seconds since any worker completed a canary task; None when none ever did."""
    age: float | None = await tx.fetchval("SELECT extract(epoch FROM now() - max(seen_at))::float8 FROM canaries")
    return age


async def last_audit_digest(tx: Tx) -> bytes:
    await tx.run("SELECT pg_advisory_xact_lock(hashtext('supplyhub.audit'))")
    return await tx.fetchval("SELECT digest FROM audit ORDER BY id DESC LIMIT 1") or b""


async def add_audit(tx: Tx, row: dict[str, Any]) -> None:
    await tx.execute(audit.insert(), row)


async def audit_rows(tx: Tx) -> list[asyncpg.Record]:
    return await tx.fetch("SELECT id, at, actor, action, subject, facts, previous, digest FROM audit ORDER BY id")


async def walls_bind(tx: Tx) -> bool:
    """Whether row-level security binds the role this process connects as."""
    return bool(await tx.fetchval("SELECT NOT (rolsuper OR rolbypassrls) FROM pg_roles WHERE rolname = current_user"))


__all__ = ["webhooks"]
