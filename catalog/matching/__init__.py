"""Which listings are the same thing. Pure: words in, decisions out; no I/O and no clock."""

from __future__ import annotations

from catalog.matching.keys import (
    SEPARATOR,
    Assignment,
    Keys,
    Product,
    assign,
    brand_model_key,
    conflict,
    normal,
    recognise,
)

__all__ = [
    "SEPARATOR",
    "Assignment",
    "Keys",
    "Product",
    "assign",
    "brand_model_key",
    "conflict",
    "normal",
    "recognise",
]
