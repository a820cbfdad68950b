"""Tables and SQL of reviews: the rules of a mall, a mark of who ordered to where, and the orders that a rule
found. Marks are keyed hashes; nothing here tells who a person is. The hub and the order's own mall see them, no
vendor does."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from hub.kernel.db import Tx, metadata
from orders.suspicion import COUNTED

order_review_rules = Table(
    "order_review_rules",  # versions of a mall's rules; the highest counts, none means none
    metadata,
    Column("mall_id", BigInteger, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("rules", JSONB, nullable=False),
    Column("set_at", DateTime(timezone=True), nullable=False),
    Column("set_by", Text, nullable=False),
)

order_marks = Table(
    "order_marks",
    metadata,
    Column("order_id", UUID(as_uuid=True), primary_key=True),
    Column("mall_id", BigInteger, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("employee", LargeBinary),  # keyed hash of employee_ref
    Column("address", LargeBinary),  # keyed hash of the address in plain form
    Column("amount", Numeric(16, 4), nullable=False),
    Column("currency", Text, nullable=False),
    Index("ix_order_marks_employee", "employee", "at", postgresql_where=text("employee IS NOT NULL")),
    Index("ix_order_marks_address", "address", "at", postgresql_where=text("address IS NOT NULL")),
    Index("ix_order_marks_mall", "mall_id", "at"),
    Index("ix_order_marks_at", "at", postgresql_using="brin"),  # for forgetting; rows come in order of time
)

order_reviews = Table(
    "order_reviews",
    metadata,
    Column("order_id", UUID(as_uuid=True), ForeignKey("orders.id"), primary_key=True),
    Column("mall_id", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("findings", JSONB, nullable=False),
    Column("rules_version", Integer, nullable=False),
    Column("found_at", DateTime(timezone=True), nullable=False),
    Column("held_until", DateTime(timezone=True)),
    Column("at_deadline", Text, nullable=False),
    Column("decided_at", DateTime(timezone=True)),
    Column("decided_by", Text),
    Column("reason", Text),
    CheckConstraint("state IN ('flagged', 'held', 'released', 'refused', 'overtaken')", name="state"),
    CheckConstraint("at_deadline IN ('refuse', 'release')", name="at_deadline"),
    CheckConstraint("(state = 'held') <= (held_until IS NOT NULL)", name="held_until"),
    Index("ix_order_reviews_open", "order_id", postgresql_where=text("state IN ('flagged', 'held')")),
    Index("ix_order_reviews_deadline", "held_until", postgresql_where=text("state = 'held'")),
)


async def newest_rules(tx: Tx, mall_id: int) -> asyncpg.Record | None:
    return await tx.fetchrow(
        "SELECT version, rules, set_at, set_by FROM order_review_rules WHERE mall_id = $1 ORDER BY version DESC "
        "LIMIT 1",
        mall_id,
    )


async def add_rules(tx: Tx, mall_id: int, rules: dict[str, Any], by: str) -> int | None:
    """Keep a new version; its number, or None when there is no such mall. One at a time a mall."""
    await tx.run("SELECT pg_advisory_xact_lock(hashtextextended('supplyhub.review_rules', $1))", mall_id)
    version: int | None = await tx.fetchval(
        "INSERT INTO order_review_rules (mall_id, version, rules, set_at, set_by) SELECT m.id, 1 + coalesce((SELECT "
        "max(version) FROM order_review_rules r WHERE r.mall_id = m.id), 0), $2, $3, $4 FROM malls m WHERE m.id = $1 "
        "RETURNING version",
        mall_id,
        json.dumps(rules),
        tx.now,
        by,
    )
    return version


async def take_turns(tx: Tx, keys: Sequence[int]) -> None:
    """Let orders that share one of these keys be judged one after the other until the transaction ends."""
    await tx.run("SELECT pg_advisory_xact_lock(k) FROM unnest($1::bigint[]) AS k", sorted(keys))


# What each rule's window held before this order, in one statement; the mark of this order is written with it. The
# branch of the wrong kind costs nothing (a one-time filter), and a window is read to COUNTED rows at most.
_MEASURE = (
    "WITH mark AS (INSERT INTO order_marks (order_id, mall_id, at, employee, address, amount, currency) "  # noqa: S608
    "SELECT $1, $2, $3, ($4::bytea[])[1], ($5::bytea[])[1], $6, $7 WHERE $8), "
    "r AS (SELECT * FROM unnest($9::text[], $10::text[], $11::timestamptz[], $12::text[]) AS r(name, per, since, "
    "currency)) "
    "SELECT r.name, NULL::int8 AS product_id, count(m.order_id) AS orders, "
    "coalesce(sum(m.amount) FILTER (WHERE m.currency = r.currency), 0) AS amount, "
    "array_agg(DISTINCT m.employee) FILTER (WHERE m.employee IS NOT NULL) AS employees "
    "FROM r LEFT JOIN LATERAL ("
    + " UNION ALL ".join(
        f"(SELECT order_id, amount, currency, employee FROM order_marks "  # noqa: S608
        f"WHERE r.per = '{per}' AND mall_id = $2 AND {rule} AND order_id <> $1 "
        f"AND at > r.since ORDER BY at DESC LIMIT {COUNTED})"
        for per, rule in (("employee", "employee = ANY($4)"), ("address", "address = ANY($5)"), ("mall", "true"))
    )
    + ") AS m ON true GROUP BY r.name UNION ALL "
    "SELECT d.name, l.product_id, sum(l.quantity), 0, NULL FROM unnest($13::text[], $14::timestamptz[]) AS "
    "d(name, since) "
    "JOIN order_marks m ON m.employee = ANY($4) AND m.mall_id = $2 AND m.at > d.since AND m.order_id <> $1 "
    "JOIN order_lines l ON l.order_id = m.order_id AND l.product_id = ANY($15) "
    "AND l.status NOT IN ('cancelled', 'expired', 'unsupplied') GROUP BY d.name, l.product_id"
)


async def measure(
    tx: Tx,
    order_id: uuid.UUID,
    mall_id: int,
    employee: Sequence[bytes],
    address: Sequence[bytes],
    amount: Decimal,
    currency: str,
    windows: Sequence[tuple[str, str, datetime, str]],
    drains: Sequence[tuple[str, datetime]],
    products: Sequence[int],
    *,
    write: bool = True,
) -> list[asyncpg.Record]:
    """Write the order's mark (the first of `employee` and `address`; `write`) and say what was there before it:
    for each window (rule, per, since, currency) orders, amount and employees; for each drain (rule, since) and
    product the units that the employee's earlier orders still want, as `orders` of a `product_id`."""
    columns = [list(column) for column in zip(*windows, strict=True)] or [[], [], [], []]
    columns += [[name for name, _ in drains], [at for _, at in drains], list(products)]
    return await tx.fetch(
        _MEASURE, order_id, mall_id, tx.now, list(employee), list(address), amount, currency, write, *columns
    )


async def add_review(
    tx: Tx,
    order_id: uuid.UUID,
    mall_id: int,
    findings: Sequence[dict[str, Any]],
    version: int,
    held_until: datetime | None,
    at_deadline: str,
) -> None:
    await tx.run(
        "INSERT INTO order_reviews (order_id, mall_id, state, findings, rules_version, found_at, held_until, "
        "at_deadline) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        order_id,
        mall_id,
        "flagged" if held_until is None else "held",
        json.dumps(findings, ensure_ascii=False),
        version,
        tx.now,
        held_until,
        at_deadline,
    )


async def lock_review(tx: Tx, order_id: uuid.UUID) -> asyncpg.Record | None:
    """A review, locked; take the order's lock first."""
    return await tx.fetchrow("SELECT * FROM order_reviews WHERE order_id = $1 FOR UPDATE", order_id)


async def decide(tx: Tx, order_id: uuid.UUID, state: str, by: str, reason: str | None) -> None:
    """Close a review and end the order's hold."""
    await tx.run(
        "WITH r AS (UPDATE order_reviews SET state = $2, decided_at = $3, decided_by = $4, reason = $5 "
        "WHERE order_id = $1) UPDATE orders SET held_until = NULL, reason = CASE WHEN $2 = 'refused' THEN $5 "
        "ELSE reason END WHERE id = $1",
        order_id,
        state,
        tx.now,
        by,
        reason,
    )


async def past_deadline(tx: Tx, limit: int) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT order_id, at_deadline FROM order_reviews WHERE state = 'held' AND held_until <= $1 "
        "ORDER BY held_until LIMIT $2",
        tx.now,
        limit,
    )


async def reviews_after(
    tx: Tx, states: Sequence[str], mall_id: int | None, after: uuid.UUID | None, limit: int
) -> list[asyncpg.Record]:
    """Reviews with their orders' figures, from old to new."""
    return await tx.fetch(
        "SELECT v.*, o.mall_order_no, o.status, o.total, o.currency, o.placed_at, o.due_at, "
        "(SELECT count(*) FROM order_lines l WHERE l.order_id = o.id)::int AS lines "
        "FROM order_reviews v JOIN orders o ON o.id = v.order_id WHERE v.state = ANY($1) "
        "AND ($2::int8 IS NULL OR v.mall_id = $2) AND ($3::uuid IS NULL OR v.order_id > $3) ORDER BY v.order_id "
        "LIMIT $4",
        list(states),
        mall_id,
        after,
        limit,
    )


async def forget_marks(tx: Tx, older_than: timedelta) -> int:
    return await tx.run("DELETE FROM order_marks WHERE at < $1", tx.now - older_than)
