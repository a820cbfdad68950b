"""SQL of the bulk path: one stage a transaction, loaded by COPY with the rows that differ, from which products and
listings are written set by set. Inserts go in the order of their unique keys, so that two vendors that bring the same
new products meet without a deadlock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from hub.kernel.db import Tx, read
from hub.kernel.errors import Retry

# What the driver or the server raises for data that a column cannot hold: no retry will help.
CANNOT_HOLD = (
    ValueError,
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)

_TEXTS = "kind, mode, title, title_en, brand, model, category, city, department, image_url, description, attributes"
STAGE_COLUMNS = (
    "vendor_sku", "title", "title_en", "brand", "model", "gtin", "kind", "mode", "category", "price", "currency",
    "shipping", "coupon", "pack", "city", "department", "image_url", "url", "description", "active",
    "attributes", "digest", "product_id", "fresh", "product_gtin", "product_brand_model", "sellable", "tokens",
)  # fmt: skip

_STAGE = """
CREATE TEMP TABLE IF NOT EXISTS catalog_stage (
  vendor_sku text, title text, title_en text, brand text, model text, gtin text, kind text, mode text, category text,
  price numeric, currency text, shipping numeric, coupon numeric, pack text, city text, department text,
  image_url text, url text, description text, active boolean, attributes text, digest bytea, product_id bigint,
  fresh boolean, product_gtin text, product_brand_model text, sellable boolean, tokens text) ON COMMIT DROP;
TRUNCATE catalog_stage
"""

_KNOWN = """
SELECT l.id, l.product_id, l.digest = g.digest AND l.active = g.active AS same
FROM unnest($2::text[], $3::bytea[], $4::boolean[]) WITH ORDINALITY AS g(sku, digest, active, n)
LEFT JOIN catalog_listings l ON l.connection_id = $1 AND l.vendor_sku = g.sku
ORDER BY g.n
"""


async def known_listings(
    tx: Tx, connection_id: int, skus: Sequence[str], digests: Sequence[bytes], actives: Sequence[bool]
) -> list[asyncpg.Record]:
    """For each SKU in order: its id and product_id (None when new) and whether its content is the same."""
    return await tx.fetch(_KNOWN, connection_id, skus, digests, actives)


async def active_digests(connection_id: int, skus: Sequence[str]) -> list[asyncpg.Record]:
    """(vendor_sku, id, digest) of the active ones among these listings; read outside any transaction."""
    return await read(
        "SELECT vendor_sku, id, digest FROM catalog_listings "
        "WHERE connection_id = $1 AND vendor_sku = ANY($2::text[]) AND active",
        connection_id,
        skus,
    )


async def listing_ids(tx: Tx, connection_id: int, skus: Iterable[str]) -> dict[str, int]:
    rows = await tx.fetch(
        "SELECT vendor_sku, id FROM catalog_listings WHERE connection_id = $1 AND vendor_sku = ANY($2::text[])",
        connection_id,
        list(skus),
    )
    return {row[0]: row[1] for row in rows}


async def vendor_listing_ids(tx: Tx, vendor_id: int, skus: Iterable[str]) -> dict[str, int]:
    """The listings of one vendor, over all its own supply connections; on sale before off sale, then the oldest."""
    rows = await tx.fetch(
        """
        SELECT DISTINCT ON (l.vendor_sku) l.vendor_sku, l.id
        FROM catalog_feeds f JOIN catalog_listings l ON l.connection_id = f.connection_id
        WHERE f.vendor_id = $1 AND f.role = 'supply' AND l.vendor_sku = ANY($2::text[])
        ORDER BY l.vendor_sku, l.active DESC, l.id
        """,
        vendor_id,
        list(skus),
    )
    return {row[0]: row[1] for row in rows}


async def find_products(
    tx: Tx, gtins: Iterable[str], brand_models: Iterable[str], ids: Iterable[int]
) -> list[asyncpg.Record]:
    """(id, gtin, brand_model) of products that carry one of the keys or ids; a product may come twice."""
    return await tx.fetch(
        """
        SELECT id, gtin, brand_model FROM catalog_products WHERE gtin = ANY($1::text[])
        UNION ALL SELECT id, gtin, brand_model FROM catalog_products WHERE brand_model = ANY($2::text[])
        UNION ALL SELECT id, gtin, brand_model FROM catalog_products WHERE id = ANY($3::bigint[])
        """,
        list(gtins),
        list(brand_models),
        list(ids),
    )


async def product_numbers(tx: Tx, count: int) -> list[int]:
    """Fresh product ids."""
    rows = await tx.fetch(
        "SELECT nextval(pg_get_serial_sequence('catalog_products', 'id')) FROM generate_series(1, $1)", count
    )
    return [row[0] for row in rows]


async def stage(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> None:
    """Load rows (in the order of STAGE_COLUMNS) into this transaction's stage."""
    await tx.run(_STAGE)
    await tx.copy("catalog_stage", STAGE_COLUMNS, rows)


async def insert_staged_products(tx: Tx, expected: int) -> None:
    """Make the products of `fresh` staged rows. Raises Retry when another transaction made one of them first: a
    second try finds and joins it."""
    made = await tx.run(
        f"""
        INSERT INTO catalog_products (id, gtin, brand_model, {_TEXTS}, price, currency, listed, sellable, search,
          created_at, updated_at) OVERRIDING SYSTEM VALUE
        SELECT product_id, product_gtin, product_brand_model, kind, mode, title, title_en, brand, model, category, city,
          department, image_url, description, attributes::jsonb, price, currency, active, sellable,
          tokens::tsvector, $1, $1
        FROM catalog_stage WHERE fresh ORDER BY product_gtin, product_brand_model, product_id
        ON CONFLICT DO NOTHING
        """,  # noqa: S608
        tx.now,
    )
    if made != expected:
        raise Retry("another vendor brought the same product at this moment; try again", code="raced", after=0.05)


async def upsert_staged_listings(tx: Tx, connection_id: int) -> list[asyncpg.Record]:
    """Write the staged listings that differ; returns (id, vendor_sku, created) of those written."""
    columns = (
        "vendor_sku, title, title_en, brand, model, gtin, kind, mode, category, price, currency, shipping, coupon, "
        "pack, city, department, image_url, url, description, active, digest, product_id"
    )
    sets = ", ".join(f"{c} = excluded.{c}" for c in columns.split(", ")[1:])
    return await tx.fetch(
        f"""
        INSERT INTO catalog_listings AS l (connection_id, {columns}, attributes, created_at, updated_at)
        SELECT $1, {columns}, attributes::jsonb, $2, $2 FROM catalog_stage ORDER BY vendor_sku
        ON CONFLICT (connection_id, vendor_sku) DO UPDATE
          SET {sets}, attributes = excluded.attributes, updated_at = excluded.updated_at
          WHERE (l.digest, l.active, l.product_id) IS DISTINCT FROM
                (excluded.digest, excluded.active, excluded.product_id)
        RETURNING id, vendor_sku, xmax = 0 AS created
        """,  # noqa: S608
        connection_id,
        tx.now,
    )


async def retitle_products(tx: Tx, connection_id: int) -> None:
    """Products follow the words of their oldest active listing, where the stage has just changed it."""
    sets = ", ".join(f"{c.strip()} = s.{c.strip()}" for c in _TEXTS.split(",")[:-1])
    new = ", ".join(f"s.{c.strip()}" for c in _TEXTS.split(",")[:-1])
    old = ", ".join(f"p.{c.strip()}" for c in _TEXTS.split(",")[:-1])
    await tx.run(
        f"""
        UPDATE catalog_products p
        SET {sets}, attributes = s.attributes::jsonb, search = s.tokens::tsvector, updated_at = $2
        FROM catalog_stage s JOIN catalog_listings l ON l.connection_id = $1 AND l.vendor_sku = s.vendor_sku
        WHERE NOT s.fresh AND p.id = l.product_id AND l.active
          AND l.id = (SELECT min(x.id) FROM catalog_listings x WHERE x.product_id = p.id AND x.active)
          AND ({new}, s.attributes::jsonb) IS DISTINCT FROM ({old}, p.attributes)
        """,  # noqa: S608
        connection_id,
        tx.now,
    )


async def adopt_keys(tx: Tx, products: Sequence[tuple[int, str | None, str | None]]) -> None:
    """Give products the keys (gtin, brand_model) that a listing of theirs brought and they did not have. Raises
    Retry when another transaction gave the same key to another product first."""
    ids, gtins, brand_models = zip(*products, strict=True)
    try:
        await tx.run(
            """
            UPDATE catalog_products p SET gtin = coalesce(p.gtin, a.gtin), brand_model = coalesce(p.brand_model, a.bm)
            FROM unnest($1::bigint[], $2::text[], $3::text[]) AS a(id, gtin, bm) WHERE p.id = a.id
            """,
            ids,
            gtins,
            brand_models,
        )
    except asyncpg.UniqueViolationError as error:
        raise Retry(
            "another vendor brought the same product at this moment; try again", code="raced", after=0.05
        ) from error


async def put_slots(
    tx: Tx, rows: Sequence[tuple[int, str, str | None, datetime, datetime, str | None, str | None]]
) -> int:
    """Write bookable times (listing_id, slot_ref, version, start, end, city, department) that differ; returns how
    many did. Each (listing, slot) may come once."""
    if not rows:
        return 0
    return await tx.run(
        """
        INSERT INTO catalog_slots AS s (listing_id, slot_ref, version, start_at, end_at, city, department)
        SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::text[],
          $7::text[]) ORDER BY 1, 2
        ON CONFLICT (listing_id, slot_ref) DO UPDATE SET version = excluded.version, start_at = excluded.start_at,
          end_at = excluded.end_at, city = excluded.city, department = excluded.department
        WHERE (s.version, s.start_at, s.end_at, s.city, s.department) IS DISTINCT FROM
          (excluded.version, excluded.start_at, excluded.end_at, excluded.city, excluded.department)
        """,
        *(list(column) for column in zip(*rows, strict=True)),
    )
