"""What JD's answers look like, as far as the sandbox plays them. Field names follow the SDKs that README.md lists."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from connectors.signing import CHINA

# A little of JD's tree of areas: name -> (id, what is below). In the municipalities the districts are the second level.
TREE: dict[str, Any] = {
    "北京": (1, {"朝阳区": (72, {"三环以内": (2799, {}), "四环到五环之间": (2819, {})})}),
    "上海": (
        2,
        {"黄浦区": (78, {"城区": (51978, {})}), "浦东新区": (2830, {"城区": (51800, {}), "川沙新镇": (51801, {})})},
    ),
    "江苏": (
        12,
        {
            "南京市": (
                904,
                {
                    "雨花台区": (3379, {}),
                    "玄武区": (905, {"梅园新村街道": (50001, {}), "锁金村街道": (50002, {})}),
                },
            )
        },
    ),
}
CATEGORIES = {670: "电脑、办公", 729: "办公文具", 4837: "笔类", 1713: "图书", 3258: "文学", 3304: "小说"}


def stamp(at: datetime) -> str:
    """As JD writes times: Beijing's, without saying so."""
    return at.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")


def good(result: Any, code: str = "0000", message: str = "操作成功") -> dict[str, Any]:
    return {"success": True, "resultMessage": message, "resultCode": code, "result": result, "code": 200}


def bad(code: str, message: str, result: Any = None) -> dict[str, Any]:
    return {"success": False, "resultMessage": message, "resultCode": code, "result": result, "code": 200}


def detail_json(product: Mapping[str, Any]) -> dict[str, Any]:
    """getDetail of goods."""
    sku = int(product["sku"])
    return {
        "sku": sku,
        "name": product.get("name", f"商品 {sku}"),
        "brandName": product.get("brand", "示例"),
        "category": product.get("category", "670;729;4837"),
        "state": product.get("shelf", 1),
        "saleUnit": product.get("unit", "件"),
        "weight": "0.5",
        "productArea": "中国大陆",
        "wareQD": "商品×1",
        "imagePath": product.get("image", f"jfs/t1/{sku}/1.jpg"),
        "upc": product.get("upc", ""),
        "param": "<table></table>",
        "introduction": product.get("introduction", "<p>一段&nbsp;描述</p>"),
        "spuId": product.get("spu", sku),
        "isSelf": 1,
        "isJDLogistics": 1,
        "LowestBuy": "1",
        **product.get("more", {}),
    }


def price_json(product: Mapping[str, Any]) -> dict[str, Any]:
    """getSellPrice: JSON numbers; -1 where there is none."""
    price = Decimal(str(product.get("price", -1)))
    return {
        "skuId": int(product["sku"]),
        "price": float(price) if price > 0 else -1,
        "jdPrice": float(Decimal(str(product.get("jd_price", price)))),
        "tax": 13,
        "taxPrice": 0.1,
        "nakedPrice": 0.9,
    }


def line_json(product: Mapping[str, Any], num: int, price: str) -> dict[str, Any]:
    return {
        "skuId": int(product["sku"]), "num": num, "category": 4837, "price": float(price),
        "name": product.get("name", ""), "tax": 13, "taxPrice": 0.1, "nakedPrice": 0.9, "type": 0, "oid": 0,
    }  # fmt: skip


def order_json(order: Mapping[str, Any]) -> dict[str, Any]:
    """One order, or one child, of selectJdOrder."""
    return {
        "pOrder": order["parent"],
        "jdOrderId": order["id"],
        "orderState": order["orderState"],
        "submitState": order["submitState"],
        "state": order["state"],
        "jdOrderState": order["jdOrderState"],
        "createOrderTime": order["created"],
        "finishTime": order["finished"],
        "outTime": order["out"],
        "type": 2,
        **sums_json(order),
    }


def parent_json(order: Mapping[str, Any], children: list[Mapping[str, Any]]) -> dict[str, Any]:
    """A split order of selectJdOrder."""
    return {
        "pOrder": {"jdOrderId": order["id"], **sums_json(order)},
        "cOrder": [order_json(child) for child in children],
        "orderState": order["orderState"],
        "submitState": order["submitState"],
        "jdOrderState": order["jdOrderState"],
        "type": 1,
    }


def sums_json(order: Mapping[str, Any]) -> dict[str, Any]:
    total = sum(Decimal(str(line["price"])) * line["num"] for line in order["lines"])
    return {
        "sku": order["lines"], "freight": order["freight"], "orderPrice": float(total),
        "orderNakedPrice": float(total), "orderTaxPrice": 0.0,
    }  # fmt: skip
