"""Exact leximin by parametric flow. At the common level of all claims a greatest flow either fills every claim, and
they are one block; or its cut parts them into those that cannot reach the level and the rest, and each side is
divided on its own. Blocks come out in the order of their levels. Each is then rounded to whole packs on its own:
across blocks, rounding would leak packs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fulfillment.allocation.flows import cheapest, greatest
from fulfillment.allocation.levels import Claims, Level, level_of
from fulfillment.allocation.tables import Ints, Mask


@dataclass(frozen=True, eq=False)
class Part:
    """A piece of a network: numbers of its nodes, claims and edges, and the ends of the edges within the piece.
    `sharing` marks the claims that share, in the order of `terms`; the others hold `held` packs."""

    nodes: Ints
    packs: Ints
    claims: Ints
    held: Ints
    sharing: Mask
    terms: Claims
    edges: Ints
    edge_node: Ints
    edge_claim: Ints

    @property
    def stock(self) -> int:
        """Packs that the nodes have beyond what is held."""
        return int(self.packs.sum()) - int(self.held[~self.sharing].sum())

    def cut(self, nodes: Mask, claims: Mask) -> Part:
        """The piece of these nodes and claims; edges that leave it are dropped."""
        edges = nodes[self.edge_node] & claims[self.edge_claim]
        new_node, new_claim = np.cumsum(nodes) - 1, np.cumsum(claims) - 1
        return Part(
            self.nodes[nodes], self.packs[nodes], self.claims[claims], self.held[claims], self.sharing[claims],
            self.terms.part(np.flatnonzero(claims[self.sharing])), self.edges[edges],
            new_node[self.edge_node[edges]], new_claim[self.edge_claim[edges]],
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Block:
    """Claims that end at the same level, and the nodes that they empty. `exact` is a flow that gives each its exact
    share, in parts of which a pack has `scale`."""

    level: Level
    part: Part
    scale: int
    exact: Ints
    share: Ints  # exact shares, in the same parts, of the sharing claims


def divide(part: Part) -> list[Block]:
    """The blocks of a piece whose nodes will all be empty, from the lowest level to the highest."""
    blocks: list[Block] = []
    waiting = [(part, part.stock)]
    while waiting:
        piece, packs = waiting.pop()
        if not piece.sharing.any():
            raise RuntimeError("a piece of the network has stock that nobody may claim")
        level = level_of(piece.terms, packs)
        scale = piece.terms.scale(level)
        share = piece.terms.at(level)
        need = piece.held * scale
        need[piece.sharing] = share
        flow = greatest(piece.packs * scale, need, piece.edge_node, piece.edge_claim)
        if not flow.short:
            blocks.append(Block(level, piece, scale, flow.edge, share))
            continue
        if flow.node_side.all() or not flow.node_side.any():
            raise RuntimeError("a cut that parts nothing")
        poor = piece.cut(flow.node_side, flow.claim_side)
        rich = piece.cut(~flow.node_side, ~flow.claim_side)
        waiting.append((rich, packs - poor.stock))
        waiting.append((poor, poor.stock))
    return blocks


def rounded(block: Block, tickets: Ints) -> Ints:
    """Whole packs for the block's sharing claims: each exact share rounded down, and the packs left over to the
    largest remainders, as far as the network allows; the lower ticket wins a tie. This is a greedy choice in a
    matroid, so any weights in the same order choose the same claims, and the result depends on no solver's taste."""
    part = block.part
    whole, rest = np.divmod(block.share, block.scale)
    spare = int(rest.sum()) // block.scale
    if not spare:
        return whole
    order = np.lexsort((np.arange(len(rest)), tickets, -rest))
    order = order[rest[order] > 0]
    best = whole.copy()
    best[order[:spare]] += 1
    need = part.held.copy()
    need[part.sharing] = best
    if not greatest(part.packs, need, part.edge_node, part.edge_claim).short:
        return best
    need[part.sharing] = whole
    return whole + _greedy(part, need, order, spare)


def _greedy(part: Part, need: Ints, order: Ints, spare: int) -> Ints:
    """One pack more or none for each sharing claim, `spare` in all, the first in `order` first."""
    nodes, claims = len(part.nodes), len(part.claims)
    sharing = np.flatnonzero(part.sharing)
    more = nodes + claims  # where the packs beyond `need` go
    supply = np.concatenate([part.packs, -need, np.array([-spare])])
    tail = np.concatenate([part.edge_node, nodes + sharing[order]])
    head = np.concatenate([nodes + part.edge_claim, np.full(len(order), more)])
    room = np.concatenate([part.packs[part.edge_node], np.ones(len(order), dtype=np.int64)])
    cost = np.concatenate([np.zeros(len(part.edges), dtype=np.int64), 1 + np.arange(len(order))])
    flow = cheapest(supply, tail, head, room, cost)
    gains = np.zeros(len(sharing), dtype=np.int64)
    gains[order] = flow[len(part.edges) :]
    return gains
