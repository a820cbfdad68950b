"""The arithmetic of settlement by itself."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.contracts import ListedStatus as Said
from hub.kernel.cells import cell
from orders.lifecycle import PoStatus
from orders.settlement.owed import StatementLine
from orders.settlement.rules import (
    CaseKind,
    OurLine,
    Terms,
    TheirRow,
    compare,
    day_bounds,
    day_of,
    days_late,
    deduction,
    minor,
    month_bounds,
    tax_within,
)
from orders.settlement.statements import Sums

money = st.decimals("0.0001", "99999", places=4)
D = Decimal


def line(quantity: int = 2, price: str = "10", sku: str = "A", delivered: bool = False) -> OurLine:
    return OurLine(sku, quantity, D(price), "CNY", delivered)


def row(
    status: Said = Said.OPEN,
    amount: str | None = None,
    quantity: int | None = None,
    sku: str = "",
    cur: str | None = None,
) -> TheirRow:
    return TheirRow(sku, quantity, D(amount) if amount is not None else None, cur, status)


A, C, S = PoStatus.ACCEPTED, PoStatus.CANCELLED, PoStatus.SHIPPED


@pytest.mark.parametrize(
    ("status", "lines", "rows", "kinds"),
    [
        (A, [line()], [], [CaseKind.MISSING_THERE]),
        (C, [line()], [], []),
        (PoStatus.UNKNOWN, [line()], [], []),
        (A, [line()], [row(amount="20")], []),
        (A, [line()], [row(amount="20.0000", quantity=2)], []),
        (A, [line()], [row(amount="20.01")], [CaseKind.AMOUNT]),
        (A, [line()], [row(amount="20", cur="USD")], [CaseKind.AMOUNT]),
        (A, [line()], [row(quantity=3)], [CaseKind.QUANTITY]),
        (A, [line(), line(1, sku="B")], [row(sku="A", quantity=2), row(sku="B", quantity=1, amount="9")], []),
        (A, [line(), line(1, sku="B")], [row(sku="A", quantity=2, amount="20")], [CaseKind.QUANTITY]),
        (A, [line()], [row(sku="A", quantity=2), row(sku="X", quantity=1)], [CaseKind.QUANTITY]),
        (A, [line()], [row(Said.CANCELLED, amount="20")], [CaseKind.STATUS]),
        (A, [line()], [row(Said.SHIPPED)], []),
        (S, [line()], [row(Said.OPEN)], []),
        (S, [line()], [row(Said.DELIVERED)], [CaseKind.UNPROVEN]),
        (S, [line(delivered=True)], [row(Said.DELIVERED, amount="20")], []),
        (S, [line(delivered=True)], [row(Said.SHIPPED)], []),
        (S, [line(delivered=True)], [row(Said.CANCELLED)], [CaseKind.DELIVERED_CANCELLED]),
        (S, [line(delivered=True)], [row(Said.REFUSED)], [CaseKind.DELIVERED_CANCELLED]),
        (C, [line()], [row(Said.DELIVERED)], [CaseKind.CANCELLED_DELIVERED]),
        (C, [line()], [row(Said.OPEN, amount="20")], [CaseKind.STATUS]),
        (C, [line()], [row(Said.CANCELLED, amount="99")], []),
        (PoStatus.CANCELLING, [line()], [row(Said.CANCELLED)], []),
        (A, [line()], [row(Said.UNKNOWN)], []),
    ],
)
def test_what_disagrees(status: PoStatus, lines: list[OurLine], rows: list[TheirRow], kinds: list[CaseKind]) -> None:
    assert [found.kind for found in compare(status, lines, rows, listed=True)] == kinds


def test_what_no_list_covers_is_not_missing() -> None:
    assert compare(A, [line()], [], listed=False) == []


def test_days_and_months_begin_at_midnight_in_shanghai() -> None:
    assert day_bounds(date(2026, 3, 1)) == (datetime(2026, 2, 28, 16, tzinfo=UTC), datetime(2026, 3, 1, 16, tzinfo=UTC))
    assert month_bounds(date(2026, 12, 5))[1] == datetime(2026, 12, 31, 16, tzinfo=UTC)
    assert day_of(datetime(2026, 2, 28, 16, tzinfo=UTC)) == date(2026, 3, 1)
    assert day_of(datetime(2026, 2, 28, 15, 59, 59, 999999, tzinfo=UTC)) == date(2026, 2, 28)


@given(st.dates(date(2000, 1, 1), date(2150, 1, 1)))
def test_every_instant_lies_in_one_month(day: date) -> None:
    start, end = month_bounds(day)
    assert month_bounds(day_of(end))[0] == end and day_of(start).day == 1
    assert day_of(end - timedelta(microseconds=1)).month == day.month


@pytest.mark.parametrize(
    ("late_s", "days"), [(-1, 0), (0, 0), (1e-6, 1), (86_400, 1), (86_400.000001, 2), (10 * 86_400, 10)]
)
def test_a_day_late_is_a_day_begun(late_s: float, days: int) -> None:
    due = datetime(2026, 1, 1, tzinfo=UTC)
    assert days_late(due + timedelta(seconds=late_s), due) == days


@pytest.mark.parametrize(
    ("terms", "late", "expected"),
    [
        (Terms(), 5, "0"),
        (Terms("line", D("0.05")), 3, "5.00"),
        (Terms("day", D("0.05")), 3, "15.00"),
        (Terms("day", D("0.05"), None, D("0.1")), 3, "10.00"),
        (Terms("day", D("0.5")), 9, "100.00"),
        (Terms("line", None, D("7.5")), 2, "7.50"),
        (Terms("day", None, D("7.5")), 2, "15.00"),
        (Terms("day", None, D("7.5"), currency="USD"), 2, "0"),
        (Terms("line", D("0.05")), 0, "0"),
        (Terms("line", D("0.00005")), 1, "0.01"),
    ],
)
def test_a_deduction_is_what_was_agreed(terms: Terms, late: int, expected: str) -> None:
    assert deduction(D(100), "CNY", late, terms) == D(expected)


@given(money, st.integers(0, 400), st.decimals("0", "1", places=6), st.none() | st.decimals("0", "1", places=6))
def test_a_deduction_keeps_its_bounds_and_is_in_whole_coins(
    amount: Decimal, late: int, share: Decimal, cap: Decimal | None
) -> None:
    taken = deduction(amount, "CNY", late, Terms("day", share, None, cap))
    assert 0 <= taken <= amount and taken <= amount * (1 if cap is None else cap)
    assert taken == taken.quantize(D("0.01"))


@given(st.lists(st.tuples(st.sampled_from(["goods", "correction", "adjustment", "deduction"]), money, st.booleans())))
def test_a_statement_is_exactly_the_sum_of_its_lines(parts: list[tuple[str, Decimal, bool]]) -> None:
    sums = Sums("CNY")
    lines = []
    for n, (kind, amount, minus) in enumerate(parts):
        made = StatementLine(kind, f"O{n % 3}", "P", -amount if minus or kind == "deduction" else amount)
        sums.add(made)
        lines.append(made)
    count, goods, corrections, adjustments, deductions, net, rounding, payable, _tax, _without = sums.row()
    assert count == len(lines) and [made.no for made in lines] == list(range(1, count + 1))
    assert net == goods + corrections + adjustments + deductions == sum((made.amount for made in lines), D(0))
    per_order = [sum((m.amount for m in lines if m.order_no == o), D(0)) for o in {m.order_no for m in lines}]
    assert sum(per_order, D(0)) == net
    assert payable == net + rounding and abs(rounding) <= D("0.005") and payable == payable.quantize(D("0.01"))


@given(money, st.decimals("0", "0.99", places=4))
def test_tax_is_within_the_amount(amount: Decimal, rate: Decimal) -> None:
    assert 0 <= tax_within(amount, rate, "CNY") <= minor(amount, "CNY")


def test_coins_are_the_currencys_own() -> None:
    assert (minor(D("10.005"), "CNY"), minor(D("10.5"), "JPY"), minor(D("1.00005"), "KWD")) == (
        D("10.01"), D("11"), D("1.000"),
    )  # fmt: skip
    assert tax_within(D(113), D("0.13"), "CNY") == D(13)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1+1", "|cmd", "\n=1"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert cell(text).startswith("'")


@given(st.text(max_size=30) | st.integers() | money)
def test_cells_are_harmless_and_numbers_stay_numbers(value: object) -> None:
    shown = cell(value)
    if isinstance(value, str):
        assert not shown.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r"))
        assert not any(ord(sign) < 32 and sign not in "\t\r\n" for sign in shown)
    else:
        assert D(shown) == value
