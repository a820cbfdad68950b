"""Ready-made column maps for files that thousands of shops can export as they are: Google Merchant product feeds
and WooCommerce's product exports (CSV and WordPress XML). A preset is a map plus, where columns depend on each
other, one pure function that prepares a record. A connection's own `map` goes on top, field by field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any

from connectors.table_feed.values import instant, span

Fields = dict[str, str]
Prepare = Callable[[Fields, datetime, tzinfo | None], Fields | None]
"""Adds derived columns (their names start with `=`) at the given time; None: the row is no sellable thing by design.
Raises ValueError when the columns contradict each other."""


@dataclass(frozen=True)
class Preset:
    """A named map: canonical field -> column spec (see config.ColumnSpec), columns known and unused, preparation."""

    map: dict[str, Any] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    prepare: Prepare | None = None
    reads: tuple[str, ...] = ()  # columns that `prepare` looks at
    record: str | None = None
    timed: bool = False  # what a row says depends on the time: the same file says something else tomorrow


_AVAILABILITY = {  # only what can be delivered now counts as stock; the vendor's own word stays in the attributes
    "in_stock": "in_stock",
    "in stock": "in_stock",
    "limited_availability": "limited",
    "out_of_stock": "out",
    "out of stock": "out",
    "preorder": "out",
    "backorder": "out",
    "discontinued": "out",
}


def _google(fields: Fields, now: datetime, zone: tzinfo | None) -> Fields:
    """The price in force now, availability as a level, and the pack in words."""
    get = fields.get
    made: Fields = {}
    sale = get("sale_price", "").strip()
    during = get("sale_price_effective_date", "").strip()
    if sale and during:
        first, last = span(during)
        sale = sale if first <= now <= last else ""
    made["=price"] = sale or get("price", "")
    availability = get("availability", "").strip().casefold()
    if availability:
        level = _AVAILABILITY.get(availability)
        if level is None:
            raise ValueError(f"{availability[:60]!r} is not an availability of Google Merchant")
        made["=level"] = level
        made["=active"] = "0" if availability == "discontinued" else "1"
    multipack = get("multipack", "").strip()
    measure = get("unit_pricing_measure", "").strip()
    if multipack not in ("", "0", "1"):
        if not multipack.isdigit():
            raise ValueError(f"multipack {multipack[:20]!r} is not a number")
        made["=pack"] = f"{multipack}件装"
    elif measure:
        made["=pack"] = measure.replace("ct", "件") if measure.rstrip().endswith("ct") else measure
    shipping = get("shipping.price") or get("shipping", "")
    if shipping:  # XML nests it; TSV packs it as country:region:service:price
        made["=shipping"] = shipping.rpartition(":")[2].strip()
    return fields | made


GOOGLE = Preset(
    map={
        "vendor_sku": "id",
        "title": {"columns": ["title", "structured_title.content"]},
        "description": {"columns": ["description", "structured_description.content"], "html": True},
        "brand": "brand",
        "gtin": "gtin",
        "model": "mpn",
        "price": "=price",
        "level": "=level",
        "active": "=active",
        "pack": "=pack",
        "shipping": "=shipping",
        "category": {"columns": ["product_type", "google_product_category"]},
        "image_url": "image_link",
        "url": {"columns": ["link", "link@href"]},
        "attributes": {
            "availability": "availability",
            "availability_date": "availability_date",
            "condition": "condition",
            "color": "color",
            "size": "size",
            "material": "material",
            "item_group_id": "item_group_id",
            "is_bundle": "is_bundle",
            "list_price": "price",
            "unit_pricing_measure": "unit_pricing_measure",
            "unit_pricing_base_measure": "unit_pricing_base_measure",
        },
    },
    ignore=(
        "additional_image_link*", "mobile_link", "identifier_exists", "adult", "age_group", "gender", "shipping*",
        "tax*", "custom_label_*", "product_detail*", "product_highlight*", "google_product_category", "guid*",
        "pubDate", "updated", "summary", "author*", "expiration_date", "size_type", "size_system", "ads_redirect",
        "promotion_id*", "excluded_destination*", "included_destination*", "energy_efficiency_class*", "link@*",
        "min_handling_time", "max_handling_time", "transit_time_label", "installment*", "cost_of_goods_sold",
        "product_type*", "pattern", "canonical_link", "availability*",
    ),
    prepare=_google,
    reads=(
        "price", "sale_price", "sale_price_effective_date", "availability", "multipack", "unit_pricing_measure",
        "shipping", "shipping.price",
    ),
)  # fmt: skip

_NOT_SOLD_ALONE = {"variable", "grouped", "external"}  # a parent, a collection, a link to another shop


def _woo_price(regular: str, sale: str, first: str, last: str, now: datetime, zone: tzinfo | None) -> str:
    """The price in force now. WooCommerce's export writes the last day of a sale as a date; it counts in full."""
    if not sale:
        return regular
    if first and now < instant(first, zone):
        return regular
    if last:
        end = instant(last, zone)
        if now >= (end + timedelta(days=1) if len(last) <= 10 else end):
            return regular
    return sale


def _woo_csv(fields: Fields, now: datetime, zone: tzinfo | None) -> Fields | None:
    kinds = {part.strip() for part in fields.get("Type", "").split(",")}
    if kinds & _NOT_SOLD_ALONE:
        return None

    def get(name: str) -> str:
        return fields.get(name, "").strip()

    price = _woo_price(
        get("Regular price"), get("Sale price"), get("Date sale price starts"), get("Date sale price ends"), now, zone
    )
    made = {"=price": price, "=mode": "code" if kinds & {"virtual", "downloadable"} else "parcel"}
    stock = get("Stock")
    if stock:
        made["=on_hand"] = stock
    else:
        made["=level"] = "in_stock" if get("In stock?") in ("1", "backorder") else "out"
    for number in range(1, 7):
        name, value = get(f"Attribute {number} name"), get(f"Attribute {number} value(s)")
        if name and value:
            made[f"=attribute {name}"] = value
    return fields | made


WOO_CSV = Preset(
    map={
        "vendor_sku": "SKU",
        "title": {"column": "Name", "html": True},
        "description": {"columns": ["Short description", "Description"], "html": True},
        "price": "=price",
        "on_hand": "=on_hand",
        "level": "=level",
        "mode": "=mode",
        "active": "Published",
        "gtin": "GTIN, UPC, EAN, or ISBN",
        "brand": "Brands",
        "category": {"column": "Categories", "first_of": ","},
        "image_url": {"column": "Images", "first_of": ","},
        "attributes": {"weight_lbs": "Weight (lbs)", "weight_kg": "Weight (kg)", "parent": "Parent"},
    },
    ignore=(
        "ID", "Is featured?", "Visibility in catalog", "Tax status", "Tax class", "Backorders allowed?",
        "Sold individually?", "Low stock amount", "Length (*", "Width (*", "Height (*", "Allow customer reviews?",
        "Purchase note", "Tags", "Shipping class", "Download *", "Grouped products", "Upsells", "Cross-sells",
        "External URL", "Button text", "Position", "Attribute *", "Meta: *",
    ),
    prepare=_woo_csv,
    reads=(
        "Type", "Regular price", "Sale price", "Date sale price starts", "Date sale price ends", "Stock", "In stock?",
        *(f"Attribute {n} {part}" for n in range(1, 7) for part in ("name", "value(s)")),
    ),
)  # fmt: skip


def _woo_xml(fields: Fields, now: datetime, zone: tzinfo | None) -> Fields | None:
    """WordPress's export is a blog format: the shop's figures stand in key/value pairs beside the post."""
    if fields.get("post_type") not in ("product", "product_variation"):
        return None
    meta: Fields = {}
    kinds: set[str] = set()
    made: Fields = {}
    for name, value in fields.items():
        if name.startswith("postmeta.meta_key"):
            meta[value] = fields.get("postmeta.meta_value" + name.removeprefix("postmeta.meta_key"), "")
        elif name.startswith("category@domain"):
            term = fields.get("category" + name.removeprefix("category@domain"), "")
            if value == "product_type":
                kinds.add(term)
            elif value == "product_cat":
                made.setdefault("=category", term)
            elif value.startswith("pa_"):
                made[f"=attribute {value[3:]}"] = term
    if kinds & _NOT_SOLD_ALONE:
        return None
    get = meta.get
    made["=sku"] = get("_sku", "")
    made["=price"] = get("_price", "") or get("_regular_price", "")
    if get("_manage_stock") == "yes" and get("_stock"):
        made["=on_hand"] = meta["_stock"]
    else:
        made["=level"] = {"instock": "in_stock", "outofstock": "out"}.get(get("_stock_status", ""), "out")
    virtual = "yes" in (get("_virtual"), get("_downloadable"))
    made["=mode"] = "code" if virtual else "parcel"
    made["=active"] = "1" if fields.get("status") == "publish" else "0"
    return fields | made


WOO_XML = Preset(
    map={
        "vendor_sku": "=sku",
        "title": {"column": "title", "html": True},
        "description": {"columns": ["encoded[2]", "encoded"], "html": True},
        "price": "=price",
        "on_hand": "=on_hand",
        "level": "=level",
        "mode": "=mode",
        "active": "=active",
        "category": "=category",
        "url": "link",
    },
    ignore=(
        "pubDate", "creator", "guid*", "description", "post_*", "comment_*", "ping_status", "menu_order", "is_sticky",
        "postmeta*", "category*", "encoded*", "attachment_url",
    ),
    prepare=_woo_xml,
    reads=("status",),
    record="item",
)  # fmt: skip

PRESETS = {"google_merchant": GOOGLE, "woocommerce_csv": WOO_CSV, "woocommerce_xml": WOO_XML}
