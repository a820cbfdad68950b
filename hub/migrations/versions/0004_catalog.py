"""Tables of catalog.

Reversible: the downgrade drops them. New tables only, so no lock that anybody waits for.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "catalog_changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("product_ids", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalog_changes")),
        sa.UniqueConstraint("seq", name=op.f("uq_catalog_changes_seq")),
    )
    op.create_index(
        "ix_catalog_changes_unsequenced",
        "catalog_changes",
        ["id"],
        unique=False,
        postgresql_where=sa.text("seq IS NULL"),
    )
    op.create_table(
        "catalog_feeds",
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), nullable=False),
        sa.Column("vendor_name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("live", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("promise_s", sa.Integer(), nullable=False),
        sa.Column("complete_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("connection_id", name=op.f("pk_catalog_feeds")),
    )
    op.create_table(
        "catalog_holds",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("listing_id", sa.BigInteger(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('held', 'accepted', 'consumed', 'released')", name=op.f("ck_catalog_holds_state")
        ),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_catalog_holds_quantity")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalog_holds")),
    )
    op.create_index(
        "ix_catalog_holds_open",
        "catalog_holds",
        ["listing_id", "location"],
        unique=False,
        postgresql_where=sa.text("state IN ('held', 'accepted')"),
    )
    op.create_table(
        "catalog_movements",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("listing_id", sa.BigInteger(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("on_hand_change", sa.Integer(), nullable=False),
        sa.Column("reserved_change", sa.Integer(), nullable=False),
        sa.Column("hold_id", sa.UUID(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalog_movements")),
    )
    op.create_table(
        "catalog_products",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("title_en", sa.Text(), nullable=True),
        sa.Column("brand", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("gtin", sa.Text(), nullable=True),
        sa.Column("brand_model", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("department", sa.Text(), nullable=True),
        sa.Column("image_url", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column(
            "attributes", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("popularity", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("price", sa.Numeric(precision=14, scale=4), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("listed", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("sellable", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("search", postgresql.TSVECTOR(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('goods', 'service', 'experience')", name=op.f("ck_catalog_products_kind")),
        sa.CheckConstraint("mode IN ('parcel', 'appointment', 'code')", name=op.f("ck_catalog_products_mode")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalog_products")),
        postgresql_with={"fillfactor": "90"},
    )
    op.create_index(
        "ix_catalog_products_category",
        "catalog_products",
        ["category", sa.literal_column("popularity DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "ix_catalog_products_popularity",
        "catalog_products",
        [sa.literal_column("popularity DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index("ix_catalog_products_price", "catalog_products", ["price", "id"], unique=False)
    op.create_index("ix_catalog_products_search", "catalog_products", ["search"], unique=False, postgresql_using="gin")
    op.create_index(
        "uq_catalog_products_brand_model",
        "catalog_products",
        ["brand_model"],
        unique=True,
        postgresql_where=sa.text("brand_model IS NOT NULL"),
    )
    op.create_index(
        "uq_catalog_products_gtin",
        "catalog_products",
        ["gtin"],
        unique=True,
        postgresql_where=sa.text("gtin IS NOT NULL"),
    )
    op.create_table(
        "catalog_run_pages",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("page_no", sa.Integer(), nullable=False),
        sa.Column("listing_ids", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("captured_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "page_no", name=op.f("pk_catalog_run_pages")),
    )
    op.create_table(
        "catalog_listings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("connection_id", sa.BigInteger(), nullable=False),
        sa.Column("vendor_sku", sa.Text(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("title_en", sa.Text(), nullable=True),
        sa.Column("brand", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("gtin", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("price", sa.Numeric(precision=14, scale=4), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("shipping", sa.Numeric(precision=14, scale=4), server_default=sa.text("0"), nullable=False),
        sa.Column("coupon", sa.Numeric(precision=14, scale=4), server_default=sa.text("0"), nullable=False),
        sa.Column("pack", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("department", sa.Text(), nullable=True),
        sa.Column("image_url", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column(
            "attributes", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["product_id"], ["catalog_products.id"], name=op.f("fk_catalog_listings_product_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalog_listings")),
        sa.UniqueConstraint("connection_id", "vendor_sku", name=op.f("uq_catalog_listings_connection_id_vendor_sku")),
    )
    op.create_index("ix_catalog_listings_product", "catalog_listings", ["product_id"], unique=False)
    op.create_table(
        "catalog_slots",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("listing_id", sa.BigInteger(), nullable=False),
        sa.Column("slot_ref", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("start_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("department", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["listing_id"], ["catalog_listings.id"], name=op.f("fk_catalog_slots_listing_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalog_slots")),
        sa.UniqueConstraint("listing_id", "slot_ref", name=op.f("uq_catalog_slots_listing_id_slot_ref")),
    )
    op.create_index("ix_catalog_slots_start", "catalog_slots", ["listing_id", "start_at"], unique=False)
    op.create_table(
        "catalog_stock",
        sa.Column("listing_id", sa.BigInteger(), nullable=False),
        sa.Column("location", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("on_hand", sa.Integer(), nullable=True),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("reserved", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("buffer", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("frozen", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("level IN ('in_stock', 'limited', 'out')", name=op.f("ck_catalog_stock_level")),
        sa.CheckConstraint("on_hand >= 0", name=op.f("ck_catalog_stock_on_hand")),
        sa.CheckConstraint("reserved >= 0", name=op.f("ck_catalog_stock_reserved")),
        sa.ForeignKeyConstraint(["listing_id"], ["catalog_listings.id"], name=op.f("fk_catalog_stock_listing_id")),
        sa.PrimaryKeyConstraint("listing_id", "location", name=op.f("pk_catalog_stock")),
        postgresql_with={"fillfactor": "80"},
    )
    op.execute("ALTER TABLE catalog_products ALTER COLUMN search SET STATISTICS 1000")


def downgrade() -> None:
    op.drop_table("catalog_stock")
    op.drop_index("ix_catalog_slots_start", table_name="catalog_slots")
    op.drop_table("catalog_slots")
    op.drop_index("ix_catalog_listings_product", table_name="catalog_listings")
    op.drop_table("catalog_listings")
    op.drop_table("catalog_run_pages")
    op.drop_index(
        "uq_catalog_products_gtin", table_name="catalog_products", postgresql_where=sa.text("gtin IS NOT NULL")
    )
    op.drop_index(
        "uq_catalog_products_brand_model",
        table_name="catalog_products",
        postgresql_where=sa.text("brand_model IS NOT NULL"),
    )
    op.drop_index("ix_catalog_products_search", table_name="catalog_products", postgresql_using="gin")
    op.drop_index("ix_catalog_products_price", table_name="catalog_products")
    op.drop_index("ix_catalog_products_popularity", table_name="catalog_products")
    op.drop_index("ix_catalog_products_category", table_name="catalog_products")
    op.drop_table("catalog_products")
    op.drop_table("catalog_movements")
    op.drop_index(
        "ix_catalog_holds_open", table_name="catalog_holds", postgresql_where=sa.text("state IN ('held', 'accepted')")
    )
    op.drop_table("catalog_holds")
    op.drop_table("catalog_feeds")
    op.drop_index(
        "ix_catalog_changes_unsequenced", table_name="catalog_changes", postgresql_where=sa.text("seq IS NULL")
    )
    op.drop_table("catalog_changes")
