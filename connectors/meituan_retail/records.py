"""From Meituan's products and medicines to one flat record for each SKU, for the manifest's map. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from hub.kernel.types import gtin14

CAP = 99_999  # the largest stock that Meituan takes: merchants who do not count write it
_WHOLE = re.compile(r"-?\d{1,12}(\.0+)?")
_TYPES = {"1": "OTC", "2": "非药品", "3": "处方药", "4": "通用品"}
_SKU_FIELDS = frozenset(
    {
        "available_times", "box_num", "box_price", "is_sell_flag", "isSellFlag", "ladder_box_num", "ladder_box_price",
        "limit_open_sync_stock_now", "location_code", "min_order_count", "openSaleAttrValueList", "price", "sku_id",
        "spec", "stock", "unit", "upc", "weight", "weight_for_unit", "weight_unit",
    }
)  # fmt: skip


class Refused(NamedTuple):
    """A SKU that cannot be used, and why."""

    reason: str
    pointer: str = ""
    sku: str | None = None


def products_skus(product: Mapping[str, Any]) -> Iterator[dict[str, Any] | Refused]:
    """The SKUs of a product of `retail/list`."""
    skus = _listed(product.get("skus"))
    if skus is None:
        yield Refused("skus is not a list", "/skus")
        return
    if not skus:
        yield Refused("the product has no SKU", "/skus")
        return
    code = _text(product.get("app_spu_code")) or _text(product.get("app_food_code"))
    shared = {key: value for key, value in product.items() if key != "skus"}
    for sku in skus:
        if not isinstance(sku, dict):
            yield Refused("a SKU is not an object", "/skus")
            continue
        spec = _text(sku.get("spec"))
        own = _text(sku.get("sku_id")) or _fallback(code, spec, len(skus))
        if own is None:
            yield Refused("neither sku_id nor app_spu_code tells this SKU from others", "/skus/sku_id")
            continue
        name = _text(product.get("name"))
        said = {
            "spec": spec,
            "upc": _text(sku.get("upc")),
            "unit": _text(sku.get("unit")) or _text(product.get("unit")),
            "min_order_count": _text(sku.get("min_order_count")) or _text(product.get("min_order_count")),
            "location_code": _text(sku.get("location_code")),
            **_common(product.get("common_attr_value")),
        }
        made = {
            **shared,
            **{f"skus.{key}": value for key, value in sku.items() if key not in _SKU_FIELDS},  # these are drift
            "_sku": own,
            "_family": code,
            "_title": f"{name} {spec}" if name and spec and len(skus) > 1 else name,
            "_spec": spec,
            "_price": sku.get("price"),
        }
        yield _finished(made, sku, said, _first(product.get("picture")))


def medicine(record: Mapping[str, Any]) -> dict[str, Any] | Refused:
    """A medicine of `medicine/list`: it is its own SKU."""
    upc = _text(record.get("upc"))
    own = _text(record.get("app_medicine_code")) or (f"#{upc}" if upc else None)
    if own is None:
        return Refused("neither app_medicine_code nor upc tells this medicine from others", "/app_medicine_code")
    kind = _text(record.get("medicine_type"))
    said = {
        "approval_number": _text(record.get("medicine_no")),
        "medicine_type": _TYPES.get(kind, kind) if kind else None,
        "spec": _text(record.get("spec")),
        "upc": upc,
    }
    made = {
        **record,
        "_sku": own,
        "_family": None,
        "_title": _text(record.get("name")),
        "_spec": _text(record.get("spec")),
        "_price": record.get("price"),
    }
    return _finished(made, record, said, _first(record.get("picture")))


def _finished(
    made: dict[str, Any], sku: Mapping[str, Any], said: Mapping[str, str | None], image: str | None
) -> dict[str, Any] | Refused:
    """The record with what both catalogues say alike."""
    count, level = stock_of(sku.get("stock"), given="stock" in sku)
    if isinstance(count, int) and count > CAP:
        return Refused(f"a stock of {count} is more than Meituan knows", "/stock", made["_sku"])
    sold_out = _text(made.get("is_sold_out"))
    if sold_out not in (None, "0", "1"):
        return Refused(f"is_sold_out: {str(sold_out)[:40]!r} is neither 0 nor 1", "/is_sold_out", made["_sku"])
    attributes = {name: value for name, value in said.items() if value}
    gtin = _gtin(said.get("upc"))
    if gtin is not None:
        attributes.pop("upc", None)
    return {
        **made,
        "_on_hand": count,
        "_level": level,
        "_gtin": gtin,
        "_active": sold_out != "1",
        "_category": _first(made.get("category_name")),
        "_image": image,
        "_attributes": attributes,
    }


def stock_of(raw: Any, *, given: bool) -> tuple[Any, str | None]:
    """(count, level). Empty means without limit, and so does the largest number that can be written: both are a level,
    never a count. A field that did not come says nothing. What is no whole number is left for the mapping to refuse."""
    if not given:
        return None, None
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        return None, "in_stock"
    count = raw
    if isinstance(raw, str) and _WHOLE.fullmatch(raw.strip()):
        count = int(raw.strip().partition(".")[0])
    elif type(raw) is float and raw.is_integer():
        count = int(raw)
    if type(count) is not int:
        return raw if not isinstance(raw, dict | list) else str(raw)[:40], None
    return (None, "in_stock") if count == CAP else (count, None)


def _fallback(code: str | None, spec: str | None, siblings: int) -> str | None:
    """A lasting code for a SKU whose own the store left empty."""
    if code is None or (siblings > 1 and spec is None):
        return None
    return f"#{code}" if siblings == 1 else f"#{code}/{spec}"


def _common(raw: Any) -> dict[str, str]:
    """Attributes of the category: name -> values."""
    found: dict[str, str] = {}
    for attribute in _listed(raw) or ():
        if isinstance(attribute, dict) and _text(attribute.get("attrName")):
            values = _listed(attribute.get("value") or attribute.get("valueList")) or []
            text = ", ".join(str(v["value"]) for v in values if isinstance(v, dict) and v.get("value"))
            if text:
                found[str(attribute["attrName"])[:80]] = text
    return found


def _listed(raw: Any) -> list[Any] | None:
    """A list, also one that came as JSON text; None when it is neither."""
    if isinstance(raw, str) and raw.strip():
        try:
            raw = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return None
    if raw is None or raw == "":
        return []
    return raw if isinstance(raw, list) else None


def _gtin(upc: str | None) -> str | None:
    """The UPC when it is a GTIN; stores write their own codes there too."""
    try:
        return gtin14(upc)
    except ValueError:
        return None


def _first(raw: Any) -> str | None:
    """The first of several that stand in one text with commas between."""
    text = _text(raw)
    return text.partition(",")[0].strip() or None if text else None


def _text(raw: Any) -> str | None:
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        return None
    return str(raw).strip() or None
