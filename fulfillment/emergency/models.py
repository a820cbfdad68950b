"""What staff, companies and the public send about an emergency. Units are units of the incident's item; a supply's
own quantities are units of its listing."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from fulfillment.allocation.tables import TIERS, bad_name
from hub.kernel.types import Currency, Input, Instant, Price, SafeText, Sku
from orders.models import ListingId

MOST_LINES = 20_000  # demands a call
PEOPLE = 10_000_000
UNITS = 10_000_000  # of one item for one site


def _name(value: str) -> str:
    if wrong := bad_name(value):
        raise ValueError(wrong)
    return value


ItemName = Annotated[SafeText, StringConstraints(min_length=1, max_length=100), AfterValidator(_name)]
Place = Annotated[SafeText, StringConstraints(min_length=1, max_length=120), AfterValidator(_name)]
Area = Annotated[SafeText, StringConstraints(max_length=120)]
Text = Annotated[SafeText, StringConstraints(max_length=300)]
RowId = Annotated[int, Field(ge=0, le=2**62)]
Tier = Annotated[int, Field(ge=0, le=TIERS)]
People = Annotated[int, Field(ge=0, le=PEOPLE)]
Hours = Annotated[Decimal, Field(ge=0, le=10_000, max_digits=9, decimal_places=4)]
Cost = Annotated[Decimal, Field(ge=0, le=100_000, max_digits=10, decimal_places=4)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Pack = Annotated[int, Field(ge=1, le=100_000)]
Phone = Annotated[str, StringConstraints(pattern=r"^\+?[0-9][0-9 ()-]{3,22}[0-9]$")]


class Page(Input):
    """A window over a list; `next` of an answer goes into `cursor`."""

    cursor: RowId | None = None
    limit: Annotated[int, Field(ge=1, le=1_000)] = 100


class ItemIn(Input):
    """What is scarce. At most `per_head` units count for each person of a site."""

    name: ItemName
    unit: Annotated[SafeText, StringConstraints(max_length=20)] = "件"
    per_head: Annotated[int, Field(ge=1, le=10_000)] = 1


class IncidentIn(Input):
    """An emergency to declare. Its zone is open from this call on. `mall_ids`: the companies that may ask, all of them
    if none is named; with access `public` whoever has the code may ask as well. Sites that nobody has verified yet
    count for `unverified_headcount` people and come in `unverified_tier`. A site that asks again within
    `duplicate_hours` has asked twice. An `exercise` runs everything but the calls of vendors."""

    title: Annotated[SafeText, StringConstraints(min_length=1, max_length=200)]
    area: Annotated[SafeText, StringConstraints(min_length=1, max_length=200)]
    items: Annotated[list[ItemIn], Field(min_length=1, max_length=50)]
    access: Literal["companies", "public"] = "companies"
    mall_ids: Annotated[list[Annotated[int, Field(ge=1, le=2**62)]], Field(min_length=1, max_length=500)] | None = None
    deadline_hours: Annotated[int, Field(ge=1, le=720)] = 48
    exercise: bool = False
    unverified_headcount: Annotated[int, Field(ge=0, le=10_000)] = 0
    unverified_tier: Tier = 9
    duplicate_hours: Annotated[int, Field(ge=0, le=720)] = 24

    @model_validator(mode="after")
    def _each_once(self) -> IncidentIn:
        if len({item.name for item in self.items}) < len(self.items):
            raise ValueError("an item stands there twice")
        return self


class SupplyIn(Input):
    """Stock to fence off: a listing's whole available stock at one location, or `quantity` of it. `units_each`: units
    of the item in one of the listing, which is never split. `substitute`: only for sites that take one."""

    listing_id: ListingId
    item: ItemName
    warehouse: Place
    location: Annotated[SafeText, StringConstraints(max_length=120)] = ""
    quantity: Count | None = None
    units_each: Pack = 1
    lot: Annotated[SafeText, StringConstraints(max_length=80)] = ""
    expires_at: Instant | None = None
    pool: Annotated[SafeText, StringConstraints(max_length=80)] = ""
    substitute: bool = False


class SuppliesIn(Input):
    supplies: Annotated[list[SupplyIn], Field(min_length=1, max_length=2_000)]


class LeadIn(Input):
    """How long a warehouse takes to an area (empty: everywhere) or to one site, and what a unit costs there. The most
    exact one counts; where there is none, nothing is sent."""

    warehouse: Place
    area: Area = ""
    site_id: Annotated[int, Field(ge=1, le=2**62)] | None = None
    hours: Hours
    cost: Cost = Decimal(0)


class LeadsIn(Input):
    leads: Annotated[list[LeadIn], Field(min_length=1, max_length=20_000)]


class GoodsIn(Input):
    """Goods of an ad-hoc supplier, as they lie in one of its warehouses."""

    sku: Sku
    title: Annotated[SafeText, StringConstraints(min_length=1, max_length=300)]
    gtin: Annotated[SafeText, StringConstraints(max_length=20)] | None = None
    price: Price
    currency: Currency = "CNY"
    item: ItemName
    warehouse: Place
    quantity: Count
    units_each: Pack = 1
    lot: Annotated[SafeText, StringConstraints(max_length=80)] = ""
    expires_at: Instant | None = None
    pool: Annotated[SafeText, StringConstraints(max_length=80)] = ""
    substitute: bool = False


class SupplierIn(Input):
    """A supplier that joins in the emergency: the vendor, its goods with their stock, and its lead times, in one call.
    It answers purchase orders in the portal, with a key of its own."""

    name: Annotated[SafeText, StringConstraints(min_length=1, max_length=200)]
    name_en: Annotated[SafeText, StringConstraints(max_length=200)] = ""
    goods: Annotated[list[GoodsIn], Field(min_length=1, max_length=500)]
    leads: Annotated[list[LeadIn], Field(max_length=2_000)] = Field(default_factory=list)


class DemandIn(Input):
    """What one site asks for. `headcount` is what it says of itself."""

    site: Annotated[SafeText, StringConstraints(min_length=1, max_length=200)]
    item: ItemName
    quantity: Annotated[int, Field(ge=0, le=UNITS)]
    area: Area = ""
    headcount: People | None = None
    contact: Annotated[SafeText, StringConstraints(min_length=1, max_length=100)]
    phone: Phone
    province: Annotated[SafeText, StringConstraints(max_length=80)] = ""
    city: Annotated[SafeText, StringConstraints(max_length=80)] = ""
    district: Annotated[SafeText, StringConstraints(max_length=80)] = ""
    address: Annotated[SafeText, StringConstraints(min_length=1, max_length=300)]
    substitutes: bool = True


class StaffDemandIn(DemandIn):
    """The same entered by staff, who may say what they have verified, and whose site it is."""

    mall_id: Annotated[int, Field(ge=1, le=2**62)] | None = None
    verified_headcount: People | None = None
    tier: Tier | None = None
    pool: Annotated[SafeText, StringConstraints(max_length=80)] = ""
    floor: Annotated[int, Field(ge=0, le=UNITS)] = 0

    @model_validator(mode="after")
    def _verified_or_not(self) -> StaffDemandIn:
        if (self.verified_headcount is None) != (self.tier is None):
            raise ValueError("give verified_headcount and tier together: a tier needs verification")
        return self


class VerifyIn(Input):
    """What somebody has verified of a site. `floor`: units of each item that it is promised before tiers share."""

    site_id: Annotated[int, Field(ge=1, le=2**62)]
    headcount: People
    tier: Tier
    pool: Annotated[SafeText, StringConstraints(max_length=80)] | None = None
    floor: Annotated[int, Field(ge=0, le=UNITS)] | None = None


class VerificationsIn(Input):
    sites: Annotated[list[VerifyIn], Field(min_length=1, max_length=20_000)]


class ApproveIn(Input):
    """The plan that was read, so that nobody approves another."""

    plan_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None


class ExplainQuery(Page):
    """A site by its number or its name; none: all of them."""

    site: Annotated[SafeText, StringConstraints(min_length=1, max_length=200)] | None = None


class FilesQuery(Input):
    """Which of the plan's files."""

    file: Literal["demands.csv", "supplies.csv", "lead-times.csv", "plan.csv", "certificate.json", "all.zip"] = (
        "all.zip"
    )


class ReportQuery(Input):
    format: Literal["json", "csv", "html"] = "json"
