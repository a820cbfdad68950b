"""What crosses the wall of pricing/: offers to check, reference prices with evidence, verdicts, cases."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

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
    evidence: Evidence


class Check(Frozen):
    """The verdict on one listing at one instant."""

    listing_id: int
    product_id: int
    verdict: Verdict
    ours: Decimal | None  # comparable price per unit, 20 significant digits (the verdict compares fractions)
    reference: Decimal | None
    gap: Decimal | None  # (ours - reference) / reference, 20 significant digits
    reference_id: int | None
    reason: str
    at: datetime


class ReferencesRecorded(Event):
    """New reference prices: the catalogue should have the offers of these products checked again."""

    product_ids: list[int]


class ParityCaseOpened(Event):
    case_id: int
    listing_id: int
    product_id: int


class ParityCaseClosed(Event):
    case_id: int
    listing_id: int
    product_id: int


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
    window: tuple[datetime, datetime]  # capture times of the references that still count
    as_of: datetime
