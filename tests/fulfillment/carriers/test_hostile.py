"""Whatever bytes come, there is an answer, and it says why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fulfillment.carriers import statuses, times
from fulfillment.carriers.contracts import Reading
from fulfillment.carriers.reading import SCANS, read

KEYS = st.sampled_from(
    ["events", "trackingNumber", "status", "code", "date", "time", "timestamp", "location", "city", "errors", "message",
     "data", "name", "value", "", "eventDate", "GMTOffset", "gmtTime", "id", "运单号", "时间", "\ud800", "a" * 200]
)  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(
        ["2024-03-01T10:00:00Z", "03/04/2024", "10:00", "99999999999999", "1709287200", "Delivered",
        "9999-12-31T23:59:59+14:00",
         "AB1234567890", "1990-01-01", "2024-02-30", "24:00", "-0500", "+14:00", "{\"a\": 1}", "[1, 2]"])
)  # fmt: skip
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=40
)


def answered(got: Reading) -> None:
    assert got.parcels or got.refused or got.problems
    for parcel in got.parcels:
        assert parcel.events
        assert list(parcel.events) == sorted(parcel.events, key=lambda e: e.sort_key, reverse=True)
        for event in parcel.events:
            assert event.at is None or event.at.tzinfo is not None
    got.model_dump_json()


@settings(max_examples=400, deadline=None)
@given(TREES, st.sampled_from(["x", "fedex", "kuaidi100", "dhl", "usps", ""]))
def test_any_tree_is_answered(tree: Any, carrier: str) -> None:
    answered(read(carrier, tree))
    answered(read(carrier, tree, asked="AB1234567890"))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300))
def test_any_bytes_are_answered(payload: bytes | str) -> None:
    answered(read("x", payload))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "event", "date", "status"]), st.text(max_size=8)), max_size=12))
def test_any_markup_is_answered(parts: list[tuple[str, str]]) -> None:
    answered(read("x", "<r>" + "".join(f"<{tag}>{text}</{tag}>" for tag, text in parts) + "</r>"))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(["2024-03-01", "10:00", "DELIVERED", "in transit", "AB12345678", None, 1]),
        min_size=4,
        max_size=4,
    )
)
def test_scans_in_any_order_give_the_same_parcel(values: list[Any]) -> None:
    events = [{"date": value, "time": "10:00", "status": other} for value in values for other in values]
    one = read("x", {"trackingNumber": "AB1234567890", "events": events})
    two = read("x", {"events": events[::-1], "trackingNumber": "AB1234567890"})
    assert one.parcels == two.parcels and len(one.refused) == len(two.refused)


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=60) | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_is_a_time_or_none(value: Any) -> None:
    times.moment(value)
    times.time_of_day(value)
    times.zone_of(str(value))


DEEP = 100_000
BOMBS: dict[str, Any] = {
    "deep json": b"[" * DEEP + b"]" * DEEP,
    "deep tree": json.dumps({"a": json.loads("[" * 60 + "]" * 60)}),
    "deep xml": b"<a>" * DEEP + b"</a>" * DEEP,
    "wide json": json.dumps([{"a": 1}] * 60_000),
    "wide xml": "<a>" + "<b/>" * 120_000 + "</a>",
    "large": b" " * (4 * 2**20 + 1),
    "entities": '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>',
    "external": '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
    "many scans": json.dumps({"n": "AB1234567890", "events": [{"date": "2024-03-01", "code": "A"}] * (SCANS + 1)}),
    "many records": json.dumps([[{"date": "2024-03-01", "code": "A"}]] * 20_000),
    "form": "&".join("a=1" for _ in range(1000)),
    "text in text": json.dumps(json.dumps(json.dumps(json.dumps({"events": [1]})))),
    "cut": '{"events": [{"date": "2024',
    "not text": b"\xff\xfe\x00\x81" * 50,
    "lone surrogate": '{"message": "\\ud800"}',
    "nul": '{"errors": [{"message": "a\\u0000b"}]}',
}


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_bombs_are_refused(name: str) -> None:
    got = read("x", BOMBS[name])
    answered(got)
    assert got.parcels == ()


def test_long_texts_are_read_in_part() -> None:
    for piece in ("on the way ", "delivery ", "to be ", "签收", "out for ", "no ", "return ", "a", "已放入", "待"):
        statuses.of_words(piece * 400)
        statuses.of_words(("x" + piece) * 300 + "!")


def test_refused_records_are_cut_short_and_storable() -> None:
    got = read("x", {"n": "AB1234567890", "events": [{"date": "03/04/2024", "code": "A", "text": "\x00" + "z" * 9000}]})
    assert len(got.refused[0].raw) <= 2000 and "\x00" not in got.refused[0].raw
    assert got.refused[0].pointer == "/events/0"
