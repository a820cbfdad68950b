"""A stand-in for Ele.me's retail platform, written from what its SDKs say: one address, signed forms, 200 to
everything, fen, and items with specifications."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from connectors.sandbox_kit import ACTS, Faults, Sandbox

SOURCE = "61260"
SECRET = "sandbox-eleme-secret"  # noqa: S105 - the sandbox's own
SHOP = "shop-31"
MOST = 100


def item(n: int, **changed: Any) -> dict[str, Any]:
    """An item without specifications, as `sku.list` shows it."""
    made = {
        "sku_id": f"15397177050{n:05d}",
        "custom_sku_id": f"ELE-{n}",
        "name": f"苏打饼干 {n}",
        "upc": "6901234567892",
        "sale_price": 100 * n + 90,
        "market_price": 100 * n + 190,
        "left_num": n,
        "status": "1",
        "weight": "400",
        "shelf_number": "B-2",
        "photos": [{"is_master": 0, "url": "https://img.example/b.jpg"}, {"is_master": 1, "url": "https://img.example/a.jpg"}],
        "custom_cat_ids": "77",
        "custom_cat_list": [{"custom_cat_id": "77", "custom_cat_name": "饼干", "rank": 1}],
        "summary": "",
        "sku_spec": [],
    }  # fmt: skip
    return {**made, **changed}


class ElemeSandbox(Sandbox):
    """One shop."""

    def __init__(self, faults: Faults | None = None, *, items: list[dict[str, Any]] | None = None) -> None:
        super().__init__(faults)
        self.items = items if items is not None else [item(n) for n in range(1, 31)]
        self.lower = False  # the signature is wanted in lower-case letters
        self.answers: list[tuple[Any, Any]] = []  # (errno, error) that the next calls get
        self.access_token: str | None = None  # when set, every call must carry it
        self.asked: list[dict[str, str]] = []
        self._tickets: set[str] = set()

    def routes(self, app: web.Application) -> None:
        app.router.add_post("/", self._post)

    def denied(self) -> web.Response:
        """No public source tells the number of this error; its words do."""
        return _answer({}, -1, "签名错误")

    async def _post(self, request: web.Request) -> web.StreamResponse:
        request[ACTS] = False
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append(dict(form))
        sign = form.pop("sign", "")
        digest = signed(form, SECRET)
        if sign != (digest.lower() if self.lower else digest):
            return self.denied()
        if form["ticket"] in self._tickets:
            return _answer(form, -2, "ticket重复")
        self._tickets.add(form["ticket"])
        if self.access_token is not None and form.get("access_token") != self.access_token:
            return _answer(form, -3, "access_token无效")
        if self.answers:
            return _answer(form, *self.answers.pop(0))
        body = json.loads(form["body"])
        if form["cmd"] != "sku.list" or form["version"] != "3":
            return _answer(form, -4, "cmd错误")
        if SHOP not in (body.get("shop_id"), body.get("platform_shop_id")):
            return _answer(form, 10208, "缺少参数shop_id")
        return self._list(form, body)

    def _list(self, form: Mapping[str, str], body: Mapping[str, Any]) -> web.Response:
        size, page = body.get("pagesize", 20), body.get("page", 1)
        if not 1 <= size <= MOST:
            return _answer(form, -5, "pagesize错误")
        number = 1 if self.faults.repeat_page else page
        rows = [] if self.faults.drop_page == page else self.items[(number - 1) * size : number * size]
        total = len(self.items)
        return _answer(form, 0, "success", {"total": total, "page": page, "pages": -(-total // size), "list": rows})


def _answer(form: Mapping[str, str], errno: Any, error: Any, data: Any = None) -> web.Response:
    body = {"errno": errno, "error": error, **({"data": data} if data is not None else {})}
    kept = {name: form.get(name, "") for name in ("source", "ticket", "version", "timestamp", "encrypt")}
    return web.json_response({"cmd": f"resp.{form.get('cmd', '')}", **kept, "sign": "", "traceid": "1", "body": body})


def signed(form: Mapping[str, str], secret: str) -> str:
    """The signature as Ele.me checks it: fields and the secret in order of their names."""
    said = "&".join(f"{name}={value}" for name, value in sorted({**form, "secret": secret}.items()))
    return hashlib.md5(said.encode(), usedforsecurity=False).hexdigest().upper()
