"""After the sale: units refused at the door, sent back, or paid back, and orders that make up for them. A case is about
some units of one line; the cases of a line that stand never hold more units than the line has, and never pay back more
than was paid. Each step is one event of `lifecycle.AFTER_SALE`, under the lock of the order."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Literal

import asyncpg

from hub.kernel import audit, secrets
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict, Fault, NotFound, Rejected
from hub.kernel.types import DeliveryMode, public_id, uuid7
from orders import lifecycle, service, store
from orders.book import Book, Line, open_book
from orders.contracts import AfterSaleChanged
from orders.lifecycle import AfterSaleStatus, LineStatus
from orders.models import LineIn, OrderIn, ShipToIn

Kind = Literal["refusal", "return", "refund"]
_FROM: dict[str, tuple[LineStatus, ...]] = {
    "refusal": (LineStatus.SHIPPED,),
    "return": (LineStatus.DELIVERED,),
    "refund": (LineStatus.DELIVERED, LineStatus.REVEALED, LineStatus.SHIPPED),
}


async def request(
    tx: Tx, mall_id: int, order_id: uuid.UUID, line_no: int, quantity: int, kind: Kind, reason: str
) -> asyncpg.Record:
    """Open a case. What is refused at the door is on its way back at once. Raises NotFound, Rejected (goods that cannot
    be sent back), Conflict (not in a state for that, more units than are left)."""
    book = await open_book(tx, order_id, mall_id)
    [line] = book.by_number([line_no])
    if kind != "refund" and line.mode != DeliveryMode.PARCEL:
        detail = f"an {line.mode} cannot be sent back; cancel it, or ask for a refund"
        raise Rejected(detail, code="not_returnable", faults=(Fault("/kind", detail),))
    if line.status not in _FROM[kind]:
        raise Conflict(
            f"line {line_no} is {line.status.value}: no {kind} is possible",
            code="wrong_state",
            facts={"status": line.status.value, "kind": kind},
        )
    left = line.quantity - await store.units_in_cases(tx, line.id)
    if quantity > left:
        raise Conflict(
            f"line {line_no} has {left} units that are in no other case",
            code="too_many_units",
            faults=(Fault("/qty", f"at most {left}"),),
            facts={"left": left},
        )
    case_id, status = uuid7(), AfterSaleStatus.REQUESTED
    if kind == "refusal":
        status = lifecycle.move(status, "send")
    await store.add_case(tx, case_id, line, order_id, mall_id, kind, quantity, status.value, reason)
    return await _told(tx, case_id)


async def withdraw(tx: Tx, mall_id: int, case_id: uuid.UUID) -> asyncpg.Record:
    """The mall takes its wish back; doing so again changes nothing."""
    case, _, _ = await _opened(tx, case_id, lambda row: bool(row["mall_id"] == mall_id))
    if case["status"] == AfterSaleStatus.WITHDRAWN:
        return case
    return await _move(tx, case, "withdraw")


async def sent(tx: Tx, mall_id: int, case_id: uuid.UUID, carrier: str, tracking_no: str) -> asyncpg.Record:
    """The buyer sent the goods back; saying it again may correct the parcel."""
    case, _, _ = await _opened(tx, case_id, lambda row: bool(row["mall_id"] == mall_id))
    if case["kind"] == "refund":
        raise Conflict("the buyer keeps these goods; nothing is sent back", code="nothing_to_send")
    if case["status"] == AfterSaleStatus.RETURNING:
        await store.save_case(tx, case_id, case["status"], carrier=carrier, tracking_no=tracking_no)
        return await _row(tx, case_id)
    if case["status"] == AfterSaleStatus.REQUESTED:
        raise Conflict("the vendor has not approved it yet", code="wrong_state", facts={"status": case["status"]})
    return await _move(tx, case, "send", carrier=carrier, tracking_no=tracking_no)


async def decide(
    tx: Tx,
    case_id: uuid.UUID,
    event: Literal["approve", "decline", "receive"],
    answer: str | None,
    actor: str,
    *,
    vendor_id: int | None = None,
) -> asyncpg.Record:
    """A vendor's (or, without one, the staff's) word about a case. Saying it again changes nothing."""
    if vendor_id is not None:  # as the vendor, behind its wall; then its word takes effect on the buyer's rows
        row = await store.case_row(tx, case_id)
        if row is None or row["vendor_id"] != vendor_id:
            raise NotFound("there is no such case", code="no_case")
    async with store.as_hub(tx):
        case, book, line = await _opened(tx, case_id, lambda row: vendor_id in (None, row["vendor_id"]))
        if case["status"] == lifecycle.AFTER_SALE.table[_BEFORE[event]][event]:
            return case
        if event == "receive" and case["kind"] == "refund":
            raise Conflict("the buyer keeps these goods; there is nothing to receive", code="nothing_to_send")
        case = await _move(tx, case, event, answer=answer)
        await audit.record(tx, actor, f"after_sale.{event}", public_id("asc", case_id), {"quantity": case["quantity"]})
        refused = event == "receive" and case["kind"] == "refusal" and line.status is LineStatus.SHIPPED
        if refused and await store.units_back(tx, line.id) == line.quantity:
            line.move("come_back")
            await book.save(tx)
        return case


_BEFORE = {
    "approve": AfterSaleStatus.REQUESTED,
    "decline": AfterSaleStatus.REQUESTED,
    "receive": AfterSaleStatus.RETURNING,
}


async def refund(tx: Tx, case_id: uuid.UUID, amount: Decimal | None, actor: str) -> asyncpg.Record:
    """Pay the units of a case back: all that was paid for them, or less. Refunding again changes nothing."""
    case, _, line = await _opened(tx, case_id, lambda _: True)
    if case["status"] == AfterSaleStatus.REFUNDED:
        if amount is not None and amount != case["refund"]:
            raise Conflict(
                "it was refunded with another amount", code="refunded", facts={"refund": str(case["refund"])}
            )
        return case
    _needs_goods(case)
    paid = line.unit_price * case["quantity"]
    if amount is not None and amount > paid:
        detail = f"at most {paid} was paid for these units"
        raise Rejected(detail, code="invalid", faults=(Fault("/amount", detail),))
    back = paid if amount is None else amount
    facts = {"amount": str(back), "currency": case["currency"]}
    await audit.record(tx, actor, "after_sale.refund", public_id("asc", case_id), facts)
    return await _move(tx, case, "refund", refund=back)


async def replace(tx: Tx, case_id: uuid.UUID, actor: str) -> asyncpg.Record:
    """Order the units of a case once more for the same buyer, from whoever offers them now. Doing so again changes
    nothing. Raises Conflict when nobody has them: refund instead."""
    case, book, line = await _opened(tx, case_id, lambda _: True)
    if case["status"] == AfterSaleStatus.REPLACED:
        return case
    _needs_goods(case)
    if line.slot_id is not None:
        raise Rejected("an appointment is not replaced; order another time", code="not_replaceable")
    lifecycle.move(AfterSaleStatus(case["status"]), "replace")
    ship_to = secrets.decrypt_json(book.order.ship_to, f"order:{book.order.id}")
    number = f"{book.order.mall_order_no[:40]}-R{case_id.hex[-12:]}"
    made = await service.create(
        tx,
        book.order.mall_id,
        OrderIn(
            mall_order_no=number,
            mode="place",
            ship_to=ShipToIn(**ship_to),
            lines=[LineIn.model_validate({"product_id": public_id("prd", line.product_id), "qty": case["quantity"]})],
        ),
    )
    new_id = uuid.UUID(made.id.removeprefix("ord_"))
    await audit.record(tx, actor, "after_sale.replace", public_id("asc", case_id), {"order": made.id})
    return await _move(tx, case, "replace", replacement=new_id)


def _needs_goods(case: asyncpg.Record) -> None:
    """What is to come back must be back before it is made good."""
    if case["kind"] != "refund" and case["status"] == AfterSaleStatus.APPROVED:
        raise Conflict("the goods are not back yet", code="wrong_state", facts={"status": case["status"]})


async def _opened(
    tx: Tx, case_id: uuid.UUID, mine: Callable[[asyncpg.Record], bool]
) -> tuple[asyncpg.Record, Book, Line]:
    """A case with its order under lock; NotFound for anybody else's."""
    row = await store.case_row(tx, case_id)
    if row is None or not mine(row):
        raise NotFound("there is no such case", code="no_case")
    book = await open_book(tx, row["order_id"])
    return await _row(tx, case_id), book, book.lines[row["line_id"]]


async def _row(tx: Tx, case_id: uuid.UUID) -> asyncpg.Record:
    row = await store.case_row(tx, case_id)
    assert row is not None
    return row


async def _move(
    tx: Tx,
    case: asyncpg.Record,
    event: str,
    *,
    answer: str | None = None,
    carrier: str | None = None,
    tracking_no: str | None = None,
    refund: Decimal | None = None,
    replacement: uuid.UUID | None = None,
) -> asyncpg.Record:
    status = lifecycle.move(AfterSaleStatus(case["status"]), event).value
    await store.save_case(
        tx, case["id"], status, answer=answer, carrier=carrier, tracking_no=tracking_no, refund=refund,
        replacement=replacement,
    )  # fmt: skip
    return await _told(tx, case["id"])


async def _told(tx: Tx, case_id: uuid.UUID) -> asyncpg.Record:
    row = await _row(tx, case_id)
    names = ("order_id", "mall_id", "vendor_id", "line_id", "kind", "status", "quantity", "refund", "currency")
    tx.emit(AfterSaleChanged(case_id=case_id, **{name: row[name] for name in names}))
    return row
