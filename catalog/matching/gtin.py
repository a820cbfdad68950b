"""GTINs as evidence. A number counts when its check digit is right and GS1 gives it out for use between companies;
it names one trade item at one level of packaging, so a case is not what is in it."""

from __future__ import annotations

from typing import Literal

from hub.kernel.types import gtin14

Relation = Literal["same", "other level", "different"]


def trade_item(raw: str | None) -> str | None:
    """The GTIN padded to 14 digits, or None when `raw` identifies nothing to a stranger: it is empty, no GTIN, its
    check digit is wrong, or its prefix is for use inside one company (02, 04, 2), for coupons (05, 98, 99) or for
    variable measure (indicator 9)."""
    try:
        gtin = gtin14(raw)
    except ValueError:
        return None
    if gtin is None or not gtin.strip("0"):
        return None
    if gtin.startswith("000000"):  # a GTIN-8: 0 and 2 are for use inside one company
        return None if gtin[6] in "02" else gtin
    if gtin[0] == "9" or gtin[1] == "2" or gtin[1:3] in ("02", "04", "05", "98", "99"):
        return None
    return gtin


def relation(one: str | None, other: str | None) -> Relation | None:
    """What two padded GTINs say of each other; None when either is missing. Two that differ in the indicator digit
    alone (and so in the check digit) are the same goods packed by the piece and by the case."""
    if one is None or other is None:
        return None
    if one == other:
        return "same"
    return "other level" if one[1:13] == other[1:13] else "different"
