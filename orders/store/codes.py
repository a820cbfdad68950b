"""SQL over what a mall has seen of its codes. The codes themselves are kept by the connector alone."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

import asyncpg

from hub.kernel.db import Tx

Noted = tuple[uuid.UUID, int, int, str, datetime | None]  # line, its number, position in it, masked, valid until


async def note_codes(tx: Tx, order_id: uuid.UUID, mall_id: int, rows: Sequence[Noted]) -> None:
    """Remember that codes were revealed; the first time counts."""
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(5)]
    await tx.run(
        "INSERT INTO order_codes (order_id, mall_id, revealed_at, line_id, line_no, position, masked, valid_until) "
        "SELECT $1, $2, $3, u.* FROM unnest($4::uuid[], $5::int2[], $6::int4[], $7::text[], $8::timestamptz[]) u "
        "ON CONFLICT (line_id, position) DO NOTHING",
        order_id,
        mall_id,
        tx.now,
        *columns,
    )


async def codes_of(tx: Tx, order_id: uuid.UUID) -> list[asyncpg.Record]:
    """The revealed codes of an order, masked, in order."""
    return await tx.fetch("SELECT * FROM order_codes WHERE order_id = $1 ORDER BY line_no, position", order_id)


async def revealed_lines(tx: Tx, line_ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Those of the lines whose codes were revealed."""
    if not line_ids:
        return set()
    rows = await tx.fetch("SELECT DISTINCT line_id FROM order_codes WHERE line_id = ANY($1)", list(line_ids))
    return {row["line_id"] for row in rows}
