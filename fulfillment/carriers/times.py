"""Times as carriers write them: a wall clock, and a zone where the text has one. Pure; guesses nothing. `03/04/2024` is
uncertain until the payload or the carrier's table says which comes first."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Order = Literal["dmy", "mdy"]
_EARLIEST, _LATEST = 1990, 2190  # outside: a system's way to say that there is no time
_LONGEST = 60

_DAYS = r"(?:(?:mon|tue|tues|wed|wednes|thu|thurs|fri|sat|satur|sun)(?:day)?\.?,?\s+)?"
_DATES = (
    r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})",
    r"(?P<y>\d{4})年(?P<m>\d{1,2})月(?P<d>\d{1,2})日?",
    r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})",
    r"(?P<a>\d{1,2})(?P<sep>[-/.])(?P<b>\d{1,2})(?P=sep)(?P<y>\d{4}|\d{2})",
    _DAYS + r"(?P<d>\d{1,2})(?:st|nd|rd|th)?[-\s](?P<mon>[a-z]{3,9})\.?,?[-\s](?P<y>\d{4})",
    _DAYS + r"(?P<mon>[a-z]{3,9})\.?\s+(?P<d>\d{1,2})(?:st|nd|rd|th)?,?\s+(?P<y>\d{4})",
)
_CLOCK = (
    r"(?P<cn>上午|下午|晚上)?\s*(?P<h>\d{1,2})(?:[:：]|时|点)(?P<mi>\d{2})分?(?:[:：]?(?P<s>\d{2})秒?(?:[.,:](?P<f>\d{1,9}))?)?"
    r"\s*(?P<ap>[ap]\.?m\.?)?"
)
_COMPACT = r"(?P<h>\d{2})(?P<mi>\d{2})(?P<s>\d{2})?"
_ZONE = r"\s*(?P<z>z|(?:utc|gmt)?\s?[+-]\d{1,2}(?::?\d{2})?|[a-z]{2,5})?(?:\[[a-z/_]+\])?"
_MOMENTS = [
    re.compile(rf"{day}(?:(?:t|\s*,?\s+|,|\s+at\s+|\s+-\s+|(?<=日)){_CLOCK}{_ZONE})?", re.IGNORECASE) for day in _DATES
] + [
    re.compile(rf"{_DATES[2]}[t\s]?{_COMPACT}{_ZONE}", re.IGNORECASE),
    re.compile(rf"{_DATES[0]}[t\s]{_COMPACT}{_ZONE}", re.IGNORECASE),
    re.compile(rf"{_DATES[0]}(?P<z>z|[+-]\d{{2}}:\d{{2}})", re.IGNORECASE),
]  # fmt: skip
_TIMES = [re.compile(form + _ZONE, re.IGNORECASE) for form in (_CLOCK, _COMPACT)]
_DOTNET = re.compile(r"/date\((-?\d{9,14})([+-]\d{4})?\)/", re.IGNORECASE)
_EPOCH = re.compile(r"\d{10}|\d{13}")
_BACKWARDS = re.compile(r"(\d{2})(\d{2})((?:19|20)\d{2})")  # 31122024; read forwards its month would be 19 or 20
_OFFSET = re.compile(r"(?:utc|gmt)?\s?([+-])(\d{1,2}):?(\d{2})?", re.IGNORECASE)
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan january janvier januar enero", "feb february fev fevrier februar febrero", "mar march mars marz marzo",
            "apr april avr avril abril", "may mai mayo", "jun june juin juni junio", "jul july juil juillet juli julio",
            "aug august aout agosto", "sep sept september septembre septiembre", "oct october octobre oktober octubre",
            "nov november novembre noviembre", "dec december decembre dezember diciembre dez",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
# Names of offsets that mean one thing. CST does not: it is written in Chicago and in Shanghai.
_NAMED = {
    "z": 0, "utc": 0, "gmt": 0, "est": -300, "edt": -240, "cdt": -300, "mst": -420, "mdt": -360, "pst": -480,
    "pdt": -420, "cet": 60, "cest": 120, "mez": 60, "mesz": 120, "hkt": 480, "jst": 540, "kst": 540,
    "aest": 600, "aedt": 660, "nzst": 720, "nzdt": 780,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Moment:
    """A wall clock. `zone` is what the text itself says; not `certain` when day and month may be the other way."""

    local: datetime
    zone: tzinfo | None = None
    has_time: bool = True
    certain: bool = True
    epoch: bool = False  # an instant: its wall clock is UTC's until a zone is known


@functools.lru_cache(maxsize=4096)
def moment(value: Any, order: Order | None = None) -> Moment | None:
    """The moment that a value says, None when it says none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return _of_epoch(value)
    text = str(value).strip()
    if not 6 <= len(text) <= _LONGEST:
        return None
    if _EPOCH.fullmatch(text):
        return _of_epoch(int(text))
    backwards = _BACKWARDS.fullmatch(text)
    if backwards is not None:
        text = "/".join(backwards.groups())
    dotnet = _DOTNET.fullmatch(text)
    if dotnet is not None:
        found = _of_epoch(int(dotnet[1]), milliseconds=True)
        zone = zone_of(dotnet[2]) if dotnet[2] else None
        if found is None or zone is None:
            return found
        return Moment((found.local.replace(tzinfo=UTC)).astimezone(zone).replace(tzinfo=None), zone)
    for form in _MOMENTS:
        match = form.fullmatch(text)
        if match is not None:
            built = _built(match.groupdict(), order)
            if built is not None:
                return built
    return None


def time_of_day(value: Any) -> tuple[time, tzinfo | None] | None:
    """The time of day that a value says, with its zone where the text has one."""
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not 3 <= len(text) <= _LONGEST:
        return None
    if text.isdigit() and len(text) in (3, 5):
        text = "0" + text
    for form in _TIMES:
        match = form.fullmatch(text)
        if match is not None:
            found = match.groupdict()
            clock, zone = _clock(found), zone_of(found.get("z"))
            if clock is not None and clock[1] == 0 and (zone is not None or not found.get("z")):
                return clock[0], zone
    return None


def on_day(day: Moment, clock: tuple[time, tzinfo | None]) -> Moment:
    """A day and a time of day that stood in two fields."""
    return replace(day, local=datetime.combine(day.local.date(), clock[0]), zone=clock[1] or day.zone, has_time=True)


def order_of(values: Iterable[Any]) -> Order | None:
    """Whether day or month comes first, where some of these values leave no doubt and none speaks against it."""
    said: set[Order] = set()
    for value in values:
        match = _MOMENTS[3].fullmatch(str(value).strip()) if isinstance(value, str) and len(value) < _LONGEST else None
        if match is not None and match["sep"] != ".":
            if int(match["a"]) > 12:
                said.add("dmy")
            elif int(match["b"]) > 12:
                said.add("mdy")
    return said.pop() if len(said) == 1 else None


@functools.lru_cache(maxsize=512)
def zone_of(text: str | None) -> tzinfo | None:
    """The zone that a text names: an offset, an unequivocal abbreviation, or an IANA name."""
    if text is None or not 1 <= len(text.strip()) <= 40:
        return None
    text = text.strip()
    minutes = _NAMED.get(text.lower())
    if minutes is None:
        match = _OFFSET.fullmatch(text)
        if match is not None:
            minutes = int(match[2]) * 60 + int(match[3] or 0)
            minutes = -minutes if match[1] == "-" else minutes
            return timezone(timedelta(minutes=minutes)) if abs(minutes) <= 14 * 60 else None
        if "/" in text and re.fullmatch(r"[A-Za-z_]+(?:/[A-Za-z_+-]+){1,2}", text):
            try:
                return ZoneInfo(text)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                return None
        return None
    return UTC if minutes == 0 else timezone(timedelta(minutes=minutes))


def apart(local: datetime, utc: datetime) -> tzinfo | None:
    """The zone in which `local` is the wall clock of the instant `utc`; the two may be a minute apart."""
    minutes = round((local - utc).total_seconds() / 60 / 15) * 15
    if abs(minutes) > 14 * 60 or abs((local - utc).total_seconds() - minutes * 60) > 90:
        return None
    return UTC if minutes == 0 else timezone(timedelta(minutes=minutes))


def _of_epoch(value: float, milliseconds: bool = False) -> Moment | None:
    seconds = value / 1000 if milliseconds or value > 1e11 else value
    if not 6.3e8 < seconds < 6.9e9:
        return None
    local = datetime.fromtimestamp(int(seconds), UTC).replace(tzinfo=None)
    return Moment(local, UTC, epoch=True)


def _built(found: dict[str, str | None], order: Order | None) -> Moment | None:
    day, certain = _day(found, order)
    if day is None:
        return None
    if found.get("h") is None:
        return Moment(datetime.combine(day, time()), zone_of(found.get("z")), has_time=False, certain=certain)
    clock, zone = _clock(found), zone_of(found.get("z"))
    if clock is None:
        return None
    if found.get("z") and zone is None and (found["z"] or "").lower() not in ("cst", "ist"):
        return None
    return Moment(datetime.combine(day, clock[0]) + timedelta(days=clock[1]), zone, certain=certain)


def _day(found: dict[str, str | None], order: Order | None) -> tuple[date | None, bool]:
    year = int(found["y"] or 0) + (2000 if len(found["y"] or "") == 2 else 0)
    certain = True
    if found.get("a") is not None:
        first, second = int(found["a"] or 0), int(found["b"] or 0)
        if found["sep"] == "." or first > 12 >= second:
            order = "dmy"
        elif second > 12 >= first:
            order = "mdy"
        certain = order is not None or first == second
        day, month = (second, first) if order == "mdy" else (first, second)
    elif found.get("mon") is not None:
        day, month = int(found["d"] or 0), _MONTHS.get((found["mon"] or "").lower(), 0)
    else:
        day, month = int(found["d"] or 0), int(found["m"] or 0)
    try:
        return (date(year, month, day) if _EARLIEST <= year <= _LATEST else None), certain
    except ValueError:
        return None, certain


def _clock(found: dict[str, str | None]) -> tuple[time, int] | None:
    """A time of day, and how many days it carries over (24:00)."""
    hour, minute, second = (int(found.get(part) or 0) for part in ("h", "mi", "s"))
    half = (found.get("ap") or found.get("cn") or "").lower().replace(".", "")
    if half in ("pm", "下午", "晚上") and hour < 12:
        hour += 12
    elif half in ("am", "上午") and hour == 12:
        hour = 0
    if hour == 24 and minute == second == 0:
        return time(), 1
    return (time(hour, minute, second), 0) if hour < 24 and minute < 60 and second < 60 else None
