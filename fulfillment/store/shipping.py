"""SQL of shipments, parcels and their contents, and of the events about them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from fulfillment.store.tables import columns_of
from hub.kernel.db import Tx


async def open_shipment(
    tx: Tx, po_id: uuid.UUID, order_id: uuid.UUID, mall_id: int, vendor_id: int, accepted_at: datetime | None
) -> None:
    """Make the shipment of a purchase order, or add when it was accepted."""
    await tx.run(
        "INSERT INTO fulfillment_shipments AS s (po_id, order_id, mall_id, vendor_id, accepted_at, created_at) "
        "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (po_id) DO UPDATE SET accepted_at = EXCLUDED.accepted_at "
        "WHERE s.accepted_at IS NULL AND EXCLUDED.accepted_at IS NOT NULL",
        po_id,
        order_id,
        mall_id,
        vendor_id,
        accepted_at,
        tx.now,
    )


async def note_vendor_status(tx: Tx, po_id: uuid.UUID, status: str, raw: str, at: datetime) -> None:
    """Keep the vendor's newest word on a purchase order; an older one changes nothing."""
    await tx.run(
        "UPDATE fulfillment_shipments SET vendor_status = $2, vendor_raw_status = $3, vendor_status_at = $4 "
        "WHERE po_id = $1 AND (vendor_status_at IS NULL OR vendor_status_at < $4)",
        po_id,
        status,
        raw,
        at,
    )


async def add_parcels(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> list[asyncpg.Record]:
    """Insert parcels (po, order, mall, vendor, carrier, tracking_no, t0); returns those that are new."""
    return await tx.fetch(
        "INSERT INTO fulfillment_parcels (po_id, order_id, mall_id, vendor_id, carrier, tracking_no, t0, status, "
        "created_at) SELECT u.*, 'pending', $8::timestamptz FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], "
        "$4::bigint[], $5::text[], $6::text[], $7::timestamptz[]) AS u ON CONFLICT (carrier, tracking_no) DO NOTHING "
        "RETURNING id, carrier, tracking_no",
        *columns_of(rows),
        tx.now,
    )


async def add_parcel_lines(tx: Tx, rows: Sequence[tuple[int, uuid.UUID, int, int, int, int]]) -> None:
    """Insert (parcel, line, mall, vendor, line_no, quantity)."""
    await tx.run(
        "INSERT INTO fulfillment_parcel_lines (parcel_id, line_id, mall_id, vendor_id, line_no, quantity) "
        "SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::bigint[], $5::int[], $6::int[])",
        *columns_of(rows),
    )


_PARKED = (
    "SELECT e.id AS event_id, e.carrier AS said, p.id AS parcel_id, p.carrier, p.po_id, p.order_id, p.mall_id "
    "FROM fulfillment_parcels p JOIN fulfillment_tracking_events e ON e.tracking_no = p.tracking_no "
    "AND e.parcel_id IS NULL AND e.event_at >= p.t0 WHERE "
)


async def parked_of(tx: Tx, parcel_id: int) -> list[asyncpg.Record]:
    """Events with the number of this parcel that came before anybody named it, of whatever carrier (`said`)."""
    return await tx.fetch(f"{_PARKED} p.id = $1", parcel_id)


async def parked_lately(tx: Tx, since: datetime) -> list[asyncpg.Record]:
    """The same of every parcel named since then that has not arrived."""
    return await tx.fetch(f"{_PARKED} p.created_at > $1 AND p.delivered_at IS NULL ORDER BY p.id, e.id", since)


async def adopt_parked(tx: Tx, pairs: Sequence[tuple[int, int]]) -> int:
    """Give parcels events that came before anybody named them: (event, parcel)."""
    return await tx.run(
        "UPDATE fulfillment_tracking_events e SET parcel_id = p.id, mall_id = p.mall_id, vendor_id = p.vendor_id "
        "FROM unnest($1::bigint[], $2::bigint[]) AS u(event_id, parcel_id) JOIN fulfillment_parcels p "
        "ON p.id = u.parcel_id WHERE e.id = u.event_id AND e.parcel_id IS NULL",
        *columns_of(pairs),
    )


async def find_parcels(tx: Tx, numbers: Sequence[str]) -> list[asyncpg.Record]:
    """Parcels with these tracking numbers, of whatever carrier, the first that was named first."""
    return await tx.fetch(
        "SELECT id, po_id, order_id, mall_id, vendor_id, carrier, tracking_no, t0 FROM fulfillment_parcels "
        "WHERE tracking_no = ANY($1::text[]) ORDER BY id",
        list(numbers),
    )


async def parcels_of(tx: Tx, order_ids: Sequence[uuid.UUID]) -> list[asyncpg.Record]:
    """Parcels of these orders with their contents (`lines` is a list of [line id, line number, quantity])."""
    return await tx.fetch(
        "SELECT p.*, coalesce((SELECT jsonb_agg(jsonb_build_array(l.line_id, l.line_no, l.quantity) "
        "ORDER BY l.line_no) FROM fulfillment_parcel_lines l WHERE l.parcel_id = p.id), '[]') AS lines "
        "FROM fulfillment_parcels p WHERE p.order_id = ANY($1::uuid[]) ORDER BY p.id",
        list(order_ids),
    )


async def save_parcels(tx: Tx, rows: Sequence[tuple[int, str, str | None, datetime | None, datetime | None]]) -> None:
    """Write (parcel, status, vendor status, delivered at, first scan)."""
    await tx.run(
        "UPDATE fulfillment_parcels p SET status = u.status, vendor_status = u.vendor, delivered_at = u.delivered, "
        "first_scan_at = u.scan FROM unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[], "
        "$5::timestamptz[]) AS u(id, status, vendor, delivered, scan) WHERE p.id = u.id AND (p.status, "
        "p.vendor_status, p.delivered_at, p.first_scan_at) IS DISTINCT FROM (u.status, u.vendor, u.delivered, u.scan)",
        *columns_of(rows),
    )


async def shipments_of(tx: Tx, order_ids: Sequence[uuid.UUID]) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT * FROM fulfillment_shipments WHERE order_id = ANY($1::uuid[]) ORDER BY created_at, po_id",
        list(order_ids),
    )


async def clocks_of(tx: Tx, order_id: uuid.UUID) -> list[asyncpg.Record]:
    return await tx.fetch("SELECT * FROM fulfillment_line_clock WHERE order_id = $1 ORDER BY line_no", order_id)


async def progress_of(tx: Tx, po_id: uuid.UUID) -> asyncpg.Record:
    """Whether anything of a purchase order left the vendor, and whether all its parcel lines arrived."""
    row = await tx.fetchrow(
        "SELECT EXISTS (SELECT 1 FROM fulfillment_parcels WHERE po_id = $1 AND (first_scan_at IS NOT NULL "
        "OR status IN ('shipped', 'in_transit', 'out_for_delivery'))) AS left_vendor, "
        "coalesce(bool_and(delivered_at IS NOT NULL), false) AS delivered FROM fulfillment_line_clock "
        "WHERE po_id = $1 AND mode = 'parcel' AND cancelled_by IS NULL",
        po_id,
    )
    assert row is not None
    return row


async def add_events(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> set[bytes]:
    """Insert events; returns the digests of those that are new."""
    added = await tx.fetch(
        "INSERT INTO fulfillment_tracking_events (parcel_id, mall_id, vendor_id, carrier, tracking_no, source, status, "
        "raw_status, cause, void, event_at, place, description, digest, ingested_at) SELECT u.*, $15::timestamptz "
        "FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], "
        "$8::text[], $9::text[], $10::bool[], $11::timestamptz[], $12::text[], $13::text[], $14::bytea[]) AS u "
        "ON CONFLICT (digest) DO NOTHING RETURNING digest",
        *columns_of(rows),
        tx.now,
    )
    return {bytes(row["digest"]) for row in added}


async def events_of(tx: Tx, parcel_ids: Sequence[int]) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT parcel_id, source, status, raw_status, cause, void, event_at, ingested_at, place, description "
        "FROM fulfillment_tracking_events WHERE parcel_id = ANY($1::bigint[]) ORDER BY parcel_id, event_at, id",
        list(parcel_ids),
    )
