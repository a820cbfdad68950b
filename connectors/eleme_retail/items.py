"""From Ele.me's items to one flat record for each thing that can be bought, for the manifest's map. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from hub.kernel.types import gtin14

CAP = 99_999  # the largest stock that Ele.me takes: merchants who do not count write it
_WHOLE = re.compile(r"-?\d{1,12}(\.0+)?")
_ON_SALE = {"1": True, "0": False}


class Refused(NamedTuple):
    """A thing that cannot be used, and why."""

    reason: str
    pointer: str = ""
    sku: str | None = None


def sellable(item: Mapping[str, Any]) -> Iterator[dict[str, Any] | Refused]:
    """The item itself or, where it has several specifications, each of them."""
    specs = item.get("sku_spec") or []
    if not isinstance(specs, list) or not all(isinstance(spec, dict) for spec in specs):
        yield Refused("sku_spec is not a list of objects", "/sku_spec")
        return
    number = _text(item.get("sku_id"))
    plain = {key: value for key, value in item.items() if key != "sku_spec"}
    if len(specs) < 2:
        only = specs[0] if specs else {}
        whole = {**{key: only.get(key) for key in ("upc", "sale_price", "left_num")}, **_given(item)}
        yield _finished(plain, whole, _code(item.get("custom_sku_id"), number), number, None, _text(item.get("name")))
        return
    for spec in specs:
        own = _text(spec.get("sku_spec_id"))
        said = dict(_properties(spec.get("spec_property")))
        name = _text(item.get("name"))
        title = f"{name} {' '.join(said.values())}" if name and said else name
        made = _finished(plain, spec, _code(spec.get("sku_spec_custom_id"), own), own, number, title)
        if not isinstance(made, Refused):
            made["_attributes"] |= said
        yield made


def _finished(
    plain: Mapping[str, Any], one: Mapping[str, Any], sku: str | None, number: str | None, family: str | None,
    title: str | None,
) -> dict[str, Any] | Refused:  # fmt: skip
    """The record of one thing, with what the map reads."""
    if sku is None:
        return Refused("neither a code of the shop nor an id of Ele.me tells this item from others", "/sku_id")
    status = _text(plain.get("status"))
    if status is not None and status not in _ON_SALE:
        return Refused(f"status: {status[:40]!r} is neither 1 nor 0", "/status", sku)
    count, level = stock_of(one.get("left_num"))
    if isinstance(count, int) and count > CAP:
        return Refused(f"a stock of {count} is more than Ele.me knows", "/left_num", sku)
    price = one.get("sale_price")
    if isinstance(price, float) or (isinstance(price, str) and price and not price.strip().isdigit()):
        return Refused(f"sale_price: {str(price)[:40]!r} is no whole number of fen", "/sale_price", sku)
    upc = _text(one.get("upc"))
    gtin = _gtin(upc)
    said = {
        "upc": upc if gtin is None else None,
        "list_price": _yuan(plain.get("market_price")),
        "shelf_number": _text(plain.get("shelf_number")),
        "weight": _text(one.get("weight") if one.get("weight") is not None else plain.get("weight")),
    }
    return {
        **plain,
        "_sku": sku,
        "_id": number,
        "_family": family,
        "_title": title,
        "_gtin": gtin,
        "_price": price.strip() if isinstance(price, str) else price,
        "_on_hand": count,
        "_level": level,
        "_image": _master(plain.get("photos")),
        "_attributes": {name: value for name, value in said.items() if value},
        "_active": True if status is None else _ON_SALE[status],
    }


def stock_of(raw: Any) -> tuple[Any, str | None]:
    """(count, level). The largest number that can be written is a level. What is no whole number (things sold by
    weight) is left for the mapping to refuse."""
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        return None, None
    count = raw
    if isinstance(raw, str) and _WHOLE.fullmatch(raw.strip()):
        count = int(raw.strip().partition(".")[0])
    elif type(raw) is float and raw.is_integer():
        count = int(raw)
    if type(count) is not int:
        return raw if not isinstance(raw, dict | list) else str(raw)[:40], None
    return (None, "in_stock") if count == CAP else (count, None)


def _properties(raw: Any) -> Iterator[tuple[str, str]]:
    """Names and values of a specification's properties."""
    for entry in raw if isinstance(raw, list) else ():
        if isinstance(entry, dict) and _text(entry.get("prop_text")) and _text(entry.get("value_text")):
            yield str(entry["prop_text"])[:80], str(entry["value_text"])


def _given(item: Mapping[str, Any]) -> dict[str, Any]:
    """What the item says itself; its only specification fills the rest."""
    return {key: item[key] for key in ("upc", "sale_price", "left_num", "weight") if item.get(key) not in (None, "")}


def _code(own: Any, number: str | None) -> str | None:
    return _text(own) or (f"#{number}" if number else None)


def _master(raw: Any) -> str | None:
    """The main picture, or the first."""
    photos = [p for p in raw if isinstance(p, dict) and _text(p.get("url"))] if isinstance(raw, list) else []
    main = next((p for p in photos if _text(p.get("is_master")) == "1"), photos[0] if photos else None)
    return _text(main["url"]) if main else None


def _yuan(raw: Any) -> str | None:
    """Fen as yuan, for people to read."""
    fen = int(raw) if isinstance(raw, str) and raw.isdigit() else raw
    return f"{fen // 100}.{fen % 100:02d}" if type(fen) is int and fen > 0 else None


def _gtin(upc: str | None) -> str | None:
    """The UPC when it is a GTIN; shops write their own codes there too."""
    try:
        return gtin14(upc)
    except ValueError:
        return None


def _text(raw: Any) -> str | None:
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        return None
    return str(raw).strip() or None
