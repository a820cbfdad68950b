"""Search: who sells a product, kept beside it; the words that queries are completed and corrected to; how far long work
over the catalogue has come. Words of titles are cut anew by `supplyhub reindex`, which an empty catalogue does not need.

Reversible: the downgrade drops what can be counted again. The new column has no default, so no row is rewritten and the
lock is a moment long.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("catalog_products", sa.Column("vendor_ids", postgresql.ARRAY(sa.BigInteger()), nullable=True))
    op.execute("ALTER TABLE catalog_products ALTER COLUMN search SET STATISTICS -1")
    op.create_table(
        "catalog_words",
        sa.Column("word", sa.Text(), nullable=False),
        sa.Column("products", sa.Integer(), nullable=False),
        sa.Column("pinyin", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("word", name=op.f("pk_catalog_words")),
    )
    op.create_table(
        "catalog_upkeep",
        sa.Column("work", sa.Text(), nullable=False),
        sa.Column("rules", sa.Integer(), nullable=False),
        sa.Column("next_id", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("work", name=op.f("pk_catalog_upkeep")),
    )
    op.execute(
        "INSERT INTO catalog_upkeep (work, rules, began_at, done_at) SELECT 'reindex', 2, now(), now() "
        "WHERE NOT EXISTS (SELECT 1 FROM catalog_products)"
    )


def downgrade() -> None:
    op.drop_table("catalog_upkeep")
    op.drop_table("catalog_words")
    op.execute("ALTER TABLE catalog_products ALTER COLUMN search SET STATISTICS 1000")
    op.drop_column("catalog_products", "vendor_ids")
