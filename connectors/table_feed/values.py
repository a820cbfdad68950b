"""Raw cells into our values: amounts with currencies, counts, levels, flags, times. Pure. Whatever is not clearly
one of these raises ValueError with a sentence for the quarantine row; nothing is rounded, guessed or dropped."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timedelta, tzinfo

_PLAIN = re.compile(r"\d{1,9}(?:\.\d{1,4})?")
_NUMBER = {
    ".": re.compile(r"(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?"),
    ",": re.compile(r"(?:\d+|\d{1,3}(?:[. ']\d{3})+)(?:,\d+)?"),
}
_THOUSANDS = {".": str.maketrans("", "", ","), ",": str.maketrans(",", ".", ". '")}
_CODE = re.compile(r"^([A-Za-z]{3})(?=[\s\d])|(?<=[\s\d.])([A-Za-z]{3})$")
_SYMBOLS = {"元": "CNY", "€": "EUR", "£": "GBP", "HK$": "HKD", "US$": "USD"}
_UNSAID = ("¥", "$")  # yuan or yen, dollars of many countries: they say no currency by themselves
_COUNT = re.compile(r"-?\d{1,12}(?:\.0+)?|-?\d{1,3}(?:,\d{3})+")

LEVELS = {
    **dict.fromkeys(("in_stock", "in stock", "instock", "yes", "true", "1", "有货", "现货", "有"), "in_stock"),
    **dict.fromkeys(("limited", "low", "low_stock", "low stock", "紧张", "少量", "库存紧张"), "limited"),
    **dict.fromkeys(
        ("out", "out_of_stock", "out of stock", "outofstock", "no", "false", "0", "无货", "缺货", "售罄", "无"), "out"
    ),
}
FLAGS = {
    **dict.fromkeys(("1", "true", "yes", "y", "是", "上架", "在售", "published", "active"), True),
    **dict.fromkeys(("0", "-1", "false", "no", "n", "否", "下架", "停售", "draft", "private", "inactive"), False),
}
KINDS = {
    "goods": "goods",
    "实物": "goods",
    "service": "service",
    "服务": "service",
    "experience": "experience",
    "体验": "experience",
}
MODES = {
    "parcel": "parcel",
    "快递": "parcel",
    "appointment": "appointment",
    "预约": "appointment",
    "code": "code",
    "卡券": "code",
}


def amount(raw: str, decimal: str = ".") -> tuple[str, str | None]:
    """The decimal digits of `15.00 CNY`, `￥1,299.00`, `1.299,00 EUR` (decimal ","), and the currency it names."""
    if decimal == "." and _PLAIN.fullmatch(raw):
        return raw, None
    text = raw.strip() if raw.isascii() else unicodedata.normalize("NFKC", raw).strip()
    currency: str | None = None
    for symbol, code in _SYMBOLS.items():
        if text.startswith(symbol) or text.endswith(symbol):
            text, currency = text.removeprefix(symbol).removesuffix(symbol).strip(), code
            break
    else:
        for symbol in _UNSAID:
            text = text.removeprefix(symbol).removesuffix(symbol).strip()
    named = _CODE.search(text)
    if named:
        code = (named[1] or named[2]).upper()
        code = "CNY" if code == "RMB" else code
        if currency not in (None, code):
            raise ValueError(f"{raw[:40]!r} names two currencies")
        text, currency = (text[: named.start()] + text[named.end() :]).strip(), code
    text = text.lstrip("".join(_UNSAID)).strip()
    if not _NUMBER[decimal].fullmatch(text):
        raise ValueError(f"{raw[:40]!r} is not an amount")
    return text.translate(_THOUSANDS[decimal]), currency


def count(raw: str) -> int:
    """A whole number of pieces; below nothing is nothing (a vendor's own back-orders)."""
    text = raw.strip()
    if not _COUNT.fullmatch(text):
        raise ValueError(f"{raw[:40]!r} is not a whole number")
    return max(0, int(text.replace(",", "").partition(".")[0]))


def word(raw: str, table: dict[str, object], what: str) -> object:
    """Our word for the vendor's; raises ValueError for one that nobody declared."""
    found = table.get(raw.strip().casefold())
    if found is None:
        raise ValueError(f"{raw.strip()[:60]!r} is not a known {what}; declare it under `values`")
    return found


def instant(raw: str, zone: tzinfo | None) -> datetime:
    """An aware time from ISO 8601 or `2026-11-23 10:00:00`; `zone` applies when the text names none."""
    text = raw.strip().replace("/", "-") if "/" in raw else raw.strip()
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{raw[:40]!r} is not a time") from None
    if when.tzinfo is None:
        if zone is None:
            raise ValueError(f"{raw[:40]!r} has no time zone; set the connection's `timezone`")
        when = when.replace(tzinfo=zone)
    return when


def span(raw: str, zone: tzinfo | None = None) -> tuple[datetime, datetime]:
    """The two ends of `2026-11-01T00:00+0800/2026-11-30T23:59+0800`; `zone` applies to ends that name none. A day alone
    begins at midnight and, as the end, counts in full."""
    ends = [part.strip() for part in raw.split("/")]
    try:
        first, last = map(datetime.fromisoformat, ends)
    except ValueError:
        raise ValueError(f"{raw[:60]!r} is not a pair of times") from None
    if zone is None and (first.tzinfo is None or last.tzinfo is None):
        raise ValueError(f"{raw[:60]!r} is not a pair of times with zones; set the connection's `timezone`")
    if len(ends[1]) <= 10:
        last += timedelta(days=1, microseconds=-1)
    return (first if first.tzinfo else first.replace(tzinfo=zone)), (last if last.tzinfo else last.replace(tzinfo=zone))
