"""One batch of vendor rows into the catalogue, inside the caller's transaction: match -> list -> stock -> products ->
price check, each step set by set. Rows whose content is as before cost one comparison and their stock report; only
what differs is staged. Row locks are taken in one order everywhere: listings, then the shelf, then products."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from catalog import changes, prices, reports, staging, stock, store
from catalog.batching import Batch
from catalog.contracts import ListingsChanged
from catalog.observing import note_market_prices
from catalog.staging import Listed, Prepared
from catalog.tally import Tally
from connectors.contracts import BadRow, ConnectionView, ListingIn
from hub.kernel.db import Tx
from pricing import api as pricing
from pricing.contracts import OfferPrice


class Landed(NamedTuple):
    """What a batch did: counts, rows refused on the way (the batch's own bad rows are not repeated), and the SKUs whose
    listing was written."""

    tally: Tally
    bad: list[BadRow]
    written: frozenset[str]
    waiting: Mapping[str, str]  # SKUs whose new price waits for confirmation, and what is said of each


async def land(
    tx: Tx, connection: ConnectionView, batch: Batch, run_id: int | None, same_ids: Mapping[str, int] | None = None
) -> Landed:
    """Apply a batch of a supply connection. `same_ids` names the listings of `batch.same` as far as they are at hand.
    Raises Retry when another transaction got in between; run it again."""
    return await write(tx, connection, batch, await staging.prepare(tx, connection, batch), run_id, same_ids)


async def write(
    tx: Tx,
    connection: ConnectionView,
    batch: Batch,
    prepared: Prepared,
    run_id: int | None,
    same_ids: Mapping[str, int] | None = None,
) -> Landed:
    """The second half of `land`, in the transaction that prepared the batch."""
    latest, bad = prepared.latest, prepared.bad
    await staging.settle_identities(tx, connection, prepared)
    waiting = await prices.hold_back_far_moves(tx, connection, prepared)
    listed = await _list(tx, connection, prepared)
    same = await reports.unchanged_ids(tx, connection, batch, same_ids or {})
    figures = reports.figures_of(batch, listed.ids, same)
    figures += await reports.stock_figures(tx, connection, batch)
    bad += await reports.slot_figures(tx, connection, batch, listed.ids, figures)
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
    if listed.written or listed.gone:
        await _check_prices(tx, latest, listed)
        tx.emit(ListingsChanged(connection_id=connection.id, run_id=run_id, listing_ids=sorted(listed.written)))
    await note_market_prices(tx, connection, batch, listed)
    if run_id is not None and batch.captured_at is not None and batch.size:
        named = {row.vendor_sku for row in batch.bad if row.vendor_sku}  # refused, but there
        refused_ids = await store.listing_ids(tx, connection.id, named) if named else {}
        seen = [*listed.ids.values(), *same.values(), *refused_ids.values()]
        told = [figure for figure in figures if figure.location or not batch.slots]
        where = stock.once([figure.location for figure in told])
        await store.add_run_page(tx, run_id, seen, batch.captured_at, [figure.listing_id for figure in told], where)

    created = len(listed.created_skus)
    updated = len(listed.changed_skus) - created
    tally = Tally(
        seen=batch.size - len(batch.stock),
        created=created,
        updated=updated,
        unchanged=len(batch.same) + len(latest) - created - updated,
        quarantined=len(bad) + len(batch.bad) + len(waiting),
        merged=listed.merged,
        stock_seen=len(batch.stock),
        stock_changed=len(outcome.changed - listed.written),
    )
    return Landed(tally, bad, frozenset(listed.changed_skus), waiting)


async def _list(tx: Tx, connection: ConnectionView, prepared: Prepared) -> Listed:
    listed, changed, assignment = prepared.listed, prepared.changed, prepared.assignment
    if not changed:
        return listed
    listed.changed_skus = set(changed)
    makers = set(assignment.makers)
    shared = Counter(product.id for product in assignment.products)
    listed.alone = {p.id for p in assignment.products if p.fresh and shared[p.id] == 1}
    listed.adopting = [(p.id, p.gtin, p.brand_model) for p in assignment.adopting]
    if makers:
        await store.insert_staged_products(tx, connection.vendor_id)
    write = store.upsert_staged_listings if listed.ids else store.insert_staged_listings
    placed: dict[int, int] = {}
    for listing_id, sku, product_id, created in await write(tx, connection.id):
        listed.ids[sku] = listing_id
        placed[listing_id] = product_id
        listed.written.add(listing_id)
        if created:
            listed.created_skus.add(sku)
    missing = listed.changed_skus - listed.ids.keys()
    if missing:  # a push wrote the very same rows at this moment
        listed.ids.update(await store.listing_ids(tx, connection.id, missing))
    for k, (sku, before, product) in enumerate(zip(changed, prepared.befores, assignment.products, strict=True)):
        listed.products[listed.ids[sku]] = placed.get(listed.ids[sku], product.id)
        if before is not None and before != product.id:
            listed.left.add(before)
        if before != product.id and k not in makers:
            listed.merged += 1
    return listed


async def _check_prices(tx: Tx, latest: Mapping[str, ListingIn], listed: Listed) -> None:
    """Have the new prices judged. Products made in this transaction have nothing to be compared with yet."""
    offers: list[OfferPrice] = []
    gone: list[int] = sorted(listed.gone)
    for sku in listed.changed_skus:
        row, listing_id = latest[sku], listed.ids[sku]
        product_id = listed.products[listing_id]
        if not row.active:
            gone.append(listing_id)
        elif product_id not in listed.alone:
            offers.append(prices.offer_of(row, listing_id, product_id))
    if offers:
        await pricing.check(tx, offers)
    if gone:
        await pricing.forget_listings(tx, gone)
