"""The settings of a connection to a pool, checked when they are made: what is sold, and how a vendor is asked to
issue."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from connectors.pieces import PathExpr
from hub.kernel.errors import Fault, Misconfigured
from hub.kernel.types import Currency, Kind, Price, SafeText, Sku


def _exact(value: Any) -> Any:
    """A price is exact: JSON's 12.9 is what was written."""
    return str(value) if type(value) is float else value


class Article(BaseModel):
    """One SKU that codes are sold under."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Annotated[SafeText, Field(min_length=1, max_length=500)]
    title_en: Annotated[SafeText, Field(max_length=500)] | None = None
    price: Annotated[Price, BeforeValidator(_exact)]
    currency: Currency = "CNY"
    market_price: Annotated[Price, BeforeValidator(_exact)] | None = None
    kind: Kind = Kind.EXPERIENCE
    category: Annotated[SafeText, Field(max_length=120)] | None = None
    brand: Annotated[SafeText, Field(max_length=120)] | None = None
    gtin: str | None = None
    city: Annotated[SafeText, Field(max_length=80)] | None = None
    image_url: Annotated[SafeText, Field(max_length=1000)] | None = None
    url: Annotated[SafeText, Field(max_length=1000)] | None = None
    description: Annotated[SafeText, Field(max_length=4000)] | None = None
    attributes: dict[str, SafeText] = Field(default_factory=dict)

    def record(self, sku: str) -> dict[str, Any]:
        """As the map of listings reads it."""
        said = self.model_dump(mode="json", exclude_none=True)
        return {**said, "sku": sku, "price": _plain(self.price)}


class Finding(BaseModel):
    """How the vendor is asked what it issued for our number: the answer of the issue, an empty list or 404."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    get: str = Field(pattern=r"^/.*\{key\}")


class Cancelling(BaseModel):
    """How the vendor is told to take its codes back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    post: str = Field(pattern=r"^/.*\{key\}")


class Issuing(BaseModel):
    """The vendor's issuing API: one POST an order, under our number as its idempotency key, answered with the codes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    post: str = Field(pattern="^/")
    idempotency_header: str = "Idempotency-Key"
    body: dict[str, Any]
    codes: PathExpr  # the list of codes in the answer
    code: PathExpr = "@"  # in one of them; a bare text is a code
    pin: PathExpr | None = None
    valid_until: PathExpr | None = None
    sku: PathExpr | None = None  # which SKU it is of; without it, orders of one article only
    out_of_stock: tuple[str, ...] = ()  # error codes that mean that there are none
    find: Finding | None = None
    cancel: Cancelling | None = None


_articles: TypeAdapter[dict[str, Article]] = TypeAdapter(dict[Sku, Article])
_issuing: TypeAdapter[Issuing] = TypeAdapter(Issuing)


def articles(config: Mapping[str, Any]) -> dict[str, Article]:
    """SKU -> what is sold under it. Raises Misconfigured with a pointer to every mistake."""
    found: dict[str, Article] = _checked(_articles, config["skus"], "skus")
    if not found:
        raise _wrong("skus", ((), "a pool sells something"))
    return found


def issuing(config: Mapping[str, Any]) -> Issuing | None:
    """How the vendor issues, where it does; raises Misconfigured likewise."""
    if config["source"] == "pool":
        return None
    if not config.get("base_url"):
        raise _wrong("base_url", ((), "say where the issuing API lives"))
    found: Issuing = _checked(_issuing, config.get("issue") or {}, "issue")
    return found


def zone(config: Mapping[str, Any]) -> ZoneInfo:
    """The zone of days; raises Misconfigured."""
    try:
        return ZoneInfo(str(config["timezone"]))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise _wrong("timezone", ((), f"there is no time zone {str(config['timezone'])[:40]!r}")) from None


def span(config: Mapping[str, Any], name: str, least: int, most: int) -> int:
    """A whole number within bounds; raises Misconfigured."""
    value = config[name]
    if not least <= value <= most:
        raise _wrong(name, ((), f"it must be between {least} and {most}"))
    return int(value)


def _plain(price: Decimal) -> str:
    return format(price, "f")


def _checked(model: TypeAdapter[Any], value: Any, name: str) -> Any:
    try:
        return model.validate_python(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise _wrong(name, *((fault["loc"], fault["msg"]) for fault in found[:20])) from None


def _wrong(name: str, *mistakes: tuple[tuple[Any, ...], str]) -> Misconfigured:
    faults = []
    for place, reason in mistakes:
        steps = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in (name, *place))
        faults.append(Fault(f"/config{steps}"[:300], reason.removeprefix("Value error, ")[:300]))
    detail = "; ".join(f"{fault.pointer.removeprefix('/config/')}: {fault.detail}" for fault in faults)
    return Misconfigured(detail[:2000], code="bad_config", faults=tuple(faults))
