"""Which field of a record says what: when, which code, which words, where. Decided by the fields' names and the shape
of their values, for each record by itself, so that the order of records and of keys changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from fulfillment.carriers.names import in_order, role, words_of
from fulfillment.carriers.times import Moment, Order, apart, moment, on_day, time_of_day, zone_of

PLACES = role("places")  # containers inside a record that hold where it was
_FOREIGN, _FOREIGN_PLACES = role("foreign"), role("foreign_places")
_PLANNED, _PLANS, _ROW_TIMES, _OWN_TIMES = role("planned"), role("plans"), role("row_times"), role("own_times")
_TIMED = role("about_time")
_CODED, _NOT_CODED = role("coded"), role("not_coded")
_TEXT, _NOT_TEXT = in_order("text"), PLACES | role("not_text")
_STATUS, _PLACE_NAMES, _NOT_PLACE_NAMES = in_order("status"), in_order("place_names"), role("not_place_names")
_CODE_LIKE = re.compile(r"[A-Z0-9_\-./]{1,6}|[A-Za-z]+_[A-Za-z0-9_]+|[\d\W]+")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar of a record: the words of its name, those of the containers around it, and its value."""

    words: tuple[str, ...]
    around: tuple[tuple[str, ...], ...]
    name: str
    value: Any

    @property
    def text(self) -> str:
        return str(self.value).strip()

    @property
    def in_place(self) -> bool:
        return any(PLACES.intersection(words) for words in self.around)

    @property
    def foreign(self) -> bool:
        return any(_FOREIGN.intersection(words) and not PLACES.intersection(words) for words in self.around)

    @property
    def rank(self) -> tuple[int, str]:
        """Breaks ties: the shallower, then the alphabetically first."""
        return (len(self.around), self.name)


@dataclass(frozen=True, slots=True)
class Overrides:
    """Field names by which a carrier's table replaces the search, in order of preference."""

    time: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    place: tuple[str, ...] = ()
    number: tuple[str, ...] = ()


@dataclass(slots=True)
class Scan:
    """A record read by its fields."""

    moment: Moment | None
    utc: Moment | None
    zone: Any  # a tzinfo that stands in a field of its own
    codes: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)  # status words, the most telling first
    text: str | None = None
    place: str | None = None
    country: str | None = None


def leaves(record: Mapping[str, Any], depth: int = 3, *, lists: bool = True) -> list[Leaf]:
    """The scalars of a record and of the containers inside it; of a list inside it the first element, unless lists are
    left out."""
    return list(_leaves(record, (), depth, lists))


def _leaves(record: Mapping[str, Any], around: tuple[tuple[str, ...], ...], depth: int, lists: bool) -> Iterator[Leaf]:
    for name, value in record.items():
        words = words_of(name)
        if isinstance(value, list):
            value = next((item for item in value if item not in (None, "", {}, [])), None) if lists else None
        if isinstance(value, dict):
            if depth > 0:
                yield from _leaves(value, (*around, words), depth - 1, lists)
        elif value is not None and value != "" and not isinstance(value, bool):
            yield Leaf(words, around, name, value)


def scan_of(record: Mapping[str, Any], overrides: Overrides, order: Order | None = None) -> Scan:
    """Read one record."""
    found = leaves(record)
    local, utc = _moments(found, overrides.time, order)
    codes = _codes(found, overrides.code)
    words = _status_words(found)
    text = _text(found, overrides.text)
    place, country = _place(found, overrides.place)
    return Scan(local, utc, _zone(found), codes, words, text, place, country)


def has_moment(record: Mapping[str, Any], *, listed: bool = True) -> bool:
    """Whether the record says a time of its own: in one of its fields, or in a container that is about the time. When a
    row was made or changed is one only for a record that stands in a list of its like."""
    return any(
        _is_moment(leaf)
        and moment(_scalar(leaf.value)) is not None
        and (listed or not _ROW_TIMES.intersection(leaf.words))
        for leaf in leaves(record, 1)
        if not leaf.around or _TIMED.intersection(leaf.around[0])
    )


def has_words(record: Mapping[str, Any]) -> float:
    """How much a record says besides its time: a code, a text, a place. 0 when it says neither code nor text."""
    found = leaves(record, 2)
    code, text = bool(_codes(found, ())), _text(found, ()) is not None
    return (code + text + 0.5 * (_place(found, ())[0] is not None)) if code or text else 0.0


def named(found: Sequence[Leaf], names: Sequence[str]) -> list[Leaf]:
    """The leaves with these names, in the order of the names; case does not matter."""
    return [leaf for name in names for leaf in found if leaf.name.lower() == name.lower()]


def _scalar(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else str(value)


def _is_moment(leaf: Leaf) -> bool:
    words = set(leaf.words)
    dated = words & {"date", "time"} or (leaf.words and leaf.words[-1] in ("at", "on", "when"))
    planned = words & _PLANNED and not (words & _OWN_TIMES and not words & _PLANS)
    return bool(dated) and not planned and not words & {"zone", "offset"} and not leaf.foreign


def _moments(found: Sequence[Leaf], names: Sequence[str], order: Order | None) -> tuple[Moment | None, Moment | None]:
    """The event's own time, and the same in UTC where a second field says so."""
    chosen = named(found, names) or sorted((leaf for leaf in found if _is_moment(leaf)), key=_time_rank)
    local: Moment | None = None
    utc: Moment | None = None
    for leaf in chosen:
        when = moment(_scalar(leaf.value), order)
        if when is None:
            continue
        if not when.has_time:
            when = _with_time(when, leaf, found)
        if "gmt" in leaf.words or (local is not None and _same_in_utc(local, when)):
            utc = utc or when
        elif local is None or (not local.has_time and when.has_time and when.local.date() == local.local.date()):
            local = when
    return (local, utc) if local is not None else (utc, utc)


def _same_in_utc(local: Moment, when: Moment) -> bool:
    """Whether `when` is the instant of a wall clock that stands beside it without a zone."""
    return local.zone is None and when.zone is UTC and apart(local.local, when.local) is not None


def _time_rank(leaf: Leaf) -> tuple[Any, ...]:
    words = set(leaf.words)
    weight = 2 * bool(words & _OWN_TIMES) - 4 * bool(words & _ROW_TIMES) - leaf.in_place
    return (-weight, len(leaf.words) - 2 * ("date" in words), *leaf.rank)


def _with_time(day: Moment, of: Leaf, found: Sequence[Leaf]) -> Moment:
    """The day with the time of day that stands beside it: in a field of the same name but for the words date and time,
    else in the one field that is a time of day."""
    bare = [word for word in of.words if word not in ("date", "time", "day")]
    beside = sorted(
        (leaf for leaf in found if leaf is not of and leaf.around == of.around and "time" in leaf.words
         and not set(leaf.words) & (_PLANNED - {"local"}) and not {"zone", "offset"} & set(leaf.words)),
        key=lambda leaf: ([word for word in leaf.words if word not in ("date", "time", "day")] != bare, *leaf.rank),
    )  # fmt: skip
    for leaf in beside:
        if ("gmt" in leaf.words) != ("gmt" in of.words):
            continue
        clock = time_of_day(leaf.value)
        if clock is not None:
            return on_day(day, clock)
    return day


def _zone(found: Sequence[Leaf]) -> Any:
    for leaf in sorted(found, key=lambda leaf: leaf.rank):
        if {"zone", "offset"} & set(leaf.words):
            zone = zone_of(leaf.text)
            if zone is not None:
                return zone
    return None


def _codes(found: Sequence[Leaf], names: Sequence[str]) -> list[str]:
    """Values that may be codes, the most telling first."""
    chosen = [leaf.text for leaf in named(found, names)]
    if chosen:
        return chosen
    ranked = [(rank, leaf.rank, leaf.text) for leaf in found if (rank := _code_rank(leaf)) is not None]
    return [text for _, _, text in sorted(ranked) if len(text) <= 120]


def _code_rank(leaf: Leaf) -> int | None:
    words = leaf.words
    if not words or leaf.in_place or leaf.foreign or len(leaf.text) > 40 or set(words) & _NOT_CODED:
        return None
    if words[-1] in ("code", "identifier") and (len(words) == 1 or set(words[:-1]) & _CODED or len(words) == 2):
        return 0 if set(words[:-1]) & _CODED else 1 if len(words) == 1 else 5
    if words[-1] == "type" and set(words[:-1]) & _CODED:
        return 2
    if len(words) == 1 and words[0] in ("status", "state", "event", "action", "tag", "stage", "type", "milestone"):
        return 3 + (words[0] == "type")
    if len(words) == 2 and words[1] == "status" and words[0] in _CODED:
        return 3
    return None


def _status_words(found: Sequence[Leaf]) -> list[str]:
    """Short texts that name a status."""
    ranked: list[tuple[int, tuple[int, str], str]] = []
    for leaf in found:
        if leaf.in_place or leaf.foreign or not isinstance(leaf.value, str) or len(leaf.text) > 120:
            continue
        words = leaf.words
        if words and words[-1] in _STATUS and not set(words) & _NOT_CODED:
            if "state" in words and len(leaf.text) <= 3:
                continue  # a part of an address
            ranked.append((_STATUS.index(words[-1]), leaf.rank, leaf.text))
        elif words[-2:] == ("code", "description"):
            ranked.append((0, leaf.rank, leaf.text))
        elif (
            len(words) > 1
            and words[0] in ("status", "state", "event")
            and words[-1] in ("name", "label", "description")
        ):
            ranked.append((len(_STATUS), leaf.rank, leaf.text))
    return [text for _, _, text in sorted(ranked)]


def _text(found: Sequence[Leaf], names: Sequence[str]) -> str | None:
    chosen = next((leaf.text for leaf in named(found, names) if leaf.text), None)
    if chosen is not None:
        return chosen
    ranked: list[tuple[Any, ...]] = []
    for leaf in found:
        if not isinstance(leaf.value, str) or leaf.in_place or leaf.foreign or not leaf.text:
            continue
        words = set(leaf.words)
        if words & _NOT_TEXT and not words & {"description", "message", "remark", "context"}:
            continue
        kind = next((n for n, word in enumerate(_TEXT) if word in words), None)
        if kind is None and leaf.words and leaf.words[-1] in _STATUS and not {"code", "id"} & words:
            kind = len(_TEXT) + _STATUS.index(leaf.words[-1])
        if kind is None or ("code" in words and kind >= len(_TEXT)):
            continue
        short = bool(words & {"short", "sub", "additional", "extra"}) or _CODE_LIKE.fullmatch(leaf.text) is not None
        nested = bool(leaf.around) and not set(leaf.around[-1]) & _CODED
        ranked.append(
            (short, nested, bool(words & (PLACES | {"exception"})), kind, len(leaf.words), *leaf.rank, leaf.text)
        )
    return min(ranked)[-1] if ranked else None


_CITY, _STATE, _POST, _COUNTRY = ("city",), ("state", "province"), ("postal",), ("country",)


def _place(found: Sequence[Leaf], names: Sequence[str]) -> tuple[str | None, str | None]:
    """Where, as people read it, and the country where the record says one."""
    chosen = list(dict.fromkeys(leaf.text for leaf in named(found, names) if leaf.text))
    if chosen:
        return chosen[0], _country(found)
    inside = [leaf for leaf in found if leaf.in_place and not _foreign_place(leaf)]
    own = [leaf for leaf in found if not leaf.around or not leaf.in_place]
    parts = _parts(inside) or _parts([leaf for leaf in own if not leaf.foreign and not leaf.around])
    whole = _whole([leaf for leaf in own if not leaf.foreign]) or _whole(inside)
    if whole is not None and (not parts or (len(parts) == 1 and parts[0].lower() not in whole.lower())):
        parts = [whole, *(part for part in parts if part not in whole)]
    elif whole is not None and not _one(inside, _CITY) and not _one(own, _CITY):
        parts = [whole, *(part for part in parts if part.lower() not in whole.lower())]
    return (", ".join(dict.fromkeys(parts)) or None), _country(found)


def _foreign_place(leaf: Leaf) -> bool:
    return any(
        {"sender", "receiver", "destination", "origin", "next", "estimated"} & set(words) for words in leaf.around
    )


def _parts(found: Sequence[Leaf]) -> list[str]:
    said = [_one(found, kind) for kind in (_CITY, _STATE, _POST, _COUNTRY)]
    return [text for text in said if text]


def _one(found: Sequence[Leaf], kind: Sequence[str]) -> str | None:
    """The city (or state, …) among these leaves: a code rather than a name for state and country."""
    ranked = []
    for leaf in found:
        words = set(leaf.words)
        if not words & set(kind) or {"type", "id", "next", "phone"} & words or leaf.foreign or len(leaf.text) > 80:
            continue
        if kind is _STATE and "state" in words and not leaf.around and not _has_address(found):
            continue  # a status
        if kind is _CITY and "code" in words:
            continue
        ranked.append(("name" in words, *leaf.rank, leaf.text))
    return min(ranked)[-1] if ranked else None


def _has_address(found: Sequence[Leaf]) -> bool:
    return any({"city", "postal", "country"} & set(leaf.words) for leaf in found)


def _whole(found: Sequence[Leaf]) -> str | None:
    """A place that is written in one field."""
    ranked = []
    for leaf in found:
        words = set(leaf.words)
        kind = next((n for n, word in enumerate(_PLACE_NAMES) if word in words), None)
        if kind is None and leaf.in_place and leaf.words and leaf.words[-1] in ("name", "description", "label"):
            kind = len(_PLACE_NAMES)
        bare = words & _NOT_PLACE_NAMES
        if kind is None or bare or not isinstance(leaf.value, str) or not leaf.text or len(leaf.text) > 200:
            continue
        ranked.append((len(leaf.words) > 2, kind, *leaf.rank, leaf.text))
    return min(ranked)[-1] if ranked else None


def _country(found: Sequence[Leaf]) -> str | None:
    """The two letters of a country, where the record has them."""
    for leaf in sorted(found, key=lambda leaf: leaf.rank):
        if "country" in leaf.words and len(leaf.text) == 2 and leaf.text.isalpha() and not leaf.foreign:
            return leaf.text.upper()
    return None
