"""Assortments of single malls, the watch over how much can be ordered, and quotas of single keys.

Reversible: the downgrade drops both tables and the columns; every mall then sells everything again, and changes that
were told to one mall alone are forgotten. New columns are empty and the check is added without looking at old rows, so
each table is locked for an instant only.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "catalog_assortments",
        sa.Column("mall_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("rules", postgresql.JSONB(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("changed_from", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("mall_id", name=op.f("pk_catalog_assortments")),
    )
    op.create_table(
        "catalog_assortment_watch",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("orderable", sa.Integer(), nullable=False),
        sa.Column("listed", sa.Integer(), nullable=False),
        sa.Column("below_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_catalog_assortment_watch")),
    )
    op.add_column("catalog_changes", sa.Column("mall_id", sa.BigInteger(), nullable=True))
    op.add_column("api_keys", sa.Column("per_minute", sa.Integer(), nullable=True))
    op.execute("ALTER TABLE api_keys ADD CONSTRAINT ck_api_keys_per_minute CHECK (per_minute >= 0) NOT VALID")
    op.execute("ALTER TABLE api_keys VALIDATE CONSTRAINT ck_api_keys_per_minute")


def downgrade() -> None:
    op.execute("ALTER TABLE api_keys DROP CONSTRAINT ck_api_keys_per_minute")
    op.drop_column("api_keys", "per_minute")
    op.execute("DELETE FROM catalog_changes WHERE mall_id IS NOT NULL AND seq IS NULL")
    op.execute("UPDATE catalog_changes SET product_ids = '{}' WHERE mall_id IS NOT NULL")
    op.drop_column("catalog_changes", "mall_id")
    op.drop_table("catalog_assortment_watch")
    op.drop_table("catalog_assortments")
