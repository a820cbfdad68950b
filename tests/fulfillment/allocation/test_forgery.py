"""Soundness: whatever the checker accepts keeps the guarantees, by brute force, whoever made it. Forgers try numbers,
and solve neighbouring inputs to present consistent books for the wrong one. With any part of the checker taken out,
they get through: the negative control."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fulfillment.allocation.checker import cheap, fair, rounding
from fulfillment.allocation.snapshot import Snapshot
from fulfillment.allocation.solver import solve
from tests.fulfillment.allocation import brute, kit
from tests.fulfillment.allocation.forging import Row, changed, forged, found, leaves
from tests.fulfillment.allocation.kit import document, rows

Case = tuple[Snapshot, list[Row], Any]


@settings(max_examples=250, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 3), st.integers(0, 3))
def test_changed_numbers_that_are_accepted_make_a_plan_that_keeps_the_guarantees(
    random: Random, edits: int, lies: int
) -> None:
    plan = solve(kit.plain(random, sites=4, most=7).freeze())
    table = {row[:4]: row[4] for row in rows(plan)}
    for _ in range(edits):
        _edit(random, plan.snapshot, table)
    claimed = document(plan)
    for _ in range(lies):
        paths = leaves(claimed["items"])
        if paths:
            claimed["items"] = changed(claimed["items"], random.choice(paths), random)
    faulty = [(*key, units) for key, units in table.items() if units]
    try:
        claimed = forged(plan.snapshot, faulty, claimed)
    except (TypeError, ValueError, KeyError):
        return  # not even of the right shape
    if not found(plan.snapshot, faulty, claimed):
        assert keeps_all(plan.snapshot, faulty)


@settings(max_examples=250, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_books_of_a_neighbouring_input_are_accepted_only_where_they_are_true(random: Random) -> None:
    world, table, claimed = neighbour(random)
    if not found(world, table, claimed):
        assert keeps_all(world, table)


@pytest.mark.parametrize("part", ["rounding.check", "fair._closed", "cheap._cheapest"])
def test_without_any_one_of_its_parts_the_checker_would_be_deceived(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name = part.split(".")
    monkeypatch.setattr({"rounding": rounding, "fair": fair, "cheap": cheap}[module], name, lambda *_: None)
    assert any(not found(*case) and not keeps_all(*case[:2]) for case in _cases(3000))


def _cases(count: int) -> Iterator[Case]:
    for seed in range(count):
        yield neighbour(Random(seed))


def neighbour(random: Random) -> Case:
    """A world, and the plan and books of one that differs from it in a row or two, made to fit."""
    draw = kit.plain(random, sites=4, most=7)
    demands, supplies, leads = list(draw.demands), list(draw.supplies), list(draw.leads)
    for _ in range(random.randint(1, 2)):
        row, lot, way = (random.randrange(len(rows)) if rows else 0 for rows in (demands, supplies, leads))
        change = random.choice(["quantity", "tier", "stock", "cost", "hours", "cut"] if leads else ["quantity", "tier"])
        if change == "quantity":
            demands[row] = demands[row]._replace(quantity=max(0, demands[row].quantity + random.choice([-1, 1, 2])))
        elif change == "tier":
            demands[row] = demands[row]._replace(tier=random.randint(1, 3))
        elif change == "stock":
            supplies[lot] = supplies[lot]._replace(quantity=max(0, supplies[lot].quantity + random.randint(-4, 4)))
        elif change == "cost":
            leads[way] = leads[way]._replace(cost=leads[way].cost + random.choice([1, 2]))
        elif change == "hours":
            leads[way] = leads[way]._replace(hours=Decimal(random.randint(1, 9)))
        else:
            leads.pop(way)
    world = draw.freeze()
    plan = solve(kit.snapshot(demands, supplies, leads, deadline_hours=kit.HOURS, seed=draw.seed))
    claimed = document(plan) | {"snapshot_sha256": world.sha256}
    if not any(lead.cost for lead in leads):
        for item in claimed["items"]:
            item["price"] = [0] * len(item["price"])  # true as well, and says nothing about what is left
    with contextlib.suppress(TypeError, ValueError, KeyError):  # of another shape: the checker has to say so
        claimed = forged(world, rows(plan), claimed)
    return world, rows(plan), claimed


def keeps_all(world: Snapshot, table: list[Row]) -> bool:
    """Whether a plan of a plain world is feasible, fair, maximal and cheapest, by brute force."""
    seen = kit.picture(world)
    places = {name: at for at, name in enumerate(world.warehouses)}
    at = {world.sites[site]: row for row, site in enumerate(world.demands.site.tolist())}
    got, sent, cost = [0] * len(seen.want), [0] * len(seen.stock), 0
    for place, site, _item, _lot, units in table:
        if units <= 0 or places[place] not in seen.near[at[site]]:
            return False
        got[at[site]] += units
        sent[places[place]] += units
        cost += units * seen.cost[at[site]][places[place]]
    if any(units > stock for units, stock in zip(sent, seen.stock, strict=True)):
        return False
    fixed: dict[int, int] = {}
    for tier in sorted(set(seen.tier)):
        want = {row: units for row, units in enumerate(seen.want) if seen.tier[row] == tier and units}
        levels = brute.exact_levels(seen.stock, seen.near, want, fixed)
        if any(abs(got[row] - level * want[row]) >= 1 for row, level in levels.items()):
            return False
        fixed |= {row: got[row] for row in want}
    if sum(got) != brute.most(seen.stock, seen.near, seen.want):
        return False
    return cost == brute.cheapest(seen.stock, seen.cost, got, list(range(len(seen.stock))))[0]


def _edit(random: Random, world: Snapshot, table: dict[tuple[str, str, str, str], int]) -> None:
    """Move, add or take some units, or swap two rows."""
    keys = [(place, site, "mask", "A") for place in world.warehouses for site in world.sites]
    here, there, units = random.choice(keys), random.choice(keys), random.randint(1, 3)
    kind = random.choice(["move", "move", "add", "take", "swap"])
    if kind in ("move", "take"):
        table[here] = table.get(here, 0) - units
    if kind in ("move", "add"):
        table[there] = table.get(there, 0) + units
    if kind == "swap":
        table[here], table[there] = table.get(there, 0), table.get(here, 0)
