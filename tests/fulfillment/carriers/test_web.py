"""Carriers over HTTP: payloads that staff bring, pushes of any signed system, questions, parcels that are followed."""

from __future__ import annotations

import gzip
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from connectors import api as connectors
from connectors import web as vendors
from connectors.carrier_push.sandbox import PREFIX, SIGNED_WITH, PusherSandbox
from fulfillment.carriers.api import follow_due
from fulfillment.carriers.documents import BYTES
from fulfillment.carriers_web import routes
from hub.kernel.db import Database, uow
from hub.kernel.web import application
from tests.fulfillment.carriers.conftest import Account, work
from tests.fulfillment.carriers.test_intake import NUMBER, china, rows, ship
from tests.fulfillment.conftest import Hand
from tests.fulfillment.kit import T0, Book, clock_of

Client = TestClient[Any, Any]
Headers = dict[str, str]
SHAPES = Path(__file__).parent / "shapes"


async def post(web: Client, path: str, headers: Headers, body: bytes | dict[str, Any]) -> Any:
    data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
    async with web.post("/v1" + path, data=data, headers={"Content-Type": "application/json", **headers}) as answer:
        return answer.status, await answer.json() if "json" in answer.content_type else await answer.text()


async def get(web: Client, path: str, headers: Headers) -> Any:
    async with web.get("/v1" + path, headers=headers) as answer:
        assert answer.status == 200
        return await answer.json()


async def test_a_payload_is_read_without_a_trace_or_recorded(
    book: Book, hand: Hand, web: Client, staff: Headers
) -> None:
    line = await ship(book, "aftership", "AB1234567890")
    hand.forward(hours=50)
    payload = {
        "tracking_number": "AB1234567890",
        "checkpoints": [
            {"checkpoint_time": (T0 + timedelta(hours=9)).isoformat(), "tag": "Delivered", "message": "Left at door"}
        ],
    }
    status, tried = await post(web, "/carriers/payloads?carrier=nobody&dry_run=true", staff, payload)
    assert status == 200 and tried["results"] == []
    assert await rows("fulfillment_tracking_events") == [] and await rows("fulfillment_carrier_payloads") == []
    [parcel] = tried["parcels"]
    assert (parcel["tracking_number"], parcel["status"], parcel["delivered"]) == ("AB1234567890", "delivered", True)
    [scan] = parcel["events"]
    assert (scan["status"], scan["code"], scan["description"]) == ("delivered", "Delivered", "Left at door")
    assert (scan["date"], scan["time"], scan["zone_from"]) == ("2026-05-01", "17:00:00", "payload")
    for outcome in ("applied", "duplicate"):
        status, done = await post(web, "/carriers/payloads?carrier=aftership", staff, payload)
        assert status == 200 and [result["result"] for result in done["results"]] == [outcome]
    assert (await clock_of(line))["delivered_at"] == T0 + timedelta(hours=9)
    audited = await rows("audit")
    assert [row["action"] for row in audited] == ["carrier.payload", "carrier.payload"]


async def test_whatever_is_brought_is_answered_with_the_reason(web: Client, staff: Headers, hand: Hand) -> None:
    for body, reason in (
        (b"", "neither JSON nor XML"), (b"{", "not JSON"), (b"<a>", "not XML"), (b"{}", "no scan"),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "no document type"), (b"[" * 60 + b"]" * 60, "nested"),
    ):  # fmt: skip
        status, told = await post(web, "/carriers/payloads?carrier=x", staff, body)
        assert status == 200 and reason in told["refused"][0]["reason"], (body, told)
    status, told = await post(web, "/carriers/payloads?carrier=x", staff, {"status": 404, "message": "no such parcel"})
    assert told["problems"] == [{"code": "404", "message": "no such parcel"}] and told["parcels"] == []
    for query in ("", "?carrier=", "?carrier=x&asked=", "?carrier=x&unknown=1"):
        assert (await post(web, "/carriers/payloads" + query, staff, {}))[0] == 422
    assert (await post(web, "/carriers/payloads?carrier=x", {}, {}))[0] == 401


async def test_a_signed_system_of_any_carrier_pushes(
    database: Database, book: Book, hand: Hand, web: Client, staff: Headers
) -> None:
    async with uow() as tx:
        vendor = await connectors.add_vendor(tx, "EasyPost")
        account = await connectors.add_connection(
            tx, vendor_id=vendor, connector="carrier_push", name="trackers",
            config={"carrier": "easypost", "prefix": PREFIX}, secrets={"secret": SIGNED_WITH},
        )  # fmt: skip
    line = await ship(book, "USPS", "9400100000000000000001")
    hand.forward(hours=60)
    raw = (Path(connectors.__file__).parent / "carrier_push" / "fixtures" / "easypost_event.json").read_bytes()
    signed = PusherSandbox.push(raw)
    where = f"/push/carriers/easypost?connection={account}"
    assert await post(web, where, signed.headers, raw) == (200, {"result": "landed"})
    assert (await post(web, where, signed.headers, raw + b" "))[0] == 401
    assert (await post(web, f"/push/carriers/usps?connection={account}", signed.headers, raw))[0] == 404
    await work()
    assert (await clock_of(line))["delivered_at"] is not None
    events = await rows("fulfillment_tracking_events")
    assert [(e["carrier"], e["status"], e["place"]) for e in events] == [
        ("usps", "pending", "HOUSTON, TX, 77063"), ("usps", "delivered", "CHARLESTON, SC, 29401"),
    ]  # fmt: skip
    [kept] = await rows("fulfillment_carrier_payloads")
    assert kept["outcome"]["scans"] == {"applied": 2}


async def test_a_question_says_what_it_came_to(
    book: Book, hand: Hand, account: Account, web: Client, staff: Headers
) -> None:
    line = await ship(book, "圆通", NUMBER)
    hand.forward(hours=40)
    account.sandbox.scan("yuantong", NUMBER, china(30), "3", "已签收")

    async def ask(carrier: str, number: str, connection: int | None = None, **more: str) -> Any:
        asked = {"connection_id": connection or account.id, "carrier": carrier, "tracking_no": number, **more}
        return await post(web, "/carriers/lookups", staff, asked)

    status, told = await ask("圆通速递", NUMBER)
    assert (status, told["outcome"]) == (200, "answered") and told["answer"]["parcels"][0]["delivered"]
    assert (await clock_of(line))["delivered_at"] == T0 + timedelta(hours=30)
    again = (await ask("圆通", NUMBER))[1]
    assert again["outcome"] == "asked_lately" and again["again_at"] is not None
    assert (await ask("圆通", "YT0000000000000"))[1]["outcome"] == "nothing_known"
    phone = (await ask("顺丰", "SF1234567890123"))[1]
    assert phone["outcome"] == "refused" and "set `phone`" in phone["detail"]
    assert (await ask("hermes", "H1234567890123"))[1]["outcome"] == "unsupported"
    assert (await ask("圆通", NUMBER, account.id + 9))[0] == 404
    audited = [(row["action"], row["facts"]["outcome"]) for row in await rows("audit")]
    assert audited == [
        ("carrier.lookup", outcome) for outcome in ("answered", "asked_lately", "nothing_known", "refused")
    ]
    account.sandbox.faults.throttle = 9
    account.sandbox.faults.retry_after_s = 900
    assert (await ask("韵达", "4312345678901"))[1]["outcome"] == "unavailable"
    assert (await ask("圆通", NUMBER, phone="not a number"))[0] == 422


async def test_parcels_that_are_not_followed_are_seen_and_asked_for_again(
    book: Book, hand: Hand, account: Account, web: Client, staff: Headers
) -> None:
    await ship(book, "顺丰", "SF1234567890123")
    await ship(book, "圆通", NUMBER)
    await follow_due()
    page = await get(web, "/carriers/follows?limit=1", staff)
    assert page["counts"] == {"phone_needed": 1, "followed": 1} and page["items"][0]["state"] == "followed"
    rest = await get(web, f"/carriers/follows?limit=1&cursor={page['next']}", staff)
    assert rest["items"][0]["state"] == "phone_needed" and rest["next"] is None
    assert len((await get(web, "/carriers/follows?state=phone_needed", staff))["items"]) == 1
    assert await post(web, "/carriers/follows/again", staff, {"state": "phone_needed"}) == (200, {"parcels": 1})
    assert (await post(web, "/carriers/follows/again", staff, {"state": "followed"}))[0] == 422


async def test_the_known_carriers_are_listed(web: Client, staff: Headers) -> None:
    held = {one["carrier"]: one for one in (await get(web, "/carriers", staff))["items"]}
    assert held["shunfeng"]["phone_needed"] and held["shunfeng"]["zone"] == "Asia/Shanghai"
    assert "圆通" in held["yuantong"]["names"] and held["yuantong"]["followed"]
    assert held["fedex"]["codes"] > 20 and held["seko"]["zone"] is None


@pytest.mark.parametrize("name", ["kuaidi100.form", "canadapost.xml", "sf.json"])
async def test_forms_xml_and_json_come_through_the_door(name: str, web: Client, staff: Headers, hand: Hand) -> None:
    carrier = {"kuaidi100.form": "kuaidi100", "canadapost.xml": "canada post", "sf.json": "顺丰"}[name]
    raw = (SHAPES / name).read_bytes()
    headers = {**staff, "Content-Type": "application/octet-stream"}
    status, told = await post(web, f"/carriers/payloads?carrier={carrier}", headers, raw)
    assert status == 200 and told["parcels"] and {r["result"] for r in told["results"]} == {"parked"}


async def test_the_addresses_of_carriers_and_of_vendors_do_not_hide_each_other(
    database: Database, account: Account, staff: Headers
) -> None:
    """Whichever routes were added first."""
    good = account.sandbox.callback("yuantong", NUMBER)
    for order in ((vendors.routes.all, routes.all), (routes.all, vendors.routes.all)):
        app = application([route for part in order for route in part], body_limit=8 * 2**20)
        async with TestClient(TestServer(app)) as web:
            url = f"/push/carriers/kuaidi100?connection={account.id}"
            status, told = await post(web, url, good.headers, good.body)
            assert (status, told["returnCode"]) == (200, "200")
            for url in ("/push/carriers", f"/push/{account.id}", "/push/carriers/", "/push/carriers/kuaidi100/1"):
                assert (await post(web, url, good.headers, good.body))[0] in (404, 422), url


@pytest.mark.parametrize(
    "carrier", ["x" * 5000, "express" * 700, "%00", "%ed%a0%80", "..%2f..", "快递" * 300, "%F0%9F%93%A6"]
)
async def test_hostile_addresses_are_no_address(carrier: str, web: Client, account: Account) -> None:
    good = account.sandbox.callback("yuantong", NUMBER)
    status, told = await post(web, f"/push/carriers/{carrier}?connection={account.id}", good.headers, good.body)
    assert status == 404 and told["status"] == 404
    for connection in ("0", "-1", "x", "9" * 30, ""):
        url = f"/push/carriers/kuaidi100?connection={connection}"
        assert (await post(web, url, good.headers, good.body))[0] == 422
    assert await rows("fulfillment_carrier_payloads") == []


async def test_a_push_that_could_not_be_read_whole_is_not_kept(web: Client, account: Account) -> None:
    url = f"/push/carriers/kuaidi100?connection={account.id}"
    assert (await post(web, url, {}, b"x" * (BYTES + 1)))[0] == 413
    bomb = gzip.compress(b"x" * (BYTES + 1))
    assert len(bomb) < 10_000
    assert (await post(web, url, {"Content-Encoding": "gzip"}, bomb))[0] == 413
    assert (await post(web, url, {"Content-Encoding": "gzip"}, bomb[:-20]))[0] == 400
    assert await rows("fulfillment_carrier_payloads") == []
