"""What malls and vendors send about orders and what they are shown. Personal data leaves masked, except to the
vendor that must deliver."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, StringConstraints, WithJsonSchema, model_validator

from hub.kernel.secrets import mask_name, mask_phone
from hub.kernel.types import Currency, Input, Money, Price, SafeText, View, parse_int_id, public_id
from orders.book import Book, Line, Order, Po


def _number(prefix: str) -> BeforeValidator:
    def parse(value: Any) -> int:
        if not isinstance(value, str):
            raise ValueError(f"expected an id like {prefix}_123")
        return parse_int_id(prefix, value)

    return BeforeValidator(parse)


def _shape(prefix: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{prefix}_[0-9]{{1,18}}$", "examples": [f"{prefix}_123"]})


ProductId = Annotated[int, _number("prd"), _shape("prd")]
ListingId = Annotated[int, _number("lst"), _shape("lst")]
SlotId = Annotated[int, _number("slt"), _shape("slt")]
OrderNo = Annotated[SafeText, StringConstraints(min_length=1, max_length=64)]
Qty = Annotated[int, Field(ge=1, le=100_000, strict=True)]


class MaxPrice(Input):
    """The most the mall pays per unit; with a currency, only offers in that currency serve."""

    amount: Price
    currency: Currency | None = None


def _amount_alone(value: Any) -> Any:
    return value if isinstance(value, dict | MaxPrice) else {"amount": value}


class ShipToIn(Input):
    """Who receives the goods, and where. `address` is needed for parcels."""

    name: Annotated[SafeText, StringConstraints(min_length=1, max_length=100)]
    phone: Annotated[str, StringConstraints(pattern=r"^\+?[0-9][0-9 ()-]{3,22}[0-9]$")]
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] = "CN"
    province: Annotated[SafeText, StringConstraints(max_length=80)] = ""
    city: Annotated[SafeText, StringConstraints(max_length=80)] = ""
    district: Annotated[SafeText, StringConstraints(max_length=80)] = ""
    address: Annotated[SafeText, StringConstraints(max_length=300)] = ""
    postcode: Annotated[SafeText, StringConstraints(max_length=20)] = ""


class LineIn(Input):
    """One line: a product (the hub chooses the vendor), a listing (pins the vendor) or a slot (one place)."""

    product_id: ProductId | None = None
    listing_id: ListingId | None = None
    slot_id: SlotId | None = None
    qty: Qty = 1
    max_price: Annotated[
        MaxPrice | None,
        BeforeValidator(
            lambda value: value if value is None else _amount_alone(value),
            json_schema_input_type=MaxPrice | Price | None,
        ),
        Field(description="An amount, or {amount, currency}"),
    ] = None

    @model_validator(mode="after")
    def _one_target(self) -> LineIn:
        if sum(target is not None for target in (self.product_id, self.listing_id, self.slot_id)) != 1:
            raise ValueError("give exactly one of product_id, listing_id and slot_id")
        if self.slot_id is not None and self.qty != 1:
            raise ValueError("a slot has one place: qty is 1")
        if self.slot_id is None and "qty" not in self.model_fields_set:
            raise ValueError("give qty")
        return self


class OrderIn(Input):
    """A new order. `reserve` holds the stock until it is confirmed; `place` buys at once. `employee_ref` is any word by
    which the mall knows who orders, the same word for the same person; only a keyed hash of it is kept."""

    mall_order_no: OrderNo
    employee_ref: Annotated[SecretStr, Field(min_length=1, max_length=128)] | None = None
    mode: Literal["reserve", "place"]
    ship_to: ShipToIn
    lines: Annotated[list[LineIn], Field(min_length=1, max_length=200)]


LineNo = Annotated[int, Field(ge=1, le=200, strict=True)]


class KeepIn(Input):
    """How many units of a line stay; what is beyond them is cancelled. Saying it again changes nothing."""

    line_no: LineNo
    keep: Annotated[int, Field(ge=0, le=100_000, strict=True)]


class CancelIn(Input):
    """Which lines to cancel, or how many units of a line to keep; none given: all of them."""

    lines: Annotated[list[LineNo | KeepIn], Field(min_length=1, max_length=200)] | None = None

    @model_validator(mode="after")
    def _each_line_once(self) -> CancelIn:
        numbers = [line.line_no if isinstance(line, KeepIn) else line for line in self.lines or ()]
        if any(isinstance(line, KeepIn) for line in self.lines or ()) and len(set(numbers)) < len(numbers):
            raise ValueError("name each line once")
        return self


class RejectIn(Input):
    """Why a vendor refuses or withdraws. `out_of_stock` also stops the listing's sale until its next report."""

    reason: Annotated[SafeText, StringConstraints(min_length=1, max_length=500)]
    out_of_stock: bool = False


class AcceptLineIn(Input):
    """What the vendor takes of one line, where it differs from what was asked: fewer units (0: none), another price."""

    line_no: Annotated[int, Field(ge=1, le=32_767, strict=True)]
    qty: Annotated[int, Field(ge=0, le=100_000, strict=True)]
    unit_price: Price | None = None


class AcceptIn(Input):
    """A vendor's own number for the order, if it has one, and lines that it takes otherwise than asked."""

    vendor_order_no: Annotated[SafeText, StringConstraints(min_length=1, max_length=100)] | None = None
    lines: Annotated[list[AcceptLineIn], Field(max_length=200)] = Field(default_factory=list)


class PageQuery(Input):
    """A page of a list: `after` is the `next` of the page before."""

    after: Annotated[str, StringConstraints(max_length=60)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class SlotView(View):
    id: str
    start: datetime
    end: datetime


class LineView(View):
    """One order line. `qty` are still wanted, `cancelled_qty` of what was ordered are not. `agreed_price` is the
    unit price when the order was made, `unit_price` the one now."""

    line_no: int
    status: str
    product_id: str
    listing_id: str
    title: str
    kind: str
    mode: str
    vendor: str
    qty: int
    cancelled_qty: int = 0
    split_from: int | None = None  # the line whose vendor took fewer units
    unit_price: Money
    agreed_price: Money
    slot: SlotView | None = None
    purchase_order: str | None = None


class PoView(View):
    """The part of an order that goes to one vendor."""

    id: str
    number: str
    vendor: str
    status: str
    sequence: int
    lines: list[int]
    vendor_order_no: str | None = None
    accepted_at: datetime | None = None
    reason: str | None = None
    needs_attention: bool = False
    moves_line: int | None = None  # it books another time for this line


class ShipToView(View):
    name: str
    phone: str
    country: str
    province: str
    city: str
    district: str
    address: str
    postcode: str


class OrderView(View):
    """An order as its mall sees it; name, phone and address are masked. `held_until`: the order waits for a review
    under the mall's rules and no vendor has it yet; `reason`: why a review refused it."""

    id: str
    mall_order_no: str
    status: str
    mode: str
    created_at: datetime
    placed_at: datetime | None
    due_at: datetime | None
    reserved_until: datetime | None
    held_until: datetime | None = None
    reason: str | None = None
    total: Money
    ship_to: ShipToView
    lines: list[LineView]
    purchase_orders: list[PoView]


class OrderPage(View):
    items: list[OrderView]
    next: str | None


class VendorLineView(View):
    line_no: int
    sku: str
    title: str
    qty: int
    unit_price: Money
    slot_ref: str | None = None
    slot_start: datetime | None = None
    slot_end: datetime | None = None


class VendorOrderView(View):
    """A purchase order as its vendor sees it, with the address it must deliver to."""

    id: str
    number: str
    status: str
    created_at: datetime
    due_at: datetime | None
    vendor_order_no: str | None
    accepted_at: datetime | None
    reason: str | None
    ship_to: ShipToView | None
    lines: list[VendorLineView]


class VendorOrderPage(View):
    items: list[VendorOrderView]
    next: str | None


class PoAnswer(View):
    """A purchase order after a vendor's word about it."""

    id: str
    number: str
    status: str


def masked(ship_to: Mapping[str, str]) -> ShipToView:
    """The address as anybody but its vendor may see it."""
    return ShipToView(
        **{
            **ship_to,
            "name": mask_name(ship_to["name"]),
            "phone": mask_phone(ship_to["phone"]),
            "address": "****" if ship_to["address"] else "",
        }
    )


def order_view(book: Book, ship_to: Mapping[str, str]) -> OrderView:
    """The mall's view of an order."""
    return view_of(book.order, book.lines.values(), book.pos.values(), ship_to)


def view_of(order: Order, lines: Iterable[Line], pos: Iterable[Po], ship_to: Mapping[str, str]) -> OrderView:
    """As `order_view`, for parts that are not a book yet."""
    lines = sorted(lines, key=lambda line: line.line_no)
    carried: dict[uuid.UUID | None, list[int]] = {}
    numbers = {line.id: line.line_no for line in lines} | {None: None}
    for line in lines:
        carried.setdefault(line.po_id, []).append(line.line_no)
    return OrderView(
        id=public_id("ord", order.id),
        mall_order_no=order.mall_order_no,
        status=order.status,
        mode=order.mode,
        created_at=order.created_at,
        placed_at=order.placed_at,
        due_at=order.due_at,
        reserved_until=order.reserved_until,
        held_until=order.held_until,
        reason=order.reason,
        total=Money(amount=order.total, currency=order.currency),
        ship_to=masked(ship_to),
        lines=[_line_view(line, numbers.get(line.split_from)) for line in lines],
        purchase_orders=[
            PoView(
                id=public_id("po", po.id),
                number=po.number,
                vendor=po.vendor_name,
                status=po.status,
                sequence=po.sequence,
                lines=carried.get(po.id, []),
                vendor_order_no=po.vendor_order_no,
                accepted_at=po.accepted_at,
                reason=po.reason,
                needs_attention=po.attention is not None,
                moves_line=numbers.get(po.moving_line_id),
            )
            for po in pos
        ],
    )


def _line_view(line: Line, split_from: int | None) -> LineView:
    slot = None
    if line.slot_id is not None and line.slot_start is not None and line.slot_end is not None:
        slot = SlotView(id=public_id("slt", line.slot_id), start=line.slot_start, end=line.slot_end)
    return LineView(
        line_no=line.line_no,
        status=line.status,
        product_id=public_id("prd", line.product_id),
        listing_id=public_id("lst", line.listing_id),
        title=line.title,
        kind=line.kind,
        mode=line.mode,
        vendor=line.vendor_name,
        qty=line.quantity,
        cancelled_qty=line.cancelled_quantity,
        split_from=split_from,
        unit_price=Money(amount=line.unit_price, currency=line.currency),
        agreed_price=Money(amount=line.agreed_price, currency=line.currency),
        slot=slot,
        purchase_order=public_id("po", line.po_id) if line.po_id is not None else None,
    )
