"""Paths into a vendor's record. Plain dotted paths (`a.b.c`) become direct getters; everything else is JMESPath,
compiled once. A missing step is None, as in JMESPath."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import jmespath

Getter = Callable[[Any], Any]
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


@functools.lru_cache(maxsize=4096)
def compile_path(path: str) -> Getter:
    """A function from a record to the value at `path`, or None."""
    if path == "@":
        return lambda record: record
    if _PLAIN.fullmatch(path):
        steps = path.split(".")
        if len(steps) == 1:
            return _one(steps[0])
        if len(steps) == 2:
            return _two(steps[0], steps[1])
        return _many(tuple(steps))
    expression = jmespath.compile(path)

    def search(record: Any) -> Any:
        return expression.search(record)

    return search


def top_field(path: str) -> str | None:
    """The record's own field that `path` begins with, or None when that cannot be told."""
    found = re.match(r"[A-Za-z_][A-Za-z0-9_]*", path)
    if found:
        rest = path[found.end() :]
        return None if rest.startswith("(") else found.group(0)
    quoted = re.match(r'"((?:[^"\\]|\\.)*)"', path)
    return quoted.group(1) if quoted else None


def _one(step: str) -> Getter:
    def get(record: Any) -> Any:
        return record.get(step) if isinstance(record, dict) else None

    return get


def _two(outer: str, inner: str) -> Getter:
    def get(record: Any) -> Any:
        held = record.get(outer) if isinstance(record, dict) else None
        return held.get(inner) if held.__class__ is dict else None

    return get


def _many(steps: tuple[str, ...]) -> Getter:
    def get(record: Any) -> Any:
        for step in steps:
            if not isinstance(record, dict):
                return None
            record = record.get(step)
        return record

    return get
