"""Cells of files that people open in a spreadsheet."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

_FORMULA = re.compile(r"\s*[=+\-@\t\r|]|[\t\r\n]", re.ASCII)
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")  # XLSX cannot hold them


def cell(value: Any) -> str:
    """A value as the text of a cell. Text that a spreadsheet would take for a formula gets a quotation mark in front
    (full-width signs too, which some of them fold); numbers stay numbers."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, int | float):
        return str(value)
    text = _UNPRINTABLE.sub("\ufffd", str(value))
    folded = text[:8].translate({ord(wide): narrow for wide, narrow in zip("＝＋－＠", "=+-@", strict=True)})
    return f"'{text}" if _FORMULA.match(folded) else text
