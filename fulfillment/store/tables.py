"""Tables of fulfilment: shipments, parcels, tracking events, and one clock per accepted line. Row-level security is the
second wall, as in orders/. An event whose parcel nobody has named yet has no `parcel_id`; only the hub reads it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

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

from hub.kernel.db import HUB, TENANT, Tx, metadata, tenant_wall

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
    Index("ix_fulfillment_parcels_number", "tracking_no"),
    Index("ix_fulfillment_parcels_under_way", "created_at", postgresql_where=text("delivered_at IS NULL")),
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
        "ix_fulfillment_tracking_events_unnamed",
        "tracking_no",  # alone: carriers are written in many ways
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

_RULE = f"{TENANT} IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id)"
_CLOCK_RULE = f"{TENANT} IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id, 'vendor:' || first_vendor_id)"

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
        for statement in tenant_wall(table, rule)
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


def columns_of(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows turned into one array per column, as unnest takes them."""
    return [list(column) for column in zip(*rows, strict=True)]
