"""Cells into values: exact, or refused with a sentence; never rounded, never guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.table_feed.merchant import GOOGLE
from connectors.table_feed.preset import At
from connectors.table_feed.presets import WOO_CSV
from connectors.table_feed.values import amount, count, instant, span, word

NOW = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "decimal", "digits", "currency"),
    [
        ("15.00 CNY", ".", "15.00", "CNY"),
        ("CNY 15", ".", "15", "CNY"),
        ("15.00CNY", ".", "15.00", "CNY"),
        ("15 rmb", ".", "15", "CNY"),
        ("￥1,299.00", ".", "1299.00", None),
        ("¥9.9", ".", "9.9", None),
        ("９.９元", ".", "9.9", "CNY"),
        ("$1,234,567.89", ".", "1234567.89", None),
        ("£3", ".", "3", "GBP"),
        ("1.299,00 €", ",", "1299.00", "EUR"),
        ("1 299,50", ",", "1299.50", None),
        ("4,5", ",", "4.5", None),
        ("0012.50", ".", "0012.50", None),
    ],
)
def test_amounts_are_read_as_written(raw: str, decimal: str, digits: str, currency: str | None) -> None:
    assert amount(raw, decimal) == (digits, currency)


@pytest.mark.parametrize(
    ("raw", "decimal"),
    [
        ("1,5", "."), ("1.5", ","), ("1,23,456", "."), ("12 34", "."), ("", "."), ("free", "."), ("1e3", "."),
        ("NaN", "."), ("-1", "."), ("5-10", "."), ("1.2.3", "."), ("€5 USD", "."), ("约5", "."), ("15 CNY/盒", "."),
        ("∞", "."), ("1.299,00", "."), ("0x10", "."),
    ],
)  # fmt: skip
def test_what_is_not_clearly_an_amount_is_refused(raw: str, decimal: str) -> None:
    with pytest.raises(ValueError, match=r"amount|currencies"):
        amount(raw, decimal)


@given(st.decimals(min_value=0, max_value=Decimal("99999999"), places=2), st.sampled_from([".", ","]))
def test_a_formatted_amount_comes_back_exactly(value: Decimal, decimal: str) -> None:
    english = f"{value:,.2f} CNY"
    text = english if decimal == "." else english.replace(",", "_").replace(".", ",").replace("_", ".")
    digits, currency = amount(text, decimal)
    assert Decimal(digits) == value and currency == "CNY"


@given(st.text(max_size=30))
def test_any_text_is_an_amount_or_refused(text: str) -> None:
    try:
        digits, _ = amount(text)
    except ValueError:
        return
    assert Decimal(digits) >= 0


@pytest.mark.parametrize(("raw", "value"), [("12", 12), (" 1,200 ", 1200), ("12.0", 12), ("-3", 0), ("0", 0)])
def test_counts(raw: str, value: int) -> None:
    assert count(raw) == value


@pytest.mark.parametrize("raw", ["", "12.5", "100+", ">5", "有货", "1e3", "9" * 13, "1,2"])
def test_what_is_no_count_is_never_made_one(raw: str) -> None:
    with pytest.raises(ValueError, match="whole number"):
        count(raw)


def test_an_undeclared_word_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'maybe' is not a known level"):
        word(" maybe ", {"yes": "in_stock"}, "level")


def test_a_time_without_a_zone_needs_the_connections() -> None:
    from zoneinfo import ZoneInfo

    with pytest.raises(ValueError, match="time zone"):
        instant("2026-11-22 08:00:00", None)
    assert instant("2026/11/22 08:00:00", ZoneInfo("Asia/Shanghai")) == datetime(2026, 11, 22, tzinfo=UTC)
    assert instant("2026-11-22T08:00:00+08:00", None) == datetime(2026, 11, 22, tzinfo=UTC)


def google(**fields: str) -> dict[str, str]:
    assert GOOGLE.prepare is not None
    made = GOOGLE.prepare({"price": "20.00 CNY", **fields}, At(NOW))
    assert made is not None
    return dict(made)


@pytest.mark.parametrize(
    ("starts", "ends", "price"),
    [(-1, 1, "15.00 CNY"), (0, 1, "15.00 CNY"), (-1, 0, "15.00 CNY"), (1, 2, "20.00 CNY"), (-2, -1, "20.00 CNY")],
)
def test_a_sale_price_counts_only_while_it_is_in_effect(starts: int, ends: int, price: str) -> None:
    during = "/".join((NOW + timedelta(hours=h)).strftime("%Y-%m-%dT%H:%M%z") for h in (starts, ends))
    assert google(sale_price="15.00 CNY", sale_price_effective_date=during)["=price"] == price
    assert google(sale_price="15.00 CNY")["=price"] == "15.00 CNY"


@pytest.mark.parametrize("during", ["soon", "2026-11-01/2026-11-30", "2026-11-01T00:00+0800", "a/b"])
def test_a_sale_without_certain_times_costs_its_row(during: str) -> None:
    with pytest.raises(ValueError, match="pair of times"):
        span(during)
    with pytest.raises(ValueError, match="pair of times"):
        google(sale_price="15.00 CNY", sale_price_effective_date=during)


@pytest.mark.parametrize(
    ("availability", "level"),
    [
        ("in_stock", "in_stock"),
        ("In Stock", "in_stock"),
        ("out_of_stock", "out"),
        ("preorder", "out"),
        ("backorder", "out"),
    ],
)
def test_only_what_can_be_delivered_now_is_in_stock(availability: str, level: str) -> None:
    assert google(availability=availability)["=level"] == level


def test_an_unknown_availability_is_never_healthy() -> None:
    with pytest.raises(ValueError, match="not an availability"):
        google(availability="sometimes")


def test_a_woocommerce_sale_runs_to_the_end_of_its_last_day() -> None:
    assert WOO_CSV.prepare is not None
    row: dict[str, Any] = {
        "Type": "simple", "Regular price": "20", "Sale price": "15", "Date sale price starts": "2026-11-01",
        "Date sale price ends": "2026-11-22",
    }  # fmt: skip
    for moment, price in ((NOW, "15"), (NOW + timedelta(days=1), "20"), (NOW - timedelta(days=40), "20")):
        made = WOO_CSV.prepare(row, At(moment, UTC))
        assert made is not None and made["=price"] == price
    with pytest.raises(ValueError, match="time zone"):
        WOO_CSV.prepare(row, At(NOW))
