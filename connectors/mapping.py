"""From a vendor's record to a canonical listing. Pure: no I/O, no clock.

The manifest's map is compiled once per connection: plain paths become direct getters, and each field knows how its
raw value becomes ours. For every record the raw values of all content fields are fingerprinted first; when the hub
already keeps that fingerprint for the SKU, only the stock fields are read (`StockFigure`) and nothing is validated
again. The fingerprint covers what the mapping reads, not the whole record: real shops send fields that change on
every request (WooCommerce shuffles `related_ids`), and a sale must not make a listing look rewritten."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import orjson
from pydantic import TypeAdapter, ValidationError

from connectors import jsonio
from connectors.contracts import BadRow, ListingIn, StockFigure
from connectors.manifest import ListingMap, Reading
from connectors.paths import Getter, Paths, compile_path, top_field
from hub.kernel.types import Level

STOCK_FIELDS = ("on_hand", "level", "location", "version", "reported_at")
_LIMITS = {"title": 500, "title_en": 500, "description": 4000}  # longer text is cut, not refused
_TAG = re.compile(r"<[^>]*>")
_listing = ListingIn.__pydantic_validator__.validate_python
_when: TypeAdapter[datetime] = TypeAdapter(datetime)
_LEVELS = {level.value: level for level in Level}

Convert = Callable[[Any], Any]


class UnknownValue(ValueError):
    """A table of the manifest does not know this raw value."""


@dataclasses.dataclass(slots=True)
class Mapped:
    """What became of a page's records. `taken` are the SKUs of those that could be used."""

    listings: list[ListingIn] = dataclasses.field(default_factory=list)
    digests: list[bytes] = dataclasses.field(default_factory=list)
    unchanged: list[StockFigure] = dataclasses.field(default_factory=list)
    bad: list[BadRow] = dataclasses.field(default_factory=list)
    drift: set[str] = dataclasses.field(default_factory=set)
    taken: set[str] = dataclasses.field(default_factory=set)


class _Field(NamedTuple):
    """How one field comes from the values at its paths: the first that holds something, converted."""

    name: str
    inputs: tuple[int, ...]
    convert: Convert | None  # None: text as it stands
    default: Any

    @property
    def verbatim(self) -> bool:
        """Whether the value is the text at its only path."""
        return len(self.inputs) == 1 and self.convert is None and self.default is None


class Mapper:
    """The compiled map of one connection. Each path is read once per record, for fingerprint and mapping alike."""

    def __init__(
        self, spec: ListingMap, config: Mapping[str, Any], *, ignore: Sequence[str] = (), salt: bytes = b""
    ) -> None:
        readings = dict(spec.fields)
        content = {name: reading for name, reading in readings.items() if name not in STOCK_FIELDS}
        self._read = Paths([path for r in (*content.values(), *spec.attributes.values()) for path in r.paths])
        self._fixed = {
            name: value
            for name, reading in readings.items()
            if not reading.paths and (value := _fixed(name, reading, config)) is not None
        }
        self._content = [self._field(n, r) for n, r in readings.items() if r.paths and n not in STOCK_FIELDS]
        self._verbatim = [(f.name, f.inputs[0]) for f in self._content if f.verbatim]
        self._worked = [field for field in self._content if not field.verbatim]
        attributes = dict(spec.attributes)
        every = attributes.pop("*", None)  # an object whose entries are all attributes
        self._every_attribute = self._field("", every).inputs[0] if every is not None else None
        self._attributes = [self._field(name, reading) for name, reading in attributes.items() if reading.paths]
        self._sku = next((field for field in self._content if field.name == "vendor_sku"), None)
        sku_paths = readings["vendor_sku"].paths if "vendor_sku" in readings else ()
        self._sku_paths = [compile_path(path) for path in sku_paths]
        self._stock = [
            (name, compile_reading(name, reading, config)) for name, reading in readings.items() if name in STOCK_FIELDS
        ]
        used = {top_field(p) for r in [*readings.values(), *spec.attributes.values()] for p in r.paths}
        self._seen = frozenset(name for name in used if name) | frozenset(ignore)
        constants = orjson.dumps({name: str(value) for name, value in sorted(config.items())})
        self._salt = hashlib.blake2b(salt + constants, digest_size=16).digest()

    def _field(self, name: str, reading: Reading) -> _Field:
        places = tuple(self._read.position[path] for path in reading.paths)
        return _Field(name, places, _conversion(name, reading), reading.default)

    def skus(self, records: Sequence[Any]) -> list[str]:
        """The SKUs of a page, for asking which are known."""
        return [sku for sku in map(self.sku, records) if sku]

    def sku(self, record: Any) -> str | None:
        """The SKU as it will be stored, or None when the record has none that can be read."""
        if self._sku is None or not isinstance(record, dict):
            return None
        for get in self._sku_paths:
            raw = get(record)
            if raw is not None and raw != "":
                return _plain(raw, self._sku)
        return None

    def digest(self, record: Any) -> bytes:
        """Fingerprint of everything but stock that the mapping reads."""
        return self._digest(self._read(record))

    def _digest(self, raws: list[Any]) -> bytes:
        return hashlib.blake2b(orjson.dumps(raws, default=str), digest_size=16, key=self._salt).digest()

    def page(self, records: Sequence[Any], known: Mapping[str, bytes] | None = None) -> Mapped:
        """Map one page. Every record ends in exactly one of listings, unchanged and bad; a SKU that occurs twice
        in a page is bad the second time."""
        mapped = Mapped()
        self.extend(mapped, records, known)
        return mapped

    def extend(self, mapped: Mapped, records: Sequence[Any], known: Mapping[str, bytes] | None = None) -> None:
        """Map more records of the page that `mapped` stands for."""
        taken = mapped.taken
        names: list[str] = []  # of the record before: a page's records mostly have the same fields
        for record in records:
            if not isinstance(record, dict):
                mapped.bad.append(bad_row(record, "the record is not an object"))
                continue
            if names != (names := list(record)) and not record.keys() <= self._seen:
                mapped.drift.update(str(name)[:200] for name in record.keys() - self._seen)
            try:
                raws = self._read(record)
                digest = self._digest(raws)
                if known:
                    sku = self.sku(record)
                    if sku is not None and sku not in taken and known.get(sku) == digest:
                        figure = self.figure(record, sku)
                        if figure is not None:
                            mapped.unchanged.append(figure)
                            taken.add(sku)
                            continue
                listing = self._listing(record, raws)
            except UnknownValue as error:
                mapped.bad.append(bad_row(record, str(error), "", self.sku(record)))
            except ValidationError as error:
                mapped.bad.append(_invalid(record, error, self.sku(record)))
            except (ValueError, TypeError, ArithmeticError) as error:
                mapped.bad.append(bad_row(record, str(error)[:300] or type(error).__name__, "", self.sku(record)))
            else:
                if listing.vendor_sku in taken:
                    sku = listing.vendor_sku
                    mapped.bad.append(bad_row(record, "the page holds this SKU twice", "/vendor_sku", sku))
                    continue
                taken.add(listing.vendor_sku)
                mapped.listings.append(listing)
                mapped.digests.append(digest)

    def listing(self, record: Mapping[str, Any]) -> ListingIn:
        """The canonical listing of one record; raises ValidationError or UnknownValue."""
        return self._listing(record, self._read(record))

    def _listing(self, record: Mapping[str, Any], raws: list[Any]) -> ListingIn:
        values = dict(self._fixed)
        for name, position in self._verbatim:
            raw = raws[position]
            if raw is not None and raw != "":
                values[name] = raw if raw.__class__ is str else _text(raw)
        for name, positions, convert, default in self._worked:
            raw = None
            for position in positions:
                raw = raws[position]
                if raw is not None and raw != "":
                    break
            if raw is None or raw == "":
                if default is not None:
                    values[name] = default
            elif convert is not None:
                value = convert(raw)
                if value is not None:
                    values[name] = value
            else:
                values[name] = raw if raw.__class__ is str else _text(raw)
        for name, get in self._stock:
            value = get(record)
            if value is not None:
                values[name] = value
        if "on_hand" in values:
            values.pop("level", None)  # a count says more than a level
        if self._attributes or self._every_attribute is not None:
            values["attributes"] = self._read_attributes(raws)
        listing: ListingIn = _listing(values)
        return listing

    def _read_attributes(self, raws: list[Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        if self._every_attribute is not None and isinstance(raws[self._every_attribute], dict):
            found = {str(name)[:80]: str(value)[:500] for name, value in raws[self._every_attribute].items()}
        for field in self._attributes:
            raw = next((raws[i] for i in field.inputs if raws[i] not in (None, "")), None)
            value = field.default if raw is None else field.convert(raw) if field.convert is not None else raw
            if value is not None:
                found[field.name] = str(value)[:500]
        return found

    def figure(self, record: Mapping[str, Any], sku: str) -> StockFigure | None:
        """The stock part of a record alone, or None when it is odd: the full path then says what is wrong."""
        values: dict[str, Any] = {name: get(record) for name, get in self._stock}
        on_hand, level, when = values.get("on_hand"), values.get("level"), values.get("reported_at")
        if on_hand is not None:
            if type(on_hand) is not int or not 0 <= on_hand <= 100_000_000:
                return None
            level = None
        elif level is not None:
            level = _LEVELS.get(level)
            if level is None:
                return None
        if isinstance(when, str):
            when = _when.validate_python(when)
            if when.tzinfo is None:
                return None
        version = values.get("version")
        if version is not None and type(version) is not int:
            return None
        return StockFigure(sku, on_hand, level, values.get("location") or "", version, when)


def _plain(raw: Any, field: _Field) -> str | None:
    try:
        value = raw if field.convert is None else field.convert(raw)
    except (ValueError, TypeError, ArithmeticError):
        return None
    value = _text(value)
    return value.strip() if isinstance(value, str) else None


def _fixed(field: str, reading: Reading, config: Mapping[str, Any]) -> Any:
    return compile_reading(field, reading, config)({})


def bad_row(record: Any, reason: str, pointer: str = "", vendor_sku: str | None = None) -> BadRow:
    """A quarantine row for `record`."""
    return BadRow(
        reason=reason, pointer=pointer, vendor_sku=(vendor_sku or "")[:128] or None, raw=jsonio.text_of(record)
    )


def _invalid(record: Any, error: ValidationError, sku: str | None) -> BadRow:
    first = error.errors(include_url=False, include_context=False)[0]
    where = "".join(f"/{part}" for part in first["loc"])
    return bad_row(record, first["msg"].removeprefix("Value error, ")[:300], where, sku)


# Reading one field --------------------------------------------------------------------------------------------


def compile_reading(field: str, reading: Reading, config: Mapping[str, Any]) -> Getter:
    """A function from a record to the value of `field`; empty text counts as nothing."""
    convert = _conversion(field, reading) or _text
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


def _conversion(field: str, reading: Reading) -> Convert | None:
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
        steps.append(_text)
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
        raise UnknownValue(f"{field or 'value'}: {key[:80]!r} is not in the mapping's table")
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


def _text(raw: Any) -> Any:
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
