"""The two solvers of OR-Tools behind plain functions: sources are nodes, sinks are claims. A flow is read only after
its status said that it is optimal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ortools.graph.python import max_flow, min_cost_flow

from fulfillment.allocation.tables import Ints, Mask


@dataclass(frozen=True, eq=False)
class Greatest:
    """A greatest flow. With `short`, some claim is not filled; then `node_side` and `claim_side` mark what is cut off
    from the source: nodes that are empty, and the claims that depend on nothing else."""

    total: int
    edge: Ints
    short: bool
    node_side: Mask
    claim_side: Mask


def greatest(packs: Ints, need: Ints, node: Ints, claim: Ints) -> Greatest:
    """A greatest flow from nodes with `packs` along edges (node, claim) to claims that take at most `need`."""
    nodes, claims = len(packs), len(need)
    source, sink = nodes + claims, nodes + claims + 1
    solver = max_flow.SimpleMaxFlow()
    solver.add_arcs_with_capacity(np.full(nodes, source), np.arange(nodes), packs)
    solver.add_arcs_with_capacity(nodes + np.arange(claims), np.full(claims, sink), need)
    # An edge never fills up, so the cut runs through nodes and claims alone.
    edges = solver.add_arcs_with_capacity(node, nodes + claim, np.minimum(packs[node], need[claim]) + 1)
    status = solver.solve(source, sink) if nodes and claims else solver.OPTIMAL
    if status != solver.OPTIMAL:
        raise RuntimeError(f"the greatest flow ended with status {status}")
    total = int(solver.optimal_flow()) if nodes and claims else 0
    short = total < int(need.sum())
    cut = np.ones(nodes + claims + 2, dtype=np.bool_)
    if short and nodes:
        cut[solver.get_source_side_min_cut()] = False
    flow = solver.flows(edges) if len(node) else np.zeros(0, dtype=np.int64)
    return Greatest(total, flow, short, cut[:nodes], cut[nodes : nodes + claims])


def cheapest(supply: Ints, tail: Ints, head: Ints, room: Ints, cost: Ints) -> Ints:
    """The cheapest flow on arcs from `tail` to `head` that takes exactly what every node supplies (negative:
    demands)."""
    if not len(tail):
        return np.zeros(0, dtype=np.int64)
    common = int(np.gcd.reduce(cost)) or 1
    solver = min_cost_flow.SimpleMinCostFlow()
    arcs = solver.add_arcs_with_capacity_and_unit_cost(tail, head, room, cost // common)
    solver.set_nodes_supplies(np.arange(len(supply)), supply)
    status = solver.solve()
    if status != solver.OPTIMAL:
        raise RuntimeError(f"the cheapest flow ended with status {status}")
    flow: Ints = solver.flows(arcs)
    return flow
