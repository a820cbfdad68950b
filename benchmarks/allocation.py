"""`bench allocation`: an emergency with 40 warehouses, five items and four tiers, for 10,000 and for 100,000 sites.
Beside solving: one greatest and one cheapest flow of OR-Tools over the same edges, which ends in a plan that is neither
fair nor certified. (A fair plan need not take longer: whoever is held back by certain warehouses leaves the cheapest
flow fewer edges.) Beside the proof: reading the three CSV files. And what 51 states received in 2020 beside what the
allocator would have sent them."""

from __future__ import annotations

import asyncio
import csv
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import at_most

WAREHOUSES, ITEMS, TIERS = 40, 5, 4
SCARCITY = 0.6  # stock for each unit wanted
SMALL, LARGE = 10_000, 100_000
FEMA = ("N95", "Gloves", "Faceshields", "Surgicalmasks", "Ventilators")


async def run() -> list[dict[str, Any]]:
    """The rows of this benchmark."""
    small = min([await _apart(SMALL) for _ in range(3)], key=lambda one: one["solve"])
    large = await _apart(LARGE)
    flows = "one greatest and one cheapest flow of OR-Tools over the same edges"
    rows = []
    for sites, one, solve, proof in ((SMALL, small, 1_000, 2_000), (LARGE, large, 10_000, 10_000)):
        name = f"allocation, {sites:,} sites ({one['edges']:,} edges)"
        rows += [
            at_most(f"{name}: plan", 1000 * one["solve"], "ms", solve, 1000 * one["flows"], flows),
            at_most(
                f"{name}: plan, certificate and check", 1000 * (one["solve"] + one["certify"] + one["check"]), "ms",
                proof, 1000 * one["read"], "reading the three CSV files",
            ),
        ]  # fmt: skip
    slope = math.log(large["solve"] / small["solve"]) / math.log(large["edges"] / small["edges"])
    own = math.log(large["flows"] / small["flows"]) / math.log(large["edges"] / small["edges"])
    rows += [
        at_most(
            "allocation: exponent of time in edges", 100 * slope, "%", 120, 100 * own, "the exponent of those two flows"
        ),
        at_most(
            "allocation, 100,000 sites: most memory", large["rss"], "MB", 1024, large["rss_read"], "the input alone"
        ),
        at_most("allocation: findings of the checker", small["findings"] + large["findings"], "", 0, None, ""),
    ]
    data = Path(os.environ.get("SUPPLYHUB_REALDATA", Path(__file__).parents[2] / "shared" / "data"))
    table = data / "emergency" / "fema_ppe_distribution.csv"
    if table.is_file():
        ours, theirs = await asyncio.to_thread(_spread, table)
        here, there = (f"{min(one):,.0f} to {max(one):,.0f}" for one in (ours, theirs))
        rows.append(
            at_most(
                f"allocation, 51 states in 2020: items per case {here}, most over least", 100 * max(ours) / min(ours),
                "%", 105, 100 * max(theirs) / min(theirs), f"what the states received: {there}",
            )
        )  # fmt: skip
    return [row.as_json() for row in rows]


async def _apart(sites: int) -> dict[str, float]:
    """One run in a process of its own, so that its memory is its own too."""
    with tempfile.TemporaryDirectory(prefix="supplyhub-bench-") as folder:
        await asyncio.to_thread(write_files, Path(folder), sites)
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "benchmarks.allocation", folder],
            capture_output=True,
            text=True,
            check=True,
        )
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def write_files(folder: Path, sites: int) -> None:
    """d.csv, s.csv and l.csv of a world: every site is near three warehouses, and one or two more deliver from
    afar."""
    rng = np.random.default_rng(20260501)
    homes = rng.random((WAREHOUSES, 2))
    with (folder / "l.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("warehouse", "site", "hours", "cost"))
        for site, place in enumerate(rng.random((sites, 2))):
            away = np.sqrt(((homes - place) ** 2).sum(axis=1))
            chosen = {*np.argsort(away)[:3].tolist(), *rng.integers(0, WAREHOUSES, 1 + site % 2).tolist()}
            for warehouse in sorted(chosen):
                hours, cost = round(2 + 40 * float(away[warehouse]), 1), round(1 + 9 * float(away[warehouse]), 2)
                writer.writerow((f"W{warehouse:02}", f"S{site:06}", hours, cost))
    wanted = rng.integers(1, 100, (ITEMS, sites))
    tier = rng.integers(1, TIERS + 1, (ITEMS, sites))
    with (folder / "d.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("site", "item", "quantity", "tier", "cap"))
        for item in range(ITEMS):
            for site in range(sites):
                writer.writerow(
                    (f"S{site:06}", f"I{item}", wanted[item, site], tier[item, site], 80 if site % 3 else "")
                )
    with (folder / "s.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("warehouse", "item", "quantity", "lot", "expires"))
        for item in range(ITEMS):
            parts = rng.integers(20, 100, WAREHOUSES)
            for warehouse, part in enumerate(parts.tolist()):
                quantity = int(wanted[item].sum() * SCARCITY * part / parts.sum())
                writer.writerow((f"W{warehouse:02}", f"I{item}", quantity, "A", ""))


def measure(folder: Path) -> dict[str, float]:
    """Read, solve, certify and check once."""
    from fulfillment.allocation import reading
    from fulfillment.allocation.certificate import as_json
    from fulfillment.allocation.checker import PlanTable, check
    from fulfillment.allocation.snapshot import freeze
    from fulfillment.allocation.solver import solve
    from fulfillment.allocation.tables import Names

    start = time.perf_counter()
    demands, _ = reading.read_demands("d.csv", (folder / "d.csv").read_bytes())
    supplies, _ = reading.read_supplies("s.csv", (folder / "s.csv").read_bytes())
    leads, _ = reading.read_leads("l.csv", (folder / "l.csv").read_bytes())
    snapshot = freeze(demands, supplies, leads)
    read, rss_read = time.perf_counter(), _rss()
    plan = solve(snapshot)
    solved = time.perf_counter()
    document = as_json(plan.certificate)
    certified = time.perf_counter()
    table = PlanTable(
        str,
        Names(list(snapshot.warehouses), snapshot.supplies.warehouse[plan.supply]),
        Names(list(snapshot.sites), snapshot.demands.site[plan.demand]),
        Names(list(snapshot.items), snapshot.demands.item[plan.demand]),
        Names(list(snapshot.lots), snapshot.supplies.lot[plan.supply]),
        plan.units,
    )
    findings = check(snapshot, table, json.loads(document))
    checked, rss = time.perf_counter(), _rss()
    return {
        "read": read - start, "solve": solved - read, "certify": certified - solved, "check": checked - certified,
        "rss_read": rss_read, "rss": rss, "findings": len(findings),
        "flows": min(_flows(plan.solved) for _ in range(2)),
        "edges": sum(len(one.network.edge_node) for one in plan.solved),
    }  # fmt: skip


def _flows(solved: Any) -> float:
    """Seconds of one greatest and one cheapest flow over the edges of every item, and nothing else."""
    from ortools.graph.python import max_flow, min_cost_flow

    start = time.perf_counter()
    for one in solved:
        network = one.network
        nodes, rows = len(network.node_packs), len(network.demands)
        claims, source, sink = nodes + np.arange(rows), nodes + rows, nodes + rows + 1
        node, claim = network.edge_node, nodes + network.claim_row[network.edge_claim]
        room = np.minimum(network.node_packs[node], network.want[claim - nodes])
        greatest = max_flow.SimpleMaxFlow()
        greatest.add_arcs_with_capacity(np.full(nodes, source), np.arange(nodes), network.node_packs)
        greatest.add_arcs_with_capacity(claims, np.full(rows, sink), network.want)
        edges = greatest.add_arcs_with_capacity(node, claim, room)
        assert greatest.solve(source, sink) == greatest.OPTIMAL
        got = np.zeros(rows, dtype=np.int64)
        np.add.at(got, claim - nodes, greatest.flows(edges))
        cheapest = min_cost_flow.SimpleMinCostFlow()
        cheapest.add_arcs_with_capacity_and_unit_cost(node, claim, room, network.edge_cost)
        cheapest.add_arcs_with_capacity_and_unit_cost(
            np.arange(nodes), np.full(nodes, source), network.node_packs, np.zeros(nodes, dtype=np.int64)
        )
        left = int(network.node_packs.sum() - got.sum())
        cheapest.set_nodes_supplies(np.arange(source + 1), np.concatenate([network.node_packs, -got, [-left]]))
        assert cheapest.solve() == cheapest.OPTIMAL
    return time.perf_counter() - start


def _rss() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _spread(table: Path) -> tuple[list[float], list[float]]:
    """Items per case of every state: as allocated here, and as received."""
    from fulfillment.allocation.snapshot import freeze
    from fulfillment.allocation.solver import solve
    from fulfillment.allocation.tables import Demand, DemandTable, LeadTable, LeadTime, Supply, SupplyTable

    with table.open(encoding="utf-8-sig", newline="") as file:
        states = list(csv.DictReader(file))
    random.Random(1).shuffle(states)
    cases = {row["State"]: int(Decimal(row["Covid_cases_6/10"])) for row in states}
    given = {(row["State"], item): int(Decimal(row[f"{item}_6/10"] or 0)) for row in states for item in FEMA}
    demands = [Demand(state, item, count * 500) for state, count in cases.items() for item in FEMA]
    stock = [Supply("national", item, sum(given[state, item] for state in cases)) for item in FEMA]
    leads = [LeadTime("national", state, Decimal(24)) for state in cases]
    plan = solve(freeze(DemandTable.of(demands), SupplyTable.of(stock), LeadTable.of(leads)))
    got = np.zeros(len(plan.snapshot.sites))
    np.add.at(got, plan.snapshot.demands.site, plan.granted)
    ours = [units / cases[state] for state, units in zip(plan.snapshot.sites, got.tolist(), strict=True)]
    theirs = [sum(given[state, item] for item in FEMA) / count for state, count in cases.items()]
    return ours, theirs


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
