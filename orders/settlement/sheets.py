"""Statements as files to open in a spreadsheet: CSV (UTF-8 with a mark) and XLSX, headings in Chinese or English.
Text that a spreadsheet would take for a formula is made harmless; amounts stay numbers."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from openpyxl import Workbook

from hub.kernel.cells import cell
from orders import store
from orders.settlement.rules import SHANGHAI, ZERO

Language = Literal["zh", "en"]
_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("no", "序号", "No."),
    ("kind", "类型", "Kind"),
    ("order_no", "订单号", "Order"),
    ("po_number", "采购单号", "Purchase order"),
    ("vendor_order_no", "供应商订单号", "Vendor's order"),
    ("counterpart", "供应商", "Vendor"),
    ("line_no", "行号", "Line"),
    ("sku", "商品编码", "SKU"),
    ("title", "商品名称", "Title"),
    ("quantity", "数量", "Quantity"),
    ("unit_price", "单价", "Unit price"),
    ("amount", "金额", "Amount"),
    ("tax_rate", "税率", "Tax rate"),
    ("tax_amount", "其中税额", "Tax contained"),
    ("tax_source", "税额依据", "Tax said by"),
    ("delivered_at", "妥投时间（北京时间）", "Delivered (Shanghai time)"),
    ("due_at", "应达时间（北京时间）", "Due (Shanghai time)"),
    ("days_late", "逾期天数", "Days late"),
    ("note", "备注", "Note"),
)
_SUMMARY: tuple[tuple[str, str, str], ...] = (
    ("party_name", "对账方", "Party"),
    ("month", "账期", "Month"),
    ("cutoff_at", "截止时间（北京时间）", "Cut-off (Shanghai time)"),
    ("currency", "币种", "Currency"),
    ("version", "版本", "Version"),
    ("state", "状态", "State"),
    ("reason", "更正原因", "Reason of the correction"),
    ("lines", "行数", "Lines"),
    ("goods", "货款", "Goods"),
    ("corrections", "往期更正", "Corrections of earlier months"),
    ("adjustments", "调整（退款、补偿等）", "Adjustments (refunds, compensation…)"),
    ("deductions", "逾期扣款", "Deductions for late delivery"),
    ("net", "合计", "Net"),
    ("rounding", "尾差", "Rounding"),
    ("payable", "应付金额", "Payable"),
    ("tax", "其中税额", "Tax contained"),
    ("lines_without_tax", "未注明税额的行数", "Lines that say no tax"),
    ("issued_at", "出具时间（北京时间）", "Issued (Shanghai time)"),
    ("previous_hash", "上一份校验值", "Hash of the one before"),
    ("hash", "校验值（SHA-256）", "Hash (SHA-256)"),
)
_WORDS = {
    "goods": ("货款", "goods"), "correction": ("更正", "correction"), "deduction": ("逾期扣款", "deduction"),
    "adjustment": ("调整", "adjustment"), "draft": ("草稿", "draft"), "issued": ("已出具", "issued"),
    "superseded": ("已被新版本取代", "superseded"), "list": ("供应商清单", "the vendor's list"),
    "terms": ("合同", "terms"),
}  # fmt: skip
_TOTAL = ("合计", "Total")
_ORDERS = (("订单号", "Order"), ("行数", "Lines"), ("金额", "Amount"))
_SHEETS = (("汇总", "Summary"), ("按订单", "Orders"), ("明细", "Lines"))


def _said(name: str, value: Any, language: Language) -> Any:
    """A value as it is shown: Decimals and counts as they are, everything else as harmless text."""
    if value is None:
        return None
    if name in ("kind", "state", "tax_source"):
        return _WORDS[value][language == "en"]
    if name == "month":
        return f"{value:%Y-%m}"
    if isinstance(value, datetime):
        return f"{value.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}"
    return _short(value) if isinstance(value, Decimal) else value if isinstance(value, int) else cell(value)


def _short(amount: Decimal) -> Decimal:
    """Without zeros beyond the second decimal; nothing else is lost."""
    exact = amount.normalize()
    return exact if -int(exact.as_tuple().exponent) > 2 else amount.quantize(Decimal("0.01"))


async def as_csv(statement: store.Row, lines: AsyncIterator[store.Row], language: Language) -> AsyncIterator[bytes]:
    """The lines as CSV with the total below, then a block of the statement's figures; in pieces."""
    text = io.StringIO()
    writer = csv.writer(text)
    text.write("\ufeff")
    writer.writerow([heading[1 + (language == "en")] for heading in _COLUMNS])
    total = ZERO
    async for line in lines:
        total += line["amount"]
        writer.writerow([cell(_said(name, line[name], language)) for name, _, _ in _COLUMNS])
        if text.tell() > 1 << 16:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    blank = [""] * len(_COLUMNS)
    blank[0], blank[[name for name, _, _ in _COLUMNS].index("amount")] = _TOTAL[language == "en"], cell(_short(total))
    writer.writerow(blank)
    writer.writerow([])
    for name, zh, en in _SUMMARY:
        writer.writerow([en if language == "en" else zh, cell(_said(name, statement[name], language))])
    yield text.getvalue().encode()


async def as_xlsx(statement: store.Row, lines: AsyncIterator[store.Row], language: Language) -> bytes:
    """A workbook of three sheets: the figures, a total per order, and the lines. The totals add up to the net."""
    book = Workbook(write_only=True)
    summary, orders, details = (book.create_sheet(title[language == "en"]) for title in _SHEETS)
    for name, zh, en in _SUMMARY:
        summary.append([en if language == "en" else zh, _said(name, statement[name], language)])
    details.append([heading[1 + (language == "en")] for heading in _COLUMNS])
    per_order: dict[str, tuple[int, Decimal]] = {}
    async for line in lines:
        count, amount = per_order.get(line["order_no"], (0, ZERO))
        per_order[line["order_no"]] = count + 1, amount + line["amount"]
        details.append([_said(name, line[name], language) for name, _, _ in _COLUMNS])
    for row in _per_order(per_order, language):
        orders.append(row)
    with tempfile.SpooledTemporaryFile(max_size=1 << 22) as file:
        book.save(file)
        file.seek(0)
        return file.read()


def _per_order(totals: Mapping[str, tuple[int, Decimal]], language: Language) -> Iterable[list[Any]]:
    yield [heading[language == "en"] for heading in _ORDERS]
    for order_no, (count, amount) in totals.items():
        yield [cell(order_no), count, _short(amount)]
    whole = sum((amount for _, amount in totals.values()), ZERO)
    yield [_TOTAL[language == "en"], sum(count for count, _ in totals.values()), _short(whole)]
