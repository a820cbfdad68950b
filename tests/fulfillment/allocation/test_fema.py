"""What 51 states received in 2020, allocated again: the same totals by need, within a unit of the exact share."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import pytest

from fulfillment.allocation.tables import Demand, Supply
from tests.fulfillment.allocation.commanding import supplyhub
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


@pytest.mark.realdata
def test_the_same_from_files_with_regional_stock_is_certified_and_far_more_even(realdata: Path, tmp_path: Path) -> None:
    # Ten regional warehouses hold what their states received; the neighbouring region can be reached as well, for more.
    with (realdata / "emergency" / "fema_ppe_distribution.csv").open(encoding="utf-8-sig", newline="") as file:
        states = [row for row in csv.DictReader(file) if row["Covid_cases_6/10"]]
    region = {row["State"]: at % 10 for at, row in enumerate(states)}
    given = {(row["State"], item): int(Decimal(row[f"{item}_6/10"] or 0)) for row in states for item in ITEMS}
    cases = {row["State"]: int(Decimal(row["Covid_cases_6/10"])) for row in states}
    demands = [(state, item, cases[state] * PER_CASE, 1) for state in cases for item in ITEMS]
    stock = [(f"R{at}", item, sum(given[state, item] for state in cases if region[state] == at))
             for at in range(10) for item in ITEMS]  # fmt: skip
    ways = [(f"R{(region[state] + far) % 10}", state, 12 + 24 * far, 1 + far) for state in cases for far in (0, 1)]
    for name, head, table in (
        ("d.csv", "site,item,quantity,tier", demands),
        ("s.csv", "warehouse,item,quantity", stock),
        ("l.csv", "warehouse,site,hours,cost", ways),
    ):
        lines = [head, *(",".join(map(str, row)) for row in table)]
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    files = ("--demands", "d.csv", "--supplies", "s.csv", "--lead-times", "l.csv", "--certificate", "c.json")
    made = supplyhub(tmp_path, "allocate", *files, "--out", "p.csv", "--compare")
    assert (made.returncode, made.stderr) == (0, "")
    checked = supplyhub(tmp_path, "verify-plan", *files, "--plan", "p.csv")
    assert (checked.returncode, checked.stderr) == (0, "") and checked.stdout.startswith("every guarantee holds")
    got = dict.fromkeys(cases, 0)
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            got[row["site"]] += int(row["quantity"])
    assert sum(got.values()) == sum(units for _place, _item, units in stock)
    ours = [got[state] / cases[state] for state in cases]
    theirs = [sum(given[state, item] for item in ITEMS) / cases[state] for state in cases]
    assert max(ours) / min(ours) < max(theirs) / min(theirs) / 4, (min(ours), max(ours))
