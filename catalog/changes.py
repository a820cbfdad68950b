"""The feed of changes: which products changed, in an order that a mirror can follow without missing any.

A writing transaction notes product ids and leaves the number open. Numbers are given afterwards, by whoever reads,
under one lock and only to what is committed: a transaction that started early and commits late simply gets a later
number, and one that stays open blocks nobody. What an item says is the product's state when it is read.

The log is kept for some time only. A reader that comes back later than that is told so and begins with a full read:
every product on sale, by number, and then the log from where it stood when the full read began. A mall with an
assortment of its own reads the log as it concerns that mall: what it does not sell is a delete, and when its rules
change, the products that this lets in or out are noted for it alone."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from catalog import store
from catalog.contracts import ChangesPage
from catalog.store import moves
from hub.kernel import clock
from hub.kernel.db import HUB, Tx, uow
from hub.kernel.errors import Fault, Gone, Malformed
from hub.kernel.settings import settings
from hub.kernel.types import public_id

CHUNK = 1_000  # product ids a row of the log
PRUNED_AT_ONCE = 500  # rows a transaction
_EMPTY_ROUNDS = 20  # looks of a full read at products of which this mall sells none
Views = Callable[[Tx, Sequence[int]], Awaitable[dict[int, dict[str, Any]]]]  # listed products as the reader sees them


async def note(tx: Tx, product_ids: Iterable[int]) -> None:
    """These products were created, changed or taken off sale by this transaction."""
    ids = sorted(set(product_ids))
    for start in range(0, len(ids), CHUNK):
        await store.add_changes(tx, ids[start : start + CHUNK])


class _Place(NamedTuple):
    """Where a reader is: at `offset` within row `seq` of the log, or (`full`) before the products after number
    `offset` of a full read that goes on with row `seq`."""

    seq: int
    offset: int
    full: bool = False

    def __str__(self) -> str:
        return f"f{self.offset}.{self.seq}" if self.full else f"{self.seq}.{self.offset}"


async def changes_after(
    cursor: str | None, limit: int, views: Views, mall_id: int | None = None, unless: int | None = None
) -> ChangesPage:
    """Up to `limit` changed products after `cursor` (None or empty: from the beginning), oldest change first, as they
    concern `mall_id` (None: all products).

    A product that changed several times within the page comes once. `views` gives the current view of those
    that this reader sees; the others are deletes, with where they went when they were merged. While the log has come
    no further than `unless`, the page is empty and says `unchanged`. Raises Malformed for a cursor that this feed did
    not issue, Gone for one that is too old."""
    place = _parse(cursor)
    async with uow(HUB) as tx:
        if mall_id is not None:
            await store.show_again(tx, mall_id)
        if await store.unsequenced_changes(tx):
            await store.sequence_changes(tx)
    async with uow(HUB) as tx:
        if unless is not None and (await store.kept_changes(tx)).last == unless:
            return ChangesPage(items=[], cursors=[], next=str(place or cursor or ""), head=unless, unchanged=True)
        if place is None:
            place = await _beginning(tx, mall_id)
        if place.full:
            page = await _full(tx, place, limit, views)
        else:
            page = await _logged(tx, place, limit, views, mall_id)
        # Looked at after the rows: what was deleted while they were read must not be missed without a word.
        kept = await store.kept_changes(tx)
    if place.seq < kept.first:
        why = "changes this old are no longer kept; begin again without a cursor, which gives everything anew"
        raise Gone(why, code="cursor_too_old", faults=(Fault("/after", why),))
    return page.model_copy(update={"head": kept.last})


async def _beginning(tx: Tx, mall_id: int | None) -> _Place:
    """The first row of the log while it is all there, else a full read. A mall that does not sell everything always
    gets a full read, since nearly all of the log may be no business of its."""
    kept = await store.kept_changes(tx)
    if kept.first == 1 and (mall_id is None or await store.rules_of(tx, mall_id) is None):
        return _Place(1, 0)
    return _Place(kept.last + 1, 0, full=True)


async def _logged(tx: Tx, place: _Place, limit: int, views: Views, mall_id: int | None) -> ChangesPage:
    seq, offset, _ = place
    ids: dict[int, str] = {}  # and the cursor after each
    while len(ids) < limit:
        rows = await store.changes_from(tx, seq, min(limit, 200), mall_id)
        if not rows:
            break
        for row in rows:
            if row["seq"] != seq:
                seq, offset = row["seq"], 0
            while offset < len(row["product_ids"]) and len(ids) < limit:
                offset += 1
                ids.setdefault(row["product_ids"][offset - 1], str(_Place(seq, offset)))
            if offset < len(row["product_ids"]):
                break
            seq, offset = seq + 1, 0
    current = await views(tx, list(ids)) if ids else {}
    following = str(_Place(seq, offset))
    merged = await _merged(tx, [product_id for product_id in ids if product_id not in current], views, mall_id)
    items = [_item(product_id, current.get(product_id), merged.get(product_id)) for product_id in ids]
    return ChangesPage(items=items, cursors=[*list(ids.values())[:-1], following] if items else [], next=following)


async def _full(tx: Tx, place: _Place, limit: int, views: Views) -> ChangesPage:
    items: list[dict[str, Any]] = []
    cursors: list[str] = []
    for _ in range(_EMPTY_ROUNDS):
        ids = await store.listed_after(tx, place.offset, limit)
        current = await views(tx, ids) if ids else {}
        for product_id in ids:
            place = place._replace(offset=product_id)
            if product_id in current:
                items.append(_item(product_id, current[product_id]))
                cursors.append(str(place))
        if len(ids) < limit:
            place = _Place(place.seq, 0)
            cursors[-1:] = [str(place)] if cursors else []
            break
        if items:
            break
    return ChangesPage(items=items, cursors=cursors, next=str(place), full=True)


async def _merged(tx: Tx, gone: list[int], views: Views, mall_id: int | None) -> dict[int, int]:
    """old id -> the product that it went into; for a mall with rules only where it has that one on sale."""
    merged = await moves.redirects_from(tx, gone) if gone else {}
    if merged and mall_id is not None and await store.rules_of(tx, mall_id) is not None:
        seen = await views(tx, sorted(set(merged.values())))
        merged = {old: new for old, new in merged.items() if new in seen}
    return merged


def _item(product_id: int, view: dict[str, Any] | None, merged: int | None = None) -> dict[str, Any]:
    op: dict[str, Any] = {"op": "upsert" if view is not None else "delete", "id": public_id("prd", product_id)}
    if view is not None:
        op["product"] = view
    elif merged is not None:
        op["merged_into"] = public_id("prd", merged)
    return op


async def prune() -> int:
    """Forget changes older than `changes_kept_days`, a few rows a transaction; returns how many rows."""
    async with uow(HUB) as tx:
        if await store.unsequenced_changes(tx):  # where nobody reads
            await store.sequence_changes(tx)
    before = clock.now() - timedelta(days=settings().changes_kept_days)
    total = 0
    while True:
        async with uow(HUB) as tx:
            gone = await store.prune_changes(tx, before, PRUNED_AT_ONCE)
        total += gone
        if gone < PRUNED_AT_ONCE:
            return total


_CURSOR = re.compile(r"([0-9]{1,18})\.([0-9]{1,9})|f([0-9]{1,18})\.([0-9]{1,18})", re.ASCII)  # as PostgreSQL holds


def _parse(cursor: str | None) -> _Place | None:
    if not cursor:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        why = "this is not a cursor of /changes; start without one"
        raise Malformed(why, code="bad_cursor", faults=(Fault("/after", why),))
    if found[1] is not None:
        return _Place(max(1, int(found[1])), int(found[2]))
    return _Place(max(1, int(found[4])), int(found[3]), full=True)
