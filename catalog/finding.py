"""Finding products: from a wish to a page of JSON. Chooses how to search (queryplan.py), turns pages, and hides what
this reader cannot buy. A cursor carries the order and the last row's sort columns, so rows that are inserted or change
meanwhile neither repeat nor push out others. Parity has no say in any order."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from catalog import queryplan, sampling, search
from catalog.queryplan import Plan
from catalog.sample import Head, Sample
from catalog.search import KEYS, Key
from catalog.wish import Order, Wish
from hub.kernel.errors import Fault, Rejected

HEADED = 500  # rows that are walked on a first page; where it would be more, the most popular products are looked up
ROUNDS = 5  # times a page is filled up when rows were hidden; after that it is simply shorter
_LAST: Key = (False, 2**31 - 1, 2**63 - 1)  # before the first product without stock


@dataclass(frozen=True, slots=True)
class Found:
    """One page. `items` are JSON objects; `total` may be an estimate, then `approximate` is set."""

    items: list[str]
    next: str | None
    total: int | None
    approximate: bool
    facets: str | None
    facets_at: datetime


async def find(
    wish: Wish, sort: Order | None, cursor: str | None, limit: int, held: Sequence[int], now: datetime, facets: bool
) -> Found:
    """A page of the products that fit `wish`. `sort` None is relevance: text, then availability and popularity when
    the hits are few enough to rank, else availability and popularity alone.

    `held` are the listings that this mall does not buy: they do not count, and a product with nothing else is
    not shown. Raises Rejected for a cursor that is damaged or belongs to another search."""
    sample = await sampling.current()
    key: Key | None = None
    print_ = zlib.crc32(repr((wish, sort)).encode())
    if cursor is not None:
        order, whole, key = _read_cursor(cursor, print_)
    else:
        whole = sample.finished(wish.terms)
    if whole and wish.terms:  # and for the following pages, whatever later samples say
        wish = replace(wish, terms=(*wish.terms[:-1], wish.terms[-1]._replace(prefix=False)))
    if cursor is None:
        order = sort or _relevance(sample, wish, limit + 1)
    shown: list[str] = []
    total: int | None = None
    counted: str | None = None
    counted_at = now
    more = hidden = False
    for turn in range(ROUNDS):
        need = limit + 1 - len(shown)
        page = await _rows(sample, wish, order, key, need, held, now, facets and not turn)
        total = page.total if total is None else total
        counted = page.facets if counted is None else counted
        for row_key, item in page.rows:
            if len(shown) == limit:
                more = True
                break
            key = row_key
            if item is None:
                hidden = True
            else:
                shown.append(item)
        if more or len(page.rows) < need:
            break
    else:
        more = True
    # Whoever hides rows on this page may hide some on others too, and the total counts them all.
    approximate = hidden or wish.in_stock or bool(held) or (order is Order.RANK and (total or 0) >= search.GATHER_CAP)
    if total is None:
        found = queryplan.estimate(sample, wish, order, limit, None)
        approximate = found.telling
        total = round(found.hits) if found.telling else None
        if facets and counted is None and found.telling:
            counted, counted_at, approximate = sample.facets(wish, found.sampled), sample.at, True
    if facets and counted is None:
        counted, cut = await search.facets(wish)
        approximate = approximate or cut
    following = _write_cursor(order, print_, whole, key) if more and key is not None else None
    return Found(shown, following, total, approximate, counted, counted_at)


def _relevance(sample: Sample, wish: Wish, need: int) -> Order:
    """Ranked by text when the hits are few enough, else by popularity alone."""
    if wish.gtin is not None:
        return Order.RANK
    if not wish.terms:
        return Order.POPULAR
    if wish.few:
        return Order.RANK
    cost = queryplan.estimate(sample, wish, Order.POPULAR, need, True)
    headed = bool(_first(sampling.head(), wish, need))
    return Order.RANK if queryplan.affords_ranking(sample, cost, headed) else Order.POPULAR


def _first(top: Head | None, wish: Wish, need: int) -> list[int]:
    """Products among which the first page of a search is, if the most popular ones hold it; none otherwise."""
    ids = top.first(wish, 2 * need) if top is not None else []
    return ids if len(ids) >= need else []


async def _rows(
    sample: Sample, wish: Wish, order: Order, key: Key | None, need: int, held: Sequence[int], now: datetime,
    facets: bool,
) -> search.Page:  # fmt: skip
    """Up to `need` rows after `key`, by whichever way is cheaper."""
    sellable = (key is None or key[0]) if order is Order.POPULAR else None
    cost = queryplan.estimate(sample, wish, order, need, sellable)
    if order is Order.POPULAR and key is None and cost.rows > HEADED and not wish.few:
        top = sampling.head()
        ids = _first(top, wish, need)
        if top is not None and ids:
            page = await search.pick(wish, ids, top.last_id, need, held, now)
            if len(page.rows) == need:
                return page
    if order is Order.RANK or wish.few or queryplan.choose(sample, cost) is Plan.GATHER:
        return await search.gather(wish, order, key, need, held, now, facets, cost.aside)
    inner = key[1:] if order is Order.POPULAR and key is not None else key
    page, gave_up = await search.walk(wish, order, sellable, inner, need, held, now, queryplan.walk_cap(cost))
    if gave_up:
        return await search.gather(wish, order, key, need, held, now, facets, cost.aside)
    if sellable and not wish.in_stock and len(page.rows) < need:
        rest = await _rows(sample, wish, order, _LAST, need - len(page.rows), held, now, facets)
        page.rows += rest.rows
        page.total, page.facets = rest.total, rest.facets
    return page


def _write_cursor(order: Order, print_: int, whole: bool, key: Key) -> str:
    raw = orjson.dumps([order.value, print_, whole, *key], default=str)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _read_cursor(cursor: str, print_: int) -> tuple[Order, bool, Key]:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        order_text, for_print, whole, *key = orjson.loads(raw)
        order = Order(order_text)
        columns = KEYS[order]
        if len(key) != len(columns) or not isinstance(whole, bool):
            raise ValueError("not the columns of this order")
        read = tuple(_key_value(value, kind) for value, (_, kind) in zip(key, columns, strict=True))
    except (ValueError, TypeError, UnicodeEncodeError, InvalidOperation):
        raise _refused("this is not a cursor of /products; begin again without one") from None
    if for_print != print_:
        raise _refused("this cursor belongs to another search; begin again without one")
    return order, whole, read


_LARGEST = {"int": 2**31 - 1, "bigint": 2**63 - 1}


def _key_value(value: Any, kind: str) -> Any:
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind in _LARGEST and type(value) is int and abs(value) <= _LARGEST[kind]:
        return value
    if kind == "numeric" and isinstance(value, str) and len(value) <= 20:
        number = Decimal(value)
        if number.is_finite() and abs(number) < 10**11:
            return number
    raise ValueError("not a sort key")


def _refused(why: str) -> Rejected:
    return Rejected(why, code="bad_cursor", faults=(Fault("/cursor", why),))
