"""What Vendure really allocated to orders. Its counter (`stockAllocated`) is read, changed and written back, so that
orders which cross overwrite each other's change: after 300 orders at once it said 38. The list of stock movements is
only ever appended to, and is read here instead.

The list has no order that could be relied on and grows for ever, so what was read of it is kept, and a look again asks
for its end; only when that does not make the sum up is all of it read. Orders of one process for the same variant take
turns (`turn`), so that at least ours do not cross."""

from __future__ import annotations

import asyncio
import contextlib
import math
import weakref
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connectors.vendure import documents
from connectors.vendure.talking import Talks, objects
from hub.kernel.errors import Broken, Misconfigured, NotFound, Retry

_TAKE = 500
_BACK = 50
_MOST = 500  # variants whose movements are kept
_SIGNS = {"ALLOCATION": 1, "RELEASE": -1, "SALE": -1}  # what is sold is no longer allocated


@dataclass(slots=True)
class Movements:
    """The stock movements of one variant, as far as they were read."""

    rows: dict[str, tuple[str, int, datetime | None]] = field(default_factory=dict)  # id -> type, quantity, when
    counter: int = 0  # what the shop's counter said is allocated
    on_hand: int | None = None  # and what it said lies at all locations

    @property
    def drift(self) -> int:
        """How many allocated ones the counter had lost."""
        return max(0, self.outstanding() - self.counter)

    def left(self) -> float:
        """How many are not allocated, whatever the counter says; without end when that was not to be seen."""
        return math.inf if self.on_hand is None else self.on_hand - self.outstanding()

    def outstanding(self) -> int:
        """How many are allocated to orders and not sent yet."""
        return sum(_SIGNS.get(kind, 0) * abs(quantity) for kind, quantity, _ in self.rows.values())

    def allocated(self, moment: tuple[datetime, datetime] | None) -> int:
        """How many were allocated within `moment`."""
        if moment is None:
            return 0
        rows = ((at, quantity) for kind, quantity, at in self.rows.values() if kind == "ALLOCATION")
        return sum(quantity for at, quantity in rows if at is not None and moment[0] <= at <= moment[1])


_kept: OrderedDict[tuple[str, str], Movements] = OrderedDict()
_Turns = weakref.WeakValueDictionary[tuple[str, str], asyncio.Lock]
_turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = weakref.WeakKeyDictionary()


class KeepsLedger(Talks):
    """Reads the movements of variants, and lets orders take turns."""

    async def movements(self, variant: str) -> Movements:
        """All movements of a variant until now."""
        key = (self._ledger_name, variant)
        known = _kept.setdefault(key, Movements())
        _kept.move_to_end(key)
        while len(_kept) > _MOST:
            _kept.popitem(last=False)
        for _ in range(5):
            total = await self._read(variant, known, max(0, len(known.rows) - _BACK))
            if len(known.rows) < total:
                for skip in range(0, total, _TAKE):
                    total = await self._read(variant, known, skip)
            if len(known.rows) == total:  # they are counted after they are listed, so none is missing
                return known
        raise Retry("vendure's stock movements change faster than they can be read", code="vendor_unsure", after=2.0)

    def drift_of(self, variant: str) -> int:
        """What the counter of a variant had lost when it was last looked at."""
        known = _kept.get((self._ledger_name, variant))
        return known.drift if known is not None else 0

    async def _read(self, variant: str, known: Movements, skip: int) -> int:
        """Read a part of the movements; how many there are in all. The list holds all channels' movements, so the
        counters are asked of the default channel, which holds all locations."""
        asked = {"id": variant, "skip": skip, "take": _TAKE}
        data, _ = await self.admin(documents.MOVEMENTS, asked, channel="")
        found = data.get("productVariant")
        listed = found.get("stockMovements") if isinstance(found, dict) else None
        if not isinstance(found, dict) or not isinstance(listed, dict) or type(listed.get("totalItems")) is not int:
            raise Broken("vendure does not tell a variant's stock movements", code="bad_shape")
        for row in objects(listed.get("items")):
            known.rows[str(row.get("id"))] = (
                str(row.get("type")), int(row.get("quantity") or 0), instant(row.get("createdAt")),
            )  # fmt: skip
        levels = objects(found.get("stockLevels"))
        known.counter = sum(int(level.get("stockAllocated") or 0) for level in levels)
        known.on_hand = sum(int(level.get("stockOnHand") or 0) for level in levels)
        return int(listed["totalItems"])

    async def movements_if_allowed(self, variant: str) -> Movements:
        """As `movements`; none for an administrator who may not see the default channel."""
        try:
            return await self.movements(variant)
        except (Misconfigured, NotFound):
            return Movements()

    @contextlib.asynccontextmanager
    async def turn(self, variants: Sequence[str]) -> AsyncIterator[None]:
        """The only order of this process, for this connection, that is being bought of these variants."""
        ours = _turns.setdefault(asyncio.get_running_loop(), weakref.WeakValueDictionary())
        async with contextlib.AsyncExitStack() as stack:
            for variant in sorted(set(variants)):
                lock = ours.setdefault((self._ledger_name, variant), asyncio.Lock())
                await stack.enter_async_context(lock)
            yield

    @property
    def _ledger_name(self) -> str:
        return f"{self.connection_id}@{self.call.base_url}"


def instant(raw: Any) -> datetime | None:
    """A time that the server wrote, or None."""
    try:
        when = datetime.fromisoformat(raw) if isinstance(raw, str) else None
    except ValueError:
        return None
    return when if when is not None and when.tzinfo is not None else None


def moment_of_payment(order: Mapping[str, Any]) -> tuple[datetime, datetime] | None:
    """From an order's payment to the note of its new state: between them its stock was allocated, in one transaction.
    PostgreSQL gives all three one time, other databases each its own."""
    paid = (each for each in objects(order.get("payments")) if each.get("state") not in DEAD_PAYMENTS)
    moved = (
        entry
        for entry in objects((order.get("history") or {}).get("items"))
        if isinstance(entry.get("data"), dict) and entry["data"].get("from") == "ArrangingPayment"
    )
    starts = [at for each in paid if (at := instant(each.get("createdAt"))) is not None]
    ends = [at for each in moved if (at := instant(each.get("createdAt"))) is not None]
    return (min(starts), max(ends)) if starts and ends else None


DEAD_PAYMENTS = frozenset({"Declined", "Error", "Cancelled"})
