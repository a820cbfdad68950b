"""JD's own lists of a day's orders, to hold ours against."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from connectors.contracts import ListedOrder, ListedStatus
from connectors.jd_vop.vop import SpeaksVop, amount, china_time, digits, member, number
from hub.kernel.errors import Broken
from hub.kernel.types import Frozen

DayKind = Literal["new", "delivered", "refused"]
_PATHS: dict[DayKind, str] = {
    "new": "api/checkOrder/checkNewOrder",
    "delivered": "api/checkOrder/checkDlokOrder",
    "refused": "api/checkOrder/checkRefuseOrder",
}
_STATES = {0: ListedStatus.OPEN, 1: ListedStatus.DELIVERED, 2: ListedStatus.REFUSED}
_PAGE = 100
_BY_PAGE = 10_000  # JD pages so far; beyond it wants the smallest number seen


class DayOrder(Frozen):
    """One order in JD's list of a day."""

    vendor_order_no: str
    state: int | None  # 0 new, 1 delivered, 2 refused
    hung_up: bool = False
    amount: Decimal | None = None
    created_at: datetime | None = None


class Reconciles(SpeaksVop):
    """The lists of new, delivered and refused orders."""

    async def list_orders(self, day: date) -> AsyncGenerator[Sequence[ListedOrder], None]:
        """JD's three lists of a day as one, each order once: where two lists name an order, the later in its life
        counts."""
        found: dict[str, DayOrder] = {}
        for kind in _PATHS:
            async for order in self.orders_of(day, kind):
                found[order.vendor_order_no] = order
        yield [
            ListedOrder(
                vendor_order_no=order.vendor_order_no,
                amount=order.amount,
                currency="CNY" if order.amount is not None else None,
                status=_STATES.get(-1 if order.state is None else order.state, ListedStatus.UNKNOWN),
                raw_status=f"state {order.state}" + (", hung up" if order.hung_up else ""),
            )
            for order in found.values()
        ]

    async def orders_of(self, day: date, kind: DayKind) -> AsyncGenerator[DayOrder, None]:
        """The orders of a day that is over (JD lists none of today), each once. Raises Broken when JD sends fewer than
        it announced: what is missing here must not pass for an order that JD does not have."""
        seen: set[str] = set()
        announced: int | None = None
        page, by_page = 1, True
        while True:
            form: dict[str, Any] = {"date": day.isoformat(), "pageSize": _PAGE}
            form |= {"pageNo": page} if by_page else {"jdOrderIdIndex": min(map(int, seen))}
            result = (await self.read(_PATHS[kind], form)).result
            if not isinstance(result, dict):
                raise Broken(f"jd_vop: {kind} orders of {day} are no page", code="bad_shape")
            if announced is None:
                announced = number(member(result, "total")) or 0
                by_page = announced <= _BY_PAGE
            listed = member(result, "orders")
            listed = listed if listed is not None else member(result, "order")
            if not isinstance(listed, list | None):
                raise Broken(f"jd_vop: {kind} orders of {day} are no list", code="bad_shape")
            fresh = [order for row in listed or () if (order := _day_order(row)) and order.vendor_order_no not in seen]
            for order in fresh:
                if order.vendor_order_no not in seen:
                    seen.add(order.vendor_order_no)
                    yield order
            if not fresh or len(seen) >= announced:
                break
            page += 1
        if len(seen) < announced:
            raise Broken(
                f"jd_vop announced {announced} {kind} orders of {day} and sent {len(seen)}", code="rows_missing"
            )


def _day_order(row: Any) -> DayOrder | None:
    jd_order = digits(member(row, "jdOrderId")) if isinstance(row, dict) else None
    if jd_order is None:
        return None
    return DayOrder(
        vendor_order_no=jd_order,
        state=number(member(row, "state")),
        hung_up=bool(number(member(row, "hangUpState"))),
        amount=amount(member(row, "orderPrice")),
        created_at=china_time(member(row, "time")),
    )
