"""The rules by themselves, and how addresses are compared."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orders.suspicion import Asked, LargeValue, RuleSet, Seen, Velocity, judge, plain_address

SAME = [
    [
        "漕溪北路 88 号 1203 室",
        "漕溪北路88号1203室",
        "漕溪北路88-1203",
        "漕溪北路８８号，１２０３",
        "上海市徐汇区漕溪北路88号1203",
    ],
    ["中山路三号楼二单元501室", "中山路3号楼2单元501", "中山路3幢2单元501房"],
    ["人民路十二号", "人民路12号", "人民路12"],
    ["建国路一百零五号", "建国路105号"],
    ["1 Infinite Loop, Bldg. 3", "1 INFINITE LOOP BLDG 3"],
]
APART = [
    ("漕溪北路88号1203室", "漕溪北路881号203室"),
    ("漕溪北路88号1203室", "漕溪北路88号1204室"),
    ("中山路3号楼2单元501", "中山路3号楼2单元502"),
    ("三元桥路5号", "四元桥路5号"),
    ("人民路1 23号", "人民路12 3号"),
]


def plain(address: str) -> str:
    return plain_address("CN", "上海市", "上海市", "徐汇区", address)


@pytest.mark.parametrize("spellings", SAME)
def test_spellings_of_one_address_are_one(spellings: list[str]) -> None:
    assert len({plain(spelling) for spelling in spellings}) == 1, [plain(s) for s in spellings]


@pytest.mark.parametrize(("one", "other"), APART)
def test_different_addresses_stay_apart(one: str, other: str) -> None:
    assert plain(one) != plain(other)


def test_regions_count_and_their_long_names_do_not() -> None:
    assert plain_address("CN", "上海市", "上海市", "", "南京路1号") == plain_address(
        "CN", "上海", "上海", "", "南京路1号"
    )
    assert plain_address("CN", "江苏省", "南京市", "", "中山路1号") != plain_address(
        "CN", "广东省", "广州市", "", "中山路1号"
    )
    assert plain_address("CN", "", "", "", " , ") == ""


@given(st.text(max_size=60), st.text(max_size=20))
def test_any_text_is_an_address_and_saying_it_plainly_again_changes_nothing(address: str, city: str) -> None:
    once = plain_address("CN", "", city, "", address)
    assert once == plain_address("CN", "", city, "", address)
    assert plain_address("CN", "", city, "", f"  {address} ") == once


def asked(amount: str = "10", currency: str = "CNY") -> Asked:
    return Asked(Decimal(amount), currency, {1: 1}, {1: 5}, has_employee=True, has_address=True)


@given(st.integers(0, 20), st.integers(1, 20))
def test_a_limit_is_the_most_that_passes(before: int, limit: int) -> None:
    rule = Velocity(name="v", kind="velocity", per="employee", window_s=60, orders=limit)
    assert bool(judge([rule], {"v": Seen(orders=before)}, asked())) == (before + 1 > limit)


@given(st.decimals("0.0001", "100", places=4), st.decimals("0.0001", "100", places=4))
def test_amounts_are_compared_exactly(amount: Decimal, limit: Decimal) -> None:
    rule = LargeValue(name="l", kind="large_value", amount=limit)
    assert bool(judge([rule], {}, asked(str(amount)))) == (amount > limit)
    assert judge([rule], {}, asked(str(amount), "USD")) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"rules": [{"name": "v", "kind": "velocity", "per": "mall", "window_s": 60}]},
        {"rules": [{"name": "v", "kind": "velocity", "per": "mall", "window_s": 60, "orders": 5000}]},
        {"rules": [{"name": "v", "kind": "large_value", "amount": "1"}] * 2},
        {"rules": [{"name": "v", "kind": "guess"}]},
        {"rules": [], "deadline_s": 72 * 3600},
    ],
)
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RuleSet.model_validate(wrong)
