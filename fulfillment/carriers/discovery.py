"""Where in a tree the scans are: found by structure and names, in whatever order lists and keys come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fulfillment.carriers.fields import Overrides, has_moment, has_words, scan_of
from fulfillment.carriers.names import role, words_of
from fulfillment.carriers.numbers import by_number, mentions
from fulfillment.carriers.problems import is_error
from hub.kernel.errors import TooLarge

Record = Mapping[str, Any]
RECORDS = 10_000  # most records of one payload that are looked at closely

_SCANS, _MAYBE, _NEVER, _ELSEWHERE = role("scans"), role("maybe_scans"), role("never_scans"), role("elsewhere")


@dataclass(slots=True)
class Found:
    """Scans of one parcel: pointers and records, and the containers around them, the innermost first."""

    number: str | None
    records: list[tuple[str, Record]]
    around: tuple[Record, ...] = ()


@dataclass(slots=True)
class _Candidate:
    shape: tuple[str, ...]
    pointer: str
    records: list[tuple[str, Record]]
    around: tuple[Record, ...]
    is_list: bool
    key_score: int
    richness: float = 0.0
    owner: tuple[int | str, ...] = ()


@dataclass(slots=True)
class _Walk:
    candidates: list[_Candidate] = field(default_factory=list)
    looks_left: int = RECORDS


def find(tree: Any, overrides: Overrides, asked: str | None) -> list[Found]:
    """The parcels of a tree and their scans. Raises TooLarge."""
    walk = _Walk()
    _look(walk, tree, (), (), ())
    found: list[Found] = []
    for candidate in _chosen(walk.candidates):
        around, keys = candidate.around, candidate.shape
        for number, records in by_number(candidate.records, around, keys, overrides):
            found.append(Found(number, records, around))
    if (
        asked is not None
        and len(found) == 1
        and (found[0].number is None or mentions(found[0].records, found[0].around, asked))
    ):
        found[0].number = asked
    return found


def _look(
    walk: _Walk, value: Any, path: tuple[int | str, ...], around: tuple[Record, ...], owner: tuple[int | str, ...]
) -> bool:
    """Collect candidates under `value`; whether a strong one was among them."""
    if isinstance(value, list):
        items = [(n, item) for n, item in enumerate(value) if isinstance(item, dict)]
        inner = [_look_inside(walk, item, (*path, n), around, (*path, n)) for n, item in items]
        _offer(walk, [((*path, n), item) for n, item in items], path, around, owner, any(inner), len(items) > 0)
        return any(inner) or _is_strong(walk, path)
    if isinstance(value, dict):
        inner_one = _look_inside(walk, value, path, around, owner)
        _offer(walk, [(path, value)], path, around, owner, inner_one, False)
        return inner_one or _is_strong(walk, path)
    return False


def _look_inside(
    walk: _Walk, record: Record, path: tuple[int | str, ...], around: tuple[Record, ...], owner: tuple[int | str, ...]
) -> bool:
    strong = False
    for key, value in record.items():
        if isinstance(value, dict | list):
            strong = _look(walk, value, (*path, key), (record, *around), owner) or strong
    return strong


def _is_strong(walk: _Walk, path: tuple[int | str, ...]) -> bool:
    last = walk.candidates[-1] if walk.candidates else None
    return last is not None and last.pointer == _pointer(path) and last.key_score >= 3


def _offer(
    walk: _Walk,
    items: Sequence[tuple[tuple[int | str, ...], Record]],
    path: tuple[int | str, ...],
    around: tuple[Record, ...],
    owner: tuple[int | str, ...],
    contains_better: bool,
    is_list: bool,
) -> None:
    if contains_better or not items:
        return
    walk.looks_left -= len(items)
    if walk.looks_left < 0:
        raise TooLarge(f"a payload may hold at most {RECORDS} records", code="payload_too_large")
    scores = [_richness(record, is_list) for _, record in items]
    seen = [score for score in scores if score > 0]
    if 2 * len(seen) < len(items):
        return
    keys = tuple(key for key in path if isinstance(key, str))
    words = set(words_of(keys[-1])) if keys else set()
    if (words & _NEVER and not words & (_SCANS | {"data", "list"})) or any(
        _ELSEWHERE.intersection(words_of(key)) for key in keys
    ):
        return
    key_score = 3 if words & _SCANS or words >= {"state", "info"} or words >= {"status", "info"} else 0
    if key_score == 0 and (not keys or words & _MAYBE):
        key_score = 1
    if key_score == 0 and not is_list:
        return
    walk.candidates.append(
        _Candidate(
            shape=keys, pointer=_pointer(path), records=[(_pointer(at), record) for at, record in items], around=around,
            is_list=is_list, key_score=key_score, richness=sum(seen) / len(seen), owner=owner,
        )
    )  # fmt: skip


def _richness(record: Record, listed: bool) -> float:
    """How much of a scan a record is; 0 for one that is none."""
    if not has_moment(record, listed=listed) or is_error(record):
        return 0.0
    said = has_words(record)
    return (0.5 + said) if said else 0.0


def _chosen(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """All candidates of the most telling shape, and of shapes that end alike beside it, in the order of the tree."""
    if not candidates:
        return []
    by_shape: dict[tuple[str, ...], list[_Candidate]] = {}
    for candidate in candidates:
        by_shape.setdefault(candidate.shape, []).append(candidate)

    def weight(shape: tuple[str, ...]) -> tuple[Any, ...]:
        held = by_shape[shape]
        count = sum(len(one.records) for one in held)
        rich = max(one.richness for one in held)
        return (
            held[0].key_score + rich + min(count, 5) * 0.1 + 0.3 * any(one.is_list for one in held),
            -len(shape),
            shape,
        )

    best = max(by_shape, key=weight)
    kept = list(by_shape[best])
    score = kept[0].key_score
    for shape, held in sorted(by_shape.items()):
        alike = shape != best and shape[-1:] == best[-1:] and len(shape) == len(best) and held[0].key_score == score
        if alike and not any(
            _within(one.owner, other.owner) and one.owner != other.owner for one in held for other in kept
        ):
            kept.extend(held)
    for one in kept:
        one.records = one.records + _summaries(one, candidates)
    return sorted(kept, key=lambda one: one.pointer)


def _summaries(one: _Candidate, candidates: Sequence[_Candidate]) -> list[tuple[str, Record]]:
    """The newest scan where it stands apart, beside the list of those before it and made like them."""
    known = {name for _, record in one.records for name in record}
    clocks = {_clock(record) for _, record in one.records}
    return [
        held
        for other in candidates
        if other.shape != one.shape and not other.is_list and other.around[:1] and one.around[:1]
        and other.around[0] is one.around[0]
        for held in other.records
        if 4 * len(known & set(held[1])) >= 3 * min(len(known), len(held[1])) and _clock(held[1]) not in clocks
    ]  # fmt: skip


def _clock(record: Record) -> Any:
    found = scan_of(record, Overrides()).moment
    return found.local if found else None


def _within(inner: Sequence[int | str], outer: Sequence[int | str]) -> bool:
    return tuple(inner[: len(outer)]) == tuple(outer)


def _pointer(path: Sequence[int | str]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
