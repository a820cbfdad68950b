"""SQL of judging: references in, verdicts kept, observations added. Every statement is set-based: one round trip for
a batch of listings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from hub.kernel.db import Tx
from pricing.store.tables import columns_of


async def add_references(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> list[int]:
    """Insert what is new; returns the product ids that gained a reference. Columns as in the statement."""
    added = await tx.fetch(
        "INSERT INTO pricing_references (product_id, price, shipping, coupon, currency, pack, units, unit, understood, "
        "comparable, condition, source, url, sha256, captured_at, region, parser, digest, recorded_at) "
        "SELECT *, $19::timestamptz FROM unnest($1::bigint[], $2::numeric[], $3::numeric[], $4::numeric[], $5::text[], "
        "$6::text[], $7::numeric[], $8::text[], $9::bool[], $10::numeric[], $11::text[], $12::text[], $13::text[], "
        "$14::text[], $15::timestamptz[], $16::text[], $17::text[], $18::bytea[]) "
        "ON CONFLICT (product_id, digest) DO NOTHING RETURNING product_id",
        *columns_of(rows),
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
        *columns_of(rows),
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


async def forget_listings(tx: Tx, listing_ids: list[int]) -> None:
    """Drop verdicts and streaks of listings that are no longer sold; observations and cases stay."""
    await tx.run("DELETE FROM pricing_verdicts WHERE listing_id = ANY($1::bigint[])", listing_ids)
    await tx.run("DELETE FROM pricing_streaks WHERE listing_id = ANY($1::bigint[])", listing_ids)


async def forget_observations(tx: Tx, before: datetime) -> int:
    return await tx.run("DELETE FROM pricing_observations WHERE at < $1", before)
