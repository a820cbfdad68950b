"""What the contract kit needs to try the JD VOP connector, and what each documented payload must come out as."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import orjson

from connectors import base, manifest
from connectors.base import Adapter as AnyAdapter
from connectors.calling import OutOfStock, Refused
from connectors.contracts import OrderUpdate, PurchaseOrder, ShipmentStatus
from connectors.jd_vop.adapter import Adapter
from connectors.jd_vop.sandbox import VopSandbox
from connectors.jd_vop.vop import Session
from connectors.kit import FixtureCheck, SystemKit, example_order
from connectors.sandbox_kit import Faults, Sandbox
from connectors.tokens import Fetched
from hub.kernel.errors import HubError, NotFound, Retry


class Kit(SystemKit):
    """The kit of JD VOP."""

    unknown_order = "133724049999"

    def sandbox(self, faults: Faults) -> Sandbox:
        """Thirty products in two pools that share one, one off the shelf and one without a price."""
        products: list[dict[str, Any]] = [
            {
                "sku": str(1000 + n),
                "name": f"办公用品 {n}",
                "price": f"{10 + n}.50",
                "jd_price": f"{12 + n}.00",
                "stock": n,
            }
            for n in range(1, 31)
        ]
        products += [{"sku": "2001", "price": "5", "shelf": 0}, {"sku": "2002", "price": "-1"}]
        skus = [str(product["sku"]) for product in products]
        return VopSandbox(products, faults, pools={"100001": skus[:20], "100002": skus[19:]})

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        assert isinstance(sandbox, VopSandbox)
        return {**sandbox.settings(), "batch": 10, "stock_batch": 10}, sandbox.credentials()

    def purchase_order(self) -> PurchaseOrder:
        """Two lines that JD has."""
        return example_order("po_0190a5c2f00070008000000000000001", [("1005", 2, "15.50"), ("1010", 1, "20.50")])

    def refused_order(self) -> PurchaseOrder:
        """More than JD has."""
        return example_order("po_0190a5c2f00070008000000000000002", [("1005", 50, "15.50")])

    def put_messages(self, sandbox: Sandbox) -> None:
        """A price that moved and a shelf that was cleared."""
        assert isinstance(sandbox, VopSandbox)
        sandbox.tell(2, {"skuId": 1005})
        sandbox.tell(4, {"skuId": 2001, "page_num": "100001", "state": 0})

    def orders_at_vendor(self, sandbox: Sandbox, key: str) -> int:
        assert isinstance(sandbox, VopSandbox)
        return sandbox.living(key)

    def held_at_vendor(self, sandbox: Sandbox, key: str) -> int:
        assert isinstance(sandbox, VopSandbox)
        return sandbox.held(key)

    def order_request(self, sandbox: Sandbox, key: str) -> Any:
        assert isinstance(sandbox, VopSandbox)
        return sandbox.submitted[key]

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        """Payloads in the shapes that the SDKs document."""
        return {
            "access_token.json": _token,
            "get_page_num.json": _pools,
            "get_detail.json": _goods,
            "get_detail_book.json": _book,
            "get_sell_price.json": _prices,
            "get_new_stock_by_id.json": _stock,
            "submit_order.json": _submitted,
            "select_jd_order.json": _whole,
            "select_jd_order_split.json": _split,
            "order_track.json": _track,
            "messages.json": _messages,
            "duplicate_order.json": lambda a, raw: _fails(a, raw, Refused),
            "out_of_stock.json": lambda a, raw: _fails(a, raw, OutOfStock),
            "order_unknown.json": lambda a, raw: _fails(a, raw, NotFound),
            "service_error.json": lambda a, raw: _fails(a, raw, Retry),
        }


def _is(found: Any, wanted: Any) -> None:
    assert found == wanted, f"{found!r} instead of {wanted!r}"


async def _through(adapter: AnyAdapter, answers: Mapping[str, bytes]) -> Adapter:
    """A connector whose calls are answered with these payloads, and everything else with nothing known."""

    def jd(request: httpx.Request) -> httpx.Response:
        call = request.url.path.removeprefix("/").removeprefix("api/")
        nothing = b'{"success":false,"resultMessage":"-","resultCode":"0010","result":null}'
        body = answers.get(call, nothing)
        return httpx.Response(200, headers={"Content-Type": "application/json"}, content=body)

    http = httpx.AsyncClient(transport=httpx.MockTransport(jd))
    folder = manifest.HOME / "jd_vop"
    made = base.build(folder, adapter.config, adapter.secrets, http, connection_id=f"fixture-{id(http)}")
    assert isinstance(made, Adapter)

    async def given() -> Fetched:
        return Fetched(Session("a-token").text(), 3600)

    if "oauth2/accessToken" not in answers:
        await made.call.guard().purse.take(given)
    return made


async def _token(adapter: AnyAdapter, raw: bytes) -> None:
    jd = await _through(adapter, {"oauth2/accessToken": raw})
    session = Session.of((await jd._token()).value)
    _is(session, Session("aBcDeFgHiJkLmNoPqRsTuVwXy", "zYxWvUtSrQpOnMlKjIhGfEdCb", 1811216400.0))


async def _pools(adapter: AnyAdapter, raw: bytes) -> None:
    _is(await (await _through(adapter, {"product/getPageNum": raw}))._pools(), ["136000701", "5729"])


async def _looked(adapter: AnyAdapter, raw: bytes, sku: str, price: str) -> Any:
    state = orjson.dumps({"success": True, "resultCode": "0000", "result": [{"state": 1, "sku": int(sku)}]})
    cost = b'{"success":true,"resultCode":"0000","result":[{"skuId":%s,"price":%s,"jdPrice":-1}]}'
    answers = {
        "product/skuState": state,
        "price/getSellPrice": cost % (sku.encode(), price.encode()),
        "product/getDetail": raw,
    }
    jd = await _through(adapter, answers)
    mapped = jd.mapper.page((await jd.look([sku])).records)
    _is((mapped.bad, mapped.drift), ([], set()))
    [listing] = mapped.listings
    return listing


async def _goods(adapter: AnyAdapter, raw: bytes) -> None:
    listing = await _looked(adapter, raw, "1072238", "98.6")
    _is((listing.vendor_sku, listing.external_id, listing.family_id), ("1072238", "1072238", "100220033"))
    _is((listing.price, listing.market_price, listing.gtin), (Decimal("98.6"), None, "06901234567892"))
    _is(listing.image_url, "https://img13.360buyimg.com/n12/jfs/t1/15250/278/84695/17558/5a3b6474N4a944c60.jpg")
    _is((listing.brand, listing.description), ("示例电器", "双层防烫 全钢无缝"))
    _is((listing.attributes["UPC"], listing.attributes["售卖单位"]), ("6901234567892,1072238", "件"))


async def _book(adapter: AnyAdapter, raw: bytes) -> None:
    listing = await _looked(adapter, raw, "11483920", "21.3")
    _is((listing.price, listing.gtin, listing.brand), (Decimal("21.3"), "09787111122333", "示例出版社"))


async def _prices(adapter: AnyAdapter, raw: bytes) -> None:
    prices = await (await _through(adapter, {"price/getSellPrice": raw})).prices(["1072238", "614907", "7545792"])
    said = {sku: (price.contract, price.public) for sku, price in prices.items()}
    _is(
        said,
        {"1072238": (Decimal("98.6"), Decimal("119.0")), "614907": (None, None), "7545792": (Decimal("137.21"), None)},
    )


async def _stock(adapter: AnyAdapter, raw: bytes) -> None:
    """The result is a text, and remainNum says 3, -1 and the 101 that were asked for: none of it is a count."""
    jd = await _through(adapter, {"stock/getNewStockById": raw})
    _, states = await jd.stock({"1072238": 1}, "1_72_2799_0")
    _is(states, {"1072238": "33", "614907": "39", "7545792": "40", "5729524": "34", "186289": "36"})


async def _submitted(adapter: AnyAdapter, raw: bytes) -> None:
    """A documented answer to submitOrder is taken for what was ordered."""
    price = b'{"success":true,"resultCode":"0000","result":[{"skuId":100077,"price":14.75,"jdPrice":15}]}'
    areas = {"area/getProvince": {"上海": 2}, "area/getCity": {"黄浦区": 78}, "area/getCounty": {"城区": 51978}}
    answers = {name: orjson.dumps({"success": True, "result": names}) for name, names in areas.items()}
    answers |= {
        "price/getSellPrice": price,
        "order/submitOrder": raw,
        "order/confirmOrder": b'{"success":true,"resultMessage":"","resultCode":"0000","result":true}',
    }
    order = example_order("po_fixture", [("100077", 1, "14.75")])
    receipt = await (await _through(adapter, answers)).place(order, key=order.number)
    _is((receipt.status, receipt.vendor_order_no), ("accepted", "45531762489"))


async def _updates(adapter: AnyAdapter, order: bytes, number: str, track: bytes | None = None) -> list[OrderUpdate]:
    answers = {"order/selectJdOrder": order} | ({"order/orderTrack": track} if track else {})
    return list(await (await _through(adapter, answers)).track(number))


async def _whole(adapter: AnyAdapter, raw: bytes) -> None:
    [update] = await _updates(adapter, raw, "86403369569")
    _is((update.status, update.raw_status, update.tracking_no), (ShipmentStatus.DELIVERED, "state.1", None))


async def _split(adapter: AnyAdapter, raw: bytes) -> None:
    """Both children have arrived; JD names no parcels, so its own numbers stand for them."""
    updates = await _updates(adapter, raw, "82439393004")
    said = [(update.vendor_order_no, update.tracking_no, update.status) for update in updates]
    delivered = ShipmentStatus.DELIVERED
    _is(said, [("82439393004", "82439212677", delivered), ("82439393004", "82437660963", delivered)])


async def _track(adapter: AnyAdapter, raw: bytes) -> None:
    order = b'{"success":true,"resultCode":"0000","result":{"pOrder":0,"jdOrderId":45794690848,"orderState":1,'
    order += b'"submitState":1,"state":0,"jdOrderState":16,"type":2,"sku":[]}}'
    [update] = await _updates(adapter, order, "45794690848", raw)
    _is((update.status, update.tracking_no, update.carrier), (ShipmentStatus.SHIPPED, "JDVA00012345678", "京东快递"))
    _is(update.at, datetime(2016, 11, 29, 0, 13, 16, tzinfo=UTC))
    assert "13900000000" not in update.model_dump_json(), "a scan's text came along"


async def _messages(adapter: AnyAdapter, raw: bytes) -> None:
    jd = await _through(adapter, {"message/get": raw})
    batches = [batch async for batch in jd.messages()]
    _is([m.topic for batch in batches for m in batch], ["1", "2", "4", "5", "6", "10", "12", "15", "50", "109"])
    contents = [jd.parse_message(message.topic, message.body) for batch in batches for message in batch]
    orders = [update.status for content in contents for update in content.orders]
    _is(orders, ["delivered", "cancelled", "shipped", "cancelled"])  # nothing else is known of them: their own word


async def _fails(adapter: AnyAdapter, raw: bytes, kind: type[HubError]) -> None:
    try:
        await (await _through(adapter, {"order/submitOrder": raw})).act("api/order/submitOrder", {})
    except HubError as error:
        _is(type(error), kind)
        return
    raise AssertionError(f"{kind.__name__} was due")
