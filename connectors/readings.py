"""How one field is read from a record: where it stands, and what turns the vendor's raw value into ours. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.manifest import Reading
from connectors.paths import Getter, compile_path

_LIMITS = {"title": 500, "title_en": 500, "description": 4000}  # longer text is cut, not refused
_TAG = re.compile(r"<[^>]*>")

Convert = Callable[[Any], Any]


class UnknownValue(ValueError):
    """A table of the manifest does not know this raw value. `drift` names field and value, to be reported once."""

    def __init__(self, field: str, value: str) -> None:
        super().__init__(f"{field or 'value'}: {value[:80]!r} is not in the mapping's table")
        self.drift = f"{field or 'value'}={value[:80]}"


def compile_reading(field: str, reading: Reading, config: Mapping[str, Any]) -> Getter:
    """A function from a record to the value of `field`; empty text counts as nothing."""
    convert = conversion(field, reading) or as_text
    if reading.config is not None:
        fixed = convert(config.get(reading.config)) if config.get(reading.config) is not None else reading.default
        return lambda _record: fixed
    if not reading.paths:
        constant = reading.const
        return lambda _record: constant
    default = reading.default
    getters = [compile_path(path) for path in reading.paths]
    if len(getters) == 1:
        only = getters[0]

        def single(record: Any) -> Any:
            raw = only(record)
            if raw is None or raw == "":
                return default
            return convert(raw)

        return single

    def first(record: Any) -> Any:
        for get in getters:
            raw = get(record)
            if raw is not None and raw != "":
                return convert(raw)
        return default

    return first


def conversion(field: str, reading: Reading) -> Convert | None:
    """What turns a raw value into ours, or None when text may stay as it is."""
    steps: list[Convert] = []
    if reading.join is not None:
        glue = reading.join
        steps.append(lambda raw: glue.join(str(part) for part in raw if part) if isinstance(raw, list) else raw)
    if reading.table:
        table = {str(key): value for key, value in reading.table.items()}
        steps.append(lambda raw: _looked_up(field, table, raw))
    if reading.scale:
        scale = reading.scale
        steps.append(lambda raw: _minor(raw, scale))
    if reading.html:
        steps.append(plain_text)
    limit = _LIMITS.get(field)
    if limit is not None:
        most = limit
        steps.append(lambda raw: raw[:most] if raw.__class__ is str else raw)
    shape = _SHAPES.get(field)
    if shape is not None:
        steps.append(shape)
    elif steps:
        steps.append(as_text)
    if not steps:
        return None
    if len(steps) == 1:
        return steps[0]

    def run(raw: Any) -> Any:
        for step in steps:
            raw = step(raw)
            if raw is None:
                return None
        return raw

    return run


def _looked_up(field: str, table: Mapping[str, Any], raw: Any) -> Any:
    key = raw if isinstance(raw, str) else str(raw).lower() if isinstance(raw, bool) else str(raw)
    if key not in table:
        raise UnknownValue(field, key)
    return table[key]


def _minor(raw: Any, scale: int) -> Decimal:
    if isinstance(raw, bool) or not isinstance(raw, int | str):
        raise ValueError("an amount in minor units must be a whole number")
    try:
        return Decimal(raw).scaleb(-scale)
    except InvalidOperation:
        raise ValueError(f"{str(raw)[:40]!r} is not an amount") from None


def plain_text(raw: Any) -> Any:
    """Text without tags and entities, with single spaces."""
    if not isinstance(raw, str):
        return raw
    if "<" in raw:
        raw = _TAG.sub(" ", raw)
    if "&" in raw:
        raw = html.unescape(raw)
    return " ".join(raw.split()) or None


def as_text(raw: Any) -> Any:
    """Numbers become their text; lists and objects are left for the validation to refuse."""
    if type(raw) is int:
        return str(raw)
    return raw


def _money(raw: Any) -> Any:
    """Exact decimals: a JSON number is taken as it was written."""
    if type(raw) is float or type(raw) is bool:  # a truth is no amount: its text is refused by name
        return repr(raw)
    return raw.strip().replace(",", "") if isinstance(raw, str) else raw


def _count(raw: Any) -> Any:
    """Whole numbers; below nothing is nothing (a vendor's own back-orders)."""
    if isinstance(raw, bool):
        raise ValueError("a count must be a number, not true or false")
    if isinstance(raw, str):
        raw = raw.strip()
        if re.fullmatch(r"-?\d{1,12}(\.0+)?", raw):
            raw = int(raw.partition(".")[0])
    if type(raw) is float and raw == int(raw):
        raw = int(raw)
    return 0 if type(raw) is int and raw < 0 else raw


def _same(raw: Any) -> Any:
    return raw


_SHAPES: dict[str, Convert] = {
    "price": _money,
    "shipping": _money,
    "coupon": _money,
    "on_hand": _count,
    "version": _count,
    "reported_at": _same,
    "active": _same,
}
