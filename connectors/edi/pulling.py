"""Catalogues and stock out of files. A full pull reads what describes the present: of each catalogue the newest whole
one, and the changes since; an incremental one reads the files that are not yet proven landed. Newer files are read
first, and an article that one of them told about is left out of the older ones. Records stream: no more than a page of
a file's articles is in memory, beside one number for each article seen."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from connectors.contracts import BadRow, Cursor, Page
from connectors.declarative import PullsByManifest, page_of, stock_page
from connectors.edi.names import Taken, current, stamp_of
from connectors.edi.office import PROVEN, PostOffice
from connectors.edi.orders import LeavesFiles
from connectors.mapping import Mapped, bad_row
from connectors.paging import PageOfRecords
from connectors.stockmap import StockMapper
from connectors.tables import Spooled
from hub.kernel import clock
from hub.kernel.errors import Broken, HubError, NotFound, Retry
from hub.kernel.turns import slices

WAIT_FOR_FIRST_S = 900.0
Record = dict[str, Any]
Reading = Callable[[Spooled], Iterator[Record]]


class _Source(NamedTuple):
    file: Taken
    without: frozenset[str]  # catalogues of which a newer file says everything


class _Piece(NamedTuple):
    """Records of one file, those that cannot be used, and where they end: after record `row` of the file."""

    records: list[Record]
    refused: list[BadRow]
    file: str = ""
    row: int = 0


class PullsFiles(PullsByManifest, LeavesFiles):
    """PullsListings and PullsStock."""

    async def pull(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """Pages of listings. Before a new pull, what came is taken in and what is proven landed is moved on. Raises
        Broken for a full pull without a usable catalogue, Retry while none has come at all: an empty mailbox must never
        look like an empty assortment."""
        cursor, at = dict(since or {}), clock.now()
        if cursor.get("done"):
            yield Page(cursor=cursor, captured_at=at, complete=True)
            return
        began = datetime.fromisoformat(cursor["since"]) if cursor.get("since") else None
        async with self.visit() as office:
            waiting, notes, bad = await self._taken_in(office, cursor, began, at)
            files = [one for one in await office.taken() if one.name <= cursor["through"]]
        sources = [_Source(*pair) for pair in current(files, "CAT", "cat")]
        if began is not None:
            wanted = {one.name for one in _unproven(files, began)}
            sources = [source for source in sources if source.file.name in wanted]
        elif not sources:
            raise _no_catalogue(bad, waiting)
        today, drift = at.date().isoformat(), set(notes)

        def records(spooled: Spooled) -> Iterator[Record]:
            return office.dialect.catalogue(spooled.file, today)

        told: Sequence[str] = sorted(drift)
        async for piece, last in _with_last(self._pieces(office, sources, cursor, records, ("sku",))):
            page = await self._listing_page(piece, _after(cursor, piece, at, last), at, bad, drift, last)
            yield page.model_copy(update={"drift": (*told, *page.drift)}) if told else page
            bad, told = [], ()

    async def _taken_in(
        self, office: PostOffice, cursor: Cursor, began: datetime | None, at: datetime
    ) -> tuple[list[str], list[str], list[BadRow]]:
        """Make `cursor` say which files this pull is about; a resumed pull is about the same ones. Returns sentences
        about files that wait, oddities, and the files that could not be used."""
        waiting: list[str] = []
        notes: list[str] = []
        if "through" not in cursor:
            if began is not None:
                await office.move_on(began)
            waiting, notes = await office.take_new()
            unproven = _unproven(await office.taken(), began)
            await office.acknowledge_taken(unproven)
            cursor["through"] = max((one.name for one in unproven), default=stamp_of(at))
        if "file" in cursor:
            return waiting, notes, []
        files = [one for one in _unproven(await office.taken(), began) if one.name <= cursor["through"]]
        return waiting, notes, await _set_aside(office, files)

    async def _listing_page(
        self, piece: _Piece, cursor: Cursor, at: datetime, bad: list[BadRow], drift: set[str], last: bool
    ) -> Page:
        known = await self.known(self.mapper.skus(piece.records)) if self.known is not None else None
        mapped = Mapped()
        async for part in slices(piece.records):
            self.mapper.extend(mapped, part, known)
        fresh = mapped.drift - drift
        drift |= fresh
        got = PageOfRecords(list(piece.records), cursor, at, last, 0)
        return page_of(mapped, got, [*bad, *piece.refused], fresh)

    async def pull_stock(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """Pages of the stock figures that hold now: of each report the newest whole one, and the changes since."""
        cursor, at = dict(since or {}), clock.now()
        if cursor.get("done"):
            yield stock_page([], cursor, at, complete=True)
            return
        spec = self.manifest.pull_stock
        assert spec is not None, "the manifest has no pull_stock"
        mapper = StockMapper(spec.map, self.config)
        async with self.visit() as office:
            if "through" not in cursor:
                await office.take_new()  # what is refused, the next pull of listings tells
            taken = await office.taken()
        cursor.setdefault("through", max((one.name for one in taken), default=stamp_of(at)))
        files = [one for one in taken if one.name <= cursor["through"]]
        sources = [_Source(*pair) for pair in current(files, "STK", "stk")]

        def records(spooled: Spooled) -> Iterator[Record]:
            return office.dialect.stock(spooled.file)

        async for piece, last in _with_last(self._pieces(office, sources, cursor, records, ("sku", "location"))):
            figures, bad = mapper.figures(piece.records)
            place = _after(cursor, piece, at, last)
            yield stock_page(figures, place, at, complete=last, bad=[*piece.refused, *bad])

    async def _pieces(
        self, office: PostOffice, sources: list[_Source], cursor: Cursor, read: Reading, key: tuple[str, ...]
    ) -> AsyncGenerator[_Piece, None]:
        """The records of these files, a page at a time, from after the place in `cursor`. Each article comes once: what
        lies before that place is read again for what it told about."""
        size = max(1, min(int(self.config["page_rows"]), 10_000))
        seen: dict[int, int] = {}
        resume = str(cursor.get("file", ""))
        waiting = bool(resume)
        for number, source in enumerate(sources):
            stop = int(cursor.get("row", 0)) if source.file.name == resume else 0
            try:
                spooled = await office.open(office.path_of(source.file))
            except NotFound:
                raise Retry("the files moved during the pull", code="files_moved", after=5.0) from None
            with spooled:
                rows, row = read(spooled), 0
                while batch := await asyncio.to_thread(_take, rows, min(size, stop - row) if row < stop else size):
                    row += len(batch)
                    piece = _news(batch, seen, number, key, source, row)
                    if row > stop and (not waiting or source.file.name == resume) and (piece.records or piece.refused):
                        yield piece
            waiting = waiting and source.file.name != resume


def _take(rows: Iterator[Record], count: int) -> list[Record]:
    return list(itertools.islice(rows, count))


async def _with_last(pieces: AsyncGenerator[_Piece, None]) -> AsyncGenerator[tuple[_Piece, bool], None]:
    """Each piece and whether it is the last; there is always one."""
    ahead: _Piece | None = None
    async for piece in pieces:
        if ahead is not None:
            yield ahead, False
        ahead = piece
    yield ahead or _Piece([], []), True


def _news(
    batch: list[Record], seen: dict[int, int], number: int, key: tuple[str, ...], source: _Source, row: int
) -> _Piece:
    """The records that no newer file told about, of a batch of file `number`. A refused record counts as told: an
    older price must not come back because the newer one cannot be read."""
    piece = _Piece([], [], source.file.name, row)
    for record in batch:
        of, later, gone = record.pop("_of", None), record.pop("_later", False), record.pop("_gone", False)
        refused = record.pop("_refused", None)
        if later or of in source.without:
            continue
        sku = record.get("sku")
        if sku:
            print_ = hash("\x1f".join(str(record.get(part) or "") for part in key))
            told_in = seen.get(print_)
            if told_in is not None and told_in != number:
                continue
            if told_in == number and refused is None:
                refused = "the file holds this article twice"
            seen[print_] = number
        if refused is not None:
            piece.refused.append(bad_row(record, f"{source.file.original}: {refused}", "", sku))
        elif not gone:
            piece.records.append(record)
    return piece


async def _set_aside(office: PostOffice, files: list[Taken]) -> list[BadRow]:
    """The files that could not be used, as refused rows."""
    found: list[BadRow] = []
    for one in files:
        if not one.has("bad"):
            continue
        head = ""
        try:
            with await office.open(office.path_of(one)) as spooled:
                scan = await asyncio.to_thread(office.dialect.scan, spooled.file)
                spooled.file.seek(0)
                head = spooled.file.read(500).decode("utf-8", "replace")
            reason = scan.refused or ("it breaks off before its end" if scan.unfinished else "")
        except Broken as error:
            reason = error.detail
        except NotFound:
            continue
        reason = reason or "its control number came before with another file"
        found.append(BadRow(reason=f"{one.original}: {reason}"[:500], raw=head))
    return found


def _no_catalogue(bad: list[BadRow], waiting: list[str]) -> HubError:
    if bad or waiting:
        why = "; ".join([*(row.reason for row in bad[:3]), *waiting[:3]])
        return Broken(f"no usable catalogue has come: {why}", code="no_catalogue")
    return Retry("no catalogue has come yet", code="no_catalogue", after=WAIT_FOR_FIRST_S)


def _unproven(files: list[Taken], began: datetime | None) -> list[Taken]:
    """The files that the newest complete run, which began then, may not have landed."""
    if began is None:
        return files
    first = stamp_of(began - PROVEN)
    return [one for one in files if one.stamp >= first]


def _after(cursor: Cursor, piece: _Piece, at: datetime, last: bool) -> Cursor:
    """The place after a piece."""
    kept = {name: cursor[name] for name in ("since", "through") if cursor.get(name)}
    if piece.file:
        kept |= {"file": piece.file, "row": piece.row}
    if last:
        kept["done"] = at.isoformat()
    return kept
