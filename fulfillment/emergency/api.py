"""What the map wires of emergencies: tasks, handlers, and the promises that must always hold."""

from __future__ import annotations

from catalog import api as catalog
from fulfillment.emergency.dispatch import dispatch_due, on_cancelled, on_reduced, on_unsupplied
from fulfillment.emergency.plans import DISPATCH, SOLVE, solve_due
from fulfillment.store import broken, emergency_plans
from hub.kernel.db import Tx


async def invariants(tx: Tx) -> dict[str, bool]:
    """The promises of emergencies, each true or false."""
    found = {name: await broken(tx, check) == 0 for name, check in emergency_plans.INVARIANTS.items()}
    relied_on = await emergency_plans.holds_relied_on(tx)
    there = await catalog.open_holds(tx, [hold_id for hold_id, _ in relied_on])
    return found | {"fenced_stock_is_held": all(there.get(hold_id) == units for hold_id, units in relied_on)}


__all__ = [
    "DISPATCH",
    "SOLVE",
    "dispatch_due",
    "invariants",
    "on_cancelled",
    "on_reduced",
    "on_unsupplied",
    "solve_due",
]
