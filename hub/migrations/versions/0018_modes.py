"""Delivery modes: what a mall has seen of its codes, what vendors hold for orders, appointments that move.

Reversible: the downgrade drops the tables and columns, and with them what they say; lines in the states `revealed`
and `returned` must be gone first. New tables, empty columns, and checks that are validated after they were added: no lock is held for
longer than an instant, but for one pass over purchase_orders while an index is built.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0016"
branch_labels = None
depends_on = None

_TENANT = "(SELECT current_setting('supplyhub.tenant', true))"
_HUB_OR_MALL = f"{_TENANT} IN ('*', 'mall:' || mall_id)"
_LINES = (
    "'reserved', 'placed', 'accepted', 'rerouting', 'cancelling', 'shipped', 'delivered', {}'cancelled', 'expired', "
    "'unsupplied'"
)


def _check(table: str, name: str, rule: str) -> None:
    """Replace a check without holding the table while old rows are looked at."""
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({rule}) NOT VALID")
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def _wall(table: str, rule: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY {table}_tenant ON {table} USING ({rule}) WITH CHECK ({rule})")


def upgrade() -> None:
    revealed = "'revealed', 'returned', "
    _check("order_lines", "ck_order_lines_status", f"status IN ({_LINES.format(revealed)})")
    op.create_table(
        "order_codes",
        sa.Column("line_id", sa.UUID(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("line_no", sa.SmallInteger(), nullable=False),
        sa.Column("masked", sa.Text(), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["line_id"], ["order_lines.id"], name=op.f("fk_order_codes_line_id")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_codes_order_id")),
        sa.PrimaryKeyConstraint("line_id", "position", name=op.f("pk_order_codes")),
    )
    op.create_index("ix_order_codes_order", "order_codes", ["order_id"])
    _wall("order_codes", _HUB_OR_MALL)
    op.add_column("order_lines", sa.Column("vendor_key", sa.Text(), nullable=True))
    none = sa.text("0")
    op.add_column("order_lines", sa.Column("cancelled_quantity", sa.Integer(), server_default=none, nullable=False))
    op.create_check_constraint(
        op.f("ck_order_lines_cancelled_quantity"), "order_lines", "cancelled_quantity >= 0", postgresql_not_valid=True
    )
    op.execute("ALTER TABLE order_lines VALIDATE CONSTRAINT ck_order_lines_cancelled_quantity")
    op.add_column("purchase_orders", sa.Column("moving_line_id", sa.UUID(), nullable=True))
    _holds()
    _moves()
    _quotas()
    _policies()
    _paths()
    _after_sales()


def _holds() -> None:
    op.create_table(
        "vendor_holds",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("order_no", sa.Text(), nullable=False),
        sa.Column("order_id", sa.UUID(), nullable=True),
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("listing_id", sa.BigInteger(), nullable=False),
        sa.Column("slot_ref", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('asking', 'held', 'used', 'releasing', 'released', 'given_up')",
            name=op.f("ck_vendor_holds_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vendor_holds")),
    )
    open_ = sa.text("state IN ('asking', 'held', 'releasing')")
    op.create_index("ix_vendor_holds_open", "vendor_holds", ["due_at"], postgresql_where=open_)
    asked = sa.text("order_id IS NULL")
    op.create_index("ix_vendor_holds_asked", "vendor_holds", ["mall_id", "order_no"], postgresql_where=asked)
    op.create_index("ix_vendor_holds_key", "vendor_holds", ["key"])


def _moves() -> None:
    op.create_table(
        "slot_moves",
        sa.Column("po_id", sa.UUID(), nullable=False),
        sa.Column("old_po_id", sa.UUID(), nullable=False),
        sa.Column("line_id", sa.UUID(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("slot_id", sa.BigInteger(), nullable=False),
        sa.Column("slot_ref", sa.Text(), nullable=False),
        sa.Column("slot_version", sa.Text(), nullable=True),
        sa.Column("slot_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("slot_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("unit_price", sa.Numeric(14, 4), nullable=False),
        sa.Column("hold_id", sa.UUID(), nullable=True),
        sa.Column("old_hold_id", sa.UUID(), nullable=True),
        sa.Column("vendor_key", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('open', 'moved', 'failed')", name=op.f("ck_slot_moves_state")),
        sa.ForeignKeyConstraint(["po_id"], ["purchase_orders.id"], name=op.f("fk_slot_moves_po_id")),
        sa.ForeignKeyConstraint(["old_po_id"], ["purchase_orders.id"], name=op.f("fk_slot_moves_old_po_id")),
        sa.ForeignKeyConstraint(["line_id"], ["order_lines.id"], name=op.f("fk_slot_moves_line_id")),
        sa.PrimaryKeyConstraint("po_id", name=op.f("pk_slot_moves")),
    )
    op.create_index("ix_slot_moves_old", "slot_moves", ["old_po_id"])
    op.create_index(
        "uq_slot_moves_open", "slot_moves", ["line_id"], unique=True, postgresql_where=sa.text("state = 'open'")
    )


def _quotas() -> None:
    op.create_table(
        "catalog_buffers",
        sa.Column("listing_id", sa.BigInteger(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.CheckConstraint("units > 0", name=op.f("ck_catalog_buffers_units")),
        sa.ForeignKeyConstraint(["listing_id"], ["catalog_listings.id"], name=op.f("fk_catalog_buffers_listing_id")),
        sa.PrimaryKeyConstraint("listing_id", name=op.f("pk_catalog_buffers")),
    )
    op.create_table(
        "order_quotas",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=True),
        sa.Column("listing_id", sa.BigInteger(), nullable=True),
        sa.Column("product_id", sa.BigInteger(), nullable=True),
        sa.Column("per_order", sa.Integer(), nullable=True),
        sa.Column("units", sa.Integer(), nullable=True),
        sa.Column("window_s", sa.Integer(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(listing_id IS NULL) <> (product_id IS NULL)", name=op.f("ck_order_quotas_subject")),
        sa.CheckConstraint("per_order > 0 AND units >= 0 AND window_s > 0", name=op.f("ck_order_quotas_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_quotas")),
    )
    op.create_index(
        "uq_order_quotas_subject",
        "order_quotas",
        ["mall_id", "listing_id", "product_id"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "order_quota_uses",
        sa.Column("quota_id", sa.BigInteger(), nullable=False),
        sa.Column("line_id", sa.UUID(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["quota_id"], ["order_quotas.id"], name=op.f("fk_order_quota_uses_quota_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["line_id"], ["order_lines.id"], name=op.f("fk_order_quota_uses_line_id")),
        sa.PrimaryKeyConstraint("quota_id", "line_id", name=op.f("pk_order_quota_uses")),
    )
    op.create_index("ix_order_quota_uses_at", "order_quota_uses", ["quota_id", "at"])


def _policies() -> None:
    op.add_column("order_lines", sa.Column("routing", sa.Text(), nullable=True))
    weights = ("price", "promise", "confidence", "standing", "parcels")
    op.create_table(
        "routing_policies",
        sa.Column("mall_id", sa.BigInteger(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.Numeric(8, 4), nullable=False) for name in weights),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "price >= 0 AND promise >= 0 AND confidence >= 0 AND standing >= 0 AND parcels >= 0 "
            "AND price + promise + confidence + standing + parcels > 0",
            name=op.f("ck_routing_policies_weights"),
        ),
        sa.PrimaryKeyConstraint("mall_id", name=op.f("pk_routing_policies")),
    )
    op.create_table(
        "vendor_standings",
        sa.Column("vendor_id", sa.BigInteger(), autoincrement=False, nullable=False),
        *(
            sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)
            for name in ("decided", "refused", "due", "on_time")
        ),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("vendor_id", name=op.f("pk_vendor_standings")),
    )


def _paths() -> None:
    op.add_column("order_lines", sa.Column("split_from", sa.UUID(), nullable=True))
    op.add_column("purchase_orders", sa.Column("recall", sa.Text(), nullable=True))
    undecided = sa.text("status IN ('awaiting_vendor', 'pending')")
    op.create_index("ix_purchase_orders_undecided", "purchase_orders", ["created_at"], postgresql_where=undecided)


def _after_sales() -> None:
    op.create_table(
        "after_sales",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("line_id", sa.UUID(), nullable=False),
        sa.Column("line_no", sa.SmallInteger(), nullable=False),
        sa.Column("po_id", sa.UUID(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("carrier", sa.Text(), nullable=True),
        sa.Column("tracking_no", sa.Text(), nullable=True),
        sa.Column("refund", sa.Numeric(16, 4), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("replacement_order_id", sa.UUID(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('requested', 'approved', 'returning', 'received', 'refunded', 'replaced', 'declined', "
            "'withdrawn')",
            name=op.f("ck_after_sales_status"),
        ),
        sa.CheckConstraint("kind IN ('refusal', 'return', 'refund')", name=op.f("ck_after_sales_kind")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_after_sales_quantity")),
        sa.CheckConstraint("(status = 'refunded') = (refund IS NOT NULL)", name=op.f("ck_after_sales_refund")),
        sa.CheckConstraint(
            "(status = 'replaced') = (replacement_order_id IS NOT NULL)", name=op.f("ck_after_sales_replaced")
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_after_sales_order_id")),
        sa.ForeignKeyConstraint(["line_id"], ["order_lines.id"], name=op.f("fk_after_sales_line_id")),
        sa.ForeignKeyConstraint(["po_id"], ["purchase_orders.id"], name=op.f("fk_after_sales_po_id")),
        sa.ForeignKeyConstraint(
            ["replacement_order_id"], ["orders.id"], name=op.f("fk_after_sales_replacement_order_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_after_sales")),
    )
    op.create_index("ix_after_sales_order", "after_sales", ["order_id"])
    op.create_index("ix_after_sales_vendor", "after_sales", ["vendor_id", "id"])
    op.create_index("ix_after_sales_line", "after_sales", ["line_id"])
    _wall("after_sales", f"{_TENANT} IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id)")


def downgrade() -> None:
    op.drop_table("after_sales")
    op.drop_index("ix_purchase_orders_undecided", table_name="purchase_orders")
    op.drop_column("purchase_orders", "recall")
    op.drop_column("order_lines", "split_from")
    op.drop_table("vendor_standings")
    op.drop_table("routing_policies")
    op.drop_column("order_lines", "routing")
    op.drop_table("order_quota_uses")
    op.drop_table("order_quotas")
    op.drop_table("catalog_buffers")
    op.drop_table("slot_moves")
    op.drop_table("vendor_holds")
    op.drop_column("purchase_orders", "moving_line_id")
    op.drop_column("order_lines", "cancelled_quantity")
    op.drop_column("order_lines", "vendor_key")
    op.drop_table("order_codes")
    _check("order_lines", "ck_order_lines_status", f"status IN ({_LINES.format('')})")
