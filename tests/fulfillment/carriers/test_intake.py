"""Pushes that are kept before they are answered, parcels that are followed once, and questions asked one by one."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from aiohttp.test_utils import TestClient

from connectors import api as connectors
from connectors import guards
from connectors.answers import Refused
from connectors.kuaidi100.sandbox import CUSTOMER, KEY, PHONE, SALT
from fulfillment import shipping
from fulfillment.carriers import following, intake
from fulfillment.carriers.api import CarrierPayloadLanded, ask_again, follow_due, look_up, read
from fulfillment.shipping import ParcelIn
from hub.kernel.db import uow
from hub.kernel.errors import Conflict, NotFound
from orders.contracts import LineFacts
from tests.fulfillment.carriers.conftest import Account, work
from tests.fulfillment.conftest import Hand
from tests.fulfillment.kit import T0, VENDOR, Book, clock_of

SAID = {"result": True, "returnCode": "200", "message": "成功"}
NUMBER = "YT1234567890123"


def china(hours: float) -> str:
    """A wall clock of China, so many hours after the order."""
    return f"{T0 + timedelta(hours=hours + 8):%Y-%m-%d %H:%M:%S}"


async def ship(book: Book, carrier: str, number: str) -> LineFacts:
    """A line of one unit, in a parcel that the vendor names so."""
    po = book.order(1)
    await book.accepted(po)
    async with uow() as tx:
        await shipping.ship(tx, VENDOR, po.po_id, [ParcelIn(carrier=carrier, tracking_no=number)])
    return book.of(po)[0]


async def push(web: TestClient[Any, Any], account: Account, body: bytes, connection: int | None = None) -> Any:
    url = f"/v1/push/carriers/kuaidi100?connection={connection or account.id}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with web.post(url, data=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def rows(table: str) -> list[dict[str, Any]]:
    async with uow() as tx:
        return [dict(row) for row in await tx.fetch(f"SELECT * FROM {table} ORDER BY 1")]


async def test_a_push_ends_the_clock_of_a_parcel_that_the_vendor_named_in_chinese(
    book: Book, hand: Hand, account: Account, web: TestClient[Any, Any]
) -> None:
    line = await ship(book, "圆通快递", NUMBER)
    hand.forward(hours=40)
    account.sandbox.scan("yuantong", NUMBER, china(10), "103", "【上海】已揽收", "上海")
    account.sandbox.scan("yuantong", NUMBER, china(30), "301", "已签收，签收人：本人", "北京,北京市")
    assert await push(web, account, account.sandbox.callback("yuantong", NUMBER).body) == (200, SAID)
    assert (await clock_of(line))["delivered_at"] is None  # kept, not yet read
    await work()
    assert (await clock_of(line))["delivered_at"] == T0 + timedelta(hours=30)
    events = await rows("fulfillment_tracking_events")
    assert [(e["carrier"], e["status"], e["raw_status"], e["place"]) for e in events] == [
        ("圆通快递", "shipped", "103", "上海"), ("圆通快递", "delivered", "301", "北京,北京市"),
    ]  # fmt: skip


async def test_the_same_push_again_and_pushes_out_of_order_change_nothing(
    book: Book, hand: Hand, account: Account, web: TestClient[Any, Any]
) -> None:
    line = await ship(book, "yuantong", NUMBER)
    hand.forward(hours=40)
    account.sandbox.scan("yuantong", NUMBER, china(10), "103", "已揽收")
    first = account.sandbox.callback("yuantong", NUMBER).body
    account.sandbox.scan("yuantong", NUMBER, china(30), "3", "已签收")
    second = account.sandbox.callback("yuantong", NUMBER).body
    for body in (second, first, second, first):
        assert await push(web, account, body) == (200, SAID)
        await work()
    assert len(await rows("fulfillment_carrier_payloads")) == 2
    assert len(await rows("fulfillment_tracking_events")) == 2
    assert (await clock_of(line))["delivered_at"] == T0 + timedelta(hours=30)


async def test_pushes_at_once_are_kept_once(account: Account, web: TestClient[Any, Any], hand: Hand) -> None:
    account.sandbox.scan("yuantong", NUMBER, china(-10), "103", "已揽收")
    body = account.sandbox.callback("yuantong", NUMBER).body
    assert {(await one)[0] for one in [asyncio.create_task(push(web, account, body)) for _ in range(8)]} == {200}
    assert len(await rows("fulfillment_carrier_payloads")) == 1


async def test_only_signed_pushes_at_the_right_address_are_kept(account: Account, web: TestClient[Any, Any]) -> None:
    account.sandbox.scan("yuantong", NUMBER, "2026-05-01 09:00:00", "3", "已签收")
    good = account.sandbox.callback("yuantong", NUMBER).body
    forged = account.sandbox.callback("yuantong", NUMBER, salt="another-salt-1").body
    for body in (forged, b"", b"param={}", good + b"&param=1", good.replace(b"301", b"302") + b"x"):
        assert (await push(web, account, body))[0] == 401
    assert (await push(web, account, good, connection=account.id + 100))[0] == 404
    async with web.post(f"/v1/push/carriers/dhl?connection={account.id}", data=good) as answer:
        assert answer.status == 404
    async with web.post("/v1/push/carriers/kuaidi100", data=good) as answer:
        assert answer.status == 422
    assert await rows("fulfillment_carrier_payloads") == []


async def test_what_is_kept_is_encrypted_and_its_outcome_holds_counts_alone(
    account: Account, web: TestClient[Any, Any], hand: Hand
) -> None:
    account.sandbox.scan("yuantong", NUMBER, china(-10), "5", "派件中，电话13912345678")
    await push(web, account, account.sandbox.callback("yuantong", NUMBER).body)
    await work()
    [kept] = await rows("fulfillment_carrier_payloads")
    assert b"13912345678" not in kept["body"] and kept["read_at"] is not None
    assert kept["outcome"] == {"scans": {"parked": 1}, "not_recorded": {}, "problems": {}}


async def test_signed_nonsense_is_answered_kept_and_said_to_hold_no_scan(
    account: Account, web: TestClient[Any, Any], hand: Hand
) -> None:
    sandbox = account.sandbox
    fields = dict(parse_qsl(sandbox.callback("yuantong", NUMBER).body.decode()))
    assert await push(web, account, urlencode(fields).encode()) == (200, SAID)
    await work()
    [kept] = await rows("fulfillment_carrier_payloads")
    assert kept["read_at"] is not None and kept["outcome"]["scans"] == {}


async def test_a_reader_that_crashes_is_tried_again(
    account: Account, web: TestClient[Any, Any], hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.sandbox.scan("yuantong", NUMBER, china(-10), "5", "派件中")

    def crash(*_args: Any, **_more: Any) -> Any:
        raise RuntimeError("a mistake of ours")

    with monkeypatch.context() as patch:
        patch.setattr(intake, "read", crash)
        assert await push(web, account, account.sandbox.callback("yuantong", NUMBER).body) == (200, SAID)
        await work()
    assert await rows("fulfillment_tracking_events") == []
    async with uow() as tx:
        await tx.run("UPDATE outbox SET due_at = now()")  # some time later
    await work()
    assert [row["status"] for row in await rows("fulfillment_tracking_events")] == ["out_for_delivery"]


async def test_events_before_the_order_ahead_of_now_and_without_a_zone_are_refused_by_themselves(
    book: Book, hand: Hand
) -> None:
    await ship(book, "seko", "AB1234567890")
    hand.forward(hours=5)

    def scan(**time: str) -> dict[str, str]:
        return {"status": "In transit", **time}

    payload = {
        "trackingNumber": "AB1234567890",
        "events": [
            scan(date=(T0 + timedelta(hours=1)).isoformat()), scan(date=(T0 - timedelta(hours=1)).isoformat()),
            scan(date=(T0 + timedelta(hours=6)).isoformat()), scan(date="2026-05-01 09:00:00"),
        ],
    }  # fmt: skip
    async with uow() as tx:
        done = await intake.record(tx, read("seko", payload))
    assert sorted(result.result for result in done.results) == ["applied", "rejected", "rejected"]
    assert done.unread == ("its time has no zone, and none is documented for this carrier",)
    assert len(done.reading.parcels[0].events) == 4  # shown all the same


async def test_a_parcel_that_went_back_is_not_delivered(book: Book, hand: Hand) -> None:
    line = await ship(book, "yuantong", NUMBER)
    hand.forward(hours=60)
    scans = [
        {"time": china(hours), "context": text}
        for hours, text in ((10, "已揽收"), (30, "收件人拒收"), (40, "快件退回中"), (50, "已签收"))
    ]
    async with uow() as tx:
        await intake.record(tx, read("圆通", {"运单号": NUMBER, "data": scans}))
    clock = await clock_of(line)
    assert (clock["delivered_at"], clock["excused"]) == (None, "refused")
    statuses = [row["status"] for row in await rows("fulfillment_tracking_events")]
    assert statuses == ["shipped", "refused", "returned", "returned"]


async def test_parcels_are_followed_once_and_only_by_accounts_that_know_their_carrier(
    book: Book, hand: Hand, account: Account
) -> None:
    await ship(book, "圆通速递有限公司", NUMBER)
    await ship(book, "unspecified", "NOBODYKNOWS1")
    await ship(book, "hermes", "H1234567890123456789")
    assert await follow_due() == 2
    assert set(account.sandbox.followed) == {("yuantong", NUMBER), ("", "NOBODYKNOWS1")}
    seen = len(account.sandbox.seen)
    assert await follow_due() == 0
    assert len(account.sandbox.seen) == seen


async def test_without_a_live_account_nobody_is_asked(book: Book, hand: Hand, account: Account) -> None:
    await ship(book, "圆通", NUMBER)
    async with uow() as tx:
        await connectors.set_status(tx, account.id, "paused")
    assert await follow_due() == 0
    assert account.sandbox.seen == [] and await rows("fulfillment_parcel_follows") == []


async def test_a_phone_number_that_is_missing_is_said_and_asked_again_once_it_is_there(
    book: Book, hand: Hand, account: Account
) -> None:
    await ship(book, "顺丰", "SF1234567890123")
    assert await follow_due() == 0
    [follow] = await rows("fulfillment_parcel_follows")
    assert follow["state"] == "phone_needed" and "set `phone`" in follow["detail"]
    async with uow() as tx:
        await connectors.change_connection(tx, account.id, secrets={"phone": PHONE})
    assert await follow_due() == 0  # not by itself
    assert await ask_again("phone_needed") == 1
    assert await follow_due() == 1


async def test_an_outage_costs_time_and_no_parcel(book: Book, hand: Hand, account: Account) -> None:
    await ship(book, "圆通", NUMBER)
    await ship(book, "韵达", "4312345678901")
    account.sandbox.faults.unavailable = 99
    assert await follow_due() == 0
    assert {row["state"] for row in await rows("fulfillment_parcel_follows")} == {"asked"}
    account.sandbox.faults.unavailable = 0
    assert await follow_due() == 0  # not at once
    hand.forward(minutes=10)
    guards.forget()
    assert await follow_due() == 2


async def test_two_followers_at_once_ask_once_for_each(book: Book, hand: Hand, account: Account) -> None:
    for n in range(6):
        await ship(book, "圆通", f"YT99999999999{n}")
    await asyncio.gather(*(follow_due() for _ in range(4)))
    asked = [seen for seen in account.sandbox.seen if seen.path == "/poll"]
    assert len(asked) == 6 == len(account.sandbox.followed)


async def test_what_an_account_was_not_told_yet_goes_to_the_next_one(book: Book, hand: Hand, account: Account) -> None:
    await ship(book, "圆通", NUMBER)
    account.sandbox.faults.throttle, account.sandbox.faults.retry_after_s = 9, 60
    await follow_due()
    async with uow() as tx:
        view = await connectors.get_connection(tx, account.id)
        second = await connectors.add_connection(
            tx, vendor_id=view.vendor_id, connector="kuaidi100", name="second", secrets={"key": KEY, "salt": SALT},
            config={
                "base_url": account.sandbox.base_url, "customer": CUSTOMER, "callback_url": "http://hub.example/v1",
            },
        )  # fmt: skip
        await connectors.set_status(tx, account.id, "paused")
    account.sandbox.faults.throttle = 0
    hand.forward(minutes=10)
    guards.forget()
    assert await follow_due() == 1
    [follow] = await rows("fulfillment_parcel_follows")
    assert (follow["connection_id"], follow["state"]) == (second, "followed")
    [asked] = account.sandbox.followed.values()
    assert asked["callbackurl"].endswith(f"?connection={second}")


async def test_a_parcel_that_arrived_meanwhile_is_not_followed(book: Book, hand: Hand, account: Account) -> None:
    await ship(book, "圆通", NUMBER)
    account.sandbox.faults.throttle, account.sandbox.faults.retry_after_s = 9, 60
    await follow_due()
    account.sandbox.faults.throttle = 0
    guards.forget()
    hand.forward(hours=40)
    async with uow() as tx:
        await intake.record(tx, read("圆通", {"运单号": NUMBER, "data": [{"time": china(30), "context": "已签收"}]}))
    assert await follow_due() == 0
    [follow] = await rows("fulfillment_parcel_follows")
    assert follow["state"] == "ended" and account.sandbox.followed == {}


async def test_a_crash_after_the_parcel_was_told_about_tells_again_and_harms_nothing(
    book: Book, hand: Hand, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ship(book, "圆通", NUMBER)

    async def crash(*_args: Any) -> None:
        raise RuntimeError("the process is gone")

    with monkeypatch.context() as patch:
        patch.setattr(following, "_save", crash)
        with pytest.raises(RuntimeError):
            await follow_due()
    assert len(account.sandbox.followed) == 1 and await follow_due() == 0  # not while it is taken
    hand.forward(minutes=11)
    assert await follow_due() == 1
    [follow] = await rows("fulfillment_parcel_follows")
    assert follow["state"] == "followed" and len(account.sandbox.followed) == 1


async def test_an_answer_that_could_not_be_recorded_is_kept_and_read_later(
    book: Book, hand: Hand, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = await ship(book, "圆通", NUMBER)
    hand.forward(hours=40)
    account.sandbox.scan("yuantong", NUMBER, china(30), "3", "已签收")

    def crash(*_args: Any, **_more: Any) -> Any:
        raise RuntimeError("a mistake of ours")

    with monkeypatch.context() as patch:
        patch.setattr(intake, "read", crash)
        with pytest.raises(RuntimeError):
            await look_up(account.id, "yuantong", NUMBER, None)
    await work()  # not while whoever asked may still be reading it
    assert (await clock_of(line))["delivered_at"] is None
    hand.forward(minutes=3)
    async with uow() as tx:
        await tx.run("UPDATE outbox SET due_at = now()")
    await work()
    assert (await clock_of(line))["delivered_at"] == T0 + timedelta(hours=30)


async def test_the_last_push_of_a_parcel_ends_its_following(
    book: Book, hand: Hand, account: Account, web: TestClient[Any, Any]
) -> None:
    await ship(book, "圆通", NUMBER)
    await follow_due()
    lost = account.sandbox.callback("yuantong", NUMBER, status="abort", message="3天查询无记录")
    [told] = account.sandbox.followed.values()
    address = told["callbackurl"].removeprefix("http://hub.example")  # as it was told, so it calls
    async with web.post(address, data=lost.body, headers=lost.headers) as answer:
        assert (answer.status, await answer.json()) == (200, SAID)
    [follow] = await rows("fulfillment_parcel_follows")
    assert (follow["state"], follow["detail"]) == ("ended", "3天查询无记录")


async def test_a_parcel_that_another_carrier_has_is_still_ours(
    book: Book, hand: Hand, account: Account, web: TestClient[Any, Any]
) -> None:
    line = await ship(book, "圆通", NUMBER)
    await follow_due()
    hand.forward(hours=40)
    account.sandbox.scan("ems", NUMBER, china(30), "3", "已签收")
    await push(web, account, account.sandbox.callback("ems", NUMBER).body)
    await work()
    assert (await clock_of(line))["delivered_at"] == T0 + timedelta(hours=30)


async def test_a_parcel_is_asked_about_at_most_every_half_hour(book: Book, hand: Hand, account: Account) -> None:
    line = await ship(book, "圆通", NUMBER)
    hand.forward(hours=40)
    account.sandbox.scan("yuantong", NUMBER, china(30), "3", "已签收")
    done = await look_up(account.id, "yuantong", NUMBER, None)
    assert [result.result for result in done.results] == ["applied"]
    assert (await clock_of(line))["delivered_at"] == T0 + timedelta(hours=30)
    with pytest.raises(Conflict) as again:
        await look_up(account.id, "yuantong", NUMBER, None)
    assert again.value.facts["again_at"] == (hand.at + timedelta(minutes=30)).isoformat()
    assert account.sandbox.asked == 1
    hand.forward(minutes=31)
    await look_up(account.id, "yuantong", NUMBER, None)
    with pytest.raises(NotFound):
        await look_up(account.id, "yuantong", "YT0000000000000", None)  # nothing known: a question all the same
    with pytest.raises(Conflict):
        await look_up(account.id, "yuantong", "YT0000000000000", None)
    for _ in range(2):  # the carrier was not asked: a person mends it and tries again at once
        with pytest.raises(Refused):
            await look_up(account.id, "shunfeng", "SF1234567890123", None)
    with pytest.raises(NotFound):
        await look_up(account.id + 1, "yuantong", NUMBER, None)


async def test_old_payloads_are_dropped_and_a_dropped_one_is_no_error(account: Account, hand: Hand) -> None:
    async with uow() as tx:
        await intake.upload(tx, "x", b'{"message": "nothing here"}', None)
    hand.forward(days=15)
    await follow_due()
    assert await rows("fulfillment_carrier_payloads") == []
    async with uow() as tx:
        await intake.on_payload(tx, CarrierPayloadLanded(payload_id=1))
