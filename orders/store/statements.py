"""SQL of terms, adjustments and statements."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import asyncpg

from hub.kernel.db import Tx
from orders.store.making import arrays, names, unnest

# Terms and adjustments -----------------------------------------------------------------------------------------------

TERMS_COLUMNS = (
    "vendor_id", "valid_from", "valid_to", "currency", "late_per", "late_share", "late_amount", "late_cap", "tax_rate",
    "agreed", "set_by",
)  # fmt: skip
ADJUSTMENT_COLUMNS = (
    "party", "vendor_id", "mall_id", "kind", "amount", "currency", "po_id", "number", "case_id", "reason", "made_by",
)  # fmt: skip


async def take_turn(tx: Tx, what: str, party: str) -> None:
    """Let settlement of one party be done by one at a time until the transaction ends."""
    await tx.run("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"supplyhub.settlement.{what}.{party}")


async def terms_of(tx: Tx, vendor_ids: Sequence[int]) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT * FROM settlement_terms WHERE vendor_id = ANY($1) ORDER BY vendor_id, valid_from", list(vendor_ids)
    )


async def end_terms(tx: Tx, terms_id: int, last_day: date) -> None:
    await tx.run("UPDATE settlement_terms SET valid_to = $2 WHERE id = $1", terms_id, last_day)


async def add_terms(tx: Tx, values: Sequence[Any]) -> int:
    """Values as in TERMS_COLUMNS; the id."""
    slots = ", ".join(f"${i + 2}" for i in range(len(TERMS_COLUMNS)))
    return int(
        await tx.fetchval(
            f"INSERT INTO settlement_terms (set_at, {', '.join(TERMS_COLUMNS)}) VALUES ($1, {slots}) "  # noqa: S608
            "RETURNING id",
            tx.now,
            *values,
        )
    )


async def add_adjustment(tx: Tx, values: Sequence[Any]) -> int:
    """Values as in ADJUSTMENT_COLUMNS; the id."""
    slots = ", ".join(f"${i + 2}" for i in range(len(ADJUSTMENT_COLUMNS)))
    return int(
        await tx.fetchval(
            f"INSERT INTO settlement_adjustments (made_at, {', '.join(ADJUSTMENT_COLUMNS)}) "  # noqa: S608
            f"VALUES ($1, {slots}) RETURNING id",
            tx.now,
            *values,
        )
    )


async def adjustments_after(tx: Tx, party: str | None, after: int, limit: int) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT * FROM settlement_adjustments WHERE ($1::text IS NULL OR party = $1) AND id > $2 ORDER BY id LIMIT $3",
        party,
        after,
        limit,
    )


async def open_adjustments(tx: Tx, party: str, month: date, cutoff: datetime) -> list[asyncpg.Record]:
    """Adjustments of a party made before the cut-off that no issued statement of another month holds."""
    return await tx.fetch(
        "SELECT a.* FROM settlement_adjustments a WHERE a.party = $1 AND a.made_at < $3 AND NOT EXISTS (SELECT 1 FROM "
        "settlement_statement_lines l JOIN settlement_statements s ON s.id = l.statement_id WHERE "
        "l.adjustment_id = a.id "
        "AND s.state = 'issued' AND s.month <> $2) ORDER BY a.id",
        party,
        month,
        cutoff,
    )


# What is owed --------------------------------------------------------------------------------------------------------

_LINE = (
    "l.id AS line_id, l.line_no, l.mall_id, l.vendor_id, l.vendor_name, l.vendor_sku, l.title, l.quantity, "
    "l.unit_price, "
    "l.currency, l.status, p.id AS po_id, p.number AS po_number, p.vendor_order_no, o.mall_order_no, "
    "o.placed_at FROM order_lines l JOIN purchase_orders p ON p.id = l.po_id JOIN orders o ON o.id = l.order_id"
)


async def lines_of_vendor(
    tx: Tx, vendor_id: int, since: datetime, until: datetime, after: uuid.UUID | None, limit: int
) -> tuple[list[asyncpg.Record], uuid.UUID | None]:
    """The lines that purchase orders of this vendor, made in [since, until), carry now; and where to go on."""
    page = await tx.fetch(
        "SELECT id FROM purchase_orders WHERE vendor_id = $1 AND ($4::uuid IS NULL OR id > $4) AND created_at >= $2 "
        "AND created_at < $3 ORDER BY id LIMIT $5",
        vendor_id,
        since,
        until,
        after,
        limit,
    )
    return await _carried(tx, "l.po_id = ANY($1) ORDER BY p.id, l.line_no", page, limit)


async def lines_of_mall(
    tx: Tx, mall_id: int, since: datetime, until: datetime, after: uuid.UUID | None, limit: int
) -> tuple[list[asyncpg.Record], uuid.UUID | None]:
    """The lines of a mall's orders made in [since, until); and where to go on."""
    page = await tx.fetch(
        "SELECT id FROM orders WHERE mall_id = $1 AND ($4::uuid IS NULL OR id > $4) AND created_at >= $2 "
        "AND created_at < $3 ORDER BY id LIMIT $5",
        mall_id,
        since,
        until,
        after,
        limit,
    )
    return await _carried(tx, "l.order_id = ANY($1) ORDER BY o.id, l.line_no", page, limit)


async def _carried(
    tx: Tx, rule: str, page: Sequence[asyncpg.Record], limit: int
) -> tuple[list[asyncpg.Record], uuid.UUID | None]:
    ids = [row["id"] for row in page]
    lines = await tx.fetch(f"SELECT {_LINE} WHERE {rule}", ids) if ids else []
    return lines, ids[-1] if len(ids) == limit else None


async def credited(tx: Tx, line_ids: Sequence[uuid.UUID], cutoff: datetime) -> list[asyncpg.Record]:
    """What after-sales ended before the cut-off took off these lines: refunds, and the price of units that another
    order made up for, since that order is owed by itself."""
    return await tx.fetch(
        "SELECT a.line_id, "
        "sum(CASE a.status WHEN 'refunded' THEN a.refund ELSE l.unit_price * a.quantity END) AS amount "
        "FROM after_sales a JOIN order_lines l ON l.id = a.line_id WHERE a.line_id = ANY($1) "
        "AND a.status IN ('refunded', 'replaced') AND a.updated_at < $2 GROUP BY a.line_id",
        list(line_ids),
        cutoff,
    )


async def billed(tx: Tx, party: str, month: date, line_ids: Sequence[uuid.UUID]) -> list[asyncpg.Record]:
    """What issued statements of earlier months charged for these lines."""
    return await tx.fetch(
        "SELECT l.line_id, coalesce(sum(l.amount) FILTER (WHERE l.kind <> 'deduction'), 0) AS goods, "
        "coalesce(sum(l.amount) FILTER (WHERE l.kind = 'deduction'), 0) AS deducted, "
        "coalesce(sum(l.quantity) FILTER (WHERE l.kind <> 'deduction'), 0)::int AS quantity, "
        "sum(l.tax_amount) FILTER (WHERE l.kind <> 'deduction') AS tax "
        "FROM settlement_statement_lines l JOIN settlement_statements s ON s.id = l.statement_id "
        "WHERE l.line_id = ANY($3) AND s.party = $1 AND s.state = 'issued' AND s.month < $2 GROUP BY l.line_id",
        party,
        month,
        list(line_ids),
    )


async def billed_and_moved(tx: Tx, party: str, month: date, since: date, vendor_id: int) -> list[asyncpg.Record]:
    """Lines that issued statements of a vendor since then charged and that another vendor carries now."""
    return await tx.fetch(
        f"SELECT {_LINE} WHERE l.vendor_id <> $4 AND l.id IN (SELECT x.line_id FROM settlement_statement_lines x "  # noqa: S608
        "JOIN settlement_statements s ON s.id = x.statement_id WHERE s.party = $1 AND s.state = 'issued' "
        "AND s.month < $2 AND s.month >= $3) ORDER BY l.id",
        party,
        month,
        since,
        vendor_id,
    )


# Statements ----------------------------------------------------------------------------------------------------------

LINE_COLUMNS: tuple[tuple[str, str], ...] = (
    ("no", "int4"), ("kind", "text"), ("line_id", "uuid"), ("adjustment_id", "int8"), ("order_no", "text"),
    ("po_number", "text"), ("vendor_order_no", "text"), ("counterpart", "text"), ("line_no", "int4"), ("sku", "text"),
    ("title", "text"), ("quantity", "int4"), ("unit_price", "numeric"), ("amount", "numeric"), ("tax_rate", "numeric"),
    ("tax_amount", "numeric"), ("tax_source", "text"), ("delivered_at", "timestamptz"), ("due_at", "timestamptz"),
    ("days_late", "int4"), ("note", "text"),
)  # fmt: skip
SUMS = ("lines", "goods", "corrections", "adjustments", "deductions", "net", "rounding", "payable", "tax",
        "lines_without_tax")  # fmt: skip
_ADD_LINES = (
    "INSERT INTO settlement_statement_lines (statement_id, vendor_id, mall_id, "  # noqa: S608
    f"{names(LINE_COLUMNS)}) SELECT $1, $2, $3, u.* FROM {unnest(LINE_COLUMNS, 4)}"
)


async def statements_of(tx: Tx, party: str, month: date | None = None) -> list[asyncpg.Record]:
    """All statements of a party (of one month), newest version first."""
    return await tx.fetch(
        "SELECT * FROM settlement_statements WHERE party = $1 AND ($2::date IS NULL OR month = $2) "
        "ORDER BY month DESC, currency, version DESC",
        party,
        month,
    )


async def drop_drafts(tx: Tx, party: str, month: date) -> None:
    """Forget the drafts of a month."""
    drafts = "SELECT id FROM settlement_statements WHERE party = $1 AND month = $2 AND state = 'draft'"
    await tx.run(f"DELETE FROM settlement_statement_lines WHERE statement_id IN ({drafts})", party, month)  # noqa: S608
    await tx.run(f"DELETE FROM settlement_statements WHERE id IN ({drafts})", party, month)  # noqa: S608


async def add_draft(
    tx: Tx,
    party: str,
    vendor_id: int | None,
    mall_id: int | None,
    name: str,
    month: date,
    currency: str,
    version: int,
    cutoff: datetime,
    reason: str | None,
) -> int:
    """An empty draft; its id."""
    return int(
        await tx.fetchval(
            "INSERT INTO settlement_statements (party, vendor_id, mall_id, party_name, month, currency, version, "
            "state, "
            "cutoff_at, lines, goods, corrections, adjustments, deductions, net, rounding, payable, lines_without_tax, "
            "reason, drafted_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 'draft', $8, 0, 0, 0, 0, 0, 0, 0, 0, 0, $9, $10) "
            "RETURNING id",
            party,
            vendor_id,
            mall_id,
            name,
            month,
            currency,
            version,
            cutoff,
            reason,
            tx.now,
        )
    )


async def add_lines(
    tx: Tx, statement_id: int, vendor_id: int | None, mall_id: int | None, lines: Sequence[object]
) -> None:
    await tx.run(_ADD_LINES, statement_id, vendor_id, mall_id, *arrays(LINE_COLUMNS, lines))


async def save_sums(tx: Tx, statement_id: int, sums: Sequence[Any]) -> None:
    """Values as in SUMS."""
    changes = ", ".join(f"{name} = ${i + 2}" for i, name in enumerate(SUMS))
    await tx.run(f"UPDATE settlement_statements SET {changes} WHERE id = $1", statement_id, *sums)  # noqa: S608


async def statement(tx: Tx, statement_id: int) -> asyncpg.Record | None:
    return await tx.fetchrow("SELECT * FROM settlement_statements WHERE id = $1", statement_id)


async def lines_after(tx: Tx, statement_id: int, after: int, limit: int) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT * FROM settlement_statement_lines WHERE statement_id = $1 AND no > $2 ORDER BY no LIMIT $3",
        statement_id,
        after,
        limit,
    )


async def issue(tx: Tx, statement_id: int, by: str, previous_hash: str | None, digest: str) -> None:
    """Freeze a draft, and let it take the place of the version before it."""
    await tx.run(
        "UPDATE settlement_statements o SET state = 'superseded' FROM settlement_statements n WHERE n.id = $1 "
        "AND (o.party, o.month, o.currency) = (n.party, n.month, n.currency) AND o.state = 'issued'",
        statement_id,
    )
    await tx.run(
        "UPDATE settlement_statements SET state = 'issued', issued_at = $2, issued_by = $3, previous_hash = $4, "
        "hash = $5 "
        "WHERE id = $1",
        statement_id,
        tx.now,
        by,
        previous_hash,
        digest,
    )


async def statements_before(
    tx: Tx, vendor_id: int | None, mall_id: int | None, issued_only: bool, before: int | None, limit: int
) -> list[asyncpg.Record]:
    """Statements from new to old: of a vendor, of a mall, or (neither given) of everybody."""
    return await tx.fetch(
        "SELECT * FROM settlement_statements WHERE ($1::int8 IS NULL OR vendor_id = $1) "
        "AND ($2::int8 IS NULL OR mall_id = $2) AND (NOT $3 OR state <> 'draft') AND ($4::int8 IS NULL OR id < $4) "
        "ORDER BY id DESC LIMIT $5",
        vendor_id,
        mall_id,
        issued_only,
        before,
        limit,
    )


async def wrong_statements(tx: Tx) -> int:
    """Statements whose lines do not add up to what they say."""
    return int(
        await tx.fetchval(
            "SELECT count(*) FROM settlement_statements s LEFT JOIN LATERAL (SELECT count(*) AS lines, "
            "coalesce(sum(amount), 0) AS net FROM settlement_statement_lines l WHERE l.statement_id = s.id) x ON true "
            "WHERE (s.lines, s.net) IS DISTINCT FROM (x.lines, x.net)"
        )
    )


async def mall_name(tx: Tx, mall_id: int) -> str | None:
    name: str | None = await tx.fetchval("SELECT name FROM malls WHERE id = $1", mall_id)
    return name
