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
    columns = columns_of(rows)
    added = await tx.fetch(
        "INSERT INTO pricing_references (product_id, price, shipping, coupon, currency, pack, units, unit, understood, "
        "comparable, condition, source, url, sha256, captured_at, region, parser, digest, valid_from, valid_to, "
        "recorded_at) SELECT *, $19::timestamptz FROM "
        "unnest($1::bigint[], $2::numeric[], $3::numeric[], $4::numeric[], $5::text[], "
        "$6::text[], $7::numeric[], $8::text[], $9::bool[], $10::numeric[], $11::text[], $12::text[], $13::text[], "
        "$14::text[], $15::timestamptz[], $16::text[], $17::text[], $18::bytea[], $20::timestamptz[], "
        "$21::timestamptz[]) "
        "ON CONFLICT (product_id, digest) DO NOTHING RETURNING product_id",
        *columns[:18],
        tx.now,
        *columns[18:],
    )
    return [row["product_id"] for row in added]


async def reference_rows(tx: Tx, product_id: int | None, before: int | None, limit: int) -> list[asyncpg.Record]:
    """References, newest recorded first."""
    return await tx.fetch(
        "SELECT id, product_id, price, shipping, coupon, currency, pack, units, unit, comparable, condition, source, "
        "url, sha256, captured_at, region, parser, valid_from, valid_to, recorded_at FROM pricing_references "
        "WHERE ($1::bigint IS NULL OR product_id = $1) AND ($2::bigint IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
        product_id,
        before,
        limit,
    )


async def lock_verdicts(tx: Tx, listing_ids: list[int]) -> None:
    """Lock the verdict rows of these listings, in order of listing."""
    await tx.run(
        "SELECT 1 FROM pricing_verdicts WHERE listing_id = ANY($1::bigint[]) ORDER BY listing_id FOR UPDATE",
        listing_ids,
    )


VERDICTS = (
    "SELECT listing_id, product_id, verdict, reason, ours, reference, gap, reference_id, captured_at, "
    "valid_until, at FROM pricing_verdicts WHERE listing_id = ANY($1::bigint[])"
)


async def verdict_rows(tx: Tx, listing_ids: list[int]) -> list[asyncpg.Record]:
    return await tx.fetch(VERDICTS, listing_ids)


_STANDS = "captured_at >= $1 AND (valid_until IS NULL OR valid_until >= $2)"  # of a known verdict


async def count_verdicts(tx: Tx, fresh_since: datetime) -> asyncpg.Record:
    """How many listings stand where, a stale verdict being unknown; of the known ones the widest gap and how old their
    references are (seconds: the median and the oldest)."""
    row = await tx.fetchrow(
        f"SELECT count(*) FILTER (WHERE verdict = 'pass' AND {_STANDS}) AS pass, "  # noqa: S608
        f"count(*) FILTER (WHERE verdict = 'breach' AND {_STANDS}) AS breach, count(*) AS rows, "
        f"max(gap) FILTER (WHERE verdict <> 'unknown' AND {_STANDS}) AS widest, "
        "extract(epoch FROM $2 - to_timestamp(percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM "
        f"captured_at)) FILTER (WHERE verdict <> 'unknown' AND {_STANDS})))::float8 AS median_age, "
        f"extract(epoch FROM $2 - min(captured_at) FILTER (WHERE verdict <> 'unknown' AND {_STANDS}))::float8 "
        "AS oldest_age, (SELECT count(*) FROM pricing_cases WHERE status = 'open') AS open_cases, "
        "(SELECT count(*) FROM pricing_cases WHERE status = 'waived') AS waived_cases FROM pricing_verdicts",
        fresh_since,
        tx.now,
    )
    assert row is not None
    return row


async def count_reasons(tx: Tx, fresh_since: datetime) -> dict[str, int]:
    """Why the compared listings are where they are; what has gone stale since counts as stale."""
    rows = await tx.fetch(
        f"SELECT CASE WHEN verdict = 'unknown' OR ({_STANDS}) THEN reason ELSE 'stale_reference' END AS why, "  # noqa: S608
        "count(*) FROM pricing_verdicts GROUP BY 1",
        fresh_since,
        tx.now,
    )
    return {row["why"]: row["count"] for row in rows}


async def put_rates(tx: Tx, rows: Sequence[tuple[Any, ...]], by: str) -> list[asyncpg.Record]:
    """Keep rates (currency, day, rate, source); those that are new or another than before."""
    if not rows:
        return []
    return await tx.fetch(
        "INSERT INTO pricing_rates AS r (currency, day, rate, source, recorded_at, recorded_by) "
        "SELECT *, $5::timestamptz, $6 FROM unnest($1::text[], $2::date[], $3::numeric[], $4::text[]) AS n(c, d) "
        "ORDER BY c, d ON CONFLICT (currency, day) DO UPDATE SET rate = EXCLUDED.rate, source = EXCLUDED.source, "
        "recorded_at = EXCLUDED.recorded_at, recorded_by = EXCLUDED.recorded_by "
        "WHERE (r.rate, r.source) IS DISTINCT FROM (EXCLUDED.rate, EXCLUDED.source) RETURNING currency, day",
        *columns_of(rows),
        tx.now,
        by,
    )


async def rate_rows(tx: Tx, currency: str | None, before: tuple[str, Any] | None, limit: int) -> list[asyncpg.Record]:
    """Rates, newest day first; `before` is the (currency, day) at which the last page ended."""
    return await tx.fetch(
        "SELECT currency, day, rate, source, recorded_at, recorded_by FROM pricing_rates "
        "WHERE ($1::text IS NULL OR currency = $1) AND ($3::date IS NULL OR (day, currency) < ($3, $2::text)) "
        "ORDER BY day DESC, currency DESC LIMIT $4",
        currency,
        *(before or (None, None)),
        limit,
    )


async def ask_recheck(tx: Tx, by: str, why: str) -> int:
    sql = "INSERT INTO pricing_rechecks (asked_at, asked_by, why) VALUES ($1, $2, $3) RETURNING id"
    return int(await tx.fetchval(sql, tx.now, by, why))


async def take_recheck(tx: Tx) -> asyncpg.Record | None:
    """The newest open re-check, locked, unless somebody else is at it; older ones are done with it, for it looks at
    everything from where they began."""
    row = await tx.fetchrow(
        "SELECT id, after_listing FROM pricing_rechecks WHERE done_at IS NULL ORDER BY id DESC LIMIT 1 "
        "FOR UPDATE SKIP LOCKED"
    )
    if row is not None and row["after_listing"] == 0:
        await tx.run("UPDATE pricing_rechecks SET done_at = $2 WHERE done_at IS NULL AND id < $1", row["id"], tx.now)
    return row


async def save_recheck(tx: Tx, recheck_id: int, upto: int | None, seen: int, moved: int) -> None:
    """Where a re-check has come to; `upto` None: to the end."""
    await tx.run(
        "UPDATE pricing_rechecks SET after_listing = coalesce($2, after_listing), seen = seen + $3, "
        "moved = moved + $4, "
        "done_at = CASE WHEN $2::bigint IS NULL THEN $5::timestamptz END WHERE id = $1",
        recheck_id,
        upto,
        seen,
        moved,
        tx.now,
    )


async def recheck_rows(tx: Tx, limit: int) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT id, asked_at, asked_by, why, after_listing, seen, moved, done_at FROM pricing_rechecks "
        "ORDER BY id DESC LIMIT $1",
        limit,
    )


async def forget_listings(tx: Tx, listing_ids: list[int]) -> None:
    """Drop verdicts and streaks of listings that are no longer sold; observations and cases stay."""
    await tx.run("DELETE FROM pricing_verdicts WHERE listing_id = ANY($1::bigint[])", listing_ids)
    await tx.run("DELETE FROM pricing_streaks WHERE listing_id = ANY($1::bigint[])", listing_ids)


async def forget_observations(tx: Tx, before: datetime) -> int:
    return await tx.run("DELETE FROM pricing_observations WHERE at < $1", before)
