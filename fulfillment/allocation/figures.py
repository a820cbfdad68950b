"""The figures of a plan, whoever made it: units, sites, the worst share, evenness, cost and split deliveries. Pure
counting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fulfillment.allocation.snapshot import Snapshot
from fulfillment.allocation.tables import MONEY, Ints


@dataclass(frozen=True)
class Figures:
    """Over demands (one site asking for one item) of which something counts. `worst` is the smallest share as units
    got and units wanted; Gini is 0 and Jain is 1 where all shares are equal. `cost` is in ten-thousandths."""

    demands: int
    wanted: int
    units: int
    served: int
    filled: int
    worst: tuple[int, int]
    gini: float
    jain: float
    cost: int
    deliveries: int
    splits: int

    @property
    def worst_share(self) -> float:
        """The smallest share."""
        got, wanted = self.worst
        return got / wanted if wanted else 1.0

    @property
    def money(self) -> str:
        """The cost as a decimal."""
        return f"{self.cost // MONEY}.{self.cost % MONEY // 100:02d}"


def measure(
    snapshot: Snapshot, supply: Ints, demand: Ints, units: Ints, *, item: int | None = None, tier: int | None = None
) -> Figures:
    """The figures of the rows (lot, demand, units): of one item or of all, of one tier or of all."""
    demands = snapshot.demands
    counts = demands.want > 0
    for column, chosen in ((demands.item, item), (demands.tier, tier)):
        if chosen is not None:
            counts &= column == chosen
    mine = counts[demand]
    supply, demand, units = supply[mine], demand[mine], units[mine]
    got = np.zeros(len(demands.item), dtype=np.int64)
    np.add.at(got, demand, units)
    got, want = got[counts], demands.want[counts]
    shares = got / want
    worst = int(np.lexsort((np.arange(len(shares)), want, shares))[0]) if len(shares) else -1
    warehouses = len(snapshot.warehouses)
    ways = np.unique(demand * warehouses + snapshot.supplies.warehouse[supply])
    served = int((got > 0).sum())
    cost = np.zeros(len(snapshot.items), dtype=np.int64)
    np.add.at(cost, demands.item[demand], units * unit_costs(snapshot, supply, demand))
    return Figures(
        demands=len(want), wanted=int(want.sum()), units=int(got.sum()), served=served, filled=int((got >= want).sum()),
        worst=(int(got[worst]), int(want[worst])) if worst >= 0 else (0, 0), gini=_gini(shares), jain=_jain(shares),
        cost=sum(cost.tolist()), deliveries=len(ways), splits=len(ways) - served,
    )  # fmt: skip


def unit_costs(snapshot: Snapshot, supply: Ints, demand: Ints) -> Ints:
    """What a unit of each row costs; the rows' ways must exist."""
    leads, warehouses = snapshot.leads, len(snapshot.warehouses)
    keys = leads.site * warehouses + leads.warehouse
    wanted = snapshot.demands.site[demand] * warehouses + snapshot.supplies.warehouse[supply]
    return leads.cost[np.searchsorted(keys, wanted)]


def _gini(shares: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    total, count = float(shares.sum()), len(shares)
    if not total:
        return 0.0
    ranks = np.arange(1, count + 1)
    return float(2 * (ranks * np.sort(shares)).sum() / (count * total) - (count + 1) / count)


def _jain(shares: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    squares = float((shares**2).sum())
    return float(shares.sum()) ** 2 / (len(shares) * squares) if squares else 1.0
