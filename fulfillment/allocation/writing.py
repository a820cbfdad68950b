"""Plans and tables as CSV, as `supplyhub verify-plan` reads them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fulfillment.allocation.checker import PlanTable
from fulfillment.allocation.tables import Names

if TYPE_CHECKING:
    from fulfillment.allocation.solver import Plan


def as_table(plan: Plan) -> PlanTable:
    """A plan as rows of names."""
    snapshot, supplies, demands = plan.snapshot, plan.snapshot.supplies, plan.snapshot.demands
    return PlanTable(
        lambda row: f"plan row {row + 1}",
        Names(list(snapshot.warehouses), supplies.warehouse[plan.supply]),
        Names(list(snapshot.sites), demands.site[plan.demand]),
        Names(list(snapshot.items), demands.item[plan.demand]),
        Names(list(snapshot.lots), supplies.lot[plan.supply]),
        plan.units,
    )


def plan_csv(table: PlanTable) -> bytes:
    """The rows of a plan as a file."""
    names = [
        [column.names[code] for code in column.codes.tolist()]
        for column in (table.warehouse, table.site, table.item, table.lot)
    ]
    return csv_bytes(("warehouse", "site", "item", "lot", "quantity"), zip(*names, table.units.tolist(), strict=True))


def csv_bytes(header: Sequence[str], rows: Iterable[Iterable[object]]) -> bytes:
    """A table as UTF-8 with one line a row."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
