"""How searches are walked that shuffle. Kroger's search by a term is fuzzy: its order may change with every call, so a
page may repeat what another showed and skip what none will show. Each search is therefore walked several times, until
as many different products were seen as it announces, or walking brings nothing new. What it is worth is said with it:
`unproven` names the searches that may have more than was seen. Pure; where it stands is JSON."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.contracts import Cursor
from connectors.jsonio import text_of

FURTHEST = 250  # the largest filter.start
IDS = 50  # products that may be asked for at once


@dataclasses.dataclass(frozen=True)
class Search:
    """One thing to ask for: a term (of one brand), or products by their ids."""

    name: str
    params: Mapping[str, str]
    ids: tuple[str, ...] = ()


@dataclasses.dataclass
class Sweep:
    """A walk through all searches, and where it stands."""

    searches: Sequence[Search]
    passes: int
    size: int
    at: int = 0  # number of the search
    round: int = 1  # number of its walk
    start: int = 0
    total: int | None = None  # products that it announces
    fresh: int = 0  # different ones that this walk was the first to show
    dry: int = 0  # walks in a row that showed nothing new
    found: set[str] = dataclasses.field(default_factory=set)  # different ones of this search
    seen: set[str] = dataclasses.field(default_factory=set)  # of the whole sweep
    left: list[str] = dataclasses.field(default_factory=list)  # ids still to be asked for
    unproven: list[str] = dataclasses.field(default_factory=list)
    number: int = 0  # pages

    @classmethod
    def resumed(cls, searches: Sequence[Search], passes: int, size: int, since: Cursor) -> Sweep:
        """From after the page that `since` was saved with; from the beginning when other searches are wanted now."""
        sweep = cls(searches, passes, size)
        if since.get("plan") == plan_of(searches):
            sweep.at, sweep.round, sweep.start = int(since["at"]), int(since["round"]), int(since["start"])
            sweep.total, sweep.fresh, sweep.number = since["total"], int(since["fresh"]), int(since["number"])
            sweep.found, sweep.seen = set(since["found"]), set(since["seen"])
            sweep.left, sweep.unproven, sweep.dry = list(since["left"]), list(since["unproven"]), int(since["dry"])
        elif searches:
            sweep._begin()
        return sweep

    def cursor(self) -> Cursor:
        """Where it stands, as JSON."""
        return {
            "plan": plan_of(self.searches), "at": self.at, "round": self.round, "start": self.start,
            "total": self.total, "fresh": self.fresh, "dry": self.dry, "number": self.number,
            "found": sorted(self.found), "seen": sorted(self.seen), "left": self.left, "unproven": self.unproven,
        }  # fmt: skip

    @property
    def over(self) -> bool:
        return self.at >= len(self.searches)

    @property
    def search(self) -> Search:
        return self.searches[self.at]

    def request(self) -> dict[str, Any]:
        """Parameters of the next call."""
        params: dict[str, Any] = {**self.search.params, "filter.limit": self.size}
        if self.search.ids:
            batch = self.left[:IDS]
            params |= {"filter.productId": ",".join(batch), "filter.limit": len(batch)}
        elif self.start:  # 1 is the least that Kroger takes
            params["filter.start"] = self.start
        return params

    def took(self, records: Sequence[Any], announced: Any) -> tuple[list[Any], list[Any], list[str]]:
        """Go on after an answer: (records that no page showed before, those that nobody asked for, ids that Kroger has
        none for)."""
        self.number += 1
        strange: list[Any] = []
        if self.search.ids:
            asked = set(self.left[:IDS])
            strange = [record for record in records if isinstance(record, dict) and not names_of(record) & asked]
        new = []
        for record in records:
            name = identity(record)
            if name not in self.seen and not any(record is one for one in strange):
                self.seen.add(name)
                new.append(record)
        if self.search.ids:
            return new, strange, self._answered(records)
        self._walked(records, announced)
        return new, [], []

    def _answered(self, records: Sequence[Any]) -> list[str]:
        """An answer may hold a part of what was asked for: the rest is asked for again, until nothing comes."""
        batch = self.left[:IDS]
        names = {name for record in records for name in names_of(record)}
        missing = [] if any(one in names for one in batch) else batch
        self.left = [one for one in self.left if one not in names and one not in missing]
        if not self.left:
            self._next()
        return missing

    def _walked(self, records: Sequence[Any], announced: Any) -> None:
        names = {identity(record) for record in records}
        self.fresh += len(names - self.found)
        self.found |= names
        if (count := _whole(announced)) is not None:
            self.total = max(self.total or 0, count)
        following = self.start + self.size
        if self.total is None:
            whole = self.start == 0 and len(records) < self.size  # it fits into a page
            more = len(records) >= self.size
        else:
            whole = len(self.found) >= self.total
            more = following < self.total and bool(records)
        if whole:
            self._next()
        elif more and following <= FURTHEST:
            self.start = following
        else:
            self._again()

    def _again(self) -> None:
        """After a walk that did not show everything: walk once more, while that may help."""
        self.dry = 0 if self.fresh else self.dry + 1
        enough = 1 if self.total is None else 2  # one dry walk may be chance when more is announced
        if self.round < self.passes and self.dry < enough:
            self.round, self.start, self.fresh = self.round + 1, 0, 0
            return
        said = f"announced {self.total} and showed" if self.total is not None else "showed"
        self.unproven.append(f"{self.search.name} ({said} {len(self.found)})")
        self._next()

    def _next(self) -> None:
        self.at += 1
        self._begin()

    def _begin(self) -> None:
        self.round, self.start, self.total, self.fresh, self.dry, self.found = 1, 0, None, 0, 0, set()
        self.left = [] if self.over else list(dict.fromkeys(self.search.ids))


def identity(record: Any) -> str:
    """What tells a product from others: its id or, of a record without one, all of it."""
    if isinstance(record, dict):
        for name in ("productId", "upc"):
            if isinstance(record.get(name), str) and record[name]:
                return str(record[name])
    return hashlib.blake2b(text_of(record).encode(), digest_size=12).hexdigest()


def names_of(record: Any) -> set[str]:
    """All ids by which a product may have been asked for."""
    if not isinstance(record, dict):
        return set()
    alias = record.get("aliasProductIds")
    return {one for one in (record.get("productId"), record.get("upc"), *(alias if isinstance(alias, list) else ()))
            if isinstance(one, str)}  # fmt: skip


def _whole(raw: Any) -> int | None:
    """A count as Kroger's description allows it: a number."""
    if isinstance(raw, str) and raw.isdigit():
        return int(raw)
    return int(raw) if type(raw) in (int, float) and raw >= 0 and raw == int(raw) else None


def plan_of(searches: Sequence[Search]) -> str:
    """Changes whenever something else is to be asked for."""
    said = [(search.name, sorted(search.params.items()), search.ids) for search in searches]
    return hashlib.blake2b(repr(said).encode(), digest_size=12).hexdigest()
