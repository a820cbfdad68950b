"""A connection's settings as one checked value: where the file is, how to read it, and which column means what."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from connectors.contracts import ListingIn
from connectors.table_feed.preset import At, Preset
from connectors.table_feed.presets import PRESETS
from connectors.tables import SHEET, Format
from hub.kernel.errors import Fault, Misconfigured

_FIELDS = frozenset(ListingIn.model_fields) - {"attributes"}


class ColumnSpec(BaseModel):
    """How one canonical field is read. In YAML a bare string is a column's name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str | None = None
    columns: tuple[str, ...] = ()  # the first one that holds something, or all of them with `join`
    constant: str | int | bool | None = None
    values: dict[str, str | int | bool] = Field(default_factory=dict)  # vendor's word -> ours; others are refused
    default: str | int | bool | None = None  # when the cell is empty
    decimal: Literal[".", ","] | None = None
    first_of: str | None = Field(None, min_length=1, max_length=3)  # only the part before this separator
    join: str | None = None
    html: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> ColumnSpec:
        given = (self.column is not None, bool(self.columns), "constant" in self.model_fields_set)
        if sum(given) != 1:
            raise ValueError("give exactly one of column, columns, constant")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.column,) if self.column is not None else self.columns


class FeedConfig(BaseModel):
    """Everything a feed connection may set; see README.md for what each means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str | None = None
    file: str | None = None  # below the hub's feeds directory or, with `host`, on that SFTP server
    host: str | None = None
    newest_by: Literal["time", "name"] = "time"  # of the files that a pattern fits
    rest_s: int = Field(5, ge=0, le=3600)  # a file younger than this may still be being written
    scope: Literal["full", "delta"] = "full"
    format: Format = "auto"
    encoding: str | None = None
    delimiter: str | None = Field(None, min_length=1, max_length=1)
    header: bool = True
    sheet: str | None = None
    record: str | None = None
    preset: str | None = None
    currency: str = Field("CNY", pattern=r"^[A-Z]{3}$")
    country: str = Field("CN", pattern=r"^[A-Z]{2}$")  # whose shipping counts
    decimal: Literal[".", ","] = "."
    timezone: str | None = None
    kind: Literal["goods", "service", "experience"] = "goods"
    mode: Literal["parcel", "appointment", "code"] = "parcel"
    map: dict[str, ColumnSpec] = Field(default_factory=dict)
    attributes: dict[str, ColumnSpec] = Field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    page_rows: int = Field(1000, ge=1, le=10_000)

    @model_validator(mode="after")
    def _whole(self) -> FeedConfig:
        if (self.url is None) == (self.file is None):
            raise ValueError("give url or file, exactly one of them")
        if self.host is not None and self.file is None:
            raise ValueError("with host, file says which file it is (its last part may be a pattern)")
        if is_pattern((self.file or "").rpartition("/")[0]):
            raise ValueError("only the last part of file may be a pattern")
        if self.preset is not None and self.preset not in PRESETS:
            raise ValueError(f"there is no preset {self.preset!r}; there are {', '.join(PRESETS)}")
        if unknown := set(self.map) - _FIELDS:
            raise ValueError(f"a listing has no {', '.join(sorted(unknown))}")
        if missing := {"vendor_sku", "title", "price"} - set(self.map):
            raise ValueError(f"the map lacks {', '.join(sorted(missing))}")
        return self

    @property
    def chosen(self) -> Preset:
        return PRESETS[self.preset] if self.preset else Preset()

    def at(self, now: datetime) -> At:
        """When and where its records are read."""
        return At(now, self.zone, self.country)

    @property
    def tells_sheet(self) -> bool:
        """Whether some field is read from the title of its worksheet."""
        return any(SHEET in spec.sources for spec in (*self.map.values(), *self.attributes.values()))

    @property
    def zone(self) -> ZoneInfo | None:
        return ZoneInfo(self.timezone) if self.timezone else None


_ELSEWHERE = ("auth", "user", "port", "host_key", "root")  # of the credential and the mailbox


def is_pattern(name: str) -> bool:
    """Whether a file's name may fit several files."""
    return bool(set(name) & set("*?["))


def feed_config(settings: dict[str, Any]) -> FeedConfig:
    """The checked settings, the preset's map below the connection's own. Raises Misconfigured with every mistake."""
    raw = {name: value for name, value in settings.items() if value not in (None, "") and name not in _ELSEWHERE}
    preset = PRESETS.get(str(raw.get("preset", "")), Preset())
    base, own = dict(preset.map), dict(raw.get("map") or {})
    attributes = {**base.pop("attributes", {}), **_mapping(own.pop("attributes", {}))}
    for name in [name for name in own if str(name).startswith("attributes.")]:
        attributes[str(name).removeprefix("attributes.")] = own.pop(name)
    raw["map"] = {name: _spec(value) for name, value in {**base, **own}.items()}
    raw["attributes"] = {name: _spec(value) for name, value in attributes.items()}
    ignored = raw.get("ignore", "")
    parts = ignored.split(",") if isinstance(ignored, str) else ignored
    raw["ignore"] = (*preset.ignore, *(part.strip() for part in parts if part.strip()))
    raw.setdefault("record", preset.record)
    try:
        config = FeedConfig.model_validate(raw)
        _ = config.zone
    except ValidationError as error:
        faults = tuple(
            Fault("".join(f"/{part}" for part in ("config", *fault["loc"])), fault["msg"])
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        )
        found = "; ".join(f"{fault.pointer.removeprefix('/config/')}: {fault.detail}" for fault in faults)
        raise Misconfigured(f"the feed's settings are wrong: {found}", code="bad_config", faults=faults) from None
    except (KeyError, ValueError) as error:
        raise Misconfigured(f"the feed's timezone is not known: {error}", code="bad_config") from None
    return config


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Misconfigured("map.attributes must be a map of attribute to column", code="bad_config")
    return value


def _spec(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value
