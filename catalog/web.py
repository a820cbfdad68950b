"""The catalogue over HTTP for malls and staff: search, products, availability, changes, clinics, the assortment.

Which mall asks comes from its key alone; it decides which part of the catalogue is the mall's assortment, and which
listings its own parity policy keeps it from buying."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import time
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
from aiohttp import web

from catalog import assortments, changes, finding, reading, wording
from catalog.assortments import Assortment
from catalog.contracts import ChangesPage
from catalog.folding import plain
from catalog.search import NO_FACETS
from catalog.segment import query_tokens, terms
from catalog.views import (
    AssortmentView,
    AvailabilityQuery,
    AvailabilityView,
    ChangesQuery,
    ChangesView,
    ClinicsQuery,
    LookupIn,
    LookupView,
    ProductPage,
    ProductsQuery,
    ProductView,
    SlotPage,
    SlotsQuery,
    SuggestQuery,
    SuggestView,
)
from catalog.wish import Order, Wish
from hub.kernel import clock, conditional
from hub.kernel.errors import Fault, NotFound, Rejected
from hub.kernel.types import gtin14, parse_int_id, public_id
from hub.kernel.web import Answer, Call, Routes

routes = Routes("catalogue")
READERS = ("mall", "staff")
POLL_S = 0.5  # how often a waiting reader of changes looks again
STREAM_S = 900.0  # a stream ends after this; readers come back with Last-Event-ID


def _mall(call: Call[Any, Any]) -> int | None:
    """The calling mall; None for staff, who see everything."""
    return call.mall_id if call.principal.scope == "mall" else None


async def _held(call: Call[Any, Any]) -> frozenset[int]:
    return await reading.held_listings(_mall(call))


async def _sold(call: Call[Any, Any]) -> Assortment | None:
    return await assortments.of_mall(_mall(call))


def _path_id(prefix: str, text: str) -> int:
    try:
        return parse_int_id(prefix, text)
    except ValueError:
        raise NotFound(f"there is no such id; ids look like {prefix}_123", code="no_such_id") from None


def _vendor_id(vendor: str | None) -> int | None:
    try:
        return parse_int_id("vnd", vendor or "")
    except ValueError:
        return None


def _asked(q: str) -> Wish | None:
    """The words of a search, or the GTIN that it is; None when it holds no word at all and so finds nothing."""
    digits = q.replace(" ", "").replace("-", "")
    if digits.isascii() and digits.isdigit():
        with contextlib.suppress(ValueError):
            return Wish(gtin=gtin14(digits))
    words = tuple(terms(query_tokens(q)))
    return Wish(terms=words, phrases=tuple(dict.fromkeys((q.lower(), plain(q).lower())))) if words or not q else None


def _wish(query: ProductsQuery, reader: int, q: str) -> Wish | None:
    """`reader`: the mall that asks, 0 for staff."""
    asked = _asked(q)
    if asked is None:
        return None
    vendor_id = _vendor_id(query.vendor)
    brand_terms = terms(query_tokens(query.brand)) if query.brand else []
    return replace(
        asked,
        kind=query.kind,
        category=query.category,
        brand=query.brand,
        brand_terms=tuple(term._replace(prefix=False) for term in brand_terms),
        vendor=query.vendor if vendor_id is None else None,
        vendor_id=vendor_id,
        price_min=query.price_min,
        price_max=query.price_max,
        in_stock=query.in_stock,
        mode=query.mode,
        city=query.city,
        zone=None if query.zone is None else (query.zone, reader),
    )


_CORRECTED = re.compile(r"~([0-9a-f]{8})\.([A-Za-z0-9_-]+)\.(.+)")  # a cursor of another query than the one typed


async def _page(
    q: str, wished: Callable[[str], Wish | None], sort: Order | None, cursor: str | None, limit: int, facets: bool,
    call: Call[Any, Any],
) -> bytes:  # fmt: skip
    """The page of query `q`; `wished` makes the wish of a query. One that finds nothing and holds a word that no title
    has is answered by what it may have meant, and so are its further pages."""
    now = clock.now()
    held, sold = list(await _held(call)), await _sold(call)

    async def find(text: str, after: str | None) -> finding.Found:
        wish = wished(text)
        if wish is None:
            return finding.Found([], None, 0, False, NO_FACETS if facets else None, now)
        return await finding.find(replace(wish, assortment=sold), sort, after, limit, held, now, facets)

    meant: str | None = None
    if cursor is not None and cursor.startswith("~"):
        meant, cursor = _read_corrected(cursor, q)
    found = await find(q if meant is None else meant, cursor)
    if not found.items and found.next is None and cursor is None:
        for text in await wording.corrections(q):
            other = await find(text, None)
            if other.items:
                meant, found = text, other
                break
    following = found.next
    if following is not None and meant is not None:
        following = f"~{_mark(q)}.{base64.urlsafe_b64encode(meant.encode()).rstrip(b'=').decode()}.{following}"
    tail = [f'"next":{_quoted(following)}']
    if meant is not None:
        tail.append(f'"corrected":{orjson.dumps({"from": q, "to": meant}).decode()}')
    if found.total is not None:
        tail.append(f'"total":{found.total}')
    if found.facets is not None:
        tail.append(f'"facets":{found.facets}')
    tail.append(f'"approximate":{"true" if found.approximate else "false"}')
    if found.facets is not None:
        tail.append(f'"facets_as_of":"{found.facets_at.isoformat()}"')
    tail.append(f'"as_of":"{now.isoformat()}"')  # moments come last: tags leave them out
    return f'{{"items":[{",".join(found.items)}],{",".join(tail)}}}'.encode()


def _mark(q: str) -> str:
    return f"{zlib.crc32(q.encode()):08x}"


def _read_corrected(cursor: str, q: str) -> tuple[str, str]:
    """The corrected query that a cursor goes on with, and its own cursor."""
    match = _CORRECTED.fullmatch(cursor)
    with contextlib.suppress(ValueError):
        if match is not None and match[1] == _mark(q):
            return base64.urlsafe_b64decode(match[2] + "=" * (-len(match[2]) % 4)).decode(), match[3]
    why = "this is not a cursor of this search; begin again without one"
    raise Rejected(why, code="bad_cursor", faults=(Fault("/cursor", why),))


def _quoted(text: str | None) -> str:
    return "null" if text is None else f'"{text}"'


_SORTS = {"price": Order.PRICE, "-price": Order.PRICE_DOWN, "newest": Order.NEWEST}


@routes.get(
    "/products", scope=READERS, summary="Search and browse", query=ProductsQuery, answer=ProductPage, conditional=True
)
async def search(call: Call[None, ProductsQuery]) -> web.Response:
    """Words are all needed; an empty `q` browses. Products without stock come last; parity never counts. Where nothing
    holds a word of `q`, what it may have meant is searched instead, and `corrected` says so."""
    query = call.query
    reader = call.mall_id if call.principal.scope == "mall" else 0
    sort = _SORTS.get(query.sort)
    page = await _page(query.q, partial(_wish, query, reader), sort, query.cursor, query.limit, query.facets, call)
    return conditional.answer(call.request, page, conditional.tag_of(page))


@routes.get("/products/suggest", scope=READERS, summary="Queries to go on to", query=SuggestQuery, answer=SuggestView)
async def suggest(call: Call[None, SuggestQuery]) -> bytes:
    """The last word is completed, as it is written or by its pinyin; those with the most products come first."""
    found, at = await wording.suggest(call.query.q, call.query.limit)
    items = [{"text": one.text, "products": one.products} for one in found]
    return orjson.dumps({"items": items, "as_of": at})


@routes.post("/products/lookup", scope=READERS, summary="Many products at once", body=LookupIn, answer=LookupView)
async def lookup(call: Call[LookupIn, None]) -> bytes:
    """By id or by GTIN; what nobody knows is listed in `missing`."""
    now = clock.now()
    body = call.body
    if body.ids is not None:
        wanted: dict[str, int | None] = {text: parse_int_id("prd", text) for text in body.ids}
    else:
        gtins = list(dict.fromkeys(body.gtins or ()))
        known = await reading.products_of_gtins(gtins)
        wanted = {gtin: known.get(gtin) for gtin in gtins}
    numbers = list(dict.fromkeys(number for number in wanted.values() if number is not None))
    held, sold = await _held(call), await _sold(call)
    texts = await reading.product_texts(numbers, held, sold)
    moved = await reading.moved_to(numbers, texts, sold)
    if moved:
        texts |= await reading.product_texts(sorted(set(moved.values()) - texts.keys()), held, sold)
        moved = {old: new for old, new in moved.items() if new in texts}
    missing = [text for text, n in wanted.items() if n is None or moved.get(n, n) not in texts]
    if moved:
        numbers = list(dict.fromkeys(moved.get(number, number) for number in numbers))
    items = ",".join(texts[number] for number in numbers if number in texts)
    merged = {public_id("prd", old): public_id("prd", new) for old, new in moved.items()}
    rest = f'"missing":{orjson.dumps(missing).decode()},"merged":{orjson.dumps(merged).decode()}'
    return f'{{"items":[{items}],{rest},"as_of":"{now.isoformat()}"}}'.encode()


@routes.get(
    "/products/{id}", scope=READERS, summary="One product with its offers", answer=ProductView, conditional=True
)
async def product(call: Call[None, None]) -> web.Response | Answer:
    """The id of a product that went into another answers 307 with the Location of that one, and `merged_into`."""
    number = _path_id("prd", call.path["id"])
    held, sold = await _held(call), await _sold(call)
    try:
        found = await reading.product(number, held, sold)
    except NotFound:
        there = await _moved(number, {}, held, sold)
        if there is None:
            raise
        return there
    there = await _moved(number, {number: found.decode()}, held, sold) if b'"listed":false' in found else None
    return there or conditional.answer(call.request, found, conditional.tag_of(found))


async def _moved(number: int, texts: dict[int, str], held: frozenset[int], sold: Assortment | None) -> Answer | None:
    """Where a product went, if it did and the reader's assortment has the other."""
    moved = await reading.moved_to([number], texts, sold)
    if not moved or (sold is not None and not await reading.product_texts(list(moved.values()), held, sold)):
        return None
    now = public_id("prd", moved[number])
    there = {"id": public_id("prd", number), "merged_into": now}
    return Answer(there, status=307, headers={"Location": f"/v1/products/{now}"})


@routes.get(
    "/availability", scope=READERS, summary="What is left of one listing", query=AvailabilityQuery,
    answer=AvailabilityView,
)  # fmt: skip
async def availability(call: Call[None, AvailabilityQuery]) -> bytes:
    query = call.query
    listing_id = parse_int_id("lst", query.listing_id)
    refused, sold = await reading.refused_listings(_mall(call)), await _sold(call)
    return orjson.dumps(await reading.availability(listing_id, query.qty, query.area, refused, sold))


@routes.get(
    "/changes", scope=READERS, summary="Every change, in commit order", query=ChangesQuery, answer=ChangesView,
    conditional=True,
)  # fmt: skip
async def changes_page(call: Call[None, ChangesQuery]) -> web.Response:
    """With `wait` an empty answer is held back until something changes, up to 25 s. The tag says how far the log had
    come: a client that has this very page is told so without anything being read."""
    query = call.query
    deadline = time.monotonic() + query.wait
    asked = f"-{zlib.crc32(f'{_mall(call)} {query.after} {query.limit}'.encode()):08x}"  # never another page's tag
    heads = [tag.removesuffix(asked) for tag in conditional.known_tags(call.request) if tag.endswith(asked)]
    unless = next((int(head) for head in heads if re.fullmatch("[0-9]{1,18}", head)), None)
    async for page in _changes(call, query.after, query.limit, deadline, unless):
        if page.items or time.monotonic() >= deadline:
            break
    body = b"" if page.unchanged else orjson.dumps({"items": page.items, "next": page.next, "full": page.full})
    return conditional.answer(call.request, body, f'W/"{page.head}{asked}"')


async def _changes(
    call: Call[Any, Any], after: str | None, limit: int, deadline: float, unless: int | None = None
) -> AsyncIterator[ChangesPage]:
    """Pages of changes as they come, empty ones too, until the deadline or until nobody listens."""
    mall_id = _mall(call)
    views = partial(reading.product_views, mall_id=mall_id)
    while True:
        page = await changes.changes_after(after, limit, views, mall_id, unless)
        yield page
        if not page.unchanged:
            after = page.next
        if time.monotonic() >= deadline or call.request.transport is None:
            return
        if not page.items:
            await asyncio.sleep(min(POLL_S, max(0.0, deadline - time.monotonic())))


@routes.get(
    "/changes/stream", scope=READERS, summary="The same as server-sent events", query=ChangesQuery,
    answer="text/event-stream",
)  # fmt: skip
async def changes_stream(call: Call[None, ChangesQuery]) -> web.StreamResponse:
    """Each event's id is the cursor after it; a browser sends the last one back by itself as Last-Event-ID."""
    after = call.request.headers.get("Last-Event-ID") or call.query.after
    pages = _changes(call, after, call.query.limit, time.monotonic() + STREAM_S)
    first = await anext(pages)  # a bad cursor is refused before the stream begins
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(call.request)
    await response.write(_events(first))
    async for page in pages:
        await response.write(_events(page))
    await response.write_eof()
    return response


def _events(page: ChangesPage) -> bytes:
    """One event a change, each with the cursor after it: a stream that is cut anywhere goes on after the last event
    that arrived whole, and every stretch of it is progress. A page without changes moves the cursor alone."""
    if not page.items:
        return b": nothing new\nid: " + page.next.encode() + b"\n\n"
    return b"".join(
        b"id: " + cursor.encode() + b"\nevent: change\ndata: " + orjson.dumps(item) + b"\n\n"
        for item, cursor in zip(page.items, page.cursors, strict=True)
    )


@routes.get("/clinics", scope=READERS, summary="Services sold by appointment", query=ClinicsQuery, answer=ProductPage)
async def clinics(call: Call[None, ClinicsQuery]) -> bytes:
    query = call.query

    def wished(q: str) -> Wish | None:
        asked = _asked(q)
        if asked is None:
            return None
        return replace(asked, mode="appointment", city=query.city, department=query.department)

    return await _page(query.q, wished, None, query.cursor, query.limit, False, call)


@routes.get("/clinics/{id}/slots", scope=READERS, summary="Slots that are free now", query=SlotsQuery, answer=SlotPage)
async def slots(call: Call[None, SlotsQuery]) -> bytes:
    """Earliest first. The ids are what an order line takes as `slot_id`."""
    query = call.query
    after = _read_slot_cursor(query.cursor) if query.cursor else None
    wish = reading.SlotWish(query.city, query.department, query.start, query.end, after, query.limit + 1)
    service, held = _path_id("prd", call.path["id"]), await _held(call)
    rows, now = await reading.free_slots(service, wish, held, await _sold(call))
    following = None
    if len(rows) > query.limit:
        last = rows[query.limit - 1]
        following = base64.urlsafe_b64encode(f"{last[0].isoformat()}|{last[1]}".encode()).decode()
    items = ",".join(row[2] for row in rows[: query.limit])
    return f'{{"items":[{items}],"next":{_quoted(following)},"as_of":"{now.isoformat()}"}}'.encode()


def _read_slot_cursor(cursor: str) -> tuple[datetime, int]:
    try:
        start, _, slot = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().partition("|")
        moment = datetime.fromisoformat(start)
        if moment.tzinfo is None or not slot.isascii() or not slot.isdigit() or len(slot) > 18:
            raise ValueError("not where a page of slots ends")
        return moment.astimezone(UTC), int(slot)
    except (ValueError, OverflowError):
        why = "this is not a cursor of these slots; begin again without one"
        raise Rejected(why, code="bad_cursor", faults=(Fault("/cursor", why),)) from None


@routes.get(
    "/metrics/assortment", scope="staff", summary="Live, orderable products of each kind", answer=AssortmentView
)
async def assortment(_call: Call[None, None]) -> bytes:
    return orjson.dumps(await reading.assortment())
