"""Walking the pages of a pull: by number, offset, cursor or link; resumable after any page; suspicious of what it
gets. A page that repeats the one before, a short page in the middle, or fewer rows than the vendor announced is
Broken: a pull that lost rows must never look complete, since what a complete pull did not see is unlisted."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import zlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.calling import Answer, Caller
from connectors.contracts import Cursor
from connectors.filling import fill_params
from connectors.jsonlines import json_lines
from connectors.manifest import Incremental, Manifest, Paginate, Pull, Request
from connectors.paths import compile_path
from connectors.signing import CHINA
from hub.kernel.errors import Broken, Misconfigured

RETURNS = 100  # times that a walk steps back because rows went away
_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')


@dataclass(frozen=True, slots=True)
class PageOfRecords:
    """One page as the vendor sent it. `cursor` resumes after it."""

    records: list[Any]
    cursor: Cursor
    sent_at: datetime
    last: bool
    number: int


@dataclass(slots=True)
class _State:
    """Where the walk stands; saved as the cursor."""

    position: Any  # page number, offset, cursor value or URL of the next page
    number: int  # pages done
    seen: int  # rows done
    print_: str  # fingerprint of the page before
    since: str | None
    total: int | None = None  # rows in all, as last announced
    returns: int = 0  # how often the walk stepped back

    def cursor(self) -> Cursor:
        kept = {"position": self.position, "number": self.number, "seen": self.seen, "print": self.print_}
        if self.total is not None:
            kept |= {"total": self.total, "returns": self.returns}
        return {**kept, "since": self.since} if self.since else kept


async def walk(
    call: Caller, manifest: Manifest, spec: Request, config: Mapping[str, Any], since: Cursor | None
) -> AsyncGenerator[PageOfRecords, None]:
    """The pages after `since`. See connectors.declarative for what a cursor may hold."""
    pages = spec.paginate
    since = since or {}
    state = _State(
        position=since.get(
            "position", None if pages is None else pages.start if pages.page else 0 if pages.offset else None
        ),
        number=int(since.get("number", 0)),
        seen=int(since.get("seen", 0)),
        print_=str(since.get("print", "")),
        since=since.get("since"),
        total=since.get("total"),
        returns=int(since.get("returns", 0)),
    )
    if since.get("done"):
        yield PageOfRecords([], dict(since), datetime.fromisoformat(since["done"]), True, state.number)
        return
    base = _params(spec, config, state.since)
    size = page_size(pages, config) if pages else 0
    read = compile_path(spec.records)
    ahead: asyncio.Task[Answer] | None = None
    try:
        while True:
            fetching, ahead = ahead, None
            path, params = _request(call, spec, pages, base, size, state)
            answer = await (fetching if fetching is not None else _fetch(call, spec, path, params))
            body = json_lines(answer, manifest) if spec.format == "jsonl" else answer.json(manifest)
            records = read(body)
            if records is None:
                records = []
            if not isinstance(records, list):
                raise Broken(f"{manifest.id}: {spec.records} is not a list of records", code="bad_shape")
            if len(records) > manifest.http.max_rows:
                raise Broken(f"{manifest.id} sent {len(records)} rows in one page", code="too_many_rows")
            print_ = f"{len(answer.body)}:{zlib.crc32(answer.body):08x}"
            if records and print_ == state.print_ and state.number:
                raise Broken(
                    f"{manifest.id} sent page {state.number} again for page {state.number + 1}", code="page_repeated"
                )
            state.print_ = print_
            state.number += 1
            state.seen += len(records)
            following = _following(pages, answer, body, records, size, state) if pages else None
            if (
                pages is not None
                and (back := _back(manifest, pages, _total(pages, answer, body), len(records), state)) is not None
            ):
                following = back
            last = following is None
            missing = None
            if pages is not None:
                missing = _missing(manifest, pages, answer, body, records, size, state, last)
                if state.number >= pages.max_pages and not last:
                    raise Broken(f"{manifest.id} has more than {pages.max_pages} pages", code="too_many_pages")
            state.position = following
            if not last and spec.prefetch and pages is not None and (pages.page or pages.offset):
                next_path, next_params = _request(call, spec, pages, base, size, state)
                ahead = asyncio.create_task(_fetch(call, spec, next_path, next_params))
            cursor = state.cursor()
            if missing is not None:  # what came is used, but the pull is not complete and starts anew next time
                cursor = {"since": state.since} if state.since else {}
            elif last:
                cursor["done"] = answer.sent_at.isoformat()
            yield PageOfRecords(records, cursor, answer.sent_at, last and missing is None, state.number)
            if missing is not None:
                raise missing
            if last:
                return
    finally:
        if ahead is not None:
            ahead.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await ahead


def page_size(pages: Paginate, config: Mapping[str, Any]) -> int:
    """Rows a page, as the connection or the manifest says."""
    chosen = config.get(pages.size_config) if pages.size_config else None
    if chosen is None:
        return pages.size
    if not isinstance(chosen, int) or not 1 <= chosen <= 10_000:
        raise Misconfigured(f"the setting {pages.size_config!r} must be between 1 and 10000", code="bad_config")
    return chosen


async def _fetch(call: Caller, spec: Request, path: str, params: Mapping[str, Any] | None) -> Answer:
    if spec.post is None or "://" in path:  # a link to the next page is followed as it stands
        return await call.get(path, params)
    if spec.send == "form":
        return await call.ask("POST", path, form=params or {})
    if spec.send == "json":
        return await call.ask("POST", path, dict(params or {}))
    return await call.ask("POST", path, params=params)


def _params(spec: Request, config: Mapping[str, Any], since: str | None) -> dict[str, Any]:
    made = fill_params(spec.params, config)
    rule = spec.incremental if isinstance(spec, Pull) else None
    if since is not None and rule is not None:
        made |= fill_params(rule.params, config)
        made[rule.param] = since_value(rule, datetime.fromisoformat(since))
    return made


def since_value(rule: Incremental, since: datetime) -> str:
    """`since` minus the overlap, as the vendor wants it written."""
    start = since.astimezone(UTC) - timedelta(seconds=rule.overlap_s)
    if rule.format == "iso":
        return start.isoformat()
    if rule.format == "iso_naive_utc":
        return start.replace(tzinfo=None, microsecond=0).isoformat()
    if rule.format == "china":
        return start.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")
    return str(int(start.timestamp() * (1000 if rule.format == "epoch_ms" else 1)))


def _request(
    call: Caller, spec: Request, pages: Paginate | None, base: Mapping[str, Any], size: int, state: _State
) -> tuple[str, dict[str, Any] | None]:
    path = call.fill(spec.path)
    params = dict(base)
    if pages is None:
        return path, params
    if pages.size_param is not None:
        params[pages.size_param] = size
    if pages.page is not None:
        params[pages.page] = state.position
    elif pages.offset is not None:
        params[pages.offset] = state.position
    elif pages.cursor is not None and state.position is not None:
        assert pages.param is not None
        params[pages.param] = state.position
    elif pages.link is not None and state.position is not None:
        return str(state.position), None
    return path, params


def _following(pages: Paginate, answer: Answer, body: Any, records: list[Any], size: int, state: _State) -> Any:
    """Where the next page is, or None after the last."""
    if pages.cursor is not None:
        return compile_path(pages.cursor)(body) or None
    if pages.link is not None:
        if pages.link == "header":
            found = _NEXT.search(answer.headers.get("link", ""))
            return found.group(1) if found else None
        return compile_path(pages.link)(body) or None
    total = _total(pages, answer, body)
    declared = answer.headers.get(pages.pages_header.lower(), "") if pages.pages_header else ""
    if pages.page is not None:
        number = int(state.position)
        if declared.isdigit():
            more = number - pages.start + 1 < int(declared)
        else:
            more = bool(records) and (state.seen < total if total is not None else len(records) >= size)
        return number + 1 if more else None
    more = bool(records) and (state.seen < total if total is not None else len(records) >= size)
    return int(state.position) + len(records) if more else None


def _back(manifest: Manifest, pages: Paginate, total: int | None, rows: int, state: _State) -> int | None:
    """Where to step back to when there are fewer rows in all than a page ago, or None. What was deleted before this
    place has moved as many rows behind our back, and the counts agree all the same."""
    before, state.total = state.total, total
    begin = pages.start if pages.page is not None else 0
    if total is None or before is None or total >= before or pages.page is pages.offset or state.position <= begin:
        return None
    state.returns += 1
    state.print_ = ""  # the same rows may come again now
    if state.returns > RETURNS:
        raise Broken(f"{manifest.id}: rows disappear faster than they can be read", code="rows_moving")
    gone = before - total
    if pages.offset is not None:
        state.seen = max(0, int(state.position) - gone)
        return state.seen
    size = max(1, (state.seen - rows) // (int(state.position) - begin))  # as the pages before were
    position = max(begin, int(state.position) - math.ceil(gone / size))
    state.seen = (position - begin) * size
    return position


def _total(pages: Paginate, answer: Answer, body: Any) -> int | None:
    raw: Any = None
    if pages.total_header is not None:
        raw = answer.headers.get(pages.total_header.lower())
    elif pages.total is not None:
        raw = compile_path(pages.total)(body)
    if isinstance(raw, str) and raw.isdigit():
        return int(raw)
    return raw if type(raw) is int else None


def _missing(
    manifest: Manifest,
    pages: Paginate,
    answer: Answer,
    body: Any,
    records: list[Any],
    size: int,
    state: _State,
    last: bool,
) -> Broken | None:
    """Rows must not be missing: fewer in all than the vendor announced or, where it announces nothing, a short page
    in the middle."""
    total = _total(pages, answer, body)
    if total is not None:
        if last and state.seen < total:
            return Broken(f"{manifest.id} announced {total} rows and sent {state.seen}", code="rows_missing")
        return None
    if pages.page is not None and not last and pages.size_param is not None and len(records) < size:
        return Broken(
            f"{manifest.id} sent {len(records)} of {size} rows on page {state.number} and has more", code="rows_missing"
        )
    return None
