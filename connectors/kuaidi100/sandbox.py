"""A stand-in for Kuaidi100, written from its documentation: it checks keys and signatures, knows some parcels, follows
what it is told to, and calls back with everything it knows of a parcel, newest scan first."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from connectors.sandbox_kit import ACTS, Delivery, Faults, Sandbox

CUSTOMER, KEY, SALT = "CUSTOMER0123456789", "sandbox-key-aBcDeF", "sandbox-salt-0123"
WITHOUT_PHONE = ("shunfeng", "shunfengkuaiyun", "zhongtong", "fengwang")  # these tell nothing without a phone number
PHONE = "13900001111"
COMPANIES = ("yuantong", "zhongtong", "yunda", "shentong", "shunfeng", "jd", "ems", "jtexpress", "debangkuaidi")
_NAMES = {
    "1": "揽收", "103": "已揽收", "0": "在途", "1002": "干线", "5": "派件", "501": "投柜或驿站",
    "3": "签收", "301": "本人签收",
    "2": "疑难", "4": "退签", "6": "退回", "14": "拒签", "203": "拒收",
}  # fmt: skip


class KuaidiSandbox(Sandbox):
    """The server. Scans are told with `scan`; `callback` is what it would send now."""

    def __init__(self, faults: Faults | None = None) -> None:
        super().__init__(faults)
        self.parcels: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.followed: dict[tuple[str, str], dict[str, Any]] = {}
        self.asked = 0  # queries answered

    def routes(self, app: web.Application) -> None:
        app.router.add_post("/poll", self._poll)
        app.router.add_post("/poll/query.do", self._query)

    def scan(self, company: str, number: str, at: str, code: str, text: str, area: str = "") -> None:
        """Something happened to a parcel, at a wall clock of China."""
        held = self.parcels.setdefault((company, number), [])
        held.append(
            {
                "time": at, "ftime": at, "context": text, "areaCode": None, "areaName": area or None,
                "statusCode": code, "status": _NAMES.get(code, "在途"), "location": "",
            }
        )  # fmt: skip

    def result(self, company: str, number: str) -> dict[str, Any]:
        """All that is known of a parcel, newest first."""
        scans = sorted(self.parcels.get((company, number), ()), key=lambda scan: scan["ftime"], reverse=True)
        state = scans[0]["statusCode"] if scans else "0"
        return {
            "message": "ok", "nu": number, "ischeck": "1" if state[:1] == "3" else "0", "condition": "00",
            "com": company,
            "status": "200", "state": state, "data": scans,
        }  # fmt: skip

    def callback(self, company: str, number: str, *, status: str = "", message: str = "", salt: str = SALT) -> Delivery:
        """The form that it would post to the callback address."""
        result = self.result(company, number)
        param = json.dumps(
            {
                "status": status or ("shutdown" if result["ischeck"] == "1" else "polling"), "billstatus": "",
                "message": message, "autoCheck": "0", "comOld": "", "comNew": "", "lastResult": result,
            },
            ensure_ascii=False,
        )  # fmt: skip
        form = urlencode({"sign": _md5(param + salt), "param": param})
        return Delivery({"Content-Type": "application/x-www-form-urlencoded"}, form.encode())

    async def _poll(self, request: web.Request) -> web.Response:
        form = await request.post()
        request[ACTS] = True
        try:
            param = json.loads(str(form.get("param", "")))
            company, number, parameters = param["company"], param["number"], param["parameters"]
        except (ValueError, KeyError, TypeError):
            return _answer(False, "700", "POLL:订阅数据有误")
        if param.get("key") != KEY:
            return _answer(False, "600", "您不是合法的订阅者")
        if not str(parameters.get("callbackurl", "")).startswith("http"):
            return _answer(False, "700", "POLL:错误的回调地址")
        if company not in COMPANIES and not (company == "" and parameters.get("autoCom") == "1"):
            return _answer(False, "700", f"POLL:不支持的快递公司：{company}")
        if company in WITHOUT_PHONE and parameters.get("phone") not in (PHONE, PHONE[-4:]):
            return _answer(False, "408", "快递公司参数异常：验证码错误")
        if (company, number) in self.followed:
            return _answer(False, "501", "POLL:重复订阅")
        self.followed[company, number] = parameters
        return _answer(True, "200", "提交成功")

    async def _query(self, request: web.Request) -> web.Response:
        form = await request.post()
        request[ACTS] = False
        param = str(form.get("param", ""))
        if form.get("customer") != CUSTOMER or form.get("sign") != _md5(param + KEY + CUSTOMER):
            return _answer(False, "503", "验证签名失败")
        asked = json.loads(param)
        if asked.get("com") not in COMPANIES:
            return _answer(False, "400", "找不到对应公司")
        if asked["com"] in WITHOUT_PHONE and asked.get("phone") not in (PHONE, PHONE[-4:]):
            return _answer(False, "408", "快递公司参数异常：验证码错误")
        self.asked += 1
        result = self.result(asked["com"], asked["num"])
        if not result["data"]:
            return _answer(False, "500", "查询无结果，请隔段时间再查")
        return web.json_response(result)


def _answer(result: bool, code: str, message: str) -> web.Response:
    return web.json_response({"result": result, "returnCode": code, "message": message})


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest().upper()
