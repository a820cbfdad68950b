"""The words of the catalogue, counted by a task and held by each web process: queries that found nothing are corrected
by them, and queries that are still being typed completed."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime

import structlog

from catalog import sampling, segment
from catalog.segment import Term, fold, query_tokens, terms
from catalog.store import words as store
from catalog.vocabulary import Vocabulary, pinyin
from hub.kernel import clock, db
from hub.kernel.db import HUB, uow
from hub.kernel.turns import slices

log = structlog.get_logger()
WORK = "words"
AT_LEAST_S = 60.0  # between two countings
PACE = 100.0  # or so many times what one takes: a hundredth of one process
HELD_S = 120.0  # that a process goes on with the words it has
CHUNK = 2_000  # words read at a time
CANDIDATES = 50  # completions whose company with the words before them is looked at


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A query and about how many products are behind it."""

    text: str
    products: int


@dataclass(slots=True)
class _Held:
    database: db.Database
    vocabulary: Vocabulary
    until: float  # monotonic seconds


_held: _Held | None = None
_reading: tuple[db.Database, asyncio.Task[Vocabulary]] | None = None


async def count_words() -> int:
    """Count the words of all titles again, when something changed and the last time is long enough ago (8 seconds for
    1,000,000 products make that every quarter of an hour). Returns how many words are known, 0 when it did nothing."""
    async with uow(HUB) as tx:
        last = await store.upkeep(tx, WORK)
        began = clock.now()
        if last is not None and last["rules"] == segment.RULES and last["done_at"] is not None:
            took = (last["done_at"] - last["began_at"]).total_seconds()
            waited = (began - last["done_at"]).total_seconds()
            if waited < max(AT_LEAST_S, PACE * took) or not await store.changed_since(tx, last["began_at"]):
                return 0
        if not await store.begin_counting(tx):
            return 0
        new = await store.new_words(tx)
        sounds: list[str | None] = []
        async for part in slices(new):
            sounds += map(pinyin, part)
        known = await store.put_counted(tx, new, sounds)
        await store.put_upkeep(tx, WORK, segment.RULES, 0, began, clock.now())
        return known


async def vocabulary() -> Vocabulary:
    """The words at hand; waits for the first reading only."""
    held = _held if _held is not None and _held.database is db.database() else None
    if held is not None and time.monotonic() < held.until:
        return held.vocabulary
    task = _begin()
    return held.vocabulary if held is not None else await asyncio.shield(task)


def forget() -> None:
    """Read the words again at the next need."""
    global _held, _reading
    _held = _reading = None


def _begin() -> asyncio.Task[Vocabulary]:
    global _reading
    if _reading is None or _reading[0] is not db.database() or _reading[1].done():
        task = asyncio.get_running_loop().create_task(_read(db.database()))
        task.add_done_callback(_note)
        _reading = (db.database(), task)
    return _reading[1]


def _note(task: asyncio.Task[Vocabulary]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("words_not_read", error=str(error))  # those at hand serve on


async def _read(database: db.Database) -> Vocabulary:
    global _held
    rows: list[tuple[str, int, str | None]] = []
    while True:
        some = await store.words_after(rows[-1][0] if rows else "", CHUNK)
        rows += (tuple(row) for row in some)
        if len(some) < CHUNK:
            break
    read = await asyncio.to_thread(Vocabulary, rows)
    if database is db.database():
        _held = _Held(database, read, time.monotonic() + HELD_S)
    return read


async def corrections(q: str) -> list[str]:
    """What a query that found nothing may have meant, the likeliest first."""
    return (await vocabulary()).corrected(q)


async def suggest(q: str, limit: int) -> tuple[list[Suggestion], datetime]:
    """Ways to go on from what is typed, those with the most products first, and as of when. The last word is
    completed, as it is written or as it sounds; the words before it stay and must stand in the same titles."""
    sample = await sampling.current()
    words = await vocabulary()
    text = fold(q).strip()
    typed = query_tokens(q)
    if not typed:
        return [], sample.at
    last = text.rsplit(" ", 1)[-1] if " " in text else text
    known = words.beginning(last)
    if not known and last != typed[-1]:  # "医用口": no word begins like this, but 口 does after 医用
        last = typed[-1]
        known = words.beginning(last)
    if not text.endswith(last):
        return [], sample.at
    before = text[: len(text) - len(last)]
    company, _ = sample.worded(tuple(terms(query_tokens(before))) if before.strip() else ())
    found = []
    for word, products in known[: CANDIDATES if company is not None else limit]:
        if company is not None:
            products = sample.count(sample.both(company, sample.term(Term(((word,),), False)))) * sample.step
        if products:
            found.append(Suggestion(before + word, products))
    found.sort(key=lambda one: -one.products)
    return found[:limit], sample.at
