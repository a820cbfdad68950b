"""SQL of the published figures and of the promises that must always hold."""

from __future__ import annotations

from datetime import datetime

import asyncpg

from hub.kernel.db import Tx

_EXCLUDED = (
    "((excused IS NOT NULL AND delivered_at IS NULL) OR coalesce(cancelled_by = 'buyer' "
    "AND cancelled_at < least(due_at, first_scan_at, delivered_at), false))"
)


async def count_72h(
    tx: Tx, window: tuple[datetime, datetime], due_before: datetime, mall_id: int | None, vendor_id: int | None
) -> asyncpg.Record:
    """How many lines ordered in the window and due by `due_before` are of each class; sla.classify in SQL."""
    row = await tx.fetchrow(
        "SELECT count(*) FILTER (WHERE excluded) AS excluded, "  # noqa: S608 - a constant of this module
        "count(*) FILTER (WHERE NOT excluded) AS eligible, "
        "count(*) FILTER (WHERE NOT excluded AND delivered_at <= due_at) AS on_time, "
        "count(*) FILTER (WHERE NOT excluded AND delivered_at > due_at) AS late, "
        "count(*) FILTER (WHERE NOT excluded AND delivered_at IS NULL AND cancelled_by = 'supply') "
        "AS supply_cancelled, count(*) FILTER (WHERE NOT excluded AND delivered_at IS NULL "
        "AND cancelled_by IS DISTINCT FROM 'supply') AS open_overdue FROM (SELECT due_at, delivered_at, cancelled_by, "
        f"{_EXCLUDED} AS excluded FROM fulfillment_line_clock WHERE t0 >= $1 AND t0 < $2 AND due_at <= $3 "
        "AND ($4::bigint IS NULL OR mall_id = $4) AND ($5::bigint IS NULL OR vendor_id = $5)) AS lines",
        *window,
        due_before,
        mall_id,
        vendor_id,
    )
    assert row is not None
    return row


async def on_time_by_vendor(tx: Tx, window: tuple[datetime, datetime], due_before: datetime) -> list[asyncpg.Record]:
    """Of each vendor, the eligible lines ordered in the window and due by `due_before`, and how many were on time."""
    return await tx.fetch(
        "SELECT vendor_id, count(*)::int AS due, count(*) FILTER (WHERE delivered_at <= due_at)::int AS on_time "  # noqa: S608
        f"FROM fulfillment_line_clock WHERE t0 >= $1 AND t0 < $2 AND due_at <= $3 AND NOT {_EXCLUDED} "
        "GROUP BY vendor_id ORDER BY vendor_id",
        *window,
        due_before,
    )


async def count_stockouts(
    tx: Tx, window: tuple[datetime, datetime], mall_id: int | None, vendor_id: int | None
) -> asyncpg.Record:
    """Lines ordered in the window, by what their first vendor (`vendor_id`) did and whether anybody supplied them."""
    row = await tx.fetchrow(
        "SELECT count(*) AS accepted, count(*) FILTER (WHERE first_outcome = 'stockout') AS first_vendor, "
        "count(*) FILTER (WHERE cancelled_by = 'supply') AS visible, "
        "count(*) FILTER (WHERE first_outcome = 'unknown') AS unknown FROM fulfillment_line_clock "
        "WHERE t0 >= $1 AND t0 < $2 AND ($3::bigint IS NULL OR mall_id = $3) "
        "AND ($4::bigint IS NULL OR first_vendor_id = $4)",
        *window,
        mall_id,
        vendor_id,
    )
    assert row is not None
    return row


async def tracking_lag(tx: Tx, since: datetime) -> asyncpg.Record:
    """How long carriers' events took to reach us since `since`: count, median and 95th percentile in seconds."""
    row = await tx.fetchrow(
        "SELECT count(*) AS events, percentile_disc(0.5) WITHIN GROUP (ORDER BY lag) AS p50, "
        "percentile_disc(0.95) WITHIN GROUP (ORDER BY lag) AS p95 FROM (SELECT greatest(0, extract(epoch FROM "
        "ingested_at - event_at))::float8 AS lag FROM fulfillment_tracking_events WHERE source = 'carrier' "
        "AND ingested_at >= $1) AS lags",
        since,
    )
    assert row is not None
    return row


INVARIANTS: dict[str, str] = {
    "parcels_carry_at_most_what_was_ordered": (
        "SELECT count(*) FROM (SELECT c.line_id FROM fulfillment_line_clock c JOIN fulfillment_parcel_lines l "
        "ON l.line_id = c.line_id JOIN fulfillment_parcels p ON p.id = l.parcel_id AND (p.delivered_at IS NOT NULL "
        "OR p.status NOT IN ('returned', 'cancelled')) GROUP BY c.line_id, c.quantity "
        "HAVING sum(l.quantity) > c.quantity) AS over"
    ),
    "lines_are_delivered_by_a_carrier_scan": (
        "SELECT count(*) FROM fulfillment_line_clock c WHERE c.mode = 'parcel' AND c.delivered_at IS NOT NULL AND NOT "
        "EXISTS (SELECT 1 FROM fulfillment_parcels p JOIN fulfillment_tracking_events e ON e.parcel_id = p.id "
        "WHERE p.order_id = c.order_id AND e.source = 'carrier' AND e.status = 'delivered' "
        "AND e.event_at = c.delivered_at)"
    ),
    "tracking_events_follow_their_order": (
        "SELECT count(*) FROM fulfillment_tracking_events e JOIN fulfillment_parcels p ON p.id = e.parcel_id "
        "WHERE e.event_at < p.t0"
    ),
}


async def broken(tx: Tx, check: str) -> int:
    """How many rows break an invariant."""
    return int(await tx.fetchval(check))
