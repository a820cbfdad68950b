"""NDJSON from a caller, line by line, in constant memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
from aiohttp import web

from hub.kernel import bodies

LONGEST_LINE = 64 * 1024


async def lines(request: web.Request) -> AsyncIterator[Any]:
    """The parsed lines of the request body; a line that cannot be parsed comes as a string that says so, and blank
    lines do not come at all."""
    held = b""
    skipping = False
    async for chunk in bodies.chunks(request):
        *whole, held = (held + chunk).split(b"\n")
        for line in whole:
            if skipping:
                skipping = False
            elif line.strip():
                yield _parsed(line)
        if len(held) > LONGEST_LINE:
            if not skipping:
                yield Unreadable("the line is longer than 64 KiB")
            held, skipping = b"", True
    if held.strip() and not skipping:
        yield _parsed(held)


class Unreadable(str):
    """Stands in the place of a line that is not JSON, and says why."""


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except ValueError as error:
        return Unreadable(f"the line is not valid JSON: {error}")
