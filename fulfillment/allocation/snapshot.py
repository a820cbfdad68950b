"""The frozen input of one allocation: sorted, checked as a whole, hashed. Whatever the order of the rows that came
in, the same rows make the same snapshot, and the same snapshot makes the same plan.

Solver and checker both start here and share nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property

import numpy as np
import orjson

from fulfillment.allocation.tables import (
    HOUR,
    HOURS,
    NEVER,
    NONE,
    UNITS,
    DemandTable,
    Ints,
    LeadTable,
    Mask,
    Names,
    Place,
    SupplyTable,
    microseconds,
    scaled,
)  # fmt: skip
from hub.kernel.errors import Rejected

FORMAT = 1
TOLD = 5  # ignored names that are named one by one


@dataclass(frozen=True, eq=False)
class Demands:
    """Sorted by item, then site. `want` is what counts: the quantity, at most the cap, at most what the verified
    headcount warrants. `arrival` is the order in which the rows came; it is no part of the snapshot's identity."""

    item: Ints
    site: Ints
    quantity: Ints
    tier: Ints
    cap: Ints
    floor: Ints
    pool: Ints
    headcount: Ints
    per_head: Ints
    want: Ints
    arrival: Ints


@dataclass(frozen=True, eq=False)
class Supplies:
    """Lots, sorted by item, warehouse, lot. `expires` is microseconds after the start, or NEVER."""

    item: Ints
    warehouse: Ints
    lot: Ints
    quantity: Ints
    expires: Ints
    pool: Ints
    pack: Ints


@dataclass(frozen=True, eq=False)
class Leads:
    """Sorted by site, then warehouse. Hours in microseconds, cost of a unit in ten-thousandths."""

    site: Ints
    warehouse: Ints
    hours: Ints
    cost: Ints


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything that decides a plan. Numbers in the arrays point into the tuples of names."""

    sites: tuple[str, ...]
    items: tuple[str, ...]
    warehouses: tuple[str, ...]
    lots: tuple[str, ...]
    pools: tuple[str, ...]
    demands: Demands
    supplies: Supplies
    leads: Leads
    deadline: int
    start: str  # ISO 8601; empty when no lot expires on a date, because then it decides nothing
    seed: int
    notes: tuple[str, ...] = ()  # rows that decide nothing, with their place

    @cached_property
    def sha256(self) -> str:
        """The snapshot's identity: SHA-256 over one line of JSON (format, deadline, start, seed and the sorted names)
        and then every array as little-endian 64-bit integers, in the order in which they are declared."""
        head = {
            "format": FORMAT, "deadline_us": self.deadline, "start": self.start, "seed": self.seed, "sites": self.sites,
            "items": self.items, "warehouses": self.warehouses, "lots": self.lots, "pools": self.pools,
        }  # fmt: skip
        digest = hashlib.sha256(orjson.dumps(head) + b"\n")
        d, s, t = self.demands, self.supplies, self.leads
        for array in (
            d.item, d.site, d.quantity, d.tier, d.cap, d.floor, d.pool, d.headcount, d.per_head,
            s.item, s.warehouse, s.lot, s.quantity, s.expires, s.pool, s.pack, t.site, t.warehouse, t.hours, t.cost,
        ):  # fmt: skip
            digest.update(len(array).to_bytes(8, "little") + array.astype("<i8").tobytes())
        return digest.hexdigest()

    @property
    def deadline_hours(self) -> str:
        """The deadline as a person writes it."""
        return f"{Decimal(self.deadline) / HOUR:f}"


def ticket(seed: int, item: str, site: str) -> int:
    """The number that a site draws for an item: the lower one wins a tie. It depends on nothing but its arguments, so
    nobody can improve a draw by asking earlier, in another order or with other sites."""
    text = f"{seed}\x1f{item}\x1f{site}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def freeze(
    demands: DemandTable,
    supplies: SupplyTable,
    leads: LeadTable,
    *,
    deadline_hours: Decimal = Decimal(48),
    start: datetime | None = None,
    seed: int = 0,
) -> Snapshot:
    """The snapshot of these tables. Raises Rejected for rows that contradict each other and for totals beyond the
    limits."""
    deadline = scaled(deadline_hours, HOUR, HOURS)
    if deadline is None:
        raise Rejected(f"the deadline must be from 0 to {HOURS} hours, not {deadline_hours}")
    if not 0 <= seed < 2**63:
        raise Rejected("the seed must be from 0 to 9223372036854775807")
    sites, items = _Order(demands.site), _Order(demands.item, supplies.item)
    warehouses, lots, pools = _Order(supplies.warehouse), _Order(supplies.lot), _Order(demands.pool, supplies.pool)
    frozen_demands = _demands(demands, items, sites, pools)
    expires, from_when = _expiry(supplies, start)
    frozen_supplies = _supplies(supplies, items, warehouses, lots, pools, expires)
    notes: list[str] = []
    frozen_leads = _leads(leads, sites, warehouses, notes)
    served = set(np.unique(leads.warehouse.codes).tolist())
    told = {name for code, name in enumerate(leads.warehouse.names) if code in served}
    notes += [f"warehouse {name!r} has supplies but no lead time: nothing can leave it" for name in warehouses.names
              if name not in told]  # fmt: skip
    _totals("demand", frozen_demands.item, frozen_demands.quantity, items.names)
    _totals("supply", frozen_supplies.item, frozen_supplies.quantity, items.names)
    return Snapshot(
        tuple(sites.names), tuple(items.names), tuple(warehouses.names), tuple(lots.names), tuple(pools.names),
        frozen_demands, frozen_supplies, frozen_leads, deadline, from_when, seed, tuple(notes),
    )  # fmt: skip


class _Order:
    """Names of one or more columns in one sorted list."""

    def __init__(self, *columns: Names) -> None:
        self.names = sorted({name for column in columns for name in column.names})
        self._place = {name: place for place, name in enumerate(self.names)}

    def of(self, column: Names) -> Ints:
        """The column's codes as places in the sorted list; NONE where a name is not in it or is empty."""
        places = [self._place.get(name, NONE) if name else NONE for name in column.names]
        return np.array(places, dtype=np.int64)[column.codes] if places else np.zeros(0, dtype=np.int64)

    def of_any(self, column: Names) -> Ints:
        """The same, where an empty name is a name too."""
        places = [self._place[name] for name in column.names]
        return np.array(places, dtype=np.int64)[column.codes] if places else np.zeros(0, dtype=np.int64)


def _demands(table: DemandTable, items: _Order, sites: _Order, pools: _Order) -> Demands:
    item, site = items.of(table.item), sites.of(table.site)
    order = np.lexsort((site, item))
    _refuse_twins(table.place, order, (item, site), "asks for the same item at the same site as", "item")
    heads = np.where(table.headcount == NONE, UNITS, table.headcount * table.per_head)
    want = np.minimum(np.minimum(table.quantity, np.where(table.cap == NONE, UNITS, table.cap)), heads)
    columns = (
        item, site, table.quantity, table.tier, table.cap, table.floor, pools.of(table.pool), table.headcount,
        table.per_head, want, np.arange(len(item), dtype=np.int64),
    )  # fmt: skip
    return Demands(*(column[order] for column in columns))


def _expiry(table: SupplyTable, start: datetime | None) -> tuple[Ints, str]:
    """Expiry in microseconds after the start, and the start where it decides anything."""
    if not table.dated.any():
        return table.expires, ""
    if start is None or start.tzinfo is None:
        row = int(np.flatnonzero(table.dated)[0])
        raise Rejected(f"{table.place(row)} expires on a date: the start must be given, with its time zone")
    return np.where(table.dated, table.expires - microseconds(start), table.expires), start.isoformat()


def _supplies(
    table: SupplyTable, items: _Order, warehouses: _Order, lots: _Order, pools: _Order, expires: Ints
) -> Supplies:
    item, warehouse, lot = items.of(table.item), warehouses.of(table.warehouse), lots.of_any(table.lot)
    order = np.lexsort((lot, warehouse, item))
    _refuse_twins(table.place, order, (item, warehouse, lot), "is the same lot of the same item as", "lot")
    columns = (item, warehouse, lot, table.quantity, expires, pools.of(table.pool), table.pack)
    return Supplies(*(column[order] for column in columns))


def _leads(table: LeadTable, sites: _Order, warehouses: _Order, notes: list[str]) -> Leads:
    site, warehouse = sites.of(table.site), warehouses.of(table.warehouse)
    whole = np.lexsort((table.site.codes, table.warehouse.codes))
    twins = (table.warehouse.codes, table.site.codes)
    _refuse_twins(table.place, whole, twins, "is the same way as", "site")
    for field, column, place, what in (
        ("warehouse", table.warehouse, warehouse, "supplies"),
        ("site", table.site, site, "demands"),
    ):
        rows = np.flatnonzero(place == NONE)
        codes, first = np.unique(column.codes[rows], return_index=True)
        for code, at in list(zip(codes.tolist(), rows[first].tolist(), strict=True))[:TOLD]:
            notes.append(f"{table.place(at)}, field {field}: {column.names[code]!r} is not among the {what}; ignored")
        if len(codes) > TOLD:
            notes.append(f"{len(codes) - TOLD:,} more in field {field} are not among the {what}; ignored")
    known: Mask = (site != NONE) & (warehouse != NONE)
    order = np.lexsort((warehouse[known], site[known]))
    return Leads(*(column[known][order] for column in (site, warehouse, table.hours, table.cost)))


def _refuse_twins(place: Place, order: Ints, keys: Sequence[Ints], is_like: str, field: str) -> None:
    """Refuse two rows of one key. To add them up would count a request twice that was sent twice."""
    same = np.ones(max(len(order) - 1, 0), dtype=np.bool_)
    for key in keys:
        same &= np.diff(key[order]) == 0
    if same.any():
        pairs = np.flatnonzero(same)
        first, second = min(sorted((int(order[at]), int(order[at + 1]))) for at in pairs[:1000])
        raise Rejected(f"{place(second)}, field {field}: {is_like} {place(first)}")


def _totals(what: str, item: Ints, quantity: Ints, names: Sequence[str]) -> None:
    totals = np.zeros(len(names), dtype=np.int64)
    np.add.at(totals, item, quantity)
    for code in np.flatnonzero(totals > UNITS).tolist():
        raise Rejected(f"the {what} of {names[code]!r} adds up to {totals[code]:,} units; at most {UNITS:,} an item")


__all__ = ["NEVER", "Demands", "Leads", "Snapshot", "Supplies", "freeze", "ticket"]
