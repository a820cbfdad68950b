"""Offers as orders and routing see them: what each vendor sells now, how much of it, whether that figure is still
fresh, and whether the asking mall holds it back under its own parity policy or leaves it out of its assortment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from catalog import assortments, stock, store
from catalog.assortments import Assortment
from catalog.contracts import Offer, SlotOffer
from catalog.stock import Shelf
from catalog.store import moves
from hub.kernel.db import Tx
from hub.kernel.types import Level
from pricing import api as pricing
from pricing.contracts import Held


async def offers_for(
    tx: Tx, mall_id: int, product_ids: Sequence[int] = (), listing_ids: Sequence[int] = ()
) -> list[Offer]:
    """The offers of these products and these listings, by listing id, each once. Listings that are off sale, paused
    or only references are left out.

    `available` is the most that one location can give, since a line is never split over locations."""
    rows = await store.offer_rows(tx, list(product_ids), list(listing_ids))
    ids = [row["listing_id"] for row in rows]
    if not ids:
        return []
    shelves = await stock.available(tx, ids)
    held = await pricing.held(tx, mall_id, ids)
    sold = await assortments.of_mall_in(tx, mall_id)
    return [_offer(row, shelves.get(row["listing_id"], []), tx.now, held.get(row["listing_id"]), sold) for row in rows]


async def moved_products(tx: Tx, product_ids: Iterable[int]) -> dict[int, int]:
    """old id -> the product that it went into, for those of these that did."""
    return await moves.redirects_from(tx, product_ids)


async def slots_for(tx: Tx, mall_id: int, slot_ids: Sequence[int]) -> list[SlotOffer]:
    """These bookable times, by slot id; those whose service is off sale are left out. `free` means that it can be
    booked now: the vendor says so, nobody holds it, and it has not begun."""
    rows = await store.slot_rows(tx, list(slot_ids))
    held = await pricing.held(tx, mall_id, sorted({row["listing_id"] for row in rows})) if rows else {}
    sold = await assortments.of_mall_in(tx, mall_id) if rows else None
    slots = []
    for row in rows:
        shelf = []
        if row["level"] is not None:
            figures = (row["on_hand"], row["level"], row["reserved"], row["buffer"], row["frozen"], row["reported_at"])
            shelf = [Shelf(row["listing_id"], row["slot_ref"], *figures)]
        offer = _offer(row, shelf, tx.now, held.get(row["listing_id"]), sold)
        slots.append(
            SlotOffer(
                slot_id=row["slot_id"],
                offer=offer,
                location=row["slot_ref"],
                version=row["slot_version"],
                start=row["start_at"],
                end=row["end_at"],
                free=offer.level != Level.OUT and row["start_at"] > tx.now,
            )
        )
    return slots


async def slots_near(tx: Tx, mall_id: int, product_id: int, at: datetime, limit: int = 6) -> list[SlotOffer]:
    """Free times of the same service, whoever offers it, nearest to `at` first."""
    ids = await store.slot_ids_near(tx, product_id, at, 4 * limit)
    found = {slot.slot_id: slot for slot in await slots_for(tx, mall_id, ids)}
    near = [found[i] for i in ids if i in found]
    return [slot for slot in near if slot.free and slot.offer.fresh and not _kept_back(slot.offer)][:limit]


def _kept_back(offer: Offer) -> bool:
    return offer.held_by_parity or offer.blocked_by_parity is not None or offer.outside_assortment


def _offer(row: Any, shelf: Sequence[Shelf], now: datetime, held: Held | None, sold: Assortment | None) -> Offer:
    confirmed = max((s.reported_at for s in shelf), default=None)
    if confirmed is not None and row["complete_at"] is not None:
        confirmed = max(confirmed, row["complete_at"])
    return Offer(
        listing_id=row["listing_id"],
        product_id=row["product_id"],
        connection_id=row["connection_id"],
        vendor_id=row["vendor_id"],
        vendor_name=row["vendor_name"],
        vendor_sku=row["vendor_sku"],
        title=row["title"],
        kind=row["kind"],
        mode=row["mode"],
        price=row["price"],
        currency=row["currency"],
        available=_most(shelf),
        level=_level(shelf),
        fresh=confirmed is not None and now - confirmed <= timedelta(seconds=2 * row["promise_s"]),
        held_by_parity=held is not None and held.action == "hold",
        blocked_by_parity=held.detail if held is not None and held.action == "block" else None,
        outside_assortment=sold is not None and not sold.sells(_facts(row)),
        vendor_ref=row["vendor_ref"],
        category=row["category"],
        city=row["city"],
    )


def _facts(row: Any) -> dict[str, Any]:
    """What rules go by: what the product is, and whose the offer is."""
    facts = {name: row[f"product_{name}"] for name in ("kind", "category", "brand", "id")}
    return {**facts, "product_id": facts.pop("id"), "vendor_id": row["vendor_id"]}


def _most(shelf: Sequence[Shelf]) -> int | None:
    free = [s.available for s in shelf]
    return None if None in free else max((f for f in free if f is not None), default=0)


def _level(shelf: Sequence[Shelf]) -> Level:
    """The best level that any location offers."""
    found = {s.level_now for s in shelf}
    return next((level for level in (Level.IN_STOCK, Level.LIMITED) if level in found), Level.OUT)
