"""Reference prices that come in with a pull: rows of a reference connection, and the market price that a supply
vendor's own system states beside its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from catalog import matching, store
from catalog.batching import Batch
from catalog.prices import instant, window_of
from catalog.staging import Listed
from catalog.tally import Tally
from connectors.contracts import ConnectionView, ListingIn
from hub.kernel.db import Tx
from pricing import api as pricing
from pricing.contracts import Evidence, ReferenceIn, Unmatched


async def land_references(tx: Tx, connection: ConnectionView, batch: Batch) -> Tally:
    """Apply a batch of a reference connection: it lists nothing; each row that is a product of ours becomes an
    observed price with its evidence. Rows of things we do not sell count as unchanged and are kept to be shown."""
    keys = [(made.gtin, made.brand_model) for made in batch.ready]
    refs: list[ReferenceIn] = []
    ours: list[str] = []
    strangers: list[Unmatched] = []
    for row, at, product in zip(batch.rows, batch.times, await _recognised(tx, keys), strict=True):
        if product is None:
            strangers.append(Unmatched(**{name: getattr(row, name) for name in Unmatched.model_fields}))
            continue
        ours.append(row.vendor_sku)
        if row.active:
            refs += _references(connection, row, at, product.id)
    if batch.rows:
        await pricing.note_unmatched(tx, connection.id, strangers, ours)
    recorded = await pricing.record_references(tx, refs) if refs else 0
    listed = len(batch.rows) + len(batch.same)
    return Tally(
        seen=listed + len(batch.bad), created=recorded, unchanged=listed - recorded, quarantined=len(batch.bad)
    )


async def _recognised(tx: Tx, keys: Sequence[tuple[str | None, str | None]]) -> list[matching.Product | None]:
    """The product of ours that each (GTIN, brand and model) names."""
    gtins, models = {gtin for gtin, _ in keys if gtin}, {model for _, model in keys if model}
    found = [matching.Product(*row) for row in await store.find_products(tx, gtins, models, ())]
    return matching.recognise(keys, found)


async def land_observed(tx: Tx, source: str, rows: Sequence[ListingIn], at: datetime, parser: str) -> list[int | None]:
    """Rows of prices that a person gathered, such as a table by hand: each that is a product of ours becomes an
    observed price. Returns the product of each row, None for what we do not sell."""
    keys = [(row.gtin, matching.brand_model_key(row.brand, row.model)) for row in rows]
    products = [product.id if product else None for product in await _recognised(tx, keys)]
    refs = [
        _observation(source, parser, row, at, product)
        for row, product in zip(rows, products, strict=True)
        if product is not None
    ]
    if refs:
        await pricing.record_references(tx, refs)
    return products


async def note_market_prices(tx: Tx, connection: ConnectionView, batch: Batch, listed: Listed) -> None:
    """Record what the vendor's own system says an ordinary buyer pays, once per listing and pull."""
    stated = {row.vendor_sku: (row, at) for row, at in zip(batch.rows, batch.times, strict=True) if row.market_price}
    refs: list[ReferenceIn] = []
    for sku, (row, at) in stated.items():
        listing_id = listed.ids.get(sku)
        if listing_id is None or not row.active or row.market_price is None:
            continue
        public = row.model_copy(update={"price": row.market_price, "shipping": Decimal(0), "coupon": Decimal(0)})
        refs.append(_reference(connection, public, at, listed.products[listing_id], "stated market price"))
    if refs:
        await pricing.record_references(tx, refs)


# A merchant feed's condition is of the article, ours of the price: a new article at its usual price is ordinary.
_CONDITIONS = {"new": "ordinary", "refurbished": "used"}


def _references(connection: ConnectionView, row: ListingIn, at: datetime, product_id: int) -> list[ReferenceIn]:
    """What a row says about prices: the one that is asked now, within its window, and the usual or planned one beside
    it (`other_price`), so that the verdict changes when a sale begins or ends, whether or not the shop is read then."""
    now = _reference(connection, row, at, product_id)
    opens, closes = window_of(row.attributes)
    other = _OTHER_PRICE.search(row.attributes.get("other_price", ""))
    if other is None:
        return [now.model_copy(update={"valid_from": opens, "valid_to": closes})]
    planned = {
        "valid_from": instant(row.attributes.get("other_price_from")),
        "valid_to": instant(row.attributes.get("other_price_until")),
    }
    beside = now.model_copy(update={"price": Decimal(other[0].replace(",", "")), **planned})
    if planned["valid_from"] is not None:
        return [now, beside]  # the usual price counts after the planned sale as before it
    return [now.model_copy(update={"valid_from": opens, "valid_to": closes}), beside]


_OTHER_PRICE = re.compile(r"\d[\d,]*(?:\.\d{1,4})?")


def _reference(
    connection: ConnectionView, row: ListingIn, at: datetime, product_id: int, what: str = ""
) -> ReferenceIn:
    source = f"{connection.vendor_name}/{connection.name}" + (f": {what}" if what else "")
    return _observation(source, f"{connection.connector}/1", row, at, product_id)


def _observation(source: str, parser: str, row: ListingIn, at: datetime, product_id: int) -> ReferenceIn:
    said = row.attributes.get("condition", "ordinary")
    condition: Any = _CONDITIONS.get(said, said)
    return ReferenceIn(
        product_id=product_id,
        price=row.price,
        currency=row.currency,
        shipping=row.shipping,
        coupon=row.coupon,
        pack=row.pack or row.title,
        condition=condition,
        evidence=Evidence(
            source=source,
            url=row.url or "",
            # A page's bytes hold many rows; what is kept and can be checked again is this row as it was mapped.
            sha256=row.attributes.get("sha256") or hashlib.sha256(row.model_dump_json().encode()).hexdigest(),
            captured_at=row.reported_at or at,
            region=row.attributes.get("region", "CN"),
            parser=parser,
        ),
    )
