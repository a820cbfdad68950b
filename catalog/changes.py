"""The feed of changes: which products changed, in an order that a mirror can follow without missing any.

A writing transaction notes product ids and leaves the number open. Numbers are given afterwards, by whoever reads,
under one lock and only to what is committed: a transaction that started early and commits late simply gets a later
number, and one that stays open blocks nobody. What an item says is the product's state when it is read."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from catalog import store
from catalog.contracts import ChangesPage
from catalog.store import moves
from hub.kernel.db import HUB, Tx, uow
from hub.kernel.errors import Fault, Malformed
from hub.kernel.types import public_id

CHUNK = 1_000  # product ids a row of the log
Views = Callable[[Tx, Sequence[int]], Awaitable[dict[int, dict[str, Any]]]]  # listed products as malls see them


async def note(tx: Tx, product_ids: Iterable[int]) -> None:
    """These products were created, changed or taken off sale by this transaction."""
    ids = sorted(set(product_ids))
    for start in range(0, len(ids), CHUNK):
        await store.add_changes(tx, ids[start : start + CHUNK])


async def changes_after(cursor: str | None, limit: int, views: Views) -> ChangesPage:
    """Up to `limit` changed products after `cursor` (None or empty: from the beginning), oldest change first.

    A product that changed several times within the page comes once. `views` gives the current view of those
    that are listed; the others are deletes, with where they went when they were merged. Raises Malformed for a
    cursor that this feed did not issue."""
    seq, offset = _parse(cursor)
    async with uow(HUB) as tx:
        if await store.unsequenced_changes(tx):
            await store.sequence_changes(tx)
    async with uow(HUB) as tx:
        ids: dict[int, None] = {}
        while len(ids) < limit:
            rows = await store.changes_from(tx, seq, min(limit, 200))
            if not rows:
                break
            for row in rows:
                if row["seq"] != seq:
                    seq, offset = row["seq"], 0
                while offset < len(row["product_ids"]) and len(ids) < limit:
                    ids[row["product_ids"][offset]] = None
                    offset += 1
                if offset < len(row["product_ids"]):
                    break
                seq, offset = seq + 1, 0
        current = await views(tx, list(ids)) if ids else {}
        gone = [product_id for product_id in ids if product_id not in current]
        merged = await moves.redirects_from(tx, gone) if gone else {}
    items: list[dict[str, Any]] = []
    for product_id in ids:
        view = current.get(product_id)
        op: dict[str, Any] = {"op": "upsert" if view is not None else "delete", "id": public_id("prd", product_id)}
        if view is not None:
            op["product"] = view
        elif product_id in merged:
            op["merged_into"] = public_id("prd", merged[product_id])
        items.append(op)
    return ChangesPage(items=items, next=f"{seq}.{offset}")


_CURSOR = re.compile(r"[0-9]{1,18}\.[0-9]{1,9}")  # within the numbers that PostgreSQL holds


def _parse(cursor: str | None) -> tuple[int, int]:
    if not cursor:
        return 1, 0
    seq, _, offset = cursor.partition(".")
    if not _CURSOR.fullmatch(cursor):
        why = "this is not a cursor of /changes; start without one"
        raise Malformed(why, code="bad_cursor", faults=(Fault("/after", why),))
    return int(seq), int(offset)
