"""Google Merchant product feeds: the price in force now, what can be had now, the pack and the shipping for one
country, in the words of Google's product data specification. `GOOGLE` reads whatever it can; `STRICT` wants what the
specification requires and the hub cannot do without."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from connectors.table_feed.preset import At, Fields, Preset
from connectors.table_feed.values import amount, span

_LEVELS = {  # only what can be delivered now counts as stock; the vendor's own word stays in the attributes
    "in_stock": "in_stock",
    "limited_availability": "limited",
    "out_of_stock": "out",
    "preorder": "out",
    "backorder": "out",
    "discontinued": "out",
}
_CONDITIONS = ("new", "refurbished", "used")
_YES = ("yes", "true", "1")
_COUNTED = re.compile(r"(\d+(?:\.\d+)?)\s*(?:ct|item|sheet)")
_SHIPPING = re.compile(r"shipping\s*\((.+)\)")
_AREAS = ("region", "postal_code", "location_id", "location_group_name")


def _google(fields: Fields, at: At) -> Fields:
    """The price in force now, availability as a level, the pack in words, shipping to the connection's country."""

    def get(name: str) -> str:
        return fields.get(name, "").strip()

    made: Fields = _price(get("price"), get("sale_price"), get("sale_price_effective_date"), at)
    availability = get("availability").casefold().replace(" ", "_")
    if availability:
        level = _LEVELS.get(availability)
        if level is None:
            raise ValueError(f"{availability[:60]!r} is not an availability of Google Merchant")
        made["=level"] = level
        made["=active"] = "0" if availability == "discontinued" else "1"
    condition = get("condition").casefold()
    if condition:
        if condition not in _CONDITIONS:
            raise ValueError(f"{condition[:60]!r} is not a condition of Google Merchant")
        made["=condition"] = condition
    if get("subscription_cost"):  # a price that comes with a contract is not what an ordinary buyer pays
        made["=condition"] = "member"
    if pack := _pack(get("multipack"), get("unit_pricing_measure")):
        made["=pack"] = pack
    if get("is_bundle").casefold() not in _YES:  # a bundle carries the identifiers of its main article, which it is not
        made |= {"=gtin": get("gtin"), "=mpn": get("mpn")}
    if shipping := _shipping(fields, at.country):
        made["=shipping"] = shipping
    return fields | made


def _price(price: str, sale: str, during: str, at: At) -> Fields:
    """The price in force now; with a sale that has a window, until when it holds and what holds beside it."""
    if not (sale and during):
        return {"=price": sale or price}
    first, last = span(during, at.zone)
    begins, ends = first.isoformat(), (last + timedelta(microseconds=1)).isoformat()
    if first <= at.now <= last:
        return {"=price": sale, "=from": begins, "=until": ends, "=other": price}
    if at.now < first and price:
        return {"=price": price, "=until": begins, "=other": sale, "=other_from": begins, "=other_until": ends}
    return {"=price": price}


def _pack(multipack: str, measure: str) -> str:
    """How many the merchant put together or, without that, how much is in it."""
    if multipack not in ("", "0", "1"):
        if not multipack.isdigit():
            raise ValueError(f"multipack {multipack[:20]!r} is not a number")
        return f"{multipack}件装"
    counted = _COUNTED.fullmatch(measure)
    return f"{counted[1]} 件" if counted else measure


def _shipping(fields: Fields, country: str) -> str:
    """What shipping to the country costs: the cheapest service there, one for all of it before one for a part."""
    offers = [*_nested(fields), *_packed(fields)]
    fitting = [offer for offer in offers if offer.get("country", "").strip().upper() in ("", country)]
    whole = [offer for offer in fitting if not any(offer.get(area) for area in _AREAS)]
    prices = [price for offer in whole or fitting if (price := offer.get("price", "").strip())]
    return min(prices, key=lambda price: Decimal(amount(price)[0])) if prices else ""


def _nested(fields: Fields) -> list[dict[str, str]]:
    """XML: <shipping><country/><price/></shipping>, once for each. Raises ValueError when it cannot be told which price
    belongs to which country."""
    prices = [name for name in fields if name.startswith("shipping.price")]
    if not prices:
        return []
    groups: list[dict[str, str]] = [{"price": fields[name]} for name in prices]
    for part in ("country", *_AREAS):
        said = [value for name, value in fields.items() if name.partition("[")[0] == f"shipping.{part}"]
        if said and len(said) != len(prices) and len(prices) > 1:
            raise ValueError(f"not every shipping price says its {part}, so none can be told apart")
        for group, value in zip(groups, said, strict=False):
            group[part] = value
    return groups


def _packed(fields: Fields) -> list[dict[str, str]]:
    """Text: `CN::Standard:5.00 CNY` under `shipping`, or parts in the order of a header like `shipping(country:price)`;
    several with commas between."""
    found: list[dict[str, str]] = []
    for name, value in fields.items():
        header = _SHIPPING.fullmatch(name.strip().casefold())
        if not (header or name == "shipping") or not value.strip():
            continue
        order = [part.strip().replace(" ", "_") for part in header[1].split(":")] if header else []
        for group in value.split(","):
            parts = group.split(":")
            names = order or {1: ["price"], 2: ["country", "price"]}.get(
                len(parts), ["country", "region", "service", "price"]
            )
            if len(parts) != len(names):
                raise ValueError(f"shipping {group.strip()[:60]!r} does not have the parts {':'.join(names)}")
            found.append(dict(zip(names, parts, strict=True)))
    return found


GOOGLE = Preset(
    map={
        "vendor_sku": "id",
        "title": {"columns": ["title", "structured_title.content"]},
        "description": {"columns": ["description", "structured_description.content"], "html": True},
        "brand": "brand",
        "gtin": "=gtin",
        "model": "=mpn",
        "price": "=price",
        "level": "=level",
        "active": "=active",
        "pack": "=pack",
        "shipping": "=shipping",
        "category": {"columns": ["product_type", "google_product_category"]},
        "image_url": "image_link",
        "url": {"columns": ["link", "link@href"]},
        "family_id": "item_group_id",
        "attributes": {
            "availability": "availability",
            "availability_date": "availability_date",
            "condition": "=condition",
            "color": "color",
            "size": "size",
            "material": "material",
            "pattern": "pattern",
            "gender": "gender",
            "age_group": "age_group",
            "adult": "adult",
            "is_bundle": "is_bundle",
            "multipack": "multipack",
            "list_price": "price",
            "price_from": "=from",
            "price_until": "=until",
            "other_price": "=other",
            "other_price_from": "=other_from",
            "other_price_until": "=other_until",
            "unit_pricing_measure": "unit_pricing_measure",
            "unit_pricing_base_measure": "unit_pricing_base_measure",
        },
    },
    ignore=(
        "additional_image_link*", "mobile_link*", "identifier_exists", "shipping*", "tax*", "custom_label_*",
        "product_detail*", "product_highlight*", "google_product_category", "guid*", "pubDate", "updated", "summary",
        "author*", "expiration_date", "size_type", "size_system", "ads_redirect", "promotion_id*",
        "excluded_destination*", "included_destination*", "energy_efficiency_class*", "link@*", "min_handling_time",
        "max_handling_time", "transit_time_label", "installment*", "cost_of_goods_sold*", "product_type*",
        "canonical_link", "availability*", "structured_title*", "structured_description*", "lifestyle_image_link",
        "video_link*", "virtual_model_link", "product_length", "product_width", "product_height", "product_weight",
        "ships_from_country", "free_shipping_threshold*", "loyalty_program*", "loyalty_points*", "certification*",
        "min_energy_efficiency_class", "max_energy_efficiency_class", "auto_pricing_min_price", "maximum_retail_price",
        "external_seller_id", "pause", "subscription_cost*", "shopping_ads_excluded_country*", "carrier_shipping*",
        "pickup_method", "pickup_sla", "short_title", "cost_of_goods_sold", "gtin*", "@*",
    ),
    prepare=_google,
    reads=(
        "price", "sale_price", "sale_price_effective_date", "availability", "condition", "multipack", "gtin", "mpn",
        "is_bundle", "unit_pricing_measure", "subscription_cost", "shipping", "shipping.price",
    ),
    timed=True,
)  # fmt: skip


def _strict(fields: Fields, at: At) -> Fields:
    for columns in STRICT.needs:
        if not any(fields.get(column, "").strip() for column in columns):
            raise ValueError(f"{columns[0]} is empty; a merchant feed requires it")
    return _google(fields, at)


STRICT = replace(
    GOOGLE, prepare=_strict, needs=(("price",), ("availability",), ("link", "link@href"))
)  # id and title are every listing's
