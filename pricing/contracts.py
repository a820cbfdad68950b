"""What crosses the wall of pricing/: offers to check, reference prices with evidence, verdicts, cases."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from hub.kernel.events import Event
from hub.kernel.types import Currency, Frozen, Instant, Price, SafeText, View


class Verdict(StrEnum):
    """Level with the market, dearer than allowed, or not known (no reference, or a stale one)."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    BREACH = "breach"
    UNKNOWN = "unknown"


class Policy(StrEnum):
    """What a mall does about a breach: its own choice of what it buys, never a sanction on the vendor."""

    OBSERVE = "observe"
    HOLD = "hold"
    BLOCK = "block"


class OfferPrice(Frozen):
    """One listing's price as the catalogue knows it."""

    listing_id: int
    product_id: int
    price: Decimal
    currency: str
    shipping: Decimal = Decimal(0)
    coupon: Decimal = Decimal(0)
    pack: str | None = None  # the pack text, or the title when the vendor gives none
    category: str | None = None  # as the vendor names it: which policy of a mall covers it
    valid_from: datetime | None = None  # the vendor's price holds from here
    valid_to: datetime | None = None  # ... to here, this instant excluded


class PackOffer(Frozen):
    """An offer as one of several packs of the same thing; `group` says of what."""

    group: str
    listing_id: int
    total: Decimal  # what an ordinary buyer pays
    currency: str
    pack: str


class PriceMove(Frozen):
    """A vendor's new price that is far from the one that stands."""

    listing_id: int
    connection_id: int
    vendor_sku: str
    before: Decimal
    after: Decimal
    currency: str


class Unmatched(Frozen):
    """What a reference source prices and we do not know as a product of ours."""

    vendor_sku: str
    title: str
    brand: str | None
    model: str | None
    gtin: str | None
    price: Decimal
    currency: str
    url: str | None


class Evidence(Frozen):
    """Why we believe an observation."""

    source: Annotated[SafeText, Field(min_length=1, max_length=200)]
    url: Annotated[SafeText, Field(max_length=1000)] = ""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""  # of the raw bytes
    captured_at: Instant
    region: Annotated[SafeText, Field(max_length=80)] = "CN"
    parser: Annotated[SafeText, Field(max_length=120)] = ""


class ReferenceIn(Frozen):
    """An observed mainstream price of one product."""

    product_id: int
    price: Price
    currency: Currency = "CNY"
    shipping: Annotated[Decimal, Field(ge=0, le=Decimal("999999"), decimal_places=4)] = Decimal(0)
    coupon: Annotated[Decimal, Field(ge=0, le=Decimal("999999"), decimal_places=4)] = Decimal(0)
    pack: SafeText | None = None  # None: the observation is of the product as such, whatever pack that is
    condition: Literal["ordinary", "member", "group_buy", "flash", "new_user", "used"] = "ordinary"
    valid_from: Instant | None = None  # a sale price counts from here
    valid_to: Instant | None = None  # ... to here, this instant excluded
    evidence: Evidence

    @model_validator(mode="after")
    def _window_is_one(self) -> ReferenceIn:
        if self.valid_from is not None and self.valid_to is not None and self.valid_to <= self.valid_from:
            raise ValueError("valid_to must be later than valid_from")
        return self


class Rate(Frozen):
    """What one unit of a currency was in CNY on a day in Shanghai, as `source` says."""

    currency: Currency
    day: date
    rate: Annotated[Decimal, Field(gt=0, lt=Decimal(10) ** 10, decimal_places=8)]
    source: Annotated[SafeText, Field(min_length=1, max_length=200)]


class Check(Frozen):
    """The verdict on one listing at one instant."""

    listing_id: int
    product_id: int
    verdict: Verdict
    ours: Decimal | None  # comparable price per unit to 12 places (the verdict compares before any division)
    reference: Decimal | None  # the same of the reference, in our currency
    gap: Decimal | None  # (ours - reference) / reference, to 12 places
    reference_id: int | None
    reason: str
    at: datetime  # since when it stands so, or was last observed


class Held(Frozen):
    """Why one mall does not buy a listing now: its own policy's action under a case, and in words."""

    action: Literal["hold", "block"]
    case_id: int
    detail: str


class ReferencesRecorded(Event):
    """New reference prices: the catalogue should have the offers of these products checked again."""

    product_ids: list[int]


class DearerPacksFound(Event):
    """Multi-packs that turned out dearer per unit than a smaller pack of the same thing."""

    listing_ids: list[int]


class PriceMovesWaiting(Event):
    """Prices that moved too far at once: the old ones stand until somebody confirms."""

    connection_id: int
    listing_ids: list[int]


class PriceMoveConfirmed(Event):
    """Somebody confirmed a price that had moved far: it holds from now on."""

    listing_id: int
    before: Decimal
    after: Decimal


class CaseMoved(Event):
    """Something happened to a parity case: what malls and vendors are told, each of what is theirs. Base of the events
    that say what; itself never emitted."""

    case_id: int
    listing_id: int
    product_id: int
    status: str = ""  # open, waived, closed
    stage: str = ""  # found, told, offered
    why: str = ""
    by: str = ""  # "hub" where nobody decided
    until: datetime | None = None  # of a waiver
    evidence_sha256: str = ""  # of the snapshot taken at that moment
    malls: list[int] = Field(default_factory=list)  # whose own policy keeps them from buying the listing now
    at: datetime | None = None


class ParityCaseOpened(CaseMoved):
    """A breach stands: seen twice six hours apart, or beyond the gross limit."""


class ParityCaseTold(CaseMoved):
    """The vendor was told."""


class ParityCaseOffered(CaseMoved):
    """The vendor named a new price; the case closes when it is seen."""


class ParityCaseWaived(CaseMoved):
    """Somebody accepts the price until a day, for a reason."""


class ParityCaseReopened(CaseMoved):
    """A waiver ran out."""


class ParityCaseReviewed(CaseMoved):
    """Somebody looked and released holds."""


class ParityCaseClosed(CaseMoved):
    """Back within the limit, decided by somebody, or without an object."""


class ParityHoldsChanged(Event):
    """Malls began or ceased to hold listings back: per mall the listings concerned."""

    listings: dict[int, list[int]]


class ParityFigure(View):
    """Listings level with the market among those whose verdict is known."""

    numerator: int  # pass
    denominator: int  # pass and breach
    rate: float | None
    target: float = 1.0  # every known listing within 5 %
    status: Literal["met", "missed", "no_data"]
    unknown: int
    coverage: float | None  # known verdicts among live listings: what the rate speaks for
    coverage_of: Literal["live_listings", "listings_ever_compared"]
    widest_gap: Decimal | None
    open_cases: int
    waived_cases: int
    reference_age_s: float | None  # median age of the references that known verdicts rest on
    oldest_reference_age_s: float | None
    unknown_because: dict[str, int]  # why listings are unknown
    window: tuple[datetime, datetime]  # capture times of the references that still count
    as_of: datetime
