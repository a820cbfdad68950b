"""One item's network: which lots can reach which claims in time. A *node* is a group of lots that are alike for
fairness (same warehouse, pool and pack, and their expiry forbids the same sites). A *claim* is a site's wish towards
the lots of one pack size (and, apart from the rest, towards its pool's own reserve); a site asking for an item sold
in one pack size has just one claim."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fulfillment.allocation.snapshot import Snapshot
from fulfillment.allocation.tables import NONE, Ints, Mask


@dataclass(frozen=True, eq=False)
class Network:
    """Quantities of nodes are whole packs; wants and floors are units. Edges are sorted by claim, then node."""

    item: int
    demands: Ints  # rows of the snapshot's demands with something wanted
    want: Ints
    floor: Ints
    tier: Ints
    lots: Ints  # rows of the snapshot's supplies with at least one whole pack that can arrive somewhere
    lot_packs: Ints
    lot_node: Ints
    node_packs: Ints
    node_pack: Ints
    claim_row: Ints  # into `demands`
    claim_pool: Mask  # a claim on the site's own reserve
    claim_pack: Ints
    edge_claim: Ints
    edge_node: Ints
    edge_cost: Ints
    edge_hours: Ints

    @property
    def packs(self) -> list[int]:
        """The pack sizes of the item, the largest first."""
        return sorted(set(self.node_pack.tolist()), reverse=True)


@dataclass(frozen=True, eq=False)
class Ways:
    """The lead times within the deadline, findable by site; `by_warehouse` sorts them by warehouse, then hours."""

    site: Ints
    warehouse: Ints
    hours: Ints
    cost: Ints
    first: Ints  # of each site, and one more
    by_warehouse: Ints


def networks(snapshot: Snapshot) -> Iterator[Network]:
    """The network of every item that somebody wants, in the order of the items."""
    leads, sites = snapshot.leads, len(snapshot.sites)
    near = leads.hours <= snapshot.deadline
    site = leads.site[near]
    first = np.searchsorted(site, np.arange(sites + 1))
    by_warehouse = np.lexsort((leads.hours[near], leads.warehouse[near]))
    ways = Ways(site, leads.warehouse[near], leads.hours[near], leads.cost[near], first, by_warehouse)
    bounds = np.arange(len(snapshot.items) + 1)
    demanded = np.searchsorted(snapshot.demands.item, bounds)
    supplied = np.searchsorted(snapshot.supplies.item, bounds)
    for item in range(len(snapshot.items)):
        rows = np.arange(demanded[item], demanded[item + 1])
        rows = rows[snapshot.demands.want[rows] > 0]
        if len(rows):
            lots = np.arange(supplied[item], supplied[item + 1])
            yield _network(snapshot, ways, item, rows, lots)


def _network(snapshot: Snapshot, ways: Ways, item: int, rows: Ints, lots: Ints) -> Network:
    demands, supplies = snapshot.demands, snapshot.supplies
    lots, node_of, heads = _nodes(snapshot, ways, demands.site[rows], lots)
    packs = supplies.quantity[lots] // supplies.pack[lots]
    node_packs = np.zeros(len(heads), dtype=np.int64)
    np.add.at(node_packs, node_of, packs)
    # From each wanting site along its ways, then to the nodes of the warehouse at the way's other end.
    sites = demands.site[rows]
    at_row, way = _spread(ways.first[sites], ways.first[sites + 1])
    of_warehouse = supplies.warehouse[heads]
    node_first = np.searchsorted(of_warehouse, np.arange(len(snapshot.warehouses) + 1))
    ends = ways.warehouse[way]
    along, node = _spread(node_first[ends], node_first[ends + 1])
    at_row, way = at_row[along], way[along]
    fresh = ways.hours[way] <= supplies.expires[heads[node]]
    at_row, way, node = at_row[fresh], way[fresh], node[fresh]
    pool, pack = supplies.pool[heads[node]], supplies.pack[heads[node]]
    own = (pool != NONE) & (pool == demands.pool[rows[at_row]])
    order = np.lexsort((node, pack, ~own, at_row))
    at_row, way, node, pack, own = at_row[order], way[order], node[order], pack[order], own[order]
    new = np.ones(len(at_row), dtype=np.bool_)
    new[1:] = (np.diff(at_row) != 0) | (np.diff(pack) != 0) | (own[1:] != own[:-1])
    return Network(
        item, rows, demands.want[rows], np.minimum(demands.floor[rows], demands.want[rows]), demands.tier[rows], lots,
        packs, node_of, node_packs, supplies.pack[heads], at_row[new], own[new], pack[new],
        np.cumsum(new) - 1, node, ways.cost[way], ways.hours[way],
    )  # fmt: skip


def _nodes(snapshot: Snapshot, ways: Ways, sites: Ints, lots: Ints) -> tuple[Ints, Ints, Ints]:
    """The lots that can arrive at one of the sites, the node of each, and one lot of each node. Nodes are in the
    order of their warehouses."""
    supplies = snapshot.supplies
    lots = lots[supplies.quantity[lots] >= supplies.pack[lots]]
    asking = np.zeros(len(snapshot.sites), dtype=np.bool_)
    asking[sites] = True
    to_them = ways.by_warehouse[asking[ways.site[ways.by_warehouse]]]
    warehouse, hours = ways.warehouse[to_them], ways.hours[to_them]
    first = np.searchsorted(warehouse, np.arange(len(snapshot.warehouses) + 1))
    reach = np.array(
        [
            np.searchsorted(hours[first[w] : first[w + 1]], expires, side="right")
            for w, expires in zip(supplies.warehouse[lots].tolist(), supplies.expires[lots].tolist(), strict=True)
        ],
        dtype=np.int64,
    )
    lots, reach = lots[reach > 0], reach[reach > 0]
    keys = (reach, supplies.pack[lots], supplies.pool[lots], supplies.warehouse[lots])
    order = np.lexsort(keys)
    new = np.zeros(len(lots), dtype=np.bool_)
    new[:1] = True
    for key in keys:
        new[1:] |= np.diff(key[order]) != 0
    node = np.empty(len(lots), dtype=np.int64)
    node[order] = np.cumsum(new) - 1
    return lots, node, lots[order][new]


def _spread(first: Ints, end: Ints) -> tuple[Ints, Ints]:
    """All numbers of the ranges [first, end), and beside each the number of its range."""
    counts = end - first
    owner = np.repeat(np.arange(len(first)), counts)
    ahead = np.cumsum(counts) - counts
    return owner, np.arange(len(owner)) - np.repeat(ahead - first, counts)
