"""Cutting every title into words anew, after the rules of cutting changed. In batches, each a transaction that also
notes how far it came: cut off in the middle, the next call goes on from there, and several at once share the work."""

from __future__ import annotations

from collections.abc import Callable

from catalog import segment
from catalog.segment import search_tokens
from catalog.store import words as store
from hub.kernel import clock
from hub.kernel.db import HUB, Tx, uow
from hub.kernel.errors import Conflict

WORK = "reindex"
BATCH = 2_000  # products: a fifth of a second, for which their rows are locked


async def needed(tx: Tx) -> bool:
    """Whether titles were cut by other rules than this version's."""
    state = await store.upkeep(tx, WORK)
    return await store.last_product(tx) > 0 and (
        state is None or state["rules"] != segment.RULES or state["done_at"] is None
    )


async def reindex(progress: Callable[[float], None], *, again: bool = False) -> tuple[int, int]:
    """Cut all titles anew that this version's rules have not reached yet (with `again`, all of them); `progress` is
    told the share done. Returns how many products were read and how many changed. Raises Conflict when a newer
    version has begun with its own rules."""
    read = changed = 0
    while True:
        async with uow(HUB) as tx:
            batch = await _batch(tx, again)
        again = False
        if batch is None:
            progress(1.0)
            return read, changed
        read += batch[0]
        changed += batch[1]
        progress(batch[2])


async def _batch(tx: Tx, again: bool) -> tuple[int, int, float] | None:
    """The next batch: products read, changed, and the share done; None when there is none."""
    rules = segment.RULES
    state = await store.upkeep(tx, WORK)
    if state is not None and state["rules"] > rules:
        raise Conflict(
            f"titles are cut by rules {state['rules']}, and this version knows {rules} only; run the newer version",
            code="newer_rules",
        )
    began_at, start = clock.now(), 0
    if state is not None and state["rules"] == rules:
        if state["done_at"] is None:
            began_at, start = state["began_at"], state["next_id"]
        elif not again:
            return None
    rows = await store.titles_from(tx, start, BATCH)
    words = [search_tokens(*tuple(row)[1:]) for row in rows]
    changed = await store.put_words(tx, [row["id"] for row in rows], words)
    following = rows[-1]["id"] + 1 if rows else start
    done = len(rows) < BATCH  # what is inserted meanwhile has its words by these rules already
    last = await store.last_product(tx)
    await store.put_upkeep(tx, WORK, rules, following, began_at, clock.now() if done else None)
    return len(rows), changed, 1.0 if done else following / max(last, 1)
