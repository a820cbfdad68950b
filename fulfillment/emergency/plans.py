"""A plan's life: asked for, solved by a worker, proposed with its proof, approved by two people, committed. Until it is
committed it is a dry run and holds nothing. The commit takes all of its stock or nothing, through the shelf's ordinary
reservations; where the world has moved on, the plan is set aside and a new one is solved on the state as it is."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import structlog

from catalog import api as catalog
from catalog.contracts import ReserveLine
from fulfillment.emergency import incidents, solving
from fulfillment.emergency.solving import Asking, Lot, State, Way
from fulfillment.emergency.views import PlanView
from fulfillment.store import emergency, emergency_allotments, emergency_plans
from hub.kernel import audit
from hub.kernel.db import Tx, uow
from hub.kernel.errors import Conflict, Fault, HubError, NotFound, Rejected, Retry
from hub.kernel.failpoints import failpoint
from hub.kernel.keys import Principal
from hub.kernel.types import uuid7

log = structlog.get_logger()
SOLVE, DISPATCH = "solve_plans", "dispatch_plans"
BEAT_S = 20.0  # a solver says at least so often that it lives
LEASE = timedelta(seconds=120)  # a solver that says nothing for so long is dead
MOST_ATTEMPTS = 3
APPROVERS = 2
MOST_WAITING = 5
MOST_DEMANDS = 200_000


async def ask(tx: Tx, who: Principal, incident_id: int, replaces: int | None = None) -> int:
    """Have a plan solved; returns its id. Raises NotFound, and Conflict when the incident is closed, its deadline is
    over or enough plans wait."""
    incident = await incidents.locked(tx, incident_id)
    if incident["deadline_at"] <= tx.now:
        raise Conflict("the incident's deadline is over; nothing can arrive in time", code="deadline_over")
    if await emergency_plans.waiting_plans(tx, incident_id) >= MOST_WAITING:
        raise Conflict(f"{MOST_WAITING} plans wait to be solved already", code="plans_waiting")
    plan_id = await emergency_plans.add_plan(tx, incident_id, who.key_id, who.actor, replaces)
    await audit.record(tx, who.actor, "plan.asked", f"plan:{plan_id}", {"incident": incident_id, "replaces": replaces})
    tx.wake(SOLVE)
    return plan_id


# -- solving


async def solve_due() -> int:
    """A task: solve the plans that wait, one after the other; returns how many. Any number of processes may run it; a
    plan whose solver died is solved again from the start."""
    made = 0
    while await _solve_next():
        made += 1
    return made


async def _solve_next() -> bool:
    async with uow() as tx:
        claimed = await emergency_plans.claim_plan(tx, tx.now + LEASE)
        if claimed is None:
            return False
    plan_id, attempt = claimed["id"], claimed["attempts"]
    try:
        if attempt > MOST_ATTEMPTS:
            raise Rejected("its solver died several times; see the worker's log", code="solver_died")
        async with uow() as tx:
            incident, state = await _state(tx, claimed["incident_id"])
            snapshot_at = tx.now
        stages: asyncio.Queue[tuple[str, int] | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def say(stage: str, done: int) -> None:
            loop.call_soon_threadsafe(stages.put_nowait, (stage, done))

        telling = asyncio.create_task(_tell(plan_id, attempt, stages))
        try:
            solution = await asyncio.to_thread(solving.solved, state, say)
        finally:
            stages.put_nowait(None)
            await telling
        failpoint("emergency.plan_solved")
        async with uow() as tx:
            await _propose(tx, plan_id, attempt, incident, state, solution, snapshot_at)
    except Retry:
        raise  # the lease runs out and somebody solves it again
    except HubError as error:
        await _failed(plan_id, error.detail)
    except Exception as error:
        log.exception("plan_crashed", plan_id=plan_id)
        await _failed(plan_id, f"{type(error).__name__}: {error}")
    return True


async def _tell(plan_id: int, attempt: int, stages: asyncio.Queue[tuple[str, int] | None]) -> None:
    """Write the solver's progress where people see it, and that it lives; losing one word of it is no harm."""
    last = ("solving", 0)
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BEAT_S):
                stage = await stages.get()
                if stage is None:
                    return
                last = stage
        with contextlib.suppress(Retry):
            async with uow() as tx:
                await emergency_plans.note_stage(tx, plan_id, attempt, *last, tx.now + LEASE)


async def _failed(plan_id: int, why: str) -> None:
    async with uow() as tx:
        row = await emergency_plans.plan(tx, plan_id, lock=True)
        if row is not None and row["state"] == "solving":
            await emergency_plans.set_state(tx, plan_id, "failed", why[:1000])


async def _state(tx: Tx, incident_id: int) -> tuple[asyncpg.Record, State]:
    """What the incident is now, under its lock."""
    incident = await incidents.locked(tx, incident_id)
    hours = Decimal(max(0, int((incident["deadline_at"] - tx.now).total_seconds())) // 36) / 100
    start = tx.now.replace(microsecond=0)
    rows = await emergency.demand_rows(tx, incident_id, 0, MOST_DEMANDS + 1)
    if len(rows) > MOST_DEMANDS:
        raise Rejected(f"more than {MOST_DEMANDS:,} demands; split the incident", code="too_many_demands")
    asking = tuple(
        Asking(
            demand_id=row["id"], site_id=row["site_id"], mall_id=row["mall_id"], area=row["area"], item=row["item"],
            quantity=row["quantity"], got=row["allotted"],
            tier=incident["unverified_tier"] if row["tier"] is None else row["tier"],
            headcount=incident["unverified_headcount"] if row["tier"] is None else row["verified_headcount"],
            per_head=(incidents.item_of(incident, row["item"]) or {"per_head": 0})["per_head"], floor=row["floor"],
            pool=row["pool"], substitutes=row["substitutes"],
        )
        for row in rows
        if row["quantity"] > 0
    )  # fmt: skip
    ways = tuple(Way(**dict(row)) for row in await emergency.lead_rows(tx, incident_id))
    return incident, State(asking, await _lots(tx, incident_id), ways, hours, start, incident["seed"])


async def _lots(tx: Tx, incident_id: int) -> tuple[Lot, ...]:
    """What is fenced, as far as the shelf still has it: a vendor may have reported less meanwhile, or refused for want
    of stock. Rows of one shelf share what is there in their order."""
    supplies = await emergency.supply_rows(tx, incident_id)
    shelves = await catalog.available(tx, sorted({row["listing_id"] for row in supplies}))
    fenced: Counter[tuple[int, str]] = Counter()
    for row in supplies:
        fenced[row["listing_id"], row["location"]] += row["fenced"]
    there = {}
    for rows in shelves.values():
        for shelf in rows:
            place = (shelf.listing_id, shelf.location)
            carries = 0 if shelf.frozen else (shelf.on_hand or 0) - shelf.buffer - shelf.reserved + fenced[place]
            there[place] = max(0, carries)
    lots = []
    for row in supplies:
        place = (row["listing_id"], row["location"])
        quantity = min(row["fenced"], there.get(place, 0))
        there[place] = there.get(place, 0) - quantity
        lots.append(
            Lot(
                row["id"], row["vendor_id"], row["warehouse"], row["item"], quantity, row["units_each"],
                row["expires_at"], row["pool"], row["substitute"],
            )
        )  # fmt: skip
    return tuple(lots)


async def _propose(
    tx: Tx, plan_id: int, attempt: int, incident: asyncpg.Record, state: State, found: solving.Solution, at: Any
) -> None:
    row = {
        "epoch": incident["epoch"], "snapshot_at": at, "seconds": Decimal(f"{found.seconds:.3f}"),
        "snapshot_sha256": found.snapshot_sha256, "plan_sha256": found.plan_sha256,
        "longest_hours": found.longest_hours.quantize(Decimal("0.0001")), "figures": found.figures,
        "comparison": found.comparison, "files": found.files,
    }  # fmt: skip
    if not await emergency_plans.propose(tx, plan_id, attempt, row):
        return  # the incident was closed meanwhile, or another solver was faster
    asking = {one.demand_id: one for one in state.asking}
    vendors = {lot.supply_id: lot.vendor_id for lot in state.lots}
    await emergency_allotments.add_allotments(
        tx,
        [
            (
                plan_id, incident["id"], supply, demand, asking[demand].site_id, asking[demand].mall_id,
                vendors[supply], asking[demand].tier, quantity, units, "planned",
            )
            for supply, demand, quantity, units in solving.sent(found.rows, state.lots)
        ],
    )  # fmt: skip
    await emergency_allotments.add_shares(
        tx,
        [
            (plan_id, demand, incident["id"], asking[demand].site_id, asking[demand].mall_id, *rest)
            for demand, *rest in found.why
        ],
    )
    facts = {"snapshot": found.snapshot_sha256, "plan": found.plan_sha256}
    await audit.record(tx, "solver", "plan.proposed", f"plan:{plan_id}", facts)


# -- approving and committing


async def found(tx: Tx, plan_id: int) -> asyncpg.Record:
    """The plan. Raises NotFound."""
    row = await emergency_plans.plan(tx, plan_id)
    if row is None:
        raise NotFound("there is no such plan", code="no_plan")
    return row


async def _locked(tx: Tx, plan_id: int) -> tuple[asyncpg.Record, asyncpg.Record]:
    """The incident and its plan, locked in this order."""
    incident = await incidents.locked(tx, (await found(tx, plan_id))["incident_id"])
    row = await emergency_plans.plan(tx, plan_id, lock=True)
    assert row is not None
    return incident, row


async def approve(tx: Tx, who: Principal, plan_id: int, plan_sha256: str | None) -> asyncpg.Record:
    """One person's approval; with the second person's the plan may be committed. Approving again changes nothing. The
    author may be one of the two, and is never both. Raises Conflict when it is not a plan to approve, or another one
    was read."""
    _, row = await _locked(tx, plan_id)
    if row["state"] not in ("proposed", "approved"):
        raise Conflict(f"this plan is {row['state']} and cannot be approved", code="wrong_state", facts=_next(row))
    if plan_sha256 not in (None, row["plan_sha256"]):
        why = "this is not the hash of the plan as it is; read it again"
        raise Conflict(why, code="another_plan", faults=(Fault("/plan_sha256", why),))
    if await emergency_plans.approve(tx, plan_id, who.key_id, who.actor):
        given = len(await emergency_plans.approvers(tx, plan_id))
        if given >= APPROVERS:
            await emergency_plans.set_state(tx, plan_id, "approved")
        facts = {"plan": row["plan_sha256"], "approvals": given}
        await audit.record(tx, who.actor, "plan.approved", f"plan:{plan_id}", facts)
    return await found(tx, plan_id)


def _next(row: asyncpg.Record) -> dict[str, Any]:
    return {"state": row["state"], "plan": row["replaced_by"]}


async def commit(who: Principal, plan_id: int) -> PlanView:
    """Take the plan's stock, all of it or nothing, and have it sent. Committing again changes nothing. In transactions
    of its own, because a conflict has an effect too: the plan is set aside and another is asked for, which Conflict
    `plan_conflict` names in `facts`."""
    async with uow() as tx:
        incident, row = await _locked(tx, plan_id)
        if row["state"] == "committed":
            return view_of(row)
        if row["state"] != "approved":
            missing = f"{APPROVERS} people must approve it first; {len(row['approvals'])} did"
            why = missing if row["state"] == "proposed" else f"this plan is {row['state']}"
            raise Conflict(why, code="not_approved", facts=_next(row))
        try:
            async with tx.savepoint():
                await _take(tx, who, incident, row)
            return view_of(await found(tx, plan_id))
        except Conflict as conflict:
            why = conflict.detail
        await emergency_plans.set_state(tx, plan_id, "superseded", why[:1000])
        await audit.record(tx, who.actor, "plan.superseded", f"plan:{plan_id}", {"why": why[:300]})
        following = None
        try:
            following = await ask(tx, who, incident["id"], replaces=plan_id)
            then = f"plan {following} is solved on the state as it is now"
        except Conflict as conflict:
            then = f"no other plan was asked for: {conflict.detail}"
    raise Conflict(
        f"the world has moved on: {why}. Nothing was taken; {then}",
        code="plan_conflict",
        facts={"plan": following, "superseded": plan_id},
    )


async def _take(tx: Tx, who: Principal, incident: asyncpg.Record, row: asyncpg.Record) -> None:
    """The effect of a commit. Raises Conflict for whatever the plan did not know of."""
    plan_id = row["id"]
    if row["epoch"] != incident["epoch"]:
        raise Conflict("another plan was committed after this one was solved")
    if tx.now + timedelta(hours=float(row["longest_hours"])) > incident["deadline_at"]:
        raise Conflict("its longest way would no longer arrive by the deadline")
    if changed := await emergency_allotments.no_longer_wanted(tx, plan_id):
        raise Conflict(f"site_{changed[0]['site_id']} no longer asks for as much of {changed[0]['item']!r}")
    allotments = await emergency_allotments.allotments_of(tx, plan_id)
    supplies = {s["id"]: s for s in await emergency.supply_rows(tx, incident["id"])}
    taken: Counter[int] = Counter()
    for one in allotments:
        taken[one["supply_id"]] += one["quantity"]
    for supply_id, quantity in taken.items():
        if quantity > supplies[supply_id]["fenced"]:
            raise Conflict(f"supply {supply_id} has {supplies[supply_id]['fenced']} left, the plan needs {quantity}")
    # All fences of the shelf rows that are used, not only those of the rows taken from: when a vendor has reported less
    # than is fenced, what one fence lacks must not be what another one keeps.
    places = {(supplies[supply_id]["listing_id"], supplies[supply_id]["location"]) for supply_id in taken}
    used = [s for s in supplies.values() if s["fenced"] and (s["listing_id"], s["location"]) in places]
    await catalog.release(tx, sorted(s["hold_id"] for s in used), "allotment")
    failpoint("emergency.fence_opened")
    holds = [(one["id"], uuid7()) for one in allotments]
    await catalog.reserve(
        tx,
        [
            ReserveLine(
                hold_id=hold_id, listing_id=one["listing_id"], quantity=one["quantity"], location=one["location"]
            )
            for one, (_, hold_id) in zip(allotments, holds, strict=True)
        ],
    )
    if holds:
        await emergency_allotments.hold(tx, holds)
    await _fence_again(tx, used, taken)
    await emergency.next_epoch(tx, incident["id"])
    await emergency_plans.committed(tx, plan_id, who.actor, nothing_to_send=not holds)
    facts = {"plan": row["plan_sha256"], "allotments": len(holds), "units": sum(a["units"] for a in allotments)}
    await audit.record(tx, who.actor, "plan.committed", f"plan:{plan_id}", facts)
    tx.wake(DISPATCH)


async def _fence_again(tx: Tx, used: Sequence[asyncpg.Record], taken: Counter[int]) -> None:
    """Close the fence around what is left of the supplies that a plan used; what the shelf no longer has is lost."""
    shelves = {
        (shelf.listing_id, shelf.location): shelf.available or 0
        for rows in (await catalog.available(tx, sorted({s["listing_id"] for s in used}))).values()
        for shelf in rows
    }
    rows, lines = [], []
    for s in used:
        place = (s["listing_id"], s["location"])
        rest = s["fenced"] - taken[s["id"]]
        kept = min(rest, shelves.get(place, 0))
        shelves[place] = shelves.get(place, 0) - kept
        hold_id = uuid7() if kept else None
        rows.append((s["id"], kept, s["lost"] + rest - kept, s["given_back"], hold_id))
        if hold_id is not None:
            lines.append(ReserveLine(hold_id=hold_id, listing_id=place[0], quantity=kept, location=place[1]))
    await catalog.reserve(tx, lines)
    if rows:
        await emergency.save_fences(tx, rows)


def view_of(row: asyncpg.Record) -> PlanView:
    """A plan as staff see it."""
    return PlanView(**dict(row))
