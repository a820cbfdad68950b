"""Promises of the review queue: both sides with what differs, decisions about what was seen, remembered and reversible,
whoever decides first; and of products put together and taken apart by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from catalog import grounds, recognising
from catalog.matching import quantities, variants
from hub.kernel import audit
from hub.kernel.db import Database, uow
from orders import issuing
from orders.routing import Wish
from tests.catalog.kit import fetch
from tests.catalog.matchkit import bring, pairs, product_of, staff, together
from tests.catalog.shop import Reader

STICK = "SanDisk Ultra USB flash drive SDCZ48 64GB black"
SAME_STICK = "SanDisk Ultra SDCZ48 USB flash drive 64 GB"
OTHER_STICK = "SanDisk Ultra SDCZ48 USB flash drive 128 GB"
WHY = "looked at both photos"


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[Reader]:
    recognising._known = None
    async with staff() as reader:
        yield reader


async def doubtful() -> None:
    """A pair for a person: the same words, and more than five times the price."""
    await bring("甲", {"sku": "A", "title": STICK, "price": "10"})
    await bring("乙", {"sku": "B", "title": SAME_STICK, "price": "60", "brand": "SanDisk"})


async def first(desk: Reader, status: str = "open") -> dict[str, Any]:
    page = await desk.get("/v1/matches", status=status)
    return dict(page["items"][0])


async def say(desk: Reader, pair: dict[str, Any], verdict: str, expect: int = 200) -> dict[str, Any]:
    body = {"verdict": verdict, "seen": pair["seen"], "why": WHY}
    return dict(await desk.post(f"/v1/matches/{pair['id']}/decide", body, expect))


async def test_the_queue_shows_both_sides_what_differs_and_why_in_two_languages(desk: Reader) -> None:
    await doubtful()
    page = await desk.get("/v1/matches")
    (pair,) = page["items"]
    assert (page["next"], page["counts"], page["waiting"]) == (None, {"open": 1}, 0)
    assert (pair["left"]["vendor"], pair["left"]["vendor_sku"]) == ("甲", "A")
    assert pair["right"]["price"] == {"amount": "60.0000", "currency": "CNY"} and not pair["together"]
    assert [d["field"] for d in pair["differing"]] == ["title", "brand", "price"]
    assert {"field": "storage", "field_zh": "存储容量", "field_en": "storage", "left": "64gb", "right": "64gb"} in (
        pair["agreeing"]
    )
    (doubt,) = pair["doubts"]
    assert doubt["code"] == "price" and "五倍" in doubt["zh"] and "five times" in doubt["en"]
    assert await desk.get(f"/v1/matches/{pair['id']}") == pair
    assert (await desk.get("/v1/matches", vendor=pair["left"]["vendor_id"]))["items"] == [pair]
    assert (await desk.get("/v1/matches", vendor="vnd_999"))["items"] == []


async def test_same_puts_the_two_together_for_good_and_is_told_in_history_and_audit(desk: Reader) -> None:
    await doubtful()
    decided = await say(desk, await first(desk), "same")
    assert (decided["status"], decided["together"], decided["why"]) == ("same", True, WHY)
    assert await together("A", "B")
    (entry,) = (await desk.get("/v1/regroupings"))["items"]
    assert (entry["kind"], entry["actor"], entry["why"]) == ("merge", decided["decided_by"], WHY)
    async with uow() as tx:
        assert await audit.first_broken(tx) is None
    (row,) = await fetch("SELECT actor, subject FROM audit WHERE action = 'match.decide'")
    assert row == {"actor": decided["decided_by"], "subject": decided["id"]}
    await bring("乙", {"sku": "B", "title": SAME_STICK, "price": "90", "gtin": "6901234567892"})
    await bring("丙", {"sku": "C", "title": "U盘", "gtin": "6901234567892"})
    await bring("甲", {"sku": "A", "title": STICK, "gtin": "6903148079874"})
    assert await together("A", "B"), "a person's word outranks keys"


async def test_different_is_never_proposed_again_whatever_the_listing_says_later(desk: Reader) -> None:
    await doubtful()
    await say(desk, await first(desk), "different")
    await bring("乙", {"sku": "B", "title": STICK + " new", "price": "10"})
    await bring("甲", {"sku": "A", "title": STICK + " 2026", "price": "10"})
    assert not await together("A", "B")
    assert [p["status"] for p in await pairs()] == ["different"]
    await bring("丙", ("C", SAME_STICK))
    assert not await together("A", "B"), "nor by way of a third"
    assert (await first(desk))["doubts"][0]["code"] == "rival", "which could be either"


async def test_a_decision_is_taken_back_and_the_pair_stays_with_people(desk: Reader) -> None:
    await doubtful()
    pair = await say(desk, await first(desk), "same")
    undone = await desk.post(f"/v1/matches/{pair['id']}/undo", {"seen": pair["seen"], "why": "wrong photo"})
    assert (undone["status"], undone["together"]) == ("open", False)
    await bring("乙", {"sku": "B", "title": SAME_STICK + " new", "price": "10"})
    assert not await together("A", "B"), "the matcher keeps out of it"
    pair = await say(desk, await first(desk), "different")
    undone = await desk.post(f"/v1/matches/{pair['id']}/undo", {"seen": pair["seen"], "why": "once more"})
    assert undone["status"] == "open"
    await desk.post(f"/v1/matches/{pair['id']}/undo", {"seen": undone["seen"], "why": "once more"}, 409)
    assert (await say(desk, undone, "same"))["together"]
    (old,) = await fetch("SELECT count(*) AS n FROM catalog_regroupings WHERE undone_at IS NOT NULL")
    assert old["n"] == 1


async def test_what_the_matcher_did_can_be_undone_or_overruled_and_is_not_done_again(desk: Reader) -> None:
    await bring("甲", ("A", STICK))
    await bring("乙", ("B", SAME_STICK), ("B2", OTHER_STICK))
    pair = await first(desk, "matched")
    assert not (await say(desk, pair, "different"))["together"]
    await bring("乙", ("B", SAME_STICK + " new"))
    assert not await together("A", "B")
    refused = await first(desk, "refused")
    assert refused["conflicts"][0] == {
        "field": "storage", "field_zh": "存储容量", "field_en": "storage", "left": "64gb", "right": "128gb"
    }  # fmt: skip
    assert (await say(desk, refused, "same"))["together"], "a person may know better than a title"
    await bring("乙", ("B2", OTHER_STICK + " 128GB new"))
    assert await together("A", "B2")
    asked = await first(desk)
    assert [d["code"] for d in asked["doubts"]] == ["changed"], "but is asked when the words change again"


async def test_of_two_people_who_decide_at_once_the_second_learns_what_the_first_said(desk: Reader) -> None:
    await doubtful()
    pair = await first(desk)
    async with staff("王芳") as other:
        said = await asyncio.gather(
            *(
                reader.client.post(
                    f"/v1/matches/{pair['id']}/decide",
                    json={"verdict": verdict, "seen": pair["seen"], "why": WHY},
                    headers={"Authorization": f"Bearer {reader.key}"},
                )
                for reader, verdict in ((desk, "same"), (other, "different"))
            )
        )
        assert sorted(answer.status for answer in said) == [200, 409]
        (lost,) = [await answer.json() for answer in said if answer.status == 409]
    assert lost["type"].endswith(":pair_changed") and lost["facts"]["decided_by"]
    (kept,) = await pairs()
    assert await together("A", "B") == (kept["status"] == "same")
    again = await first(desk, kept["status"])
    assert (await say(desk, {**again, "seen": pair["seen"]}, kept["status"]))["id"] == pair["id"], "saying it twice"


@pytest.mark.parametrize(
    "change",
    [
        {"sku": "B", "title": SAME_STICK + " red", "price": "60"},
        {"sku": "B", "title": SAME_STICK, "price": "10"},
        {"sku": "B", "title": SAME_STICK, "price": "60", "active": False},
    ],
)
async def test_a_decision_on_what_changed_or_vanished_meanwhile_is_refused(
    desk: Reader, change: dict[str, Any]
) -> None:
    await doubtful()
    pair = await first(desk)
    await bring("乙", {"brand": "SanDisk", **change})
    for verdict in ("same", "different"):
        assert (await say(desk, pair, verdict, 409))["type"].endswith(":pair_changed")
    now = await desk.get(f"/v1/matches/{pair['id']}")
    if change.get("active", True):
        assert (await say(desk, now, "different"))["status"] == "different"
    else:
        assert (await desk.get("/v1/matches"))["items"] == [], "nobody needs to look at what is not sold"
        assert (await say(desk, now, "same", 409))["type"].endswith(":side_gone")


async def test_two_skus_of_one_vendor_are_not_put_together_by_a_person_either(desk: Reader) -> None:
    await bring("甲", ("A", STICK))
    await bring("乙", ("B1", SAME_STICK), ("B2", "SanDisk Ultra flash drive USB SDCZ48 64GB"))
    refused = await say(desk, await first(desk), "same", 409)
    assert refused["type"].endswith(":one_vendor") and "乙" in refused["detail"]
    body = {"into": f"prd_{await product_of('B2')}", "why": WHY}
    await desk.post(f"/v1/products/prd_{await product_of('B1')}/merge", body, 409)


async def test_malls_learn_where_a_product_went_and_old_ids_lead_there(desk: Reader) -> None:
    await bring("甲", {"sku": "A", "title": "热水壶", "gtin": "6901234567892", "price": "20"})
    await bring("乙", {"sku": "B", "title": "电茶壶", "gtin": "6903148079874", "price": "18"})
    old, new = f"prd_{await product_of('B')}", f"prd_{await product_of('A')}"
    cursor = (await desk.get("/v1/changes"))["next"]
    merged = await desk.post(f"/v1/products/{old}/merge", {"into": new, "why": WHY})
    changes = (await desk.get("/v1/changes", after=cursor))["items"]
    assert {(c["op"], c["id"], c.get("merged_into")) for c in changes} == {("delete", old, new), ("upsert", new, None)}
    upsert = next(c for c in changes if c["op"] == "upsert")["product"]
    assert len(upsert["offers"]) == 2 and upsert["price"]["amount"] == "18.00"
    headers = {"Authorization": f"Bearer {desk.key}"}
    async with desk.client.get(f"/v1/products/{old}", headers=headers, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (307, f"/v1/products/{new}")
        assert await answer.json() == {"id": old, "merged_into": new}
    assert (await desk.get(f"/v1/products/{old}"))["id"] == new, "who follows it is there"
    for asked in ({"ids": [old]}, {"ids": [new, old]}):
        found = await desk.post("/v1/products/lookup", asked)
        assert [i["id"] for i in found["items"]] == [new]
        assert (found["merged"], found["missing"]) == ({old: new}, [])
    by_code = await desk.post("/v1/products/lookup", {"gtins": ["6903148079874", "6901234567892"]})
    assert [i["id"] for i in by_code["items"]] == [new]
    assert [i["id"] for i in (await desk.get("/v1/products", q="6903148079874"))["items"]] == [new]
    async with uow() as tx:  # an order by the old id is one for what it became
        wishes, offers = await issuing.offers_of(tx, 1, [Wish(1, int(old[4:]), None, 1)])
    assert {o.product_id for o in offers} == {int(new[4:])} == {w.product_id for w in wishes}
    await bring("丙", {"sku": "C", "title": "壶", "gtin": "6903148079874"})
    assert await together("A", "C"), "what carries the old one's GTIN belongs there"
    await desk.post(f"/v1/regroupings/{merged['id']}/undo", {"why": "two kettles after all"})
    assert f"prd_{await product_of('B')}" == f"prd_{await product_of('C')}" == old, "with what came by its key"
    assert (await desk.get(f"/v1/products/{old}"))["id"] == old
    assert (await desk.get(f"/v1/products/{new}"))["title"] == "热水壶"
    await desk.post(f"/v1/regroupings/{merged['id']}/undo", {"why": "again"}, 409)


async def test_older_ids_follow_through_several_merges_and_come_back_one_by_one(desk: Reader) -> None:
    for name in "ABC":
        await bring(
            name,
            {
                "sku": name,
                "title": "衣架锅盖雨伞"["ABC".index(name) * 2 :][:2],
                "brand": f"牌{name}",
                "model": f"型号{name}1",
            },
        )
    a, b, c = [f"prd_{await product_of(sku)}" for sku in "ABC"]
    first_entry = await desk.post(f"/v1/products/{c}/merge", {"into": b, "why": WHY})
    second = await desk.post(f"/v1/products/{b}/merge", {"into": a, "why": WHY})
    assert (await desk.post("/v1/products/lookup", {"ids": [c, b]}))["merged"] == {b: a, c: a}
    await desk.post(f"/v1/products/{c}/merge", {"into": b, "why": WHY}, 409)
    await desk.post(f"/v1/products/{a}/merge", {"into": a, "why": WHY}, 409)
    await desk.post("/v1/products/prd_999/merge", {"into": a, "why": WHY}, 404)
    await desk.post(f"/v1/regroupings/{first_entry['id']}/undo", {"why": WHY})
    assert (await product_of("C"), await together("A", "B")) == (int(c[4:]), True)
    await desk.post(f"/v1/regroupings/{second['id']}/undo", {"why": WHY})
    assert [f"prd_{await product_of(sku)}" for sku in "ABC"] == [a, b, c]
    assert await fetch("SELECT * FROM catalog_redirects") == []
    assert [e["undone_why"] for e in (await desk.get("/v1/regroupings", product_id=b))["items"]] == [WHY, WHY]


async def test_listings_split_off_stay_apart_and_come_back(desk: Reader) -> None:
    code = {"gtin": "6901234567892", "title": STICK}
    await bring("甲", {"sku": "A", **code})
    await bring("乙", {"sku": "B", **code})
    shared = f"prd_{await product_of('A')}"
    (mine,) = await fetch("SELECT id FROM catalog_listings WHERE vendor_sku = 'B'")
    moving = {"listing_ids": [f"lst_{mine['id']}"], "why": "a six-pack under the single's code"}
    entry = await desk.post(f"/v1/products/{shared}/split", moving)
    assert (entry["kind"], entry["from_id"], entry["into_id"]) == ("split", shared, f"prd_{await product_of('B')}")
    await bring("乙", {"sku": "B", **code, "price": "7"})
    await bring("乙", {"sku": "B", **code, "title": STICK + " new"})
    assert not await together("A", "B"), "neither its GTIN nor its words bring it back"
    await desk.post(f"/v1/products/{shared}/split", moving, 409)
    (other,) = await fetch("SELECT id FROM catalog_listings WHERE vendor_sku = 'A'")
    await desk.post(f"/v1/products/{shared}/split", {"listing_ids": [f"lst_{other['id']}"], "why": WHY}, 422)
    told = await desk.post(
        f"/v1/products/{entry['into_id']}/merge", {"into": shared, "why": "they are one after all"}, 409
    )
    assert told["type"].endswith(":told_apart")
    await desk.post(f"/v1/regroupings/{entry['id']}/undo", {"why": "the photo was old"})
    assert await together("A", "B")
    assert (await desk.get(f"/v1/products/{entry['into_id']}"))["id"] == shared
    await bring("乙", {"sku": "B", **code, "gtin": "6903148079874", "title": "another thing"})
    assert not await together("A", "B"), "and its keys count again"


async def test_different_said_of_what_keys_hold_together_splits_it(desk: Reader) -> None:
    await doubtful()
    await bring("甲", {"sku": "A", "title": STICK, "price": "10", "gtin": "6901234567892"})
    await bring("乙", {"sku": "B", "title": SAME_STICK, "price": "100", "gtin": "6901234567892"})
    assert await together("A", "B")
    pair = await first(desk)
    assert pair["together"]
    assert (await say(desk, pair, "different"))["together"] is False
    assert not await together("A", "B")


async def test_only_staff_may_look_and_bad_input_is_refused_in_words(desk: Reader) -> None:
    await doubtful()
    pair = await first(desk)
    for body in (
        {"verdict": "maybe", "seen": pair["seen"], "why": WHY},
        {"verdict": "same", "seen": "x", "why": WHY},
        {"verdict": "same", "seen": pair["seen"], "why": ""},
        {"verdict": "same", "seen": pair["seen"], "why": "a\x00b c"},
    ):
        await desk.post(f"/v1/matches/{pair['id']}/decide", body, 422)
    await desk.post("/v1/matches/mat_999/decide", {"verdict": "same", "seen": pair["seen"], "why": WHY}, 404)
    await desk.get("/v1/matches/nonsense", 404)
    await desk.get("/v1/matches", 422, vendor="vnd_99999999999999999999")
    await desk.post("/v1/regroupings/grp_999/undo", {"why": WHY}, 404)


def test_everything_that_matching_names_has_words_in_both_languages() -> None:
    named = {dimension for dimension, _, _ in quantities._UNITS.values()} | {
        kind for kind, _ in variants.WORDS.values()
    }
    assert named - grounds.FIELDS.keys() == set()
    assert grounds.field("number after iphone").zh == "“iphone”之后的数字"
    assert "条码" in grounds.doubt("gtin against count").zh
