"""SQL of the step after ingest: its queue of record, what products say, which of them come into question, and pairs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from catalog.store.literals import integers
from hub.kernel.db import Tx, read

HITS = 400  # products that one word may bring up; of a commoner word the rest is not looked at
WEIGHED = 120  # of them those that share most with the product are weighed word by word
BEST = 4  # candidates of a product
OF_EACH = 4  # and of each word, so that a few words that many vendors advertise with leave room for those that name


async def queue_listings(tx: Tx, listing_ids: Sequence[int]) -> None:
    """These listings are new or say something else: they are to be looked at."""
    await tx.run(
        """
        INSERT INTO catalog_matching (listing_id, due_at)
        SELECT DISTINCT id, $2::timestamptz FROM unnest($1::text::bigint[]) AS n(id) ORDER BY 1
        ON CONFLICT (listing_id) DO UPDATE SET due_at = excluded.due_at, tries = 0
        """,
        integers(listing_ids),
        tx.now,
    )


async def claim_listings(tx: Tx, until: datetime, limit: int) -> list[asyncpg.Record]:
    """Take listings that are due until `until`, when they are due again unless they are settled before: (listing_id,
    words, tries)."""
    return await tx.fetch(
        """
        WITH due AS (
          SELECT listing_id FROM catalog_matching WHERE due_at <= $1 ORDER BY due_at, listing_id LIMIT $3
          FOR UPDATE SKIP LOCKED)
        UPDATE catalog_matching m SET due_at = $2, tries = tries + 1 FROM due WHERE m.listing_id = due.listing_id
        RETURNING m.listing_id, m.words, m.tries
        """,
        tx.now, until, limit,
    )  # fmt: skip


async def settle_listings(tx: Tx, until: datetime, words: Mapping[int, bytes | None]) -> None:
    """These listings were looked at, saying these words; those that came again meanwhile stay due."""
    await tx.run(
        """
        UPDATE catalog_matching m SET due_at = CASE WHEN m.due_at = $1 THEN NULL ELSE m.due_at END, tries = 0,
          words = coalesce(n.words, m.words)
        FROM unnest($2::bigint[], $3::bytea[]) AS n(id, words) WHERE m.listing_id = n.id
        """,
        until,
        list(words),
        list(words.values()),
    )


async def release_listings(tx: Tx, until: datetime, listing_ids: Sequence[int], after_s: float) -> None:
    """These listings could not be looked at now: they are due again in `after_s` seconds."""
    await tx.run(
        "UPDATE catalog_matching SET due_at = $3::timestamptz + $4 * interval '1 second' "
        "WHERE due_at = $1 AND listing_id = ANY($2::bigint[])",
        until, listing_ids, tx.now, after_s,
    )  # fmt: skip


async def waiting_listings(tx: Tx) -> int:
    return int(await tx.fetchval("SELECT count(*) FROM catalog_matching WHERE due_at IS NOT NULL"))


_LISTING = """
SELECT l.id, l.product_id, l.connection_id, f.vendor_id, f.vendor_name, l.vendor_sku, l.title, l.title_en, l.brand,
  l.model, l.gtin, l.pack, l.category, left(l.description, 1500) AS description, l.price, l.currency, l.image_url,
  l.url, l.kind, l.mode, l.active, l.by_hand
FROM catalog_listings l JOIN catalog_feeds f ON f.connection_id = l.connection_id
"""


async def listings_by_id(tx: Tx, ids: Iterable[int]) -> list[asyncpg.Record]:
    """What these listings say."""
    return await tx.fetch(f"{_LISTING} WHERE l.id = ANY($1::bigint[]) ORDER BY l.id", sorted(set(ids)))


# A product as a whole: its own words, and those of up to four of its listings, of all vendors that have one on it.
_PRODUCT = """
SELECT p.id, p.kind, p.mode, p.city, p.title, p.title_en, p.brand, p.model, p.gtin, p.category,
  left(p.description, 1500) AS description, p.price, p.currency, tsvector_to_array(p.search) AS lexemes, o.*
FROM unnest($1::text::bigint[]) AS k(wanted) JOIN catalog_products p ON p.id = k.wanted
CROSS JOIN LATERAL (
  SELECT array_agg(l.id ORDER BY l.id) AS listing_ids, (array_agg(l.title ORDER BY l.id))[1:4] AS titles,
    (array_agg(l.pack ORDER BY l.id))[1] AS pack, array_agg(DISTINCT f.vendor_id) AS vendors
  FROM catalog_listings l JOIN catalog_feeds f ON f.connection_id = l.connection_id AND f.role = 'supply'
  WHERE l.product_id = p.id AND l.active) o
WHERE o.listing_ids IS NOT NULL
"""


async def products_as_offered(ids: Iterable[int]) -> list[asyncpg.Record]:
    """What these products and the listings on sale say; products that nobody sells are left out."""
    return await read(_PRODUCT, integers(sorted(set(ids))))


async def sample_of_products(count: int) -> list[asyncpg.Record]:
    """About `count` goods, always the same ones as long as the catalogue does not grow past twice its size."""
    step = 1
    total = int((await read("SELECT count(*) AS n FROM catalog_products WHERE listed AND kind = 'goods'"))[0]["n"])
    while total > count * step:
        step *= 2
    return await read(
        """
        SELECT p.title, p.title_en, p.brand, p.category, o.vendors
        FROM catalog_products p CROSS JOIN LATERAL (
          SELECT array_agg(DISTINCT f.vendor_id) AS vendors FROM catalog_listings l
          JOIN catalog_feeds f ON f.connection_id = l.connection_id AND f.role = 'supply'
          WHERE l.product_id = p.id AND l.active) o
        WHERE p.listed AND p.kind = 'goods' AND p.id % $1 = 0 LIMIT $2
        """,
        step,
        count,
    )


async def tidy_words(tx: Tx) -> None:
    """Sort what pulls have just written into the index of words: until then every look-up reads through all of it,
    which takes ten times longer than the rest. (Autovacuum does the same, some time later.)"""
    await tx.fetchval("SELECT gin_clean_pending_list('ix_catalog_products_search')")


async def products_by_words(asked: Sequence[tuple[int, str, str, float, bool]], total: float) -> list[asyncpg.Record]:
    """(product, candidate) for each of (product, its mode, a query, what it weighs, whether it is looked up): the goods
    on sale that share most with the product, and those of each word that do. A word that turns out to be commoner than
    its weight says weighs less; `total` is the number of products."""
    products, modes, queries, weights, looked_up = zip(*asked, strict=True) if asked else ((), (), (), (), ())
    return await read(
        f"""
        WITH asked AS MATERIALIZED (
          SELECT product, mode, query::tsquery AS query, weight, looked_up, row_number() OVER () AS n
          FROM unnest($1::bigint[], $2::text[], $3::text[], $4::float8[], $5::boolean[])
            AS k(product, mode, query, weight, looked_up)),
        found AS MATERIALIZED (
          SELECT k.product, k.n, c.id FROM asked k CROSS JOIN LATERAL (
            SELECT p.id FROM catalog_products p WHERE p.search @@ k.query AND p.listed AND p.kind = 'goods'
              AND p.mode = k.mode AND p.id <> k.product LIMIT {HITS}) c
          WHERE k.looked_up),
        said AS MATERIALIZED (SELECT n, ln(($6 + 1) / (count(*) + 1)) AS weight FROM found GROUP BY 1),
        weighed AS MATERIALIZED (
          SELECT a.product, a.query, least(a.weight, s.weight) AS weight
          FROM asked a LEFT JOIN said s ON s.n = a.n WHERE a.weight > 0),
        rough AS MATERIALIZED (
          SELECT f.product, f.id, sum(s.weight) AS weight FROM found f JOIN said s ON s.n = f.n GROUP BY 1, 2),
        hits AS MATERIALIZED (
          SELECT DISTINCT product, id FROM (
            SELECT f.product, f.id, row_number() OVER (PARTITION BY f.n ORDER BY r.weight DESC, f.id) AS rank
            FROM found f JOIN rough r ON r.product = f.product AND r.id = f.id) x
          WHERE rank <= {WEIGHED}),
        scored AS MATERIALIZED (
          SELECT h.product, h.id, coalesce(sum(w.weight), 0) AS weight
          FROM hits h JOIN catalog_products p ON p.id = h.id
          LEFT JOIN weighed w ON w.product = h.product AND p.search @@ w.query GROUP BY 1, 2)
        SELECT product, id FROM (
          SELECT product, id, row_number() OVER (PARTITION BY product ORDER BY weight DESC, id) AS rank FROM scored) x
        WHERE rank <= {BEST}
        UNION
        SELECT product, id FROM (
          SELECT f.product, f.id, row_number() OVER (PARTITION BY f.n ORDER BY s.weight DESC, f.id) AS rank
          FROM found f JOIN scored s ON s.product = f.product AND s.id = f.id) x
        WHERE rank <= {OF_EACH}
        """,  # noqa: S608 - constants
        list(products), list(modes), list(queries), list(weights), list(looked_up), total,
    )  # fmt: skip


_TOLD = """
SELECT m.id, m.status, m.by_hand, l.product_id AS one, r.product_id AS other
FROM (
  SELECT m.* FROM catalog_listings l JOIN catalog_matches m ON m.left_id = l.id WHERE l.product_id = ANY($1::bigint[])
  UNION
  SELECT m.* FROM catalog_listings l JOIN catalog_matches m ON m.right_id = l.id WHERE l.product_id = ANY($1::bigint[])
) m JOIN catalog_listings l ON l.id = m.left_id JOIN catalog_listings r ON r.id = m.right_id
WHERE (m.status = 'different' OR m.by_hand > 0) AND l.product_id <> r.product_id ORDER BY m.id
"""


async def told_of(product_ids: Iterable[int]) -> list[asyncpg.Record]:
    """What people have said about these products and others: (id, status, by_hand, one product, the other)."""
    return await read(_TOLD, sorted(set(product_ids)))


async def told_of_in(tx: Tx, product_ids: Iterable[int]) -> list[asyncpg.Record]:
    """The same as this transaction sees it."""
    return await tx.fetch(_TOLD, sorted(set(product_ids)))


async def put_matches(tx: Tx, rows: Sequence[Sequence[Any]]) -> list[asyncpg.Record]:
    """Note pairs (left, right, status, score, reasons, left words, right words, regrouping); returns (id, left, right)
    of those written. A pair that a person has decided is left as it is; an undone one takes the new figures and stays
    open."""
    if not rows:
        return []
    once = {(row[0], row[1]): row for row in sorted(rows, key=lambda row: (row[2] == "open", row[3]))}  # seen from both
    columns = list(zip(*(once[pair] for pair in sorted(once)), strict=True))
    columns[4] = tuple(json.dumps(reasons, ensure_ascii=False) for reasons in columns[4])
    return await tx.fetch(
        """
        INSERT INTO catalog_matches AS m (left_id, right_id, status, score, reasons, left_words, right_words,
          regrouping_id, created_at, changed_at)
        SELECT a, b, status, score, reasons::jsonb, wa, wb, regrouping, $9::timestamptz, $9
        FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::numeric[], $5::text[], $6::bytea[], $7::bytea[],
          $8::bigint[]) AS n(a, b, status, score, reasons, wa, wb, regrouping)
        ON CONFLICT (left_id, right_id) DO UPDATE SET
          status = CASE WHEN m.by_hand > 0 THEN m.status ELSE excluded.status END, score = excluded.score,
          reasons = excluded.reasons, left_words = excluded.left_words, right_words = excluded.right_words,
          regrouping_id = excluded.regrouping_id, version = m.version + 1, changed_at = excluded.changed_at
        WHERE m.status IN ('open', 'refused') AND (m.by_hand = 0 OR excluded.status = 'open') AND
          (m.status, m.score, m.reasons, m.left_words, m.right_words) IS DISTINCT FROM
          (excluded.status, excluded.score, excluded.reasons, excluded.left_words, excluded.right_words)
        RETURNING m.id, m.left_id, m.right_id
        """,
        *(list(column) for column in columns),
        tx.now,
    )  # fmt: skip


_MATCH = """
SELECT id, left_id, right_id, status, score, reasons, left_words, right_words, version, by_hand, regrouping_id,
  created_at, changed_at, decided_by, why FROM catalog_matches
"""


async def lock_match(tx: Tx, match_id: int) -> asyncpg.Record | None:
    """One pair, held until the transaction ends: whoever decides about it comes after."""
    return await tx.fetchrow(f"{_MATCH} WHERE id = $1 FOR UPDATE", match_id)


async def match_rows(tx: Tx, status: str, vendor_id: int | None, after: int, limit: int) -> list[asyncpg.Record]:
    """Pairs of a status, oldest first; open ones only while both sides are on sale and apart or in doubt."""
    return await tx.fetch(
        f"""
        SELECT m.* FROM ({_MATCH} WHERE status = $1 AND id > $3) m
        JOIN catalog_listings l ON l.id = m.left_id JOIN catalog_listings r ON r.id = m.right_id
        WHERE ($1 <> 'open' OR (l.active AND r.active))
          AND ($2::bigint IS NULL OR EXISTS (SELECT 1 FROM catalog_feeds f WHERE f.vendor_id = $2
            AND f.connection_id IN (l.connection_id, r.connection_id)))
        ORDER BY m.id LIMIT $4
        """,  # noqa: S608 - constant text
        status, vendor_id, after, limit,
    )  # fmt: skip


async def match_row(tx: Tx, match_id: int) -> asyncpg.Record | None:
    return await tx.fetchrow(f"{_MATCH} WHERE id = $1", match_id)


async def match_counts(tx: Tx) -> dict[str, int]:
    """How many pairs there are of each status."""
    return {row[0]: row[1] for row in await tx.fetch("SELECT status, count(*) FROM catalog_matches GROUP BY 1")}


async def joined_pairs(tx: Tx, listing_ids: Sequence[int]) -> list[asyncpg.Record]:
    """The pairs of these listings that stand together: by the matcher or by a person."""
    return await tx.fetch(
        f"{_MATCH} WHERE (left_id = ANY($1::bigint[]) OR right_id = ANY($1::bigint[])) "
        "AND status IN ('matched', 'same') ORDER BY id FOR UPDATE",
        listing_ids,
    )


async def decide_match(
    tx: Tx, match_id: int, status: str, who: str | None, why: str | None, regrouping_id: int | None, by_hand: bool
) -> None:
    """Write down what was decided. `by_hand`: a person did; the matcher leaves such a pair alone from now on."""
    await tx.run(
        """
        UPDATE catalog_matches SET status = $2, decided_by = $3, why = $4, regrouping_id = $5,
          by_hand = by_hand + $6::int, version = version + 1, changed_at = $7 WHERE id = $1
        """,
        match_id, status, who, why, regrouping_id, int(by_hand), tx.now,
    )  # fmt: skip


async def rejudge_match(
    tx: Tx, match_id: int, status: str, reasons: Mapping[str, Any], left_words: bytes, right_words: bytes
) -> None:
    """A pair whose sides say something else now."""
    await tx.run(
        """
        UPDATE catalog_matches SET status = $2, reasons = $3::text::jsonb, left_words = $4, right_words = $5,
          version = version + 1, changed_at = $6 WHERE id = $1
        """,
        match_id, status, json.dumps(reasons, ensure_ascii=False), left_words, right_words, tx.now,
    )  # fmt: skip


async def matches_of_regrouping(tx: Tx, regrouping_id: int) -> list[int]:
    rows = await tx.fetch(
        "SELECT id FROM catalog_matches WHERE regrouping_id = $1 ORDER BY id FOR UPDATE", regrouping_id
    )
    return [row[0] for row in rows]


async def common_lexemes() -> tuple[float, list[str], list[float]]:
    """About how many products there are, the lexemes that are common among them, and the share that holds each, by the
    last ANALYZE; empty before the first."""
    [row] = await read(
        "SELECT greatest(c.reltuples, 0)::float8 AS products, s.most_common_elems::text::text[] AS lexemes, "
        "s.most_common_elem_freqs AS shares FROM pg_class c LEFT JOIN pg_stats s "
        "ON s.schemaname = c.relnamespace::regnamespace::text AND s.tablename = c.relname AND s.attname = 'search' "
        "WHERE c.oid = 'catalog_products'::regclass"
    )
    return row["products"], row["lexemes"] or [], list(row["shares"] or [])
