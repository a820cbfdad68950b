"""Tables of the catalogue. SQL over them lives in this folder, in stock.py (the shelf) and in search.py (reading).

Two rules keep it fast: rows that change often (stock) are narrow and apart from rows that are searched
(products); and `sellable` and `available` are never indexed, so that flipping them stays a HOT update."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR, UUID

from hub.kernel.db import metadata

feeds = Table(
    "catalog_feeds",  # what the catalogue must know of a connection to show and judge its listings
    metadata,
    Column("connection_id", BigInteger, primary_key=True),
    Column("vendor_id", BigInteger, nullable=False),
    Column("vendor_name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("live", Boolean, nullable=False, server_default=text("true")),
    Column("promise_s", Integer, nullable=False),  # freshness promise of its stock, seconds
    Column("complete_at", DateTime(timezone=True)),  # capture time of the last complete sweep: confirms all rows
)

products = Table(
    "catalog_products",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("title_en", Text),
    Column("brand", Text),
    Column("model", Text),
    Column("gtin", Text),
    Column("brand_model", Text),  # normalised "brand\x1fmodel" key, None when either is missing
    Column("category", Text),
    Column("city", Text),
    Column("department", Text),
    Column("image_url", Text),
    Column("description", Text),
    Column("attributes", JSONB, nullable=False, server_default=text("'{}'")),
    Column("popularity", Integer, nullable=False, server_default=text("0")),
    Column("price", Numeric(14, 4)),  # lowest price among active offers
    Column("currency", Text),
    Column("listed", Boolean, nullable=False, server_default=text("true")),  # has an active offer
    Column("sellable", Boolean, nullable=False, server_default=text("false")),  # has an offer with stock
    Column("search", TSVECTOR, nullable=False),
    Column("vendor_ids", ARRAY(BigInteger)),  # who sells it now; NULL: not noted yet, look at the listings
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("kind IN ('goods', 'service', 'experience')", name="kind"),
    CheckConstraint("mode IN ('parcel', 'appointment', 'code')", name="mode"),
    Index("uq_catalog_products_gtin", "gtin", unique=True, postgresql_where=text("gtin IS NOT NULL")),
    Index(
        "uq_catalog_products_brand_model",
        "brand_model",
        unique=True,
        postgresql_where=text("brand_model IS NOT NULL"),
    ),
    Index("ix_catalog_products_search", "search", postgresql_using="gin"),
    Index("ix_catalog_products_popularity", text("popularity DESC"), text("id DESC")),
    Index("ix_catalog_products_price", "price", "id"),
    Index("ix_catalog_products_category", "category", text("popularity DESC"), text("id DESC")),
    postgresql_with={"fillfactor": "90"},  # room on the page, so that flipping `sellable` stays HOT
)

listings = Table(
    "catalog_listings",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("connection_id", BigInteger, nullable=False),
    Column("vendor_sku", Text, nullable=False),
    Column("product_id", BigInteger, ForeignKey("catalog_products.id"), nullable=False),
    Column("title", Text, nullable=False),
    Column("title_en", Text),
    Column("brand", Text),
    Column("model", Text),
    Column("gtin", Text),
    Column("kind", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("category", Text),
    Column("price", Numeric(14, 4), nullable=False),
    Column("currency", Text, nullable=False),
    Column("shipping", Numeric(14, 4), nullable=False, server_default=text("0")),
    Column("coupon", Numeric(14, 4), nullable=False, server_default=text("0")),
    Column("pack", Text),
    Column("city", Text),
    Column("department", Text),
    Column("image_url", Text),
    Column("url", Text),
    Column("description", Text),
    Column("attributes", JSONB, nullable=False, server_default=text("'{}'")),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    Column("digest", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("external_id", Text),  # the vendor's own lasting id, where it has one
    Column("family_id", Text),  # of the article that it is a variant of
    Column("by_hand", Boolean, nullable=False, server_default=text("false")),  # a person chose its product: keys do not
    UniqueConstraint("connection_id", "vendor_sku"),
    Index("ix_catalog_listings_product", "product_id"),
    Index("ix_catalog_listings_family", "connection_id", "family_id", postgresql_where=text("family_id IS NOT NULL")),
    Index(
        "uq_catalog_listings_external_id",
        "connection_id",
        "external_id",
        unique=True,
        postgresql_where=text("external_id IS NOT NULL"),
    ),
)

identities = Table(
    "catalog_identities",  # what vendors did to their own names of things, as far as it was noticed
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("connection_id", BigInteger, nullable=False),
    Column("listing_id", BigInteger, ForeignKey("catalog_listings.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("external_id", Text),
    Column("sku_before", Text, nullable=False),
    Column("sku_after", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    CheckConstraint("kind IN ('renamed', 'reused', 'recreated', 'split')", name="kind"),
    Index("ix_catalog_identities_connection", "connection_id", text("id DESC")),
)

stock = Table(
    "catalog_stock",
    metadata,
    Column("listing_id", BigInteger, ForeignKey("catalog_listings.id"), primary_key=True),
    Column("location", Text, primary_key=True, server_default=text("''")),
    Column("on_hand", Integer),  # NULL: the vendor gives only a level
    Column("level", Text, nullable=False),
    Column("reserved", Integer, nullable=False, server_default=text("0")),
    Column("buffer", Integer, nullable=False, server_default=text("0")),
    Column("version", BigInteger),
    Column("reported_at", DateTime(timezone=True), nullable=False),
    Column("frozen", Boolean, nullable=False, server_default=text("false")),  # refused for stock: until next report
    CheckConstraint("reserved >= 0", name="reserved"),
    CheckConstraint("on_hand >= 0", name="on_hand"),
    CheckConstraint("level IN ('in_stock', 'limited', 'out')", name="level"),
    postgresql_with={"fillfactor": "80"},
)

buffers = Table(
    "catalog_buffers",  # units of a listing that staff keep from sale, at each of its locations
    metadata,
    Column("listing_id", BigInteger, ForeignKey("catalog_listings.id"), primary_key=True),
    Column("units", Integer, nullable=False),
    CheckConstraint("units > 0", name="units"),
)

movements = Table(
    "catalog_movements",  # append-only: the counters of catalog_stock are its sums
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("listing_id", BigInteger, nullable=False),
    Column("location", Text, nullable=False),
    Column("cause", Text, nullable=False),  # report, reserve, release, consume, refusal
    Column("on_hand_change", Integer, nullable=False),
    Column("reserved_change", Integer, nullable=False),
    Column("hold_id", UUID(as_uuid=True)),
    Column("at", DateTime(timezone=True), nullable=False),
)

holds = Table(
    "catalog_holds",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("listing_id", BigInteger, nullable=False),
    Column("location", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("state", Text, nullable=False),  # held, accepted, consumed, released
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("accepted_at", DateTime(timezone=True)),
    Column("closed_at", DateTime(timezone=True)),
    CheckConstraint("quantity > 0", name="quantity"),
    CheckConstraint("state IN ('held', 'accepted', 'consumed', 'released')", name="state"),
    Index(
        "ix_catalog_holds_open",
        "listing_id",
        "location",
        postgresql_where=text("state IN ('held', 'accepted')"),
    ),
)

slots = Table(
    "catalog_slots",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("listing_id", BigInteger, ForeignKey("catalog_listings.id"), nullable=False),
    Column("slot_ref", Text, nullable=False),  # also the shelf location that holds its one unit
    Column("version", Text),
    Column("start_at", DateTime(timezone=True), nullable=False),
    Column("end_at", DateTime(timezone=True), nullable=False),
    Column("city", Text),
    Column("department", Text),
    UniqueConstraint("listing_id", "slot_ref"),
    Index("ix_catalog_slots_start", "listing_id", "start_at"),
)

zones = Table(
    "catalog_zones",  # products that are shown as an emergency's own, to those who may ask in it
    metadata,
    Column("zone_id", BigInteger, primary_key=True),
    Column("product_id", BigInteger, primary_key=True),
    Column("reader_ids", ARRAY(BigInteger)),  # malls; NULL: every mall
)

change_log = Table(
    "catalog_changes",  # one row per transaction and chunk; seq is given after the commit, in order of visibility
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("seq", BigInteger, unique=True),
    Column("product_ids", ARRAY(BigInteger), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("mall_id", BigInteger),  # NULL: of interest to everybody; else this mall's assortment changed
    Index("ix_catalog_changes_unsequenced", "id", postgresql_where=text("seq IS NULL")),
)

assortments = Table(
    "catalog_assortments",  # malls that do not sell everything
    metadata,
    Column("mall_id", BigInteger, primary_key=True),
    Column("rules", JSONB, nullable=False),  # list of catalog.assortments.Rule
    Column("version", BigInteger, nullable=False),  # counts its changes
    Column("changed_from", BigInteger),  # changes numbered from here on are still to be shown to this mall again
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("updated_by", Text, nullable=False),
)

assortment_watch = Table(
    "catalog_assortment_watch",  # the last count of what can be ordered, and since when it is too little
    metadata,
    Column("kind", Text, primary_key=True),
    Column("orderable", Integer, nullable=False),
    Column("listed", Integer, nullable=False),
    Column("below_since", DateTime(timezone=True)),
    Column("counted_at", DateTime(timezone=True), nullable=False),
)

run_pages = Table(
    "catalog_run_pages",  # which listings a run has seen, one row a page: the proof behind unlisting
    metadata,
    Column("run_id", BigInteger, primary_key=True),
    Column("page_no", Integer, primary_key=True),
    Column("listing_ids", ARRAY(BigInteger), nullable=False),
    Column("captured_at", DateTime(timezone=True), nullable=False),  # of its first page: a resumed run keeps it
    Column("shelf_ids", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),  # listings it told stock of
    Column("shelf_locations", ARRAY(Text), nullable=False, server_default=text("'{}'")),  # where; once when all agree
)

words = Table(
    "catalog_words",  # what a query may be completed or corrected to
    metadata,
    Column("word", Text, primary_key=True),
    Column("products", Integer, nullable=False),
    Column("pinyin", Text),  # of Chinese words, syllables without tones and with spaces between them
)

upkeep = Table(
    "catalog_upkeep",  # how far long work over the whole catalogue has come
    metadata,
    Column("work", Text, primary_key=True),  # reindex, words
    Column("rules", Integer, nullable=False),  # of which cutting of words
    Column("next_id", BigInteger, nullable=False, server_default=text("0")),  # products below it are done
    Column("began_at", DateTime(timezone=True), nullable=False),
    Column("done_at", DateTime(timezone=True)),
)
