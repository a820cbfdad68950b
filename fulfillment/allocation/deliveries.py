"""As few split deliveries as cost allows. Among the routes of least cost, first every cycle of split claims is taken
apart, so that at most (nodes - 1) extra deliveries remain; then split claims are made whole by exchanging whole
claims between two nodes where sizes allow it; then what is small enough is searched exhaustively. Cost and totals
never change: only edges that are cheapest at the prices of their nodes are used. (To find the fewest in general is as
hard as partitioning numbers.)"""

from __future__ import annotations

from collections import deque

import numpy as np

from fulfillment.allocation.fewest import Piece, fewest
from fulfillment.allocation.network import Network
from fulfillment.allocation.tables import Ints, Mask

_REST = -1  # the claim that holds what stays in the nodes
_CHOICE = 40  # claims that one exchange chooses from, on each side
_BITS = 1 << 20  # largest sum that is searched
_ROUNDS = 5
_STEPS = 12_000  # of exhaustive search for one item
_SMALL = 14  # claims of a piece that is searched exhaustively


def gathered(network: Network, flow: Ints, price: Ints, usable: Mask, warehouse: Ints) -> Ints:
    """The flow with fewer split claims."""
    if not len(_split(network, flow)):
        return flow
    routes, places = _Routes(network, flow, price, usable), warehouse.tolist()
    routes.break_cycles()
    for _ in range(_ROUNDS):  # what an exchange leaves over may close another cycle
        if not routes.make_whole(places):
            break
        routes.break_cycles()
    routes.search(places)
    routes.break_cycles()
    return routes.flow


def _split(network: Network, flow: Ints) -> Ints:
    """The claims that are served by several nodes."""
    return np.flatnonzero(np.bincount(network.edge_claim[flow > 0], minlength=len(network.claim_row)) > 1)


class _Routes:
    def __init__(self, network: Network, flow: Ints, price: Ints, usable: Mask) -> None:
        self.flow = flow.copy()
        self._network = network
        total = network.edge_cost + price[network.edge_node]
        least = np.full(len(network.claim_row), 2**62, dtype=np.int64)
        np.minimum.at(least, network.edge_claim, total)
        self._tight = np.flatnonzero(usable & (total == least[network.edge_claim]))
        taken = np.zeros(len(network.node_packs), dtype=np.int64)
        np.add.at(taken, network.edge_node, flow)
        self._left = network.node_packs - taken
        self._loose = price == 0  # may hold back more or less than now
        by_node = self._tight[np.argsort(network.edge_node[self._tight], kind="stable")]
        self._claims_of = network.edge_claim[by_node]  # that a node could serve, node after node
        self._first_of = np.searchsorted(network.edge_node[by_node], np.arange(len(network.node_packs) + 1))
        claims, nodes = network.edge_claim[self._tight].tolist(), network.edge_node[self._tight].tolist()
        self._edge = {
            (claim, node): edge for claim, node, edge in zip(claims, nodes, self._tight.tolist(), strict=True)
        }

    def break_cycles(self) -> None:
        """Shift packs around every cycle of split claims until one edge of it carries nothing."""
        split = _split(self._network, self.flow).tolist()
        parts = self._parts(split)
        near: dict[tuple[str, int], set[tuple[str, int]]] = {}
        joined = _Joined()

        def join(claim: int, node: int) -> None:
            near.setdefault(("claim", claim), set()).add(("node", node))
            near.setdefault(("node", node), set()).add(("claim", claim))
            joined.join(("claim", claim), ("node", node))

        for node in np.flatnonzero(self._left > 0).tolist():
            join(_REST, node)
        for claim in split:
            for node in parts[claim]:
                if not self._amount(claim, node):
                    continue
                if joined.top(("claim", claim)) == joined.top(("node", node)):
                    path = _path(near, ("claim", claim), ("node", node))
                    if path:
                        self._turn(claim, node, path, near)
                if self._amount(claim, node):
                    join(claim, node)

    def _turn(
        self, claim: int, node: int, path: list[tuple[int, int]], near: dict[tuple[str, int], set[tuple[str, int]]]
    ) -> None:
        """Shift around the cycle of this edge and the path that joins its ends."""
        cycle = [(claim, node), *path]
        ways = (cycle[0::2], cycle[1::2])
        least = [min(way, key=lambda edge: (self._amount(*edge), edge)) for way in ways]
        # Rather empty the edge of a claim than what a node holds back: that one is no delivery.
        down = min((0, 1), key=lambda way: (least[way][0] == _REST, self._amount(*least[way]), way))
        amount = self._amount(*least[down])
        for edge in ways[down]:
            self._add(*edge, -amount)
            if not self._amount(*edge) and edge != cycle[0]:
                near[("claim", edge[0])].discard(("node", edge[1]))
                near[("node", edge[1])].discard(("claim", edge[0]))
        for edge in ways[1 - down]:
            self._add(*edge, amount)

    def make_whole(self, warehouse: list[int]) -> bool:
        """Make split claims whole where room elsewhere or an exchange of whole claims allows it; whether any was."""
        homes, changed = self._homes(), False
        for claim in _split(self._network, self.flow).tolist():
            while self._gather(claim, warehouse, homes):
                changed = True
        return changed

    def _gather(self, claim: int, warehouse: list[int], homes: Ints) -> bool:
        """Serve a claim from fewer nodes; False when it is whole or when nothing helps."""
        near = self._parts([claim])[claim]
        parts = {node: amount for node in near if (amount := self._amount(claim, node))}
        if len({warehouse[node] for node in parts}) < 2:
            return False
        if self._regroup(claim, near, parts, warehouse):
            return True
        return any(
            self._shift(claim, giver, taker, homes)
            for giver in sorted(parts, key=lambda node: (parts[node], node))
            for taker in sorted(parts)
            if taker != giver
        )

    def _regroup(self, claim: int, near: list[int], parts: dict[int, int], warehouse: list[int]) -> bool:
        """Serve what may be served by any node with room from the warehouses with the most room; False when those are
        not fewer than now."""
        rooms = {node: int(self._left[node]) + parts.get(node, 0) for node in near if self._loose[node]}
        kept = {warehouse[node] for node in parts if node not in rooms}
        places: dict[int, int] = {}
        for node, room in rooms.items():
            places[warehouse[node]] = places.get(warehouse[node], 0) + room
        size = need = sum(amount for node, amount in parts.items() if node in rooms)
        chosen: dict[int, int] = {}
        used = set(kept)
        for place in sorted(places, key=lambda place: (place not in kept, -places[place], place)):
            for node in [node for node in rooms if warehouse[node] == place]:
                if amount := min(need, rooms[node]):
                    chosen[node] = amount
                    need -= amount
                    used.add(place)
        if not size or need or len(used) >= len({warehouse[node] for node in parts}):
            return False
        for node in rooms:
            change = chosen.get(node, 0) - parts.get(node, 0)
            if change:
                self._add(claim, node, change)
                self._add(_REST, node, -change)
        return True

    def search(self, warehouse: list[int]) -> None:
        """Find the fewest deliveries of every small piece of the cheapest edges that still has a split claim."""
        network = self._network
        split = _split(network, self.flow)
        if not len(split):
            return
        claims, nodes = network.edge_claim[self._tight], network.edge_node[self._tight]
        choice = np.bincount(claims, minlength=len(network.claim_row))[claims] > 1
        near: dict[int, list[int]] = {}
        users: dict[int, list[int]] = {}
        for claim, node in zip(claims[choice].tolist(), nodes[choice].tolist(), strict=True):
            near.setdefault(claim, []).append(node)
            users.setdefault(node, []).append(claim)
        seen: set[int] = set()
        steps = _STEPS
        for start in split.tolist():
            if start in near and start not in seen:
                group = _component(start, near, users)
                if len(group) <= _SMALL:
                    steps -= self._search(sorted(group), near, warehouse, steps)
                seen |= group

    def _search(self, group: list[int], near: dict[int, list[int]], warehouse: list[int], steps: int) -> int:
        """Search one piece; returns the steps taken."""
        nodes = sorted({node for claim in group for node in near[claim]})
        loose = sum(bool(self._loose[node]) for node in nodes)
        if sum(len(near[claim]) for claim in group) + loose < len(group) + len(nodes) + (loose > 0):
            return 0  # no cycle, so no choice
        now = {
            (claim, node): amount for claim in group for node in near[claim] if (amount := self._amount(claim, node))
        }
        load = {node: sum(now.get((claim, node), 0) for claim in group) for node in nodes}
        spare = {node: int(self._left[node]) if self._loose[node] else 0 for node in nodes}
        sizes = {claim: sum(now.get((claim, node), 0) for node in near[claim]) for claim in group}
        piece = Piece(sizes, near, load, spare, {node: bool(self._loose[node]) for node in nodes}, warehouse)
        better, taken = fewest(piece, now, steps)
        if better is not None:
            for (claim, node), amount in now.items():
                self._add(claim, node, -amount)
                self._add(_REST, node, amount)
            for (claim, node), amount in better.items():
                self._add(claim, node, amount)
                self._add(_REST, node, -amount)
        return taken

    def _shift(self, claim: int, giver: int, taker: int, homes: Ints) -> bool:
        """Serve from `taker` what `giver` sends to a claim, and make room by moving whole claims the other way."""
        amount = self._amount(claim, giver)
        loose = bool(self._loose[giver] and self._loose[taker])
        most, least = (amount + int(self._left[giver]), amount - int(self._left[taker])) if loose else (amount, amount)
        there = self._movable(taker, giver, homes)
        back = self._movable(giver, taker, homes)
        found = _choose([size for size, _ in there], [size for size, _ in back], least, most)
        if found is None:
            return False
        self._move(claim, giver, taker, amount)
        for at in found[0]:
            size, other = there[at]
            self._move(other, taker, giver, size)
            homes[other] = giver
        for at in found[1]:
            size, other = back[at]
            self._move(other, giver, taker, size)
            homes[other] = taker
        return True

    def _movable(self, node: int, to: int, homes: Ints) -> list[tuple[int, int]]:
        """Whole claims served by `node` that `to` could serve as cheaply: size and number, the smallest first."""
        claims = self._claims_of[self._first_of[to] : self._first_of[to + 1]]
        claims = claims[homes[claims] == node]
        sizes = [(self._amount(claim, node), claim) for claim in claims.tolist()]
        return sorted(sizes)[:_CHOICE]

    def _homes(self) -> Ints:
        """The node of each claim that is served by one alone, else -1."""
        network = self._network
        used = np.flatnonzero(self.flow > 0)
        count = np.bincount(network.edge_claim[used], minlength=len(network.claim_row))
        homes = np.full(len(network.claim_row), -1, dtype=np.int64)
        homes[network.edge_claim[used]] = network.edge_node[used]
        homes[count != 1] = -1
        return homes

    def _edges_of(self, claim: int) -> list[tuple[int, int]]:
        network = self._network
        first, end = np.searchsorted(network.edge_claim, [claim, claim + 1]).tolist()
        return [(claim, node) for node in network.edge_node[first:end].tolist() if (claim, node) in self._edge]

    def _parts(self, claims: list[int]) -> dict[int, list[int]]:
        return {claim: [node for _, node in self._edges_of(claim)] for claim in claims}

    def _amount(self, claim: int, node: int) -> int:
        return int(self._left[node] if claim == _REST else self.flow[self._edge[claim, node]])

    def _add(self, claim: int, node: int, amount: int) -> None:
        if claim == _REST:
            self._left[node] += amount
        else:
            self.flow[self._edge[claim, node]] += amount

    def _move(self, claim: int, giver: int, taker: int, amount: int) -> None:
        self._add(claim, giver, -amount)
        self._add(_REST, giver, amount)
        self._add(claim, taker, amount)
        self._add(_REST, taker, -amount)


class _Joined:
    """Which claims and nodes were ever joined, so that a way is looked for only where there may be one."""

    def __init__(self) -> None:
        self._above: dict[tuple[str, int], tuple[str, int]] = {}

    def top(self, at: tuple[str, int]) -> tuple[str, int]:
        """The one that stands for all that are joined to this one."""
        above = self._above
        while (up := above.setdefault(at, at)) != at:
            above[at] = at = above.setdefault(up, up)
        return at

    def join(self, one: tuple[str, int], other: tuple[str, int]) -> None:
        """Join two."""
        self._above[self.top(one)] = self.top(other)


def _component(start: int, near: dict[int, list[int]], users: dict[int, list[int]]) -> set[int]:
    """All claims that are joined to this one by cheapest edges, in use or not; some of them when they are too
    many."""
    group, queue, seen = {start}, [start], set()
    while queue and len(group) <= _SMALL:
        for node in near[queue.pop()]:
            if node not in seen:
                seen.add(node)
                queue += [other for other in users[node] if other not in group]
                group.update(users[node])
    return group


def _path(
    near: dict[tuple[str, int], set[tuple[str, int]]], start: tuple[str, int], end: tuple[str, int]
) -> list[tuple[int, int]]:
    """The edges (claim, node) of the way from `end` back to `start` through a forest; empty when there is none."""
    if start not in near or end not in near:
        return []
    came: dict[tuple[str, int], tuple[str, int]] = {start: start}
    queue = deque([start])
    while queue and end not in came:
        here = queue.popleft()
        for there in near[here]:  # in whatever order: in a forest there is one way at most
            if there not in came:
                came[there] = here
                queue.append(there)
    if end not in came:
        return []
    path, here = [], end
    while here != start:
        before = came[here]
        path.append((here[1], before[1]) if here[0] == "claim" else (before[1], here[1]))
        here = before
    return path


def _choose(there: list[int], back: list[int], least: int, most: int) -> tuple[list[int], list[int]] | None:
    """Which of `there` to move one way and which of `back` the other so that the difference of their sums is between
    `least` and `most`. Subset sums as bits: those of `back` that stay count like those of `there` that go."""
    sizes = there + back
    shift = sum(back)
    if least <= 0 <= most:
        return [], []
    if sum(sizes) > _BITS:
        return None
    sums = [1]
    for size in sizes:
        sums.append(sums[-1] | sums[-1] << size)
    low, high = max(least + shift, 0), most + shift
    window = (sums[-1] >> low) & ((1 << (high - low + 1)) - 1) if high >= low else 0
    if not window:
        return None
    left = low + (window & -window).bit_length() - 1
    taken = []
    for at in range(len(sizes) - 1, -1, -1):
        if not sums[at] >> left & 1:
            taken.append(at)
            left -= sizes[at]
    go = [at for at in taken if at < len(there)]
    stay = {at - len(there) for at in taken if at >= len(there)}
    return go, [at for at in range(len(back)) if at not in stay]
