"""Paths into a vendor's record. Plain dotted paths (`a.b.c`) become direct getters; everything else is JMESPath,
compiled once. A missing step is None, as in JMESPath."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
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


class Paths:
    """Many paths read from one record at once, each path only once. Fields of the record itself and fields of one of
    its objects are fetched in one sweep each, without a Python call per path; the rest goes through its getter.
    `position` says where the value of a path stands in what a call returns."""

    def __init__(self, paths: Iterable[str]) -> None:
        wanted = list(dict.fromkeys(paths))
        steps = {path: path.split(".") for path in wanted if _PLAIN.fullmatch(path)}
        top = [path for path in wanted if len(steps.get(path, ())) == 1]
        nested: dict[str, list[str]] = {}
        for path in wanted:
            if len(steps.get(path, ())) == 2:
                nested.setdefault(steps[path][0], []).append(path)
        within = [path for group in nested.values() for path in group]
        others = [path for path in wanted if path not in top and path not in within]
        self._top = top
        self._nested = [(outer, [steps[p][1] for p in group], [None] * len(group)) for outer, group in nested.items()]
        self._others = [compile_path(path) for path in others]
        self.position = {path: n for n, path in enumerate((*top, *within, *others))}

    def __call__(self, record: Mapping[str, Any]) -> list[Any]:
        """The values at all paths; None where a step is missing."""
        get = record.get
        values = list(map(get, self._top))
        for outer, inner, nothing in self._nested:
            held = get(outer)
            values += map(held.get, inner) if held.__class__ is dict else nothing
        for find in self._others:
            values.append(find(record))
        return values


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
