"""Tables of matching: which listings are to be looked at, pairs with what was decided about them, and how products were
put together and taken apart."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from hub.kernel.db import metadata

match_queue = Table(
    "catalog_matching",  # the queue of record of the step after ingest: `due_at` NULL: nothing to do
    metadata,
    Column("listing_id", BigInteger, primary_key=True),
    Column("due_at", DateTime(timezone=True)),
    Column("tries", SmallInteger, nullable=False, server_default=text("0")),
    Column("words", LargeBinary),  # fingerprint of what the listing said when it was last looked at
    Index("ix_catalog_matching_due", "due_at", "listing_id", postgresql_where=text("due_at IS NOT NULL")),
)

matches = Table(
    "catalog_matches",  # two listings that are, may be, or are not one product; remembered for good
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("left_id", BigInteger, ForeignKey("catalog_listings.id"), nullable=False),
    Column("right_id", BigInteger, ForeignKey("catalog_listings.id"), nullable=False),
    Column("status", Text, nullable=False),
    Column("score", Numeric(5, 4), nullable=False),
    Column("reasons", JSONB, nullable=False),  # agreeing, conflicts: [field, left, right]; doubts
    Column("left_words", LargeBinary, nullable=False),  # fingerprints of what was judged
    Column("right_words", LargeBinary, nullable=False),
    Column("version", BigInteger, nullable=False, server_default=text("1")),
    Column("by_hand", SmallInteger, nullable=False, server_default=text("0")),  # decisions by people, undone ones too
    Column("regrouping_id", BigInteger),  # what put the two together, while they are
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    Column("decided_by", Text),
    Column("why", Text),
    CheckConstraint("left_id < right_id", name="sides"),
    CheckConstraint("status IN ('open', 'same', 'different', 'matched', 'refused')", name="status"),
    UniqueConstraint("left_id", "right_id"),
    Index("ix_catalog_matches_right", "right_id"),
    Index("ix_catalog_matches_status", "status", "id"),
)

regroupings = Table(
    "catalog_regroupings",  # the history of products: what moved where, by whom, why
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("from_id", BigInteger, ForeignKey("catalog_products.id"), nullable=False),
    Column("into_id", BigInteger, ForeignKey("catalog_products.id"), nullable=False),
    Column("listing_ids", ARRAY(BigInteger), nullable=False),  # that moved
    Column("pinned_ids", ARRAY(BigInteger), nullable=False),  # of them: those that it set by hand
    Column("redirected", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),  # older ids led on
    Column("actor", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("undone_at", DateTime(timezone=True)),
    Column("undone_by", Text),
    Column("undone_why", Text),
    CheckConstraint("kind IN ('match', 'merge', 'split')", name="kind"),
    CheckConstraint("from_id <> into_id", name="sides"),
    Index("ix_catalog_regroupings_from", "from_id"),
    Index("ix_catalog_regroupings_into", "into_id"),
)

redirects = Table(
    "catalog_redirects",  # ids of products that went into another: always to the one that is there now
    metadata,
    Column("old_id", BigInteger, ForeignKey("catalog_products.id"), primary_key=True),
    Column("new_id", BigInteger, ForeignKey("catalog_products.id"), nullable=False),
    CheckConstraint("old_id <> new_id", name="ids"),
    Index("ix_catalog_redirects_new", "new_id"),
)
