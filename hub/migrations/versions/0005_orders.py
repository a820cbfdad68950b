"""Tables of orders.

Reversible: the downgrade drops them. New tables only, so no lock that anybody waits for.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("mall_order_no", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("ship_to", sa.LargeBinary(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("total", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reserved_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("due_at = placed_at + interval '72 hours'", name=op.f("ck_orders_due_at")),
        sa.CheckConstraint("mode IN ('reserve', 'place')", name=op.f("ck_orders_mode")),
        sa.CheckConstraint(
            "status IN ('reserved', 'placed', 'accepted', 'shipped', 'cancelling', 'completed', 'cancelled', 'expired', 'unsupplied')",
            name=op.f("ck_orders_status"),
        ),
        sa.CheckConstraint("(placed_at IS NULL) = (due_at IS NULL)", name=op.f("ck_orders_placed")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
        sa.UniqueConstraint("mall_id", "mall_order_no", name=op.f("uq_orders_mall_id_mall_order_no")),
    )
    op.create_index("ix_orders_mall", "orders", ["mall_id", "id"], unique=False)
    op.create_index(
        "ix_orders_reserved",
        "orders",
        ["reserved_until"],
        unique=False,
        postgresql_where=sa.text("status = 'reserved'"),
    )
    op.create_index(
        "ix_orders_reserved_by_mall",
        "orders",
        ["mall_id"],
        unique=False,
        postgresql_where=sa.text("status = 'reserved'"),
    )
    op.create_table(
        "order_lines",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("line_no", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("asked_listing_id", sa.BigInteger(), nullable=True),
        sa.Column("max_price", sa.Numeric(precision=14, scale=4), nullable=True),
        sa.Column("max_currency", sa.Text(), nullable=True),
        sa.Column("agreed_price", sa.Numeric(precision=14, scale=4), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("listing_id", sa.BigInteger(), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), nullable=False),
        sa.Column("vendor_name", sa.Text(), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("vendor_sku", sa.Text(), nullable=False),
        sa.Column("vendor_ref", sa.Text(), nullable=True),
        sa.Column("unit_price", sa.Numeric(precision=14, scale=4), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("slot_id", sa.BigInteger(), nullable=True),
        sa.Column("slot_ref", sa.Text(), nullable=True),
        sa.Column("slot_version", sa.Text(), nullable=True),
        sa.Column("slot_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("slot_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hold_id", sa.UUID(), nullable=True),
        sa.Column("po_id", sa.UUID(), nullable=True),
        sa.Column("first_po_id", sa.UUID(), nullable=True),
        sa.Column("first_outcome", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('reserved', 'placed', 'accepted', 'rerouting', 'cancelling', 'shipped', 'delivered', 'cancelled', 'expired', 'unsupplied')",
            name=op.f("ck_order_lines_status"),
        ),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_order_lines_quantity")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_lines_order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_lines")),
        sa.UniqueConstraint("order_id", "line_no", name=op.f("uq_order_lines_order_id_line_no")),
    )
    op.create_table(
        "purchase_orders",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), nullable=False),
        sa.Column("vendor_name", sa.Text(), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("vendor_order_no", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("attention", sa.Text(), nullable=True),
        sa.Column("ever_unknown", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint(
            "status IN ('queued', 'awaiting_vendor', 'unknown', 'pending', 'accepted', 'cancelling', 'shipped', 'delivered', 'refused', 'withdrawn', 'cancelled')",
            name=op.f("ck_purchase_orders_status"),
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_purchase_orders_order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_purchase_orders")),
        sa.UniqueConstraint("number", name=op.f("uq_purchase_orders_number")),
    )
    op.create_index(
        "ix_purchase_orders_attention",
        "purchase_orders",
        ["id"],
        unique=False,
        postgresql_where=sa.text("attention IS NOT NULL"),
    )
    op.create_index("ix_purchase_orders_order", "purchase_orders", ["order_id"], unique=False)
    op.create_index("ix_purchase_orders_vendor", "purchase_orders", ["vendor_id", "id"], unique=False)
    op.create_index(
        "ix_purchase_orders_vendor_no", "purchase_orders", ["vendor_order_no", "connection_id"], unique=False
    )
    op.create_table(
        "po_attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("po_id", sa.UUID(), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("no", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('place', 'find', 'cancel')", name=op.f("ck_po_attempts_kind")),
        sa.CheckConstraint("state IN ('due', 'calling', 'done')", name=op.f("ck_po_attempts_state")),
        sa.ForeignKeyConstraint(["po_id"], ["purchase_orders.id"], name=op.f("fk_po_attempts_po_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_po_attempts")),
        sa.UniqueConstraint("po_id", "no", name=op.f("uq_po_attempts_po_id_no")),
    )
    op.create_index(
        "ix_po_attempts_calling",
        "po_attempts",
        ["connection_id", "lease_until"],
        unique=False,
        postgresql_where=sa.text("state = 'calling'"),
    )
    op.create_index(
        "ix_po_attempts_due", "po_attempts", ["due_at", "id"], unique=False, postgresql_where=sa.text("state = 'due'")
    )
    op.create_index(
        "uq_po_attempts_open", "po_attempts", ["po_id"], unique=True, postgresql_where=sa.text("state <> 'done'")
    )
    op.create_table(
        "po_lines",
        sa.Column("po_id", sa.UUID(), nullable=False),
        sa.Column("line_id", sa.UUID(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), nullable=False),
        sa.Column("line_no", sa.SmallInteger(), nullable=False),
        sa.Column("listing_id", sa.BigInteger(), nullable=False),
        sa.Column("vendor_sku", sa.Text(), nullable=False),
        sa.Column("vendor_ref", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("unit_price", sa.Numeric(precision=14, scale=4), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("slot_ref", sa.Text(), nullable=True),
        sa.Column("slot_version", sa.Text(), nullable=True),
        sa.Column("slot_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("slot_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(["line_id"], ["order_lines.id"], name=op.f("fk_po_lines_line_id")),
        sa.ForeignKeyConstraint(["po_id"], ["purchase_orders.id"], name=op.f("fk_po_lines_po_id")),
        sa.PrimaryKeyConstraint("po_id", "line_id", name=op.f("pk_po_lines")),
    )
    op.create_index("ix_po_lines_line", "po_lines", ["line_id"], unique=False)
    op.execute("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE orders FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY orders_tenant ON orders USING ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id)) WITH CHECK ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id))"
    )
    op.execute("ALTER TABLE order_lines ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE order_lines FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY order_lines_tenant ON order_lines USING ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id)) WITH CHECK ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id))"
    )
    op.execute("ALTER TABLE purchase_orders ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE purchase_orders FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY purchase_orders_tenant ON purchase_orders USING ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id)) WITH CHECK ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id))"
    )
    op.execute("ALTER TABLE po_lines ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE po_lines FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY po_lines_tenant ON po_lines USING ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id)) WITH CHECK ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id))"
    )
    op.execute(
        "CREATE POLICY orders_vendor ON orders FOR SELECT USING ((SELECT current_setting('supplyhub.tenant', true)) LIKE 'vendor:%' AND EXISTS (SELECT 1 FROM purchase_orders p WHERE p.order_id = orders.id AND (SELECT current_setting('supplyhub.tenant', true)) = 'vendor:' || p.vendor_id))"
    )
    op.execute(
        "CREATE FUNCTION orders_keep_t0() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.placed_at IS NOT NULL AND (NEW.placed_at, NEW.due_at) IS DISTINCT FROM (OLD.placed_at, OLD.due_at) THEN RAISE EXCEPTION 'the start of the 72 hours never changes'; END IF; RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER orders_keep_t0 BEFORE UPDATE OF placed_at, due_at ON orders FOR EACH ROW EXECUTE FUNCTION orders_keep_t0()"
    )


def downgrade() -> None:
    op.execute("DROP POLICY orders_tenant ON orders")
    op.execute("DROP POLICY order_lines_tenant ON order_lines")
    op.execute("DROP POLICY purchase_orders_tenant ON purchase_orders")
    op.execute("DROP POLICY po_lines_tenant ON po_lines")
    op.execute("DROP POLICY orders_vendor ON orders")
    op.drop_index("ix_po_lines_line", table_name="po_lines")
    op.drop_table("po_lines")
    op.drop_index("uq_po_attempts_open", table_name="po_attempts", postgresql_where=sa.text("state <> 'done'"))
    op.drop_index("ix_po_attempts_due", table_name="po_attempts", postgresql_where=sa.text("state = 'due'"))
    op.drop_index("ix_po_attempts_calling", table_name="po_attempts", postgresql_where=sa.text("state = 'calling'"))
    op.drop_table("po_attempts")
    op.drop_index("ix_purchase_orders_vendor_no", table_name="purchase_orders")
    op.drop_index("ix_purchase_orders_vendor", table_name="purchase_orders")
    op.drop_index("ix_purchase_orders_order", table_name="purchase_orders")
    op.drop_index(
        "ix_purchase_orders_attention", table_name="purchase_orders", postgresql_where=sa.text("attention IS NOT NULL")
    )
    op.drop_table("purchase_orders")
    op.drop_table("order_lines")
    op.drop_index("ix_orders_reserved_by_mall", table_name="orders", postgresql_where=sa.text("status = 'reserved'"))
    op.drop_index("ix_orders_reserved", table_name="orders", postgresql_where=sa.text("status = 'reserved'"))
    op.drop_index("ix_orders_mall", table_name="orders")
    op.drop_table("orders")
    op.execute("DROP FUNCTION orders_keep_t0()")
