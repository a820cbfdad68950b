"""Listings that a vendor sends by its own key: JSON, NDJSON, or a table as it lies on somebody's desk (CSV, TSV,
XLSX, any encoding common in China). Each row is judged on its own and answered in its place, as JSON or, when the
caller accepts `text/csv`, as a report to open beside the file that was sent."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Annotated, Any, Literal

import orjson
from aiohttp import web
from pydantic import Field, ValidationError

from catalog.lines import Unreadable, lines
from catalog.taking import PIECE, Mode, Upload
from connectors import api as connectors
from connectors.contracts import BadRow, ListingIn, OnHand
from hub.kernel import bodies, clock
from hub.kernel.cells import cell
from hub.kernel.errors import Fault, HubError, Malformed, Rejected, TooLarge
from hub.kernel.types import Currency, DeliveryMode, Input, Instant, Kind, Level, Price, SafeText, Sku, View
from hub.kernel.web import Call, Routes

routes = Routes("vendors")
MOST = 5_000  # listings a JSON call; NDJSON and tables have no such limit
MOST_ROWS = 1_000_000
JSON_LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl")
_IN_MEMORY = 1 << 20

Text120 = Annotated[SafeText, Field(max_length=120)]


class VendorListing(Input):
    """One listing as the vendor offers it. Give `on_hand` or `level`, or neither."""

    sku: Sku
    title: Annotated[SafeText, Field(min_length=1, max_length=500)]
    title_en: Annotated[SafeText, Field(max_length=500)] | None = None
    brand: Text120 | None = None
    model: Text120 | None = None
    gtin: Annotated[SafeText, Field(max_length=20)] | None = None
    kind: Kind = Kind.GOODS
    mode: DeliveryMode = DeliveryMode.PARCEL
    category: Text120 | None = None
    price: Price
    currency: Currency = "CNY"
    shipping: Annotated[Decimal, Field(ge=0, le=Decimal("999999"), decimal_places=4)] = Decimal(0)
    pack: Text120 | None = None
    on_hand: OnHand | None = None
    level: Level | None = None
    location: Text120 = ""
    version: Annotated[int, Field(ge=0, le=2**62)] | None = None
    reported_at: Instant | None = None
    city: Annotated[SafeText, Field(max_length=80)] | None = None
    department: Annotated[SafeText, Field(max_length=80)] | None = None
    image_url: Annotated[SafeText, Field(max_length=1000)] | None = None
    url: Annotated[SafeText, Field(max_length=1000)] | None = None
    description: Annotated[SafeText, Field(max_length=4000)] | None = None
    attributes: dict[Annotated[SafeText, Field(max_length=80)], Annotated[SafeText, Field(max_length=500)]] = Field(
        default_factory=dict, max_length=100
    )
    active: bool = True
    external_id: Annotated[SafeText, Field(min_length=1, max_length=200)] | None = None
    family_id: Annotated[SafeText, Field(min_length=1, max_length=200)] | None = None


class ListingsQuery(Input):
    """`replace`: the body is the whole assortment, and what it does not name is taken off sale. A replacement that
    would take off a large part is held back until it comes with `any_share`."""

    mode: Mode = "partial"
    any_share: bool = False


class ListingResult(View):
    """What became of one item, in the order sent. `row` is its number in a table, the header not counted. `applied`:
    the listing is new or changed. `unchanged`: it is what we have. `invalid`: see `detail`."""

    row: int | None = None
    sku: str | None
    result: Literal["applied", "unchanged", "invalid"]
    detail: str | None = None


class ListingResults(View):
    """`unlisted`: how many a replacement took off sale; `held_back`: why it took none although some were missing."""

    results: list[ListingResult]
    unlisted: int
    held_back: str | None


Item = tuple[int | None, ListingIn | BadRow]
_validate = VendorListing.__pydantic_validator__.validate_python


@routes.post(
    "/vendor/listings",
    scope="vendor",
    summary="Send listings: {listings: [{sku, title, price, ...}]}, NDJSON of listings, or a CSV, TSV or XLSX table",
    raw_body=f"application/json, application/x-ndjson, {', '.join(connectors.TABLE_TYPES)}",
    query=ListingsQuery,
    answer=ListingResults,
)
async def send_listings(call: Call[None, ListingsQuery]) -> web.StreamResponse:
    """Take the caller's own listings; answers when they are durable."""
    upload = Upload(call.vendor_id, call.query.mode)
    items = _items(call.request)
    piece = await _piece(items)  # what cannot be read at all is refused before anything begins
    await upload.begin()
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as kept:
        try:
            count = 0
            while piece:
                count += len(piece)
                if count > MOST_ROWS:
                    raise TooLarge(f"at most {MOST_ROWS} listings a call; what came before is applied", code="too_many")
                for (row, _), judged in zip(piece, await upload.take([item for _, item in piece]), strict=True):
                    kept.write(orjson.dumps({"row": row, **asdict(judged)}) + b"\n")
                piece = await _piece(items)
        except HubError as error:
            await upload.give_up(str(error))
            raise
        except BaseException:
            await upload.give_up("the upload broke off")
            raise
        unlisted, held_back = await upload.finish(any_share=call.query.any_share)
        kept.seek(0)
        if "text/csv" in call.request.headers.get("Accept", ""):
            return await _report(call.request, kept)
        return await _answer(call.request, kept, unlisted, held_back)


async def _piece(items: AsyncIterator[Item]) -> list[Item]:
    piece: list[Item] = []
    async for item in items:
        piece.append(item)
        if len(piece) == PIECE:
            break
    return piece


async def _items(request: web.Request) -> AsyncIterator[Item]:
    """The items of the body, whatever it is."""
    if request.content_type in JSON_LINES:
        async for line in lines(request):
            yield None, _judge(line)
    elif request.content_type in connectors.TABLE_TYPES:
        async for rows in connectors.uploaded_listings(bodies.chunks(request), clock.now()):
            for row in rows:
                yield row
    else:
        for given in _listings(await bodies.whole(request)):
            yield None, _judge(given)


def _listings(raw: bytes) -> Sequence[Any]:
    try:
        body = orjson.loads(raw)
    except ValueError as error:
        raise Malformed(f"the body is not valid JSON: {error}", code="bad_json") from None
    if not isinstance(body, dict) or not isinstance(body.get("listings"), list):
        raise _invalid("/listings", "the body is an object with a list `listings`")
    if unknown := sorted(body.keys() - {"listings"}):
        raise _invalid(f"/{unknown[0]}", "there is no such field")
    if len(body["listings"]) > MOST:
        raise TooLarge(f"at most {MOST} listings a call; send fewer, NDJSON or a table", code="too_many")
    found: list[Any] = body["listings"]
    return found


def _invalid(pointer: str, detail: str) -> Rejected:
    return Rejected(f"the body was refused; {detail}", code="invalid", faults=(Fault(pointer, detail),))


def _judge(given: Any) -> ListingIn | BadRow:
    """The item as a listing, or what is wrong with it."""
    sku = given.get("sku") if isinstance(given, dict) else None
    named = sku[:128] if isinstance(sku, str) and sku else None
    raw = str(given)[:2000]
    if isinstance(given, Unreadable):
        return BadRow(reason=str(given), raw=raw)
    try:
        said: VendorListing = _validate(given)
        fields = said.model_dump(exclude_unset=True, exclude_none=True)
        return ListingIn.model_validate({"vendor_sku": fields.pop("sku"), **fields})
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = "".join(f"/{part}" for part in found["loc"]).replace("/vendor_sku", "/sku")
        return BadRow(reason=found["msg"].removeprefix("Value error, ")[:300], pointer=where, vendor_sku=named, raw=raw)


async def _answer(request: web.Request, kept: Any, unlisted: int, held_back: str | None) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
    await response.prepare(request)
    await response.write(b'{"results":[')
    first = True
    while some := kept.readlines(1 << 16):
        await response.write((b"" if first else b",") + b",".join(line.rstrip(b"\n") for line in some))
        first = False
    await response.write(b'],"unlisted":%d,"held_back":%s}' % (unlisted, orjson.dumps(held_back)))
    await response.write_eof()
    return response


async def _report(request: web.Request, kept: Any) -> web.StreamResponse:
    """One line a row, for a spreadsheet: UTF-8 with a mark, cells that look like formulas made harmless."""
    headers = {
        "Content-Type": "text/csv; charset=utf-8",
        "Content-Disposition": 'attachment; filename="listings-report.csv"',
    }
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await response.write("\ufeffrow,sku,result,detail\r\n".encode())
    while some := kept.readlines(1 << 16):
        text = io.StringIO()
        writer = csv.writer(text)
        for line in some:
            said = orjson.loads(line)
            writer.writerow([cell(said[name]) for name in ("row", "sku", "result", "detail")])
        await response.write(text.getvalue().encode())
    await response.write_eof()
    return response
