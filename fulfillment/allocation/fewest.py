"""The fewest deliveries of a small piece, by trying: each claim from one of its nodes alone, else from several, the
fewest first. How much each of several nodes sends is left to a flow."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from fulfillment.allocation.flows import greatest

STEPS = 6_000  # of one piece, each a way to serve one claim or a look at the end; then the search gives up
_WIDE = 3  # warehouses that one claim is split over, at most


@dataclass(frozen=True)
class Piece:
    """Claims with their sizes and the nodes that may serve them; nodes with what they must send (`load`), could send
    beyond (`spare`), and whether they may send less (`loose`)."""

    sizes: dict[int, int]
    near: dict[int, list[int]]
    load: dict[int, int]
    spare: dict[int, int]
    loose: dict[int, bool]
    warehouse: list[int]


Routes = dict[tuple[int, int], int]


def fewest(piece: Piece, now: Routes, steps: int) -> tuple[Routes | None, int]:
    """Routes with the fewest deliveries, if that is fewer than `now` has, and the steps taken. None for routes when
    there are no better ones, or when the search gave up after `steps` before it found any."""
    search = _Search(piece, _extra(piece, now), min(steps, STEPS))
    search.go(0, {node: piece.load[node] + piece.spare[node] for node in piece.load}, {}, {}, 0)
    return search.found, search.steps


def _extra(piece: Piece, routes: Routes) -> int:
    served: dict[int, set[int]] = {}
    for claim, node in routes:
        served.setdefault(claim, set()).add(piece.warehouse[node])
    return sum(len(places) - 1 for places in served.values())


class _Search:
    def __init__(self, piece: Piece, best: int, most: int) -> None:
        self.found: Routes | None = None
        self.steps = 0
        self._most = most
        self._piece = piece
        self._best = best
        self._order = sorted(piece.sizes, key=lambda claim: (-piece.sizes[claim], claim))

    def go(self, at: int, room: dict[int, int], whole: Routes, split: dict[int, tuple[int, ...]], extra: int) -> None:
        """Decide about the claims from `at` on."""
        if extra >= self._best or not self._may_go_on():
            return
        if at == len(self._order):
            routes = self._flow(room, split)
            if routes is not None:
                self.found, self._best = whole | routes, extra
            return
        piece, claim = self._piece, self._order[at]
        size, nodes = piece.sizes[claim], piece.near[claim]
        for node in nodes:
            if room[node] >= size and self._may_go_on():
                self.go(at + 1, room | {node: room[node] - size}, whole | {(claim, node): size}, split, extra)
        for many in range(2, len(nodes) + 1):
            for some in combinations(nodes, many):
                if not self._may_go_on():  # there may be more combinations than could ever be looked at
                    return
                more = len({piece.warehouse[node] for node in some}) - 1
                if more < _WIDE and sum(room[node] for node in some) >= size:
                    self.go(at + 1, room, whole, split | {claim: some}, extra + more)

    def _may_go_on(self) -> bool:
        """Count a step, if there is one left."""
        if self.steps >= self._most:
            return False
        self.steps += 1
        return True

    def _flow(self, room: dict[int, int], split: dict[int, tuple[int, ...]]) -> Routes | None:
        """Amounts for the split claims that leave every node with what it may keep."""
        piece = self._piece
        nodes = list(room)
        place = {node: at for at, node in enumerate(nodes)}
        rest = sum(room.values()) - sum(piece.sizes[claim] for claim in split)
        edges = [(place[node], at) for at, claim in enumerate(split) for node in split[claim]]
        keep = [(place[node], len(split)) for node in nodes if piece.loose[node]]
        rigid = {node for node in nodes if room[node] and not piece.loose[node]}
        if rest < 0 or (rest and not keep) or rigid.difference(*split.values()):
            return None
        need = np.array([*(piece.sizes[claim] for claim in split), rest], dtype=np.int64)
        node, claim = (np.array(column, dtype=np.int64) for column in zip(*(edges + keep or [(0, 0)]), strict=True))
        if not edges + keep:
            return {} if not any(room.values()) else None
        flow = greatest(np.array([room[n] for n in nodes], dtype=np.int64), need, node, claim)
        if flow.short:
            return None
        claims = list(split)
        return {
            (claims[at], nodes[where]): int(amount)
            for (where, at), amount in zip(edges, flow.edge[: len(edges)].tolist(), strict=True)
            if amount
        }
