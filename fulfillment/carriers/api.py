"""The door of fulfillment/carriers: reading payloads (pure), taking them in, and following parcels."""

from __future__ import annotations

from fulfillment.carriers.following import ask_again, follow_due
from fulfillment.carriers.intake import (
    CarrierPayloadLanded,
    Parcels,
    look_up,
    on_payload,
    record,
    take_push,
    upload,
)
from fulfillment.carriers.reading import read
from fulfillment.carriers.tables import fold, hints, table_of, tables

__all__ = [
    "CarrierPayloadLanded", "Parcels", "ask_again", "fold", "follow_due", "hints", "look_up", "on_payload", "read",
    "record", "table_of", "tables", "take_push", "upload",
]  # fmt: skip
