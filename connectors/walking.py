"""Walking a list that only knows `skip` and `take`, in the order of ids, without losing a row: an offset alone hides a
row for each one deleted before it, and the count agrees all the same. So each page begins with the last row of the page
before. If that row stands elsewhere now, because rows before it were deleted, the
walk goes back to where it left off. The same place can be taken up later from a cursor."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors.contracts import Cursor
from hub.kernel.errors import Broken

Fetch = Callable[[int, int], Awaitable[tuple[list[dict[str, Any]], int, datetime]]]
"""(skip, take) -> rows, how many there are in all, when they were asked for."""
Rank = Callable[[str], Any]


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


async def walk(what: str, fetch: Fetch, size: int, stand: Stand, order: Rank = str) -> AsyncGenerator[Walked, None]:
    """The pages after `stand`, which moves along. `what` names the vendor and its rows in errors ("vendure:
    products"). `order` says how the vendor sorts ids (`int` for ids that are numbers, `str` for those that sort as
    text). Raises Broken for a page that comes again, for rows that are missing, and when the place to go on from
    cannot be found any more."""
    while True:
        rows, total, sent_at, skip, begin = await _page(what, fetch, size + 1, stand, order)
        last = len(rows) <= size
        if last and skip + len(rows) < total:
            raise Broken(f"{what}: {total} were announced and {skip + len(rows)} sent", code="rows_missing")
        fresh = rows[begin:]
        if not fresh and not last:
            raise Broken(f"{what}: the same page was sent again", code="page_repeated")
        if fresh:
            stand.skip, stand.after = skip + len(rows), _id(what, rows[-1])
        stand.number += 1
        yield Walked(fresh, sent_at, last)
        if last:
            return


async def _page(
    what: str, fetch: Fetch, take: int, stand: Stand, order: Rank
) -> tuple[list[dict[str, Any]], int, datetime, int, int]:
    skip = max(0, stand.skip - 1) if stand.after is not None else 0
    back = max(1, take // 2)
    while True:
        rows, total, sent_at = await fetch(skip, take)
        ids = [_id(what, row) for row in rows]
        begin = _after(ids, stand.after, skip == 0, order)
        if begin is not None:
            return rows, total, sent_at, skip, begin
        if skip == 0:
            raise Broken(f"{what}: the list has changed; the walk must begin anew", code="page_moved")
        skip, back = max(0, skip - back), min(2 * back, max(1, take - 1))


def _after(ids: list[str], last: str | None, from_start: bool, order: Rank) -> int | None:
    """Where the rows after `last` begin, or None when these do not show it."""
    if last is None:
        return 0
    if last in ids:
        return ids.index(last) + 1
    try:
        here, ranks = order(last), [order(each) for each in ids]
    except ValueError:
        return None
    if ranks != sorted(ranks) or not (from_start or (ranks and ranks[0] < here)):
        return None
    return sum(1 for rank in ranks if rank < here)


def _id(what: str, row: dict[str, Any]) -> str:
    found = row.get("id")
    if not isinstance(found, str | int) or found == "":
        raise Broken(f"{what}: a row was sent without an id", code="bad_shape")
    return str(found)
