"""A forger who knows the format: after a change to a plan or a certificate, everything that can be recomputed is made
to fit again (figures, hashes, what the stages granted, the seal). What the checker still finds, it finds by its
rules."""

from __future__ import annotations

import hashlib
from copy import deepcopy
from dataclasses import asdict
from random import Random
from typing import Any

import numpy as np
import orjson

from fulfillment.allocation.checker import PlanTable, check
from fulfillment.allocation.checker.findings import Finding
from fulfillment.allocation.checker.world import worlds
from fulfillment.allocation.figures import measure
from fulfillment.allocation.snapshot import Snapshot

Row = tuple[str, str, str, str, int]


def found(world: Snapshot, rows: list[Row], document: Any) -> list[Finding]:
    """What the checker says."""
    return check(world, PlanTable.of(rows), document)


def rules(world: Snapshot, rows: list[Row], document: Any) -> set[str]:
    """Which rules it says are broken."""
    return {finding.rule for finding in found(world, rows, document)}


def forged(world: Snapshot, rows: list[Row], document: Any) -> Any:
    """The certificate made to fit these rows as far as arithmetic goes. Rows that name what does not exist are left
    to the checker."""
    document = deepcopy(document)
    numbers = _numbers(world, rows)
    if numbers is not None:
        supply, demand, units = numbers
        order = np.lexsort((demand, supply))
        packed = np.stack([supply[order], demand[order], units[order]], axis=1)
        document["plan_sha256"] = hashlib.sha256(packed.astype("<i8").tobytes()).hexdigest()
        if _ways_exist(world, supply, demand):
            document["figures"] = asdict(measure(world, supply, demand, units))
        _regrant(world, supply, demand, units, document)
    return sealed(document)


def sealed(document: Any) -> Any:
    """The certificate under a seal that fits."""
    rest = {key: value for key, value in document.items() if key != "seal"}
    return {**rest, "seal": hashlib.sha256(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)).hexdigest()}


def leaves(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every number and text in a document."""
    if isinstance(document, dict):
        return [leaf for key, value in document.items() for leaf in leaves(value, (*path, key))]
    if isinstance(document, list):
        return [leaf for key, value in enumerate(document) for leaf in leaves(value, (*path, key))]
    return [path]


def changed(document: Any, path: tuple[Any, ...], random: Random) -> Any:
    """The document with another value at a path."""
    document = deepcopy(document)
    spot = document
    for key in path[:-1]:
        spot = spot[key]
    value = spot[path[-1]]
    if isinstance(value, str):
        spot[path[-1]] = value + "0"
    elif isinstance(value, float):
        spot[path[-1]] = value + random.choice([-1, 0.001, 1])
    else:
        spot[path[-1]] = value + random.choice([-2, -1, 1, 2, 1000])
    return document


def _numbers(world: Snapshot, rows: list[Row]) -> tuple[Any, Any, Any] | None:
    supplies, demands = world.supplies, world.demands
    lots = {
        (world.warehouses[w], world.items[i], world.lots[lot]): at
        for at, (w, i, lot) in enumerate(
            zip(supplies.warehouse.tolist(), supplies.item.tolist(), supplies.lot.tolist(), strict=True)
        )
    }
    asked = {
        (world.sites[s], world.items[i]): at
        for at, (s, i) in enumerate(zip(demands.site.tolist(), demands.item.tolist(), strict=True))
    }
    try:
        supply = [lots[warehouse, item, lot] for warehouse, _site, item, lot, _ in rows]
        demand = [asked[site, item] for _warehouse, site, item, _lot, _ in rows]
    except KeyError:
        return None
    return tuple(np.array(column, dtype=np.int64) for column in (supply, demand, [row[4] for row in rows]))  # type: ignore[return-value]


def _ways_exist(world: Snapshot, supply: Any, demand: Any) -> bool:
    ways = set(zip(world.leads.site.tolist(), world.leads.warehouse.tolist(), strict=True))
    used = zip(world.demands.site[demand].tolist(), world.supplies.warehouse[supply].tolist(), strict=True)
    return all(way in ways for way in used)


def _regrant(world: Snapshot, supply: Any, demand: Any, units: Any, document: Any) -> None:
    """Make every stage grant what the rows say."""
    for picture, item in zip(worlds(world), document["items"], strict=True):
        packs = np.zeros(len(picture.claim_row), dtype=np.int64)
        mine = world.demands.item[demand] == picture.item
        lot, row = supply[mine] - picture.first_lot, demand[mine] - picture.first_row
        edges = picture.edges_of(row, lot)
        fine = edges >= 0
        np.add.at(packs, picture.edge_claim[edges[fine]], units[mine][fine] // picture.pack[lot[fine]])
        tier = picture.tier[picture.claim_row]
        for stage in item["stages"]:
            kind = picture.claim_own if stage["kind"] == "pool" else ~picture.claim_own
            if stage["kind"] == "floor":
                kind = kind & (picture.floor[picture.claim_row] > 0)
            claims = np.flatnonzero(kind & (tier == stage["tier"]) & (picture.claim_pack == stage["pack"]))
            if len(claims) == len(stage["granted"]):
                whole = packs[claims]
                stage["granted"] = (np.minimum(whole, stage["granted"]) if stage["kind"] == "floor" else whole).tolist()
