"""The arithmetic of parity, against an independent account of it in fractions."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.contracts import OfferPrice, Verdict
from pricing.parity import (
    APART,
    Move,
    Reason,
    Reference,
    Streak,
    advance,
    beyond,
    is_new_observation,
    judge,
    next_move,
)
from pricing.units import read_pack

NOW = datetime(2026, 5, 10, tzinfo=UTC)
WEEK = timedelta(days=7)
money = st.decimals(min_value="0.01", max_value="99999", places=2)


def reference(price: str | Decimal, **more: object) -> Reference:
    values: dict[str, object] = {
        "id": 1, "total": Decimal(price), "currency": "CNY", "pack": None, "condition": "ordinary",
        "offer": ("jd", "CN", ""), "captured_at": NOW - timedelta(hours=1),
    }  # fmt: skip
    return Reference(**{**values, **more})  # type: ignore[arg-type]


def offer(price: str | Decimal, **more: object) -> OfferPrice:
    return OfferPrice.model_validate(
        {"listing_id": 1, "product_id": 1, "price": Decimal(price), "currency": "CNY", **more}
    )


def verdict(price: str | Decimal, references: Sequence[Reference], **more: object) -> Verdict:
    return judge(offer(price, **more), references, NOW, WEEK).verdict


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ("105.00", "100.00", Verdict.PASS),
        ("105.01", "100.00", Verdict.BREACH),
        ("20.9999", "19.9999", Verdict.BREACH),
        ("1.05", "1.00", Verdict.PASS),
        ("10.4999", "9.9999", Verdict.BREACH),
        ("0.21", "0.20", Verdict.PASS),
        ("50", "100", Verdict.PASS),
    ],
)
def test_five_percent_passes_and_anything_above_breaches(ours: str, theirs: str, expected: Verdict) -> None:
    assert verdict(ours, [reference(theirs)]) is expected


@given(money, money, st.integers(1, 1000), st.integers(1, 1000))
def test_the_verdict_is_exact_whatever_the_packs_divide_into(
    ours: Decimal, theirs: Decimal, our_count: int, their_count: int
) -> None:
    found = judge(
        offer(ours, pack=f"{our_count}ml"), [reference(theirs, pack=read_pack(f"{their_count}ml"))], NOW, WEEK
    )
    gap = Fraction(ours) * their_count / (Fraction(theirs) * our_count) - 1
    assert found.gap == gap
    assert found.verdict is (Verdict.BREACH if gap > Fraction(5, 100) else Verdict.PASS)


@given(money, st.decimals(min_value=0, max_value=500, places=2))
def test_the_limit_itself_is_within(theirs: Decimal, limit: Decimal) -> None:
    at_limit = Fraction(theirs) * (1 + Fraction(limit) / 100)
    assert not beyond(at_limit, Fraction(theirs), limit)
    assert beyond(at_limit + Fraction(1, 10**30), Fraction(theirs), limit)


def test_shipping_and_usable_coupons_belong_to_the_price() -> None:
    assert verdict("100", [reference("100")], shipping=Decimal("5.01")) is Verdict.BREACH
    assert verdict("110", [reference("100")], coupon=Decimal("5.00")) is Verdict.PASS


def test_without_usable_evidence_the_verdict_is_unknown_and_says_why() -> None:
    stale = NOW - WEEK - timedelta(milliseconds=1)
    cases = [
        ([], Reason.NO_REFERENCE),
        ([reference("100", captured_at=stale)], Reason.STALE),
        ([reference("100", captured_at=NOW + timedelta(minutes=11))], Reason.STALE),
        ([reference("100", condition="flash")], Reason.CONDITION),
        ([reference("100", currency="USD")], Reason.CURRENCY),
        ([reference("100", pack=read_pack("500ml"))], Reason.PACK),
        ([reference("-1")], Reason.PRICE),
    ]
    for references, reason in cases:
        found = judge(offer("100"), references, NOW, WEEK)
        assert (found.verdict, found.reason) == (Verdict.UNKNOWN, reason)
    assert verdict("100", [reference("100", captured_at=NOW - WEEK)]) is Verdict.PASS


@pytest.mark.parametrize("condition", ["member", "group_buy", "flash", "new_user", "used"])
def test_a_price_that_an_ordinary_buyer_cannot_have_never_counts(condition: str) -> None:
    references = [reference("100"), reference("50", id=2, condition=condition, offer=("other", "CN", ""))]
    assert verdict("104", references) is Verdict.PASS


def test_the_lowest_of_the_newest_of_each_source_is_the_reference() -> None:
    references = [
        reference("80", id=1, captured_at=NOW - timedelta(days=2)),  # superseded by jd's newer price
        reference("100", id=2, captured_at=NOW - timedelta(days=1)),
        reference("98", id=3, offer=("tmall", "CN", "")),
        reference("99", id=4, offer=("pdd", "CN", "")),
    ]
    for order in (references, references[::-1]):
        found = judge(offer("100"), order, NOW, WEEK)
        assert found.reference is not None and found.reference.id == 3


def test_a_reference_without_a_pack_is_of_the_product_as_such() -> None:
    assert verdict("105", [reference("100")], pack="500ml*12瓶") is Verdict.PASS
    assert verdict("106", [reference("100")], pack="500ml*12瓶") is Verdict.BREACH


def test_a_case_needs_two_breaches_six_hours_apart() -> None:
    first = advance(None, True, NOW)
    assert next_move(first, NOW, gross=False, case_open=False) is Move.STAY
    soon = NOW + APART - timedelta(milliseconds=1)
    assert next_move(advance(first, True, soon), soon, gross=False, case_open=False) is Move.STAY
    later = NOW + APART
    assert next_move(advance(first, True, later), later, gross=False, case_open=False) is Move.OPEN


def test_a_gross_breach_opens_at_once_and_one_look_back_within_does_not_close() -> None:
    streak = advance(None, True, NOW)
    assert next_move(streak, NOW, gross=True, case_open=False) is Move.OPEN
    within = advance(streak, False, NOW)
    assert within == Streak(False, NOW, 1)
    assert next_move(within, NOW, gross=False, case_open=True) is Move.STAY
    assert next_move(advance(within, False, NOW), NOW, gross=False, case_open=True) is Move.CLOSE


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=40))
def test_cases_follow_a_reading_of_the_whole_history(history: list[tuple[bool, int]]) -> None:
    """Folding one observation at a time equals looking back over all of them."""
    at, streak, is_open = NOW, None, False
    seen: list[tuple[bool, datetime]] = []
    for is_beyond, hours in history:
        at += timedelta(hours=hours)
        seen.append((is_beyond, at))
        streak = advance(streak, is_beyond, at)
        run = []
        for side, when in reversed(seen):
            if side is not is_beyond:
                break
            run.append(when)
        expected = Move.STAY
        if is_open and not is_beyond and len(run) >= 2:
            expected = Move.CLOSE
        elif not is_open and is_beyond and any(at - when >= APART for when in run[1:]):
            expected = Move.OPEN
        move = next_move(streak, at, gross=False, case_open=is_open)
        assert move is expected
        is_open = move is Move.OPEN or (is_open and move is not Move.CLOSE)


def test_looking_twice_at_the_same_evidence_is_one_observation() -> None:
    last = (Decimal("106"), 1, NOW)
    assert not is_new_observation(last, Decimal("106"), 1, NOW + timedelta(minutes=5))
    assert is_new_observation(last, Decimal("107"), 1, NOW + timedelta(minutes=5))
    assert is_new_observation(last, Decimal("106"), 2, NOW + timedelta(minutes=5))
    assert is_new_observation(last, Decimal("106"), 1, NOW + APART)


@pytest.mark.realdata
def test_real_price_pairs_are_judged_as_fractions_say(realdata: Path) -> None:
    with (realdata / "parity" / "price_pairs.csv").open(encoding="utf-8") as file:
        pairs = list(csv.DictReader(file))
    verdicts = []
    for row in pairs:
        ours, theirs = row["price_l"], row["price_r"]
        found = judge(offer(ours, currency=row["currency"]), [reference(theirs, currency=row["currency"])], NOW, WEEK)
        a, b = Fraction(ours), Fraction(theirs)
        assert found.gap == (a - b) / b
        assert found.verdict is (Verdict.BREACH if 20 * a > 21 * b else Verdict.PASS)
        titled = judge(
            offer(ours, currency=row["currency"], pack=row["title_l"]),
            [reference(theirs, currency=row["currency"], pack=read_pack(row["title_r"]))], NOW, WEEK,
        )  # fmt: skip
        assert titled.verdict in (found.verdict, Verdict.UNKNOWN), row  # titles never turn a verdict round
        verdicts.append(found.verdict)
    assert len(pairs) == 200 and {Verdict.PASS, Verdict.BREACH} <= set(verdicts)
