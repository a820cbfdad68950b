"""Values that every package shares."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import ean

from hub.kernel import types


@given(
    st.text("0123456789", min_size=7, max_size=13).filter(lambda body: len(body) in (7, 11, 12, 13)), st.integers(0, 9)
)
def test_a_gtin_is_good_exactly_when_its_check_digit_is(body: str, last: int) -> None:
    good = str(ean.calc_check_digit(body)) == str(last)
    if good:
        assert types.gtin14(f"{body}{last}") == f"{body}{last}".zfill(14)
    else:
        with pytest.raises(ValueError, match="check digit"):
            types.gtin14(f"{body}{last}")


@pytest.mark.parametrize(
    "raw", ["1", "12345", "123456789", "12345678901234567", "４００６３８１３３３９３１", "40063813339３1", "abc"]
)
def test_what_is_no_gtin_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match="digits"):
        types.gtin14(raw)


def test_a_gtin_may_be_written_with_spaces_and_hyphens() -> None:
    assert types.gtin14(" 4006381-33393 1 ") == "04006381333931"
    assert types.gtin14("") is None and types.gtin14(None) is None


def test_ids_are_told_apart_by_their_prefix() -> None:
    order = types.uuid7()
    assert types.parse_uuid_id("ord", types.public_id("ord", order)) == order
    assert types.parse_int_id("prd", "prd_42") == 42
    for wrong in ("lst_42", "prd_", "prd_4x", "prd_４２", "prd_" + "9" * 19, "42"):
        with pytest.raises(ValueError, match="prd_"):
            types.parse_int_id("prd", wrong)


def test_order_ids_sort_by_time_and_are_version_7() -> None:
    made = [types.uuid7() for _ in range(3)]
    assert all(isinstance(each, uuid.UUID) and each.version == 7 and each.variant == uuid.RFC_4122 for each in made)
    assert made[0].int >> 80 <= made[1].int >> 80 <= made[2].int >> 80
