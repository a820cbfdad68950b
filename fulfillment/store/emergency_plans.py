"""SQL of allocation plans: their life, what they allot and why, and the figures of an incident."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
import orjson

from hub.kernel.db import Tx

_VIEW = (
    "p.id, p.incident_id, p.state, p.stage, p.done, p.attempts, p.author_key, p.author, p.created_at, p.replaces, "
    "p.epoch, p.snapshot_at, p.solved_at, p.seconds, p.snapshot_sha256, p.plan_sha256, p.longest_hours, p.figures, "
    "p.comparison, p.committed_at, p.committed_by, p.dispatched_at, p.problem, coalesce((SELECT "
    "jsonb_agg(jsonb_build_object('actor', a.actor, 'at', a.at) ORDER BY a.at) FROM emergency_approvals a "
    "WHERE a.plan_id = p.id), '[]') AS approvals, (SELECT max(n.id) FROM emergency_plans n WHERE n.replaces = p.id) "
    "AS replaced_by"
)


async def add_plan(tx: Tx, incident_id: int, key_id: int, actor: str, replaces: int | None = None) -> int:
    return int(
        await tx.fetchval(
            "INSERT INTO emergency_plans (incident_id, state, stage, author_key, author, created_at, replaces) "
            "VALUES ($1, 'queued', 'waiting', $2, $3, $4, $5) RETURNING id",
            incident_id,
            key_id,
            actor,
            tx.now,
            replaces,
        )
    )


async def plan(tx: Tx, plan_id: int, *, lock: bool = False) -> asyncpg.Record | None:
    return await tx.fetchrow(
        f"SELECT {_VIEW} FROM emergency_plans p WHERE p.id = $1{' FOR UPDATE OF p' if lock else ''}",  # noqa: S608
        plan_id,
    )


async def plan_rows(tx: Tx, incident_id: int, before: int, limit: int) -> list[asyncpg.Record]:
    """Plans, the newest first."""
    return await tx.fetch(
        f"SELECT {_VIEW} FROM emergency_plans p WHERE p.incident_id = $1 AND p.id < $2 "  # noqa: S608
        "ORDER BY p.id DESC LIMIT $3",
        incident_id,
        before,
        limit,
    )


async def plan_files(tx: Tx, plan_id: int) -> bytes | None:
    found: bytes | None = await tx.fetchval("SELECT files FROM emergency_plans WHERE id = $1", plan_id)
    return found


async def waiting_plans(tx: Tx, incident_id: int) -> int:
    return int(
        await tx.fetchval(
            "SELECT count(*) FROM emergency_plans WHERE incident_id = $1 AND state IN ('queued', 'solving')",
            incident_id,
        )
    )


async def claim_plan(tx: Tx, lease_until: datetime) -> asyncpg.Record | None:
    """Take a plan that waits to be solved, or whose solver died."""
    return await tx.fetchrow(
        "UPDATE emergency_plans SET state = 'solving', stage = 'reading', done = 0, attempts = attempts + 1, "
        "lease_until = $2 WHERE id = (SELECT id FROM emergency_plans WHERE state = 'queued' OR (state = 'solving' "
        "AND lease_until < $1) ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, incident_id, attempts",
        tx.now,
        lease_until,
    )


async def note_stage(tx: Tx, plan_id: int, attempt: int, stage: str, done: int, lease_until: datetime) -> bool:
    """How far a solver is; False when the plan is no longer its own."""
    return (
        await tx.run(
            "UPDATE emergency_plans SET stage = $3, done = $4, lease_until = $5 WHERE id = $1 AND attempts = $2 "
            "AND state = 'solving'",
            plan_id,
            attempt,
            stage,
            done,
            lease_until,
        )
        == 1
    )


async def propose(tx: Tx, plan_id: int, attempt: int, row: dict[str, Any]) -> bool:
    """The solved plan; False when it was taken over or dropped meanwhile."""
    return (
        await tx.run(
            "UPDATE emergency_plans SET state = 'proposed', stage = 'solved', done = 100, lease_until = NULL, "
            "epoch = $3, snapshot_at = $4, solved_at = $5, seconds = $6, snapshot_sha256 = $7, plan_sha256 = $8, "
            "longest_hours = $9, figures = $10::jsonb, comparison = $11::jsonb, files = $12 "
            "WHERE id = $1 AND attempts = $2 AND state = 'solving'",
            plan_id, attempt, row["epoch"], row["snapshot_at"], tx.now, row["seconds"], row["snapshot_sha256"],
            row["plan_sha256"], row["longest_hours"], orjson.dumps(row["figures"]).decode(),
            orjson.dumps(row["comparison"]).decode(), row["files"],
        )
        == 1
    )  # fmt: skip


async def set_state(tx: Tx, plan_id: int, state: str, problem: str | None = None) -> None:
    await tx.run(
        "UPDATE emergency_plans SET state = $2, problem = coalesce($3, problem), lease_until = NULL WHERE id = $1",
        plan_id,
        state,
        problem,
    )


async def drop_open_plans(tx: Tx, incident_id: int) -> None:
    """The incident is over: what was not committed never will be."""
    await tx.run(
        "UPDATE emergency_plans SET state = 'dropped', lease_until = NULL WHERE incident_id = $1 "
        "AND state IN ('queued', 'solving', 'proposed', 'approved')",
        incident_id,
    )


async def approve(tx: Tx, plan_id: int, key_id: int, actor: str) -> bool:
    """Note an approval; False when this key has given its own."""
    return (
        await tx.run(
            "INSERT INTO emergency_approvals (plan_id, key_id, actor, at) VALUES ($1, $2, $3, $4) "
            "ON CONFLICT DO NOTHING",
            plan_id,
            key_id,
            actor,
            tx.now,
        )
        == 1
    )


async def approvers(tx: Tx, plan_id: int) -> set[int]:
    rows = await tx.fetch("SELECT key_id FROM emergency_approvals WHERE plan_id = $1", plan_id)
    return {row["key_id"] for row in rows}


async def committed(tx: Tx, plan_id: int, by: str, nothing_to_send: bool) -> None:
    await tx.run(
        "UPDATE emergency_plans SET state = 'committed', committed_at = $2, committed_by = $3, "
        "dispatched_at = CASE WHEN $4 THEN $2::timestamptz END WHERE id = $1",
        plan_id,
        tx.now,
        by,
        nothing_to_send,
    )


# -- reading


async def explained(tx: Tx, plan_id: int, site_id: int | None, after: int, limit: int) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT h.*, d.item, s.name FROM emergency_shares h JOIN emergency_demands d ON d.id = h.demand_id "
        "JOIN emergency_sites s ON s.id = h.site_id WHERE h.plan_id = $1 AND ($2::bigint IS NULL OR h.site_id = $2) "
        "AND h.demand_id > $3 ORDER BY h.demand_id LIMIT $4",
        plan_id,
        site_id,
        after,
        limit,
    )


async def told_to(tx: Tx, incident_id: int, demand_ids: Sequence[int]) -> dict[int, list[asyncpg.Record]]:
    """What committed plans said about these demands, the oldest first."""
    found: dict[int, list[asyncpg.Record]] = {}
    rows = await tx.fetch(
        "SELECT h.* FROM emergency_shares h JOIN emergency_plans p ON p.id = h.plan_id WHERE h.incident_id = $1 "
        "AND h.demand_id = ANY($2::bigint[]) AND p.state = 'committed' ORDER BY h.plan_id",
        incident_id,
        list(demand_ids),
    )
    for row in rows:
        found.setdefault(row["demand_id"], []).append(row)
    return found


_COUNTED = (
    "least(d.quantity, CASE WHEN s.tier IS NULL THEN i.unverified_headcount ELSE s.verified_headcount END::bigint * "
    "(SELECT (x->>'per_head')::int FROM jsonb_array_elements(i.items) x WHERE x->>'name' = d.item))::bigint"
)


async def figures(tx: Tx, incident_id: int) -> list[asyncpg.Record]:
    """By tier and item, in units: asked, counted, allotted, ordered, delivered, delivered by the deadline, refused by
    vendors; and sites that asked and that got something."""
    return await tx.fetch(
        "SELECT coalesce(s.tier, i.unverified_tier) AS tier, d.item, count(*)::int AS sites, "  # noqa: S608
        "(count(*) FILTER (WHERE got.allotted > 0))::int AS served, sum(d.quantity)::bigint AS asked, "
        f"sum({_COUNTED})::bigint AS counted, coalesce(sum(got.allotted), 0)::bigint AS allotted, "
        "coalesce(sum(got.ordered), 0)::bigint AS ordered, coalesce(sum(got.delivered), 0)::bigint AS delivered, "
        "coalesce(sum(got.in_time), 0)::bigint AS in_time, coalesce(sum(got.refused), 0)::bigint AS refused "
        "FROM emergency_incidents i JOIN emergency_demands d ON d.incident_id = i.id "
        "JOIN emergency_sites s ON s.id = d.site_id CROSS JOIN LATERAL (SELECT "  # by index, with or without statistics
        "sum(a.units) FILTER (WHERE a.state IN ('held', 'ordered', 'rehearsed')) AS allotted, "
        "sum(a.units) FILTER (WHERE a.state = 'ordered') AS ordered, "
        "sum(a.units) FILTER (WHERE a.state IN ('unsupplied', 'cancelled')) AS refused, "
        "sum(coalesce(c.delivered_units, 0)::bigint * (a.units / a.quantity)) AS delivered, "
        "sum(CASE WHEN c.delivered_at <= i.deadline_at THEN a.units ELSE 0 END) AS in_time "
        "FROM emergency_allotments a LEFT JOIN fulfillment_line_clock c ON c.line_id = a.line_id "
        "WHERE a.demand_id = d.id AND a.state <> 'planned') AS got "
        "WHERE i.id = $1 AND d.quantity > 0 GROUP BY 1, 2 ORDER BY 1, 2",
        incident_id,
    )


async def stock_figures(tx: Tx, incident_id: int) -> list[asyncpg.Record]:
    """By item, in its units: fenced at first, still fenced, taken by plans, lost, given back; and how many vendors and
    warehouses."""
    return await tx.fetch(
        "SELECT item, sum(quantity::bigint * units_each)::bigint AS supplied, sum(fenced::bigint * units_each)::bigint "
        "AS fenced, sum((quantity - fenced - lost - given_back)::bigint * units_each)::bigint AS taken, "
        "sum(lost::bigint * units_each)::bigint AS lost, sum(given_back::bigint * units_each)::bigint AS given_back, "
        "count(DISTINCT vendor_id)::int AS vendors, count(DISTINCT warehouse)::int AS warehouses "
        "FROM emergency_supplies WHERE incident_id = $1 GROUP BY item ORDER BY item",
        incident_id,
    )


async def intake_figures(tx: Tx, incident_id: int) -> asyncpg.Record:
    row = await tx.fetchrow(
        "SELECT (SELECT count(*) FROM emergency_sites WHERE incident_id = $1)::int AS sites, "
        "(SELECT count(*) FROM emergency_sites WHERE incident_id = $1 AND tier IS NOT NULL)::int AS verified, "
        "count(*)::int AS demands, coalesce(sum(asked_again), 0)::int AS asked_again, "
        "(count(*) FILTER (WHERE quantity = 0))::int AS withdrawn FROM emergency_demands WHERE incident_id = $1",
        incident_id,
    )
    assert row is not None
    return row


INVARIANTS: dict[str, str] = {
    "emergency_units_add_up": (
        "SELECT count(*) FROM emergency_supplies s WHERE s.quantity <> s.fenced + s.lost + s.given_back + coalesce("
        "(SELECT sum(a.quantity) FROM emergency_allotments a WHERE a.supply_id = s.id AND a.state NOT IN "
        "('planned', 'released')), 0)"
    ),
    "nobody_is_allotted_more_than_asked_for": (
        "SELECT count(*) FROM (SELECT d.id FROM emergency_demands d JOIN emergency_allotments a ON a.demand_id = d.id "
        "AND a.state IN ('held', 'ordered', 'rehearsed') GROUP BY d.id, d.quantity "
        "HAVING sum(a.units) > d.quantity) AS over"
    ),
    "committed_plans_have_two_approvals": (
        "SELECT count(*) FROM emergency_plans p WHERE p.state = 'committed' AND (SELECT count(*) FROM "
        "emergency_approvals a WHERE a.plan_id = p.id) < 2"
    ),
}


async def holds_relied_on(tx: Tx) -> list[tuple[uuid.UUID, int]]:
    """(hold, units of the listing) of every fence and of every allotment that no order carries yet."""
    rows = await tx.fetch(
        "SELECT hold_id, fenced AS units FROM emergency_supplies WHERE fenced > 0 UNION ALL "
        "SELECT hold_id, quantity FROM emergency_allotments WHERE state IN ('held', 'rehearsed')"
    )
    return [(row["hold_id"], row["units"]) for row in rows]
