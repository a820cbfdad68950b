"""Multi-packs dearer per unit than a smaller pack of the same thing: a finding by itself, with or without a reference.
Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from pricing.contracts import PackOffer
from pricing.units import Pack, read_pack


@dataclass(frozen=True, slots=True)
class Dearer:
    """`offer` costs more per unit than `smaller`, the cheapest smaller pack of its group."""

    offer: PackOffer
    pack: Pack
    smaller: PackOffer
    smaller_pack: Pack

    @property
    def per_unit(self) -> Decimal:
        return self.offer.total / self.pack.units

    @property
    def smaller_per_unit(self) -> Decimal:
        return self.smaller.total / self.smaller_pack.units


def dearer(offers: Iterable[PackOffer]) -> list[Dearer]:
    """The findings among offers that are grouped by what they are packs of. Only packs that were understood, of one
    measure and one currency, are compared; as much per unit is no finding."""
    groups: dict[tuple[str, str, str], list[tuple[Fraction, Pack, PackOffer]]] = {}
    for offer in offers:
        pack = read_pack(offer.pack)
        if pack.understood and offer.total > 0:
            key = (offer.group, pack.unit, offer.currency)
            groups.setdefault(key, []).append((Fraction(offer.total) / Fraction(pack.units), pack, offer))
    found = []
    for packs in groups.values():
        for price, pack, offer in packs:
            smaller = [other for other in packs if other[1].units < pack.units and other[0] < price]
            if smaller:
                _, small, cheapest = min(smaller, key=lambda other: (other[0], other[2].listing_id))
                found.append(Dearer(offer, pack, cheapest, small))
    return sorted(found, key=lambda f: f.offer.listing_id)
