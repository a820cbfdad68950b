"""From a vendor's record to a canonical listing. Pure: no I/O, no clock.

The manifest's map is compiled once per connection: plain paths become direct getters, and each field knows how its
raw value becomes ours. For every record the raw values of all content fields are fingerprinted first; when the hub
already keeps that fingerprint for the SKU, only the stock fields are read (`StockFigure`) and nothing is validated
again. The fingerprint covers what the mapping reads, not the whole record: real shops send fields that change on
every request (WooCommerce shuffles `related_ids`), and a sale must not make a listing look rewritten."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from pydantic import TypeAdapter, ValidationError

from connectors import jsonio
from connectors.contracts import BadRow, ListingIn, StockFigure
from connectors.manifest import ListingMap, Reading
from connectors.paths import Paths, compile_path, top_field
from connectors.readings import Convert, UnknownValue, as_text, compile_reading, conversion, plain_text
from hub.kernel.types import Level

STOCK_FIELDS = ("on_hand", "level", "location", "version", "reported_at")
_listing = ListingIn.__pydantic_validator__.validate_python
_when: TypeAdapter[datetime] = TypeAdapter(datetime)
_LEVELS = {level.value: level for level in Level}


@dataclasses.dataclass(slots=True)
class Mapped:
    """What became of a page's records. `taken` are the SKUs of those that could be used."""

    listings: list[ListingIn] = dataclasses.field(default_factory=list)
    digests: list[bytes] = dataclasses.field(default_factory=list)
    unchanged: list[StockFigure] = dataclasses.field(default_factory=list)
    bad: list[BadRow] = dataclasses.field(default_factory=list)
    drift: set[str] = dataclasses.field(default_factory=set)
    raws: list[str] | None = None  # of `listings`, when somebody wants to see what came
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
        return _Field(name, places, conversion(name, reading), reading.default)

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
                mapped.drift.add(error.drift)
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
                if mapped.raws is not None:
                    mapped.raws.append(jsonio.text_of(record))

    def listing(self, record: Mapping[str, Any]) -> ListingIn:
        """The canonical listing of one record; raises ValidationError or UnknownValue."""
        return self._listing(record, self._read(record))

    def _listing(self, record: Mapping[str, Any], raws: list[Any]) -> ListingIn:
        values = dict(self._fixed)
        for name, position in self._verbatim:
            raw = raws[position]
            if raw is not None and raw != "":
                values[name] = raw if raw.__class__ is str else as_text(raw)
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
                values[name] = raw if raw.__class__ is str else as_text(raw)
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
    value = as_text(value)
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


__all__ = ["STOCK_FIELDS", "Mapped", "Mapper", "UnknownValue", "bad_row", "compile_reading", "plain_text"]
