"""Guarantee 5 of one item: the routes are the cheapest for their totals, no delivery is split without need, and lots
leave in the order of their expiry."""

from __future__ import annotations

from typing import Any

import numpy as np

from fulfillment.allocation.checker.document import numbers
from fulfillment.allocation.checker.fair import Proof
from fulfillment.allocation.checker.findings import Findings
from fulfillment.allocation.tables import NEVER, Ints


def check(proof: Proof, document: Any, findings: Findings) -> None:
    """Whatever contradicts guarantee 5."""
    world = proof.world
    where = f"item {proof.snapshot.items[world.item]!r}"
    price = numbers(document, "price", where, count=len(world.packs), below=2**60)
    _cheapest(proof, price, findings)
    bins = _bins(proof)
    _first_expiring(proof, bins, findings)
    _unsplit(proof, bins, price, findings)


def _cheapest(proof: Proof, price: Ints, findings: Findings) -> None:
    """At the prices of the lots everybody is served from where it is cheapest, and what is left over costs nothing:
    then every other way to deliver these totals costs at least as much (linear programming duality)."""
    world = proof.world
    findings.each(
        "cost",
        np.flatnonzero((proof.left > 0) & (price > 0)),
        lambda lot: f"{proof.lot(lot)} has a price although packs are left",
    )
    total = world.edge_cost + price[world.edge_lot]
    least = np.full(len(proof.packs), 2**62, dtype=np.int64)
    np.minimum.at(least, world.edge_claim, total)
    dear = np.flatnonzero((proof.flow > 0) & (total > least[world.edge_claim]))
    findings.each(
        "cost",
        dear,
        lambda edge: (
            f"{proof.claim(world.edge_claim[edge])} is not served from where it is cheapest: "
            f"{proof.lot(world.edge_lot[edge])}"
        ),
    )


def _bins(proof: Proof) -> Ints:
    """A number for each lot: the same for lots of one warehouse, pool and pack size."""
    world = proof.world
    _, bins = np.unique(np.stack([world.warehouse, world.pool, world.pack]), axis=1, return_inverse=True)
    return bins.astype(np.int64).reshape(-1)


def _first_expiring(proof: Proof, bins: Ints, findings: Findings) -> None:
    """Nobody is sent a later lot while an earlier one of the same warehouse is left that would arrive in time."""
    world = proof.world
    rest = np.flatnonzero((proof.left > 0) & (world.expires < NEVER))
    if not len(rest):
        return
    rest = rest[np.lexsort((world.expires[rest], bins[rest]))]
    # For every used edge the latest of the lots left in its bin that still expires before the lot it uses.
    ranks = np.unique(np.concatenate([world.expires, [NEVER]]))
    rank = np.searchsorted(ranks, world.expires)
    used = np.flatnonzero(proof.flow > 0)
    lot = world.edge_lot[used]
    at = np.searchsorted(bins[rest] * len(ranks) + rank[rest], bins[lot] * len(ranks) + rank[lot]) - 1
    earlier = rest[np.maximum(at, 0)]
    wrong = (at >= 0) & (bins[earlier] == bins[lot]) & (world.edge_hours[used] <= world.expires[earlier])
    findings.each(
        "first expiring", used[wrong],
        lambda edge: f"{proof.claim(world.edge_claim[edge])} is sent {proof.lot(world.edge_lot[edge])} while one that "
        "expires earlier is left",
    )  # fmt: skip


def _unsplit(proof: Proof, bins: Ints, price: Ints, findings: Findings) -> None:
    """Split deliveries form no cycle (also not through what is left): a cycle could be turned at no cost until one of
    its deliveries is gone. Bins whose lots may not all be sent to the same sites are left out: there, turning may
    need an expired lot."""
    world = proof.world
    alike = np.ones(int(bins.max(initial=-1)) + 1, dtype=np.bool_)
    reach = np.bincount(world.edge_lot, minlength=len(world.packs))
    most = np.zeros(len(alike), dtype=np.int64)
    np.maximum.at(most, bins, np.where(world.packs > 0, reach, 0))
    alike[bins[(world.packs > 0) & (reach < most[bins])]] = False
    used = np.flatnonzero((proof.flow > 0) & alike[bins[world.edge_lot]])
    ways = np.unique(world.edge_claim[used] * len(alike) + bins[world.edge_lot[used]])
    claim, bin_ = ways // max(len(alike), 1), ways % max(len(alike), 1)
    counts = np.bincount(claim, minlength=len(proof.packs))
    split = np.flatnonzero(counts[claim] > 1)
    if not len(split):
        return
    rest = len(alike)
    root = list(range(len(alike) + 1))

    def top(at: int) -> int:
        while root[at] != at:
            root[at] = root[root[at]]
            at = root[at]
        return at

    for lot in np.flatnonzero(proof.left > 0).tolist():
        if alike[bins[lot]]:
            root[top(int(bins[lot]))] = top(rest)
    before = -1
    anchor = 0
    for who, where in zip(claim[split].tolist(), bin_[split].tolist(), strict=True):
        if who != before:
            before, anchor = who, where
        elif top(anchor) == top(where):
            findings.add("splits", f"{proof.claim(who)} is served by several warehouses without need")
        else:
            root[top(where)] = top(anchor)
