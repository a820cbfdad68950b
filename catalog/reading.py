"""What a reader of the catalogue is shown: products with their offers, what is left of a listing, free slots, and how
large the assortment is. Requests for single products that arrive together are answered by one statement. The parity
verdict is shown beside an offer; it never changes what is shown first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

import pricing.api
from catalog import assortments, store
from catalog.assortments import Assortment
from catalog.store import moves, shown
from hub.kernel import clock
from hub.kernel.db import Tx
from hub.kernel.errors import NotFound
from hub.kernel.types import Level, public_id
from pricing.contracts import Check

KINDS = ("goods", "service", "experience")
ASSORTMENT_TARGET = 500  # live, orderable SKUs of each kind
_LEVELS = (Level.OUT, Level.LIMITED, Level.IN_STOCK)
_UNLISTED = '"listed":false'  # in JSON a quote within a value would stand escaped
_NOBODY: frozenset[int] = frozenset()


class _Text(NamedTuple):
    """A product's JSON in pieces: the object without its last brace, and the same of each offer by listing."""

    head: str
    offers: list[tuple[int, str]]

    def joined(self, verdicts: dict[int, Check], tail: str = "") -> str:
        written = ",".join(text + _parity(verdicts.get(listing_id)) for listing_id, text in self.offers)
        return f'{self.head},"offers":[{written}]{tail}}}'


def _parity(check: Check | None) -> str:
    if check is None:
        return ',"parity":"unknown","parity_gap":null}'
    gap = "null" if check.gap is None else f'"{check.gap:.4f}"'
    return f',"parity":"{check.verdict.value}","parity_gap":{gap}}}'


def _texts(rows: Sequence[Any]) -> dict[int, _Text]:
    return {row[0]: _Text(row[1], list(zip(row[2] or (), row[3] or (), strict=True))) for row in rows}


async def held_listings(mall_id: int | None) -> frozenset[int]:
    """The listings that this mall does not buy now, under its own parity policy; none for staff."""
    return _NOBODY if mall_id is None else await pricing.api.held_for_mall(mall_id)


async def refused_listings(mall_id: int | None) -> frozenset[int]:
    """The listings that this mall could not order now: what it holds and what its policies block."""
    return _NOBODY if mall_id is None else await pricing.api.refused_for_mall(mall_id)


_Reader = tuple[frozenset[int], Assortment | None]  # what one mall holds, and what it sells


class _Together:
    """Reads products for everybody who asks while the previous read is under way, in one statement."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: dict[_Reader, dict[int, list[asyncio.Future[bytes | None]]]] = {}
        self._reading: asyncio.Task[None] | None = None

    def product(self, product_id: int, reader: _Reader) -> asyncio.Future[bytes | None]:
        future: asyncio.Future[bytes | None] = self.loop.create_future()
        self._waiting.setdefault(reader, {}).setdefault(product_id, []).append(future)
        if self._reading is None or self._reading.done():
            self._reading = self.loop.create_task(self._read())
        return future

    async def _read(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            for reader, wanted in waiting.items():
                try:
                    texts = await product_texts(list(wanted), *reader)
                except Exception as error:
                    _settle(wanted, error)
                else:
                    for product_id, futures in wanted.items():
                        text = texts.get(product_id)
                        answer = text.encode() if text is not None else None
                        for future in futures:
                            if not future.done():
                                future.set_result(answer)


def _settle(wanted: dict[int, list[asyncio.Future[bytes | None]]], error: Exception) -> None:
    for futures in wanted.values():
        for future in futures:
            if not future.done():
                future.set_exception(error)


_together: _Together | None = None


async def product(product_id: int, held: frozenset[int], assortment: Assortment | None = None) -> bytes:
    """One product with its offers as JSON; raises NotFound, also for what this reader's assortment does not have."""
    global _together
    loop = asyncio.get_running_loop()
    if _together is None or _together.loop is not loop:
        _together = _Together(loop)
    answer = await _together.product(product_id, (held, assortment))
    if answer is None:
        raise NotFound("there is no such product", code="no_such_product")
    return answer


async def product_texts(
    ids: Sequence[int], held: frozenset[int], assortment: Assortment | None = None
) -> dict[int, str]:
    """The JSON of each product that exists for this reader, with its offers and their verdicts; two reads whatever the
    number."""
    now = clock.now()
    texts = _texts(await shown.product_texts(ids, list(held), now, assortment))
    verdicts = await pricing.api.standing_verdicts([n for text in texts.values() for n, _ in text.offers])
    tail = f',"as_of":"{now.isoformat()}"'
    return {product_id: text.joined(verdicts, tail) for product_id, text in texts.items()}


async def product_views(tx: Tx, ids: Sequence[int], mall_id: int | None = None) -> dict[int, dict[str, Any]]:
    """The products that are on sale, as the feed of changes shows them (no mall's own holds, but its assortment as it
    is when this is called), within `tx`."""
    assortment = await assortments.of_mall_in(tx, mall_id) if mall_id is not None else None
    texts = _texts(await shown.product_texts_in(tx, ids, [], tx.now, assortment))
    verdicts = await pricing.api.verdicts(tx, [n for text in texts.values() for n, _ in text.offers])
    views = {product_id: orjson.loads(text.joined(verdicts)) for product_id, text in texts.items()}
    return {product_id: view for product_id, view in views.items() if view["listed"]}


async def products_of_gtins(gtins: Sequence[str]) -> dict[str, int]:
    """GTIN-14 -> product id, for those that are known."""
    return await shown.ids_of_gtins(gtins)


async def moved_to(
    asked: Iterable[int], texts: Mapping[int, str], assortment: Assortment | None = None
) -> dict[int, int]:
    """Of products that are asked for and what is shown of them: id -> the product that it went into, for those that
    did. One that is on sale went nowhere, so that this costs a read only for the others; one that an assortment does
    not have may only have lost its offers to the other."""
    gone = [n for n in asked if (_UNLISTED in texts[n] if n in texts else assortment is not None)]
    return await moves.moved_ids(gone) if gone else {}


async def availability(
    listing_id: int, quantity: int, area: str | None, held: frozenset[int], assortment: Assortment | None = None
) -> dict[str, Any]:
    """What is left of one listing and whether `quantity` of it can be had, with the reason when it cannot. `area` is a
    city: a listing that is bound to another city does not serve it. Raises NotFound."""
    now = clock.now()
    row = await shown.availability(listing_id, list(held), now, assortment)
    if row is None:
        raise NotFound("there is no such listing", code="no_such_listing")
    available, level = row["available"], row["level"]
    if not row["active"]:
        reason: str | None = "not_listed"
    elif not row["sold"]:
        reason = "not_in_assortment"
    elif row["held"]:
        reason = "held_by_policy"
    elif area is not None and row["city"] is not None and row["city"] != area:
        reason = "other_area"
    elif row["at"] is not None and not row["fresh"]:
        reason = "stale"
    elif level == 0:
        reason = "out"
    elif available is not None and available < quantity:
        reason = "too_few"
    else:
        reason = None
    return {
        "listing_id": public_id("lst", row["id"]),
        "product_id": public_id("prd", row["product_id"]),
        "vendor": row["vendor_name"],
        "qty": quantity,
        "area": area,
        "price": {"amount": two_places(row["price"]), "currency": row["currency"]},
        "available": available,
        "level": _LEVELS[level],
        "can_supply": reason is None,
        "reason": reason,
        "stock_at": row["at"],
        "as_of": now,
    }


def two_places(amount: Decimal) -> str:
    """The amount with at least two decimals and no idle zeros beyond them."""
    places = -int(amount.normalize().as_tuple().exponent)
    return f"{amount:.{max(2, places)}f}"


class SlotWish(NamedTuple):
    """Which free slots, from `start` on and before `end`; `after` is where the last page ended."""

    city: str | None
    department: str | None
    start: datetime | None
    end: datetime | None
    after: tuple[datetime, int] | None
    limit: int


async def free_slots(
    product_id: int, wish: SlotWish, held: frozenset[int], assortment: Assortment | None = None
) -> tuple[list[Any], datetime]:
    """Rows (start, id, JSON) of slots that are free now, and when now was; raises NotFound for what is no clinic
    service."""
    now = clock.now()
    rows = await shown.free_slots(product_id, list(held), now, **wish._asdict(), assortment=assortment)
    if not rows and not await shown.is_bookable_product(product_id, assortment):
        raise NotFound("there is no such clinic service", code="no_such_clinic")
    return rows, now


async def assortment() -> dict[str, Any]:
    """Live, orderable products of each kind against the target."""
    now = clock.now()
    counted = await shown.orderable_by_kind(now)
    below = {row["kind"]: row["below_since"] for row in await store.assortment_watch_rows()}
    kinds = [
        {
            "kind": kind,
            "numerator": counted.get(kind, (0, 0))[1],
            "denominator": counted.get(kind, (0, 0))[0],
            "target": ASSORTMENT_TARGET,
            "status": "met" if counted.get(kind, (0, 0))[1] >= ASSORTMENT_TARGET else "missed",
            "below_since": below.get(kind),
        }
        for kind in KINDS
    ]
    met = all(kind["status"] == "met" for kind in kinds)
    return {
        "numerator": sum(1 for kind in kinds if kind["status"] == "met"),
        "denominator": len(kinds),
        "target": len(kinds),
        "status": "met" if met else "missed",
        "window": "now",
        "kinds": kinds,
        "as_of": now,
    }


__all__ = [
    "SlotWish", "assortment", "availability", "free_slots", "held_listings", "product", "product_texts",
    "product_views", "products_of_gtins", "refused_listings",
]  # fmt: skip
