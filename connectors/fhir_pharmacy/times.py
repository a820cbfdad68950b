"""FHIR's dateTimes, which may be a year, a month, a day or an instant: each is a span of time, and only spans that do
not touch can be put in order. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

_PARTIAL = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
_TICK = timedelta(microseconds=1)


class Span(NamedTuple):
    """From the first instant that is meant to the last one. An instant is a span of its own."""

    first: datetime
    last: datetime

    def before(self, other: Span) -> bool:
        """Whether this is certainly over when `other` begins. Spans may share an edge, instants may not coincide."""
        if self.last < other.first:
            return True
        return self.last == other.first and self != other


def span_of(raw: Any, zone: ZoneInfo) -> Span:
    """The span of a FHIR dateTime; days, months and years are those of `zone`. Raises ValueError."""
    text = str(raw).strip()
    partial = _PARTIAL.fullmatch(text)
    if partial:
        year, month, day = (int(part) if part else None for part in partial.groups())
        assert year is not None
        first = datetime(year, month or 1, day or 1, tzinfo=zone)
        if day:
            after = first + timedelta(days=1)
        elif month:
            after = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=zone)
        else:
            after = datetime(year + 1, 1, 1, tzinfo=zone)
        return Span(first, after - _TICK)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no time") from None
    if when.tzinfo is None:
        raise ValueError(f"{text[:40]!r} has no time zone")
    return Span(when, when)
