"""Tables and SQL of fulfilment: shipments, parcels, tracking events, and one clock per accepted line.

Tracking events are an append-only set; parcels and clocks are derived from it under the lock of the order's clocks, so
they converge however events arrive. Row-level security is the second wall, as in orders/. An event whose parcel nobody
has named yet is kept (`parcel_id` NULL) and read only by the hub."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
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
from sqlalchemy.dialects.postgresql import UUID

from hub.kernel.db import HUB, Tx, metadata

shipments = Table(
    "fulfillment_shipments",  # one per purchase order that a vendor accepted or shipped
    metadata,
    Column("po_id", UUID(as_uuid=True), primary_key=True),
    Column("order_id", UUID(as_uuid=True), nullable=False),
    Column("mall_id", BigInteger, nullable=False),
    Column("vendor_id", BigInteger, nullable=False),
    Column("accepted_at", DateTime(timezone=True)),
    Column("vendor_status", Text),  # the vendor's newest word on the whole purchase order
    Column("vendor_raw_status", Text),
    Column("vendor_status_at", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Index("ix_fulfillment_shipments_order", "order_id"),
)

parcels = Table(
    "fulfillment_parcels",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("po_id", UUID(as_uuid=True), ForeignKey("fulfillment_shipments.po_id"), nullable=False),
    Column("order_id", UUID(as_uuid=True), nullable=False),
    Column("mall_id", BigInteger, nullable=False),
    Column("vendor_id", BigInteger, nullable=False),
    Column("carrier", Text, nullable=False),
    Column("tracking_no", Text, nullable=False),
    Column("t0", DateTime(timezone=True), nullable=False),  # no event of it can be older
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("status", Text, nullable=False),
    Column("vendor_status", Text),
    Column("delivered_at", DateTime(timezone=True)),
    Column("first_scan_at", DateTime(timezone=True)),
    UniqueConstraint("carrier", "tracking_no"),
    Index("ix_fulfillment_parcels_order", "order_id"),
)

parcel_lines = Table(
    "fulfillment_parcel_lines",  # none for a parcel: the vendor never said what is in it
    metadata,
    Column("parcel_id", BigInteger, ForeignKey("fulfillment_parcels.id"), primary_key=True),
    Column("line_id", UUID(as_uuid=True), primary_key=True),
    Column("mall_id", BigInteger, nullable=False),
    Column("vendor_id", BigInteger, nullable=False),
    Column("line_no", Integer, nullable=False),
    Column("quantity", Integer, nullable=False),
    CheckConstraint("quantity > 0", name="quantity"),
    Index("ix_fulfillment_parcel_lines_line", "line_id"),
)

tracking_events = Table(
    "fulfillment_tracking_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("parcel_id", BigInteger, ForeignKey("fulfillment_parcels.id")),
    Column("mall_id", BigInteger),
    Column("vendor_id", BigInteger),
    Column("carrier", Text, nullable=False),
    Column("tracking_no", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("raw_status", Text, nullable=False),
    Column("cause", Text),
    Column("void", Boolean, nullable=False),
    Column("event_at", DateTime(timezone=True), nullable=False),
    Column("ingested_at", DateTime(timezone=True), nullable=False),
    Column("place", Text),
    Column("description", Text),
    Column("digest", LargeBinary, nullable=False, unique=True),
    CheckConstraint("source IN ('carrier', 'vendor', 'manual')", name="source"),
    CheckConstraint("cause IN ('bad_address')", name="cause"),
    Index("ix_fulfillment_tracking_events_parcel", "parcel_id", "event_at"),
    Index(
        "ix_fulfillment_tracking_events_parked",
        "carrier",
        "tracking_no",
        postgresql_where=text("parcel_id IS NULL"),
    ),
)

line_clock = Table(
    "fulfillment_line_clock",
    metadata,
    Column("line_id", UUID(as_uuid=True), primary_key=True),
    Column("order_id", UUID(as_uuid=True), nullable=False),
    Column("po_id", UUID(as_uuid=True)),  # the purchase order that carries it now
    Column("mall_id", BigInteger, nullable=False),
    Column("vendor_id", BigInteger, nullable=False),  # who carries it now: whose 72 h figure it is
    Column("first_vendor_id", BigInteger, nullable=False),  # whose stock-out figure it is
    Column("line_no", Integer, nullable=False),
    Column("category", Text),
    Column("city", Text),
    Column("mode", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("t0", DateTime(timezone=True), nullable=False),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Column("delivered_units", Integer, nullable=False, server_default=text("0")),
    Column("delivered_at", DateTime(timezone=True)),  # t1
    Column("first_scan_at", DateTime(timezone=True)),
    Column("cancelled_by", Text),
    Column("cancelled_at", DateTime(timezone=True)),
    Column("excused", Text),
    Column("first_outcome", Text, nullable=False, server_default=text("'undecided'")),
    CheckConstraint("due_at = t0 + interval '72 hours'", name="due_at"),
    CheckConstraint("mode IN ('parcel', 'appointment', 'code')", name="mode"),
    CheckConstraint("delivered_units BETWEEN 0 AND quantity", name="delivered_units"),
    CheckConstraint("(delivered_at IS NULL) = (delivered_units < quantity)", name="delivered_at"),
    CheckConstraint("cancelled_by IN ('buyer', 'supply')", name="cancelled_by"),
    CheckConstraint("(cancelled_by IS NULL) = (cancelled_at IS NULL)", name="cancelled_at"),
    CheckConstraint("excused IN ('refused', 'bad_address')", name="excused"),
    CheckConstraint("first_outcome IN ('undecided', 'ok', 'stockout', 'refused', 'unknown')", name="first_outcome"),
    Index("ix_fulfillment_line_clock_order", "order_id"),
    Index("ix_fulfillment_line_clock_t0", "t0"),
    Index(
        "ix_fulfillment_line_clock_undecided",
        "t0",
        postgresql_where=text("first_outcome IN ('undecided', 'unknown')"),
    ),
)

_TENANT = "(SELECT current_setting('supplyhub.tenant', true))"
_RULE = f"{_TENANT} IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id)"
_CLOCK_RULE = f"{_TENANT} IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id, 'vendor:' || first_vendor_id)"

DDL: tuple[str, ...] = (
    *(
        statement
        for table, rule in (
            ("fulfillment_shipments", _RULE),
            ("fulfillment_parcels", _RULE),
            ("fulfillment_parcel_lines", _RULE),
            ("fulfillment_tracking_events", _RULE),
            ("fulfillment_line_clock", _CLOCK_RULE),
        )
        for statement in (
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
            f"CREATE POLICY {table}_tenant ON {table} USING ({rule}) WITH CHECK ({rule})",
        )
    ),
    "CREATE FUNCTION fulfillment_keep_t0() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "IF (NEW.t0, NEW.due_at) IS DISTINCT FROM (OLD.t0, OLD.due_at) "
    "THEN RAISE EXCEPTION 'the start of the 72 hours never changes'; END IF; RETURN NEW; END $$",
    "CREATE TRIGGER fulfillment_keep_t0 BEFORE UPDATE OF t0, due_at ON fulfillment_line_clock "
    "FOR EACH ROW EXECUTE FUNCTION fulfillment_keep_t0()",
)


@contextlib.asynccontextmanager
async def as_hub(tx: Tx) -> AsyncIterator[None]:
    """Let a vendor's proven right over one purchase order take its effect on the whole order's clocks. When the
    block raises, the transaction is lost and so is the widened sight."""
    if tx.tenant == HUB:
        yield
        return
    await tx.run("SELECT set_config('supplyhub.tenant', $1, true)", HUB)
    yield
    await tx.run("SELECT set_config('supplyhub.tenant', $1, true)", tx.tenant)


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


# --- clocks --------------------------------------------------------------------------------------------------


async def start_clocks(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> None:
    """Start clocks, or bring what may change (who carries the line, what its first vendor did) up to date. t0 and
    due_at are written once. A definite first outcome is never taken back."""
    await tx.run(
        "INSERT INTO fulfillment_line_clock AS c (line_id, order_id, po_id, mall_id, vendor_id, first_vendor_id, "
        "line_no, category, city, mode, quantity, t0, due_at, first_outcome) SELECT u.a, u.b, u.c, u.d, u.e, u.e, u.f, "
        "u.g, u.h, u.i, u.j, u.k, u.l, u.m FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], "
        "$6::int[], $7::text[], $8::text[], $9::text[], $10::int[], $11::timestamptz[], $12::timestamptz[], "
        "$13::text[]) AS u(a, b, c, d, e, f, g, h, i, j, k, l, m) ORDER BY u.a "
        "ON CONFLICT (line_id) DO UPDATE SET po_id = EXCLUDED.po_id, vendor_id = EXCLUDED.vendor_id, "
        "first_outcome = CASE WHEN EXCLUDED.first_outcome = 'undecided' OR c.first_outcome IN ('ok', 'stockout') "
        "THEN c.first_outcome ELSE EXCLUDED.first_outcome END "
        "WHERE (c.po_id, c.vendor_id, c.first_outcome) IS DISTINCT FROM "
        "(EXCLUDED.po_id, EXCLUDED.vendor_id, EXCLUDED.first_outcome)",
        *_columns(rows),
    )


async def lock_clocks(tx: Tx, order_ids: Sequence[uuid.UUID]) -> list[asyncpg.Record]:
    """The clocks of these orders, locked in order of line."""
    return await tx.fetch(
        "SELECT * FROM fulfillment_line_clock WHERE order_id = ANY($1::uuid[]) ORDER BY line_id FOR UPDATE",
        list(order_ids),
    )


async def save_progress(
    tx: Tx, rows: Sequence[tuple[uuid.UUID, int, datetime | None, datetime | None, str | None]]
) -> None:
    """Write (line, delivered units, t1, first scan, excused)."""
    await tx.run(
        "UPDATE fulfillment_line_clock c SET delivered_units = u.units, delivered_at = u.t1, first_scan_at = u.scan, "
        "excused = u.excused FROM unnest($1::uuid[], $2::int[], $3::timestamptz[], $4::timestamptz[], $5::text[]) "
        "AS u(line_id, units, t1, scan, excused) WHERE c.line_id = u.line_id AND (c.delivered_units, c.delivered_at, "
        "c.first_scan_at, c.excused) IS DISTINCT FROM (u.units, u.t1, u.scan, u.excused)",
        *_columns(rows),
    )


async def cancel_lines(tx: Tx, line_ids: Sequence[uuid.UUID], by: str) -> None:
    """Note who cancelled these lines, once."""
    await tx.run(
        "UPDATE fulfillment_line_clock SET cancelled_by = $2, cancelled_at = $3 WHERE line_id = ANY($1::uuid[]) "
        "AND cancelled_by IS NULL",
        list(line_ids),
        by,
        tx.now,
    )


async def undecided_orders(tx: Tx, since: datetime, after: uuid.UUID | None, limit: int) -> list[uuid.UUID]:
    """Orders placed since `since` with a line whose first vendor has not answered as far as we know."""
    rows = await tx.fetch(
        "SELECT DISTINCT order_id FROM fulfillment_line_clock WHERE first_outcome IN ('undecided', 'unknown') "
        "AND t0 >= $1 AND ($2::uuid IS NULL OR order_id > $2) ORDER BY order_id LIMIT $3",
        since,
        after,
        limit,
    )
    return [row["order_id"] for row in rows]


# --- shipments and parcels -----------------------------------------------------------------------------------


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
        *_columns(rows),
        tx.now,
    )


async def add_parcel_lines(tx: Tx, rows: Sequence[tuple[int, uuid.UUID, int, int, int, int]]) -> None:
    """Insert (parcel, line, mall, vendor, line_no, quantity)."""
    await tx.run(
        "INSERT INTO fulfillment_parcel_lines (parcel_id, line_id, mall_id, vendor_id, line_no, quantity) "
        "SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::bigint[], $5::int[], $6::int[])",
        *_columns(rows),
    )


async def adopt_parked(tx: Tx, parcel_ids: Sequence[int]) -> int:
    """Give these parcels the events that came before anybody named them, as far as they can be theirs."""
    return await tx.run(
        "UPDATE fulfillment_tracking_events e SET parcel_id = p.id, mall_id = p.mall_id, vendor_id = p.vendor_id "
        "FROM fulfillment_parcels p WHERE p.id = ANY($1::bigint[]) AND e.parcel_id IS NULL AND e.carrier = p.carrier "
        "AND e.tracking_no = p.tracking_no AND e.event_at >= p.t0",
        list(parcel_ids),
    )


async def find_parcels(tx: Tx, keys: Sequence[tuple[str, str]]) -> list[asyncpg.Record]:
    """Parcels by (carrier, tracking number)."""
    return await tx.fetch(
        "SELECT p.id, p.po_id, p.order_id, p.mall_id, p.vendor_id, p.carrier, p.tracking_no, p.t0 "
        "FROM fulfillment_parcels p JOIN unnest($1::text[], $2::text[]) AS u(carrier, tracking_no) "
        "USING (carrier, tracking_no)",
        *_columns(keys),
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
        *_columns(rows),
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


# --- tracking events -----------------------------------------------------------------------------------------


async def add_events(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> set[bytes]:
    """Insert events; returns the digests of those that are new."""
    added = await tx.fetch(
        "INSERT INTO fulfillment_tracking_events (parcel_id, mall_id, vendor_id, carrier, tracking_no, source, status, "
        "raw_status, cause, void, event_at, place, description, digest, ingested_at) SELECT u.*, $15::timestamptz "
        "FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], "
        "$8::text[], $9::text[], $10::bool[], $11::timestamptz[], $12::text[], $13::text[], $14::bytea[]) AS u "
        "ON CONFLICT (digest) DO NOTHING RETURNING digest",
        *_columns(rows),
        tx.now,
    )
    return {bytes(row["digest"]) for row in added}


async def events_of(tx: Tx, parcel_ids: Sequence[int]) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT parcel_id, source, status, raw_status, cause, void, event_at, ingested_at, place, description "
        "FROM fulfillment_tracking_events WHERE parcel_id = ANY($1::bigint[]) ORDER BY parcel_id, event_at, id",
        list(parcel_ids),
    )


# --- figures -------------------------------------------------------------------------------------------------

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
