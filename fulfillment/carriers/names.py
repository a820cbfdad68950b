"""The words of field names: `eventDate`, `event-date`, `EVENT_DATE` and `eventdate` are the same two words."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import yaml

DATA = Path(__file__).parent / "data"
_BOUNDARY = re.compile(r"[^0-9A-Za-z\u00c0-\u024f\u3400-\u9fff]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_DIGITS = re.compile(r"^(\D+)\d+$")
_LONGEST = 80  # a longer key is no field name


def load(name: str) -> Any:
    """A data file of this package."""
    return yaml.safe_load((DATA / name).read_text(encoding="utf-8"))


_FIELDS = load("fields.yaml")
_ROLES = load("roles.yaml")


def role(name: str) -> frozenset[str]:
    """Words that say one thing about a field."""
    return frozenset(_ROLES[name].split())


def in_order(name: str) -> tuple[str, ...]:
    """The same, the most telling first."""
    return tuple(_ROLES[name]["order"].split())


def kinds(name: str) -> tuple[frozenset[str], ...]:
    """Sets of words, the most telling set first."""
    return tuple(frozenset(words.split()) for words in _ROLES[name])


_KNOWN = frozenset(_FIELDS["words"].split()) | frozenset(_FIELDS["same"])
_SAME: dict[str, tuple[str, ...]] = {word: tuple(value.split()) for word, value in _FIELDS["same"].items()}
_LANGUAGES = frozenset(_FIELDS["languages"])
_CHINESE: dict[str, tuple[str, ...]] = {word: tuple(value.split()) for word, value in _FIELDS["chinese"].items()}


@functools.lru_cache(maxsize=8192)
def words_of(name: str) -> tuple[str, ...]:
    """The words of a field name, in lower case and in the vocabulary's own spelling."""
    if name in _CHINESE:
        return _CHINESE[name]
    found: list[str] = []
    for part in _BOUNDARY.split(name[:_LONGEST]):
        word = _DIGITS.sub(r"\1", part.lower())
        pieces = (word,) if word in _KNOWN or len(word) < 5 else _cut(word)
        for piece in pieces:
            found.extend(_SAME.get(piece, (piece,)) if piece else ())
    if len(found) > 1 and found[-1] in _LANGUAGES:
        found.pop()
    return tuple(found)


@functools.lru_cache(maxsize=8192)
def _cut(word: str) -> tuple[str, ...]:
    """A compound cut into known words, the fewest that cover it; the word itself when they do not."""
    best: list[tuple[str, ...] | None] = [()] + [None] * len(word)
    for end in range(1, len(word) + 1):
        for start in range(max(0, end - 15), end):
            head, piece = best[start], word[start:end]
            if head is None or piece not in _KNOWN:
                continue
            longer = best[end]
            if longer is None or len(head) + 1 < len(longer):
                best[end] = (*head, piece)
    return best[-1] or (word,)
