"""Matching after ingest: the queue of listings to look at, pairs and what was decided about them, the history of
products put together and taken apart, and where old ids lead.

Reversible: the downgrade drops them, and with them decisions and history; listings stay on the products they are on. It
locks catalog_listings for an instant: the new column has a constant default, so no row is rewritten.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_IDS = postgresql.ARRAY(sa.BigInteger())


def upgrade() -> None:
    op.add_column(
        "catalog_listings", sa.Column("by_hand", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.create_table(
        "catalog_matching",
        sa.Column("listing_id", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("words", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("listing_id", name=op.f("pk_catalog_matching")),
    )
    op.create_index(
        "ix_catalog_matching_due",
        "catalog_matching",
        ["due_at", "listing_id"],
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "catalog_matches",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("left_id", sa.BigInteger(), nullable=False),
        sa.Column("right_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("score", sa.Numeric(precision=5, scale=4), nullable=False),
        sa.Column("reasons", postgresql.JSONB(), nullable=False),
        sa.Column("left_words", sa.LargeBinary(), nullable=False),
        sa.Column("right_words", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("by_hand", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("regrouping_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.CheckConstraint("left_id < right_id", name=op.f("ck_catalog_matches_sides")),
        sa.CheckConstraint(
            "status IN ('open', 'same', 'different', 'matched', 'refused')", name=op.f("ck_catalog_matches_status")
        ),
        sa.ForeignKeyConstraint(["left_id"], ["catalog_listings.id"], name=op.f("fk_catalog_matches_left_id")),
        sa.ForeignKeyConstraint(["right_id"], ["catalog_listings.id"], name=op.f("fk_catalog_matches_right_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalog_matches")),
        sa.UniqueConstraint("left_id", "right_id", name=op.f("uq_catalog_matches_left_id_right_id")),
    )
    op.create_index("ix_catalog_matches_right", "catalog_matches", ["right_id"])
    op.create_index("ix_catalog_matches_status", "catalog_matches", ["status", "id"])
    op.create_table(
        "catalog_regroupings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("from_id", sa.BigInteger(), nullable=False),
        sa.Column("into_id", sa.BigInteger(), nullable=False),
        sa.Column("listing_ids", _IDS, nullable=False),
        sa.Column("pinned_ids", _IDS, nullable=False),
        sa.Column("redirected", _IDS, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undone_by", sa.Text(), nullable=True),
        sa.Column("undone_why", sa.Text(), nullable=True),
        sa.CheckConstraint("from_id <> into_id", name=op.f("ck_catalog_regroupings_sides")),
        sa.CheckConstraint("kind IN ('match', 'merge', 'split')", name=op.f("ck_catalog_regroupings_kind")),
        sa.ForeignKeyConstraint(["from_id"], ["catalog_products.id"], name=op.f("fk_catalog_regroupings_from_id")),
        sa.ForeignKeyConstraint(["into_id"], ["catalog_products.id"], name=op.f("fk_catalog_regroupings_into_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalog_regroupings")),
    )
    op.create_index("ix_catalog_regroupings_from", "catalog_regroupings", ["from_id"])
    op.create_index("ix_catalog_regroupings_into", "catalog_regroupings", ["into_id"])
    op.create_table(
        "catalog_redirects",
        sa.Column("old_id", sa.BigInteger(), nullable=False),
        sa.Column("new_id", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("old_id <> new_id", name=op.f("ck_catalog_redirects_ids")),
        sa.ForeignKeyConstraint(["new_id"], ["catalog_products.id"], name=op.f("fk_catalog_redirects_new_id")),
        sa.ForeignKeyConstraint(["old_id"], ["catalog_products.id"], name=op.f("fk_catalog_redirects_old_id")),
        sa.PrimaryKeyConstraint("old_id", name=op.f("pk_catalog_redirects")),
    )
    op.create_index("ix_catalog_redirects_new", "catalog_redirects", ["new_id"])


def downgrade() -> None:
    for table in ("catalog_redirects", "catalog_regroupings", "catalog_matches", "catalog_matching"):
        op.drop_table(table)
    op.drop_column("catalog_listings", "by_hand")
