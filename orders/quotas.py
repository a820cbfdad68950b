"""Caps on what may be ordered: of one listing or product, by one mall or by all malls together, in one order and over
time. The few quotas there are stand in memory for a few seconds, so an order that none of them counts costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from hub.kernel import clock
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict, Fault
from hub.kernel.types import public_id
from orders import store
from orders.book import Line

FRESH_S = 5.0  # how long a change of quotas may take to count everywhere


@dataclass(frozen=True, slots=True)
class Quota:
    """One cap. `window_s` None: `units` bounds what is in orders that are not finished."""

    id: int
    mall_id: int | None
    listing_id: int | None
    product_id: int | None
    per_order: int | None
    units: int | None
    window_s: int | None

    def counts(self, mall_id: int, line: Line) -> bool:
        """Whether this order line falls under it."""
        if self.mall_id not in (None, mall_id):
            return False
        return self.listing_id == line.listing_id if self.listing_id is not None else self.product_id == line.product_id


_known: tuple[float, list[Quota]] = (float("-inf"), [])


def forget() -> None:
    """Read the quotas anew next time."""
    global _known
    _known = (float("-inf"), [])


async def _quotas(tx: Tx) -> list[Quota]:
    global _known
    now = clock.now().timestamp()
    if not 0 <= now - _known[0] < FRESH_S:
        names = Quota.__dataclass_fields__
        _known = (now, [Quota(**{name: row[name] for name in names}) for row in await store.all_quotas(tx)])
    return _known[1]


async def check(tx: Tx, mall_id: int, lines: Sequence[Line]) -> list[tuple[Quota, list[Line]]]:
    """The quotas that count these lines of a new order, which may not be written before. Raises Conflict when one of
    them allows fewer units."""
    touched = []
    for quota in await _quotas(tx):
        if mine := [line for line in lines if quota.counts(mall_id, line)]:
            touched.append((quota, mine))
    if not touched:
        return []
    await store.queue_for_quotas(tx, [quota.id for quota, _ in touched])
    for quota, mine in touched:
        wanted = sum(line.quantity for line in mine)
        if quota.per_order is not None and wanted > quota.per_order:
            raise _exceeded(quota, mine, wanted, quota.per_order, f"at most {quota.per_order} units an order")
        if quota.units is None:
            continue
        since = tx.now - timedelta(seconds=quota.window_s) if quota.window_s is not None else None
        async with store.as_hub(tx):  # a cap on all malls counts what the calling one may not see
            used = await store.quota_used(tx, quota.id, since)
        left = max(0, quota.units - used)
        if wanted > left:
            raise _exceeded(quota, mine, wanted, left, f"{left} units are left of a quota of {quota.units}")
    return touched


async def note(tx: Tx, touched: Sequence[tuple[Quota, Sequence[Line]]]) -> None:
    """The order was written: its lines count."""
    await store.note_quota_uses(tx, [(quota.id, line.id) for quota, lines in touched for line in lines])


def _exceeded(quota: Quota, lines: Sequence[Line], wanted: int, left: int, why: str) -> Conflict:
    facts: dict[str, object] = {"wanted": wanted, "left": left, "lines": [line.line_no for line in lines]}
    if quota.product_id is not None:
        facts["product_id"] = public_id("prd", quota.product_id)
    if quota.listing_id is not None:
        facts["listing_id"] = public_id("lst", quota.listing_id)
    return Conflict(
        f"line {lines[0].line_no}: {why}",
        code="quota",
        faults=tuple(Fault(f"/lines/{line.line_no - 1}/qty", why) for line in lines),
        facts=facts,
    )
