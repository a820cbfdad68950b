"""Bulk operations: a query that Shopify runs in the background and whose result is a file of JSON lines.

An operation is started (or found running), watched, and its file fetched whole, without our credentials, since it lies
on another origin; only then are its lines read. A cursor names the operation and the next line. The file's address
lives for seven days and is asked for anew each time; when the operation is gone, the pull starts anew. While there is
nothing to tell, empty pages go out, so that the run is known to be alive and can be resumed with its operation."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

import httpx
import tenacity

from connectors import jsonio
from connectors.answers import retry_after
from connectors.contracts import Cursor
from connectors.guards import jitter
from connectors.paging import PageOfRecords
from connectors.shopify.documents import BULK_STATE, RUN_BULK
from connectors.shopify.graphql import SpeaksGraphql, field, said_in, user_errors
from connectors.tables import DEFAULT, Spooled, land
from hub.kernel import clock
from hub.kernel.egress import allowed_pairs
from hub.kernel.errors import Broken, HubError, Malformed, Misconfigured, Retry, TooLarge
from hub.kernel.http import as_hub_error, client

HEARTBEAT_S = 30.0  # a run that says nothing for two minutes counts as abandoned
POLLS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)  # between two looks; the last one stays
LONGEST_WAIT_S = 1800.0  # then somebody else may have the worker; the run goes on with the same operation
LONGEST_DOWNLOAD_S = 900.0
LINE_LIMIT = 2**20
_WORKING = frozenset({"CREATED", "RUNNING"})
_BULK_GID = re.compile(r"gid://shopify/BulkOperation/\d+")
_TURN = 500  # lines read before others get a turn


class _Gone(Exception):
    """The operation or its file is no longer there."""


@dataclass(frozen=True, slots=True)
class _Result:
    """How an operation ended. A failed one may have a part of its lines; one without lines has no file."""

    state: dict[str, Any]
    failure: HubError | None
    spooled: Spooled | None

    async def pages(
        self, cursor: Cursor, rows: int, note: Callable[[Any], None]
    ) -> AsyncGenerator[PageOfRecords, None]:
        """The lines after the cursor's. A failed operation's lines are used, and the pull starts anew."""
        started = datetime.fromisoformat(cursor["started"])
        end: Cursor = {} if self.failure is not None else {"done": started.isoformat()}
        if self.spooled is None:
            yield PageOfRecords([], end, started, self.failure is None, 1)
            return
        with self.spooled as spooled:
            lines = await _noted(spooled.file, note)
            if self.failure is None:
                _complete(spooled, lines, self.state)
            first = min(int(cursor.get("row", 0)), lines)
            records: list[Any] = []
            number = 0
            for row, line in enumerate(_lines(spooled.file), 1):
                if row <= first:
                    continue
                records.append(_read(line))
                if len(records) == rows and row < lines:
                    number += 1
                    after: Cursor = {} if self.failure is not None else {**cursor, "row": row}
                    yield PageOfRecords(records, after, started, False, number)
                    records = []
            yield PageOfRecords(records, end, started, self.failure is None, number + 1)


class RunsBulk(SpeaksGraphql):
    """Runs bulk queries and reads their files."""

    _storage: httpx.AsyncClient | None = None

    async def bulk(
        self, document: str, since: Cursor | None, rows: int, note: Callable[[Any], None]
    ) -> AsyncGenerator[PageOfRecords, None]:
        """The lines of `document`'s result, `rows` a page, from after the saved cursor `since`. `note` sees every line
        of the file before the first page with lines comes. Raises Retry when the operation failed or takes too long,
        Misconfigured when the app may not read this, Broken when lines are missing."""
        cursor: Cursor = dict(since or {})
        if cursor.get("done"):
            yield PageOfRecords([], cursor, datetime.fromisoformat(cursor["done"]), True, 0)
            return
        for _ in range(3):
            if cursor.get("op") is None:
                cursor = await self._started(document)
            started = datetime.fromisoformat(cursor["started"])
            idle = PageOfRecords([], dict(cursor), started, False, 0)
            yield idle
            result: _Result | None = None
            try:
                async with contextlib.aclosing(self._awaited(cursor["op"])) as waiting:
                    async for result in waiting:
                        if result is None:
                            yield idle
            except _Gone:
                cursor = {}
                continue
            assert result is not None, "waiting ends with a result"
            try:
                async with contextlib.aclosing(result.pages(cursor, rows, note)) as pages:
                    async for page in pages:
                        yield page
            except Broken:
                if result.failure is None:  # a part that is cut is what a failed operation leaves
                    raise
            if result.failure is not None:
                raise result.failure
            return
        raise Retry("shopify's bulk operations expire as soon as they end", code="bulk_expired", after=300.0)

    async def aclose(self) -> None:
        """Close both HTTP clients."""
        if self._storage is not None:
            await self._storage.aclose()
        await super().aclose()

    async def _started(self, document: str) -> Cursor:
        """Begin the operation, or join the one that already runs for the same query: an answer may have been lost, and
        before API version 2026-01 a shop runs one at a time."""
        at = clock.now()
        payload = field((await self.ask(RUN_BULK, {"query": document})).data, "bulkOperationRunQuery")
        errors = user_errors(payload)
        if not errors:
            return {"op": str(field(payload, "bulkOperation")["id"]), "row": 0, "started": at.isoformat()}
        codes = {error.get("code") for error in errors}
        if not codes <= {"OPERATION_IN_PROGRESS", "LIMIT_REACHED"}:
            raise Broken(f"shopify does not run the bulk query: {said_in(errors)}", code="bulk_refused")
        for running in await self._states(_BULK_GID.findall(said_in(errors))):
            if str(running.get("query", "")).split() == document.split() and running.get("status") in _WORKING:
                created = datetime.fromisoformat(str(running["createdAt"]))
                return {"op": str(running["id"]), "row": 0, "started": min(at, created).isoformat()}
        raise Retry("another bulk operation runs for this shop", code="bulk_busy", after=30.0)

    async def _states(self, ids: list[str]) -> list[dict[str, Any]]:
        if not ids:
            return []
        found = (await self.ask(BULK_STATE, {"ids": ids})).data.get("nodes")
        if not isinstance(found, list):
            raise Broken("shopify's answer has no bulk operations", code="bad_shape")
        return [state for state in found if isinstance(state, dict) and state.get("id")]

    async def _awaited(self, operation: str) -> AsyncGenerator[_Result | None, None]:
        """None now and then while there is nothing to tell, at last the result. Raises _Gone when there is none."""
        waited = told = 0.0
        for turn in range(10**6):
            states = await self._states([operation])
            if not states or states[0].get("status") == "EXPIRED":
                raise _Gone
            if states[0].get("status") not in _WORKING:
                break
            if waited >= LONGEST_WAIT_S:
                raise Retry("shopify is still working on a bulk operation", code="bulk_slow", after=60.0)
            pause = POLLS_S[min(turn, len(POLLS_S) - 1)]
            await asyncio.sleep(pause)
            waited += pause
            if waited - told >= HEARTBEAT_S:
                told = waited
                yield None
        state = states[0]
        failure = _failure(state)
        url = state.get("url") if failure is None else state.get("partialDataUrl")
        if url is None:
            if failure is None and int(state.get("objectCount") or 0):
                raise Broken("shopify does not say where a bulk operation's result is", code="no_url")
            yield _Result(state, failure, None)
            return
        fetching = asyncio.create_task(self._fetched(str(url)))
        try:
            while not (await asyncio.wait({fetching}, timeout=HEARTBEAT_S))[0]:
                yield None
            yield _Result(state, failure, fetching.result())
        finally:
            if not fetching.done():
                fetching.cancel()
                await asyncio.gather(fetching, return_exceptions=True)

    async def _fetched(self, url: str) -> Spooled:
        """The result file on disk. Its address is signed and goes into no error and no log of ours."""

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            return jitter(state.attempt_number, error.after if isinstance(error, Retry) else 0.0)

        def again(state: tenacity.RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            return isinstance(error, Retry) and error.after <= self.manifest.http.longest_wait_s

        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self.manifest.http.attempts), wait=wait, retry=again, reraise=True
        )
        spooled: Spooled = await retrying(self._fetch_once, url)
        return spooled

    async def _fetch_once(self, url: str) -> Spooled:
        try:
            target = httpx.URL(url)
        except httpx.InvalidURL:
            raise Broken("shopify's result lies at no valid address", code="bad_url") from None
        if target.scheme != "https" and f"{target.host}:{target.port}" not in allowed_pairs():
            raise Broken("shopify's result lies at an address that is not https", code="bad_url")
        if self._storage is None:
            self._storage = client(timeout_s=60.0, connections=2)
        try:
            # gzip alone: its end mark shows a cut transfer
            asking = self._storage.build_request("GET", target, headers={"Accept-Encoding": "gzip"})
            response = await self._storage.send(asking, stream=True)
            try:
                return await _landed(response)
            finally:
                await response.aclose()
        except (Malformed, TooLarge) as error:
            raise Broken(f"shopify's result file: {error}", code=error.code) from None
        except TimeoutError:
            raise Retry("shopify's result comes too slowly", code="vendor_timeout", after=60.0) from None
        except (HubError, _Gone):
            raise
        except Exception as error:
            raise as_hub_error(error) from None  # the original may carry the signed address


async def _landed(response: httpx.Response) -> Spooled:
    status = response.status_code
    if status == 200:
        if "html" in response.headers.get("content-type", ""):
            raise Broken("shopify's result is a web page", code="html_answer")
        async with asyncio.timeout(LONGEST_DOWNLOAD_S):
            return await land(response.aiter_raw(), DEFAULT)
    if status in (400, 401, 403, 404, 410):  # the storage's words for an address whose time is over
        raise _Gone
    if status in (408, 425, 429) or status >= 500:
        after = retry_after(response.headers)
        raise Retry(f"shopify's storage answered {status}", code="vendor_unavailable", after=after or 1.0)
    raise Broken(f"shopify's storage answered {status}", code="vendor_broken")


def _failure(state: dict[str, Any]) -> HubError | None:
    """Why an operation that ended has no whole result; None when it has."""
    status, code = state.get("status"), state.get("errorCode")
    if status == "COMPLETED":
        return None
    if status == "FAILED" and code == "ACCESS_DENIED":
        return Misconfigured("shopify denies the bulk query: the app lacks an access scope", code="ACCESS_DENIED")
    if status in ("FAILED", "CANCELED", "CANCELING"):
        return Retry(f"shopify's bulk operation is {status} {code or ''}".strip(), code="bulk_failed", after=60.0)
    return Retry(f"shopify's bulk operation is {str(status)[:40]}, which nobody knows", code="bulk_failed", after=60.0)


def _complete(spooled: Spooled, lines: int, state: dict[str, Any]) -> None:
    """Raises Broken when the file is shorter than the operation says: lost lines must not look like lost products."""
    size, count = str(state.get("fileSize") or ""), str(state.get("objectCount") or "")
    if size.isdigit() and spooled.size < int(size):
        raise Broken(f"shopify's result has {spooled.size} of {size} bytes", code="cut_answer")
    if count.isdigit() and lines < int(count):
        raise Broken(f"shopify counted {count} objects and its result has {lines}", code="rows_missing")


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines that hold something, from the start."""
    file.seek(0)
    while line := file.readline(LINE_LIMIT + 1):
        if len(line) > LINE_LIMIT:
            raise Broken(f"shopify's result has a line of more than {LINE_LIMIT} bytes", code="line_too_long")
        if line.strip():
            yield line


def _read(line: bytes) -> Any:
    try:
        return jsonio.loads(line)
    except ValueError as error:
        raise Broken(f"shopify's result has a line that is not JSON: {error}", code="not_json") from None


async def _noted(file: IO[bytes], note: Callable[[Any], None]) -> int:
    """Show every line to `note`; returns how many there are."""
    count = 0
    for line in _lines(file):
        note(_read(line))
        count += 1
        if count % _TURN == 0:
            await asyncio.sleep(0)
    return count
