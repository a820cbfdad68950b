"""The sample of the catalogue that searches are planned and broad facets counted by, and its most popular products:
one a process, taken at the first search and then anew in the background, at a pace that costs a hundredth of the
process's time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog

from catalog import search
from catalog.sample import Head, Product, Sample
from hub.kernel import clock, db

log = structlog.get_logger()
SIZE = 65_536  # products at most
HEAD = 65_536
CHUNK = 500  # products read at a time: a millisecond or two of the loop
ANEW_S = 10.0  # at the earliest
PACE = 100.0  # or after so many times what it took


@dataclass(slots=True)
class _Held:
    database: db.Database
    sample: Sample
    head: Head | None
    until: float  # monotonic seconds


_held: _Held | None = None
_taking: tuple[db.Database, asyncio.Task[Sample]] | None = None
_crowning: set[asyncio.Task[None]] = set()


async def current() -> Sample:
    """The sample of this process's database: waits for the first one, and takes the one at hand while a newer is
    being made."""
    held = _held if _held is not None and _held.database is db.database() else None
    if held is not None and time.monotonic() < held.until:
        return held.sample
    task = begin()
    return held.sample if held is not None else await asyncio.shield(task)


def head() -> Head | None:
    """The most popular products; None where the whole catalogue is no larger, or before they have been read."""
    return _held.head if _held is not None and _held.database is db.database() else None


def forget() -> None:
    """Take a new sample at the next search (after a bulk load)."""
    global _held, _taking
    _held = _taking = None


def begin() -> asyncio.Task[Sample]:
    """Take a sample now, unless one is being taken: a process that starts calls this, so that its first search need
    not wait."""
    global _taking
    if _taking is None or _taking[0] is not db.database() or _taking[1].done():
        task = asyncio.get_running_loop().create_task(_take(db.database()))
        task.add_done_callback(_note)
        _taking = (db.database(), task)
    return _taking[1]


async def stop() -> None:
    """Nothing is taken any more: the process ends."""
    tasks: list[asyncio.Task[Any]] = [*_crowning, *([_taking[1]] if _taking is not None else [])]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _note(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("sample_not_taken", error=str(error))  # the one before serves on; the next search tries again


async def _take(database: db.Database) -> Sample:
    global _held
    began = time.monotonic()
    first, last = await search.ids_between()
    step = -(-(last - first + 1) // SIZE)
    step += 1 - step % 2  # odd: vendors number things by twos and tens
    sample = Sample(step, clock.now(), await search.vendor_names())
    for start in range(first, last + 1, step * CHUNK):
        rows = await search.every_so_many(start, min(last, start + step * CHUNK - 1), step)
        sample.add(map(_product, rows))
    await asyncio.to_thread(sample.close)
    pause = max(ANEW_S, 2 * PACE * (time.monotonic() - began))  # the most popular products take as long again
    if database is db.database():
        _held = _Held(database, sample, head(), time.monotonic() + pause)
        if step > 1:
            task = asyncio.get_running_loop().create_task(_crown(_held, last))
            _crowning.add(task)
            task.add_done_callback(_crowning.discard)
            task.add_done_callback(_note)
    return sample


async def _crown(held: _Held, last_id: int) -> None:
    held.head = await _take_head(last_id)


async def _take_head(last_id: int) -> Head:
    found = Head(clock.now(), last_id)
    after: tuple[int, int] | None = None
    for _ in range(0, HEAD, CHUNK):
        rows = await search.most_popular(after, CHUNK)
        found.add((row["id"], _product(row)) for row in rows if row["listed"])
        if len(rows) < CHUNK:
            break
        after = rows[-1]["popularity"], rows[-1]["id"]
    await asyncio.to_thread(found.close)
    return found


def _product(row: asyncpg.Record) -> Product:
    return Product._make((*(row[name] for name in Product._fields[:-1]), row["words"][1:-1].split("' '")))
