"""Reviews of abnormal orders, and settlement: vendors' lists, reconciliation, terms and statements.

Reversible: the downgrade drops the new tables and columns, and with them the decisions and statements they hold. New
tables; and two columns without a default on `orders`, which take its lock for an instant and rewrite nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0009"
branch_labels = None
depends_on = None

_TENANT = "(SELECT current_setting('supplyhub.tenant', true))"
_HUB_OR_MALL = f"{_TENANT} IN ('*', 'mall:' || mall_id)"
_WALLS = (
    ("order_marks", _HUB_OR_MALL),
    ("order_review_rules", _HUB_OR_MALL),
    ("order_reviews", _HUB_OR_MALL),
)


def upgrade() -> None:
    op.create_table(
        "order_marks",
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("employee", sa.LargeBinary(), nullable=True),
        sa.Column("address", sa.LargeBinary(), nullable=True),
        sa.Column("amount", sa.Numeric(precision=16, scale=4), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_order_marks")),
    )
    op.create_index(
        "ix_order_marks_address",
        "order_marks",
        ["address", "at"],
        unique=False,
        postgresql_where=sa.text("address IS NOT NULL"),
    )
    op.create_index("ix_order_marks_at", "order_marks", ["at"], unique=False, postgresql_using="brin")
    op.create_index(
        "ix_order_marks_employee",
        "order_marks",
        ["employee", "at"],
        unique=False,
        postgresql_where=sa.text("employee IS NOT NULL"),
    )
    op.create_index("ix_order_marks_mall", "order_marks", ["mall_id", "at"], unique=False)
    op.create_table(
        "order_review_rules",
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("rules", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("mall_id", "version", name=op.f("pk_order_review_rules")),
    )
    op.create_table(
        "order_reviews",
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("mall_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("findings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("rules_version", sa.Integer(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("at_deadline", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'held') <= (held_until IS NOT NULL)", name=op.f("ck_order_reviews_held_until")),
        sa.CheckConstraint("at_deadline IN ('refuse', 'release')", name=op.f("ck_order_reviews_at_deadline")),
        sa.CheckConstraint(
            "state IN ('flagged', 'held', 'released', 'refused', 'overtaken')", name=op.f("ck_order_reviews_state")
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_reviews_order_id")),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_order_reviews")),
    )
    op.create_index(
        "ix_order_reviews_deadline",
        "order_reviews",
        ["held_until"],
        unique=False,
        postgresql_where=sa.text("state = 'held'"),
    )
    op.create_index(
        "ix_order_reviews_open",
        "order_reviews",
        ["order_id"],
        unique=False,
        postgresql_where=sa.text("state IN ('flagged', 'held')"),
    )
    op.add_column("orders", sa.Column("held_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("orders", sa.Column("reason", sa.Text(), nullable=True))
    for table, rule in _WALLS:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY {table}_tenant ON {table} USING ({rule}) WITH CHECK ({rule})")


def downgrade() -> None:
    op.drop_column("orders", "reason")
    op.drop_column("orders", "held_until")
    op.drop_table("order_reviews")
    op.drop_table("order_review_rules")
    op.drop_table("order_marks")
