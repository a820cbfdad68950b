"""The allocator: a snapshot in, a plan out. Items are independent: nothing they share is scarce here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fulfillment.allocation.certificate import Solved, certify, plan_sha256
from fulfillment.allocation.deliveries import gathered
from fulfillment.allocation.figures import Figures, measure
from fulfillment.allocation.lots import first_expiring
from fulfillment.allocation.network import Network, networks
from fulfillment.allocation.routing import prices, route, usable
from fulfillment.allocation.sharing import share_out
from fulfillment.allocation.snapshot import Snapshot
from fulfillment.allocation.tables import Ints


@dataclass(frozen=True, eq=False)
class Plan:
    """Which lot sends how many units to which demand; `supply` and `demand` are rows of the snapshot. Sorted by item,
    warehouse, site, lot. A plan is a proposal: it commits nothing."""

    snapshot: Snapshot
    supply: Ints
    demand: Ints
    units: Ints
    solved: tuple[Solved, ...]

    @cached_property
    def granted(self) -> Ints:
        """Units for every demand of the snapshot."""
        units = np.zeros(len(self.snapshot.demands.item), dtype=np.int64)
        np.add.at(units, self.demand, self.units)
        return units

    @cached_property
    def figures(self) -> Figures:
        """The plan's figures over all items."""
        return measure(self.snapshot, self.supply, self.demand, self.units)

    @cached_property
    def sha256(self) -> str:
        """The plan's identity, given its snapshot's."""
        return plan_sha256(self.supply, self.demand, self.units)

    @cached_property
    def certificate(self) -> dict[str, Any]:
        """What the checker needs to prove the plan; arrays of numpy inside."""
        return certify(self.snapshot, self.solved, self.figures, self.sha256)


def solve(snapshot: Snapshot) -> Plan:
    """The plan of a snapshot."""
    solved = tuple(_solve_item(snapshot, network) for network in networks(snapshot))
    supply = _joined([one.network.lots[one.sent.lot] for one in solved])
    demand = _joined([one.network.demands[one.network.claim_row[one.sent.claim]] for one in solved])
    units = _joined([one.sent.packs * one.network.claim_pack[one.sent.claim] for one in solved])
    supplies, demands = snapshot.supplies, snapshot.demands
    order = np.lexsort((supply, demands.site[demand], supplies.warehouse[supply], demands.item[demand]))
    return Plan(snapshot, supply[order], demand[order], units[order], solved)


def _solve_item(snapshot: Snapshot, network: Network) -> Solved:
    shares = share_out(snapshot, network)
    flow = route(shares)
    price = prices(network, flow)
    warehouse = np.zeros(len(network.node_packs), dtype=np.int64)
    warehouse[network.lot_node] = snapshot.supplies.warehouse[network.lots]
    flow = gathered(network, flow, price, usable(shares), warehouse)
    return Solved(network, shares, price, first_expiring(snapshot, network, flow))


def _joined(parts: list[Ints]) -> Ints:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
