"""The parts of a manifest: settings, requests, pages, maps, orders and pushes, each checked on its own (who calls is in
connectors.auths). What they add up to is connectors.manifest."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from connectors.contracts import ListingIn
from connectors.pieces import Constant, FromConfig, Name, Param, Part, PathExpr, compiles


class Setting(Part):
    """One declared setting of a connection. A secret is stored encrypted and never has a default."""

    title: str = ""
    type: Literal["text", "integer", "boolean", "url", "map"] = "text"
    secret: bool = False
    required: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _secrets_have_no_default(self) -> Setting:
        if self.secret and self.default is not None:
            raise ValueError("a secret has no default")
        return self


def _rate(value: Any) -> Any:
    """`5/s`, `100/min`, `1000/h` or a number of calls a second."""
    if isinstance(value, str):
        count, _, unit = value.partition("/")
        seconds = _SECONDS.get(unit)
        if seconds is None or not re.fullmatch(r"\d+(\.\d+)?", count):
            raise ValueError("write a rate as 5/s, 100/min or 1000/h")
        return float(count) / seconds
    return value


_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


class Budget(Part):
    """The vendor's published quota: this many calls in this many seconds, to be spent when we like. In a manifest it is
    written `10000/d`."""

    calls: int = Field(ge=1)
    per_s: int = Field(ge=1)


def _budget(value: Any) -> Any:
    if isinstance(value, str):
        count, _, unit = value.partition("/")
        if unit not in _SECONDS or not count.isdigit():
            raise ValueError("write a budget as 40/s, 1000/min, 5000/h or 10000/d")
        return {"calls": int(count), "per_s": _SECONDS[unit]}
    return value


class Quota(Part):
    """Headers in which the vendor says what is left of a quota: `remaining` calls, and when it fills up again, as
    seconds from now or as seconds since 1970."""

    remaining: str
    reset: str | None = None
    reset_is: Literal["seconds", "epoch"] = "seconds"
    keep: int = Field(1, ge=0)  # calls to leave for others before pausing


class Http(Part):
    """How calls are made: where to, how long to wait (seconds), how often and how many at once."""

    base_url: str | FromConfig = FromConfig(config="base_url")
    timeout_s: float = Field(10.0, gt=0, le=600)  # to connect, to the first byte, and from one byte to the next
    deadline_s: float | None = Field(None, gt=0, le=3600)  # for a whole answer; three times timeout_s unless given
    rate: Annotated[float | None, BeforeValidator(_rate)] = None  # calls a second
    budget: Annotated[Budget | None, BeforeValidator(_budget)] = None
    quota: Quota | None = None
    burst: int = Field(5, ge=1)  # calls that may be made at once after a pause
    concurrency: int = Field(4, ge=1, le=64)  # calls in flight for one connection
    attempts: int = Field(4, ge=1, le=10)  # of one idempotent call
    longest_wait_s: float = Field(20.0, ge=0)  # a longer Retry-After is handed to the caller
    headers: dict[str, str] = Field(default_factory=dict)
    max_rows: int = Field(100_000, ge=1)  # of one page
    max_depth: int = Field(40, ge=2)


class Reading(Part):
    """How one canonical field is read from a record. In YAML a bare string is a path."""

    path: PathExpr | None = None
    first: tuple[PathExpr, ...] = ()  # the first path that holds something
    const: Constant = None
    config: Name | None = None
    table: dict[str, Constant] = Field(default_factory=dict)  # raw value (as text) -> ours; others: drift
    default: Constant = None
    scale: int = Field(0, ge=0, le=6)  # integer minor units: 1290 with scale 2 is 12.90
    html: bool = False  # strip tags and unescape entities
    join: str | None = None  # a list of texts becomes one text

    @model_validator(mode="after")
    def _one_source(self) -> Reading:
        given = (self.path is not None, bool(self.first), "const" in self.model_fields_set, self.config is not None)
        if sum(given) != 1:
            raise ValueError("give exactly one of path, first, const, config")
        return self

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,) if self.path is not None else self.first


def _reading(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


ReadingSpec = Annotated[Reading, BeforeValidator(_reading)]
_LISTING_FIELDS = frozenset(ListingIn.model_fields) - {"attributes"}


class Mapping_(Part):
    """Canonical field -> where it stands in the vendor's record."""

    fields: dict[str, ReadingSpec]
    attributes: dict[str, ReadingSpec] = Field(default_factory=dict)


def _mapping(value: Any) -> Any:
    if not isinstance(value, dict) or "fields" in value:
        return value
    fields = {("price" if name == "amount" else name): reading for name, reading in value.items()}
    attributes = fields.pop("attributes", {})
    return {"fields": fields, "attributes": attributes}


class ListingMap(Mapping_):
    @model_validator(mode="after")
    def _known_fields(self) -> ListingMap:
        unknown = set(self.fields) - _LISTING_FIELDS
        if unknown:
            raise ValueError(f"a listing has no {', '.join(sorted(unknown))}")
        missing = {"vendor_sku", "title", "price"} - set(self.fields)
        if missing:
            raise ValueError(f"a listing needs {', '.join(sorted(missing))}")
        return self


ListingMapSpec = Annotated[ListingMap, BeforeValidator(_mapping)]
STOCK_FIELDS = ("on_hand", "level", "location", "version", "reported_at")


class StockMap(Mapping_):
    @model_validator(mode="after")
    def _known_fields(self) -> StockMap:
        unknown = set(self.fields) - {"vendor_sku", *STOCK_FIELDS}
        if unknown or self.attributes:
            raise ValueError(f"a stock figure has no {', '.join(sorted(unknown)) or 'attributes'}")
        if "vendor_sku" not in self.fields or not {"on_hand", "level"} & set(self.fields):
            raise ValueError("a stock figure needs vendor_sku and on_hand or level")
        return self


StockMapSpec = Annotated[StockMap, BeforeValidator(_mapping)]


class Paginate(Part):
    """One of four ways to walk pages. `page` and `offset` name the query parameter; `cursor` is the path of the
    next cursor in the body and `param` the parameter that carries it; `link` is `header` (RFC 8288 rel=next) or
    the path of the next URL in the body."""

    page: str | None = None
    offset: str | None = None
    cursor: PathExpr | None = None
    link: str | None = None
    param: str | None = None
    start: int = 1
    size_param: str | None = None
    size: int = Field(100, ge=1, le=10_000)
    size_config: Name | None = None  # a setting that overrides `size`
    total: PathExpr | None = None  # rows in all, in the body
    total_header: str | None = None
    pages_header: str | None = None
    max_pages: int = Field(100_000, ge=1)

    @model_validator(mode="after")
    def _one_way(self) -> Paginate:
        if sum(way is not None for way in (self.page, self.offset, self.cursor, self.link)) != 1:
            raise ValueError("give exactly one of page, offset, cursor, link")
        if self.cursor is not None and self.param is None:
            raise ValueError("a cursor needs param: the query parameter that carries it")
        if self.link is not None and self.link != "header":
            compiles(self.link)
        return self


class Incremental(Part):
    """Ask only for what changed since the last complete pull began, minus an overlap."""

    param: str
    format: Literal["iso", "iso_naive_utc", "epoch", "epoch_ms", "china"] = "iso"  # china: 2026-11-25 14:32:05
    overlap_s: int = Field(300, ge=0)
    params: dict[str, Param] = Field(default_factory=dict)  # sent beside it
    full_every_s: int = Field(6 * 3600, ge=0)  # a full sweep at least this often


class Request(Part):
    """Rows asked for page by page: `get`, or `post` with the parameters in a form or a JSON object."""

    get: str | None = None
    post: str | None = None
    params: dict[str, Param] = Field(default_factory=dict)
    send: Literal["query", "form", "json"] = "query"  # where the parameters of a post go, those of the pages too
    paginate: Paginate | None = None
    format: Literal["json", "jsonl"] = "json"  # jsonl: the answer is one record a line, with nothing around them
    records: PathExpr = "@"
    prefetch: bool = True  # fetch the next page while this one is used (page and offset only)

    @model_validator(mode="after")
    def _one_method(self) -> Request:
        if (self.get is None) == (self.post is None):
            raise ValueError("give get or post, exactly one of them")
        if self.get is not None and self.send != "query":
            raise ValueError("the parameters of a get go into the query")
        pages = self.paginate
        if (
            self.format == "jsonl"
            and pages is not None
            and (pages.cursor or pages.total or pages.link not in (None, "header"))
        ):
            raise ValueError("JSON lines have nothing around their records: page by page, offset or link: header")
        return self

    @property
    def path(self) -> str:
        return self.get or self.post or ""


class Pull(Request):
    map: ListingMapSpec
    ignore: tuple[str, ...] = ()  # top-level vendor fields that are known and not used
    incremental: Incremental | None = None
    full_every_s: int | None = Field(None, ge=0)  # where stock is pulled by itself: how often all listings are


class PullStock(Request):
    """All stock figures, beside each incremental pull of listings: most systems do not call a sale a change."""

    map: StockMapSpec


class BodyValue(Part):
    """One value of an order's body: a path into our purchase order, a constant or a setting."""

    path: PathExpr | None = None
    const: Any = None
    config: Name | None = None
    each: PathExpr | None = None  # a list in our purchase order; `map` builds one object per item
    map: dict[str, Any] = Field(default_factory=dict)


class Find(Part):
    """How the order placed with a key is found again. Without `records` the answer is the order itself."""

    get: str
    params: dict[str, Param] = Field(default_factory=dict)
    records: PathExpr | None = None
    match: PathExpr | None = None  # where a found record repeats our key


class Cancel(Part):
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    path: str
    body: dict[str, Any] = Field(default_factory=dict)


class PlaceOrders(Part):
    post: str
    idempotency_header: str | None = None
    body: dict[str, Any] = Field(default_factory=dict)
    receipt: dict[Literal["vendor_order_no", "status", "reason", "accepted_at"], PathExpr] = Field(default_factory=dict)
    accepted: tuple[str, ...] = ()  # raw statuses that mean accepted; empty: any 2xx is
    refused: tuple[str, ...] = ()
    out_of_stock: tuple[str, ...] = ()
    find: Find
    cancel: Cancel | None = None


class TrackOrders(Part):
    get: str
    map: dict[Literal["status", "at", "tracking_no", "carrier", "po_number"], PathExpr]


class Signature(Part):
    """An HMAC-SHA256 of the raw body in a header."""

    header: str
    secret: Name
    encoding: Literal["base64", "hex"] = "base64"
    prefix: str = ""


class PushTopic(Part):
    """What a push with this topic holds: where its records are and how they map."""

    means: Literal["listings", "stock", "orders", "ignored"]
    records: PathExpr = "@"
    map: dict[str, ReadingSpec] = Field(default_factory=dict)  # empty for listings: that of pull_listings


class Push(Part):
    hmac_sha256: Signature
    id: str | None = None  # path in the body, or
    id_header: str | None = None
    topic: str | None = None
    topic_header: str | None = None
    topics: dict[str, PushTopic] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _identified(self) -> Push:
        if self.id is None and self.id_header is None:
            raise ValueError("name the delivery's id: id (path in the body) or id_header")
        return self


class Envelope(Part):
    """Some systems answer 200 to everything and say in the body whether it went well: `ok` is a path, and one of `is`
    must stand there. Anything else is an error with the code at `error_code`, for the rules of `errors`."""

    ok: PathExpr
    is_: tuple[Constant, ...] = Field((True,), alias="is", min_length=1)


Action = Literal["Retry", "Misconfigured", "OutOfStock", "Refused", "Broken", "NotFound"]


class ErrorRule(Part):
    """Status and code -> what it means. The first rule that fits wins; then the usual meaning of the status."""

    status: int | None = None
    code: str | None = None
    action: Action = Field(alias="raise")
