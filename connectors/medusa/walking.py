"""Walking a list of Medusa's that only knows `offset` and `limit`, in the order of ids, without losing a row: each page
begins with the last row of the page before. If that row stands elsewhere now, because rows before it were deleted, the
walk goes back to where it left off. The same place can be taken up later from a cursor."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors.contracts import Cursor
from hub.kernel.errors import Broken

Fetch = Callable[[int, int], Awaitable[tuple[list[dict[str, Any]], int, datetime]]]
"""(offset, limit) -> rows, how many there are in all, when they were asked for."""


@dataclass(slots=True)
class Stand:
    """Where a walk stands: after the row `after`, the `skip` rows that were before the next one."""

    skip: int = 0
    after: str | None = None
    number: int = 0  # pages done

    def cursor(self) -> Cursor:
        """As JSON."""
        return {"skip": self.skip, "after": self.after, "number": self.number}

    @classmethod
    def at(cls, cursor: Cursor) -> Stand:
        """Where a saved cursor stands."""
        after = cursor.get("after")
        return cls(int(cursor.get("skip", 0)), str(after) if after is not None else None, int(cursor.get("number", 0)))


@dataclass(frozen=True, slots=True)
class Walked:
    """One page of rows; `last` when there are no more."""

    rows: list[dict[str, Any]]
    sent_at: datetime
    last: bool


async def walk(what: str, fetch: Fetch, size: int, stand: Stand) -> AsyncGenerator[Walked, None]:
    """The pages after `stand`, which moves along. Raises Broken for a page that comes again, for rows that are
    missing, and when the place to go on from cannot be found any more."""
    while True:
        rows, total, sent_at, skip, begin = await _page(what, fetch, size + 1, stand)
        last = len(rows) <= size
        if last and skip + len(rows) < total:
            raise Broken(f"medusa announced {total} {what} and sent {skip + len(rows)}", code="rows_missing")
        fresh = rows[begin:]
        if not fresh and not last:
            raise Broken(f"medusa sent the same page of {what} again", code="page_repeated")
        if fresh:
            stand.skip, stand.after = skip + len(rows), _id(what, rows[-1])
        stand.number += 1
        yield Walked(fresh, sent_at, last)
        if last:
            return


async def _page(
    what: str, fetch: Fetch, take: int, stand: Stand
) -> tuple[list[dict[str, Any]], int, datetime, int, int]:
    skip = max(0, stand.skip - 1) if stand.after is not None else 0
    back = max(1, take // 2)
    while True:
        rows, total, sent_at = await fetch(skip, take)
        ids = [_id(what, row) for row in rows]
        begin = _after(ids, stand.after, skip == 0)
        if begin is not None:
            return rows, total, sent_at, skip, begin
        if skip == 0:
            raise Broken(f"medusa's list of {what} has changed; the walk must begin anew", code="page_moved")
        skip, back = max(0, skip - back), min(2 * back, max(1, take - 1))


def _after(ids: list[str], last: str | None, from_start: bool) -> int | None:
    """Where the rows after `last` begin, or None when these do not show it. Medusa's ids sort by time."""
    if last is None:
        return 0
    if last in ids:
        return ids.index(last) + 1
    if ids != sorted(ids) or not (from_start or (ids and ids[0] < last)):
        return None
    return sum(each < last for each in ids)


def _id(what: str, row: dict[str, Any]) -> str:
    found = row.get("id")
    if not isinstance(found, str | int) or found == "":
        raise Broken(f"medusa sent one of its {what} without an id", code="bad_shape")
    return str(found)
