"""As few split deliveries as cost allows: beside brute force where that can be counted, and bounded in steps where it
cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from fulfillment.allocation import deliveries, fewest, solver
from fulfillment.allocation.network import Network
from fulfillment.allocation.snapshot import Snapshot
from fulfillment.allocation.tables import Demand, Ints, Supply
from tests.fulfillment.allocation import brute, kit
from tests.fulfillment.allocation.kit import certified, granted, rows, snapshot

WORLDS = [kit.knotty(Random(seed)).freeze() for seed in range(150)]


def more_than_needed(world: Snapshot) -> int:
    """Deliveries of the plan beyond the fewest at its cost, by brute force."""
    plan, seen = solver.solve(world), kit.picture(world)
    cost, fewest_of_all = brute.cheapest(
        seen.stock, seen.cost, plan.granted.tolist(), list(range(len(seen.stock)))
    )  # fmt: skip
    assert plan.figures.cost == cost
    return plan.figures.deliveries - fewest_of_all


def test_no_routing_at_this_cost_has_fewer_deliveries() -> None:
    assert [at for at, world in enumerate(WORLDS) if more_than_needed(world)] == []
    for world in WORLDS[:40]:
        certified(world)


def _as_they_come(_network: Network, flow: Ints, *_: object) -> Ints:
    return flow


@pytest.mark.parametrize(
    ("where", "name", "instead", "least"),
    [
        (solver, "gathered", _as_they_come, 40),
        (deliveries._Routes, "search", lambda *_: None, 10),
    ],
    ids=["no gathering", "no search"],
)
def test_these_worlds_tell_fewest_from_merely_cheapest(
    where: object, name: str, instead: Callable[..., object], least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, instead)
    assert sum(more_than_needed(world) > 0 for world in WORLDS) >= least


def test_the_order_of_sets_in_memory_decides_nothing() -> None:
    code = (
        "import sys; from random import Random; from fulfillment.allocation.solver import solve; "
        "from tests.fulfillment.allocation import kit; "
        "sys.stdout.writelines(solve(kit.knotty(Random(seed)).freeze()).sha256 for seed in range(100))"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True,
            timeout=60, env={**os.environ, "PYTHONHASHSEED": hashes},
        ).stdout
        for hashes in ("1", "2")
    ]  # fmt: skip
    assert len(told[0]) == 6_400 and told[0] == told[1]


def test_one_site_and_more_combinations_of_warehouses_than_can_be_tried() -> None:
    # 40 warehouses of 5 for a site that wants 150: thirty are needed, and 2^40 sets of them could be looked at.
    plan = certified(snapshot([Demand("S", "mask", 150)], [Supply(f"W{n:02}", "mask", 5) for n in range(40)]))
    assert plan.figures.deliveries == 30


def test_a_site_that_many_could_serve_is_served_by_those_with_most() -> None:
    plan = certified(snapshot([Demand("S", "mask", 400)], [Supply(f"W{n:02}", "mask", n) for n in range(1, 41)]))
    assert plan.figures.deliveries == 12  # 40 + 39 + ... + 30 is 385
    assert granted(plan) == {"S": 400}


def test_the_search_stops_after_its_steps_and_says_how_many_it_took() -> None:
    claims, nodes = range(10), range(4)
    sizes = {claim: 7 + claim for claim in claims}
    room = sum(sizes.values())
    piece = fewest.Piece(
        sizes, {claim: list(nodes) for claim in claims}, dict.fromkeys(nodes, room // 4),
        dict.fromkeys(nodes, 1), dict.fromkeys(nodes, True), list(nodes),
    )  # fmt: skip
    routes = {(claim, node): 1 for claim in claims for node in nodes}
    taken = [fewest.fewest(piece, routes, steps)[1] for steps in (0, 1, 50, 10**9)]
    assert taken[:3] == [0, 1, 50] and 50 < taken[3] <= fewest.STEPS
    assert fewest.fewest(piece, routes, 0)[0] is None


def test_many_knotty_items_stay_within_the_steps_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    random, spent = Random(7), [0]
    search = fewest.fewest

    def counted(piece: fewest.Piece, now: fewest.Routes, steps: int) -> tuple[fewest.Routes | None, int]:
        better, taken = search(piece, now, steps)
        spent.append(spent[-1] + taken)
        return better, taken

    monkeypatch.setattr(deliveries, "fewest", counted)
    items = [f"item {n}" for n in range(10)]
    demands = [Demand(f"S{n}", item, random.randint(100, 999)) for n in range(12) for item in items]
    supplies = [Supply(f"W{n}", item, random.randint(500, 2000)) for n in range(5) for item in items]
    plan = certified(snapshot(demands, supplies))
    assert 0 < spent[-1] <= len(items) * deliveries._STEPS
    assert all(after - before <= fewest.STEPS for before, after in pairwise(spent))
    # A forest of split claims has at most (warehouses - 1) of them an item.
    assert plan.figures.splits <= 4 * len(items)
    assert len({row[:3] for row in rows(plan)}) == plan.figures.deliveries
