"""What procurement staff do with a pool of voucher codes: fill it from a list or a table, each line judged on its own,
and look at it. Codes go in and come out masked; only the buyer of one ever sees it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Annotated, Any, Literal

import asyncpg
import orjson
from pydantic import Field

from connectors import api as connectors
from connectors import directory, store, vouchers
from connectors.store import vouchers as sql
from connectors.tables import Limits, Reading, Record, land, plain, records, take
from connectors.voucher_pool.adapter import Adapter as PoolAdapter
from connectors.vouchers import NewCode, Taken
from hub.kernel import audit, bodies
from hub.kernel.db import Tx, uow
from hub.kernel.errors import Fault, Malformed, NotFound, Rejected, TooLarge
from hub.kernel.types import Input, SafeText, View
from hub.kernel.web import Call, Routes

routes = Routes("connectors")

MOST = 20_000  # codes a call
_LIMITS = Limits(total_bytes=16 * 2**20, rows=MOST, columns=50)
_COLUMNS = {
    "code": ("code", "voucher", "voucher code", "券码", "兑换码", "卡号"),
    "pin": ("pin", "password", "密码", "卡密"),
    "sku": ("sku", "商品编码", "货号"),
    "valid_until": ("valid_until", "expires", "expiry date", "有效期", "有效期至", "到期日"),
}
_NAMES = {plain(name): field for field, names in _COLUMNS.items() for name in names}
_READING = Reading(wanted=frozenset(name for names in _COLUMNS.values() for name in names))
_SPOILT = re.compile(r"\d(\.\d+)?E\+?\d+")  # what a spreadsheet makes of a long number


class TakeInQuery(Input):
    """The SKU of codes that name none; not needed where the connection sells one."""

    sku: Annotated[SafeText, Field(min_length=1, max_length=128)] | None = None


class CodesQuery(Input):
    """A window over a pool's codes; `next` of an answer goes into `cursor`."""

    cursor: Annotated[int, Field(ge=0, le=2**62)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    sku: Annotated[SafeText, Field(min_length=1, max_length=128)] | None = None
    state: Literal["free", "handed", "void"] | None = None


class CodeResult(View):
    """What became of one code, by its line (the first is 1, a header not counted). `duplicate`: it was sent twice, or
    the pool has or had it."""

    line: int
    result: Literal["taken", "duplicate", "refused"]
    detail: str | None = None


class CodesTaken(View):
    """What became of the codes that were sent."""

    taken: int
    duplicates: int
    refused: int
    results: list[CodeResult]


class CodeCount(View):
    """The codes of one SKU. `expired`: no longer good for as many days as the connection promises."""

    sku: str
    free: int
    expired: int
    handed: int
    void: int


class CodeShown(View):
    """One code, masked, and what became of it. `shown_at`: when its buyer first got it."""

    id: int
    sku: str
    masked: str
    state: str
    valid_until: datetime | None
    po_number: str | None
    line_no: int | None
    shown_at: datetime | None
    taken_in_at: datetime


class PoolCodes(View):
    """A piece of a pool's codes, newest first, and the counts of all of them."""

    counts: list[CodeCount]
    items: list[CodeShown]
    next: str | None


@routes.post(
    "/connections/{id}/codes",
    scope="staff",
    summary="Fill a pool of voucher codes: {codes: [{code, sku?, pin?, valid_until?}]}, or such columns as CSV or XLSX",
    query=TakeInQuery,
    raw_body="application/json, text/csv, application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    answer=CodesTaken,
)
async def take_in(call: Call[Any, TakeInQuery]) -> CodesTaken:
    """Every line is judged on its own; all that can be used is taken in together. Sending the same again changes
    nothing."""
    connection_id = _number(call.path["id"])
    async with uow(call.principal.tenant) as tx:
        pool = await _pool(tx, connection_id)
    if pool.vendor is not None:
        raise Rejected("this connection's codes are issued by its vendor", code="no_pool")
    only = next(iter(pool.articles)) if len(pool.articles) == 1 else None
    sku = call.query.sku or only
    if call.request.content_type == "application/json":
        given = _listed(await bodies.whole(call.request))
    else:
        given = await _tabled(call)
    judged = await asyncio.to_thread(lambda: [_judged(place, item, sku, pool.zone) for place, item in given])
    unread = [one for one in judged if isinstance(one, Taken)]
    new = [one for one in judged if isinstance(one, NewCode)]
    async with uow(call.principal.tenant) as tx:
        taken, counts = await vouchers.take_in(tx, connection_id, new, pool.articles.keys())
        results = sorted([*unread, *taken], key=lambda result: result.place)
        sums = Counter(result.result for result in results)
        facts = {"lines": len(results), "taken": sums["taken"], "skus": dict(sorted(counts.items()))}
        await audit.record(tx, call.principal.actor, "codes.take_in", f"connection:{connection_id}", facts)
        if counts:
            await connectors.sync_now(tx, connection_id)
    return CodesTaken(
        taken=sums["taken"],
        duplicates=sums["duplicate"],
        refused=sums["refused"],
        results=[CodeResult(line=r.place, result=r.result, detail=r.detail) for r in results],
    )


@routes.get(
    "/connections/{id}/codes",
    scope="staff",
    summary="A pool's voucher codes, masked, newest first, with counts by state",
    query=CodesQuery,
    answer=PoolCodes,
    tx=True,
)
async def codes(call: Call[Any, CodesQuery]) -> PoolCodes:
    connection_id, query = _number(call.path["id"]), call.query
    pool = await _pool(call.tx, connection_id)
    counts = await sql.code_counts(call.tx, connection_id, call.tx.now + pool.good_for)
    before = query.cursor if query.cursor is not None else 2**62
    rows = await sql.code_rows(call.tx, connection_id, query.sku, query.state, before, query.limit + 1)
    shown = [_shown(connection_id, row) for row in rows[: query.limit]]
    return PoolCodes(
        counts=[CodeCount(**row) for row in counts],
        items=shown,
        next=str(shown[-1].id) if len(rows) > query.limit else None,
    )


def _shown(connection_id: int, row: asyncpg.Record) -> CodeShown:
    return CodeShown(
        id=row["id"],
        sku=row["sku"],
        masked=vouchers.masked(connection_id, row["sealed"]),
        state=row["state"],
        valid_until=row["valid_until"],
        po_number=row["po_number"],
        line_no=row["line_no"],
        shown_at=row["handed_at"],
        taken_in_at=row["taken_in_at"],
    )


async def _pool(tx: Tx, connection_id: int) -> PoolAdapter:
    """The connection's pool; raises NotFound, and Rejected for a connection that has none."""
    row = await store.connection(tx, connection_id)
    if row is None:
        raise NotFound("there is no such connection", code="no_connection")
    made = directory.adapter_of(row) if row["connector"] == "voucher_pool" else None
    if not isinstance(made, PoolAdapter):
        raise Rejected("this connection has no pool of codes", code="no_pool")
    return made


def _listed(raw: bytes) -> list[tuple[int, Any]]:
    """The items of a JSON body, each still to be judged."""
    try:
        body = orjson.loads(raw)
    except ValueError as error:
        raise Malformed(f"the body is not valid JSON: {error}", code="bad_json") from None
    items = body.get("codes") if isinstance(body, dict) else None
    unknown = sorted(body.keys() - {"codes"}) if isinstance(body, dict) else []
    if unknown or not isinstance(items, list):
        pointer, detail = (f"/{unknown[0]}", "there is no such field") if unknown else ("/codes", "`codes` is a list")
        raise Rejected(f"the body was refused; {detail}", code="invalid", faults=(Fault(pointer, detail),))
    if len(items) > MOST:
        raise TooLarge(f"at most {MOST} codes a call", code="too_many_codes")
    return list(enumerate(items, 1))


async def _tabled(call: Call[Any, Any]) -> list[tuple[int, Any]]:
    """The rows of a table, each still to be judged. Raises Malformed and TooLarge."""
    with await land(bodies.chunks(call.request), _LIMITS) as spooled:
        rows: list[Record] = await asyncio.to_thread(lambda: take(records(spooled, _READING, _LIMITS), MOST + 1))
    if rows and not any(_NAMES.get(plain(name)) == "code" for name in rows[0].fields):
        raise Malformed("the table has no column `code`", code="no_code_column")
    given: list[tuple[int, Any]] = [(row.number, row.reason or _fields(row.fields)) for row in rows]
    long = [item for _, item in given if isinstance(item, dict) and re.fullmatch(r"\d{16,}", item.get("code", ""))]
    if long and all(set(item["code"][15:]) == {"0"} for item in long):  # a number keeps 15 digits
        for item in long:
            item["code"] = f"{item['code'][0]}E+{len(item['code']) - 1}"
    return given


def _fields(row: Mapping[str, str]) -> dict[str, str]:
    return {field: value for name, value in row.items() if (field := _NAMES.get(plain(name))) and value.strip()}


def _judged(place: int, item: Any, sku: str | None, zone: tzinfo) -> NewCode | Taken:
    """The item as a code, or the result that says why it is none; whether the pool takes it is its own question."""
    if not isinstance(item, dict):
        return Taken(place, "refused", item if isinstance(item, str) else "an item is an object")
    if unknown := sorted(str(name) for name in item.keys() - _COLUMNS.keys()):
        return Taken(place, "refused", f"there is no field {unknown[0][:60]!r}")
    said = {name: value for name, value in item.items() if value is not None}
    if wrong := [name for name, value in said.items() if not isinstance(value, str) or "\x00" in value]:
        return Taken(place, "refused", f"{wrong[0]} is text")
    code = said.get("code", "").strip()
    if _SPOILT.fullmatch(code):
        return Taken(place, "refused", "a spreadsheet turned the code into a number; format the column as text")
    try:
        until = vouchers.moment(said["valid_until"], zone) if said.get("valid_until", "").strip() else None
    except ValueError as error:
        return Taken(place, "refused", str(error))
    return NewCode(place, (said.get("sku") or sku or "").strip(), code, said.get("pin", "").strip() or None, until)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise NotFound("there is no such connection", code="no_connection")
    return int(text)
