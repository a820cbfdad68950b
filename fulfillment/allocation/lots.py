"""From nodes to lots: what a warehouse sends is taken from the lots that expire first. Sites are served in the order
of their lead times; a lot that would expire on the way to the next site is left, since it would on the way to all
further ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fulfillment.allocation.network import Network
from fulfillment.allocation.snapshot import Snapshot
from fulfillment.allocation.tables import Ints


@dataclass(frozen=True, eq=False)
class Sent:
    """Packs of a lot (a number into the network's lots) for a claim."""

    lot: Ints
    claim: Ints
    packs: Ints


def first_expiring(snapshot: Snapshot, network: Network, flow: Ints) -> Sent:
    """The lots behind a flow. Nodes of the same warehouse, pool and pack size are taken together."""
    supplies = snapshot.supplies
    rows = network.lots
    keys = (supplies.pack[rows], supplies.pool[rows], supplies.warehouse[rows])
    order = np.lexsort((np.arange(len(rows)), supplies.expires[rows], *keys))
    new = np.zeros(len(rows), dtype=np.bool_)
    new[:1] = True
    for key in keys:
        new[1:] |= np.diff(key[order]) != 0
    bin_of_lot = np.empty(len(rows), dtype=np.int64)
    bin_of_lot[order] = np.cumsum(new) - 1
    bin_of_node = np.zeros(len(network.node_packs), dtype=np.int64)
    bin_of_node[network.lot_node] = bin_of_lot
    used = np.flatnonzero(flow > 0)
    bins = bin_of_node[network.edge_node[used]]
    by_bin = np.lexsort((network.edge_claim[used], network.edge_hours[used], bins))
    used, bins = used[by_bin], bins[by_bin]
    first = np.searchsorted(bins, np.arange(int(new.sum()) + 1))
    lots_first = np.append(np.flatnonzero(new), len(rows))
    single = np.diff(lots_first)[bins] == 1
    lot, claim, packs = (
        [order[lots_first[bins[single]]]],
        [network.edge_claim[used[single]]],
        [flow[used[single]]],
    )
    for at in np.flatnonzero(np.diff(lots_first) > 1).tolist():
        edges = used[first[at] : first[at + 1]]
        sent = _pour(network, supplies.expires[rows], order[lots_first[at] : lots_first[at + 1]], edges, flow)
        lot.append(sent.lot)
        claim.append(sent.claim)
        packs.append(sent.packs)
    return Sent(np.concatenate(lot), np.concatenate(claim), np.concatenate(packs))


def _pour(network: Network, expires: Ints, lots: Ints, edges: Ints, flow: Ints) -> Sent:
    """Take the flow on `edges` (the shortest lead time first) from `lots` (the first to expire first)."""
    hours, claims = network.edge_hours[edges].tolist(), network.edge_claim[edges].tolist()
    need, at = flow[edges].tolist(), 0
    sent: dict[tuple[int, int], int] = {}
    for lot in lots.tolist():
        room = int(network.lot_packs[lot])
        while room and at < len(need) and hours[at] <= int(expires[lot]):
            packs = min(room, need[at])
            sent[lot, claims[at]] = sent.get((lot, claims[at]), 0) + packs
            room -= packs
            need[at] -= packs
            at += need[at] == 0
    if at < len(need):
        raise RuntimeError("a node sends more than its lots can")
    keys = np.array(list(sent), dtype=np.int64).reshape(-1, 2)
    return Sent(keys[:, 0], keys[:, 1], np.array(list(sent.values()), dtype=np.int64))
