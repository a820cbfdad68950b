"""Which node serves which claim: the cheapest way to deliver the totals, and the prices of nodes that prove it
cheapest.

A node's price is what one more pack there would save. At these prices every claim is served from where cost plus
price is least, and a node that has packs left is worth nothing: together that is the proof."""

from __future__ import annotations

import numpy as np

from fulfillment.allocation.flows import cheapest
from fulfillment.allocation.network import Network
from fulfillment.allocation.sharing import OPEN, Shares
from fulfillment.allocation.tables import Ints, Mask


def usable(shares: Shares) -> Mask:
    """The edges that may carry anything: a closed node serves only claims that depend on closed nodes alone, the last
    of which closed with it."""
    network = shares.network
    closed = np.where(shares.closed == OPEN, len(shares.blocks), shares.closed)
    last = np.zeros(len(network.claim_row), dtype=np.int64)
    np.maximum.at(last, network.edge_claim, closed[network.edge_node])
    served: Mask = (closed[network.edge_node] == last[network.edge_claim]) & (shares.granted[network.edge_claim] > 0)
    return served


def route(shares: Shares) -> Ints:
    """Packs on every edge of the network, at the least cost."""
    network = shares.network
    flow = np.zeros(len(network.edge_node), dtype=np.int64)
    edges = np.flatnonzero(usable(shares))
    nodes, served = len(network.node_packs), np.flatnonzero(shares.granted > 0)
    claim = np.searchsorted(served, network.edge_claim[edges])
    left = int(network.node_packs.sum() - shares.granted.sum())
    open_nodes = np.flatnonzero(shares.closed == OPEN)
    rest = nodes + len(served)  # takes what stays where it is
    supply = np.concatenate([network.node_packs, -shares.granted[served], np.array([-left])])
    tail = np.concatenate([network.edge_node[edges], open_nodes])
    head = np.concatenate([nodes + claim, np.full(len(open_nodes), rest)])
    most = np.minimum(network.node_packs[network.edge_node[edges]], shares.granted[network.edge_claim[edges]])
    room = np.concatenate([most, network.node_packs[open_nodes]])
    cost = np.concatenate([network.edge_cost[edges], np.zeros(len(open_nodes), dtype=np.int64)])
    flow[edges] = cheapest(supply, tail, head, room, cost)[: len(edges)]
    return flow


def prices(network: Network, flow: Ints) -> Ints:
    """The price of every node, from the routes taken: shortest ways in the graph of nodes in which a step from one
    node to another is the least that moving a pack there costs."""
    nodes = len(network.node_packs)
    used = np.flatnonzero(flow > 0)
    first = np.searchsorted(network.edge_claim, network.edge_claim[used])
    end = np.searchsorted(network.edge_claim, network.edge_claim[used], side="right")
    counts = end - first
    owner = np.repeat(used, counts)
    other = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    giver, taker = network.edge_node[owner], network.edge_node[other]
    step = network.edge_cost[other] - network.edge_cost[owner]
    order = np.lexsort((step, taker, giver))
    giver, taker, step = giver[order], taker[order], step[order]
    least = np.ones(len(order), dtype=np.bool_)
    least[1:] = (np.diff(giver) != 0) | (np.diff(taker) != 0)
    giver, taker, step = giver[least], taker[least], step[least]
    taken = np.zeros(nodes, dtype=np.int64)
    np.add.at(taken, network.edge_node, flow)
    ceiling = (nodes + 1) * (int(network.edge_cost.max(initial=0)) + 1)
    price: Ints = np.where(taken < network.node_packs, 0, ceiling)
    for _ in range(nodes + 1):
        lower = price.copy()
        np.minimum.at(lower, giver, step + price[taker])
        if bool((lower == price).all()):
            return price
        price = lower
    raise RuntimeError("the routes are not the cheapest: there is a cycle that saves cost")
