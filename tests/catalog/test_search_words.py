"""What a shopper types, in two languages, two scripts, by sound and with slips, and what is found and suggested."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import reindexing, sampling, segment, wording
from catalog.folding import plain
from catalog.matching.text import fold as matched
from catalog.segment import query_tokens, search_tokens, terms
from catalog.store import words as store
from catalog.vocabulary import Vocabulary, pinyin
from hub.kernel.db import HUB, Database, read, uow
from hub.kernel.errors import Conflict
from tests.catalog.shop import Reader, feed, item, product, reader

PATH = "/v1/products"


@pytest.fixture
async def mall(database: Database) -> AsyncIterator[Reader]:
    await feed(1)
    async with reader() as made:
        yield made


# Folding


def test_search_and_matching_take_the_same_things_away() -> None:
    assert plain("醫用口罩 Ｎ９５ Nestlé 裡") == "医用口罩 N95 Nestle 里"
    assert matched("醫用口罩 Ｎ９５ Nestlé") == "医用口罩 n95 nestle"
    assert query_tokens("醫用口罩 Ｎ９５") == query_tokens("医用口罩 n95") == ["医用", "口罩", "n95"]
    assert search_tokens("無線耳機") == search_tokens("无线耳机")


def test_a_plural_meets_both_ways_of_writing_the_one() -> None:
    for many, one in (("hoodies", "hoodie"), ("berries", "berry"), ("pies", "pie"), ("boxes", "box")):
        for title, q in ((many, one), (one, many), (many, many)):
            held = set(search_tokens(title).split())
            assert any(set(way) <= held for term in terms(query_tokens(q)) for way in term.ways), (title, q)


@given(st.text(max_size=60))
def test_folding_twice_changes_nothing_more(text: str) -> None:
    assert plain(plain(text)) == plain(text)


# What a query meant

KNOWN = {
    "口罩": 900, "医用": 500, "耳机": 300, "无线": 200, "布洛芬": 50, "胶囊": 45, "牙膏": 70, "酸奶": 60, "电饭煲": 33,
    "血压计": 20, "mask": 800, "face": 700, "headphone": 300, "wireless": 280, "shampoo": 40, "toothpaste": 30,
    "ibuprofen": 20, "running": 20, "shoe": 20, "task": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary([(word, products, pinyin(word)) for word, products in KNOWN.items()])


@pytest.mark.parametrize(
    ("q", "meant"),
    [
        ("kouzhao", "口罩"),
        ("KouZhao", "口罩"),
        ("kou zhao", "口罩"),
        ("口照", "口罩"),
        ("一用口照", "医用 口罩"),
        ("yiyongkouzhao", "医用 口罩"),
        ("yiyong kouzhao", "医用 口罩"),
        ("n95 kouzhao", "n95 口罩"),
        ("布洛分", "布洛芬"),
        ("布落芬胶囊", "布洛芬 胶囊"),
        ("牙高", "牙膏"),
        ("suannai", "酸奶"),
        ("電飯包", "电饭煲"),
        ("maks", "mask"),
        ("headphnes", "headphone"),
        ("wirless headphone", "wireless headphone"),
        ("ibuprofin", "ibuprofen"),
        ("shapmoo", "shampoo"),
        ("facemask", "face mask"),
        ("runing shoes", "running shoes"),
        ("amsk", "mask"),
    ],
)
def test_a_query_with_a_word_that_no_title_has_is_read_as_what_it_meant(
    vocabulary: Vocabulary, q: str, meant: str
) -> None:
    assert vocabulary.corrected(q)[0] == meant


@pytest.mark.parametrize(
    "q",
    [
        "口罩",
        "口罩 耳机",
        "face masks",
        "wirel",
        "n95",
        "wh-1000xm5",
        "500ml",
        "xyzzyq",
        "火箭筒",
        "",
        "ab",
        "x" * 41,
        "🙂",
    ],
)
def test_known_words_models_and_what_is_like_nothing_stay_as_they_are(vocabulary: Vocabulary, q: str) -> None:
    assert vocabulary.corrected(q) == []


@given(st.text(max_size=50))
def test_any_query_is_read_without_harm(text: str) -> None:
    few = Vocabulary([(word, products, pinyin(word)) for word, products in KNOWN.items()])
    assert all(len(one) < 400 for one in few.corrected(text))
    few.beginning(text)


# Over HTTP

TITLES = (
    ("3M 一次性医用防护口罩 N95 50只", "3M Disposable Medical Face Masks N95"),
    ("稳健醫用外科口罩 10片", "Winner Surgical Masks"),
    ("布洛芬缓释胶囊 0.3g*20粒", "Ibuprofen Sustained-release Capsules"),
    ("索尼无线降噪耳机 WH-1000XM5", "Sony Wireless Headphones"),
    ("蒙牛无糖酸奶 200g", "Sugar-free Yogurt"),
    ("美的电饭煲 4L", "Rice Cooker"),
)
MASKS = {TITLES[0][0], TITLES[1][0]}


async def _counted(titles: Any = TITLES) -> None:
    for title, title_en in titles:
        await item(title, title_en=title_en)
    assert await wording.count_words() > 0


async def test_a_shopper_finds_what_was_meant(mall: Reader) -> None:
    await _counted()
    asked: list[tuple[str, set[str], str | None]] = [
        ("医用口罩", MASKS, None), ("醫用口罩", MASKS, None), ("N95 口罩", {TITLES[0][0]}, None),
        ("n９５口罩", {TITLES[0][0]}, None), ("外科口罩", {TITLES[1][0]}, None), ("kouzhao", MASKS, "口罩"),
        ("口照", MASKS, "口罩"), ("n95 kouzhao", {TITLES[0][0]}, "n95 口罩"), ("布洛分", {TITLES[2][0]}, "布洛芬"),
        ("ibuprofin", {TITLES[2][0]}, "ibuprofen"), ("headphnes", {TITLES[3][0]}, "headphone"),
        ("WH1000XM5", {TITLES[3][0]}, None), ("sony 耳机", {TITLES[3][0]}, None), ("無糖酸奶", {TITLES[4][0]}, None),
        ("suannai", {TITLES[4][0]}, "酸奶"), ("ricecooker", {TITLES[5][0]}, "rice cooker"),
        ("surgic", {TITLES[1][0]}, None),
        ("口罩 耳机", set(), None), ("火箭筒", set(), None), ("wh-1000xm6", set(), None),
    ]  # fmt: skip
    for q, titles, meant in asked:
        page = await mall.get(PATH, q=q)
        assert {i["title"] for i in page["items"]} == titles, q
        assert page.get("corrected") == (None if meant is None else {"from": q, "to": meant}), q


async def test_a_corrected_query_turns_its_pages_and_keeps_its_filters(mall: Reader) -> None:
    await _counted([(f"口罩 {n}", f"mask {n}") for n in range(5)])
    await item("口罩 礼", kind="experience", mode="code")
    first = await mall.get(PATH, q="kouzhao", kind="goods", limit=2, facets=1)
    assert (first["total"], first["facets"]["kind"]) == (5, [{"value": "goods", "count": 5}])
    seen = await mall.all_pages(q="kouzhao", kind="goods", limit=2)
    assert len({i["id"] for i in seen}) == len(seen) == 5
    second = await mall.get(PATH, q="kouzhao", kind="goods", limit=2, cursor=first["next"])
    assert second["corrected"] == {"from": "kouzhao", "to": "口罩"}
    mark, _, inner = first["next"].split(".", 2)
    other = base64.urlsafe_b64encode("耳机".encode()).decode()
    for bent in (f"{mark}.{other}.{inner}", f"{mark}.!!.{inner}", f"{mark}.", "~", f"~00000000.{other}.{inner}", inner):
        problem = await mall.get(PATH, q="kouzhao", kind="goods", limit=2, cursor=bent, expect=422)
        assert problem["errors"][0]["pointer"] == "/cursor", bent
    await mall.get(PATH, q="erji", kind="goods", limit=2, cursor=first["next"], expect=422)


async def test_clinics_are_found_by_sound_too(mall: Reader) -> None:
    await item("洗牙 套餐", kind="service", mode="appointment", city="上海", on_hand=None)
    await item("洗牙 套餐 器械")
    await wording.count_words()
    page = await mall.get("/v1/clinics", q="taocan")
    assert ([i["title"] for i in page["items"]], page["corrected"]["to"]) == (["洗牙 套餐"], "套餐")


async def test_suggestions_come_by_writing_and_by_sound_with_the_most_products_first(mall: Reader) -> None:
    await _counted()
    sampling.forget()

    async def texts(q: str) -> list[str]:
        return [one["text"] for one in (await mall.get(f"{PATH}/suggest", q=q))["items"]]

    assert (await mall.get(f"{PATH}/suggest", q="口"))["items"] == [{"text": "口罩", "products": 2}]
    assert await texts("kouz") == await texts("KOU") == ["口罩"]
    assert (await texts("ma"))[0] == "mask"
    assert await texts("wirel") == ["wireless"]
    assert await texts("无线 er") == ["无线 耳机"]
    assert await texts("无线耳") == ["无线耳机"]
    assert await texts("无线 口") == []  # there is nothing of both
    assert await texts("無") == await texts("无")
    assert await texts("!!!") == await texts("zzz") == []
    assert len((await mall.get(f"{PATH}/suggest", q="s", limit=2))["items"]) == 2
    assert await texts("") == await texts(" ") == []
    for bad in ({"q": "x" * 101}, {"q": "a", "limit": 0}, {"q": "a", "limit": 21}, {"Q": "a"}):
        await mall.get(f"{PATH}/suggest", expect=422, **bad)


async def test_words_are_counted_when_something_changed_and_no_oftener_than_it_is_worth(mall: Reader) -> None:
    await _counted()
    assert await wording.count_words() == 0
    async with uow(HUB) as tx:
        await tx.run(
            "UPDATE catalog_upkeep SET began_at = began_at - interval '1 hour', done_at = done_at - interval '1 hour'"
        )
    assert await wording.count_words() == 0  # an hour later, and nothing has changed
    async with uow(HUB) as tx:
        await tx.run("UPDATE catalog_products SET listed = false WHERE title LIKE '美的%'")
        await tx.run("INSERT INTO catalog_changes (product_ids, at) VALUES ('{6}', now())")
    assert await wording.count_words() > 0
    words = {row[0]: row[1] for row in await read("SELECT word, products FROM catalog_words")}
    assert words["口罩"] == 2
    assert "电饭煲" not in words
    assert not any(character.isdigit() for word in words for character in word)


async def test_counting_twice_at_once_counts_once(mall: Reader) -> None:
    await item("口罩")
    async with uow(HUB) as tx:
        assert await store.begin_counting(tx)
        assert await wording.count_words() == 0


# Cutting titles anew


async def test_reindexing_brings_old_words_up_to_date_and_goes_on_where_it_was_cut_off(
    mall: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [(await item(f"醫用口罩 {n}"))[0] for n in range(7)]
    async with uow(HUB) as tx:
        await tx.run("UPDATE catalog_products SET search = '醫 用口罩'::tsvector")
        await tx.run("UPDATE catalog_listings SET pack = '50只' WHERE product_id = $1", ids[0])
    assert await mall.titles(q="医用口罩") == []
    monkeypatch.setattr(reindexing, "BATCH", 2)

    class Cut(Exception):
        pass

    def cut(share: float) -> None:
        if share > 0.5:
            raise Cut

    async with uow(HUB) as tx:
        assert await reindexing.needed(tx)
    with pytest.raises(Cut):
        await reindexing.reindex(cut)
    async with uow(HUB) as tx:
        assert await reindexing.needed(tx)
    shares: list[float] = []
    assert await reindexing.reindex(shares.append) == (3, 3)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    async with uow(HUB) as tx:
        assert not await reindexing.needed(tx)
    assert len(await mall.titles(q="医用口罩")) == 7
    assert await mall.titles(q="医用口罩 50只") == ["醫用口罩 0"]
    assert {tuple(row[0]) for row in await read("SELECT vendor_ids FROM catalog_products")} == {(1,)}
    assert await reindexing.reindex(shares.append) == (0, 0)
    assert await reindexing.reindex(shares.append, again=True) == (7, 0)


async def test_reindexing_an_empty_catalogue_ends_and_older_rules_keep_off_newer_ones(
    mall: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await reindexing.reindex(lambda _share: None, again=True) == (0, 0)
    await product("口罩")
    monkeypatch.setattr(segment, "RULES", segment.RULES + 1)
    assert await reindexing.reindex(lambda _share: None) == (1, 1)
    monkeypatch.setattr(segment, "RULES", segment.RULES - 1)
    with pytest.raises(Conflict, match="newer version"):
        await reindexing.reindex(lambda _share: None)


# Real titles


@pytest.mark.realdata
async def test_real_titles_are_found_by_what_people_type(mall: Reader, realdata: Path) -> None:
    with (realdata / "catalog/woocommerce/sample_products.csv").open(encoding="utf-8-sig") as file:
        titles = [row["Name"] for row in csv.DictReader(file)]
    shop = json.loads((realdata / "catalog/saleor/populatedb_data.json").read_text())
    titles += [row["fields"]["name"] for row in shop if row["model"] == "product.product"]
    drugs = json.loads((realdata / "pharmacy/nmpa_25.json").read_text())
    titles += [f"{row['productName']} {row['spec']}" for row in drugs]
    await _counted([(title, None) for title in titles])
    first, fentanyl = "金前感冒胶囊 每粒装0.3g", "枸橼酸芬太尼注射液 10ml:0.5mg(以芬太尼计)"
    asked = {
        "hoodie": "Blue Hoodie",
        "hodie": "Blue Hoodie",
        "blue hoodies": "Blue Hoodie",
        "logo hoodie": "Hoodie with Logo",
        "t-shirt": "T-Shirt",
        "tshirt": "T-Shirt",
        "v neck": "V-Neck T-Shirt",
        "V-neck t-shirt red": "V-Neck T-Shirt - Red",
        "sunglases": "Sunglasses",
        "cushon": "The Dash Cushion",
        "bananna juice": "Banana Juice",
        "banan": "Banana Juice",
        "pirate beanie": "Pirate's Beanie",
        "gift card 50": "Gift card 50",
        "giftcard": "Gift card 50",
        "balance 420": "Paul's Balance 420",
        "plimsols": "White Plimsolls",
        "感冒胶囊": first,
        "感冒膠囊": first,
        "ganmao": first,
        "感冒 0.3g": first,
        "芬太尼": fentanyl,
        "枸橼酸": fentanyl,
        "口服補液鹽": "口服补液盐散(Ⅰ) 14.75克",
        "苯甲醇": "苯甲醇注射液 3.2ml:28.8mg",
        "脑膜炎 疫苗": titles[-16],
        "zhusheye": "苯甲醇注射液 3.2ml:28.8mg",
        "注射液 500ml": None,
        "laptop": None,
    }
    wrong = {}
    for q, title in asked.items():
        found = [i["title"] for i in await mall.all_pages(q=q)]
        if (title is None and found) or (title is not None and title not in found):
            wrong[q] = found
    assert wrong == {}
