"""A stand-in for both sides of a pool: a vendor's issuing API as connections describe them, and, where no database
runs, the hub's own table (`MemoryPool`, which the tests hold against the real one).

The vendor issues for an order once: the same key gets the same codes, whatever is asked. It has so many codes of each
article, can be asked what it issued, and takes back an order's codes while none was redeemed."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from aiohttp import web
from pydantic import SecretStr

from connectors.contracts import IssuedCode
from connectors.sandbox_kit import Faults, Sandbox
from connectors.vouchers import Held, NewCode, Pool, Want
from hub.kernel import clock
from hub.kernel.errors import Broken, NotFound

TOKEN = "tok_sandbox_24680"  # noqa: S105 - the sandbox's own


class MemoryPool(Pool):
    """A pool in memory."""

    def __init__(self, codes: Sequence[NewCode] = ()) -> None:
        super().__init__("memory")
        self._free = list(codes)
        self._orders: dict[str, list[tuple[int, NewCode]]] = {}
        self._shown: dict[str, datetime] = {}
        self.void: list[NewCode] = []

    def _good(self, sku: str | None, good_until: datetime) -> list[NewCode]:
        good = [
            code
            for code in self._free
            if sku in (None, code.sku) and (code.valid_until is None or code.valid_until >= good_until)
        ]
        return sorted(good, key=lambda code: (code.valid_until is None, code.valid_until or good_until, code.place))

    async def free(self, good_until: datetime) -> Mapping[str, int]:
        return Counter(code.sku for code in self._good(None, good_until))

    async def take(self, key: str, wants: Sequence[Want], good_until: datetime) -> Sequence[str]:
        if key in self._orders:
            return ()
        total: Counter[str] = Counter()
        for want in wants:
            total[want.sku] += want.count
        short = sorted(sku for sku, count in total.items() if len(self._good(sku, good_until)) < count)
        if short:
            return short
        held = []
        for want in wants:
            for code in self._good(want.sku, good_until)[: want.count]:
                self._free.remove(code)
                held.append((want.line_no, code))
        self._orders[key] = held
        return ()

    async def keep(self, key: str, issued: Sequence[tuple[int, NewCode]]) -> None:
        if key in self._orders:
            return
        known = {code.code for codes in self._orders.values() for _, code in codes} | {c.code for c in self._free}
        if known & {code.code for _, code in issued}:
            raise Broken("the vendor issued a code that it had issued before", code="code_issued_twice")
        self._orders[key] = list(issued)

    async def held(self, key: str) -> Held | None:
        codes = self._orders.get(key)
        return Held(len(codes), self._shown.get(key)) if codes else None

    async def show(self, key: str) -> Sequence[IssuedCode]:
        if key not in self._orders:
            raise NotFound("this order holds no codes", code="no_codes")
        self._shown.setdefault(key, clock.now())
        return [
            IssuedCode(
                line_no=line_no, code=SecretStr(code.code), pin=SecretStr(code.pin) if code.pin else None,
                valid_until=code.valid_until,
            )
            for line_no, code in self._orders[key]
        ]  # fmt: skip

    async def give_back(self, key: str, *, even_seen: bool, void: bool = False) -> bool:
        seen = key in self._shown
        if seen and not even_seen:
            return False
        codes = [code for _, code in self._orders.pop(key, [])]
        self._shown.pop(key, None)
        (self.void if seen or void else self._free).extend(codes)
        return True


class IssuingSandbox(Sandbox):
    """A vendor with `stock` codes of each article (`article` in its own words is our SKU)."""

    def __init__(self, stock: Mapping[str, int], faults: Faults | None = None) -> None:
        super().__init__(faults)
        self.stock = dict(stock)
        self.issued: dict[str, list[dict[str, Any]]] = {}
        self.requests: list[dict[str, Any]] = []
        self.redeemed: set[str] = set()  # keys of which a code was used
        self.pool = MemoryPool()  # the hub's table, where no database runs
        self._numbers = itertools.count(1)

    def living(self, key: str) -> int:
        """How many orders with this key the vendor holds."""
        return int(key in self.issued)

    def routes(self, app: web.Application) -> None:
        """Issue, ask, take back."""
        app.router.add_post("/v1/issues", self._issue)
        app.router.add_get("/v1/issues/{key}", self._ask)
        app.router.add_post("/v1/issues/{key}/cancel", self._cancel)

    def _denied(self, request: web.Request) -> bool:
        return request.headers.get("X-Api-Token") != TOKEN

    async def _issue(self, request: web.Request) -> web.StreamResponse:
        if self._denied(request):
            return self.denied()
        key = request.headers.get("Idempotency-Key", "")
        sent = json.loads(await request.read())
        if not key:
            return _said(400, "no_key", "send an Idempotency-Key")
        if key in self.issued:
            return web.json_response({"reference": key, "vouchers": self.issued[key]})
        self.requests.append(sent)
        wanted: Counter[str] = Counter()
        for item in sent["items"]:
            wanted[item["article"]] += item["quantity"]
        if any(self.stock.get(article, 0) < count for article, count in wanted.items()):
            return _said(409, "sold_out", "not enough vouchers")
        made = []
        for article, count in wanted.items():
            self.stock[article] -= count
            for _ in range(count):
                number = next(self._numbers)
                made.append(
                    {"article": article, "number": f"EXP-{number:08}", "secret": f"{number * 7919:06}"[-6:],
                     "expires": "2099-12-31"}
                )  # fmt: skip
        self.issued[key] = made
        return web.json_response({"reference": key, "vouchers": made}, status=201)

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        if self._denied(request):
            return self.denied()
        key = request.match_info["key"]
        if key not in self.issued:
            return _said(404, "unknown", "there is no such issue")
        return web.json_response({"reference": key, "vouchers": self.issued[key]})

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        if self._denied(request):
            return self.denied()
        key = request.match_info["key"]
        if key not in self.issued:
            return _said(404, "unknown", "there is no such issue")
        if key in self.redeemed:
            return _said(409, "redeemed", "a voucher of this issue was redeemed")
        for voucher in self.issued.pop(key):
            self.stock[voucher["article"]] += 1
        return web.json_response({"reference": key, "state": "cancelled"})


def _said(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status)
