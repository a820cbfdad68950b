"""Forgeries that one part of the checker alone stands against: each is found, and is accepted once that part is taken
out. Several pack sizes of one item get most of them, because no exact shares can be held against a plan there."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fulfillment.allocation.checker import fair, rounding
from fulfillment.allocation.checker.findings import Findings
from fulfillment.allocation.snapshot import Snapshot
from fulfillment.allocation.solver import solve
from fulfillment.allocation.tables import Demand, LeadTime, Supply
from tests.fulfillment.allocation import kit
from tests.fulfillment.allocation.forging import Row, forged, found, rules, sealed
from tests.fulfillment.allocation.kit import certified, document, granted, rows, snapshot

Case = tuple[Snapshot, list[Row], Any]


def _withheld() -> Case:
    """There is plenty in two pack sizes, and one unit stays where it is."""
    world = snapshot(
        [Demand("S", "mask", 20)], [Supply("W", "mask", 10, "boxes", pack=10), Supply("W", "mask", 20, "singles")]
    )
    assert rows(certified(world)) == [("W", "S", "mask", "boxes", 10), ("W", "S", "mask", "singles", 10)]
    table: list[Row] = [("W", "S", "mask", "boxes", 10), ("W", "S", "mask", "singles", 9)]
    return world, table, forged(world, table, document(solve(world)))


def _later_tier() -> Case:
    """A later tier takes the singles that an earlier one emptied, and is still said to be shut out."""
    world = snapshot(
        [Demand("first", "mask", 30, tier=1), Demand("second", "mask", 20, tier=2)],
        [Supply("W", "mask", 10, "boxes", pack=10), Supply("W", "mask", 5, "singles")],
    )
    assert granted(certified(world)) == {"first": 15, "second": 0}
    table: list[Row] = [("W", "first", "mask", "boxes", 10), ("W", "second", "mask", "singles", 5)]
    return world, table, forged(world, table, document(solve(world)))


def _floor(said: int) -> Case:
    """A floor is promised before tiers share, and the box goes to the first tier. The stage of floors is said to have
    granted `said` boxes."""
    world = snapshot(
        [Demand("a", "mask", 20, tier=2, floor=10), Demand("b", "mask", 20, tier=1)],
        [Supply("W", "mask", 10, "boxes", pack=10), Supply("W", "mask", 5, "singles")],
    )
    assert granted(certified(world)) == {"a": 10, "b": 5}
    table: list[Row] = [("W", "b", "mask", "boxes", 10), ("W", "b", "mask", "singles", 5)]
    claimed = forged(world, table, document(solve(world)))
    claimed["items"][0]["stages"][0]["granted"] = [said]
    return world, table, sealed(claimed)


def _reserve() -> Case:
    """The reserve of a pool goes to a city outside of it."""
    world = snapshot(
        [Demand("city", "mask", 20), Demand("rural", "mask", 10, pool="rural")],
        [Supply("W", "mask", 10, "boxes", pack=10), Supply("W", "mask", 10, "reserve", pool="rural")],
    )
    assert granted(certified(world)) == {"city": 10, "rural": 10}
    claimed = document(solve(world))
    table: list[Row] = [("W", "city", "mask", "boxes", 10), ("W", "city", "mask", "reserve", 10)]
    return world, table, forged(world, table, claimed)


def _other_rows() -> Case:
    """The books are fair and the rows are not what the books say."""
    world = snapshot([Demand("a", "mask", 10), Demand("b", "mask", 10)], [Supply("W", "mask", 10, "L")])
    assert granted(certified(world)) == {"a": 5, "b": 5}
    table: list[Row] = [("W", "a", "mask", "L", 10)]
    books = document(solve(world))
    claimed = forged(world, table, books)
    claimed["items"] = books["items"]
    return world, table, sealed(claimed)


def _no_such_level() -> Case:
    """Two blocks that share nothing are presented as one, at a level that the poorer one cannot reach: so the large
    site seems to deserve a second unit, and its small neighbours none."""
    poor, rich_ = [f"p{n}" for n in range(3)], [f"r{n:02}" for n in range(19)]
    demands = [Demand("large", "mask", 3), *(Demand(name, "mask", 1) for name in (*poor, *rich_))]
    leads = [LeadTime("V", name, kit.HOURS) for name in ("large", *poor)]
    leads += [LeadTime("W", name, kit.HOURS) for name in rich_]
    world = snapshot(demands, [Supply("V", "mask", 2, "L"), Supply("W", "mask", 14, "L")], leads)
    true = certified(world)
    assert granted(true)["large"] == 1  # exactly its level of 1/3
    table = [row for row in rows(true) if row[0] == "W"] + [("V", "large", "mask", "L", 2)]
    claimed = document(true)
    item = claimed["items"][0]
    item["levels"], item["closed"] = [[16, 25]], [0, 0]
    item["stages"][0] |= {"block": [0] * len(demands), "blocks": [0, 1]}
    return world, table, forged(world, table, claimed)


def _without_gains(proof: fair.Proof, _findings: Findings) -> Any:
    return _gains(proof, Findings())


_gains = fair._gains
OUT: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "gains": (fair, "_gains", _without_gains),
    "nothing left": (fair, "_nothing_left", lambda *_: None),
    "met": (rounding, "_met", lambda *_: True),
}


@pytest.mark.parametrize(
    ("make", "part", "rule"),
    [
        pytest.param(_withheld, "nothing left", "maximal", id="a unit is withheld"),
        pytest.param(lambda: _floor(0), "nothing left", "maximal", id="a floor is not kept"),
        pytest.param(lambda: _floor(1), "gains", "fairness", id="a floor is taken back"),
        pytest.param(_reserve, "nothing left", "maximal", id="a reserve goes elsewhere"),
        pytest.param(_later_tier, "gains", "tier order", id="a later tier takes"),
        pytest.param(_other_rows, "gains", "fairness", id="rows are not the books"),
        pytest.param(_no_such_level, "met", "fairness", id="a level that cannot be met"),
    ],
)
def test_one_part_alone_finds_it(
    make: Callable[[], Case], part: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, table, claimed = make()
    assert rules(world, table, claimed) == {rule}
    where, name, instead = OUT[part]
    monkeypatch.setattr(where, name, instead)
    assert found(world, table, claimed) == []


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_a_pack_that_is_withheld_is_found_whatever_is_said_of_its_lot(random: Random, open_: bool) -> None:
    plan = solve(kit.rich(random, mixed=True).freeze())
    world, table = plan.snapshot, rows(plan)
    if not table:
        return
    at = random.randrange(len(table))
    packs = dict(zip(_lots(world), world.supplies.pack.tolist(), strict=True))
    place, site, item, lot, units = table[at]
    table[at] = (place, site, item, lot, units - packs[place, item, lot])
    table = [row for row in table if row[4]]
    claimed = document(plan)
    if open_:  # say that the lot was never emptied, and that nobody was held back
        for part in claimed["items"]:
            part["closed"] = [-1] * len(part["closed"])
            part["price"] = [0] * len(part["price"])
            for stage in part["stages"]:
                stage["block"] = [-1] * len(stage["block"])
    assert found(world, table, forged(world, table, claimed))


def _lots(world: Snapshot) -> list[tuple[str, str, str]]:
    supplies = world.supplies
    return [
        (world.warehouses[w], world.items[i], world.lots[lot])
        for w, i, lot in zip(supplies.warehouse.tolist(), supplies.item.tolist(), supplies.lot.tolist(), strict=True)
    ]
