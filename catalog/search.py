"""SQL of searching: pages of products in an order, facets, and the sample that plans are made by. One read-only
statement a page, outside any transaction; the rows come back as finished JSON text (store/shown.py says why)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from catalog.sample import FACET_VALUES
from catalog.segment import tsquery
from catalog.store.assortments import offers_sql, products_sql
from catalog.store.shown import ITEM, ITEM_COLUMNS, offers_among
from catalog.wish import Order, Wish
from hub.kernel import db

NO_FACETS = '{"kind":[],"mode":[],"category":[],"brand":[],"vendor":[]}'
Key = tuple[Any, ...]  # where a page ends: the sort columns of its last row
GATHER_CAP = 50_000  # hits that are ranked at most
NEWER = 1_000  # products
FACETS_COUNTED = 2_000  # products at most, where neither a page nor a sample has them at hand


@dataclass(slots=True)
class Page:
    """Candidate rows in order. An item is None when the product has nothing to show to this reader."""

    rows: list[tuple[Key, str | None]]
    total: int | None = None  # all hits, when they were gathered
    facets: str | None = None  # of all hits, when they were gathered and facets wanted


async def _search(sql: str, args: Sequence[Any]) -> list[asyncpg.Record]:
    """Rows of a statement that keeps a processor busy: few at a time, so that a heavy one holds up few others."""
    async with db.database().searching:
        return await db.read(sql, *args)


class _Args(list[Any]):
    """Statement parameters; `$1` is the time and `$2` the listings that the reader does not buy."""

    def put(self, value: Any, kind: str) -> str:
        self.append(value)
        return f"${len(self)}::{kind}"


def _filters(wish: Wish, args: _Args, *, walked: bool = False, aside: bool = False) -> list[str]:
    """The conditions of a wish. A walk hides words, vendor and zone from the planner, so that it keeps to the walked
    index; a gathering adds the brand's words, because they are indexed and the brand itself is not. With `aside` the
    last word is looked for in the rows that the others find, not in the index."""
    found = ["p.listed"]
    terms = [*wish.terms, *(() if walked else wish.brand_terms)]
    if aside:
        last = terms.pop(len(wish.terms) - 1)
        found.append(f"(p.search @@ (SELECT {args.put(tsquery([last]), 'text')}::tsquery)) IS TRUE")
    if terms:
        words = f"p.search @@ (SELECT {args.put(tsquery(terms), 'text')}::tsquery)"
        found.append(f"({words}) IS TRUE" if walked else words)
    if wish.gtin is not None:  # its product, or the one that this one went into
        led = "catalog_products g LEFT JOIN catalog_redirects r ON r.old_id = g.id"
        theirs = f"SELECT coalesce(r.new_id, g.id) FROM {led} WHERE g.gtin = {args.put(wish.gtin, 'text')}"  # noqa: S608
        found.append(f"p.id = ANY(ARRAY({theirs}))")
    for column in ("kind", "mode", "category", "brand", "city"):
        value = getattr(wish, column)
        if value is not None:
            found.append(f"p.{column} = {args.put(value, 'text')}")
    if wish.department is not None:
        found.append(f"p.department = {args.put(wish.department, 'text')}")
    if wish.price_min is not None:
        found.append(f"p.price >= {args.put(wish.price_min, 'numeric')}")
    if wish.price_max is not None:
        found.append(f"p.price <= {args.put(wish.price_max, 'numeric')}")
    if wish.in_stock:
        found.append("p.sellable")
    if wish.assortment is not None:
        found.append(products_sql(wish.assortment, args.put))
    if wish.vendor is not None or wish.vendor_id is not None:
        if wish.vendor_id is not None:
            named = f"vendor_id = {args.put(wish.vendor_id, 'bigint')}"
        else:
            named = f"vendor_name = {args.put(wish.vendor, 'text')}"
        feeds = f"SELECT connection_id FROM catalog_feeds WHERE {named} AND live"  # noqa: S608
        theirs = f"FROM catalog_listings l WHERE l.active AND l.connection_id = ANY(ARRAY({feeds}))"
        found.append(
            f"(EXISTS (SELECT 1 {theirs} AND l.product_id = p.id)) IS TRUE"
            if walked
            else f"p.id IN (SELECT l.product_id {theirs})"
        )
    if wish.zone is not None:
        number, reader = args.put(wish.zone[0], "bigint"), args.put(wish.zone[1], "bigint")
        seen = f"(z.reader_ids IS NULL OR {reader} = 0 OR {reader} = ANY(z.reader_ids))"
        shown = f"FROM catalog_zones z WHERE z.zone_id = {number} AND {seen}"
        found.append(
            f"(EXISTS (SELECT 1 {shown} AND z.product_id = p.id)) IS TRUE"
            if walked
            else f"p.id IN (SELECT z.product_id {shown})"
        )
    return found


_SORT = {
    Order.RANK: ("score DESC", "sellable DESC", "popularity DESC", "id DESC"),
    Order.POPULAR: ("sellable DESC", "popularity DESC", "id DESC"),
    Order.PRICE: ("price", "id"),
    Order.PRICE_DOWN: ("price DESC", "id DESC"),
    Order.NEWEST: ("id DESC",),
}
KEYS: dict[Order, tuple[tuple[str, str], ...]] = {
    Order.RANK: (("score", "int"), ("sellable", "bool"), ("popularity", "int"), ("id", "bigint")),
    Order.POPULAR: (("sellable", "bool"), ("popularity", "int"), ("id", "bigint")),
    Order.PRICE: (("price", "numeric"), ("id", "bigint")),
    Order.PRICE_DOWN: (("price", "numeric"), ("id", "bigint")),
    Order.NEWEST: (("id", "bigint"),),
}


def _beyond(order: Order, key: Key | None, args: _Args, columns: Sequence[tuple[str, str]]) -> list[str]:
    if key is None:
        return []
    names = ", ".join(name for name, _ in columns)
    given = ", ".join(args.put(value, kind) for value, (_, kind) in zip(key, columns, strict=True))
    return [f"({names}) {'>' if order is Order.PRICE else '<'} ({given})"]


def _score(args: _Args, phrases: Sequence[str]) -> str:
    """How well the text fits: 2 when title, brand or model is just the query, 1 when it stands there word for word, 0
    when its words are scattered. Letters beyond ASCII keep their case, which makes this twice as fast."""
    text = r"""lower(concat(E'\n', p.title, E'\n', p.title_en, E'\n', p.brand, E'\n', p.model, E'\n') COLLATE "C")"""
    given = [args.put(phrase, "text") for phrase in phrases]
    whole = " OR ".join(rf"strpos({text}, E'\n' || {one} || E'\n') > 0" for one in given)
    part = " OR ".join(f"strpos({text}, {one}) > 0" for one in given)
    return f"CASE WHEN NOT ({part}) THEN 0 WHEN {whole} THEN 2 ELSE 1 END" if given else "0"


def _sold(wish: Wish, args: _Args) -> str:
    """Which offers of a product count, where the reader's assortment has some of them only."""
    return offers_sql(wish.assortment, args.put) if wish.assortment is not None and wish.assortment.by_vendor else ""


def _shown(order: Order, page: str, total: str, facets: str, in_stock: bool, sold: str) -> str:
    """`total` and `facets` are SQL, evaluated once; the facets come with the first row alone."""
    first = f"(SELECT id FROM page ORDER BY {', '.join(_SORT[order])} LIMIT 1)"  # noqa: S608 - constant text
    visible = "count(o.product_id) > 0" + (" AND max(o.level) > 0" if in_stock else "")
    keys = ", ".join(f"page.{name}" for name, _ in KEYS[order])
    return f"""
{page}
SELECT CASE WHEN {visible} THEN {ITEM} END, {total}, CASE WHEN page.id = {first} THEN {facets} END, {keys}
FROM page JOIN catalog_products p ON p.id = page.id
LEFT JOIN ({offers_among("(SELECT id FROM page)", ITEM_COLUMNS, sold)}) o ON o.product_id = p.id
GROUP BY p.id, {keys} ORDER BY {", ".join("page." + part for part in _SORT[order])}
"""  # noqa: S608 - values are parameters


def _rows(rows: list[asyncpg.Record]) -> list[tuple[Key, str | None]]:
    return [(tuple(row)[3:], row[0]) for row in rows]


async def gather(
    wish: Wish, order: Order, key: Key | None, need: int, held: Sequence[int], now: datetime, facets: bool,
    aside: bool = False,
) -> Page:  # fmt: skip
    """Up to `need` rows after `key`: find every hit, then sort. Total and facets are of all hits, whatever the key."""
    args = _Args([now, held])
    where = _filters(wish, args, aside=aside)
    if order in (Order.PRICE, Order.PRICE_DOWN):
        where.append("p.price IS NOT NULL")
    score = f", {_score(args, wish.phrases)} AS score" if order is Order.RANK else ""
    limit = f"LIMIT {GATHER_CAP}" if order is Order.RANK else ""
    columns = f", {_facet_columns(wish, args)}" if facets else ""
    kept = ", ".join(dict.fromkeys(("id", *(name for name, _ in KEYS[order]))))
    after = "".join(f"WHERE {part}" for part in _beyond(order, key, args, KEYS[order]))
    page = f"""
WITH hits AS MATERIALIZED (
  SELECT p.id, p.sellable, p.popularity, p.price{score}{columns} FROM catalog_products p
  WHERE {" AND ".join(where)} {limit}),
page AS MATERIALIZED (
  SELECT {kept} FROM hits {after} ORDER BY {", ".join(_SORT[order])} LIMIT {args.put(need, "int")})
"""  # noqa: S608 - values are parameters
    counted = f"(SELECT {_counted('hits')})" if facets else "NULL::text"
    total = "(SELECT count(*) FROM hits)"
    rows = await _search(_shown(order, page, total, counted, wish.in_stock, _sold(wish, args)), args)
    if rows:
        return Page(_rows(rows), rows[0][1], rows[0][2])
    return Page([]) if key is not None else Page([], 0, NO_FACETS if facets else None)


async def walk(
    wish: Wish,
    order: Order,
    sellable: bool | None,
    key: Key | None,
    need: int,
    held: Sequence[int],
    now: datetime,
    cap: int,
) -> tuple[Page, bool]:
    """Up to `need` rows after `key` in the order of an index, and whether the walk gave up after `cap` rows with
    more to see. In POPULAR order one walk stays among products with stock, or among those without (`sellable`),
    and its key has no such column."""
    args = _Args([now, held])
    columns, ordered = KEYS[order], _SORT[order]
    if order is Order.POPULAR:
        columns, ordered = columns[1:], ordered[1:]
    seen = _beyond(order, key, args, columns)
    if order in (Order.PRICE, Order.PRICE_DOWN):
        seen.append("price IS NOT NULL")
    if order is Order.POPULAR and wish.category is not None:
        seen.append(f"category = {args.put(wish.category, 'text')}")
    path = f"FROM catalog_products {'WHERE ' + ' AND '.join(seen) if seen else ''} ORDER BY {', '.join(ordered)}"
    path_args = list(args)
    where = _filters(wish, args, walked=True)
    if sellable is not None:
        where.append("p.sellable" if sellable else "NOT p.sellable")
    page = f"""
WITH page AS MATERIALIZED (
  SELECT p.id, p.sellable, p.popularity, p.price FROM (SELECT * {path} LIMIT {cap}) p
  WHERE {" AND ".join(where)} ORDER BY {", ".join(ordered)} LIMIT {args.put(need, "int")})
"""  # noqa: S608 - values are parameters
    shown = _shown(order, page, "NULL::bigint", "NULL::text", wish.in_stock, _sold(wish, args))
    found = _rows(await _search(shown, args))
    if len(found) == need:
        return Page(found), False
    beyond = f"SELECT $1::timestamptz, $2::bigint[] {path} OFFSET {cap} LIMIT 1"
    return Page(found), bool(await db.read(beyond, *path_args))


_FACETS = ("kind", "mode", "category", "brand")
_SELLERS = """ARRAY(
  SELECT DISTINCT f.vendor_id FROM catalog_listings l JOIN catalog_feeds f ON f.connection_id = l.connection_id
  WHERE l.product_id = p.id AND l.active AND f.live AND f.role = 'supply'"""
# Rows from before vendors were kept beside products are looked up (`supplyhub reindex` fills them).
_VENDORS = f"coalesce(p.vendor_ids, {_SELLERS})) AS vendor_ids"


def _facet_columns(wish: Wish, args: _Args) -> str:
    """What facets count of a product `p`; its vendors are those whose offers the reader's assortment has."""
    sold = _sold(wish, args)
    vendors = f"{_SELLERS} AND {sold}) AS vendor_ids" if sold else _VENDORS
    return ", ".join((*(f"p.{name}" for name in _FACETS), vendors))


def _counted(rows: str) -> str:
    """SQL for the facets over the relation `rows`, as JSON text."""
    ordered = "ORDER BY n DESC, v"
    counts = ", ".join(
        f"""'{column}', (SELECT coalesce(json_agg(json_build_object('value', v, 'count', n) {ordered}), '[]')
        FROM (SELECT {column} AS v, count(*) AS n FROM {rows} WHERE {column} IS NOT NULL GROUP BY 1
              {ordered} LIMIT {FACET_VALUES}) c)"""  # noqa: S608 - constant text
        for column in _FACETS
    )
    return f"""json_build_object({counts}, 'vendor', (
  SELECT coalesce(json_agg(json_build_object('value', 'vnd_' || v, 'label', name, 'count', n) {ordered}), '[]')
  FROM (SELECT v, n, (SELECT min(vendor_name) FROM catalog_feeds WHERE vendor_id = v) AS name FROM (
    SELECT v, count(*) AS n FROM {rows}, unnest(vendor_ids) v GROUP BY 1 {ordered} LIMIT {FACET_VALUES}) c) d))::text"""  # noqa: S608


async def pick(wish: Wish, ids: Sequence[int], newer_than: int, need: int, held: Sequence[int], now: datetime) -> Page:
    """The first `need` rows in POPULAR order among the products with stock of `ids`, and those that are newer than
    product `newer_than` (up to a thousand, so that a bulk load does not make every search slow)."""
    args = _Args([now, held])
    ordered = ", ".join(_SORT[Order.POPULAR][1:])
    page = f"""
WITH page AS MATERIALIZED (
  SELECT p.id, p.sellable, p.popularity, p.price FROM (
    SELECT * FROM catalog_products WHERE id = ANY({args.put(ids, "bigint[]")})
    UNION ALL (SELECT * FROM catalog_products WHERE id > {args.put(newer_than, "bigint")}
      ORDER BY id DESC LIMIT {NEWER})) p
  WHERE {" AND ".join([*_filters(wish, args, walked=True), "p.sellable"])}
  ORDER BY {ordered} LIMIT {args.put(need, "int")})
"""  # noqa: S608 - values are parameters
    shown = _shown(Order.POPULAR, page, "NULL::bigint", "NULL::text", wish.in_stock, _sold(wish, args))
    return Page(_rows(await _search(shown, args)))


async def facets(wish: Wish) -> tuple[str, bool]:
    """How many products have which kind, mode, category, brand and vendor, as JSON text, and whether they were
    counted over some of them only."""
    args = _Args()
    where = " AND ".join(_filters(wish, args))
    rows = await _search(
        f"WITH few AS MATERIALIZED (SELECT {_facet_columns(wish, args)} FROM catalog_products p WHERE {where} "  # noqa: S608
        f"LIMIT {FACETS_COUNTED + 1}) SELECT {_counted('few')}, (SELECT count(*) FROM few) > {FACETS_COUNTED}",
        args,
    )
    return rows[0][0], rows[0][1]


async def ids_between() -> tuple[int, int]:
    """The lowest and the highest product id; (1, 0) when there is none."""
    rows = await db.read("SELECT coalesce(min(id), 1), coalesce(max(id), 0) FROM catalog_products")
    return rows[0][0], rows[0][1]


async def vendor_names() -> dict[int, str]:
    """Vendors that supply now."""
    rows = await db.read(
        "SELECT vendor_id, min(vendor_name) FROM catalog_feeds WHERE live AND role = 'supply' GROUP BY 1"
    )
    return {row[0]: row[1] for row in rows}


_SAMPLED = (
    f"p.kind, p.mode, p.category, p.brand, p.city, p.department, p.price, p.sellable, {_VENDORS}, "
    "p.search::text AS words"
)


async def most_popular(after: tuple[int, int] | None, limit: int) -> list[asyncpg.Record]:
    """id, popularity, listed and the columns of catalog.sample.Product (words as the text of a tsvector) of the next
    products in order of popularity after one (popularity, id)."""
    args = _Args()
    beyond = " AND ".join(_beyond(Order.POPULAR, after, args, KEYS[Order.POPULAR][1:]))
    return await db.read(
        f"SELECT p.id, p.popularity, p.listed, {_SAMPLED} FROM catalog_products p {beyond and 'WHERE ' + beyond} "  # noqa: S608
        f"ORDER BY popularity DESC, id DESC LIMIT {args.put(limit, 'int')}",
        *args,
    )


async def every_so_many(first: int, last: int, step: int) -> list[asyncpg.Record]:
    """The columns of catalog.sample.Product (words as the text of a tsvector) of the listed ones among products
    `first`, `first + step` … `last`."""
    return await db.read(
        f"SELECT {_SAMPLED} FROM generate_series($1::bigint, $2::bigint, $3::bigint) g(id) "  # noqa: S608
        "JOIN catalog_products p ON p.id = g.id WHERE p.listed",
        first, last, step,
    )  # fmt: skip
