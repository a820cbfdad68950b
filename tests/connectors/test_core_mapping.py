"""From a vendor's record to a canonical listing: exact, tolerant of one bad row, and quick about what it knows."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import jsonio
from connectors.manifest import ListingMap
from connectors.mapping import Mapper, plain_text

BASE: dict[str, Any] = {"vendor_sku": "sku", "title": "name", "price": "price", "on_hand": "qty"}


def mapper(config: dict[str, Any] | None = None, **fields: Any) -> Mapper:
    whole = {**BASE, **fields}
    attributes = whole.pop("attributes", {})
    spec = ListingMap.model_validate({"fields": whole, "attributes": attributes})
    return Mapper(spec, config or {}, ignore=("seo",))


def row(**changes: Any) -> dict[str, Any]:
    return {"sku": "A1", "name": "杯子", "price": "12.90", "qty": 3, **changes}


def only(found: Mapper, record: dict[str, Any]) -> Any:
    mapped = found.page([record])
    assert not mapped.bad, mapped.bad
    return mapped.listings[0]


@pytest.mark.parametrize(
    ("raw", "price"),
    [("12.90", "12.90"), (12.9, "12.9"), (13, "13"), ("1,299.00", "1299.00"), (" 5 ", "5"), (0.1, "0.1")],
)
def test_money_is_taken_as_written(raw: Any, price: str) -> None:
    listing = only(mapper(), row(price=raw))
    assert listing.price == Decimal(price) and str(listing.price) == price


@pytest.mark.parametrize(
    "raw", ["", None, "0", 0, -1, "-3.5", "NaN", "Infinity", float("inf"), "twelve", [1], {}, True, 10**12]
)
def test_a_price_that_is_none_costs_its_row_only(raw: Any) -> None:
    mapped = mapper().page([row(price=raw), row(sku="A2")])
    assert [listing.vendor_sku for listing in mapped.listings] == ["A2"]
    assert [(bad.vendor_sku, bad.pointer) for bad in mapped.bad] == [("A1", "/price")]
    assert mapped.bad[0].reason and json.loads(mapped.bad[0].raw)["sku"] == "A1"


@pytest.mark.parametrize(
    ("raw", "count"), [(3, 3), ("3", 3), ("3.0", 3), (3.0, 3), (0, 0), (-48, 0), ("-2", 0), (None, None), ("", None)]
)
def test_counts_are_whole_and_never_below_nothing(raw: Any, count: int | None) -> None:
    assert only(mapper(), row(qty=raw)).on_hand == count


@pytest.mark.parametrize("raw", [3.5, "a few", [3], 10**9, True, "NaN"])
def test_a_count_that_is_none_is_quarantined(raw: Any) -> None:
    mapped = mapper().page([row(qty=raw)])
    assert not mapped.listings and len(mapped.bad) == 1


@pytest.mark.parametrize("sku", [None, "", "   ", "x" * 129, "a\x00b", {"a": 1}])
def test_a_sku_that_is_none_is_quarantined(sku: Any) -> None:
    mapped = mapper().page([row(sku=sku)])
    assert not mapped.listings and len(mapped.bad) == 1


def test_a_number_as_sku_keeps_every_digit() -> None:
    assert only(mapper(), row(sku=9007199254740993)).vendor_sku == "9007199254740993"


def test_minor_units_are_shifted_not_divided() -> None:
    assert only(mapper(price={"path": "price", "scale": 2}), row(price=1290)).price == Decimal("12.90")
    assert mapper(price={"path": "price", "scale": 2}).page([row(price=12.9)]).bad


def test_unknown_values_of_a_table_are_refused_not_guessed() -> None:
    found = mapper(on_hand={"const": None}, level={"path": "s", "table": {"yes": "in_stock", "no": "out"}})
    assert only(found, row(s="yes")).level == "in_stock"
    assert "'maybe'" in found.page([row(s="maybe")]).bad[0].reason


def test_a_count_beats_a_level() -> None:
    listing = only(mapper(level={"const": "in_stock"}), row(qty=2))
    assert (listing.on_hand, listing.level) == (2, None)


def test_first_const_config_default_join_and_attributes() -> None:
    found = mapper(
        {"currency": "EUR"},
        title={"first": ["title", "name"]},
        currency={"config": "currency"},
        brand={"path": "brand", "default": "none"},
        category={"path": "path", "join": " > "},
        kind={"const": "service"},
        attributes={"colour": "props.colour", "*": "more"},
    )
    listing = only(found, row(title="", path=["a", "b"], props={"colour": "红"}, more={"size": 4}))
    assert (listing.title, listing.currency, listing.brand, listing.category) == ("杯子", "EUR", "none", "a > b")
    assert (listing.kind, listing.attributes) == ("service", {"colour": "红", "size": "4"})


def test_complex_paths_are_jmespath() -> None:
    found = mapper(gtin="codes[?type=='ean'].value | [0]")
    assert only(found, row(codes=[{"type": "x", "value": 1}, {"type": "ean", "value": "6901234567892"}])).gtin
    assert found.page([row(codes=[{"type": "ean", "value": "6901234567890"}])]).bad[0].pointer == "/gtin"


def test_html_becomes_text() -> None:
    assert plain_text("<p>Fish&nbsp;&amp;<br/>chips</p>\n") == "Fish & chips"
    assert plain_text("<br>") is None


def test_unknown_fields_are_drift_and_ignored_ones_are_not() -> None:
    mapped = mapper().page([row(seo=1), row(sku="A2", warranty="2y")])
    assert mapped.drift == {"warranty"} and len(mapped.listings) == 2


def test_a_sku_twice_in_a_page_is_bad_the_second_time() -> None:
    mapped = mapper().page([row(), row(price="1")])
    assert [str(listing.price) for listing in mapped.listings] == ["12.90"] and "twice" in mapped.bad[0].reason


def test_a_record_that_is_no_object_is_quarantined() -> None:
    mapped = mapper().page([None, 3, "x", [], row()])
    assert len(mapped.bad) == 4 and len(mapped.listings) == 1


def test_known_content_reports_its_stock_alone() -> None:
    found = mapper(version="rev")
    first = found.page([row(rev=1)])
    known = {"A1": first.digests[0]}
    second = found.page([row(qty=0, rev=2)], known)
    assert not second.listings and second.unchanged[0][:3] == ("A1", 0, None) and second.unchanged[0].version == 2
    assert found.page([row(name="大杯子")], known).listings[0].title == "大杯子"


def test_known_content_with_an_odd_count_is_quarantined_all_the_same() -> None:
    found = mapper()
    known = {"A1": found.page([row()]).digests[0]}
    mapped = found.page([row(qty="many")], known)
    assert not mapped.unchanged and len(mapped.bad) == 1


def test_a_digest_changes_with_content_settings_and_manifest_but_not_with_noise() -> None:
    one = mapper({"currency": "CNY"}, currency={"config": "currency"})
    other = mapper({"currency": "EUR"}, currency={"config": "currency"})
    assert one.digest(row()) == one.digest(row(qty=99, seo="x", related=[3, 1]))
    assert one.digest(row()) != one.digest(row(price="12.91"))
    assert one.digest(row()) != other.digest(row())


def test_nan_in_json_costs_its_row_only() -> None:
    body = (
        b'[{"sku": "A1", "name": "a", "price": NaN, "qty": 1}, {"sku": "A2", "name": "b", "price": 2, "qty": -Infinity}'
        b', {"sku": "A3", "name": "c", "price": 3}]'
    )
    mapped = mapper().page(jsonio.loads(body))
    assert len(mapped.bad) == 2 and [listing.vendor_sku for listing in mapped.listings] == ["A3"]


def test_depth_is_capped_even_when_text_holds_brackets() -> None:
    deep = b"[" * 30 + b"]" * 30
    assert jsonio.loads(deep, 30) is not None
    with pytest.raises(ValueError, match="deeper than 29"):
        jsonio.loads(deep, 29)
    assert jsonio.loads(b'{"a": "[[[[{{{{", "b": [1]}', 3) == {"a": "[[[[{{{{", "b": [1]}
    with pytest.raises(ValueError):
        jsonio.loads(b"[" * 100_000)
    with pytest.raises(ValueError):
        jsonio.loads(b'{"a": NaN, "b": ' + b"[" * 50 + b"]" * 50 + b"}")


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b"\xff\xfe{}", b'{"a": "\xd7"}', b"[1,]", b'{"a": "\\ud800"}'])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        jsonio.loads(body)


def test_a_byte_order_mark_is_no_obstacle() -> None:
    assert jsonio.loads(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


_scalar = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
_value = st.recursive(
    _scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@given(
    st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(("sku", "name", "price", "qty", "x"), _value)) | _value)
)
def test_whatever_comes_every_record_is_accounted_for(records: list[Any]) -> None:
    mapped = mapper().page(records)
    assert len(mapped.listings) + len(mapped.bad) == len(records)
    assert len(mapped.digests) == len(mapped.listings)
    again = mapper().page(records, {x.vendor_sku: d for x, d in zip(mapped.listings, mapped.digests, strict=True)})
    assert len(again.listings) + len(again.unchanged) + len(again.bad) == len(records)
