"""What the systems of vendors can do for us."""

from __future__ import annotations

from connectors import api as connectors
from connectors.contracts import Capability
from hub.kernel.db import Tx


async def can_place(tx: Tx, connection_id: int) -> bool:
    """Whether this vendor's system takes orders from us; otherwise the vendor answers in the portal."""
    return Capability.PLACES_ORDERS in (await connectors.get_connection(tx, connection_id)).capabilities


async def can_hold_slots(tx: Tx, connection_id: int) -> bool:
    """Whether this vendor's system holds a slot before it is booked."""
    return Capability.HOLDS_SLOTS in (await connectors.get_connection(tx, connection_id)).capabilities
