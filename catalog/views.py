"""What readers send and what they receive, as the OpenAPI document shows it. Answers are written by PostgreSQL as text
(store/shown.py); the tests hold that text against these models."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from hub.kernel.types import (
    DeliveryMode,
    Input,
    Instant,
    Kind,
    Level,
    Quantity,
    SafeText,
    View,
    gtin14,
    parse_int_id,
)  # fmt: skip

CHINA = ZoneInfo("Asia/Shanghai")
Short = Annotated[SafeText, Field(min_length=1, max_length=200)]
Amount = Annotated[Decimal, Field(ge=0, le=Decimal("99999999"), max_digits=14, decimal_places=4)]
Limit = Annotated[int, Field(ge=1, le=100)]
Cursor = Annotated[SafeText, Field(min_length=1, max_length=500)]


def shaped(prefix: str) -> AfterValidator:
    """An id that looks like `prefix_7`; it stays text."""

    def check(value: str) -> str:
        parse_int_id(prefix, value)
        return value

    return AfterValidator(check)


def _gtin(value: str) -> str:
    padded = gtin14(value)
    if padded is None:
        raise ValueError("a GTIN has 8, 12, 13 or 14 digits")
    return padded


ProductId = Annotated[str, shaped("prd")]
ListingId = Annotated[str, shaped("lst")]
Gtin = Annotated[str, AfterValidator(_gtin)]


class MoneyView(View):
    amount: Decimal
    currency: str


class _Product(View):
    """What every view of a product has. `price` is the lowest among its offers; `available` is null when its vendors
    give only levels; `stock_at` is when a vendor last confirmed its stock."""

    id: str
    title: str
    title_en: str | None
    brand: str | None
    kind: Kind
    mode: DeliveryMode
    category: str | None
    gtin: str | None
    city: str | None
    image_url: str | None
    price: MoneyView | None
    available: int | None
    level: Level
    stock_at: datetime | None
    updated_at: datetime


class ProductSummary(_Product):
    """A product as a page of results shows it, with the number of its offers."""

    offers: int


class FacetValue(View):
    value: str
    count: int


class VendorFacet(FacetValue):
    label: str


class Facets(View):
    """Counts of the 30 most frequent values: of all results, or of so many results that they were counted over a sample
    and scaled up (then the page is `approximate`, and `facets_as_of` says when the sample was taken)."""

    kind: list[FacetValue]
    mode: list[FacetValue]
    category: list[FacetValue]
    brand: list[FacetValue]
    vendor: list[VendorFacet]


class Correction(View):
    """The query that found nothing, and the one whose results are shown instead."""

    from_: Annotated[str, Field(alias="from")]
    to: str


class ProductPage(View):
    """`next` is null on the last page. `total` is exact unless `approximate`; null when nobody knows."""

    items: list[ProductSummary]
    next: str | None
    total: int | None = None
    facets: Facets | None = None
    facets_as_of: datetime | None = None
    corrected: Correction | None = None
    approximate: bool
    as_of: datetime


class Promise(View):
    """What the vendor promises: hours to deliver, seconds between two confirmations of stock."""

    deliver_within_h: int
    stock_confirmed_within_s: int


class OfferView(View):
    """One vendor's offer of the product. `parity_gap` is (ours - reference) / reference."""

    listing_id: str
    vendor: str
    vendor_id: str
    title: str
    pack: str | None
    price: MoneyView
    shipping: Decimal
    available: int | None
    level: Level
    stock_at: datetime | None
    promise: Promise
    parity: Literal["pass", "breach", "unknown"]
    parity_gap: Decimal | None


class ProductView(_Product):
    """A product with all its offers, those that can be bought first, then the cheaper."""

    department: str | None
    model: str | None
    description: str | None
    attributes: dict[str, Any]
    created_at: datetime
    listed: bool
    offers: list[OfferView]
    as_of: datetime | None = None


class ProductsQuery(Input):
    """Which products, in which order, from where."""

    q: Annotated[SafeText, Field(max_length=200)] = ""
    kind: Kind | None = None
    category: Short | None = None
    brand: Short | None = None
    vendor: Annotated[Short, Field(description="a vendor's id, vnd_7, or its name")] | None = None
    price_min: Amount | None = None
    price_max: Amount | None = None
    in_stock: Annotated[bool, Field(description="true: only what can be ordered now")] = False
    mode: DeliveryMode | None = None
    city: Short | None = None
    zone: Annotated[int, Field(ge=1, le=2**62, description="an emergency's zone that is open to you")] | None = None
    sort: Literal["relevance", "price", "-price", "newest"] = "relevance"
    limit: Limit = 20
    cursor: Cursor | None = None
    facets: bool = False


class SuggestQuery(Input):
    """What is typed so far."""

    q: Annotated[SafeText, Field(max_length=100)] = ""
    limit: Annotated[int, Field(ge=1, le=20)] = 8


class SuggestionView(View):
    """A query, and about how many products are behind it."""

    text: str
    products: int


class SuggestView(View):
    items: list[SuggestionView]
    as_of: datetime


class LookupIn(Input):
    """Up to 100 product ids, or up to 100 GTINs."""

    ids: Annotated[list[ProductId], Field(min_length=1, max_length=100)] | None = None
    gtins: Annotated[list[Gtin], Field(min_length=1, max_length=100)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> LookupIn:
        if (self.ids is None) == (self.gtins is None):
            raise ValueError("send either ids or gtins")
        return self


class LookupView(View):
    """Products in the order asked for; `missing` holds the ids or GTIN-14s that nobody knows, `merged` the ids that
    went into another product, which is answered instead."""

    items: list[ProductView]
    missing: list[str]
    merged: dict[str, str] = Field(default_factory=dict)
    as_of: datetime


class AvailabilityQuery(Input):
    listing_id: ListingId
    qty: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    area: Short | None = None


class AvailabilityView(View):
    """Whether `qty` can be had of this listing now; `reason` says why not."""

    listing_id: str
    product_id: str
    vendor: str
    qty: Quantity
    area: str | None
    price: MoneyView
    available: int | None
    level: Level
    can_supply: bool
    reason: Literal["not_listed", "not_in_assortment", "held_by_policy", "other_area", "stale", "out", "too_few"] | None
    stock_at: datetime | None
    as_of: datetime


class ChangesQuery(Input):
    after: Annotated[SafeText, Field(max_length=60)] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    wait: Annotated[float, Field(ge=0, le=25, description="seconds to wait for a change when there is none")] = 0


class Change(View):
    """`merged_into` of a delete: the product under which its offers go on."""

    op: Literal["upsert", "delete"]
    id: str
    product: ProductView | None = None
    merged_into: str | None = None


class ChangesView(View):
    """Changed products in commit order; pass `next` as `after` to go on, also when `items` is empty. `full`: this page
    is a piece of a full read (from the beginning, when the log does not reach back there): what a mirror holds and no
    page of the full read has named by the time `full` is false again is gone."""

    items: list[Change]
    next: str
    full: bool


class ClinicsQuery(Input):
    q: Annotated[SafeText, Field(max_length=200)] = ""
    city: Short | None = None
    department: Short | None = None
    limit: Limit = 20
    cursor: Cursor | None = None


def _moment(later: bool) -> BeforeValidator:
    """A date stands for its first moment in China, or for the first moment after it."""

    def read(value: Any) -> Any:
        if isinstance(value, str) and len(value.strip()) == 10:
            day = date.fromisoformat(value.strip())
            return datetime.combine(day, time(), CHINA) + timedelta(days=1 if later and day < date.max else 0)
        return value

    return BeforeValidator(read)


def _of_this_age(moment: datetime) -> datetime:
    if not 2000 <= moment.year < 2200:
        raise ValueError("the year must be between 2000 and 2199")
    return moment


Moment = Annotated[Instant, AfterValidator(_of_this_age)]


class SlotsQuery(Input):
    """Free slots from `from` on and before `to`: instants with an offset, or dates in China (`to` inclusive)."""

    city: Short | None = None
    department: Short | None = None
    start: Annotated[Annotated[Moment, _moment(False)] | None, Field(alias="from")] = None
    end: Annotated[Annotated[Moment, _moment(True)] | None, Field(alias="to")] = None
    limit: Limit = 50
    cursor: Cursor | None = None


class FreeSlot(View):
    id: str
    listing_id: str
    vendor: str
    start: datetime
    end: datetime
    city: str | None
    department: str | None
    price: MoneyView


class SlotPage(View):
    items: list[FreeSlot]
    next: str | None
    as_of: datetime


class KindFigure(View):
    kind: Kind
    numerator: int  # products of which something can be ordered now
    denominator: int  # products listed
    target: int
    status: Literal["met", "missed"]
    below_since: datetime | None  # when the last count by the watch was first too small


class AssortmentView(View):
    """Kinds with at least 500 live, orderable products."""

    numerator: int
    denominator: int
    target: int
    status: Literal["met", "missed"]
    window: Literal["now"]
    kinds: list[KindFigure]
    as_of: datetime
