"""JD's messages and day lists: nothing is deleted before it has landed, and nothing is lost or told twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest

from connectors.calling import Refused
from connectors.contracts import ListedStatus, PushContent, ShipmentStatus
from connectors.jd_vop.adapter import Adapter
from connectors.jd_vop.areas import Area
from connectors.jd_vop.messages import Message
from connectors.jd_vop.shapes import bad
from connectors.signing import CHINA
from hub.kernel.errors import Broken, Malformed, Retry
from tests.connectors.test_jd_vop import KETTLE, PEN, SHANGHAI, calls, jd, po


async def drained(adapter: Adapter, inbox: dict[str, Message]) -> list[Sequence[str]]:
    """What the hub does: land a batch, then acknowledge it, then ask for more. Returns the batches' ids."""
    batches = []
    async for batch in adapter.messages():
        inbox.update({message.external_id: message for message in batch})
        await adapter.acknowledge([message.external_id for message in batch])
        batches.append([message.external_id for message in batch])
    return batches


def content(adapter: Adapter, message: Message) -> PushContent:
    return adapter.parse_message(message.topic, message.body)


async def read(adapter: Adapter) -> list[PushContent]:
    inbox: dict[str, Message] = {}
    await drained(adapter, inbox)
    return [content(adapter, message) for message in inbox.values()]


# Landing before deleting --------------------------------------------------------------------------------------


async def test_messages_are_deleted_only_after_they_have_landed() -> None:
    async with jd() as (sandbox, connector):
        ids = [str(sandbox.tell(50, {"areaId": n})) for n in range(8)]
        pages = connector().messages()
        first = await anext(pages)
        assert [message.external_id for message in first] == ids[:3] and not sandbox.deleted  # fetched, not landed
        await pages.aclose()  # the worker dies here
        inbox: dict[str, Message] = {}
        assert await drained(connector(), inbox) == [ids[:3], ids[3:6], ids[6:]]
        assert list(inbox) == ids and not sandbox.messages and list(map(str, sandbox.deleted)) == ids


async def test_a_batch_that_did_not_land_stays_and_ends_the_round() -> None:
    async with jd() as (sandbox, connector):
        for n in range(5):
            sandbox.tell(50, {"areaId": n})
        batches = [batch async for batch in connector().messages()]  # nobody acknowledges
        assert len(batches) == 1 and len(sandbox.messages) == 5 and not sandbox.deleted


async def test_of_a_batch_that_landed_in_part_the_rest_comes_again() -> None:
    async with jd() as (sandbox, connector):
        ids = [str(sandbox.tell(50, {"areaId": n})) for n in range(3)]
        adapter = connector()
        async for batch in adapter.messages():
            await adapter.acknowledge([message.external_id for message in batch[:2]])
        [again] = [batch async for batch in connector().messages()]
        assert [message.external_id for message in again] == ids[2:]


async def test_a_deletion_without_an_answer_brings_no_message_twice_under_another_id() -> None:
    async with jd() as (sandbox, connector):
        ids = [str(sandbox.tell(50, {"areaId": n})) for n in range(2)]
        sandbox.lose_at = {"message/del"}
        inbox: dict[str, Message] = {}
        with pytest.raises(Retry):
            await drained(connector(), inbox)
        await drained(connector(), inbox)
        assert list(inbox) == ids and not sandbox.messages


async def test_a_failure_while_completing_a_batch_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.calling.jitter", lambda attempt, least: 0.0)
    async with jd() as (sandbox, connector):
        sandbox.tell(2, {"skuId": 614907})
        sandbox.refuse["price/getSellPrice"] = bad("5001", "服务异常，请稍后重试")
        with pytest.raises(Retry):
            await drained(connector(), {})
        assert len(sandbox.messages) == 1 and not sandbox.deleted
        del sandbox.refuse["price/getSellPrice"]
        inbox: dict[str, Message] = {}
        await drained(connector(), inbox)
        assert len(inbox) == 1 and not sandbox.messages


async def test_older_versions_delete_one_message_a_call() -> None:
    async with jd() as (sandbox, connector):
        sandbox.one_delete_a_call = True
        for n in range(3):
            sandbox.tell(50, {"areaId": n})
        await drained(connector(), {})
        assert not sandbox.messages


async def test_messages_that_jd_will_not_delete_are_named() -> None:
    async with jd() as (sandbox, connector):
        sandbox.tell(50, {"areaId": 1})
        sandbox.refuse["message/del"] = {"success": True, "resultCode": "0000", "result": False}
        with pytest.raises(Refused, match="3612991400"):
            await connector().acknowledge(["3612991400"])


async def test_only_the_chosen_types_are_fetched() -> None:
    async with jd(message_types="50") as (sandbox, connector):
        sandbox.tell(2, {"skuId": 614907})
        sandbox.tell(50, {"areaId": 1})
        inbox: dict[str, Message] = {}
        await drained(connector(), inbox)
        assert [message.topic for message in inbox.values()] == ["50"] and len(sandbox.messages) == 1


async def test_hundreds_of_messages_are_deleted_a_hundred_a_call() -> None:
    async with jd(message_page=250) as (sandbox, connector):
        for n in range(250):
            sandbox.tell(50, {"areaId": n})
        await drained(connector(), {})
        assert calls(sandbox, "message/del") == 3 and not sandbox.messages


# What they mean -----------------------------------------------------------------------------------------------


async def test_a_changed_price_comes_as_the_whole_listing_with_its_stock() -> None:
    async with jd() as (sandbox, connector):
        sandbox.products["614907"]["price"] = "1.30"
        at = datetime(2026, 11, 22, tzinfo=UTC)
        sandbox.tell(2, {"skuId": 614907, "price": "", "jdPrice": 119}, at)
        [said] = await read(connector())
    [listing], [report] = said.listings, said.stock
    assert (listing.vendor_sku, listing.price, listing.title) == ("614907", Decimal("1.3"), "中性笔")
    assert (report.vendor_sku, report.level, report.on_hand) == ("614907", "in_stock", None)
    assert report.reported_at > at  # asked for now, not when JD wrote the message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shelf": 0}, (4, {"skuId": 614907, "state": 0})),
        ({"price": "-1"}, (6, {"skuId": "614907", "page_num": 1, "state": 2})),
    ],
)
async def test_what_left_the_shelf_or_the_contract_is_out(
    change: dict[str, Any], message: tuple[int, dict[str, Any]]
) -> None:
    async with jd() as (sandbox, connector):
        sandbox.products["614907"].update(change)
        sandbox.tell(*message)
        [said] = await read(connector())
    assert [(r.vendor_sku, r.level) for r in said.stock] == [("614907", "out")] and not said.listings and not said.bad


async def test_a_sku_that_left_one_pool_and_is_in_another_is_still_sold() -> None:
    async with jd() as (sandbox, connector):
        sandbox.tell(6, {"skuId": 614907, "page_num": 1, "state": 2})
        [said] = await read(connector())
    assert [x.vendor_sku for x in said.listings] == ["614907"] and said.stock[0].level == "in_stock"


async def test_messages_of_skus_converge_whatever_their_order() -> None:
    async with jd(message_page=10) as (sandbox, connector):
        sandbox.tell(4, {"skuId": 614907, "state": 1})
        sandbox.tell(4, {"skuId": 614907, "state": 0})
        sandbox.tell(2, {"skuId": 614907})
        said = await read(connector())
        assert {one.stock[0].level for one in said} == {"in_stock"}
        assert calls(sandbox, "product/getDetail") == 1  # asked for once a batch


async def test_an_odd_sku_costs_its_own_message_only() -> None:
    async with jd([PEN, KETTLE, {"sku": "5", "price": "1", "hidden": True}]) as (sandbox, connector):
        for result in ({"skuId": 5}, {"skuId": "x"}, {}, {"skuId": 614907}):
            sandbox.tell(2, result)
        said = await read(connector())
    assert [len(one.bad) for one in said] == [1, 1, 1, 0] and len(said[3].listings) == 1
    assert said[0].bad[0].vendor_sku == "5"


async def test_an_order_message_means_what_following_says() -> None:
    async with jd(message_page=20) as (sandbox, connector):
        adapter = connector()
        order = po(("614907", 1, "1.16"), ("1072238", 2, "98.6"))
        number = (await adapter.place(order, key=order.number)).vendor_order_no or ""
        pens, kettles = sandbox.split(int(number), ["614907"], ["1072238"])
        sandbox.ship(kettles, ("JDVA1", "京东快递"))
        followed = await adapter.track(number)
        said = await read(adapter)
        assert [list(one.orders) for one in said] == [list(followed)] * 2  # the split, and the parcel
        sandbox.deliver(kettles)
        sandbox.ship(pens, ("JDVA2", "京东快递"))
        final = {(u.tracking_no, u.status) for one in await read(adapter) for u in one.orders}
        assert final == {("JDVA1", ShipmentStatus.DELIVERED), ("JDVA2", ShipmentStatus.SHIPPED)}


@pytest.mark.parametrize(
    ("kind", "extra", "status"),
    [
        (5, {"state": 1}, ShipmentStatus.DELIVERED),
        (5, {"state": "2"}, ShipmentStatus.REFUSED),
        (12, {}, ShipmentStatus.SHIPPED),
        (10, {}, ShipmentStatus.CANCELLED),
        (10, {"state": 1}, ShipmentStatus.CANCELLED),
        (10, {"state": 0}, ShipmentStatus.PENDING),  # JD would not cancel
        (15, {"cancelType": 2}, ShipmentStatus.CANCELLED),
        (109, {"refundType": 2}, ShipmentStatus.PENDING),
        (1, {}, ShipmentStatus.PENDING),
    ],
)
async def test_a_message_is_believed_where_jds_own_view_lags_behind(
    kind: int, extra: dict[str, Any], status: ShipmentStatus
) -> None:
    async with jd() as (sandbox, connector):
        order = po(("614907", 1, "1.16"))
        number = (await connector().place(order, key=order.number)).vendor_order_no or ""
        at = datetime.now(CHINA).replace(microsecond=0)
        sandbox.tell(kind, {"pOrder" if kind == 1 else " orderId": int(number), **extra}, at)
        [said] = await read(connector())
    [update] = said.orders
    assert (update.status, update.vendor_order_no) == (status, number)
    assert update.at >= at or status is ShipmentStatus.PENDING


async def test_a_late_message_does_not_undo_what_came_after() -> None:
    async with jd() as (sandbox, connector):
        order = po(("614907", 1, "1.16"))
        number = int((await connector().place(order, key=order.number)).vendor_order_no or 0)
        sandbox.ship(number, ("JDVA1", "京东快递"))
        sandbox.deliver(number)
        said = await read(connector())  # 12 is read after the delivery
    assert [u.status for one in said for u in one.orders] == [ShipmentStatus.DELIVERED] * 2


async def test_a_childs_cancellation_never_withdraws_the_whole_order() -> None:
    async with jd() as (sandbox, connector):
        order = po(("614907", 1, "1.16"), ("1072238", 1, "98.6"))
        number = int((await connector().place(order, key=order.number)).vendor_order_no or 0)
        pens, _ = sandbox.split(number, ["614907"], ["1072238"])
        sandbox.drop(pens)
        sandbox.tell(10, {"orderId": number, "state": 1})  # even if it names the whole while JD's view has it alive
        said = await read(connector())
    states = {u.status for one in said for u in one.orders}
    assert ShipmentStatus.CANCELLED not in states and ShipmentStatus.EXCEPTION in states


async def test_orders_of_others_in_the_same_account_are_nobodys() -> None:
    async with jd() as (sandbox, connector):
        sandbox.tell(1, {"pOrder": 4711})
        sandbox.tell(109, {"orderId": 4712, "refundType": 1})
        said = await read(connector())
    assert [(one.orders, len(one.bad)) for one in said] == [((), 1), ((), 1)]


async def test_an_order_that_cannot_be_read_does_not_hold_up_the_others() -> None:
    async with jd() as (sandbox, connector):
        sandbox.refuse["order/selectJdOrder"] = {"success": True, "resultCode": "0000", "result": "odd"}
        sandbox.tell(1, {"pOrder": 5})
        sandbox.tell(5, {"orderId": 5, "state": 1})
        said = await read(connector())
    assert [len(one.bad) for one in said] == [1, 0]
    assert [u.status for u in said[1].orders] == [ShipmentStatus.DELIVERED]  # its own word is left


async def test_a_changed_area_makes_the_tree_be_asked_for_again() -> None:
    async with jd() as (sandbox, connector):
        adapter = connector()
        assert await adapter.area_of(SHANGHAI) == Area(2, 78, 51978)
        sandbox.tell(50, {"areaId": 51978, "areaName": "城区", "parentId": 78, "areaLevel": 4, "operateType": 2})
        [said] = await read(adapter)
        assert said == PushContent()
        await adapter.area_of(SHANGHAI)
        assert calls(sandbox, "area/getProvince") == 2


async def test_reading_a_landed_message_asks_nobody_and_survives_rubbish() -> None:
    async with jd() as (sandbox, connector):
        sandbox.tell(2, {"skuId": 614907})
        inbox: dict[str, Message] = {}
        await drained(connector(), inbox)
        [message] = inbox.values()
        before = len(sandbox.seen)
        once, again = (connector().parse_message(message.topic, message.body) for _ in range(2))
        assert once == again and len(sandbox.seen) == before
        for topic, body in (("2", b"\xff"), ("2", b"[]"), ("x", b"{}"), ("", b"{}")):
            with pytest.raises(Malformed):
                connector().parse_message(topic, body)
        assert connector().parse_message("999", b"{}") == PushContent()
        for body in (b'{"type":2}', b'{"type":2,"result":{"skuId":1},"shelf":7}'):
            assert connector().parse_message("2", body).bad
        for body in (b'{"type":5}', b'{"type":5,"result":{"orderId":1},"order":{"updates":[{}]}}'):
            assert connector().parse_message("5", body).bad


async def test_a_landed_message_holds_nobodys_name_or_number() -> None:
    async with jd() as (sandbox, connector):
        order = po(("614907", 1, "1.16"))
        number = int((await connector().place(order, key=order.number)).vendor_order_no or 0)
        sandbox.ship(number, ("JDVA1", "京东快递"))
        sandbox.deliver(number)
        inbox: dict[str, Message] = {}
        await drained(connector(), inbox)
    for message in inbox.values():
        assert not any(word in message.body.decode() for word in ("李伟", "13800000000", "张三", "13900000000"))


# Days ---------------------------------------------------------------------------------------------------------

DAY = date(2026, 11, 21)


def day_rows(count: int) -> list[dict[str, Any]]:
    return [
        {"jdOrderId": 1000 + n, "state": 1, "hangUpState": 0, "orderPrice": 9.9, "time": "2026-11-21 23:59:59"}
        for n in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 100, 250, 10_050])
async def test_a_days_orders_come_whole_and_once(count: int) -> None:
    """By page up to ten thousand, by the smallest number seen beyond."""
    async with jd() as (sandbox, connector):
        sandbox.day_lists["checkDlokOrder", DAY.isoformat()] = day_rows(count)
        got = [order async for order in connector().orders_of(DAY, "delivered")]
    assert len({order.vendor_order_no for order in got}) == count == len(got)
    if got:
        assert (got[0].state, got[0].amount, got[0].hung_up) == (1, Decimal("9.9"), False)
        assert got[0].created_at == datetime(2026, 11, 21, 15, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "call"), [("new", "checkNewOrder"), ("delivered", "checkDlokOrder"), ("refused", "checkRefuseOrder")]
)
async def test_each_kind_of_day_list_has_its_call(kind: Any, call: str) -> None:
    async with jd() as (sandbox, connector):
        sandbox.day_lists[call, DAY.isoformat()] = day_rows(2)
        assert len([order async for order in connector().orders_of(DAY, kind)]) == 2


async def test_the_three_lists_of_a_day_are_one_list_in_which_the_later_state_counts() -> None:
    async with jd() as (sandbox, connector):
        new, delivered, refused = ([dict(row) for row in day_rows(3)] for _ in range(3))
        for rows, state, first in ((new, 0, 0), (delivered, 1, 1), (refused, 2, 2)):
            for row in rows:
                row["state"] = state
            del rows[:first]
        for call, rows in (("checkNewOrder", new), ("checkDlokOrder", delivered), ("checkRefuseOrder", refused)):
            sandbox.day_lists[call, DAY.isoformat()] = rows
        [listed] = [page async for page in connector().list_orders(DAY)]
    ordered = sorted(listed, key=lambda order: order.vendor_order_no or "")
    assert [(o.vendor_order_no, o.status, o.amount, o.currency, o.po_number) for o in ordered] == [
        ("1000", ListedStatus.OPEN, Decimal("9.9"), "CNY", None),
        ("1001", ListedStatus.DELIVERED, Decimal("9.9"), "CNY", None),
        ("1002", ListedStatus.REFUSED, Decimal("9.9"), "CNY", None),
    ]


async def test_a_day_list_that_is_short_of_what_it_announced_is_broken() -> None:
    async with jd() as (sandbox, connector):
        page = {"total": 3, "totalPage": 1, "curPage": 1, "order": day_rows(2)}  # the older key
        sandbox.refuse["checkOrder/checkNewOrder"] = {"success": True, "resultCode": "0000", "result": page}
        got = []
        with pytest.raises(Broken, match="announced 3"):
            async for order in connector().orders_of(DAY, "new"):
                got.append(order)
        assert len(got) == 2
        sandbox.refuse["checkOrder/checkNewOrder"]["result"] = orjson.dumps(page).decode()
        with pytest.raises(Broken):
            await anext(connector().orders_of(DAY, "new"))
