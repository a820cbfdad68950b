"""What one order line means for the statement of one party: what is owed of it at a cut-off, what is deducted for late
delivery and which tax it contains, less what was billed before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from hub.kernel.db import Tx
from orders import store
from orders.contracts import LineDelivery
from orders.settlement.rules import ZERO, Terms, day_of, days_late, deduction, tax_within
from orders.store import reconciling as kept
from orders.store import statements as books

_UNPAID = ("cancelled", "expired", "unsupplied", "returned")  # returned: refused at the door, all of it


@dataclass(slots=True)
class StatementLine:
    """One line of a statement; see orders.store.settling."""

    kind: str
    order_no: str
    po_number: str
    amount: Decimal
    no: int = 0
    line_id: UUID | None = None
    adjustment_id: int | None = None
    vendor_order_no: str | None = None
    counterpart: str | None = None
    line_no: int | None = None
    sku: str | None = None
    title: str | None = None
    quantity: int | None = None
    unit_price: Decimal | None = None
    tax_rate: Decimal | None = None
    tax_amount: Decimal | None = None
    tax_source: str | None = None
    delivered_at: datetime | None = None
    due_at: datetime | None = None
    days_late: int | None = None
    note: str | None = None


class Owed:
    """What one order line means for one party: the delivered units at their price, less what after-sales took off."""

    def __init__(
        self,
        row: store.Row,
        cutoff: datetime,
        delivery: LineDelivery | None,
        terms: Terms,
        listed: tuple[Decimal | None, Decimal | None] | None,
        credit: Decimal = ZERO,
        *,
        mall: bool,
    ) -> None:
        self._row, self._terms, self._mall = row, terms, mall
        at = delivery.delivered_at if delivery is not None else None
        self._delivery = delivery if at is not None and at < cutoff and row["status"] not in _UNPAID else None
        self.quantity: int = row["quantity"] if self._delivery else 0
        self.goods: Decimal = row["unit_price"] * self.quantity
        self.credit = min(credit, self.goods)  # what did not arrive is not owed, so nothing is taken off it
        self.amount = self.goods - self.credit
        self.late = days_late(at, delivery.due_at) if self._delivery and at and delivery else 0
        self.rate, self.tax, self.source = self._tax(self.goods, listed)
        self._tax_left = self._tax_of_rest()

    def _tax(
        self, amount: Decimal, listed: tuple[Decimal | None, Decimal | None] | None
    ) -> tuple[Decimal | None, Decimal | None, str | None]:
        """Rate, amount and who says so: the vendor's list before the agreed terms, else nothing."""
        if listed is not None:
            return listed[0], listed[1] if self._delivery else None, "list"
        if self._terms.tax_rate is not None:
            tax = tax_within(amount, self._terms.tax_rate, self._row["currency"])
            return self._terms.tax_rate, tax, "terms"
        return None, None, None

    def _tax_of_rest(self) -> Decimal | None:
        """The tax of what is left after `credit`; None when only the tax of the whole is known."""
        if not self.credit:
            return self.tax
        return None if self.rate is None else tax_within(self.amount, self.rate, self._row["currency"])

    def lines(self, billed: store.Row | None) -> list[StatementLine]:
        made = []
        goods, deducted = (billed["goods"], billed["deducted"]) if billed is not None else (ZERO, ZERO)
        if billed is None and self.goods:
            made.append(self._priced("goods", self.goods, self.quantity, self.tax, None))
            goods = self.goods
        if self.amount != goods:
            before = billed["tax"] if billed is not None else self.tax
            tax = self._tax_left
            if before is not None and not (self.credit and tax is None):
                tax = (tax or ZERO) - before
            note = "after-sales" if self.credit else "put right" if self._delivery else "not delivered after all"
            quantity = self.quantity - (billed["quantity"] if billed is not None else self.quantity)
            made.append(self._priced("correction", self.amount - goods, quantity, tax, note))
        if not self._mall:
            due = -deduction(self.amount, self._row["currency"], self.late, self._terms)
            if due != deducted:
                line = self._line("deduction", due - deducted)
                line.note = f"late delivery, {self.late} d" if due else "deduction taken back"
                made.append(line)
        return made

    def _priced(
        self, kind: str, amount: Decimal, quantity: int, tax: Decimal | None, note: str | None
    ) -> StatementLine:
        line = self._line(kind, amount)
        line.quantity, line.unit_price = quantity, self._row["unit_price"]
        line.tax_rate, line.tax_amount = self.rate, tax
        line.tax_source = self.source if self.rate is not None or tax is not None else None
        line.note = note
        return line

    def _line(self, kind: str, amount: Decimal) -> StatementLine:
        row, mall = self._row, self._mall
        return StatementLine(
            kind=kind,
            amount=amount,
            order_no=row["mall_order_no"] if mall else row["po_number"],
            po_number=row["po_number"],
            vendor_order_no=row["vendor_order_no"],
            counterpart=row["vendor_name"] if mall else None,
            line_id=row["line_id"],
            line_no=row["line_no"],
            sku=row["vendor_sku"],
            title=row["title"],
            delivered_at=self._delivery.delivered_at if self._delivery else None,
            due_at=self._delivery.due_at if self._delivery else None,
            days_late=self.late or None,
        )


async def terms_of(tx: Tx, vendor_ids: Sequence[int]) -> dict[int, list[store.Row]]:
    found: dict[int, list[store.Row]] = {}
    for row in await books.terms_of(tx, vendor_ids):
        found.setdefault(row["vendor_id"], []).append(row)
    return found


def terms_at(terms: Mapping[int, Sequence[store.Row]], row: store.Row) -> Terms:
    """The terms in force on the day (Asia/Shanghai) on which the order was placed."""
    day = day_of(row["placed_at"])
    for agreed in terms.get(row["vendor_id"], ()):
        if agreed["valid_from"] <= day and (agreed["valid_to"] is None or day <= agreed["valid_to"]):
            return Terms(
                agreed["late_per"], agreed["late_share"], agreed["late_amount"], agreed["late_cap"], agreed["tax_rate"],
                agreed["currency"],
            )  # fmt: skip
    return Terms()


async def listed_taxes(tx: Tx, rows: Sequence[store.Row]) -> dict[UUID, tuple[Decimal | None, Decimal | None]]:
    """What the vendor's list says of the tax of each line: only where it speaks of this article alone and of the amount
    that we have, so that its tax is the tax of this line."""
    said: dict[tuple[UUID, str], store.Row] = {}
    for row in await kept.listed_about(tx, sorted({row["po_id"] for row in rows})):
        said[row["po_id"], row["sku"]] = row
    found = {}
    for row in rows:
        listed = said.get((row["po_id"], row["vendor_sku"]))
        if listed is None or (listed["tax_rate"] is None and listed["tax_amount"] is None):
            continue
        if listed["amount"] == row["unit_price"] * row["quantity"]:
            found[row["line_id"]] = (listed["tax_rate"], listed["tax_amount"])
    return found
