"""The 72-hour figure, to the letter. Pure: time is an argument.

Eligible at T are lines due at T - 24 h or before that are not excluded; each is exactly one of on time, late, open
overdue, supply-cancelled. No tracking, supply cancellation and open past due are misses. Excluded are only a buyer's
cancellation before both the due time and the first scan, and a refusal or bad address on the carrier's evidence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import sqrt

from fulfillment.contracts import Delivery72h, Partition72h, Wilson

PROMISE = timedelta(hours=72)
GRACE = timedelta(hours=24)
TARGET = 0.90
_Z = 1.959963984540054  # two-sided 95 %

BUYER = "buyer"
SUPPLY = "supply"


class Class72h(StrEnum):
    """What one line counts as."""

    NOT_DUE = "not_due"
    EXCLUDED = "excluded"
    ON_TIME = "on_time"
    LATE = "late"
    OPEN_OVERDUE = "open_overdue"
    SUPPLY_CANCELLED = "supply_cancelled"


@dataclass(frozen=True, slots=True)
class Clock:
    """One accepted line. `delivered_at` is t1, set when the last unit is delivered (for appointments: booking
    confirmed; for codes: codes delivered). `excused` is refusal or bad address, evidenced."""

    t0: datetime
    due_at: datetime
    delivered_at: datetime | None = None
    first_scan_at: datetime | None = None
    cancelled_by: str | None = None
    cancelled_at: datetime | None = None
    excused: str | None = None


def classify(line: Clock, now: datetime) -> Class72h:
    """The one class of a line at `now`."""
    if line.due_at > now - GRACE:
        return Class72h.NOT_DUE
    if _excluded(line):
        return Class72h.EXCLUDED
    if line.delivered_at is not None:
        return Class72h.ON_TIME if line.delivered_at <= line.due_at else Class72h.LATE
    if line.cancelled_by == SUPPLY:
        return Class72h.SUPPLY_CANCELLED
    return Class72h.OPEN_OVERDUE


def _excluded(line: Clock) -> bool:
    if line.excused is not None and line.delivered_at is None:
        return True
    if line.cancelled_by != BUYER or line.cancelled_at is None:
        return False
    # What ends a clock without a parcel (a booking, a code) counts as the first scan.
    scans = [at for at in (line.first_scan_at, line.delivered_at) if at is not None]
    return line.cancelled_at < min([line.due_at, *scans])


def wilson(successes: int, n: int) -> Wilson | None:
    """The 95 % Wilson score interval of `successes` of `n`; None without observations."""
    if n == 0:
        return None
    p = successes / n
    scale = 1 + _Z * _Z / n
    middle = (p + _Z * _Z / (2 * n)) / scale
    half = _Z * sqrt(p * (1 - p) / n + _Z * _Z / (4 * n * n)) / scale
    return Wilson(low=max(0.0, middle - half), high=min(1.0, middle + half))


def delivery_72h(lines: Iterable[Clock], window: tuple[datetime, datetime], now: datetime) -> Delivery72h:
    """The figure of the lines ordered in [window)."""
    counts = dict.fromkeys(Class72h, 0)
    for line in lines:
        if window[0] <= line.t0 < window[1]:
            counts[classify(line, now)] += 1
    return figure(counts, window, now)


def figure(counts: dict[Class72h, int], window: tuple[datetime, datetime], now: datetime) -> Delivery72h:
    """The published form of how many lines are of each class."""
    on_time, excluded = counts[Class72h.ON_TIME], counts[Class72h.EXCLUDED]
    parts = Partition72h(
        eligible=on_time + counts[Class72h.LATE] + counts[Class72h.OPEN_OVERDUE] + counts[Class72h.SUPPLY_CANCELLED],
        on_time=on_time,
        late=counts[Class72h.LATE],
        open_overdue=counts[Class72h.OPEN_OVERDUE],
        supply_cancelled=counts[Class72h.SUPPLY_CANCELLED],
    )
    rate = on_time / parts.eligible if parts.eligible else None
    return Delivery72h(
        numerator=on_time,
        denominator=parts.eligible,
        rate=rate,
        interval=wilson(on_time, parts.eligible),
        target=TARGET,
        status="no_data" if rate is None else "met" if rate >= TARGET else "missed",
        partition=parts,
        excluded=excluded,
        exclusion_rate=excluded / (parts.eligible + excluded) if parts.eligible + excluded else None,
        window=window,
        as_of=now,
    )
