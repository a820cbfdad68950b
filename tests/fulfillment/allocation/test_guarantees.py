"""The six guarantees, to the letter: on tiny worlds against brute force, and each known trap by name."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fulfillment.allocation.solver import solve
from fulfillment.allocation.tables import Demand, LeadTime, Supply
from tests.fulfillment.allocation import brute, kit
from tests.fulfillment.allocation.kit import certified, document, granted, snapshot

LOTS = settings(max_examples=150, deadline=None)


@LOTS
@given(st.randoms(use_true_random=False))
def test_every_share_is_within_a_unit_of_the_exact_one_and_tiers_come_in_order(random: Random) -> None:
    plan = certified(kit.plain(random).freeze())
    seen, got = kit.picture(plan.snapshot), plan.granted.tolist()
    assert brute.feasible(seen.stock, seen.near, got)
    fixed: dict[int, int] = {}
    for tier in sorted(set(seen.tier)):
        want = {row: units for row, units in enumerate(seen.want) if seen.tier[row] == tier and units}
        for row, level in brute.exact_levels(seen.stock, seen.near, want, fixed).items():
            assert abs(got[row] - level * want[row]) < 1
        fixed |= {row: got[row] for row in want}


@LOTS
@given(st.randoms(use_true_random=False))
def test_nothing_reachable_is_left_while_reachable_demand_is_unmet(random: Random) -> None:
    plan = certified(kit.plain(random).freeze())
    seen = kit.picture(plan.snapshot)
    assert plan.figures.units == brute.most(seen.stock, seen.near, seen.want)


@LOTS
@given(st.randoms(use_true_random=False))
def test_no_routing_of_these_totals_is_cheaper_or_has_fewer_deliveries_at_that_cost(random: Random) -> None:
    plan = certified(kit.plain(random, sites=4, most=7).freeze())
    seen = kit.picture(plan.snapshot)
    best = brute.cheapest(seen.stock, seen.cost, plan.granted.tolist(), list(range(len(seen.stock))))
    assert (plan.figures.cost, plan.figures.deliveries) == best


@LOTS
@given(st.randoms(use_true_random=False), st.booleans())
def test_whatever_the_input_holds_the_checker_accepts_the_plan(random: Random, mixed: bool) -> None:
    certified(kit.rich(random, mixed=mixed).freeze())


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_the_input_decides_nothing(random: Random, mixed: bool) -> None:
    draw = kit.rich(random, mixed=mixed)
    plan, again = solve(draw.freeze()), solve(draw.freeze(random))
    assert again.snapshot.sha256 == plan.snapshot.sha256
    assert kit.rows(again) == kit.rows(plan)
    assert document(again) == document(plan)


def test_another_seed_is_another_snapshot_and_decides_ties_alone() -> None:
    demands = [Demand(f"S{n}", "mask", 1) for n in range(20)]
    plans = [certified(snapshot(demands, [Supply("W", "mask", 7)], seed=seed)) for seed in range(6)]
    assert len({plan.snapshot.sha256 for plan in plans}) == 6
    assert len({tuple(plan.granted.tolist()) for plan in plans}) > 1
    assert all(plan.figures.units == 7 for plan in plans)


def test_rounding_leaks_no_unit_from_one_block_to_another() -> None:
    # Two blocks that share nothing, at levels 1/3 and 1/2: rounded together, the odd unit would go to the wrong one.
    demands = [Demand(name, "mask", 3) for name in "abcdef"]
    supplies = [Supply("left", "mask", 4), Supply("right", "mask", 5)]
    leads = [LeadTime("left" if name in "abcd" else "right", name, Decimal(1)) for name in "abcdef"]
    got = granted(certified(snapshot(demands, supplies, leads)))
    assert sorted(got[name] for name in "abcd") == [1, 1, 1, 1]
    assert sorted(got[name] for name in "ef") == [2, 3]


def test_tiny_sites_are_not_overpaid() -> None:
    # Leximin on whole units would give each tiny site its one unit: a share of 1 before anybody else gets a half.
    demands = [Demand("big", "mask", 900), *(Demand(f"tiny{n:03}", "mask", 1) for n in range(100))]
    got = granted(certified(snapshot(demands, [Supply("W", "mask", 500)])))
    assert got["big"] == 450
    assert sum(units for site, units in got.items() if site != "big") == 50


def test_a_tie_of_two_components_at_one_level_is_rounded_within_each() -> None:
    # Both components end at 1/2 and are one block, yet the packs of one cannot go to the other.
    demands = [Demand(name, "mask", 1) for name in "abcd"]
    supplies = [Supply("left", "mask", 1), Supply("right", "mask", 1)]
    leads = [LeadTime("left" if name in "ab" else "right", name, Decimal(1)) for name in "abcd"]
    for seed in range(8):
        got = granted(certified(snapshot(demands, supplies, leads, seed=seed)))
        assert got["a"] + got["b"] == 1 and got["c"] + got["d"] == 1


def test_a_lower_tier_gets_only_what_a_higher_one_cannot_use() -> None:
    demands = [Demand("first", "mask", 5, tier=1), Demand("second", "mask", 50, tier=2)]
    supplies = [Supply("both", "mask", 6), Supply("second only", "mask", 4)]
    leads = [LeadTime("both", "first", Decimal(1)), LeadTime("both", "second", Decimal(1)),
             LeadTime("second only", "second", Decimal(1))]  # fmt: skip
    assert granted(certified(snapshot(demands, supplies, leads))) == {"first": 5, "second": 5}


def test_an_earlier_tier_is_served_from_elsewhere_to_leave_room_for_a_later_one() -> None:
    # "first" is cheapest from the warehouse that "second" depends on; its total stays, its route moves.
    demands = [Demand("first", "mask", 5, tier=1), Demand("second", "mask", 5, tier=2)]
    supplies = [Supply("near", "mask", 5), Supply("far", "mask", 5)]
    leads = [LeadTime("near", "first", Decimal(1), Decimal(1)), LeadTime("far", "first", Decimal(1), Decimal(9)),
             LeadTime("near", "second", Decimal(1), Decimal(1))]  # fmt: skip
    plan = certified(snapshot(demands, supplies, leads))
    assert granted(plan) == {"first": 5, "second": 5}
    assert plan.figures.money == "50.00"


def test_the_deadline_itself_is_in_time_and_a_moment_later_is_not() -> None:
    demands = [Demand("in time", "mask", 5), Demand("late", "mask", 5)]
    leads = [LeadTime("W", "in time", Decimal(48)), LeadTime("W", "late", Decimal("48.000001"))]
    assert granted(certified(snapshot(demands, [Supply("W", "mask", 9)], leads))) == {"in time": 5, "late": 0}


def test_costs_are_exact_decimals() -> None:
    leads = [LeadTime("W", "S", Decimal(1), Decimal("0.1"))]
    plan = certified(snapshot([Demand("S", "mask", 3)], [Supply("W", "mask", 3)], leads))
    assert plan.figures.money == "0.30"


def test_the_largest_numbers_stay_exact() -> None:
    demands = [Demand("a", "mask", 499_999_999), Demand("b", "mask", 500_000_001)]
    leads = [LeadTime("W", name, Decimal(1), Decimal("99999.9999")) for name in "ab"]
    plan = certified(snapshot(demands, [Supply("W", "mask", 999_999_999)], leads))
    exact = {row: Fraction(999_999_999, 1_000_000_000) * units for row, units in enumerate((499_999_999, 500_000_001))}
    assert all(abs(plan.granted.tolist()[row] - share) < 1 for row, share in exact.items())
    assert plan.figures.cost == 999_999_999 * 999_999_999


@pytest.mark.parametrize(("demands", "supplies"), [([], [Supply("W", "mask", 5)]), ([Demand("S", "mask", 5)], [])])
def test_nobody_asking_and_nothing_in_stock_are_plans_too(demands: list[Demand], supplies: list[Supply]) -> None:
    plan = certified(snapshot(demands, supplies))
    assert plan.figures.units == 0 and len(plan.units) == 0


def test_items_do_not_touch_each_other() -> None:
    demands = [Demand("S", "mask", 9), Demand("S", "glove", 4), Demand("T", "mask", 9)]
    supplies = [Supply("W", "mask", 9), Supply("W", "glove", 9)]
    both = certified(snapshot(demands, supplies))
    alone = certified(snapshot([d for d in demands if d.item == "mask"], [s for s in supplies if s.item == "mask"]))
    assert granted(both) == granted(alone)
    assert granted(both, "glove") == {"S": 4}


def test_a_large_world_is_certified_and_every_block_is_near_its_level() -> None:
    random = Random(20260501)
    names, places = [f"S{n:03}" for n in range(400)], [f"W{n}" for n in range(12)]
    demands = [Demand(name, "mask", random.randint(1, 99), random.randint(1, 4)) for name in names]
    supplies = [Supply(place, "mask", random.randint(100, 2500)) for place in places]
    leads = [LeadTime(place, name, Decimal(random.randint(1, 60)), Decimal(random.randint(1, 99)))
             for name in names for place in random.sample(places, 3)]  # fmt: skip
    plan = certified(snapshot(demands, supplies, leads))
    (one,) = plan.solved
    for block in one.shares.blocks:
        claims = block.part.claims[block.part.sharing]
        assert bool((np.abs(one.shares.granted[claims] * block.scale - block.share) < block.scale).all())
