"""The carriers' tables: names, zones, codes and field names as data, one file a carrier (or a family of them) under
data/carriers/. A carrier without a table is read all the same, by structure and words alone."""

from __future__ import annotations

import functools
import re
from datetime import tzinfo
from typing import Any, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import Field, field_validator

from fulfillment.carriers.contracts import CarrierStatus, Cause
from fulfillment.carriers.fields import Overrides
from fulfillment.carriers.names import DATA, load
from fulfillment.carriers.statuses import Meaning
from hub.kernel.types import Frozen


class FieldNames(Frozen):
    """Names of a carrier's fields, where structure alone would choose another."""

    time: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    place: tuple[str, ...] = ()
    number: tuple[str, ...] = ()
    carrier: tuple[str, ...] = ()


class CarrierTable(Frozen):
    """What is known of one carrier."""

    carrier: str
    title: str
    title_zh: str = ""
    names: tuple[str, ...] = ()  # other names people and systems give it
    country: str = ""
    zone: str | None = None  # of times that say none
    times: Literal["carrier", "local"] = "carrier"  # local: the wall clock of the event's place
    dates: Literal["dmy", "mdy"] | None = None
    numbers: tuple[str, ...] = ()  # shapes of its numbers; a hint and no proof
    kuaidi100: str | None = None  # its name there
    phone: bool = False  # tells nothing without a phone number of sender or receiver
    aggregator: bool = False  # speaks for other carriers
    coarse: bool = False  # codes are classes: status words that say more come first
    fields: FieldNames = FieldNames()
    statuses: dict[CarrierStatus, tuple[str, ...]] = Field(default_factory=dict)
    causes: dict[Cause, tuple[str, ...]] = Field(default_factory=dict)
    source: str = ""

    @field_validator("statuses", "causes", "names", "numbers", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        """YAML reads 01 and 72 as numbers and NO as false; a code is a text."""
        if isinstance(value, dict):
            return {key: cls._texts(items) for key, items in value.items()}
        wrong = [item for item in value if not isinstance(item, str)]
        if wrong:
            raise ValueError(f"write codes in quotes: {wrong}")
        return tuple(value)

    @property
    def zone_info(self) -> tzinfo | None:
        name = self.zone or ("Asia/Shanghai" if self.country == "CN" else None)
        return ZoneInfo(name) if name else None

    @functools.cached_property
    def overrides(self) -> Overrides:
        names = self.fields
        return Overrides(time=names.time, code=names.code, text=names.text, place=names.place, number=names.number)

    @functools.cached_property
    def meanings(self) -> dict[str, Meaning]:
        """By code, in the form of `code_key`."""
        causes = {code_key(code): cause for cause, codes in self.causes.items() for code in codes}
        return {
            code_key(code): Meaning(status, causes.get(code_key(code)))
            for status, codes in self.statuses.items()
            for code in codes
        }


def code_key(code: str) -> str:
    """Codes are compared without case and surrounding space."""
    return code.strip().casefold()


@functools.cache
def tables() -> dict[str, CarrierTable]:
    """All tables by carrier code."""
    found: dict[str, CarrierTable] = {}
    for path in sorted((DATA / "carriers").glob("*.yaml")):
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
        for entry in held if isinstance(held, list) else [held]:
            table = CarrierTable.model_validate(entry)
            found[table.carrier] = table
    return found


@functools.cache
def _by_name() -> dict[str, str]:
    found: dict[str, str] = {}
    for code, table in tables().items():
        for name in (code, table.title, table.title_zh, table.kuaidi100 or "", *table.names):
            if name:
                found.setdefault(_name_key(name), code)
    return found


_LONGEST = 200  # characters of a name; what is longer names nobody
_TAIL = re.compile(r"(快递|速递|速运|快运|物流|express|logistics|inc|ltd|group|有限公司|股份)$")


def _name_key(name: str) -> str:
    return re.sub(r"[\s_\-./()（）&]+", "", name.casefold())


@functools.lru_cache(maxsize=4096)
def fold(name: str) -> str:
    """The one code of a carrier that is called `name`; the name itself, in lower case, where no table knows it."""
    if len(name) > _LONGEST:
        return name[:_LONGEST].strip().casefold()
    key = _name_key(name)
    while key not in _by_name():
        shorter = _TAIL.sub("", key)
        if shorter == key or len(shorter) < 2:
            return name.strip().casefold()
        key = shorter
    return _by_name()[key]


def table_of(carrier: str) -> CarrierTable:
    """The table of a carrier; an empty one where there is none."""
    code = fold(carrier)
    return tables().get(code) or CarrierTable(carrier=code[:60] or "unspecified", title=carrier[:60])


def hints(number: str) -> list[str]:
    """Carriers whose numbers look like this one, by code. A hint: several carriers share every shape."""
    text = number.strip().upper()
    return sorted(code for code, table in tables().items() if any(re.fullmatch(shape, text) for shape in table.numbers))


@functools.cache
def _zones() -> dict[str, str]:
    found: dict[str, str] = load("zones.yaml")
    return found


def zone_of_country(country: str | None) -> tzinfo | None:
    """The zone of a country that has one; None for those that have several."""
    name = _zones().get((country or "").upper())
    return ZoneInfo(name) if name else None
