"""The rows that are wrong on purpose: each vendor's feed ends with a handful of them, so that a reader can see what the
hub refuses and why. Their SKUs begin with DIRTY- and their titles say so in brackets, except where the fault is
that there is no title. They are never part of `items`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DirtyRow:
    """One bad record as the vendor would write it; every value is the raw text. `fault` names what is wrong and
    `refused` says whether the row must be quarantined (False: it is read, with the fault made harmless)."""

    sku: str
    fault: str
    refused: bool = True
    title: str = "[样例坏数据] 测试用商品"
    title_en: str = "[Bad sample row] Test item"
    gtin: str = ""
    price: str = "19.90"
    stock: str = "10"


DIRTY: tuple[DirtyRow, ...] = (
    DirtyRow("DIRTY-GTIN", "the GTIN's check digit is wrong", gtin="9529999999990"),
    DirtyRow("DIRTY-PRICE-ZERO", "the price is zero", price="0"),
    DirtyRow("DIRTY-PRICE-NAN", "the price is not a number", price="NaN"),
    DirtyRow("DIRTY-PRICE-NONE", "the price is missing", price=""),
    DirtyRow("DIRTY-TITLE", "the title is empty", title="", title_en=""),
)

# Stock below nothing is a shop's own back-orders: it reads as none on hand.
NEGATIVE_STOCK = DirtyRow("DIRTY-STOCK", "the stock is below zero", refused=False, stock="-3")

# The same SKU twice in one pull: each row is sound by itself, the second one is set aside.
DUPLICATE = (
    DirtyRow("DIRTY-TWICE", "the SKU comes twice", refused=False),
    DirtyRow("DIRTY-TWICE", "the SKU comes twice", refused=False, price="21.90"),
)


def dirty_rows() -> tuple[DirtyRow, ...]:
    """All of them, in the order in which the feeds carry them."""
    return (*DIRTY, NEGATIVE_STOCK, *DUPLICATE)
