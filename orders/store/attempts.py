"""SQL over the queue of record for vendor calls. A call is claimed with SKIP LOCKED and held by a lease."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

import asyncpg

from hub.kernel.db import Tx

_ADD_ATTEMPTS = (
    "INSERT INTO po_attempts (po_id, connection_id, no, kind, state, due_at) "
    "SELECT p.id, p.connection_id, 1 + (SELECT count(*) FROM po_attempts a WHERE a.po_id = p.id), $2, 'due', $3 "
    "FROM purchase_orders p WHERE p.id = ANY($1) ON CONFLICT DO NOTHING"
)
_CLAIM = (
    "WITH busy AS (SELECT connection_id FROM po_attempts WHERE state = 'calling' GROUP BY connection_id "
    "HAVING count(*) >= $3), "
    "next AS (SELECT a.id FROM po_attempts a WHERE a.state = 'due' AND a.due_at <= $1 "
    "AND ($4::int8 IS NULL OR a.connection_id = $4) "
    "AND NOT EXISTS (SELECT 1 FROM busy b WHERE b.connection_id = a.connection_id) "
    "ORDER BY a.due_at, a.id LIMIT 1 FOR UPDATE SKIP LOCKED) "
    "UPDATE po_attempts a SET state = 'calling', tried_at = $1, lease_until = $2 "
    "FROM next, purchase_orders p WHERE a.id = next.id AND p.id = a.po_id "
    "RETURNING a.id, a.po_id, a.no, a.kind, a.connection_id, p.order_id, p.number, p.vendor_order_no"
)


async def add_attempts(tx: Tx, po_ids: Sequence[uuid.UUID], kind: str, due_at: datetime) -> None:
    """Make one due attempt for each purchase order that has no open one."""
    await tx.run(_ADD_ATTEMPTS, list(po_ids), kind, due_at)


async def claim_attempt(
    tx: Tx, lease_until: datetime, per_connection: int, connection_id: int | None
) -> asyncpg.Record | None:
    """Take the longest due attempt of a connection that is not busy; nobody else gets it while we hold it."""
    return await tx.fetchrow(_CLAIM, tx.now, lease_until, per_connection, connection_id)


async def abandoned_attempts(tx: Tx, limit: int) -> list[asyncpg.Record]:
    """Attempts whose worker stopped in the middle of the call."""
    return await tx.fetch(
        "SELECT a.id, a.po_id, a.no, a.kind, a.connection_id, p.order_id, p.number, p.vendor_order_no "
        "FROM po_attempts a JOIN purchase_orders p ON p.id = a.po_id "
        "WHERE a.state = 'calling' AND a.lease_until < $1 ORDER BY a.lease_until LIMIT $2",
        tx.now,
        limit,
    )


async def finish_attempt(tx: Tx, attempt_id: int, outcome: str, error: str | None) -> bool:
    """Close a call; False when somebody else already did (its lease had run out)."""
    done = await tx.run(
        "UPDATE po_attempts SET state = 'done', outcome = $2, error = $3, finished_at = $4 "
        "WHERE id = $1 AND state = 'calling'",
        attempt_id,
        outcome,
        error,
        tx.now,
    )
    return done == 1


async def open_attempt(tx: Tx, po_id: uuid.UUID) -> asyncpg.Record | None:
    """The open attempt, locked: while we look, nobody claims or finishes it."""
    return await tx.fetchrow(
        "SELECT id, kind, state FROM po_attempts WHERE po_id = $1 AND state <> 'done' FOR UPDATE", po_id
    )


async def drop_attempt(tx: Tx, attempt_id: int, why: str) -> None:
    """Close an attempt that was never made."""
    await tx.run(
        "UPDATE po_attempts SET state = 'done', outcome = $2, finished_at = $3 WHERE id = $1 AND state = 'due'",
        attempt_id,
        why,
        tx.now,
    )


async def hasten_attempt(tx: Tx, attempt_id: int) -> None:
    await tx.run(
        "UPDATE po_attempts SET due_at = least(due_at, $2) WHERE id = $1 AND state = 'due'", attempt_id, tx.now
    )


async def letter(tx: Tx, po_id: uuid.UUID) -> list[asyncpg.Record]:
    """What the vendor is asked for: the lines of a purchase order with the order's address and time."""
    return await tx.fetch(
        "SELECT l.*, o.id AS order_id, o.ship_to, o.placed_at FROM po_lines l "
        "JOIN purchase_orders p ON p.id = l.po_id JOIN orders o ON o.id = p.order_id "
        "WHERE l.po_id = $1 AND NOT l.removed ORDER BY l.line_no",
        po_id,
    )
