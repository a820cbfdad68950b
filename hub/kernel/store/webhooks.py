"""SQL of outgoing webhooks: endpoints, messages, and the delivery of each message to each endpoint."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)

from hub.kernel.db import TENANT, Tx, metadata, tenant_wall

PENDING, DELIVERED, FAILED = 0, 1, 2
_NOW = text("now()")
_TIME = DateTime(timezone=True)

endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("types", ARRAY(Text), nullable=False, server_default=text("'{}'")),  # none: all
    Column("secret", LargeBinary, nullable=False),  # encrypted
    Column("old_secret", LargeBinary),
    Column("old_until", _TIME),
    Column("state", Text, nullable=False, server_default="active"),
    Column("reason", Text),
    Column("failing_since", _TIME),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("hold_until", _TIME),
    Column("created_at", _TIME, nullable=False, server_default=_NOW),
    CheckConstraint("state IN ('active', 'paused', 'disabled')", name="state"),
    Index("ix_webhook_endpoints_tenant", "tenant"),
)

messages = Table(
    "webhook_messages",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),  # the very bytes that are signed and sent, however often
    Column("created_at", _TIME, nullable=False, server_default=_NOW),
    Index("ix_webhook_messages_tenant", "tenant", "created_at"),
    Index("ix_webhook_messages_created", "created_at"),
)

sendings = Table(
    "webhook_sendings",
    metadata,
    Column("endpoint_id", Uuid, ForeignKey(endpoints.c.id, ondelete="CASCADE"), primary_key=True),
    Column("message_id", Uuid, ForeignKey(messages.c.id, ondelete="CASCADE"), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("state", SmallInteger, nullable=False, server_default=text("0")),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("due_at", _TIME, nullable=False, server_default=_NOW),
    Column("tried_at", _TIME),
    Column("status", Integer),
    Column("error", Text),
    Index("ix_webhook_sendings_due", "endpoint_id", "due_at", postgresql_where=text("state = 0")),
    Index("ix_webhook_sendings_message", "message_id"),
)

DDL: tuple[str, ...] = tuple(
    statement
    for table in ("webhook_endpoints", "webhook_messages", "webhook_sendings")
    for statement in tenant_wall(table, f"{TENANT} IN ('*', tenant)")
)

# Endpoints --------------------------------------------------------------------------------------------------------


async def add_endpoint(
    tx: Tx, endpoint_id: uuid.UUID, tenant: str, url: str, description: str, types: Sequence[str], secret: bytes
) -> None:
    await tx.run(
        "INSERT INTO webhook_endpoints (id, tenant, url, description, types, secret, created_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7)",
        endpoint_id,
        tenant,
        url,
        description,
        list(types),
        secret,
        tx.now,
    )


async def queue_for_endpoints(tx: Tx, tenant: str) -> int:
    """How many endpoints a tenant has; those who add at once take turns until they commit."""
    await tx.run("SELECT pg_advisory_xact_lock(hashtextextended('webhook_endpoints ' || $1, 0))", tenant)
    count: int = await tx.fetchval("SELECT count(*) FROM webhook_endpoints WHERE tenant = $1", tenant)
    return count


_SHOWN = (
    "SELECT e.*, (SELECT count(*) FROM webhook_sendings s WHERE s.endpoint_id = e.id AND s.state = 0) AS waiting "
    "FROM webhook_endpoints e WHERE e.tenant = $1 "
)


async def endpoints_of(tx: Tx, tenant: str) -> list[asyncpg.Record]:
    return await tx.fetch(_SHOWN + "ORDER BY e.id", tenant)


async def endpoint_of(tx: Tx, tenant: str, endpoint_id: uuid.UUID, *, lock: bool = False) -> asyncpg.Record | None:
    return await tx.fetchrow(_SHOWN + "AND e.id = $2" + (" FOR UPDATE" if lock else ""), tenant, endpoint_id)


async def change_endpoint(tx: Tx, endpoint_id: uuid.UUID, values: dict[str, Any]) -> None:
    """Set columns of this table, named by the caller's code."""
    names = [column for column in values if column in endpoints.c]
    sets = ", ".join(f"{name} = ${n}" for n, name in enumerate(names, 2))
    await tx.run(f"UPDATE webhook_endpoints SET {sets} WHERE id = $1", endpoint_id, *(values[name] for name in names))  # noqa: S608


async def remove_endpoint(tx: Tx, tenant: str, endpoint_id: uuid.UUID) -> None:
    await tx.run("DELETE FROM webhook_endpoints WHERE tenant = $1 AND id = $2", tenant, endpoint_id)


# Messages ---------------------------------------------------------------------------------------------------------


async def any_endpoint(tx: Tx) -> bool:
    return bool(await tx.fetchval("SELECT EXISTS (SELECT 1 FROM webhook_endpoints)"))


async def listening(tx: Tx, tenants: Sequence[str]) -> set[str]:
    rows = await tx.fetch("SELECT DISTINCT tenant FROM webhook_endpoints WHERE tenant = ANY ($1)", list(tenants))
    return {row["tenant"] for row in rows}


async def add_message(tx: Tx, message_id: uuid.UUID, tenant: str, kind: str, body: bytes) -> int:
    """Keep a message for every endpoint of a tenant, where it has any; returns to how many it goes now. What is paused
    or switched off can have it later by a replay."""
    return await tx.run(
        "WITH e AS (SELECT id, state, types FROM webhook_endpoints WHERE tenant = $2), "
        "m AS (INSERT INTO webhook_messages (id, tenant, type, body, created_at) "
        "SELECT $1, $2, $3, $4, $5 WHERE EXISTS (SELECT 1 FROM e)) "
        "INSERT INTO webhook_sendings (endpoint_id, message_id, tenant) SELECT id, $1, $2 FROM e "
        "WHERE state = 'active' AND (types = '{}' OR $3 = ANY (types))",
        message_id,
        tenant,
        kind,
        body,
        tx.now,
    )


async def add_message_for(
    tx: Tx, message_id: uuid.UUID, tenant: str, kind: str, body: bytes, endpoint_id: uuid.UUID
) -> None:
    await tx.run(
        "INSERT INTO webhook_messages (id, tenant, type, body, created_at) VALUES ($1, $2, $3, $4, $5)",
        message_id, tenant, kind, body, tx.now,
    )  # fmt: skip
    await tx.run(
        "INSERT INTO webhook_sendings (endpoint_id, message_id, tenant) VALUES ($1, $2, $3)",
        endpoint_id, message_id, tenant,
    )  # fmt: skip


async def replay(
    tx: Tx, tenant: str, endpoint_id: uuid.UUID, since: datetime, until: datetime, everything: bool, limit: int
) -> int:
    """Send again what failed or was never sent (or everything) between two instants; returns how many messages."""
    return await tx.run(
        "INSERT INTO webhook_sendings AS s (endpoint_id, message_id, tenant) "
        "SELECT e.id, m.id, $1 FROM webhook_messages m JOIN webhook_endpoints e ON e.id = $2 AND e.tenant = $1 "
        "LEFT JOIN webhook_sendings x ON x.endpoint_id = e.id AND x.message_id = m.id "
        "WHERE m.tenant = $1 AND m.created_at >= $3 AND m.created_at < $4 "
        "AND (e.types = '{}' OR m.type = ANY (e.types)) "
        "AND (x.state IS NULL OR x.state = 2 OR ($5 AND x.state = 1)) ORDER BY m.created_at, m.id LIMIT $6 "
        "ON CONFLICT (endpoint_id, message_id) DO UPDATE SET state = 0, attempts = 0, due_at = excluded.due_at "
        "WHERE s.state <> 0",
        tenant,
        endpoint_id,
        since,
        until,
        everything,
        limit,
    )


async def sendings_of(
    tx: Tx, tenant: str, endpoint_id: uuid.UUID, state: int | None, before: uuid.UUID | None, limit: int
) -> list[asyncpg.Record]:
    """Newest messages first."""
    return await tx.fetch(
        "SELECT s.*, m.type, m.created_at FROM webhook_sendings s JOIN webhook_messages m ON m.id = s.message_id "
        "WHERE s.tenant = $1 AND s.endpoint_id = $2 AND ($3::int2 IS NULL OR s.state = $3) "
        "AND ($4::uuid IS NULL OR s.message_id < $4) ORDER BY s.message_id DESC LIMIT $5",
        tenant,
        endpoint_id,
        state,
        before,
        limit,
    )


# Sending ----------------------------------------------------------------------------------------------------------


async def endpoints_due(tx: Tx, busy: Sequence[uuid.UUID], limit: int) -> list[asyncpg.Record]:
    """Endpoints for which something is due and which nobody of this process visits, those that answer first."""
    return await tx.fetch(
        "SELECT e.id, e.failures FROM webhook_endpoints e WHERE e.state = 'active' "
        "AND (e.hold_until IS NULL OR e.hold_until <= now()) AND NOT e.id = ANY ($1) AND EXISTS "
        "(SELECT 1 FROM webhook_sendings s WHERE s.endpoint_id = e.id AND s.state = 0 AND s.due_at <= now()) "
        "ORDER BY e.failures, e.id LIMIT $2",
        list(busy),
        limit,
    )


async def claim(tx: Tx, endpoint_id: uuid.UUID, limit: int, lease_s: float) -> list[asyncpg.Record]:
    """Take the oldest due sendings of an active endpoint for `lease_s` seconds: who dies meanwhile leaves them to
    others."""
    return await tx.fetch(
        "UPDATE webhook_sendings s SET due_at = now() + make_interval(secs => $3) FROM webhook_messages m "
        "WHERE m.id = s.message_id AND (s.endpoint_id, s.message_id) IN (SELECT c.endpoint_id, c.message_id "
        "FROM webhook_sendings c JOIN webhook_endpoints e ON e.id = c.endpoint_id AND e.state = 'active' "
        "WHERE c.endpoint_id = $1 AND c.state = 0 AND c.due_at <= now() ORDER BY c.due_at, c.message_id LIMIT $2 "
        "FOR UPDATE OF c SKIP LOCKED) RETURNING s.message_id, s.attempts, m.body",
        endpoint_id,
        limit,
        lease_s,
    )


async def target(tx: Tx, endpoint_id: uuid.UUID) -> asyncpg.Record | None:
    return await tx.fetchrow("SELECT * FROM webhook_endpoints WHERE id = $1 AND state = 'active'", endpoint_id)


async def settle(tx: Tx, endpoint_id: uuid.UUID, rows: Sequence[tuple[Any, ...]]) -> None:
    """Outcomes of attempts: (message_id, state, seconds until the next one, status, error)."""
    ids, states, delays, statuses, errors = (list(column) for column in zip(*rows, strict=True))
    await tx.run(
        "UPDATE webhook_sendings s SET state = r.state, attempts = s.attempts + 1, tried_at = now(), "
        "due_at = now() + make_interval(secs => r.delay), status = r.status, error = r.error "
        "FROM unnest($2::uuid[], $3::int2[], $4::float8[], $5::int4[], $6::text[]) "
        "AS r (message_id, state, delay, status, error) WHERE s.endpoint_id = $1 AND s.message_id = r.message_id",
        endpoint_id,
        ids,
        states,
        delays,
        statuses,
        errors,
    )


async def give_back(tx: Tx, endpoint_id: uuid.UUID, message_ids: Sequence[uuid.UUID]) -> None:
    """Let go of what was claimed and not tried."""
    if message_ids:
        await tx.run(
            "UPDATE webhook_sendings SET due_at = now() WHERE endpoint_id = $1 AND message_id = ANY ($2) AND state = 0",
            endpoint_id,
            list(message_ids),
        )


async def well(tx: Tx, endpoint_id: uuid.UUID) -> None:
    await tx.run(
        "UPDATE webhook_endpoints SET failures = 0, failing_since = NULL, hold_until = NULL "
        "WHERE id = $1 AND (failures > 0 OR hold_until IS NOT NULL)",
        endpoint_id,
    )


async def unwell(tx: Tx, endpoint_id: uuid.UUID, hold_s: float) -> asyncpg.Record | None:
    """Note a failed visit and leave the endpoint alone for a while."""
    return await tx.fetchrow(
        "UPDATE webhook_endpoints SET failures = failures + 1, failing_since = coalesce(failing_since, now()), "
        "hold_until = now() + make_interval(secs => $2) WHERE id = $1 AND state = 'active' "
        "RETURNING tenant, failing_since < now() - interval '5 days' AS hopeless",
        endpoint_id,
        hold_s,
    )


async def disable(tx: Tx, endpoint_id: uuid.UUID, reason: str) -> None:
    await tx.run("UPDATE webhook_endpoints SET state = 'disabled', reason = $2 WHERE id = $1", endpoint_id, reason)


async def forget(tx: Tx, days: int, limit: int) -> int:
    """Drop messages older than `days`, with their sendings, `limit` at a time."""
    return await tx.run(
        "DELETE FROM webhook_messages WHERE id IN (SELECT id FROM webhook_messages "
        "WHERE created_at < now() - make_interval(days => $1) ORDER BY created_at LIMIT $2)",
        days,
        limit,
    )


async def backlog(tx: Tx) -> asyncpg.Record:
    row = await tx.fetchrow(
        "SELECT count(*) AS waiting, coalesce(extract(epoch FROM now() - min(due_at)), 0)::float8 AS oldest "
        "FROM webhook_sendings s JOIN webhook_endpoints e ON e.id = s.endpoint_id "
        "WHERE s.state = 0 AND s.due_at <= now() AND e.state = 'active'"
    )
    assert row is not None
    return row
