"""Guarantees 2 to 4 of one item: tier order, exact leximin within a tier, nothing left.

The proof is a chain of nested cuts. Every lot that some block emptied is *closed* by it; a claim all of whose lots
are closed depends on the last of these blocks. If closed lots are empty and serve only claims that depend on just
that block, then whatever the lots of blocks up to b held went to claims that had no other lots: nobody there can get
more unless somebody else there gets less. With levels that rise from block to block, and a flow that shows that each
level can be met exactly, that is leximin; with stages in order, it is tier order; with every unfilled claim depending
on a block, it is maximality. Each step is one look at every edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fulfillment.allocation.checker import rounding
from fulfillment.allocation.checker.document import numbers, part
from fulfillment.allocation.checker.findings import Findings, Malformed
from fulfillment.allocation.checker.world import World
from fulfillment.allocation.snapshot import Snapshot
from fulfillment.allocation.tables import UNITS, Ints

KINDS = ("pool", "floor", "share")


@dataclass(frozen=True, eq=False)
class Stage:
    """A tier's turn as certified. Blocks are numbers in [first, end)."""

    kind: str
    tier: int
    pack: int
    claims: Ints
    first: int
    end: int
    block: Ints
    granted: Ints


@dataclass(frozen=True, eq=False)
class Proof:
    """The certificate of an item beside the checker's picture and the plan. `closed` of an open lot, and `depends` of
    a claim that has one, is the number of blocks."""

    snapshot: Snapshot
    world: World
    flow: Ints
    packs: Ints  # that each claim gets
    left: Ints  # in each lot
    closed: Ints
    depends: Ints
    levels: list[tuple[int, int]]
    stages: list[Stage]
    exact: tuple[Ints, Ints]  # edges and amounts

    @classmethod
    def read(cls, snapshot: Snapshot, world: World, document: Any, flow: Ints) -> Proof:
        """The parts of the certificate, of the right shape."""
        where = f"item {snapshot.items[world.item]!r}"
        levels = [_level(value, where) for value in part(document, "levels", list, where)]
        count = len(levels)
        closed = numbers(document, "closed", where, count=len(world.packs), least=-1, below=count)
        closed = np.where(closed < 0, count, closed)
        packs = np.zeros(len(world.claim_row), dtype=np.int64)
        np.add.at(packs, world.edge_claim, flow)
        sent = np.zeros(len(world.packs), dtype=np.int64)
        np.add.at(sent, world.edge_lot, flow)
        depends = np.zeros(len(packs), dtype=np.int64)
        np.maximum.at(depends, world.edge_claim, closed[world.edge_lot])
        exact = part(document, "exact", dict, where)
        lot = numbers(exact, "lot", where, below=max(len(world.packs), 1))
        row = numbers(exact, "row", where, count=len(lot), below=len(world.want))
        amount = numbers(exact, "amount", where, count=len(lot))
        edges = world.edges_of(row, lot)
        if (edges < 0).any():
            raise Malformed(f"{where}: the exact flow runs where nothing can")
        stages = _stages(world, part(document, "stages", list, where), count, where)
        return cls(snapshot, world, flow, packs, world.packs - sent, closed, depends, levels, stages, (edges, amount))

    def claim(self, at: int) -> str:
        """A claim in words."""
        name = self.snapshot.sites[self.world.site[self.world.claim_row[at]]]
        return f"{name} ({self.snapshot.items[self.world.item]})"

    def lot(self, at: int) -> str:
        """A lot in words."""
        world, snapshot = self.world, self.snapshot
        name = snapshot.lots[snapshot.supplies.lot[world.first_lot + at]]
        return f"lot {name!r} of {snapshot.items[world.item]} in {snapshot.warehouses[world.warehouse[at]]}"


def check(proof: Proof, findings: Findings) -> None:
    """Whatever contradicts guarantees 2 to 4."""
    before = len(findings.found)
    reached = _gains(proof, findings)
    _closed(proof, reached, findings)
    _nothing_left(proof, findings)
    if len(set(proof.world.claim_pack.tolist())) > 1:
        if len(proof.exact[0]):
            findings.add("fairness", "there is an exact flow for an item that is sold in several pack sizes")
    elif len(findings.found) == before:
        rounding.check(proof, findings)


def _level(value: Any, where: str) -> tuple[int, int]:
    if not isinstance(value, list | tuple) or len(value) != 2 or any(type(number) is not int for number in value):
        raise Malformed(f"{where}: a level is not two whole numbers")
    above, below = value
    if not (0 <= above <= 4 * UNITS and 1 <= below <= UNITS):
        raise Malformed(f"{where}: the level {above}/{below} is out of bounds")
    return above, below


def _stages(world: World, documents: list[Any], count: int, where: str) -> list[Stage]:
    """The stages that the input demands, each with what the certificate says of it."""
    stages: list[Stage] = []
    tier = world.tier[world.claim_row]
    for kind in KINDS:
        of_kind = world.claim_own if kind == "pool" else ~world.claim_own
        if kind == "floor":
            of_kind = of_kind & (world.floor[world.claim_row] > 0)
        for turn in np.unique(tier[of_kind]).tolist():
            for pack in np.unique(world.claim_pack[of_kind & (tier == turn)])[::-1].tolist():
                if len(stages) == len(documents):
                    raise Malformed(f"{where}: there is no stage {kind}, tier {turn}, packs of {pack}")
                document, first = documents[len(stages)], stages[-1].end if stages else 0
                here = f"{where}, stage {len(stages) + 1}"
                for key, want, value in (("kind", str, kind), ("tier", int, turn), ("pack", int, pack)):
                    if part(document, key, want, here) != value:
                        raise Malformed(f"{here} should be {kind}, tier {turn}, packs of {pack}")
                claims = np.flatnonzero(of_kind & (tier == turn) & (world.claim_pack == pack))
                bounds = numbers(document, "blocks", here, count=2, below=count + 1).tolist()
                if bounds[0] != first or bounds[1] < first:
                    raise Malformed(f"{here}: its blocks do not follow those before")
                block = numbers(document, "block", here, count=len(claims), least=-1, below=bounds[1])
                granted = numbers(document, "granted", here, count=len(claims), below=UNITS + 1)
                stages.append(Stage(kind, turn, pack, claims, first, bounds[1], block, granted))
    if len(stages) != len(documents):
        raise Malformed(f"{where}: {len(documents)} stages, but only {len(stages)} are due")
    if count != (stages[-1].end if stages else 0):
        raise Malformed(f"{where}: {count} levels, but the stages have {stages[-1].end if stages else 0} blocks")
    return stages


def _gains(proof: Proof, findings: Findings) -> Ints:
    """Up to which block each claim gained anything: a block in a later place must not have given it anything. Checks
    that what stages granted adds up to the plan."""
    reached = np.full(len(proof.packs), -1, dtype=np.int64)
    had = np.zeros(len(proof.packs), dtype=np.int64)
    for stage in proof.stages:
        claims, gained = stage.claims, stage.granted > had[stage.claims]
        findings.each(
            "fairness",
            claims[stage.granted < had[claims]],
            lambda at: f"{proof.claim(at)} lost packs from one stage to the next",
        )
        shut = (stage.block >= 0) & (stage.block < stage.first)
        findings.each(
            "tier order",
            claims[shut & gained],
            lambda at: f"{proof.claim(at)} gained packs although all of its lots were closed",
        )
        reached[claims[gained]] = np.where(stage.block[gained] < 0, stage.end, stage.block[gained])
        had[claims] = stage.granted
        unfilled = stage.block >= 0
        late = claims[unfilled][proof.depends[claims[unfilled]] > stage.block[unfilled]]
        findings.each(
            "fairness",
            late,
            lambda at: f"{proof.claim(at)} is said to be held back by lots, but could be served by others",
        )
    findings.each(
        "fairness", np.flatnonzero(had != proof.packs),
        lambda at: f"{proof.claim(at)} gets {proof.packs[at]} packs, the certificate says {had[at]}",
    )  # fmt: skip
    return reached


def _closed(proof: Proof, reached: Ints, findings: Findings) -> None:
    """Closed lots are empty, and serve only claims that depend on them and gained by no later block."""
    world, shut = proof.world, proof.closed < len(proof.levels)
    findings.each(
        "maximal", np.flatnonzero(shut & (proof.left > 0)), lambda lot: f"{proof.lot(lot)} is closed, but not empty"
    )
    used = np.flatnonzero((proof.flow > 0) & shut[world.edge_lot])
    claim, lot = world.edge_claim[used], world.edge_lot[used]
    findings.each(
        "fairness", used[proof.depends[claim] != proof.closed[lot]],
        lambda edge: f"{proof.claim(world.edge_claim[edge])} takes from {proof.lot(world.edge_lot[edge])} that others "
        "depend on, and could be served elsewhere",
    )  # fmt: skip
    findings.each(
        "tier order", used[reached[claim] > proof.closed[lot]],
        lambda edge: f"{proof.claim(world.edge_claim[edge])} takes from {proof.lot(world.edge_lot[edge])}, which those "
        "before it could still use",
    )  # fmt: skip


def _nothing_left(proof: Proof, findings: Findings) -> None:
    """After each turn: whoever is not said to be held back by closed lots could not take another pack, of what is
    wanted or, in a turn of floors, of what is promised."""
    world = proof.world
    had = np.zeros(len(proof.packs), dtype=np.int64)
    turns: dict[tuple[str, int], list[Stage]] = {}
    for stage in proof.stages:
        turns.setdefault((stage.kind, stage.tier), []).append(stage)
    for (kind, _tier), stages in turns.items():
        for stage in stages:
            had[stage.claims] = stage.granted
        units = np.zeros(len(world.want), dtype=np.int64)
        np.add.at(units, world.claim_row, had * world.claim_pack)
        for stage in stages:
            claims = stage.claims[stage.block < 0]
            rows = world.claim_row[claims]
            room = world.want[rows] - units[rows] >= stage.pack
            if kind == "floor":
                room &= units[rows] < world.floor[rows]
            findings.each(
                "maximal", claims[room],
                lambda at: f"{proof.claim(at)} could take another pack: its lots are not all taken by those before it",
            )  # fmt: skip
