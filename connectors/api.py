"""The door of connectors/: everything other packages may call. Values are in connectors.contracts.

A pull, as the catalogue runs it:

    kind = await next_sync_kind(tx, connection_id)
    run = await start_run(tx, connection_id, kind)          # Conflict: somebody else pulls; else new or resumed
    async with open_connector(connection_id, known=digests_of) as connector:
        async for page in connector.pull(run.cursor):       # outside any transaction
            async with uow() as tx:
                ... upsert page.listings beside their page.digests; report stock of listings AND of page.unchanged ...
                await quarantine(tx, connection_id, run.id, page.bad)
                await note_drift(tx, connection_id, page.drift)
                await save_progress(tx, run.id, cursor=page.cursor, pages=..., figures=...)
    await finish_run(tx, run.id, complete=page.complete, unlisted=..., error=None)

Rules of a pull:
- A pull is a stock report. Every record reports its stock on every pull: `page.listings` with the listing,
  `page.unchanged` (content as the hub has it: same digest) as a bare `StockFigure`. A figure whose `reported_at` is
  None was true at `page.captured_at`.
- `digests_of(skus)` (type `Known`) returns the digest kept for each known SKU. Return it only for listings that are
  active; anything else must be mapped again. Digests change with the manifest and the connection's settings, so a
  new mapping maps everything anew.
- Only a full pull whose last page is `complete` proves absence: what it did not see may be unlisted. SKUs in
  `page.bad` (when they name one) were seen too.
- An error out of `pull` ends the run: `finish_run(complete=False, error=str(error), retry_after=error.after)`. Pages
  already saved stay; the run resumes after them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import structlog

from connectors import store
from connectors.base import Known
from connectors.contracts import RAW_LIMIT, BadRow, ListingIn, Quarantined
from connectors.directory import (
    adapter_of,
    add_connection,
    add_vendor,
    capabilities,
    change_connection,
    connection_settings,
    get_connection,
    list_connections,
    list_vendors,
    open_connector,
    own_connection,
    rotate_secrets,
    set_status,
    vendor_name,
)
from connectors.inbox import Landing, connections_to_poll, forget_old, land_push, landed, poll_messages
from connectors.ledgers import OrderRow
from connectors.ledgers import orders_of as uploaded_orders
from connectors.protocol import Remaps
from connectors.runs import (
    Due,
    Run,
    due_connections,
    finish_run,
    next_sync_kind,
    release_run,
    save_progress,
    start_run,
    sweep_drift,
)
from connectors.trial import (
    ConnectorInfo,
    Preview,
    TrialResult,
    describe_all,
    preview,
    preview_connection,
    try_connection,
)
from connectors.uploads import TABLE_TYPES, XLSX_TYPE
from connectors.uploads import listings_of as uploaded_listings
from hub.kernel import tasks
from hub.kernel.db import Tx
from hub.kernel.errors import NotFound, Rejected

log = structlog.get_logger()


async def quarantine(tx: Tx, connection_id: int, run_id: int | None, bad: Sequence[BadRow]) -> None:
    """Keep refused rows where people can see them, and emit Quarantined. The same row refused for the same reason
    again counts up instead of piling up."""
    if not bad:
        return
    rows: dict[bytes, tuple[str, str, str | None, str, bytes]] = {}
    for row in bad:
        raw = row.raw[:RAW_LIMIT].replace("\x00", "\ufffd")
        mark = hashlib.blake2b(
            "\x1f".join((row.reason, row.pointer, row.vendor_sku or "", raw)).encode("utf-8", "replace"), digest_size=16
        ).digest()
        clean = raw.encode("utf-8", "replace").decode()
        sku = row.vendor_sku.replace("\x00", "\ufffd") if row.vendor_sku else None
        rows[mark] = (row.reason[:500].replace("\x00", "\ufffd"), row.pointer[:300], sku, clean, mark)
    await store.add_quarantine(tx, connection_id, run_id, sorted(rows.values(), key=lambda r: r[4]))
    tx.emit(Quarantined(connection_id=connection_id, run_id=run_id, rows=len(bad)))


async def replayable(
    tx: Tx, connection_id: int, ids: Sequence[int] | None, reason: str | None, after: int = 0, limit: int = 500
) -> tuple[list[tuple[int, datetime]], Sequence[ListingIn | BadRow]]:
    """Open quarantine rows of a connection, mapped once more: (id, when it was last seen) and the result of each, in
    order. Raises NotFound, and Rejected for a connector that cannot map a kept record again."""
    row = await store.connection(tx, connection_id)
    if row is None:
        raise NotFound("there is no such connection", code="no_connection")
    adapter = adapter_of(row)
    if not isinstance(adapter, Remaps):
        raise Rejected("this connector's rows cannot be mapped again; pull again instead", code="no_replay")
    kept = await store.open_quarantine(tx, connection_id, ids, reason, after, limit)
    return [(row["id"], row["last_seen_at"]) for row in kept], adapter.remap([row["raw"] for row in kept])


async def settle_quarantine(
    tx: Tx, landed: Sequence[int], refused: Sequence[tuple[int, BadRow]] = (), *, discarded: str | None = None
) -> None:
    """Close quarantine rows that landed (or were discarded, with why), and say what is wrong with the others now."""
    if landed:
        await store.settle_quarantine(tx, landed, "discarded" if discarded else "replayed", discarded)
    if refused:
        said = [(row_id, bad.reason[:500].replace("\x00", "\ufffd"), bad.pointer[:300]) for row_id, bad in refused]
        await store.refuse_again(tx, said)


async def open_quarantine(tx: Tx, connection_id: int, ids: Sequence[int] | None, reason: str | None) -> list[int]:
    """Ids of a connection's rows that are not settled, at most 10,000, locked."""
    return [row["id"] for row in await store.open_quarantine(tx, connection_id, ids, reason, 0, 10_000)]


async def quarantine_counts(tx: Tx) -> dict[int, dict[str, int]]:
    """Open quarantine rows by connection and reason."""
    counts: dict[int, dict[str, int]] = {}
    for row in await store.quarantine_counts(tx):
        counts.setdefault(row["connection_id"], {})[row["reason"]] = row["rows"]
    return counts


async def note_drift(tx: Tx, connection_id: int, fields: Iterable[str]) -> list[str]:
    """Remember vendor fields that the mapping neither uses nor ignores; each is reported once per connection.
    Returns those that were new."""
    wanted = sorted({field.replace("\x00", "\ufffd")[:200] for field in fields})
    if not wanted:
        return []
    new = await store.note_drift(tx, connection_id, wanted)
    if new:
        log.info("schema_drift", connection_id=connection_id, fields=new)
    return new


async def sync_now(tx: Tx, connection_id: int) -> None:
    """Make the connection due now and wake a worker; a pull that is running is followed by another. NotFound."""
    if not await store.sync_now(tx, connection_id):
        raise NotFound("there is no such connection", code="no_connection")
    tx.wake(tasks.SYNC)


async def drift_of(tx: Tx, connection_id: int) -> Mapping[str, str]:
    """Unmapped vendor fields of a connection and when each was first seen (ISO)."""
    return {row["field"]: row["first_seen_at"].isoformat() for row in await store.drift_rows(tx, connection_id)}


__all__ = [
    "TABLE_TYPES",
    "XLSX_TYPE",
    "ConnectorInfo",
    "Due",
    "Known",
    "Landing",
    "OrderRow",
    "Preview",
    "Run",
    "TrialResult",
    "add_connection",
    "add_vendor",
    "capabilities",
    "change_connection",
    "connection_settings",
    "connections_to_poll",
    "describe_all",
    "drift_of",
    "due_connections",
    "finish_run",
    "forget_old",
    "get_connection",
    "land_push",
    "landed",
    "list_connections",
    "list_vendors",
    "next_sync_kind",
    "note_drift",
    "open_connector",
    "open_quarantine",
    "own_connection",
    "poll_messages",
    "preview",
    "preview_connection",
    "quarantine",
    "quarantine_counts",
    "release_run",
    "replayable",
    "rotate_secrets",
    "save_progress",
    "set_status",
    "settle_quarantine",
    "start_run",
    "sweep_drift",
    "sync_now",
    "try_connection",
    "uploaded_listings",
    "uploaded_orders",
    "vendor_name",
]
