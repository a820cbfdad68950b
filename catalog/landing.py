"""One batch of vendor rows into the catalogue, inside the caller's transaction: match -> list -> stock -> products ->
price check, each step set by set. Rows whose content is as before cost one comparison and their stock report; only
what differs is staged. Row locks are taken in one order everywhere: listings, then the shelf, then products."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from catalog import changes, matching, stock, store
from catalog.batching import READY_COLUMNS, Batch, Ready
from catalog.contracts import ListingsChanged
from catalog.stock import Figure
from connectors.contracts import BadRow, ConnectionView, ListingIn
from hub.kernel import metrics
from hub.kernel.db import Tx
from pricing import api as pricing
from pricing.contracts import Evidence, OfferPrice, ReferenceIn


@dataclass(slots=True)
class Tally:
    """What landing rows did, in rows."""

    seen: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    quarantined: int = 0
    merged: int = 0
    stock_seen: int = 0
    stock_changed: int = 0

    def add(self, other: Tally) -> None:
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))


@dataclass(slots=True)
class _Listed:
    """The listings of a batch once they are in the table."""

    ids: dict[str, int] = field(default_factory=dict)  # vendor_sku -> listing id
    products: dict[int, int] = field(default_factory=dict)  # listing id -> product id
    written: set[int] = field(default_factory=set)  # listing ids created or updated
    changed_skus: set[str] = field(default_factory=set)
    created_skus: set[str] = field(default_factory=set)
    alone: set[int] = field(default_factory=set)  # products made of one row: what that row said is written already
    left: set[int] = field(default_factory=set)  # products that a listing moved away from
    adopting: list[tuple[int, str | None, str | None]] = field(default_factory=list)
    merged: int = 0


@dataclass(slots=True)
class Prepared:
    """A batch that has been matched and staged but not yet written. `changed`, `befores` (the product of each so far)
    and the products of `assignment` run parallel."""

    latest: dict[str, ListingIn]  # vendor_sku -> row
    bad: list[BadRow]
    changed: list[str] = field(default_factory=list)
    befores: list[int | None] = field(default_factory=list)
    assignment: matching.Assignment = field(default_factory=matching.Assignment)
    listed: _Listed = field(default_factory=_Listed)


async def land(
    tx: Tx, connection: ConnectionView, batch: Batch, run_id: int | None, same_ids: Mapping[str, int] | None = None
) -> tuple[Tally, list[BadRow]]:
    """Apply a batch of a supply connection. `same_ids` names the listings of `batch.same` as far as they are at hand.
    Returns what it did and the rows refused on the way (the batch's own bad rows are not repeated). Raises Retry
    when another transaction got in between; run it again."""
    return await write(tx, connection, batch, await prepare(tx, connection, batch), run_id, same_ids)


async def prepare(tx: Tx, connection: ConnectionView, batch: Batch) -> Prepared:
    """The first half of `land`: match the rows that differ from the catalogue and stage them. It locks nothing that
    others could wait for, so it may go on while the batch before is still being written."""
    latest = {row.vendor_sku: row for row in batch.rows}
    ready = {row.vendor_sku: made for row, made in zip(batch.rows, batch.ready, strict=True)}
    bad = _duplicates(batch) if len(latest) < len(batch.rows) else []
    prepared = Prepared(latest, bad)
    if latest:
        await _stage(tx, connection, prepared, ready)
    return prepared


async def write(
    tx: Tx,
    connection: ConnectionView,
    batch: Batch,
    prepared: Prepared,
    run_id: int | None,
    same_ids: Mapping[str, int] | None = None,
) -> tuple[Tally, list[BadRow]]:
    """The second half of `land`, in the transaction that prepared the batch."""
    latest, bad = prepared.latest, prepared.bad
    listed = await _list(tx, connection, prepared)
    same = await _same(tx, connection, batch, same_ids or {})
    figures = _figures(batch, listed.ids, same)
    figures += await _stock(tx, connection, batch)
    bad += await _slots(tx, connection, batch, listed.ids, figures)
    all_new = len(listed.created_skus) == len(listed.ids) and not same and not batch.slots and not batch.stock
    outcome = await stock.apply_figures(tx, figures, all_new=all_new)

    if strangers := outcome.changed - listed.products.keys():  # stock or slots of what came in an earlier batch
        listed.products.update(await store.products_of(tx, strangers))
    touched = {listed.products[i] for i in listed.written | outcome.flipped} | listed.left
    one_figure_each = len(latest) == len(batch.rows) and not batch.slots and not batch.stock
    stale = touched - listed.alone if one_figure_each else touched
    await store.lock_products(tx, sorted(stale))
    if listed.adopting:
        await store.adopt_keys(tx, listed.adopting)
    if listed.written and stale:
        await store.retitle_products(tx, connection.id)
    await store.refresh_products(tx, stale)
    await changes.note(tx, touched | {listed.products[i] for i in outcome.changed})
    if listed.written:
        await _check_prices(tx, latest, listed)
        tx.emit(ListingsChanged(connection_id=connection.id, run_id=run_id, listing_ids=sorted(listed.written)))
    if run_id is not None and batch.captured_at is not None and batch.size > len(batch.stock):
        named = {row.vendor_sku for row in batch.bad if row.vendor_sku}  # refused, but there
        refused_ids = await store.listing_ids(tx, connection.id, named) if named else {}
        seen = [*listed.ids.values(), *same.values(), *refused_ids.values()]
        await store.add_run_page(tx, run_id, seen, batch.captured_at)

    created = len(listed.created_skus)
    updated = len(listed.changed_skus) - created
    tally = Tally(
        seen=batch.size - len(batch.stock),
        created=created,
        updated=updated,
        unchanged=len(batch.same) + len(latest) - created - updated,
        quarantined=len(bad) + len(batch.bad),
        merged=listed.merged,
        stock_seen=len(batch.stock),
        stock_changed=len(outcome.changed - listed.written),
    )
    return tally, bad


def count(tally: Tally) -> None:
    """Show a committed batch in the metrics."""
    for outcome in ("created", "updated", "unchanged", "quarantined"):
        metrics.LISTINGS.labels(outcome).inc(getattr(tally, outcome))


def refused(row: ListingIn, reason: str, pointer: str = "") -> BadRow:
    """A row that was valid as a record and could not be used all the same."""
    return BadRow(reason=reason, pointer=pointer, vendor_sku=row.vendor_sku, raw=row.model_dump_json()[:8000])


def _duplicates(batch: Batch) -> list[BadRow]:
    """Rows that a later row of the same batch contradicts. The same row twice, or one row a location, is fine."""
    last: dict[str, bytes] = {}
    bad = []
    for row, made in zip(reversed(batch.rows), reversed(batch.ready), strict=True):
        if last.setdefault(row.vendor_sku, made.digest) != made.digest:
            bad.append(refused(row, "the same SKU comes again in this batch with other content; the last one counts"))
    return bad


async def _same(tx: Tx, connection: ConnectionView, batch: Batch, at_hand: Mapping[str, int]) -> dict[str, int]:
    """Listing ids of the rows whose content the catalogue has."""
    ids = {f.vendor_sku: at_hand[f.vendor_sku] for f in batch.same if f.vendor_sku in at_hand}
    missing = [f.vendor_sku for f in batch.same if f.vendor_sku not in ids]
    if missing:
        ids.update(await store.listing_ids(tx, connection.id, missing))
    return ids


def _figures(batch: Batch, ids: Mapping[str, int], same: Mapping[str, int]) -> list[Figure]:
    """The stock reports of a batch. Rows without a time of their own were true when the page was captured."""
    figures = [
        Figure(ids[r.vendor_sku], r.location, r.on_hand, r.level, r.version, r.reported_at or at)
        for r, at in zip(batch.rows, batch.times, strict=True)
        if r.on_hand is not None or r.level is not None
    ]
    figures += [
        Figure(same[sku], location, on_hand, level, version, reported_at or at)
        for (sku, on_hand, level, location, version, reported_at), at in zip(batch.same, batch.same_times, strict=True)
        if on_hand is not None or level is not None
    ]
    if len(ids) + len(same) < len(figures):  # of two reports with one stamp the last counts
        return list({(f.listing_id, f.location, f.version, f.reported_at): f for f in figures}.values())
    return figures


async def _stage(tx: Tx, connection: ConnectionView, prepared: Prepared, ready: Mapping[str, Ready]) -> None:
    latest, listed = prepared.latest, prepared.listed
    skus = list(latest)
    current: dict[str, int] = {}  # vendor_sku -> product id so far
    same: set[str] = set()
    for sku, listing_id, product_id, mark, active in await store.known_listings(tx, connection.id, skus):
        listed.ids[sku] = listing_id
        listed.products[listing_id] = current[sku] = product_id
        if mark == ready[sku].digest and active == latest[sku].active:
            same.add(sku)
    changed = prepared.changed = [sku for sku in skus if sku not in same] if same else skus
    if not changed:
        return
    prepared.befores = [current.get(sku) for sku in changed]
    staged = [ready[sku] for sku in changed]
    assignment = prepared.assignment = await _match(tx, staged, prepared.befores)
    makers = set(assignment.makers)
    await store.stage(
        tx,
        READY_COLUMNS,
        [
            (*made.columns, product.id, k in makers, product.gtin, product.brand_model)
            for k, (made, product) in enumerate(zip(staged, assignment.products, strict=True))
        ],
    )


async def _stock(tx: Tx, connection: ConnectionView, batch: Batch) -> list[Figure]:
    """The reports of a stock pull. What it names and the catalogue does not list is counted and passed over: stock
    systems know more articles than a shop sells."""
    if not batch.stock:
        return []
    ids = await store.listing_ids(tx, connection.id, {figure.vendor_sku for figure in batch.stock})
    figures = [
        Figure(ids[sku], location, on_hand, level, version, reported_at or at)
        for (sku, on_hand, level, location, version, reported_at), at in zip(
            batch.stock, batch.stock_times, strict=True
        )
        if sku in ids
    ]
    if strangers := len(batch.stock) - len(figures):
        metrics.STOCK_REPORTS.labels(stock.UNKNOWN_SKU).inc(strangers)
    return figures


async def _list(tx: Tx, connection: ConnectionView, prepared: Prepared) -> _Listed:
    listed, changed, assignment = prepared.listed, prepared.changed, prepared.assignment
    if not changed:
        return listed
    listed.changed_skus = set(changed)
    makers = set(assignment.makers)
    shared = Counter(product.id for product in assignment.products)
    listed.alone = {p.id for p in assignment.products if p.fresh and shared[p.id] == 1}
    listed.adopting = [(p.id, p.gtin, p.brand_model) for p in assignment.adopting]
    if makers:
        await store.insert_staged_products(tx)
    write = store.upsert_staged_listings if listed.ids else store.insert_staged_listings
    for listing_id, sku, created in await write(tx, connection.id):
        listed.ids[sku] = listing_id
        listed.written.add(listing_id)
        if created:
            listed.created_skus.add(sku)
    missing = listed.changed_skus - listed.ids.keys()
    if missing:  # a push wrote the very same rows at this moment
        listed.ids.update(await store.listing_ids(tx, connection.id, missing))
    for k, (sku, before, product) in enumerate(zip(changed, prepared.befores, assignment.products, strict=True)):
        listed.products[listed.ids[sku]] = product.id
        if before is not None and before != product.id:
            listed.left.add(before)
        if before != product.id and k not in makers:
            listed.merged += 1
    return listed


async def _match(tx: Tx, rows: Sequence[Ready], current: Sequence[int | None]) -> matching.Assignment:
    keys = [matching.Keys(row.gtin, row.brand_model, product_id) for row, product_id in zip(rows, current, strict=True)]
    gtins = {k.gtin for k in keys if k.gtin is not None}
    brand_models = {k.brand_model for k in keys if k.brand_model is not None}
    products = {k.current for k in keys if k.current is not None}
    found: list[matching.Product] = []
    if gtins or brand_models or products:
        found = [matching.Product(*row) for row in await store.find_products(tx, gtins, brand_models, products)]
    provisional = itertools.count(-1, -1)
    assignment = matching.assign(keys, found, lambda: next(provisional))
    makers = [assignment.products[i] for i in assignment.makers]
    if makers:
        for product, number in zip(makers, await store.product_numbers(tx, len(makers)), strict=True):
            product.id = number
    return assignment


async def _slots(
    tx: Tx, connection: ConnectionView, batch: Batch, ids: dict[str, int], figures: list[Figure]
) -> list[BadRow]:
    """Write the batch's bookable times and add their figures: one unit at the location that is the slot. Returns
    slots of services that the connection does not list."""
    if not batch.slots:
        return []
    services = dict(ids)
    if unknown := {slot.vendor_sku for slot in batch.slots} - services.keys():
        services.update(await store.listing_ids(tx, connection.id, unknown))
    bad: list[BadRow] = []
    rows: dict[tuple[int, str], tuple[Any, ...]] = {}
    reports: dict[tuple[int, str], Figure] = {}
    for slot in batch.slots:
        listing_id = services.get(slot.vendor_sku)
        if listing_id is None or slot.end <= slot.start:
            reason = "the slot's service is not listed" if listing_id is None else "the slot ends before it starts"
            raw = slot.model_dump_json()[:8000]
            bad.append(BadRow(reason=reason, pointer="/vendor_sku", vendor_sku=slot.vendor_sku, raw=raw))
            continue
        key = (listing_id, slot.slot_ref)
        known = reports.get(key)
        if known is None or known.reported_at <= slot.reported_at:
            rows[key] = (*key, slot.version, slot.start, slot.end, slot.city, slot.department)
            reports[key] = Figure(*key, int(slot.free), None, None, slot.reported_at)
    await store.put_slots(tx, list(rows.values()))
    figures += reports.values()
    return bad


async def _check_prices(tx: Tx, latest: Mapping[str, ListingIn], listed: _Listed) -> None:
    """Have the new prices judged. Products made in this transaction have nothing to be compared with yet."""
    offers: list[OfferPrice] = []
    gone: list[int] = []
    for sku in listed.changed_skus:
        row, listing_id = latest[sku], listed.ids[sku]
        product_id = listed.products[listing_id]
        if not row.active:
            gone.append(listing_id)
        elif product_id not in listed.alone:
            offers.append(
                OfferPrice(
                    listing_id=listing_id, product_id=product_id, price=row.price, currency=row.currency,
                    shipping=row.shipping, coupon=row.coupon, pack=row.pack or row.title,
                )
            )  # fmt: skip
    if offers:
        await pricing.check(tx, offers)
    if gone:
        await pricing.forget_listings(tx, gone)


async def land_references(tx: Tx, connection: ConnectionView, batch: Batch) -> Tally:
    """Apply a batch of a reference connection: it lists nothing; each row that is a product of ours becomes an
    observed price with its evidence. Rows of things we do not sell count as unchanged."""
    keys = [(made.gtin, made.brand_model) for made in batch.ready]
    found = [
        matching.Product(*row)
        for row in await store.find_products(tx, {k[0] for k in keys if k[0]}, {k[1] for k in keys if k[1]}, ())
    ]
    refs: list[ReferenceIn] = []
    for row, at, product in zip(batch.rows, batch.times, matching.recognise(keys, found), strict=True):
        if product is not None and row.active:
            refs.append(_reference(connection, row, at, product.id))
    recorded = await pricing.record_references(tx, refs) if refs else 0
    listed = len(batch.rows) + len(batch.same)
    return Tally(
        seen=listed + len(batch.bad), created=recorded, unchanged=listed - recorded, quarantined=len(batch.bad)
    )


# A merchant feed's condition is of the article, ours of the price: a new article at its usual price is ordinary.
_CONDITIONS = {"new": "ordinary", "refurbished": "used"}


def _reference(connection: ConnectionView, row: ListingIn, at: datetime, product_id: int) -> ReferenceIn:
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
            source=f"{connection.vendor_name}/{connection.name}",
            url=row.url or "",
            # A page's bytes hold many rows; what is kept and can be checked again is this row as it was mapped.
            sha256=row.attributes.get("sha256") or hashlib.sha256(row.model_dump_json().encode()).hexdigest(),
            captured_at=row.reported_at or at,
            region=row.attributes.get("region", "CN"),
            parser=f"{connection.connector}/1",
        ),
    )
