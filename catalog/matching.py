"""Which listings are the same thing. Pure: words in, keys out. A GTIN decides first, then brand and model; a listing
with neither is its own product. Both keys fold width, case and punctuation, so that "3M / 8210-CN" from one vendor
meets "３Ｍ 8210 CN" from another."""

from __future__ import annotations

import functools
import unicodedata

SEPARATOR = "\x1f"
_PLACEHOLDERS = frozenset(
    ["", "na", "none", "null", "unknown", "other", "others", "nobrand", "generic", "unbranded", "default", "test", "无", "其他", "其它", "无品牌", "未知", "通用", "暂无"]
)


@functools.lru_cache(maxsize=65_536)
def normal(text: str) -> str:
    """`text` with width and case folded and everything but letters, digits and marks removed."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(c for c in folded if c.isalnum() or unicodedata.category(c)[0] == "M")


def brand_model_key(brand: str | None, model: str | None) -> str | None:
    """The key under which listings of one brand and model meet, or None when either says nothing.

    A model of a single character (a size, a colour letter) identifies nothing."""
    if not brand or not model:
        return None
    left, right = normal(brand), normal(model)
    if left in _PLACEHOLDERS or right in _PLACEHOLDERS or len(right) < 2:
        return None
    return f"{left}{SEPARATOR}{right}"


def conflict(gtin: str | None, other_gtin: str | None) -> bool:
    """True when two things cannot be the same although brand and model agree: both carry a GTIN and they differ (a
    pack of ten and the single piece often share the model)."""
    return gtin is not None and other_gtin is not None and gtin != other_gtin
