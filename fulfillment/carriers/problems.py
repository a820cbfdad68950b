"""What a carrier says went wrong, wherever in its answer it says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fulfillment.carriers.contracts import Problem
from fulfillment.carriers.names import in_order, role, words_of

Record = Mapping[str, Any]
_ERRORS, _SAYS = role("errors"), in_order("says_what")
_LISTS = frozenset({"messages", "alerts", "notifications"})
_NOTHING: tuple[Any, ...] = (None, "", [], {}, 0, "0", False, "false")
_CODES = ("status", "code", "statuscode", "httpstatus")


def is_error(record: Record) -> bool:
    """Whether a record tells of an error rather than of a parcel."""
    for name, value in record.items():
        words = set(words_of(name))
        if words & _ERRORS and "exception" not in words and value not in _NOTHING:
            return True
    failed = any(str(record[name])[:4].isdigit() and 400 <= int(str(record[name])[:4]) < 600
                 for name in record if name.lower() in _CODES)  # fmt: skip
    return failed and any("message" in words_of(name) or name.lower() in ("detail", "title") for name in record)


def problems_in(tree: Any, limit: int = 50) -> list[Problem]:
    """What the payload says went wrong, each once."""
    found: dict[Problem, None] = {}
    for record, key in _records(tree):
        if not (_ERRORS.intersection(words_of(key)) or key.lower() in _LISTS or is_error(record)):
            continue
        problem = _problem(record)
        if problem is not None and len(found) < limit:
            found.setdefault(problem)
    return list(found)


def outermost(tree: Any) -> list[Problem]:
    """What a payload without scans says instead, as a last resort: its outermost message."""
    return next(([problem] for record, _ in _records(tree) if (problem := _problem(record)) is not None), [])


def _records(tree: Any) -> Iterator[tuple[Record, str]]:
    """Every dict of the tree with the name that leads to it, outermost first."""
    level: list[tuple[Any, str]] = [(tree, "")]
    while level:
        deeper: list[tuple[Any, str]] = []
        for one, key in level:
            if isinstance(one, dict):
                yield one, key
                deeper.extend((inner, name) for name, inner in one.items() if isinstance(inner, dict | list))
            elif isinstance(one, list):
                deeper.extend((inner, key) for inner in one if isinstance(inner, dict | list))
        level = deeper


def _problem(record: Record) -> Problem | None:
    """The text and the code of a record that tells of an error."""
    texts = sorted(
        (rank, name)
        for name, value in record.items()
        for rank, word in enumerate(_SAYS)
        if isinstance(value, str) and value.strip() and word in words_of(name) and "code" not in words_of(name)
    )
    if not texts:
        return None
    told = texts[0][1]
    codes = sorted(
        (name.lower() not in ("code", "errorcode", "returncode", "status"), name)
        for name, value in record.items()
        if isinstance(value, str | int) and not isinstance(value, bool) and name != told
        and (words_of(name)[-1:] in (("code",), ("key",)) or name.lower() in ("status", "error"))
    )  # fmt: skip
    code = str(record[codes[0][1]])[:80] if codes else None
    return Problem(code=code or None, message=record[told].strip()[:500])
