"""SQL of the bulk path: one stage a transaction, loaded by COPY with the rows that differ, from which products and
listings are written set by set. Inserts go in the order of their unique keys, so that two vendors that bring the same
new products meet without a deadlock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from catalog.store.literals import integers, texts
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
PRODUCT_COLUMNS = ("product_id", "fresh", "product_gtin", "product_brand_model")  # of a staged row, by matching

_STAGE = """
CREATE TEMP TABLE IF NOT EXISTS catalog_stage (
  vendor_sku text, title text, title_en text, brand text, model text, gtin text, kind text, mode text, category text,
  currency text, pack text, city text, department text, image_url text, url text, description text, active boolean,
  external_id text, family_id text,
  price text, shipping text, coupon text, attributes text, digest bytea, product_id bigint,
  fresh boolean, product_gtin text, product_brand_model text, sellable boolean, tokens text) ON COMMIT DROP;
TRUNCATE catalog_stage
"""

# Amounts are staged as text: the driver takes longer to encode a numeric than the server to read one.
_STAGED = (
    "vendor_sku, title, title_en, brand, model, gtin, kind, mode, category, currency, pack, city, department, "
    "image_url, url, description, active, external_id, family_id, digest, product_id"
)
_LISTED = f"connection_id, {_STAGED}, price, shipping, coupon, attributes, created_at, updated_at"
_FROM_STAGE = (
    f"SELECT $1, {_STAGED}, price::numeric, shipping::numeric, coupon::numeric, attributes::jsonb, $2::timestamptz, "  # noqa: S608
    "$2 FROM catalog_stage ORDER BY vendor_sku"
)


async def known_listings(tx: Tx, connection_id: int, skus: Sequence[str]) -> list[asyncpg.Record]:
    """(vendor_sku, id, product_id, digest, active, by_hand) of those of these SKUs that are listed."""
    return await tx.fetch(
        "SELECT l.vendor_sku, l.id, l.product_id, l.digest, l.active, l.by_hand "
        "FROM unnest($2::text::text[]) AS k(vendor_sku) "
        "JOIN catalog_listings l ON l.connection_id = $1 AND l.vendor_sku = k.vendor_sku",
        connection_id,
        texts(skus),
    )


async def active_digests(connection_id: int, skus: Sequence[str]) -> list[asyncpg.Record]:
    """(vendor_sku, id, digest) of the active ones among these listings; read outside any transaction."""
    return await read(
        # A join would be planned for good while the first pull finds an empty table, and then read all of it each time.
        "SELECT vendor_sku, id, digest FROM catalog_listings "
        "WHERE connection_id = $1 AND vendor_sku = ANY($2::text::text[]) AND active",
        connection_id,
        texts(skus),
    )


async def listing_ids(tx: Tx, connection_id: int, skus: Iterable[str]) -> dict[str, int]:
    rows = await tx.fetch(
        "SELECT l.vendor_sku, l.id FROM unnest($2::text::text[]) AS k(vendor_sku) "
        "JOIN catalog_listings l ON l.connection_id = $1 AND l.vendor_sku = k.vendor_sku",
        connection_id,
        texts(list(skus)),
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


async def vendors_listing_ids(tx: Tx, keys: Sequence[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """The same for (vendor id, SKU) of several vendors."""
    vendors = [vendor_id for vendor_id, _ in keys]
    rows = await tx.fetch(
        """
        WITH theirs AS MATERIALIZED (
          SELECT connection_id, vendor_id FROM catalog_feeds WHERE role = 'supply' AND vendor_id = ANY($3::bigint[]))
        SELECT w.n::int, x.id FROM unnest($1::bigint[], $2::text::text[]) WITH ORDINALITY AS w(vendor_id, sku, n)
        CROSS JOIN LATERAL (
          SELECT l.id FROM theirs t
          JOIN catalog_listings l ON l.connection_id = t.connection_id AND l.vendor_sku = w.sku
          WHERE t.vendor_id = w.vendor_id ORDER BY l.active DESC, l.id LIMIT 1) x
        """,
        vendors,
        texts([sku for _, sku in keys]),
        sorted(set(vendors)),
    )
    return {keys[row[0] - 1]: row[1] for row in rows}


async def find_products(
    tx: Tx, gtins: Iterable[str], brand_models: Iterable[str], ids: Iterable[int]
) -> list[asyncpg.Record]:
    """(id, gtin, brand_model, old_id, old_gtin, old_brand_model) of products that carry one of the keys or ids, or took
    in one that does: the last three are that one's. A product may come twice."""
    return await tx.fetch(
        """
        WITH found AS (
          SELECT p.id, p.gtin, p.brand_model FROM unnest($1::text::text[]) AS k(gtin)
            JOIN catalog_products p USING (gtin)
          UNION ALL SELECT p.id, p.gtin, p.brand_model
            FROM unnest($2::text::text[]) AS k(brand_model) JOIN catalog_products p USING (brand_model)
          UNION ALL SELECT p.id, p.gtin, p.brand_model
            FROM unnest($3::text::bigint[]) AS k(id) JOIN catalog_products p USING (id))
        SELECT f.id, f.gtin, f.brand_model, NULL::bigint AS old_id, NULL::text AS old_gtin,
          NULL::text AS old_brand_model
        FROM found f WHERE NOT EXISTS (SELECT 1 FROM catalog_redirects r WHERE r.old_id = f.id)
        UNION ALL
        SELECT p.id, p.gtin, p.brand_model, f.id, f.gtin, f.brand_model
        FROM found f JOIN catalog_redirects r ON r.old_id = f.id JOIN catalog_products p ON p.id = r.new_id
        """,
        texts(list(gtins)),
        texts(list(brand_models)),
        integers(ids),
    )


async def places_of_vendor(tx: Tx, connection_id: int, product_ids: Iterable[int]) -> list[asyncpg.Record]:
    """(product_id, vendor_sku) of what the connection's vendor has on sale on these products, over all its
    connections."""
    return await tx.fetch(
        """
        SELECT l.product_id, l.vendor_sku FROM unnest($2::text::bigint[]) AS k(id)
        JOIN catalog_listings l ON l.product_id = k.id AND l.active
        JOIN catalog_feeds f ON f.connection_id = l.connection_id AND f.role = 'supply'
        WHERE f.vendor_id = (SELECT vendor_id FROM catalog_feeds WHERE connection_id = $1)
        """,
        connection_id,
        integers(product_ids),
    )


async def product_numbers(tx: Tx, count: int) -> list[int]:
    """Fresh product ids."""
    found: list[int] = await tx.fetchval(
        """
        SELECT array_agg(nextval(s.name)) FROM generate_series(1, $1),
          (SELECT pg_get_serial_sequence('catalog_products', 'id')::regclass AS name OFFSET 0) s
        """,
        count,
    )
    return found


async def stage(tx: Tx, content: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Load rows into this transaction's stage: the columns named in `content`, then those of PRODUCT_COLUMNS."""
    await tx.run(_STAGE)
    await tx.copy("catalog_stage", (*content, *PRODUCT_COLUMNS), rows)


async def insert_staged_products(tx: Tx, vendor_id: int) -> None:
    """Make the products of `fresh` staged rows, which this vendor sells. Raises Retry when another transaction made
    one of them first: a second try finds and joins it."""
    with _unrivalled():
        await tx.run(_MAKE_PRODUCTS, tx.now, [vendor_id])


_MAKE_PRODUCTS = f"""
INSERT INTO catalog_products (id, gtin, brand_model, {_TEXTS}, price, currency, listed, sellable, search,
  vendor_ids, created_at, updated_at) OVERRIDING SYSTEM VALUE
SELECT product_id, product_gtin, product_brand_model, kind, mode, title, title_en, brand, model, category, city,
  department, image_url, description, attributes::jsonb, price::numeric, currency, active, sellable,
  tokens::tsvector, CASE WHEN active THEN $2::bigint[] ELSE '{{}}' END, $1::timestamptz, $1
FROM catalog_stage WHERE fresh ORDER BY product_gtin, product_brand_model, product_id
"""  # noqa: S608


@contextlib.contextmanager
def _unrivalled() -> Iterator[None]:
    """A unique key that another transaction took first means: look again, it is there now. (A plain INSERT that fails
    is a third cheaper than one that is ready for a conflict, and there hardly ever is one.)"""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        raise Retry(
            "another transaction brought the same thing at this moment; try again", code="raced", after=0.05
        ) from error


async def insert_staged_listings(tx: Tx, connection_id: int) -> list[asyncpg.Record]:
    """Write the staged listings, none of which is there yet; returns (id, vendor_sku, product_id, created) of each.
    Raises Retry when a push brought one of them first."""
    with _unrivalled():
        return await tx.fetch(
            f"INSERT INTO catalog_listings ({_LISTED}) {_FROM_STAGE} RETURNING id, vendor_sku, product_id, "
            "true AS created",
            connection_id,
            tx.now,
        )


async def upsert_staged_listings(tx: Tx, connection_id: int) -> list[asyncpg.Record]:
    """Write the staged listings that differ; returns (id, vendor_sku, product_id, created) of those written. What a
    person put onto its product meanwhile stays there."""
    columns = [c for c in _LISTED.split(", ") if c not in ("connection_id", "vendor_sku", "created_at")]
    sets = ", ".join(f"{c} = excluded.{c}" for c in columns if c != "product_id")
    return await tx.fetch(
        f"""
        INSERT INTO catalog_listings AS l ({_LISTED}) {_FROM_STAGE}
        ON CONFLICT (connection_id, vendor_sku) DO UPDATE
          SET {sets}, product_id = CASE WHEN l.by_hand THEN l.product_id ELSE excluded.product_id END
          WHERE (l.digest, l.active, l.product_id) IS DISTINCT FROM
                (excluded.digest, excluded.active, excluded.product_id)
        RETURNING id, vendor_sku, product_id, xmax = 0 AS created
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
    with _unrivalled():
        await tx.run(
            """
            UPDATE catalog_products p SET gtin = coalesce(p.gtin, a.gtin), brand_model = coalesce(p.brand_model, a.bm)
            FROM unnest($1::bigint[], $2::text[], $3::text[]) AS a(id, gtin, bm) WHERE p.id = a.id
            """,
            ids,
            gtins,
            brand_models,
        )


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
