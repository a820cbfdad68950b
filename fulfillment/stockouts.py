"""The stock-out figure, to the letter. Pure.

First-vendor rate = accepted lines refused, shorted or cancelled for stock by their first vendor / accepted lines;
customer-visible rate = lines not fully supplied after every fail-over / accepted lines; rescue rate = 1 - visible /
first-vendor. A first vendor whose answer was lost and never came is *unknown*: counted apart, never as a stock-out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fulfillment.contracts import StockoutFigure

TARGET = 0.03


class FirstOutcome(StrEnum):
    """What a line's first vendor did."""

    UNDECIDED = "undecided"
    OK = "ok"
    STOCKOUT = "stockout"
    REFUSED = "refused"  # for another reason than stock
    UNKNOWN = "unknown"  # it timed out


_OUTCOMES = {
    "accepted": FirstOutcome.OK,
    "out_of_stock": FirstOutcome.STOCKOUT,
}


def first_outcome(said: str | None, answer_lost: bool) -> FirstOutcome:
    """The class of what orders/ knows: `said` accepted, out_of_stock, refused, cancelled or nothing yet; `answer_lost`
    when the vendor once timed out. A definite answer that came later wins over the time-out."""
    if said in _OUTCOMES:
        return _OUTCOMES[said]
    if answer_lost:
        return FirstOutcome.UNKNOWN
    return FirstOutcome.UNDECIDED if said is None else FirstOutcome.REFUSED


@dataclass(frozen=True, slots=True)
class Supply:
    """One accepted line as the stock-out figure sees it."""

    t0: datetime
    first: FirstOutcome
    unsupplied: bool  # cancelled on the supply side after every fail-over


@dataclass(frozen=True, slots=True)
class StockoutCounts:
    """Lines of one window."""

    accepted: int
    first_vendor: int
    visible: int
    unknown: int


def stockouts(lines: Iterable[Supply], window: tuple[datetime, datetime], now: datetime) -> StockoutFigure:
    """The figure of the lines ordered in [window)."""
    inside = [line for line in lines if window[0] <= line.t0 < window[1]]
    counts = StockoutCounts(
        accepted=len(inside),
        first_vendor=sum(line.first is FirstOutcome.STOCKOUT for line in inside),
        visible=sum(line.unsupplied for line in inside),
        unknown=sum(line.first is FirstOutcome.UNKNOWN for line in inside),
    )
    return figure(counts, window, now)


def figure(counts: StockoutCounts, window: tuple[datetime, datetime], now: datetime) -> StockoutFigure:
    """The published form of the counts."""
    rate = counts.first_vendor / counts.accepted if counts.accepted else None
    return StockoutFigure(
        numerator=counts.first_vendor,
        denominator=counts.accepted,
        rate=rate,
        visible_numerator=counts.visible,
        visible_rate=counts.visible / counts.accepted if counts.accepted else None,
        rescue_rate=1 - counts.visible / counts.first_vendor if counts.first_vendor else None,
        unknown=counts.unknown,
        target=TARGET,
        status="no_data" if rate is None else "met" if rate <= TARGET else "missed",
        window=window,
        as_of=now,
    )
