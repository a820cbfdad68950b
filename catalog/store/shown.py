"""SQL that shows products: offers with what is left of them, written as JSON text by PostgreSQL itself, because taking
rows apart and putting them together again would cost more than finding them. Statements here are read-only, run
outside any transaction, take the time as $1 and the listings that the reader does not buy as $2. Two things hold
everywhere: an offer counts only while its feed is live, and stock older than twice its feed's promise counts as out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg

from catalog.store.assortments import Args, offers_sql, products_sql
from hub.kernel.db import Tx, read

if TYPE_CHECKING:
    from catalog.assortments import Assortment

SLOTS_COUNTED = 100  # free slots of a service are counted up to this many
DELIVERY_PROMISE_H = 72

_USABLE = (
    "NOT s.frozen AND greatest(s.reported_at, f.complete_at) >= $1::timestamptz - f.promise_s * interval '2 seconds'"
)
_LEFT = "s.on_hand - s.reserved - s.buffer"
_HAS_SLOTS = "EXISTS (SELECT 1 FROM catalog_slots t WHERE t.listing_id = l.id)"
_FREE_SLOT = f"{_USABLE} AND (s.on_hand IS NULL AND s.level <> 'out' OR {_LEFT} > 0)"
# The shelf row of slot `t`. LIMIT keeps the planner from reading all rows of the listing for each of its slots.
_ITS_ROW = """CROSS JOIN LATERAL (
  SELECT * FROM catalog_stock s WHERE s.listing_id = t.listing_id AND s.location = t.slot_ref LIMIT 1) s"""
_PRODUCT = "JOIN catalog_products p ON p.id = l.product_id"
_LIVE = "JOIN catalog_feeds f ON f.connection_id = l.connection_id AND f.live AND f.role = 'supply'"
# What a listing `l` of feed `f` has, summed over its rows `s` of the shelf: units (NULL when only levels are known),
# level (2, 1 or 0), and the latest word of it.
_COUNTED = f"""
sum(CASE WHEN s.on_hand IS NULL THEN NULL WHEN {_USABLE} THEN greatest({_LEFT}, 0) ELSE 0 END) AS available,
max(CASE WHEN NOT ({_USABLE}) OR {_LEFT} <= 0 THEN 0 WHEN s.level = 'in_stock' THEN 2 WHEN s.level = 'limited' THEN 1
         WHEN {_LEFT} > 0 THEN 2 ELSE 0 END) AS level,
max(greatest(s.reported_at, f.complete_at)) AS at"""
_FREE = f"""
SELECT count(*) AS available, CASE WHEN count(*) > 0 THEN 2 ELSE 0 END AS level, max(z.at) AS at FROM (
  SELECT greatest(s.reported_at, f.complete_at) AS at FROM catalog_slots t {_ITS_ROW}
  WHERE t.listing_id = l.id AND t.start_at > $1::timestamptz AND {_FREE_SLOT}
  LIMIT {SLOTS_COUNTED}) z"""  # noqa: S608 - constant text
# A service has what its free slots say, or its shelf as long as it has no slots at all.
_SHELF = f"""
SELECT {_COUNTED} FROM catalog_stock s WHERE s.listing_id = l.id
HAVING CASE WHEN l.mode = 'appointment' THEN NOT {_HAS_SLOTS} ELSE true END
UNION ALL
SELECT * FROM ({_FREE}) y WHERE CASE WHEN l.mode = 'appointment' THEN {_HAS_SLOTS} ELSE false END
"""  # noqa: S608 - constant text


def offers_among(products: str, columns: str, sold: str = "") -> str:
    """SQL for the offers of the products whose ids the relation `products` holds, without the listings in $2: one row
    each with `columns` (SQL over l and f), product_id, available, level and at. All of them are read in one go, since
    starting anew for every product costs more than the rows. Services look into their slots. `sold` is a condition
    over the product p and the feed f (see store/assortments.py)."""
    mine = f"FROM {products} w(id) JOIN catalog_listings l ON l.product_id = w.id {_LIVE}"
    listed = "l.active AND l.id <> ALL($2::bigint[])"
    if sold:
        mine += f" {_PRODUCT}"
        listed += f" AND {sold}"
    return f"""
  SELECT l.product_id, {columns}, {_COUNTED} {mine} LEFT JOIN catalog_stock s ON s.listing_id = l.id
  WHERE l.mode <> 'appointment' AND {listed} GROUP BY l.id, f.connection_id
  UNION ALL
  SELECT l.product_id, {columns}, k.available, k.level, k.at {mine} CROSS JOIN LATERAL ({_SHELF}) k
  WHERE l.mode = 'appointment' AND {listed}"""


def _text(value: str) -> str:
    return f"coalesce(to_json({value})::text, 'null')"


def _amount(value: str) -> str:
    return f"round({value}, greatest(2, min_scale({value})))"


def _money(amount: str, currency: str) -> str:
    written = f"""concat('{{"amount":"', {_amount(amount)}, '","currency":"', {currency}, '"}}')"""
    return f"CASE WHEN {amount} IS NULL THEN 'null' ELSE {written} END"


def _level(value: str) -> str:
    return f"""CASE {value} WHEN 2 THEN '"in_stock"' WHEN 1 THEN '"limited"' ELSE '"out"' END"""


def _object(fields: Iterable[tuple[str, str]], close: str = "}") -> str:
    """The SQL that writes one JSON object; each value is SQL that gives JSON text."""
    parts = [f"""'{"," if i else "{"}"{name}":', {value}""" for i, (name, value) in enumerate(fields)]
    return f"concat({', '.join(parts)}, '{close}')"


_COMMON = [
    ("id", """'"prd_', p.id, '"'"""),
    *((name, _text(f"p.{name}")) for name in ("title", "title_en", "brand")),
    *((name, f"""'"', p.{name}, '"'""") for name in ("kind", "mode")),
    *((name, _text(f"p.{name}")) for name in ("category", "gtin", "city", "image_url")),
    ("price", _money("coalesce(min(o.price) FILTER (WHERE o.currency = p.currency), p.price)", "p.currency")),
    ("available", "coalesce(sum(o.available)::bigint::text, 'null')"),
    ("level", _level("max(o.level)")),
    ("stock_at", _text("max(o.at)")),
    ("updated_at", _text("p.updated_at")),
]
# Over product `p` and its offers `o`, grouped by p.id.
ITEM = _object([*_COMMON, ("offers", "count(o.product_id)")])
ITEM_COLUMNS = "l.price, l.currency"
_DETAIL = _object(
    [
        *_COMMON,
        *((name, _text(f"p.{name}")) for name in ("department", "model", "description")),
        ("attributes", "p.attributes::text"),
        ("created_at", _text("p.created_at")),
        ("listed", "CASE WHEN p.listed AND count(o.product_id) > 0 THEN 'true' ELSE 'false' END"),
    ],
    close="",
)
_OFFER = _object(
    [
        ("listing_id", """'"lst_', o.id, '"'"""),
        ("vendor", _text("o.vendor_name")),
        ("vendor_id", """'"vnd_', o.vendor_id, '"'"""),
        ("title", _text("o.title")),
        ("pack", _text("o.pack")),
        ("price", _money("o.price", "o.currency")),
        ("shipping", f"""'"', {_amount("o.shipping")}, '"'"""),
        ("available", "coalesce(o.available::text, 'null')"),
        ("level", _level("o.level")),
        ("stock_at", _text("o.at")),
        ("promise", f"""'{{"deliver_within_h":{DELIVERY_PROMISE_H},"stock_confirmed_within_s":', o.promise_s, '}}'"""),
    ],
    close="",
)
_BEST_FIRST = "ORDER BY o.level DESC NULLS LAST, o.price, o.id"
_OFFER_COLUMNS = "l.id, l.title, l.pack, l.price, l.currency, l.shipping, f.vendor_id, f.vendor_name, f.promise_s"


def _products(assortment: Assortment | None, args: Args) -> str:
    sold = seen = ""
    if assortment is not None:
        seen = f"AND {products_sql(assortment, args.put, on_sale=False)}"
        sold = offers_sql(assortment, args.put) if assortment.by_vendor else ""
    return f"""
SELECT p.id, {_DETAIL}, array_agg(o.id {_BEST_FIRST}) FILTER (WHERE o.id IS NOT NULL),
  array_agg({_OFFER} {_BEST_FIRST}) FILTER (WHERE o.id IS NOT NULL)
FROM catalog_products p
LEFT JOIN ({offers_among("unnest($3::bigint[])", _OFFER_COLUMNS, sold)}) o ON o.product_id = p.id
WHERE p.id = ANY($3::bigint[]) {seen} GROUP BY p.id
"""  # noqa: S608 - values are parameters


_ALL_PRODUCTS = _products(None, Args())


async def product_texts(
    ids: Sequence[int], held: Sequence[int], now: datetime, assortment: Assortment | None = None
) -> list[asyncpg.Record]:
    """Of each product that exists and that the reader's assortment has: id, the JSON object of it without its last
    brace, its offers' listing ids and their JSON objects without their last braces, those that can be bought first,
    then the cheaper."""
    args = Args([now, held, ids])
    return await read(_ALL_PRODUCTS if assortment is None else _products(assortment, args), *args)


async def product_texts_in(
    tx: Tx, ids: Sequence[int], held: Sequence[int], now: datetime, assortment: Assortment | None = None
) -> list[asyncpg.Record]:
    """The same inside a transaction, so that it shows what that transaction sees."""
    args = Args([now, held, ids])
    return await tx.fetch(_ALL_PRODUCTS if assortment is None else _products(assortment, args), *args)


async def ids_of_gtins(gtins: Sequence[str]) -> dict[str, int]:
    """GTIN-14 -> product id."""
    rows = await read(
        "SELECT p.gtin, coalesce(r.new_id, p.id) FROM catalog_products p "
        "LEFT JOIN catalog_redirects r ON r.old_id = p.id WHERE p.gtin = ANY($1::text[])",
        gtins,
    )
    return {row[0]: row[1] for row in rows}


async def availability(
    listing_id: int, held: Sequence[int], now: datetime, assortment: Assortment | None = None
) -> asyncpg.Record | None:
    """One listing with what is left of it; None when there is none of a live supply feed."""
    args = Args([now, held, listing_id])
    sold = "true" if assortment is None else offers_sql(assortment, args.put)
    rows = await read(
        f"""
        SELECT l.id, l.product_id, l.city, l.mode, l.price, l.currency, l.active, k.available,
          coalesce(k.level, 0) AS level, k.at,
          coalesce(k.at >= $1::timestamptz - f.promise_s * interval '2 seconds', false) AS fresh,
          l.id = ANY($2::bigint[]) AS held, {sold} AS sold, f.vendor_name
        FROM catalog_listings l {_LIVE} {_PRODUCT} CROSS JOIN LATERAL ({_SHELF}) k WHERE l.id = $3
        """,  # noqa: S608 - values are parameters
        *args,
    )
    return rows[0] if rows else None


_SLOT = _object(
    [
        ("id", """'"slt_', t.id, '"'"""),
        ("listing_id", """'"lst_', l.id, '"'"""),
        ("vendor", _text("f.vendor_name")),
        ("start", _text("t.start_at")),
        ("end", _text("t.end_at")),
        ("city", _text("coalesce(t.city, l.city)")),
        ("department", _text("coalesce(t.department, l.department)")),
        ("price", _money("l.price", "l.currency")),
    ]
)


async def free_slots(
    product_id: int,
    held: Sequence[int],
    now: datetime,
    *,
    city: str | None,
    department: str | None,
    start: datetime | None,
    end: datetime | None,
    after: tuple[datetime, int] | None,
    limit: int,
    assortment: Assortment | None = None,
) -> list[asyncpg.Record]:
    """Slots that are free now, earliest first: start, id, JSON text."""
    args = Args([now, held, product_id, city, department, start, end, after and after[0], after[1] if after else 0])
    page = args.put(limit, "bigint")
    sold = "" if assortment is None else f"AND {offers_sql(assortment, args.put)}"
    return await read(
        f"""
        SELECT t.start_at, t.id, {_SLOT} FROM catalog_listings l {_LIVE} {_PRODUCT}
        JOIN catalog_slots t ON t.listing_id = l.id
        {_ITS_ROW}
        WHERE l.product_id = $3 AND l.active AND l.mode = 'appointment' AND l.id <> ALL($2::bigint[])
          AND t.start_at > $1::timestamptz AND {_FREE_SLOT}
          AND ($4::text IS NULL OR coalesce(t.city, l.city) = $4)
          AND ($5::text IS NULL OR coalesce(t.department, l.department) = $5)
          AND t.start_at >= coalesce($6::timestamptz, $1::timestamptz) AND ($7::timestamptz IS NULL OR t.start_at < $7)
          AND ($8::timestamptz IS NULL OR (t.start_at, t.id) > ($8, $9::bigint)) {sold}
        ORDER BY t.start_at, t.id LIMIT {page}
        """,  # noqa: S608 - values are parameters
        *args,
    )


async def is_bookable_product(product_id: int, assortment: Assortment | None = None) -> bool:
    """Whether there is such a product for this reader and it is sold by appointment."""
    args = Args([product_id])
    seen = "" if assortment is None else f"AND {products_sql(assortment, args.put, on_sale=False)}"
    found = f"SELECT 1 FROM catalog_products p WHERE p.id = $1 AND p.mode = 'appointment' {seen}"  # noqa: S608
    return bool(await read(found, *args))


_ORDERABLE = f"""
SELECT p.kind, count(*) AS listed, count(*) FILTER (WHERE p.sellable AND p.id IN (
  SELECT l.product_id FROM catalog_listings l {_LIVE} JOIN catalog_stock s ON s.listing_id = l.id
  LEFT JOIN catalog_slots t ON l.mode = 'appointment' AND t.listing_id = s.listing_id AND t.slot_ref = s.location
  WHERE l.active AND {_FREE_SLOT} AND (t.id IS NULL OR t.start_at > $1::timestamptz)
    AND (l.mode <> 'appointment' OR t.id IS NOT NULL OR NOT {_HAS_SLOTS}))) AS orderable
FROM catalog_products p WHERE p.listed GROUP BY p.kind
"""  # noqa: S608 - constant text


async def orderable_by_kind(now: datetime) -> dict[str, tuple[int, int]]:
    """kind -> products listed, products of which something can be ordered now."""
    return {row[0]: (row[1], row[2]) for row in await read(_ORDERABLE, now)}
