"""The exact meaning of price parity: comparable prices, the gap, the verdict, and when a case opens or closes. Pure: no
clock and no I/O, time is an argument. Comparisons are made on fractions, so 5.00 % passes and 5.01 % does not, whatever
the pack sizes divide into.

Nothing here feeds ranking, fees or a vendor's price. Since 2026-04-10 China's rules on internet platforms' price
conduct (互联网平台价格行为规则) forbid a platform to coerce "not dearer than elsewhere"; what follows from a breach is
the buyer's own recorded choice of what it buys, under that mall's policy.

Choosing among references: of each source's offer (source, region, URL) only the newest fresh ordinary observation
counts; of those that can be compared with ours, the lowest price per unit is the reference (ties: the newest, then the
first recorded). Observations taken under a condition that an ordinary buyer does not have never count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from enum import StrEnum
from fractions import Fraction

from pricing.contracts import OfferPrice, Verdict
from pricing.units import Pack, read_pack, same_measure

THRESHOLD_PCT = Decimal(5)
GROSS_PCT = Decimal(20)  # beyond this a single observation opens a case
APART = timedelta(hours=6)
SKEW = timedelta(minutes=10)  # a capture time further ahead than this is no evidence
ORDINARY = "ordinary"


class Reason(StrEnum):
    """Why a verdict is what it is."""

    WITHIN = "within"
    DEARER = "dearer"
    NO_REFERENCE = "no_reference"
    STALE = "stale_reference"
    CONDITION = "excluded_condition"
    CURRENCY = "other_currency"
    PACK = "packs_not_comparable"
    PRICE = "no_positive_price"


@dataclass(frozen=True, slots=True)
class Comparable:
    """What an ordinary buyer pays for a pack, and what the pack holds."""

    total: Decimal
    pack: Pack

    @property
    def exact(self) -> Fraction:
        """Price per base unit."""
        return Fraction(self.total) / Fraction(self.pack.units)


@dataclass(frozen=True, slots=True)
class Reference:
    """One observed price as judging needs it. `pack` None: the observation is of the product as such, so its pack
    is the one it is compared with."""

    id: int
    total: Decimal
    currency: str
    pack: Pack | None
    condition: str
    offer: tuple[str, str, str]  # source, region, url
    captured_at: datetime


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its exact figures (per base unit)."""

    verdict: Verdict
    reason: Reason
    ours: Fraction | None = None
    theirs: Fraction | None = None
    reference: Reference | None = None

    @property
    def gap(self) -> Fraction | None:
        """(ours - reference) / reference, exact."""
        if self.ours is None or self.theirs is None:
            return None
        return (self.ours - self.theirs) / self.theirs


def comparable(price: Decimal, shipping: Decimal, coupon: Decimal, pack: str | None) -> Comparable | None:
    """(price + shipping - coupon) over the pack's units; None when nothing positive is left to pay."""
    total = price + shipping - coupon
    return Comparable(total, read_pack(pack)) if total > 0 else None


def decimal(value: Fraction) -> Decimal:
    """`value` to 20 significant digits, for people and storage; never for a comparison."""
    with localcontext() as context:
        context.prec = 20
        return Decimal(value.numerator) / Decimal(value.denominator)


def beyond(ours: Fraction, theirs: Fraction, limit_pct: Decimal) -> bool:
    """Whether ours exceeds theirs by more than `limit_pct` percent. Exact: the limit itself is within."""
    limit = 100 + Fraction(limit_pct)  # ours * 100 > theirs * (100 + limit), in whole numbers
    return (
        ours.numerator * theirs.denominator * 100 * limit.denominator
        > theirs.numerator * ours.denominator * limit.numerator
    )


def is_fresh(captured_at: datetime, now: datetime, fresh_for: timedelta) -> bool:
    """Whether an observation may still be used."""
    return -SKEW <= now - captured_at <= fresh_for


def judge(offer: OfferPrice, references: Iterable[Reference], now: datetime, fresh_for: timedelta) -> Judgement:
    """The verdict on one offer against the observations of its product."""
    known = list(references)
    if not known:
        return Judgement(Verdict.UNKNOWN, Reason.NO_REFERENCE)
    ours = comparable(offer.price, offer.shipping, offer.coupon, offer.pack)
    if ours is None:
        return Judgement(Verdict.UNKNOWN, Reason.PRICE)
    fresh = [r for r in known if is_fresh(r.captured_at, now, fresh_for)]
    ordinary = _newest([r for r in fresh if r.condition == ORDINARY])
    same_currency = [r for r in ordinary if r.currency == offer.currency]
    payable = [r for r in same_currency if r.total > 0]
    usable = [r for r in payable if r.pack is None or same_measure(ours.pack, r.pack)]
    for left, reason in (
        (fresh, Reason.STALE), (ordinary, Reason.CONDITION), (same_currency, Reason.CURRENCY),
        (payable, Reason.PRICE), (usable, Reason.PACK),
    ):  # fmt: skip
        if not left:
            return Judgement(Verdict.UNKNOWN, reason, ours.exact)
    theirs, _, _, reference = min(
        (Fraction(r.total) / Fraction((r.pack or ours.pack).units), now - r.captured_at, r.id, r) for r in usable
    )
    if beyond(ours.exact, theirs, THRESHOLD_PCT):
        return Judgement(Verdict.BREACH, Reason.DEARER, ours.exact, theirs, reference)
    return Judgement(Verdict.PASS, Reason.WITHIN, ours.exact, theirs, reference)


def _newest(observations: Sequence[Reference]) -> list[Reference]:
    """Of each offer at each source, the observation captured last (the lowest of several captured together)."""
    newest: dict[tuple[str, str, str], list[Reference]] = {}
    for seen in observations:
        held = newest.setdefault(seen.offer, [seen])
        if seen.captured_at > held[0].captured_at:
            newest[seen.offer] = [seen]
        elif seen.captured_at == held[0].captured_at and seen is not held[0]:
            held.append(seen)
    return [seen for held in newest.values() for seen in held]


@dataclass(frozen=True, slots=True)
class Rule:
    """A pair of limits under which cases open: the standing one, or one a mall's policy names."""

    threshold_pct: Decimal
    gross_pct: Decimal


STANDING = Rule(THRESHOLD_PCT, GROSS_PCT)


@dataclass(frozen=True, slots=True)
class Streak:
    """Consecutive known observations on the same side of a threshold."""

    beyond: bool
    since: datetime
    count: int


class Move(StrEnum):
    """What an observation does to a case."""

    OPEN = "open"
    CLOSE = "close"
    STAY = "stay"


def is_new_observation(
    last: tuple[Decimal | None, int | None, datetime] | None, ours: Decimal, reference_id: int, at: datetime
) -> bool:
    """Whether a check adds evidence. Looking again at the same price and the same capture within six hours does
    not, or a redelivered event could open or close a case by itself."""
    if last is None:
        return True
    last_ours, last_reference, last_at = last
    return last_ours != ours or last_reference != reference_id or at - last_at >= APART


def advance(streak: Streak | None, is_beyond: bool, at: datetime) -> Streak:
    """The streak after one more observation. Unknown verdicts are no observations: they neither extend nor end it."""
    if streak is None or streak.beyond != is_beyond:
        return Streak(is_beyond, at, 1)
    return Streak(is_beyond, min(streak.since, at), streak.count + 1)


def next_move(streak: Streak, at: datetime, *, gross: bool, case_open: bool) -> Move:
    """Open at two observations beyond, six hours apart, or at one beyond the gross limit; close at two within."""
    if case_open:
        return Move.CLOSE if not streak.beyond and streak.count >= 2 else Move.STAY
    if streak.beyond and (gross or (streak.count >= 2 and at - streak.since >= APART)):
        return Move.OPEN
    return Move.STAY
