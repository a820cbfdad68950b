"""From a feed's record to a canonical listing. Pure: the time is an argument.

The map is compiled once per pull. Each record's content cells are fingerprinted first; when the hub keeps the same
fingerprint for that SKU, only the stock cells are read again. Every record ends in exactly one of listings,
unchanged, bad and `skipped` (rows that are no sellable thing by the preset's design, such as a parent product)."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from connectors import jsonio
from connectors.contracts import BadRow, ListingIn, StockFigure
from connectors.mapping import Mapped, bad_row, plain_text
from connectors.table_feed import values
from connectors.table_feed.config import ColumnSpec, FeedConfig
from connectors.tables import SHEET, Record
from hub.kernel.types import Level

_STOCK = ("on_hand", "level", "location", "version", "reported_at")
_AMOUNTS = ("price", "market_price", "shipping", "coupon")
_LONGEST = {"title": 500, "title_en": 500, "description": 4000, "category": 120, "brand": 120, "pack": 120}
_NUMBERED = re.compile(r"\[\d+\]$")
_TOLD_APART = re.compile(r"(.+)\[@([^=\]]+)=.*\]")  # price[@type=net]: one of equals, by an attribute
_listing = ListingIn.__pydantic_validator__.validate_python

Fields = Mapping[str, str]


class FeedMapper:
    """The compiled map of one connection."""

    def __init__(self, config: FeedConfig) -> None:
        self._config = config
        self._prepare = config.chosen.prepare
        steps = {name: _step(name, spec, config) for name, spec in config.map.items()}
        self._every = list(steps.values())
        self._stock = [step for name, step in steps.items() if name in _STOCK]
        self._attributes = [_step(name, spec, config, words=False) for name, spec in config.attributes.items()]
        self._sku = steps["vendor_sku"]
        content = [s for n, s in config.map.items() if n not in _STOCK] + list(config.attributes.values())
        self._inputs = tuple(dict.fromkeys(column for spec in content for column in spec.sources))
        every = [*config.map.values(), *config.attributes.values()]
        self.columns = frozenset(c for spec in every for c in spec.sources if not c.startswith("=")) | frozenset(
            config.chosen.reads
        )
        self._patterns = [re.compile(fnmatch.translate(pattern)) for pattern in config.ignore]
        apart = [found for column in self.columns if (found := _TOLD_APART.fullmatch(column))]
        self._equals = {name for found in apart for name in (found[1], f"{found[1]}@{found[2]}")}
        self._ignored: set[str] = {*self.columns, SHEET}  # grows: a column is judged once
        self._salt = hashlib.blake2b(config.model_dump_json().encode(), digest_size=16).digest()
        self._currency_mapped = "currency" in config.map and bool(config.map["currency"].sources)
        self._base: dict[str, Any] = {"kind": config.kind, "mode": config.mode, "currency": config.currency}

    @property
    def required(self) -> tuple[tuple[str, ...], ...]:
        """For each field that no listing can do without: the file's columns of which one must exist."""
        needed = [*self._config.chosen.needs]
        for name in ("vendor_sku", "title", "price"):
            sources = self._config.map[name].sources
            if sources and not any(column.startswith("=") for column in sources):
                needed.append(sources)
        return tuple(needed)

    def prepared(self, record: Record, now: datetime) -> dict[str, str] | None:
        """The record's cells with the preset's derived columns; None when the row is skipped by design."""
        if self._prepare is None:
            return record.fields
        made = self._prepare(record.fields, self._config.at(now))
        return dict(made) if made is not None else None

    def sku(self, fields: Fields) -> str | None:
        """The SKU as it will be stored, or None when the record has none."""
        value = _read([self._sku], fields, {}).get("vendor_sku")
        return value.strip()[:128] or None if isinstance(value, str) else None

    def digest(self, fields: Fields) -> bytes:
        """Fingerprint of every cell but stock that the map reads."""
        cells: list[Any] = [fields.get(column) for column in self._inputs]
        if self._prepare is not None:
            cells.append([item for item in fields.items() if item[0].startswith("=attribute ")])
        return hashlib.blake2b(orjson.dumps(cells), digest_size=16, key=self._salt).digest()

    def page(
        self,
        records: Sequence[tuple[Record, dict[str, str] | ValueError | None]],
        known: Mapping[str, bytes] | None = None,
        *,
        keep_raw: bool = False,
    ) -> Mapped:
        """Map one page of records with their prepared cells (or why preparing failed, or None for a skipped one)."""
        out = Mapped(raws=[] if keep_raw else None)
        for record, fields in records:
            if fields is None:
                continue
            self._look_for_drift(record.fields, out.drift)
            if isinstance(fields, ValueError):
                out.bad.append(self._bad(record, str(fields)))
                continue
            try:
                self._one(record, fields, known, out)
            except ValidationError as error:
                first = error.errors(include_url=False, include_context=False)[0]
                pointer = "".join(f"/{part}" for part in first["loc"])
                out.bad.append(self._bad(record, first["msg"][:300], pointer, self.sku(fields)))
            except _FieldError as error:
                out.bad.append(self._bad(record, str(error)[:300], f"/{error.field}", self.sku(fields)))
        return out

    def _one(self, record: Record, fields: Fields, known: Mapping[str, bytes] | None, out: Mapped) -> None:
        sku = self.sku(fields)
        if sku is not None and sku in out.taken:
            out.bad.append(self._bad(record, "the file holds this SKU twice", "/vendor_sku", sku))
            return
        digest = self.digest(fields)
        if known is not None and sku is not None and known.get(sku) == digest:
            stock = self._stock_of(fields)
            when = stock.get("reported_at")
            level = stock.get("level")
            out.unchanged.append(
                StockFigure(
                    sku,
                    stock.get("on_hand"),
                    Level(level) if level is not None else None,
                    stock.get("location", ""),
                    stock.get("version"),
                    when,
                )
            )
            out.taken.add(sku)
            return
        listing = self.listing(fields)
        out.listings.append(listing)
        out.digests.append(digest)
        if out.raws is not None:
            out.raws.append(jsonio.text_of(_kept(record)))
        out.taken.add(listing.vendor_sku)

    def listing(self, fields: Fields) -> ListingIn:
        """The canonical listing of one record; raises ValidationError or a ValueError that names the field."""
        made = _read(self._every, fields, self._base)
        self._settle_currency(made)
        if "on_hand" in made:
            made.pop("level", None)  # a count says more than a level
        attributes: dict[str, str] = {}
        if self._attributes:
            attributes = {name: str(value)[:500] for name, value in _read(self._attributes, fields, {}).items()}
        if self._prepare is not None:
            attributes |= {k.removeprefix("=attribute "): v for k, v in fields.items() if k.startswith("=attribute ")}
        if attributes:
            made["attributes"] = attributes
        listing: ListingIn = _listing(made)
        return listing

    def _settle_currency(self, made: dict[str, Any]) -> None:
        """One currency for all amounts: the one they name, or the column's, or the connection's."""
        said: str | None = None
        for name in _AMOUNTS:
            value = made.get(name)
            if type(value) is not tuple:
                continue
            made[name], currency = value
            if currency is not None and currency != said:
                if said is not None:
                    raise _FieldError(f"the amounts are in {said} and {currency}", name)
                said = currency
        if said is not None:
            if self._currency_mapped and made["currency"] != said:
                raise _FieldError(f"the price says {said}, the currency column {made['currency']}", "currency")
            made["currency"] = said

    def _stock_of(self, fields: Fields) -> dict[str, Any]:
        made = _read(self._stock, fields, {})
        if "on_hand" in made:
            made.pop("level", None)  # a count says more than a level
        return made

    def _look_for_drift(self, fields: Fields, drift: set[str]) -> None:
        """Columns that the map neither uses nor ignores."""
        if fields.keys() <= self._ignored:
            return
        for name in fields.keys() - self._ignored:
            bare = _NUMBERED.sub("", name)
            if bare in self.columns or bare in self._equals or any(pattern.match(bare) for pattern in self._patterns):
                self._ignored.add(name)
            else:
                drift.add(name[:200])

    def _bad(self, record: Record, reason: str, pointer: str = "", sku: str | None = None) -> BadRow:
        """A quarantine row that says which row of the file it was."""
        return bad_row(_kept(record), reason, pointer, sku)

    def refused(self, record: Record) -> BadRow:
        """The quarantine row of a record that the reader itself could not trust."""
        sku = None
        if not record.lost:
            value = record.fields.get(self._config.map["vendor_sku"].sources[0], "") if self._has_sku_column else ""
            sku = value if value and value.isprintable() else None
        return self._bad(record, record.reason, "", sku)

    @property
    def _has_sku_column(self) -> bool:
        return bool(self._config.map["vendor_sku"].sources)


class _FieldError(ValueError):
    """A cell that cannot become its field."""

    def __init__(self, reason: str, field: str) -> None:
        super().__init__(reason)
        self.field = field


_ROW = "row"  # a number, which no cell is: a file may have a column of this name
_UNREADABLE = "=unreadable"


def _kept(record: Record) -> dict[str, Any]:
    """A record as the quarantine keeps it: undecodable bytes shown as U+FFFD, and whether it could be read at all."""
    cells = {
        name.encode("utf-8", "replace").decode(): value.encode("utf-8", "replace").decode()
        for name, value in record.fields.items()
    }
    return {_ROW: record.number, **({_UNREADABLE: True} if record.reason else {}), **cells}


def again(raw: str) -> Record | None:
    """The record that the quarantine kept, or None when it kept only a part or what cannot be read anyway."""
    try:
        kept = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(kept, dict) or _UNREADABLE in kept:
        return None
    number = kept.pop(_ROW) if isinstance(kept.get(_ROW), int) else 0
    return Record(number, kept) if kept and all(isinstance(value, str) for value in kept.values()) else None


def header_names(mapper: FeedMapper) -> frozenset[str]:
    """The column names by which the header row is recognised."""
    return mapper.columns


def missing_columns(mapper: FeedMapper, records: Sequence[Record]) -> list[str]:
    """The required columns that none of these records has, in words."""
    have = {name for record in records for name in record.fields}
    return [" or ".join(group) for group in mapper.required if not have.intersection(group)]


# Reading one field --------------------------------------------------------------------------------------------


class _Step(NamedTuple):
    """How one field is read: a constant, or cells and a conversion."""

    name: str
    columns: tuple[str, ...]
    convert: Callable[[str], Any] | None
    longest: int | None
    default: Any  # for an empty cell; the constant when there are no columns
    join: str | None
    first_of: str | None


def _read(steps: Sequence[_Step], fields: Fields, base: Mapping[str, Any]) -> dict[str, Any]:
    """`base` and the values of these fields that the record has; raises _FieldError. Flat: it runs for every cell."""
    made: dict[str, Any] = {**base}
    get = fields.get
    for name, columns, convert, longest, default, join, first_of in steps:
        cell: str | None = None
        if join is not None:
            cell = join.join([part for column in columns if (part := get(column, "").strip())])
        else:
            for column in columns:
                cell = get(column)
                if cell and (cell := cell.strip()):
                    break
        if cell and first_of is not None:
            cell = cell.partition(first_of)[0].strip()
        if not cell:
            if default is not None:
                made[name] = default
            continue
        if convert is not None:
            try:
                value = convert(cell)
            except ValueError as error:
                raise _FieldError(str(error), name) from None
            if value is not None:
                made[name] = value
        else:
            made[name] = cell if longest is None or len(cell) <= longest else cell[:longest]
    return made


def _step(name: str, spec: ColumnSpec, config: FeedConfig, *, words: bool = True) -> _Step:
    """The compiled spec. Attributes (`words` False) are text whatever they are called."""
    convert = _converter(name if words else "", spec, config)
    default: Any = spec.constant if "constant" in spec.model_fields_set else spec.default
    if default is not None and name in _AMOUNTS and words:
        default = values.amount(str(default))
    return _Step(name, spec.sources, convert, _LONGEST.get(name) if words else None, default, spec.join, spec.first_of)


def _converter(field: str, spec: ColumnSpec, config: FeedConfig) -> Callable[[str], Any] | None:
    if field in _AMOUNTS:
        decimal = spec.decimal or config.decimal
        if decimal == ".":
            return values.amount
        return lambda raw: values.amount(raw, decimal)
    if spec.values:
        table: dict[str, Any] = {key.strip().casefold(): value for key, value in spec.values.items()}
        return lambda raw: values.word(raw, table, field or "value")
    tables: dict[str, Mapping[str, object]] = {
        "level": values.LEVELS,
        "active": values.FLAGS,
        "kind": values.KINDS,
        "mode": values.MODES,
    }
    if field in tables:
        known = dict(tables[field])
        return lambda raw: values.word(raw, known, field)
    if field in ("on_hand", "version"):
        return values.count
    if field == "reported_at":
        zone = config.zone
        return lambda raw: values.instant(raw, zone)
    if spec.html:
        longest = _LONGEST.get(field)
        return lambda raw: (text := plain_text(raw)) and text[:longest]
    return None
