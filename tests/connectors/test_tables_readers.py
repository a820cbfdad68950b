"""Row readers: what a file says comes out as it was written, and one bad row costs one row."""

from __future__ import annotations

import asyncio
import csv
import gzip
import hashlib
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.tables import Limits, Reading, Record, land, records
from hub.kernel.errors import Malformed, Misconfigured, TooLarge


async def _chunks(data: bytes, size: int = 7919) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def read(data: bytes, limits: Limits | None = None, **how: Any) -> list[Record]:
    how["wanted"] = frozenset(how.get("wanted", ()))

    async def run() -> list[Record]:
        with await land(_chunks(data)) as spooled:
            return list(records(spooled, Reading(**how), limits or Limits()))

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()


def fields(data: bytes, **how: Any) -> list[dict[str, str]]:
    found = read(data, **how)
    assert [record.reason for record in found] == [""] * len(found)
    return [record.fields for record in found]


TABLE = "sku,name\r\nA-1,一次性医用口罩\r\nA-2,洗手液\r\n"
ROWS = [{"sku": "A-1", "name": "一次性医用口罩"}, {"sku": "A-2", "name": "洗手液"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030", "gbk", "gb2312"])
def test_an_encoding_is_told_without_being_declared(encoding: str) -> None:
    assert fields(TABLE.encode(encoding)) == ROWS


@pytest.mark.parametrize("encoding", ["big5", "utf-16-le", "cp1252"])
def test_an_encoding_that_cannot_be_told_is_asked_for_and_then_obeyed(encoding: str) -> None:
    text = "sku,name\nÉ-1,Café crème à la façon de Véronique\n" if encoding == "cp1252" else "sku,name\nA,護手霜\n"
    data = text.encode(encoding)
    if encoding != "big5":  # two-byte Big5 can also be read as rare GB18030: that too must not pass as Chinese
        with pytest.raises(Malformed) as refused:
            read(data)
        assert refused.value.code == "unknown_encoding"
    assert fields(data, encoding=encoding) == list(csv.DictReader(io.StringIO(text)))


def test_a_declared_name_that_is_no_encoding_is_misconfigured() -> None:
    for name in ("klingon", "hex", "rot13"):
        with pytest.raises(Misconfigured):
            read(b"a,b\n1,2\n", encoding=name)


def test_a_chinese_file_is_not_taken_for_utf8_when_its_start_is_plain_ascii() -> None:
    plain = "".join(f"A-{n},plain\n" for n in range(400_000 // 10))
    found = fields(("sku,name\n" + plain + "B-1,洗手液\n").encode("gb18030"))
    assert found[-1] == {"sku": "B-1", "name": "洗手液"}


def test_one_damaged_character_costs_its_row_and_no_other() -> None:
    data = ("sku,name\n" + "".join(f"A-{n},洗手液\n" for n in range(50))).encode()
    broken = data.replace("A-7,洗".encode(), "A-7,洗".encode()[:-1])
    found = read(broken)
    assert [record.number for record in found if record.reason] == [8]
    assert "not text" in found[7].reason
    assert len(found) == 50


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_told_although_the_others_occur_in_cells(delimiter: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(["sku", "name", "price"])
    for n in range(20):
        writer.writerow([f"A-{n}", "a, b; c | d", "1.5"])
    assert fields(text.getvalue().encode())[3] == {"sku": "A-3", "name": "a, b; c | d", "price": "1.5"}


def test_a_spreadsheets_own_separator_line_is_obeyed_and_not_a_header() -> None:
    assert fields(b"\xef\xbb\xbfsep=;\r\nsku;price\r\nA;1,5\r\n") == [{"sku": "A", "price": "1,5"}]


def test_a_declared_delimiter_wins() -> None:
    assert fields(b"a:b,c\n1:2,3\n", delimiter=":") == [{"a": "1", "b,c": "2,3"}]


def test_quoted_newlines_quotes_and_delimiters_stay_inside_their_cell() -> None:
    assert fields(b'a,b\n"x\r\ny, ""z""",2\n') == [{"a": 'x\r\ny, "z"', "b": "2"}]


def test_ragged_rows_are_set_aside_and_the_rest_goes_on() -> None:
    found = read(b"a,b,c\n1,2,3\n4,5\n6,7,8,9\n1,1,1,,\n\n  , ,\n7,8,9\n")
    assert [(record.number, bool(record.reason)) for record in found] == [
        (1, False),
        (2, True),
        (3, True),
        (4, False),
        (5, False),
    ]
    assert "2 cells" in found[1].reason and "4 cells" in found[2].reason


def test_a_quote_that_never_closes_says_that_rows_are_lost() -> None:
    found = read(b'a,b\n1,2\n3,"4\n5,6\n7,8\n')
    assert found[0].fields == {"a": "1", "b": "2"} and not found[0].lost
    assert found[1].lost and "still open" in found[1].reason


def test_an_open_quote_cannot_swallow_a_big_file() -> None:
    rows = "".join(f"{n},x\n" for n in range(60_000))
    found = read(('a,b\n1,"open\n' + rows).encode())
    assert sum(record.lost for record in found) >= 1
    assert found[-1].fields == {"a": "59999", "b": "x"}


def test_a_file_cut_within_its_last_row_says_so() -> None:
    found = read(b"a,b,c\n1,2,3\n4,5")
    assert found[1].lost and "truncated" in found[1].reason
    assert not read(b"a,b,c\n1,2,3\n4,5,6")[1].reason  # a last line without an end is ordinary


def test_the_header_is_found_below_a_title() -> None:
    data = "供应商报价,,\n2026-11-22,,\n 货号 ,名称,单价\nA,b,1\n".encode()
    assert fields(data, wanted=["货号", "单价"]) == [{"货号": "A", "名称": "b", "单价": "1"}]


def test_columns_are_named_in_the_mappings_spelling() -> None:
    assert fields(b"SKU,Image Link\nA,x\n", wanted=["sku", "image_link"]) == [{"sku": "A", "image_link": "x"}]


def test_a_table_without_the_mapped_columns_says_what_it_has() -> None:
    with pytest.raises(Malformed, match=r"sku.*first row reads: x \| y"):
        read(b"x,y\n1,2\n", wanted=["sku"])


def test_a_column_that_comes_twice_keeps_both_values() -> None:
    assert fields(b"a,a,\n1,2,\n") == [{"a": "1", "a[2]": "2"}]


def test_without_a_header_columns_are_numbers() -> None:
    assert fields(b"x,1\ny,2\n", header=False) == [{"1": "x", "2": "1"}, {"1": "y", "2": "2"}]


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", b"  \r\n\t\n", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(Malformed, match="empty"):
        read(data)


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html><html></html>", b"\n <html lang=zh>", b"<!-- x --><!doctype HTML>", b"<HEAD>"]
)
def test_a_web_page_is_not_a_table(page: bytes) -> None:
    for form in ("auto", "csv", "xml", "xlsx"):
        with pytest.raises(Malformed) as refused:
            read(page, format=form)
        assert refused.value.code == "html"


def test_a_file_of_another_format_than_declared_is_refused() -> None:
    for data, form in ((b"<a/>", "csv"), (b"a,b\n1,2\n", "xml"), (b"a,b\n", "xlsx"), (b'[{"a": 1}]', "auto")):
        with pytest.raises(Malformed):
            read(data, format=form)


def test_gzip_is_unpacked_in_one_two_layers_and_several_members() -> None:
    data = TABLE.encode()
    assert fields(gzip.compress(data)) == ROWS
    assert fields(gzip.compress(gzip.compress(data))) == ROWS
    assert fields(gzip.compress(data[:20]) + gzip.compress(data[20:])) == ROWS


def test_truncated_and_damaged_gzip_are_refused() -> None:
    packed = gzip.compress(TABLE.encode() * 500)
    with pytest.raises(Malformed) as cut:
        read(packed[:-9])
    assert cut.value.code == "truncated_gzip"
    with pytest.raises(Malformed) as damaged:
        read(packed[:40] + b"\xff\x00\xff" + packed[43:])
    assert damaged.value.code in ("bad_gzip", "truncated_gzip")


def test_json_lines_keep_digits_and_nest_with_dots() -> None:
    lines = b'{"a": {"b": 12.50, "c": [1, "x"]}, "d": null, "e": true, "f": 90071992547409931}\n\n'
    assert fields(lines) == [{"a.b": "12.50", "a.c": '["1", "x"]', "d": "", "e": "true", "f": "90071992547409931"}]


def test_json_lines_that_are_not_objects_cost_themselves_alone() -> None:
    found = read(b'{"a": 1}\n[1]\n{"a": NaN}\nnonsense\n' + b"[" * 5000 + b'\n{"a": 2}\n')
    assert [bool(record.reason) for record in found] == [False, True, True, True, True, False]
    assert read(b'{"a": 1}\n{"a": ')[1].lost  # cut within the last line


def test_a_json_line_that_says_a_key_twice_is_not_believed() -> None:
    found = read(b'{"sku": "A", "price": 1, "price": 999}\n{"a": {"b": 1, "b": 1}}\n{"a": {"b": 1}, "b": 1}\n')
    assert ["twice" in record.reason for record in found] == [True, True, False]


def test_a_json_line_nested_beyond_measure_costs_itself_alone() -> None:
    for depth in (42, 600, 900, 5_000, 100_000):
        objects, lists = b'{"a":' * depth + b"1" + b"}" * depth, b'{"a":' + b"[" * depth + b"]" * depth + b"}"
        found = read(objects + b'\n{"a": 1}\n' + lists + b'\n{"a": 2}\n')
        assert [bool(record.reason) for record in found[:2]] == [True, False]
        assert found[3].fields == {"a": "2"}


FEED = """<?xml version="1.0" encoding="%s"?>
<rss xmlns:g="http://base.google.com/ns/1.0"><channel><title>店</title>
<item><g:id>A&amp;1</g:id><title><![CDATA[口罩 <50>]]></title>
<g:shipping><g:price>5.00 CNY</g:price></g:shipping><g:additional_image_link>x</g:additional_image_link>
<g:additional_image_link>y</g:additional_image_link><link href="u"/></item>
<item><g:id>B</g:id></item></channel></rss>"""


@pytest.mark.parametrize("encoding", ["UTF-8", "GBK", "gb18030", "UTF-16"])
def test_an_xml_feed_is_read_in_its_declared_encoding(encoding: str) -> None:
    assert fields((FEED % encoding).encode(encoding)) == [
        {
            "id": "A&1",
            "title": "口罩 <50>",
            "shipping.price": "5.00 CNY",
            "additional_image_link": "x",
            "additional_image_link[2]": "y",
            "link@href": "u",
            "link": "",
        },
        {"id": "B"},
    ]


def test_truncated_and_malformed_xml_are_refused() -> None:
    whole = (FEED % "UTF-8").encode()
    with pytest.raises(Malformed) as cut:
        read(whole[:-20])
    assert cut.value.code == "truncated_xml"
    with pytest.raises(Malformed) as bad:
        read(whole.replace(b"</item>", b"</itme>"))
    assert bad.value.code == "bad_xml"
    with pytest.raises(Malformed):
        read((FEED % "gbk").encode("utf-8")[:-3] + b"\xff\xff")


CATALOGUE = b"""<shop><info><product>not for sale</product></info><products>
<product id="A" active="1"><name>x</name><price type="net">1.00</price><price>1.10</price>
<price type="gross">1.19</price>
<param name="colour">red</param></product>
<product id="B"><name>y</name><price type="gross">2.38</price><product>inner</product></product></products></shop>"""


def test_a_record_is_named_by_its_path_and_its_own_attributes_are_read() -> None:
    for path in ("products/product", "/shop/products/product", "shop/products/product"):
        found = fields(CATALOGUE, record=path)
        assert [(record["@id"], record["name"]) for record in found] == [("A", "x"), ("B", "y")]
    assert found[1]["product"] == "inner"
    for path in ("/products/product", "shop/product", "/product"):
        assert read(CATALOGUE, record=path) == []


def test_equals_are_told_apart_by_an_attribute() -> None:
    wanted = ["price[@type=gross]", "price[@type=net]", "param[@name=colour]"]
    first, second = fields(CATALOGUE, record="products/product", wanted=wanted)
    assert [first.get(name) for name in wanted] == ["1.19", "1.00", "red"]
    assert [second.get(name) for name in wanted] == ["2.38", None, None]
    assert (first["price"], first["price[2]"], first["price[3]"]) == ("1.00", "1.10", "1.19")


def test_caps_on_rows_and_cells() -> None:
    many = ("a,b\n" + "1,2\n" * 50).encode()
    with pytest.raises(TooLarge):
        read(many, Limits(rows=10))
    found = read(b"a,b\n1," + b"x" * 40_000 + b"\n3,4\n")
    assert "longer than 32767" in found[0].reason and not found[1].reason


async def test_landing_a_file_knows_its_digest() -> None:
    with await land(_chunks(gzip.compress(TABLE.encode()))) as spooled:
        assert spooled.digest == hashlib.sha256(TABLE.encode()).hexdigest()
        assert spooled.size == len(TABLE.encode())


cells = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff"), max_size=20).map(str.strip)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=12), st.sampled_from([",", ";", "\t", "|"])
)
def test_whatever_a_csv_writer_writes_is_read_back(rows: list[list[str]], delimiter: str) -> None:
    rows = [["x" + row[0], *row[1:]] for row in rows]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([["a", "b", "c"], *rows])
    assert [list(found.values()) for found in fields(text.getvalue().encode(), delimiter=delimiter)] == rows


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["auto", "csv", "xml", "jsonl", "xlsx"]))
def test_any_bytes_are_read_or_refused_and_nothing_else(data: bytes, form: str) -> None:
    try:
        found = read(data, format=form)
    except (Malformed, TooLarge):
        return
    assert all(isinstance(record.reason, str) for record in found)
    json.dumps([record.fields for record in found])
