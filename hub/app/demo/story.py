"""The demo's acts, each over the hub's own HTTP surface: vendors are pulled, prices checked, products searched, orders
placed while stock moves, parcels delivered, and the figures read back. Nothing here writes to the database."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hub.app.assortment import CLINIC, EXPERIENCES, GROCERY, PHARMACY, REFERENCE, SHOP, story
from hub.app.demo.report import FriendRow, SearchRow
from hub.app.demo.scene import Refused, Role, Scene, until

SHIP_TO = {
    "name": "李伟", "phone": "13812341234", "province": "上海市", "city": "上海市", "district": "黄浦区",
    "address": "中山东一路1号", "postcode": "200002",
}  # fmt: skip
QUERIES = ("口罩", "KN95 口罩", "布洛芬", "milk", "体检 上海", "洁牙", "露营", "massage", "rice cooker", "牙膏")
SCARCE_UNITS = 10
SCARCE_RIVALS = 30
OPEN = {"placed", "cancelling"}


@dataclass
class Played:
    """What happened, for the report and for the acts that follow."""

    pulls: list[dict[str, Any]] = field(default_factory=list)
    searches: list[SearchRow] = field(default_factory=list)
    orders: list[dict[str, Any]] = field(default_factory=list)
    refused_at_once: list[Refused] = field(default_factory=list)
    scarce_sold: int = 0
    friends: list[FriendRow] = field(default_factory=list)
    friends_told_apart: bool = False
    late_order: str = ""
    kept: dict[str, bool] = field(default_factory=dict)  # promises that an act has looked at itself
    seconds: dict[str, float] = field(default_factory=dict)


async def product_by_gtin(role: Role, gtin: str) -> dict[str, Any]:
    """The one product with this GTIN."""
    found = await role.post("/v1/products/lookup", {"gtins": [gtin]})
    item: dict[str, Any] = found["items"][0]
    return item


async def order(
    mall: Role, lines: list[dict[str, Any]], *, number: str = "", mode: str = "place", key: str = ""
) -> dict[str, Any]:
    """Place one order; raises Refused when the hub refuses it."""
    number = number or f"D{uuid.uuid4().hex[:12]}"
    body = {"mall_order_no": number, "mode": mode, "ship_to": SHIP_TO, "lines": lines}
    made: dict[str, Any] = await mall.post("/v1/orders", body, Idempotency_Key=key or number)
    return made


async def act_pull(stage: Scene, played: Played) -> None:
    """Every vendor is connected and pulled over real HTTP by the workers; the reference shop comes last, so that its
    rows find the products they price."""
    await stage.connect()
    started = time.perf_counter()
    supply = [name for name in stage.connections if name != REFERENCE]
    played.pulls = await stage.pull(*supply)
    played.seconds["pulling vendors"] = time.perf_counter() - started
    played.pulls += await stage.pull(REFERENCE)


async def act_pull_again(stage: Scene, played: Played) -> None:
    """A second sweep: nearly all rows are unchanged, and each vendor's new count takes over what our accepted orders
    still held on the shelf."""
    started = time.perf_counter()
    await stage.pull()
    played.seconds["second sweep"] = time.perf_counter() - started


def spent(run: dict[str, Any]) -> float:
    """Seconds that a pull took."""
    ended = datetime.fromisoformat(run["finished_at"])
    return (ended - datetime.fromisoformat(run["started_at"])).total_seconds()


async def act_match(stage: Scene, played: Played) -> None:
    """A corner shop brings three things without barcodes: one that is in the catalogue in other words, and two false
    friends (a six-pack beside the single, a bottle of another size). Each is held against the catalogue."""
    started = time.perf_counter()
    made = await stage.staff.post("/v1/vendors", {"name": story.CORNER})
    stage.vendor_ids[story.CORNER] = made["id"]
    corner = await stage.vendor(story.CORNER)
    shelf = [
        {"sku": sku, "title": title, "price": price, "on_hand": 0}
        for sku, title, price, _gtin, _same in story.CORNER_SHELF
    ]
    await corner.post("/v1/vendor/listings", {"listings": shelf})
    await until(lambda: _all_compared(stage), "the comparison of new listings with the catalogue", timeout_s=300)
    vendor = f"vnd_{made['id']}"
    pairs = []
    for status in ("matched", "refused", "open"):
        pairs += await stage.staff.pages("/v1/matches", cursor="cursor", status=status, vendor=vendor)
    right, refused = [], 0
    for sku, title, _price, gtin, same in story.CORNER_SHELF:
        mine = [p for p in pairs if sku in (p["left"]["vendor_sku"], p["right"]["vendor_sku"])]
        looked_like = (await product_by_gtin(stage.staff, gtin))["title"]
        joined = any(pair["together"] for pair in mine)
        said = [f for pair in mine for f in pair["agreeing" if joined else "conflicts"]]
        because = (
            f"{said[0]['field_zh']} {said[0]['field_en']}: {said[0]['left']} / {said[0]['right']}" if said else "-"
        )
        played.friends.append(FriendRow(listing=title, product=looked_like, joined=joined, because=because))
        right.append(joined is same)
        refused += not same and any(pair["conflicts"] for pair in mine)
    played.friends_told_apart = all(right) and refused > 0  # what is not even alike enough is compared with nobody
    played.seconds["matching without barcodes"] = time.perf_counter() - started


async def _all_compared(stage: Scene) -> bool:
    page = await stage.staff.get("/v1/matches", limit=1)
    vendor = f"vnd_{stage.vendor_ids[story.CORNER]}"
    seen = [
        await stage.staff.get("/v1/matches", status=status, vendor=vendor) for status in ("matched", "refused", "open")
    ]
    return page["waiting"] == 0 and sum(len(each["items"]) for each in seen) >= len(story.CORNER_SHELF)


async def act_search(mall: Role, played: Played) -> None:
    """Searches as a mall's front end makes them, in Chinese and English; the second of two is timed."""
    for query in QUERIES:
        await mall.get("/v1/products", q=query, limit=20)
        started = time.perf_counter()
        page = await mall.get("/v1/products", q=query, limit=20, facets=1)
        spent = (time.perf_counter() - started) * 1000
        first = page["items"][0]["title"] if page["items"] else "(none)"
        played.searches.append(
            SearchRow(query=query, hits=page.get("total") or len(page["items"]), first=first, milliseconds=spent)
        )


async def act_order(stage: Scene, malls: list[Role], played: Played) -> None:
    """A morning of orders: ordinary ones, split ones, a booked slot, vouchers, a refused line with and without a
    back-up, and thirty people after the last ten of one thing; all while a vendor pushes stock."""
    started = time.perf_counter()
    first, second = malls
    await stage.play("webhooks", vendor=SHOP, url=f"{stage.hub.base_url}/v1/push/{stage.connections[SHOP]}")
    for gtin in story.REFUSED_BY_GROCERY:  # gone at the vendor, without a word to us
        await stage.play("stock", vendor=GROCERY, gtin=gtin, on_hand=0, announce=False)
    scarce = await product_by_gtin(first, story.SCARCE)
    await stage.play("stock", vendor=SHOP, gtin=story.SCARCE, on_hand=SCARCE_UNITS, announce=True)
    await until(lambda: _available(first, scarce["id"], SCARCE_UNITS), "the pushed stock of the scarce item")

    pushing = asyncio.create_task(_push_stock(stage))
    late = await order(first, [{"product_id": (await product_by_gtin(first, story.LATE))["id"], "qty": 1}])
    played.late_order = late["id"]
    played.orders.append(late)
    await asyncio.gather(
        _ordinary(stage, malls, played),
        _refused_lines(first, played),
        _contend(second, scarce["id"], played),
        _special(stage, first, played),
    )
    pushing.cancel()
    await asyncio.gather(pushing, return_exceptions=True)
    pharmacy = await stage.vendor(PHARMACY)
    await until(lambda: _answer_portal(pharmacy, malls), "every order's answer from its vendors", timeout_s=90)
    played.seconds["orders"] = time.perf_counter() - started
    refreshed = []
    for mall in malls:
        refreshed += await mall.pages("/v1/orders", limit=200)
    played.orders = refreshed


async def _available(mall: Role, product_id: str, units: int) -> bool:
    product = await mall.get(f"/v1/products/{product_id}")
    return bool(product["available"] == units)


async def _push_stock(stage: Scene) -> None:
    """The shop's counts move while orders run, and each move is a signed webhook."""
    round_ = 0
    while True:
        round_ += 1
        await stage.play("shuffle_stock", vendor=SHOP, seed=round_, count=12)
        await asyncio.sleep(0.15)


async def _ordinary(stage: Scene, malls: list[Role], played: Played) -> None:
    """Two kinds of orders: one product, and a basket whose cheapest offers lie with different vendors."""
    goods: list[dict[str, Any]] = []
    for query in ("口罩", "牛奶", "洗衣液", "维生素", "大米", "牙膏", "纸巾"):
        page = await malls[0].get("/v1/products", q=query, kind="goods", in_stock="true", limit=20)
        goods += [item for item in page["items"] if (item["available"] or 0) >= 20]
    forced = {story.LATE, story.SCARCE, story.CONTENDED, *story.REFUSED_BY_GROCERY}
    goods = [item for item in goods if (item["gtin"] or "").lstrip("0") not in forced]
    gate = asyncio.Semaphore(6)

    async def one(number: int) -> None:
        mall = malls[number % len(malls)]
        picks = goods[number % len(goods) :: max(1, len(goods) // 3)][: 1 + number % 3]
        lines = [{"product_id": item["id"], "qty": 1 + number % 2} for item in picks]
        async with gate:
            try:
                played.orders.append(await order(mall, lines))
            except Refused as refused:
                played.refused_at_once.append(refused)

    await asyncio.gather(*(one(number) for number in range(40)))


async def _refused_lines(mall: Role, played: Played) -> None:
    for gtin in story.REFUSED_BY_GROCERY:
        product = await product_by_gtin(mall, gtin)
        played.orders.append(await order(mall, [{"product_id": product["id"], "qty": 2}]))


async def _contend(mall: Role, product_id: str, played: Played) -> None:
    """Thirty people put one each of the last ten into their baskets; those who got one buy it. (Bought at once, the
    shop would count it off while others still order, and its stamps tell seconds only: for the rest of that second
    the hub cannot know whether a count includes the order, and shows one too few rather than sell one too many.)"""

    async def one() -> None:
        try:
            held = await order(mall, [{"product_id": product_id, "qty": 1}], mode="reserve")
            played.scarce_sold += 1
        except Refused as refused:
            if refused.code != "out_of_stock":
                raise
            played.refused_at_once.append(refused)
        else:
            holders.append(held["id"])

    holders: list[str] = []
    await asyncio.gather(*(one() for _ in range(SCARCE_RIVALS)))
    played.orders += [await mall.post(f"/v1/orders/{holder}/confirm") for holder in holders]


async def _special(stage: Scene, mall: Role, played: Played) -> None:
    """A clinic slot, vouchers, a reservation that is confirmed and one that is cancelled."""
    clinics = await mall.get("/v1/clinics", city="上海", limit=20)
    for clinic in clinics["items"][:6]:
        slots = await mall.get(f"/v1/clinics/{clinic['id']}/slots", limit=5)
        if slots["items"]:
            played.orders.append(await order(mall, [{"slot_id": slots["items"][0]["id"]}]))
    page = await mall.get("/v1/products", kind="experience", in_stock="true", limit=4)
    vouchers = [{"product_id": item["id"], "qty": 1} for item in page["items"]]
    reserved = await order(mall, vouchers[:2], mode="reserve")
    played.orders.append(await mall.post(f"/v1/orders/{reserved['id']}/confirm"))
    dropped = await order(mall, vouchers[2:], mode="reserve")
    played.orders.append(await mall.post(f"/v1/orders/{dropped['id']}/cancel"))


async def _answer_portal(pharmacy: Role, malls: list[Role]) -> bool:
    """The pharmacy reads its orders in the portal and accepts them; true when no order waits for a vendor."""
    for po in await pharmacy.pages("/v1/vendor/orders", limit=200):
        if po["status"] == "awaiting_vendor":
            await pharmacy.post(f"/v1/vendor/orders/{po['id']}/accept", {"vendor_order_no": f"SH-{po['number']}"})
    statuses = set()
    for mall in malls:
        statuses |= {each["status"] for each in await mall.pages("/v1/orders", limit=200)}
    return not OPEN & statuses


async def act_deliver(stage: Scene, malls: list[Role], played: Played) -> None:
    """Vendors ship, the carrier scans, most parcels arrive the next day and one after three and a half."""
    started = time.perf_counter()
    sent: dict[str, str] = {}  # tracking number -> purchase order
    late_order = await malls[0].get(f"/v1/orders/{played.late_order}")
    late_pos = {po["id"] for po in late_order["purchase_orders"]}
    await stage.move_clock(hours=2)
    for key in (SHOP, GROCERY, PHARMACY, EXPERIENCES, CLINIC):
        vendor = await stage.vendor(key)
        for po in await vendor.pages("/v1/vendor/orders", limit=200):
            if po["status"] != "accepted" or po["lines"][0].get("slot_ref") or key in (EXPERIENCES, CLINIC):
                continue
            number = f"SF{po['number']}"
            parcels = [
                {
                    "carrier": "sf",
                    "tracking_no": number,
                    "lines": [{"line_no": line["line_no"], "quantity": line["qty"]} for line in po["lines"]],
                }
            ]
            await vendor.post(f"/v1/vendor/orders/{po['id']}/ship", {"parcels": parcels})
            sent[number] = po["id"]
    late = {number for number, po_id in sent.items() if po_id in late_pos}
    await _scan(stage, list(sent), "in_transit", "上海转运中心")
    await stage.move_clock(hours=24)
    await _scan(stage, [number for number in sent if number not in late], "delivered", "上海")
    await stage.move_clock(hours=54)  # 80 hours after the first orders
    await _scan(stage, sorted(late), "delivered", "上海")
    await stage.move_clock(hours=24)
    played.seconds["delivery (clock moved)"] = time.perf_counter() - started


async def _scan(stage: Scene, numbers: list[str], status: str, place: str) -> None:
    at: datetime = stage.now() - timedelta(minutes=1)
    events = [
        {"carrier": "sf", "tracking_no": number, "status": status, "event_at": at.isoformat(), "place": place}
        for number in numbers
    ]
    for start in range(0, len(events), 100):
        answer = await stage.staff.post("/v1/tracking-events", {"events": events[start : start + 100]})
        unhappy = [result for result in answer["results"] if result["result"] != "applied"]
        if unhappy:
            raise Refused(f"carrier scans were refused: {unhappy[0]}")
