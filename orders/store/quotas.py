"""SQL over quotas. Orders that a quota counts are made one after the other, so that the count is exact."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

import asyncpg

from hub.kernel.db import Tx


async def all_quotas(tx: Tx) -> list[asyncpg.Record]:
    return await tx.fetch("SELECT * FROM order_quotas ORDER BY id")


async def put_quota(
    tx: Tx,
    mall_id: int | None,
    listing_id: int | None,
    product_id: int | None,
    per_order: int | None,
    units: int | None,
    window_s: int | None,
) -> asyncpg.Record:
    row = await tx.fetchrow(
        "INSERT INTO order_quotas (mall_id, listing_id, product_id, per_order, units, window_s, updated_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (mall_id, listing_id, product_id) DO UPDATE SET "
        "per_order = EXCLUDED.per_order, units = EXCLUDED.units, window_s = EXCLUDED.window_s, "
        "updated_at = EXCLUDED.updated_at RETURNING *",
        mall_id, listing_id, product_id, per_order, units, window_s, tx.now,
    )  # fmt: skip
    assert row is not None
    return row


async def drop_quota(tx: Tx, quota_id: int) -> asyncpg.Record | None:
    return await tx.fetchrow("DELETE FROM order_quotas WHERE id = $1 RETURNING *", quota_id)


async def queue_for_quotas(tx: Tx, ids: Sequence[int]) -> None:
    """Be the only one whose orders these quotas count, until the transaction ends."""
    for quota_id in sorted(ids):
        await tx.run("SELECT pg_advisory_xact_lock(hashtextextended('supplyhub.quota', $1))", quota_id)


async def quota_used(tx: Tx, quota_id: int, since: datetime | None) -> int:
    """Units of lines that the quota counted: ordered since then, or (None) in orders that are not finished."""
    unfinished = "l.status IN ('reserved', 'placed', 'accepted', 'rerouting', 'cancelling', 'shipped')"
    wanted = "l.status NOT IN ('cancelled', 'expired', 'unsupplied')"
    used = await tx.fetchval(
        "SELECT coalesce(sum(l.quantity), 0) FROM order_quota_uses u JOIN order_lines l ON l.id = u.line_id "  # noqa: S608
        f"WHERE u.quota_id = $1 AND ($2::timestamptz IS NULL OR u.at >= $2) AND {wanted if since else unfinished}",
        quota_id,
        since,
    )
    return int(used)


async def note_quota_uses(tx: Tx, rows: Sequence[tuple[int, uuid.UUID]]) -> None:
    """Remember which lines a quota counts: (quota, line)."""
    if rows:
        await tx.run(
            "INSERT INTO order_quota_uses (quota_id, line_id, at) "
            "SELECT u.quota_id, u.line_id, $3 FROM unnest($1::int8[], $2::uuid[]) u(quota_id, line_id)",
            [quota for quota, _ in rows],
            [line for _, line in rows],
            tx.now,
        )
