"""Within one pack of the exact share: every block's level is the one at which its claims take exactly what its lots
hold; everybody has that share rounded down or up; and the packs left over went to the largest remainders, the drawn
ticket deciding ties. For items sold in one pack size: with several, no exact share can be promised in whole packs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fulfillment.allocation.checker.document import sums
from fulfillment.allocation.checker.findings import Findings
from fulfillment.allocation.snapshot import ticket
from fulfillment.allocation.tables import Ints

if TYPE_CHECKING:
    from fulfillment.allocation.checker.fair import Proof, Stage


def check(proof: Proof, findings: Findings) -> None:
    """Whatever contradicts the exact levels."""
    world = proof.world
    had = np.zeros(len(proof.packs), dtype=np.int64)
    uneven = np.zeros(len(proof.levels) + 1, dtype=np.bool_)  # blocks that had to be rounded
    for stage in proof.stages:
        claims, rows = stage.claims, world.claim_row[stage.claims]
        units = np.zeros(len(world.want), dtype=np.int64)
        np.add.at(units, world.claim_row, had * stage.pack)
        low = had[claims]
        other = units[rows] - low * stage.pack
        weight = world.floor[rows] if stage.kind == "floor" else world.want[rows]
        high = (world.want[rows] - other) // stage.pack
        if stage.kind == "floor":
            high = np.minimum(high, -((other - weight) // stage.pack))
        high = np.maximum(high, low)
        full = stage.block < 0
        findings.each(
            "fairness",
            claims[full & (stage.granted != high)],
            lambda at: f"{proof.claim(at)} is said to have all it may, but has not",
        )
        shut = ~full & (stage.block < stage.first)
        findings.each(
            "fairness",
            claims[shut & (stage.granted != low)],
            lambda at: f"{proof.claim(at)} changed although it was shut out",
        )
        for number in range(stage.first, stage.end):
            mine = np.flatnonzero(stage.block == number)
            terms = (weight[mine], other[mine], low[mine], high[mine])
            uneven[number] = _block(proof, stage, number, mine, terms, had, findings)
        had[claims] = stage.granted
    if not uneven[proof.closed[world.edge_lot[proof.exact[0]]]].all():
        findings.add("fairness", f"the exact flow of {proof.snapshot.items[world.item]} runs where nothing was rounded")


def _block(
    proof: Proof,
    stage: Stage,
    number: int,
    mine: Ints,
    terms: tuple[Ints, Ints, Ints, Ints],
    had: Ints,
    findings: Findings,
) -> bool:
    """Check one block; whether it had to be rounded."""
    above, below = proof.levels[number]
    if number > stage.first:
        above_before, below_before = proof.levels[number - 1]
        if above * below_before < above_before * below:
            findings.add("fairness", f"the levels of stage {stage.kind}, tier {stage.tier} do not rise")
    claims, granted = stage.claims[mine], stage.granted[mine]
    astray = claims[proof.depends[claims] != number]
    findings.each("fairness", astray, lambda at: f"{proof.claim(at)} is in a block whose lots it does not depend on")
    weight, other, low, high = terms
    scale = stage.pack * below
    exact = np.clip(above * weight - below * other, low * scale, high * scale)
    whole, rest = np.divmod(exact, scale)
    off = (granted < whole) | (granted > whole + (rest > 0))
    fine = findings.each(
        "fairness",
        claims[off],
        lambda at: f"{proof.claim(at)} is more than a pack away from its exact share of {above}/{below}",
    )
    if not rest.any():
        return False
    if not len(astray) and fine and _met(proof, number, claims, exact, scale, had, findings):
        _largest_remainders(proof, number, claims, granted - whole, rest, findings)
    return True


def _met(proof: Proof, number: int, claims: Ints, exact: Ints, scale: int, had: Ints, findings: Findings) -> bool:
    """Whether the exact flow gives everybody in the block the level, everybody else who depends on it what they had,
    and so empties the block's lots."""
    world = proof.world
    edges, amount = proof.exact
    mine = proof.closed[world.edge_lot[edges]] == number
    edges, amount = edges[mine], amount[mine]
    stray = edges[proof.depends[world.edge_claim[edges]] != number]
    fine = findings.each(
        "fairness",
        stray,
        lambda edge: f"the exact flow serves {proof.claim(world.edge_claim[edge])} from outside its block",
    )
    want = np.where(proof.depends == number, had, 0) * scale
    want[claims] = exact
    lots = np.flatnonzero(proof.closed == number)
    held = np.zeros(len(world.packs), dtype=np.int64)
    held[lots] = world.packs[lots] * scale
    for at, due in ((world.edge_claim[edges], want), (world.edge_lot[edges], held)):
        high, low = sums(at, amount, len(due))
        if not bool(((high == due >> 32) & (low == due & 0xFFFFFFFF)).all()):
            findings.add(
                "fairness",
                f"block {number} of {proof.snapshot.items[world.item]}: the exact flow does not meet its level",
            )
            return False
    return fine


def _largest_remainders(proof: Proof, number: int, claims: Ints, up: Ints, rest: Ints, findings: Findings) -> None:
    """No claim that was rounded up could give its pack, along whatever way through the block's lots, to one rounded
    down that comes before it."""
    world, snapshot = proof.world, proof.snapshot
    item = snapshot.items[world.item]
    drawn = [ticket(snapshot.seed, item, snapshot.sites[site]) for site in world.site[world.claim_row[claims]].tolist()]
    order = np.lexsort((claims, np.array(drawn, dtype=np.int64), -rest))
    place = np.full(
        len(proof.packs), -1, dtype=np.int64
    )  # in the order of who comes first; -1 for whoever has nothing to round
    place[claims[order]] = np.arange(len(order))
    place[claims[rest == 0]] = -1
    raised = np.zeros(len(proof.packs), dtype=np.bool_)
    raised[claims] = up > 0
    inside = np.flatnonzero((proof.closed[world.edge_lot] == number) & (proof.depends[world.edge_claim] == number))
    lot, claim, used = world.edge_lot[inside], world.edge_claim[inside], proof.flow[inside] > 0
    # first[lot]: the first claim, of those rounded down, that could have a pack of this lot if somebody gave one up.
    nobody = len(proof.packs)
    first = np.full(len(world.packs), nobody, dtype=np.int64)
    waits = (place[claim] >= 0) & ~raised[claim]
    np.minimum.at(first, lot[waits], place[claim[waits]])
    # Who is served from a lot could be served from another one instead, and pass the pack on.
    while True:
        passed = np.full(len(proof.packs), nobody, dtype=np.int64)
        np.minimum.at(passed, claim[used], first[lot[used]])
        before = first.copy()
        np.minimum.at(first, lot, passed[claim])
        if bool((before == first).all()):
            break
    wrong = np.unique(claim[used & raised[claim] & (place[claim] > first[lot])])
    findings.each(
        "fairness", wrong, lambda at: f"{proof.claim(at)} was rounded up before somebody with a larger remainder"
    )
