"""How a mall weighs offers against each other. Pure: a policy, offers and vendors' records in, scores out.

Each term lies between 0 (as good as it gets among these offers) and 1; the score is the weighted sum, lower is better:

- price: how much dearer than the cheapest of them, in shares of its price; twice as dear counts 1;
- promise: the share of the vendor's lines of the last 30 days that missed the 72 hours (a new vendor: a half);
- confidence: how surely the stock is there; none is left beyond the order: 1, five times as much: 0, only a level: 1;
- standing: the share of orders of the last 30 days that the vendor refused or withdrew, with one of each added;
- parcels: the share of the order's lines that this vendor could not send along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from catalog.contracts import Offer
from hub.kernel.types import Frozen

_PLACES = Decimal("0.0001")
_HALF = Decimal("0.5")
_AMPLE = 5  # times the quantity


class Policy(Frozen):
    """One mall's weights, none of them negative and not all of them 0."""

    price: Decimal
    promise: Decimal = Decimal(0)
    confidence: Decimal = Decimal(0)
    standing: Decimal = Decimal(0)
    parcels: Decimal = Decimal(0)

    @property
    def weighs_vendors(self) -> bool:
        """Whether vendors' records matter."""
        return bool(self.promise or self.standing)


class Standing(Frozen):
    """A vendor's record of the last 30 days."""

    decided: int = 0  # purchase orders it answered
    refused: int = 0  # of them refused, or withdrawn later
    due: int = 0  # lines that were due by then
    on_time: int = 0


class Score(Frozen):
    """One offer's terms before they are weighted, and their weighted sum."""

    price: Decimal
    promise: Decimal
    confidence: Decimal
    standing: Decimal
    parcels: Decimal
    total: Decimal


NEW_VENDOR = Standing()


def scored(
    policy: Policy,
    offers: Sequence[Offer],
    quantity: int,
    standings: Mapping[int, Standing],
    serves: Mapping[int, int],
    lines: int,
) -> dict[int, Score]:
    """The score of each offer, by listing. `serves` says how many of the order's lines each connection could serve."""
    cheapest = {
        currency: min(o.price for o in offers if o.currency == currency) for currency in {o.currency for o in offers}
    }
    found = {}
    for offer in offers:
        record = standings.get(offer.vendor_id, NEW_VENDOR)
        terms = {
            "price": _dearer(offer.price, cheapest[offer.currency]),
            "promise": _share(record.due - record.on_time, record.due),
            "confidence": _doubt(offer, quantity),
            "standing": _rounded(Decimal(record.refused + 1) / Decimal(record.decided + 2)),
            "parcels": _share(lines - serves.get(offer.connection_id, 1), lines),
        }
        total = sum((getattr(policy, name) * term for name, term in terms.items()), Decimal(0))
        found[offer.listing_id] = Score(**terms, total=_rounded(total))
    return found


def _dearer(price: Decimal, cheapest: Decimal) -> Decimal:
    if cheapest <= 0:
        return Decimal(0 if price <= cheapest else 1)
    return _rounded(min(Decimal(1), (price - cheapest) / cheapest))


def _share(part: int, whole: int) -> Decimal:
    return _rounded(Decimal(part) / Decimal(whole)) if whole > 0 else _HALF


def _doubt(offer: Offer, quantity: int) -> Decimal:
    if offer.available is None:
        return Decimal(1)
    spare, ample = offer.available - quantity, (_AMPLE - 1) * quantity
    return _rounded(Decimal(1) - Decimal(min(max(spare, 0), ample)) / Decimal(ample))


def _rounded(value: Decimal) -> Decimal:
    return value.quantize(_PLACES)
