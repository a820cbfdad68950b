"""An assortment of any size for the reading benchmark: bilingual titles whose words are as unevenly spread as in a
real shop (a few words in every tenth title, most in one of thousands), loaded straight into the catalogue's tables."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from catalog.segment import search_tokens

FEEDS = 40
BRANDS = 600
NOUNS = [
    ("口罩", "face mask", "health/masks"),
    ("耳机", "headphones", "electronics/audio"),
    ("牙膏", "toothpaste", "care/oral"),
    ("洗发水", "shampoo", "care/hair"),
    ("布洛芬缓释胶囊", "ibuprofen capsules", "pharmacy/pain"),
    ("酸奶", "yogurt", "food/dairy"),
    ("大米", "rice", "food/grain"),
    ("绿茶", "green tea", "food/tea"),
    ("保温杯", "vacuum flask", "home/kitchen"),
    ("电饭煲", "rice cooker", "appliances/kitchen"),
    ("体检套餐", "health check-up", "services/clinic"),
    ("洗牙", "dental cleaning", "services/dental"),
    ("电影票", "cinema ticket", "experiences/cinema"),
    ("温泉门票", "hot spring ticket", "experiences/spa"),
    ("维生素", "vitamin tablets", "pharmacy/vitamins"),
    ("血压计", "blood pressure monitor", "health/devices"),
    ("运动鞋", "running shoes", "sport/shoes"),
    ("羽绒服", "down jacket", "clothing/coats"),
    ("洗衣液", "laundry detergent", "home/cleaning"),
    ("纸巾", "paper tissues", "home/paper"),
    ("咖啡豆", "coffee beans", "food/coffee"),
    ("牛奶", "milk", "food/dairy"),
    ("键盘", "mechanical keyboard", "electronics/computer"),
    ("鼠标", "wireless mouse", "electronics/computer"),
    ("充电器", "fast charger", "electronics/phone"),
    ("创可贴", "adhesive bandage", "health/first-aid"),
    ("消毒液", "disinfectant", "health/hygiene"),
    ("跑步机", "treadmill", "sport/machines"),
    ("瑜伽垫", "yoga mat", "sport/yoga"),
    ("月饼礼盒", "mooncake gift box", "food/gifts"),
]
TRAITS = [
    ("一次性", "disposable"),
    ("医用", "medical"),
    ("儿童", "kids"),
    ("便携", "portable"),
    ("家用", "household"),
    ("无线", "wireless"),
    ("防水", "waterproof"),
    ("有机", "organic"),
    ("无糖", "sugar free"),
    ("加厚", "extra thick"),
    ("旗舰", "flagship"),
    ("轻薄", "slim"),
    ("智能", "smart"),
    ("静音", "silent"),
    ("进口", "imported"),
    ("礼盒装", "gift set"),
    ("经典", "classic"),
    ("升级版", "upgraded"),
    ("高端", "premium"),
    ("学生", "student"),
]
_SYLLABLES = "可孚稳健海康飞利欧姆龙美的格力九阳苏泊尔蒙牛伊利振德奥佳联想华硕"
_CITIES = ("上海", "北京", "深圳", "杭州", "成都")
NOW = datetime.now(UTC)


def brands(count: int, rng: random.Random) -> list[str]:
    """Invented bilingual brand names."""
    latin = ["ka", "ro", "mi", "ve", "ton", "lux", "pa", "zen", "do", "ra", "fi", "nor"]
    return [
        "".join(rng.choices(_SYLLABLES, k=2)) + " " + "".join(rng.choices(latin, k=3)).capitalize()
        for _ in range(count)
    ]


def products(count: int) -> Iterator[dict[str, Any]]:
    """`count` products, the same ones each time."""
    rng = random.Random(20260501)
    names = brands(BRANDS, rng)
    weights = [1 / (i + 3) for i in range(len(names))]
    noun_weights = [1 / (i + 4) for i in range(len(NOUNS))]
    for i in range(1, count + 1):
        zh, en, category = rng.choices(NOUNS, noun_weights)[0]
        brand = rng.choices(names, weights)[0]
        traits = rng.sample(TRAITS, 2)
        model = f"{rng.choice('ABKNSW')}{rng.choice('XTRM')}-{rng.randrange(100, 9999)}"
        kind = {"services": "service", "experiences": "experience"}.get(category.split("/")[0], "goods")
        mode = {"goods": "parcel", "service": "appointment", "experience": "code"}[kind]
        pack = (
            f"{rng.choice((1, 2, 5, 10, 20, 50))}{rng.choice(('只装', '盒', '支', '瓶'))}" if kind == "goods" else None
        )
        title = f"{brand.split()[0]}{traits[0][0]}{traits[1][0]}{zh}{model} {pack or ''}".strip()
        title_en = f"{brand.split()[1]} {traits[0][1]} {traits[1][1]} {en} {model}"
        yield {
            "id": i, "kind": kind, "mode": mode, "title": title, "title_en": title_en, "brand": brand, "model": model,
            "category": category, "city": rng.choice(_CITIES) if mode == "appointment" else None, "pack": pack,
            "price": rng.randrange(500, 90000) / 100, "popularity": min(int(rng.paretovariate(0.8)), 10**9),
            "sellable": rng.random() < 0.93, "offers": 1 + (rng.random() < 0.3),
            "search": search_tokens(title, title_en, brand, model, category, pack),
        }  # fmt: skip


async def load(conn: asyncpg.Connection[Any], count: int) -> None:
    """Fill empty catalogue tables with `count` products, 1.3 offers each, with stock, from 40 feeds."""
    await conn.execute(
        "INSERT INTO catalog_feeds (connection_id, vendor_id, vendor_name, role, promise_s, complete_at) "
        "SELECT g, g, '供应商 ' || g, 'supply', 3600, $2 FROM generate_series(1, $1::bigint) g",
        FEEDS,
        NOW + timedelta(days=1),
    )
    await conn.execute("CREATE TEMP TABLE staged (LIKE catalog_products INCLUDING GENERATED)")
    await conn.execute(
        "ALTER TABLE staged ALTER search TYPE text USING '', ADD pack text, ADD offers int, "
        "ALTER attributes SET DEFAULT '{}', ALTER listed SET DEFAULT true"
    )
    columns = (
        "id", "kind", "mode", "title", "title_en", "brand", "model", "category", "city", "pack", "price", "popularity",
        "sellable", "offers", "search",
    )  # fmt: skip
    rows = [(*(p[c] for c in columns), "CNY", NOW, NOW) for p in products(count)]
    await conn.copy_records_to_table("staged", records=rows, columns=[*columns, "currency", "created_at", "updated_at"])
    rows.clear()
    shared = "kind, mode, title, title_en, brand, model, category, city, price, currency, created_at, updated_at"
    await conn.execute(
        f"INSERT INTO catalog_products (id, {shared}, popularity, sellable, search, vendor_ids) "
        f"OVERRIDING SYSTEM VALUE SELECT id, {shared}, popularity, sellable, search::tsvector, "
        "(SELECT array_agg(DISTINCT 1 + (id * 7 + n * 13) % $1) FROM generate_series(0, offers - 1) n) "
        "FROM staged ORDER BY id",
        FEEDS,
    )
    await conn.execute(
        f"INSERT INTO catalog_listings (connection_id, vendor_sku, product_id, digest, pack, {shared}) "
        f"SELECT 1 + (id * 7 + n * 13) % $1, 'SKU-' || id || '-' || n, id, '\\x00', pack, "
        "kind, mode, title, title_en, brand, model, category, city, price * (1 + n * 0.03), currency, created_at, "
        "updated_at FROM staged, generate_series(0, offers - 1) n ORDER BY id",
        FEEDS,
    )
    await conn.execute(
        "INSERT INTO catalog_stock (listing_id, on_hand, level, reported_at) "
        "SELECT l.id, CASE WHEN s.sellable THEN 5 + l.id % 200 ELSE 0 END, "
        "CASE WHEN s.sellable THEN 'in_stock' ELSE 'out' END, $1 "
        "FROM catalog_listings l JOIN staged s ON s.id = l.product_id",
        NOW,
    )
    await conn.execute("DROP TABLE staged")
    for table in ("catalog_feeds", "catalog_products", "catalog_listings", "catalog_stock"):
        await conn.execute(f"VACUUM (ANALYZE) {table}")
