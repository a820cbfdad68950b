"""Tables of fulfillment.

Reversible: the downgrade drops them. New tables only, so no lock that anybody waits for.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fulfillment_line_clock",
        sa.Column("line_id", sa.UUID(), nullable=False),
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("po_id", sa.UUID(), nullable=True),
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), nullable=False),
        sa.Column("first_vendor_id", sa.BigInteger(), nullable=False),
        sa.Column("line_no", sa.Integer(), nullable=False),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("t0", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delivered_units", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_scan_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_by", sa.Text(), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("excused", sa.Text(), nullable=True),
        sa.Column("first_outcome", sa.Text(), server_default=sa.text("'undecided'"), nullable=False),
        sa.CheckConstraint("cancelled_by IN ('buyer', 'supply')", name=op.f("ck_fulfillment_line_clock_cancelled_by")),
        sa.CheckConstraint("due_at = t0 + interval '72 hours'", name=op.f("ck_fulfillment_line_clock_due_at")),
        sa.CheckConstraint("excused IN ('refused', 'bad_address')", name=op.f("ck_fulfillment_line_clock_excused")),
        sa.CheckConstraint(
            "first_outcome IN ('undecided', 'ok', 'stockout', 'refused', 'unknown')",
            name=op.f("ck_fulfillment_line_clock_first_outcome"),
        ),
        sa.CheckConstraint("mode IN ('parcel', 'appointment', 'code')", name=op.f("ck_fulfillment_line_clock_mode")),
        sa.CheckConstraint(
            "(cancelled_by IS NULL) = (cancelled_at IS NULL)", name=op.f("ck_fulfillment_line_clock_cancelled_at")
        ),
        sa.CheckConstraint(
            "(delivered_at IS NULL) = (delivered_units < quantity)", name=op.f("ck_fulfillment_line_clock_delivered_at")
        ),
        sa.CheckConstraint(
            "delivered_units BETWEEN 0 AND quantity", name=op.f("ck_fulfillment_line_clock_delivered_units")
        ),
        sa.PrimaryKeyConstraint("line_id", name=op.f("pk_fulfillment_line_clock")),
    )
    op.create_index("ix_fulfillment_line_clock_order", "fulfillment_line_clock", ["order_id"], unique=False)
    op.create_index("ix_fulfillment_line_clock_t0", "fulfillment_line_clock", ["t0"], unique=False)
    op.create_index(
        "ix_fulfillment_line_clock_undecided",
        "fulfillment_line_clock",
        ["t0"],
        unique=False,
        postgresql_where=sa.text("first_outcome IN ('undecided', 'unknown')"),
    )
    op.create_table(
        "fulfillment_shipments",
        sa.Column("po_id", sa.UUID(), nullable=False),
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("vendor_status", sa.Text(), nullable=True),
        sa.Column("vendor_raw_status", sa.Text(), nullable=True),
        sa.Column("vendor_status_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("po_id", name=op.f("pk_fulfillment_shipments")),
    )
    op.create_index("ix_fulfillment_shipments_order", "fulfillment_shipments", ["order_id"], unique=False)
    op.create_table(
        "fulfillment_parcels",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("po_id", sa.UUID(), nullable=False),
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("tracking_no", sa.Text(), nullable=False),
        sa.Column("t0", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("vendor_status", sa.Text(), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_scan_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["po_id"], ["fulfillment_shipments.po_id"], name=op.f("fk_fulfillment_parcels_po_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fulfillment_parcels")),
        sa.UniqueConstraint("carrier", "tracking_no", name=op.f("uq_fulfillment_parcels_carrier_tracking_no")),
    )
    op.create_index("ix_fulfillment_parcels_order", "fulfillment_parcels", ["order_id"], unique=False)
    op.create_table(
        "fulfillment_parcel_lines",
        sa.Column("parcel_id", sa.BigInteger(), nullable=False),
        sa.Column("line_id", sa.UUID(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), nullable=False),
        sa.Column("line_no", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_fulfillment_parcel_lines_quantity")),
        sa.ForeignKeyConstraint(
            ["parcel_id"], ["fulfillment_parcels.id"], name=op.f("fk_fulfillment_parcel_lines_parcel_id")
        ),
        sa.PrimaryKeyConstraint("parcel_id", "line_id", name=op.f("pk_fulfillment_parcel_lines")),
    )
    op.create_index("ix_fulfillment_parcel_lines_line", "fulfillment_parcel_lines", ["line_id"], unique=False)
    op.create_table(
        "fulfillment_tracking_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("parcel_id", sa.BigInteger(), nullable=True),
        sa.Column("mall_id", sa.BigInteger(), nullable=True),
        sa.Column("vendor_id", sa.BigInteger(), nullable=True),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("tracking_no", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("raw_status", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("void", sa.Boolean(), nullable=False),
        sa.Column("event_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ingested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("place", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("cause IN ('bad_address')", name=op.f("ck_fulfillment_tracking_events_cause")),
        sa.CheckConstraint(
            "source IN ('carrier', 'vendor', 'manual')", name=op.f("ck_fulfillment_tracking_events_source")
        ),
        sa.ForeignKeyConstraint(
            ["parcel_id"], ["fulfillment_parcels.id"], name=op.f("fk_fulfillment_tracking_events_parcel_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fulfillment_tracking_events")),
        sa.UniqueConstraint("digest", name=op.f("uq_fulfillment_tracking_events_digest")),
    )
    op.create_index(
        "ix_fulfillment_tracking_events_parcel", "fulfillment_tracking_events", ["parcel_id", "event_at"], unique=False
    )
    op.create_index(
        "ix_fulfillment_tracking_events_parked",
        "fulfillment_tracking_events",
        ["carrier", "tracking_no"],
        unique=False,
        postgresql_where=sa.text("parcel_id IS NULL"),
    )
    op.execute("ALTER TABLE fulfillment_shipments ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE fulfillment_shipments FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY fulfillment_shipments_tenant ON fulfillment_shipments USING ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id)) WITH CHECK ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id))"
    )
    op.execute("ALTER TABLE fulfillment_parcels ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE fulfillment_parcels FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY fulfillment_parcels_tenant ON fulfillment_parcels USING ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id)) WITH CHECK ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id))"
    )
    op.execute("ALTER TABLE fulfillment_parcel_lines ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE fulfillment_parcel_lines FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY fulfillment_parcel_lines_tenant ON fulfillment_parcel_lines USING ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id)) WITH CHECK ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id))"
    )
    op.execute("ALTER TABLE fulfillment_tracking_events ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE fulfillment_tracking_events FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY fulfillment_tracking_events_tenant ON fulfillment_tracking_events USING ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id)) WITH CHECK ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id))"
    )
    op.execute("ALTER TABLE fulfillment_line_clock ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE fulfillment_line_clock FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY fulfillment_line_clock_tenant ON fulfillment_line_clock USING ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id, 'vendor:' || first_vendor_id)) WITH CHECK ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id, 'vendor:' || first_vendor_id))"
    )
    op.execute(
        "CREATE FUNCTION fulfillment_keep_t0() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF (NEW.t0, NEW.due_at) IS DISTINCT FROM (OLD.t0, OLD.due_at) THEN RAISE EXCEPTION 'the start of the 72 hours never changes'; END IF; RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER fulfillment_keep_t0 BEFORE UPDATE OF t0, due_at ON fulfillment_line_clock FOR EACH ROW EXECUTE FUNCTION fulfillment_keep_t0()"
    )


def downgrade() -> None:
    op.execute("DROP POLICY fulfillment_shipments_tenant ON fulfillment_shipments")
    op.execute("DROP POLICY fulfillment_parcels_tenant ON fulfillment_parcels")
    op.execute("DROP POLICY fulfillment_parcel_lines_tenant ON fulfillment_parcel_lines")
    op.execute("DROP POLICY fulfillment_tracking_events_tenant ON fulfillment_tracking_events")
    op.execute("DROP POLICY fulfillment_line_clock_tenant ON fulfillment_line_clock")
    op.drop_index(
        "ix_fulfillment_tracking_events_parked",
        table_name="fulfillment_tracking_events",
        postgresql_where=sa.text("parcel_id IS NULL"),
    )
    op.drop_index("ix_fulfillment_tracking_events_parcel", table_name="fulfillment_tracking_events")
    op.drop_table("fulfillment_tracking_events")
    op.drop_index("ix_fulfillment_parcel_lines_line", table_name="fulfillment_parcel_lines")
    op.drop_table("fulfillment_parcel_lines")
    op.drop_index("ix_fulfillment_parcels_order", table_name="fulfillment_parcels")
    op.drop_table("fulfillment_parcels")
    op.drop_index("ix_fulfillment_shipments_order", table_name="fulfillment_shipments")
    op.drop_table("fulfillment_shipments")
    op.drop_index(
        "ix_fulfillment_line_clock_undecided",
        table_name="fulfillment_line_clock",
        postgresql_where=sa.text("first_outcome IN ('undecided', 'unknown')"),
    )
    op.drop_index("ix_fulfillment_line_clock_t0", table_name="fulfillment_line_clock")
    op.drop_index("ix_fulfillment_line_clock_order", table_name="fulfillment_line_clock")
    op.drop_table("fulfillment_line_clock")
    op.execute("DROP FUNCTION fulfillment_keep_t0()")
