"""The sample of the catalogue that searches are planned and broad facets counted by, and its most popular products:
one a process, taken at the first search and then anew in the background, at a pace that costs a hundredth of the
process's time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

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


async def current() -> Sample:
    """The sample of this process's database: waits for the first one, and takes the one at hand while a newer is
    being made."""
    held = _held if _held is not None and _held.database is db.database() else None
    if held is not None and time.monotonic() < held.until:
        return held.sample
    task = _begin()
    return held.sample if held is not None else await asyncio.shield(task)


def head() -> Head | None:
    """The most popular products, as of the sample at hand; None where the whole catalogue is no larger."""
    return _held.head if _held is not None and _held.database is db.database() else None


def forget() -> None:
    """Take a new sample at the next search (after a bulk load)."""
    global _held, _taking
    _held = _taking = None


def _begin() -> asyncio.Task[Sample]:
    """The one taking that is under way."""
    global _taking
    if _taking is None or _taking[0] is not db.database() or _taking[1].done():
        task = asyncio.get_running_loop().create_task(_take(db.database()))
        task.add_done_callback(_note)
        _taking = (db.database(), task)
    return _taking[1]


def _note(task: asyncio.Task[Sample]) -> None:
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
    top = await _take_head(last) if step > 1 else None
    took = time.monotonic() - began
    if database is db.database():
        _held = _Held(database, sample, top, time.monotonic() + max(ANEW_S, PACE * took))
    return sample


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
