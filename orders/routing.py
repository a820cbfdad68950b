"""Which vendor's offer serves which line. Pure and deterministic: offers and wishes in, choices and misses out,
whatever the order in which the offers come. An offer serves when the mall's assortment has it, its stock is fresh and
covers the quantity, the mall's parity policy does not hold it, and its price is within the line's `max_price`. Without
a policy of the mall the cheapest comes first, then the better stocked, then the lower vendor number; with one, offers
are scored by its weights (orders.policy) and the lowest score comes first. Parity findings never change the ranking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from catalog.contracts import Offer
from hub.kernel.types import Level
from orders.policy import Policy, Score, Standing, scored


class Why(StrEnum):
    """Why no offer serves a line."""

    UNKNOWN = "unknown"  # nobody offers it
    TRIED = "tried"  # every vendor that offers it has already been asked for this line
    OUTSIDE = "not_in_assortment"
    HELD = "held_by_parity"
    BLOCKED = "blocked_by_parity"
    OUT_OF_STOCK = "out_of_stock"  # too few, or the figure is stale
    CURRENCY = "currency"
    PRICE = "price_changed"


@dataclass(frozen=True, slots=True)
class Wish:
    """What one line asks for. `listing_id` pins the vendor; `tried` are vendors already asked for this line."""

    line_no: int
    product_id: int | None
    listing_id: int | None
    quantity: int
    max_price: Decimal | None = None
    currency: str | None = None  # the only one that serves, if given
    tried: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Choice:
    """The offer that serves a wish and, best first, those that could do so instead; under a policy with the scores of
    all of them. `passed_over` are the others, and why."""

    wish: Wish
    offer: Offer
    alternatives: tuple[Offer, ...]
    scores: Mapping[int, Score] = field(default_factory=dict)
    passed_over: tuple[tuple[Offer, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Miss:
    """A wish that nothing serves. `available` is the most that one offer could give; `offer` is the cheapest
    one that failed on price or currency only."""

    wish: Wish
    why: Why
    available: int = 0
    offer: Offer | None = None
    blocked: str | None = None  # by how much the cheapest blocked offer is beyond the mall's limit


@dataclass(slots=True)
class Plan:
    """A choice or a miss for every wish."""

    choices: list[Choice] = field(default_factory=list)
    misses: list[Miss] = field(default_factory=list)


def rank(wish: Wish, offers: Iterable[Offer], taken: Mapping[int, int] | None = None) -> list[Offer] | Miss:
    """The offers that serve `wish`, the cheapest first, or why there is none. `taken` says how many units of a listing
    other lines of the same order already use."""
    taken = taken or {}
    left = [o for o in offers if _is_meant(wish, o)]
    if not left:
        return Miss(wish, Why.UNKNOWN)
    left = [o for o in left if o.vendor_id not in wish.tried]
    if not left:
        return Miss(wish, Why.TRIED)
    left = [o for o in left if not o.outside_assortment]
    if not left:
        return Miss(wish, Why.OUTSIDE)
    shown = [o for o in left if not o.held_by_parity]
    if not shown:
        return Miss(wish, Why.HELD)
    left = [o for o in shown if o.blocked_by_parity is None]
    if not left:
        return Miss(wish, Why.BLOCKED, blocked=min(shown, key=lambda o: (o.price, o.listing_id)).blocked_by_parity)
    stocked = [o for o in left if _has(o, wish.quantity, taken)]
    if not stocked:
        return Miss(wish, Why.OUT_OF_STOCK, available=max(_countable(o, taken) for o in left))
    ranked = sorted(stocked, key=_preference)
    comparable = [o for o in ranked if wish.currency in (None, o.currency)]
    if not comparable:
        return Miss(wish, Why.CURRENCY, offer=ranked[0])
    affordable = [o for o in comparable if wish.max_price is None or o.price <= wish.max_price]
    return affordable or Miss(wish, Why.PRICE, offer=comparable[0])


def plan(
    wishes: Sequence[Wish],
    offers: Sequence[Offer],
    taken: Mapping[int, int] | None = None,
    policy: Policy | None = None,
    standings: Mapping[int, Standing] | None = None,
) -> Plan:
    """Choose for all lines of one order together, so that two lines never count on the same unit. `standings` are
    vendors' records by vendor id, for a policy that weighs them."""
    used = dict(taken or {})
    by_product: dict[int, list[Offer]] = {}
    by_listing: dict[int, list[Offer]] = {}
    for offer in {o.listing_id: o for o in offers}.values():
        by_product.setdefault(offer.product_id, []).append(offer)
        by_listing[offer.listing_id] = [offer]

    def meant(wish: Wish) -> list[Offer]:
        if wish.listing_id is not None:
            return by_listing.get(wish.listing_id, [])
        return by_product.get(wish.product_id or 0, [])

    serves = _lines_served(wishes, meant, used) if policy is not None and policy.parcels else {}
    made = Plan()
    for wish in wishes:
        candidates = meant(wish)
        ranked = rank(wish, candidates, used)
        if isinstance(ranked, Miss):
            made.misses.append(ranked)
            continue
        scores: Mapping[int, Score] = {}
        if policy is not None:
            scores = scored(policy, ranked, wish.quantity, standings or {}, serves, len(wishes))
            ranked.sort(key=lambda offer: (scores[offer.listing_id].total, *_preference(offer)))
        best = ranked[0]
        others = () if len(ranked) == len(candidates) else _passed_over(wish, candidates, ranked, used)
        used[best.listing_id] = used.get(best.listing_id, 0) + wish.quantity
        made.choices.append(Choice(wish, best, tuple(ranked[1:]), scores, others))
    return made


def _lines_served(
    wishes: Sequence[Wish], meant: Callable[[Wish], list[Offer]], used: Mapping[int, int]
) -> dict[int, int]:
    """How many lines of the order each connection could serve: it then sends them in one parcel."""
    served: dict[int, int] = {}
    for wish in wishes:
        ranked = rank(wish, meant(wish), used)
        if not isinstance(ranked, Miss):
            for connection_id in {offer.connection_id for offer in ranked}:
                served[connection_id] = served.get(connection_id, 0) + 1
    return served


def _passed_over(
    wish: Wish, candidates: Sequence[Offer], ranked: Sequence[Offer], used: Mapping[int, int]
) -> tuple[tuple[Offer, str], ...]:
    """The offers that do not serve a wish, each with its reason."""
    serving = {offer.listing_id for offer in ranked}
    found = []
    for offer in sorted(candidates, key=lambda o: o.listing_id):
        if offer.listing_id not in serving:
            alone = rank(wish, [offer], used)
            found.append((offer, alone.why.value if isinstance(alone, Miss) else "other"))
    return tuple(found)


def _is_meant(wish: Wish, offer: Offer) -> bool:
    if wish.listing_id is not None:
        return offer.listing_id == wish.listing_id
    return offer.product_id == wish.product_id


def _has(offer: Offer, quantity: int, taken: Mapping[int, int]) -> bool:
    if not offer.fresh or offer.level is Level.OUT:
        return False
    return offer.available is None or offer.available - taken.get(offer.listing_id, 0) >= quantity


def _countable(offer: Offer, taken: Mapping[int, int]) -> int:
    if not offer.fresh or offer.level is Level.OUT:
        return 0
    return max(0, (offer.available or 0) - taken.get(offer.listing_id, 0))


def _preference(offer: Offer) -> tuple[Decimal, int, int, int, int]:
    """Price, then counted stock before uncounted, then more before less, then the lower numbers."""
    uncounted = 1 if offer.available is None else 0
    return (offer.price, uncounted, -(offer.available or 0), offer.vendor_id, offer.listing_id)
