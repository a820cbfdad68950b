"""An account of the rule of parity that is independent of the one in use: fractions, one offer at a time, no database.
What pricing.store.rule says in SQL must come to the same for every world that hypothesis makes up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from pricing.contracts import OfferPrice, Verdict
from pricing.parity import SKEW, THRESHOLD_PCT, Reason, beyond
from pricing.units import Pack, read_pack, same_measure

SHANGHAI = ZoneInfo("Asia/Shanghai")
Rates = Mapping[tuple[str, date], Decimal]


@dataclass(frozen=True, slots=True)
class Observed:
    """One observed price. `pack` None: of the product as such, so its pack is the one it is compared with."""

    id: int
    total: Decimal
    currency: str
    pack: Pack | None
    condition: str
    offer: tuple[str, str, str]  # source, region, url
    captured_at: datetime
    valid_from: datetime | None = None
    valid_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its exact figures."""

    verdict: Verdict
    reason: Reason
    gap: Fraction | None = None
    reference: Observed | None = None


def in_force(thing: Observed | OfferPrice, now: datetime) -> bool:
    return (thing.valid_from is None or thing.valid_from <= now) and (thing.valid_to is None or now < thing.valid_to)


def judge(
    offer: OfferPrice,
    references: Iterable[Observed],
    now: datetime,
    fresh_for: timedelta,
    rates: Rates | None = None,
    rate_days: int = 4,
) -> Judgement:
    """The verdict on one offer against the observations of its product."""
    known = list(references)
    if not known:
        return Judgement(Verdict.UNKNOWN, Reason.NO_REFERENCE)
    fresh = [r for r in known if -SKEW <= now - r.captured_at <= fresh_for]
    if not fresh:
        return Judgement(Verdict.UNKNOWN, Reason.STALE)
    total = offer.price + offer.shipping - offer.coupon
    if total <= 0:
        return Judgement(Verdict.UNKNOWN, Reason.PRICE)
    if not in_force(offer, now):
        return Judgement(Verdict.UNKNOWN, Reason.OFFER_WINDOW)
    ordinary = [r for r in fresh if r.condition == "ordinary"]
    if not ordinary:
        return Judgement(Verdict.UNKNOWN, Reason.CONDITION)
    current = _newest([r for r in ordinary if in_force(r, now)])
    if not current:
        return Judgement(Verdict.UNKNOWN, Reason.WINDOW)
    ours = read_pack(offer.pack)
    stages: list[tuple[Reason, list[tuple[Fraction, Observed]]]] = []
    dated = [(r, _rates(offer.currency, r, rates or {}, None)) for r in current]
    stages.append((Reason.NO_RATE, [(Fraction(0), r) for r, pair in dated if pair is not None]))
    young = [(r, pair) for r in current if (pair := _rates(offer.currency, r, rates or {}, rate_days)) is not None]
    stages.append((Reason.STALE_RATE, [(Fraction(0), r) for r, _ in young]))
    payable = [(r, pair) for r, pair in young if r.total > 0]
    stages.append((Reason.PRICE, [(Fraction(0), r) for r, _ in payable]))
    usable = [
        (
            Fraction(total * pair[0]) / Fraction(ours.units)
            / (Fraction(r.total * pair[1]) / Fraction((r.pack or ours).units)), r,
        )
        for r, pair in payable
        if r.pack is None or same_measure(ours, r.pack)
    ]  # fmt: skip
    stages.append((Reason.PACK, usable))
    for reason, left in stages:
        if not left:
            return Judgement(Verdict.UNKNOWN, reason)
    ratio, _, _, reference = min((-q, now - r.captured_at, r.id, r) for q, r in usable)
    gap = -ratio - 1
    if beyond(-ratio, Fraction(1), THRESHOLD_PCT):
        return Judgement(Verdict.BREACH, Reason.DEARER, gap, reference)
    return Judgement(Verdict.PASS, Reason.WITHIN, gap, reference)


def _newest(observations: Sequence[Observed]) -> list[Observed]:
    """Of each offer at each source the observations captured last."""
    last: dict[tuple[str, str, str], datetime] = {}
    for seen in observations:
        last[seen.offer] = max(seen.captured_at, last.get(seen.offer, seen.captured_at))
    return [seen for seen in observations if seen.captured_at == last[seen.offer]]


def _rates(currency: str, seen: Observed, rates: Rates, days: int | None) -> tuple[Decimal, Decimal] | None:
    """What one of ours and one of theirs were in CNY on the day of the observation, looking back `days` days."""
    if currency == seen.currency:
        return Decimal(1), Decimal(1)
    day = seen.captured_at.astimezone(SHANGHAI).date()
    found = []
    for one in (currency, seen.currency):
        at = [d for c, d in rates if c == one and d <= day and (days is None or (day - d).days <= days)]
        if one != "CNY" and not at:
            return None
        found.append(Decimal(1) if one == "CNY" else rates[one, max(at)])
    return found[0], found[1]
