"""SQL of vendors' lists, of the runs that hold them against our orders, and of the cases these open."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import asyncpg

from hub.kernel.db import Tx
from orders.store.making import arrays, names, unnest

ROW_COLUMNS: tuple[tuple[str, str], ...] = (
    ("mark", "bytea"), ("ref", "text"), ("other_ref", "text"), ("sku", "text"), ("po_id", "uuid"),
    ("quantity", "int4"), ("amount", "numeric"), ("currency", "text"), ("status", "text"), ("raw_status", "text"),
    ("tax_rate", "numeric"), ("tax_amount", "numeric"), ("state", "text"), ("reason", "text"), ("raw", "bytea"),
)  # fmt: skip
_SAID = "quantity, amount, currency, status, raw_status, tax_rate, tax_amount"
_NEW_SAID = ", ".join(f"EXCLUDED.{name.strip()}" for name in _SAID.split(","))
_OLD_SAID = ", ".join(f"r.{name.strip()}" for name in _SAID.split(","))
_KEPT = "(r.by_hand AND r.state = 'matched') OR (r.state = 'discarded' AND EXCLUDED.state = 'quarantined')"
# What a person decided about a row stays, whatever the vendor says of the same number later.
_PUT_ROWS = (
    f"INSERT INTO settlement_list_rows AS r (vendor_id, list_id, first_seen_at, changed_at, {names(ROW_COLUMNS)}) "  # noqa: S608
    f"SELECT $1, $2, $3, $3, u.* FROM {unnest(ROW_COLUMNS, 4)} "
    f"ON CONFLICT (vendor_id, mark) DO UPDATE SET list_id = EXCLUDED.list_id, ({_SAID}) = ROW({_NEW_SAID}), "
    f"po_id = CASE WHEN {_KEPT} THEN r.po_id ELSE EXCLUDED.po_id END, "
    f"by_hand = r.by_hand AND r.state = 'matched', "
    f"state = CASE WHEN {_KEPT} THEN r.state ELSE EXCLUDED.state END, "
    f"reason = CASE WHEN {_KEPT} THEN r.reason ELSE EXCLUDED.reason END, "
    f"raw = CASE WHEN {_KEPT} THEN r.raw ELSE EXCLUDED.raw END, "
    f"changed_at = CASE WHEN ({_OLD_SAID}) IS DISTINCT FROM ({_NEW_SAID}) OR (r.state = 'gone') OR (NOT ({_KEPT}) "
    "AND r.po_id IS DISTINCT FROM EXCLUDED.po_id) THEN EXCLUDED.changed_at ELSE r.changed_at END "
    "RETURNING mark, state, reason, changed_at = $3 AS changed"
)


async def begin_list(tx: Tx, vendor_id: int, source: str, by: str) -> int:
    return int(
        await tx.fetchval(
            "INSERT INTO settlement_lists (vendor_id, source, figures, received_at, received_by) "
            "VALUES ($1, $2, '{}', $3, $4) RETURNING id",
            vendor_id,
            source,
            tx.now,
            by,
        )
    )


async def put_rows(tx: Tx, vendor_id: int, list_id: int, rows: Sequence[object]) -> list[asyncpg.Record]:
    """Write what a list says, newest word first; each row's mark, its state now, and whether anything changed."""
    return await tx.fetch(_PUT_ROWS, vendor_id, list_id, tx.now, *arrays(ROW_COLUMNS, rows))


async def finish_list(tx: Tx, list_id: int, days: tuple[date, date] | None, figures: Mapping[str, int]) -> int:
    """Close a list. What an earlier list of (some of) the same days had and this one has not is gone; returns how many
    rows. Call it once all rows are in: until then a list proves no absence."""
    start, end = days or (None, None)
    await tx.run(
        "UPDATE settlement_lists SET day_from = $2, day_to = $3, figures = $4 WHERE id = $1",
        list_id,
        start,
        end,
        json.dumps(figures),
    )
    return await tx.run(
        "UPDATE settlement_list_rows r SET state = 'gone', by_hand = false, changed_at = $2 FROM settlement_lists o, "
        "settlement_lists n WHERE n.id = $1 AND o.vendor_id = n.vendor_id AND o.id < n.id AND o.source = n.source "
        "AND o.day_from >= n.day_from AND o.day_to <= n.day_to AND r.list_id = o.id AND r.state <> 'gone'",
        list_id,
        tx.now,
    )


async def pos_by_number(tx: Tx, vendor_id: int, numbers: Sequence[str]) -> list[asyncpg.Record]:
    """This vendor's purchase orders that have one of these numbers, ours or the vendor's."""
    return await tx.fetch(
        "SELECT id, number, vendor_order_no FROM purchase_orders WHERE vendor_id = $1 AND number = ANY($2) UNION "
        "SELECT id, number, vendor_order_no FROM purchase_orders WHERE vendor_id = $1 AND vendor_order_no = ANY($2)",
        vendor_id,
        list(numbers),
    )


async def waiting_rows(
    tx: Tx, vendor_id: int | None, after: int, limit: int, reason: str | None = None
) -> list[asyncpg.Record]:
    """Quarantined rows, from old to new."""
    return await tx.fetch(
        "SELECT * FROM settlement_list_rows WHERE state = 'quarantined' AND ($1::int8 IS NULL OR vendor_id = $1) "
        "AND id > $2 AND ($4::text IS NULL OR reason = $4) ORDER BY id LIMIT $3",
        vendor_id,
        after,
        limit,
        reason,
    )


async def lock_row(tx: Tx, row_id: int) -> asyncpg.Record | None:
    return await tx.fetchrow("SELECT * FROM settlement_list_rows WHERE id = $1 FOR UPDATE", row_id)


async def match_rows(tx: Tx, pairs: Sequence[tuple[int, uuid.UUID]], *, by_hand: bool = False) -> None:
    """Say which purchase orders these rows are about. The raw row is no longer needed."""
    await tx.run(
        "UPDATE settlement_list_rows r SET po_id = u.po_id, state = 'matched', by_hand = $3, reason = NULL, raw "
        "= NULL, "
        "changed_at = $4 FROM unnest($1::int8[], $2::uuid[]) AS u(id, po_id) WHERE r.id = u.id",
        [row_id for row_id, _ in pairs],
        [po_id for _, po_id in pairs],
        by_hand,
        tx.now,
    )


async def discard_row(tx: Tx, row_id: int, reason: str) -> None:
    await tx.run(
        "UPDATE settlement_list_rows SET state = 'discarded', reason = $2, raw = NULL, changed_at = $3 WHERE id = $1",
        row_id,
        reason,
        tx.now,
    )


async def listed_about(tx: Tx, po_ids: Sequence[uuid.UUID]) -> list[asyncpg.Record]:
    """What the vendor's newest list says about each of these purchase orders. Two lists may name one order by different
    numbers, or one the order and the other its articles: the newer counts, so that nothing is counted twice."""
    return await tx.fetch(
        "WITH newest AS (SELECT DISTINCT ON (po_id, sku) *, first_value(sku = '') OVER (PARTITION BY po_id "
        "ORDER BY list_id DESC, id DESC) AS whole FROM settlement_list_rows WHERE po_id = ANY($1) "
        "AND state = 'matched' ORDER BY po_id, sku, list_id DESC, id DESC) "
        "SELECT po_id, sku, quantity, amount, currency, status, tax_rate, tax_amount FROM newest "
        "WHERE (sku = '') = whole ORDER BY po_id, sku",
        list(po_ids),
    )


async def covering_lists(tx: Tx, vendor_id: int, since: date) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT day_from, day_to FROM settlement_lists WHERE vendor_id = $1 AND day_to >= $2 ORDER BY id",
        vendor_id,
        since,
    )


async def newest_list_at(tx: Tx, vendor_id: int) -> datetime | None:
    at: datetime | None = await tx.fetchval(
        "SELECT max(received_at) FROM settlement_lists WHERE vendor_id = $1", vendor_id
    )
    return at


# Runs ----------------------------------------------------------------------------------------------------------------


async def start_run(tx: Tx, vendor_id: int, day: date) -> int:
    """Start the vendor's run of a day; one that is under way goes on, one that is done begins anew. Its id."""
    return int(
        await tx.fetchval(
            "INSERT INTO settlement_runs AS r (vendor_id, day, state, figures, started_at) VALUES ($1, $2, 'running', "
            "'{}', $3) ON CONFLICT (vendor_id, day) DO UPDATE SET state = 'running', "
            "cursor = CASE WHEN r.state = 'done' THEN NULL ELSE r.cursor END, "
            "figures = CASE WHEN r.state = 'done' THEN '{}' ELSE r.figures END, "
            "started_at = CASE WHEN r.state = 'done' THEN EXCLUDED.started_at ELSE r.started_at END, finished_at "
            "= NULL "
            "RETURNING id",
            vendor_id,
            day,
            tx.now,
        )
    )


async def lock_run(tx: Tx, run_id: int) -> asyncpg.Record | None:
    """The run while it is under way, locked until the transaction ends; None once it is done."""
    return await tx.fetchrow("SELECT * FROM settlement_runs WHERE id = $1 AND state = 'running' FOR UPDATE", run_id)


async def save_run(tx: Tx, run_id: int, cursor: uuid.UUID | None, figures: Mapping[str, int], done: bool) -> None:
    await tx.run(
        "UPDATE settlement_runs SET cursor = $2, figures = $3, state = CASE WHEN $4 THEN 'done' ELSE state END, "
        "finished_at = CASE WHEN $4 THEN $5::timestamptz END WHERE id = $1",
        run_id,
        cursor,
        json.dumps(figures),
        done,
        tx.now,
    )


async def run_row(tx: Tx, run_id: int) -> asyncpg.Record | None:
    return await tx.fetchrow("SELECT * FROM settlement_runs WHERE id = $1", run_id)


async def runs_before(tx: Tx, vendor_id: int | None, before: int | None, limit: int) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT * FROM settlement_runs WHERE ($1::int8 IS NULL OR vendor_id = $1) AND ($2::int8 IS NULL OR id < $2) "
        "ORDER BY id DESC LIMIT $3",
        vendor_id,
        before,
        limit,
    )


async def vendors_without_run(tx: Tx, vendor_ids: Sequence[int], day: date, since: datetime) -> list[int]:
    """Those of these vendors with purchase orders since then (or a list) whose run of this day is not done."""
    rows = await tx.fetch(
        "SELECT v.id FROM unnest($3::int8[]) AS v(id) WHERE NOT EXISTS (SELECT 1 FROM settlement_runs r "
        "WHERE r.vendor_id = v.id AND r.day = $1 AND r.state = 'done') AND ((SELECT p.created_at FROM "
        "purchase_orders p "
        "WHERE p.vendor_id = v.id ORDER BY p.id DESC LIMIT 1) >= $2 OR EXISTS (SELECT 1 FROM settlement_lists l "
        "WHERE l.vendor_id = v.id)) ORDER BY v.id",
        day,
        since,
        list(vendor_ids),
    )
    return [row["id"] for row in rows]


async def pos_made(
    tx: Tx, vendor_id: int, since: datetime, until: datetime, before: uuid.UUID | None, limit: int
) -> list[asyncpg.Record]:
    """A page of a vendor's purchase orders made in [since, until), from new to old (so that years of older ones
    are never walked through), each with its live lines, at the price that the vendor accepted. Empty at the
    end."""
    rows = await tx.fetch(
        "SELECT p.id, p.number, p.vendor_order_no, p.status, p.created_at, (SELECT jsonb_agg(jsonb_build_object("
        "'id', x.line_id, 'sku', x.vendor_sku, 'quantity', x.quantity, 'carried', l.po_id = p.id, 'unit_price', "
        "(CASE WHEN l.po_id = p.id THEN l.unit_price ELSE x.unit_price END)::text, 'currency', x.currency) "
        "ORDER BY x.line_no) FROM po_lines x JOIN order_lines l ON l.id = x.line_id "
        "WHERE x.po_id = p.id AND NOT x.removed) AS lines "
        "FROM purchase_orders p WHERE p.vendor_id = $1 AND ($3::uuid IS NULL OR p.id < $3) AND p.created_at < $2 "
        "ORDER BY p.id DESC LIMIT $4",
        vendor_id,
        until,
        before,
        limit,
    )
    return [row for row in rows if row["created_at"] >= since]


# Cases ---------------------------------------------------------------------------------------------------------------

CASE_COLUMNS: tuple[tuple[str, str], ...] = (
    ("kind", "text"), ("subject", "text"), ("po_id", "uuid"), ("row_id", "int8"), ("sku", "text"), ("number", "text"),
    ("ours", "jsonb"), ("theirs", "jsonb"), ("log", "jsonb"),
)  # fmt: skip
CHANGED_CASE: tuple[tuple[str, str], ...] = (
    ("id", "int8"), ("state", "text"), ("resolution", "text"), ("ours", "jsonb"), ("theirs", "jsonb"),
    ("reopened", "int4"), ("log", "jsonb"),
)  # fmt: skip
_ADD_CASES = (
    f"INSERT INTO settlement_cases (vendor_id, state, opened_at, {names(CASE_COLUMNS)}) "  # noqa: S608
    f"SELECT $1, 'open', $2, u.* FROM {unnest(CASE_COLUMNS, 3)}"
)
_CHANGE_CASES = (
    "UPDATE settlement_cases c SET state = u.state, resolution = u.resolution, ours = u.ours, theirs = u.theirs, "  # noqa: S608
    "times_reopened = c.times_reopened + u.reopened, log = c.log || u.log, "
    "resolved_at = CASE WHEN u.state = 'resolved' THEN $1::timestamptz END "
    f"FROM {unnest(CHANGED_CASE, 2)} WHERE c.id = u.id"
)


async def cases_about(tx: Tx, vendor_id: int, po_ids: Sequence[uuid.UUID] | None) -> list[asyncpg.Record]:
    """A vendor's cases about these purchase orders, or (None) about rows of its lists, locked."""
    about = "po_id = ANY($2)" if po_ids is not None else "$2::uuid[] IS NULL AND row_id IS NOT NULL"
    return await tx.fetch(
        f"SELECT * FROM settlement_cases WHERE vendor_id = $1 AND {about} ORDER BY id FOR UPDATE",  # noqa: S608
        vendor_id,
        list(po_ids) if po_ids is not None else None,
    )


async def add_cases(tx: Tx, vendor_id: int, rows: Sequence[object]) -> None:
    await tx.run(_ADD_CASES, vendor_id, tx.now, *arrays(CASE_COLUMNS, rows))


async def change_cases(tx: Tx, rows: Sequence[object]) -> None:
    await tx.run(_CHANGE_CASES, tx.now, *arrays(CHANGED_CASE, rows))


async def cases_after(
    tx: Tx, vendor_id: int | None, state: str | None, kind: str | None, after: int, limit: int
) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT * FROM settlement_cases WHERE ($1::int8 IS NULL OR vendor_id = $1) AND ($2::text IS NULL OR "
        "state = $2) "
        "AND ($3::text IS NULL OR kind = $3) AND id > $4 ORDER BY id LIMIT $5",
        vendor_id,
        state,
        kind,
        after,
        limit,
    )


async def lock_case(tx: Tx, case_id: int) -> asyncpg.Record | None:
    return await tx.fetchrow("SELECT * FROM settlement_cases WHERE id = $1 FOR UPDATE", case_id)


async def note_on_case(tx: Tx, case_id: int, assignee: str | None, log: Mapping[str, Any]) -> None:
    await tx.run(
        "UPDATE settlement_cases SET assignee = coalesce($2, assignee), log = log || $3::jsonb WHERE id = $1",
        case_id,
        assignee,
        json.dumps([log], ensure_ascii=False),
    )


async def resolve_case(tx: Tx, case_id: int, resolution: str, log: Mapping[str, Any]) -> None:
    await tx.run(
        "UPDATE settlement_cases SET state = 'resolved', resolution = $2, resolved_at = $3, log = log || $4::jsonb "
        "WHERE id = $1",
        case_id,
        resolution,
        tx.now,
        json.dumps([log], ensure_ascii=False),
    )
