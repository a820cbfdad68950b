"""Vendors' own lists of our orders, as they lie on somebody's desk."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from decimal import Decimal

import openpyxl
import pytest

from connectors.api import OrderRow, uploaded_orders
from connectors.contracts import ListedOrder, ListedStatus
from hub.kernel.errors import Malformed, Rejected

D = Decimal


async def read(body: bytes) -> list[OrderRow]:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    return [row async for piece in uploaded_orders(chunks()) for row in piece]


async def one(header: str, row: str) -> OrderRow:
    [found] = await read(f"{header}\n{row}".encode())
    return found


async def test_a_chinese_export_is_read_under_its_own_names_in_its_own_encoding() -> None:
    title = "2026年3月对账单,,,,,,"
    header = "订单编号,采购单号,商品编码,数量,结算金额,订单状态,税率"
    text = "\n".join([title, header, '8001,PO-1,A1,2,"1,299.00元",已签收,13%'])
    [row] = await read(text.encode("gb18030"))
    assert row.order == ListedOrder(
        po_number="PO-1", vendor_order_no="8001", vendor_sku="A1", quantity=2, amount=D("1299.00"), currency="CNY",
        status=ListedStatus.DELIVERED, raw_status="已签收", tax_rate=D("0.13"),
    )  # fmt: skip


async def test_a_workbook_is_read_too() -> None:
    book = openpyxl.Workbook()
    book.active.append(["订单号", "金额", "状态"])
    book.active.append(["0099", 12.5, "拒收"])
    out = io.BytesIO()
    book.save(out)
    [row] = await read(out.getvalue())
    assert row.order is not None
    assert (row.order.vendor_order_no, row.order.amount, row.order.status) == ("0099", D("12.5"), ListedStatus.REFUSED)


@pytest.mark.parametrize(
    ("header", "row", "reason"),
    [
        ("订单号,金额", "1,abc", "not an amount"),
        ("订单号,金额", "1,-5", "not an amount"),
        ("订单号,数量", "1,1.5", "not a whole number"),
        ("订单号,数量", "1,1e99", "not a whole number"),
        ("订单号,税率", "1,13", "write 13% or 0.13"),
        ("订单号,税率", "1,NaN", "not a tax rate"),
        ("订单号,金额,币种", "1,5 USD,CNY", "the currency column says"),
        ("订单号,金额", "1,5,7", "cells"),
        ("订单号,金额", "1" * 101 + ",5", "at most 100"),
        ("订单号,金额", "1,0.00001", "decimal"),
    ],
)
async def test_a_row_that_cannot_be_used_says_why_and_keeps_what_came(header: str, row: str, reason: str) -> None:
    found = await one(header, row)
    assert found.order is None and reason in found.reason and row.split(",")[0] in found.raw


async def test_words_that_nobody_declared_are_kept_as_unknown() -> None:
    found = await one("order_no,status,tax_rate", "1,on hold,0.06")
    assert found.order is not None
    assert (found.order.status, found.order.raw_status) == (ListedStatus.UNKNOWN, "on hold")
    assert found.order.tax_rate == D("0.06") and found.order.amount is None


async def test_a_file_without_order_numbers_or_that_is_no_table_is_refused_whole() -> None:
    with pytest.raises(Rejected, match="order number"):
        await read("商品编码,金额\nA,1".encode())
    for body in (b"", b"<html></html>", b"PK\x03\x04junk"):
        with pytest.raises(Malformed):
            await read(body)
