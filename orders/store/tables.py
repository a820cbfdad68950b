"""Tables of orders. `po_attempts` is the queue of record for vendor calls, with at most one open attempt per
purchase order. Row-level security is the second wall: a transaction that speaks for one mall or vendor sees no
other's rows, whatever the statement says."""

from __future__ import annotations

from enum import StrEnum

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
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import UUID

from hub.kernel.db import TENANT, metadata, tenant_wall
from orders.lifecycle import AfterSaleStatus, LineStatus, OrderStatus, PoStatus
from orders.policy import Policy

Row = asyncpg.Record


def _one_of(column: str, kind: type[StrEnum]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(s.value) for s in kind)})", name=column)


orders = Table(
    "orders",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("mall_id", BigInteger, nullable=False),
    Column("mall_order_no", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("ship_to", LargeBinary, nullable=False),  # encrypted; the only place where personal data lives
    Column("currency", Text, nullable=False),
    Column("total", Numeric(16, 4), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("reserved_until", DateTime(timezone=True)),
    Column("placed_at", DateTime(timezone=True)),  # t0
    Column("due_at", DateTime(timezone=True)),  # t0 + 72 h
    Column("held_until", DateTime(timezone=True)),  # set while it waits for a review: no vendor has it
    Column("reason", Text),  # why a review refused it
    UniqueConstraint("mall_id", "mall_order_no"),
    _one_of("status", OrderStatus),
    CheckConstraint("mode IN ('reserve', 'place')", name="mode"),
    CheckConstraint("(placed_at IS NULL) = (due_at IS NULL)", name="placed"),
    CheckConstraint("due_at = placed_at + interval '72 hours'", name="due_at"),
    Index("ix_orders_mall", "mall_id", "id"),
    Index("ix_orders_reserved", "reserved_until", postgresql_where=text("status = 'reserved'")),
    Index("ix_orders_reserved_by_mall", "mall_id", postgresql_where=text("status = 'reserved'")),
)

order_lines = Table(
    "order_lines",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("order_id", UUID(as_uuid=True), ForeignKey("orders.id"), nullable=False),
    Column("mall_id", BigInteger, nullable=False),
    Column("line_no", SmallInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("asked_listing_id", BigInteger),  # set when the mall pinned the vendor
    Column("max_price", Numeric(14, 4)),
    Column("max_currency", Text),
    Column("agreed_price", Numeric(14, 4), nullable=False),  # per unit, when the order was made
    Column("product_id", BigInteger, nullable=False),
    Column("listing_id", BigInteger, nullable=False),  # from here on: the offer that serves the line now
    Column("vendor_id", BigInteger, nullable=False),
    Column("vendor_name", Text, nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("vendor_sku", Text, nullable=False),
    Column("vendor_ref", Text),
    Column("unit_price", Numeric(14, 4), nullable=False),
    Column("currency", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("category", Text),
    Column("city", Text),
    Column("slot_id", BigInteger),
    Column("slot_ref", Text),
    Column("slot_version", Text),
    Column("slot_start", DateTime(timezone=True)),
    Column("slot_end", DateTime(timezone=True)),
    Column("hold_id", UUID(as_uuid=True)),  # NULL once released
    Column("vendor_key", Text),  # what the vendor holds for it: becomes the number of its first purchase order
    Column("po_id", UUID(as_uuid=True)),
    Column("first_po_id", UUID(as_uuid=True)),
    Column("first_outcome", Text),  # what the first vendor did: accepted, out_of_stock, refused, cancelled
    UniqueConstraint("order_id", "line_no"),
    _one_of("status", LineStatus),
    Column("split_from", UUID(as_uuid=True)),  # the line whose vendor took fewer units; these are the others
    Column("routing", Text),  # why its offers were chosen, first to last, as lines of JSON
    Column("cancelled_quantity", Integer, nullable=False, server_default=text("0")),  # quantity + this was ordered
    CheckConstraint("quantity > 0", name="quantity"),
    CheckConstraint("cancelled_quantity >= 0", name="cancelled_quantity"),
)

purchase_orders = Table(
    "purchase_orders",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("number", Text, nullable=False, unique=True),  # ours, and the vendor-side idempotency key
    Column("order_id", UUID(as_uuid=True), ForeignKey("orders.id"), nullable=False),
    Column("mall_id", BigInteger, nullable=False),
    Column("vendor_id", BigInteger, nullable=False),
    Column("vendor_name", Text, nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("sequence", SmallInteger, nullable=False),  # 1: first choice; 2…: after a refusal
    Column("status", Text, nullable=False),
    Column("vendor_order_no", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("accepted_at", DateTime(timezone=True)),
    Column("reason", Text),  # of a refusal, or of a refused cancellation
    Column("attention", Text),  # why a person should look
    Column("ever_unknown", Boolean, nullable=False, server_default=text("false")),
    Column("recall", Text),  # why it is being cancelled there for its lines to go elsewhere
    Column("moving_line_id", UUID(as_uuid=True)),  # the line whose appointment it books anew, elsewhere
    _one_of("status", PoStatus),
    Index("ix_purchase_orders_order", "order_id"),
    Index("ix_purchase_orders_vendor", "vendor_id", "id"),
    Index("ix_purchase_orders_vendor_no", "vendor_order_no", "connection_id"),
    Index(
        "ix_purchase_orders_undecided", "created_at", postgresql_where=text("status IN ('awaiting_vendor', 'pending')")
    ),
    Index("ix_purchase_orders_attention", "id", postgresql_where=text("attention IS NOT NULL")),
)

po_lines = Table(
    "po_lines",  # which lines a purchase order ever carried, as the vendor was asked for them
    metadata,
    Column("po_id", UUID(as_uuid=True), ForeignKey("purchase_orders.id"), primary_key=True),
    Column("line_id", UUID(as_uuid=True), ForeignKey("order_lines.id"), primary_key=True),
    Column("mall_id", BigInteger, nullable=False),
    Column("vendor_id", BigInteger, nullable=False),
    Column("line_no", SmallInteger, nullable=False),
    Column("listing_id", BigInteger, nullable=False),
    Column("vendor_sku", Text, nullable=False),
    Column("vendor_ref", Text),
    Column("title", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("unit_price", Numeric(14, 4), nullable=False),
    Column("currency", Text, nullable=False),
    Column("slot_ref", Text),
    Column("slot_version", Text),
    Column("slot_start", DateTime(timezone=True)),
    Column("slot_end", DateTime(timezone=True)),
    Column("removed", Boolean, nullable=False, server_default=text("false")),  # cancelled before the vendor was asked
    Index("ix_po_lines_line", "line_id"),
)

po_attempts = Table(
    "po_attempts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("po_id", UUID(as_uuid=True), ForeignKey("purchase_orders.id"), nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("no", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Column("lease_until", DateTime(timezone=True)),
    Column("tried_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Column("outcome", Text),
    Column("error", Text),
    UniqueConstraint("po_id", "no"),
    CheckConstraint("kind IN ('place', 'find', 'cancel')", name="kind"),
    CheckConstraint("state IN ('due', 'calling', 'done')", name="state"),
    Index("uq_po_attempts_open", "po_id", unique=True, postgresql_where=text("state <> 'done'")),
    Index("ix_po_attempts_due", "due_at", "id", postgresql_where=text("state = 'due'")),
    Index("ix_po_attempts_calling", "connection_id", "lease_until", postgresql_where=text("state = 'calling'")),
)

order_codes = Table(
    "order_codes",  # what a mall has seen of its codes: never more of one than its end
    metadata,
    Column("line_id", UUID(as_uuid=True), ForeignKey("order_lines.id"), primary_key=True),
    Column("position", Integer, primary_key=True),  # of the unit in its line, from 1
    Column("order_id", UUID(as_uuid=True), ForeignKey("orders.id"), nullable=False),
    Column("mall_id", BigInteger, nullable=False),
    Column("line_no", SmallInteger, nullable=False),
    Column("masked", Text, nullable=False),
    Column("valid_until", DateTime(timezone=True)),
    Column("revealed_at", DateTime(timezone=True), nullable=False),  # the first time
    Index("ix_order_codes_order", "order_id"),
)

after_sales = Table(
    "after_sales",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("order_id", UUID(as_uuid=True), ForeignKey("orders.id"), nullable=False),
    Column("line_id", UUID(as_uuid=True), ForeignKey("order_lines.id"), nullable=False),
    Column("line_no", SmallInteger, nullable=False),
    Column("po_id", UUID(as_uuid=True), ForeignKey("purchase_orders.id"), nullable=False),
    Column("mall_id", BigInteger, nullable=False),
    Column("vendor_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("answer", Text),  # of whoever decided last
    Column("carrier", Text),
    Column("tracking_no", Text),
    Column("refund", Numeric(16, 4)),  # once it is refunded
    Column("currency", Text, nullable=False),
    Column("replacement_order_id", UUID(as_uuid=True), ForeignKey("orders.id")),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    _one_of("status", AfterSaleStatus),
    CheckConstraint("kind IN ('refusal', 'return', 'refund')", name="kind"),
    CheckConstraint("quantity > 0", name="quantity"),
    CheckConstraint("(status = 'refunded') = (refund IS NOT NULL)", name="refund"),
    CheckConstraint("(status = 'replaced') = (replacement_order_id IS NOT NULL)", name="replaced"),
    Index("ix_after_sales_order", "order_id"),
    Index("ix_after_sales_vendor", "vendor_id", "id"),
    Index("ix_after_sales_line", "line_id"),
)

vendor_holds = Table(
    "vendor_holds",  # what vendors hold for orders: asked for before the order exists, let go when nothing needs it
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("key", Text, nullable=False),
    Column("mall_id", BigInteger, nullable=False),
    Column("order_no", Text, nullable=False),  # of the mall: a repeated request asks under the same key
    Column("order_id", UUID(as_uuid=True)),  # NULL until the order is written
    Column("connection_id", BigInteger, nullable=False),
    Column("listing_id", BigInteger, nullable=False),
    Column("slot_ref", Text),  # NULL: the goods of an order
    Column("state", Text, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    Column("due_at", DateTime(timezone=True), nullable=False),  # of letting go, while there is no order; of its retry
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("error", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("state IN ('asking', 'held', 'used', 'releasing', 'released', 'given_up')", name="state"),
    Index("ix_vendor_holds_open", "due_at", postgresql_where=text("state IN ('asking', 'held', 'releasing')")),
    Index("ix_vendor_holds_asked", "mall_id", "order_no", postgresql_where=text("order_id IS NULL")),
    Index("ix_vendor_holds_key", "key"),
)

slot_moves = Table(
    "slot_moves",  # appointments that move: the new one is booked before the old one is let go
    metadata,
    Column("po_id", UUID(as_uuid=True), ForeignKey("purchase_orders.id"), primary_key=True),  # books the new slot
    Column("old_po_id", UUID(as_uuid=True), ForeignKey("purchase_orders.id"), nullable=False),
    Column("line_id", UUID(as_uuid=True), ForeignKey("order_lines.id"), nullable=False),
    Column("state", Text, nullable=False),
    Column("slot_id", BigInteger, nullable=False),
    Column("slot_ref", Text, nullable=False),
    Column("slot_version", Text),
    Column("slot_start", DateTime(timezone=True), nullable=False),
    Column("slot_end", DateTime(timezone=True), nullable=False),
    Column("unit_price", Numeric(14, 4), nullable=False),
    Column("hold_id", UUID(as_uuid=True)),
    Column("old_hold_id", UUID(as_uuid=True)),  # kept until the old appointment is gone
    Column("vendor_key", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("state IN ('open', 'moved', 'failed')", name="state"),
    Index("ix_slot_moves_old", "old_po_id"),
    Index("uq_slot_moves_open", "line_id", unique=True, postgresql_where=text("state = 'open'")),
)

policies = Table(
    "routing_policies",  # how a mall weighs offers; without one the cheapest comes first
    metadata,
    Column("mall_id", BigInteger, primary_key=True, autoincrement=False),
    *(Column(name, Numeric(8, 4), nullable=False) for name in Policy.model_fields),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint(
        "price >= 0 AND promise >= 0 AND confidence >= 0 AND standing >= 0 AND parcels >= 0 "
        "AND price + promise + confidence + standing + parcels > 0",
        name="weights",
    ),
)

standings = Table(
    "vendor_standings",  # vendors' records of the last 30 days, counted now and then
    metadata,
    Column("vendor_id", BigInteger, primary_key=True, autoincrement=False),
    *(
        Column(name, Integer, nullable=False, server_default=text("0"))
        for name in ("decided", "refused", "due", "on_time")
    ),
    Column("as_of", DateTime(timezone=True), nullable=False),
)

quotas = Table(
    "order_quotas",  # caps: how many units of something may be in orders, of one mall or of all together
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("mall_id", BigInteger),  # NULL: all malls together
    Column("listing_id", BigInteger),
    Column("product_id", BigInteger),  # exactly one of the two
    Column("per_order", Integer),
    Column("units", Integer),
    Column("window_s", Integer),  # NULL: units in orders that are not finished
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("(listing_id IS NULL) <> (product_id IS NULL)", name="subject"),
    CheckConstraint("per_order > 0 AND units >= 0 AND window_s > 0", name="positive"),
    Index(
        "uq_order_quotas_subject",
        "mall_id",
        "listing_id",
        "product_id",
        unique=True,
        postgresql_nulls_not_distinct=True,
    ),
)

quota_uses = Table(
    "order_quota_uses",  # lines that a quota counted when they were ordered
    metadata,
    Column("quota_id", BigInteger, ForeignKey("order_quotas.id", ondelete="CASCADE"), primary_key=True),
    Column("line_id", UUID(as_uuid=True), ForeignKey("order_lines.id"), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Index("ix_order_quota_uses_at", "quota_id", "at"),
)

_HUB_OR_MALL = f"{TENANT} IN ('*', 'mall:' || mall_id)"
_OR_VENDOR = f"{TENANT} IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id)"

DDL: tuple[str, ...] = (
    *(
        statement
        for table, rule in (
            ("orders", _HUB_OR_MALL),
            ("order_lines", _OR_VENDOR),
            ("purchase_orders", _OR_VENDOR),
            ("po_lines", _OR_VENDOR),
            ("order_review_rules", _HUB_OR_MALL),
            ("order_marks", _HUB_OR_MALL),
            ("order_reviews", _HUB_OR_MALL),
            ("order_codes", _HUB_OR_MALL),
            ("after_sales", _OR_VENDOR),
        )
        for statement in tenant_wall(table, rule)
    ),
    # A vendor may read the order behind its own purchase order (the address), never write it.
    f"CREATE POLICY orders_vendor ON orders FOR SELECT USING ({TENANT} LIKE 'vendor:%' AND EXISTS "  # noqa: S608
    f"(SELECT 1 FROM purchase_orders p WHERE p.order_id = orders.id AND {TENANT} = 'vendor:' || p.vendor_id))",
    "CREATE FUNCTION orders_keep_t0() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "IF OLD.placed_at IS NOT NULL AND (NEW.placed_at, NEW.due_at) IS DISTINCT FROM (OLD.placed_at, OLD.due_at) "
    "THEN RAISE EXCEPTION 'the start of the 72 hours never changes'; END IF; RETURN NEW; END $$",
    "CREATE TRIGGER orders_keep_t0 BEFORE UPDATE OF placed_at, due_at ON orders "
    "FOR EACH ROW EXECUTE FUNCTION orders_keep_t0()",
)
