"""SQL about words: which ones the titles hold and how often, and cutting titles into words anew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from hub.kernel.db import Tx, read

_COUNTING = 7_301_944_020_331_002  # the advisory lock of whoever counts words


async def begin_counting(tx: Tx) -> bool:
    """Count the words of listed products into a table of this transaction; False when somebody else is at it. Words
    with digits are models and amounts, which nobody wants to see corrected, and a single character says nothing."""
    if not await tx.fetchval("SELECT pg_try_advisory_xact_lock($1)", _COUNTING):
        return False
    await tx.run("SET LOCAL statement_timeout = 0")
    await tx.run(
        "CREATE TEMP TABLE counted ON COMMIT DROP AS SELECT word, ndoc AS products "
        "FROM ts_stat('SELECT search FROM catalog_products WHERE listed') "
        "WHERE length(word) BETWEEN 2 AND 40 AND word !~ '[0-9''&+-]'"
    )
    return True


async def new_words(tx: Tx) -> list[str]:
    """Of the words counted, those that were not known."""
    rows = await tx.fetch("SELECT word FROM counted WHERE word NOT IN (SELECT word FROM catalog_words)")
    return [row[0] for row in rows]


async def put_counted(tx: Tx, words: Sequence[str], pinyin: Sequence[str | None]) -> int:
    """Make the known words those that were counted; `words` are the new ones. Returns how many there are."""
    await tx.run("DELETE FROM catalog_words w WHERE NOT EXISTS (SELECT 1 FROM counted c WHERE c.word = w.word)")
    await tx.run(
        "UPDATE catalog_words w SET products = c.products FROM counted c "
        "WHERE c.word = w.word AND c.products <> w.products"
    )
    await tx.run(
        "INSERT INTO catalog_words (word, products, pinyin) SELECT c.word, c.products, n.pinyin "
        "FROM unnest($1::text[], $2::text[]) n(word, pinyin) JOIN counted c USING (word)",
        words,
        pinyin,
    )
    return int(await tx.fetchval("SELECT count(*) FROM catalog_words"))


async def words_after(word: str, limit: int) -> list[asyncpg.Record]:
    """(word, products, pinyin) in the order of the words."""
    return await read(
        "SELECT word, products, pinyin FROM catalog_words WHERE word > $1 ORDER BY word LIMIT $2", word, limit
    )


async def upkeep(tx: Tx, work: str) -> asyncpg.Record | None:
    """(rules, next_id, began_at, done_at) of this work, kept from others until the end of the transaction."""
    return await tx.fetchrow(
        "SELECT rules, next_id, began_at, done_at FROM catalog_upkeep WHERE work = $1 FOR UPDATE", work
    )


async def put_upkeep(tx: Tx, work: str, rules: int, next_id: int, began_at: datetime, done_at: datetime | None) -> None:
    await tx.run(
        "INSERT INTO catalog_upkeep (work, rules, next_id, began_at, done_at) VALUES ($1, $2, $3, $4, $5) "
        "ON CONFLICT (work) DO UPDATE SET rules = $2, next_id = $3, began_at = $4, done_at = $5",
        work, rules, next_id, began_at, done_at,
    )  # fmt: skip


async def changed_since(tx: Tx, moment: datetime) -> bool:
    """Whether any product changed after that moment."""
    return bool(
        await tx.fetchval(
            "SELECT coalesce((SELECT at FROM catalog_changes ORDER BY id DESC LIMIT 1) >= $1, false)", moment
        )
    )


async def last_product(tx: Tx) -> int:
    """The highest product id; 0 when there is none."""
    return int(await tx.fetchval("SELECT coalesce(max(id), 0) FROM catalog_products"))


async def titles_from(tx: Tx, product_id: int, limit: int) -> list[asyncpg.Record]:
    """What the words of products are cut from, from this id on, locked against being changed meanwhile: id, title,
    title_en, brand, model, category, and the pack of the listing that the product takes its words from."""
    return await tx.fetch(
        """
        SELECT p.id, p.title, p.title_en, p.brand, p.model, p.category, (
          SELECT l.pack FROM catalog_listings l WHERE l.product_id = p.id ORDER BY l.active DESC, l.id LIMIT 1) AS pack
        FROM catalog_products p WHERE p.id >= $1 ORDER BY p.id LIMIT $2 FOR NO KEY UPDATE OF p
        """,
        product_id,
        limit,
    )


async def put_words(tx: Tx, ids: Sequence[int], words: Sequence[str]) -> int:
    """Give products these words, and note who sells them where nobody noted it; returns how many rows changed."""
    return await tx.run(
        """
        UPDATE catalog_products p SET search = n.words::tsvector, vendor_ids = coalesce(p.vendor_ids, ARRAY(
          SELECT DISTINCT f.vendor_id FROM catalog_listings l JOIN catalog_feeds f ON f.connection_id = l.connection_id
          WHERE l.product_id = p.id AND l.active AND f.live AND f.role = 'supply' ORDER BY 1))
        FROM unnest($1::bigint[], $2::text[]) n(id, words)
        WHERE p.id = n.id AND (p.search <> n.words::tsvector OR p.vendor_ids IS NULL)
        """,
        ids,
        words,
    )
