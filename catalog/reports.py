"""The stock that a batch reports: of its rows, of rows that have not changed, of a stock pull, of bookable times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalog import stock, store
from catalog.batching import Batch
from catalog.stock import Figure
from connectors.contracts import RAW_LIMIT, BadRow, ConnectionView
from hub.kernel import metrics
from hub.kernel.db import Tx


async def unchanged_ids(tx: Tx, connection: ConnectionView, batch: Batch, at_hand: Mapping[str, int]) -> dict[str, int]:
    """Listing ids of the rows whose content the catalogue has."""
    ids = {f.vendor_sku: at_hand[f.vendor_sku] for f in batch.same if f.vendor_sku in at_hand}
    missing = [f.vendor_sku for f in batch.same if f.vendor_sku not in ids]
    if missing:
        ids.update(await store.listing_ids(tx, connection.id, missing))
    return ids


def figures_of(batch: Batch, ids: Mapping[str, int], same: Mapping[str, int]) -> list[Figure]:
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


async def stock_figures(tx: Tx, connection: ConnectionView, batch: Batch) -> list[Figure]:
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


async def slot_figures(
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
            raw = slot.model_dump_json()[:RAW_LIMIT]
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
