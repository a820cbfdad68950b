"""The first half of landing a batch: rows are matched and staged, and it is decided whose SKU is whose. Nothing here
locks what others could wait for, so it may go on while the batch before is still being written."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from catalog import identity, matching, store
from catalog.batching import READY_COLUMNS, Batch, Ready
from catalog.contracts import ListingIdentityChanged
from connectors.contracts import RAW_LIMIT, BadRow, ConnectionView, ListingIn
from hub.kernel.db import Tx


@dataclass(slots=True)
class Listed:
    """The listings of a batch once they are in the table."""

    ids: dict[str, int] = field(default_factory=dict)  # vendor_sku -> listing id
    products: dict[int, int] = field(default_factory=dict)  # listing id -> product id
    written: set[int] = field(default_factory=set)  # listing ids created or updated
    changed_skus: set[str] = field(default_factory=set)
    created_skus: set[str] = field(default_factory=set)
    alone: set[int] = field(default_factory=set)  # products made of one row: what that row said is written already
    left: set[int] = field(default_factory=set)  # products that a listing moved away from
    gone: set[int] = field(default_factory=set)  # listings off sale because their SKU is another's now
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
    listed: Listed = field(default_factory=Listed)
    identities: identity.Decisions = field(default_factory=identity.Decisions)


async def prepare(tx: Tx, connection: ConnectionView, batch: Batch) -> Prepared:
    """The first half of `land`: match the rows that differ from the catalogue and stage them. It locks nothing that
    others could wait for, so it may go on while the batch before is still being written."""
    latest = {row.vendor_sku: row for row in batch.rows}
    ready = {row.vendor_sku: made for row, made in zip(batch.rows, batch.ready, strict=True)}
    bad = _duplicates(batch) if len(latest) < len(batch.rows) else []
    bad += _namesakes(latest)
    prepared = Prepared(latest, bad)
    if latest:
        await _stage(tx, connection, prepared, ready)
    return prepared


async def settle_identities(tx: Tx, connection: ConnectionView, prepared: Prepared) -> None:
    """Carry out what was decided about SKUs, before the rows are written, and tell people."""
    decisions = prepared.identities
    if not decisions:
        return
    for listing_id, product_id in await store.settle_identities(tx, connection.id, decisions):
        prepared.listed.gone.add(listing_id)
        prepared.listed.left.add(product_id)
    tx.emit(*(ListingIdentityChanged(connection_id=connection.id, **told._asdict()) for told in decisions.told))


def refused(row: ListingIn, reason: str, pointer: str = "") -> BadRow:
    """A row that was valid as a record and could not be used all the same."""
    return BadRow(reason=reason, pointer=pointer, vendor_sku=row.vendor_sku, raw=row.model_dump_json()[:RAW_LIMIT])


def _duplicates(batch: Batch) -> list[BadRow]:
    """Rows that a later row of the same batch contradicts. The same row twice, or one row a location, is fine."""
    last: dict[str, bytes] = {}
    bad = []
    for row, made in zip(reversed(batch.rows), reversed(batch.ready), strict=True):
        if last.setdefault(row.vendor_sku, made.digest) != made.digest:
            bad.append(refused(row, "the same SKU comes again in this batch with other content; the last one counts"))
    return bad


def _namesakes(latest: dict[str, ListingIn]) -> list[BadRow]:
    """Rows that share the vendor's own id under different SKUs: the last one counts, the others leave `latest`."""
    last: dict[str, str] = {}
    for sku, row in latest.items():
        if row.external_id is not None:
            last[row.external_id] = sku
    doubled = [sku for sku, row in latest.items() if row.external_id is not None and last[row.external_id] != sku]
    return [
        refused(latest.pop(sku), "this external id comes again with another SKU; the last counts", "/external_id")
        for sku in doubled
    ]


async def _stage(tx: Tx, connection: ConnectionView, prepared: Prepared, ready: Mapping[str, Ready]) -> None:
    latest, listed = prepared.latest, prepared.listed
    skus = list(latest)
    current: dict[str, int] = {}  # vendor_sku -> product id so far
    same: set[str] = set()
    pinned: set[str] = set()  # a person chose their product
    decisions = prepared.identities = await _identities(tx, connection, latest, ready)
    for sku, listing_id, product_id, mark, active, by_hand in await store.known_listings(tx, connection.id, skus):
        if sku in decisions.now:
            continue  # this SKU means another listing from here on
        listed.ids[sku] = listing_id
        listed.products[listing_id] = current[sku] = product_id
        if by_hand:
            pinned.add(sku)
        if mark == ready[sku].digest and active == latest[sku].active and listing_id not in decisions.adopted:
            same.add(sku)
    for sku, listing in decisions.now.items():
        if listing is not None:
            listed.ids[sku] = listing.id
            listed.products[listing.id] = current[sku] = listing.product_id
            if listing.by_hand:
                pinned.add(sku)
    changed = prepared.changed = [sku for sku in skus if sku not in same] if same else skus
    if not changed:
        return
    prepared.befores = [current.get(sku) for sku in changed]
    staged = [ready[sku] for sku in changed]
    keys = [
        matching.Keys(made.gtin, made.brand_model, product_id, sku, sku in pinned)
        for sku, made, product_id in zip(changed, staged, prepared.befores, strict=True)
    ]
    assignment = prepared.assignment = await _match(tx, connection, keys)
    makers = set(assignment.makers)
    await store.stage(
        tx,
        READY_COLUMNS,
        [
            (*made.columns, product.id, k in makers, product.gtin, product.brand_model)
            for k, (made, product) in enumerate(zip(staged, assignment.products, strict=True))
        ],
    )


async def _identities(
    tx: Tx, connection: ConnectionView, latest: Mapping[str, ListingIn], ready: Mapping[str, Ready]
) -> identity.Decisions:
    external = {row.external_id for row in latest.values() if row.external_id is not None}
    if not external:
        return identity.Decisions()
    families = {row.family_id for row in latest.values() if row.family_id is not None}
    known = await store.known_identities(tx, connection.id, list(latest), sorted(external | families))
    if all(row[4] is not None and latest.get(row[1]) and latest[row[1]].external_id == row[4] for row in known):
        return identity.Decisions()  # nothing moved: what nearly every batch finds
    listings = [
        identity.Known(
            row[0], row[1], row[2], row[3], row[4], row[5], row[6], matching.brand_model_key(row[7], row[8]), row[9]
        )
        for row in known
    ]
    coming = [
        identity.Coming(sku, row.external_id, row.family_id, row.title, row.gtin, ready[sku].brand_model)
        for sku, row in latest.items()
    ]
    return identity.decide(coming, listings)


async def _match(tx: Tx, connection: ConnectionView, keys: Sequence[matching.Keys]) -> matching.Assignment:
    gtins = {k.gtin for k in keys if k.gtin is not None}
    brand_models = {k.brand_model for k in keys if k.brand_model is not None}
    products = {k.current for k in keys if k.current is not None}
    found: list[matching.Product] = []
    if gtins or brand_models or products:
        found = [matching.Product(*row) for row in await store.find_products(tx, gtins, brand_models, products)]
    places: dict[int, set[str]] = {}
    named = {p.id for p in found if p.brand_model in brand_models or p.old_brand_model in brand_models}
    if named:
        for product_id, sku in await store.places_of_vendor(tx, connection.id, named):
            places.setdefault(product_id, set()).add(sku)
    provisional = itertools.count(-1, -1)
    assignment = matching.assign(keys, found, lambda: next(provisional), places)
    makers = [assignment.products[i] for i in assignment.makers]
    if makers:
        for product, number in zip(makers, await store.product_numbers(tx, len(makers)), strict=True):
            product.id = number
    return assignment
