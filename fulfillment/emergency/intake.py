"""The ways in which demands arrive: JSON, a posted form, a CSV table. Whatever it is becomes numbered lines, each to be
judged on its own."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from fulfillment.allocation.text import Sheet
from fulfillment.emergency.demands import Channel
from fulfillment.emergency.models import MOST_LINES, DemandIn
from hub.kernel import bodies
from hub.kernel.errors import Fault, Malformed, Rejected, TooLarge

MEDIA = "application/json, application/x-www-form-urlencoded, text/csv"
FORM = "application/x-www-form-urlencoded"
_NEEDED = ("site", "item", "quantity", "contact", "phone", "address")


async def lines_of(request: web.Request, model: type[DemandIn]) -> tuple[Channel, list[tuple[int, Any]]]:
    """The lines of a request and how they came. Raises Malformed for what is not what it claims to be, Rejected for a
    body or table of another shape, TooLarge for too many lines."""
    raw = await bodies.whole(request)
    if request.content_type == "text/csv":
        return "csv", _table(raw, model)
    if request.content_type == FORM:
        return "form", [(1, _form(raw))]
    try:
        body = orjson.loads(raw)
    except ValueError as error:
        raise Malformed(f"the body is not valid JSON: {error}", code="bad_json") from None
    if not isinstance(body, dict):
        raise _invalid("", "the body is an object with a list `demands`")
    if unknown := sorted(body.keys() - {"demands"}):
        raise _invalid(f"/{unknown[0][:100]}", "there is no such field")
    demands = body.get("demands")
    if not isinstance(demands, list) or not demands:
        raise _invalid("/demands", "`demands` is a list of demands, at least one")
    _few_enough(len(demands))
    return "api", list(enumerate(demands, 1))


def _invalid(pointer: str, detail: str) -> Rejected:
    return Rejected(f"the body was refused; {detail}", code="invalid", faults=(Fault(pointer, detail),))


def _few_enough(count: int) -> None:
    if count > MOST_LINES:
        raise TooLarge(f"at most {MOST_LINES:,} demands a call; send the rest in another", code="too_many_demands")


def _form(raw: bytes) -> dict[str, Any]:
    """The fields of one posted form; empty ones count as not given."""
    try:
        fields = parse_qsl(raw.decode(), keep_blank_values=False, strict_parsing=bool(raw), max_num_fields=50)
    except ValueError as error:
        raise Malformed(f"the form cannot be read: {error}"[:300], code="bad_form") from None
    if len(dict(fields)) < len(fields):
        raise Malformed("a field of the form is given twice", code="bad_form")
    return dict(fields)


def _table(raw: bytes, model: type[DemandIn]) -> list[tuple[int, Any]]:
    """The rows of a table by line, with the header's names; empty cells count as not given."""
    known = tuple(model.model_fields)
    sheet = Sheet("the table", raw, _NEEDED, known)
    if sheet.ignored:
        why = f"column {sheet.ignored[0]!r} is not known; known are {', '.join(known)}"
        raise Rejected(f"the table was refused; {why}", code="bad_column", faults=(Fault("", why),))
    found: list[tuple[int, Any]] = []
    width = len(sheet.header)
    for line, cells in list(sheet.rows())[1:]:
        row: Any = {
            name: cell.strip() for name, cell in zip(sheet.header, cells, strict=False) if name and cell.strip()
        }
        if len(cells) != width:
            row["cells"] = f"{len(cells)}, the header has {width}"  # no such field: the line is invalid, and says so
        found.append((line, row))
    if not found:
        raise _invalid("", "the table has no rows")
    _few_enough(len(found))
    return found
