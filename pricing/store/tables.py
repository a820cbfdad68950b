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
    CheckConstraint("price > 0", name="price"),
    CheckConstraint("(units IS NULL) = (unit IS NULL)", name="units"),
    UniqueConstraint("product_id", "digest"),
    Index("ix_pricing_references_product", "product_id", text("captured_at DESC")),
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
    CheckConstraint("verdict IN ('pass', 'breach', 'unknown')", name="verdict"),
    CheckConstraint("verdict = 'unknown' OR (reference_id IS NOT NULL AND captured_at IS NOT NULL)", name="evidence"),
    Index("ix_pricing_verdicts_product", "product_id"),
    Index("ix_pricing_verdicts_expiry", "captured_at", postgresql_where=text("verdict <> 'unknown'")),
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
    CheckConstraint("status IN ('open', 'closed')", name="status"),
    CheckConstraint("(status = 'closed') = (closed_at IS NOT NULL)", name="closed"),
    Index(
        "uq_pricing_cases_open",
        "listing_id",
        "threshold_pct",
        "gross_pct",
        unique=True,
        postgresql_where=text("status = 'open'"),
    ),
)

policies = Table(
    "pricing_policies",  # no row: observe, under the standing limits
    metadata,
    Column("mall_id", BigInteger, ForeignKey("malls.id"), primary_key=True),
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


def columns_of(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows turned into one array per column, as unnest takes them."""
    return [list(column) for column in zip(*rows, strict=True)]
