"""The rule of parity as one statement, the only implementation of it: judges any set of kept offers against the
observations of their products, keeps what changed and notes what is new. A single price change, a batch of a pull, the
sweep and the re-check of everything differ in nothing but which offers they name. Time is a parameter; money is
`numeric` and compared by multiplying across, so that the limit itself is within, whatever the packs divide into.

1. An observation counts while it is fresh, within its window, ordinary, the newest of its offer (source, region, URL),
   in our currency or one that a rate of its day leads to, positive, and of a pack in our measure. A price observed
   of the product as such (no pack) is of the pack that it is compared with.
2. Of those that count, the lowest relative to ours is the reference (ties: the newest, then the first recorded).
3. ours > reference * 1.05 is a breach, anything else a pass. When nothing counts, the verdict is unknown, and the
   reason is what stopped the observation that came furthest.
4. A verdict is an observation when it is known, and ours or the capture is another than last time or six hours have
   passed: looking twice at the same evidence must not open or close a case.
5. `valid_until` is the last instant at which nothing can have changed by time alone: then the reference goes stale, or
   a window opens or closes.

`xmin` tells whether somebody else wrote a row since this statement looked at it: then theirs is the newer judgement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg

from hub.kernel.db import Tx
from pricing.parity import APART, SKEW, THRESHOLD_PCT

PLACES = 12  # of the figures shown; comparisons are made before any division
FEW = 50  # offers up to which one plan serves all
ZONE = "Asia/Shanghai"  # whose calendar day a rate belongs to

_OURS = f"""
SELECT listing_id, product_id, category, price + shipping - coupon AS total, currency, units, unit,
  coalesce(understood, (units, unit) IS DISTINCT FROM (1, 'piece')) AS understood,
  (valid_from IS NULL OR valid_from <= $1) AND (valid_to IS NULL OR valid_to > $1) AS in_force,
  CASE WHEN valid_from > $1 THEN valid_from WHEN valid_to > $1 THEN valid_to END AS turns,
  verdict AS verdict_before, reason AS reason_before, ours AS ours_before, reference AS reference_before,
  gap AS gap_before, reference_id AS reference_id_before, captured_at AS captured_before,
  valid_until AS valid_until_before, at AS at_before, observed_ours, observed_reference_id, observed_at, xmin AS seen,
  round((price + shipping - coupon) / units, {PLACES}) AS per_unit
FROM pricing_verdicts WHERE """  # noqa: S608

_IN_FORCE = "(valid_from IS NULL OR valid_from <= $1) AND (valid_to IS NULL OR valid_to > $1)"
_DAY = f"(r.captured_at AT TIME ZONE '{ZONE}')::date"


def _rate(currency: str, other: str) -> str:
    """SQL: what one `currency` is worth in CNY, or 1 where no rate is needed; NULL without one that is young enough."""
    return (
        f"CASE WHEN {currency} IN ({other}, 'CNY') THEN 1 ELSE (SELECT q.rate FROM pricing_rates q "  # noqa: S608
        f"WHERE q.currency = {currency} AND q.day <= {_DAY} AND q.day >= {_DAY} - $4::int "
        "ORDER BY q.day DESC LIMIT 1) END"
    )


# How far each pair of an offer and an observation comes; 9 counts.
_STAGES = f"""
CASE WHEN r.id IS NULL THEN 0 WHEN NOT r.ordinary THEN 1 WHEN NOT r.in_force THEN 2
  WHEN rates.theirs IS NULL AND NOT EXISTS (
    SELECT 1 FROM pricing_rates q WHERE q.currency = r.currency AND q.day <= {_DAY}) THEN 3
  WHEN rates.ours IS NULL AND NOT EXISTS (
    SELECT 1 FROM pricing_rates q WHERE q.currency = v.currency AND q.day <= {_DAY}) THEN 3
  WHEN rates.theirs IS NULL OR rates.ours IS NULL THEN 4
  WHEN r.total <= 0 THEN 5
  WHEN r.unit IS NOT NULL AND NOT (r.unit = v.unit AND (r.understood AND v.understood OR r.units = v.units)) THEN 6
  ELSE 9 END"""  # noqa: S608

_WHY = "ARRAY['excluded_condition', 'outside_window', 'no_rate', 'stale_rate', 'no_positive_price', \
'packs_not_comparable']"

# An array of the products, not a join: looked up by the index whatever share of all references a piece asks for.
_JUDGE = f"""
WITH v AS MATERIALIZED ({{ours}}),
r AS (
  SELECT id, product_id, price + shipping - coupon AS total, currency, units, unit, understood, captured_at,
    condition = 'ordinary' AS ordinary, {_IN_FORCE} AS in_force,
    captured_at = max(captured_at) FILTER (WHERE condition = 'ordinary' AND {_IN_FORCE})
      OVER (PARTITION BY product_id, source, region, url) AS newest
  FROM pricing_references
  WHERE product_id = ANY(ARRAY(SELECT product_id FROM v)) AND captured_at BETWEEN $2 AND $3
),
w AS (
  SELECT product_id, min(CASE WHEN valid_from > $1 THEN valid_from WHEN valid_to > $1 THEN valid_to END) AS turns
  FROM pricing_references
  WHERE product_id = ANY(ARRAY(SELECT product_id FROM v)) AND captured_at BETWEEN $2 AND $3
    AND (valid_from IS NOT NULL OR valid_to IS NOT NULL)
  GROUP BY product_id
),
p AS (
  SELECT v.listing_id, r.id, r.captured_at, {_STAGES} AS stage,
    v.total * rates.ours * coalesce(r.units, v.units) AS a, r.total * rates.theirs * v.units AS b,
    CASE WHEN r.id IS NOT NULL AND rates.ours > 0
      THEN round(r.total * rates.theirs / (rates.ours * coalesce(r.units, v.units)), {PLACES}) END AS theirs
  FROM v LEFT JOIN r ON r.product_id = v.product_id AND (r.newest OR NOT r.ordinary OR NOT r.in_force)
  CROSS JOIN LATERAL (SELECT {_rate("v.currency", "r.currency")} AS ours, {_rate("r.currency", "v.currency")} AS theirs
    OFFSET 0) rates
),
best AS (
  SELECT DISTINCT ON (listing_id) listing_id, id, captured_at, stage, a, b, theirs FROM p
  ORDER BY listing_id, stage DESC, CASE WHEN stage = 9 AND a > 0 THEN b * 1e30 / a END, captured_at DESC, id
),
told AS (
  SELECT v.*, best.id, best.captured_at, best.stage, best.a, best.b, best.theirs, w.turns AS theirs_turn,
    best.stage = 9 AND v.total > 0 AND v.in_force AS known
  FROM v JOIN best USING (listing_id) LEFT JOIN w ON w.product_id = v.product_id
),
j AS (
  SELECT *, CASE WHEN NOT known THEN 'unknown' WHEN a * 100 > b * (100 + $5::numeric) THEN 'breach' ELSE 'pass' END
      AS verdict,
    CASE WHEN stage = 0 THEN CASE
        WHEN EXISTS (SELECT 1 FROM pricing_references x WHERE x.product_id = told.product_id) THEN 'stale_reference'
        ELSE 'no_reference' END
      WHEN total <= 0 THEN 'no_positive_price' WHEN NOT in_force THEN 'offer_outside_window'
      WHEN stage < 9 THEN ({_WHY})[stage]
      WHEN a * 100 > b * (100 + $5::numeric) THEN 'dearer' ELSE 'within' END AS reason,
    CASE WHEN stage > 0 AND total > 0 THEN trim_scale(per_unit) END AS ours,
    CASE WHEN known THEN trim_scale(theirs) END AS reference,
    CASE WHEN known THEN trim_scale(round((a - b) / b, {PLACES})) END AS gap,
    CASE WHEN known THEN id END AS reference_id,
    CASE WHEN known THEN captured_at ELSE captured_before END AS captured,
    least(CASE WHEN known THEN captured_at + $6::interval END, turns - interval '1 microsecond',
      CASE WHEN stage > 0 THEN theirs_turn END - interval '1 microsecond') AS valid_until
  FROM told
),
k AS (
  SELECT *, known AND (observed_at IS NULL OR observed_ours IS DISTINCT FROM ours
      OR observed_reference_id IS DISTINCT FROM reference_id OR $1 - observed_at >= $7::interval) AS is_new,
    (verdict_before, reason_before, ours_before, reference_before, gap_before, reference_id_before,
      valid_until_before) IS DISTINCT FROM
      (verdict, reason, ours, reference, gap, reference_id, valid_until) AS changed
  FROM j
),
u AS (
  UPDATE pricing_verdicts t SET verdict = k.verdict, reason = k.reason, ours = k.ours, reference = k.reference,
    gap = k.gap, reference_id = k.reference_id, captured_at = k.captured, valid_until = k.valid_until, at = $1,
    observed_ours = CASE WHEN k.is_new THEN k.ours ELSE k.observed_ours END,
    observed_reference_id = CASE WHEN k.is_new THEN k.reference_id ELSE k.observed_reference_id END,
    observed_at = CASE WHEN k.is_new THEN $1 ELSE k.observed_at END
  FROM k WHERE t.listing_id = k.listing_id AND t.xmin = k.seen AND (k.changed OR k.is_new) AND t.{{which}}
  RETURNING t.listing_id
),
n AS (
  INSERT INTO pricing_observations (listing_id, at, verdict, ours, reference, gap, reference_id)
  SELECT listing_id, $1, verdict, ours, reference, gap, reference_id FROM k JOIN u USING (listing_id) WHERE is_new
)
SELECT (SELECT count(*) FROM k) AS seen_rows, (SELECT count(*) FROM u) AS moved_rows, found.*
FROM (SELECT 1) AS once LEFT JOIN LATERAL (
  SELECT k.listing_id, k.product_id, k.category, k.verdict, k.reason, k.ours, k.reference, k.gap, k.reference_id,
    CASE WHEN u.listing_id IS NULL THEN k.at_before ELSE $1 END AS at, k.a, k.b,
    k.is_new AND u.listing_id IS NOT NULL AS observed
  FROM k LEFT JOIN u USING (listing_id)
  WHERE $8::bool OR (u.listing_id IS NOT NULL AND k.is_new AND (k.a * 100 > k.b * (100 + $9::numeric)
    OR EXISTS (SELECT 1 FROM pricing_streaks s WHERE s.listing_id = k.listing_id)))
) found ON true
"""  # noqa: S608


def _judging(which: str) -> str:
    """The statement for the offers that `which` names (a condition on `listing_id`), told twice: the rows that are
    written are then looked for among these alone."""
    return _JUDGE.format(ours=_OURS + which, which=which)


_THESE = _judging("listing_id = ANY($10::bigint[])")
_BETWEEN = _judging("listing_id BETWEEN $10::bigint + 1 AND $11")


class Judged:
    """What a judgement found: how many offers it looked at, how many of their rows it wrote, and rows."""

    def __init__(self, rows: Sequence[asyncpg.Record]) -> None:
        self.seen: int = rows[0]["seen_rows"]
        self.moved: int = rows[0]["moved_rows"]
        self.rows = [row for row in rows if row["listing_id"] is not None]


def _terms(tx: Tx, fresh_for: timedelta, rate_days: int, everything: bool, least_pct: Decimal) -> tuple[Any, ...]:
    return (
        tx.now,
        tx.now - fresh_for,
        tx.now + SKEW,
        rate_days,
        THRESHOLD_PCT,
        fresh_for,
        APART,
        everything,
        least_pct,
    )


async def judge_these(
    tx: Tx, listing_ids: list[int], fresh_for: timedelta, rate_days: int, least_pct: Decimal
) -> Judged:
    """Judge these offers; a row of each comes back. Their rows must be locked."""
    terms = _terms(tx, fresh_for, rate_days, True, least_pct)
    return Judged(await _planned(tx, len(listing_ids), _THESE, *terms, listing_ids))


async def judge_between(
    tx: Tx, after: int, upto: int, fresh_for: timedelta, rate_days: int, least_pct: Decimal
) -> Judged:
    """Judge the offers of listings after `after` up to `upto`. Rows come back of those whose new observation may move
    a case: beyond `least_pct` percent, or with a streak."""
    terms = _terms(tx, fresh_for, rate_days, False, least_pct)
    return Judged(await _planned(tx, upto - after, _BETWEEN, *terms, after, upto))


async def _planned(tx: Tx, offers: int, sql: str, *args: Any) -> list[asyncpg.Record]:
    """Rows of a judgement. One of many offers is planned for that many: a plan made once for a few would compare
    everything with everything."""
    if offers <= FEW:
        return await tx.fetch(sql, *args)
    await tx.run("SET LOCAL plan_cache_mode = force_custom_plan")
    rows = await tx.fetch(sql, *args)
    await tx.run("SET LOCAL plan_cache_mode = auto")
    return rows


_FACTS = "product_id, price, currency, shipping, coupon, pack, units, unit, understood, category, valid_from, valid_to"


async def comparable_offers(tx: Tx, listing_ids: list[int], product_ids: list[int], fresh_since: datetime) -> set[int]:
    """Those of these offers (parallel columns) that have something to be compared with, or had."""
    rows = await tx.fetch(
        "SELECT o.listing_id FROM unnest($1::bigint[], $2::bigint[]) AS o(listing_id, product_id) WHERE EXISTS "
        "(SELECT 1 FROM pricing_references r WHERE r.product_id = o.product_id AND r.captured_at >= $3) "
        "OR EXISTS (SELECT 1 FROM pricing_verdicts v WHERE v.listing_id = o.listing_id)",
        listing_ids,
        product_ids,
        fresh_since,
    )
    return {row[0] for row in rows}


async def put_offers(tx: Tx, columns: Sequence[Sequence[Any]]) -> None:
    """Keep offers as they are now (listing, then the facts in order, each a column), unjudged where they are new, and
    lock their rows in the order of listings."""
    await tx.run(
        f"INSERT INTO pricing_verdicts AS v (listing_id, {_FACTS}, verdict, reason, at) "  # noqa: S608
        "SELECT *, 'unknown', 'no_reference', $14::timestamptz FROM unnest($1::bigint[], $2::bigint[], $3::numeric[], "
        "$4::text[], $5::numeric[], $6::numeric[], $7::text[], $8::numeric[], $9::text[], $10::bool[], $11::text[], "
        "$12::timestamptz[], $13::timestamptz[]) AS o(listing_id) ORDER BY listing_id ON CONFLICT (listing_id) DO "
        f"UPDATE SET ({_FACTS}) = ROW({', '.join(f'EXCLUDED.{f.strip()}' for f in _FACTS.split(','))}) "
        f"WHERE ({', '.join(f'v.{f.strip()}' for f in _FACTS.split(','))}) IS DISTINCT FROM "
        f"({', '.join(f'EXCLUDED.{f.strip()}' for f in _FACTS.split(','))})",
        *columns,
        tx.now,
    )
    await tx.run(
        "SELECT 1 FROM pricing_verdicts WHERE listing_id = ANY($1::bigint[]) ORDER BY listing_id FOR UPDATE", columns[0]
    )


async def next_listings(tx: Tx, after: int, limit: int) -> int | None:
    """The last listing of the next `limit` offers after `after`; None when there are no more."""
    upto: int | None = await tx.fetchval(
        "SELECT max(listing_id) FROM (SELECT listing_id FROM pricing_verdicts WHERE listing_id > $1 "
        "ORDER BY listing_id LIMIT $2) AS x",
        after,
        limit,
    )
    return upto


async def due_listings(tx: Tx, limit: int) -> list[int]:
    """Listings whose verdict may have changed by time alone, and those that were judged before that was kept."""
    rows = await tx.fetch(
        "(SELECT listing_id FROM pricing_verdicts WHERE valid_until < $1 ORDER BY valid_until LIMIT $2) UNION "
        "(SELECT listing_id FROM pricing_verdicts WHERE valid_until IS NULL AND verdict <> 'unknown' "
        "ORDER BY listing_id LIMIT $2) ORDER BY 1 LIMIT $2",
        tx.now,
        limit,
    )
    return [row[0] for row in rows]
