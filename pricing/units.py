"""Packs in one measure: what "500ml*12瓶", "6×500 ml", "50只/盒×2" or "2 kg (4x500g)" contain. Owns the reading of
pack texts in Chinese and English and nothing else; pure.

The reading is conservative. A text that says one thing is read; a text that says nothing, or two things that do not
agree ("500g 2袋"), is *one piece, not understood*. A measure (mass, volume) times counts is that measure, so
"0.3g*20粒" is 6 g. Counts without a measure keep the name of what they count, because 2 boxes are not 2 pieces."""

from __future__ import annotations

import functools
import re
import unicodedata
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
    **dict.fromkeys(("l", "liter", "liters", "litre", "litres", "升"), ("ml", Decimal(1000))),
    **dict.fromkeys(("ml", "毫升"), ("ml", Decimal(1))),
    "cl": ("ml", Decimal(10)),
}

# counter -> (what it counts, rank: a pack's base unit is the innermost, that is the lowest)
_PIECE_WORDS = (
    "只", "个", "枚", "片", "粒", "颗", "丸", "支", "条", "张", "抽", "块", "贴", "根", "件",
    "pc", "pcs", "piece", "pieces", "ct", "count", "tablet", "tablets", "tabs", "capsule", "capsules", "caps",
    "sheet", "sheets", "mask", "masks",
)  # fmt: skip
_COUNTERS = {
    **dict.fromkeys(_PIECE_WORDS, (PIECE, 0)),
    **dict.fromkeys(("瓶", "bottle", "bottles"), ("bottle", 1)),
    **dict.fromkeys(("罐", "听", "can", "cans"), ("can", 1)),
    **dict.fromkeys(("袋", "bag", "bags", "sachet", "sachets"), ("bag", 1)),
    **dict.fromkeys(("卷", "roll", "rolls"), ("roll", 1)),
    **dict.fromkeys(("双", "pair", "pairs"), ("pair", 1)),
    **dict.fromkeys(("板", "blister", "blisters"), ("blister", 1)),
    **dict.fromkeys(("桶", "tub", "tubs"), ("tub", 1)),
    **dict.fromkeys(("包", "packs", "packets"), ("pack", 2)),
    **dict.fromkeys(("盒", "box", "boxes"), ("box", 2)),
    **dict.fromkeys(("套", "set", "sets"), ("set", 2)),
    **dict.fromkeys(("提",), ("bundle", 3)),
    **dict.fromkeys(("箱", "case", "cases", "carton", "cartons"), ("case", 3)),
}


def _any_of(words: list[str]) -> str:
    """Longest first. A Latin word must end where it ends, except before the x of "500mlx12"."""
    ends = r"(?=x\s*\d|[^a-z0-9]|$)"
    ordered = sorted(words, key=len, reverse=True)
    return "|".join(re.escape(w) + (ends if w.isascii() else "") for w in ordered)


_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_FACTOR = re.compile(rf"(?P<number>{_NUMBER})(?:\s*-?\s*(?P<unit>{_any_of([*_MEASURES, *_COUNTERS])}))?(?:装)?")
_DANGLING = re.compile(r"(?:\*|[^\x00-\x7f]x)\s*$")  # "500滴*": the factor before is of a kind we do not know
_START = re.compile(r"(?<![a-z0-9_.,~\-])(?=\d)")
_TIMES = re.compile(r"\s*(?:\*|x(?![a-z])|\bof\b)\s*(?=\d)")
_PER = re.compile(rf"\s*(?:/|每|per\s)\s*(?:{_any_of(list(_COUNTERS))})")
_PACK_OF = re.compile(r"\bpack\s+of\s+(\d+)\b|(?<![\w.,])(\d+)\s*-?\s*pack\b(?!\s+of)")
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
    if _PROMOTION.search(plain) or _RANGE.search(plain):
        return NOT_UNDERSTOOD
    multipliers = {Decimal(a or b) for a, b in _PACK_OF.findall(plain)}
    found = set(_expressions(_PACK_OF.sub(" ; ", plain)))
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


def _expressions(text: str) -> list[tuple[Decimal, str]]:
    """Every complete "a × b × c" of the text that names what it counts, as (base units, unit)."""
    found = []
    at = 0
    while start := _START.search(text, at):
        if _DANGLING.search(text, 0, start.start()):
            return []
        factors, at = _factors(text, start.start())
        meaning = _multiply(factors)
        if meaning is not None:
            found.append(meaning)
    return found


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
            counted.append((rank, unit))
    if measures:
        return (units, measures[0]) if len(measures) == 1 else None
    if not counted:
        return None  # numbers alone: 4x6, 10x42
    rank, unit = min(counted)
    if bare and rank >= 2:
        return None  # "2盒*50": fifty of what?
    return units, unit
