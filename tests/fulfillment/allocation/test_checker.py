"""Seeded faults: whatever is wrong with a plan or its certificate is found, also when a forger made everything else
fit."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fulfillment.allocation.solver import Plan, solve
from fulfillment.allocation.tables import HOUR, Demand, LeadTime, Supply
from tests.fulfillment.allocation import kit
from tests.fulfillment.allocation.forging import Row, changed, forged, found, leaves, rules, sealed
from tests.fulfillment.allocation.kit import certified, document, rows, snapshot


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Scarce masks in packs of 5 (two tiers, one site too far for the near lot) and plenty of gloves in single
    units."""
    demands = [
        Demand("甲", "mask", 100), Demand("乙", "mask", 60),
        Demand("丙", "mask", 80, tier=2), Demand("丁", "mask", 40, tier=2),
        Demand("甲", "glove", 10), Demand("乙", "glove", 20), Demand("丙", "glove", 30, cap=15),
    ]  # fmt: skip
    supplies = [
        Supply("东仓", "mask", 100, "A", Decimal(20), pack=5), Supply("东仓", "mask", 90, "B", pack=5),
        Supply("西仓", "mask", 45, "C", pack=5), Supply("东仓", "glove", 40, "G1", Decimal(30)),
        Supply("东仓", "glove", 40, "G2"), Supply("西仓", "glove", 40, "G3"),
    ]  # fmt: skip
    leads = [
        LeadTime("东仓", "甲", Decimal(10), Decimal(1)), LeadTime("东仓", "乙", Decimal(12), Decimal(2)),
        LeadTime("东仓", "丙", Decimal(25), Decimal(3)), LeadTime("西仓", "丙", Decimal(5), Decimal(4)),
        LeadTime("西仓", "丁", Decimal(5), Decimal(1)), LeadTime("西仓", "甲", Decimal(60), Decimal(1)),
        LeadTime("西仓", "乙", Decimal(40), Decimal(9)),
    ]  # fmt: skip
    return certified(snapshot(demands, supplies, leads))


Edit = Callable[[dict[tuple[str, str, str, str], int]], object]


def shift(key: tuple[str, str, str, str], by: int) -> Edit:
    """More or fewer units in one row; none is no row."""

    def edit(table: dict[tuple[str, str, str, str], int]) -> None:
        table[key] = table.get(key, 0) + by
        if not table[key]:
            del table[key]

    return edit


A, B, C = ("东仓", "甲", "mask", "A"), ("东仓", "丙", "mask", "B"), ("西仓", "丁", "mask", "C")


def both(*edits: Edit) -> Edit:
    """Several edits at once."""
    return lambda table: [edit(table) for edit in edits]


@pytest.mark.parametrize(
    ("edit", "rule"),
    [
        pytest.param(shift(A, -5), {"maximal", "fairness"}, id="a pack is withheld"),
        pytest.param(lambda t: t.pop(A), {"maximal", "fairness"}, id="a site is dropped"),
        pytest.param(shift(A, 5), {"feasible"}, id="a demand is exceeded"),
        pytest.param(shift(("东仓", "丙", "mask", "B"), 30), {"feasible"}, id="a lot is exceeded"),
        pytest.param(shift(A, -3), {"feasible"}, id="a pack is broken"),
        pytest.param(shift(A, -105), {"feasible"}, id="a negative quantity"),
        pytest.param(lambda t: t.__setitem__(A, 0), {"feasible"}, id="an empty row"),
        pytest.param(
            both(shift(A, -5), shift(B, 5)), {"feasible", "fairness"}, id="a lower tier takes from a higher one",
        ),
        pytest.param(both(shift(C, -5), shift(("西仓", "丙", "mask", "C"), 5)), {"fairness"}, id="the worse off pays"),
        pytest.param(
            both(shift(A, -20), shift(("西仓", "甲", "mask", "C"), 20)), {"feasible"}, id="beyond the deadline",
        ),
        pytest.param(both(shift(B, -5), shift(("东仓", "丙", "mask", "A"), 5)), {"feasible"}, id="expired on arrival"),
        pytest.param(shift(("东仓", "丁", "mask", "B"), 5), {"feasible"}, id="no lead time"),
        pytest.param(shift(("北仓", "甲", "mask", "A"), 5), {"feasible"}, id="an unknown warehouse"),
        pytest.param(shift(("东仓", "戊", "mask", "A"), 5), {"feasible"}, id="an unknown site"),
        pytest.param(shift(("东仓", "甲", "gown", "A"), 5), {"feasible"}, id="an unknown item"),
        pytest.param(shift(("东仓", "甲", "mask", "Z"), 5), {"feasible"}, id="an unknown lot"),
        pytest.param(shift(("西仓", "丙", "mask", "A"), 5), {"feasible"}, id="a lot of another warehouse"),
        pytest.param(shift(("东仓", "丁", "glove", "G1"), 5), {"feasible"}, id="nobody asked"),
        pytest.param(shift(("东仓", "丙", "glove", "G1"), 1), {"feasible"}, id="more than the cap"),
        pytest.param(
            both(shift(("东仓", "乙", "glove", "G1"), -20), shift(("西仓", "乙", "glove", "G3"), 20)),
            {"cost"}, id="a dear route",
        ),
        pytest.param(
            both(shift(("东仓", "甲", "glove", "G1"), -10), shift(("东仓", "甲", "glove", "G2"), 10)),
            {"first expiring"}, id="a later lot before an earlier one",
        ),
    ],
)  # fmt: skip
def test_a_fault_in_the_plan_is_found_though_all_else_was_made_to_fit(plan: Plan, edit: Edit, rule: set[str]) -> None:
    table = {row[:4]: row[4] for row in rows(plan)}
    assert A in table and B in table and C in table
    edit(table)
    faulty = [(*key, units) for key, units in table.items()]
    assert rules(plan.snapshot, faulty, document(plan)) >= {"feasible"} or "plan" in rules(
        plan.snapshot, faulty, document(plan)
    )
    assert rules(plan.snapshot, faulty, forged(plan.snapshot, faulty, document(plan))) & rule


def test_a_row_that_stands_there_twice_is_found(plan: Plan) -> None:
    twice = [*rows(plan), rows(plan)[0]]
    assert "feasible" in rules(plan.snapshot, twice, forged(plan.snapshot, twice, document(plan)))


def test_a_split_without_need_is_found() -> None:
    demands = [Demand("a", "mask", 10), Demand("b", "mask", 10)]
    supplies = [Supply("V", "mask", 10, "L"), Supply("W", "mask", 10, "L")]
    made = certified(snapshot(demands, supplies))
    assert made.figures.splits == 0
    split: list[Row] = [(place, site, "mask", "L", 5) for place in "VW" for site in "ab"]
    assert rules(made.snapshot, split, forged(made.snapshot, split, document(made))) == {"splits"}


def test_a_split_that_stock_left_over_makes_needless_is_found() -> None:
    supplies = [Supply("V", "mask", 10, "L"), Supply("W", "mask", 10, "L")]
    made = certified(snapshot([Demand("a", "mask", 8)], supplies))
    split: list[Row] = [("V", "a", "mask", "L", 3), ("W", "a", "mask", "L", 5)]
    assert rules(made.snapshot, split, forged(made.snapshot, split, document(made))) == {"splits"}


def test_a_certificate_of_another_input_is_found(plan: Plan) -> None:
    demands, leads = plan.snapshot.demands, plan.snapshot.leads
    for other in (
        replace(plan.snapshot, demands=replace(demands, tier=demands.tier + 1)),
        replace(plan.snapshot, leads=replace(leads, cost=leads.cost + 1)),
        replace(plan.snapshot, seed=1),
        replace(plan.snapshot, deadline=49 * HOUR),
    ):
        assert "snapshot" in rules(other, rows(plan), document(plan))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.clear(),
        lambda d: d.update(format=2),
        lambda d: d.update(seed=True),
        lambda d: d.update(items=[]),
        lambda d: d.update(items=d["items"][::-1]),
        lambda d: d.update(items=None),
        lambda d: d["items"][1].update(item="gown"),
        lambda d: d["items"][1].update(closed=d["items"][1]["closed"][1:]),
        lambda d: d["items"][1].update(closed=[9**30] * 3),
        lambda d: d["items"][1].update(closed=["0"] * 3),
        lambda d: d["items"][1].update(closed=[0.0] * 3),
        lambda d: d["items"][1].update(levels=[]),
        lambda d: d["items"][1].update(levels=[[1, 0]] * len(d["items"][1]["levels"])),
        lambda d: d["items"][1]["stages"].pop(),
        lambda d: d["items"][1]["stages"].reverse(),
        lambda d: d["items"][1]["stages"][0].update(tier=2),
        lambda d: d["items"][1]["stages"][0].update(pack=1),
        lambda d: d["items"][1]["stages"][0].update(granted=[-1, 1]),
        lambda d: d["items"][1]["stages"][0].update(blocks=[0, 99]),
        lambda d: d["items"][1]["exact"].update(lot=[0], row=[3], amount=[1]),
        lambda d: d["items"][1].pop("price"),
        lambda d: d["items"][1].update(price=[-1, -1, -1]),
        lambda d: d["figures"].clear(),
        lambda d: d.update(figures=None),
    ],
)
def test_a_misshapen_certificate_is_one_finding_and_never_a_crash(plan: Plan, spoil: Callable[[Any], object]) -> None:
    spoiled = document(plan)
    spoil(spoiled)
    assert found(plan.snapshot, rows(plan), spoiled)
    with contextlib.suppress(TypeError):  # a number that no JSON of ours can hold
        assert found(plan.snapshot, rows(plan), sealed(spoiled))


@pytest.mark.parametrize("nonsense", [None, [], "", 7, {"format": None}, {"format": 1}])
def test_what_is_no_certificate_at_all_is_a_finding(plan: Plan, nonsense: object) -> None:
    assert {finding.rule for finding in found(plan.snapshot, rows(plan), nonsense)} == {"certificate"}


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), st.data())
def test_any_change_of_the_certificate_breaks_its_seal(random: Random, data: st.DataObject) -> None:
    plan = solve(kit.rich(random).freeze())
    whole = document(plan)
    path = data.draw(st.sampled_from([leaf for leaf in leaves(whole) if leaf != ("certificate",)]))
    assert found(plan.snapshot, rows(plan), changed(whole, path, random))


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_no_other_totals_pass_for_a_true_plan(random: Random) -> None:
    """Totals are unique, up to the draw: any other ones are found, whatever else is made to fit."""
    plan = solve(kit.rich(random).freeze())
    table = {row[:4]: row[4] for row in rows(plan)}
    packs = {
        (plan.snapshot.warehouses[w], plan.snapshot.items[i], plan.snapshot.lots[lot]): pack
        for w, i, lot, pack in zip(
            plan.snapshot.supplies.warehouse.tolist(), plan.snapshot.supplies.item.tolist(),
            plan.snapshot.supplies.lot.tolist(), plan.snapshot.supplies.pack.tolist(), strict=True,
        )
    }  # fmt: skip
    if not table:
        return
    place, site, item, lot = random.choice(list(table))
    pack = packs[place, item, lot]
    table[place, site, item, lot] -= pack
    other = random.choice(plan.snapshot.sites)
    if random.random() < 0.7 and other != site:
        table[place, other, item, lot] = table.get((place, other, item, lot), 0) + pack
    faulty = [(*key, units) for key, units in table.items() if units]
    assert found(plan.snapshot, faulty, forged(plan.snapshot, faulty, document(plan)))


def test_the_checker_needs_no_solver() -> None:
    code = (
        "import sys, fulfillment.allocation.checker, fulfillment.allocation.reading; "
        "print(sorted(m for m in sys.modules if m.partition('.')[0] in ('ortools', 'scipy', 'highspy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
