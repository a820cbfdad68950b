"""The whole check, in the order in which a reader would doubt: is it about this input, is every row possible, are the
totals fair, is nothing left, is it cheap."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import numpy as np
import orjson

from fulfillment.allocation.checker import cheap, fair
from fulfillment.allocation.checker.document import part
from fulfillment.allocation.checker.findings import Finding, Findings, Malformed, PlanTable
from fulfillment.allocation.checker.world import World, worlds
from fulfillment.allocation.figures import measure
from fulfillment.allocation.snapshot import FORMAT, Snapshot
from fulfillment.allocation.tables import HOUR, NONE, Ints, Names


def check(snapshot: Snapshot, plan: PlanTable, certificate: Any) -> list[Finding]:
    """Everything that is wrong with a plan; empty when every guarantee holds."""
    findings = Findings()
    try:
        _same_input(snapshot, certificate, findings)
        rows = _known(snapshot, plan, findings)
        if rows is not None and _possible(snapshot, plan, *rows, findings):
            _same_plan(snapshot, *rows, certificate, findings)
            _proved(snapshot, *rows, certificate, findings)
    except Malformed as wrong:
        findings.add("certificate", str(wrong))
    return findings.found


def _same_input(snapshot: Snapshot, certificate: Any, findings: Findings) -> None:
    if part(certificate, "format", int, "the certificate") != FORMAT:
        raise Malformed(f"the certificate is not of format {FORMAT}")
    if part(certificate, "seal", str, "the certificate") != _seal(certificate):
        findings.add("certificate", "was changed after it was made: its seal does not fit")
    for key, kind, value in (
        ("deadline_hours", str, snapshot.deadline_hours),
        ("start", str, snapshot.start),
        ("seed", int, snapshot.seed),
    ):
        claimed = part(certificate, key, kind, "the certificate")
        if claimed != value:
            findings.add("snapshot", f"the certificate is for {key} {claimed!r}, not {value!r}")
    claimed = part(certificate, "snapshot_sha256", str, "the certificate")
    if claimed != snapshot.sha256:
        findings.add("snapshot", f"the certificate is for the input {claimed[:16]}…, this is {snapshot.sha256[:16]}…")


def _seal(certificate: dict[str, Any]) -> str:
    rest = {key: value for key, value in certificate.items() if key != "seal"}
    try:
        return hashlib.sha256(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)).hexdigest()
    except TypeError as error:
        raise Malformed(f"the certificate holds what no certificate holds: {error}") from error


def _known(snapshot: Snapshot, plan: PlanTable, findings: Findings) -> tuple[Ints, Ints, Ints] | None:
    """The plan's rows as (supply, demand, units) of the snapshot; None when one of them names what is not there."""

    def code(column: Names, names: tuple[str, ...]) -> Ints:
        places = {name: at for at, name in enumerate(names)}
        known = np.array([places.get(name, NONE) for name in column.names], dtype=np.int64)
        return known[column.codes] if len(known) else np.zeros(0, dtype=np.int64)

    warehouse, site = code(plan.warehouse, snapshot.warehouses), code(plan.site, snapshot.sites)
    item, lot = code(plan.item, snapshot.items), code(plan.lot, snapshot.lots)
    fine = True
    for field, column, codes in (
        ("warehouse", plan.warehouse, warehouse),
        ("site", plan.site, site),
        ("item", plan.item, item),
        ("lot", plan.lot, lot),
    ):  # fmt: skip
        fine &= findings.each(
            "feasible",
            np.flatnonzero(codes == NONE),
            lambda row, field=field, column=column: (  # type: ignore[misc]
                f"{plan.place(row)}: {field} {column.names[column.codes[row]]!r} is not in the input"
            ),
        )
    if not fine:
        return None
    supplies, demands = snapshot.supplies, snapshot.demands
    places, lots, sites = len(snapshot.warehouses), len(snapshot.lots), len(snapshot.sites)
    supply = _find(
        (supplies.item * places + supplies.warehouse) * lots + supplies.lot, (item * places + warehouse) * lots + lot
    )
    demand = _find(demands.item * sites + demands.site, item * sites + site)
    fine &= findings.each(
        "feasible", np.flatnonzero(supply == NONE), lambda row: f"{_row(plan, row)}: no such lot there"
    )
    fine &= findings.each("feasible", np.flatnonzero(demand == NONE), lambda row: f"{_row(plan, row)}: nobody asked")
    return (supply, demand, plan.units) if fine else None


def _find(have: Ints, want: Ints) -> Ints:
    """Where each wanted key stands among sorted ones; NONE where it does not."""
    if not len(have):
        return np.full(len(want), NONE, dtype=np.int64)
    at = np.minimum(np.searchsorted(have, want), len(have) - 1)
    return np.where(have[at] == want, at, NONE)


def _possible(snapshot: Snapshot, plan: PlanTable, supply: Ints, demand: Ints, units: Ints, findings: Findings) -> bool:
    """Guarantee 1: whole packs, no lot or demand exceeded, every way in time and every lot still good on arrival."""
    supplies, demands = snapshot.supplies, snapshot.demands
    rule, before = "feasible", len(findings.found)
    bad = (units <= 0) | (units > demands.want[demand])
    findings.each(
        rule, np.flatnonzero(bad), lambda row: f"{_row(plan, row)}: {units[row]} units are not from 1 to what is wanted"
    )
    broken = units % supplies.pack[supply] != 0
    findings.each(
        rule, np.flatnonzero(broken),
        lambda row: f"{_row(plan, row)}: {units[row]} units are not whole packs of {supplies.pack[supply[row]]}",
    )  # fmt: skip
    _, first = np.unique(np.stack([supply, demand]), axis=1, return_index=True)
    twice = np.setdiff1d(np.arange(len(supply)), first)
    findings.each(rule, twice, lambda row: f"{_row(plan, row)}: this lot and site stand there already")
    _in_time(snapshot, plan, supply, demand, findings)
    if len(findings.found) > before:
        return False
    sent, got = np.zeros(len(supplies.item), dtype=np.int64), np.zeros(len(demands.item), dtype=np.int64)
    np.add.at(sent, supply, units)
    np.add.at(got, demand, units)
    over = np.flatnonzero(sent > supplies.quantity)
    findings.each(
        rule, over, lambda lot: f"{_lot(snapshot, lot)} holds {supplies.quantity[lot]:,} units, {sent[lot]:,} are sent"
    )
    over = np.flatnonzero(got > demands.want)
    findings.each(
        rule, over, lambda row: f"{_demand(snapshot, row)} wants {demands.want[row]:,} units, {got[row]:,} are sent"
    )
    return len(findings.found) == before


def _in_time(snapshot: Snapshot, plan: PlanTable, supply: Ints, demand: Ints, findings: Findings) -> None:
    supplies, leads = snapshot.supplies, snapshot.leads
    places = len(snapshot.warehouses)
    way = _find(
        leads.site * places + leads.warehouse, snapshot.demands.site[demand] * places + supplies.warehouse[supply]
    )
    hours = np.where(way == NONE, NONE, leads.hours[way]) if len(leads.hours) else way
    findings.each(
        "feasible", np.flatnonzero(hours == NONE), lambda row: f"{_row(plan, row)}: no lead time, so not reachable"
    )
    findings.each(
        "feasible", np.flatnonzero(hours > snapshot.deadline),
        lambda row: f"{_row(plan, row)}: takes {hours[row] / HOUR:g} hours, the deadline is {snapshot.deadline_hours}",
    )  # fmt: skip
    findings.each(
        "feasible", np.flatnonzero((hours != NONE) & (hours > supplies.expires[supply])),
        lambda row: f"{_row(plan, row)}: arrives after {hours[row] / HOUR:g} hours, when the lot has expired",
    )  # fmt: skip


def _same_plan(
    snapshot: Snapshot, supply: Ints, demand: Ints, units: Ints, certificate: Any, findings: Findings
) -> None:
    order = np.lexsort((demand, supply))
    rows = np.stack([supply[order], demand[order], units[order]], axis=1)
    digest = hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()
    if part(certificate, "plan_sha256", str, "the certificate") != digest:
        findings.add("plan", "the certificate is for another plan")
    figures = part(certificate, "figures", dict, "the certificate")
    for name, value in asdict(measure(snapshot, supply, demand, units)).items():
        claimed = figures.get(name)
        claimed = tuple(claimed) if isinstance(claimed, list) else claimed
        same = claimed == value if not isinstance(value, float) else (
            isinstance(claimed, float | int) and abs(claimed - value) <= 1e-9
        )  # fmt: skip
        if not same or type(claimed) is bool:
            findings.add("figures", f"{name} is {value}, the certificate says {claimed}")


def _proved(snapshot: Snapshot, supply: Ints, demand: Ints, units: Ints, certificate: Any, findings: Findings) -> None:
    """Guarantees 2 to 5, item by item."""
    parts = part(certificate, "items", list, "the certificate")
    pictures = list(worlds(snapshot))
    if len(parts) != len(pictures):
        raise Malformed(f"the certificate has {len(parts)} items, there are {len(pictures)}")
    for world, document in zip(pictures, parts, strict=True):
        name = snapshot.items[world.item]
        if part(document, "item", str, "the certificate") != name:
            raise Malformed(f"the certificate misses item {name!r}")
        mine = snapshot.demands.item[demand] == world.item
        flow = _flow(world, supply[mine], demand[mine], units[mine])
        proof = fair.Proof.read(snapshot, world, document, flow)
        fair.check(proof, findings)
        cheap.check(proof, document, findings)


def _flow(world: World, supply: Ints, demand: Ints, units: Ints) -> Ints:
    """Packs on every edge of the picture."""
    flow = np.zeros(len(world.edge_row), dtype=np.int64)
    lot = supply - world.first_lot
    edges = world.edges_of(demand - world.first_row, lot)
    if (edges == NONE).any():
        raise Malformed("a row of the plan runs where nothing can")  # _possible has already refused it
    flow[edges] = units // world.pack[lot]
    return flow


def _row(plan: PlanTable, row: int) -> str:
    warehouse, site = (column.names[column.codes[row]] for column in (plan.warehouse, plan.site))
    return f"{plan.place(row)} ({warehouse} → {site}, {plan.item.names[plan.item.codes[row]]})"


def _lot(snapshot: Snapshot, at: int) -> str:
    supplies = snapshot.supplies
    lot = snapshot.lots[supplies.lot[at]]
    return f"lot {lot!r} of {snapshot.items[supplies.item[at]]} in {snapshot.warehouses[supplies.warehouse[at]]}"


def _demand(snapshot: Snapshot, at: int) -> str:
    return f"{snapshot.sites[snapshot.demands.site[at]]} ({snapshot.items[snapshot.demands.item[at]]})"
