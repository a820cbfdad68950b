"""The 72-hour and stock-out figures, to the letter and to the millisecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fulfillment.sla import GRACE, PROMISE, Class72h, Clock, classify, delivery_72h, wilson
from fulfillment.stockouts import FirstOutcome, Supply, first_outcome, stockouts

T0 = datetime(2026, 5, 1, 8, tzinfo=UTC)
DUE = T0 + PROMISE
NOW = DUE + GRACE
MS = timedelta(milliseconds=1)
ALWAYS = (T0 - timedelta(days=1), T0 + timedelta(days=1))


def clock(**more: object) -> Clock:
    return Clock(T0, DUE, **more)  # type: ignore[arg-type]


def test_a_line_is_eligible_from_24_hours_after_its_due_time() -> None:
    assert classify(clock(), NOW - MS) is Class72h.NOT_DUE
    assert classify(clock(), NOW) is Class72h.OPEN_OVERDUE


def test_delivery_at_the_due_instant_is_on_time_and_a_millisecond_later_is_late() -> None:
    assert classify(clock(delivered_at=DUE), NOW) is Class72h.ON_TIME
    assert classify(clock(delivered_at=DUE - MS), NOW) is Class72h.ON_TIME
    assert classify(clock(delivered_at=DUE + MS), NOW) is Class72h.LATE


def test_a_supply_cancellation_is_a_miss_whenever_it_came() -> None:
    for at in (T0 + MS, DUE - MS, DUE + MS):
        assert classify(clock(cancelled_by="supply", cancelled_at=at), NOW) is Class72h.SUPPLY_CANCELLED


@pytest.mark.parametrize(
    ("cancelled_at", "first_scan_at", "expected"),
    [
        (DUE - MS, None, Class72h.EXCLUDED),
        (DUE, None, Class72h.OPEN_OVERDUE),
        (DUE + MS, None, Class72h.OPEN_OVERDUE),
        (T0 + 2 * MS, T0 + 3 * MS, Class72h.EXCLUDED),
        (T0 + 3 * MS, T0 + 3 * MS, Class72h.OPEN_OVERDUE),
        (T0 + 4 * MS, T0 + 3 * MS, Class72h.OPEN_OVERDUE),
    ],
)
def test_a_buyers_cancellation_excludes_only_before_both_due_and_first_scan(
    cancelled_at: datetime, first_scan_at: datetime | None, expected: Class72h
) -> None:
    line = clock(cancelled_by="buyer", cancelled_at=cancelled_at, first_scan_at=first_scan_at)
    assert classify(line, NOW) is expected


def test_cancelling_a_confirmed_booking_leaves_it_on_time() -> None:
    booked = clock(delivered_at=T0 + MS, cancelled_by="buyer", cancelled_at=T0 + 2 * MS)
    assert classify(booked, NOW) is Class72h.ON_TIME


def test_evidenced_refusal_excludes_unless_the_line_was_delivered_after_all() -> None:
    assert classify(clock(excused="refused"), NOW) is Class72h.EXCLUDED
    assert classify(clock(excused="bad_address"), NOW) is Class72h.EXCLUDED
    assert classify(clock(excused="refused", delivered_at=DUE + MS), NOW) is Class72h.LATE


instants = st.none() | st.integers(-5, 120).map(lambda h: T0 + timedelta(hours=h))


@st.composite
def clocks(draw: st.DrawFn) -> Clock:
    t0 = T0 + timedelta(hours=draw(st.integers(-48, 48)))
    by = draw(st.sampled_from([None, "buyer", "supply"]))
    return Clock(
        t0, t0 + PROMISE, draw(instants), draw(instants), by, draw(instants.filter(bool)) if by else None,
        draw(st.sampled_from([None, None, "refused", "bad_address"])),
    )  # fmt: skip


@given(st.lists(clocks(), max_size=30), st.integers(0, 200))
def test_the_partition_is_exact(lines: list[Clock], hours: int) -> None:
    now = T0 + timedelta(hours=hours)
    figure = delivery_72h(lines, ALWAYS, now)
    parts = figure.partition
    assert parts.eligible == parts.on_time + parts.late + parts.open_overdue + parts.supply_cancelled
    ordered = [line for line in lines if ALWAYS[0] <= line.t0 < ALWAYS[1]]
    assert parts.eligible + figure.excluded == sum(line.due_at <= now - GRACE for line in ordered)
    assert (figure.numerator, figure.denominator) == (parts.on_time, parts.eligible)


def test_the_figure_carries_interval_target_and_status() -> None:
    figure = delivery_72h([clock(delivered_at=DUE)] * 9 + [clock()], ALWAYS, NOW)
    assert (figure.numerator, figure.denominator, figure.rate, figure.status) == (9, 10, 0.9, "met")
    assert figure.interval is not None
    assert figure.interval.low == pytest.approx(0.59585, abs=1e-5)  # Wilson 1927, 9 of 10
    assert figure.interval.high == pytest.approx(0.98212, abs=1e-5)
    nothing = delivery_72h([], ALWAYS, NOW)
    assert (nothing.rate, nothing.interval, nothing.status, nothing.exclusion_rate) == (None, None, "no_data", None)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval_holds_the_rate_and_stays_in_bounds(case: tuple[int, int]) -> None:
    k, n = case
    interval = wilson(k, n)
    assert interval is not None
    assert 0 <= interval.low <= k / n + 1e-12 and k / n - 1e-12 <= interval.high <= 1


def test_stock_out_rates_say_what_failed_over_and_what_the_customer_saw() -> None:
    lines = [
        *[Supply(T0, FirstOutcome.OK, False)] * 95,
        *[Supply(T0, FirstOutcome.STOCKOUT, False)] * 3,
        Supply(T0, FirstOutcome.STOCKOUT, True),
        Supply(T0, FirstOutcome.UNKNOWN, False),
        Supply(T0 + timedelta(days=2), FirstOutcome.STOCKOUT, True),  # ordered outside the window
    ]
    figure = stockouts(lines, ALWAYS, NOW)
    assert (figure.numerator, figure.denominator, figure.visible_numerator, figure.unknown) == (4, 100, 1, 1)
    assert (figure.rate, figure.visible_rate, figure.rescue_rate, figure.status) == (0.04, 0.01, 0.75, "missed")
    assert stockouts(lines[:97], ALWAYS, NOW).status == "met"
    assert stockouts([], ALWAYS, NOW).rescue_rate is None


def test_a_time_out_is_unknown_until_the_vendor_really_answers() -> None:
    assert first_outcome(None, True) is FirstOutcome.UNKNOWN
    assert first_outcome("refused", True) is FirstOutcome.UNKNOWN
    assert first_outcome("accepted", True) is FirstOutcome.OK
    assert first_outcome("out_of_stock", True) is FirstOutcome.STOCKOUT
    assert first_outcome(None, False) is FirstOutcome.UNDECIDED
    assert first_outcome("refused", False) is FirstOutcome.REFUSED
