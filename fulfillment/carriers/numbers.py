"""Whose scans they are: the parcel's number, by the names of fields and the shape of their values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fulfillment.carriers.fields import Leaf, Overrides, leaves, named
from fulfillment.carriers.names import kinds, role

Record = Mapping[str, Any]
Records = list[tuple[str, Record]]

_NUMBER = re.compile(r"(?![0-9a-fA-F]{8}-[0-9a-fA-F]{4}-)[A-Za-z0-9][A-Za-z0-9 _.\-/]{3,48}[A-Za-z0-9]")  # no UUID
_KINDS, _IDS, _NOT = kinds("number_kinds"), role("ids"), role("not_numbers")
_NOT_AROUND = _NOT - {"transaction"} | role("not_around_numbers")
_NAMES_ONE = frozenset({"waybill", "barcode", "tracking", "consignment"})  # by themselves, without "number"
_BARE = 6  # how far a mere `id` or `number` stands behind


def by_number(
    records: Records, around: Sequence[Record], keys: Sequence[str], overrides: Overrides
) -> Iterator[tuple[str | None, Records]]:
    """Records by parcel. A number around them holds for all; else each may carry its own."""
    rank, number = _number_around(around, keys, overrides)
    own = [_best(leaves(record, 1), overrides) for _, record in records]
    named_ones = [one for one in own if one is not None]
    if len(named_ones) == len(records) and (rank is None or rank > min(one[0] for one in named_ones)):
        groups: dict[str, Records] = {}
        for one, held in zip(named_ones, records, strict=True):
            groups.setdefault(one[1], []).append(held)
        yield from groups.items()
    else:
        yield number, records


def mentions(records: Records, around: Sequence[Record], asked: str) -> bool:
    """Whether the number that was asked for stands in these records or around them."""
    wanted = asked.casefold()
    held = [*around, *(record for _, record in records)]
    return any(leaf.text.casefold() == wanted for record in held for leaf in leaves(record, 2))


def _number_around(
    around: Sequence[Record], keys: Sequence[str], overrides: Overrides
) -> tuple[int | None, str | None]:
    """The best-named number in the containers around, the nearest first: their own fields before those of containers
    inside them, and a key that is a number itself."""
    ranked: list[tuple[int, int, int, str]] = []
    for distance, record in enumerate(around):
        for depth in (0, 2):
            found = [leaf for leaf in leaves(record, depth, lists=False) if bool(leaf.around) == bool(depth)]
            best = _best(found, overrides)
            if best is not None:
                ranked.append((best[0] + (3 if depth else 0), distance, depth, best[1]))
    for distance, key in enumerate(reversed(keys)):
        if len(key) >= 8 and _digits(key) >= 6 and _NUMBER.fullmatch(key):
            ranked.append((2, distance, 0, key))
    if not ranked:
        return None, None
    rank, _, _, number = min(ranked)
    return rank, number


def _best(found: Sequence[Leaf], overrides: Overrides) -> tuple[int, str] | None:
    chosen = next((leaf.text for leaf in named(found, overrides.number) if _NUMBER.fullmatch(leaf.text)), None)
    if chosen is not None:
        return -1, chosen
    ranked = [(rank, leaf.rank, leaf.text) for leaf in found if (rank := _rank(leaf)) is not None]
    return (min(ranked)[0], min(ranked)[2]) if ranked else None


def _rank(leaf: Leaf) -> int | None:
    """How surely a field is the parcel's number: 0 is surest; None for one that is none."""
    words = set(leaf.words)
    if words & _NOT or any(_NOT_AROUND.intersection(names) for names in leaf.around):
        return None
    digits = _digits(leaf.text)
    if not digits or not _NUMBER.fullmatch(leaf.text):
        return None
    for rank, kind in enumerate(_KINDS):
        if words & kind and words & (_IDS | _NAMES_ONE):
            return rank + 4 * ("reference" in words) + 2 * (digits < 4)
    if leaf.words in (("number",), ("id",), ("pin",)) and digits >= 6:
        return _BARE
    if (
        leaf.words == ("value",)
        and leaf.around
        and leaf.around[-1][-1:] in (("pin",), ("barcode",), ("waybill",), ("number",))
    ):
        return 1 if digits >= 4 else None  # <PIN><Value>…</Value></PIN>
    return None


def _digits(text: str) -> int:
    return sum(c.isdigit() for c in text)
