"""Amounts in a title: "64 GB", "6 x 330 ml", "32 inch", "50只/盒", "5-user". Each is drawn together into one word, so
that spelling does not tell amounts apart, and is given with its dimension, so that two amounts of one dimension can be
told apart. A number without a unit is no amount."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

# unit as written -> (dimension, unit as it is kept, how many base units one of it is)
_UNITS: dict[str, tuple[str, str, float]] = {}


def _unit(dimension: str, unit: str, factor: float, *spellings: str) -> None:
    _UNITS.update(dict.fromkeys(spellings, (dimension, unit, factor)))


_unit("mass", "kg", 1000, "kg", "kgs", "kilo", "kilos", "kilogram", "kilograms", "千克", "公斤")
_unit("mass", "g", 1, "g", "gr", "gram", "grams", "gm", "克")
_unit("mass", "mg", 0.001, "mg", "毫克")
_unit("mass", "jin", 500, "斤")
_unit("mass", "oz", 28.3495, "oz", "ounce", "ounces", "盎司")
_unit("mass", "lb", 453.592, "lb", "lbs", "pound", "pounds", "磅")
_unit("volume", "l", 1000, "l", "ltr", "liter", "liters", "litre", "litres", "升")
_unit("volume", "ml", 1, "ml", "毫升", "cc")
_unit("volume", "cl", 10, "cl")
_unit("volume", "floz", 29.5735, "fl oz", "fl. oz", "fl.oz", "floz")
_unit("volume", "gal", 3785.41, "gal", "gallon", "gallons")
_unit("volume", "cuft", 28316.8, "cu ft", "cu. ft", "cu.ft", "cuft", "cubic feet", "cubic foot")
_unit("storage", "tb", 1e12, "tb", "terabyte")
_unit("storage", "gb", 1e9, "gb", "gig", "gbyte", "gigabyte", "gigabytes")
_unit("storage", "mb", 1e6, "mb", "mbyte", "megabyte", "megabytes")
_unit("length", "in", 25.4, "in", "inch", "inches", '"', "''", "″", "”", "英寸", "寸")
_unit("length", "mm", 1, "mm", "毫米")
_unit("length", "cm", 10, "cm", "厘米")
_unit("length", "m", 1000, "m", "meter", "meters", "metre", "metres", "米")
_unit("length", "ft", 304.8, "ft", "feet", "foot", "英尺")
_unit("mark", "in", 1, "'", "’", "′")  # feet or inches, as the writer likes
_unit("power", "w", 1, "w", "watt", "watts", "瓦")
_unit("power", "kw", 1000, "kw")
_unit("voltage", "v", 1, "v", "volt", "volts", "伏")
_unit("charge", "mah", 1, "mah", "毫安")
_unit("charge", "ah", 1000, "ah")
_unit("frequency", "hz", 1, "hz")
_unit("frequency", "mhz", 1e6, "mhz")
_unit("frequency", "ghz", 1e9, "ghz")
_unit("rate", "mbps", 1, "mbps", "mbit/s", "mb/s", "mbs")
_unit("rate", "gbps", 1000, "gbps", "gb/s")
_unit("rotation", "rpm", 1, "rpm")
_unit("pixels", "mp", 1, "mp", "megapixel", "megapixels", "mega pixel", "mpixel", "万像素")
_unit("heat", "btu", 1, "btu", "btus")
_unit("zoom", "x", 1, "x")
_unit("users", "user", 1, "user", "users", "u", "seat", "seats", "license", "licenses", "licence", "licences", "lic",
      "node", "nodes", "client", "clients", "用户")  # fmt: skip
_CONTAINERS = (
    "pair", "set", "bottle", "can", "bag", "box", "roll", "sachet", "tablet", "capsule", "sheet", "tube", "vial",
    "carton", "case", "tin", "tub", "pouch", "stick", "jug", "blister",
)  # fmt: skip
_PIECES = (
    "pack", "packs", "pk", "pks", "pc", "pcs", "piece", "pieces", "pce", "ct", "count", "dozen",
    # "6 cans" and "6-can", but not "6 can": an "iPhone 6 case" holds no six of anything
    *(w + ("es" if w[-1] == "x" or w[-2:] == "ch" else "s") for w in _CONTAINERS), *(f"-{w}" for w in _CONTAINERS),
    "只", "个", "枚", "片", "粒", "颗", "丸", "支", "条", "张", "抽", "块", "贴", "根", "件", "瓶", "罐", "听", "袋",
    "卷", "双", "板", "桶", "包", "盒", "套", "提", "箱", "入", "对", "杯", "份",
)  # fmt: skip
for _word in _PIECES:
    several = _word.startswith(("pack", "pk"))  # so many of the thing; other counts may be what one of it holds
    _UNITS[_word] = ("count", "pack" if several else "piece", 12 if _word == "dozen" else 1)
_unit("days", "month", 30.4, "month", "months", "mo", "个月")
_unit("days", "year", 365, "year", "years", "yr", "yrs", "year subscription")
_unit("days", "day", 1, "days")

# what differs in these differs; a rate, a zoom or a warranty may be told in more than one way
IDENTITY = frozenset(
    (
        "mass",
        "volume",
        "storage",
        "length",
        "count",
        "users",
        "power",
        "charge",
        "pixels",
        "frequency",
        "rotation",
        "heat",
    )
)
_COUNTED = frozenset(("mass", "volume", "storage", "count"))  # where "6 x" says how many
_EXACT = frozenset(("storage", "count", "users"))


_ENDS = "(?![a-z0-9])"
_NOT_BEGUN = {
    "包": "(?!邮)",
    "个": "(?!性)",
    "条": "(?!形码|码)",
    "件": "(?!套)",
    "对": "(?!比)",
    "提": "(?!供)",
    "入": "(?!门)",
}


def _any_of(words: Iterable[str]) -> str:
    ordered = sorted(words, key=len, reverse=True)
    return "|".join(
        re.escape(w) + (_ENDS if w[-1].isalnum() and w.isascii() else _NOT_BEGUN.get(w, "")) for w in ordered
    )


_NUMBER = r"\d+(?:\.\d+)?|\.\d+"
_TIMES = r"(?:\s?[*×]\s?|x|\sx\s)"  # but not the "x" that a code begins with: 24 inch X3935
_AMOUNT = re.compile(
    rf"(?<![a-z0-9.$])(?:(?P<times>\d{{1,4}}){_TIMES})?(?P<number>{_NUMBER})(?:\s?-\s?|\s)?(?P<unit>{_any_of(_UNITS)})"
    rf"(?:\s?[/每]\s?(?P<per>{_any_of(_PIECES)}))?(?:{_TIMES}(?P<by>\d{{1,4}})(?![\d.]*[a-z])\s?(?P<byunit>{_any_of(_PIECES)})?)?"
)
_OF = re.compile(r"\b(?:pack|set|case|box|bag|lot|pkg|package) of (\d{1,4})\b")
_TWIN = re.compile(r"\b(?:twin|double|dual)[- ]?pack\b|两件装|双支装|双瓶装|两瓶装")
_WIDE = re.compile(rf"(?<![a-z0-9.-])(\d+(?:\.\d+)?)\s?(?:[-~–—至]|to)\s?(\d+(?:\.\d+)?)\s?({_any_of(_UNITS)})")
_SHORT = frozenset(("pc", "pcs", "pk", "ct", "x", "m", "l", "g", "v", "w", "u", "mp", "in"))
_GENERATION = frozenset(("2", "3", "4", "5", "6"))


class Amount(NamedTuple):
    """`value` of `unit` in `dimension`, as written; `base` in the dimension's base unit."""

    dimension: str
    unit: str
    value: float
    base: float

    @property
    def word(self) -> str:
        return f"{self.value:g}{'pack' if self.dimension == 'count' else self.unit}"


def draw_together(text: str) -> tuple[str, list[Amount]]:
    """Folded text with each amount as one word, and the amounts."""
    if not any(map(str.isdigit, text)):
        return (_TWIN.sub(" 2pack ", text), [_count(2)]) if _TWIN.search(text) else (text, [])
    amounts: list[Amount] = []

    def word(match: re.Match[str]) -> str:
        unit = match["unit"]
        if _no_amount(match, unit):
            return match[0]
        dimension, kept, factor = _UNITS[unit]
        value = float(match["number"])
        if unit == "dozen":
            value, factor = value * 12, 1
        amount = Amount(dimension, kept, value, value * factor)
        amounts.append(amount)
        words = amount.word
        for times in (match["times"], match["by"]):
            if not times or times == "1":
                continue
            if dimension in _COUNTED:
                amounts.append(_count(int(times)))
                words += f" {times}pack"
            elif dimension in ("length", "mark"):  # 60x90cm is a size
                amounts.append(Amount(dimension, kept, float(times), float(times) * factor))
                words = f"{times}x{words}"
        return f" {words} "

    def wide(match: re.Match[str]) -> str:
        if float(match[1]) >= float(match[2]):
            return match[0]
        return f" {float(match[1]):g}to{float(match[2]):g}{_UNITS[match[3]][1]} "

    text = _WIDE.sub(wide, text) if ("-" in text or "~" in text or "to" in text or "至" in text) else text
    text = _OF.sub(r" \1 pack ", text) if " of " in text else text
    return _AMOUNT.sub(word, _TWIN.sub(" 2 pack ", text)), amounts


def _count(n: int) -> Amount:
    return Amount("count", "pack", float(n), float(n))


def _no_amount(match: re.Match[str], unit: str) -> bool:
    """Where a number and what looks like its unit mean something else: 4G, "2 in 1", "80's"."""
    rest = match.string[match.end() : match.end() + 2]
    if unit in ("'", "’", "′") and rest[:1].isalpha():
        return True
    if unit == "in" and rest.strip()[:1].isdigit():
        return True
    if unit == "g" and match["number"] in _GENERATION:
        return True
    start = match.start()
    if (
        start > 1
        and match.string[start - 1] == "-"
        and match.string[start - 2].isalnum()
        and (unit in _SHORT or unit in _PIECES)
    ):
        return True  # the end of a code: VN-4100PC
    return unit in ("u", "m", "l", "x") and len(match["number"]) > 4


def same_amount(one: Amount, other: Amount) -> bool:
    """Whether two amounts of one dimension may be the same: exact for counts and storage; elsewhere "13 inch" may be
    a rounded "13.3 inch", and a converted unit may be two per cent off."""
    if one.base == other.base:
        return True
    if one.dimension in _EXACT:
        return False
    if one.unit == other.unit:
        low, high = sorted((one.value, other.value))
        whole = low if low == int(low) else high if high == int(high) else None
        if whole is None or low < 4:
            return False
        fraction = high if whole == low else low
        return whole != fraction and fraction != int(fraction) and (int(fraction) == whole or round(fraction) == whole)
    return abs(one.base - other.base) <= 0.025 * max(one.base, other.base)
