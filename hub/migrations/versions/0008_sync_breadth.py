"""Stock pulled by itself, drift of full sweeps, connections in draft, outcomes of the quarantine, and the vendors' own
lasting ids.

Reversible: the downgrade drops the columns and the log of identities, and with them what they say; runs of stock alone
and connections in draft must be gone first. It locks each table for an instant (new columns are empty, checks are added
without looking at old rows), and writes to catalog_listings for one pass over it while the index of external ids, empty
at first, is built (about 0.3 s a million rows).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def _check(table: str, name: str, rule: str) -> None:
    """Replace a check without holding the table while old rows are looked at."""
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({rule}) NOT VALID")
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def upgrade() -> None:
    op.add_column("sync_runs", sa.Column("stock_seen", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("sync_runs", sa.Column("stock_changed", sa.Integer(), server_default=sa.text("0"), nullable=False))
    _check("sync_runs", "ck_sync_runs_kind", "kind IN ('full', 'incremental', 'stock')")
    _check("connections", "ck_connections_status", "status IN ('draft', 'live', 'paused')")
    op.add_column("connections", sa.Column("polled_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("catalog_listings", sa.Column("external_id", sa.Text(), nullable=True))
    op.add_column("catalog_listings", sa.Column("family_id", sa.Text(), nullable=True))
    op.create_index(
        "uq_catalog_listings_external_id",
        "catalog_listings",
        ["connection_id", "external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    for name, kind in (("shelf_ids", sa.BigInteger()), ("shelf_locations", sa.Text())):
        empty = sa.text("'{}'")
        op.add_column("catalog_run_pages", sa.Column(name, sa.ARRAY(kind), server_default=empty, nullable=False))
    op.add_column("quarantine", sa.Column("outcome", sa.Text(), nullable=True))
    op.add_column("quarantine", sa.Column("note", sa.Text(), nullable=True))
    op.create_table(
        "catalog_identities",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("listing_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("sku_before", sa.Text(), nullable=False),
        sa.Column("sku_after", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('renamed', 'reused', 'recreated', 'split')", name=op.f("ck_catalog_identities_kind")
        ),
        sa.ForeignKeyConstraint(["listing_id"], ["catalog_listings.id"], name=op.f("fk_catalog_identities_listing_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalog_identities")),
    )
    op.create_index(
        "ix_catalog_identities_connection", "catalog_identities", ["connection_id", sa.literal_column("id DESC")]
    )


def downgrade() -> None:
    op.drop_table("catalog_identities")
    op.drop_index("uq_catalog_listings_external_id", table_name="catalog_listings")
    op.drop_column("catalog_listings", "family_id")
    op.drop_column("catalog_listings", "external_id")
    op.drop_column("connections", "polled_at")
    _check("connections", "ck_connections_status", "status IN ('live', 'paused')")
    _check("sync_runs", "ck_sync_runs_kind", "kind IN ('full', 'incremental')")
    op.drop_column("quarantine", "note")
    op.drop_column("quarantine", "outcome")
    op.drop_column("catalog_run_pages", "shelf_locations")
    op.drop_column("catalog_run_pages", "shelf_ids")
    op.drop_column("sync_runs", "stock_changed")
    op.drop_column("sync_runs", "stock_seen")
