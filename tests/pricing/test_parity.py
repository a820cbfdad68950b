"""What is exact and pure about parity: limits, when cases open and close, which policy covers a listing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.contracts import Policy
from pricing.parity import (
    APART,
    STANDING,
    MallPolicy,
    Move,
    Streak,
    advance,
    beyond,
    covers,
    effective,
    next_move,
)

NOW = datetime(2026, 5, 10, tzinfo=UTC)
money = st.decimals(min_value="0.01", max_value="99999", places=2)


@given(money, st.decimals(min_value=0, max_value=500, places=2))
def test_the_limit_itself_is_within(theirs: Decimal, limit: Decimal) -> None:
    at_limit = Fraction(theirs) * (1 + Fraction(limit) / 100)
    assert not beyond(at_limit, Fraction(theirs), limit)
    assert beyond(at_limit + Fraction(1, 10**30), Fraction(theirs), limit)


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


@pytest.mark.parametrize(
    ("policy", "category", "covered"),
    [
        ("", None, True),
        ("", "食品", True),
        ("食品", None, False),
        ("食品", "食品", True),
        ("食品", "食品/饮料", True),
        ("Home", "Home > Kitchen", True),
        ("食品", "食品机械", False),
        ("食品/饮料", "食品", False),
    ],
)
def test_a_policy_covers_its_category_and_those_below(policy: str, category: str | None, covered: bool) -> None:
    assert covers(policy, category) is covered


def test_the_closest_policy_of_each_mall_counts() -> None:
    wide = MallPolicy(1, "", Policy.OBSERVE, STANDING)
    food = MallPolicy(1, "食品", Policy.HOLD, STANDING)
    drinks = MallPolicy(1, "食品/饮料", Policy.BLOCK, STANDING)
    other = MallPolicy(2, "食品", Policy.HOLD, STANDING)
    for standing in ([wide, food, drinks, other], [other, drinks, food, wide]):
        assert effective(standing, "食品/饮料") == {1: drinks, 2: other}
        assert effective(standing, "食品/糖果") == {1: food, 2: other}
        assert effective(standing, "家电") == {1: wide}
