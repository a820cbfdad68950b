"""Packs in one measure: what "500ml*12瓶", "6×500 ml", "50只/盒×2" or "2 kg (4x500g)" contain. Owns the reading of
pack texts in Chinese and English and nothing else; pure.

The reading is conservative. A text that says one thing is read; a text that says nothing, or two things that do not
agree ("500g 2袋"), is *one piece, not understood*. A measure (mass, volume) times counts is that measure, so
"0.3g*20粒" is 6 g. Counts without a measure keep the name of what they count, because 2 boxes are not 2 pieces.
Ounces, pounds and gallons are the international and US customary ones, exactly (NIST Handbook 44, appendix C); a
label that gives both ("12 fl oz (355 ml)") is read by its metric figure. An imperial (UK) measure is not read.

The matcher's catalog.matching.quantities asks another question of the same words: whether two titles contradict each
other. Why there are two readings, and what keeps them from drifting apart: docs/adr/0013."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

PIECE = "piece"
_LARGEST = Decimal(10) ** 9

# measure -> (base unit, how many base units one of it is)
_MEASURES = {
    **dict.fromkeys(("kg", "kgs", "千克", "公斤"), ("g", Decimal(1000))),
    **dict.fromkeys(("g", "gram", "grams", "克"), ("g", Decimal(1))),
    **dict.fromkeys(("mg", "毫克"), ("g", Decimal("0.001"))),
    "斤": ("g", Decimal(500)),
    "两": ("g", Decimal(50)),
    **dict.fromkeys(("oz", "ounce", "ounces", "盎司"), ("g", Decimal("28.349523125"))),
    **dict.fromkeys(("lb", "lbs", "pound", "pounds", "磅"), ("g", Decimal("453.59237"))),
    **dict.fromkeys(("l", "liter", "liters", "litre", "litres", "升"), ("ml", Decimal(1000))),
    **dict.fromkeys(("ml", "毫升"), ("ml", Decimal(1))),
    "cl": ("ml", Decimal(10)),
    **dict.fromkeys(("floz", "液盎司"), ("ml", Decimal("29.5735295625"))),
    **dict.fromkeys(("gal", "gallon", "gallons", "加仑"), ("ml", Decimal("3785.411784"))),
}
_CUSTOMARY = frozenset(("oz", "ounce", "ounces", "盎司", "lb", "lbs", "pound", "pounds", "磅", "floz", "液盎司",
                        "gal", "gallon", "gallons", "加仑"))  # fmt: skip
_LABELLED_ALIKE = Decimal("0.02")  # how far the two figures of one label may be apart: both are rounded

# counter -> (what it counts, rank: a pack's base unit is the innermost, that is the lowest)
_PIECE_WORDS = (
    "只", "个", "枚", "片", "粒", "颗", "丸", "支", "条", "张", "抽", "块", "贴", "根", "件",
    "pc", "pcs", "piece", "pieces", "ct", "count", "tablet", "tablets", "tabs", "capsule", "capsules", "caps",
    "sheet", "sheets", "mask", "masks", "份", "wipe", "wipes", "dozen", "打",
)  # fmt: skip
_COUNTERS = {
    **dict.fromkeys(_PIECE_WORDS, (PIECE, 0)),
    **dict.fromkeys(("瓶", "bottle", "bottles"), ("bottle", 1)),
    **dict.fromkeys(("罐", "听", "can", "cans"), ("can", 1)),
    **dict.fromkeys(("袋", "bag", "bags", "sachet", "sachets"), ("bag", 1)),
    **dict.fromkeys(("卷", "roll", "rolls"), ("roll", 1)),
    **dict.fromkeys(("双", "对", "pair", "pairs"), ("pair", 1)),
    **dict.fromkeys(("杯", "cup", "cups"), ("cup", 1)),
    **dict.fromkeys(("管", "tube", "tubes"), ("tube", 1)),
    **dict.fromkeys(("vial", "vials", "安瓿"), ("vial", 1)),
    **dict.fromkeys(("pouch", "pouches"), ("pouch", 1)),
    **dict.fromkeys(("stick", "sticks"), ("stick", 1)),
    **dict.fromkeys(("tin", "tins"), ("tin", 1)),
    **dict.fromkeys(("板", "blister", "blisters"), ("blister", 1)),
    **dict.fromkeys(("桶", "tub", "tubs"), ("tub", 1)),
    **dict.fromkeys(("包", "packs", "packets"), ("pack", 2)),
    **dict.fromkeys(("盒", "box", "boxes"), ("box", 2)),
    **dict.fromkeys(("套", "set", "sets"), ("set", 2)),
    **dict.fromkeys(("提",), ("bundle", 3)),
    **dict.fromkeys(("箱", "case", "cases", "carton", "cartons"), ("case", 3)),
}


_DOZENS = frozenset(("dozen", "打"))
_NOT_BEGUN = {"打": "(?!印)", "对": "(?!比)", "包": "(?!邮)", "个": "(?!性|月)", "条": "(?!形?码)", "份": "(?!量)"}


def _any_of(words: list[str]) -> str:
    """Longest first. A Latin word must end where it ends, except before the x of "500mlx12"; a Chinese one must not
    begin another word (10包邮 is no ten packs)."""
    ends = r"(?=x\s*\d|[^a-z0-9]|$)"
    ordered = sorted(words, key=len, reverse=True)
    return "|".join(re.escape(w) + (ends if w.isascii() else _NOT_BEGUN.get(w, "")) for w in ordered)


_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_FACTOR = re.compile(rf"(?P<number>{_NUMBER})(?:\s*-?\s*(?P<unit>{_any_of([*_MEASURES, *_COUNTERS])}))?(?:装)?")
# "500滴*", "355ml, x": the factor before is of a kind we do not know, or stands apart
_DANGLING = re.compile(r"(?:\*|(?<![a-z0-9])x|[^\x00-\x7f]x)\s*$")
_LOOSE = re.compile(r"(?<![a-z0-9])x\s?\d+(?![a-z\d])")  # "355ml (x24)"
_START = re.compile(r"(?<![a-z0-9_.,~\-])(?=\d)")
_TIMES = re.compile(r"\s*(?:\)\s*)?(?:\*|x(?![a-z])|\bof\b)\s*(?=\d)")
_PER = re.compile(rf"\s*(?:/|每|per\s)\s*(?:{_any_of(list(_COUNTERS))})")
_PACK_OF = re.compile(
    r"\b(?:pack|case|box|lot|set)\s+of\s+(\d+)\b(?!\.\d|\s*(?:k?g|m?l|oz|floz)\b)|(?<![\w.,])(\d+)\s*-?\s*(?:pack|pk)s?\b(?!\s+of)"
)
_FACTOR_LEFT = re.compile(r"(?:[\d)]\s*x|\*)\s*;|;\s*(?:\*|x)\s*\d")  # "4 x 6-pack": more than the pack multiplies
_SUM = re.compile(r"\d\s*[^\d\s+]{0,4}\s*\+\s*\d")  # 12+2罐: what of it is sold, what is given?
_IMPERIAL = re.compile(r"\b(?:imperial|imp|uk)\b\.?\s*(?:fl|gal|pint)")
_HAN = dict(zip("一二两三四五六七八九", (1, 2, 2, 3, 4, 5, 6, 7, 8, 9), strict=True))
_BARE = r"(?:装|[^\u4e00-\u9fff]|$)"  # and no word goes on: 三只松鼠 is a brand
_HAN_NUMBER = re.compile(
    rf"(?<![第几十一二两三四五六七八九])(?P<n>[一二两三四五六七八九]?十[一二三四五六七八九]?|[一二两三四五六七八九])"
    rf"(?=(?:斤|公斤|千克|升|毫升){_BARE}|(?<!一)(?:{_any_of(list(_COUNTERS))}){_BARE})"
)
_REWRITTEN: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"\bfl(?:uid)?\.?\s*o(?:z|unces?)\b\.?"), "floz"),
    (re.compile(r"\b(?:twin|double|dual)[- ]?pack\b"), " pack of 2 "),
    (re.compile(r"(?<![\d.])(\d+)\s*斤\s*(\d+)\s*两"), lambda m: f"{int(m[1]) * 500 + int(m[2]) * 50}g"),
    (re.compile(r"半斤"), " 250g "),
)
_PROMOTION = re.compile(r"[买送赠满折第]|\b(?:buy|free|off)\b")
_RANGE = re.compile(rf"\d\s*[~\-–—至]\s*\d[\d.]*\s*(?:{_any_of(list(_MEASURES))})")


@dataclass(frozen=True, slots=True)
class Pack:
    """`units` base units of kind `unit` ("g", "ml", "piece", "bottle" …). `understood` is False when the text said
    nothing usable and one piece is assumed."""

    units: Decimal
    unit: str
    understood: bool


NOT_UNDERSTOOD = Pack(Decimal(1), PIECE, understood=False)


@functools.lru_cache(maxsize=20_000)  # a catalogue repeats its few packs over and over
def read_pack(text: str | None) -> Pack:
    """What the pack text (or a whole title) says it contains; never raises."""
    if not text:
        return NOT_UNDERSTOOD
    plain = unicodedata.normalize("NFKC", text[:1000]).lower().replace("×", "*").replace("✕", "*").replace("х", "x")
    if any(pattern.search(plain) for pattern in (_PROMOTION, _RANGE, _SUM, _IMPERIAL)):
        return NOT_UNDERSTOOD
    for pattern, said in _REWRITTEN:
        plain = pattern.sub(said, plain)
    plain = _HAN_NUMBER.sub(lambda m: f" {_han_number(m['n'])}", plain)
    multipliers = {Decimal(a or b) for a, b in _PACK_OF.findall(plain)}
    plain = _PACK_OF.sub(" ; ", plain)
    if multipliers and _FACTOR_LEFT.search(plain):
        return NOT_UNDERSTOOD
    expressions = _expressions(plain)
    if expressions is None:
        return NOT_UNDERSTOOD
    found = _one_label(expressions)
    if len(multipliers) > 1 or len(found) > 1 or not (found or multipliers):
        return NOT_UNDERSTOOD
    units, unit = found.pop() if found else (Decimal(1), PIECE)
    units *= multipliers.pop() if multipliers else 1
    if not 0 < units <= _LARGEST:
        return NOT_UNDERSTOOD
    return Pack(units, unit, understood=True)


def same_measure(ours: Pack, theirs: Pack) -> bool:
    """Whether prices per unit of the two packs may be compared. An assumed single is only ever compared with a
    single: a text that was not understood must not turn 24 bottles into one."""
    if ours.unit != theirs.unit:
        return False
    return (ours.understood and theirs.understood) or ours.units == theirs.units


def _han_number(text: str) -> int:
    """二十四 -> 24, 十二 -> 12, 两 -> 2."""
    tens, ten, ones = text.rpartition("十")
    return (10 * (_HAN[tens] if tens else 1) if ten else 0) + (_HAN[ones] if ones else 0)


def _one_label(found: list[tuple[Decimal, str, bool]]) -> set[tuple[Decimal, str]]:
    """The different contents that the expressions tell. A customary figure that a metric one of the same text agrees
    with tells the same content twice."""
    metric = {(units, unit) for units, unit, customary in found if not customary}
    return metric | {
        (units, unit)
        for units, unit, customary in found
        if customary and not any(unit == u and abs(size - units) <= _LABELLED_ALIKE * size for size, u in metric)
    }


def _expressions(text: str) -> list[tuple[Decimal, str, bool]] | None:
    """Every complete "a × b × c" of the text that names what it counts, as (base units, unit, in customary units).
    None: something multiplies what was read, and it is not known what."""
    found = []
    loose = {match.start() for match in _LOOSE.finditer(text)}
    at = 0
    while start := _START.search(text, at):
        if _DANGLING.search(text, 0, start.start()):
            return None
        factors, at = _factors(text, start.start())
        loose -= set(range(start.start(), at))
        meaning = _multiply(factors)
        if meaning is not None:
            found.append((*meaning, any(word in _CUSTOMARY for _, word in factors)))
    return None if loose else found


def _factors(text: str, at: int) -> tuple[list[tuple[Decimal, str | None]], int]:
    """The factors of one expression and where it ends; no factors when one of them is of a kind we do not know."""
    factors: list[tuple[Decimal, str | None]] = []
    known = True
    while factor := _FACTOR.match(text, at):
        at = factor.end()
        unit = factor["unit"]
        factors.append((Decimal(factor["number"].replace(",", "")), unit))
        if per := _PER.match(text, at):
            at = per.end()
        times = _TIMES.match(text, at)
        if times is None:
            if unit is None and re.match(r"\s?[a-z%°\"']", text[at:]):
                known = False  # 60x90cm, 4gb, 16x: a size or a specification, not a pack
            break
        at = times.end()
    return (factors if known else []), at


def _multiply(factors: list[tuple[Decimal, str | None]]) -> tuple[Decimal, str] | None:
    units = Decimal(1)
    measures: list[str] = []
    counted: list[tuple[int, str]] = []
    bare = 0
    for number, word in factors:
        units *= number
        if word is None:
            bare += 1
        elif word in _MEASURES:
            unit, scale = _MEASURES[word]
            units *= scale
            measures.append(unit)
        else:
            unit, rank = _COUNTERS[word]
            units *= 12 if word in _DOZENS else 1
            counted.append((rank, unit))
    if measures:
        return (units, measures[0]) if len(measures) == 1 else None
    if not counted:
        return None  # numbers alone: 4x6, 10x42
    rank, unit = min(counted)
    if bare and rank >= 2:
        return None  # "2盒*50": fifty of what?
    return units, unit
