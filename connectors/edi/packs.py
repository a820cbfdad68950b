"""Units and packs. A price holds for one unit of one kind (a piece, a box, a case), and the pack text of a listing says
what that very unit contains: the pieces in a case must never be read as what is in a piece. An article whose unit is
not the partner's usual one carries the unit in its SKU, `4711@CA`, so that its price, its stock and its orders cannot
be taken for those of the piece."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

# Code of a unit (X12 element 355; UN/ECE Recommendation 20 and 21, which EDIFACT uses) -> the word that pack texts use.
WORDS = {
    "EA": "pieces", "PC": "pieces", "PCE": "pieces", "UN": "pieces", "C62": "pieces", "H87": "pieces", "NAR": "pieces",
    "U2": "tablets", "AV": "capsules", "PR": "pairs", "NPR": "pairs", "SET": "sets", "RL": "rolls",
    "BO": "bottles", "BX": "boxes", "PK": "packs", "PA": "packets", "CA": "cases", "CS": "cases", "CT": "cartons",
    "BG": "bags", "CN": "cans", "ML": "ml", "MLT": "ml", "LT": "l", "LTR": "l", "CLT": "cl", "GR": "g", "GRM": "g",
    "KG": "kg", "KGM": "kg", "ME": "mg", "MGM": "mg",
}  # fmt: skip
EACH = frozenset({"EA", "PC", "PCE", "UN", "C62", "H87", "NAR", ""})
OUTER = frozenset({"CA", "CS", "CT", "PL", "PF", "PX", "DZ", "DZN", "SK"})  # a consumer's bar code is not the case's


def canonical(unit: str) -> str:
    """One code for the many that mean a piece."""
    return "EA" if unit in EACH else unit


def sku_of(number: str, unit: str, usual: str) -> str:
    """The SKU of an article sold by `unit`."""
    unit, usual = canonical(unit), canonical(usual)
    return f"{number}@{unit}" if unit != usual or "@" in number else number


def parts_of_sku(sku: str) -> tuple[str, str]:
    """(article number, unit) of a SKU that `sku_of` made; no unit for the usual one."""
    number, at, unit = sku.rpartition("@")
    return (number, unit) if at else (sku, "")


def pack_text(unit: str, pack: str, size: str, size_unit: str) -> tuple[str | None, str | None]:
    """(what one `unit` contains, how many of it come in a case) out of a statement that an outer container holds `pack`
    inner ones of `size` `size_unit` each. For an article sold by the piece the pack is what a case holds, not the
    piece."""
    count = _count(pack)
    content = f"{_number(size)} {WORDS.get(size_unit, size_unit)}".strip() if _number(size) else ""
    if canonical(unit) == "EA":
        return content or None, str(count) if count and count > 1 else None
    if count is None and unit in ("DZ", "DZN"):
        count = 12
    if count is None or (count == 1 and content):
        return content or (f"1 {WORDS[unit]}" if unit in WORDS else None), None
    return f"{count} x {content}" if content else f"{count} {WORDS.get(size_unit, 'pieces')}", None


def _count(raw: str) -> int | None:
    return int(raw) if raw.isdigit() and 0 < int(raw) <= 1_000_000 else None


def _number(raw: str) -> str:
    try:
        value = Decimal(raw)
    except InvalidOperation:
        return ""
    return f"{value.normalize():f}" if value.is_finite() and value > 0 else ""


def money(raw: str, divisor: int = 1) -> Decimal:
    """An amount for `divisor` units as the amount for one. Raises ValueError for what is no amount, and where the
    amount for one cannot be written exactly in four places: a rounded price is another price."""
    try:
        value = Decimal(raw)
    except InvalidOperation:
        raise ValueError(f"{raw[:30]!r} is not an amount") from None
    if not value.is_finite():
        raise ValueError(f"{raw[:30]!r} is not an amount")
    if divisor == 1:
        return value
    one = (value / divisor).quantize(Decimal("0.0001"))
    if one * divisor != value:
        raise ValueError(f"{raw} for {divisor} cannot be said exactly for one")
    return one.normalize() if one == one.to_integral() else one


def plain(value: Decimal) -> str:
    """A number as both syntaxes write it: no exponent, no thousands, no zeros that say nothing."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def listing(unit: str, record: dict[str, Any]) -> dict[str, Any]:
    """`record` with a bar code only if it is that of the unit sold."""
    if unit in OUTER and record.get("gtin") and len(str(record["gtin"])) < 14:
        record.setdefault("attributes", {})["piece_gtin"] = record.pop("gtin")
    return record
