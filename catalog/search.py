"""SQL of searching: pages of products in an order, facets, and the statistics that estimation needs. One read-only
statement a page, outside any transaction; the rows come back as finished JSON text (store/shown.py says why)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from catalog.queryplan import Order, Statistics, Wish
from catalog.segment import Term, tsquery
from catalog.store.assortments import offers_sql, products_sql
from catalog.store.shown import ITEM, ITEM_COLUMNS, offers_among
from hub.kernel import db

Key = tuple[Any, ...]  # where a page ends: the sort columns of its last row
GATHER_CAP = 50_000  # hits that are ranked at most
FACET_SAMPLE = 2_000  # products that facets are counted over
FACET_VALUES = 30  # values shown a facet
STATISTICS_S = 60.0
LEARNED_AT_MOST = 50_000  # queries


@dataclass(slots=True)
class Page:
    """Candidate rows in order. An item is None when the product has nothing to show to this reader."""

    rows: list[tuple[Key, str | None]]
    total: int | None = None  # all hits, when they were gathered


class _Args(list[Any]):
    """Statement parameters; `$1` is the time and `$2` the listings that the reader does not buy."""

    def put(self, value: Any, kind: str) -> str:
        self.append(value)
        return f"${len(self)}::{kind}"


def _filters(wish: Wish, args: _Args, *, walked: bool = False) -> list[str]:
    """The conditions of a wish. A walk hides words and vendor from the planner, so that it keeps to the walked
    index; a gathering adds the brand's words, because they are indexed and the brand itself is not."""
    found = ["p.listed"]
    terms = [*wish.terms, *(() if walked else wish.brand_terms)]
    if terms:
        words = f"p.search @@ (SELECT {args.put(tsquery(terms), 'text')}::tsquery)"
        found.append(f"({words}) IS TRUE" if walked else words)
    for column in ("gtin", "kind", "mode", "category", "brand", "city"):
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


def _score(args: _Args, phrase: str) -> str:
    """How well the text fits: 2 when title, brand or model is just the query, 1 when it stands there word for word, 0
    when its words are scattered. Letters beyond ASCII keep their case, which makes this twice as fast."""
    given = args.put(phrase, "text")
    text = r"""lower(concat(E'\n', p.title, E'\n', p.title_en, E'\n', p.brand, E'\n', p.model, E'\n') COLLATE "C")"""
    whole = rf"strpos({text}, E'\n' || {given} || E'\n') > 0"
    return f"CASE WHEN strpos({text}, {given}) = 0 THEN 0 WHEN {whole} THEN 2 ELSE 1 END"


def _sold(wish: Wish, args: _Args) -> str:
    """Which offers of a product count, where the reader's assortment has some of them only."""
    return offers_sql(wish.assortment, args.put) if wish.assortment is not None and wish.assortment.by_vendor else ""


def _shown(order: Order, page: str, total: str, in_stock: bool, sold: str) -> str:
    visible = "count(o.product_id) > 0" + (" AND max(o.level) > 0" if in_stock else "")
    keys = ", ".join(f"page.{name}" for name, _ in KEYS[order])
    return f"""
{page}
SELECT CASE WHEN {visible} THEN {ITEM} END, {total}, {keys}
FROM page JOIN catalog_products p ON p.id = page.id
LEFT JOIN ({offers_among("(SELECT id FROM page)", ITEM_COLUMNS, sold)}) o ON o.product_id = p.id
GROUP BY p.id, {keys} ORDER BY {", ".join("page." + part for part in _SORT[order])}
"""  # noqa: S608 - values are parameters


def _rows(rows: list[asyncpg.Record]) -> list[tuple[Key, str | None]]:
    return [(tuple(row)[2:], row[0]) for row in rows]


async def gather(wish: Wish, order: Order, key: Key | None, need: int, held: Sequence[int], now: datetime) -> Page:
    """Up to `need` rows after `key`: find every hit, then sort. The total is of all hits, whatever the key."""
    args = _Args([now, held])
    where = _filters(wish, args)
    if order in (Order.PRICE, Order.PRICE_DOWN):
        where.append("p.price IS NOT NULL")
    score = f", {_score(args, wish.phrase)} AS score" if order is Order.RANK else ""
    limit = f"LIMIT {GATHER_CAP}" if order is Order.RANK else ""
    after = "".join(f"WHERE {part}" for part in _beyond(order, key, args, KEYS[order]))
    page = f"""
WITH hits AS MATERIALIZED (
  SELECT p.id, p.sellable, p.popularity, p.price{score} FROM catalog_products p
  WHERE {" AND ".join(where)} {limit}),
page AS MATERIALIZED (
  SELECT * FROM hits {after} ORDER BY {", ".join(_SORT[order])} LIMIT {args.put(need, "int")})
"""  # noqa: S608 - values are parameters
    rows = await db.read(_shown(order, page, "(SELECT count(*) FROM hits)", wish.in_stock, _sold(wish, args)), *args)
    if not rows and key is not None:
        return Page([])
    total = rows[0][1] if rows else 0
    if wish == Wish(terms=wish.terms, phrase=wish.phrase):
        _learn(wish.terms, total)
    return Page(_rows(rows), total)


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
    found = _rows(await db.read(_shown(order, page, "NULL::bigint", wish.in_stock, _sold(wish, args)), *args))
    if len(found) == need:
        return Page(found), False
    beyond = f"SELECT $1::timestamptz, $2::bigint[] {path} OFFSET {cap} LIMIT 1"
    return Page(found), bool(await db.read(beyond, *path_args))


async def facets(wish: Wish) -> tuple[str, bool]:
    """How many products have which kind, mode, category, brand and vendor, as JSON text, and whether they were
    counted over a sample only."""
    args = _Args()
    where = _filters(wish, args)
    sold = _sold(wish, args)
    sold = f"JOIN catalog_products p ON p.id = s.id WHERE {sold}" if sold else ""
    counts = ", ".join(
        f"""'{column}', (SELECT coalesce(json_agg(json_build_object('value', v, 'count', n) ORDER BY n DESC, v), '[]')
        FROM (SELECT {column} AS v, count(*) AS n FROM sample WHERE {column} IS NOT NULL GROUP BY 1
              ORDER BY 2 DESC, 1 LIMIT {FACET_VALUES}) c)"""  # noqa: S608 - constant text
        for column in ("kind", "mode", "category", "brand")
    )
    rows = await db.read(
        f"""
WITH sample AS MATERIALIZED (
  SELECT p.id, p.kind, p.mode, p.category, p.brand FROM catalog_products p
  WHERE {" AND ".join(where)} LIMIT {FACET_SAMPLE + 1}),
vendors AS (
  SELECT f.vendor_id, min(f.vendor_name) AS name, count(DISTINCT s.id) AS n
  FROM sample s JOIN catalog_listings l ON l.product_id = s.id AND l.active
  JOIN catalog_feeds f ON f.connection_id = l.connection_id AND f.live AND f.role = 'supply'
  {sold} GROUP BY 1 ORDER BY 3 DESC, 1 LIMIT {FACET_VALUES})
SELECT json_build_object({counts}, 'vendor', (
  SELECT coalesce(json_agg(json_build_object('value', 'vnd_' || vendor_id, 'label', name, 'count', n)
                           ORDER BY n DESC, vendor_id), '[]') FROM vendors))::text,
  (SELECT count(*) FROM sample) > {FACET_SAMPLE}
""",  # noqa: S608 - values are parameters
        *args,
    )
    return rows[0][0], rows[0][1]


async def hits_up_to(wish: Wish, cap: int) -> int:
    """How many products match, counted up to `cap`: for tables that PostgreSQL has not analysed yet."""
    args = _Args()
    where = " AND ".join(_filters(wish, args))
    found = f"SELECT count(*) FROM (SELECT 1 FROM catalog_products p WHERE {where} LIMIT {args.put(cap, 'int')}) x"  # noqa: S608
    return int(await db.read_value(found, *args))


_STATISTICS = """
SELECT (SELECT reltuples FROM pg_class WHERE oid = 'catalog_products'::regclass) AS rows,
  (SELECT count(*) FROM catalog_feeds WHERE live) AS feeds, attname, n_distinct, null_frac,
  most_common_vals::text::text[] AS vals, most_common_freqs AS freqs,
  most_common_elems::text::text[] AS elems, most_common_elem_freqs AS elem_freqs
FROM pg_class c LEFT JOIN pg_stats s ON s.schemaname = c.relnamespace::regnamespace::text AND s.tablename = c.relname
  AND s.attname IN ('search', 'sellable', 'kind', 'mode', 'category', 'city', 'brand')
WHERE c.oid = 'catalog_products'::regclass
"""


@dataclass(slots=True)
class _Held:
    database: db.Database
    until: float
    statistics: Statistics
    learned: dict[tuple[Term, ...], float]


_held: _Held | None = None


def _learn(terms: tuple[Term, ...], hits: int) -> None:
    """Remember how many hits these words had, until the next reading of the statistics."""
    if _held is not None and terms and len(_held.learned) < LEARNED_AT_MOST:
        _held.learned[terms] = hits / max(_held.statistics.rows, 1.0)


async def statistics() -> Statistics:
    """What PostgreSQL's last ANALYZE said about the products, read once a minute."""
    global _held
    tick = time.monotonic()
    if _held is not None and _held.database is db.database():
        if _held.until > tick:
            return _held.statistics
        _held.until = tick + STATISTICS_S  # whoever comes meanwhile uses what there is
    learned: dict[tuple[Term, ...], float] = {}
    found = _statistics(await db.read(_STATISTICS), learned)
    known_for = STATISTICS_S if found.known else 1.0
    _held = _Held(db.database(), time.monotonic() + known_for, found, learned)
    return found


def forget_statistics() -> None:
    """Read the statistics again at the next search (after a bulk load)."""
    global _held
    _held = None


def _statistics(rows: list[asyncpg.Record], learned: Mapping[tuple[Term, ...], float]) -> Statistics:
    lexemes: dict[str, float] = {}
    values: dict[tuple[str, str], float] = {}
    other: dict[str, float] = {}
    rare = 0.0
    for row in rows:
        column = row["attname"]
        if column == "search" and row["elems"]:
            lexemes = dict(zip(row["elems"], row["elem_freqs"], strict=False))
            rare = min(lexemes.values()) / 2
        elif column is not None:
            common = dict(zip(row["vals"] or (), row["freqs"] or (), strict=True))
            values.update({(column, value): share for value, share in common.items()})
            distinct = row["n_distinct"] if row["n_distinct"] >= 0 else -row["n_distinct"] * max(row["rows"], 1)
            left = max(0.0, 1 - row["null_frac"] - sum(common.values()))
            other[column] = left / max(1.0, distinct - len(common))
    first = rows[0]
    return Statistics(
        rows=max(0.0, first["rows"]), feeds=first["feeds"], lexemes=lexemes, lexemes_sorted=tuple(sorted(lexemes)),
        rare=rare, values=values, other=other, learned=learned,
    )  # fmt: skip
