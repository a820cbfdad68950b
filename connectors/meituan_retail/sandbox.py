"""A stand-in for Meituan's open platform, written from what its SDKs say: signed calls, 200 to everything, offsets that
are read as pages, products whose SKUs may come as text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from connectors.sandbox_kit import Faults, Sandbox

APP_ID = "4711"
APP_SECRET = "sandbox-app-secret-99"  # noqa: S105 - the sandbox's own
POI = "31号测试店"
MOST = 200


def product(n: int, **changed: Any) -> dict[str, Any]:
    """A product of one SKU, as `retail/list` shows it."""
    made = {
        "app_poi_code": POI,
        "app_spu_code": f"SPU-{n}",
        "name": f"酸奶 {n}",
        "description": "冷藏",
        "category_name": "乳品,早餐",
        "category_code": "11,12",
        "picture": f"https://p.example/{n}.jpg,https://p.example/{n}b.jpg",
        "is_sold_out": 0,
        "price": 5.5 + n,
        "min_order_count": 1,
        "unit": "盒",
        "sequence": n,
        "ctime": 1669000000,
        "utime": 1669000000,
        "skus": [
            {
                "sku_id": f"SKU-{n}", "spec": "200g", "upc": "6901234567892", "price": f"{5 + n}.50",
                "stock": "" if n % 9 == 0 else str(n), "weight": 200, "location_code": "A-1", "unit": "盒",
            }
        ],
    }  # fmt: skip
    return {**made, **changed}


def medicine(n: int, **changed: Any) -> dict[str, Any]:
    """A medicine, as `medicine/list` shows it."""
    made = {
        "app_medicine_code": f"MED-{n}",
        "name": f"感冒灵颗粒 {n}",
        "upc": "6901234567892",
        "medicine_no": f"国药准字Z4402{n:04d}",
        "spec": "10g*9袋",
        "price": 12.8 + n,
        "stock": "" if n % 9 == 0 else n,
        "category_code": "90",
        "category_name": "感冒用药",
        "is_sold_out": 0,
        "sequence": n,
        "ctime": 1669000000,
        "utime": 1669000000,
        "medicine_type": 1,
    }
    return {**made, **changed}


class MeituanSandbox(Sandbox):
    """One store with a shelf of goods and one of medicines."""

    def __init__(
        self,
        faults: Faults | None = None,
        *,
        goods: list[dict[str, Any]] | None = None,
        medicines: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(faults)
        self.goods = goods if goods is not None else [product(n) for n in range(1, 31)]
        self.medicines = medicines if medicines is not None else [medicine(n) for n in range(1, 31)]
        self.as_text = False  # SKUs come as JSON text
        self.hide_on_page = 0  # one row of this page is left out of the answer, and still counted
        self.errors: list[tuple[int, str]] = []  # (code, msg) that the next calls get
        self.access_token: str | None = None  # when set, every call must carry it
        self.asked: list[dict[str, str]] = []

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/api/v1/retail/list", self._retail)
        app.router.add_get("/api/v1/medicine/list", self._medicine)

    def denied(self) -> web.Response:
        """Meituan says 200 to a wrong signature too."""
        return error(703, "签名验证错误")

    def _refused(self, request: web.Request) -> web.Response | None:
        query = dict(request.query)
        self.asked.append(query)
        if query.get("app_id") != APP_ID:
            return error(702, "app_id不存在")
        url = f"http://{request.host}{request.path}"
        if query.pop("sig", None) != signed(url, query, APP_SECRET):
            return self.denied()
        if self.access_token is not None and query.get("access_token") != self.access_token:
            return error(4001, "用户token已过期，需重新获取")
        if query.get("app_poi_code") != POI:
            return error(803, "不存在此门店")
        return error(*self.errors.pop(0)) if self.errors else None

    async def _retail(self, request: web.Request) -> web.StreamResponse:
        return self._refused(request) or self._page(request, self.goods)

    async def _medicine(self, request: web.Request) -> web.StreamResponse:
        return self._refused(request) or self._page(request, self.medicines)

    def _page(self, request: web.Request, shelf: list[dict[str, Any]]) -> web.Response:
        offset, limit = request.query.get("offset", ""), request.query.get("limit", "")
        if not offset.isdigit() or not limit.isdigit() or not 1 <= int(limit) <= MOST:
            return error(705, "参数格式错误")
        number = 1 if self.faults.repeat_page else int(offset) // int(limit) + 1
        rows = shelf[(number - 1) * int(limit) : number * int(limit)]
        if self.faults.drop_page == number:
            rows = []
        if self.hide_on_page == number:
            rows = rows[1:]
        if self.as_text:
            rows = [{**r, "skus": json.dumps(r["skus"], ensure_ascii=False)} if "skus" in r else r for r in rows]
        return web.json_response({"data": rows, "extra_info": {"total_count": len(shelf)}})


def error(code: int, message: str) -> web.Response:
    return web.json_response({"data": "ng", "error": {"code": code, "msg": message}})


def signed(url: str, params: Mapping[str, str], secret: str) -> str:
    """The signature as Meituan checks it: parameters in order, as they are and not as they are escaped."""
    said = "&".join(f"{name}={value}" for name, value in sorted(params.items()))
    return hashlib.md5(f"{url}?{said}{secret}".encode(), usedforsecurity=False).hexdigest()
