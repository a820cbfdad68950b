"""What is exact about price parity apart from the verdict itself: the limits, when a case opens or closes, and which
policy of a mall covers a listing. Pure: no clock and no I/O, time is an argument. The verdict is one statement over
sets (pricing.store.rule), the only implementation of it.

Nothing here feeds ranking, fees or a vendor's price. Since 2026-04-10 China's rules on internet platforms' price
conduct (互联网平台价格行为规则) forbid a platform to coerce "not dearer than elsewhere"; what follows from a breach is
the buyer's own recorded choice of what it buys, under that mall's policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from pricing.contracts import Policy

THRESHOLD_PCT = Decimal(5)
GROSS_PCT = Decimal(20)  # beyond this a single observation opens a case
APART = timedelta(hours=6)
SKEW = timedelta(minutes=10)  # a capture time further ahead than this is no evidence


class Reason(StrEnum):
    """Why a verdict is what it is."""

    WITHIN = "within"
    DEARER = "dearer"
    NO_REFERENCE = "no_reference"
    STALE = "stale_reference"
    CONDITION = "excluded_condition"
    WINDOW = "outside_window"  # every observation is of a price that is not yet, or no longer, asked
    OFFER_WINDOW = "offer_outside_window"  # ours is
    NO_RATE = "no_rate"  # another currency, and no rate of that day or before
    STALE_RATE = "stale_rate"  # ... or none that is young enough
    PACK = "packs_not_comparable"
    PRICE = "no_positive_price"


def beyond(ours: Fraction, theirs: Fraction, limit_pct: Decimal) -> bool:
    """Whether ours exceeds theirs by more than `limit_pct` percent. Exact: the limit itself is within."""
    limit = 100 + Fraction(limit_pct)  # ours * 100 > theirs * (100 + limit), in whole numbers
    return (
        ours.numerator * theirs.denominator * 100 * limit.denominator
        > theirs.numerator * ours.denominator * limit.numerator
    )


@dataclass(frozen=True, slots=True)
class Rule:
    """A pair of limits under which cases open: the standing one, or one a mall's policy names."""

    threshold_pct: Decimal
    gross_pct: Decimal


STANDING = Rule(THRESHOLD_PCT, GROSS_PCT)


@dataclass(frozen=True, slots=True)
class MallPolicy:
    """What one mall does about a breach, for one category or ('') for whatever no category's policy covers."""

    mall_id: int
    category: str
    action: Policy
    rule: Rule


def covers(policy: str, category: str | None) -> bool:
    """Whether a policy for category `policy` is for listings of `category`: that one, or one below it as shops write
    it (食品/饮料, Home > Kitchen)."""
    if policy == "" or category is None:
        return policy == ""
    rest = category.removeprefix(policy)
    return rest == "" or (rest != category and rest.lstrip()[:1] in ("/", ">"))


def effective(policies: Iterable[MallPolicy], category: str | None) -> Mapping[int, MallPolicy]:
    """Per mall the policy that covers a category most closely; a mall without one observes."""
    found: dict[int, MallPolicy] = {}
    for policy in policies:
        held = found.get(policy.mall_id)
        if covers(policy.category, category) and (held is None or len(policy.category) > len(held.category)):
            found[policy.mall_id] = policy
    return found


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
