"""What vendors do otherwise than asked, each with its way out: fewer units, another price, no answer in time, a change
of mind. Units always add up to what was ordered, and nothing is bought twice or at a price that nobody agreed to."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.contracts import Receipt, ReceiptLine, ReceiptStatus
from orders import api
from orders.contracts import LineUnsupplied
from tests.orders.test_ordering import code
from tests.orders.test_placing import line, one_vendor, two_vendors
from tests.orders.world import VendorSystem, World


class Haggler(VendorSystem):
    """Accepts every order on its own terms."""

    terms: tuple[ReceiptLine, ...] = ()

    def _receipt(self, key: str) -> Receipt:
        receipt = super()._receipt(key)
        accepted = receipt.status is ReceiptStatus.ACCEPTED
        return receipt.model_copy(update={"lines": self.terms}) if accepted else receipt


async def haggling(world: World, *terms: ReceiptLine, two: bool = True) -> tuple[int, int, int, int, Haggler]:
    mall, product, cheap, dear = await two_vendors(world)
    system = Haggler()
    system.terms = terms
    world.vendors[1] = system
    if not two:
        world.vendors[2].out_of_stock = ()
    return mall, product, cheap, dear, system


def units(order: dict[str, Any]) -> int:
    return sum(one["qty"] + one["cancelled_qty"] for one in order["lines"])


@pytest.mark.parametrize("two", [True, False])
async def test_what_a_vendor_does_not_take_goes_to_the_next_or_is_unsupplied(world: World, two: bool) -> None:
    mall, product, cheap, dear, system = await haggling(world, ReceiptLine(line_no=1, quantity=3), two=two)
    order = await world.placed(mall, [line(product, 5)])
    await world.settle(3)
    seen = await world.see(mall, order["id"])
    assert [(one["qty"], one["vendor"], one["split_from"]) for one in seen["lines"]] == [
        (3, "vendor 1", None), (2, "vendor 2" , 1),
    ]  # fmt: skip
    assert units(seen) == 5 and len(system.live) == 1
    assert [one["status"] for one in seen["lines"]] == ["accepted", "accepted" if two else "unsupplied"]
    assert (await world.reserved(cheap), await world.reserved(dear)) == (3, 2 if two else 0)
    assert seen["total"]["amount"] == ("54.0000" if two else "30.0000")
    facts = {fact.line_no: fact for fact in await _facts(world)}
    assert (facts[1].first_vendor_outcome, facts[2].first_vendor_outcome) == ("accepted", "out_of_stock")
    assert facts[1].t0 == facts[2].t0 and facts[1].due_at == facts[2].due_at
    assert bool(world.saw(LineUnsupplied)) is not two
    await world.sound()


async def _facts(world: World) -> list[Any]:
    from hub.kernel.db import uow

    async with uow() as tx:
        return await api.line_facts(tx, order_id=await tx.fetchval("SELECT id FROM orders"))


async def test_a_line_that_is_not_taken_at_all_leaves_the_others(world: World) -> None:
    mall, first, _cheap, _dear, system = await haggling(world, ReceiptLine(line_no=2, quantity=0))
    second = await world.product("酒精")
    await world.listing(1, second, "5", 9)
    other = await world.listing(2, second, "6", 9)
    order = await world.placed(mall, [line(first, 2), line(second, 2)])
    system.terms = (ReceiptLine(line_no=2, quantity=0),)
    await world.settle(3)
    seen = await world.see(mall, order["id"])
    assert [(one["vendor"], one["status"]) for one in seen["lines"]] == [
        ("vendor 1", "accepted"),
        ("vendor 2", "accepted"),
    ]
    assert await world.reserved(other) == 2
    await world.sound()


async def test_an_acceptance_of_nothing_is_a_refusal(world: World) -> None:
    mall, product, cheap, dear, _ = await haggling(world, ReceiptLine(line_no=1, quantity=0))
    order = await world.placed(mall, [line(product, 2)])
    await world.settle(3)
    seen = await world.see(mall, order["id"])
    assert [po["status"] for po in seen["purchase_orders"]] == ["refused", "accepted"]
    assert (await world.reserved(cheap), await world.reserved(dear)) == (0, 2)
    await world.sound()


@pytest.mark.parametrize(
    ("price", "ceiling", "vendor", "paid"),
    [
        ("9.5", None, 1, "9.5000"),
        ("10.5", "11", 1, "10.5000"),
        ("10.5", None, 2, "12.0000"),
        ("10.5", "10.2", None, None),
    ],
)
async def test_a_changed_price_is_taken_within_what_was_agreed_and_else_taken_back(
    world: World, price: str, ceiling: str | None, vendor: int | None, paid: str | None
) -> None:
    changed = ReceiptLine(line_no=1, quantity=2, unit_price=price)  # type: ignore[arg-type]
    mall, product, cheap, dear, system = await haggling(world, changed)
    wish = line(product, 2, max_price=ceiling) if ceiling else line(product, 2)
    order = await world.placed(mall, [wish])
    await world.settle(4)
    seen = await world.see(mall, order["id"])
    assert len(system.live) == (vendor == 1), "what is too dear is cancelled at the vendor"
    if vendor is None:
        assert (seen["status"], seen["purchase_orders"][0]["status"]) == ("unsupplied", "cancelled")
    else:
        only = seen["lines"][0]
        assert (only["vendor"], only["unit_price"]["amount"], seen["status"]) == (f"vendor {vendor}", paid, "accepted")
        assert only["agreed_price"]["amount"] == "10.0000"
    assert await world.reserved(cheap) + await world.reserved(dear) == (2 if vendor else 0)
    await world.sound()


async def test_a_dearer_acceptance_that_the_vendor_will_not_cancel_is_for_a_person(world: World) -> None:
    dearer = ReceiptLine(line_no=1, quantity=2, unit_price="20")  # type: ignore[arg-type]
    mall, product, _cheap, _dear, system = await haggling(world, dearer)
    system.refuses_cancel = True
    order = await world.placed(mall, [line(product, 2)])
    await world.settle(4)
    seen = await world.see(mall, order["id"])
    [po] = seen["purchase_orders"]
    assert (seen["status"], po["needs_attention"], seen["lines"][0]["unit_price"]["amount"]) == (
        "accepted",
        True,
        "10.0000",
    )
    await world.sound()


# No decision in time ---------------------------------------------------------------------------------------


async def test_a_portal_that_is_silent_past_the_deadline_loses_the_order(world: World) -> None:
    mall, product, cheap = await one_vendor(world)
    await world.vendor(1, portal=True)
    order = await world.placed(mall, [line(product, 2)])
    await world.work()
    world.later(14_401)
    assert await api.overdue_acceptances() == 0, "there is nobody else"
    [po] = (await world.see(mall, order["id"]))["purchase_orders"]
    assert (po["status"], po["needs_attention"]) == ("awaiting_vendor", True)
    await world.vendor(2)
    dear = await world.listing(2, product, "12", 9)
    assert await api.overdue_acceptances() == 1
    assert await api.overdue_acceptances() == 0
    await world.work(2)
    seen = await world.see(mall, order["id"])
    assert [po["status"] for po in seen["purchase_orders"]] == ["refused", "accepted"]
    assert (await world.reserved(cheap), await world.reserved(dear), seen["due_at"]) == (0, 2, order["due_at"])
    key = await world.vendor_key(101)
    async with world.client.post(f"/v1/vendor/orders/{po['id']}/accept", headers=key) as answer:
        assert answer.status == 409, "too late"
    await world.sound()


@pytest.mark.parametrize("late", ["never", "accepts", "lost", "mall"])
async def test_a_system_that_never_decides_is_cancelled_there_before_anybody_else_is_asked(
    world: World, late: str
) -> None:
    mall, product, _cheap, _dear = await two_vendors(world)
    world.vendors[1].pending = True
    order = await world.placed(mall, [line(product, 2)])
    await world.work()
    world.later(14_401)
    await world.report(1, f"S{product}", 100)
    await world.report(2, f"S{product}", 100)
    assert await api.overdue_acceptances() == 1
    assert not world.vendors[2].orders, "one after the other"
    if late == "accepts":
        world.vendors[1].pending, world.vendors[1].refuses_cancel = False, True
    if late == "lost":
        world.vendors[1].lose = 1
    if late == "mall":
        status, _ = await world.post(mall, f"/orders/{order['id']}/cancel")
        assert status == 200
    await world.settle(4)
    seen = await world.see(mall, order["id"])
    wanted = {"never": "accepted", "accepts": "accepted", "lost": "accepted", "mall": "cancelled"}[late]
    assert seen["status"] == wanted
    live = [len(world.vendors[n].live) for n in (1, 2)]
    assert live == {"never": [0, 1], "accepts": [1, 0], "lost": [0, 1], "mall": [0, 0]}[late]
    await world.sound()


async def test_while_an_answer_is_unknown_no_deadline_sends_the_order_elsewhere(world: World) -> None:
    mall, product, _cheap, _dear = await two_vendors(world)
    world.vendors[1].lose = 1
    await world.placed(mall, [line(product)])
    await world.work()
    world.vendors[1].down = 99
    for _ in range(3):
        world.later(14_401)
        await world.work()
        assert await api.overdue_acceptances() == 0
    assert not world.vendors[2].orders


async def test_a_portal_vendor_says_what_it_takes(world: World) -> None:
    mall, product, _cheap, _dear = await two_vendors(world)
    world.portal.add(1)
    order = await world.placed(mall, [line(product, 5)])
    await world.work()
    po = (await world.see(mall, order["id"]))["purchase_orders"][0]["id"]
    key = await world.vendor_key(101)

    async def say(*lines: dict[str, Any]) -> tuple[int, Any]:
        async with world.client.post(
            f"/v1/vendor/orders/{po}/accept", headers=key, json={"lines": list(lines)}
        ) as answer:
            return answer.status, await answer.json()

    for bad in (
        [{"line_no": 2, "qty": 1}],
        [{"line_no": 1, "qty": 6}],
        [{"line_no": 1, "qty": 1}] * 2,
        [{"line_no": 1}],
    ):
        status, problem = await say(*bad)
        assert (status, code(problem)) == (422, "invalid"), bad
    status, answer = await say({"line_no": 1, "qty": 4, "unit_price": "9"})
    assert (status, answer["status"]) == (200, "accepted")
    assert (await say({"line_no": 1, "qty": 4}))[0] == 200
    await world.work(2)
    seen = await world.see(mall, order["id"])
    assert [(one["qty"], one["vendor"], one["unit_price"]["amount"]) for one in seen["lines"]] == [
        (4, "vendor 1", "9.0000"), (1, "vendor 2", "12.0000"),
    ]  # fmt: skip
    await world.sound()
