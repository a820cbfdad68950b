"""What crosses the wall of connectors/: canonical listings, stock reports, purchase orders, receipts, pushes."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from hub.kernel.events import Event
from hub.kernel.types import Currency, DeliveryMode, Frozen, Instant, Kind, Level, Price, SafeText, Sku, gtin14

RAW_LIMIT = 60_000  # characters of a refused record that are kept: enough to map it again
OnHand = Annotated[int, Field(ge=0, le=100_000_000)]


def _gtin(value: Any) -> Any:
    return gtin14(value if value.__class__ is str else str(value)) if value is not None else None


class Capability(StrEnum):
    """What a connector can do; a manifest declares these and they must equal what is implemented."""

    PULLS_LISTINGS = "pulls_listings"
    PULLS_STOCK = "pulls_stock"
    RECEIVES_PUSH = "receives_push"
    PLACES_ORDERS = "places_orders"
    TRACKS_ORDERS = "tracks_orders"
    BOOKS_SLOTS = "books_slots"
    HOLDS_SLOTS = "holds_slots"
    HOLDS_STOCK = "holds_stock"
    ISSUES_CODES = "issues_codes"
    OBSERVES_PRICES = "observes_prices"
    POLLS_MESSAGES = "polls_messages"
    LISTS_ORDERS = "lists_orders"


class ListingIn(Frozen):
    """A vendor's sellable SKU as the vendor describes it, in our words. Exactly one of `on_hand` and `level`
    may be given; neither means the vendor said nothing about stock."""

    vendor_sku: Sku
    title: Annotated[SafeText, Field(min_length=1, max_length=500)]
    title_en: Annotated[SafeText, Field(max_length=500)] | None = None
    brand: Annotated[SafeText, Field(max_length=120)] | None = None
    model: Annotated[SafeText, Field(max_length=120)] | None = None  # manufacturer part number
    gtin: Annotated[str | None, BeforeValidator(_gtin)] = None  # padded to 14 digits
    kind: Kind = Kind.GOODS
    mode: DeliveryMode = DeliveryMode.PARCEL
    category: Annotated[SafeText, Field(max_length=120)] | None = None
    price: Price
    currency: Currency = "CNY"
    shipping: Annotated[Decimal, Field(ge=0, le=Decimal("999999"), decimal_places=4)] = Decimal(0)
    coupon: Annotated[Decimal, Field(ge=0, le=Decimal("999999"), decimal_places=4)] = Decimal(0)
    pack: Annotated[SafeText, Field(max_length=120)] | None = None  # the vendor's own pack text
    on_hand: OnHand | None = None
    level: Level | None = None
    location: Annotated[SafeText, Field(max_length=120)] = ""
    version: int | None = None  # the vendor's own, monotonic per SKU
    reported_at: Instant | None = None  # the vendor's own time of the stock figure
    city: Annotated[SafeText, Field(max_length=80)] | None = None  # clinics and other places
    department: Annotated[SafeText, Field(max_length=80)] | None = None
    image_url: Annotated[SafeText, Field(max_length=1000)] | None = None
    url: Annotated[SafeText, Field(max_length=1000)] | None = None
    description: Annotated[SafeText, Field(max_length=4000)] | None = None
    attributes: dict[str, str] = Field(default_factory=dict)
    active: bool = True  # False: the vendor took it off sale
    external_id: Annotated[SafeText, Field(min_length=1, max_length=200)] | None = None  # the vendor's own lasting id
    family_id: Annotated[SafeText, Field(min_length=1, max_length=200)] | None = None  # id of the article it varies
    market_price: Price | None = None  # what the vendor's system says an ordinary buyer pays: an observed reference

    @model_validator(mode="after")
    def _one_kind_of_stock(self) -> ListingIn:
        if self.on_hand is not None and self.level is not None:
            raise ValueError("give on_hand or level, not both")
        return self


class StockReport(Frozen):
    """What a vendor says is on hand for one SKU at one location, with the vendor's own version or time."""

    vendor_sku: Sku
    location: Annotated[SafeText, Field(max_length=120)] = ""
    on_hand: OnHand | None = None
    level: Level | None = None
    version: Annotated[int, Field(ge=0, le=2**62)] | None = None
    reported_at: Instant

    @model_validator(mode="after")
    def _says_something(self) -> StockReport:
        if (self.on_hand is None) == (self.level is None):
            raise ValueError("give on_hand or level, exactly one of them")
        return self


class SlotIn(Frozen):
    """A bookable time at a clinic: the slot's stock is one row of the shelf at location `slot_ref`."""

    vendor_sku: Sku  # the service it belongs to
    slot_ref: Annotated[SafeText, Field(min_length=1, max_length=120)]  # such as Slot/123
    start: Instant
    end: Instant
    free: bool
    version: Annotated[SafeText, Field(max_length=200)] | None = None  # the vendor's ETag
    city: Annotated[SafeText, Field(max_length=80)] | None = None
    department: Annotated[SafeText, Field(max_length=80)] | None = None
    reported_at: Instant


class BadRow(Frozen):
    """A refused record: why, which field, and what came."""

    reason: str
    pointer: str = ""
    vendor_sku: str | None = None
    raw: str  # the record as JSON or text, at most RAW_LIMIT characters


class StockFigure(NamedTuple):
    """The stock part of a record: of one whose content the hub has already, or of a stock pull."""

    vendor_sku: str
    on_hand: int | None
    level: Level | None
    location: str
    version: int | None
    reported_at: datetime | None


Cursor = dict[str, Any]  # JSON; opaque to everyone but the connector that made it


class Page(Frozen):
    """One page of a pull. Saving `cursor` with the page's effects lets a later pull resume after it.

    `digests`, when not empty, runs parallel to `listings`: a fingerprint of everything the mapping read for that
    listing apart from its stock. Keep it beside the listing and give it back through `open_connector(known=...)`:
    a record whose fingerprint is unchanged then comes as a `StockFigure` in `unchanged` and costs no mapping.
    Every record of a page is in exactly one of `listings`, `unchanged` and `bad`; all of `listings` and
    `unchanged` were seen on sale now."""

    listings: tuple[ListingIn, ...] = ()
    digests: tuple[bytes, ...] = ()
    unchanged: tuple[StockFigure, ...] = ()
    slots: tuple[SlotIn, ...] = ()
    bad: tuple[BadRow, ...] = ()
    cursor: Cursor | None = None
    captured_at: datetime  # when the request was sent: the time of the figures in it
    complete: bool = False  # True on the last page of a pull that saw everything it asked for
    drift: tuple[str, ...] = ()  # vendor fields and values that the mapping neither uses nor ignores
    raws: tuple[str, ...] = ()  # runs parallel to `listings` when the adapter was asked to keep what came (previews)
    stock_only: bool = False  # a page of a stock pull: its figures prove nothing about what is listed


class PoLine(Frozen):
    """One line of a purchase order."""

    line_no: int
    vendor_sku: str
    quantity: int
    unit_price: Decimal
    currency: str
    vendor_ref: str | None = None  # the vendor's internal id, when it differs from the SKU
    slot_ref: str | None = None
    slot_version: str | None = None
    slot_start: datetime | None = None
    slot_end: datetime | None = None


class ShipTo(Frozen):
    """Where and to whom. Personal data: never logged, never queued, encrypted at rest."""

    name: str
    phone: str
    country: str = "CN"
    province: str = ""
    city: str = ""
    district: str = ""
    address: str = ""
    postcode: str = ""


class PurchaseOrder(Frozen):
    """The part of an order that goes to one vendor. `number` is ours and is the vendor-side idempotency key."""

    number: str
    lines: tuple[PoLine, ...]
    ship_to: ShipTo
    note: str = ""
    placed_at: datetime


class ReceiptStatus(StrEnum):
    ACCEPTED = "accepted"
    REFUSED = "refused"
    PENDING = "pending"  # the vendor has it and has not decided


class ReceiptLine(Frozen):
    """What a vendor takes of one line, when it is not just what it was asked for."""

    line_no: int
    quantity: Annotated[int, Field(ge=0)]  # 0: nothing
    unit_price: Decimal | None = None  # None: the price that was asked for


class Receipt(Frozen):
    """A vendor's answer to a purchase order."""

    status: ReceiptStatus
    vendor_order_no: str | None = None
    reason: str | None = None
    out_of_stock: bool = False  # refused because there is none
    out_of_stock_skus: tuple[str, ...] = ()
    accepted_at: datetime | None = None  # the vendor's own time, when it says one
    raw_status: str | None = None
    lines: tuple[ReceiptLine, ...] = ()  # of an acceptance: lines that differ from what was asked for


class Held(Frozen):
    """What became of a wish to hold something at the vendor. A refusal is an answer: `reason` says why, `gone` that
    there is none left."""

    held: bool
    slot_ref: str | None = None
    ref: str | None = None  # what is held there: Slot/…, Appointment/…, the vendor's number of a held order
    until: datetime | None = None  # None: until the vendor's own rule ends it
    reason: str | None = None
    gone: bool = False
    gone_skus: tuple[str, ...] = ()


class ShipmentStatus(StrEnum):
    """The normal form of a parcel's state. Anything unknown stays `unknown` with its raw value."""

    PENDING = "pending"
    SHIPPED = "shipped"
    IN_TRANSIT = "in_transit"
    OUT_FOR_DELIVERY = "out_for_delivery"
    DELIVERED = "delivered"
    EXCEPTION = "exception"
    REFUSED = "refused"
    RETURNED = "returned"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class OrderUpdate(Frozen):
    """What a vendor says about one parcel of one of our purchase orders, or about the order as a whole when it names no
    parcel (by push or when asked)."""

    po_number: str | None = None
    vendor_order_no: str | None = None
    status: ShipmentStatus
    raw_status: str
    at: Instant
    tracking_no: str | None = None
    carrier: str | None = None


class ListedStatus(StrEnum):
    """What a vendor's own list says of an order. Anything else stays `unknown` with its raw value."""

    OPEN = "open"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    REFUSED = "refused"  # the recipient did not take it, or sent it back
    UNKNOWN = "unknown"


class ListedOrder(Frozen):
    """One row of a vendor's own list of our orders: an order as a whole, or with `vendor_sku` one of its articles. What
    the list does not say is None. `amount` is of the whole row; `tax_rate` is a share (0.13), as the vendor says it."""

    po_number: Annotated[SafeText, Field(min_length=1, max_length=100)] | None = None
    vendor_order_no: Annotated[SafeText, Field(min_length=1, max_length=100)] | None = None
    vendor_sku: Annotated[SafeText, Field(min_length=1, max_length=128)] | None = None
    quantity: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    amount: Annotated[Decimal, Field(ge=0, le=Decimal("99999999999"), decimal_places=4)] | None = None
    currency: Currency | None = None
    status: ListedStatus = ListedStatus.UNKNOWN
    raw_status: Annotated[SafeText, Field(max_length=120)] | None = None
    tax_rate: Annotated[Decimal, Field(ge=0, lt=1, decimal_places=6)] | None = None
    tax_amount: Annotated[Decimal, Field(ge=0, le=Decimal("99999999999"), decimal_places=4)] | None = None


class IssuedCode(Frozen):
    """A voucher or card number for one unit of one line. Handed to the buyer and nobody else; hidden in repr."""

    line_no: int
    code: SecretStr
    pin: SecretStr | None = None
    valid_until: datetime | None = None


class PushContent(Frozen):
    """What one landed push means."""

    stock: tuple[StockReport, ...] = ()
    listings: tuple[ListingIn, ...] = ()
    orders: tuple[OrderUpdate, ...] = ()
    bad: tuple[BadRow, ...] = ()
    ping: bool = False


class Message(Frozen):
    """One message that waited at a vendor: the vendor's id of it, its topic, and all that reading it needs."""

    external_id: str
    topic: str
    body: bytes


class PushReceived(Frozen):
    """A verified push: the vendor's own delivery id (for deduplication) and topic."""

    external_id: str
    topic: str


class ConnectionView(Frozen):
    """A vendor's configured use of a connector, without its secrets."""

    id: int
    vendor_id: int
    vendor_name: str
    connector: str
    name: str
    role: Literal["supply", "reference"]
    status: Literal["draft", "live", "paused"]
    capabilities: frozenset[Capability]
    defaults: dict[str, Any]
    sync_every_s: int
    last_complete_at: datetime | None


class PayloadLanded(Event):
    """A push was verified and stored; who can use it should read it (connectors.api.landed)."""

    inbox_id: int
    connection_id: int


class ConnectionTurned(Event):
    """A connection went live or was paused: its offers are sold from now on, or no longer."""

    connection_id: int


class Quarantined(Event):
    """A pull or push left rows behind that could not be used."""

    connection_id: int
    run_id: int | None
    rows: int
