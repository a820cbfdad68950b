"""Tables and SQL of pricing: references with their evidence, verdicts, observations, cases, policies and holds.

References and observations are append-only. Every statement is set-based: one round trip for a batch of listings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg
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

from hub.kernel.db import Tx, metadata

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

ACTIVE_HOLDS = (
    "SELECT DISTINCT listing_id FROM pricing_holds WHERE mall_id = $1 AND reviewed_at IS NULL AND ended_at IS NULL"
)


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


async def add_references(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> list[int]:
    """Insert what is new; returns the product ids that gained a reference. Columns as in the statement."""
    added = await tx.fetch(
        "INSERT INTO pricing_references (product_id, price, shipping, coupon, currency, pack, units, unit, understood, "
        "comparable, condition, source, url, sha256, captured_at, region, parser, digest, recorded_at) "
        "SELECT *, $19::timestamptz FROM unnest($1::bigint[], $2::numeric[], $3::numeric[], $4::numeric[], $5::text[], "
        "$6::text[], $7::numeric[], $8::text[], $9::bool[], $10::numeric[], $11::text[], $12::text[], $13::text[], "
        "$14::text[], $15::timestamptz[], $16::text[], $17::text[], $18::bytea[]) "
        "ON CONFLICT (product_id, digest) DO NOTHING RETURNING product_id",
        *_columns(rows),
        tx.now,
    )
    return [row["product_id"] for row in added]


async def fresh_references(tx: Tx, product_ids: list[int], since: datetime) -> list[asyncpg.Record]:
    """Observations of these products captured at `since` or later, any condition."""
    return await tx.fetch(
        "SELECT id, product_id, price + shipping - coupon AS total, currency, units, unit, understood, condition, "
        "source, region, url, sha256, parser, captured_at FROM pricing_references "
        "WHERE product_id = ANY($1::bigint[]) AND captured_at >= $2",
        product_ids,
        since,
    )


async def reference_rows(tx: Tx, product_id: int | None, before: int | None, limit: int) -> list[asyncpg.Record]:
    """References, newest recorded first."""
    return await tx.fetch(
        "SELECT id, product_id, price, shipping, coupon, currency, pack, units, unit, comparable, condition, source, "
        "url, sha256, captured_at, region, parser, recorded_at FROM pricing_references "
        "WHERE ($1::bigint IS NULL OR product_id = $1) AND ($2::bigint IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
        product_id,
        before,
        limit,
    )


async def lock_verdicts(tx: Tx, listing_ids: list[int]) -> list[asyncpg.Record]:
    """The verdict rows of these listings, locked in order of listing."""
    return await tx.fetch(
        "SELECT listing_id, product_id, verdict, captured_at, observed_ours, observed_reference_id, observed_at "
        "FROM pricing_verdicts WHERE listing_id = ANY($1::bigint[]) ORDER BY listing_id FOR UPDATE",
        listing_ids,
    )


async def save_verdicts(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write verdict rows, ordered by listing. Columns as in the statement."""
    await tx.run(
        "INSERT INTO pricing_verdicts (listing_id, product_id, verdict, reason, ours, reference, gap, reference_id, "
        "captured_at, at, price, currency, shipping, coupon, pack, units, unit, observed_ours, observed_reference_id, "
        "observed_at) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::numeric[], "
        "$6::numeric[], $7::numeric[], $8::bigint[], $9::timestamptz[], $10::timestamptz[], $11::numeric[], "
        "$12::text[], $13::numeric[], $14::numeric[], $15::text[], $16::numeric[], $17::text[], $18::numeric[], "
        "$19::bigint[], $20::timestamptz[]) ON CONFLICT (listing_id) DO UPDATE SET product_id = EXCLUDED.product_id, "
        "verdict = EXCLUDED.verdict, reason = EXCLUDED.reason, ours = EXCLUDED.ours, reference = EXCLUDED.reference, "
        "gap = EXCLUDED.gap, reference_id = EXCLUDED.reference_id, captured_at = EXCLUDED.captured_at, "
        "at = EXCLUDED.at, price = EXCLUDED.price, currency = EXCLUDED.currency, shipping = EXCLUDED.shipping, "
        "coupon = EXCLUDED.coupon, pack = EXCLUDED.pack, units = EXCLUDED.units, unit = EXCLUDED.unit, "
        "observed_ours = EXCLUDED.observed_ours, observed_reference_id = EXCLUDED.observed_reference_id, "
        "observed_at = EXCLUDED.observed_at",
        *_columns(rows),
    )


VERDICTS = (
    "SELECT listing_id, product_id, verdict, reason, ours, reference, gap, reference_id, captured_at, at "
    "FROM pricing_verdicts WHERE listing_id = ANY($1::bigint[])"
)


async def verdict_rows(tx: Tx, listing_ids: list[int]) -> list[asyncpg.Record]:
    return await tx.fetch(VERDICTS, listing_ids)


async def expired_offers(tx: Tx, before: datetime, limit: int) -> list[asyncpg.Record]:
    """Offers whose verdict rests on a reference captured before `before`, as they were last judged."""
    return await tx.fetch(
        "SELECT listing_id, product_id, price, currency, shipping, coupon, pack FROM pricing_verdicts "
        "WHERE verdict <> 'unknown' AND captured_at < $1 ORDER BY captured_at LIMIT $2",
        before,
        limit,
    )


async def count_verdicts(tx: Tx, fresh_since: datetime) -> asyncpg.Record:
    """How many listings stand where, a stale verdict being unknown, and the widest gap among the known."""
    row = await tx.fetchrow(
        "SELECT count(*) FILTER (WHERE verdict = 'pass' AND captured_at >= $1) AS pass, "
        "count(*) FILTER (WHERE verdict = 'breach' AND captured_at >= $1) AS breach, count(*) AS rows, "
        "max(gap) FILTER (WHERE verdict <> 'unknown' AND captured_at >= $1) AS widest, "
        "(SELECT count(*) FROM pricing_cases WHERE status = 'open') AS open_cases FROM pricing_verdicts",
        fresh_since,
    )
    assert row is not None
    return row


async def dearer_packs(tx: Tx, fresh_since: datetime, limit: int) -> list[asyncpg.Record]:
    """Multi-packs dearer per unit than a smaller pack of the same product, each with the cheapest smaller pack."""
    return await tx.fetch(
        "SELECT DISTINCT ON (big.listing_id) big.listing_id, big.product_id, big.units, big.unit, big.ours, "
        "small.listing_id AS small_listing_id, small.units AS small_units, small.ours AS small_ours "
        "FROM pricing_verdicts big JOIN pricing_verdicts small ON small.product_id = big.product_id "
        "AND small.unit = big.unit AND small.currency = big.currency AND small.units < big.units "
        "AND (big.price + big.shipping - big.coupon) * small.units > (small.price + small.shipping - small.coupon) "
        "* big.units WHERE big.ours IS NOT NULL AND small.ours IS NOT NULL AND big.captured_at >= $1 "
        "AND small.captured_at >= $1 ORDER BY big.listing_id, small.ours, small.listing_id LIMIT $2",
        fresh_since,
        limit,
    )


async def add_observations(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> None:
    await tx.copy(
        "pricing_observations",
        ("listing_id", "at", "verdict", "ours", "reference", "gap", "reference_id"),
        list(rows),
    )


async def rules(tx: Tx) -> list[asyncpg.Record]:
    """The distinct limits that malls' policies name."""
    return await tx.fetch("SELECT DISTINCT threshold_pct, gross_pct FROM pricing_policies")


async def streak_rows(tx: Tx, listing_ids: list[int]) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT listing_id, threshold_pct, beyond, since, count FROM pricing_streaks "
        "WHERE listing_id = ANY($1::bigint[])",
        listing_ids,
    )


async def save_streaks(tx: Tx, rows: Sequence[tuple[int, Decimal, bool, datetime, int]]) -> None:
    await tx.run(
        "INSERT INTO pricing_streaks (listing_id, threshold_pct, beyond, since, count) SELECT * FROM "
        "unnest($1::bigint[], $2::numeric[], $3::bool[], $4::timestamptz[], $5::int[]) "
        "ON CONFLICT (listing_id, threshold_pct) DO UPDATE SET beyond = EXCLUDED.beyond, since = EXCLUDED.since, "
        "count = EXCLUDED.count",
        *_columns(rows),
    )


async def open_cases(tx: Tx, listing_ids: list[int]) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT id, listing_id, product_id, threshold_pct, gross_pct FROM pricing_cases "
        "WHERE status = 'open' AND listing_id = ANY($1::bigint[])",
        listing_ids,
    )


async def add_cases(tx: Tx, rows: Sequence[tuple[int, int, Decimal, Decimal, str]]) -> list[asyncpg.Record]:
    """Open cases (listing, product, threshold, gross, evidence as JSON text); returns those really opened."""
    return await tx.fetch(
        "INSERT INTO pricing_cases (listing_id, product_id, threshold_pct, gross_pct, evidence, opened_at) "
        "SELECT *, $6::timestamptz FROM unnest($1::bigint[], $2::bigint[], $3::numeric[], $4::numeric[], $5::jsonb[]) "
        "ON CONFLICT (listing_id, threshold_pct, gross_pct) WHERE status = 'open' DO NOTHING "
        "RETURNING id, listing_id, product_id",
        *_columns(rows),
        tx.now,
    )


async def hold_under_policies(tx: Tx, case_ids: list[int] | None, mall_id: int | None = None) -> int:
    """Hold the listings of open cases (None: all of them) for every mall (or one) whose policy asks for it under the
    case's own limits. A hold that was reviewed stays released."""
    return await tx.run(
        "INSERT INTO pricing_holds (mall_id, case_id, listing_id, action, since) "
        "SELECT p.mall_id, c.id, c.listing_id, p.action, $2 FROM pricing_cases c JOIN pricing_policies p "
        "ON p.threshold_pct = c.threshold_pct AND p.gross_pct = c.gross_pct AND p.action <> 'observe' "
        "WHERE c.status = 'open' AND ($1::bigint[] IS NULL OR c.id = ANY($1)) "
        "AND ($3::bigint IS NULL OR p.mall_id = $3) ON CONFLICT (mall_id, case_id) DO UPDATE SET "
        "action = EXCLUDED.action, since = EXCLUDED.since, ended_at = NULL "
        "WHERE pricing_holds.ended_at IS NOT NULL AND pricing_holds.reviewed_at IS NULL",
        case_ids,
        tx.now,
        mall_id,
    )


async def close_cases(tx: Tx, case_ids: list[int], note: str) -> list[asyncpg.Record]:
    """Close open cases with a log entry (JSON text); their blocks end, their holds wait for a review."""
    closed = await tx.fetch(
        "UPDATE pricing_cases SET status = 'closed', closed_at = $2, log = log || $3::jsonb "
        "WHERE id = ANY($1::bigint[]) AND status = 'open' RETURNING id, listing_id, product_id",
        case_ids,
        tx.now,
        note,
    )
    await tx.run(
        "UPDATE pricing_holds SET ended_at = $2 WHERE case_id = ANY($1::bigint[]) AND action = 'block' "
        "AND ended_at IS NULL",
        case_ids,
        tx.now,
    )
    return closed


async def held_listings(tx: Tx, mall_id: int, listing_ids: list[int]) -> list[int]:
    rows = await tx.fetch(ACTIVE_HOLDS + " AND listing_id = ANY($2::bigint[])", mall_id, listing_ids)
    return [row["listing_id"] for row in rows]


async def forget_listings(tx: Tx, listing_ids: list[int]) -> None:
    """Drop verdicts and streaks of listings that are no longer sold; observations and cases stay."""
    await tx.run("DELETE FROM pricing_verdicts WHERE listing_id = ANY($1::bigint[])", listing_ids)
    await tx.run("DELETE FROM pricing_streaks WHERE listing_id = ANY($1::bigint[])", listing_ids)


async def forget_observations(tx: Tx, before: datetime) -> int:
    return await tx.run("DELETE FROM pricing_observations WHERE at < $1", before)


async def case_rows(
    tx: Tx, status: str | None, listing_id: int | None, before: int | None, limit: int, case_id: int | None = None
) -> list[asyncpg.Record]:
    """Cases, newest first, each with its holds."""
    return await tx.fetch(
        "SELECT c.id, c.listing_id, c.product_id, c.threshold_pct, c.gross_pct, c.status, c.opened_at, c.closed_at, "
        "c.evidence, c.log, coalesce((SELECT jsonb_agg(jsonb_build_object('mall_id', h.mall_id, 'action', h.action, "
        "'since', h.since, 'ended_at', h.ended_at, 'reviewed_at', h.reviewed_at, 'review_reason', h.review_reason) "
        "ORDER BY h.mall_id) FROM pricing_holds h WHERE h.case_id = c.id), '[]') AS holds FROM pricing_cases c "
        "WHERE ($1::text IS NULL OR c.status = $1) AND ($2::bigint IS NULL OR c.listing_id = $2) "
        "AND ($3::bigint IS NULL OR c.id < $3) AND ($5::bigint IS NULL OR c.id = $5) ORDER BY c.id DESC LIMIT $4",
        status,
        listing_id,
        before,
        limit,
        case_id,
    )


async def review_case(tx: Tx, case_id: int, mall_id: int | None, by: str, reason: str, note: str) -> list[int] | None:
    """Log a review and release the case's holds (of one mall, or all); the malls released, None for no such case."""
    if not await tx.run("UPDATE pricing_cases SET log = log || $2::jsonb WHERE id = $1", case_id, note):
        return None
    released = await tx.fetch(
        "UPDATE pricing_holds SET reviewed_at = $3, reviewed_by = $4, review_reason = $5 WHERE case_id = $1 "
        "AND ($2::bigint IS NULL OR mall_id = $2) AND reviewed_at IS NULL AND ended_at IS NULL RETURNING mall_id",
        case_id,
        mall_id,
        tx.now,
        by,
        reason,
    )
    return sorted(row["mall_id"] for row in released)


async def policy_rows(tx: Tx) -> list[asyncpg.Record]:
    """Every mall with its policy, or the standing one."""
    return await tx.fetch(
        "SELECT m.id AS mall_id, m.name AS mall, p.action, p.threshold_pct, p.gross_pct, p.updated_at, p.updated_by "
        "FROM malls m LEFT JOIN pricing_policies p ON p.mall_id = m.id ORDER BY m.id"
    )


async def put_policy(tx: Tx, mall_id: int, action: str, threshold: Decimal, gross: Decimal, by: str) -> bool:
    """Set a mall's policy; False when there is no such mall."""
    written = await tx.run(
        "INSERT INTO pricing_policies (mall_id, action, threshold_pct, gross_pct, updated_at, updated_by) "
        "SELECT id, $2, $3, $4, $5, $6 FROM malls WHERE id = $1 ON CONFLICT (mall_id) DO UPDATE SET "
        "action = EXCLUDED.action, threshold_pct = EXCLUDED.threshold_pct, gross_pct = EXCLUDED.gross_pct, "
        "updated_at = EXCLUDED.updated_at, updated_by = EXCLUDED.updated_by",
        mall_id,
        action,
        threshold,
        gross,
        tx.now,
        by,
    )
    return written == 1


async def end_holds_outside_policy(tx: Tx, mall_id: int) -> int:
    """End this mall's holds that its policy of now would not have made."""
    return await tx.run(
        "UPDATE pricing_holds h SET ended_at = $2 FROM pricing_cases c, pricing_policies p WHERE h.mall_id = $1 "
        "AND c.id = h.case_id AND p.mall_id = h.mall_id AND h.ended_at IS NULL AND h.reviewed_at IS NULL "
        "AND (p.action, p.threshold_pct, p.gross_pct) <> (h.action, c.threshold_pct, c.gross_pct)",
        mall_id,
        tx.now,
    )


async def cases_without_rule(tx: Tx, threshold: Decimal, gross: Decimal) -> list[int]:
    """Open cases under limits that are neither the given standing ones nor any mall's."""
    rows = await tx.fetch(
        "SELECT id FROM pricing_cases c WHERE status = 'open' AND (threshold_pct, gross_pct) <> ($1, $2) "
        "AND NOT EXISTS (SELECT 1 FROM pricing_policies p "
        "WHERE (p.threshold_pct, p.gross_pct) = (c.threshold_pct, c.gross_pct))",
        threshold,
        gross,
    )
    return [row["id"] for row in rows]
