"""SQL about voucher codes: taken in once, handed out once. Whoever takes codes holds the lock of the order and the
locks of its SKUs (in sorted order) until its transaction ends, so that what it sees as free stays free."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from hub.kernel.db import Tx

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended($1, 7))"
GUARD = "v.state = 'free'"
HAND = """UPDATE voucher_codes v SET state = 'handed', po_number = $1, line_no = r.line_no
          FROM unnest($2::bigint[], $3::int[]) AS r(id, line_no) WHERE v.id = r.id AND v.state = 'free'"""


async def lock_order(tx: Tx, connection_id: int, number: str) -> None:
    """Be the only one who works on this order's codes."""
    await tx.fetchval(LOCK, f"voucher order {connection_id} {number}")


async def lock_skus(tx: Tx, connection_id: int, skus: Collection[str]) -> None:
    """Be the only one who takes codes of these SKUs."""
    for sku in sorted(set(skus)):
        await tx.fetchval(LOCK, f"voucher sku {connection_id} {sku}")


async def add_codes(tx: Tx, connection_id: int, rows: Sequence[tuple[Any, ...]]) -> set[bytes]:
    """Take in codes, each (sku, mark, sealed, valid_until, po_number, line_no); returns the marks that were new. A code
    with an order's number is handed out already."""
    sql = """INSERT INTO voucher_codes (connection_id, sku, mark, sealed, valid_until, po_number, line_no, state,
                                        taken_in_at)
             SELECT $1, r.sku, r.mark, r.sealed, r.valid_until, r.po_number, r.line_no,
                    CASE WHEN r.po_number IS NULL THEN 'free' ELSE 'handed' END, $2
             FROM unnest($3::text[], $4::bytea[], $5::bytea[], $6::timestamptz[], $7::text[], $8::int[])
                  WITH ORDINALITY AS r(sku, mark, sealed, valid_until, po_number, line_no, n) ORDER BY r.n
             ON CONFLICT (connection_id, mark) DO NOTHING RETURNING mark"""
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(6)]
    return {bytes(row["mark"]) for row in await tx.fetch(sql, connection_id, tx.now, *columns)}


async def free_counts(tx: Tx, connection_id: int, good_until: datetime) -> dict[str, int]:
    """How many codes of each SKU may still be handed out."""
    sql = """SELECT sku, count(*) AS n FROM voucher_codes
             WHERE connection_id = $1 AND state = 'free' AND (valid_until IS NULL OR valid_until >= $2) GROUP BY sku"""
    return {row["sku"]: row["n"] for row in await tx.fetch(sql, connection_id, good_until)}


async def pick(tx: Tx, connection_id: int, sku: str, good_until: datetime, count: int) -> list[int]:
    """Ids of the free codes that are to go first: those that end first, among those that last long enough."""
    sql = """SELECT id FROM voucher_codes
             WHERE connection_id = $1 AND sku = $2 AND state = 'free' AND (valid_until IS NULL OR valid_until >= $3)
             ORDER BY valid_until NULLS LAST, id LIMIT $4"""
    return [row["id"] for row in await tx.fetch(sql, connection_id, sku, good_until, count)]


async def hand(tx: Tx, number: str, ids: Sequence[int], lines: Sequence[int]) -> int:
    """Give free codes to lines of an order; returns how many were still free."""
    return await tx.run(HAND, number, list(ids), list(lines))


async def codes_of_order(tx: Tx, connection_id: int, number: str) -> list[asyncpg.Record]:
    """The codes that an order holds, in the order of its lines."""
    sql = """SELECT id, sku, sealed, valid_until, line_no, handed_at FROM voucher_codes
             WHERE connection_id = $1 AND po_number = $2 ORDER BY line_no, id"""
    return await tx.fetch(sql, connection_id, number)


async def show_codes(tx: Tx, connection_id: int, number: str) -> None:
    """Note that the order's codes were shown; the first time counts."""
    sql = """UPDATE voucher_codes SET handed_at = $3
             WHERE connection_id = $1 AND po_number = $2 AND handed_at IS NULL"""
    await tx.run(sql, connection_id, number, tx.now)


async def give_back(tx: Tx, connection_id: int, number: str, *, for_good: bool) -> int:
    """Take an order's codes from it: free again, or (`for_good`) never to be handed out."""
    sql = """UPDATE voucher_codes SET state = $3, po_number = NULL, line_no = NULL
             WHERE connection_id = $1 AND po_number = $2"""
    return await tx.run(sql, connection_id, number, "void" if for_good else "free")


async def code_counts(tx: Tx, connection_id: int, good_until: datetime) -> list[asyncpg.Record]:
    """By SKU: codes that may be handed out, that ended or end too soon, that orders hold, that are void."""
    sql = """SELECT sku,
                    count(*) FILTER (WHERE state = 'free' AND (valid_until IS NULL OR valid_until >= $2)) AS free,
                    count(*) FILTER (WHERE state = 'free' AND valid_until < $2) AS expired,
                    count(*) FILTER (WHERE state = 'handed') AS handed,
                    count(*) FILTER (WHERE state = 'void') AS void
             FROM voucher_codes WHERE connection_id = $1 GROUP BY sku ORDER BY sku"""
    return await tx.fetch(sql, connection_id, good_until)


async def code_rows(
    tx: Tx, connection_id: int, sku: str | None, state: str | None, before: int, limit: int
) -> list[asyncpg.Record]:
    """Codes, newest first."""
    sql = """SELECT id, sku, sealed, state, valid_until, po_number, line_no, handed_at, taken_in_at FROM voucher_codes
             WHERE connection_id = $1 AND ($2::text IS NULL OR sku = $2) AND ($3::text IS NULL OR state = $3)
                   AND id < $4 ORDER BY id DESC LIMIT $5"""
    return await tx.fetch(sql, connection_id, sku, state, before, limit)
