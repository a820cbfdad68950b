"""Tables of pricing.

Reversible: the downgrade drops them. New tables only, so no lock that anybody waits for.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pricing_cases",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("listing_id", sa.BigInteger(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("threshold_pct", sa.Numeric(precision=7, scale=2), nullable=False),
        sa.Column("gross_pct", sa.Numeric(precision=7, scale=2), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("log", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.CheckConstraint("(status = 'closed') = (closed_at IS NOT NULL)", name=op.f("ck_pricing_cases_closed")),
        sa.CheckConstraint("status IN ('open', 'closed')", name=op.f("ck_pricing_cases_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pricing_cases")),
    )
    op.create_index(
        "uq_pricing_cases_open",
        "pricing_cases",
        ["listing_id", "threshold_pct", "gross_pct"],
        unique=True,
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_table(
        "pricing_observations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("listing_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("ours", sa.Numeric(), nullable=False),
        sa.Column("reference", sa.Numeric(), nullable=False),
        sa.Column("gap", sa.Numeric(), nullable=False),
        sa.Column("reference_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pricing_observations")),
    )
    op.create_index("ix_pricing_observations_listing", "pricing_observations", ["listing_id", "at"], unique=False)
    op.create_table(
        "pricing_references",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.Numeric(precision=14, scale=4), nullable=False),
        sa.Column("shipping", sa.Numeric(precision=14, scale=4), nullable=False),
        sa.Column("coupon", sa.Numeric(precision=14, scale=4), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("pack", sa.Text(), nullable=True),
        sa.Column("units", sa.Numeric(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("understood", sa.Boolean(), nullable=False),
        sa.Column("comparable", sa.Numeric(), nullable=True),
        sa.Column("condition", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("captured_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("parser", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("(units IS NULL) = (unit IS NULL)", name=op.f("ck_pricing_references_units")),
        sa.CheckConstraint("price > 0", name=op.f("ck_pricing_references_price")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pricing_references")),
        sa.UniqueConstraint("product_id", "digest", name=op.f("uq_pricing_references_product_id_digest")),
    )
    op.create_index(
        "ix_pricing_references_product",
        "pricing_references",
        ["product_id", sa.literal_column("captured_at DESC")],
        unique=False,
    )
    op.create_table(
        "pricing_streaks",
        sa.Column("listing_id", sa.BigInteger(), nullable=False),
        sa.Column("threshold_pct", sa.Numeric(precision=7, scale=2), nullable=False),
        sa.Column("beyond", sa.Boolean(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("listing_id", "threshold_pct", name=op.f("pk_pricing_streaks")),
    )
    op.create_table(
        "pricing_verdicts",
        sa.Column("listing_id", sa.BigInteger(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ours", sa.Numeric(), nullable=True),
        sa.Column("reference", sa.Numeric(), nullable=True),
        sa.Column("gap", sa.Numeric(), nullable=True),
        sa.Column("reference_id", sa.BigInteger(), nullable=True),
        sa.Column("captured_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("price", sa.Numeric(precision=14, scale=4), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("shipping", sa.Numeric(precision=14, scale=4), nullable=False),
        sa.Column("coupon", sa.Numeric(precision=14, scale=4), nullable=False),
        sa.Column("pack", sa.Text(), nullable=True),
        sa.Column("units", sa.Numeric(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("observed_ours", sa.Numeric(), nullable=True),
        sa.Column("observed_reference_id", sa.BigInteger(), nullable=True),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "verdict = 'unknown' OR (reference_id IS NOT NULL AND captured_at IS NOT NULL)",
            name=op.f("ck_pricing_verdicts_evidence"),
        ),
        sa.CheckConstraint("verdict IN ('pass', 'breach', 'unknown')", name=op.f("ck_pricing_verdicts_verdict")),
        sa.PrimaryKeyConstraint("listing_id", name=op.f("pk_pricing_verdicts")),
    )
    op.create_index(
        "ix_pricing_verdicts_expiry",
        "pricing_verdicts",
        ["captured_at"],
        unique=False,
        postgresql_where=sa.text("verdict <> 'unknown'"),
    )
    op.create_index("ix_pricing_verdicts_product", "pricing_verdicts", ["product_id"], unique=False)
    op.create_table(
        "pricing_holds",
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("case_id", sa.BigInteger(), nullable=False),
        sa.Column("listing_id", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reviewed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reviewed_by", sa.Text(), nullable=True),
        sa.Column("review_reason", sa.Text(), nullable=True),
        sa.CheckConstraint("action IN ('hold', 'block')", name=op.f("ck_pricing_holds_action")),
        sa.CheckConstraint("(reviewed_at IS NULL) = (reviewed_by IS NULL)", name=op.f("ck_pricing_holds_review")),
        sa.ForeignKeyConstraint(["case_id"], ["pricing_cases.id"], name=op.f("fk_pricing_holds_case_id")),
        sa.PrimaryKeyConstraint("mall_id", "case_id", name=op.f("pk_pricing_holds")),
    )
    op.create_index(
        "ix_pricing_holds_active",
        "pricing_holds",
        ["mall_id", "listing_id"],
        unique=False,
        postgresql_where=sa.text("reviewed_at IS NULL AND ended_at IS NULL"),
    )
    op.create_table(
        "pricing_policies",
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("threshold_pct", sa.Numeric(precision=7, scale=2), nullable=False),
        sa.Column("gross_pct", sa.Numeric(precision=7, scale=2), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.CheckConstraint("action IN ('observe', 'hold', 'block')", name=op.f("ck_pricing_policies_action")),
        sa.CheckConstraint(
            "threshold_pct >= 0 AND gross_pct >= threshold_pct", name=op.f("ck_pricing_policies_limits")
        ),
        sa.ForeignKeyConstraint(["mall_id"], ["malls.id"], name=op.f("fk_pricing_policies_mall_id")),
        sa.PrimaryKeyConstraint("mall_id", name=op.f("pk_pricing_policies")),
    )


def downgrade() -> None:
    op.drop_table("pricing_policies")
    op.drop_index(
        "ix_pricing_holds_active",
        table_name="pricing_holds",
        postgresql_where=sa.text("reviewed_at IS NULL AND ended_at IS NULL"),
    )
    op.drop_table("pricing_holds")
    op.drop_index("ix_pricing_verdicts_product", table_name="pricing_verdicts")
    op.drop_index(
        "ix_pricing_verdicts_expiry", table_name="pricing_verdicts", postgresql_where=sa.text("verdict <> 'unknown'")
    )
    op.drop_table("pricing_verdicts")
    op.drop_table("pricing_streaks")
    op.drop_index("ix_pricing_references_product", table_name="pricing_references")
    op.drop_table("pricing_references")
    op.drop_index("ix_pricing_observations_listing", table_name="pricing_observations")
    op.drop_table("pricing_observations")
    op.drop_index("uq_pricing_cases_open", table_name="pricing_cases", postgresql_where=sa.text("status = 'open'"))
    op.drop_table("pricing_cases")
