"""What a vendor sends by its own key: stock figures and listings. Each item is judged on its own and answered in its
place; the answer comes after the commit, and sending the same again changes nothing. A batch is applied in pieces of
500, so a long one neither holds locks long nor loses what came before a cut."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import orjson
from aiohttp import web
from pydantic import Field, ValidationError

from catalog import gathering, stock
from catalog.lines import Unreadable, lines
from connectors.contracts import StockReport
from hub.kernel import bodies, clock
from hub.kernel.db import uow
from hub.kernel.errors import Fault, Malformed, Rejected, Retry, TooLarge
from hub.kernel.types import Input, Instant, Level, SafeText, Sku, View
from hub.kernel.web import Call, Routes

routes = Routes("vendors")

PIECE = 500  # updates a transaction
FEW = 20  # up to so many updates share a transaction with other calls' (see gathering.py)
MOST = 5_000  # updates a JSON call; NDJSON has no such limit
MOST_LINES = 1_000_000
AHEAD = timedelta(minutes=10)  # a report may come from a clock that is this much fast
_IN_MEMORY = 1 << 20


class StockUpdate(Input):
    """One figure. Give `on_hand` or `level`, and `version` or `reported_at` so that the newest wins whatever the
    order of arrival; with neither, the time of receipt counts."""

    sku: Sku
    on_hand: Annotated[int, Field(ge=0, le=100_000_000, strict=True)] | None = None
    level: Level | None = None
    version: Annotated[int, Field(ge=0, le=2**62, strict=True)] | None = None
    reported_at: Instant | None = None
    location: Annotated[SafeText, Field(max_length=120)] | None = None


class UpdateResult(View):
    """What became of one item, in the order sent. `applied`: the figure changed. `unchanged`: it is what we have.
    `stale`: we have a newer one. `unknown_sku`: none of your connections lists it. `invalid`: see `detail`."""

    sku: str | None
    result: Literal["applied", "stale", "unchanged", "unknown_sku", "invalid"]
    detail: str | None = None


class UpdateResults(View):
    results: list[UpdateResult]


_update = StockUpdate.__pydantic_validator__.validate_python
Result = dict[str, Any]


@routes.post(
    "/vendor/stock",
    scope="vendor",
    summary="Report stock: {updates: [{sku, on_hand | level, version | reported_at, location?}]}, or NDJSON of updates",
    raw_body="application/json, application/x-ndjson",
    answer=UpdateResults,
)
async def report_stock(call: Call[None, None]) -> Any:
    """Apply the caller's stock figures; answers when they are durable."""
    request = call.request
    if request.content_type in ("application/x-ndjson", "application/ndjson", "application/jsonl"):
        return await _streamed(call)
    updates = _updates(await bodies.whole(request))
    results: list[Result] = []
    for start in range(0, len(updates), PIECE):
        results += await _apply(call, updates[start : start + PIECE])
    return orjson.dumps({"results": results})


def _updates(raw: bytes) -> list[Any]:
    """The items of a JSON body, each still to be judged."""
    try:
        body = orjson.loads(raw)
    except ValueError as error:
        raise Malformed(f"the body is not valid JSON: {error}", code="bad_json") from None
    if not isinstance(body, dict):
        raise _invalid("", "the body is an object with a list `updates`")
    if unknown := sorted(body.keys() - {"updates"}):
        raise _invalid(f"/{unknown[0]}", "there is no such field")
    updates = body.get("updates")
    if not isinstance(updates, list):
        raise _invalid("/updates", "`updates` is a list of updates")
    if len(updates) > MOST:
        raise TooLarge(f"at most {MOST} updates a call; send fewer, or NDJSON", code="too_many_updates")
    return updates


def _invalid(pointer: str, detail: str) -> Rejected:
    return Rejected(f"the body was refused; {detail}", code="invalid", faults=(Fault(pointer, detail),))


async def _apply(call: Call[None, None], items: Sequence[Any]) -> list[Result]:
    """Judge and apply one piece in one transaction; a piece that meets a busy database is tried again."""
    now = clock.now()
    results: list[Result] = []
    reports: list[StockReport] = []
    places: list[int] = []
    for item in items:
        report = _report(item, now)
        if isinstance(report, dict):
            results.append(report)
            continue
        places.append(len(results))
        reports.append(report)
        results.append({"sku": report.vendor_sku, "result": ""})
    if reports and len(items) <= FEW:
        outcomes = await gathering.apply(call.vendor_id, reports)
    elif reports:
        for left in (2, 1, 0):
            try:
                async with uow(call.principal.tenant) as tx:
                    outcomes = await stock.apply_vendor_reports(tx, call.vendor_id, reports)
                break
            except Retry as error:
                if not left:
                    raise
                await asyncio.sleep(min(error.after, 0.2))
    if reports:
        for place, outcome in zip(places, outcomes, strict=True):
            results[place]["result"] = outcome
    return results


def _report(item: Any, now: datetime) -> StockReport | Result:
    """The item as a report, or the result that says why it is none."""
    if isinstance(item, Unreadable):
        return _refused(None, str(item))
    try:
        update = _update(item)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, found["loc"]))
        return _refused(item, f"{where}: {found['msg']}" if where else found["msg"])
    if (update.on_hand is None) == (update.level is None):
        return _refused(item, "give on_hand or level, exactly one of them")
    if update.reported_at is not None and update.reported_at > now + AHEAD:
        return _refused(item, "reported_at: more than 10 minutes in the future")
    return StockReport.model_construct(
        vendor_sku=update.sku,
        location=update.location or "",
        on_hand=update.on_hand,
        level=update.level,
        version=update.version,
        reported_at=update.reported_at or now,
    )


def _refused(item: Any, detail: str) -> Result:
    sku = item.get("sku") if isinstance(item, dict) else None
    return {"sku": sku[:128] if isinstance(sku, str) else None, "result": "invalid", "detail": detail}


async def _streamed(call: Call[None, None]) -> web.StreamResponse:
    """NDJSON in, one JSON object out. Results are kept aside until the whole request is read: a client that writes
    everything before it reads anything must not block both sides."""
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as kept:
        piece: list[Any] = []
        count = 0

        async def flush() -> None:
            for result in await _apply(call, piece):
                kept.write((b"," if kept.tell() else b"") + orjson.dumps(result))
            piece.clear()

        async for line in lines(call.request):
            count += 1
            if count > MOST_LINES:
                raise TooLarge(
                    f"at most {MOST_LINES} updates a call; what came before is applied", code="too_many_updates"
                )
            piece.append(line)
            if len(piece) == PIECE:
                await flush()
        if piece:
            await flush()
        response = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
        await response.prepare(call.request)
        await response.write(b'{"results":[')
        kept.seek(0)
        while chunk := kept.read(1 << 16):
            await response.write(chunk)
        await response.write(b"]}")
        await response.write_eof()
        return response
