"""Whose SKU is whose: what follows when a vendor renames a SKU, gives it to another article, or splits an article into
variants. Pure. A vendor's own lasting id of a thing (`external_id`) outlives its SKU; the SKU is what we order by. A
vendor that gives no such ids is taken at its word: the same SKU is the same thing."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Kind = Literal["renamed", "reused", "recreated", "split"]


class Known(NamedTuple):
    """A listing as far as its identity goes."""

    id: int
    vendor_sku: str
    product_id: int
    active: bool
    external_id: str | None
    title: str
    gtin: str | None
    brand_model: str | None
    by_hand: bool = False


class Coming(NamedTuple):
    """A row on its way in."""

    vendor_sku: str
    external_id: str | None
    family_id: str | None
    title: str
    gtin: str | None
    brand_model: str | None


class Told(NamedTuple):
    """What people are told: `listing_id` now goes by `after` instead of `before`."""

    kind: Kind
    listing_id: int
    external_id: str | None
    before: str
    after: str


@dataclass(slots=True)
class Decisions:
    """What to do before the rows are written. `retired` listings give up their SKU and go off sale; `renamed` ones take
    a new SKU; `adopted` ones take a new external id; `ended` ones go off sale and keep their SKU."""

    retired: dict[int, str] = field(default_factory=dict)  # listing id -> the name it keeps
    renamed: dict[int, str] = field(default_factory=dict)  # listing id -> its new SKU
    adopted: dict[int, str] = field(default_factory=dict)  # listing id -> its new external id
    ended: set[int] = field(default_factory=set)
    now: dict[str, Known | None] = field(default_factory=dict)  # SKU -> the listing that it means from here on
    told: list[Told] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.retired or self.renamed or self.adopted or self.ended)


def decide(coming: Iterable[Coming], known: Iterable[Known]) -> Decisions:
    """What the rows of one batch do to the listings that carry their SKUs, external ids or family ids."""
    rows = [row for row in coming if row.external_id is not None]  # a row without an id of its own moves nothing
    listings = list(known)
    by_sku = {listing.vendor_sku: listing for listing in listings}
    by_external: dict[str | None, Known] = {
        listing.external_id: listing for listing in listings if listing.external_id is not None
    }
    moving = {row.external_id for row in rows}
    done = Decisions()
    for row in rows:
        holder, owner = by_sku.get(row.vendor_sku), by_external.get(row.external_id)
        if owner is not None and owner.vendor_sku != row.vendor_sku:
            done.renamed[owner.id] = row.vendor_sku
            done.now[row.vendor_sku] = owner
            done.told.append(Told("renamed", owner.id, row.external_id, owner.vendor_sku, row.vendor_sku))
            if holder is not None and holder.external_id not in moving:
                _retire(done, holder)
        elif owner is None and holder is not None and holder.external_id is not None:
            if holder.external_id in moving:  # it goes by another SKU from now on; this one is a new thing's
                done.now[row.vendor_sku] = None
            elif _same_thing(holder, row):
                done.adopted[holder.id] = row.external_id or ""
                done.told.append(Told("recreated", holder.id, row.external_id, row.vendor_sku, row.vendor_sku))
            else:
                _retire(done, holder)
                done.now[row.vendor_sku] = None
    _split(done, rows, by_external, moving)
    return done


def retired_name(listing: Known) -> str:
    """What a listing is called once its SKU belongs to another thing."""
    return f"{listing.vendor_sku}#was-{listing.id}"


def _retire(done: Decisions, listing: Known) -> None:
    done.retired[listing.id] = retired_name(listing)
    done.told.append(Told("reused", listing.id, listing.external_id, listing.vendor_sku, retired_name(listing)))


def _split(
    done: Decisions, rows: list[Coming], by_external: Mapping[str | None, Known], moving: set[str | None]
) -> None:
    """An article that comes back as variants of itself is itself no longer sold."""
    variants: dict[int, list[str]] = {}
    for row in rows:
        parent = by_external.get(row.family_id) if row.family_id is not None else None
        if parent is not None and parent.active and parent.external_id not in moving and parent.id not in done.retired:
            variants.setdefault(parent.id, []).append(row.vendor_sku)
    parents = {listing.id: listing for listing in by_external.values()}
    for listing_id, skus in variants.items():
        parent = parents[listing_id]
        if parent.vendor_sku in skus:  # one of the variants took over its SKU: it was renamed or retired above
            continue
        done.ended.add(listing_id)
        told = ", ".join(sorted(skus))
        done.told.append(Told("split", listing_id, parent.external_id, parent.vendor_sku, told[:2000]))


def _same_thing(listing: Known, row: Coming) -> bool:
    """Whether a SKU that comes back under another external id is the same article: shops that are imported anew number
    everything anew. The GTIN decides where both have one, then brand and model, then the title."""
    if listing.gtin is not None and row.gtin is not None:
        return listing.gtin == row.gtin
    if listing.brand_model is not None and row.brand_model is not None:
        return listing.brand_model == row.brand_model
    return _plain(listing.title) == _plain(row.title)


def _plain(title: str) -> str:
    return "".join(unicodedata.normalize("NFKC", title).casefold().split())
