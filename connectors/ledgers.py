"""Vendors' own lists of our orders that somebody uploads: CSV, TSV or XLSX under the names of our fields or under what
these are called in China. Each row comes back on its own, in order, as an order or as what is wrong with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from pydantic import ValidationError

from connectors.contracts import ListedOrder, ListedStatus
from connectors.table_feed.values import amount as amount_of
from connectors.tables import DEFAULT, Limits, Reading, Record, land, plain, records, take
from hub.kernel.errors import Fault, Rejected

PIECE = 500  # rows that are read at a time
RAW_LIMIT = 4_000  # characters of a row that are kept
# Our field -> the columns it may stand in; the first that holds something counts.
ORDER_COLUMNS: dict[str, tuple[str, ...]] = {
    "po_number": ("po_number", "po", "our_order_no", "采购单号", "外部订单号", "第三方订单号", "客户订单号"),
    "vendor_order_no": ("order_no", "vendor_order_no", "订单号", "订单编号", "供应商订单号"),
    "vendor_sku": ("sku", "vendor_sku", "商品编码", "商品编号", "货号", "编码"),
    "quantity": ("quantity", "qty", "数量", "商品数量"),
    "amount": ("amount", "金额", "含税金额", "结算金额", "订单金额", "总金额"),
    "currency": ("currency", "币种"),
    "status": ("status", "状态", "订单状态"),
    "tax_rate": ("tax_rate", "税率"),
    "tax_amount": ("tax_amount", "税额"),
}
STATUSES: dict[str, ListedStatus] = {
    **dict.fromkeys(("open", "new", "accepted", "待发货", "已接单", "处理中", "新单", "待出库"), ListedStatus.OPEN),
    **dict.fromkeys(("shipped", "in_transit", "已发货", "配送中", "运输中", "已出库"), ListedStatus.SHIPPED),
    **dict.fromkeys(("delivered", "completed", "已签收", "已妥投", "妥投", "已完成", "已送达"), ListedStatus.DELIVERED),
    **dict.fromkeys(("cancelled", "canceled", "已取消", "取消", "已关闭"), ListedStatus.CANCELLED),
    **dict.fromkeys(("refused", "returned", "拒收", "已拒收", "已退货", "退货", "已退款"), ListedStatus.REFUSED),
}
_KNOWN = {plain(name): field for field, names in ORDER_COLUMNS.items() for name in names}


class OrderRow(NamedTuple):
    """A row of the list: its number in the file (the header not counted), what it says or why it cannot be used,
    and the row as it came, as JSON. It may name a recipient: seal it before it is kept."""

    number: int
    order: ListedOrder | None
    reason: str
    raw: str


async def orders_of(chunks: AsyncIterator[bytes], limits: Limits = DEFAULT) -> AsyncIterator[list[OrderRow]]:
    """The rows of an uploaded list, piece by piece. Raises Malformed or TooLarge for a file that cannot be read,
    Rejected when it has no column with an order number."""
    wanted = frozenset(name for names in ORDER_COLUMNS.values() for name in names)
    with await land(chunks, limits) as spooled:
        source = records(spooled, Reading(wanted=wanted), limits)
        piece = await asyncio.to_thread(take, source, PIECE)
        if piece and not any(_KNOWN.get(plain(name)) in ("po_number", "vendor_order_no") for name in piece[0].fields):
            have, want = ", ".join(list(piece[0].fields)[:30]), ", ".join(ORDER_COLUMNS["vendor_order_no"])
            detail = f"the file lacks a column with an order number ({want} or po_number); it has: {have}"
            raise Rejected(detail, code="missing_columns", faults=(Fault("", detail),))
        while piece:
            yield [_row(record) for record in piece]
            piece = await asyncio.to_thread(take, source, PIECE)


def _row(record: Record) -> OrderRow:
    raw = json.dumps(record.fields, ensure_ascii=False)[:RAW_LIMIT].replace("\\u0000", "\ufffd")
    if record.reason:
        return OrderRow(record.number, None, record.reason, raw)
    said: dict[str, str] = {}
    for name, value in record.fields.items():
        field = _KNOWN.get(plain(name))
        if field and value.strip():
            said.setdefault(field, value.strip())
    try:
        return OrderRow(record.number, _order(said), "", raw)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return OrderRow(record.number, None, f"{'/'.join(map(str, found['loc']))}: {found['msg']}"[:300], raw)
    except ValueError as error:
        return OrderRow(record.number, None, str(error)[:300], raw)


def _order(said: Mapping[str, str]) -> ListedOrder:
    made: dict[str, Any] = {n: said[n] for n in ("po_number", "vendor_order_no", "vendor_sku") if n in said}
    if "quantity" in said:
        made["quantity"] = _whole(said["quantity"])
    for name in ("amount", "tax_amount"):
        if name in said:
            digits, currency = amount_of(said[name])
            made[name] = Decimal(digits)
            if currency and name == "amount":
                made["currency"] = currency
    if "currency" in said:
        code = {"RMB": "CNY", "人民币": "CNY", "元": "CNY"}.get(said["currency"].upper(), said["currency"].upper())
        if made.get("currency", code) != code:
            raise ValueError(f"the amount is in {made['currency']}, the currency column says {code}")
        made["currency"] = code
    if "tax_rate" in said:
        made["tax_rate"] = _share(said["tax_rate"])
    if "status" in said:
        made["status"] = STATUSES.get(said["status"].casefold(), ListedStatus.UNKNOWN)
        made["raw_status"] = said["status"][:120]
    return ListedOrder(**made)


def _whole(text: str) -> int:
    number = _decimal(text.replace(",", ""))
    if number is None or number != number.to_integral_value() or number < 0:
        raise ValueError(f"{text[:40]!r} is not a whole number")
    return int(number)


def _share(text: str) -> Decimal:
    """`13%` and `0.13` as 0.13. A bare `13` is refused: 13 % or 1300 % is not for us to guess."""
    number = _decimal(text.removesuffix("%").removesuffix("％"))
    if number is None:
        raise ValueError(f"{text[:40]!r} is not a tax rate")
    share = number / 100 if text[-1] in "%％" else number
    if not 0 <= share < 1:
        raise ValueError(f"{text[:40]!r} is not a tax rate; write 13% or 0.13")
    return share


def _decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and number.adjusted() < 15 else None
