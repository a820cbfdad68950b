"""Orders at JD: bought once or not at all, at the agreed price, to an area that JD knows, followed parcel by parcel."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from connectors.contracts import ReceiptStatus
from connectors.jd_vop import orders
from connectors.jd_vop.shapes import bad
from connectors.sandbox_kit import Faults
from hub.kernel.errors import Broken, Misconfigured, Retry
from tests.connectors.test_jd_vop import PEN, SHANGHAI, calls, jd, po

ACCEPTED, REFUSED, PENDING = ReceiptStatus.ACCEPTED, ReceiptStatus.REFUSED, ReceiptStatus.PENDING


async def test_an_order_is_held_then_confirmed() -> None:
    async with jd() as (sandbox, connector):
        order = po(("614907", 2, "1.16"), ("1072238", 1, "98.60"), ("614907", 3, "1.20"), note="请放前台")
        receipt = await connector().place(order, key=order.number)
        held = sandbox.order_with(order.number)
        assert (receipt.status, receipt.vendor_order_no) == (ACCEPTED, str(held["id"])) and held["submitState"] == 1
        form = sandbox.submitted[order.number]
        assert [(line["skuId"], line["num"]) for line in orjson.loads(form["sku"])] == [(614907, 5), (1072238, 1)]
        snap = '[{"price":1.16,"skuId":614907},{"price":98.6,"skuId":1072238}]'
        assert (form["submitState"], form["doOrderPriceMode"], form["orderPriceSnap"]) == ("0", "1", snap)
        assert [form[name] for name in ("province", "city", "county", "town")] == ["2", "78", "51978", "0"]
        assert (form["remark"], form["isUseBalance"], form["selectedInvoiceTitle"]) == ("请放前台", "1", "5")
        assert '"price"' not in form["sku"]


async def test_terms_of_the_contract_are_settings_and_nothing_is_assumed() -> None:
    fields = {"regAddr": "示例路1号", "thirdOrder": "not-ours"}
    async with jd(payment_type="101", price_in_sku=True, order_fields=fields) as (sandbox, connector):
        order = po(("614907", 1, "1.16"))
        await connector().place(order, key=order.number)
        form = sandbox.submitted[order.number]
        assert (form["paymentType"], form["isUseBalance"], form["regAddr"]) == ("101", "0", "示例路1号")
        assert orjson.loads(form["sku"])[0]["price"] == 1.16
        for setting in ("payment_type", "invoice_type", "company", "tax_no", "invoice_phone"):
            with pytest.raises(Misconfigured, match=setting):
                await connector(**{setting: None}).place(order, key=order.number)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "某" * 21}, "name of 1 to 20"),
        ({"name": " "}, "name of 1 to 20"),
        ({"address": "路" * 101}, "address of 1 to 100"),
        ({"phone": "1" * 21}, "phone"),
        ({"country": "SG"}, "not to SG"),
        ({"province": "火星", "city": "", "district": ""}, "火星"),
        ({"district": "朝阳区"}, "朝阳区"),
    ],
)
async def test_what_jds_form_has_no_room_or_name_for_is_refused_before_anything_is_held(
    change: dict[str, str], says: str
) -> None:
    async with jd() as (sandbox, connector):
        order = po(("614907", 1, "1.16"), to=SHANGHAI.model_copy(update=change))
        receipt = await connector().place(order, key=order.number)
        assert receipt.status is REFUSED and says in (receipt.reason or "") and not sandbox.orders
        assert "中山东一路" not in (receipt.reason or "")


@pytest.mark.parametrize(
    ("line", "currency", "says"),
    [
        (("A-1", 1, "1"), "CNY", "A-1 is no SKU"),
        (("0614907", 1, "2"), "CNY", "no SKU"),
        (("614907", 1, "2"), "USD", "CNY"),
        (("999", 1, "2"), "CNY", "no contract price for 999"),
        (("614907", 1, "1.15"), "CNY", "614907 (1.16 instead of 1.15)"),
    ],
)
async def test_what_jd_cannot_sell_as_agreed_is_refused_before_anything_is_held(
    line: tuple[str, int, str], currency: str, says: str
) -> None:
    async with jd() as (sandbox, connector):
        order = po(line, currency=currency)
        receipt = await connector().place(order, key=order.number)
        assert (receipt.status, receipt.out_of_stock) == (REFUSED, False) and says in (receipt.reason or "")
        assert not sandbox.orders


async def test_a_price_that_moves_while_ordering_is_refused_by_jd() -> None:
    async with jd() as (sandbox, connector):
        sandbox.on_submit = lambda: sandbox.products["614907"].update(price="1.30")
        order = po(("614907", 1, "1.16"))
        receipt = await connector().place(order, key=order.number)
        assert receipt.status is REFUSED and "价格已变化" in (receipt.reason or "") and not sandbox.orders


async def test_a_cheaper_price_is_taken() -> None:
    async with jd() as (sandbox, connector):
        order = po(("614907", 1, "2.00"))
        assert (await connector().place(order, key=order.number)).status is ACCEPTED
        assert sandbox.submitted[order.number]["orderPriceSnap"] == '[{"price":1.16,"skuId":614907}]'


async def test_what_jd_took_for_another_price_is_let_go_unconfirmed() -> None:
    async with jd() as (sandbox, connector):
        sandbox.takes_for["614907"] = "1.99"
        order = po(("614907", 4, "1.16"))
        receipt = await connector().place(order, key=order.number)
        assert receipt.status is REFUSED and "1.99" in (receipt.reason or "")
        assert sandbox.living(order.number) == 0 and sandbox.products["614907"]["stock"] == 40
        assert calls(sandbox, "order/confirmOrder") == 0


@pytest.mark.parametrize(("limit", "status"), [("", ACCEPTED), ("6", ACCEPTED), ("5.99", REFUSED), ("0", REFUSED)])
async def test_freight_beyond_the_limit_is_refused(limit: str, status: ReceiptStatus) -> None:
    async with jd(max_freight=limit) as (sandbox, connector):
        sandbox.freight = 6
        order = po(("614907", 1, "1.16"))
        assert (await connector().place(order, key=order.number)).status is status
        assert sandbox.living(order.number) == (status is ACCEPTED)


async def test_what_is_out_of_stock_is_named() -> None:
    async with jd() as (sandbox, connector):
        order = po(("614907", 41, "1.16"), ("1072238", 5, "98.6"))
        receipt = await connector().place(order, key=order.number)
        assert (receipt.status, receipt.out_of_stock, receipt.out_of_stock_skus) == (REFUSED, True, ("614907",))
        assert receipt.raw_status == "3008" and not sandbox.orders
        nameless = bad("3008", "有商品无货")  # then JD is asked for its stock
        sandbox.refuse["order/submitOrder"] = nameless
        sandbox.products["1072238"]["stock"] = 2
        again = po(("614907", 1, "1.16"), ("1072238", 5, "98.6"))
        receipt = await connector().place(again, key=again.number)
        assert receipt.out_of_stock_skus == ("1072238",)


async def test_a_gift_that_is_out_of_stock_names_its_main_article() -> None:
    async with jd() as (sandbox, connector):
        sandbox.refuse["order/submitOrder"] = bad("3008", "编号为2586166的赠品无货，主商品为:1072238;")
        order = po(("614907", 1, "1.16"), ("1072238", 1, "98.6"))
        assert (await connector().place(order, key=order.number)).out_of_stock_skus == ("1072238",)


@pytest.mark.parametrize("change", [{"shelf": 0}, {"barred": True}])
async def test_what_jd_does_not_sell_there_is_refused_with_its_reason(change: dict[str, Any]) -> None:
    async with jd([{**PEN, **change}]) as (sandbox, connector):
        order = po(("614907", 1, "1.16"))
        receipt = await connector().place(order, key=order.number)
        assert receipt.status is REFUSED and "614907" in (receipt.reason or "") and not receipt.out_of_stock
        assert receipt.raw_status in ("3004", "3009") and sandbox.living(order.number) == 0


# Lost answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["order/submitOrder", "order/confirmOrder"])
@pytest.mark.parametrize("asks", [True, False])
async def test_an_answer_lost_between_any_two_steps_buys_once(lost: str, asks: bool) -> None:
    """Whether the caller asks with `find` or forgets to and places again."""
    async with jd() as (sandbox, connector):
        order = po(("614907", 4, "1.16"))
        sandbox.lose_at = {lost}
        with pytest.raises(Retry):
            await connector().place(order, key=order.number)
        assert sandbox.living(order.number) == 1
        adapter = connector()
        receipt = await adapter.find(order.number) if asks else await adapter.place(order, key=order.number)
        assert receipt is not None and receipt.status is ACCEPTED
        held = sandbox.order_with(order.number)
        assert (held["submitState"], receipt.vendor_order_no) == (1, str(held["id"]))
        assert sandbox.living(order.number) == 1 == len(sandbox.orders)
        assert sandbox.products["614907"]["stock"] == 36


async def test_both_answers_lost_still_buy_once() -> None:
    async with jd() as (sandbox, connector):
        order = po(("614907", 1, "1.16"))
        sandbox.lose_at = {"order/submitOrder"}
        with pytest.raises(Retry):
            await connector().place(order, key=order.number)
        sandbox.lose_at = {"order/confirmOrder"}
        with pytest.raises(Retry):
            await connector().find(order.number)
        found = await connector().find(order.number)
        assert found is not None and found.status is ACCEPTED and len(sandbox.orders) == 1
        assert calls(sandbox, "order/confirmOrder") == 1


async def test_an_unconfirmed_order_that_is_not_what_was_ordered_is_never_confirmed() -> None:
    async with jd() as (sandbox, connector):
        sandbox.takes_for["614907"] = "9"
        order = po(("614907", 1, "1.16"))
        sandbox.lose_at = {"order/cancel"}
        with pytest.raises(Retry):
            await connector().place(order, key=order.number)
        held = sandbox.order_with(order.number)
        held["orderState"] = 1  # the cancellation did not happen after all
        found = await connector().find(order.number)
        assert found is not None and found.status is REFUSED and "9" in (found.reason or "")
        assert sandbox.living(order.number) == 0 and not held["submitState"]
        assert order.number not in orders._unwanted


async def test_jd_letting_a_held_order_go_is_a_refusal() -> None:
    async with jd() as (sandbox, connector):
        order = po(("614907", 1, "1.16"))
        sandbox.refuse["order/confirmOrder"] = bad("3202", "该订单已经被取消")
        sandbox.lose_at = {"order/submitOrder"}
        with pytest.raises(Retry):
            await connector().place(order, key=order.number)
        sandbox.refuse["order/selectJdOrderIdByThirdOrder"] = {
            "success": True, "resultCode": "0000", "result": str(sandbox.order_with(order.number)["id"]),
        }  # fmt: skip
        sandbox.order_with(order.number)["orderState"] = 0
        found = await connector().find(order.number)
        assert found is not None and found.status is REFUSED


async def test_an_order_that_cannot_be_confirmed_is_let_go() -> None:
    async with jd() as (sandbox, connector):
        sandbox.refuse["order/confirmOrder"] = bad("3017", "您的余额不足")
        order = po(("614907", 3, "1.16"))
        receipt = await connector().place(order, key=order.number)
        assert receipt.status is REFUSED and "余额不足" in (receipt.reason or "")
        assert sandbox.living(order.number) == 0 and sandbox.products["614907"]["stock"] == 40


async def test_find_says_none_only_when_jd_says_so() -> None:
    async with jd() as (sandbox, connector):
        adapter = connector()
        assert await adapter.find("po_never") is None
        for odd in (
            bad("1001", "参数错误"),
            bad("9999", "未知"),
            {"success": True, "resultCode": "0000", "result": None},
            {"success": True, "resultCode": "0000", "result": "0"},
        ):
            sandbox.refuse["order/selectJdOrderIdByThirdOrder"] = odd
            with pytest.raises(Retry):
                await adapter.find("po_never")


async def test_the_same_number_for_another_order_is_not_taken_for_ours() -> None:
    async with jd() as (sandbox, connector):
        first, second = po(("614907", 1, "1.16")), po(("1072238", 1, "98.6"))
        await connector().place(first, key=first.number)
        with pytest.raises(Broken, match="another order"):
            await connector().place(second, key=first.number)
        assert len(sandbox.orders) == 1


async def test_an_order_placed_twice_at_once_is_bought_once() -> None:
    async with jd() as (sandbox, connector):
        order = po(("614907", 2, "1.16"))
        receipts = await asyncio.gather(*(connector().place(order, key=order.number) for _ in range(5)))
        assert {receipt.status for receipt in receipts} == {ACCEPTED}
        assert len({receipt.vendor_order_no for receipt in receipts}) == 1 == len(sandbox.orders)


async def test_an_outage_before_anything_was_held_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.calling.jitter", lambda attempt, least: 0.0)
    async with jd(faults=Faults(unavailable=99)) as (sandbox, connector):
        order = po(("614907", 1, "1.16"))
        with pytest.raises(Retry):
            await connector().place(order, key=order.number)
        assert not sandbox.orders


# Cancelling ---------------------------------------------------------------------------------------------------


async def test_cancelling_works_until_jd_has_produced_the_order() -> None:
    async with jd() as (sandbox, connector):
        adapter = connector()
        first, second = po(("614907", 1, "1.16")), po(("614907", 1, "1.16"))
        numbers = [(await adapter.place(o, key=o.number)).vendor_order_no or "" for o in (first, second)]
        assert (await adapter.cancel(numbers[0], first)).status is ACCEPTED
        assert (await adapter.cancel(numbers[0], first)).status is ACCEPTED  # 3203: it is cancelled already
        assert sandbox.living(first.number) == 0 and sandbox.products["614907"]["stock"] == 39
        sandbox.ship(int(numbers[1]), ("JDVA1", "京东快递"))
        refused = await adapter.cancel(numbers[1], second)
        assert refused.status is REFUSED and "3204" in (refused.reason or "") and sandbox.living(second.number) == 1
        for nobody in ("4711", "x", ""):
            assert (await adapter.cancel(nobody, first)).status is REFUSED


async def test_a_cancellation_that_jd_has_not_decided_is_pending() -> None:
    async with jd() as (sandbox, connector):
        order = po(("614907", 1, "1.16"))
        number = (await connector().place(order, key=order.number)).vendor_order_no or ""
        sandbox.refuse["order/cancel"] = {"success": True, "resultCode": "0000", "result": True}
        assert (await connector().cancel(number, order)).status is PENDING
        sandbox.drop(int(number))
        assert (await connector().cancel(number, order)).status is ACCEPTED


async def test_goods_are_kept_without_being_bought_and_a_lost_answer_is_found_again() -> None:
    async with jd() as (sandbox, connector):
        order = po(("614907", 4, "1.16"))
        sandbox.lose_at = {"order/submitOrder"}
        with pytest.raises(Retry):
            await connector().hold_stock(order, key=order.number)
        assert (await connector().hold_stock(order, key=order.number)).held
        assert (sandbox.held(order.number), calls(sandbox, "order/confirmOrder")) == (1, 0)
        assert (await connector().place(order, key=order.number)).status is ACCEPTED
        assert (sandbox.held(order.number), sandbox.living(order.number)) == (0, 1)
        late = await connector().hold_stock(order, key=order.number)
        assert not late.held and "placed" in (late.reason or "")
        many = po(("614907", 400, "1.16"))
        refused = await connector().hold_stock(many, key=many.number)
        assert (refused.held, refused.gone, refused.gone_skus) == (False, True, ("614907",))
