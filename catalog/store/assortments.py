"""SQL of malls' assortments: a mall's rules as a condition, what fits them, and what changes when they do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import asyncpg

from hub.kernel.db import Tx, read_value

if TYPE_CHECKING:
    from catalog.assortments import Assortment, Rule

Put = Callable[[Any, str], str]  # takes a value and its SQL type, and gives the parameter that stands for it

_COLUMNS = {
    "kind": ("p.kind", "text"),
    "category": ("p.category", "text"),
    "brand": ("p.brand", "text"),
    "vendor_id": ("f.vendor_id", "bigint"),
    "product_id": ("p.id", "bigint"),
}
_OFFERS = (
    "catalog_listings l JOIN catalog_feeds f ON f.connection_id = l.connection_id AND f.live AND f.role = 'supply' "
    "WHERE l.product_id = p.id"
)
_LOCK = 7_301_944_020_331_002  # with the mall's number: its rules are changed one change after the other


class Args(list[Any]):
    """Parameters of one statement, in the order in which they were put."""

    def put(self, value: Any, kind: str) -> str:
        self.append(value)
        return f"${len(self)}::{kind}"


def offers_sql(assortment: Assortment, put: Put) -> str:
    """A condition over a product `p` and the feed `f` of its offer: the mall sells this offer."""
    included = _any([rule for rule in assortment.rules if rule.include], put)
    excluded = _any([rule for rule in assortment.rules if not rule.include], put)
    parts = [included] if included else []
    parts += [f"NOT {excluded}"] if excluded else []
    return f"({' AND '.join(parts)})"


def _any(rules: Sequence[Rule], put: Put) -> str | None:
    """The offer fits one of the rules. Those that name one thing each are compared as a list."""
    alone: dict[str, list[Any]] = {}
    ways: list[str] = []
    for rule in rules:
        given = rule.given
        if len(given) == 1:
            [(name, value)] = given.items()
            alone.setdefault(name, []).append(value)
        else:
            ways.append(" AND ".join(f"{_COLUMNS[name][0]} = {put(v, _COLUMNS[name][1])}" for name, v in given.items()))
    for name, values in alone.items():
        column, kind = _COLUMNS[name]
        ways.append(f"{column} = ANY({put(sorted(set(values)), kind + '[]')})")
    return f"coalesce({' OR '.join(f'({way})' for way in ways)}, false)" if ways else None


def products_sql(assortment: Assortment, put: Put, *, on_sale: bool = True) -> str:
    """A condition over a product `p` alone: the mall sells one of its offers (`on_sale`: one that is active)."""
    fits = offers_sql(assortment, put)
    if not assortment.by_vendor:
        return fits
    active = " AND l.active" if on_sale else ""
    return f"((EXISTS (SELECT 1 FROM {_OFFERS}{active} AND {fits})) IS TRUE)"  # noqa: S608 - values are parameters


async def rules_of(tx: Tx, mall_id: int) -> list[dict[str, Any]] | None:
    """The mall's rules; None when it has none."""
    found: list[dict[str, Any]] | None = await tx.fetchval(_RULES, mall_id)
    return found


async def rules_now(mall_id: int) -> list[dict[str, Any]] | None:
    """The same, outside any transaction."""
    found: list[dict[str, Any]] | None = await read_value(_RULES, mall_id)
    return found


_RULES = "SELECT rules FROM catalog_assortments WHERE mall_id = $1 AND rules <> '[]'"


async def assortment_rows(tx: Tx, mall_id: int | None) -> list[asyncpg.Record]:
    """Every mall (or one), with its rules if it has any."""
    return await tx.fetch(
        "SELECT m.id AS mall_id, m.name AS mall, a.rules, coalesce(a.version, 0) AS version, a.updated_at, "
        "a.updated_by FROM malls m LEFT JOIN catalog_assortments a ON a.mall_id = m.id "
        "WHERE $1::bigint IS NULL OR m.id = $1 ORDER BY m.id",
        mall_id,
    )


async def queue_for_rules(tx: Tx, mall_id: int) -> None:
    """Wait until nobody else changes this mall's rules; held to the end of the transaction."""
    await tx.run("SELECT pg_advisory_xact_lock($1::bigint + $2::bigint)", _LOCK, mall_id)


async def put_rules(tx: Tx, mall_id: int, rules: Sequence[Mapping[str, Any]], by: str) -> None:
    """Keep the rules, and from which number on changes must be shown to this mall once more. A change that a reader
    may judge by the old rules while these are not yet committed gets a number from there on: it is not committed when
    the next statement compares the old rules with the new ones."""
    await tx.run(
        """
        INSERT INTO catalog_assortments AS a (mall_id, rules, version, changed_from, updated_at, updated_by)
        VALUES ($1, $2, 1, (SELECT coalesce(max(seq), 0) + 1 FROM catalog_changes), $3, $4)
        ON CONFLICT (mall_id) DO UPDATE SET rules = excluded.rules, version = a.version + 1,
          changed_from = coalesce(a.changed_from, excluded.changed_from), updated_at = excluded.updated_at,
          updated_by = excluded.updated_by
        """,
        mall_id, json.dumps(rules, ensure_ascii=False), tx.now, by,
    )  # fmt: skip


async def show_again(tx: Tx, mall_id: int) -> None:
    """After a change of rules: note for this mall what changed for everybody while the rules did."""
    await tx.run(
        """
        WITH due AS (
          SELECT mall_id, changed_from FROM catalog_assortments WHERE mall_id = $1 AND changed_from IS NOT NULL
          FOR UPDATE),
        done AS (UPDATE catalog_assortments a SET changed_from = NULL FROM due WHERE a.mall_id = due.mall_id)
        INSERT INTO catalog_changes (product_ids, at, mall_id)
        SELECT c.product_ids, $2::timestamptz, due.mall_id FROM due JOIN catalog_changes c
          ON c.mall_id IS NULL AND (c.seq >= due.changed_from OR c.seq IS NULL)
        """,
        mall_id,
        tx.now,
    )


async def note_difference(
    tx: Tx, mall_id: int, old: Assortment | None, new: Assortment | None, chunk: int
) -> tuple[int, int, int]:
    """Note for this mall the products on sale that it sells under one of two assortments and not under the other, or
    with other offers; how many enter, leave, and stay with other offers."""
    noted = f"""
        noted AS (INSERT INTO catalog_changes (product_ids, at, mall_id)
          SELECT array_agg(id ORDER BY id), $2::timestamptz, $1::bigint FROM (
            SELECT id, (row_number() OVER (ORDER BY id) - 1) / {chunk:d} AS piece FROM moved) x GROUP BY piece
          RETURNING 1),"""  # noqa: S608 - a whole number of ours
    rows = await _difference(tx, old, new, noted, [mall_id, tx.now])
    return rows["enter"], rows["leave"], rows["differ"]


async def count_difference(tx: Tx, old: Assortment | None, new: Assortment | None) -> dict[str, int]:
    """The same without noting it, and how many products each of them sells."""
    return dict(await _difference(tx, old, new, "", []))


async def _difference(
    tx: Tx, old: Assortment | None, new: Assortment | None, between: str, given: Sequence[Any]
) -> asyncpg.Record:
    args = Args(given)
    before = offers_sql(old, args.put) if old is not None else "true"
    after = offers_sql(new, args.put) if new is not None else "true"
    by_vendor = (old is not None and old.by_vendor) or (new is not None and new.by_vendor)
    if by_vendor:
        seen = f"""SELECT p.id, bool_or({before}) AS was, bool_or({after}) AS is_now,
            bool_or({before} <> {after}) AS differs
          FROM catalog_products p JOIN catalog_listings l ON l.product_id = p.id AND l.active
          JOIN catalog_feeds f ON f.connection_id = l.connection_id AND f.live AND f.role = 'supply'
          WHERE p.listed GROUP BY p.id"""  # noqa: S608
    else:
        seen = f"""SELECT p.id, {before} AS was, {after} AS is_now, {before} <> {after} AS differs
          FROM catalog_products p WHERE p.listed"""  # noqa: S608
    row = await tx.fetchrow(
        f"""
        WITH seen AS MATERIALIZED ({seen}),
        moved AS (SELECT id FROM seen WHERE differs), {between}
        counted AS (SELECT count(*)::int AS listed, count(*) FILTER (WHERE was)::int AS before,
          count(*) FILTER (WHERE is_now)::int AS after, count(*) FILTER (WHERE is_now AND NOT was)::int AS enter,
          count(*) FILTER (WHERE was AND NOT is_now)::int AS leave,
          count(*) FILTER (WHERE was AND is_now AND differs)::int AS differ FROM seen)
        SELECT * FROM counted
        """,  # noqa: S608 - values are parameters
        *args,
    )
    assert row is not None
    return row


async def count_fitting(tx: Tx, rules: Sequence[Rule]) -> list[int]:
    """Of how many products on sale an offer is what each rule names: 0 shows a word that is written differently."""
    if not rules:
        return []
    args = Args()
    ways = [_any([rule], args.put) for rule in rules]
    columns = ", ".join(f"count(DISTINCT p.id) FILTER (WHERE {way})" for way in ways)
    row = await tx.fetchrow(
        f"SELECT {columns} FROM catalog_products p JOIN catalog_listings l ON l.product_id = p.id AND l.active "  # noqa: S608
        "JOIN catalog_feeds f ON f.connection_id = l.connection_id AND f.live AND f.role = 'supply' WHERE p.listed",
        *args,
    )
    assert row is not None
    return [int(count) for count in row]
