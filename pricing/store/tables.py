"""Tables of pricing: references with their evidence, verdicts, observations, cases, policies and holds. References and
observations are append-only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
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
)  # fmt: skip
from sqlalchemy.dialects.postgresql import JSONB

from hub.kernel.db import metadata

references = Table(
    "pricing_references",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("product_id", BigInteger, nullable=False),
    Column("price", Numeric(14, 4), nullable=False),
    Column("shipping", Numeric(14, 4), nullable=False),
    Column("coupon", Numeric(14, 4), nullable=False),
    Column("currency", Text, nullable=False),
    Column("pack", Text),
    Column("units", Numeric),  # with `unit`: what the pack text says; NULL: observed of the product as such
    Column("unit", Text),
    Column("understood", Boolean, nullable=False),
    Column("comparable", Numeric),  # per unit, for people; verdicts compare the exact fractions
    Column("condition", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("captured_at", DateTime(timezone=True), nullable=False),
    Column("region", Text, nullable=False),
    Column("parser", Text, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("valid_from", DateTime(timezone=True)),  # a sale price counts from here
    Column("valid_to", DateTime(timezone=True)),  # ... to here, this instant excluded
    CheckConstraint("price > 0", name="price"),
    CheckConstraint("(units IS NULL) = (unit IS NULL)", name="units"),
    UniqueConstraint("product_id", "digest"),
    Index("ix_pricing_references_product", "product_id", text("captured_at DESC")),
    Index(
        "ix_pricing_references_windows",
        "product_id",
        postgresql_where=text("valid_from IS NOT NULL OR valid_to IS NOT NULL"),
    ),
)

rates = Table(
    "pricing_rates",  # what one unit of a currency is in CNY, day by day
    metadata,
    Column("currency", Text, primary_key=True),
    Column("day", Date, primary_key=True),  # in Shanghai, where the rates are fixed
    Column("rate", Numeric(18, 8), nullable=False),
    Column("source", Text, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("recorded_by", Text, nullable=False),
    CheckConstraint("rate > 0", name="rate"),
    CheckConstraint("currency <> 'CNY'", name="currency"),
)

rechecks = Table(
    "pricing_rechecks",  # the queue of re-checks of everything, with the place each has come to
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("after_listing", BigInteger, nullable=False, server_default=text("0")),
    Column("seen", BigInteger, nullable=False, server_default=text("0")),
    Column("moved", BigInteger, nullable=False, server_default=text("0")),
    Column("done_at", DateTime(timezone=True)),
    Index("ix_pricing_rechecks_open", "id", postgresql_where=text("done_at IS NULL")),
)

verdicts = Table(
    "pricing_verdicts",  # no row: unknown
    metadata,
    Column("listing_id", BigInteger, primary_key=True),
    Column("product_id", BigInteger, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("ours", Numeric),
    Column("reference", Numeric),
    Column("gap", Numeric),
    Column("reference_id", BigInteger),
    Column("captured_at", DateTime(timezone=True)),  # of the reference: it goes stale from here
    Column("at", DateTime(timezone=True), nullable=False),
    Column("price", Numeric(14, 4), nullable=False),  # the offer as it was judged, so that it can be judged again
    Column("currency", Text, nullable=False),
    Column("shipping", Numeric(14, 4), nullable=False),
    Column("coupon", Numeric(14, 4), nullable=False),
    Column("pack", Text),
    Column("units", Numeric),
    Column("unit", Text),
    Column("observed_ours", Numeric),  # the last observation: what makes the next one a new one
    Column("observed_reference_id", BigInteger),
    Column("observed_at", DateTime(timezone=True)),
    Column("understood", Boolean),  # whether the pack text was; NULL: written before this was kept
    Column("category", Text),
    Column("valid_from", DateTime(timezone=True)),  # of our price, where the vendor says from when to when it holds
    Column("valid_to", DateTime(timezone=True)),
    Column("valid_until", DateTime(timezone=True)),  # the last instant at which this verdict need not be made again
    CheckConstraint("verdict IN ('pass', 'breach', 'unknown')", name="verdict"),
    CheckConstraint("verdict = 'unknown' OR (reference_id IS NOT NULL AND captured_at IS NOT NULL)", name="evidence"),
    Index("ix_pricing_verdicts_product", "product_id"),
    Index("ix_pricing_verdicts_due", "valid_until", postgresql_where=text("valid_until IS NOT NULL")),
    Index(
        "ix_pricing_verdicts_undated",
        "listing_id",
        postgresql_where=text("valid_until IS NULL AND verdict <> 'unknown'"),
    ),
)

observations = Table(
    "pricing_observations",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("listing_id", BigInteger, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("verdict", Text, nullable=False),
    Column("ours", Numeric, nullable=False),
    Column("reference", Numeric, nullable=False),
    Column("gap", Numeric, nullable=False),
    Column("reference_id", BigInteger, nullable=False),
    Index("ix_pricing_observations_listing", "listing_id", "at"),
)

streaks = Table(
    "pricing_streaks",  # consecutive observations on one side of a threshold
    metadata,
    Column("listing_id", BigInteger, primary_key=True),
    Column("threshold_pct", Numeric(7, 2), primary_key=True),
    Column("beyond", Boolean, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("count", Integer, nullable=False),
)

cases = Table(
    "pricing_cases",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("listing_id", BigInteger, nullable=False),
    Column("product_id", BigInteger, nullable=False),
    Column("threshold_pct", Numeric(7, 2), nullable=False),
    Column("gross_pct", Numeric(7, 2), nullable=False),
    Column("status", Text, nullable=False, server_default=text("'open'")),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("closed_at", DateTime(timezone=True)),
    Column("evidence", JSONB, nullable=False),
    Column("log", JSONB, nullable=False, server_default=text("'[]'")),
    Column("category", Text),  # of the listing, when the case opened
    Column("stage", Text, nullable=False, server_default=text("'found'")),  # how far the talk with the vendor is
    Column("waived_until", DateTime(timezone=True)),
    Column("version", Integer, nullable=False, server_default=text("1")),  # grows with everything written to it
    CheckConstraint("status IN ('open', 'waived', 'closed')", name="status"),
    CheckConstraint("stage IN ('found', 'told', 'offered')", name="stage"),
    CheckConstraint("(status = 'closed') = (closed_at IS NOT NULL)", name="closed"),
    CheckConstraint("(status = 'waived') = (waived_until IS NOT NULL)", name="waived"),
    Index(
        "uq_pricing_cases_live",
        "listing_id",
        "threshold_pct",
        "gross_pct",
        unique=True,
        postgresql_where=text("status <> 'closed'"),
    ),
    Index("ix_pricing_cases_waived", "waived_until", postgresql_where=text("status = 'waived'")),
)

snapshots = Table(
    "pricing_snapshots",  # what was known when something was decided about a case; append-only
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("case_id", BigInteger, ForeignKey("pricing_cases.id"), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("what", Text, nullable=False),
    Column("content", Text, nullable=False),  # JSON, byte for byte as it was hashed
    Column("sha256", Text, nullable=False),
    Index("ix_pricing_snapshots_case", "case_id", "id"),
)

policies = Table(
    "pricing_policies",  # no row: observe, under the standing limits
    metadata,
    Column("mall_id", BigInteger, ForeignKey("malls.id"), primary_key=True),
    Column("category", Text, primary_key=True, server_default=text("''")),  # '': whatever no category's policy covers
    Column("action", Text, nullable=False),
    Column("threshold_pct", Numeric(7, 2), nullable=False),
    Column("gross_pct", Numeric(7, 2), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("updated_by", Text, nullable=False),
    CheckConstraint("action IN ('observe', 'hold', 'block')", name="action"),
    CheckConstraint("threshold_pct >= 0 AND gross_pct >= threshold_pct", name="limits"),
)

holds = Table(
    "pricing_holds",  # a mall's own choice not to buy a listing, under its named policy
    metadata,
    Column("mall_id", BigInteger, primary_key=True),
    Column("case_id", BigInteger, ForeignKey("pricing_cases.id"), primary_key=True),
    Column("listing_id", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),  # a block ends with its case, any hold with its policy
    Column("reviewed_at", DateTime(timezone=True)),
    Column("reviewed_by", Text),
    Column("review_reason", Text),
    CheckConstraint("action IN ('hold', 'block')", name="action"),
    CheckConstraint("(reviewed_at IS NULL) = (reviewed_by IS NULL)", name="review"),
    Index(
        "ix_pricing_holds_active",
        "mall_id",
        "listing_id",
        postgresql_where=text("reviewed_at IS NULL AND ended_at IS NULL"),
    ),
)

moves = Table(
    "pricing_moves",  # prices that moved so far at once that somebody must look first
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("listing_id", BigInteger, nullable=False),
    Column("vendor_sku", Text, nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("price_before", Numeric(14, 4), nullable=False),
    Column("price_after", Numeric(14, 4), nullable=False),
    Column("currency", Text, nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    Column("decided_at", DateTime(timezone=True)),
    Column("decided_by", Text),
    Column("reason", Text),
    CheckConstraint("status IN ('pending', 'confirmed', 'refused', 'withdrawn')", name="status"),
    CheckConstraint("(status = 'pending') = (decided_at IS NULL)", name="decided"),
    Index("uq_pricing_moves_pending", "listing_id", unique=True, postgresql_where=text("status = 'pending'")),
    Index("ix_pricing_moves_listing", "listing_id", "id"),
)

unmatched = Table(
    "pricing_unmatched",  # what reference sources price and we do not know as a product of ours
    metadata,
    Column("connection_id", BigInteger, primary_key=True),
    Column("vendor_sku", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("brand", Text),
    Column("model", Text),
    Column("gtin", Text),
    Column("price", Numeric(14, 4), nullable=False),
    Column("currency", Text, nullable=False),
    Column("url", Text),
    Column("seen_at", DateTime(timezone=True), nullable=False),
)

pack_findings = Table(
    "pricing_pack_findings",  # multi-packs dearer per unit than a smaller pack of the same thing
    metadata,
    Column("listing_id", BigInteger, primary_key=True),
    Column("smaller_listing_id", BigInteger, nullable=False),
    Column("unit", Text, nullable=False),
    Column("units", Numeric, nullable=False),
    Column("smaller_units", Numeric, nullable=False),
    Column("per_unit", Numeric, nullable=False),
    Column("smaller_per_unit", Numeric, nullable=False),
    Column("currency", Text, nullable=False),
    Column("found_at", DateTime(timezone=True), nullable=False),
    Column("told_at", DateTime(timezone=True), nullable=False),
)


def columns_of(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows turned into one array per column, as unnest takes them."""
    return [list(column) for column in zip(*rows, strict=True)]
