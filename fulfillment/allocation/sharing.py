"""Who gets how much of one item: stage after stage, each exact given those before it.

Reserves come first: the sites of a pool share what is earmarked for them, tier by tier. Then floors, tier by tier,
measured against the floors. Then the tiers share what is left, measured against what each site wants. A later stage
may change which lots serve an earlier claim, never how much it gets. Where a stage cannot fill its claims, the nodes
that they depend on are empty from then on, and *closed* by the block that emptied them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fulfillment.allocation.blocks import Block, Part, divide, rounded
from fulfillment.allocation.flows import greatest
from fulfillment.allocation.levels import Claims
from fulfillment.allocation.network import Network
from fulfillment.allocation.snapshot import Snapshot, ticket
from fulfillment.allocation.tables import Ints, Mask

POOL, FLOOR, SHARE = "pool", "floor", "share"
OPEN = -1  # of a node: nobody emptied it
FULL = -1  # of a claim: it has all it may have
ROUNDS = 6  # of weighing several pack sizes against each other


@dataclass(frozen=True, eq=False)
class Stage:
    """One tier's turn at the lots of one pack size. `block` says for each claim which block it ended in (a number
    into Shares.blocks), FULL, or the earlier block that had already closed its nodes; `granted` what it then had."""

    kind: str
    tier: int
    pack: int
    claims: Ints
    block: Ints
    granted: Ints
    first_block: int


@dataclass(eq=False)
class Shares:
    """The packs granted to each claim of a network, and why."""

    network: Network
    granted: Ints
    closed: Ints
    blocks: list[Block] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)

    def units_of_rows(self) -> Ints:
        """Units granted so far to each demand row."""
        units = np.zeros(len(self.network.demands), dtype=np.int64)
        np.add.at(units, self.network.claim_row, self.granted * self.network.claim_pack)
        return units


def share_out(snapshot: Snapshot, network: Network) -> Shares:
    """The totals of every claim."""
    nodes, claims = len(network.node_packs), len(network.claim_row)
    shares = Shares(network, np.zeros(claims, dtype=np.int64), np.full(nodes, OPEN, dtype=np.int64))
    tickets = _Tickets(snapshot, network)
    for kind, of_kind, floors in (
        (POOL, network.claim_pool, False),
        (FLOOR, ~network.claim_pool, True),
        (SHARE, ~network.claim_pool, False),
    ):
        wanted = of_kind & (network.floor[network.claim_row] > 0) if floors else of_kind
        for tier in np.unique(network.tier[network.claim_row[wanted]]).tolist():
            turn = wanted & (network.tier[network.claim_row] == tier)
            _turn(shares, tickets, kind, tier, turn)
    return shares


def _turn(shares: Shares, tickets: _Tickets, kind: str, tier: int, turn: Mask) -> None:
    """One tier's turn, over all pack sizes. With several of them no exact rule can be met in whole packs, so each
    size is shared with the others' outcome in view, again and again until nothing moves; then what still fits is
    added."""
    network = shares.network
    packs = [pack for pack in network.packs if bool((turn & (network.claim_pack == pack)).any())]
    if len(packs) > 1:
        before = shares.granted.copy()
        for _ in range(ROUNDS):
            held = shares.granted.copy()
            for pack in packs:
                mine = turn & (network.claim_pack == pack)
                shares.granted[mine] = before[mine]
                _phase(shares, tickets, kind, tier, pack, mine)
            if bool((held == shares.granted).all()):
                break
    for pack in packs:
        stage, blocks = _phase(shares, tickets, kind, tier, pack, turn & (network.claim_pack == pack))
        for number, block in enumerate(blocks, stage.first_block):
            shares.closed[block.part.nodes] = number
        shares.stages.append(stage)
        shares.blocks += blocks


def _phase(shares: Shares, tickets: _Tickets, kind: str, tier: int, pack: int, turn: Mask) -> tuple[Stage, list[Block]]:
    """Share the open nodes of one pack size among the claims in `turn`: grants them; returns what there is to
    record."""
    network, granted = shares.network, shares.granted
    claims = np.flatnonzero(turn)
    terms = _terms(shares, kind, pack, claims)
    label = np.full(len(granted), FULL, dtype=np.int64)
    hungry = claims[terms.high > terms.low]
    open_edge = shares.closed[network.edge_node] == OPEN
    reached = np.zeros(len(granted), dtype=np.bool_)
    reached[network.edge_claim[open_edge]] = True
    last_closed = np.full(len(granted), OPEN, dtype=np.int64)
    np.maximum.at(last_closed, network.edge_claim, shares.closed[network.edge_node])
    label[hungry] = np.where(reached[hungry], FULL, last_closed[hungry])
    able = turn & reached
    part = _part(shares, pack, able, terms.part(np.flatnonzero(reached[claims])), open_edge, reached)
    need = part.held.copy()
    need[part.sharing] = part.terms.high
    flow = greatest(part.packs, need, part.edge_node, part.edge_claim)
    granted[part.claims] = need
    first = len(shares.blocks)
    blocks: list[Block] = []
    if flow.short:
        blocks = divide(part.cut(flow.node_side, flow.claim_side))
        for number, block in enumerate(blocks, first):
            mine = block.part.claims[block.part.sharing]
            granted[mine] = rounded(block, tickets.of(mine))
            label[mine] = number
    return Stage(kind, tier, pack, claims, label[claims], granted[claims].copy(), first), blocks


def _terms(shares: Shares, kind: str, pack: int, claims: Ints) -> Claims:
    """How the claims share: against which weight, on top of what, between which bounds."""
    network = shares.network
    rows, low = network.claim_row[claims], shares.granted[claims]
    other = shares.units_of_rows()[rows] - low * pack
    room = (network.want[rows] - other) // pack
    if kind != FLOOR:
        return Claims(network.want[rows], other, low, np.maximum(room, low), pack)
    promised = -((other - network.floor[rows]) // pack)
    return Claims(network.floor[rows], other, low, np.maximum(np.minimum(promised, room), low), pack)


def _part(shares: Shares, pack: int, able: Mask, terms: Claims, open_edge: Mask, reached: Mask) -> Part:
    """The open piece of the network that claims of this pack size live in: those that share and those that hold
    packs."""
    network = shares.network
    member = (able | (shares.granted > 0)) & reached & (network.claim_pack == pack)
    node = (shares.closed == OPEN) & (network.node_pack == pack)
    claims, nodes = np.flatnonzero(member), np.flatnonzero(node)
    edges = np.flatnonzero(open_edge & member[network.edge_claim])
    new_node, new_claim = np.cumsum(node) - 1, np.cumsum(member) - 1
    return Part(
        nodes, network.node_packs[nodes], claims, shares.granted[claims], able[claims], terms, edges,
        new_node[network.edge_node[edges]], new_claim[network.edge_claim[edges]],
    )  # fmt: skip


class _Tickets:
    """The numbers that sites drew for this item, drawn when they are needed."""

    def __init__(self, snapshot: Snapshot, network: Network) -> None:
        self._snapshot = snapshot
        self._item = snapshot.items[network.item]
        self._sites = snapshot.demands.site[network.demands[network.claim_row]]

    def of(self, claims: Ints) -> Ints:
        """The tickets of these claims."""
        sites, seed = self._snapshot.sites, self._snapshot.seed
        drawn = [ticket(seed, self._item, sites[site]) for site in self._sites[claims].tolist()]
        return np.array(drawn, dtype=np.int64)
