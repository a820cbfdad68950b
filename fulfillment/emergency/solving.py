"""From the state of an incident to a certified plan: pure, so that it can run in a thread. The input is written as the
files that `supplyhub verify-plan` reads, and the plan is made of those files, so whoever has them can check it on a
laptop. A site is `site_<id>`, a lot is `<supply id>`; a substitute's warehouse is a place of its own, to which only
sites that take substitutes have a way."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from fulfillment.allocation import reading
from fulfillment.allocation.checker import check
from fulfillment.allocation.snapshot import freeze
from fulfillment.allocation.tables import HOUR
from fulfillment.allocation.writing import as_table, csv_bytes, plan_csv
from hub.kernel.errors import Broken

if TYPE_CHECKING:
    from fulfillment.allocation.solver import Plan

SUBSTITUTE = " (substitute)"
SUBSTITUTE_COST = Decimal(1)  # more for a unit, so that among equal plans the thing itself is sent
Say = Callable[[str, int], None]


@dataclass(frozen=True)
class Asking:
    """A demand as it counts now. `got`: units that committed plans gave it."""

    demand_id: int
    site_id: int
    mall_id: int | None
    area: str
    item: str
    quantity: int
    got: int
    tier: int
    headcount: int
    per_head: int
    floor: int
    pool: str
    substitutes: bool


@dataclass(frozen=True)
class Lot:
    """A supply as far as it can be given now, in units of its listing."""

    supply_id: int
    vendor_id: int
    warehouse: str
    item: str
    quantity: int
    units_each: int
    expires_at: datetime | None
    pool: str
    substitute: bool


@dataclass(frozen=True)
class Way:
    """A lead time: to one site, to an area, or (both empty) to everywhere."""

    warehouse: str
    area: str
    site_id: int
    hours: Decimal
    cost: Decimal


@dataclass(frozen=True)
class State:
    """What an incident is at one instant."""

    asking: tuple[Asking, ...]
    lots: tuple[Lot, ...]
    ways: tuple[Way, ...]
    deadline_hours: Decimal
    start: datetime
    seed: int


@dataclass(frozen=True)
class Solution:
    """A plan that its checker accepted. `rows`: (supply, demand, units). `why`: (demand, tier, asked, counted, granted,
    reason, words)."""

    rows: list[tuple[int, int, int]]
    why: Sequence[tuple[int, int, int, int, int, str, str]]
    figures: dict[str, Any]
    comparison: list[dict[str, Any]]
    snapshot_sha256: str
    plan_sha256: str
    longest_hours: Decimal
    files: bytes
    seconds: float


def inputs(state: State) -> dict[str, bytes]:
    """The three files of a state, in an order that does not depend on how its rows came."""
    demands = []
    for one in state.asking:
        counts = one.headcount * one.per_head
        rest = max(0, one.quantity - one.got)
        heads = (one.headcount, one.per_head) if not one.got else ("", "")
        cap = "" if not one.got else max(0, counts - one.got)
        row = (f"site_{one.site_id}", one.item, rest, one.tier, cap, *heads, max(0, one.floor - one.got), one.pool)
        demands.append(row)
    supplies = [
        (_place(one), one.item, one.quantity * one.units_each, one.supply_id,
         one.expires_at.isoformat() if one.expires_at else "", one.units_each, one.pool)
        for one in state.lots
    ]  # fmt: skip
    return {
        "demands.csv": csv_bytes(
            ("site", "item", "quantity", "tier", "cap", "headcount", "per_head", "floor", "pool"), demands
        ),
        "supplies.csv": csv_bytes(("warehouse", "item", "quantity", "lot", "expires", "pack", "pool"), supplies),
        "lead-times.csv": csv_bytes(("warehouse", "site", "hours", "cost"), _ways(state)),
    }


def _place(lot: Lot) -> str:
    return lot.warehouse + SUBSTITUTE if lot.substitute else lot.warehouse


def _ways(state: State) -> list[tuple[str, str, Decimal, Decimal]]:
    """A row for each warehouse and site that it reaches: the most exact lead time."""
    exact = {(way.warehouse, way.area, way.site_id): way for way in state.ways}
    sites = {one.site_id: one for one in state.asking}
    warehouses = sorted({(one.warehouse, one.substitute) for one in state.lots})
    rows = []
    for warehouse, substitute in warehouses:
        everywhere = exact.get((warehouse, "", 0))
        for site_id, site in sites.items():
            if substitute and not site.substitutes:
                continue
            way = exact.get((warehouse, "", site_id)) or exact.get((warehouse, site.area, 0)) or everywhere
            if way is not None:
                name, cost = (
                    (warehouse + SUBSTITUTE, way.cost + SUBSTITUTE_COST) if substitute else (warehouse, way.cost)
                )
                rows.append((name, f"site_{site_id}", way.hours, cost))
    return rows


def solved(state: State, say: Say) -> Solution:
    """The plan of a state. Raises Broken when its own checker finds anything, Rejected for totals beyond the
    allocator's limits."""
    from fulfillment.allocation.certificate import as_json  # large libraries: only a process that solves
    from fulfillment.allocation.comparing import compare  # loads them
    from fulfillment.allocation.explaining import Explainer, words
    from fulfillment.allocation.solver import solve

    began = time.perf_counter()
    files = inputs(state)
    demands, _ = reading.read_demands("demands.csv", files["demands.csv"])
    supplies, _ = reading.read_supplies("supplies.csv", files["supplies.csv"])
    leads, _ = reading.read_leads("lead-times.csv", files["lead-times.csv"])
    snapshot = freeze(demands, supplies, leads, deadline_hours=state.deadline_hours, start=state.start, seed=state.seed)
    say("solving", 20)
    plan = solve(snapshot)
    say("checking", 60)
    document, table = as_json(plan.certificate), as_table(plan)
    findings = check(snapshot, table, orjson.loads(document))
    if findings:
        raise Broken(f"the plan does not stand up to its own checker: {findings[0]}", code="not_certified")
    say("comparing", 75)
    comparison = [
        {"name": way.name, **_shown(way.figures), "tiers": {str(t): _shown(f) for t, f in way.tiers.items()}}
        for way in compare(plan)
    ]
    say("explaining", 85)
    demand_ids = {(f"site_{one.site_id}", one.item): one.demand_id for one in state.asking}
    why = [
        (demand_ids[one.site, one.item], one.tier, one.asked, one.counted, one.granted, one.reason,
         words(one, snapshot.deadline).removeprefix(f"{one.site}: "))
        for one in Explainer(plan).all()
    ]  # fmt: skip
    say("writing", 95)
    files |= {"plan.csv": plan_csv(table), "certificate.json": document}
    return Solution(
        rows=_rows(plan, demand_ids),
        why=why,
        figures=_shown(plan.figures),
        comparison=comparison,
        snapshot_sha256=snapshot.sha256,
        plan_sha256=plan.sha256,
        longest_hours=_longest(plan),
        files=zipped(files),
        seconds=time.perf_counter() - began,
    )


def _rows(plan: Plan, demand_ids: dict[tuple[str, str], int]) -> list[tuple[int, int, int]]:
    snapshot = plan.snapshot
    supplies, demands = snapshot.supplies, snapshot.demands
    return [
        (
            int(snapshot.lots[supplies.lot[supply]]),
            demand_ids[snapshot.sites[demands.site[demand]], snapshot.items[demands.item[demand]]],
            units,
        )
        for supply, demand, units in zip(plan.supply.tolist(), plan.demand.tolist(), plan.units.tolist(), strict=True)
    ]


def _longest(plan: Plan) -> Decimal:
    """Hours of the longest way that the plan uses."""
    leads, warehouses = plan.snapshot.leads, len(plan.snapshot.warehouses)
    keys = leads.site * warehouses + leads.warehouse
    used = plan.snapshot.demands.site[plan.demand] * warehouses + plan.snapshot.supplies.warehouse[plan.supply]
    hours = leads.hours[np.searchsorted(keys, used)]
    return (Decimal(int(hours.max())) / HOUR) if len(hours) else Decimal(0)


def _shown(figures: Any) -> dict[str, Any]:
    """Figures of a plan as JSON: `worst` is a share, `cost` a decimal."""
    plain = asdict(figures)
    return {**plain, "worst": round(figures.worst_share, 6), "cost": figures.money, "gini": round(figures.gini, 6),
            "jain": round(figures.jain, 6)}  # fmt: skip


def zipped(files: dict[str, bytes]) -> bytes:
    """The files in one archive."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def unzipped(archive: bytes, name: str) -> bytes:
    """One file out of such an archive."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return opened.read(name)


def sent(rows: Sequence[tuple[int, int, int]], lots: Sequence[Lot]) -> list[tuple[int, int, int, int]]:
    """(supply, demand, quantity of the listing, units): a lot's units leave in whole packs, so this divides."""
    each = {lot.supply_id: lot.units_each for lot in lots}
    return [(supply, demand, units // each[supply], units) for supply, demand, units in rows]
