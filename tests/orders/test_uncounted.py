"""Vendors that give no counts: a reservation there is the vendor's own promise, asked for under our key."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from connectors.contracts import Capability, Held, PurchaseOrder, Receipt, ReceiptStatus
from hub.kernel.errors import Retry
from orders import api, holding
from tests.orders.test_ordering import code
from tests.orders.test_placing import line
from tests.orders.world import VendorSystem, World


@dataclass
class Keeper(VendorSystem):
    """Says `in_stock` and keeps goods for an order that is not placed yet. `left` is what it really has."""

    more: frozenset[Capability] = frozenset({Capability.HOLDS_STOCK})
    left: int = 5
    kept: dict[str, int] = field(default_factory=dict)
    lose_holds: int = 0

    async def hold_stock(self, po: PurchaseOrder, *, key: str) -> Held:
        self.calls.append("hold")
        self._trouble()
        units = sum(one.quantity for one in po.lines)
        if key not in self.kept:
            if units > self.left:
                skus = tuple(one.vendor_sku for one in po.lines)
                return Held(held=False, reason="sold out", gone=True, gone_skus=skus)
            self.left -= units
            self.kept[key] = units
        if self.lose_holds > 0:
            self.lose_holds -= 1
            raise Retry("the answer was lost", code="lost")
        return Held(held=True, ref=key)

    async def release_stock(self, key: str) -> bool:
        self.calls.append("release")
        self._trouble()
        self.left += self.kept.get(key, 0)
        return self.kept.pop(key, None) is not None

    async def place(self, po: PurchaseOrder, *, key: str) -> Receipt:
        units = sum(one.quantity for one in po.lines)
        if key not in self.orders and self.kept.pop(key, None) is None:
            if units > self.left:
                return Receipt(status=ReceiptStatus.REFUSED, reason="sold out", out_of_stock=True)
            self.left -= units
        return await super().place(po, key=key)


async def keeper(world: World) -> tuple[int, Keeper, int]:
    mall, system = await world.mall(), Keeper()
    await world.vendor(1, system=system)
    product = await world.product()
    await world.listing(1, product, "10.00", None)
    return mall, system, product


async def test_a_reservation_is_kept_at_the_vendor_and_bought_under_the_same_key(world: World) -> None:
    mall, system, product = await keeper(world)
    held = await world.placed(mall, [line(product, 2), line(product)], mode="reserve")
    assert (system.left, list(system.kept.values())) == (2, [3])
    _, order = await world.post(mall, f"/orders/{held['id']}/confirm")
    assert [po["number"] for po in order["purchase_orders"]] == list(system.kept)
    await world.work()
    await api.let_go_due()
    assert (system.left, system.kept, len(system.live), system.calls) == (2, {}, 1, ["hold", "place"])
    await world.sound()


async def test_an_order_that_is_placed_at_once_asks_once(world: World) -> None:
    mall, system, product = await keeper(world)
    await world.placed(mall, [line(product, 2)])
    await world.work()
    assert (system.calls, system.left) == (["place"], 3)


async def test_what_the_vendor_will_not_keep_is_out_of_stock_and_not_sold_again(world: World) -> None:
    mall, system, product = await keeper(world)
    for _ in range(2):
        status, problem = await world.order(mall, [line(product, 6)], mode="reserve")
        assert (status, code(problem)) == (409, "out_of_stock")
    assert system.calls == ["hold"] and await world.value("SELECT count(*) FROM orders") == 0
    await api.let_go_due()
    assert system.left == 5


@pytest.mark.parametrize("end", ["cancel", "expire", "lost", "died"])
async def test_whatever_ends_a_reservation_gives_back_what_was_kept(world: World, end: str) -> None:
    mall, system, product = await keeper(world)
    system.lose_holds = 1 if end == "lost" else 0
    status, held = await world.order(mall, [line(product, 2)], mode="reserve")
    assert status == (503 if end == "lost" else 201) and system.left == 3
    if end == "cancel":
        await world.post(mall, f"/orders/{held['id']}/cancel")
    elif end == "expire":
        world.later(901)
        await api.expire_reservations()
    elif end == "died":  # the order's row is gone with the process that would have written it
        await world.value("UPDATE vendor_holds SET order_id = NULL RETURNING 1")
        await world.post(mall, f"/orders/{held['id']}/cancel")
    world.later(holding.UNBOUND_S + 1)
    system.down = 1
    for _ in range(3):
        await api.let_go_due()
        world.later(700)
    assert (system.left, system.kept) == (5, {})
    assert await world.value("SELECT count(*) FROM vendor_holds WHERE state <> 'released'") == 0
    await world.sound()
