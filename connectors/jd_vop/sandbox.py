"""A stand-in for JD VOP, written from the public SDKs that README.md lists.

It keeps the manners that matter: everything is a POST form answered with 200 and an envelope; tokens end and are
renewed; a pool's page may be empty; stock comes as a text that holds JSON, with a remainNum that cannot be believed;
orders are held, then confirmed; a second living order with one `thirdOrder` is refused with 0008; orders split into
children; messages come again until they are deleted."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson
from aiohttp import web

from connectors.jd_vop import shapes
from connectors.jd_vop.sandbox_orders import Form, KeepsOrders
from connectors.jd_vop.shapes import bad, good, stamp
from connectors.sandbox_kit import ACTS, Faults
from connectors.signing import CHINA
from hub.kernel import clock

_ACTING = frozenset({"order/confirmOrder", "order/cancel", "message/del"})  # submitOrder alone leads to nothing


class VopSandbox(KeepsOrders):
    """An account with these products, each a dict: sku, name, price (-1: none), jd_price, brand, category, upc, spu,
    stock (how many JD has), stock_state (told instead), shelf (1 or 0), more (further fields of getDetail). They are
    in one pool, or in `pools`: name -> SKUs.

    `lose_at` names calls (order/submitOrder) whose next answer is lost after they did what was asked. `on_submit` is
    called when an order arrives, before it is looked at."""

    def __init__(
        self,
        products: Iterable[Mapping[str, Any]],
        faults: Faults | None = None,
        *,
        pools: Mapping[str, Iterable[str]] | None = None,
        pool_page: int = 8,
        message_page: int = 3,
        token_life_s: int = 86_400,
    ) -> None:
        super().__init__(faults)
        self.client_id, self.client_secret = "sandbox-client", "sandbox-client-secret-77"
        self.username, self.password = "企业测试账号", "sandbox-password-42"
        self.products.update({str(p["sku"]): dict(p) for p in products})
        self.pools = {k: [str(s) for s in v] for k, v in (pools or {"100001": list(self.products)}).items()}
        self.pool_page, self.message_page, self.token_life_s = pool_page, message_page, token_life_s
        self.tree = shapes.TREE
        self.messages: list[dict[str, Any]] = []
        self.deleted: list[int] = []
        self.one_delete_a_call = False
        self.day_lists: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.lose_at: set[str] = set()
        self.refuse: dict[str, dict[str, Any]] = {}  # call -> the answer given instead
        self.logins = self.renewals = 0
        self._message_ids = itertools.count(3612991400)
        self._access: dict[str, datetime] = {}
        self._refresh: set[str] = set()

    def credentials(self) -> dict[str, str]:
        return {"client_secret": self.client_secret, "password": self.password}

    def settings(self) -> dict[str, Any]:
        """A connection's settings for this account."""
        return {
            "base_url": self.base_url, "client_id": self.client_id, "username": self.username, "area": "1_72_2799_0",
            "payment_type": "4", "invoice_type": "2", "invoice_phone": "02150000000", "company": "示例福利有限公司",
            "tax_no": "91310000MA1FL00000",
        }  # fmt: skip

    def routes(self, app: web.Application) -> None:
        app.router.add_post("/oauth2/accessToken", self._login)
        app.router.add_post("/oauth2/refreshToken", self._renew)
        app.router.add_post("/api/{group}/{call}", self._api)

    # JD's side ------------------------------------------------------------------------------------------------

    def end_tokens(self, *, renewable: bool = True) -> None:
        """All tokens given so far end now; without `renewable` they cannot be renewed either."""
        self._access.clear()
        if not renewable:
            self._refresh.clear()

    def tell(self, kind: int, result: Mapping[str, Any], at: datetime | None = None) -> int:
        """Put a message into the queue."""
        number = next(self._message_ids)
        self.messages.append({"id": number, "type": kind, "time": stamp(at or clock.now()), "result": dict(result)})
        return number

    # Tokens ---------------------------------------------------------------------------------------------------

    async def _login(self, request: web.Request) -> web.StreamResponse:
        request[ACTS] = False
        self.logins += 1
        form = {key: str(value) for key, value in (await request.post()).items()}
        password = hashlib.md5(self.password.encode()).hexdigest()  # noqa: S324 - JD's scheme
        text = "".join(
            (
                self.client_secret,
                form.get("timestamp", ""),
                self.client_id,
                self.username,
                password,
                "access_token",
                self.client_secret,
            )
        )
        right = form.get("sign") == hashlib.md5(text.encode()).hexdigest().upper()  # noqa: S324 - JD's scheme
        try:
            sent = datetime.fromisoformat(form.get("timestamp", "")).replace(tzinfo=CHINA)
        except ValueError:
            return _json(bad("1002", "timestamp 格式不正确"))
        if not right or form.get("password") != password or form.get("grant_type") != "access_token":
            return _json(bad("2001", "签名或账号错误"))
        if abs((sent - clock.now()).total_seconds()) > 1800:
            return _json(bad("1003", "timestamp 与京东服务器时间相差过大"))
        return _json(self._given())

    async def _renew(self, request: web.Request) -> web.StreamResponse:
        request[ACTS] = False
        self.renewals += 1
        form = await request.post()
        given = str(form.get("refresh_token"))
        if form.get("client_secret") != self.client_secret or given not in self._refresh:
            return _json(bad("2002", "refresh_token 无效"))
        self._refresh.discard(given)
        return _json(self._given())

    def _given(self) -> dict[str, Any]:
        now = clock.now()
        count = self.logins + self.renewals
        access, refresh = f"access-sandbox-{count:04d}-{id(self)}", f"refresh-sandbox-{count:04d}-{id(self)}"
        self._access[access] = now
        self._refresh.add(refresh)
        millis = int(now.timestamp() * 1000)
        return good(
            {
                "uid": "1", "access_token": access, "expires_in": self.token_life_s, "time": millis,
                "refresh_token": refresh, "refresh_token_expires": millis + 180 * 86_400_000,
            }
        )  # fmt: skip

    # Calls ----------------------------------------------------------------------------------------------------

    async def _api(self, request: web.Request) -> web.StreamResponse:
        call = f"{request.match_info['group']}/{request.match_info['call']}"
        request[ACTS] = call in _ACTING
        form = {key: str(value) for key, value in (await request.post()).items()}
        given = self._access.get(form.pop("token", ""))
        if given is None or (clock.now() - given).total_seconds() >= self.token_life_s:
            request[ACTS] = False
            return _json(bad("2007", "token已过期"))
        if call in self.refuse:
            return _json(self.refuse[call])
        answer = self._answer(call, form)
        if not answer["success"] and call != "order/cancel":
            request[ACTS] = False
        if call in self.lose_at:
            self.lose_at.discard(call)
            request[ACTS] = True
            self.faults.lose_answer += 1
        return _json(answer)

    def _answer(self, call: str, form: Form) -> dict[str, Any]:
        group, name = call.split("/")
        handler: Callable[[Form], dict[str, Any]] | None = getattr(self, f"_{group}_{name}".lower(), None)
        if group == "area":
            return self._area(name, form)
        if group == "checkOrder":
            return self._day(name, form)
        return handler(form) if handler is not None else bad("1001", f"没有接口 {call}")

    def _skus(self, text: str) -> list[dict[str, Any]]:
        return [self.products[sku] for sku in text.split(",") if sku in self.products]

    def _product_getpagenum(self, form: Form) -> dict[str, Any]:
        return good([{"name": f"商品池 {pool}", "page_num": pool} for pool in self.pools])

    def _product_getskubypage(self, form: Form) -> dict[str, Any]:
        held = self.pools.get(form["pageNum"])
        if held is None:
            return bad("0010", "pageNum不存在")
        page = 1 if self.faults.repeat_page else int(form.get("pageNo") or 1)
        part = held[(page - 1) * self.pool_page : page * self.pool_page]
        count = -(-len(held) // self.pool_page)
        return good({"pageCount": count, "skuIds": [] if page == self.faults.drop_page else [int(sku) for sku in part]})

    def _product_skustate(self, form: Form) -> dict[str, Any]:
        return good([{"state": p.get("shelf", 1), "sku": int(p["sku"])} for p in self._skus(form["sku"])])

    def _product_getdetail(self, form: Form) -> dict[str, Any]:
        product = self.products.get(form["sku"])
        if product is None or product.get("hidden"):
            return bad("3001", f"{form['sku']}商品不存在")
        return good(shapes.detail_json(product))

    def _product_getcategory(self, form: Form) -> dict[str, Any]:
        name = shapes.CATEGORIES.get(int(form["cid"]))
        if name is None:
            return bad("0010", "分类不存在")
        return good({"catId": int(form["cid"]), "parentId": 0, "name": name, "catClass": 2, "state": 1})

    def _price_getsellprice(self, form: Form) -> dict[str, Any]:
        if len(form["sku"].split(",")) > 100:
            return bad("1003", "最多查询100个商品")
        return good([shapes.price_json(p) for p in self._skus(form["sku"])])

    def _stock_getnewstockbyid(self, form: Form) -> dict[str, Any]:
        asked = orjson.loads(form["skuNums"])
        if len(asked) > 100:
            return bad("1003", "最多查询100个商品")
        found = []
        for entry in asked:
            product, num = self.products.get(str(entry["skuId"])), entry["num"]
            if product is None:
                continue
            stock = product.get("stock", 99)
            state = product.get("stock_state", 33 if stock >= num else 34)
            left = num if num > 100 else -1 if num >= 50 else min(stock, 50)  # capped, unknown, or an echo
            found.append(
                {
                    "skuId": entry["skuId"], "areaId": form["area"], "stockStateId": state,
                    "StockStateDesc": "有货" if state in (33, 39, 40) else "无货", "remainNum": left,
                }
            )  # fmt: skip
        return good(orjson.dumps(found).decode())

    # Areas ----------------------------------------------------------------------------------------------------

    def _area(self, name: str, form: Form) -> dict[str, Any]:
        if name == "getJDAddressFromAddress":
            found = self._read_address(form["address"])
            return good(found) if found else bad("3301", "地址解析失败")
        level = ("getProvince", "getCity", "getCounty", "getTown").index(name)
        below = self.tree if level == 0 else self._below(int(form["id"]), self.tree)
        if not below:
            return bad("0010", "没有下级地址")
        return good({area: held[0] for area, held in below.items()})

    def _below(self, area: int, tree: Mapping[str, Any]) -> Mapping[str, Any]:
        for number, below in tree.values():
            if number == area:
                return dict(below)
            found = self._below(area, below)
            if found:
                return found
        return {}

    def _read_address(self, text: str) -> dict[str, Any] | None:
        """JD's reader guesses: the district of which it finds most names, and the first of its street offices."""
        best: tuple[int, dict[str, Any]] | None = None
        for province, (p, cities) in self.tree.items():
            for city, (c, counties) in cities.items():
                for county, (d, towns) in counties.items():
                    found = sum(name in text for name in (city, county))
                    if province not in text or not found or (best is not None and found <= best[0]):
                        continue
                    town: Any = next(iter(towns.items()), (None, (None, {})))
                    best = found, {
                        "nationId": "4744", "nation": "中国", "provinceId": p, "province": province, "cityId": c,
                        "city": city, "countyId": d, "county": county, "townId": town[1][0], "town": town[0],
                    }  # fmt: skip
        return best[1] if best is not None else None

    # Messages and days ----------------------------------------------------------------------------------------

    def _message_get(self, form: Form) -> dict[str, Any]:
        kinds = set(map(int, form["type"].split(",")))
        return good([message for message in self.messages if message["type"] in kinds][: self.message_page])

    def _message_del(self, form: Form) -> dict[str, Any]:
        ids = form["id"].split(",")
        if self.one_delete_a_call and len(ids) > 1:
            return bad("1002", "id 格式不正确")
        self.deleted += map(int, ids)
        self.messages = [message for message in self.messages if str(message["id"]) not in ids]
        return good(True)

    def _day(self, name: str, form: Form) -> dict[str, Any]:
        held = sorted(self.day_lists.get((name, form["date"]), []), key=lambda row: -row["jdOrderId"])
        size = int(form["pageSize"])
        if "jdOrderIdIndex" in form:
            part = [row for row in held if row["jdOrderId"] < int(form["jdOrderIdIndex"])][:size]
        else:
            page = int(form["pageNo"])
            part = held[(page - 1) * size : page * size] if page * size <= 10_000 else []
        return good({"total": len(held), "totalPage": -(-len(held) // size), "curPage": 1, "orders": part})


def _json(answer: Mapping[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(answer), content_type="application/json", charset="UTF-8")
