"""What a ready-made column map is: a map and, where columns depend on each other, one pure function that prepares a
record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, NamedTuple

Fields = dict[str, str]


class At(NamedTuple):
    """When and where a record is read: what it says may depend on both."""

    now: datetime
    zone: tzinfo | None = None  # of times that name none
    country: str = "CN"


Prepare = Callable[[Fields, At], Fields | None]
"""Adds derived columns (their names start with `=`); None: the row is no sellable thing by design. Raises ValueError
when the columns contradict each other."""


@dataclass(frozen=True)
class Preset:
    """A named map: canonical field -> column spec (see config.ColumnSpec), columns known and unused, preparation."""

    map: dict[str, Any] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    prepare: Prepare | None = None
    reads: tuple[str, ...] = ()  # columns that `prepare` looks at
    needs: tuple[tuple[str, ...], ...] = ()  # columns without which the file is not what it should be, any one of each
    record: str | None = None
    timed: bool = False  # what a row says depends on the time: the same file says something else tomorrow
