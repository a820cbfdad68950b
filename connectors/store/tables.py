"""Tables of connectors/: vendors, connections, sync runs, the inbox of pushes, quarantine, schema drift and voucher
codes. Secrets, pushes and codes are ciphertext here."""

from __future__ import annotations

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

from hub.kernel.db import metadata

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
    Column("polled_at", DateTime(timezone=True)),  # when its vendor was last asked for messages
    Column("push_enabled", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("vendor_id", "name"),
    CheckConstraint("role IN ('supply', 'reference')", name="role"),
    CheckConstraint("status IN ('draft', 'live', 'paused')", name="status"),
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
    Column("stock_seen", Integer, nullable=False, server_default=text("0")),  # figures of a stock pull
    Column("stock_changed", Integer, nullable=False, server_default=text("0")),  # listings whose figure changed
    Column("attempts", Integer, nullable=False, server_default=text("1")),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    Column("lease_until", DateTime(timezone=True)),  # a running run past this was abandoned by its worker
    Column("error", Text),
    CheckConstraint("kind IN ('full', 'incremental', 'stock')", name="kind"),
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
    Column("replayed_at", DateTime(timezone=True)),  # when it was settled; the same row refused again opens it anew
    Column("outcome", Text),  # replayed or discarded
    Column("note", Text),  # why it was discarded, and by whom
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

voucher_codes = Table(
    "voucher_codes",  # one row a code; handed out once, in the order of `id`
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("connection_id", BigInteger, ForeignKey("connections.id"), nullable=False),
    Column("sku", Text, nullable=False),
    Column("mark", LargeBinary, nullable=False),  # keyed fingerprint of the code: the same code is taken in once
    Column("sealed", LargeBinary, nullable=False),  # encrypted code and PIN, bound to the connection
    Column("valid_until", DateTime(timezone=True)),
    Column("state", Text, nullable=False, server_default=text("'free'")),
    Column("po_number", Text),
    Column("line_no", Integer),
    Column("handed_at", DateTime(timezone=True)),
    Column("taken_in_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("connection_id", "mark"),
    CheckConstraint("state IN ('free', 'handed', 'void')", name="state"),
    CheckConstraint("state = 'void' OR (state = 'handed') = (po_number IS NOT NULL)", name="handed"),
    Index("ix_voucher_codes_free", "connection_id", "sku", "id", postgresql_where=text("state = 'free'")),
    Index("ix_voucher_codes_po", "connection_id", "po_number", postgresql_where=text("po_number IS NOT NULL")),
)
