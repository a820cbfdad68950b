"""SQL of products that are put together and taken apart: listings that move, where old ids lead, and the history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg

from hub.kernel.db import Tx, read


async def lock_listings_of(tx: Tx, product_ids: Iterable[int]) -> list[asyncpg.Record]:
    """All listings of these products, on sale or not, held until the transaction ends."""
    return await tx.fetch(
        """
        SELECT l.id, l.product_id, l.connection_id, f.vendor_id, f.vendor_name, l.vendor_sku, l.gtin, l.brand, l.model,
          l.active, l.by_hand
        FROM catalog_listings l JOIN catalog_feeds f ON f.connection_id = l.connection_id
        WHERE l.product_id = ANY($1::bigint[]) ORDER BY l.id FOR NO KEY UPDATE OF l
        """,
        sorted(set(product_ids)),
    )


async def product_kinds(tx: Tx, ids: Iterable[int]) -> dict[int, asyncpg.Record]:
    """(id, kind, mode, city, gtin, brand_model) of these products."""
    rows = await tx.fetch(
        "SELECT id, kind, mode, city, gtin, brand_model FROM catalog_products WHERE id = ANY($1::bigint[])",
        sorted(set(ids)),
    )
    return {row["id"]: row for row in rows}


_LEADS = "SELECT old_id, new_id FROM catalog_redirects WHERE old_id = ANY($1::bigint[])"


async def redirects_from(tx: Tx, ids: Iterable[int]) -> dict[int, int]:
    """old id -> the product that it went into, for those that did."""
    return {row[0]: row[1] for row in await tx.fetch(_LEADS, sorted(set(ids)))}


async def moved_ids(ids: Iterable[int]) -> dict[int, int]:
    """The same for reading paths, outside any transaction."""
    return {row[0]: row[1] for row in await read(_LEADS, sorted(set(ids)))}


async def lead_on(tx: Tx, old_id: int, new_id: int) -> list[int]:
    """From now on `old_id` leads to `new_id`, and so does whatever led to it; returns those older ids."""
    rows = await tx.fetch(
        "UPDATE catalog_redirects SET new_id = $2 WHERE new_id = $1 AND old_id <> $2 RETURNING old_id", old_id, new_id
    )
    await tx.run("DELETE FROM catalog_redirects WHERE old_id = $1", new_id)
    await tx.run(
        "INSERT INTO catalog_redirects (old_id, new_id) VALUES ($1, $2) ON CONFLICT (old_id) DO UPDATE SET new_id = $2",
        old_id, new_id,
    )  # fmt: skip
    return sorted(row[0] for row in rows)


async def lead_back(tx: Tx, old_id: int, now_id: int, older: Sequence[int]) -> None:
    """`old_id` is a product of its own again, and the older ids that came with it lead to it once more."""
    await tx.run("DELETE FROM catalog_redirects WHERE old_id = $1", old_id)
    await tx.run(
        "UPDATE catalog_redirects SET new_id = $1 WHERE old_id = ANY($3::bigint[]) AND new_id = $2",
        old_id, now_id, list(older),
    )  # fmt: skip


async def move_listings(tx: Tx, moves: Sequence[tuple[int, int, bool]]) -> None:
    """Put listings onto products: (listing, product, whether a person chose it)."""
    ids, products, by_hand = zip(*sorted(moves), strict=True) if moves else ((), (), ())
    await tx.run(
        """
        UPDATE catalog_listings l SET product_id = m.product_id, by_hand = m.by_hand, updated_at = $4
        FROM unnest($1::bigint[], $2::bigint[], $3::boolean[]) AS m(id, product_id, by_hand) WHERE l.id = m.id
        """,
        list(ids), list(products), list(by_hand), tx.now,
    )  # fmt: skip


async def stragglers(tx: Tx, listing_ids: Sequence[int]) -> list[asyncpg.Record]:
    """(listing, its product, where that one went) of listings that were written while their product went elsewhere."""
    return await tx.fetch(
        """
        SELECT l.id, l.product_id, r.new_id FROM catalog_listings l JOIN catalog_redirects r ON r.old_id = l.product_id
        WHERE l.id = ANY($1::bigint[]) ORDER BY l.id FOR NO KEY UPDATE OF l
        """,
        listing_ids,
    )


_WORDS = "kind, mode, title, title_en, brand, model, category, city, department, image_url, description"


async def first_listings(tx: Tx, product_ids: Iterable[int]) -> list[asyncpg.Record]:
    """The oldest listing on sale of each product, whose words the product follows."""
    return await tx.fetch(
        """
        SELECT DISTINCT ON (product_id) id, product_id, pack, title, title_en, brand, model, category
        FROM catalog_listings WHERE product_id = ANY($1::bigint[]) AND active ORDER BY product_id, id
        """,
        sorted(set(product_ids)),
    )


async def follow_listings(tx: Tx, rows: Sequence[tuple[int, int, str]]) -> None:
    """Give products the words of a listing: (product, listing, its words for the search)."""
    sets = ", ".join(f"{c.strip()} = l.{c.strip()}" for c in _WORDS.split(","))
    new = ", ".join(f"l.{c.strip()}" for c in _WORDS.split(","))
    old = ", ".join(f"p.{c.strip()}" for c in _WORDS.split(","))
    await tx.run_many(
        f"""
        UPDATE catalog_products p SET {sets}, attributes = l.attributes, search = $3::text::tsvector, updated_at = $4
        FROM catalog_listings l WHERE p.id = $1 AND l.id = $2
          AND ({new}, l.attributes) IS DISTINCT FROM ({old}, p.attributes)
        """,  # noqa: S608 - constant text
        [(*row, tx.now) for row in rows],
    )


async def make_product(tx: Tx, listing_id: int, tokens: str) -> int:
    """A product without keys, with the words of a listing."""
    return int(
        await tx.fetchval(
            f"""
            INSERT INTO catalog_products ({_WORDS}, attributes, price, currency, listed, sellable, search, created_at,
              updated_at)
            SELECT {_WORDS}, attributes, price, currency, active, false, $2::text::tsvector, $3::timestamptz, $3
            FROM catalog_listings WHERE id = $1 RETURNING id
            """,  # noqa: S608 - constant text
            listing_id, tokens, tx.now,
        )
    )  # fmt: skip


async def add_regrouping(tx: Tx, row: Mapping[str, Any]) -> int:
    """Write history; returns its id."""
    return int(
        await tx.fetchval(
            """
            INSERT INTO catalog_regroupings (kind, from_id, into_id, listing_ids, pinned_ids, redirected, actor, why,
              at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id
            """,
            row["kind"], row["from_id"], row["into_id"], row["listing_ids"], row["pinned_ids"], row["redirected"],
            row["actor"], row["why"], tx.now,
        )
    )  # fmt: skip


_REGROUPING = """
SELECT id, kind, from_id, into_id, listing_ids, pinned_ids, redirected, actor, why, at, undone_at, undone_by, undone_why
FROM catalog_regroupings
"""


async def lock_regrouping(tx: Tx, regrouping_id: int) -> asyncpg.Record | None:
    return await tx.fetchrow(f"{_REGROUPING} WHERE id = $1 FOR UPDATE", regrouping_id)


async def regrouping_rows(tx: Tx, product_id: int | None, before: int, limit: int) -> list[asyncpg.Record]:
    """History, newest first, of one product or of all."""
    return await tx.fetch(
        f"{_REGROUPING} WHERE ($1::bigint IS NULL OR from_id = $1 OR into_id = $1) AND id < $2 "
        "ORDER BY id DESC LIMIT $3",
        product_id, before, limit,
    )  # fmt: skip


async def close_regrouping(tx: Tx, regrouping_id: int, who: str, why: str) -> None:
    await tx.run(
        "UPDATE catalog_regroupings SET undone_at = $2, undone_by = $3, undone_why = $4 WHERE id = $1",
        regrouping_id, tx.now, who, why,
    )  # fmt: skip
