"""Emergencies: incidents with their sites, demands, fenced stock, plans and allotments.

Reversible: the downgrade drops these tables; close open incidents before, or their stock stays reserved. New tables only,
so no lock that anybody waits for.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "catalog_zones",
        sa.Column("zone_id", sa.BigInteger(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("reader_ids", postgresql.ARRAY(sa.BigInteger()), nullable=True),
        sa.PrimaryKeyConstraint("zone_id", "product_id", name=op.f("pk_catalog_zones")),
    )
    op.create_table(
        "emergency_incidents",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("area", sa.Text(), nullable=False),
        sa.Column("exercise", sa.Boolean(), nullable=False),
        sa.Column("access", sa.Text(), nullable=False),
        sa.Column("mall_ids", postgresql.ARRAY(sa.BigInteger()), nullable=True),
        sa.Column("code_digest", sa.LargeBinary(), nullable=True),
        sa.Column("items", postgresql.JSONB(), nullable=False),
        sa.Column("unverified_headcount", sa.Integer(), nullable=False),
        sa.Column("unverified_tier", sa.Integer(), nullable=False),
        sa.Column("window_s", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("declared_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("declared_by", sa.Text(), nullable=False),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.CheckConstraint("(access = 'public') = (code_digest IS NOT NULL)", name=op.f("ck_emergency_incidents_code")),
        sa.CheckConstraint(
            "(status = 'closed') = (closed_at IS NOT NULL)", name=op.f("ck_emergency_incidents_closed_at")
        ),
        sa.CheckConstraint("access IN ('companies', 'public')", name=op.f("ck_emergency_incidents_access")),
        sa.CheckConstraint("status IN ('open', 'closed')", name=op.f("ck_emergency_incidents_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_emergency_incidents")),
        sa.UniqueConstraint("code_digest", name=op.f("uq_emergency_incidents_code_digest")),
    )
    op.create_table(
        "emergency_knocks",
        sa.Column("source", sa.LargeBinary(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("source", "minute", name=op.f("pk_emergency_knocks")),
    )
    op.create_index("ix_emergency_knocks_minute", "emergency_knocks", ["minute"], unique=False)
    op.create_table(
        "emergency_leads",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("warehouse", sa.Text(), nullable=False),
        sa.Column("area", sa.Text(), nullable=False),
        sa.Column("site_id", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("hours", sa.Numeric(precision=12, scale=4), nullable=False),
        sa.Column("cost", sa.Numeric(precision=12, scale=4), nullable=False),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["emergency_incidents.id"], name=op.f("fk_emergency_leads_incident_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_emergency_leads")),
        sa.UniqueConstraint(
            "incident_id",
            "warehouse",
            "area",
            "site_id",
            name=op.f("uq_emergency_leads_incident_id_warehouse_area_site_id"),
        ),
    )
    op.create_table(
        "emergency_plans",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("author_key", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("replaces", sa.BigInteger(), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=True),
        sa.Column("snapshot_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("solved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seconds", sa.Numeric(precision=10, scale=3), nullable=True),
        sa.Column("snapshot_sha256", sa.Text(), nullable=True),
        sa.Column("plan_sha256", sa.Text(), nullable=True),
        sa.Column("longest_hours", sa.Numeric(precision=12, scale=4), nullable=True),
        sa.Column("figures", postgresql.JSONB(), nullable=True),
        sa.Column("comparison", postgresql.JSONB(), nullable=True),
        sa.Column("files", sa.LargeBinary(), nullable=True),
        sa.Column("committed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("committed_by", sa.Text(), nullable=True),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'solving', 'proposed', 'approved', 'committed', 'superseded', 'failed', 'dropped')",
            name=op.f("ck_emergency_plans_state"),
        ),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["emergency_incidents.id"], name=op.f("fk_emergency_plans_incident_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_emergency_plans")),
    )
    op.create_index(
        "ix_emergency_plans_dispatch",
        "emergency_plans",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state = 'committed' AND dispatched_at IS NULL"),
    )
    op.create_index(
        "ix_emergency_plans_due",
        "emergency_plans",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'solving')"),
    )
    op.create_index("ix_emergency_plans_incident", "emergency_plans", ["incident_id", "id"], unique=False)
    op.create_table(
        "emergency_sites",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=True),
        sa.Column("owner", sa.BigInteger(), nullable=False),
        sa.Column("site_key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("area", sa.Text(), nullable=False),
        sa.Column("address_key", sa.LargeBinary(), nullable=False),
        sa.Column("ship_to", sa.LargeBinary(), nullable=False),
        sa.Column("substitutes", sa.Boolean(), nullable=False),
        sa.Column("claimed_headcount", sa.Integer(), nullable=True),
        sa.Column("verified_headcount", sa.Integer(), nullable=True),
        sa.Column("tier", sa.Integer(), nullable=True),
        sa.Column("pool", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("floor", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("verified_by", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(verified_headcount IS NULL) = (tier IS NULL)", name=op.f("ck_emergency_sites_verified")),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["emergency_incidents.id"], name=op.f("fk_emergency_sites_incident_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_emergency_sites")),
        sa.UniqueConstraint(
            "incident_id", "owner", "site_key", name=op.f("uq_emergency_sites_incident_id_owner_site_key")
        ),
    )
    op.create_index("ix_emergency_sites_address", "emergency_sites", ["incident_id", "address_key"], unique=False)
    op.create_table(
        "emergency_supplies",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), nullable=False),
        sa.Column("listing_id", sa.BigInteger(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("warehouse", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("lot", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("units_each", sa.Integer(), nullable=False),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("substitute", sa.Boolean(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("fenced", sa.Integer(), nullable=False),
        sa.Column("lost", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("given_back", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("hold_id", sa.UUID(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(fenced > 0) = (hold_id IS NOT NULL)", name=op.f("ck_emergency_supplies_hold")),
        sa.CheckConstraint("fenced >= 0 AND lost >= 0 AND given_back >= 0", name=op.f("ck_emergency_supplies_parts")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_emergency_supplies_quantity")),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["emergency_incidents.id"], name=op.f("fk_emergency_supplies_incident_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_emergency_supplies")),
        sa.UniqueConstraint(
            "incident_id",
            "listing_id",
            "location",
            "lot",
            "pool",
            name=op.f("uq_emergency_supplies_incident_id_listing_id_location_lot_pool"),
        ),
    )
    op.create_table(
        "emergency_approvals",
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["plan_id"], ["emergency_plans.id"], name=op.f("fk_emergency_approvals_plan_id")),
        sa.PrimaryKeyConstraint("plan_id", "key_id", name=op.f("pk_emergency_approvals")),
    )
    op.create_table(
        "emergency_demands",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("site_id", sa.BigInteger(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=True),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked_again", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("channel IN ('api', 'form', 'csv')", name=op.f("ck_emergency_demands_channel")),
        sa.CheckConstraint("quantity >= 0", name=op.f("ck_emergency_demands_quantity")),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["emergency_incidents.id"], name=op.f("fk_emergency_demands_incident_id")
        ),
        sa.ForeignKeyConstraint(["site_id"], ["emergency_sites.id"], name=op.f("fk_emergency_demands_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_emergency_demands")),
        sa.UniqueConstraint("site_id", "item", name=op.f("uq_emergency_demands_site_id_item")),
    )
    op.create_index("ix_emergency_demands_incident", "emergency_demands", ["incident_id", "id"], unique=False)
    op.create_table(
        "emergency_shares",
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("demand_id", sa.BigInteger(), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("site_id", sa.BigInteger(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=True),
        sa.Column("tier", sa.Integer(), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("counted", sa.Integer(), nullable=False),
        sa.Column("granted", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["plan_id"], ["emergency_plans.id"], name=op.f("fk_emergency_shares_plan_id")),
        sa.PrimaryKeyConstraint("plan_id", "demand_id", name=op.f("pk_emergency_shares")),
    )
    op.create_index("ix_emergency_shares_site", "emergency_shares", ["plan_id", "site_id"], unique=False)
    op.create_table(
        "emergency_allotments",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("supply_id", sa.BigInteger(), nullable=False),
        sa.Column("demand_id", sa.BigInteger(), nullable=False),
        sa.Column("site_id", sa.BigInteger(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=True),
        sa.Column("vendor_id", sa.BigInteger(), nullable=False),
        sa.Column("tier", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("hold_id", sa.UUID(), nullable=True),
        sa.Column("order_id", sa.UUID(), nullable=True),
        sa.Column("line_id", sa.UUID(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('planned', 'held', 'ordered', 'rehearsed', 'unsupplied', 'cancelled', 'released')",
            name=op.f("ck_emergency_allotments_state"),
        ),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_emergency_allotments_quantity")),
        sa.ForeignKeyConstraint(
            ["demand_id"], ["emergency_demands.id"], name=op.f("fk_emergency_allotments_demand_id")
        ),
        sa.ForeignKeyConstraint(["plan_id"], ["emergency_plans.id"], name=op.f("fk_emergency_allotments_plan_id")),
        sa.ForeignKeyConstraint(
            ["supply_id"], ["emergency_supplies.id"], name=op.f("fk_emergency_allotments_supply_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_emergency_allotments")),
        sa.UniqueConstraint("line_id", name=op.f("uq_emergency_allotments_line_id")),
        sa.UniqueConstraint(
            "plan_id", "supply_id", "demand_id", name=op.f("uq_emergency_allotments_plan_id_supply_id_demand_id")
        ),
    )
    op.create_index("ix_emergency_allotments_demand", "emergency_allotments", ["demand_id"], unique=False)
    op.create_index(
        "ix_emergency_allotments_held",
        "emergency_allotments",
        ["plan_id", "site_id"],
        unique=False,
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_index("ix_emergency_allotments_supply", "emergency_allotments", ["supply_id"], unique=False)
    op.execute("ALTER TABLE emergency_sites ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE emergency_sites FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY emergency_sites_tenant ON emergency_sites USING ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id)) WITH CHECK ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id))"
    )
    op.execute("ALTER TABLE emergency_demands ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE emergency_demands FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY emergency_demands_tenant ON emergency_demands USING ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id)) WITH CHECK ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id))"
    )
    op.execute("ALTER TABLE emergency_supplies ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE emergency_supplies FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY emergency_supplies_tenant ON emergency_supplies USING ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'vendor:' || vendor_id)) WITH CHECK ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'vendor:' || vendor_id))"
    )
    op.execute("ALTER TABLE emergency_allotments ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE emergency_allotments FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY emergency_allotments_tenant ON emergency_allotments USING ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id)) WITH CHECK ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id, 'vendor:' || vendor_id))"
    )
    op.execute("ALTER TABLE emergency_shares ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE emergency_shares FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY emergency_shares_tenant ON emergency_shares USING ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id)) WITH CHECK ((SELECT current_setting('supplyhub.tenant', true)) IN ('*', 'mall:' || mall_id))"
    )


def downgrade() -> None:
    op.drop_table("catalog_zones")
    op.execute("DROP POLICY emergency_sites_tenant ON emergency_sites")
    op.execute("DROP POLICY emergency_demands_tenant ON emergency_demands")
    op.execute("DROP POLICY emergency_supplies_tenant ON emergency_supplies")
    op.execute("DROP POLICY emergency_allotments_tenant ON emergency_allotments")
    op.execute("DROP POLICY emergency_shares_tenant ON emergency_shares")
    op.drop_index("ix_emergency_allotments_supply", table_name="emergency_allotments")
    op.drop_index(
        "ix_emergency_allotments_held", table_name="emergency_allotments", postgresql_where=sa.text("state = 'held'")
    )
    op.drop_index("ix_emergency_allotments_demand", table_name="emergency_allotments")
    op.drop_table("emergency_allotments")
    op.drop_index("ix_emergency_shares_site", table_name="emergency_shares")
    op.drop_table("emergency_shares")
    op.drop_index("ix_emergency_demands_incident", table_name="emergency_demands")
    op.drop_table("emergency_demands")
    op.drop_table("emergency_approvals")
    op.drop_table("emergency_supplies")
    op.drop_index("ix_emergency_sites_address", table_name="emergency_sites")
    op.drop_table("emergency_sites")
    op.drop_index("ix_emergency_plans_incident", table_name="emergency_plans")
    op.drop_index(
        "ix_emergency_plans_due",
        table_name="emergency_plans",
        postgresql_where=sa.text("state IN ('queued', 'solving')"),
    )
    op.drop_index(
        "ix_emergency_plans_dispatch",
        table_name="emergency_plans",
        postgresql_where=sa.text("state = 'committed' AND dispatched_at IS NULL"),
    )
    op.drop_table("emergency_plans")
    op.drop_table("emergency_leads")
    op.drop_index("ix_emergency_knocks_minute", table_name="emergency_knocks")
    op.drop_table("emergency_knocks")
    op.drop_table("emergency_incidents")
