"""A clinic's system as orders meet it: places that are free, held or booked, each one's owner known."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from connectors.contracts import Capability, Held, PurchaseOrder, Receipt, ReceiptStatus
from hub.kernel import clock
from hub.kernel.errors import Retry
from tests.orders.world import VendorSystem


@dataclass
class Clinic(VendorSystem):
    """Holds and books places. `lose_holds` answers get lost after the clinic acted; `taken` went to others."""

    holds: dict[str, tuple[str, datetime]] = field(default_factory=dict)  # slot -> key, until
    booked: dict[str, str] = field(default_factory=dict)  # slot -> key
    taken: set[str] = field(default_factory=set)
    lose_holds: int = 0
    more: frozenset[Capability] = frozenset({Capability.HOLDS_SLOTS})
    history: list[tuple[str, str]] = field(default_factory=list)  # what happened to which slot

    async def hold(self, slot_ref: str, key: str, until: datetime) -> Held:
        self.calls.append("hold")
        self._trouble()
        if not self._free(slot_ref, key):
            return Held(held=False, slot_ref=slot_ref, reason="busy", gone=True)
        self.holds[slot_ref] = (key, until)
        self.history.append(("hold", slot_ref))
        if self.lose_holds > 0:
            self.lose_holds -= 1
            raise Retry("the answer was lost", code="lost")
        return Held(held=True, slot_ref=slot_ref, ref=slot_ref, until=until)

    async def release(self, key: str, slot_ref: str | None = None) -> int:
        self.calls.append("release")
        self._trouble()
        mine = [slot for slot, (owner, _) in self.holds.items() if owner == key and slot_ref in (None, slot)]
        for slot in mine:
            del self.holds[slot]
            self.history.append(("release", slot))
        return len(mine)

    async def place(self, po: PurchaseOrder, *, key: str) -> Receipt:
        slots = [line.slot_ref for line in po.lines if line.slot_ref is not None]
        if key not in self.orders and any(not self._free(slot, key) for slot in slots):
            self.calls.append("place")
            self.letters.append(po)
            skus = tuple(line.vendor_sku for line in po.lines)
            return Receipt(status=ReceiptStatus.REFUSED, reason="busy", out_of_stock=True, out_of_stock_skus=skus)
        try:
            return await super().place(po, key=key)
        finally:
            if key in self.orders and not self.orders[key]["cancelled"]:
                for slot in slots:
                    if self.booked.get(slot) != key:
                        self.history.append(("book", slot))
                    self.booked[slot] = key
                    self.holds.pop(slot, None)

    async def cancel(self, vendor_order_no: str, po: PurchaseOrder) -> Receipt:
        try:
            return await super().cancel(vendor_order_no, po)
        finally:
            gone = {key for key, order in self.orders.items() if order["cancelled"]}
            for slot in [slot for slot, key in self.booked.items() if key in gone]:
                del self.booked[slot]
                self.history.append(("free", slot))

    def _free(self, slot: str, key: str) -> bool:
        owner, until = self.holds.get(slot, (key, None))
        held = owner != key and until is not None and until > clock.now()
        return not held and slot not in self.taken and self.booked.get(slot, key) == key
