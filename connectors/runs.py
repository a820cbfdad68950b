"""Sync runs: one pull of one connection, resumable after its last saved page, by one worker at a time.

A run holds a lease that every saved page renews; a run whose lease is over was abandoned (its worker died) and the
next start resumes it. A failed run is resumed too, unless it failed three times, is older than six hours, or a pull
of the other kind is wanted: then it stays failed and a new one begins from the first page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, NamedTuple

from connectors import manifest, store
from connectors.contracts import Capability, Cursor
from connectors.described import lists_changes_only, of_connection
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict, NotFound
from hub.kernel.types import Frozen

Kind = Literal["full", "incremental", "stock"]  # the first two pull stock as well, where the system has it apart
LEASE_S = 120.0
RESUME_ATTEMPTS = 3
RESUME_WITHIN = timedelta(hours=6)


class Run(Frozen):
    """A started or resumed run: pull from `cursor`; the next page is number `page_no` (0 for the first)."""

    id: int
    connection_id: int
    kind: Kind
    cursor: Cursor | None
    page_no: int
    resumed: bool
    seen: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    quarantined: int = 0
    stock_seen: int = 0
    stock_changed: int = 0


async def start_run(tx: Tx, connection_id: int, kind: Kind, *, afresh: bool = False) -> Run:
    """Begin a run, or (unless it is to begin `afresh`) resume the connection's unfinished one; where the source lists
    changes alone it is never a full one. Raises Conflict while another worker's lease runs and when the connection is
    paused, NotFound when there is no such connection."""
    held = await store.take_connection(tx, connection_id)
    if held is None:
        raise NotFound("there is no such connection", code="no_connection")
    if held["status"] != "live":
        raise Conflict("the connection is paused", code="paused")
    if kind == "full" and await _lists_changes_only(tx, connection_id):
        kind = "incremental"
    last = await store.last_run(tx, connection_id)
    if last is not None and last["status"] == "running" and last["lease_until"] > tx.now:
        raise Conflict("this connection is being pulled already", code="sync_running", facts={"run_id": last["id"]})
    if last is not None and last["status"] != "done":
        worth_it = (
            not afresh
            and last["kind"] == kind
            and last["attempts"] < RESUME_ATTEMPTS
            and last["started_at"] > tx.now - RESUME_WITHIN
            and last["pages"] > 0
        )
        if worth_it:
            await store.resume_run(tx, last["id"], LEASE_S)
            figures = {name: last[name] for name in FIGURES}
            return Run(
                id=last["id"], connection_id=connection_id, kind=kind, cursor=last["cursor"], page_no=last["pages"],
                resumed=True, **figures,
            )  # fmt: skip
        if last["status"] == "running":
            await store.abandon_run(tx, last["id"], "the worker went away")
    cursor: Cursor | None = None
    if kind == "incremental" and held["watermark"] is not None:
        cursor = {"since": held["watermark"].isoformat()}
    run_id = await store.new_run(tx, connection_id, kind, cursor, LEASE_S)
    return Run(id=run_id, connection_id=connection_id, kind=kind, cursor=cursor, page_no=0, resumed=False)


FIGURES = ("seen", "created", "updated", "unchanged", "quarantined", "stock_seen", "stock_changed")


async def save_progress(tx: Tx, run_id: int, *, cursor: Cursor | None, pages: int, figures: Mapping[str, int]) -> None:
    """Save where the run stands, in the transaction that stores the page's effects, and renew the lease. `figures` are
    totals of the run, under the names of FIGURES. Raises Conflict when the run was taken over: stop, nothing of this
    page may be kept."""
    values = [pages, *(figures[name] for name in FIGURES)]
    if not await store.save_progress(tx, run_id, values, cursor, LEASE_S):
        raise Conflict("this run was ended by somebody else", code="run_lost")


async def finish_run(
    tx: Tx, run_id: int, *, complete: bool, unlisted: int, error: str | None, retry_after: float | None = None
) -> None:
    """End a run. `complete` and no error: done, and the next pull is due `sync_every_s` from now (at once when
    somebody asked for one meanwhile). Otherwise failed: tried again soon, later with each failure, not before
    `retry_after` seconds. Raises Conflict when the run is not running."""
    good = complete and error is None
    why = None if good else (error or "the pull did not end complete")[:2000]
    row = await store.end_run(tx, run_id, "done" if good else "failed", unlisted, why)
    if row is None:
        raise Conflict("this run is not running", code="run_lost")
    if good:
        await store.run_succeeded(tx, row["connection_id"], row["kind"], row["started_at"])
    else:
        await store.run_failed(tx, row["connection_id"], retry_after)


async def release_run(tx: Tx, run_id: int) -> None:
    """Give up a run's lease: whoever comes next resumes it at once. Does nothing when it is not running."""
    await store.release_run(tx, run_id)


async def next_sync_kind(tx: Tx, connection_id: int) -> Kind:
    """What the next pull should be: the kind of an unfinished run that can still be resumed; incremental (or, where
    the system tells only stock apart, stock alone) when a full one was complete recently enough; otherwise full."""
    row = await store.connection(tx, connection_id)
    if row is None:
        raise NotFound("there is no such connection", code="no_connection")
    last = await store.last_run(tx, connection_id)
    if last is not None and last["status"] != "done" and last["attempts"] < RESUME_ATTEMPTS and last["pages"] > 0:
        kind: Kind = last["kind"]
        return kind
    described = of_connection(row["connector"], row["config"])
    if lists_changes_only(described, row["config"]):
        return "incremental"
    pull = described.pull_listings
    rule = pull.incremental if pull else None
    every = rule.full_every_s if rule is not None else pull.full_every_s if pull is not None else None
    if every is None or row["last_full_at"] is None or row["watermark"] is None:
        return "full"
    if tx.now - row["last_full_at"] >= timedelta(seconds=every):
        return "full"
    if rule is not None:
        return "incremental"
    return "stock" if Capability.PULLS_STOCK in described.capabilities else "full"


async def _lists_changes_only(tx: Tx, connection_id: int) -> bool:
    """Whether no pull of this connection proves that something is gone, however full it is wanted."""
    row = await store.connection(tx, connection_id)
    return row is not None and lists_changes_only(of_connection(row["connector"], row["config"]), row["config"])


async def sweep_drift(tx: Tx) -> dict[int, int]:
    """Connection -> rows that its last full sweep found changed although the pulls of changes had not told: how far its
    vendor's word about changes can be trusted."""
    return {row["connection_id"]: row["rows"] for row in await store.sweep_drift(tx)}


class Due(NamedTuple):
    """A connection whose time has come. `failures` counts its runs that failed since the last good one."""

    connection_id: int
    failures: int


async def due_connections(tx: Tx, limit: int = 1000) -> list[Due]:
    """Live connections due for a pull that nobody is pulling, longest overdue first."""
    never = [
        name for name in manifest.systems() if Capability.PULLS_LISTINGS not in manifest.manifest_of(name).capabilities
    ]
    return [Due(*row) for row in await store.due(tx, limit, never)]
