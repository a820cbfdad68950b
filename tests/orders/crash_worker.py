"""A worker process for the crash test: delivers events and calls vendors until nothing is due. Its vendors keep their
orders in files, so that they outlive the worker, and would make a second order for the same number if asked twice.
Usage: crash_worker DATABASE_URL FOLDER"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from connectors import api as connectors
from connectors.contracts import PurchaseOrder, Receipt, ReceiptStatus
from hub.kernel import db, events
from hub.kernel.settings import settings
from orders import api
from orders.contracts import OrderPlaced, VendorRefused
from tests.orders.world import World


class FileVendor:
    """Vendor 1 has nothing; every other one accepts. One line of its file is one order it will deliver."""

    def __init__(self, file: Path, accepts: bool) -> None:
        self.file = file
        self.accepts = accepts

    async def place(self, po: PurchaseOrder, *, key: str) -> Receipt:
        if not self.accepts:
            return Receipt(status=ReceiptStatus.REFUSED, reason="sold out", out_of_stock=True)
        with self.file.open("a") as file:
            file.write(f"{key}\n")
        return Receipt(status=ReceiptStatus.ACCEPTED, vendor_order_no=f"V{key}")

    async def find(self, key: str) -> Receipt | None:
        known = self.file.read_text().split() if self.file.exists() else []
        return Receipt(status=ReceiptStatus.ACCEPTED, vendor_order_no=f"V{key}") if key in known else None

    async def cancel(self, vendor_order_no: str, po: PurchaseOrder) -> Receipt:
        raise AssertionError("nothing is cancelled here")


async def main(url: str, folder: Path) -> None:
    @contextlib.asynccontextmanager
    async def open_connector(connection_id: int, **_: Any) -> AsyncIterator[FileVendor]:
        yield FileVendor(folder / f"vendor{connection_id}", connection_id != 1)

    world = World.__new__(World)
    world.vendors, world.portal = dict.fromkeys((1, 2)), set()
    for name, played in (("open_connector", open_connector), ("get_connection", world.get_connection)):
        setattr(connectors, name, played)
    db.connect(url, settings())
    for _ in range(4):
        await events.drain({OrderPlaced: [api.submit_to_vendors], VendorRefused: [api.on_refused]}, width=1)
        await api.place_due(concurrency=1)
    await db.disconnect()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
