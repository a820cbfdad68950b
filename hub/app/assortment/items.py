"""What each sample vendor sells: authored families times their variants, packs, branches and cities. Assumes that the
YAML files beside it are the only source. The same GTIN at several vendors is one product at nearly the same price."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from itertools import product
from typing import Any

from hub.app.assortment.model import (
    SampleItem,
    authored,
    bilingual,
    count,
    draw,
    gtin13,
    money,
    pack_in_english,
)
from hub.app.assortment.story import FORCED_PRICES, FORCED_STOCK
from hub.app.assortment.taxonomy import CATEGORIES, CLINIC, EXPERIENCES, GROCERY, PHARMACY, SHOP
from hub.kernel.types import DeliveryMode

_GOODS_FILES = ("goods_health.yaml", "goods_food.yaml", "goods_home.yaml")
_SECOND_BRAND = Decimal("0.94")  # a family's second brand is the cheaper one
_FULLY_BOOKED = 90  # about one service in so many has no free slot


@cache
def goods(vendor: str) -> tuple[SampleItem, ...]:
    """The goods of one vendor (shop, grocery or pharmacy)."""
    return tuple(
        item
        for name in _GOODS_FILES
        for family in authored(name)
        if vendor in family["at"]
        for item in _family(vendor, family)
    )


def _family(vendor: str, family: dict[str, Any]) -> Iterator[SampleItem]:
    name, name_en = bilingual(family["name"])
    category = CATEGORIES[family["category"]]
    variants = family.get("variants") or [""]
    for (b, brand), (v, variant), (p, (pack, price)) in product(
        enumerate(family["brands"]), enumerate(variants), enumerate(family["packs"].items())
    ):
        brand_en, code = authored("brands.yaml")[brand]
        zh, en, *extra = bilingual(variant, 3) if variant else ["", ""]
        gtin = gtin13(family["id"], b, v, p)
        pack_en = pack_in_english(pack)
        base = (Decimal(str(price)) + Decimal(extra[0] if extra else 0)) * (_SECOND_BRAND if b else 1)
        yield SampleItem(
            vendor=vendor,
            sku=_goods_sku(vendor, gtin),
            title=" ".join(part for part in (brand, name, zh, pack if pack_en else "") if part),
            title_en=f"{brand_en} {name_en}" + "".join(f", {part}" for part in (en, pack_en) if part),
            category=category,
            price=_price_at(vendor, family["at"], gtin, base),
            on_hand=FORCED_STOCK.get((vendor, gtin), count(f"{vendor}:{gtin}")),
            mode=DeliveryMode.PARCEL,
            description=f"{brand}{name}，{'，'.join(part for part in (zh, pack) if part)}。员工福利专供，支持开票。",
            brand=brand,
            model=f"{code}{family['id']}-{v + 1}{p + 1}" + ("B" if b else ""),
            gtin=gtin,
            pack=pack,
        )


def _goods_sku(vendor: str, gtin: str) -> str:
    prefix = {SHOP: "HH-", GROCERY: "XL", PHARMACY: "SH"}[vendor]
    return prefix + gtin[3:12]


def _price_at(vendor: str, sellers: list[str], gtin: str, base: Decimal) -> Decimal:
    """The first seller sets the price; the others stay within 4 % below and 2 % above it."""
    if (vendor, gtin) in FORCED_PRICES:
        return FORCED_PRICES[vendor, gtin]
    if vendor == sellers[0]:
        return money(base)
    return money(base * (Decimal(960 + draw(f"price:{vendor}:{gtin}", 61)) / 1000))


@cache
def services() -> tuple[SampleItem, ...]:
    """The services of the clinic group: each department's services at each branch that runs it."""
    plan = authored("services.yaml")
    found = []
    for branch in plan["branches"]:
        city, city_en = bilingual(branch["city"])
        area, area_en = bilingual(branch["area"])
        for slug in branch["departments"]:
            department, department_en = bilingual(plan["departments"][slug]["name"])
            for number, service in enumerate(plan["departments"][slug]["services"], 1):
                name, name_en, price, minutes = bilingual(service, 4)
                found.append(
                    SampleItem(
                        vendor=CLINIC,
                        sku=f"AH-{branch['code']}-{slug}-{number:02d}",
                        title=f"{name}（安禾{city}{area}门诊）",
                        title_en=f"{name_en} at Anhe {area_en} Clinic, {city_en}",
                        category=CATEGORIES[slug],
                        price=money(Decimal(price) * Decimal(branch["factor"]), "1"),
                        on_hand=None,
                        mode=DeliveryMode.APPOINTMENT,
                        description=f"{city}{area}{department}，约{minutes}分钟，需提前预约。",
                        city=city,
                        city_en=city_en,
                        department=department,
                        department_en=department_en,
                        minutes=int(minutes),
                    )
                )
    return tuple(found)


def fully_booked(sku: str) -> bool:
    """Whether the clinic has no free slot for this service: rare, and the same on every build."""
    return draw(f"booked:{sku}", _FULLY_BOOKED) == 0


@cache
def experiences(vendor: str) -> tuple[SampleItem, ...]:
    """The experiences of one vendor: all of them at the experience vendor, the nationwide vouchers at the shop too."""
    plan = authored("experiences.yaml")
    families = [family for family in plan["families"] if vendor == EXPERIENCES or family.get("shop")]
    return tuple(item for family in families for item in _outings(vendor, family, plan["cities"]))


def _outings(vendor: str, family: dict[str, Any], cities: dict[str, str]) -> Iterator[SampleItem]:
    name, name_en = bilingual(family["name"])
    everywhere: list[str | None] = [None]
    prefix = {SHOP: "HH-V", EXPERIENCES: "MY-"}[vendor]
    for (c, city), (o, option) in product(enumerate(family.get("cities", everywhere)), enumerate(family["options"])):
        zh, en, *extra = bilingual(option, 3)
        number = f"{family['id']}{c:02d}{o + 1}"
        base = Decimal(family["price"]) + Decimal(extra[0] if extra else 0)
        factor = Decimal(97 + draw(f"city:{city}", 9)) / 100 if city else Decimal(1)
        yield SampleItem(
            vendor=vendor,
            sku=prefix + number,
            title=f"{city}·{name}（{zh}）" if city else f"{name}（{zh}·全国通用）",
            title_en=f"{name_en}, {en} – " + (cities[city] if city else "Nationwide"),
            category=CATEGORIES[family["category"]],
            price=money(base * factor * (Decimal("1.02") if vendor == SHOP else 1), "1"),
            on_hand=count(f"{vendor}:{number}"),
            mode=DeliveryMode.CODE,
            description=f"{name}，{zh}。{city or '全国'}可用，下单后发送兑换码，90天内有效。",
            brand="慢野" if city is None else None,
            model=f"MY{number}" if city is None else None,
            city=city,
            city_en=cities[city] if city else None,
        )


@cache
def items(vendor: str) -> tuple[SampleItem, ...]:
    """Every clean SKU of one supplying vendor. Raises KeyError for an unknown key."""
    build: dict[str, Callable[[], tuple[SampleItem, ...]]] = {
        SHOP: lambda: goods(SHOP) + experiences(SHOP),
        GROCERY: lambda: goods(GROCERY),
        PHARMACY: lambda: goods(PHARMACY),
        CLINIC: services,
        EXPERIENCES: lambda: experiences(EXPERIENCES),
    }
    return build[vendor]()
