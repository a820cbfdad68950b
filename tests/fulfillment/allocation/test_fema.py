"""What 51 states received in 2020, allocated again: the same totals by need, within a unit of the exact share."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import pytest

from fulfillment.allocation.tables import Demand, Supply
from tests.fulfillment.allocation.kit import certified, snapshot

ITEMS = ("N95", "Gloves", "Faceshields", "Surgicalmasks", "Ventilators")
PER_CASE = 500  # more of an item than there was for any case, so that need alone decides


@pytest.mark.realdata
def test_by_need_every_state_gets_the_same_for_each_case(realdata: Path) -> None:
    with (realdata / "emergency" / "fema_ppe_distribution.csv").open(encoding="utf-8-sig", newline="") as file:
        states = [row for row in csv.DictReader(file) if row["Covid_cases_6/10"]]
    cases = {row["State"]: int(Decimal(row["Covid_cases_6/10"])) for row in states}
    given = {
        row["State"]: sum(int(Decimal(row[f"{item}_6/10"] or 0)) for item in ITEMS) / cases[row["State"]]
        for row in states
    }
    assert len(states) == 51 and round(min(given.values())) == 32 and round(max(given.values())) == 1125
    demands = [Demand(state, item, count * PER_CASE) for state, count in cases.items() for item in ITEMS]
    stock = [Supply("national", item, sum(int(Decimal(row[f"{item}_6/10"] or 0)) for row in states)) for item in ITEMS]
    plan = certified(snapshot(demands, stock))
    assert plan.figures.units == sum(lot.quantity for lot in stock)
    got = dict.fromkeys(cases, 0)
    for site, units in zip(plan.snapshot.demands.site.tolist(), plan.granted.tolist(), strict=True):
        got[plan.snapshot.sites[site]] += units
    level = sum(lot.quantity for lot in stock) / sum(cases.values())
    for state, units in got.items():
        assert abs(units - level * cases[state]) < len(ITEMS)
    shares = [units / cases[state] for state, units in got.items()]
    assert max(shares) / min(shares) < 1.02
