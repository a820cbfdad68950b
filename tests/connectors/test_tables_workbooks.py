"""Workbooks: read as a person sees them, never evaluated, one sheet or several."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from connectors.tables import SHEET, Limits
from hub.kernel.errors import Malformed, TooLarge
from tests.connectors.test_tables_readers import fields, read


def workbook(rows: list[list[Any]], name: str = "商品") -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = name
    for row in rows:
        sheet.append(row)
    hidden = book.create_sheet("藏")
    hidden.sheet_state = "hidden"
    hidden.append(["sku"])
    hidden.append(["H"])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def test_a_workbook_reads_as_a_person_sees_it() -> None:
    data = workbook(
        [
            ["sku", "name", "gtin", "price", "ok", "day", "moment"],
            ["A", "口罩", 6901234567892, 19.9, True, date(2026, 11, 22), datetime(2026, 11, 22, 8, 30)],
            ["B", None, None, 0.1 + 0.2, False, None, None],
        ]
    )
    assert fields(data) == [
        {
            "sku": "A",
            "name": "口罩",
            "gtin": "6901234567892",
            "price": "19.9",
            "ok": "true",
            "day": "2026-11-22",
            "moment": "2026-11-22 08:30:00",
        },
        {"sku": "B", "name": "", "gtin": "", "price": "0.3", "ok": "false", "day": "", "moment": ""},
    ]


def test_a_worksheet_is_chosen_by_name_and_hidden_ones_are_not_the_default() -> None:
    data = workbook([["sku"], ["A"]])
    assert fields(data) == [{"sku": "A"}]
    assert fields(data, sheet="藏") == [{"sku": "H"}]
    with pytest.raises(Malformed, match="商品"):
        read(data, sheet="nowhere")


def sheets(**tables: list[list[Any]]) -> bytes:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.remove(book.active)
    for title, rows in tables.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def test_several_worksheets_are_one_table_each_below_its_own_header() -> None:
    data = sheets(
        a=[["sku", "price"], ["A", 1], ["B", 2]], leer=[], b=[["Liste"], ["price", "sku"], [3, "C"]], notes=[["hello"]]
    )
    found = read(data, sheet="a, b", wanted=["sku", "price", SHEET])
    assert [record.number for record in found] == [1, 2, 3]
    assert [(r.fields["sku"], r.fields["price"], r.fields[SHEET]) for r in found] == [
        ("A", "1", "a"), ("B", "2", "a"), ("C", "3", "b")
    ]  # fmt: skip
    assert [record.fields["sku"] for record in read(data, sheet="[ab]*,leer", wanted=["sku"])] == ["A", "B", "C"]
    with pytest.raises(Malformed, match="sheet 'notes': no header row"):
        read(data, sheet="*", wanted=["sku"])
    with pytest.raises(Malformed, match="no sheet c; it has: a, leer, b, notes"):
        read(data, sheet="a,c", wanted=["sku"])
    with pytest.raises(Malformed, match="no rows"):
        read(data, sheet="leer", wanted=["sku"])
    with pytest.raises(TooLarge, match="more than 2 rows"):
        read(data, Limits(rows=2), sheet="a,b", wanted=["sku"])


def test_a_worksheet_whose_title_holds_a_comma_is_found() -> None:
    assert fields(sheets(**{"a, b": [["sku"], ["A"]], "a": [["sku"], ["X"]]}), sheet="a, b") == [{"sku": "A"}]


def test_formulas_are_never_evaluated() -> None:
    evil = '=HYPERLINK("http://evil.example","x")'
    assert fields(f'sku,name\nA,"{evil.replace(chr(34), chr(34) * 2)}"\n'.encode()) == [{"sku": "A", "name": evil}]
    found = read(workbook([["sku", "name"], ["A", "=1+1"]]))
    assert found[0].fields.get("name", "") == ""  # a formula without a cached value says nothing


def test_a_spreadsheet_error_costs_its_row() -> None:
    found = read(workbook([["sku", "price"], ["A", "#N/A"], ["B", 1]]))
    assert "#N/A" in found[0].reason and not found[1].reason


def test_an_archive_that_is_no_workbook_is_refused(tmp_path: Path) -> None:

    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(Malformed, match="no spreadsheet"):
        read(path.read_bytes())
    with pytest.raises(Malformed, match="truncated"):
        read(workbook([["a"], ["b"]])[:-200])
    with pytest.raises(Malformed, match=r"\.xls"):
        read(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600)
