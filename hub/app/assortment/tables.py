"""Sample items as files: the pharmacy's GB18030 spreadsheet export and the reference mall's Google Merchant feed, with
the column mappings that a table_feed connection needs for them.

The pharmacy writes counts; a Google feed knows only availability words, so its rows carry a level and no count."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

from hub.app.assortment.dirty import dirty_rows
from hub.app.assortment.items import goods
from hub.app.assortment.model import SampleItem, draw
from hub.app.assortment.story import BOUNDARY_REFERENCES
from hub.app.assortment.taxonomy import CATEGORIES, GROCERY, PHARMACY, SHOP

PHARMACY_COLUMNS = (
    "商品编码",
    "条码",
    "名称",
    "英文名",
    "品牌",
    "型号",
    "规格",
    "分类",
    "售价",
    "库存",
    "说明",
)
PHARMACY_MAPPING: dict[str, str] = {
    "vendor_sku": "商品编码",
    "gtin": "条码",
    "title": "名称",
    "title_en": "英文名",
    "brand": "品牌",
    "model": "型号",
    "pack": "规格",
    "category": "分类",
    "price": "售价",
    "on_hand": "库存",
    "description": "说明",
}
REFERENCE_MAPPING: dict[str, str] = {  # on top of the preset google_merchant
    "pack": "size",
    "reported_at": "date",
}
REFERENCES = 120
_WITHOUT_BARCODE = 20  # about one device in so many is exported without its barcode and meets the shop's by model
_STALE_AFTER = timedelta(days=12)


def pharmacy_csv(encoding: str = "gb18030") -> bytes:
    """The pharmacy's stock list: a header of Chinese column names, clean rows, then the bad ones. CRLF lines."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(PHARMACY_COLUMNS)
    for item in goods(PHARMACY):
        writer.writerow(
            (
                item.sku,
                "" if without_barcode(item) else item.gtin,
                item.title,
                item.title_en,
                item.brand,
                item.model,
                item.pack,
                item.category.name,
                item.price,
                item.on_hand,
                item.description,
            )
        )
    name = CATEGORIES["otc"].name
    for row in dirty_rows():
        writer.writerow((row.sku, row.gtin, row.title, row.title_en, "", "", "", name, row.price, row.stock, row.fault))
    return out.getvalue().encode(encoding)


def pharmacy_settings(url: str) -> dict[str, Any]:
    """Settings of the table_feed connection that reads `pharmacy_csv` at `url`."""
    return {"url": url, "encoding": "gb18030", "currency": "CNY", "map": dict(PHARMACY_MAPPING)}


def reference_settings(url: str) -> dict[str, Any]:
    """Settings of the table_feed connection that reads `reference_feed` at `url`."""
    return {"url": url, "preset": "google_merchant", "currency": "CNY", "map": dict(REFERENCE_MAPPING)}


def without_barcode(item: SampleItem) -> bool:
    """Whether the pharmacy exports this device without its barcode, so that only brand and model identify it."""
    return item.category.slug in ("devices", "firstaid") and draw(f"barcode:{item.gtin}", _WITHOUT_BARCODE) < 5


@dataclass(frozen=True)
class Reference:
    """One mainstream price of the same GTIN. `verdict` is what the hub must find for every vendor's listing of it."""

    gtin: str
    title: str
    title_en: str
    brand: str
    model: str
    pack: str
    category: str
    price: Decimal
    verdict: str  # pass, breach or unknown (stale)
    note: str


@cache
def references() -> tuple[Reference, ...]:
    """The 120 products with a mainstream price: most within 5 % of ours, some below it by more (ours is dearer),
    some far above (ours is a bargain), the two boundary products, and some whose observation is stale."""
    offers: dict[str, list[SampleItem]] = {}
    for vendor in (SHOP, GROCERY, PHARMACY):
        for item in goods(vendor):
            offers.setdefault(str(item.gtin), []).append(item)
    ordinary = sorted(
        (gtin for gtin in offers if gtin not in BOUNDARY_REFERENCES), key=lambda g: draw(f"ref:{g}", 2**60)
    )
    chosen = [*BOUNDARY_REFERENCES, *ordinary[: REFERENCES - len(BOUNDARY_REFERENCES)]]
    return tuple(_reference(position, offers[gtin]) for position, gtin in enumerate(chosen))


def _reference(position: int, offers: list[SampleItem]) -> Reference:
    item = offers[0]
    gtin = str(item.gtin)
    low, high = min(o.price for o in offers), max(o.price for o in offers)
    fixed = BOUNDARY_REFERENCES.get(gtin)
    if fixed is not None:
        verdict = "pass" if (item.price - fixed) * 100 <= fixed * 5 else "breach"
        price, note = fixed, "exactly on the boundary"
    elif position % 8 == 2:
        price, verdict, note = _yuan(low / Decimal("1.12")), "breach", "ours is dearer"
    elif position % 16 == 4:
        price, verdict, note = _yuan(high * Decimal("1.35")), "pass", "ours is far cheaper"
    elif position % 16 == 6:
        price, verdict, note = high, "unknown", "the observation is stale"
    else:
        price, verdict, note = _yuan(high * Decimal(980 + draw(f"near:{gtin}", 51)) / 1000), "pass", "level"
    return Reference(
        gtin=gtin,
        title=item.title,
        title_en=item.title_en,
        brand=str(item.brand),
        model=str(item.model),
        pack=str(item.pack),
        category=item.category.name,
        price=price,
        verdict=verdict,
        note=note,
    )


def _yuan(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


def reference_feed(now: datetime) -> bytes:
    """The reference mall's Google Merchant feed (RSS 2.0, UTF-8) as of `now` (aware). Each item says when its price was
    seen (`dc:date`); the stale ones were seen twelve days ago. The last two items are wrong on purpose."""
    rows = [_item(reference, now) for reference in references()]
    rows.append(_xml_item("REF-DIRTY-WORDS", "[样例坏数据] 价格面议", "", "面议", now))
    rows.append(_xml_item("REF-DIRTY-PRICE", "[样例坏数据] 没有价格", "", "", now))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/">\n<channel>\n'
        "<title>大集参考商城</title>\n<link>https://reference.example/</link>\n"
        "<description>Sample mainstream prices</description>\n" + "".join(rows) + "</channel>\n</rss>\n"
    ).encode()


def _item(reference: Reference, now: datetime) -> str:
    seen = now - (_STALE_AFTER if reference.verdict == "unknown" else timedelta(hours=draw(reference.gtin, 20)))
    extra = {
        "gtin": reference.gtin,
        "brand": reference.brand,
        "mpn": reference.model,
        "size": reference.pack,
        "product_type": reference.category,
    }
    return _xml_item(
        f"REF-{reference.gtin[3:12]}", reference.title, reference.title_en, f"{reference.price} CNY", seen, extra
    )


def _xml_item(
    sku: str, title: str, description: str, price: str, seen: datetime, extra: dict[str, str] | None = None
) -> str:
    fields: dict[str, Any] = {
        "g:id": sku,
        "title": title,
        "description": description or title,
        "link": f"https://reference.example/item/{sku}",
        "g:image_link": "https://reference.example/no-image.png",
        "g:availability": "in_stock",
        "g:condition": "new",
        "g:price": price,
        "dc:date": seen.astimezone(UTC).isoformat(timespec="seconds"),
        **{f"g:{name}": value for name, value in (extra or {}).items()},
    }
    return "<item>" + "".join(f"<{n}>{escape(str(v))}</{n}>" for n, v in fields.items() if v) + "</item>\n"


def stale_references(now: datetime) -> list[dict[str, Any]]:
    """The stale observations on their own, as evidence with a capture time, for a route that records references."""
    captured = (now - _STALE_AFTER).astimezone(UTC).isoformat()
    return [
        {
            "gtin": reference.gtin,
            "price": str(reference.price),
            "currency": "CNY",
            "pack": reference.pack,
            "source": "大集参考商城",
            "url": f"https://reference.example/item/REF-{reference.gtin[3:12]}",
            "captured_at": captured,
        }
        for reference in references()
        if reference.verdict == "unknown"
    ]
