"""What the catalogue and the price check tell each other: offers as pricing judges them, and what follows here from
references, holds and decisions there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg

from catalog import changes, store
from catalog.contracts import ListingsChanged
from catalog.staging import Prepared
from connectors.contracts import ConnectionView, ListingIn
from hub.kernel.db import Tx
from hub.kernel.settings import settings
from pricing import api as pricing
from pricing.contracts import (
    OfferPrice,
    PackOffer,
    ParityHoldsChanged,
    PriceMove,
    PriceMoveConfirmed,
    ReferencesRecorded,
)


def offer_of(row: ListingIn, listing_id: int, product_id: int) -> OfferPrice:
    """A vendor's row as pricing judges it."""
    opens, closes = window_of(row.attributes)
    return OfferPrice(
        listing_id=listing_id, product_id=product_id, price=row.price, currency=row.currency,
        shipping=row.shipping, coupon=row.coupon, pack=row.pack or row.title, category=row.category,
        valid_from=opens, valid_to=closes,
    )  # fmt: skip


def window_of(attributes: Mapping[str, str]) -> tuple[datetime | None, datetime | None]:
    """From when to when a price holds, where the vendor's system says so (`price_from`, `price_until`)."""
    return instant(attributes.get("price_from")), instant(attributes.get("price_until"))


def instant(text: str | None) -> datetime | None:
    """An ISO time with its zone; anything else says nothing."""
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


async def hold_back_far_moves(tx: Tx, connection: ConnectionView, prepared: Prepared) -> dict[str, str]:
    """Prices of known listings that moved too far at once (the classic slip of a unit) wait until somebody confirms:
    the rest of such a row lands, with the price that stands. Returns what is said of each by SKU. One statement a batch
    that changes listings, none for one that only brings new ones."""
    ratio = Decimal(str(settings().price_move_ratio))
    known = {sku: prepared.listed.ids[sku] for sku in prepared.changed if sku in prepared.listed.ids}
    if ratio <= 1 or not known:
        return {}
    moves = [
        PriceMove(listing_id=row["id"], connection_id=connection.id, vendor_sku=row["vendor_sku"], before=row["before"],
                  after=row["after"], currency=row["currency"])
        for row in await store.far_moves(tx, connection.id, ratio)
        if known.get(row["vendor_sku"]) == row["id"]
    ]  # fmt: skip
    far = {move.listing_id for move in moves}
    waiting = await pricing.guard_moves(tx, connection.id, moves, sorted(set(known.values()) - far))
    told = {}
    for move in moves:
        if move.listing_id in waiting:
            row = prepared.latest[move.vendor_sku]
            prepared.latest[move.vendor_sku] = row.model_copy(update={"price": move.before})
            stands, new = (f"{price.normalize():f}" for price in (move.before, move.after))
            told[move.vendor_sku] = (
                f"the price moved from {stands} to {new} {move.currency} at once; {stands} stands until our staff have "
                "confirmed it"
            )
    if told:
        await store.keep_prices(tx, connection.id, sorted(told))
    return told


async def on_move_confirmed(tx: Tx, event: PriceMoveConfirmed) -> None:
    """A far move was meant: the price takes effect, unless the vendor has sent another one since."""
    product = await store.set_price(tx, event.listing_id, event.before, event.after)
    if product is not None:
        await store.lock_products(tx, [product])
        await store.refresh_products(tx, {product})
        await changes.note(tx, {product})
        await check_products(tx, [product])


async def on_listings_changed(tx: Tx, event: ListingsChanged) -> None:
    """Weigh the packs of the articles that changed listings are variants of, apart from the pull."""
    rows = await store.packs_of_families(tx, event.connection_id, event.listing_ids)
    offers = [
        PackOffer(group=row["family_id"], listing_id=row["id"], total=row["total"], currency=row["currency"],
                  pack=row["pack"])
        for row in rows
    ]  # fmt: skip
    if offers:
        await pricing.weigh_packs(tx, offers)


async def on_references(tx: Tx, event: ReferencesRecorded) -> None:
    """New reference prices: have the offers of these products judged again."""
    await check_products(tx, event.product_ids)


async def check_products(tx: Tx, product_ids: Sequence[int]) -> None:
    """Have all offers of these products judged, as they are listed now. The products are locked first: who judges by an
    older price must not write after who judged by the newer one."""
    await store.lock_products(tx, sorted(set(product_ids)))
    rows = await store.prices_of_products(tx, product_ids)
    if rows:
        await pricing.check(tx, [_offer(row) for row in rows])


def _offer(row: asyncpg.Record) -> OfferPrice:
    values: dict[str, Any] = dict(row)
    opens, closes = window_of(values.pop("attributes") or {})
    return OfferPrice(**values, valid_from=opens, valid_to=closes)


async def on_holds_changed(tx: Tx, event: ParityHoldsChanged) -> None:
    """Malls began or ceased to hold listings back: their products changed for them, and mirrors hear of it."""
    listings = {listing for ids in event.listings.values() for listing in ids}
    await changes.note(tx, (await store.products_of(tx, listings)).values())
    pricing.forget_held()
