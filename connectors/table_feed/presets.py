"""Ready-made column maps for files that thousands of shops can export as they are: Google Merchant product feeds
(connectors.table_feed.merchant) and WooCommerce's product exports (CSV and WordPress XML). A connection's own `map`
goes on top, field by field."""

from __future__ import annotations

from datetime import timedelta

from connectors.table_feed.merchant import GOOGLE, STRICT
from connectors.table_feed.preset import At, Fields, Preset
from connectors.table_feed.values import instant

_NOT_SOLD_ALONE = {"variable", "grouped", "external"}  # a parent, a collection, a link to another shop


def _woo_price(regular: str, sale: str, first: str, last: str, at: At) -> str:
    """The price in force now. WooCommerce's export writes the last day of a sale as a date; it counts in full."""
    if not sale:
        return regular
    if first and at.now < instant(first, at.zone):
        return regular
    if last:
        end = instant(last, at.zone)
        if at.now >= (end + timedelta(days=1) if len(last) <= 10 else end):
            return regular
    return sale


def _woo_csv(fields: Fields, at: At) -> Fields | None:
    kinds = {part.strip() for part in fields.get("Type", "").split(",")}
    if kinds & _NOT_SOLD_ALONE:
        return None

    def get(name: str) -> str:
        return fields.get(name, "").strip()

    price = _woo_price(
        get("Regular price"), get("Sale price"), get("Date sale price starts"), get("Date sale price ends"), at
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
    timed=True,
    reads=(
        "Type", "Regular price", "Sale price", "Date sale price starts", "Date sale price ends", "Stock", "In stock?",
        *(f"Attribute {n} {part}" for n in range(1, 7) for part in ("name", "value(s)")),
    ),
)  # fmt: skip


def _woo_xml(fields: Fields, at: At) -> Fields | None:
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

PRESETS = {
    "google_merchant": GOOGLE,
    "merchant_feed": STRICT,
    "woocommerce_csv": WOO_CSV,
    "woocommerce_xml": WOO_XML,
}
