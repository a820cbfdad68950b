"""Small worlds for the allocator: written by hand, drawn at random, and as the brute-force rules want to see them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any

from fulfillment.allocation.certificate import as_json
from fulfillment.allocation.checker import PlanTable, check
from fulfillment.allocation.snapshot import Snapshot, freeze
from fulfillment.allocation.solver import Plan, solve
from fulfillment.allocation.tables import Demand, DemandTable, LeadTable, LeadTime, Supply, SupplyTable

HOURS = Decimal(7)  # the deadline of drawn worlds


def snapshot(
    demands: Iterable[Demand],
    supplies: Iterable[Supply],
    leads: Iterable[LeadTime] | None = None,
    **more: Any,
) -> Snapshot:
    """A snapshot of these rows; without lead times every warehouse is one hour from every site."""
    demands, supplies = list(demands), list(supplies)
    if leads is None:
        sites, warehouses = {d.site for d in demands}, {s.warehouse for s in supplies}
        leads = [LeadTime(w, s, Decimal(1)) for w in sorted(warehouses) for s in sorted(sites)]
    return freeze(DemandTable.of(demands), SupplyTable.of(supplies), LeadTable.of(leads), **more)


def rows(plan: Plan) -> list[tuple[str, str, str, str, int]]:
    """The plan as its file shows it."""
    world = plan.snapshot
    supplies, demands = world.supplies, world.demands
    return [
        (
            world.warehouses[supplies.warehouse[lot]], world.sites[demands.site[demand]],
            world.items[demands.item[demand]], world.lots[supplies.lot[lot]], units,
        )
        for lot, demand, units in zip(plan.supply.tolist(), plan.demand.tolist(), plan.units.tolist(), strict=True)
    ]  # fmt: skip


def document(plan: Plan) -> dict[str, Any]:
    """The plan's certificate as it is read back."""
    loaded: dict[str, Any] = json.loads(as_json(plan.certificate))
    return loaded


def certified(world: Snapshot) -> Plan:
    """The plan of a world, which the checker accepts."""
    plan = solve(world)
    assert check(world, PlanTable.of(rows(plan)), document(plan)) == []
    return plan


def granted(plan: Plan, item: str = "mask") -> dict[str, int]:
    """Units by site."""
    world = plan.snapshot
    return {
        world.sites[site]: units
        for site, of, units in zip(
            world.demands.site.tolist(), world.demands.item.tolist(), plan.granted.tolist(), strict=True
        )
        if world.items[of] == item
    }


@dataclass(frozen=True)
class Draw:
    """The rows of a drawn world, in the order in which they were drawn."""

    demands: list[Demand]
    supplies: list[Supply]
    leads: list[LeadTime]
    seed: int

    def freeze(self, random: Random | None = None) -> Snapshot:
        """The world; with `random`, from shuffled rows."""
        parts: list[list[Any]] = [list(self.demands), list(self.supplies), list(self.leads)]
        if random:
            for part in parts:
                random.shuffle(part)
        return snapshot(*parts, deadline_hours=HOURS, seed=self.seed)


def plain(random: Random, *, sites: int = 5, warehouses: int = 3, most: int = 9) -> Draw:
    """One item, single units, one lot a warehouse: what the brute-force rules understand."""
    costs = random.choice([0, 1, 4])
    names = [f"S{n}" for n in range(random.randint(1, sites))]
    places = [f"W{n}" for n in range(random.randint(1, warehouses))]
    tiers = random.choice([1, 3])
    demands = [
        Demand(
            name, "mask", random.randint(0, most), random.randint(1, tiers),
            random.choice([None, None, random.randint(0, most)]),
        )
        for name in names
    ]  # fmt: skip
    supplies = [Supply(place, "mask", random.randint(0, most), "A") for place in places]
    return Draw(demands, supplies, _leads(random, places, names, costs), random.randint(0, 5))


def knotty(random: Random) -> Draw:
    """One item, single units, cheap ways nearly everywhere: many routings cost the same, and few of them are the
    ones with the fewest deliveries."""
    names = [f"S{n}" for n in range(random.randint(3, 5))]
    places = [f"W{n}" for n in range(random.randint(2, 4))]
    demands = [Demand(name, "mask", random.randint(1, 8)) for name in names]
    most = max(1, 2 * sum(demand.quantity for demand in demands) // len(places))
    supplies = [Supply(place, "mask", random.randint(1, most), "A") for place in places]
    leads = [
        LeadTime(place, name, Decimal(1), Decimal(random.choice([0, 0, 1])))
        for place in places
        for name in names
        if random.random() < 0.9
    ]
    return Draw(demands, supplies, leads, random.randint(0, 5))


def rich(random: Random, *, mixed: bool = False) -> Draw:
    """Everything at once: two items, lots that expire, reserves, floors, headcounts, packs (if `mixed`, of several
    sizes)."""
    names = [f"S{n}" for n in range(random.randint(1, 6))]
    places = [f"W{n}" for n in range(random.randint(1, 4))]
    demands, supplies = [], []
    for item in ("glove", "mask")[: random.randint(1, 2)]:
        pack = random.choice([1, 1, 2, 3])
        demands += [
            Demand(
                name, item, random.randint(0, 12), random.randint(1, 3), random.choice([None, random.randint(0, 12)]),
                random.choice([0, 0, random.randint(1, 5)]), random.choice(["", "", "rural"]),
                random.choice([None, None, random.randint(0, 8)]), random.randint(1, 2),
            )
            for name in names
        ]  # fmt: skip
        supplies += [
            Supply(
                place, item, random.randint(0, 12), f"L{n}", random.choice([None, Decimal(random.randint(1, 9))]),
                random.choice(["", "", "", "rural"]), random.choice([1, 2, 3]) if mixed else pack,
            )
            for place in places
            for n in range(random.randint(1, 2))
        ]  # fmt: skip
    return Draw(demands, supplies, _leads(random, places, names, random.choice([0, 2, 5])), random.randint(0, 5))


def _leads(random: Random, places: list[str], names: list[str], costs: int) -> list[LeadTime]:
    return [
        LeadTime(place, name, Decimal(random.randint(1, 9)), Decimal(random.randint(0, costs)))
        for place in places
        for name in names
        if random.random() < 0.7
    ]


@dataclass(frozen=True)
class Picture:
    """A plain world as the brute-force rules see it: warehouses and demand rows are numbers."""

    stock: list[int]
    near: list[frozenset[int]]
    cost: list[dict[int, int]]
    want: list[int]
    tier: list[int]


def picture(world: Snapshot) -> Picture:
    """The picture of a plain world."""
    stock = [0] * len(world.warehouses)
    for place, units in zip(world.supplies.warehouse.tolist(), world.supplies.quantity.tolist(), strict=True):
        stock[place] += units
    at = {site: row for row, site in enumerate(world.demands.site.tolist())}
    cost: list[dict[int, int]] = [{} for _ in at]
    leads = world.leads
    for site, place, hours, price in zip(
        leads.site.tolist(), leads.warehouse.tolist(), leads.hours.tolist(), leads.cost.tolist(), strict=True
    ):
        if hours <= world.deadline:
            cost[at[site]][place] = price
    return Picture(
        stock, [frozenset(one) for one in cost], cost, world.demands.want.tolist(), world.demands.tier.tolist()
    )
