"""Where JD delivers to, and how an order is followed once JD has split it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.contracts import ShipmentStatus, ShipTo
from connectors.jd_vop import areas
from connectors.jd_vop.areas import Area
from hub.kernel.errors import Broken
from tests.connectors.test_jd_vop import SHANGHAI, calls, jd, po

# Areas --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "wanted"),
    [
        (("上海", "上海", "黄浦区", "中山东一路1号"), Area(2, 78, 51978)),
        (("上海市", "上海市", "浦东新区", "川沙新镇妙境路1号"), Area(2, 2830, 51801)),
        (("", "上海市", "黄浦区", "中山东一路1号"), Area(2, 78, 51978)),
        (("江苏省", "南京市", "雨花台区", "郁金香路30号"), Area(12, 904, 3379)),
        (("江苏", "南京", "雨花台", "郁金香路30号"), Area(12, 904, 3379)),
        (("江苏省", "南京市", "玄武区", "锁金村街道5号"), Area(12, 904, 905, 50002)),
        (("江苏省", "南京市", "玄武区", "玄武大道699号"), Area(12, 904, 905, 50001)),  # the reader knows the street
        (("北京市", "北京市", "朝阳区", "建国路1号（三环以内）"), Area(1, 72, 2799)),
        (("北京市", "北京市", "朝阳区", "建国路1号"), Area(1, 72, 2799)),
    ],
)
async def test_an_address_in_words_becomes_jds_area(to: tuple[str, str, str, str], wanted: Area) -> None:
    async with jd() as (_, connector):
        province, city, district, address = to
        consignee = ShipTo(name="李", phone="1", province=province, city=city, district=district, address=address)
        assert await connector().area_of(consignee) == wanted


@pytest.mark.parametrize(
    ("to", "says"),
    [
        (("上海市", "上海市", "静安区", "南京西路1号"), "静安区"),
        (("江苏省", "苏州市", "姑苏区", "干将路1号"), "苏州市"),
        (("", "", "", "某路1号"), "without province and city"),
        (("浙江省", "杭州市", "西湖区", "文三路1号"), "浙江省 杭州市 西湖区"),
    ],
)
async def test_an_area_that_jd_does_not_have_is_refused_by_name(to: tuple[str, str, str, str], says: str) -> None:
    async with jd() as (_, connector):
        province, city, district, address = to
        consignee = ShipTo(name="李", phone="1", province=province, city=city, district=district, address=address)
        refused = await connector().area_of(consignee)
        assert isinstance(refused, str) and says in refused and address not in refused


async def test_jds_address_reader_is_not_believed_against_our_names() -> None:
    async with jd() as (sandbox, connector):
        guess = {
            "provinceId": 2,
            "province": "上海",
            "cityId": 2830,
            "city": "浦东新区",
            "countyId": 51800,
            "county": "城区",
        }
        sandbox.refuse["area/getJDAddressFromAddress"] = {"success": True, "resultCode": "0000", "result": guess}
        consignee = SHANGHAI.model_copy(update={"district": "静安区"})
        refused = await connector().area_of(consignee)
        assert isinstance(refused, str) and "no 静安区" in refused


async def test_areas_are_asked_for_once_until_jd_says_that_they_changed() -> None:
    async with jd() as (sandbox, connector):
        for _ in range(3):
            assert await connector().area_of(SHANGHAI) == Area(2, 78, 51978)
        assert calls(sandbox, "area/getProvince") == 1
        connector().forget_areas()
        await connector().area_of(SHANGHAI)
        assert calls(sandbox, "area/getProvince") == 2


def test_short_names_keep_what_would_be_nothing_without_their_ending() -> None:
    assert [areas._short(name) for name in ("上海市", "广西壮族自治区", "市区", "雨花台区")] == [
        "上海",
        "广西",
        "市区",
        "雨花台",
    ]


# Following ----------------------------------------------------------------------------------------------------


async def test_a_split_order_is_followed_parcel_by_parcel() -> None:
    async with jd() as (sandbox, connector):
        adapter = connector()
        order = po(("614907", 1, "1.16"), ("1072238", 2, "98.6"))
        number = (await adapter.place(order, key=order.number)).vendor_order_no or ""
        [whole] = await adapter.track(number)
        assert (whole.status, whole.tracking_no, whole.vendor_order_no) == (ShipmentStatus.PENDING, None, number)
        pens, kettles = sandbox.split(int(number), ["614907"], ["1072238"])
        [waiting] = await adapter.track(number)  # no parcel yet: one word for the order
        assert (waiting.status, waiting.tracking_no) == (ShipmentStatus.PENDING, None)
        sent = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=5)
        sandbox.ship(kettles, ("JDVA1", "京东快递"), ("JDVA2", "京东快递"), at=sent)
        parcels = await adapter.track(number)
        said = [(p.tracking_no, p.carrier, p.status, p.at) for p in parcels]
        assert said == [(no, "京东快递", ShipmentStatus.SHIPPED, sent) for no in ("JDVA1", "JDVA2")]
        sandbox.deliver(kettles, at=sent + timedelta(hours=4))
        sandbox.deliver(pens, refused=True)
        states = {p.tracking_no: (p.status, p.raw_status) for p in await adapter.track(number)}
        assert states == {
            "JDVA1": (ShipmentStatus.DELIVERED, "state.1"),
            "JDVA2": (ShipmentStatus.DELIVERED, "state.1"),
            str(pens): (ShipmentStatus.REFUSED, "state.2"),  # without a parcel its own number stands for it
        }
        by_child = await adapter.track(str(kettles))
        assert {p.tracking_no for p in by_child} == set(states)  # a child's number leads to the whole
        assert all("13900000000" not in p.model_dump_json() for p in by_child)


async def test_children_of_children_are_followed() -> None:
    products = [{"sku": str(n), "name": "x", "price": "1"} for n in (1, 2, 3)]
    async with jd(products) as (sandbox, connector):
        order = po(("1", 1, "1"), ("2", 1, "1"), ("3", 1, "1"))
        number = int((await connector().place(order, key=order.number)).vendor_order_no or 0)
        leaf = {"orderState": 1, "submitState": 1, "state": 1, "sku": []}
        nested = {
            "pOrder": {"jdOrderId": number}, "orderState": 1, "submitState": 1, "type": 1,
            "cOrder": [
                {**leaf, "jdOrderId": 11, "pOrder": number},
                {"jdOrderId": 12, "pOrder": number, "orderState": 1, "cOrder": [
                    {**leaf, "jdOrderId": 13, "pOrder": 12}, {**leaf, "jdOrderId": 14, "pOrder": 12}]},
            ],
        }  # fmt: skip
        sandbox.refuse["order/selectJdOrder"] = {"success": True, "resultCode": "0000", "result": nested}
        assert [p.tracking_no for p in await connector().track(str(number))] == ["11", "13", "14"]


async def test_a_cancelled_child_does_not_cancel_its_sisters() -> None:
    async with jd() as (sandbox, connector):
        adapter = connector()
        order = po(("614907", 1, "1.16"), ("1072238", 1, "98.6"))
        number = (await adapter.place(order, key=order.number)).vendor_order_no or ""
        pens, kettles = sandbox.split(int(number), ["614907"], ["1072238"])
        sandbox.drop(pens)
        sandbox.ship(kettles, ("JDVA1", "京东快递"))
        updates = await adapter.track(number)
        assert ShipmentStatus.CANCELLED not in {update.status for update in updates}
        assert any(u.status is ShipmentStatus.EXCEPTION and str(pens) in u.raw_status for u in updates)
        sandbox.drop(int(number))
        [gone] = await adapter.track(number)
        assert (gone.status, gone.tracking_no) == (ShipmentStatus.CANCELLED, None)


@pytest.mark.parametrize(
    ("said", "status", "raw"),
    [
        ({"jdOrderState": 8}, ShipmentStatus.PENDING, "jdOrderState.8"),
        ({"jdOrderState": "16"}, ShipmentStatus.SHIPPED, "jdOrderState.16"),
        ({"jdOrderState": 17}, ShipmentStatus.RETURNED, "jdOrderState.17"),
        ({"jdOrderState": 77}, ShipmentStatus.UNKNOWN, "jdOrderState.77"),
        ({"jdOrderState": 18, "outTime": "2026-11-22 10:00:00"}, ShipmentStatus.UNKNOWN, "jdOrderState.18"),
        ({"jdOrderState": 9, "outTime": "2026-11-22 10:00:00"}, ShipmentStatus.SHIPPED, "outTime"),
        ({"jdOrderState": 19, "state": 2}, ShipmentStatus.REFUSED, "state.2"),
        ({}, ShipmentStatus.PENDING, "state.0"),
        ({"state": 7}, ShipmentStatus.UNKNOWN, "state.7"),
    ],
)
async def test_jds_words_become_ours_and_unknown_ones_stay(
    said: dict[str, Any], status: ShipmentStatus, raw: str
) -> None:
    async with jd() as (sandbox, connector):
        result = {"pOrder": 0, "jdOrderId": 5, "orderState": 1, "submitState": 1, "state": 0, **said}
        sandbox.refuse["order/selectJdOrder"] = {"success": True, "resultCode": "0000", "result": result}
        [update] = await connector().track("5")
        assert (update.status, update.raw_status, update.vendor_order_no) == (status, raw, "5")


async def test_an_order_that_says_nothing_of_its_life_is_broken() -> None:
    async with jd() as (sandbox, connector):
        for odd in ({}, {"jdOrderId": 5, "orderState": None}, [], "x"):
            sandbox.refuse["order/selectJdOrder"] = {"success": True, "resultCode": "0000", "result": odd}
            with pytest.raises(Broken):
                await connector().track("5")
