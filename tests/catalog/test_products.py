"""Single products, many at once, what is left of a listing, changes, clinics and the assortment figure over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

import pricing.api
from catalog import changes, web
from catalog.store import shown
from catalog.views import AssortmentView, AvailabilityView, ChangesView, LookupView, ProductView, SlotPage
from hub.kernel.db import Database, uow
from tests.catalog import shop
from tests.catalog.shop import NOW, Reader, feed, item, listing, product, reader, slot, stock

PATH = "/v1/products"


@pytest.fixture
async def mall(database: Database) -> AsyncIterator[Reader]:
    pricing.api.forget_held()
    await feed(1)
    async with reader() as made:
        yield made


async def verdict(listing_id: int, product_id: int, word: str, gap: str | None) -> None:
    async with uow() as tx:
        await tx.run(
            "INSERT INTO pricing_verdicts (listing_id, product_id, verdict, reason, gap, reference_id, captured_at, "
            "at, price, currency, shipping, coupon) VALUES ($1, $2, $3, 'gap', $4, 1, $5, $5, 9, 'CNY', 0, 0)",
            listing_id, product_id, word, None if gap is None else Decimal(gap), NOW,
        )  # fmt: skip


async def test_a_product_shows_every_offer_with_promise_and_verdict(mall: Reader) -> None:
    await feed(2, name='李四 "超市"\\', promise_s=900)
    await feed(3, name="停用", live=False)
    number = await product('口罩 “N95”\n\t"x" \\', title_en="mask", brand="稳健", model="9501", department=None)
    dear = await listing(number, 1, price=Decimal("12.345"), pack="50只", shipping=Decimal("6"))
    cheap = await listing(number, 2, price=Decimal("8"), vendor_sku="b")
    out = await listing(number, 2, price=Decimal("1"), vendor_sku="c")
    await listing(number, 2, active=False, vendor_sku="d")
    await stock(await listing(number, 3, vendor_sku="e"))
    await stock(dear, 5)
    await stock(cheap, None, level="limited")
    await stock(out, 0)
    await verdict(dear, number, "breach", "0.0812")
    await verdict(cheap, number, "pass", "-0.01")
    body = await mall.get(f"{PATH}/prd_{number}")
    ProductView.model_validate(body)
    assert set(body) == set(ProductView.model_fields)
    assert body["title"] == '口罩 “N95”\n\t"x" \\'
    assert (body["available"], body["level"], body["price"]["amount"], body["listed"]) == (5, "in_stock", "1.00", True)
    shown_offers = [
        (o["listing_id"], o["vendor"], o["price"]["amount"], o["available"], o["level"], o["parity"], o["parity_gap"])
        for o in body["offers"]
    ]
    assert shown_offers == [
        (f"lst_{dear}", "张三药房", "12.345", 5, "in_stock", "breach", "0.0812"),
        (f"lst_{cheap}", '李四 "超市"\\', "8.00", None, "limited", "pass", "-0.0100"),
        (f"lst_{out}", '李四 "超市"\\', "1.00", 0, "out", "unknown", None),
    ]
    assert body["offers"][1]["promise"] == {"deliver_within_h": 72, "stock_confirmed_within_s": 900}
    assert (body["offers"][0]["pack"], body["offers"][0]["shipping"]) == ("50只", "6.00")


async def test_a_verdict_goes_unknown_with_its_reference(mall: Reader) -> None:
    number, offer = await item("口罩")
    await verdict(offer, number, "pass", "0.01")
    async with uow() as tx:
        await tx.run("UPDATE pricing_verdicts SET captured_at = $1", NOW - timedelta(days=30))
    assert (await mall.get(f"{PATH}/prd_{number}"))["offers"][0]["parity"] == "unknown"


@pytest.mark.parametrize(
    "bad", ["prd_999", "prd_x", "prd_", "1", "lst_1", "prd_-1", "prd_1.0", "prd_" + "9" * 30, "prd_１"]
)
async def test_an_id_that_is_nobody_s_is_not_found(mall: Reader, bad: str) -> None:
    await item("口罩")
    assert (await mall.get(f"{PATH}/{bad}", expect=404))["status"] == 404


async def test_a_product_off_sale_is_shown_as_such(mall: Reader) -> None:
    number = await product("口罩", listed=False, price=None)
    body = await mall.get(f"{PATH}/prd_{number}")
    assert (body["listed"], body["offers"], body["level"], body["price"]) == (False, [], "out", None)
    ProductView.model_validate(body)


async def test_products_asked_for_together_are_read_together_and_each_gets_its_own(
    mall: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [(await item(f"口罩 {n}"))[0] for n in range(12)]
    reads: list[list[int]] = []
    really = shown.product_texts

    async def counted(wanted: Any, *reader: Any) -> Any:
        reads.append(list(wanted))
        await asyncio.sleep(0.05)
        return await really(wanted, *reader)

    monkeypatch.setattr(shown, "product_texts", counted)
    bodies = await asyncio.gather(*(mall.get(f"{PATH}/prd_{n}") for n in [*ids, *ids]))
    assert [body["title"] for body in bodies] == [f"口罩 {n}" for n in range(12)] * 2
    assert len(reads) <= 4


async def test_one_failed_read_fails_those_who_waited_for_it_and_nobody_after(
    mall: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, _ = await item("口罩")
    really, calls = shown.product_texts, 0

    async def failing(*_asked: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("the read failed")
        return await really(*_asked)

    monkeypatch.setattr(shown, "product_texts", failing)
    await mall.get(f"{PATH}/prd_{number}", expect=500)
    assert (await mall.get(f"{PATH}/prd_{number}"))["title"] == "口罩"


async def test_a_lookup_answers_in_order_and_names_what_is_missing(mall: Reader) -> None:
    first, _ = await item("a", gtin="06901234567892")
    second, _ = await item("b")
    body = await mall.post(f"{PATH}/lookup", {"ids": [f"prd_{second}", "prd_77", f"prd_{first}", f"prd_{second}"]})
    LookupView.model_validate(body)
    assert ([i["title"] for i in body["items"]], body["missing"]) == (["b", "a"], ["prd_77"])
    body = await mall.post(f"{PATH}/lookup", {"gtins": ["4006381333931", "690-1234-567892"]})
    assert ([i["title"] for i in body["items"]], body["missing"]) == (["a"], ["04006381333931"])


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"ids": ["prd_1"], "gtins": ["4006381333931"]}, ""),
        ({"ids": []}, "/ids"),
        ({"ids": ["prd_1"] * 101}, "/ids"),
        ({"ids": ["prd_1", "nope"]}, "/ids/1"),
        ({"gtins": ["4006381333932"]}, "/gtins/0"),
        ({"gtins": [""]}, "/gtins/0"),
        ({"ids": [7]}, "/ids/0"),
        ({"ids": ["prd_1"], "mall": 3}, "/mall"),
    ],
)
async def test_a_lookup_that_makes_no_sense_is_pointed_at(mall: Reader, body: Any, pointer: str) -> None:
    problem = await mall.post(f"{PATH}/lookup", body, expect=422)
    assert problem["errors"][0]["pointer"] == pointer


async def test_availability_says_whether_the_quantity_can_be_had_and_why_not(mall: Reader) -> None:
    await feed(2, name="慢", promise_s=600)
    number, offer = await item("口罩", on_hand=5)
    path = "/v1/availability"
    body = await mall.get(path, listing_id=f"lst_{offer}", qty=5)
    AvailabilityView.model_validate(body)
    assert (body["can_supply"], body["available"], body["reason"], body["level"]) == (True, 5, None, "in_stock")
    assert (await mall.get(path, listing_id=f"lst_{offer}", qty=6))["reason"] == "too_few"
    _, levels = await item("洗手液", on_hand=None)
    assert (await mall.get(path, listing_id=f"lst_{levels}", qty=500))["can_supply"] is True
    _, out = await item("酒精", on_hand=0)
    assert (await mall.get(path, listing_id=f"lst_{out}"))["reason"] == "out"
    _, stale = await item("手套", connection_id=2)
    city = await product("体检", kind="service", mode="appointment", city="上海")
    bound = await listing(city)
    await stock(bound, 3)
    async with uow() as tx:
        await tx.run("UPDATE catalog_stock SET reported_at = $2 WHERE listing_id = $1", stale, NOW - timedelta(hours=1))
    assert (await mall.get(path, listing_id=f"lst_{stale}"))["reason"] == "stale"
    assert (await mall.get(path, listing_id=f"lst_{bound}", area="北京"))["reason"] == "other_area"
    assert (await mall.get(path, listing_id=f"lst_{bound}", area="上海"))["can_supply"] is True
    assert mall.mall_id is not None
    await shop.hold(mall.mall_id, offer, number)
    pricing.api.forget_held()
    assert (await mall.get(path, listing_id=f"lst_{offer}"))["reason"] == "held_by_policy"
    async with uow() as tx:
        await tx.run("UPDATE catalog_listings SET active = false WHERE id = $1", out)
    assert (await mall.get(path, listing_id=f"lst_{out}"))["reason"] == "not_listed"
    await mall.get(path, listing_id="lst_999", expect=404)
    for name, value in {"listing_id": "prd_1", "qty": "0", "area": ""}.items():
        given = {"listing_id": f"lst_{offer}", name: value}
        assert (await mall.get(path, expect=422, **given))["errors"][0]["pointer"] == f"/{name}"


async def test_changes_show_the_product_as_it_is_and_deletes_by_id(mall: Reader) -> None:
    number, offer = await item("口罩")
    gone = await product("停售", listed=False)
    async with uow() as tx:
        await changes.note(tx, [number, gone])
    page = await mall.get("/v1/changes")
    ChangesView.model_validate(page)
    assert [(c["op"], c["id"]) for c in page["items"]] == [("upsert", f"prd_{number}"), ("delete", f"prd_{gone}")]
    assert page["items"][0]["product"]["offers"][0]["listing_id"] == f"lst_{offer}"
    assert (await mall.get("/v1/changes", after=page["next"]))["items"] == []
    await mall.get("/v1/changes", after="nonsense", expect=400)
    for name, value in {"limit": 0, "wait": 26}.items():
        assert (await mall.get("/v1/changes", expect=422, **{name: value}))["errors"][0]["pointer"] == f"/{name}"


async def test_a_waiting_reader_hears_of_a_change_at_once(mall: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "POLL_S", 0.02)
    number, _ = await item("口罩")
    start = (await mall.get("/v1/changes"))["next"]
    waiting = asyncio.create_task(mall.get("/v1/changes", after=start, wait=20))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    async with uow() as tx:
        await changes.note(tx, [number])
    page = await asyncio.wait_for(waiting, 5)
    assert [c["id"] for c in page["items"]] == [f"prd_{number}"]
    began = time.monotonic()
    assert (await mall.get("/v1/changes", after=page["next"], wait=0.2))["items"] == []
    assert 0.15 < time.monotonic() - began < 3


async def test_a_stream_sends_changes_with_the_cursor_to_come_back_with(
    mall: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "POLL_S", 0.02)
    monkeypatch.setattr(web, "STREAM_S", 0.3)
    numbers = [(await item(f"口罩 {n}"))[0] for n in range(3)]
    async with uow() as tx:
        await changes.note(tx, numbers)
    headers = {"Authorization": f"Bearer {mall.key}"}
    async with mall.client.get("/v1/changes/stream", headers=headers) as answer:
        text = (await answer.read()).decode()
        assert answer.headers["Content-Type"] == "text/event-stream"
    assert [text.count(f'"prd_{n}"') > 0 for n in numbers] == [True] * 3
    last = [line[4:] for line in text.splitlines() if line.startswith("id: ")][-1]
    async with mall.client.get("/v1/changes/stream", headers={**headers, "Last-Event-ID": last}) as answer:
        assert "event: change" not in (await answer.read()).decode()
    async with mall.client.get("/v1/changes/stream", headers={**headers, "Last-Event-ID": "?"}) as answer:
        assert answer.status == 400


async def test_clinics_list_services_and_their_free_slots(mall: Reader) -> None:
    async def clinic(title: str, city: str, department: str) -> tuple[int, int]:
        number = await product(title, kind="service", mode="appointment", city=city, department=department)
        return number, await listing(number)

    number, offer = await clinic("洗牙", "上海", "口腔科")
    await clinic("体检", "北京", "体检科")
    await item("口罩")
    soon, later = await slot(offer, 2), await slot(offer, 30)
    await slot(offer, 5, free=False)
    await slot(offer, -1)
    elsewhere = await slot(offer, 40, city="北京", department="正畸科")
    assert [i["title"] for i in (await mall.get("/v1/clinics", city="上海"))["items"]] == ["洗牙"]
    assert [i["title"] for i in (await mall.get("/v1/clinics", department="口腔科"))["items"]] == ["洗牙"]
    levels = {i["title"]: i["level"] for i in (await mall.get("/v1/clinics"))["items"]}
    assert levels == {"洗牙": "in_stock", "体检": "out"}
    path = f"/v1/clinics/prd_{number}/slots"
    page = await mall.get(path)
    SlotPage.model_validate(page)
    assert [s["id"] for s in page["items"]] == [f"slt_{soon}", f"slt_{later}", f"slt_{elsewhere}"]
    assert page["items"][0]["listing_id"] == f"lst_{offer}"
    assert [s["id"] for s in await mall.all_pages(path, limit=1)] == [s["id"] for s in page["items"]]
    assert [s["id"] for s in (await mall.get(path, city="北京"))["items"]] == [f"slt_{elsewhere}"]
    assert [s["id"] for s in (await mall.get(path, department="口腔科"))["items"]] == [f"slt_{soon}", f"slt_{later}"]
    bounds = {"from": (NOW + timedelta(hours=3)).isoformat(), "to": (NOW + timedelta(hours=31)).isoformat()}
    assert [s["id"] for s in (await mall.get(path, **bounds))["items"]] == [f"slt_{later}"]
    assert (await mall.get(path, to="2020-01-01"))["items"] == []
    one = await mall.get(f"{PATH}/prd_{number}")
    assert (one["available"], one["level"]) == (3, "in_stock")


async def test_a_clinic_with_every_slot_taken_is_out(mall: Reader) -> None:
    number = await product("洗牙", kind="service", mode="appointment")
    offer = await listing(number)
    await slot(offer, 5, free=False)
    await stock(offer, None, level="in_stock")  # what the vendor says of the service itself does not open a slot
    one = await mall.get(f"{PATH}/prd_{number}")
    assert (one["available"], one["level"]) == (0, "out")
    assert (await mall.get(f"/v1/clinics/prd_{number}/slots"))["items"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("from", "yesterday"), ("to", "2026-13-01"), ("from", "2026-01-01T00:00:00"), ("from", "0001-01-01"),
     ("to", "9999-12-31"), ("limit", "0"), ("cursor", "🙂"), ("cursor", "eHx4"), ("day", "1")],
)  # fmt: skip
async def test_slots_asked_for_badly_are_refused(mall: Reader, name: str, value: str) -> None:
    number = await product("洗牙", kind="service", mode="appointment")
    problem = await mall.get(f"/v1/clinics/prd_{number}/slots", expect=422, **{name: value})
    assert problem["errors"][0]["pointer"] == f"/{name}"


async def test_slots_of_what_is_no_clinic_are_not_found(mall: Reader) -> None:
    number, _ = await item("口罩")
    for bad in (f"prd_{number}", "prd_99", "slt_1"):
        await mall.get(f"/v1/clinics/{bad}/slots", expect=404)


async def test_the_assortment_counts_what_can_be_ordered_now(mall: Reader) -> None:
    await item("口罩")
    await item("酒精", on_hand=0)
    number = await product("洗牙", kind="service", mode="appointment")
    offer = await listing(number)
    await slot(offer, 3)
    past = await product("体检", kind="service", mode="appointment")
    await slot(await listing(past), -3)
    await item("电影票", kind="experience", mode="code", on_hand=None)
    async with reader("staff") as staff:
        body = await staff.get("/v1/metrics/assortment")
    AssortmentView.model_validate(body)
    counted = {k["kind"]: (k["numerator"], k["denominator"], k["status"]) for k in body["kinds"]}
    assert counted == {"goods": (1, 2, "missed"), "service": (1, 2, "missed"), "experience": (1, 1, "missed")}
    assert (body["numerator"], body["denominator"], body["status"]) == (0, 3, "missed")
    await mall.get("/v1/metrics/assortment", expect=403)
