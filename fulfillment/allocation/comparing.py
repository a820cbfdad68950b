"""What else could have been done with the same stock, for the same figures side by side: first come, first served;
and every warehouse dividing its own stock in proportion. Both keep to deadlines, expiry and packs; neither knows
tiers, floors or reserves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fulfillment.allocation.checker.world import World, worlds
from fulfillment.allocation.figures import Figures, measure
from fulfillment.allocation.snapshot import Snapshot
from fulfillment.allocation.solver import Plan
from fulfillment.allocation.tables import Ints

Rule = Callable[[Snapshot, World], tuple[Ints, Ints, Ints]]


@dataclass(frozen=True)
class Compared:
    """One way to allocate: its figures over everything, and tier by tier."""

    name: str
    figures: Figures
    tiers: dict[int, Figures]


def compare(plan: Plan) -> list[Compared]:
    """The plan beside what a queue and a rule of proportion would have done."""
    snapshot = plan.snapshot
    pictures = list(worlds(snapshot))
    return [
        _compared(snapshot, "fair", plan.supply, plan.demand, plan.units),
        _compared(snapshot, "first come", *_all(snapshot, pictures, _first_come)),
        _compared(snapshot, "pro rata", *_all(snapshot, pictures, _pro_rata)),
    ]


def _compared(snapshot: Snapshot, name: str, supply: Ints, demand: Ints, units: Ints) -> Compared:
    tiers = np.unique(snapshot.demands.tier[snapshot.demands.want > 0]).tolist()
    of_tiers = {tier: measure(snapshot, supply, demand, units, tier=tier) for tier in tiers}
    return Compared(name, measure(snapshot, supply, demand, units), of_tiers)


def _all(snapshot: Snapshot, pictures: list[World], rule: Rule) -> tuple[Ints, Ints, Ints]:
    parts = [np.zeros((3, 0), dtype=np.int64)]
    for world in pictures:
        lot, row, units = rule(snapshot, world)
        parts.append(np.stack([lot + world.first_lot, row + world.first_row, units]))
    supply, demand, units = np.concatenate(parts, axis=1)
    return supply, demand, units


def _first_come(snapshot: Snapshot, world: World) -> tuple[Ints, Ints, Ints]:
    """In the order in which the rows came, each takes what it can from where it is cheapest."""
    arrival = snapshot.demands.arrival[world.first_row : world.first_row + len(world.want)]
    order = np.lexsort((world.expires[world.edge_lot], world.edge_cost, world.edge_row))
    lots = world.edge_lot[order].tolist()
    first = np.searchsorted(world.edge_row[order], np.arange(len(world.want) + 1)).tolist()
    left, pack, want = world.packs.tolist(), world.pack.tolist(), world.want.tolist()
    sent: list[tuple[int, int, int]] = []
    for row in np.argsort(arrival, kind="stable").tolist():
        need = want[row]
        for lot in lots[first[row] : first[row + 1]]:
            packs = min(left[lot], need // pack[lot])
            if packs:
                left[lot] -= packs
                need -= packs * pack[lot]
                sent.append((lot, row, packs * pack[lot]))
            if not need:
                break
    lot, row_of, units = np.array(sent, dtype=np.int64).reshape(-1, 3).T
    return lot, row_of, units


def _pro_rata(_snapshot: Snapshot, world: World) -> tuple[Ints, Ints, Ints]:
    """Lot by lot, every site that it reaches gets its part of the lot by what it still wants."""
    need = world.want.copy()
    by_lot = np.lexsort((world.edge_row, world.edge_lot))
    first = np.searchsorted(world.edge_lot[by_lot], np.arange(len(world.packs) + 1))
    parts = [np.zeros((3, 0), dtype=np.int64)]
    for lot in range(len(world.packs)):
        rows = world.edge_row[by_lot[first[lot] : first[lot + 1]]]
        room, pack = need[rows] // world.pack[lot], int(world.pack[lot])
        asked, packs = int(room.sum()), int(world.packs[lot])
        if not asked:
            continue
        if packs < asked:
            share, rest = np.divmod(room * packs, asked)
            more = np.lexsort((np.arange(len(rows)), -rest))[: packs - int(share.sum())]
            share[more] += 1
        else:
            share = room
        need[rows] -= share * pack
        some = share > 0
        parts.append(np.stack([np.full(int(some.sum()), lot), rows[some], share[some] * pack]))
    lot_of, row_of, units = np.concatenate(parts, axis=1)
    return lot_of, row_of, units
