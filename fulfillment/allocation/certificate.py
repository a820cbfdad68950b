"""The certificate: what a checker needs to see that a plan keeps its guarantees without solving anything.

Per item: for every lot the block that emptied it (`closed`) and its price; for every stage which block each claim
ended in and what it had then; for every block its level as a fraction; and, where a level is no whole number of packs
for somebody, a flow that gives everybody in the block exactly the level (`exact`), in parts of `pack * below` to the
pack. Rows count the item's demands, lots its supplies, both from 0 in the snapshot's order."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import orjson

from fulfillment.allocation.blocks import Block
from fulfillment.allocation.figures import Figures
from fulfillment.allocation.lots import Sent
from fulfillment.allocation.network import Network
from fulfillment.allocation.sharing import OPEN, Shares
from fulfillment.allocation.snapshot import FORMAT, Snapshot
from fulfillment.allocation.tables import Ints

NAME = "supplyhub allocation certificate"


@dataclass(frozen=True, eq=False)
class Solved:
    """One item, solved."""

    network: Network
    shares: Shares
    price: Ints
    sent: Sent


def plan_sha256(supply: Ints, demand: Ints, units: Ints) -> str:
    """SHA-256 over a plan's rows, sorted, as little-endian 64-bit integers: supply row, demand row, units."""
    order = np.lexsort((demand, supply))
    rows = np.stack([supply[order], demand[order], units[order]], axis=1)
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()


def certify(snapshot: Snapshot, solved: tuple[Solved, ...], figures: Figures, plan: str) -> dict[str, Any]:
    """The certificate of a plan."""
    return {
        "certificate": NAME,
        "format": FORMAT,
        "snapshot_sha256": snapshot.sha256,
        "plan_sha256": plan,
        "deadline_hours": snapshot.deadline_hours,
        "start": snapshot.start,
        "seed": snapshot.seed,
        "figures": asdict(figures),
        "items": [_item(snapshot, one) for one in solved],
    }


def as_json(certificate: dict[str, Any]) -> bytes:
    """The certificate as a file, with a seal: SHA-256 of all the rest as JSON with sorted keys and no spaces."""
    body = orjson.dumps(certificate, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SORT_KEYS)
    return body[:-1] + f',"seal":"{hashlib.sha256(body).hexdigest()}"}}\n'.encode()


def _item(snapshot: Snapshot, one: Solved) -> dict[str, Any]:
    network, shares = one.network, one.shares
    first_lot, end_lot = np.searchsorted(snapshot.supplies.item, [network.item, network.item + 1]).tolist()
    closed, price = np.full(end_lot - first_lot, OPEN, dtype=np.int64), np.zeros(end_lot - first_lot, dtype=np.int64)
    closed[network.lots - first_lot] = shares.closed[network.lot_node]
    price[network.lots - first_lot] = one.price[network.lot_node]
    ends = [*(stage.first_block for stage in shares.stages), len(shares.blocks)][1:]
    stages = [
        {
            "kind": stage.kind, "tier": stage.tier, "pack": stage.pack, "blocks": [stage.first_block, end],
            "block": stage.block, "granted": stage.granted,
        }
        for stage, end in zip(shares.stages, ends, strict=True)
    ]  # fmt: skip
    return {
        "item": snapshot.items[network.item],
        "closed": closed,
        "price": price,
        "stages": stages,
        "levels": [[block.level.above, block.level.below] for block in shares.blocks],
        "exact": _exact(snapshot, network, shares.blocks, first_lot),
    }


def _exact(snapshot: Snapshot, network: Network, blocks: list[Block], first_lot: int) -> dict[str, Ints]:
    """The flows at the exact levels, lot by lot, of the blocks that had to be rounded."""
    first_row = int(np.searchsorted(snapshot.demands.item, network.item))
    by_node = np.argsort(network.lot_node, kind="stable")
    node_first = np.searchsorted(network.lot_node[by_node], np.arange(len(network.node_packs) + 1))
    parts: list[tuple[Ints, Ints, Ints]] = []
    for block in blocks if len(network.packs) == 1 else ():  # with several pack sizes no exact share is promised
        if not (block.share % block.scale).any():
            continue
        used = np.flatnonzero(block.exact > 0)
        node, claim = block.part.nodes[block.part.edge_node[used]], block.part.claims[block.part.edge_claim[used]]
        order = np.lexsort((claim, node))
        node, claim, amount = node[order], claim[order], block.exact[used[order]]
        single = (np.diff(node_first) == 1)[node]
        parts.append((by_node[node_first[node[single]]], claim[single], amount[single]))
        for several in np.unique(node[~single]).tolist():
            mine = node == several
            lots = by_node[node_first[several] : node_first[several + 1]]
            parts.append(_poured(lots, network.lot_packs[lots] * block.scale, claim[mine], amount[mine]))
    if not parts:
        nothing = np.zeros(0, dtype=np.int64)
        return {"lot": nothing, "row": nothing, "amount": nothing}
    lot, claim, amount = (np.concatenate(column) for column in zip(*parts, strict=True))
    row = network.demands[network.claim_row[claim]] - first_row
    return {"lot": network.lots[lot] - first_lot, "row": row, "amount": amount}


def _poured(lots: Ints, room: Ints, claim: Ints, amount: Ints) -> tuple[Ints, Ints, Ints]:
    """What claims take from a node, laid end to end over the node's lots."""
    ends = np.unique(np.concatenate([np.cumsum(room), np.cumsum(amount)]))
    ends = ends[ends <= int(amount.sum())]
    pieces = np.diff(ends, prepend=0)
    to_lot = np.searchsorted(np.cumsum(room), ends)
    to_claim = np.searchsorted(np.cumsum(amount), ends)
    keep = pieces > 0
    return lots[to_lot[keep]], claim[to_claim[keep]], pieces[keep]
