"""What the checker reads and says: a plan as rows of names, and findings, each of one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from fulfillment.allocation.tables import Ints, Names, Place

TOLD = 20  # findings of one kind that are told one by one


@dataclass(frozen=True)
class PlanTable:
    """A plan as it stands in its file."""

    place: Place
    warehouse: Names
    site: Names
    item: Names
    lot: Names
    units: Ints

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str, str, str, int]]) -> PlanTable:
        """A plan of these rows (warehouse, site, item, lot, units)."""
        columns: list[list[str]] = [[], [], [], []]
        units: list[int] = []
        for *names, count in rows:
            for column, name in zip(columns, names, strict=True):
                column.append(str(name))
            units.append(int(count))
        warehouse, site, item, lot = map(_names, columns)
        return cls(lambda row: f"plan row {row + 1}", warehouse, site, item, lot, np.array(units, dtype=np.int64))


def _names(column: list[str]) -> Names:
    known: dict[str, int] = {}
    codes = [known.setdefault(name, len(known)) for name in column]
    return Names(list(known), np.array(codes, dtype=np.int64))


@dataclass(frozen=True)
class Finding:
    """A guarantee that does not hold, in one line. `rule` is which."""

    rule: str
    words: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.words}"


class Malformed(Exception):
    """The certificate is not even of the right shape, so nothing further can be checked."""


@dataclass
class Findings:
    """Collects findings."""

    found: list[Finding] = field(default_factory=list)

    def add(self, rule: str, words: str) -> None:
        """One finding."""
        self.found.append(Finding(rule, words))

    def each(self, rule: str, rows: Ints, words: Callable[[int], str]) -> bool:
        """A finding for each of `rows`, up to a number; True when there was none."""
        for row in rows[:TOLD].tolist():
            self.add(rule, words(row))
        if len(rows) > TOLD:
            self.add(rule, f"and {len(rows) - TOLD:,} more like that")
        return not len(rows)
