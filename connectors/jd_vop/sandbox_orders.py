"""The sandbox's order book: what is held and confirmed, split, sent, delivered and cancelled."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson

from connectors.jd_vop import shapes
from connectors.jd_vop.shapes import bad, good, stamp
from connectors.sandbox_kit import Faults, Sandbox
from hub.kernel import clock

Form = Mapping[str, str]


class KeepsOrders(Sandbox):
    """A sandbox with orders. `on_submit` is called when an order arrives, before it is looked at."""

    def __init__(self, faults: Faults | None) -> None:
        super().__init__(faults)
        self.products: dict[str, dict[str, Any]] = {}
        self.orders: dict[int, dict[str, Any]] = {}
        self.submitted: dict[str, dict[str, str]] = {}  # our number -> the form as it came
        self.on_submit: Callable[[], None] | None = None
        self.takes_for: dict[str, str] = {}  # SKU -> a price that JD takes it for, whatever it was told
        self.freight = 0
        self._ids = itertools.count(133724048100)

    @abstractmethod
    def tell(self, kind: int, result: Mapping[str, Any], at: datetime | None = None) -> int:
        """Put a message into the queue; its id."""

    def living(self, our_number: str) -> int:
        """How many living orders there are with our number."""
        return sum(o["third"] == our_number and o["orderState"] == 1 and not o["parent"] for o in self.orders.values())

    def held(self, our_number: str) -> int:
        """How many of them wait to be confirmed."""
        return sum(
            o["third"] == our_number and o["orderState"] == 1 and not o["submitState"] for o in self.orders.values()
        )

    def order_with(self, our_number: str) -> dict[str, Any]:
        """The living order with our number, else the last one that had it."""
        found = [o for o in self.orders.values() if o["third"] == our_number and not o["parent"]]
        return max(found, key=lambda order: (order["orderState"], order["id"]))

    def split(self, jd_order: int, *groups: Iterable[str]) -> list[int]:
        """JD splits an order into children with these SKUs each."""
        whole, children = self.orders[jd_order], []
        for group in groups:
            skus = set(map(int, group))
            child = {**whole, "id": next(self._ids), "parent": jd_order, "bills": [], "tracks": []}
            child["lines"] = [line for line in whole["lines"] if line["skuId"] in skus]
            self.orders[child["id"]] = child
            children.append(child["id"])
        self.tell(1, {"pOrder": jd_order})
        return children

    def ship(self, jd_order: int, *bills: tuple[str, str], at: datetime | None = None) -> None:
        """An order or child leaves the warehouse in these parcels (number, carrier)."""
        order, moment = self.orders[jd_order], stamp(at or clock.now())
        order |= {"jdOrderState": 16, "out": moment}
        order["bills"] = [
            {"orderId": jd_order, "parentId": order["parent"], "carrier": c, "deliveryOrderId": n} for n, c in bills
        ]
        order["tracks"].append({"content": "您的订单已出库", "msgTime": moment, "operator": "系统"})
        self.tell(12, {"orderId": jd_order})

    def deliver(self, jd_order: int, *, refused: bool = False, at: datetime | None = None) -> None:
        order, moment = self.orders[jd_order], stamp(at or clock.now())
        order |= {"state": 2 if refused else 1, "finished": moment}
        order["tracks"].append({"content": "配送员张三已送达 13900000000", "msgTime": moment, "operator": "张三"})
        self.tell(5, {"orderId": jd_order, "state": 2 if refused else 1})

    def drop(self, jd_order: int, kind: int = 10) -> None:
        """JD cancels an order or child by itself: 10 cancelled, 15 not paid or confirmed in time."""
        self.orders[jd_order]["orderState"] = 0
        self.tell(kind, {"orderId": jd_order, **({"cancelType": 2} if kind == 15 else {})})

    # Calls ----------------------------------------------------------------------------------------------------

    def _order_submitorder(self, form: Form) -> dict[str, Any]:
        if self.on_submit is not None:
            self.on_submit()
        third = form["thirdOrder"]
        if self.living(third):
            return bad("0008", "重复下单", self._taken(self.order_with(third)))
        asked = {str(entry["skuId"]): entry["num"] for entry in orjson.loads(form["sku"])}
        snap = {str(entry["skuId"]): entry["price"] for entry in orjson.loads(form["orderPriceSnap"])}
        for sku in asked:
            product = self.products.get(sku)
            if product is None or product.get("shelf", 1) == 0:
                return bad("3004", f"[{sku}]商品已下架，不能下单 ;")
            if product.get("barred"):
                return bad("3009", f"【{sku}】商品在该配送区域内受限;")
            if form["doOrderPriceMode"] == "1" and snap.get(sku) != float(str(product["price"])):
                return bad("3019", f"[{sku}]商品价格已变化")  # the code is this stand-in's own
        short = [sku for sku, num in asked.items() if self.products[sku].get("stock", 99) < num]
        if short:
            return bad("3008", "".join(f"编号为{sku}的商品无货;" for sku in short))
        for sku, num in asked.items():
            self.products[sku]["stock"] = self.products[sku].get("stock", 99) - num
        order: dict[str, Any] = {
            "id": next(self._ids), "third": third, "parent": 0,
            "orderState": 1, "submitState": int(form["submitState"]),
            "state": 0, "jdOrderState": 1, "freight": self.freight, "created": stamp(clock.now()), "finished": None,
            "out": None, "bills": [],
            "tracks": [{"content": "您提交了订单，请等待系统确认", "msgTime": stamp(clock.now()), "operator": "客户"}],
            "lines": [
                shapes.line_json(self.products[sku], num, self.takes_for.get(sku, str(self.products[sku]["price"])))
                for sku, num in asked.items()
            ],
        }  # fmt: skip
        self.orders[order["id"]] = order
        self.submitted[third] = dict(form)
        return good(self._taken(order), "0001", "下单成功！")

    @staticmethod
    def _taken(order: Mapping[str, Any]) -> dict[str, Any]:
        return {"jdOrderId": order["id"], **shapes.sums_json(order)}

    def _found(self, form: Form) -> dict[str, Any] | None:
        return self.orders.get(int(form["jdOrderId"]))

    def _order_confirmorder(self, form: Form) -> dict[str, Any]:
        order = self._found(form)
        if order is None:
            return bad("3401", f"{form['jdOrderId']}订单不存在")
        if not order["orderState"]:
            return bad("3202", "该订单已经被取消，不能确认")  # the code is this stand-in's own
        order["submitState"] = 1
        return good(True)

    def _order_cancel(self, form: Form) -> dict[str, Any]:
        order = self._found(form)
        if order is None:
            return bad("3401", f"{form['jdOrderId']}订单不存在")
        if not order["orderState"]:
            return bad("3203", "该订单已经被取消", False)
        if order["out"] or order["jdOrderState"] > 7:
            return bad("3204", "该订单已经生产，不能取消订单！", False)
        order["orderState"] = 0
        for line in order["lines"]:
            product = self.products[str(line["skuId"])]
            product["stock"] = product.get("stock", 99) + line["num"]
        return good(True, "0002", "取消订单成功")

    def _order_selectjdorderidbythirdorder(self, form: Form) -> dict[str, Any]:
        if not self.living(form["thirdOrder"]):
            return bad("3401", f"{form['thirdOrder']}订单不存在")
        return good(str(self.order_with(form["thirdOrder"])["id"]), message="")

    def _order_selectjdorder(self, form: Form) -> dict[str, Any]:
        order = self._found(form)
        if order is None:
            return bad("3401", f"{form['jdOrderId']}订单不存在")
        children = [child for child in self.orders.values() if child["parent"] == order["id"]]
        return good(shapes.parent_json(order, list(children)) if children else shapes.order_json(order), message="")

    def _order_ordertrack(self, form: Form) -> dict[str, Any]:
        order = self._found(form)
        if order is None or not order["tracks"]:
            return bad("3401", "该订单没有配送信息")
        made = {"jdOrderId": order["id"], "orderTrack": order["tracks"]}
        return good(made | ({"waybillCode": order["bills"]} if form.get("waybillCode") == "1" else {}))
