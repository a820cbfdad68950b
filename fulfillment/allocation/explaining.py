"""Why a site got what it got, from the solver's own books: what of its demand counted, who went first, which
warehouses held it back, and at which level it and those beside it ended."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from fulfillment.allocation.certificate import Solved
from fulfillment.allocation.sharing import FLOOR, POOL, SHARE
from fulfillment.allocation.solver import Plan
from fulfillment.allocation.tables import HOUR, NONE, Ints
from hub.kernel.errors import NotFound

Reason = Literal["full", "nothing_counts", "pack", "level", "shut_out", "unreachable"]


@dataclass(frozen=True)
class Why:
    """One demand and its outcome.

    full: all that counts was granted. nothing_counts: the quantity, cap or headcount is 0. pack: what is missing is
    less than a pack. level: it shares `warehouses`, which are empty now, with `beside` other demands at the share
    `level`. shut_out: those `warehouses` were empty before its turn; `by` says whose turn emptied them. unreachable:
    no stock can arrive in time."""

    site: str
    item: str
    tier: int
    asked: int
    counted: int
    counted_by: Literal["quantity", "cap", "headcount"]
    granted: int
    from_pool: int
    floor: int
    reason: Reason
    level: tuple[int, int] | None
    by: str
    warehouses: tuple[str, ...]
    beside: int
    too_far: int  # warehouses with stock whose way is longer than the deadline
    expired: int  # lots that would expire on the way

    @property
    def share(self) -> float:
        """Granted of what counts."""
        return self.granted / self.counted if self.counted else 1.0


class Explainer:
    """Explains the demands of one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._solved = {one.network.item: one for one in plan.solved}
        snapshot = plan.snapshot
        self._sites = {name: at for at, name in enumerate(snapshot.sites)}
        self._items = {name: at for at, name in enumerate(snapshot.items)}
        self._book = cache(_Book)

    def of(self, site: str, item: str) -> Why:
        """Why this site got what it got of this item."""
        demands = self._plan.snapshot.demands
        rows = np.flatnonzero(
            (demands.site == self._sites.get(site, NONE)) & (demands.item == self._items.get(item, NONE))
        )
        if not len(rows):
            raise NotFound(f"{site!r} did not ask for {item!r}")
        return self.row(int(rows[0]))

    def site(self, site: str) -> list[Why]:
        """Everything that this site asked for."""
        rows = np.flatnonzero(self._plan.snapshot.demands.site == self._sites.get(site, NONE)).tolist()
        if not rows:
            raise NotFound(f"{site!r} did not ask for anything")
        return [self.row(row) for row in rows]

    def all(self) -> list[Why]:
        """Every demand, in the snapshot's order."""
        return [self.row(row) for row in range(len(self._plan.snapshot.demands.item))]

    def row(self, row: int) -> Why:
        """Why a demand, by its row in the snapshot, got what it got."""
        snapshot, demands = self._plan.snapshot, self._plan.snapshot.demands
        item, counted = int(demands.item[row]), int(demands.want[row])
        by: Literal["quantity", "cap", "headcount"] = "quantity"
        if counted < demands.quantity[row]:
            by = "cap" if counted == demands.cap[row] else "headcount"
        reason: Reason = "nothing_counts"
        level: tuple[int, int] | None = None
        warehouses: tuple[str, ...] = ()
        turn, beside, pool, too_far, expired = "", 0, 0, 0, 0
        if counted:
            book = self._book(self._plan, self._solved[item])
            reason, level, turn, warehouses, beside, pool = book.explain(row)
            if reason != "full":
                too_far, expired = book.out_of_reach(row)
        return Why(
            snapshot.sites[demands.site[row]], snapshot.items[item], int(demands.tier[row]), int(demands.quantity[row]),
            counted, by, int(self._plan.granted[row]), pool, int(demands.floor[row]), reason, level, turn, warehouses,
            beside, too_far, expired,
        )  # fmt: skip


class _Book:
    """What is known of one item, by demand."""

    def __init__(self, plan: Plan, one: Solved) -> None:
        self._plan, self._one = plan, one
        network = one.network
        self._claims_first = np.searchsorted(network.claim_row, np.arange(len(network.demands) + 1))
        self._edges_first = np.searchsorted(network.edge_claim, np.arange(len(network.claim_row) + 1))
        self._last: dict[int, tuple[int, int]] = {}
        self._sizes: dict[int, int] = {}
        for number, stage in enumerate(one.shares.stages):
            for claim, block in zip(stage.claims.tolist(), stage.block.tolist(), strict=True):
                self._last[claim] = (number, block)
                if block >= stage.first_block:
                    self._sizes[block] = self._sizes.get(block, 0) + 1
        warehouse = np.zeros(len(network.node_packs), dtype=np.int64)
        warehouse[network.lot_node] = plan.snapshot.supplies.warehouse[network.lots]
        self._warehouse = warehouse

    def explain(self, row: int) -> tuple[Reason, tuple[int, int] | None, str, tuple[str, ...], int, int]:
        one, network, snapshot = self._one, self._one.network, self._plan.snapshot
        at = int(np.searchsorted(network.demands, row))
        claims = range(int(self._claims_first[at]), int(self._claims_first[at + 1]))
        pool = sum(int(one.shares.granted[c] * network.claim_pack[c]) for c in claims if network.claim_pool[c])
        missing = int(snapshot.demands.want[row] - self._plan.granted[row])
        if not missing:
            return "full", None, "", (), 0, pool
        if not claims:
            return "unreachable", None, "", (), 0, pool
        held = [c for c in claims if self._last[c][1] >= 0]
        if not held:
            return "pack", None, "", (), 0, pool
        claim = held[-1]
        number, block = self._last[claim]
        nodes = network.edge_node[self._edges_first[claim] : self._edges_first[claim + 1]]
        names = tuple(sorted({snapshot.warehouses[w] for w in self._warehouse[nodes].tolist()}))
        stage = next(s for s in reversed(one.shares.stages) if s.first_block <= block)
        if stage is not one.shares.stages[number]:
            return "shut_out", None, _turn(stage.kind, stage.tier), names, 0, pool
        level = one.shares.blocks[block].level
        return "level", (level.above, level.below), _turn(stage.kind, stage.tier), names, self._sizes[block] - 1, pool

    def out_of_reach(self, row: int) -> tuple[int, int]:
        snapshot = self._plan.snapshot
        leads, supplies = snapshot.leads, snapshot.supplies
        lots: Ints = np.flatnonzero((supplies.item == self._one.network.item) & (supplies.quantity >= supplies.pack))
        first, end = np.searchsorted(leads.site, [snapshot.demands.site[row], snapshot.demands.site[row] + 1]).tolist()
        hours = np.full(len(snapshot.warehouses), NONE, dtype=np.int64)
        hours[leads.warehouse[first:end]] = leads.hours[first:end]
        way = hours[supplies.warehouse[lots]]
        late = way > snapshot.deadline
        stale = (way != NONE) & ~late & (way > supplies.expires[lots])
        return len(np.unique(supplies.warehouse[lots[late]])), int(stale.sum())


def _turn(kind: str, tier: int) -> str:
    return {POOL: f"reserve, tier {tier}", FLOOR: f"floors, tier {tier}", SHARE: f"tier {tier}"}[kind]


def words(why: Why, deadline: int) -> str:
    """The explanation as a sentence."""
    less = f", {why.counted:,} count ({why.counted_by})" if why.counted != why.asked else ""
    got = f"{why.item}: {why.asked:,} asked{less}, tier {why.tier}; {why.granted:,} granted ({why.share:.1%})"
    places = ", ".join(why.warehouses[:5]) + (" …" if len(why.warehouses) > 5 else "")
    said = {
        "full": "all that counts",
        "nothing_counts": "nothing counts",
        "pack": "what is missing is less than a pack",
        "level": f"{places} could give no more; everybody held back by them alone ends at the same share"
        + (f" ({why.level[0]}/{why.level[1]} = {why.level[0] / why.level[1]:.1%}, {why.by}; others: {why.beside:,})"
           if why.level else ""),
        "shut_out": f"{places} were empty when its turn came ({why.by} took the last)",
        "unreachable": f"no stock can arrive within {deadline / HOUR:g} hours",
    }[why.reason]  # fmt: skip
    beyond = []
    if why.from_pool:
        beyond.append(f"{why.from_pool:,} from its own reserve")
    if why.too_far:
        beyond.append(f"warehouses too far away: {why.too_far}")
    if why.expired:
        beyond.append(f"lots that would expire on the way: {why.expired}")
    return f"{why.site}: {got}: {said}" + (f"; {'; '.join(beyond)}" if beyond else "")
