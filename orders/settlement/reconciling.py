"""Daily reconciliation: a vendor's purchase orders up to the end of a day, held against its lists and the deliveries,
page by page. The cursor is saved with each page's effects, so a run that broke off goes on after the last page, and two
processes at one run take turns. What disagrees becomes a case; a run repeated changes nothing."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import structlog

from connectors import api as connectors
from connectors.contracts import ListedStatus
from hub.kernel.db import Tx, uow
from hub.kernel.errors import HubError, Misconfigured, Rejected
from hub.kernel.failpoints import failpoint
from orders import store
from orders.contracts import LineDelivery
from orders.lifecycle import PoStatus
from orders.settlement import lists
from orders.settlement.rules import CaseKind, Difference, OurLine, TheirRow, compare, day_bounds, day_of
from orders.store import reconciling as kept

log = structlog.get_logger()
LOOK_BACK = timedelta(days=45)  # how long after a purchase order was made its agreement is still checked each day
CLOSED_FOR = timedelta(hours=2)  # after midnight in Shanghai, before the day that ended is reconciled unasked
_EDGE = timedelta(hours=1)  # a vendor may date an order made at midnight on the next day
_PAGE = 500

Deliveries = Callable[[Tx, Sequence[UUID]], Awaitable[Sequence[LineDelivery]]]
_deliveries: Deliveries | None = None


def read_deliveries_with(reader: Deliveries) -> None:
    """Let `reader` tell what was delivered of lines; fulfilment's to say, and wired where everything is (hub.app)."""
    global _deliveries
    _deliveries = reader


async def deliveries_of(tx: Tx, line_ids: Sequence[UUID]) -> dict[UUID, LineDelivery]:
    """What is known of the delivery of these lines."""
    if _deliveries is None:
        raise Misconfigured("nobody tells what was delivered: call read_deliveries_with first", code="not_wired")
    return {line.line_id: line for line in await _deliveries(tx, line_ids)} if line_ids else {}


async def start(tx: Tx, vendor_id: int, day: date) -> int:
    """Start (or go on with) the run of a vendor's day; its id. Raises Rejected for a day that is not over."""
    if day_bounds(day)[1] > tx.now:
        raise Rejected(f"{day} is not over in Shanghai; a day is reconciled once it is", code="day_not_over")
    return await kept.start_run(tx, vendor_id, day)


async def run(vendor_id: int, day: date) -> int:
    """Reconcile a vendor up to the end of a day, to the end; the run's id."""
    async with uow() as tx:
        run_id = await start(tx, vendor_id, day)
    while await step(run_id):
        failpoint("settlement.page_reconciled")
    return run_id


async def step(run_id: int) -> bool:
    """One page of a run in one transaction; False when nothing is left to do."""
    async with uow() as tx:
        row = await kept.lock_run(tx, run_id)
        if row is None:
            return False
        vendor_id, until = row["vendor_id"], day_bounds(row["day"])[1]
        counts = Counter(row["figures"])
        if row["cursor"] is None:
            counts["matched_late"] += await lists.match_again(tx, vendor_id)
        since = until - LOOK_BACK
        pos = await kept.pos_made(tx, vendor_id, since, until, row["cursor"], _PAGE)
        fresh = await kept.newest_list_at(tx, vendor_id)
        if pos:
            found = await _differences(tx, vendor_id, pos, day_of(since))
            counts += await _settle(tx, vendor_id, [po["id"] for po in pos], found, fresh)
            counts["purchase_orders"] += len(pos)
            counts["agree"] += len(pos) - len({case.po_id for case in found})
            await kept.save_run(tx, run_id, pos[-1]["id"], counts, done=False)
            return True
        counts += await _settle(tx, vendor_id, None, await _strangers(tx, vendor_id), fresh)
        await kept.save_run(tx, run_id, row["cursor"], counts, done=True)
        return False


@dataclass(slots=True)
class _Found:
    """A disagreement as a case keeps it."""

    kind: str
    subject: str
    po_id: UUID | None
    row_id: int | None
    sku: str
    number: str
    ours: str
    theirs: str
    log: str = "[]"


@dataclass(slots=True)
class _Change:
    id: int
    state: str
    resolution: str | None
    ours: str
    theirs: str
    reopened: int
    log: str


async def _differences(tx: Tx, vendor_id: int, pos: Sequence[store.Row], since: date) -> list[_Found]:
    rows: dict[UUID, list[TheirRow]] = defaultdict(list)
    for row in await kept.listed_about(tx, [po["id"] for po in pos]):
        rows[row["po_id"]].append(
            TheirRow(row["sku"], row["quantity"], row["amount"], row["currency"], ListedStatus(row["status"]))
        )
    ids = [UUID(line["id"]) for po in pos for line in po["lines"] or ()]
    arrived = {line_id for line_id, line in (await deliveries_of(tx, ids)).items() if line.delivered_at is not None}
    days = [(row["day_from"], row["day_to"]) for row in await kept.covering_lists(tx, vendor_id, since)]
    found = []
    for po in pos:
        lines = [
            OurLine(
                line["sku"],
                line["quantity"],
                Decimal(line["unit_price"]),
                line["currency"],
                bool(line["carried"]) and UUID(line["id"]) in arrived,
            )
            for line in po["lines"] or ()
        ]
        listed = _covered(days, po["created_at"])
        for difference in compare(PoStatus(po["status"]), lines, rows[po["id"]], listed=listed):
            found.append(_about_po(po, difference))
    return found


def _covered(days: Sequence[tuple[date, date]], made_at: datetime) -> bool:
    moments = (day_of(made_at), day_of(made_at + _EDGE))
    return all(any(first <= moment <= last for first, last in days) for moment in moments)


def _about_po(po: store.Row, difference: Difference) -> _Found:
    return _Found(
        kind=difference.kind.value,
        subject=f"po:{po['id'].hex}:{difference.sku}",
        po_id=po["id"],
        row_id=None,
        sku=difference.sku,
        number=po["number"],
        ours=json.dumps(dict(difference.ours), ensure_ascii=False, sort_keys=True),
        theirs=json.dumps(dict(difference.theirs), ensure_ascii=False, sort_keys=True),
    )


async def _strangers(tx: Tx, vendor_id: int) -> list[_Found]:
    """Rows whose number nobody knows."""
    return [
        _Found(
            kind=CaseKind.MISSING_HERE.value,
            subject=f"row:{row['id']}",
            po_id=None,
            row_id=row["id"],
            sku=row["sku"],
            number=row["ref"],
            ours="{}",
            theirs=json.dumps({"status": row["status"], "amount": str(row["amount"])}, sort_keys=True),
        )
        for row in await kept.waiting_rows(tx, vendor_id, 0, 100_000, lists.UNKNOWN_NUMBER)
    ]


async def _settle(
    tx: Tx, vendor_id: int, po_ids: Sequence[UUID] | None, found: Sequence[_Found], newest_list: datetime | None
) -> Counter[str]:
    """Bring the cases about these purchase orders (None: about rows of lists) to what was found now."""
    counts: Counter[str] = Counter()
    known = {(row["kind"], row["subject"]): row for row in await kept.cases_about(tx, vendor_id, po_ids)}
    new: list[_Found] = []
    changes: list[_Change] = []
    at = tx.now.isoformat()
    for case in found:
        row = known.pop((case.kind, case.subject), None)
        if row is None:
            case.log = _log(at, "opened", case)
            new.append(case)
            counts["opened"] += 1
            continue
        same = (row["ours"], row["theirs"]) == (json.loads(case.ours), json.loads(case.theirs))
        if row["state"] == "open" and same:
            counts["still_open"] += 1
        elif row["state"] == "open":
            changes.append(_Change(row["id"], "open", None, case.ours, case.theirs, 0, _log(at, "changed", case)))
            counts["changed"] += 1
        elif _stands(row, same, newest_list):
            counts["accepted"] += 1
        else:
            changes.append(_Change(row["id"], "open", None, case.ours, case.theirs, 1, _log(at, "reopened", case)))
            counts["reopened"] += 1
    for row in known.values():
        if row["state"] == "open":
            ours, theirs = json.dumps(row["ours"]), json.dumps(row["theirs"])
            changes.append(_Change(row["id"], "resolved", "cleared", ours, theirs, 0, _log(at, "cleared", None)))
            counts["cleared"] += 1
    if new:
        await kept.add_cases(tx, vendor_id, new)
    if changes:
        await kept.change_cases(tx, changes)
    return counts


def _stands(row: store.Row, same: bool, newest_list: datetime | None) -> bool:
    """Whether a resolution holds although the disagreement is still found. An accepted difference stands while its
    figures stay the same; a promised correction until the vendor has sent another list; a case that ended by
    itself never."""
    if row["resolution"] == "accepted":
        return same
    waits: bool = newest_list is None or newest_list <= row["resolved_at"]
    return bool(row["resolution"] == "corrected" and same and waits)


def _log(at: str, what: str, case: _Found | None) -> str:
    said: dict[str, Any] = {"at": at, "by": "run", "what": what}
    if case is not None:
        said |= {"ours": json.loads(case.ours), "theirs": json.loads(case.theirs)}
    return json.dumps([said], ensure_ascii=False)


async def reconcile_due() -> int:
    """A task: reconcile yesterday (Asia/Shanghai) for every vendor that has not been, with its own list where its
    system gives one; returns how many runs. A vendor whose system fails is tried again at the next sweep."""
    async with uow() as tx:
        yesterday = day_of(tx.now - CLOSED_FOR) - timedelta(days=1)
        vendors = [vendor["id"] for vendor in await connectors.list_vendors(tx)]
        due = await kept.vendors_without_run(tx, vendors, yesterday, day_bounds(yesterday)[1] - LOOK_BACK)
    done = 0
    for vendor_id in due:
        try:
            await lists.ask(vendor_id, yesterday)
        except HubError as error:
            log.warning("vendor_list_failed", vendor_id=vendor_id, day=str(yesterday), error=str(error))
            continue
        await run(vendor_id, yesterday)
        done += 1
    return done
