"""The checker's own picture of one item: which lot may reach which demand, by the snapshot alone, one lot after the
other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fulfillment.allocation.snapshot import Snapshot
from fulfillment.allocation.tables import NONE, Ints, Mask


@dataclass(frozen=True, eq=False)
class World:
    """Rows and lots count from 0 within the item. Edges are sorted by row, then lot. A claim is a demand towards the
    lots of one pack size, on its own reserve or not; claims are sorted by row, own reserve first, pack."""

    item: int
    first_row: int
    first_lot: int
    want: Ints
    floor: Ints
    tier: Ints
    site: Ints
    warehouse: Ints
    pack: Ints
    packs: Ints
    pool: Ints
    expires: Ints
    edge_row: Ints
    edge_lot: Ints
    edge_cost: Ints
    edge_hours: Ints
    edge_claim: Ints
    claim_row: Ints
    claim_own: Mask
    claim_pack: Ints

    def edges_of(self, row: Ints, lot: Ints) -> Ints:
        """The edge of each (row, lot); NONE where there is none."""
        keys = self.edge_row * len(self.packs) + self.edge_lot
        wanted = row * len(self.packs) + lot
        at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        return np.where(keys[at] == wanted, at, NONE) if len(keys) else np.full(len(row), NONE, dtype=np.int64)


def worlds(snapshot: Snapshot) -> Iterator[World]:
    """The picture of every item that somebody wants."""
    leads = snapshot.leads
    order = np.argsort(leads.warehouse, kind="stable")
    first = np.searchsorted(leads.warehouse[order], np.arange(len(snapshot.warehouses) + 1))
    for item in range(len(snapshot.items)):
        rows = np.flatnonzero(snapshot.demands.item == item)
        lots = np.flatnonzero(snapshot.supplies.item == item)
        if len(rows) and (snapshot.demands.want[rows] > 0).any():
            yield _world(snapshot, item, rows, lots, order, first)


def _world(snapshot: Snapshot, item: int, rows: Ints, lots: Ints, order: Ints, first: Ints) -> World:
    demands, supplies, leads = snapshot.demands, snapshot.supplies, snapshot.leads
    row_of_site = np.full(len(snapshot.sites), NONE, dtype=np.int64)
    wanting = np.flatnonzero(demands.want[rows] > 0)
    row_of_site[demands.site[rows[wanting]]] = wanting
    packs = supplies.quantity[lots] // supplies.pack[lots]
    edges: list[tuple[Ints, Ints]] = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))]
    for lot, at in enumerate(lots.tolist()):
        if not packs[lot]:
            continue
        warehouse = supplies.warehouse[at]
        ways = order[first[warehouse] : first[warehouse + 1]]
        latest = min(snapshot.deadline, int(supplies.expires[at]))
        ways = ways[(leads.hours[ways] <= latest) & (row_of_site[leads.site[ways]] != NONE)]
        edges.append((ways, np.full(len(ways), lot, dtype=np.int64)))
    way, lot_of = (np.concatenate(column) for column in zip(*edges, strict=True))
    row = row_of_site[leads.site[way]]
    by_row = np.lexsort((lot_of, row))
    way, lot_of, row = way[by_row], lot_of[by_row], row[by_row]
    pool = supplies.pool[lots]
    own = (pool[lot_of] != NONE) & (pool[lot_of] == demands.pool[rows[row]])
    sizes, size = np.unique(supplies.pack[lots], return_inverse=True)
    claims, edge_claim = np.unique((row * 2 + ~own) * max(len(sizes), 1) + size[lot_of], return_inverse=True)
    many = max(len(sizes), 1)
    return World(
        item, int(rows[0]), int(lots[0]) if len(lots) else 0, demands.want[rows],
        np.minimum(demands.floor[rows], demands.want[rows]), demands.tier[rows], demands.site[rows],
        supplies.warehouse[lots], supplies.pack[lots], packs, pool, supplies.expires[lots], row, lot_of,
        leads.cost[way], leads.hours[way], edge_claim.astype(np.int64), claims // (2 * many), claims // many % 2 == 0,
        sizes[claims % many] if len(sizes) else claims,
    )  # fmt: skip
