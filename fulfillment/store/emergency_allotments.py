"""SQL of what plans allot: made with the plan, held by its commit, sent as orders, and what became of each."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Literal

import asyncpg

from fulfillment.store.tables import columns_of
from hub.kernel.db import Tx


async def add_allotments(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert (plan, incident, supply, demand, site, mall, vendor, tier, quantity, units, state)."""
    await tx.run(
        "INSERT INTO emergency_allotments (plan_id, incident_id, supply_id, demand_id, site_id, mall_id, vendor_id, "
        "tier, quantity, units, state) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], "
        "$5::bigint[], $6::bigint[], $7::bigint[], $8::int[], $9::int[], $10::int[], $11::text[])",
        *(columns_of(rows) or [[]] * 11),
    )


async def add_shares(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert (plan, demand, incident, site, mall, tier, asked, counted, granted, reason, words)."""
    await tx.run(
        "INSERT INTO emergency_shares (plan_id, demand_id, incident_id, site_id, mall_id, tier, asked, counted, "
        "granted, reason, words) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], "
        "$5::bigint[], $6::int[], $7::int[], $8::int[], $9::int[], $10::text[], $11::text[])",
        *(columns_of(rows) or [[]] * 11),
    )


async def allotments_of(tx: Tx, plan_id: int) -> list[asyncpg.Record]:
    return await tx.fetch(
        "SELECT a.*, s.listing_id, s.location FROM emergency_allotments a "
        "JOIN emergency_supplies s ON s.id = a.supply_id WHERE a.plan_id = $1 ORDER BY a.id",
        plan_id,
    )


async def no_longer_wanted(tx: Tx, plan_id: int) -> list[asyncpg.Record]:
    """Sites for which the plan has more than they ask for now."""
    return await tx.fetch(
        "SELECT a.site_id, d.item FROM emergency_allotments a JOIN emergency_demands d ON d.id = a.demand_id "
        "WHERE a.plan_id = $1 GROUP BY a.site_id, d.item, d.id, d.quantity HAVING sum(a.units) > d.quantity - "
        "coalesce((SELECT sum(o.units) FROM emergency_allotments o WHERE o.demand_id = d.id AND o.plan_id <> $1 "
        "AND o.state IN ('held', 'ordered', 'rehearsed')), 0) ORDER BY 1, 2 LIMIT 20",
        plan_id,
    )


async def hold(tx: Tx, rows: Sequence[tuple[int, uuid.UUID]]) -> None:
    """These allotments have their stock, under these holds."""
    await tx.run(
        "UPDATE emergency_allotments a SET state = 'held', hold_id = u.hold FROM unnest($1::bigint[], $2::uuid[]) "
        "AS u(id, hold) WHERE a.id = u.id",
        *columns_of(rows),
    )


async def plan_to_dispatch(tx: Tx, after: int) -> asyncpg.Record | None:
    return await tx.fetchrow(
        "SELECT id, incident_id FROM emergency_plans WHERE state = 'committed' AND dispatched_at IS NULL AND id > $1 "
        "ORDER BY id LIMIT 1",
        after,
    )


async def lock_to_dispatch(tx: Tx, plan_id: int) -> bool:
    """Whether this transaction may send this plan's next sites: nobody else does so now."""
    found = await tx.fetchval(
        "SELECT id FROM emergency_plans WHERE id = $1 AND state = 'committed' AND dispatched_at IS NULL "
        "FOR UPDATE SKIP LOCKED",
        plan_id,
    )
    return found is not None


async def held_of_next_sites(tx: Tx, plan_id: int, sites: int) -> list[asyncpg.Record]:
    """What is ready to be sent to the next few sites, in order of priority."""
    return await tx.fetch(
        "SELECT a.id, a.site_id, a.mall_id, a.quantity, a.hold_id, s.listing_id FROM emergency_allotments a "
        "JOIN emergency_supplies s ON s.id = a.supply_id WHERE a.plan_id = $1 AND a.state = 'held' AND a.site_id IN "
        "(SELECT site_id FROM emergency_allotments WHERE plan_id = $1 AND state = 'held' GROUP BY site_id "
        "ORDER BY min(tier), site_id LIMIT $2) ORDER BY a.site_id, a.id",
        plan_id,
        sites,
    )


async def dispatched(tx: Tx, rows: Sequence[tuple[int, str, Any, Any, str | None]]) -> None:
    """Write (allotment, state, order, line, problem)."""
    await tx.run(
        "UPDATE emergency_allotments a SET state = u.state, order_id = u.o, line_id = u.l, problem = u.problem "
        "FROM unnest($1::bigint[], $2::text[], $3::uuid[], $4::uuid[], $5::text[]) AS u(id, state, o, l, problem) "
        "WHERE a.id = u.id",
        *columns_of(rows),
    )


async def all_dispatched(tx: Tx, plan_id: int) -> None:
    await tx.run("UPDATE emergency_plans SET dispatched_at = $2 WHERE id = $1", plan_id, tx.now)


async def line_ended(tx: Tx, line_ids: Sequence[uuid.UUID], state: str, problem: str) -> int:
    """Order lines that will bring nothing any more."""
    return await tx.run(
        "UPDATE emergency_allotments SET state = $2, problem = $3 WHERE line_id = ANY($1::uuid[]) "
        "AND state = 'ordered'",
        list(line_ids),
        state,
        problem[:500],
    )


async def line_shrank(tx: Tx, line_id: uuid.UUID, whither: Literal["lost", "given_back"], problem: str) -> int:
    """An order line brings fewer units than were allotted (as many as its clock says): the others leave the plan, and
    its supply counts them as `whither`. Again, it changes nothing."""
    return await tx.run(
        "WITH a AS (SELECT a.id, a.supply_id, a.quantity, c.quantity AS left FROM emergency_allotments a "  # noqa: S608
        "JOIN fulfillment_line_clock c ON c.line_id = a.line_id WHERE a.line_id = $1 AND a.state = 'ordered' "
        "AND c.quantity < a.quantity FOR UPDATE OF a), "
        f"s AS (UPDATE emergency_supplies s SET {whither} = s.{whither} + a.quantity - a.left FROM a "
        "WHERE s.id = a.supply_id) "
        "UPDATE emergency_allotments t SET quantity = a.left, units = t.units / t.quantity * a.left, problem = $2 "
        "FROM a WHERE t.id = a.id",
        line_id,
        problem[:500],
    )


async def being_sent(tx: Tx, incident_id: int) -> bool:
    """Whether a committed plan still has sites that were not sent anything."""
    return bool(
        await tx.fetchval(
            "SELECT EXISTS (SELECT 1 FROM emergency_plans WHERE incident_id = $1 AND state = 'committed' "
            "AND dispatched_at IS NULL)",
            incident_id,
        )
    )


async def release_held(tx: Tx, incident_id: int) -> list[tuple[int, int, uuid.UUID]]:
    """The incident is over: allotments that no order carries let go; returns (supply, quantity, hold) of each."""
    rows = await tx.fetch(
        "UPDATE emergency_allotments SET state = 'released' WHERE incident_id = $1 AND state IN ('held', 'rehearsed') "
        "RETURNING supply_id, quantity, hold_id",
        incident_id,
    )
    return [(row["supply_id"], row["quantity"], row["hold_id"]) for row in rows]
