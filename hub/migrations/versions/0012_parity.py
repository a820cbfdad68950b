"""Price parity widened: rates, windows of prices, re-checks, talks about cases, policies by category, moves to confirm.

Reversible: the downgrade drops the new tables and columns, and with them what they say; cases that are waived and
policies for a category must be gone first. New columns are empty, checks are added without looking at old rows; writes
to pricing_verdicts, pricing_references and catalog_listings are locked out while their new indexes are built (about
0.3 s a million rows; the one of families holds only rows that have one). The other tables that change hold one row a
case or a policy.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def _check(table: str, name: str, rule: str) -> None:
    """Replace a check without holding the table while old rows are looked at."""
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({rule}) NOT VALID")
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def _add(table: str, *columns: sa.Column[object]) -> None:
    for column in columns:
        op.add_column(table, column)


def upgrade() -> None:
    _add("pricing_references", sa.Column("valid_from", _TIME), sa.Column("valid_to", _TIME))
    op.create_index(
        "ix_pricing_references_windows",
        "pricing_references",
        ["product_id"],
        postgresql_where=sa.text("valid_from IS NOT NULL OR valid_to IS NOT NULL"),
    )
    _add(
        "pricing_verdicts",
        sa.Column("understood", sa.Boolean()),
        sa.Column("category", sa.Text()),
        sa.Column("valid_from", _TIME),
        sa.Column("valid_to", _TIME),
        sa.Column("valid_until", _TIME),
    )
    op.drop_index("ix_pricing_verdicts_expiry", table_name="pricing_verdicts")
    op.create_index(
        "ix_pricing_verdicts_due",
        "pricing_verdicts",
        ["valid_until"],
        postgresql_where=sa.text("valid_until IS NOT NULL"),
    )
    op.create_index(
        "ix_pricing_verdicts_undated",
        "pricing_verdicts",
        ["listing_id"],
        postgresql_where=sa.text("valid_until IS NULL AND verdict <> 'unknown'"),
    )
    _cases()
    op.add_column("pricing_policies", sa.Column("category", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.drop_constraint("pk_pricing_policies", "pricing_policies")
    op.create_primary_key("pk_pricing_policies", "pricing_policies", ["mall_id", "category"])
    op.create_index(
        "ix_catalog_listings_family",
        "catalog_listings",
        ["connection_id", "family_id"],
        postgresql_where=sa.text("family_id IS NOT NULL"),
    )
    _tables()


def _cases() -> None:
    _add(
        "pricing_cases",
        sa.Column("category", sa.Text()),
        sa.Column("stage", sa.Text(), server_default=sa.text("'found'"), nullable=False),
        sa.Column("waived_until", _TIME),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
    )
    _check("pricing_cases", "ck_pricing_cases_status", "status IN ('open', 'waived', 'closed')")
    _check("pricing_cases", "ck_pricing_cases_stage", "stage IN ('found', 'told', 'offered')")
    _check("pricing_cases", "ck_pricing_cases_waived", "(status = 'waived') = (waived_until IS NOT NULL)")
    op.drop_index("uq_pricing_cases_open", table_name="pricing_cases")
    op.create_index(
        "uq_pricing_cases_live",
        "pricing_cases",
        ["listing_id", "threshold_pct", "gross_pct"],
        unique=True,
        postgresql_where=sa.text("status <> 'closed'"),
    )
    op.create_index(
        "ix_pricing_cases_waived",
        "pricing_cases",
        ["waived_until"],
        postgresql_where=sa.text("status = 'waived'"),
    )
    op.create_table(
        "pricing_snapshots",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("case_id", sa.BigInteger(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["pricing_cases.id"], name=op.f("fk_pricing_snapshots_case_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pricing_snapshots")),
    )
    op.create_index("ix_pricing_snapshots_case", "pricing_snapshots", ["case_id", "id"])


def _tables() -> None:
    op.create_table(
        "pricing_rates",
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("rate", sa.Numeric(precision=18, scale=8), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("recorded_at", _TIME, nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.CheckConstraint("rate > 0", name=op.f("ck_pricing_rates_rate")),
        sa.CheckConstraint("currency <> 'CNY'", name=op.f("ck_pricing_rates_currency")),
        sa.PrimaryKeyConstraint("currency", "day", name=op.f("pk_pricing_rates")),
    )
    op.create_table(
        "pricing_rechecks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("asked_at", _TIME, nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("after_listing", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("seen", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("moved", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("done_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pricing_rechecks")),
    )
    op.create_index("ix_pricing_rechecks_open", "pricing_rechecks", ["id"], postgresql_where=sa.text("done_at IS NULL"))
    op.create_table(
        "pricing_moves",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("listing_id", sa.BigInteger(), nullable=False),
        sa.Column("vendor_sku", sa.Text(), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("price_before", sa.Numeric(precision=14, scale=4), nullable=False),
        sa.Column("price_after", sa.Numeric(precision=14, scale=4), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("decided_at", _TIME),
        sa.Column("decided_by", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.CheckConstraint(
            "status IN ('pending', 'confirmed', 'refused', 'withdrawn')", name=op.f("ck_pricing_moves_status")
        ),
        sa.CheckConstraint("(status = 'pending') = (decided_at IS NULL)", name=op.f("ck_pricing_moves_decided")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pricing_moves")),
    )
    op.create_index(
        "uq_pricing_moves_pending",
        "pricing_moves",
        ["listing_id"],
        unique=True,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index("ix_pricing_moves_listing", "pricing_moves", ["listing_id", "id"])
    op.create_table(
        "pricing_unmatched",
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("vendor_sku", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("brand", sa.Text()),
        sa.Column("model", sa.Text()),
        sa.Column("gtin", sa.Text()),
        sa.Column("price", sa.Numeric(precision=14, scale=4), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("url", sa.Text()),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("connection_id", "vendor_sku", name=op.f("pk_pricing_unmatched")),
    )
    op.create_table(
        "pricing_pack_findings",
        sa.Column("listing_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("smaller_listing_id", sa.BigInteger(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("units", sa.Numeric(), nullable=False),
        sa.Column("smaller_units", sa.Numeric(), nullable=False),
        sa.Column("per_unit", sa.Numeric(), nullable=False),
        sa.Column("smaller_per_unit", sa.Numeric(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("found_at", _TIME, nullable=False),
        sa.Column("told_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("listing_id", name=op.f("pk_pricing_pack_findings")),
    )


def downgrade() -> None:
    op.drop_index("ix_catalog_listings_family", table_name="catalog_listings")
    for table in ("pack_findings", "unmatched", "moves", "rechecks", "rates", "snapshots"):
        op.drop_table(f"pricing_{table}")
    op.drop_constraint("pk_pricing_policies", "pricing_policies")
    op.drop_column("pricing_policies", "category")
    op.create_primary_key("pk_pricing_policies", "pricing_policies", ["mall_id"])
    op.drop_index("ix_pricing_cases_waived", table_name="pricing_cases")
    op.drop_index("uq_pricing_cases_live", table_name="pricing_cases")
    op.create_index(
        "uq_pricing_cases_open",
        "pricing_cases",
        ["listing_id", "threshold_pct", "gross_pct"],
        unique=True,
        postgresql_where=sa.text("status = 'open'"),
    )
    op.drop_constraint("ck_pricing_cases_waived", "pricing_cases")
    op.drop_constraint("ck_pricing_cases_stage", "pricing_cases")
    _check("pricing_cases", "ck_pricing_cases_status", "status IN ('open', 'closed')")
    for column in ("version", "waived_until", "stage", "category"):
        op.drop_column("pricing_cases", column)
    op.drop_index("ix_pricing_verdicts_undated", table_name="pricing_verdicts")
    op.drop_index("ix_pricing_verdicts_due", table_name="pricing_verdicts")
    op.create_index(
        "ix_pricing_verdicts_expiry",
        "pricing_verdicts",
        ["captured_at"],
        postgresql_where=sa.text("verdict <> 'unknown'"),
    )
    for column in ("valid_until", "valid_to", "valid_from", "category", "understood"):
        op.drop_column("pricing_verdicts", column)
    op.drop_index("ix_pricing_references_windows", table_name="pricing_references")
    for column in ("valid_to", "valid_from"):
        op.drop_column("pricing_references", column)
